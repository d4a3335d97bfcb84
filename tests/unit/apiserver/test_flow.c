/* Priority and fairness: seats, queues, lending, classification, the objects. */
#include <math.h>

#include "apiserver/flow/flow.h"
#include "base/metrics.h"
#include "help.h"

/* ---- levels ---- */

static struct loop *loop;
static int went[8];

static void go(void *arg) {
        ++*(int *) arg;
}

static void nothing(void *arg) {
}

static void settle(void) {
        loop_call_sync(loop, nothing, NULL);
}

static struct flow_level *level_of(unsigned seats, unsigned queues, unsigned hand, unsigned length) {
        struct flow_limits m = { .queuing = queues > 0,
                                 .nominal = seats,
                                 .min = seats,
                                 .max = 600,
                                 .queues = queues,
                                 .hand = hand,
                                 .length = length };

        memset(went, 0, sizeof(went));
        return flow_level_new(STR("l"), &m);
}

static struct flow_waiter *wait_in(struct flow_level *l, uint64_t flow, int i) {
        return flow_level_wait(l, flow, 1, &(struct flow_about) { 0 }, loop, go, &went[i]);
}

static void a_full_level_makes_wait_and_the_next_seat_is_given_on(void **state) {
        struct flow_level *l = level_of(2, 1, 1, 2);

        assert_true(flow_level_enter(l, 1) && flow_level_enter(l, 1));
        assert_false(flow_level_enter(l, 1));
        assert_non_null(wait_in(l, 1, 0));
        assert_non_null(wait_in(l, 1, 1));
        assert_null(wait_in(l, 1, 2)); /* the queue is full */
        settle();
        assert_int_equal(went[0], 0);
        flow_level_leave(l, 1);
        settle();
        assert_int_equal(went[0] * 10 + went[1], 10);
        assert_false(flow_level_enter(l, 1)); /* nobody overtakes */
        flow_level_leave(l, 1);
        settle();
        assert_int_equal(went[0] * 10 + went[1], 11);
        flow_level_leave(l, 1);
        flow_level_leave(l, 1);
        assert_true(flow_level_enter(l, 1));
        flow_level_leave(l, 1);
        flow_level_unref(l);
}

static void who_gives_up_leaves_its_turn_to_others(void **state) {
        struct flow_level *l = level_of(1, 1, 1, 5);
        struct flow_waiter *w;

        assert_true(flow_level_enter(l, 1));
        w = wait_in(l, 1, 0);
        wait_in(l, 1, 1);
        flow_level_give_up(w);
        flow_level_leave(l, 1);
        settle();
        assert_int_equal(went[0] * 10 + went[1], 1);
        flow_level_leave(l, 1);
        flow_level_unref(l);
}

static void a_wide_request_waits_for_all_its_seats_or_runs_alone(void **state) {
        struct flow_level *l = level_of(4, 1, 1, 5);

        assert_true(flow_level_enter(l, 3));
        assert_false(flow_level_enter(l, 2));
        assert_true(flow_level_enter(l, 1));
        flow_level_leave(l, 3);
        flow_level_leave(l, 1);
        assert_true(flow_level_enter(l, 9)); /* wider than the level, which is empty */
        assert_false(flow_level_enter(l, 1));
        flow_level_leave(l, 9);
        flow_level_unref(l);
}

static void a_quiet_flow_is_not_behind_a_loud_one(void **state) {
        struct flow_level *l = level_of(1, 64, 8, 50);

        assert_true(flow_level_enter(l, 1));
        for (int i = 0; i < 300; i++) /* as many as its hand of queues takes */
                wait_in(l, 0x123456789abcdefULL, 0);
        assert_non_null(wait_in(l, 0xfedcba987654321ULL, 1));
        for (int i = 0; i < 20 && went[1] == 0; i++) {
                flow_level_leave(l, 1);
                settle();
        }
        assert_int_equal(went[1], 1);
        while (atomic_load(&l->n_waiting) > 0) {
                flow_level_leave(l, 1);
                settle();
        }
        flow_level_leave(l, 1);
        flow_level_unref(l);
}

