/* Server-side apply and managedFields: who owns which field.
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/ */
#pragma once

#include "schema/schema.h"

struct managers;
struct fieldset;

/* What an apply leaves for those who look at the managers of other versions then. */
struct apply_seen {
        struct managers *conflicts;     /* so far; NULL: none */
        const struct fieldset *allowed; /* that are none */
        struct json merged;             /* before the annotation of client-side applies follows */
        bool same;                      /* nothing has changed but owners */
};

struct apply_opts {
        struct str manager;      /* at most 128 characters of it are kept; empty: "unknown" */
        struct str subresource;  /* "status", "scale" or "" */
        struct str api_version;  /* of the request: "apps/v1" */
        struct apply_seen *seen; /* conflicts go to those that are there; NULL: they are an error at once */
        bool force, custom;      /* custom: of a run-time type, whose owner normalises the result */
        bool one_version;        /* of several that name fields otherwise: only its entries lose what has changed */
        /* Of a custom resource: its type in a version, or NULL. alike: its versions name fields alike, or it is built
         * in and has several. */
        const struct schema_type *(*type_of)(const void *versions, struct str version);
        const void *versions;
        bool alike;
        /* Through the scale subresource: where the replicas are, "spec.replicas". Else NULL. */
        const char *scale;
        bool (*has_scale)(const void *versions, struct str version); /* of a custom resource; NULL: all versions */
        bool scale_kept; /* a Scale that says anything keeps the replicas for who had applied them */
        int64_t now_wall_ns;
        /* Fields that this way into the store cannot change, and therefore nobody owns through it ("status",
         * "metadata.labels"; ends with NULL). NULL: none. */
        const char *const *reset;
        /* Of an update: the whole of it as it was sent, or NULL. */
        const struct json *sent;
        bool *odd; /* apply_merge tells whether the result is: see schema_decode_request(); NULL: nobody asks */
};

/* Merges config (as the applier sent it: what it says explicitly counts) into live (NULL when the object does not exist
 * yet), and updates metadata.managedFields. The result is normalised but not defaulted. -EAGAIN, reason Conflict with
 * one cause a field, when other managers own what config changes and force is not set. The config has passed
 * structure_check. */
int apply_merge(struct arena *a, const struct schema_type *t, const struct json *live, const struct json *config,
                const struct apply_opts *opts, struct json *ret, struct error *err);
/* After a create (live NULL), update or patch: records in next's managedFields, in place, what the manager changed. */
void apply_track_update(struct arena *a, const struct schema_type *t, const struct json *live, struct json *next,
                        const struct apply_opts *opts);
/* After either, where the object is served in versions that name fields differently: before and after are it in the
 * version of opts, in which the request was not. What managers own in that version and has changed is theirs no more.
 * object: the one with the managedFields. -EAGAIN as apply_merge, when force is not set. */
int apply_track_version(struct arena *a, const struct schema_type *t, const struct json *before,
                        const struct json *after, const struct apply_opts *opts, struct json *object,
                        struct error *err);
/* As apply_merge does: each manager's fields are those that conflict. */
int apply_report_conflicts(struct managers *m, struct str subresource, struct error *err);
/* Gives a Scale for managedFields those who own the replicas of object, which the options tell of. */
void apply_scale_managers(struct arena *a, const struct json *object, const struct apply_opts *opts,
                          struct json *scale);
/* Whether somebody owns the replicas that the options tell of. */
bool apply_scale_is_owned(struct arena *a, const struct json *object, const struct apply_opts *opts);
/* -EINVAL when its managedFields cannot be what they say. */
int apply_check_managers(struct arena *a, const struct json *object, struct error *err);
