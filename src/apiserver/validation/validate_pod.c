/* Pods and what pods are made of: pkg/apis/core/validation of v1.33, the parts that users meet. Enumerations are
 * checked by validate_enum.c. */
#include "apiserver/validation/validate.h"
#include "schema/quantity.h"

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))

/* The names seen in a list; small lists, so a scan does. */
static bool seen_before(const struct json *list, size_t i, const char *key) {
        struct str s = TEXT(json_item(list, i), key);

        for (size_t k = 0; k < i; k++)
                if (str_eq(TEXT(json_item(list, k), key), s))
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

/* ---- resources ---- */

static void validate_quantities(struct field_errors *fe, const struct path *p, const struct json *map) {
        json_each_member(m, map) {
                struct str key = json_key(m);
                struct quantity q = quantity_of_json(&m->value);
                bool standard = str_eqc(key, "cpu") || str_eqc(key, "memory") || str_eqc(key, "ephemeral-storage") ||
                                str_eqc(key, "storage") || str_has_prefix(key, STR("hugepages-"));

                if (str_find(key, '/') < 0 && !standard)
                        field_invalid_str(fe, PATH_KEY(p, key), key,
                                          "must be a standard resource type or fully qualified");
                if (q.nano < 0)
                        field_invalid(fe, PATH_KEY(p, key), &m->value, "must be greater than or equal to 0");
                if (str_find(key, '/') >= 0 && q.nano % 1000000000 != 0)
                        field_invalid(fe, PATH_KEY(p, key), &m->value, "must be an integer");
        }
}

static void validate_resources(struct field_errors *fe, const struct path *p, const struct json *r) {
        const struct json *limits = GET(r, "limits"), *requests = GET(r, "requests");

        validate_quantities(fe, PATH(p, "limits"), limits);
        validate_quantities(fe, PATH(p, "requests"), requests);
        json_each_member(m, requests) {
                const struct json *limit = json_get(limits, json_key(m));

                if (limit && quantity_cmp(quantity_of_json(&m->value), quantity_of_json(limit)) > 0)
                        field_invalid(fe, PATH(p, "requests"), &m->value,
                                      "must be less than or equal to %" STR_FMT " limit of %" STR_FMT,
                                      STR_ARG(json_key(m)), STR_ARG(json_str(limit)));
        }
}

/* ---- environment ---- */

static void validate_env_source(struct field_errors *fe, const struct path *p, const struct json *from,
                                bool has_value) {
        static const struct {
                const char *name, *needs;
        } sources[] = {
                { "fieldRef", "fieldPath" },
                { "resourceFieldRef", "resource" },
                { "configMapKeyRef", "key" },
                { "secretKeyRef", "key" },
        };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
                const struct json *s = GET(from, sources[i].name);

                if (!s)
                        continue;
                n++;
                if (str_empty(TEXT(s, sources[i].needs)))
                        field_required(fe, PATH(PATH(p, sources[i].name), sources[i].needs), "");
                else if (i >= 2)
                        check_field(fe, PATH(PATH(p, sources[i].name), "key"), TEXT(s, "key"), check_config_key);
        }
        if (n == 0)
                field_invalid_str(fe, p, STR(""),
                                  "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or "
                                  "`secretKeyRef`");
        if (has_value && n > 0)
                field_invalid_str(fe, p, STR(""), "may not be specified when `value` is not empty");
        else if (n > 1)
                field_invalid_str(fe, p, STR(""), "may not have more than one field specified at a time");
}

static void validate_env(struct field_errors *fe, const struct path *c, const struct json *container) {
        const struct path *env = PATH(c, "env"), *env_from = PATH(c, "envFrom");
        size_t i = 0;

        json_each_item(e, GET(container, "env")) {
                const struct path *p = PATH_INDEX(env, i++);

                if (str_empty(TEXT(e, "name")))
                        field_required(fe, PATH(p, "name"), "");
                else
                        check_field(fe, PATH(p, "name"), TEXT(e, "name"), check_env_name);
                if (GET(e, "valueFrom"))
                        validate_env_source(fe, PATH(p, "valueFrom"), GET(e, "valueFrom"),
                                            !str_empty(TEXT(e, "value")));
        }
        i = 0;
        json_each_item(e, GET(container, "envFrom")) {
                const struct path *p = PATH_INDEX(env_from, i++);
                const struct json *map = GET(e, "configMapRef"), *secret = GET(e, "secretRef");

                if (!str_empty(TEXT(e, "prefix")))
                        check_field(fe, PATH(p, "prefix"), TEXT(e, "prefix"), check_env_name);
                if (!map && !secret)
                        field_invalid_str(fe, p, STR(""), "must specify one of: `configMapRef` or `secretRef`");
                else if (map && secret)
                        field_invalid_str(fe, p, STR(""), "may not have more than one field specified at a time");
                else if (str_empty(TEXT(map ? map : secret, "name")))
                        field_required(fe, PATH(PATH(p, map ? "configMapRef" : "secretRef"), "name"), "");
        }
}

