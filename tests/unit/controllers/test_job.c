#include "help.h"

#include "controllers/pods.h"

extern const struct controller_class job_controller, ttlafterfinished_controller;
static const struct controller_class *const classes[] = { &job_controller, &ttlafterfinished_controller, NULL };

static void create(struct cluster *k, const char *more) {
        fake_api_create(k->api, &res_jobs, "ns",
                        "{'metadata':{'name':'job'},'spec':{%s'selector':{'matchLabels':{'job':'x'}},'template':{'"
                        "metadata':{'labels':{'job':'x'}},"
                        "'spec':{'restartPolicy':'Never','containers':[{'name':'c','image':'i'}]}}}}",
                        more);
        cluster_settle(k);
}

static struct object *job(struct cluster *k) {
        return fake_api_get(k->api, &res_jobs, "ns", "job");
}

/* All pods that are active end so; returns how many. */
static size_t end_pods(struct cluster *k, const char *phase) {
        struct object *pods[32];
        size_t n = fake_api_list(k->api, &res_pods, "ns", pods, 32), ended = 0;

        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = str_dup(object_name(pods[i]));

                if (!strcmp(text_at(pods[i], "status.phase"), "Succeeded") ||
                    !strcmp(text_at(pods[i], "status.phase"), "Failed"))
                        continue;
                fake_api_patch(k->api, &res_pods, "ns", name, "status",
                               "{'status':{'phase':'%s','containerStatuses':[{'name':'c','state':{'terminated':{'"
                               "exitCode':%d}}}]}}",
                               phase, strcmp(phase, "Failed") ? 0 : 42);
                ended++;
        }
        cluster_settle(k);
        return ended;
}

static void one_pod_that_succeeds_completes_it(void **state) {
        _cluster_ struct cluster k;
        struct object *pod;

        cluster_start(&k, NULL, classes);
        create(&k, "");
        pod = only(&k, &res_pods, "ns");
        assert_string_equal(text_at(pod, "metadata.finalizers.0"), "batch.kubernetes.io/job-tracking");
        assert_string_equal(text_at(pod, "metadata.generateName"), "job-");
        assert_int_equal(int_at(job(&k), "status.active"), 1);
        assert_true(*text_at(job(&k), "status.startTime"));
        end_pods(&k, "Succeeded");
        assert_int_equal(int_at(job(&k), "status.succeeded"), 1);
        assert_int_equal(int_at(job(&k), "status.active"), 0);
        assert_string_equal(condition_text(job(&k), "Complete", "status"), "True");
        assert_string_equal(condition_text(job(&k), "Complete", "reason"), "CompletionsReached");
        assert_string_equal(condition_text(job(&k), "SuccessCriteriaMet", "status"), "True");
        assert_true(*text_at(job(&k), "status.completionTime"));
        assert_int_equal(json_len(at(only(&k, &res_pods, "ns"), "metadata.finalizers")), 0);
        assert_int_equal(json_len(at(job(&k), "status.uncountedTerminatedPods")), 0);
        assert_int_equal(events(&k, "job", "Completed"), 1);
}

static void completions_run_with_so_much_parallelism(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completions':5,'parallelism':2,");
        assert_int_equal(end_pods(&k, "Succeeded"), 2);
        assert_int_equal(end_pods(&k, "Succeeded"), 2);
        assert_int_equal(end_pods(&k, "Succeeded"), 1);
        assert_int_equal(end_pods(&k, "Succeeded"), 0);
        assert_int_equal(int_at(job(&k), "status.succeeded"), 5);
        assert_string_equal(condition_text(job(&k), "Complete", "status"), "True");
}

