/* Counting finished pods exactly once, though the count and the pod are two objects that cannot be written together:
 *
 *   pod has finished ─▶ its uid in status.uncountedTerminatedPods ─▶ finalizer off ─▶ uid out, counter + 1
 *
 * At whatever step we are stopped, the uid tells how far it came. */
#include <inttypes.h>

#include "controllers/conditions.h"
#include "controllers/job.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- sets of indexes ---- */

void index_set_add(struct index_set *s, int64_t i) {
        size_t at = 0;

        if (index_set_has(s, i))
                return;
        while (at < s->ranges.n && s->ranges.v[at].last < i)
                at++;
        vec_push(&s->ranges, (struct index_range) { i, i });
        memmove(&s->ranges.v[at + 1], &s->ranges.v[at], (s->ranges.n - 1 - at) * sizeof(s->ranges.v[0]));
        s->ranges.v[at] = (struct index_range) { i, i };
        if (at + 1 < s->ranges.n && s->ranges.v[at + 1].first == i + 1) {
                s->ranges.v[at].last = s->ranges.v[at + 1].last;
                vec_remove(&s->ranges, at + 1);
        }
        if (at > 0 && s->ranges.v[at - 1].last == i - 1) {
                s->ranges.v[at - 1].last = s->ranges.v[at].last;
                vec_remove(&s->ranges, at);
        }
}

bool index_set_has(const struct index_set *s, int64_t i) {
        for (size_t k = 0; k < s->ranges.n; k++)
                if (i >= s->ranges.v[k].first && i <= s->ranges.v[k].last)
                        return true;
        return false;
}

int64_t index_set_count(const struct index_set *s) {
        int64_t n = 0;

        for (size_t k = 0; k < s->ranges.n; k++)
                n += s->ranges.v[k].last - s->ranges.v[k].first + 1;
        return n;
}

void index_set_parse(struct index_set *s, struct str text, int64_t below) {
        str_each(part, text, ',') {
                ssize_t dash = str_find(part, '-');
                struct index_range r;

                if (str_to_i64(dash < 0 ? part : str_sub(part, 0, (size_t) dash), &r.first) < 0)
                        continue;
                r.last = r.first;
                if (dash >= 0 &&
                    (str_to_i64(str_sub(part, (size_t) dash + 1, part.n), &r.last) < 0 || r.last < r.first))
                        continue;
                r.last = MIN(r.last, below - 1);
                if (r.first >= below) /* completions has become smaller */
                        break;
                if (s->ranges.n > 0 && s->ranges.v[s->ranges.n - 1].last + 1 == r.first) /* "0,1" is one range */
                        s->ranges.v[s->ranges.n - 1].last = r.last;
                else
                        vec_push(&s->ranges, r);
        }
}

static struct str index_set_print(struct arena *a, const struct index_set *s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t k = 0; k < s->ranges.n; k++) {
                const struct index_range *r = &s->ranges.v[k];

                buf_printf(&b, "%s%" PRId64, k ? "," : "", r->first);
                if (r->last > r->first) /* two neighbours too are a range: "1-2", but "1,2" as upstream prints them */
                        buf_printf(&b, "%c%" PRId64, r->last == r->first + 1 ? ',' : '-', r->last);
        }
        return arena_str(a, buf_str(&b));
}

/* ---- pods ---- */

int64_t job_index_of(const struct object *pod) {
        int64_t i;

        return str_to_i64(object_annotation(pod, JOB_INDEX), &i) < 0 ? -1 : i;
}

bool job_tracks(const struct object *pod) {
        return finalizer_is_set(pod, JOB_FINALIZER);
}

static bool job_pod_failed(const struct job_sync *s, const struct object *pod) {
        struct str phase = object_phase(pod);

        if (str_eqc(phase, "Failed"))
                return true;
        return !s->only_replace_failed && object_deleting(pod) && !str_eqc(phase, "Succeeded");
}

/* When its containers ended; else since when it is not ready; else when it was deleted or made. */
int64_t job_pod_finished_at(const struct object *pod) {
        const struct json *status = Pod_status(object_json(pod)), *ready = condition_find(status, "Ready");
        int64_t latest = 0, t;

        json_each_item(c, PodStatus_containerStatuses(status)) {
                if (time_parse(json_str(json_at_path(c, "state", "terminated", "finishedAt")), &t) < 0) {
                        latest = 0;
                        break;
                }
                latest = MAX(latest, t);
        }
        if (latest > 0)
                return latest;
        if (str_eqc(PodCondition_status(ready), "False") && time_parse(PodCondition_lastTransitionTime(ready), &t) == 0)
                return t;
        if (object_deleting(pod))
                return object_deleted_at(pod) - NSEC_PER_SEC * json_int(json_at_path(object_json(pod), "metadata",
                                                                                     "deletionGracePeriodSeconds"));
        return object_created_at(pod);
}

