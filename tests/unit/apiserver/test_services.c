/* Services: what is refused, what an update may change, what is filled in when the type changes. */
#include "help.h"

#include "apiserver/bootstrap.h"

#define META "{\"metadata\":{\"name\":\"x\"},"
#define SPEC(part) META "\"spec\":{" part "}}"
#define PORTS "\"ports\":[{\"port\":80}]"
#define SERVICE(part) SPEC(PORTS "," part)
#define DUAL "\"clusterIPs\":[\"10.96.0.9\",\"2001:db8::9\"],\"clusterIP\":\"10.96.0.9\""

static const struct {
        const char *body, *message; /* NULL: it is fine */
} refused[] = {
        { SPEC(""), "spec.ports: Required value" },
        { SPEC("\"ports\":[{\"port\":80},{\"port\":81}]"),
          "[spec.ports[0].name: Required value, spec.ports[1].name: Required value]" },
        { SPEC("\"ports\":[{\"port\":80,\"name\":\"a\"},{\"port\":80,\"name\":\"b\"}]"),
          "spec.ports[1]: Duplicate value: core.ServicePort{Name:\"\", Protocol:\"TCP\", AppProtocol:(*string)(nil), "
          "Port:80, "
          "TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:\"\"}, NodePort:0}" },
        { SERVICE("\"sessionAffinity\":\"Sticky\""),
          "spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\"" },
        { SERVICE("\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":90000}"
                  "}"),
          "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less "
          "than "
          "86400" },
        { SERVICE("\"type\":\"NodePort\",\"clusterIP\":\"None\""),
          "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services" },
        { SPEC("\"type\":\"ExternalName\""), "spec.externalName: Required value" },
        { SPEC("\"type\":\"ExternalName\",\"externalName\":\"a.b.\""), NULL },
        { SPEC("\"type\":\"ExternalName\",\"externalName\":\"a\",\"ipFamilyPolicy\":\"SingleStack\""),
          "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services" },
        { SPEC("\"type\":\"ExternalName\",\"externalName\":\"a\",\"clusterIP\":\"None\""),
          "spec.clusterIPs: Forbidden: may not be set for ExternalName services" },
        { SERVICE("\"clusterIPs\":[\"10.96.0.9\"]"),
          "spec.clusterIPs: Invalid value: []string{\"10.96.0.9\"}: must be empty when `clusterIP` is not specified" },
        { SERVICE("\"clusterIP\":\"10.96.0.8\",\"clusterIPs\":[\"10.96.0.9\"]"),
          "spec.clusterIPs: Invalid value: []string{\"10.96.0.9\"}: first value must match `clusterIP`" },
        { SERVICE("\"clusterIP\":\"a\""),
          "spec.clusterIPs[0]: Invalid value: \"a\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
        { SERVICE("\"clusterIP\":\"10.96.0.8\",\"clusterIPs\":[\"10.96.0.8\",\"10.96.0.9\"],"
                  "\"ipFamilyPolicy\":\"PreferDualStack\""),
          "spec.clusterIPs: Invalid value: []string{\"10.96.0.8\", \"10.96.0.9\"}: may specify no more than one IP for "
          "each IP "
          "family" },
        { SERVICE("\"ipFamilies\":[\"IPv4\",\"IPv4\"]"), "spec.ipFamilies[1]: Duplicate value: \"IPv4\"" },
        { SERVICE("\"ipFamilies\":[\"IPv5\"]"),
          "spec.ipFamilies[0]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \"IPv6\"" },
        { SERVICE("\"ipFamilies\":[\"IPv6\"]"),
          "spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster" },
        { SERVICE("\"clusterIP\":\"10.96.0.9\",\"ipFamilies\":[\"IPv6\"]"),
          "spec.clusterIPs[0]: Invalid value: \"10.96.0.9\": expected an IPv6 value as indicated by `ipFamilies[0]`" },
        { SERVICE("\"ipFamilyPolicy\":\"RequireDualStack\""),
          "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack "
          "services" },
        { SERVICE("\"ipFamilyPolicy\":\"PreferDualStack\""), NULL },
        { SERVICE(DUAL),
          "[spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when "
          "multiple cluster IPs are specified, spec.clusterIPs[1]: Invalid value: []string{\"10.96.0.9\", "
          "\"2001:db8::9\"}: "
          "IPv6 "
          "is not configured on this cluster]" },
        { SERVICE("\"clusterIP\":\"192.168.0.1\""),
          "spec.clusterIPs: Invalid value: []string{\"192.168.0.1\"}: failed to allocate IP 192.168.0.1: the provided "
          "network does not match the current range" },
        { SERVICE("\"externalIPs\":[\"::ffff:127.0.0.1\",\"q\"]"),
          "[spec.externalIPs[0]: Invalid value: \"::ffff:127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
          "::1/128), spec.externalIPs[1]: Invalid value: \"q\": must be a valid IP address, (e.g. 10.9.8.7 or "
          "2001:db8::ffff)]" },
        { SPEC("\"ports\":[{\"port\":80,\"nodePort\":30080}]"),
          "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'" },
        { SPEC("\"type\":\"NodePort\",\"ports\":[{\"port\":80,\"nodePort\":80}]"),
          "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid "
          "ports "
          "is 30000-32767" },
        { SPEC("\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":80,\"nodePort\":30080},"
               "{\"name\":\"b\",\"port\":81,\"nodePort\":30080}]"),
          "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated" },
        { SPEC("\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":80,\"nodePort\":30080},"
               "{\"name\":\"b\",\"port\":81,\"nodePort\":30080,\"protocol\":\"UDP\"}]"),
          "spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated" },
        { SPEC("\"type\":\"ExternalName\",\"externalName\":\"a\",\"ipFamilyPolicy\":\"q\","
               "\"externalTrafficPolicy\":\"q\""),
          "[spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services, spec.externalTrafficPolicy: "
          "Invalid value: \"q\": may only be set for externally-accessible services]" },
        { SERVICE("\"loadBalancerSourceRanges\":[\"10.0.0.0/33\"]"),
          "[spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer', "
          "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. "
          "10.9.8.0/24 or 2001:db8::/64)]" },
        { "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"service.beta.kubernetes.io/load-balancer-source-ranges\":"
          "\"1.2.3.4/8, q\"}},\"spec\":{\"type\":\"LoadBalancer\"," PORTS "}}",
          "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]: Invalid value: \"q\": must be "
          "a "
          "valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
        { SERVICE("\"allocateLoadBalancerNodePorts\":true"),
          "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'" },
        { SERVICE("\"externalTrafficPolicy\":\"Local\""),
          "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services" },
        { SERVICE("\"healthCheckNodePort\":30001"),
          "spec.healthCheckNodePort: Invalid value: 30001: may only be set when `type` is 'LoadBalancer' and "
          "`externalTrafficPolicy` is 'Local'" },
        { SERVICE("\"trafficDistribution\":\"x\""),
          "spec.trafficDistribution: Unsupported value: \"x\": supported values: \"PreferClose\"" },
        { "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"service.kubernetes.io/topology-mode\":\"Auto\","
          "\"service.kubernetes.io/topology-aware-hints\":\"auto\"}},\"spec\":{" PORTS "}}",
          "metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: \"Auto\": must match "
          "annotations[service.kubernetes.io/topology-aware-hints] when both are specified" },
};

static void services_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                struct answer a = ASK(f, API_CREATE, &res_services, "default", .body = refused[i].body);
                const char *said = a.message ? strstr(a.message, "is invalid: ") : NULL;

                if (!refused[i].message) {
                        assert_int_equal(a.code, 201);
                        ASK(f, API_DELETE, &res_services, "default", "x");
                } else if (!said || strcmp(said + 12, refused[i].message) != 0) {
                        fail_msg("%s\n  %d %s", refused[i].body, a.code, a.message);
                }
        }
}

