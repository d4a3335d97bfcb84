/* HTTP/1.1 on a server's connection.
 *
 *   HEAD ──(whole header)──▶ BODY ──(whole body)──▶ BUSY ──(response sent)──▶ HEAD …
 *                                                     └──(not kept alive, or malformed)──▶ CLOSING
 *
 * One request at a time: what a client sends ahead (pipelining) is kept in h1->in, at most 64 KiB, and then the socket
 * is not read. A header is collected whole and parsed in one copy in the request's arena (http1.h).
 */
#include "http/duplex.h"
#include "http/server_internal.h"

#define AHEAD_MAX (64 * 1024)
#define CHUNK_MAX (64 * 1024)
#define LENGTH_MAX 2048 /* a longer body is chunked, unless its handler says how long it is */

enum state { HEAD, BODY, BUSY, CLOSING };

struct h1 {
        enum state state;
        struct buf in;          /* not consumed yet */
        size_t scanned;         /* of in: holds no end of the header */
        size_t charged;         /* for it: header_charge */
        struct http_request *r; /* the one being received or answered */
        struct http1_head request;
        struct http1_body body;
        struct buf info;         /* before that: 1xx */
        struct str head;         /* of the response, in the request's arena */
        bool head_sent, chunked; /* the response */
        size_t spare;            /* so many ends of lines that old clients send behind the body of a POST */
        bool keep_alive, stopping, hijacked, processing;
};

/* ---- receiving ---- */

/* Answers by ourselves and closes: what follows on this connection cannot be trusted. */
static void refuse(struct conn *c, int status) {
        struct h1 *h = c->h1;

        if (!h->r)
                h->r = request_new(c);
        if (status != 417)
                h->request.minor = 1;
        h->r->problem = h->request.problem;
        h->r->refused = status != 413 && status != 417 && status != 500;
        h->keep_alive = false;
        h->state = BUSY;
        conn_set_deadline(c, DEADLINE_BODY);
        if (status == 413 || status == 500) {
                h->r->too_large = status == 413;
                buf_free(&h->r->body);
                request_dispatch(h->r);
        } else {
                request_respond_simple(h->r, status);
        }
}

/* The handler has the request now, with its body (BUSY), or that as it comes (BODY). */
static void dispatch(struct conn *c, enum state state) {
        struct h1 *h = c->h1;
        const struct http1_head *q = &h->request;

        h->keep_alive = !q->close && (q->minor > 0 || q->keep_alive) && !h->stopping;
        if (state == BUSY)
                http1_body_clear(&h->body);
        h->state = state;
        conn_set_deadline(c, DEADLINE_NONE);
        request_dispatch(h->r);
}

static size_t take_head(struct conn *c, const char *p, size_t n) {
        struct h1 *h = c->h1;
        size_t skipped = 0, max = c->w->server->o.max_header;

        while (skipped < MIN(n, h->spare) && (p[skipped] == '\r' || p[skipped] == '\n')) /* RFC 9112 2.2 */
                skipped++;
        h->spare = skipped < n ? 0 : h->spare - skipped;
        p += skipped;
        n -= skipped;
        if (n == 0)
                return skipped;
        if (skipped)
                h->scanned = 0;
        if (!http1_is_token(*p)) { /* no method begins so: TLS, for one */
                refuse(c, 400);
                return skipped + n;
        }
        if (c->deadline != DEADLINE_HEADER)
                conn_set_deadline(c, DEADLINE_HEADER);
        size_t end = http1_find_end(p, MIN(n, max), &h->scanned);
        if (end == 0) {
                if (n >= max || !header_charge(c->w->server, &h->charged, n))
                        refuse(c, 431);
                return skipped;
        }
        h->scanned = 0;
        h->r = request_new(c);
        h->r->header_charged = h->charged; /* it is copied there */
        h->charged = 0;
        h->head = (struct str) { 0 };
        h->head_sent = h->chunked = false;
        int r = http1_parse_request(arena_dup(h->r->arena, p, end), end, &h->request, &h->r->headers);
        if (r == 0 && request_path_is_bad(h->request.target))
                r = -400;
        if (r == 0) {
                request_set_method(h->r, h->request.method);
                request_set_target(h->r, h->request.target);
                h->r->uri = h->request.uri;
                http1_body_init(&h->body, &h->request, true);
                h->r->expects_continue = !h->body.done && h->request.expect_continue && h->request.minor > 0;
                if (!h->body.done && !request_streams(h->r, h->request.content_length) &&
                    h->request.content_length > (int64_t) c->w->server->o.max_body)
                        r = -413;
        }
        if (r < 0) {
                refuse(c, -r);
                return skipped + n;
        }
        if (h->body.done)
                dispatch(c, BUSY);
        else if (h->r->streams)
                dispatch(c, BODY);
        else {
                h->state = BODY;
                conn_set_deadline(c, DEADLINE_BODY);
                if (h->body.kind == HTTP1_LENGTH)
                        buf_reserve(&h->r->body, h->body.left);
                if (h->r->expects_continue)
                        transport_dirty(&c->t);
        }
        return skipped + end;
}

