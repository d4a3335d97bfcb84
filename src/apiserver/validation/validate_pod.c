/* Pods and what pods are made of: pkg/apis/core/validation of v1.33, the parts that users meet. Enumerations are
 * checked by validate_rules.c. */
#include "apiserver/validation/validate_rules.h"
#include "schema/elements.h"
#include "schema/quantity.h"
#include "schema/quota.h"

/* ---- the pod ---- */

RULE(pod_spec) {
        validate_containers(fe, p, v);
        fe->phase++;
        check_os_fields(fe, p, v);
        fe->phase--;
        check_host_processes(fe, p, v);
        check_host_sysctls(fe, PATH(PATH(p, "securityContext"), "sysctls"), v);
        if (json_bool(GET(v, "hostPID")) && json_bool(GET(v, "shareProcessNamespace")))
                TELL_AT(PATH(PATH(p, "securityContext"), "supplementalGroups"),
                        invalid_at(fe, PATH(p, "securityContext"), v, "shareProcessNamespace",
                                   "ShareProcessNamespace and HostPID cannot both be enabled"));
        if (str_eqc(TEXT(v, "dnsPolicy"), "None") && json_len(json_at_path(v, "dnsConfig", "nameservers")) == 0) {
                bool given = GET(v, "dnsConfig");

                forget_errors_at(fe, PATH(p, "dnsConfig"));
                field_required(fe, given ? PATH(PATH(p, "dnsConfig"), "nameservers") : PATH(p, "dnsConfig"),
                               given ? "must provide at least one DNS nameserver when `dnsPolicy` is None"
                                     : "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if (json_is(GET(v, "hostUsers"), JSON_BOOL) && !json_bool(GET(v, "hostUsers"))) {
                static const char *const shared[][2] = { { "hostNetwork", "hostNetwork" },
                                                         { "hostPID", "HostPID" },
                                                         { "hostIPC", "HostIPC" } };

                for (size_t i = 0; i < ARRAY_SIZE(shared); i++)
                        if (json_bool(GET(v, shared[i][0])))
                                field_forbidden(fe, PATH(p, shared[i][1]), "when `pod.Spec.HostUsers` is false");
        }
}

/* ---- annotations that were fields once ---- */

#define DELETION_COST "controller.kubernetes.io/pod-deletion-cost"
#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP "container.seccomp.security.alpha.kubernetes.io/"
#define TOLERATIONS "scheduler.alpha.kubernetes.io/tolerations"

static const struct json *find_container(const struct json *spec, struct str name) {
        each_word(list, "initContainers", "containers", "ephemeralContainers")
                if (json_find_by(GET(spec, list), "name", name))
                        return json_find_by(GET(spec, list), "name", name);
        return NULL;
}

static void check_seccomp(struct field_errors *fe, const struct path *p, const struct json *v) {
        struct json local = json_of_str(str_sub(json_str(v), strlen("localhost/"), json_str(v).n));

        if (str_has_prefix(json_str(v), STR("localhost/")))
                rule_relative_path(fe, p, &local, NULL);
        else if (!str_among(json_str(v), WORDS("runtime/default", "docker/default", "unconfined")))
                field_invalid(fe, p, v, "must be a valid seccomp profile");
}

static void check_cost(struct field_errors *fe, const struct path *p, const struct json *v) {
        struct str s = json_str(v);
        int64_t n;

        if (str_to_i64(s, &n) < 0 || n != (int32_t) n || s.p[0] == '+' || (s.p[0] == '0' && s.n > 1))
                field_invalid(fe, p, v, "must be a 32bit integer");
}

/* p: of the annotations. old: those of the pod before, of which a bad deletion cost may stay. */
CHECK(check_annotations, const struct json *annotations, const struct json *spec, const struct json *old) {
        json_each_member(m, annotations) {
                const struct path *at = PATH_KEY(p, json_key(m));
                struct str key = json_key(m), value = json_str(&m->value);

                if (str_eqc(key, MIRROR) && str_empty(TEXT(spec, "nodeName")))
                        field_invalid(fe, at, &m->value, "must set spec.nodeName if mirror pod annotation is set");
                else if (str_eqc(key, DELETION_COST) &&
                         !(old && json_get(old, key) && json_equal(&m->value, json_get(old, key))))
                        check_cost(fe, at, &m->value);
                else if (str_eqc(key, SECCOMP_POD) || str_has_prefix(key, STR(SECCOMP)))
                        check_seccomp(fe, PATH_DOT(p, key), &m->value);
                else if (str_eqc(key, TOLERATIONS))
                        each_at(t, t_at, PATH(p, TOLERATIONS), annotation_json(fe, p, annotations, TOLERATIONS))
                                rule_toleration(fe, t_at, t, NULL);
                if (!str_has_prefix(key, STR(APPARMOR)))
                        continue;
                if (!find_container(spec, str_sub(key, strlen(APPARMOR), key.n)))
                        field_invalid_str(fe, at, str_sub(key, strlen(APPARMOR), key.n), "container not found");
                INVALID_IF(!str_empty(value) && !str_eqc(value, "runtime/default") && !str_eqc(value, "unconfined") &&
                                           !str_has_prefix(value, STR("localhost/")),
                           at, &m->value, "invalid AppArmor profile name: \"%" STR_FMT "\"", STR_ARG(value));
        }
}

/* A profile that an annotation names too is the same there. */
CHECK(check_match, const struct json *profile, const struct json *annotation, const char *what) {
        static const char *const types[] = { "Unconfined", "RuntimeDefault", "Localhost", NULL };
        struct str type = TEXT(profile, "type"), said = json_str(annotation);
        bool local = str_eqc(type, "Localhost") && str_has_prefix(said, STR("localhost/"));
        bool same = (str_eqc(type, "Unconfined") && str_eqc(said, "unconfined")) ||
                    (str_eqc(type, "RuntimeDefault") &&
                     (str_eqc(said, "runtime/default") || (*what == 's' && str_eqc(said, "docker/default"))));

        if (!annotation || !str_among(type, types))
                return;
        if (local && !str_eq(TEXT(profile, "localhostProfile"), str_sub(said, strlen("localhost/"), said.n)))
                field_forbidden(fe, PATH(p, "localhostProfile"), "%s profile in annotation and field must match", what);
        else if (!local && !same)
                field_forbidden(fe, PATH(p, "type"), "%s type in annotation and field must match", what);
}

CHECK(check_profiles, const struct json *annotations, const struct json *spec) {
        const struct json *pod = GET(spec, "securityContext");
        bool windows = str_eqc(json_str(json_at_path(spec, "os", "name")), "windows");

        if (json_len(annotations) == 0)
                return;
        check_match(fe, PATH(PATH(p, "securityContext"), "seccompProfile"), GET(pod, "seccompProfile"),
                    GET(annotations, SECCOMP_POD), "seccomp");
        each_word(list, "initContainers", "containers", "ephemeralContainers") {
                each_at(c, each, PATH(p, list), GET(spec, list)) {
                        const struct path *at = PATH(each, "securityContext");
                        const struct json *own = GET(c, "securityContext"), *armor = GET(own, "appArmorProfile");
                        struct str name = TEXT(c, "name");

                        check_match(fe, PATH(at, "seccompProfile"), GET(own, "seccompProfile"),
                                    json_get(annotations, arena_printf(fe->a, SECCOMP "%" STR_FMT, STR_ARG(name))),
                                    "seccomp");
                        check_match(fe, PATH(at, "appArmorProfile"),
                                    windows ? NULL
                                    : armor ? armor
                                            : GET(pod, "appArmorProfile"),
                                    json_get(annotations, arena_printf(fe->a, APPARMOR "%" STR_FMT, STR_ARG(name))),
                                    "apparmor");
                }
        }
}

RULE(template_metadata) {
        const struct json *annotations = json_at_path(v, "metadata", "annotations");

        validate_labels(fe, PATH(p, "labels"), json_at_path(v, "metadata", "labels"));
        validate_annotations(fe, PATH(p, "annotations"), annotations);
        check_annotations(fe, PATH(p, "annotations"), annotations, GET(v, "spec"), NULL);
}

RULE(pod_template) {
        const struct json *annotations = json_at_path(v, "metadata", "annotations"), *spec = GET(v, "spec");

        rule_template_metadata(fe, p, v, r);
        fe->at = p;
        check_profiles(fe, PATH(p, "spec"), annotations, spec);
        FORBIDDEN_IF(json_len(GET(spec, "ephemeralContainers")) > 0, PATH(PATH(p, "spec"), "ephemeralContainers"),
                     "ephemeral containers not allowed in pod template");
        fe->at = NULL;
}

/* ---- updates ---- */

#define SPEC PATH(NULL, "spec")

static const struct schema_type *member_type(const struct schema_type *t, const char *name) {
        return schema_field(t, str_of(name))->type;
}

/* What the node or its agent says about the pod in annotations stays; the others are looked at once more. */
void check_kept_annotations(struct field_errors *fe, const struct json *obj, const struct json *before) {
        static const char *const keys[][2] = { { APPARMOR, "AppArmor annotations" },
                                               { MIRROR, "mirror pod annotation" } };
        const struct path *p = PATH(PATH(NULL, "metadata"), "annotations");
        const struct json *now = json_at_path(obj, "metadata", "annotations"),
                          *old = json_at_path(before, "metadata", "annotations");

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                json_each_member(m, old)
                        if (str_has_prefix(json_key(m), str_of(keys[i][0])) &&
                            (!json_get(now, json_key(m)) || !json_equal(json_get(now, json_key(m)), &m->value)))
                                field_forbidden(fe, PATH_KEY(p, json_key(m)), "may not remove or update %s",
                                                keys[i][1]);
                json_each_member(m, now)
                        if (str_has_prefix(json_key(m), str_of(keys[i][0])) && !json_get(old, json_key(m)))
                                field_forbidden(fe, PATH_KEY(p, json_key(m)), "may not add %s", keys[i][1]);
        }
        check_annotations(fe, p, now, GET(obj, "spec"), old);
}

