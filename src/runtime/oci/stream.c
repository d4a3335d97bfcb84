/* exec, attach, resize and port-forward: descriptors into a container.
 *
 *   exec without a terminal   crun exec with our pipes as its 0, 1, 2
 *   exec with one             crun makes the pty inside and sends its master over a socket
 *   attach                    conmon's socket in the bundle: packets, first byte 2 (stdout) or 3 (stderr); in: stdin */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>

#include "base/file.h"
#include "base/rand.h"
#include "base/time.h"
#include "runtime/oci/oci.h"

#define EXEC_OUTPUT_MAX (16U << 20)

/* ---- exec ---- */

struct exec {
        struct container *c;
        int process;   /* a memfd with the process' description */
        char *pidfile; /* in the bundle; NULL: none wanted */
        int pid;
};

static void exec_done(struct runtime *r, struct exec *x) {
        if (x->pidfile)
                unlink(x->pidfile);
        free(x->pidfile);
        closep(&x->process);
        unit_put(r, x->c);
}

static void add_term(struct arena *a, struct json *process) {
        struct json env = json_copy_tree(a, json_getc(process, "env"));

        json_each_item(it, &env)
                if (str_has_prefix(json_str(it), STR("TERM=")))
                        return;
        json_push(a, &env, json_of_cstr("TERM=xterm"));
        json_setc(a, process, "env", env);
}

/* The container's own process with other arguments: same user, environment, directory and capabilities. */
static int write_process(const struct container *c, char *const argv[], bool tty, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 << 10);
        _cleanup_free_ char *path = xprintf("%s/config.json", c->dir);
        _cleanup_buf_ struct buf text = BUF_INIT, out = BUF_INIT;
        struct json *spec, process, args = json_new_array();

        TRY(file_read(path, 16 << 20, &text, err));
        TRY(json_parse(a, buf_str(&text), NULL, &spec, err));
        process = json_copy_shallow(a, json_getc(spec, "process"));
        for (size_t i = 0; argv[i]; i++)
                json_push(a, &args, json_of_cstr(argv[i]));
        json_setc(a, &process, "args", args);
        json_set_bool(a, &process, "terminal", tty);
        json_removec(&process, "oomScoreAdj");
        if (tty)
                add_term(a, &process);
        json_write(&out, &process);
        int fd = memfd_create("exec", MFD_CLOEXEC);
        if (fd < 0 || write(fd, out.p, out.n) != (ssize_t) out.n) {
                int r = error_errno(err, -errno, "memfd");
                closep(&fd);
                return r;
        }
        return fd;
}

static int exec_prepare(struct runtime *r, const char *id, char *const argv[], bool tty, struct exec *x,
                        struct error *err) {
        bool running;
        int k;

        *x = (struct exec) { .process = -1 };
        if (!argv[0])
                return error_set(err, -EINVAL, "you must specify at least one command for the container");
        TRY(container_get(r, id, &x->c, err));
        pthread_mutex_lock(&r->lock);
        running = x->c->state == CONTAINER_RUNNING;
        pthread_mutex_unlock(&r->lock);
        k = running ? write_process(x->c, argv, tty, err)
                    : error_set(err, -EINVAL, "container is in CONTAINER_EXITED state");
        x->process = k;
        if (k < 0)
                exec_done(r, x);
        return k;
}

static int exec_spawn(struct runtime *r, struct exec *x, const char *console, const int fds[static 3],
                      struct error *err) {
        _cleanup_free_ char *oci = NULL, *root = xprintf("--root=%s/crun", r->state_dir);
        char *argv[16];
        struct spawn s = { .argv = argv,
                           .fds = { fds[0], fds[1], fds[2] },
                           .fd3 = x->process,
                           .session = true,
                           .needs_cgroups = true };
        size_t n = 0;

        TRY(runtime_handler(r, x->c->handler, &oci, err));
        argv[n++] = oci;
        argv[n++] = root;
        argv[n++] = (char *) "exec";
        argv[n++] = (char *) "--process";
        argv[n++] = (char *) "/proc/self/fd/3";
        if (x->pidfile) {
                argv[n++] = (char *) "--pid-file";
                argv[n++] = x->pidfile;
        }
        if (console) {
                argv[n++] = (char *) "--console-socket";
                argv[n++] = (char *) console;
        }
        argv[n++] = x->c->id;
        argv[n] = NULL;
        return spawn_program(r, &s, &x->pid, err);
}

