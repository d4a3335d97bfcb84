/* The store: one writer, any number of readers.
 *
 *   any thread ── store_submit ──▶ [queue] ──▶ writer: a run = what is queued, up to RUN_OPS
 *                                                │ check each transaction, change the private tree
 *                                                │ backend->apply: one fsync for the run
 *                                                │ publish: current = new snapshot, history, subscribers
 *                                                └ answer: done() on each submitter's loop
 *   any thread ── store_snapshot ──▶ current (a lock held for one increment), then no locks
 *
 * A run that cannot be made durable leaves no trace: its tree is dropped and its revisions are given out again. */
#include "store/store.h"

#include <inttypes.h>
#include <semaphore.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "store/backend.h"
#include "store/btree.h"
#include "store/history.h"

/* Bounds of one run: they keep answers quick, and the memory that a commit needs small. */
#define RUN_OPS 512
#define RUN_BYTES (4U << 20)
#define LINGER_NS 50000

struct store_snapshot {
        atomic_uint refs;
        uint64_t revision;
        struct node *root;
};

struct store {
        struct backend *backend;
        const struct store_cipher *cipher; /* may be NULL */
        char *path;                        /* of the directory, or NULL */
        struct history history;
        pthread_t writer;

        pthread_mutex_t queue_lock;
        pthread_cond_t queue_cond;
        struct list queue; /* of store_txn.link */
        size_t queued, queued_bytes;
        bool idle; /* the writer waits */
        bool closing, reopening;

        pthread_mutex_t current_lock;
        struct store_snapshot *current;
        _Atomic uint64_t revision; /* of current */
        atomic_bool has_sealed;    /* something in it could not be opened */

        pthread_mutex_t subscribers_lock;
        pthread_cond_t subscribers_cond;
        struct list subscribers;
        struct list *next_subscriber;        /* of the publishing that is under way */
        struct store_subscriber *in_publish; /* whose publish runs */

        size_t last_n; /* the writer's: transactions of the last run */
        bool failing;  /* the writer's: the last run was not written */
};

/* The transactions that are committed together, and what they come to. The writer's. */
struct run {
        struct list txns;
        struct node *root;
        uint64_t revision;
        VEC(struct change) changes;
        VEC(struct backend_write) writes;
};

/* ---- snapshots ---- */

static struct store_snapshot *snapshot_new(struct node *root, uint64_t revision) {
        struct store_snapshot *s = xmalloc(sizeof(*s));

        atomic_init(&s->refs, 1);
        s->root = root;
        s->revision = revision;
        return s;
}

struct store_snapshot *store_snapshot_ref(struct store_snapshot *s) {
        atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
        return s;
}

void store_snapshot_unref(struct store_snapshot *s) {
        if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
                return;
        btree_unref(s->root);
        free(s);
}

struct store_snapshot *store_snapshot(struct store *s) {
        HOLD(&s->current_lock);

        return store_snapshot_ref(s->current);
}

static void set_current(struct store *s, struct store_snapshot *next) {
        struct store_snapshot *old = NULL;

        with_lock(&s->current_lock) {
                old = s->current;
                s->current = next;
        }
        atomic_store_explicit(&s->revision, next->revision, memory_order_release);
        store_snapshot_unref(old);
}

uint64_t store_snapshot_revision(const struct store_snapshot *s) {
        return s->revision;
}

uint64_t store_revision(struct store *s) {
        return atomic_load_explicit(&s->revision, memory_order_acquire);
}

struct object *store_get(struct store_snapshot *s, struct str key) {
        struct entry *e = btree_find(s->root, key);

        return e && !store_is_sealed(object_text(e->object)) ? e->object : NULL;
}

void store_iter_init(struct store_iter *it, struct store_snapshot *s, struct str prefix, struct str start) {
        _Static_assert(sizeof(struct btree_cursor) <= sizeof(it->priv), "the cursor lives in priv");

        *it = (struct store_iter) { .snapshot = s, .prefix = prefix };
        btree_seek((struct btree_cursor *) it->priv, s->root, str_cmp(start, prefix) > 0 ? start : prefix);
}

bool store_iter_next(struct store_iter *it) {
        struct entry *e;

        do {
                e = btree_next((struct btree_cursor *) it->priv);
                if (!e || !str_has_prefix(entry_key(e), it->prefix))
                        return false;
        } while (store_is_sealed(object_text(e->object)));
        it->key = entry_key(e);
        it->object = e->object;
        return true;
}

