/* ControllerRevisions: the history of templates that DaemonSets and StatefulSets keep, by which kubectl rolls back. */
#pragma once

#include "controllers/owners.h"

struct revisions {
        struct object_list all;      /* lowest revision first */
        const struct object *update; /* the one of the template as it is now */
        struct str name, hash;       /* of update */
        int64_t collisions;          /* to be written to status.collisionCount when it changed */
        struct object *made;         /* a reference, when update was made just now */
};

#define REVISION_HASH "controller-revision-hash"

/* As init of a class whose children are pods: its state is their index. */
int revisions_init(struct controller *c, void **ret_state, struct error *err);

/* Finds or makes the revision of owner's template. hash_label is what the hash is called in the revision's labels. */
int revisions_sync(struct controller *c, struct arena *a, const struct api_resource *owner_res,
                   const struct object *owner, const struct selector *selector, const char *hash_label,
                   struct revisions *ret, struct error *err);
void revisions_release(struct revisions *r);
/* The template that a revision has, or NULL. */
const struct json *revision_template(const struct object *revision);
const struct object *revision_named(const struct revisions *r, struct str name);
/* Deletes the oldest beyond limit of those that no pod (by its label) and no name in use refers to. */
int revisions_trim(struct controller *c, const struct revisions *r, int64_t limit, struct object_list pods,
                   struct str in_use, struct error *err);
