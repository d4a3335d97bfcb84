/* Both transports against a real server: a role cannot tell them apart. Every test runs over each. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/time.h"
#include "client/events.h"
#include "client/informer.h"
#include "json/build.h"
#include "schema/types.h"
#include "server.h"

struct fixture {
        struct test_server server;
        struct client *client;
};

static struct fixture fixture;

static int setup_local(void **state) {
        test_server_start(&fixture.server);
        fixture.client = client_new_local(fixture.server.api, &api_user_system);
        return 0;
}

static int setup_remote(void **state) {
        struct error err = ERROR_INIT;

        test_server_start(&fixture.server);
        if (client_new_kubeconfig(fixture.server.kubeconfig, "test/1", &fixture.client, &err) < 0) {
                fprintf(stderr, "%s\n", error_text(&err));
                return -1;
        }
        return 0;
}

static int teardown(void **state) {
        client_free(fixture.client);
        test_server_stop(&fixture.server);
        return 0;
}

static struct json config_map(struct arena *a, const char *name, const char *value) {
        return json_build(a,
                          "{ kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: %c, namespace: 'default' }, data: "
                          "{ k: %c } }",
                          name, value);
}

static void create(const char *name, const char *value) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json body = config_map(a, name, value);

        assert_int_equal(client_create(fixture.client, &res_configmaps, STR("default"), &body, NULL, NULL), 0);
}

static void objects_are_made_read_changed_and_deleted(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *made = NULL, *read = NULL, *changed = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json body = config_map(a, "crud", "1"), patch = json_build(a, "{ data: { k: '2' } }");

        assert_int_equal(client_create(fixture.client, &res_configmaps, STR("default"), &body, &made, &err), 0);
        assert_true(object_uid(made).n == 36 && object_revision(made) > 0);
        assert_int_equal(client_create(fixture.client, &res_configmaps, STR("default"), &body, NULL, &err), -EEXIST);
        assert_string_equal(error_text(&err), "configmaps \"crud\" already exists");
        error_clear(&err);
        assert_int_equal(client_get(fixture.client, &res_configmaps, STR("default"), STR("crud"), &read, &err), 0);
        assert_true(object_revision(read) == object_revision(made));
        assert_true(str_eqc(json_str(json_getc(object_json(read), "kind")), "ConfigMap"));
        assert_int_equal(client_patch(fixture.client, &res_configmaps, STR("default"), STR("crud"), STR(""),
                                      API_PATCH_MERGE, &patch, &changed, &err),
                         0);
        assert_true(str_eqc(json_str(json_at_path(object_json(changed), "data", "k")), "2"));
        /* made's revision is old by now */
        assert_int_equal(client_update(fixture.client, &res_configmaps, STR(""), object_json(made), NULL, &err),
                         -EAGAIN);
        assert_int_equal(err.reason, REASON_CONFLICT);
        error_clear(&err);
        assert_int_equal(client_delete(fixture.client, &res_configmaps, STR("default"), STR("crud"), NULL, &err), 0);
        assert_int_equal(client_get(fixture.client, &res_configmaps, STR("default"), STR("crud"), NULL, &err), -ENOENT);
        assert_string_equal(error_text(&err), "configmaps \"crud\" not found");
        assert_int_equal(err.code, 404);
}

static void an_invalid_object_is_told_with_its_causes(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json body = config_map(a, "Not A Name", "1");

        assert_int_equal(client_create(fixture.client, &res_configmaps, STR("default"), &body, NULL, &err), -EINVAL);
        assert_int_equal(err.reason, REASON_INVALID);
        assert_true(err.n_causes >= 1);
        assert_string_equal(err.causes[0].field, "metadata.name");
        assert_string_equal(err.kind, "ConfigMap");
}

static void lists_are_selected_and_carry_their_kind(void **state) {
        struct api_options o = API_OPTIONS_INIT;
        struct api_list *list;

        create("list-a", "1");
        create("list-b", "1");
        o.field_selector = STR("metadata.name=list-b");
        assert_int_equal(client_list(fixture.client, &res_configmaps, STR("default"), &o, &list, NULL), 0);
        assert_int_equal(list->n, 1);
        assert_true(str_eqc(object_name(list->items[0]), "list-b"));
        assert_true(str_eqc(json_str(json_getc(object_json(list->items[0]), "kind")), "ConfigMap"));
        assert_true(object_revision(list->items[0]) > 0 && list->revision >= object_revision(list->items[0]));
        api_list_free(list);
}

static void a_batch_goes_out_at_once_and_reports_each(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct client_request requests[300];
        struct json bodies[300];
        int results[300];
        struct error errors[300] = { 0 };

        for (size_t i = 0; i < 300; i++) {
                char name[32];

                snprintf(name, sizeof(name), "batch-%zu", i == 299 ? 0 : i);
                bodies[i] = config_map(a, arena_cstr(a, str_of(name)), "1");
                requests[i] = (struct client_request) {
                        .verb = API_CREATE, .resource = &res_configmaps, .namespace = STR("default"), .body = &bodies[i]
                };
        }
        assert_int_equal(client_batch(fixture.client, requests, 300, results, errors, NULL), 1);
        assert_int_equal(results[5], 0);
        assert_int_equal(results[299], -EEXIST);
        for (size_t i = 0; i < 300; i++)
                error_clear(&errors[i]);
}

/* ---- on a loop ---- */

struct seen {
        struct loop *loop;
        struct informer_factory *factory;
        struct informer *informer;
        atomic_int added, changed, deleted, synced;
        sem_t done;
};

static void wait_for(atomic_int *n, int want) {
        for (int i = 0; i < 500 && atomic_load(n) < want; i++)
                usleep(10000);
        assert_int_equal(atomic_load(n), want);
}

