/* Upgrades that go on to another server.
 *
 *   client ◀═ raw bytes ═▶ server    a WebSocket, SPDY: both ends speak the same protocol
 *   client ◀═ messages ══▶ kubelet   port-forward since kubectl 1.31: SPDY there, whose bytes are messages here
 *   client ◀═ channels ══▶ kubelet   exec and attach since kubectl 1.31: v5.channel.k8s.io here, streams of SPDY there
 *
 * The last two are for us to translate, since no other kubelet than ours speaks them (KEP-4006). Of the very last the
 * client hears at once that it is connected: what goes wrong after that is a Status on the channel for errors. */
#include "apiserver/flags.h"
#include "apiserver/relay.h"
#include "http/client.h"
#include "http/spdy.h"
#include "http/websocket.h"
#include "json/build.h"

#define MAX_STATUS (64 * 1024)
#define HIGH_WATER (256 * 1024)
#define SPDY "SPDY/3.1"
#define STREAM_PROTOCOL "x-stream-protocol-version"
#define V4 "v4.channel.k8s.io"
#define V5 "v5.channel.k8s.io"

/* ---- bytes as they are ---- */

struct tunnel {
        struct http_request *req; /* NULL: the client is gone */
        struct relay_peer *peer;
        struct arena *arena;
        struct format format;
        uint64_t rate;    /* --max-connection-bytes-per-sec */
        bool in_messages; /* what the other side speaks is SPDY, and here its bytes are in a WebSocket's messages */
};

static void tunnel_gone(struct http_request *req, void *arg) {
        struct tunnel *t = arg;

        t->req = NULL;
}

static void pipe_done(void *arg) {
}

#define IN_MESSAGES SPDY "+" /* before the name of a protocol over SPDY: that in messages */
#define KUBERNETES ".k8s.io"

/* The next protocol that is offered for a tunnel in messages, without what makes it one. */
static bool next_offered(struct str *rest, struct str *ret) {
        while (str_split(rest, ',', ret)) {
                *ret = str_trim(*ret);
                if (str_has_prefix(*ret, STR(IN_MESSAGES)) && str_has_suffix(*ret, STR(KUBERNETES))) {
                        *ret = str_sub(*ret, strlen(IN_MESSAGES), ret->n);
                        return true;
                }
        }
        return false;
}

/* Those of an upgrade to a WebSocket, as those of one to SPDY. */
static size_t headers_for_spdy(struct arena *a, struct str offered, struct http_header **h, size_t n) {
        struct http_header *all =
                        arena_array(a, struct http_header, n + 1 + offered.n / strlen(IN_MESSAGES KUBERNETES));
        struct str protocol;
        size_t k = 0;

        for (size_t i = 0; i < n; i++)
                if (!str_has_prefix((*h)[i].name, STR("sec-websocket-")) && !str_eqc((*h)[i].name, "upgrade") &&
                    !str_eqc((*h)[i].name, STREAM_PROTOCOL))
                        all[k++] = (*h)[i];
        all[k++] = (struct http_header) { STR("upgrade"), STR(SPDY) };
        while (next_offered(&offered, &protocol))
                all[k++] = (struct http_header) { STR(STREAM_PROTOCOL), arena_str(a, protocol) };
        *h = all;
        return k;
}

/* The client's end, of the protocol that the other side has chosen if the client offered that. */
static struct duplex *open_messages(struct tunnel *t, const struct http_upgrade_result *r) {
        const char *protocol = arena_printf(t->arena, IN_MESSAGES "%" STR_FMT,
                                            STR_ARG(http_header_get(r->headers, r->n_headers, STREAM_PROTOCOL)))
                                               .p;

        return http_accept_websocket(
                        t->req, websocket_choose(http_request_header(t->req, "sec-websocket-protocol"), &protocol, 1));
}

