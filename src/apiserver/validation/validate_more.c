/* The other groups: networking, policy, autoscaling, RBAC, coordination, discovery. */
#include <arpa/inet.h>
#include <ctype.h>

#include "base/map.h"
#include "apiserver/validation/validate.h"
#include "schema/quantity.h"
#include "schema/selector.h"
#include "schema/types.h"

/* A kind, name or resource of something else. */
CHECK(check_segment, const struct json *o, const char *key, const char *detail) {
        if (str_empty(TEXT(o, key)))
                field_required(fe, PATH(p, key), detail);
        else
                check_field(fe, PATH(p, key), TEXT(o, key), check_path_segment);
}

static void check_typed_reference(struct field_errors *fe, const struct path *p, const struct json *o) {
        if (json_is(GET(o, "apiGroup"), JSON_STRING))
                check_field(fe, PATH(p, "apiGroup"), TEXT(o, "apiGroup"), check_dns_subdomain);
        check_segment(fe, p, o, "kind", "kind is required");
        check_segment(fe, p, o, "name", "name is required");
}

static void validate_backend(struct field_errors *fe, const struct path *p, const struct json *backend) {
        const struct json *service = GET(backend, "service"), *port = GET(service, "port");
        const struct path *at = PATH(p, "service");

        if (GET(backend, "resource")) {
                if (service)
                        field_invalid_str(fe, p, STR(""), "cannot set both resource and service backends");
                else
                        TELL_AT(PATH(p, "resource"),
                                check_typed_reference(fe, PATH(p, "resource"), GET(backend, "resource")));
                return;
        }
        if (!service)
                return field_invalid_str(fe, p, STR(""), "resource or service backend is required");
        check_needed(fe, at, service, "name", "", check_dns1035_label);
        if (!str_empty(TEXT(port, "name")) && json_int(GET(port, "number")) != 0)
                field_invalid_str(fe, p, STR(""), "cannot set both port name & port number");
        else if (!str_empty(TEXT(port, "name")))
                check_field(fe, PATH(PATH(at, "port"), "name"), TEXT(port, "name"), check_port_name);
        else if (json_int(GET(port, "number")) != 0)
                check_port(fe, PATH(PATH(at, "port"), "number"), GET(port, "number"));
        else
                field_required(fe, p, "port name or number is required");
}

#define WILDCARD_MSG                                                                                                 \
        "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist " \
        "of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "            \
        "'*.example.com', regex used for validation is "                                                             \
        "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"

static void validate_dns_host(struct field_errors *fe, const struct path *p, struct str host) {
        const char *messages[MAX_MESSAGES];

        if (str_find(host, '*') < 0)
                check_field(fe, p, host, check_dns_subdomain);
        else if (!str_has_prefix(host, STR("*.")) || check_dns_subdomain(str_sub(host, 2, host.n), messages) > 0)
                field_invalid_str(fe, p, host, WILDCARD_MSG);
}

static void validate_host(struct field_errors *fe, const struct path *p, struct str host) {
        uint8_t b[16];

        if (str_empty(host))
                return;
        INVALID_STR_IF(parse_ip(host, b), p, host, "must be a DNS name, not an IP address");
        validate_dns_host(fe, p, host);
}

static void validate_http_path(struct field_errors *fe, const struct path *p, const struct json *path) {
        static const char *const parts[] = { "//", "/./", "/../", "%2f", "%2F" }, *const ends[] = { "/..", "/." };
        static const char *const types[] = { "Exact", "ImplementationSpecific", "Prefix", NULL };
        const struct path *at = PATH(p, "path");
        struct str text = TEXT(path, "path"), type = TEXT(path, "pathType");
        bool open = !str_eqc(type, "Exact") && !str_eqc(type, "Prefix");

        if (!json_is(GET(path, "pathType"), JSON_STRING))
                return field_required(fe, PATH(p, "pathType"), "pathType must be specified");
        if (check_enum(fe, PATH(p, "pathType"), type, types) && !str_has_prefix(text, STR("/")) &&
            (!open || !str_empty(text)))
                field_invalid_str(fe, at, text, "must be an absolute path");
        for (size_t i = 0; !open && i < ARRAY_SIZE(parts); i++)
                INVALID_STR_IF(str_search(text, str_of(parts[i])) >= 0, at, text, "must not contain '%s'", parts[i]);
        for (size_t i = 0; !open && i < ARRAY_SIZE(ends); i++)
                INVALID_STR_IF(str_has_suffix(text, str_of(ends[i])), at, text, "cannot end with '%s'", ends[i]);
        validate_backend(fe, PATH(p, "backend"), GET(path, "backend"));
}

