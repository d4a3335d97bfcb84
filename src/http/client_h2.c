/* HTTP/2 on a client's connection: nghttp2 between the transport and the calls. Bodies are not buffered by us: the
 * window of a stream is given back as its data is taken, so a paused call stops its stream and no other. */
#include <nghttp2/nghttp2.h>

#include "http/client_internal.h"

#define STREAM_WINDOW (1024 * 1024)
#define CONNECTION_WINDOW (8 * 1024 * 1024)
#define HEADERS_MAX 1024

struct h2 {
        nghttp2_session *session;
        bool failed;
};

static nghttp2_session *session_of(const struct client_conn *c) {
        return ((struct h2 *) c->state)->session;
}

static struct http_call *call_of(nghttp2_session *s, int32_t stream_id) {
        return nghttp2_session_get_stream_user_data(s, stream_id);
}

/* ---- receiving ---- */

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t n_name,
                     const uint8_t *value, size_t n_value, uint8_t flags, void *arg) {
        struct http_call *c = call_of(s, f->hd.stream_id);
        struct http_header h;
        int64_t status;

        if (!c || f->hd.type != NGHTTP2_HEADERS || c->headers.n + c->trailers.n >= HEADERS_MAX)
                return 0;
        if (n_name == 7 && memcmp(name, ":status", 7) == 0) {
                if (str_to_i64(str_n((const char *) value, n_value), &status) == 0)
                        c->status = (int) status;
                return 0;
        }
        h.name = arena_str(c->arena, str_n((const char *) name, n_name));
        h.value = arena_str(c->arena, str_n((const char *) value, n_value));
        if (c->got_bytes)
                vec_push(&c->trailers, h);
        else
                vec_push(&c->headers, h);
        return 0;
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t n,
                         void *arg) {
        struct http_call *c = call_of(s, stream_id);

        if (!c || c->done) {
                nghttp2_session_consume_connection(s, n);
                return 0;
        }
        if (c->paused) { /* at most a window of it */
                buf_add(&c->held, data, n);
                return 0;
        }
        nghttp2_session_consume(s, stream_id, n);
        call_data(c, str_n((const char *) data, n));
        return 0;
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *arg) {
        struct client_conn *conn = arg;

        if (f->hd.type == NGHTTP2_GOAWAY) {
                conn->draining = true;
                return 0;
        }
        if (f->hd.type != NGHTTP2_HEADERS)
                return 0;
        struct http_call *c = call_of(s, f->hd.stream_id);
        if (!c || c->done || c->got_bytes)
                return 0;
        if (c->status < 200) { /* 100, 103 */
                c->headers.n = 0;
                return 0;
        }
        if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
                call_unpacks(c);
        call_response(c, c->status);
        return 0;
}

/* The window of n bytes that were held. */
static void give_back(struct http_call *c, size_t n) {
        if (c->stream_id)
                nghttp2_session_consume(session_of(c->conn), c->stream_id, n);
        else
                nghttp2_session_consume_connection(session_of(c->conn), n);
}

static void deliver_held(struct http_call *c) {
        struct buf b = c->held;

        if (b.n == 0)
                return;
        c->held = BUF_INIT;
        give_back(c, b.n);
        call_data(c, buf_str(&b));
        buf_free(&b);
}

static int on_stream_close(nghttp2_session *s, int32_t stream_id, uint32_t code, void *arg) {
        struct http_call *c = call_of(s, stream_id);

        if (!c)
                return 0;
        nghttp2_session_set_stream_user_data(s, stream_id, NULL);
        if (c->done)
                return 0;
        if (code == NGHTTP2_REFUSED_STREAM)
                call_retry(c, -ECONNRESET, "http2: server refused the stream");
        else if (code != NGHTTP2_NO_ERROR)
                call_done(c, -ECONNRESET, "stream error: stream ID %d; %s; received from peer", stream_id,
                          nghttp2_http2_strerror(code));
        else if (c->held.n > 0) { /* the end waits for who paused; the stream is gone */
                c->stream_id = 0;
        } else
                call_done(c, 0, "%s", "");
        return 0;
}

/* ---- sending ---- */

static ssize_t read_body(nghttp2_session *s, int32_t stream_id, uint8_t *dst, size_t n, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
        struct http_call *c = source->ptr;

        n = MIN(n, c->out.bytes);
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (n == c->out.bytes)
                *flags |= NGHTTP2_DATA_FLAG_EOF;
        return (ssize_t) n;
}

static int send_data(nghttp2_session *s, nghttp2_frame *f, const uint8_t *head, size_t n, nghttp2_data_source *source,
                     void *arg) {
        struct client_conn *conn = arg;
        struct http_call *c = source->ptr;

        if (!transport_room(&conn->t))
                return NGHTTP2_ERR_WOULDBLOCK;
        transport_put(&conn->t, head, 9);
        while (n > 0) {
                struct str p = slices_peek(&c->out);
                size_t k = MIN(n, p.n);

                transport_put(&conn->t, p.p, k);
                slices_consume(&c->out, k);
                n -= k;
        }
        return 0;
}

static nghttp2_nv make_nv(struct str name, struct str value) {
        return (nghttp2_nv) { (uint8_t *) name.p, (uint8_t *) value.p, name.n, value.n, 0 };
}

