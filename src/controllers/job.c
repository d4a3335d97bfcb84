/* Job: runs pods until enough of them have succeeded, or too many have failed.
 *
 *   pods ─count (job_track.c)─▶ decided? ─┬─ no ──────────▶ as many active as parallelism and what is missing allow,
 *                                         │                 after failures later each time (10 s · 2^n, at most 10 min)
 *                                         ├─ enough ──────▶ SuccessCriteriaMet ─▶ pods gone ─▶ Complete
 *                                         └─ too much ────▶ FailureTarget ──────▶ pods gone ─▶ Failed
 *
 * Keys are Jobs, and "pod namespace/name" for pods that outlived their Job: those only lose the finalizer. */
#include <errno.h>
#include <inttypes.h>

#include "base/time.h"
#include "controllers/conditions.h"
#include "controllers/job.h"
#include "json/build.h"
#include "schema/types.h"

#define BURST 500
#define BACKOFF_NS (10 * NSEC_PER_SEC)
#define BACKOFF_MAX_NS (600 * NSEC_PER_SEC)
#define MANAGER "kubernetes.io/job-controller"

/* Failures since the last success: kept in memory only, as upstream does. */
struct backoff {
        int64_t failures, last_ns;
};

struct state {
        struct informer_index *pods;
        struct map *backoffs; /* by uid of the Job */
};

static void set_condition(struct job_sync *s, const char *type, const char *status, const char *reason,
                          const char *message) {
        condition_set(s->a, &s->status, &(struct condition) { type, status, reason, message }, s->now,
                      CONDITION_PROBE_TIME);
}

static void tell(struct job_sync *s, const char *type, const char *reason, const char *message) {
        event_record(s->c->events, &res_jobs, s->job, NULL, type, reason, "%s", message);
}

/* ---- backing off ---- */

static struct backoff *backoff_of(struct job_sync *s) {
        struct state *state = s->c->state;
        struct backoff *b = map_get(state->backoffs, object_uid(s->job));

        if (!b) {
                b = xcalloc(1, sizeof(*b));
                map_put(state->backoffs, object_uid(s->job), b);
        }
        return b;
}

/* How long no new pod is to be made, in ns. */
static int64_t backoff_left(struct job_sync *s) {
        struct backoff *b = backoff_of(s);
        int64_t wait;

        if (s->new_success)
                *b = (struct backoff) { 0 };
        b->failures += s->new_failures;
        b->last_ns = MAX(b->last_ns, s->last_failure_ns);
        if (b->failures == 0)
                return 0;
        wait = b->failures > 7 ? BACKOFF_MAX_NS : MIN(BACKOFF_NS << (b->failures - 1), BACKOFF_MAX_NS);
        return MAX(b->last_ns + wait - s->now, 0);
}

/* ---- making pods ---- */

static void add_index(struct job_sync *s, struct json *pod, int64_t index) {
        struct str text = arena_printf(s->a, "%" PRId64, index);
        struct json *meta = json_get_or_add_object(s->a, pod, "metadata"),
                    *spec = json_get_or_add_object(s->a, pod, "spec");
        struct json env =
                        json_build(s->a, "{ name: 'JOB_COMPLETION_INDEX', valueFrom: { fieldRef: { fieldPath: %c } } }",
                                   "metadata.labels['" JOB_INDEX "']");
        static const char *const lists[] = { "initContainers", "containers" };

        json_set_str(s->a, json_get_or_add_object(s->a, meta, "annotations"), JOB_INDEX, text);
        json_set_str(s->a, json_get_or_add_object(s->a, meta, "labels"), JOB_INDEX, text);
        json_setc(s->a, meta, "generateName",
                  json_of_printf(s->a, "%" STR_FMT "-%" STR_FMT "-", STR_ARG(object_name(s->job)), STR_ARG(text)));
        json_setc(s->a, spec, "hostname",
                  json_of_printf(s->a, "%" STR_FMT "-%" STR_FMT, STR_ARG(object_name(s->job)), STR_ARG(text)));
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                json_each_item(c, json_getc(spec, lists[i])) {
                        struct json *list = json_get_or_add_array(s->a, c, "env");
                        bool there = false;

                        json_each_item(e, list)
                                there |= str_eqc(EnvVar_name(e), "JOB_COMPLETION_INDEX");
                        if (!there)
                                json_push(s->a, list, env);
                }
}