/* What counts is the time that requests run, not how many they are. */
static void slow_requests_are_charged_their_time(void **state) {
        struct flow_level *l = level_of(1, 64, 1, 50);
        uint64_t slow = 1, fast = 2; /* a queue each */

        assert_true(flow_level_enter(l, 1));
        wait_in(l, slow, 0);
        wait_in(l, slow, 0);
        for (int i = 0; i < 5; i++)
                wait_in(l, fast, 1);
        flow_level_leave(l, 1);
        settle();
        assert_int_equal(went[0] * 10 + went[1], 10);
        flow_level_charge(l, (unsigned) slow, 1, 15 * NSEC_PER_MSEC); /* as long as five of the others */
        for (int i = 0; i < 5; i++) {
                flow_level_leave(l, 1);
                settle();
                flow_level_charge(l, (unsigned) fast, 1, 3 * NSEC_PER_MSEC);
        }
        assert_int_equal(went[0] * 10 + went[1], 15);
        flow_level_leave(l, 1);
        settle();
        assert_int_equal(went[0], 2);
        flow_level_leave(l, 1);
        flow_level_unref(l);
}

static void a_level_without_seats_serves_nobody_and_one_that_rejects_does_not_queue(void **state) {
        struct flow_level *jail = level_of(0, 1, 1, 5), *reject = level_of(1, 0, 0, 0);

        assert_false(flow_level_enter(jail, 1));
        assert_true(flow_level_enter(reject, 1));
        assert_false(flow_level_enter(reject, 1));
        assert_null(wait_in(reject, 1, 0));
        flow_level_leave(reject, 1);
        flow_level_unref(jail);
        flow_level_unref(reject);
}

static void levels_lend_what_they_do_not_need(void **state) {
        struct flow_level *a = level_of(100, 1, 1, 600), *b = level_of(100, 1, 1, 5), *both[] = { a, b };
        struct flow_limits m = b->limits;

        m.min = 20;
        flow_level_set(b, &m);
        for (int i = 0; i < 100; i++)
                assert_true(flow_level_enter(a, 1));
        for (int i = 0; i < 50; i++)
                assert_non_null(wait_in(a, 1, 0));
        flow_levels_adjust(both, 2, 200, now_coarse_ns() + 10 * NSEC_PER_SEC);
        settle();
        assert_int_equal(round(a->average), 150); /* all the time, but when they came */
        assert_true(a->peak == 150 && a->deviation < 10 && b->smooth_demand == 0);
        assert_true(a->smooth_demand == a->average + a->deviation);
        assert_int_equal(went[0], 50);
        assert_true(atomic_load(&a->limit) >= 150);
        assert_true(atomic_load(&b->limit) >= 20);
        assert_true(atomic_load(&a->limit) + atomic_load(&b->limit) <= 201);
        for (int i = 0; i < 150; i++)
                flow_level_leave(a, 1);
        flow_level_unref(a);
        flow_level_unref(b);
}

/* Doubled by a crowd, at most once in its own time; slowly less when it is quiet. */
static void a_level_that_refuses_much_sends_clients_away_for_longer(void **state) {
        static const struct {
                int64_t second;
                unsigned n, retry_after;
        } steps[] = { { 100, 3, 1 },  { 101, 1, 2 }, { 102, 5, 2 }, { 103, 1, 4 }, { 104, 1, 4 },
                      { 105, 20, 4 }, { 107, 1, 8 }, { 200, 1, 7 }, { 300, 1, 6 } };
        struct flow_level *l = level_of(1, 0, 0, 0);

        for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
                for (unsigned k = 0; k < steps[i].n; k++)
                        assert_int_equal(flow_level_dropped(l, steps[i].second), steps[i].retry_after);
        flow_level_unref(l);
}

/* ---- classification ---- */

static const char *schema_of(struct fixture *f, const struct flow_config *c, const char *user, const char *group,
                             struct attributes at) {
        struct str groups[] = { str_of(group), STR("system:authenticated") };
        struct api_user u = { .name = str_of(user), .groups = groups, .n_groups = 2 };
        const struct flow_schema *s = flow_config_classify(c, &u, &at);

        return s ? arena_cstr(f->a, s->name) : "(none)";
}

