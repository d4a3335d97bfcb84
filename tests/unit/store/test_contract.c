/* What every backend's store must do. Each test runs on each backend. */
#include "help.h"

#include <errno.h>
#include <stdio.h>

#include "base/vec.h"

struct fixture {
        const char *backend;
        char *dir; /* NULL: memory */
        struct store *s;
};

static void open_store(struct fixture *f, struct store_options o) {
        _cleanup_error_ struct error err = ERROR_INIT;

        o.path = f->dir;
        if (store_open(&o, &f->s, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static int setup(void **state) {
        const char *backend = *state;
        struct fixture *f = xcalloc(1, sizeof(*f));

        f->backend = backend;
        if (strcmp(backend, "lmdb") == 0)
                f->dir = make_dir();
        open_store(f, (struct store_options) { 0 });
        *state = f;
        return 0;
}

static int teardown(void **state) {
        struct fixture *f = *state;

        store_close(f->s);
        if (f->dir)
                remove_dir(f->dir);
        free(f);
        return 0;
}

static void reopen(struct fixture *f, struct store_options o) {
        store_close(f->s);
        open_store(f, o);
}

/* ---- writing ---- */

static void create_sets_the_revision(void **state) {
        struct fixture *f = *state;
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = NULL;
        struct object *o;
        uint64_t revision;

        assert_int_equal(store_revision(f->s), 0);
        assert_int_equal(put_new(f->s, "core/pods/default/a", make_object("{\"metadata\":{\"name\":\"a\"},\"n\":5}"),
                                 &revision),
                         0);
        assert_int_equal(revision, 1);
        assert_int_equal(store_revision(f->s), 1);
        snap = store_snapshot(f->s);
        o = store_get(snap, STR("core/pods/default/a"));
        assert_non_null(o);
        assert_int_equal(object_revision(o), 1);
        assert_true(str_eqc(json_str(json_at_path(object_json(o), "metadata", "resourceVersion")), "1"));
        assert_int_equal(number_of(f->s, "core/pods/default/a"), 5);
        assert_null(store_get(snap, STR("core/pods/default/")));
        assert_null(store_get(snap, STR("core/pods/default/ab")));
}

/* Submits ops and waits; the caller looks at the transaction. */
static struct counter answered = COUNTER_INIT;
static void on_answer(struct store_txn *t) {
        counter_add(&answered);
}
static void submit_and_wait(struct store *s, struct store_txn *t) {
        t->done = on_answer;
        answered.n = 0;
        store_submit(s, t);
        counter_wait(&answered, 1);
}

static void create_of_what_is_there_is_refused(void **state) {
        struct fixture *f = *state;
        struct store_op op = { .kind = STORE_CREATE, .key = STR("a"), .object = make_object("{\"n\":2}") };
        struct store_txn t = { .ops = &op, .n_ops = 1 };

        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        submit_and_wait(f->s, &t);
        assert_int_equal(t.result, -EEXIST);
        assert_non_null(t.current);
        assert_int_equal(object_revision(t.current), 1);
        object_unref(t.current);
        object_unref(op.object);
        assert_int_equal(number_of(f->s, "a"), 1);
        assert_int_equal(store_revision(f->s), 1);
}

static void update_needs_the_expected_revision(void **state) {
        struct fixture *f = *state;
        struct store_op op = { .kind = STORE_UPDATE, .key = STR("a"), .object = make_object("{\"n\":9}"), .expect = 1 };
        struct store_txn t = { .ops = &op, .n_ops = 1 };
        uint64_t revision;

        assert_int_equal(put_over(f->s, "a", 1, make_object("{\"n\":0}"), NULL), -ENOENT);
        assert_int_equal(put_over(f->s, "a", STORE_ANY_REVISION, make_object("{\"n\":0}"), NULL), -ENOENT);
        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(put_over(f->s, "a", 1, make_object("{\"n\":2}"), &revision), 0);
        assert_int_equal(revision, 2);
        submit_and_wait(f->s, &t);
        assert_int_equal(t.result, -EAGAIN);
        assert_int_equal(object_revision(t.current), 2);
        object_unref(t.current);
        object_unref(op.object);
        assert_int_equal(put_over(f->s, "a", STORE_ANY_REVISION, make_object("{\"n\":3}"), &revision), 0);
        assert_int_equal(revision, 3);
        assert_int_equal(number_of(f->s, "a"), 3);
}

/* Adds one up to a limit. */
static struct object *count_up(const struct object *now, void *arg) {
        int64_t n = json_int(json_getc(object_json(now), "n")), *limit = arg;

        return n < *limit ? make_object("{\"n\":%lld}", (long long) n + 1) : NULL;
}

static void a_merge_makes_the_new_state_of_the_one_there_is(void **state) {
        struct fixture *f = *state;
        int64_t limit = 2;
        struct store_op op = {
                .kind = STORE_UPDATE, .key = STR("a"), .expect = STORE_ANY_REVISION, .merge = count_up, .arg = &limit
        };

        assert_int_equal(store_commit(f->s, &op, 1, NULL), -ENOENT);
        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(store_commit(f->s, &op, 1, NULL), 0);
        object_unref(op.object);
        op.object = NULL;
        assert_int_equal(number_of(f->s, "a"), 2);
        assert_int_equal(store_commit(f->s, &op, 1, NULL), -EAGAIN);
        assert_null(op.object);
        assert_int_equal(number_of(f->s, "a"), 2);
}

static void delete_needs_the_expected_revision(void **state) {
        struct fixture *f = *state;
        uint64_t revision;

        assert_int_equal(remove_key(f->s, "a", STORE_ANY_REVISION, NULL), -ENOENT);
        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(remove_key(f->s, "a", 7, NULL), -EAGAIN);
        assert_int_equal(number_of(f->s, "a"), 1);
        assert_int_equal(remove_key(f->s, "a", 1, &revision), 0);
        assert_int_equal(revision, 2);
        assert_int_equal(number_of(f->s, "a"), -1);
        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":2}"), &revision), 0);
        assert_int_equal(revision, 3);
}

