/* The durable backend: one file, data.mdb, by LMDB.
 *
 *   "\0cube"                  ─▶ record { revision of the store, "cube store 1" }
 *   "core/pods/default/web"   ─▶ record { revision, key, object text }       (record.h)
 *
 * A run of writes is one LMDB transaction: changed pages go to unused places in the file (fdatasync), then one page that
 * makes them the newest tree (O_DSYNC). A crash in between leaves the old tree. These are LMDB's defaults; no flag here weakens them.
 *
 * The file is mapped for reading, and mapped pages count as our memory although the objects have been copied out: the pages
 * are given back to the kernel's cache after loading and every TRIM_WRITES writes.
 *
 * LMDB's own locking (lock.mdb) is off: there is one process, by flock on the file "lock", and one thread at a time. */
#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "store/backend.h"
#include "store/record.h"

#define FORMAT STR("cube store 1")
static const struct str head_key = STR_INIT("\0cube");

#define MAP_FIRST (64ULL << 20)
#define TRIM_WRITES 256

struct lmdb {
        struct backend backend;
        char *dir, *file;
        int lock;
        MDB_env *env;
        MDB_dbi dbi;
        size_t map_bytes, max_map_bytes;
        char *map; /* where the file is mapped; NULL: not known */
        size_t untrimmed;
};

static int to_errno(int rc) {
        switch (rc) {
        case MDB_SUCCESS:
                return 0;
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
        return error_set(err, -EUCLEAN, "%s is damaged or not a file of cube's (%s): put back a copy of %s, or move it away to "
                         "start empty", l->file, what, l->dir);
}

static int failed(const struct lmdb *l, int rc, struct error *err, const char *doing) {
        int r = to_errno(rc);

        if (r == -EUCLEAN)
                return damaged(l, err, mdb_strerror(rc));
        return error_set(err, r, "%s %s: %s", doing, l->file, mdb_strerror(rc));
}

static MDB_val val(struct str s) {
        return (MDB_val) { s.n, (void *) s.p };
}

static struct str str_val(MDB_val v) {
        return str_n(v.mv_data, v.mv_size);
}

/* ---- giving mapped pages back ---- */

/* Learns where the file is mapped: LMDB does not tell, but a page begins with its own number. */
static void find_map(struct lmdb *l, const void *inside) {
        long page = sysconf(_SC_PAGESIZE);
        char *p = (char *) ((uintptr_t) inside & ~((uintptr_t) page - 1));
        size_t number;
        MDB_stat st;

        l->map = NULL;
        if (mdb_env_stat(l->env, &st) != 0 || st.ms_psize != (unsigned) page)
                return;
        memcpy(&number, p, sizeof(number));
        if (number < l->map_bytes / (size_t) page)
                l->map = p - number * (size_t) page;
}

static void trim(struct lmdb *l) {
        if (l->map)
                madvise(l->map, l->map_bytes, MADV_DONTNEED); /* clean pages of a file: the next access maps them again */
        l->untrimmed = 0;
}

static int set_map_size(struct lmdb *l, size_t bytes) {
        int rc = mdb_env_set_mapsize(l->env, bytes);

        if (rc != 0)
                return rc;
        l->map_bytes = bytes;
        l->map = NULL; /* found again by the next write of the head */
        return 0;
}

/* ---- reading ---- */

static int load_head(struct lmdb *l, MDB_val value, uint64_t *ret_revision, struct error *err) {
        struct record head;

        if (record_read(str_val(value), &head) < 0)
                return damaged(l, err, "its head has a wrong checksum");
        if (!str_eq(head.text, FORMAT))
                return error_set(err, -EUCLEAN, "%s was written by another version of cube (\"%" STR_FMT "\"): use that version, or "
                                 "move %s away to start empty", l->file, STR_ARG(head.text), l->dir);
        find_map(l, value.mv_data);
        *ret_revision = head.revision;
        return 0;
}

static int load_record(struct lmdb *l, MDB_val key, MDB_val value,
                       int (*each)(void *arg, struct str key, struct str text, uint64_t revision, struct error *err),
                       void *arg, struct error *err) {
        char buf[FILE_KEY_MAX];
        struct record rec;
        int r;

        r = record_read(str_val(value), &rec);
        if (r == 0 && !str_eq(record_file_key(rec.key, buf), str_val(key)))
                r = -EUCLEAN;
        if (r == 0)
                r = each(arg, rec.key, rec.text, rec.revision, NULL);
        if (r < 0) {
                _cleanup_free_ char *what = xprintf("the record of %" STR_FMT, STR_ARG(str_val(key)));

                return damaged(l, err, what);
        }
        if (++l->untrimmed >= TRIM_WRITES)
                trim(l);
        return 0;
}

static int load_all(struct lmdb *l, MDB_cursor *cursor,
                    int (*each)(void *arg, struct str key, struct str text, uint64_t revision, struct error *err), void *arg,
                    uint64_t *ret_revision, struct error *err) {
        MDB_val key, value;
        int rc, r;

        rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST); /* the head: NUL sorts first */
        if (rc == MDB_NOTFOUND)
                return 0; /* new */
        if (rc == 0 && !str_eq(str_val(key), head_key))
                return damaged(l, err, "it has no head");
        r = rc ? failed(l, rc, err, "read") : load_head(l, value, ret_revision, err);
        while (r == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
                r = load_record(l, key, value, each, arg, err);
        if (r == 0 && rc != MDB_NOTFOUND)
                r = failed(l, rc, err, "read");
        return r;
}

static int lmdb_load(struct backend *b,
                     int (*each)(void *arg, struct str key, struct str text, uint64_t revision, struct error *err), void *arg,
                     uint64_t *ret_revision, struct error *err) {
        struct lmdb *l = container_of(b, struct lmdb, backend);
        MDB_cursor *cursor;
        MDB_txn *txn;
        int rc, r;

        rc = mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn);
        if (rc != 0)
                return failed(l, rc, err, "read");
        rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
        if (rc == 0)
                rc = mdb_cursor_open(txn, l->dbi, &cursor);
        if (rc != 0) {
                mdb_txn_abort(txn);
                return failed(l, rc, err, "read");
        }
        r = load_all(l, cursor, each, arg, ret_revision, err);
        mdb_cursor_close(cursor);
        if (r == 0)
                mdb_txn_commit(txn); /* keeps dbi open */
        else
                mdb_txn_abort(txn);
        trim(l);
        return r;
}