static struct json new_pod(struct job_sync *s, int64_t index) {
        struct json pod = pod_from_template(s->a, JobSpec_template(s->spec), &res_jobs, s->job, str_n(NULL, 0));

        pod = json_copy_tree(s->a, &pod);
        json_push(s->a, json_get_or_add_array(s->a, json_get_or_add_object(s->a, &pod, "metadata"), "finalizers"),
                  json_of_cstr(JOB_FINALIZER));
        if (index >= 0)
                add_index(s, &pod, index);
        return pod;
}

static bool index_is_active(const struct job_sync *s, int64_t index) {
        for (size_t i = 0; i < s->active.n; i++)
                if (job_index_of(s->active.v[i]) == index)
                        return true;
        return false;
}

static int create_pods(struct job_sync *s, int64_t n, struct error *err) {
        struct json *bodies = arena_array(s->a, struct json, n + 1);
        int64_t made = 0;

        if (!s->indexed)
                for (; made < n; made++)
                        bodies[made] = new_pod(s, -1);
        else /* the lowest that are missing first */
                for (int64_t i = 0, completions = JobSpec_completions(s->spec); i < completions && made < n; i++)
                        if (!index_set_has(&s->completed, i) && !index_is_active(s, i))
                                bodies[made++] = new_pod(s, i);
        pods_create(s->c, &res_jobs, s->job, bodies, (size_t) made, false, err);
        return err->err;
}

/* ---- how many ---- */

static int64_t wanted_active(const struct job_sync *s) {
        int64_t parallelism = JobSpec_parallelism(s->spec);

        if (!JobSpec_has_completions(s->spec)) /* a work queue: when one is through, the others finish what they have */
                return s->succeeded > 0 ? MIN((int64_t) s->active.n, parallelism) : parallelism;
        return MIN(MAX(JobSpec_completions(s->spec) - s->succeeded, 0), parallelism);
}

static int delete_active(struct job_sync *s, size_t n, struct error *err) {
        pods_rank_for_deletion(s->active.v, s->active.n, s->active.v, s->active.n, s->now);
        return pods_delete(s->c, &res_jobs, s->job, s->active.v, MIN(n, s->active.n), err);
}

static int manage(struct job_sync *s, struct str key, struct error *err) {
        int64_t active = (int64_t) s->active.n, wanted = wanted_active(s), left = backoff_left(s);

        if (s->only_replace_failed)
                active += s->terminating;
        if (active > wanted)
                return delete_active(s, (size_t) (active - wanted), err);
        if (active == wanted)
                return 0;
        if (left > 0) {
                controller_enqueue_after(s->c, key, (uint64_t) (left / NSEC_PER_MSEC) + 1);
                return 0;
        }
        return create_pods(s, MIN(wanted - active, BURST), err);
}

/* ---- the verdict ---- */

static int64_t total_restarts(const struct job_sync *s) {
        int64_t n = 0;

        for (size_t i = 0; i < s->active.n; i++) {
                const struct json *status = Pod_status(object_json(s->active.v[i]));

                json_each_item(c, PodStatus_containerStatuses(status))
                        n += ContainerStatus_restartCount(c);
                json_each_item(c, PodStatus_initContainerStatuses(status))
                        n += ContainerStatus_restartCount(c);
        }
        return n;
}

static bool exceeds_backoff_limit(const struct job_sync *s) {
        int64_t limit = JobSpec_backoffLimit(s->spec), restarts;

        if (s->failed > limit)
                return true;
        if (!str_eqc(json_str(json_at_path(s->spec, "template", "spec", "restartPolicy")), "OnFailure"))
                return false;
        restarts = total_restarts(s);
        return limit == 0 ? restarts > 0 : restarts >= limit;
}

/* ns left of activeDeadlineSeconds; INT64_MAX: none. */
static int64_t deadline_left(const struct job_sync *s) {
        int64_t start;

        if (!JobSpec_has_activeDeadlineSeconds(s->spec) || JobSpec_suspend(s->spec) ||
            time_parse(JobStatus_startTime(&s->status), &start) < 0)
                return INT64_MAX;
        return start + JobSpec_activeDeadlineSeconds(s->spec) * NSEC_PER_SEC - s->now;
}