/* Entries before the first key that is greater than all keys with this prefix. */
static size_t rank_after(const struct node *root, struct str prefix) {
        char next[STORE_KEY_MAX];

        while (prefix.n > 0 && (unsigned char) prefix.p[prefix.n - 1] == 0xff)
                prefix.n--;
        if (prefix.n == 0)
                return btree_size(root);
        if (prefix.n > sizeof(next)) /* no key is that long: it has no keys, so being in their place will do */
                return btree_rank(root, prefix);
        memcpy(next, prefix.p, prefix.n);
        next[prefix.n - 1]++;
        return btree_rank(root, str_n(next, prefix.n));
}

size_t store_count(struct store_snapshot *s, struct str prefix, struct str start) {
        size_t end = rank_after(s->root, prefix);
        size_t begin = btree_rank(s->root, str_cmp(start, prefix) > 0 ? start : prefix);

        return end > begin ? end - begin : 0;
}

/* ---- the queue ---- */

static void run_done(struct loop_work *w) {
        struct store_txn *t = container_of(w, struct store_txn, work);

        t->done(t);
}

/* t may be gone when this returns. */
static void answer(struct store_txn *t) {
        if (!t->loop) {
                t->done(t);
                return;
        }
        t->work.run = run_done;
        loop_post(t->loop, &t->work);
}

static size_t txn_bytes(const struct store_txn *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_ops; i++)
                n += t->ops[i].key.n + (t->ops[i].object ? object_text(t->ops[i].object).n : 0);
        return n;
}

void store_submit(struct store *s, struct store_txn *t) {
        bool wake = false;
        int r = 0;

        t->result = 0;
        t->failed_op = 0;
        t->revision = 0;
        t->current = NULL;
        t->bytes = txn_bytes(t);

        with_lock(&s->queue_lock) {
                if (s->closing)
                        r = -ECANCELED;
                else if (s->queued > 0 &&
                         (s->queued >= STORE_QUEUE_MAX || s->queued_bytes + t->bytes > STORE_QUEUE_BYTES))
                        r = -EBUSY;
                else {
                        list_push(&s->queue, &t->link);
                        s->queued++;
                        s->queued_bytes += t->bytes;
                        wake = s->idle;
                        s->idle = false;
                }
        }

        if (r < 0) {
                t->result = r;
                answer(t);
        } else if (wake)
                pthread_cond_signal(&s->queue_cond);
}

struct waiting {
        struct store_txn txn;
        sem_t answered;
};

static void wake_waiting(struct store_txn *t) {
        sem_post(&container_of(t, struct waiting, txn)->answered);
}

int store_commit(struct store *s, struct store_op *ops, size_t n_ops, uint64_t *ret_revision) {
        struct waiting w = { .txn = { .ops = ops, .n_ops = n_ops, .done = wake_waiting } };

        sem_init(&w.answered, 0, 0);
        store_submit(s, &w.txn);
        while (sem_wait(&w.answered) < 0 && errno == EINTR)
                ;
        sem_destroy(&w.answered);
        object_unref(w.txn.current);
        if (w.txn.result == 0 && ret_revision)
                *ret_revision = w.txn.revision;
        return w.txn.result;
}

/* Those whom the last run answered are mostly back at once: a moment's wait gets them into one commit, not two. */
static void linger(struct store *s, size_t expected) {
        int64_t until = now_mono_ns() + LINGER_NS;
        size_t queued = 0;

        do {
                sched_yield();
                with_lock(&s->queue_lock)
                        queued = s->queued;
        } while (queued < expected && now_mono_ns() < until);
}

/* Waits for work and takes a run's worth of it. false: closing, and nothing is left. */
static bool take(struct store *s, struct list *txns, bool *ret_reopen) {
        size_t ops = 0, bytes = 0, max_ops = s->failing ? 1 : RUN_OPS, n = 0;
        bool closing = false;

        if (s->last_n > 1)
                linger(s, s->last_n);
        list_init(txns);
        with_lock(&s->queue_lock) {
                while (list_empty(&s->queue) && !s->closing && !s->reopening) {
                        s->idle = true;
                        pthread_cond_wait(&s->queue_cond, &s->queue_lock);
                }
                s->idle = false;
                *ret_reopen = s->reopening;
                s->reopening = false;
                closing = s->closing;
                while (!list_empty(&s->queue) && ops < max_ops && bytes < RUN_BYTES) {
                        struct store_txn *t = list_entry(s->queue.next, struct store_txn, link);

                        list_del(&t->link);
                        list_push(txns, &t->link);
                        ops += MAX(t->n_ops, (size_t) 1);
                        bytes += t->bytes;
                        n++;
                        s->queued--;
                        s->queued_bytes -= t->bytes;
                }
        }
        s->last_n = n;
        return !list_empty(txns) || !closing;
}

