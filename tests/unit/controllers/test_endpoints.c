/* Endpoints and EndpointSlices of the same Services. */
#include "help.h"

extern const struct controller_class endpoints_controller, endpointslice_controller, endpointslicemirroring_controller;
static const struct controller_class *const classes[] = { &endpoints_controller, &endpointslice_controller,
                                                          &endpointslicemirroring_controller, NULL };

static void service(struct cluster *k, const char *more) {
        fake_api_create(k->api, &res_services, "ns",
                        "{'metadata':{'name':'svc','labels':{'team':'t'}},'spec':{%s'clusterIP':'10.96.0.9','"
                        "ipFamilies':['IPv4'],'selector':"
                        "{'app':'x'},'ports':[{'name':'http','port':80,'targetPort':'web','protocol':'TCP'}]}}",
                        more);
        cluster_settle(k);
}

static void pod(struct cluster *k, const char *name, int port, bool ready) {
        fake_api_create(k->api, &res_pods, "ns",
                        "{'metadata':{'name':'%s','labels':{'app':'x'}},'spec':{'containers':[{'name':'c','ports':[{'"
                        "name':'web',"
                        "'containerPort':%d,'protocol':'TCP'}]}]}}",
                        name, port);
        if (ready)
                make_ready(k, "ns", name, "n1");
        cluster_settle(k);
}

static struct object *slice(struct cluster *k) {
        return only(k, &res_endpointslices, "ns");
}

static struct object *old_style(struct cluster *k) {
        return fake_api_get(k->api, &res_endpoints, "ns", "svc");
}

static void a_service_without_pods_has_empty_ones(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        assert_int_equal(json_len(at(slice(&k), "endpoints")), 0);
        assert_true(str_eqc(object_label(slice(&k), STR("kubernetes.io/service-name")), "svc"));
        assert_true(str_eqc(object_label(slice(&k), STR("endpointslice.kubernetes.io/managed-by")),
                            "endpointslice-controller.k8s.io"));
        assert_true(str_eqc(object_label(slice(&k), STR("team")), "t"));
        assert_string_equal(text_at(slice(&k), "metadata.generateName"), "svc-");
        assert_string_equal(text_at(slice(&k), "metadata.ownerReferences.0.kind"), "Service");
        assert_non_null(old_style(&k));
        assert_int_equal(json_len(at(old_style(&k), "subsets")), 0);
}

static void ready_pods_become_addresses(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        assert_int_equal(json_len(at(slice(&k), "endpoints")), 1);
        assert_string_equal(text_at(slice(&k), "endpoints.0.addresses.0"),
                            text_at(fake_api_get(k.api, &res_pods, "ns", "a"), "status.podIP"));
        assert_true(json_bool(at(slice(&k), "endpoints.0.conditions.ready")));
        assert_true(json_bool(at(slice(&k), "endpoints.0.conditions.serving")));
        assert_false(json_bool_or(at(slice(&k), "endpoints.0.conditions.terminating"), true));
        assert_string_equal(text_at(slice(&k), "endpoints.0.targetRef.name"), "a");
        assert_string_equal(text_at(slice(&k), "endpoints.0.nodeName"), "n1");
        assert_int_equal(int_at(slice(&k), "ports.0.port"), 8080);
        assert_string_equal(text_at(slice(&k), "ports.0.name"), "http");
        assert_int_equal(int_at(old_style(&k), "subsets.0.ports.0.port"), 8080);
        assert_string_equal(text_at(old_style(&k), "subsets.0.addresses.0.targetRef.name"), "a");
        assert_string_equal(text_at(old_style(&k), "subsets.0.addresses.0.nodeName"), "n1");
}

static void a_pod_that_is_not_ready_is_listed_as_such(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        fake_api_patch(k.api, &res_pods, "ns", "a", "status",
                       "{'status':{'conditions':[{'type':'Ready','status':'False'}]}}");
        cluster_settle(&k);
        assert_false(json_bool_or(at(slice(&k), "endpoints.0.conditions.ready"), true));
        assert_int_equal(json_len(at(old_style(&k), "subsets.0.addresses")), 0);
        assert_int_equal(json_len(at(old_style(&k), "subsets.0.notReadyAddresses")), 1);
}

static void a_terminating_pod_serves_but_is_not_ready(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        fake_api_delete(k.api, &res_pods, "ns", "a", NULL);
        cluster_settle(&k);
        assert_false(json_bool_or(at(slice(&k), "endpoints.0.conditions.ready"), true));
        assert_true(json_bool(at(slice(&k), "endpoints.0.conditions.serving")));
        assert_true(json_bool(at(slice(&k), "endpoints.0.conditions.terminating")));
        assert_int_equal(json_len(at(old_style(&k), "subsets")), 0);
        fake_api_remove(k.api, &res_pods, "ns", "a");
        cluster_settle(&k);
        assert_int_equal(json_len(at(slice(&k), "endpoints")), 0);
}

static void publish_not_ready_addresses_makes_all_ready(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "'publishNotReadyAddresses':true,");
        pod(&k, "a", 8080, true);
        fake_api_patch(k.api, &res_pods, "ns", "a", "status",
                       "{'status':{'conditions':[{'type':'Ready','status':'False'}]}}");
        cluster_settle(&k);
        assert_true(json_bool(at(slice(&k), "endpoints.0.conditions.ready")));
        assert_int_equal(json_len(at(old_style(&k), "subsets.0.addresses")), 1);
}

static void pods_with_other_ports_are_in_other_slices(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        pod(&k, "b", 9090, true);
        assert_int_equal(count(&k, &res_endpointslices, "ns"), 2);
        assert_int_equal(json_len(at(old_style(&k), "subsets")), 2);
}

