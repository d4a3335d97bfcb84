/* Mounts: sub-paths of volumes without a way out, and the end of all mounts of a pod.
 *
 * A container may change its volume while we mount part of it: a symbolic link to / in the right place would give it
 * the host. So the kernel resolves the path (openat2 with RESOLVE_BENEATH), and what is mounted is the descriptor, not
 * the path. */
#include "kubelet/volumes.h"

#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "base/file.h"

static int open_beneath(int dir, const char *path, uint64_t flags) {
        struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
        int fd = (int) syscall(SYS_openat2, dir, path, &how, sizeof(how));

        return fd < 0 ? -errno : fd;
}

/* With exactly this mode, whatever the umask. */
static int make_one(int dir, const char *name, mode_t mode) {
        if (mkdirat(dir, name, mode) < 0)
                return errno == EEXIST ? 0 : -errno;
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 || fchmod(fd, mode) < 0 ? -errno : 0;
}

/* Makes what is missing of sub, one directory at a time, never leaving the volume. */
static int make_beneath(int volume, struct str sub, mode_t mode) {
        struct str rest = sub, part;
        struct buf done = BUF_INIT;
        int r = 0;

        while (r >= 0 && str_split(&rest, '/', &part)) {
                if (str_empty(part))
                        continue;
                if (str_eqc(part, "..")) {
                        r = -EINVAL;
                        break;
                }
                int fd = done.n ? open_beneath(volume, done.p, O_PATH | O_DIRECTORY) : dup(volume);
                if (fd < 0) {
                        r = fd;
                        break;
                }
                _cleanup_free_ char *name = str_dup(part);

                r = make_one(fd, name, mode);
                close(fd);
                if (done.n)
                        buf_putc(&done, '/');
                buf_add_str(&done, part);
                buf_putc(&done, 0);
                done.n--;
        }
        buf_free(&done);
        return r;
}

static int open_sub(const char *volume_path, struct str sub, struct error *err) {
        _cleanup_close_ int volume = open(volume_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        _cleanup_free_ char *path = str_dup(sub);
        struct stat st;

        if (volume < 0)
                return error_errno(err, -errno, "open %s", volume_path);
        if (fstat(volume, &st) < 0)
                return error_errno(err, -errno, "stat %s", volume_path);
        int fd = open_beneath(volume, path, O_PATH);
        if (fd == -ENOENT) {
                int r = make_beneath(volume, sub, st.st_mode & 07777);
                if (r < 0)
                        return error_errno(err, r, "make sub-path %s", path);
                fd = open_beneath(volume, path, O_PATH);
        }
        if (fd < 0)
                return error_errno(err, fd, "sub-path %s", path);
        return fd;
}

static int make_target(const char *path, bool directory, struct error *err) {
        _cleanup_free_ char *parent = xstrdup(path);

        *strrchr(parent, '/') = 0;
        TRY(file_mkdirs(parent, 0750, err));
        if (directory)
                return file_mkdirs(path, 0750, err);
        return file_exists(path) ? 0 : file_write(path, STR(""), 0640, err);
}

int subpath_bind(struct pod *p, const char *volume_path, struct str volume, const char *container, size_t index,
                 struct str sub, char **ret_path, struct error *err) {
        struct str target = arena_printf(p->arena, "%s/volume-subpaths/%" STR_FMT "/%s/%zu", p->dir, STR_ARG(volume),
                                         container, index);
        char source[64];
        struct stat st;

        if (str_empty(sub) || sub.p[0] == '/')
                return error_set(err, -EINVAL, "error SubPath `%" STR_FMT "` must not be an absolute path",
                                 STR_ARG(sub));
        _cleanup_close_ int fd = open_sub(volume_path, sub, err);

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return error_errno(err, -errno, "stat sub-path");
        if (is_mount_point(target.p) && umount2(target.p, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
                return error_errno(err, -errno, "unmount %s", target.p); /* of the container before this one */
        TRY(make_target(target.p, S_ISDIR(st.st_mode), err));
        snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
        if (mount(source, target.p, NULL, MS_BIND, NULL) < 0)
                return error_errno(err, -errno, "bind sub-path %" STR_FMT, STR_ARG(sub));
        *ret_path = (char *) target.p;
        return 0;
}

/* ---- mounts ---- */

/* \040 and its kin in mountinfo. */
static char *unescape(struct str s) {
        char *out = xmalloc(s.n + 1), *o = out;

        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] == '\\' && i + 3 < s.n) {
                        *o++ = (char) ((s.p[i + 1] - '0') * 64 + (s.p[i + 2] - '0') * 8 + (s.p[i + 3] - '0'));
                        i += 3;
                } else
                        *o++ = s.p[i];
        *o = 0;
        return out;
}

/* Calls each with every mount point, in the order they were made. */
static int each_mount(void (*each)(const char *path, void *arg), void *arg, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str field;

        TRY(file_read("/proc/self/mountinfo", 64 << 20, &b, err));
        str_each(line, buf_str(&b), '\n') {
                size_t i = 0;

                while (i < 5 && str_split(&line, ' ', &field))
                        i++;
                if (i < 5)
                        continue;
                _cleanup_free_ char *path = unescape(field);
                each(path, arg);
        }
        return 0;
}

struct below {
        struct str dir;
        VEC(char *) found;
};

static void collect(const char *path, void *arg) {
        struct below *b = arg;
        struct str s = str_of(path);

        if (str_has_prefix(s, b->dir) && (s.n == b->dir.n || s.p[b->dir.n] == '/'))
                vec_push(&b->found, xstrdup(path));
}

int unmount_below(const char *dir, struct error *err) {
        struct below b = { .dir = str_of(dir) };
        int r = each_mount(collect, &b, err);

        while (b.found.n > 0) {
                char *path = vec_pop(&b.found);

                if (r >= 0 && umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
                        r = error_errno(err, -errno, "unmount %s", path);
                free(path);
        }
        vec_free(&b.found);
        return r;
}

bool is_mount_point(const char *path) {
        struct statx own, parent;
        _cleanup_free_ char *up = xprintf("%s/..", path);

        if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &own) < 0)
                return false;
        if (own.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT)
                return own.stx_attributes & STATX_ATTR_MOUNT_ROOT;
        return statx(AT_FDCWD, up, 0, STATX_MNT_ID, &parent) == 0 && own.stx_mnt_id != parent.stx_mnt_id;
}
