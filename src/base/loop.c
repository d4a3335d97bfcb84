/* libuv, plus one queue under a mutex:
 *
 *   any thread ── loop_post ──▶ [queue] ── first of a burst: uv_async_send ──▶ loop thread: takes it whole, runs it
 *
 * The mutex guards the list alone and is never held across a callback. */
#include "base/lock.h"
#include "base/loop.h"

#include <semaphore.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"

/* Only address space: a page costs memory once it is touched. A tree of 10,000 levels must fit. */
#define THREAD_STACK (64 * 1024 * 1024) /* documents are 10,000 deep at most; what is not used costs nothing */

struct loop {
        uv_loop_t uv;
        uv_async_t wake;
        const char *name;
        pthread_t thread;
        bool has_thread;
        pthread_mutex_t lock;
        struct list queue; /* of loop_work.link; under lock */
        bool stopping;     /* under lock */
};

static _Thread_local struct loop *current;

/* Takes what is queued and runs it. Returns false when there was nothing. */
static bool run_queue(struct loop *l) {
        pthread_mutex_lock(&l->lock);
        if (list_empty(&l->queue)) {
                pthread_mutex_unlock(&l->lock);
                return false;
        }
        struct list batch = l->queue;
        batch.next->prev = batch.prev->next = &batch;
        list_init(&l->queue);
        pthread_mutex_unlock(&l->lock);

        while (!list_empty(&batch)) {
                struct loop_work *w = list_entry(batch.next, struct loop_work, link);

                list_del(&w->link);
                w->run(w); /* w may be gone now */
        }
        return true;
}

static void on_wake(uv_async_t *wake) {
        struct loop *l = wake->data;
        bool stopping = false;

        run_queue(l);
        with_lock(&l->lock)
                stopping = l->stopping;
        if (stopping)
                uv_stop(&l->uv);
}

int loop_new(const char *name, struct loop **ret, struct error *err) {
        struct loop *l = xcalloc(1, sizeof(*l));
        int r = uv_loop_init(&l->uv);

        if (r < 0) {
                free(l);
                return error_errno(err, r, "event loop %s", name);
        }
        r = uv_async_init(&l->uv, &l->wake, on_wake);
        if (r < 0) {
                uv_loop_close(&l->uv);
                free(l);
                return error_errno(err, r, "event loop %s", name);
        }
        l->uv.data = l->wake.data = l;
        l->name = name;
        pthread_mutex_init(&l->lock, NULL);
        list_init(&l->queue);
        *ret = l;
        return 0;
}

static void report_handle(uv_handle_t *h, void *arg) {
        log_error("event loop %s: a %s handle is still open", ((struct loop *) arg)->name,
                  uv_handle_type_name(h->type));
}

void loop_free(struct loop *l) {
        struct loop *outer = current;
        int r = 0;

        if (!l)
                return;
        current = l; /* what was posted too late runs here */
        while (run_queue(l))
                ;
        uv_close((uv_handle_t *) &l->wake, NULL);
        /* Handles that close need a few turns for it; one that its owner forgot would need forever. */
        for (int turn = 0; turn < 100 && (r = uv_loop_close(&l->uv)) == UV_EBUSY; turn++)
                uv_run(&l->uv, UV_RUN_NOWAIT);
        current = outer;
        if (r < 0) {
                uv_walk(&l->uv, report_handle, l);
                return; /* the forgotten handle still points here */
        }
        pthread_mutex_destroy(&l->lock);
        free(l);
}

uv_loop_t *loop_uv(struct loop *l) {
        return &l->uv;
}

bool loop_is_current(const struct loop *l) {
        return current == l;
}

void loop_run(struct loop *l) {
        struct loop *outer = current;

        current = l;
        uv_run(&l->uv, UV_RUN_DEFAULT);
        while (run_queue(l))
                ;
        with_lock(&l->lock)
                l->stopping = false; /* it may run again */
        current = outer;
}

static void *thread_main(void *arg) {
        struct loop *l = arg;

        log_set_component(l->name);
        loop_run(l);
        return NULL;
}

