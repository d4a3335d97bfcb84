#include "kubelet/remote.h"

#include "http/spdy.h"
#include "json/build.h"

#define STREAMS_MS (30 * 1000)
#define INTERNAL "Internal error occurred: "
#define MAX_SMALL 4096 /* a resize message */

struct remote {
        const struct remote_ops *ops;
        void *arg;
        struct remote_options o;
        struct loop *loop;
        struct loop_work begin;
        bool is_ready, finished, closed;
        /* WebSocket */
        struct duplex *ws;
        bool base64, status_json;
        /* SPDY */
        struct spdy_session *spdy;
        struct spdy_stream *streams[REMOTE_CHANNELS];
        unsigned expected, have;
        struct timer timer;
        bool begin_queued;
        struct buf resize;
};

static void free_remote(struct remote *r) {
        buf_free(&r->resize);
        free(r);
}

static void timer_freed(struct timer *t) {
        free_remote(container_of(t, struct remote, timer));
}

static void closed(struct remote *r) {
        if (r->closed)
                return;
        r->closed = true;
        r->ops->on_close(r, r->arg);
        if (r->begin_queued)
                return; /* begin() frees it */
        timer_close(&r->timer, timer_freed);
}

static void begin(struct loop_work *w) {
        struct remote *r = container_of(w, struct remote, begin);

        r->begin_queued = false;
        if (r->closed)
                timer_close(&r->timer, timer_freed);
        else {
                r->is_ready = true;
                r->ops->ready(r, r->arg);
        }
}

static void queue_begin(struct remote *r) {
        r->begin.run = begin;
        r->begin_queued = true;
        loop_post(r->loop, &r->begin);
}

static void resized(struct remote *r, struct str text) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json_parse_opts opts = { .max_depth = 8 };
        struct json *j = NULL;

        if (json_parse(a, text, &opts, &j, NULL) == 0)
                r->ops->on_resize(r, (uint16_t) json_int(json_getc(j, "Width")),
                                  (uint16_t) json_int(json_getc(j, "Height")), r->arg);
}

/* ---- WebSocket ---- */

static void ws_data(struct duplex *d, struct str data, void *arg) {
        struct remote *r = arg;
        _cleanup_buf_ struct buf plain = BUF_INIT;
        int channel = websocket_read_channel(&data, r->base64, &plain);

        if (channel == REMOTE_STDIN && data.n > 0)
                r->ops->on_stdin(r, data, r->arg);
        else if (channel == REMOTE_RESIZE)
                resized(r, data);
}

static void ws_drain(struct duplex *d, void *arg) {
        struct remote *r = arg;

        r->ops->on_drain(r, r->arg);
}

static void ws_close(struct duplex *d, int err, void *arg) {
        closed(arg);
}

static struct remote *new_remote(struct http_request *req, const struct remote_options *o, const struct remote_ops *ops,
                                 void *arg) {
        return xnew(struct remote, .o = *o, .ops = ops, .arg = arg, .loop = http_request_loop(req));
}

static struct remote *open_websocket(struct http_request *req, const struct remote_options *o,
                                     const struct remote_ops *ops, void *arg) {
        static const char *const protocols[] = { "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io",
                                                 "base64.channel.k8s.io" };
        static const struct duplex_ops dops = { ws_data, ws_drain, ws_close };
        struct str offered = http_request_header(req, "sec-websocket-protocol");
        const char *protocol = websocket_choose(offered, protocols, ARRAY_SIZE(protocols));
        struct duplex *ws;
        struct remote *r;

        r = new_remote(req, o, ops, arg);
        ws = http_accept_websocket(req, protocol);
        if (!ws) {
                free_remote(r);
                return NULL;
        }
        r->ws = ws;
        r->base64 = protocol && strstr(protocol, "base64");
        r->status_json = protocol && strncmp(protocol, "v4.", 3) == 0;
        duplex_set_ops(ws, &dops, r);
        /* An empty message tells the client that the streams are there. */
        websocket_write_channel(ws, r->base64, o->out ? REMOTE_STDOUT : o->err ? REMOTE_STDERR : REMOTE_ERROR, STR(""));
        queue_begin(r);
        return r;
}

/* ---- SPDY ---- */

static enum remote_channel channel_of(struct remote *r, struct spdy_stream *st) {
        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++)
                if (r->streams[c] == st)
                        return c;
        return REMOTE_CHANNELS;
}