static void failures_are_tried_again_later_each_time(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'backoffLimit':6,");
        assert_int_equal(end_pods(&k, "Failed"), 1);
        cluster_advance(&k, 8);
        assert_int_equal(end_pods(&k, "Failed"), 0); /* 10 s */
        cluster_advance(&k, 3);
        assert_int_equal(end_pods(&k, "Failed"), 1);
        cluster_advance(&k, 15);
        assert_int_equal(end_pods(&k, "Failed"), 0); /* 20 s */
        cluster_advance(&k, 6);
        assert_int_equal(end_pods(&k, "Failed"), 1);
        assert_int_equal(int_at(job(&k), "status.failed"), 3);
}

static void too_many_failures_fail_it(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'backoffLimit':0,");
        end_pods(&k, "Failed");
        assert_string_equal(condition_text(job(&k), "Failed", "reason"), "BackoffLimitExceeded");
        assert_string_equal(condition_text(job(&k), "Failed", "message"),
                            "Job has reached the specified backoff limit");
        assert_int_equal(int_at(job(&k), "status.failed"), 1);
        assert_int_equal(count(&k, &res_pods, "ns"), 1);
}

static void the_deadline_stops_what_runs(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'activeDeadlineSeconds':30,");
        cluster_advance(&k, 31);
        cluster_settle(&k);
        assert_string_equal(condition_text(job(&k), "Failed", "reason"), "DeadlineExceeded");
        assert_int_equal(int_at(job(&k), "status.active"), 0);
}

static void indexed_pods_know_their_number(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[8];
        size_t n;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':3,'parallelism':3,");
        n = fake_api_list(k.api, &res_pods, "ns", pods, 8);
        assert_int_equal(n, 3);
        for (size_t i = 0; i < n; i++) {
                char want[16];
                int64_t index;

                assert_int_equal(str_to_i64(json_str(json_getc(at(pods[i], "metadata.annotations"),
                                                               "batch.kubernetes.io/job-completion-index")),
                                            &index),
                                 0);
                snprintf(want, sizeof(want), "job-%d", (int) index);
                assert_string_equal(text_at(pods[i], "spec.hostname"), want);
                assert_string_equal(text_at(pods[i], "spec.containers.0.env.0.name"), "JOB_COMPLETION_INDEX");
        }
        end_pods(&k, "Succeeded");
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "0-2");
        assert_string_equal(condition_text(job(&k), "Complete", "status"), "True");
}

static void completed_indexes_join_as_they_come(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':5,'parallelism':1,");
        end_pods(&k, "Succeeded");
        end_pods(&k, "Succeeded");
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "0,1");
        end_pods(&k, "Succeeded");
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "0-2");
}

/* The pod of an index that is active ends so. */
static void end_index(struct cluster *k, int index, const char *phase, int code) {
        struct object *pods[32];
        size_t n = fake_api_list(k->api, &res_pods, "ns", pods, 32);
        char want[8];

        snprintf(want, sizeof(want), "%d", index);
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *name = str_dup(object_name(pods[i]));

                if (*text_at(pods[i], "status.phase") && strcmp(text_at(pods[i], "status.phase"), "Pending") != 0)
                        continue;
                if (!str_eqc(object_annotation(pods[i], "batch.kubernetes.io/job-completion-index"), want))
                        continue;
                fake_api_patch(k->api, &res_pods, "ns", name, "status",
                               "{'status':{'phase':'%s','containerStatuses':[{'name':'c','state':{'terminated':{'"
                               "exitCode':%d}}}]}}",
                               phase, code);
        }
        cluster_settle(k);
}

