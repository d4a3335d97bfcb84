/* The grammar of HTTP/1.1 messages (RFC 9112), for both sides: a head that is whole, and bodies as they come.
 *
 * What two parsers could read differently is refused, because a proxy before us may be the other one (RFC 9112 11.2):
 * both content-length and transfer-encoding, more or less than one host, chunks that do not end as they should. Folded
 * lines are one with a space (RFC 9112 5.2). That is why it is our own: Debian builds http-parser without its strict
 * mode. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/vec.h"
#include "http/http.h"

struct http1_head {
        struct str method, uri, target; /* of a request: uri is the target as it was sent */
        int status;                     /* of a response */
        int minor;                      /* HTTP/1.minor */
        int64_t content_length;         /* -1: not given */
        size_t n_host;
        const char *problem; /* what a refused request is told beside the status; NULL: no more */
        bool chunked, close, keep_alive, expect_continue, expect_other;
        bool spaced; /* a name has spaces in it */
};

typedef VEC(struct http_header) http1_headers;

/* The length of a head with its empty line, 0 while it is not whole. *scanned is kept between calls with the same p and
 * a greater n. */
size_t http1_find_end(const char *p, size_t n, size_t *scanned);

/* tchar of RFC 9110 5.6.2 */
bool http1_is_token(char c);

/* Parses a whole head in place: names are made lower case, values trimmed; headers point into p. Of a target remains
 * what is behind scheme and authority. 0, or negative the status to refuse it with: -400, -417, -501 (a transfer
 * coding), -505. */
int http1_parse_request(char *p, size_t n, struct http1_head *ret, http1_headers *ret_headers);
/* The same of a response, which is copied to a. What Go's client would not take is -EPROTO, and why says it in that
 * client's words. The status line alone: */
int http1_parse_response(struct arena *a, struct str head, struct http1_head *ret, http1_headers *ret_headers,
                         struct buf *why);
int http1_parse_status(struct str line, struct http1_head *ret, struct buf *why);

/* A body as it comes. */
struct http1_body {
        enum { HTTP1_NONE, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_EOF } kind;
        int state;
        uint64_t left;      /* of the body or the chunk */
        size_t n_line;      /* of the chunk's or trailer's line */
        struct buf trailer; /* its lines, as they came */
        struct buf why;
        http1_headers trailers; /* what they say, once the body is done */
        bool done;
        const char *problem; /* after -EPROTO: what Go's reader says */
};
void http1_body_init(struct http1_body *b, const struct http1_head *head, bool request);
/* Takes bytes: returns how many (all, unless the body is done), *ret_data the part that is body. -EPROTO. */
ssize_t http1_body_take(struct http1_body *b, const char *p, size_t n, struct str *ret_data);
void http1_body_clear(struct http1_body *b);
