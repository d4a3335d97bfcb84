/* What admission counts, under upstream's names. What built-in plugins take is measured with the coarse clock, which
 * costs next to nothing and is right in the sum; their latencies are far below its tick and the first bucket. */
#include "apiserver/admission/pod_security.h"
#include "base/metrics.h"
#include "schema/types.h"

static const double seconds[] = { 0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 25 };
static const double condition_seconds[] = { 0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25 };
static const double policy_seconds[] = { 0.0000005, 0.001, 0.01, 0.1, 1 };

static const struct metric step = { "apiserver_admission_step_admission_duration_seconds",
                                    "[STABLE] Admission sub-step latency histogram in seconds, broken out for each "
                                    "operation and API resource and step type (validate or admit).",
                                    METRIC_HISTOGRAM, seconds, ARRAY_SIZE(seconds) - 2 };
static const struct metric step_summary = { "apiserver_admission_step_admission_duration_seconds_summary",
                                            "[ALPHA] Admission sub-step latency summary in seconds, broken out for "
                                            "each operation and API resource and step type (validate or admit).",
                                            METRIC_SUMMARY, NULL, 64 };
static const struct metric controller = {
        "apiserver_admission_controller_admission_duration_seconds",
        "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each "
        "operation and API resource and type (validate or admit).",
        METRIC_HISTOGRAM, seconds, ARRAY_SIZE(seconds) - 2
};
HISTOGRAM(webhook, seconds, "apiserver_admission_webhook_admission_duration_seconds",
          "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each "
          "operation and API resource and type (validate or admit).");
METRIC(webhook_requests, COUNTER, "apiserver_admission_webhook_request_total",
       "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating "
       "or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status "
       "code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.");
METRIC(webhook_rejections, COUNTER, "apiserver_admission_webhook_rejection_count",
       "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type "
       "(validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or "
       "apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if "
       "the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or "
       "equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.");
METRIC(webhook_open, COUNTER, "apiserver_admission_webhook_fail_open_count",
       "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type "
       "(validating or admit).");
HISTOGRAM(condition_time, condition_seconds, "apiserver_admission_match_condition_evaluation_seconds",
          "[ALPHA] Admission match condition evaluation time in seconds, identified by name and broken out for each "
          "kind containing matchConditions (webhook or policy), operation and type (validate or admit).");
METRIC(condition_errors, COUNTER, "apiserver_admission_match_condition_evaluation_errors_total",
       "[ALPHA] Admission match condition evaluation errors count, identified by name of resource containing the match "
       "condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission "
       "type (validate or admit).");
METRIC(condition_exclusions, COUNTER, "apiserver_admission_match_condition_exclusions_total",
       "[ALPHA] Admission match condition evaluation exclusions count, identified by name of resource containing the "
       "match condition and broken out for each kind containing matchConditions (webhook or policy), operation and "
       "admission type (validate or admit).");
METRIC(policy_checks, COUNTER, "apiserver_validating_admission_policy_check_total",
       "[BETA] Validation admission policy check total, labeled by policy and further identified by binding and "
       "enforcement action taken.");
HISTOGRAM(policy_time, policy_seconds, "apiserver_validating_admission_policy_check_duration_seconds",
          "[BETA] Validation admission latency for individual validation expressions in seconds, labeled by policy and "
          "further including binding and enforcement action taken.");

METRIC(security_evaluations, COUNTER, "pod_security_evaluations_total",
       "[ALPHA] Number of policy evaluations that occurred, not counting ignored or exempt requests.");
METRIC(security_exemptions, COUNTER, "pod_security_exemptions_total",
       "[ALPHA] Number of exempt requests, not counting ignored or out of scope requests.");
METRIC(security_errors, COUNTER, "pod_security_errors_total",
       "[ALPHA] Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted "
       "profile being used for evaluation.");

static struct str operation(const struct admission *ad) {
        return str_of(admission_operation_name(ad->operation));
}

static struct str truth(bool b) {
        return b ? STR("true") : STR("false");
}

/* ---- what happens with every write ---- */

struct look {
        const struct admission *ad;
        const struct admission_plugin *plugin;
        bool rejected;
};

static void write_look(struct buf *dst, const void *arg) {
        const struct look *l = arg;

        if (l->plugin)
                metric_label(dst, "name", str_of(l->plugin->name));
        metric_label(dst, "operation", operation(l->ad));
        metric_label(dst, "rejected", truth(l->rejected));
        metric_label(dst, "type", l->ad->validating ? STR("validate") : STR("admit"));
}

void admission_observe(const struct admission *ad, const struct admission_plugin *p, int64_t ns, bool rejected) {
        uint64_t key = ((uint64_t) (uintptr_t) p << 4) + ad->operation * 4U + ad->validating * 2U + rejected;

        double s = (double) ns / NSEC_PER_SEC;
        struct look look = { ad, p, rejected };

        series_observe(metric_series(p ? &controller : &step, key, write_look, &look), s);
        if (!p)
                series_observe(metric_series(&step_summary, key, write_look, &look), s);
}

/* ---- pod security ---- */

struct evaluation {
        const struct pod_security_level *l;
        const char *mode;
        bool denied, create, pod;
        struct str subresource;
};

