/* What of an event a watcher gets: its selectors say whether, its version says how. And what it gets of the past. */
#include "apiserver/extensions/custom.h"
#include "apiserver/watch_internal.h"
#include "schema/decode.h"
#include "schema/types.h"

METRIC(init_events, COUNTER, "apiserver_init_events_total",
       "[ALPHA] Counter of init events processed in watch cache broken by resource type.");
METRIC(terminated, COUNTER, "apiserver_terminated_watchers_total",
       "[ALPHA] Counter of watchers closed due to unresponsiveness broken by resource type.");

#define CONVERT_MAX 256 /* objects of an initial list, in one call */

void watch_drop_converted(struct api_watch *w) {
        for (size_t i = 0; i < w->converted.n; i++)
                object_unref(w->converted.v[i]);
        vec_free(&w->converted);
}

/* ---- delivery ---- */

static bool matches(const struct api_watch *w, const struct object *o) {
        if (w->namespace.n > 0 && !str_eq(object_namespace(o), w->namespace))
                return false;
        if (w->by_label && !selector_matches_object(&w->labels, o))
                return false;
        return !w->by_field || selector_matches_fields(&w->fields, o);
}

static void conversion_done(struct object **converted, size_t n, const struct error *err, void *arg) {
        struct watch_conversion *k = arg;
        struct api_watch *w = k->watch;

        for (size_t i = 0; i < k->objects.n; i++)
                object_unref(k->objects.v[i]);
        vec_free(&k->objects);
        free(k);
        for (size_t i = 0; !w && i < n; i++)
                object_unref(converted[i]);
        if (!w)
                return;
        struct watch_hub *hub = w->hub;
        w->conversion = NULL;
        watch_drop_converted(w);
        for (size_t i = 0; i < n; i++)
                vec_push(&w->converted, converted[i]);
        if (!err)
                return watch_drained(w);
        hub->dispatching++; /* who is told may stop the watch */
        watch_fail(w, err);
        hub->dispatching--;
        hub_bury(hub);
}

/* Are fields or labels selected that only a webhook can tell? */
static bool selects_converted(const struct api_watch *w) {
        return (w->by_field || w->by_label) && w->rest->custom && w->rest->custom->of->webhook;
}

/* Asks a webhook for the object in the watch's version, for another if there is one, and for those of an initial list
 * that come next. */
static void convert(struct api_watch *w, struct object *o, struct object *other) {
        struct watch_conversion *k;
        struct store_iter next = w->iter;

        if (kept_awaits(w->rest, w->hub->loop, object_revision(other ? other : o)))
                return;
        k = xcalloc(1, sizeof(*k));

        k->watch = w;
        w->conversion = k;
        vec_push(&k->objects, object_ref(o));
        if (other)
                vec_push(&k->objects, object_ref(other));
        while (w->snapshot && k->objects.n < CONVERT_MAX && store_iter_next(&next))
                if ((selects_converted(w) || matches(w, next.object)) && !custom_is_in_version(w->rest, next.object))
                        vec_push(&k->objects, object_ref(next.object));
        convert_objects(w->hub->s, w->rest, k->objects.v, k->objects.n, w->hub->loop, conversion_done, k);
}

static struct object *find_converted(const struct api_watch *w, const struct object *o) {
        for (size_t i = 0; i < w->converted.n; i++)
                if (object_revision(w->converted.v[i]) == object_revision(o) &&
                    str_eq(object_uid(w->converted.v[i]), object_uid(o)))
                        return object_ref(w->converted.v[i]);
        return kept_find(w->rest, o);
}

/* False when the object has to be converted by a webhook first: the same is tried again when that is done. */
static bool emit(struct api_watch *w, enum api_event_type type, struct object *o, uint64_t revision,
                 struct shared_event *shared) {
        struct watch_event e = { .type = type, .object = o, .revision = revision, .shared = shared };

        series_add(w->events, 1);
        if (w->rest->stored == w->rest && !w->rest->custom) {
                w->sink->event(w, &e);
                return true;
        }
        e.object = w->rest->custom ? custom_view(w->rest, o) : object_in_version(w->rest->stored, w->rest, o);
        if (!e.object)
                e.object = find_converted(w, o);
        if (!e.object) {
                convert(w, o, NULL);
                return false;
        }
        if (e.object != o)
                e.shared = NULL;
        w->sink->event(w, &e);
        object_unref(e.object);
        return true;
}