/* ---- mounts, ports, probes ---- */

static void validate_mounts(struct field_errors *fe, const struct path *c, const struct json *container,
                            const struct json *volumes) {
        const struct path *list = PATH(c, "volumeMounts");
        const struct json *mounts = GET(container, "volumeMounts");
        size_t i = 0;

        json_each_item(m, mounts) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(m, "name"), at = TEXT(m, "mountPath");
                bool found = false;

                json_each_item(v, volumes)
                        found = found || str_eq(TEXT(v, "name"), name);
                if (str_empty(name))
                        field_required(fe, PATH(p, "name"), "");
                if (!found)
                        field_not_found(fe, PATH(p, "name"), name);
                if (str_empty(at))
                        field_required(fe, PATH(p, "mountPath"), "");
                else if (str_find(at, ':') >= 0)
                        field_invalid_str(fe, PATH(p, "mountPath"), at, "must not contain ':'");
                else if (seen_before(mounts, i, "mountPath"))
                        field_invalid_str(fe, PATH(p, "mountPath"), at, "must be unique");
                if (!str_empty(TEXT(m, "subPath")) && !str_empty(TEXT(m, "subPathExpr")))
                        field_invalid_str(fe, PATH(p, "subPathExpr"), TEXT(m, "subPathExpr"),
                                          "subPathExpr and subPath are mutually exclusive");
                if (str_has_prefix(TEXT(m, "subPath"), STR("/")))
                        field_invalid_str(fe, PATH(p, "subPath"), TEXT(m, "subPath"), "must be a relative path");
                i++;
        }
}

static void validate_ports(struct field_errors *fe, const struct path *c, const struct json *container,
                           bool host_network) {
        const struct path *list = PATH(c, "ports");
        const struct json *ports = GET(container, "ports");
        size_t i = 0;

        json_each_item(port, ports) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(port, "name");
                int64_t host = json_int(GET(port, "hostPort"));

                if (!str_empty(name) && check_field(fe, PATH(p, "name"), name, check_port_name) &&
                    seen_before(ports, i, "name"))
                        field_duplicate(fe, PATH(p, "name"), name);
                if (json_int(GET(port, "containerPort")) == 0)
                        field_required(fe, PATH(p, "containerPort"), "");
                else
                        check_port(fe, PATH(p, "containerPort"), GET(port, "containerPort"));
                if (host != 0)
                        check_port(fe, PATH(p, "hostPort"), GET(port, "hostPort"));
                if (host_network && host != 0 && host != json_int(GET(port, "containerPort")))
                        field_invalid(fe, PATH(p, "containerPort"), GET(port, "containerPort"),
                                      "must match `hostPort` when `hostNetwork` is true");
                i++;
        }
}

static void validate_action(struct field_errors *fe, const struct path *p, const struct json *action,
                            const char *what) {
        static const char *const kinds[] = { "exec", "httpGet", "tcpSocket", "grpc", "sleep" };
        size_t n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const struct json *a = GET(action, kinds[i]);

                if (!a)
                        continue;
                if (n++ > 0)
                        field_forbidden(fe, PATH(p, kinds[i]), "may not specify more than 1 %s type", what);
                else if (i == 0 && json_len(GET(a, "command")) == 0)
                        field_required(fe, PATH(PATH(p, "exec"), "command"), "");
                else if (i == 1 && str_empty(TEXT(a, "path")))
                        field_required(fe, PATH(PATH(p, "httpGet"), "path"), "");
                else if (i == 1 || i == 2)
                        check_port_or_name(fe, PATH(PATH(p, kinds[i]), "port"), GET(a, "port"));
        }
        if (n == 0)
                field_required(fe, p, "must specify a handler type");
}

