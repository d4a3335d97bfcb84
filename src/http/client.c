/* The client: calls wait for a connection, connections are made as calls need them and kept for the next.
 *
 *   http_client_call ─▶ waiting ──pump──▶ conn->calls ─▶ on_response ─▶ on_data … ─▶ on_done
 *                          └─ no connection with room: resolve, connect, TLS; ALPN says which class speaks
 *
 * HTTP/2 takes many calls on one connection, HTTP/1.1 one call each on up to max_connections. A call that met a kept
 * connection just as the server closed it is tried once more where that is safe.
 * Error texts are those that Go's client gives, since they end in events and conditions that people search for.
 */
#include "http/client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/time.h"
#include "http/client_internal.h"
#include "http/duplex.h"

#define CONNECT_TIMEOUT_MS 10000
#define MAX_CONNECTIONS 32
#define IDLE_MS 60000    /* sooner than servers do, ours and Go's: a request should not meet a close */
#define SILENCE_MS 30000 /* HTTP/2 with running calls: then a ping */
#define PING_MS 15000
#define UPGRADE_ANSWER_MAX (64 * 1024)
#define MAX_WAITING 10000

/* ---- calls ---- */

static void call_memory_go(struct timer *t) {
        struct http_call *c = container_of(t, struct http_call, timer);

        slices_clear(&c->out);
        buf_free(&c->held);
        buf_free(&c->answer);
        gunzip_free(c->gunzip);
        vec_free(&c->headers);
        vec_free(&c->trailers);
        arena_free(c->arena);
        free(c);
}

static void call_free(struct loop_work *w) {
        timer_close(&container_of(w, struct http_call, work)->timer, call_memory_go);
}

static void pump(struct http_client *k);
static void conn_close_now(struct client_conn *c);
static void client_unref(struct http_client *k);

/* Its memory goes later, from the loop: it may still be on the stack. */
static void call_release(struct http_call *c) {
        c->work.run = call_free;
        loop_post(c->client->o.loop, &c->work);
}

static void tell_upgraded(struct http_call *c, int err, const struct error *error, struct duplex *d) {
        struct http_upgrade_result r = {
                .err = err,
                .message = err && error ? error_text(error) : "",
                .connected = c->connected,
                .status = c->status,
                .headers = c->headers.v,
                .n_headers = c->headers.n,
                .body = buf_str(&c->answer),
                .duplex = d,
        };

        c->upgraded(&r, c->o.arg);
}

static void call_wait(struct http_call *c, bool first) {
        struct list *waiting = &c->client->waiting;

        if (first)
                list_push_front(waiting, &c->link);
        else
                list_push(waiting, &c->link);
        c->waiting = true;
        c->client->n_waiting++;
}

static void call_unwait(struct http_call *c) {
        if (!c->waiting)
                return;
        list_del(&c->link);
        c->waiting = false;
        c->client->n_waiting--;
}

/* The connection that was made for this call alone, also while it still connects. */
static void close_upgrade_conn(struct http_call *c) {
        list_each(struct client_conn, conn, &c->client->conns, link) {
                if (conn->upgrade == c)
                        return conn_close_now(conn);
        }
}

static void call_end(struct http_call *c, int err, const struct error *error) {
        struct client_conn *conn = c->conn;
        struct http_client *k = c->client;

        if (c->done)
                return;
        c->done = true;
        k->refs++; /* on_done may free the client */
        timer_stop(&c->timer);
        call_unwait(c);
        if (c->at_end)
                list_del(&c->link);
        if (conn)
                conn_call_ended(conn, c);
        if (c->upgraded) {
                close_upgrade_conn(c);
                tell_upgraded(c, err, error, NULL);
        } else if (c->o.on_done)
                c->o.on_done(c, err, err ? error : NULL, c->o.arg);
        call_release(c);
        if (!list_empty(&k->waiting))
                pump(k);
        client_unref(k);
}

static void call_unpack(struct http_call *c);

/* All of it is here, though it may not be unpacked yet. */
static void call_leave_conn(struct http_call *c) {
        c->at_end = true;
        if (c->conn)
                conn_call_ended(c->conn, c);
        list_push(&c->client->unpacking, &c->link);
        pump(c->client);
}

