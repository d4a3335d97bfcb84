/* Custom resources of two versions with a webhook between them: every way in and out asks it, and waits for it. */
#include "help.h"

#include "hook.h"
#include "base/metrics.h"

static const struct api_resource v1 = {
        .group = "example.com", .version = "v1", .plural = "widgets", .kind = "Widget", .namespaced = true
};
static const struct api_resource v2 = {
        .group = "example.com", .version = "v2", .plural = "widgets", .kind = "Widget", .namespaced = true
};
static struct hook *hook;
static struct loop *watcher; /* freed after the server, whose hub is on it */

static int setup(void **state) {
        hook = hook_start();
        return fixture_setup(state);
}

static int teardown(void **state) {
        int r = fixture_teardown(state);

        loop_free(TAKE_PTR(watcher));
        hook_stop(hook);
        return r;
}

static void nap(void) {
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

#define VERSION(name, storage)                                                                                         \
        "{\"name\":\"" name "\",\"served\":true,\"storage\":" storage ",\"selectableFields\":[{\"jsonPath\":"          \
        "\".spec.seen\"}],\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":"    \
        "\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"seen\":{\"type\":\"string\"}}}}}}" \
        "}"
#define AS_V1 STR("spec.seen=example.com/v1") /* the webhook writes there what it converts to */
#define AS_V2 STR("spec.seen=example.com/v2")

static void define(struct fixture *f) {
        const char *body = arena_printf(f->a,
                                        "{\"metadata\":{\"name\":\"widgets.example.com\"},\"spec\":{\"group\":"
                                        "\"example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"widgets\","
                                        "\"kind\":\"Widget\"},\"conversion\":{\"strategy\":\"Webhook\",\"webhook\":{"
                                        "\"conversionReviewVersions\":[\"v1\"],\"clientConfig\":%s}},\"versions\":"
                                        "[" VERSION("v1", "true") "," VERSION("v2", "false") "]}}",
                                        hook_config(hook, f->a, "/convert"))
                                           .p;
        struct answer r = ASK(f, API_CREATE, &res_customresourcedefinitions, .body = body);

        if (r.code != 201)
                fail_msg("%s", r.message);
        for (int i = 0; i < 2000 && ASK(f, API_LIST, &v1, "default").code != 200; i++)
                nap();
}

static struct answer create(struct fixture *f, const struct api_resource *res, const char *name) {
        return ASK(f, API_CREATE, res, "default",
                   .body = arena_printf(f->a,
                                        "{\"apiVersion\":\"example.com/%s\",\"kind\":\"Widget\",\"metadata\":{\"name\":"
                                        "\"%s\"},\"spec\":{}}",
                                        res->version, name)
                                           .p);
}

struct seen {
        atomic_int n, wrong, failed;
        struct api_watch *watch;
        struct loop *loop;
};

static void on_event(const struct api_event *e, void *arg) {
        struct seen *s = arg;

        if (e->type == API_ERROR) { /* as an informer does, which begins anew then */
                api_watch_stop(TAKE_PTR(s->watch));
                atomic_fetch_add(&s->failed, 1);
                return;
        }
        if (!str_eqc(json_str(json_getc(object_json(e->object), "apiVersion")), "example.com/v2"))
                atomic_fetch_add(&s->wrong, 1);
        atomic_fetch_add(&s->n, 1);
}

static void expect(struct seen *s, int n) {
        for (int i = 0; i < 2000 && atomic_load(&s->n) < n; i++)
                nap();
        assert_int_equal(atomic_load(&s->n), n);
        assert_int_equal(atomic_load(&s->wrong), 0);
}

static void stop(void *arg) {
        api_watch_stop(((struct seen *) arg)->watch);
}

static void watch_in_v2(struct fixture *f, struct seen *s) {
        struct api_call c = { .verb = API_WATCH,
                              .resource = &v2,
                              .namespace = STR("default"),
                              .arena = f->a,
                              .options = API_OPTIONS_INIT,
                              .user = api_user_system };

        c.options.field_selector = AS_V2;
        assert_int_equal(loop_new("test", &s->loop, NULL), 0);
        loop_start_thread(s->loop);
        c.loop = s->loop;
        assert_int_equal(apiserver_watch(f->s, &c, on_event, s, &s->watch, NULL), 0);
}

static struct answer change(struct fixture *f, const struct api_resource *res, const char *manager, const char *spec) {
        return ASK(f, API_PATCH, res, "default", "o", .patch = API_PATCH_MERGE,
                   .options.field_manager = str_of(manager), .body = arena_printf(f->a, "{\"spec\":%s}", spec).p);
}

static void check_owned(struct fixture *f, struct answer r, const char *manager, const char *fields) {
        check_code(r, 200);
        assert_string_equal(at(f, r,
                               arena_printf(f->a, ".metadata.managedFields[?(@.manager==\"%s\")].fieldsV1", manager).p),
                            fields);
}

/* What has changed is told in the version of each manager: the webhook makes spec.seen what it always is there. */
static void check_owners(struct fixture *f) {
        struct api_options apply = { .field_manager = STR("three") };
        const char *config = "{\"apiVersion\":\"example.com/v2\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"o\"},"
                             "\"spec\":{\"n\":4}}";

        create(f, &v1, "o");
        change(f, &v1, "one", "{\"seen\":\"mine\",\"n\":1}");
        check_owned(f, change(f, &v2, "two", "{\"seen\":\"yours\",\"n\":2}"), "one", "{\"f:spec\":{\"f:seen\":{}}}");
        check_owned(f, change(f, &v1, "one", "{\"n\":3}"), "two", "{\"f:spec\":{\"f:seen\":{}}}");
        check_error(ASK(f, API_PATCH, &v2, "default", "o", .patch = API_PATCH_APPLY, .options = apply, .body = config),
                    409, "Apply failed with 1 conflict: conflict with \"one\" using example.com/v1: .spec.n");
        apply.force = true;
        check_owned(f,
                    ASK(f, API_PATCH, &v2, "default", "o", .patch = API_PATCH_APPLY, .options = apply, .body = config),
                    "one", "{\"f:spec\":{\"f:seen\":{}}}");
        ASK(f, API_DELETE, &v1, "default", "o");
}

static const char *asked(struct fixture *f, const char *path, const char *where) {
        struct json *j;

        assert_int_equal(json_parse(f->a, hook_asked(hook, f->a, path), NULL, &j, NULL), 0);
        return at(f, (struct answer) { .body = j }, where);
}

#define ANSWER(object) "\"result\":{\"status\":\"Success\"},\"convertedObjects\":[" object "]"

static void a_webhook_stands_between_versions(void **state) {
        static const char *const wrong[][2] = {
                { "\"result\":{\"status\":\"Success\"},\"convertedObjects\":{}",
                  "cannot unmarshal object into Go struct field ConversionResponse.response.convertedObjects" },
                { ANSWER("{\"apiVersion\":\"example.com/v2\"}"), "Object 'Kind' is missing in '{\"apiVersion\"" },
        };
        const char *uid;
#define REQUESTS "\napiserver_conversion_webhook_request_total"
        static const char *const counted[] = {
                REQUESTS "{failure_type=\"\",result=\"success\"} ",
                REQUESTS "{failure_type=\"conversion_webhook_malformed_response_failure\",result=\"failure\"} ",
                REQUESTS "{failure_type=\"conversion_webhook_partial_response_failure\",result=\"failure\"} ",
                REQUESTS "{failure_type=\"conversion_webhook_invalid_converted_object_failure\",result=\"failure\"} ",
                "\napiserver_conversion_webhook_duration_seconds_count{failure_type=\"\",result=\"success\"} ",
                "\napiserver_crd_conversion_webhook_duration_seconds_count{crd_name=\"widgets.example.com\",from_"
                "version="
                "\"v1\",succeeded=\"true\",to_version=\"v2\"} ",
        };
        _cleanup_buf_ struct buf metrics = BUF_INIT;
        struct fixture *f = *state;
        struct seen seen = { 0 };
        struct answer r;

        hook_converts(hook, "/convert");
        define(f);
        assert_int_equal(create(f, &v1, "a").code, 201);
        r = create(f, &v2, "b");
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".spec.seen"), "example.com/v2"); /* there and back */
        r = ASK(f, API_GET, &v1, "default", "b");
        assert_string_equal(at(f, r, ".spec.seen"), "example.com/v1");
        r = ASK(f, API_GET, &v2, "default", "a");
        assert_string_equal(at(f, r, ".spec.seen"), "example.com/v2");
        assert_memory_equal(asked(f, "/convert", ".request.objects[0]"), "{\"apiVersion\":", 14);
        assert_string_equal(asked(f, "/convert", ".request.objects[0].metadata.resourceVersion"), "(absent)");
        r = ASK(f, API_LIST, &v2, "default");
        assert_string_equal(at(f, r, ".items[0].apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".items[1].apiVersion"), "example.com/v2");
        /* Fields are those of the version that is asked for, not of the one that is stored. */
        r = ASK(f, API_LIST, &v2, "default", .options = { .field_selector = AS_V2 });
        assert_string_equal(at(f, r, ".items[1].metadata.name"), "b");
        r = ASK(f, API_LIST, &v2, "default", .options = { .field_selector = AS_V1 });
        assert_string_equal(at(f, r, ".items"), "[]");
        ASK(f, API_DELETE_COLLECTION, &v2, "default", .options = { .field_selector = AS_V1 });
        assert_int_equal(ASK(f, API_GET, &v1, "default", "b").code, 200);

        check_owners(f);
        watch_in_v2(f, &seen);
        expect(&seen, 2);
        r = ASK(f, API_PATCH, &v2, "default", "a", .body = "{\"spec\":{\"x\":1}}", .patch = API_PATCH_MERGE);
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".spec.x"), "1");
        create(f, &v1, "c");
        expect(&seen, 4);
        assert_int_equal(ASK(f, API_DELETE, &v2, "default", "c").code, 200);
        expect(&seen, 5);
        ASK(f, API_DELETE_COLLECTION, &v2, "default", .options = { .field_selector = AS_V2 });
        assert_int_equal(ASK(f, API_GET, &v1, "default", "a").code, 404);
        expect(&seen, 7);
        create(f, &v1, "a");
        expect(&seen, 8);
        hook_answers(hook, "/convert", "\"result\":{\"status\":\"Failure\",\"message\":\"not today\"}");
        r = ASK(f, API_GET, &v2, "default", "a");
        assert_int_equal(r.code, 500);
        assert_string_equal(r.message, "conversion webhook for example.com/v1, Kind=Widget failed: not today");
        assert_int_equal(create(f, &v2, "d").code, 500);
        check_code(ASK(f, API_PATCH, &v1, "default", "a", .body = "{\"spec\":{\"x\":2}}", .patch = API_PATCH_MERGE,
                       .options.dry_run = true),
                   200);
        check_code(ASK(f, API_CREATE, &v2, "default", .options.dry_run = true,
                       .body = "{\"kind\":\"Widget\",\"apiVersion\":\"example.com/v2\",\"metadata\":{\"name\":\"z\"}}"),
                   500);
        hook_answers(hook, "/convert", "\"result\":{\"status\":\"Success\"},\"convertedObjects\":[]");
        check_error(ASK(f, API_GET, &v2, "default", "a"), 500,
                    "conversion webhook for example.com/v1, Kind=Widget returned 0 objects, expected 1");
        hook_answers(hook, "/convert",
                     "\"result\":{\"status\":\"Success\"},\"convertedObjects\":[{\"apiVersion\":\"example.com/v2\","
                     "\"kind\":\"Gadget\"}]");
        check_error(ASK(f, API_GET, &v2, "default", "a"), 500,
                    "conversion webhook for example.com/v1, Kind=Widget returned invalid object at index 0: invalid "
                    "kind (expected Widget, received Gadget)");
        assert_int_equal(create(f, &v1, "e").code, 201);
        hook_converts(hook, "/convert");
        expect(&seen, 9); /* the watch tells of it when it can */
        ASK(f, API_DELETE, &v1, "default", "e");
        expect(&seen, 10);
        loop_call_sync(seen.loop, stop, &seen);
        loop_stop(seen.loop);
        loop_join(seen.loop);
        watcher = seen.loop;
        hook_answers(hook, "/convert",
                     "\"result\":{\"status\":\"Success\"},\"convertedObjects\":[{\"apiVersion\":"
                     "\"example.com/v2\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"z\"}}]");
        r = ASK(f, API_GET, &v2, "default", "a");
        assert_non_null(strstr(r.message, "returned invalid object: must have the same name: a != z"));
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                hook_answers(hook, "/convert", wrong[i][0]);
                r = ASK(f, API_GET, &v2, "default", "a");
                assert_non_null(strstr(r.message, wrong[i][1]));
        }
        uid = at(f, ASK(f, API_GET, &v1, "default", "a"), ".metadata.uid");
        hook_answers(hook, "/convert",
                     arena_printf(f->a,
                                  ANSWER("{\"apiVersion\":\"example.com/"
                                         "v2\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\","
                                         "\"namespace\":\"default\",\"uid\":\"%s\",\"labels\":{\"x\":\"y\"},"
                                         "\"finalizers\":[\"a.io/b\"]}}"),
                                  uid)
                                     .p);
        r = ASK(f, API_GET, &v2, "default", "a");
        assert_string_equal(at(f, r, ".metadata.labels.x"), "y"); /* which is all that it may change */
        assert_null(json_at_path(r.body, "metadata", "finalizers"));
        assert_non_null(json_at_path(r.body, "metadata", "managedFields"));

        /* The objects go with their definition, whatever the webhook says. */
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "widgets.example.com");
        for (int i = 0; i < 2000; i++, nap())
                if (ASK(f, API_GET, &res_customresourcedefinitions, NULL, "widgets.example.com").code == 404)
                        break;
        for (int i = 0; ASK(f, API_LIST, &v1, "default").code != 404; i++, nap())
                assert_true(i < 1000);
        metrics_collect(&metrics);
        for (size_t i = 0; i < ARRAY_SIZE(counted); i++)
                if (str_search(buf_str(&metrics), str_of(counted[i])) < 0)
                        fail_msg("not counted: %s", counted[i]);
}

