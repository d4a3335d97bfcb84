/* Bytes from outside into the server (HTTP/1.1, or HTTP/2 when they begin with its preface) and into the client as a
 * response. First byte: bit 0 client, the rest how the input is cut into pieces. All in one thread, over socket pairs.
 */
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/client.h"
#include "http/server_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void handler(struct http_request *r, void *arg) {
        struct http_slice s = { http_request_body(r), NULL, NULL };

        if (str_eq(http_request_path(r), STR("/stream"))) {
                http_stream_start(r, 200, NULL, 0);
                http_stream_send(r, &(struct http_slice) { STR("data"), NULL, NULL }, 1);
                http_stream_end(r);
        } else if (http_request_wants_websocket(r)) {
                static const struct duplex_ops ignore = { 0 };
                struct duplex *d = http_accept_websocket(r, NULL);

                if (d)
                        duplex_set_ops(d, &ignore, NULL);
        } else
                http_respond(r, 200, NULL, 0, &s, 1);
}

static void turn(struct loop *l, int times) {
        while (times-- > 0)
                uv_run(loop_uv(l), UV_RUN_NOWAIT);
}

static void drain(int fd) {
        char c[65536];

        while (recv(fd, c, sizeof(c), MSG_DONTWAIT) > 0)
                ;
}

static void feed(struct loop *l, int fd, const uint8_t *data, size_t n, size_t piece) {
        while (n > 0) {
                size_t k = MIN(n, piece);

                if (send(fd, data, k, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        return;
                turn(l, 2);
                drain(fd);
                data += k;
                n -= k;
        }
        turn(l, 3);
        drain(fd);
}

static void fuzz_server(struct loop *l, const uint8_t *data, size_t n, size_t piece) {
        static struct http_server s = { .o = { .handler = handler, .max_body = 4096, .max_header = 2048 } };
        static struct worker w;
        struct sockaddr_storage address = { .ss_family = AF_UNIX };
        int fd[2];

        if (!s.workers) {
                http_server_defaults(&s);
                s.workers = &w;
                s.n_workers = 1;
        }
        worker_init(&w, &s, 0);
        w.loop = l;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
                abort();
        atomic_store(&w.n_conns, 1);
        worker_adopt(&w, fd[0], &address);
        feed(l, fd[1], data, n, piece);
        close(fd[1]);
        turn(l, 2);
        worker_close(&w);
        for (int i = 0; i < 50 && atomic_load(&w.n_conns) > 0; i++)
                turn(l, 1);
        if (atomic_load(&w.n_conns) > 0)
                abort(); /* a connection that does not go away */
        turn(l, 3);
        worker_empty_pools(&w);
}

static void on_done(struct http_call *c, int err, const struct error *e, void *arg) {
        ++*(int *) arg;
}

static void on_upgraded(const struct http_upgrade_result *r, void *arg) {
        static const struct duplex_ops ignore = { 0 };

        ++*(int *) arg;
        if (!r->duplex)
                return;
        duplex_set_ops(r->duplex, &ignore, NULL);
        duplex_close(r->duplex);
}

static void fuzz_client(struct loop *l, const uint8_t *data, size_t n, size_t piece) {
        static int listener = -1;
        static struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct http_client *c;
        int fd, done = 0;
        struct http_call_options o = {
                .method = n & 1 ? "GET" : "HEAD", .path = STR("/"), .on_done = on_done, .arg = &done
        };

        if (listener < 0) {
                snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/cube-fuzz-http-%d", (int) getpid());
                listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
                unlink(un.sun_path);
                if (bind(listener, (struct sockaddr *) &un, sizeof(un)) < 0 || listen(listener, 16) < 0)
                        abort();
        }
        if (http_client_new(&(struct http_client_options) { .loop = l, .unix_path = un.sun_path, .http2 = n & 2 }, &c,
                            NULL) < 0)
                abort();
        if (n & 4)
                http_client_upgrade(c, &o, on_upgraded, &done);
        else
                http_client_call(c, &o);
        fd = accept(listener, NULL, NULL);
        turn(l, 3);
        if (fd >= 0) {
                feed(l, fd, data, n, piece);
                close(fd);
        }
        turn(l, 2);
        http_client_free(c);
        turn(l, 5);
        if (done != 1)
                abort(); /* on_done comes exactly once */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static struct loop *l;
        size_t piece;

        if (!l && loop_new("fuzz", &l, NULL) < 0)
                abort();
        if (n < 1)
                return 0;
        piece = data[0] >> 1 ? (size_t) (data[0] >> 1) : SIZE_MAX;
        if (data[0] & 1)
                fuzz_client(l, data + 1, n - 1, piece);
        else
                fuzz_server(l, data + 1, n - 1, piece);
        return 0;
}
