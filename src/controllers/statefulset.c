/* StatefulSet: pods name-0, name-1, … each with claims of its own, made in order, removed in reverse.
 *
 *   ordinals   start … start+replicas-1: wanted        the rest: condemned, highest first
 *   revisions  below the partition: current            from the partition on: update, replaced highest first
 *
 * OrderedReady makes one step at a time and waits until all before it are ready; Parallel does not wait. A pod's claims
 * are made before it and, unless persistentVolumeClaimRetentionPolicy says otherwise, outlive it. */
#include <inttypes.h>

#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "controllers/revisions.h"
#include "json/build.h"
#include "schema/types.h"

#define POD_NAME "statefulset.kubernetes.io/pod-name"
#define POD_INDEX "apps.kubernetes.io/pod-index"

struct sync {
        struct controller *c;
        struct arena *a;
        struct object *set;
        const struct json *spec;
        struct object_list pods;      /* all of ours */
        struct object **wanted;       /* by ordinal - start; NULL: not there */
        struct object_list condemned; /* highest ordinal first */
        struct revisions revisions;
        struct str current; /* name of the revision of pods below the partition */
        const struct json *current_template;
        int64_t start, replicas, partition, min_ready, now;
        bool parallel, on_delete;
        bool wrote;
};

/* ---- names ---- */

/* -EINVAL: not one of ours. */
static int ordinal_of(const struct object *set, const struct object *pod, int64_t *ret) {
        struct str name = object_name(pod), prefix = object_name(set);

        if (!str_has_prefix(name, prefix) || name.n < prefix.n + 2 || name.p[prefix.n] != '-')
                return -EINVAL;
        return str_to_i64(str_sub(name, prefix.n + 1, name.n), ret) < 0 || *ret < 0 ? -EINVAL : 0;
}

static struct str claim_name(struct sync *s, const struct json *template, struct str pod) {
        return arena_printf(s->a, "%" STR_FMT "-%" STR_FMT,
                            STR_ARG(ObjectMeta_name(PersistentVolumeClaim_metadata(template))), STR_ARG(pod));
}

/* ---- pods ---- */

static bool is_available(const struct sync *s, const struct object *pod) {
        return pod_is_available(pod, s->min_ready, s->now, NULL);
}

static bool is_of(const struct object *pod, struct str revision) {
        return str_eq(object_label(pod, STR(REVISION_HASH)), revision);
}

/* Each claim of the set's templates becomes a volume of that name. */
static void add_claims(struct sync *s, struct json *spec, struct str pod) {
        const struct json *templates = StatefulSetSpec_volumeClaimTemplates(s->spec);
        struct json volumes = json_new_array();

        json_each_item(t, templates)
                json_push(s->a, &volumes,
                          json_build(s->a, "{ name: %s, persistentVolumeClaim: { claimName: %s } }",
                                     ObjectMeta_name(PersistentVolumeClaim_metadata(t)), claim_name(s, t, pod)));
        json_each_item(v, json_getc(spec, "volumes")) {
                bool replaced = false;

                json_each_item(t, templates)
                        replaced |= str_eq(Volume_name(v), ObjectMeta_name(PersistentVolumeClaim_metadata(t)));
                if (!replaced)
                        json_push(s->a, &volumes, *v);
        }
        if (json_len(&volumes))
                json_setc(s->a, spec, "volumes", volumes);
}

static struct json new_pod(struct sync *s, int64_t ordinal) {
        bool update = ordinal - s->start >= s->partition;
        const struct json *template = update ? StatefulSetSpec_template(s->spec) : s->current_template;
        struct str name = arena_printf(s->a, "%" STR_FMT "-%" PRId64, STR_ARG(object_name(s->set)), ordinal),
                   service = StatefulSetSpec_serviceName(s->spec);
        struct json pod = pod_from_template(s->a, template, &res_statefulsets, s->set, name), *labels, *spec;

