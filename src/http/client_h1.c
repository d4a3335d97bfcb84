/* HTTP/1.1 on a client's connection: one call at a time. As in server_h1.c a header is collected whole before
 * http-parser sees it; a body is handed on as it comes. */
#include <errno.h>

#include "http/client_internal.h"
#include "http/parser.h"

#define HEAD_MAX (256 * 1024)

enum state { IDLE, HEAD, BODY };

struct h1 {
        struct client_conn *c;
        struct http_call *call;
        enum state state;
        struct buf in;          /* of a header that is not whole yet */
        http_parser parser;
        struct str name;
        struct str head;        /* of the request; empty once sent */
        bool complete, in_trailer, chunked, end_sent, keep_alive;
};

/* ---- sending ---- */

static void add_header(struct buf *b, struct str name, struct str value) {
        buf_add_str(b, name);
        buf_addc(b, ": ");
        buf_add_str(b, value);
        buf_addc(b, "\r\n");
}

static void h1_start(struct client_conn *c, struct http_call *call) {
        struct h1 *h = c->state;
        const struct http_call_options *o = &call->o;
        bool has_host = false, has_length = false;
        struct buf b = BUF_INIT;

        h->call = call;
        h->state = HEAD;
        h->end_sent = h->complete = false;
        buf_printf(&b, "%s %" STR_FMT " HTTP/1.1\r\n", o->method, STR_ARG(o->path));
        for (size_t i = 0; i < o->n_headers; i++) {
                has_host |= str_eq_fold(o->headers[i].name, STR("host"));
                has_length |= str_eq_fold(o->headers[i].name, STR("content-length"));
        }
        if (!has_host)
                add_header(&b, STR("Host"), str_of(c->client->authority));
        for (size_t i = 0; i < o->n_headers; i++)
                add_header(&b, o->headers[i].name, o->headers[i].value);
        h->chunked = o->stream_body && !has_length;
        if (h->chunked)
                buf_addc(&b, "Transfer-Encoding: chunked\r\n");
        else if (!has_length && (o->body.n > 0 || strcmp(o->method, "GET") != 0) && !call->upgraded)
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
                char size[16];

                s.n = MIN(s.n, (size_t) 64 * 1024);
                if (h->chunked)
                        transport_put(&c->t, size, (size_t) snprintf(size, sizeof(size), "%zx\r\n", s.n));
                transport_put(&c->t, s.p, s.n);
                if (h->chunked)
                        transport_put(&c->t, "\r\n", 2);
                slices_consume(&call->out, s.n);
        }
        if (call->out.bytes == 0 && call->out_ended && !h->end_sent) {
                h->end_sent = true;
                if (h->chunked)
                        transport_put(&c->t, "0\r\n\r\n", 5);
        }
}

static void h1_more(struct http_call *call) {
        transport_dirty(&call->conn->t);
}

/* ---- receiving ---- */

static int on_header_field(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;
        struct str s;

        if (h->call->done)
                return -1;
        s = arena_str(h->call->arena, str_n(at, n));
        for (size_t i = 0; i < n; i++)
                if (s.p[i] >= 'A' && s.p[i] <= 'Z')
                        ((char *) s.p)[i] |= 0x20;
        h->name = s;
        return 0;
}

static int on_header_value(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;
        struct http_call *c = h->call;
        struct http_header hv = { h->name, (struct str) { 0 } };

        if (c->done || c->trailers.n > 256)
                return -1;
        hv.value = arena_str(c->arena, str_trim(str_n(at, n)));
        if (h->in_trailer)
                vec_push(&c->trailers, hv);
        else
                vec_push(&c->headers, hv);
        return 0;
}

static int on_headers_complete(http_parser *p) {
        struct h1 *h = p->data;

        h->in_trailer = true;
        return strcmp(h->call->o.method, "HEAD") == 0; /* 1: no body follows */
}

static int on_body(http_parser *p, const char *at, size_t n) {
        struct h1 *h = p->data;

        call_data(h->call, str_n(at, n));
        return h->call->done ? -1 : 0;
}

static int on_message_complete(http_parser *p) {
        struct h1 *h = p->data;

        h->complete = true;
        h->keep_alive = http_should_keep_alive(p);
        http_parser_pause(p, 1);
        return 0;
}

