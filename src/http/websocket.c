/* WebSocket framing, a server's: a header of 2 to 14 bytes, a mask, and rules; less code than to drive a library with
 * callbacks.
 *
 *    0                   1                   2                   3
 *   |F|RSV|opcode |M| length 7    | 16 or 64 bits more when 126, 127 | mask (client to server) | payload …
 */
#include "http/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/encode.h"
#include "http/duplex.h"
#include "http/server_internal.h"

#define MAX_MESSAGE (32 * 1024 * 1024) /* as Go's servers take: clients send a whole file so */
#define MAX_CONTROL 125
#define CLOSE_TIMEOUT_MS 5000

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

struct ws {
        struct duplex d;
        struct duplex *raw; /* NULL once it is gone */
        size_t max_message;
        /* the frame being read */
        uint8_t head[14];
        size_t n_head;
        bool in_payload, fin;
        unsigned opcode;
        uint64_t left;
        uint8_t mask[4];
        unsigned mask_at;
        uint8_t control[MAX_CONTROL];
        size_t n_control;
        /* the message being put together */
        bool in_message;
        struct buf message;
        struct buf rest; /* read while nobody takes messages */
        bool processing, close_sent, close_received;
        struct timer timer;
};

/* ---- writing ---- */

static size_t make_head(uint8_t dst[static 10], unsigned opcode, uint64_t n) {
        unsigned bytes = n < 126 ? 0 : n <= UINT16_MAX ? 2 : 8;

        dst[0] = (uint8_t) (0x80 | opcode);
        dst[1] = bytes == 0 ? (uint8_t) n : bytes == 2 ? 126 : 127;
        for (unsigned i = 0; i < bytes; i++)
                dst[2 + i] = (uint8_t) (n >> 8 * (bytes - 1 - i));
        return 2 + bytes;
}

/* A small message goes out in one piece with its header. */
static void write_frame(struct ws *w, unsigned opcode, const struct http_slice *s, size_t n) {
        uint8_t head[10];
        size_t total = 0, k;

        for (size_t i = 0; i < n; i++)
                total += s[i].data.n;
        k = make_head(head, opcode, total);
        if (total < 1024) {
                struct buf b = BUF_INIT;

                buf_add(&b, head, k);
                for (size_t i = 0; i < n; i++)
                        buf_add_str(&b, s[i].data);
                duplex_write(w->raw, &(struct http_slice) { buf_str(&b), free, b.p }, 1);
                slices_release(s, n);
        } else {
                duplex_write_copy(w->raw, str_n((char *) head, k));
                duplex_write(w->raw, s, n);
        }
}

/* Of at most MAX_CONTROL bytes, which write_frame copies. */
static void write_control(struct ws *w, unsigned opcode, const void *p, size_t n) {
        write_frame(w, opcode, &(struct http_slice) { { p, n }, NULL, NULL }, 1);
}

static void close_timeout(struct timer *t) {
        struct ws *w = container_of(t, struct ws, timer);

        if (w->raw)
                duplex_close(w->raw);
}

static void send_close(struct ws *w, unsigned code, struct str reason) {
        uint8_t p[MAX_CONTROL] = { (uint8_t) (code >> 8), (uint8_t) code };
        size_t n = MIN(reason.n, (size_t) MAX_CONTROL - 2);

        if (w->close_sent || !w->raw)
                return;
        w->close_sent = true;
        if (n)
                memcpy(p + 2, reason.p, n);
        write_control(w, OP_CLOSE, p, n + 2);
        if (w->close_received)
                duplex_close(w->raw);
        else
                timer_start(w->d.loop, &w->timer, CLOSE_TIMEOUT_MS, close_timeout);
}

/* ---- reading ---- */

/* The peer does not keep to the protocol: says why and closes. */
static void fail(struct ws *w, unsigned code, struct str reason) {
        send_close(w, code, reason);
        w->close_received = true; /* nothing more is read */
        if (w->raw)
                duplex_close(w->raw);
        duplex_ended(&w->d, code == 1009 ? -EMSGSIZE : -EPROTO);
}

static void take_close(struct ws *w) {
        w->close_received = true;
        if (w->n_control == 1)
                return fail(w, 1002, STR("bad close frame"));
        if (!w->close_sent)
                send_close(w, w->n_control ? (unsigned) w->control[0] << 8 | w->control[1] : 1000, (struct str) { 0 });
        else
                duplex_close(w->raw);
        timer_stop(&w->timer);
        duplex_ended(&w->d, 0);
}

