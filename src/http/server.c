/* The server: workers, the sharing out of connections, deadlines, and the life of a request.
 *
 * The first worker's loop accepts; a connection goes to the worker that has the fewest (in turn where they tie), as
 * a message, and stays there. Sixteen connections on two workers are eight and eight, which SO_REUSEPORT does not promise.
 *
 *   request_new ─▶ request_dispatch ─▶ handler ─▶ http_respond | http_stream_* ─▶ request_complete
 *                                         └─ the client goes away: request_gone ─▶ on_close, or an orphan that waits
 *                                            for its handler's answer and drops it
 * Requests and their arenas are used again through a small pool of each worker.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/log.h"
#include "base/time.h"
#include "http/duplex.h"
#include "http/server_internal.h"

#define REQUEST_ARENA 2048
#define POOL_MAX 64           /* requests kept by a worker for later */
#define POOL_KEEP_BYTES 16384 /* … whose arena is not larger than this */

/* ---- deadlines ---- */

static void on_deadline(struct timer *timer);

static void arm_timer(struct worker *w) {
        uint64_t at = 0, now = uv_now(loop_uv(w->loop));

        for (int i = 0; i < N_DEADLINES; i++)
                if (!list_empty(&w->deadlines[i])) {
                        struct conn *c = list_entry(w->deadlines[i].next, struct conn, deadline_link);

                        if (at == 0 || c->deadline_at < at)
                                at = c->deadline_at;
                }
        if (at == 0 || (w->timer_at != 0 && w->timer_at <= at)) /* an early timer looks again: cheaper than moving it */
                return;
        w->timer_at = at;
        timer_start(w->loop, &w->timer, at > now ? at - now : 1, on_deadline);
}

static void on_deadline(struct timer *timer) {
        struct worker *w = container_of(timer, struct worker, timer);
        uint64_t now = uv_now(loop_uv(w->loop));

        w->timer_at = 0;
        for (int i = 0; i < N_DEADLINES; i++)
                while (!list_empty(&w->deadlines[i])) {
                        struct conn *c = list_entry(w->deadlines[i].next, struct conn, deadline_link);

                        if (c->deadline_at > now)
                                break;
                        if (i == DEADLINE_IDLE && c->class) {
                                conn_set_deadline(c, DEADLINE_LINGER); /* orderly: GOAWAY, close_notify */
                                c->class->stop(c);
                        } else
                                conn_close(c);
                }
        arm_timer(w);
}

void conn_set_deadline(struct conn *c, enum deadline d) {
        struct worker *w = c->w;

        list_del(&c->deadline_link);
        c->deadline = d;
        if (d == DEADLINE_NONE)
                return;
        c->deadline_at = uv_now(loop_uv(w->loop)) + w->server->deadline_ms[d];
        list_push(&w->deadlines[d], &c->deadline_link);
        if (w->timer_at == 0 || c->deadline_at < w->timer_at)
                arm_timer(w);
}

/* ---- requests ---- */

struct http_request *request_new(struct conn *c) {
        struct worker *w = c->w;
        struct http_request *r;

        if (list_empty(&w->pool)) {
                r = xcalloc(1, sizeof(*r));
                r->arena = arena_new(REQUEST_ARENA);
        } else {
                r = list_entry(w->pool.next, struct http_request, link);
                list_del(&r->link);
                w->n_pool--;
        }
        r->conn = c;
        r->w = w;
        list_init(&r->drain_link);
        list_push(&c->requests, &r->link);
        return r;
}

static void request_destroy(struct http_request *r) {
        slices_clear(&r->out);
        vec_free(&r->headers);
        buf_free(&r->body);
        arena_free(r->arena);
        free(r);
}

static void request_free(struct http_request *r) {
        struct worker *w = r->w;
        struct arena *arena = r->arena;
        __typeof__(r->headers) headers = r->headers;

        list_del(&r->link);
        list_del(&r->drain_link);
        if (w->n_pool >= POOL_MAX || arena_size(arena) > POOL_KEEP_BYTES || headers.cap > 64) {
                request_destroy(r);
                return;
        }
        slices_clear(&r->out);
        buf_free(&r->body);
        arena_reset(arena);
        headers.n = 0;
        *r = (struct http_request) { .arena = arena, .headers = headers };
        list_push_front(&w->pool, &r->link);
        w->n_pool++;
}

