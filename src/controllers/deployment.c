/* Deployment: keeps one ReplicaSet for each version of the template and moves pods from the old ones to the new.
 *
 *   template ─hash─▶ new ReplicaSet (created, or found again: rollback) ─▶ scale up within maxSurge ┐
 *                    old ReplicaSets ─────────────────────────────────────▶ scale down within        ├─▶ status
 *                                      unhealthy pods first                 maxUnavailable           ┘
 *
 * Each reconcile makes one step; the ReplicaSets' own news bring us back for the next. A change of spec.replicas in the
 * middle of a rollout is spread over all ReplicaSets in proportion (deployment_scale.c). The rollout as a whole, and
 * what its conditions say: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ */
#include "controllers/conditions.h"
#include "controllers/deployment.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- ReplicaSets as we see them ---- */

static int by_age(const void *pa, const void *pb) {
        const struct replica_set *a = pa, *b = pb;

        if (a->created != b->created)
                return a->created < b->created ? -1 : 1;
        return str_cmp(object_name(a->object), object_name(b->object));
}

static void read_replica_set(struct replica_set *rs, struct object *o) {
        const struct json *doc = object_json(o), *status = ReplicaSet_status(doc);
        const struct json *template = ReplicaSetSpec_template(ReplicaSet_spec(doc));

        *rs = (struct replica_set) {
                .object = o,
                .template = template,
                .replicas = ReplicaSetSpec_replicas(ReplicaSet_spec(doc)),
                .actual = ReplicaSetStatus_replicas(status),
                .ready = ReplicaSetStatus_readyReplicas(status),
                .available = ReplicaSetStatus_availableReplicas(status),
                .created = object_created_at(o),
        };
        if (str_to_i64(object_annotation(o, REVISION), &rs->revision) < 0)
                rs->revision = 0;
}

/* Equal but for the hash label that we put there. */
static bool same_template(const struct json *a, const struct json *b) {
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        const struct json *both[2] = { a, b };
        struct json bare[2];

        for (int i = 0; i < 2; i++) {
                bare[i] = json_copy_shallow(arena, both[i]);
                if (!json_at_path(both[i], "metadata", "labels"))
                        continue;
                struct json meta = json_copy_shallow(arena, json_getc(both[i], "metadata"));
                struct json labels = json_copy_shallow(arena, json_getc(&meta, "labels"));
                json_removec(&labels, HASH_LABEL);
                json_setc(arena, &meta, "labels", labels);
                json_setc(arena, &bare[i], "metadata", meta);
        }
        return json_equal(&bare[0], &bare[1]);
}

static void find_new(struct rollout *r, struct replica_set *all, size_t n) {
        /* In rare cases several match (a collision that was resolved): the oldest is it, always the same one. */
        for (size_t i = 0; i < n && !r->new; i++)
                if (same_template(all[i].template, DeploymentSpec_template(r->spec)))
                        r->new = &all[i];
        r->old = arena_array(r->a, struct replica_set *, n);
        for (size_t i = 0; i < n; i++)
                if (&all[i] != r->new)
                        r->old[r->n_old++] = &all[i];
}

/* ---- rounding as upstream: surge up, unavailable down, never both zero ---- */

static void read_strategy(struct rollout *r) {
        const struct json *strategy = DeploymentSpec_strategy(r->spec),
                          *rolling = DeploymentStrategy_rollingUpdate(strategy);

        r->recreate = str_eqc(DeploymentStrategy_type(strategy), "Recreate");
        if (r->recreate) {
                r->max_unavailable = 0;
                return;
        }
        r->max_surge = int_or_percent(RollingUpdateDeployment_maxSurge(rolling), r->replicas, true);
        r->max_unavailable = int_or_percent(RollingUpdateDeployment_maxUnavailable(rolling), r->replicas, false);
        if (r->max_surge == 0 && r->max_unavailable == 0)
                r->max_unavailable = 1;
        r->max_unavailable = MIN(r->max_unavailable, r->replicas);
}

