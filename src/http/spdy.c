/* SPDY/3.1 frames.
 *
 *   control  |1| version = 3 (15) | type (16) |      data  |0| stream (31)          |
 *            | flags (8) | length (24)        |            | flags (8) | length (24) |
 *            | payload …                      |            | payload …               |
 *
 * Header blocks are zlib streams, one for each direction that lives as long as the session, begun with a dictionary
 * that the protocol names; each block is flushed. So every block must be inflated, also one for a stream that is
 * refused.
 *
 * Data is handed on as it arrives, frames are not collected. A paused stream keeps up to HELD_MAX, then the transport
 * is paused: without windows that is all the back-pressure there is, and it is the same in spdystream. on_close of
 * streams and session comes from the loop, so nothing is freed under a caller's feet.
 */
#include "http/spdy.h"

#include <zlib.h>

#include "http/duplex.h"

#define VERSION 3
#define MAX_CONTROL (256 * 1024)
#define MAX_HEADERS (64 * 1024) /* inflated */
#define MAX_STREAMS 4096
#define MAX_FRAME (1024 * 1024) /* that we send */
#define HELD_MAX (256 * 1024)

enum { SYN_STREAM = 1, SYN_REPLY, RST_STREAM, SETTINGS, PING = 6, GOAWAY, HEADERS, WINDOW_UPDATE };
enum { FLAG_FIN = 1, FLAG_UNIDIRECTIONAL = 2 };
enum { RST_PROTOCOL_ERROR = 1, RST_REFUSED = 3, RST_CANCEL = 5 };

struct spdy_stream {
        struct spdy_session *s;
        struct list link;
        uint32_t id;
        struct arena *arena;
        struct http_header *headers;
        size_t n_headers;
        const struct spdy_stream_ops *ops; /* NULL: not accepted */
        void *arg;
        struct buf held;       /* while paused */
        struct loop_work work; /* delivers what was held, or tells the end */
        int end;
        bool local_end, remote_end, end_told, paused, posted, ended, blocking;
};

struct spdy_session {
        struct duplex *transport; /* NULL once it is gone */
        struct loop *loop;
        const struct spdy_session_ops *ops;
        void *arg;
        bool server, closing, broken, went_away;
        struct list streams;
        size_t n_streams, n_blocking;
        uint32_t next_id, last_id;
        z_stream inflate, deflate;
        /* the frame being read */
        uint8_t head[8];
        size_t n_head;
        uint32_t left;
        struct spdy_stream *data_stream; /* NULL: the data is for nobody */
        bool in_frame, control, data_fin;
        struct buf payload;
        int end;
        struct loop_work work;
};

/* ---- the dictionary ---- */

/* clang-format off */
static const char *const words[] = {
        "options", "head", "post", "put", "delete", "trace", "accept", "accept-charset", "accept-encoding",
        "accept-language", "accept-ranges", "age", "allow", "authorization", "cache-control", "connection",
        "content-base", "content-encoding", "content-language", "content-length", "content-location", "content-md5",
        "content-range", "content-type", "date", "etag", "expect", "expires", "from", "host", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "location",
        "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range", "referer", "retry-after",
        "server", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "vary", "via", "warning",
        "www-authenticate", "method", "get", "status", "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie",
        "keep-alive", "origin",
};
/* clang-format on */

static const char phrases[] =
                "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
                "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
                "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
                "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
                "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
                "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static uint8_t dictionary[1423];

static void put32(uint8_t *p, uint32_t v) {
        p[0] = (uint8_t) (v >> 24);
        p[1] = (uint8_t) (v >> 16);
        p[2] = (uint8_t) (v >> 8);
        p[3] = (uint8_t) v;
}

static uint32_t get32(const void *v) {
        const uint8_t *p = v;

        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

static void make_dictionary(void) {
        uint8_t *p = dictionary;

        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                size_t n = strlen(words[i]);

                put32(p, (uint32_t) n);
                memcpy(p + 4, words[i], n);
                p += 4 + n;
        }
        memcpy(p, phrases, sizeof(phrases) - 1);
}

/* ---- header blocks ---- */

