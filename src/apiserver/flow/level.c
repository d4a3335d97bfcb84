/* One priority level: seats, and the queues of those that wait for them.
 *
 * A request that waited is charged its width when it is taken, as if it ran for SERVICE_NS, and when it is done for
 * the time that it really ran: the finish of its queue moves on by so much, and the queue that is behind the others is
 * next. A queue of which nothing waits or runs starts at the present, so that nobody saves up, or pays for ever. */
#include <math.h>

#include "base/lock.h"
#include "base/time.h"
#include "apiserver/flow/flow.h"

#define ONE_REF (1ULL << 32)
#define MAX_HAND 64
#define SERVICE_NS 3000000 /* what a request takes, about */
#define SMOOTHING 0.977    /* of the demand: half of it is forgotten in five minutes */

struct flow_queue {
        struct list waiters;
        unsigned n, seats;      /* that wait */
        unsigned running, used; /* that came from here, and their seats */
        double finish;          /* virtual time up to which it has been served */
};

struct flow_waiter {
        struct loop_work work;
        struct list link;
        struct flow_level *level;
        struct flow_queue *queue; /* NULL: taken, the message is on its way */
        struct loop *loop;
        unsigned width, length, index; /* of its queue: when it came; once it is taken */
        struct flow_about about;
        int64_t since_ns;
        void (*go)(void *arg); /* NULL: gave up */
        void *arg;
};

/* ---- life ---- */

struct flow_level *flow_level_new(struct str name, const struct flow_limits *limits) {
        struct flow_level *l = xcalloc(1, sizeof(*l));

        l->name = str_dup(name);
        pthread_mutex_init(&l->lock, NULL);
        l->limits = *limits;
        l->exempt = limits->exempt;
        atomic_store(&l->limit, limits->nominal - (limits->nominal - MIN(limits->min, limits->nominal)) / 2);
        atomic_store(&l->state, ONE_REF);
        atomic_store(&l->widest, limits->widest);
        atomic_store(&l->queuing, limits->queuing);
        l->retry_after = 1;
        l->demand_ns = l->adjusted_ns = now_coarse_ns();
        return l;
}

static void level_free(struct flow_level *l) {
        pthread_mutex_destroy(&l->lock);
        free_all(l->queues, l->name, l);
}

void flow_level_unref(struct flow_level *l) {
        if (atomic_fetch_sub(&l->state, ONE_REF) >> 32 == 1)
                level_free(l);
}

static void dispatch(struct flow_level *l);

/* Another number of queues is taken up when nobody waits. */
void flow_level_set(struct flow_level *l, const struct flow_limits *limits) {
        HOLD(&l->lock);
        if (limits->queues != l->limits.queues && atomic_load(&l->n_waiting) == 0) {
                free(l->queues);
                l->queues = NULL;
        }
        if (l->queues) {
                unsigned queues = l->limits.queues;

                l->limits = *limits;
                l->limits.queues = queues;
                l->limits.hand = MIN(limits->hand, queues);
        } else {
                l->limits = *limits;
        }
        atomic_store(&l->widest, limits->widest);
        atomic_store(&l->queuing, limits->queuing);
        atomic_store(&l->limit, MAX(limits->min, MIN(limits->max, atomic_load(&l->limit))));
        dispatch(l);
}

/* ---- seats ---- */

/* One that is alone fits always, but where queues are, and no seat: they hold what comes. */
static bool fits(const struct flow_level *l, unsigned used, unsigned width) {
        unsigned limit = atomic_load_explicit(&l->limit, memory_order_relaxed);

        return l->exempt || used + width <= limit || (used == 0 && (limit > 0 || !atomic_load(&l->queuing)));
}

static unsigned demand_of(struct flow_level *l) {
        return (unsigned) atomic_load(&l->state) + atomic_load_explicit(&l->waiting_seats, memory_order_relaxed);
}

/* Before it changes. Most changes are within a tick of the one before, and cost nothing; who is first in a tick stands
 * for all, which on the average is right. */
static void integrate(struct flow_level *l, int64_t now_ns) {
        int64_t since = atomic_load_explicit(&l->demand_ns, memory_order_relaxed);
        uint64_t seats = demand_of(l);

        if (now_ns <= since || !atomic_compare_exchange_strong(&l->demand_ns, &since, now_ns))
                return;
        atomic_fetch_add(&l->demand, seats * (uint64_t) (now_ns - since));
        atomic_fetch_add(&l->demand_squares, seats * seats * (uint64_t) (now_ns - since));
}

