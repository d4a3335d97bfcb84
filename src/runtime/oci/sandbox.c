/* Sandboxes: namespaces, the files that containers share (resolv.conf, hostname, /dev/shm), the pod's cgroup and its
 * network. */
#include <sys/mount.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

/* ---- making ---- */

static void keep(struct arena *a, char **to, struct str s) {
        *to = arena_cstr(a, s);
}

static struct sandbox *sandbox_from(struct runtime *r, const struct sandbox_config *c) {
        char id[65], host[65] = "";

        new_id(id);
        struct sandbox *s = sandbox_new(r, id);
        keep(s->arena, &s->name, c->name);
        keep(s->arena, &s->namespace, c->namespace);
        keep(s->arena, &s->uid, c->uid);
        if (str_empty(c->hostname))
                gethostname(host, sizeof(host) - 1);
        keep(s->arena, &s->hostname, str_empty(c->hostname) ? str_of(host) : c->hostname);
        keep(s->arena, &s->log_directory, c->log_directory);
        keep(s->arena, &s->handler, c->runtime_handler);
        s->cgroup = (char *) arena_printf(s->arena, "%s%s%" STR_FMT, r->cgroup_parent,
                                          str_empty(c->cgroup_parent) ? "" : "/", STR_ARG(c->cgroup_parent))
                                    .p;
        s->attempt = c->attempt;
        s->created_ns = now_wall_ns();
        s->host_network = c->host_network;
        s->host_ipc = c->host_ipc;
        s->host_pid = c->host_pid;
        s->share_pid = c->share_process_namespace && !c->host_pid;
        s->labels = json_keep(s->arena, c->labels);
        s->annotations = json_keep(s->arena, c->annotations);
        return s;
}

static void add_words(struct buf *b, const char *keyword, const struct json *words, bool one_line) {
        if (one_line && json_len(words) > 0)
                buf_addc(b, keyword);
        json_each_item(it, words)
                buf_printf(b, "%s%s%" STR_FMT "%s", one_line ? "" : keyword, " ", STR_ARG(json_str(it)),
                           one_line ? "" : "\n");
        if (one_line && json_len(words) > 0)
                buf_putc(b, '\n');
}

/* Everybody in the containers may read it, whatever our umask. */
static int write_public(const char *path, struct str text, struct error *err) {
        int r = file_write(path, text, 0644, err);

        return r >= 0 && chmod(path, 0644) < 0 ? error_errno(err, -errno, "chmod %s", path) : r;
}

static int write_resolv_conf(const struct sandbox *s, const struct json *dns, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/resolv.conf", s->dir);
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!dns) {
                int r = file_read("/etc/resolv.conf", 1 << 20, &b, err);

                if (r < 0 && r != -ENOENT)
                        return r;
        } else {
                add_words(&b, "search", json_getc(dns, "searches"), true);
                add_words(&b, "nameserver", json_getc(dns, "servers"), false);
                add_words(&b, "options", json_getc(dns, "options"), true);
        }
        return write_public(path, buf_str(&b), err);
}

static int make_files(const struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        _cleanup_free_ char *hostname = xprintf("%s/hostname", s->dir), *shm = xprintf("%s/shm", s->dir),
                            *line = xprintf("%s\n", s->hostname);
        int r = write_resolv_conf(s, c->dns, err);

        if (r >= 0)
                r = write_public(hostname, str_of(line), err);
        if (r < 0 || s->host_ipc)
                return r;
        if (mkdir(shm, 01777) < 0 ||
            mount("shm", shm, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "mode=1777,size=65536k") < 0)
                return error_errno(err, -errno, "mount tmpfs on %s", shm);
        return 0;
}

static int make_cgroup(struct runtime *r, const struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        int k = cgroup_create(&r->cgroups, s->cgroup, err);

        return k < 0 || !c->cgroup_resources ? k : cgroup_apply(&r->cgroups, s->cgroup, c->cgroup_resources, err);
}

