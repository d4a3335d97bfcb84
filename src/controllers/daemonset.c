/* DaemonSet: one pod on every node that fits.
 *
 *   node ─▶ should it run here? ─┬─ yes, none there ─▶ create, bound by affinity: the scheduler still has its say
 *                                ├─ yes, several ────▶ keep the oldest
 *                                └─ no ──────────────▶ delete
 *
 * Then, with RollingUpdate, pods of an old revision are replaced within maxUnavailable, or doubled within maxSurge. */
#include "base/vec.h"
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "controllers/revisions.h"
#include "json/build.h"
#include "schema/nodefit.h"
#include "schema/types.h"

#define BURST 250
#define GENERATION "deprecated.daemonset.template.generation"

struct place {
        struct object *node;
        bool run, stay;            /* should have one; may keep one */
        VEC(struct object *) pods; /* ours that are (or will be) there, oldest first */
        struct object *old, *new;  /* of those alive, by revision */
};

struct sync {
        struct controller *c;
        struct arena *a;
        struct object *ds;
        const struct json *spec, *pod_spec;
        struct json tolerations;
        struct object_list pods;
        struct revisions revisions;
        struct map *places; /* node name → struct place */
        VEC(struct json) create;
        VEC(struct object *) remove;
        int64_t now, min_ready, max_surge, max_unavailable;
        bool rolling;
};

/* ---- which nodes ---- */

static const struct {
        const char *key, *effect;
        bool host_network_only;
} daemon_tolerations[] = {
        { "node.kubernetes.io/not-ready", "NoExecute", false },
        { "node.kubernetes.io/unreachable", "NoExecute", false },
        { "node.kubernetes.io/disk-pressure", "NoSchedule", false },
        { "node.kubernetes.io/memory-pressure", "NoSchedule", false },
        { "node.kubernetes.io/pid-pressure", "NoSchedule", false },
        { "node.kubernetes.io/unschedulable", "NoSchedule", false },
        { "node.kubernetes.io/network-unavailable", "NoSchedule", true },
};

static struct json tolerations_of(struct arena *a, const struct json *pod_spec) {
        const struct json *own = PodSpec_tolerations(pod_spec);
        struct json list = own ? json_copy_shallow(a, own) : json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(daemon_tolerations); i++)
                if (!daemon_tolerations[i].host_network_only || PodSpec_hostNetwork(pod_spec))
                        json_push(a, &list,
                                  json_build(a, "{ key: %c, operator: 'Exists', effect: %c }",
                                             daemon_tolerations[i].key, daemon_tolerations[i].effect));
        return list;
}

static void judge_node(struct sync *s, struct place *p) {
        struct str name = PodSpec_nodeName(s->pod_spec);

        if ((!str_empty(name) && !str_eq(name, object_name(p->node))) || !node_matches(p->node, s->pod_spec))
                return;
        p->run = taints_tolerated(p->node, &s->tolerations, true);
        p->stay = p->run || taints_tolerated(p->node, &s->tolerations, false);
}

/* Where a pod is, or is bound to by the affinity we gave it. */
static struct str target_of(const struct object *pod) {
        const struct json *terms = json_at_path(object_json(pod), "spec", "affinity", "nodeAffinity",
                                                "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms");

        if (!str_empty(pod_node(pod)))
                return pod_node(pod);
        json_each_item(t, terms)
                json_each_item(f, NodeSelectorTerm_matchFields(t))
                        if (str_eqc(NodeSelectorRequirement_key(f), "metadata.name"))
                                return json_str(json_item(NodeSelectorRequirement_values(f), 0));
        return str_n("", 0);
}

static void place_free(void *p) {
        struct place *place = p;

        vec_free(&place->pods);
        free(place);
}

static int by_age(const void *pa, const void *pb) {
        const struct object *a = *(struct object *const *) pa, *b = *(struct object *const *) pb;
        int64_t x = object_created_at(a), y = object_created_at(b);

        return x != y ? (x < y ? -1 : 1) : str_cmp(object_name(a), object_name(b));
}

