/* Subresources whose requests are about something else than their object: scale, binding, eviction; and how things
 * are deleted. */
#include "help.h"

#define EVICT(...) ASK(f, API_CREATE, &res_pods, "default", "p", "eviction", __VA_ARGS__)
#define ADMITTED "{'metadata':{'name':'p'}}"

static void make_pod(struct fixture *f, const char *name, const char *spec, const char *status) {
        check_code(ASK(f, API_CREATE, &res_pods, "default",
                       .body = with_quotes(f, arena_printf(f->a,
                                                           "{'metadata':{'name':'%s','labels':{'a':'b'}},'spec':{%s"
                                                           "'containers':[{'name':'c','image':'i'}]}}",
                                                           name, spec)
                                                              .p)),
                   201);
        check_code(ASK(f, API_PATCH, &res_pods, "default", name, "status", .patch = API_PATCH_MERGE,
                       .body = with_quotes(f, arena_printf(f->a, "{'status':{%s}}", status).p)),
                   200);
}

#define READY "'phase':'Running','conditions':[{'type':'Ready','status':'True'}]"
#define UNREADY "'phase':'Running','conditions':[{'type':'Ready','status':'False'}]"

static void a_budget_says_why_not(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *status, *pod;
                int code;
                const char *path, *text;
        } cases[] = {
                { "'observedGeneration':1,'currentHealthy':1,'desiredHealthy':1", READY, 429,
                  ".details.causes[0].message", "The disruption budget b needs 1 healthy pods and has 1 currently" },
                { "'observedGeneration':0,'disruptionsAllowed':1,'currentHealthy':2", READY, 429,
                  ".details.causes[0].message", "The disruption budget b is still being processed by the server." },
                { "'observedGeneration':1,'currentHealthy':0,'desiredHealthy':1", UNREADY, 429, ".reason",
                  "TooManyRequests" },
                { "'observedGeneration':1,'currentHealthy':1,'desiredHealthy':1", UNREADY, 201, ".status", "Success" },
        };

        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_poddisruptionbudgets, "default",
                       .body = Q("{'metadata':{'name':'b'},'spec':{'minAvailable':1,'selector':{'matchLabels':{"
                                 "'a':'b'}}}}")),
                   201);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct answer r;

                make_pod(f, "p", "'nodeName':'n',", cases[i].pod);
                check_code(ASK(f, API_PATCH, &res_poddisruptionbudgets, "default", "b", "status",
                               .patch = API_PATCH_JSON,
                               .body = with_quotes(f, arena_printf(f->a,
                                                                   "[{'op':'add','path':'/status','value':{%s,"
                                                                   "'expectedPods':1}}]",
                                                                   cases[i].status)
                                                                      .p)),
                           200);
                r = EVICT(.body = Q(ADMITTED));
                assert_int_equal(r.code, cases[i].code);
                if (r.code >= 400) {
                        r.body = NULL;
                        assert_true(json_parse(f->a, str_of(r.status), NULL, (struct json **) &r.body, NULL) == 0);
                }
                assert_string_equal(at(f, r, cases[i].path), cases[i].text);
                ASK(f, API_DELETE, &res_pods, "default", "p", .grace_zero = true);
        }
}

static void an_eviction_tells_the_budget_and_nobody_owns_that(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        make_pod(f, "p", "'nodeName':'n',", READY);
        ASK(f, API_CREATE, &res_poddisruptionbudgets, "default",
            .body = Q("{'metadata':{'name':'b'},'spec':{'minAvailable':1,'selector':{'matchLabels':{'a':'b'}}}}"));
        ASK(f, API_PATCH, &res_poddisruptionbudgets, "default", "b", "status", .patch = API_PATCH_MERGE,
            .body = Q("{'status':{'disruptionsAllowed':1,'currentHealthy':2,'desiredHealthy':1,"
                      "'observedGeneration':1}}"));
        check_code(EVICT(.body = Q(ADMITTED)), 201);
        r = ASK(f, API_GET, &res_poddisruptionbudgets, "default", "b");
        check(r, 200, ".status.conditions[0].reason", "InsufficientPods");
        check(r, 200, ".status.conditions[0].observedGeneration", "1");
        check(r, 200, ".status.disruptionsAllowed", "0");
        r = ASK(f, API_GET, &res_pods, "default", "p");
        check(r, 200, ".status.conditions[0].type", "Ready");
        check(r, 200, ".status.conditions[1].reason", "EvictionByEvictionAPI");
        check(r, 200, ".metadata.managedFields[2]", "(absent)");
}

