/* The scheduler's parts: what a pod asks for, where it fits, which node is best, and in which order pods are tried. */
#include "../test.h"

#include "base/time.h"
#include "scheduler/framework.h"

static int64_t fake_now_ms = 1;
static int64_t fake_ns(const struct clock *c) {
        return fake_now_ms * NSEC_PER_MSEC;
}
static const struct clock fake_clock = { fake_ns, fake_ns };

static struct object *object(const char *text) {
        struct object *o = NULL;
        assert_int_equal(object_from_text(str_of(text), 1, &o, NULL), 0);
        return o;
}

static struct pod_info *pod(const char *name, const char *spec) {
        _cleanup_free_ char *text =
                        xprintf("{\"metadata\":{\"name\":\"%s\",\"namespace\":\"d\",\"uid\":\"u-%s\"},\"spec\":%s}",
                                name, name, spec);
        _cleanup_(object_unrefp) struct object *o = object(text);
        return pod_info_new(o);
}

static void add_node(struct cache *c, const char *name, const char *labels, const char *spec, const char *cpu,
                     const char *memory) {
        _cleanup_free_ char *text = xprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":%s},\"spec\":%s,\"status\":{"
                                            "\"allocatable\":{\"cpu\":\"%s\",\"memory\":\"%s\","
                                            "\"pods\":\"3\",\"example.com/gpu\":\"1\"}}}",
                                            name, labels, spec, cpu, memory);
        _cleanup_(object_unrefp) struct object *o = object(text);
        cache_set_node(c, o);
}

/* Schedules the pod and checks the node's name, or the whole message when none fits. */
static void expect(struct cache *c, struct pod_info *p, const char *node, const char *message) {
        struct diagnosis d = { .counts = map_new(NULL) };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct node_info *n = schedule_one(c, p, &d);
        if (!n)
                diagnosis_print(&d, &b);
        buf_putc(&b, 0);
        if (message)
                assert_string_equal(b.p, message);
        if (node) {
                assert_non_null(n);
                assert_true(str_eqc(n->name, node));
        } else {
                assert_null(n);
        }
        map_free(d.counts);
}

static void assume(struct cache *c, struct pod_info *p, const char *node) {
        struct node_info *n = map_get(c->by_name, str_of(node));
        p->node_name = n->name;
        cache_add_pod(c, p);
}

#define ASKS(cpu, mem) "{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"" cpu "\",\"memory\":\"" mem "\"}}}]}"

static void requests_are_the_most_the_pod_can_use_at_once(void **state) {
        struct pod_info *p = pod("p", "{\"containers\":[{\"resources\":{\"requests\":{\"cpu\":\"100m\"}}},{"
                                      "\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],"
                                      "\"initContainers\":[{\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{"
                                      "\"cpu\":\"200m\"}}},"
                                      "{\"resources\":{\"requests\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}}],\"overhead\":"
                                      "{\"cpu\":\"10m\"}}");
        assert_int_equal(p->requests.milli_cpu,
                         2200 + 10); /* the init container beside the sidecar, and the overhead */
        assert_int_equal(p->requests.memory, 1 << 30);
        pod_info_free(p);
        p = pod("idle", "{\"containers\":[{}]}");
        assert_int_equal(p->requests.milli_cpu, 0);
        assert_int_equal(p->nonzero_cpu, 100);
        pod_info_free(p);
}

static void each_filter_says_why_in_upstreams_words(void **state) {
        struct cache c;
        cache_init(&c);
        add_node(&c, "cordoned", "{}", "{\"unschedulable\":true}", "4", "8Gi");
        add_node(&c, "tainted", "{}",
                 "{\"taints\":[{\"key\":\"dedicated\",\"value\":\"gpu\",\"effect\":\"NoSchedule\"}]}", "4", "8Gi");
        add_node(&c, "small", "{\"disk\":\"ssd\"}", "{}", "1", "1Gi");
        struct pod_info *p = pod("p", ASKS("2", "4Gi"));
        expect(&c, p, NULL,
               "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint "
               "{dedicated: gpu}, "
               "1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
               "scheduling.");
        pod_info_free(p);
        p = pod("p", "{\"containers\":[{}],\"nodeSelector\":{\"disk\":\"hdd\"},\"tolerations\":[{\"operator\":"
                     "\"Exists\"}]}");
        expect(&c, p, NULL,
               "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes "
               "are available: "
               "3 Preemption is not helpful for scheduling.");
        pod_info_free(p);
        p = pod("p",
                "{\"containers\":[{}],\"tolerations\":[{\"key\":\"dedicated\",\"value\":\"gpu\",\"effect\":"
                "\"NoSchedule\"}],"
                "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
                "\"nodeSelectorTerms\":["
                "{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"tainted\"]}]}]}}}}");
        expect(&c, p, "tainted", NULL);
        pod_info_free(p);
        cache_free(&c);
}

