/* What happened lately, for watches that start in the past.
 *
 *   forgotten │ batch 7..9 │ batch 10 │ batch 11..40 │ ◀─ the writer adds
 *           oldest = 6
 *
 * An event costs little while its object is still the newest of its key: the tree holds it anyway. What history keeps
 * alive is the state an event replaced, and the final state of what was deleted; that is what its bytes count. */
#include "store/history.h"

#include "base/lock.h"

struct store_batch {
        atomic_uint refs;
        uint64_t revision;
        size_t n, bytes;
        struct entry **held; /* after events: what keys and objects belong to */
        struct store_event events[];
};

struct store_batch *batch_new(const struct change *changes, size_t n, uint64_t revision) {
        struct store_batch *b = xmalloc(sizeof(*b) + n * (sizeof(struct store_event) + 2 * sizeof(struct entry *)));

        atomic_init(&b->refs, 1);
        b->revision = revision;
        b->n = n;
        b->bytes = sizeof(*b);
        b->held = (struct entry **) &b->events[n];
        for (size_t i = 0; i < n; i++) {
                const struct change *c = &changes[i];

                b->held[2 * i] = c->now;
                b->held[2 * i + 1] = c->before;
                b->events[i] = (struct store_event) {
                        .kind = c->kind,
                        .revision = c->revision,
                        .key = entry_key(c->now),
                        .object = c->now->object,
                        .previous = c->before ? c->before->object : NULL,
                };
                b->bytes += sizeof(struct store_event) + (c->before ? object_size(c->before->object) : 0) +
                            (c->kind == STORE_EVENT_DELETE ? object_size(c->now->object) : 0);
        }
        return b;
}

struct store_batch *store_batch_ref(struct store_batch *b) {
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
        return b;
}

void store_batch_unref(struct store_batch *b) {
        if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
                return;
        for (size_t i = 0; i < 2 * b->n; i++)
                entry_unref(b->held[i]);
        free(b);
}

size_t store_batch_events(const struct store_batch *b, const struct store_event **ret) {
        *ret = b->events;
        return b->n;
}

uint64_t store_batch_revision(const struct store_batch *b) {
        return b->revision;
}

/* ---- the ring ---- */

void history_init(struct history *h, size_t max_events, size_t max_bytes, uint64_t oldest) {
        *h = (struct history) { .max_events = max_events, .max_bytes = max_bytes, .oldest = oldest };
        pthread_mutex_init(&h->lock, NULL);
}

void history_free(struct history *h) {
        for (size_t i = h->first; i < h->batches.n; i++)
                store_batch_unref(h->batches.v[i]);
        vec_free(&h->batches);
        pthread_mutex_destroy(&h->lock);
}

/* Cuts the oldest batch off; the caller releases it after unlocking. */
static struct store_batch *cut_front(struct history *h) {
        struct store_batch *b = h->batches.v[h->first++];

        h->events -= b->n;
        h->bytes -= b->bytes;
        h->oldest = b->revision;
        if (h->first > 64 && h->first > h->batches.n / 2) {
                h->batches.n -= h->first;
                memmove(h->batches.v, h->batches.v + h->first, h->batches.n * sizeof(h->batches.v[0]));
                h->first = 0;
        }
        return b;
}

void history_add(struct history *h, struct store_batch *b) {
        pthread_mutex_lock(&h->lock);
        vec_push(&h->batches, store_batch_ref(b));
        h->events += b->n;
        h->bytes += b->bytes;
        while (h->events > h->max_events || h->bytes > h->max_bytes) {
                struct store_batch *old = cut_front(h);

                pthread_mutex_unlock(&h->lock);
                store_batch_unref(old);
                pthread_mutex_lock(&h->lock);
        }
        pthread_mutex_unlock(&h->lock);
}

void history_forget(struct history *h, uint64_t revision) {
        pthread_mutex_lock(&h->lock);
        while (h->first < h->batches.n && h->batches.v[h->first]->revision <= revision) {
                struct store_batch *old = cut_front(h);

                pthread_mutex_unlock(&h->lock);
                store_batch_unref(old);
                pthread_mutex_lock(&h->lock);
        }
        pthread_mutex_unlock(&h->lock);
}

uint64_t history_oldest(struct history *h) {
        HOLD(&h->lock);

        return h->oldest;
}

/* The index of the first batch with events after revision. */
static size_t first_after(const struct history *h, uint64_t revision) {
        size_t lo = h->first, hi = h->batches.n;

        while (lo < hi) {
                size_t mid = (lo + hi) / 2;

                if (h->batches.v[mid]->revision <= revision)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo;
}

int history_walk(struct history *h, struct str prefix, uint64_t from, uint64_t to,
                 void (*each)(const struct store_event *e, void *arg), void *arg) {
        VEC(struct store_batch *) run = { 0 };
        size_t first, last;

        pthread_mutex_lock(&h->lock);
        if (from < h->oldest) {
                pthread_mutex_unlock(&h->lock);
                return -ESTALE;
        }
        first = first_after(h, from);
        last = MIN(first_after(h, to) + 1, h->batches.n); /* the one that to is in the middle of, too */
        vec_reserve(&run, last - first);
        for (size_t i = first; i < last; i++)
                vec_push(&run, store_batch_ref(h->batches.v[i]));
        pthread_mutex_unlock(&h->lock);

        for (size_t i = 0; i < run.n; i++) {
                for (size_t k = 0; k < run.v[i]->n; k++) {
                        const struct store_event *e = &run.v[i]->events[k];

                        if (e->revision > from && e->revision <= to && str_has_prefix(e->key, prefix))
                                each(e, arg);
                }
                store_batch_unref(run.v[i]);
        }
        vec_free(&run);
        return 0;
}
