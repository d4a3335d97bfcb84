/* The durable backend: one file, data.mdb, by LMDB, used as a log that is cleaned.
 *
 *     key: number   1    │    2    │      3       │  4  │                        oldest ──▶ newest
 *     value        dead  │ live dead live │ dead  │ live live                    a segment: the records of one run
 *                   └─ cleaned: what still lives goes along with the next run ─────────▶ 5
 *
 * All objects are in memory, so the file is never searched; it is laid out for writing. A run of writes becomes one
 * value, which LMDB puts on neighbouring pages: one large write, where a tree by key would write a page here and there
 * for each object (five times slower, measured with 256 puts in flight). Loading reads the segments: the newest record
 * of a key counts, an empty text deletes. A record lives while memory still has its revision under its key; when more
 * than half of the file is dead, the oldest segments go, and what lives in them moves to the new one. A deletion dies
 * with its segment, since nothing older is left by then. Under random updates this writes 1.25 bytes for each, and at
 * most twice each.
 *
 * Each run is one LMDB transaction: changed pages go to unused places in the file (fdatasync), then one page that makes
 * them the newest tree (O_DSYNC). A crash in between leaves the old tree. These are LMDB's defaults; no flag here
 * weakens them. LMDB's own locking (lock.mdb) is off: there is one process, by flock on the file "lock", and one thread
 * at a time. */
#include <endian.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "base/file.h"
#include "base/log.h"
#include "base/vec.h"
#include "store/backend.h"
#include "store/lmdb_check.h"
#include "store/record.h"

/* Each segment begins with a record of this text, no key, and the store's revision after it. */
#define FORMAT STR("cube store 1")

#define MAP_FIRST (64ULL << 20)
#define MAP_MAX (sizeof(size_t) > 4 ? 8ULL << 30 : 1ULL << 30)
#define SLACK (4U << 20)         /* dead bytes that are not worth cleaning */
#define CLEAN_QUOTA (256U << 10) /* bytes to move with a run, beside as many as the run has itself */
#define TRIM_BYTES (2U << 20)
#define FULL_BYTES (1U << 20)       /* what a disk that is full may still have */
#define COMMIT_TOUCHES (128U << 10) /* what a commit maps, about: the kernel maps 64 KB around a page */

struct lmdb {
        struct backend backend;
        const struct store_cipher *cipher; /* may be NULL */
        char *dir, *file;
        int lock;
        MDB_env *env;
        MDB_dbi dbi;
        size_t map_bytes, max_map_bytes;
        char *map;          /* where the file is mapped; NULL: not known */
        size_t touched;     /* bytes of it that may count as our memory, about */
        uint64_t last;      /* number of the newest segment */
        size_t total, live; /* bytes of all segments, and of the records in them that count */
        bool unclean; /* an old segment cannot be read: what memory has is fine, but nothing is cleaned any more */
};

/* ---- errors ---- */

static int to_errno(int rc) {
        switch (rc) {
        case MDB_MAP_FULL:
        case MDB_TXN_FULL:
                return -ENOSPC;
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
        case MDB_INVALID:
        case MDB_VERSION_MISMATCH:
        case MDB_INCOMPATIBLE:
                return -EUCLEAN;
        default:
                return rc > 0 ? -rc : -EIO;
        }
}

static int damaged(const struct lmdb *l, struct error *err, const char *what) {
        return error_set(err, -EUCLEAN,
                         "%s is damaged or not a file of cube's (%s): put a copy of %s back, or move it away to start "
                         "empty",
                         l->file, what, l->dir);
}

static int failed(const struct lmdb *l, int rc, struct error *err, const char *doing) {
        int r = to_errno(rc);

        if (r == -EUCLEAN)
                return damaged(l, err, mdb_strerror(rc));
        return error_set(err, r, "%s %s: %s", doing, l->file, mdb_strerror(rc));
}

/* ---- the map ---- */

/* The pages of the map count as our memory although we need none of them again soon: back to the kernel's cache. */
static void trim(struct lmdb *l) {
        if (l->map)
                madvise(l->map, l->map_bytes, MADV_DONTNEED);
        l->touched = 0;
}

/* Learns where the file is mapped: LMDB does not tell, but a page begins with its own number. */
static void find_map(struct lmdb *l, const void *value) {
        size_t page = (size_t) sysconf(_SC_PAGESIZE), number;
        char *p = (char *) value - (uintptr_t) value % page;
        MDB_stat st;

        if (l->map || mdb_env_stat(l->env, &st) != 0 || st.ms_psize != page)
                return;
        memcpy(&number, p, sizeof(number));
        if (number < l->map_bytes / page)
                l->map = p - number * page;
}