static void validate_tls(struct field_errors *fe, const struct path *list, const struct json *tls) {
        each_at(t, p, list, tls) {
                const struct path *hosts = PATH(p, "hosts");

                each_at(host, at, hosts, GET(t, "hosts"))
                        validate_dns_host(fe, at, json_str(host));
                check_given(fe, p, t, "secretName", check_dns_subdomain);
        }
}

void validate_ingress(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *spec_path = PATH(NULL, "spec"), *rules = PATH(spec_path, "rules");
        const struct json *spec = GET(obj, "spec"),
                          *class = json_at_path(obj, "metadata", "annotations", "kubernetes.io/ingress.class");

        if (json_len(GET(spec, "rules")) == 0 && !GET(spec, "defaultBackend"))
                field_invalid(fe, spec_path, json_new(fe->a, json_of_raw(STR("[]networking.IngressRule(nil)"))),
                              "either `defaultBackend` or `rules` must be specified");
        if (GET(spec, "defaultBackend"))
                validate_backend(fe, PATH(spec_path, "defaultBackend"), GET(spec, "defaultBackend"));
        if (GET(spec, "ingressClassName"))
                check_field(fe, PATH(spec_path, "ingressClassName"), TEXT(spec, "ingressClassName"),
                            check_dns_subdomain);
        each_at(rule, p, rules, GET(spec, "rules")) {
                const struct path *paths = PATH(PATH(p, "http"), "paths");

                validate_host(fe, PATH(p, "host"), TEXT(rule, "host"));
                REQUIRED_IF(GET(rule, "http") && json_len(json_at_path(rule, "http", "paths")) == 0, paths, "");
                each_at(path, at, paths, json_at_path(rule, "http", "paths"))
                        validate_http_path(fe, at, path);
        }
        validate_tls(fe, PATH(spec_path, "tls"), GET(spec, "tls"));
        fe->phase = 1;
        if (!old && class && GET(spec, "ingressClassName") && !json_equal(class, GET(spec, "ingressClassName")))
                field_invalid(fe, PATH(PATH(NULL, "annotations"), "kubernetes.io/ingress.class"), class,
                              "must match `ingressClassName` when both are specified");
}

static void validate_class_parameters(struct field_errors *fe, const struct path *p, const struct json *o) {
        const struct json *ns = GET(o, "namespace");
        struct str scope = TEXT(o, "scope");

        check_typed_reference(fe, p, o);
        if (!check_enum(fe, PATH(p, "scope"), scope, WORDS("Cluster", "Namespace")))
                return;
        if (str_eqc(scope, "Cluster") && ns)
                field_forbidden(fe, PATH(p, "namespace"), "`parameters.scope` is set to 'Cluster'");
        else if (str_eqc(scope, "Namespace") && !ns)
                field_required(fe, PATH(p, "namespace"), "`parameters.scope` is set to 'Namespace'");
        else if (ns)
                check_field(fe, PATH(p, "namespace"), json_str(ns), check_dns_label);
}

void validate_ingress_class(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *spec_path = PATH(NULL, "spec"), *p = PATH(spec_path, "controller");
        const struct json *spec = GET(obj, "spec");
        struct str controller = TEXT(spec, "controller");

        fe->phase -= 2;
        if (old)
                check_immutable(fe, p, GET(spec, "controller"), json_at_path(old, "spec", "controller"));
        fe->phase += 2;
        check_length_of(fe, p, controller.n, 250);
        check_domain_path(fe, p, controller);
        if (GET(spec, "parameters"))
                validate_class_parameters(fe, PATH(spec_path, "parameters"), GET(spec, "parameters"));
}