static int read_pidfile(const char *path) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t pid;

        if (file_read(path, 32, &b, NULL) < 0 || str_to_i64(str_trim(buf_str(&b)), &pid) < 0)
                return 0;
        return (int) pid;
}

/* Both the process inside and the OCI runtime that waits for it. */
static void exec_kill(const struct exec *x) {
        int inside = x->pidfile ? read_pidfile(x->pidfile) : 0;

        if (inside > 1)
                kill(inside, SIGKILL);
        kill(x->pid, SIGKILL);
}

/* false: this one has ended. */
static bool take(int fd, struct buf *dst) {
        char block[16384];
        ssize_t n = read(fd, block, sizeof(block));

        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return true;
        if (n <= 0)
                return false;
        buf_add(dst, block, MIN((size_t) n, EXEC_OUTPUT_MAX - MIN(dst->n, (size_t) EXEC_OUTPUT_MAX)));
        return true;
}

#define INTERRUPT_MS 500 /* how soon an exec notices runtime_interrupt() */

/* Collects both outputs until they close. -ETIMEDOUT, -ECANCELED */
static int collect(struct runtime *r, int out_fd, int err_fd, int timeout_ms, struct buf *out, struct buf *errout) {
        struct pollfd p[2] = { { .fd = out_fd, .events = POLLIN }, { .fd = err_fd, .events = POLLIN } };
        int64_t deadline = now_mono_ms() + timeout_ms;

        while (p[0].fd >= 0 || p[1].fd >= 0) {
                int64_t left = timeout_ms > 0 ? deadline - now_mono_ms() : 1 << 30;

                if (left <= 0)
                        return -ETIMEDOUT;
                if (__atomic_load_n(&r->interrupted, __ATOMIC_RELAXED))
                        return -ECANCELED;
                if (poll(p, 2, (int) MIN(left, (int64_t) INTERRUPT_MS)) < 0 && errno != EINTR)
                        return -errno;
                if (p[0].revents && !take(p[0].fd, out))
                        p[0].fd = -1;
                if (p[1].revents && !take(p[1].fd, errout))
                        p[1].fd = -1;
        }
        return 0;
}

static int make_pipe(int *ret_read, int *ret_write, struct error *err) {
        int p[2];

        if (pipe2(p, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        *ret_read = p[0];
        *ret_write = p[1];
        return 0;
}

int runtime_exec_sync(struct runtime *r, const char *id, char *const argv[], int timeout_ms, struct buf *out,
                      struct buf *errout, int *ret_exit_code, struct error *err) {
        _cleanup_close_ int out_read = -1, err_read = -1;
        int out_write = -1, err_write = -1, k;
        char suffix[13] = { 0 };
        struct exec x;

        TRY(exec_prepare(r, id, argv, false, &x, err));
        rand_suffix(suffix, 12);
        x.pidfile = timeout_ms > 0 ? xprintf("%s/exec-%s.pid", x.c->dir, suffix) : NULL;
        k = make_pipe(&out_read, &out_write, err);
        if (k >= 0)
                k = make_pipe(&err_read, &err_write, err);
        if (k >= 0)
                k = exec_spawn(r, &x, NULL, (int[]) { -1, out_write, err_write }, err);
        closep(&out_write);
        closep(&err_write);
        if (k >= 0) {
                k = collect(r, out_read, err_read, timeout_ms, out, errout);
                if (k < 0)
                        exec_kill(&x);
                int code = wait_program(x.pid);
                if (k == -ETIMEDOUT)
                        error_set(err, k, "command \"%s\" timed out", argv[0]);
                else if (k >= 0)
                        *ret_exit_code = code;
        }
        exec_done(r, &x);
        return k;
}

/* Receives the pty's master. */
static int receive_master(int listen_fd, int pid, struct error *err) {
        char byte[256], control[CMSG_SPACE(sizeof(int))];
        struct iovec iov = { byte, sizeof(byte) };
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
        };
        struct pollfd p = { .fd = listen_fd, .events = POLLIN };
        int master = -1;

        for (int waited = 0; poll(&p, 1, 50) == 0; waited += 50)
                if (waited > 10000 || kill(pid, 0) < 0)
                        return error_set(err, -EIO, "the OCI runtime made no terminal");
        _cleanup_close_ int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || recvmsg(fd, &m, MSG_CMSG_CLOEXEC) < 0)
                return error_errno(err, -errno, "receive the terminal");
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
                memcpy(&master, CMSG_DATA(c), sizeof(master));
        return master >= 0 ? master : error_set(err, -EIO, "the OCI runtime sent no terminal");
}

