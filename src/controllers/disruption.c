/* PodDisruptionBudget: how many of its pods may be evicted now. The eviction subresource takes from disruptionsAllowed
 * and notes the pod in disruptedPods; here the pods are counted again, and a note is dropped when the pod is gone or,
 * after two minutes, was not deleted after all. */
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "schema/types.h"

#define NOTE_TIMEOUT_NS (120 * NSEC_PER_SEC)

/* ---- how many pods there should be ---- */

static const struct api_resource *const scalable[] = { &res_replicasets, &res_replicationcontrollers, &res_statefulsets,
                                                       &res_deployments };

/* The replicas that the pod's controller wants, and its uid (to count it once). -ENOENT: nobody scales this pod. */
static int scale_of(struct controller *c, const struct object *pod, int64_t *ret_replicas, struct str *ret_uid) {
        const struct object *owner = pod;

        for (int depth = 0; depth < 2; depth++) { /* a ReplicaSet's Deployment has the last word */
                const struct json *ref = controller_ref_of(owner);
                size_t i;

                for (i = 0; ref && i < ARRAY_SIZE(scalable) && !ref_is_kind(ref, scalable[i]); i++)
                        ;
                if (!ref || i == ARRAY_SIZE(scalable))
                        break;
                owner = controller_get(c, scalable[i], object_namespace(pod), OwnerReference_name(ref));
                if (!owner || !str_eq(object_uid(owner), OwnerReference_uid(ref)))
                        return -ENOENT;
        }
        if (owner == pod)
                return -ENOENT;
        *ret_replicas = json_int_or(json_at_path(object_json(owner), "spec", "replicas"), 1);
        *ret_uid = object_uid(owner);
        return 0;
}

static int expected_scale(struct controller *c, struct object *const *pods, size_t n, int64_t *ret, struct error *err) {
        _cleanup_(map_freep) struct map *counted = map_new(NULL);

        *ret = 0;
        for (size_t i = 0; i < n; i++) {
                int64_t replicas;
                struct str uid;

                if (scale_of(c, pods[i], &replicas, &uid) < 0)
                        return error_set(err, -ENOENT, "found no controllers for pod \"%" STR_FMT "\"",
                                         STR_ARG(object_name(pods[i])));
                if (map_put(counted, uid, counted))
                        *ret += replicas;
        }
        return 0;
}

static int expectations(struct controller *c, const struct json *spec, struct object *const *pods, size_t n,
                        int64_t *ret_expected, int64_t *ret_desired, struct error *err) {
        const struct json *max = json_getc(spec, "maxUnavailable"), *min = json_getc(spec, "minAvailable");

        if (!max && json_is(min, JSON_INT)) {
                *ret_expected = (int64_t) n;
                *ret_desired = min->i;
                return 0;
        }
        TRY(expected_scale(c, pods, n, ret_expected, err));
        *ret_desired = max ? MAX(*ret_expected - int_or_percent(max, *ret_expected, true), 0)
                           : int_or_percent(min, *ret_expected, true);
        return 0;
}

/* ---- the status ---- */

/* The notes of pods that are still there and not yet on their way; *wait_ms as pod_is_available's. */
static struct json keep_notes(struct arena *a, const struct json *notes, struct object *const *pods, size_t n,
                              int64_t now, uint64_t *wait_ms) {
        struct json kept = json_new_object();

        json_each_member(m, notes) {
                int64_t since, left;

                if (time_parse(json_str(&m->value), &since) < 0)
                        continue;
                left = since + NOTE_TIMEOUT_NS - now;
                for (size_t i = 0; i < n && left > 0; i++)
                        if (str_eq(object_name(pods[i]), json_key(m)) && !object_deleting(pods[i])) {
                                json_set(a, &kept, json_key(m), m->value);
                                *wait_ms = MIN(*wait_ms, (uint64_t) (left / NSEC_PER_MSEC) + 1);
                        }
        }
        return kept;
}

