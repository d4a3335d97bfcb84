/* What a client sees of the registry, kind by kind: codes, messages, metadata. */
#include "help.h"

#include "apiserver/bootstrap.h"

#define POD "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}"
#define CM(data) "{\"metadata\":{\"name\":\"a\"},\"data\":{" data "}}"
#define DEPLOYMENT                                                                                              \
        "{\"metadata\":{\"name\":\"w\"},\"spec\":{\"replicas\":1,\"selector\":{\"matchLabels\":{\"a\":\"b\"}}," \
        "\"template\":{\"metadata\":{"                                                                          \
        "\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}"

static void a_created_object_can_be_read_and_has_metadata(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_configmaps, "default", .body = CM("\"k\":\"v\""));

        check(r, 201, ".data.k", "v");
        assert_int_equal(strlen(at(f, r, ".metadata.uid")), 36);
        assert_string_equal(at(f, r, ".metadata.namespace"), "default");
        check(ASK(f, API_GET, &res_configmaps, "default", "a"), 200, ".metadata.resourceVersion",
              at(f, r, ".metadata.resourceVersion"));
}

static void errors_read_as_upstream(void **state) {
        struct fixture *f = *state;

        check_error(ASK(f, API_GET, &res_pods, "default", "x"), 404, "pods \"x\" not found");
        check_error(ASK(f, API_GET, &res_pods, "default", "x\n\"ä"), 404, "pods \"x\\n\\\"ä\" not found");
        check_error(ASK(f, API_GET, &res_deployments, "default", "x"), 404, "deployments.apps \"x\" not found");
        ASK(f, API_CREATE, &res_configmaps, "default", .body = CM(""));
        check_error(ASK(f, API_CREATE, &res_configmaps, "default", .body = CM("")), 409,
                    "configmaps \"a\" already exists");
        check_error(ASK(f, API_CREATE, &res_configmaps, "nope", .body = CM("")), 404, "namespaces \"nope\" not found");
        check_error(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{}}"), 422,
                    "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required");
        check_error(ASK(f, API_CREATE, &res_configmaps, "default",
                        .body = "{\"kind\":\"Secret\",\"metadata\":{\"name\":\"x\"}}"),
                    400,
                    "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to "
                    "(core.ConfigMap): unknown conversion");
        check_error(ASK(f, API_CREATE, &res_configmaps, "default",
                        .body = "{\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"x\"}}"),
                    400,
                    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered "
                    "for version \"apps/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
        check_error(ASK(f, API_CREATE, &res_deployments, "default",
                        .body = "{\"apiVersion\":\"apps/v1beta2\",\"metadata\":{\"name\":\"x\"}}"),
                    400,
                    "the API version in the data (apps/v1beta2) does not match the expected API version (apps/v1)");
        check_error(ASK(f, API_CREATE, &res_deployments, "default",
                        .body = "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":\"x\"}}"),
                    400,
                    "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string "
                    "into Go struct field "
                    "DeploymentSpec.spec.replicas of type int32");
        check_error(ASK(f, API_UPDATE, &res_configmaps, "default", "b", .body = CM("")), 400,
                    "the name of the object (a) does not match the name on the URL (b)");
        check_error(ASK(f, API_DELETE, &res_namespaces, .name = "default"), 403,
                    "namespaces \"default\" is forbidden: this namespace may not be deleted");
        check_error(ASK(f, API_CREATE, &res_pods, "default", .body = POD), 403,
                    "pods \"p\" is forbidden: error looking up service account default/default: serviceaccount "
                    "\"default\" not found");
        check_error(ASK(f, API_CREATE, &res_pods, "default",
                        .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"serviceAccountName\":\"a/"
                                "%\",\"containers\":["
                                "{\"name\":\"c\",\"image\":\"i\"}]}}"),
                    403,
                    "pods \"p\" is forbidden: error looking up service account default/a/%: invalid resource name "
                    "\"a/%\": [may not contain '/' may not contain '%']");
}

static void unknown_fields_warn_or_fail_as_asked(void **state) {
        struct fixture *f = *state;
        static const char body[] = "{\"metadata\":{\"name\":\"a\"},\"dataa\":{}}";
        struct answer r;

        check_error(ASK(f, API_CREATE, &res_configmaps, "default", .body = body,
                        .options.field_validation = API_VALIDATE_STRICT),
                    400,
                    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown "
                    "field \"dataa\"");
        r = ASK(f, API_CREATE, &res_configmaps, "default", .body = body, .options.dry_run = true);
        assert_int_equal(r.code, 201);
        assert_int_equal(r.n_warnings, 1);
        assert_string_equal(arena_cstr(f->a, r.warning), "unknown field \"dataa\"");
        r = ASK(f, API_CREATE, &res_configmaps, "default", .body = body,
                .options.field_validation = API_VALIDATE_IGNORE);
        assert_int_equal(r.n_warnings, 0);
}

