/* HTTP/1.1 on a client's connection: one call at a time. As in server_h1.c a header is collected whole before it is
 * parsed; a body is handed on as it comes. */
#include "http/client_internal.h"

#define HEAD_MAX (10 << 20) /* as Go's */

enum state { IDLE, HEAD, BODY };

struct h1 {
        struct client_conn *c;
        struct http_call *call;
        enum state state;
        struct buf in;     /* of a header that is not whole yet */
        size_t scanned;    /* of in */
        size_t info_bytes; /* what came before the response's own header */
        bool line_read;    /* of in: the first one, and it was none that is wrong */
        struct http1_head response;
        struct http1_body body;
        struct str head; /* of the request; empty once sent */
};

/* ---- sending ---- */

static void h1_start(struct client_conn *c, struct http_call *call) {
        struct h1 *h = c->state;
        const struct http_call_options *o = &call->o;
        bool has_host = false, has_length = false;
        struct buf b = BUF_INIT;

        h->call = call;
        h->state = HEAD;
        h->info_bytes = 0;
        h->line_read = false;
        buf_printf(&b, "%s %" STR_FMT " HTTP/1.1\r\n", o->method, STR_ARG(o->path));
        for (size_t i = 0; i < o->n_headers; i++) {
                has_host |= str_eq_fold(o->headers[i].name, STR("host"));
                has_length |= str_eq_fold(o->headers[i].name, STR("content-length"));
        }
        if (!has_host)
                http_add_header(&b, STR("Host"), str_of(c->client->authority));
        for (size_t i = 0; i < o->n_headers; i++)
                http_add_header(&b, o->headers[i].name, o->headers[i].value);
        if (o->go_agent)
                buf_addc(&b, "User-Agent: Go-http-client/1.1\r\n");
        if (call->asked_gzip)
                buf_addc(&b, "Accept-Encoding: gzip\r\n");
        if (o->streams && o->body_length >= 0)
                buf_printf(&b, "Content-Length: %lld\r\n", (long long) o->body_length);
        else if (o->streams)
                buf_addc(&b, "Transfer-Encoding: chunked\r\n");
        else if (!has_length && !call->upgraded &&
                 (o->body.n > 0 || str_among(str_of(o->method), WORDS("POST", "PUT", "PATCH"))))
                buf_printf(&b, "Content-Length: %zu\r\n", o->body.n);
        buf_addc(&b, "\r\n");
        h->head = arena_str(call->arena, buf_str(&b));
        buf_free(&b);
        transport_pause(&c->t, call->paused);
        transport_dirty(&c->t);
}

static void h1_fill(struct client_conn *c) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;

        if (!call)
                return;
        transport_put(&c->t, h->head.p, h->head.n);
        h->head.n = 0;
        while (call->out.bytes > 0 && transport_room(&c->t)) {
                struct str s = slices_peek(&call->out);

                s.n = MIN(s.n, (size_t) 64 * 1024);
                transport_put(&c->t, s.p, s.n);
                slices_consume(&call->out, s.n);
        }
        if (call->above && call->out.bytes < DRAIN_MARK) {
                call->above = false;
                if (call->o.on_sent)
                        call->o.on_sent(call, call->o.arg);
        }
}

/* ---- receiving ---- */

static bool kept_alive(const struct http1_head *r) {
        return !r->close && (r->minor > 0 || r->keep_alive);
}

static void finish(struct client_conn *c, bool more_came) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;

        /* An answer before the whole request was sent, or more than an answer: not to be used again. */
        if (!kept_alive(&h->response) || h->body.kind == HTTP1_UNTIL_EOF || h->head.n + call->out.bytes > 0 ||
            call->sending || more_came)
                c->draining = true;
        http1_body_clear(&h->body);
        h->call = NULL;
        h->state = IDLE;
        call_done(call, 0, "%s", "");
}

/* What began as an answer, and is none. */
static void broken(struct client_conn *c, struct buf *why) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b, "%s%" STR_FMT,
                   c->upgrade ? "" : "net/http: HTTP/1.x transport connection broken: ", STR_ARG(buf_str(why)));
        buf_putc(&b, 0);
        conn_fail(c, -EPROTO, b.p);
}

static void too_long(struct client_conn *c) {
        _cleanup_buf_ struct buf why = BUF_INIT;

        buf_printf(&why, "net/http: server response headers exceeded %d bytes; aborted", HEAD_MAX);
        broken(c, &why);
}

/* A header is not whole yet. The line that it begins with can already be wrong: who speaks another protocol may wait
 * for us now. With eof nothing follows. */
static void check_beginning(struct client_conn *c, struct str head, bool eof) {
        struct h1 *h = c->state;
        _cleanup_buf_ struct buf why = BUF_INIT;
        ssize_t nl = str_find(head, '\n');
        bool whole = nl >= 0 || (eof && head.n > 0);

        if (whole && !h->line_read) {
                h->line_read = true;
                if (nl >= 0)
                        head = str_sub(head, 0, (size_t) nl - (nl > 0 && head.p[nl - 1] == '\r'));
                if (http1_parse_status(head, &h->response, &why) < 0)
                        return broken(c, &why);
        }
        if (eof) {
                buf_addc(&why, "unexpected EOF");
                broken(c, &why);
        }
}

