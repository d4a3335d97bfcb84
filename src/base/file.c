/* Whole files: read with a limit, written so that a crash leaves the old or the new content, trees made and removed. */
#include "base/file.h"

#include "base/arena.h"
#include "base/rand.h"

#define DEFAULT_LIMIT (64ULL * 1024 * 1024)

void closep(int *fd) {
        int saved = errno;

        if (*fd >= 0)
                close(*fd);
        errno = saved;
}

int file_read(const char *path, size_t limit, struct buf *dst, struct error *err) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        size_t before = dst->n;
        struct stat st;

        if (fd < 0)
                return error_errno(err, errno, "open %s", path);
        if (!limit)
                limit = DEFAULT_LIMIT;
        /* The size is a hint: files of /proc say 0. */
        if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (uint64_t) st.st_size <= limit)
                buf_reserve(dst, (size_t) st.st_size + 1);
        for (;;) {
                buf_reserve(dst, 4096);
                ssize_t r = read(fd, dst->p + dst->n, dst->cap - dst->n);
                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0) {
                        dst->n = before;
                        return error_errno(err, errno, "read %s", path);
                }
                if (r == 0)
                        return 0;
                dst->n += (size_t) r;
                if (dst->n - before > limit) {
                        dst->n = before;
                        return error_errno(err, -EFBIG, "read %s", path);
                }
        }
}

static int write_all(int fd, struct str data) {
        while (data.n) {
                ssize_t r = write(fd, data.p, data.n);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0)
                        return -errno;
                data = str_sub(data, (size_t) r, data.n);
        }
        return 0;
}

int file_write(const char *path, struct str data, mode_t mode, struct error *err) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

        if (fd < 0)
                return error_errno(err, errno, "open %s", path);
        int r = write_all(fd, data);
        return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

static int sync_parent(const char *path, struct error *err) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *dir =
                        !slash ? xstrdup(".") : str_dup(str_n(path, MAX((size_t) (slash - path), (size_t) 1)));
        _cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return error_errno(err, errno, "open %s", dir);
        if (fsync(fd) < 0 && errno != EINVAL && errno != EROFS) /* some file systems do not sync directories */
                return error_errno(err, errno, "fsync %s", dir);
        return 0;
}

static int write_synced(const char *path, struct str data, mode_t mode, struct error *err) {
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        int r;

        if (fd < 0)
                return error_errno(err, errno, "create %s", path);
        r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data); /* the mode is what was asked, whatever the umask */
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        return r < 0 ? error_errno(err, r, "write %s", path) : 0;
}

int file_write_atomic(const char *path, struct str data, mode_t mode, struct error *err) {
        char suffix[9] = { 0 };

        rand_suffix(suffix, 8);
        _cleanup_free_ char *tmp = xprintf("%s.tmp-%s", path, suffix);
        int r = write_synced(tmp, data, mode, err);
        if (r >= 0 && rename(tmp, path) < 0)
                r = error_errno(err, errno, "rename %s to %s", tmp, path);
        if (r < 0) {
                if (r != -EEXIST)
                        unlink(tmp);
                return r;
        }
        return sync_parent(path, err);
}

int file_mkdirs(const char *path, mode_t mode, struct error *err) {
        _cleanup_free_ char *copy = xstrdup(path);
        struct stat st;

        for (char *p = copy + 1;; p++) {
                char c = *p;

                if (c && c != '/')
                        continue;
                *p = 0;
                if (mkdir(copy, mode) < 0 && errno != EEXIST)
                        return error_errno(err, errno, "mkdir %s", copy);
                *p = c;
                if (!c || !*copy)
                        break;
        }
        if (stat(path, &st) < 0)
                return error_errno(err, errno, "stat %s", path);
        return S_ISDIR(st.st_mode) ? 0 : error_errno(err, -ENOTDIR, "mkdir %s", path);
}

/* ---- removing a tree ----
 *
 * Every level holds one descriptor. A tree made by a container can be deeper than the descriptors we have: below
 * MAX_LEVEL a directory is moved up to the top of the tree and removed from there in another round. */

#define MAX_LEVEL 24