/* A container list of an update as it was in some members. */
static struct json restore(struct arena *a, const struct json *list, const struct json *old,
                           const char *const *members) {
        struct json copy = json_copy_shallow(a, list);
        size_t i = 0;

        json_each_item(c, &copy) {
                const struct json *before = json_item(old, i++);

                *c = json_copy_shallow(a, c);
                for (size_t k = 0; members[k]; k++)
                        json_put(a, c, members[k], GET(before, members[k]));
        }
        return copy;
}

static bool check_deadline(struct field_errors *fe, const struct json *now, const struct json *old) {
        const struct path *p = PATH(SPEC, "activeDeadlineSeconds");

        if (json_is(now, JSON_INT) && (now->i < 0 || now->i > INT32_MAX))
                field_invalid(fe, p, now, "must be between 0 and 2147483647, inclusive");
        else if (json_is(now, JSON_INT) && json_is(old, JSON_INT) && old->i < now->i)
                field_invalid(fe, p, now, "must be less than or equal to previous value");
        else {
                INVALID_IF(!now && old, p, NULL, "must not update from a positive integer to nil value");
                return true;
        }
        return false;
}

/* All of a toleration but its seconds. */
static struct str toleration_name(struct arena *a, const struct json *t) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        each_word(part, "key", "effect", "operator", "value")
                json_write_string(&b, TEXT(t, part));
        return arena_str(a, buf_str(&b));
}

