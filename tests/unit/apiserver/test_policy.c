/* ValidatingAdmissionPolicy, the validation of it and of webhook configurations. */
#include "help.h"

#include "base/metrics.h"

#define RULES(resources)                                                                                           \
        "\"resourceRules\":[{\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"operations\":[\"*\"],\"resources\":[" \
        "\"" resources "\"]}]"
#define ON(resources) "\"matchConstraints\":{" RULES(resources) "}"

static struct answer policy(struct fixture *f, const char *name, const char *spec) {
        return ASK(f, API_CREATE, &res_validatingadmissionpolicies,
                   .body = arena_printf(f->a, "{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s}}", name, spec).p);
}

static struct answer bind_policy(struct fixture *f, const char *name, const char *spec) {
        return ASK(f, API_CREATE, &res_validatingadmissionpolicybindings,
                   .body = arena_printf(f->a,
                                        "{\"metadata\":{\"name\":\"%s-binding\"},\"spec\":{\"policyName\":\"%s\",%s}}",
                                        name, name, spec)
                                           .p);
}

/* A policy with one binding. */
static void enforce(struct fixture *f, const char *name, const char *spec, const char *binding) {
        struct answer r = policy(f, name, spec);

        if (r.code == 201)
                r = bind_policy(f, name, binding);
        if (r.code != 201)
                fail_msg("%d %s", r.code, r.message);
}
#define DENY "\"validationActions\":[\"Deny\"]"

static struct answer map(struct fixture *f, const char *name, const char *data) {
        return ASK(f, API_CREATE, &res_configmaps, "default",
                   .body = arena_printf(f->a, "{\"metadata\":{\"name\":\"%s\"},\"data\":{%s}}", name, data).p);
}

#define DENIED(name, policy)                                                                                 \
        "configmaps \"" name "\" is forbidden: ValidatingAdmissionPolicy '" policy "' with binding '" policy \
        "-binding' denied request: "

static void a_validation_that_does_not_hold_denies(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf metrics = BUF_INIT;
        struct answer r;

        enforce(f, "p",
                ON("configmaps") ",\"validations\":[{\"expression\":\"has(object.data.a) && object.data.a != 'no'\"}]",
                DENY);
        check_code(map(f, "x", "\"a\":\"yes\""), 201);
        r = map(f, "y", "\"a\":\"no\"");
        check_error(r, 422, DENIED("y", "p") "failed expression: has(object.data.a) && object.data.a != 'no'");
        assert_string_equal(r.reason, "Invalid");
        metrics_collect(&metrics);
        buf_putc(&metrics, '\0');
        assert_non_null(strstr(metrics.p, "\napiserver_validating_admission_policy_check_total{enforcement_action="
                                          "\"deny\",error_type=\"invalid_error\",policy=\"p\",policy_binding="
                                          "\"p-binding\"} 1\n"));
}

static void messages_and_reasons_are_the_policys(void **state) {
        struct fixture *f = *state;
        struct answer r;

        enforce(f, "p",
                ON("configmaps") ",\"variables\":[{\"name\":\"n\",\"expression\":\"size(object.data)\"},"
                                 "{\"name\":\"twice\",\"expression\":\"variables.n * 2\"}],"
                                 "\"validations\":[{\"expression\":\"variables.n < "
                                 "3\",\"message\":\"plain\",\"reason\":\"Forbidden\","
                                 "\"messageExpression\":\"'has ' + string(variables.twice) + ' halves'\"}]",
                DENY);
        check_code(map(f, "x", "\"a\":\"1\""), 201);
        r = map(f, "y", "\"a\":\"1\",\"b\":\"2\",\"c\":\"3\"");
        check_error(r, 403, DENIED("y", "p") "has 6 halves");
        assert_string_equal(r.reason, "Forbidden");
}