static void deflate_block(struct spdy_session *s, const struct http_header *h, size_t n, struct buf *dst) {
        struct buf plain = BUF_INIT;

        put32((uint8_t *) buf_reserve(&plain, 4), (uint32_t) n);
        plain.n += 4;
        for (size_t i = 0; i < n; i++) {
                const struct str parts[] = { h[i].name, h[i].value };

                for (size_t k = 0; k < 2; k++) {
                        char *p = buf_reserve(&plain, 4 + parts[k].n);

                        put32((uint8_t *) p, (uint32_t) parts[k].n);
                        for (size_t j = 0; j < parts[k].n; j++) /* names in lower case */
                                p[4 + j] = (char) (parts[k].p[j] |
                                                   (k == 0 && parts[k].p[j] >= 'A' && parts[k].p[j] <= 'Z' ? 0x20 : 0));
                        plain.n += 4 + parts[k].n;
                }
        }
        s->deflate.next_in = (uint8_t *) plain.p;
        s->deflate.avail_in = (uInt) plain.n;
        do {
                size_t room = plain.n + 256;

                s->deflate.next_out = (uint8_t *) buf_reserve(dst, room);
                s->deflate.avail_out = (uInt) room;
                deflate(&s->deflate, Z_SYNC_FLUSH);
                dst->n += room - s->deflate.avail_out;
        } while (s->deflate.avail_out == 0);
        buf_free(&plain);
}

static bool inflate_block(struct spdy_session *s, struct str src, struct buf *dst) {
        s->inflate.next_in = (uint8_t *) src.p;
        s->inflate.avail_in = (uInt) src.n;
        do {
                s->inflate.next_out = (uint8_t *) buf_reserve(dst, 4096);
                s->inflate.avail_out = 4096;
                int r = inflate(&s->inflate, Z_SYNC_FLUSH);
                if (r == Z_NEED_DICT && inflateSetDictionary(&s->inflate, dictionary, sizeof(dictionary)) == Z_OK)
                        continue;
                dst->n += 4096 - s->inflate.avail_out;
                if ((r != Z_OK && r != Z_BUF_ERROR) || dst->n > MAX_HEADERS)
                        return false;
                if (r == Z_BUF_ERROR && s->inflate.avail_out > 0)
                        break;
        } while (s->inflate.avail_in > 0 || s->inflate.avail_out == 0);
        return true;
}

static bool cut(struct str *rest, struct str *ret) {
        if (rest->n < 4)
                return false;
        uint32_t n = get32(rest->p);
        if (n > rest->n - 4)
                return false;
        *ret = str_n(rest->p + 4, n);
        *rest = str_n(rest->p + 4 + n, rest->n - 4 - n);
        return true;
}

static bool parse_headers(struct spdy_stream *st, struct str block) {
        if (block.n < 4)
                return false;
        uint32_t n = get32(block.p);
        if (n > (block.n - 4) / 8)
                return false;
        block = str_n(block.p + 4, block.n - 4);
        st->headers = arena_array(st->arena, struct http_header, n);
        for (uint32_t i = 0; i < n; i++) {
                struct str name, value;

                if (!cut(&block, &name) || !cut(&block, &value))
                        return false;
                st->headers[st->n_headers++] =
                                (struct http_header) { arena_str(st->arena, name), arena_str(st->arena, value) };
        }
        return true;
}

/* ---- sending ---- */

static void send_frame(struct spdy_session *s, const void *head, size_t n, const struct http_slice *rest,
                       size_t n_rest) {
        struct http_slice few[9], *v = few;
        char *p;

        if (!s->transport)
                return slices_release(rest, n_rest);
        p = xmalloc(n);
        memcpy(p, head, n);
        if (n_rest >= ARRAY_SIZE(few))
                v = xmalloc((n_rest + 1) * sizeof(*v));
        v[0] = (struct http_slice) { { p, n }, free, p };
        if (n_rest)
                memcpy(v + 1, rest, n_rest * sizeof(*v));
        duplex_write(s->transport, v, n_rest + 1);
        if (v != few)
                free(v);
}

