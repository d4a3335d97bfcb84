/* Informers: a map of one resource that follows the server.
 *
 *            ┌──────────── 410, first start ───────────┐
 *            ▼                                         │
 *   start ─▶ LIST ── diff against the map ─▶ WATCH ────┤ the stream ends: WATCH again from the last revision seen
 *            ▲ error: wait 0.1 s · 2^n, at most 30 s   │
 *            └─────────────────────────────────────────┘
 *
 * A LIST is compared with what is there, so handlers hear of everything that changed while we were away, deletions
 * included; no event is lost and none is invented. Revisions decide what is newer, therefore a late event never brings
 * back old content. In this process LIST and WATCH hand out references to the store's own objects: an informer costs a
 * map of pointers. */
#include "client/informer.h"

#include <inttypes.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/time.h"
#include "base/vec.h"
#include "client/transport.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 30000
#define SHORT_WATCH_MS 1000 /* a watch that ends sooner is begun again later */

struct handler {
        informer_handler fn;
        void *arg;
        bool caught_up; /* has heard of what was there when it was added */
};

struct synced_call {
        void (*fn)(void *arg);
        void *arg;
};

struct bucket {
        VEC(struct object *) objects; /* borrowed from the informer's map */
};

struct informer_index {
        char *name;
        void (*fn)(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx);
        struct map *buckets;
};

struct list_call;

struct informer {
        struct informer_factory *factory;
        const struct api_resource *resource;
        char *namespace, *label_selector, *field_selector;
        struct map *objects;
        VEC(struct handler) handlers;
        VEC(struct informer_index *) indexes;
        VEC(struct synced_call) on_synced;
        struct client_watch *watch;
        struct list_call *listing;
        struct timer retry;
        uint64_t backoff_ms;
        uint64_t revision; /* everything up to here is in the map */
        bool started, synced, relist, failing, catching_up;
        int64_t watching_ms; /* when this watch began */
};

struct note {
        struct informer *informer;
        struct object *object; /* NULL: gone */
        char *key, *uid;
};

struct informer_factory {
        struct client *client;
        struct loop *loop;
        VEC(struct informer *) informers;
        VEC(struct note) notes;
        size_t n_failing; /* informers that wait to try again */
        bool dead;        /* being freed: calls still queued on the loop do nothing */
        /* Lists in flight answer on any thread; free waits for them. */
        pthread_mutex_t lock;
        pthread_cond_t cond;
        size_t in_flight;
};

/* ---- keys ---- */

struct str object_key(struct arena *a, const struct object *o) {
        struct key_buffer b;

        return arena_str(a, informer_key(&b, object_namespace(o), object_name(o)));
}

void object_key_split(struct str key, struct str *ret_ns, struct str *ret_name) {
        ssize_t slash = str_find(key, '/');

        *ret_ns = slash < 0 ? str_n("", 0) : str_sub(key, 0, (size_t) slash);
        *ret_name = str_sub(key, (size_t) (slash + 1), key.n);
}

struct str informer_key(struct key_buffer *b, struct str ns, struct str name) {
        size_t n = 0;

        if (ns.n + name.n + 1 > sizeof(b->text))
                return str_n("", 0);
        if (ns.n > 0) {
                memcpy(b->text, ns.p, ns.n);
                b->text[ns.n] = '/';
                n = ns.n + 1;
        }
        if (name.n > 0)
                memcpy(b->text + n, name.p, name.n);
        return str_n(b->text, n + name.n);
}

/* ---- indexes ---- */

struct emit_ctx {
        struct informer_index *index;
        struct object *old, *new;
};

static void bucket_free(void *p) {
        struct bucket *b = p;

        vec_free(&b->objects);
        free(b);
}

static void index_remove(void *arg, struct str value) {
        struct emit_ctx *ctx = arg;
        struct bucket *b = map_get(ctx->index->buckets, value);

        if (!b)
                return;
        for (size_t i = 0; i < b->objects.n; i++)
                if (b->objects.v[i] == ctx->old) {
                        b->objects.v[i] = vec_pop(&b->objects);
                        break;
                }
        if (b->objects.n == 0)
                map_remove(ctx->index->buckets, value);
}

static void index_insert(void *arg, struct str value) {
        struct emit_ctx *ctx = arg;
        struct bucket *b = map_get(ctx->index->buckets, value);

        if (!b) {
                b = xcalloc(1, sizeof(*b));
                map_put(ctx->index->buckets, value, b);
        }
        vec_push(&b->objects, ctx->new);
}