static void a_patch_to_a_wrong_type_is_invalid(void **state) {
        struct fixture *f = *state;
        struct answer r;

        ASK(f, API_CREATE, &res_configmaps, "default", .body = CM(""));
        r = ASK(f, API_PATCH, &res_configmaps, "default", "a", .patch = API_PATCH_MERGE,
                .body = "{\"data\":{\"k\":1}}");
        assert_int_equal(r.code, 422);
        assert_string_equal(r.reason, "Invalid");
        assert_memory_equal(r.message, " \"\" is invalid: patch: Invalid value: \"{", 40);
}

static void a_dry_run_stores_nothing(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_configmaps, "default", .body = CM(""), .options.dry_run = true), 201,
              ".metadata.name", "a");
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "a").code, 404);
}

static void an_update_checks_the_resource_version(void **state) {
        struct fixture *f = *state;
        const char *rv = at(f, ASK(f, API_CREATE, &res_configmaps, "default", .body = CM("\"k\":\"1\"")),
                            ".metadata.resourceVersion");
        char body[256];

        snprintf(body, sizeof(body),
                 "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"k\":\"2\"}}", rv);
        check(ASK(f, API_UPDATE, &res_configmaps, "default", "a", .body = body), 200, ".data.k", "2");
        check_error(ASK(f, API_UPDATE, &res_configmaps, "default", "a", .body = body), 409,
                    "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply "
                    "your changes to the latest "
                    "version and try again");
        check(ASK(f, API_UPDATE, &res_configmaps, "default", "a", .body = CM("\"k\":\"3\"")), 200, ".data.k", "3");
}

static void an_update_that_changes_nothing_keeps_the_revision(void **state) {
        struct fixture *f = *state;
        const char *rv = at(f, ASK(f, API_CREATE, &res_configmaps, "default", .body = CM("\"k\":\"1\"")),
                            ".metadata.resourceVersion");

        check(ASK(f, API_UPDATE, &res_configmaps, "default", "a", .body = CM("\"k\":\"1\"")), 200,
              ".metadata.resourceVersion", rv);
}

static void generation_counts_changes_of_spec_only(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT), 201, ".metadata.generation", "1");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                  .body = "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}"),
              200, ".metadata.generation", "1");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"replicas\":3}}"),
              200, ".metadata.generation", "2");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", "status", .patch = API_PATCH_MERGE,
                  .body = "{\"status\":{\"replicas\":3}}"),
              200, ".metadata.generation", "2");
}

static void spec_and_status_are_written_apart(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT);
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", "status", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"replicas\":9},\"status\":{\"replicas\":2}}"),
              200, ".spec.replicas", "1");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"replicas\":5},\"status\":{\"replicas\":7}}"),
              200, ".status.replicas", "2");
        check(ASK(f, API_GET, &res_deployments, "default", "w"), 200, ".spec.replicas", "5");
}

static void the_scale_subresource_reads_and_writes_replicas(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT);
        check(ASK(f, API_GET, &res_deployments, "default", "w", "scale"), 200, ".status.selector", "a=b");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"replicas\":4}}"),
              200, ".spec.replicas", "4");
        check(ASK(f, API_GET, &res_deployments, "default", "w"), 200, ".metadata.generation", "2");
        check_error(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_MERGE,
                        .body = "{\"spec\":{\"replicas\":-1}}"),
                    422,
                    "Scale.autoscaling \"w\" is invalid: spec.replicas: Invalid value: -1: must be greater than or "
                    "equal to 0");
        check_error(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_MERGE,
                        .body = "{\"metadata\":{\"resourceVersion\":\"x\"}}"),
                    500, "strconv.ParseUint: parsing \"x\": invalid syntax");
        assert_int_equal(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_MERGE,
                             .body = "{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"replicas\":5}}")
                                         .code,
                         409);
}

