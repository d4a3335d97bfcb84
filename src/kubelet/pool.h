/* Threads that run what blocks: pods' steps, stops, pulls, hooks. They come with the work, up to a limit, with small
 * stacks, and go after some idle seconds. What may take as long as a pod wishes (grace periods, hooks) comes on top of
 * the limit: nobody else waits for it. */
#pragma once

#include "base/loop.h"

struct pool;

/* Embedded in what it is about. */
struct task {
        struct list link;
        void (*run)(struct task *t);  /* on a thread of the pool */
        void (*done)(struct task *t); /* on the loop, after run; may free the task. NULL: nothing */
        struct loop *loop;            /* of done; NULL: the one of the pool */
        bool lasting;                 /* beyond the limit */
        struct loop_work work;
};

struct pool *pool_new(struct loop *loop, unsigned max_threads);
void pool_submit(struct pool *p, struct task *t); /* any thread */
/* Refuses nothing, waits until every task submitted has run. The loop must still run, for their done. */
void pool_drain(struct pool *p);
void pool_free(struct pool *p); /* after pool_drain */