static void check_tolerations_kept(struct field_errors *fe, const struct json *now, const struct json *before) {
        struct elements names = elements_new(fe->a, json_len(GET(now, "tolerations")));

        json_each_item(t, GET(now, "tolerations"))
                elements_add(&names, toleration_name(fe->a, t));
        json_each_item(t, GET(before, "tolerations")) {
                if (elements_find(&names, toleration_name(fe->a, t)) >= 0)
                        continue;
                return field_forbidden(fe, PATH(SPEC, "tolerations"),
                                       "existing toleration can not be modified except its tolerationSeconds");
        }
        each_at(t, p, PATH(SPEC, "tolerations"), GET(now, "tolerations")) /* once more */
                rule_toleration(fe, p, t, NULL);
}

/* A new one that is there twice is told where it is last. */
static void check_gates(struct field_errors *fe, const struct json *now, const struct json *before) {
        const struct json *gates = GET(now, "schedulingGates"), *had = GET(before, "schedulingGates");
        struct elements names = elements_new(fe->a, json_len(gates) + json_len(had));

        json_each_item(o, had)
                elements_add(&names, TEXT(o, "name"));
        for (size_t i = json_len(gates); i-- > 0;) {
                struct str name = TEXT(json_item(gates, i), "name");

                if (elements_find(&names, name) >= 0)
                        continue;
                elements_add(&names, name);
                field_forbidden(fe, PATH(PATH_INDEX(PATH(SPEC, "schedulingGates"), i), "name"),
                                "only deletion is allowed, but found new scheduling gate '%" STR_FMT "'",
                                STR_ARG(name));
        }
}

