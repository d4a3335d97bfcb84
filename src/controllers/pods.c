/* Pods as their controllers see them: see pods.h. */
#include "controllers/pods.h"

#include <inttypes.h>

#include "controllers/conditions.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- asking ---- */

struct str pod_node(const struct object *pod) {
        return PodSpec_nodeName(Pod_spec(object_json(pod)));
}

static void by_node(const struct object *pod, void (*emit)(void *ctx, struct str value), void *ctx) {
        if (!str_empty(pod_node(pod)))
                emit(ctx, pod_node(pod));
}

struct informer_index *pods_by_node(struct controller *c) {
        return informer_add_index(controller_informer(c, &res_pods), "node", by_node);
}

int init_by_node(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = map_new(free);
        pods_by_node(c);
        return 0;
}

void destroy_map(void *state) {
        map_free(state);
}

bool object_has_labels(const struct object *o, const struct json *wanted) {
        json_each_member(m, wanted) {
                struct str value = object_label(o, json_key(m));

                if (!value.p || !str_eq(value, json_str(&m->value)))
                        return false;
        }
        return true;
}

struct str object_phase(const struct object *pod) {
        return PodStatus_phase(Pod_status(object_json(pod)));
}

bool pod_is_terminal(const struct object *pod) {
        return pod_has_ended(object_json(pod));
}

bool pod_is_active(const struct object *pod) {
        return !object_deleting(pod) && !pod_is_terminal(pod);
}

bool pod_is_ready(const struct object *pod) {
        return condition_is(Pod_status(object_json(pod)), "Ready", "True");
}

static int64_t time_or_zero(struct str s) {
        int64_t t = 0;

        return time_parse(s, &t) < 0 ? 0 : t;
}

/* ns, 0 when it is not ready */
static int64_t pod_ready_since(const struct object *pod) {
        const struct json *c = condition_find(Pod_status(object_json(pod)), "Ready");

        return str_eqc(PodCondition_status(c), "True") ? time_or_zero(PodCondition_lastTransitionTime(c)) : 0;
}

int64_t object_created_at(const struct object *o) {
        return time_or_zero(ObjectMeta_creationTimestamp(json_getc(object_json(o), "metadata")));
}

int64_t object_deleted_at(const struct object *o) {
        return time_or_zero(ObjectMeta_deletionTimestamp(json_getc(object_json(o), "metadata")));
}

struct str object_annotation(const struct object *o, const char *key) {
        return json_str_or(json_getc(json_at_path(object_json(o), "metadata", "annotations"), key), str_n(NULL, 0));
}

int64_t object_generation(const struct object *o) {
        return ObjectMeta_generation(json_getc(object_json(o), "metadata"));
}

bool pod_is_available(const struct object *pod, int64_t min_ready_seconds, int64_t now_ns, uint64_t *ret_wait_ms) {
        if (!pod_is_ready(pod))
                return false;
        if (min_ready_seconds == 0)
                return true;
        int64_t wait = time_after(pod_ready_since(pod), min_ready_seconds) - now_ns;
        if (wait <= 0)
                return true;
        if (ret_wait_ms)
                *ret_wait_ms = MIN(*ret_wait_ms, (uint64_t) (wait / NSEC_PER_MSEC + 1));
        return false;
}

int64_t int_or_percent(const struct json *v, int64_t total, bool up) {
        struct str s = json_str(v);
        int64_t percent;

        if (json_is(v, JSON_INT))
                return v->i;
        if (!str_has_suffix(s, STR("%")) || str_to_i64(str_sub(s, 0, s.n - 1), &percent) < 0)
                return 0;
        return up ? (percent * total + 99) / 100 : percent * total / 100;
}

/* ---- making ---- */

struct json pod_from_template(struct arena *a, const struct json *template, const struct api_resource *owner_res,
                              const struct object *owner, struct str name) {
        const struct json *meta = PodTemplateSpec_metadata(template);
        struct json ref = controller_ref(a, owner_res, owner);
        struct str prefix = str_empty(name) ? arena_printf(a, "%" STR_FMT "-", STR_ARG(object_name(owner)))
                                            : str_n(NULL, 0);

        return json_build(a,
                          "{ kind: 'Pod', apiVersion: 'v1', metadata: { name: %o, generateName: %s, namespace: %s, "
                          "labels: %j,"
                          "  annotations: %j, ownerReferences: [ %j ], finalizers: %j }, spec: %j }",
                          name, prefix, object_namespace(owner), ObjectMeta_labels(meta), ObjectMeta_annotations(meta),
                          &ref, ObjectMeta_finalizers(meta), PodTemplateSpec_spec(template));
}