/* Lists go on without the webhook, until the definition changes; then they begin again with it. */
static void what_is_converted_is_kept(void **state) {
        const struct api_options any = { .resource_version = STR("0") };
        struct api_options o = { .limit = 1, .field_selector = AS_V2 };
        struct fixture *f = *state;
        struct error e = ERROR_INIT;
        struct seen seen = { 0 };
        unsigned calls;
        struct api_call c = { .verb = API_WATCH, .resource = &v2, .arena = f->a, .user = api_user_system };
        struct answer r;

        hook_converts(hook, "/convert");
        define(f);
        create(f, &v1, "a");
        create(f, &v1, "b");
        watch_in_v2(f, &seen);
        expect(&seen, 2);
        calls = hook_calls(hook, "/convert");
        r = ASK(f, API_LIST, &v2, "default", .options = o);
        assert_string_equal(at(f, r, ".items[0].metadata.name"), "a");
        assert_int_equal(json_len(json_getc(r.body, "items")), 1);
        assert_int_equal(hook_calls(hook, "/convert"), calls);
        o.continue_token = str_of(at(f, r, ".continue"));
        r = ASK(f, API_LIST, &v2, "default", .options = o);
        assert_string_equal(at(f, r, ".items[0].metadata.name"), "b");
        assert_string_equal(at(f, r, ".continue"), "");
        assert_int_equal(hook_calls(hook, "/convert"), calls + 1); /* that is the past */

        hook_answers(hook, "/convert", "\"result\":{\"status\":\"Failure\",\"message\":\"not today\"}");
        check_code(ASK(f, API_LIST, &v2, "default"), 200);
        check_code(ASK(f, API_GET, &v2, "default", "a", .options = any), 200);
        check_code(ASK(f, API_GET, &v2, "default", "a"), 500);
        check_code(ASK(f, API_LIST, &v2, "default", .options = o), 500);
        check_error(ASK(f, API_PATCH, &v2, "default", "a", .body = "{}", .patch = API_PATCH_MERGE), 500,
                    "conversion webhook for example.com/v2, Kind=Widget failed: not today");
        create(f, &v1, "c");
        for (int i = 0; i < 2000 && ASK(f, API_LIST, &v2, "default", .options = { .limit = 1 }).code != 500; i++)
                nap();
        check_code(ASK(f, API_LIST, &v2, "default", .options = { .limit = 1 }), 500);
        r = ASK(f, API_LIST, &v2, "default", .options = any);
        assert_int_equal(json_len(json_getc(r.body, "items")), 2);
        check_code(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                       .patch = API_PATCH_MERGE, .body = "{\"spec\":{\"names\":{\"shortNames\":[\"w\"]}}}"),
                   200);
        for (int i = 0; i < 2000 && (atomic_load(&seen.failed) == 0 || ASK(f, API_LIST, &v2, "default").code != 429);
             i++)
                nap();
        assert_int_equal(atomic_load(&seen.failed), 1);
        check_error(ASK(f, API_LIST, &v2, "default"), 429,
                    "storage is (re)initializing: failed to list example.com/v2, Kind=Widget: conversion webhook for "
                    "example.com/v1, Kind=Widget failed: not today");
        check_code(ASK(f, API_LIST, &v2, "default", .options = { .limit = 1 }), 500);
        check_code(ASK(f, API_LIST, &v1, "default"), 200);
        check_code(ASK(f, API_GET, &v2, "default", "a", .options = any), 500);
        c.loop = seen.loop;
        assert_true(apiserver_watch(f->s, &c, on_event, &seen, &seen.watch, &e) < 0);
        assert_int_equal(e.reason, REASON_TOO_MANY_REQUESTS);
        error_clear(&e);

        hook_converts(hook, "/convert");
        for (int i = 0; i < 2000 && ASK(f, API_LIST, &v2, "default").code != 200; i++)
                nap();
        check_code(ASK(f, API_LIST, &v2, "default"), 200);

        /* A watch sees all its objects go before it ends. */
        c.options = (struct api_options) API_OPTIONS_INIT;
        atomic_store(&seen.n, 0);
        atomic_store(&seen.failed, 0);
        assert_int_equal(apiserver_watch(f->s, &c, on_event, &seen, &seen.watch, NULL), 0);
        expect(&seen, 3);
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "widgets.example.com");
        for (int i = 0; i < 2000 && atomic_load(&seen.failed) == 0; i++)
                nap();
        assert_int_equal(atomic_load(&seen.failed), 1);
        assert_int_equal(atomic_load(&seen.n), 6);
        loop_stop(seen.loop);
        loop_join(seen.loop);
        watcher = seen.loop;
}

