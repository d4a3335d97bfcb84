/* CronJob: makes a Job at each time of its schedule. It wakes exactly then; what was missed while it slept is made up
 * for once, the latest, unless startingDeadlineSeconds says it is too late. The Job's name holds the minute, so that a
 * time never makes two. */
#include <inttypes.h>

#include "base/vec.h"
#include "controllers/conditions.h"
#include "base/cron.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

#define SLACK_MS 100 /* timers may be early by a little */
#define MANY 100

struct sync {
        struct controller *c;
        struct arena *a;
        struct object *cj;
        const struct json *spec;
        struct object_list jobs;
        VEC(struct object *) active, succeeded, failed;
        struct json status;
        struct cron cron;
        struct timezone_data *zone;
        int64_t now;
};

/* ---- Jobs of ours ---- */

static bool is_true(const struct object *job, const char *type) {
        return condition_is(Job_status(object_json(job)), type, "True");
}

static int64_t time_of(struct str text) {
        int64_t t;

        return time_parse(text, &t) < 0 ? 0 : t;
}

static int by_start(const void *pa, const void *pb) {
        const struct object *a = *(struct object *const *) pa, *b = *(struct object *const *) pb;
        int64_t x = time_of(JobStatus_startTime(Job_status(object_json(a)))),
                y = time_of(JobStatus_startTime(Job_status(object_json(b))));

        return x != y ? (x < y ? -1 : 1) : str_cmp(object_name(a), object_name(b));
}

static bool was_active(const struct sync *s, const struct object *job) {
        json_each_item(ref, CronJobStatus_active(CronJob_status(object_json(s->cj))))
                if (str_eq(ObjectReference_uid(ref), object_uid(job)))
                        return true;
        return false;
}

static void sort_jobs(struct sync *s) {
        int64_t last = time_of(CronJobStatus_lastSuccessfulTime(&s->status));

        for (size_t i = 0; i < s->jobs.n; i++) {
                struct object *job = s->jobs.v[i];
                bool complete = is_true(job, "Complete"), failed = is_true(job, "Failed");

                if (!complete && !failed) {
                        vec_push(&s->active, job);
                        continue;
                }
                if (was_active(s, job))
                        event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "SawCompletedJob",
                                     "Saw completed job: %" STR_FMT ", condition: %s", STR_ARG(object_name(job)),
                                     complete ? "Complete" : "Failed");
                if (complete) {
                        last = MAX(last, time_of(JobStatus_completionTime(Job_status(object_json(job)))));
                        vec_push(&s->succeeded, job);
                } else
                        vec_push(&s->failed, job);
        }
        if (last > 0)
                json_setc(s->a, &s->status, "lastSuccessfulTime", json_build(s->a, "%t", last));
}

/* Somebody deleted them. The informer may not know of a new one yet: the API server is asked. */
static int say_missing(struct sync *s, struct error *err) {
        json_each_item(ref, CronJobStatus_active(CronJob_status(object_json(s->cj)))) {
                _cleanup_(object_unrefp) struct object *there = NULL;
                struct str name = ObjectReference_name(ref);
                bool known = false;

                for (size_t i = 0; i < s->jobs.n; i++)
                        known = known || str_eq(object_uid(s->jobs.v[i]), ObjectReference_uid(ref));
                int r = known ? 0 : client_get(s->c->client, &res_jobs, object_namespace(s->cj), name, &there, err);
                if (r == -ENOENT) {
                        error_clear(err);
                        event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "MissingJob",
                                     "Active job went missing: %" STR_FMT, STR_ARG(name));
                } else if (r < 0)
                        return r;
        }
        return 0;
}

static int trim_history(struct sync *s, struct object **jobs, size_t n, bool has_limit, int64_t limit,
                        struct error *err) {
        if (!has_limit || n == 0)
                return 0;
        qsort(jobs, n, sizeof(*jobs), by_start);
        for (size_t i = 0; i + (size_t) MAX(limit, 0) < n; i++) {
                TRY(controller_delete(s->c, &res_jobs, jobs[i], "Background", err));
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "SuccessfulDelete",
                             "Deleted job %" STR_FMT, STR_ARG(object_name(jobs[i])));
        }
        return 0;
}

