/* Volumes and containers of a pod: what api/core/v1.api does not say of them. */
#include "base/map.h"
#include "apiserver/validation/validate_rules.h"
#include "schema/types.h"

/* name: required, a DNS label, told twice when another has it. */
CHECK(check_item_name, struct str name, bool taken) {
        if (str_empty(name))
                field_required(fe, PATH(p, "name"), "");
        else
                check_field(fe, PATH(p, "name"), name, check_dns_label);
        REFUSE_IF(duplicate, taken, PATH(p, "name"), name);
}

const struct schema_field *check_alternatives(struct field_errors *fe, const struct path *p, const struct json *v,
                                              const struct schema_type *t, const char *what) {
        const struct schema_field *f, *first = NULL;
        size_t n = 0;

        json_each_member(m, v)
                if ((f = schema_field(t, json_key(m)))) {
                        first = !first || f->rank < first->rank ? f : first;
                        n++;
                }
        REQUIRED_IF(n == 0, p, arena_printf(fe->a, "must specify a %s type", what).p);
        json_each_member(m, n > 1 ? v : NULL) {
                f = schema_field(t, json_key(m));
                if (!f || f == first || f->type == &type_FlexPersistentVolumeSource) /* which upstream lets pass */
                        continue;
                forget_errors_at(fe, PATH(p, f->name));
                field_forbidden(fe,
                                PATH(p, strcmp(f->name, "cephfs") == 0        ? "cephFS"
                                        : strcmp(f->name, "downwardAPI") == 0 ? "downwarAPI"
                                                                              : f->name),
                                "may not specify more than 1 %s type", what);
        }
        return first;
}

/* ---- volumes ---- */

/* Of the first n volumes the one of that name with which nothing is wrong: others are not there for mounts. */
static const struct json *find_volume(const struct field_errors *fe, const struct path *list,
                                      const struct json *volumes, size_t n, struct str name) {
        for (size_t i = 0; i < n && i < json_len(volumes); i++)
                if (str_eq(TEXT(json_item(volumes, i), "name"), name) && !errors_at(fe, PATH_INDEX(list, i)))
                        return json_item(volumes, i);
        return NULL;
}

void check_portal(struct field_errors *fe, const struct path *p, struct str volume, const struct json *iscsi) {
        bool of_portal = strcmp(p->name, "name") != 0;

        INVALID_STR_IF(GET(iscsi, "initiatorName") && volume.n + 1 + TEXT(iscsi, "targetPortal").n > 64, p,
                       of_portal ? TEXT(iscsi, "targetPortal") : volume,
                       "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
                       "iscsi.initiatorName is specified.");
}

/* A volume's own claim is named after pod and volume: nobody else asks for it. */
CHECK(check_claims, const struct json *volume, const struct json *volumes) {
        struct str pod = json_str(json_at_path(fe->object, "metadata", "name")), name = TEXT(volume, "name"),
                   claim = json_str(json_at_path(volume, "persistentVolumeClaim", "claimName"));

        if (GET(volume, "ephemeral") && !str_empty(name)) {
                struct str own = arena_printf(fe->a, "%" STR_FMT "-%" STR_FMT, STR_ARG(pod), STR_ARG(name));
                const char *messages[2];

                for (size_t k = 0, n = check_dns_subdomain(own, messages); k < n; k++)
                        invalid_at(fe, p, volume, "name", "PVC name \"%" STR_FMT "\": %s", STR_ARG(own), messages[k]);
        }
        json_each_item(other, claim.n > pod.n && claim.p[pod.n] == '-' && str_has_prefix(claim, pod) ? volumes : NULL)
                if (GET(other, "ephemeral") && str_eq(str_sub(claim, pod.n + 1, claim.n), TEXT(other, "name")))
                        field_invalid_str(fe, PATH(PATH(p, "persistentVolumeClaim"), "claimName"), claim,
                                          "must not reference a PVC that gets created for an ephemeral volume");
}

void validate_volumes(struct field_errors *fe, const struct path *list, const struct json *volumes) {
        size_t i = 0;

        json_each_item(v, volumes) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(v, "name");

                check_alternatives(fe, p, v, &type_VolumeSource, "volume");
                check_portal(fe, PATH(p, "name"), name, GET(v, "iscsi"));
                if (fe->type == &type_Pod) {
                        check_claims(fe, p, v, volumes);
                        REQUIRED_IF(GET(v, "image") && str_empty(json_str(json_at_path(v, "image", "reference"))),
                                    PATH(PATH(p, "image"), "reference"), "");
                }
                check_item_name(fe, p, name, find_volume(fe, list, volumes, i++, name));
        }
}

