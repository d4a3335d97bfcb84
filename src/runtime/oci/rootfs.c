/* A container's root: an overlay of the image's layers (read-only, shared) and a directory of its own.
 *
 *   root_dir/images/layers/7 : …/3     lowerdir, the upper-most first
 *   root_dir/containers/<id>/upper     what it writes
 *   state_dir/containers/<id>/rootfs   where it is seen */
#include <sys/mount.h>

#include "base/file.h"
#include "base/log.h"
#include "runtime/oci/oci.h"

#define OPTIONS_MAX 4095 /* mount(2) takes one page */

/* "/very/long/root/images/layers/7:…" by way of a descriptor, when the list would not fit. */
static char *shorten(const char *lowers, int layers_fd, const char *layers_dir) {
        struct buf b = BUF_INIT;
        size_t skip = strlen(layers_dir) + 1;

        str_each(one, str_of(lowers), ':')
                buf_printf(&b, "%s/proc/self/fd/%d/%" STR_FMT, b.n ? ":" : "", layers_fd,
                           STR_ARG(str_sub(one, skip, one.n)));
        return buf_take(&b, NULL);
}

/* The container sees upper as its root directory: with the attributes that the image's root has. */
static int make_upper(const char *path, const char *lowers, struct error *err) {
        _cleanup_free_ char *top = str_dup(str_n(lowers, strcspn(lowers, ":")));
        struct stat st = { .st_mode = 0755 };

        if (*top && stat(top, &st) < 0)
                return error_errno(err, -errno, "stat %s", top);
        if ((mkdir(path, 0755) < 0 && errno != EEXIST) || chown(path, st.st_uid, st.st_gid) < 0 ||
            chmod(path, st.st_mode & 07777) < 0)
                return error_errno(err, -errno, "mkdir %s", path);
        return 0;
}

static int make_dir(const char *path, struct error *err) {
        return mkdir(path, 0700) < 0 && errno != EEXIST ? error_errno(err, -errno, "mkdir %s", path) : 0;
}

/* root_dir/containers/<id>/… and the mount point. An image without layers gets an empty one. */
static int make_dirs(const char *base, const char *at, const char *lowers, struct error *err) {
        _cleanup_free_ char *upper = xprintf("%s/upper", base), *work = xprintf("%s/work", base);
        _cleanup_free_ char *empty = xprintf("%s/empty", base);
        int k = make_dir(base, err);

        if (k >= 0)
                k = make_dir(work, err);
        if (k >= 0)
                k = make_dir(at, err);
        if (k >= 0 && !*lowers)
                k = make_dir(empty, err);
        return k < 0 ? k : make_upper(upper, lowers, err);
}

/* volatile: nothing of a container outlives the machine, so no sync(2) waits for the disk, not even the last. */
static int mount_overlay(const char *at, const char *lowers, const char *base, struct error *err) {
        _cleanup_free_ char *options =
                        xprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work,volatile", lowers, base, base);
        if (strlen(options) > OPTIONS_MAX)
                return error_set(err, -E2BIG, "the image has too many layers for overlayfs");
        if (mount("overlay", at, "overlay", 0, options) == 0)
                return 0;
        if (errno == EINVAL) { /* before Linux 5.10 */
                options[strlen(options) - strlen(",volatile")] = 0;
                if (mount("overlay", at, "overlay", 0, options) == 0)
                        return 0;
        }
        return error_errno(err, -errno, "mount overlay on %s", at);
}

int rootfs_mount(struct runtime *r, const struct container *c, const char *lowers, struct error *err) {
        _cleanup_free_ char *base = xprintf("%s/containers/%s", r->root_dir, c->id), *at = xprintf("%s/rootfs", c->dir);
        _cleanup_free_ char *layers = xprintf("%s/images/layers", r->root_dir), *empty = xprintf("%s/empty", base);
        _cleanup_free_ char *shorter = NULL;
        _cleanup_close_ int fd = -1;

        TRY(make_dirs(base, at, lowers, err));
        if (!*lowers)
                lowers = empty;
        else if (strlen(lowers) + 2 * strlen(base) + 48 > OPTIONS_MAX) {
                fd = open(layers, O_PATH | O_DIRECTORY | O_CLOEXEC);
                lowers = shorter = shorten(lowers, fd, layers);
        }
        return mount_overlay(at, lowers, base, err);
}

void rootfs_unmount(struct runtime *r, const struct container *c) {
        _cleanup_free_ char *at = xprintf("%s/rootfs", c->dir), *base = xprintf("%s/containers/%s", r->root_dir, c->id);
        _cleanup_error_ struct error err = ERROR_INIT;

        while (umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
        if (file_remove_tree(base, &err) < 0)
                log_warn("container %s: %s", c->id, error_text(&err));
}

/* ---- image volumes ---- */

/* overlayfs wants two lower directories where there is no upper one: a single one is bound. */
static int mount_layers(const char *lowers, const char *at, struct error *err) {
        _cleanup_free_ char *options = xprintf("lowerdir=%s", lowers);
        int k;

        if (strchr(lowers, ':'))
                k = strlen(options) > OPTIONS_MAX ? (errno = E2BIG, -1)
                                                  : mount("overlay", at, "overlay", MS_RDONLY, options);
        else
                k = mount(lowers, at, NULL, MS_BIND, NULL) < 0
                                    ? -1
                                    : mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
        return k < 0 ? error_errno(err, -errno, "mount image on %s", at) : 0;
}

static int mount_volume(struct runtime *r, struct container *c, size_t i, struct str image, struct error *err) {
        _cleanup_free_ char *at = xprintf("%s/volumes/%zu", c->dir, i);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image_use use;

        TRY(image_store_use(r->images, a, image, &use, err));
        if (!c->images)
                c->images = json_new(c->arena, json_new_array());
        json_push(c->arena, c->images, json_of_copy(c->arena, str_of(use.id)));
        int k = file_mkdirs(at, 0755, err);
        return k < 0 || str_empty(use.lowers) ? k : mount_layers(use.lowers.p, at, err);
}

int volumes_mount(struct runtime *r, struct container *c, const struct container_config *config, struct error *err) {
        int k = 0;

        for (size_t i = 0; i < config->n_mounts && k >= 0; i++)
                if (!str_empty(config->mounts[i].image))
                        k = mount_volume(r, c, i, config->mounts[i].image, err);
        return k;
}

void volumes_unmount(struct runtime *r, const struct container *c) {
        _cleanup_free_ char *dir = xprintf("%s/volumes", c->dir);
        _cleanup_(closedirp) DIR *d = opendir(dir);

        dir_each(e, d) {
                _cleanup_free_ char *at = xprintf("%s/%s", dir, e->d_name);

                while (e->d_name[0] != '.' && umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
        }
        json_each_item(it, c->images) {
                _cleanup_free_ char *id = str_dup(json_str(it));

                image_store_release(r->images, id);
        }
}
