/* The client's parts by themselves: workqueue, informers over a fake API, kubeconfigs, what goes over the wire. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "client/informer.h"
#include "client/kubeconfig.h"
#include "client/wire.h"
#include "client/workqueue.h"
#include "fake_api.h"
#include "json/build.h"
#include "schema/types.h"

/* ---- workqueue ---- */

struct queue_test {
        struct loop *loop;
        struct workqueue *q;
        struct fake_clock clock;
        char worked[256];
        int result;
        const char *add_while_working;
};

static int work(struct str key, void *arg) {
        struct queue_test *t = arg;

        snprintf(t->worked + strlen(t->worked), sizeof(t->worked) - strlen(t->worked), "%" STR_FMT " ", STR_ARG(key));
        if (t->add_while_working)
                workqueue_add(t->q, str_of(t->add_while_working));
        t->add_while_working = NULL;
        return t->result;
}

static void turn(struct loop *loop) {
        for (int i = 0; i < 30; i++)
                uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

static void queue_begin(struct queue_test *t) {
        memset(t, 0, sizeof(*t));
        fake_clock_init(&t->clock);
        assert_int_equal(loop_new("queue", &t->loop, NULL), 0);
        t->q = workqueue_new(t->loop, "test", work, t);
        workqueue_set_clock(t->q, &t->clock.clock);
}

static void queue_end(struct queue_test *t) {
        workqueue_free(t->q);
        loop_free(t->loop);
}

static void a_key_is_in_the_queue_once(void **state) {
        struct queue_test t;

        queue_begin(&t);
        workqueue_add(t.q, STR("a"));
        workqueue_add(t.q, STR("b"));
        workqueue_add(t.q, STR("a"));
        turn(t.loop);
        assert_string_equal(t.worked, "a b ");
        queue_end(&t);
}

static void a_key_added_while_it_is_worked_on_comes_again(void **state) {
        struct queue_test t;

        queue_begin(&t);
        t.add_while_working = "a";
        workqueue_add(t.q, STR("a"));
        turn(t.loop);
        assert_string_equal(t.worked, "a a ");
        queue_end(&t);
}

static void failures_come_back_later_each_time(void **state) {
        struct queue_test t;

        queue_begin(&t);
        t.result = -EIO;
        workqueue_add(t.q, STR("a"));
        turn(t.loop);
        for (int i = 0; i < 4; i++) { /* 5, 10, 20, 40 ms */
                assert_int_equal(workqueue_tick(t.q), (5LL << i) * NSEC_PER_MSEC);
                t.clock.ns += (5LL << i) * NSEC_PER_MSEC;
                assert_int_equal(workqueue_tick(t.q), -1);
                turn(t.loop);
        }
        assert_string_equal(t.worked, "a a a a a ");
        t.result = 0;
        t.clock.ns += NSEC_PER_SEC;
        workqueue_tick(t.q);
        turn(t.loop);
        assert_int_equal(workqueue_tick(t.q), -1); /* forgotten */
        queue_end(&t);
}

static void delays_keep_their_order(void **state) {
        struct queue_test t;

        queue_begin(&t);
        workqueue_add_after(t.q, STR("c"), 3000);
        workqueue_add_after(t.q, STR("a"), 1000);
        workqueue_add_after(t.q, STR("b"), 2000);
        workqueue_add_after(t.q, STR("a"), 9000); /* the earlier wish stands */
        for (int i = 0; i < 3; i++) {
                t.clock.ns += NSEC_PER_SEC;
                workqueue_tick(t.q);
                turn(t.loop);
        }
        assert_string_equal(t.worked, "a b c ");
        queue_end(&t);
}

static void nothing_is_handed_out_while_paused(void **state) {
        struct queue_test t;

        queue_begin(&t);
        workqueue_pause(t.q, true);
        workqueue_add(t.q, STR("a"));
        turn(t.loop);
        assert_string_equal(t.worked, "");
        workqueue_pause(t.q, false);
        turn(t.loop);
        assert_string_equal(t.worked, "a ");
        queue_end(&t);
}

static void real_timers_fire(void **state) {
        struct queue_test t;

        queue_begin(&t);
        workqueue_set_clock(t.q, &system_clock);
        workqueue_add_after(t.q, STR("a"), 20);
        for (int i = 0; i < 200 && !*t.worked; i++)
                uv_run(loop_uv(t.loop), UV_RUN_ONCE);
        assert_string_equal(t.worked, "a ");
        queue_end(&t);
}

/* ---- informers ---- */

struct seen {
        int added, changed, deleted;
};

static void on_change(struct object *old, struct object *new, void *arg) {
        struct seen *s = arg;

        ++*(!old ? &s->added : !new ? &s->deleted : &s->changed);
}

struct informer_test {
        struct fake_api *api;
        struct client *client;
        struct loop *loop;
        struct informer_factory *factory;
        struct informer *informer;
        struct seen seen;
};

static void informer_begin(struct informer_test *t) {
        memset(t, 0, sizeof(*t));
        t->api = fake_api_new(NULL);
        t->client = fake_api_client(t->api);
        assert_int_equal(loop_new("informer", &t->loop, NULL), 0);
        t->factory = informer_factory_new(t->client, t->loop);
        t->informer = informer_of(t->factory, &res_configmaps);
        informer_add_handler(t->informer, on_change, &t->seen);
        for (int i = 0; i < 3; i++)
                fake_api_create(t->api, &res_configmaps, "ns", "{'metadata':{'name':'m%d','labels':{'n':'%d'}}}", i,
                                i % 2);
        informer_factory_start(t->factory);
        fake_settle(t->api, t->loop);
        assert_true(informer_synced(t->informer));
        assert_int_equal(t->seen.added, 3);
}

static void informer_end(struct informer_test *t) {
        informer_factory_free(t->factory);
        loop_free(t->loop);
        client_free(t->client);
        fake_api_free(t->api);
}

static void an_expired_watch_lists_again_and_misses_nothing(void **state) {
        struct informer_test t;

        informer_begin(&t);
        fake_api_expire_watches(t.api);
        fake_api_create(t.api, &res_configmaps, "ns", "{'metadata':{'name':'new'}}");
        fake_api_delete(t.api, &res_configmaps, "ns", "m0", NULL);
        fake_api_patch(t.api, &res_configmaps, "ns", "m1", "", "{'data':{'a':'b'}}");
        fake_settle(t.api, t.loop);
        assert_int_equal(t.seen.added, 4);
        assert_int_equal(t.seen.deleted, 1);
        assert_int_equal(t.seen.changed, 1);
        assert_int_equal(informer_count(t.informer), 3);
        informer_end(&t);
}

static void a_failed_list_is_tried_again(void **state) {
        struct informer_test t;

        informer_begin(&t);
        fake_api_fail(t.api, API_LIST, &res_configmaps, REASON_UNAVAILABLE, "not now", 2);
        fake_api_expire_watches(t.api);
        fake_api_create(t.api, &res_configmaps, "ns", "{'metadata':{'name':'new'}}");
        for (int i = 0; i < 100 && t.seen.added < 4; i++) {
                usleep(10000);
                fake_settle(t.api, t.loop);
        }
        assert_int_equal(t.seen.added, 4);
        informer_end(&t);
}

static void a_handler_that_comes_late_hears_of_what_is_there(void **state) {
        struct informer_test t;
        struct seen late = { 0 };

        informer_begin(&t);
        informer_add_handler(t.informer, on_change, &late);
        assert_int_equal(late.added, 0);
        fake_settle(t.api, t.loop);
        assert_int_equal(late.added, 3);
        assert_int_equal(t.seen.added, 3);
        informer_end(&t);
}

static void by_label_n(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        struct str n = object_label(o, STR("n"));

        if (n.p)
                emit(ctx, n);
}

static void an_index_follows_changes(void **state) {
        struct informer_test t;
        struct informer_index *x;
        struct object *const *found;

        informer_begin(&t);
        x = informer_add_index(t.informer, "n", by_label_n);
        assert_int_equal(informer_index_get(x, STR("0"), &found), 2);
        assert_int_equal(informer_index_get(x, STR("1"), &found), 1);
        fake_api_patch(t.api, &res_configmaps, "ns", "m0", "", "{'metadata':{'labels':{'n':'1'}}}");
        fake_api_delete(t.api, &res_configmaps, "ns", "m1", NULL);
        fake_settle(t.api, t.loop);
        assert_int_equal(informer_index_get(x, STR("0"), &found), 1);
        assert_int_equal(informer_index_get(x, STR("1"), &found), 1);
        assert_true(str_eqc(object_name(found[0]), "m0"));
        informer_end(&t);
}

static void a_note_is_there_before_the_watch_speaks(void **state) {
        struct informer_test t;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *made = NULL;
        struct json body = json_build(a, "{ metadata: { name: 'noted', namespace: 'ns' } }");

        informer_begin(&t);
        assert_int_equal(client_create(t.client, &res_configmaps, STR("ns"), &body, &made, NULL), 0);
        informer_note(t.informer, made);
        assert_null(informer_get(t.informer, STR("ns/noted"))); /* not within this turn */
        fake_settle(t.api, t.loop);
        assert_non_null(informer_get(t.informer, STR("ns/noted")));
        assert_int_equal(t.seen.added, 4); /* told once */
        informer_end(&t);
}

static void a_late_note_brings_nothing_back(void **state) {
        struct informer_test t;
        _cleanup_(object_unrefp) struct object *old = NULL;

        informer_begin(&t);
        old = object_ref(fake_api_get(t.api, &res_configmaps, "ns", "m0"));
        fake_api_delete(t.api, &res_configmaps, "ns", "m0", NULL);
        fake_settle(t.api, t.loop);
        informer_note(t.informer, old);
        fake_settle(t.api, t.loop);
        assert_null(informer_get(t.informer, STR("ns/m0")));
        /* nor does word of the end of one object take another of the same name */
        fake_api_create(t.api, &res_configmaps, "ns", "{'metadata':{'name':'m0'}}");
        fake_settle(t.api, t.loop);
        informer_note_gone(t.informer, STR("ns/m0"), object_uid(old));
        fake_settle(t.api, t.loop);
        assert_non_null(informer_get(t.informer, STR("ns/m0")));
        informer_end(&t);
}

static void the_same_name_with_another_uid_is_a_deletion_and_an_addition(void **state) {
        struct informer_test t;

        informer_begin(&t);
        fake_api_expire_watches(t.api);
        fake_api_delete(t.api, &res_configmaps, "ns", "m0", NULL);
        fake_api_create(t.api, &res_configmaps, "ns", "{'metadata':{'name':'m0'}}");
        fake_settle(t.api, t.loop);
        assert_int_equal(t.seen.deleted, 1);
        assert_int_equal(t.seen.added, 4);
        assert_int_equal(t.seen.changed, 0);
        informer_end(&t);
}

/* ---- kubeconfigs ---- */

static char dir[64];

static int make_dir(void **state) {
        snprintf(dir, sizeof(dir), "/tmp/cube-kubeconfig-XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
        unsetenv("KUBECONFIG");
        return file_remove_tree(dir, NULL);
}

static char *path(const char *name) {
        return xprintf("%s/%s", dir, name);
}

static void write_text(const char *name, const char *text) {
        _cleanup_free_ char *p = path(name);

        assert_int_equal(file_write(p, str_of(text), 0644, NULL), 0);
}

static char *read_text(const char *name) {
        _cleanup_free_ char *p = path(name);
        struct buf b = BUF_INIT;

        assert_int_equal(file_read(p, 0, &b, NULL), 0);
        return buf_take(&b, NULL);
}

static const struct kubeconfig_entry entry = {
        .name = "cube",
        .server = "https://127.0.0.1:6443",
        .ca_pem = STR_INIT("CA"),
        .cert_pem = STR_INIT("CERT"),
        .key_pem = STR_INIT("KEY"),
};

#define OTHER                                                                                                        \
        "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster:\n    server: https://prod\n    unknown: " \
        "kept\n"                                                                                                     \
        "contexts:\n- name: prod\n  context: {cluster: prod, user: me, namespace: team}\ncurrent-context: prod\n"    \
        "users:\n- name: me\n  user: {token: secret}\nextra: {a: 1}\n"

static void a_new_file_is_made_private(void **state) {
        _cleanup_free_ char *p = path("deep/er/config"), *where = NULL;
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };
        struct stat st;

        assert_int_equal(kubeconfig_merge(p, &entry, true, &where, NULL), 0);
        assert_string_equal(where, p);
        assert_int_equal(stat(p, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(kubeconfig_load(p, NULL, &k, NULL), 0);
        assert_string_equal(k.context, "cube");
        assert_string_equal(k.server, "https://127.0.0.1:6443");
        assert_string_equal(k.namespace, "default");
        assert_true(str_eqc(buf_str(&k.ca_pem), "CA") && str_eqc(buf_str(&k.cert_pem), "CERT") &&
                    str_eqc(buf_str(&k.key_pem), "KEY"));
}

static void what_is_there_stays(void **state) {
        _cleanup_free_ char *p = path("other"), *text = NULL;
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };

        write_text("other", OTHER);
        assert_int_equal(kubeconfig_merge(p, &entry, true, NULL, NULL), 0);
        text = read_text("other");
        assert_non_null(strstr(text, "unknown: kept"));
        assert_non_null(strstr(text, "extra:"));
        assert_non_null(strstr(text, "current-context: cube"));
        assert_true(strstr(text, "name: prod") < strstr(text, "name: cube"));
        assert_int_equal(kubeconfig_load(p, "prod", &k, NULL), 0);
        assert_string_equal(k.token, "secret");
        assert_string_equal(k.namespace, "team");
        assert_int_equal(kubeconfig_remove(p, "cube", NULL), 0);
        free(text);
        text = read_text("other");
        assert_null(strstr(text, "cube"));
        assert_non_null(strstr(text, "name: prod"));
}

static void a_list_of_files_is_one_config(void **state) {
        _cleanup_free_ char *a = path("a"), *b = path("b"), *list = NULL, *where = NULL, *text = NULL;
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };

        write_text("b", OTHER);
        unlink(a);
        list = xprintf("%s:%s", a, b);
        setenv("KUBECONFIG", list, 1);
        /* a is not there: new entries go to the first that exists */
        assert_int_equal(kubeconfig_merge(NULL, &entry, true, &where, NULL), 0);
        assert_string_equal(where, b);
        assert_int_equal(kubeconfig_load(NULL, NULL, &k, NULL), 0);
        assert_string_equal(k.context, "cube");
        kubeconfig_clear(&k);
        /* an entry is changed where it is, although another file comes first now */
        write_text("a", "apiVersion: v1\nkind: Config\ncurrent-context: cube\n");
        assert_int_equal(kubeconfig_merge(NULL, &entry, false, NULL, NULL), 0);
        text = read_text("a");
        assert_null(strstr(text, "server"));
        assert_int_equal(kubeconfig_load(NULL, NULL, &k, NULL), 0);
        assert_string_equal(k.server, "https://127.0.0.1:6443");
        unsetenv("KUBECONFIG");
}

static void a_file_that_is_no_kubeconfig_is_left_alone(void **state) {
        static const char *const texts[] = { "just text", "kind: Pod\n", "clusters: {a: b}\n", "a: [unclosed" };
        _cleanup_free_ char *p = path("bad");

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_free_ char *after = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                write_text("bad", texts[i]);
                assert_int_equal(kubeconfig_merge(p, &entry, true, NULL, &err), -EUCLEAN);
                assert_non_null(strstr(error_text(&err), "is not a kubeconfig"));
                after = read_text("bad");
                assert_string_equal(after, texts[i]);
        }
}

