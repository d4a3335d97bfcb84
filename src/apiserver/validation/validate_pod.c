/* Pods and what pods are made of: pkg/apis/core/validation of v1.33, the parts that users meet. Enumerations are
 * checked by validate_rules.c. */
#include "apiserver/validation/validate_rules.h"
#include "schema/quantity.h"
#include "schema/quota.h"

/* The names seen in a list; small lists, so a scan does. */
static bool seen_before(const struct json *list, size_t i, const char *key) {
        for (size_t k = 0; k < i; k++)
                if (str_eq(TEXT(json_item(list, k), key), TEXT(json_item(list, i), key)))
                        return true;
        return false;
}

/* name: required, a DNS label, unique in its list. */
static void check_item_name(struct field_errors *fe, const struct path *p, const struct json *list, size_t i) {
        struct str name = TEXT(json_item(list, i), "name");

        if (str_empty(name))
                field_required(fe, PATH(p, "name"), "");
        else if (check_field(fe, PATH(p, "name"), name, check_dns_label) && seen_before(list, i, "name"))
                field_duplicate(fe, PATH(p, "name"), name);
}

CHECK(validate_env_source, const struct json *from, bool has_value) {
        static const char *const sources[] = { "fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef" };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
                const struct json *s = GET(from, sources[i]);

                if (!s)
                        continue;
                n++;
                if (i < 2)
                        check_reference(fe, PATH(p, sources[i]), s, i == 0, false);
        }
        INVALID_STR_IF(n == 0, p, STR(""),
                       "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`");
        if (has_value && n > 0)
                field_invalid_str(fe, p, STR(""), "may not be specified when `value` is not empty");
        else if (n > 1)
                field_invalid_str(fe, p, STR(""), "may not have more than one field specified at a time");
}

static void validate_env(struct field_errors *fe, const struct path *c, const struct json *container) {
        const struct path *env = PATH(c, "env"), *env_from = PATH(c, "envFrom");

        each_at(e, p, env, GET(container, "env")) {
                if (GET(e, "valueFrom"))
                        validate_env_source(fe, PATH(p, "valueFrom"), GET(e, "valueFrom"),
                                            !str_empty(TEXT(e, "value")));
        }
        json_each_item(e, GET(container, "envFrom")) {
                const struct json *map = GET(e, "configMapRef"), *secret = GET(e, "secretRef");

                if (!map && !secret)
                        field_invalid_str(fe, env_from, STR(""), "must specify one of: `configMapRef` or `secretRef`");
                else if (map && secret)
                        field_invalid_str(fe, env_from, STR(""),
                                          "may not have more than one field specified at a time");
        }
}

static void validate_recursive(struct field_errors *fe, const struct path *p, const struct json *mount) {
        struct str mode = TEXT(mount, "recursiveReadOnly"), propagation = TEXT(mount, "mountPropagation");

        if (!str_eqc(mode, "Enabled") && !str_eqc(mode, "IfPossible"))
                return;
        FORBIDDEN_IF(!json_bool(GET(mount, "readOnly")), p, "may only be specified when readOnly is true");
        if (!str_empty(propagation) && !str_eqc(propagation, "None"))
                field_forbidden(fe, p, "may only be specified when mountPropagation is None or not specified");
}

/* Whether a StatefulSet's pods will have a volume of that name, made of a claim. */
static bool is_claim(const struct field_errors *fe, struct str name) {
        json_each_item(c, fe->claims)
                if (str_eq(json_str(json_at_path(c, "metadata", "name")), name))
                        return true;
        return false;
}

