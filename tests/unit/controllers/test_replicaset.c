#include "help.h"

extern const struct controller_class replicaset_controller, replicationcontroller_controller;
static const struct controller_class *const classes[] = { &replicaset_controller, &replicationcontroller_controller,
                                                          NULL };

static void create_rs(struct cluster *k, const char *name, int replicas, const char *more) {
        fake_api_create(k->api, &res_replicasets, "ns",
                        "{'metadata':{'name':'%s'},'spec':{'replicas':%d,%s'selector':{'matchLabels':{'app':'x'}},'"
                        "template':{'metadata':"
                        "{'labels':{'app':'x'},'annotations':{'a':'b'}},'spec':{'containers':[{'name':'c','image':'i'}]"
                        "}}}}",
                        name, replicas, more);
        cluster_settle(k);
}

static void creates_pods_from_the_template(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[8];

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 3, "");
        assert_int_equal(fake_api_list(k.api, &res_pods, "ns", pods, 8), 3);
        for (int i = 0; i < 3; i++) {
                assert_string_equal(text_at(pods[i], "metadata.generateName"), "web-");
                assert_string_equal(text_at(pods[i], "metadata.labels.app"), "x");
                assert_string_equal(text_at(pods[i], "metadata.annotations.a"), "b");
                assert_string_equal(text_at(pods[i], "spec.containers.0.image"), "i");
                assert_string_equal(text_at(pods[i], "metadata.ownerReferences.0.kind"), "ReplicaSet");
                assert_string_equal(text_at(pods[i], "metadata.ownerReferences.0.apiVersion"), "apps/v1");
                assert_true(json_bool(at(pods[i], "metadata.ownerReferences.0.controller")));
        }
        assert_int_equal(events(&k, "web", "SuccessfulCreate"), 3);
        assert_int_equal(int_at(fake_api_get(k.api, &res_replicasets, "ns", "web"), "status.replicas"), 3);
        assert_int_equal(int_at(fake_api_get(k.api, &res_replicasets, "ns", "web"), "status.fullyLabeledReplicas"), 3);
        assert_int_equal(int_at(fake_api_get(k.api, &res_replicasets, "ns", "web"), "status.observedGeneration"), 1);
}

static void counts_ready_and_available(void **state) {
        _cluster_ struct cluster k;
        struct object *rs;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 2, "'minReadySeconds':10,");
        make_pods_ready(&k, "ns", "n1");
        rs = fake_api_get(k.api, &res_replicasets, "ns", "web");
        assert_int_equal(int_at(rs, "status.readyReplicas"), 2);
        assert_int_equal(int_at(rs, "status.availableReplicas"), 0);
        cluster_advance(&k, 11);
        rs = fake_api_get(k.api, &res_replicasets, "ns", "web");
        assert_int_equal(int_at(rs, "status.availableReplicas"), 2);
}

static void writes_nothing_when_nothing_differs(void **state) {
        _cluster_ struct cluster k;
        size_t before;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 2, "");
        before = fake_api_writes(k.api);
        fake_api_patch(k.api, &res_replicasets, "ns", "web", "", "{'metadata':{'labels':{'touched':'yes'}}}");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before);
}

static void replaces_a_deleted_pod(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[2];
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 2, "");
        make_pods_ready(&k, "ns", "n1");
        fake_api_list(k.api, &res_pods, "ns", pods, 2);
        name = str_dup(object_name(pods[0]));
        fake_api_delete(k.api, &res_pods, "ns", name, NULL);
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 3); /* one of them is on its way out */
        fake_api_remove(k.api, &res_pods, "ns", name);
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 2);
}

static void replaces_a_failed_pod(void **state) {
        _cluster_ struct cluster k;
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 1, "");
        name = str_dup(object_name(only(&k, &res_pods, "ns")));
        fake_api_patch(k.api, &res_pods, "ns", name, "status", "{'status':{'phase':'Failed'}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 2);
        assert_int_equal(int_at(fake_api_get(k.api, &res_replicasets, "ns", "web"), "status.replicas"), 1);
}

static void scaling_down_takes_pods_that_are_not_ready_first(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[4];
        _cleanup_free_ char *ready = NULL;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 3, "");
        fake_api_list(k.api, &res_pods, "ns", pods, 4);
        ready = str_dup(object_name(pods[1]));
        make_ready(&k, "ns", ready, "n1");
        cluster_settle(&k);
        fake_api_patch(k.api, &res_replicasets, "ns", "web", "", "{'spec':{'replicas':1}}");
        cluster_settle(&k);
        assert_true(str_eqc(object_name(only(&k, &res_pods, "ns")), ready));
        assert_int_equal(events(&k, "web", "SuccessfulDelete"), 2);
}

