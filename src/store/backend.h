/* What the store needs from a durable backend. Everything is in memory in store.c; the backend only remembers.
 *
 * One thread at a time uses it: the opener, then the store's writer. memory.c forgets; lmdb.c keeps a file on this machine;
 * tests have one that fails at step N. For etcd, several writers share the data: expect is there so that apply can make each
 * write conditional, and answer -EAGAIN when another was faster. */
#pragma once

#include "store/store.h"

struct backend;

struct backend_write {
        struct str key;
        struct object *object; /* NULL: delete */
        uint64_t revision;     /* of the transaction it belongs to */
        uint64_t expect;       /* the revision the key has now; 0: it is not there */
};

struct backend_class {
        const char *name;
        /* Hands over all that is kept, in any order, and the last revision. Called once, first. A failing each ends it. */
        int (*load)(struct backend *b, int (*each)(void *arg, struct str key, struct str text, uint64_t revision, struct error *err),
                    void *arg, uint64_t *ret_revision, struct error *err);
        /* Makes all writes durable, and revision the last one; or, on failure, none. When it returns 0 they survive the loss of
         * power. -ENOSPC, -EIO. */
        int (*apply)(struct backend *b, const struct backend_write *writes, size_t n, uint64_t revision, struct error *err);
        void (*close)(struct backend *b);
};

struct backend {
        const struct backend_class *class;
};

int memory_open(struct backend **ret, struct error *err);
int lmdb_open(const struct store_options *o, struct backend **ret, struct error *err);

/* store_open over a backend, which belongs to the store from then on (closed on failure too). */
int store_open_on(struct backend *b, const struct store_options *o, struct store **ret, struct error *err);
