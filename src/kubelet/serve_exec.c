/* exec, attach, run: a process on one side, a remote (remote.h) on the other, and between them descriptors on the
 * server's loop.
 *
 *   client ◀─ stdout, stderr ─ uv_poll ◀─ process
 *          ── stdin ──▶ queue ─ uv_poll ─▶
 *
 * What blocks (starting it, waiting for its end) is a task on the pool. */
#include "kubelet/remote.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define HIGH_WATER (256 * 1024)
#define BLOCK (32 * 1024)
#define RUN_TIMEOUT_MS (4 * 1000) /* within what the server waits for at its stop */

/* One descriptor of the process. */
struct pump {
        struct session *session;
        uv_poll_t poll;
        int fd;
        bool open; /* the handle exists */
        enum remote_channel channel;
};

struct session {
        struct kubelet *k;
        struct live live;
        struct remote *remote; /* NULL: the client is gone */
        struct remote_options o;
        struct loop *loop;
        struct task start, wait;
        char *id;    /* of the container */
        char **argv; /* NULL: attach */
        bool attach, container_tty, stdin_once;
        struct runtime_stream stream;
        struct pump in, out, err;
        struct buf input;
        uint16_t columns, rows; /* of its terminal, as last heard; 0: never */
        bool input_ended, waiting, starting, ended;
        int exit_code, result;
        struct error error;
        unsigned handles;
};

/* Freed when nothing can come any more: no task, no handle, no client. */
static void release(struct session *s) {
        if (s->starting || s->waiting || s->handles || s->remote)
                return;
        server_live_remove(s->k, &s->live);
        for (char **a = s->argv; a && *a; a++)
                free(*a);
        free(s->argv);
        free(s->id);
        buf_free(&s->input);
        error_clear(&s->error);
        free(s);
}

static void pump_closed(uv_handle_t *h) {
        struct pump *p = h->data;
        struct session *s = p->session;

        closep(&p->fd);
        p->fd = -1;
        s->handles--;
        release(s);
}

static void pump_close(struct pump *p) {
        if (!p->open)
                return;
        p->open = false;
        uv_close((uv_handle_t *) &p->poll, pump_closed);
}

static void pump_open(struct session *s, struct pump *p, int fd, enum remote_channel channel) {
        p->session = s;
        p->fd = fd;
        p->channel = channel;
        if (fd < 0)
                return;
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        if (uv_poll_init(loop_uv(s->loop), &p->poll, fd) < 0)
                return closep(&p->fd);
        p->poll.data = p;
        p->open = true;
        s->handles++;
}

/* ---- the end ---- */

static void finish(struct session *s) {
        if (!s->remote)
                return;
        if (s->result < 0)
                error_prefix(&s->error,
                             s->attach ? "error attaching to container" : "error executing command in container");
        remote_finish(s->remote, s->exit_code, s->result < 0 ? &s->error : NULL);
}

static void wait_run(struct task *t) {
        struct session *s = container_of(t, struct session, wait);

        s->result = runtime_exec_wait(s->k->runtime, &s->stream, &s->exit_code, &s->error);
}

static void wait_done(struct task *t) {
        struct session *s = container_of(t, struct session, wait);

        s->waiting = false;
        finish(s);
        release(s);
}

/* All output is read: what is left is the exit code. */
static void output_ended(struct session *s) {
        if (s->ended || s->out.open || s->err.open)
                return;
        s->ended = true;
        pump_close(&s->in);
        if (s->attach) {
                if (s->remote)
                        remote_finish(s->remote, 0, NULL);
                return;
        }
        s->waiting = true;
        s->wait = (struct task) { .run = wait_run, .done = wait_done, .loop = s->loop, .lasting = true };
        pool_submit(s->k->pool, &s->wait);
}

/* ---- output ---- */

/* conmon's attach socket: packets, whose first byte says 2: stdout, 3: stderr. */
static void deliver(struct session *s, struct pump *p, struct str data) {
        enum remote_channel channel = p->channel;

        if (s->attach) {
                channel = data.p[0] == 3 ? REMOTE_STDERR : REMOTE_STDOUT;
                data = str_sub(data, 1, data.n);
                if ((channel == REMOTE_STDERR && !s->o.err) || (channel == REMOTE_STDOUT && !s->o.out))
                        return;
        }
        if (s->remote)
                remote_write(s->remote, channel, data);
}

static void readable(uv_poll_t *poll, int status, int events) {
        struct pump *p = poll->data;
        struct session *s = p->session;
        char block[BLOCK];

        for (;;) {
                if (s->remote && remote_pending(s->remote) > HIGH_WATER) {
                        uv_poll_stop(&p->poll); /* drained starts it again */
                        return;
                }
                ssize_t n = read(p->fd, block, sizeof(block));
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n <= 0) /* the other end of a pty that is closed gives EIO */
                        break;
                deliver(s, p, str_n(block, (size_t) n));
        }
        pump_close(p);
        output_ended(s);
}

