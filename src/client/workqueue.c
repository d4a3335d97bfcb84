/* The workqueue: a list of keys that are ready, and a heap of keys that are due later.
 *
 *   add ────────────────▶ ready (list) ──▶ work(key) ──▶ 0: forgotten
 *                           ▲   ▲             │ added again meanwhile: ready once more
 *   add_after ─▶ heap ──────┘   └─ heap ◀─────┘ failed: due in 5 ms · 2^failures
 *
 * One key is worked on in one turn of the loop, so that events and other queues get their share. One timer stands for
 * the whole heap; an empty queue costs nothing. */
#include "client/workqueue.h"

#include "base/map.h"
#include "base/metrics.h"
#include "base/vec.h"

#define RETRY_FIRST_MS 5
#define RETRY_MAX_MS 1000000

struct entry {
        struct list link; /* in ready */
        bool ready, working, again;
        unsigned failures;
        size_t heap_at; /* 1-based; 0: not waiting */
        int64_t due_ns;
        struct str key;
        int64_t added_ns; /* to the queue */
        char text[];
};

struct workqueue {
        struct loop *loop;
        const char *name;
        int (*work)(struct str key, void *arg);
        void *arg;
        const struct clock *clock;
        struct map *entries;
        struct list ready;
        VEC(struct entry *) heap;
        struct timer timer;
        struct loop_work turn;
        bool turn_posted, paused, dead;
};

/* ---- metrics ---- */

/* As ten times ten comes out when it is multiplied: bounds are texts to whoever adds up ours and upstream's. */
static const double seconds[] = { 1e-08, 1e-07, 1e-06, 9.999999999999999e-06, 9.999999999999999e-05, 0.001, 0.01,
                                  0.1,   1,     10 };
METRIC(adds, COUNTER, "workqueue_adds_total", "[ALPHA] Total number of adds handled by workqueue");
METRIC(depth, GAUGE, "workqueue_depth", "[ALPHA] Current depth of workqueue");
METRIC(retries, COUNTER, "workqueue_retries_total", "[ALPHA] Total number of retries handled by workqueue");
HISTOGRAM(duration, seconds, "workqueue_work_duration_seconds",
          "[ALPHA] How long in seconds processing an item from workqueue takes.");

HISTOGRAM(waited, seconds, "workqueue_queue_duration_seconds",
          "[ALPHA] How long in seconds an item stays in workqueue before being requested.");

static struct series *series_of(const struct workqueue *q, const struct metric *m) {
        return SERIES(m, { "name", str_of(q->name) });
}

/* ---- the heap of delays ---- */

static void heap_set(struct workqueue *q, size_t at, struct entry *e) {
        q->heap.v[at - 1] = e;
        e->heap_at = at;
}

static void heap_up(struct workqueue *q, size_t at, struct entry *e) {
        while (at > 1 && q->heap.v[at / 2 - 1]->due_ns > e->due_ns) {
                heap_set(q, at, q->heap.v[at / 2 - 1]);
                at /= 2;
        }
        heap_set(q, at, e);
}

static void heap_down(struct workqueue *q, size_t at, struct entry *e) {
        for (size_t child; (child = at * 2) <= q->heap.n; at = child) {
                if (child < q->heap.n && q->heap.v[child]->due_ns < q->heap.v[child - 1]->due_ns)
                        child++;
                if (q->heap.v[child - 1]->due_ns >= e->due_ns)
                        break;
                heap_set(q, at, q->heap.v[child - 1]);
        }
        heap_set(q, at, e);
}

static void heap_remove(struct workqueue *q, struct entry *e) {
        size_t at = e->heap_at;

        if (at == 0)
                return;
        struct entry *last = vec_pop(&q->heap);
        e->heap_at = 0;
        if (last == e)
                return;
        if (at > 1 && q->heap.v[at / 2 - 1]->due_ns > last->due_ns)
                heap_up(q, at, last);
        else
                heap_down(q, at, last);
}

static void timer_fired(struct timer *t) {
        workqueue_tick(container_of(t, struct workqueue, timer));
}

