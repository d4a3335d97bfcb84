#include "help.h"

extern const struct controller_class daemonset_controller;
static const struct controller_class *const classes[] = { &daemonset_controller, NULL };

static void node(struct cluster *k, const char *name, const char *more) {
        fake_api_create(k->api, &res_nodes, "", "{'metadata':{'name':'%s','labels':{'disk':'ssd'}},'spec':{%s}}", name,
                        more);
        cluster_settle(k);
}

static void create(struct cluster *k, const char *more, const char *pod_more) {
        fake_api_create(k->api, &res_daemonsets, "ns",
                        "{'metadata':{'name':'ds','annotations':{'deprecated.daemonset.template.generation':'1'}},'"
                        "spec':{%s'selector':{'matchLabels':"
                        "{'app':'x'}},'template':{'metadata':{'labels':{'app':'x'}},'spec':{%s'containers':[{'name':'c'"
                        ",'image':'v1'}]}}}}",
                        more, pod_more);
        cluster_settle(k);
}

static struct object *ds(struct cluster *k) {
        return fake_api_get(k->api, &res_daemonsets, "ns", "ds");
}

static const char *target(const struct object *pod) {
        return text_at(pod, "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
                            "nodeSelectorTerms.0.matchFields.0.values.0");
}

/* What the scheduler and the kubelets do. */
static void run(struct cluster *k) {
        struct object *pods[32];
        size_t n = fake_api_list(k->api, &res_pods, "ns", pods, 32);

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = str_dup(object_name(pods[i])), *where = xstrdup(target(pods[i]));

                if (object_deleting(pods[i]))
                        fake_api_remove(k->api, &res_pods, "ns", name);
                else if (!*text_at(pods[i], "spec.nodeName"))
                        make_ready(k, "ns", name, where);
        }
        cluster_settle(k);
}

static void every_node_gets_one_pod_bound_to_it(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[4];

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "", "");
        node(&k, "n2", "");
        assert_int_equal(fake_api_list(k.api, &res_pods, "ns", pods, 4), 2);
        assert_string_not_equal(target(pods[0]), target(pods[1]));
        assert_string_equal(text_at(pods[0], "spec.tolerations.0.key"), "node.kubernetes.io/not-ready");
        assert_true(*text_at(pods[0], "metadata.labels.controller-revision-hash"));
        assert_string_equal(text_at(pods[0], "metadata.labels.pod-template-generation"), "1");
        run(&k);
        assert_int_equal(int_at(ds(&k), "status.desiredNumberScheduled"), 2);
        assert_int_equal(int_at(ds(&k), "status.currentNumberScheduled"), 2);
        assert_int_equal(int_at(ds(&k), "status.numberReady"), 2);
        assert_int_equal(int_at(ds(&k), "status.numberAvailable"), 2);
        assert_int_equal(int_at(ds(&k), "status.updatedNumberScheduled"), 2);
}

static void nodes_that_do_not_fit_are_left_out(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "fits", "");
        node(&k, "tainted", "'taints':[{'key':'dedicated','effect':'NoSchedule'}]");
        fake_api_create(k.api, &res_nodes, "", "{'metadata':{'name':'hdd','labels':{'disk':'hdd'}}}");
        create(&k, "", "'nodeSelector':{'disk':'ssd'},");
        assert_string_equal(target(only(&k, &res_pods, "ns")), "fits");
}

static void a_cordoned_node_still_gets_its_daemon(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1",
             "'unschedulable':true,'taints':[{'key':'node.kubernetes.io/unschedulable','effect':'NoSchedule'}]");
        create(&k, "", "");
        assert_int_equal(count(&k, &res_pods, "ns"), 1);
}

static void a_new_no_execute_taint_drives_the_pod_out_but_no_schedule_does_not(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "", "");
        run(&k);
        fake_api_patch(k.api, &res_nodes, "", "n1", "", "{'spec':{'taints':[{'key':'a','effect':'NoSchedule'}]}}");
        cluster_settle(&k);
        assert_false(object_deleting(only(&k, &res_pods, "ns")));
        assert_int_equal(int_at(ds(&k), "status.numberMisscheduled"), 1);
        fake_api_patch(k.api, &res_nodes, "", "n1", "", "{'spec':{'taints':[{'key':'a','effect':'NoExecute'}]}}");
        cluster_settle(&k);
        assert_true(object_deleting(only(&k, &res_pods, "ns")));
}