/* One after the other on one Service: a merge patch, and what is said, or what path then has which value. */
static const struct {
        const char *patch, *message, *path, *value;
} steps[] = {
        { "{\"spec\":{\"clusterIP\":\"10.96.0.11\"}}",
          "spec.clusterIPs[0]: Invalid value: []string{\"10.96.0.11\"}: may not change once set", NULL, NULL },
        { "{\"spec\":{\"clusterIP\":null,\"clusterIPs\":null}}", NULL, ".spec.clusterIP", "10.96.0.10" },
        { "{\"spec\":{\"ipFamilies\":[\"IPv6\"]}}",
          "spec.clusterIPs[0]: Invalid value: \"10.96.0.10\": expected an IPv6 value as indicated by `ipFamilies[0]`",
          NULL, NULL },
        { "{\"spec\":{\"clusterIP\":\"None\"}}",
          "spec.clusterIPs[0]: Invalid value: []string{\"None\"}: may not change once set", NULL, NULL },
        { "{\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\",\"healthCheckNodePort\":31000,"
          "\"loadBalancerClass\":\"a.b/c\",\"ports\":[{\"name\":\"a\",\"port\":80,\"nodePort\":30080}]}}",
          NULL, ".spec.allocateLoadBalancerNodePorts", "true" },
        { "{\"spec\":{\"healthCheckNodePort\":31001}}", "spec.healthCheckNodePort: Forbidden: field is immutable", NULL,
          NULL },
        { "{\"spec\":{\"loadBalancerClass\":\"a.b/d\"}}",
          "spec.loadBalancerClass: Invalid value: \"a.b/d\": may not change once set", NULL, NULL },
        { "{\"spec\":{\"ports\":[{\"name\":\"a\",\"port\":8080}]}}", NULL, ".spec.ports[0].nodePort", "30080" },
        { "{\"spec\":{\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"name\":\"a\",\"port\":8080}]}}", NULL,
          ".spec.ports[0].nodePort", "(absent)" },
        { "{\"spec\":{\"type\":\"ClusterIP\",\"healthCheckNodePort\":31002}}",
          "spec.healthCheckNodePort: Invalid value: ", NULL, NULL },
        { "{\"spec\":{\"type\":\"ClusterIP\",\"ports\":[{\"name\":\"a\",\"port\":80,\"nodePort\":30081}]}}",
          "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'", NULL, NULL },
        { "{\"spec\":{\"type\":\"ClusterIP\"}}", NULL, ".spec.ports[0]",
          "{\"name\":\"a\",\"protocol\":\"TCP\",\"port\":8080,"
          "\"targetPort\":8080}" },
        { "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}", NULL, ".spec.clusterIPs", "(absent)" },
        { "{\"spec\":{\"internalTrafficPolicy\":\"Local\"}}", NULL, ".spec.internalTrafficPolicy", "(absent)" },
        { "{\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"10.96.0.10\",\"externalName\":null}}", NULL,
          ".spec.ipFamilies", "[\"IPv4\"]" },
};