static void requests_find_the_schemas_of_every_cluster(void **state) {
        struct fixture *f = *state;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(f->store);
        struct flow_config *c = flow_config_load(f->s, snap, NULL);
        struct attributes pods = { "get", .resource = STR("pods"), .namespace = STR("default") };
        struct attributes nodes = { "patch", .resource = STR("nodes"), .subresource = STR("status") };
        struct attributes lease = { "update", .group = STR("coordination.k8s.io"), .resource = STR("leases"),
                                    .namespace = STR("kube-system") };
        struct attributes health = { "get", .path = STR("/readyz") }, version = { "get", .path = STR("/version") };
        struct attributes below = { "get", .path = STR("/livez/ping") }, beside = { "get", .path = STR("/livezz") };
        const char *account = "system:serviceaccount:kube-system:coredns";

        assert_string_equal(schema_of(f, c, "admin", "system:masters", pods), "exempt");
        assert_string_equal(schema_of(f, c, "jane", "dev", pods), "global-default");
        assert_string_equal(schema_of(f, c, "jane", "dev", health), "probes");
        assert_string_equal(schema_of(f, c, "jane", "dev", below), "probes");
        assert_string_equal(schema_of(f, c, "jane", "dev", beside), "global-default");
        assert_string_equal(schema_of(f, c, "jane", "dev", version), "global-default");
        assert_string_equal(schema_of(f, c, "system:node:n", "system:nodes", pods), "system-nodes");
        assert_string_equal(schema_of(f, c, "system:node:n", "system:nodes", nodes), "system-node-high");
        assert_string_equal(schema_of(f, c, "system:node:n", "system:nodes", lease), "system-node-high");
        assert_string_equal(schema_of(f, c, "system:kube-scheduler", "x", lease), "system-leader-election");
        assert_string_equal(schema_of(f, c, "system:kube-scheduler", "x", pods), "kube-scheduler");
        assert_string_equal(schema_of(f, c, account, "system:serviceaccounts", lease), "system-leader-election");
        assert_string_equal(schema_of(f, c, account, "system:serviceaccounts", pods), "kube-system-service-accounts");
        assert_string_equal(schema_of(f, c, "system:serviceaccount:a:b", "system:serviceaccounts", pods),
                            "service-accounts");
        flow_config_unref(c);
}

/* ---- objects ---- */

#define RULES                                                                                                     \
        "\"rules\":[{\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"x\"}}],\"resourceRules\":[{\"verbs\":" \
        "[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"namespaces\":[\"*\"]}]}]"

static void dangling_schemas_say_so_and_mandatory_objects_come_back(void **state) {
        struct fixture *f = *state;
        struct answer r;

        assert_int_equal(ASK(f, API_CREATE, &res_flowschemas,
                             .body = "{\"metadata\":{\"name\":\"mine\"},\"spec\":{\"priorityLevelConfiguration\":{"
                                     "\"name\":\"none\"}," RULES "}}")
                                         .code,
                         201);
        assert_int_equal(ASK(f, API_CREATE, &res_flowschemas,
                             .body = "{\"metadata\":{\"name\":\"no-rules\"},\"spec\":{\"priorityLevelConfiguration\":{"
                                     "\"name\":\"global-default\"}}}")
                                         .code,
                         201);
        assert_int_equal(ASK(f, API_DELETE, &res_flowschemas, .name = "catch-all").code, 200);
        flow_reconcile(f->s);
        for (int i = 0; i < 100; i++) { /* the status is written behind our back */
                r = ASK(f, API_GET, &res_flowschemas, .name = "mine");
                if (strcmp(at(f, r, ".status.conditions[0].status"), "True") == 0)
                        break;
                usleep(10000);
        }
        assert_string_equal(at(f, r, ".status.conditions[0].message"),
                            "This FlowSchema references the PriorityLevelConfiguration object named \"none\" but there "
                            "is no such object");
        assert_non_null(strstr(at(f, r, ".metadata.managedFields[*].manager"),
                               "api-priority-and-fairness-config-consumer-v1"));
        r = ASK(f, API_GET, &res_flowschemas, .name = "catch-all");
        assert_string_equal(at(f, r, ".status.conditions[0].reason"), "Found");
        assert_string_equal(at(f, r, ".metadata.annotations.apf\\.kubernetes\\.io/autoupdate-spec"), "true");
}

/* Another schema's message has the new name in it, too; and what nobody owns the status' writer cannot have written. */
static void a_status_follows_the_level_and_owns_no_spec(void **state) {
        struct fixture *f = *state;
        struct answer r;

        check_code(ASK(f, API_CREATE, &res_flowschemas,
                       .body = "{\"metadata\":{\"name\":\"mine\"},\"spec\":{\"priorityLevelConfiguration\":{\"name\":"
                               "\"none\"}," RULES "}}"),
                   201);
        flow_reconcile(f->s);
        for (int i = 0; i < 500; i++) {
                r = ASK(f, API_GET, &res_flowschemas, .name = "mine");
                if (strstr(at(f, r, ".status.conditions[0].message"), "\"none\""))
                        break;
                usleep(10000);
        }
        check_code(ASK(f, API_PATCH, &res_flowschemas, .name = "mine", .patch = API_PATCH_MERGE,
                       .body = "{\"metadata\":{\"managedFields\":[{}]},\"spec\":{\"priorityLevelConfiguration\":{"
                               "\"name\":\"object\"}}}"),
                   200);
        flow_reconcile(f->s);
        for (int i = 0; i < 500; i++) {
                r = ASK(f, API_GET, &res_flowschemas, .name = "mine");
                if (strstr(at(f, r, ".status.conditions[0].message"), "\"object\""))
                        break;
                usleep(10000);
        }
        assert_non_null(strstr(at(f, r, ".status.conditions[0].message"), "\"object\""));
        assert_non_null(strstr(at(f, r, ".metadata.managedFields[*].manager"), "config-consumer"));
        assert_null(strstr(at(f, r, ".metadata.managedFields"), "f:spec"));
}