static void take_control(struct ws *w) {
        if (w->opcode == OP_PING && !w->close_sent) {
                /* Whoever pings without reading the answers gets no more of them. */
                if (duplex_pending(w->raw) < DUPLEX_HIGH_WATER)
                        write_control(w, OP_PONG, w->control, w->n_control);
        } else if (w->opcode == OP_CLOSE)
                take_close(w);
}

/* Checks the rules for a header that is whole; a reason when it breaks one. */
static const char *check_head(struct ws *w) {
        uint64_t n = w->head[1] & 0x7f;

        w->fin = w->head[0] & 0x80;
        w->opcode = w->head[0] & 0x0f;
        bool control = w->opcode >= OP_CLOSE;
        if (w->head[0] & 0x70)
                return "reserved bits are set";
        if (!(w->head[1] & 0x80))
                return "a client's frame is not masked";
        if ((w->opcode > OP_BINARY && w->opcode < OP_CLOSE) || w->opcode > OP_PONG)
                return "unknown opcode";
        if (control && (!w->fin || n > MAX_CONTROL))
                return "bad control frame";
        if (!control && (w->opcode == OP_CONTINUATION) != w->in_message)
                return "bad fragmentation";
        if (n >= 126) {
                unsigned bytes = n == 126 ? 2 : 8;

                n = 0;
                for (unsigned i = 0; i < bytes; i++)
                        n = n << 8 | w->head[2 + i];
                if (n >> 63 || n <= (bytes == 2 ? 125 : UINT16_MAX))
                        return "bad length";
        }
        w->left = n;
        return NULL;
}

static size_t head_length(const struct ws *w) {
        unsigned n = w->head[1] & 0x7f;

        return w->n_head < 2 ? 2 : 2 + (n == 126 ? 2u : n == 127 ? 8u : 0u) + (w->head[1] & 0x80 ? 4u : 0u);
}

/* Takes bytes of a header; false when it is not whole yet, or was refused. */
static bool take_head(struct ws *w, struct str *data) {
        while (w->n_head < head_length(w)) {
                if (data->n == 0)
                        return false;
                w->head[w->n_head++] = (uint8_t) *data->p++;
                data->n--;
        }
        const char *wrong = check_head(w);
        if (wrong) {
                fail(w, 1002, str_of(wrong));
                return false;
        }
        memcpy(w->mask, w->head + w->n_head - 4, 4);
        w->n_head = 0;
        w->mask_at = 0;
        w->in_payload = true;
        if (w->opcode >= OP_CLOSE)
                w->n_control = 0;
        else if (w->message.n + w->left > w->max_message) {
                fail(w, 1009, STR("message too large"));
                return false;
        }
        return true;
}

static void frame_end(struct ws *w) {
        w->in_payload = false;
        if (w->opcode >= OP_CLOSE)
                return take_control(w);
        w->in_message = !w->fin;
        if (!w->fin)
                return;
        struct buf message = w->message;
        w->message = BUF_INIT;
        duplex_deliver(&w->d, buf_str(&message));
        if (!w->message.p && message.cap <= 64 * 1024 && w->in_payload) { /* more comes: use the memory again */
                message.n = 0;
                w->message = message;
        } else
                buf_free(&message);
}

/* at: how far in the payload dst begins */
static void unmask(char *dst, const char *src, size_t n, const uint8_t mask[4], unsigned at) {
        uint8_t turned[8];
        uint64_t word;
        size_t i = 0;

        for (unsigned k = 0; k < 8; k++)
                turned[k] = mask[(at + k) & 3];
        memcpy(&word, turned, 8);
        for (; i + 8 <= n; i += 8) {
                uint64_t v;

                memcpy(&v, src + i, 8);
                v ^= word;
                memcpy(dst + i, &v, 8);
        }
        for (; i < n; i++)
                dst[i] = (char) (src[i] ^ (char) turned[i & 7]);
}

static void take_payload(struct ws *w, struct str *data) {
        size_t n = (size_t) MIN((uint64_t) data->n, w->left);
        const char *p = data->p;

        data->p += n;
        data->n -= n;
        w->left -= n;
        if (w->opcode >= OP_CLOSE) {
                unmask((char *) w->control + w->n_control, p, n, w->mask, w->mask_at & 3);
                w->n_control += n;
        } else if (n) {
                unmask(buf_reserve(&w->message, n), p, n, w->mask, w->mask_at & 3);
                w->message.n += n;
        }
        w->mask_at = (w->mask_at + n) & 3;
        if (w->left == 0)
                frame_end(w);
}