void call_done(struct http_call *c, int err, const char *fmt, ...) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (c->gunzip && !err && !c->done && !c->at_end) {
                call_leave_conn(c);
                return call_unpack(c);
        }
        if (err) {
                char text[512];

                variadic(ap, fmt, vsnprintf(text, sizeof(text), fmt, ap));
                error_set(&e, err, "%s", text);
        }
        call_end(c, err, &e);
}

static void call_abort(struct http_call *c, int err, const char *why) {
        if (c->conn && c->conn->class)
                c->conn->class->drop(c);
        call_done(c, err, "%s", why);
}

static bool can_retry(const struct http_call *c) {
        return !c->retried && !c->got_bytes && !c->o.streams && !c->upgraded && !c->client->freed;
}

void call_retry(struct http_call *c, int err, const char *why) {
        if (!can_retry(c))
                return call_done(c, err, "%s", why);
        if (c->conn)
                conn_call_ended(c->conn, c);
        c->retried = true;
        c->stream_id = 0;
        slices_clear(&c->out);
        slices_add(&c->out, &(struct http_slice) { .data = c->o.body }, 1, NULL);
        call_wait(c, true);
        pump(c->client);
}

void call_response(struct http_call *c, int status) {
        c->status = status;
        c->got_bytes = true;
        if (c->o.status)
                *c->o.status = status;
        if (c->o.on_response && !c->upgraded)
                c->o.on_response(c, status, c->headers.v, c->headers.n, c->o.arg);
}

static void deliver(struct http_call *c, struct str data) {
        if (c->o.on_data)
                c->o.on_data(c, data, c->o.arg);
        else if (c->o.answer && data.n <= c->o.max_answer - c->o.answer->n)
                buf_add_str(c->o.answer, data);
        else if (c->o.answer)
                call_abort(c, -EFBIG, "the answer is too large");
}

/* As Go's transport: nobody hears that it was compressed. */
void call_unpacks(struct http_call *c) {
        size_t n = 0;

        if (!c->asked_gzip ||
            !str_eq_fold(http_header_get(c->headers.v, c->headers.n, "content-encoding"), STR("gzip")))
                return;
        for (size_t i = 0; i < c->headers.n; i++)
                if (!str_eqc(c->headers.v[i].name, "content-encoding") &&
                    !str_eqc(c->headers.v[i].name, "content-length"))
                        c->headers.v[n++] = c->headers.v[i];
        c->headers.n = n;
        c->gunzip = gunzip_new();
}

static void call_unpack(struct http_call *c) {
        const char *why = NULL;
        struct str part;
        int r = 1;

        while (!c->done && !c->paused && (r = gunzip_take(c->gunzip, &part, &why)) > 0)
                deliver(c, part);
        if (c->done || c->paused)
                return;
        if (r < 0 || (c->at_end && why))
                call_abort(c, -EPROTO, why);
        else if (c->at_end)
                call_done(c, 0, "%s", "");
}

static void unpack_more(struct loop_work *w) {
        struct http_call *c = container_of(w, struct http_call, unpack);

        c->unpack_posted = false;
        call_unpack(c);
}

void call_data(struct http_call *c, struct str data) {
        if (c->upgraded)
                buf_add_str(&c->answer, str_sub(data, 0, UPGRADE_ANSWER_MAX - c->answer.n));
        else if (c->gunzip && !c->done) {
                gunzip_give(c->gunzip, data);
                call_unpack(c);
        } else if (!c->done)
                deliver(c, data);
}