static void a_pod_counts_from_the_decision_on(void **state) {
        struct cache c;
        cache_init(&c);
        add_node(&c, "n", "{}", "{}", "1", "1Gi");
        struct pod_info *a = pod("a", ASKS("600m", "1Mi")), *b = pod("b", ASKS("600m", "1Mi"));
        expect(&c, a, "n", NULL);
        assume(&c, a, "n");
        expect(&c, b, NULL,
               "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption "
               "victims found "
               "for incoming pod.");
        assert_true(cache_remove_pod(&c, STR("u-a")));
        expect(&c, b, "n", NULL);
        pod_info_free(b);
        cache_free(&c);
}

static void host_ports_scalars_and_pod_counts_are_limits(void **state) {
        struct cache c;
        cache_init(&c);
        add_node(&c, "n", "{}", "{}", "8", "8Gi");
        const char *port = "{\"containers\":[{\"ports\":[{\"containerPort\":80,\"hostPort\":8080}]}]}";
        const char *gpu = "{\"containers\":[{\"resources\":{\"requests\":{\"example.com/gpu\":\"1\"}}}]}";
        assume(&c, pod("a", port), "n");
        struct pod_info *p = pod("b", port);
        expect(&c, p, NULL,
               "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 "
               "nodes are "
               "available: 1 No preemption victims found for incoming pod.");
        pod_info_free(p);
        assume(&c, pod("c", gpu), "n");
        p = pod("d", gpu);
        expect(&c, p, NULL,
               "0/1 nodes are available: 1 Insufficient example.com/gpu. preemption: 0/1 nodes are available: 1 No "
               "preemption "
               "victims found for incoming pod.");
        pod_info_free(p);
        assume(&c, pod("e", "{\"containers\":[{}]}"), "n");
        p = pod("f", "{\"containers\":[{}]}");
        expect(&c, p, NULL,
               "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims "
               "found for "
               "incoming pod.");
        pod_info_free(p);
        cache_free(&c);
}

static void the_least_used_and_the_preferred_node_wins(void **state) {
        struct cache c;
        cache_init(&c);
        add_node(&c, "busy", "{}", "{}", "4", "4Gi");
        add_node(&c, "free", "{}", "{}", "4", "4Gi");
        assume(&c, pod("a", ASKS("2", "2Gi")), "busy");
        struct pod_info *p = pod("b", ASKS("1", "1Gi"));
        expect(&c, p, "free", NULL);
        pod_info_free(p);
        add_node(&c, "busy", "{\"zone\":\"a\"}", "{}", "4", "4Gi");
        p = pod("c", "{\"containers\":[{}],\"affinity\":{\"nodeAffinity\":{"
                     "\"preferredDuringSchedulingIgnoredDuringExecution\":["
                     "{\"weight\":100,\"preference\":{\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"In\","
                     "\"values\":[\"a\"]}]}}]}}}");
        expect(&c, p, "busy", NULL);
        pod_info_free(p);
        cache_free(&c);
}

static void no_nodes_is_said_plainly(void **state) {
        struct cache c;
        cache_init(&c);
        struct pod_info *p = pod("p", "{\"containers\":[{}]}");
        expect(&c, p, NULL, "no nodes available to schedule pods");
        pod_info_free(p);
        cache_free(&c);
}