/* ---- addresses ---- */

/* Addresses, and prefixes, of kinds that are new enough to have them written in one way only. */
CHECK(check_canonical, struct str s, bool prefix) {
        char text[INET6_ADDRSTRLEN] = "", good[INET6_ADDRSTRLEN];
        bool v6 = str_find(s, ':') >= 0, masked = true;
        struct str rest = s, ip = s;
        size_t before = fe->list.n;
        uint8_t b[16], strict[16];
        int64_t bits = 0;

        (prefix ? check_cidr : check_ip)(fe, p, s);
        if (fe->list.n > before)
                return;
        if (prefix && str_split(&rest, '/', &ip))
                str_to_i64(rest, &bits);
        memcpy(text, ip.p, MIN(ip.n, sizeof(text) - 1));
        if (inet_pton(v6 ? AF_INET6 : AF_INET, text, strict) != 1 || (prefix && rest.n > 1 && rest.p[0] == '0'))
                return field_invalid_str(fe, p, s, "must not have leading 0s%s",
                                         prefix ? " in IP or prefix length" : "");
        if (v6 && parse_ip(ip, b) == 4)
                return field_invalid_str(fe, p, s, "must not %s an IPv4-mapped IPv6 address", prefix ? "have" : "be");
        for (int64_t i = bits; prefix && i < (v6 ? 128 : 32); i++)
                masked = masked && !(strict[i / 8] & (0x80 >> (i % 8)));
        if (!masked)
                return field_invalid_str(fe, p, s, "must not have bits set beyond the prefix length");
        inet_ntop(v6 ? AF_INET6 : AF_INET, strict, good, sizeof(good));
        INVALID_STR_IF(!str_eqc(ip, good), p, s,
                       prefix ? "must be in canonical form (\"%s/%lld\")" : "must be in canonical form (\"%s\")", good,
                       (long long) bits);
}

void validate_ip_address(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(PATH(NULL, "spec"), "parentRef");
        const struct json *ref = json_at_path(obj, "spec", "parentRef");

        if (old)
                check_immutable(fe, p, ref, json_at_path(old, "spec", "parentRef"));
        fe->phase = -1; /* before the rest of metadata */
        each_word(key, "generateName", "name")
                if (!str_empty(json_str(json_at_path(obj, "metadata", key))))
                        check_canonical(fe, PATH(PATH(NULL, "metadata"), key),
                                        json_str(json_at_path(obj, "metadata", key)), false);
        fe->phase = 0;
        if (!ref)
                return field_required(fe, p, "");
        fe->at = p;
        check_given(fe, p, ref, "group", check_dns_subdomain);
        check_segment(fe, p, ref, "resource", "");
        check_segment(fe, p, ref, "name", "");
        if (!str_empty(TEXT(ref, "namespace")))
                check_segment(fe, p, ref, "namespace", "");
        fe->at = NULL;
}

/* 4, 6, or 0: it is no range. */
static int family_of(const struct json *cidr) {
        struct str rest = json_str(cidr), ip = STR("");
        int64_t bits;
        uint8_t b[16];

        if (!str_split(&rest, '/', &ip) || str_empty(rest) || !isdigit((unsigned char) rest.p[0]) ||
            str_to_i64(rest, &bits) < 0)
                return 0;
        int family = parse_ip(ip, b);
        return bits <= (family == 4 ? 32 : 128) ? family : 0;
}

