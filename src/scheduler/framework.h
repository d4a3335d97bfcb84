/* What the scheduler's parts share: a pod and a node as numbers and compiled selectors, and the table of plugins.
 *
 *   informers ─▶ queue (active │ back-off │ unschedulable) ─▶ cycle: filter ─▶ score ─▶ assume ─▶ bind (async)
 *                                      ▲                                          │
 *                                      └────────── failed: event, condition ◀─────┘
 * Everything here is touched on the scheduler's loop only.
 */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "client/informer.h"
#include "json/object.h"
#include "scheduler/scheduler.h"
#include "schema/selector.h"

/* ---- resources ---- */

struct scalar {
        struct str name; /* "hugepages-2Mi", "example.com/gpu" */
        int64_t value;
};

struct resources {
        int64_t milli_cpu, memory, ephemeral;
        struct scalar *scalars; /* in the arena of whom it belongs to */
        size_t n_scalars;
};

/* ---- pods ---- */

struct host_port {
        struct str ip; /* "" is any */
        struct str protocol;
        int64_t port;
};

struct toleration {
        struct str key, value, effect;
        bool exists; /* operator Exists */
};

struct node_requirement {
        struct str key;
        struct str *values;
        size_t n_values;
        enum selector_op op;
        bool field; /* matchFields: metadata.name */
};

struct node_term {
        struct node_requirement *reqs; /* empty: matches nothing */
        size_t n;
        int64_t weight; /* of a preference */
};

/* What a claim of the pod asks of a node: that it matches one of the terms. */
struct volume_need {
        VEC(struct node_term) terms;
        bool anywhere;
        const char *reason; /* when it does not */
};

struct pod_info {
        struct object *pod; /* a reference */
        struct arena *arena;
        struct str key, uid;
        struct resources requests;
        int64_t nonzero_cpu, nonzero_memory; /* what an idle container is reckoned at for scoring */
        int32_t priority;
        struct str node_name;
        struct host_port *ports;
        size_t n_ports;
        struct toleration *tolerations;
        size_t n_tolerations;
        struct node_requirement *selector; /* spec.nodeSelector */
        size_t n_selector;
        bool has_terms;
        struct node_term *terms; /* required node affinity: one of them */
        size_t n_terms;
        struct node_term *preferred;
        size_t n_preferred;
        struct arena *volumes_arena; /* of volume_needs: as they are at this attempt; NULL without claims */
        VEC(struct volume_need) volume_needs;

        /* the queue's */
        struct list link;
        size_t heap_index;
        int64_t queued_ns, backoff_until_ms;
        unsigned attempts;
        uint8_t place; /* enum queue_place */
};

struct pod_info *pod_info_new(struct object *pod);
void pod_info_free(struct pod_info *p);
struct node_term pod_info_term(struct arena *a, const struct json *term); /* a NodeSelectorTerm */
void pod_info_forget_volumes(struct pod_info *p);
DEFINE_CLEANUP(struct pod_info *, pod_info_free)

/* ---- nodes ---- */

struct taint {
        struct str key, value, effect;
};

struct node_info {
        struct object *node; /* a reference; NULL: pods are known here, the node is not (yet) */
        struct arena *arena; /* of what is derived from node */
        struct str name;
        struct resources allocatable;
        int64_t allowed_pods;
        struct taint *taints;
        size_t n_taints;
        bool unschedulable;

        VEC(struct pod_info *) pods; /* assigned and assumed */
        int64_t used_cpu, used_memory, used_ephemeral, nonzero_cpu, nonzero_memory;
        VEC(struct scalar) used_scalars; /* names are borrowed from pods' arenas only while those are here: copied */
        size_t ports_in_use;
};

/* ---- plugins ---- */

enum verdict {
        FIT,
        UNSCHEDULABLE, /* removing pods could help */
        UNRESOLVABLE,  /* it could not */
};

/* Why a node does not fit: one or more texts, as upstream prints them ("Insufficient cpu"). */
#define MAX_REASONS 8
struct reasons {
        char text[MAX_REASONS][256];
        size_t n;
};

struct plugin {
        const char *name;
        enum verdict (*filter)(const struct pod_info *p, const struct node_info *n,
                               struct reasons *why); /* may be NULL */
        /* A number for each node, larger is better; may be NULL. Normalized to 0..100 when normalize says so, then
         * weighed. */
        int64_t (*score)(const struct pod_info *p, const struct node_info *n);
        enum { SCORE_AS_IS, SCORE_NORMALIZE, SCORE_NORMALIZE_REVERSE } normalize;
        int weight;
};
extern const struct plugin *const plugins[]; /* NULL-terminated, in the order filters run */

/* A node's value for a resource a pod asks for, 0 when it has none. */
int64_t scalar_get(const struct scalar *s, size_t n, struct str name);

/* ---- cache: nodes with what is on them ---- */

struct cache {
        VEC(struct node_info *) nodes; /* those that exist, in arbitrary order */
        struct map *by_name;           /* → struct node_info, existing or not */
        struct map *pods;              /* uid → struct pod_info that is accounted for */
        size_t next_start;             /* where the next cycle begins to look */
};
void cache_init(struct cache *c);
void cache_free(struct cache *c);
void cache_set_node(struct cache *c, struct object *node); /* true changes are found by the caller */
void cache_remove_node(struct cache *c, struct str name);
void cache_add_pod(struct cache *c, struct pod_info *p); /* takes p; replaces what was known of its uid */
bool cache_remove_pod(struct cache *c, struct str uid);
bool cache_has_pod(const struct cache *c, struct str uid);

/* ---- queue ---- */

enum queue_place { QUEUE_NONE, QUEUE_ACTIVE, QUEUE_BACKOFF, QUEUE_UNSCHEDULABLE };

struct queue {
        VEC(struct pod_info *) heap; /* active: highest priority first, then oldest */
        struct list backoff, unschedulable;
        struct map *by_uid; /* owns the pod_infos */
        const struct clock *clock;
};
void queue_init(struct queue *q, const struct clock *clock);
void queue_free(struct queue *q);
/* Adds or replaces the pod; a replaced one keeps its place, unless its spec or labels changed: then it is tried at
 * once. */
void queue_put(struct queue *q, struct pod_info *p);
void queue_remove(struct queue *q, struct str uid);
struct pod_info *queue_pop(struct queue *q);                               /* the caller owns it; NULL: none active */
void queue_retry(struct queue *q, struct pod_info *p, bool unschedulable); /* after a failed attempt; takes p */
void queue_move_all(struct queue *q);         /* something changed in the cluster: try them again */
int64_t queue_flush_backoff(struct queue *q); /* moves what is due; ms until the next, -1: none */

/* ---- one decision ---- */

/* volumes.c: what is known of volumes. */
struct volumes {
        struct informer *claims, *volumes, *classes;
};
/* What the pod's claims ask of nodes, into volume_needs. False: it must wait, wherever; why says for what. */
bool volumes_check(const struct volumes *v, struct pod_info *p, struct buf *why);

struct diagnosis {
        struct buf waits;   /* no node was looked at: why */
        struct map *counts; /* text → number of nodes as uintptr_t */
        size_t nodes, unresolvable;
};
/* The best node for the pod, or NULL and the diagnosis filled in. */
struct node_info *schedule_one(struct cache *c, const struct pod_info *p, struct diagnosis *d);
/* "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. …" */
void diagnosis_print(const struct diagnosis *d, struct buf *dst);