static void validate_probe(struct field_errors *fe, const struct path *p, const struct json *probe,
                           bool only_one_success) {
        static const char *const counts[] = { "initialDelaySeconds", "timeoutSeconds", "periodSeconds",
                                              "successThreshold", "failureThreshold" };

        if (!probe)
                return;
        validate_action(fe, p, probe, "handler");
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
                check_nonnegative(fe, PATH(p, counts[i]), GET(probe, counts[i]));
        if (only_one_success && json_int_or(GET(probe, "successThreshold"), 1) != 1)
                field_invalid(fe, PATH(p, "successThreshold"), GET(probe, "successThreshold"), "must be 1");
        check_positive(fe, PATH(p, "terminationGracePeriodSeconds"), GET(probe, "terminationGracePeriodSeconds"));
}

/* ---- security ---- */

static void validate_container_security(struct field_errors *fe, const struct path *p, const struct json *sc) {
        const struct json *escalation = GET(sc, "allowPrivilegeEscalation");

        check_nonnegative(fe, PATH(p, "runAsUser"), GET(sc, "runAsUser"));
        check_nonnegative(fe, PATH(p, "runAsGroup"), GET(sc, "runAsGroup"));
        if (!json_is(escalation, JSON_BOOL) || escalation->b)
                return;
        if (json_bool(GET(sc, "privileged")))
                field_invalid(fe, p, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        json_each_item(c, json_at_path(sc, "capabilities", "add"))
                if (str_eqc(json_str(c), "CAP_SYS_ADMIN"))
                        field_invalid(fe, p, sc,
                                      "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` "
                                      "CAP_SYS_ADMIN");
}

/* ---- containers ---- */

enum container_kind { CONTAINER, INIT_CONTAINER, EPHEMERAL_CONTAINER };

static void validate_container(struct field_errors *fe, const struct path *p, const struct json *c,
                               const struct json *spec, enum container_kind kind) {
        const struct path *lifecycle = PATH(p, "lifecycle");
        struct str image = TEXT(c, "image");
        bool restartable = kind == INIT_CONTAINER && str_eqc(TEXT(c, "restartPolicy"), "Always");
        static const char *const probes[] = { "livenessProbe", "readinessProbe", "startupProbe", "lifecycle" };

        if (str_empty(image))
                field_required(fe, PATH(p, "image"), "");
        else if (str_trim(image).n != image.n)
                field_invalid_str(fe, PATH(p, "image"), image, "must not have leading or trailing whitespace");
        if (kind == CONTAINER && GET(c, "restartPolicy"))
                field_forbidden(fe, PATH(p, "restartPolicy"), "may not be set for non-init containers");
        if (kind == EPHEMERAL_CONTAINER)
                return;
        validate_ports(fe, p, c, json_bool(GET(spec, "hostNetwork")));
        validate_env(fe, p, c);
        validate_mounts(fe, p, c, GET(spec, "volumes"));
        validate_resources(fe, PATH(p, "resources"), GET(c, "resources"));
        validate_container_security(fe, PATH(p, "securityContext"), GET(c, "securityContext"));
        if (kind == INIT_CONTAINER && !restartable) {
                for (size_t i = 0; i < ARRAY_SIZE(probes); i++)
                        if (GET(c, probes[i]))
                                field_forbidden(fe, PATH(p, probes[i]),
                                                "may not be set for init containers without restartPolicy=Always");
                return;
        }
        validate_probe(fe, PATH(p, "livenessProbe"), GET(c, "livenessProbe"), true);
        validate_probe(fe, PATH(p, "readinessProbe"), GET(c, "readinessProbe"), false);
        validate_probe(fe, PATH(p, "startupProbe"), GET(c, "startupProbe"), true);
        if (json_at_path(c, "lifecycle", "postStart"))
                validate_action(fe, PATH(lifecycle, "postStart"), json_at_path(c, "lifecycle", "postStart"), "handler");
        if (json_at_path(c, "lifecycle", "preStop"))
                validate_action(fe, PATH(lifecycle, "preStop"), json_at_path(c, "lifecycle", "preStop"), "handler");
}

static void validate_containers(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
        static const enum container_kind kinds[] = { INIT_CONTAINER, CONTAINER, EPHEMERAL_CONTAINER };

        if (json_len(GET(spec, "containers")) == 0)
                field_required(fe, PATH(spec_path, "containers"), "");
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *list = GET(spec, lists[l]);
                const struct path *at = PATH(spec_path, lists[l]);
                size_t i = 0;

                json_each_item(c, list) {
                        const struct path *p = PATH_INDEX(at, i);

                        check_item_name(fe, p, list, i);
                        if (l != 1) /* names are shared with the regular containers */
                                json_each_item(other, GET(spec, "containers"))
                                        if (str_eq(TEXT(other, "name"), TEXT(c, "name")))
                                                field_duplicate(fe, PATH(p, "name"), TEXT(c, "name"));
                        validate_container(fe, p, c, spec, kinds[l]);
                        i++;
                }
        }
}

