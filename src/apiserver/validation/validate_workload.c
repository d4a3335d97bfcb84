/* Workloads: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController. */
#include <stdio.h>

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
