/* How one write reaches 1,000 watchers.
 *
 *   store's writer ──batch──▶ hub of loop A ──▶ by resource prefix ──▶ watcher ─▶ filter ─▶ sink: a stream, a callback
 *                  └─batch──▶ hub of loop B …                    └──▶ watcher …
 *
 * There is one hub for each loop that has watchers: the batch comes as one message and everything after that happens
 * on the loop's thread, without locks. The bytes of an event are made once for a loop, whoever asks for them first,
 * and every stream sends the same buffer.
 *
 * A watcher is its position: the revision up to which it has seen everything. It is live, or it lags (just begun, or
 * its client reads too slowly): a lagging watcher gets nothing from the hub; it reads the store's history from its
 * position when its stream has drained, and is live again when it has caught up. So a slow client costs one position,
 * not a queue. One that is slower than the history is long gets 410 Expired. */
#include <errno.h>

#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/validation/validate.h"
#include "apiserver/watch_internal.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "schema/selector.h"
#include "schema/types.h"

#define MAX_QUEUED_BATCHES 4096
#define BOOKMARK_MS 60000
#define LAST_BOOKMARK_MS 2000 /* before the end of a watch */
#define MAX_WATCHERS 100000

static const struct metric watch_events = { "apiserver_watch_events_total",
                                            "[ALPHA] Number of events sent in watch clients", METRIC_COUNTER, NULL, 0 };

const struct metric watch_received = { "apiserver_watch_cache_events_received_total",
                                       "[ALPHA] Counter of events received in watch cache broken by resource type.",
                                       METRIC_COUNTER, NULL, 0 };

struct series *watch_resource_series(const struct metric *m, const struct rest *r) {
        return SERIES(m, { "resource", r->qualified });
}

struct watched { /* one resource in a hub */
        struct list watchers;
};

struct hub_timer {
        struct timer timer;
        struct watch_hub *hub;
};

struct hub_message {
        struct loop_work work;
        struct watch_hub *hub;
        struct store_batch *batch;
};

void shared_bytes_unref(void *p) {
        struct shared_bytes *b = p;

        if (b && --b->refs == 0)
                free(b);
}

void *watch_arg(const struct api_watch *w) {
        return w->arg;
}

const struct rest *watch_rest(const struct api_watch *w) {
        return w->rest;
}

/* ---- how many hear of a write ---- */

/* Those who watch a namespace or one object stand in a map, under hubs_lock; those who watch everything are counted by
 * their resource. A kubelet hears of its own pods only and counts for nobody. */
static struct str scope_key(struct buf *b, const struct rest *r, struct str namespace, struct str name) {
        buf_printf(b, "%" STR_FMT "%" STR_FMT "/%" STR_FMT, STR_ARG(r->stored->prefix), STR_ARG(namespace),
                   STR_ARG(name));
        return buf_str(b);
}

static unsigned scope_count(struct apiserver *s, const struct rest *r, struct str namespace, struct str name) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return (unsigned) (uintptr_t) map_get(s->scopes, scope_key(&b, r, namespace, name));
}

static void count_watch(struct api_watch *w, int n) {
        struct apiserver *s = w->hub->s;
        struct str name = w->by_field ? selector_field_value(&w->fields, STR("metadata.name")) : STR("");
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!str_empty(w->node_name))
                return;
        if (str_empty(w->namespace) && str_empty(name)) {
                atomic_fetch_add(w->rest->stored->watchers, (unsigned) n);
                return;
        }
        pthread_mutex_lock(&s->hubs_lock);
        uintptr_t count = scope_count(s, w->rest, w->namespace, name) + (uintptr_t) n;
        scope_key(&b, w->rest, w->namespace, name);
        if (count > 0)
                map_put(s->scopes, buf_str(&b), (void *) count);
        else
                map_remove(s->scopes, buf_str(&b));
        pthread_mutex_unlock(&s->hubs_lock);
        atomic_fetch_add(&s->n_scoped, (unsigned) n);
}

unsigned watch_interest(struct apiserver *s, const struct rest *r, struct str namespace, struct str name) {
        unsigned n = atomic_load_explicit(r->stored->watchers, memory_order_relaxed);

        if (atomic_load_explicit(&s->n_scoped, memory_order_relaxed) == 0)
                return n;
        pthread_mutex_lock(&s->hubs_lock);
        if (!str_empty(namespace))
                n += scope_count(s, r, namespace, STR(""));
        if (!str_empty(name))
                n += scope_count(s, r, namespace, name);
        pthread_mutex_unlock(&s->hubs_lock);
        return n;
}

/* ---- life ---- */