static void drained(struct remote *r, void *arg) {
        struct session *s = arg;

        if (s->out.open)
                uv_poll_start(&s->out.poll, UV_READABLE, readable);
        if (s->err.open)
                uv_poll_start(&s->err.poll, UV_READABLE, readable);
}

/* ---- input ---- */

static void write_input(struct session *s);

static void writable(uv_poll_t *poll, int status, int events) {
        struct pump *p = poll->data;

        write_input(p->session);
}

static void end_process(struct session *s);

/* Who attached and has nothing more to say leaves, unless that ends the input of the container, too (stdinOnce). */
static void end_input(struct session *s) {
        if (s->attach && (!s->stdin_once || s->container_tty))
                end_process(s);
        else if (s->attach)
                shutdown(s->out.fd, SHUT_WR);
        else if (s->o.tty) {
                static const char eot = 4; /* ^D: a terminal has no other way to say it */

                if (write(s->in.fd, &eot, 1) < 0)
                        log_debug("kubelet: end of input: %s", strerrordesc_np(errno));
        } else
                pump_close(&s->in);
}

static void write_input(struct session *s) {
        ssize_t n = 0;

        if (!s->in.open)
                return;
        while (s->input.n > 0) {
                n = write(s->attach ? s->out.fd : s->in.fd, s->input.p,
                          MIN(s->input.n, (size_t) 8192)); /* a packet, where the socket has them */
                if (n <= 0)
                        break;
                buf_consume(&s->input, (size_t) n);
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
                s->input.n = 0; /* it closed its stdin */
                if (!s->attach)
                        pump_close(&s->in);
                return;
        }
        if (s->input.n > 0) {
                uv_poll_start(&s->in.poll, UV_WRITABLE, writable);
                return;
        }
        uv_poll_stop(&s->in.poll);
        if (s->remote)
                remote_pause(s->remote, false);
        if (s->input_ended)
                end_input(s);
}

static void on_stdin(struct remote *r, struct str data, void *arg) {
        struct session *s = arg;

        if (!s->o.in || s->input_ended || s->ended)
                return;
        buf_add_str(&s->input, data);
        if (s->input.n > HIGH_WATER)
                remote_pause(r, true);
        write_input(s);
}

static void on_stdin_end(struct remote *r, void *arg) {
        struct session *s = arg;

        s->input_ended = true;
        if (s->in.open && s->input.n == 0)
                end_input(s);
}

static void resize(struct session *s) {
        if (s->columns == 0 || s->rows == 0)
                return;
        if (s->attach) {
                if (s->container_tty)
                        runtime_resize_container(s->k->runtime, s->id, s->columns, s->rows, NULL);
        } else if (s->out.open)
                runtime_stream_resize(&s->stream, s->columns, s->rows);
}

static void on_resize(struct remote *r, uint16_t columns, uint16_t rows, void *arg) {
        struct session *s = arg;

        s->columns = columns;
        s->rows = rows;
        resize(s);
}

/* ---- start ---- */

static void start_run(struct task *t) {
        struct session *s = container_of(t, struct session, start);

        s->stream = (struct runtime_stream) { -1, -1, -1, 0, s->o.tty };
        if (s->attach)
                s->result = runtime_attach(s->k->runtime, s->id, s->o.in, s->o.tty, &s->stream.stdout_fd, &s->error);
        else
                s->result = runtime_exec_start(s->k->runtime, s->id, s->argv, s->o.in, s->o.out, s->o.err, s->o.tty,
                                               &s->stream, &s->error);
}

static void end_process(struct session *s) {
        pump_close(&s->in);
        pump_close(&s->out);
        pump_close(&s->err);
        if (!s->attach && s->stream.pid > 0 && !s->ended)
                kill(s->stream.pid, SIGKILL);
        output_ended(s);
}

static void start_done(struct task *t) {
        struct session *s = container_of(t, struct session, start);
        int in = s->stream.stdin_fd;

        s->starting = false;
        if (s->result < 0) {
                s->ended = true;
                finish(s);
                return release(s);
        }
        /* A terminal, or an attached socket, is one descriptor for both ways: two pumps need two. */
        if (s->o.in && (s->attach || (s->o.tty && (in < 0 || in == s->stream.stdout_fd))))
                in = fcntl(s->stream.stdout_fd, F_DUPFD_CLOEXEC, 0);
        pump_open(s, &s->in, in, REMOTE_STDIN);
        pump_open(s, &s->out, s->stream.stdout_fd, REMOTE_STDOUT);
        pump_open(s, &s->err, s->stream.stderr_fd, REMOTE_STDERR);
        if (!s->attach)
                resize(s); /* the client said it while the process was started */
        drained(s->remote, s);
        if (!s->remote)
                end_process(s);
        else if (!s->out.open && !s->err.open)
                output_ended(s);
        else {
                remote_pause(s->remote, false);
                write_input(s);
        }
}