static const struct {
        struct str text;
        enum http_method method;
} methods[] = {
        { STR_INIT("GET"), HTTP_M_GET },         { STR_INIT("POST"), HTTP_M_POST },
        { STR_INIT("PUT"), HTTP_M_PUT },         { STR_INIT("PATCH"), HTTP_M_PATCH },
        { STR_INIT("DELETE"), HTTP_M_DELETE },   { STR_INIT("HEAD"), HTTP_M_HEAD },
        { STR_INIT("OPTIONS"), HTTP_M_OPTIONS }, { STR_INIT("CONNECT"), HTTP_M_CONNECT },
};

void request_set_method(struct http_request *r, struct str text) {
        r->method = HTTP_M_OTHER;
        for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
                if (str_eq(methods[i].text, text)) {
                        r->method = methods[i].method;
                        r->method_text = methods[i].text;
                        return;
                }
        r->method_text = arena_str(r->arena, text);
}

/* origin-form, or absolute-form (RFC 9112 3.2), whose scheme and authority are dropped. */
void request_set_target(struct http_request *r, struct str target) {
        ssize_t q;

        if (target.n && target.p[0] != '/' && r->method != HTTP_M_CONNECT) {
                ssize_t i = str_search(target, STR("://"));

                if (i > 0) {
                        target = str_sub(target, (size_t) i + 3, target.n);
                        i = str_find(target, '/');
                        target = i < 0 ? STR("/") : str_sub(target, (size_t) i, target.n);
                }
        }
        q = str_find(target, '?');
        r->path = q < 0 ? target : str_sub(target, 0, (size_t) q);
        r->query = q < 0 ? (struct str) { 0 } : str_sub(target, (size_t) q + 1, target.n);
}

void request_add_header(struct http_request *r, struct str name, struct str value) {
        r->header_bytes += name.n + value.n + 32; /* as RFC 9113 6.5.2 counts */
        if (r->header_bytes > r->w->server->o.max_header) {
                r->header_too_large = true;
                return;
        }
        vec_push(&r->headers, (struct http_header) { name, value });
}

void request_dispatch(struct http_request *r) {
        const struct http_server_options *o = &r->w->server->o;

        if (r->header_too_large)
                request_respond_simple(r, 431);
        else if (r->too_large)
                request_respond_simple(r, 413);
        else {
                r->dispatched = true;
                o->handler(r, o->arg);
        }
}

/* The text of 413 is what kube-apiserver answers to a body past its limit. */
void request_respond_simple(struct http_request *r, int status) {
        struct str body;

        if (status == 413) {
                body = arena_printf(r->arena,
                                    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                                    "\"message\":\"Request entity too large: limit is %zu\","
                                    "\"reason\":\"RequestEntityTooLarge\",\"code\":413}\n",
                                    r->w->server->o.max_body);
                http_respond_copy(r, 413, "application/json", body);
                return;
        }
        body = arena_printf(r->arena, "%d %s", status, http_status_text(status));
        http_respond_copy(r, status, "text/plain; charset=utf-8", body);
}

void request_sent(struct http_request *r, size_t n) {
        slices_consume(&r->out, n);
        if (r->above && r->out.bytes < DRAIN_MARK) {
                r->above = false;
                if (r->on_drain && !r->ended && list_empty(&r->drain_link))
                        list_push(&r->conn->drains, &r->drain_link);
        }
}

void conn_run_drains(struct conn *c) {
        while (!list_empty(&c->drains)) {
                struct http_request *r = list_entry(c->drains.next, struct http_request, drain_link);

                list_del(&r->drain_link);
                if (!r->ended)
                        r->on_drain(r, r->on_drain_arg);
        }
}