static void the_failure_policy_decides_about_errors(void **state) {
        struct fixture *f = *state;

        enforce(f, "p", ON("configmaps") ",\"validations\":[{\"expression\":\"object.data.a == 'x'\"}]", DENY);
        check_error(map(f, "x", ""), 422,
                    DENIED("x", "p") "expression 'object.data.a == 'x'' resulted in error: no such key: data");
        ASK(f, API_DELETE, &res_validatingadmissionpolicies, .name = "p");
        check_code(map(f, "x", ""), 201);
        enforce(f, "q",
                ON("configmaps") ",\"failurePolicy\":\"Ignore\",\"validations\":[{\"expression\":"
                                 "\"object.data.a == 'x'\"}]",
                DENY);
        check_code(map(f, "y", ""), 201);
        assert_int_equal(map(f, "z", "\"a\":\"b\"").code, 422);
}

static void match_conditions_narrow(void **state) {
        struct fixture *f = *state;

        enforce(f, "p",
                ON("configmaps") ",\"matchConditions\":[{\"name\":\"not-exempt\",\"expression\":"
                                 "\"!object.metadata.name.startsWith('free')\"},{\"name\":\"ours\",\"expression\":"
                                 "\"request.operation == 'CREATE' && namespaceObject.metadata.name == 'default'\"}],"
                                 "\"validations\":[{\"expression\":\"false\",\"message\":\"never\"}]",
                DENY);
        check_code(map(f, "free", ""), 201);
        check_error(map(f, "x", ""), 422, DENIED("x", "p") "never");
        check_code(ASK(f, API_PATCH, &res_configmaps, "default", "free", .patch = API_PATCH_MERGE,
                       .body = "{\"data\":{\"a\":\"b\"}}"),
                   200);
        check_code(ASK(f, API_CREATE, &res_configmaps, "kube-system", .body = "{\"metadata\":{\"name\":\"x\"}}"), 201);
}

static void updates_deletes_and_connects_are_seen(void **state) {
        struct fixture *f = *state;

        enforce(f, "p",
                ON("configmaps") ",\"validations\":[{\"expression\":\"oldObject == null || object == null || "
                                 "object.data.a == oldObject.data.a\",\"message\":\"a stays\"},{\"expression\":"
                                 "\"request.operation != 'DELETE' || oldObject.metadata.name != "
                                 "'kept'\",\"message\":\"kept\"}]",
                DENY);
        check_code(map(f, "kept", "\"a\":\"1\""), 201);
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "kept", .patch = API_PATCH_MERGE,
                        .body = "{\"data\":{\"a\":\"2\"}}"),
                    422, DENIED("kept", "p") "a stays");
        check_error(ASK(f, API_DELETE, &res_configmaps, "default", "kept"), 422, DENIED("kept", "p") "kept");
        enforce(f, "q", ON("pods/exec") ",\"validations\":[{\"expression\":\"object.command[0] != 'sh'\"}]", DENY);
        assert_int_equal(ASK(f, API_CONNECT, &res_pods, "default", "p", "exec",
                             .body = "{\"kind\":\"PodExecOptions\",\"command\":[\"sh\"]}")
                                         .code,
                         422);
        check_code(ASK(f, API_CONNECT, &res_pods, "default", "p", "exec",
                       .body = "{\"kind\":\"PodExecOptions\",\"command\":[\"ls\"]}"),
                   200);
}

static const char *note(struct fixture *f, struct answer r, const char *key) {
        return arena_cstr(f->a, json_str(json_getc(r.annotations, key)));
}

static void warn_and_audit_let_pass(void **state) {
        struct fixture *f = *state;
        struct answer r;

        enforce(f, "p", ON("configmaps") ",\"validations\":[{\"expression\":\"false\",\"message\":\"bad\"}]",
                "\"validationActions\":[\"Warn\",\"Audit\"]");
        r = map(f, "x", "");
        check_code(r, 201);
        assert_int_equal(r.n_warnings, 1);
        assert_string_equal(arena_cstr(f->a, r.warning),
                            "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p-binding': bad");
        assert_string_equal(note(f, r, "validation.policy.admission.k8s.io/validation_failure"),
                            "[{\"message\":\"bad\",\"policy\":\"p\",\"binding\":\"p-binding\",\"expressionIndex\":0,"
                            "\"validationActions\":[\"Warn\",\"Audit\"]}]");
}