static void a_slice_holds_a_hundred_and_changes_touch_one(void **state) {
        _cluster_ struct cluster k;
        struct object *slices[4];
        size_t before, sum = 0;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        for (int i = 0; i < 150; i++) {
                char name[16];

                snprintf(name, sizeof(name), "p%d", i);
                fake_api_create(k.api, &res_pods, "ns",
                                "{'metadata':{'name':'%s','labels':{'app':'x'}},'spec':{'containers':[{'name':'c','"
                                "ports':[{'name':'web',"
                                "'containerPort':80,'protocol':'TCP'}]}]}}",
                                name);
                make_ready(&k, "ns", name, "n1");
        }
        cluster_settle(&k);
        assert_int_equal(fake_api_list(k.api, &res_endpointslices, "ns", slices, 4), 2);
        for (int i = 0; i < 2; i++) {
                assert_true(json_len(at(slices[i], "endpoints")) <= 100);
                sum += json_len(at(slices[i], "endpoints"));
        }
        assert_int_equal(sum, 150);
        before = fake_api_writes(k.api);
        fake_api_remove(k.api, &res_pods, "ns", "p7");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before + 2); /* one slice, one Endpoints */
}

static void a_pod_that_no_longer_matches_leaves(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        fake_api_patch(k.api, &res_pods, "ns", "a", "", "{'metadata':{'labels':{'app':'y'}}}");
        cluster_settle(&k);
        assert_int_equal(json_len(at(slice(&k), "endpoints")), 0);
}

static void a_service_without_selector_is_left_to_its_owner(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_services, "ns", "{'metadata':{'name':'manual'},'spec':{'ports':[{'port':80}]}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_endpointslices, "ns"), 0);
        assert_int_equal(count(&k, &res_endpoints, "ns"), 0);
}

static void headless_slices_say_so_and_have_hostnames(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_services, "ns",
                        "{'metadata':{'name':'svc'},'spec':{'clusterIP':'None','ipFamilies':['IPv4'],'selector':{'app':"
                        "'x'}}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p','labels':{'app':'x'}},'spec':{'hostname':'p-0','subdomain':'svc','"
                        "containers':[{'name':'c'}]}}");
        make_ready(&k, "ns", "p", "n1");
        cluster_settle(&k);
        assert_true(object_label(slice(&k), STR("service.kubernetes.io/headless")).p != NULL);
        assert_string_equal(text_at(slice(&k), "endpoints.0.hostname"), "p-0");
        assert_string_equal(text_at(old_style(&k), "subsets.0.addresses.0.hostname"), "p-0");
}

static void endpoints_go_with_their_service(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        fake_api_delete(k.api, &res_services, "ns", "svc", NULL);
        cluster_settle(&k);
        assert_null(old_style(&k));
}

static void endpoints_written_by_hand_are_mirrored(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_services, "ns", "{'metadata':{'name':'manual'},'spec':{'ports':[{'port':80}]}}");
        fake_api_create(k.api, &res_endpoints, "ns",
                        "{'metadata':{'name':'manual'},'subsets':[{'addresses':[{'ip':'192.0.2.1'}],'notReadyAddresses'"
                        ":"
                        "[{'ip':'192.0.2.2'}],'ports':[{'name':'http','port':8080,'protocol':'TCP'}]}]}");
        cluster_settle(&k);
        assert_int_equal(json_len(at(slice(&k), "endpoints")), 2);
        assert_string_equal(text_at(slice(&k), "endpoints.0.addresses.0"), "192.0.2.1");
        assert_false(json_bool_or(at(slice(&k), "endpoints.1.conditions.ready"), true));
        assert_int_equal(int_at(slice(&k), "ports.0.port"), 8080);
        assert_true(str_eqc(object_label(slice(&k), STR("kubernetes.io/service-name")), "manual"));
        fake_api_patch(k.api, &res_endpoints, "ns", "manual", "",
                       "{'subsets':[{'addresses':[{'ip':'192.0.2.9'}],'ports':[{'name':'http','port':8080,'protocol':'"
                       "TCP'}]}]}");
        cluster_settle(&k);
        assert_string_equal(text_at(slice(&k), "endpoints.0.addresses.0"), "192.0.2.9");
        fake_api_delete(k.api, &res_endpoints, "ns", "manual", NULL);
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_endpointslices, "ns"), 0);
}

static void a_settled_service_writes_nothing(void **state) {
        _cluster_ struct cluster k;
        size_t before;

        cluster_start(&k, NULL, classes);
        service(&k, "");
        pod(&k, "a", 8080, true);
        before = fake_api_writes(k.api);
        fake_api_patch(k.api, &res_pods, "ns", "a", "", "{'metadata':{'annotations':{'x':'y'}}}");
        fake_api_patch(k.api, &res_services, "ns", "svc", "", "{'metadata':{'annotations':{'x':'y'}}}");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_service_without_pods_has_empty_ones),
                cmocka_unit_test(ready_pods_become_addresses),
                cmocka_unit_test(a_pod_that_is_not_ready_is_listed_as_such),
                cmocka_unit_test(a_terminating_pod_serves_but_is_not_ready),
                cmocka_unit_test(publish_not_ready_addresses_makes_all_ready),
                cmocka_unit_test(pods_with_other_ports_are_in_other_slices),
                cmocka_unit_test(a_slice_holds_a_hundred_and_changes_touch_one),
                cmocka_unit_test(a_pod_that_no_longer_matches_leaves),
                cmocka_unit_test(a_service_without_selector_is_left_to_its_owner),
                cmocka_unit_test(headless_slices_say_so_and_have_hostnames),
                cmocka_unit_test(endpoints_go_with_their_service),
                cmocka_unit_test(endpoints_written_by_hand_are_mirrored),
                cmocka_unit_test(a_settled_service_writes_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