static void index_change(struct informer *i, struct object *old, struct object *new) {
        for (size_t k = 0; k < i->indexes.n; k++) {
                struct emit_ctx ctx = { i->indexes.v[k], old, new };

                if (old)
                        ctx.index->fn(old, index_remove, &ctx);
                if (new)
                        ctx.index->fn(new, index_insert, &ctx);
        }
}

struct informer_index *informer_add_index(struct informer *i, const char *name,
                                          void (*index_fn)(const struct object *o,
                                                           void (*emit)(void *ctx, struct str value), void *ctx)) {
        struct informer_index *x;

        for (size_t k = 0; k < i->indexes.n; k++)
                if (i->indexes.v[k]->fn == index_fn)
                        return i->indexes.v[k];
        x = xnew(struct informer_index, .name = xstrdup(name), .fn = index_fn, .buckets = map_new(bucket_free));
        vec_push(&i->indexes, x);
        map_each(it, i->objects) {
                struct emit_ctx ctx = { x, NULL, it.value };

                x->fn(it.value, index_insert, &ctx);
        }
        return x;
}

size_t informer_index_get(const struct informer_index *x, struct str value, struct object *const **ret) {
        struct bucket *b = map_get(x->buckets, value);

        *ret = b ? b->objects.v : NULL;
        return b ? b->objects.n : 0;
}

void informer_index_by_namespace(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        emit(ctx, object_namespace(o));
}

struct str slice_service(struct arena *a, const struct object *slice) {
        return arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(object_namespace(slice)),
                            STR_ARG(object_label(slice, STR("kubernetes.io/service-name"))));
}

void informer_index_by_service(const struct object *slice, void (*emit)(void *ctx, struct str value), void *ctx) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);

        emit(ctx, slice_service(a, slice));
}

/* ---- the map ---- */

static void notify(struct informer *i, struct object *old, struct object *new) {
        for (size_t k = 0; k < i->handlers.n; k++)
                if (i->handlers.v[k].caught_up)
                        i->handlers.v[k].fn(old, new, i->handlers.v[k].arg);
}

/* final: the last state where it is known, for the handlers. */
static void informer_drop(struct informer *i, struct str key, struct object *final) {
        _cleanup_(object_unrefp) struct object *old = map_take(i->objects, key);

        if (!old)
                return;
        index_change(i, old, NULL);
        notify(i, final ? final : old, NULL);
}

/* Puts what is newer than what is there. Another object of the same name means that the old one was deleted in between.
 */
static void informer_put(struct informer *i, struct object *new) {
        struct key_buffer b;
        struct str key = informer_key(&b, object_namespace(new), object_name(new));
        struct object *old = map_get(i->objects, key);

        if (old && object_revision(new) <= object_revision(old))
                return;
        if (old && !str_eq(object_uid(old), object_uid(new))) {
                informer_drop(i, key, NULL);
                old = NULL;
        }
        if (old)
                object_ref(old);
        map_put(i->objects, key, object_ref(new));
        index_change(i, old, new);
        notify(i, old, new);
        object_unref(old);
}

/* ---- list ---- */

struct list_call {
        struct api_call call;
        struct loop_work work;
        struct informer_factory *factory;
        struct informer *informer; /* NULL: gone in the meantime */
};

static void informer_list(struct informer *i);
static void informer_watch_from_revision(struct informer *i);

static void retry_fired(struct timer *t) {
        struct informer *i = container_of(t, struct informer, retry);

        if (i->relist)
                informer_list(i);
        else
                informer_watch_from_revision(i);
}

static void informer_retry(struct informer *i, const char *what, const struct error *err) {
        if (!i->failing && err && err->err < 0) {
                /* A server that is away is away for all: said once. */
                if (err->err != -ENOTCONN || i->factory->n_failing == 0)
                        log_warn("%s %s: %s; trying again", what, i->resource->plural, error_text(err));
                i->failing = true;
                i->factory->n_failing++;
        }
        i->backoff_ms = MIN(MAX(i->backoff_ms * 2, (uint64_t) BACKOFF_FIRST_MS), (uint64_t) BACKOFF_MAX_MS);
        timer_start(i->factory->loop, &i->retry, i->backoff_ms / 2 + rand_below(i->backoff_ms / 2 + 1), retry_fired);
}