static void stream_data(struct spdy_stream *st, struct str data, void *arg) {
        struct remote *r = arg;

        switch (channel_of(r, st)) {
        case REMOTE_STDIN:
                r->ops->on_stdin(r, data, r->arg);
                break;
        case REMOTE_RESIZE: /* JSON values one after the other, each ended by a newline */
                buf_add_str(&r->resize, data);
                for (ssize_t nl; (nl = str_find(buf_str(&r->resize), '}')) >= 0;) {
                        resized(r, str_sub(buf_str(&r->resize), 0, (size_t) nl + 1));
                        buf_consume(&r->resize, (size_t) nl + 1);
                }
                if (r->resize.n > MAX_SMALL)
                        r->resize.n = 0;
                break;
        default:
                break;
        }
}

static void stream_end(struct spdy_stream *st, void *arg) {
        struct remote *r = arg;

        if (channel_of(r, st) == REMOTE_STDIN)
                r->ops->on_stdin_end(r, r->arg);
}

static void stream_drain(struct spdy_stream *st, void *arg) {
        struct remote *r = arg;

        r->ops->on_drain(r, r->arg);
}

static void stream_close(struct spdy_stream *st, int err, void *arg) {
        struct remote *r = arg;
        enum remote_channel c = channel_of(r, st);

        if (c < REMOTE_CHANNELS)
                r->streams[c] = NULL;
}

static void on_stream(struct spdy_session *s, struct spdy_stream *st, void *arg) {
        static const struct spdy_stream_ops ops = {
                .on_data = stream_data,
                .on_end = stream_end,
                .on_drain = stream_drain,
                .on_close = stream_close,
        };
        struct str type = spdy_stream_header(st, "streamtype");
        struct remote *r = arg;

        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++) {
                if (!str_eqc(type, remote_channels[c]))
                        continue;
                if (r->streams[c] || r->is_ready)
                        break;
                r->streams[c] = st;
                spdy_stream_accept(st, &ops, r);
                if (c == REMOTE_STDIN)
                        spdy_stream_pause(st, true); /* until there is who reads it */
                if (++r->have == r->expected) {
                        timer_stop(&r->timer);
                        queue_begin(r);
                }
                return;
        }
        spdy_stream_reset(st);
}

static void session_closed(struct spdy_session *s, int err, void *arg) {
        struct remote *r = arg;

        r->spdy = NULL;
        closed(r);
}

static void streams_missing(struct timer *t) {
        struct remote *r = container_of(t, struct remote, timer);

        if (r->spdy)
                spdy_session_close(r->spdy);
}

const char *remote_negotiate(struct http_request *req, const char *const *ours, size_t n_ours) {
        _cleanup_buf_ struct buf offered = BUF_INIT, text = BUF_INIT;
        _cleanup_free_ struct http_header *accepted = xcalloc(n_ours, sizeof(*accepted));
        const struct http_header *h;
        size_t n = http_request_headers(req, &h);

        for (size_t i = 0; i < n; i++) {
                struct str rest = h[i].value, one;

                if (!str_eqc(h[i].name, "x-stream-protocol-version"))
                        continue;
                const char *chosen = websocket_choose(rest, ours, n_ours);
                if (chosen)
                        return chosen;
                while (str_split(&rest, ',', &one))
                        buf_printf(&offered, "%s%" STR_FMT, offered.n ? " " : "", STR_ARG(str_trim(one)));
        }
        if (offered.n == 0) {
                server_error(req, 400, "unable to upgrade: X-Stream-Protocol-Version is required\n");
                return NULL;
        }
        buf_printf(&text,
                   "unable to upgrade: unable to negotiate protocol: client supports [%" STR_FMT "], server accepts [",
                   STR_ARG(buf_str(&offered)));
        for (size_t i = 0; i < n_ours; i++) {
                accepted[i] = (struct http_header) { STR("X-Accepted-Stream-Protocol-Versions"), str_of(ours[i]) };
                buf_printf(&text, "%s%s", i ? " " : "", ours[i]);
        }
        buf_addc(&text, "]\n");
        http_respond(req, 403, accepted, n_ours,
                     &(struct http_slice) { .data = arena_str(http_request_arena(req), buf_str(&text)) }, 1);
        return NULL;
}

