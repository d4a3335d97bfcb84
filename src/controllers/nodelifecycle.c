/* Node lifecycle: a kubelet that is not heard of makes its node's conditions Unknown; conditions become taints; pods on
 * a node that is not ready are not ready.
 *
 *   lease renewed, Ready heartbeat ─▶ seen now, by our own clock (clocks of nodes are not trusted)
 *   40 s nothing ─▶ Ready, MemoryPressure, … = Unknown ─▶ taint unreachable, both effects ─▶ tainteviction.c
 *
 * One timer a node, due when the grace period would run out. After a sleep of our own (a laptop, `cube pause`)
 * everybody gets the whole period again. */
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

#define GRACE_MS 40000
#define STARTUP_GRACE_MS 60000
#define ASLEEP_MS 10000 /* called so much too late: it is we who were away */

struct health {
        int64_t seen_ns;
        int64_t due_ns; /* when we asked to be called again */
        uint64_t lease_revision;
        char heartbeat[40];
};

/* ---- being heard of ---- */

static struct health *health_of(struct controller *c, struct str node) {
        struct map *all = c->state;
        struct health *h = map_get(all, node);

        if (!h) {
                h = xcalloc(1, sizeof(*h));
                h->seen_ns = controller_now(c);
                map_put(all, node, h);
        }
        return h;
}

static void enqueue_lease(struct controller *c, struct object *old, struct object *new) {
        if (!new || !str_eqc(object_namespace(new), "kube-node-lease"))
                return;
        struct health *h = health_of(c, object_name(new));
        if (object_revision(new) == h->lease_revision)
                return;
        h->lease_revision = object_revision(new);
        h->seen_ns = controller_now(c); /* nothing to do now: the timer will see it */
}

static void enqueue_node(struct controller *c, struct object *old, struct object *new) {
        if (!new) {
                event_record(c->events, &res_nodes, old, NULL, "Normal", "RemovingNode",
                             "Node %" STR_FMT " event: Removing Node %" STR_FMT " from Controller",
                             STR_ARG(object_name(old)), STR_ARG(object_name(old)));
                map_remove(c->state, object_name(old));
                return;
        }
        if (!old) /* also those it finds when it starts */
                event_record(c->events, &res_nodes, new, NULL, "Normal", "RegisteredNode",
                             "Node %" STR_FMT " event: Registered Node %" STR_FMT " in Controller",
                             STR_ARG(object_name(new)), STR_ARG(object_name(new)));
        struct health *h = health_of(c, object_name(new));
        const struct json *ready = condition_find(Node_status(object_json(new)), "Ready");
        if (!str_eqc(NodeCondition_lastHeartbeatTime(ready), h->heartbeat)) {
                struct str t = NodeCondition_lastHeartbeatTime(ready);

                t.n = MIN(t.n, sizeof(h->heartbeat) - 1);
                memcpy(h->heartbeat, t.p, t.n);
                h->heartbeat[t.n] = '\0';
                if (!str_eqc(NodeCondition_status(ready), "Unknown")) /* that would be ourselves */
                        h->seen_ns = controller_now(c);
        }
        enqueue_self(c, old, new);
}

/* ---- conditions ---- */

/* Unknown, with the last heartbeat kept: the kubelet did not speak. */
static bool make_unknown(struct arena *a, struct json *status, const char *type, int64_t now) {
        const struct json *old = condition_find(status, type);
        struct json c = json_build(a,
                                   "{ type: %c, status: 'Unknown', lastHeartbeatTime: %o, lastTransitionTime: %t, "
                                   "reason: %c, message: %c }",
                                   type, NodeCondition_lastHeartbeatTime(old), now,
                                   old ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                                   old ? "Kubelet stopped posting node status." : "Kubelet never posted node status."),
                    list;

        if (old && str_eqc(NodeCondition_status(old), "Unknown"))
                return false;
        condition_remove(a, status, type);
        list = json_getc(status, "conditions") ? json_copy_shallow(a, json_getc(status, "conditions"))
                                               : json_new_array();
        json_push(a, &list, c);
        json_setc(a, status, "conditions", list);
        return true;
}

static int mark_unknown(struct controller *c, struct arena *a, const struct object *node, struct error *err) {
        static const char *const types[] = { "Ready", "MemoryPressure", "DiskPressure", "PIDPressure" };
        const struct json *old = Node_status(object_json(node));
        struct json status = status_copy(a, old);
        bool changed = false;

        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                changed |= make_unknown(a, &status, types[i], controller_now(c));
        return changed ? controller_update_status(c, &res_nodes, node, &status, err) : 0;
}

/* ---- taints ---- */

static const struct {
        const char *type, *status, *key, *effect;
} taints[] = {
        { "Ready", "False", "node.kubernetes.io/not-ready", "NoSchedule" },
        { "Ready", "False", "node.kubernetes.io/not-ready", "NoExecute" },
        { "Ready", "Unknown", "node.kubernetes.io/unreachable", "NoSchedule" },
        { "Ready", "Unknown", "node.kubernetes.io/unreachable", "NoExecute" },
        { "MemoryPressure", "True", "node.kubernetes.io/memory-pressure", "NoSchedule" },
        { "DiskPressure", "True", "node.kubernetes.io/disk-pressure", "NoSchedule" },
        { "PIDPressure", "True", "node.kubernetes.io/pid-pressure", "NoSchedule" },
        { "NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable", "NoSchedule" },
        { NULL, NULL, "node.kubernetes.io/unschedulable", "NoSchedule" }, /* spec.unschedulable */
};