static void watch_free(struct api_watch *w) {
        watch_drop_converted(w);
        store_snapshot_unref(w->snapshot);
        rest_release(w->rest);
        arena_free(w->arena);
}

void hub_bury(struct watch_hub *hub) {
        if (hub->dispatching > 0)
                return;
        while (hub->dead.n > 0) {
                struct api_watch *w = vec_pop(&hub->dead);

                if (w->linked)
                        list_del(&w->link);
                watch_free(w);
        }
}

static void timer_freed(struct timer *t) {
        free(container_of(t, struct hub_timer, timer));
}

static void drop_timer(struct watch_hub *hub) {
        if (!hub->timer)
                return;
        hub->timer->hub = NULL;
        timer_close(&hub->timer->timer, timer_freed);
        hub->timer = NULL;
        hub->timer_due_ms = 0;
}

void api_watch_stop(struct api_watch *w) {
        struct watch_hub *hub = w->hub;

        if (w->stopped)
                return;
        w->stopped = true;
        if (w->conversion)
                w->conversion->watch = NULL;
        atomic_fetch_sub(&hub->s->watchers, 1);
        count_watch(w, -1);
        if (w->component < N_COMPONENTS)
                atomic_fetch_sub(&hub->s->component_watches[w->component], 1);
        if (atomic_fetch_sub(&hub->n_watchers, 1) == 1)
                drop_timer(hub);
        if (!w->linked)
                return; /* its start is still in the loop's queue and frees it */
        vec_push(&hub->dead, w);
        hub_bury(hub);
}

/* ---- dispatch ---- */

static struct str resource_prefix(struct str key) {
        ssize_t first = str_find(key, '/'), second;

        if (first < 0)
                return key;
        second = str_find(str_sub(key, (size_t) first + 1, key.n), '/');
        return second < 0 ? key : str_sub(key, 0, (size_t) (first + second + 2));
}

/* prefix: "apps/deployments/" */
static void write_received(struct buf *dst, const void *arg) {
        struct str plural = *(const struct str *) arg, group = STR("");
        _cleanup_buf_ struct buf b = BUF_INIT;

        str_split(&plural, '/', &group);
        buf_add_str(&b, str_sub(plural, 0, plural.n - 1));
        buf_printf(&b, "%s%" STR_FMT, group.n ? "." : "", STR_ARG(group));
        metric_label(dst, "resource", buf_str(&b));
}

void watch_count(struct str key) {
        struct str prefix = resource_prefix(key);

        if (prefix.n < key.n && !str_eqc(prefix, "/events/")) /* of which upstream has no cache */
                series_add(metric_series(&watch_received, str_hash(prefix), write_received, &prefix), 1);
}

static void dispatch_event(struct watch_hub *hub, const struct store_event *e) {
        struct watched *r = map_get(hub->resources, resource_prefix(e->key));
        struct shared_event shared = { 0 };

        if (!r)
                return;
        list_each(struct api_watch, w, &r->watchers, link) {
                if (w->stopped || w->lagging || w->failed || e->revision <= w->position)
                        continue;
                w->changed = true;
                w->position = e->revision - 1;
                w->lagging = watch_full(w) || !watch_deliver(w, e, &shared);
        }
        for (size_t i = 0; i < WATCH_FORMS; i++)
                for (size_t type = 0; type <= API_ERROR; type++)
                        shared_bytes_unref(shared.forms[i][type]);
}

/* After a batch every live watcher has seen everything up to its revision. */
static void advance(struct watch_hub *hub, uint64_t revision, bool overflow) {
        map_each(it, hub->resources) {
                struct watched *r = it.value;

                list_each(struct api_watch, w, &r->watchers, link) {
                        if (overflow)
                                w->lagging = true;
                        else if (!w->lagging && w->position < revision)
                                w->position = revision;
                }
        }
}

static void catch_up_all(struct watch_hub *hub) {
        hub->dispatching++;
        map_each(it, hub->resources) {
                struct watched *r = it.value;

                list_each(struct api_watch, w, &r->watchers, link)
                        watch_drained(w);
        }
        hub->dispatching--;
        hub_bury(hub);
}

static void hub_batch(struct loop_work *work) {
        struct hub_message *m = container_of(work, struct hub_message, work);
        struct watch_hub *hub = m->hub;
        const struct store_event *events;
        size_t n = store_batch_events(m->batch, &events);
        bool overflow = atomic_exchange(&hub->overflow, false);

        atomic_fetch_sub(&hub->queued, 1);
        hub->revision = store_batch_revision(m->batch);
        if (overflow) {
                advance(hub, 0, true);
                catch_up_all(hub);
        } else {
                hub->dispatching++;
                for (size_t i = 0; i < n; i++)
                        dispatch_event(hub, &events[i]);
                advance(hub, hub->revision, false);
                hub->dispatching--;
                hub_bury(hub);
        }
        store_batch_unref(m->batch);
        free(m);
}