static void a_transaction_is_whole_or_not_there(void **state) {
        struct fixture *f = *state;
        struct store_op ops[] = {
                { .kind = STORE_CREATE, .key = STR("b"), .object = make_object("{\"n\":2}") },
                { .kind = STORE_DELETE, .key = STR("a"), .expect = STORE_ANY_REVISION },
                { .kind = STORE_UPDATE, .key = STR("c"), .object = make_object("{\"n\":3}"), .expect = 99 },
        };
        struct store_txn t = { .ops = ops, .n_ops = 3 };

        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(put_new(f->s, "c", make_object("{\"n\":1}"), NULL), 0);
        submit_and_wait(f->s, &t);
        assert_int_equal(t.result, -EAGAIN);
        assert_int_equal(t.failed_op, 2);
        object_unref(t.current);
        assert_int_equal(number_of(f->s, "a"), 1);
        assert_int_equal(number_of(f->s, "b"), -1);
        assert_int_equal(number_of(f->s, "c"), 1);
        assert_int_equal(store_revision(f->s), 2);

        ops[2].expect = 2;
        submit_and_wait(f->s, &t);
        assert_int_equal(t.result, 0);
        assert_int_equal(t.revision, 3);
        assert_null(t.current);
        assert_int_equal(number_of(f->s, "a"), -1);
        assert_int_equal(number_of(f->s, "b"), 2);
        assert_int_equal(number_of(f->s, "c"), 3);
        object_unref(ops[0].object);
        object_unref(ops[2].object);
}