/* Whether a list begins with what the other has. */
static bool begins_with(const struct json *now, const struct json *old) {
        size_t i = 0;

        json_each_item(o, old)
                if (!json_item(now, i) || !json_equal(json_item(now, i++), o))
                        return false;
        return true;
}

static void check_narrowed(struct field_errors *fe, const struct json *now, const struct json *old) {
        static const char required[] = "requiredDuringSchedulingIgnoredDuringExecution";
        static const char *const lists[] = { "matchExpressions", "matchFields" };
        const struct path *p = PATH(PATH(PATH(PATH(SPEC, "affinity"), "nodeAffinity"), required), "nodeSelectorTerms");
        const struct json *terms = json_at_path(now, required, "nodeSelectorTerms"),
                          *before = json_at_path(old, required, "nodeSelectorTerms");

        if (json_len(before) > 0 && json_len(before) != json_len(terms))
                return field_invalid(fe, p, terms,
                                     "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
        for (size_t i = 0; i < json_len(before); i++) {
                const struct json *x = json_item(terms, i), *y = json_item(before, i);
                bool empty = json_len(GET(y, lists[0])) + json_len(GET(y, lists[1])) == 0;

                INVALID_IF(empty ? json_len(GET(x, lists[0])) + json_len(GET(x, lists[1])) > 0
                                 : !begins_with(GET(x, lists[0]), GET(y, lists[0])) ||
                                                           !begins_with(GET(x, lists[1]), GET(y, lists[1])),
                           PATH_INDEX(p, i), x, "only additions are allowed (no mutations or deletions)");
        }
}

/* The placement of a gated pod may be narrowed: labels are added to its selector, and conditions to its node affinity.
 */
static void restore_placement(struct field_errors *fe, struct json *copy, const struct json *before) {
        const struct json *affinity = GET(before, "affinity"), *now = json_at_path(copy, "affinity", "nodeAffinity");

        json_each_member(m, GET(before, "nodeSelector")) {
                const struct json *v = json_get(GET(copy, "nodeSelector"), json_key(m));

                if (!v || !json_equal(v, &m->value)) {
                        field_invalid(fe, PATH(SPEC, "nodeSelector"), GET(copy, "nodeSelector"),
                                      "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
                        break;
                }
        }
        json_put(fe->a, copy, "nodeSelector", GET(before, "nodeSelector"));
        if (GET(affinity, "nodeAffinity") && (!now || !json_equal(now, GET(affinity, "nodeAffinity"))))
                check_narrowed(fe, now, GET(affinity, "nodeAffinity"));
        struct json own = GET(copy, "affinity") ? json_copy_shallow(fe->a, GET(copy, "affinity")) : json_new_object();
        json_put(fe->a, &own, "nodeAffinity", GET(affinity, "nodeAffinity"));
        json_put(fe->a, copy, "affinity", json_len(&own) > 0 || affinity ? &own : NULL);
}

static void validate_pod_update(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const lists[] = { "containers", "initContainers" };
        static const char *const image[] = { "image", NULL };
        static const char *const made_anew[] = { "volumes", "initContainers", "schedulingGates", NULL }; /* upstream */
        const struct json *now = GET(obj, "spec"), *before = GET(old, "spec");
        struct json sent = json_new_object();

        check_kept_annotations(fe, obj, old);
        if (json_equal(now, before))
                return;
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                if (json_len(GET(now, lists[l])) != json_len(GET(before, lists[l])))
                        return field_forbidden(fe, PATH(SPEC, lists[l]),
                                               "pod updates may not add or remove containers");
                each_at(c, p, PATH(SPEC, lists[l]), GET(now, lists[l])) { /* once more */
                        REQUIRED_IF(str_empty(TEXT(c, "image")), PATH(p, "image"), "");
                        check_image(fe, p, c);
                }
        }
        if (!check_deadline(fe, GET(now, "activeDeadlineSeconds"), GET(before, "activeDeadlineSeconds")))
                return;
        check_tolerations_kept(fe, now, before);
        check_gates(fe, now, before);
        struct json copy = json_copy_shallow(fe->a, now);
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                if (GET(now, lists[l]))
                        json_setc(fe->a, &copy, lists[l],
                                  restore(fe->a, GET(now, lists[l]), GET(before, lists[l]), image));
        json_put(fe->a, &copy, "activeDeadlineSeconds", GET(before, "activeDeadlineSeconds"));
        json_put(fe->a, &copy, "tolerations", GET(before, "tolerations"));
        if (json_len(GET(before, "schedulingGates")) > 0)
                restore_placement(fe, &copy, before);
        json_put(fe->a, &copy, "schedulingGates", GET(before, "schedulingGates"));
        if (json_int(GET(before, "terminationGracePeriodSeconds")) < 0 &&
            json_int(GET(now, "terminationGracePeriodSeconds")) == 1)
                json_put(fe->a, &copy, "terminationGracePeriodSeconds", GET(before, "terminationGracePeriodSeconds"));
        json_each_member(m, field_sent(fe, SPEC))
                if (!str_among(json_key(m), made_anew))
                        json_add(fe->a, &sent, json_key(m), m->value);
        FORBIDDEN_IF(!json_equal(&copy, before), SPEC,
                     "pod updates may not change fields other than "
                     "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
                     "tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
                     "(allow it to be set to 1 if it was previously negative)\n%" STR_FMT,
                     STR_ARG(go_diff(fe->a, member_type(fe->type, "spec"), before, &copy, &sent)));
}

/* Of a pod as a whole: nothing else is told then. */
static bool refuse_pod(struct field_errors *fe, bool refused, const char *why) {
        if (refused) {
                fe->list.n = 0;
                field_forbidden(fe, PATH(NULL, ""), "%s", why);
        }
        return refused;
}

static bool is_mirror(const struct json *pod) {
        return json_at_path(pod, "metadata", "annotations", MIRROR);
}

void validate_ephemeral_update(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(SPEC, "ephemeralContainers");

        if (refuse_pod(fe, is_mirror(old), "static pods do not support ephemeral containers"))
                return;
        const struct json *list = json_at_path(obj, "spec", "ephemeralContainers");
        const struct schema_type *t = member_type(member_type(fe->type, "spec"), "ephemeralContainers");
        json_each_item(o, json_at_path(old, "spec", "ephemeralContainers")) {
                const struct json *found = json_find_by(list, "name", TEXT(o, "name"));

                if (!found)
                        field_forbidden(fe, p, "existing ephemeral containers \"%" STR_FMT "\" may not be removed\n",
                                        STR_ARG(TEXT(o, "name")));
                else if (!json_equal(found, o))
                        field_forbidden(fe, p,
                                        "existing ephemeral containers \"%" STR_FMT "\" may not be changed\n%" STR_FMT,
                                        STR_ARG(TEXT(o, "name")),
                                        STR_ARG(go_diff(fe->a, t->elem, o, found,
                                                        field_sent(fe, PATH_INDEX(p, (size_t) (found -
                                                                                               json_items(list)))))));
        }
}

static bool lost(const struct json *now, const struct json *old) {
        json_each_member(m, old)
                if (!json_get(now, json_key(m)))
                        return true;
        return false;
}

CHECK(check_resize, const struct json *now, const struct json *old) {
        const struct json *limits = json_at_path(now, "resources", "limits"),
                          *were = json_at_path(old, "resources", "limits");
        const struct path *memory = PATH_KEY(PATH(p, "limits"), STR("memory"));
        bool restarts = false;

        if (lost(json_at_path(now, "resources", "requests"), json_at_path(old, "resources", "requests")))
                field_forbidden(fe, PATH(p, "requests"), "resource requests cannot be removed");
        FORBIDDEN_IF(lost(limits, were), PATH(p, "limits"), "resource limits cannot be removed");
        json_each_item(policy, GET(now, "resizePolicy"))
                restarts = restarts || (str_eqc(TEXT(policy, "resourceName"), "memory") &&
                                        str_eqc(TEXT(policy, "restartPolicy"), "RestartContainer"));
        if (restarts || !GET(limits, "memory"))
                return;
        if (!GET(were, "memory"))
                field_forbidden(fe, memory, "memory limits cannot be added unless resizePolicy is RestartContainer");
        else if (quantity_cmp(quantity_of_json(GET(limits, "memory")), quantity_of_json(GET(were, "memory"))) < 0)
                field_forbidden(fe, memory,
                                "memory limits cannot be decreased unless resizePolicy is RestartContainer");
}

/* The container as it was but for cpu and memory; resize policies come with it. */
static bool only_basic_changes(struct arena *a, const struct json *now, const struct json *old) {
        static const char *const basic[] = { "cpu", "memory" }, *const lists[] = { "limits", "requests" };
        struct json copy = json_copy_shallow(a, now), resources = json_new_object();

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *x = json_at_path(now, "resources", lists[l]),
                                  *y = json_at_path(old, "resources", lists[l]);
                struct json list = x ? json_copy_shallow(a, x) : json_new_object();

                for (size_t i = 0; i < ARRAY_SIZE(basic); i++)
                        json_put(a, &list, basic[i], GET(y, basic[i]));
                if (y)
                        json_setc(a, &resources, lists[l], list);
        }
        json_put(a, &resources, "claims", GET(GET(old, "resources"), "claims"));
        json_setc(a, &copy, "resources", resources);
        return json_equal(&copy, old) || (json_len(&resources) == 0 && !GET(old, "resources"));
}