/* On the store's writer thread. */
static void publish(struct store_subscriber *sub, struct store_batch *b) {
        struct watch_hub *hub = container_of(sub, struct watch_hub, subscriber);

        if (atomic_load(&hub->n_watchers) == 0)
                return;
        if (atomic_load(&hub->queued) >= MAX_QUEUED_BATCHES) {
                atomic_store(&hub->overflow, true); /* seen with the next of those that are queued */
                return;
        }
        struct hub_message *m = xcalloc(1, sizeof(*m));
        m->work.run = hub_batch;
        m->hub = hub;
        m->batch = store_batch_ref(b);
        atomic_fetch_add(&hub->queued, 1);
        loop_post(hub->loop, &m->work);
}

/* ---- bookmarks and deadlines: one timer a hub, set to what is due next ---- */

static void schedule(struct watch_hub *hub);

/* The last one comes a little before the end: a watch that is shorter than that has none, as in upstream. */
static void set_next_bookmark(struct api_watch *w, int64_t at) {
        int64_t last = w->deadline_ms - LAST_BOOKMARK_MS;

        if (w->deadline_ms && at > last)
                at = last > now_mono_ms() ? last : 0;
        w->next_bookmark_ms = at;
}

static void tick_watch(struct api_watch *w, int64_t now) {
        if (w->stopped || w->failed)
                return;
        if (w->deadline_ms && now >= w->deadline_ms) {
                w->failed = true;
                if (w->sink->over)
                        w->sink->over(w);
                return;
        }
        if (w->next_bookmark_ms && now >= w->next_bookmark_ms) {
                bool last = w->deadline_ms && now >= w->deadline_ms - LAST_BOOKMARK_MS;

                set_next_bookmark(w, now + BOOKMARK_MS);
                if (!w->lagging && (w->changed || !last))
                        watch_bookmark(w, w->position, false);
        }
}

static void tick(struct timer *t) {
        struct watch_hub *hub = container_of(t, struct hub_timer, timer)->hub;
        int64_t now = now_mono_ms();

        if (!hub)
                return;
        hub->timer_due_ms = 0;
        hub->dispatching++;
        map_each(it, hub->resources) {
                struct watched *r = it.value;

                list_each(struct api_watch, w, &r->watchers, link)
                        tick_watch(w, now);
        }
        hub->dispatching--;
        hub_bury(hub);
        schedule(hub);
}

static int64_t sooner(int64_t a, int64_t b) { /* 0: never */
        return a == 0 || (b != 0 && b < a) ? b : a;
}

static void arm(struct watch_hub *hub, int64_t due) {
        int64_t now = now_mono_ms();

        if (due == 0 || (hub->timer_due_ms != 0 && hub->timer_due_ms <= due))
                return;
        if (!hub->timer) {
                hub->timer = xcalloc(1, sizeof(*hub->timer));
                hub->timer->hub = hub;
        }
        hub->timer_due_ms = due;
        timer_start(hub->loop, &hub->timer->timer, (uint64_t) MAX(due - now, 1), tick);
}

static void schedule(struct watch_hub *hub) {
        int64_t due = 0;

        map_each(it, hub->resources) {
                struct watched *r = it.value;

                list_each(struct api_watch, w, &r->watchers, link) {
                        if (!w->stopped)
                                due = sooner(due, sooner(w->deadline_ms, w->next_bookmark_ms));
                }
        }
        arm(hub, due);
}

/* ---- start ---- */

static struct watch_hub *hub_of(struct apiserver *s, struct loop *loop) {
        struct watch_hub *hub = NULL;

        pthread_mutex_lock(&s->hubs_lock);
        for (size_t i = 0; i < s->hubs.n && !hub; i++)
                if (s->hubs.v[i]->loop == loop)
                        hub = s->hubs.v[i];
        if (!hub) {
                hub = xcalloc(1, sizeof(*hub));
                hub->s = s;
                hub->loop = loop;
                hub->resources = map_new(free);
                hub->subscriber.publish = publish;
                hub->revision = store_subscribe(s->store, &hub->subscriber);
                vec_push(&s->hubs, hub);
        }
        pthread_mutex_unlock(&s->hubs_lock);
        return hub;
}

