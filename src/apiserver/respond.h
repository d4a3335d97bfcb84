/* Answers as bytes: objects, lists, tables, partial metadata, events, errors; in JSON, YAML or protobuf.
 * Private to src/apiserver. */
#pragma once

#include "apiserver/request.h"
#include "apiserver/server.h"

/* How this request wants its answer. */
struct format {
        struct negotiated as;
        bool pretty, settled;        /* settled: it is known what is acceptable; else an error looks for it */
        bool untold;                 /* the audit log does not have it */
        bool with_object, no_object; /* of a Table's rows: the whole object, none; else its metadata */
};

void respond_error(struct http_request *req, const struct format *f, const struct error *e);
void respond_tree(struct http_request *req, const struct format *f, int code, const struct json *tree,
                  const struct rest *rest);
void respond_object(struct http_request *req, const struct format *f, int code, const struct rest *rest,
                    struct object *o);
/* Takes the list over. */
void respond_list(struct http_request *req, const struct format *f, const struct rest *rest, struct api_list *l);
/* text in the format's media type; type_of says what it is (an object of rest, or NULL: by its kind). */
void respond_json_text(struct http_request *req, const struct format *f, int code, struct str text,
                       const struct rest *rest);
void respond_text(struct http_request *req, int code, const char *content_type, struct str text);

/* The same body compressed, when it is large and the client takes gzip; takes the slices over then. h has room for two
 * headers more. */
bool respond_gzip(struct http_request *req, int code, struct http_header *h, size_t n_h, const struct http_slice *body,
                  size_t n_body);

/* Indented: by the query, or since people look at it (upstream's list of agents). */
bool respond_wants_pretty(struct http_request *req);
bool respond_wants_gzip(struct http_request *req);
/* The same where upstream looks at "gzip;q=0.5": for metrics as it is written, else in any case. */
bool respond_weighs_gzip(struct http_request *req, bool metrics);
/* All at once: for what is kept. windowBits of zlib say how: DEFLATE_GZIP. */
#define DEFLATE_GZIP (15 + 16)
void deflate_text(struct buf *dst, struct str text, int level, int window);
void gzip_text(struct buf *dst, struct str text);

/* One event of a watch stream. first: the columns of a table are still to be told. */
struct watch_event;
void respond_event(struct buf *dst, const struct format *f, const struct rest *rest, const struct watch_event *e,
                   bool first);
const char *respond_stream_type(const struct format *f);