static void the_queue_gives_priority_then_age(void **state) {
        struct queue q;
        queue_init(&q, &fake_clock);
        const char *specs[] = { "{\"priority\":0}", "{\"priority\":10}", "{\"priority\":0}" };
        const char *names[] = { "first", "urgent", "second" }, *order[] = { "u-urgent", "u-first", "u-second" };
        for (int i = 0; i < 3; i++) {
                fake_now_ms++;
                queue_put(&q, pod(names[i], specs[i]));
        }
        for (int i = 0; i < 3; i++) {
                struct pod_info *p = queue_pop(&q);
                assert_true(str_eqc(p->uid, order[i]));
                pod_info_free(p);
        }
        assert_null(queue_pop(&q));
        queue_free(&q);
}

static void a_failed_pod_waits_for_a_change_and_its_back_off(void **state) {
        struct queue q;
        queue_init(&q, &fake_clock);
        queue_put(&q, pod("p", "{}"));
        for (int64_t wait = 1000; wait <= 16000; wait *= 2) {
                struct pod_info *p = queue_pop(&q);
                assert_non_null(p);
                queue_retry(&q, p, true);
                assert_int_equal(queue_flush_backoff(&q), -1); /* unschedulable: time alone does not help */
                assert_null(queue_pop(&q));
                queue_move_all(&q);
                assert_null(queue_pop(&q));
                fake_now_ms += MIN(wait, 10000) - 1;
                assert_int_equal(queue_flush_backoff(&q), 1);
                fake_now_ms += 1;
                queue_flush_backoff(&q);
        }
        queue_remove(&q, STR("u-p"));
        assert_null(queue_pop(&q));
        queue_free(&q);
}

static void a_changed_pod_is_tried_anew_an_unchanged_one_keeps_its_place(void **state) {
        struct queue q;
        queue_init(&q, &fake_clock);
        queue_put(&q, pod("p", "{\"nodeSelector\":{\"a\":\"b\"}}"));
        queue_retry(&q, queue_pop(&q), true);
        fake_now_ms += 60000;
        queue_put(&q, pod("p", "{\"nodeSelector\":{\"a\":\"b\"}}"));
        assert_null(queue_pop(&q));
        queue_put(&q, pod("p", "{}"));
        struct pod_info *p = queue_pop(&q);
        assert_non_null(p);
        pod_info_free(p);
        queue_free(&q);
}

static void a_volume_leaves_the_nodes_that_may_have_it(void **state) {
        struct cache c;
        struct pod_info *p = pod("p", "{\"containers\":[{}]}");
        struct arena *a = arena_new(512);
        struct json *term;

        cache_init(&c);
        add_node(&c, "far", "{\"zone\":\"a\"}", "{}", "4", "8Gi");
        expect(&c, p, "far", NULL);
        assert_int_equal(json_parse(a,
                                    STR("{\"matchExpressions\":[{\"key\":\"zone\",\"operator\":\"In\",\"values\":["
                                        "\"b\"]}]}"),
                                    NULL, &term, NULL),
                         0);
        vec_push(&p->volume_needs, (struct volume_need) { .reason = "no volume here" });
        vec_push(&p->volume_needs.v[0].terms, pod_info_term(p->arena, term));
        expect(&c, p, NULL,
               "0/1 nodes are available: 1 no volume here. preemption: 0/1 nodes are available: 1 Preemption is not "
               "helpful for scheduling.");
        add_node(&c, "near", "{\"zone\":\"b\"}", "{}", "4", "8Gi");
        expect(&c, p, "near", NULL);
        pod_info_free(p);
        arena_free(a);
        cache_free(&c);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_volume_leaves_the_nodes_that_may_have_it),
                cmocka_unit_test(requests_are_the_most_the_pod_can_use_at_once),
                cmocka_unit_test(each_filter_says_why_in_upstreams_words),
                cmocka_unit_test(a_pod_counts_from_the_decision_on),
                cmocka_unit_test(host_ports_scalars_and_pod_counts_are_limits),
                cmocka_unit_test(the_least_used_and_the_preferred_node_wins),
                cmocka_unit_test(no_nodes_is_said_plainly),
                cmocka_unit_test(the_queue_gives_priority_then_age),
                cmocka_unit_test(a_failed_pod_waits_for_a_change_and_its_back_off),
                cmocka_unit_test(a_changed_pod_is_tried_anew_an_unchanged_one_keeps_its_place),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