/* Shared PID namespace: the helper becomes its init. */
static int start_pause(struct runtime *r, struct sandbox *s, struct error *err) {
        char *argv[] = { r->helper, (char *) "pause", NULL };
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        struct spawn sp = {
                .argv = argv, .fd3 = -1, .fds = { -1, -1, -1 }, .cgroup = r->conmon_cgroup, .session = true
        };
        char digits[32] = "";
        int p[2], pid;

        if (!s->share_pid)
                return 0;
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        read_fd = p[0];
        sp.fds[1] = write_fd = p[1];
        TRY(spawn_program(r, &sp, &pid, err));
        close(write_fd);
        write_fd = -1;
        ssize_t n = read(read_fd, digits, sizeof(digits) - 1);
        if (wait_program(pid) != 0 || n <= 0 || atoi(digits) <= 1)
                return error_set(err, -EIO, "cannot make a PID namespace for the pod");
        s->pause_pid = atoi(digits);
        return 0;
}

static int attach_network(struct runtime *r, struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        _cleanup_free_ char *netns = xprintf("%s/net", s->ns);
        char ips[2][46] = { "", "" };

        if (s->host_network || !r->network)
                return 0;
        int k = r->network->attach(r->network, s->id, netns, c->annotations, c->hostports, ips, err);
        if (k < 0)
                return error_prefix(err, "failed to setup network for sandbox \"%s\"", s->id);
        keep(s->arena, &s->ips[0], str_of(ips[0]));
        keep(s->arena, &s->ips[1], str_of(ips[1]));
        return 0;
}

static int make(struct runtime *r, struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        _cleanup_free_ char *program = NULL;
        int k = runtime_handler(r, s->handler, &program, err);

        if (k < 0)
                return error_prefix(err, "failed to get sandbox runtime");
        if (mkdir(s->dir, 0711) < 0)
                return error_errno(err, -errno, "mkdir %s", s->dir);
        TRY(make_files(s, c, err));
        TRY(make_cgroup(r, s, c, err));
        TRY(namespaces_make(r, s, c, err));
        TRY(attach_network(r, s, c, err));
        TRY(start_pause(r, s, err));
        return unit_save(r, s, err);
}

int runtime_run_sandbox(struct runtime *r, const struct sandbox_config *c, char **ret_id, struct error *err) {
        struct sandbox *s = sandbox_from(r, c);
        int k = make(r, s, c, err);

        if (k < 0)
                sandbox_clean(r, s, true);
        else {
                unit_publish(r, s);
                *ret_id = xstrdup(s->id);
        }
        unit_put(r, s);
        return k;
}

/* ---- ending ---- */

static void stop_pause(struct sandbox *s) {
        _cleanup_free_ char *comm = xprintf("/proc/%lld/comm", (long long) s->pause_pid);
        _cleanup_buf_ struct buf b = BUF_INIT;

        /* Its name tells it from a later process with its pid. */
        if (s->pause_pid > 1 && file_read(comm, 64, &b, NULL) >= 0 && str_eqc(str_trim(buf_str(&b)), "helper"))
                kill((pid_t) s->pause_pid, SIGKILL);
        s->pause_pid = 0;
}

static int detach_network(struct runtime *r, struct sandbox *s, struct error *err) {
        _cleanup_free_ char *netns = xprintf("%s/net", s->ns);

        if (s->host_network || !r->network)
                return 0;
        int k = r->network->detach(r->network, s->id, netns, err);
        return k < 0 ? error_prefix(err, "failed to destroy network for sandbox \"%s\"", s->id) : 0;
}

