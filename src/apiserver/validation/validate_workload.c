/* Workloads: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob. */
#include <stdio.h>
#include <unistd.h>

#include "apiserver/validation/validate.h"
#include "schema/selector.h"

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))

/* spec.selector: required, well formed, and the template's labels satisfy it. */
static void validate_selector_and_template(struct field_errors *fe, const struct json *spec,
                                           const struct json *old_spec, const char *restart, const char *what) {
        const struct path *p = PATH(NULL, "spec"), *template = PATH(p, "template");
        const struct json *selector = GET(spec, "selector"), *t = GET(spec, "template");
        const struct json *labels = json_at_path(t, "metadata", "labels");
        struct selector s;

        if (!json_is(selector, JSON_OBJECT)) { /* Go prints null for the one that is missing */
                field_required(fe, PATH(p, "selector"), "");
        } else {
                validate_label_selector(fe, PATH(p, "selector"), selector);
                if (json_len(GET(selector, "matchLabels")) + json_len(GET(selector, "matchExpressions")) == 0)
                        field_invalid(fe, PATH(p, "selector"), selector, "empty selector is invalid for %s", what);
        }
        if (old_spec)
                check_immutable(fe, PATH(p, "selector"), selector, GET(old_spec, "selector"));
        if (selector && selector_from_object(fe->a, selector, &s, NULL) == 0 && !selector_matches_labels(&s, labels)) {
                struct json none = json_new_object();

                field_invalid(fe, PATH(PATH(template, "metadata"), "labels"), labels ? labels : &none,
                              "`selector` does not match template `labels`");
        }
        if (!old_spec || !json_equal(t, GET(old_spec, "template")))
                validate_pod_template(fe, template, t);
        if (restart && !str_empty(json_str(json_at_path(t, "spec", "restartPolicy"))) &&
            !str_eqc(json_str(json_at_path(t, "spec", "restartPolicy")), restart)) {
                const char *const allowed[] = { restart, NULL };

                field_not_supported(fe, PATH(PATH(template, "spec"), "restartPolicy"),
                                    json_str(json_at_path(t, "spec", "restartPolicy")), allowed);
        }
        if (json_at_path(t, "spec", "activeDeadlineSeconds") && restart)
                field_forbidden(fe, PATH(PATH(template, "spec"), "activeDeadlineSeconds"),
                                "activeDeadlineSeconds in ReplicaSet is not Supported");
}

static int64_t as_count(const struct json *v) { /* -1: a percentage that is not 0 */
        if (json_is(v, JSON_STRING))
                return str_eqc(json_str(v), "0%") ? 0 : -1;
        return json_int(v);
}

static bool above_100_percent(const struct json *v) {
        struct str s = json_str(v);
        int64_t n;

        return str_has_suffix(s, STR("%")) && str_to_i64(str_sub(s, 0, s.n - 1), &n) == 0 && n > 100;
}

static void validate_rolling_update(struct field_errors *fe, const struct path *p, const struct json *r) {
        const struct json *surge = GET(r, "maxSurge"), *unavailable = GET(r, "maxUnavailable");

        check_int_or_percent(fe, PATH(p, "maxUnavailable"), unavailable);
        check_int_or_percent(fe, PATH(p, "maxSurge"), surge);
        if (as_count(unavailable) == 0 && as_count(surge) == 0)
                field_invalid(fe, PATH(p, "maxUnavailable"), unavailable, "may not be 0 when `maxSurge` is 0");
        if (above_100_percent(unavailable))
                field_invalid(fe, PATH(p, "maxUnavailable"), unavailable, "must not be greater than 100%%");
}

