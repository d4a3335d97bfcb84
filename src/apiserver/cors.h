/* What browsers are told of the API (--cors-allowed-origins). Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

#define CORS_HEADERS 5

struct cors;
/* NULL without the flag; and what is wrong with that. */
struct faults;
struct cors *cors_new(const struct apiserver *s, struct faults *w);
void cors_free(struct cors *c);
/* What every answer to a request of an allowed origin bears: how many, or 0. c may be NULL. */
size_t cors_headers(const struct cors *c, struct http_request *req, struct http_header h[static CORS_HEADERS]);