static void ready(struct remote *r, void *arg) {
        struct session *s = arg;

        remote_pause(r, true);
        s->starting = true;
        s->start = (struct task) { .run = start_run, .done = start_done, .loop = s->loop };
        pool_submit(s->k->pool, &s->start);
}

static void on_close(struct remote *r, void *arg) {
        struct session *s = arg;

        s->remote = NULL;
        if (!s->starting && !s->ended && (s->out.open || s->err.open || s->in.open))
                end_process(s);
        release(s);
}

static const struct remote_ops remote_ops = { ready, on_stdin, on_stdin_end, on_resize, drained, on_close };

static void end_session(struct live *l) {
        struct session *s = container_of(l, struct session, live);

        if (s->remote)
                remote_abort(s->remote);
        else if (!s->starting && !s->ended)
                end_process(s);
}

static void serve(struct http_request *r, const struct route_args *a, bool attach) {
        _cleanup_(view_unrefp) struct pod_view *v = server_pod(r, a);
        struct remote_options o = { 0 };
        struct str *command;

        if (!v)
                return;
        const struct container_view *c = view_container(v, a->container);
        if (!c || !c->running || !c->id) {
                if (attach)
                        server_error(r, 500, "container %" STR_FMT " not found in pod %s_%s", STR_ARG(a->container),
                                     v->name, v->ns);
                else
                        server_error(r, 500, "container not found (\"%" STR_FMT "\")", STR_ARG(a->container));
                return;
        }
        if (remote_parse(r, &o) < 0)
                return;
        size_t n = server_query_all(r, "command", &command);
        if (!attach && n == 0)
                return server_error(r, 400, "you must specify a command");
        struct session *s = xnew(struct session, .k = a->k, .o = o, .loop = http_request_loop(r), .id = xstrdup(c->id),
                                 .attach = attach, .container_tty = c->tty, .stdin_once = c->stdin_once, .in.fd = -1,
                                 .out.fd = -1, .err.fd = -1);
        server_live_add(a->k, &s->live, end_session);
        if (!attach) {
                s->argv = xcalloc(n + 1, sizeof(char *));
                for (size_t i = 0; i < n; i++)
                        s->argv[i] = str_dup(command[i]);
        }
        s->remote = remote_open(r, &o, &remote_ops, s);
        if (!s->remote)
                release(s);
}

void serve_exec(struct http_request *r, const struct route_args *a) {
        serve(r, a, false);
}

void serve_attach(struct http_request *r, const struct route_args *a) {
        serve(r, a, true);
}

/* ---- run: a command and its output in one answer ---- */

struct run {
        struct task task;
        struct live live;
        struct kubelet *k;
        struct http_request *request; /* NULL: the client is gone */
        char *id, *command;
        struct buf out;
        int code;
};

static void run_run(struct task *t) {
        struct run *u = container_of(t, struct run, task);
        char *argv[] = { "/bin/sh", "-c", u->command, NULL };
        _cleanup_error_ struct error err = ERROR_INIT;
        int exit_code = 0;

        u->code = 200;
        if (runtime_exec_sync(u->k->runtime, u->id, argv, RUN_TIMEOUT_MS, &u->out, &u->out, &exit_code, &err) < 0) {
                u->code = 500;
                buf_addc(&u->out, error_text(&err));
        } else if (exit_code != 0)
                u->code = 500;
}

static void run_done(struct task *t) {
        struct run *u = container_of(t, struct run, task);

        if (u->request)
                http_respond_copy(u->request, u->code, "text/plain; charset=utf-8", buf_str(&u->out));
        server_live_remove(u->k, &u->live);
        buf_free(&u->out);
        free_all(u->id, u->command, u);
}

static void end_run(struct live *l) {
        /* the command has its own time limit */
}

static void run_gone(struct http_request *r, void *arg) {
        ((struct run *) arg)->request = NULL;
}

void serve_run(struct http_request *r, const struct route_args *a) {
        _cleanup_(view_unrefp) struct pod_view *v = server_pod(r, a);
        const struct container_view *c = v ? view_container(v, a->container) : NULL;

        if (!v)
                return;
        if (!c || !c->running)
                return server_error(r, 500, "container not found (\"%" STR_FMT "\")", STR_ARG(a->container));
        struct run *u = xnew(struct run, .k = a->k, .request = r, .id = xstrdup(c->id),
                             .command = str_dup(server_query(r, "cmd").p ? server_query(r, "cmd") : STR("")),
                             .task.run = run_run, .task.done = run_done, .task.loop = http_request_loop(r),
                             .task.lasting = true);
        server_live_add(a->k, &u->live, end_run);
        http_request_on_close(r, run_gone, u);
        pool_submit(a->k->pool, &u->task);
}