/* ---- writing ---- */

static int put(struct lmdb *l, MDB_txn *txn, const struct record *rec) {
        char buf[FILE_KEY_MAX];
        MDB_val key = val(record_file_key(rec->key, buf)), value = { record_size(rec), NULL };
        int rc;

        rc = mdb_put(txn, l->dbi, &key, &value, MDB_RESERVE); /* then it is written where it will lie */
        if (rc == 0)
                record_write(rec, value.mv_data);
        return rc;
}

static int delete(struct lmdb *l, MDB_txn *txn, struct str store_key) {
        char buf[FILE_KEY_MAX];
        MDB_val key = val(record_file_key(store_key, buf));
        int rc;

        rc = mdb_del(txn, l->dbi, &key, NULL);
        return rc == MDB_NOTFOUND ? 0 : rc; /* created in the same run: then it is there; else there is nothing to do */
}

static int write_all(struct lmdb *l, MDB_txn *txn, const struct backend_write *writes, size_t n, uint64_t revision) {
        struct record head = { .revision = revision, .key = head_key, .text = FORMAT };
        int rc = 0;

        for (size_t i = 0; i < n && rc == 0; i++) {
                const struct backend_write *w = &writes[i];

                if (w->object)
                        rc = put(l, txn, &(struct record) { w->revision, w->key, object_text(w->object) });
                else
                        rc = delete(l, txn, w->key);
        }
        return rc ?: put(l, txn, &head);
}

