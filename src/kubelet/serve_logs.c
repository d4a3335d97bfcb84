/* GET /containerLogs/{ns}/{pod}/{container}: a file in the CRI's format, turned into what the container wrote.
 *
 *   file ─ blocks ─▶ lines ─▶ since? stream? timestamps? ─▶ response, as fast as the client takes it
 *     └ at its end: without follow, done; with follow, inotify says when there is more, or a new file (rotation) */
#include "kubelet/server.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kubelet/logs.h"

#define BLOCK (64 * 1024)
#define HIGH_WATER (256 * 1024)
#define CHECK_MS 1000 /* whether a followed container still runs */
#define ENDING_MS 30
#define MAX_LINE (1 << 20)

struct log_stream {
        struct http_request *request; /* NULL: the client is gone */
        struct kubelet *k;
        char *ns, *pod, *container, *path, *id; /* id: NULL: of a run that the runtime has forgotten */
        int fd, notify_fd;
        struct buf line; /* what is read and not yet a line */
        bool follow, timestamps, at_line_start, draining, stopped;
        struct str stream;      /* "stdout", "stderr"; empty: both */
        int64_t since_ns, left; /* left: bytes still allowed; -1: no limit */
        uv_poll_t poll;
        struct timer timer;
        bool polling;
        int handles; /* open libuv handles: the memory goes with the last */
};

static void free_stream(struct log_stream *s) {
        closep(&s->fd);
        closep(&s->notify_fd);
        buf_free(&s->line);
        free_all(s->ns, s->pod, s->container, s->path, s->id, s->stream.p, s);
}

static void handle_closed(struct log_stream *s) {
        if (--s->handles == 0)
                free_stream(s);
}

static void poll_closed(uv_handle_t *h) {
        handle_closed(h->data);
}

static void timer_closed(struct timer *t) {
        handle_closed(container_of(t, struct log_stream, timer));
}

static void stop(struct log_stream *s) {
        if (s->stopped)
                return;
        s->stopped = true;
        s->handles = 1 + (s->polling ? 1 : 0);
        if (s->polling)
                uv_close((uv_handle_t *) &s->poll, poll_closed);
        timer_close(&s->timer, timer_closed);
}

static void finish(struct log_stream *s) {
        struct http_request *r = TAKE_PTR(s->request);

        stop(s);
        if (r)
                http_stream_end(r);
}

/* ---- lines ---- */

static void emit(struct log_stream *s, struct str text) {
        if (s->left >= 0) {
                text = str_sub(text, 0, (size_t) MIN((int64_t) text.n, s->left));
                s->left -= (int64_t) text.n;
        }
        if (str_empty(text))
                return;
        char *copy = xmalloc(text.n);
        memcpy(copy, text.p, text.n);
        http_stream_send(s->request, &(struct http_slice) { { copy, text.n }, free, copy }, 1);
}

static void add_line(struct log_stream *s, struct buf *out, struct str line) {
        struct log_line l;
        int64_t at = 0;
        char text[36];

        if (!log_parse(line, &l) || (s->stream.n && !str_eq(s->stream, l.stream)))
                return;
        if ((s->since_ns || s->timestamps) && time_parse(l.time, &at) < 0)
                return;
        if (s->since_ns && at < s->since_ns)
                return;
        if (s->timestamps && s->at_line_start) {
                buf_add_str(out, time_format_nano(text, at));
                buf_putc(out, ' ');
        }
        buf_add_str(out, l.text);
        if (!l.partial)
                buf_putc(out, '\n');
        s->at_line_start = !l.partial;
}

static void take_lines(struct log_stream *s) {
        struct buf out = BUF_INIT;
        struct str rest = buf_str(&s->line), line;
        ssize_t nl;

        while ((nl = str_find(rest, '\n')) >= 0) {
                line = str_sub(rest, 0, (size_t) nl);
                rest = str_sub(rest, (size_t) nl + 1, rest.n);
                add_line(s, &out, line);
        }
        buf_consume(&s->line, s->line.n - rest.n);
        if (s->line.n > MAX_LINE)
                s->line.n = 0; /* not a log of ours */
        emit(s, buf_str(&out));
        buf_free(&out);
}

/* ---- reading ---- */