int64_t rollout_sum(const struct rollout *r, size_t field) {
        int64_t sum = r->new ? *(const int64_t *) ((const char *) r->new + field) : 0;

        for (size_t i = 0; i < r->n_old; i++)
                sum += *(const int64_t *) ((const char *) r->old[i] + field);
        return sum;
}

/* ---- writing ReplicaSets ---- */

/* spec.replicas, and the annotations by which a later scaling knows what was wanted when. */
int rollout_scale(struct rollout *r, struct replica_set *rs, int64_t replicas, struct error *err) {
        struct str desired = arena_printf(r->a, "%" PRId64, r->replicas),
                   max = arena_printf(r->a, "%" PRId64, r->replicas + r->max_surge);
        bool sized = replicas != rs->replicas;
        int64_t before = rs->replicas;

        if (!sized && str_eq(object_annotation(rs->object, DESIRED), desired) &&
            str_eq(object_annotation(rs->object, MAXIMUM), max))
                return 0;
        struct json patch = json_build(
                        r->a, "{ metadata: { uid: %s, annotations: { %c: %s, %c: %s } }, spec: { replicas: %l } }",
                        object_uid(rs->object), DESIRED, desired, MAXIMUM, max, replicas);
        TRY(controller_patch(r->c, &res_replicasets, rs->object, STR(""), API_PATCH_MERGE, &patch, err));
        r->wrote = true;
        if (sized)
                event_record(r->c->events, &res_deployments, r->d, NULL, "Normal", "ScalingReplicaSet",
                             "Scaled %s replica set %" STR_FMT " from %" PRId64 " to %" PRId64,
                             replicas > before ? "up" : "down", STR_ARG(object_name(rs->object)), before, replicas);
        rs->replicas = replicas;
        return 0;
}

/* Annotations that say something about one object alone. */
static bool is_private_annotation(struct str key) {
        return str_among(key, WORDS("kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED,
                                    MAXIMUM, "deprecated.deployment.rollback.to"));
}

static int64_t max_old_revision(const struct rollout *r) {
        int64_t max = 0;

        for (size_t i = 0; i < r->n_old; i++)
                max = MAX(max, r->old[i]->revision);
        return max;
}

/* The new ReplicaSet carries the Deployment's annotations and the highest revision. A ReplicaSet that is new again (a
 * rollback) remembers its former revisions. */
static int refresh_new(struct rollout *r, struct error *err) {
        const struct object *rs = r->new->object;
        int64_t revision = MAX(max_old_revision(r) + 1, r->new->revision),
                min_ready = DeploymentSpec_minReadySeconds(r->spec);
        struct json annotations = json_new_object(), patch;

        json_each_member(m, json_at_path(object_json(r->d), "metadata", "annotations")) {
                struct str has = json_str_or(
                                json_get(json_at_path(object_json(rs), "metadata", "annotations"), json_key(m)),
                                str_n(NULL, 0));

                if (!is_private_annotation(json_key(m)) && (!has.p || !str_eq(has, json_str(&m->value))))
                        json_set(r->a, &annotations, json_key(m), m->value);
        }
        if (revision > r->new->revision) {
                struct str before = object_annotation(rs, REVISION), history = object_annotation(rs, HISTORY);

                json_setc(r->a, &annotations, REVISION, json_of_printf(r->a, "%" PRId64, revision));
                if (before.p)
                        json_setc(r->a, &annotations, HISTORY,
                                  str_empty(history) ? json_of_str(before)
                                                     : json_of_printf(r->a, "%" STR_FMT ",%" STR_FMT, STR_ARG(history),
                                                                      STR_ARG(before)));
        }
        r->revision = revision;
        if (json_len(&annotations) == 0 &&
            min_ready == ReplicaSetSpec_minReadySeconds(ReplicaSet_spec(object_json(rs))))
                return 0;
        patch = json_build(r->a, "{ metadata: { uid: %s, annotations: %j }, spec: { minReadySeconds: %l } }",
                           object_uid(rs), json_len(&annotations) ? &annotations : NULL, min_ready);
        int result = controller_patch(r->c, &res_replicasets, rs, STR(""), API_PATCH_MERGE, &patch, err);
        if (result == 0)
                r->wrote = true;
        return result;
}