/* ---- the writer: transactions ---- */

/* Is the op one that makes sense here, whatever the store holds? */
static bool well_formed(const struct store_txn *t, size_t i) {
        const struct store_op *op = &t->ops[i];

        if (op->key.n == 0 || op->key.n > STORE_KEY_MAX || op->key.p[0] == '\0')
                return false;
        for (size_t k = 0; k < i; k++)
                if (str_eq(t->ops[k].key, op->key))
                        return false;
        return op->object || op->merge || op->kind == STORE_DELETE;
}

static int expected(const struct store_op *op, const struct entry *before) {
        if (op->kind == STORE_CREATE)
                return before ? -EEXIST : 0;
        if (!before)
                return -ENOENT;
        return op->expect == STORE_ANY_REVISION || op->expect == object_revision(before->object) ? 0 : -EAGAIN;
}

/* Adds to run->changes what t finds, if all of t's expectations hold. */
static int check(struct run *run, struct store_txn *t) {
        size_t keep = run->changes.n;

        if (t->n_ops == 0 || t->n_ops > STORE_TXN_OPS)
                t->result = -EINVAL;
        for (size_t i = 0; i < t->n_ops && t->result == 0; i++) {
                struct store_op *op = &t->ops[i];

                t->failed_op = i;
                if (!well_formed(t, i)) {
                        t->result = -EINVAL;
                        break;
                }
                struct entry *before = btree_find(run->root, op->key);
                t->result = expected(op, before);
                if (t->result == 0 && op->merge)
                        t->result = (op->object = op->merge(before->object, op->arg)) ? 0 : -EAGAIN;
                if (t->result == -EEXIST || t->result == -EAGAIN)
                        t->current = object_ref(before->object);
                else if (t->result == 0)
                        vec_push(&run->changes, (struct change) { .before = before ? entry_ref(before) : NULL });
        }
        if (t->result < 0)
                while (run->changes.n > keep)
                        entry_unref(vec_pop(&run->changes).before);
        return t->result;
}

/* The last object as a delete shows it: with the revision of the delete in place of its own. */
static struct object *tombstone(const struct object *last, uint64_t revision) {
        static const char *const path[] = { "metadata", "resourceVersion", NULL };
        struct str text = object_text(last), old = json_scan(text, path);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct object *o;

        if (old.n > 0) {
                buf_add(&b, text.p, (size_t) (old.p - text.p));
                buf_printf(&b, "\"%" PRIu64 "\"", revision);
                text = str_sub(text, (size_t) (old.p + old.n - text.p), text.n);
        }
        buf_add_str(&b, text);
        if (object_from_text(buf_str(&b), revision, &o, NULL) < 0)
                abort(); /* it was an object when it came */
        return o;
}

/* Carries out what check found possible. It cannot fail. */
static void carry_out(struct run *run, struct store_txn *t) {
        struct change *changes = &run->changes.v[run->changes.n - t->n_ops];

        t->revision = ++run->revision;
        for (size_t i = 0; i < t->n_ops; i++) {
                const struct store_op *op = &t->ops[i];
                struct change *c = &changes[i];
                struct object *o = op->object ? object_ref(op->object) : tombstone(c->before->object, t->revision);
                struct backend_write w = { .revision = t->revision };

                object_set_revision(o, t->revision);
                c->kind = op->kind == STORE_DELETE ? STORE_EVENT_DELETE : STORE_EVENT_PUT;
                c->revision = t->revision;
                c->now = entry_new(op->key, o);
                if (c->kind == STORE_EVENT_PUT)
                        btree_put(&run->root, entry_ref(c->now));
                else
                        btree_remove(&run->root, op->key);
                w.key = entry_key(c->now);
                w.object = c->kind == STORE_EVENT_PUT ? o : NULL;
                w.before = c->before ? c->before->object : NULL;
                vec_push(&run->writes, w);
                object_unref(o);
        }
}

/* ---- the writer: publishing ---- */

/* A subscriber that came after the batch was published has its state already. */
static struct store_subscriber *next_to_tell(struct store *s, uint64_t revision) {
        while (s->next_subscriber != &s->subscribers) {
                struct store_subscriber *sub = list_entry(s->next_subscriber, struct store_subscriber, link);

                s->next_subscriber = sub->link.next;
                if (sub->since < revision)
                        return sub;
        }
        return NULL;
}