static void process(struct ws *w, struct str data) {
        w->processing = true;
        while (!w->close_received && duplex_takes(&w->d)) {
                if (!w->in_payload && (data.n == 0 || !take_head(w, &data)))
                        break;
                if (w->in_payload && data.n == 0 && w->left > 0)
                        break;
                take_payload(w, &data);
        }
        w->processing = false;
        if (data.n > 0 && !w->d.ended && !w->close_received) { /* paused */
                struct buf rest = BUF_INIT;

                buf_add_str(&rest, data);
                buf_free(&w->rest);
                w->rest = rest;
                if (w->raw)
                        duplex_pause(w->raw, true);
        }
}

static void raw_data(struct duplex *raw, struct str data, void *arg) {
        struct ws *w = arg;

        if (w->close_received || w->d.ended)
                return;
        if (w->rest.n > 0 || !duplex_takes(&w->d)) {
                buf_add_str(&w->rest, data);
                duplex_pause(raw, true);
        } else
                process(w, data);
}

static void raw_drain(struct duplex *raw, void *arg) {
        struct ws *w = arg;

        duplex_drained(&w->d);
}

static void raw_close(struct duplex *raw, int err, void *arg) {
        struct ws *w = arg;

        w->raw = NULL;
        timer_stop(&w->timer);
        if (!w->close_received && err == 0)
                err = w->close_sent ? 0 : -ECONNRESET; /* it went without a close frame */
        if (w->d.told)
                duplex_kick(&w->d); /* ws_free waits for us */
        else
                duplex_ended(&w->d, err);
}

static const struct duplex_ops raw_ops = { raw_data, raw_drain, raw_close };

/* ---- the duplex ---- */

static void ws_write(struct duplex *d, const struct http_slice *s, size_t n) {
        struct ws *w = container_of(d, struct ws, d);

        if (w->raw && !w->close_sent)
                write_frame(w, OP_BINARY, s, n);
        else
                slices_release(s, n);
}

static size_t ws_pending(const struct duplex *d) {
        const struct ws *w = container_of(d, struct ws, d);

        return w->raw ? duplex_pending(w->raw) : 0;
}

static void ws_kick(struct duplex *d) {
        struct ws *w = container_of(d, struct ws, d);
        struct buf rest = w->rest;

        if (!duplex_takes(d) || w->processing)
                return;
        w->rest = BUF_INIT;
        if (rest.n > 0)
                process(w, buf_str(&rest));
        buf_free(&rest);
        if (w->raw && duplex_takes(d) && w->rest.n == 0)
                duplex_pause(w->raw, false);
}

static void ws_pause(struct duplex *d, bool paused) {
        struct ws *w = container_of(d, struct ws, d);

        if (paused && w->raw)
                duplex_pause(w->raw, true);
}

static void ws_close(struct duplex *d) {
        struct ws *w = container_of(d, struct ws, d);

        duplex_pause(w->raw, false); /* the peer's close has to come in */
        d->paused = false;
        duplex_kick(d);
        send_close(w, 1000, (struct str) { 0 });
}

static void timer_freed(struct timer *t) {
        struct ws *w = container_of(t, struct ws, timer);

        buf_free(&w->message);
        buf_free(&w->rest);
        free(w);
}

static void ws_free(struct duplex *d) {
        struct ws *w = container_of(d, struct ws, d);

        if (w->raw)
                return; /* raw_close kicks again */
        timer_close(&w->timer, timer_freed);
}

static const struct duplex_class ws_class = {
        .write = ws_write,
        .pending = ws_pending,
        .pause = ws_pause,
        .close = ws_close,
        .kick = ws_kick,
        .free = ws_free,
};

struct duplex *websocket_wrap(struct duplex *raw, size_t max_message) {
        struct ws *w = xcalloc(1, sizeof(*w));

        duplex_init(&w->d, &ws_class, raw->loop);
        w->raw = raw;
        w->max_message = max_message ? max_message : MAX_MESSAGE;
        duplex_set_ops(raw, &raw_ops, w);
        return &w->d;
}

void websocket_write_text(struct duplex *ws, struct str text) {
        struct ws *w = container_of(ws, struct ws, d);
        struct buf copy = BUF_INIT;

        if (!w->raw || w->close_sent || ws->ended)
                return;
        buf_add_str(&copy, text);
        write_frame(w, OP_TEXT, &(struct http_slice) { buf_str(&copy), free, copy.p }, 1);
}