static void what_changes_in_a_service_is_limited(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default",
                              .body = SPEC("\"clusterIP\":\"10.96.0.10\",\"ports\":[{\"port\":80,\"name\":\"a\"}]"));

        assert_int_equal(a.code, 201);
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                const char *now;

                a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE, .body = steps[i].patch);
                if (a.code != (steps[i].message ? 422 : 200) || (a.message && !strstr(a.message, steps[i].message)))
                        fail_msg("%s: %d %s", steps[i].patch, a.code, a.message);
                if (!steps[i].path)
                        continue;
                now = at(f, a, steps[i].path);
                if (strcmp(now, steps[i].value) != 0)
                        fail_msg("%s: %s is %s", steps[i].patch, steps[i].path, now);
        }
}

static void what_an_update_takes_once_it_takes(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SPEC("\"clusterIP\":\"None\"")), 201);
        check_error(ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                        .body = "{\"spec\":{\"ipFamilies\":[\"IPv6\"]}}"),
                    422,
                    "Service \"x\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be "
                    "'SingleStack' to release the secondary IP family");
        check_error(ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                        .body = "{\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":80,"
                                "\"nodePort\":30081},{\"name\":\"b\",\"port\":81,\"nodePort\":30081}]}}"),
                    500, "duplicate nodePort: {TCP 30081}");
        /* what was there is no news */
        check_error(ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                        .body = "{\"spec\":{\"clusterIPs\":[\"None\",\"None\"]}}"),
                    422,
                    "Service \"x\" is invalid: spec.clusterIPs: Invalid value: []string{\"None\", \"None\"}: 'None' "
                    "must "
                    "be the first and only value");
}

/* ---- IPAddresses ---- */

static struct answer address(struct fixture *f, const char *ip) {
        return ASK(f, API_GET, &res_ipaddresses, "", ip);
}