void loop_start_thread(struct loop *l) {
        pthread_attr_t attr;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, THREAD_STACK);
        int r = pthread_create(&l->thread, &attr, thread_main, l);
        pthread_attr_destroy(&attr);
        if (r) {
                log_error("cannot start thread %s: %s", l->name, strerrordesc_np(r));
                abort();
        }
        l->has_thread = true;
}

void loop_stop(struct loop *l) {
        with_lock(&l->lock)
                l->stopping = true;
        uv_async_send(&l->wake);
}

void loop_join(struct loop *l) {
        if (!l->has_thread)
                return;
        pthread_join(l->thread, NULL);
        l->has_thread = false;
}

void loop_end(struct loop *l) {
        if (!l)
                return;
        loop_stop(l);
        loop_join(l);
        loop_free(l);
}

void loop_post(struct loop *l, struct loop_work *w) {
        bool first = false;

        with_lock(&l->lock) {
                first = list_empty(&l->queue);
                list_push(&l->queue, &w->link);
        }
        if (first)
                uv_async_send(&l->wake);
}

struct call {
        struct loop_work work;
        void (*fn)(void *arg);
        void *arg;
        sem_t *done; /* NULL: the call owns itself */
};

static void run_call(struct loop_work *w) {
        struct call *c = container_of(w, struct call, work);

        c->fn(c->arg);
        if (c->done)
                sem_post(c->done);
        else
                free(c);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg) {
        struct call *c = xmalloc(sizeof(*c));

        *c = (struct call) { .work.run = run_call, .fn = fn, .arg = arg };
        loop_post(l, &c->work);
}

void loop_call_sync(struct loop *l, void (*fn)(void *arg), void *arg) {
        struct call c = { .work.run = run_call, .fn = fn, .arg = arg };
        sem_t done;

        if (loop_is_current(l))
                return fn(arg);
        sem_init(&done, 0, 0);
        c.done = &done;
        loop_post(l, &c.work);
        while (sem_wait(&done) < 0 && errno == EINTR)
                ;
        sem_destroy(&done);
}

/* ---- made when needed ---- */

int late_loop_post(struct late_loop *l, struct loop_work *w, struct error *err) {
        int r = 0;
        HOLD(&l->lock);

        if (l->stopped)
                r = error_set(err, -ECANCELED, "the server is shutting down");
        else if (!l->loop && (r = loop_new(l->name, &l->loop, err)) == 0)
                loop_start_thread(l->loop);
        if (r == 0)
                loop_post(l->loop, w);
        return r;
}

void late_loop_stop(struct late_loop *l, void (*end)(void *arg), void *arg, atomic_int *busy) {
        struct loop *loop = NULL;

        with_lock(&l->lock) {
                l->stopped = true;
                loop = l->loop;
        }
        if (!loop)
                return;
        loop_call_sync(loop, end, arg);
        while (busy && atomic_load(busy) > 0)
                nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
        loop_end(loop);
        HOLD(&l->lock);
        l->loop = NULL;
}

/* ---- timers ---- */

static void on_timer(uv_timer_t *uv) {
        struct timer *t = container_of(uv, struct timer, uv);

        t->fire(t);
}

void timer_start(struct loop *l, struct timer *t, uint64_t ms, void (*fire)(struct timer *t)) {
        if (!t->initialized) {
                uv_timer_init(&l->uv, &t->uv);
                t->initialized = true;
        }
        t->fire = fire;
        uv_update_time(&l->uv); /* else it would count from where this turn of the loop began */
        uv_timer_start(&t->uv, on_timer, ms, 0);
}

void timer_stop(struct timer *t) {
        if (t->initialized)
                uv_timer_stop(&t->uv);
}

static void on_timer_closed(uv_handle_t *h) {
        struct timer *t = container_of((uv_timer_t *) h, struct timer, uv);

        t->initialized = false;
        if (t->fire)
                t->fire(t);
}

void timer_close(struct timer *t, void (*freed)(struct timer *t)) {
        if (!t->initialized) {
                if (freed)
                        freed(t);
                return;
        }
        if (uv_is_closing((uv_handle_t *) &t->uv))
                return;
        t->fire = freed; /* it cannot fire any more */
        uv_close((uv_handle_t *) &t->uv, on_timer_closed);
}