static void malformed_transactions_are_refused(void **state) {
        struct fixture *f = *state;
        static char longest[STORE_KEY_MAX + 2];
        struct object *o = make_object("{}");
        struct store_op twice[] = { { .kind = STORE_CREATE, .key = STR("a"), .object = o },
                                    { .kind = STORE_CREATE, .key = STR("a"), .object = o } };

        assert_int_equal(store_commit(f->s, twice, 2, NULL), -EINVAL);
        assert_int_equal(store_commit(f->s, NULL, 0, NULL), -EINVAL);
        object_unref(o);
        memset(longest, 'k', STORE_KEY_MAX + 1);
        assert_int_equal(put_new(f->s, longest, make_object("{}"), NULL), -EINVAL);
        assert_int_equal(put_new(f->s, "", make_object("{}"), NULL), -EINVAL);
        assert_int_equal(store_commit(f->s, &(struct store_op) { .kind = STORE_CREATE, .key = STR("x") }, 1, NULL),
                         -EINVAL);
        assert_int_equal(store_revision(f->s), 0);
        longest[STORE_KEY_MAX] = '\0';
        assert_int_equal(put_new(f->s, longest, make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(number_of(f->s, longest), 1);
}

/* ---- reading ---- */

static void snapshots_do_not_change(void **state) {
        struct fixture *f = *state;
        struct store_snapshot *old;
        struct store_iter it;
        size_t n = 0;
        char key[32];

        for (int i = 0; i < 200; i++) {
                snprintf(key, sizeof(key), "a/%03d", i);
                assert_int_equal(put_new(f->s, key, make_object("{\"n\":%d}", i), NULL), 0);
        }
        old = store_snapshot(f->s);
        store_iter_init(&it, old, STR("a/"), STR(""));
        for (int i = 0; i < 200; i++) {
                snprintf(key, sizeof(key), "a/%03d", i);
                if (i % 2)
                        assert_int_equal(remove_key(f->s, key, STORE_ANY_REVISION, NULL), 0);
                else
                        assert_int_equal(put_over(f->s, key, STORE_ANY_REVISION, make_object("{\"n\":%d}", -i), NULL),
                                         0);
                /* An iteration goes on over what it began with. */
                assert_true(store_iter_next(&it));
                assert_true(str_eqc(it.key, key));
                assert_int_equal(object_revision(it.object), i + 1);
                n++;
        }
        assert_false(store_iter_next(&it));
        assert_int_equal(n, 200);
        assert_int_equal(store_count(old, STR("a/"), STR("")), 200);
        assert_int_equal(store_snapshot_revision(old), 200);
        store_snapshot_unref(old);
        assert_int_equal(number_of(f->s, "a/001"), -1);
}

static void iteration_by_prefix_and_start(void **state) {
        struct fixture *f = *state;
        static const char *const keys[] = { "a", "a/1", "a/2", "a/20", "a/3", "a0", "b/1", "\xff/1", "\xff\xff" };
        static const struct {
                const char *prefix, *start, *first;
                size_t n;
        } cases[] = {
                { "", "", "a", 9 },
                { "a/", "", "a/1", 4 },
                { "a/", "a/2", "a/2", 3 },
                { "a/", "a/2\1", "a/20", 2 },
                { "a/", "a/4", NULL, 0 },
                { "a/", "b", NULL, 0 },
                { "a/", "A", "a/1", 4 },
                { "b/", "a/3", "b/1", 1 },
                { "c", "", NULL, 0 },
                { "\xff", "", "\xff/1", 2 },
                { "\xff\xff", "", "\xff\xff", 1 },
                { "\xff\xff\xff", "", NULL, 0 },
                { "a", "", "a", 6 },
                { "", "a0", "a0", 4 },
        };

        for (size_t i = ARRAY_SIZE(keys); i-- > 0;)
                assert_int_equal(put_new(f->s, keys[i], make_object("{}"), NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(f->s);
                struct store_iter it;
                size_t n = 0;

                store_iter_init(&it, snap, str_of(cases[i].prefix), str_of(cases[i].start));
                for (; store_iter_next(&it); n++)
                        if (n == 0)
                                assert_true(str_eqc(it.key, cases[i].first));
                assert_int_equal(n, cases[i].n);
                assert_int_equal(store_count(snap, str_of(cases[i].prefix), str_of(cases[i].start)), n);
        }
}

/* ---- watching ---- */

struct seen {
        struct store_subscriber sub;
        uint64_t last; /* revision */
        bool gap;
        VEC(struct store_event) events; /* keys and objects are not kept alive: do not look */
};

static void on_publish(struct store_subscriber *sub, struct store_batch *b) {
        struct seen *seen = container_of(sub, struct seen, sub);
        const struct store_event *e;
        size_t n = store_batch_events(b, &e);

        for (size_t i = 0; i < n; i++) {
                /* Transactions of these tests have one op: each event is one revision. */
                if (e[i].revision != seen->last + 1 || object_revision(e[i].object) != e[i].revision)
                        seen->gap = true;
                seen->last = e[i].revision;
                vec_push(&seen->events, e[i]);
        }
        if (store_batch_revision(b) != seen->last)
                seen->gap = true;
}

static void subscribers_get_every_event(void **state) {
        struct fixture *f = *state;
        struct seen seen = { .sub.publish = on_publish };

        assert_int_equal(put_new(f->s, "a", make_object("{\"n\":1}"), NULL), 0);
        seen.last = store_subscribe(f->s, &seen.sub);
        assert_int_equal(seen.last, 1);
        assert_int_equal(put_over(f->s, "a", 1, make_object("{\"n\":2}"), NULL), 0);
        assert_int_equal(remove_key(f->s, "a", 2, NULL), 0);
        assert_int_equal(put_new(f->s, "b", make_object("{\"n\":3}"), NULL), 0);
        store_unsubscribe(f->s, &seen.sub);
        assert_int_equal(put_new(f->s, "c", make_object("{\"n\":3}"), NULL), 0);
        assert_false(seen.gap);
        assert_int_equal(seen.events.n, 3);
        assert_int_equal(seen.events.v[0].kind, STORE_EVENT_PUT);
        assert_non_null(seen.events.v[0].previous);
        assert_int_equal(seen.events.v[1].kind, STORE_EVENT_DELETE);
        assert_null(seen.events.v[2].previous);
        vec_free(&seen.events);
}

static void keep_event(const struct store_event *e, void *arg) {
        VEC(struct store_event) *events = arg;

        vec_push(events, *e);
}

static void a_delete_shows_the_last_state_with_its_own_revision(void **state) {
        struct fixture *f = *state;
        VEC(struct store_event) events = { 0 };
        struct store_op op = { .kind = STORE_DELETE,
                               .key = STR("b"),
                               .expect = STORE_ANY_REVISION,
                               .object = make_object("{\"metadata\":{\"name\":\"b\",\"finalizers\":[]},\"n\":8}") };

        assert_int_equal(put_new(f->s, "a", make_object("{\"metadata\":{\"name\":\"a\"},\"n\":7}"), NULL), 0);
        assert_int_equal(put_new(f->s, "b", make_object("{\"metadata\":{\"name\":\"b\"},\"n\":7}"), NULL), 0);
        assert_int_equal(remove_key(f->s, "a", 1, NULL), 0);
        assert_int_equal(store_commit(f->s, &op, 1, NULL), 0);
        object_unref(op.object);
        assert_int_equal(store_history(f->s, STR(""), 2, UINT64_MAX, keep_event, &events), 0);
        assert_int_equal(events.n, 2);
        for (size_t i = 0; i < 2; i++) {
                const struct store_event *e = &events.v[i]; /* history still holds it */
                const struct json *doc = object_json(e->object);

                assert_int_equal(e->kind, STORE_EVENT_DELETE);
                assert_int_equal(e->revision, 3 + i);
                assert_int_equal(object_revision(e->object), 3 + i);
                assert_true(str_eqc(json_str(json_at_path(doc, "metadata", "resourceVersion")), i ? "4" : "3"));
                assert_int_equal(json_int(json_getc(doc, "n")), 7 + i);
                assert_int_equal(object_revision(e->previous), 1 + i);
        }
        vec_free(&events);
}

static void history_reaches_back_to_its_bound(void **state) {
        struct fixture *f = *state;
        VEC(struct store_event) events = { 0 };

        for (int i = 0; i < 10; i++) {
                assert_int_equal(put_new(f->s, i % 2 ? "x/1" : "y/1", make_object("{}"), NULL), 0);
                assert_int_equal(remove_key(f->s, i % 2 ? "x/1" : "y/1", STORE_ANY_REVISION, NULL), 0);
        }
        assert_int_equal(store_oldest_revision(f->s), 0);
        assert_int_equal(store_history(f->s, STR("x/"), 0, 20, keep_event, &events), 0);
        assert_int_equal(events.n, 10);
        events.n = 0;
        assert_int_equal(store_history(f->s, STR(""), 3, 7, keep_event, &events), 0);
        assert_int_equal(events.n, 4);
        assert_int_equal(events.v[0].revision, 4);
        assert_int_equal(events.v[3].revision, 7);
        events.n = 0;
        assert_int_equal(store_history(f->s, STR(""), 20, 20, keep_event, &events), 0);
        assert_int_equal(store_history(f->s, STR(""), 25, 30, keep_event, &events), 0);
        assert_int_equal(events.n, 0);

        store_compact(f->s, 5);
        assert_int_equal(store_oldest_revision(f->s), 5);
        assert_int_equal(store_history(f->s, STR(""), 4, 20, keep_event, &events), -ESTALE);
        assert_int_equal(store_history(f->s, STR(""), 5, 20, keep_event, &events), 0);
        assert_int_equal(events.n, 15);
        store_compact(f->s, 1000);
        assert_int_equal(store_oldest_revision(f->s), 20);
        vec_free(&events);
}

static void history_is_bounded(void **state) {
        struct fixture *f = *state;
        static char big[4000];

        reopen(f, (struct store_options) { .history_events = 10 });
        for (int i = 0; i < 30; i++)
                assert_int_equal(put_new(f->s, i % 2 ? "x" : "y", make_object("{}"), NULL) |
                                                 remove_key(f->s, i % 2 ? "x" : "y", STORE_ANY_REVISION, NULL),
                                 0);
        assert_int_equal(store_oldest_revision(f->s), 50);

        reopen(f, (struct store_options) { .history_bytes = 100000 });
        assert_int_equal(store_oldest_revision(f->s), f->dir ? 60 : 0);
        memset(big, 'x', sizeof(big) - 1);
        assert_int_equal(put_new(f->s, "big", make_object("{\"v\":\"%s\"}", big), NULL), 0);
        for (int i = 0; i < 100; i++)
                assert_int_equal(put_over(f->s, "big", STORE_ANY_REVISION, make_object("{\"v\":\"%s\"}", big), NULL),
                                 0);
        assert_in_range(store_revision(f->s) - store_oldest_revision(f->s), 5, 24);
}

/* ---- under load ---- */

#define LOAD_THREADS 3
#define LOAD_OPS 400

static void *load(void *arg) {
        struct store *s = arg;
        char key[64];

        for (int i = 0; i < LOAD_OPS; i++) {
                snprintf(key, sizeof(key), "load/%lx/%d", (unsigned long) pthread_self(), i % 20);
                if (put_new(s, key, make_object("{\"n\":%d}", i), NULL) == -EEXIST)
                        assert_int_equal(remove_key(s, key, STORE_ANY_REVISION, NULL), 0);
        }
        return NULL;
}

static void subscribing_under_load_leaves_no_gap(void **state) {
        struct fixture *f = *state;
        pthread_t threads[LOAD_THREADS];
        struct seen all = { .sub.publish = on_publish };

        all.last = store_subscribe(f->s, &all.sub);
        for (size_t i = 0; i < LOAD_THREADS; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, load, f->s), 0);
        for (int i = 0; i < 200; i++) {
                struct seen seen = { .sub.publish = on_publish };
                VEC(struct store_event) missed = { 0 };
                uint64_t from, now;

                /* last is written by publish as soon as it is subscribed, so it cannot be set from the result. */
                from = store_subscribe(f->s, &seen.sub);
                now = store_revision(f->s);
                assert_true(now >= from);
                store_unsubscribe(f->s, &seen.sub);
                if (seen.events.n > 0) {
                        assert_int_equal(seen.events.v[0].revision, from + 1);
                        for (size_t k = 1; k < seen.events.n; k++)
                                assert_int_equal(seen.events.v[k].revision, from + 1 + k);
                }
                /* What was there before can be read back without a gap, too. */
                assert_int_equal(store_history(f->s, STR(""), from > 5 ? from - 5 : 0, from, keep_event, &missed), 0);
                assert_int_equal(missed.n, from > 5 ? 5 : from);
                vec_free(&missed);
                vec_free(&seen.events);
        }
        for (size_t i = 0; i < LOAD_THREADS; i++)
                pthread_join(threads[i], NULL);
        store_unsubscribe(f->s, &all.sub);
        assert_false(all.gap);
        assert_int_equal(all.last, store_revision(f->s));
        vec_free(&all.events);
}

static void readers_see_whole_transactions(void **state) {
        struct fixture *f = *state;
        struct store_op ops[] = { { .kind = STORE_CREATE, .key = STR("pair/a") },
                                  { .kind = STORE_CREATE, .key = STR("pair/b") } };
        uint64_t seen = 0;
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, load, f->s), 0);
        for (int i = 0; i < 300; i++) {
                _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = NULL;
                struct store_txn t = { .ops = ops, .n_ops = 2, .done = on_answer };
                struct object *a, *b;

                ops[0].object = make_object("{\"n\":%d}", i);
                ops[1].object = make_object("{\"n\":%d}", i);
                answered.n = 0;
                store_submit(f->s, &t);
                snap = store_snapshot(f->s);
                a = store_get(snap, STR("pair/a"));
                b = store_get(snap, STR("pair/b"));
                assert_int_equal(a == NULL, b == NULL);
                if (a) {
                        assert_int_equal(object_revision(a), object_revision(b));
                        assert_true(object_revision(a) <= store_snapshot_revision(snap));
                }
                assert_true(store_snapshot_revision(snap) >= seen);
                counter_wait(&answered, 1);
                assert_int_equal(t.result, 0);
                seen = t.revision;
                object_unref(ops[0].object);
                object_unref(ops[1].object);
                ops[0].kind = ops[1].kind = STORE_UPDATE;
                ops[0].expect = ops[1].expect = t.revision;
        }
        pthread_join(thread, NULL);
}

