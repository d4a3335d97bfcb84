/* Private to watch.c and watch_deliver.c: a watcher and its hub. All on the hub's loop. */
#pragma once

#include "apiserver/watch.h"

struct watch_conversion {
        struct api_watch *watch; /* NULL: it was stopped meanwhile */
        VEC(struct object *) objects;
};

struct api_watch {
        struct list link; /* among the watchers of its resource */
        struct watch_hub *hub;
        const struct rest *rest;
        struct arena *arena;
        struct str namespace;
        struct selector labels;
        struct field_selector fields;
        struct str node_name; /* what the selector demands of spec.nodeName; p == NULL: nothing */
        bool by_label, by_field, bookmarks, initial_bookmark;
        bool initial, from_now; /* begin with everything there is; with what comes after the start */
        bool lagging, stopped, failed, linked, was_live;
        bool changed; /* something of its resource, since it began or since its last bookmark */
        uint64_t position;
        int64_t deadline_ms, next_bookmark_ms; /* 0: none */
        struct store_snapshot *snapshot;       /* while the initial objects are sent */
        struct store_iter iter;
        struct object *pending;              /* the iterator stands on it, it could not be sent yet */
        struct watch_conversion *conversion; /* a webhook is being asked */
        VEC(struct object *) converted;      /* what it answered, until it is sent */
        const struct watch_sink *sink;
        void *arg;
        size_t component;      /* whose health it shows, or N_COMPONENTS */
        struct series *events; /* how many it got, on its loop's thread */
        struct loop_work start;
};

struct watch_hub {
        struct apiserver *s;
        struct loop *loop;
        struct store_subscriber subscriber;
        struct map *resources; /* prefix → struct watched */
        atomic_size_t n_watchers, queued;
        atomic_bool overflow; /* batches were dropped: everybody reads the history */
        unsigned dispatching; /* depth; the dead are buried at 0 */
        VEC(struct api_watch *) dead;
        struct hub_timer *timer;
        int64_t timer_due_ms;
        uint64_t revision; /* of the last batch */
};

/* ---- watch.c ---- */

/* Frees the watches that were stopped, when nothing walks over them. */
void hub_bury(struct watch_hub *hub);
/* This thread's series of a metric by resource. */
struct series *watch_resource_series(const struct metric *m, const struct rest *r);

/* Is its definition another now, or gone? It ends when it has told what was written until then. */
bool watch_is_retired(const struct api_watch *w);
void watch_end(struct api_watch *w);

/* ---- watch_deliver.c ---- */

/* Gives an event of the store to one watcher, as its selectors and its version see it. False when a webhook has to
 * convert the object first: the same is tried again when that is done. shared: what all watchers of the event share; or
 * NULL. */
bool watch_deliver(struct api_watch *w, const struct store_event *e, struct shared_event *shared);
void watch_bookmark(struct api_watch *w, uint64_t revision, bool initial_end);
bool watch_full(struct api_watch *w); /* it takes nothing now */
/* Sends what the watcher has not seen yet, as far as its sink takes it. */
void watch_catch_up(struct api_watch *w);
void watch_fail(struct api_watch *w, const struct error *error); /* the sink may stop the watch meanwhile */
void watch_drop_converted(struct api_watch *w);
