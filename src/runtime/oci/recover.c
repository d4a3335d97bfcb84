/* A new start: what a predecessor left on the disk becomes known again, what it left half made goes.
 *
 *   containers/<id>  no state.json          half made: cleaned
 *                    starting               died in the middle of a start: killed, exited with StartError
 *                    RUNNING, process there watched again
 *                    RUNNING, it is not     exited: the code is in exits/<id>, or lost
 *   sandboxes/<id>   no state.json          half made: cleaned
 *                    namespaces gone        its stop is finished: not ready
 *   another boot     everything of it goes */
#include "base/file.h"
#include "base/log.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

static void for_each_id(struct runtime *r, const char *base, const char *sub,
                        void (*fn)(struct runtime *r, const char *id)) {
        _cleanup_free_ char *dir = xprintf("%s/%s", base, sub);
        _cleanup_(closedirp) DIR *d = opendir(dir);

        dir_each(e, d)
                if (strlen(e->d_name) == 64)
                        fn(r, e->d_name);
}

/* ---- sandboxes ---- */

static void clean_sandbox(struct runtime *r, const char *id) {
        struct sandbox *s = sandbox_new(r, id);

        s->cgroup = r->cgroup_parent; /* not known: the kubelet collects pods' cgroups, too */
        sandbox_clean(r, s, true);
        unit_put(r, s);
}

static void recover_sandbox(struct runtime *r, const char *id) {
        struct sandbox *s;

        if (sandbox_load(r, id, &s, NULL) < 0) {
                log_info("sandbox %s was half made: removing it", id);
                return clean_sandbox(r, id);
        }
        if (s->state == SANDBOX_READY && !namespaces_there(s)) { /* died while stopping it */
                sandbox_clean(r, s, false);
                s->state = SANDBOX_NOTREADY;
                (void) unit_save(r, s, NULL);
        }
        unit_publish(r, s);
        unit_put(r, s);
}

static void recover_namespaces(struct runtime *r, const char *id) {
        if (!map_has(r->sandboxes, str_of(id)))
                clean_sandbox(r, id);
}

/* ---- containers ---- */

static void clean_container(struct runtime *r, const char *id) {
        struct container *c = container_new(r, id);

        c->own_pid_ns = true;
        container_clean(r, c);
        unit_put(r, c);
}

/* conmon, the helper and the OCI runtime name the container in their command lines. true: there was one. */
static bool kill_starters(const char *id) {
        _cleanup_(closedirp) DIR *d = opendir("/proc");
        bool found = false;

        dir_each(e, d) {
                _cleanup_free_ char *path = xprintf("/proc/%s/cmdline", e->d_name);
                _cleanup_buf_ struct buf b = BUF_INIT;
                int64_t pid;

                if (str_to_i64(str_of(e->d_name), &pid) < 0 || pid <= 1 || pid == getpid())
                        continue;
                if (file_read(path, 1 << 20, &b, NULL) < 0 || !b.n || !memmem(b.p, b.n, id, strlen(id)))
                        continue;
                found = kill((pid_t) pid, SIGKILL) == 0 || found;
        }
        return found;
}

static void end_lost_start(struct runtime *r, struct container *c) {
        for (int i = 0; kill_starters(c->id) && i < 100; i++)
                usleep(10000);
        oci_delete(r, c);
        c->starting = false;
        c->state = CONTAINER_EXITED;
        c->reason = (char *) "StartError";
        c->message = (char *) "the start of the container was interrupted";
        c->exit_code = 128;
        c->finished_ns = now_wall_ns();
        (void) unit_save(r, c, NULL);
}

static void recover_container(struct runtime *r, const char *id) {
        struct container *c;

        if (container_load(r, id, &c, NULL) < 0) {
                log_info("container %s was half made: removing it", id);
                return clean_container(r, id);
        }
        if (!map_has(r->sandboxes, str_of(c->sandbox_id))) {
                container_clean(r, c);
                return unit_put(r, c);
        }
        (void) image_store_hold(r->images, c->image_id);
        json_each_item(it, c->images)
                (void) image_store_hold(r->images, arena_cstr(c->arena, json_str(it)));
        unit_publish(r, c);
        if (c->starting)
                end_lost_start(r, c);
        else if (c->state == CONTAINER_RUNNING) {
                if (process_start_time((int) c->pid) == c->pid_start && c->pid_start >= 0)
                        watch_container(r, c);
                if (container_has_exit(r, id) || c->pidfd < 0)
                        container_exited(r, c);
        }
        unit_put(r, c);
}

/* A writable layer without a container. */
static void recover_layer(struct runtime *r, const char *id) {
        if (map_has(r->containers, str_of(id)))
                return;
        struct container *c = container_new(r, id);
        rootfs_unmount(r, c);
        unit_put(r, c);
}

static void recover_exit(struct runtime *r, const char *id) {
        _cleanup_free_ char *path = xprintf("%s/exits/%s", r->state_dir, id);

        if (!map_has(r->containers, str_of(id)))
                unlink(path);
}

/* ---- another boot ---- */

static void forget_sandbox(struct runtime *r, const char *id) {
        struct sandbox *s;

        if (sandbox_load(r, id, &s, NULL) < 0)
                return clean_sandbox(r, id);
        s->pause_pid = 0; /* somebody else's by now */
        sandbox_clean(r, s, true);
        unit_put(r, s);
}

/* state_dir is meant to be gone after a reboot. Where it is not (no tmpfs on /run), its processes and mounts are all
 * the same. */
static int forget_other_boot(struct runtime *r, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/boot", r->state_dir);
        _cleanup_buf_ struct buf now = BUF_INIT, then = BUF_INIT;

        TRY(file_read("/proc/sys/kernel/random/boot_id", 64, &now, err));
        if (file_read(path, 64, &then, NULL) >= 0 && str_eq(buf_str(&now), buf_str(&then)))
                return 0;
        for_each_id(r, r->state_dir, "containers", clean_container);
        for_each_id(r, r->state_dir, "sandboxes", forget_sandbox);
        return file_write(path, buf_str(&now), 0600, err);
}

int runtime_recover(struct runtime *r, struct error *err) {
        int k = forget_other_boot(r, err);

        if (k < 0)
                return k;
        for_each_id(r, r->state_dir, "sandboxes", recover_sandbox);
        for_each_id(r, r->state_dir, "ns", recover_namespaces);
        for_each_id(r, r->state_dir, "containers", recover_container);
        for_each_id(r, r->root_dir, "containers", recover_layer);
        for_each_id(r, r->state_dir, "exits", recover_exit);
        return 0;
}