/* Part of a body that is not kept here. */
static size_t take_streamed(struct conn *c, ssize_t used, struct str part, size_t n) {
        struct h1 *h = c->h1;

        if (used < 0) {
                conn_close(c);
                return n;
        }
        if (h->body.done) {
                http1_body_clear(&h->body);
                h->state = BUSY;
        }
        if (part.n > 0 || h->body.done)
                request_body(h->r, part, h->body.done);
        if (!c->t.closed && h->state == BODY && h->r->body.n >= AHEAD_MAX)
                transport_pause(&c->t, true);
        return (size_t) used;
}

static void h1_took(struct http_request *r, size_t n) {
        struct conn *c = r->conn;

        transport_pause(&c->t, c->h1->in.n >= AHEAD_MAX);
        if (r->expects_continue)
                transport_dirty(&c->t);
}

static void h1_abort(struct http_request *r) {
        conn_close(r->conn);
}

static size_t take_body(struct conn *c, const char *p, size_t n) {
        struct h1 *h = c->h1;
        struct str part;
        ssize_t used = http1_body_take(&h->body, p, n, &part);

        if (h->r->streams)
                return take_streamed(c, used, part, n);

        if (used < 0 || h->r->body.n + part.n > c->w->server->o.max_body) {
                h->r->body_problem = used < 0 ? arena_cstr(h->r->arena, str_of(h->body.problem)) : NULL;
                refuse(c, used < 0 ? 500 : 413);
                return n;
        }
        if (part.n)
                buf_add_str(&h->r->body, part);
        if (h->body.done)
                dispatch(c, BUSY);
        return (size_t) used;
}

/* Takes what it can; returns how much. */
static size_t process(struct conn *c, const char *p, size_t n) {
        size_t done = 0;

        while (done < n && !c->t.closed) {
                size_t used;

                if (c->h1->state == HEAD)
                        used = take_head(c, p + done, n - done);
                else if (c->h1->state == BODY)
                        used = take_body(c, p + done, n - done);
                else
                        break;
                if (c->h1->hijacked)
                        return done + used;
                if (used == 0 && c->h1->state == HEAD)
                        break;
                done += used;
        }
        return done;
}

/* Processes p, of which the rest is left over for later, or for who took the connection over meanwhile. */
static struct str run(struct conn *c, const char *p, size_t n) {
        struct h1 *h = c->h1;

        h->processing = true;
        size_t used = process(c, p, n);
        h->processing = false;
        if (!c->t.closed && h->hijacked) {
                if (used < n)
                        c->t.ops->on_data(&c->t, str_n(p + used, n - used));
                used = n;
        }
        return str_n(p + used, c->t.closed ? 0 : n - used);
}

/* The same with what was kept. */
static void run_kept(struct conn *c) {
        struct h1 *h = c->h1;
        struct str rest = run(c, h->in.p, h->in.n);

        buf_consume(&h->in, h->in.n - rest.n);
        if (h->in.n == 0)
                buf_free(&h->in);
}

