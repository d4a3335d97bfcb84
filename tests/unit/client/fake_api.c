#include "fake_api.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/map.h"
#include "base/rand.h"
#include "base/vec.h"
#include "client/transport.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/selector.h"
#include "schema/strategic.h"
#include "schema/types.h"

struct watcher {
        struct fake_api *api;
        const struct api_resource *res;
        char *ns, *labels, *fields;
        struct loop *loop;
        void (*event)(const struct api_event *e, void *arg);
        void *arg;
        bool stopped;
        size_t pending; /* deliveries on their way */
};

struct failure {
        enum api_verb verb;
        const struct api_resource *res;
        enum status_reason reason;
        char *message;
        unsigned n;
};

struct fake_api {
        const struct clock *clock;
        struct map *objects; /* "group/plural/ns/name" */
        uint64_t revision;
        VEC(struct watcher *) watchers;
        VEC(struct failure) failures;
        size_t activity, writes;
};

struct fake_api *fake_api_new(const struct clock *clock) {
        struct fake_api *f = xcalloc(1, sizeof(*f));

        f->clock = clock ? clock : &system_clock;
        f->objects = map_new(object_unref_value);
        f->revision = 1;
        return f;
}

static void watcher_free(struct watcher *w) {
        free(w->ns);
        free(w->labels);
        free(w->fields);
        free(w);
}

void fake_api_free(struct fake_api *f) {
        for (size_t i = 0; i < f->failures.n; i++)
                free(f->failures.v[i].message);
        vec_free(&f->failures);
        vec_free(&f->watchers);
        map_free(f->objects);
        free(f);
}

static struct str key_of(struct arena *a, const struct api_resource *r, struct str ns, struct str name) {
        return arena_printf(a, "%s/%s/%" STR_FMT "/%" STR_FMT, r->group, r->plural, STR_ARG(ns), STR_ARG(name));
}

/* ---- watches ---- */

struct delivery {
        struct watcher *w;
        enum api_event_type type;
        struct object *object;
        uint64_t revision;
        int err;
};

static void deliver(void *arg) {
        struct delivery *d = arg;
        struct watcher *w = d->w;
        _cleanup_error_ struct error error = ERROR_INIT;
        struct api_event e = { .type = d->type, .object = d->object, .revision = d->revision };

        w->pending--;
        if (d->type == API_ERROR) {
                error_set(&error, d->err, "watch over");
                e.error = &error;
        }
        if (!w->stopped) {
                w->api->activity++;
                w->event(&e, w->arg);
        } else if (w->pending == 0)
                watcher_free(w);
        object_unref(d->object);
        free(d);
}

static void send_to(struct watcher *w, enum api_event_type type, struct object *o, int err) {
        struct delivery *d = xcalloc(1, sizeof(*d));

        *d = (struct delivery) { w, type, o ? object_ref(o) : NULL, o ? object_revision(o) : 0, err };
        w->pending++;
        loop_call(w->loop, deliver, d);
}

static bool matches(const struct api_resource *res, const char *ns, const char *labels, const char *fields,
                    const struct object *o) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct field_selector fs;
        struct selector ls;

        if (*ns && !str_eqc(object_namespace(o), ns))
                return false;
        if (*labels && (selector_parse_labels(a, str_of(labels), &ls, NULL) < 0 || !selector_matches_object(&ls, o)))
                return false;
        return !*fields ||
               (selector_parse_fields(a, res, str_of(fields), &fs, NULL) == 0 && selector_matches_fields(&fs, o));
}

static void publish(struct fake_api *f, const struct api_resource *res, struct object *old, struct object *new) {
        f->activity++;
        for (size_t i = 0; i < f->watchers.n; i++) {
                struct watcher *w = f->watchers.v[i];
                bool was, is;

                if (w->stopped || w->res != res)
                        continue;
                was = old && matches(res, w->ns, w->labels, w->fields, old);
                is = new &&matches(res, w->ns, w->labels, w->fields, new);
                if (is)
                        send_to(w, was ? API_MODIFIED : API_ADDED, new, 0);
                else if (was)
                        send_to(w, API_DELETED, new ? new : old, 0);
        }
}

static char *dup_or_empty(struct str s) {
        return str_dup(s.p ? s : STR(""));
}