static void links_are_followed_and_relative_paths_resolved(void **state) {
        _cleanup_free_ char *real = path("real"), *link = path("link");
        _cleanup_kubeconfig_ struct kubeconfig k = { 0 };
        struct stat st;

        write_text("ca.crt", "FROM FILE");
        write_text("real", "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: "
                           "{server: 'https://x', "
                           "certificate-authority: ca.crt}\ncontexts:\n- name: c\n  context: {cluster: c}\n");
        assert_int_equal(symlink(real, link), 0);
        assert_int_equal(kubeconfig_merge(link, &entry, false, NULL, NULL), 0);
        assert_int_equal(lstat(link, &st), 0);
        assert_true(S_ISLNK(st.st_mode));
        assert_int_equal(kubeconfig_load(real, NULL, &k, NULL), 0);
        assert_true(str_eqc(buf_str(&k.ca_pem), "FROM FILE"));
}

static void what_we_cannot_do_is_said(void **state) {
        _cleanup_free_ char *p = path("exec");
        _cleanup_error_ struct error err = ERROR_INIT;
        struct kubeconfig k;

        write_text("exec", "kind: Config\ncurrent-context: c\nclusters:\n- name: c\n  cluster: {server: "
                           "'https://x'}\ncontexts:\n- name: c\n"
                           "  context: {cluster: c, user: u}\nusers:\n- name: u\n  user: {exec: {command: aws}}\n");
        assert_int_equal(kubeconfig_load(p, NULL, &k, &err), -EOPNOTSUPP);
        assert_non_null(strstr(error_text(&err), "exec"));
        error_clear(&err);
        assert_int_equal(kubeconfig_load(p, "nowhere", &k, &err), -ENOENT);
        assert_string_equal(error_text(&err), "context \"nowhere\" does not exist");
}