/* ---- variables, mounts, ports ---- */

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
                            const struct path *volumes_at, const struct json *volumes) {
        const struct path *list = PATH(c, "volumeMounts");
        const struct json *mounts = GET(container, "volumeMounts");
        _cleanup_(map_freep) struct map *seen = NULL;
        size_t i = 0;

        json_each_item(m, mounts) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(m, "name"), at = TEXT(m, "mountPath");
                bool found = find_volume(fe, volumes_at, volumes, SIZE_MAX, name) || is_claim(fe, name);

                REQUIRED_IF(str_empty(name), PATH(p, "name"), "");
                REFUSE_IF(not_found, !found, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(at), PATH(p, "mountPath"), "");
                INVALID_STR_IF(json_is_twin(&seen, mounts, i, "mountPath"), PATH(p, "mountPath"), at, "must be unique");
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
        _cleanup_(map_freep) struct map *seen = NULL;
        size_t i = 0;

        json_each_item(port, ports) {
                const struct path *p = PATH_INDEX(PATH(c, "ports"), i);
                struct str name = TEXT(port, "name");
                int64_t host = json_int(GET(port, "hostPort"));

                REFUSE_IF(duplicate, !str_empty(name) && json_is_twin(&seen, ports, i, "name"), PATH(p, "name"), name);
                if (host_network && host != 0 && host != json_int(GET(port, "containerPort")))
                        invalid_at(fe, p, port, "hostPort", "must match `containerPort` when `hostNetwork` is true");
                i++;
        }
}

CHECK(validate_probe, const struct json *probe, bool only_one_success) {
        if (!probe)
                return;
        check_alternatives(fe, p, probe, &type_ProbeHandler, "handler");
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
                        check_sleep(fe, PATH(p, hook), GET(lifecycle, hook), spec);
                        check_alternatives(fe, PATH(p, hook), GET(lifecycle, hook), &type_LifecycleHandler, "handler");
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

#define NOT_EPHEMERAL "cannot be set for an Ephemeral Container"

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
                FORBIDDEN_IF(GET(c, denied[k]), PATH(p, denied[k]), NOT_EPHEMERAL);
        FORBIDDEN_IF(json_len(GET(c, "resources")) > 0, PATH(p, "resources"), NOT_EPHEMERAL);
        each_at(m, at, PATH(p, "volumeMounts"), GET(c, "volumeMounts"))
                each_word(part, "subPath", "subPathExpr")
                        FORBIDDEN_IF(!str_empty(TEXT(m, part)), PATH(at, part), NOT_EPHEMERAL);
}

