/* Taint eviction: pods that do not tolerate a NoExecute taint of their node are deleted; those that tolerate it for a
 * time, when the time is over. The key is a pod. */
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "schema/nodefit.h"
#include "schema/types.h"

#define NEVER INT64_MAX

/* ---- who is concerned ---- */

static bool has_no_execute(const struct object *node) {
        if (node)
                json_each_item(t, NodeSpec_taints(Node_spec(object_json(node))))
                        if (str_eqc(Taint_effect(t), "NoExecute"))
                                return true;
        return false;
}

static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        if (!new)
                map_remove(c->state, object_uid(old));
        else if (!str_empty(pod_node(new)) && has_no_execute(controller_get(c, &res_nodes, STR(""), pod_node(new))))
                enqueue_self(c, old, new);
}

static void enqueue_node(struct controller *c, struct object *old, struct object *new) {
        struct object *const *pods;

        if (!has_no_execute(old) && !has_no_execute(new))
                return;
        if (old && new &&json_equal(NodeSpec_taints(Node_spec(object_json(old))),
                                    NodeSpec_taints(Node_spec(object_json(new)))))
                return;
        size_t n = informer_index_get(pods_by_node(c), object_name(new ? new : old), &pods);
        for (size_t i = 0; i < n; i++)
                enqueue_self(c, NULL, pods[i]);
}

/* ---- tolerance ---- */

/* When the pod has to go: 0 at once, NEVER. since: for taints that do not say when they were put there. */
static int64_t due(const struct object *pod, const struct object *node, int64_t since) {
        const struct json *tolerations = PodSpec_tolerations(Pod_spec(object_json(pod)));
        int64_t due = NEVER;

        json_each_item(taint, NodeSpec_taints(Node_spec(object_json(node)))) {
                int64_t added = since, limit = -1;

                if (!str_eqc(Taint_effect(taint), "NoExecute"))
                        continue;
                if (time_parse(Taint_timeAdded(taint), &added) < 0)
                        added = since;
                json_each_item(t, tolerations) {
                        if (!toleration_matches(t, taint))
                                continue;
                        int64_t seconds = Toleration_has_tolerationSeconds(t) ? MAX(Toleration_tolerationSeconds(t), 0)
                                                                              : NEVER;

                        limit = limit < 0 ? seconds : MIN(limit, seconds);
                }
                if (limit < 0)
                        return 0;
                due = MIN(due, time_after(added, limit));
        }
        return due;
}

/* ---- reconcile ---- */

static int evict(struct controller *c, const struct object *pod, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *old = Pod_status(object_json(pod));
        struct json status = status_copy(a, old);

        event_record(c->events, &res_pods, pod, NULL, "Normal", "TaintManagerEviction",
                     "Marking for deletion Pod %" STR_FMT "/%" STR_FMT, STR_ARG(object_namespace(pod)),
                     STR_ARG(object_name(pod)));
        condition_set(a, &status,
                      &(struct condition) { "DisruptionTarget", "True", "DeletionByTaintManager",
                                            "Taint manager: deleting due to NoExecute taint" },
                      controller_now(c), 0);
        int r = controller_update_status(c, &res_pods, pod, &status, err);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r < 0)
                error_clear(err);
        return controller_delete(c, &res_pods, pod, NULL, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct object *pod = informer_get(controller_informer(c, &res_pods), key), *node;
        struct map *seen = c->state;
        int64_t *since, when, now = controller_now(c);

        if (!pod || object_deleting(pod) || str_empty(pod_node(pod)))
                return 0;
        node = controller_get(c, &res_nodes, STR(""), pod_node(pod));
        since = map_get(seen, object_uid(pod));
        if (!has_no_execute(node)) {
                if (since)
                        event_record(c->events, &res_pods, pod, NULL, "Normal", "TaintManagerEviction",
                                     "Cancelling deletion of Pod %" STR_FMT "/%" STR_FMT,
                                     STR_ARG(object_namespace(pod)), STR_ARG(object_name(pod)));
                map_remove(seen, object_uid(pod));
                return 0;
        }
        when = due(pod, node, since ? *since : now);
        if (when <= now)
                return evict(c, pod, err);
        if (when == NEVER)
                return 0;
        if (!since) {
                since = xmalloc(sizeof(*since));
                *since = now;
                map_put(seen, object_uid(pod), since);
        }
        controller_enqueue_after(c, key, (uint64_t) ((when - now) / NSEC_PER_MSEC + 1));
        return 0;
}

const struct controller_class tainteviction_controller = {
        .name = "taint-eviction-controller",
        .account = "node-controller",
        .watches = { { &res_pods, enqueue_pod }, { &res_nodes, enqueue_node } },
        .init = init_by_node,
        .destroy = destroy_map,
        .reconcile = reconcile,
};