/* The ranges stay; one of the other family may be added. */
void validate_service_cidr(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(PATH(NULL, "spec"), "cidrs");
        const struct json *list = json_at_path(obj, "spec", "cidrs"), *before = json_at_path(old, "spec", "cidrs");
        size_t n = json_len(list), had = json_len(before);

        if (old && n != had && (had != 1 || n != 2))
                return field_invalid(fe, p, list, "field is immutable");
        for (size_t i = 0; i < had; i++)
                INVALID_IF(!json_equal(json_item(list, i), json_item(before, i)), PATH_INDEX(p, i), json_item(list, i),
                           "field is immutable");
        if (old && n == had)
                return;
        if (n == 0)
                return field_required(fe, p, "at least one CIDR required");
        if (n > 2)
                return field_invalid(fe, p, GET(obj, "spec"), "may only hold up to 2 values");
        each_at(cidr, at, p, list)
                check_canonical(fe, at, json_str(cidr), true);
        INVALID_IF(n == 2 && family_of(json_item(list, 0)) &&
                                   family_of(json_item(list, 0)) == family_of(json_item(list, 1)),
                   p, list, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64");
}

static void validate_peers(struct field_errors *fe, const struct path *p, const struct json *peers) {
        each_at(peer, at, p, peers) {
                const struct json *block = GET(peer, "ipBlock");
                bool selectors = GET(peer, "podSelector") || GET(peer, "namespaceSelector");
                const struct path *block_path = PATH(at, "ipBlock");

                if (errors_at(fe, PATH(block_path, "cidr")))
                        forget_errors_at(fe, PATH(block_path, "except"));

                if (!block && !selectors)
                        field_required(fe, at, "must specify a peer");
                else if (block && selectors)
                        field_forbidden(fe, at, "may not specify both ipBlock and another peer");
                validate_label_selector(fe, PATH(at, "podSelector"), GET(peer, "podSelector"));
                validate_label_selector(fe, PATH(at, "namespaceSelector"), GET(peer, "namespaceSelector"));
        }
}

static void validate_policy_ports(struct field_errors *fe, const struct path *p, const struct json *ports) {
        each_at(port, at, p, ports) {
                const struct json *first = GET(port, "port"), *last = GET(port, "endPort");

                fe->at = at;
                if (json_is(first, JSON_INT))
                        check_port(fe, PATH(at, "port"), first);
                if (last && !json_is(first, JSON_INT))
                        field_invalid(fe, PATH(at, "endPort"), last, "may not be specified when `port` is %s",
                                      first ? "non-numeric" : "not specified");
                else if (last && json_int(last) < json_int(first))
                        field_invalid(fe, PATH(at, "endPort"), first, "must be greater than or equal to `port`");
                if (last && json_is(first, JSON_INT))
                        check_port(fe, PATH(at, "endPort"), last);
                if (json_is(first, JSON_STRING))
                        check_field(fe, PATH(at, "port"), json_str(first), check_port_name);
                fe->at = NULL;
        }
}

void validate_network_policy(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const directions[][2] = { { "ingress", "from" }, { "egress", "to" } };
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        validate_label_selector(fe, PATH(p, "podSelector"), GET(spec, "podSelector"));
        for (size_t d = 0; d < ARRAY_SIZE(directions); d++) {
                each_at(rule, at, PATH(p, directions[d][0]), GET(spec, directions[d][0])) {
                        validate_policy_ports(fe, PATH(at, "ports"), GET(rule, "ports"));
                        validate_peers(fe, PATH(at, directions[d][1]), GET(rule, directions[d][1]));
                }
        }
        if (json_len(GET(spec, "policyTypes")) > 2)
                return invalid_at(fe, p, spec, "policyTypes", "may not specify more than two policyTypes");
        each_at(type, at, PATH(p, "policyTypes"), GET(spec, "policyTypes"))
                check_enum(fe, at, json_str(type), WORDS("Ingress", "Egress"));
}

void validate_pdb(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec");
        const struct json *spec = GET(obj, "spec");

        if (GET(spec, "minAvailable") && GET(spec, "maxUnavailable"))
                field_invalid(fe, p, spec, "minAvailable and maxUnavailable cannot be both set");
        each_word(share, "minAvailable", "maxUnavailable") {
                check_int_or_percent(fe, PATH(p, share), GET(spec, share));
                check_not_above_all(fe, PATH(p, share), GET(spec, share));
        }
        validate_label_selector(fe, PATH(p, "selector"), GET(spec, "selector"));
}

/* Go's zero where there is none. */
static const struct json *number_of(struct arena *a, const struct json *v) {
        if (v)
                return v;
        struct json *zero = arena_alloc(a, sizeof(*zero));
        *zero = json_of_int(0);
        return zero;
}

static void check_target(struct field_errors *fe, const struct path *p, const struct json *target) {
        static const char *const types[] = { "Utilization", "Value", "AverageValue" };
        const struct json *percent = GET(target, "averageUtilization");
        struct str type = TEXT(target, "type");

        REQUIRED_IF(str_empty(type), PATH(p, "type"), "must specify a metric target type");
        if (!str_eqc(type, types[0]) && !str_eqc(type, types[1]) && !str_eqc(type, types[2]))
                field_invalid_str(fe, PATH(p, "type"), type, "must be either Utilization, Value, or AverageValue");
        each_word(word, "value", "averageValue")
                INVALID_IF(GET(target, word) && quantity_of_json(GET(target, word)).nano <= 0, PATH(p, word),
                           in_go(fe->a, SCHEMA_QUANTITY, GET(target, word)), "must be positive");
        check_positive(fe, PATH(p, "averageUtilization"), percent);
}

/* What each kind of metric needs of its target: one of two values, or the only one. */
static const struct source {
        const char *type, *field, *one, *other, *missing, *both; /* both: NULL where both may be */
        bool named;
} sources[] = {
        { "Object", "object", "averageValue", "value", "must set either a target value or averageValue" },
        { "External", "external", "averageValue", "value",
          "must set either a target value for metric or a per-pod target",
          "may not set both a target value for metric and a per-pod target" },
        { "Pods", "pods", "averageValue", "averageValue", "must specify a positive target averageValue" },
        { "Resource", "resource", "averageUtilization", "averageValue",
          "must set either a target raw value or a target utilization",
          "may not set both a target raw value and a target utilization", .named = true },
        { "ContainerResource", "containerResource", "averageUtilization", "averageValue",
          "must set either a target raw value or a target utilization",
          "may not set both a target raw value and a target utilization", .named = true },
};

static void validate_source(struct field_errors *fe, const struct path *p, const struct source *s,
                            const struct json *source) {
        const struct path *target_path = PATH(p, "target");
        const struct json *target = GET(source, "target");
        bool one = GET(target, s->one), other = GET(target, s->other);

        if (str_eqc(STR("object"), s->field)) {
                check_segment(fe, PATH(p, "describedObject"), GET(source, "describedObject"), "kind", "");
                check_segment(fe, PATH(p, "describedObject"), GET(source, "describedObject"), "name", "");
        }
        if (!s->named)
                check_segment(fe, PATH(p, "metric"), GET(source, "metric"), "name", "must specify a metric name");
        else if (str_empty(TEXT(source, "name")))
                field_required(fe, PATH(p, "name"), "must specify a resource name");
        else if (str_eqc(STR("containerResource"), s->field))
                check_resource_name(fe, PATH(p, "name"), TEXT(source, "name"), true);
        if (str_eqc(STR("containerResource"), s->field))
                check_needed(fe, p, source, "container", "must specify a container", check_dns_label);
        check_target(fe, target_path, target);
        REQUIRED_IF(!one && !other, PATH(target_path, s->one), s->missing);
        FORBIDDEN_IF(one && other && s->both, PATH(target_path, s->other), "%s", s->both);
}

static void validate_metric(struct field_errors *fe, const struct path *p, const struct json *metric) {
        static const char *const types[] = { "ContainerResource", "External", "Object", "Pods", "Resource", NULL };
        struct str type = TEXT(metric, "type");
        size_t n = 0;

        REQUIRED_IF(str_empty(type), PATH(p, "type"), "must specify a metric source type");
        REFUSE_IF(not_supported, !str_among(type, types), PATH(p, "type"), type, types);
        for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
                if (GET(metric, sources[i].field) && n++ == 0)
                        validate_source(fe, PATH(p, sources[i].field), &sources[i], GET(metric, sources[i].field));
        REFUSE_IF(not_supported, !str_among(type, types), PATH(p, "type"), type, types); /* said a second time */
        for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
                bool expected = str_eqc(type, sources[i].type), present = GET(metric, sources[i].field);

                REQUIRED_IF(expected && !present, PATH(p, sources[i].field),
                            "must populate information for the given metric source");
                if (!expected && present && n != 1)
                        field_forbidden(fe, PATH(p, sources[i].field), "must populate the given metric source only");
        }
}

