/* port-forward: bytes between the client's streams and TCP connections inside the pod's network.
 *
 *   SPDY/3.1            a pair of streams a connection: data and error, with headers port and requestID
 *   v4.channel.k8s.io   WebSocket with two channels for each ?port=: 2i data, 2i+1 error
 *
 * Opening the connection enters another network namespace and blocks: a task. After that it is a descriptor on the
 * server's loop. */
#include "kubelet/remote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/spdy.h"

#define HIGH_WATER (256 * 1024)
#define BLOCK (32 * 1024)
#define MAX_CONNECTIONS 512
#define MAX_PORTS 127 /* of a WebSocket, whose channels are a byte */

/* One connection into the pod. Its client side is a pair of SPDY streams, or two channels of a WebSocket. */
struct connection {
        struct list link;
        struct forward *forward;
        uint16_t port;
        char *request_id;
        struct spdy_stream *data, *error; /* SPDY: NULL when gone */
        int channel;                      /* WebSocket: of the data; -1: SPDY */
        struct task task;
        int fd, result;
        struct error why;
        uv_poll_t poll;
        bool connecting, polling, client_ended, pod_ended, dead;
        struct buf out; /* on its way into the pod */
};

struct forward {
        struct kubelet *k;
        struct live live;
        struct loop *loop;
        char *sandbox_id, *pod;
        struct spdy_session *spdy;
        struct duplex *ws;
        bool base64, closed, host_network;
        struct list connections;
        unsigned n;
};

static void forward_release(struct forward *f) {
        if (!f->closed || !list_empty(&f->connections))
                return;
        server_live_remove(f->k, &f->live);
        free(f->sandbox_id);
        free(f->pod);
        free(f);
}

static void connection_release(struct connection *c) {
        struct forward *f = c->forward;

        if (!c->dead || c->connecting || c->polling || c->data || c->error)
                return;
        list_del(&c->link);
        f->n--;
        closep(&c->fd);
        buf_free(&c->out);
        error_clear(&c->why);
        free(c->request_id);
        free(c);
        if (f->ws && list_empty(&f->connections)) /* its channels are all there will be */
                duplex_close(f->ws);
        forward_release(f);
}

/* ---- to the client ---- */

static void ws_send(struct forward *f, int channel, struct str data) {
        if (f->ws)
                websocket_write_channel(f->ws, f->base64, (unsigned) channel, data);
}

static void to_client(struct connection *c, struct str data) {
        if (c->channel >= 0)
                ws_send(c->forward, c->channel, data);
        else if (c->data)
                spdy_stream_write_copy(c->data, data);
}

static size_t client_pending(const struct connection *c) {
        if (c->channel >= 0)
                return c->forward->ws ? duplex_pending(c->forward->ws) : 0;
        return c->data ? spdy_stream_pending(c->data) : 0;
}

static void client_pause(struct connection *c, bool paused) {
        if (c->channel >= 0 && c->forward->ws)
                duplex_pause(c->forward->ws, paused);
        else if (c->data)
                spdy_stream_pause(c->data, paused);
}

static void tell_error(struct connection *c) {
        _cleanup_free_ char *text = xprintf("error forwarding port %u to pod %s, uid : %s", c->port, c->forward->pod,
                                            error_text(&c->why));

        if (c->channel >= 0)
                ws_send(c->forward, c->channel + 1, str_of(text));
        else if (c->error)
                spdy_stream_write_copy(c->error, str_of(text));
}

/* ---- the end of a connection ---- */

static void poll_closed(uv_handle_t *h) {
        struct connection *c = h->data;

        c->polling = false;
        connection_release(c);
}

static void connection_end(struct connection *c) {
        if (c->dead)
                return;
        c->dead = true;
        if (c->polling)
                uv_close((uv_handle_t *) &c->poll, poll_closed);
        if (c->data)
                spdy_stream_close(c->data);
        if (c->error)
                spdy_stream_close(c->error);
        connection_release(c);
}