static void options_of_an_eviction_agree(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        make_pod(f, "p", "", "'phase':'Pending'");
        check_error(EVICT(.options = { .grace_period_seconds = -1, .dry_run = true },
                          .body = Q("{'metadata':{'name':'p'},'deleteOptions':{'dryRun':['x']}}")),
                    500, "Non-matching dry-run options in request and content: [All] and [x]");
        check_error(EVICT(.body = Q("{'metadata':{'name':'p'},'deleteOptions':{"
                                    "'ignoreStoreReadErrorWithClusterBreakingPotential':true}}")),
                    422,
                    "Eviction.policy \"p\" is invalid: deleteOptions."
                    "ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: can not be set for pod "
                    "eviction, try after removing the option");
        /* Who it has to be is no thing to wait for. */
        assert_int_equal(EVICT(.body = Q("{'metadata':{'name':'p'},'deleteOptions':{'preconditions':{'uid':'x'}}}"))
                                         .code,
                         409);
        check_code(EVICT(.body = Q(ADMITTED)), 201);
        assert_int_equal(ASK(f, API_GET, &res_pods, "default", "p").code, 404);
}

static void a_binding_by_its_own_path_knows_no_uid(void **state) {
        struct fixture *f = *state;
        static const char with_uid[] = "{'metadata':{'name':'p','uid':'x'},'target':{'kind':'Node','name':'n'}}";

        make_account(f, "default");
        make_pod(f, "p", "", "'phase':'Pending'");
        check_error(ASK(f, API_CREATE, &res_bindings, "default",
                        .body = Q("{'metadata':{},'target':{'kind':'Node','name':'n'}}")),
                    400, "Name parameter required.");
        check_error(ASK(f, API_CREATE, &res_bindings, "default", .body = Q("{'metadata':{}}")), 500,
                    "target.name: Required value");
        assert_int_equal(ASK(f, API_CREATE, &res_pods, "default", "p", "binding", .body = Q(with_uid)).code, 409);
        check_code(ASK(f, API_CREATE, &res_bindings, "default", .body = Q(with_uid)), 201);
}

