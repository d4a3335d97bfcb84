/* What browsers are told of the API (--cors-allowed-origins). Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

#define CORS_HEADERS 5

struct cors;
int cors_new(struct apiserver *s, struct cors **ret, struct error *err); /* *ret is NULL without the flag */
void cors_free(struct cors *c);
/* What every answer to a request of an allowed origin bears: how many, or 0. c may be NULL. */
size_t cors_headers(const struct cors *c, struct http_request *req, struct http_header h[static CORS_HEADERS]);