static void write_evaluation(struct buf *dst, const void *arg) {
        static const char *const levels[] = { "privileged", "baseline", "restricted" };
        const struct evaluation *e = arg;
        char version[24] = "latest";

        if (e->mode) {
                if (e->l->level != POD_SECURITY_PRIVILEGED && e->l->minor != POD_SECURITY_LATEST)
                        snprintf(version, sizeof(version), e->l->minor > POD_SECURITY_NEWEST ? "future" : "v1.%d",
                                 e->l->minor);
                metric_label(dst, "decision", e->denied ? STR("deny") : STR("allow"));
                metric_label(dst, "mode", str_of(e->mode));
                metric_label(dst, "policy_level", str_of(levels[e->l->level]));
                metric_label(dst, "policy_version", str_of(version));
        } else {
                metric_label(dst, "fatal", STR("false"));
        }
        metric_label(dst, "request_operation", e->create ? STR("create") : STR("update"));
        metric_label(dst, "resource", e->pod ? STR("pod") : STR("controller"));
        metric_label(dst, "subresource", e->subresource);
}

static void count_exemption(bool create, bool pod, struct str subresource, int64_t n) {
        series_add(SERIES(&security_exemptions, { "request_operation", create ? STR("create") : STR("update") },
                          { "resource", pod ? STR("pod") : STR("controller") }, { "subresource", subresource }),
                   n);
}

static void count_evaluation(const struct evaluation *e, int64_t n) {
        uint64_t key = !e->create + 4 * e->pod + 8U * e->denied;

        key += 16 * (e->mode ? (unsigned char) e->mode[0] : 0U) + 4096 * (e->l ? e->l->level : 0U);
        if (e->l && e->l->level != POD_SECURITY_PRIVILEGED) /* which is the same in each version */
                key += (uint64_t) MIN(e->l->minor, POD_SECURITY_NEWEST + 1 + (e->l->minor == POD_SECURITY_LATEST))
                       << 16;
        key += (uint64_t) e->subresource.n << 32;
        series_add(metric_series(e->mode ? &security_evaluations : &security_errors, key, write_evaluation, e), n);
}

void pod_security_expose(void) {
        static const struct pod_security_level privileged = { POD_SECURITY_PRIVILEGED, POD_SECURITY_LATEST };

        for (int i = 0; i < 4; i++)
                count_exemption(i & 1, i & 2, STR(""), 0);
        for (int i = 0; i < 2; i++)
                count_evaluation(&(struct evaluation) { .l = &privileged, .mode = "enforce", .create = i, .pod = true },
                                 0);
}

void pod_security_count(const struct admission *ad, const struct pod_security_level *l, const char *mode, bool denied) {
        struct evaluation e = { l, mode, denied, .create = ad->operation == ADMIT_CREATE };

        e.pod = ad->op->rest->stored->resource == &res_pods;
        e.subresource = ad->op->c->subresource;
        if (l && !mode)
                count_exemption(e.create, e.pod, e.subresource, 1);
        else
                count_evaluation(&e, 1);
}

/* ---- webhooks and policies ---- */

static struct metric_label hook_type(const struct admission *ad) {
        return (struct metric_label) { "type", ad->validating ? STR("validating") : STR("admit") };
}

void admission_observe_webhook(const struct admission *ad, struct str name, int64_t ns, int code, const char *error) {
        const struct metric_label named = { "name", name }, written = { "operation", operation(ad) },
                                  rejected = { "rejected", truth(error) }, type = hook_type(ad);
        char number[12];

        snprintf(number, sizeof(number), "%d", MIN(code, 600));
        series_add(SERIES(&webhook_requests, { "code", str_of(number) }, named, written, rejected, type), 1);
        series_observe(SERIES(&webhook, named, written, rejected, type), (double) ns / NSEC_PER_SEC);
        if (error)
                series_add(SERIES(&webhook_rejections, { "error_type", str_of(error) }, named, written,
                                  { "rejection_code", str_of(number) }, type),
                           1);
}

void admission_count_open(const struct admission *ad, struct str name) {
        series_add(SERIES(&webhook_open, { "name", name }, hook_type(ad)), 1);
}

/* Upstream has two words for it, and tells the time only of those that do not hold. */
void admission_observe_conditions(const struct admission *ad, struct str name, const char *kind, int64_t ns, int r) {
        const struct metric_label l[] = { { "kind", str_of(kind) },
                                          { "name", name },
                                          { "operation", operation(ad) },
                                          { "type", !ad->validating               ? STR("admit")
                                                    : strcmp(kind, "policy") == 0 ? STR("validate")
                                                                                  : STR("validating") } };

        if (r > 0)
                return;
        series_observe(metric_labelled(&condition_time, l, ARRAY_SIZE(l)), (double) ns / NSEC_PER_SEC);
        series_add(metric_labelled(r < 0 ? &condition_errors : &condition_exclusions, l, ARRAY_SIZE(l)), 1);
}

/* The kind of error is told from the message, as upstream does: a plain refusal counts as "invalid_error" too. */
void admission_observe_policy(struct str policy, struct str binding, struct str message, int64_t ns,
                              const char *action) {
        struct str kind = str_has_prefix(message, STR("compilation")) ? STR("compile_error")
                          : str_has_prefix(message, STR("validation failed due to running out of cost b"))
                                          ? STR("out_of_budget")
                                          : STR("invalid_error");
        const struct metric_label l[] = { { "enforcement_action", str_of(action) },
                                          { "error_type", kind },
                                          { "policy", policy },
                                          { "policy_binding", binding } };

        series_add(metric_labelled(&policy_checks, l, ARRAY_SIZE(l)), 1);
        series_observe(metric_labelled(&policy_time, l, ARRAY_SIZE(l)), (double) ns / NSEC_PER_SEC);
}