/* ---- the handshake ---- */

/* What the server answers to a Sec-WebSocket-Key. */
static void accept_key(struct buf *dst, struct str key) {
        unsigned char sha[SHA_DIGEST_LENGTH];
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_add_str(&b, key);
        buf_addc(&b, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        SHA1((unsigned char *) b.p, b.n, sha);
        base64_encode(dst, str_n((char *) sha, sizeof(sha)));
}

/* Is token among the comma-separated elements of a header? */
static bool has_token(struct str list, struct str token) {
        str_each(part, list, ',')
                if (str_eq_fold(str_trim(part), token))
                        return true;
        return false;
}

const char *websocket_choose(struct str offered, const char *const *ours, size_t n_ours) {
        str_each(one, offered, ',')
                for (size_t i = 0; i < n_ours; i++)
                        if (str_eqc(str_trim(one), ours[i]))
                                return ours[i];
        return NULL;
}

bool http_request_wants_upgrade(const struct http_request *r, struct str *ret_protocol) {
        struct str protocol = http_request_header(r, "upgrade");

        if (http_request_is_h2(r) || !has_token(http_request_header(r, "connection"), STR("upgrade")))
                return false;
        *ret_protocol = protocol;
        return true;
}

bool http_request_wants_websocket(const struct http_request *r) {
        struct str protocol;

        return http_request_wants_upgrade(r, &protocol) && has_token(protocol, STR("websocket"));
}

/* In the words of golang.org/x/net/websocket, which upstream's servers speak. */
static struct duplex *refuse(struct http_request *r, int status, const char *text, size_t n_h) {
        static const struct http_header version = { STR_INIT("Sec-WebSocket-Version"), STR_INIT("13") };

        http_request_last(r);
        http_respond(r, status, &version, n_h, &(struct http_slice) { .data = str_of(text) }, 1);
        return NULL;
}

struct duplex *http_accept_websocket(struct http_request *r, const char *subprotocol) {
        struct str key = http_request_header(r, "sec-websocket-key");
        struct http_header h[4] = { { STR("Upgrade"), STR("websocket") }, { STR("Connection"), STR("Upgrade") } };
        _cleanup_buf_ struct buf answer = BUF_INIT;
        size_t n = 2;

        if (http_request_method(r) != HTTP_M_GET)
                return refuse(r, 405, "bad method", 0);
        if (!http_request_wants_websocket(r))
                return refuse(r, 400, "not websocket protocol", 0);
        if (key.n == 0)
                return refuse(r, 400, "mismatch challenge/response", 0);
        if (!str_eq(http_request_header(r, "sec-websocket-version"), STR("13")))
                return refuse(r, 400, "missing or bad WebSocket Version", 1);
        if (!subprotocol && http_request_header(r, "sec-websocket-protocol").n > 0)
                return refuse(r, 403, "", 0);
        accept_key(&answer, key);
        h[n++] = (struct http_header) { STR("Sec-WebSocket-Accept"), buf_str(&answer) };
        if (subprotocol)
                h[n++] = (struct http_header) { STR("Sec-WebSocket-Protocol"), str_of(subprotocol) };
        struct duplex *raw = http_hijack(r, 101, h, n);
        return raw ? websocket_wrap(raw, 0) : NULL;
}

/* ---- channels ---- */

const char *const remote_channels[] = { "stdin", "stdout", "stderr", "error", "resize" };

void websocket_write_channel(struct duplex *ws, bool base64, unsigned channel, struct str data) {
        struct buf b = BUF_INIT;

        buf_putc(&b, (char) (base64 ? '0' + channel : channel));
        if (base64) {
                base64_encode(&b, data);
                websocket_write_text(ws, buf_str(&b));
                buf_free(&b);
        } else {
                buf_add_str(&b, data);
                duplex_write(ws, &(struct http_slice) { buf_str(&b), free, b.p }, 1);
        }
}

int websocket_read_channel(struct str *data, bool base64, struct buf *plain) {
        struct str rest = str_sub(*data, 1, data->n);

        if (str_empty(*data) || (base64 && base64_decode(plain, rest) < 0))
                return -EINVAL;
        int channel = (unsigned char) data->p[0] - (base64 ? '0' : 0);
        *data = base64 ? buf_str(plain) : rest;
        return channel;
}