static void a_failed_pod_is_replaced(void **state) {
        _cluster_ struct cluster k;
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "", "");
        run(&k);
        name = str_dup(object_name(only(&k, &res_pods, "ns")));
        fake_api_patch(k.api, &res_pods, "ns", name, "status", "{'status':{'phase':'Failed'}}");
        cluster_settle(&k);
        run(&k);
        assert_false(str_eqc(object_name(only(&k, &res_pods, "ns")), name));
        assert_int_equal(events(&k, "ds", "FailedDaemonPod"), 1);
}

static void a_rolling_update_takes_one_at_a_time(void **state) {
        _cluster_ struct cluster k;
        size_t fewest = 3;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        node(&k, "n2", "");
        node(&k, "n3", "");
        create(&k, "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':1,'maxSurge':0}},", "");
        run(&k);
        fake_api_patch(k.api, &res_daemonsets, "ns", "ds", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v2'}]}}}}");
        cluster_settle(&k);
        for (int i = 0; i < 12; i++) {
                struct object *pods[8];
                size_t n = fake_api_list(k.api, &res_pods, "ns", pods, 8), alive = 0;

                for (size_t j = 0; j < n; j++)
                        alive += !object_deleting(pods[j]) && *text_at(pods[j], "spec.nodeName");
                fewest = MIN(fewest, alive);
                run(&k);
        }
        assert_int_equal(fewest, 2);
        assert_int_equal(int_at(ds(&k), "status.updatedNumberScheduled"), 3);
        assert_int_equal(count(&k, &res_controllerrevisions, "ns"), 2);
}

static void a_surge_starts_the_new_before_the_old_goes(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':0,'maxSurge':1}},", "");
        run(&k);
        fake_api_patch(k.api, &res_daemonsets, "ns", "ds", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v2'}]}}}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 2);
        run(&k);
        run(&k);
        assert_string_equal(text_at(only(&k, &res_pods, "ns"), "spec.containers.0.image"), "v2");
}

static void on_delete_waits_for_the_user(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "'updateStrategy':{'type':'OnDelete'},", "");
        run(&k);
        fake_api_patch(k.api, &res_daemonsets, "ns", "ds", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v2'}]}}}}");
        cluster_settle(&k);
        assert_false(object_deleting(only(&k, &res_pods, "ns")));
        assert_int_equal(int_at(ds(&k), "status.updatedNumberScheduled"), 0);
}

static void a_rollback_raises_the_old_revision(void **state) {
        _cluster_ struct cluster k;
        struct object *revisions[4];

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "", "");
        for (int v = 2; v >= 1; v--) {
                fake_api_patch(k.api, &res_daemonsets, "ns", "ds", "",
                               "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v%d'}]}}}}", v);
                cluster_settle(&k);
        }
        assert_int_equal(fake_api_list(k.api, &res_controllerrevisions, "ns", revisions, 4), 2);
        for (int i = 0; i < 2; i++)
                assert_int_equal(int_at(revisions[i], "revision"),
                                 !strcmp(text_at(revisions[i], "data.spec.template.spec.containers.0.image"), "v1")
                                                 ? 3
                                                 : 2);
        assert_string_equal(text_at(revisions[0], "data.spec.template.$patch"), "replace");
        assert_true(str_search(object_text(revisions[0]),
                               STR("\"data\":{\"spec\":{\"template\":{\"$patch\":\"replace\","
                                   "\"metadata\":{")) > 0); /* as upstream's bytes */
}

static void a_settled_one_writes_nothing(void **state) {
        _cluster_ struct cluster k;
        size_t before;

        cluster_start(&k, NULL, classes);
        node(&k, "n1", "");
        create(&k, "", "");
        run(&k);
        before = fake_api_writes(k.api);
        fake_api_patch(k.api, &res_daemonsets, "ns", "ds", "", "{'metadata':{'labels':{'a':'b'}}}");
        fake_api_patch(k.api, &res_nodes, "", "n1", "", "{'metadata':{'labels':{'a':'b'}}}");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_node_gets_one_pod_bound_to_it),
                cmocka_unit_test(nodes_that_do_not_fit_are_left_out),
                cmocka_unit_test(a_cordoned_node_still_gets_its_daemon),
                cmocka_unit_test(a_new_no_execute_taint_drives_the_pod_out_but_no_schedule_does_not),
                cmocka_unit_test(a_failed_pod_is_replaced),
                cmocka_unit_test(a_rolling_update_takes_one_at_a_time),
                cmocka_unit_test(a_surge_starts_the_new_before_the_old_goes),
                cmocka_unit_test(on_delete_waits_for_the_user),
                cmocka_unit_test(a_rollback_raises_the_old_revision),
                cmocka_unit_test(a_settled_one_writes_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