/* ---- the pod's side ---- */

static void pod_event_cb(uv_poll_t *poll, int status, int events);

static void watch(struct connection *c) {
        int events = 0;

        if (!c->polling || c->dead)
                return;
        if (!c->pod_ended && client_pending(c) <= HIGH_WATER)
                events |= UV_READABLE;
        if (c->out.n)
                events |= UV_WRITABLE;
        if (events)
                uv_poll_start(&c->poll, events, pod_event_cb);
        else
                uv_poll_stop(&c->poll);
}

static void read_pod(struct connection *c) {
        char block[BLOCK];

        while (client_pending(c) <= HIGH_WATER) {
                ssize_t n = read(c->fd, block, sizeof(block));
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n <= 0) {
                        c->pod_ended = true;
                        return;
                }
                to_client(c, str_n(block, (size_t) n));
        }
}

static void write_pod(struct connection *c) {
        while (c->out.n > 0) {
                ssize_t n = send(c->fd, c->out.p, c->out.n, MSG_NOSIGNAL);

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return;
                if (n < 0) {
                        c->out.n = 0;
                        c->pod_ended = true;
                        return;
                }
                buf_consume(&c->out, (size_t) n);
        }
        client_pause(c, false);
        if (c->client_ended)
                shutdown(c->fd, SHUT_WR);
}

static void go_on(struct connection *c) {
        if (c->pod_ended && c->out.n == 0)
                return connection_end(c);
        watch(c);
}

static void pod_event_cb(uv_poll_t *poll, int status, int events) {
        struct connection *c = poll->data;

        if (events & UV_WRITABLE)
                write_pod(c);
        if (events & UV_READABLE || status < 0)
                read_pod(c);
        go_on(c);
}

static void from_client(struct connection *c, struct str data) {
        if (c->dead)
                return;
        buf_add_str(&c->out, data);
        if (c->out.n > HIGH_WATER)
                client_pause(c, true);
        if (c->polling) {
                write_pod(c);
                go_on(c);
        }
}

static void client_done(struct connection *c) {
        c->client_ended = true;
        if (c->polling && !c->dead && c->out.n == 0)
                shutdown(c->fd, SHUT_WR);
}

static void connect_run(struct task *t) {
        struct connection *c = container_of(t, struct connection, task);

        c->result = runtime_port_forward(c->forward->k->runtime, c->forward->sandbox_id, c->port, &c->fd, &c->why);
}

static void connect_done(struct task *t) {
        struct connection *c = container_of(t, struct connection, task);

        c->connecting = false;
        if (c->dead)
                return connection_release(c);
        if (c->result < 0) {
                tell_error(c);
                return connection_end(c);
        }
        fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
        if (uv_poll_init(loop_uv(c->forward->loop), &c->poll, c->fd) < 0)
                return connection_end(c);
        c->poll.data = c;
        c->polling = true;
        write_pod(c);
        go_on(c);
}

static struct connection *connection_new(struct forward *f, uint16_t port) {
        struct connection *c = xnew(struct connection, .forward = f, .port = port, .fd = -1, .channel = -1);

        list_push(&f->connections, &c->link);
        f->n++;
        return c;
}

static void connection_start(struct connection *c) {
        c->connecting = true;
        c->task = (struct task) { .run = connect_run, .done = connect_done, .loop = c->forward->loop };
        pool_submit(c->forward->k->pool, &c->task);
}

static void end_connections(struct forward *f) {
        list_each_safe(struct connection, it, &f->connections, link)
                connection_end(it);
        f->closed = true; /* not before: the last connection would take f with it */
        forward_release(f);
}

/* ---- SPDY ---- */

static void stream_data(struct spdy_stream *st, struct str data, void *arg) {
        struct connection *c = arg;

        if (st == c->data)
                from_client(c, data);
}

static void stream_end(struct spdy_stream *st, void *arg) {
        struct connection *c = arg;

        if (st == c->data)
                client_done(c);
}