static void publish(struct store *s, struct run *run) {
        struct store_batch *b = batch_new(run->changes.v, run->changes.n, run->revision);
        struct store_subscriber *sub;

        run->changes.n = 0; /* they are the batch's now */
        history_add(&s->history, b);
        pthread_mutex_lock(&s->subscribers_lock);
        set_current(s, snapshot_new(TAKE_PTR(run->root), run->revision));
        s->next_subscriber = s->subscribers.next;
        while ((sub = next_to_tell(s, store_batch_revision(b)))) {
                s->in_publish = sub;
                pthread_mutex_unlock(&s->subscribers_lock);
                sub->publish(sub, b);
                pthread_mutex_lock(&s->subscribers_lock);
                s->in_publish = NULL;
                pthread_cond_broadcast(&s->subscribers_cond);
        }
        s->next_subscriber = NULL;
        pthread_mutex_unlock(&s->subscribers_lock);
        store_batch_unref(b);
}

uint64_t store_subscribe(struct store *s, struct store_subscriber *sub) {
        HOLD(&s->subscribers_lock);
        sub->since = store_revision(s);
        list_push(&s->subscribers, &sub->link);
        return sub->since;
}

void store_unsubscribe(struct store *s, struct store_subscriber *sub) {
        HOLD(&s->subscribers_lock);
        if (s->next_subscriber == &sub->link)
                s->next_subscriber = sub->link.next;
        list_del(&sub->link);
        while (s->in_publish == sub && !pthread_equal(pthread_self(), s->writer))
                pthread_cond_wait(&s->subscribers_cond, &s->subscribers_lock);
}

int store_history(struct store *s, struct str prefix, uint64_t from_revision, uint64_t to_revision,
                  void (*each)(const struct store_event *e, void *arg), void *arg) {
        return history_walk(&s->history, prefix, from_revision, to_revision, each, arg);
}

void store_compact(struct store *s, uint64_t revision) {
        history_forget(&s->history, revision);
}

uint64_t store_oldest_revision(struct store *s) {
        return history_oldest(&s->history);
}

/* ---- the writer: runs ---- */

static int make_durable(struct store *s, struct run *run) {
        struct backend_run writes = { run->writes.v, run->writes.n, run->revision, run->root };
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = s->backend->class->apply(s->backend, &writes, &err);

        if (r < 0 && r != -ENOSPC)
                r = -EIO;
        /* Said when it begins and when it ends: a full disk fails a thousand times a second. */
        if (r < 0 && !s->failing)
                log_error("store: writes fail: %s", error_text(&err));
        else if (r == 0 && s->failing)
                log_info("store: writes succeed again");
        /* While it fails, transactions go one by one: a delete, which frees space, is not failed by its neighbours. */
        s->failing = r < 0;
        return r;
}

/* Nothing of the run happened, and what was refused was refused for a state that never was. */
static void fail_run(struct run *run, int result) {
        for (size_t i = 0; i < run->changes.n; i++) {
                entry_unref(run->changes.v[i].now);
                entry_unref(run->changes.v[i].before);
        }
        run->changes.n = 0;
        list_each(struct store_txn, t, &run->txns, link) {
                object_unref(TAKE_PTR(t->current));
                t->result = result;
                t->revision = 0;
        }
}

/* What could not be opened before is as if it had been: only who follows what changes hears of it. */
static void reopen(struct store *s, struct run *run) {
        uint64_t revision = run->revision + 1;
        struct btree_cursor c;
        struct entry *e;

        btree_seek(&c, s->current->root, STR(""));
        while ((e = btree_next(&c))) {
                _cleanup_(object_unrefp) struct object *o = NULL;
                _cleanup_buf_ struct buf text = BUF_INIT;

                if (!store_is_sealed(object_text(e->object)) ||
                    s->cipher->open(s->cipher, entry_key(e), object_text(e->object), &text) <= 0 ||
                    object_from_text(buf_str(&text), object_revision(e->object), &o, NULL) < 0)
                        continue;
                struct entry *now = entry_new(entry_key(e), o);
                btree_put(&run->root, entry_ref(now));
                vec_push(&run->changes, (struct change) { STORE_EVENT_PUT, revision, now, entry_ref(now) });
                run->revision = revision;
                vec_push(&run->writes, (struct backend_write) { entry_key(now), o, e->object, object_revision(o) });
        }
}

static bool any_sealed(struct store *s) {
        struct btree_cursor c;
        struct entry *e;

        btree_seek(&c, s->current->root, STR(""));
        while ((e = btree_next(&c)))
                if (store_is_sealed(object_text(e->object)))
                        return true;
        return false;
}

struct str store_sealed(struct store *s, struct store_snapshot *snap, struct str prefix) {
        struct btree_cursor c;
        struct entry *e = NULL;

