/* ReplicaSet, and ReplicationController, which is the same with an older selector: keeps spec.replicas pods that match.
 *
 *   pods of ours (claimed) ─ active? ─▶ fewer than wanted: create in waves · more: rank, delete ─▶ status
 */
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "schema/types.h"

#define BURST 500 /* creations or deletions of one reconcile */

static int init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = children_index(c, &res_pods);
        if (c->class->watches[0].resource == &res_replicasets) /* the siblings under one Deployment */
                children_index(c, &res_replicasets);
        return 0;
}

/* Active pods of all ReplicaSets of the same Deployment: they tell which nodes are crowded. */
static struct object_list related_pods(struct controller *c, struct arena *a, const struct object *rs,
                                       struct object_list own) {
        const struct json *deployment = controller_ref_of(rs);
        struct object_list related = { NULL, 0 };
        struct object *const *siblings;
        size_t n;

        if (!deployment || c->class->watches[0].resource != &res_replicasets)
                return own;
        n = informer_index_get(children_index(c, &res_replicasets), OwnerReference_uid(deployment), &siblings);
        for (size_t i = 0; i < n; i++)
                related.n += owned_children(c->state, siblings[i]).n;
        related.v = arena_array(a, struct object *, related.n + 1);
        related.n = 0;
        for (size_t i = 0; i < n; i++) {
                struct object_list pods = owned_children(c->state, siblings[i]);

                for (size_t k = 0; k < pods.n; k++)
                        related.v[related.n++] = pods.v[k];
        }
        return related;
}

/* Moves the number of active pods toward wanted. *ret_diff: what is missing (> 0) or too much (< 0); *ret_done: whether
 * all of that was put right, so that the pods' own news will bring us back. */
static int manage(struct controller *c, struct arena *a, const struct object *rs, struct object_list active,
                  int64_t wanted, bool *ret_done, struct error *err) {
        const struct api_resource *res = c->class->watches[0].resource;
        int64_t diff = wanted - (int64_t) active.n;
        struct object_list related;
        struct json body;
        size_t created;

        *ret_done = false;
        if (diff > 0) {
                diff = MIN(diff, BURST);
                body = pod_from_template(a, ReplicaSetSpec_template(ReplicaSet_spec(object_json(rs))), res, rs,
                                         str_n(NULL, 0));
                created = pods_create(c, res, rs, &body, (size_t) diff, true, err);
                *ret_done = created == (size_t) diff;
                return err->err;
        }
        if (diff < 0) {
                related = related_pods(c, a, rs, active);
                pods_rank_for_deletion(active.v, active.n, related.v, related.n, controller_now(c));
                *ret_done = true;
                return pods_delete(c, res, rs, active.v, (size_t) MIN(-diff, BURST), err);
        }
        return 0;
}

static struct json new_status(struct controller *c, struct arena *a, const struct object *rs, struct object_list active,
                              int64_t diff, const struct error *failure, uint64_t *wait_ms) {
        const struct json *doc = object_json(rs), *spec = ReplicaSet_spec(doc), *old = ReplicaSet_status(doc);
        const struct json *labels = ObjectMeta_labels(PodTemplateSpec_metadata(ReplicaSetSpec_template(spec)));
        struct json status = status_copy(a, old);
        int64_t labeled = 0, ready = 0, available = 0, now = controller_now(c),
                min_ready = ReplicaSetSpec_minReadySeconds(spec);

        for (size_t i = 0; i < active.n; i++) {
                labeled += object_has_labels(active.v[i], labels);
                ready += pod_is_ready(active.v[i]);
                available += pod_is_available(active.v[i], min_ready, now, wait_ms);
        }
        if (failure->err)
                condition_set(a, &status,
                              &(struct condition) { "ReplicaFailure", "True",
                                                    diff > 0 ? "FailedCreate" : "FailedDelete", error_text(failure) },
                              now, CONDITION_MOVE_LAST | CONDITION_IGNORE_MESSAGE);
        else
                condition_remove(a, &status, "ReplicaFailure");
        json_set_int(a, &status, "replicas", (int64_t) active.n);
        status_count(a, &status, "fullyLabeledReplicas", labeled);
        status_count(a, &status, "readyReplicas", ready);
        status_count(a, &status, "availableReplicas", available);
        status_count(a, &status, "observedGeneration", object_generation(rs));
        return status;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct api_resource *res = c->class->watches[0].resource;
        struct object *rs = informer_get(controller_informer(c, res), key);
        _cleanup_error_ struct error failure = ERROR_INIT;
        struct object_list pods, active;
        struct json status;
        uint64_t wait_ms = UINT64_MAX;
        bool changed, done = false;

        if (!rs)
                return 0; /* deleted: the garbage collector does the rest */
        struct selector selector = workload_selector(a, res, rs);
        TRY(claim_children(c, a, res, rs, &selector, &res_pods, c->state, &pods, &changed, err));
        active = (struct object_list) { pods.v, 0 };
        for (size_t i = 0; i < pods.n; i++)
                if (pod_is_active(pods.v[i]))
                        active.v[active.n++] = pods.v[i];
        int64_t wanted = ReplicaSetSpec_replicas(ReplicaSet_spec(object_json(rs)));
        if (!object_deleting(rs))
                manage(c, a, rs, active, wanted, &done, &failure);
        if (done)
                return 0; /* the pods just written are news of their own: the status follows then, once */
        status = new_status(c, a, rs, active, wanted - (int64_t) active.n, &failure, &wait_ms);
        TRY(controller_update_status(c, res, rs, &status, err));
        if (wait_ms != UINT64_MAX)
                controller_enqueue_after(c, key, wait_ms);
        if (failure.err) {
                error_move(err, &failure);
                return err->err;
        }
        return 0;
}

const struct controller_class replicaset_controller = {
        .name = "replicaset-controller",
        .watches = { { &res_replicasets, enqueue_self }, { &res_pods, enqueue_owner_or_matching } },
        .init = init,
        .reconcile = reconcile,
};

const struct controller_class replicationcontroller_controller = {
        .name = "replication-controller",
        .watches = { { &res_replicationcontrollers, enqueue_self }, { &res_pods, enqueue_owner_or_matching } },
        .init = init,
        .reconcile = reconcile,
};