static struct remote *open_spdy(struct http_request *req, const struct remote_options *o, const struct remote_ops *ops,
                                void *arg) {
        static const struct spdy_session_ops sops = { on_stream, session_closed };
        static const char *const protocols[] = { "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io",
                                                 "channel.k8s.io" };
        const char *protocol = remote_negotiate(req, protocols, ARRAY_SIZE(protocols));
        struct http_header headers[] = {
                { STR("Connection"), STR("Upgrade") },
                { STR("Upgrade"), STR("SPDY/3.1") },
                { STR("X-Stream-Protocol-Version"), str_of(protocol) },
        };
        struct remote *r;
        struct duplex *raw;

        if (!protocol)
                return NULL;
        r = new_remote(req, o, ops, arg);
        raw = http_hijack(req, 101, headers, ARRAY_SIZE(headers));
        if (!raw) {
                free_remote(r);
                return NULL;
        }
        r->status_json = protocol == protocols[0];
        r->expected = 1u + o->in + o->out + o->err + (o->tty && (protocol == protocols[0] || protocol == protocols[1]));
        r->spdy = spdy_session_new(raw, true, &sops, r);
        timer_start(r->loop, &r->timer, STREAMS_MS, streams_missing);
        return r;
}

/* ---- both ---- */

static bool asked(struct http_request *r, const char *a, const char *b) {
        return server_query_bool(r, a) || server_query_bool(r, b);
}

int remote_parse(struct http_request *r, struct remote_options *ret) {
        struct remote_options o = {
                .in = asked(r, "stdin", "input"),
                .out = asked(r, "stdout", "output"),
                .err = asked(r, "stderr", "error"),
                .tty = server_query_bool(r, "tty"),
        };

        if (o.tty)
                o.err = false; /* a terminal has one stream out */
        if (!o.in && !o.out && !o.err) {
                server_error(r, 400, "you must specify at least 1 of stdin, stdout, stderr");
                return -EINVAL;
        }
        *ret = o;
        return 0;
}

struct remote *remote_open(struct http_request *r, const struct remote_options *o, const struct remote_ops *ops,
                           void *arg) {
        struct str protocol = STR("");

        if (http_request_wants_websocket(r))
                return open_websocket(r, o, ops, arg);
        if (http_request_wants_upgrade(r, &protocol) && str_eq_fold(protocol, STR("SPDY/3.1")))
                return open_spdy(r, o, ops, arg);
        server_error(r, 400, "Upgrade request required");
        return NULL;
}

void remote_write(struct remote *r, enum remote_channel c, struct str data) {
        if (r->closed || str_empty(data))
                return;
        if (r->ws)
                websocket_write_channel(r->ws, r->base64, c, data);
        else if (r->streams[c])
                spdy_stream_write_copy(r->streams[c], data);
}

size_t remote_pending(const struct remote *r) {
        if (r->ws)
                return duplex_pending(r->ws);
        return r->streams[REMOTE_STDOUT]   ? spdy_stream_pending(r->streams[REMOTE_STDOUT])
               : r->streams[REMOTE_STDERR] ? spdy_stream_pending(r->streams[REMOTE_STDERR])
                                           : 0;
}

void remote_pause(struct remote *r, bool paused) {
        if (r->ws)
                duplex_pause(r->ws, paused);
        else if (r->streams[REMOTE_STDIN])
                spdy_stream_pause(r->streams[REMOTE_STDIN], paused);
}

void remote_abort(struct remote *r) {
        if (r->closed)
                return;
        r->finished = true;
        if (r->ws)
                duplex_close(r->ws);
        else if (r->spdy)
                spdy_session_close(r->spdy);
}

/* metav1.Status as client-go's remotecommand reads it. */
static void write_status(struct remote *r, struct buf *out, int exit_code, const struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json o = json_build(a, "{ metadata: {}, status: 'Success' }");

        if (err)
                o = json_build(a,
                               "{ metadata: {}, status: 'Failure', message: %s, reason: 'InternalError',"
                               "  details: { causes: [ { message: %c } ] }, code: 500 }",
                               arena_printf(a, INTERNAL "%s", error_text(err)), error_text(err));
        else if (exit_code)
                o = json_build(a,
                               "{ metadata: {}, status: 'Failure', message: %s, reason: 'NonZeroExitCode',"
                               "  details: { causes: [ { reason: 'ExitCode', message: %s } ] } }",
                               arena_printf(a, "command terminated with non-zero exit code: exit status %d", exit_code),
                               arena_printf(a, "%d", exit_code));
        json_write(out, &o);
}

void remote_finish(struct remote *r, int exit_code, const struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (r->closed || r->finished)
                return;
        r->finished = true;
        if (r->status_json)
                write_status(r, &text, exit_code, err);
        else if (err)
                buf_printf(&text, INTERNAL "%s", error_text(err));
        else if (exit_code)
                buf_printf(&text, "command terminated with non-zero exit code: exit status %d", exit_code);
        remote_write(r, REMOTE_ERROR, buf_str(&text));
        if (r->ws)
                return duplex_close(r->ws);
        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++)
                if (r->streams[c])
                        spdy_stream_close(r->streams[c]);
        if (r->spdy)
                spdy_session_close(r->spdy);
}