static void set_active(struct sync *s, const struct object *made) {
        struct json list = json_new_array();

        for (size_t i = 0; i <= s->active.n; i++) {
                const struct object *job = i < s->active.n ? s->active.v[i] : made;

                if (job)
                        json_push(s->a, &list,
                                  json_build(s->a,
                                             "{ kind: 'Job', namespace: %S, name: %S, uid: %S, apiVersion: 'batch/v1', "
                                             "resourceVersion: %S }",
                                             object_namespace(job), object_name(job), object_uid(job),
                                             arena_printf(s->a, "%" PRIu64, object_revision(job))));
        }
        json_put(s->a, &s->status, "active", json_len(&list) ? &list : NULL);
}

/* ---- the schedule ---- */

/* The latest time of the schedule in (from, now], 0: none. *ret_many: there were more than a hundred. */
static int64_t latest_due(const struct sync *s, int64_t from, bool *ret_many) {
        static const int64_t windows[] = { 3600, 86400, 32 * 86400, 366LL * 86400, 5 * 366LL * 86400 };
        int64_t t = from, latest = 0;
        int n = 0;

        while (n <= MANY && (t = cron_next(&s->cron, s->zone, t)) <= s->now) {
                latest = t;
                n++;
        }
        *ret_many = n > MANY;
        if (!*ret_many || s->cron.every_ns)
                return s->cron.every_ns && *ret_many ? latest + (s->now - latest) / s->cron.every_ns * s->cron.every_ns
                                                     : latest;
        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) { /* so many: look back from now, not forth from then */
                t = cron_next(&s->cron, s->zone, MAX(from, s->now - windows[i] * NSEC_PER_SEC));
                if (t > s->now)
                        continue;
                for (; t <= s->now; t = cron_next(&s->cron, s->zone, t))
                        latest = t;
                break;
        }
        return latest;
}

static int64_t begin_of_search(const struct sync *s) {
        int64_t from = object_created_at(s->cj), last = time_of(CronJobStatus_lastScheduleTime(&s->status));

        if (last > 0)
                from = last;
        if (CronJobSpec_has_startingDeadlineSeconds(s->spec))
                from = MAX(from, time_after(s->now, -CronJobSpec_startingDeadlineSeconds(s->spec)));
        return from;
}

static int read_schedule(struct sync *s) {
        struct str zone = CronJobSpec_timeZone(s->spec), schedule = CronJobSpec_schedule(s->spec);
        _cleanup_error_ struct error what = ERROR_INIT;
        const char *reason = "UnparseableSchedule";

        if (cron_parse(schedule, &s->cron, &what) < 0)
                error_prefix(&what, "unparseable schedule: \"%" STR_FMT "\" ", STR_ARG(schedule));
        else if (!str_empty(zone) && timezone_load(zone, &s->zone, &what) < 0) {
                reason = "UnknownTimeZone";
                error_prefix(&what, "invalid timeZone: \"%" STR_FMT "\"", STR_ARG(zone));
        } else if (cron_next(&s->cron, s->zone, begin_of_search(s)) == INT64_MAX) {
                reason = "InvalidSchedule";
                error_set(&what, -EINVAL,
                          "invalid schedule: %" STR_FMT
                          " : time difference between two schedules is less than 1 second",
                          STR_ARG(schedule));
        } else
                return 0;
        event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Warning", reason, "%s", error_text(&what));
        return -EINVAL; /* the user has to change it: nothing to try again */
}

/* ---- making a Job ---- */

static int create_job(struct sync *s, int64_t when, struct error *err) {
        const struct json *template = CronJobSpec_jobTemplate(s->spec), *meta = JobTemplateSpec_metadata(template);
        struct str name = arena_printf(s->a, "%" STR_FMT "-%" PRId64, STR_ARG(object_name(s->cj)),
                                       (int64_t) (when / NSEC_PER_SEC / 60));
        struct json ref = controller_ref(s->a, &res_cronjobs, s->cj), annotations, body;
        _cleanup_(object_unrefp) struct object *made = NULL;
        char text[36];

        annotations = status_copy(s->a, ObjectMeta_annotations(meta));
        json_setc(s->a, &annotations, "batch.kubernetes.io/cronjob-scheduled-timestamp",
                  json_of_copy(s->a, time_format(text, when)));
        body = json_build(s->a,
                          "{ kind: 'Job', apiVersion: 'batch/v1', metadata: { name: %s, namespace: %s, labels: %j, "
                          "annotations: %j,"
                          "  ownerReferences: [ %j ] }, spec: %j }",
                          name, object_namespace(s->cj), ObjectMeta_labels(meta), &annotations, &ref,
                          JobTemplateSpec_spec(template));
        int r = controller_create(s->c, &res_jobs, object_namespace(s->cj), &body, &made, err);
        if (r == -EEXIST) { /* made before we could write it down */
                error_clear(err);
                r = client_get(s->c->client, &res_jobs, object_namespace(s->cj), name, &made, err);
        } else if (r == 0)
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "SuccessfulCreate",
                             "Created job %" STR_FMT, STR_ARG(name));
        if (r < 0) {
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Warning", "FailedCreate",
                             "Error creating job: %s", error_text(err));
                return r;
        }
        json_setc(s->a, &s->status, "lastScheduleTime", json_build(s->a, "%t", when));
        if (!was_active(s, made) && !is_true(made, "Complete") && !is_true(made, "Failed")) {
                for (size_t i = 0; i < s->active.n; i++)
                        if (str_eq(object_uid(s->active.v[i]), object_uid(made)))
                                return 0;
                set_active(s, made);
        }
        return 0;
}

