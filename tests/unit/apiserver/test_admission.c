/* Admission webhooks, with a real one at the other end. */
#include "help.h"
#include "hook.h"

#include "base/metrics.h"

struct world {
        struct fixture f; /* first: ASK takes it */
        struct fixture *own;
        struct hook *hook;
};

static int setup(void **state) {
        struct world *w = xcalloc(1, sizeof(*w));
        void *f;

        fixture_setup(&f);
        w->own = f;
        w->f = *w->own;
        w->hook = hook_start();
        *state = w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;
        void *f = w->own;

        fixture_teardown(&f);
        hook_stop(w->hook);
        free(w);
        return 0;
}

#define RULE(groups, versions, resources, operations)                                                               \
        "\"rules\":[{\"apiGroups\":[\"" groups "\"],\"apiVersions\":[\"" versions "\"],\"resources\":[\"" resources \
        "\"],\"operations\":[\"" operations "\"]}]"
#define CONFIGMAPS RULE("", "v1", "configmaps", "CREATE")

/* A configuration of one webhook; more: further members of it. */
static void configure(struct world *w, const struct api_resource *kind, const char *name, const char *path,
                      const char *more) {
        struct fixture *f = &w->f;
        struct str body = arena_printf(f->a,
                                       "{\"metadata\":{\"name\":\"%s\"},\"webhooks\":[{\"name\":\"%s.example.com\","
                                       "\"clientConfig\":%s,\"sideEffects\":\"None\",\"admissionReviewVersions\":"
                                       "[\"v1\"],%s}]}",
                                       name, name, hook_config(w->hook, f->a, path), more);
        struct answer r = ASK(f, API_CREATE, kind, .body = body.p);

        if (r.code != 201)
                fail_msg("%s", r.message);
}
#define MUTATE(w, name, path, more) configure(w, &res_mutatingwebhookconfigurations, name, path, more)
#define VALIDATE(w, name, path, more) configure(w, &res_validatingwebhookconfigurations, name, path, more)

static struct answer create_map(struct world *w, const char *name) {
        return ASK(&w->f, API_CREATE, &res_configmaps, "default",
                   .body = arena_printf(w->f.a, "{\"metadata\":{\"name\":\"%s\"}}", name).p);
}

/* What the webhook was asked last, at a path. */
static const char *asked(struct world *w, const char *path, const char *where) {
        struct json *j;

        assert_int_equal(json_parse(w->f.a, hook_asked(w->hook, w->f.a, path), NULL, &j, NULL), 0);
        return at(&w->f, (struct answer) { .body = j }, where);
}

static void patches_follow_each_other_by_name(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/b", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{\"b\":\"1\"}}]"));
        hook_answers(w->hook, "/a",
                     hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/metadata/labels\",\"value\":"
                                      "{\"a\":\"1\"}}]"));
        MUTATE(w, "b", "/b", CONFIGMAPS);
        MUTATE(w, "a", "/a", CONFIGMAPS);
        r = create_map(w, "x");
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".metadata.labels.a"), "1");
        assert_string_equal(at(f, r, ".data.b"), "1");
        assert_string_equal(asked(w, "/b", ".request.object.metadata.labels.a"), "1");
        assert_string_equal(asked(w, "/a", ".request.object.metadata.labels"), "(absent)");
        assert_string_equal(asked(w, "/a", ".request.object.metadata.uid"), "(absent)");
        assert_int_equal(hook_calls(w->hook, "/a"), 1);
}

static void what_a_patch_makes_is_defaulted_and_validated(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        static const char service[] = "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}";
        struct answer r;

        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/spec/ports/-\",\"value\":"
                                      "{\"name\":\"n\",\"port\":81}},"
                                      "{\"op\":\"add\",\"path\":\"/spec/ports/0/name\",\"value\":\"m\"}]"));
        MUTATE(w, "m", "/m", RULE("", "v1", "services", "CREATE"));
        r = ASK(f, API_CREATE, &res_services, "default", .body = service);
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".spec.ports[1].protocol"), "TCP");
        assert_string_equal(at(f, r, ".spec.ports[1].targetPort"), "81");
        ASK(f, API_DELETE, &res_services, "default", "s");
        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/metadata/labels\",\"value\":"
                                      "{\"a b\":\"\"}}]"));
        r = ASK(f, API_CREATE, &res_services, "default", .body = service);
        assert_int_equal(r.code, 422);
        assert_non_null(strstr(r.message, "Service \"s\" is invalid: metadata.labels: Invalid value: \"a b\""));
        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"replace\",\"path\":\"/metadata/namespace\",\"value\":"
                                      "\"kube-system\"}]"));
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = service), 400,
                    "the namespace of the provided object does not match the namespace sent on the request");
}

static void a_webhook_that_wants_it_sees_later_changes(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        hook_answers(w->hook, "/a", "\"allowed\":true");
        hook_answers(w->hook, "/b", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{\"b\":\"1\"}}]"));
        MUTATE(w, "a", "/a", CONFIGMAPS ",\"reinvocationPolicy\":\"IfNeeded\"");
        MUTATE(w, "b", "/b", CONFIGMAPS);
        assert_int_equal(create_map(w, "x").code, 201);
        assert_int_equal(hook_calls(w->hook, "/a"), 2);
        assert_int_equal(hook_calls(w->hook, "/b"), 1);
        assert_string_equal(asked(w, "/a", ".request.object.data.b"), "1");
        hook_answers(w->hook, "/b", "\"allowed\":true");
        assert_int_equal(create_map(w, "y").code, 201);
        assert_int_equal(hook_calls(w->hook, "/a"), 3);
        hook_answers(w->hook, "/b", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/metadata/name\",\"value\":\"z\"}]"));
        assert_int_equal(create_map(w, "z").code, 201); /* which it is named anyway */
        assert_int_equal(hook_calls(w->hook, "/a"), 4);
}

