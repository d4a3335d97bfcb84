/* The scheduling queue: a heap of pods to try now, and two lists of those that failed: in back-off (1 s, doubled to 10
 * s), or unschedulable until something in the cluster changes.
 * https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/ */
#include "base/time.h"
#include "scheduler/framework.h"

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS 10000

void queue_init(struct queue *q, const struct clock *clock) {
        *q = (struct queue) { .by_uid = map_new(NULL), .clock = clock };
        list_init(&q->backoff);
        list_init(&q->unschedulable);
}

void queue_free(struct queue *q) {
        map_each(it, q->by_uid)
                pod_info_free(it.value);
        map_free(q->by_uid);
        vec_free(&q->heap);
}

static int64_t now_ms(const struct queue *q) {
        return q->clock->mono_ns(q->clock) / NSEC_PER_MSEC;
}

/* ---- the heap ---- */

static bool before(const struct pod_info *a, const struct pod_info *b) {
        return a->priority != b->priority ? a->priority > b->priority : a->queued_ns < b->queued_ns;
}

static void heap_set(struct queue *q, size_t i, struct pod_info *p) {
        q->heap.v[i] = p;
        p->heap_index = i;
}

static void sift_up(struct queue *q, size_t i) {
        struct pod_info *p = q->heap.v[i];
        for (size_t up; i > 0 && before(p, q->heap.v[up = (i - 1) / 2]); i = up)
                heap_set(q, i, q->heap.v[up]);
        heap_set(q, i, p);
}

static void sift_down(struct queue *q, size_t i) {
        struct pod_info *p = q->heap.v[i];
        for (;;) {
                size_t child = 2 * i + 1;
                if (child >= q->heap.n)
                        break;
                if (child + 1 < q->heap.n && before(q->heap.v[child + 1], q->heap.v[child]))
                        child++;
                if (!before(q->heap.v[child], p))
                        break;
                heap_set(q, i, q->heap.v[child]);
                i = child;
        }
        heap_set(q, i, p);
}

static void heap_add(struct queue *q, struct pod_info *p) {
        vec_push(&q->heap, p);
        p->place = QUEUE_ACTIVE;
        sift_up(q, q->heap.n - 1);
}

static void heap_remove(struct queue *q, size_t i) {
        struct pod_info *last = vec_pop(&q->heap);
        if (i == q->heap.n)
                return;
        heap_set(q, i, last);
        sift_up(q, i);
        sift_down(q, last->heap_index);
}

/* ---- places ---- */

static void unplace(struct queue *q, struct pod_info *p) {
        if (p->place == QUEUE_ACTIVE)
                heap_remove(q, p->heap_index);
        else
                list_del(&p->link);
        p->place = QUEUE_NONE;
}

static void place(struct queue *q, struct pod_info *p, enum queue_place where) {
        if (where == QUEUE_BACKOFF && p->backoff_until_ms <= now_ms(q))
                where = QUEUE_ACTIVE;
        if (where == QUEUE_ACTIVE)
                return heap_add(q, p);
        p->place = (uint8_t) where;
        list_push(where == QUEUE_BACKOFF ? &q->backoff : &q->unschedulable, &p->link);
}

static bool same_needs(const struct pod_info *a, const struct pod_info *b) {
        const char *const spec[] = { "spec", NULL }, *const labels[] = { "metadata", "labels", NULL };
        struct str ta = object_text(a->pod), tb = object_text(b->pod);
        return str_eq(json_scan(ta, spec), json_scan(tb, spec)) && str_eq(json_scan(ta, labels), json_scan(tb, labels));
}

void queue_put(struct queue *q, struct pod_info *p) {
        struct pod_info *old = map_take(q->by_uid, p->uid);
        enum queue_place where = QUEUE_ACTIVE;
        p->queued_ns = q->clock->mono_ns(q->clock);
        if (old) {
                p->queued_ns = old->queued_ns;
                p->attempts = old->attempts;
                p->backoff_until_ms = old->backoff_until_ms;
                if (old->place != QUEUE_ACTIVE)
                        where = same_needs(old, p) ? old->place : QUEUE_BACKOFF;
                unplace(q, old);
                pod_info_free(old);
        }
        map_put(q->by_uid, p->uid, p);
        place(q, p, where);
}

void queue_remove(struct queue *q, struct str uid) {
        struct pod_info *p = map_take(q->by_uid, uid);
        if (!p)
                return;
        unplace(q, p);
        pod_info_free(p);
}

struct pod_info *queue_pop(struct queue *q) {
        if (!q->heap.n)
                return NULL;
        struct pod_info *p = q->heap.v[0];
        unplace(q, p);
        map_take(q->by_uid, p->uid);
        p->attempts++;
        return p;
}

void queue_retry(struct queue *q, struct pod_info *p, bool unschedulable) {
        if (map_has(q->by_uid, p->uid)) { /* a newer version came meanwhile */
                pod_info_free(p);
                return;
        }
        unsigned doublings = MIN(p->attempts ? p->attempts - 1 : 0, 10u);
        p->backoff_until_ms = now_ms(q) + MIN(BACKOFF_FIRST_MS << doublings, BACKOFF_MAX_MS);
        map_put(q->by_uid, p->uid, p);
        place(q, p, unschedulable ? QUEUE_UNSCHEDULABLE : QUEUE_BACKOFF);
}

void queue_move_all(struct queue *q) {
        list_each_safe(struct pod_info, p, &q->unschedulable, link) {
                unplace(q, p);
                place(q, p, QUEUE_BACKOFF);
        }
}

int64_t queue_flush_backoff(struct queue *q) {
        int64_t now = now_ms(q), next = -1;
        list_each_safe(struct pod_info, p, &q->backoff, link) {
                if (p->backoff_until_ms <= now) {
                        unplace(q, p);
                        place(q, p, QUEUE_ACTIVE);
                } else if (next < 0 || p->backoff_until_ms - now < next) {
                        next = p->backoff_until_ms - now;
                }
        }
        return next;
}