static bool is_current(const struct sync *s, const struct object *pod) {
        return str_eq(object_label(pod, STR(REVISION_HASH)), s->revisions.hash);
}

static void find_places(struct sync *s) {
        const struct map *nodes = informer_objects(controller_informer(s->c, &res_nodes));

        s->places = map_new(place_free);
        map_each(it, nodes) {
                struct place *p = xcalloc(1, sizeof(*p));

                p->node = it.value;
                judge_node(s, p);
                map_put(s->places, it.key, p);
        }
        qsort(s->pods.v, s->pods.n, sizeof(*s->pods.v), by_age);
        for (size_t i = 0; i < s->pods.n; i++) {
                struct place *p = map_get(s->places, target_of(s->pods.v[i]));

                if (p)
                        vec_push(&p->pods, s->pods.v[i]);
                else if (!object_deleting(s->pods.v[i])) /* its node is gone; if it ran there, others collect it */
                        if (str_empty(pod_node(s->pods.v[i])))
                                vec_push(&s->remove, s->pods.v[i]);
        }
}

/* ---- one pod each ---- */

static void add_pod(struct sync *s, const struct object *node) {
        struct json pod = pod_from_template(s->a, DaemonSetSpec_template(s->spec), &res_daemonsets, s->ds,
                                            str_n(NULL, 0)),
                    *spec, *labels, *affinity;
        struct str generation = object_annotation(s->ds, GENERATION);

        pod = json_copy_tree(s->a, &pod);
        labels = json_get_or_add_object(s->a, json_get_or_add_object(s->a, &pod, "metadata"), "labels");
        json_set_str(s->a, labels, REVISION_HASH, s->revisions.hash);
        if (generation.p)
                json_set_str(s->a, labels, "pod-template-generation", generation);
        spec = json_get_or_add_object(s->a, &pod, "spec");
        json_setc(s->a, spec, "tolerations", s->tolerations);
        affinity = json_get_or_add_object(s->a, json_get_or_add_object(s->a, spec, "affinity"), "nodeAffinity");
        json_setc(s->a, affinity, "requiredDuringSchedulingIgnoredDuringExecution",
                  json_build(s->a,
                             "{ nodeSelectorTerms: [ { matchFields: [ { key: 'metadata.name', operator: 'In', values: "
                             "[ %s ] } ] } ] }",
                             object_name(node)));
        vec_push(&s->create, pod);
}

static void remove_finished(struct sync *s, struct object *pod, const struct object *node) {
        bool failed = str_eqc(object_phase(pod), "Failed");

        event_record(s->c->events, &res_daemonsets, s->ds, NULL, failed ? "Warning" : "Normal",
                     failed ? "FailedDaemonPod" : "SucceededDaemonPod",
                     failed ? "Found failed daemon pod %" STR_FMT "/%" STR_FMT " on node %" STR_FMT
                              ", will try to kill it"
                            : "Found succeeded daemon pod %" STR_FMT "/%" STR_FMT " on node %" STR_FMT
                              ", will try to delete it",
                     STR_ARG(object_namespace(pod)), STR_ARG(object_name(pod)), STR_ARG(object_name(node)));
        vec_push(&s->remove, pod);
}

static void manage_place(struct sync *s, struct place *p) {
        bool dying = false;

        for (size_t i = 0; i < p->pods.n; i++) {
                struct object *pod = p->pods.v[i], **slot;

                if (object_deleting(pod)) {
                        dying = true;
                        continue;
                }
                if (!p->stay) {
                        vec_push(&s->remove, pod);
                        continue;
                }
                if (pod_is_terminal(pod)) {
                        remove_finished(s, pod, p->node);
                        dying = true;
                        continue;
                }
                slot = is_current(s, pod) ? &p->new : &p->old;
                if (*slot || (s->max_surge == 0 && (p->old || p->new)))
                        vec_push(&s->remove, pod);
                else
                        *slot = pod;
        }
        if (p->run && !p->old && !p->new && !dying)
                add_pod(s, p->node);
}

