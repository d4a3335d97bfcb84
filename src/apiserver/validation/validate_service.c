/* Services: what goes together with which type, addresses of two families, and what stays. */
#include "base/map.h"
#include "apiserver/validation/validate.h"

#define SPEC PATH(NULL, "spec")

static bool is_type(const struct json *spec, const char *type) {
        return str_eqc(TEXT(spec, "type"), type);
}

static struct str item(const struct json *list, size_t i) {
        return json_str(json_item(list, i));
}

static bool is_headless(const struct json *spec) {
        const struct json *ips = GET(spec, "clusterIPs");

        return json_len(ips) == 1 && str_eqc(item(ips, 0), "None");
}

static void check_families(struct field_errors *fe, const struct json *spec) {
        const struct json *list = GET(spec, "ipFamilies");
        const struct path *p = PATH(SPEC, "ipFamilies");

        _cleanup_(map_freep) struct map *seen = map_new(NULL);

        each_at(family, at, p, list) {
                check_enum(fe, at, json_str(family), WORDS("IPv4", "IPv6"));
                REFUSE_IF(duplicate, !map_put(seen, json_str(family), family), at, json_str(family));
        }
}

/* Each is an address, or was there before; false when one is not, and nothing more can be said. */
static bool check_addresses(struct field_errors *fe, const struct path *p, const struct json *ips,
                            const struct json *had) {
        bool ok = true;
        uint8_t b[16];

        for (size_t i = 0; i < json_len(ips); i++) {
                bool none = i == 0 && str_eqc(item(ips, i), "None");

                if (none && json_len(ips) > 1)
                        field_invalid(fe, p, ips, "'None' must be the first and only value");
                else if (!none && !json_has_str(had, item(ips, i)))
                        check_ip(fe, PATH_INDEX(p, i), item(ips, i));
                ok = ok && (none ? json_len(ips) == 1 : parse_ip(item(ips, i), b) != 0);
        }
        INVALID_IF(json_len(ips) > 2, p, ips, "may only hold up to 2 values");
        return ok;
}

/* The addresses for themselves, and beside their families. */
CHECK(match_addresses, const struct json *spec) {
        const struct json *ips = GET(spec, "clusterIPs"), *families = GET(spec, "ipFamilies");
        uint8_t b[16];
        bool seen[7] = { false };

        if (!check_addresses(fe, p, ips, json_at_path(fe->old, "spec", "clusterIPs")))
                return;
        for (size_t i = 0; i < json_len(ips); i++)
                seen[parse_ip(item(ips, i), b)] = true;
        if (json_len(ips) > 1 && !(seen[4] && seen[6]))
                field_invalid(fe, p, ips, "may specify no more than one IP for each IP family");
        for (size_t i = 0; !is_headless(spec) && i < MIN(json_len(ips), json_len(families)); i++) {
                struct str wanted = item(families, i);

                INVALID_IF(str_among(wanted, WORDS("IPv4", "IPv6")) && wanted.p[3] - '0' != parse_ip(item(ips, i), b),
                           PATH_INDEX(p, i), json_item(ips, i),
                           "expected an %" STR_FMT " value as indicated by `ipFamilies[%zu]`", STR_ARG(wanted), i);
        }
}

void validate_service_addresses(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *ips = GET(spec, "clusterIPs");
        const struct path *p = PATH(SPEC, "clusterIPs");
        struct str ip = TEXT(spec, "clusterIP");

        if (is_type(spec, "ExternalName"))
                return;
        if (GET(spec, "ipFamilyPolicy"))
                check_enum(fe, PATH(SPEC, "ipFamilyPolicy"), TEXT(spec, "ipFamilyPolicy"),
                           WORDS("PreferDualStack", "RequireDualStack", "SingleStack"));
        if (str_empty(ip) && json_len(ips) > 0)
                field_invalid(fe, p, ips, "must be empty when `clusterIP` is not specified");
        else if (!str_empty(ip) && json_len(ips) == 0)
                field_required(fe, p, "");
        else if (!str_eq(ip, item(ips, 0)))
                field_invalid(fe, p, ips, "first value must match `clusterIP`");
        check_families(fe, spec);
        TELL_AT(PATH(SPEC, "ipFamilyPolicy"), match_addresses(fe, p, spec));
}