static void an_address_is_an_object(void **state) {
        struct fixture *f = *state;

        check(address(f, "10.96.0.1"), 200, ".spec.parentRef.name", "kubernetes");
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.96.0.20\"")), 201);
        check(address(f, "10.96.0.20"), 200, ".spec.parentRef",
              "{\"resource\":\"services\",\"namespace\":\"default\",\"name\":\"x\"}");
        check(address(f, "10.96.0.20"), 200, ".metadata.labels",
              "{\"ipaddress.kubernetes.io/ip-family\":\"IPv4\",\"ipaddress.kubernetes.io/managed-by\":"
              "\"ipallocator.k8s.io\"}");
        check_code(ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                       .body = "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}"),
                   200);
        check_code(address(f, "10.96.0.20"), 404);
        check_code(ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                       .body = "{\"spec\":{\"type\":\"ClusterIP\",\"externalName\":null,\"clusterIP\":"
                               "\"10.96.0.21\"}}"),
                   200);
        check_code(address(f, "10.96.0.21"), 200);
        check_code(ASK(f, API_DELETE, &res_services, "default", "x"), 200);
        check_code(address(f, "10.96.0.21"), 404);
}

static void an_address_that_somebody_made_is_taken(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_ipaddresses, "",
                       .body = "{\"metadata\":{\"name\":\"10.96.0.30\"},\"spec\":{\"parentRef\":{\"resource\":\"a\","
                               "\"name\":\"b\"}}}"),
                   201);
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.96.0.30\"")), 422,
                    "Service \"x\" is invalid: spec.clusterIPs: Invalid value: []string{\"10.96.0.30\"}: failed to "
                    "allocate IP "
                    "10.96.0.30: provided IP is already allocated");
}

static void a_name_is_taken_for_valid_services(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.96.0.31\"")), 201);
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"NodePort\"")), 409,
                    "services \"x\" already exists");
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.96.0.31\"")), 422,
                    "Service \"x\" is invalid: spec.clusterIPs: Invalid value: []string{\"10.96.0.31\"}: failed to "
                    "allocate IP 10.96.0.31: provided IP is already allocated");
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"Foo\"")), 422);
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"ipFamilies\":[\"IPv6\"]")), 422);
}

static void a_deleted_address_comes_back(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_DELETE, &res_ipaddresses, "", "10.96.0.1"), 200);
        check_code(address(f, "10.96.0.1"), 404);
        bootstrap_again(f->s);
        check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"later\"}}"), 201);
        check_code(address(f, "10.96.0.1"), 200);
}

static void a_server_has_a_lease_as_long_as_it_lives(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_LIST, &res_leases, "kube-system",
                              .options.label_selector = STR("apiserver.kubernetes.io/identity=kube-apiserver"));

        assert_int_equal(strncmp(at(f, a, ".items[0].metadata.name"), "apiserver-", 10), 0);
        check_code(ASK(f, API_CREATE, &res_leases, "kube-system",
                       .body = "{\"metadata\":{\"name\":\"apiserver-old\",\"labels\":{\"apiserver.kubernetes.io/"
                               "identity\":\"kube-apiserver\"}},\"spec\":{\"leaseDurationSeconds\":3600,"
                               "\"renewTime\":\"2024-01-01T00:00:00.000000Z\"}}"),
                   201);
        bootstrap_again(f->s);
        check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"later\"}}"), 201);
        check_code(ASK(f, API_GET, &res_leases, "kube-system", "apiserver-old"), 404);
}

/* With the default range closed all come from a range of six. */
static void more_ranges_give_more_addresses(void **state) {
        struct fixture *f = *state;
        char body[128];

        check_code(ASK(f, API_PATCH, &res_servicecidrs, "", "kubernetes", "status", .patch = API_PATCH_MERGE,
                       .body = "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}]}}"),
                   200);
        check_code(ASK(f, API_CREATE, &res_servicecidrs, "",
                       .body = "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"cidrs\":[\"10.7.0.0/29\"]}}"),
                   201);
        for (int i = 0; i < 6; i++) {
                struct answer a;

                snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"s%d\"},\"spec\":{" PORTS "}}", i);
                a = ASK(f, API_CREATE, &res_services, "default", .body = body);
                check_code(a, 201);
                assert_int_equal(strncmp(at(f, a, ".spec.clusterIP"), "10.7.0.", 7), 0);
        }
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"ClusterIP\"")), 500,
                    "Internal error occurred: failed to allocate a serviceIP: range is full");
        check_code(ASK(f, API_CREATE, &res_servicecidrs, "",
                       .body = "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"cidrs\":[\"10.8.0.0/28\"]}}"),
                   201);
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.8.0.15\"")), 422);
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.8.0.14\"")), 201);
}

#define OTHER(part) "{\"metadata\":{\"name\":\"y\"},\"spec\":{\"ports\":[{\"port\":80}]," part "}}"