/* Upstream compares times of owners that are rounded in between. */
static void a_patch_changes_an_object_with_new_owners(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        hook_answers(w->hook, "/a", "\"allowed\":true");
        hook_answers(w->hook, "/b", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/metadata/name\",\"value\":\"z\"}]"));
        MUTATE(w, "a", "/a", CONFIGMAPS ",\"reinvocationPolicy\":\"IfNeeded\"");
        MUTATE(w, "b", "/b", CONFIGMAPS);
        assert_int_equal(ASK(f, API_CREATE, &res_configmaps, "default", .options.field_manager = STR("m"),
                             .body = "{\"metadata\":{\"name\":\"z\"},\"data\":{\"a\":\"b\"}}")
                                         .code,
                         201);
        assert_int_equal(hook_calls(w->hook, "/a"), 2);
}

static void a_patch_makes_no_other_kind(void **state) {
        static const struct {
                const char *patch;
                int code;
                const char *message;
        } cases[] = {
                { "[{\"op\":\"remove\",\"path\":\"/apiVersion\"},{\"op\":\"remove\",\"path\":\"/kind\"}]", 201, NULL },
                { "[{\"op\":\"add\",\"path\":\"/apiVersion\",\"value\":1}]", 500,
                  "Internal error occurred: couldn't get version/kind; json parse error: json: cannot unmarshal number "
                  "into Go struct field .apiVersion of type string" },
                { "[{\"op\":\"add\",\"path\":\"/apiVersion\",\"value\":\"v2\"}]", 500,
                  "Internal error occurred: no kind \"ConfigMap\" is registered for version \"v2\" in scheme "
                  "\"pkg/api/legacyscheme/scheme.go:30\"" },
                { "[{\"op\":\"add\",\"path\":\"/kind\",\"value\":\"Pod\"}]", 500,
                  "converting (v1.Pod) to (core.ConfigMap): unknown conversion" },
        };
        struct world *w = *state;
        struct fixture *f = &w->f;

        MUTATE(w, "a", "/a", CONFIGMAPS);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                hook_answers(w->hook, "/a", hook_patch(f->a, cases[i].patch));
                struct answer r = create_map(w, "x");

                if (cases[i].message)
                        check_error(r, cases[i].code, cases[i].message);
                else
                        assert_string_equal(at(f, r, ".apiVersion"), "v1");
        }
}

static void refusals_say_who_and_why(void **state) {
        struct world *w = *state;
        struct answer r;

        VALIDATE(w, "v", "/v", CONFIGMAPS);
        hook_answers(w->hook, "/v", "\"allowed\":false");
        check_error(create_map(w, "x"), 400,
                    "admission webhook \"v.example.com\" denied the request without explanation");
        hook_answers(w->hook, "/v", "\"allowed\":false,\"status\":{\"message\":\"not today\",\"code\":418}");
        check_error(create_map(w, "x"), 418, "admission webhook \"v.example.com\" denied the request: not today");
        hook_answers(w->hook, "/v", "\"allowed\":false,\"status\":{\"reason\":\"Forbidden\",\"code\":403}");
        r = create_map(w, "x");
        check_error(r, 403, "admission webhook \"v.example.com\" denied the request: Forbidden");
        assert_string_equal(r.reason, "Forbidden");
        hook_answers(w->hook, "/v",
                     "\"allowed\":false,\"status\":{\"status\":\"Odd\",\"metadata\":{\"continue\":\"c\"},"
                     "\"reason\":\"Mine\",\"message\":\"m\",\"code\":600,\"details\":"
                     "{\"uid\":\"u\",\"kind\":\"k\",\"causes\":[{\"reason\":\"r\"}]}}");
        r = create_map(w, "x");
        assert_int_equal(r.code, 600);
        assert_string_equal(r.status,
                            "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{\"continue\":\"c\"},\"status\":"
                            "\"Odd\","
                            "\"message\":\"admission webhook \\\"v.example.com\\\" denied the request: m\","
                            "\"reason\":\"Mine\",\"details\":{\"kind\":\"k\",\"uid\":\"u\",\"causes\":[{\"reason\":"
                            "\"r\"}]},\"code\":600}");
        hook_answers(w->hook, "/v",
                     "\"allowed\":true,\"warnings\":[\"take care\",\"\"],\"auditAnnotations\":{\"a\":\"b\",\"a "
                     "b\":\"c\"}");
        r = create_map(w, "x");
        assert_int_equal(r.code, 201);
        assert_int_equal(r.n_warnings, 1);
        assert_memory_equal(r.warning.p, "take care", 9);
        assert_int_equal(json_len(r.annotations), 1); /* the other is no name */
        assert_true(str_eqc(json_str(json_getc(r.annotations, "v.example.com/a")), "b"));
}