static void scaling_down_heeds_the_deletion_cost(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[4];
        _cleanup_free_ char *cheap = NULL;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 3, "");
        make_pods_ready(&k, "ns", "n1");
        fake_api_list(k.api, &res_pods, "ns", pods, 4);
        cheap = str_dup(object_name(pods[1]));
        fake_api_patch(k.api, &res_pods, "ns", cheap, "",
                       "{'metadata':{'annotations':{'controller.kubernetes.io/pod-deletion-cost':'-5'}}}");
        fake_api_patch(k.api, &res_replicasets, "ns", "web", "", "{'spec':{'replicas':2}}");
        cluster_settle(&k);
        assert_true(object_deleting(fake_api_get(k.api, &res_pods, "ns", cheap)));
}

static void adopts_matching_orphans_and_releases_strangers(void **state) {
        _cluster_ struct cluster k;
        struct object *pod;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_pods, "ns",
                        "{'metadata':{'name':'orphan','labels':{'app':'x'}},'spec':{'containers':[{'name':'c'}]}}");
        create_rs(&k, "web", 1, "");
        pod = fake_api_get(k.api, &res_pods, "ns", "orphan");
        assert_string_equal(text_at(pod, "metadata.ownerReferences.0.name"), "web");
        assert_int_equal(count(&k, &res_pods, "ns"), 1);

        fake_api_patch(k.api, &res_pods, "ns", "orphan", "", "{'metadata':{'labels':{'app':'other'}}}");
        cluster_settle(&k);
        pod = fake_api_get(k.api, &res_pods, "ns", "orphan");
        assert_int_equal(json_len(at(pod, "metadata.ownerReferences")), 0);
        assert_int_equal(count(&k, &res_pods, "ns"), 2);
}

static void what_is_refused_once_is_not_asked_for_again_at_once(void **state) {
        _cluster_ struct cluster k;
        struct object *rs;

        cluster_start(&k, NULL, classes);
        fake_api_fail(k.api, API_CREATE, &res_pods, REASON_FORBIDDEN, "exceeded quota", 2);
        create_rs(&k, "web", 30, "");
        assert_int_equal(count(&k, &res_pods, "ns"), 0);
        rs = fake_api_get(k.api, &res_replicasets, "ns", "web");
        assert_string_equal(condition_text(rs, "ReplicaFailure", "reason"), "FailedCreate");
        assert_string_equal(condition_text(rs, "ReplicaFailure", "message"), "exceeded quota");
        assert_int_equal(events(&k, "web", "FailedCreate"), 2); /* again when its own status came back, then later */
        cluster_advance(&k, 1);
        assert_int_equal(count(&k, &res_pods, "ns"), 30);
        rs = fake_api_get(k.api, &res_replicasets, "ns", "web");
        assert_string_equal(condition_text(rs, "ReplicaFailure", "reason"), "");
}

static void leaves_pods_alone_while_it_is_deleted(void **state) {
        _cluster_ struct cluster k;
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        create_rs(&k, "web", 1, "");
        name = str_dup(object_name(only(&k, &res_pods, "ns")));
        fake_api_delete(k.api, &res_replicasets, "ns", "web", "Foreground");
        fake_api_remove(k.api, &res_pods, "ns", name);
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 0);
}

static void a_replication_controller_is_the_same_with_a_map_selector(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        fake_api_create(k.api, &res_replicationcontrollers, "ns",
                        "{'metadata':{'name':'rc'},'spec':{'replicas':2,'selector':{'app':'x'},'template':{'metadata':{"
                        "'labels':{'app':'x'}},"
                        "'spec':{'containers':[{'name':'c','image':'i'}]}}}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 2);
        assert_int_equal(int_at(fake_api_get(k.api, &res_replicationcontrollers, "ns", "rc"), "status.replicas"), 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(creates_pods_from_the_template),
                cmocka_unit_test(counts_ready_and_available),
                cmocka_unit_test(writes_nothing_when_nothing_differs),
                cmocka_unit_test(replaces_a_deleted_pod),
                cmocka_unit_test(replaces_a_failed_pod),
                cmocka_unit_test(scaling_down_takes_pods_that_are_not_ready_first),
                cmocka_unit_test(scaling_down_heeds_the_deletion_cost),
                cmocka_unit_test(adopts_matching_orphans_and_releases_strangers),
                cmocka_unit_test(what_is_refused_once_is_not_asked_for_again_at_once),
                cmocka_unit_test(leaves_pods_alone_while_it_is_deleted),
                cmocka_unit_test(a_replication_controller_is_the_same_with_a_map_selector),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
