/* Volumes and containers of a pod: what api/core/v1.api does not say of them. */
#include "base/map.h"
#include "apiserver/validation/validate_rules.h"
#include "schema/types.h"

/* The item of a list whose member says a text; of a long list through a map, made when it is first asked. */
struct lookup {
        const struct json *list;
        const char *key;
        struct map *map;
};
#define LONG_LIST 32

static const struct json *look_up(struct lookup *l, struct str text) {
        if (json_len(l->list) < LONG_LIST)
                return json_find_by(l->list, l->key, text);
        if (!l->map) {
                l->map = map_new(NULL);
                json_each_item(it, l->list)
                        map_put(l->map, TEXT(it, l->key), it);
        }
        return map_get(l->map, text);
}

static void lookup_done(struct lookup *l) {
        map_free(l->map);
}
#define LOOKUP(name, ...) _cleanup_(lookup_done) struct lookup name = { __VA_ARGS__ }

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
                TELL_AT(PATH(p, f->name), field_forbidden(fe,
                                                          PATH(p, strcmp(f->name, "cephfs") == 0        ? "cephFS"
                                                                  : strcmp(f->name, "downwardAPI") == 0 ? "downwarAPI"
                                                                                                        : f->name),
                                                          "may not specify more than 1 %s type", what));
        }
        return first;
}

/* ---- volumes ---- */

