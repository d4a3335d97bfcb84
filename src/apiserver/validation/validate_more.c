/* The other groups: networking, policy, autoscaling, RBAC, coordination, discovery, storage, scheduling, node,
 * certificates. */
#include <arpa/inet.h>

#include "apiserver/validation/validate.h"

#define GET(o, k) json_getc((o), (k))
#define TEXT(o, k) json_str(json_getc((o), (k)))

static void require_text(struct field_errors *fe, const struct path *p, const struct json *o, const char *key) {
        if (str_empty(TEXT(o, key)))
                field_required(fe, PATH(p, key), "");
}

/* ---- Ingress ---- */

static void validate_backend(struct field_errors *fe, const struct path *p, const struct json *backend) {
        const struct json *service = GET(backend, "service"), *port = GET(service, "port");
        const struct path *at = PATH(p, "service");

        if (GET(backend, "resource")) {
                if (service)
                        field_invalid_str(fe, p, STR(""), "cannot set both resource and service backends");
                return;
        }
        if (!service) {
                field_required(fe, p, "must specify either a `service` or `resource` backend");
                return;
        }
        if (str_empty(TEXT(service, "name")))
                field_required(fe, PATH(at, "name"), "");
        else
                check_field(fe, PATH(at, "name"), TEXT(service, "name"), check_dns1035_label);
        if (!str_empty(TEXT(port, "name")) && json_int(GET(port, "number")) != 0)
                field_invalid_str(fe, at, STR(""), "cannot set both port name & port number");
        else if (!str_empty(TEXT(port, "name")))
                check_field(fe, PATH(PATH(at, "port"), "name"), TEXT(port, "name"), check_port_name);
        else if (json_int(GET(port, "number")) != 0)
                check_port(fe, PATH(PATH(at, "port"), "number"), GET(port, "number"));
        else
                field_required(fe, at, "port name or number is required");
}

static void validate_host(struct field_errors *fe, const struct path *p, struct str host) {
        struct in_addr in;
        char text[INET_ADDRSTRLEN] = "";

        if (str_empty(host))
                return;
        if (host.n < sizeof(text))
                memcpy(text, host.p, host.n);
        if (inet_pton(AF_INET, text, &in) == 1)
                field_invalid_str(fe, p, host, "must be a DNS name, not an IP address");
        else if (str_has_prefix(host, STR("*.")))
                check_field(fe, p, str_sub(host, 2, host.n), check_dns_subdomain);
        else
                check_field(fe, p, host, check_dns_subdomain);
}

void validate_ingress(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *spec_path = PATH(NULL, "spec"), *rules = PATH(spec_path, "rules");
        const struct json *spec = GET(obj, "spec");
        size_t i = 0;

        if (json_len(GET(spec, "rules")) == 0 && !GET(spec, "defaultBackend"))
                field_invalid(fe, spec_path, GET(spec, "rules"),
                              "either `defaultBackend` or `rules` must be specified");
        if (GET(spec, "defaultBackend"))
                validate_backend(fe, PATH(spec_path, "defaultBackend"), GET(spec, "defaultBackend"));
        if (!str_empty(TEXT(spec, "ingressClassName")))
                check_field(fe, PATH(spec_path, "ingressClassName"), TEXT(spec, "ingressClassName"),
                            check_dns_subdomain);
        json_each_item(rule, GET(spec, "rules")) {
                const struct path *p = PATH_INDEX(rules, i++), *paths = PATH(PATH(p, "http"), "paths");
                size_t k = 0;

                validate_host(fe, PATH(p, "host"), TEXT(rule, "host"));
                if (GET(rule, "http") && json_len(json_at_path(rule, "http", "paths")) == 0)
                        field_required(fe, paths, "");
                json_each_item(path, json_at_path(rule, "http", "paths")) {
                        const struct path *at = PATH_INDEX(paths, k++);
                        struct str text = TEXT(path, "path");

                        if (str_empty(TEXT(path, "pathType")))
                                field_required(fe, PATH(at, "pathType"), "pathType must be specified");
                        if (!str_has_prefix(text, STR("/")) &&
                            (!str_empty(text) || !str_eqc(TEXT(path, "pathType"), "ImplementationSpecific")))
                                field_invalid_str(fe, PATH(at, "path"), text, "must be an absolute path");
                        validate_backend(fe, PATH(at, "backend"), GET(path, "backend"));
                }
        }
}

void validate_ingress_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        if (old)
                check_immutable(fe, PATH(PATH(NULL, "spec"), "controller"), json_at_path(obj, "spec", "controller"),
                                json_at_path(old, "spec", "controller"));
}

/* ---- NetworkPolicy ---- */

