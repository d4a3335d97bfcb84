/* Starting programs: conmon (which holds a container for its whole life, and outlives us), the OCI runtime for single
 * commands.
 *
 *   us ──posix_spawn──▶ [helper: cgroup, hybrid] ──exec──▶ conmon ──fork──▶ conmon (session leader, child of init)
 *       ◀── fd 3: {"pid": 4711} or {"pid": -1, "message": "…"} ────────────┘  └─▶ crun create
 *
 * posix_spawn is a vfork underneath: it costs the same however large we are. */
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include "base/file.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

extern char **environ;

#define CREATE_TIMEOUT_MS 240000 /* what containerd gives a task */
#define MAX_ARGS 64

/* argv with the helper before it, where the helper has something to do. */
static void wrap(const struct runtime *r, const struct spawn *s, struct arena *a, char **argv) {
        bool hide = s->needs_cgroups && r->cgroups.mode == CGROUP_HYBRID;
        size_t n = 0;

        argv[n++] = r->helper;
        argv[n++] = (char *) "run";
        if (hide)
                argv[n++] = (char *) "u";
        for (size_t i = 0; s->cgroup && i < r->cgroups.n; i++)
                if (!r->cgroups.trees[i].in_root) {
                        argv[n++] = (char *) "g";
                        argv[n++] = (char *) arena_printf(a, "%s%s/cgroup.procs", r->cgroups.trees[i].mount, s->cgroup)
                                                    .p;
                }
        if (n == 2)
                n = 0; /* nothing to do */
        else
                argv[n++] = (char *) "--";
        for (size_t i = 0; s->argv[i]; i++)
                argv[n++] = s->argv[i];
        argv[n] = NULL;
}

static int file_actions(posix_spawn_file_actions_t *actions, const struct spawn *s) {
        int r = 0;

        for (int i = 0; i < 3 && r == 0; i++)
                r = s->fds[i] >= 0 ? posix_spawn_file_actions_adddup2(actions, s->fds[i], i)
                                   : posix_spawn_file_actions_addopen(actions, i, "/dev/null", i ? O_WRONLY : O_RDONLY,
                                                                      0);
        if (r == 0 && s->fd3 >= 0)
                r = posix_spawn_file_actions_adddup2(actions, s->fd3, 3);
        if (r == 0)
                r = posix_spawn_file_actions_addclosefrom_np(actions, s->fd3 >= 0 ? 4 : 3);
        return r;
}

int spawn_program(const struct runtime *r, const struct spawn *s, int *ret_pid, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none, all;
        size_t n = 0;
        pid_t pid;

        while (s->argv[n])
                n++;
        char **argv = arena_array(a, char *, n + 5 + 2 * r->cgroups.n);
        wrap(r, s, a, argv);
        sigemptyset(&none);
        sigfillset(&all);
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attr);
        int k = file_actions(&actions, s);
        posix_spawnattr_setflags(&attr, (short) (POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                 (s->session ? POSIX_SPAWN_SETSID : POSIX_SPAWN_SETPGROUP)));
        posix_spawnattr_setsigmask(&attr, &none);
        posix_spawnattr_setsigdefault(&attr, &all);
        if (k == 0)
                k = posix_spawn(&pid, argv[0], &actions, &attr, argv, s->env ? s->env : environ);
        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        if (k)
                return error_errno(err, -k, "run %s", argv[0]);
        *ret_pid = pid;
        return 0;
}