void request_complete(struct http_request *r) {
        request_free(r);
}

void request_gone(struct http_request *r) {
        bool told = r->on_close != NULL;

        list_del(&r->link);
        list_del(&r->drain_link);
        r->conn = NULL;
        if (!r->dispatched || r->ended || (r->started && !r->streaming)) {
                request_free(r);
                return;
        }
        if (told) {
                r->on_close(r, r->on_close_arg);
                request_free(r);
                return;
        }
        slices_clear(&r->out);
        list_push(&r->w->orphans, &r->link); /* freed when its handler answers */
}

/* ---- what handlers ask ---- */

enum http_method http_request_method(const struct http_request *r) {
        return r->method;
}
struct str http_request_method_text(const struct http_request *r) {
        return r->method_text;
}
struct str http_request_path(const struct http_request *r) {
        return r->path;
}
struct str http_request_query(const struct http_request *r) {
        return r->query;
}
struct str http_request_header(const struct http_request *r, const char *lower_name) {
        return http_header_get(r->headers.v, r->headers.n, lower_name);
}
size_t http_request_headers(const struct http_request *r, const struct http_header **ret) {
        *ret = r->headers.v;
        return r->headers.n;
}
struct str http_request_body(const struct http_request *r) {
        return buf_str(&r->body);
}
struct arena *http_request_arena(struct http_request *r) {
        return r->arena;
}
struct loop *http_request_loop(const struct http_request *r) {
        return r->w->loop;
}
size_t http_request_worker(const struct http_request *r) {
        return r->w->index;
}
bool http_request_is_h2(const struct http_request *r) {
        return r->stream_id != 0;
}
struct str http_request_peer(const struct http_request *r) {
        return r->conn ? str_n(r->conn->address, r->conn->n_address) : (struct str) { 0 };
}
void http_request_set_userdata(struct http_request *r, void *p) {
        r->userdata = p;
}
void *http_request_userdata(const struct http_request *r) {
        return r->userdata;
}
void http_request_on_close(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg) {
        r->on_close = fn;
        r->on_close_arg = arg;
}

static const struct tls_peer *peer_of(const struct http_request *r) {
        struct conn *c = r->conn;

        if (!c || !c->t.ssl)
                return NULL;
        if (!c->peer) {
                c->peer = xmalloc(sizeof(*c->peer));
                tls_peer_read(c->t.ssl, c->peer);
        }
        return c->peer;
}

bool http_request_client_cert(const struct http_request *r, struct str *ret_cn, const struct str **ret_orgs,
                              size_t *ret_n_orgs) {
        const struct tls_peer *p = peer_of(r);

        if (!p || !p->valid)
                return false;
        *ret_cn = p->cn;
        *ret_orgs = p->orgs;
        *ret_n_orgs = p->n_orgs;
        return true;
}

bool http_request_client_cert_invalid(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p && p->present && !p->valid;
}

struct str http_request_client_cert_sha256(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p ? p->sha256 : (struct str) { 0 };
}

/* ---- what they answer ---- */

struct str worker_date(struct worker *w) {
        struct timespec ts;
        struct tm tm;

        clock_gettime(CLOCK_REALTIME_COARSE, &ts);
        if (ts.tv_sec != w->date_second) {
                w->date_second = ts.tv_sec;
                gmtime_r(&ts.tv_sec, &tm);
                strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
        }
        return str_n(w->date, 29);
}

static void release_all(const struct http_slice *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (s[i].release)
                        s[i].release(s[i].arg);
}

void http_respond(struct http_request *r, int status, const struct http_header *h, size_t n_h,
                  const struct http_slice *body, size_t n_body) {
        if (!r->conn) {
                release_all(body, n_body);
                request_free(r);
                return;
        }
        r->started = r->ended = true;
        r->bodyless = r->method == HTTP_M_HEAD || status == 204 || status == 304;
        slices_add(&r->out, body, n_body, r->arena);
        r->out_left = (int64_t) r->out.bytes;
        if (r->bodyless)
                slices_clear(&r->out);
        r->conn->class->start(r, status, h, n_h);
}