static const http_parser_settings settings = {
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
        .on_body = on_body,
        .on_message_complete = on_message_complete,
};

static void finish(struct client_conn *c, bool more_came) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;

        h->call = NULL;
        h->state = IDLE;
        /* An answer before the whole request was sent, or more than an answer: not to be used again. */
        if (!h->keep_alive || !h->end_sent || more_came)
                c->draining = true;
        call_done(call, 0, "%s", "");
}

/* Runs the parser; false: it is over with this connection. */
static bool parse(struct client_conn *c, const char *p, size_t n, size_t *ret_used) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;
        enum http_errno e;

        *ret_used = http_parser_execute(&h->parser, &settings, p, n);
        if (call->done || c->closed)
                return false;
        e = HTTP_PARSER_ERRNO(&h->parser);
        if (e != HPE_OK && !(e == HPE_PAUSED && h->complete)) {
                char why[128];

                snprintf(why, sizeof(why), "malformed HTTP response: %s", http_errno_description(e));
                conn_fail(c, -EPROTO, why);
                return false;
        }
        return true;
}

static size_t head_end(struct str s) {
        ssize_t i = str_search(s, STR("\r\n\r\n"));

        if (i >= 0)
                return (size_t) i + 4;
        i = str_search(s, STR("\n\n"));
        return i >= 0 ? (size_t) i + 2 : 0;
}

/* A whole header. Returns false when the call or the connection is over. */
static bool take_head(struct client_conn *c, struct str head, struct str rest) {
        struct h1 *h = c->state;
        struct http_call *call = h->call;
        size_t used;

        http_parser_init(&h->parser, HTTP_RESPONSE);
        h->parser.data = h;
        h->complete = h->in_trailer = false;
        call->headers.n = 0;
        if (!parse(c, head.p, head.n, &used))
                return false;
        if (h->parser.status_code == 101 && call->upgraded) {
                call_response(call, 101);
                client_conn_upgraded(c, rest);
                return false;
        }
        if (h->parser.status_code < 200) /* 100, 103: the real one follows */
                return true;
        h->state = BODY;
        call_response(call, h->parser.status_code);
        if (call->done || c->closed)
                return false;
        if (h->complete) {
                finish(c, rest.n > 0);
                return false;
        }
        return true;
}

static void h1_data(struct client_conn *c, struct str data) {
        struct h1 *h = c->state;
        struct buf kept = h->in;
        size_t used;

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
                if (h->state == HEAD) {
                        size_t n = head_end(str_sub(data, 0, HEAD_MAX));

                        if (n == 0 && data.n >= HEAD_MAX)
                                conn_fail(c, -EPROTO, "server response headers exceeded 262144 bytes; aborted");
                        else if (n == 0)
                                buf_add_str(&h->in, data);
                        if (n == 0 || !take_head(c, str_sub(data, 0, n), str_sub(data, n, data.n)))
                                break;
                        data = str_sub(data, n, data.n);
                        continue;
                }
                if (!parse(c, data.p, data.n, &used))
                        break;
                data = str_sub(data, used, data.n);
                if (h->complete) {
                        finish(c, data.n > 0);
                        break;
                }
        }
        buf_free(&kept);
}

/* A body without a length ends with the connection. */
static void h1_eof(struct client_conn *c) {
        struct h1 *h = c->state;
        size_t used;

        if (h->state == BODY && parse(c, NULL, 0, &used) && h->complete) {
                h->keep_alive = false;
                finish(c, false);
        }
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
        struct client_conn *c = call->conn;
        struct h1 *h = c->state;

        h->keep_alive = false;
        c->draining = true; /* closed when the call has left it */
}

static void h1_free(struct client_conn *c) {
        struct h1 *h = c->state;

        buf_free(&h->in);
        free(h);
}

const struct client_class client_h1 = {
        .begin = h1_begin,
        .data = h1_data,
        .fill = h1_fill,
        .eof = h1_eof,
        .room = h1_room,
        .start = h1_start,
        .more = h1_more,
        .pause = h1_pause,
        .drop = h1_drop,
        .free = h1_free,
};
