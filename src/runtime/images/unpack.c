/* Unpacking one layer.
 *
 *   blob ─▶ stream (inflate, hash) ─▶ libarchive (tar) ─▶ entry ─▶ parent directory within the layer ─▶ *at() calls
 *
 * A layer is hostile: names with "..", symlinks that lead out, hard links to the host's files. So no path is ever
 * given to the kernel whole: the parent is opened by openat2(RESOLVE_IN_ROOT), which takes ".." and absolute links as
 * inside the layer, and the last component is made relative to it without following links. libarchive only reads.
 *
 * Whiteouts (OCI image spec, layer.md): ".wh.x" becomes the character device 0:0 named x, ".wh..wh..opq" the xattr
 * trusted.overlay.opaque=y of its directory. A directory that has a whiteout beside it in the same layer is opaque. */
#include "runtime/images/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/file.h"
#include "base/vec.h"
#include "runtime/images/stream.h"

#define LAYER_MAX_BYTES (64ULL << 30)
#define LAYER_MAX_ENTRIES 5000000U
#define OPAQUE "trusted.overlay.opaque"

struct dir_time { /* directories get their times when all is inside */
        char *path;
        struct timespec mtime;
};

struct unpack {
        struct archive *tar;
        struct stream *stream;
        struct error *err;
        int root;
        const int *parents;
        size_t n_parents;
        uint64_t bytes, inodes;
        char *dir_path; /* the parent directory opened last: entries come grouped */
        int dir_fd;
        VEC(struct dir_time) times;
};

static int open_in_root(int root, const char *path, int flags) {
        struct open_how how = {
                .flags = (uint64_t) (flags | O_CLOEXEC),
                .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
        };

        if (!*path)
                path = ".";
        return (int) syscall(SYS_openat2, root, path, &how, sizeof(how));
}

/* "./a//b/../c" → "a/b/../c" is refused; "a/b/c" otherwise. In place. */
static int clean_path(char *p) {
        char *to = p;

        str_each(part, str_of(p), '/') {
                if (str_empty(part) || str_eqc(part, "."))
                        continue;
                if (str_eqc(part, "..") || part.n > 255)
                        return -EBADMSG;
                if (to != p)
                        *to++ = '/';
                memmove(to, part.p, part.n);
                to += part.n;
        }
        *to = 0;
        return 0;
}

/* Gives an implied directory the attributes it has in the layer below that has it. */
static void inherit_attributes(struct unpack *u, const char *path, int fd) {
        for (size_t i = 0; i < u->n_parents; i++) {
                _cleanup_close_ int lower = open_in_root(u->parents[i], path, O_PATH | O_DIRECTORY);
                struct stat st;

                if (lower < 0 || fstat(lower, &st) < 0)
                        continue;
                if (fchown(fd, st.st_uid, st.st_gid) == 0)
                        (void) fchmod(fd, st.st_mode & 07777);
                return;
        }
}