/* A node that can resize says what running containers have. */
static bool node_resizes(const struct json *pod) {
        json_each_item(c, json_at_path(pod, "status", "containerStatuses"))
                if (json_at_path(c, "state", "running"))
                        return GET(c, "resources");
        return true;
}

static bool same_containers(struct field_errors *fe, const struct json *obj, const struct json *old) {
        size_t had = fe->list.n;

        each_word(word, "containers", "initContainers") {
                const struct json *now = json_at_path(obj, "spec", word), *before = json_at_path(old, "spec", word);

                if (json_len(now) != json_len(before))
                        field_forbidden(fe, PATH(SPEC, word), "%s may not be added or removed on resize", word);
                for (size_t i = 0; json_len(now) == json_len(before) && i < json_len(now); i++)
                        if (!str_eq(TEXT(json_item(now, i), "name"), TEXT(json_item(before, i), "name")))
                                field_forbidden(fe, PATH(PATH_INDEX(PATH(SPEC, word), i), "name"),
                                                "%s may not be renamed or reordered on resize", word);
        }
        return fe->list.n == had;
}

static bool is_sidecar(const struct json *c) {
        return str_eqc(TEXT(c, "restartPolicy"), "Always");
}

/* What a container at p was before. */
static const struct json *counterpart(const struct json *old, const char *list, const struct path *p) {
        return json_item(json_at_path(old, "spec", list), (size_t) p->index);
}