static void h1_data(struct conn *c, struct str data) {
        struct h1 *h = c->h1;

        if (!h) {
                c->h1 = h = xcalloc(1, sizeof(*h));
                h->stopping = c->w->stopping;
                if (data.n == 0)
                        return;
        }
        if (h->state == CLOSING)
                return;
        if (h->in.n == 0 && h->state != BUSY)
                return buf_add_str(&h->in, run(c, data.p, data.n));
        buf_add_str(&h->in, data);
        if (h->state != BUSY)
                run_kept(c);
        else if (h->in.n >= AHEAD_MAX)
                transport_pause(&c->t, true);
}

/* ---- sending ---- */

static void add_status(struct buf *b, int minor, int status, const char *problem) {
        const char *text = http_status_text(status);

        buf_printf(b, "HTTP/1.%d %d ", minor, status);
        if (*text)
                buf_printf(b, "%s%s%s\r\n", text, problem ? ": " : "", problem ? problem : "");
        else
                buf_printf(b, "status code %d\r\n", status);
}

static void add_head(struct buf *b, int status, const struct http_header *hv, size_t n_hv) {
        add_status(b, 1, status, NULL);
        for (size_t i = 0; i < n_hv; i++)
                http_add_header(b, hv[i].name, hv[i].value);
        buf_addc(b, "\r\n");
}

static void h1_start(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        struct conn *c = r->conn;
        struct h1 *h = c->h1;
        struct str date = worker_date(c->w);
        bool length_given = false, date_given = false;
        struct buf b = BUF_INIT;

        buf_reserve(&b, 512);
        add_status(&b, h->request.minor > 0, status, r->problem);
        for (size_t i = 0; i < n_hv + r->n_added; i++) {
                const struct http_header *v = i < n_hv ? &hv[i] : &r->added[i - n_hv];

                if (str_eq_fold(v->name, STR("connection")) || str_eq_fold(v->name, STR("transfer-encoding")))
                        continue; /* ours to say */
                if ((status == 204 || status == 304) && str_eq_fold(v->name, STR("content-length")))
                        continue; /* and Go's servers say nothing of what is not there */
                if (status == 304 && str_eq_fold(v->name, STR("content-type")))
                        continue;
                length_given |= str_eq_fold(v->name, STR("content-length"));
                date_given |= str_eq_fold(v->name, STR("date"));
                http_add_header(&b, v->name, v->value);
        }
        if (!date_given && !r->refused)
                buf_printf(&b, "Date: %" STR_FMT "\r\n", STR_ARG(date));
        h->chunked = false;
        if (h->state == BODY) /* answered early: what still comes is no request */
                h->keep_alive = false;
        if (r->refused) { /* in a line of text that ends with the connection, as of Go's server */
        } else if (!length_given && status != 204 && status != 304 && request_has_length(r, LENGTH_MAX))
                buf_printf(&b, "Content-Length: %lld\r\n", (long long) r->out_left);
        else if (!length_given && !r->bodyless) {
                h->chunked = h->request.minor > 0;
                if (h->chunked)
                        buf_addc(&b, "Transfer-Encoding: chunked\r\n");
                else
                        h->keep_alive = false;
        }
        if (!h->keep_alive || h->stopping) {
                h->keep_alive = false;
                if (h->request.minor > 0)
                        buf_addc(&b, "Connection: close\r\n");
        } else if (h->request.minor == 0)
                buf_addc(&b, "Connection: keep-alive\r\n");
        buf_addc(&b, "\r\n");
        h->head = arena_str(r->arena, buf_str(&b));
        h->head_sent = false;
        buf_free(&b);
        transport_dirty(&c->t);
}

static void h1_inform(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        if (r->conn->h1->request.minor > 0)
                add_head(&r->conn->h1->info, status, hv, n_hv);
        transport_dirty(&r->conn->t);
}

static void h1_more(struct http_request *r) {
        transport_dirty(&r->conn->t);
}

static void put_slices(struct conn *c, struct http_request *r, size_t n) {
        while (n > 0) {
                struct str s = slices_peek(&r->out);
                size_t k = MIN(n, s.n);

                transport_put(&c->t, s.p, k);
                request_sent(r, k);
                n -= k;
        }
}

