/* One connection is one request: a JSON array of arguments with two descriptors beside it (SCM_RIGHTS), answered by a
 * JSON object
 * {"error": "…"} or {}. Each runs on a thread of its own, at most MAX_REQUESTS at a time. */
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "cube/control.h"

#define MAX_MESSAGE 65536
#define MAX_REQUESTS 16
#define MAX_ARGS 256

struct control {
        struct runtime *runtime;
        char *path;
        int listener, wake;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t idle;
        unsigned running;
};

struct request {
        struct control *control;
        int conn;
};

static int socket_address(const char *path, struct sockaddr_un *ret, struct error *err) {
        *ret = (struct sockaddr_un) { .sun_family = AF_UNIX };
        if (strlen(path) >= sizeof(ret->sun_path))
                return error_set(err, -ENAMETOOLONG, "%s is too long for a socket", path);
        memcpy(ret->sun_path, path, strlen(path));
        return 0;
}

/* ---- the server's side ---- */

/* Reads the message and the descriptors that come with it. */
static int receive(int conn, struct buf *text, int fds[static 2]) {
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = { buf_reserve(text, MAX_MESSAGE), MAX_MESSAGE };
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
        };
        ssize_t n = recvmsg(conn, &m, MSG_CMSG_CLOEXEC);
        if (n <= 0)
                return -EBADMSG;
        text->n += (size_t) n;
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(2 * sizeof(int)))
                return -EBADMSG;
        memcpy(fds, CMSG_DATA(h), 2 * sizeof(int));
        return 0;
}

static int run_request(struct control *c, struct str text, int in, int out, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        char *argv[MAX_ARGS + 1] = { 0 };
        int argc = 0;
        struct json *args;
        TRY(json_parse(a, text, NULL, &args, err));
        json_each_item(s, args)
                if (argc < MAX_ARGS)
                        argv[argc++] = arena_cstr(a, json_str(s));
        FILE *f = fdopen(dup(out), "w");
        if (!f)
                return error_errno(err, -errno, "open the caller's output");
        int r = argc ? image_run(c->runtime, argc, argv, in, f, err) : error_set(err, -EINVAL, "nothing was asked");
        fclose(f);
        return r;
}

static void *serve(void *arg) {
        struct request *q = arg;
        struct control *c = q->control;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf text = BUF_INIT, answer = BUF_INIT;
        int fds[2] = { -1, -1 };
        log_set_component("control");
        if (receive(q->conn, &text, fds) == 0) {
                struct json j = json_new_object();
                if (run_request(c, buf_str(&text), fds[0], fds[1], &err) < 0)
                        json_set_cstr(a, &j, "error", error_text(&err));
                json_write(&answer, &j);
                if (send(q->conn, answer.p, answer.n, MSG_NOSIGNAL) < 0)
                        log_debug("a caller of cube image went away");
        }
        closep(&fds[0]);
        closep(&fds[1]);
        close(q->conn);
        free(q);
        HOLD(&c->lock);
        c->running--;
        pthread_cond_signal(&c->idle);
        return NULL;
}

static void *accept_loop(void *arg) {
        struct control *c = arg;
        log_set_component("control");
        for (;;) {
                struct pollfd p[] = { { .fd = c->listener, .events = POLLIN }, { .fd = c->wake, .events = POLLIN } };
                if (poll(p, 2, -1) < 0 && errno != EINTR)
                        return NULL;
                if (p[1].revents)
                        return NULL;
                int conn = p[0].revents ? accept4(c->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
                if (conn < 0)
                        continue;
                with_lock(&c->lock) {
                        while (c->running >= MAX_REQUESTS)
                                pthread_cond_wait(&c->idle, &c->lock);
                        c->running++;
                }
                struct request *q = xmalloc(sizeof(*q));
                *q = (struct request) { c, conn };
                pthread_t t;
                if (pthread_create(&t, NULL, serve, q) == 0)
                        pthread_detach(t);
                else
                        serve(q);
        }
}

int control_start(const struct cluster *cluster, struct runtime *runtime, struct control **ret, struct error *err) {
        struct sockaddr_un address;
        _cleanup_free_ char *path = cluster_run_path(cluster, "control");
        TRY(socket_address(path, &address, err));
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        int r = 0;
        unlink(path); /* of a server that was killed; the cluster's lock says it is gone */
        mode_t old = umask(0177);
        if (fd < 0 || bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 16) < 0)
                r = error_errno(err, -errno, "listen on %s", path);
        umask(old);
        if (r < 0)
                return r;
        struct control *c = xcalloc(1, sizeof(*c));
        *c = (struct control) {
                .runtime = runtime, .path = TAKE_PTR(path), .listener = fd, .wake = eventfd(0, EFD_CLOEXEC)
        };
        fd = -1;
        pthread_mutex_init(&c->lock, NULL);
        pthread_cond_init(&c->idle, NULL);
        pthread_create(&c->thread, NULL, accept_loop, c);
        *ret = c;
        return 0;
}

void control_stop(struct control *c) {
        eventfd_write(c->wake, 1);
        pthread_join(c->thread, NULL);
        unlink(c->path);
        with_lock(&c->lock)
                while (c->running)
                        pthread_cond_wait(&c->idle, &c->lock);
        close(c->listener);
        close(c->wake);
        pthread_mutex_destroy(&c->lock);
        pthread_cond_destroy(&c->idle);
        free(c->path);
        free(c);
}

/* ---- the caller's side ---- */

static int send_request(int fd, struct str text, struct error *err) {
        union {
                char bytes[CMSG_SPACE(2 * sizeof(int))];
                struct cmsghdr align;
        } control = { 0 };
        struct iovec iov = { (char *) text.p, text.n };
        struct msghdr m = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
        };
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        int fds[] = { 0, 1 };
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(fds));
        memcpy(CMSG_DATA(h), fds, sizeof(fds));
        return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? error_errno(err, -errno, "ask the server") : 0;
}

int control_ask(const struct cluster *cluster, int argc, char **argv, struct error *err) {
        _cleanup_free_ char *path = cluster_run_path(cluster, "control");
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf text = BUF_INIT, answer = BUF_INIT;
        struct sockaddr_un address;
        TRY(socket_address(path, &address, err));
        _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
                return error_set(err, -ECONNREFUSED, "the server of \"%s\" does not answer on %s", cluster->name, path);
        struct json args = json_new_array(), *reply;
        for (int i = 0; i < argc; i++)
                json_push(a, &args, json_of_cstr(argv[i]));
        json_write(&text, &args);
        if (text.n > MAX_MESSAGE)
                return error_set(err, -E2BIG, "these are too many arguments for one call");
        fflush(stdout);
        TRY(send_request(fd, buf_str(&text), err));
        ssize_t n = recv(fd, buf_reserve(&answer, MAX_MESSAGE), MAX_MESSAGE, 0);
        if (n <= 0)
                return error_set(err, -EIO, "the server ended before it had answered");
        answer.n = (size_t) n;
        int r = json_parse(a, buf_str(&answer), NULL, &reply, err);
        if (r == 0 && json_getc(reply, "error"))
                r = error_set(err, -EREMOTEIO, "%" STR_FMT, STR_ARG(json_str(json_getc(reply, "error"))));
        return r;
}