void validate_resize(struct field_errors *fe, const struct json *obj, const struct json *old) {
        if (refuse_pod(fe, is_mirror(old), "static pods cannot be resized") ||
            refuse_pod(fe, str_eqc(json_str(json_at_path(old, "spec", "os", "name")), "windows"),
                       "windows pods cannot be resized"))
                return;
        check_annotations(fe, PATH(PATH(NULL, "metadata"), "annotations"), json_at_path(obj, "metadata", "annotations"),
                          GET(obj, "spec"), json_at_path(old, "metadata", "annotations"));
        fe->phase = 1; /* told as it is found */
        if (!str_eq(json_str(json_at_path(old, "status", "qosClass")), str_of(pod_qos_class(GET(obj, "spec")))))
                field_invalid_str(fe, SPEC, json_str(json_at_path(obj, "status", "qosClass")),
                                  "Pod QOS Class may not change as a result of resizing");
        FORBIDDEN_IF(!node_resizes(old), SPEC, "Pod running on node without support for resize");
        if (!same_containers(fe, obj, old))
                return;
        each_word(list, "initContainers", "containers")
                each_at(c, p, PATH(SPEC, list), json_at_path(obj, "spec", list))
                        if (list[0] == 'c' || is_sidecar(c))
                                check_resize(fe, PATH(p, "resources"), c, counterpart(old, list, p));
        each_at(c, p, PATH(SPEC, "containers"), json_at_path(obj, "spec", "containers"))
                FORBIDDEN_IF(!only_basic_changes(fe->a, c, counterpart(old, "containers", p)), SPEC,
                             "only cpu and memory resources are mutable");
        each_at(c, p, PATH(SPEC, "initContainers"), json_at_path(obj, "spec", "initContainers")) {
                const struct json *was = counterpart(old, "initContainers", p);

                FORBIDDEN_IF(is_sidecar(c) ? !only_basic_changes(fe->a, c, was) : !json_equal(c, was), SPEC,
                             is_sidecar(c) ? "only cpu and memory resources for sidecar containers are mutable"
                                           : "resources for non-sidecar init containers are immutable");
        }
}

