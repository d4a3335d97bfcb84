/* A container's root: an overlay of the image's layers (read-only, shared) and a directory of its own.
 *
 *   root_dir/images/layers/7 : …/3     lowerdir, the upper-most first
 *   root_dir/containers/<id>/upper     what it writes
 *   state_dir/containers/<id>/rootfs   where it is seen */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "runtime/oci/oci.h"

#define OPTIONS_MAX 4095 /* mount(2) takes one page */

/* "/very/long/root/images/layers/7:…" by way of a descriptor, when the list would not fit. */
static char *shorten(const char *lowers, int layers_fd, const char *layers_dir) {
        struct str rest = str_of(lowers), one;
        struct buf b = BUF_INIT;
        size_t skip = strlen(layers_dir) + 1;

        while (str_split(&rest, ':', &one))
                buf_printf(&b, "%s/proc/self/fd/%d/%" STR_FMT, b.n ? ":" : "", layers_fd, STR_ARG(str_sub(one, skip, one.n)));
        return buf_take(&b, NULL);
}

int rootfs_mount(struct runtime *r, const struct container *c, const char *lowers, struct error *err) {
        _cleanup_free_ char *base = xprintf("%s/containers/%s", r->root_dir, c->id), *at = xprintf("%s/rootfs", c->dir);
        _cleanup_free_ char *layers = xprintf("%s/images/layers", r->root_dir), *options = NULL, *shorter = NULL, *empty = NULL;
        _cleanup_close_ int fd = -1;

        for (size_t i = 0; i < 3; i++) {
                static const char *const subs[] = { "", "/upper", "/work" };
                _cleanup_free_ char *path = xprintf("%s%s", base, subs[i]);

                /* upper is the root directory that the container sees: everybody may pass it */
                if (mkdir(path, i == 1 ? 0755 : 0700) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "mkdir %s", path);
        }
        if (mkdir(at, 0755) < 0 && errno != EEXIST)
                return error_errno(err, -errno, "mkdir %s", at);
        if (!*lowers) { /* an image without layers */
                empty = xprintf("%s/empty", base);
                if (mkdir(empty, 0755) < 0 && errno != EEXIST)
                        return error_errno(err, -errno, "mkdir %s", empty);
                lowers = empty;
        }
        options = xprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", lowers, base, base);
        if (strlen(options) > OPTIONS_MAX && lowers != empty) {
                fd = open(layers, O_PATH | O_DIRECTORY | O_CLOEXEC);
                shorter = shorten(lowers, fd, layers);
                free(options);
                options = xprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", shorter, base, base);
                if (strlen(options) > OPTIONS_MAX)
                        return error_set(err, -E2BIG, "the image has too many layers for overlayfs");
        }
        if (mount("overlay", at, "overlay", 0, options) < 0)
                return error_errno(err, -errno, "mount overlay on %s", at);
        return 0;
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
                k = strlen(options) > OPTIONS_MAX ? (errno = E2BIG, -1) : mount("overlay", at, "overlay", MS_RDONLY, options);
        else
                k = mount(lowers, at, NULL, MS_BIND, NULL) < 0 ? -1 : mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL);
        return k < 0 ? error_errno(err, -errno, "mount image on %s", at) : 0;
}

static int mount_volume(struct runtime *r, struct container *c, size_t i, struct str image, struct error *err) {
        _cleanup_free_ char *at = xprintf("%s/volumes/%zu", c->dir, i);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct image_use use;
        int k = image_store_use(r->images, a, image, &use, err);

        if (k < 0)
                return k;
        if (!c->images)
                c->images = json_new(c->arena, json_new_array());
        json_push(c->arena, c->images, json_of_copy(c->arena, str_of(use.id)));
        k = file_mkdirs(at, 0755, err);
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
        DIR *d = opendir(dir);
        struct dirent *e;

        while (d && (e = readdir(d))) {
                _cleanup_free_ char *at = xprintf("%s/%s", dir, e->d_name);

                while (e->d_name[0] != '.' && umount2(at, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
        }
        if (d)
                closedir(d);
        json_each_item(it, c->images) {
                _cleanup_free_ char *id = str_dup(json_str(it));

                image_store_release(r->images, id);
        }
}