static int commit(struct lmdb *l, const struct backend_write *writes, size_t n, uint64_t revision) {
        MDB_txn *txn;
        int rc;

        rc = mdb_txn_begin(l->env, NULL, 0, &txn);
        if (rc != 0)
                return rc;
        rc = write_all(l, txn, writes, n, revision);
        if (rc != 0) {
                mdb_txn_abort(txn);
                return rc;
        }
        return mdb_txn_commit(txn);
}

static void find_map_of_head(struct lmdb *l) {
        MDB_val key = val(head_key), value;
        MDB_txn *txn;

        if (mdb_txn_begin(l->env, NULL, MDB_RDONLY, &txn) != 0)
                return;
        if (mdb_get(txn, l->dbi, &key, &value) == 0)
                find_map(l, value.mv_data);
        mdb_txn_abort(txn);
}

static int lmdb_apply(struct backend *b, const struct backend_write *writes, size_t n, uint64_t revision, struct error *err) {
        struct lmdb *l = container_of(b, struct lmdb, backend);
        int rc;

        while ((rc = commit(l, writes, n, revision)) == MDB_MAP_FULL && l->map_bytes < l->max_map_bytes) {
                rc = set_map_size(l, MIN(l->map_bytes * 2, l->max_map_bytes));
                if (rc != 0)
                        break;
        }
        if (rc == MDB_MAP_FULL)
                return error_set(err, -ENOSPC, "%s has reached its limit of %zu MiB", l->file, l->max_map_bytes >> 20);
        if (rc != 0)
                return failed(l, rc, err, "write");
        l->untrimmed += n;
        if (l->untrimmed >= TRIM_WRITES) {
                if (!l->map)
                        find_map_of_head(l);
                trim(l);
        }
        return 0;
}

/* ---- opening and closing ---- */

static void lmdb_close(struct backend *b) {
        struct lmdb *l = container_of(b, struct lmdb, backend);

        if (l->env)
                mdb_env_close(l->env);
        if (l->lock >= 0)
                close(l->lock);
        free(l->dir);
        free(l->file);
        free(l);
}

static int lock_dir(struct lmdb *l, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/lock", l->dir);

        l->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (l->lock < 0)
                return error_errno(err, -errno, "open %s", path);
        if (flock(l->lock, LOCK_EX | LOCK_NB) < 0) {
                if (errno == EWOULDBLOCK)
                        return error_set(err, -EWOULDBLOCK, "%s is in use by another cube: stop that one first", l->dir);
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

static int open_env(struct lmdb *l, struct error *err) {
        bool is_new = !file_exists(l->file);
        struct stat st = { 0 };
        int rc, fd;

        rc = mdb_env_create(&l->env);
        if (rc != 0)
                return failed(l, rc, err, "open");
        if (!is_new && stat(l->file, &st) < 0)
                return error_errno(err, -errno, "open %s", l->file);
        l->map_bytes = MIN(MAX(MAP_FIRST, 2 * (size_t) st.st_size), l->max_map_bytes);
        rc = mdb_env_set_mapsize(l->env, l->map_bytes);
        if (rc == 0)
                rc = mdb_env_open(l->env, l->dir, MDB_NOLOCK | MDB_NORDAHEAD | MDB_NOTLS, 0600);
        if (rc != 0)
                return failed(l, rc, err, "open");
        if (mdb_env_get_fd(l->env, &fd) == 0)
                fcntl(fd, F_SETFD, FD_CLOEXEC);
        return is_new ? sync_dir(l->dir, err) : 0;
}

int lmdb_open(const struct store_options *o, struct backend **ret, struct error *err) {
        static const struct backend_class lmdb_class = {
                .name = "lmdb",
                .load = lmdb_load,
                .apply = lmdb_apply,
                .close = lmdb_close,
        };
        struct lmdb *l = xcalloc(1, sizeof(*l));
        int r;

        l->backend.class = &lmdb_class;
        l->lock = -1;
        l->dir = xstrdup(o->path);
        l->file = xprintf("%s/data.mdb", o->path);
        l->max_map_bytes = o->max_map_bytes ?: (size_t) 8 << 30;
        r = file_mkdirs(o->path, 0700, err);
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