static void the_first_refusal_in_order_is_told(void **state) {
        struct world *w = *state;

        hook_answers(w->hook, "/a", "\"allowed\":true");
        hook_answers(w->hook, "/b", "\"allowed\":false,\"status\":{\"message\":\"b\"}");
        hook_answers(w->hook, "/c", "\"allowed\":false,\"status\":{\"message\":\"c\"}");
        VALIDATE(w, "a", "/a", CONFIGMAPS);
        VALIDATE(w, "b", "/b", CONFIGMAPS);
        VALIDATE(w, "c", "/c", CONFIGMAPS);
        check_error(create_map(w, "x"), 400, "admission webhook \"b.example.com\" denied the request: b");
        assert_int_equal(hook_calls(w->hook, "/a") + hook_calls(w->hook, "/c"), 2);
}

static void the_policy_decides_when_a_webhook_fails(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/slow", NULL);
        VALIDATE(w, "v", "/slow", CONFIGMAPS ",\"timeoutSeconds\":1,\"failurePolicy\":\"Ignore\"");
        MUTATE(w, "m", "/slow", CONFIGMAPS ",\"timeoutSeconds\":1,\"failurePolicy\":\"Ignore\"");
        assert_int_equal(create_map(w, "x").code, 201);
        assert_int_equal(hook_calls(w->hook, "/slow"), 2);
        MUTATE(w, "n", "/nowhere", CONFIGMAPS);
        check_error(create_map(w, "y"), 500,
                    "Internal error occurred: failed calling webhook \"n.example.com\": failed to call webhook: the "
                    "server could not find the requested resource");
        ASK(f, API_DELETE_COLLECTION, &res_mutatingwebhookconfigurations);
        ASK(f, API_DELETE_COLLECTION, &res_validatingwebhookconfigurations);
        VALIDATE(w, "z", "/slow", CONFIGMAPS ",\"timeoutSeconds\":1");
        r = create_map(w, "y");
        assert_int_equal(r.code, 500);
        assert_non_null(strstr(r.message, "failed calling webhook \"z.example.com\": failed to call webhook: Post "
                                          "\"https://localhost:"));
        assert_non_null(strstr(r.message, "/slow?timeout=1s\": context deadline exceeded"));
        assert_null(strstr(r.message, "Client.Timeout"));
}

static void answers_that_make_no_sense_are_failures(void **state) {
        struct world *w = *state;
#define INVALID "received invalid webhook response: "
        static const struct {
                const char *answer, *text; /* after "failed calling webhook …: " */
        } cases[] = {
                { "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\"}",
                  INVALID "webhook response was absent" },
                { "{}", INVALID "webhook response was absent" },
                { "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"response\":{\"uid\":7}}",
                  "failed to call webhook: json: cannot unmarshal number into Go struct field "
                  "AdmissionResponse.response.uid of type types.UID" },
                { "\"allowed\":true,\"patch\":\"W10=\"",
                  INVALID "webhook returned response.patch but not response.patchType" },
                { "\"allowed\":true,\"patchType\":\"JSONPatch\"",
                  INVALID "webhook returned response.patchType but not response.patch" },
                { "\"allowed\":true,\"patchType\":\"Strategic\",\"patch\":\"W3t9XQ==\"",
                  "unsupported patch type \"Strategic\"" },
        };

        MUTATE(w, "m", "/m", CONFIGMAPS);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                hook_answers(w->hook, "/m", cases[i].answer);
                check_error(create_map(w, "x"), 500,
                            arena_printf(w->f.a,
                                         "Internal error occurred: failed calling webhook \"m.example.com\": %s",
                                         cases[i].text)
                                            .p);
        }
        hook_answers(w->hook, "/m", hook_patch(w->f.a, "{}"));
        check_error(create_map(w, "x"), 500,
                    "Internal error occurred: json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        hook_answers(w->hook, "/m", hook_patch(w->f.a, "[{\"op\":\"add\",\"path\":\"/data\",\"value\":7}]"));
        assert_int_equal(create_map(w, "x").code, 500);
        hook_answers(w->hook, "/v", hook_patch(w->f.a, "[{\"op\":\"add\",\"path\":\"/data\",\"value\":{}}]"));
        ASK(&w->f, API_DELETE, &res_mutatingwebhookconfigurations, .name = "m");
        VALIDATE(w, "v", "/v", CONFIGMAPS);
        check_error(create_map(w, "x"), 500,
                    "Internal error occurred: failed calling webhook \"v.example.com\": " INVALID
                    "validating webhook may not return response.patch");
}