static void call_timeout(struct timer *t) {
        struct http_call *c = container_of(t, struct http_call, timer);

        call_abort(c, -ETIMEDOUT,
                   c->status ? "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                             : "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

void http_call_cancel(struct http_call *c) {
        if (!c->done)
                call_abort(c, -ECANCELED, "context canceled");
}

void http_call_send(struct http_call *c, struct str data, bool last) {
        char size[24];
        bool chunked = c->o.body_length < 0;

        if (c->done || !c->sending)
                return;
        if (chunked && data.n > 0)
                slices_add_copy(&c->out, str_n(size, (size_t) snprintf(size, sizeof(size), "%zx\r\n", data.n)));
        slices_add_copy(&c->out, data);
        if (chunked && data.n > 0)
                slices_add_copy(&c->out, STR("\r\n"));
        if (chunked && last)
                slices_add_copy(&c->out, STR("0\r\n\r\n"));
        c->sending = !last;
        c->above |= c->out.bytes >= DRAIN_MARK;
        if (c->conn)
                transport_dirty(&c->conn->t);
}

size_t http_call_unsent(const struct http_call *c) {
        return c->out.bytes;
}

void http_call_pause(struct http_call *c, bool paused) {
        if (c->done || c->paused == paused)
                return;
        c->paused = paused;
        if (c->conn && c->conn->class)
                c->conn->class->pause(c);
        if (c->gunzip && !paused && !c->unpack_posted) {
                c->unpack_posted = true;
                c->unpack.run = unpack_more;
                loop_post(c->client->o.loop, &c->unpack);
        }
}

struct str http_call_trailer(const struct http_call *c, const char *lower_name) {
        struct str s = http_header_get(c->trailers.v, c->trailers.n, lower_name);

        return s.p ? s : http_header_get(c->headers.v, c->headers.n, lower_name); /* gRPC's trailers-only response */
}

size_t http_call_trailers(const struct http_call *c, const struct http_header **ret) {
        *ret = c->trailers.v;
        return c->trailers.n;
}

static struct http_call *call_new(struct http_client *k, const struct http_call_options *o) {
        struct http_call *c = xcalloc(1, sizeof(*c));
        struct http_header *h;

        c->client = k;
        c->arena = arena_new(1024);
        c->o = *o;
        c->o.method = arena_cstr(c->arena, str_of(o->method ? o->method : "GET"));
        c->o.path = arena_str(c->arena, o->path.n ? o->path : STR("/"));
        c->o.body = arena_str(c->arena, o->body);
        c->o.headers = h = arena_array(c->arena, struct http_header, o->n_headers + 4);
        for (size_t i = 0; i < o->n_headers; i++)
                h[i] = (struct http_header) { arena_str(c->arena, o->headers[i].name),
                                              arena_str(c->arena, o->headers[i].value) };
        slices_add(&c->out, &(struct http_slice) { .data = c->o.body }, 1, NULL);
        c->asked_gzip = o->gunzip && strcmp(c->o.method, "HEAD") != 0 &&
                        !http_header_get(h, o->n_headers, "accept-encoding").n &&
                        !http_header_get(h, o->n_headers, "range").n;
        c->sending = o->streams;
        list_init(&c->link);
        if (o->timeout_ms)
                timer_start(k->o.loop, &c->timer, o->timeout_ms, call_timeout);
        return c;
}

static void fail_now(struct loop_work *w) {
        struct http_call *c = container_of(w, struct http_call, work);

        if (c->done)
                call_free(w);
        else
                call_done(c, -EBUSY, "too many requests wait for a connection to %s", c->client->authority);
}

struct http_call *http_client_call(struct http_client *k, const struct http_call_options *o) {
        struct http_call *c = call_new(k, o);

        if (k->n_waiting >= MAX_WAITING) {
                c->work.run = fail_now;
                loop_post(k->o.loop, &c->work);
                return c;
        }
        call_wait(c, false);
        pump(k);
        return c;
}

/* ---- connections ---- */

static void client_unref(struct http_client *k) {
        if (--k->refs > 0)
                return;
        tls_context_unref(k->o.tls);
        free_all(k->host, k->unix_path, k->server_name, k->authority, k);
}

static void conn_memory_go(struct timer *t) {
        struct client_conn *c = container_of(t, struct client_conn, timer);
        struct http_client *k = c->client;

        if (c->class)
                c->class->free(c);
        free(c);
        client_unref(k);
}

static void connect_next(struct client_conn *c);

static void conn_on_freed(struct transport *t) {
        struct client_conn *c = container_of(t, struct client_conn, t);

        if (c->try_next && !c->closed) {
                c->try_next = false;
                connect_next(c);
        } else
                timer_close(&c->timer, conn_memory_go);
}

/* Off the client's list: no call comes any more. */
static void conn_forget(struct client_conn *c) {
        if (!list_empty(&c->link)) {
                list_del(&c->link);
                c->client->n_conns -= c->upgrade == NULL;
        }
        timer_stop(&c->timer);
}

static void conn_close_now(struct client_conn *c) {
        if (c->closed)
                return;
        c->closed = true;
        conn_forget(c);
        if (c->addresses)
                uv_freeaddrinfo(c->addresses);
        c->addresses = NULL;
        if (c->has_transport)
                transport_close(&c->t);
        else if (!c->resolving)
                timer_close(&c->timer, conn_memory_go);
}

static bool idempotent(const struct http_call *c) {
        return strcmp(c->o.method, "GET") == 0 || strcmp(c->o.method, "HEAD") == 0 ||
               strcmp(c->o.method, "OPTIONS") == 0 || strcmp(c->o.method, "TRACE") == 0;
}

void conn_fail(struct client_conn *c, int err, const char *why) {
        bool connected = c->open;
        struct http_client *k = c->client;
        struct http_call *upgrade = c->upgrade;
        int cause = err ? err : -ECONNRESET;

        if (c->failed)
                return;
        c->failed = true;
        conn_close_now(c);
        while (!list_empty(&c->calls)) {
                struct http_call *call = list_entry(c->calls.next, struct http_call, link);

                if (c->reused && !call->got_bytes && idempotent(call))
                        call_retry(call, cause, why);
                else
                        call_done(call, cause, "%s",
                                  err || !(call->got_bytes || call->upgraded) ? why : "unexpected EOF");
        }
        if (upgrade && !upgrade->done)
                call_done(upgrade, cause, "%s", why);
        if (k->freed)
                return;
        if (connected || upgrade)
                return pump(k);
        /* Who waits for a connection that cannot be made hears why: all when there is no other, else the first, as if
         * it had been made for that one. */
        bool all = list_empty(&k->conns);
        while (!list_empty(&k->waiting)) {
                call_done(list_entry(k->waiting.next, struct http_call, link), cause, "%s", why);
                if (!all)
                        break;
        }
}

static void conn_silence(struct timer *t);

static void conn_idle(struct timer *t) {
        struct client_conn *c = container_of(t, struct client_conn, timer);

        conn_close_now(c);
}

/* What the connection waits for now: the next call, or (HTTP/2) a sign of life. */
static void conn_rearm(struct client_conn *c) {
        if (c->n_calls == 0)
                timer_start(c->client->o.loop, &c->timer, IDLE_MS, conn_idle);
        else if (c->class == &client_h2)
                timer_start(c->client->o.loop, &c->timer, SILENCE_MS, conn_silence);
        else
                timer_stop(&c->timer);
}

static void conn_silence(struct timer *t) {
        struct client_conn *c = container_of(t, struct client_conn, timer);
        int64_t silent = now_mono_ms() - c->last_read_ms;

        if (silent < (c->pinged ? PING_MS : SILENCE_MS)) {
                c->pinged = false;
                timer_start(c->client->o.loop, t, (uint64_t) (SILENCE_MS - silent), conn_silence);
        } else if (!c->pinged) {
                c->pinged = true;
                c->class->ping(c);
                timer_start(c->client->o.loop, t, PING_MS, conn_silence);
        } else
                conn_fail(c, -ETIMEDOUT, "http2: client connection lost");
}

void conn_call_ended(struct client_conn *c, struct http_call *call) {
        list_del(&call->link);
        call->conn = NULL;
        c->n_calls--;
        c->reused = true;
        if (c->failed || c->closed)
                return;
        if (c->draining && c->n_calls == 0)
                conn_close_now(c);
        else if (c->n_calls == 0)
                conn_rearm(c);
}

static void conn_assign(struct client_conn *c, struct http_call *call) {
        call_unwait(call);
        list_push(&c->calls, &call->link);
        call->conn = c;
        if (c->n_calls++ == 0) {
                c->last_read_ms = now_mono_ms();
                c->pinged = false;
                conn_rearm(c);
        }
        c->class->start(c, call);
}

static void on_open(struct transport *t) {
        struct client_conn *c = container_of(t, struct client_conn, t);
        struct http_client *k = c->client;
        bool h2 = t->ssl ? str_eq(transport_alpn(t), STR("h2")) : k->o.http2 && !c->upgrade;

        c->open = true;
        timer_stop(&c->timer);
        c->class = h2 ? &client_h2 : &client_h1;
        k->http1_only |= !h2 && !c->upgrade;
        c->class->begin(c);
        if (c->upgrade) {
                list_push(&c->calls, &c->upgrade->link);
                c->upgrade->conn = c;
                c->upgrade->connected = true;
                c->n_calls = 1;
                c->class->start(c, c->upgrade);
                return;
        }
        conn_rearm(c);
        pump(k);
}

static void on_data(struct transport *t, struct str data) {
        struct client_conn *c = container_of(t, struct client_conn, t);

        c->last_read_ms = (int64_t) uv_now(loop_uv(c->client->o.loop));
        c->class->data(c, data);
}

static void on_fill(struct transport *t) {
        struct client_conn *c = container_of(t, struct client_conn, t);

        c->class->fill(c);
}

/* "Connection refused" as Go prints it: "connection refused". */
static const char *errno_text(int err, char dst[static 64]) {
        snprintf(dst, 64, "%s", err == -ETIMEDOUT ? "connection timed out" : strerrordesc_np(-err));
        if (dst[0] >= 'A' && dst[0] <= 'Z' && !(dst[1] >= 'A' && dst[1] <= 'Z'))
                dst[0] |= 0x20;
        return dst;
}

/* "tcp 127.0.0.1:40000->127.0.0.1:80" */
static const char *connection_text(struct client_conn *c, char dst[static 256]) {
        struct sockaddr_storage a = { 0 };
        socklen_t n = sizeof(a);
        char ip[INET6_ADDRSTRLEN] = "";
        const char *space = strchr(c->where, ' ');

        snprintf(dst, 256, "%s", c->where);
        if (getsockname(c->t.fd, (struct sockaddr *) &a, &n) < 0 || !space)
                return dst;
        if (a.ss_family == AF_INET) {
                const struct sockaddr_in *v4 = (struct sockaddr_in *) &a;

                inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
                snprintf(dst, 256, "tcp %s:%u->%s", ip, ntohs(v4->sin_port), space + 1);
        } else if (a.ss_family == AF_INET6) {
                const struct sockaddr_in6 *v6 = (struct sockaddr_in6 *) &a;

                inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
                snprintf(dst, 256, "tcp [%s]:%u->%s", ip, ntohs(v6->sin6_port), space + 1);
        }
        return dst;
}

static void on_close(struct transport *t, int err, const char *why) {
        struct client_conn *c = container_of(t, struct client_conn, t);
        char text[512], reason[64], ends[256];

        if (!c->open && strcmp(why, "connect") == 0 && c->next_address) {
                c->try_next = true;
                c->connect_error = err;
                c->has_transport = false;
                return transport_close(t);
        }
        if (c->open && err == 0 && c->class->eof)
                c->class->eof(c);
        if (err == -EPROTO && !c->open)
                snprintf(text, sizeof(text), "%s", why);
        else if (!c->open && strcmp(why, "connect") == 0)
                snprintf(text, sizeof(text), "dial %s: connect: %s", c->where, errno_text(err, reason));
        else if (err && strcmp(why, "closed by the peer") != 0)
                snprintf(text, sizeof(text), "%s %s: %s: %s", why, connection_text(c, ends), why,
                         errno_text(err, reason));
        else
                snprintf(text, sizeof(text), "EOF");
        conn_fail(c, err, text);
}

static void on_finished(struct transport *t) {
        conn_fail(container_of(t, struct client_conn, t), -ECONNRESET, "http2: connection closed");
}

static const struct transport_ops conn_ops = {
        .on_open = on_open,
        .on_data = on_data,
        .on_fill = on_fill,
        .on_finished = on_finished,
        .on_close = on_close,
        .on_freed = conn_on_freed,
};

/* ---- connecting ---- */

static void fail_later(struct timer *t) {
        struct client_conn *c = container_of(t, struct client_conn, timer);
        char text[256], reason[64];

        snprintf(text, sizeof(text), "dial %s: connect: %s", c->where, errno_text(c->connect_error, reason));
        conn_fail(c, c->connect_error, text);
}

static void connect_timeout(struct timer *t) {
        struct client_conn *c = container_of(t, struct client_conn, timer);
        char text[256];

        if (c->has_transport && !c->t.connecting)
                snprintf(text, sizeof(text), "net/http: TLS handshake timeout");
        else
                snprintf(text, sizeof(text), "dial %s: i/o timeout", c->where);
        conn_fail(c, -ETIMEDOUT, text);
}

static int connect_to(struct client_conn *c, const struct sockaddr *a, socklen_t n) {
        struct http_client *k = c->client;
        int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

        if (fd < 0)
                return -errno;
        transport_set_options(fd);
        if (connect(fd, a, n) < 0 && errno != EINPROGRESS) {
                r = -errno;
                close(fd);
                return r;
        }
        /* What connected at once (Unix) goes through the poll too: nothing is called from within connecting. */
        r = transport_init(&c->t, k->o.loop, fd, k->o.tls, k->server_name ? k->server_name : k->host, true, &conn_ops);
        if (r < 0) {
                close(fd);
                return r;
        }
        if (c->t.ssl)
                tls_offer(c->t.ssl, k->o.http2 && !c->upgrade);
        c->has_transport = true;
        return 0;
}

static void connect_next(struct client_conn *c) {
        while (c->next_address) {
                struct addrinfo *a = c->next_address;
                char ip[INET6_ADDRSTRLEN] = "";

                c->next_address = a->ai_next;
                if (a->ai_family == AF_INET6) {
                        inet_ntop(AF_INET6, &((struct sockaddr_in6 *) a->ai_addr)->sin6_addr, ip, sizeof(ip));
                        snprintf(c->where, sizeof(c->where), "tcp [%s]:%u", ip, c->client->o.port);
                } else {
                        inet_ntop(AF_INET, &((struct sockaddr_in *) a->ai_addr)->sin_addr, ip, sizeof(ip));
                        snprintf(c->where, sizeof(c->where), "tcp %s:%u", ip, c->client->o.port);
                }
                int r = connect_to(c, a->ai_addr, a->ai_addrlen);
                if (r == 0)
                        return;
                c->connect_error = r;
        }
        timer_start(c->client->o.loop, &c->timer, 0, fail_later);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *res) {
        struct client_conn *c = container_of(req, struct client_conn, resolve);
        char text[256];

        c->resolving = false;
        if (c->closed) {
                uv_freeaddrinfo(res);
                return timer_close(&c->timer, conn_memory_go);
        }
        if (status < 0) {
                uv_freeaddrinfo(res);
                snprintf(text, sizeof(text), "dial tcp: lookup %s: no such host", c->client->host);
                return conn_fail(c, -EHOSTUNREACH, text);
        }
        c->addresses = c->next_address = res;
        connect_next(c);
}

static int connect_numeric(struct client_conn *c) {
        struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons(c->client->o.port) };
        struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(c->client->o.port) };
        const char *host = c->client->host;

        if (inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
                snprintf(c->where, sizeof(c->where), "tcp %s:%u", host, c->client->o.port);
                return connect_to(c, (struct sockaddr *) &v4, sizeof(v4));
        }
        if (inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
                snprintf(c->where, sizeof(c->where), "tcp [%s]:%u", host, c->client->o.port);
                return connect_to(c, (struct sockaddr *) &v6, sizeof(v6));
        }
        return 1;
}

