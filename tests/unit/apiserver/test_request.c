#include "../test.h"

#include "apiserver/request.h"

static struct request_info parse(struct arena *a, const char *path) {
        struct request_info i;

        assert_int_equal(request_parse_path(a, str_of(path), &i), 0);
        return i;
}

static void paths_name_group_version_resource_and_subresource(void **state) {
        static const struct {
                const char *path, *group, *version, *plural, *ns, *name, *sub, *tail;
                bool is_resource;
        } table[] = {
                { "/api/v1/pods", "", "v1", "pods", "", "", "", "", true },
                { "/api/v1/namespaces/default/pods/a", "", "v1", "pods", "default", "a", "", "", true },
                { "/api/v1/namespaces/default/pods/a/log", "", "v1", "pods", "default", "a", "log", "", true },
                { "/api/v1/namespaces", "", "v1", "namespaces", "", "", "", "", true },
                { "/api/v1/namespaces/x", "", "v1", "namespaces", "x", "x", "", "", true },
                { "/api/v1/namespaces/x/status", "", "v1", "namespaces", "x", "x", "status", "", true },
                { "/api/v1/namespaces/x/finalize", "", "v1", "namespaces", "x", "x", "finalize", "", true },
                { "/apis/apps/v1/namespaces/d/deployments/w/scale", "apps", "v1", "deployments", "d", "w", "scale", "",
                  true },
                { "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode", "rbac.authorization.k8s.io", "v1",
                  "clusterroles", "", "system:node", "", "", true },
                { "/api/v1/namespaces/d/services/http:web:80/proxy/a/b", "", "v1", "services", "d", "http:web:80",
                  "proxy", "/a/b", true },
                { "/api/v1/nodes/n/proxy/", "", "v1", "nodes", "", "n", "proxy", "/", true },
                { "/apis/apps/v1", "apps", "v1", "", "", "", "", "", false },
                { "/apis/apps", "apps", "", "", "", "", "", "", false },
                { "/healthz", "", "", "", "", "", "", "", false },
                { "/", "", "", "", "", "", "", "", false },
                { "//api/v1/pods//", "", "v1", "pods", "", "", "", "", true },
                { "/api//v1/pods", "", "", "v1", "", "pods", "", "", true },
                { "/%61pi/v1/namespaces/d/pods/p%2Flog", "", "v1", "pods", "d", "p", "log", "", true },
                { "/api/v1/nodes/n%3a/proxy/a%2Fb", "", "v1", "nodes", "", "n:", "proxy", "/a%2Fb", true },
        };
        struct arena *a = arena_new(0);

        for (size_t k = 0; k < ARRAY_SIZE(table); k++) {
                struct request_info i = parse(a, table[k].path);

                assert_int_equal(i.is_resource, table[k].is_resource);
                assert_str(i.group, table[k].group);
                assert_str(i.version, table[k].version);
                assert_str(i.plural, table[k].plural);
                assert_str(i.namespace, table[k].ns);
                assert_str(i.name, table[k].name);
                assert_str(i.subresource, table[k].sub);
                assert_str(i.tail, table[k].tail);
        }
        arena_free(a);
}

static void a_broken_escape_in_a_path_is_an_error(void **state) {
        struct arena *a = arena_new(0);
        struct request_info i;

        assert_true(request_parse_path(a, STR("/api/v1/pods/%zz"), &i) < 0);
        arena_free(a);
}

static void a_parameter_again_and_again_takes_no_more_than_its_text(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct request_query q;

        while (b.n < 1 << 17)
                buf_addc(&b, "dryRun=All&");
        request_parse_query(a, buf_str(&b), &q);
        assert_true(q.options.dry_run);
        assert_true(arena_size(a) < 1 << 21);
        buf_addc(&b, "dryRun=Some");
        request_parse_query(a, buf_str(&b), &q);
        assert_true(request_check_write(a, &q, "UpdateOptions", false, false, &err) < 0);
        assert_non_null(strstr(error_text(&err), "[]string{\"All\", \"All\", "));
}

