#include "help.h"

extern const struct controller_class deployment_controller, replicaset_controller;
static const struct controller_class *const classes[] = { &deployment_controller, &replicaset_controller, NULL };

static void create(struct cluster *k, int replicas, const char *more) {
        fake_api_create(k->api, &res_deployments, "ns",
                        "{'metadata':{'name':'web','annotations':{'note':'n'}},'spec':{'replicas':%d,%s'selector':{'"
                        "matchLabels':{'app':'x'}},"
                        "'template':{'metadata':{'labels':{'app':'x'}},'spec':{'containers':[{'name':'c','image':'v1'}]"
                        "}}}}",
                        replicas, more);
        cluster_settle(k);
}

static void set_image(struct cluster *k, const char *image) {
        fake_api_patch(k->api, &res_deployments, "ns", "web", "",
                       "{'spec':{'template':{'spec':{'containers':[{'name':'c','image':'%s'}]}}}}", image);
        cluster_settle(k);
}

static struct object *web(struct cluster *k) {
        return fake_api_get(k->api, &res_deployments, "ns", "web");
}

/* The ReplicaSet with that image, or NULL. */
static struct object *rs_of(struct cluster *k, const char *image) {
        struct object *sets[32];
        size_t n = fake_api_list(k->api, &res_replicasets, "ns", sets, 32);

        for (size_t i = 0; i < n; i++)
                if (!strcmp(text_at(sets[i], "spec.template.spec.containers.0.image"), image))
                        return sets[i];
        return NULL;
}

/* Pods become ready, terminating ones go, until nothing moves. The most and least there were in between. */
static void roll(struct cluster *k, size_t *ret_most, size_t *ret_fewest_ready) {
        *ret_most = 0;
        *ret_fewest_ready = SIZE_MAX;
        for (int round = 0; round < 50; round++) {
                struct object *pods[64];
                size_t n = fake_api_list(k->api, &res_pods, "ns", pods, 64), ready = 0, alive = 0;
                char gone[256] = "", fresh[256] = "";

                for (size_t i = 0; i < n; i++) {
                        alive += !object_deleting(pods[i]);
                        ready += !object_deleting(pods[i]) && *text_at(pods[i], "spec.nodeName");
                        if (object_deleting(pods[i]))
                                snprintf(gone, sizeof(gone), "%" STR_FMT, STR_ARG(object_name(pods[i])));
                        else if (!*text_at(pods[i], "spec.nodeName"))
                                snprintf(fresh, sizeof(fresh), "%" STR_FMT, STR_ARG(object_name(pods[i])));
                }
                *ret_most = MAX(*ret_most, alive);
                *ret_fewest_ready = MIN(*ret_fewest_ready, ready);
                if (*gone)
                        fake_api_remove(k->api, &res_pods, "ns", gone);
                else if (*fresh)
                        make_ready(k, "ns", fresh, "n1");
                else
                        break;
                cluster_settle(k);
        }
}

static void creates_a_replica_set_with_the_hash(void **state) {
        _cluster_ struct cluster k;
        struct object *rs;
        const char *hash;
        char name[64];

        cluster_start(&k, NULL, classes);
        create(&k, 3, "");
        rs = only(&k, &res_replicasets, "ns");
        hash = text_at(rs, "metadata.labels.pod-template-hash");
        assert_true(strlen(hash) >= 8 && strspn(hash, "bcdfghjklmnpqrstvwxz2456789") == strlen(hash));
        snprintf(name, sizeof(name), "web-%s", hash);
        assert_string_equal(text_at(rs, "metadata.name"), name);
        assert_string_equal(text_at(rs, "spec.selector.matchLabels.pod-template-hash"), hash);
        assert_string_equal(text_at(rs, "spec.template.metadata.labels.pod-template-hash"), hash);
        assert_true(str_eqc(json_str(json_getc(at(rs, "metadata.annotations"), "deployment.kubernetes.io/revision")),
                            "1"));
        assert_true(str_eqc(json_str(json_getc(at(rs, "metadata.annotations"),
                                               "deployment.kubernetes.io/desired-replicas")),
                            "3"));
        assert_true(str_eqc(
                        json_str(json_getc(at(rs, "metadata.annotations"), "deployment.kubernetes.io/max-replicas")),
                        "4"));
        assert_string_equal(text_at(rs, "metadata.annotations.note"), "n");
        assert_true(str_eqc(
                        json_str(json_getc(at(web(&k), "metadata.annotations"), "deployment.kubernetes.io/revision")),
                        "1"));
        assert_int_equal(count(&k, &res_pods, "ns"), 3);
        assert_int_equal(events(&k, "web", "ScalingReplicaSet"), 1);
}