struct remove_tree {
        const char *path;
        int top;        /* the directory being emptied */
        uint64_t mount; /* the mount it is on */
        unsigned moved; /* directories moved to the top so far */
        struct error *err;
};

static int mount_of(int dir, const char *name, uint64_t *ret) {
        struct statx sx;

        if (statx(dir, name, AT_SYMLINK_NOFOLLOW | (*name ? 0 : AT_EMPTY_PATH), STATX_MNT_ID, &sx) < 0)
                return -errno;
        /* Kernels before 5.8 know no mount id: the device is the next best. */
        *ret = sx.stx_mask & STATX_MNT_ID ? sx.stx_mnt_id : (uint64_t) sx.stx_dev_major << 32 | sx.stx_dev_minor;
        return 0;
}

static int empty_dir(struct remove_tree *t, int fd, int level);

static int move_to_top(struct remove_tree *t, int dir, const char *name) {
        for (;;) {
                char to[48];

                snprintf(to, sizeof(to), ".cube-remove-%d-%u", (int) getpid(), t->moved++);
                if (renameat2(dir, name, t->top, to, RENAME_NOREPLACE) >= 0)
                        return 0;
                if (errno != EEXIST)
                        return error_errno(t->err, errno, "remove %s: move %s", t->path, name);
        }
}

static int remove_dir(struct remove_tree *t, int dir, const char *name, int level) {
        uint64_t mount = 0;

        int r = mount_of(dir, name, &mount);
        if (r < 0)
                return r == -ENOENT ? 0 : error_errno(t->err, r, "remove %s: stat %s", t->path, name);
        if (mount != t->mount)
                return error_errno(t->err, -EBUSY, "remove %s: %s is a mount point", t->path, name);
        if (level >= MAX_LEVEL)
                return move_to_top(t, dir, name);
        int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : error_errno(t->err, errno, "remove %s: open %s", t->path, name);
        TRY(empty_dir(t, fd, level + 1));
        if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
                return error_errno(t->err, errno, "remove %s: rmdir %s", t->path, name);
        return 0;
}

static int remove_entry(struct remove_tree *t, int dir, const struct dirent *de, int level) {
        if (de->d_type != DT_DIR) {
                if (unlinkat(dir, de->d_name, 0) >= 0 || errno == ENOENT)
                        return 0;
                if (errno != EISDIR) /* a file system without d_type */
                        return error_errno(t->err, errno, "remove %s: unlink %s", t->path, de->d_name);
        }
        return remove_dir(t, dir, de->d_name, level);
}

/* Takes fd. */
static int empty_dir(struct remove_tree *t, int fd, int level) {
        DIR *d = fdopendir(fd);
        struct dirent *de;
        int r = 0;

        if (!d) {
                r = error_errno(t->err, errno, "remove %s: read directory", t->path);
                close(fd);
                return r;
        }
        while (r >= 0 && (errno = 0, de = readdir(d)))
                if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
                        r = remove_entry(t, fd, de, level);
        if (r >= 0 && errno)
                r = error_errno(t->err, errno, "remove %s: read directory", t->path);
        closedir(d);
        return r;
}

int file_remove_tree(const char *path, struct error *err) {
        struct remove_tree t = { .path = path, .err = err };
        _cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

        if (top < 0 && (errno == ENOTDIR || errno == ELOOP)) {
                if (unlink(path) < 0 && errno != ENOENT)
                        return error_errno(err, errno, "remove %s", path);
                return 0;
        }
        if (top < 0)
                return errno == ENOENT ? 0 : error_errno(err, errno, "open %s", path);
        t.top = top;
        int r = mount_of(top, "", &t.mount);
        if (r < 0)
                return error_errno(err, r, "stat %s", path);
        for (unsigned moved;;) {
                int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

                if (fd < 0)
                        return error_errno(err, errno, "open %s", path);
                moved = t.moved;
                TRY(empty_dir(&t, fd, 0));
                if (t.moved == moved)
                        break;
        }
        if (rmdir(path) < 0 && errno != ENOENT)
                return error_errno(err, errno, "rmdir %s", path);
        return 0;
}

bool file_exists(const char *path) {
        return access(path, F_OK) == 0;
}
