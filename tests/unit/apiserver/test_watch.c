/* Watches of roles in this process: what comes, in which order, from where. */
#include "help.h"

#include <pthread.h>
#include <semaphore.h>

#include "apiserver/watch.h"

struct watcher {
        struct fixture *f;
        struct loop *loop;
        struct api_watch *watch;
        pthread_mutex_t lock;
        pthread_cond_t more;
        char log[4096]; /* "ADDED a;MODIFIED a+;": + is a finalizer */
        uint64_t last;
        bool full; /* of one that takes an event at a time */
};

static void on_event(const struct api_event *e, void *arg) {
        static const char *const names[] = { "ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR" };
        struct watcher *w = arg;
        size_t n;

        pthread_mutex_lock(&w->lock);
        n = strlen(w->log);
        if (e->type == API_ERROR)
                snprintf(w->log + n, sizeof(w->log) - n, "ERROR %s;", error_text(e->error));
        else
                snprintf(w->log + n, sizeof(w->log) - n, "%s %" STR_FMT "%s;", names[e->type],
                         STR_ARG(object_name(e->object)),
                         json_len(json_at_path(object_json(e->object), "metadata", "finalizers")) ? "+" : "");
        w->last = e->revision;
        pthread_cond_broadcast(&w->more);
        pthread_mutex_unlock(&w->lock);
}

static struct watcher *watcher_new(struct fixture *f) {
        struct watcher *w = xcalloc(1, sizeof(*w));
        struct error e = ERROR_INIT;

        w->f = f;
        pthread_mutex_init(&w->lock, NULL);
        pthread_cond_init(&w->more, NULL);
        assert_int_equal(loop_new("test", &w->loop, &e), 0);
        loop_start_thread(w->loop);
        return w;
}

static struct watcher *begin(struct watcher *w, const struct api_resource *resource, struct api_options options) {
        struct error e = ERROR_INIT;
        struct api_call c = { .verb = API_WATCH,
                              .resource = resource,
                              .namespace = STR("default"),
                              .options = options,
                              .user = api_user_system,
                              .loop = w->loop };

        if (apiserver_watch(w->f->s, &c, on_event, w, &w->watch, &e) < 0)
                fail_msg("%s", error_text(&e));
        return w;
}

static struct watcher *watch(struct fixture *f, struct api_options options) {
        return begin(watcher_new(f), &res_configmaps, options);
}

/* Waits until the log has as much text as this; whether it begins with it. */
static bool tells(struct watcher *w, const char *text, int seconds) {
        struct timespec until;
        int r = 0;

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += seconds;
        pthread_mutex_lock(&w->lock);
        while (r == 0 && strlen(w->log) < strlen(text))
                r = pthread_cond_timedwait(&w->more, &w->lock, &until);
        pthread_mutex_unlock(&w->lock);
        return strncmp(w->log, text, strlen(text)) == 0;
}

static void expect(struct watcher *w, const char *text) {
        tells(w, text, 5);
        assert_string_equal(w->log, text);
}

static void stop(void *arg) {
        struct watcher *w = arg;

        api_watch_stop(w->watch);
}

static void watch_end(struct watcher *w) {
        loop_call_sync(w->loop, stop, w);
        loop_end(w->loop);
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->more);
        free(w);
}

static uint64_t revision_of(struct fixture *f, struct answer r) {
        return strtoull(at(f, r, ".metadata.resourceVersion"), NULL, 10);
}

static uint64_t create(struct fixture *f, const char *name, const char *label) {
        char body[256];
        struct answer r;

        snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"%s\",\"labels\":{\"l\":\"%s\"}}}", name, label);
        r = ASK(f, API_CREATE, &res_configmaps, "default", .body = body);
        assert_int_equal(r.code, 201);
        return revision_of(f, r);
}

static void patch(struct fixture *f, const char *name, const char *body) {
        assert_int_equal(ASK(f, API_PATCH, &res_configmaps, "default", name, .patch = API_PATCH_MERGE, .body = body)
                                         .code,
                         200);
}

static void without_a_revision_it_begins_with_what_there_is(void **state) {
        struct fixture *f = *state;
        struct watcher *w;

        create(f, "a", "x");
        w = watch(f, API_OPTIONS_INIT);
        expect(w, "ADDED a;");
        create(f, "b", "x");
        patch(f, "a", "{\"data\":{\"k\":\"v\"}}");
        ASK(f, API_DELETE, &res_configmaps, "default", "b");
        expect(w, "ADDED a;ADDED b;MODIFIED a;DELETED b;");
        watch_end(w);
}