int wait_program(int pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return 255;
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Reads until the other side closes, a line is complete (line), or time is over. */
static int read_until(int fd, bool line, int timeout_ms, struct buf *dst) {
        int64_t deadline = now_mono_ms() + timeout_ms;

        for (;;) {
                struct pollfd p = { .fd = fd, .events = POLLIN };
                int64_t left = deadline - now_mono_ms();

                if (left <= 0)
                        return -ETIMEDOUT;
                if (poll(&p, 1, (int) MIN(left, (int64_t) INT32_MAX)) < 0 && errno != EINTR)
                        return -errno;
                if (!p.revents)
                        continue;
                ssize_t n = read(fd, buf_reserve(dst, 4096), 4096);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : 0;
                dst->n += (size_t) n;
                if (dst->n > 1 << 20 || (line && memchr(dst->p, '\n', dst->n)))
                        return 0;
        }
}

/* ---- conmon ---- */

static size_t conmon_args(struct runtime *r, const struct container *c, char *oci, struct arena *a, char **argv) {
        size_t n = 0;
        bool hide = r->cgroups.mode == CGROUP_HYBRID;
#define ARG(x) (argv[n++] = (char *) (x))
#define ARGF(...) (argv[n++] = (char *) arena_printf(a, __VA_ARGS__).p)

        ARG(r->conmon), ARG("-c"), ARG(c->id), ARG("-u"), ARG(c->id), ARG("-n"), ARG(c->name), ARG("-b"), ARG(c->dir);
        ARG("-p"), ARGF("%s/pidfile", c->dir), ARG("-P"), ARGF("%s/conmon.pid", c->dir);
        ARG("--exit-dir"), ARGF("%s/exits", r->state_dir), ARG("--full-attach"), ARG("--no-sync-log");
        ARG("--log-level"), ARG("error"), ARG("-l");
        if (*c->log_path)
                ARGF("k8s-file:%s", c->log_path);
        else
                ARG("none");
        /* conmon starts the OCI runtime: where that must not see all cgroups, it goes through the helper, too. */
        if (hide) {
                ARG("-r"), ARG(r->helper);
                ARG("--runtime-arg"), ARG("run"), ARG("--runtime-arg"), ARG("u"), ARG("--runtime-arg"), ARG("--");
                ARG("--runtime-arg"), ARG(oci);
        } else
                ARG("-r"), ARG(oci);
        ARG("--runtime-arg"), ARGF("--root=%s/crun", r->state_dir);
        if (c->tty)
                ARG("-t");
        if (c->stdin_open)
                ARG("-i");
        if (c->stdin_open && !c->stdin_once)
                ARG("--leave-stdin-open");
        argv[n] = NULL;
#undef ARG
#undef ARGF
        return n;
}

/* {"pid": 4711}, or the runtime's complaint. */
static int parse_answer(struct arena *a, struct str text, int *ret_pid, struct error *err) {
        struct json *j;

        if (json_parse(a, text, NULL, &j, NULL) < 0)
                return error_set(err, -EIO, "OCI runtime create failed: conmon ended without an answer");
        *ret_pid = (int) json_int(json_getc(j, "pid"));
        if (*ret_pid > 0)
                return 0;
        struct str message = str_trim(json_str(json_getc(j, "message")));
        return error_set(err, -EIO, "OCI runtime create failed: %" STR_FMT,
                         STR_ARG(str_empty(message) ? STR("unknown error") : message));
}

int conmon_start(struct runtime *r, struct container *c, int *ret_pid, struct error *err) {
        static char *const env[] = { (char *) "_OCI_SYNCPIPE=3",
                                     (char *) "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                     NULL };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf answer = BUF_INIT;
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        _cleanup_free_ char *oci = NULL;
        char *argv[MAX_ARGS];
        struct spawn s = {
                .argv = argv, .fds = { -1, -1, -1 }, .env = env, .cgroup = r->conmon_cgroup, .session = true
        };
        int p[2], pid, k;

        TRY(runtime_handler(r, c->handler, &oci, err));
        conmon_args(r, c, oci, a, argv);
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        read_fd = p[0];
        s.fd3 = write_fd = p[1];
        TRY(spawn_program(r, &s, &pid, err));
        close(write_fd);
        write_fd = -1;
        k = read_until(read_fd, true, CREATE_TIMEOUT_MS, &answer);
        (void) wait_program(pid); /* the first conmon; the one that stays is init's child */
        if (k < 0)
                return error_errno(err, k, "OCI runtime create failed");
        return parse_answer(a, buf_str(&answer), ret_pid, err);
}

/* ---- single commands of the OCI runtime ---- */

/* crun ARGS…; quotes its stderr */
static int oci_run(struct runtime *r, struct container *c, char *const args[], struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *oci = NULL;
        _cleanup_buf_ struct buf complaint = BUF_INIT;
        _cleanup_close_ int read_fd = -1, write_fd = -1;
        char *argv[MAX_ARGS];
        struct spawn s = { .argv = argv, .fd3 = -1, .needs_cgroups = true };
        int p[2], pid, code, k = runtime_handler(r, c->handler, &oci, err);
        size_t n = 0;

        if (k < 0)
                return k;
        argv[n++] = oci;
        argv[n++] = (char *) arena_printf(a, "--root=%s/crun", r->state_dir).p;
        while (*args && n < MAX_ARGS - 1)
                argv[n++] = *args++;
        argv[n] = NULL;
        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        read_fd = p[0];
        write_fd = p[1];
        s.fds[0] = s.fds[1] = -1;
        s.fds[2] = write_fd;
        TRY(spawn_program(r, &s, &pid, err));
        close(write_fd);
        write_fd = -1;
        (void) read_until(read_fd, false, CREATE_TIMEOUT_MS, &complaint);
        code = wait_program(pid);
        if (code == 0)
                return 0;
        return error_set(err, -EIO, "OCI runtime %s failed: %" STR_FMT, argv[2],
                         STR_ARG(str_trim(buf_str(&complaint))));
}

/* Loading crun takes longer (4 ms of CPU for its libraries) than what its `start` and `delete` then do: a byte into a
 * FIFO, and the removal of its directory. For crun both are done here; whatever does not look as expected goes to the
 * program itself. */
static bool is_crun(const struct runtime *r, const struct container *c) {
        const char *name = *c->handler ? c->handler : r->oci_runtime, *slash = strrchr(name, '/');

        return strcmp(slash ? slash + 1 : name, "crun") == 0;
}

static bool start_by_fifo(const struct runtime *r, const struct container *c) {
        _cleanup_free_ char *fifo = xprintf("%s/crun/%s/exec.fifo", r->state_dir, c->id);
        _cleanup_close_ int fd = open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode) || unlink(fifo) < 0)
                return false;
        return write(fd, "", 1) == 1;
}

int oci_start(struct runtime *r, struct container *c, struct error *err) {
        char *args[] = { (char *) "start", c->id, NULL };

        if (is_crun(r, c) && start_by_fifo(r, c))
                return 0;
        return oci_run(r, c, args, err);
}

void oci_delete(struct runtime *r, struct container *c) {
        char *args[] = { (char *) "delete", (char *) "--force", c->id, NULL };
        _cleanup_free_ char *state = xprintf("%s/crun/%s", r->state_dir, c->id);

        if (!file_exists(state))
                return;
        if (is_crun(r, c) && *c->cgroup)
                cgroup_kill(&r->cgroups, c->cgroup);
        else
                (void) oci_run(r, c, args, NULL);
        (void) file_remove_tree(state, NULL);
}