/* Upstream passes a refusal on as it came, without what it adds to answers of its own, and that is the end. */
static void pass_on(struct tunnel *t, const struct http_upgrade_result *r) {
        bool chunked = http_header_get(r->headers, r->n_headers, "transfer-encoding").n > 0,
             sized = http_header_get(r->headers, r->n_headers, "content-length").n > 0;
        struct http_header *h = arena_array(t->arena, struct http_header, r->n_headers + 1);
        struct duplex *client;
        size_t n = 0;

        h[n++] = chunked ? (struct http_header) { STR("transfer-encoding"), STR("chunked") }
                 : sized ? (struct http_header) { STR("content-length"), arena_printf(t->arena, "%zu", r->body.n) }
                         : (struct http_header) { STR("connection"), STR("close") };
        for (size_t i = 0; i < r->n_headers; i++)
                if (!str_among(r->headers[i].name,
                               WORDS("connection", "content-length", "trailer", "transfer-encoding")))
                        h[n++] = r->headers[i];
        client = http_hijack(t->req, r->status, h, n);
        if (!client)
                return;
        if (chunked && r->body.n > 0)
                duplex_write_copy(client, arena_printf(t->arena, "%zx\r\n", r->body.n));
        duplex_write_copy(client, r->body);
        if (chunked)
                duplex_write_copy(client, r->body.n ? STR("\r\n0\r\n\r\n") : STR("0\r\n\r\n"));
        duplex_close(client);
}

static void tunnel_refused(struct tunnel *t, const struct http_upgrade_result *r) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct http_slice body = { .data = arena_str(http_request_arena(t->req), r->body) };
        struct http_header *h = arena_array(t->arena, struct http_header, r->n_headers);
        size_t n = 0;

        if (r->err == 0 && r->status < 400) {
                error_status(&e, REASON_UNKNOWN, "invalid upgrade response: status code %d", r->status);
                return respond_error(t->req, &t->format, &e);
        }
        if (r->err == 0 && !t->in_messages)
                return pass_on(t, r);
        for (size_t i = 0; i < r->n_headers; i++)
                if (!relay_is_hop_header(r->headers[i].name))
                        h[n++] = r->headers[i];
        if (r->err == 0) {
                http_request_last(t->req);
                return http_respond(t->req, r->status, h, n, &body, 1);
        }
        error_status(&e, REASON_UNKNOWN, "%s%s", r->connected ? "" : "error dialing backend: ", r->message);
        e.code = 500;
        respond_error(t->req, &t->format, &e);
}

static void tunnel_open(const struct http_upgrade_result *r, void *arg) {
        struct tunnel *t = arg;

        t->peer->n_running--; /* an open tunnel is a connection of its own */
        if (!t->req) {
                if (r->duplex)
                        duplex_close(r->duplex);
        } else if (!r->duplex) {
                http_request_on_close(t->req, NULL, NULL);
                tunnel_refused(t, r);
        } else {
                http_request_on_close(t->req, NULL, NULL);
                struct duplex *client = t->in_messages ? open_messages(t, r)
                                                       : http_hijack(t->req, 101, r->headers, r->n_headers);
                if (client)
                        duplex_pipe(client, r->duplex, t->rate, pipe_done, NULL);
                else
                        duplex_close(r->duplex);
        }
        arena_free(t->arena);
}

static void tunnel(struct exchange *x, const struct relay_target *where) {
        struct arena *a = arena_new(0);
        struct tunnel *t = arena_new_of(a, struct tunnel);
        struct http_header *headers;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct http_call_options o = { .method = arena_cstr(a, http_request_method_text(x->req)),
                                       .path = arena_str(a, where->path) };
        struct str offered = http_request_header(x->req, "sec-websocket-protocol"), rest = offered, protocol;

        if (relay_peer(x, where, &t->peer, &e) < 0) {
                respond_error(x->req, &x->format, &e);
                arena_free(a);
                return;
        }
        t->req = x->req;
        t->arena = a;
        t->format = x->format;
        str_to_u64(str_of(server_flag(x->s, "max-connection-bytes-per-sec", "0")), &t->rate);
        o.n_headers = relay_headers(x, where, a, true, &headers);
        t->in_messages = where->is_forward && http_request_wants_websocket(x->req) && next_offered(&rest, &protocol);
        if (t->in_messages) {
                o.method = "POST";
                o.n_headers = headers_for_spdy(a, offered, &headers, o.n_headers);
        }
        o.headers = headers;
        http_request_on_close(x->req, tunnel_gone, t);
        t->peer->n_running++;
        http_client_upgrade(t->peer->client, &o, tunnel_open, t);
}