static void every_call_of_what_is_deprecated_is_warned(void **state) {
        static const char body[] = "{\"metadata\":{\"name\":\"e\"},\"odd\":1}";
        static const struct {
                enum api_verb verb;
                size_t warnings;
        } calls[] = { { API_CREATE, 2 }, { API_GET, 1 }, { API_UPDATE, 2 }, { API_PATCH, 2 }, { API_DELETE, 1 } };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
                struct answer r = ASK(f, calls[i].verb, &res_endpoints, "default",
                                      calls[i].verb == API_CREATE ? NULL : "e", .patch = API_PATCH_MERGE, .body = body,
                                      .options = { .field_validation = API_VALIDATE_WARN });

                assert_true(r.code == 200 || r.code == 201);
                assert_int_equal(r.n_warnings, calls[i].warnings);
        }
}

static void the_four_patches_change_an_object(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT);
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_JSON,
                  .body = "[{\"op\":\"replace\",\"path\":\"/spec/replicas\",\"value\":2}]"),
              200, ".spec.replicas", "2");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"replicas\":3}}"),
              200, ".spec.replicas", "3");
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_STRATEGIC,
                  .body = "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"d\",\"image\":\"y\"}]}}}}"),
              200, ".spec.template.spec.containers[1].name", "c");
        check(ASK(f, API_PATCH, &res_configmaps, "default", "new", .patch = API_PATCH_APPLY,
                  .options.field_manager = STR("m"),
                  .body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"new\"},\"data\":{"
                          "\"a\":\"b\"}}"),
              201, ".metadata.managedFields[0].manager", "m");
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "nope", .patch = API_PATCH_MERGE, .body = "{}"), 404,
                    "configmaps \"nope\" not found");
}

static void generated_names_get_a_suffix(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_configmaps, "default",
                              .body = "{\"metadata\":{\"generateName\":\"web-\"}}");

        assert_int_equal(strlen(at(f, r, ".metadata.name")), 9);
        assert_memory_equal(at(f, r, ".metadata.name"), "web-", 4);
}

static void a_pod_gets_what_admission_gives(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        r = ASK(f, API_CREATE, &res_pods, "default", .body = POD);
        check(r, 201, ".spec.serviceAccountName", "default");
        assert_string_equal(at(f, r, ".spec.containers[0].volumeMounts[0].mountPath"),
                            "/var/run/secrets/kubernetes.io/serviceaccount");
        assert_string_equal(at(f, r, ".spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds"),
                            "3607");
        assert_string_equal(at(f, r, ".spec.tolerations[1].key"), "node.kubernetes.io/unreachable");
        assert_string_equal(at(f, r, ".spec.priority"), "0");
        assert_string_equal(at(f, r, ".status.phase"), "Pending");
        assert_string_equal(at(f, r, ".status.qosClass"), "BestEffort");
        check(ASK(f, API_CREATE, &res_pods, "default",
                  .body = "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},"
                          "\"status\":{\"qosClass\":\"Guaranteed\",\"phase\":\"Failed\"}}"),
              201, ".status", "{\"phase\":\"Pending\",\"qosClass\":\"Guaranteed\"}");
}

static void an_unscheduled_pod_is_deleted_at_once(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default", .body = POD);
        check(ASK(f, API_DELETE, &res_pods, "default", "p"), 200, ".metadata.name", "p");
        assert_int_equal(ASK(f, API_GET, &res_pods, "default", "p").code, 404);
}

static void a_bound_pod_is_deleted_gracefully(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default", .body = POD);
        assert_int_equal(ASK(f, API_CREATE, &res_pods, "default", "p", "binding",
                             .body = "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}")
                                         .code,
                         201);
        check(ASK(f, API_GET, &res_pods, "default", "p"), 200, ".spec.nodeName", "n1");
        check(ASK(f, API_DELETE, &res_pods, "default", "p"), 200, ".metadata.deletionGracePeriodSeconds", "30");
        check(ASK(f, API_GET, &res_pods, "default", "p"), 200, ".metadata.deletionGracePeriodSeconds", "30");
        assert_int_equal(ASK(f, API_DELETE, &res_pods, "default", "p", .grace_zero = true).code, 200);
        assert_int_equal(ASK(f, API_GET, &res_pods, "default", "p").code, 404);
}