/* ---- answers ---- */

struct on_loop {
        struct store_txn txn;
        struct store_op op;
        struct counter *counter;
        char key[16];
        bool here;
};

static void on_loop_answer(struct store_txn *t) {
        struct on_loop *l = container_of(t, struct on_loop, txn);

        l->here = loop_is_current(t->loop);
        counter_add(l->counter);
}

static void answers_come_on_the_submitters_loop(void **state) {
        enum { N = 100 };
        struct fixture *f = *state;
        struct counter counter = COUNTER_INIT;
        struct on_loop *all = xcalloc(N, sizeof(*all));
        struct loop *loop;

        assert_int_equal(loop_new("test", &loop, NULL), 0);
        loop_start_thread(loop);
        for (int i = 0; i < N; i++) {
                struct on_loop *l = &all[i];

                snprintf(l->key, sizeof(l->key), "%d", i);
                l->op = (struct store_op) { .kind = STORE_CREATE, .key = str_of(l->key), .object = make_object("{}") };
                l->counter = &counter;
                l->txn = (struct store_txn) { .ops = &l->op, .n_ops = 1, .done = on_loop_answer, .loop = loop };
                store_submit(f->s, &l->txn);
        }
        counter_wait(&counter, N);
        for (int i = 0; i < N; i++) {
                assert_true(all[i].here);
                assert_int_equal(all[i].txn.result, 0);
                assert_int_equal(all[i].txn.revision, i + 1); /* in the order of submission */
                object_unref(all[i].op.object);
        }
        loop_end(loop);
        free(all);
}