static int fake_watch(void *transport, const struct api_call *call, void (*event)(const struct api_event *e, void *arg),
                      void *arg, void **ret_watch, struct error *err) {
        struct fake_api *f = transport;
        struct watcher *w;
        uint64_t revision;

        if (str_to_u64(call->options.resource_version, &revision) < 0 ||
            revision != f->revision) /* it keeps no history */
                return error_status(err, REASON_EXPIRED, "too old resource version");
        w = xcalloc(1, sizeof(*w));
        *w = (struct watcher) {
                .api = f,
                .res = call->resource,
                .ns = dup_or_empty(call->namespace),
                .labels = dup_or_empty(call->options.label_selector),
                .fields = dup_or_empty(call->options.field_selector),
                .loop = call->loop,
                .event = event,
                .arg = arg,
        };
        vec_push(&f->watchers, w);
        *ret_watch = w;
        return 0;
}

static void fake_watch_stop(void *transport, void *watch) {
        struct fake_api *f = transport;
        struct watcher *w = watch;

        for (size_t i = 0; i < f->watchers.n; i++)
                if (f->watchers.v[i] == w) {
                        vec_remove(&f->watchers, i);
                        break;
                }
        w->stopped = true;
        if (w->pending == 0)
                watcher_free(w);
}

/* ---- writes ---- */

static void put(struct fake_api *f, const struct api_resource *res, struct object *old, const struct json *tree,
                struct object **ret) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *keep = old ? object_ref(old) : NULL;
        struct object *o = object_from_tree(tree);

        object_set_revision(o, ++f->revision);
        map_put(f->objects, key_of(a, res, object_namespace(o), object_name(o)), o);
        publish(f, res, keep, o);
        if (ret)
                *ret = object_ref(o);
}

static void take(struct fake_api *f, const struct api_resource *res, struct object *old, const struct json *tree,
                 struct object **ret) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *keep = object_ref(old), *final = object_from_tree(tree);

        object_set_revision(final, ++f->revision);
        map_remove(f->objects, key_of(a, res, object_namespace(keep), object_name(keep)));
        f->activity++;
        for (size_t i = 0; i < f->watchers.n; i++) {
                struct watcher *w = f->watchers.v[i];

                if (!w->stopped && w->res == res && matches(res, w->ns, w->labels, w->fields, keep))
                        send_to(w, API_DELETED, final, 0);
        }
        if (ret)
                *ret = object_ref(final);
}

static struct json *meta_of(struct arena *a, struct json *tree) {
        struct json *shared = json_get_mut(tree, STR("metadata"));

        if (!shared)
                return json_get_or_add_object(a, tree, "metadata");
        *shared = json_copy_shallow(a, shared);
        return shared;
}

static struct json normalized(struct arena *a, const struct api_resource *res, const struct json *in) {
        struct json out, full = json_new_object();
        _cleanup_error_ struct error err = ERROR_INIT;

        json_set_cstr(a, &full, "kind", res->kind);
        json_setc(a, &full, "apiVersion", json_of_copy(a, api_version_of((char[320]) { 0 }, res)));
        json_each_member(m, in)
                json_set(a, &full, json_key(m), m->value);
        if (schema_decode(a, res->type, &full, NULL, &out, &err) < 0) {
                fprintf(stderr, "fake api: %s: %s\n", res->plural, error_text(&err));
                abort();
        }
        schema_default(a, res->type, &out);
        schema_reorder(a, res->type, &out);
        return out;
}

static int do_create(struct fake_api *f, const struct api_resource *res, struct str ns, const struct json *body,
                     struct object **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json tree = json_copy(a, body), *meta = meta_of(a, &tree);
        char uid[37], time[36];
        struct str name = json_str(json_getc(meta, "name")), prefix = json_str(json_getc(meta, "generateName"));

        if (str_empty(name)) {
                char suffix[6] = "";

                if (str_empty(prefix))
                        return error_status(err, REASON_INVALID, "name or generateName is required");
                rand_suffix(suffix, 5);
                name = arena_printf(a, "%" STR_FMT "%s", STR_ARG(prefix), suffix);
        }
        if (map_has(f->objects, key_of(a, res, res->namespaced ? ns : STR(""), name)))
                return error_status(err, REASON_ALREADY_EXISTS, "%s \"%" STR_FMT "\" already exists", res->plural,
                                    STR_ARG(name));
        rand_uuid(uid);
        json_set_str(a, meta, "name", name);
        if (res->namespaced)
                json_set_str(a, meta, "namespace", ns);
        json_set_cstr(a, meta, "uid", uid);
        json_set_int(a, meta, "generation", 1);
        json_set_str(a, meta, "creationTimestamp", time_format(time, f->clock->wall_ns(f->clock)));
        tree = normalized(a, res, &tree);
        put(f, res, NULL, &tree, ret);
        return 0;
}

