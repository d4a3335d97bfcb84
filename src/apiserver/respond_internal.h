/* What respond.c and respond_list.c share. */
#pragma once

#include "apiserver/respond.h"
#include "json/json.h"

#define META_VERSION(f) ((f)->as.v1beta1 ? "meta.k8s.io/v1beta1" : "meta.k8s.io/v1")

extern const char *const respond_media_names[]; /* by enum media */

/* JSON as the store has it, not indented. */
static inline bool format_is_plain(const struct format *f) {
        return f->as.media == MEDIA_JSON && !f->pretty;
}

/* The headers of every answer of this type; h has room for six. Returns how many. */
size_t respond_headers(struct http_header *h, const char *type);
void respond_slices(struct http_request *req, int code, const char *type, const struct http_slice *body, size_t n_body);
/* A JSON text, which it frees, in the format. */
void respond_json(struct http_request *req, const struct format *f, int code, struct buf *text,
                  const struct rest *rest);
/* By the document's kind and apiVersion, of rest (or NULL) or any other; NULL: unknown. */
const struct schema_type *respond_type_of(const struct rest *rest, const struct json *doc);

void respond_write_partial(struct buf *b, const struct format *f, const struct rest *rest, const struct object *o);
/* A table up to its rows. l: of a list, or NULL; columns: they are told. */
void respond_write_table(struct buf *b, const struct format *f, const struct rest *rest, const struct api_list *l,
                         uint64_t revision, bool columns);
/* now: what ages are told by. */
void respond_write_row(struct buf *b, struct arena *scratch, const struct format *f, const struct rest *rest,
                       struct object *o, int64_t now);
/* 0: of what the store does not have, the health of components, which is none. */
void respond_write_revision(struct buf *b, uint64_t revision);
void respond_write_continue(struct buf *b, const struct api_list *l);