static bool grow_map(struct lmdb *l) {
        size_t bytes = MIN(l->map_bytes * 2, l->max_map_bytes);

        if (bytes <= l->map_bytes || mdb_env_set_mapsize(l->env, bytes) != 0)
                return false;
        l->map_bytes = bytes;
        l->map = NULL; /* it has moved */
        return true;
}

/* ---- reading ---- */

static MDB_val number_val(const uint64_t *number) {
        return (MDB_val) { sizeof(*number), (void *) number };
}

static struct str str_val(MDB_val v) {
        return str_n(v.mv_data, v.mv_size);
}

/* Opens a segment; *ret_records is what follows its head. */
static int read_head(const struct lmdb *l, MDB_val key, MDB_val value, struct str *ret_records, uint64_t *ret_revision,
                     struct error *err) {
        struct str rest = str_val(value);
        struct record head;

        if (key.mv_size != sizeof(uint64_t) || record_read(&rest, &head) < 0 || head.key.n > 0)
                return damaged(l, err, "the head of a segment cannot be read");
        if (!str_eq(head.text, FORMAT))
                return error_set(err, -EUCLEAN,
                                 "%s was written by another version of cube (\"%" STR_FMT "\"): use that version, or "
                                 "move %s away to start empty",
                                 l->file, STR_ARG(head.text), l->dir);
        *ret_records = rest;
        *ret_revision = head.revision;
        return 0;
}

static bool is_sealed(struct str text) {
        return text.n > 0 && text.p[0] == 'k'; /* k8s:enc:… */
}

/* Newer records have been loaded before: the first of a key counts. A deletion is an entry without object meanwhile. */
static int load_record(struct lmdb *l, struct node **root, const struct record *rec, struct error *err) {
        _cleanup_(object_unrefp) struct object *o = NULL;
        _cleanup_buf_ struct buf opened = BUF_INIT;
        struct str text = rec->text;

        if (rec->key.n == 0 || rec->key.n > STORE_KEY_MAX)
                return -EUCLEAN;
        if (btree_find(*root, rec->key))
                return 0;
        if (l->cipher && text.n > 0) {
                int r = l->cipher->open(l->cipher, rec->key, text, &opened);

                if (r != 0)
                        text = r < 0 ? STORE_SEALED : buf_str(&opened);
        } else if (is_sealed(text)) {
                return error_set(err, -EACCES, "%s: %" STR_FMT " is encrypted: --encryption-provider-config is needed",
                                 l->file, STR_ARG(rec->key));
        }
        if (text.n > 0 && object_from_text(text, rec->revision, &o, NULL) < 0)
                return -EUCLEAN;
        btree_put(root, entry_new(rec->key, o));
        return 0;
}

static int load_segment(struct lmdb *l, MDB_val key, MDB_val value, struct node **root, uint64_t *ret_revision,
                        struct error *err) {
        VEC(struct record) records = { 0 };
        struct record rec;
        struct str rest;
        int r;

        TRY(read_head(l, key, value, &rest, ret_revision, err));
        while ((r = record_read(&rest, &rec)) == 0)
                vec_push(&records, rec);
        if (r == -ENOENT)
                r = 0;
        while (r == 0 && records.n > 0) {
                rec = vec_pop(&records);
                r = load_record(l, root, &rec, err);
        }
        vec_free(&records);
        if (r == -EUCLEAN)
                return damaged(l, err, "a record cannot be read");
        if (r < 0)
                return r;
        l->total += value.mv_size;
        l->touched += value.mv_size;
        find_map(l, value.mv_data);
        if (l->touched >= TRIM_BYTES)
                trim(l);
        return 0;
}

/* From the newest segment to the oldest, so that what is dead is only looked at, not made into objects. */
static int load_all(struct lmdb *l, MDB_txn *txn, struct node **root, uint64_t *ret_revision, struct error *err) {
        MDB_cursor_op step = MDB_LAST;
        uint64_t revision;
        MDB_cursor *cursor;
        MDB_val key, value;
        int rc, r = 0;

        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
        if (rc == 0)
                rc = mdb_cursor_open(txn, l->dbi, &cursor);
        if (rc != 0)
                return failed(l, rc, err, "read");
        for (; r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, step)) == 0; step = MDB_PREV) {
                r = load_segment(l, key, value, root, &revision, err);
                if (r < 0 || step != MDB_LAST)
                        continue;
                memcpy(&l->last, key.mv_data, sizeof(l->last));
                l->last = be64toh(l->last);
                *ret_revision = revision;
        }
        mdb_cursor_close(cursor);
        if (r == 0 && rc != MDB_NOTFOUND)
                r = failed(l, rc, err, "read");
        return r;
}

