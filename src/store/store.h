/* The store: a revisioned key-value store of objects, with watch. Only the API server uses it.
 *
 *   submit ─▶ queue ─▶ writer thread: check expectations, new B+tree root (copy on write), one LMDB commit (one fsync)
 *                       for everything queued, publish the root, tell the subscribers, answer the submitters
 *   read   ─▶ snapshot: a reference to a root. Never waits, never sees a half transaction.
 *
 * Keys are "group/resource/namespace/name" texts (the API server's business); values are objects (json/object.h).
 * Every transaction gets one revision, one more than the last; revisions survive restarts and never fall.
 * An acknowledged transaction is on disk. A transaction is whole or not there. */
#pragma once

#include "base/loop.h"
#include "json/object.h"

struct store;
struct store_snapshot;

/* What texts of objects pass through on their way to the disk and back, where they are not to lie there in the clear.
 * On the thread that opens the store, then on its writer's. */
struct store_cipher {
        /* Appends to dst. 1, or 0: this key's text lies in the clear; -EIO. */
        int (*seal)(const struct store_cipher *c, struct str key, struct str text, struct buf *dst);
        /* The same for a text from the disk, or for what stands for one that could not be opened before. -ENOKEY: it
         * cannot be now; the cipher keeps it, and seals it as it was. */
        int (*open)(const struct store_cipher *c, struct str key, struct str text, struct buf *dst);
        /* It lies there otherwise than seal would have it now. Any thread. */
        bool (*stale)(const struct store_cipher *c, struct str key);
};

struct store_options {
        const char *path;                  /* directory; created. NULL: memory only (tests, --isolated throw-aways) */
        size_t history_bytes;              /* bound on superseded objects kept for watches from the past; 0: 16 MiB */
        size_t history_events;             /* bound on their number; 0: 50,000 */
        const struct store_cipher *cipher; /* NULL: nothing is sealed */
        size_t max_map_bytes;              /* bound on the file, of which objects fill at most a quarter; 0: 8 GiB */
};

/* Errors: -EUCLEAN (not our data or damaged: message says which file and what to do), -EWOULDBLOCK (another cube has it
 * open), others from the file system. */
int store_open(const struct store_options *o, struct store **ret, struct error *err);
void store_close(struct store *s); /* finishes what is queued; no snapshot may be left */
DEFINE_CLEANUP(struct store *, store_close)

/* ---- writing ---- */

enum store_op_kind { STORE_CREATE, STORE_UPDATE, STORE_DELETE };
#define STORE_ANY_REVISION UINT64_MAX
#define STORE_KEY_MAX 1024            /* bytes of a key; it has at least one and does not begin with NUL */
#define STORE_TXN_OPS 1024            /* ops of a transaction (at least one), each on another key */
#define STORE_QUEUE_MAX 16384         /* transactions that wait, */
#define STORE_QUEUE_BYTES (64U << 20) /* and bytes of their objects */

struct store_op {
        enum store_op_kind kind;
        struct str key;        /* must stay valid until done */
        struct object *object; /* CREATE, UPDATE: from object_from_tree; the store takes a reference and sets its
                                * revision. DELETE: the final state to show to watchers (may be NULL: the last stored
                                * object, with the delete's revision set in a copy) */
        /* UPDATE without an object: makes the new state of the one that is there, on the writer's thread, so that many
         * may add to one object without meeting conflicts. Quick, and never blocks. NULL refuses: -EAGAIN. The result
         * is left in object, for the submitter to unref. */
        struct object *(*merge)(const struct object *now, void *arg);
        void *arg;
        uint64_t expect; /* UPDATE, DELETE: the revision the key must have, or STORE_ANY_REVISION (must exist) */
};

struct store_txn {
        struct store_op *ops;
        size_t n_ops;
        /* Called once, on loop (or on the writer thread when loop is NULL: then it must be quick and not block).
         * result: 0; -EEXIST (CREATE of a key that is there); -ENOENT (UPDATE, DELETE of one that is not);
         * -EAGAIN (other revision); -EIO, -ENOSPC (not written: nothing changed); -ECANCELED (closing); -EBUSY (the
         * queue is full: nothing changed, try later); -EINVAL (an op that breaks the rules above).
         *
         * After -EIO and -ENOSPC the objects carry a revision that never was: make new ones to try again. Refused at
         * once (-EBUSY, -ECANCELED) with no loop, done is called inside store_submit. */
        void (*done)(struct store_txn *t);
        struct loop *loop;
        int result;
        size_t failed_op;       /* which op made it fail */
        uint64_t revision;      /* of this transaction when result is 0 */
        struct object *current; /* on -EEXIST, -EAGAIN: what is there now (a reference; done's to unref) */
        void *userdata;
        struct loop_work work; /* private */
        struct list link;      /* private */
        size_t bytes;          /* private */
};