static bool is_whiteout(const struct stat *st) {
        return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

/* One implied directory; its parent exists. It may be there, or have been whited out by this layer. */
static int make_dir(struct unpack *u, const char *path) {
        _cleanup_free_ char *parent = xstrdup(path);
        _cleanup_close_ int up = -1, made = -1;
        char *slash = strrchr(parent, '/');
        const char *name = slash ? slash + 1 : parent;
        bool opaque = false;
        struct stat st;

        if (slash)
                *slash = 0;
        up = open_in_root(u->root, slash ? parent : ".", O_RDONLY | O_DIRECTORY);
        if (up < 0)
                return -errno;
        if (fstatat(up, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
                if (!is_whiteout(&st))
                        return 0;
                opaque = unlinkat(up, name, 0) == 0;
        }
        if (mkdirat(up, name, 0755) < 0)
                return -errno;
        u->inodes++;
        made = openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (made < 0 || (opaque && fsetxattr(made, OPAQUE, "y", 1, 0) < 0))
                return -errno;
        if (!opaque)
                inherit_attributes(u, path, made);
        return 0;
}

/* Opens the directory `path`, making what is missing of it. */
static int make_dirs(struct unpack *u, const char *path, int *ret) {
        _cleanup_free_ char *part = xstrdup(path);
        int fd = open_in_root(u->root, path, O_RDONLY | O_DIRECTORY);

        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
                for (char *end = part;; end++) {
                        end += strcspn(end, "/");
                        char kept = *end;
                        *end = 0;
                        int r = make_dir(u, part);
                        if (r < 0)
                                return error_errno(u->err, r, "create directory %s", part);
                        if (!kept)
                                break;
                        *end = kept;
                }
                fd = open_in_root(u->root, path, O_RDONLY | O_DIRECTORY);
        }
        if (fd < 0)
                return error_errno(u->err, -errno, "open directory %s", path);
        *ret = fd;
        return 0;
}

/* The parent of path, as a borrowed descriptor, and the last component. */
static int open_parent(struct unpack *u, char *path, int *ret_fd, const char **ret_name) {
        char *slash = strrchr(path, '/');
        const char *dir = slash ? path : "";
        int r = 0;

        if (slash)
                *slash = 0;
        if (!u->dir_path || strcmp(u->dir_path, dir) != 0) {
                int fd = -1;

                r = make_dirs(u, dir, &fd);
                if (r >= 0) {
                        closep(&u->dir_fd);
                        free(u->dir_path);
                        u->dir_fd = fd;
                        u->dir_path = xstrdup(dir);
                }
        }
        if (slash)
                *slash = '/';
        if (r < 0)
                return r;
        *ret_fd = u->dir_fd;
        *ret_name = slash ? slash + 1 : path;
        return 0;
}

static int remove_at(struct unpack *u, int dir, const char *name, bool is_dir) {
        char path[64];

        if (!is_dir)
                return unlinkat(dir, name, 0) < 0 ? error_errno(u->err, -errno, "remove %s", name) : 0;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
        _cleanup_free_ char *whole = xprintf("%s/%s", path, name);
        /* The parent opened last may be inside it. */
        free(u->dir_path);
        u->dir_path = NULL;
        return file_remove_tree(whole, u->err);
}

static int whiteout(struct unpack *u, int dir, const char *name) {
        struct stat st;

        if (strcmp(name, ".wh..opq") == 0) {
                if (fsetxattr(dir, OPAQUE, "y", 1, 0) < 0)
                        return error_errno(u->err, -errno, "set " OPAQUE);
                return 0;
        }
        if (!*name || strncmp(name, ".wh.", 4) == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return 0; /* aufs' own bookkeeping */
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
                /* Came before: a whiteout hides only what lower layers have. */
                if (S_ISDIR(st.st_mode)) {
                        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                        if (fd < 0 || fsetxattr(fd, OPAQUE, "y", 1, 0) < 0)
                                return error_errno(u->err, -errno, "set " OPAQUE " on %s", name);
                }
                return 0;
        }
        if (mknodat(dir, name, S_IFCHR, makedev(0, 0)) < 0)
                return error_errno(u->err, -errno, "create whiteout of %s", name);
        u->inodes++;
        return 0;
}

static int copy_data(struct unpack *u, int fd, int64_t size) {
        for (;;) {
                const void *p;
                size_t n;
                la_int64_t at;
                int k = archive_read_data_block(u->tar, &p, &n, &at);

                if (k == ARCHIVE_EOF)
                        break;
                if (k < ARCHIVE_WARN)
                        return -EBADMSG;
                while (n > 0) {
                        ssize_t w = pwrite(fd, p, n, at);

                        if (w < 0 && errno == EINTR)
                                continue;
                        if (w < 0)
                                return error_errno(u->err, -errno, "write");
                        p = (const char *) p + w;
                        n -= (size_t) w;
                        at += w;
                        u->bytes += (uint64_t) w;
                }
        }
        return ftruncate(fd, size) < 0 ? error_errno(u->err, -errno, "truncate") : 0;
}

/* Security labels are the host's business and overlayfs' own attributes would change the stack. */
static bool xattr_wanted(const char *name) {
        return strncmp(name, "trusted.overlay.", 16) != 0 && strncmp(name, "user.overlay.", 13) != 0 &&
               strcmp(name, "security.selinux") != 0 && strncmp(name, "system.", 7) != 0;
}

static int set_xattrs(struct unpack *u, struct archive_entry *e, int dir, const char *name) {
        const char *key;
        const void *value;
        size_t n;

        if (archive_entry_xattr_reset(e) == 0)
                return 0;
        _cleanup_free_ char *path = xprintf("/proc/self/fd/%d/%s", dir, name);
        while (archive_entry_xattr_next(e, &key, &value, &n) == ARCHIVE_OK)
                if (xattr_wanted(key) && lsetxattr(path, key, value, n, 0) < 0 && errno != ENOTSUP)
                        return error_errno(u->err, -errno, "set xattr %s of %s", key, name);
        return 0;
}

static int hard_link(struct unpack *u, struct archive_entry *e, int dir, const char *name) {
        _cleanup_free_ char *target = xstrdup(archive_entry_hardlink(e));

        if (clean_path(target) < 0 || !*target)
                return error_set(u->err, -EBADMSG, "invalid hard link to \"%s\"", archive_entry_hardlink(e));
        char *slash = strrchr(target, '/');
        if (slash)
                *slash = 0;
        _cleanup_close_ int up = open_in_root(u->root, slash ? target : ".", O_PATH | O_DIRECTORY);
        if (up < 0 || linkat(up, slash ? slash + 1 : target, dir, name, 0) < 0)
                return error_errno(u->err, -errno, "hard link to %s", archive_entry_hardlink(e));
        return 0;
}

static int make_file(struct unpack *u, struct archive_entry *e, int dir, const char *name) {
        _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return error_errno(u->err, -errno, "create");
        return copy_data(u, fd, archive_entry_size(e));
}

/* Makes the thing itself; what follows is common to all kinds. */
static int make_node(struct unpack *u, struct archive_entry *e, int dir, const char *name) {
        mode_t type = archive_entry_filetype(e);
        int k;

        switch (type) {
        case S_IFREG:
                return make_file(u, e, dir, name);
        case S_IFDIR:
                k = mkdirat(dir, name, 0700);
                if (k < 0 && errno == EEXIST)
                        k = 0;
                break;
        case S_IFLNK:
                k = symlinkat(archive_entry_symlink(e) ? archive_entry_symlink(e) : "", dir, name);
                break;
        case S_IFCHR:
        case S_IFBLK:
                if (type == S_IFCHR && archive_entry_rdev(e) == 0)
                        return error_set(u->err, -EBADMSG, "character device 0:0");
                k = mknodat(dir, name, type | 0600, archive_entry_rdev(e));
                break;
        case S_IFIFO:
                k = mknodat(dir, name, S_IFIFO | 0600, 0);
                break;
        default:
                return 0; /* sockets have no content */
        }
        return k < 0 ? error_errno(u->err, -errno, "create") : 0;
}

static int set_attributes(struct unpack *u, struct archive_entry *e, int dir, const char *name, const char *path) {
        mode_t type = archive_entry_filetype(e);
        struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
                                     { archive_entry_mtime(e), archive_entry_mtime_nsec(e) } };

        if (type == S_IFSOCK)
                return 0;
        if (fchownat(dir, name, (uid_t) archive_entry_uid(e), (gid_t) archive_entry_gid(e), AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(u->err, -errno, "chown");
        TRY(set_xattrs(u, e, dir, name));
        if (type != S_IFLNK && fchmodat(dir, name, archive_entry_perm(e), 0) < 0) /* after chown, which drops setuid */
                return error_errno(u->err, -errno, "chmod");
        if (!archive_entry_mtime_is_set(e))
                return 0;
        if (type == S_IFDIR && u->times.n < 1000000)
                vec_push(&u->times, (struct dir_time) { xstrdup(path), times[1] });
        else if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
                return error_errno(u->err, -errno, "set time");
        return 0;
}

static int set_root_attributes(struct unpack *u, struct archive_entry *e) {
        if (archive_entry_filetype(e) != S_IFDIR)
                return error_set(u->err, -EBADMSG, "the root is not a directory");
        if (fchown(u->root, (uid_t) archive_entry_uid(e), (gid_t) archive_entry_gid(e)) < 0 ||
            fchmod(u->root, archive_entry_perm(e)) < 0)
                return error_errno(u->err, -errno, "set attributes of the root");
        return 0;
}

static int unpack_entry(struct unpack *u, struct archive_entry *e) {
        _cleanup_free_ char *path = archive_entry_pathname(e) ? xstrdup(archive_entry_pathname(e)) : NULL;
        bool is_dir = archive_entry_filetype(e) == S_IFDIR && !archive_entry_hardlink(e), opaque = false;
        struct stat st;
        const char *name;
        int dir, r;

        if (!path || clean_path(path) < 0)
                return error_set(u->err, -EBADMSG, "invalid path \"%s\"", path ? path : "");
        if (!*path)
                return set_root_attributes(u, e);
        TRY(open_parent(u, path, &dir, &name));
        if (strncmp(name, ".wh.", 4) == 0)
                return u->n_parents > 0 ? whiteout(u, dir, name + 4) : 0;
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
                opaque = is_dir && is_whiteout(&st);
                if (!is_dir || !S_ISDIR(st.st_mode))
                        TRY(remove_at(u, dir, name, S_ISDIR(st.st_mode)));
        } else
                u->inodes++;
        if (archive_entry_hardlink(e))
                return hard_link(u, e, dir, name);
        r = make_node(u, e, dir, name);
        if (r >= 0)
                r = set_attributes(u, e, dir, name, path);
        if (r >= 0 && opaque) {
                _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                if (fd < 0 || fsetxattr(fd, OPAQUE, "y", 1, 0) < 0)
                        return error_errno(u->err, -errno, "set " OPAQUE);
        }
        return r;
}

static la_ssize_t read_block(struct archive *a, void *arg, const void **ret) {
        struct unpack *u = arg;
        ssize_t n = stream_read(u->stream, ret, u->err);

        if (n < 0)
                archive_set_error(a, (int) -n, "%s", error_text(u->err));
        return n;
}

static int unpack_all(struct unpack *u) {
        struct archive_entry *e;
        const void *rest;
        uint64_t n = 0;
        int k, r;

        while ((k = archive_read_next_header(u->tar, &e)) != ARCHIVE_EOF) {
                if (k < ARCHIVE_WARN)
                        return u->err->err ? u->err->err
                                           : error_set(u->err, -EBADMSG, "tar: %s", archive_error_string(u->tar));
                if (++n > LAYER_MAX_ENTRIES)
                        return error_set(u->err, -EFBIG, "more than %u entries", LAYER_MAX_ENTRIES);
                r = unpack_entry(u, e);
                if (r == -EBADMSG && !u->err->err)
                        return error_set(u->err, r, "tar: %s", archive_error_string(u->tar));
                if (r < 0)
                        return error_prefix(u->err, "%s", archive_entry_pathname(e) ? archive_entry_pathname(e) : "?");
        }
        for (size_t i = u->times.n; i-- > 0;) {
                struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, u->times.v[i].mtime };
                _cleanup_close_ int fd = open_in_root(u->root, u->times.v[i].path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);

                if (fd >= 0)
                        (void) futimens(fd, times); /* a later entry may have replaced the directory */
        }
        /* The digest covers what follows the end mark, too. */
        while ((k = (int) stream_read(u->stream, &rest, u->err)) > 0)
                ;
        return k;
}