/* ---- rolling update ---- */

static bool is_available(const struct sync *s, const struct object *pod) {
        return pod && pod_is_available(pod, s->min_ready, s->now, NULL);
}

static void replace_within_unavailable(struct sync *s) {
        VEC(struct object *) candidates = { 0 };
        int64_t unavailable = 0;

        map_each(it, s->places) {
                struct place *p = it.value;

                if (!p->run)
                        continue;
                if (!p->old)
                        unavailable += !is_available(s, p->new);
                else if (is_available(s, p->old))
                        vec_push(&candidates, p->old);
                else { /* nothing is lost by it */
                        unavailable++;
                        vec_push(&s->remove, p->old);
                }
        }
        for (size_t i = 0; i < candidates.n && unavailable < s->max_unavailable; i++, unavailable++)
                vec_push(&s->remove, candidates.v[i]);
        vec_free(&candidates);
}

static void replace_within_surge(struct sync *s) {
        VEC(struct place *) candidates = { 0 };
        int64_t surge = 0;

        map_each(it, s->places) {
                struct place *p = it.value;

                if (!p->run || !p->old)
                        continue;
                if (p->new) {
                        if (is_available(s, p->new))
                                vec_push(&s->remove, p->old);
                        else
                                surge++;
                } else if (is_available(s, p->old))
                        vec_push(&candidates, p);
                else
                        add_pod(s, p->node);
        }
        for (size_t i = 0; i < candidates.n && surge < s->max_surge; i++, surge++)
                add_pod(s, candidates.v[i]->node);
        vec_free(&candidates);
}

/* ---- status ---- */

static struct json new_status(struct sync *s, uint64_t *wait_ms) {
        struct json status = status_copy(s->a, DaemonSet_status(object_json(s->ds)));
        int64_t desired = 0, current = 0, misplaced = 0, ready = 0, available = 0, updated = 0;

        map_each(it, s->places) {
                struct place *p = it.value;
                struct object *best = NULL;

                for (size_t i = 0; i < p->pods.n; i++) /* the first by age, as the others are on their way out */
                        if (!best || (pod_is_ready(p->pods.v[i]) && !pod_is_ready(best)))
                                best = p->pods.v[i];
                desired += p->run;
                misplaced += !p->run && best;
                if (!p->run || !best)
                        continue;
                current++;
                ready += pod_is_ready(best);
                available += pod_is_available(best, s->min_ready, s->now, wait_ms);
                updated += is_current(s, best);
        }
        json_set_int(s->a, &status, "currentNumberScheduled", current);
        json_set_int(s->a, &status, "numberMisscheduled", misplaced);
        json_set_int(s->a, &status, "desiredNumberScheduled", desired);
        json_set_int(s->a, &status, "numberReady", ready);
        status_count(s->a, &status, "observedGeneration", object_generation(s->ds));
        status_count(s->a, &status, "updatedNumberScheduled", updated);
        status_count(s->a, &status, "numberAvailable", available);
        status_count(s->a, &status, "numberUnavailable", desired - available);
        if (s->revisions.collisions)
                json_set_int(s->a, &status, "collisionCount", s->revisions.collisions);
        return status;
}

/* ---- reconcile ---- */

static void read_strategy(struct sync *s) {
        const struct json *strategy = DaemonSetSpec_updateStrategy(s->spec),
                          *rolling = DaemonSetUpdateStrategy_rollingUpdate(strategy);
        int64_t desired = 0;

        map_each(it, s->places)
                desired += ((struct place *) it.value)->run;
        s->rolling = !str_eqc(DaemonSetUpdateStrategy_type(strategy), "OnDelete");
        if (!s->rolling)
                return;
        s->max_surge = int_or_percent(RollingUpdateDaemonSet_maxSurge(rolling), desired, true);
        s->max_unavailable =
                        rolling ? int_or_percent(RollingUpdateDaemonSet_maxUnavailable(rolling), desired, true) : 1;
        if (s->max_surge == 0 && s->max_unavailable == 0)
                s->max_unavailable = 1;
}