/* The state an object had, as of a later revision: what a watcher sees when it leaves its selector. */
static struct object *at_revision(struct object *o, uint64_t revision) {
        struct object *copy = object_from_tree(object_json(o));

        object_set_revision(copy, revision);
        return copy;
}

static struct object *view(struct api_watch *w, struct object *o) {
        struct object *v = o ? custom_view(w->rest, o) : NULL;

        return v || !o ? v : find_converted(w, o);
}

/* deliver and emit, for selectors of fields of the watch's version: what was, and what is, in that. */
static bool deliver_selected(struct api_watch *w, struct object *before, struct object *now, uint64_t revision) {
        _cleanup_(object_unrefp) struct object *old = view(w, before), *new = view(w, now), *gone = NULL;
        struct watch_event e = { .type = API_ADDED, .object = new, .revision = revision };
        bool was = old && matches(w, old), is = new &&matches(w, new);

        if ((before && !old) || (now && !new)) {
                bool first = before && !custom_is_in_version(w->rest, before),
                     second = now && !custom_is_in_version(w->rest, now);

                convert(w, first ? before : now, first && second ? now : NULL);
                return false;
        }
        if (!was && !is)
                return true;
        if (was && is)
                e.type = API_MODIFIED;
        if (was && !is) {
                e.object = gone = at_revision(old, revision);
                e.type = API_DELETED;
        }
        series_add(w->events, 1);
        w->sink->event(w, &e);
        return true;
}

/* False as emit. */
bool watch_deliver(struct api_watch *w, const struct store_event *e, struct shared_event *shared) {
        struct object *before = e->previous ? e->previous : e->kind == STORE_EVENT_DELETE ? e->object : NULL;

        if (selects_converted(w))
                return deliver_selected(w, before, e->kind == STORE_EVENT_DELETE ? NULL : e->object, e->revision);
        bool was = before && matches(w, before);
        if (e->kind == STORE_EVENT_DELETE)
                return !was || emit(w, API_DELETED, e->object, e->revision, shared);
        bool is = matches(w, e->object);
        if (is)
                return emit(w, was ? API_MODIFIED : API_ADDED, e->object, e->revision, shared);
        if (was) {
                _cleanup_(object_unrefp) struct object *gone = at_revision(before, e->revision);

                return emit(w, API_DELETED, gone, e->revision, NULL);
        }
        return true;
}

void watch_fail(struct api_watch *w, const struct error *error) {
        struct watch_event e = { .type = API_ERROR, .error = error };

        w->failed = true;
        w->sink->event(w, &e);
        if (!w->stopped && w->sink->over)
                w->sink->over(w);
}

/* What upstream's own object of a kind says where the version's could say nothing. */
static void add_zeros(struct arena *a, const struct api_resource *r, struct json *tree, struct json *meta) {
        if (r == &res_deployments || r == &res_replicasets || r == &res_statefulsets)
                json_set_int(a, json_get_or_add_object(a, tree, "spec"), "replicas", 0);
        else if (r == &res_daemonsets)
                json_setc(a, json_get_or_add_object(a, meta, "annotations"), "deprecated.daemonset.template.generation",
                          json_of_cstr("0"));
}