static bool is_finished(const struct json *meta) {
        return json_getc(meta, "deletionTimestamp") && json_len(json_getc(meta, "finalizers")) == 0 &&
               json_int(json_getc(meta, "deletionGracePeriodSeconds")) == 0;
}

static int do_update(struct fake_api *f, const struct api_resource *res, struct object *old, struct str sub,
                     const struct json *body, struct object **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *before = object_json(old);
        struct str revision = json_str(json_at_path(body, "metadata", "resourceVersion")),
                   uid = json_str(json_at_path(body, "metadata", "uid"));
        struct json tree, *meta;
        uint64_t n;

        if ((!str_empty(revision) && (str_to_u64(revision, &n) < 0 || n != object_revision(old))) ||
            (!str_empty(uid) && !str_eq(uid, object_uid(old))))
                return error_status(err, REASON_CONFLICT, "the object has been modified");
        if (str_eqc(sub, "status")) {
                tree = json_copy_shallow(a, before);
                if (json_getc(body, "status"))
                        json_setc(a, &tree, "status", *json_getc(body, "status"));
                if (json_at_path(body, "metadata", "annotations"))
                        json_setc(a, meta_of(a, &tree), "annotations", *json_at_path(body, "metadata", "annotations"));
        } else {
                tree = json_copy_shallow(a, body);
                if (str_eqc(sub, "finalize")) {
                        tree = json_copy_shallow(a, before);
                        json_setc(a, &tree, "spec", *json_getc(body, "spec"));
                } else if (json_getc(before, "status"))
                        json_setc(a, &tree, "status", *json_getc(before, "status"));
        }
        meta = meta_of(a, &tree);
        for (const char *const *k = (const char *const[]) { "uid", "creationTimestamp", "deletionTimestamp",
                                                            "deletionGracePeriodSeconds", "generation", NULL };
             *k; k++)
                if (json_at_path(before, "metadata", *k))
                        json_setc(a, meta, *k, *json_at_path(before, "metadata", *k));
        tree = normalized(a, res, &tree);
        meta = meta_of(a, &tree);
        if (!json_equal(json_getc(&tree, "spec"), json_getc(before, "spec")))
                json_set_int(a, meta, "generation",
                             object_revision(old) ? json_int(json_getc(meta, "generation")) + 1 : 1);
        json_removec(meta, "resourceVersion");
        if (is_finished(meta) && !(res == &res_namespaces && json_len(json_at_path(&tree, "spec", "finalizers")) > 0))
                take(f, res, old, &tree, ret);
        else {
                struct json copy = json_copy_shallow(a, before), *m = meta_of(a, &copy);

                json_removec(m, "resourceVersion");
                if (json_equal(&copy, &tree)) { /* nothing changed: nothing is written */
                        if (ret)
                                *ret = object_ref(old);
                        return 0;
                }
                put(f, res, old, &tree, ret);
        }
        return 0;
}

static int do_patch(struct fake_api *f, const struct api_resource *res, struct object *old, struct str sub,
                    enum api_patch type, const struct json *patch, struct object **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json tree;
        int r;

        if (type == API_PATCH_STRATEGIC && res->type) {
                r = strategic_merge_patch(a, res->type, object_json(old), patch, &tree, err);
                if (r < 0)
                        return r;
        } else if (type == API_PATCH_JSON) {
                r = json_patch_apply(a, object_json(old), patch, &tree, err);
                if (r < 0)
                        return r;
        } else
                tree = json_merge_patch(a, object_json(old), patch);
        return do_update(f, res, old, sub, &tree, ret, err);
}

static int do_delete(struct fake_api *f, const struct api_resource *res, struct object *old,
                     const struct api_options *o, struct object **ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json tree = json_copy(a, object_json(old)), *meta = meta_of(a, &tree), *finalizers;
        int64_t grace = o->grace_period_seconds;
        const char *add = str_eqc(o->propagation_policy, "Foreground") ? "foregroundDeletion"
                          : str_eqc(o->propagation_policy, "Orphan")   ? "orphan"
                                                                       : NULL;

        if (!str_empty(o->precondition_uid) && !str_eq(o->precondition_uid, object_uid(old)))
                return error_status(err, REASON_CONFLICT, "the uid does not match");
        if (add) {
                finalizers = json_get_or_add_array(a, meta, "finalizers");
                json_push(a, finalizers, json_of_cstr(add));
        }
        if (res != &res_pods || str_empty(json_str(json_at_path(&tree, "spec", "nodeName"))))
                grace = 0;
        else if (grace < 0)
                grace = json_int_or(json_at_path(&tree, "spec", "terminationGracePeriodSeconds"), 30);
        if (grace == 0 && json_len(json_getc(meta, "finalizers")) == 0 &&
            !(res == &res_namespaces && json_len(json_at_path(&tree, "spec", "finalizers")) > 0)) {
                take(f, res, old, &tree, ret);
                return 0;
        }
        if (!json_getc(meta, "deletionTimestamp")) {
                char time[36];

                json_setc(a, meta, "deletionTimestamp",
                          json_of_copy(a, time_format(time, f->clock->wall_ns(f->clock))));
        } else if (!add && json_int(json_getc(meta, "deletionGracePeriodSeconds")) == grace) {
                if (ret)
                        *ret = object_ref(old);
                return 0;
        }
        json_set_int(a, meta, "deletionGracePeriodSeconds", grace);
        if (res == &res_namespaces)
                json_set_cstr(a, json_get_or_add_object(a, &tree, "status"), "phase", "Terminating");
        tree = normalized(a, res, &tree);
        put(f, res, old, &tree, ret);
        return 0;
}

