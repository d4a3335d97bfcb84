/* What the store needs from a durable backend. All reads are answered from memory; the backend only remembers.
 *
 * One thread at a time uses it: the opener, then the store's writer. memory.c forgets; lmdb.c keeps a file on this
 * machine; tests have one that fails at step N. For etcd, several writers share the data: before lets apply make each
 * write conditional on its revision, and answer -EAGAIN when another was faster. */
#pragma once

#include "store/btree.h"
#include "store/store.h"

struct backend;

struct backend_write {
        struct str key;
        struct object *object; /* NULL: delete */
        struct object *before; /* what the key held until now; NULL: nothing */
        uint64_t revision;     /* of the transaction it belongs to */
};

/* What is committed together. A key may be written more than once: the last counts. */
struct backend_run {
        const struct backend_write *writes;
        size_t n;
        uint64_t revision;       /* the store's, after it */
        const struct node *root; /* all objects, after it */
};

struct backend_class {
        const char *name;
        /* The tree of all that is kept, and the last revision. Called once, first. */
        int (*load)(struct backend *b, struct node **ret_root, uint64_t *ret_revision, struct error *err);
        /* Makes the run durable as a whole or, on failure, not at all. When it returns 0 it survives the loss of power.
         * -ENOSPC, -EIO. */
        int (*apply)(struct backend *b, const struct backend_run *run, struct error *err);
        void (*close)(struct backend *b);
};

struct backend {
        const struct backend_class *class;
};

int memory_open(struct backend **ret, struct error *err);
int lmdb_open(const struct store_options *o, struct backend **ret, struct error *err);

/* store_open over a backend, which belongs to the store from then on (closed on failure too). */
int store_open_on(struct backend *b, const struct store_options *o, struct store **ret, struct error *err);