static void send_control(struct spdy_session *s, unsigned type, unsigned flags, const void *p, size_t n) {
        struct buf b = BUF_INIT;
        uint8_t *head = (uint8_t *) buf_reserve(&b, 8 + n);

        put32(head, 0x80000000u | VERSION << 16 | type);
        put32(head + 4, (uint32_t) (flags << 24 | n));
        memcpy(head + 8, p, n);
        send_frame(s, head, 8 + n, NULL, 0);
        buf_free(&b);
}

static void send_pair(struct spdy_session *s, unsigned type, uint32_t a, uint32_t b) {
        uint8_t p[8];

        put32(p, a);
        put32(p + 4, b);
        send_control(s, type, 0, p, sizeof(p));
}

static void send_headers(struct spdy_session *s, unsigned type, uint32_t id, const struct http_header *h, size_t n) {
        struct buf b = BUF_INIT;
        size_t fixed = type == SYN_STREAM ? 10 : 4;

        memset(buf_reserve(&b, fixed), 0, fixed);
        put32((uint8_t *) b.p, id);
        b.n = fixed;
        deflate_block(s, h, n, &b);
        send_control(s, type, 0, b.p, b.n);
        buf_free(&b);
}

static void send_data(struct spdy_stream *st, const struct http_slice *s, size_t n, size_t total, bool fin) {
        uint8_t head[8];

        put32(head, st->id);
        put32(head + 4, (uint32_t) ((fin ? FLAG_FIN : 0) << 24 | total));
        send_frame(st->s, head, sizeof(head), s, n);
}

/* ---- the life of a stream ---- */

static void stream_run(struct loop_work *w);

static void stream_post(struct spdy_stream *st) {
        if (st->posted)
                return;
        st->posted = true;
        st->work.run = stream_run;
        loop_post(st->s->loop, &st->work);
}

static struct spdy_stream *stream_new(struct spdy_session *s, uint32_t id) {
        struct spdy_stream *st = xcalloc(1, sizeof(*st));

        st->s = s;
        st->id = id;
        st->arena = arena_new(512);
        list_push(&s->streams, &st->link);
        s->n_streams++;
        return st;
}

static struct spdy_stream *stream_find(struct spdy_session *s, uint32_t id) {
        list_each(struct spdy_stream, st, &s->streams, link) {
                if (st->id == id)
                        return st;
        }
        return NULL;
}

static void stream_free(struct spdy_stream *st) {
        arena_free(st->arena);
        buf_free(&st->held);
        free(st);
}

static void unblock(struct spdy_stream *st) {
        struct spdy_session *s = st->s;

        if (!st->blocking)
                return;
        st->blocking = false;
        if (--s->n_blocking == 0 && s->transport)
                duplex_pause(s->transport, false);
}

static void stream_end(struct spdy_stream *st, int err) {
        if (st->ended)
                return;
        st->ended = true;
        st->end = err;
        if (st->s->data_stream == st)
                st->s->data_stream = NULL;
        list_del(&st->link);
        st->s->n_streams--;
        unblock(st);
        stream_post(st);
        if (st->s->went_away && st->s->n_streams == 0)
                spdy_session_close(st->s);
}

/* The peer's end is told after all data, and once both directions ended the stream does. */
static void stream_check_end(struct spdy_stream *st) {
        if (st->ended || !st->remote_end || st->held.n > 0 || !st->ops)
                return;
        if (!st->end_told) {
                st->end_told = true;
                if (st->ops->on_end)
                        st->ops->on_end(st, st->arg);
        }
        if (st->local_end)
                stream_end(st, 0);
}

static void stream_run(struct loop_work *w) {
        struct spdy_stream *st = container_of(w, struct spdy_stream, work);
        struct buf held = st->held;

        st->posted = false;
        if (st->ended) {
                if (held.n > 0 && st->ops) /* the peer went when it had said all: so hear it all */
                        st->ops->on_data(st, buf_str(&held), st->arg);
                if (st->ops && st->ops->on_close)
                        st->ops->on_close(st, st->end, st->arg);
                stream_free(st);
                return;
        }
        if (!st->ops || st->paused)
                return;
        st->held = BUF_INIT;
        if (held.n > 0)
                st->ops->on_data(st, buf_str(&held), st->arg);
        buf_free(&held);
        if (!st->ended && st->held.n <= HELD_MAX)
                unblock(st);
        stream_check_end(st);
}