/* ---- channels to streams ---- */

struct translation {
        struct duplex *ws; /* NULL: the client is gone */
        struct relay_peer *peer;
        struct spdy_session *session; /* NULL: not yet, or no more */
        struct spdy_stream *streams[REMOTE_CHANNELS];
        struct arena *arena;
        struct str url;
        bool asked[REMOTE_CHANNELS], talks[REMOTE_CHANNELS]; /* talks: more may come */
        bool dialing, told;
        struct buf status; /* what the kubelet says in the end */
};

static void translation_release(struct translation *t) {
        if (t->ws || t->session || t->dialing)
                return;
        buf_free(&t->status);
        arena_free(t->arena);
}

static struct json failed(struct arena *a, struct str why) {
        return json_build(a,
                          "{ metadata: {}, status: 'Failure', message: %s, reason: 'InternalError',"
                          "  details: { causes: [ { message: %s } ] }, code: 500 }",
                          arena_printf(a, "Internal error occurred: %" STR_FMT, STR_ARG(why)), why);
}

/* A Status of a kubelet as its client's: that of v4 becomes that of v5, as upstream's API server has it. */
static struct json final_status(struct translation *t) {
        const struct json_parse_opts opts = { .max_depth = 16 };
        struct arena *a = t->arena;
        struct json *j = NULL;

        if (t->status.n == 0)
                return json_build(a, "{ metadata: {}, status: 'Success' }");
        if (json_parse(a, buf_str(&t->status), &opts, &j, NULL) < 0)
                return failed(a, STR("error stream protocol error: what came is no Status"));
        struct str status = json_str(json_getc(j, "status"));
        if (str_eqc(status, "Success"))
                return json_build(a, "{ metadata: {}, status: 'Success' }");
        if (!str_eqc(status, "Failure"))
                return failed(a, STR("error stream protocol error: unknown error"));
        if (!str_eqc(json_str(json_getc(j, "reason")), "NonZeroExitCode"))
                return failed(a, json_str(json_getc(j, "message")));
        const struct json *cause = json_find_by(json_at_path(j, "details", "causes"), "reason", STR("ExitCode"));
        if (!cause)
                return failed(a, STR("error stream protocol error: no ExitCode cause given"));
        struct str code = json_str(json_getc(cause, "message"));
        return json_build(a,
                          "{ metadata: {}, status: 'Failure', message: %s, reason: 'NonZeroExitCode',"
                          "  details: { causes: [ { reason: 'ExitCode', message: %s } ] } }",
                          arena_printf(a,
                                       "command terminated with non-zero exit code: command terminated with exit code "
                                       "%" STR_FMT,
                                       STR_ARG(code)),
                          code);
}

static void translation_end(struct translation *t, struct json status) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (t->told || !t->ws)
                return;
        t->told = true;
        json_write(&text, &status);
        websocket_write_channel(t->ws, false, REMOTE_ERROR, buf_str(&text));
        duplex_close(t->ws);
        if (t->session)
                spdy_session_close(t->session);
}

/* ---- what the kubelet sends ---- */

static enum remote_channel channel_of(const struct translation *t, const struct spdy_stream *st) {
        enum remote_channel c = REMOTE_STDIN;

        while (c < REMOTE_CHANNELS && t->streams[c] != st)
                c++;
        return c;
}

