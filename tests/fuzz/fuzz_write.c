/* Any JSON as a body: creates of every kind, and the four patches of a stored Deployment, Pod and Service, as dry runs
 * through decoding, defaults, admission, validation. The first byte chooses the kind, the second what is done; a whole
 * object, as in tests/data/api, is created as what it says it is. */
#include "apiserver/server.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct apiserver *server;

static void done(struct api_call *c) {
        object_unref(c->object);
        api_list_free(c->list);
        error_clear(&c->error);
        *(_Atomic bool *) c->userdata = true;
}

static void run(enum api_verb verb, const struct api_resource *r, const char *name, enum api_patch patch,
                const struct json *body, bool dry) {
        struct arena *a = arena_new(0);
        _Atomic bool finished = false;
        struct api_call c = { .verb = verb,
                              .resource = r,
                              .namespace = r->namespaced ? STR("default") : STR(""),
                              .name = str_of(name),
                              .options = API_OPTIONS_INIT,
                              .patch = patch,
                              .body = body,
                              .user = api_user_system,
                              .arena = a,
                              .done = done,
                              .userdata = (void *) &finished };

        c.options.dry_run = dry;
        c.options.field_manager = STR("fuzz");
        apiserver_call(server, &c);
        while (!finished)
                ;
        arena_free(a);
}

static void seed(const struct api_resource *r, const char *text) {
        struct arena *a = arena_new(0);
        struct json *body;

        if (json_parse(a, str_of(text), NULL, &body, NULL) == 0)
                run(API_CREATE, r, "", API_PATCH_NONE, body, false);
        arena_free(a);
}

#define SPEC "{\"containers\":[{\"name\":\"c\",\"image\":\"x\",\"ports\":[{\"containerPort\":80}]}]}"

/* Without what would end the way early. */
static void open_way(struct arena *a, struct json *body) {
        struct json *meta;

        if (json_type(body) != JSON_OBJECT)
                return;
        json_removec(body, "kind");
        json_removec(body, "apiVersion");
        meta = json_get_or_add_object(a, body, "metadata");
        json_removec(meta, "namespace");
        json_removec(meta, "resourceVersion");
        json_set_cstr(a, meta, "name", "x");
}

static void setup(void) {
        static struct store *store;
        struct apiserver_options o = { 0 };

        if (store_open(&(struct store_options) { 0 }, &store, NULL) < 0)
                abort();
        o.store = store;
        if (apiserver_new(&o, &server, NULL) < 0 || apiserver_bootstrap(server, NULL) < 0)
                abort();
        seed(&res_serviceaccounts, "{\"metadata\":{\"name\":\"default\"}}");
        seed(&res_pods, "{\"metadata\":{\"name\":\"x\"},\"spec\":" SPEC "}");
        seed(&res_services,
             "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
        seed(&res_deployments, "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
                               "\"template\":{\"metadata\":{"
                               "\"labels\":{\"a\":\"b\"}},\"spec\":" SPEC "}}}");
}

/* The resource of an object that says its kind. */
static const struct api_resource *resource_of(const struct json *object) {
        for (size_t i = 0; i < server->n_rests; i++)
                if (str_eq(json_str(json_getc(object, "kind")), server->rest_table[i].kind) &&
                    str_eq(json_str(json_getc(object, "apiVersion")), server->rest_table[i].api_version))
                        return server->rest_table[i].resource;
        return NULL;
}

static void write_object(struct arena *a, struct json *object) {
        const struct api_resource *r = resource_of(object);

        if (!r)
                return;
        open_way(a, object);
        if (r->verbs & VERB_CREATE)
                run(API_CREATE, r, "", API_PATCH_NONE, object, true);
        if (r->verbs & VERB_UPDATE)
                run(API_UPDATE, r, "x", API_PATCH_NONE, object, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const struct api_resource *const seeded[] = { &res_pods, &res_services, &res_deployments };
        struct json_parse_opts opts = { .max_depth = 1000 };
        struct arena *a;
        struct json *body;

        if (!server)
                setup();
        if (size < 3)
                return 0;
        a = arena_new(0);
        if (data[0] == '{') {
                if (json_parse(a, str_n((const char *) data, size), &opts, &body, NULL) == 0)
                        write_object(a, body);
        } else if (json_parse(a, str_n((const char *) data + 2, size - 2), &opts, &body, NULL) == 0) {
                if (data[1] % 2 == 0) {
                        const struct api_resource *r = server->rest_table[data[0] % server->n_rests].resource;

                        open_way(a, body);
                        if (r->verbs & VERB_CREATE)
                                run(API_CREATE, r, "", API_PATCH_NONE, body, true);
                } else {
                        const struct api_resource *r = seeded[data[0] % ARRAY_SIZE(seeded)];
                        enum api_patch patch = API_PATCH_JSON + data[1] / 2 % 4;

                        if (patch == API_PATCH_APPLY && json_is(body, JSON_OBJECT)) {
                                json_set_cstr(a, body, "kind", r->kind);
                                json_set_cstr(a, body, "apiVersion", *r->group ? "apps/v1" : "v1");
                        }
                        run(API_PATCH, r, "x", patch, body, true);
                }
        }
        arena_free(a);
        return 0;
}