        pod = json_copy_tree(s->a, &pod);
        labels = json_get_or_add_object(s->a, json_get_or_add_object(s->a, &pod, "metadata"), "labels");
        json_set_str(s->a, labels, REVISION_HASH, update ? s->revisions.name : s->current);
        json_set_str(s->a, labels, POD_NAME, name);
        json_setc(s->a, labels, POD_INDEX, json_of_printf(s->a, "%" PRId64, ordinal));
        spec = json_get_or_add_object(s->a, &pod, "spec");
        json_removec(spec, "$patch");
        json_set_str(s->a, spec, "hostname", name);
        if (!str_empty(service))
                json_set_str(s->a, spec, "subdomain", service);
        add_claims(s, spec, name);
        return pod;
}

static int make_claims(struct sync *s, int64_t ordinal, struct error *err) {
        struct str pod = arena_printf(s->a, "%" STR_FMT "-%" PRId64, STR_ARG(object_name(s->set)), ordinal);
        const struct json *match = json_at_path(s->spec, "selector", "matchLabels");

        json_each_item(t, StatefulSetSpec_volumeClaimTemplates(s->spec)) {
                struct str name = claim_name(s, t, pod);

                if (controller_get(s->c, &res_persistentvolumeclaims, object_namespace(s->set), name))
                        continue;
                struct json claim = json_copy_tree(s->a, t);
                json_set_cstr(s->a, &claim, "kind", "PersistentVolumeClaim");
                json_set_cstr(s->a, &claim, "apiVersion", "v1");
                json_removec(&claim, "status");
                struct json *meta = json_get_or_add_object(s->a, &claim, "metadata");
                json_set_str(s->a, meta, "name", name);
                json_set_str(s->a, meta, "namespace", object_namespace(s->set));
                struct json *labels = json_get_or_add_object(s->a, meta, "labels");
                json_each_member(m, match)
                        json_set(s->a, labels, json_key(m), m->value);
                int r = controller_create(s->c, &res_persistentvolumeclaims, object_namespace(s->set), &claim, NULL,
                                          err);
                if (r == -EEXIST)
                        error_clear(err);
                else if (r < 0) {
                        event_record(s->c->events, &res_statefulsets, s->set, NULL, "Warning", "FailedCreate",
                                     "create Claim %" STR_FMT " Pod %" STR_FMT " in StatefulSet %" STR_FMT
                                     " failed error: %s",
                                     STR_ARG(name), STR_ARG(pod), STR_ARG(object_name(s->set)), error_text(err));
                        return r;
                } else
                        event_record(s->c->events, &res_statefulsets, s->set, NULL, "Normal", "SuccessfulCreate",
                                     "create Claim %" STR_FMT " Pod %" STR_FMT " in StatefulSet %" STR_FMT " success",
                                     STR_ARG(name), STR_ARG(pod), STR_ARG(object_name(s->set)));
        }
        return 0;
}

static int create_pod(struct sync *s, int64_t ordinal, struct error *err) {
        TRY(make_claims(s, ordinal, err));
        struct json pod = new_pod(s, ordinal);
        struct str name = json_str(json_at_path(&pod, "metadata", "name"));
        int r = controller_create(s->c, &res_pods, object_namespace(s->set), &pod, NULL, err);
        if (r < 0) {
                event_record(s->c->events, &res_statefulsets, s->set, NULL, "Warning", "FailedCreate",
                             "create Pod %" STR_FMT " in StatefulSet %" STR_FMT " failed error: %s", STR_ARG(name),
                             STR_ARG(object_name(s->set)), error_text(err));
                return r;
        }
        s->wrote = true;
        event_record(s->c->events, &res_statefulsets, s->set, NULL, "Normal", "SuccessfulCreate",
                     "create Pod %" STR_FMT " in StatefulSet %" STR_FMT " successful", STR_ARG(name),
                     STR_ARG(object_name(s->set)));
        return 0;
}