static void the_question_says_who_what_and_where(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct str groups[] = { STR_INIT("system:masters") };
        struct api_user jane = { .name = STR("jane"), .uid = STR("7"), .groups = groups, .n_groups = 1 };

        hook_answers(w->hook, "/v", "\"allowed\":true");
        VALIDATE(w, "v", "/v", RULE("*", "*", "*/*", "*"));
        ASK(f, API_CREATE, &res_configmaps, "default", .user = &jane, .options.dry_run = true,
            .options.field_manager = STR("cli"), .body = "{\"metadata\":{\"generateName\":\"x-\"}}");
        assert_string_equal(asked(w, "/v", ".request.operation"), "CREATE");
        assert_string_equal(asked(w, "/v", ".request.namespace"), "default");
        assert_string_equal(asked(w, "/v", ".request.dryRun"), "true");
        assert_string_equal(asked(w, "/v", ".request.kind"),
                            "{\"group\":\"\",\"version\":\"v1\",\"kind\":\"ConfigMap\"}");
        assert_string_equal(asked(w, "/v", ".request.userInfo"),
                            "{\"username\":\"jane\",\"uid\":\"7\",\"groups\":[\"system:masters\"]}");
        assert_string_equal(asked(w, "/v", ".request.options"),
                            "{\"kind\":\"CreateOptions\",\"apiVersion\":\"meta.k8s.io/v1\",\"dryRun\":[\"All\"],"
                            "\"fieldManager\":\"cli\"}");
        assert_string_equal(asked(w, "/v", ".request.oldObject"), "null");
        assert_memory_equal(asked(w, "/v", ".request.name"), "x-", 2);

        create_map(w, "y");
        ASK(f, API_DELETE, &res_configmaps, "default", "y");
        assert_string_equal(asked(w, "/v", ".request.operation"), "DELETE");
        assert_string_equal(asked(w, "/v", ".request.object"), "null");
        assert_string_equal(asked(w, "/v", ".request.oldObject.metadata.name"), "y");
        assert_non_null(strstr(strstr(asked(w, "/v", ".request"), "\"oldObject\":"), "\"dryRun\":")); /* behind it */
        ASK(f, API_CREATE, &res_namespaces, .body = "{\"metadata\":{\"name\":\"n\"}}");
        assert_string_equal(asked(w, "/v", ".request.namespace"), "n");
        ASK(f, API_CONNECT, &res_pods, "default", "p", "exec",
            .body = "{\"kind\":\"PodExecOptions\",\"apiVersion\":\"v1\",\"command\":[\"sh\"]}");
        assert_string_equal(asked(w, "/v", ".request.operation"), "CONNECT");
        assert_string_equal(asked(w, "/v", ".request.kind.kind"), "PodExecOptions");
        assert_string_equal(asked(w, "/v", ".request.subResource"), "exec");
        assert_string_equal(asked(w, "/v", ".request.object.command[0]"), "sh");
        assert_string_equal(asked(w, "/v", ".request.options"), "null");
}

static void a_patch_needs_an_object(void **state) {
        struct world *w = *state;

        create_map(w, "x");
        hook_answers(w->hook, "/m", hook_patch(w->f.a, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}]"));
        MUTATE(w, "m", "/m", RULE("", "v1", "configmaps", "DELETE"));
        check_error(ASK(&w->f, API_DELETE, &res_configmaps, "default", "x"), 500,
                    "Internal error occurred: admission webhook \"m.example.com\" attempted to modify the object, "
                    "which "
                    "is not supported for this operation");
}

static void managed_fields_survive_a_webhook_that_breaks_them(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"replace\",\"path\":\"/metadata/managedFields/0/fieldsType\","
                                      "\"value\":\"FieldsV9\"},{\"op\":\"add\",\"path\":\"/data\",\"value\":{\"b\":"
                                      "\"1\"}}]"));
        MUTATE(w, "m", "/m", CONFIGMAPS);
        r = ASK(f, API_CREATE, &res_configmaps, "default",
                .body = "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"1\"}}}");
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".data.b"), "1");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].fieldsType"), "FieldsV1");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].fieldsV1"),
                            "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}}");
        assert_int_equal(r.n_warnings, 1);
        assert_string_equal(r.warning.p, ".metadata.managedFields was in an invalid state after admission; this could "
                                         "be caused by an outdated mutating admission controller; please fix your "
                                         "requests: invalid fieldsType \"FieldsV9\" in managed fields entry 0");
}

#define expect_counted(text)                               \
        do {                                               \
                _cleanup_buf_ struct buf b = BUF_INIT;     \
                metrics_collect(&b);                       \
                buf_putc(&b, '\0');                        \
                if (!strstr(b.p, "\napiserver_" text))     \
                        fail_msg("not counted: %s", text); \
        } while (0)

static void what_is_sent_fits_before_it_is_judged(void **state) {
#define DENIED "admission webhook \"no.example.com\" denied the request without explanation"
        static const struct {
                const struct api_resource *kind;
                const char *sub, *name, *body;
                int code;
                const char *message;
        } table[] = {
                { &res_pods, "eviction", "p", "{\"metadata\":{\"name\":\"q\"}}", 400,
                  "name in URL does not match name in Eviction object" },
                { &res_pods, "eviction", "p", "{\"metadata\":{\"name\":\"p\"}}", 400, DENIED },
                { &res_pods, "binding", "p", "{\"metadata\":{\"name\":\"q\"},\"target\":{\"name\":\"n\"}}", 400,
                  "name in URL does not match name in Binding object" },
                { &res_pods, "binding", "p", "{\"metadata\":{\"name\":\"p\"},\"target\":{\"name\":\"n\"}}", 400,
                  DENIED },
                { &res_bindings, NULL, NULL, "{\"metadata\":{\"name\":\"p\"},\"target\":{\"name\":\"n\"}}", 400,
                  DENIED },
                { &res_serviceaccounts, "token", "none", "{\"spec\":{}}", 404, "serviceaccounts \"none\" not found" },
                { &res_serviceaccounts, "token", "a", "{\"spec\":{}}", 400, DENIED },
                { &res_tokenreviews, NULL, NULL, "{\"spec\":{}}", 400,
                  "token is required for TokenReview in authentication" },
                { &res_tokenreviews, NULL, NULL, "{\"spec\":{\"token\":\"x\"}}", 400, DENIED },
                { &res_selfsubjectrulesreviews, NULL, NULL, "{\"spec\":{}}", 400, "no namespace on request" },
                { &res_selfsubjectrulesreviews, NULL, NULL, "{\"spec\":{\"namespace\":\"n\"}}", 400, DENIED },
                { &res_subjectaccessreviews, NULL, NULL, "{\"spec\":{\"user\":\"u\",\"nonResourceAttributes\":{}}}",
                  400, DENIED },
                { &res_selfsubjectaccessreviews, NULL, NULL, "{\"spec\":{\"nonResourceAttributes\":{}}}", 400, DENIED },
                { &res_selfsubjectreviews, NULL, NULL, "{}", 400, DENIED },
        };
        struct world *w = *state;
        struct fixture *f = &w->f;

        ASK(f, API_CREATE, &res_serviceaccounts, "default", .body = "{\"metadata\":{\"name\":\"a\"}}");
        hook_answers(w->hook, "/no", "\"allowed\":false");
        VALIDATE(w, "no", "/no", RULE("*", "*", "*/*", "CREATE"));
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                check_error(ASK(f, API_CREATE, table[i].kind, table[i].kind->namespaced ? "default" : NULL,
                                table[i].name, .sub = table[i].sub, .body = table[i].body),
                            table[i].code, table[i].message);
}