void http_respond_copy(struct http_request *r, int status, const char *content_type, struct str body) {
        struct http_header h = { STR("content-type"), str_of(content_type) };
        struct http_slice s = { r->conn ? arena_str(r->arena, body) : body, NULL, NULL };

        http_respond(r, status, &h, content_type ? 1 : 0, &s, 1);
}

void http_stream_start(struct http_request *r, int status, const struct http_header *h, size_t n_h) {
        r->started = r->streaming = true;
        r->out_left = -1;
        if (!r->conn)
                return;
        r->bodyless = r->method == HTTP_M_HEAD || status == 204 || status == 304;
        r->conn->class->start(r, status, h, n_h);
}

void http_stream_send(struct http_request *r, const struct http_slice *s, size_t n) {
        if (!r->conn || r->bodyless || r->ended) {
                release_all(s, n);
                return;
        }
        slices_add(&r->out, s, n, NULL);
        if (r->out.bytes >= DRAIN_MARK)
                r->above = true;
        r->conn->class->more(r);
}

size_t http_stream_pending(const struct http_request *r) {
        return r->out.bytes;
}

void http_stream_on_drain(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg) {
        r->on_drain = fn;
        r->on_drain_arg = arg;
}

void http_stream_end(struct http_request *r) {
        if (!r->conn) {
                request_free(r);
                return;
        }
        if (r->ended)
                return;
        r->ended = true;
        r->conn->class->more(r);
}

/* ---- connections ---- */

static void conn_drop_requests(struct conn *c) {
        while (!list_empty(&c->requests))
                request_gone(list_entry(c->requests.next, struct http_request, link));
}

void conn_close(struct conn *c) {
        if (c->t.closed)
                return;
        list_del(&c->deadline_link);
        if (c->raw)
                raw_duplex_abort(c->raw, -ECANCELED);
        else
                transport_close(&c->t);
        conn_drop_requests(c);
}

static void raw_gone(void *arg) {
        struct conn *c = arg;

        c->raw = NULL;
}

struct duplex *conn_hijack(struct conn *c, struct str first) {
        conn_set_deadline(c, DEADLINE_NONE);
        c->raw = raw_duplex_new(&c->t, first, raw_gone, c);
        return c->raw;
}

static void choose_class(struct conn *c, const struct conn_class *class) {
        c->class = class;
        class->data(c, (struct str) { 0 });
}

static void conn_on_open(struct transport *t) {
        struct conn *c = container_of(t, struct conn, t);

        choose_class(c, str_eq(transport_alpn(t), STR("h2")) ? &conn_h2 : &conn_h1);
}

/* Plain connections: HTTP/2 with prior knowledge begins with its preface, anything else is HTTP/1.1. */
static void sniff(struct conn *c, struct str data) {
        static const struct str preface = STR_INIT("PRI * HTTP/2.0\r\n");
        struct str all;

        buf_add_str(&c->sniffed, data);
        all = buf_str(&c->sniffed);
        if (all.n < preface.n && memcmp(all.p, preface.p, all.n) == 0)
                return;
        choose_class(c, str_has_prefix(all, preface) ? &conn_h2 : &conn_h1);
        if (!c->t.closed)
                c->class->data(c, all);
        buf_free(&c->sniffed);
}

static void conn_on_data(struct transport *t, struct str data) {
        struct conn *c = container_of(t, struct conn, t);

        if (c->class)
                c->class->data(c, data);
        else
                sniff(c, data);
}

static void conn_on_fill(struct transport *t) {
        struct conn *c = container_of(t, struct conn, t);

        if (!c->class)
                return;
        c->class->fill(c);
        if (!t->closed)
                conn_run_drains(c);
}

static void conn_on_finished(struct transport *t) {
        struct conn *c = container_of(t, struct conn, t);

        conn_set_deadline(c, DEADLINE_LINGER);
}

static void conn_on_close(struct transport *t, int err, const char *why) {
        conn_close(container_of(t, struct conn, t));
}