static void set_allowed(struct controller *c, struct arena *a, struct json *status, const struct object *pdb,
                        bool allowed) {
        struct condition condition = { "DisruptionAllowed", allowed ? "True" : "False",
                                       allowed ? "SufficientPods" : "InsufficientPods", "" };
        struct json *set;

        if (!condition_set(a, status, &condition, controller_now(c), 0))
                return;
        set = condition_find(status, condition.type);
        json_set_int(a, set, "observedGeneration", object_generation(pdb));
        json_set_cstr(a, set, "message", "");
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *pdb = informer_get(controller_informer(c, &res_poddisruptionbudgets), key), **pods;
        int64_t expected = 0, desired = 0, healthy = 0, allowed, now = controller_now(c);
        struct object *const *all;
        struct selector selector;
        uint64_t wait_ms = UINT64_MAX;
        size_t n, found = 0;

        if (!pdb)
                return 0;
        TRY(selector_from_object(a, json_at_path(object_json(pdb), "spec", "selector"), &selector, err));
        n = informer_index_get(c->state, object_namespace(pdb), &all);
        pods = arena_array(a, struct object *, n + 1);
        for (size_t i = 0; i < n; i++)
                if (!pod_is_terminal(all[i]) && selector_matches_object(&selector, all[i]))
                        pods[found++] = all[i];
        if (found == 0)
                event_record(c->events, &res_poddisruptionbudgets, pdb, NULL, "Normal", "NoPods",
                             "No matching pods found");
        int r = expectations(c, PodDisruptionBudget_spec(object_json(pdb)), pods, found, &expected, &desired, err);
        if (r == -ENOENT) {
                event_record(c->events, &res_poddisruptionbudgets, pdb, NULL, "Warning",
                             "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: %s",
                             error_text(err));
                error_clear(err);
                expected = desired = 0; /* fail safe: nothing may be evicted */
        }
        struct json status = status_copy(a, PodDisruptionBudget_status(object_json(pdb)));
        struct json notes = keep_notes(a, PodDisruptionBudgetStatus_disruptedPods(&status), pods, found, now, &wait_ms);
        for (size_t i = 0; i < found; i++)
                healthy += !object_deleting(pods[i]) && !json_get(&notes, object_name(pods[i])) &&
                           pod_is_ready(pods[i]);
        allowed = expected <= 0 ? 0 : MAX(healthy - desired, 0);

        json_put(a, &status, "disruptedPods", json_len(&notes) ? &notes : NULL);
        status_count(a, &status, "observedGeneration", object_generation(pdb));
        json_set_int(a, &status, "disruptionsAllowed", allowed);
        json_set_int(a, &status, "currentHealthy", healthy);
        json_set_int(a, &status, "desiredHealthy", desired);
        json_set_int(a, &status, "expectedPods", expected);
        set_allowed(c, a, &status, pdb, allowed > 0);
        if (wait_ms != UINT64_MAX)
                controller_enqueue_after(c, key, wait_ms);
        return controller_update_status(c, &res_poddisruptionbudgets, pdb, &status, err);
}

/* ---- news ---- */

static void enqueue_namespace(struct controller *c, struct str ns, const struct object *pod) {
        _cleanup_(arena_freep) struct arena *a = NULL;

        controller_each(it, c, &res_poddisruptionbudgets) {
                struct selector s;

                if (!str_eq(object_namespace(it.value), ns))
                        continue;
                if (!a)
                        a = arena_new(0);
                if (!pod ||
                    (selector_from_object(a, json_at_path(object_json(it.value), "spec", "selector"), &s, NULL) == 0 &&
                     selector_matches_object(&s, pod)))
                        controller_enqueue_key(c, it.key);
        }
}

static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        if (new)
                enqueue_namespace(c, object_namespace(new), new);
        if (old)
                enqueue_namespace(c, object_namespace(old), old);
}

/* A workload changed its size. */
static void enqueue_scale(struct controller *c, struct object *old, struct object *new) {
        struct object *o = new ? new : old;

        if (!old || !new || object_generation(old) != object_generation(new))
                enqueue_namespace(c, object_namespace(o), NULL);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = informer_add_index(controller_informer(c, &res_pods), "namespace", informer_index_by_namespace);
        return 0;
}

const struct controller_class disruption_controller = {
        .name = "disruption-controller",
        .watches = { { &res_poddisruptionbudgets, enqueue_self },
                     { &res_pods, enqueue_pod },
                     { &res_replicasets, enqueue_scale },
                     { &res_replicationcontrollers, enqueue_scale },
                     { &res_statefulsets, enqueue_scale },
                     { &res_deployments, enqueue_scale } },
        .init = init,
        .reconcile = reconcile,
};