/* Holds the writer inside publish. */
struct gate {
        struct store_subscriber sub;
        struct counter entered, opened;
};

static void wait_at_gate(struct store_subscriber *sub, struct store_batch *b) {
        struct gate *g = container_of(sub, struct gate, sub);

        counter_add(&g->entered);
        counter_wait(&g->opened, 1);
}

static void a_full_queue_refuses(void **state) {
        struct fixture *f = *state;
        struct gate gate = { .sub.publish = wait_at_gate, .entered = COUNTER_INIT, .opened = COUNTER_INIT };
        struct store_op op = { .kind = STORE_DELETE, .key = STR("nothing"), .expect = STORE_ANY_REVISION };
        struct store_op first = { .kind = STORE_CREATE, .key = STR("a"), .object = make_object("{}") };
        struct store_txn begin = { .ops = &first, .n_ops = 1, .done = on_answer };
        struct store_txn *txns = xcalloc(STORE_QUEUE_MAX + 1, sizeof(*txns));

        store_subscribe(f->s, &gate.sub);
        answered.n = 0;
        store_submit(f->s, &begin);
        counter_wait(&gate.entered, 1);
        for (size_t i = 0; i <= STORE_QUEUE_MAX; i++) {
                txns[i] = (struct store_txn) { .ops = &op, .n_ops = 1, .done = on_answer };
                store_submit(f->s, &txns[i]);
        }
        assert_int_equal(txns[STORE_QUEUE_MAX].result, -EBUSY);
        assert_int_equal(answered.n, 1);
        counter_add(&gate.opened);
        counter_wait(&answered, STORE_QUEUE_MAX + 2);
        for (size_t i = 0; i < STORE_QUEUE_MAX; i++)
                assert_int_equal(txns[i].result, -ENOENT);
        assert_int_equal(begin.result, 0);
        store_unsubscribe(f->s, &gate.sub);
        object_unref(first.object);
        free(txns);
}

