/* What watches over nodes: lifecycle, taint eviction, IPAM, pod garbage. */
#include "help.h"

#include "base/time.h"

extern const struct controller_class nodelifecycle_controller, tainteviction_controller, nodeipam_controller,
                podgc_controller;
static const struct controller_class *const classes[] = { &nodelifecycle_controller, &tainteviction_controller,
                                                          &nodeipam_controller, &podgc_controller, NULL };

static void node(struct cluster *k, const char *name) {
        fake_api_create(k->api, &res_nodes, "",
                        "{'metadata':{'name':'%s'},'status':{'conditions':[{'type':'Ready','status':'True','reason':'"
                        "KubeletReady',"
                        "'lastHeartbeatTime':'2025-01-01T00:00:00Z'},{'type':'MemoryPressure','status':'False'}]}}",
                        name);
        fake_api_create(k->api, &res_leases, "kube-node-lease",
                        "{'metadata':{'name':'%s'},'spec':{'holderIdentity':'%s'}}", name, name);
        cluster_settle(k);
}

static void beat(struct cluster *k, const char *name) {
        char time[36];

        fake_api_patch(k->api, &res_leases, "kube-node-lease", name, "", "{'spec':{'renewTime':'%.*s'}}",
                       STR_ARG(time_format_micro(time, k->clock.ns)));
        cluster_settle(k);
}

static struct object *get(struct cluster *k, const char *name) {
        return fake_api_get(k->api, &res_nodes, "", name);
}

static bool has_taint(struct cluster *k, const char *key, const char *effect) {
        json_each_item(t, at(get(k, "n1"), "spec.taints"))
                if (str_eqc(json_str(json_getc(t, "key")), key) && str_eqc(json_str(json_getc(t, "effect")), effect))
                        return true;
        return false;
}

static void a_node_whose_lease_is_renewed_stays_ready(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        for (int i = 0; i < 12; i++) {
                cluster_advance(&k, 10);
                beat(&k, "n1");
        }
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "status"), "True");
        assert_int_equal(json_len(at(get(&k, "n1"), "spec.taints")), 0);
}

static void a_silent_node_becomes_unknown_and_unreachable(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        cluster_advance(&k, 39);
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "status"), "True");
        cluster_advance(&k, 2);
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "status"), "Unknown");
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "reason"), "NodeStatusUnknown");
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "message"), "Kubelet stopped posting node status.");
        assert_string_equal(condition_text(get(&k, "n1"), "MemoryPressure", "status"), "Unknown");
        assert_string_equal(condition_text(get(&k, "n1"), "DiskPressure", "reason"), "NodeStatusNeverUpdated");
        assert_true(has_taint(&k, "node.kubernetes.io/unreachable", "NoSchedule"));
        assert_true(has_taint(&k, "node.kubernetes.io/unreachable", "NoExecute"));
        assert_int_equal(events(&k, "n1", "NodeNotReady"), 1);
}

static void after_a_sleep_of_ours_nodes_get_their_time_again(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        k.clock.ns += 3600 * NSEC_PER_SEC; /* nobody ran */
        cluster_advance(&k, 30);
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "status"), "True");
        cluster_advance(&k, 15);
        assert_string_equal(condition_text(get(&k, "n1"), "Ready", "status"), "Unknown");
}

static void taints_follow_conditions(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        fake_api_patch(k.api, &res_nodes, "", "n1", "status",
                       "{'status':{'conditions':[{'type':'Ready','status':'False'},{'type':'MemoryPressure','status':'"
                       "True'}]}}");
        cluster_settle(&k);
        assert_true(has_taint(&k, "node.kubernetes.io/not-ready", "NoSchedule"));
        assert_true(has_taint(&k, "node.kubernetes.io/not-ready", "NoExecute"));
        assert_true(has_taint(&k, "node.kubernetes.io/memory-pressure", "NoSchedule"));
        fake_api_patch(k.api, &res_nodes, "", "n1", "status",
                       "{'status':{'conditions':[{'type':'Ready','status':'True'},{'type':'MemoryPressure','status':'"
                       "False'}]}}");
        fake_api_patch(k.api, &res_nodes, "", "n1", "", "{'spec':{'unschedulable':true}}");
        cluster_settle(&k);
        assert_int_equal(json_len(at(get(&k, "n1"), "spec.taints")), 1);
        assert_true(has_taint(&k, "node.kubernetes.io/unschedulable", "NoSchedule"));
}

static void pods_of_a_lost_node_are_not_ready(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p'},'spec':{'tolerations':[{'operator':'Exists'}],'containers':[{'name':'"
                        "c'}]}}");
        make_ready(&k, "ns", "p", "n1");
        cluster_settle(&k);
        cluster_advance(&k, 60);
        assert_string_equal(condition_text(fake_api_get(k.api, &res_pods, "ns", "p"), "Ready", "status"), "False");
}