static void note_demand(struct flow_level *l, unsigned seats) {
        if (seats > atomic_load_explicit(&l->demand_peak, memory_order_relaxed))
                atomic_store_explicit(&l->demand_peak, seats, memory_order_relaxed);
}

static bool take_seats(struct flow_level *l, unsigned width) {
        uint64_t before = atomic_fetch_add(&l->state, ONE_REF + width);

        if (fits(l, (unsigned) before, width)) {
                note_demand(l, (unsigned) before + width);
                return true;
        }
        atomic_fetch_sub(&l->state, ONE_REF + width);
        return false;
}

bool flow_level_enter(struct flow_level *l, unsigned width) {
        integrate(l, now_coarse_ns());
        return (atomic_load(&l->n_waiting) == 0 || l->exempt) && take_seats(l, width);
}

void flow_level_leave(struct flow_level *l, unsigned width) {
        integrate(l, now_coarse_ns());
        /* The reference is given back last: dispatch still needs the level. */
        atomic_fetch_sub(&l->state, width);
        if (atomic_load(&l->n_waiting) > 0) {
                HOLD(&l->lock);
                dispatch(l);
        }
        flow_level_unref(l);
}

/* ---- queues ---- */

static void dequeue(struct flow_waiter *w) {
        struct flow_queue *q = w->queue;

        list_del(&w->link);
        q->n--;
        q->seats -= w->width;
        w->level->waiting_seats -= w->width;
        w->queue = NULL;
        atomic_fetch_sub(&w->level->n_waiting, 1);
}

static struct flow_queue *next_queue(struct flow_level *l) {
        struct flow_queue *best = NULL;

        for (unsigned i = 0; i < l->limits.queues; i++) {
                struct flow_queue *q = &l->queues[i];

                if (q->n > 0 && (!best || q->finish < best->finish))
                        best = q;
        }
        return best;
}

static void arrive(struct loop_work *work) {
        struct flow_waiter *w = container_of(work, struct flow_waiter, work);
        struct flow_level *l = w->level;
        unsigned width = w->width;

        if (w->go) {
                w->go(w->arg);
        } else {
                flow_level_charge(l, w->index, width, 0);
                flow_level_leave(l, width);
        }
        free(w);
}

/* Gives free seats to those that wait. Under the lock. */
static void dispatch(struct flow_level *l) {
        while (atomic_load(&l->n_waiting) > 0) {
                struct flow_queue *q = next_queue(l);
                struct flow_waiter *w = list_entry(q->waiters.next, struct flow_waiter, link);

                if (!take_seats(l, w->width))
                        return;
                l->virtual_now = MAX(l->virtual_now, q->finish);
                q->finish += w->width;
                q->running++;
                q->used += w->width;
                w->index = (unsigned) (q - l->queues);
                dequeue(w);
                loop_post(w->loop, &w->work);
        }
}

/* The hand that the hash deals from the deck of queues, in rising order. */
static void deal(uint64_t hash, unsigned deck, unsigned hand, unsigned *ret) {
        for (unsigned i = 0; i < hand; i++) {
                unsigned card = (unsigned) (hash % (deck - i)), k = 0;

                hash /= deck - i;
                for (; k < i && ret[k] <= card; k++) /* it counts what is left in the deck */
                        card++;
                memmove(ret + k + 1, ret + k, (i - k) * sizeof(*ret));
                ret[k] = card;
        }
}

static struct flow_queue *choose_queue(struct flow_level *l, uint64_t hash) {
        unsigned cards[MAX_HAND], hand = MIN(MIN(l->limits.hand, (unsigned) MAX_HAND), l->limits.queues);
        struct flow_queue *best = NULL;

        if (!l->queues) {
                l->queues = xcalloc(l->limits.queues, sizeof(*l->queues));
                for (unsigned i = 0; i < l->limits.queues; i++)
                        list_init(&l->queues[i].waiters);
        }
        deal(hash, l->limits.queues, hand, cards);
        for (unsigned i = 0; i < hand; i++) {
                struct flow_queue *q = &l->queues[cards[i]];

                if (!best || q->seats < best->seats)
                        best = q;
        }
        return best;
}