static void remove_files(struct sandbox *s) {
        _cleanup_free_ char *shm = xprintf("%s/shm", s->dir);
        _cleanup_error_ struct error err = ERROR_INIT;

        while (umount2(shm, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                ;
        if (file_remove_tree(s->dir, &err) < 0)
                log_warn("sandbox %s: %s", s->id, error_text(&err));
}

void sandbox_clean(struct runtime *r, struct sandbox *s, bool remove) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (s->state == SANDBOX_READY) {
                stop_pause(s);
                if (detach_network(r, s, &err) < 0)
                        log_warn("%s", error_text(&err));
        }
        namespaces_drop(s);
        if (!remove)
                return;
        if (strcmp(s->cgroup, r->cgroup_parent) != 0)
                cgroup_remove(&r->cgroups, s->cgroup);
        remove_files(s);
}

/* All at once: each may take its moment. */
static int kill_containers(struct runtime *r, struct sandbox *s, struct error *err) {
        struct container **list;
        size_t n = containers_of(r, s->id, &list);
        int k = 0;

        for (size_t i = 0; i < n; i++) /* first the signals … */
                container_signal(r, list[i], SIGKILL);
        for (size_t i = 0; i < n; i++) { /* … then the waiting */
                int one = container_kill_all(r, list[i], 10000, k < 0 ? NULL : err);

                if (one < 0 && k >= 0)
                        k = one;
                unit_put(r, list[i]);
        }
        free(list);
        return k;
}

static int stop(struct runtime *r, struct sandbox *s, struct error *err) {
        int k = kill_containers(r, s, err);

        if (k < 0)
                return k;
        with_lock(&r->lock)
                k = s->state == SANDBOX_NOTREADY;
        if (k)
                return 0;
        stop_pause(s);
        TRY(detach_network(r, s, err));
        namespaces_drop(s);
        with_lock(&r->lock)
                s->state = SANDBOX_NOTREADY;
        return unit_save(r, s, err);
}

int runtime_stop_sandbox(struct runtime *r, const char *id, struct error *err) {
        struct sandbox *s;
        int k;

        if (sandbox_get(r, id, &s, NULL) < 0)
                return 0;
        with_lock(&s->op)
                k = stop(r, s, err);
        unit_put(r, s);
        return k;
}

int runtime_remove_sandbox(struct runtime *r, const char *id, struct error *err) {
        struct container **list;
        struct sandbox *s;
        int k;

        if (sandbox_get(r, id, &s, NULL) < 0)
                return 0;
        with_lock(&s->op) {
                k = stop(r, s, err);
                size_t n = containers_of(r, s->id, &list);
                for (size_t i = 0; i < n; i++) {
                        if (k >= 0)
                                k = runtime_remove_container(r, list[i]->id, err);
                        unit_put(r, list[i]);
                }
                free(list);
                if (k >= 0) {
                        sandbox_clean(r, s, true);
                        unit_forget(r, s);
                }
        }
        unit_put(r, s);
        return k;
}

int runtime_remove_all(struct runtime *r, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct sandbox_status *list;
        size_t n;

        TRY(runtime_list_sandboxes(r, a, &list, &n, err));
        for (size_t i = 0; i < n; i++)
                TRY(runtime_remove_sandbox(r, list[i].id, err));
        cgroup_remove(&r->cgroups, r->cgroup_parent);
        cgroup_remove(&r->cgroups, r->conmon_cgroup);
        return 0;
}

/* ---- looking ---- */

/* Lock held. */
static void status_of(struct arena *a, const struct sandbox *s, struct sandbox_status *ret) {
        *ret = (struct sandbox_status) {
                .id = arena_cstr(a, str_of(s->id)),
                .name = arena_cstr(a, str_of(s->name)),
                .namespace = arena_cstr(a, str_of(s->namespace)),
                .uid = arena_cstr(a, str_of(s->uid)),
                .attempt = (uint32_t) s->attempt,
                .state = (enum sandbox_state) s->state,
                .created_ns = s->created_ns,
                .labels = json_keep(a, s->labels),
                .annotations = json_keep(a, s->annotations),
        };
        for (size_t i = 0; i < 2; i++)
                snprintf(ret->ips[i], sizeof(ret->ips[i]), "%s", s->ips[i]);
}

int runtime_sandbox_status(struct runtime *r, struct arena *a, const char *id, struct sandbox_status *ret,
                           struct error *err) {
        struct sandbox *s;

        TRY(sandbox_get(r, id, &s, err));
        pthread_mutex_lock(&r->lock);
        status_of(a, s, ret);
        pthread_mutex_unlock(&r->lock);
        unit_put(r, s);
        return 0;
}

int runtime_list_sandboxes(struct runtime *r, struct arena *a, struct sandbox_status **ret, size_t *ret_n,
                           struct error *err) {
        struct sandbox_status *list;
        size_t n = 0;

        pthread_mutex_lock(&r->lock);
        list = arena_array(a, struct sandbox_status, map_size(r->sandboxes) + 1);
        map_each(it, r->sandboxes)
                status_of(a, it.value, &list[n++]);
        pthread_mutex_unlock(&r->lock);
        *ret = list;
        *ret_n = n;
        return 0;
}

int runtime_set_resources(struct runtime *r, const char *id, const struct json *resources, struct error *err) {
        struct container *c;
        struct sandbox *s;
        int k;

        if (container_get(r, id, &c, NULL) >= 0) {
                k = cgroup_apply(&r->cgroups, c->cgroup, resources, err);
                unit_put(r, c);
                return k;
        }
        TRY(sandbox_get(r, id, &s, err));
        k = cgroup_apply(&r->cgroups, s->cgroup, resources, err);
        unit_put(r, s);
        return k;
}
