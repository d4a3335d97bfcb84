/* The :10250 server: what server.c gives to the files that answer. */
#pragma once

#include "http/http.h"
#include "http/server.h"
#include "kubelet/internal.h"

struct route_args {
        struct kubelet *k;
        struct str ns, pod, uid, container; /* of the path, decoded; in the request's arena */
};
typedef void (*route_fn)(struct http_request *r, const struct route_args *a);

void serve_logs(struct http_request *r, const struct route_args *a);
void serve_exec(struct http_request *r, const struct route_args *a);
void serve_attach(struct http_request *r, const struct route_args *a);
void serve_run(struct http_request *r, const struct route_args *a);
void serve_port_forward(struct http_request *r, const struct route_args *a);
void serve_stats_summary(struct http_request *r, const struct route_args *a);
void serve_metrics_resource(struct http_request *r, const struct route_args *a);
void serve_metrics_cadvisor(struct http_request *r, const struct route_args *a);

/* Asks the API server who sends the request, by its token or certificate (cn empty: none), and whether they may; then
 * serves it, or refuses. */
void server_ask(struct kubelet *k, struct http_request *r, struct str cn, const struct str *orgs, size_t n,
                void (*serve)(struct kubelet *k, struct http_request *r));

/* A plain text error, as the kubelet answers. */
void server_error(struct http_request *r, int code, const char *fmt, ...) _printf_(3, 4);
/* A query parameter, decoded in the request's arena; p == NULL: absent. */
struct str server_query(struct http_request *r, const char *name);
bool server_query_bool(struct http_request *r, const char *name); /* "true", "1" */
/* All values of one name ("command"). */
size_t server_query_all(struct http_request *r, const char *name, struct str **ret);
/* What lives longer than a request and has tasks under way: the server ends it, and waits for it, before it stops.
 * Server's loop only. end is called once and leads, soon, to server_live_remove. */
struct live {
        struct list link;
        void (*end)(struct live *l);
};
void server_live_add(struct kubelet *k, struct live *l, void (*end)(struct live *l));
void server_live_remove(struct kubelet *k, struct live *l);
/* The pod and container of the route; NULL: the error is sent. */
struct pod_view *server_pod(struct http_request *r, const struct route_args *a);
