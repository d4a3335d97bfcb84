/* What a Service wants of this node: for each of its addresses and ports a front, with the endpoints behind it. Pure
 * functions. */
#pragma once

#include "base/map.h"
#include "json/object.h"

/* An endpoint as a number: address << 16 | port. */
typedef uint64_t backend_t;
static inline uint32_t backend_ip(backend_t b) {
        return (uint32_t) (b >> 16);
}
static inline uint16_t backend_port(backend_t b) {
        return (uint16_t) b;
}

/* One address and port, wanted or installed. */
struct front {
        char key[64];      /* as nftables writes it: "10.96.3.7 . tcp . 80", of a NodePort "tcp . 30080" */
        char service[328]; /* "namespace/name" it belongs to */
        bool node;         /* a NodePort */
        bool external;     /* an address of the outside; else of the cluster */
        bool masquerade, udp, drop;
        uint32_t ip; /* 0 for a NodePort */
        uint16_t port;
        int64_t affinity;    /* seconds a client stays with its endpoint, 0: none */
        backend_t *backends; /* wanted: sorted; installed: by position */
        uint32_t *ids;       /* installed with affinity: names of the backends that outlive their positions */
        size_t n;
};
void front_free(void *front);

/* Key → struct front; empty for a Service that is not ours to serve. service may be NULL: gone. */
struct map *fronts_wanted(struct str key, const struct object *service, struct object *const *slices, size_t n_slices,
                          const char *node_name);
/* Where it is among the backends of a wanted front, or NULL. */
const backend_t *front_find(const struct front *f, backend_t b);