static bool is_enough(const struct job_sync *s) {
        if (!JobSpec_has_completions(s->spec))
                return s->succeeded > 0 && s->active.n == 0;
        return s->succeeded >= JobSpec_completions(s->spec);
}

/* Sets SuccessCriteriaMet or FailureTarget when it is decided how the Job ends. */
static void decide(struct job_sync *s) {
        const char *policy;

        if (condition_is(&s->status, "FailureTarget", "True") || condition_is(&s->status, "SuccessCriteriaMet", "True"))
                return;
        if (s->failure_reason)
                set_condition(s, "FailureTarget", "True", s->failure_reason, s->failure_message);
        else if (exceeds_backoff_limit(s))
                set_condition(s, "FailureTarget", "True", "BackoffLimitExceeded",
                              "Job has reached the specified backoff limit");
        else if (deadline_left(s) <= 0)
                set_condition(s, "FailureTarget", "True", "DeadlineExceeded",
                              "Job was active longer than specified deadline");
        else if ((policy = job_success_policy(s)))
                set_condition(s, "SuccessCriteriaMet", "True", "SuccessPolicy", policy);
        else if (is_enough(s))
                set_condition(s, "SuccessCriteriaMet", "True", "CompletionsReached",
                              "Reached expected number of succeeded pods");
}

/* Decided: pods still running are stopped; when all are gone and counted, the Job is over. */
static int wind_up(struct job_sync *s, const struct json *verdict, struct error *err) {
        bool failed = str_eqc(JobCondition_type(verdict), "FailureTarget");
        const char *reason = arena_cstr(s->a, JobCondition_reason(verdict)),
                   *message = arena_cstr(s->a, JobCondition_message(verdict));

        if (s->active.n > 0)
                return delete_active(s, s->active.n, err);
        if (s->terminating > 0 || !s->settled)
                return 0;
        set_condition(s, failed ? "Failed" : "Complete", "True", reason, message);
        if (failed)
                tell(s, "Warning", reason, message);
        else {
                json_setc(s->a, &s->status, "completionTime", json_build(s->a, "%t", s->now));
                tell(s, "Normal", "Completed", "Job completed");
        }
        return 0;
}

static int suspend(struct job_sync *s, struct error *err) {
        if (!condition_is(&s->status, "Suspended", "True")) {
                set_condition(s, "Suspended", "True", "JobSuspended", "Job suspended");
                tell(s, "Normal", "Suspended", "Job suspended");
        }
        json_removec(&s->status, "startTime");
        return delete_active(s, s->active.n, err);
}

static void begin_or_resume(struct job_sync *s) {
        if (condition_is(&s->status, "Suspended", "True")) {
                set_condition(s, "Suspended", "False", "JobResumed", "Job resumed");
                tell(s, "Normal", "Resumed", "Job resumed");
                json_removec(&s->status, "startTime");
        }
        if (json_getc(&s->status, "startTime"))
                return;
        json_setc(s->a, &s->status, "startTime", json_build(s->a, "%t", s->now));
        if (JobSpec_has_backoffLimitPerIndex(s->spec))
                tell(s, "Warning", "Unsupported",
                     "this version of cube does not have backoffLimitPerIndex yet: all failures count against "
                     "backoffLimit");
}

/* ---- reconcile ---- */

static bool is_finished(const struct json *status) {
        return condition_is(status, "Complete", "True") || condition_is(status, "Failed", "True");
}

static int run(struct job_sync *s, struct str key, struct error *err) {
        const struct json *verdict;
        int r = 0;

        job_count(s);
        if (object_deleting(s->job) || is_finished(&s->status))
                return job_release(s->c, s->finished.v, s->finished.n, err);
        if (!JobSpec_suspend(s->spec))
                begin_or_resume(s);
        decide(s);
        verdict = condition_find(&s->status, "FailureTarget");
        if (!verdict)
                verdict = condition_find(&s->status, "SuccessCriteriaMet");
        if (verdict)
                r = wind_up(s, verdict, err);
        else if (JobSpec_suspend(s->spec))
                r = suspend(s, err);
        /* First it is written down who has finished, then their finalizers go, then new pods come. */
        if (r == 0)
                r = controller_update_status(s->c, &res_jobs, s->job, &s->status, err);
        if (r == 0 && s->finished.n > 0)
                r = job_release(s->c, s->finished.v, s->finished.n, err);
        if (r == 0 && !verdict && !JobSpec_suspend(s->spec))
                r = manage(s, key, err);
        if (r == 0 && !verdict && deadline_left(s) != INT64_MAX)
                controller_enqueue_after(s->c, key, (uint64_t) (MAX(deadline_left(s), 0) / NSEC_PER_MSEC) + 1);
        return r;
}