/* Two servers of different minds do not write as fast as they can. */
static void a_status_is_not_written_over_and_over(void **state) {
        struct fixture *f = *state;
        int written = 0;

        for (int i = 0; i < 9; i++) {
                struct answer r = ASK(f, API_PATCH, &res_flowschemas, .name = "system-nodes", .sub = "status",
                                      .patch = API_PATCH_MERGE, .body = "{\"status\":{\"conditions\":[]}}");

                check_code(r, 200);
                flow_reconcile(f->s);
                /* the writer takes one after the other: this one comes after the status */
                ASK(f, API_PATCH, &res_namespaces, .name = "default", .patch = API_PATCH_MERGE,
                    .body = arena_printf(f->a, "{\"metadata\":{\"labels\":{\"i\":\"%d\"}}}", i).p);
                r = ASK(f, API_GET, &res_flowschemas, .name = "system-nodes");
                written += strcmp(at(f, r, ".status.conditions[0].type"), "Dangling") == 0;
        }
        assert_int_equal(written, 6);
}

#define AUTO "apf.kubernetes.io/autoupdate-spec"
#define MARK ".metadata.annotations.apf\\.kubernetes\\.io/autoupdate-spec"

static void a_suggested_object_that_somebody_took_over_stays(void **state) {
        struct fixture *f = *state;
        static const char patch[] = "{\"metadata\":{\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"%s\"}},"
                                    "\"spec\":{\"matchingPrecedence\":%d}}";

        ASK(f, API_PATCH, &res_flowschemas, .name = "service-accounts", .patch = API_PATCH_MERGE,
            .body = arena_printf(f->a, patch, "false", 8000).p);
        ASK(f, API_PATCH, &res_flowschemas, .name = "system-nodes", .patch = API_PATCH_MERGE,
            .body = arena_printf(f->a, patch, "true", 501).p);
        flow_reconcile(f->s);
        assert_string_equal(at(f, ASK(f, API_GET, &res_flowschemas, .name = "service-accounts"),
                               ".spec.matchingPrecedence"),
                            "8000");
        assert_string_equal(
                        at(f, ASK(f, API_GET, &res_flowschemas, .name = "system-nodes"), ".spec.matchingPrecedence"),
                        "500");
        /* without the annotation an edit counts, and there is one afterwards */
        ASK(f, API_PATCH, &res_flowschemas, .name = "global-default", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"annotations\":null}}");
        ASK(f, API_PATCH, &res_flowschemas, .name = "kube-scheduler", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"annotations\":{\"a\":\"b\",\"" AUTO
                    "\":null}},\"spec\":{\"matchingPrecedence\":801}}");
        ASK(f, API_PATCH, &res_flowschemas, .name = "catch-all", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"annotations\":{\"" AUTO "\":\"0\"}}}");
        ASK(f, API_CREATE, &res_flowschemas,
            .body = "{\"metadata\":{\"name\":\"old\",\"annotations\":{\"" AUTO
                    "\":\"T\"}},\"spec\":{\"priorityLevelConfiguration\":{"
                    "\"name\":\"exempt\"}}}");
        flow_reconcile(f->s);
        check(ASK(f, API_GET, &res_flowschemas, .name = "global-default"), 200, MARK, "true");
        check(ASK(f, API_GET, &res_flowschemas, .name = "kube-scheduler"), 200, MARK, "false");
        check(ASK(f, API_GET, &res_flowschemas, .name = "kube-scheduler"), 200, ".metadata.annotations.a", "b");
        check(ASK(f, API_GET, &res_flowschemas, .name = "kube-scheduler"), 200, ".spec.matchingPrecedence", "801");
        check(ASK(f, API_GET, &res_flowschemas, .name = "catch-all"), 200, MARK, "true");
        check_code(ASK(f, API_GET, &res_flowschemas, .name = "old"), 404);
}