static bool namespace_is_terminating(const struct error *e) {
        for (size_t i = 0; i < e->n_causes; i++)
                if (e->causes[i].reason && strcmp(e->causes[i].reason, "NamespaceTerminating") == 0)
                        return true;
        return false;
}

/* One wave; returns how many were created. */
static size_t create_wave(struct controller *c, const struct api_resource *owner_res, const struct object *owner,
                          const struct json *bodies, size_t n, bool same, struct error *err) {
        _cleanup_free_ struct client_request *requests = xcalloc(n, sizeof(*requests));
        _cleanup_free_ struct object **pods = xcalloc(n, sizeof(*pods));
        _cleanup_free_ struct error *errors = xcalloc(n, sizeof(*errors));
        _cleanup_free_ int *results = xcalloc(n, sizeof(*results));
        size_t created = 0;

        for (size_t i = 0; i < n; i++)
                requests[i] = (struct client_request) {
                        .verb = API_CREATE,
                        .resource = &res_pods,
                        .namespace = object_namespace(owner),
                        .body = &bodies[same ? 0 : i],
                };
        controller_batch(c, requests, n, results, errors, pods);
        for (size_t i = 0; i < n; i++) {
                if (results[i] == 0) {
                        created++;
                        event_record(c->events, owner_res, owner, NULL, "Normal", "SuccessfulCreate",
                                     "Created pod: %" STR_FMT, STR_ARG(object_name(pods[i])));
                } else if (!namespace_is_terminating(&errors[i])) {
                        event_record(c->events, owner_res, owner, NULL, "Warning", "FailedCreate", "Error creating: %s",
                                     error_text(&errors[i]));
                        if (err && err->err == 0)
                                error_move(err, &errors[i]);
                }
                object_unref(pods[i]);
                error_clear(&errors[i]);
        }
        return created;
}

size_t pods_create(struct controller *c, const struct api_resource *owner_res, const struct object *owner,
                   const struct json *bodies, size_t n, bool same, struct error *err) {
        size_t done = 0;

        for (size_t wave = 1; done < n; wave *= 2) {
                size_t want = MIN(wave, n - done), got;

                got = create_wave(c, owner_res, owner, same ? bodies : bodies + done, want, same, err);
                done += got;
                if (got < want)
                        break;
        }
        return done;
}

int pods_delete(struct controller *c, const struct api_resource *owner_res, const struct object *owner,
                struct object **pods, size_t n, struct error *err) {
        _cleanup_free_ struct client_request *requests = xcalloc(n + 1, sizeof(*requests));
        _cleanup_free_ struct error *errors = xcalloc(n + 1, sizeof(*errors));
        _cleanup_free_ int *results = xcalloc(n + 1, sizeof(*results));
        int r = 0;

        for (size_t i = 0; i < n; i++)
                requests[i] = controller_delete_request(&res_pods, pods[i], NULL);
        controller_batch(c, requests, n, results, errors, NULL);
        for (size_t i = 0; i < n; i++) {
                if (results[i] == 0)
                        event_record(c->events, owner_res, owner, NULL, "Normal", "SuccessfulDelete",
                                     "Deleted pod: %" STR_FMT, STR_ARG(object_name(pods[i])));
                else if (results[i] != -ENOENT) {
                        event_record(c->events, owner_res, owner, NULL, "Warning", "FailedDelete", "Error deleting: %s",
                                     error_text(&errors[i]));
                        if (r == 0 && err)
                                error_move(err, &errors[i]);
                        r = r ? r : results[i];
                }
                error_clear(&errors[i]);
        }
        return r;
}

/* ---- ranking ---- */

struct ranked {
        struct object *pod;
        bool assigned, ready;
        int phase;
        int64_t cost, ready_since, created, restarts;
        size_t crowd; /* active siblings on the same node */
        int64_t now;
};

/* Times within the same power of two of age count as equal, so that pods of one burst are chosen at random (by uid). */
static int log2_of(int64_t age) {
        return age <= 0 ? -1 : 63 - __builtin_clzll((uint64_t) age);
}

static int compare_ages(int64_t a, int64_t b, int64_t now) {
        if (a == 0 || b == 0)
                return (a == 0) == (b == 0) ? 0 : a == 0 ? -1 : 1;
        return log2_of(now - a) - log2_of(now - b);
}

#define COMPARE(x, y)                              \
        do {                                       \
                if ((x) != (y))                    \
                        return (x) < (y) ? -1 : 1; \
        } while (0)

