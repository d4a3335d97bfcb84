/* Containers: created (files, overlay, config.json), started (conmon, the OCI runtime), stopped, removed, listed.
 *
 *   create ──▶ CREATED ──start──▶ RUNNING ──▶ EXITED ──remove──▶ (nothing)
 *                 └─ start fails (StartError, exit code 128) ──▶ EXITED
 *
 * As with containerd, nothing of the OCI runtime happens before the start. */
#include <poll.h>
#include <sys/syscall.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "json/build.h"
#include "runtime/oci/oci.h"

#define KILL_TIMEOUT_MS 10000

/* ---- create ---- */

static int signal_number(struct str name) {
        int64_t n;

        if (str_to_i64(name, &n) >= 0)
                return n > 0 && n <= SIGRTMAX ? (int) n : 0;
        if (str_has_prefix(name, STR("SIG")))
                name = str_sub(name, 3, name.n);
        for (int sig = 1; sig < NSIG; sig++) {
                const char *abbrev = sigabbrev_np(sig);

                if (abbrev && str_eqc(name, abbrev))
                        return sig;
        }
        if (str_has_prefix(name, STR("RTMIN+")) && str_to_i64(str_sub(name, 6, name.n), &n) >= 0 && n >= 0 &&
            SIGRTMIN + n <= SIGRTMAX)
                return SIGRTMIN + (int) n;
        return 0;
}

static struct json *mounts_kept(struct arena *a, const struct container_config *config) {
        struct json list = json_new_array();

        for (size_t i = 0; i < config->n_mounts; i++) {
                const struct mount_config *m = &config->mounts[i];

                json_push(a, &list,
                          json_build(a, "{ hostPath: %S, containerPath: %S, readonly: %b }", m->host_path,
                                     m->container_path, m->readonly));
        }
        return json_new(a, list);
}

static struct container *container_from(struct runtime *r, const struct sandbox *s,
                                        const struct container_config *config, const struct image_use *image) {
        _cleanup_free_ char *form = image_store_digest_form(r->images, image->id);
        struct container *c;
        struct arena *a;
        char id[65];

        new_id(id);
        c = container_new(r, id);
        a = c->arena;
        c->sandbox_id = arena_cstr(a, str_of(s->id));
        c->handler = arena_cstr(a, str_of(s->handler));
        c->name = arena_cstr(a, config->name);
        c->image = arena_cstr(a, config->image);
        c->image_id = arena_cstr(a, str_of(image->id));
        c->image_form = arena_cstr(a, str_of(form));
        c->attempt = config->attempt;
        c->created_ns = now_wall_ns();
        c->tty = config->tty;
        c->stdin_open = config->stdin_open;
        c->stdin_once = config->stdin_once;
        c->own_pid_ns = !s->host_pid && !s->share_pid && str_empty(config->target_container);
        c->cgroup = (char *) arena_printf(a, "%s/%s", s->cgroup, id).p;
        if (!str_empty(config->log_path) && *s->log_directory)
                c->log_path = (char *) arena_printf(a, "%s/%" STR_FMT, s->log_directory, STR_ARG(config->log_path)).p;
        c->labels = json_keep(a, config->labels);
        c->annotations = json_keep(a, config->annotations);
        c->mounts = mounts_kept(a, config);
        c->stop_signal = signal_number(json_str(json_getc(image->config.config, "StopSignal")));
        if (!c->stop_signal)
                c->stop_signal = SIGTERM;
        return c;
}

static int make_log_dir(const struct container *c, struct error *err) {
        _cleanup_free_ char *dir = xstrdup(c->log_path);
        char *slash = strrchr(dir, '/');

        if (!slash || slash == dir)
                return 0;
        *slash = 0;
        return file_mkdirs(dir, 0755, err);
}

static int make(struct runtime *r, const struct sandbox *s, struct container *c, const struct container_config *config,
                const struct image_use *image, struct error *err) {
        if (mkdir(c->dir, 0711) < 0)
                return error_errno(err, -errno, "mkdir %s", c->dir);
        TRY(make_log_dir(c, err));
        TRY(rootfs_mount(r, c, image->lowers.p, err));
        TRY(volumes_mount(r, c, config, err));
        TRY(spec_write(r, s, c, config, &image->config, err));
        return unit_save(r, c, err);
}

static bool sandbox_ready(struct runtime *r, struct sandbox *s) {
        HOLD(&r->lock);

        return s->state == SANDBOX_READY;
}

static int create(struct runtime *r, struct sandbox *s, const struct container_config *config, char **ret_id,
                  struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct container *c;
        struct image_use image;
        int k;

        if (!sandbox_ready(r, s))
                return error_set(err, -EINVAL, "sandbox \"%s\" is not ready", s->id);
        k = image_store_use(r->images, a, config->image, &image, err);
        if (k < 0)
                return error_prefix(err, "failed to get image \"%" STR_FMT "\"", STR_ARG(config->image));
        c = container_from(r, s, config, &image);
        k = make(r, s, c, config, &image, err);
        if (k < 0) {
                container_clean(r, c);
                image_store_release(r->images, image.id);
        } else {
                unit_publish(r, c);
                *ret_id = xstrdup(c->id);
        }
        unit_put(r, c);
        return k;
}