static void annotations_are_for_the_audit_log(void **state) {
        struct fixture *f = *state;
        struct answer r;

        enforce(f, "p",
                ON("configmaps") ",\"auditAnnotations\":[{\"key\":\"size\",\"valueExpression\":"
                                 "\"string(size(object.data))\"},{\"key\":\"none\",\"valueExpression\":\"null\"}]",
                DENY);
        r = map(f, "x", "\"a\":\"1\"");
        check_code(r, 201);
        assert_string_equal(note(f, r, "p/size"), "1");
        assert_int_equal(json_len(r.annotations), 1);
        check_error(map(f, "y", ""), 422,
                    DENIED("y", "p") "expression 'string(size(object.data))' resulted in error: no such key: data");
}

#define MAX_SPEC                                                                                        \
        ON("configmaps")                                                                                \
        ",\"paramKind\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"},\"matchConditions\":[{\"name\":" \
        "\"n\",\"expression\":\"object.metadata.name != 'limits'\"}],\"validations\":[{\"expression\":" \
        "\"params == null || size(object.data) <= int(params.data.max)\"}]"

static void parameters_are_found_by_name(void **state) {
        struct fixture *f = *state;

        enforce(f, "p", MAX_SPEC,
                DENY ",\"paramRef\":{\"name\":\"limits\",\"namespace\":\"default\","
                     "\"parameterNotFoundAction\":\"Deny\"}");
        check_error(map(f, "x", "\"a\":\"1\""), 422,
                    DENIED("x", "p") "failed to configure binding: no params found for policy binding with `Deny` "
                                     "parameterNotFoundAction");
        ASK(f, API_DELETE, &res_validatingadmissionpolicybindings, .name = "p-binding");
        check_code(map(f, "limits", "\"max\":\"1\""), 201);
        check_code(bind_policy(f, "p",
                               DENY ",\"paramRef\":{\"name\":\"limits\",\"parameterNotFoundAction\":\"Allow\"}"),
                   201);
        check_code(map(f, "x", "\"a\":\"1\""), 201);
        assert_int_equal(map(f, "y", "\"a\":\"1\",\"b\":\"2\"").code, 422);
        check_code(ASK(f, API_CREATE, &res_configmaps, "kube-system", /* none there */
                       .body = "{\"metadata\":{\"name\":\"x\"},\"data\":{\"a\":\"1\",\"b\":\"2\"}}"),
                   201);
}

static void parameters_are_selected(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_configmaps, "default",
                       .body = "{\"metadata\":{\"name\":\"one\",\"labels\":{\"limit\":\"\"}},\"data\":{\"max\":\"1\"}"
                               "}"),
                   201);
        check_code(ASK(f, API_CREATE, &res_configmaps, "default",
                       .body = "{\"metadata\":{\"name\":\"two\",\"labels\":{\"limit\":\"\"}},\"data\":{\"max\":\"2\"}"
                               "}"),
                   201);
        enforce(f, "p", MAX_SPEC,
                DENY ",\"paramRef\":{\"selector\":{\"matchLabels\":{\"limit\":\"\"}},"
                     "\"parameterNotFoundAction\":\"Deny\"}");
        check_code(map(f, "x", "\"a\":\"1\""), 201);
        assert_int_equal(map(f, "y", "\"a\":\"1\",\"b\":\"2\"").code, 422);
        enforce(f, "q",
                ON("configmaps") ",\"paramKind\":{\"apiVersion\":\"a/v1\",\"kind\":\"No\"},\"validations\":"
                                 "[{\"expression\":\"true\"}]",
                DENY);
        check_error(map(f, "z", "\"a\":\"1\""), 422,
                    "configmaps \"z\" is forbidden: ValidatingAdmissionPolicy 'q' denied request: failed to configure "
                    "policy: failed to find resource referenced by paramKind: 'a/v1, Kind=No'");
}

