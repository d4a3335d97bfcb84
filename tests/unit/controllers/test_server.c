/* All controllers together, over each transport, against a real API server: no fake but the kubelet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <unistd.h>

#include "../client/server.h"
#include "base/time.h"
#include "controllers/controller.h"
#include "json/build.h"
#include "schema/types.h"

static struct test_server server;
static struct client *client, *mine;
static struct controllers *controllers;

static int start(struct client *c) {
        struct controllers_options o = {
                .client = c, .cluster_cidr = "10.244.0.0/16", .node_cidr_mask = 24, .root_ca_pem = STR("PEM")
        };
        struct error err = ERROR_INIT;

        mine = client_new_local(server.api, &api_user_system);
        client = c;
        if (controllers_start(&o, &controllers, &err) < 0) {
                fprintf(stderr, "%s\n", error_text(&err));
                return -1;
        }
        return 0;
}

static int setup_local(void **state) {
        test_server_start(&server);
        return start(client_new_local(server.api, &api_user_system));
}

static int setup_remote(void **state) {
        struct client *c;

        test_server_start(&server);
        return client_new_kubeconfig(server.kubeconfig, "cube-controller-manager", &c, NULL) < 0 ? -1 : start(c);
}

static int teardown(void **state) {
        controllers_stop(controllers);
        client_free(client);
        client_free(mine);
        test_server_stop(&server);
        return 0;
}

static struct api_list *list(const struct api_resource *res, const char *ns) {
        struct api_list *l = NULL;

        assert_int_equal(client_list(mine, res, str_of(ns), NULL, &l, NULL), 0);
        return l;
}

static size_t count(const struct api_resource *res, const char *ns) {
        struct api_list *l = list(res, ns);
        size_t n = l->n;

        api_list_free(l);
        return n;
}

/* Waits up to 10 s; the ms it took. */
static int64_t wait_count(const struct api_resource *res, const char *ns, size_t want) {
        int64_t begin = now_mono_ms();

        while (count(res, ns) != want && now_mono_ms() - begin < 10000)
                usleep(1000);
        assert_int_equal(count(res, ns), want);
        return now_mono_ms() - begin;
}

static void make(const struct api_resource *res, const char *ns, const char *text) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct error err = ERROR_INIT;
        struct json *body;

        assert_int_equal(json_parse(a, str_of(text), NULL, &body, NULL), 0);
        if (client_create(mine, res, str_of(ns), body, NULL, &err) < 0) {
                fprintf(stderr, "%s\n", error_text(&err));
                fail();
        }
}

static void make_namespace(const char *name) {
        char text[128];

        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"%s\"}}", name);
        make(&res_namespaces, "", text);
        wait_count(&res_serviceaccounts, name, 1);
}

#define TEMPLATE(replicas)                                                                                     \
        "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"replicas\":" replicas                                    \
        ",\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"                                                   \
        "\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\"," \
        "\"image\":\"i\"}]}}}}"

/* The kubelet of all nodes: every pod runs and is ready. */
static void run_pods(const char *ns) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct api_list *pods = list(&res_pods, ns);
        struct client_request *requests = arena_array(a, struct client_request, pods->n + 1);
        int64_t now = now_wall_ns();
        size_t n = 0;

        for (size_t i = 0; i < pods->n; i++)
                requests[n++] = (struct client_request) {
                        .verb = API_PATCH,
                        .resource = &res_pods,
                        .namespace = str_of(ns),
                        .name = object_name(pods->items[i]),
                        .subresource = STR("status"),
                        .patch = API_PATCH_MERGE,
                        .body = json_new(a, json_build(a,
                                                       "{ status: { phase: 'Running', podIP: %s, podIPs: [ { ip: %s } "
                                                       "], conditions: [ { type: 'Ready',"
                                                       "  status: 'True', lastTransitionTime: %t } ] } }",
                                                       arena_printf(a, "10.0.0.%zu", i + 1),
                                                       arena_printf(a, "10.0.0.%zu", i + 1), now)),
                };
        client_batch(mine, requests, n, NULL, NULL, NULL);
        api_list_free(pods);
}

static int64_t wait_available(const char *ns, int64_t want) {
        int64_t begin = now_mono_ms(), available = 0;

        while (available != want && now_mono_ms() - begin < 10000) {
                _cleanup_(object_unrefp) struct object *d = NULL;

                assert_int_equal(client_get(mine, &res_deployments, str_of(ns), STR("web"), &d, NULL), 0);
                available = json_int(json_at_path(object_json(d), "status", "availableReplicas"));
                usleep(1000);
        }
        assert_int_equal(available, want);
        return now_mono_ms() - begin;
}

static void a_deployment_comes_up_and_goes_with_all_it_made(void **state) {
        int64_t created, ready;

        make_namespace("one");
        make(&res_services, "one",
             "{\"metadata\":{\"name\":\"web\"},\"spec\":{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80}]}}");
        make(&res_deployments, "one", TEMPLATE("30"));
        created = wait_count(&res_pods, "one", 30);
        run_pods("one");
        ready = wait_available("one", 30);
        print_message("30 pods created in %lld ms, all counted ready in %lld ms\n", (long long) created,
                      (long long) ready);
        wait_count(&res_endpointslices, "one", 1);
        assert_int_equal(client_delete(mine, &res_deployments, STR("one"), STR("web"), NULL, NULL), 0);
        wait_count(&res_replicasets, "one", 0);
        wait_count(&res_pods, "one", 0);
}

static void a_namespace_goes_with_everything_in_it(void **state) {
        make_namespace("two");
        make(&res_deployments, "two", TEMPLATE("3"));
        wait_count(&res_pods, "two", 3);
        assert_int_equal(client_delete(mine, &res_namespaces, STR(""), STR("two"), NULL, NULL), 0);
        for (int i = 0; i < 1000; i++) {
                if (client_get(mine, &res_namespaces, STR(""), STR("two"), NULL, NULL) < 0)
                        return;
                usleep(10000);
        }
        fail();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_deployment_comes_up_and_goes_with_all_it_made),
                cmocka_unit_test(a_namespace_goes_with_everything_in_it),
        };
        int failed = cmocka_run_group_tests_name("in-process", tests, setup_local, teardown);

        return failed + cmocka_run_group_tests_name("https", tests, setup_remote, teardown);
}