/* A list that keeps its first value, and loses its second only with the policy that says so. */
static void check_kept(struct field_errors *fe, const struct json *spec, const struct json *before, const char *name,
                       const char *one) {
        const struct json *now = GET(spec, name), *was = GET(before, name), *policy = GET(spec, "ipFamilyPolicy");
        bool cluster = str_eqc(STR("clusterIPs"), name), all = json_len(now) == json_len(was);
        const struct path *p = PATH(SPEC, name);

        INVALID_IF(json_len(was) > json_len(now) && json_len(GET(spec, "clusterIPs")) == 0, PATH_INDEX(p, 0),
                   json_new(fe->a, json_of_raw(cluster ? STR("[]string(nil)") : STR("[]core.IPFamily(nil)"))),
                   "primary %s can not be unset", one);
        for (size_t i = 0; i < (all ? json_len(was) : MIN(MIN(json_len(now), json_len(was)), 1U)); i++)
                INVALID_IF(!str_eq(item(now, i), item(was, i)), PATH_INDEX(p, cluster ? i : 0),
                           all || cluster ? now : GET(spec, "clusterIPs"), "may not change once set");
        if (json_len(was) > json_len(now) && json_len(now) == 1 && !str_eqc(json_str(policy), "SingleStack"))
                field_invalid(fe, PATH(SPEC, "ipFamilyPolicy"), policy,
                              "must be set to 'SingleStack' when releasing the secondary %s", one);
}

static void check_addresses_update(struct field_errors *fe, const struct json *spec, const struct json *before) {
        bool headless = is_headless(spec), was = is_headless(before);

        if (is_type(spec, "ExternalName") || is_type(before, "ExternalName"))
                return;
        if (!headless || !was)
                check_kept(fe, spec, before, "clusterIPs", "clusterIP");
        if (!headless && !was)
                check_kept(fe, spec, before, "ipFamilies", "ipFamily");
}

/* The two members that tell ports of a service apart, as upstream's struct prints. */
static const struct json *port_key(struct arena *a, const struct json *port) {
        return json_new(a, json_of_raw(arena_printf(
                                           a,
                                           "core.ServicePort{Name:\"\", Protocol:\"%" STR_FMT
                                           "\", AppProtocol:(*string)(nil), Port:%lld, "
                                           "TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}",
                                           STR_ARG(TEXT(port, "protocol")), (long long) json_int(GET(port, "port")))));
}

static void check_port_names(struct field_errors *fe, const struct path *list, const struct json *ports) {
        _cleanup_(map_freep) struct map *seen = NULL;

        each_at(port, p, list, ports) {
                struct str name = TEXT(port, "name");

                if (str_empty(name) && json_len(ports) > 1)
                        field_required(fe, PATH(p, "name"), "");
                else if (!str_empty(name))
                        check_field(fe, PATH(p, "name"), name, check_dns_label);
                REFUSE_IF(duplicate, !str_empty(name) && json_is_twin(&seen, ports, (size_t) p->index, "name"),
                          PATH(p, "name"), name);
                if (GET(port, "targetPort"))
                        check_port_or_name(fe, PATH(p, "targetPort"), GET(port, "targetPort"));
        }
}

/* The same number twice for one protocol. */
static void check_port_twins(struct field_errors *fe, const struct path *list, const struct json *ports,
                             const char *member) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        bool node = str_eqc(STR("nodePort"), member);

        each_at(port, p, list, ports) {
                int64_t n = json_int(GET(port, member));

                if ((!node || n != 0) &&
                    !map_put(seen,
                             arena_printf(fe->a, "%lld/%" STR_FMT, (long long) n, STR_ARG(TEXT(port, "protocol"))),
                             (void *) ports))
                        field_duplicate_value(fe, node ? PATH(p, member) : p,
                                              node ? GET(port, member) : port_key(fe->a, port));
        }
}

static void check_node_ports(struct field_errors *fe, const struct json *spec) {
        const struct path *list = PATH(SPEC, "ports");

        each_at(port, p, list, GET(spec, "ports"))
                if (json_int(GET(port, "nodePort")) != 0 && is_type(spec, "ClusterIP"))
                        field_forbidden(fe, PATH(p, "nodePort"), "may not be used when `type` is 'ClusterIP'");
        check_port_twins(fe, list, GET(spec, "ports"), "nodePort");
        check_port_twins(fe, list, GET(spec, "ports"), "port");
}

/* ---- what only some types have ---- */

static void check_external_name(struct field_errors *fe, const struct json *spec) {
        struct str name = TEXT(spec, "externalName");

        each_word(word, "clusterIPs", "ipFamilies", "ipFamilyPolicy")
                FORBIDDEN_IF(GET(spec, word), PATH(SPEC, word), "may not be set for ExternalName services");
        if (str_has_suffix(name, STR(".")))
                name.n--;
        if (str_empty(name))
                field_required(fe, PATH(SPEC, "externalName"), "");
        else
                check_field(fe, PATH(SPEC, "externalName"), name, check_dns_subdomain);
}

#define ONLY_BALANCED "may only be used when `type` is 'LoadBalancer'"
#define RANGES_KEY "service.beta.kubernetes.io/load-balancer-source-ranges"

