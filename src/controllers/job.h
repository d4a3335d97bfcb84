/* One reconcile of a Job, shared by its files: job.c decides, job_track.c counts finished pods so that none is lost or
 * counted twice, job_policy.c reads podFailurePolicy and successPolicy. */
#pragma once

#include "base/vec.h"
#include "controllers/pods.h"

#define JOB_FINALIZER "batch.kubernetes.io/job-tracking"
#define JOB_INDEX "batch.kubernetes.io/job-completion-index"
#define JOB_INDEX_FAILURES "batch.kubernetes.io/job-index-failure-count"
#define JOB_INDEX_IGNORED "batch.kubernetes.io/job-index-ignored-failure-count"

/* A set of small numbers as ranges, printed "0-2,5". */
struct index_range {
        int64_t first, last;
};
struct index_set {
        VEC(struct index_range) ranges; /* sorted, apart */
};
void index_set_parse(struct index_set *s, struct str text, int64_t below); /* what is below only */
bool index_set_has(const struct index_set *s, int64_t i);
void index_set_add(struct index_set *s, int64_t i);
int64_t index_set_count(const struct index_set *s);

struct job_sync {
        struct controller *c;
        struct arena *a;
        struct object *job;
        const struct json *spec;
        struct json status;                    /* as it will be written */
        struct object_list pods;               /* all of ours */
        VEC(struct object *) active, finished; /* finished: to be rid of the finalizer */
        /* Of backoffLimitPerIndex: the last pod of an index that will be tried again. It stays until its successor is
         * there, which carries its count of failures on. */
        VEC(struct object *) awaited;
        struct index_set completed, failed_indexes, active_indexes;
        int64_t now, succeeded, failed; /* with those not yet settled */
        int64_t terminating, ready;
        int64_t new_failures, last_failure_ns; /* of this reconcile */
        bool new_success;
        bool indexed, per_index, only_replace_failed;
        bool decided;                                 /* before this reconcile */
        bool settled;                                 /* nothing is on its way to be counted */
        const char *failure_reason, *failure_message; /* of podFailurePolicy: the Job has failed */
};

int64_t job_index_of(const struct object *pod); /* -1: none */
bool job_tracks(const struct object *pod);      /* has the finalizer */
int64_t job_pod_finished_at(const struct object *pod);
/* How often the index of a pod had failed before it: all, or those that count. */
int64_t job_index_failures(const struct object *pod, bool ignored_too);
struct object **job_awaited(struct job_sync *s, int64_t index); /* NULL: none */
/* Settles what was on its way, takes in what has finished; fills the counts above and s->status. */
void job_count(struct job_sync *s);
/* Takes the finalizer off the pods that are safely in the status. */
int job_release(struct controller *c, struct object *const *pods, size_t n, struct error *err);

enum job_failure_action { JOB_FAILURE_COUNT, JOB_FAILURE_IGNORE, JOB_FAILURE_FAIL_INDEX, JOB_FAILURE_FAIL_JOB };
/* What podFailurePolicy says of a failed pod; FAIL_JOB comes with a message in the arena. */
enum job_failure_action job_failure_policy(struct job_sync *s, const struct object *pod, const char **ret_message);
/* successPolicy is met: the message, else NULL. */
const char *job_success_policy(struct job_sync *s);