static void a_scale_is_applied_as_a_scale(void **state) {
        struct fixture *f = *state;
        struct request apply = { API_PATCH,
                                 &res_replicationcontrollers,
                                 "default",
                                 "r",
                                 "scale",
                                 .patch = API_PATCH_APPLY,
                                 .options = { .grace_period_seconds = -1, .field_manager = STR("m") } };
        static const struct {
                const char *body;
                int code;
                const char *message;
        } refused[] = {
#define SCALE(more) "{'apiVersion':'autoscaling/v1','kind':'Scale','metadata':{'name':'r'}," more "}"
                { "{'metadata':{'name':'r'},'spec':{'replicas':3}}", 400, "invalid object type: /, Kind=" },
                { "{'apiVersion':'apps/v1','kind':'Deployment','metadata':{'name':'r'}}", 400,
                  "invalid object type: apps/v1, Kind=Deployment" },
                { SCALE("'spec':{'bogus':1}"), 500,
                  "failed to create typed patch object (/r; autoscaling/v1, Kind=Scale): .spec.bogus: field not "
                  "declared in schema" },
                { SCALE("'spec':{'replicas':3}"), 409,
                  "Apply failed with 1 conflict: conflict with \"admin\" using autoscaling/v1: .spec.replicas" },
        };
        const struct api_user admin = { .name = STR("admin"),
                                        .groups = (struct str[]) { STR("system:masters") },
                                        .n_groups = 1 };
        struct answer r;

        check_code(ASK(f, API_CREATE, &res_replicationcontrollers, "default", .user = &admin,
                       .body = Q("{'metadata':{'name':'r'},'spec':{'replicas':2,'template':{'metadata':{'labels':{"
                                 "'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]}}}}")),
                   201);
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                apply.body = with_quotes(f, refused[i].body);
                check_error(ask(f, apply), refused[i].code, refused[i].message);
        }
        apply.body = Q(SCALE("'spec':null"));
        check(ask(f, apply), 200, ".spec.replicas", "2");
        check_error(ASK(f, API_UPDATE, &res_replicationcontrollers, "default", "gone", "scale", .body = "{}"), 400,
                    "the name of the object (gone based on URL) was undeterminable: name must be provided");
        /* A Scale does not say 0: nobody owns it. */
        check_code(ASK(f, API_UPDATE, &res_replicationcontrollers, "default", "r", "scale", .user = &admin,
                       .body = Q("{'metadata':{'name':'r'},'spec':{'replicas':0}}")),
                   200);
        r = ASK(f, API_GET, &res_replicationcontrollers, "default", "r");
        check(r, 200, ".spec.replicas", "0");
        check(r, 200, ".metadata.managedFields[0].fieldsV1.f:spec.f:replicas", "(absent)");
        check(r, 200, ".metadata.managedFields[1]", "(absent)");
}

static void a_namespace_goes_by_its_second_delete(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_namespaces, .body = Q("{'metadata':{'name':'n'}}")), 201);
        check_code(ASK(f, API_UPDATE, &res_namespaces, .name = "n", .sub = "finalize",
                       .body = Q("{'metadata':{'name':'n'},'spec':{},'status':{'phase':'Terminating'}}")),
                   200);
        check(ASK(f, API_DELETE, &res_namespaces, .name = "n"), 200, ".status.phase", "Terminating");
        check_code(ASK(f, API_GET, &res_namespaces, .name = "n"), 200);
        check_code(ASK(f, API_DELETE, &res_namespaces, .name = "n"), 200);
        assert_int_equal(ASK(f, API_GET, &res_namespaces, .name = "n").code, 404);
}

static void what_goes_its_own_way_is_only_marked(void **state) {
        struct fixture *f = *state;
        struct request del = { API_DELETE, &res_customresourcedefinitions, .name = "ws.x.io",
                               .options = { .grace_period_seconds = -1,
                                            .propagation_policy = STR("Foreground"),
                                            .precondition_uid = STR("x") } };
        struct answer r;

        check_code(ASK(f, API_CREATE, &res_customresourcedefinitions,
                       .body = Q("{'metadata':{'name':'ws.x.io','finalizers':['a.b/c']},'spec':{'group':'x.io',"
                                 "'scope':'Cluster','names':{'plural':'ws','kind':'W'},'versions':[{'name':'v1',"
                                 "'served':true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}")),
                   201);
        r = ask(f, del);
        assert_int_equal(r.code, 409);
        assert_non_null(strstr(r.message,
                               "\"ws.x.io\": Precondition failed: UID in precondition: x, UID in object meta"));
        del.options.precondition_uid = str_n(NULL, 0);
        r = ask(f, del);
        check(r, 200, ".metadata.finalizers", "[\"a.b/c\",\"customresourcecleanup.apiextensions.k8s.io\"]");
        check(r, 200, ".metadata.generation", "1");
        check(r, 200, ".metadata.deletionGracePeriodSeconds", "(absent)");
}