static void an_index_has_failures_of_its_own(void **state) {
        _cluster_ struct cluster k;
        struct object *pods[8];

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':2,'parallelism':2,'backoffLimitPerIndex':1,");
        assert_string_equal(text_at(job(&k), "status.failedIndexes"), "");
        end_index(&k, 0, "Failed", 42);
        assert_int_equal(int_at(job(&k), "status.failed"), 0); /* until its successor is there */
        cluster_advance(&k, 11);
        assert_int_equal(int_at(job(&k), "status.failed"), 1);
        assert_int_equal(fake_api_list(k.api, &res_pods, "ns", pods, 8), 3);
        for (size_t i = 0; i < 3; i++)
                if (str_eqc(object_annotation(pods[i], "batch.kubernetes.io/job-completion-index"), "0"))
                        assert_true(str_eqc(object_annotation(pods[i], "batch.kubernetes.io/job-index-failure-count"),
                                            *text_at(pods[i], "status.phase") ? "0" : "1"));
        end_index(&k, 0, "Failed", 42);
        assert_string_equal(text_at(job(&k), "status.failedIndexes"), "0");
        assert_string_equal(condition_text(job(&k), "FailureTarget", "status"), "");
        end_index(&k, 1, "Succeeded", 0);
        assert_string_equal(condition_text(job(&k), "Failed", "reason"), "FailedIndexes");
        assert_string_equal(condition_text(job(&k), "Failed", "message"), "Job has failed indexes");
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "1");
        assert_int_equal(int_at(job(&k), "status.failed"), 2);
}

static void too_many_failed_indexes_end_it(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':4,'parallelism':2,'backoffLimitPerIndex':0,"
                   "'maxFailedIndexes':1,");
        end_index(&k, 0, "Failed", 42);
        assert_string_equal(condition_text(job(&k), "FailureTarget", "status"), "");
        end_index(&k, 1, "Failed", 42);
        assert_string_equal(condition_text(job(&k), "FailureTarget", "reason"), "MaxFailedIndexesExceeded");
        assert_string_equal(text_at(job(&k), "status.failedIndexes"), "0,1");
}

static void a_policy_may_give_an_index_up(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':2,'parallelism':2,'backoffLimitPerIndex':5,"
                   "'podReplacementPolicy':'Failed','podFailurePolicy':{'rules':[{'action':'FailIndex','onExitCodes':{"
                   "'operator':'In','values':[42]}},{'action':'Ignore','onExitCodes':{'operator':'In','values':[7]}}"
                   "]},");
        end_index(&k, 0, "Failed", 42);
        assert_string_equal(text_at(job(&k), "status.failedIndexes"), "0");
        end_index(&k, 1, "Failed", 7);
        cluster_advance(&k, 11);
        assert_int_equal(int_at(job(&k), "status.failed"), 1);
        assert_int_equal(int_at(job(&k), "status.active"), 1);
}

static void what_is_stopped_has_not_failed(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completions':3,'parallelism':3,'backoffLimit':0,");
        fake_api_patch(k.api, &res_jobs, "ns", "job", "", "{'spec':{'parallelism':1}}");
        cluster_settle(&k);
        assert_int_equal(int_at(job(&k), "status.active"), 1);
        fake_api_patch(k.api, &res_jobs, "ns", "job", "", "{'spec':{'suspend':true}}");
        cluster_settle(&k);
        assert_int_equal(int_at(job(&k), "status.active"), 0);
        assert_int_equal(int_at(job(&k), "status.failed"), 0);
        assert_string_equal(condition_text(job(&k), "FailureTarget", "status"), "");
}

static void indexes_that_are_no_longer_wanted_go(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':4,'parallelism':4,");
        end_index(&k, 3, "Succeeded", 0);
        fake_api_patch(k.api, &res_jobs, "ns", "job", "", "{'spec':{'completions':2,'parallelism':2}}");
        cluster_settle(&k);
        assert_int_equal(int_at(job(&k), "status.active"), 2);
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "");
        end_pods(&k, "Succeeded");
        assert_string_equal(text_at(job(&k), "status.completedIndexes"), "0,1");
}

static void suspension_stops_and_resumption_goes_on(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'suspend':true,");
        assert_int_equal(count(&k, &res_pods, "ns"), 0);
        assert_string_equal(condition_text(job(&k), "Suspended", "status"), "True");
        fake_api_patch(k.api, &res_jobs, "ns", "job", "", "{'spec':{'suspend':false}}");
        cluster_settle(&k);
        assert_int_equal(count(&k, &res_pods, "ns"), 1);
        assert_string_equal(condition_text(job(&k), "Suspended", "status"), "False");
        assert_string_equal(condition_text(job(&k), "Suspended", "reason"), "JobResumed");
}