static void validate_peers(struct field_errors *fe, const struct path *p, const struct json *peers) {
        size_t i = 0;

        json_each_item(peer, peers) {
                const struct path *at = PATH_INDEX(p, i++);
                const struct json *block = GET(peer, "ipBlock");
                bool selectors = GET(peer, "podSelector") || GET(peer, "namespaceSelector");

                if (!block && !selectors)
                        field_required(fe, at, "must specify a peer");
                else if (block && selectors)
                        field_forbidden(fe, at, "may not specify both ipBlock and another peer");
                validate_label_selector(fe, PATH(at, "podSelector"), GET(peer, "podSelector"));
                validate_label_selector(fe, PATH(at, "namespaceSelector"), GET(peer, "namespaceSelector"));
        }
}

static void validate_policy_ports(struct field_errors *fe, const struct path *p, const struct json *ports) {
        size_t i = 0;

        json_each_item(port, ports) {
                const struct path *at = PATH_INDEX(p, i++);

                if (GET(port, "port"))
                        check_port_or_name(fe, PATH(at, "port"), GET(port, "port"));
                if (GET(port, "endPort") && !GET(port, "port"))
                        field_required(fe, PATH(at, "port"), "must be specified when `endPort` is specified");
                else if (GET(port, "endPort") && json_int(GET(port, "endPort")) < json_int(GET(port, "port")))
                        field_invalid(fe, PATH(at, "endPort"), GET(port, "endPort"),
                                      "must be greater than or equal to `port`");
        }
}

void validate_network_policy(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const directions[][2] = { { "ingress", "from" }, { "egress", "to" } };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        validate_label_selector(fe, PATH(p, "podSelector"), GET(spec, "podSelector"));
        for (size_t d = 0; d < ARRAY_SIZE(directions); d++) {
                const struct path *list = PATH(p, directions[d][0]);
                size_t i = 0;

                json_each_item(rule, GET(spec, directions[d][0])) {
                        const struct path *at = PATH_INDEX(list, i++);

                        validate_policy_ports(fe, PATH(at, "ports"), GET(rule, "ports"));
                        validate_peers(fe, PATH(at, directions[d][1]), GET(rule, directions[d][1]));
                }
        }
        if (json_len(GET(spec, "policyTypes")) > 2)
                field_invalid(fe, PATH(p, "policyTypes"), GET(spec, "policyTypes"),
                              "may not specify more than two policyTypes");
}

/* ---- policy, autoscaling ---- */

void validate_pdb(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        if (GET(spec, "minAvailable") && GET(spec, "maxUnavailable"))
                field_invalid(fe, p, spec, "minAvailable and maxUnavailable cannot be both set");
        check_int_or_percent(fe, PATH(p, "minAvailable"), GET(spec, "minAvailable"));
        check_int_or_percent(fe, PATH(p, "maxUnavailable"), GET(spec, "maxUnavailable"));
        validate_label_selector(fe, PATH(p, "selector"), GET(spec, "selector"));
}

void validate_hpa(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *ref = PATH(p, "scaleTargetRef");
        const struct json *spec = GET(obj, "spec"), *min = GET(spec, "minReplicas"), *max = GET(spec, "maxReplicas");

        if (json_is(min, JSON_INT) && min->i < 1)
                field_invalid(fe, PATH(p, "minReplicas"), min, "must be greater than or equal to 1");
        if (json_int(max) < 1)
                field_invalid(fe, PATH(p, "maxReplicas"), max, "must be greater than 0");
        if (json_is(min, JSON_INT) && json_int(max) < min->i)
                field_invalid(fe, PATH(p, "maxReplicas"), max, "must be greater than or equal to `minReplicas`");
        require_text(fe, ref, GET(spec, "scaleTargetRef"), "kind");
        require_text(fe, ref, GET(spec, "scaleTargetRef"), "name");
}

/* ---- RBAC ---- */

void validate_role(struct field_errors *fe, const struct json *obj, const struct json *old) {
        bool namespaced = !str_empty(json_str(json_at_path(obj, "metadata", "namespace")));
        const struct path *rules = PATH(NULL, "rules");
        size_t i = 0;

        json_each_item(rule, GET(obj, "rules")) {
                const struct path *p = PATH_INDEX(rules, i++);
                bool urls = json_len(GET(rule, "nonResourceURLs")) > 0;

                if (json_len(GET(rule, "verbs")) == 0)
                        field_required(fe, PATH(p, "verbs"), "verbs must contain at least one value");
                if (urls && namespaced)
                        field_invalid(fe, PATH(p, "nonResourceURLs"), GET(rule, "nonResourceURLs"),
                                      "namespaced rules cannot apply to non-resource URLs");
                if (urls && (json_len(GET(rule, "apiGroups")) > 0 || json_len(GET(rule, "resources")) > 0))
                        field_invalid(fe, PATH(p, "nonResourceURLs"), GET(rule, "nonResourceURLs"),
                                      "rules cannot apply to both regular resources and non-resource URLs");
                if (urls)
                        continue;
                if (json_len(GET(rule, "apiGroups")) == 0)
                        field_required(fe, PATH(p, "apiGroups"), "resource rules must supply at least one api group");
                if (json_len(GET(rule, "resources")) == 0)
                        field_required(fe, PATH(p, "resources"), "resource rules must supply at least one resource");
        }
}