static void stream_take(struct spdy_stream *st, struct str data) {
        if (st->remote_end)
                return;
        if (st->ops && !st->paused && st->held.n == 0) {
                st->ops->on_data(st, data, st->arg);
                return;
        }
        buf_add_str(&st->held, data);
        if (st->held.n > HELD_MAX && !st->blocking) {
                st->blocking = true;
                if (st->s->n_blocking++ == 0)
                        duplex_pause(st->s->transport, true);
        }
}

static void stream_remote_end(struct spdy_stream *st) {
        st->remote_end = true;
        stream_check_end(st);
}

/* ---- the life of a session ---- */

static void session_run(struct loop_work *w) {
        struct spdy_session *s = container_of(w, struct spdy_session, work);

        if (s->ops->on_close)
                s->ops->on_close(s, s->end, s->arg);
        inflateEnd(&s->inflate);
        deflateEnd(&s->deflate);
        buf_free(&s->payload);
        free(s);
}

static void end_streams(struct spdy_session *s, int err) {
        while (!list_empty(&s->streams))
                stream_end(list_entry(s->streams.next, struct spdy_stream, link), err);
}

static void transport_closed(struct duplex *d, int err, void *arg) {
        struct spdy_session *s = arg;

        s->transport = NULL;
        s->end = s->broken ? -EPROTO : s->closing ? 0 : err;
        end_streams(s, s->end ? s->end : -ECONNRESET);
        s->work.run = session_run; /* after what the streams posted */
        loop_post(s->loop, &s->work);
}

void spdy_session_close(struct spdy_session *s) {
        if (s->closing || !s->transport)
                return;
        s->closing = true;
        send_pair(s, GOAWAY, s->last_id, s->broken ? 1 : 0);
        list_each(struct spdy_stream, it, &s->streams, link)
                buf_free(&it->held);
        end_streams(s, s->broken ? -EPROTO : -ECONNRESET);
        duplex_close(s->transport);
}

static bool broken(struct spdy_session *s) {
        s->broken = true;
        spdy_session_close(s);
        return false;
}

/* ---- receiving ---- */

static bool take_syn_stream(struct spdy_session *s, unsigned flags, struct str p) {
        struct buf block = BUF_INIT;

        if (p.n < 10)
                return broken(s);
        uint32_t id = get32(p.p) & 0x7fffffff;
        bool good = inflate_block(s, str_n(p.p + 10, p.n - 10), &block);
        if (!good) {
                buf_free(&block);
                return broken(s);
        }
        if (s->closing || s->went_away || (id & 1) == (s->server ? 0 : 1) || id <= s->last_id ||
            s->n_streams >= MAX_STREAMS) {
                buf_free(&block);
                send_pair(s, RST_STREAM, id, s->n_streams >= MAX_STREAMS ? RST_REFUSED : RST_PROTOCOL_ERROR);
                return true;
        }
        s->last_id = id;
        struct spdy_stream *st = stream_new(s, id);
        good = parse_headers(st, buf_str(&block));
        buf_free(&block);
        if (!good) {
                st->ended = true;
                list_del(&st->link);
                s->n_streams--;
                stream_free(st);
                return broken(s);
        }
        st->local_end = flags & FLAG_UNIDIRECTIONAL;
        st->remote_end = flags & FLAG_FIN;
        s->ops->on_stream(s, st, s->arg);
        if (!st->ops && !st->ended) {
                send_pair(s, RST_STREAM, id, RST_REFUSED);
                stream_end(st, -ECONNREFUSED);
        }
        return true;
}

static bool take_syn_reply(struct spdy_session *s, unsigned type, unsigned flags, struct str p) {
        struct buf block = BUF_INIT;

        if (p.n < 4)
                return broken(s);
        bool good = inflate_block(s, str_n(p.p + 4, p.n - 4), &block);
        buf_free(&block);
        if (!good)
                return broken(s);
        struct spdy_stream *st = stream_find(s, get32(p.p) & 0x7fffffff);
        if (!st)
                return true;
        if (type == SYN_REPLY && st->ops && st->ops->on_reply)
                st->ops->on_reply(st, st->arg);
        if (flags & FLAG_FIN && !st->ended)
                stream_remote_end(st);
        return true;
}