static void conn_on_freed(struct transport *t) {
        struct conn *c = container_of(t, struct conn, t);
        struct worker *w = c->w;

        if (c->class)
                c->class->free(c);
        if (c->peer)
                tls_peer_clear(c->peer);
        free(c->peer);
        buf_free(&c->sniffed);
        list_del(&c->link);
        atomic_fetch_sub_explicit(&w->n_conns, 1, memory_order_relaxed);
        free(c);
}

static const struct transport_ops conn_ops = {
        .on_open = conn_on_open,
        .on_data = conn_on_data,
        .on_fill = conn_on_fill,
        .on_finished = conn_on_finished,
        .on_close = conn_on_close,
        .on_freed = conn_on_freed,
};

static void format_address(struct conn *c, const struct sockaddr_storage *a) {
        char ip[INET6_ADDRSTRLEN] = "";
        const struct sockaddr_in *v4 = (const void *) a;
        const struct sockaddr_in6 *v6 = (const void *) a;

        if (a->ss_family == AF_INET) {
                inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip));
                snprintf(c->address, sizeof(c->address), "%s:%u", ip, ntohs(v4->sin_port));
        } else if (a->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
                inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, sizeof(ip));
                snprintf(c->address, sizeof(c->address), "%s:%u", ip, ntohs(v6->sin6_port));
        } else if (a->ss_family == AF_INET6) {
                inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip));
                snprintf(c->address, sizeof(c->address), "[%s]:%u", ip, ntohs(v6->sin6_port));
        } else
                snprintf(c->address, sizeof(c->address), "@");
        c->n_address = (uint8_t) strlen(c->address);
}

/* A connection on its way to its worker. */
struct accepted {
        struct loop_work work;
        struct worker *w;
        int fd;
        struct sockaddr_storage address;
};

void worker_adopt(struct worker *w, int fd, const struct sockaddr_storage *address) {
        struct conn *c = xcalloc(1, sizeof(*c));

        c->w = w;
        list_init(&c->link);
        list_init(&c->deadline_link);
        list_init(&c->requests);
        list_init(&c->drains);
        format_address(c, address);
        if (w->stopping || transport_init(&c->t, w->loop, fd, w->server->o.tls, NULL, false, &conn_ops) < 0) {
                close(fd);
                free(c);
                atomic_fetch_sub_explicit(&w->n_conns, 1, memory_order_relaxed);
                return;
        }
        list_push(&w->conns, &c->link);
        conn_set_deadline(c, DEADLINE_HEADER);
}

static void adopt(struct loop_work *work) {
        struct accepted *a = container_of(work, struct accepted, work);

        worker_adopt(a->w, a->fd, &a->address);
        free(a);
}

/* ---- accepting ---- */

static size_t total_conns(struct http_server *s) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_workers; i++)
                n += atomic_load_explicit(&s->workers[i].n_conns, memory_order_relaxed);
        return n;
}

static struct worker *least_loaded(struct http_server *s) {
        struct worker *best = NULL;
        size_t best_n = SIZE_MAX, start = s->next++;

        for (size_t i = 0; i < s->n_workers; i++) {
                struct worker *w = &s->workers[(start + i) % s->n_workers];
                size_t n = atomic_load_explicit(&w->n_conns, memory_order_relaxed);

                if (n < best_n) {
                        best = w;
                        best_n = n;
                }
        }
        return best;
}

static void on_acceptable(uv_poll_t *h, int status, int events);

static void accept_again(struct timer *t) {
        struct http_server *s = container_of(t, struct http_server, accept_timer);

        uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
}