static int delete_pod(struct sync *s, struct object *pod, struct error *err) {
        if (object_deleting(pod))
                return 0;
        TRY(controller_delete(s->c, &res_pods, pod, NULL, err));
        s->wrote = true;
        event_record(s->c->events, &res_statefulsets, s->set, NULL, "Normal", "SuccessfulDelete",
                     "delete Pod %" STR_FMT " in StatefulSet %" STR_FMT " successful", STR_ARG(object_name(pod)),
                     STR_ARG(object_name(s->set)));
        return 0;
}

/* ---- one step ---- */

/* Fills the gaps in order. *ret_stop: what follows has to wait. */
static int fill(struct sync *s, bool *ret_stop, struct error *err) {
        for (int64_t i = 0; i < s->replicas; i++) {
                struct object *pod = s->wanted[i];

                if (pod && pod_is_terminal(pod)) { /* it is made again under the same name, once it is gone */
                        *ret_stop |= !s->parallel;
                        TRY(delete_pod(s, pod, err));
                } else if (!pod)
                        TRY(create_pod(s, s->start + i, err));
                if (!s->parallel && (!pod || object_deleting(pod) || pod_is_terminal(pod) || !is_available(s, pod))) {
                        *ret_stop = true;
                        return 0;
                }
        }
        return 0;
}

/* In order: a pod that is not healthy goes only when it is the first such, else what is wrong has to be seen to. */
static bool has_to_stay(const struct sync *s, size_t i) {
        size_t first = s->condemned.n;

        if (s->parallel || is_available(s, s->condemned.v[i]))
                return false;
        while (first-- > 0)
                if (object_deleting(s->condemned.v[first]) || !is_available(s, s->condemned.v[first]))
                        break;
        return first != i;
}

static int remove_condemned(struct sync *s, bool *ret_stop, struct error *err) {
        for (size_t i = 0; i < s->condemned.n; i++) {
                TRY(has_to_stay(s, i) ? 0 : delete_pod(s, s->condemned.v[i], err));
                if (!s->parallel) {
                        *ret_stop = true; /* one, and wait until it is gone */
                        return 0;
                }
        }
        return 0;
}

/* Pods of the old revision from the partition on, the highest ordinal first, each after the one above it is healthy. */
static int roll(struct sync *s, struct error *err) {
        for (int64_t i = s->replicas - 1; i >= s->partition; i--) {
                struct object *pod = s->wanted[i];

                if (!pod)
                        return 0;
                if (!is_of(pod, s->revisions.name) && !object_deleting(pod))
                        return delete_pod(s, pod, err);
                if (object_deleting(pod) || !is_available(s, pod))
                        return 0;
        }
        return 0;
}

static int step(struct sync *s, struct error *err) {
        bool stop = false;

        if (object_deleting(s->set))
                return 0;
        int r = fill(s, &stop, err);
        if (r == 0 && !stop)
                r = remove_condemned(s, &stop, err);
        if (r == 0 && !stop && !s->on_delete && s->condemned.n == 0 && !s->wrote)
                r = roll(s, err);
        return r;
}

/* ---- what is there ---- */

static int by_ordinal_down(const void *pa, const void *pb, void *set) {
        int64_t a = 0, b = 0;

        ordinal_of(set, *(struct object *const *) pa, &a);
        ordinal_of(set, *(struct object *const *) pb, &b);
        return a > b ? -1 : a < b;
}

static void sort_pods(struct sync *s) {
        s->wanted = arena_array(s->a, struct object *, s->replicas + 1);
        s->condemned.v = arena_array(s->a, struct object *, s->pods.n + 1);
        for (size_t i = 0; i < s->pods.n; i++) {
                int64_t ordinal;

                if (ordinal_of(s->set, s->pods.v[i], &ordinal) < 0)
                        continue;
                if (ordinal >= s->start && ordinal < s->start + s->replicas)
                        s->wanted[ordinal - s->start] = s->pods.v[i];
                else
                        s->condemned.v[s->condemned.n++] = s->pods.v[i];
        }
        qsort_r(s->condemned.v, s->condemned.n, sizeof(*s->condemned.v), by_ordinal_down, s->set);
}

