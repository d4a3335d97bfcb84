/* podFailurePolicy: what a failed pod means for its Job. successPolicy: when a Job with indexes is good enough.
 * https://kubernetes.io/docs/concepts/workloads/controllers/job/#pod-failure-policy */
#include <inttypes.h>

#include "controllers/job.h"
#include "schema/types.h"

static bool in(const struct json *values, int64_t code) {
        json_each_item(v, values)
                if (json_int(v) == code)
                        return true;
        return false;
}

/* The container whose exit code the rule speaks of, or NULL. */
static const struct json *exit_code_matches(const struct json *rule, const struct json *statuses) {
        struct str op = json_str(json_getc(rule, "operator"));
        const struct json *name = json_getc(rule, "containerName");

        json_each_item(c, statuses) {
                const struct json *terminated = json_at_path(c, "state", "terminated");
                int64_t code = json_int(json_getc(terminated, "exitCode"));

                if (!terminated || code == 0 || (name && !str_eq(json_str(name), ContainerStatus_name(c))))
                        continue;
                if (in(json_getc(rule, "values"), code) == str_eqc(op, "In"))
                        return c;
        }
        return NULL;
}

static const struct json *condition_matches(const struct json *patterns, const struct json *status) {
        json_each_item(p, patterns)
                json_each_item(c, PodStatus_conditions(status))
                        if (str_eq(PodCondition_type(c), json_str(json_getc(p, "type"))) &&
                            str_eq(PodCondition_status(c), json_str_or(json_getc(p, "status"), STR("True"))))
                                return c;
        return NULL;
}

enum job_failure_action job_failure_policy(struct job_sync *s, const struct object *pod, const char **ret_message) {
        const struct json *status = Pod_status(object_json(pod));
        size_t i = 0;

        json_each_item(rule, json_getc(JobSpec_podFailurePolicy(s->spec), "rules")) {
                const struct json *codes = json_getc(rule, "onExitCodes"), *container = NULL, *condition = NULL;
                struct str action = json_str(json_getc(rule, "action"));

                if (codes) {
                        container = exit_code_matches(codes, PodStatus_containerStatuses(status));
                        if (!container)
                                container = exit_code_matches(codes, PodStatus_initContainerStatuses(status));
                } else
                        condition = condition_matches(json_getc(rule, "onPodConditions"), status);
                if (container || condition) {
                        if (container)
                                *ret_message = arena_printf(s->a,
                                                            "Container %" STR_FMT " for pod %" STR_FMT "/%" STR_FMT
                                                            " failed with exit code %" PRId64 " matching %" STR_FMT
                                                            " rule at index %zu",
                                                            STR_ARG(ContainerStatus_name(container)),
                                                            STR_ARG(object_namespace(pod)), STR_ARG(object_name(pod)),
                                                            json_int(json_at_path(container, "state", "terminated",
                                                                                  "exitCode")),
                                                            STR_ARG(action), i)
                                                               .p;
                        else
                                *ret_message = arena_printf(s->a,
                                                            "Pod %" STR_FMT "/%" STR_FMT " has condition %" STR_FMT
                                                            " matching %" STR_FMT " rule at index %zu",
                                                            STR_ARG(object_namespace(pod)), STR_ARG(object_name(pod)),
                                                            STR_ARG(PodCondition_type(condition)), STR_ARG(action), i)
                                                               .p;
                        return str_eqc(action, "FailJob")     ? JOB_FAILURE_FAIL_JOB
                               : str_eqc(action, "FailIndex") ? JOB_FAILURE_FAIL_INDEX
                               : str_eqc(action, "Ignore")    ? JOB_FAILURE_IGNORE
                                                              : JOB_FAILURE_COUNT;
                }
                i++;
        }
        return JOB_FAILURE_COUNT;
}

const char *job_success_policy(struct job_sync *s) {
        size_t i = 0;

        json_each_item(rule, json_getc(JobSpec_successPolicy(s->spec), "rules")) {
                struct index_set wanted = { 0 };
                int64_t have = index_set_count(&s->completed), need = -1;

                if (json_getc(rule, "succeededIndexes")) {
                        index_set_parse(&wanted, json_str(json_getc(rule, "succeededIndexes")),
                                        JobSpec_completions(s->spec));
                        need = index_set_count(&wanted);
                        have = 0;
                        for (size_t k = 0; k < wanted.ranges.n; k++)
                                for (int64_t n = wanted.ranges.v[k].first; n <= wanted.ranges.v[k].last; n++)
                                        have += index_set_has(&s->completed, n);
                        vec_free(&wanted.ranges);
                }
                if (json_getc(rule, "succeededCount"))
                        need = json_int(json_getc(rule, "succeededCount"));
                bool met = need >= 0 && have >= need;
                if (met)
                        return arena_printf(s->a, "Matched rules at index %zu", i).p;
                i++;
        }
        return NULL;
}