static void on_acceptable(uv_poll_t *h, int status, int events) {
        struct http_server *s = h->data;

        for (int i = 0; i < 64; i++) { /* then the first worker's connections have their turn */
                struct sockaddr_storage address;
                socklen_t n = sizeof(address);
                struct accepted *a;
                int fd = accept4(s->listen_fd, (struct sockaddr *) &address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

                if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
                        log_warn("http: accept: %s", strerror(errno));
                        uv_poll_stop(h);
                        timer_start(s->workers[0].loop, &s->accept_timer, 200, accept_again);
                        return;
                }
                if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
                        continue;
                if (fd < 0)
                        return;
                if (total_conns(s) >= s->o.max_connections) {
                        close(fd);
                        continue;
                }
                transport_set_nodelay(fd);
                a = xmalloc(sizeof(*a));
                *a = (struct accepted) { .w = least_loaded(s), .fd = fd, .address = address };
                a->work.run = adopt;
                atomic_fetch_add_explicit(&a->w->n_conns, 1, memory_order_relaxed);
                if (a->w == &s->workers[0])
                        adopt(&a->work);
                else
                        loop_post(a->w->loop, &a->work);
        }
}

static int make_listener(const struct http_server_options *o, int *ret, struct error *err) {
        struct sockaddr_storage ss = { 0 };
        struct sockaddr_in *v4 = (void *) &ss;
        struct sockaddr_in6 *v6 = (void *) &ss;
        const char *address = o->address ? o->address : "0.0.0.0";
        _cleanup_close_ int fd = -1;
        int one = 1;

        if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons(o->port);
        } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
                v6->sin6_family = AF_INET6;
                v6->sin6_port = htons(o->port);
        } else
                return error_set(err, -EINVAL, "listen: %s is not an IP address", address);
        fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return error_errno(err, -errno, "listen %s:%u", address, o->port);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (bind(fd, (struct sockaddr *) &ss, ss.ss_family == AF_INET ? sizeof(*v4) : sizeof(*v6)) < 0 ||
            listen(fd, 4096) < 0)
                return error_errno(err, -errno, "listen %s:%u", address, o->port);
        *ret = fd;
        fd = -1;
        return 0;
}

/* ---- start and stop ---- */

static void start_listening(void *arg) {
        struct http_server *s = arg;

        uv_poll_init(loop_uv(s->workers[0].loop), &s->listener, s->listen_fd);
        s->listener.data = s;
        uv_poll_start(&s->listener, UV_READABLE, on_acceptable);
}

static void server_free(struct http_server *s) {
        for (size_t i = 0; i < s->n_workers; i++)
                loop_free(s->workers[i].loop);
        tls_context_unref(s->o.tls);
        if (s->listen_fd >= 0)
                close(s->listen_fd);
        free(s->workers);
        free(s);
}

void worker_init(struct worker *w, struct http_server *s, size_t index) {
        *w = (struct worker) { .server = s, .index = index };
        snprintf(w->name, sizeof(w->name), "http/%zu", index);
        list_init(&w->conns);
        list_init(&w->orphans);
        list_init(&w->pool);
        for (int d = 0; d < N_DEADLINES; d++)
                list_init(&w->deadlines[d]);
}

static int make_workers(struct http_server *s, struct error *err) {
        size_t n = s->o.workers;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        if (n == 0)
                n = cpus > 0 ? (size_t) cpus : 1;
        s->workers = xcalloc(n, sizeof(*s->workers));
        for (size_t i = 0; i < n; i++) {
                struct worker *w = &s->workers[i];
                int r;

                worker_init(w, s, i);
                r = loop_new(w->name, &w->loop, err);
                if (r < 0)
                        return r;
                s->n_workers++;
        }
        return 0;
}

void http_server_defaults(struct http_server *s) {
        struct http_server_options *o = &s->o;

        o->max_body = o->max_body ? o->max_body : 3 * 1024 * 1024;
        o->max_header = o->max_header ? o->max_header : 64 * 1024;
        o->header_timeout_ms = o->header_timeout_ms ? o->header_timeout_ms : 30 * 1000;
        o->max_streams = o->max_streams ? o->max_streams : 250;
        o->max_connections = o->max_connections ? o->max_connections : 20000;
        s->deadline_ms[DEADLINE_HEADER] = o->header_timeout_ms;
        s->deadline_ms[DEADLINE_IDLE] = 3 * (uint64_t) o->header_timeout_ms;
        s->deadline_ms[DEADLINE_BODY] = 2 * (uint64_t) o->header_timeout_ms;
        s->deadline_ms[DEADLINE_LINGER] = 1000;
}