static void check_source_ranges(struct field_errors *fe, const struct json *obj, bool balanced) {
        const struct json *list = json_at_path(obj, "spec", "loadBalancerSourceRanges"),
                          *old_way = json_at_path(obj, "metadata", "annotations", RANGES_KEY);
        const struct path *p = json_len(list) == 0 && old_way
                                               ? PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), STR(RANGES_KEY))
                                               : PATH(SPEC, "LoadBalancerSourceRanges");
        struct str rest = str_trim(json_str(old_way)), cidr;

        FORBIDDEN_IF((json_len(list) > 0 || old_way) && !balanced, p, ONLY_BALANCED);
        each_at(e, at, p, list)
                check_cidr(fe, at, str_trim(json_str(e)));
        while (json_len(list) == 0 && !str_empty(rest) && str_split(&rest, ',', &cidr))
                check_cidr(fe, p, str_trim(cidr));
}

static void check_class(struct field_errors *fe, const struct json *spec) {
        const struct json *class = GET(spec, "loadBalancerClass");

        if (!is_type(spec, "LoadBalancer") && class)
                field_forbidden(fe, PATH(SPEC, "loadBalancerClass"), ONLY_BALANCED);
        else if (class)
                check_field(fe, PATH(SPEC, "loadBalancerClass"), json_str(class), check_qualified_name);
}

static void check_balancer(struct field_errors *fe, const struct json *obj) {
        const struct json *spec = GET(obj, "spec");
        bool balanced = is_type(spec, "LoadBalancer");

        TELL_AT(PATH(SPEC, "loadBalancerSourceRanges"), check_source_ranges(fe, obj, balanced));
        if (!balanced && GET(spec, "allocateLoadBalancerNodePorts"))
                field_forbidden(fe, PATH(SPEC, "allocateLoadBalancerNodePorts"), ONLY_BALANCED);
        check_class(fe, spec);
}

static bool needs_health_port(const struct json *spec) {
        return is_type(spec, "LoadBalancer") && str_eqc(TEXT(spec, "externalTrafficPolicy"), "Local");
}

static void check_traffic(struct field_errors *fe, const struct json *spec) {
        static const char *const distributions[] = { "PreferClose", NULL };
        bool external = is_type(spec, "NodePort") || is_type(spec, "LoadBalancer") ||
                        (is_type(spec, "ClusterIP") && json_len(GET(spec, "externalIPs")) > 0);
        const struct path *p = PATH(SPEC, "healthCheckNodePort");
        const struct json *port = GET(spec, "healthCheckNodePort");
        struct str policy = TEXT(spec, "externalTrafficPolicy");

        if (!external && !str_empty(policy))
                invalid_at(fe, SPEC, spec, "externalTrafficPolicy",
                           "may only be set for externally-accessible services");
        else if (external)
                check_enum(fe, PATH(SPEC, "externalTrafficPolicy"), policy, WORDS("Cluster", "Local"));
        if (json_int(port) != 0 && !needs_health_port(spec))
                field_invalid(fe, p, port,
                              "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
        else if (json_int(port) != 0)
                check_port(fe, p, port);
        if (GET(spec, "trafficDistribution"))
                check_enum(fe, PATH(SPEC, "trafficDistribution"), TEXT(spec, "trafficDistribution"), distributions);
}

#define MAX_AFFINITY_SECONDS 86400

static void check_affinity(struct field_errors *fe, const struct json *spec) {
        const struct json *config = GET(spec, "sessionAffinityConfig"), *client = GET(config, "clientIP"),
                          *timeout = GET(client, "timeoutSeconds");
        const struct path *p = PATH(SPEC, "sessionAffinityConfig");

        if (str_eqc(TEXT(spec, "sessionAffinity"), "None") && config)
                field_forbidden(fe, p, "must not be set when session affinity is None");
        if (!str_eqc(TEXT(spec, "sessionAffinity"), "ClientIP"))
                return;
        if (!timeout)
                field_required(fe, client ? PATH(PATH(p, "clientIP"), "timeoutSeconds") : PATH(p, "clientIP"),
                               "when session affinity type is ClientIP");
        else if (json_int(timeout) <= 0 || json_int(timeout) > MAX_AFFINITY_SECONDS)
                field_invalid(fe, PATH(PATH(p, "clientIP"), "timeoutSeconds"), timeout,
                              "must be greater than 0 and less than %d", MAX_AFFINITY_SECONDS);
}

#define HINTS "service.kubernetes.io/topology-aware-hints"
#define MODE "service.kubernetes.io/topology-mode"

static void check_spec(struct field_errors *fe, const struct json *obj) {
        const struct json *spec = GET(obj, "spec"), *hints = json_at_path(obj, "metadata", "annotations", HINTS),
                          *mode = json_at_path(obj, "metadata", "annotations", MODE);
        const struct path *ips = PATH(SPEC, "externalIPs");
        bool headless = is_headless(spec), node = is_type(spec, "NodePort");
        uint8_t b[16];

        if (hints && mode && !json_equal(hints, mode))
                field_invalid(fe, PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), STR(MODE)), mode,
                              "must match annotations[" HINTS "] when both are specified");
        fe->at = PATH(SPEC, "-"); /* before all fields */
        if (json_len(GET(spec, "ports")) == 0 && !headless && !is_type(spec, "ExternalName"))
                field_required(fe, PATH(SPEC, "ports"), "");
        INVALID_STR_IF(headless && (node || is_type(spec, "LoadBalancer")), PATH_INDEX(PATH(SPEC, "clusterIPs"), 0),
                       STR("None"), "may not be set to 'None' for %s services", node ? "NodePort" : "LoadBalancer");
        if (is_type(spec, "ExternalName"))
                check_external_name(fe, spec);
        fe->at = NULL;
        check_port_names(fe, PATH(SPEC, "ports"), GET(spec, "ports"));
        validate_labels(fe, PATH(SPEC, "selector"), GET(spec, "selector"));
        check_affinity(fe, spec);
        validate_service_addresses(fe, obj, NULL);
        each_at(e, at, ips, GET(spec, "externalIPs"))
                if (parse_ip(json_str(e), b))
                        check_not_special_ip(fe, at, json_str(e));
                else
                        check_ip(fe, at, json_str(e));
        TELL_AT(PATH(SPEC, "type"), check_node_ports(fe, spec));
        check_balancer(fe, obj);
        check_traffic(fe, spec);
}