static void validate_mounts(struct field_errors *fe, const struct path *c, const struct json *container,
                            const struct json *volumes) {
        const struct path *list = PATH(c, "volumeMounts");
        const struct json *mounts = GET(container, "volumeMounts");
        size_t i = 0;

        json_each_item(m, mounts) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(m, "name"), at = TEXT(m, "mountPath");
                bool found = json_find_by(volumes, "name", name) || is_claim(fe, name);

                REQUIRED_IF(str_empty(name), PATH(p, "name"), "");
                REFUSE_IF(not_found, !found, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(at), PATH(p, "mountPath"), "");
                INVALID_STR_IF(seen_before(mounts, i, "mountPath"), PATH(p, "mountPath"), at, "must be unique");
                if (json_find_by(GET(container, "volumeDevices"), "name", name))
                        field_invalid_str(fe, PATH(p, "name"), name, "must not already exist in volumeDevices");
                INVALID_STR_IF(json_find_by(GET(container, "volumeDevices"), "devicePath", at), PATH(p, "mountPath"),
                               at, "must not already exist as a path in volumeDevices");
                if (!str_empty(TEXT(m, "subPath")) && !str_empty(TEXT(m, "subPathExpr")))
                        field_invalid_str(fe, PATH(p, "subPathExpr"), TEXT(m, "subPathExpr"),
                                          "subPathExpr and subPath are mutually exclusive");
                if (!str_empty(TEXT(m, "subPath")))
                        rule_relative_path(fe, PATH(list, "subPath"), GET(m, "subPath"), NULL);
                if (!str_empty(TEXT(m, "subPathExpr")))
                        rule_relative_path(fe, PATH(list, "subPathExpr"), GET(m, "subPathExpr"), NULL);
                if (str_eqc(TEXT(m, "mountPropagation"), "Bidirectional") &&
                    !json_bool(json_at_path(container, "securityContext", "privileged")))
                        field_forbidden(fe, PATH(list, "mountPropagation"),
                                        "Bidirectional mount propagation is available only to privileged containers");
                validate_recursive(fe, PATH(list, "recursiveReadOnly"), m);
                i++;
        }
}

static void validate_ports(struct field_errors *fe, const struct path *c, const struct json *container,
                           bool host_network) {
        const struct json *ports = GET(container, "ports");
        size_t i = 0;

        json_each_item(port, ports) {
                const struct path *p = PATH_INDEX(PATH(c, "ports"), i);
                struct str name = TEXT(port, "name");
                int64_t host = json_int(GET(port, "hostPort"));

                REFUSE_IF(duplicate, !str_empty(name) && seen_before(ports, i, "name"), PATH(p, "name"), name);
                if (host_network && host != 0 && host != json_int(GET(port, "containerPort")))
                        invalid_at(fe, p, port, "hostPort", "must match `containerPort` when `hostNetwork` is true");
                i++;
        }
}

CHECK(validate_action, const struct json *action, const char *what) {
        size_t n = 0;

        each_word(kind, "exec", "httpGet", "tcpSocket", "grpc", "sleep") {
                const struct json *a = GET(action, kind);

                if (!a)
                        continue;
                FORBIDDEN_IF(n++ > 0, PATH(p, kind), "may not specify more than 1 %s type", what);
        }
        REQUIRED_IF(n == 0, p, "must specify a handler type");
}

CHECK(validate_probe, const struct json *probe, bool only_one_success) {
        if (!probe)
                return;
        validate_action(fe, p, probe, "handler");
        if (only_one_success && json_int_or(GET(probe, "successThreshold"), 1) != 1)
                invalid_at(fe, p, probe, "successThreshold", "must be 1");
        if (!only_one_success && GET(probe, "terminationGracePeriodSeconds"))
                invalid_at(fe, p, probe, "terminationGracePeriodSeconds", "must not be set for readinessProbes");
}

CHECK(check_sleep, const struct json *action, const struct json *spec) {
        const struct json *seconds = json_at_path(action, "sleep", "seconds");
        int64_t grace = json_int_or(GET(spec, "terminationGracePeriodSeconds"), 30);

        INVALID_IF(seconds && (json_int(seconds) < 0 || json_int(seconds) > grace), PATH(p, "sleep"), seconds,
                   "must be non-negative and less than terminationGracePeriodSeconds (%lld)", (long long) grace);
}

CHECK(validate_lifecycle, const struct json *lifecycle, const struct json *spec) {
        each_word(hook, "postStart", "preStop")
                if (GET(lifecycle, hook)) {
                        validate_action(fe, PATH(p, hook), GET(lifecycle, hook), "handler");
                        check_sleep(fe, PATH(p, hook), GET(lifecycle, hook), spec);
                }
}

