/* The life of a request, what handlers ask of it and what they answer.
 *
 *   request_new ─▶ request_dispatch ─▶ handler ─▶ http_respond | http_stream_* ─▶ request_complete
 *                                         └─ the client goes away: request_gone ─▶ on_close, or an orphan that waits
 *                                            for its handler's answer and drops it
 *
 * Requests and their arenas are used again through a small pool of each worker. How a response becomes bytes is up to
 * the connection's class: server_h1.c, server_h2.c.
 */
#include "base/encode.h"
#include "base/url.h"
#include "http/server_internal.h"

#define REQUEST_ARENA 2048
#define POOL_MAX 64 /* requests kept by a worker for later */
#define UNASKED_MAX (256 * 1024)
#define POOL_KEEP_BYTES 16384 /* … whose arena is not larger than this */

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

void request_destroy(struct http_request *r) {
        slices_clear(&r->out);
        vec_free(&r->headers);
        buf_free(&r->body);
        arena_free(r->arena);
        free(r);
}

static void request_free(struct http_request *r) {
        struct worker *w = r->w;
        struct arena *arena = r->arena;
        http1_headers headers = r->headers;

        if (r->observer)
                r->observer->ended(r, r->observer_arg);
        header_charge(w->server, &r->header_charged, 0);
        list_del(&r->link);
        list_del(&r->drain_link);
        if (w->n_pool >= POOL_MAX || arena_size(arena) > POOL_KEEP_BYTES || headers.cap > 64)
                return request_destroy(r);
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

bool request_path_is_bad(struct str target) {
        ssize_t q = str_find(target, '?');

        return url_bad_escape(str_sub(target, 0, q < 0 ? target.n : (size_t) q)).n > 0;
}

void request_set_target(struct http_request *r, struct str target) {
        ssize_t q = str_find(target, '?');

        r->uri = target;
        r->path = q < 0 ? target : str_sub(target, 0, (size_t) q);
        if (q >= 0)
                r->query = str_sub(target, (size_t) q + 1, target.n);
}

void request_add_header(struct http_request *r, struct str name, struct str value) {
        r->header_bytes += name.n + value.n + 32; /* as RFC 9113 6.5.2 counts */
        if (r->header_bytes > r->w->server->o.max_header ||
            !header_charge(r->w->server, &r->header_charged, r->header_bytes)) {
                r->header_too_large = true;
                return;
        }
        vec_push(&r->headers, (struct http_header) { name, value });
}

void request_dispatch(struct http_request *r) {
        const struct http_server_options *o = &r->w->server->o;

        if (r->header_too_large)
                request_respond_simple(r, 431);
        else if ((r->too_large || r->body_problem) && !o->too_large)
                request_respond_simple(r, r->too_large ? 413 : 500);
        else {
                r->dispatched = true;
                if (r->then)
                        r->then(r, r->then_arg);
                else
                        (r->too_large || r->body_problem ? o->too_large : o->handler)(r, o->arg);
        }
}

bool request_streams(struct http_request *r, int64_t length) {
        const struct http_server_options *o = &r->w->server->o;

        r->streams = r->receiving = o->streams && !r->header_too_large &&
                                    (r->expects_continue || length >= UNASKED_MAX || o->streams(r, o->arg));
        return r->streams;
}

bool request_wants_body(const struct http_request *r) {
        return !r->streams || r->wanted;
}

bool http_request_collect(struct http_request *r, http_handler then, void *arg) {
        bool whole = !r->streams || !r->receiving || !r->conn;

        r->streams = false;
        if (whole)
                return false;
        r->then = then;
        r->then_arg = arg;
        r->dispatched = false;
        conn_set_deadline(r->conn, DEADLINE_BODY);
        r->conn->class->took(r, r->body.n);
        return true;
}

/* Gives the taker what it has not got. */
static void give_body(struct http_request *r) {
        struct buf had = r->body;
        bool last = !r->receiving;

        if (r->body_paused || !(r->on_body || r->ended))
                return;
        r->body = BUF_INIT;
        if (r->conn)
                r->conn->class->took(r, had.n);
        if (r->on_body) {
                http_body_fn fn = r->on_body;

                r->on_body = last ? NULL : fn;
                fn(r, buf_str(&had), last, r->on_body_arg);
        }
        buf_free(&had);
}

void request_body(struct http_request *r, struct str data, bool last) {
        buf_add_str(&r->body, data);
        r->receiving = !last;
        give_body(r);
}

/* Bodies past the limit, or in broken chunks, are refused as kube-apiserver does, which reads them late. */
void request_respond_simple(struct http_request *r, int status) {
        struct str body;

        if (status == 413) {
                body = arena_printf(r->arena,
                                    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                                    "\"message\":\"Request entity too large: limit is %zu\","
                                    "\"reason\":\"RequestEntityTooLarge\",\"code\":413}\n",
                                    r->w->server->o.max_body);
                return http_respond_copy(r, 413, "application/json", body);
        }
        if (status == 500) {
                body = arena_printf(r->arena,
                                    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","
                                    "\"message\":\"%s\",\"code\":500}\n",
                                    r->body_problem);
                return http_respond_copy(r, status, "application/json", body);
        }
        if (status == 417)
                return http_respond(r, status, NULL, 0, NULL, 0);
        body = status == 501 ? STR("Unsupported transfer encoding")
                             : arena_printf(r->arena, "%d %s%s%s", status, http_status_text(status),
                                            r->problem ? ": " : "", r->problem ? r->problem : "");
        http_respond_copy(r, status, "text/plain; charset=utf-8", body);
}

bool request_has_length(const struct http_request *r, size_t max) {
        return r->out_left >= 0 && r->out_left <= (int64_t) max && (r->method != HTTP_M_HEAD || r->out_left > 0);
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
        if (!r->dispatched || r->ended || (r->started && !r->streaming))
                return request_free(r);
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
struct str http_request_uri(const struct http_request *r) {
        return r->uri;
}
void http_request_decode_path(struct http_request *r) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_find(r->path, '%') < 0 || url_decode(&b, r->path, false) < 0)
                return;
        for (size_t i = 0; i < b.n; i++)
                if ((unsigned char) b.p[i] <= ' ' || strchr("?#%\x7f", b.p[i]))
                        return;
        r->path = arena_str(r->arena, buf_str(&b));
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
bool http_request_is_too_large(const struct http_request *r) {
        return r->too_large;
}
const char *http_request_body_problem(const struct http_request *r) {
        return r->body_problem;
}
size_t http_request_max_body(const struct http_request *r) {
        return r->w->server->o.max_body;
}
bool http_request_is_receiving(const struct http_request *r) {
        return r->streams && (r->receiving || r->body.n > 0);
}
void http_request_on_body(struct http_request *r, http_body_fn fn, void *arg) {
        r->on_body = fn;
        r->on_body_arg = arg;
        r->wanted |= fn != NULL;
        if (fn)
                give_body(r);
}
void http_request_pause_body(struct http_request *r, bool paused) {
        if (r->body_paused == paused)
                return;
        r->body_paused = paused;
        if (!paused)
                give_body(r);
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

void http_request_observe(struct http_request *r, const struct http_observer *o, void *arg) {
        r->observer = o;
        r->observer_arg = arg;
}
void http_request_add_headers(struct http_request *r, const struct http_header *h, size_t n) {
        r->added = h;
        r->n_added = n;
}
void http_stream_is_finite(struct http_request *r) {
        r->finite = true;
}
bool http_request_take_over(struct http_request *r) {
        void (*fn)(struct http_request *, void *) = r->on_close;

        if (r->started || !fn)
                return false;
        r->on_close = NULL;
        fn(r, r->on_close_arg);
        return true;
}

void http_request_last(struct http_request *r) {
        if (r->conn)
                r->conn->class->stop(r->conn);
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

/* A connection may outlive its certificate. */
static bool is_valid(const struct tls_peer *p) {
        return p->valid && (!p->not_after || time(NULL) <= p->not_after);
}

bool http_request_client_cert(const struct http_request *r, struct str *ret_cn, const struct str **ret_orgs,
                              size_t *ret_n_orgs) {
        const struct tls_peer *p = peer_of(r);

        if (!p || !is_valid(p))
                return false;
        *ret_cn = p->cn;
        *ret_orgs = p->orgs;
        *ret_n_orgs = p->n_orgs;
        return true;
}

bool http_request_client_cert_invalid(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p && p->present && !is_valid(p);
}

struct str http_request_client_cert_authority(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p ? p->authority : (struct str) { 0 };
}

struct str http_request_client_cert_sha256(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p ? p->sha256 : (struct str) { 0 };
}

bool http_request_client_cert_uid(const struct http_request *r, struct str *ret) {
        const struct tls_peer *p = peer_of(r);

        *ret = p ? p->uid : (struct str) { 0 };
        return !p || !p->spoilt;
}

int64_t http_request_client_cert_not_after(const struct http_request *r) {
        const struct tls_peer *p = peer_of(r);

        return p ? p->not_after : 0;
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

static bool tell_answered(struct http_request *r, int status, const struct http_slice *body, size_t n_body) {
        int64_t bytes = body ? 0 : -1;

        if (!r->observer)
                return false;
        for (size_t i = 0; i < n_body; i++)
                bytes += (int64_t) body[i].data.n;
        return r->observer->answered(r, status, bytes, r->observer_arg);
}

static void hold(struct http_request *r, int status, const struct http_header *h, size_t n) {
        r->held_status = status;
        r->held_headers = arena_dup(r->arena, h, n * sizeof(*h));
        r->n_held = n;
        for (size_t i = 0; i < n; i++)
                r->held_headers[i] = (struct http_header) { arena_str(r->arena, h[i].name),
                                                            arena_str(r->arena, h[i].value) };
}

void http_request_release(struct http_request *r) {
        r->held = false;
        r->conn->class->start(r, r->held_status, r->held_headers, r->n_held);
}

void http_respond(struct http_request *r, int status, const struct http_header *h, size_t n_h,
                  const struct http_slice *body, size_t n_body) {
        if (!r->conn) {
                release_all(body, n_body);
                request_free(r);
                return;
        }
        r->held = tell_answered(r, status, body, n_body);
        r->started = r->ended = true;
        r->bodyless = r->method == HTTP_M_HEAD || status == 204 || status == 304;
        slices_add(&r->out, body, n_body, r->arena);
        r->out_left = (int64_t) r->out.bytes;
        if (r->bodyless)
                slices_clear(&r->out);
        if (r->held)
                hold(r, status, h, n_h);
        else
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
        tell_answered(r, status, NULL, 0);
        r->bodyless = r->method == HTTP_M_HEAD || status == 204 || status == 304;
        r->conn->class->start(r, status, h, n_h);
}

void http_inform(struct http_request *r, int status, const struct http_header *h, size_t n_h) {
        if (r->conn && !r->started)
                r->conn->class->inform(r, status, h, n_h);
}

void http_stream_send(struct http_request *r, const struct http_slice *s, size_t n) {
        if (!r->conn || r->bodyless || r->ended)
                return release_all(s, n);
        slices_add(&r->out, s, n, NULL);
        if (r->out.bytes >= DRAIN_MARK)
                r->above = true;
        r->conn->class->more(r);
}

bool http_request_is_read(const struct http_request *r) {
        return r->conn && !r->bodyless;
}

size_t http_stream_pending(const struct http_request *r) {
        return r->out.bytes;
}

void http_stream_on_drain(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg) {
        r->on_drain = fn;
        r->on_drain_arg = arg;
}

void http_stream_trailers(struct http_request *r, const struct http_header *h, size_t n_h) {
        if (!r->conn || n_h == 0)
                return;
        r->trailers = arena_array(r->arena, struct http_header, n_h);
        for (; r->n_trailers < n_h; r->n_trailers++)
                r->trailers[r->n_trailers] = (struct http_header) { arena_str(r->arena, h[r->n_trailers].name),
                                                                    arena_str(r->arena, h[r->n_trailers].value) };
}

void http_stream_end(struct http_request *r) {
        if (!r->conn)
                return request_free(r);
        if (r->ended)
                return;
        r->ended = true;
        r->conn->class->more(r);
}

void http_stream_abort(struct http_request *r) {
        r->ended = true;
        if (!r->conn)
                request_free(r);
        else
                r->conn->class->abort(r);
}