static bool still_runs(struct log_stream *s) {
        _cleanup_(view_unrefp) struct pod_view *v = view_get(s->k, str_of(s->ns), str_of(s->pod));
        const struct container_view *c = v ? view_container(v, str_of(s->container)) : NULL;

        return c && c->running && c->id && s->id && strcmp(c->id, s->id) == 0;
}

/* The log was rotated: another file has its name now. */
static bool reopen(struct log_stream *s) {
        struct stat have, now;

        if (fstat(s->fd, &have) < 0 || stat(s->path, &now) < 0 ||
            (have.st_ino == now.st_ino && have.st_dev == now.st_dev))
                return false;
        int fd = open(s->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        close(s->fd);
        s->fd = fd;
        inotify_add_watch(s->notify_fd, s->path, IN_MODIFY | IN_CLOSE_WRITE);
        return true;
}

static void pump(struct log_stream *s);

static void timer_fired(struct timer *t) {
        pump(container_of(t, struct log_stream, timer));
}

static void at_end(struct log_stream *s) {
        if (!s->follow)
                return finish(s);
        if (reopen(s))
                return timer_start(http_request_loop(s->request), &s->timer, 0, timer_fired);
        if (still_runs(s)) {
                s->draining = false;
                timer_start(http_request_loop(s->request), &s->timer, CHECK_MS, timer_fired);
        } else if (!s->draining) {
                s->draining = true; /* once more: what was written between our last read and its end */
                timer_start(http_request_loop(s->request), &s->timer, ENDING_MS, timer_fired);
        } else
                finish(s);
}

static void pump(struct log_stream *s) {
        while (s->request && !s->stopped) {
                if (http_stream_pending(s->request) > HIGH_WATER)
                        return; /* drained goes on */
                ssize_t n = read(s->fd, buf_reserve(&s->line, BLOCK), BLOCK);
                if (n <= 0)
                        return at_end(s);
                s->line.n += (size_t) n;
                take_lines(s);
                if (s->left == 0)
                        finish(s);
        }
}

static void drained(struct http_request *r, void *arg) {
        pump(arg);
}

static void client_gone(struct http_request *r, void *arg) {
        struct log_stream *s = arg;

        s->request = NULL;
        stop(s);
}

static void notified(uv_poll_t *poll, int status, int events) {
        struct log_stream *s = poll->data;
        char events_buf[4096];

        while (read(s->notify_fd, events_buf, sizeof(events_buf)) > 0)
                ;
        pump(s);
}

static void watch(struct log_stream *s) {
        _cleanup_free_ char *dir = xstrdup(s->path);

        *strrchr(dir, '/') = 0;
        s->notify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (s->notify_fd < 0)
                return; /* out of watches: the timer still looks once a second */
        inotify_add_watch(s->notify_fd, s->path, IN_MODIFY | IN_CLOSE_WRITE);
        inotify_add_watch(s->notify_fd, dir, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
        s->poll.data = s;
        uv_poll_init(loop_uv(http_request_loop(s->request)), &s->poll, s->notify_fd);
        uv_poll_start(&s->poll, UV_READABLE, notified);
        s->polling = true;
}

/* ---- the request ---- */

static const char *why_waiting(const struct pod_view *v, const struct container_view *c) {
        if (!c->waiting)
                return v->n_containers > 1 && c->kind == CONTAINER_APP ? "PodInitializing" : "ContainerCreating";
        return strcmp(c->waiting, "ErrImagePull") == 0       ? "image can't be pulled"
               : strcmp(c->waiting, "ImagePullBackOff") == 0 ? "trying and failing to pull image"
                                                             : c->waiting;
}

/* The log of a run that the runtime has forgotten (at a reboot). NULL: there is none. */
static char *find_forgotten(const struct pod_view *v, const struct container_view *c, bool previous) {
        _cleanup_free_ char *dir = xprintf("%s/%s", v->log_dir, c->name);
        int64_t n = c->log_path ? strtoll(strrchr(c->log_path, '/') + 1, NULL, 10) : log_newest(dir, INT32_MAX);

        if (previous)
                n = log_newest(dir, n);
        return n < 0 ? NULL : xprintf("%s/%lld.log", dir, (long long) n);
}

/* Which of the container's runs is asked for: its log (malloc'd) and id. NULL: the answer is sent. */
static char *find_log(struct http_request *r, const struct pod_view *v, const struct container_view *c, bool previous,
                      const char **ret_id) {
        const char *path = previous ? c->previous_log_path : c->log_path;
        char *forgotten = NULL;

        *ret_id = previous ? c->previous_id : c->id;
        if (previous && !*ret_id && c->id &&
            !c->running) { /* it ended and waits to run again: the last run is the previous one */
                path = c->log_path;
                *ret_id = c->id;
        }
        if (*ret_id && path)
                return xstrdup(path);
        if (!*ret_id)
                forgotten = find_forgotten(v, c, previous);
        if (!forgotten && previous)
                server_error(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found", c->name, v->name);
        else if (!forgotten)
                server_error(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", c->name, v->name,
                             why_waiting(v, c));
        return forgotten;
}

static bool read_options(struct http_request *r, struct log_stream *s, int64_t *ret_tail) {
        struct str tail = server_query(r, "tailLines"), limit = server_query(r, "limitBytes"),
                   since = server_query(r, "sinceSeconds");
        struct str since_time = server_query(r, "sinceTime"), stream = server_query(r, "stream");
        int64_t seconds;

        *ret_tail = -1;
        s->left = -1;
        if ((tail.n && str_to_i64(tail, ret_tail) < 0) || (limit.n && str_to_i64(limit, &s->left) < 0)) {
                server_error(r, 400, "{\"message\": \"Invalid request.\"}");
                return false;
        }
        if (since.n && str_to_i64(since, &seconds) == 0)
                s->since_ns = time_after(kubelet_now(s->k), -MAX(seconds, 0));
        if (since_time.n && time_parse(since_time, &s->since_ns) < 0) {
                server_error(r, 400, "{\"message\": \"Invalid request.\"}");
                return false;
        }
        if (str_eq_fold(stream, STR("stdout")) || str_eq_fold(stream, STR("stderr"))) {
                char *copy = str_dup(stream);

                copy[0] = 's';
                for (char *c = copy; *c; c++)
                        *c |= 0x20;
                s->stream = str_of(copy);
        }
        s->follow = server_query_bool(r, "follow");
        s->timestamps = server_query_bool(r, "timestamps");
        return true;
}

void serve_logs(struct http_request *r, const struct route_args *a) {
        static const struct http_header headers[] = { { STR_INIT("content-type"), STR_INIT("text/plain") } };
        _cleanup_(view_unrefp) struct pod_view *v = server_pod(r, a);
        const struct container_view *c = v ? view_container(v, a->container) : NULL;
        _cleanup_free_ char *path = NULL;
        const char *id;
        int64_t tail, at;

        if (!v)
                return;
        if (!c)
                return server_error(r, 404, "container \"%" STR_FMT "\" not found in pod \"%s\"", STR_ARG(a->container),
                                    v->name);
        path = find_log(r, v, c, server_query_bool(r, "previous"), &id);
        if (!path)
                return;
        struct log_stream *s = xnew(struct log_stream, .k = a->k, .notify_fd = -1, .at_line_start = true,
                                    .fd = open(path, O_RDONLY | O_CLOEXEC));
        if (s->fd < 0) {
                server_error(r, 500, "failed to try resolving symlinks in path \"%s\": %s", path,
                             strerrordesc_np(errno));
                return free_stream(s);
        }
        if (!read_options(r, s, &tail))
                return free_stream(s);
        s->ns = xstrdup(v->ns);
        s->pod = xstrdup(v->name);
        s->container = xstrdup(c->name);
        s->path = TAKE_PTR(path);
        s->id = id ? xstrdup(id) : NULL;
        s->request = r;
        at = tail >= 0 ? log_tail_offset(s->fd, tail) : 0;
        lseek(s->fd, at < 0 ? 0 : at, SEEK_SET);
        http_request_on_close(r, client_gone, s);
        http_stream_start(r, 200, headers, ARRAY_SIZE(headers));
        http_stream_on_drain(r, drained, s);
        if (s->follow)
                watch(s);
        timer_start(http_request_loop(r), &s->timer, 0, timer_fired);
        if (!s->follow)
                pump(s);
}