static void bindings_and_rules_choose(void **state) {
        struct fixture *f = *state;

        enforce(f, "p",
                "\"matchConstraints\":{" RULES(
                                "*") ",\"excludeResourceRules\":[{\"apiGroups\":[\"\"],\"apiVersions\":[\"*\"],"
                                     "\"operations\":[\"*\"],\"resources\":[\"configmaps\"],\"resourceNames\":["
                                     "\"free\"]}]},"
                                     "\"validations\":[{\"expression\":\"false\"}]",
                DENY ",\"matchResources\":{\"namespaceSelector\":{\"matchLabels\":{\"kubernetes.io/metadata.name\":"
                     "\"default\"}}," RULES("configmaps") "}");
        check_code(map(f, "free", ""), 201);
        assert_int_equal(map(f, "x", "").code, 422);
        check_code(ASK(f, API_CREATE, &res_configmaps, "kube-system", .body = "{\"metadata\":{\"name\":\"x\"}}"), 201);
        make_account(f, "default");
}

static void the_authorizer_is_asked(void **state) {
        struct fixture *f = *state;

        enforce(f, "p",
                ON("configmaps") ",\"validations\":[{\"expression\":"
                                 "\"authorizer.group('').resource('secrets').namespace(object.metadata.namespace)."
                                 "check('get').allowed() && "
                                 "authorizer.requestResource.check('create').allowed()\"},{\"expression\":\""
                                 "!authorizer.serviceAccount('default', "
                                 "'default').path('/x').check('get').allowed()\"}]",
                DENY);
        check_code(map(f, "x", ""), 201);
}

/* ---- validation ---- */

static void policies_are_checked(void **state) {
        struct fixture *f = *state;
#define INVALID_POLICY "ValidatingAdmissionPolicy.admissionregistration.k8s.io \"p\" is invalid: "
#define INVALID INVALID_POLICY
        static const struct {
                const char *spec, *text;
        } cases[] = {
                { ON("pods"),
                  INVALID "[spec.validations: Required value: validations or auditAnnotations must contain at "
                          "least one item, spec.auditAnnotations: Required value: validations or "
                          "auditAnnotations must contain at least one item]" },
                { "\"validations\":[{\"expression\":\"true\"}]", INVALID "spec.matchConstraints: Required value" },
                { ON("pods") ",\"validations\":[{\"expression\":\"object.x\"}]", INVALID
                  "spec.validations[0].expression: Invalid value: \"object.x\": must evaluate to bool but got dyn" },
                { ON("pods") ",\"validations\":[{\"expression\":\" \"}]",
                  INVALID "spec.validations[0].expression: Required value: expression is not specified" },
                { ON("pods") ",\"variables\":[{\"name\":\"a\",\"expression\":\" \"}],\"validations\":[{"
                             "\"expression\":"
                             "\"variables.a\"}]",
                  INVALID "[spec.variables[0].expression: Required value: expression is not specified, "
                          "spec.validations[0].expression: Invalid value: \"variables.a\": compilation failed: ERROR: "
                          "<input>:1:10: undefined field 'a'\n | variables.a\n | .........^]" },
                { ON("pods") ",\"validations\":[{\"expression\":\"true\",\"messageExpression\":\"1\"}]", INVALID
                  "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int" },
                { ON("pods") ",\"validations\":[{\"expression\":\"params == null\"}]", INVALID
                  "spec.validations[0].expression: Invalid value: \"params == null\": compilation failed: ERROR: "
                  "<input>:1:1: undeclared reference to 'params' (in container '')\n | params == null\n | ^" },
                { ON("pods") ",\"auditAnnotations\":[{\"key\":\"a\",\"valueExpression\":\"1\"}]", INVALID
                  "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string "
                  "null_type] but got int" },
                { ON("pods") ",\"variables\":[{\"name\":\"a-b\",\"expression\":\"1\"}],\"validations\":[{"
                             "\"expression\":"
                             "\"true\"}]",
                  INVALID "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier" },
                { ON("pods") ",\"paramKind\":{\"apiVersion\":\"v1\"},\"validations\":[{\"expression\":\"true\","
                             "\"reason\":"
                             "\"Because\"}]",
                  INVALID
                  "[spec.paramKind.kind: Required value, spec.validations[0].reason: Unsupported value: \"Because\": "
                  "supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"]" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                check_error(policy(f, "p", cases[i].spec), 422, cases[i].text);
}

static void a_body_without_a_kind_has_that_of_its_path(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        enforce(f, "p",
                ON("serviceaccounts/token") ",\"validations\":[{\"expression\":\"object.kind == 'TokenRequest' && "
                                            "object.apiVersion == 'authentication.k8s.io/v1'\"}]",
                DENY);
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = "{\"spec\":{}}"),
                   201);
}

