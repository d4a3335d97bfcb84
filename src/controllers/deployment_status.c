/* What a Deployment's status says: the counts, Available (enough pods), Progressing (is the rollout getting anywhere),
 * and ReplicaFailure passed on from its ReplicaSets. */
#include "controllers/conditions.h"
#include "controllers/deployment.h"
#include "schema/types.h"

static void set_count(struct rollout *r, const char *key, int64_t n) {
        status_count(r->a, &r->status, key, n);
}

static void set(struct rollout *r, const char *type, const char *status, const char *reason, struct str message) {
        condition_set(r->a, &r->status, &(struct condition) { type, status, reason, message.p }, r->now,
                      APPS_CONDITION);
}

void rollout_progressing(struct rollout *r, const char *status, const char *reason, struct str message) {
        if (DeploymentSpec_has_progressDeadlineSeconds(r->spec))
                set(r, "Progressing", status, reason, message);
}

static void sync_failure(struct rollout *r) {
        for (size_t i = 0; i <= r->n_old; i++) { /* the new one's word counts first */
                const struct replica_set *rs = i == 0 ? r->new : r->old[i - 1];
                const struct json *c = rs ? condition_find(ReplicaSet_status(object_json(rs->object)), "ReplicaFailure")
                                          : NULL;

                if (!c)
                        continue;
                return set(r, "ReplicaFailure", "True", arena_cstr(r->a, ReplicaSetCondition_reason(c)),
                           str_of(arena_cstr(r->a, ReplicaSetCondition_message(c))));
        }
        condition_remove(r->a, &r->status, "ReplicaFailure");
}

static int64_t count(const struct json *status, const char *key) {
        return json_int(json_getc(status, key));
}

static struct str about(struct rollout *r, const char *what) {
        if (r->new)
                return arena_printf(r->a, "ReplicaSet \"%" STR_FMT "\" %s", STR_ARG(object_name(r->new->object)), what);
        return arena_printf(r->a, "Deployment \"%" STR_FMT "\" %s", STR_ARG(object_name(r->d)), what);
}

/* More updated, fewer old, more ready or more available pods than last time. */
static bool has_progressed(const struct json *before, const struct json *after) {
        int64_t old_before = count(before, "replicas") - count(before, "updatedReplicas"),
                old_after = count(after, "replicas") - count(after, "updatedReplicas");

        return count(after, "updatedReplicas") > count(before, "updatedReplicas") || old_after < old_before ||
               count(after, "readyReplicas") > count(before, "readyReplicas") ||
               count(after, "availableReplicas") > count(before, "availableReplicas");
}

static int64_t last_progress(const struct json *progress) {
        int64_t t = 0;

        time_parse(DeploymentCondition_lastUpdateTime(progress), &t);
        return t;
}

static bool has_timed_out(const struct rollout *r, const struct json *progress) {
        struct str reason = DeploymentCondition_reason(progress);

        if (!progress || str_eqc(reason, "NewReplicaSetAvailable"))
                return false;
        if (str_eqc(reason, "ProgressDeadlineExceeded"))
                return true;
        return time_after(last_progress(progress), DeploymentSpec_progressDeadlineSeconds(r->spec)) < r->now;
}

static bool is_done(const struct rollout *r) {
        const struct json *s = &r->status;

        return count(s, "updatedReplicas") == r->replicas && count(s, "replicas") == r->replicas &&
               count(s, "availableReplicas") == r->replicas &&
               count(s, "observedGeneration") >= count(json_getc(object_json(r->d), "metadata"), "generation");
}

static void sync_progress(struct rollout *r, const struct json *before) {
        const struct json *progress = condition_find(&r->status, "Progressing");
        bool stood = count(&r->status, "replicas") == count(&r->status, "updatedReplicas") &&
                     str_eqc(DeploymentCondition_reason(progress), "NewReplicaSetAvailable");

        if (!DeploymentSpec_has_progressDeadlineSeconds(r->spec) ||
            DeploymentSpec_progressDeadlineSeconds(r->spec) == INT32_MAX) {
                condition_remove(r->a, &r->status, "Progressing");
                return;
        }
        if (stood) /* a finished rollout stays finished, whatever becomes of its pods later */
                return;
        if (is_done(r))
                set(r, "Progressing", "True", "NewReplicaSetAvailable", about(r, "has successfully progressed."));
        else if (has_progressed(before, &r->status)) {
                struct condition c = { "Progressing", "True", "ReplicaSetUpdated", about(r, "is progressing.").p };
                const struct json *old = condition_find(&r->status, "Progressing");

                /* The same word again still moves lastUpdateTime: that is the clock of the deadline. */
                if (str_eqc(DeploymentCondition_status(old), "True") &&
                    str_eqc(DeploymentCondition_reason(old), "ReplicaSetUpdated")) {
                        struct json kept = *old;

                        condition_remove(r->a, &r->status, "Progressing");
                        condition_set(r->a, &r->status, &c, r->now, APPS_CONDITION);
                        json_set_str(r->a, condition_find(&r->status, "Progressing"), "lastTransitionTime",
                                     DeploymentCondition_lastTransitionTime(&kept));
                } else
                        condition_set(r->a, &r->status, &c, r->now, APPS_CONDITION);
        } else if (has_timed_out(r, progress))
                set(r, "Progressing", "False", "ProgressDeadlineExceeded", about(r, "has timed out progressing."));
}

uint64_t rollout_status(struct rollout *r) {
        struct json before = json_copy_shallow(r->a, &r->status);
        int64_t total = rollout_sum(r, offsetof(struct replica_set, replicas)),
                available = rollout_sum(r, offsetof(struct replica_set, available)), left;

        set_count(r, "observedGeneration", json_int(json_at_path(object_json(r->d), "metadata", "generation")));
        set_count(r, "replicas", rollout_sum(r, offsetof(struct replica_set, actual)));
        set_count(r, "updatedReplicas", r->new ? r->new->actual : 0);
        set_count(r, "readyReplicas", rollout_sum(r, offsetof(struct replica_set, ready)));
        set_count(r, "availableReplicas", available);
        set_count(r, "unavailableReplicas", MAX(total - available, 0));
        if (available >= r->replicas - r->max_unavailable)
                set(r, "Available", "True", "MinimumReplicasAvailable", STR("Deployment has minimum availability."));
        else
                set(r, "Available", "False", "MinimumReplicasUnavailable",
                    STR("Deployment does not have minimum availability."));
        sync_failure(r);
        if (!r->paused && !object_deleting(r->d))
                sync_progress(r, &before);

        const struct json *progress = condition_find(&r->status, "Progressing");
        if (!progress || r->paused || is_done(r) ||
            str_eqc(DeploymentCondition_reason(progress), "NewReplicaSetAvailable") ||
            str_eqc(DeploymentCondition_reason(progress), "ProgressDeadlineExceeded"))
                return 0;
        left = time_after(last_progress(progress), DeploymentSpec_progressDeadlineSeconds(r->spec)) - r->now;
        return left <= 0 ? 1000 : (uint64_t) (left / NSEC_PER_MSEC) + 1000;
}