static void conditions_tell_the_rollout(void **state) {
        _cluster_ struct cluster k;
        char want[128];

        cluster_start(&k, NULL, classes);
        create(&k, 2, "");
        assert_string_equal(condition_text(web(&k), "Available", "reason"), "MinimumReplicasUnavailable");
        assert_string_equal(condition_text(web(&k), "Available", "message"),
                            "Deployment does not have minimum availability.");
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "ReplicaSetUpdated");
        assert_int_equal(int_at(web(&k), "status.unavailableReplicas"), 2);
        make_pods_ready(&k, "ns", "n1");
        assert_string_equal(condition_text(web(&k), "Available", "status"), "True");
        assert_string_equal(condition_text(web(&k), "Available", "reason"), "MinimumReplicasAvailable");
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "NewReplicaSetAvailable");
        snprintf(want, sizeof(want), "ReplicaSet \"%" STR_FMT "\" has successfully progressed.",
                 STR_ARG(object_name(only(&k, &res_replicasets, "ns"))));
        assert_string_equal(condition_text(web(&k), "Progressing", "message"), want);
        assert_int_equal(int_at(web(&k), "status.availableReplicas"), 2);
        assert_int_equal(int_at(web(&k), "status.updatedReplicas"), 2);
        assert_int_equal(int_at(web(&k), "status.unavailableReplicas"), 0);
}

static void rolls_within_surge_and_unavailable(void **state) {
        _cluster_ struct cluster k;
        size_t most, fewest;

        cluster_start(&k, NULL, classes);
        create(&k, 4, "'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1,'maxUnavailable':1}},");
        make_pods_ready(&k, "ns", "n1");
        set_image(&k, "v2");
        roll(&k, &most, &fewest);
        assert_int_equal(most, 5);
        assert_true(fewest >= 3);
        assert_int_equal(int_at(rs_of(&k, "v1"), "spec.replicas"), 0);
        assert_int_equal(int_at(rs_of(&k, "v2"), "spec.replicas"), 4);
        assert_int_equal(count(&k, &res_pods, "ns"), 4);
        assert_true(str_eqc(
                        json_str(json_getc(at(web(&k), "metadata.annotations"), "deployment.kubernetes.io/revision")),
                        "2"));
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "NewReplicaSetAvailable");
}

static void percentages_round_surge_up_and_unavailable_down(void **state) {
        _cluster_ struct cluster k;
        size_t most, fewest;

        cluster_start(&k, NULL, classes);
        create(&k, 5, "'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':'25%','maxUnavailable':'25%'}},");
        make_pods_ready(&k, "ns", "n1");
        set_image(&k, "v2");
        roll(&k, &most, &fewest);
        assert_int_equal(most, 7); /* 5 + ceil(1.25) */
        assert_true(fewest >= 4);  /* 5 - floor(1.25) */
}

static void recreate_waits_for_the_last_old_pod(void **state) {
        _cluster_ struct cluster k;
        size_t most, fewest;
        struct object *pod;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "'strategy':{'type':'Recreate'},");
        make_pods_ready(&k, "ns", "n1");
        set_image(&k, "v2");
        pod = only(&k, &res_pods, "ns");
        assert_true(object_deleting(pod));
        assert_null(rs_of(&k, "v2"));
        roll(&k, &most, &fewest);
        assert_int_equal(most, 1);
        assert_string_equal(text_at(only(&k, &res_pods, "ns"), "spec.containers.0.image"), "v2");
}

static void an_old_template_takes_its_replica_set_again(void **state) {
        _cluster_ struct cluster k;
        size_t most, fewest;
        struct object *rs;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        make_pods_ready(&k, "ns", "n1");
        set_image(&k, "v2");
        roll(&k, &most, &fewest);
        set_image(&k, "v1");
        roll(&k, &most, &fewest);
        assert_int_equal(count(&k, &res_replicasets, "ns"), 2);
        rs = rs_of(&k, "v1");
        assert_int_equal(int_at(rs, "spec.replicas"), 1);
        assert_true(str_eqc(json_str(json_getc(at(rs, "metadata.annotations"), "deployment.kubernetes.io/revision")),
                            "3"));
        assert_true(str_eqc(json_str(json_getc(at(rs, "metadata.annotations"),
                                               "deployment.kubernetes.io/revision-history")),
                            "1"));
        assert_true(str_eqc(
                        json_str(json_getc(at(web(&k), "metadata.annotations"), "deployment.kubernetes.io/revision")),
                        "3"));
}

static void keeps_no_more_history_than_asked_for(void **state) {
        _cluster_ struct cluster k;
        size_t most, fewest;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "'revisionHistoryLimit':1,");
        make_pods_ready(&k, "ns", "n1");
        for (int i = 2; i < 5; i++) {
                char image[8];

                snprintf(image, sizeof(image), "v%d", i);
                set_image(&k, image);
                roll(&k, &most, &fewest);
        }
        assert_int_equal(count(&k, &res_replicasets, "ns"), 2);
        assert_non_null(rs_of(&k, "v3"));
        assert_non_null(rs_of(&k, "v4"));
}

