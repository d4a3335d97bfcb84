/* What a webhook has converted, kept for all who read: lists, and watches, go on without it.
 *
 *   store ─▶ a watch of each version, on the loop "extensions" ─▶ webhook ─▶ kept
 *                                GET and LIST that may be from memory ◀────────┤
 *                                   watches, which wait for what comes ◀───────┘
 *
 * It has the newest state of every object, and some that are older: when these have become many, they go. When it
 * cannot be filled its version has no watches, and lists are put off, as upstream's are, whose cache is of converted
 * objects. */
#include <math.h>

#include "apiserver/extensions/custom.h"
#include "apiserver/watch.h"
#include "base/lock.h"

#define AGAIN_MS 1000
#define PATIENCE_MS 30000 /* with a webhook that has converted all that there was */
#define OLDER 1024        /* states, beside as many as there are objects */

struct kept {
        const struct rest *rest; /* whose this is; what runs holds its definition */
        struct list link;        /* of those that run */
        struct apiserver *s;
        pthread_mutex_t lock; /* of what follows */
        struct loop *loop;    /* NULL: it has not begun */
        struct map *objects;  /* "uid/revision" → struct object */
        size_t limit;         /* how many until those are looked for that are old */
        uint64_t position;    /* what was written up to here is there, but for what is old */
        bool over;            /* nothing comes any more */
        struct error why;     /* it cannot be filled */
        int64_t since_ms;     /* since then */
        bool awaited;         /* somebody waits for what comes, */
        bool stuck;           /* which the webhook does not convert */
        /* The loop's. */
        bool filled; /* position is where to go on */
        struct api_watch *watch;
        struct timer again;
        int64_t failing_ms; /* since then; 0: it does not */
};

struct kept *kept_new(const struct rest *r) {
        struct kept *k = xcalloc(1, sizeof(*k));

        k->rest = r;
        k->objects = map_new((void (*)(void *)) object_unref);
        k->limit = OLDER;
        pthread_mutex_init(&k->lock, NULL);
        return k;
}

void kept_free(struct kept *k) {
        if (!k)
                return;
        map_free(k->objects);
        error_clear(&k->why);
        pthread_mutex_destroy(&k->lock);
        free(k);
}

static struct kept *kept_of(const struct rest *r) {
        return r->custom ? r->custom->kept : NULL;
}

static struct str key_of(struct buf *b, const struct object *o) {
        buf_printf(b, "%" STR_FMT "/%llu", STR_ARG(object_uid(o)), (unsigned long long) object_revision(o));
        return buf_str(b);
}

struct object *kept_find(const struct rest *r, const struct object *o) {
        struct kept *k = kept_of(r);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct object *found;

        if (!k)
                return NULL;
        HOLD(&k->lock);
        found = map_get(k->objects, key_of(&b, o));
        return found ? object_ref(found) : NULL;
}

bool kept_knows(const struct rest *r, struct str uid) {
        struct kept *k = kept_of(r);

        if (!k)
                return false;
        HOLD(&k->lock);
        map_each(it, k->objects)
                if (str_has_prefix(it.key, uid))
                        return true;
        return false;
}

bool kept_is_stuck(const struct rest *r, uint64_t *ret_position) {
        struct kept *k = kept_of(r);

        if (!k)
                return false;
        HOLD(&k->lock);
        *ret_position = k->position;
        return k->stuck;
}

bool kept_awaits(const struct rest *r, const struct loop *loop, uint64_t revision) {
        struct kept *k = kept_of(r);

        if (!k)
                return false;
        HOLD(&k->lock);
        if (!k->loop || k->over || k->loop == loop || k->why.err || k->position >= revision)
                return false;
        return k->awaited = true;
}

static int put_off(const struct rest *r, const struct error *why, int64_t since_ms, struct error *err) {
        error_status(err, REASON_TOO_MANY_REQUESTS,
                     "storage is (re)initializing: failed to list %" STR_FMT ", Kind=%" STR_FMT ": %s",
                     STR_ARG(r->api_version), STR_ARG(r->kind), error_text(why));
        if (err)
                err->retry_after_seconds = (int) MIN(exp(0.06 * (double) (now_mono_ms() - since_ms) / 1000), 30.0);
        return -EAGAIN;
}