static void a_policy_that_denies_everything_can_be_removed(void **state) {
        struct fixture *f = *state;

        enforce(f, "all", ON("*") ",\"validations\":[{\"expression\":\"false\"}]", DENY);
        assert_int_equal(map(f, "x", "").code, 422);
        check_code(ASK(f, API_DELETE, &res_validatingadmissionpolicybindings, NULL, "all-binding"), 200);
        check_code(ASK(f, API_DELETE, &res_validatingadmissionpolicies, NULL, "all"), 200);
}

static void bindings_are_checked(void **state) {
        struct fixture *f = *state;
#undef INVALID
#define INVALID "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"p-binding\" is invalid: "

        check_error(bind_policy(f, "p", "\"paramRef\":{}"), 422,
                    INVALID "[spec.paramRef: Required value: one of name or selector must be specified, "
                            "spec.paramRef.parameterNotFoundAction: Required value, spec.validationActions: Required "
                            "value: at least one validation action is required]");
        check_error(bind_policy(f, "p", "\"validationActions\":[\"Deny\",\"Warn\"]"), 422,
                    INVALID "spec.validationActions: Invalid value: []admissionregistration.ValidationAction{\"Deny\", "
                            "\"Warn\"}: must not contain both Deny and "
                            "Warn (repeating the same validation failure information in the API response and headers "
                            "serves no purpose)");
}

