#include "help.h"

extern const struct controller_class statefulset_controller, garbagecollector_controller;
static const struct controller_class *const classes[] = { &statefulset_controller, NULL };

static void create(struct cluster *k, int replicas, const char *more) {
        fake_api_create(k->api, &res_statefulsets, "ns",
                        "{'metadata':{'name':'db'},'spec':{'replicas':%d,%s'serviceName':'svc','selector':{'"
                        "matchLabels':{'app':'x'}},"
                        "'template':{'metadata':{'labels':{'app':'x'}},'spec':{'containers':[{'name':'c','image':'v1'}]"
                        "}}}}",
                        replicas, more);
        cluster_settle(k);
}

static struct object *db(struct cluster *k) {
        return fake_api_get(k->api, &res_statefulsets, "ns", "db");
}

static struct object *pod(struct cluster *k, int i) {
        char name[16];

        snprintf(name, sizeof(name), "db-%d", i);
        return fake_api_get(k->api, &res_pods, "ns", name);
}

static void ready(struct cluster *k, int i) {
        char name[16];

        snprintf(name, sizeof(name), "db-%d", i);
        make_ready(k, "ns", name, "n1");
        cluster_settle(k);
}

static void gone(struct cluster *k, int i) {
        char name[16];

        snprintf(name, sizeof(name), "db-%d", i);
        fake_api_remove(k->api, &res_pods, "ns", name);
        cluster_settle(k);
}

static void pods_come_up_in_order(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 3, "");
        assert_int_equal(count(&k, &res_pods, "ns"), 1);
        assert_string_equal(text_at(pod(&k, 0), "spec.hostname"), "db-0");
        assert_string_equal(text_at(pod(&k, 0), "spec.subdomain"), "svc");
        assert_true(str_eqc(object_label(pod(&k, 0), STR("statefulset.kubernetes.io/pod-name")), "db-0"));
        assert_true(str_eqc(object_label(pod(&k, 0), STR("apps.kubernetes.io/pod-index")), "0"));
        assert_string_equal(text_at(pod(&k, 0), "metadata.labels.controller-revision-hash"),
                            text_at(db(&k), "status.updateRevision"));
        ready(&k, 0);
        assert_non_null(pod(&k, 1));
        assert_null(pod(&k, 2));
        ready(&k, 1);
        ready(&k, 2);
        assert_int_equal(int_at(db(&k), "status.readyReplicas"), 3);
        assert_int_equal(int_at(db(&k), "status.currentReplicas"), 3);
        assert_int_equal(int_at(db(&k), "status.availableReplicas"), 3);
        assert_int_equal(events(&k, "db", "SuccessfulCreate"), 3);
}

static void parallel_does_not_wait(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 3, "'podManagementPolicy':'Parallel',");
        assert_int_equal(count(&k, &res_pods, "ns"), 3);
}

static void scaling_down_takes_the_highest_and_one_at_a_time(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 3, "");
        for (int i = 0; i < 3; i++)
                ready(&k, i);
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "", "{'spec':{'replicas':1}}");
        cluster_settle(&k);
        assert_true(object_deleting(pod(&k, 2)));
        assert_false(object_deleting(pod(&k, 1)));
        gone(&k, 2);
        assert_true(object_deleting(pod(&k, 1)));
        gone(&k, 1);
        assert_int_equal(count(&k, &res_pods, "ns"), 1);
        assert_int_equal(int_at(db(&k), "status.replicas"), 1);
}

static void scaling_down_waits_for_sick_pods_below(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 2, "");
        ready(&k, 0);
        ready(&k, 1);
        for (int i = 0; i < 2; i++)
                fake_api_patch(k.api, &res_pods, "ns", i ? "db-1" : "db-0", "status",
                               "{'status':{'conditions':[{'type':'Ready','status':'False'}]}}");
        cluster_settle(&k);
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "", "{'spec':{'replicas':0}}");
        cluster_settle(&k);
        assert_false(object_deleting(pod(&k, 1)));
        ready(&k, 0); /* now the other one is the first that is sick */
        assert_true(!pod(&k, 1) || object_deleting(pod(&k, 1)));
}