void validate_binding(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const role_kinds[] = { "Role", "ClusterRole", NULL }, *const cluster_kinds[] = {
                "ClusterRole", NULL
        };
        static const char *const subject_kinds[] = { "ServiceAccount", "User", "Group", NULL };
        bool namespaced = !str_empty(json_str(json_at_path(obj, "metadata", "namespace")));
        const struct path *p = PATH(NULL, "roleRef"), *subjects = PATH(NULL, "subjects");
        const struct json *ref = GET(obj, "roleRef");
        size_t i = 0;

        if (old && !json_equal(ref, GET(old, "roleRef"))) {
                field_invalid(fe, p, ref, "cannot change roleRef");
                return;
        }
        check_enum(fe, PATH(p, "kind"), TEXT(ref, "kind"), namespaced ? role_kinds : cluster_kinds);
        require_text(fe, p, ref, "name");
        json_each_item(s, GET(obj, "subjects")) {
                const struct path *at = PATH_INDEX(subjects, i++);

                require_text(fe, at, s, "name");
                check_enum(fe, PATH(at, "kind"), TEXT(s, "kind"), subject_kinds);
                if (str_eqc(TEXT(s, "kind"), "ServiceAccount") && str_empty(TEXT(s, "namespace")) && !namespaced)
                        field_required(fe, PATH(at, "namespace"), "");
        }
}

/* ---- coordination, discovery ---- */

void validate_lease(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        check_positive(fe, PATH(p, "leaseDurationSeconds"), GET(spec, "leaseDurationSeconds"));
        check_nonnegative(fe, PATH(p, "leaseTransitions"), GET(spec, "leaseTransitions"));
}

#define MAX_ENDPOINTS 1000
#define MAX_ADDRESSES 100
#define MAX_PORTS 20000

void validate_endpoint_slice(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(NULL, "endpoints"), *ports = PATH(NULL, "ports");
        const struct json *type = GET(obj, "addressType");
        size_t i = 0;

        if (str_empty(json_str(type)))
                field_required(fe, PATH(NULL, "addressType"), "");
        if (old)
                check_immutable(fe, PATH(NULL, "addressType"), type, GET(old, "addressType"));
        if (json_len(GET(obj, "endpoints")) > MAX_ENDPOINTS)
                field_too_many(fe, list, json_len(GET(obj, "endpoints")), MAX_ENDPOINTS);
        if (json_len(GET(obj, "ports")) > MAX_PORTS)
                field_too_many(fe, ports, json_len(GET(obj, "ports")), MAX_PORTS);
        json_each_item(e, GET(obj, "endpoints")) {
                const struct path *p = PATH_INDEX(list, i++);
                size_t n = json_len(GET(e, "addresses"));

                if (n > MAX_ADDRESSES)
                        field_too_many(fe, PATH(p, "addresses"), n, MAX_ADDRESSES);
        }
}

/* ---- storage ---- */

void validate_storage_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        if (str_empty(TEXT(obj, "provisioner")))
                field_required(fe, PATH(NULL, "provisioner"), "");
        if (!old)
                return;
        if (!str_eq(TEXT(obj, "provisioner"), TEXT(old, "provisioner")))
                field_forbidden(fe, PATH(NULL, "provisioner"), "updates to provisioner are forbidden.");
        if (json_len(GET(obj, "parameters")) + json_len(GET(old, "parameters")) > 0 &&
            (!GET(obj, "parameters") || !GET(old, "parameters") ||
             !json_equal(GET(obj, "parameters"), GET(old, "parameters"))))
                field_forbidden(fe, PATH(NULL, "parameters"), "updates to parameters are forbidden.");
        if (!str_eq(TEXT(obj, "reclaimPolicy"), TEXT(old, "reclaimPolicy")))
                field_forbidden(fe, PATH(NULL, "reclaimPolicy"), "updates to reclaimPolicy are forbidden.");
        check_immutable(fe, PATH(NULL, "volumeBindingMode"), GET(obj, "volumeBindingMode"),
                        GET(old, "volumeBindingMode"));
}