void validate_deployment(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *strategy = PATH(p, "strategy");
        const struct json *spec = GET(obj, "spec"), *s = GET(spec, "strategy"),
                          *deadline = GET(spec, "progressDeadlineSeconds");

        check_nonnegative(fe, PATH(p, "replicas"), GET(spec, "replicas"));
        validate_selector_and_template(fe, spec, GET(old, "spec"), "Always", "deployment");
        if (str_eqc(TEXT(s, "type"), "Recreate") && GET(s, "rollingUpdate"))
                field_forbidden(fe, PATH(strategy, "rollingUpdate"),
                                "may not be specified when strategy `type` is 'Recreate'");
        if (str_eqc(TEXT(s, "type"), "RollingUpdate"))
                validate_rolling_update(fe, PATH(strategy, "rollingUpdate"), GET(s, "rollingUpdate"));
        check_nonnegative(fe, PATH(p, "minReadySeconds"), GET(spec, "minReadySeconds"));
        check_nonnegative(fe, PATH(p, "revisionHistoryLimit"), GET(spec, "revisionHistoryLimit"));
        check_nonnegative(fe, PATH(p, "progressDeadlineSeconds"), deadline);
        if (json_is(deadline, JSON_INT) && deadline->i <= json_int(GET(spec, "minReadySeconds")))
                field_invalid(fe, PATH(p, "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
}

void validate_replicaset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        check_nonnegative(fe, PATH(p, "replicas"), GET(spec, "replicas"));
        check_nonnegative(fe, PATH(p, "minReadySeconds"), GET(spec, "minReadySeconds"));
        validate_selector_and_template(fe, spec, GET(old, "spec"), "Always", "replicaset");
}

void validate_daemonset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *strategy = PATH(p, "updateStrategy");
        const struct json *spec = GET(obj, "spec"), *s = GET(spec, "updateStrategy");

        validate_selector_and_template(fe, spec, GET(old, "spec"), "Always", "daemonset");
        check_nonnegative(fe, PATH(p, "minReadySeconds"), GET(spec, "minReadySeconds"));
        check_nonnegative(fe, PATH(p, "revisionHistoryLimit"), GET(spec, "revisionHistoryLimit"));
        if (str_eqc(TEXT(s, "type"), "RollingUpdate")) {
                const struct path *r = PATH(strategy, "rollingUpdate");

                check_int_or_percent(fe, PATH(r, "maxUnavailable"), json_at_path(s, "rollingUpdate", "maxUnavailable"));
                check_int_or_percent(fe, PATH(r, "maxSurge"), json_at_path(s, "rollingUpdate", "maxSurge"));
        }
}

static bool only_differs_in(struct arena *a, const struct json *now, const struct json *old,
                            const char *const *fields) {
        struct json x = json_copy_shallow(a, now), y = json_copy_shallow(a, old);

        for (; *fields; fields++) {
                json_removec(&x, *fields);
                json_removec(&y, *fields);
        }
        return json_equal(&x, &y);
}

void validate_statefulset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const mutable[] = { "replicas",
                                               "ordinals",
                                               "template",
                                               "updateStrategy",
                                               "revisionHistoryLimit",
                                               "persistentVolumeClaimRetentionPolicy",
                                               "minReadySeconds",
                                               NULL };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"),
                          *partition = json_at_path(spec, "updateStrategy", "rollingUpdate", "partition");

        check_nonnegative(fe, PATH(p, "replicas"), GET(spec, "replicas"));
        check_nonnegative(fe, PATH(p, "minReadySeconds"), GET(spec, "minReadySeconds"));
        check_nonnegative(fe, PATH(PATH(PATH(p, "updateStrategy"), "rollingUpdate"), "partition"), partition);
        if (old && !only_differs_in(fe->a, spec, GET(old, "spec"), mutable)) {
                field_forbidden(fe, p,
                                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                                "'updateStrategy', "
                                "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' "
                                "are forbidden");
                return;
        }
        validate_selector_and_template(fe, spec, NULL, "Always", "statefulset");
}

void validate_replication_controller(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *selector = GET(spec, "selector"),
                          *template = GET(spec, "template");
        struct selector s;

        check_nonnegative(fe, PATH(p, "replicas"), GET(spec, "replicas"));
        check_nonnegative(fe, PATH(p, "minReadySeconds"), GET(spec, "minReadySeconds"));
        if (json_len(selector) == 0)
                field_required(fe, PATH(p, "selector"), "");
        if (!template) {
                field_required(fe, PATH(p, "template"), "");
                return;
        }
        selector_from_map(fe->a, selector, &s);
        if (json_len(selector) > 0 && !selector_matches_labels(&s, json_at_path(template, "metadata", "labels")))
                field_invalid(fe, PATH(PATH(PATH(p, "template"), "metadata"), "labels"),
                              json_at_path(template, "metadata", "labels"),
                              "`selector` does not match template `labels`");
        if (!old || !json_equal(template, json_at_path(old, "spec", "template")))
                validate_pod_template(fe, PATH(p, "template"), template);
}