int64_t job_index_failures(const struct object *pod, bool ignored_too) {
        static const char *const keys[] = { JOB_INDEX_FAILURES, JOB_INDEX_IGNORED };
        int64_t sum = 0, n;

        for (size_t i = 0; i < (ignored_too ? 2U : 1U); i++)
                if (str_to_i64(object_annotation(pod, keys[i]), &n) == 0 && n > 0 && n <= INT32_MAX)
                        sum += n;
        return sum;
}

/* ---- counting ---- */

static struct object *pod_of_uid(const struct job_sync *s, struct str uid) {
        for (size_t i = 0; i < s->pods.n; i++)
                if (str_eq(object_uid(s->pods.v[i]), uid))
                        return s->pods.v[i];
        return NULL;
}

/* Uids whose pod is rid of its finalizer (or gone) are counted for good. Returns those that remain. */
static struct json settle(struct job_sync *s, const struct json *uids, int64_t *counter) {
        struct json rest = json_new_array();

        json_each_item(u, uids) {
                struct object *pod = pod_of_uid(s, json_str(u));

                if (pod && job_tracks(pod)) {
                        json_push(s->a, &rest, *u);
                        vec_push(&s->finished, pod);
                } else
                        ++*counter;
        }
        return rest;
}

static void count_success(struct job_sync *s, struct object *pod, struct json *uids) {
        int64_t i = job_index_of(pod), completions = JobSpec_completions(s->spec);

        if (s->indexed) {
                if (i >= 0 && i < completions && !index_set_has(&s->completed, i)) {
                        index_set_add(&s->completed, i);
                        s->new_success = true;
                }
        } else {
                json_push(s->a, uids, json_of_str(object_uid(pod)));
                s->new_success = true;
        }
        vec_push(&s->finished, pod);
}

static void count_failure(struct job_sync *s, struct object *pod, struct json *uids) {
        enum job_failure_action action = job_failure_policy(s, pod, &s->failure_message);
        /* It was stopped because the Job was decided: a failure of a Job that fails, but of no index. */
        bool stopped = s->decided && !str_eqc(object_phase(pod), "Failed");
        int64_t index = job_index_of(pod);

        if (action == JOB_FAILURE_FAIL_JOB)
                s->failure_reason = "PodFailurePolicy";
        if (action != JOB_FAILURE_IGNORE && !(stopped && condition_is(&s->status, "SuccessCriteriaMet", "True"))) {
                json_push(s->a, uids, json_of_str(object_uid(pod)));
                s->new_failures++;
                s->last_failure_ns = MAX(s->last_failure_ns, job_pod_finished_at(pod));
        }
        if (s->per_index && !stopped && index >= 0 && index < JobSpec_completions(s->spec) &&
            (action == JOB_FAILURE_FAIL_INDEX ||
             (action != JOB_FAILURE_IGNORE && job_index_failures(pod, false) >= JobSpec_backoffLimitPerIndex(s->spec))))
                index_set_add(&s->failed_indexes, index);
        vec_push(&s->finished, pod);
}

static void sort_pod(struct job_sync *s, struct object *pod, struct json *succeeded, struct json *failed) {
        bool tracked = job_tracks(pod),
             known = json_has_str(succeeded, object_uid(pod)) || json_has_str(failed, object_uid(pod));

        if (str_eqc(object_phase(pod), "Succeeded")) {
                if (tracked && !known)
                        count_success(s, pod, succeeded);
        } else if (job_pod_failed(s, pod)) {
                s->terminating += !pod_is_terminal(pod);
                if (tracked && !known)
                        count_failure(s, pod, failed);
        } else if (object_deleting(pod))
                s->terminating++;
        else {
                int64_t index = job_index_of(pod);

                vec_push(&s->active, pod);
                if (s->indexed && index >= 0 && index < JobSpec_completions(s->spec))
                        index_set_add(&s->active_indexes, index);
                s->ready += pod_is_ready(pod);
        }
}

struct object **job_awaited(struct job_sync *s, int64_t index) {
        for (size_t i = 0; i < s->awaited.n; i++)
                if (job_index_of(s->awaited.v[i]) == index)
                        return &s->awaited.v[i];
        return NULL;
}