/* ---- volumes ---- */

static const struct {
        const char *source, *needs; /* a member that must not be empty, or NULL */
} volume_sources[] = {
        { "hostPath", "path" },
        { "emptyDir", NULL },
        { "gcePersistentDisk", "pdName" },
        { "awsElasticBlockStore", "volumeID" },
        { "gitRepo", "repository" },
        { "secret", "secretName" },
        { "nfs", "server" },
        { "iscsi", "targetPortal" },
        { "glusterfs", "endpoints" },
        { "persistentVolumeClaim", "claimName" },
        { "rbd", "image" },
        { "flexVolume", "driver" },
        { "cinder", "volumeID" },
        { "cephfs", NULL },
        { "flocker", NULL },
        { "downwardAPI", NULL },
        { "fc", NULL },
        { "azureFile", "secretName" },
        { "configMap", "name" },
        { "vsphereVolume", "volumePath" },
        { "quobyte", "registry" },
        { "azureDisk", "diskName" },
        { "photonPersistentDisk", "pdID" },
        { "projected", NULL },
        { "portworxVolume", "volumeID" },
        { "scaleIO", "gateway" },
        { "storageos", NULL },
        { "csi", "driver" },
        { "ephemeral", NULL },
        { "image", NULL },
};

static void validate_key_paths(struct field_errors *fe, const struct path *p, const struct json *items) {
        size_t i = 0;

        json_each_item(it, items) {
                const struct path *at = PATH_INDEX(p, i++);
                struct str to = TEXT(it, "path");

                if (str_empty(TEXT(it, "key")))
                        field_required(fe, PATH(at, "key"), "");
                if (str_empty(to))
                        field_required(fe, PATH(at, "path"), "");
                else if (to.p[0] == '/')
                        field_invalid_str(fe, PATH(at, "path"), to, "must be a relative path");
                else if (str_search(to, STR("..")) >= 0)
                        field_invalid_str(fe, PATH(at, "path"), to, "must not contain '..'");
        }
}

static void validate_mode(struct field_errors *fe, const struct path *p, const struct json *mode) {
        if (json_is(mode, JSON_INT) && (mode->i < 0 || mode->i > 0777))
                field_invalid(fe, p, mode, "must be a number between 0 and 0777 (octal), both inclusive");
}

static void validate_projected(struct field_errors *fe, const struct path *p, const struct json *projected) {
        static const char *const kinds[] = { "secret", "configMap", "downwardAPI", "serviceAccountToken",
                                             "clusterTrustBundle" };
        const struct path *list = PATH(p, "sources");
        size_t i = 0;

        validate_mode(fe, PATH(p, "defaultMode"), GET(projected, "defaultMode"));
        json_each_item(s, GET(projected, "sources")) {
                const struct path *at = PATH_INDEX(list, i++);
                const struct json *token = GET(s, "serviceAccountToken");
                size_t n = 0;

                for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
                        if (!GET(s, kinds[k]))
                                continue;
                        if (n++ > 0)
                                field_forbidden(fe, PATH(at, kinds[k]),
                                                "may not specify more than 1 volume type per source");
                        if (k < 2 && str_empty(TEXT(GET(s, kinds[k]), "name")))
                                field_required(fe, PATH(PATH(at, kinds[k]), "name"), "");
                        if (k < 2)
                                validate_key_paths(fe, PATH(PATH(at, kinds[k]), "items"),
                                                   GET(GET(s, kinds[k]), "items"));
                }
                if (token && json_int(GET(token, "expirationSeconds")) < 600)
                        field_invalid(fe, PATH(PATH(at, "serviceAccountToken"), "expirationSeconds"),
                                      GET(token, "expirationSeconds"),
                                      "may not specify a duration less than 10 minutes");
                if (token && str_empty(TEXT(token, "path")))
                        field_required(fe, PATH(PATH(at, "serviceAccountToken"), "path"), "");
        }
}

