/* Documents that a client may have already, or want parts of (RFC 9110, 13 and 14), as Go's http.ServeContent. */
#pragma once

#include <time.h>

#include "http/server.h"

struct content {
        struct str data;
        struct str etag;            /* with its quotes; empty: none */
        time_t modified;            /* when it became what it is */
        void (*release)(void *arg); /* of data, once it is not needed any more */
        void *arg;
};

/* 200, 206, 304, 412 or 416: whatever the request's headers ask for. h: the others, content-type among them, valid
 * until the response is complete; at most 8. encoded: data is not the document itself but compressed, which has no
 * parts. */
void respond_content(struct http_request *req, const struct http_header *h, size_t n_h, const struct content *c,
                     bool encoded);
/* The same time as a header says it: "Sun, 06 Nov 1994 08:49:37 GMT". */
struct str http_date(struct arena *a, time_t t);