void store_submit(struct store *s, struct store_txn *t); /* any thread */
/* Waits for the answer. Not on the writer thread. */
int store_commit(struct store *s, struct store_op *ops, size_t n_ops, uint64_t *ret_revision);

/* ---- reading ---- */

struct store_snapshot *store_snapshot(struct store *s); /* the latest published; any thread */
struct store_snapshot *store_snapshot_ref(struct store_snapshot *s);
void store_snapshot_unref(struct store_snapshot *s);
DEFINE_CLEANUP(struct store_snapshot *, store_snapshot_unref)
uint64_t store_snapshot_revision(const struct store_snapshot *s);
uint64_t store_revision(struct store *s); /* of the latest published */

struct object *store_get(struct store_snapshot *s, struct str key); /* borrowed from the snapshot; NULL when absent */

/* In key order, from the first key >= start with this prefix. Objects are borrowed from the snapshot. */
struct store_iter {
        struct store_snapshot *snapshot;
        struct str prefix;
        struct str key;
        struct object *object;
        void *priv[16];
};
void store_iter_init(struct store_iter *it, struct store_snapshot *s, struct str prefix, struct str start);
bool store_iter_next(struct store_iter *it); /* fills key and object */
static inline struct store_iter *store_iter_begin(struct store_iter *it, struct store_snapshot *s, struct str prefix) {
        store_iter_init(it, s, prefix, prefix);
        return it;
}
/* All below a prefix. */
#define store_each(it, snapshot, prefix) \
        for (struct store_iter it, *it##_at = store_iter_begin(&it, (snapshot), (prefix)); store_iter_next(it##_at);)
size_t store_count(struct store_snapshot *s, struct str prefix, struct str start); /* keys from start on; O(log n) */

/* ---- watching ---- */

enum store_event_kind { STORE_EVENT_PUT, STORE_EVENT_DELETE };

struct store_event {
        enum store_event_kind kind;
        uint64_t revision;
        struct str key;
        struct object *object;   /* new state; for DELETE the final one, carrying the delete's revision */
        struct object *previous; /* NULL for a create */
};

/* A run of consecutive events, immutable, reference-counted, shared by all subscribers. */
struct store_batch;
struct store_batch *store_batch_ref(struct store_batch *b);
void store_batch_unref(struct store_batch *b);
size_t store_batch_events(const struct store_batch *b, const struct store_event **ret);
uint64_t store_batch_revision(const struct store_batch *b); /* the store's revision after it */

/* Subscribers get every batch, in order, on the writer thread right after it is published: hand it to your loop and
 * return. The fan-out to watchers of a prefix is the subscriber's (apiserver/watch.c). */
struct store_subscriber {
        void (*publish)(struct store_subscriber *sub, struct store_batch *b); /* b is borrowed: take a reference */
        struct list link;                                                     /* private */
        uint64_t since;                                                       /* private */
};
/* From here on every batch after the returned revision comes to publish. */
uint64_t store_subscribe(struct store *s, struct store_subscriber *sub);
void store_unsubscribe(struct store *s, struct store_subscriber *sub); /* when it returns publish is not running */

/* Events with this prefix after from_revision up to to_revision, from the history in memory, oldest first.
 * -ESTALE when the history no longer reaches back that far. Calls each for every one; objects are borrowed meanwhile.
 */
int store_history(struct store *s, struct str prefix, uint64_t from_revision, uint64_t to_revision,
                  void (*each)(const struct store_event *e, void *arg), void *arg);
/* Forgets history up to and including revision (tests, memory pressure). */
void store_compact(struct store *s, uint64_t revision);
uint64_t store_file_bytes(const struct store *s); /* what it takes on the disk; 0: nothing is kept there */
/* Writing this key again, even unchanged, would change how it lies on the disk: its encryption. */
bool store_is_stale(const struct store *s, struct str key);
/* What could not be opened stands in the tree as an object that says nothing, and nobody finds it. */
#define STORE_SEALED STR("{ }")
static inline bool store_is_sealed(struct str text) {
        return text.n == 3; /* no text that is written has this length */
}
/* The first key with this prefix that is there and could not be opened; empty: none. */
struct str store_sealed(struct store *s, struct store_snapshot *snap, struct str prefix);
/* The cipher may know now what it did not: what could not be opened is, soon. Any thread. */
void store_reopen(struct store *s);
uint64_t store_oldest_revision(struct store *s); /* the least from_revision that store_history still takes */