static void events_have_no_dependents(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_events, "default",
                       .body = Q("{'metadata':{'name':'e'},'involvedObject':{'namespace':'default'}}")),
                   201);
        check_code(ASK(f, API_DELETE, &res_events, "default", "e",
                       .options = { .grace_period_seconds = -1, .propagation_policy = STR("Foreground") }),
                   200);
        assert_int_equal(ASK(f, API_GET, &res_events, "default", "e").code, 404);
        check_code(ASK(f, API_CREATE, &res_events, "default",
                       .body = Q("{'metadata':{'name':'e','finalizers':['orphan']},'involvedObject':{'namespace':"
                                 "'default'}}")),
                   201);
        check_code(ASK(f, API_DELETE, &res_events, "default", "e"), 200);
        assert_int_equal(ASK(f, API_GET, &res_events, "default", "e").code, 404);
}

static void an_empty_precondition_is_one(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = Q("{'metadata':{'name':'c'}}")), 201);
        assert_int_equal(ASK(f, API_DELETE, &res_configmaps, "default", "c",
                             .options = { .grace_period_seconds = -1, .precondition_uid = STR("") })
                                         .code,
                         409);
        check_code(ASK(f, API_DELETE, &res_configmaps, "default", "c"), 200);
}

static void an_empty_list_of_managers_resets(void **state) {
        struct fixture *f = *state;
        struct request patch = { API_PATCH, &res_configmaps,          "default",
                                 "c",       .patch = API_PATCH_MERGE, .options = API_OPTIONS_INIT };

        check(ASK(f, API_CREATE, &res_configmaps, "default", .body = Q("{'metadata':{'name':'c'},'data':{'a':'b'}}")),
              201, ".metadata.managedFields[0].operation", "Update");
        patch.body = Q("{'metadata':{'managedFields':[],'selfLink':'/x'}}");
        check(ask(f, patch), 200, ".metadata.managedFields", "(absent)");
        check(ask(f, patch), 200, ".metadata.selfLink", "(absent)");
}

static void numbers_that_are_none_are_told_as_go_does(void **state) {
        struct fixture *f = *state;

        check_error(ASK(f, API_LIST, &res_configmaps, "default",
                        .options = { .grace_period_seconds = -1, .resource_version = STR("99999999999999999999") }),
                    400,
                    "invalid resource version: resourceVersion: Invalid value: \"99999999999999999999\": "
                    "strconv.ParseUint: parsing \"99999999999999999999\": value out of range");
        check_error(ASK(f, API_LIST, &res_configmaps, "default",
                        .options = { .grace_period_seconds = -1, .resource_version = STR("999999"), .limit = 1 }),
                    500, "etcdserver: mvcc: required revision is a future revision");
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "kube-root-ca.crt", .patch = API_PATCH_JSON,
                        .body = "[1]"),
                    404, "configmaps \"kube-root-ca.crt\" not found");
        check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = Q("{'metadata':{'name':'c'}}")), 201);
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_JSON, .body = "[1]"), 400,
                    "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp");
}

static void a_status_warns_of_its_addresses(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_pods, "default",
                       .body = Q("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]}}")),
                   201);
        r = ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                .body = Q("{'status':{'podIPs':[{'ip':'1.2.3.04'}]}}"));
        check_code(r, 200);
        check_code(ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                       .body = Q("{'metadata':{'generateName':'A_'}}")),
                   200);
        check_code(ASK(f, API_PATCH, &res_pods, "default", "p", .patch = API_PATCH_MERGE,
                       .body = Q("{'metadata':{'labels':{'a':'b'}}}")),
                   422); /* the prefix is looked at now */
        assert_int_equal(r.n_warnings, 1);
        assert_true(str_eqc(r.warning, "status.podIPs[0].ip: non-standard IP address \"1.2.3.04\" will be considered "
                                       "invalid in a future Kubernetes release: use \"1.2.3.4\""));
}

