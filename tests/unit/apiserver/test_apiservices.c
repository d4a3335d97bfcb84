/* APIServices as objects; how other servers are reached is tests/e2e/test_aggregation.py's. */
#include "help.h"

#include <unistd.h>

#define SERVICE(name, spec) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":" spec "}"

static struct answer create(struct fixture *f, const char *body) {
        return ASK(f, .verb = API_CREATE, .resource = &res_apiservices, .body = body);
}

static void what_is_refused(void **state) {
        static const struct {
                const char *body, *message;
        } table[] = {
                { SERVICE("v1.other", "{\"group\":\"a.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
                                      "\"versionPriority\":1}"),
                  "APIService.apiregistration.k8s.io \"v1.other\" is invalid: metadata.name: Invalid value: "
                  "\"v1.other\": must be "
                  "`spec.version+\".\"+spec.group`: \"v1.a.example\"" },
                { SERVICE("v2.", "{\"version\":\"v2\",\"groupPriorityMinimum\":1,\"versionPriority\":1}"),
                  "APIService.apiregistration.k8s.io \"v2.\" is invalid: spec.group: Required value: only v1 may have "
                  "an empty group "
                  "and it better be legacy kube" },
                { SERVICE("v1.a.example", "{\"group\":\"a.example\",\"version\":\"v1\",\"versionPriority\":1001}"),
                  "APIService.apiregistration.k8s.io \"v1.a.example\" is invalid: [spec.groupPriorityMinimum: Invalid "
                  "value: 0: must be "
                  "positive and less than 20000, spec.versionPriority: Invalid value: 1001: must be positive and less "
                  "than 1000]" },
                { SERVICE("v1.a.example", "{\"group\":\"a.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
                                          "\"versionPriority\":1,"
                                          "\"insecureSkipTLSVerify\":true}"),
                  "APIService.apiregistration.k8s.io \"v1.a.example\" is invalid: spec.insecureSkipTLSVerify: Invalid "
                  "value: true: local "
                  "APIServices may not have insecureSkipTLSVerify" },
                { SERVICE("v1.a.example", "{\"group\":\"a.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
                                          "\"versionPriority\":1,"
                                          "\"insecureSkipTLSVerify\":true,\"caBundle\":\"YQ==\",\"service\":{}}"),
                  "APIService.apiregistration.k8s.io \"v1.a.example\" is invalid: [spec.service.namespace: Required "
                  "value, "
                  "spec.service.name: Required value, spec.insecureSkipTLSVerify: Invalid value: true: may not be true "
                  "if caBundle is "
                  "present]" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct answer r = create(*state, table[i].body);

                assert_int_equal(r.code, 422);
                assert_string_equal(r.message, table[i].message);
        }
}

static void a_local_one_is_available_at_once(void **state) {
        struct answer r =
                        create(*state, SERVICE("v1.a.example",
                                               "{\"group\":\"a.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
                                               "\"versionPriority\":1}"));

        assert_int_equal(r.code, 201);
        assert_string_equal(at(*state, r, ".status.conditions[0].status"), "True");
        assert_string_equal(at(*state, r, ".status.conditions[0].reason"), "Local");
}

/* Waits until a condition has this reason. */
static struct answer until(struct fixture *f, const char *reason) {
        struct answer r;

        for (int i = 0; i < 500; i++) {
                r = ASK(f, .verb = API_GET, .resource = &res_apiservices, .name = "v1.a.example");
                if (str_eqc(json_str(json_getc(condition_find(json_getc(r.body, "status"), "Available"), "reason")),
                            reason))
                        return r;
                usleep(10000);
        }
        fail_msg("no condition with reason %s", reason);
        return r;
}

static void a_remote_one_waits_for_its_service(void **state) {
        struct fixture *f = *state;
        struct answer r = create(
                        f, SERVICE("v1.a.example",
                                   "{\"group\":\"a.example\",\"version\":\"v1\",\"groupPriorityMinimum\":1,"
                                   "\"versionPriority\":1,\"service\":{\"namespace\":\"default\",\"name\":\"x\"}}"));

        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".spec.service.port"), "443");
        r = until(f, "ServiceNotFound");
        assert_string_equal(at(f, r, ".status.conditions[0].status"), "False");
        assert_string_equal(at(f, r, ".status.conditions[0].message"), "service/x in \"default\" is not present");
}

static void a_name_elsewhere_needs_no_ports(void **state) {
        struct fixture *f = *state;
        struct answer r;

        a_remote_one_waits_for_its_service(state);
        check_code(ASK(f, .verb = API_CREATE, .resource = &res_services, .ns = "default",
                       .body = "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"type\":\"ExternalName\",\"externalName\":"
                               "\"127.0.0.1\"}}"),
                   201);
        r = until(f, "FailedDiscoveryCheck"); /* nobody answers there */
        assert_non_null(strstr(at(f, r, ".status.conditions[0].message"), "https://127.0.0.1:443/apis/a.example/v1"));
}

static void conditions_of_others_stay(void **state) {
        struct fixture *f = *state;
        struct answer r;

        a_remote_one_waits_for_its_service(state);
        check_code(ASK(f, .verb = API_PATCH, .resource = &res_apiservices, .name = "v1.a.example", .sub = "status",
                       .patch = API_PATCH_STRATEGIC,
                       .body = "{\"status\":{\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\"}]}}"),
                   200);
        check_code(ASK(f, .verb = API_CREATE, .resource = &res_services, .ns = "default",
                       .body = "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"ports\":[{\"port\":443}]}}"),
                   201);
        r = until(f, "EndpointsNotFound");
        assert_non_null(condition_find(json_getc(r.body, "status"), "Mine"));
        check_code(ASK(f, .verb = API_PATCH, .resource = &res_apiservices, .name = "v1.a.example", .sub = "status",
                       .patch = API_PATCH_MERGE,
                       .body = "{\"status\":{\"conditions\":[{\"type\":\"Mine\",\"status\":\"True\"}]}}"),
                   200);
        r = until(f, "EndpointsNotFound");
        assert_string_equal(at(f, r, ".status.conditions[0].type"), "Mine"); /* what was not there comes last */
}

static void built_in_groups_have_theirs(void **state) {
        struct answer r = ASK(*state, .verb = API_GET, .resource = &res_apiservices, .name = "v1.apps");

        assert_int_equal(r.code, 200);
        assert_string_equal(at(*state, r, ".spec.groupPriorityMinimum"), "17800");
        r = ASK(*state, .verb = API_GET, .resource = &res_apiservices, .name = "v1.");
        assert_int_equal(r.code, 200);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_is_refused, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_local_one_is_available_at_once, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_remote_one_waits_for_its_service, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_name_elsewhere_needs_no_ports, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(conditions_of_others_stay, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(built_in_groups_have_theirs, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