static int listen_console(const char *path, struct error *err) {
        struct sockaddr_un addr = { .sun_family = AF_UNIX };

        if (strlen(path) >= sizeof(addr.sun_path))
                return error_set(err, -ENAMETOOLONG, "socket path %s is too long", path);
        memcpy(addr.sun_path, path, strlen(path) + 1);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0 || listen(fd, 1) < 0) {
                int r = error_errno(err, -errno, "listen on %s", path);

                closep(&fd);
                return r;
        }
        return fd;
}

static int exec_tty(struct runtime *r, struct exec *x, struct runtime_stream *ret, struct error *err) {
        char suffix[9] = { 0 };
        _cleanup_free_ char *path = NULL;

        rand_suffix(suffix, 8);
        path = xprintf("%s/tty-%s", r->state_dir, suffix);
        _cleanup_close_ int listener = listen_console(path, err);
        if (listener < 0)
                return listener;
        int k = exec_spawn(r, x, path, (int[]) { -1, -1, -1 }, err);
        int master = k < 0 ? k : receive_master(listener, x->pid, err);
        unlink(path);
        if (master < 0) {
                if (k >= 0) {
                        exec_kill(x);
                        (void) wait_program(x->pid);
                }
                return master;
        }
        *ret = (struct runtime_stream) {
                .stdin_fd = -1, .stdout_fd = master, .stderr_fd = -1, .pid = x->pid, .tty = true
        };
        return 0;
}

static int exec_pipes(struct runtime *r, struct exec *x, const bool want[static 3], struct runtime_stream *ret,
                      struct error *err) {
        int ours[3] = { -1, -1, -1 }, theirs[3] = { -1, -1, -1 }, k = 0;

        for (int i = 0; i < 3 && k >= 0; i++)
                if (want[i])
                        k = i == 0 ? make_pipe(&theirs[i], &ours[i], err) : make_pipe(&ours[i], &theirs[i], err);
        if (k >= 0)
                k = exec_spawn(r, x, NULL, theirs, err);
        for (int i = 0; i < 3; i++) {
                closep(&theirs[i]);
                if (k < 0)
                        closep(&ours[i]);
        }
        if (k >= 0)
                *ret = (struct runtime_stream) {
                        .stdin_fd = ours[0], .stdout_fd = ours[1], .stderr_fd = ours[2], .pid = x->pid
                };
        return k;
}

int runtime_exec_start(struct runtime *r, const char *id, char *const argv[], bool want_stdin, bool want_stdout,
                       bool want_stderr, bool tty, struct runtime_stream *ret, struct error *err) {
        struct exec x;
        int k;

        TRY(exec_prepare(r, id, argv, tty, &x, err));
        k = tty ? exec_tty(r, &x, ret, err)
                : exec_pipes(r, &x, (bool[]) { want_stdin, want_stdout, want_stderr }, ret, err);
        exec_done(r, &x);
        return k;
}

int runtime_exec_wait(struct runtime *r, struct runtime_stream *s, int *ret_exit_code, struct error *err) {
        *ret_exit_code = wait_program(s->pid);
        return 0;
}

