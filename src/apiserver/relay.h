/* Handing a request over to another server: a kubelet, a pod, a Service, an aggregated API server. Private to
 * src/apiserver. */
#pragma once

#include "apiserver/handler.h"

struct relay_target {
        struct str host;
        uint16_t port;
        struct tls_context *tls;           /* borrowed; NULL: plain HTTP */
        struct str server_name;            /* whom its certificate must name; empty: host */
        struct str path;                   /* with query */
        const struct http_header *headers; /* added; the client's credentials stay here */
        size_t n_headers;
        bool is_log;       /* an answer that is no success is text for a Status */
        bool is_api;       /* another API server */
        bool redirects;    /* it may send clients elsewhere */
        bool is_exec;      /* a kubelet's exec or attach */
        bool is_forward;   /* a kubelet's port-forward */
        struct str prefix; /* where its root is here; its pages' links are rewritten (rewrite.h). Empty: they stay */
};
/* Streams the request there and its answer back; an upgrade becomes a tunnel. */
void relay_request(struct exchange *x, const struct relay_target *t);

/* Its body goes on as it comes: how much there is is for who gets it to say. */
bool relay_streams(struct http_request *req, void *apiserver);

/* tunnel.c: the same for an upgrade. */
void relay_upgrade(struct exchange *x, const struct relay_target *t);
/* The connections of a worker to one server. */
struct relay_peer {
        struct http_client *client;
        size_t n_running; /* calls: kept as long as there are any */
};
void relay_peer_free(void *peer);                   /* for their maps */
int relay_make_room(struct map *peers, size_t max); /* for one more, where those that nobody uses go; or -EBUSY */
int relay_peer(struct exchange *x, const struct relay_target *t, struct relay_peer **ret, struct error *err);
/* The request's own headers, without those that belong to a connection or say who the user is, and the target's. */
size_t relay_headers(struct exchange *x, const struct relay_target *t, struct arena *a, bool upgrade,
                     struct http_header **ret);
struct str relay_url(struct arena *a, const struct relay_target *t);
bool relay_is_hop_header(struct str name); /* in lower case: of one connection */

/* With our client certificate. any: believes everybody. */
struct tls_context *relay_kubelet_tls(struct apiserver *s, bool any);
/* Reads the files of that certificate again; what was before, which somebody may just be looking at, is for
 * relay_kubelet_free later. */
int relay_kubelet_read(struct apiserver *s, void **ret_old, struct error *err);
void relay_kubelet_free(void *kubelet);                 /* NULL is fine */
struct tls_context *relay_any_tls(struct apiserver *s); /* believes everybody: to pods, as upstream does */

int relays_new(struct apiserver *s, struct relays **ret, struct error *err);
void relays_stop(struct relays *p); /* before the workers' loops end */
void relays_free(struct relays *p);

/* connect.c: one of a Service's ready endpoints, for the port of this number; an ExternalName as it is. *ret_host lives
 * in a. */
int service_ready(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns, struct str name,
                  int64_t port, struct str *ret_host, uint16_t *ret_port, struct error *err);
/* Where to ask it: there, or with --enable-aggregator-routing=false at its cluster IP. */
int service_endpoint(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns, struct str name,
                     int64_t port, struct str *ret_host, uint16_t *ret_port, struct error *err);
