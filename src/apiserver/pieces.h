/* A body that is made piece by piece, as the client takes it. Private to src/apiserver. */
#pragma once

#include "http/server.h"

struct pieces {
        struct http_slice (*next)(struct pieces *p); /* never empty but at the end */
        void (*free)(struct pieces *p);
};

/* Takes the pieces over. A short body goes out at once; a long one as a stream, compressed when the client takes gzip.
 * h has room for two headers more. */
void respond_pieces(struct http_request *req, int code, struct http_header *h, size_t n_h, struct pieces *p);