struct flow_waiter *flow_level_wait(struct flow_level *l, uint64_t hash, unsigned width, const struct flow_about *about,
                                    struct loop *loop, void (*go)(void *arg), void *arg) {
        struct flow_waiter *w = NULL;
        struct flow_queue *q;

        integrate(l, now_coarse_ns());
        pthread_mutex_lock(&l->lock);
        q = l->limits.queuing ? choose_queue(l, hash) : NULL;
        if (q && (q->n < l->limits.length || (unsigned) atomic_load(&l->state) < atomic_load(&l->limit))) {
                w = xcalloc(1, sizeof(*w));
                *w = (struct flow_waiter) { .level = l,
                                            .queue = q,
                                            .loop = loop,
                                            .width = width,
                                            .about = *about,
                                            .since_ns = now_mono_ns(),
                                            .go = go,
                                            .arg = arg };
                w->work.run = arrive;
                if (q->n++ == 0)
                        q->finish = q->running ? MAX(q->finish, l->virtual_now) : l->virtual_now;
                w->length = q->n;
                q->seats += width;
                list_push(&q->waiters, &w->link);
                l->waiting_seats += width;
                atomic_fetch_add(&l->n_waiting, 1);
        }
        dispatch(l); /* who left meanwhile did not see us, or our attempt hid a free seat from others */
        note_demand(l, demand_of(l) + (w ? 0 : width));
        pthread_mutex_unlock(&l->lock);
        return w;
}

unsigned flow_level_length(const struct flow_waiter *w) {
        return w->length;
}

unsigned flow_level_queue(const struct flow_waiter *w) {
        return w->index;
}

void flow_level_charge(struct flow_level *l, unsigned queue, unsigned width, int64_t ns) {
        HOLD(&l->lock);
        if (l->queues && queue < l->limits.queues && l->queues[queue].running > 0) {
                l->queues[queue].running--;
                l->queues[queue].used -= MIN(l->queues[queue].used, width);
                l->queues[queue].finish += width * ((double) ns / SERVICE_NS - 1);
        }
}

void flow_level_give_up(struct flow_waiter *w) {
        struct flow_level *l = w->level;
        bool queued = false;

        with_lock(&l->lock) {
                queued = w->queue != NULL;
                integrate(l, now_coarse_ns());
                if (queued)
                        dequeue(w);
        }
        if (queued)
                free(w);
        else
                w->go = NULL; /* its message frees it and gives the seats back */
}

/* Doubled when three in a second were refused for so many seconds, one less when less than one was. */
unsigned flow_level_dropped(struct flow_level *l, int64_t second) {
        size_t slot = (size_t) second % ARRAY_SIZE(l->dropped);
        unsigned n = 0;
        HOLD(&l->lock);

        if (l->dropped[slot].second != second) { /* the first of this second: those before it decide */
                for (size_t i = 0; i < ARRAY_SIZE(l->dropped); i++)
                        if (second - l->dropped[i].second <= l->retry_after)
                                n += l->dropped[i].n;
                if (second - l->retry_since >= l->retry_after && n >= 3 * l->retry_after) {
                        l->retry_after = MIN(2 * l->retry_after, (unsigned) FLOW_RETRY_MAX);
                        l->retry_since = second;
                } else if (n < l->retry_after && l->retry_after > 1) {
                        l->retry_after--;
                }
                l->dropped[slot].second = second;
                l->dropped[slot].n = 0;
        }
        l->dropped[slot].n++;
        return l->retry_after;
}

/* ---- borrowing ---- */

/* Each level gets at least its floor, at most what it may borrow; between these the total is shared out in proportion
 * to what each needs. Returns by how much this factor gives out too much. */
static double share_out(struct flow_level *const *levels, size_t n, double total, double factor) {
        double sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += levels[i]->exempt ? 0
                                         : MAX(levels[i]->floor,
                                               MIN((double) levels[i]->limits.max, levels[i]->target * factor));
        return sum - total;
}

/* The demand is smoothed by what it was on the average and how much it went up and down. */
static void smooth(struct flow_level *l, int64_t now_ns) {
        double ns = (double) (now_ns - l->adjusted_ns), sum, squares, variance, envelope;

        integrate(l, now_ns);
        l->peak = atomic_exchange(&l->demand_peak, demand_of(l));
        if (ns <= 0)
                return;
        sum = (double) atomic_exchange(&l->demand, 0);
        squares = (double) atomic_exchange(&l->demand_squares, 0);
        l->adjusted_ns = now_ns;
        l->average = sum / ns;
        variance = squares / ns - l->average * l->average;
        l->deviation = variance > 0 ? sqrt(variance) : 0;
        envelope = l->average + l->deviation;
        l->smooth_demand = MAX(envelope, SMOOTHING * l->smooth_demand + (1 - SMOOTHING) * envelope);
}