static void stream_drain(struct spdy_stream *st, void *arg) {
        struct connection *c = arg;

        if (st == c->data)
                watch(c);
}

static void stream_close(struct spdy_stream *st, int err, void *arg) {
        struct connection *c = arg;
        bool was_data = st == c->data;

        *(was_data ? &c->data : &c->error) = NULL;
        if (was_data && !c->dead)
                connection_end(c);
        else
                connection_release(c);
}

static struct connection *find_connection(struct forward *f, struct str id) {
        list_each(struct connection, c, &f->connections, link) {
                if (c->request_id && str_eqc(id, c->request_id) && !c->dead)
                        return c;
        }
        return NULL;
}

static void on_stream(struct spdy_session *s, struct spdy_stream *st, void *arg) {
        static const struct spdy_stream_ops ops = {
                .on_data = stream_data,
                .on_end = stream_end,
                .on_drain = stream_drain,
                .on_close = stream_close,
        };
        struct forward *f = arg;
        struct str type = spdy_stream_header(st, "streamtype"), id = spdy_stream_header(st, "requestid");
        struct str port_text = spdy_stream_header(st, "port");
        char number[16];
        bool data = str_eqc(type, "data");
        int64_t port;

        if (str_to_i64(port_text, &port) < 0 || port < 1 || port > 65535 || (!data && !str_eqc(type, "error")))
                return spdy_stream_reset(st);
        if (str_empty(id)) { /* before requestID, a pair was one after the other: error n, data n + 2 */
                snprintf(number, sizeof(number), "%u", data ? spdy_stream_id(st) - 2 : spdy_stream_id(st));
                id = str_of(number);
        }
        struct connection *c = find_connection(f, id);
        if (!c && f->n >= MAX_CONNECTIONS)
                return spdy_stream_reset(st);
        if (!c) {
                c = connection_new(f, (uint16_t) port);
                c->request_id = str_dup(id);
        }
        struct spdy_stream **side = data ? &c->data : &c->error;
        if (*side)
                return spdy_stream_reset(st);
        *side = st;
        spdy_stream_accept(st, &ops, c);
        if (c->data && c->error)
                connection_start(c);
}

static void session_closed(struct spdy_session *s, int err, void *arg) {
        struct forward *f = arg;

        f->spdy = NULL;
        end_connections(f);
}

/* ---- WebSocket channels ---- */

static struct connection *of_channel(struct forward *f, int channel) {
        list_each(struct connection, it, &f->connections, link)
                if (it->channel == channel)
                        return it;
        return NULL;
}

static void ws_data(struct duplex *d, struct str data, void *arg) {
        struct forward *f = arg;
        _cleanup_buf_ struct buf plain = BUF_INIT;
        struct connection *c = of_channel(f, websocket_read_channel(&data, f->base64, &plain));

        if (c && data.n)
                from_client(c, data);
}

static void ws_drain(struct duplex *d, void *arg) {
        struct forward *f = arg;

        list_each_safe(struct connection, it, &f->connections, link)
                watch(it);
}

static void ws_closed(struct duplex *d, int err, void *arg) {
        struct forward *f = arg;

        f->ws = NULL;
        end_connections(f);
}

/* Each channel begins with its port number, two bytes, little-endian. */
static void open_channels(struct forward *f, const uint16_t *ports, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct connection *c = connection_new(f, ports[i]);
                char head[2] = { (char) (ports[i] & 0xff), (char) (ports[i] >> 8) };

                c->channel = (int) (2 * i);
                ws_send(f, c->channel, str_n(head, 2));
                ws_send(f, c->channel + 1, str_n(head, 2));
                connection_start(c);
        }
}

/* ---- the request ---- */

static void end_forward(struct live *l) {
        struct forward *f = container_of(l, struct forward, live);

        if (f->spdy)
                spdy_session_close(f->spdy);
        else if (f->ws)
                duplex_close(f->ws);
}