int kept_check(const struct rest *r, const struct loop *loop, struct error *err) {
        const struct custom *c = r->custom ? r->custom->of : NULL;
        struct kept *k = kept_of(r);

        if (c && !str_empty(c->foreign) && !c->terminating) {
                _cleanup_error_ struct error e = ERROR_INIT;

                err_foreign(&e, c->foreign);
                return put_off(r, &e, c->made_ms, err);
        }
        if (!k)
                return 0;
        HOLD(&k->lock);
        if (!k->why.err || k->loop == loop)
                return 0;
        return put_off(r, &k->why, k->since_ms, err);
}

/* ---- filling it ---- */

static void drop_old(struct kept *k) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(k->s->store);

        map_each(it, k->objects) {
                const struct object *o = it.value,
                                    *now = rest_get(snap, k->rest->stored, object_namespace(o), object_name(o));

                if (!now || object_revision(now) != object_revision(o))
                        map_remove(k->objects, it.key);
        }
        k->limit = 2 * map_size(k->objects) + OLDER;
}

/* The watch has come to this revision, with this object if there is one: who waits looks again. */
static void advance(struct kept *k, struct object *o, uint64_t revision) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool awaited = false;

        with_lock(&k->lock) {
                if (o)
                        map_put(k->objects, key_of(&b, o), object_ref(o));
                if (map_size(k->objects) > k->limit)
                        drop_old(k);
                if (k->filled)
                        k->position = MAX(k->position, revision);
                k->stuck = false;
                awaited = k->filled && k->awaited;
                k->awaited &= !awaited;
        }
        if (awaited)
                hubs_wake(k->s);
}

static void begin(struct kept *k);

static void begin_again(struct timer *t) {
        begin(container_of(t, struct kept, again));
}

static void ended(struct timer *t) {
        custom_unref(container_of(t, struct kept, again)->rest->custom->of);
}

static void end(struct kept *k) {
        if (k->watch)
                api_watch_stop(TAKE_PTR(k->watch));
        list_del(&k->link);
        with_lock(&k->lock)
                k->over = true;
        hubs_wake(k->s);
        timer_close(&k->again, ended);
}

void kept_end_all(struct list *running) {
        list_each_safe(struct kept, k, running, link)
                end(k);
}

static void failed(struct kept *k, const struct error *err) {
        int64_t now = now_mono_ms();

        if (!err->err)
                return end(k); /* the definition has changed, or is gone */
        api_watch_stop(TAKE_PTR(k->watch));
        timer_start(k->loop, &k->again, AGAIN_MS, begin_again);
        k->failing_ms = k->failing_ms ? k->failing_ms : now;
        with_lock(&k->lock)
                k->stuck = k->filled;
        if (k->filled && err->reason != REASON_EXPIRED && now - k->failing_ms < PATIENCE_MS)
                return;
        k->filled = false;
        if (err->reason == REASON_EXPIRED)
                return;
        with_lock(&k->lock) {
                k->since_ms = k->why.err ? k->since_ms : now;
                error_clear(&k->why);
                error_copy(&k->why, err);
        }
        hubs_end_retired(k->s);
}

static void on_event(const struct api_event *e, void *arg) {
        struct kept *k = arg;

        if (e->type == API_ERROR)
                return failed(k, e->error);
        k->failing_ms = 0;
        k->filled |= e->type == API_BOOKMARK;
        if (k->filled)
                with_lock(&k->lock)
                        error_clear(&k->why);
        advance(k, e->type == API_BOOKMARK ? NULL : e->object, e->revision);
}

static void begin(struct kept *k) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct api_call c = { .verb = API_WATCH,
                              .resource = &k->rest->custom->resource,
                              .options = API_OPTIONS_INIT,
                              .user = api_user_system,
                              .authorized = true,
                              .arena = a,
                              .loop = k->loop };

        if (atomic_load(&k->rest->custom->of->retired))
                return end(k);
        if (k->filled)
                c.options.resource_version = arena_printf(a, "%llu", (unsigned long long) k->position);
        else
                c.options.send_initial_events = c.options.watch_bookmarks = true;
        if (apiserver_watch(k->s, &c, on_event, k, &k->watch, &e) < 0)
                timer_start(k->loop, &k->again, AGAIN_MS, begin_again);
}

void kept_begin(const struct custom *c, struct apiserver *s, struct loop *loop, struct list *running) {
        for (size_t i = 0; i < c->n_versions && str_empty(c->foreign); i++) {
                struct kept *k = c->versions[i].kept;

                if (!k || k->loop)
                        continue;
                k->s = s;
                with_lock(&k->lock)
                        k->loop = loop;
                custom_ref(c->versions[i].of);
                list_push(running, &k->link);
                begin(k);
        }
}
