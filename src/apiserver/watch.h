/* Private to src/apiserver: watchers and where their events go. */
#pragma once

#include "apiserver/server.h"
#include "base/metrics.h"
#include "schema/selector.h"

/* Bytes made once for all watchers of a loop that want the same. */
struct shared_bytes {
        unsigned refs; /* one loop: no atomics */
        struct str data;
        char text[];
};
void shared_bytes_unref(void *b);

/* An event in the forms that many watchers want, kept while it is dispatched: JSON and protobuf, of the whole object
 * and of its metadata. */
enum { WATCH_FORMS = 4 };
struct shared_event {
        struct shared_bytes
                        *forms[WATCH_FORMS][API_ERROR + 1]; /* by type, too: what one sees change another sees come */
};

struct watch_event {
        enum api_event_type type;
        struct object *object; /* borrowed; NULL for API_ERROR */
        uint64_t revision;
        const struct error *error;
        struct shared_event *shared; /* NULL: it is for this watcher alone */
        bool initial_end;            /* of a BOOKMARK: the initial events are complete */
};

struct watch_sink {
        void (*event)(struct api_watch *w, const struct watch_event *e);
        bool (*full)(struct api_watch *w); /* slow reader: deliver no more until watch_drained; NULL: never */
        void (*over)(struct api_watch
                                     *w); /* the server ends it (timeout, error sent); stopping it is the sink's part */
};

/* A watch for a sink, checked and authorized; c's texts are copied. Nothing comes before watch_begin. Any thread. */
int watch_new(struct apiserver *s, const struct api_call *c, const struct watch_sink *sink, void *arg,
              int64_t deadline_ms, struct api_watch **ret, struct error *err);
void watch_begin(struct api_watch *w); /* events from the loop's next turn on */
void watch_drained(struct api_watch *w);
void *watch_arg(const struct api_watch *w);
const struct rest *watch_rest(const struct api_watch *w);
/* This thread's series of a metric by group, kind and version. */
struct series *watch_series(const struct metric *m, const struct rest *r);
/* How many watchers hear of a write to this object, about. Any thread. */
unsigned watch_interest(struct apiserver *s, const struct rest *r, struct str namespace, struct str name);
/* Counts what was written. On the store's writer thread. */
void watch_count(struct str key);
extern const struct metric watch_received;
void hubs_free(struct apiserver *s);
/* Ends the watches of custom resources that are no longer what they were, or that no webhook converts. */
void hubs_end_retired(struct apiserver *s);
void hubs_wake(struct apiserver *s); /* watches that lag look again */