static void a_rolling_update_goes_from_the_highest_down(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 2, "");
        ready(&k, 0);
        ready(&k, 1);
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v2'}]}}}}");
        cluster_settle(&k);
        assert_true(object_deleting(pod(&k, 1)));
        assert_false(object_deleting(pod(&k, 0)));
        gone(&k, 1);
        assert_string_equal(text_at(pod(&k, 1), "spec.containers.0.image"), "v2");
        assert_false(object_deleting(pod(&k, 0)));
        ready(&k, 1);
        assert_true(object_deleting(pod(&k, 0)));
        gone(&k, 0);
        ready(&k, 0);
        assert_string_equal(text_at(db(&k), "status.currentRevision"), text_at(db(&k), "status.updateRevision"));
        assert_int_equal(int_at(db(&k), "status.updatedReplicas"), 2);
}

static void below_the_partition_the_old_revision_stays(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 2, "'updateStrategy':{'type':'RollingUpdate','rollingUpdate':{'partition':1}},");
        ready(&k, 0);
        ready(&k, 1);
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'v2'}]}}}}");
        cluster_settle(&k);
        gone(&k, 1);
        ready(&k, 1);
        assert_string_equal(text_at(pod(&k, 1), "spec.containers.0.image"), "v2");
        assert_false(object_deleting(pod(&k, 0)));
        fake_api_delete(k.api, &res_pods, "ns", "db-0", NULL);
        gone(&k, 0);
        assert_string_equal(text_at(pod(&k, 0), "spec.containers.0.image"), "v1"); /* made again as it was */
}

static void claims_are_made_and_outlive_their_pod(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 1,
               "'volumeClaimTemplates':[{'metadata':{'name':'data'},'spec':{'accessModes':['ReadWriteOnce'],'resources'"
               ":{'requests':"
               "{'storage':'1Gi'}}}}],");
        assert_non_null(fake_api_get(k.api, &res_persistentvolumeclaims, "ns", "data-db-0"));
        assert_string_equal(text_at(pod(&k, 0), "spec.volumes.0.persistentVolumeClaim.claimName"), "data-db-0");
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "", "{'spec':{'replicas':0}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 0);
        assert_int_equal(count(&k, &res_persistentvolumeclaims, "ns"), 1);
}

static void claims_go_with_their_set_when_asked_for(void **state) {
        _cluster_ struct cluster k;
        struct object *claim;

        cluster_start(&k, NULL, classes);
        create(&k, 1,
               "'persistentVolumeClaimRetentionPolicy':{'whenDeleted':'Delete','whenScaled':'Retain'},'"
               "volumeClaimTemplates':[{'metadata':"
               "{'name':'data'},'spec':{'accessModes':['ReadWriteOnce']}}],");
        ready(&k, 0);
        claim = fake_api_get(k.api, &res_persistentvolumeclaims, "ns", "data-db-0");
        assert_string_equal(text_at(claim, "metadata.ownerReferences.0.kind"), "StatefulSet");
}

static void a_failed_pod_is_made_again_under_its_name(void **state) {
        _cluster_ struct cluster k;
        struct str before;
        char uid[40];

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        before = object_uid(pod(&k, 0));
        memcpy(uid, before.p, before.n);
        fake_api_patch(k.api, &res_pods, "ns", "db-0", "status", "{'status':{'phase':'Failed'}}");
        cluster_settle(&k);
        assert_non_null(pod(&k, 0));
        assert_false(str_eq(object_uid(pod(&k, 0)), str_n(uid, before.n)));
}

static void ordinals_may_start_elsewhere(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "'ordinals':{'start':5},");
        assert_non_null(pod(&k, 5));
}

static void a_settled_one_writes_nothing(void **state) {
        _cluster_ struct cluster k;
        size_t before;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        ready(&k, 0);
        before = fake_api_writes(k.api);
        fake_api_patch(k.api, &res_statefulsets, "ns", "db", "", "{'metadata':{'labels':{'a':'b'}}}");
        cluster_settle(&k);
        assert_int_equal(fake_api_writes(k.api), before);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pods_come_up_in_order),
                cmocka_unit_test(parallel_does_not_wait),
                cmocka_unit_test(scaling_down_takes_the_highest_and_one_at_a_time),
                cmocka_unit_test(scaling_down_waits_for_sick_pods_below),
                cmocka_unit_test(a_rolling_update_goes_from_the_highest_down),
                cmocka_unit_test(below_the_partition_the_old_revision_stays),
                cmocka_unit_test(claims_are_made_and_outlive_their_pod),
                cmocka_unit_test(claims_go_with_their_set_when_asked_for),
                cmocka_unit_test(a_failed_pod_is_made_again_under_its_name),
                cmocka_unit_test(ordinals_may_start_elsewhere),
                cmocka_unit_test(a_settled_one_writes_nothing),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
