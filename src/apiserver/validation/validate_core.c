/* The core group beside pods: Service, Endpoints, Node, ConfigMap, Secret, volumes, quotas, Event. */
#include <arpa/inet.h>

#include "apiserver/validation/validate.h"
#include "base/encode.h"
#include "schema/quantity.h"

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))

static bool is_ip(struct str s, int family) {
        char text[INET6_ADDRSTRLEN];
        uint8_t bytes[16];

        if (s.n == 0 || s.n >= sizeof(text))
                return false;
        memcpy(text, s.p, s.n);
        text[s.n] = '\0';
        if (family == AF_UNSPEC)
                return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
        return inet_pton(family, text, bytes) == 1;
}

#define IP_MSG "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

static void check_ip(struct field_errors *fe, const struct path *p, struct str s) {
        if (!is_ip(s, AF_UNSPEC))
                field_invalid_str(fe, p, s, IP_MSG);
}

/* ---- services ---- */

static void validate_service_ports(struct field_errors *fe, const struct path *spec_path, const struct json *spec) {
        const struct path *list = PATH(spec_path, "ports");
        const struct json *ports = GET(spec, "ports");
        bool external = str_eqc(TEXT(spec, "type"), "NodePort") || str_eqc(TEXT(spec, "type"), "LoadBalancer");
        size_t i = 0;

        json_each_item(port, ports) {
                const struct path *p = PATH_INDEX(list, i);
                struct str name = TEXT(port, "name");

                if (str_empty(name)) {
                        if (json_len(ports) > 1)
                                field_required(fe, PATH(p, "name"), "");
                } else if (check_field(fe, PATH(p, "name"), name, check_dns_label)) {
                        for (size_t k = 0; k < i; k++)
                                if (str_eq(TEXT(json_item(ports, k), "name"), name))
                                        field_duplicate(fe, PATH(p, "name"), name);
                }
                check_port(fe, PATH(p, "port"), GET(port, "port"));
                if (GET(port, "targetPort") && !str_eqc(TEXT(spec, "type"), "ExternalName"))
                        check_port_or_name(fe, PATH(p, "targetPort"), GET(port, "targetPort"));
                if (json_int(GET(port, "nodePort")) != 0 && !external)
                        field_forbidden(fe, PATH(p, "nodePort"), "may not be used when `type` is '%" STR_FMT "'",
                                        STR_ARG(TEXT(spec, "type")));
                for (size_t k = 0; k < i; k++) {
                        const struct json *other = json_item(ports, k);

                        if (json_int(GET(other, "port")) != json_int(GET(port, "port")) ||
                            !str_eq(TEXT(other, "protocol"), TEXT(port, "protocol")))
                                continue;
                        field_duplicate(fe, p, TEXT(port, "name"));
                        break;
                }
                i++;
        }
}

static void validate_external_name(struct field_errors *fe, const struct path *p, const struct json *spec) {
        struct str name = TEXT(spec, "externalName");

        if (str_has_suffix(name, STR(".")))
                name.n--;
        if (str_empty(name))
                field_required(fe, PATH(p, "externalName"), "");
        else
                check_field(fe, PATH(p, "externalName"), name, check_dns_subdomain);
        if (!str_empty(TEXT(spec, "clusterIP")) && !str_eqc(TEXT(spec, "clusterIP"), "None"))
                field_forbidden(fe, PATH(p, "clusterIPs"), "may not be set when `type` is ExternalName");
}