static int act(struct sync *s, struct error *err) {
        size_t n = MIN(s->create.n, (size_t) BURST);
        int r = pods_delete(s->c, &res_daemonsets, s->ds, s->remove.v, MIN(s->remove.n, (size_t) BURST), err);

        if (n > 0 && pods_create(s->c, &res_daemonsets, s->ds, s->create.v, n, false, err) < n && r == 0)
                r = err->err;
        return r;
}

static int sync_all(struct sync *s, struct str key, struct error *err) {
        uint64_t wait_ms = UINT64_MAX;
        int r = 0;

        find_places(s);
        read_strategy(s);
        if (!object_deleting(s->ds)) {
                map_each(it, s->places)
                        manage_place(s, it.value);
                if (s->rolling && s->create.n == 0 && s->remove.n == 0) {
                        if (s->max_surge > 0)
                                replace_within_surge(s);
                        else
                                replace_within_unavailable(s);
                }
                r = act(s, err);
                if (r == 0 && (s->create.n > 0 || s->remove.n > 0))
                        return 0; /* the pods' own news bring us back */
                if (r == 0)
                        r = revisions_trim(s->c, &s->revisions, DaemonSetSpec_revisionHistoryLimit(s->spec), s->pods,
                                           STR(""), err);
        }
        struct json status = new_status(s, &wait_ms);
        if (r == 0)
                r = controller_update_status(s->c, &res_daemonsets, s->ds, &status, err);
        else
                controller_update_status(s->c, &res_daemonsets, s->ds, &status, NULL);
        if (wait_ms != UINT64_MAX)
                controller_enqueue_after(s->c, key, wait_ms);
        return r;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *ds = informer_get(controller_informer(c, &res_daemonsets), key);
        struct sync s = { .c = c, .a = a, .ds = ds };

        if (!ds)
                return 0;
        struct selector selector = workload_selector(a, &res_daemonsets, ds);
        if (selector.nothing) {
                event_record(c->events, &res_daemonsets, ds, NULL, "Warning", "SelectingAll",
                             "This daemon set is selecting all pods. A non-empty selector is required.");
                return 0;
        }
        s.spec = DaemonSet_spec(object_json(ds));
        s.pod_spec = PodTemplateSpec_spec(DaemonSetSpec_template(s.spec));
        s.tolerations = tolerations_of(a, s.pod_spec);
        s.now = controller_now(c);
        s.min_ready = DaemonSetSpec_minReadySeconds(s.spec);
        int r = revisions_sync(c, a, &res_daemonsets, ds, &selector, REVISION_HASH, &s.revisions, err);
        if (r == 0)
                r = claim_children(c, a, &res_daemonsets, ds, &selector, &res_pods, c->state, &s.pods, NULL, err);
        if (r == 0)
                r = sync_all(&s, key, err);
        revisions_release(&s.revisions);
        map_free(s.places);
        vec_free(&s.create);
        vec_free(&s.remove);
        return r;
}

static bool same_for_us(const struct object *a, const struct object *b) {
        const struct json *x = object_json(a), *y = object_json(b);

        return json_equal(ObjectMeta_labels(Node_metadata(x)), ObjectMeta_labels(Node_metadata(y))) &&
               json_equal(NodeSpec_taints(Node_spec(x)), NodeSpec_taints(Node_spec(y)));
}

static void enqueue_node(struct controller *c, struct object *old, struct object *new) {
        if (old && new &&same_for_us(old, new))
                return;
        controller_each(it, c, &res_daemonsets)
                controller_enqueue_key(c, it.key);
}

const struct controller_class daemonset_controller = {
        .name = "daemonset-controller",
        .account = "daemon-set-controller",
        .watches = { { &res_daemonsets, enqueue_self },
                     { &res_pods, enqueue_owner_or_matching },
                     { &res_nodes, enqueue_node },
                     { &res_controllerrevisions, enqueue_owner } },
        .init = revisions_init,
        .reconcile = reconcile,
};