static void scales_in_proportion_in_the_middle_of_a_rollout(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 10, "'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':3,'maxUnavailable':2}},");
        make_pods_ready(&k, "ns", "n1");
        set_image(&k, "v2"); /* never becomes ready */
        assert_int_equal(int_at(rs_of(&k, "v1"), "spec.replicas"), 8);
        assert_int_equal(int_at(rs_of(&k, "v2"), "spec.replicas"), 5);
        fake_api_patch(k.api, &res_deployments, "ns", "web", "", "{'spec':{'replicas':15}}");
        cluster_settle(&k);
        /* The documentation's example: 3 of the 5 more go to the old, 2 to the new. */
        assert_int_equal(int_at(rs_of(&k, "v1"), "spec.replicas"), 11);
        assert_int_equal(int_at(rs_of(&k, "v2"), "spec.replicas"), 7);
}

static void a_paused_deployment_scales_but_does_not_roll(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        make_pods_ready(&k, "ns", "n1");
        fake_api_patch(k.api, &res_deployments, "ns", "web", "", "{'spec':{'paused':true}}");
        cluster_settle(&k);
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "DeploymentPaused");
        assert_string_equal(condition_text(web(&k), "Progressing", "status"), "Unknown");
        set_image(&k, "v2");
        assert_int_equal(count(&k, &res_replicasets, "ns"), 1);
        fake_api_patch(k.api, &res_deployments, "ns", "web", "", "{'spec':{'replicas':3}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 3);
        fake_api_patch(k.api, &res_deployments, "ns", "web", "", "{'spec':{'paused':false}}");
        cluster_settle(&k);
        assert_non_null(rs_of(&k, "v2"));
}

static void says_so_when_there_is_no_progress(void **state) {
        _cluster_ struct cluster k;
        char want[128];

        cluster_start(&k, NULL, classes);
        create(&k, 1, "'progressDeadlineSeconds':60,");
        cluster_advance(&k, 50);
        assert_string_equal(condition_text(web(&k), "Progressing", "status"), "True");
        cluster_advance(&k, 20);
        assert_string_equal(condition_text(web(&k), "Progressing", "status"), "False");
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "ProgressDeadlineExceeded");
        snprintf(want, sizeof(want), "ReplicaSet \"%" STR_FMT "\" has timed out progressing.",
                 STR_ARG(object_name(only(&k, &res_replicasets, "ns"))));
        assert_string_equal(condition_text(web(&k), "Progressing", "message"), want);
        make_pods_ready(&k, "ns", "n1");
        assert_string_equal(condition_text(web(&k), "Progressing", "reason"), "NewReplicaSetAvailable");
}

static void another_hash_is_tried_when_the_name_is_taken(void **state) {
        _cluster_ struct cluster k;
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        name = str_dup(object_name(only(&k, &res_replicasets, "ns")));
        fake_api_remove(k.api, &res_deployments, "ns", "web");
        fake_api_remove(k.api, &res_replicasets, "ns", name);
        cluster_settle(&k);
        fake_api_create(k.api, &res_replicasets, "ns",
                        "{'metadata':{'name':'%s'},'spec':{'replicas':0,'selector':{'matchLabels':{'app':'y'}},'"
                        "template':{'metadata':{'labels':"
                        "{'app':'y'}},'spec':{'containers':[{'name':'c','image':'other'}]}}}}",
                        name);
        create(&k, 1, "");
        cluster_advance(&k, 1);
        assert_int_equal(int_at(web(&k), "status.collisionCount"), 1);
        assert_int_equal(count(&k, &res_replicasets, "ns"), 2);
}

static void a_settled_deployment_writes_nothing(void **state) {
        _cluster_ struct cluster k;
        size_t before;

        cluster_start(&k, NULL, classes);
        create(&k, 2, "");
        make_pods_ready(&k, "ns", "n1");
        before = fake_api_writes(k.api);
        cluster_advance(&k, 3600);
        assert_int_equal(fake_api_writes(k.api), before);
}

static void one_replica_is_ready_in_few_writes(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, 1, "");
        make_pods_ready(&k, "ns", "n1");
        /* ReplicaSet, Deployment status (twice, three times), pod, ReplicaSet status (twice): each costs a disk write.
         */
        assert_true(fake_api_writes(k.api) <= 8);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(creates_a_replica_set_with_the_hash),
                cmocka_unit_test(conditions_tell_the_rollout),
                cmocka_unit_test(rolls_within_surge_and_unavailable),
                cmocka_unit_test(percentages_round_surge_up_and_unavailable_down),
                cmocka_unit_test(recreate_waits_for_the_last_old_pod),
                cmocka_unit_test(an_old_template_takes_its_replica_set_again),
                cmocka_unit_test(keeps_no_more_history_than_asked_for),
                cmocka_unit_test(scales_in_proportion_in_the_middle_of_a_rollout),
                cmocka_unit_test(a_paused_deployment_scales_but_does_not_roll),
                cmocka_unit_test(says_so_when_there_is_no_progress),
                cmocka_unit_test(another_hash_is_tried_when_the_name_is_taken),
                cmocka_unit_test(a_settled_deployment_writes_nothing),
                cmocka_unit_test(one_replica_is_ready_in_few_writes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