/* ---- jobs ---- */

static void validate_job_spec(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const char *const counts[] = { "parallelism",
                                              "completions",
                                              "activeDeadlineSeconds",
                                              "backoffLimit",
                                              "ttlSecondsAfterFinished",
                                              "backoffLimitPerIndex",
                                              "maxFailedIndexes" };
        static const char *const policies[] = { "OnFailure", "Never", NULL };
        const struct path *template = PATH(p, "template");
        struct str restart = json_str(json_at_path(spec, "template", "spec", "restartPolicy"));
        bool indexed = str_eqc(TEXT(spec, "completionMode"), "Indexed");

        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                check_nonnegative(fe, PATH(p, counts[i]), GET(spec, counts[i]));
        if (indexed && !GET(spec, "completions"))
                field_required(fe, PATH(p, "completions"), "when completion mode is Indexed");
        if (!indexed && GET(spec, "backoffLimitPerIndex"))
                field_invalid(fe, PATH(p, "backoffLimitPerIndex"), GET(spec, "backoffLimitPerIndex"),
                              "requires indexed completion mode");
        validate_pod_template(fe, template, GET(spec, "template"));
        if (str_eqc(restart, "Always"))
                field_required(fe, PATH(PATH(template, "spec"), "restartPolicy"),
                               "valid values: \"OnFailure\", \"Never\"");
        else if (!str_empty(restart) && !str_eqc(restart, policies[0]) && !str_eqc(restart, policies[1]))
                field_not_supported(fe, PATH(PATH(template, "spec"), "restartPolicy"), restart, policies);
}

/* The template of a job is fixed, but for the placement of a suspended one. */
static void validate_job_update(struct field_errors *fe, const struct path *p, const struct json *spec,
                                const struct json *old) {
        static const char *const fixed[] = { "selector",  "completionMode", "podFailurePolicy", "backoffLimitPerIndex",
                                             "managedBy", "successPolicy" };
        bool suspended = json_bool(GET(old, "suspend"));

        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
                check_immutable(fe, PATH(p, fixed[i]), GET(spec, fixed[i]), GET(old, fixed[i]));
        if (!str_eqc(TEXT(old, "completionMode"), "Indexed"))
                check_immutable(fe, PATH(p, "completions"), GET(spec, "completions"), GET(old, "completions"));
        if (!suspended)
                check_immutable(fe, PATH(p, "template"), GET(spec, "template"), GET(old, "template"));
}

void validate_job(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *selector = GET(spec, "selector");
        struct selector s;

        if (old) {
                validate_job_update(fe, p, spec, GET(old, "spec"));
                return;
        }
        validate_job_spec(fe, p, spec);
        if (!json_is(selector, JSON_OBJECT))
                field_required(fe, PATH(p, "selector"), "");
        else if (selector_from_object(fe->a, selector, &s, NULL) == 0 &&
                 !selector_matches_labels(&s, json_at_path(spec, "template", "metadata", "labels")))
                field_invalid(fe, PATH(PATH(PATH(p, "template"), "metadata"), "labels"),
                              json_at_path(spec, "template", "metadata", "labels"),
                              "`selector` does not match template `labels`");
}

/* ---- cron ---- */

static int cron_name(struct str s, int field) {
        static const char months[] = "janfebmaraprmayjunjulaugsepoctnovdec", days[] = "sunmontuewedthufrisat";
        const char *names = field == 3 ? months : field == 4 ? days : NULL;

        for (int i = 0; names && s.n == 3 && names[i * 3]; i++)
                if (str_eq_fold(s, str_n(names + i * 3, 3)))
                        return i + (field == 3);
        return -1;
}

static bool cron_number(struct str s, int field, int64_t *ret) {
        static const int64_t bounds[5][2] = { { 0, 59 }, { 0, 23 }, { 1, 31 }, { 1, 12 }, { 0, 7 } };

        *ret = cron_name(s, field);
        if (*ret < 0 && str_to_i64(s, ret) < 0)
                return false;
        return *ret >= bounds[field][0] && *ret <= bounds[field][1];
}