/* An object of the kind with nothing but a resourceVersion, and what Go prints of it always. */
void watch_bookmark(struct api_watch *w, uint64_t revision, bool initial_end) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json tree = json_new_object(), meta = json_new_object(), zero;
        struct watch_event e = { .type = API_BOOKMARK, .revision = revision, .initial_end = initial_end };

        w->changed = false;
        json_set_str(a, &tree, "apiVersion", w->rest->api_version);
        json_set_str(a, &tree, "kind", w->rest->kind);
        if (!w->rest->custom) { /* Go has no type of it, and so no zeros */
                json_setc(a, &meta, "creationTimestamp", json_null());
                add_zeros(a, w->rest->resource, &tree, &meta);
        }
        if (initial_end)
                json_setc(a, json_get_or_add_object(a, &meta, "annotations"), "k8s.io/initial-events-end",
                          json_of_cstr("true"));
        json_setc(a, &tree, "metadata", meta);
        if (w->rest->custom || schema_decode(a, w->rest->resource->type, &tree, NULL, &zero, NULL) < 0)
                zero = tree;
        _cleanup_(object_unrefp) struct object *o = object_from_tree(&zero);
        object_set_revision(o, revision);
        e.object = o;
        series_add(w->events, 1);
        w->sink->event(w, &e);
}

bool watch_full(struct api_watch *w) {
        return w->stopped || w->failed || w->conversion || (w->sink->full && w->sink->full(w));
}

/* ---- catching up ---- */

struct catch_up {
        struct api_watch *w;
        size_t n; /* events that it began with */
        bool blocked;
};

static void each_past(const struct store_event *e, void *arg) {
        struct catch_up *c = arg;

        if (c->blocked)
                return;
        c->n += !c->w->was_live;
        c->w->changed = true;
        c->w->position = e->revision - 1; /* others may be of this revision, too */
        c->blocked = watch_full(c->w) || !watch_deliver(c->w, e, NULL);
}

/* Sends what there is in the snapshot; false when the sink is full. */
static bool send_initial(struct api_watch *w, size_t *n) {
        for (;;) {
                if (watch_full(w))
                        return false;
                if (!w->pending && !store_iter_next(&w->iter))
                        break;
                *n += !w->pending;
                w->pending = w->iter.object;
                if (selects_converted(w)) {
                        if (!deliver_selected(w, NULL, w->pending, object_revision(w->pending)))
                                return false;
                } else if (matches(w, w->pending) &&
                           !emit(w, API_ADDED, w->pending, object_revision(w->pending), NULL)) {
                        return false;
                }
                w->pending = NULL;
        }
        w->position = store_snapshot_revision(w->snapshot);
        store_snapshot_unref(TAKE_PTR(w->snapshot));
        if (w->initial_bookmark && !w->stopped)
                watch_bookmark(w, w->position, true);
        return true;
}

void watch_catch_up(struct api_watch *w) {
        struct apiserver *s = w->hub->s;
        struct watch_hub *hub = w->hub;
        struct catch_up c = { .w = w };
        uint64_t now;

        hub->dispatching++;
        if (w->snapshot && !send_initial(w, &c.n))
                goto out;
        now = store_revision(s->store);
        if (w->position < now && !watch_full(w)) {
                uint64_t born = w->rest->custom ? w->rest->custom->of->born : 0;

                if (w->position < born ||
                    store_history(s->store, w->rest->prefix, w->position, now, each_past, &c) == -ESTALE) {
                        _cleanup_error_ struct error e = ERROR_INIT;

                        if (w->was_live)
                                series_add(watch_resource_series(&terminated, w->rest), 1);
                        error_status(&e, REASON_EXPIRED, "too old resource version: %llu (%llu)",
                                     (unsigned long long) w->position,
                                     (unsigned long long) MAX(born, store_oldest_revision(s->store)));
                        watch_fail(w, &e);
                        goto out;
                }
                if (c.blocked)
                        goto out;
                w->position = MAX(w->position, now);
        }
        if (!watch_full(w)) {
                w->lagging = false;
                w->was_live = true;
                if (watch_is_retired(w))
                        watch_end(w);
        }
out:
        if (c.n > 0)
                series_add(watch_resource_series(&init_events, w->rest), (int64_t) c.n);
        hub->dispatching--;
        hub_bury(hub);
}

void watch_drained(struct api_watch *w) {
        if (w->lagging && w->linked && !w->stopped && !w->failed)
                watch_catch_up(w);
}