        if (!atomic_load(&s->has_sealed))
                return STR("");
        btree_seek(&c, snap->root, prefix);
        do
                e = btree_next(&c);
        while (e && str_has_prefix(entry_key(e), prefix) && !store_is_sealed(object_text(e->object)));
        return e && str_has_prefix(entry_key(e), prefix) ? entry_key(e) : STR("");
}

void store_reopen(struct store *s) {
        if (!atomic_load(&s->has_sealed))
                return;
        HOLD(&s->queue_lock);
        s->reopening = true;
        s->idle = false;
        pthread_cond_signal(&s->queue_cond);
}

static void commit_run(struct store *s, struct run *run, bool opens) {
        run->root = btree_ref(s->current->root); /* only this thread changes current */
        run->revision = store_revision(s);
        run->changes.n = run->writes.n = 0;
        list_each(struct store_txn, t, &run->txns, link) {
                if (check(run, t) == 0)
                        carry_out(run, t);
        }
        if (opens)
                reopen(s, run);
        if (run->revision != store_revision(s)) {
                int r = make_durable(s, run);
                if (r < 0)
                        fail_run(run, r);
                else
                        publish(s, run);
                if (opens)
                        atomic_store(&s->has_sealed, any_sealed(s));
        }
        btree_unref(TAKE_PTR(run->root));
        list_each_safe(struct store_txn, l, &run->txns, link)
                answer(l);
}

static void *writer(void *arg) {
        struct store *s = arg;
        struct run run = { 0 };
        bool opens;

        log_set_component("store");
        while (take(s, &run.txns, &opens))
                commit_run(s, &run, opens);
        vec_free(&run.changes);
        vec_free(&run.writes);
        return NULL;
}

/* ---- opening and closing ---- */

static void free_store(struct store *s) {
        s->backend->class->close(s->backend);
        store_snapshot_unref(s->current);
        history_free(&s->history);
        pthread_mutex_destroy(&s->queue_lock);
        pthread_cond_destroy(&s->queue_cond);
        pthread_mutex_destroy(&s->current_lock);
        pthread_mutex_destroy(&s->subscribers_lock);
        free(s->path);
        pthread_cond_destroy(&s->subscribers_cond);
        free(s);
}

static int start_writer(struct store *s) {
        sigset_t all, old;

        sigfillset(&all); /* signals are the main thread's */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int r = -pthread_create(&s->writer, NULL, writer, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return r;
}

int store_open_on(struct backend *b, const struct store_options *o, struct store **ret, struct error *err) {
        struct store *s = xcalloc(1, sizeof(*s));
        struct node *root = NULL;
        uint64_t revision = 0;

        s->backend = b;
        s->cipher = o->cipher;
        s->path = o->path ? xstrdup(o->path) : NULL;
        pthread_mutex_init(&s->queue_lock, NULL);
        pthread_cond_init(&s->queue_cond, NULL);
        pthread_mutex_init(&s->current_lock, NULL);
        pthread_mutex_init(&s->subscribers_lock, NULL);
        pthread_cond_init(&s->subscribers_cond, NULL);
        list_init(&s->queue);
        list_init(&s->subscribers);

        int r = b->class->load(b, &root, &revision, err);
        history_init(&s->history, o->history_events ?: 50000, o->history_bytes ?: 16U << 20, revision);
        set_current(s, snapshot_new(root, revision));
        atomic_store(&s->has_sealed, s->cipher && any_sealed(s));
        if (r == 0) {
                r = start_writer(s);
                if (r < 0)
                        error_errno(err, r, "start the store's writer");
        }
        if (r < 0) {
                free_store(s);
                return r;
        }
        *ret = s;
        return 0;
}

int store_open(const struct store_options *o, struct store **ret, struct error *err) {
        struct backend *b;

        TRY(o->path ? lmdb_open(o, &b, err) : memory_open(&b, err));
        return store_open_on(b, o, ret, err);
}

uint64_t store_file_bytes(const struct store *s) {
        _cleanup_free_ char *file = xprintf("%s/data.mdb", s->path ? s->path : "");
        struct stat st;

        return s->path && stat(file, &st) == 0 ? (uint64_t) st.st_blocks * 512 : 0;
}

bool store_is_stale(const struct store *s, struct str key) {
        return s->cipher && s->cipher->stale(s->cipher, key);
}

void store_close(struct store *s) {
        if (!s)
                return;
        with_lock(&s->queue_lock)
                s->closing = true;
        pthread_cond_signal(&s->queue_cond);
        pthread_join(s->writer, NULL);
        free_store(s);
}