static void validate_volumes(struct field_errors *fe, const struct path *spec, const struct json *volumes) {
        const struct path *list = PATH(spec, "volumes");
        size_t i = 0;

        json_each_item(v, volumes) {
                const struct path *p = PATH_INDEX(list, i);
                size_t n = 0;

                check_item_name(fe, p, volumes, i++);
                for (size_t k = 0; k < ARRAY_SIZE(volume_sources); k++) {
                        const struct json *s = GET(v, volume_sources[k].source);
                        const struct path *at = PATH(p, volume_sources[k].source);

                        if (!s)
                                continue;
                        if (n++ > 0) {
                                field_forbidden(fe, at, "may not specify more than 1 volume type");
                                continue;
                        }
                        if (volume_sources[k].needs && str_empty(TEXT(s, volume_sources[k].needs)))
                                field_required(fe, PATH(at, volume_sources[k].needs), "");
                        validate_mode(fe, PATH(at, "defaultMode"), GET(s, "defaultMode"));
                        if (GET(s, "items") && !GET(v, "downwardAPI")) /* whose items have fields, not keys */
                                validate_key_paths(fe, PATH(at, "items"), GET(s, "items"));
                        if (GET(v, "projected"))
                                validate_projected(fe, at, s);
                }
                if (n == 0)
                        field_required(fe, p, "must specify a volume type");
        }
}

/* ---- placement ---- */