/* "*", "5", "1-5", each with "/n" */
static bool cron_part(struct str part, int field) {
        ssize_t slash = str_find(part, '/'), dash;
        int64_t from, to, step;

        if (slash >= 0) {
                if (str_to_i64(str_sub(part, (size_t) slash + 1, part.n), &step) < 0 || step <= 0)
                        return false;
                part = str_sub(part, 0, (size_t) slash);
        }
        if (str_eqc(part, "*") || (str_eqc(part, "?") && (field == 2 || field == 4)))
                return true;
        dash = str_find(part, '-');
        if (dash < 0)
                return cron_number(part, field, &from);
        return cron_number(str_sub(part, 0, (size_t) dash), field, &from) &&
               cron_number(str_sub(part, (size_t) dash + 1, part.n), field, &to) && from <= to;
}

static bool cron_valid(struct str s) {
        static const char *const macros[] = { "@yearly", "@annually", "@monthly", "@weekly",
                                              "@daily",  "@midnight", "@hourly" };
        struct str field, part;
        int n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
                if (str_eqc(s, macros[i]))
                        return true;
        if (str_has_prefix(s, STR("@every ")))
                return true;
        while (str_split(&s, ' ', &field)) {
                if (str_empty(field))
                        continue;
                if (n == 5)
                        return false;
                while (str_split(&field, ',', &part))
                        if (!cron_part(part, n))
                                return false;
                n++;
        }
        return n == 5;
}

/* Why a schedule is not one, in the words of upstream's parser where it says how many fields there are. */
static void refuse_schedule(struct field_errors *fe, const struct path *p, struct str s) {
        _cleanup_buf_ struct buf fields = BUF_INIT;
        struct str rest = s, field;
        size_t n = 0;

        while (str_split(&rest, ' ', &field))
                if (!str_empty(field))
                        buf_printf(&fields, "%s%" STR_FMT, n++ ? " " : "", STR_ARG(field));
        if (s.p[0] == '@')
                field_invalid_str(fe, p, s, "unrecognized descriptor: %" STR_FMT, STR_ARG(s));
        else if (n != 5)
                field_invalid_str(fe, p, s, "expected exactly 5 fields, found %zu: [%" STR_FMT "]", n,
                                  STR_ARG(buf_str(&fields)));
        else
                field_invalid_str(fe, p, s, "a field is not in the cron format: [%" STR_FMT "]",
                                  STR_ARG(buf_str(&fields)));
}

/* The zones of this machine; UTC needs no file. */
static bool zone_known(struct str name) {
        _cleanup_free_ char *path = NULL;

        if (str_eqc(name, "UTC") || str_eqc(name, "Etc/UTC"))
                return true;
        return str_search(name, STR("..")) < 0 && asprintf(&path, "/usr/share/zoneinfo/%" STR_FMT, STR_ARG(name)) > 0 &&
               access(path, R_OK) == 0;
}

void validate_cronjob(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const counts[] = { "startingDeadlineSeconds", "successfulJobsHistoryLimit",
                                              "failedJobsHistoryLimit" };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");
        const struct json *zone = GET(spec, "timeZone");
        struct str schedule = TEXT(spec, "schedule"), name = json_str(json_at_path(obj, "metadata", "name"));

        if (!old && name.n > 52)
                field_invalid_str(fe, PATH(PATH(NULL, "metadata"), "name"), name, "must be no more than 52 characters");
        if (str_empty(schedule))
                field_required(fe, PATH(p, "schedule"), "");
        else if (str_search(schedule, STR("TZ")) >= 0)
                field_invalid_str(fe, PATH(p, "schedule"), schedule,
                                  "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
        else if (!cron_valid(schedule))
                refuse_schedule(fe, PATH(p, "schedule"), schedule);
        if (zone && (str_empty(json_str(zone)) || json_str(zone).p[0] == '/' || !zone_known(json_str(zone))))
                field_invalid(fe, PATH(p, "timeZone"), zone, "%s%s",
                              str_empty(json_str(zone)) ? "timeZone must be nil or non-empty string"
                                                        : "unknown time zone ",
                              arena_cstr(fe->a, json_str(zone)));
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                check_nonnegative(fe, PATH(p, counts[i]), GET(spec, counts[i]));
        validate_job_spec(fe, PATH(PATH(p, "jobTemplate"), "spec"), json_at_path(spec, "jobTemplate", "spec"));
}
