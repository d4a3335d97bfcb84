/* A backend that fails at step N: the store says so, is as it was before, and goes on. */
#include "help.h"

#include <errno.h>
#include <stdio.h>

#include "store/backend.h"

struct faulty {
        struct backend backend;
        int fail_from, fail_to; /* calls of apply that fail, counted from 1 */
        int result;
        int calls;
};

static int faulty_load(struct backend *b, struct node **ret_root, uint64_t *ret_revision, struct error *err) {
        struct faulty *f = container_of(b, struct faulty, backend);

        if (f->fail_from == 0 && f->result < 0)
                return error_set(err, f->result, "load failed");
        *ret_root = NULL;
        *ret_revision = 100;
        return 0;
}

static int faulty_apply(struct backend *b, const struct backend_run *run, struct error *err) {
        struct faulty *f = container_of(b, struct faulty, backend);

        f->calls++;
        if (f->calls >= f->fail_from && f->calls <= f->fail_to)
                return error_set(err, f->result, "step %d failed", f->calls);
        return 0;
}

static void faulty_close(struct backend *b) {
}

static const struct backend_class faulty_class = { "faulty", faulty_load, faulty_apply, faulty_close };

static struct store *open_faulty(struct faulty *f) {
        struct store *s;

        f->backend.class = &faulty_class;
        assert_int_equal(store_open_on(&f->backend, &(struct store_options) { 0 }, &s, NULL), 0);
        return s;
}

struct recorder {
        struct store_subscriber sub;
        size_t events;
        uint64_t last;
};

static void record(struct store_subscriber *sub, struct store_batch *b) {
        struct recorder *r = container_of(sub, struct recorder, sub);
        const struct store_event *e;
        size_t n = store_batch_events(b, &e);

        for (size_t i = 0; i < n; i++) {
                assert_true(e[i].revision > r->last);
                r->last = e[i].revision;
        }
        r->events += n;
}

static void a_failed_commit_leaves_no_trace(void **state) {
        static const int results[] = { -ENOSPC, -EIO, -EUCLEAN };

        for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
                struct faulty f = { .fail_from = 2, .fail_to = 4, .result = results[i] };
                struct recorder rec = { .sub.publish = record };
                struct store *s = open_faulty(&f);
                int expected = results[i] == -ENOSPC ? -ENOSPC : -EIO;
                uint64_t revision;

                store_subscribe(s, &rec.sub);
                assert_int_equal(put_new(s, "a", make_object("{\"n\":1}"), &revision), 0);
                assert_int_equal(revision, 101);
                assert_int_equal(put_over(s, "a", 101, make_object("{\"n\":2}"), NULL), expected);
                assert_int_equal(remove_key(s, "a", 101, NULL), expected);
                assert_int_equal(put_new(s, "b", make_object("{\"n\":2}"), NULL), expected);
                assert_int_equal(store_revision(s), 101);
                assert_int_equal(number_of(s, "a"), 1);
                assert_int_equal(number_of(s, "b"), -1);
                assert_int_equal(put_over(s, "a", 101, make_object("{\"n\":3}"), &revision), 0);
                assert_int_equal(revision, 102);
                assert_int_equal(number_of(s, "a"), 3);
                assert_int_equal(rec.events, 2);
                assert_int_equal(store_oldest_revision(s), 100);
                store_unsubscribe(s, &rec.sub);
                store_close(s);
        }
}

static struct counter answered = COUNTER_INIT;
static void on_answer(struct store_txn *t) {
        counter_add(&answered);
}

/* Holds the writer, so that what is submitted meanwhile becomes one run. */
static struct counter held = COUNTER_INIT, released = COUNTER_INIT;
static void hold(struct store_subscriber *sub, struct store_batch *b) {
        counter_add(&held);
        counter_wait(&released, 1);
}