static void a_pod_is_bound_once(void **state) {
        struct fixture *f = *state;
        static const char body[] = "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}";
        struct answer r;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default", .body = POD);
        check_error(ASK(f, API_CREATE, &res_pods, "default", "p", "binding",
                        .body = "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Pod\"}}"),
                    500,
                    "[target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\", target.name: "
                    "Required value]");
        r = ASK(f, API_CREATE, &res_pods, "default", "p", "binding",
                .body = "{\"metadata\":{\"name\":\"p\",\"uid\":\"x\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
        assert_int_equal(r.code, 409);
        assert_non_null(strstr(r.message,
                               "Operation cannot be fulfilled on pods \"p\": StorageError: invalid object, Code: "
                               "4, Key: /registry/pods/default/p, ResourceVersion: 0, AdditionalErrorMsg: "
                               "Precondition failed: UID in precondition: x, UID in object meta: "));
        ASK(f, API_CREATE, &res_pods, "default", "p", "binding", .body = body);
        check_error(ASK(f, API_CREATE, &res_pods, "default", "p", "binding", .body = body), 409,
                    "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\"");
}

static void finalizers_hold_an_object_until_they_are_gone(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.io/y\"]}}");
        assert_int_equal(ASK(f, API_DELETE, &res_configmaps, "default", "a").code, 200);
        check(ASK(f, API_GET, &res_configmaps, "default", "a"), 200, ".metadata.deletionGracePeriodSeconds", "0");
        assert_string_equal(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"a\"}}")
                                            .message,
                            "object is being deleted: configmaps \"a\" already exists");
        assert_int_equal(ASK(f, API_PATCH, &res_configmaps, "default", "a", .patch = API_PATCH_MERGE,
                             .body = "{\"metadata\":{\"finalizers\":null}}")
                                         .code,
                         200);
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "a").code, 404);
}

static void propagation_policies_set_their_finalizers(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT);
        check(ASK(f, API_DELETE, &res_deployments, "default", "w", .options.propagation_policy = STR("Foreground")),
              200, ".metadata.finalizers[0]", "foregroundDeletion");
        check(ASK(f, API_DELETE, &res_deployments, "default", "w", .options.propagation_policy = STR("Orphan")), 200,
              ".metadata.finalizers[0]", "orphan");
        check_code(ASK(f, API_DELETE, &res_deployments, "default", "w", .options.orphan_dependents = STR("true"),
                       .options.propagation_policy = STR("Orphan")),
                   200);
        check_code(ASK(f, API_DELETE, &res_deployments, "default", "w", .options.orphan_dependents = STR("false"),
                       .options.propagation_policy = STR("Foreground")),
                   202);
        /* Only jobs say that they leave their pods behind, and only to who has not chosen. */
        assert_int_equal(ASK(f, API_DELETE, &res_jobs, "default", "x").n_warnings, 1);
        assert_int_equal(ASK(f, API_DELETE_COLLECTION, &res_jobs, "default").n_warnings, 1);
        assert_int_equal(ASK(f, API_DELETE_COLLECTION, &res_replicationcontrollers, "default").n_warnings, 0);
        assert_int_equal(ASK(f, API_DELETE, &res_jobs, "default", "x", .options.propagation_policy = STR("Orphan"))
                                         .n_warnings,
                         0);
}

static void a_namespace_ends_with_finalize(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_namespaces, .body = "{\"metadata\":{\"name\":\"foo\"}}");
        check(ASK(f, API_DELETE, &res_namespaces, .name = "foo"), 200, ".status.phase", "Terminating");
        check_error(ASK(f, API_CREATE, &res_configmaps, "foo", .body = CM("")), 403,
                    "configmaps \"a\" is forbidden: unable to create new content in namespace foo because it is being "
                    "terminated");
        check_error(ASK(f, API_CREATE, &res_configmaps, "foo", .body = "{}"), 403,
                    "configmaps \"Unknown\" is forbidden: unable to create new content in namespace foo because it is "
                    "being terminated");
        assert_int_equal(ASK(f, API_UPDATE, &res_namespaces, .name = "foo", .sub = "finalize",
                             .body = "{\"metadata\":{\"name\":\"foo\"},\"spec\":{\"finalizers\":[]}}")
                                         .code,
                         200);
        assert_int_equal(ASK(f, API_GET, &res_namespaces, .name = "foo").code, 404);
}