static struct json new_replica_set(struct rollout *r, struct str name, struct str hash, int64_t replicas) {
        const struct json *template = DeploymentSpec_template(r->spec), *selector = DeploymentSpec_selector(r->spec);
        struct json labeled = json_copy_tree(r->a, template), chosen = json_copy_tree(r->a, selector),
                    annotations = json_new_object(), ref = controller_ref(r->a, &res_deployments, r->d), *labels;

        labels = json_get_or_add_object(r->a, json_get_or_add_object(r->a, &labeled, "metadata"), "labels");
        json_set_str(r->a, labels, HASH_LABEL, hash);
        json_set_str(r->a, json_get_or_add_object(r->a, &chosen, "matchLabels"), HASH_LABEL, hash);
        json_each_member(m, json_at_path(object_json(r->d), "metadata", "annotations"))
                if (!is_private_annotation(json_key(m)))
                        json_set(r->a, &annotations, json_key(m), m->value);
        json_setc(r->a, &annotations, REVISION, json_of_printf(r->a, "%" PRId64, r->revision));
        json_setc(r->a, &annotations, DESIRED, json_of_printf(r->a, "%" PRId64, r->replicas));
        json_setc(r->a, &annotations, MAXIMUM, json_of_printf(r->a, "%" PRId64, r->replicas + r->max_surge));
        return json_build(
                        r->a,
                        "{ kind: 'ReplicaSet', apiVersion: 'apps/v1', metadata: { name: %s, namespace: %s, labels: %j,"
                        "  annotations: %j, ownerReferences: [ %j ] }, spec: { replicas: %l, minReadySeconds: %l,"
                        "  selector: %j, template: %j } }",
                        name, object_namespace(r->d), labels, &annotations, &ref, replicas,
                        DeploymentSpec_minReadySeconds(r->spec), &chosen, &labeled);
}

/* Somebody has the name: ourselves (our cache was behind), or a stranger, and then another hash is tried. */
static int create_collided(struct rollout *r, struct str name, struct error *err) {
        _cleanup_(object_unrefp) struct object *there = NULL;

        TRY(client_get(r->c->client, &res_replicasets, object_namespace(r->d), name, &there, err));
        if (is_controlled_by(there, object_uid(r->d)) &&
            same_template(ReplicaSetSpec_template(ReplicaSet_spec(object_json(there))),
                          DeploymentSpec_template(r->spec)))
                return error_set(err, -EAGAIN, "replica set %" STR_FMT " is not in the cache yet", STR_ARG(name));
        json_set_int(r->a, &r->status, "collisionCount", DeploymentStatus_collisionCount(&r->status) + 1);
        int result = controller_update_status(r->c, &res_deployments, r->d, &r->status, err);
        return result < 0 ? result
                          : error_set(err, -EAGAIN, "replica set %" STR_FMT " belongs to another", STR_ARG(name));
}