static void find_current(struct sync *s) {
        s->current = StatefulSetStatus_currentRevision(StatefulSet_status(object_json(s->set)));
        const struct object *revision = str_empty(s->current) ? NULL : revision_named(&s->revisions, s->current);
        if (!revision)
                revision = s->revisions.update;
        s->current = object_name(revision);
        s->current_template = revision_template(revision);
}

/* ---- status ---- */

static struct json new_status(struct sync *s, uint64_t *wait_ms) {
        struct json status = status_copy(s->a, StatefulSet_status(object_json(s->set)));
        int64_t ready = 0, available = 0, current = 0, updated = 0, replicas = 0;

        for (size_t i = 0; i < s->pods.n; i++) {
                const struct object *pod = s->pods.v[i];

                if (pod_is_terminal(pod))
                        continue;
                replicas++;
                ready += pod_is_ready(pod);
                available += pod_is_available(pod, s->min_ready, s->now, wait_ms);
                if (object_deleting(pod))
                        continue;
                current += is_of(pod, s->current);
                updated += is_of(pod, s->revisions.name);
        }
        /* A rollout that is through makes the update the current. */
        if (!s->on_delete && updated == s->replicas && ready == s->replicas && replicas == s->replicas) {
                s->current = s->revisions.name;
                current = updated;
        }
        json_set_int(s->a, &status, "observedGeneration", object_generation(s->set));
        json_set_int(s->a, &status, "replicas", replicas);
        status_count(s->a, &status, "readyReplicas", ready);
        status_count(s->a, &status, "currentReplicas", current);
        status_count(s->a, &status, "updatedReplicas", updated);
        json_set_str(s->a, &status, "currentRevision", s->current);
        json_set_str(s->a, &status, "updateRevision", s->revisions.name);
        json_set_int(s->a, &status, "collisionCount", s->revisions.collisions);
        json_set_int(s->a, &status, "availableReplicas", available);
        return status;
}

/* ---- claims that go with their set or their pod ---- */

static bool goes(const struct sync *s, bool with_pod) {
        const struct json *policy = StatefulSetSpec_persistentVolumeClaimRetentionPolicy(s->spec);

        return str_eqc(with_pod ? StatefulSetPersistentVolumeClaimRetentionPolicy_whenScaled(policy)
                                : StatefulSetPersistentVolumeClaimRetentionPolicy_whenDeleted(policy),
                       "Delete");
}

/* A claim is owned by the set (goes with it), or by its condemned pod (goes with that), so that the garbage collector
 * does it. */
static int own_claims(struct sync *s, const struct object *pod, bool condemned, struct error *err) {
        json_each_item(t, StatefulSetSpec_volumeClaimTemplates(s->spec)) {
                struct object *claim = controller_get(s->c, &res_persistentvolumeclaims, object_namespace(s->set),
                                                      claim_name(s, t, object_name(pod)));
                const struct api_resource *res = condemned && goes(s, true) ? &res_pods : &res_statefulsets;
                const struct object *owner = res == &res_pods ? pod : s->set;
                struct json refs = json_new_array(), copy;
                bool owned = false, wanted = res == &res_pods || goes(s, false), foreign = false;
                char gv[320];

                if (!claim || object_deleting(claim))
                        continue;
                json_each_item(ref, json_at_path(object_json(claim), "metadata", "ownerReferences")) {
                        struct str uid = OwnerReference_uid(ref);

                        if (str_eq(uid, object_uid(owner)) && wanted)
                                owned = true;
                        else if (str_eq(uid, object_uid(s->set)) || str_eq(uid, object_uid(pod))) {
                                foreign = true;
                                continue;
                        }
                        json_push(s->a, &refs, *ref);
                }
                if (owned == wanted && !foreign)
                        continue;
                if (wanted && !owned)
                        json_push(s->a, &refs,
                                  json_build(s->a, "{ apiVersion: %S, kind: %c, name: %s, uid: %s }",
                                             api_version_of(gv, res), res->kind, object_name(owner),
                                             object_uid(owner)));
                copy = json_copy_tree(s->a, object_json(claim));
                json_setc(s->a, json_get_or_add_object(s->a, &copy, "metadata"), "ownerReferences", refs);
                int r = controller_update(s->c, &res_persistentvolumeclaims, STR(""), &copy, err);
                if (r < 0 && r != -ENOENT)
                        return r;
        }
        return 0;
}