static bool take_control(struct spdy_session *s, unsigned type, unsigned flags, struct str p) {
        struct spdy_stream *st;

        switch (type) {
        case SYN_STREAM:
                return take_syn_stream(s, flags, p);
        case SYN_REPLY:
        case HEADERS:
                return take_syn_reply(s, type, flags, p);
        case RST_STREAM:
                if (p.n != 8)
                        return broken(s);
                st = stream_find(s, get32(p.p) & 0x7fffffff);
                if (st)
                        stream_end(st, -ECONNRESET);
                return true;
        case PING:
                if (p.n != 4)
                        return broken(s);
                /* Theirs have their parity; the others answer ours. Who does not read gets no answers. */
                if ((p.p[3] & 1) == (s->server ? 1 : 0) && s->transport &&
                    duplex_pending(s->transport) < DUPLEX_HIGH_WATER)
                        send_control(s, PING, 0, p.p, 4);
                return true;
        case GOAWAY:
                s->went_away = true;
                if (s->n_streams == 0)
                        spdy_session_close(s);
                return true;
        default: /* SETTINGS, WINDOW_UPDATE: no windows are kept. Unknown ones are to be ignored */
                return true;
        }
}

static bool take_head(struct spdy_session *s) {
        uint32_t first = get32(s->head), second = get32(s->head + 4);

        s->n_head = 0;
        s->in_frame = true;
        s->left = second & 0xffffff;
        s->control = first >> 31;
        if (s->control)
                return ((first >> 16 & 0x7fff) == VERSION && s->left <= MAX_CONTROL) || broken(s);
        s->data_stream = stream_find(s, first & 0x7fffffff);
        s->data_fin = second >> 24 & FLAG_FIN;
        return true;
}

static bool frame_end(struct spdy_session *s) {
        bool good = true;

        s->in_frame = false;
        if (s->control) {
                struct buf p = s->payload;

                s->payload = BUF_INIT;
                good = take_control(s, s->head[2] << 8 | s->head[3], s->head[4], buf_str(&p));
                buf_free(&p);
        } else if (s->data_stream && s->data_fin) {
                struct spdy_stream *st = s->data_stream;

                s->data_stream = NULL;
                stream_remote_end(st);
        }
        return good;
}

static void on_data(struct duplex *d, struct str data, void *arg) {
        struct spdy_session *s = arg;

        while (!s->closing && data.n > 0) { /* a WebSocket message may have none */
                size_t n;

                if (!s->in_frame) {
                        n = MIN(sizeof(s->head) - s->n_head, data.n);
                        memcpy(s->head + s->n_head, data.p, n);
                        s->n_head += n;
                        data = str_n(data.p + n, data.n - n);
                        if (s->n_head < sizeof(s->head) || !take_head(s))
                                return;
                }
                n = MIN((size_t) s->left, data.n);
                s->left -= (uint32_t) n;
                if (s->control)
                        buf_add(&s->payload, data.p, n);
                else if (s->data_stream && n > 0)
                        stream_take(s->data_stream, str_n(data.p, n));
                data = str_n(data.p + n, data.n - n);
                if (s->left > 0 || !frame_end(s))
                        return;
        }
}

/* Also who has written nothing may be waiting for the queue that all share. */
static void on_drain(struct duplex *d, void *arg) {
        struct spdy_session *s = arg;

        list_each_safe(struct spdy_stream, st, &s->streams, link) {
                if (st->ops && st->ops->on_drain && !st->local_end)
                        st->ops->on_drain(st, st->arg);
        }
}

static const struct duplex_ops transport_ops = { on_data, on_drain, transport_closed };

/* ---- what owners call ---- */