void hubs_free(struct apiserver *s) {
        for (size_t i = 0; i < s->hubs.n; i++) {
                struct watch_hub *hub = s->hubs.v[i];

                store_unsubscribe(s->store, &hub->subscriber);
                map_free(hub->resources);
                vec_free(&hub->dead);
                free(hub);
        }
        vec_free(&s->hubs);
}

/* ---- watches of a custom resource whose definition is gone or has changed: they begin anew ---- */

bool watch_is_retired(const struct api_watch *w) {
        return w->rest->custom && atomic_load(&w->rest->custom->of->retired);
}

void watch_end(struct api_watch *w) {
        struct watch_event e = { .type = API_ERROR, .error = &(struct error) { 0 } };

        if (w->stopped || w->failed)
                return;
        w->failed = true;
        if (w->sink->over)
                w->sink->over(w);
        else
                w->sink->event(w, &e);
}

static void end_retired(void *arg) {
        struct watch_hub *hub = arg;

        hub->dispatching++;
        map_each(it, hub->resources)
                list_each(struct api_watch, w, &((struct watched *) it.value)->watchers, link) {
                        if (watch_is_retired(w) ? !w->lagging : kept_check(w->rest, hub->loop, NULL) < 0)
                                watch_end(w);
                }
        hub->dispatching--;
        hub_bury(hub);
}

static void wake(void *arg) {
        catch_up_all(arg);
}

static void call_hubs(struct apiserver *s, void (*fn)(void *hub)) {
        HOLD(&s->hubs_lock);
        for (size_t i = 0; i < s->hubs.n; i++)
                if (atomic_load(&s->hubs.v[i]->n_watchers) > 0)
                        loop_call(s->hubs.v[i]->loop, fn, s->hubs.v[i]);
}

void hubs_end_retired(struct apiserver *s) {
        call_hubs(s, end_retired);
}

void hubs_wake(struct apiserver *s) {
        call_hubs(s, wake);
}

static void link_watch(struct api_watch *w) {
        struct watched *r = map_get(w->hub->resources, w->rest->prefix);

        if (!r) {
                r = xcalloc(1, sizeof(*r));
                list_init(&r->watchers);
                map_put(w->hub->resources, w->rest->prefix, r);
        }
        list_push(&r->watchers, &w->link);
        w->linked = true;
}

struct series *watch_series(const struct metric *m, const struct rest *r) {
        return SERIES(m, { "group", r->group }, { "kind", r->kind }, { "version", r->version });
}

static void begin(struct loop_work *work) {
        struct api_watch *w = container_of(work, struct api_watch, start);

        if (w->stopped)
                return watch_free(w);
        link_watch(w);
        w->events = watch_series(&watch_events, w->rest);
        if (watch_is_retired(w))
                return watch_end(w);
        if (w->snapshot && w->position > store_snapshot_revision(w->snapshot)) { /* not older than that, it shall be */
                _cleanup_error_ struct error e = ERROR_INIT;

                err_too_large_revision(&e, w->position, store_snapshot_revision(w->snapshot));
                return watch_fail(w, &e);
        }
        arm(w->hub, sooner(w->deadline_ms, w->next_bookmark_ms));
        watch_catch_up(w);
}

/* Where it begins is settled before its client hears that it has begun: every later write is an event. */
static void take_position(struct api_watch *w) {
        struct str prefix = w->rest->prefix;

        if (w->from_now)
                w->position = store_revision(w->hub->s->store);
        if (!w->initial)
                return;
        w->snapshot = store_snapshot(w->hub->s->store);
        if (w->namespace.n > 0 && w->rest->resource->namespaced)
                prefix = arena_printf(w->arena, "%" STR_FMT "%" STR_FMT "/", STR_ARG(prefix), STR_ARG(w->namespace));
        store_iter_init(&w->iter, w->snapshot, prefix, prefix);
}

static int set_position(struct api_watch *w, const struct api_options *o, struct error *err) {
        struct str rv = o->resource_version;
        int r;

        bool newest = str_empty(rv) || str_eqc(rv, "0");

        if (!newest && (r = str_to_u64(rv, &w->position)) < 0)
                return error_status(err, REASON_UNKNOWN,
                                    "resourceVersion: Invalid value: \"%" STR_FMT
                                    "\": strconv.ParseUint: parsing \"%" STR_FMT "\": %s",
                                    STR_ARG(rv), STR_ARG(rv), request_number_wrong(r));
        w->initial = (newest && !o->no_initial_events) || o->send_initial_events;
        w->initial_bookmark = o->send_initial_events && o->watch_bookmarks;
        w->from_now = newest && o->no_initial_events;
        return 0;
}