void validate_tolerations(struct field_errors *fe, const struct path *spec, const struct json *list) {
        const struct path *at = PATH(spec, "tolerations");
        size_t i = 0;

        json_each_item(t, list) {
                const struct path *p = PATH_INDEX(at, i++);
                struct str key = TEXT(t, "key"), op = TEXT(t, "operator"), value = TEXT(t, "value"),
                           effect = TEXT(t, "effect");

                if (!str_empty(key))
                        check_field(fe, PATH(p, "key"), key, check_qualified_name);
                else if (!str_eqc(op, "Exists"))
                        field_invalid_str(fe, PATH(p, "operator"), op,
                                          "operator must be Exists when `key` is empty, which means \"match all "
                                          "values and all keys\"");
                if (GET(t, "tolerationSeconds") && !str_eqc(effect, "NoExecute"))
                        field_invalid_str(fe, PATH(p, "effect"), effect,
                                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
                if (str_eqc(op, "Exists") && !str_empty(value))
                        field_invalid(fe, PATH(p, "operator"), t, "value must be empty when `operator` is 'Exists'");
                else if (!str_eqc(op, "Exists"))
                        check_field(fe, PATH(p, "value"), value, check_label_value);
        }
}

static void validate_node_terms(struct field_errors *fe, const struct path *p, const struct json *terms) {
        size_t i = 0;

        json_each_item(term, terms) {
                const struct path *list = PATH(PATH_INDEX(p, i++), "matchExpressions");
                size_t k = 0;

                json_each_item(e, GET(term, "matchExpressions")) {
                        const struct path *at = PATH_INDEX(list, k++);
                        struct str op = TEXT(e, "operator");
                        size_t n = json_len(GET(e, "values"));

                        check_field(fe, PATH(at, "key"), TEXT(e, "key"), check_qualified_name);
                        if ((str_eqc(op, "In") || str_eqc(op, "NotIn")) && n == 0)
                                field_required(fe, PATH(at, "values"),
                                               "must be specified when `operator` is 'In' or 'NotIn'");
                        else if ((str_eqc(op, "Exists") || str_eqc(op, "DoesNotExist")) && n > 0)
                                field_forbidden(fe, PATH(at, "values"),
                                                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
                        else if ((str_eqc(op, "Gt") || str_eqc(op, "Lt")) && n != 1)
                                field_required(fe, PATH(at, "values"),
                                               "must be specified single value when `operator` is 'Lt' or 'Gt'");
                }
        }
}

static void validate_pod_terms(struct field_errors *fe, const struct path *p, const struct json *affinity) {
        static const char *const required = "requiredDuringSchedulingIgnoredDuringExecution";
        const struct path *list = PATH(p, required);
        size_t i = 0;

        json_each_item(t, GET(affinity, required)) {
                const struct path *at = PATH_INDEX(list, i++);

                if (str_empty(TEXT(t, "topologyKey")))
                        field_required(fe, PATH(at, "topologyKey"), "can not be empty");
                validate_label_selector(fe, PATH(at, "labelSelector"), GET(t, "labelSelector"));
        }
}

static void validate_affinity(struct field_errors *fe, const struct path *spec, const struct json *affinity) {
        static const char *const required = "requiredDuringSchedulingIgnoredDuringExecution";
        const struct path *p = PATH(spec, "affinity");
        const struct json *node = GET(GET(affinity, "nodeAffinity"), required);

        if (node && json_len(GET(node, "nodeSelectorTerms")) == 0)
                field_required(fe, PATH(PATH(PATH(p, "nodeAffinity"), required), "nodeSelectorTerms"),
                               "must have at least one node selector term");
        validate_node_terms(fe, PATH(PATH(PATH(p, "nodeAffinity"), required), "nodeSelectorTerms"),
                            GET(node, "nodeSelectorTerms"));
        validate_pod_terms(fe, PATH(p, "podAffinity"), GET(affinity, "podAffinity"));
        validate_pod_terms(fe, PATH(p, "podAntiAffinity"), GET(affinity, "podAntiAffinity"));
}

static void validate_spread(struct field_errors *fe, const struct path *spec, const struct json *list) {
        const struct path *at = PATH(spec, "topologySpreadConstraints");
        size_t i = 0;

        json_each_item(c, list) {
                const struct path *p = PATH_INDEX(at, i++);

                if (json_int(GET(c, "maxSkew")) <= 0)
                        field_invalid(fe, PATH(p, "maxSkew"), GET(c, "maxSkew"), "must be greater than zero");
                if (str_empty(TEXT(c, "topologyKey")))
                        field_required(fe, PATH(p, "topologyKey"), "can not be empty");
                validate_label_selector(fe, PATH(p, "labelSelector"), GET(c, "labelSelector"));
        }
}

/* ---- the pod ---- */

void validate_pod_spec(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const struct {
                const char *field;
                name_check check;
        } names[] = {
                { "serviceAccountName", check_dns_subdomain },
                { "nodeName", check_dns_subdomain },
                { "hostname", check_dns_label },
                { "subdomain", check_dns_label },
                { "priorityClassName", check_dns_subdomain },
                { "runtimeClassName", check_dns_subdomain },
                { "schedulerName", check_qualified_name },
        };
        const struct json *deadline = GET(spec, "activeDeadlineSeconds");

        validate_volumes(fe, p, GET(spec, "volumes"));
        validate_containers(fe, p, spec);
        if (str_empty(TEXT(spec, "restartPolicy")))
                field_required(fe, PATH(p, "restartPolicy"), "");
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                if (!str_empty(TEXT(spec, names[i].field)))
                        check_field(fe, PATH(p, names[i].field), TEXT(spec, names[i].field), names[i].check);
        validate_labels(fe, PATH(p, "nodeSelector"), GET(spec, "nodeSelector"));
        check_nonnegative(fe, PATH(p, "terminationGracePeriodSeconds"), GET(spec, "terminationGracePeriodSeconds"));
        if (json_is(deadline, JSON_INT) && (deadline->i < 1 || deadline->i > INT32_MAX))
                field_invalid(fe, PATH(p, "activeDeadlineSeconds"), deadline,
                              "must be between 1 and 2147483647, inclusive");
        validate_tolerations(fe, p, GET(spec, "tolerations"));
        validate_affinity(fe, p, GET(spec, "affinity"));
        validate_spread(fe, p, GET(spec, "topologySpreadConstraints"));
        if (json_bool(GET(spec, "hostPID")) && json_bool(GET(spec, "shareProcessNamespace")))
                field_invalid(fe, PATH(p, "shareProcessNamespace"), GET(spec, "shareProcessNamespace"),
                              "ShareProcessNamespace and HostPID cannot both be enabled");
        if (str_eqc(TEXT(spec, "dnsPolicy"), "None") && json_len(json_at_path(spec, "dnsConfig", "nameservers")) == 0)
                field_required(fe, PATH(PATH(p, "dnsConfig"), "nameservers"),
                               "must provide at least one DNS nameserver when `dnsPolicy` is None");
}

void validate_pod_template(struct field_errors *fe, const struct path *p, const struct json *template) {
        validate_labels(fe, PATH(PATH(p, "metadata"), "labels"), json_at_path(template, "metadata", "labels"));
        validate_pod_spec(fe, PATH(p, "spec"), GET(template, "spec"));
        if (json_len(json_at_path(template, "spec", "ephemeralContainers")) > 0)
                field_forbidden(fe, PATH(PATH(p, "spec"), "ephemeralContainers"),
                                "ephemeral containers not allowed in pod template");
}

/* What may change in a running pod: the fields that are set to the old value here before the rest is compared. */
static bool same_but_allowed(struct arena *a, const struct json *now, const struct json *old) {
        static const char *const free_fields[] = { "activeDeadlineSeconds", "tolerations",
                                                   "terminationGracePeriodSeconds", "schedulingGates",
                                                   "ephemeralContainers" };
        static const char *const lists[] = { "containers", "initContainers" };
        struct json copy = json_copy_shallow(a, now), before = json_copy_shallow(a, old);

        for (size_t i = 0; i < ARRAY_SIZE(free_fields); i++) {
                json_removec(&copy, free_fields[i]);
                json_removec(&before, free_fields[i]);
        }
        if (json_len(GET(old, "schedulingGates")) > 0) { /* a gated pod's placement may still be narrowed */
                json_removec(&copy, "nodeSelector");
                json_removec(&before, "nodeSelector");
                json_removec(&copy, "affinity");
                json_removec(&before, "affinity");
        }
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                struct json list;
                size_t i = 0;

                if (json_len(GET(&copy, lists[l])) != json_len(GET(old, lists[l])))
                        return false;
                if (!GET(&copy, lists[l]))
                        continue;
                list = json_copy_shallow(a, GET(&copy, lists[l]));
                json_each_item(c, &list) {
                        const struct json *image = GET(json_item(GET(old, lists[l]), i++), "image");
                        struct json container = json_copy_shallow(a, c);

                        if (image)
                                json_setc(a, &container, "image", *image);
                        *c = container;
                }
                json_setc(a, &copy, lists[l], list);
        }
        return json_equal(&copy, &before);
}

static void validate_pod_update(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *now = GET(obj, "spec"), *before = GET(old, "spec");

        if (json_equal(now, before))
                return;
        if (!same_but_allowed(fe->a, now, before))
                field_forbidden(fe, PATH(NULL, "spec"),
                                "pod updates may not change fields other than "
                                "`spec.containers[*].image`,`spec.initContainers[*].image`,"
                                "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
                                "tolerations),"
                                "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
                                "negative)");
        json_each_item(t, GET(before, "tolerations")) {
                bool kept = false;

                json_each_item(n, GET(now, "tolerations"))
                        kept = kept || (str_eq(TEXT(t, "key"), TEXT(n, "key")) &&
                                        str_eq(TEXT(t, "effect"), TEXT(n, "effect")) &&
                                        str_eq(TEXT(t, "operator"), TEXT(n, "operator")) &&
                                        str_eq(TEXT(t, "value"), TEXT(n, "value")));
                if (!kept) {
                        field_forbidden(fe, PATH(PATH(NULL, "spec"), "tolerations"),
                                        "existing toleration can not be modified except its tolerationSeconds");
                        break;
                }
        }
}

void validate_pod(struct field_errors *fe, const struct json *obj, const struct json *old) {
        if (old)
                validate_pod_update(fe, obj, old);
        if (!old || !json_equal(GET(obj, "spec"), GET(old, "spec")))
                validate_pod_spec(fe, PATH(NULL, "spec"), GET(obj, "spec"));
}

void validate_pod_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str before = json_str(json_at_path(old, "status", "nominatedNodeName")),
                   now = json_str(json_at_path(obj, "status", "nominatedNodeName"));

        if (!str_empty(now) && !str_eq(before, now))
                check_field(fe, PATH(PATH(NULL, "status"), "nominatedNodeName"), now, check_dns_subdomain);
}