struct spdy_session *spdy_session_new(struct duplex *transport, bool server, const struct spdy_session_ops *ops,
                                      void *arg) {
        static uv_once_t once = UV_ONCE_INIT;
        struct spdy_session *s = xcalloc(1, sizeof(*s));

        uv_once(&once, make_dictionary);
        s->transport = transport;
        s->loop = duplex_loop(transport);
        s->ops = ops;
        s->arg = arg;
        s->server = server;
        s->next_id = server ? 2 : 1;
        list_init(&s->streams);
        /* A small window: header blocks are short, and each session holds this memory as long as it lives. */
        if (inflateInit(&s->inflate) != Z_OK ||
            deflateInit2(&s->deflate, Z_BEST_SPEED, Z_DEFLATED, 11, 1, Z_DEFAULT_STRATEGY) != Z_OK ||
            deflateSetDictionary(&s->deflate, dictionary, sizeof(dictionary)) != Z_OK)
                abort(); /* out of memory */
        duplex_set_ops(transport, &transport_ops, s);
        return s;
}

struct spdy_stream *spdy_stream_open(struct spdy_session *s, const struct http_header *h, size_t n_h,
                                     const struct spdy_stream_ops *ops, void *arg) {
        struct spdy_stream *st;

        if (s->closing || s->went_away || !s->transport || s->n_streams >= MAX_STREAMS)
                return NULL;
        st = stream_new(s, s->next_id);
        s->next_id += 2;
        st->ops = ops;
        st->arg = arg;
        st->headers = arena_array(st->arena, struct http_header, n_h);
        for (; st->n_headers < n_h; st->n_headers++)
                st->headers[st->n_headers] = (struct http_header) { arena_str(st->arena, h[st->n_headers].name),
                                                                    arena_str(st->arena, h[st->n_headers].value) };
        send_headers(s, SYN_STREAM, st->id, h, n_h);
        return st;
}

void spdy_stream_accept(struct spdy_stream *st, const struct spdy_stream_ops *ops, void *arg) {
        st->ops = ops;
        st->arg = arg;
        if (!st->ended)
                send_headers(st->s, SYN_REPLY, st->id, NULL, 0);
        stream_post(st); /* what came meanwhile */
}

void spdy_stream_write(struct spdy_stream *st, const struct http_slice *s, size_t n) {
        size_t total = 0;

        for (size_t i = 0; i < n; i++)
                total += s[i].data.n;
        if (st->ended || st->local_end || total == 0)
                return slices_release(s, n);
        if (total <= MAX_FRAME)
                send_data(st, s, n, total, false);
        else
                for (size_t i = 0; i < n; i++)
                        for (size_t at = 0; at < s[i].data.n; at += MAX_FRAME) {
                                struct http_slice part = { str_sub(s[i].data, at, at + MAX_FRAME), NULL, NULL };

                                if (at + MAX_FRAME >= s[i].data.n) /* released with its last part */
                                        part = (struct http_slice) { part.data, s[i].release, s[i].arg };
                                send_data(st, &part, 1, part.data.n, false);
                        }
}

void spdy_stream_write_copy(struct spdy_stream *st, struct str data) {
        char *p = xmalloc(data.n);

        if (data.n)
                memcpy(p, data.p, data.n);
        spdy_stream_write(st, &(struct http_slice) { { p, data.n }, free, p }, 1);
}

void spdy_stream_close(struct spdy_stream *st) {
        if (st->ended || st->local_end)
                return;
        st->local_end = true;
        send_data(st, NULL, 0, 0, true);
        if (st->end_told)
                stream_end(st, 0);
}

void spdy_stream_reset(struct spdy_stream *st) {
        if (st->ended)
                return;
        send_pair(st->s, RST_STREAM, st->id, RST_CANCEL);
        buf_free(&st->held);
        stream_end(st, -ECONNRESET);
}

size_t spdy_stream_pending(const struct spdy_stream *st) {
        return st->ended || !st->s->transport ? 0 : duplex_pending(st->s->transport);
}

void spdy_stream_pause(struct spdy_stream *st, bool paused) {
        if (st->ended || st->paused == paused)
                return;
        st->paused = paused;
        if (!paused)
                stream_post(st);
}

struct str spdy_stream_header(const struct spdy_stream *st, const char *lower_name) {
        return http_header_get(st->headers, st->n_headers, lower_name);
}

uint32_t spdy_stream_id(const struct spdy_stream *st) {
        return st->id;
}