#define MAX_WINDOW 3600
#define MAX_PERIOD 1800

static void validate_scaling(struct field_errors *fe, const struct path *p, const struct json *rules) {
        const struct path *list = PATH(p, "policies"), *window_path = PATH(p, "stabilizationWindowSeconds");
        const struct json *window = GET(rules, "stabilizationWindowSeconds");

        INVALID_IF(json_int(window) < 0, window_path, window, "must be greater than or equal to zero");
        INVALID_IF(json_int(window) > MAX_WINDOW, window_path, window, "must be less than or equal to %d", MAX_WINDOW);
        if (GET(rules, "selectPolicy"))
                check_enum(fe, PATH(p, "selectPolicy"), TEXT(rules, "selectPolicy"), WORDS("Disabled", "Max", "Min"));
        REQUIRED_IF(rules && json_len(GET(rules, "policies")) == 0, list, "must specify at least one Policy");
        each_at(policy, at, list, GET(rules, "policies")) {
                check_enum(fe, PATH(at, "type"), TEXT(policy, "type"), WORDS("Percent", "Pods"));
                each_word(number, "value", "periodSeconds")
                        INVALID_IF(json_int(GET(policy, number)) <= 0, PATH(at, number),
                                   number_of(fe->a, GET(policy, number)), "must be greater than zero");
                if (json_int(GET(policy, "periodSeconds")) > MAX_PERIOD)
                        invalid_at(fe, at, policy, "periodSeconds", "must be less than or equal to %d", MAX_PERIOD);
        }
}

