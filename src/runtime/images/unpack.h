/* Layers: from a tar to a directory that overlayfs can stack. */
#pragma once

#include "base/error.h"

struct unpack_result {
        char diff_id[72]; /* digest of the uncompressed tar */
        uint64_t bytes, inodes;
};

/* Unpacks the layer in the file blob_fd (tar; gzip or zstd) into dir_fd, an empty directory that nobody else looks at.
 * parents: the directories below it, nearest first, whose attributes implied directories take over. keep_whiteouts:
 * turn OCI whiteouts into overlayfs' (a lower-most layer needs none). Nothing is ever written outside dir_fd. -EBADMSG,
 * -EFBIG, errno of the file system. */
int layer_unpack(int blob_fd, int dir_fd, const int *parents, size_t n_parents, struct unpack_result *ret,
                 struct error *err);

/* Writes the directory as a plain tar into the file fd (`cube image import` of a directory). */
int tree_pack(const char *dir, int fd, struct error *err);