int layer_unpack(int blob_fd, int dir_fd, const int *parents, size_t n_parents, struct unpack_result *ret,
                 struct error *err) {
        _cleanup_error_ struct error own = ERROR_INIT;
        _cleanup_(stream_closep) struct stream *s = NULL;
        struct unpack u = { .err = &own, .root = dir_fd, .parents = parents, .n_parents = n_parents, .dir_fd = -1 };
        int r;

        TRY(stream_open(blob_fd, LAYER_MAX_BYTES, &s, err));
        u.stream = s;
        u.tar = archive_read_new();
        archive_read_support_format_tar(u.tar);
        archive_read_support_format_empty(u.tar);
        if (archive_read_open(u.tar, &u, NULL, read_block, NULL) != ARCHIVE_OK)
                r = error_set(&own, -EBADMSG, "tar: %s", archive_error_string(u.tar));
        else
                r = unpack_all(&u);
        archive_read_free(u.tar);
        closep(&u.dir_fd);
        free(u.dir_path);
        for (size_t i = 0; i < u.times.n; i++)
                free(u.times.v[i].path);
        vec_free(&u.times);
        if (r < 0) {
                if (err)
                        error_move(err, &own);
                return r;
        }
        *ret = (struct unpack_result) { .bytes = u.bytes, .inodes = u.inodes };
        stream_digest(s, ret->diff_id);
        return 0;
}

