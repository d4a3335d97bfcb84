/* A queue of keys for one loop: a key is in it once; a key being worked on is not handed out again until done; failures
 * come back later each time (5 ms · 2^n, at most 1000 s, as client-go's default). */
#pragma once

#include "base/loop.h"
#include "base/str.h"
#include "base/time.h"

struct workqueue;
/* work is called on the loop, one key at a time; returning non-zero re-queues the key with back-off, 0 forgets its
 * failures. Everything here is for the loop's thread (or before the loop runs). name is for metrics, and must stay
 * valid. */
struct workqueue *workqueue_new(struct loop *loop, const char *name, int (*work)(struct str key, void *arg), void *arg);
void workqueue_free(struct workqueue *q);
void workqueue_add(struct workqueue *q, struct str key);
/* After ms at the latest: an earlier wish for the same key stands. 0 is at once. */
void workqueue_add_after(struct workqueue *q, struct str key, uint64_t ms);

/* While paused keys are taken in, but not handed out (a controller whose informers are not yet synced). */
void workqueue_pause(struct workqueue *q, bool paused);
/* For tests: delays by this clock. After turning its hands call workqueue_tick, which also returns the ns to the next
 * due key (-1: none). */
void workqueue_set_clock(struct workqueue *q, const struct clock *clock);
int64_t workqueue_tick(struct workqueue *q);
