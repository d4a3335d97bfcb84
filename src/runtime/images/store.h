/* Inside of the image store: what store.c, index.c and layers.c share. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "base/vec.h"
#include "runtime/images/images.h"

struct layer {
        char chain[72];
        unsigned dir; /* layers/<dir> */
        uint64_t bytes, inodes;
        bool unpacking; /* somebody is at it: wait */
};

typedef VEC(char *) strings;
bool strings_has(const strings *v, struct str s);
void strings_add(strings *v, struct str s); /* once */
bool strings_remove(strings *v, struct str s);

struct image {
        char *id, *manifest, *index; /* digests; index may be NULL */
        strings names, digests;      /* "repo:tag", "repo@sha256:…" */
        strings chains;              /* layers, lowest first */
        strings blobs;               /* all that belongs to it */
        char *user;
        int64_t created_ns, used_ns;
        bool pinned;
        unsigned holds;
};
void image_free(void *image);

struct image_store {
        char *root;
        pthread_mutex_t lock; /* guards all below; never held while unpacking or downloading */
        pthread_cond_t changed;
        struct map *images; /* id → struct image */
        struct map *layers; /* chain id → struct layer */
        unsigned next_dir;
        unsigned workers; /* between work_begin and work_end */
        bool sweep_wanted, sweeping;
        bool interrupted;    /* atomic */
        struct arena *arena; /* registries */
        struct json *registries;
};

/* index.c */
int index_read(struct image_store *s, struct error *err);
int index_write(struct image_store *s, struct error *err); /* lock held */
/* layers.c: makes layers/<n> for diff_id on top of chains[0..n), unless it is there. */
int layer_ensure(struct image_store *s, char *const *chains, size_t n_below, const char *chain, struct str blob,
                 struct str diff_id, struct error *err);
char *layer_path(const struct image_store *s, unsigned dir);
/* sweep.c: removes what the index does not name. */
void image_store_sweep(struct image_store *s);
