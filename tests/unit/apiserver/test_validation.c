/* What is refused and in which words: rows of a kind, an object that is wrong in one place, and the message. */
#include "help.h"

#define META "{\"metadata\":{\"name\":\"x\"},"
#define POD(spec) \
        META "\"spec\":{\"serviceAccountName\":\"default\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"" spec
#define IN_CONTAINER(part) POD("," part "}]}}")
#define IN_SPEC(part) POD("}]," part "}}")

#define TEMPLATE(restart) \
        "\"template\":{\"spec\":{\"restartPolicy\":\"" restart "\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define JOB(part) META "\"spec\":{" part TEMPLATE("Never") "}}"
#define INDEXED(part) JOB("\"completionMode\":\"Indexed\",\"completions\":5," part)
#define ON_FAILURE(rule) JOB("\"podFailurePolicy\":{\"rules\":[{" rule "}]},")
#define ON_EXIT(codes) ON_FAILURE("\"action\":\"Ignore\",\"onExitCodes\":{" codes "}")
#define SUCCESS(rule) INDEXED("\"successPolicy\":{\"rules\":[{" rule "}]},")

static const struct {
        const struct api_resource *resource;
        const char *body, *message; /* after `Kind "x" is invalid: ` */
} refused[] = {
        { &res_pods, META "\"spec\":{\"serviceAccountName\":\"default\"}}", "spec.containers: Required value" },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":0}]"),
          "spec.containers[0].ports[0].containerPort: Required value" },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":70000}]"),
          "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive" },
        { &res_pods,
          IN_CONTAINER("\"env\":[{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.phase\"}}}]"),
          "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported "
          "values: "
          "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
          "\"spec.serviceAccountName\", "
          "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"" },
        { &res_pods, IN_CONTAINER("\"resources\":{\"requests\":{\"cpu\":\"2\"},\"limits\":{\"cpu\":\"1\"}}"),
          "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1" },
        { &res_pods, IN_CONTAINER("\"resources\":{\"requests\":{\"example.com/x\":\"1\"}}"),
          "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources" },
        { &res_pods, IN_CONTAINER("\"securityContext\":{\"seccompProfile\":{\"type\":\"Localhost\"}}"),
          "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when "
          "seccomp type "
          "is Localhost" },
        { &res_pods, IN_CONTAINER("\"livenessProbe\":{\"tcpSocket\":{\"port\":80},\"periodSeconds\":-1}"),
          "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/a/../b\"}}]"),
          "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"defaultMode\":512}}]"),
          "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both "
          "inclusive" },
        { &res_pods, IN_SPEC("\"tolerations\":[{\"operator\":\"Equal\"}]"),
          "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which "
          "means "
          "\"match all values and all keys\"" },
        { &res_pods, IN_SPEC("\"dnsPolicy\":\"None\""),
          "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None" },
        { &res_endpoints, META "\"subsets\":[{\"addresses\":[{\"ip\":\"127.0.0.1\"}]}]}",
          "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
          "::1/128)" },
        { &res_networkpolicies,
          META "\"spec\":{\"podSelector\":{},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0\"}}]}]}}",
          "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. "
          "10.9.8.0/24 or 2001:db8::/64)" },
        { &res_cronjobs,
          META "\"spec\":{\"schedule\":\"1 2 3\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{"
               "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
          "spec.schedule: Invalid value: \"1 2 3\": expected exactly 5 fields, found 3: [1 2 3]" },
        { &res_jobs, JOB("\"backoffLimitPerIndex\":1,"),
          "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode" },
        { &res_jobs, JOB("\"managedBy\":\"me\","),
          "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as "
          "\"acme.io/foo\")" },
        { &res_jobs, JOB("\"managedBy\":\"a.b/c?d\","),
          "spec.managedBy: Invalid value: \"c?d\": Invalid path (regex used for validation is "
          "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')" },
        { &res_jobs, JOB("\"completionMode\":\"Indexed\",\"parallelism\":1,"),
          "spec.completions: Required value: when completion mode is Indexed" },
        { &res_jobs, INDEXED("\"maxFailedIndexes\":2,"),
          "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified" },
        { &res_jobs, INDEXED("\"parallelism\":100001,"),
          "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when "
          "completion mode is Indexed" },
        { &res_jobs, INDEXED("\"backoffLimitPerIndex\":1,\"maxFailedIndexes\":6,"),
          "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions" },
        { &res_jobs, JOB("\"completionMode\":\"Indexed\",\"completions\":100001,\"backoffLimitPerIndex\":1,"),
          "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[0]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for "
          "the In operator" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[2,1]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be ordered" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[1,1]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Duplicate value: 1" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[1],\"containerName\":\"d\""),
          "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"d\": must be "
          "one of the container or initContainer names in the pod template" },
        { &res_jobs, ON_FAILURE("\"action\":\"Ignore\""),
          "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and "
          "OnPodConditions is required" },
        { &res_jobs, ON_FAILURE("\"action\":\"FailIndex\",\"onPodConditions\":[{\"type\":\"A\"}]"),
          "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the "
          "backoffLimitPerIndex to be set" },
        { &res_jobs, ON_FAILURE("\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"A\",\"status\":\"Yes\"}]"),
          "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Yes\": "
          "supported values: \"False\", \"True\", \"Unknown\"" },
        { &res_jobs, JOB("\"podFailurePolicy\":{\"rules\":[]},\"podReplacementPolicy\":\"TerminatingOrFailed\","),
          "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: "
          "\"Failed\"" },
        { &res_jobs, JOB("\"successPolicy\":{\"rules\":[]},"),
          "spec.successPolicy: Invalid value: {\"rules\":[]}: requires indexed completion mode" },
        { &res_jobs, INDEXED("\"successPolicy\":{\"rules\":[]},"),
          "spec.successPolicy.rules: Required value: at least one rules must be specified when the "
          "successPolicy is specified" },
        { &res_jobs, SUCCESS(""),
          "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or "
          "succeededIndexes must be specified" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1,0\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,0\": error parsing "
          "succeededIndexes: non-increasing order, previous: 1, current: 0" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1,\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,\": error parsing "
          "succeededIndexes: cannot convert string to integer for index: \"\"" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1-5\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1-5\": error parsing "
          "succeededIndexes: too large index: \"5\"" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"0,2-3\",\"succeededCount\":4"),
          "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal "
          "to 3 (the number of indexes in the specified succeededIndexes field)" },
        { &res_jobs, META "\"spec\":{\"podFailurePolicy\":{\"rules\":[]}," TEMPLATE("OnFailure") "}}",
          "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is "
          "supported when podFailurePolicy is specified" },
        { &res_persistentvolumeclaims, META "\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]}}",
          "spec.resources[storage]: Required value" },
};