int runtime_create_container(struct runtime *r, const char *sandbox_id, const struct container_config *config,
                             char **ret_id, struct error *err) {
        struct sandbox *s;
        int k;

        TRY(sandbox_get(r, sandbox_id, &s, err));
        k = create(r, s, config, ret_id, err);
        unit_put(r, s);
        return k;
}

/* ---- start ---- */

static const char *state_name(int64_t state) {
        static const char *const names[] = { "CONTAINER_CREATED", "CONTAINER_RUNNING", "CONTAINER_EXITED",
                                             "CONTAINER_UNKNOWN" };

        return names[state >= 0 && state < 4 ? state : 3];
}

static void start_failed(struct runtime *r, struct container *c, struct error *err) {
        oci_delete(r, c);
        with_lock(&r->lock) {
                c->state = CONTAINER_EXITED;
                c->starting = false;
                c->reason = (char *) "StartError";
                c->message = arena_cstr(c->arena, str_of(error_text(err)));
                c->exit_code = 128;
                c->pid = 0;
                c->started_ns = 0;
                c->finished_ns = now_wall_ns();
                pthread_cond_broadcast(&r->changed);
        }
        (void) unit_save(r, c, NULL);
}

static int start(struct runtime *r, struct container *c, struct error *err) {
        int pid, k = 0;

        with_lock(&r->lock)
                k = c->state == CONTAINER_CREATED
                                    ? 0
                                    : error_set(err, -EINVAL, "container is in %s state", state_name(c->state));
        if (k < 0)
                return k;
        with_lock(&r->lock)
                c->starting = true;
        k = unit_save(r, c, err);
        if (k >= 0)
                k = conmon_start(r, c, &pid, err);
        if (k < 0) {
                start_failed(r, c, err);
                return k;
        }
        with_lock(&r->lock) {
                c->starting = false;
                c->pid = pid;
                c->pid_start = process_start_time(pid);
                c->state = CONTAINER_RUNNING; /* before the start: its end may come first */
                c->started_ns = now_wall_ns();
        }
        watch_container(r, c); /* while it waits for its start, the pid is surely its */
        k = unit_save(r, c, err);
        if (k >= 0)
                k = oci_start(r, c, err);
        if (k < 0)
                start_failed(r, c, err);
        return k;
}

int runtime_start_container(struct runtime *r, const char *id, struct error *err) {
        struct container *c;
        int k;

        TRY(container_get(r, id, &c, err));
        with_lock(&c->op)
                k = start(r, c, err);
        if (k < 0)
                error_prefix(err, "failed to create container task");
        unit_put(r, c);
        return k;
}

/* ---- stop ---- */

void container_signal(struct runtime *r, struct container *c, int sig) {
        HOLD(&r->lock);
        if (c->state == CONTAINER_RUNNING && c->pidfd >= 0)
                (void) syscall(SYS_pidfd_send_signal, c->pidfd, sig, NULL, 0);
}

/* true: it does not run any more. */
static bool wait_end(struct runtime *r, struct container *c, int64_t timeout_ms) {
        int64_t end = now_mono_ns() + timeout_ms * NSEC_PER_MSEC;
        struct timespec ts = { end / NSEC_PER_SEC, end % NSEC_PER_SEC };
        HOLD(&r->lock);

        while (c->state == CONTAINER_RUNNING && !r->interrupted)
                if (pthread_cond_timedwait(&r->changed, &r->lock, &ts) == ETIMEDOUT)
                        break;
        return c->state != CONTAINER_RUNNING;
}

int container_kill_all(struct runtime *r, struct container *c, int64_t timeout_ms, struct error *err) {
        container_signal(r, c, SIGKILL);
        if (wait_end(r, c, 0))
                return 0;
        cgroup_kill(&r->cgroups, c->cgroup);
        if (wait_end(r, c, timeout_ms))
                return 0;
        return error_set(err, -ETIMEDOUT, "container \"%s\" did not end after SIGKILL", c->id);
}

/* One that never started ends without having run. */
static bool end_created(struct runtime *r, struct container *c) {
        bool was = false;

        with_lock(&r->lock) {
                was = c->state == CONTAINER_CREATED;
                if (was) {
                        c->state = CONTAINER_EXITED;
                        c->exit_code = 128 + SIGKILL;
                        c->reason = (char *) "Error";
                        c->finished_ns = now_wall_ns();
                }
        }
        if (was)
                (void) unit_save(r, c, NULL);
        return was;
}