/* ---- the wire ---- */

static void paths_and_queries(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct api_call c = {
                .verb = API_LIST, .resource = &res_deployments, .namespace = STR("ns"), .options = API_OPTIONS_INIT
        };

        c.options.label_selector = STR("a in (b,c)");
        c.options.limit = 5;
        wire_path(&b, "/prefix", &c, false);
        assert_true(str_eqc(
                        buf_str(&b),
                        "/prefix/apis/apps/v1/namespaces/ns/deployments?labelSelector=a%20in%20%28b%2Cc%29&limit=5"));
        b.n = 0;
        c = (struct api_call) { .verb = API_UPDATE,
                                .resource = &res_nodes,
                                .name = STR("n1"),
                                .subresource = STR("status"),
                                .options = API_OPTIONS_INIT };
        wire_path(&b, "", &c, false);
        assert_true(str_eqc(buf_str(&b), "/api/v1/nodes/n1/status"));
}

static void a_status_becomes_an_error(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(wire_error(&err, 404,
                                    STR("{\"kind\":\"Status\",\"status\":\"Failure\",\"message\":\"pods \\\"x\\\" not "
                                        "found\",\"reason\":\"NotFound\","
                                        "\"details\":{\"name\":\"x\",\"kind\":\"pods\"},\"code\":404}")),
                         -ENOENT);
        assert_string_equal(err.message, "pods \"x\" not found");
        assert_string_equal(err.name, "x");
        assert_int_equal(wire_error(&err, 502, STR("<html>bad gateway</html>")), -EIO);
        assert_string_equal(err.message, "<html>bad gateway</html>");
        assert_int_equal(err.code, 502);
}

