/* Pod garbage: pods on nodes that are gone, terminating pods that never got a node, terminating pods on nodes tainted
 * out-of-service, and terminated pods beyond a threshold (the oldest first).
 *
 * The key is a pod, except for one that stands for the threshold. A node may be missing for a moment (it registers
 * anew, or our cache of nodes is behind that of pods): 40 s pass, then the server is asked. */
#include "base/vec.h"
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

#define THRESHOLD 12500
#define QUARANTINE_MS 40000
#define THRESHOLD_KEY STR("/terminated")
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

struct state {
        size_t n_terminated;
        struct map *missing; /* node → since when (int64_t *) */
};

/* ---- what to look at ---- */

static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        struct state *s = c->state;

        s->n_terminated += (new &&pod_is_terminal(new)) - (old && pod_is_terminal(old));
        if (s->n_terminated > THRESHOLD)
                controller_enqueue_key(c, THRESHOLD_KEY);
        if (!new)
                return;
        struct str node = pod_node(new);
        if (str_empty(node) ? object_deleting(new)
                            : !controller_get(c, &res_nodes, STR(""), node) || object_deleting(new))
                enqueue_self(c, old, new);
}

static bool is_out_of_service(const struct object *node) {
        json_each_item(t, NodeSpec_taints(Node_spec(object_json(node))))
                if (str_eqc(Taint_key(t), OUT_OF_SERVICE))
                        return true;
        return false;
}

static void enqueue_node(struct controller *c, struct object *old, struct object *new) {
        struct state *s = c->state;
        struct object *const *pods;

        if (new)
                map_remove(s->missing, object_name(new));
        if (new && !is_out_of_service(new))
                return;
        size_t n = informer_index_get(pods_by_node(c), object_name(new ? new : old), &pods);
        for (size_t i = 0; i < n; i++)
                enqueue_self(c, NULL, pods[i]);
}

/* ---- removing ---- */

/* For good and at once: nobody is there to confirm its end. A pod that did not end by itself has failed. */
static int remove_pod(struct controller *c, struct arena *a, const struct object *pod, const char *reason,
                      struct error *err) {
        const struct json *old = Pod_status(object_json(pod));
        struct client_request request = controller_delete_request(&res_pods, pod, NULL);
        struct json status, patch;
        int result, r;

        if (!pod_is_terminal(pod)) {
                status = status_copy(a, old);
                json_set_cstr(a, &status, "phase", "Failed");
                if (reason)
                        condition_set(a, &status,
                                      &(struct condition) { "DisruptionTarget", "True", "DeletionByPodGC", reason },
                                      controller_now(c), 0);
                patch = json_build(a, "{ metadata: { uid: %s }, status: %j }", object_uid(pod), &status);
                r = controller_patch(c, &res_pods, pod, STR("status"), API_PATCH_MERGE, &patch, err);
                if (r < 0 && r != -ENOENT)
                        return r;
                error_clear(err);
        }
        request.options.grace_period_seconds = 0;
        if (controller_batch(c, &request, 1, &result, err, NULL) > 0 && result != -ENOENT)
                return result;
        error_clear(err);
        return 0;
}

struct oldest {
        int64_t created;
        struct object *pod;
};

static int by_creation(const void *pa, const void *pb) {
        const struct oldest *a = pa, *b = pb;

        return a->created != b->created ? (a->created < b->created ? -1 : 1)
                                        : str_cmp(object_name(a->pod), object_name(b->pod));
}

static int collect_terminated(struct controller *c, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        VEC(struct oldest) pods = { 0 };
        int r = 0;

        controller_each(it, c, &res_pods)
                if (pod_is_terminal(it.value))
                        vec_push(&pods, (struct oldest) { object_created_at(it.value), it.value });
        if (pods.n > THRESHOLD)
                qsort(pods.v, pods.n, sizeof(*pods.v), by_creation);
        for (size_t i = 0; i + THRESHOLD < pods.n && r == 0; i++)
                r = remove_pod(c, a, pods.v[i].pod, NULL, err);
        vec_free(&pods);
        return r;
}

/* ---- reconcile ---- */

static int node_is_gone(struct controller *c, struct str name, bool *ret, struct error *err) {
        int r = client_get(c->client, &res_nodes, STR(""), name, NULL, err);

        *ret = r == -ENOENT;
        if (*ret)
                error_clear(err);
        return *ret ? 0 : r;
}

static int64_t missing_for_ms(struct controller *c, struct str node) {
        struct state *s = c->state;
        int64_t *since = map_get(s->missing, node), now = controller_now(c);

        if (!since) {
                since = xmalloc(sizeof(*since));
                *since = now;
                map_put(s->missing, node, since);
        }
        return (now - *since) / NSEC_PER_MSEC;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        bool gone;

        if (str_eq(key, THRESHOLD_KEY))
                return collect_terminated(c, err);
        struct object *pod = informer_get(controller_informer(c, &res_pods), key);
        if (!pod)
                return 0;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        if (str_empty(pod_node(pod)))
                return object_deleting(pod) ? remove_pod(c, a, pod, NULL, err) : 0;
        struct object *node = controller_get(c, &res_nodes, STR(""), pod_node(pod));
        if (node) {
                if (object_deleting(pod) && is_out_of_service(node) &&
                    !condition_is(Node_status(object_json(node)), "Ready", "True"))
                        return remove_pod(c, a, pod, NULL, err);
                return 0;
        }
        int64_t left_ms = QUARANTINE_MS - missing_for_ms(c, pod_node(pod));
        if (left_ms > 0) {
                controller_enqueue_after(c, key, (uint64_t) left_ms);
                return 0;
        }
        int r = node_is_gone(c, pod_node(pod), &gone, err);
        return r < 0 || !gone ? r : remove_pod(c, a, pod, "PodGC: node no longer exists", err);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct state *s = xcalloc(1, sizeof(*s));

        s->missing = map_new(free);
        *ret_state = s;
        pods_by_node(c);
        return 0;
}

static void destroy(void *state) {
        struct state *s = state;

        map_free(s->missing);
        free(s);
}

const struct controller_class podgc_controller = {
        .name = "pod-garbage-collector-controller",
        .account = "pod-garbage-collector",
        .watches = { { &res_pods, enqueue_pod }, { &res_nodes, enqueue_node } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};