static void on_change(struct object *old, struct object *new, void *arg) {
        struct seen *s = arg;

        if (!str_has_prefix(object_name(new ? new : old), STR("inf-")))
                return;
        atomic_fetch_add(!old ? &s->added : !new ? &s->deleted : &s->changed, 1);
}

static void on_synced(void *arg) {
        struct seen *s = arg;

        atomic_store(&s->synced, 1);
}

static void informer_begin(void *arg) {
        struct seen *s = arg;

        s->factory = informer_factory_new(fixture.client, s->loop);
        s->informer = informer_of(s->factory, &res_configmaps);
        assert_ptr_equal(s->informer, informer_of(s->factory, &res_configmaps));
        informer_add_handler(s->informer, on_change, s);
        informer_on_synced(s->informer, on_synced, s);
        informer_factory_start(s->factory);
}

static void informer_end(void *arg) {
        struct seen *s = arg;

        informer_factory_free(s->factory);
}

static void an_informer_follows(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct seen s = { 0 };
        struct json patch = json_build(a, "{ data: { k: '2' } }");

        create("inf-before", "1");
        assert_int_equal(loop_new("informer", &s.loop, NULL), 0);
        loop_start_thread(s.loop);
        loop_call_sync(s.loop, informer_begin, &s);
        wait_for(&s.synced, 1);
        wait_for(&s.added, 1);
        create("inf-after", "1");
        wait_for(&s.added, 2);
        assert_int_equal(client_patch(fixture.client, &res_configmaps, STR("default"), STR("inf-after"), STR(""),
                                      API_PATCH_MERGE, &patch, NULL, NULL),
                         0);
        wait_for(&s.changed, 1);
        assert_int_equal(client_delete(fixture.client, &res_configmaps, STR("default"), STR("inf-before"), NULL, NULL),
                         0);
        wait_for(&s.deleted, 1);
        loop_call_sync(s.loop, informer_end, &s);
        loop_end(s.loop);
}

/* A loop that blocks in a call while its own informer has events waiting: nothing may wait for the loop. */
static void block_often(void *arg) {
        for (int i = 0; i < 50; i++) {
                char name[32];

                snprintf(name, sizeof(name), "inf-block-%d", i);
                create(name, "1");
        }
}

static void a_loop_may_block_in_calls(void **state) {
        struct seen s = { 0 };

        assert_int_equal(loop_new("blocker", &s.loop, NULL), 0);
        loop_start_thread(s.loop);
        loop_call_sync(s.loop, informer_begin, &s);
        wait_for(&s.synced, 1);
        atomic_store(&s.added, 0);
        loop_call_sync(s.loop, block_often, &s);
        wait_for(&s.added, 50);
        loop_call_sync(s.loop, informer_end, &s);
        loop_end(s.loop);
}

static void async_done(int result, struct object *object, const struct error *error, void *arg) {
        struct seen *s = arg;

        assert_int_equal(result, 0);
        assert_true(loop_is_current(s->loop));
        assert_true(str_eqc(object_name(object), "async"));
        sem_post(&s->done);
}

static void an_asynchronous_call_answers_on_its_loop(void **state) {
        struct seen s = { 0 };

        sem_init(&s.done, 0, 0);
        assert_int_equal(loop_new("async", &s.loop, NULL), 0);
        loop_start_thread(s.loop);
        {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct json body = config_map(a, "async", "1");

                client_async(fixture.client,
                             &(struct client_request) { .verb = API_CREATE,
                                                        .resource = &res_configmaps,
                                                        .namespace = STR("default"),
                                                        .body = &body },
                             s.loop, async_done, &s);
        } /* everything was copied */
        sem_wait(&s.done);
        loop_end(s.loop);
        sem_destroy(&s.done);
}

static void equal_events_are_counted_not_repeated(void **state) {
        struct event_recorder *er = event_recorder_new(fixture.client, "tester", "host-1");
        _cleanup_(object_unrefp) struct object *about = NULL;
        struct api_options o = API_OPTIONS_INIT;
        struct api_list *list;

        create("evented", "1");
        assert_int_equal(client_get(fixture.client, &res_configmaps, STR("default"), STR("evented"), &about, NULL), 0);
        for (int i = 0; i < 5; i++)
                event_record(er, &res_configmaps, about, NULL, "Normal", "Happened", "it happened %d", 1);
        event_recorder_free(er);
        o.field_selector = STR("involvedObject.name=evented");
        assert_int_equal(client_list(fixture.client, &res_events, STR("default"), &o, &list, NULL), 0);
        assert_int_equal(list->n, 1);
        assert_int_equal(json_int(json_getc(object_json(list->items[0]), "count")), 5);
        assert_true(str_eqc(json_str(json_getc(object_json(list->items[0]), "message")), "it happened 1"));
        assert_true(str_eqc(json_str(json_at_path(object_json(list->items[0]), "source", "component")), "tester"));
        api_list_free(list);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(objects_are_made_read_changed_and_deleted),
                cmocka_unit_test(an_invalid_object_is_told_with_its_causes),
                cmocka_unit_test(lists_are_selected_and_carry_their_kind),
                cmocka_unit_test(a_batch_goes_out_at_once_and_reports_each),
                cmocka_unit_test(an_informer_follows),
                cmocka_unit_test(a_loop_may_block_in_calls),
                cmocka_unit_test(an_asynchronous_call_answers_on_its_loop),
                cmocka_unit_test(equal_events_are_counted_not_repeated),
        };
        int failed = cmocka_run_group_tests_name("in-process", tests, setup_local, teardown);

        return failed + cmocka_run_group_tests_name("https", tests, setup_remote, teardown);
}