void validate_hpa(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *p = PATH(NULL, "spec"), *ref = PATH(p, "scaleTargetRef"), *metrics = PATH(p, "metrics");
        const struct json *spec = GET(obj, "spec"), *min = GET(spec, "minReplicas"),
                          *max = number_of(fe->a, GET(spec, "maxReplicas"));
        bool outside = false; /* metrics that are there without pods */

        json_each_item(metric, GET(spec, "metrics"))
                outside = outside || str_among(TEXT(metric, "type"), WORDS("Object", "External"));
        if (json_is(min, JSON_INT) && min->i < 1)
                field_invalid(fe, PATH(p, "minReplicas"), min, "must be greater than or equal to 1");
        INVALID_IF(json_int(max) < 1, PATH(p, "maxReplicas"), max, "must be greater than 0");
        if (json_is(min, JSON_INT) && json_int(max) < min->i)
                field_invalid(fe, PATH(p, "maxReplicas"), max, "must be greater than or equal to `minReplicas`");
        check_segment(fe, ref, GET(spec, "scaleTargetRef"), "kind", "");
        check_segment(fe, ref, GET(spec, "scaleTargetRef"), "name", "");
        each_at(metric, at, metrics, GET(spec, "metrics"))
                TELL_AT(at, validate_metric(fe, at, metric));
        FORBIDDEN_IF(json_is(min, JSON_INT) && min->i == 0 && !outside, metrics,
                     "must specify at least one Object or External metric to support scaling to zero replicas");
        validate_scaling(fe, PATH(PATH(p, "behavior"), "scaleUp"), json_at_path(spec, "behavior", "scaleUp"));
        validate_scaling(fe, PATH(PATH(p, "behavior"), "scaleDown"), json_at_path(spec, "behavior", "scaleDown"));
}