static void hold(void *arg) {
        sem_wait(arg);
}

/* However busy its loop is then. */
static void what_is_written_once_it_has_begun_is_an_event(void **state) {
        struct fixture *f = *state;
        struct watcher *w = watcher_new(f), *from_now = watcher_new(f);
        sem_t go;

        sem_init(&go, 0, 0);
        create(f, "a", "x");
        loop_call(w->loop, hold, &go);
        loop_call(from_now->loop, hold, &go);
        begin(w, &res_configmaps, API_OPTIONS_INIT);
        begin(from_now, &res_configmaps,
              (struct api_options) { .no_initial_events = true, .resource_version_match = STR("NotOlderThan") });
        patch(f, "a", "{\"metadata\":{\"finalizers\":[\"x/y\"]}}");
        sem_post(&go);
        sem_post(&go);
        expect(w, "ADDED a;MODIFIED a+;");
        expect(from_now, "MODIFIED a+;");
        watch_end(w);
        watch_end(from_now);
        sem_destroy(&go);
}

static void from_a_revision_it_tells_what_came_after(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        uint64_t revision = create(f, "a", "x");
        char text[32];
        struct watcher *w;

        create(f, "b", "x");
        snprintf(text, sizeof(text), "%llu", (unsigned long long) revision);
        o.resource_version = str_of(text);
        w = watch(f, o);
        expect(w, "ADDED b;");
        create(f, "c", "x");
        expect(w, "ADDED b;ADDED c;");
        watch_end(w);
}

static void a_selector_sees_objects_come_and_go(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        struct watcher *w;
        char text[32];

        o.label_selector = STR("l=x");
        snprintf(text, sizeof(text), "%llu", (unsigned long long) create(f, "other", "y"));
        o.resource_version = str_of(text);
        w = watch(f, o);
        create(f, "a", "x");
        patch(f, "a", "{\"metadata\":{\"labels\":{\"l\":\"y\"}}}");
        patch(f, "a", "{\"data\":{\"k\":\"v\"}}");
        patch(f, "a", "{\"metadata\":{\"labels\":{\"l\":\"x\"}}}");
        ASK(f, API_DELETE, &res_configmaps, "default", "other");
        ASK(f, API_DELETE, &res_configmaps, "default", "a");
        expect(w, "ADDED a;DELETED a;ADDED a;DELETED a;");
        watch_end(w);
}

static void other_namespaces_are_not_seen(void **state) {
        struct fixture *f = *state;
        struct watcher *w = watch(f, API_OPTIONS_INIT);

        ASK(f, API_CREATE, &res_configmaps, "kube-system", .body = "{\"metadata\":{\"name\":\"z\"}}");
        create(f, "a", "x");
        expect(w, "ADDED a;");
        watch_end(w);
}

static void a_revision_that_is_forgotten_is_expired(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        struct watcher *w;

        create(f, "a", "x");
        create(f, "b", "x");
        store_compact(f->store, 3);
        o.resource_version = STR("1");
        w = watch(f, o);
        expect(w, "ERROR too old resource version: 1 (3);");
        watch_end(w);
}

static const struct api_resource widgets = {
        .group = "example.com", .version = "v1", .plural = "widgets", .kind = "Widget", .namespaced = true
};

/* A watch that began before the change was there ends with it, and its client begins again. */
static void expect_of_widgets(struct fixture *f, struct api_options o, const char *text) {
        bool told = false;

        for (int i = 0; !told; i++) {
                struct watcher *w = begin(watcher_new(f), &widgets, o);

                told = tells(w, text, 1);
                watch_end(w);
                assert_true(i < 20);
        }
}