/* ---- the transport ---- */

static int compare_objects(const void *a, const void *b) {
        const struct object *x = *(struct object *const *) a, *y = *(struct object *const *) b;
        int r = str_cmp(object_namespace(x), object_namespace(y));

        return r ? r : str_cmp(object_name(x), object_name(y));
}

static struct api_list *do_list(struct fake_api *f, const struct api_resource *res, const char *ns, const char *labels,
                                const char *fields) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct api_list *l = xcalloc(1, sizeof(*l));
        struct str prefix = arena_printf(a, "%s/%s/", res->group, res->plural);

        l->items = xcalloc(map_size(f->objects) + 1, sizeof(*l->items));
        for (struct map_iter it = MAP_ITER(f->objects); map_next(&it);)
                if (str_has_prefix(it.key, prefix) && matches(res, ns, labels, fields, it.value))
                        l->items[l->n++] = object_ref(it.value);
        qsort(l->items, l->n, sizeof(*l->items), compare_objects);
        l->revision = f->revision;
        l->remaining = -1;
        return l;
}

/* Linked in place of the apiserver's. */
void __attribute__((weak)) api_list_free(struct api_list *l) {
        if (!l)
                return;
        for (size_t i = 0; i < l->n; i++)
                object_unref(l->items[i]);
        free(l->items);
        free(l);
}

static int injected(struct fake_api *f, const struct api_call *c, struct error *err) {
        for (size_t i = 0; i < f->failures.n; i++) {
                struct failure *x = &f->failures.v[i];

                if (x->n == 0 || x->verb != c->verb || (x->res && x->res != c->resource))
                        continue;
                x->n--;
                return error_status(err, x->reason, "%s", x->message);
        }
        return 0;
}

static int dispatch(struct fake_api *f, struct api_call *c) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *o;
        int r;

        r = injected(f, c, &c->error);
        if (r < 0)
                return r;
        if (c->verb == API_LIST) {
                _cleanup_free_ char *ns = dup_or_empty(c->namespace), *ls = dup_or_empty(c->options.label_selector),
                                    *fs = dup_or_empty(c->options.field_selector);

                c->list = do_list(f, c->resource, ns, ls, fs);
                return 0;
        }
        if (c->verb == API_CREATE)
                return do_create(f, c->resource, c->namespace, c->body, &c->object, &c->error);
        o = map_get(f->objects, key_of(a, c->resource, c->namespace, c->name));
        if (!o)
                return error_status(&c->error, REASON_NOT_FOUND, "%s \"%" STR_FMT "\" not found", c->resource->plural,
                                    STR_ARG(c->name));
        switch (c->verb) {
        case API_GET:
                c->object = object_ref(o);
                return 0;
        case API_UPDATE:
                return do_update(f, c->resource, o, c->subresource, c->body, &c->object, &c->error);
        case API_PATCH:
                return do_patch(f, c->resource, o, c->subresource, c->patch, c->body, &c->object, &c->error);
        case API_DELETE:
                return do_delete(f, c->resource, o, &c->options, &c->object, &c->error);
        default:
                return error_status(&c->error, REASON_METHOD_NOT_ALLOWED, "not in the fake");
        }
}

static void answer(void *arg) {
        struct api_call *c = arg;

        c->done(c);
}

static void fake_call(void *transport, struct api_call *c) {
        struct fake_api *f = transport;
        int r = dispatch(f, c);

        f->activity++;
        c->code = r == 0 ? 200 : c->error.code ? c->error.code : 500;
        if (r == 0 && c->verb != API_GET && c->verb != API_LIST && c->resource != &res_events)
                f->writes++;
        if (c->loop)
                loop_call(c->loop, answer, c);
        else
                c->done(c);
}