static int set_filter(struct api_watch *w, const struct api_call *c, struct error *err) {
        const struct api_options *o = &c->options;

        w->namespace = arena_str(w->arena, c->namespace);
        w->by_label = !str_empty(o->label_selector);
        w->by_field = !str_empty(o->field_selector);
        if (w->by_label)
                TRY(selector_parse_labels(w->arena, o->label_selector, &w->labels, err));
        if (w->by_field)
                TRY(selector_parse_fields(w->arena, w->rest->resource, o->field_selector, &w->fields, err));
        if (!str_empty(c->name)) { /* watch of one object by its name */
                if (w->by_field && !str_eq(selector_field_value(&w->fields, STR("metadata.name")), c->name))
                        return err_bad_request(err, "fieldSelector metadata.name doesn't match requested name");
                if (!w->by_field)
                        selector_parse_fields(w->arena, w->rest->resource,
                                              arena_printf(w->arena, "metadata.name=%" STR_FMT, STR_ARG(c->name)),
                                              &w->fields, NULL);
                w->by_field = true;
        }
        if (w->by_field && w->rest->resource == &res_pods)
                w->node_name = selector_field_value(&w->fields, STR("spec.nodeName"));
        return 0;
}

static int check_sealed(struct apiserver *s, const struct rest *rest, struct error *err) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct str sealed = store_sealed(s->store, snap, rest->stored->prefix);

        return str_empty(sealed) ? 0 : err_sealed(err, s, rest, sealed, SEALED_CACHE);
}

int watch_new(struct apiserver *s, const struct api_call *c, const struct watch_sink *sink, void *arg,
              int64_t deadline_ms, struct api_watch **ret, struct error *err) {
        _cleanup_(rest_releasep) const struct rest *rest = rest_acquire_of(s, c->resource);
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct api_watch *w;

        if (!rest)
                return error_status(err, REASON_NOT_FOUND, "the server could not find the requested resource");
        struct attributes at = call_attributes(c, rest, "watch");
        TRY(authorize_or_error(s, &c->user, &at, err));
        if (!(rest->resource->verbs & VERB_WATCH))
                return err_method(err, rest, "watch");
        if (atomic_load(&s->watchers) >= MAX_WATCHERS)
                return error_status(err, REASON_TOO_MANY_REQUESTS, "too many watches, please try again later");

        TRY(kept_check(rest, c->loop, err));
        TRY(check_sealed(s, rest, err));
        a = arena_new(sizeof(*w) + 256);
        w = arena_new_of(a, struct api_watch);
        w->arena = a;
        w->rest = rest;
        w->sink = sink;
        w->arg = arg;
        w->lagging = true;
        w->deadline_ms = deadline_ms;
        w->bookmarks = c->options.watch_bookmarks;
        if (w->bookmarks) /* spread, so that watchers that began together do not wake together for ever */
                set_next_bookmark(w, now_mono_ms() + BOOKMARK_MS - (int64_t) rand_below(BOOKMARK_MS / 10));
        TRY(set_filter(w, c, err));
        TRY(set_position(w, &c->options, err));
        w->hub = hub_of(s, c->loop);
        atomic_fetch_add(&s->watchers, 1);
        count_watch(w, 1);
        w->component = component_of(&c->user);
        if (w->component < N_COMPONENTS)
                atomic_fetch_add(&s->component_watches[w->component], 1);
        atomic_fetch_add(&w->hub->n_watchers, 1); /* before its snapshot is taken: no batch is missed */
        take_position(w);
        w->start.run = begin;
        *ret = w;
        TAKE_PTR(a);
        TAKE_PTR(rest); /* watch_free releases it */
        return 0;
}

void watch_begin(struct api_watch *w) {
        loop_post(w->hub->loop, &w->start);
}

/* ---- watches of roles in this process ---- */

struct local_watch {
        void (*event)(const struct api_event *e, void *arg);
        void *arg;
};

static void local_event(struct api_watch *w, const struct watch_event *e) {
        struct local_watch *l = w->arg;
        struct api_event out = { .type = e->type, .object = e->object, .error = e->error, .revision = e->revision };

        l->event(&out, l->arg);
}

static const struct watch_sink local_sink = { .event = local_event };

int apiserver_watch(struct apiserver *s, const struct api_call *c, void (*event)(const struct api_event *e, void *arg),
                    void *arg, struct api_watch **ret, struct error *err) {
        struct local_watch *l;
        struct api_watch *w;

        TRY(watch_new(s, c, &local_sink, NULL, 0, &w, err));
        l = arena_new_of(w->arena, struct local_watch);
        l->event = event;
        l->arg = arg;
        w->arg = l;
        *ret = w;
        watch_begin(w);
        return 0;
}