int http_server_start(const struct http_server_options *o, struct http_server **ret, struct error *err) {
        struct http_server *s = xcalloc(1, sizeof(*s));
        struct sockaddr_storage a = { 0 };
        socklen_t n = sizeof(a);
        int r = 0;

        s->o = *o;
        tls_context_ref(s->o.tls);
        http_server_defaults(s);
        s->listen_fd = o->listen_fd > 0 ? o->listen_fd : -1;
        if (s->listen_fd < 0)
                r = make_listener(&s->o, &s->listen_fd, err);
        if (r >= 0)
                r = make_workers(s, err);
        if (r < 0) {
                server_free(s);
                return r;
        }
        getsockname(s->listen_fd, (struct sockaddr *) &a, &n);
        s->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *) &a)->sin6_port
                                                : ((struct sockaddr_in *) &a)->sin_port);
        for (size_t i = 0; i < s->n_workers; i++)
                loop_start_thread(s->workers[i].loop);
        loop_call_sync(s->workers[0].loop, start_listening, s);
        *ret = s;
        return 0;
}

uint16_t http_server_port(const struct http_server *s) {
        return s->port;
}
size_t http_server_workers(const struct http_server *s) {
        return s->n_workers;
}
struct loop *http_server_worker(const struct http_server *s, size_t i) {
        return s->workers[i].loop;
}

static void stop_listening(void *arg) {
        struct http_server *s = arg;

        uv_close((uv_handle_t *) &s->listener, NULL);
        timer_close(&s->accept_timer, NULL);
}

/* Streams end now (their owners are told), other requests may finish. */
static void worker_stop(void *arg) {
        struct worker *w = arg;

        w->stopping = true;
        list_for_each_safe(it, &w->conns) {
                struct conn *c = list_entry(it, struct conn, link);

                if (c->t.closed)
                        continue;
                list_for_each_safe(rit, &c->requests) {
                        struct http_request *r = list_entry(rit, struct http_request, link);

                        if (!r->streaming || r->ended)
                                continue;
                        if (r->on_close) {
                                r->on_close(r, r->on_close_arg);
                                r->on_close = NULL;
                        }
                        http_stream_end(r);
                }
                if (c->class && !c->raw)
                        c->class->stop(c);
                else
                        conn_close(c);
        }
}

void worker_close(void *arg) {
        struct worker *w = arg;

        list_for_each_safe(it, &w->conns)
                conn_close(list_entry(it, struct conn, link));
        timer_close(&w->timer, NULL);
}

void worker_empty_pools(struct worker *w) {
        struct list *lists[] = { &w->pool, &w->orphans };

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                while (!list_empty(lists[i])) {
                        struct http_request *r = list_entry(lists[i]->next, struct http_request, link);

                        list_del(&r->link);
                        request_destroy(r);
                }
}

static bool wait_for_conns(struct http_server *s, int64_t until_ms) {
        while (total_conns(s) > 0) {
                if (now_mono_ms() >= until_ms)
                        return false;
                usleep(2000);
        }
        return true;
}

void http_server_stop(struct http_server *s, unsigned grace_ms) {
        loop_call_sync(s->workers[0].loop, stop_listening, s);
        for (size_t i = 0; i < s->n_workers; i++)
                loop_call_sync(s->workers[i].loop, worker_stop, &s->workers[i]);
        wait_for_conns(s, now_mono_ms() + grace_ms);
        for (size_t i = 0; i < s->n_workers; i++)
                loop_call_sync(s->workers[i].loop, worker_close, &s->workers[i]);
        wait_for_conns(s, now_mono_ms() + 1000);
        for (size_t i = 0; i < s->n_workers; i++) {
                loop_stop(s->workers[i].loop);
                loop_join(s->workers[i].loop);
                worker_empty_pools(&s->workers[i]);
        }
        server_free(s);
}