static void refusals_of_a_failed_run_are_taken_back(void **state) {
        struct faulty f = { .fail_from = 2, .fail_to = 2, .result = -EIO };
        struct store_subscriber gate = { .publish = hold };
        struct store *s = open_faulty(&f);
        struct store_op first = { .kind = STORE_CREATE, .key = STR("first"), .object = make_object("{}") };
        struct store_op create[2] = { { .kind = STORE_CREATE, .key = STR("a"), .object = make_object("{\"n\":1}") },
                                      { .kind = STORE_CREATE, .key = STR("a"), .object = make_object("{\"n\":2}") } };
        struct store_txn begin = { .ops = &first, .n_ops = 1, .done = on_answer };
        struct store_txn txns[2] = { { .ops = &create[0], .n_ops = 1, .done = on_answer },
                                     { .ops = &create[1], .n_ops = 1, .done = on_answer } };

        store_subscribe(s, &gate);
        store_submit(s, &begin);
        counter_wait(&held, 1);
        store_submit(s, &txns[0]);
        store_submit(s, &txns[1]);
        counter_add(&released);
        counter_wait(&answered, 3);
        /* The second was refused because of the first, which then did not happen. */
        assert_int_equal(txns[0].result, -EIO);
        assert_int_equal(txns[1].result, -EIO);
        assert_null(txns[1].current);
        assert_int_equal(store_revision(s), 101);
        assert_int_equal(number_of(s, "a"), -1);
        store_unsubscribe(s, &gate);
        object_unref(first.object);
        object_unref(create[0].object);
        object_unref(create[1].object);
        store_close(s);
}

static void transactions_go_one_by_one_while_writes_fail(void **state) {
        enum { N = 20 };
        struct faulty f = { .fail_from = 2, .fail_to = 6, .result = -ENOSPC };
        struct store_subscriber gate = { .publish = hold };
        struct store *s = open_faulty(&f);
        struct store_op ops[N + 1];
        struct store_txn txns[N + 1];
        char keys[N + 1][8];
        int failed = 0;

        held.n = released.n = answered.n = 0;
        store_subscribe(s, &gate);
        for (int i = 0; i <= N; i++) {
                snprintf(keys[i], sizeof(keys[i]), "%d", i);
                ops[i] = (struct store_op) { .kind = STORE_CREATE,
                                             .key = str_of(keys[i]),
                                             .object = make_object("{}") };
                txns[i] = (struct store_txn) { .ops = &ops[i], .n_ops = 1, .done = on_answer };
        }
        /* Run 1: the first alone. Run 2 fails as a whole. */
        store_submit(s, &txns[0]);
        counter_wait(&held, 1);
        for (int i = 1; i <= N / 2; i++)
                store_submit(s, &txns[i]);
        counter_add(&released);
        counter_wait(&answered, 1 + N / 2);
        /* Runs 3 to 6 fail one by one, then the rest succeed: nobody fails for a neighbour. */
        for (int i = N / 2 + 1; i <= N; i++)
                store_submit(s, &txns[i]);
        counter_wait(&answered, N + 1);
        for (int i = N / 2 + 1; i <= N; i++)
                failed += txns[i].result == -ENOSPC;
        assert_int_equal(failed, 4);
        assert_int_equal(store_revision(s), 100 + 1 + N / 2 - 4);
        for (int i = 0; i <= N; i++)
                object_unref(ops[i].object);
        store_unsubscribe(s, &gate);
        store_close(s);
}

static void a_failed_load_is_reported(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct faulty f = { .backend.class = &faulty_class, .result = -EUCLEAN };
        struct store *s;

        assert_int_equal(store_open_on(&f.backend, &(struct store_options) { 0 }, &s, &err), -EUCLEAN);
        assert_string_equal(error_text(&err), "load failed");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_failed_commit_leaves_no_trace),
                cmocka_unit_test(refusals_of_a_failed_run_are_taken_back),
                cmocka_unit_test(transactions_go_one_by_one_while_writes_fail),
                cmocka_unit_test(a_failed_load_is_reported),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