static void what_webhooks_and_plugins_do_is_counted(void **state) {
        struct world *w = *state;

        hook_answers(w->hook, "/no", "\"allowed\":false,\"status\":{\"code\":409}");
        hook_answers(w->hook, "/bad", "{");
        MUTATE(w, "bad", "/bad", CONFIGMAPS ",\"failurePolicy\":\"Ignore\"");
        VALIDATE(w, "out", "/no", CONFIGMAPS ",\"matchConditions\":[{\"name\":\"c\",\"expression\":\"false\"}]");
        VALIDATE(w, "no", "/no", CONFIGMAPS);
        assert_int_equal(create_map(w, "x").code, 409);
        expect_counted("admission_step_admission_duration_seconds_summary{operation=\"CREATE\",rejected=\"true\","
                       "type=\"validate\",quantile=\"0.99\"} ");
        expect_counted("admission_webhook_fail_open_count{name=\"bad.example.com\",type=\"admit\"} 1\n");
        expect_counted("admission_webhook_request_total{code=\"400\",name=\"bad.example.com\",operation=\"CREATE\","
                       "rejected=\"false\",type=\"admit\"} 1\n");
        expect_counted("admission_webhook_rejection_count{error_type=\"no_error\",name=\"no.example.com\","
                       "operation=\"CREATE\",rejection_code=\"409\",type=\"validating\"} 1\n");
        expect_counted("admission_webhook_admission_duration_seconds_count{name=\"no.example.com\","
                       "operation=\"CREATE\",rejected=\"true\",type=\"validating\"} 1\n");
        expect_counted("admission_match_condition_exclusions_total{kind=\"webhook\",name=\"out.example.com\","
                       "operation=\"CREATE\",type=\"validating\"} 1");
        expect_counted("admission_controller_admission_duration_seconds_count{name=\"ValidatingAdmissionWebhook\","
                       "operation=\"CREATE\",rejected=\"true\",type=\"validate\"} ");
        expect_counted("admission_controller_admission_duration_seconds_count{name=\"MutatingAdmissionPolicy\","
                       "operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ");
}

#define HPA                                                                                                        \
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{\"kind\":\"Deployment\"," \
        "\"name\":\"d\"},\"targetCPUUtilizationPercentage\":50}}"

static void an_equivalent_version_matches_and_is_what_the_webhook_gets(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"replace\",\"path\":\"/spec/metrics/0/resource/target/"
                                      "averageUtilization\",\"value\":60}]"));
        hook_answers(w->hook, "/exact", "\"allowed\":true");
        MUTATE(w, "m", "/m", RULE("autoscaling", "v2", "horizontalpodautoscalers", "CREATE"));
        MUTATE(w, "e", "/exact",
               RULE("autoscaling", "v2", "horizontalpodautoscalers", "CREATE") ",\"matchPolicy\":\"Exact\"");
        r = ASK(f, API_CREATE, api_find_resource(STR("autoscaling"), STR("v1"), STR("horizontalpodautoscalers")),
                "default", .body = arena_printf(f->a, HPA, "h").p);
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".spec.targetCPUUtilizationPercentage"), "60");
        assert_string_equal(asked(w, "/m", ".request.kind.version"), "v2");
        assert_string_equal(asked(w, "/m", ".request.requestKind.version"), "v1");
        assert_string_equal(asked(w, "/m", ".request.object.apiVersion"), "autoscaling/v2");
        assert_int_equal(hook_calls(w->hook, "/exact"), 0);
}

static void selectors_and_scope_choose(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        hook_answers(w->hook, "/o", "\"allowed\":true");
        hook_answers(w->hook, "/n", "\"allowed\":true");
        hook_answers(w->hook, "/c", "\"allowed\":true");
        VALIDATE(w, "o", "/o", CONFIGMAPS ",\"objectSelector\":{\"matchLabels\":{\"a\":\"1\"}}");
        VALIDATE(w, "n", "/n", CONFIGMAPS ",\"namespaceSelector\":{\"matchLabels\":{\"team\":\"x\"}}");
        VALIDATE(w, "c", "/c",
                 "\"rules\":[{\"apiGroups\":[\"*\"],\"apiVersions\":[\"*\"],\"resources\":[\"*\"],"
                 "\"operations\":[\"CREATE\"],\"scope\":\"Cluster\"}]");
        create_map(w, "x");
        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"y\",\"labels\":{\"a\":\"1\"}}}");
        assert_int_equal(hook_calls(w->hook, "/o"), 1);
        assert_int_equal(hook_calls(w->hook, "/c"), 0);
        ASK(f, API_CREATE, &res_namespaces, .body = "{\"metadata\":{\"name\":\"t\",\"labels\":{\"team\":\"x\"}}}");
        assert_int_equal(hook_calls(w->hook, "/c"), 1);
        assert_int_equal(hook_calls(w->hook, "/n"), 0);
        ASK(f, API_CREATE, &res_configmaps, "t", .body = "{\"metadata\":{\"name\":\"z\"},\"data\":{\"a\":\"b\"}}");
        assert_int_equal(hook_calls(w->hook, "/n"), 1);
}

