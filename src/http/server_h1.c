/* HTTP/1.1 on a server's connection.
 *
 *   HEAD ──(whole header)──▶ BODY ──(whole body)──▶ BUSY ──(response sent)──▶ HEAD …
 *                                                     └──(not kept alive, or malformed)──▶ CLOSING
 *
 * One request at a time: what a client sends ahead (pipelining) is kept in h1->in, at most 64 KiB, and then the socket
 * is not read. A header is collected whole before http-parser sees it, so its callbacks get each element in one piece
 * and headers are slices of one copy in the request's arena.
 *
 * What two parsers could read differently is refused, because a proxy before us may be the other one (RFC 9112 11.2):
 * line folding, both content-length and transfer-encoding, a transfer coding other than chunked, more or less than one
 * host.
 */
#include "http/parser.h"

#include "http/duplex.h"
#include "http/server_internal.h"

#define AHEAD_MAX (64 * 1024)
#define CHUNK_MAX (64 * 1024)

enum state { HEAD, BODY, BUSY, CLOSING };

struct h1 {
        enum state state;
        struct buf in;             /* not consumed yet */
        size_t scanned;            /* of in: holds no end of the header */
        http_parser parser;
        struct http_request *r;    /* the one being received or answered */
        struct str name;           /* a header name that waits for its value */
        int refuse;                /* status to answer while parsing: 0, or 400, 413, 501 */
        size_t n_host;
        bool in_trailer, complete, keep_alive, head_sent, chunked, stopping, has_te, expect, hijacked, processing;
        struct str head;           /* of the response, in the request's arena */
};

/* ---- receiving ---- */

static int on_url(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;

        request_set_method(h->r, str_of(http_method_str(p->method)));
        request_set_target(h->r, str_n(at, n));
        return 0;
}

static int on_header_field(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;
        char *c = (char *) at; /* it is our own copy */

        if (h->in_trailer)
                return 0;
        for (size_t i = 0; i < n; i++)
                if (c[i] >= 'A' && c[i] <= 'Z')
                        c[i] |= 0x20;
                else if (c[i] == ' ') /* Debian's http-parser is built lenient in this */
                        h->refuse = 400;
        h->name = str_n(at, n);
        return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;
        struct str value = str_trim(str_n(at, n));

        if (h->in_trailer)
                return 0;
        if (str_eq(h->name, STR("host")))
                h->n_host++;
        else if (str_eq(h->name, STR("transfer-encoding"))) {
                if (h->has_te || p->http_minor == 0)
                        h->refuse = 400;
                else if (!str_eq_fold(value, STR("chunked")))
                        h->refuse = 501;
                h->has_te = true;
        } else if (str_eq(h->name, STR("expect")))
                h->expect = str_eq_fold(value, STR("100-continue"));
        request_add_header(h->r, h->name, value);
        return 0;
}

static int on_headers_complete(http_parser *p) {
        struct h1 *h = p->data;

        h->in_trailer = true;
        if (p->http_major != 1)
                h->refuse = 505;
        else if (h->n_host > 1 || (h->n_host == 0 && p->http_minor > 0))
                h->refuse = 400;
        else if (p->content_length != ULLONG_MAX && p->content_length > h->r->w->server->o.max_body)
                h->refuse = 413;
        else if (p->content_length != ULLONG_MAX && p->content_length > 0)
                buf_reserve(&h->r->body, p->content_length);
        return 0;
}

static int on_body(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;

        if (h->r->body.n + n > h->r->w->server->o.max_body) {
                h->refuse = 413;
                return -1;
        }
        buf_add(&h->r->body, at, n);
        return 0;
}

static int on_message_complete(http_parser *p) {
        struct h1 *h = p->data;

        h->complete = true;
        http_parser_pause(p, 1);
        return 0;
}

