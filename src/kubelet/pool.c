/* A queue, and threads that wait on it:
 *
 *   submit ─▶ queue ─▶ an idle thread takes it; none idle and fewer than the limit: a new thread
 *
 * A thread that has been idle for a quarter of a minute ends: an idle node keeps one, for its lease. Steps of pods
 * block in the runtime and in the API, hence the generous limit, which each lasting task raises while it is there: a
 * blocked thread costs its stack, of which it has touched a few pages. */
#include "kubelet/pool.h"

#include <limits.h>
#include <time.h>

#include "base/arena.h"
#include "base/lock.h"
#include "base/log.h"

#define STACK_BYTES (512 * 1024)
#define IDLE_SECONDS 15

struct pool {
        struct loop *loop;
        pthread_mutex_t lock;
        pthread_cond_t work, quiet;
        struct list queue;
        unsigned threads, idle, max, busy, queued; /* max: with the lasting tasks there are */
        bool ending;
};

struct pool *pool_new(struct loop *loop, unsigned max_threads) {
        struct pool *p = xcalloc(1, sizeof(*p));
        pthread_condattr_t attr;

        p->loop = loop;
        p->max = max_threads;
        list_init(&p->queue);
        pthread_mutex_init(&p->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&p->work, &attr);
        pthread_cond_init(&p->quiet, &attr);
        pthread_condattr_destroy(&attr);
        return p;
}

static void task_done(struct loop_work *w) {
        struct task *t = container_of(w, struct task, work);

        if (t->done)
                t->done(t);
}

/* Under the lock. False when the thread has to end. */
static bool wait_for_work(struct pool *p) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += IDLE_SECONDS;
        p->idle++;
        while (list_empty(&p->queue) && !p->ending)
                if (pthread_cond_timedwait(&p->work, &p->lock, &until) == ETIMEDOUT)
                        break;
        p->idle--;
        return !list_empty(&p->queue);
}

static void *thread_main(void *arg) {
        struct pool *p = arg;

        log_set_component("kubelet-work");
        pthread_mutex_lock(&p->lock);
        while (!list_empty(&p->queue) || wait_for_work(p)) {
                struct task *t = list_entry(p->queue.next, struct task, link);
                bool lasting = t->lasting;

                list_del(&t->link);
                p->queued--;
                p->busy++;
                pthread_mutex_unlock(&p->lock);
                t->run(t);
                t->work.run = task_done;
                loop_post(t->loop ? t->loop : p->loop, &t->work);
                pthread_mutex_lock(&p->lock);
                p->busy--;
                p->max -= lasting;
                if (p->busy == 0 && list_empty(&p->queue))
                        pthread_cond_broadcast(&p->quiet);
        }
        p->threads--;
        pthread_cond_broadcast(&p->quiet);
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

static void start_thread(struct pool *p) {
        pthread_attr_t attr;
        pthread_t id;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, MAX(STACK_BYTES, PTHREAD_STACK_MIN));
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        int r = pthread_create(&id, &attr, thread_main, p);
        pthread_attr_destroy(&attr);
        if (r == 0)
                p->threads++;
        else
                log_warn("kubelet: no thread for pod work: %s", strerror(r));
}

void pool_submit(struct pool *p, struct task *t) {
        HOLD(&p->lock);
        list_push(&p->queue, &t->link);
        p->queued++;
        p->max += t->lasting;
        if (p->idle >= p->queued)
                pthread_cond_signal(&p->work);
        else if (p->threads < p->max)
                start_thread(p);
}

void pool_drain(struct pool *p) {
        HOLD(&p->lock);
        while (p->busy > 0 || !list_empty(&p->queue))
                pthread_cond_wait(&p->quiet, &p->lock);
}

void pool_free(struct pool *p) {
        if (!p)
                return;
        with_lock(&p->lock) {
                p->ending = true;
                pthread_cond_broadcast(&p->work);
                while (p->threads > 0)
                        pthread_cond_wait(&p->quiet, &p->lock);
        }
        pthread_cond_destroy(&p->work);
        pthread_cond_destroy(&p->quiet);
        pthread_mutex_destroy(&p->lock);
        free(p);
}