static void drop_deletions(struct node **root) {
        VEC(struct entry *) deleted = { 0 };
        struct btree_cursor c;
        struct entry *e;

        btree_seek(&c, *root, STR(""));
        while ((e = btree_next(&c)))
                if (!e->object)
                        vec_push(&deleted, entry_ref(e));
        for (size_t i = 0; i < deleted.n; i++) {
                btree_remove(root, entry_key(deleted.v[i]));
                entry_unref(deleted.v[i]);
        }
        vec_free(&deleted);
}

static size_t live_bytes(const struct node *root) {
        struct btree_cursor c;
        struct entry *e;
        size_t n = 0;

        btree_seek(&c, root, STR(""));
        while ((e = btree_next(&c)))
                n += record_size(e->key_n, object_text(e->object).n);
        return n;
}

static int lmdb_load(struct backend *b, struct node **ret_root, uint64_t *ret_revision, struct error *err) {
        struct lmdb *l = container_of(b, struct lmdb, backend);
        struct node *root = NULL;
        uint64_t revision = 0;
        MDB_txn *txn;

        int rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);
        if (rc != 0)
                return failed(l, rc, err, "read");
        int r = load_all(l, txn, &root, &revision, err);
        trim(l);
        if (r < 0) {
                mdb_txn_abort(txn);
                btree_unref(root);
                return r;
        }
        mdb_txn_commit(txn); /* keeps dbi open */
        drop_deletions(&root);
        l->live = live_bytes(root);
        *ret_root = root;
        *ret_revision = revision;
        return 0;
}

/* ---- cleaning ---- */

struct moved {
        struct entry *entry; /* borrowed from the run's tree */
        struct str text;
};

/* What a transaction is about to do, and what that makes of the sizes. */
struct plan {
        VEC(struct moved) moved;
        struct str *texts; /* of the run's writes, as they go to the disk */
        struct arena *sealed;
        size_t moved_bytes, freed_bytes, segments, own_bytes, live;
};

/* The text of an object as it goes to the disk. */
static int text_for_disk(const struct lmdb *l, struct plan *p, struct str key, const struct object *o,
                         struct str *ret) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        int r;

        *ret = o ? object_text(o) : STR("");
        if (!l->cipher || !o)
                return 0;
        r = l->cipher->seal(l->cipher, key, *ret, &b);
        if (r > 0)
                *ret = arena_str(p->sealed = p->sealed ?: arena_new(0), buf_str(&b));
        return MIN(r, 0);
}

/* What counts for live is the size in the clear: it is only to be the same when it is added and when it is taken off.
 */
static int plan_run(const struct lmdb *l, const struct backend_run *run, struct plan *p) {
        p->own_bytes = record_size(0, FORMAT.n);
        p->texts = xcalloc(run->n + 1, sizeof(*p->texts));
        p->live = l->live;
        for (size_t i = 0; i < run->n; i++) {
                const struct backend_write *w = &run->writes[i];
                size_t text_n = w->object ? object_text(w->object).n : 0;

                TRY(text_for_disk(l, p, w->key, w->object, &p->texts[i]));
                p->own_bytes += record_size(w->key.n, p->texts[i].n);
                p->live += w->object ? record_size(w->key.n, text_n) : 0;
                p->live -= w->before ? record_size(w->key.n, object_text(w->before).n) : 0;
        }
        return 0;
}

/* Adds what lives in a segment to what moves. */
static int plan_segment(struct lmdb *l, MDB_val key, MDB_val value, const struct backend_run *run, struct plan *p) {
        struct record rec;
        struct str rest, text;
        uint64_t revision;
        int r = read_head(l, key, value, &rest, &revision, NULL);

        while (r == 0 && (r = record_read(&rest, &rec)) == 0) {
                struct entry *e = btree_find(run->root, rec.key);

                /* An object of this very run is in the new segment already. */
                if (!e || object_revision(e->object) != rec.revision || rec.text.n == 0)
                        continue;
                if (text_for_disk(l, p, rec.key, e->object, &text) < 0)
                        return EIO;
                vec_push(&p->moved, (struct moved) { e, text });
                p->moved_bytes += record_size(rec.key.n, text.n);
        }
        if (r != -ENOENT)
                return MDB_CORRUPTED;
        p->freed_bytes += value.mv_size;
        p->segments++;
        l->touched += value.mv_size;
        return 0;
}