static void objects_are_validated(void **state) {
        struct fixture *f = *state;
        static const char level[] =
                        "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"type\":\"Limited\",\"limited\":{"
                        "\"limitResponse\":{\"type\":\"Queue\",\"queuing\":{\"queues\":%d,\"handSize\":%d}}}}}";

        check_error(ASK(f, API_CREATE, &res_flowschemas,
                        .body = "{\"metadata\":{\"name\":\"mine\"},\"spec\":{\"matchingPrecedence\":1," RULES "}}"),
                    422,
                    "FlowSchema.flowcontrol.apiserver.k8s.io \"mine\" is invalid: [spec.matchingPrecedence: Invalid "
                    "value: 1: only the schema named 'exempt' may have matchingPrecedence 1, "
                    "spec.priorityLevelConfiguration.name: Required value: must reference a priority level]");
        check_error(ASK(f, API_PATCH, &res_flowschemas, .name = "mine", .patch = API_PATCH_MERGE, .body = "{}"), 404,
                    "flowschemas.flowcontrol.apiserver.k8s.io \"mine\" not found");
        check_error(ASK(f, API_CREATE, &res_prioritylevelconfigurations, .body = arena_printf(f->a, level, 8, 9).p),
                    422,
                    "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: "
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 9: should not be greater than queues "
                    "(8)");
        check_error(ASK(f, API_CREATE, &res_prioritylevelconfigurations, .body = arena_printf(f->a, level, 1024, 8).p),
                    422,
                    "PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io \"l\" is invalid: "
                    "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize "
                    "1024 and handSize 8 should not be greater than 60");
        assert_int_equal(ASK(f, API_PATCH, &res_prioritylevelconfigurations, .name = "catch-all",
                             .patch = API_PATCH_MERGE,
                             .body = "{\"spec\":{\"limited\":{\"nominalConcurrencyShares\":7}}}")
                                         .code,
                         422);
        assert_int_equal(ASK(f, API_PATCH, &res_prioritylevelconfigurations, .name = "exempt", .patch = API_PATCH_MERGE,
                             .body = "{\"spec\":{\"exempt\":{\"lendablePercent\":20}}}")
                                         .code,
                         200);
}

/* ---- metrics ---- */

static const double bounds[] = { 0.1, 1 };
static const struct metric counter = { "test_total", "Help.", METRIC_COUNTER, NULL, 0 };
static const struct metric histogram = { "test_seconds", "Help.", METRIC_HISTOGRAM, bounds, 2 };

static void label(struct buf *dst, const void *arg) {
        metric_label(dst, "a", str_of(arg));
}

static void *count(void *arg) {
        for (int i = 0; i < 1000; i++)
                series_add(metric_series(&counter, 1, label, "x\"\\\n"), 1);
        series_observe(metric_series(&histogram, 0, NULL, NULL), 0.5);
        return NULL;
}

static void numbers_of_all_threads_add_up(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        pthread_t t[4];

        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                pthread_create(&t[i], NULL, count, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                pthread_join(t[i], NULL);
        metrics_collect(&b);
        assert_true(str_search(buf_str(&b), STR("# TYPE test_total counter\ntest_total{a=\"x\\\"\\\\\\n\"} 4000\n")) >=
                    0);
        assert_true(str_search(buf_str(&b), STR("test_seconds_bucket{le=\"0.1\"} 0\ntest_seconds_bucket{le=\"1\"} 4\n"
                                                "test_seconds_bucket{le=\"+Inf\"} 4\ntest_seconds_sum 2\n"
                                                "test_seconds_count 4\n")) >= 0);
}

#define T(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_full_level_makes_wait_and_the_next_seat_is_given_on),
                cmocka_unit_test(who_gives_up_leaves_its_turn_to_others),
                cmocka_unit_test(a_wide_request_waits_for_all_its_seats_or_runs_alone),
                cmocka_unit_test(a_quiet_flow_is_not_behind_a_loud_one),
                cmocka_unit_test(slow_requests_are_charged_their_time),
                cmocka_unit_test(a_level_without_seats_serves_nobody_and_one_that_rejects_does_not_queue),
                cmocka_unit_test(levels_lend_what_they_do_not_need),
                cmocka_unit_test(a_level_that_refuses_much_sends_clients_away_for_longer),
                cmocka_unit_test(numbers_of_all_threads_add_up),
                T(requests_find_the_schemas_of_every_cluster),
                T(dangling_schemas_say_so_and_mandatory_objects_come_back),
                T(a_status_follows_the_level_and_owns_no_spec),
                T(a_suggested_object_that_somebody_took_over_stays),
                T(a_status_is_not_written_over_and_over),
                T(objects_are_validated),
        };
        int r;

        if (loop_new("test", &loop, NULL) < 0)
                return 1;
        loop_start_thread(loop);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        loop_end(loop);
        return r;
}
