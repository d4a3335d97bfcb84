/* Jobs that are finished go when their ttlSecondsAfterFinished is over. */
#include "controllers/conditions.h"
#include "controllers/controller.h"
#include "schema/types.h"

/* ns; 0: it is not finished. */
static int64_t finished_at(const struct object *job) {
        static const char *const ends[] = { "Complete", "Failed" };
        int64_t t;

        for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
                const struct json *c = condition_find(Job_status(object_json(job)), ends[i]);

                if (str_eqc(JobCondition_status(c), "True") && time_parse(JobCondition_lastTransitionTime(c), &t) == 0)
                        return t;
        }
        return 0;
}

static int64_t left_ns(const struct object *job, int64_t now) {
        const struct json *spec = Job_spec(object_json(job));
        int64_t end = finished_at(job);

        if (end == 0 || !JobSpec_has_ttlSecondsAfterFinished(spec) || object_deleting(job))
                return INT64_MAX;
        return time_after(end, JobSpec_ttlSecondsAfterFinished(spec)) - now;
}

static void enqueue(struct controller *c, struct object *old, struct object *new) {
        if (new &&left_ns(new, 0) != INT64_MAX)
                enqueue_self(c, old, new);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct object *job = informer_get(controller_informer(c, &res_jobs), key);
        _cleanup_(object_unrefp) struct object *fresh = NULL;

        if (!job)
                return 0;
        int64_t left = left_ns(job, controller_now(c));
        if (left == INT64_MAX)
                return 0;
        if (left > 0) {
                controller_enqueue_after(c, key, (uint64_t) (left / NSEC_PER_MSEC) + 1);
                return 0;
        }
        /* The user may have given it more time just now. */
        int r = client_get(c->client, &res_jobs, object_namespace(job), object_name(job), &fresh, err);
        if (r == -ENOENT) {
                error_clear(err);
                return 0;
        }
        if (r < 0 || left_ns(fresh, controller_now(c)) > 0)
                return r;
        return controller_delete(c, &res_jobs, fresh, "Foreground", err);
}

const struct controller_class ttlafterfinished_controller = {
        .name = "ttl-after-finished-controller",
        .watches = { { &res_jobs, enqueue } },
        .reconcile = reconcile,
};