static void arm(struct workqueue *q, int64_t now_ns) {
        if (q->heap.n == 0)
                return timer_stop(&q->timer);
        int64_t wait = MAX(q->heap.v[0]->due_ns - now_ns, 0);
        timer_start(q->loop, &q->timer, (uint64_t) ((wait + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC), timer_fired);
}

/* ---- entries ---- */

static struct entry *entry_of(struct workqueue *q, struct str key) {
        struct entry *e = map_get(q->entries, key);

        if (e)
                return e;
        e = xcalloc(1, sizeof(*e) + key.n);
        memcpy(e->text, key.p, key.n);
        e->key = str_n(e->text, key.n);
        list_init(&e->link);
        map_put(q->entries, e->key, e);
        return e;
}

/* An entry lives while there is something to remember about its key. */
static void entry_settle(struct workqueue *q, struct entry *e) {
        if (!e->ready && !e->working && e->heap_at == 0 && e->failures == 0)
                map_remove(q->entries, e->key);
}

static void post_turn(struct workqueue *q) {
        if (q->turn_posted || q->paused || q->dead || list_empty(&q->ready))
                return;
        q->turn_posted = true;
        loop_post(q->loop, &q->turn);
}

static void make_ready(struct workqueue *q, struct entry *e) {
        if (e->working)
                e->again = true;
        else if (!e->ready) {
                e->ready = true;
                e->added_ns = now_mono_ns();
                list_push(&q->ready, &e->link);
                series_add(series_of(q, &adds), 1);
                series_add(series_of(q, &depth), 1);
                post_turn(q);
        }
}

static void add_due(struct workqueue *q, struct entry *e, uint64_t ms) {
        int64_t now = q->clock->mono_ns(q->clock), due = now + (int64_t) ms * NSEC_PER_MSEC;

        if (e->heap_at != 0 && e->due_ns <= due)
                return;
        heap_remove(q, e);
        e->due_ns = due;
        vec_push(&q->heap, e);
        heap_up(q, q->heap.n, e);
        if (q->heap.v[0] == e)
                arm(q, now);
}

static void finish(struct workqueue *q, struct entry *e, int result) {
        bool again = e->again;

        e->working = e->again = false;
        if (result != 0) {
                uint64_t delay = (uint64_t) RETRY_FIRST_MS << MIN(e->failures, 20U);

                e->failures++;
                series_add(series_of(q, &retries), 1);
                add_due(q, e, MIN(delay, (uint64_t) RETRY_MAX_MS));
        } else
                e->failures = 0;
        if (again)
                make_ready(q, e);
        entry_settle(q, e);
}

static void turn(struct loop_work *w) {
        struct workqueue *q = container_of(w, struct workqueue, turn);

        if (q->dead || q->paused || list_empty(&q->ready)) {
                q->turn_posted = false;
                return;
        }
        struct entry *e = list_entry(q->ready.next, struct entry, link);
        list_del(&e->link);
        e->ready = false;
        e->working = true;
        series_add(series_of(q, &depth), -1);
        int64_t begun = now_mono_ns();
        series_observe(series_of(q, &waited), (double) (begun - e->added_ns) / 1e9);
        int r = q->work(e->key, q->arg);
        series_observe(series_of(q, &duration), (double) (now_mono_ns() - begun) / 1e9);
        finish(q, e, r);
        /* Posted only now: what the work posted itself (notes of its writes) comes before the next key. */
        q->turn_posted = false;
        post_turn(q);
}

/* ---- the interface ---- */

struct workqueue *workqueue_new(struct loop *loop, const char *name, int (*work)(struct str key, void *arg),
                                void *arg) {
        struct workqueue *q = xnew(struct workqueue, .loop = loop, .name = name, .work = work, .arg = arg,
                                   .clock = &system_clock, .entries = map_new(free), .turn.run = turn);

        list_init(&q->ready);
        return q;
}

static void release(struct timer *t) {
        free(container_of(t, struct workqueue, timer));
}

static void close_timer(void *arg) {
        struct workqueue *q = arg;

        timer_close(&q->timer, release);
}

void workqueue_free(struct workqueue *q) {
        if (!q)
                return;
        q->dead = true;
        timer_stop(&q->timer);
        map_free(q->entries);
        vec_free(&q->heap);
        list_init(&q->ready);
        loop_call(q->loop, close_timer, q); /* behind a turn that may be posted */
}

void workqueue_add(struct workqueue *q, struct str key) {
        struct entry *e = entry_of(q, key);

        make_ready(q, e);
}

void workqueue_add_after(struct workqueue *q, struct str key, uint64_t ms) {
        if (ms == 0)
                workqueue_add(q, key);
        else
                add_due(q, entry_of(q, key), ms);
}

void workqueue_pause(struct workqueue *q, bool paused) {
        q->paused = paused;
        post_turn(q);
}

void workqueue_set_clock(struct workqueue *q, const struct clock *clock) {
        q->clock = clock;
}

int64_t workqueue_tick(struct workqueue *q) {
        int64_t now = q->clock->mono_ns(q->clock);

        while (q->heap.n > 0 && q->heap.v[0]->due_ns <= now) {
                struct entry *e = q->heap.v[0];

                heap_remove(q, e);
                make_ready(q, e);
        }
        arm(q, now);
        return q->heap.n > 0 ? q->heap.v[0]->due_ns - now : -1;
}