/* Who has seen its objects as they were lists them anew. */
static void of_a_definition_it_tells_what_came_since_it_changed(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        char revision[32], want[80];
        uint64_t before;

        check_code(ASK(f, API_CREATE, &res_customresourcedefinitions,
                       .body = "{\"metadata\":{\"name\":\"widgets.example.com\"},\"spec\":{\"group\":\"example.com\","
                               "\"scope\":\"Namespaced\",\"names\":{\"plural\":\"widgets\",\"kind\":\"Widget\"},"
                               "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{"
                               "\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}"),
                   201);
        for (int i = 0; ASK(f, API_LIST, &widgets, "default").code != 200; i++) {
                assert_true(i < 5000);
                usleep(1000);
        }
        before = revision_of(f, ASK(f, API_CREATE, &widgets, "default",
                                    .body = "{\"apiVersion\":\"example.com/v1\",\"kind\":\"Widget\","
                                            "\"metadata\":{\"name\":\"a\"}}"));
        check_code(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                       .patch = API_PATCH_MERGE, .body = "{\"spec\":{\"names\":{\"shortNames\":[\"w\"]}}}"),
                   200);
        for (int i = 0; strcmp(at(f, ASK(f, API_GET, &res_customresourcedefinitions, NULL, "widgets.example.com"),
                                  ".status.acceptedNames.shortNames[0]"),
                               "w") != 0;
             i++) {
                assert_true(i < 5000);
                usleep(1000);
        }
        snprintf(revision, sizeof(revision), "%llu", (unsigned long long) before);
        snprintf(want, sizeof(want), "ERROR too old resource version: %s (",
                 revision); /* what follows: its spec or its status */
        o.resource_version = str_of(revision);
        expect_of_widgets(f, o, want);
        expect_of_widgets(f, (struct api_options) API_OPTIONS_INIT, "ADDED a;");
}

static void initial_events_end_with_a_bookmark(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        struct watcher *w;

        o.send_initial_events = o.watch_bookmarks = true;
        o.resource_version_match = STR("NotOlderThan");
        create(f, "a", "x");
        w = watch(f, o);
        expect(w, "ADDED a;BOOKMARK ;");
        watch_end(w);
}

static void initial_events_are_not_older_than_what_is_asked_for(void **state) {
        struct fixture *f = *state;
        struct api_options o = API_OPTIONS_INIT;
        char text[80], want[32];
        struct watcher *w;

        o.send_initial_events = o.watch_bookmarks = true;
        o.resource_version_match = STR("NotOlderThan");
        snprintf(want, sizeof(want), "%llu", (unsigned long long) create(f, "a", "x") + 1);
        o.resource_version = str_of(want);
        snprintf(text, sizeof(text), "ERROR Timeout: Too large resource version: %s, current: %llu;", want,
                 (unsigned long long) store_revision(f->store));
        w = watch(f, o);
        expect(w, text);
        watch_end(w);
}

static void *write_many(void *arg) {
        struct fixture *f = arg;
        struct fixture own = { .s = f->s, .store = f->store, .a = arena_new(0) };
        char name[32];

        for (int i = 0; i < 200; i++) {
                snprintf(name, sizeof(name), "n%p-%d", (void *) &own, i);
                create(&own, name + (strncmp(name, "n0x", 3) == 0 ? 3 : 0), "x");
        }
        arena_free(own.a);
        return NULL;
}

/* Watches that begin while others write miss nothing and see nothing twice. */
static void watches_begun_amid_writes_see_everything_once(void **state) {
        struct fixture *f = *state;
        struct watcher *w[4];
        pthread_t t[2];
        uint64_t end;

        for (size_t i = 0; i < 2; i++)
                pthread_create(&t[i], NULL, write_many, f);
        for (size_t i = 0; i < 4; i++)
                w[i] = watch(f, API_OPTIONS_INIT);
        for (size_t i = 0; i < 2; i++)
                pthread_join(t[i], NULL);
        end = create(f, "last", "x");
        for (size_t i = 0; i < 4; i++) {
                for (int k = 0; k < 500; k++) {
                        pthread_mutex_lock(&w[i]->lock);
                        bool there = w[i]->last >= end;
                        pthread_mutex_unlock(&w[i]->lock);
                        if (there)
                                break;
                        nanosleep(&(struct timespec) { .tv_nsec = 10 * NSEC_PER_MSEC }, NULL);
                }
                assert_int_equal(w[i]->last, end);
                watch_end(w[i]);
        }
}

static void take_one(struct api_watch *watch, const struct watch_event *e) {
        struct watcher *w = watch_arg(watch);

        w->full = true;
        on_event(&(struct api_event) { .type = e->type, .object = e->object, .revision = e->revision }, w);
}

static bool has_one(struct api_watch *watch) {
        return ((struct watcher *) watch_arg(watch))->full;
}

static void take_next(void *arg) {
        struct watcher *w = arg;

        w->full = false;
        watch_drained(w->watch);
}

static void wait_for(struct store_txn *t) {
        sem_wait(t->userdata);
}