/* The tar format has no holes here: they are written as zeros. */
static int pack_data(struct archive *disk, struct archive *tar) {
        static const char zeros[64 << 10];
        la_int64_t done = 0;

        for (;;) {
                const void *p;
                size_t n;
                la_int64_t at;
                int k = archive_read_data_block(disk, &p, &n, &at);

                if (k < ARCHIVE_WARN)
                        return -EIO;
                while (done < at) { /* at the end, at is the size */
                        la_ssize_t w = archive_write_data(tar, zeros,
                                                          (size_t) MIN(at - done, (la_int64_t) sizeof(zeros)));

                        if (w <= 0)
                                return -EIO;
                        done += w;
                }
                if (k == ARCHIVE_EOF)
                        return 0;
                if (archive_write_data(tar, p, n) < 0)
                        return -EIO;
                done += (la_int64_t) n;
        }
}

static int pack_entry(struct archive *disk, struct archive *tar, struct archive_entry *e, const char *root) {
        const char *rel = archive_entry_pathname(e) + strlen(root);
        _cleanup_free_ char *copy = xprintf("./%s", rel + strspn(rel, "/"));

        archive_entry_set_pathname(e, copy);
        archive_entry_set_uname(e, NULL);
        archive_entry_set_gname(e, NULL);
        if (archive_entry_filetype(e) == AE_IFSOCK)
                return 0;
        if (archive_write_header(tar, e) < ARCHIVE_WARN)
                return -EIO;
        return archive_entry_filetype(e) == AE_IFREG ? pack_data(disk, tar) : 0;
}