static void a_service_gets_an_address_and_gives_it_back(void **state) {
        struct fixture *f = *state;
        static const char body[] = "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"clusterIP\":\"10.96.0.77\",\"type\":"
                                   "\"NodePort\",\"ports\":[{"
                                   "\"port\":80,\"nodePort\":30080}]}}";
        static const char other[] = "{\"metadata\":{\"name\":\"t\"},\"spec\":{\"clusterIP\":\"10.96.0.77\",\"ports\":[{"
                                    "\"port\":80}]}}";

        check(ASK(f, API_CREATE, &res_services, "default", .body = body), 201, ".spec.clusterIPs[0]", "10.96.0.77");
        check_error(ASK(f, API_CREATE, &res_services, "default", .body = other), 422,
                    "Service \"t\" is invalid: spec.clusterIPs: Invalid value: []string{\"10.96.0.77\"}: failed to "
                    "allocate IP "
                    "10.96.0.77: provided IP "
                    "is already allocated");
        assert_int_equal(ASK(f, API_DELETE, &res_services, "default", "s").code, 200);
        check(ASK(f, API_CREATE, &res_services, "default", .body = other), 201, ".spec.clusterIP", "10.96.0.77");
        assert_int_equal(ASK(f, API_CREATE, &res_services, "default", .body = body).code, 422);
}

static void a_service_type_can_change(void **state) {
        struct fixture *f = *state;
        struct answer r;

        ASK(f, API_CREATE, &res_services, "default",
            .body = "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}]}}");
        r = ASK(f, API_PATCH, &res_services, "default", "s", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"type\":\"NodePort\"}}");
        assert_int_equal(r.code, 200);
        assert_true(atoi(at(f, r, ".spec.ports[0].nodePort")) >= 30000);
        r = ASK(f, API_PATCH, &res_services, "default", "s", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"type\":\"ClusterIP\"}}");
        check(r, 200, ".spec.ports[0].nodePort", "(absent)");
}

static void lists_are_filtered_and_paged_consistently(void **state) {
        struct fixture *f = *state;
        struct answer r;
        char body[128];

        for (int i = 0; i < 5; i++) {
                snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"n\":\"%d\"}}}", i, i % 2);
                ASK(f, API_CREATE, &res_configmaps, "default", .body = body);
        }
        assert_string_equal(at(f, ASK(f, API_LIST, &res_configmaps, "default", .options.label_selector = STR("n=1")),
                               ".items[1].metadata.name"),
                            "c3");
        check(ASK(f, API_LIST, &res_configmaps, "default", .options.field_selector = STR("metadata.name=c4")), 200,
              ".items[0].metadata.name", "c4");
        r = ASK(f, API_LIST, &res_configmaps, "default", .options.limit = 2);
        check(r, 200, ".remaining", "3");
        ASK(f, API_DELETE, &res_configmaps, "default", "c3");
        r = ASK(f, API_LIST, &res_configmaps, "default", .options.limit = 2,
                .options.continue_token = str_of(at(f, r, ".continue")));
        check(r, 200, ".items[1].metadata.name", "c3"); /* as it was when the list began */
        check_error(ASK(f, API_LIST, &res_configmaps, "default", .options.resource_version = STR("99999")), 504,
                    "Timeout: Too large resource version: 99999, current: 7");
}

static void deletecollection_deletes_what_it_selects(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"y\"}}}");
        ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"b\"}}");
        assert_int_equal(ASK(f, API_DELETE_COLLECTION, &res_configmaps, "default", .options.label_selector = STR("x=y"))
                                         .code,
                         200);
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "a").code, 404);
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "b").code, 200);
}

/* Many at once, or one after the other until one fails. */
static void deletecollection_ends_with_the_first_failure(void **state) {
        struct fixture *f = *state;
        char body[80];
        struct str uid;

        for (int i = 0; i < 100; i++) {
                snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"c%02d\"%s}}", i,
                         i == 3 ? ",\"finalizers\":[\"a/b\"]" : "");
                check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = body), 201);
        }
        uid = str_of(at(f, ASK(f, API_GET, &res_configmaps, "default", "c00"), ".metadata.uid"));
        assert_int_equal(
                        ASK(f, API_DELETE_COLLECTION, &res_configmaps, "default", .options.precondition_uid = uid).code,
                        409);
        check(ASK(f, API_LIST, &res_configmaps, "default"), 200, ".items[0].metadata.name", "c01");
        check(ASK(f, API_LIST, &res_configmaps, "default"), 200, ".items[98].metadata.name", "c99");
        check(ASK(f, API_DELETE_COLLECTION, &res_configmaps, "default"), 200, ".items[98].metadata.name", "c99");
        check(ASK(f, API_LIST, &res_configmaps, "default"), 200, ".items[0].metadata.name", "c03");
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "c99").code, 404);
}

