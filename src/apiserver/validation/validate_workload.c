/* Workloads: Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController. */
#include "apiserver/validation/validate.h"
#include "schema/selector.h"

#define SPEC PATH(NULL, "spec")

static void check_selector(struct field_errors *fe, const struct json *selector, bool needed, const char *what) {
        const struct path *p = PATH(SPEC, "selector");

        if (!json_is(selector, JSON_OBJECT)) { /* Go prints null for the one that is missing */
                REQUIRED_IF(needed, p, "");
                return;
        }
        validate_label_selector(fe, p, selector);
        if (json_len(GET(selector, "matchLabels")) + json_len(GET(selector, "matchExpressions")) == 0)
                field_invalid(fe, p, selector, "empty selector is invalid for %s", what);
}

/* Pods of a template run as those of a controller do. */
static void check_runs(struct field_errors *fe, const struct json *template, const char *kind) {
        const struct path *p = PATH(SPEC, "template"), *spec = PATH(p, "spec");
        struct str restart = json_str(json_at_path(template, "spec", "restartPolicy"));

        fe->at = p; /* after what is wrong with it as with all templates */
        if (!str_empty(restart))
                check_enum(fe, PATH(spec, "restartPolicy"), restart, WORDS("Always"));
        FORBIDDEN_IF(json_at_path(template, "spec", "activeDeadlineSeconds"), PATH(spec, "activeDeadlineSeconds"),
                     "activeDeadlineSeconds in %s is not Supported", kind);
        fe->at = NULL;
}

/* The template's labels satisfy the selector (none is satisfied by nothing, an empty one by all). before: the field
 * that is looked at before the template. */
static void check_template(struct field_errors *fe, const struct json *template, const struct selector *s,
                           const char *kind, const char *before) {
        const struct path *p = PATH(SPEC, "template");
        const struct json *labels = json_at_path(template, "metadata", "labels");

        TELL_AT(PATH(SPEC, before),
                INVALID_IF(!s || !selector_matches_labels(s, labels), PATH(PATH(p, "metadata"), "labels"), labels,
                           "`selector` does not match template `labels`"));
        check_runs(fe, template, kind);
}

/* unreadable: what is said of a selector that cannot be read; NULL: nothing more. */
static void check_pods(struct field_errors *fe, const struct json *spec, const char *kind, const char *unreadable) {
        const struct json *selector = GET(spec, "selector");
        struct selector s;

        if (!json_is(selector, JSON_OBJECT))
                return check_template(fe, GET(spec, "template"), NULL, kind, "selector");
        if (selector_from_object(fe->a, selector, &s, NULL) == 0)
                return check_template(fe, GET(spec, "template"), &s, kind, "selector");
        if (unreadable) {
                field_invalid(fe, PATH(SPEC, "selector"), selector, "%s", unreadable);
                forget_errors_at(fe, PATH(SPEC, "template")); /* upstream goes no further */
        }
        if (strcmp(kind, "ReplicaSet") != 0) /* where it looks at these with the rest */
                check_runs(fe, GET(spec, "template"), kind);
}

/* What a controller selects is settled when it is made. */
static void check_selector_kept(struct field_errors *fe, const struct json *obj, const struct json *old) {
        if (old)
                check_immutable(fe, PATH(SPEC, "selector"), json_at_path(obj, "spec", "selector"),
                                json_at_path(old, "spec", "selector"));
}

static bool is_zero(const struct json *v) { /* 0, "0", "0%"; "x" too */
        int64_t n = json_int(v);
        struct str s = json_str(v);
        bool percent = str_has_suffix(s, STR("%"));

        s.n -= percent;
        return json_is(v, JSON_STRING) ? str_to_i64(s, &n) < 0 || n == 0 || (percent && n < 0) : n == 0;
}