void validate_service(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec");
        const struct json *timeout = json_at_path(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds");
        struct str type = TEXT(spec, "type"), ip = TEXT(spec, "clusterIP"), was = TEXT(before, "clusterIP");
        bool headless = str_eqc(ip, "None");
        size_t i = 0;

        if (str_eqc(type, "ExternalName")) {
                validate_external_name(fe, p, spec);
        } else {
                if (json_len(GET(spec, "ports")) == 0 && !headless)
                        field_required(fe, PATH(p, "ports"), "");
                if (!str_empty(ip) && !headless)
                        check_ip(fe, PATH(PATH(p, "clusterIPs"), "0"), ip);
        }
        if (headless && (str_eqc(type, "NodePort") || str_eqc(type, "LoadBalancer")))
                field_invalid(fe, PATH_INDEX(PATH(p, "clusterIPs"), 0), GET(spec, "clusterIP"),
                              "may not be set to 'None' for %s services",
                              str_eqc(type, "NodePort") ? "NodePort" : "LoadBalancer");
        validate_service_ports(fe, p, spec);
        validate_labels(fe, PATH(p, "selector"), GET(spec, "selector"));
        json_each_item(e, GET(spec, "externalIPs"))
                check_ip(fe, PATH_INDEX(PATH(p, "externalIPs"), i++), json_str(e));
        if (timeout && (json_int(timeout) <= 0 || json_int(timeout) > 86400))
                field_invalid(fe, PATH(PATH(PATH(p, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds"), timeout,
                              "must be greater than 0 and less than 86400");
        if (str_eqc(TEXT(spec, "externalTrafficPolicy"), "Local") && !str_eqc(type, "NodePort") &&
            !str_eqc(type, "LoadBalancer"))
                field_invalid(fe, PATH(p, "externalTrafficPolicy"), GET(spec, "externalTrafficPolicy"),
                              "may only be set for externally-accessible services");
        if (old && !str_eqc(type, "ExternalName") && !str_eqc(TEXT(before, "type"), "ExternalName") &&
            !str_empty(was) && !str_eq(was, ip)) {
                field_invalid(fe, PATH_INDEX(PATH(p, "clusterIPs"), 0), GET(spec, "clusterIPs"),
                              "may not change once set");
        }
}

void validate_endpoints(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(NULL, "subsets");
        static const char *const addresses[] = { "addresses", "notReadyAddresses" };
        size_t i = 0;

        json_each_item(s, GET(obj, "subsets")) {
                const struct path *p = PATH_INDEX(list, i++), *ports = PATH(p, "ports");
                size_t k = 0;

                if (json_len(GET(s, "addresses")) + json_len(GET(s, "notReadyAddresses")) == 0)
                        field_required(fe, p, "must specify `addresses` or `notReadyAddresses`");
                for (size_t l = 0; l < ARRAY_SIZE(addresses); l++) {
                        k = 0;
                        json_each_item(a, GET(s, addresses[l]))
                                check_ip(fe, PATH(PATH_INDEX(PATH(p, addresses[l]), k++), "ip"), TEXT(a, "ip"));
                }
                k = 0;
                json_each_item(port, GET(s, "ports")) {
                        const struct path *at = PATH_INDEX(ports, k++);

                        if (str_empty(TEXT(port, "name")) && json_len(GET(s, "ports")) > 1)
                                field_required(fe, PATH(at, "name"), "");
                        else if (!str_empty(TEXT(port, "name")))
                                check_field(fe, PATH(at, "name"), TEXT(port, "name"), check_dns_label);
                        check_port(fe, PATH(at, "port"), GET(port, "port"));
                }
        }
}

/* ---- nodes ---- */

void validate_node(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *taints = PATH(p, "taints");
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec");
        size_t i = 0;

        json_each_item(t, GET(spec, "taints")) {
                const struct path *at = PATH_INDEX(taints, i);

                check_field(fe, PATH(at, "key"), TEXT(t, "key"), check_qualified_name);
                check_field(fe, PATH(at, "value"), TEXT(t, "value"), check_label_value);
                if (str_empty(TEXT(t, "effect")))
                        field_required(fe, PATH(at, "effect"), "");
                for (size_t k = 0; k < i; k++) {
                        const struct json *o = json_item(GET(spec, "taints"), k);

                        if (str_eq(TEXT(o, "key"), TEXT(t, "key")) && str_eq(TEXT(o, "effect"), TEXT(t, "effect")))
                                field_duplicate(fe, at, TEXT(t, "key"));
                }
                i++;
        }
        if (old && !str_empty(TEXT(before, "podCIDR")) && !str_eq(TEXT(before, "podCIDR"), TEXT(spec, "podCIDR")))
                field_forbidden(fe, PATH(p, "podCIDRs"),
                                "node updates may not change podCIDR except from \"\" to valid");
        if (old && !str_empty(TEXT(before, "providerID")) &&
            !str_eq(TEXT(before, "providerID"), TEXT(spec, "providerID")))
                field_forbidden(fe, PATH(p, "providerID"),
                                "node updates may not change providerID except from \"\" to valid");
}

/* ---- ConfigMap and Secret ---- */

#define MAX_SECRET_SIZE (1024 * 1024)

/* An object marked immutable keeps its data, and the mark. */
static bool check_data_immutable(struct field_errors *fe, const struct json *obj, const struct json *old,
                                 const char *const *fields) {
        if (!json_bool(GET(old, "immutable")))
                return true;
        if (!json_bool(GET(obj, "immutable")))
                field_forbidden(fe, PATH(NULL, "immutable"), "field is immutable when `immutable` is set");
        for (; *fields; fields++) {
                const struct json *a = GET(obj, *fields), *b = GET(old, *fields);

                if ((json_len(a) || json_len(b)) && (!a || !b || !json_equal(a, b)))
                        field_forbidden(fe, PATH(NULL, *fields), "field is immutable when `immutable` is set");
        }
        return false;
}

void validate_config_map(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const fields[] = { "data", "binaryData", NULL };
        size_t total = 0;

        for (size_t i = 0; i < 2; i++)
                json_each_member(m, GET(obj, fields[i])) {
                        const struct path *p = PATH_KEY(PATH(NULL, fields[i]), json_key(m));

                        check_field(fe, p, json_key(m), check_config_key);
                        if (i == 1 && json_get(GET(obj, "data"), json_key(m)))
                                field_invalid_str(fe, p, json_key(m), "duplicate of key present in data");
                        total += i == 0 ? json_str(&m->value).n : json_str(&m->value).n / 4 * 3;
                }
        if (total > MAX_SECRET_SIZE)
                field_too_long(fe, NULL, MAX_SECRET_SIZE);
        if (old)
                check_data_immutable(fe, obj, old, fields);
}

static void require_key(struct field_errors *fe, const struct json *data, const char *key) {
        if (!GET(data, key))
                field_required(fe, PATH_KEY(PATH(NULL, "data"), str_of(key)), "");
}

static void validate_docker_config(struct field_errors *fe, const struct json *data, const char *key) {
        const struct json *v = GET(data, key);
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j;

        if (!v) {
                require_key(fe, data, key);
        } else if (base64_decode(&b, json_str(v)) < 0 || json_parse(fe->a, buf_str(&b), NULL, &j, &e) < 0) {
                field_invalid_str(fe, PATH_KEY(PATH(NULL, "data"), str_of(key)), STR("<secret contents redacted>"),
                                  "%s", error_text(&e));
        }
}

void validate_secret(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const fields[] = { "data", NULL };
        const struct json *data = GET(obj, "data");
        struct str type = TEXT(obj, "type");
        size_t total = 0;

        json_each_member(m, data) {
                check_field(fe, PATH_KEY(PATH(NULL, "data"), json_key(m)), json_key(m), check_config_key);
                total += json_str(&m->value).n / 4 * 3;
        }
        if (total > MAX_SECRET_SIZE)
                field_too_long(fe, PATH(NULL, "data"), MAX_SECRET_SIZE);
        if (old) {
                if (!str_eq(type, TEXT(old, "type")))
                        field_invalid_str(fe, PATH(NULL, "type"), type, "field is immutable");
                check_data_immutable(fe, obj, old, fields);
        }
        if (str_eqc(type, "kubernetes.io/service-account-token")) {
                if (str_empty(json_str(json_at_path(obj, "metadata", "annotations",
                                                    "kubernetes.io/service-account.name"))))
                        field_required(fe,
                                       PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"),
                                                STR("kubernetes.io/service-account.name")),
                                       "");
        } else if (str_eqc(type, "kubernetes.io/dockercfg")) {
                validate_docker_config(fe, data, ".dockercfg");
        } else if (str_eqc(type, "kubernetes.io/dockerconfigjson")) {
                validate_docker_config(fe, data, ".dockerconfigjson");
        } else if (str_eqc(type, "kubernetes.io/basic-auth")) {
                if (!GET(data, "username") && !GET(data, "password")) {
                        require_key(fe, data, "username");
                        require_key(fe, data, "password");
                }
        } else if (str_eqc(type, "kubernetes.io/ssh-auth")) {
                if (json_str(GET(data, "ssh-privatekey")).n == 0)
                        require_key(fe, NULL, "ssh-privatekey");
        } else if (str_eqc(type, "kubernetes.io/tls")) {
                require_key(fe, data, "tls.crt");
                require_key(fe, data, "tls.key");
        }
}

/* ---- volumes ---- */

static void validate_access_modes(struct field_errors *fe, const struct path *p, const struct json *spec) {
        bool pod = false;

        if (json_len(GET(spec, "accessModes")) == 0)
                field_required(fe, PATH(p, "accessModes"), "at least 1 access mode is required");
        json_each_item(m, GET(spec, "accessModes"))
                pod = pod || str_eqc(json_str(m), "ReadWriteOncePod");
        if (pod && json_len(GET(spec, "accessModes")) > 1)
                field_forbidden(fe, PATH(p, "accessModes"), "may not use ReadWriteOncePod with other access modes");
}

static void validate_storage(struct field_errors *fe, const struct path *p, const struct json *map) {
        const struct json *v = GET(map, "storage");

        if (!v)
                field_required(fe, PATH_KEY(p, STR("storage")), "");
        else if (quantity_of_json(v).nano <= 0)
                field_invalid(fe, PATH_KEY(p, STR("storage")), v, "must be greater than zero");
}

void validate_pvc(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const mutable[] = { "resources", "volumeName", "volumeAttributesClassName" };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec");

        if (!old) {
                validate_access_modes(fe, p, spec);
                validate_storage(fe, PATH(PATH(p, "resources"), "requests"),
                                 json_at_path(spec, "resources", "requests"));
                if (!str_empty(TEXT(spec, "storageClassName")))
                        check_field(fe, PATH(p, "storageClassName"), TEXT(spec, "storageClassName"),
                                    check_dns_subdomain);
                return;
        }
        struct json a = json_copy_shallow(fe->a, spec), b = json_copy_shallow(fe->a, before);

        for (size_t i = 0; i < ARRAY_SIZE(mutable); i++) {
                json_removec(&a, mutable[i]);
                json_removec(&b, mutable[i]);
        }
        if (!json_equal(&a, &b) ||
            (!str_empty(TEXT(before, "volumeName")) && !str_eq(TEXT(before, "volumeName"), TEXT(spec, "volumeName"))))
                field_forbidden(fe, p,
                                "spec is immutable after creation except resources.requests and "
                                "volumeAttributesClassName for bound claims");
        else if (quantity_cmp(quantity_of_json(json_at_path(spec, "resources", "requests", "storage")),
                              quantity_of_json(json_at_path(before, "resources", "requests", "storage"))) < 0)
                field_forbidden(fe, PATH(PATH(PATH(p, "resources"), "requests"), "storage"),
                                "field can not be less than previous value");
}

void validate_pv(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const not_sources[] = {
                "capacity",     "accessModes", "claimRef",     "persistentVolumeReclaimPolicy", "storageClassName",
                "mountOptions", "volumeMode",  "nodeAffinity", "volumeAttributesClassName"
        };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");
        size_t sources = 0;

        validate_access_modes(fe, p, spec);
        validate_storage(fe, PATH(p, "capacity"), GET(spec, "capacity"));
        json_each_member(m, spec) {
                bool other = false;

                for (size_t i = 0; i < ARRAY_SIZE(not_sources); i++)
                        other = other || str_eqc(json_key(m), not_sources[i]);
                if (!other && sources++ > 0)
                        field_forbidden(fe, PATH(p, "volume"), "may not specify more than 1 volume type");
        }
        if (sources == 0)
                field_required(fe, p, "must specify a volume type");
        if (json_at_path(spec, "hostPath") && str_empty(json_str(json_at_path(spec, "hostPath", "path"))))
                field_required(fe, PATH(PATH(p, "hostPath"), "path"), "");
        if (GET(spec, "local") && !GET(spec, "nodeAffinity"))
                field_required(fe, PATH(p, "nodeAffinity"), "Local volume requires node affinity");
}
