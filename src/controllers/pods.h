/* What the workload controllers ask of pods, and how they make and rank them. */
#pragma once

#include "controllers/owners.h"

struct str pod_node(const struct object *pod); /* spec.nodeName */
struct informer_index *pods_by_node(struct controller *c);
/* For a class that finds pods so, and keeps a map of malloced values as its state. */
int init_by_node(struct controller *c, void **ret_state, struct error *err);
void destroy_map(void *state);
/* Has it all labels of this map? */
bool object_has_labels(const struct object *o,
                       const struct json *wanted); /* those that have one; made by the first call, in init */
struct str object_phase(const struct object *pod);
bool pod_is_terminal(const struct object *pod); /* Succeeded or Failed */
bool pod_is_active(const struct object *pod);   /* neither terminal nor being deleted */
bool pod_is_ready(const struct object *pod);
int64_t object_created_at(const struct object *o);                     /* ns */
int64_t object_deleted_at(const struct object *o);                     /* the deletionTimestamp in ns, 0: none */
struct str object_annotation(const struct object *o, const char *key); /* p == NULL when absent */
int64_t object_generation(const struct object *o);
/* Ready for at least min_ready_seconds. If only time is missing *ret_wait_ms (never raised, start with UINT64_MAX; may
 * be NULL) is lowered to when it will be. */
bool pod_is_available(const struct object *pod, int64_t min_ready_seconds, int64_t now_ns, uint64_t *ret_wait_ms);

/* 3, or "25%" of total, rounded up or down. */
int64_t int_or_percent(const struct json *v, int64_t total, bool up);

/* A new pod from spec.template, owned by owner. name may be empty: then generateName is "owner-". */
struct json pod_from_template(struct arena *a, const struct json *template, const struct api_resource *owner_res,
                              const struct object *owner, struct str name);

/* Creates n pods (bodies[i], or bodies[0] for all when same) in waves of 1, 2, 4, …; after a wave with a failure no
 * more are sent: what the quota refuses 500 times it refuses once. Events SuccessfulCreate and FailedCreate on owner.
 * Returns the number created; *err is the first failure. A namespace that is going away is no failure. */
size_t pods_create(struct controller *c, const struct api_resource *owner_res, const struct object *owner,
                   const struct json *bodies, size_t n, bool same, struct error *err);
/* Deletes them all at once, with events SuccessfulDelete and FailedDelete. 0 or the first failure. */
int pods_delete(struct controller *c, const struct api_resource *owner_res, const struct object *owner,
                struct object **pods, size_t n, struct error *err);
/* Sorts so that the ones to lose first come first: upstream's ActivePodsWithRanks. related: all pods of the siblings,
 * which count how crowded a node is (may be the same as pods). */
void pods_rank_for_deletion(struct object **pods, size_t n, struct object *const *related, size_t n_related,
                            int64_t now_ns);

/* fnv32a of the tree, written with sorted keys, and spelled in Kubernetes' safe alphabet: pod-template-hash and its
 * kin. */
struct str template_hash(struct arena *a, const struct json *template, int64_t collision_count,
                         bool has_collision_count);