static void pause_output(struct translation *t, bool paused) {
        if (t->streams[REMOTE_STDOUT])
                spdy_stream_pause(t->streams[REMOTE_STDOUT], paused);
        if (t->streams[REMOTE_STDERR])
                spdy_stream_pause(t->streams[REMOTE_STDERR], paused);
}

static void stream_data(struct spdy_stream *st, struct str data, void *arg) {
        struct translation *t = arg;
        enum remote_channel c = channel_of(t, st);

        if (c == REMOTE_ERROR)
                buf_add_str(&t->status, str_sub(data, 0, MAX_STATUS - t->status.n));
        else if (t->ws && (c == REMOTE_STDOUT || c == REMOTE_STDERR)) {
                websocket_write_channel(t->ws, false, c, data);
                if (duplex_pending(t->ws) > HIGH_WATER)
                        pause_output(t, true);
        }
}

/* All is said once output and errors are at their end. */
static void stream_over(struct translation *t, enum remote_channel c) {
        if (c < REMOTE_CHANNELS)
                t->talks[c] = false;
        if (!t->talks[REMOTE_STDOUT] && !t->talks[REMOTE_STDERR] && !t->talks[REMOTE_ERROR])
                translation_end(t, final_status(t));
}

static void stream_end(struct spdy_stream *st, void *arg) {
        struct translation *t = arg;
        enum remote_channel c = channel_of(t, st);

        if (c == REMOTE_STDIN) /* nobody reads it any more */
                spdy_stream_close(st);
        stream_over(t, c);
}

static void stream_drain(struct spdy_stream *st, void *arg) {
        struct translation *t = arg;

        if (t->ws)
                duplex_pause(t->ws, false);
}

static void stream_close(struct spdy_stream *st, int err, void *arg) {
        struct translation *t = arg;
        enum remote_channel c = channel_of(t, st);

        if (c < REMOTE_CHANNELS)
                t->streams[c] = NULL;
        stream_over(t, c);
}

static void session_closed(struct spdy_session *s, int err, void *arg) {
        struct translation *t = arg;

        t->session = NULL;
        translation_end(t, final_status(t)); /* it did not take all streams */
        translation_release(t);
}

static void no_stream(struct spdy_session *s, struct spdy_stream *st, void *arg) { /* a kubelet opens none */
}

static void open_streams(struct translation *t, struct duplex *raw) {
        static const enum remote_channel order[] = { REMOTE_ERROR, REMOTE_STDIN, REMOTE_STDOUT, REMOTE_STDERR,
                                                     REMOTE_RESIZE };
        static const struct spdy_session_ops session_ops = { no_stream, session_closed };
        static const struct spdy_stream_ops ops = {
                .on_data = stream_data,
                .on_end = stream_end,
                .on_drain = stream_drain,
                .on_close = stream_close,
        };

        t->session = spdy_session_new(raw, false, &session_ops, t);
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                enum remote_channel c = order[i];
                struct http_header type = { STR("streamtype"), str_of(remote_channels[c]) };

                if (t->asked[c])
                        t->streams[c] = spdy_stream_open(t->session, &type, 1, &ops, t);
                t->talks[c] = t->streams[c] != NULL;
        }
        duplex_pause(t->ws, false);
}

/* ---- what the client sends ---- */

static void ws_data(struct duplex *d, struct str data, void *arg) {
        struct translation *t = arg;
        int c = websocket_read_channel(&data, false, NULL);

        if (c == REMOTE_CLOSE && (data.n != 1 || (unsigned char) data.p[0] >= REMOTE_CHANNELS))
                duplex_close(d);
        else if (c == REMOTE_CLOSE && data.p[0] == REMOTE_STDIN && t->streams[REMOTE_STDIN])
                spdy_stream_close(t->streams[REMOTE_STDIN]);
        else if ((c == REMOTE_STDIN || c == REMOTE_RESIZE) && t->streams[c]) {
                spdy_stream_write_copy(t->streams[c], data);
                if (spdy_stream_pending(t->streams[c]) > HIGH_WATER)
                        duplex_pause(d, true);
        }
}