void validate_role(struct field_errors *fe, const struct json *obj, const struct json *old) {
        bool namespaced = !str_empty(json_str(json_at_path(obj, "metadata", "namespace")));
        const struct path *rules = PATH(NULL, "rules"),
                          *selectors = PATH(PATH(NULL, "aggregationRule"), "clusterRoleSelectors");
        const struct json *aggregation = GET(obj, "aggregationRule");
        struct selector s;

        each_at(rule, p, rules, GET(obj, "rules")) {
                bool urls = json_len(GET(rule, "nonResourceURLs")) > 0;

                if (json_len(GET(rule, "verbs")) == 0)
                        field_required(fe, PATH(p, "verbs"), "verbs must contain at least one value");
                if (urls && namespaced)
                        invalid_at(fe, p, rule, "nonResourceURLs",
                                   "namespaced rules cannot apply to non-resource URLs");
                if (urls && json_len(GET(rule, "apiGroups")) + json_len(GET(rule, "resources")) +
                                                            json_len(GET(rule, "resourceNames")) >
                                            0)
                        invalid_at(fe, p, rule, "nonResourceURLs",
                                   "rules cannot apply to both regular resources and non-resource URLs");
                if (urls)
                        continue;
                if (json_len(GET(rule, "apiGroups")) == 0)
                        field_required(fe, PATH(p, "apiGroups"), "resource rules must supply at least one api group");
                if (json_len(GET(rule, "resources")) == 0)
                        field_required(fe, PATH(p, "resources"), "resource rules must supply at least one resource");
        }
        if (!aggregation)
                return;
        REQUIRED_IF(json_len(GET(aggregation, "clusterRoleSelectors")) == 0, selectors,
                    "at least one clusterRoleSelector required if aggregationRule is non-nil");
        each_at(selector, where, selectors, GET(aggregation, "clusterRoleSelectors")) {
                validate_label_selector(fe, where, selector);
                INVALID_STR_IF(selector_from_object(fe->a, selector, &s, NULL) < 0, where, STR("null"),
                               "invalid label selector.");
        }
}

static void validate_subject(struct field_errors *fe, const struct path *p, const struct json *s, bool namespaced) {
        static const char *const group[] = { "rbac.authorization.k8s.io", NULL };
        struct str kind = TEXT(s, "kind"), name = TEXT(s, "name");
        bool account = str_eqc(kind, "ServiceAccount");

        require_text(fe, p, s, "name", "");
        if (!check_enum(fe, PATH(p, "kind"), kind, WORDS("ServiceAccount", "User", "Group")))
                return;
        if (account && !str_empty(name))
                check_field(fe, PATH(p, "name"), name, check_dns_subdomain);
        check_enum(fe, PATH(p, "apiGroup"), TEXT(s, "apiGroup"), account ? WORDS("") : group);
        REQUIRED_IF(account && str_empty(TEXT(s, "namespace")) && !namespaced, PATH(p, "namespace"), "");
}

void validate_binding(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const kinds[] = { "Role", "ClusterRole", NULL };
        bool namespaced = !str_empty(json_str(json_at_path(obj, "metadata", "namespace")));
        const struct path *p = PATH(NULL, "roleRef"), *subjects = PATH(NULL, "subjects");
        const struct json *ref = GET(obj, "roleRef");

        check_enum(fe, PATH(p, "apiGroup"), TEXT(ref, "apiGroup"), WORDS("rbac.authorization.k8s.io"));
        check_enum(fe, PATH(p, "kind"), TEXT(ref, "kind"), namespaced ? kinds : kinds + 1);
        check_segment(fe, p, ref, "name", "");
        each_at(s, at, subjects, GET(obj, "subjects"))
                validate_subject(fe, at, s, namespaced);
        fe->phase++;
        INVALID_IF(old && !json_equal(ref, GET(old, "roleRef")), p, ref, "cannot change roleRef");
        fe->phase--;
}

#define MAX_ADDRESSES 100

