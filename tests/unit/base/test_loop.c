/* Event loops, their threads and their timers. */
#include "../test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/time.h"

#define POSTS 20000
#define THREADS 4

struct item {
        struct loop_work work;
        int thread, n;
};

static struct loop *target;
static int next_of[THREADS]; /* loop thread only */
static int wrong, total;

static void on_item(struct loop_work *w) {
        struct item *i = container_of(w, struct item, work);

        if (!loop_is_current(target) || next_of[i->thread] != i->n)
                wrong++;
        next_of[i->thread] = i->n + 1;
        total++;
        free(i);
}

static void *poster(void *arg) {
        for (int n = 0; n < POSTS; n++) {
                struct item *i = xmalloc(sizeof(*i));

                *i = (struct item) { .work.run = on_item, .thread = (int) (intptr_t) arg, .n = n };
                loop_post(target, &i->work);
        }
        return NULL;
}

static void posts_of_many_threads_run_once_and_in_order(void **state) {
        pthread_t threads[THREADS];

        wrong = total = 0;
        memset(next_of, 0, sizeof(next_of));
        assert_int_equal(loop_new("target", &target, NULL), 0);
        loop_start_thread(target);
        for (int t = 0; t < THREADS; t++)
                pthread_create(&threads[t], NULL, poster, (void *) (intptr_t) t);
        for (int t = 0; t < THREADS; t++)
                pthread_join(threads[t], NULL);
        loop_stop(target);
        loop_join(target);
        assert_int_equal(wrong, 0);
        assert_int_equal(total, THREADS * POSTS);
        loop_free(target);
}

static void increment(void *arg) {
        ++*(int *) arg;
}

static void a_synchronous_call_has_happened_when_it_returns(void **state) {
        struct loop *l;
        int n = 0;

        assert_int_equal(loop_new("sync", &l, NULL), 0);
        loop_start_thread(l);
        for (int i = 0; i < 1000; i++) {
                loop_call_sync(l, increment, &n);
                assert_int_equal(n, i + 1);
        }
        assert_false(loop_is_current(l));
        loop_end(l);
}

static struct loop *own;
static int steps;

static void last(void *arg) {
        steps++;
}

static void stop_and_post(void *arg) {
        loop_call_sync(own, last, NULL); /* on the loop itself: at once */
        assert_int_equal(steps, 1);
        loop_stop(own);
        loop_call(own, last, NULL);
}

static void work_posted_while_the_loop_stops_still_runs(void **state) {
        steps = 0;
        assert_int_equal(loop_new("own", &own, NULL), 0);
        loop_call(own, stop_and_post, NULL);
        loop_run(own);
        assert_int_equal(steps, 2);
        loop_call(own, last, NULL); /* nobody runs the loop any more: freeing it does */
        loop_free(own);
        assert_int_equal(steps, 3);
}

static void a_loop_runs_again_after_it_was_stopped(void **state) {
        struct loop *l;
        int n = 0;

        assert_int_equal(loop_new("again", &l, NULL), 0);
        for (int i = 1; i <= 3; i++) {
                loop_start_thread(l);
                loop_call_sync(l, increment, &n);
                assert_int_equal(n, i);
                loop_stop(l);
                loop_join(l);
        }
        loop_free(l);
}

struct owner {
        struct timer timer;
        struct loop *loop;
        int fired;
        bool freed;
};

static void on_freed(struct timer *t) {
        struct owner *o = container_of(t, struct owner, timer);

        o->freed = true;
        loop_stop(o->loop);
}

static void on_timer(struct timer *t) {
        struct owner *o = container_of(t, struct owner, timer);

        if (++o->fired < 3)
                timer_start(o->loop, t, 1, on_timer);
        else
                timer_close(t, on_freed);
}

static void a_timer_fires_once_for_each_start_and_says_when_it_may_go(void **state) {
        struct owner o = { 0 }, never = { 0 };

        assert_int_equal(loop_new("timer", &o.loop, NULL), 0);
        timer_start(o.loop, &o.timer, 5, on_timer);
        timer_start(o.loop, &never.timer, 1, on_timer);
        timer_stop(&never.timer);
        loop_run(o.loop);
        assert_int_equal(o.fired, 3);
        assert_true(o.freed);
        assert_int_equal(never.fired, 0);
        timer_close(&never.timer, NULL);
        loop_free(o.loop);
        never = (struct owner) { 0 };
        timer_stop(&never.timer); /* one that was never started */
}

static struct owner counted;
static int64_t started_ns;

static void on_counted(struct timer *t) {
        started_ns = now_mono_ns() - started_ns;
        loop_stop(counted.loop);
}

static void on_busy(struct loop_work *w) {
        usleep(30000);
        started_ns = now_mono_ns();
        timer_start(counted.loop, &counted.timer, 20, on_counted);
}

static void a_timer_counts_from_its_start_in_a_turn_that_lasts(void **state) {
        struct loop_work busy = { .run = on_busy };

        assert_int_equal(loop_new("timer", &counted.loop, NULL), 0);
        loop_post(counted.loop, &busy);
        loop_run(counted.loop);
        assert_true(started_ns > 18 * NSEC_PER_MSEC); /* its clock has whole milliseconds */
        timer_close(&counted.timer, NULL);
        loop_free(counted.loop);
}

static struct late_loop late;
static atomic_int late_runs, late_busy;

static void on_late(struct loop_work *w) {
        late_runs += loop_is_current(late.loop) ? 1 : 100;
        late_busy--;
        free(w);
}

static void end_late(void *arg) {
        struct loop_work *w = xcalloc(1, sizeof(*w));

        w->run = on_late; /* what still has to come back */
        late_busy++;
        loop_post(late.loop, w);
}

static void a_late_loop_is_made_by_the_first_post_and_never_after_its_end(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct loop_work *w = xcalloc(1, sizeof(*w));

        late = LATE_LOOP("never");
        late_loop_stop(&late, end_late, NULL, NULL);
        assert_int_equal(late_loop_post(&late, w, &e), -ECANCELED);
        assert_null(late.loop);
        late = LATE_LOOP("late");
        w->run = on_late;
        late_busy = 1;
        assert_int_equal(late_loop_post(&late, w, NULL), 0);
        late_loop_stop(&late, end_late, NULL, &late_busy);
        assert_int_equal(late_runs, 2);
        late_loop_stop(&late, end_late, NULL, &late_busy);
        assert_int_equal(late_runs, 2);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(posts_of_many_threads_run_once_and_in_order),
                cmocka_unit_test(a_synchronous_call_has_happened_when_it_returns),
                cmocka_unit_test(work_posted_while_the_loop_stops_still_runs),
                cmocka_unit_test(a_loop_runs_again_after_it_was_stopped),
                cmocka_unit_test(a_timer_fires_once_for_each_start_and_says_when_it_may_go),
                cmocka_unit_test(a_timer_counts_from_its_start_in_a_turn_that_lasts),
                cmocka_unit_test(a_late_loop_is_made_by_the_first_post_and_never_after_its_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
