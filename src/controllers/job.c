/* Job: runs pods until enough of them have succeeded, or too many have failed.
 *
 *   pods ─count (job_track.c)─▶ decided? ─┬─ no ──────────▶ as many active as parallelism and what is missing allow,
 *                                         │                 after failures later each time (10 s · 2^n, at most 10 min)
 *                                         ├─ enough ──────▶ SuccessCriteriaMet ─▶ pods gone ─▶ Complete
 *                                         └─ too much ────▶ FailureTarget ──────▶ pods gone ─▶ Failed
 *
 * Keys are Jobs, and "pod namespace/name" for pods that outlived their Job: those only lose the finalizer. */
#include <inttypes.h>

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

static int64_t backoff_after(int64_t failures, int64_t last_ns, int64_t now) {
        int64_t wait = failures > 7 ? BACKOFF_MAX_NS : MIN(BACKOFF_NS << MAX(failures - 1, 0), BACKOFF_MAX_NS);

        return failures == 0 ? 0 : MAX(last_ns + wait - now, 0);
}

/* How long no new pod is to be made, in ns. */
static int64_t backoff_left(struct job_sync *s) {
        struct backoff *b = backoff_of(s);

        if (s->new_success)
                *b = (struct backoff) { 0 };
        b->failures += s->new_failures;
        b->last_ns = MAX(b->last_ns, s->last_failure_ns);
        return s->per_index ? 0 : backoff_after(b->failures, b->last_ns, s->now);
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

/* How long an index must wait for its next pod, in ns. */
static int64_t index_backoff_left(struct job_sync *s, int64_t index) {
        struct object **last = job_awaited(s, index);

        return last ? backoff_after(job_index_failures(*last, true) + 1, job_pod_finished_at(*last), s->now) : 0;
}

/* The counts of the pod that this one follows, and one more. */
static void add_index_failures(struct job_sync *s, struct json *pod, int64_t index) {
        struct object **last = job_awaited(s, index);
        struct json *annotations =
                        json_get_or_add_object(s->a, json_get_or_add_object(s->a, pod, "metadata"), "annotations");
        int64_t failures = 0, ignored = 0;
        const char *message;

        if (last) {
                failures = job_index_failures(*last, false);
                ignored = job_index_failures(*last, true) - failures;
                ++*(job_failure_policy(s, *last, &message) == JOB_FAILURE_IGNORE ? &ignored : &failures);
        }
        json_setc(s->a, annotations, JOB_INDEX_FAILURES, json_of_printf(s->a, "%" PRId64, failures));
        if (ignored > 0)
                json_setc(s->a, annotations, JOB_INDEX_IGNORED, json_of_printf(s->a, "%" PRId64, ignored));
}

static bool index_is_leaving(const struct job_sync *s, int64_t index) {
        for (size_t i = 0; s->only_replace_failed && i < s->pods.n; i++)
                if (job_index_of(s->pods.v[i]) == index && object_deleting(s->pods.v[i]) &&
                    !pod_is_terminal(s->pods.v[i]))
                        return true;
        return false;
}

/* Of the first n indexes that miss a pod those that need not wait, as pods. When all must: *ret_wait. */
static int64_t new_indexed_pods(struct job_sync *s, int64_t n, struct json *bodies, int64_t *ret_wait) {
        int64_t made = 0, wait = INT64_MAX;

        for (int64_t i = 0, completions = JobSpec_completions(s->spec); i < completions && n > 0; i++) {
                if (index_set_has(&s->completed, i) || index_set_has(&s->failed_indexes, i) ||
                    index_set_has(&s->active_indexes, i) || index_is_leaving(s, i))
                        continue;
                n--;
                int64_t left = index_backoff_left(s, i);
                wait = MIN(wait, left);
                if (left > 0)
                        continue;
                bodies[made] = new_pod(s, i);
                if (s->per_index)
                        add_index_failures(s, &bodies[made], i);
                made++;
        }
        *ret_wait = made == 0 && wait != INT64_MAX ? wait : 0;
        return made;
}

static int create_pods(struct job_sync *s, int64_t n, struct str key, struct error *err) {
        struct json *bodies = arena_array(s->a, struct json, n + 1);
        int64_t made = 0, wait = 0;

        if (s->indexed)
                made = new_indexed_pods(s, n, bodies, &wait);
        else
                for (; made < n; made++)
                        bodies[made] = new_pod(s, -1);
        if (wait > 0)
                controller_enqueue_after(s->c, key, (uint64_t) (wait / NSEC_PER_MSEC) + 1);
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
        return pods_delete(s->c, &res_jobs, s->job, s->active.v, MIN(n, s->active.n), err);
}

/* Active pods of an index that is no longer wanted, or that another pod has too. */
static int64_t misplaced(const struct job_sync *s) {
        return s->indexed ? (int64_t) s->active.n - index_set_count(&s->active_indexes) : 0;
}

/* The ones to lose first come first: the misplaced, then as all controllers rank them. */
static void rank_active(struct job_sync *s) {
        struct index_set seen = { 0 };

        pods_rank_for_deletion(s->active.v, s->active.n, s->active.v, s->active.n, s->now);
        for (size_t i = s->active.n, right = s->active.n; misplaced(s) > 0 && i-- > 0;) {
                struct object *pod = s->active.v[i];
                int64_t index = job_index_of(pod);

                if (!index_set_has(&s->active_indexes, index) || index_set_has(&seen, index))
                        continue;
                index_set_add(&seen, index);
                right--;
                memmove(&s->active.v[i], &s->active.v[i + 1], (right - i) * sizeof(pod));
                s->active.v[right] = pod;
        }
        vec_free(&seen.ranges);
}

/* Pods that are not wanted any more have not failed: nobody counts them. */
static int dismiss_active(struct job_sync *s, size_t n, struct error *err) {
        rank_active(s);
        TRY(job_release(s->c, s->active.v, MIN(n, s->active.n), err));
        return delete_active(s, n, err);
}

static int manage(struct job_sync *s, struct str key, struct error *err) {
        int64_t active = (int64_t) s->active.n, wanted = wanted_active(s), left = backoff_left(s),
                too_many = MAX(active - wanted, misplaced(s));

        if (too_many > 0)
                return dismiss_active(s, (size_t) MIN(too_many, BURST), err);
        if (s->only_replace_failed)
                active += s->terminating;
        if (active >= wanted)
                return 0;
        if (left > 0) {
                controller_enqueue_after(s->c, key, (uint64_t) (left / NSEC_PER_MSEC) + 1);
                return 0;
        }
        return create_pods(s, MIN(wanted - active, BURST), key, err);
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
        return time_after(start, JobSpec_activeDeadlineSeconds(s->spec)) - s->now;
}

static bool is_enough(const struct job_sync *s) {
        if (!JobSpec_has_completions(s->spec))
                return s->succeeded > 0 && s->active.n == 0;
        return s->succeeded >= JobSpec_completions(s->spec);
}

/* Sets SuccessCriteriaMet or FailureTarget when it is decided how the Job ends. */
static void decide(struct job_sync *s) {
        int64_t lost = index_set_count(&s->failed_indexes);
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
        else if (JobSpec_has_maxFailedIndexes(s->spec) && lost > JobSpec_maxFailedIndexes(s->spec))
                set_condition(s, "FailureTarget", "True", "MaxFailedIndexesExceeded",
                              "Job has exceeded the specified maximal number of failed indexes");
        else if (lost > 0 && lost + s->succeeded >= JobSpec_completions(s->spec))
                set_condition(s, "FailureTarget", "True", "FailedIndexes", "Job has failed indexes");
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
        return dismiss_active(s, s->active.n, err);
}

static void begin_or_resume(struct job_sync *s) {
        if (condition_is(&s->status, "Suspended", "True")) {
                set_condition(s, "Suspended", "False", "JobResumed", "Job resumed");
                tell(s, "Normal", "Resumed", "Job resumed");
                json_removec(&s->status, "startTime");
        }
        if (!json_getc(&s->status, "startTime"))
                json_setc(s->a, &s->status, "startTime", json_build(s->a, "%t", s->now));
}

/* ---- reconcile ---- */

static bool is_finished(const struct json *status) {
        return condition_is(status, "Complete", "True") || condition_is(status, "Failed", "True");
}

static int run(struct job_sync *s, struct str key, struct error *err) {
        int r = 0;

        job_count(s);
        if (object_deleting(s->job) || is_finished(&s->status))
                return job_release(s->c, s->finished.v, s->finished.n, err);
        if (!JobSpec_suspend(s->spec))
                begin_or_resume(s);
        decide(s);
        const struct json *verdict = condition_find(&s->status, "FailureTarget");
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
        struct job_sync s = { .c = c };

        if (str_has_prefix(key, STR("pod ")))
                return reconcile_orphan(c, str_sub(key, 4, key.n), err);
        struct object *job = informer_get(controller_informer(c, &res_jobs), key);
        if (!job)
                return 0;
        s.spec = Job_spec(object_json(job));
        struct str manager = JobSpec_managedBy(s.spec);
        if (!str_empty(manager) && !str_eqc(manager, MANAGER))
                return 0;
        s.a = a = arena_new(0);
        s.job = job;
        s.now = controller_now(c);
        s.status = status_copy(a, Job_status(object_json(job)));
        s.indexed = str_eqc(JobSpec_completionMode(s.spec), "Indexed");
        s.per_index = s.indexed && JobSpec_has_backoffLimitPerIndex(s.spec);
        s.only_replace_failed = str_eqc(JobSpec_podReplacementPolicy(s.spec), "Failed");
        struct selector selector = workload_selector(a, &res_jobs, job);
        int r = claim_children(c, a, &res_jobs, job, &selector, &res_pods, state->pods, &s.pods, NULL, err);
        if (r == 0)
                r = run(&s, key, err);
        vec_free(&s.active);
        vec_free(&s.finished);
        vec_free(&s.awaited);
        vec_free(&s.active_indexes.ranges);
        vec_free(&s.completed.ranges);
        vec_free(&s.failed_indexes.ranges);
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

        enqueue_owner_or_matching(c, old, new);
        if (!new || !job_tracks(new))
                return;
        struct object *job = ref && ref_is_kind(ref, &res_jobs) ? controller_get(c, &res_jobs, object_namespace(new),
                                                                                 OwnerReference_name(ref))
                                                                : NULL;
        if (!job || !str_eq(object_uid(job), OwnerReference_uid(ref)))
                if (c->n_unsynced == 0 && (object_deleting(new) || !ref))
                        enqueue_orphan(c, new);
}

static void enqueue_job(struct controller *c, struct object *old, struct object *new) {
        struct state *state = c->state;

        enqueue_self(c, old, new);
        if (new)
                return;
        map_remove(state->backoffs, object_uid(old));
        struct object_list pods = owned_children(state->pods, old);
        for (size_t i = 0; i < pods.n; i++)
                if (job_tracks(pods.v[i]))
                        enqueue_orphan(c, pods.v[i]);
}

/* Pods whose Job went while we were not looking. */
static void started(struct controller *c) {
        controller_each(it, c, &res_pods)
                enqueue_pod(c, NULL, it.value);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct state *s = xnew(struct state, .pods = children_index(c, &res_pods), .backoffs = map_new(free));

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
