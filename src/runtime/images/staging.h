/* An archive taken apart: each file of a tar, by its path and by the digest of its bytes. */
#pragma once

#include "runtime/images/images.h"

struct staged {
        struct str path;
        char digest[72];
        int64_t size;
        struct str link; /* a link's target path, cleaned; empty for a file */
};

struct staging {
        struct arena *arena;
        struct image_store *images;
        char *dir;           /* below the store's tmp/; files are named by the hex of their digest */
        struct map *files;   /* path → struct staged */
        struct map *digests; /* digest → struct staged */
};

/* Reads the whole archive (tar; gzip or zstd). Links are noted, nothing else than plain files is made. */
int staging_open(struct image_store *s, const char *path, struct staging *ret, struct error *err);
void staging_close(struct staging *s); /* removes what is still there; also the shape _cleanup_ wants */
const struct staged *staging_get(const struct staging *s, struct str path); /* follows links; NULL */
int staging_read(const struct staging *s, struct str digest, struct str *ret, struct error *err); /* a small file */
/* Moves a file into the store; one that only the store has is fine. -ENOENT */
int staging_commit(const struct staging *s, struct str digest, struct error *err);
/* A file's bytes with their digest, for anything that becomes a blob. */
int staging_copy_fd(const struct staging *s, int fd, struct str path, struct error *err);