static void a_pod_failure_policy_may_fail_the_job_at_once(void **state) {
        _cluster_ struct cluster k;
        char want[200];

        cluster_start(&k, NULL, classes);
        create(&k, "'podReplacementPolicy':'Failed','podFailurePolicy':{'rules':[{'action':'FailJob','onExitCodes':{'"
                   "operator':'In','values':[42]}}]},");
        snprintf(want, sizeof(want),
                 "Container c for pod ns/%" STR_FMT " failed with exit code 42 matching FailJob rule at index 0",
                 STR_ARG(object_name(only(&k, &res_pods, "ns"))));
        end_pods(&k, "Failed");
        assert_string_equal(condition_text(job(&k), "Failed", "reason"), "PodFailurePolicy");
        assert_string_equal(condition_text(job(&k), "Failed", "message"), want);
}

static void a_success_policy_may_be_content_with_less(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'completionMode':'Indexed','completions':5,'parallelism':1,'successPolicy':{'rules':[{'"
                   "succeededCount':2}]},");
        end_pods(&k, "Succeeded");
        assert_string_equal(condition_text(job(&k), "Complete", "status"), "");
        end_pods(&k, "Succeeded");
        cluster_settle(&k);
        assert_string_equal(condition_text(job(&k), "SuccessCriteriaMet", "reason"), "SuccessPolicy");
        assert_string_equal(condition_text(job(&k), "Complete", "status"), "True");
}

static void pods_of_a_deleted_job_lose_their_finalizer(void **state) {
        _cluster_ struct cluster k;
        _cleanup_free_ char *name = NULL;

        cluster_start(&k, NULL, classes);
        create(&k, "");
        name = str_dup(object_name(only(&k, &res_pods, "ns")));
        fake_api_remove(k.api, &res_jobs, "ns", "job");
        cluster_settle(&k);
        assert_int_equal(json_len(at(fake_api_get(k.api, &res_pods, "ns", name), "metadata.finalizers")), 0);
}

static void finished_jobs_go_when_their_time_is_over(void **state) {
        _cluster_ struct cluster k;

        cluster_start(&k, NULL, classes);
        create(&k, "'ttlSecondsAfterFinished':60,");
        cluster_advance(&k, 100);
        end_pods(&k, "Succeeded");
        cluster_advance(&k, 50);
        assert_non_null(job(&k));
        assert_false(object_deleting(job(&k)));
        cluster_advance(&k, 11);
        assert_true(!job(&k) || object_deleting(job(&k)));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_pod_that_succeeds_completes_it),
                cmocka_unit_test(completions_run_with_so_much_parallelism),
                cmocka_unit_test(failures_are_tried_again_later_each_time),
                cmocka_unit_test(too_many_failures_fail_it),
                cmocka_unit_test(the_deadline_stops_what_runs),
                cmocka_unit_test(indexed_pods_know_their_number),
                cmocka_unit_test(completed_indexes_join_as_they_come),
                cmocka_unit_test(an_index_has_failures_of_its_own),
                cmocka_unit_test(too_many_failed_indexes_end_it),
                cmocka_unit_test(a_policy_may_give_an_index_up),
                cmocka_unit_test(what_is_stopped_has_not_failed),
                cmocka_unit_test(indexes_that_are_no_longer_wanted_go),
                cmocka_unit_test(suspension_stops_and_resumption_goes_on),
                cmocka_unit_test(a_pod_failure_policy_may_fail_the_job_at_once),
                cmocka_unit_test(a_success_policy_may_be_content_with_less),
                cmocka_unit_test(pods_of_a_deleted_job_lose_their_finalizer),
                cmocka_unit_test(finished_jobs_go_when_their_time_is_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