static void informer_healthy(struct informer *i) {
        if (i->failing && --i->factory->n_failing == 0)
                log_info("following %s and all others again", i->resource->plural);
        i->failing = false;
        i->backoff_ms = 0;
}

/* Makes the map equal to the list, telling the handlers of each difference. What is newer than the list (noted by
 * ourselves meanwhile) stays: the watch will speak of it. */
static void informer_replace(struct informer *i, const struct api_list *list) {
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        VEC(struct object *) gone = { 0 };
        struct key_buffer b;

        for (size_t k = 0; k < list->n; k++) {
                struct object *o = list->items[k];

                map_put(seen, informer_key(&b, object_namespace(o), object_name(o)), o);
        }
        map_each(it, i->objects)
                if (!map_has(seen, it.key) && object_revision(it.value) <= list->revision)
                        vec_push(&gone, object_ref(it.value));
        for (size_t k = 0; k < gone.n; k++) {
                informer_drop(i, informer_key(&b, object_namespace(gone.v[k]), object_name(gone.v[k])), NULL);
                object_unref(gone.v[k]);
        }
        vec_free(&gone);
        for (size_t k = 0; k < list->n; k++)
                informer_put(i, list->items[k]);
}

static void informer_became_synced(struct informer *i) {
        i->synced = true;
        for (size_t k = 0; k < i->on_synced.n; k++)
                i->on_synced.v[k].fn(i->on_synced.v[k].arg);
        vec_free(&i->on_synced);
}

static void list_call_free(struct list_call *l) {
        api_list_free(l->call.list);
        object_unref(l->call.object);
        error_clear(&l->call.error);
        arena_free(l->call.arena); /* and with it l */
}

static void list_arrived(struct loop_work *w) {
        struct list_call *l = container_of(w, struct list_call, work);
        struct informer *i = l->informer;

        if (i) {
                i->listing = NULL;
                if (api_call_result(&l->call) < 0)
                        informer_retry(i, "list", &l->call.error);
                else {
                        informer_healthy(i);
                        informer_replace(i, l->call.list);
                        i->revision = l->call.list->revision;
                        i->relist = false;
                        if (!i->synced)
                                informer_became_synced(i);
                        informer_watch_from_revision(i);
                }
        }
        list_call_free(l);
}

static void list_done(struct api_call *call) { /* any thread */
        struct list_call *l = call->userdata;
        struct informer_factory *f = l->factory;

        pthread_mutex_lock(&f->lock);
        loop_post(f->loop, &l->work);
        if (--f->in_flight == 0)
                pthread_cond_broadcast(&f->cond);
        pthread_mutex_unlock(&f->lock);
}

static void informer_list(struct informer *i) {
        struct informer_factory *f = i->factory;
        struct arena *a = arena_new(0);
        struct list_call *l = arena_new_of(a, struct list_call);

        l->factory = f;
        l->informer = i;
        l->work.run = list_arrived;
        l->call = (struct api_call) {
                .verb = API_LIST,
                .resource = i->resource,
                .namespace = arena_str(a, str_of(i->namespace)),
                .options = API_OPTIONS_INIT,
                .arena = a,
                .done = list_done,
                .userdata = l,
        };
        l->call.options.label_selector = arena_str(a, str_of(i->label_selector));
        l->call.options.field_selector = arena_str(a, str_of(i->field_selector));
        i->relist = true;
        i->listing = l;
        with_lock(&f->lock)
                f->in_flight++;
        client_call(f->client, &l->call);
}

/* ---- watch ---- */

static void watch_ended(struct informer *i, const struct error *error) {
        client_watch_stop(TAKE_PTR(i->watch));
        if (error && error->err == -ESTALE)
                informer_list(i);
        else if ((error && error->err < 0) || now_mono_ms() - i->watching_ms < SHORT_WATCH_MS)
                informer_retry(i, "watch", error);
        else
                informer_watch_from_revision(i); /* its time was over */
}

static void watch_event(const struct api_event *e, void *arg) {
        struct informer *i = arg;
        struct key_buffer b;

        if (e->type != API_ERROR)
                informer_healthy(i);
        switch (e->type) {
        case API_ADDED:
        case API_MODIFIED:
                informer_put(i, e->object);
                break;
        case API_DELETED:
                informer_drop(i, informer_key(&b, object_namespace(e->object), object_name(e->object)), e->object);
                break;
        case API_BOOKMARK:
                break;
        case API_ERROR:
                return watch_ended(i, e->error);
        }
        i->revision = MAX(i->revision, e->revision);
}