static int create_new(struct rollout *r, struct error *err) {
        bool collided = json_getc(&r->status, "collisionCount") != NULL;
        struct str hash = template_hash(r->a, DeploymentSpec_template(r->spec),
                                        DeploymentStatus_collisionCount(&r->status), collided);
        struct str name = arena_printf(r->a, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(r->d)), STR_ARG(hash));
        struct object *created = NULL;

        r->revision = max_old_revision(r) + 1;
        int64_t replicas = r->recreate ? r->replicas : rollout_room_for_new(r, 0);
        struct json body = new_replica_set(r, name, hash, replicas);
        int result = controller_create(r->c, &res_replicasets, object_namespace(r->d), &body, &created, err);
        if (result == -EEXIST) {
                error_clear(err);
                return create_collided(r, name, err);
        }
        if (result < 0) {
                rollout_progressing(r, "False", "ReplicaSetCreateError",
                                    arena_printf(r->a, "Failed to create new replica set \"%" STR_FMT "\": %s",
                                                 STR_ARG(name), error_text(err)));
                controller_update_status(r->c, &res_deployments, r->d, &r->status, NULL);
                return result;
        }
        r->created = created;
        r->new = arena_new_of(r->a, struct replica_set);
        read_replica_set(r->new, created);
        r->wrote = true;
        if (replicas > 0)
                event_record(r->c->events, &res_deployments, r->d, NULL, "Normal", "ScalingReplicaSet",
                             "Scaled up replica set %" STR_FMT " from 0 to %" PRId64, STR_ARG(name), replicas);
        rollout_progressing(r, "True", "NewReplicaSetCreated",
                            arena_printf(r->a, "Created new replica set \"%" STR_FMT "\"", STR_ARG(name)));
        return 0;
}

/* The new ReplicaSet, up to date; made when it is not there and that is wanted. */
static int sync_new(struct rollout *r, bool create, struct error *err) {
        if (!r->new && !create)
                return 0;
        TRY(r->new ? refresh_new(r, err) : create_new(r, err));
        if (!r->created && !condition_find(&r->status, "Progressing"))
                rollout_progressing(r, "True", "FoundNewReplicaSet",
                                    arena_printf(r->a, "Found new replica set \"%" STR_FMT "\"",
                                                 STR_ARG(object_name(r->new->object))));
        return 0;
}

/* ---- the strategies ---- */

static bool is_complete(const struct rollout *r) {
        return r->new &&
               r->new->actual == r->replicas &&rollout_sum(r, offsetof(struct replica_set, actual)) == r->replicas &&
               r->new->available == r->replicas &&json_int(json_getc(&r->status, "observedGeneration")) >=
                                                    object_generation(r->d);
}

/* How many pods the new ReplicaSet may have now, in a rolling update. */
int64_t rollout_room_for_new(const struct rollout *r, int64_t current) {
        int64_t total = rollout_sum(r, offsetof(struct replica_set, replicas)), max = r->replicas + r->max_surge;

        if (total >= max)
                return current;
        return current + MIN(max - total, r->replicas - current);
}

/* Pods of old ReplicaSets that are not available hold nothing up: they go first. */
static int clean_unhealthy(struct rollout *r, int64_t max, struct error *err) {
        int64_t cleaned = 0;

        for (size_t i = 0; i < r->n_old && cleaned < max; i++) {
                struct replica_set *rs = r->old[i];
                int64_t n = MIN(max - cleaned, rs->replicas - rs->available);

                if (rs->replicas == 0 || n <= 0)
                        continue;
                TRY(rollout_scale(r, rs, rs->replicas - n, err));
                cleaned += n;
        }
        return 0;
}

static int scale_down_old(struct rollout *r, struct error *err) {
        int64_t old_pods = 0, min_available = r->replicas - r->max_unavailable, available, room, unavailable_new, max;

        for (size_t i = 0; i < r->n_old; i++)
                old_pods += r->old[i]->replicas;
        if (old_pods == 0)
                return 0;
        unavailable_new = r->new ? r->new->replicas - r->new->available : 0;
        max = rollout_sum(r, offsetof(struct replica_set, replicas)) - min_available - unavailable_new;
        if (max <= 0)
                return 0;
        TRY(clean_unhealthy(r, max, err));
        available = rollout_sum(r, offsetof(struct replica_set, available));
        room = available - min_available;
        for (size_t i = 0; i < r->n_old && room > 0; i++) {
                int64_t n = MIN(room, r->old[i]->replicas);

                if (n == 0)
                        continue;
                TRY(rollout_scale(r, r->old[i], r->old[i]->replicas - n, err));
                room -= n;
        }
        return 0;
}