/* No two containers of a list want the same port of the node. */
static void check_host_ports(struct field_errors *fe, const struct path *list, const struct json *containers,
                             bool init) {
        struct json taken = json_new_object();
        size_t i = 0;

        json_each_item(c, containers) {
                const struct path *ports = PATH(PATH_INDEX(list, init ? 0 : i++), "ports"); /* upstream counts so */

                each_at(port, p, ports, GET(c, "ports")) {
                        int64_t host = json_int(GET(port, "hostPort"));
                        struct str key;

                        if (host == 0)
                                continue;
                        key = arena_printf(fe->a, "%" STR_FMT "/%" STR_FMT "/%lld", STR_ARG(TEXT(port, "protocol")),
                                           STR_ARG(TEXT(port, "hostIP")), (long long) host);
                        REFUSE_IF(duplicate, json_get(&taken, key), PATH(p, "hostPort"), key);
                        json_set(fe->a, &taken, key, json_of_bool(true));
                }
                if (init) /* they do not run at the same time */
                        taken = json_new_object();
        }
}

CHECK(validate_container_security, const struct json *sc, const struct json *spec) {
        const struct json *escalation = GET(sc, "allowPrivilegeEscalation");

        if (str_eqc(TEXT(sc, "procMount"), "Unmasked") && json_bool_or(GET(spec, "hostUsers"), true))
                invalid_at(fe, p, sc, "procMount", "`hostUsers` must be false to use `Unmasked`");
        if (!json_is(escalation, JSON_BOOL) || escalation->b)
                return;
        if (json_bool(GET(sc, "privileged")))
                field_invalid(fe, p, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        json_each_item(c, json_at_path(sc, "capabilities", "add"))
                INVALID_IF(str_eqc(json_str(c), "CAP_SYS_ADMIN"), p, sc,
                           "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

enum container_kind { CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER };

/* An ephemeral container is a guest: it serves nobody, and nothing depends on it. */
CHECK(validate_ephemeral, const struct json *c, const struct json *spec) {
        static const char *const denied[] = { "ports",     "livenessProbe", "readinessProbe", "startupProbe",
                                              "lifecycle", "resizePolicy",  "restartPolicy" };
        struct str target = TEXT(c, "targetContainerName");
        bool found = str_empty(target);

        each_word(list, "containers", "initContainers")
                json_each_item(other, GET(spec, list))
                        found = found || str_eq(TEXT(other, "name"), target);
        REFUSE_IF(not_found, !found, PATH(p, "targetContainerName"), target);
        for (size_t k = 0; k < ARRAY_SIZE(denied); k++)
                FORBIDDEN_IF(GET(c, denied[k]), PATH(p, denied[k]), "cannot be set for an Ephemeral Container");
        if (json_len(GET(c, "resources")) > 0)
                field_forbidden(fe, PATH(p, "resources"), "cannot be set for an Ephemeral Container");
        each_at(m, at, PATH(p, "volumeMounts"), GET(c, "volumeMounts")) {
                if (!str_empty(TEXT(m, "subPath")))
                        field_forbidden(fe, PATH(at, "subPath"), "cannot be set for an Ephemeral Container");
                if (!str_empty(TEXT(m, "subPathExpr")))
                        field_forbidden(fe, PATH(at, "subPathExpr"), "cannot be set for an Ephemeral Container");
        }
}

CHECK(validate_resize_policy, const struct json *c, struct str restart) {
        const struct json *list = GET(c, "resizePolicy");
        size_t i = 0;

        json_each_item(policy, list) {
                struct str resource = TEXT(policy, "resourceName");

                REFUSE_IF(duplicate, seen_before(list, i, "resourceName"), PATH_INDEX(p, i), resource);
                if (str_empty(resource))
                        field_required(fe, p, "");
                else
                        check_enum(fe, p, resource, WORDS("cpu", "memory"));
                REQUIRED_IF(str_empty(TEXT(policy, "restartPolicy")), p, "");
                INVALID_IF(str_eqc(restart, "Never") && !str_eqc(TEXT(policy, "restartPolicy"), "NotRequired"), p,
                           GET(policy, "restartPolicy"), "must be 'NotRequired' when `restartPolicy` is 'Never'");
                i++;
        }
}

static void validate_devices(struct field_errors *fe, const struct path *c, const struct json *container,
                             const struct json *volumes) {
        const struct json *list = GET(container, "volumeDevices"), *mounts = GET(container, "volumeMounts");
        size_t i = 0;

        json_each_item(d, list) {
                const struct path *p = PATH_INDEX(PATH(c, "volumeDevices"), i);
                struct str name = TEXT(d, "name"), path = TEXT(d, "devicePath");
                const struct json *v = json_find_by(volumes, "name", name);

                if (str_empty(name))
                        field_required(fe, PATH(p, "name"), "");
                else if (seen_before(list, i, "name"))
                        field_invalid_str(fe, PATH(p, "name"), name, "must be unique");
                if (v && !GET(v, "persistentVolumeClaim") && !GET(v, "ephemeral"))
                        field_invalid_str(fe, PATH(p, "name"), name,
                                          "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
                                          "block mode");
                else if (!v && !is_claim(fe, name))
                        field_not_found(fe, PATH(p, "name"), name);
                if (str_empty(path))
                        field_required(fe, PATH(p, "devicePath"), "");
                else if (seen_before(list, i, "devicePath"))
                        field_invalid_str(fe, PATH(p, "devicePath"), path, "must be unique");
                INVALID_STR_IF(has_backsteps(path), PATH(p, "devicePath"), path, "can not contain backsteps ('..')");
                if (json_find_by(mounts, "name", name))
                        field_invalid_str(fe, PATH(p, "name"), name, "must not already exist in volumeMounts");
                INVALID_STR_IF(json_find_by(mounts, "mountPath", path), PATH(p, "devicePath"), path,
                               "must not already exist as a path in volumeMounts");
                i++;
        }
}

static void check_image(struct field_errors *fe, const struct path *p, const struct json *c) {
        if (str_trim(TEXT(c, "image")).n != TEXT(c, "image").n)
                field_invalid(fe, PATH(p, "image"), GET(c, "image"), "must not have leading or trailing whitespace");
}

CHECK(validate_container, const struct json *c, const struct json *spec, enum container_kind kind) {
        struct str image = TEXT(c, "image");
        bool restartable = kind == INIT_CONTAINER && str_eqc(TEXT(c, "restartPolicy"), "Always");
        static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe", "lifecycle" };

        REQUIRED_IF(str_empty(image), PATH(p, "image"), "");
        if (kind == CONTAINER && GET(c, "restartPolicy"))
                field_forbidden(fe, PATH(p, "restartPolicy"), "may not be set for non-init containers");
        if (kind == INIT_CONTAINER && GET(c, "restartPolicy") && !restartable)
                field_not_supported(fe, PATH(p, "restartPolicy"), TEXT(c, "restartPolicy"), WORDS("Always"));
        if (kind == EPHEMERAL_CONTAINER) {
                check_image(fe, p, c);
                validate_ephemeral(fe, p, c, spec);
        }
        validate_resize_policy(fe, PATH(p, "resizePolicy"), c, TEXT(spec, "restartPolicy"));
        validate_devices(fe, p, c, GET(spec, "volumes"));
        validate_ports(fe, p, c, kind == CONTAINER && json_bool(GET(spec, "hostNetwork")));
        validate_env(fe, p, c);
        validate_mounts(fe, p, c, GET(spec, "volumes"));
        validate_container_security(fe, PATH(p, "securityContext"), GET(c, "securityContext"), spec);
        if (kind == INIT_CONTAINER && !restartable) {
                for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
                        FORBIDDEN_IF(GET(c, probes[i]), PATH(p, probes[i]),
                                     "may not be set for init containers without restartPolicy=Always");
                return;
        }
        validate_probe(fe, PATH(p, "livenessProbe"), GET(c, "livenessProbe"), true);
        validate_probe(fe, PATH(p, "readinessProbe"), GET(c, "readinessProbe"), false);
        validate_probe(fe, PATH(p, "startupProbe"), GET(c, "startupProbe"), true);
        validate_lifecycle(fe, PATH(p, "lifecycle"), GET(c, "lifecycle"), spec);
}

static void validate_containers(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
        static const enum container_kind kinds[] = { INIT_CONTAINER, CONTAINER, EPHEMERAL_CONTAINER };

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *list = GET(spec, lists[l]);
                const struct path *at = PATH(spec_path, lists[l]);
                size_t i = 0;

                json_each_item(c, list) {
                        const struct path *p = PATH_INDEX(at, i);

                        check_item_name(fe, p, list, i);
                        if (l != 1 && !str_empty(TEXT(c, "name")) && /* names are shared with the others */
                            (json_find_by(GET(spec, "containers"), "name", TEXT(c, "name")) ||
                             (l == 2 && json_find_by(GET(spec, "initContainers"), "name", TEXT(c, "name")))))
                                field_duplicate(fe, PATH(p, "name"), TEXT(c, "name"));
                        validate_container(fe, p, c, spec, kinds[l]);
                        i++;
                }
                if (l < 2)
                        check_host_ports(fe, at, list, l == 0);
        }
}

#define LONG_NAME                                                                            \
        "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if " \
        "iscsi.initiatorName is specified."

static void validate_volumes(struct field_errors *fe, const struct path *spec, const struct json *volumes) {
        size_t i = 0;

        json_each_item(v, volumes) {
                const struct path *p = PATH_INDEX(PATH(spec, "volumes"), i);
                size_t n = 0;

                check_item_name(fe, p, volumes, i++);
                json_each_member(m, v) {
                        if (str_eqc(json_key(m), "name") || n++ == 0)
                                continue;
                        field_forbidden(fe,
                                        PATH(p, str_eqc(json_key(m), "cephfs")        ? "cephFS"
                                                : str_eqc(json_key(m), "downwardAPI") ? "downwarAPI"
                                                                                      : arena_cstr(fe->a, json_key(m))),
                                        "may not specify more than 1 volume type");
                }
                if (json_at_path(v, "iscsi", "initiatorName") &&
                    TEXT(v, "name").n + 1 + json_str(json_at_path(v, "iscsi", "targetPortal")).n > 64)
                        field_invalid(fe, PATH(p, "name"), GET(v, "name"), LONG_NAME);
                REQUIRED_IF(n == 0, p, "must specify a volume type");
        }
}

/* ---- the pod ---- */

RULE(pod_spec) {
        validate_volumes(fe, p, GET(v, "volumes"));
        validate_containers(fe, p, v);
        fe->phase++;
        check_os_fields(fe, p, v);
        fe->phase--;
        check_host_processes(fe, p, v);
        check_host_sysctls(fe, PATH(PATH(p, "securityContext"), "sysctls"), v);
        if (json_bool(GET(v, "hostPID")) && json_bool(GET(v, "shareProcessNamespace")))
                invalid_at(fe, PATH(p, "securityContext"), v, "shareProcessNamespace",
                           "ShareProcessNamespace and HostPID cannot both be enabled");
        if (str_eqc(TEXT(v, "dnsPolicy"), "None") && !GET(v, "dnsConfig"))
                field_required(fe, PATH(p, "dnsConfig"), "must provide `dnsConfig` when `dnsPolicy` is None");
        else if (str_eqc(TEXT(v, "dnsPolicy"), "None") && json_len(json_at_path(v, "dnsConfig", "nameservers")) == 0)
                field_required(fe, PATH(PATH(p, "dnsConfig"), "nameservers"),
                               "must provide at least one DNS nameserver when `dnsPolicy` is None");
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

#define MIRROR "kubernetes.io/config.mirror"
#define DELETION_COST "controller.kubernetes.io/pod-deletion-cost"
#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP "container.seccomp.security.alpha.kubernetes.io/"
#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"

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
        struct str type = TEXT(profile, "type"), said = json_str(annotation);
        bool local = str_eqc(type, "Localhost") && str_has_prefix(said, STR("localhost/"));
        bool same = (str_eqc(type, "Unconfined") && str_eqc(said, "unconfined")) ||
                    (str_eqc(type, "RuntimeDefault") &&
                     (str_eqc(said, "runtime/default") || (*what == 's' && str_eqc(said, "docker/default"))));

        if (!profile || !annotation)
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

RULE(pod_template) {
        const struct json *annotations = json_at_path(v, "metadata", "annotations"), *spec = GET(v, "spec");

        validate_labels(fe, PATH(p, "labels"), json_at_path(v, "metadata", "labels"));
        validate_annotations(fe, PATH(p, "annotations"), annotations);
        check_annotations(fe, PATH(p, "annotations"), annotations, spec, NULL);
        check_profiles(fe, PATH(p, "spec"), annotations, spec);
        FORBIDDEN_IF(json_len(GET(spec, "ephemeralContainers")) > 0, PATH(PATH(p, "spec"), "ephemeralContainers"),
                     "ephemeral containers not allowed in pod template");
}

/* ---- updates ---- */

#define SPEC PATH(NULL, "spec")

static const struct schema_type *member_type(const struct schema_type *t, const char *name) {
        return schema_field(t, str_of(name))->type;
}

/* What the node or its agent says about the pod in annotations stays. */
static void check_kept_annotations(struct field_errors *fe, const struct json *now, const struct json *old) {
        static const char *const keys[][2] = { { APPARMOR, "AppArmor annotations" },
                                               { MIRROR, "mirror pod annotation" } };
        const struct path *p = PATH(PATH(NULL, "metadata"), "annotations");

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
                        if (GET(before, members[k]))
                                json_setc(a, c, members[k], *GET(before, members[k]));
                        else
                                json_removec(c, members[k]);
        }
        return copy;
}

static void restore_field(struct arena *a, struct json *copy, const struct json *old, const char *key) {
        if (GET(old, key))
                json_setc(a, copy, key, *GET(old, key));
        else
                json_removec(copy, key);
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

static void check_tolerations_kept(struct field_errors *fe, const struct json *now, const struct json *before) {
        json_each_item(t, GET(before, "tolerations")) {
                bool kept = false;

                json_each_item(n, GET(now, "tolerations")) {
                        bool same = true;

                        each_word(part, "key", "effect", "operator", "value")
                                same = same && str_eq(TEXT(t, part), TEXT(n, part));
                        kept = kept || same;
                }
                if (kept)
                        continue;
                field_forbidden(fe, PATH(SPEC, "tolerations"),
                                "existing toleration can not be modified except its tolerationSeconds");
                return;
        }
}

static void check_gates(struct field_errors *fe, const struct json *now, const struct json *before) {
        each_at(g, each, PATH(SPEC, "schedulingGates"), GET(now, "schedulingGates")) {
                const struct path *p = PATH(each, "name");
                bool known = false;

                json_each_item(o, GET(before, "schedulingGates"))
                        known = known || str_eq(TEXT(g, "name"), TEXT(o, "name"));
                FORBIDDEN_IF(!known, p, "only deletion is allowed, but found new scheduling gate '%" STR_FMT "'",
                             STR_ARG(TEXT(g, "name")));
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
        struct json own;

        json_each_member(m, GET(before, "nodeSelector")) {
                const struct json *v = json_get(GET(copy, "nodeSelector"), json_key(m));

                if (!v || !json_equal(v, &m->value)) {
                        field_invalid(fe, PATH(SPEC, "nodeSelector"), GET(copy, "nodeSelector"),
                                      "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
                        break;
                }
        }
        restore_field(fe->a, copy, before, "nodeSelector");
        if (GET(affinity, "nodeAffinity") && (!now || !json_equal(now, GET(affinity, "nodeAffinity"))))
                check_narrowed(fe, now, GET(affinity, "nodeAffinity"));
        own = GET(copy, "affinity") ? json_copy_shallow(fe->a, GET(copy, "affinity")) : json_new_object();
        restore_field(fe->a, &own, affinity, "nodeAffinity");
        if (json_len(&own) > 0 || affinity)
                json_setc(fe->a, copy, "affinity", own);
        else
                json_removec(copy, "affinity");
}

static void validate_pod_update(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const lists[] = { "containers", "initContainers" };
        static const char *const image[] = { "image", NULL };
        const struct json *now = GET(obj, "spec"), *before = GET(old, "spec");
        struct json copy;

        check_kept_annotations(fe, json_at_path(obj, "metadata", "annotations"),
                               json_at_path(old, "metadata", "annotations"));
        if (json_equal(now, before))
                return;
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                if (json_len(GET(now, lists[l])) != json_len(GET(before, lists[l])))
                        return field_forbidden(fe, PATH(SPEC, lists[l]),
                                               "pod updates may not add or remove containers");
        if (!check_deadline(fe, GET(now, "activeDeadlineSeconds"), GET(before, "activeDeadlineSeconds")))
                return;
        check_tolerations_kept(fe, now, before);
        check_gates(fe, now, before);
        copy = json_copy_shallow(fe->a, now);
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                if (GET(now, lists[l]))
                        json_setc(fe->a, &copy, lists[l],
                                  restore(fe->a, GET(now, lists[l]), GET(before, lists[l]), image));
        restore_field(fe->a, &copy, before, "activeDeadlineSeconds");
        restore_field(fe->a, &copy, before, "tolerations");
        if (json_len(GET(before, "schedulingGates")) > 0)
                restore_placement(fe, &copy, before);
        restore_field(fe->a, &copy, before, "schedulingGates");
        if (json_int(GET(before, "terminationGracePeriodSeconds")) < 0 &&
            json_int(GET(now, "terminationGracePeriodSeconds")) == 1)
                restore_field(fe->a, &copy, before, "terminationGracePeriodSeconds");
        FORBIDDEN_IF(!json_equal(&copy, before), SPEC,
                     "pod updates may not change fields other than "
                     "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec."
                     "tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
                     "(allow it to be set to 1 if it was previously negative)\n%" STR_FMT,
                     STR_ARG(go_diff(fe->a, member_type(fe->type, "spec"), before, &copy)));
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
        json_each_item(o, json_at_path(old, "spec", "ephemeralContainers")) {
                const struct json *found =
                                json_find_by(json_at_path(obj, "spec", "ephemeralContainers"), "name", TEXT(o, "name"));

                if (!found)
                        field_forbidden(fe, p, "existing ephemeral containers \"%" STR_FMT "\" may not be removed\n",
                                        STR_ARG(TEXT(o, "name")));
                else if (!json_equal(found, o))
                        field_forbidden(fe, p,
                                        "existing ephemeral containers \"%" STR_FMT "\" may not be changed\n%" STR_FMT,
                                        STR_ARG(TEXT(o, "name")),
                                        STR_ARG(go_diff(fe->a,
                                                        member_type(member_type(fe->type, "spec"),
                                                                    "ephemeralContainers")
                                                                        ->elem,
                                                        o, found)));
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
                        restore_field(a, &list, y, basic[i]);
                if (y)
                        json_setc(a, &resources, lists[l], list);
        }
        restore_field(a, &resources, GET(old, "resources"), "claims");
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

void validate_resize(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const lists[] = { "initContainers", "containers" };

        if (refuse_pod(fe, is_mirror(old), "static pods cannot be resized") ||
            refuse_pod(fe, str_eqc(json_str(json_at_path(old, "spec", "os", "name")), "windows"),
                       "windows pods cannot be resized"))
                return;
        if (!str_eq(json_str(json_at_path(old, "status", "qosClass")), str_of(pod_qos_class(GET(obj, "spec")))))
                field_invalid(fe, SPEC, json_at_path(old, "status", "qosClass"),
                              "Pod QOS Class may not change as a result of resizing");
        FORBIDDEN_IF(!node_resizes(old), SPEC, "Pod running on node without support for resize");
        for (size_t l = 0, same = same_containers(fe, obj, old); same && l < ARRAY_SIZE(lists); l++) {
                size_t i = 0;

                json_each_item(c, json_at_path(obj, "spec", lists[l])) {
                        const struct json *was = json_item(json_at_path(old, "spec", lists[l]), i);
                        const struct path *p = PATH(PATH_INDEX(PATH(SPEC, lists[l]), i++), "resources");

                        if (l == 0 && !str_eqc(TEXT(c, "restartPolicy"), "Always")) {
                                FORBIDDEN_IF(!json_equal(c, was), SPEC,
                                             "resources for non-sidecar init containers are immutable");
                                continue;
                        }
                        check_resize(fe, p, c, was);
                        FORBIDDEN_IF(!only_basic_changes(fe->a, c, was), SPEC,
                                     l ? "only cpu and memory resources are mutable"
                                       : "only cpu and memory resources for sidecar containers are mutable");
                }
        }
}

/* A volume's own claim is named after pod and volume. */
static void check_own_claims(struct field_errors *fe, const struct json *pod) {
        struct str name = json_str(json_at_path(pod, "metadata", "name"));
        const struct json *volumes = json_at_path(pod, "spec", "volumes");

        each_at(v, p, PATH(SPEC, "volumes"), volumes) {
                struct str own = STR(""), claim = json_str(json_at_path(v, "persistentVolumeClaim", "claimName"));
                const char *messages[2];
                size_t n = 0;

                if (GET(v, "ephemeral")) {
                        own = arena_printf(fe->a, "%" STR_FMT "-%" STR_FMT, STR_ARG(name), STR_ARG(TEXT(v, "name")));
                        n = check_dns_subdomain(own, messages);
                }
                for (size_t k = 0; k < n; k++)
                        invalid_at(fe, p, v, "name", "PVC name \"%" STR_FMT "\": %s", STR_ARG(own), messages[k]);
                json_each_item(other, claim.n > name.n ? volumes : NULL)
                        if (GET(other, "ephemeral") && claim.p[name.n] == '-' && str_has_prefix(claim, name) &&
                            str_eq(str_sub(claim, name.n + 1, claim.n), TEXT(other, "name")))
                                field_invalid_str(fe, PATH(PATH(p, "persistentVolumeClaim"), "claimName"), claim,
                                                  "must not reference a PVC that gets created for an ephemeral volume");
        }
}

void validate_pod(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const lists[] = { "containers", "initContainers" };
        const struct json *spec = GET(obj, "spec"), *annotations = json_at_path(obj, "metadata", "annotations");
        size_t i = 0;

        check_annotations(fe, PATH(PATH(NULL, "metadata"), "annotations"), annotations, spec,
                          json_at_path(old, "metadata", "annotations"));
        check_own_claims(fe, obj);
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++, i = 0)
                json_each_item(c, GET(spec, lists[l]))
                        check_image(fe, PATH_INDEX(PATH(SPEC, lists[l]), i++), c);
        if (!old)
                check_profiles(fe, SPEC, annotations, spec);
        if (!old && json_len(GET(spec, "ephemeralContainers")) > 0)
                field_forbidden(fe, PATH(SPEC, "ephemeralContainers"), "cannot be set on create");
        fe->phase = 1;
        if (old)
                validate_pod_update(fe, obj, old);
        else if (!str_empty(TEXT(spec, "nodeName")) && json_len(GET(spec, "schedulingGates")) > 0)
                field_forbidden(fe, PATH(SPEC, "nodeName"),
                                "cannot be set until all schedulingGates have been cleared");
        fe->phase = 0;
        if (!str_empty(TEXT(spec, "serviceAccountName")))
                return;
        json_each_item(v, GET(spec, "volumes")) {
                const struct path *p = PATH(PATH(PATH_INDEX(PATH(SPEC, "volumes"), i++), "projected"), "sources");
                size_t k = 0;

                json_each_item(s, json_at_path(v, "projected", "sources")) {
                        FORBIDDEN_IF(GET(s, "serviceAccountToken"), PATH(PATH_INDEX(p, k++), "serviceAccountToken"),
                                     "must not be specified when serviceAccountName is not set");
                }
        }
}