static int compare_ranked(const void *pa, const void *pb) {
        const struct ranked *a = pa, *b = pb;
        int by_uid = str_cmp(object_uid(a->pod), object_uid(b->pod)), r;

        COMPARE(a->assigned, b->assigned);
        COMPARE(a->phase, b->phase);
        COMPARE(a->ready, b->ready);
        COMPARE(a->cost, b->cost);
        COMPARE(b->crowd, a->crowd);
        if (a->ready && b->ready && a->ready_since != b->ready_since) {
                r = compare_ages(a->ready_since, b->ready_since, a->now);
                return r ? r : by_uid;
        }
        COMPARE(b->restarts, a->restarts);
        if (a->created != b->created) {
                r = compare_ages(a->created, b->created, a->now);
                return r ? r : by_uid;
        }
        return by_uid;
}

static int phase_rank(struct str phase) {
        return str_eqc(phase, "Pending") ? 0 : str_eqc(phase, "Unknown") ? 1 : str_eqc(phase, "Running") ? 2 : 0;
}

static int64_t max_restarts(const struct object *pod) {
        int64_t max = 0;

        json_each_item(s, PodStatus_containerStatuses(Pod_status(object_json(pod))))
                max = MAX(max, ContainerStatus_restartCount(s));
        return max;
}

static size_t crowd_of(struct map *nodes, struct str node) {
        return (size_t) (uintptr_t) map_get(nodes, node);
}

void pods_rank_for_deletion(struct object **pods, size_t n, struct object *const *related, size_t n_related,
                            int64_t now_ns) {
        _cleanup_free_ struct ranked *ranked = xcalloc(n + 1, sizeof(*ranked));
        _cleanup_(map_freep) struct map *nodes = map_new(NULL);

        for (size_t i = 0; i < n_related; i++)
                if (pod_is_active(related[i]))
                        map_put(nodes, pod_node(related[i]),
                                (void *) (uintptr_t) (crowd_of(nodes, pod_node(related[i])) + 1));
        for (size_t i = 0; i < n; i++) {
                struct ranked *r = &ranked[i];

                r->pod = pods[i];
                r->assigned = !str_empty(pod_node(pods[i]));
                r->phase = phase_rank(object_phase(pods[i]));
                r->ready = pod_is_ready(pods[i]);
                r->ready_since = pod_ready_since(pods[i]);
                r->created = object_created_at(pods[i]);
                r->restarts = max_restarts(pods[i]);
                r->crowd = crowd_of(nodes, pod_node(pods[i]));
                r->now = now_ns;
                if (str_to_i64(object_annotation(pods[i], "controller.kubernetes.io/pod-deletion-cost"), &r->cost) < 0)
                        r->cost = 0;
        }
        qsort(ranked, n, sizeof(*ranked), compare_ranked);
        for (size_t i = 0; i < n; i++)
                pods[i] = ranked[i].pod;
}

/* ---- hashing ---- */

static uint32_t fnv32a(uint32_t h, const void *p, size_t n) {
        for (const uint8_t *b = p, *end = b + n; b < end; b++)
                h = (h ^ *b) * 16777619u;
        return h;
}

static int compare_members(const void *a, const void *b) {
        return str_cmp(json_key(*(struct json_member *const *) a), json_key(*(struct json_member *const *) b));
}

/* Order of members must not matter: a template that came back from the server is the same template. */
static uint32_t hash_tree(uint32_t h, const struct json *j) {
        if (json_is(j, JSON_OBJECT)) {
                _cleanup_free_ struct json_member **sorted = xcalloc(j->len + 1, sizeof(*sorted));
                size_t n = 0;

                json_each_member(m, j)
                        sorted[n++] = m;
                qsort(sorted, n, sizeof(*sorted), compare_members);
                h = fnv32a(h, "{", 1);
                for (size_t i = 0; i < n; i++) {
                        struct str k = json_key(sorted[i]);

                        h = hash_tree(fnv32a(fnv32a(h, k.p, k.n), ":", 1), &sorted[i]->value);
                }
                return fnv32a(h, "}", 1);
        }
        if (json_is(j, JSON_ARRAY)) {
                h = fnv32a(h, "[", 1);
                json_each_item(it, j)
                        h = fnv32a(hash_tree(h, it), ",", 1);
                return fnv32a(h, "]", 1);
        }
        _cleanup_buf_ struct buf text = BUF_INIT;
        json_write(&text, j);
        return fnv32a(h, text.p, text.n);
}

struct str template_hash(struct arena *a, const struct json *template, int64_t collision_count,
                         bool has_collision_count) {
        static const char safe[] = "bcdfghjklmnpqrstvwxz2456789";
        uint32_t h = hash_tree(2166136261u, template);
        char digits[16], *p;

        if (has_collision_count)
                h = fnv32a(h, &collision_count, sizeof(collision_count));
        snprintf(digits, sizeof(digits), "%" PRIu32, h);
        for (p = digits; *p; p++)
                *p = safe[(unsigned char) *p % (sizeof(safe) - 1)];
        return arena_str(a, str_of(digits));
}