/* A whole header. False when this call or the connection is over, and rest was taken care of. */
static bool take_head(struct client_conn *c, struct str head, struct str rest) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;
        _cleanup_buf_ struct buf why = BUF_INIT;

        call->headers.n = 0;
        h->line_read = false;
        if (http1_parse_response(call->arena, head, &h->response, &call->headers, &why) < 0) {
                broken(c, &why);
                return false;
        }
        if (h->response.status == 101 && call->upgraded) {
                call_response(call, 101);
                client_conn_upgraded(c, rest);
                return false;
        }
        if (h->response.status / 100 == 1 && h->response.status != 101 && !call->upgraded) { /* the real one follows */
                h->info_bytes += head.n;
                if (h->info_bytes > HEAD_MAX) {
                        too_long(c);
                        return false;
                }
                if (call->o.on_info)
                        call->o.on_info(call, h->response.status, call->headers.v, call->headers.n, call->o.arg);
                return !call->done && !c->closed;
        }
        http1_body_init(&h->body, &h->response, false);
        if (strcmp(call->o.method, "HEAD") == 0) {
                h->body.kind = HTTP1_NONE;
                h->body.done = true;
        }
        h->state = BODY;
        if (!h->body.done)
                call_unpacks(call);
        call_response(call, h->response.status);
        if (call->done || c->closed)
                return false;
        if (h->body.done)
                finish(c, rest.n > 0);
        return !h->body.done;
}

/* Part of a body; the same. */
static bool take_body(struct client_conn *c, struct str *data) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;
        struct str part;
        ssize_t used = http1_body_take(&h->body, data->p, data->n, &part);

        if (used < 0) {
                conn_fail(c, -EPROTO, h->body.problem);
                return false;
        }
        for (size_t i = 0; i < h->body.trailers.n; i++) {
                const struct http_header *t = &h->body.trailers.v[i];

                vec_push(&call->trailers,
                         ((struct http_header) { arena_str(call->arena, t->name), arena_str(call->arena, t->value) }));
        }
        *data = str_sub(*data, (size_t) used, data->n);
        if (part.n)
                call_data(call, part);
        if (call->done || c->closed)
                return false;
        if (h->body.done)
                finish(c, data->n > 0);
        return h->call == call;
}

static void h1_data(struct client_conn *c, struct str data) {
        struct h1 *h = c->state;
        struct buf kept = h->in;

        if (kept.n) {
                buf_add_str(&kept, data);
                data = buf_str(&kept);
                h->in = BUF_INIT;
        }
        while (data.n > 0) {
                if (h->state == IDLE) { /* nobody asked */
                        conn_fail(c, -EPROTO, "unsolicited response received on idle HTTP channel");
                        break;
                }
                if (h->state == BODY) {
                        if (!take_body(c, &data))
                                break;
                        continue;
                }
                h->call->got_bytes = true;
                size_t n = http1_find_end(data.p, MIN(data.n, (size_t) HEAD_MAX), &h->scanned);
                if (n == 0 && data.n >= HEAD_MAX)
                        too_long(c);
                else if (n == 0) {
                        check_beginning(c, data, false);
                        if (data.p == kept.p) {
                                h->in = kept;
                                kept = BUF_INIT;
                        } else
                                buf_add_str(&h->in, data);
                }
                if (n == 0)
                        break;
                h->scanned = 0;
                if (!take_head(c, str_sub(data, 0, n), str_sub(data, n, data.n)))
                        break;
                data = str_sub(data, n, data.n);
        }
        buf_free(&kept);
}

/* A body without a length ends with the connection, and so may what is no answer. */
static void h1_eof(struct client_conn *c) {
        struct h1 *h = c->state;

        if (h->state == BODY && h->body.kind == HTTP1_UNTIL_EOF)
                finish(c, false);
        else if (h->state == HEAD && h->in.n + h->info_bytes > 0)
                check_beginning(c, buf_str(&h->in), true);
}

/* ---- the rest ---- */

static void h1_begin(struct client_conn *c) {
        struct h1 *h = xcalloc(1, sizeof(*h));

        h->c = c;
        c->state = h;
}

static size_t h1_room(const struct client_conn *c) {
        const struct h1 *h = c->state;

        return h->state == IDLE;
}

static void h1_pause(struct http_call *call) {
        transport_pause(&call->conn->t, call->paused);
}

static void h1_drop(struct http_call *call) {
        call->conn->draining = true; /* closed when the call has left it */
}

static void h1_free(struct client_conn *c) {
        struct h1 *h = c->state;

        buf_free(&h->in);
        http1_body_clear(&h->body);
        free(h);
}

const struct client_class client_h1 = {
        .begin = h1_begin,
        .data = h1_data,
        .fill = h1_fill,
        .eof = h1_eof,
        .room = h1_room,
        .start = h1_start,
        .pause = h1_pause,
        .drop = h1_drop,
        .free = h1_free,
};