static void a_job_without_labels_shows_those_of_its_pods(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_jobs, "default",
                       .body = Q("{'metadata':{'name':'j','labels':{'a':'b'}},'spec':{'template':{'metadata':{'labels':"
                                 "{'c':'d'}},'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}"
                                 "}")),
                   201);
        check(ASK(f, API_PATCH, &res_jobs, "default", "j", "status", .patch = API_PATCH_MERGE,
                  .body = Q("{'metadata':{'labels':null},'status':{'active':1}}")),
              200, ".metadata.labels.c", "d");
}

/* What an older version says in an annotation is a field of the newer one, which is stored. */
static void scaling_rules_of_the_older_version_are_as_those_of_the_newer(void **state) {
        struct fixture *f = *state;
        struct answer r;

        r = ASK(f, API_CREATE, &res_horizontalpodautoscalers_v1, "default",
                .body = Q("{'metadata':{'name':'h','annotations':{'autoscaling.alpha.kubernetes.io/behavior':"
                          "'{\\'ScaleUp\\':{\\'SelectPolicy\\':\\'Min\\'}}'}},'spec':{'maxReplicas':5,"
                          "'scaleTargetRef':{'kind':'Deployment','name':'d'}}}"));
        check_error(r, 422,
                    "HorizontalPodAutoscaler.autoscaling \"h\" is invalid: spec.behavior.scaleUp.policies: Required "
                    "value: must specify at least one Policy");
        r = ASK(f, API_CREATE, &res_horizontalpodautoscalers_v1, "default",
                .body = Q("{'metadata':{'name':'h','annotations':{'autoscaling.alpha.kubernetes.io/behavior':"
                          "'{\\'ScaleUp\\':{\\'Policies\\':[{\\'Type\\':\\'Pods\\',\\'Value\\':1,"
                          "\\'PeriodSeconds\\':9}],\\'Tolerance\\':\\'10m\\'}}'}},'spec':{'maxReplicas':5,"
                          "'scaleTargetRef':{'kind':'Deployment','name':'d'}}}"));
        check_code(r, 201);
        r = ASK(f, API_GET, &res_horizontalpodautoscalers, "default", "h");
        check(r, 200, ".spec.behavior.scaleUp.selectPolicy", "Max");
        check(r, 200, ".spec.behavior.scaleUp.tolerance", "(absent)");
        check(r, 200, ".spec.behavior.scaleDown.policies[0].periodSeconds", "15");
}

static void hints_that_are_off_leave_none(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_endpointslices, "default",
                  .body = Q("{'metadata':{'name':'s'},'addressType':'IPv4','endpoints':[{'addresses':['10.1.2.3'],"
                            "'hints':{'forNodes':[{'name':'n'}]}}]}")),
              201, ".endpoints[0].hints", "{}");
        for (int i = 2; i < 4; i++) /* they have been said anew */
                check(ASK(f, API_PATCH, &res_endpointslices, "default", "s", .patch = API_PATCH_MERGE,
                          .body = Q("{'endpoints':[{'addresses':['10.1.2.3'],'hints':{'forNodes':[{'name':'n'}]}}]}")),
                      200, ".metadata.generation", i == 2 ? "2" : "3");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(a_budget_says_why_not),
                T(an_eviction_tells_the_budget_and_nobody_owns_that),
                T(options_of_an_eviction_agree),
                T(a_binding_by_its_own_path_knows_no_uid),
                T(a_scale_is_applied_as_a_scale),
                T(a_namespace_goes_by_its_second_delete),
                T(what_goes_its_own_way_is_only_marked),
                T(events_have_no_dependents),
                T(an_empty_precondition_is_one),
                T(an_empty_list_of_managers_resets),
                T(numbers_that_are_none_are_told_as_go_does),
                T(a_status_warns_of_its_addresses),
                T(a_job_without_labels_shows_those_of_its_pods),
                T(scaling_rules_of_the_older_version_are_as_those_of_the_newer),
                T(hints_that_are_off_leave_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
