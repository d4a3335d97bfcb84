/* The runtime as a whole: its tables, its references, its start. Locks, from the outermost:
 *
 *   sandbox.op │ container.op   one operation at a time on one of them (start, remove, …; a stop waits without it)
 *   container.save              state.json
 *   runtime.lock                the tables, references, every field that changes; for moments, never over a system call
 *                               that may block */
#include <linux/capability.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rand.h"
#include "helper_bytes.h"
#include "runtime/oci/oci.h"

void new_id(char dst[static 65]) {
        _cleanup_buf_ struct buf hex = BUF_INIT;
        char bytes[32];

        rand_bytes(bytes, sizeof(bytes));
        hex_encode(&hex, str_n(bytes, sizeof(bytes)));
        memcpy(dst, hex.p, 64);
        dst[64] = 0;
}

/* an absolute path, or NULL */
static char *find_program(const char *name) {
        const char *path = getenv("PATH");

        if (strchr(name, '/'))
                return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
        if (!path || !*path)
                path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        str_each(dir, str_of(path), ':') {
                char *file = xprintf("%" STR_FMT "/%s", STR_ARG(dir), name);

                if (!str_empty(dir) && access(file, X_OK) == 0)
                        return file;
                free(file);
        }
        return NULL;
}

int runtime_handler(const struct runtime *r, const char *handler, char **ret_path, struct error *err) {
        const char *name = handler && *handler ? handler : r->oci_runtime;
        char *path = strchr(name, '/') && name == handler ? NULL : find_program(name);

        if (!path)
                return error_set(err, -ENOENT, "no runtime for \"%s\" is configured", name);
        *ret_path = path;
        return 0;
}

/* ---- references ---- */

static struct map *table_of(struct runtime *r, const struct unit *u) {
        return unit_is_sandbox(u) ? r->sandboxes : r->containers;
}

static void release_unit(void *unit) {
        struct unit *u = unit;

        closep(&u->pidfd);
        pthread_mutex_destroy(&u->op);
        pthread_mutex_destroy(&u->save);
        arena_free(u->arena);
}

void unit_put(struct runtime *r, void *unit) {
        struct unit *u = unit;
        unsigned left;

        if (!u)
                return;
        with_lock(&r->lock)
                left = --u->refs;
        if (left == 0)
                release_unit(u);
}

/* Lock held. The id itself, or a prefix that only one has. */
static void *lookup(const struct map *m, const char *id) {
        void *found = map_get(m, str_of(id));

        if (found || strlen(id) < 6)
                return found;
        map_each(it, m) {
                if (!str_has_prefix(it.key, str_of(id)))
                        continue;
                if (found)
                        return NULL;
                found = it.value;
        }
        return found;
}

static int get(struct runtime *r, const struct map *table, const char *what, const char *id, struct unit **ret,
               struct error *err) {
        with_lock(&r->lock) {
                *ret = lookup(table, id);
                if (*ret)
                        (*ret)->refs++;
        }
        return *ret ? 0 : error_set(err, -ENOENT, "an error occurred when try to find %s \"%s\": not found", what, id);
}

int sandbox_get(struct runtime *r, const char *id, struct sandbox **ret, struct error *err) {
        return get(r, r->sandboxes, "sandbox", id, (struct unit **) ret, err);
}

int container_get(struct runtime *r, const char *id, struct container **ret, struct error *err) {
        return get(r, r->containers, "container", id, (struct unit **) ret, err);
}

void unit_publish(struct runtime *r, void *unit) {
        struct unit *u = unit;
        HOLD(&r->lock);

        u->refs++;
        map_put(table_of(r, u), str_of(u->id), u);
}

void unit_forget(struct runtime *r, void *unit) {
        struct unit *u = unit, *had = NULL;

        with_lock(&r->lock)
                had = map_take(table_of(r, u), str_of(u->id));
        unit_put(r, had);
}

size_t containers_of(struct runtime *r, const char *sandbox_id, struct container ***ret) {
        size_t n = 0;
        HOLD(&r->lock);

        *ret = xcalloc(map_size(r->containers) + 1, sizeof(**ret));
        map_each(it, r->containers) {
                struct container *c = it.value;

                if (sandbox_id && strcmp(c->sandbox_id, sandbox_id) != 0)
                        continue;
                c->refs++;
                (*ret)[n++] = c;
        }
        return n;
}

/* ---- start ---- */

