#include "http/slices.h"

static void release(const struct http_slice *s) {
        if (s->release)
                s->release(s->arg);
}

/* A long list's texts lie anywhere in memory: the first lines of one that comes soon are asked for now; the processor
 * sees the run of the rest by itself. */
#define AHEAD 3
#define AHEAD_BYTES 512

static void fetch(struct str s) {
        for (size_t i = 0; i < MIN(s.n, (size_t) AHEAD_BYTES); i += 64)
                __builtin_prefetch(s.p + i);
}

void slices_add(struct slices *q, const struct http_slice *s, size_t n, struct arena *arena) {
        if (n == 0)
                return;
        struct slice_batch *b =
                        arena ? arena_alloc(arena, sizeof(*b) + n * sizeof(*s)) : xmalloc(sizeof(*b) + n * sizeof(*s));
        *b = (struct slice_batch) { .in_arena = arena != NULL };
        for (size_t i = 0; i < n; i++) {
                if (s[i].data.n == 0) {
                        release(&s[i]);
                        continue;
                }
                b->v[b->n++] = s[i];
                q->bytes += s[i].data.n;
        }
        if (b->n == 0) {
                if (!arena)
                        free(b);
                return;
        }
        if (q->tail)
                q->tail->next = b;
        else
                q->head = b;
        q->tail = b;
}

void slices_add_copy(struct slices *q, struct str data) {
        if (data.n == 0)
                return;
        char *p = xmalloc(data.n);
        memcpy(p, data.p, data.n);
        slices_add(q, &(struct http_slice) { { p, data.n }, free, p }, 1, NULL);
}

struct str slices_peek(const struct slices *q) {
        if (!q->head)
                return (struct str) { 0 };
        struct str s = q->head->v[q->head->i].data;
        return str_n(s.p + q->offset, s.n - q->offset);
}

static void drop_head(struct slices *q) {
        struct slice_batch *b = q->head;

        q->head = b->next;
        if (!q->head)
                q->tail = NULL;
        if (!b->in_arena)
                free(b);
}

void slices_consume(struct slices *q, size_t n) {
        while (n > 0) {
                struct slice_batch *b = q->head;
                struct http_slice s = b->v[b->i];
                size_t k = MIN(n, s.data.n - q->offset);

                n -= k;
                q->offset += k;
                q->bytes -= k;
                if (q->offset < s.data.n)
                        return;
                q->offset = 0;
                if (++b->i == b->n)
                        drop_head(q);
                else if (b->i + AHEAD < b->n)
                        fetch(b->v[b->i + AHEAD].data);
                release(&s);
        }
}

void slices_clear(struct slices *q) {
        struct slices left = *q;

        *q = (struct slices) { 0 };
        while (left.head) {
                struct http_slice s = left.head->v[left.head->i];

                if (++left.head->i == left.head->n)
                        drop_head(&left);
                release(&s);
        }
}