static void query_parameters_become_options(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct arena *a = arena_new(0);
        struct request_query q;

        request_parse_query(a,
                            STR("watch=true&labelSelector=a%3Db%2Cc&limit=5&timeoutSeconds=7&dryRun=All&"
                                "fieldValidation=Strict&unknown=1&gracePeriodSeconds=0"),
                            &q);
        assert_true(q.watch);
        assert_str(q.options.label_selector, "a=b,c");
        assert_int_equal(q.options.limit, 5);
        assert_int_equal(q.options.timeout_seconds, 7);
        assert_int_equal(q.options.grace_period_seconds, 0);
        assert_true(q.options.dry_run);
        assert_int_equal(q.options.field_validation, API_VALIDATE_STRICT);
        request_parse_query(a, STR(""), &q);
        assert_int_equal(q.options.grace_period_seconds, -1);
        request_parse_query(a, STR("limit=x&gracePeriodSeconds=9999999999999999999"), &q);
        assert_str(q.bad_list_option, "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert_str(q.bad_delete_option, "strconv.ParseInt: parsing \"9999999999999999999\": value out of range");
        request_parse_query(a, STR("dryRun=Some&force=1&fieldValidation=Maybe"), &q);
        assert_true(request_check_write(a, &q, "PatchOptions", true, false, &err) < 0);
        assert_string_equal(error_text(&err),
                            "PatchOptions.meta.k8s.io \"\" is invalid: [force: Forbidden: may not be specified for "
                            "non-apply patch, dryRun: Unsupported value: []string{\"Some\"}: supported values: "
                            "\"All\", "
                            "fieldValidation: Unsupported value: \"Maybe\": supported values: \"\", \"Ignore\", "
                            "\"Strict\", \"Warn\"]");
        request_parse_query(a, STR("fieldValidation=Warn"), &q);
        assert_true(request_check_write(a, &q, "PatchOptions", true, true, &err) < 0);
        assert_string_equal(error_text(&err), "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: "
                                              "is required for apply patch");
        assert_int_equal(request_check_write(a, &q, "UpdateOptions", false, false, &err), 0);
        arena_free(a);
}