static bool on_overlayfs(const char *path) {
        struct statfs fs;

        return statfs(path, &fs) == 0 && fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* overlayfs does not take another overlayfs as its writable layer, nor hold whiteouts for one: where root_dir is on one
 * (a container's own file system), what would be there moves to state_dir, if that is better. */
static int choose_root(struct runtime *r, struct error *err) {
        if (!on_overlayfs(r->root_dir))
                return 0;
        if (on_overlayfs(r->state_dir))
                return error_set(err, -ENOTSUP,
                                 "%s and %s are on overlayfs, which cannot hold containers: give a data directory on a "
                                 "disk or a volume",
                                 r->root_dir, r->state_dir);
        log_warn("%s is on overlayfs, which cannot hold containers: images and containers go to %s and are lost at a "
                 "reboot",
                 r->root_dir, r->state_dir);
        free(r->root_dir);
        r->root_dir = xprintf("%s/root", r->state_dir);
        return file_mkdirs(r->root_dir, 0700, err);
}

static int make_dirs(struct runtime *r, struct error *err) {
        static const char *const state[] = { "sandboxes", "ns", "containers", "exits", "crun" };
        _cleanup_free_ char *containers = NULL;
        int k = file_mkdirs(r->root_dir, 0711, err);

        for (size_t i = 0; i < ARRAY_SIZE(state) && k >= 0; i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", r->state_dir, state[i]);

                k = file_mkdirs(path, 0711, err);
        }
        if (k >= 0)
                k = choose_root(r, err);
        if (k < 0)
                return k;
        containers = xprintf("%s/containers", r->root_dir);
        return file_mkdirs(containers, 0711, err);
}

static int write_helper(struct runtime *r, struct error *err) {
        struct str bytes = str_n((const char *) helper_bytes, sizeof(helper_bytes));
        _cleanup_free_ char *tmp = NULL;
        _cleanup_buf_ struct buf have = BUF_INIT;

        r->helper = xprintf("%s/helper", r->root_dir);
        if (file_read(r->helper, 1 << 20, &have, NULL) >= 0 && str_eq(buf_str(&have), bytes) &&
            access(r->helper, X_OK) == 0)
                return 0;
        tmp = xprintf("%s.tmp", r->helper);
        int k = file_write(tmp, bytes, 0755, err);
        if (k >= 0 && (chmod(tmp, 0755) < 0 || rename(tmp, r->helper) < 0))
                k = error_errno(err, -errno, "install %s", r->helper);
        return k;
}

static void init_locks(struct runtime *r) {
        pthread_condattr_t attr;

        pthread_mutex_init(&r->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&r->changed, &attr);
        pthread_condattr_destroy(&attr);
}

static int runtime_open(struct runtime *r, const struct runtime_options *o, struct error *err) {
        _cleanup_free_ char *images = NULL, *program = NULL;

        r->conmon = find_program(o->conmon ? o->conmon : "conmon");
        if (!r->conmon)
                return error_set(err, -ENOENT, "%s is not installed", o->conmon ? o->conmon : "conmon");
        if (runtime_handler(r, NULL, &program, NULL) < 0)
                return error_set(err, -ENOENT, "%s is not installed", r->oci_runtime);
        TRY(make_dirs(r, err));
        TRY(write_helper(r, err));
        TRY(cgroups_detect(&r->cgroups, err));
        TRY(cgroup_create(&r->cgroups, r->cgroup_parent, err));
        TRY(cgroup_create(&r->cgroups, r->conmon_cgroup, err));
        images = xprintf("%s/images", r->root_dir);
        TRY(image_store_open(images, o->registries, &r->images, err));
        TRY(watch_start(r, err));
        return runtime_recover(r, err);
}

int runtime_new(const struct runtime_options *o, struct runtime **ret, struct error *err) {
        struct runtime *r = xcalloc(1, sizeof(*r));

        r->root_dir = xstrdup(o->root_dir ? o->root_dir : "/var/lib/cube/runtime");
        r->state_dir = xstrdup(o->state_dir ? o->state_dir : "/run/cube/runtime");
        r->oci_runtime = xstrdup(o->oci_runtime ? o->oci_runtime : "crun");
        r->cgroup_parent = xstrdup(o->cgroup_parent ? o->cgroup_parent : "/kubepods");
        r->conmon_cgroup = xprintf("%s-conmon", r->cgroup_parent);
        r->network = o->network;
        r->epoll = r->inotify = r->wake = -1;
        r->may_lower_oom_score = own_capabilities("CapEff:\t", 0) >> CAP_SYS_RESOURCE & 1;
        init_locks(r);
        r->sandboxes = map_new(release_unit);
        r->containers = map_new(release_unit);
        int k = runtime_open(r, o, err);
        if (k < 0) {
                runtime_free(r);
                return k;
        }
        *ret = r;
        return 0;
}

void runtime_interrupt(struct runtime *r) {
        image_store_interrupt(r->images);
        HOLD(&r->lock);
        __atomic_store_n(&r->interrupted, true, __ATOMIC_RELAXED);
        pthread_cond_broadcast(&r->changed);
}

void runtime_free(struct runtime *r) {
        if (!r)
                return;
        watch_stop(r);
        map_free(r->sandboxes);
        map_free(r->containers);
        image_store_close(r->images);
        cgroups_free(&r->cgroups);
        vec_free(&r->listeners);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->changed);
        free_all(r->root_dir, r->state_dir, r->oci_runtime, r->conmon, r->cgroup_parent, r->conmon_cgroup, r->helper,
                 r);
}
