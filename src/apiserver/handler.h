/* From HTTP to calls and back. Private to src/apiserver. */
#pragma once

#include "apiserver/auth/authn.h"
#include "apiserver/request.h"
#include "apiserver/respond.h"

void handle_request(struct http_request *req, void *apiserver);

/* A request that has been understood: lives in the HTTP request's arena. */
struct exchange {
        struct apiserver *s;
        struct http_request *req;
        struct request_info info;
        struct request_query query;
        struct format format;
        struct api_user user;
        struct api_user real_user; /* who it is that acts as user */
        bool impersonated;
        struct authn_notes notes;
        const struct rest *rest;
        struct track *track; /* track.h */
};

/* "get", "list", "watch" …; of what is no verb of a resource: the method in lower case. */
const char *exchange_verb(const struct exchange *x);
bool request_is_bodyless(const struct http_request *req);
enum body_length request_length(const struct http_request *req);
/* Whether the objects of a Table may be shown as the query wants them. */
int exchange_check_table(const struct exchange *x, struct error *err);
struct attributes exchange_attributes(const struct exchange *x); /* what is to be allowed; of the exchange's texts */

/* nonresource.c: what is no resource. */
void handle_nonresource(struct exchange *x);
void respond_nowhere(struct exchange *x); /* 404 */
/* stream.c: a watch over HTTP. */
void handle_watch(struct exchange *x, const struct api_call *c);
/* connect.c: log, exec, attach, portforward, proxy. True when this subresource is one of them. */
bool is_connect(const struct request_info *i);
void handle_connect(struct exchange *x, const struct api_call *c);
/* A call that outlives its HTTP request: its texts move to an arena of its own. */
void api_call_keep(struct arena *a, struct api_call *c);