void validate_service(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct json *spec = GET(obj, "spec"), *before = GET(old, "spec");
        const struct json *class = GET(spec, "loadBalancerClass"), *was = GET(before, "loadBalancerClass");

        if (old) {
                fe->phase = -1;
                check_addresses_update(fe, spec, before);
                if (is_type(spec, "LoadBalancer") && is_type(before, "LoadBalancer") &&
                    !(class && was ? json_equal(class, was) : class == was))
                        field_invalid(fe, PATH(SPEC, "loadBalancerClass"), class, "may not change once set");
                check_class(fe, spec); /* which upstream looks at twice */
                if (needs_health_port(spec) && needs_health_port(before) &&
                    json_int(GET(spec, "healthCheckNodePort")) != json_int(GET(before, "healthCheckNodePort")))
                        field_forbidden(fe, PATH(SPEC, "healthCheckNodePort"), "field is immutable");
                fe->phase = 0;
        }
        check_spec(fe, obj);
}

/* Where a load balancer is: an address or a host name each. Only those of services have a mode. */
static void check_balancer_status(struct field_errors *fe, const struct json *obj, bool moded) {
        const struct path *list = PATH(PATH(PATH(NULL, "status"), "loadBalancer"), "ingress");
        const struct json *ingress = json_at_path(obj, "status", "loadBalancer", "ingress");
        uint8_t b[16];

        each_at(e, p, list, ingress) {
                struct str ip = TEXT(e, "ip"), host = TEXT(e, "hostname"), mode = TEXT(e, "ipMode");

                if (!str_empty(ip))
                        check_ip(fe, PATH(p, "ip"), ip);
                if (moded && !str_empty(ip) && !GET(e, "ipMode"))
                        field_required(fe, PATH(p, "ipMode"), "must be specified when `ip` is set");
                else if (moded && str_empty(ip) && GET(e, "ipMode"))
                        field_forbidden(fe, PATH(p, "ipMode"), "may not be specified when `ip` is not set");
                else if (moded && GET(e, "ipMode"))
                        check_enum(fe, PATH(p, "ipMode"), mode, WORDS("Proxy", "VIP"));
                if (!str_empty(host))
                        check_field(fe, PATH(p, "hostname"), host, check_dns_subdomain);
                if (!str_empty(host) && parse_ip(host, b))
                        field_invalid_str(fe, PATH(p, "hostname"), host, "must be a DNS name, not an IP address");
        }
}

void validate_service_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct path *list = PATH(PATH(PATH(NULL, "status"), "loadBalancer"), "ingress");

        if (json_len(json_at_path(obj, "status", "loadBalancer", "ingress")) > 0 &&
            !is_type(GET(obj, "spec"), "LoadBalancer"))
                field_forbidden(fe, list, "may only be used when `spec.type` is 'LoadBalancer'");
        else
                check_balancer_status(fe, obj, true);
}

void validate_ingress_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        check_balancer_status(fe, obj, false);
}