double flow_levels_adjust(struct flow_level *const *levels, size_t n, unsigned total, int64_t now_ns) {
        double low = 0, high = total;

        for (size_t i = 0; i < n; i++) {
                struct flow_level *l = levels[i];
                const struct flow_limits *m = &l->limits;

                smooth(l, now_ns);
                l->floor = MAX((double) m->min, l->exempt ? l->peak : MIN((double) m->nominal, l->peak));
                l->target = MAX(l->floor, l->smooth_demand);
        }
        for (int i = 0; i < 40; i++) {
                double middle = (low + high) / 2;

                if (share_out(levels, n, total, middle) > 0)
                        high = middle;
                else
                        low = middle;
        }
        for (size_t i = 0; i < n; i++) {
                struct flow_level *l = levels[i];
                double share = l->exempt ? 0 : round(MIN((double) l->limits.max, l->target * low));
                HOLD(&l->lock);

                atomic_store(&l->limit, (unsigned) MAX(l->floor, share));
                dispatch(l);
        }
        return low;
}

/* ---- what is going on ---- */

unsigned flow_level_active(struct flow_level *l) {
        unsigned n = 0;
        HOLD(&l->lock);

        for (unsigned i = 0; l->queues && i < l->limits.queues; i++)
                n += l->queues[i].n > 0;
        return n;
}

#define UNIT (SERVICE_NS / 1e9) /* times of work are told in seconds of a seat */

double flow_level_now(struct flow_level *l) {
        HOLD(&l->lock);

        return l->virtual_now * UNIT;
}

void flow_level_dump_queues(struct flow_level *l, bool detailed, struct buf *dst) {
        HOLD(&l->lock);

        for (unsigned i = 0; l->limits.queuing && i < l->limits.queues; i++) {
                const struct flow_queue none = { 0 }, *q = l->queues ? &l->queues[i] : &none;

                buf_printf(dst, "%s,\t%u,\t%u,\t%u,\t%u,\t%.8fss,\t%u,\t%u,\t%.8fss\n", l->name, i, q->n, q->running,
                           q->used, q->finish * UNIT, q->seats, q->seats, q->seats * UNIT);
        }
}

static void write_details(struct buf *dst, const struct flow_about *w) {
        const struct attributes *at = &w->what;

        buf_printf(dst, ",\t%" STR_FMT ",\t%s,\t%" STR_FMT ",\t%" STR_FMT ",\t%" STR_FMT ",\t%" STR_FMT "%s%" STR_FMT,
                   STR_ARG(w->user), at->verb, STR_ARG(w->path), STR_ARG(at->namespace), STR_ARG(at->name),
                   STR_ARG(at->group), at->group.n ? "/" : "", STR_ARG(at->version));
        buf_printf(dst, ",\t%" STR_FMT ",\t%" STR_FMT, STR_ARG(at->resource), STR_ARG(at->subresource));
}

void flow_level_dump_requests(struct flow_level *l, bool detailed, struct buf *dst) {
        int64_t now = now_mono_ns(), wall = now_wall_ns();
        HOLD(&l->lock);

        for (unsigned i = 0; l->queues && i < l->limits.queues; i++) {
                unsigned k = 0;

                list_each(struct flow_waiter, w, &l->queues[i].waiters, link) {
                        unsigned after = w->about.after_ms;
                        char text[36];

                        time_format_micro(text, wall - (now - w->since_ns));
                        buf_printf(dst,
                                   "%s,\t%" STR_FMT ",\t%u,\t%u,\t%" STR_FMT ",\t%s,\t%u,\t%u,\t%u%s,\t"
                                   "0001-01-01T00:00:00Z", /* it has not begun */
                                   l->name, STR_ARG(w->about.schema), i, k++, STR_ARG(w->about.by), text, w->width,
                                   after ? w->width : 0, after, after ? "ms" : "s");
                        if (detailed)
                                write_details(dst, &w->about);
                        buf_putc(dst, '\n');
                }
        }
}