static void zeros_in_front_make_no_other_address(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.096.0.77\"")), 201,
              ".spec.clusterIPs", "[\"10.096.0.77\"]");
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = OTHER("\"clusterIP\":\"::ffff:10.96.0.77\"")),
                   422);
        check_code(ASK(f, API_DELETE, &res_services, "default", "x"), 200);
        check_code(ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"10.96.0.77\"")), 201);
}

static void what_was_given_goes_with_the_type(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default",
                              .body = SPEC("\"type\":\"LoadBalancer\",\"ports\":[{\"name\":\"a\",\"port\":1,"
                                           "\"nodePort\":30001},"
                                           "{\"name\":\"b\",\"port\":2,\"nodePort\":30002}]"));

        check_code(a, 201);
        a = ASK(f, API_PATCH, &res_services, "default", "x", .sub = "status", .patch = API_PATCH_MERGE,
                .body = "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"01.2.3.4\"}]}}}");
        check_code(a, 200);
        assert_non_null(strstr(arena_cstr(f->a, a.warning), "status.loadBalancer.ingress[0]: non-standard IP address"));
        a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"allocateLoadBalancerNodePorts\":false}}");
        check(a, 200, ".spec.ports[0].nodePort", "30001"); /* what is there stays */
        a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"type\":\"ClusterIP\",\"ports\":[{\"name\":\"a\",\"port\":1,\"nodePort\":30001}]}"
                        "}");
        check(a, 200, ".status", "{\"loadBalancer\":{}}");
        assert_string_equal(at(f, a, ".spec.ports[0].nodePort"), "(absent)");
}

static void protocols_share_a_node_port(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default",
                              .body = SPEC("\"type\":\"NodePort\",\"ports\":[{\"name\":\"a\",\"port\":53,\"protocol\":"
                                           "\"UDP\"},"
                                           "{\"name\":\"b\",\"port\":53,\"nodePort\":30053}]"));

        check(a, 201, ".spec.ports[0].nodePort", "30053");
        a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"metadata\":{\"namespace\":\"other\"}}");
        check_error(a, 400, "the namespace of the provided object does not match the namespace sent on the request");
}

static void low_node_ports_are_left_to_those_who_name_them(void **state) {
        struct fixture *f = *state;

        for (int i = 0; i < 100; i++) {
                struct answer a = ASK(f, API_CREATE, &res_services, "default",
                                      .body = SPEC("\"type\":\"NodePort\",\"ports\":[{\"port\":80}]"));

                check_code(a, 201);
                assert_true(atoi(at(f, a, ".spec.ports[0].nodePort")) >= 30086);
                check_code(ASK(f, API_DELETE, &res_services, "default", "x"), 200);
        }
}

static void a_headless_service_without_selector_has_both_families(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"clusterIP\":\"None\""));

        assert_int_equal(a.code, 201);
        assert_string_equal(at(f, a, ".spec.ipFamilies"), "[\"IPv4\",\"IPv6\"]");
        assert_string_equal(at(f, a, ".spec.ipFamilyPolicy"), "RequireDualStack");
}

static void where_a_balancer_is_is_checked(void **state) {
        static const char bad[] =
                        "{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"q\",\"hostname\":\"1.2.3.4\"}]}}}";
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"LoadBalancer\""));

        assert_int_equal(a.code, 201);
        a = ASK(f, API_PATCH, &res_services, "default", "x", .sub = "status", .patch = API_PATCH_MERGE, .body = bad);
        assert_string_equal(
                        a.message,
                        "Service \"x\" is invalid: [status.loadBalancer.ingress[0].ip: Invalid value: \"q\": must be a "
                        "valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff), "
                        "status.loadBalancer.ingress[0].hostname: Invalid value: \"1.2.3.4\": must be a DNS name, not "
                        "an IP address]");
}

/* ---- two families ---- */

#define V6 "2001:db8::9"

static int setup_dual(void **state) {
        return fixture_setup_ranges(state, "10.96.0.0/24,2001:db8::/112", "127.0.0.1");
}

static int setup_v6(void **state) {
        return fixture_setup_ranges(state, "2001:db8::/112", "::1");
}

#define FAMILY "ipaddress.kubernetes.io/ip-family"

static void check_families(struct fixture *f, struct answer a, const char *families, size_t n_ips) {
        assert_string_equal(a.message ? a.message : "", "");
        assert_string_equal(at(f, a, ".spec.ipFamilies"), families);
        assert_int_equal(json_len(json_at_path(a.body, "spec", "clusterIPs")), n_ips);
}