static struct str lower_name(struct arena *a, struct str name) {
        struct str s = arena_str(a, name);

        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] >= 'A' && s.p[i] <= 'Z')
                        ((char *) s.p)[i] |= 0x20;
        return s;
}

static void h2_start(struct client_conn *c, struct http_call *call) {
        const struct http_call_options *o = &call->o;
        struct str authority = http_header_get(o->headers, o->n_headers, "host");
        nghttp2_nv *nv = arena_array(call->arena, nghttp2_nv, o->n_headers + 7);
        nghttp2_data_provider body = { .source.ptr = call, .read_callback = read_body };
        size_t n = 0;

        nv[n++] = make_nv(STR(":method"), str_of(o->method));
        nv[n++] = make_nv(STR(":scheme"), c->t.ssl ? STR("https") : STR("http"));
        nv[n++] = make_nv(STR(":authority"), authority.p ? authority : str_of(c->client->authority));
        nv[n++] = make_nv(STR(":path"), o->path);
        for (size_t i = 0; i < o->n_headers; i++) {
                struct str name = lower_name(call->arena, o->headers[i].name);

                if (!str_eq(name, STR("host")) && !str_eq(name, STR("connection")) && !str_eq(name, STR("upgrade")))
                        nv[n++] = make_nv(name, o->headers[i].value);
        }
        if (o->go_agent)
                nv[n++] = make_nv(STR("user-agent"), STR("Go-http-client/2.0"));
        if (call->asked_gzip)
                nv[n++] = make_nv(STR("accept-encoding"), STR("gzip"));
        if (o->body.n > 0 && !http_header_get(o->headers, o->n_headers, "content-length").p) {
                struct str length = arena_printf(call->arena, "%zu", o->body.n);

                nv[n++] = make_nv(STR("content-length"), length);
        }
        int32_t id = nghttp2_submit_request(session_of(c), NULL, nv, n, o->body.n > 0 ? &body : NULL, call);
        if (id < 0) { /* the connection has used up its stream numbers */
                c->draining = true;
                return call_retry(call, -ECONNRESET, nghttp2_strerror(id));
        }
        call->stream_id = id;
        transport_dirty(&c->t);
}

static void h2_fill(struct client_conn *c) {
        nghttp2_session *s = session_of(c);

        while (transport_room(&c->t)) {
                const uint8_t *p;
                ssize_t n = nghttp2_session_mem_send(s, &p);

                if (n < 0)
                        transport_finish(&c->t);
                if (n <= 0)
                        break;
                transport_put(&c->t, p, (size_t) n);
        }
        if (transport_room(&c->t) && !nghttp2_session_want_read(s) && !nghttp2_session_want_write(s))
                transport_finish(&c->t);
}

static void h2_data(struct client_conn *c, struct str data) {
        ssize_t n = nghttp2_session_mem_recv(session_of(c), (const uint8_t *) data.p, data.n);

        if (c->closed)
                return;
        if (n < 0)
                conn_fail(c, -EPROTO, nghttp2_strerror((int) n));
        else
                transport_dirty(&c->t);
}

/* ---- the rest ---- */

static size_t h2_room(const struct client_conn *c) {
        size_t max = nghttp2_session_get_remote_settings(session_of(c), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);

        if (!nghttp2_session_check_request_allowed(session_of(c)))
                return 0;
        max = MIN(max, (size_t) 1000);
        return max > c->n_calls ? max - c->n_calls : 0;
}

static void h2_pause(struct http_call *call) {
        struct client_conn *c = call->conn;

        if (call->paused)
                return;
        deliver_held(call);
        if (call->done || call->paused)
                return;
        if (call->stream_id == 0)
                call_done(call, 0, "%s", "");
        else if (!c->closed)
                transport_dirty(&c->t);
}

static void h2_drop(struct http_call *call) {
        nghttp2_session *s = session_of(call->conn);

        if (call->held.n)
                give_back(call, call->held.n);
        if (call->stream_id == 0)
                return;
        nghttp2_session_set_stream_user_data(s, call->stream_id, NULL);
        nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, call->stream_id, NGHTTP2_CANCEL);
        transport_dirty(&call->conn->t);
}

static void h2_ping(struct client_conn *c) {
        nghttp2_submit_ping(session_of(c), NGHTTP2_FLAG_NONE, NULL);
        transport_dirty(&c->t);
}

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

static void make_callbacks(void) {
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
        nghttp2_option_new(&option);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_peer_max_concurrent_streams(option, 100);
}

__attribute__((destructor)) static void free_callbacks(void) {
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        callbacks = NULL;
        option = NULL;
}

static void h2_begin(struct client_conn *c) {
        static uv_once_t once = UV_ONCE_INIT;
        static const nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
        };
        struct h2 *h = xcalloc(1, sizeof(*h));

        uv_once(&once, make_callbacks);
        c->state = h;
        if (nghttp2_session_client_new2(&h->session, callbacks, c, option) != 0)
                abort(); /* out of memory */
        nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings));
        nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW);
        transport_dirty(&c->t);
}

static void h2_free(struct client_conn *c) {
        struct h2 *h = c->state;

        nghttp2_session_del(h->session);
        free(h);
}

const struct client_class client_h2 = {
        .begin = h2_begin,
        .data = h2_data,
        .fill = h2_fill,
        .room = h2_room,
        .start = h2_start,
        .pause = h2_pause,
        .drop = h2_drop,
        .ping = h2_ping,
        .free = h2_free,
};