static void rbac_decides(void **state) {
        struct fixture *f = *state;
        struct api_user jane = { .name = STR("jane") };

        check_error(ASK(f, API_LIST, &res_pods, "default", .user = &jane), 403,
                    "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace "
                    "\"default\"");
        ASK(f, API_CREATE, &res_roles, "default",
            .body = "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"verbs\":[\"list\"],\"apiGroups\":[\"\"],"
                    "\"resources\":[\"pods\"]}]}");
        ASK(f, API_CREATE, &res_rolebindings, "default",
            .body = "{\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
                    "\"Role\",\"name\":\"r\"},"
                    "\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"jane\"}]}");
        assert_int_equal(ASK(f, API_LIST, &res_pods, "default", .user = &jane).code, 200);
        assert_int_equal(ASK(f, API_LIST, &res_pods, "kube-system", .user = &jane).code, 403);
        assert_int_equal(ASK(f, API_GET, &res_pods, "default", "x", .user = &jane).code, 403);
}

static void an_eviction_respects_the_disruption_budget(void **state) {
        struct fixture *f = *state;
        static const char eviction[] = "{\"metadata\":{\"name\":\"p\"}}";

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default",
            .body = "{\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"nodeName\":\"n\","
                    "\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
        ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
            .body = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
        ASK(f, API_CREATE, &res_poddisruptionbudgets, "default",
            .body = "{\"metadata\":{\"name\":\"b\"},\"spec\":{\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"a\":"
                    "\"b\"}}}}");
        check_error(ASK(f, API_CREATE, &res_pods, "default", "q", "eviction", .body = eviction), 400,
                    "name in URL does not match name in Eviction object");
        check_error(ASK(f, API_CREATE, &res_pods, "default", "p", "eviction", .body = eviction), 429,
                    "Cannot evict pod as it would violate the pod's disruption budget.");
        ASK(f, API_PATCH, &res_poddisruptionbudgets, "default", "b", "status", .patch = API_PATCH_MERGE,
            .body = "{\"status\":{\"disruptionsAllowed\":1,\"currentHealthy\":2,\"desiredHealthy\":1,"
                    "\"observedGeneration\":1}}");
        assert_int_equal(ASK(f, API_CREATE, &res_pods, "default", "p", "eviction",
                             .body = "{\"metadata\":{\"name\":\"p\"},\"deleteOptions\":{\"dryRun\":[\"All\"]}}")
                                         .code,
                         201);
        check(ASK(f, API_GET, &res_poddisruptionbudgets, "default", "b"), 200, ".status.disruptionsAllowed", "1");
        check(ASK(f, API_GET, &res_pods, "default", "p"), 200, ".metadata.deletionGracePeriodSeconds", "(absent)");
        assert_int_equal(ASK(f, API_CREATE, &res_pods, "default", "p", "eviction", .body = eviction).code, 201);
        check(ASK(f, API_GET, &res_poddisruptionbudgets, "default", "b"), 200, ".status.disruptionsAllowed", "0");
        check(ASK(f, API_GET, &res_pods, "default", "p"), 200, ".metadata.deletionGracePeriodSeconds", "30");
        check(ASK(f, API_GET, &res_pods, "default", "p"), 200, ".status.conditions[1].reason", "EvictionByEvictionAPI");
}

static void other_versions_of_a_resource_are_views(void **state) {
        struct fixture *f = *state;
        const struct api_resource *v1 =
                        api_find_resource(STR("autoscaling"), STR("v1"), STR("horizontalpodautoscalers"));
        const struct api_resource *v2 =
                        api_find_resource(STR("autoscaling"), STR("v2"), STR("horizontalpodautoscalers"));

        check(ASK(f, API_CREATE, v1, "default",
                  .body = "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,"
                          "\"targetCPUUtilizationPercentage\":50,\"scaleTargetRef\":{"
                          "\"kind\":\"Deployment\",\"name\":\"w\",\"apiVersion\":\"apps/v1\"}}}"),
              201, ".apiVersion", "autoscaling/v1");
        check(ASK(f, API_GET, v2, "default", "h"), 200, ".spec.metrics[0].resource.target.averageUtilization", "50");
        check(ASK(f, API_GET, v1, "default", "h"), 200, ".spec.targetCPUUtilizationPercentage", "50");
        check(ASK(f, API_CREATE, v1, "default",
                  .body = "{\"metadata\":{\"name\":\"i\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{"
                          "\"kind\":\"Deployment\",\"name\":\"w\",\"apiVersion\":\"apps/v1\"}}}"),
              201, ".spec.targetCPUUtilizationPercentage", "80");
}