/* What is in a version that is no more is not guessed at. */
static void objects_of_a_version_that_is_gone_are_not_served(void **state) {
        const char *no = "request to convert CR from an invalid group/version: example.com/v1";
        static const char *const changes[][2] = {
                { NULL, "[{\"op\":\"replace\",\"path\":\"/spec/versions/0/storage\",\"value\":false},"
                        "{\"op\":\"replace\",\"path\":\"/spec/versions/1/storage\",\"value\":true}]" },
                { "status", "[{\"op\":\"replace\",\"path\":\"/status/storedVersions\",\"value\":[\"v2\"]}]" },
                { NULL, "[{\"op\":\"remove\",\"path\":\"/spec/versions/0\"}]" },
        };
        struct fixture *f = *state;

        hook_converts(hook, "/convert");
        define(f);
        create(f, &v1, "a");
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++)
                check_code(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                               .sub = changes[i][0], .patch = API_PATCH_JSON, .body = changes[i][1]),
                           200);
        for (int i = 0; i < 2000 && ASK(f, API_LIST, &v1, "default").code != 404; i++)
                nap();
        check_error(ASK(f, API_GET, &v2, "default", "a"), 500, no);
        check_error(ASK(f, API_DELETE, &v2, "default", "a"), 500, no);
        check_error(ASK(f, API_LIST, &v2, "default", .options = { .limit = 1 }), 500, no);
        check_error(ASK(f, API_LIST, &v2, "default"), 429,
                    arena_printf(f->a, "storage is (re)initializing: failed to list example.com/v2, Kind=Widget: %s",
                                 no)
                                    .p);
        check_code(create(f, &v2, "b"), 201);
        check_code(ASK(f, API_GET, &v2, "default", "b"), 200);
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "widgets.example.com");
        for (int i = 0; ASK(f, API_LIST, &v2, "default").code != 404; i++, nap())
                assert_true(i < 1000); /* with their definition they go */
}

