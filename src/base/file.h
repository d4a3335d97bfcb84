/* Files as a whole. Errors carry path and errno text. */
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/error.h"

/* -EFBIG past limit bytes (0: 64 MiB). */
int file_read(const char *path, size_t limit, struct buf *dst, struct error *err);
/* Truncates; not atomic: for /proc, /sys and scratch files. */
int file_write(const char *path, struct str data, mode_t mode, struct error *err);
/* Temporary file beside path, fsync, rename, fsync of the directory: after a crash the old or the new content is
 * there. */
int file_write_atomic(const char *path, struct str data, mode_t mode, struct error *err);
int file_mkdirs(const char *path, mode_t mode, struct error *err); /* and its parents */
/* Never crosses a mount point or follows a symlink. Missing is fine. */
int file_remove_tree(const char *path, struct error *err);
bool file_exists(const char *path);
DEFINE_CLEANUP(DIR *, closedir)
/* Each entry, "." and ".." too; of a directory that could not be opened (NULL) none. */
#define dir_each(e, dir) for (struct dirent * e; (dir) && (e = readdir(dir));)