static void accept_picks_the_first_that_can_be_made(void **state) {
        static const unsigned tables = NEGOTIATE_RESOURCE | 1U << SHAPE_TABLE | 1U << SHAPE_PARTIAL;
        static const struct {
                const char *accept;
                enum media media;
                enum shape shape;
                int result;
        } table[] = {
                { "", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/json", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "*/*", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/vnd.kubernetes.protobuf,application/json", MEDIA_PROTOBUF, SHAPE_OBJECT, 0 },
                { "application/yaml", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "application/json;as=Table;v=v1;g=meta.k8s.io,application/json", MEDIA_JSON, SHAPE_TABLE, 0 },
                { "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", MEDIA_JSON, SHAPE_PARTIAL, 0 },
                { "application/json;as=Nothing;v=v1;g=x,application/json", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/cbor, application/json;q=0.5", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/json;q=0.5, application/yaml;q=0.8", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "*/*, application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF, SHAPE_OBJECT, 0 },
                { "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,*/*", MEDIA_JSON, 0, 0 },
                { "application/json;as=Table;v=v3;g=meta.k8s.io", 0, 0, -1 },
                { "application/json;v=v1;g=meta.k8s.io", 0, 0, -1 },
                { "application/json;stream=watch", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/yaml;stream=watch", 0, 0, -1 },
                { "application/json;stream=other", 0, 0, -1 },
                { "application/json;sv=v2", 0, 0, -1 },
                { "application/json;sv=v1", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "*", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "a/b/c,application,application/yaml", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "application/json;q=.5,application/yaml;q=.6", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "application/json;q=.7,application/yaml;q=.6", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/json;q=x,application/yaml;q=.1", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "application/json;q=1=2,application/yaml", MEDIA_JSON, SHAPE_OBJECT, 0 },
                { "application/json,application/yaml;q=1e1", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "*/*;q=0.9,application/yaml;q=0.1", MEDIA_YAML, SHAPE_OBJECT, 0 },
                { "application/cbor", 0, 0, -1 },
                { "image/png", 0, 0, -1 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct negotiated n;
                int r = request_negotiate(str_of(table[i].accept), tables, &n, NULL);

                assert_int_equal(r < 0, table[i].result < 0);
                if (r < 0)
                        continue;
                assert_int_equal(n.media, table[i].media);
                assert_int_equal(n.shape, table[i].shape);
        }
}

static void a_refusal_tells_what_there_is(void **state) {
        static const struct {
                const char *accept, *message;
                unsigned shapes;
        } table[] = {
                { "text/html", "only the following media types are accepted: application/json, application/yaml, "
                               "application/vnd.kubernetes.protobuf" },
                { "application/*;q=1",
                  "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                  "application/vnd.kubernetes.protobuf",
                  NEGOTIATE_ROUTER },
                { "text/html",
                  "415: Unsupported Media Type\n\nAvailable representations: application/json, application/yaml, "
                  "application/vnd.kubernetes.protobuf",
                  NEGOTIATE_ROUTER | NEGOTIATE_UNTOLD },
                { "text/html, application/jso",
                  "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, "
                  "application/vnd.kubernetes.protobuf, application/json;stream=watch, "
                  "application/vnd.kubernetes.protobuf;stream=watch",
                  NEGOTIATE_ROUTER | NEGOTIATE_LIST },
                { "application/yaml", "406: Not Acceptable\n\nAvailable representations: application/json",
                  NEGOTIATE_ROUTER | NEGOTIATE_JSON },
                { "*",
                  "406: Not Acceptable\n\nAvailable representations: text/plain, application/json, application/yaml, "
                  "application/vnd.kubernetes.protobuf",
                  NEGOTIATE_ROUTER | NEGOTIATE_LOG },
                { "text/plain",
                  "only the following media types are accepted: application/json, application/yaml, "
                  "application/vnd.kubernetes.protobuf",
                  NEGOTIATE_ROUTER | NEGOTIATE_LOG },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct negotiated n;

                assert_true(request_negotiate(str_of(table[i].accept), table[i].shapes, &n, &e) < 0);
                assert_string_equal(error_text(&e), table[i].message);
                assert_int_equal(n.media, MEDIA_JSON);
        }
}

static void content_type_tells_the_kind_of_patch(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        enum api_patch p;
        enum media m;

        assert_int_equal(
                        request_patch_type(STR("application/strategic-merge-patch+json"), false, LENGTH_SOME, &p, NULL),
                        0);
        assert_int_equal(p, API_PATCH_STRATEGIC);
        assert_int_equal(request_patch_type(STR("application/json-patch+json; charset=utf-8"), false, LENGTH_SOME, &p,
                                            NULL),
                         0);
        assert_int_equal(p, API_PATCH_JSON);
        assert_true(request_patch_type(STR("application/json"), false, LENGTH_SOME, &p, &e) < 0);
        assert_int_equal(e.reason, REASON_UNSUPPORTED_MEDIA);
        error_clear(&e);
        assert_true(request_patch_type(STR("application/json"), false, LENGTH_NONE, &p, &e) < 0);
        assert_int_equal(e.reason, REASON_NOT_ACCEPTABLE);
        error_clear(&e);
        assert_true(request_patch_type(STR("application/json"), false, LENGTH_UNTOLD, &p, &e) < 0);
        assert_string_equal(error_text(&e), "415: Unsupported Media Type\n\nAvailable representations: ");
        error_clear(&e);
        assert_true(request_patch_type(STR("x/y, application/json-patch+json"), false, LENGTH_NONE, &p, &e) < 0);
        assert_non_null(strstr(error_text(&e),
                               "unknown format - accepted media types include: application/json-patch"));
        assert_true(request_body_media(STR("text/plain"), &m, NULL) < 0);
        assert_int_equal(request_body_media(STR("application/yaml"), &m, NULL), 0);
        assert_int_equal(request_body_media(STR("Application/YAML ; a=\"b;\\\"c\" ;x=1;x=1; "), &m, NULL), 0);
        assert_true(request_body_media(STR("application/yaml;x"), &m, NULL) < 0);
        assert_true(request_body_media(STR("application/yaml;x="), &m, NULL) < 0);
        assert_true(request_body_media(STR("application/yaml;x=\"a"), &m, NULL) < 0);
        assert_true(request_body_media(STR("application/yaml;x=a;X=b"), &m, NULL) < 0);
        assert_true(request_body_media(STR("application/yaml;;"), &m, NULL) < 0);
        assert_true(request_body_media(STR("application/yaml;x=1 y"), &m, NULL) < 0);
        assert_int_equal(m, MEDIA_YAML);
}

static void a_continue_token_comes_back_as_it_went(void **state) {
        struct arena *a = arena_new(0);
        struct str token = continue_encode(a, 42, STR("default/web")), start;
        uint64_t revision;

        assert_int_equal(continue_decode(a, token, &revision, &start, NULL), 0);
        assert_int_equal(revision, 42);
        assert_str(start, "default/web");
        arena_free(a);
}

static void a_wrong_continue_token_is_told_why(void **state) {
        static const struct {
                const char *token, *message;
        } table[] = {
                { "x", "illegal base64 data at input byte 0" },
                { "ab!c", "illegal base64 data at input byte 2" },
                { "e30", "server does not recognize this encoded version " },
                { "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
                  "incorrect encoded start resourceVersion (version meta.k8s.io/v1)" },
                { "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MX0", "encoded start key empty (version meta.k8s.io/v1)" },
                { "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9hIn0", "../a" },
        };
        struct arena *a = arena_new(0);
        struct str start;
        uint64_t revision;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;

                assert_true(continue_decode(a, str_of(table[i].token), &revision, &start, &e) < 0);
                assert_string_equal(error_text(&e),
                                    arena_printf(a, "invalid continue token: continue key is not valid: %s",
                                                 table[i].message)
                                                    .p);
        }
        arena_free(a);
}

static void delete_options_of_a_body_come_instead_of_those_of_the_query(void **state) {
        struct arena *a = arena_new(0);
        struct api_options o = { .propagation_policy = STR("Foreground"), .dry_run = true };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json *body;

        json_parse(a, STR("{\"gracePeriodSeconds\":-5,\"preconditions\":{\"uid\":\"u\"}}"), NULL, &body, NULL);
        assert_int_equal(request_delete_options(a, body, &o, NULL), 0);
        assert_int_equal(o.grace_period_seconds, 1);
        assert_true(str_empty(o.propagation_policy) && !o.dry_run);
        assert_str(o.precondition_uid, "u");
        json_parse(a, STR("{\"orphanDependents\":true,\"propagationPolicy\":\"Sideways\",\"dryRun\":[\"All\",\"x\"]}"),
                   NULL, &body, NULL);
        assert_true(request_delete_options(a, body, &o, &err) < 0);
        assert_string_equal(error_text(&err),
                            "DeleteOptions.meta.k8s.io \"\" is invalid: [propagationPolicy: Invalid value: "
                            "\"Sideways\": orphanDependents and deletionPropagation cannot be both set, "
                            "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", "
                            "\"Background\", \"Orphan\", \"nil\", dryRun: Unsupported value: []string{\"All\", \"x\"}: "
                            "supported values: \"All\"]");
        assert_true(o.dry_run);
        /* What is empty in the query is no precondition. */
        o = (struct api_options) { .precondition_uid = STR(""), .resource_version = STR("") };
        assert_int_equal(request_check_delete(a, &(struct request_query) { 0 }, &o, NULL), 0);
        assert_true(!o.precondition_uid.p && !o.precondition_resource_version.p);
        arena_free(a);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(paths_name_group_version_resource_and_subresource),
                cmocka_unit_test(a_broken_escape_in_a_path_is_an_error),
                cmocka_unit_test(a_parameter_again_and_again_takes_no_more_than_its_text),
                cmocka_unit_test(query_parameters_become_options),
                cmocka_unit_test(accept_picks_the_first_that_can_be_made),
                cmocka_unit_test(a_refusal_tells_what_there_is),
                cmocka_unit_test(content_type_tells_the_kind_of_patch),
                cmocka_unit_test(a_continue_token_comes_back_as_it_went),
                cmocka_unit_test(a_wrong_continue_token_is_told_why),
                cmocka_unit_test(delete_options_of_a_body_come_instead_of_those_of_the_query),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