/* Of the first n volumes the one of that name with which nothing is wrong: others are not there for mounts. */
static const struct json *find_volume(const struct field_errors *fe, const struct path *list,
                                      const struct json *volumes, size_t n, struct str name) {
        if (fe->volumes)
                return map_get(fe->volumes, name);
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

static struct str pod_name(const struct field_errors *fe) {
        return fe->type == &type_Pod ? json_str(json_at_path(fe->object, "metadata", "name")) : STR("");
}

/* A volume's own claim is named after pod and volume. */
CHECK(check_claim_name, const struct json *volume) {
        struct str pod = pod_name(fe), name = TEXT(volume, "name"), own;
        const char *messages[MAX_MESSAGES];

        if (!GET(volume, "ephemeral") || str_empty(name) || str_empty(pod))
                return;
        own = arena_printf(fe->a, "%" STR_FMT "-%" STR_FMT, STR_ARG(pod), STR_ARG(name));
        for (size_t k = 0, n = check_dns_subdomain(own, messages); k < n; k++)
                TELL_AT(PATH(p, "ephemeral"),
                        invalid_at(fe, p, volume, "name", "PVC name \"%" STR_FMT "\": %s", STR_ARG(own), messages[k]));
}

/* Nobody else asks for it; what does is a volume that may be mounted all the same. */
CHECK(check_claims, const struct json *volumes) {
        _cleanup_(map_freep) struct map *own = NULL;
        struct str pod = pod_name(fe);

        json_each_item(v, str_empty(pod) ? NULL : volumes)
                if (GET(v, "ephemeral"))
                        map_put(own = own ? own : map_new(NULL), TEXT(v, "name"), v);
        each_at(v, at, p, own ? volumes : NULL) {
                struct str claim = json_str(json_at_path(v, "persistentVolumeClaim", "claimName"));

                if (claim.n > pod.n && claim.p[pod.n] == '-' && str_has_prefix(claim, pod) &&
                    map_has(own, str_sub(claim, pod.n + 1, claim.n)))
                        TELL_AT(PATH(at, "name"),
                                field_invalid_str(fe, PATH(PATH(at, "persistentVolumeClaim"), "claimName"), claim,
                                                  "must not reference a PVC that gets created for an ephemeral "
                                                  "volume"));
        }
}

CHECK(validate_volumes, const struct json *volumes) {
        each_told(v, at, p, volumes) {
                struct str name = TEXT(v, "name");

                check_alternatives(fe, at, v, &type_VolumeSource, "volume");
                TELL_AT(PATH(at, "iscsi"), check_portal(fe, PATH(at, "name"), name, GET(v, "iscsi")));
                check_claim_name(fe, at, v);
                REQUIRED_IF(fe->type == &type_Pod && GET(v, "image") &&
                                            str_empty(json_str(json_at_path(v, "image", "reference"))),
                            PATH(PATH(at, "image"), "reference"), "");
                check_item_name(fe, at, name, find_volume(fe, p, volumes, (size_t) at->index, name));
                if (fe->volumes && !errors_at(fe, at))
                        map_put(fe->volumes, name, v);
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
        each_at(e, p, env_from, GET(container, "envFrom")) {
                const struct json *map = GET(e, "configMapRef"), *secret = GET(e, "secretRef");

                if (!map == !secret)
                        TELL_AT(p, field_invalid_str(fe, env_from, STR(""),
                                                     map ? "may not have more than one field specified at a time"
                                                         : "must specify one of: `configMapRef` or `secretRef`"));
        }
}

static void validate_recursive(struct field_errors *fe, const struct path *p, const struct json *mount) {
        struct str mode = TEXT(mount, "recursiveReadOnly"), propagation = TEXT(mount, "mountPropagation");

        if (!str_eqc(mode, "Enabled") && !str_eqc(mode, "IfPossible"))
                return;
        FORBIDDEN_IF(!json_bool(GET(mount, "readOnly")), p, "may only be specified when readOnly is true");
        if (GET(mount, "mountPropagation") && !str_eqc(propagation, "None"))
                field_forbidden(fe, p, "may only be specified when mountPropagation is None or not specified");
}

static void validate_mounts(struct field_errors *fe, const struct path *c, const struct json *container,
                            const struct path *volumes_at, const struct json *volumes) {
        const struct path *list = PATH(c, "volumeMounts");
        const struct json *mounts = GET(container, "volumeMounts"), *devices = GET(container, "volumeDevices");
        LOOKUP(names, devices, "name");
        LOOKUP(paths, devices, "devicePath");
        _cleanup_(map_freep) struct map *seen = NULL;

        each_told(m, p, list, mounts) {
                struct str name = TEXT(m, "name"), at = TEXT(m, "mountPath");
                bool found = find_volume(fe, volumes_at, volumes, SIZE_MAX, name);

                fe->at = p;
                REQUIRED_IF(str_empty(name), PATH(p, "name"), "");
                REFUSE_IF(not_found, !found, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(at), PATH(p, "mountPath"), "");
                INVALID_STR_IF(json_is_twin(&seen, mounts, (size_t) p->index, "mountPath"), PATH(p, "mountPath"), at,
                               "must be unique");
                INVALID_STR_IF(look_up(&names, name), PATH(p, "name"), name, "must not already exist in volumeDevices");
                INVALID_STR_IF(look_up(&paths, at), PATH(p, "mountPath"), at,
                               "must not already exist as a path in volumeDevices");
                if (!str_empty(TEXT(m, "subPath")))
                        rule_relative_path(fe, PATH(list, "subPath"), GET(m, "subPath"), NULL);
                INVALID_STR_IF(!str_empty(TEXT(m, "subPath")) && !str_empty(TEXT(m, "subPathExpr")),
                               PATH(p, "subPathExpr"), TEXT(m, "subPathExpr"),
                               "subPathExpr and subPath are mutually exclusive");
                if (!str_empty(TEXT(m, "subPathExpr")))
                        rule_relative_path(fe, PATH(list, "subPathExpr"), GET(m, "subPathExpr"), NULL);
                fe->at = NULL;
                if (str_eqc(TEXT(m, "mountPropagation"), "Bidirectional") &&
                    !json_bool(json_at_path(container, "securityContext", "privileged")))
                        field_forbidden(fe, PATH(p, "mountPropagation"),
                                        "Bidirectional mount propagation is available only to privileged containers");
                validate_recursive(fe, PATH(p, "recursiveReadOnly"), m);
        }
}

static void validate_ports(struct field_errors *fe, const struct path *c, const struct json *container,
                           bool host_network) {
        const struct json *ports = GET(container, "ports");
        _cleanup_(map_freep) struct map *seen = NULL;
        const char *messages[MAX_MESSAGES];

        each_at(port, p, PATH(c, "ports"), ports) {
                struct str name = TEXT(port, "name");
                int64_t host = json_int(GET(port, "hostPort"));

                REFUSE_IF(duplicate,
                          !str_empty(name) && check_port_name(name, messages) == 0 &&
                                          json_is_twin(&seen, ports, (size_t) p->index, "name"),
                          PATH(p, "name"), name);
                if (host_network && host != 0 && host != json_int(GET(port, "containerPort")))
                        TELL_AT(PATH(c->up->up, "ephemeralContainers"),
                                invalid_at(fe, p, port, "hostPort",
                                           "must match `containerPort` when `hostNetwork` is true"));
        }
}

CHECK(validate_probe, const struct json *probe, bool only_one_success) {
        if (!probe)
                return;
        check_alternatives(fe, p, probe, &type_ProbeHandler, "handler");
        if (only_one_success && json_int_or(GET(probe, "successThreshold"), 1) != 1)
                TELL_AT(PATH(p, "terminationGracePeriodSeconds"), /* after all numbers */
                        invalid_at(fe, p, probe, "successThreshold", "must be 1"));
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
        _cleanup_(map_freep) struct map *taken = NULL;
        size_t i = 0;

        json_each_item(c, containers) {
                const struct path *at = PATH_INDEX(list, i), *ports = PATH(init ? PATH_INDEX(list, 0) : at, "ports");

                each_at(port, p, ports, GET(c, "ports")) {
                        int64_t host = json_int(GET(port, "hostPort"));

                        if (host == 0)
                                continue;
                        taken = taken ? taken : map_new(NULL);
                        struct str key = arena_printf(fe->a, "%" STR_FMT "/%" STR_FMT "/%lld",
                                                      STR_ARG(TEXT(port, "protocol")), STR_ARG(TEXT(port, "hostIP")),
                                                      (long long) host);
                        TELL_AT(init ? at : list,
                                REFUSE_IF(duplicate, !map_put(taken, key, c), PATH(p, "hostPort"), key));
                }
                if (init && taken) /* they do not run at the same time, and upstream calls each the first */
                        map_clear(taken);
                i++;
        }
}

static bool privileged_allowed = true;

void validate_allow_privileged(bool allowed) {
        privileged_allowed = allowed;
}

CHECK(validate_container_security, const struct json *sc, const struct json *spec) {
        const struct json *escalation = GET(sc, "allowPrivilegeEscalation");

        FORBIDDEN_IF(!privileged_allowed && json_bool(GET(sc, "privileged")), PATH(p, "privileged"),
                     "disallowed by cluster policy");
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

/* As Go's reflection sees it: an empty list or map that was sent is something, resources only with what is in it. */
static bool is_given(const struct field_errors *fe, const struct path *p, const struct json *v) {
        const struct json *sent = field_sent(fe, p);
        bool some = json_is(v, JSON_OBJECT) ? json_len(v) > 0 : v != NULL;

        json_each_member(m, sent) {
                const struct schema_field *f = schema_field(&type_ResourceRequirements, json_key(m));

                some = some || (m->value.type != JSON_NULL && f && !(f->flags & SCHEMA_OFF));
        }
        return some || json_is(sent, JSON_ARRAY);
}

/* An ephemeral container is a guest: it serves nobody, and nothing depends on it. */
CHECK(validate_ephemeral, const struct json *c, const struct json *spec) {
        static const char *const denied[] = { "ports",         "resources",      "resizePolicy", "restartPolicy",
                                              "livenessProbe", "readinessProbe", "startupProbe", "lifecycle" };
        struct str target = TEXT(c, "targetContainerName");
        bool found = str_empty(target);

        each_word(list, "containers", "initContainers")
                json_each_item(other, GET(spec, list))
                        found = found || str_eq(TEXT(other, "name"), target);
        fe->at = p;
        REFUSE_IF(not_found, !found, PATH(p, "targetContainerName"), target);
        for (size_t k = 0; k < ARRAY_SIZE(denied); k++)
                FORBIDDEN_IF(k > 2 ? GET(c, denied[k]) != NULL : is_given(fe, PATH(p, denied[k]), GET(c, denied[k])),
                             PATH(p, denied[k]), NOT_EPHEMERAL);
        each_at(m, at, PATH(p, "volumeMounts"), GET(c, "volumeMounts"))
                each_word(part, "subPath", "subPathExpr")
                        FORBIDDEN_IF(!str_empty(TEXT(m, part)), PATH(at, part), NOT_EPHEMERAL);
        fe->at = NULL;
}

CHECK(validate_resize_policy, const struct json *c, struct str restart) {
        static const char *const known[] = { "cpu", "memory", NULL };
        const struct json *list = GET(c, "resizePolicy");
        _cleanup_(map_freep) struct map *seen = NULL;
        size_t i = 0;

        json_each_item(policy, list) {
                struct str resource = TEXT(policy, "resourceName"), how = TEXT(policy, "restartPolicy");
                const struct json as_is = json_of_raw(resource);

                fe->at = PATH_INDEX(p, i);
                REFUSE_IF(duplicate_value, json_is_twin(&seen, list, i, "resourceName"), PATH_INDEX(p, i), &as_is);
                if (str_empty(resource))
                        field_required(fe, p, "");
                else
                        REFUSE_IF(not_supported_value, !str_among(resource, known), p, &as_is, known);
                if (str_empty(how))
                        field_required(fe, p, "");
                else
                        check_enum(fe, p, how, WORDS("NotRequired", "RestartContainer"));
                INVALID_STR_IF(str_eqc(restart, "Never") && !str_eqc(how, "NotRequired"), p, how,
                               "must be 'NotRequired' when `restartPolicy` is 'Never'");
                i++;
        }
        fe->at = NULL;
}

static void validate_devices(struct field_errors *fe, const struct path *c, const struct json *container,
                             const struct path *volumes_at, const struct json *volumes) {
        const struct json *list = GET(container, "volumeDevices"), *mounts = GET(container, "volumeMounts");
        LOOKUP(mount_names, mounts, "name");
        LOOKUP(mount_paths, mounts, "mountPath");
        _cleanup_(map_freep) struct map *names = NULL, *paths = NULL;
        size_t i = 0;

        json_each_item(d, list) {
                const struct path *p = fe->at = PATH_INDEX(PATH(c, "volumeDevices"), i);
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
                else if (!v)
                        field_not_found(fe, PATH(p, "name"), name);
                REQUIRED_IF(str_empty(path), PATH(p, "devicePath"), "");
                if (has_backsteps(path))
                        field_invalid_str(fe, PATH(p, "devicePath"), path, "can not contain backsteps ('..')");
                else if (json_is_twin(&paths, list, i, "devicePath"))
                        field_invalid_str(fe, PATH(p, "devicePath"), path, "must be unique");
                if (look_up(&mount_names, name))
                        field_invalid_str(fe, PATH(p, "name"), name, "must not already exist in volumeMounts");
                INVALID_STR_IF(look_up(&mount_paths, path), PATH(p, "devicePath"), path,
                               "must not already exist as a path in volumeMounts");
                i++;
        }
        fe->at = NULL;
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
                TELL_AT(p,
                        field_not_supported(fe, PATH(p, "restartPolicy"), TEXT(c, "restartPolicy"), WORDS("Always")));
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
                return validate_lifecycle(fe, PATH(p, "lifecycle"), GET(c, "lifecycle"), spec);
        }
        each_word(part, "livenessProbe", "readinessProbe", "startupProbe", "lifecycle")
                if (GET(c, part)) { /* whatever is in it */
                        forget_errors_at(fe, PATH(p, part));
                        FORBIDDEN_IF(kind == INIT_CONTAINER, PATH(p, part),
                                     "may not be set for init containers without restartPolicy=Always");
                }
        if (kind == EPHEMERAL_CONTAINER)
                TELL_AT(p, check_image(fe, p, c));
}

void validate_containers(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        static const char *const lists[] = { "containers", "initContainers", "ephemeralContainers" };
        static const enum container_kind kinds[] = { CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER };
        const struct json *volumes = GET(spec, "volumes");
        _cleanup_(map_freep) struct map *by_name = json_len(volumes) < LONG_LIST ? NULL : map_new(NULL);

        fe->volumes = by_name;
        validate_volumes(fe, PATH(spec_path, "volumes"), volumes);
        LOOKUP(containers, GET(spec, lists[0]), "name");
        LOOKUP(inits, GET(spec, lists[1]), "name");
        struct lookup *others[] = { &containers, &inits };

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *list = GET(spec, lists[l]);
                const struct path *at = PATH(spec_path, lists[l]);
                _cleanup_(map_freep) struct map *seen = NULL;

                each_told(c, p, at, list) {
                        struct str name = TEXT(c, "name");
                        bool taken = (l != 1 || !str_empty(name)) &&
                                     json_is_twin(&seen, list, (size_t) p->index, "name");

                        for (size_t k = 0; k < l; k++) /* names are shared with the others */
                                taken = taken || look_up(others[k], name);
                        validate_container(fe, p, spec_path, c, spec, kinds[l]);
                        check_item_name(fe, p, name, false);
                        TELL_AT(p, REFUSE_IF(duplicate, taken, PATH(p, "name"), name));
                        if (l == 2)
                                validate_ephemeral(fe, p, c, spec);
                }
                if (l < 2)
                        check_host_ports(fe, at, list, l == 1);
        }
        fe->volumes = NULL;
        check_claims(fe, PATH(spec_path, "volumes"), volumes);
}