#define DEPLOYMENT                                                                                             \
        "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{" \
        "\"metadata\":"                                                                                        \
        "{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"

static void a_scale_is_seen_as_one(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/m", hook_patch(f->a, "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":2}]"));
        MUTATE(w, "m", "/m", RULE("apps", "v1", "deployments/scale", "UPDATE"));
        assert_int_equal(ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT).code, 201);
        r = ASK(f, API_PATCH, &res_deployments, "default", "d", "scale", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"replicas\":5}}");
        assert_int_equal(r.code, 200);
        assert_string_equal(at(f, r, ".spec.replicas"), "2");
        assert_string_equal(asked(w, "/m", ".request.kind"),
                            "{\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\"}");
        assert_string_equal(asked(w, "/m", ".request.resource.resource"), "deployments");
        assert_string_equal(asked(w, "/m", ".request.object.spec.replicas"), "5");
        assert_string_equal(asked(w, "/m", ".request.oldObject.spec.replicas"), "1");
#define REPLICAS "{\"f:spec\":{\"f:replicas\":{}}}"
        assert_string_equal(asked(w, "/m", ".request.object.metadata.managedFields[0].fieldsV1"), REPLICAS);
        assert_string_equal(asked(w, "/m", ".request.object.metadata.managedFields[0].subresource"), "scale");
        assert_string_equal(asked(w, "/m", ".request.oldObject.metadata.managedFields[0].fieldsV1"), REPLICAS);
        assert_string_equal(asked(w, "/m", ".request.oldObject.metadata.managedFields[0].subresource"), "(absent)");
        /* who validates sees it as it will be, whatever was sent */
        hook_answers(w->hook, "/v", "\"allowed\":true");
        VALIDATE(w, "v", "/v", RULE("apps", "v1", "deployments/scale", "UPDATE"));
        r = ASK(f, API_UPDATE, &res_deployments, "default", "d", "scale",
                .body = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":7}}");
        assert_int_equal(r.code, 200);
        assert_string_equal(asked(w, "/m", ".request.object.status"), "{\"replicas\":0}");
        assert_string_equal(asked(w, "/v", ".request.object.status"), "{\"replicas\":0,\"selector\":\"a=b\"}");
        assert_string_equal(asked(w, "/v", ".request.object.spec.replicas"), "2");
        assert_string_equal(asked(w, "/v", ".request.object.metadata.uid"),
                            asked(w, "/v", ".request.oldObject.metadata.uid"));
}

static void who_changes_a_write_is_asked_before_its_revision_is_looked_at(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        hook_answers(w->hook, "/m", "\"allowed\":true");
        MUTATE(w, "m", "/m", RULE("coordination.k8s.io", "v1", "leases", "UPDATE"));
        check_code(ASK(f, API_CREATE, &res_leases, "default", .body = "{\"metadata\":{\"name\":\"l\"}}"), 201);
        check_code(ASK(f, API_UPDATE, &res_leases, "default", "l", .body = "{\"metadata\":{\"name\":\"l\"}}"), 422);
        assert_int_equal(hook_calls(w->hook, "/m"), 1);
        check_code(ASK(f, API_PATCH, &res_leases, "default", "l", .patch = API_PATCH_MERGE,
                       .body = "{\"metadata\":{\"resourceVersion\":\"1\"}}"),
                   409);
        assert_int_equal(hook_calls(w->hook, "/m"), 2);
}

static const struct api_resource widgets = {
        .group = "example.com", .version = "v1", .plural = "widgets", .kind = "Widget", .namespaced = true
};