static const http_parser_settings settings = {
        .on_url = on_url,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

/* Answers by ourselves and closes: what follows on this connection cannot be trusted. */
static void refuse(struct conn *c, int status) {
        struct h1 *h = c->h1;

        if (!h->r)
                h->r = request_new(c);
        h->keep_alive = false;
        h->state = BUSY;
        conn_set_deadline(c, DEADLINE_BODY);
        request_respond_simple(h->r, status);
}

static void dispatch(struct conn *c) {
        struct h1 *h = c->h1;

        h->keep_alive = http_should_keep_alive(&h->parser) && !h->stopping && !h->r->header_too_large;
        if (h->parser.upgrade && h->r->method == HTTP_M_CONNECT)
                h->keep_alive = false; /* we are no proxy of this kind: what follows is no request */
        h->state = BUSY;
        conn_set_deadline(c, DEADLINE_NONE);
        request_dispatch(h->r);
}

/* Runs the parser over p; false when the request was refused. Bytes of the message are consumed up to its end. */
static bool parse(struct conn *c, const char *p, size_t n, size_t *ret_used) {
        struct h1 *h = c->h1;
        size_t used = http_parser_execute(&h->parser, &settings, p, n);
        enum http_errno e = HTTP_PARSER_ERRNO(&h->parser);

        if (h->refuse || (e != HPE_OK && !(e == HPE_PAUSED && h->complete))) {
                refuse(c, h->refuse ? h->refuse : e == HPE_HEADER_OVERFLOW ? 431 : 400);
                return false;
        }
        *ret_used = used;
        return true;
}

/* The length of the header including its empty line; 0: not whole yet; -1: folded lines. */
static ssize_t find_head_end(const char *p, size_t n, size_t *scanned) {
        size_t i = *scanned;

        for (;;) {
                const char *nl = memchr(p + i, '\n', n - i);

                if (!nl)
                        break;
                i = (size_t) (nl - p) + 1;
                if (i < n && (p[i] == ' ' || p[i] == '\t'))
                        return -1;
                if (i < n && p[i] == '\n')
                        return (ssize_t) i + 1;
                if (i + 1 < n && p[i] == '\r' && p[i + 1] == '\n')
                        return (ssize_t) i + 2;
        }
        *scanned = n > 3 ? n - 3 : 0;
        return 0;
}

static size_t take_head(struct conn *c, const char *p, size_t n) {
        struct h1 *h = c->h1;
        size_t skipped = 0, used, max = c->w->server->o.max_header;
        ssize_t end;
        char *copy;

        while (skipped < n && (p[skipped] == '\r' || p[skipped] == '\n')) /* RFC 9112 2.2 */
                skipped++;
        p += skipped;
        n -= skipped;
        if (n == 0)
                return skipped;
        if (skipped)
                h->scanned = 0;
        if (*p < 'A' || *p > 'Z') { /* no method begins so: TLS, for one */
                refuse(c, 400);
                return skipped + n;
        }
        if (c->deadline != DEADLINE_HEADER)
                conn_set_deadline(c, DEADLINE_HEADER);
        end = find_head_end(p, MIN(n, max), &h->scanned);
        if (end < 0) {
                refuse(c, 400);
                return skipped + n;
        }
        if (end == 0) {
                if (n >= max)
                        refuse(c, 431);
                return skipped;
        }
        h->scanned = 0;
        h->r = request_new(c);
        h->name = h->head = (struct str) { 0 };
        h->refuse = 0;
        h->n_host = 0;
        h->in_trailer = h->complete = h->head_sent = h->chunked = h->has_te = h->expect = false;
        http_parser_init(&h->parser, HTTP_REQUEST);
        h->parser.data = h;
        copy = arena_dup(h->r->arena, p, (size_t) end);
        if (!parse(c, copy, (size_t) end, &used))
                return skipped + n;
        if (h->complete)
                dispatch(c);
        else {
                h->state = BODY;
                conn_set_deadline(c, DEADLINE_BODY);
                if (h->expect && h->parser.http_minor > 0) {
                        h->r->expects_continue = true;
                        transport_dirty(&c->t);
                }
        }
        return skipped + (size_t) end;
}

static size_t take_body(struct conn *c, const char *p, size_t n) {
        struct h1 *h = c->h1;
        size_t used;

        h->r->expects_continue = false; /* it did not wait */
        if (!parse(c, p, n, &used))
                return n;
        if (h->complete)
                dispatch(c);
        return used;
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
        size_t used;

        h->processing = true;
        used = process(c, p, n);
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
        if (h->in.n == 0 && h->state != BUSY) {
                buf_add_str(&h->in, run(c, data.p, data.n));
                return;
        }
        buf_add_str(&h->in, data);
        if (h->state != BUSY)
                run_kept(c);
        else if (h->in.n >= AHEAD_MAX)
                transport_pause(&c->t, true);
}

/* ---- sending ---- */

static void h1_start(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        struct conn *c = r->conn;
        struct h1 *h = c->h1;
        struct str date = worker_date(c->w);
        bool length_given = false, date_given = false;
        struct buf b = BUF_INIT;

        buf_reserve(&b, 512);
        buf_printf(&b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
        for (size_t i = 0; i < n_hv; i++) {
                if (str_eq_fold(hv[i].name, STR("connection")) || str_eq_fold(hv[i].name, STR("transfer-encoding")))
                        continue; /* ours to say */
                length_given |= str_eq_fold(hv[i].name, STR("content-length"));
                date_given |= str_eq_fold(hv[i].name, STR("date"));
                buf_add_str(&b, hv[i].name);
                buf_addc(&b, ": ");
                buf_add_str(&b, hv[i].value);
                buf_addc(&b, "\r\n");
        }
        if (!date_given)
                buf_printf(&b, "Date: %" STR_FMT "\r\n", STR_ARG(date));
        h->chunked = false;
        if (r->out_left >= 0 && !length_given && status != 204 && status != 304)
                buf_printf(&b, "Content-Length: %lld\r\n", (long long) r->out_left);
        else if (r->out_left < 0 && !length_given && !r->bodyless) {
                h->chunked = h->parser.http_minor > 0;
                if (h->chunked)
                        buf_addc(&b, "Transfer-Encoding: chunked\r\n");
                else
                        h->keep_alive = false;
        }
        if (!h->keep_alive || h->stopping) {
                h->keep_alive = false;
                buf_addc(&b, "Connection: close\r\n");
        } else if (h->parser.http_minor == 0)
                buf_addc(&b, "Connection: keep-alive\r\n");
        buf_addc(&b, "\r\n");
        h->head = arena_str(r->arena, buf_str(&b));
        h->head_sent = false;
        buf_free(&b);
        transport_dirty(&c->t);
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

/* The response is on its way: the next request, or the end. */
static void next_request(struct conn *c) {
        struct h1 *h = c->h1;
        struct http_request *r = h->r;

        h->r = NULL;
        request_complete(r);
        if (!h->keep_alive || h->stopping) {
                h->state = CLOSING;
                transport_pause(&c->t, false);
                transport_finish(&c->t); /* reads what still comes, so that the answer is not lost to a reset */
                return;
        }
        h->state = HEAD;
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
                if (r->expects_continue && h->state == BODY) {
                        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";

                        r->expects_continue = false;
                        transport_put(&c->t, go_on, sizeof(go_on) - 1);
                }
                if (!r->started)
                        return;
                if (!h->head_sent) {
                        transport_put(&c->t, h->head.p, h->head.n);
                        h->head_sent = true;
                }
                put_body(c, r);
                if (!r->ended || r->out.bytes > 0 || !transport_room(&c->t))
                        return;
                if (h->chunked)
                        transport_put(&c->t, "0\r\n\r\n", 5);
                next_request(c);
                if (h->hijacked)
                        return;
        }
}

static void add_head(struct buf *b, int status, const struct http_header *hv, size_t n_hv) {
        buf_printf(b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
        for (size_t i = 0; i < n_hv; i++) {
                buf_add_str(b, hv[i].name);
                buf_addc(b, ": ");
                buf_add_str(b, hv[i].value);
                buf_addc(b, "\r\n");
        }
        buf_addc(b, "\r\n");
}

struct duplex *http_hijack(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        struct conn *c = r->conn;
        struct h1 *h;
        struct duplex *d;

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
        h = c->h1;
        h->hijacked = true;
        h->r = NULL;
        d = conn_hijack(c, h->processing ? (struct str) { 0 } : buf_str(&h->in));
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

        if (!h) {
                conn_close(c);
                return;
        }
        h->stopping = true;
        if (h->state == HEAD) {
                h->state = CLOSING;
                transport_finish(&c->t);
        } else if (h->state == BODY && c->w->stopping)
                conn_close(c);
}

static void h1_free(struct conn *c) {
        if (!c->h1)
                return;
        buf_free(&c->h1->in);
        free(c->h1);
}

const struct conn_class conn_h1 = {
        .data = h1_data,
        .fill = h1_fill,
        .start = h1_start,
        .more = h1_more,
        .stop = h1_stop,
        .free = h1_free,
};