static int rolling_update(struct rollout *r, struct error *err) {
        int result = sync_new(r, true, err);

        if (result < 0 || r->created)
                return result;
        int64_t want = r->new->replicas > r->replicas ? r->replicas : rollout_room_for_new(r, r->new->replicas);
        if (want != r->new->replicas)
                return rollout_scale(r, r->new, want, err);
        return scale_down_old(r, err);
}

static bool old_pods_run(struct rollout *r) {
        struct informer_index *children = children_index(r->c, &res_pods);

        for (size_t i = 0; i < r->n_old; i++) {
                struct object_list pods = owned_children(children, r->old[i]->object);

                if (r->old[i]->actual > 0)
                        return true;
                for (size_t k = 0; k < pods.n; k++)
                        if (!pod_is_terminal(pods.v[k]))
                                return true;
        }
        return false;
}

static int recreate(struct rollout *r, struct error *err) {
        bool scaled = false;
        int result = sync_new(r, false, err);

        for (size_t i = 0; i < r->n_old && result == 0; i++)
                if (r->old[i]->replicas > 0) {
                        result = rollout_scale(r, r->old[i], 0, err);
                        scaled = true;
                }
        if (result < 0 || scaled || old_pods_run(r))
                return result;
        if (!r->new) {
                result = sync_new(r, true, err);
                if (result < 0 || r->created)
                        return result;
        }
        return rollout_scale(r, r->new, r->replicas, err);
}

/* Old ReplicaSets beyond revisionHistoryLimit, which have nothing left, go. */
static int clean_history(struct rollout *r, struct error *err) {
        int64_t limit = DeploymentSpec_has_revisionHistoryLimit(r->spec) ? DeploymentSpec_revisionHistoryLimit(r->spec)
                                                                         : 10;
        int64_t alive = 0;

        for (size_t i = 0; i < r->n_old; i++)
                alive += !object_deleting(r->old[i]->object);
        /* The lowest revisions first. */
        for (size_t done = 0; alive > limit && done < r->n_old; done++, alive--) {
                struct replica_set *lowest = NULL;

                for (size_t i = 0; i < r->n_old; i++)
                        if (!r->old[i]->dropped && !object_deleting(r->old[i]->object) &&
                            (!lowest || r->old[i]->revision < lowest->revision))
                                lowest = r->old[i];
                if (!lowest)
                        break;
                lowest->dropped = true;
                if (lowest->actual != 0 || lowest->replicas != 0 ||
                    object_generation(lowest->object) >
                                    ReplicaSetStatus_observedGeneration(ReplicaSet_status(object_json(lowest->object))))
                        continue;
                TRY(controller_delete(r->c, &res_replicasets, lowest->object, NULL, err));
        }
        return 0;
}

/* ---- one reconcile ---- */

static void sync_paused(struct rollout *r) {
        const struct json *progress = condition_find(&r->status, "Progressing");
        struct str reason = DeploymentCondition_reason(progress);
        bool told = str_eqc(reason, "DeploymentPaused");

        if (r->paused == told || str_eqc(reason, "ProgressDeadlineExceeded"))
                return;
        rollout_progressing(r, "Unknown", told ? "DeploymentResumed" : "DeploymentPaused",
                            told ? STR("Deployment is resumed") : STR("Deployment is paused"));
}

static bool is_scaling(const struct rollout *r) {
        for (size_t i = 0; i <= r->n_old; i++) {
                const struct replica_set *rs = i < r->n_old ? r->old[i] : r->new;
                int64_t desired;

                if (rs && rs->replicas > 0 && str_to_i64(object_annotation(rs->object, DESIRED), &desired) == 0 &&
                    desired != r->replicas)
                        return true;
        }
        return false;
}