/* Of each index that will be tried again the last pod is set aside: its uid is counted when it has a successor. */
static void set_awaited_aside(struct job_sync *s, struct json *uids) {
        size_t kept = 0;

        for (size_t i = 0; i < s->finished.n; i++) {
                struct object *pod = s->finished.v[i], **last;
                int64_t index = job_index_of(pod);

                if (str_eqc(object_phase(pod), "Succeeded") || index < 0 || index >= JobSpec_completions(s->spec) ||
                    index_set_has(&s->completed, index) || index_set_has(&s->failed_indexes, index) ||
                    index_set_has(&s->active_indexes, index))
                        continue;
                last = job_awaited(s, index);
                if (!last)
                        vec_push(&s->awaited, pod);
                else if (job_index_failures(*last, true) <= job_index_failures(pod, true) &&
                         job_pod_finished_at(*last) <= job_pod_finished_at(pod))
                        *last = pod;
        }
        for (size_t i = 0; i < s->finished.n; i++) {
                struct object **last = job_awaited(s, job_index_of(s->finished.v[i]));

                if (!last || *last != s->finished.v[i])
                        s->finished.v[kept++] = s->finished.v[i];
        }
        s->finished.n = kept;
        for (size_t i = json_len(uids); i-- > 0;)
                for (size_t k = 0; k < s->awaited.n; k++)
                        if (str_eq(json_str(json_item(uids, i)), object_uid(s->awaited.v[k]))) {
                                json_remove_item(uids, i);
                                break;
                        }
}

static void set_indexes(struct job_sync *s, const char *key, const struct index_set *set, bool even_if_empty) {
        struct str text = index_set_print(s->a, set);

        if (str_empty(text) && !even_if_empty)
                json_removec(&s->status, key);
        else
                json_set_str(s->a, &s->status, key, text);
}

void job_count(struct job_sync *s) {
        const struct json *old = Job_status(object_json(s->job)), *uncounted = JobStatus_uncountedTerminatedPods(old);
        int64_t succeeded = JobStatus_succeeded(old), failed = JobStatus_failed(old);
        struct json uids_succeeded, uids_failed, waiting = json_new_object();

        s->decided = condition_is(old, "FailureTarget", "True") || condition_is(old, "SuccessCriteriaMet", "True");
        if (s->indexed)
                index_set_parse(&s->completed, JobStatus_completedIndexes(old), JobSpec_completions(s->spec));
        if (s->per_index)
                index_set_parse(&s->failed_indexes, JobStatus_failedIndexes(old), JobSpec_completions(s->spec));
        uids_succeeded = settle(s, UncountedTerminatedPods_succeeded(uncounted), &succeeded);
        uids_failed = settle(s, UncountedTerminatedPods_failed(uncounted), &failed);
        for (size_t i = 0; i < s->pods.n; i++)
                sort_pod(s, s->pods.v[i], &uids_succeeded, &uids_failed);
        if (s->indexed)
                succeeded = index_set_count(&s->completed);
        s->succeeded = succeeded + (int64_t) json_len(&uids_succeeded);
        s->failed = failed + (int64_t) json_len(&uids_failed);
        if (s->per_index && !s->decided && !object_deleting(s->job))
                set_awaited_aside(s, &uids_failed);
        s->settled = s->finished.n == 0 && s->awaited.n == 0;

        status_count(s->a, &s->status, "succeeded", succeeded);
        status_count(s->a, &s->status, "failed", failed);
        status_count(s->a, &s->status, "active", (int64_t) s->active.n);
        json_set_int(s->a, &s->status, "terminating", s->terminating);
        json_set_int(s->a, &s->status, "ready", s->ready);
        if (s->indexed)
                set_indexes(s, "completedIndexes", &s->completed, false);
        if (s->per_index)
                set_indexes(s, "failedIndexes", &s->failed_indexes, true);
        if (json_len(&uids_succeeded))
                json_setc(s->a, &waiting, "succeeded", uids_succeeded);
        if (json_len(&uids_failed))
                json_setc(s->a, &waiting, "failed", uids_failed);
        json_setc(s->a, &s->status, "uncountedTerminatedPods", waiting);
}

int job_release(struct controller *c, struct object *const *pods, size_t n, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct client_request *requests = arena_array(a, struct client_request, n + 1);
        _cleanup_free_ int *results = xcalloc(n + 1, sizeof(*results));
        struct json patch = json_build(a, "{ metadata: { '$deleteFromPrimitiveList/finalizers': [ '" JOB_FINALIZER
                                          "' ] } }");

        for (size_t i = 0; i < n; i++)
                requests[i] = (struct client_request) {
                        .verb = API_PATCH,
                        .resource = &res_pods,
                        .namespace = object_namespace(pods[i]),
                        .name = object_name(pods[i]),
                        .patch = API_PATCH_STRATEGIC,
                        .body = &patch,
                };
        controller_batch(c, requests, n, results, NULL, NULL);
        for (size_t i = 0; i < n; i++)
                if (results[i] < 0 && results[i] != -ENOENT)
                        return error_set(err, results[i], "cannot take the finalizer off pod %" STR_FMT,
                                         STR_ARG(object_name(pods[i])));
        return 0;
}