static void informer_watch_from_revision(struct informer *i) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char revision[24];
        struct client_request r = {
                .verb = API_WATCH,
                .resource = i->resource,
                .namespace = str_of(i->namespace),
                .options = API_OPTIONS_INIT,
        };

        snprintf(revision, sizeof(revision), "%" PRIu64, i->revision);
        r.options.resource_version = str_of(revision);
        r.options.label_selector = str_of(i->label_selector);
        r.options.field_selector = str_of(i->field_selector);
        r.options.watch_bookmarks = true;
        i->relist = false;
        i->watching_ms = now_mono_ms();
        if (client_watch(i->factory->client, &r, i->factory->loop, watch_event, i, &i->watch, &err) >= 0)
                return;
        i->watch = NULL;
        if (err.err == -ESTALE)
                informer_list(i);
        else
                informer_retry(i, "watch", &err);
}

/* ---- notes ---- */

static void note_apply(const struct note *note) {
        struct informer *i = note->informer;

        if (note->object) {
                /* What the watch has already told is not told again: the object may be gone since. */
                if (object_revision(note->object) > i->revision)
                        informer_put(i, note->object);
                return;
        }
        struct object *o = map_get(i->objects, str_of(note->key));
        if (o && str_eqc(object_uid(o), note->uid)) /* and not another that has taken its name */
                informer_drop(i, str_of(note->key), NULL);
}

static void note_clear(struct note *note) {
        object_unref(note->object);
        free(note->key);
        free(note->uid);
}

static void notes_apply(void *arg) {
        struct informer_factory *f = arg;

        if (f->dead)
                return;
        for (size_t k = 0; k < f->notes.n; k++) { /* a handler may note more */
                struct note note = f->notes.v[k];

                note_apply(&note);
                note_clear(&note);
        }
        f->notes.n = 0;
}

static void add_note(struct informer_factory *f, struct note note) {
        if (f->notes.n == 0)
                loop_call(f->loop, notes_apply, f);
        vec_push(&f->notes, note);
}

void informer_note(struct informer *i, struct object *object) {
        add_note(i->factory, (struct note) { .informer = i, .object = object_ref(object) });
}

void informer_note_gone(struct informer *i, struct str key, struct str uid) {
        add_note(i->factory, (struct note) { .informer = i, .key = str_dup(key), .uid = str_dup(uid) });
}

/* ---- the factory ---- */

struct informer_factory *informer_factory_new(struct client *c, struct loop *loop) {
        struct informer_factory *f = xnew(struct informer_factory, .client = c, .loop = loop);

        pthread_mutex_init(&f->lock, NULL);
        pthread_cond_init(&f->cond, NULL);
        return f;
}

static void informer_release(struct timer *t) {
        free(container_of(t, struct informer, retry));
}

static void informer_free(struct informer *i) {
        for (size_t k = 0; k < i->indexes.n; k++) {
                free(i->indexes.v[k]->name);
                map_free(i->indexes.v[k]->buckets);
                free(i->indexes.v[k]);
        }
        vec_free(&i->indexes);
        vec_free(&i->handlers);
        vec_free(&i->on_synced);
        map_free(i->objects);
        free_all(i->namespace, i->label_selector, i->field_selector);
        timer_close(&i->retry, informer_release);
}

static void factory_release(void *arg) {
        struct informer_factory *f = arg;

        for (size_t k = 0; k < f->informers.n; k++)
                informer_free(f->informers.v[k]);
        vec_free(&f->informers);
        for (size_t k = 0; k < f->notes.n; k++)
                note_clear(&f->notes.v[k]);
        vec_free(&f->notes);
        pthread_cond_destroy(&f->cond);
        pthread_mutex_destroy(&f->lock);
        free(f);
}

void informer_factory_free(struct informer_factory *f) {
        if (!f)
                return;
        f->dead = true;
        for (size_t k = 0; k < f->informers.n; k++) {
                struct informer *i = f->informers.v[k];

                client_watch_stop(TAKE_PTR(i->watch));
                timer_stop(&i->retry);
                if (i->listing)
                        i->listing->informer = NULL;
                i->listing = NULL;
        }
        with_lock(&f->lock)
                while (f->in_flight > 0)
                        pthread_cond_wait(&f->cond, &f->lock);
        /* Behind everything that is queued on the loop for us. */
        loop_call(f->loop, factory_release, f);
}

