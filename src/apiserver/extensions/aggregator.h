/* API groups that other servers answer for: APIServices with a Service. Private to src/apiserver.
 * https://kubernetes.io/docs/concepts/extend-kubernetes/api-extension/apiserver-aggregation/ */
#pragma once

#include "apiserver/handler.h"
#include "apiserver/validation/validate.h"

/* A group-version of another server, as it was last found. */
struct remote {
        struct str name, group, version; /* "v1beta1.metrics.k8s.io" and its parts */
        struct str ns, service;
        int64_t port;
        struct tls_context *tls;
        int64_t group_priority, version_priority;
        bool available, current;       /* current: what it serves is known as of now */
        bool local;                    /* of this server, which need not have it: listed as a group's, and no more */
        const struct json *resources;  /* of its APIResourceList, or NULL */
        const struct json *discovery;  /* of its APIGroupDiscoveryList, or NULL: it makes none */
        struct str openapi_v3;         /* the URL of its document, relative to its server; or empty */
        const struct json *openapi_v2; /* or NULL */
};

/* All of them, the groups of the highest priority first. Immutable; another table takes its place. */
struct remotes {
        atomic_uint refs;
        struct arena *arena;
        struct remote *v;
        size_t n;
};
struct remotes *remotes_ref(struct remotes *r);
void remotes_unref(struct remotes *r); /* NULL is fine */
DEFINE_CLEANUP(struct remotes *, remotes_unref)
/* One that another server answers for. */
const struct remote *remote_find(const struct remotes *r, struct str group, struct str version);

struct aggregator;
struct aggregator *aggregator_new(struct apiserver *s);
void aggregator_start(struct aggregator *g); /* looks what there is already */
void aggregator_stop(struct aggregator *g);
void aggregator_free(struct aggregator *g);
/* The files of our certificate have changed: reads them again, unless they are wrong. */
int aggregator_read(struct aggregator *g, struct error *err);
void aggregator_changed(struct aggregator *g, struct str key, const struct object *o); /* on the store's writer */
/* A reference to the current table, or NULL when there is none: no such APIService. */
struct remotes *aggregator_remotes(struct aggregator *g);
bool aggregator_is_active(const struct aggregator *g); /* there is, or was, such an APIService */
bool aggregator_has(struct aggregator *g,
                    const struct request_info *i); /* the group and version are another server's */
/* True when the request is another server's: it is passed on, or answered with an error. */
bool aggregator_handle(struct exchange *x);
/* Passes the request on to a remote whatever its path: OpenAPI documents. */
void aggregator_relay(struct exchange *x, const struct remote *r);

/* ---- APIServices of this server's own groups (local_services.c) ---- */

void api_service_mark_local(struct arena *a, struct json *obj); /* available at once, as upstream does */
int api_service_prepare_create(struct op *op, struct json *obj, struct error *err);
validate_kind validate_api_service;
/* The APIService of a group-version that is served here; managed: "onstart" (built in) or "true". */
/* What an APIService of it has as groupPriorityMinimum. */
int local_group_priority(const char *group);
struct json local_service(struct arena *a, const struct api_group_version *gv, const char *managed);
/* Groups of custom resources have APIServices as well: creates what is missing, deletes what is no more. On loop,
 * which must not end while running counts calls. */
void local_services_sync(struct apiserver *s, struct loop *loop, atomic_int *running);