int runtime_stop_container(struct runtime *r, const char *id, int64_t grace_ms, struct error *err) {
        struct container *c;
        int k = 0;

        if (container_get(r, id, &c, NULL) < 0)
                return 0;
        with_lock(&c->op) /* not in the middle of a start */
                (void) end_created(r, c);
        if (grace_ms > 0)
                container_signal(r, c, (int) c->stop_signal);
        if (grace_ms <= 0 || !wait_end(r, c, grace_ms)) {
                if (grace_ms > 0 && __atomic_load_n(&r->interrupted, __ATOMIC_RELAXED))
                        k = error_set(err, -ECANCELED, "stopping container \"%s\" was interrupted", id);
                else
                        k = container_kill_all(r, c, KILL_TIMEOUT_MS, err);
        }
        unit_put(r, c);
        return k;
}

/* ---- remove ---- */

/* conmon ends by itself after its container; whoever looks for leftovers right after a removal shall find none. */
static void wait_conmon(const struct container *c) {
        _cleanup_free_ char *path = xprintf("%s/conmon.pid", c->dir), *cmdline = NULL;
        _cleanup_buf_ struct buf b = BUF_INIT, line = BUF_INIT;
        _cleanup_close_ int fd = -1;
        struct pollfd p = { .events = POLLIN };
        int64_t pid;

        if (file_read(path, 32, &b, NULL) < 0 || str_to_i64(str_trim(buf_str(&b)), &pid) < 0 || pid <= 1)
                return;
        p.fd = fd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
        cmdline = xprintf("/proc/%d/cmdline", (int) pid);
        if (fd < 0 || file_read(cmdline, 1 << 20, &line, NULL) < 0 ||
            !memmem(line.p ? line.p : "", line.n, c->id, strlen(c->id)))
                return; /* another one's pid by now */
        if (poll(&p, 1, 2000) == 0)
                (void) syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
}

void container_clean(struct runtime *r, struct container *c) {
        _cleanup_free_ char *exit_file = xprintf("%s/exits/%s", r->state_dir, c->id);
        _cleanup_error_ struct error err = ERROR_INIT;

        oci_delete(r, c);
        wait_conmon(c);
        if (!c->own_pid_ns)
                cgroup_kill(&r->cgroups, c->cgroup);
        cgroup_remove(&r->cgroups, c->cgroup);
        volumes_unmount(r, c);
        rootfs_unmount(r, c);
        unlink(exit_file);
        if (file_remove_tree(c->dir, &err) < 0)
                log_warn("container %s: %s", c->id, error_text(&err));
}

static int remove_container(struct runtime *r, struct container *c, struct error *err) {
        int k;

        (void) end_created(r, c);
        TRY(container_kill_all(r, c, KILL_TIMEOUT_MS, err));
        with_lock(&r->lock)
                k = map_has(r->containers, str_of(c->id));
        if (!k) /* somebody was quicker */
                return 0;
        container_clean(r, c);
        unit_forget(r, c);
        image_store_release(r->images, c->image_id);
        return 0;
}

int runtime_remove_container(struct runtime *r, const char *id, struct error *err) {
        struct container *c;
        int k;

        if (container_get(r, id, &c, NULL) < 0)
                return 0;
        with_lock(&c->op)
                k = remove_container(r, c, err);
        unit_put(r, c);
        return k;
}

/* ---- looking ---- */

/* Lock held. */
static void status_of(struct arena *a, const struct container *c, struct container_status *ret) {
        *ret = (struct container_status) {
                .id = arena_cstr(a, str_of(c->id)),
                .sandbox_id = arena_cstr(a, str_of(c->sandbox_id)),
                .name = arena_cstr(a, str_of(c->name)),
                .attempt = (uint32_t) c->attempt,
                .state = (enum container_state) c->state,
                .created_ns = c->created_ns,
                .started_ns = c->started_ns,
                .finished_ns = c->finished_ns,
                .exit_code = (int) c->exit_code,
                .pid = c->state == CONTAINER_RUNNING ? (int) c->pid : 0,
                .reason = arena_cstr(a, str_of(c->reason)),
                .message = arena_cstr(a, str_of(c->message)),
                .image = arena_cstr(a, str_of(c->image)),
                .image_id = arena_cstr(a, str_of(c->image_form)),
                .log_path = arena_cstr(a, str_of(c->log_path)),
                .labels = json_keep(a, c->labels),
                .annotations = json_keep(a, c->annotations),
                .mounts = json_keep(a, c->mounts),
        };
}

int runtime_list_containers(struct runtime *r, struct arena *a, const char *sandbox_id, struct container_status **ret,
                            size_t *ret_n, struct error *err) {
        struct container_status *list;
        size_t n = 0;

        pthread_mutex_lock(&r->lock);
        list = arena_array(a, struct container_status, map_size(r->containers) + 1);
        map_each(it, r->containers) {
                const struct container *c = it.value;

                if (!sandbox_id || strcmp(c->sandbox_id, sandbox_id) == 0)
                        status_of(a, c, &list[n++]);
        }
        pthread_mutex_unlock(&r->lock);
        *ret = list;
        *ret_n = n;
        return 0;
}