static bool same_text(const char *a, const char *b) {
        return str_eq(str_of(a), str_of(b));
}

static bool same_resource(const struct api_resource *a, const struct api_resource *b) {
        return a == b ||
               (same_text(a->plural, b->plural) && same_text(a->group, b->group) && same_text(a->version, b->version));
}

static struct informer *find(struct informer_factory *f, const struct api_resource *res, const char *ns,
                             const char *label_selector, const char *field_selector) {
        for (size_t k = 0; k < f->informers.n; k++) {
                struct informer *i = f->informers.v[k];

                if (same_resource(i->resource, res) && same_text(i->namespace, ns) &&
                    same_text(i->label_selector, label_selector) && same_text(i->field_selector, field_selector))
                        return i;
        }
        return NULL;
}

struct informer *informer_find(struct informer_factory *f, const struct api_resource *res) {
        return find(f, res, "", "", "");
}

struct informer *informer_of_selected(struct informer_factory *f, const struct api_resource *res, const char *ns,
                                      const char *label_selector, const char *field_selector) {
        struct informer *i = find(f, res, ns, label_selector, field_selector);

        if (i)
                return i;
        i = xcalloc(1, sizeof(*i));
        i->factory = f;
        i->resource = res;
        i->namespace = xstrdup(ns ? ns : "");
        i->label_selector = xstrdup(label_selector ? label_selector : "");
        i->field_selector = xstrdup(field_selector ? field_selector : "");
        i->objects = map_new(object_unref_value);
        vec_push(&f->informers, i);
        return i;
}

struct informer *informer_of(struct informer_factory *f, const struct api_resource *res) {
        return informer_of_selected(f, res, "", "", "");
}

static void start_on_loop(void *arg) {
        struct informer_factory *f = arg;

        for (size_t k = 0; k < f->informers.n && !f->dead; k++)
                if (!f->informers.v[k]->started) {
                        f->informers.v[k]->started = true;
                        informer_list(f->informers.v[k]);
                }
}

void informer_factory_start(struct informer_factory *f) {
        loop_call(f->loop, start_on_loop, f);
}

/* Handlers that came late hear of what is there, on a turn of their own. */
static void catch_up(void *arg) {
        struct informer *i = arg;

        i->catching_up = false;
        for (size_t k = 0; k < i->handlers.n && !i->factory->dead; k++) {
                if (i->handlers.v[k].caught_up)
                        continue;
                i->handlers.v[k].caught_up = true;
                map_each(it, i->objects)
                        i->handlers.v[k].fn(NULL, it.value, i->handlers.v[k].arg);
        }
}

void informer_add_handler(struct informer *i, informer_handler fn, void *arg) {
        bool fresh = map_size(i->objects) == 0;

        vec_push(&i->handlers, (struct handler) { fn, arg, fresh });
        if (!fresh && !i->catching_up) {
                i->catching_up = true;
                loop_call(i->factory->loop, catch_up, i);
        }
}

static void synced_already(void *arg) {
        struct informer *i = arg;

        if (!i->factory->dead)
                informer_became_synced(i);
}

void informer_on_synced(struct informer *i, void (*fn)(void *arg), void *arg) {
        if (i->synced && i->on_synced.n == 0)
                loop_call(i->factory->loop, synced_already, i);
        vec_push(&i->on_synced, (struct synced_call) { fn, arg });
}

/* ---- reading ---- */

bool informer_synced(const struct informer *i) {
        return i->synced;
}

bool informer_factory_synced(const struct informer_factory *f) {
        for (size_t k = 0; k < f->informers.n; k++)
                if (!f->informers.v[k]->synced)
                        return false;
        return true;
}

struct object *informer_get(const struct informer *i, struct str key) {
        return map_get(i->objects, key);
}

struct object *informer_get_named(const struct informer *i, struct str ns, struct str name) {
        struct key_buffer b;

        return map_get(i->objects, informer_key(&b, ns, name));
}

size_t informer_count(const struct informer *i) {
        return map_size(i->objects);
}

const struct map *informer_objects(const struct informer *i) {
        return i->objects;
}