static void closing_finishes_what_is_queued(void **state) {
        enum { N = 50 };
        struct fixture *f = *state;
        struct on_loop *all = xcalloc(N, sizeof(*all));
        struct counter counter = COUNTER_INIT;

        for (int i = 0; i < N; i++) {
                struct on_loop *l = &all[i];

                snprintf(l->key, sizeof(l->key), "%d", i);
                l->op = (struct store_op) { .kind = STORE_CREATE, .key = str_of(l->key), .object = make_object("{}") };
                l->counter = &counter;
                l->txn = (struct store_txn) { .ops = &l->op, .n_ops = 1, .done = on_answer };
                store_submit(f->s, &l->txn);
        }
        reopen(f, (struct store_options) { 0 });
        for (int i = 0; i < N; i++) {
                assert_int_equal(all[i].txn.result, 0);
                object_unref(all[i].op.object);
        }
        free(all);
        if (f->dir)
                assert_int_equal(store_revision(f->s), N);
}

/* ---- the tests on each backend ---- */

#define TEST(t) \
        { #t, t, setup, teardown, NULL }
static const struct CMUnitTest each_test[] = {
        TEST(create_sets_the_revision),
        TEST(create_of_what_is_there_is_refused),
        TEST(update_needs_the_expected_revision),
        TEST(a_merge_makes_the_new_state_of_the_one_there_is),
        TEST(delete_needs_the_expected_revision),
        TEST(a_transaction_is_whole_or_not_there),
        TEST(malformed_transactions_are_refused),
        TEST(snapshots_do_not_change),
        TEST(iteration_by_prefix_and_start),
        TEST(subscribers_get_every_event),
        TEST(a_delete_shows_the_last_state_with_its_own_revision),
        TEST(history_reaches_back_to_its_bound),
        TEST(history_is_bounded),
        TEST(subscribing_under_load_leaves_no_gap),
        TEST(readers_see_whole_transactions),
        TEST(answers_come_on_the_submitters_loop),
        TEST(a_full_queue_refuses),
        TEST(closing_finishes_what_is_queued),
};

static int run_on(const char *backend) {
        struct CMUnitTest tests[ARRAY_SIZE(each_test)];

        for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
                tests[i] = each_test[i];
                tests[i].initial_state = (void *) backend;
        }
        return cmocka_run_group_tests_name(backend, tests, NULL, NULL);
}

int main(void) {
        return run_on("memory") | run_on("lmdb");
}