/* What only a pod is asked, after its spec. */
static void check_of_pod(struct field_errors *fe, const struct json *spec) {
        if (str_empty(TEXT(spec, "serviceAccountName")))
                each_at(v, p, PATH(SPEC, "volumes"), GET(spec, "volumes"))
                        each_at(s, at, PATH(PATH(p, "projected"), "sources"), json_at_path(v, "projected", "sources"))
                                FORBIDDEN_IF(GET(s, "serviceAccountToken"), PATH(at, "serviceAccountToken"),
                                             "must not be specified when serviceAccountName is not set");
        each_word(list, "containers", "initContainers")
                each_at(c, p, PATH(SPEC, list), GET(spec, list))
                        check_image(fe, p, c);
}

void validate_pod(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *annotations = json_at_path(obj, "metadata", "annotations");

        check_annotations(fe, PATH(PATH(NULL, "metadata"), "annotations"), annotations, spec,
                          json_at_path(old, "metadata", "annotations"));
        fe->phase = 1;
        check_of_pod(fe, spec);
        if (old) {
                validate_pod_update(fe, obj, old);
        } else {
                FORBIDDEN_IF(json_len(GET(spec, "ephemeralContainers")) > 0, PATH(SPEC, "ephemeralContainers"),
                             "cannot be set on create");
                FORBIDDEN_IF(!str_empty(TEXT(spec, "nodeName")) && json_len(GET(spec, "schedulingGates")) > 0,
                             PATH(SPEC, "nodeName"), "cannot be set until all schedulingGates have been cleared");
                check_profiles(fe, SPEC, annotations, spec);
        }
        fe->phase = 0;
}
