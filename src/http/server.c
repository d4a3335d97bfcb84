/* The server: workers, the sharing out of connections, deadlines. What happens to a request is in request.c.
 *
 * The first worker's loop accepts; a connection goes to the worker that has the fewest (in turn where they tie), as
 * a message, and stays there. Sixteen connections on two workers are eight and eight, which SO_REUSEPORT does not
 * promise.
 */
#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/time.h"
#include "http/duplex.h"
#include "http/server_internal.h"

#define TURN_MS 50        /* of end_slowly */
#define CROWD 1024        /* connections of a worker */
#define HEADER_FREE 16384 /* bytes of a header that are nothing special */

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

        buf_add_str(&c->sniffed, data);
        struct str all = buf_str(&c->sniffed);
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

METRIC(handshake_errors, COUNTER, "apiserver_tls_handshake_errors_total",
       "[ALPHA] Number of requests dropped with 'TLS handshake error from' error");

static void conn_on_close(struct transport *t, int err, const char *why) {
        if (t->ssl && !t->open)
                metric_add(&handshake_errors, 1);
        conn_close(container_of(t, struct conn, t));
}

/* After a crowd of connections their memory lies in holes, which malloc keeps unless told. */
static void give_memory_back(struct worker *w, size_t conns) {
        w->peak_conns = MAX(w->peak_conns, conns);
        if (w->peak_conns < CROWD || conns > w->peak_conns / 8)
                return;
        w->peak_conns = conns;
        malloc_trim(0);
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
        free(c);
        give_memory_back(w, atomic_fetch_sub_explicit(&w->n_conns, 1, memory_order_relaxed));
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

/* ---- headers ---- */

/* One client may send a header of 1 MiB, as to Go's servers; 20,000 at once may not. */
bool header_charge(struct http_server *s, size_t *charged, size_t bytes) {
        size_t large = bytes > HEADER_FREE ? bytes - HEADER_FREE : 0, before;

        if (large == *charged)
                return true;
        before = atomic_fetch_add_explicit(&s->large_headers, large - *charged, memory_order_relaxed);
        if (large > *charged && before + (large - *charged) > s->o.max_headers) {
                atomic_fetch_sub_explicit(&s->large_headers, large - *charged, memory_order_relaxed);
                return false;
        }
        *charged = large;
        return true;
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
        int one = 1;

        if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons(o->port);
        } else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
                v6->sin6_family = AF_INET6;
                v6->sin6_port = htons(o->port);
        } else
                return error_set(err, -EINVAL, "listen: %s is not an IP address", address);
        _cleanup_close_ int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
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

                worker_init(w, s, i);
                TRY(loop_new(w->name, &w->loop, err));
                s->n_workers++;
        }
        return 0;
}

void http_server_defaults(struct http_server *s) {
        struct http_server_options *o = &s->o;

        o->max_body = o->max_body ? o->max_body : 3 * 1024 * 1024;
        o->max_header = o->max_header ? o->max_header : 1 << 20;
        o->max_headers = o->max_headers ? o->max_headers : 64 << 20;
        o->header_timeout_ms = o->header_timeout_ms ? o->header_timeout_ms : 30 * 1000;
        o->max_streams = o->max_streams ? o->max_streams : 100;
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
        transport_set_options(s->listen_fd); /* each accepted socket inherits them */
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
        closep(&s->listen_fd); /* who comes now is refused, and does not wait for the end */
        timer_close(&s->accept_timer, NULL);
}

struct ending {
        struct worker *w;
        size_t max, n_left;
};

/* So many streams end now (their owners are told); other requests may finish. */
static void end_streams(void *arg) {
        struct ending *e = arg;

        list_each_safe(struct conn, c, &e->w->conns, link) {
                if (c->t.closed)
                        continue;
                list_each_safe(struct http_request, r, &c->requests, link) {
                        if (!r->streaming || r->ended || r->finite)
                                continue;
                        if (e->max == 0) {
                                e->n_left++;
                                continue;
                        }
                        e->max--;
                        if (r->on_close) {
                                r->on_close(r, r->on_close_arg);
                                r->on_close = NULL;
                        }
                        http_stream_end(r);
                }
        }
}

/* How many are left. */
static size_t end_streams_of_all(struct http_server *s, size_t max) {
        size_t n_left = 0;

        for (size_t i = 0; i < s->n_workers; i++) {
                struct ending e = { &s->workers[i], max, 0 };

                loop_call_sync(e.w->loop, end_streams, &e);
                max = e.max;
                n_left += e.n_left;
        }
        return n_left;
}

static void worker_stop(void *arg) {
        struct worker *w = arg;

        w->stopping = true;
        list_each_safe(struct conn, c, &w->conns, link) {
                if (c->t.closed)
                        continue;
                if (c->class && !c->raw)
                        c->class->stop(c);
                else
                        conn_close(c);
        }
}

void worker_close(void *arg) {
        struct worker *w = arg;

        list_each_safe(struct conn, it, &w->conns, link)
                conn_close(it);
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

/* One after another, so that those who come back elsewhere are no crowd: 200 a second, or all within the time. */
static void end_slowly(struct http_server *s, unsigned within_ms) {
        int64_t until = now_mono_ms() + within_ms;
        size_t n = end_streams_of_all(s, 0), per_turn = MAX(200UL, n * 1000 / within_ms) * TURN_MS / 1000;

        while (n > 0 && now_mono_ms() < until) {
                usleep(TURN_MS * 1000);
                n = end_streams_of_all(s, per_turn);
        }
}

void http_server_drain(struct http_server *s, unsigned grace_ms, unsigned streams_ms) {
        if (s->draining)
                return;
        s->draining = true;
        loop_call_sync(s->workers[0].loop, stop_listening, s);
        for (size_t i = 0; i < s->n_workers; i++)
                loop_call_sync(s->workers[i].loop, worker_stop, &s->workers[i]);
        if (streams_ms > 0)
                end_slowly(s, streams_ms);
        end_streams_of_all(s, SIZE_MAX);
        wait_for_conns(s, now_mono_ms() + grace_ms);
}

void http_server_stop(struct http_server *s, unsigned grace_ms) {
        http_server_drain(s, grace_ms, 0);
        for (size_t i = 0; i < s->n_workers; i++)
                loop_call_sync(s->workers[i].loop, worker_close, &s->workers[i]);
        wait_for_conns(s, now_mono_ms() + 1000);
        while (s->o.busy && atomic_load(s->o.busy) > 0)
                usleep(1000);
        for (size_t i = 0; i < s->n_workers; i++) {
                loop_stop(s->workers[i].loop);
                loop_join(s->workers[i].loop);
                worker_empty_pools(&s->workers[i]);
        }
        server_free(s);
}