static void leases_are_created_by_an_update(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_UPDATE, &res_leases, "kube-system", "l",
                  .body = "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"me\"}}"),
              201, ".spec.holderIdentity", "me");
        check_error(ASK(f, API_UPDATE, &res_leases, "kube-system", "l",
                        .body = "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"x\"}}"),
                    422,
                    "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must "
                    "be "
                    "specified for an update");
        /* RuntimeClasses likewise; ServiceAccounts neither; capacities are not created, but must name it. */
#define RUNTIME "{\"metadata\":{\"name\":\"r\"},\"handler\":\"h\"}"
#define CAPACITY "{\"metadata\":{\"name\":\"c\"},\"storageClassName\":\"x\"}"
        check_code(ASK(f, API_UPDATE, &res_runtimeclasses, .name = "r", .body = RUNTIME), 201);
        check_code(ASK(f, API_UPDATE, &res_runtimeclasses, .name = "r", .body = RUNTIME), 422);
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", .body = CM("")), 201);
        check_code(ASK(f, API_UPDATE, &res_serviceaccounts, "default", "a", .body = CM("")), 200);
        check_code(ASK(f, API_UPDATE, &res_csistoragecapacities, "default", "c", .body = CAPACITY), 404);
        check_code(ASK(f, API_CREATE, &res_csistoragecapacities, "default", .body = CAPACITY), 201);
        check_code(ASK(f, API_UPDATE, &res_csistoragecapacities, "default", "c", .body = CAPACITY), 422);
}

static void a_daemonset_counts_the_changes_of_its_template(void **state) {
#define DAEMONS(annotations, image)                                                                       \
        "{\"metadata\":{\"name\":\"d\",\"annotations\":{" annotations "}},\"spec\":{\"selector\":{"       \
        "\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{" \
        "\"containers\":[{\"name\":\"c\",\"image\":\"" image "\"}]}}}}"
        static const char *const counted = ".metadata.annotations.deprecated\\.daemonset\\.template\\.generation";
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_daemonsets, "default", .body = DAEMONS("", "x")), 201, counted, "1");
        check(ASK(f, API_UPDATE, &res_daemonsets, "default", "d", .body = DAEMONS("\"z\":\"\"", "x")), 200, counted,
              "1");
        check(ASK(f, API_UPDATE, &res_daemonsets, "default", "d",
                  .body = DAEMONS("\"deprecated.daemonset.template.generation\":\"9\"", "y")),
              200, counted, "2");
}

#define LOOPS 6
#define CROWD 100 /* of each */

struct crowd {
        struct fixture *f;
        struct loop *loop;
        struct arena *arena;
        struct api_call calls[CROWD];
        atomic_int left, failed;
};

static void crowd_done(struct api_call *c) {
        struct crowd *w = c->userdata;

        atomic_fetch_add(&w->failed, c->code != 200);
        object_unref(c->object);
        error_clear(&c->error);
        atomic_fetch_sub(&w->left, 1);
}

static void crowd_patches(void *arg) {
        struct crowd *w = arg;

        for (int i = 0; i < CROWD; i++) {
                struct arena *a = w->arena;
                struct json *body;

                json_parse(a, arena_printf(a, "{\"data\":{\"k%p\":\"v\"}}", (void *) &w->calls[i]), NULL, &body, NULL);
                w->calls[i] = (struct api_call) { .verb = API_PATCH,
                                                  .patch = API_PATCH_MERGE,
                                                  .resource = &res_configmaps,
                                                  .namespace = STR("default"),
                                                  .name = STR("c"),
                                                  .body = body,
                                                  .options = API_OPTIONS_INIT,
                                                  .user = api_user_system,
                                                  .arena = a,
                                                  .loop = w->loop,
                                                  .done = crowd_done,
                                                  .userdata = w };
                apiserver_call(w->f->s, &w->calls[i]);
        }
}

/* All at once, on one object, none with a revision: nobody runs out of attempts. */
static void patches_of_a_crowd_all_get_through(void **state) {
        struct crowd *crowds = xcalloc(LOOPS, sizeof(*crowds));
        struct fixture *f = *state;

        assert_int_equal(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"c\"}}").code,
                         201);
        for (size_t i = 0; i < LOOPS; i++) {
                crowds[i].f = f;
                crowds[i].left = CROWD;
                crowds[i].arena = arena_new(0);
                assert_int_equal(loop_new("crowd", &crowds[i].loop, NULL), 0);
                loop_start_thread(crowds[i].loop);
                loop_call(crowds[i].loop, crowd_patches, &crowds[i]);
        }
        for (size_t i = 0; i < LOOPS; i++) {
                while (atomic_load(&crowds[i].left) > 0)
                        usleep(1000);
                assert_int_equal(crowds[i].failed, 0);
        }
        assert_int_equal(json_len(json_getc(ASK(f, API_GET, &res_configmaps, "default", "c").body, "data")),
                         LOOPS * CROWD);
        assert_int_equal(map_size(f->s->turns), 0);
        for (size_t i = 0; i < LOOPS; i++) {
                loop_end(crowds[i].loop);
                arena_free(crowds[i].arena);
        }
        free(crowds);
}