static int reconcile_orphan(struct controller *c, struct str key, struct error *err) {
        struct object *pod = informer_get(controller_informer(c, &res_pods), key);

        return pod && job_tracks(pod) ? job_release(c, &pod, 1, err) : 0;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct state *state = c->state;
        struct object *job;
        struct job_sync s = { .c = c };
        struct selector selector;
        struct str manager;
        int r;

        if (str_has_prefix(key, STR("pod ")))
                return reconcile_orphan(c, str_sub(key, 4, key.n), err);
        job = informer_get(controller_informer(c, &res_jobs), key);
        if (!job)
                return 0;
        s.spec = Job_spec(object_json(job));
        manager = JobSpec_managedBy(s.spec);
        if (!str_empty(manager) && !str_eqc(manager, MANAGER))
                return 0;
        s.a = a = arena_new(0);
        s.job = job;
        s.now = controller_now(c);
        s.status = status_copy(a, Job_status(object_json(job)));
        s.indexed = str_eqc(JobSpec_completionMode(s.spec), "Indexed");
        s.only_replace_failed = str_eqc(JobSpec_podReplacementPolicy(s.spec), "Failed");
        selector = workload_selector(a, &res_jobs, job);
        r = claim_children(c, a, &res_jobs, job, &selector, &res_pods, state->pods, &s.pods, NULL, err);
        if (r == 0)
                r = run(&s, key, err);
        vec_free(&s.active);
        vec_free(&s.finished);
        vec_free(&s.completed.ranges);
        return r;
}

/* ---- news ---- */

static void enqueue_orphan(struct controller *c, struct object *pod) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        struct str key = object_key(a, pod);

        controller_enqueue_key(c, arena_printf(a, "pod %" STR_FMT, STR_ARG(key)));
}

static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        const struct json *ref = new ? controller_ref_of(new) : NULL;
        struct object *job;

        enqueue_owner_or_matching(c, old, new);
        if (!new || !job_tracks(new))
                return;
        job = ref && ref_is_kind(ref, &res_jobs)
                              ? controller_get(c, &res_jobs, object_namespace(new), OwnerReference_name(ref))
                              : NULL;
        if (!job || !str_eq(object_uid(job), OwnerReference_uid(ref)))
                if (c->n_unsynced == 0 && (object_deleting(new) || !ref))
                        enqueue_orphan(c, new);
}

static void enqueue_job(struct controller *c, struct object *old, struct object *new) {
        struct state *state = c->state;
        struct object_list pods;

        enqueue_self(c, old, new);
        if (new)
                return;
        map_remove(state->backoffs, object_uid(old));
        pods = owned_children(state->pods, old);
        for (size_t i = 0; i < pods.n; i++)
                if (job_tracks(pods.v[i]))
                        enqueue_orphan(c, pods.v[i]);
}

/* Pods whose Job went while we were not looking. */
static void started(struct controller *c) {
        for (struct map_iter it = MAP_ITER(informer_objects(controller_informer(c, &res_pods))); map_next(&it);)
                enqueue_pod(c, NULL, it.value);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct state *s = xcalloc(1, sizeof(*s));

        s->pods = children_index(c, &res_pods);
        s->backoffs = map_new(free);
        *ret_state = s;
        return 0;
}

static void destroy(void *state) {
        struct state *s = state;

        map_free(s->backoffs);
        free(s);
}

const struct controller_class job_controller = {
        .name = "job-controller",
        .watches = { { &res_jobs, enqueue_job }, { &res_pods, enqueue_pod } },
        .init = init,
        .destroy = destroy,
        .started = started,
        .reconcile = reconcile,
};
