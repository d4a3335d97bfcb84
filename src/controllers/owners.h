/* Who owns what: controller references, the claim by which a controller finds its own (adopting and releasing by
 * selector), and finalizers. */
#pragma once

#include "controllers/controller.h"
#include "schema/selector.h"

/* The ownerReference with controller: true, or NULL. */
const struct json *controller_ref_of(const struct object *o);
/* Does this reference name an object of the resource's group and kind? */
bool ref_is_kind(const struct json *ref, const struct api_resource *res);
bool is_controlled_by(const struct object *o, struct str owner_uid);
/* A new controller reference to owner. */
struct json controller_ref(struct arena *a, const struct api_resource *owner_res, const struct object *owner);

bool finalizer_is_set(const struct object *o, const char *finalizer);
/* Writes the object with the finalizer on or off; one that is gone is no error. */
int finalizer_set(struct controller *c, const struct api_resource *r, const struct object *o, const char *finalizer,
                  bool on, struct error *err);

/* Index of children: found under their controller's uid, or under "/namespace" when they have none. */
struct informer_index *children_index(struct controller *c, const struct api_resource *res);

/* The children of owner: those that refer to it and match, plus orphans that match and are adopted; those that refer to
 * it and no longer match are released. Array in the arena, borrowed for this turn. Adoption shows in the cache from the
 * next turn on: *ret_changed (may be NULL) tells that there was one. */
struct object_list {
        struct object **v;
        size_t n;
};
int claim_children(struct controller *c, struct arena *a, const struct api_resource *owner_res,
                   const struct object *owner, const struct selector *selector, const struct api_resource *res,
                   struct informer_index *children, struct object_list *ret, bool *ret_changed, struct error *err);
/* Only what refers to owner already, without any writing. */
struct object_list owned_children(struct informer_index *children, const struct object *owner);

/* spec.selector of a workload: a LabelSelector, or a ReplicationController's map. An empty or broken one selects
 * nothing. */
struct selector workload_selector(struct arena *a, const struct api_resource *res, const struct object *o);

/* Enqueues the owner of a child; for an orphan whoever would adopt it. */
void enqueue_owner_or_matching(struct controller *c, struct object *old, struct object *new);