/* Chooses the oldest segments, as many as needed and the quota allows, and deletes them. */
static int clean(struct lmdb *l, MDB_txn *txn, const struct backend_run *run, struct plan *p) {
        size_t bound = 2 * p->live + MIN(SLACK, l->max_map_bytes / 8), quota = p->own_bytes + CLEAN_QUOTA;
        MDB_cursor *cursor;
        MDB_val key, value;

        if (l->total + p->own_bytes <= bound)
                return 0;
        int rc = mdb_cursor_open(txn, l->dbi, &cursor);
        if (rc != 0)
                return rc;
        while (rc == 0 && l->total + p->own_bytes + p->moved_bytes - p->freed_bytes > bound && p->moved_bytes < quota) {
                rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
                if (rc == 0)
                        rc = plan_segment(l, key, value, run, p);
                if (rc == 0)
                        rc = mdb_cursor_del(cursor, 0);
        }
        mdb_cursor_close(cursor);
        return rc == MDB_NOTFOUND ? 0 : rc;
}

/* ---- writing ---- */

static void write_records(const struct backend_run *run, const struct plan *p, char *dst) {
        dst = record_write(&(struct record) { run->revision, STR(""), FORMAT }, dst);
        for (size_t i = 0; i < p->moved.n; i++) {
                const struct entry *e = p->moved.v[i].entry;

                dst = record_write(&(struct record) { object_revision(e->object), entry_key(e), p->moved.v[i].text },
                                   dst);
        }
        for (size_t i = 0; i < run->n; i++) {
                const struct backend_write *w = &run->writes[i];

                dst = record_write(&(struct record) { w->revision, w->key, p->texts[i] }, dst);
        }
}

static int write_segment(struct lmdb *l, MDB_txn *txn, const struct backend_run *run, const struct plan *p) {
        uint64_t number = htobe64(l->last + 1);
        MDB_val key = number_val(&number), value = { p->own_bytes + p->moved_bytes, NULL };
        int rc;

        rc = mdb_put(txn, l->dbi, &key, &value, MDB_APPEND | MDB_RESERVE); /* then it is written where it will lie */
        if (rc == 0)
                write_records(run, p, value.mv_data);
        return rc;
}

/* After a start from nothing, and after the map has moved. */
static void find_map_again(struct lmdb *l) {
        uint64_t number = htobe64(l->last);
        MDB_val key = number_val(&number), value;
        MDB_txn *txn;

        if (mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn) != 0)
                return;
        if (mdb_get(txn, l->dbi, &key, &value) == 0)
                find_map(l, value.mv_data);
        mdb_txn_abort(txn);
}

static int commit(struct lmdb *l, const struct backend_run *run, struct plan *p, bool cleaning) {
        MDB_txn *txn;

        p->moved.n = p->moved_bytes = p->freed_bytes = p->segments = 0;
        int rc = mdb_txn_begin(l->env, NULL, 0, &txn);
        if (rc != 0)
                return rc;
        if (cleaning)
                rc = clean(l, txn, run, p);
        if (rc == 0)
                rc = write_segment(l, txn, run, p);
        if (rc != 0) {
                mdb_txn_abort(txn);
                return rc;
        }
        return mdb_txn_commit(txn);
}

/* Tries with a larger map, and then without cleaning: that can wait, and needs room itself. */
static int commit_somehow(struct lmdb *l, const struct backend_run *run, struct plan *p) {
        bool cleaning = !l->unclean;

        for (;;) {
                int rc = commit(l, run, p, cleaning);

                if (rc == MDB_MAP_FULL && grow_map(l))
                        continue;
                if (rc == 0 || !cleaning)
                        return rc;
                cleaning = false;
                if (to_errno(rc) != -EUCLEAN)
                        continue;
                log_error("store: an old segment of %s cannot be read any more. Memory has all objects, but a restart "
                          "may fail: save them, and start with a new directory",
                          l->file);
                l->unclean = true;
        }
}

/* The map's bound is four times that of its content: there is always room for what is dead, and for deletions. */
static bool over_limit(const struct lmdb *l, const struct plan *p) {
        return p->live > l->live && p->live > l->max_map_bytes / 4;
}

static void plan_free(struct plan *p) {
        vec_free(&p->moved);
        free(p->texts);
        arena_free(p->sealed);
}

/* LMDB tells a write that was cut short as EIO, whatever cut it. */
static bool disk_is_full(const struct lmdb *l) {
        struct statvfs v;

        return statvfs(l->dir, &v) == 0 && v.f_bavail < FULL_BYTES / v.f_frsize;
}