int tree_pack(const char *dir, int fd, struct error *err) {
        struct archive *disk = archive_read_disk_new(), *tar = archive_write_new();
        struct archive_entry *e = archive_entry_new();
        int r = 0;

        archive_read_disk_set_symlink_physical(disk);
        archive_read_disk_set_behavior(disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS);
        archive_write_set_format_pax_restricted(tar);
        archive_write_set_bytes_in_last_block(tar, 1);
        if (archive_write_open_fd(tar, fd) != ARCHIVE_OK || archive_read_disk_open(disk, dir) != ARCHIVE_OK)
                r = error_set(err, -EIO, "%s: %s", dir,
                              archive_error_string(disk) ? archive_error_string(disk) : archive_error_string(tar));
        while (r == 0) {
                int k = archive_read_next_header2(disk, e);

                if (k == ARCHIVE_EOF)
                        break;
                if (k < ARCHIVE_WARN || pack_entry(disk, tar, e, dir) < 0) {
                        const char *why = k < ARCHIVE_WARN ? archive_error_string(disk) : archive_error_string(tar);

                        r = error_set(err, -EIO, "%s: %s", dir, why ? why : "cannot be read");
                } else
                        archive_read_disk_descend(disk);
        }
        if (archive_write_close(tar) != ARCHIVE_OK && r == 0)
                r = error_set(err, -EIO, "%s", archive_error_string(tar));
        archive_entry_free(e);
        archive_write_free(tar);
        archive_read_free(disk);
        return r;
}