static int sync_claims(struct sync *s, struct error *err) {
        int r = 0;

        if (json_len(StatefulSetSpec_volumeClaimTemplates(s->spec)) == 0 || object_deleting(s->set))
                return 0;
        for (int64_t i = 0; i < s->replicas && r == 0; i++)
                if (s->wanted[i])
                        r = own_claims(s, s->wanted[i], false, err);
        for (size_t i = 0; i < s->condemned.n && r == 0; i++)
                r = own_claims(s, s->condemned.v[i], true, err);
        return r;
}

/* ---- reconcile ---- */

static int sync_all(struct sync *s, struct str key, struct error *err) {
        uint64_t wait_ms = UINT64_MAX;

        find_current(s);
        sort_pods(s);
        int r = sync_claims(s, err);
        if (r == 0)
                r = step(s, err);
        if (r == 0 && s->wrote)
                return 0; /* the pods' own news bring us back */
        struct json status = new_status(s, &wait_ms);
        if (r < 0)
                controller_update_status(s->c, &res_statefulsets, s->set, &status, NULL);
        else
                r = controller_update_status(s->c, &res_statefulsets, s->set, &status, err);
        if (r == 0)
                r = revisions_trim(s->c, &s->revisions, StatefulSetSpec_revisionHistoryLimit(s->spec), s->pods,
                                   s->current, err);
        if (wait_ms != UINT64_MAX)
                controller_enqueue_after(s->c, key, wait_ms);
        return r;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *set = informer_get(controller_informer(c, &res_statefulsets), key);
        struct sync s = { .c = c, .a = a, .set = set };

        if (!set)
                return 0;
        struct selector selector = workload_selector(a, &res_statefulsets, set);
        if (selector.nothing)
                return 0;
        s.spec = StatefulSet_spec(object_json(set));
        const struct json *strategy = StatefulSetSpec_updateStrategy(s.spec);
        s.replicas = StatefulSetSpec_replicas(s.spec);
        s.start = StatefulSetOrdinals_start(StatefulSetSpec_ordinals(s.spec));
        s.min_ready = StatefulSetSpec_minReadySeconds(s.spec);
        s.now = controller_now(c);
        s.parallel = str_eqc(StatefulSetSpec_podManagementPolicy(s.spec), "Parallel");
        s.on_delete = str_eqc(StatefulSetUpdateStrategy_type(strategy), "OnDelete");
        s.partition = RollingUpdateStatefulSetStrategy_partition(StatefulSetUpdateStrategy_rollingUpdate(strategy));
        int r = revisions_sync(c, a, &res_statefulsets, set, &selector, "controller.kubernetes.io/hash", &s.revisions,
                               err);
        if (r == 0)
                r = claim_children(c, a, &res_statefulsets, set, &selector, &res_pods, c->state, &s.pods, NULL, err);
        if (r == 0)
                r = sync_all(&s, key, err);
        revisions_release(&s.revisions);
        return r;
}

const struct controller_class statefulset_controller = {
        .name = "statefulset-controller",
        .watches = { { &res_statefulsets, enqueue_self },
                     { &res_pods, enqueue_owner_or_matching },
                     { &res_persistentvolumeclaims, NULL },
                     { &res_controllerrevisions, enqueue_owner } },
        .init = revisions_init,
        .reconcile = reconcile,
};
