/* Events live for an hour after they were last written (--event-ttl). Once a minute one worker looks at the old ones. A
 * store has no clock: what counts is the event's own time of last change. What lists of earlier revisions need is kept
 * for five minutes, as upstream compacts etcd; memory that a burst took goes back. Every ten seconds what a cluster
 * cannot do without is made again if it was deleted. */
#include "apiserver/expiry.h"
#include "apiserver/bootstrap.h"
#include "apiserver/flags.h"
#include "base/log.h"
#include "base/memory.h"
#include "schema/types.h"

#define EVENT_TTL_MS (3600 * 1000)
#define INTERVAL_MS 10000
#define MINUTE 6 /* intervals */
#define MAX_BATCH 500
#define LIST_MINUTES 5

struct expiry {
        struct timer timer;
        struct apiserver *s;
        struct loop *loop;
        int64_t ttl_ms;                   /* --event-ttl */
        bool running, stopped;            /* a batch is at the store; who has it is the last */
        uint64_t revisions[LIST_MINUTES]; /* a minute ago, two … : a ring */
        unsigned minute, ticks;
        uint64_t settled; /* memory_settle */
        struct arena *arena;
        struct store_op ops[MAX_BATCH];
        struct store_txn txn;
};

static int64_t last_change(const struct object *o) {
        static const char *const series[] = { "series", "lastObservedTime", NULL };
        static const char *const last[] = { "lastTimestamp", NULL };
        static const char *const time[] = { "eventTime", NULL };
        static const char *const created[] = { "metadata", "creationTimestamp", NULL };
        static const char *const *const paths[] = { series, last, time, created };
        int64_t newest = 0;

        for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
                struct str raw = json_scan(object_text(o), paths[i]);
                int64_t t;

                if (raw.n > 2 && time_parse(str_sub(raw, 1, raw.n - 1), &t) == 0)
                        newest = MAX(newest, t);
        }
        return newest;
}

static void expiry_free(struct expiry *x) {
        arena_free(x->arena);
        free(x);
}

static void expired(struct store_txn *t) {
        struct expiry *x = container_of(t, struct expiry, txn);

        object_unref(t->current);
        if (t->result < 0 && t->result != -EAGAIN && t->result != -ENOENT && t->result != -ECANCELED)
                log_warn("cannot remove old events: %s", strerror(-t->result));
        x->running = false;
        atomic_fetch_sub(&x->s->busy, 1);
        if (x->stopped)
                expiry_free(x);
}

static void sweep(struct expiry *x) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        const struct rest *r = rest_of(x->s, &res_events);
        int64_t before = now_wall_ns() - x->ttl_ms * NSEC_PER_MSEC;
        struct store_iter it;
        size_t n = 0;

        if (x->running)
                return;
        arena_reset(x->arena);
        store_iter_init(&it, snap, r->prefix, r->prefix);
        while (n < MAX_BATCH && store_iter_next(&it))
                if (last_change(it.object) < before)
                        x->ops[n++] = (struct store_op) { .kind = STORE_DELETE,
                                                          .key = arena_str(x->arena, it.key),
                                                          .expect = object_revision(it.object) };
        if (n == 0)
                return;
        x->txn = (struct store_txn) { .ops = x->ops, .n_ops = n, .done = expired, .loop = x->loop };
        x->running = true;
        atomic_fetch_add(&x->s->busy, 1);
        store_submit(x->s->store, &x->txn);
}

static void tick(struct timer *t) {
        struct expiry *x = container_of(t, struct expiry, timer);

        bootstrap_again(x->s);
        if (++x->ticks % MINUTE == 0) {
                uint64_t *oldest = &x->revisions[x->minute++ % LIST_MINUTES];

                sweep(x);
                snapshots_expire(x->s, *oldest);
                *oldest = store_revision(x->s->store);
                memory_settle(&x->settled);
        }
        timer_start(x->loop, t, INTERVAL_MS, tick);
}

static void start(void *arg) {
        struct expiry *x = arg;

        timer_start(x->loop, &x->timer, INTERVAL_MS, tick);
}

static void freed(struct timer *t) {
        struct expiry *x = container_of(t, struct expiry, timer);

        x->stopped = true;
        if (!x->running)
                expiry_free(x);
}

static void stop(void *arg) {
        struct expiry *x = arg;

        timer_close(&x->timer, freed);
}

void expiry_start(struct apiserver *s) {
        struct expiry *x = xcalloc(1, sizeof(*x));

        x->s = s;
        x->loop = http_server_worker(s->http, 0);
        x->ttl_ms = server_flag_ms(s, "event-ttl", EVENT_TTL_MS);
        x->arena = arena_new(0);
        s->expiry = x;
        loop_call(x->loop, start, x);
}

void expiry_stop(struct apiserver *s) {
        if (s->expiry)
                loop_call_sync(s->expiry->loop, stop, s->expiry);
        s->expiry = NULL;
}