static void a_job_without_labels_has_those_of_its_pods(void **state) {
        struct fixture *f = *state;
        struct str last = STR("");
        struct answer r;

        r = ASK(f, API_CREATE, &res_jobs, "default",
                .body = "{\"metadata\":{\"name\":\"j\"},\"spec\":{\"template\":{\"spec\":{"
                        "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}");
        check(r, 201, ".metadata.labels.job-name", "j");
        json_each_member(m, json_getc(r.body, "metadata"))
                last = json_key(m);
        assert_true(str_eqc(last, "managedFields")); /* each member stands in its place */
        r = ASK(f, API_CREATE, &res_jobs, "default",
                .body = "{\"metadata\":{\"generateName\":\"g-\"},\"spec\":{\"template\":{\"spec\":{"
                        "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}");
        check(r, 201, ".metadata.labels.job-name", at(f, r, ".metadata.name"));
        /* They are not looked at, being its pods'. */
        r = ASK(f, API_CREATE, &res_jobs, "default",
                .body = "{\"metadata\":{\"name\":\"j234567890123456789012345678901234567890123456789012345678901234\"},"
                        "\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":"
                        "\"c\",\"image\":\"x\"}]}}}}");
        check_code(r, 422);
        assert_non_null(strstr(r.message, "spec.template.labels: Invalid value"));
        assert_null(strstr(r.message, "metadata.labels"));
}

static void the_service_of_the_api_comes_back(void **state) {
        struct fixture *f = *state;
        char uid[37];

        strcpy(uid, at(f, ASK(f, API_GET, &res_services, "default", "kubernetes"), ".metadata.uid"));
        bootstrap_again(f->s);
        check(ASK(f, API_GET, &res_services, "default", "kubernetes"), 200, ".metadata.uid", uid);
        assert_int_equal(ASK(f, API_DELETE, &res_services, "default", "kubernetes").code, 200);
        assert_int_equal(ASK(f, API_GET, &res_services, "default", "kubernetes").code, 404);
        check(ASK(f, API_GET, &res_servicecidrs, .name = "kubernetes"), 200, ".status.conditions[0].type", "Ready");
        bootstrap_again(f->s);
        for (int i = 0; ASK(f, API_GET, &res_services, "default", "kubernetes").code != 200; i++) {
                assert_in_range(i, 0, 5000);
                usleep(1000);
        }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(a_created_object_can_be_read_and_has_metadata),
                T(errors_read_as_upstream),
                T(unknown_fields_warn_or_fail_as_asked),
                T(a_patch_to_a_wrong_type_is_invalid),
                T(a_dry_run_stores_nothing),
                T(an_update_checks_the_resource_version),
                T(an_update_that_changes_nothing_keeps_the_revision),
                T(generation_counts_changes_of_spec_only),
                T(spec_and_status_are_written_apart),
                T(every_call_of_what_is_deprecated_is_warned),
                T(the_scale_subresource_reads_and_writes_replicas),
                T(the_four_patches_change_an_object),
                T(patches_of_a_crowd_all_get_through),
                T(generated_names_get_a_suffix),
                T(a_pod_gets_what_admission_gives),
                T(an_unscheduled_pod_is_deleted_at_once),
                T(a_bound_pod_is_deleted_gracefully),
                T(a_pod_is_bound_once),
                T(finalizers_hold_an_object_until_they_are_gone),
                T(propagation_policies_set_their_finalizers),
                T(a_namespace_ends_with_finalize),
                T(a_service_gets_an_address_and_gives_it_back),
                T(a_service_type_can_change),
                T(lists_are_filtered_and_paged_consistently),
                T(deletecollection_deletes_what_it_selects),
                T(deletecollection_ends_with_the_first_failure),
                T(rbac_decides),
                T(an_eviction_respects_the_disruption_budget),
                T(other_versions_of_a_resource_are_views),
                T(leases_are_created_by_an_update),
                T(a_daemonset_counts_the_changes_of_its_template),
                T(a_job_without_labels_has_those_of_its_pods),
                T(the_service_of_the_api_comes_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