static void put_body(struct conn *c, struct http_request *r) {
        while (r->out.bytes > 0 && transport_room(&c->t)) {
                size_t n = MIN(r->out.bytes, (size_t) CHUNK_MAX);

                if (c->h1->chunked) {
                        char size[16];

                        transport_put(&c->t, size, (size_t) snprintf(size, sizeof(size), "%zx\r\n", n));
                        put_slices(c, r, n);
                        transport_put(&c->t, "\r\n", 2);
                } else
                        put_slices(c, r, n);
        }
}

static void put_end(struct conn *c, struct http_request *r) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_addc(&b, "0\r\n");
        for (size_t i = 0; i < r->n_trailers; i++)
                http_add_header(&b, r->trailers[i].name, r->trailers[i].value);
        buf_addc(&b, "\r\n");
        transport_put(&c->t, b.p, b.n);
}

/* The response is on its way: the next request, or the end. */
static void next_request(struct conn *c) {
        struct h1 *h = c->h1;
        struct http_request *r = h->r;
        bool posted = r->method == HTTP_M_POST;

        h->r = NULL;
        request_complete(r);
        if (!h->keep_alive || h->stopping) {
                h->state = CLOSING;
                transport_pause(&c->t, false);
                transport_finish(&c->t); /* reads what still comes, so that the answer is not lost to a reset */
                return;
        }
        h->state = HEAD;
        h->spare = posted ? 4 : 0;
        conn_set_deadline(c, DEADLINE_IDLE);
        transport_pause(&c->t, false);
        if (h->in.n > 0)
                run_kept(c);
}

static void h1_fill(struct conn *c) {
        struct h1 *h = c->h1;

        for (;;) {
                struct http_request *r = h->r;

                if (!r || h->state == CLOSING)
                        return;
                if (r->expects_continue && request_wants_body(r)) { /* also of who did not wait, as Go's servers */
                        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

                        r->expects_continue = false;
                        transport_put(&c->t, go_on, sizeof(go_on) - 1);
                }
                if (h->info.n > 0) {
                        transport_put(&c->t, h->info.p, h->info.n);
                        buf_free(&h->info);
                }
                if (!r->started || r->held)
                        return;
                if (!h->head_sent) {
                        transport_put(&c->t, h->head.p, h->head.n);
                        h->head_sent = true;
                }
                put_body(c, r);
                if (!r->ended || r->out.bytes > 0 || !transport_room(&c->t))
                        return;
                if (h->chunked)
                        put_end(c, r);
                next_request(c);
                if (h->hijacked)
                        return;
        }
}

struct duplex *http_hijack(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        struct conn *c = r->conn;

        if (!c) {
                http_respond(r, 400, NULL, 0, NULL, 0);
                return NULL;
        }
        if (c->class != &conn_h1 || r->started) {
                if (!r->started)
                        http_respond_copy(r, 400, "text/plain; charset=utf-8",
                                          STR("this connection cannot be upgraded"));
                return NULL;
        }
        struct h1 *h = c->h1;
        h->hijacked = true;
        h->r = NULL;
        struct duplex *d = conn_hijack(c, str_n(h->in.p, h->processing ? 0 : h->in.n));
        if (!h->processing)
                buf_free(&h->in);
        if (status) {
                struct buf b = BUF_INIT;

                add_head(&b, status, hv, n_hv);
                raw_duplex_put_first(d, buf_str(&b));
                buf_free(&b);
        }
        request_complete(r);
        return d;
}

static void h1_stop(struct conn *c) {
        struct h1 *h = c->h1;

        if (!h)
                return conn_close(c);
        h->stopping = true;
        if (h->state == HEAD) { /* a request whose body is still coming may finish */
                h->state = CLOSING;
                transport_finish(&c->t);
        }
}

static void h1_free(struct conn *c) {
        if (!c->h1)
                return;
        header_charge(c->w->server, &c->h1->charged, 0);
        buf_free(&c->h1->in);
        buf_free(&c->h1->info);
        http1_body_clear(&c->h1->body);
        free(c->h1);
}

const struct conn_class conn_h1 = {
        .data = h1_data,
        .fill = h1_fill,
        .start = h1_start,
        .inform = h1_inform,
        .more = h1_more,
        .took = h1_took,
        .abort = h1_abort,
        .stop = h1_stop,
        .free = h1_free,
};