static void pods_are_evicted_when_their_toleration_is_over(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        fake_api_create(k.api, &res_pods, "ns", "{'metadata':{'name':'now'},'spec':{'containers':[{'name':'c'}]}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'later'},'spec':{'tolerations':[{'key':'node.kubernetes.io/"
                        "unreachable','operator':'Exists',"
                        "'effect':'NoExecute','tolerationSeconds':300}],'containers':[{'name':'c'}]}}");
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'never'},'spec':{'tolerations':[{'operator':'Exists'}],'containers':[{'"
                        "name':'c'}]}}");
        make_pods_ready(&k, "ns", "n1");
        cluster_advance(&k, 50);
        assert_true(object_deleting(fake_api_get(k.api, &res_pods, "ns", "now")));
        assert_string_equal(condition_text(fake_api_get(k.api, &res_pods, "ns", "now"), "DisruptionTarget", "reason"),
                            "DeletionByTaintManager");
        assert_false(object_deleting(fake_api_get(k.api, &res_pods, "ns", "later")));
        cluster_advance(&k, 250);
        assert_false(object_deleting(fake_api_get(k.api, &res_pods, "ns", "later")));
        cluster_advance(&k, 60);
        assert_true(object_deleting(fake_api_get(k.api, &res_pods, "ns", "later")));
        assert_false(object_deleting(fake_api_get(k.api, &res_pods, "ns", "never")));
}

static void each_node_gets_a_range_of_its_own(void **state) {
        _cluster_ struct cluster k;
        const struct controllers_options o = { .cluster_cidr = "10.244.0.0/16", .node_cidr_mask = 24 };

        cluster_start(&k, &o, classes);
        fake_api_create(k.api, &res_nodes, "",
                        "{'metadata':{'name':'old'},'spec':{'podCIDR':'10.244.1.0/24','podCIDRs':['10.244.1.0/24']}}");
        cluster_settle(&k);
        node(&k, "n1");
        node(&k, "n2");
        assert_string_equal(text_at(get(&k, "n1"), "spec.podCIDR"), "10.244.0.0/24");
        assert_string_equal(text_at(get(&k, "n2"), "spec.podCIDR"), "10.244.2.0/24");
        assert_string_equal(text_at(get(&k, "n2"), "spec.podCIDRs.0"), "10.244.2.0/24");
        fake_api_delete(k.api, &res_nodes, "", "n1", NULL);
        cluster_settle(&k);
        node(&k, "n3");
        assert_string_equal(text_at(get(&k, "n3"), "spec.podCIDR"), "10.244.0.0/24");
}

static void ranges_run_out_with_an_error_not_a_double(void **state) {
        _cluster_ struct cluster k;
        const struct controllers_options o = { .cluster_cidr = "10.1.0.0/23", .node_cidr_mask = 24 };

        cluster_start(&k, &o, classes);
        node(&k, "n1");
        node(&k, "n2");
        node(&k, "n3");
        assert_string_equal(text_at(get(&k, "n3"), "spec.podCIDR"), "");
        assert_true(events(&k, "n3", "CIDRNotAvailable") >= 1);
}

static void pods_of_a_deleted_node_are_collected(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1");
        fake_api_create(k.api, &res_pods, "ns", "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c'}]}}");
        make_ready(&k, "ns", "p", "n1");
        cluster_settle(&k);
        fake_api_delete(k.api, &res_nodes, "", "n1", NULL);
        cluster_advance(&k, 30);
        assert_non_null(fake_api_get(k.api, &res_pods, "ns", "p"));
        cluster_advance(&k, 15);
        assert_null(fake_api_get(k.api, &res_pods, "ns", "p"));
}

static void a_terminating_pod_without_node_is_removed(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'p','finalizers':['x/y']},'spec':{'containers':[{'name':'c'}]}}");
        fake_api_delete(k.api, &res_pods, "ns", "p", NULL);
        cluster_settle(&k);
        assert_string_equal(text_at(fake_api_get(k.api, &res_pods, "ns", "p"), "status.phase"), "Failed");
        fake_api_patch(k.api, &res_pods, "ns", "p", "", "{'metadata':{'finalizers':null}}");
        cluster_settle(&k);
        assert_null(fake_api_get(k.api, &res_pods, "ns", "p"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_node_whose_lease_is_renewed_stays_ready),
                cmocka_unit_test(a_silent_node_becomes_unknown_and_unreachable),
                cmocka_unit_test(after_a_sleep_of_ours_nodes_get_their_time_again),
                cmocka_unit_test(taints_follow_conditions),
                cmocka_unit_test(pods_of_a_lost_node_are_not_ready),
                cmocka_unit_test(pods_are_evicted_when_their_toleration_is_over),
                cmocka_unit_test(each_node_gets_a_range_of_its_own),
                cmocka_unit_test(ranges_run_out_with_an_error_not_a_double),
                cmocka_unit_test(pods_of_a_deleted_node_are_collected),
                cmocka_unit_test(a_terminating_pod_without_node_is_removed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