static int roll(struct rollout *r, struct error *err) {
        int result = 0;

        if (object_deleting(r->d))
                return 0;
        sync_paused(r);
        if (r->paused || is_scaling(r)) {
                result = sync_new(r, false, err);
                if (result == 0)
                        result = rollout_proportional(r, err);
                if (result == 0 && r->paused)
                        result = clean_history(r, err);
                return result;
        }
        result = r->recreate ? recreate(r, err) : rolling_update(r, err);
        if (result == 0 && !r->wrote && is_complete(r))
                result = clean_history(r, err);
        return result;
}

/* Status and revision in one write: the status subresource takes annotations too. */
static int write_status(struct rollout *r, struct error *err) {
        struct str revision = arena_printf(r->a, "%" PRId64, r->revision);

        if (r->revision == 0 || str_eq(object_annotation(r->d, REVISION), revision))
                return controller_update_status(r->c, &res_deployments, r->d, &r->status, err);
        struct json copy = json_copy_tree(r->a, object_json(r->d));
        struct json *meta = json_get_or_add_object(r->a, &copy, "metadata");
        json_set_str(r->a, json_get_or_add_object(r->a, meta, "annotations"), REVISION, revision);
        json_setc(r->a, &copy, "status", r->status);
        return controller_update(r->c, &res_deployments, STR("status"), &copy, err);
}

static void rollout_init(struct rollout *r, struct controller *c, struct arena *a, struct object *d) {
        const struct json *doc = object_json(d);

        *r = (struct rollout) {
                .c = c,
                .a = a,
                .d = d,
                .spec = Deployment_spec(doc),
                .now = controller_now(c),
                .status = status_copy(a, Deployment_status(doc)),
        };
        r->replicas = DeploymentSpec_replicas(r->spec);
        r->paused = DeploymentSpec_paused(r->spec);
        read_strategy(r);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *d = informer_get(controller_informer(c, &res_deployments), key);
        struct object_list sets;
        struct rollout r;

        if (!d)
                return 0;
        struct selector selector = workload_selector(a, &res_deployments, d);
        if (selector.nothing) {
                event_record(c->events, &res_deployments, d, NULL, "Warning", "SelectingAll",
                             "This deployment is selecting all pods. A non-empty selector is required.");
                return 0;
        }
        TRY(claim_children(c, a, &res_deployments, d, &selector, &res_replicasets, c->state, &sets, NULL, err));
        rollout_init(&r, c, a, d);
        struct replica_set *all = arena_array(a, struct replica_set, sets.n + 1);
        for (size_t i = 0; i < sets.n; i++)
                read_replica_set(&all[i], sets.v[i]);
        qsort(all, sets.n, sizeof(*all), by_age);
        find_new(&r, all, sets.n);

        int result = roll(&r, err);
        if (result == 0) {
                uint64_t wait_ms = rollout_status(&r);
                result = write_status(&r, err);
                if (result == 0 && wait_ms > 0)
                        controller_enqueue_after(c, key, wait_ms);
        }
        object_unref(r.created);
        return result;
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = children_index(c, &res_replicasets);
        children_index(c, &res_pods);
        return 0;
}

/* A Recreate waits for the last old pod to be gone. */
static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        const struct json *ref = !new ? controller_ref_of(old) : NULL;

        if (!ref || !ref_is_kind(ref, &res_replicasets))
                return;
        struct object *rs = controller_get(c, &res_replicasets, object_namespace(old), OwnerReference_name(ref));
        if (rs)
                enqueue_owner(c, NULL, rs);
}

const struct controller_class deployment_controller = {
        .name = "deployment-controller",
        .watches = { { &res_deployments, enqueue_self },
                     { &res_replicasets, enqueue_owner_or_matching },
                     { &res_pods, enqueue_pod } },
        .init = init,
        .reconcile = reconcile,
};