CHECK(validate_resize_policy, const struct json *c, struct str restart) {
        const struct json *list = GET(c, "resizePolicy");
        _cleanup_(map_freep) struct map *seen = NULL;
        size_t i = 0;

        json_each_item(policy, list) {
                struct str resource = TEXT(policy, "resourceName");

                REFUSE_IF(duplicate, json_is_twin(&seen, list, i, "resourceName"), PATH_INDEX(p, i), resource);
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
                             const struct path *volumes_at, const struct json *volumes) {
        const struct json *list = GET(container, "volumeDevices"), *mounts = GET(container, "volumeMounts");
        _cleanup_(map_freep) struct map *names = NULL, *paths = NULL;
        size_t i = 0;

        json_each_item(d, list) {
                const struct path *p = PATH_INDEX(PATH(c, "volumeDevices"), i);
                struct str name = TEXT(d, "name"), path = TEXT(d, "devicePath");
                const struct json *v = find_volume(fe, volumes_at, volumes, SIZE_MAX, name);

                if (str_empty(name))
                        field_required(fe, PATH(p, "name"), "");
                else if (json_is_twin(&names, list, i, "name"))
                        field_invalid_str(fe, PATH(p, "name"), name, "must be unique");
                if (v && !GET(v, "persistentVolumeClaim") && !GET(v, "ephemeral"))
                        field_invalid_str(fe, PATH(p, "name"), name,
                                          "can only use volume source type of PersistentVolumeClaim or Ephemeral for "
                                          "block mode");
                else if (!v && !is_claim(fe, name))
                        field_not_found(fe, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(path), PATH(p, "devicePath"), "");
                if (has_backsteps(path))
                        field_invalid_str(fe, PATH(p, "devicePath"), path, "can not contain backsteps ('..')");
                else if (json_is_twin(&paths, list, i, "devicePath"))
                        field_invalid_str(fe, PATH(p, "devicePath"), path, "must be unique");
                if (json_find_by(mounts, "name", name))
                        field_invalid_str(fe, PATH(p, "name"), name, "must not already exist in volumeMounts");
                INVALID_STR_IF(json_find_by(mounts, "mountPath", path), PATH(p, "devicePath"), path,
                               "must not already exist as a path in volumeMounts");
                i++;
        }
}

void check_image(struct field_errors *fe, const struct path *p, const struct json *c) {
        if (str_trim(TEXT(c, "image")).n != TEXT(c, "image").n)
                field_invalid(fe, PATH(p, "image"), GET(c, "image"), "must not have leading or trailing whitespace");
}

CHECK(validate_container, const struct path *spec_path, const struct json *c, const struct json *spec,
      enum container_kind kind) {
        const struct path *volumes_at = PATH(spec_path, "volumes");
        const struct json *volumes = GET(spec, "volumes");
        bool restartable = kind == INIT_CONTAINER && str_eqc(TEXT(c, "restartPolicy"), "Always");

        REQUIRED_IF(str_empty(TEXT(c, "image")), PATH(p, "image"), "");
        if (kind == CONTAINER && GET(c, "restartPolicy"))
                field_forbidden(fe, PATH(p, "restartPolicy"), "may not be set for non-init containers");
        if (kind == INIT_CONTAINER && GET(c, "restartPolicy") && !restartable)
                field_not_supported(fe, PATH(p, "restartPolicy"), TEXT(c, "restartPolicy"), WORDS("Always"));
        validate_resize_policy(fe, PATH(p, "resizePolicy"), c, TEXT(spec, "restartPolicy"));
        validate_devices(fe, p, c, volumes_at, volumes);
        validate_ports(fe, p, c, kind == CONTAINER && json_bool(GET(spec, "hostNetwork")));
        validate_env(fe, p, c);
        validate_mounts(fe, p, c, volumes_at, volumes);
        validate_container_security(fe, PATH(p, "securityContext"), GET(c, "securityContext"), spec);
        if (kind == CONTAINER || restartable) {
                validate_probe(fe, PATH(p, "livenessProbe"), GET(c, "livenessProbe"), true);
                validate_probe(fe, PATH(p, "readinessProbe"), GET(c, "readinessProbe"), false);
                validate_probe(fe, PATH(p, "startupProbe"), GET(c, "startupProbe"), true);
                validate_lifecycle(fe, PATH(p, "lifecycle"), GET(c, "lifecycle"), spec);
                return;
        }
        each_word(part, "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
                if (GET(c, part)) { /* whatever is in it */
                        forget_errors_at(fe, PATH(p, part));
                        FORBIDDEN_IF(kind == INIT_CONTAINER, PATH(p, part),
                                     "may not be set for init containers without restartPolicy=Always");
                }
        if (kind == EPHEMERAL_CONTAINER) {
                check_image(fe, p, c);
                validate_ephemeral(fe, p, c, spec);
        }
}

void validate_containers(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
        static const enum container_kind kinds[] = { CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER };

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *list = GET(spec, lists[l]);
                const struct path *at = PATH(spec_path, lists[l]);
                _cleanup_(map_freep) struct map *seen = NULL;

                each_at(c, p, at, list) {
                        struct str name = TEXT(c, "name");
                        bool taken = (l != 1 || !str_empty(name)) &&
                                     json_is_twin(&seen, list, (size_t) p->index, "name");

                        for (size_t k = 0; k < l; k++) /* names are shared with the others */
                                taken = taken || json_find_by(GET(spec, lists[k]), "name", name);
                        check_item_name(fe, p, name, taken);
                        validate_container(fe, p, spec_path, c, spec, kinds[l]);
                }
                if (l < 2)
                        check_host_ports(fe, at, list, l == 1);
        }
}