static void a_service_may_have_an_address_of_each_family(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"ClusterIP\""));

        check_families(f, a, "[\"IPv4\"]", 1);
        a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"ipFamilyPolicy\":\"PreferDualStack\"}}");
        check_families(f, a, "[\"IPv4\",\"IPv6\"]", 2);
        const char *ip = at(f, a, ".spec.clusterIPs[1]");
        assert_ptr_equal(strstr(ip, "2001:db8::"), ip);
        assert_true(str_eqc(json_str(json_at_path(ASK(f, API_GET, &res_ipaddresses, "", ip).body, "metadata", "labels",
                                                  FAMILY)),
                            "IPv6"));
        a = ASK(f, API_PATCH, &res_services, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"ipFamilyPolicy\":\"SingleStack\"}}");
        check_families(f, a, "[\"IPv4\"]", 1);
        check_code(ASK(f, API_GET, &res_ipaddresses, "", ip), 404);
}

static void addresses_are_given_by_the_families_that_are_named(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default",
                              .body = SERVICE("\"ipFamilies\":[\"IPv6\"],\"clusterIP\":\"2001:db8:0::9\""));

        check_families(f, a, "[\"IPv6\"]", 1); /* as it was written, under the name that it has */
        assert_string_equal(at(f, a, ".spec.clusterIP"), "2001:db8:0::9");
        check_code(ASK(f, API_GET, &res_ipaddresses, "", V6), 200);
        a = ASK(f, API_CREATE, &res_services, "default", .options.dry_run = true,
                .body = "{\"metadata\":{\"name\":\"y\"},\"spec\":{" PORTS ",\"ipFamilyPolicy\":\"RequireDualStack\"}}");
        check_families(f, a, "[\"IPv4\",\"IPv6\"]", 2);
        assert_string_equal(at(f, a, ".spec.clusterIPs"), "[\"10.96.0.0\",\"2001:db8::\"]");
        a = ASK(f, API_CREATE, &res_services, "default", .options.dry_run = true,
                .body = "{\"metadata\":{\"name\":\"y\"},\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":"
                        "\"Local\","
                        "\"ports\":[{\"port\":1,\"name\":\"a\"},{\"port\":2,\"name\":\"b\"}]}}");
        check(a, 201, ".spec.ports[0].nodePort", "32769"); /* nor are ports looked for in a dry run */
        check(a, 201, ".spec.ports[1].nodePort", "32770");
        check(a, 201, ".spec.healthCheckNodePort", "32771");
        a = ASK(f, API_CREATE, &res_services, "default",
                .body = "{\"metadata\":{\"name\":\"y\"},\"spec\":{" PORTS ",\"clusterIP\":\"2001:db9::1\"}}");
        assert_string_equal(a.message, "Service \"y\" is invalid: spec.clusterIPs: Invalid value: "
                                       "[]string{\"2001:db9::1\"}: failed to allocate IP 2001:db9::1: the provided "
                                       "network does not match the current range");
}

static void a_cluster_may_have_addresses_of_ipv6_only(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_services, "default", .body = SERVICE("\"type\":\"ClusterIP\""));

        check_families(f, a, "[\"IPv6\"]", 1);
        a = ASK(f, API_CREATE, &res_services, "default",
                .body = "{\"metadata\":{\"name\":\"y\"},\"spec\":{" PORTS ",\"clusterIP\":\"10.96.0.9\"}}");
        assert_string_equal(a.message, "Service \"y\" is invalid: spec.clusterIPs[0]: Invalid value: "
                                       "[]string{\"10.96.0.9\"}: IPv4 is not configured on this cluster");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(services_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_an_update_takes_once_it_takes, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_changes_in_a_service_is_limited, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(zeros_in_front_make_no_other_address, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_was_given_goes_with_the_type, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(protocols_share_a_node_port, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(low_node_ports_are_left_to_those_who_name_them, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(an_address_is_an_object, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(an_address_that_somebody_made_is_taken, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(a_name_is_taken_for_valid_services, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_deleted_address_comes_back, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_server_has_a_lease_as_long_as_it_lives, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(more_ranges_give_more_addresses, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_headless_service_without_selector_has_both_families, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(where_a_balancer_is_is_checked, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_service_may_have_an_address_of_each_family, setup_dual,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(addresses_are_given_by_the_families_that_are_named, setup_dual,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(a_cluster_may_have_addresses_of_ipv6_only, setup_v6, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