static void webhooks_are_checked(void **state) {
        struct fixture *f = *state;
#define GOOD "\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"]"
#define URL "\"clientConfig\":{\"url\":\"https://a\"}"
#undef INVALID
#define INVALID "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"w\" is invalid: "
        static const struct {
                const char *hook, *text;
        } cases[] = {
                { "\"name\":\"a\"," URL "," GOOD,
                  "webhooks[0].name: Invalid value: \"a\": should be a domain with at least "
                  "three segments separated by dots" },
                { "\"name\":\"a.b.c\",\"clientConfig\":{}," GOOD,
                  "webhooks[0].clientConfig: Required value: exactly one of url or service is required" },
                { "\"name\":\"a.b.c\",\"clientConfig\":{\"url\":\"http://u@a/b?c#d\"}," GOOD,
                  "[webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; "
                  "desired "
                  "format: https://host[/path], webhooks[0].clientConfig.url: Invalid value: \"u\": user information "
                  "is not "
                  "permitted in the URL, webhooks[0].clientConfig.url: Invalid value: \"d\": fragments are not "
                  "permitted in "
                  "the URL, webhooks[0].clientConfig.url: Invalid value: \"c\": query parameters are not permitted in "
                  "the "
                  "URL]" },
                { "\"name\":\"a.b.c\",\"clientConfig\":{\"service\":{\"name\":\"s\",\"namespace\":\"n\",\"path\":\"/a//"
                  "b\"}}," GOOD,
                  "webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty" },
                { "\"name\":\"a.b.c\"," URL ",\"sideEffects\":\"Some\",\"admissionReviewVersions\":[\"v1\"]",
                  "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", "
                  "\"NoneOnDryRun\"" },
                { "\"name\":\"a.b.c\"," URL ",\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v2\"]",
                  "webhooks[0].admissionReviewVersions: Invalid value: []string{\"v2\"}: must include at least one of "
                  "v1, "
                  "v1beta1" },
                { "\"name\":\"a.b.c\"," URL ",\"timeoutSeconds\":31," GOOD,
                  "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds" },
                { "\"name\":\"a.b.c\"," URL "," GOOD
                  ",\"rules\":[{\"operations\":[\"*\",\"CREATE\"],\"apiGroups\":[\"\"],"
                  "\"apiVersions\":[\"v1\"],\"resources\":[\"pods/*\",\"pods/log\"]}]",
                  "[webhooks[0].rules[0].operations: Invalid value: []admissionregistration.OperationType{\"*\", "
                  "\"CREATE\"}: if '*' is present, must not "
                  "specify "
                  "other operations, webhooks[0].rules[0].resources[1]: Invalid value: \"pods/log\": if 'pods/*' is "
                  "present, "
                  "must not specify pods/log]" },
                { "\"name\":\"a.b.c\"," URL "," GOOD ",\"matchConditions\":[{\"name\":\"x\",\"expression\":\"1\"}]",
                  "webhooks[0].matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got "
                  "int" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                check_error(ASK(f, API_CREATE, &res_validatingwebhookconfigurations,
                                .body = arena_printf(f->a, "{\"metadata\":{\"name\":\"w\"},\"webhooks\":[{%s}]}",
                                                     cases[i].hook)
                                                        .p),
                            422, arena_printf(f->a, INVALID "%s", cases[i].text).p);
}

/* Who writes a policy may read what it reads. */
static void parameters_are_those_that_the_writer_may_read(void **state) {
        static struct str groups[] = { STR_INIT("devs"), STR_INIT("system:authenticated") };
        static const struct api_user jane = { STR_INIT("jane"), STR_INIT("7"), groups, 2, NULL };
        static const char binding[] = "{'metadata':{'name':'b'},'spec':{'policyName':'p','validationActions':['Deny'],"
                                      "'paramRef':{'name':'x','namespace':'default','parameterNotFoundAction':"
                                      "'Deny'}}}";
        static const char policy[] = "{'metadata':{'name':'p'},'spec':{'paramKind':{'apiVersion':'v1','kind':"
                                     "'ConfigMap'}," ON("pods") ",'validations':[{'expression':'true'}]}}";
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_clusterroles,
                       .body = Q("{'metadata':{'name':'r'},'rules':[{'apiGroups':['admissionregistration.k8s.io'],"
                                 "'resources':['*'],'verbs':['create']}]}")),
                   201);
        check_code(ASK(f, API_CREATE, &res_clusterrolebindings,
                       .body = Q("{'metadata':{'name':'r'},'roleRef':{'apiGroup':'rbac.authorization.k8s.io','kind':"
                                 "'ClusterRole','name':'r'},'subjects':[{'apiGroup':'rbac.authorization.k8s.io',"
                                 "'kind':'User','name':'jane'}]}")),
                   201);
        check_error(ASK(f, API_CREATE, &res_validatingadmissionpolicies, .body = Q(policy), .user = &jane), 422,
                    INVALID_POLICY "spec.paramKind: Forbidden: user &{jane 7 [devs system:authenticated] map[]} must "
                                   "have \"get\" permission on all objects of the referenced paramKind "
                                   "(kind=ConfigMap, apiVersion=v1)");
        check_error(ASK(f, API_CREATE, &res_validatingadmissionpolicybindings, .body = Q(binding), .user = &jane), 422,
                    "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: "
                    "spec.paramRef: Forbidden: unable to get policy p to determine minimum required "
                    "permissions and user &{jane 7 [devs system:authenticated] map[]} does not have "
                    "\"get\" permission for all groups, versions and resources");
        check_code(ASK(f, API_CREATE, &res_validatingadmissionpolicies, .body = Q(policy)), 201);
        check_error(ASK(f, API_CREATE, &res_validatingadmissionpolicybindings, .body = Q(binding), .user = &jane), 422,
                    "ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"b\" is invalid: "
                    "spec.paramRef: Forbidden: user &{jane 7 [devs system:authenticated] map[]} does "
                    "not have \"get\" permission on the object referenced by paramRef");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(a_validation_that_does_not_hold_denies),
                T(messages_and_reasons_are_the_policys),
                T(the_failure_policy_decides_about_errors),
                T(match_conditions_narrow),
                T(updates_deletes_and_connects_are_seen),
                T(warn_and_audit_let_pass),
                T(annotations_are_for_the_audit_log),
                T(parameters_are_found_by_name),
                T(parameters_are_selected),
                T(bindings_and_rules_choose),
                T(the_authorizer_is_asked),
                T(policies_are_checked),
                T(bindings_are_checked),
                T(a_policy_that_denies_everything_can_be_removed),
                T(a_body_without_a_kind_has_that_of_its_path),
                T(webhooks_are_checked),
                T(parameters_are_those_that_the_writer_may_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