static void check_name_of_domain(struct field_errors *fe, const struct path *p, struct str s) {
        const char *messages[MAX_MESSAGES];

        if (str_empty(s))
                return field_required(fe, p, "");
        if (str_has_suffix(s, STR(".")))
                s.n--;
        if (check_dns_subdomain(s, messages) > 0)
                field_invalid_str(fe, p, s, "%s", messages[0]);
        else if (str_find(s, '.') < 0)
                field_invalid_str(fe, p, s, "should be a domain with at least two segments separated by dots");
}

CHECK(check_endpoint_addresses, const struct json *list, struct str type) {
        bool v6 = str_eqc(type, "IPv6");
        uint8_t b[16];

        each_at(item, at, p, list) {
                struct str address = json_str(item);
                size_t before = fe->list.n;

                if (str_eqc(type, "FQDN"))
                        check_name_of_domain(fe, at, address);
                if (!str_among(type, WORDS("IPv4", "IPv6")))
                        continue;
                if (v6)
                        check_canonical(fe, at, address, false);
                else
                        check_ip(fe, at, address);
                if (fe->list.n > before)
                        continue;
                TELL_AT(at, INVALID_STR_IF(parse_ip(address, b) != (v6 ? 6 : 4), p, address,
                                           "must be an %" STR_FMT " address", STR_ARG(type)));
                check_not_special_ip(fe, at, address);
        }
}

#define MAX_ZONE_HINTS 8

static void check_hints(struct field_errors *fe, const struct path *p, const struct json *zones) {
        if (json_len(zones) > MAX_ZONE_HINTS)
                return field_too_many(fe, p, json_len(zones), MAX_ZONE_HINTS);
        for (size_t i = 0; i < json_len(zones); i++) {
                const struct path *at = PATH(PATH_INDEX(p, i), "name");
                struct str name = TEXT(json_item(zones, i), "name");

                REFUSE_IF(duplicate, json_find_by(zones, "name", name) != json_item(zones, i), at, name);
                check_field(fe, at, name, check_label_value);
        }
}

/* Of a list that is too long nothing else is told. */
CHECK(check_fewer, const struct json *list, size_t max) {
        if (json_len(list) <= max)
                return;
        forget_errors_at(fe, p);
        field_too_many(fe, p, json_len(list), max);
}

void validate_endpoint_slice(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(NULL, "endpoints"), *ports = PATH(NULL, "ports");
        const struct json *type = GET(obj, "addressType"), *port_list = GET(obj, "ports");
        _cleanup_(map_freep) struct map *seen = NULL;

        if (str_empty(json_str(type)))
                field_required(fe, PATH(NULL, "addressType"), "");
        else
                check_enum(fe, PATH(NULL, "addressType"), json_str(type), WORDS("FQDN", "IPv4", "IPv6"));
        if (old)
                check_immutable(fe, PATH(NULL, "addressType"), type, GET(old, "addressType"));
        check_fewer(fe, list, GET(obj, "endpoints"), 1000);
        check_fewer(fe, ports, port_list, 20000);
        each_at(e, p, list, json_len(GET(obj, "endpoints")) > 1000 ? NULL : GET(obj, "endpoints")) {
                size_t n = json_len(GET(e, "addresses"));

                if (n > MAX_ADDRESSES)
                        TELL_AT(PATH_INDEX(PATH(p, "addresses"), -1),
                                field_too_many(fe, PATH(p, "addresses"), n, MAX_ADDRESSES));
                check_endpoint_addresses(fe, PATH(p, "addresses"), GET(e, "addresses"), json_str(type));
                check_hints(fe, PATH(PATH(p, "hints"), "forZones"), json_at_path(e, "hints", "forZones"));
        }
        if (errors_at(fe, list) && fe->old && json_equal(GET(obj, "endpoints"), GET(fe->old, "endpoints")))
                forget_errors_at(fe, list); /* they were fine to older servers */
        for (size_t i = 0; json_len(port_list) <= 20000 && i < json_len(port_list); i++)
                REFUSE_IF(duplicate, json_is_twin(&seen, port_list, i, "name"), PATH(PATH_INDEX(ports, i), "name"),
                          TEXT(json_item(port_list, i), "name"));
}