static int connect_unix(struct client_conn *c) {
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        const char *path = c->client->unix_path;

        snprintf(c->where, sizeof(c->where), "unix %s", path);
        if (strlen(path) >= sizeof(un.sun_path))
                return -ENAMETOOLONG;
        memcpy(un.sun_path, path, strlen(path) + 1);
        if (path[0] != '@')
                return connect_to(c, (struct sockaddr *) &un, sizeof(un));
        un.sun_path[0] = 0; /* no file, but a name */
        return connect_to(c, (struct sockaddr *) &un,
                          (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

static int resolve(struct client_conn *c) {
        struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
        char port[8];

        snprintf(port, sizeof(port), "%u", c->client->o.port);
        snprintf(c->where, sizeof(c->where), "tcp %.100s:%u", c->client->host, c->client->o.port);
        int r = uv_getaddrinfo(loop_uv(c->client->o.loop), &c->resolve, on_resolved, c->client->host, port, &hints);
        c->resolving = r == 0;
        return r;
}

static struct client_conn *conn_new(struct http_client *k, struct http_call *upgrade) {
        struct client_conn *c = xcalloc(1, sizeof(*c));

        c->client = k;
        c->upgrade = upgrade;
        list_init(&c->calls);
        list_push(&k->conns, &c->link);
        k->n_conns += upgrade == NULL;
        k->refs++;
        timer_start(k->o.loop, &c->timer, k->o.connect_timeout_ms, connect_timeout);
        int r = k->unix_path ? connect_unix(c) : connect_numeric(c);
        if (r == 1)
                r = resolve(c);
        if (r < 0) {
                c->connect_error = r;
                timer_start(k->o.loop, &c->timer, 0, fail_later);
        }
        return c;
}

/* ---- from calls to connections ---- */

static struct client_conn *with_room(struct http_client *k) {
        list_each(struct client_conn, c, &k->conns, link) {
                if (c->class && !c->upgrade && !c->draining && !c->failed && c->class->room(c) > 0)
                        return c;
        }
        return NULL;
}

static void pump(struct http_client *k) {
        size_t n_connecting = 0, want;

        while (!list_empty(&k->waiting)) {
                struct client_conn *c = with_room(k);

                if (!c)
                        break;
                conn_assign(c, list_entry(k->waiting.next, struct http_call, link));
        }
        list_each(struct client_conn, c, &k->conns, link) {
                n_connecting += !c->class && !c->upgrade;
        }
        want = k->o.http2 && !k->http1_only ? MIN(k->n_waiting, (size_t) 1) : k->n_waiting;
        for (; n_connecting < want && k->n_conns < k->o.max_connections; n_connecting++)
                conn_new(k, NULL);
}

void http_client_upgrade(struct http_client *k, const struct http_call_options *o,
                         void (*done)(const struct http_upgrade_result *r, void *arg), void *arg) {
        struct http_call *c = call_new(k, o);

        c->upgraded = done;
        c->o.arg = arg;
        conn_new(k, c);
}

/* The peer agreed to an upgrade: the connection is the caller's now. */
void client_conn_upgraded(struct client_conn *c, struct str first) {
        struct http_call *call = c->upgrade;

        list_del(&call->link);
        call->conn = NULL;
        call->done = true;
        timer_stop(&call->timer);
        conn_forget(c);
        c->upgrade = NULL;
        c->closed = true;
        struct duplex *d = raw_duplex_new(&c->t, first, NULL, NULL);
        tell_upgraded(call, 0, NULL, d);
        call_release(call);
}

/* ---- life ---- */

int http_client_new(const struct http_client_options *o, struct http_client **ret, struct error *err) {
        bool v6 = o->host && strchr(o->host, ':');
        unsigned standard = o->tls ? 443 : 80;

        if (!o->unix_path && (!o->host || !*o->host))
                return error_set(err, -EINVAL, "no host to connect to");
        struct http_client *k = xcalloc(1, sizeof(*k));
        k->o = *o;
        k->refs = 1;
        k->host = xstrdup(o->host && *o->host ? o->host : "localhost");
        k->unix_path = o->unix_path ? xstrdup(o->unix_path) : NULL;
        k->server_name = o->server_name ? xstrdup(o->server_name) : NULL;
        if (o->authority)
                k->authority = xstrdup(o->authority);
        else if (o->unix_path || o->port == standard)
                k->authority = xprintf(v6 ? "[%s]" : "%s", k->host);
        else
                k->authority = xprintf(v6 ? "[%s]:%u" : "%s:%u", k->host, o->port);
        tls_context_ref(k->o.tls);
        k->o.connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
        k->o.max_connections = o->max_connections ? o->max_connections : MAX_CONNECTIONS;
        list_init(&k->conns);
        list_init(&k->waiting);
        list_init(&k->unpacking);
        *ret = k;
        return 0;
}

void http_client_free(struct http_client *k) {
        if (!k || k->freed)
                return;
        k->freed = true;
        while (!list_empty(&k->waiting))
                http_call_cancel(list_entry(k->waiting.next, struct http_call, link));
        while (!list_empty(&k->unpacking))
                http_call_cancel(list_entry(k->unpacking.next, struct http_call, link));
        while (!list_empty(&k->conns)) {
                struct client_conn *c = list_entry(k->conns.next, struct client_conn, link);

                conn_fail(c, -ECANCELED, "context canceled");
        }
        client_unref(k);
}