void runtime_stream_resize(struct runtime_stream *s, uint16_t columns, uint16_t rows) {
        struct winsize size = { .ws_col = columns, .ws_row = rows };

        if (s->tty && s->stdout_fd >= 0)
                (void) ioctl(s->stdout_fd, TIOCSWINSZ, &size);
}

/* ---- attach ---- */

int runtime_attach(struct runtime *r, const char *id, bool want_stdin, bool tty, int *ret_fd, struct error *err) {
        struct sockaddr_un addr = { .sun_family = AF_UNIX };
        _cleanup_close_ int dir = -1, fd = -1;
        struct container *c;

        TRY(container_get(r, id, &c, err));
        dir = open(c->dir, O_PATH | O_DIRECTORY | O_CLOEXEC); /* the whole path may be too long for a socket address */
        unit_put(r, c);
        if (dir < 0)
                return error_errno(err, -errno, "attach to container %s", id);
        snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/attach", dir);
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &addr, sizeof(addr)) < 0)
                return errno == ENOENT || errno == ECONNREFUSED
                                       ? error_set(err, -errno,
                                                   "failed to attach to container: container is in CONTAINER_EXITED "
                                                   "state")
                                       : error_errno(err, -errno, "attach to container %s", id);
        *ret_fd = fd;
        fd = -1;
        return 0;
}

static int control(struct runtime *r, const char *id, const char *message, struct error *err) {
        _cleanup_free_ char *path = NULL;
        struct container *c;

        TRY(container_get(r, id, &c, err));
        path = xprintf("%s/ctl", c->dir);
        unit_put(r, c);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0 || write(fd, message, strlen(message)) < 0)
                return error_errno(err, -errno, "control container %s", id);
        return 0;
}

int runtime_resize_container(struct runtime *r, const char *id, uint16_t columns, uint16_t rows, struct error *err) {
        _cleanup_free_ char *message = xprintf("1 %u %u\n", rows, columns);

        return control(r, id, message, err);
}

int runtime_reopen_log(struct runtime *r, const char *id, struct error *err) {
        struct container *c;

        TRY(container_get(r, id, &c, err));
        _cleanup_free_ char *path = xstrdup(c->log_path);
        unit_put(r, c);
        int k = control(r, id, "2 0 0\n", err);
        /* conmon does it a moment later. */
        for (int i = 0; k >= 0 && *path && !file_exists(path) && i < 1000; i++)
                usleep(1000);
        return k;
}

/* ---- port-forward ---- */

struct dial {
        uint16_t port;
        int fd;
};

static int connect_to(int family, const struct sockaddr *addr, socklen_t n) {
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

        if (fd < 0)
                return -errno;
        if (connect(fd, addr, n) == 0)
                return fd;
        r = -errno;
        close(fd);
        return r;
}

/* localhost, IPv4 first. */
static int dial(void *arg) {
        struct dial *d = arg;
        struct sockaddr_in v4 = { .sin_family = AF_INET,
                                  .sin_port = htons(d->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
                                   .sin6_port = htons(d->port),
                                   .sin6_addr = IN6ADDR_LOOPBACK_INIT };
        int r4 = connect_to(AF_INET, (struct sockaddr *) &v4, sizeof(v4));

        d->fd = r4 >= 0 ? r4 : connect_to(AF_INET6, (struct sockaddr *) &v6, sizeof(v6));
        return d->fd >= 0 ? 0 : r4;
}

int runtime_port_forward(struct runtime *r, const char *sandbox_id, uint16_t port, int *ret_fd, struct error *err) {
        struct dial d = { .port = port, .fd = -1 };
        struct sandbox *s;

        TRY(sandbox_get(r, sandbox_id, &s, err));
        int k = in_netns(s, dial, &d);
        if (k < 0)
                error_errno(err, k, "failed to connect to localhost:%u inside namespace \"%s\"", port, s->id);
        else
                *ret_fd = d.fd;
        unit_put(r, s);
        return k;
}
