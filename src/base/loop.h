/* An event loop with its thread: libuv, and a queue through which other threads hand it work.
 * Everything that belongs to a loop is touched on its thread only. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

#include "base/error.h"
#include "base/list.h"

struct loop;

/* A message to a loop: embed it in what it is about; run() is called once, on the loop's thread. */
struct loop_work {
        struct list link;
        void (*run)(struct loop_work *w);
};

int loop_new(const char *name, struct loop **ret, struct error *err); /* name: for ps and logs; must stay valid */
void loop_free(struct loop *l);                                       /* not while it runs */
DEFINE_CLEANUP(struct loop *, loop_free)
uv_loop_t *loop_uv(struct loop *l);
bool loop_is_current(const struct loop *l); /* true on its own thread */

void loop_run(struct loop *l);          /* on the calling thread, until loop_stop */
void loop_start_thread(struct loop *l); /* on a new thread */
void loop_stop(struct loop *l);         /* any thread; queued work still runs */
void loop_join(struct loop *l);         /* waits for the thread of loop_start_thread */
void loop_end(struct loop *l);          /* the three: stop, join, free. l may be NULL */

/* Any thread. Order is kept. Work posted while the loop stops still runs. Wakes the loop with one eventfd write for a
 * burst of posts. */
void loop_post(struct loop *l, struct loop_work *w);
/* The same for a plain function. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
/* Runs fn on the loop and waits for it; runs it directly when called on the loop. */
void loop_call_sync(struct loop *l, void (*fn)(void *arg), void *arg);

/* A loop with its thread that the first message makes: what a cluster does not use costs it nothing. */
struct late_loop {
        const char *name;
        pthread_mutex_t lock;
        struct loop *loop; /* under lock; its own thread needs none to read it */
        bool stopped;      /* under lock */
};
#define LATE_LOOP(its_name) ((struct late_loop) { .name = its_name, .lock = PTHREAD_MUTEX_INITIALIZER })

/* Any thread. -ECANCELED once it is stopped. */
int late_loop_post(struct late_loop *l, struct loop_work *w, struct error *err);
/* Where it ever ran: end(arg) on it, then it goes on until *busy is 0 (what is at the store comes back to it; may be
 * NULL), then it is freed. Nothing happens the second time. */
void late_loop_stop(struct late_loop *l, void (*end)(void *arg), void *arg, atomic_int *busy);

/* A one-shot timer, embedded in its owner; loop's thread only. timer_start again moves it. */
struct timer {
        uv_timer_t uv;
        void (*fire)(struct timer *t);
        bool initialized;
};
void timer_start(struct loop *l, struct timer *t, uint64_t ms, void (*fire)(struct timer *t));
void timer_stop(struct timer *t);
/* Stops it and closes the handle; freed (may be NULL) is called when its memory may go. */
void timer_close(struct timer *t, void (*freed)(struct timer *t));