static int replace_active(struct sync *s, struct error *err) {
        for (size_t i = 0; i < s->active.n; i++) {
                TRY(controller_delete(s->c, &res_jobs, s->active.v[i], "Background", err));
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "SuccessfulDelete",
                             "Deleted job %" STR_FMT, STR_ARG(object_name(s->active.v[i])));
        }
        s->active.n = 0;
        return 0;
}

static int make_due(struct sync *s, struct error *err) {
        struct str policy = CronJobSpec_concurrencyPolicy(s->spec);
        bool many;
        int64_t due = latest_due(s, begin_of_search(s), &many);
        int r = 0;

        if (many)
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Warning", "TooManyMissedTimes",
                             "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check "
                             "clock skew");
        if (due == 0)
                return 0;
        if (s->active.n > 0 && str_eqc(policy, "Forbid")) {
                event_record(s->c->events, &res_cronjobs, s->cj, NULL, "Normal", "JobAlreadyActive",
                             "Not starting job because prior execution is running and concurrency policy is Forbid");
                return 0;
        }
        if (str_eqc(policy, "Replace"))
                r = replace_active(s, err);
        return r < 0 ? r : create_job(s, due, err);
}

/* ---- reconcile ---- */

static int sync_all(struct sync *s, struct str key, struct error *err) {
        sort_jobs(s);
        TRY(say_missing(s, err));
        set_active(s, NULL);
        int r = trim_history(s, s->succeeded.v, s->succeeded.n, CronJobSpec_has_successfulJobsHistoryLimit(s->spec),
                             CronJobSpec_successfulJobsHistoryLimit(s->spec), err);
        if (r == 0)
                r = trim_history(s, s->failed.v, s->failed.n, CronJobSpec_has_failedJobsHistoryLimit(s->spec),
                                 CronJobSpec_failedJobsHistoryLimit(s->spec), err);
        if (r == 0 && !object_deleting(s->cj) && !CronJobSpec_suspend(s->spec) && read_schedule(s) == 0) {
                r = make_due(s, err);
                int64_t next = cron_next(&s->cron, s->zone,
                                         s->cron.every_ns ? MAX(begin_of_search(s), s->now - s->cron.every_ns)
                                                          : s->now);
                if (next != INT64_MAX)
                        controller_enqueue_after(s->c, key,
                                                 (uint64_t) (MAX(next - s->now, 0) / NSEC_PER_MSEC) + SLACK_MS);
        }
        return r < 0 ? r : controller_update_status(s->c, &res_cronjobs, s->cj, &s->status, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *cj = informer_get(controller_informer(c, &res_cronjobs), key);
        struct sync s = { .c = c, .a = a, .cj = cj };

        if (!cj)
                return 0;
        s.spec = CronJob_spec(object_json(cj));
        s.status = status_copy(a, CronJob_status(object_json(cj)));
        s.jobs = owned_children(c->state, cj);
        s.now = controller_now(c);
        int r = sync_all(&s, key, err);
        vec_free(&s.active);
        vec_free(&s.succeeded);
        vec_free(&s.failed);
        timezone_free(s.zone);
        return r;
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = children_index(c, &res_jobs);
        return 0;
}

const struct controller_class cronjob_controller = {
        .name = "cronjob-controller",
        .watches = { { &res_cronjobs, enqueue_self }, { &res_jobs, enqueue_owner } },
        .init = init,
        .reconcile = reconcile,
};