/* Whose reader falls behind in the middle of what was written in one go, it goes on there. */
static void a_slow_reader_sees_everything_once(void **state) {
        static const struct watch_sink sink = { .event = take_one, .full = has_one };
        static const char *const keys[] = { "/secrets/default/first", "/configmaps/default/a", "/configmaps/default/b",
                                            "/configmaps/default/c" };
        struct fixture *f = *state;
        struct watcher *w = watcher_new(f);
        struct api_options from_now = { .no_initial_events = true, .resource_version_match = STR("NotOlderThan") };
        struct api_call c = { .verb = API_WATCH,
                              .resource = &res_configmaps,
                              .options = from_now,
                              .user = api_user_system,
                              .loop = w->loop };
        struct store_op ops[ARRAY_SIZE(keys)];
        struct store_txn txns[ARRAY_SIZE(keys)];
        sem_t go;

        sem_init(&go, 0, 0);
        assert_int_equal(watch_new(f->s, &c, &sink, w, 0, &w->watch, NULL), 0);
        watch_begin(w->watch);
        loop_call_sync(w->loop, take_next, w);
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) { /* the first keeps the writer waiting until all are there */
                struct json meta = json_new_object(), tree = json_new_object();

                json_set_str(f->a, &meta, "name", str_of(strrchr(keys[i], '/') + 1));
                json_setc(f->a, &tree, "metadata", meta);
                ops[i] = (struct store_op) { .kind = STORE_CREATE,
                                             .key = str_of(keys[i]),
                                             .object = object_from_tree(&tree) };
                txns[i] = (struct store_txn) { .ops = &ops[i], .n_ops = 1, .done = wait_for, .userdata = &go };
                store_submit(f->store, &txns[i]);
        }
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                sem_post(&go);
        expect(w, "ADDED a;");
        loop_call_sync(w->loop, take_next, w);
        expect(w, "ADDED a;ADDED b;");
        loop_call_sync(w->loop, take_next, w);
        expect(w, "ADDED a;ADDED b;ADDED c;");
        loop_call_sync(w->loop, take_next, w);
        expect(w, "ADDED a;ADDED b;ADDED c;");
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                object_unref(ops[i].object);
        watch_end(w);
        sem_destroy(&go);
}

/* As upstream does it: the pod is marked, which all see, and then goes; both are revisions of their own. */
static void a_pod_is_marked_before_it_goes(void **state) {
        static const char pod[] =
                        "{\"metadata\":{\"name\":\"%s\"%s},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                        "\"i\"}]}}";
        struct fixture *f = *state;
        struct api_options dry = API_OPTIONS_INIT;
        struct watcher *w;
        struct answer r;

        make_account(f, "default");
        r = ASK(f, API_CREATE, &res_pods, "default", .body = arena_printf(f->a, pod, "a", "").p);
        w = begin(watcher_new(f), &res_pods, API_OPTIONS_INIT);
        expect(w, "ADDED a;");
        dry.dry_run = true;
        check(ASK(f, API_DELETE, &res_pods, "default", "a", .options = dry), 200,
              ".metadata.deletionGracePeriodSeconds", "0");
        r = ASK(f, API_DELETE, &res_pods, "default", "a");
        check(r, 200, ".metadata.deletionGracePeriodSeconds", "0");
        check(r, 200, ".metadata.generation", "2");
        expect(w, "ADDED a;MODIFIED a;DELETED a;");
        assert_int_equal(strtoull(at(f, r, ".metadata.resourceVersion"), NULL, 10), w->last);
        ASK(f, API_CREATE, &res_pods, "default", .body = arena_printf(f->a, pod, "b", ",\"finalizers\":[\"x/y\"]").p);
        check(ASK(f, API_DELETE, &res_pods, "default", "b"), 200, ".metadata.deletionGracePeriodSeconds", "0");
        ASK(f, API_DELETE, &res_pods, "default", "b"); /* changes nothing */
        ASK(f, API_PATCH, &res_pods, "default", "b", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"finalizers\":null}}");
        expect(w, "ADDED a;MODIFIED a;DELETED a;ADDED b+;MODIFIED b+;DELETED b+;");
        watch_end(w);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(what_is_written_once_it_has_begun_is_an_event),
                T(without_a_revision_it_begins_with_what_there_is),
                T(from_a_revision_it_tells_what_came_after),
                T(a_selector_sees_objects_come_and_go),
                T(other_namespaces_are_not_seen),
                T(a_revision_that_is_forgotten_is_expired),
                T(of_a_definition_it_tells_what_came_since_it_changed),
                T(initial_events_end_with_a_bookmark),
                T(initial_events_are_not_older_than_what_is_asked_for),
                T(watches_begun_amid_writes_see_everything_once),
                T(a_slow_reader_sees_everything_once),
                T(a_pod_is_marked_before_it_goes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