static void check_deployment_strategy(struct field_errors *fe, const struct path *p, const struct json *s) {
        const struct path *rolling = PATH(p, "rollingUpdate");
        const struct json *surge = json_at_path(s, "rollingUpdate", "maxSurge"),
                          *unavailable = json_at_path(s, "rollingUpdate", "maxUnavailable");

        if (str_eqc(TEXT(s, "type"), "RollingUpdate")) {
                fe->at = rolling; /* one after the other, wherever they stand */
                check_int_or_percent(fe, PATH(rolling, "maxUnavailable"), unavailable);
                check_int_or_percent(fe, PATH(rolling, "maxSurge"), surge);
                INVALID_IF(is_zero(unavailable) && is_zero(surge), PATH(rolling, "maxUnavailable"),
                           in_go(fe->a, SCHEMA_INT_OR_STRING, unavailable), "may not be 0 when `maxSurge` is 0");
                check_not_above_all(fe, PATH(rolling, "maxUnavailable"), unavailable);
                fe->at = NULL;
        } else if (!str_eqc(TEXT(s, "type"), "Recreate")) {
                field_not_supported_value(fe, p, s, WORDS("Recreate", "RollingUpdate"));
        } else if (GET(s, "rollingUpdate")) {
                field_forbidden(fe, rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
}

static void check_daemonset_strategy(struct field_errors *fe, const struct path *p, const struct json *s) {
        const struct path *surge_path = PATH(PATH(p, "rollingUpdate"), "maxSurge"),
                          *unavailable_path = PATH(PATH(p, "rollingUpdate"), "maxUnavailable");
        const struct json *surge = json_at_path(s, "rollingUpdate", "maxSurge"),
                          *unavailable = json_at_path(s, "rollingUpdate", "maxUnavailable");

        if (!str_eqc(TEXT(s, "type"), "RollingUpdate")) {
                if (!str_eqc(TEXT(s, "type"), "OnDelete"))
                        field_not_supported_value(fe, p, s, WORDS("RollingUpdate", "OnDelete"));
                return;
        }
        fe->at = PATH(p, "rollingUpdate");
        check_int_or_percent(fe, unavailable_path, unavailable);
        check_int_or_percent(fe, surge_path, surge);
        check_not_above_all(fe, unavailable_path, unavailable);
        check_not_above_all(fe, surge_path, surge);
        if (!is_zero(unavailable) && !is_zero(surge))
                field_invalid(fe, surge_path, in_go(fe->a, SCHEMA_INT_OR_STRING, surge),
                              "may not be set when maxUnavailable is non-zero");
        else if (is_zero(unavailable) && is_zero(surge))
                field_required(fe, unavailable_path, "cannot be 0 when maxSurge is 0");
        fe->at = NULL;
}

static void check_statefulset_strategy(struct field_errors *fe, const struct path *p, const struct json *s) {
        const struct path *rolling = PATH(p, "rollingUpdate");
        const struct json *unavailable = json_at_path(s, "rollingUpdate", "maxUnavailable");
        bool delete = str_eqc(TEXT(s, "type"), "OnDelete");

        if (str_eqc(TEXT(s, "type"), "RollingUpdate")) {
                check_nonnegative(fe, PATH(rolling, "partition"), json_at_path(s, "rollingUpdate", "partition"));
                check_int_or_percent(fe, PATH(rolling, "maxUnavailable"), unavailable);
                INVALID_IF(unavailable && is_zero(unavailable), PATH(rolling, "maxUnavailable"),
                           in_go(fe->a, SCHEMA_INT_OR_STRING, unavailable), "cannot be 0");
                check_not_above_all(fe, PATH(rolling, "maxUnavailable"), unavailable);
        } else if (!delete) {
                field_invalid(fe, p, s, "must be 'RollingUpdate' or 'OnDelete'");
        } else if (GET(s, "rollingUpdate")) {
                field_invalid(fe, rolling, GET(s, "rollingUpdate"), "only allowed for updateStrategy 'RollingUpdate'");
        }
}

/* What once was a field. */
#define ROLLBACK "deprecated.deployment.rollback.to"

void validate_deployment(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *deadline = GET(spec, "progressDeadlineSeconds");
        int64_t revision;

        check_selector(fe, GET(spec, "selector"), true, "deployment");
        check_pods(fe, spec, "ReplicaSet", "invalid label selector");
        check_deployment_strategy(fe, PATH(SPEC, "strategy"), GET(spec, "strategy"));
        if (str_to_i64(json_str(json_at_path(obj, "metadata", "annotations", ROLLBACK)), &revision) == 0) {
                struct json rollback = json_of_int(revision);
                TELL_AT(PATH(SPEC, "progressDeadlineSeconds"),
                        check_nonnegative(fe, PATH(PATH(SPEC, "rollback"), "version"), &rollback));
        }
        INVALID_IF(json_is(deadline, JSON_INT) && deadline->i <= json_int(GET(spec, "minReadySeconds")),
                   PATH(SPEC, "progressDeadlineSeconds"), deadline, "must be greater than minReadySeconds");
        check_selector_kept(fe, obj, old);
}

void validate_replicaset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec");

        check_selector(fe, GET(spec, "selector"), true, "deployment"); /* upstream says so too */
        check_pods(fe, spec, "ReplicaSet", "invalid label selector");
        check_selector_kept(fe, obj, old);
}

void validate_daemonset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec");

        check_selector(fe, GET(spec, "selector"), false, "daemonset");
        check_pods(fe, spec, "DaemonSet", NULL);
        check_daemonset_strategy(fe, PATH(SPEC, "updateStrategy"), GET(spec, "updateStrategy"));
        check_selector_kept(fe, obj, old);
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

static void check_retention(struct field_errors *fe, const struct json *policy) {
        static const char *const when[] = { "whenDeleted", "whenScaled" };

        for (size_t i = 0; policy && i < ARRAY_SIZE(when); i++)
                check_enum(fe, PATH(PATH(SPEC, "persistentVolumeClaimRetentionPolicy"), when[i]), TEXT(policy, when[i]),
                           WORDS("Retain", "Delete"));
}

void validate_statefulset(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec");
        struct str management = TEXT(spec, "podManagementPolicy");

        INVALID_STR_IF(!str_eqc(management, "OrderedReady") && !str_eqc(management, "Parallel"),
                       PATH(SPEC, "podManagementPolicy"), management, "must be 'OrderedReady' or 'Parallel'");
        check_statefulset_strategy(fe, PATH(SPEC, "updateStrategy"), GET(spec, "updateStrategy"));
        check_retention(fe, GET(spec, "persistentVolumeClaimRetentionPolicy"));
        if (!old)
                check_given(fe, SPEC, spec, "serviceName", check_dns_label);
        check_selector(fe, GET(spec, "selector"), true, "statefulset");
        /* Upstream does not look into these pods: it would have to know the volumes of their claims. */
        forget_errors_at(fe, PATH(PATH(SPEC, "template"), "spec"));
        check_pods(fe, spec, "StatefulSet", "");
        if (old && !only_differs_in(fe->a, spec, GET(old, "spec"),
                                    WORDS("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                                          "persistentVolumeClaimRetentionPolicy", "minReadySeconds")))
                field_forbidden(fe, SPEC,
                                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                                "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                                "'minReadySeconds' are forbidden");
}

void validate_replication_controller(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *selector = GET(spec, "selector");
        struct selector s;

        REQUIRED_IF(json_len(selector) == 0, PATH(SPEC, "selector"), "");
        selector_from_map(fe->a, selector, &s);
        if (GET(spec, "template"))
                check_template(fe, GET(spec, "template"), &s, "ReplicationController", "replicas");
        else
                field_required(fe, PATH(SPEC, "template"), "");
        json_each_member(m, json_at_path(old, "metadata", "annotations")) {
                if (!str_has_prefix(json_key(m), STR("non-convertible.kubernetes.io/")) ||
                    str_search(json_key(m), STR("selector")) < 0)
                        continue;
                fe->phase = 1;
                INVALID_IF(!json_equal(selector, json_at_path(old, "spec", "selector")), PATH(SPEC, "selector"),
                           selector, "cannot update non-convertible selector");
                fe->phase = 0;
        }
}

/* How often names of revisions collided only grows, and stays. */
void validate_collisions(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *now = json_at_path(obj, "status", "collisionCount"),
                          *before = json_at_path(old, "status", "collisionCount");
        struct json zero = json_of_int(0);

        INVALID_IF(before && (!now || json_int(now) < json_int(before)), PATH(PATH(NULL, "status"), "collisionCount"),
                   now ? now : &zero, "cannot be decremented");
}