static void nap(void) {
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

static void define(struct world *w, const struct api_resource *resource) {
#define VERSION(name, storage)                                                                                      \
        "{\"name\":\"" name "\",\"served\":true,\"storage\":" storage ",\"schema\":{\"openAPIV3Schema\":{\"type\":" \
        "\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\","     \
        "\"maximum\":9},"                                                                                           \
        "\"d\":{\"type\":\"string\",\"default\":\"x\"}}}}}}}"
        struct str body =
                        arena_printf(w->f.a,
                                     "{\"metadata\":{\"name\":\"%s.example.com\"},\"spec\":{\"group\":\"example.com\","
                                     "\"scope\":\"Namespaced\",\"names\":{\"plural\":\"%s\",\"kind\":\"%s\"},"
                                     "\"versions\":[" VERSION("v1", "true") "," VERSION("v2", "false") "]}}",
                                     resource->plural, resource->plural, resource->kind);
        struct answer r = ASK(&w->f, API_CREATE, &res_customresourcedefinitions, .body = body.p);

        assert_int_equal(r.code, 201);
        for (int i = 0; i < 2000 && ASK(&w->f, API_LIST, resource, "default").code != 200; i++)
                nap();
}

static struct answer create_widget(struct world *w, const char *name) {
        return ASK(&w->f, API_CREATE, &widgets, "default",
                   .body = arena_printf(w->f.a,
                                        "{\"kind\":\"Widget\",\"apiVersion\":\"example.com/v1\",\"metadata\":{\"name\":"
                                        "\"%s\"}}",
                                        name)
                                           .p);
}

static void undefine(struct world *w, const char *name) {
        assert_int_equal(ASK(&w->f, API_DELETE, &res_customresourcedefinitions, .name = name).code, 200);
}

/* Whatever order it was sent in. */
static void custom_objects_are_shown_by_key(void **state) {
        struct world *w = *state;

        define(w, &widgets);
        hook_answers(w->hook, "/m", "\"allowed\":true");
        MUTATE(w, "m", "/m", RULE("example.com", "v1", "widgets", "CREATE"));
        assert_int_equal(create_widget(w, "a").code, 201);
        assert_memory_equal(asked(w, "/m", ".request.object"), "{\"apiVersion\":", 14);
        undefine(w, "widgets.example.com");
}

/* Also what is only answered is somewhere, and is new. */
static void what_is_asked_for_has_its_namespace(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        hook_answers(w->hook, "/m", "\"allowed\":true");
        MUTATE(w, "m", "/m", RULE("*", "*", "serviceaccounts/token\",\"configmaps", "CREATE"));
        ASK(f, API_CREATE, &res_serviceaccounts, "default", .body = "{\"metadata\":{\"name\":\"a\"}}");
        ASK(f, API_CREATE, &res_serviceaccounts, "default", "a", "token", .body = "{\"spec\":{\"audiences\":[\"x\"]}}");
        assert_memory_equal(asked(w, "/m", ".request.object.metadata"),
                            "{\"namespace\":\"default\",\"creationTimestamp\":null,\"managedFields\":[{", 66);
        assert_string_equal(asked(w, "/m", ".request.object.metadata.managedFields[0].fieldsV1"),
                            "{\"f:spec\":{\"f:audiences\":{},\"f:expirationSeconds\":{}}}");
        assert_string_equal(asked(w, "/m", ".request.object.spec.expirationSeconds"), "3600");
        create_map(w, "m");
        assert_memory_equal(asked(w, "/m", ".request.object.metadata"),
                            "{\"name\":\"m\",\"namespace\":\"default\",\"creationTimestamp\":null", 58);
}

/* The objects of one cannot be deleted, those of the other can. */
static void definitions_do_not_wait_for_each_other(void **state) {
        static const struct api_resource anvils = {
                .group = "example.com", .version = "v1", .plural = "anvils", .kind = "Anvil", .namespaced = true
        };
        struct world *w = *state;
        struct fixture *f = &w->f;

        define(w, &widgets);
        define(w, &anvils);
        assert_int_equal(create_widget(w, "a").code, 201);
        check_code(ASK(f, API_CREATE, &anvils, "default",
                       .body = "{\"kind\":\"Anvil\",\"apiVersion\":\"example.com/v1\",\"metadata\":{\"name\":\"a\"}}"),
                   201);
        hook_answers(w->hook, "/never", NULL);
        VALIDATE(w, "never", "/never", RULE("example.com", "v1", "anvils", "DELETE") ",\"timeoutSeconds\":1");
        undefine(w, "anvils.example.com");
        while (hook_calls(w->hook, "/never") == 0)
                nap();
        undefine(w, "widgets.example.com");
        for (int i = 0; ASK(f, API_GET, &res_customresourcedefinitions, NULL, "widgets.example.com").code != 404; i++)
                if (i == 30000)
                        fail_msg("the definition does not go");
                else
                        nap();
        check_code(ASK(f, API_GET, &res_customresourcedefinitions, NULL, "anvils.example.com"), 200);
}

/* Pruned, defaulted and validated by its schema, and in the version that the rule names. */
static void custom_resources_are_patched_too(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        define(w, &widgets);
        hook_answers(w->hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/spec\",\"value\":{\"n\":5,\"no\":1}}]"));
        MUTATE(w, "m", "/m", RULE("example.com", "v2", "widgets", "CREATE"));
        r = create_widget(w, "a");
        if (r.code != 201)
                fail_msg("%s", r.message);
        assert_string_equal(at(f, r, ".spec"), "{\"d\":\"x\",\"n\":5}");
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v1");
        assert_string_equal(asked(w, "/m", ".request.object.apiVersion"), "example.com/v2");
        assert_string_equal(asked(w, "/m", ".request.kind.kind"), "Widget");
        hook_answers(w->hook, "/m", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/spec\",\"value\":{\"n\":50}}]"));
        assert_int_equal(create_widget(w, "b").code, 422);
}

