/* A queue of slices on their way out: batches as they were handed over, sent from the front, each released when done.
 */
#pragma once

#include "http/http.h"

struct slice_batch {
        struct slice_batch *next;
        size_t i, n; /* the next to send; how many */
        bool in_arena;
        struct http_slice v[];
};

struct slices {
        struct slice_batch *head, *tail;
        size_t offset; /* sent of the first slice */
        size_t bytes;  /* left in all */
};

/* arena may be NULL: the batch is on the heap then. Empty slices are released at once. */
void slices_add(struct slices *q, const struct http_slice *s, size_t n, struct arena *arena);
void slices_add_copy(struct slices *q, struct str data);
struct str slices_peek(const struct slices *q);  /* contiguous bytes at the front; empty when there are none */
void slices_consume(struct slices *q, size_t n); /* at most what peek gave */
void slices_clear(struct slices *q);             /* releases all */
