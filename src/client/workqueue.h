/* A queue of keys for one loop: a key is in it once; a key being worked on is not handed out again until done; failures come back
 * later each time (5 ms · 2^n, at most 1000 s, as client-go's default). */
#pragma once

#include "base/loop.h"
#include "base/str.h"

struct workqueue;
/* work is called on the loop, one key at a time; returning non-zero re-queues the key with back-off, 0 forgets its failures. */
struct workqueue *workqueue_new(struct loop *loop, const char *name, int (*work)(struct str key, void *arg), void *arg);
void workqueue_free(struct workqueue *q);
void workqueue_add(struct workqueue *q, struct str key);
void workqueue_add_after(struct workqueue *q, struct str key, uint64_t ms);
size_t workqueue_len(const struct workqueue *q);