static void objects_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                const struct api_resource *r = refused[i].resource;
                const char *expected = arena_printf(f->a, "%s%s%s \"x\" is invalid: %s", r->kind, *r->group ? "." : "",
                                                    r->group, refused[i].message)
                                                       .p;
                struct answer a = ASK(f, API_CREATE, r, "default", .body = refused[i].body);

                if (a.code != 422)
                        fail_msg("%s: %d %s", refused[i].body, a.code, a.message);
                assert_string_equal(a.message, expected);
        }
}

static void what_changes_in_a_pod_is_limited(void **state) {
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default", .body = POD("}]}}"));
        assert_int_equal(a.code, 201);
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"hostname\":\"other\"}}");
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "spec: Forbidden: pod updates may not change fields other than "
                                          "`spec.containers[*].image`,`spec.initContainers[*].image`,"));
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "resize", .patch = API_PATCH_STRATEGIC,
                .body = "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"memory\":\"1Gi\"}}}]}"
                        "}");
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "Pod QOS Class may not change as a result of resizing"));
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "ephemeralcontainers", .patch = API_PATCH_STRATEGIC,
                .body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"i\","
                        "\"targetContainerName\":\"nope\"}]}}");
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "spec.ephemeralContainers[0].targetContainerName: Not found: \"nope\""));
}

static void what_changes_in_a_job_is_limited(void **state) {
        static const struct {
                const char *patch, *message; /* NULL: it may be changed */
        } rows[] = {
                { "{\"spec\":{\"completions\":4}}",
                  "spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism" },
                { "{\"spec\":{\"completions\":4,\"parallelism\":4}}", NULL },
                { "{\"spec\":{\"completionMode\":\"NonIndexed\"}}",
                  "spec.completionMode: Invalid value: \"NonIndexed\": field is immutable" },
                { "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"a\":\"b\"}},"
                  "\"spec\":{\"nodeSelector\":{\"a\":\"b\"},\"affinity\":{\"nodeAffinity\":{}}}}}}",
                  NULL },
                { "{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}", "field is immutable" },
                { "{\"spec\":{\"suspend\":false}}", NULL },
                { "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"c\":\"d\"}}}}}", "field is immutable" },
        };
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_jobs, "default", .body = INDEXED("\"suspend\":true,"));
        assert_int_equal(a.code, 201);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                a = ASK(f, API_PATCH, &res_jobs, "default", "x", .patch = API_PATCH_MERGE, .body = rows[i].patch);
                if (a.code != (rows[i].message ? 422 : 200) || (a.message && !strstr(a.message, rows[i].message)))
                        fail_msg("%s: %d %s", rows[i].patch, a.code, a.message);
        }
}

static void what_is_not_wise_is_warned_of(void **state) {
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default",
                .body = IN_CONTAINER("\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"}]"));
        assert_int_equal(a.code, 201);
        assert_int_equal(a.n_warnings, 1);
        assert_string_equal(arena_cstr(f->a, a.warning),
                            "spec.containers[0].env[1]: hides previous definition of \"A\", "
                            "which may be dropped when using apply");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(objects_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_changes_in_a_pod_is_limited, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_changes_in_a_job_is_limited, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_not_wise_is_warned_of, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