static void ws_drain(struct duplex *d, void *arg) {
        pause_output(arg, false);
}

static void ws_close(struct duplex *d, int err, void *arg) {
        struct translation *t = arg;

        t->ws = NULL;
        if (t->session)
                spdy_session_close(t->session);
        translation_release(t);
}

/* ---- the beginning ---- */

static void translation_open(const struct http_upgrade_result *r, void *arg) {
        struct translation *t = arg;
        struct arena *a = t->arena;

        t->peer->n_running--;
        t->dialing = false;
        if (!t->ws) {
                if (r->duplex)
                        duplex_close(r->duplex);
                translation_release(t);
        } else if (r->duplex)
                open_streams(t, r->duplex);
        else if (r->err)
                translation_end(t, failed(a, arena_printf(a, "error sending request: Post \"%" STR_FMT "\": %s",
                                                          STR_ARG(t->url), r->message)));
        else
                translation_end(t, failed(a, arena_printf(a, "unable to upgrade connection: %" STR_FMT,
                                                          STR_ARG(str_trim(r->body)))));
}

static void translate(struct exchange *x, const struct relay_target *where) {
        static const char *const options[] = { [REMOTE_STDIN] = "stdin",
                                               [REMOTE_STDOUT] = "stdout",
                                               [REMOTE_STDERR] = "stderr",
                                               [REMOTE_RESIZE] = "tty" };
        static const struct duplex_ops ops = { ws_data, ws_drain, ws_close };
        static const struct http_header headers[] = {
                { STR_INIT("connection"), STR_INIT("Upgrade") },
                { STR_INIT("upgrade"), STR_INIT(SPDY) },
                { STR_INIT(STREAM_PROTOCOL), STR_INIT(V4) },
        };
        struct arena *a = arena_new(0);
        struct translation *t = arena_new_of(a, struct translation);
        struct http_call_options o = {
                .method = "POST", .path = where->path, .headers = headers, .n_headers = ARRAY_SIZE(headers)
        };
        _cleanup_error_ struct error e = ERROR_INIT;

        t->arena = a;
        for (size_t c = 0; c < ARRAY_SIZE(options); c++) {
                struct str value = options[c] ? request_query_get(http_request_arena(x->req),
                                                                  http_request_query(x->req), options[c])
                                              : (struct str) { 0 };

                t->asked[c] = value.p && request_bool(value);
        }
        t->asked[REMOTE_ERROR] = true;
        if (relay_peer(x, where, &t->peer, &e) < 0) {
                respond_error(x->req, &x->format, &e);
                arena_free(a);
                return;
        }
        t->url = relay_url(a, where);
        o.path = arena_str(a, where->path); /* the request is gone after this */
        t->ws = http_accept_websocket(x->req, V5);
        if (!t->ws)
                return arena_free(a);
        duplex_set_ops(t->ws, &ops, t);
        duplex_pause(t->ws, true);
        /* An empty message tells the client that it is connected. */
        websocket_write_channel(t->ws, false,
                                t->asked[REMOTE_STDOUT]   ? REMOTE_STDOUT
                                : t->asked[REMOTE_STDERR] ? REMOTE_STDERR
                                                          : REMOTE_ERROR,
                                STR(""));
        t->asked[REMOTE_STDERR] &= !t->asked[REMOTE_RESIZE]; /* a terminal has one stream out */
        t->dialing = true;
        t->peer->n_running++;
        http_client_upgrade(t->peer->client, &o, translation_open, t);
}

void relay_upgrade(struct exchange *x, const struct relay_target *t) {
        static const char *const v5[] = { V5 };
        struct str offered = http_request_header(x->req, "sec-websocket-protocol");

        if (t->is_exec && http_request_wants_websocket(x->req) && websocket_choose(offered, v5, 1))
                translate(x, t);
        else
                tunnel(x, t);
}