static void fake_free(void *transport) {
}

static const struct transport_ops fake_ops = { fake_call, fake_watch, fake_watch_stop, fake_free };

struct client *fake_api_client(struct fake_api *f) {
        return client_new(&fake_ops, f, NULL);
}

/* ---- the test's hand ---- */

static struct json parse(struct arena *a, const char *fmt, va_list ap) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *text = NULL;
        struct json *j;
        int n = vasprintf(&text, fmt, ap);

        for (int i = 0; i < n; i++)
                if (text[i] == '\'')
                        text[i] = '"';
        if (json_parse(a, str_of(text), &(struct json_parse_opts) { .copy_strings = true }, &j, &err) < 0) {
                fprintf(stderr, "%s\n%s\n", text, error_text(&err));
                abort();
        }
        free(text);
        return *j;
}

static void must(int r, const struct error *err) {
        if (r >= 0)
                return;
        fprintf(stderr, "fake api: %s\n", error_text(err));
        abort();
}

struct object *fake_api_create(struct fake_api *f, const struct api_resource *res, const char *ns, const char *fmt,
                               ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_(object_unrefp) struct object *o = NULL;
        struct json body;
        va_list ap;

        va_start(ap, fmt);
        body = parse(a, fmt, ap);
        va_end(ap);
        must(do_create(f, res, str_of(ns), &body, &o, &err), &err);
        return map_get(f->objects, key_of(a, res, str_of(ns), object_name(o)));
}

struct object *fake_api_get(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        return map_get(f->objects, key_of(a, res, str_of(ns), str_of(name)));
}

struct object *fake_api_patch(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name,
                              const char *subresource, const char *fmt, ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct object *old = fake_api_get(f, res, ns, name);
        struct json patch;
        va_list ap;

        assert(old);
        va_start(ap, fmt);
        patch = parse(a, fmt, ap);
        va_end(ap);
        must(do_patch(f, res, old, str_of(subresource), API_PATCH_MERGE, &patch, NULL, &err), &err);
        return fake_api_get(f, res, ns, name);
}

void fake_api_delete(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name,
                     const char *propagation) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct object *old = fake_api_get(f, res, ns, name);
        struct api_options o = API_OPTIONS_INIT;

        assert(old);
        o.propagation_policy = str_of(propagation);
        must(do_delete(f, res, old, &o, NULL, &err), &err);
}

void fake_api_remove(struct fake_api *f, const struct api_resource *res, const char *ns, const char *name) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *old = fake_api_get(f, res, ns, name);
        struct json tree;

        assert(old);
        tree = json_copy(a, object_json(old));
        take(f, res, old, &tree, NULL);
}

size_t fake_api_list(struct fake_api *f, const struct api_resource *res, const char *ns, struct object **out,
                     size_t max) {
        struct api_list *l = do_list(f, res, ns, "", "");
        size_t n = l->n;

        for (size_t i = 0; i < n && i < max; i++)
                out[i] = l->items[i];
        api_list_free(l);
        return n;
}

size_t fake_api_writes(const struct fake_api *f) {
        return f->writes;
}

void fake_api_fail(struct fake_api *f, enum api_verb verb, const struct api_resource *res, enum status_reason reason,
                   const char *message, unsigned n) {
        vec_push(&f->failures, (struct failure) { verb, res, reason, xstrdup(message), n });
}

static void end_watches(struct fake_api *f, int err) {
        for (size_t i = 0; i < f->watchers.n; i++)
                send_to(f->watchers.v[i], API_ERROR, NULL, err);
}

void fake_api_expire_watches(struct fake_api *f) {
        end_watches(f, -ESTALE);
}

void fake_api_drop_watches(struct fake_api *f) {
        end_watches(f, -ECONNRESET);
}

/* ---- time ---- */

static int64_t fake_now(const struct clock *c) {
        return container_of(c, const struct fake_clock, clock)->ns;
}

void fake_clock_init(struct fake_clock *c) {
        c->clock = (struct clock) { fake_now, fake_now };
        time_parse(STR("2025-01-01T00:00:00Z"), &c->ns);
}

void fake_settle(struct fake_api *f, struct loop *loop) {
        size_t seen;
        int quiet = 0;

        do {
                seen = f->activity;
                uv_run(loop_uv(loop), UV_RUN_NOWAIT);
                quiet = f->activity == seen ? quiet + 1 : 0;
        } while (quiet < 50);
}