static void configure(struct fixture *f, const struct api_resource *kind, const char *path) {
        const char *body = arena_printf(f->a,
                                        "{\"metadata\":{\"name\":\"x\"},\"webhooks\":[{\"name\":\"a.example.com\","
                                        "\"clientConfig\":%s,\"sideEffects\":\"None\",\"admissionReviewVersions\":"
                                        "[\"v1\"],\"matchConditions\":[{\"name\":\"c\",\"expression\":"
                                        "\"object.spec.seen == 'example.com/v1'\"}],\"rules\":[{\"apiGroups\":["
                                        "\"example.com\"],\"apiVersions\":[\"v1\"],\"resources\":[\"widgets\"],"
                                        "\"operations\":[\"*\"]}]}]}",
                                        hook_config(hook, f->a, path))
                                           .p;

        check_code(ASK(f, API_CREATE, kind, .body = body), 201);
}

/* Webhooks and policies for v1 see what comes in as v2. */
static void admission_has_it_converted(void **state) {
        struct fixture *f = *state;
        struct answer r;

        hook_converts(hook, "/convert");
        hook_answers(hook, "/m",
                     hook_patch(f->a, "[{\"op\":\"add\",\"path\":\"/metadata/labels\",\"value\":{\"a\":\"b\"}}]"));
        hook_answers(hook, "/v", "\"allowed\":true");
        define(f);
        configure(f, &res_mutatingwebhookconfigurations, "/m");
        configure(f, &res_validatingwebhookconfigurations, "/v");
        check_code(ASK(f, API_CREATE, &res_validatingadmissionpolicies,
                       .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"matchConstraints\":{\"resourceRules\":[{"
                               "\"apiGroups\":[\"example.com\"],\"apiVersions\":[\"v1\"],\"resources\":[\"widgets\"],"
                               "\"operations\":[\"*\"]}]},\"validations\":[{\"expression\":\"object.apiVersion == "
                               "'example.com/v1' && object.metadata.name != 'no'\"}]}}"),
                   201);
        check_code(ASK(f, API_CREATE, &res_validatingadmissionpolicybindings,
                       .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"policyName\":\"p\",\"validationActions\":["
                               "\"Deny\"]}}"),
                   201);
        r = create(f, &v2, "x");
        check_code(r, 201);
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".metadata.labels.a"), "b");
        assert_string_equal(asked(f, "/m", ".request.object.apiVersion"), "example.com/v1");
        assert_string_equal(asked(f, "/m", ".request.requestKind.version"), "v2");
        assert_string_equal(asked(f, "/v", ".request.object.apiVersion"), "example.com/v1");
        assert_string_equal(asked(f, "/v", ".request.object.metadata.labels.a"), "b");
        assert_int_equal(create(f, &v2, "no").code, 422);
}

/* What goes to the store is another object than what is answered, and gone when it is refused. */
static void what_is_too_large_converted_is_refused(void **state) {
        const size_t n = 3 * 512 * 1024;
        struct fixture *f = *state;
        char *text = arena_alloc(f->a, n + 1);

        memset(text, 'a', n);
        text[n] = '\0';
        hook_converts(hook, "/convert");
        define(f);
        check_error(ASK(f, API_CREATE, &v2, "default",
                        .body = arena_printf(f->a,
                                             "{\"apiVersion\":\"example.com/v2\",\"kind\":\"Widget\",\"metadata\":{"
                                             "\"name\":\"x\"},\"spec\":{\"text\":\"%s\"}}",
                                             text)
                                                .p),
                    500, "etcdserver: request is too large");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_webhook_stands_between_versions, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_converted_is_kept, setup, teardown),
                cmocka_unit_test_setup_teardown(objects_of_a_version_that_is_gone_are_not_served, setup, teardown),
                cmocka_unit_test_setup_teardown(admission_has_it_converted, setup, teardown),
                cmocka_unit_test_setup_teardown(what_is_too_large_converted_is_refused, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