static struct forward *forward_new(struct http_request *r, const struct route_args *a, const struct pod_view *v) {
        struct forward *f = xnew(struct forward, .k = a->k, .loop = http_request_loop(r),
                                 .sandbox_id = xstrdup(v->sandbox_id), .pod = xstrdup(v->name));

        list_init(&f->connections);
        server_live_add(a->k, &f->live, end_forward);
        return f;
}

static const struct spdy_session_ops session_ops = { on_stream, session_closed };

/* Of one parameter or several, each a list. 0: an error was answered. */
static size_t read_ports(struct http_request *r, uint16_t ret[static MAX_PORTS]) {
        struct str *all;
        size_t n = server_query_all(r, "port", &all), n_ports = 0;

        if (n == 0)
                server_error(r, 400, "query parameter \"port\" is required");
        for (size_t i = 0; i < n; i++) {
                struct str rest = all[i], one;

                if (str_empty(rest)) {
                        server_error(r, 400, "query parameter \"port\" cannot be empty");
                        return 0;
                }
                while (str_split(&rest, ',', &one)) {
                        uint64_t port;
                        bool is_number = str_to_u64(one, &port) == 0;

                        if (!is_number || port == 0 || port > UINT16_MAX || n_ports == MAX_PORTS) {
                                server_error(r, 400,
                                             is_number && port == 0 ? "port \"%" STR_FMT "\" must be > 0"
                                                                    : "unable to parse \"%" STR_FMT "\" as a port",
                                             STR_ARG(all[i]));
                                return 0;
                        }
                        ret[n_ports++] = (uint16_t) port;
                }
        }
        return n_ports;
}

static void serve_websocket(struct http_request *r, const struct route_args *a, const struct pod_view *v) {
        static const char *const protocols[] = { "v4.channel.k8s.io", "v4.base64.channel.k8s.io" };
        static const struct duplex_ops ops = { ws_data, ws_drain, ws_closed };
        const char *protocol = websocket_choose(http_request_header(r, "sec-websocket-protocol"), protocols,
                                                ARRAY_SIZE(protocols));
        uint16_t ports[MAX_PORTS];
        size_t n = read_ports(r, ports);

        if (n == 0)
                return;
        struct forward *f = forward_new(r, a, v);
        f->ws = http_accept_websocket(r, protocol);
        if (!f->ws)
                return end_connections(f);
        f->base64 = protocol == protocols[1];
        duplex_set_ops(f->ws, &ops, f);
        open_channels(f, ports, n);
}

static void serve_spdy(struct http_request *r, const struct route_args *a, const struct pod_view *v) {
        static const char *const protocols[] = { "portforward.k8s.io" };
        static const struct http_header headers[] = {
                { STR_INIT("Connection"), STR_INIT("Upgrade") },
                { STR_INIT("Upgrade"), STR_INIT("SPDY/3.1") },
                { STR_INIT("X-Stream-Protocol-Version"), STR_INIT("portforward.k8s.io") },
        };

        if (!remote_negotiate(r, protocols, ARRAY_SIZE(protocols)))
                return;
        struct forward *f = forward_new(r, a, v);
        struct duplex *raw = http_hijack(r, 101, headers, ARRAY_SIZE(headers));
        if (raw)
                f->spdy = spdy_session_new(raw, true, &session_ops, f);
        else
                end_connections(f);
}

void serve_port_forward(struct http_request *r, const struct route_args *a) {
        _cleanup_(view_unrefp) struct pod_view *v = server_pod(r, a);
        struct str protocol = STR("");

        if (!v)
                return;
        if (!v->sandbox_id)
                return server_error(r, 500, "pod not found (\"%s_%s\")", v->name, v->ns);
        if (http_request_wants_websocket(r))
                serve_websocket(r, a, v);
        else if (http_request_wants_upgrade(r, &protocol) && str_eq_fold(protocol, STR("SPDY/3.1")))
                serve_spdy(r, a, v);
        else
                server_error(r, 400, "Upgrade request required");
}