/* A policy about configmaps whose limit is in a custom resource. */
static void custom_resources_are_parameters(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        define(w, &widgets);
        hook_answers(w->hook, "/m", hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/spec\",\"value\":{\"n\":1}}]"));
        MUTATE(w, "m", "/m", RULE("example.com", "v1", "widgets", "CREATE"));
        assert_int_equal(create_widget(w, "limit").code, 201);
        assert_int_equal(ASK(f, API_CREATE, &res_validatingadmissionpolicies,
                             .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"paramKind\":{\"apiVersion\":\"example."
                                     "com/v2\","
                                     "\"kind\":\"Widget\"},\"matchConstraints\":{\"resourceRules\":[{\"apiGroups\":["
                                     "\"\"],"
                                     "\"apiVersions\":[\"v1\"],\"operations\":[\"CREATE\"],\"resources\":["
                                     "\"configmaps\"]}]},"
                                     "\"validations\":[{\"expression\":\"size(object.metadata.name) <= "
                                     "params.spec.n\"}]}}")
                                         .code,
                         201);
        assert_int_equal(ASK(f, API_CREATE, &res_validatingadmissionpolicybindings,
                             .body = "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"policyName\":\"p\","
                                     "\"validationActions\":"
                                     "[\"Deny\"],\"paramRef\":{\"name\":\"limit\",\"parameterNotFoundAction\":\"Deny\"}"
                                     "}}")
                                         .code,
                         201);
        assert_int_equal(create_map(w, "x").code, 201);
        assert_int_equal(create_map(w, "xy").code, 422);
}

static void match_conditions_are_asked_first(void **state) {
        struct world *w = *state;

        hook_answers(w->hook, "/v", "\"allowed\":false");
        VALIDATE(w, "v", "/v",
                 CONFIGMAPS ",\"matchConditions\":[{\"name\":\"x\",\"expression\":"
                            "\"object.metadata.name == 'x'\"}]");
        VALIDATE(w, "z", "/v",
                 CONFIGMAPS ",\"matchConditions\":[{\"name\":\"x\",\"expression\":"
                            "\"object.metadata.name != 'e' || object.data.no == 'q'\"},{\"name\":\"never\","
                            "\"expression\":\"object.metadata.name == 'e'\"},{\"name\":\"again\",\"expression\":"
                            "\"object.metadata.name != 'e' || object.data.no == 'q'\"}]");
        assert_int_equal(create_map(w, "y").code, 201);
        assert_int_equal(hook_calls(w->hook, "/v"), 0);
        assert_int_equal(create_map(w, "x").code, 400);
        check_error(create_map(w, "e"), 403,
                    "configmaps \"e\" is forbidden: expression 'object.metadata.name != 'e' || object.data.no == 'q'' "
                    "resulted in error: no such key: data");
}

static void what_goes_with_its_collection_has_no_name(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;

        create_map(w, "x");
        hook_answers(w->hook, "/d", "\"allowed\":true");
        VALIDATE(w, "d", "/d", RULE("", "v1", "configmaps", "DELETE"));
        assert_int_equal(ASK(f, API_DELETE_COLLECTION, &res_configmaps, "default").code, 200);
        assert_string_equal(asked(w, "/d", ".request.name"), "(absent)");
        assert_string_equal(asked(w, "/d", ".request.oldObject.metadata.name"), "x");
        create_map(w, "y");
        assert_int_equal(ASK(f, API_DELETE, &res_configmaps, "default", "y").code, 200);
        assert_string_equal(asked(w, "/d", ".request.name"), "y");
}

static void webhooks_end_with_the_request(void **state) {
        struct world *w = *state;
        struct fixture *f = &w->f;
        struct answer r;

        hook_answers(w->hook, "/slow", NULL);
        hook_answers(w->hook, "/next", "\"allowed\":true");
        MUTATE(w, "a", "/slow", CONFIGMAPS ",\"failurePolicy\":\"Ignore\"");
        MUTATE(w, "b", "/next", CONFIGMAPS);
        r = ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"x\"}}",
                .timeout_ms = 300);
        check_error(r, 504, "Timeout: request did not complete within requested timeout");
        assert_int_equal(hook_calls(w->hook, "/next"), 0);
}

static void configurations_are_exempt(void **state) {
        struct world *w = *state;

        hook_answers(w->hook, "/v", "\"allowed\":false");
        VALIDATE(w, "v", "/v", RULE("*", "*", "*/*", "*"));
        assert_int_equal(create_map(w, "x").code, 400);
        assert_int_equal(ASK(&w->f, API_DELETE, &res_validatingwebhookconfigurations, .name = "v").code, 200);
        assert_int_equal(create_map(w, "x").code, 201);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(patches_follow_each_other_by_name),
                T(what_a_patch_makes_is_defaulted_and_validated),
                T(a_webhook_that_wants_it_sees_later_changes),
                T(a_patch_changes_an_object_with_new_owners),
                T(a_patch_makes_no_other_kind),
                T(refusals_say_who_and_why),
                T(the_first_refusal_in_order_is_told),
                T(the_policy_decides_when_a_webhook_fails),
                T(answers_that_make_no_sense_are_failures),
                T(the_question_says_who_what_and_where),
                T(a_patch_needs_an_object),
                T(managed_fields_survive_a_webhook_that_breaks_them),
                T(what_webhooks_and_plugins_do_is_counted),
                T(what_is_sent_fits_before_it_is_judged),
                T(an_equivalent_version_matches_and_is_what_the_webhook_gets),
                T(selectors_and_scope_choose),
                T(a_scale_is_seen_as_one),
                T(who_changes_a_write_is_asked_before_its_revision_is_looked_at),
                T(custom_objects_are_shown_by_key),
                T(what_is_asked_for_has_its_namespace),
                T(custom_resources_are_patched_too),
                T(definitions_do_not_wait_for_each_other),
                T(custom_resources_are_parameters),
                T(match_conditions_are_asked_first),
                T(configurations_are_exempt),
                T(what_goes_with_its_collection_has_no_name),
                T(webhooks_end_with_the_request),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
