/* One reconcile of a Deployment, shared by its three files: deployment.c decides, deployment_scale.c spreads a change
 * of size over ReplicaSets, deployment_status.c tells. */
#pragma once

#include <inttypes.h>

#include "controllers/owners.h"

#define REVISION "deployment.kubernetes.io/revision"
#define HISTORY "deployment.kubernetes.io/revision-history"
#define DESIRED "deployment.kubernetes.io/desired-replicas"
#define MAXIMUM "deployment.kubernetes.io/max-replicas"
#define HASH_LABEL "pod-template-hash"
#define APPS_CONDITION (CONDITION_UPDATE_TIME | CONDITION_MOVE_LAST | CONDITION_IGNORE_MESSAGE)

struct replica_set {
        struct object *object;
        const struct json *template;
        int64_t replicas, actual, ready, available; /* wanted; of the status */
        int64_t revision, created;
        bool dropped;
};

struct rollout {
        struct controller *c;
        struct arena *a;
        struct object *d;
        const struct json *spec;
        struct json status; /* as it will be written */
        int64_t now, replicas, max_surge, max_unavailable;
        int64_t revision; /* of the new ReplicaSet, 0: not known */
        bool recreate, paused;
        bool wrote;               /* a ReplicaSet was changed: the step is made */
        struct replica_set *new;  /* NULL: not there yet */
        struct replica_set **old; /* oldest first */
        size_t n_old;
        struct object *created; /* a reference: the new one when it was made just now */
};

/* The sum over all ReplicaSets of a field: offsetof(struct replica_set, …). */
int64_t rollout_sum(const struct rollout *r, size_t field);
int64_t rollout_room_for_new(const struct rollout *r, int64_t current);
int rollout_scale(struct rollout *r, struct replica_set *rs, int64_t replicas, struct error *err);
int rollout_proportional(struct rollout *r, struct error *err);
/* Of Deployments that have a progressDeadlineSeconds; the message lives in r->a. */
void rollout_progressing(struct rollout *r, const char *status, const char *reason, struct str message);
/* Fills r->status; returns the ms after which lack of progress has to be looked at, 0: never. */
uint64_t rollout_status(struct rollout *r);