static void watch_lines_become_events(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        enum api_event_type type;
        struct object *o = NULL;
        uint64_t revision;

        assert_int_equal(wire_event(STR("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":"
                                        "\"p\",\"resourceVersion\":\"7\"}}}"),
                                    &type, &o, &revision, &err),
                         0);
        assert_int_equal(type, API_MODIFIED);
        assert_int_equal(revision, 7);
        assert_true(str_eqc(object_name(o), "p"));
        object_unref(o);
        assert_int_equal(wire_event(STR("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\","
                                        "\"code\":410}}"),
                                    &type, &o, &revision, &err),
                         0);
        assert_int_equal(err.err, -ESTALE);
        assert_true(wire_event(STR("{\"type\":\"PARTY\",\"object\":{}}"), &type, &o, &revision, &err) < 0);
        assert_true(wire_event(STR("no json"), &type, &o, &revision, &err) < 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_key_is_in_the_queue_once),
                cmocka_unit_test(a_key_added_while_it_is_worked_on_comes_again),
                cmocka_unit_test(failures_come_back_later_each_time),
                cmocka_unit_test(delays_keep_their_order),
                cmocka_unit_test(nothing_is_handed_out_while_paused),
                cmocka_unit_test(real_timers_fire),
                cmocka_unit_test(an_expired_watch_lists_again_and_misses_nothing),
                cmocka_unit_test(a_failed_list_is_tried_again),
                cmocka_unit_test(a_handler_that_comes_late_hears_of_what_is_there),
                cmocka_unit_test(an_index_follows_changes),
                cmocka_unit_test(a_note_is_there_before_the_watch_speaks),
                cmocka_unit_test(a_late_note_brings_nothing_back),
                cmocka_unit_test(the_same_name_with_another_uid_is_a_deletion_and_an_addition),
                cmocka_unit_test(a_new_file_is_made_private),
                cmocka_unit_test(what_is_there_stays),
                cmocka_unit_test(a_list_of_files_is_one_config),
                cmocka_unit_test(a_file_that_is_no_kubeconfig_is_left_alone),
                cmocka_unit_test(links_are_followed_and_relative_paths_resolved),
                cmocka_unit_test(what_we_cannot_do_is_said),
                cmocka_unit_test(paths_and_queries),
                cmocka_unit_test(a_status_becomes_an_error),
                cmocka_unit_test(watch_lines_become_events),
        };

        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
