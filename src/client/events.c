/* The event recorder: what happened, told once and then counted.
 *
 *   event_record ─▶ spam filter (per object) ─▶ similar? (10 messages of one reason in 10 min: combined)
 *                                             ─▶ the same again? count + 1: PATCH, else CREATE
 *
 * The three memories are records in one map with one LRU list, bounded. At most one write of a series is in flight;
 * what happens meanwhile is counted and written with the next one, so a storm of equal events costs few writes.
 * client-go's correlator: https://github.com/kubernetes/client-go/blob/master/tools/record/events_cache.go */
#include "client/events.h"

#include <inttypes.h>

#include "base/lock.h"
#include "base/map.h"
#include "base/time.h"
#include "client/transport.h"
#include "json/build.h"
#include "schema/types.h"

#define MAX_RECORDS 4096
#define MAX_IN_FLIGHT 256
#define SPAM_BURST 25
#define SPAM_REFILL_NS (300 * NSEC_PER_SEC)
#define SIMILAR_MAX 10
#define SIMILAR_NS (600 * NSEC_PER_SEC)
#define MESSAGE_MAX 1024

enum record_kind { RECORD_SPAM = 's', RECORD_SIMILAR = 'a', RECORD_SERIES = 'e' };

struct record {
        struct list lru;
        struct event_recorder *recorder;
        char key[18]; /* kind, hash */
        int64_t last_ns;
        /* RECORD_SPAM */
        double tokens;
        /* RECORD_SIMILAR */
        uint64_t messages[SIMILAR_MAX];
        unsigned n_messages;
        /* RECORD_SERIES */
        char *namespace, *name;
        int count;
        bool created, in_flight, dirty;
};

struct event_recorder {
        struct client *client;
        char *component, *host;
        pthread_mutex_t lock;
        pthread_cond_t idle;
        struct map *records;
        struct list lru; /* oldest first */
        size_t in_flight;
};

/* ---- records ---- */

static void record_free(void *p) {
        struct record *r = p;

        list_del(&r->lru);
        free_all(r->namespace, r->name, r);
}

static void evict_one(struct event_recorder *er) {
        list_each(struct record, r, &er->lru, lru) {
                if (r->in_flight)
                        continue;
                map_remove(er->records, str_of(r->key));
                return;
        }
}

static struct record *record_of(struct event_recorder *er, enum record_kind kind, uint64_t hash, int64_t now,
                                bool *ret_new) {
        struct record *r;
        char key[18];

        snprintf(key, sizeof(key), "%c%016" PRIx64, kind, hash);
        r = map_get(er->records, str_of(key));
        *ret_new = !r;
        if (!r) {
                if (map_size(er->records) >= MAX_RECORDS)
                        evict_one(er);
                r = xcalloc(1, sizeof(*r));
                memcpy(r->key, key, sizeof(key));
                r->recorder = er;
                r->last_ns = now;
                list_init(&r->lru);
                map_put(er->records, str_of(r->key), r);
        }
        list_del(&r->lru);
        list_push(&er->lru, &r->lru);
        return r;
}

/* ---- the filters; under the lock ---- */

static bool is_spam(struct event_recorder *er, uint64_t about, int64_t now) {
        bool new;
        struct record *r = record_of(er, RECORD_SPAM, about, now, &new);

        if (new)
                r->tokens = SPAM_BURST;
        r->tokens = MIN((double) SPAM_BURST, r->tokens + (double) (now - r->last_ns) / (double) SPAM_REFILL_NS);
        r->last_ns = now;
        if (r->tokens < 1)
                return true;
        r->tokens -= 1;
        return false;
}

/* More than a few different messages for one reason: they are told as one. */
static bool is_similar(struct event_recorder *er, uint64_t reason, uint64_t message, int64_t now) {
        bool new;
        struct record *r = record_of(er, RECORD_SIMILAR, reason, now, &new);

        if (now - r->last_ns > SIMILAR_NS)
                r->n_messages = 0;
        r->last_ns = now;
        for (unsigned i = 0; i < r->n_messages; i++)
                if (r->messages[i] == message)
                        return false;
        if (r->n_messages == SIMILAR_MAX)
                return true;
        r->messages[r->n_messages++] = message;
        return false;
}

/* ---- writing ---- */

static void series_done(int result, struct object *object, const struct error *error, void *arg);

/* The next write of a series after its create: how often, and when last. Called without the lock. */
static void series_patch(struct record *r, int count, int64_t last_ns) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json patch = json_build(a, "{ count: %d, lastTimestamp: %t }", count, last_ns);
        struct client_request request = {
                .verb = API_PATCH,
                .resource = &res_events,
                .namespace = str_of(r->namespace),
                .name = str_of(r->name),
                .body = &patch,
                .patch = API_PATCH_STRATEGIC,
                .options = API_OPTIONS_INIT,
        };

        client_async(r->recorder->client, &request, NULL, series_done, r);
}

static void series_done(int result, struct object *object, const struct error *error, void *arg) {
        struct record *r = arg;
        struct event_recorder *er = r->recorder;
        int64_t last_ns = 0;
        int count = 0;

        with_lock(&er->lock) {
                if (result == 0) {
                        r->created = true;
                        if (r->dirty) {
                                count = r->count;
                                last_ns = r->last_ns;
                                r->dirty = false;
                        }
                } else
                        r->created = false; /* expired, or never there: the next occurrence begins a new series */
                if (count == 0) {
                        r->in_flight = false;
                        if (--er->in_flight == 0)
                                pthread_cond_broadcast(&er->idle);
                }
        }
        if (count > 0)
                series_patch(r, count, last_ns);
}