static bool wants_taint(const struct object *node, size_t i) {
        const struct json *doc = object_json(node);

        if (!taints[i].type)
                return NodeSpec_unschedulable(Node_spec(doc));
        return condition_is(Node_status(doc), taints[i].type, taints[i].status);
}

/* Index into taints, or ARRAY_SIZE for one that is not ours. */
static size_t which_taint(const struct json *taint) {
        size_t i;

        for (i = 0; i < ARRAY_SIZE(taints); i++)
                if (str_eqc(Taint_key(taint), taints[i].key) && str_eqc(Taint_effect(taint), taints[i].effect))
                        break;
        return i;
}

/* A node that never said anything about Ready keeps the taint it was registered with. */
static bool is_undecided(const struct object *node, size_t i) {
        return taints[i].type && str_eqc(str_of(taints[i].type), "Ready") &&
               !condition_find(Node_status(object_json(node)), "Ready");
}

static int sync_taints(struct controller *c, struct arena *a, const struct object *node, struct error *err) {
        const struct json *old = NodeSpec_taints(Node_spec(object_json(node)));
        bool has[ARRAY_SIZE(taints)] = { 0 }, changed = false;
        struct json list = json_new_array(), copy;

        json_each_item(t, old) {
                size_t i = which_taint(t);

                if (i < ARRAY_SIZE(taints)) {
                        if (!wants_taint(node, i) && !is_undecided(node, i)) {
                                changed = true;
                                continue;
                        }
                        has[i] = true;
                }
                json_push(a, &list, *t);
        }
        for (size_t i = 0; i < ARRAY_SIZE(taints); i++) {
                if (has[i] || !wants_taint(node, i))
                        continue;
                changed = true;
                json_push(a, &list,
                          json_build(a, "{ key: %c, effect: %c, timeAdded: %t }", taints[i].key, taints[i].effect,
                                     controller_now(c)));
        }
        if (!changed)
                return 0;
        copy = json_copy_tree(a, object_json(node));
        json_put(a, json_get_or_add_object(a, &copy, "spec"), "taints", json_len(&list) ? &list : NULL);
        return controller_update(c, &res_nodes, STR(""), &copy, err);
}

/* ---- pods of a node that is not ready ---- */

static int unready_pods(struct controller *c, struct arena *a, const struct object *node, struct error *err) {
        struct object *const *pods;
        size_t n = informer_index_get(pods_by_node(c), object_name(node), &pods);
        int result = 0;

        for (size_t i = 0; i < n; i++) {
                const struct json *old = Pod_status(object_json(pods[i])), *ready = condition_find(old, "Ready");

                if (!str_eqc(PodCondition_status(ready), "True"))
                        continue;
                struct json status = json_copy_shallow(a, old);
                condition_set(a, &status, &(struct condition) { "Ready", "False", "NodeNotReady", "Node is not ready" },
                              controller_now(c), 0);
                event_record(c->events, &res_pods, pods[i], NULL, "Warning", "NodeNotReady", "Node is not ready");
                int r = controller_update_status(c, &res_pods, pods[i], &status, err);
                if (r < 0 && r != -ENOENT)
                        result = r;
        }
        return result;
}

/* ---- reconcile ---- */

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct object *node = informer_get(controller_informer(c, &res_nodes), key);

        if (!node)
                return 0;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct health *h = health_of(c, key);
        const struct json *ready = condition_find(Node_status(object_json(node)), "Ready");
        int64_t left_ms = (ready ? GRACE_MS : STARTUP_GRACE_MS) - (controller_now(c) - h->seen_ns) / NSEC_PER_MSEC;
        if (left_ms <= 0 && h->due_ns > 0 && controller_now(c) > h->due_ns + ASLEEP_MS * NSEC_PER_MSEC) {
                h->seen_ns = controller_now(c);
                left_ms = GRACE_MS;
        }
        if (left_ms <= 0 && !str_eqc(NodeCondition_status(ready), "Unknown")) {
                if (str_eqc(NodeCondition_status(ready), "True"))
                        event_record(c->events, &res_nodes, node, NULL, "Normal", "NodeNotReady",
                                     "Node %" STR_FMT " status is now: NodeNotReady", STR_ARG(key));
                return mark_unknown(c, a, node, err); /* its news bring us back */
        }
        TRY(sync_taints(c, a, node, err));
        h->due_ns = left_ms > 0 ? controller_now(c) + left_ms * NSEC_PER_MSEC : 0;
        if (left_ms > 0)
                controller_enqueue_after(c, key, (uint64_t) left_ms);
        return ready && !str_eqc(NodeCondition_status(ready), "True") ? unready_pods(c, a, node, err) : 0;
}

const struct controller_class nodelifecycle_controller = {
        .name = "node-controller",
        .watches = { { &res_nodes, enqueue_node }, { &res_leases, enqueue_lease }, { &res_pods, NULL } },
        .init = init_by_node,
        .destroy = destroy_map,
        .reconcile = reconcile,
};