static int lmdb_apply(struct backend *b, const struct backend_run *run, struct error *err) {
        struct lmdb *l = container_of(b, struct lmdb, backend);
        struct plan p = { 0 };
        int rc = plan_run(l, run, &p);

        if (rc < 0 || over_limit(l, &p)) {
                plan_free(&p);
                return rc < 0 ? error_set(err, rc, "an object cannot be encrypted")
                              : error_set(err, -ENOSPC, "%s has reached its limit of %zu MiB of objects", l->file,
                                          l->max_map_bytes >> 22);
        }
        rc = commit_somehow(l, run, &p);
        plan_free(&p);
        if (rc == EIO && disk_is_full(l))
                rc = ENOSPC;
        if (rc == MDB_MAP_FULL)
                return error_set(err, -ENOSPC, "%s has reached its limit of %zu MiB", l->file, l->max_map_bytes >> 20);
        if (rc != 0)
                return failed(l, rc, err, "write");
        l->last++;
        l->live = p.live;
        l->total += p.own_bytes + p.moved_bytes - p.freed_bytes;
        l->touched += COMMIT_TOUCHES;
        if (!l->map)
                find_map_again(l);
        if (l->touched >= TRIM_BYTES)
                trim(l);
        return 0;
}

/* ---- opening and closing ---- */

static void lmdb_close(struct backend *b) {
        struct lmdb *l = container_of(b, struct lmdb, backend);

        if (l->env)
                mdb_env_close(l->env);
        if (l->lock >= 0)
                close(l->lock);
        free_all(l->dir, l->file, l);
}

static int lock_dir(struct lmdb *l, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/lock", l->dir);

        l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (l->lock < 0)
                return error_errno(err, -errno, "open %s", path);
        if (flock(l->lock, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return error_set(err, -EWOULDBLOCK, "%s is in use by another cube: stop that one first",
                                         l->dir);
                return error_errno(err, -errno, "lock %s", path);
        }
        return 0;
}

/* A new file's name must survive a power loss as its content does. */
static int sync_dir(const char *path, struct error *err) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fsync(fd) < 0)
                return error_errno(err, -errno, "sync %s", path);
        return 0;
}

/* Looks the file over, if it is there already. */
static int check_file(struct lmdb *l, bool *ret_is_new, size_t *ret_size, struct error *err) {
        _cleanup_close_ int fd = open(l->file, O_RDWR | O_CLOEXEC);
        const char *problem;
        struct stat st;

        *ret_is_new = fd < 0 && errno == ENOENT;
        *ret_size = 0;
        if (*ret_is_new)
                return 0;
        if (fd < 0)
                return error_errno(err, -errno, "open %s", l->file);
        int r = lmdb_check_file(fd, &problem);
        if (r < 0)
                return problem ? damaged(l, err, problem) : error_errno(err, r, "read %s", l->file);
        if (fstat(fd, &st) < 0)
                return error_errno(err, -errno, "open %s", l->file);
        *ret_size = (size_t) st.st_size;
        return 0;
}

static int open_env(struct lmdb *l, struct error *err) {
        size_t size;
        bool is_new;
        int rc, fd;

        TRY(check_file(l, &is_new, &size, err));
        l->map_bytes = MIN(MAX(MAP_FIRST, 2 * size), l->max_map_bytes);
        rc = mdb_env_create(&l->env);
        if (rc == 0)
                rc = mdb_env_set_mapsize(l->env, l->map_bytes);
        if (rc == 0)
                rc = mdb_env_open(l->env, l->dir, MDB_NOLOCK | MDB_NOTLS, 0600);
        if (rc != 0)
                return failed(l, rc, err, "open");
        if (mdb_env_get_fd(l->env, &fd) == 0)
                fcntl(fd, F_SETFD, FD_CLOEXEC);
        if (!is_new)
                return 0;
        rc = mdb_env_sync(l->env, 1);
        return rc ? failed(l, rc, err, "sync") : sync_dir(l->dir, err);
}

int lmdb_open(const struct store_options *o, struct backend **ret, struct error *err) {
        static const struct backend_class lmdb_class = {
                .name = "lmdb",
                .load = lmdb_load,
                .apply = lmdb_apply,
                .close = lmdb_close,
        };
        struct lmdb *l = xcalloc(1, sizeof(*l));

        l->backend.class = &lmdb_class;
        l->lock = -1;
        l->cipher = o->cipher;
        l->dir = xstrdup(o->path);
        l->file = xprintf("%s/data.mdb", o->path);
        l->max_map_bytes = o->max_map_bytes ?: MAP_MAX;
        int r = file_mkdirs(o->path, 0700, err);
        if (r == 0)
                r = lock_dir(l, err);
        if (r == 0)
                r = open_env(l, err);
        if (r < 0) {
                lmdb_close(&l->backend);
                return r;
        }
        *ret = &l->backend;
        return 0;
}