static void series_create(struct record *r, const struct api_resource *res, const struct object *about,
                          const char *field_path, const char *type, const char *reason, const char *message) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct event_recorder *er = r->recorder;
        char gv[320], revision[24];
        struct json body;

        snprintf(revision, sizeof(revision), "%" PRIu64, object_revision(about));
        body = json_build(a,
                          "{ kind: 'Event', apiVersion: 'v1', metadata: { name: %c, namespace: %c }, involvedObject: { "
                          "kind: %c,"
                          "  namespace: %o, name: %s, uid: %s, apiVersion: %s, resourceVersion: %c, fieldPath: %c }, "
                          "reason: %c,"
                          "  message: %c, source: { component: %c, host: %c }, firstTimestamp: %t, lastTimestamp: %t, "
                          "count: 1,"
                          "  type: %c, eventTime: null, reportingComponent: %c, reportingInstance: %c }",
                          r->name, r->namespace, res->kind, object_namespace(about), object_name(about),
                          object_uid(about), api_version_of(gv, res), revision, field_path, reason, message,
                          er->component, er->host, r->last_ns, r->last_ns, type, er->component,
                          er->host ? er->host : "");
        client_async(er->client,
                     &(struct client_request) {
                                     .verb = API_CREATE,
                                     .resource = &res_events,
                                     .namespace = str_of(r->namespace),
                                     .body = &body,
                                     .options = API_OPTIONS_INIT,
                     },
                     NULL, series_done, r);
}

/* Begins (true) or continues (false) a series. The record is then ours alone until series_done. NULL: nothing to write
 * now. */
static struct record *series_next(struct event_recorder *er, uint64_t key, const struct object *about, int64_t now,
                                  bool *ret_new) {
        struct record *r = record_of(er, RECORD_SERIES, key, now, ret_new);

        r->last_ns = now;
        r->count++;
        if (r->in_flight) {
                r->dirty = true;
                return NULL;
        }
        if (er->in_flight >= MAX_IN_FLIGHT)
                return NULL;
        if (!r->created) {
                struct str ns = object_namespace(about);

                free(r->namespace);
                free(r->name);
                r->namespace = str_empty(ns) ? xstrdup("default") : str_dup(ns);
                r->name = xprintf("%" STR_FMT ".%" PRIx64, STR_ARG(object_name(about)), (uint64_t) now);
                r->count = 1;
        }
        *ret_new = !r->created;
        r->in_flight = true;
        er->in_flight++;
        return r;
}

static uint64_t hash_of(struct buf *b) {
        return str_hash(buf_str(b));
}

void event_record(struct event_recorder *er, const struct api_resource *res, const struct object *about,
                  const char *field_path, const char *type, const char *reason, const char *fmt, ...) {
        _cleanup_buf_ struct buf key = BUF_INIT;
        char text[MESSAGE_MAX + 64], *message = text + 32;
        static const char combined[] = "(combined from similar events): ";
        uint64_t hash_about, hash_reason, hash_message;
        int64_t now = now_wall_ns();
        struct record *r = NULL;
        bool new = false;
        int count = 0;

        _Static_assert(sizeof(combined) == 33, "room for the prefix");
        variadic(ap, fmt, vsnprintf(message, MESSAGE_MAX, fmt, ap));

        buf_printf(&key, "%s/%" STR_FMT "/%" STR_FMT "/%" STR_FMT, res->kind, STR_ARG(object_namespace(about)),
                   STR_ARG(object_name(about)), STR_ARG(object_uid(about)));
        hash_about = hash_of(&key);
        buf_printf(&key, "/%s/%s/%s", field_path ? field_path : "", type, reason);
        hash_reason = hash_of(&key);
        hash_message = str_hash(str_of(message));

        pthread_mutex_lock(&er->lock);
        if (!is_spam(er, hash_about, now)) {
                if (is_similar(er, hash_reason, hash_message, now)) {
                        memcpy(text, combined, 32);
                        message = text;
                        buf_addc(&key, "/combined");
                } else
                        buf_printf(&key, "/%s", message);
                r = series_next(er, hash_of(&key), about, now, &new);
                count = r ? r->count : 0;
        }
        pthread_mutex_unlock(&er->lock);
        if (!r)
                return;
        if (new)
                series_create(r, res, about, field_path, type, reason, message);
        else
                series_patch(r, count, now);
}

/* ---- life ---- */

struct event_recorder *event_recorder_new(struct client *c, const char *component, const char *host) {
        struct event_recorder *er = xnew(struct event_recorder, .client = c, .component = xstrdup(component),
                                         .host = host ? xstrdup(host) : NULL, .records = map_new(record_free));

        list_init(&er->lru);
        pthread_mutex_init(&er->lock, NULL);
        pthread_cond_init(&er->idle, NULL);
        return er;
}

void event_recorder_free(struct event_recorder *er) {
        struct timespec until;

        if (!er)
                return;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_mutex_lock(&er->lock);
        while (er->in_flight > 0)
                if (pthread_cond_timedwait(&er->idle, &er->lock, &until) == ETIMEDOUT)
                        break;
        if (er->in_flight > 0) {
                /* Answers are still on their way to us: better a few bytes lost at the end than a dangling pointer. */
                pthread_mutex_unlock(&er->lock);
                return;
        }
        pthread_mutex_unlock(&er->lock);
        map_free(er->records);
        pthread_cond_destroy(&er->idle);
        pthread_mutex_destroy(&er->lock);
        free_all(er->component, er->host, er);
}
