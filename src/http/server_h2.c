/* HTTP/2 on a server's connection: nghttp2 between the transport and the requests.
 *
 * Bodies go from their slices straight into the transport's record (NO_COPY): nghttp2 decides which stream may send how
 * much, send_data puts the frame. All frames that are ready in one turn leave in full TLS records by one write.
 *
 * Bounds: streams (SETTINGS and nghttp2), header list, body, resets (nghttp2's token bucket against rapid reset), and
 * nghttp2's own on queued acks, settings and continuations. A connection without streams is idle, and ends after a
 * while with GOAWAY.
 */
#include <nghttp2/nghttp2.h>

#include "http/server_internal.h"

/* As kube-apiserver tells its clients. */
#define STREAM_WINDOW (256 * 1024)
#define FRAME_MAX (256 * 1024)
#define LENGTH_MAX 4096 /* of a longer body it is not said how long it is, unless its handler does */

struct h2 {
        nghttp2_session *session;
        struct http_request *receiving; /* whose header comes in now */
        size_t n_streams;
        bool stopping;
};

static struct http_request *request_of(nghttp2_session *s, int32_t stream_id) {
        return nghttp2_session_get_stream_user_data(s, stream_id);
}

/* ---- receiving ---- */

static int on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *arg) {
        struct conn *c = arg;

        if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST) {
                c->h2->receiving = NULL; /* trailers: nothing here wants them */
                return 0;
        }
        struct http_request *r = request_new(c);
        r->stream_id = f->hd.stream_id;
        nghttp2_session_set_stream_user_data(s, f->hd.stream_id, r);
        c->h2->receiving = r;
        if (c->h2->n_streams++ == 0)
                conn_set_deadline(c, DEADLINE_BODY); /* until the request is whole */
        return 0;
}

static struct str keep(struct http_request *r, nghttp2_rcbuf *b) {
        nghttp2_vec v = nghttp2_rcbuf_get_buf(b);
        struct str s = { (const char *) v.base, v.len };

        return nghttp2_rcbuf_is_static(b) ? s : arena_str(r->arena, s);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, nghttp2_rcbuf *name, nghttp2_rcbuf *value,
                     uint8_t flags, void *arg) {
        struct conn *c = arg;
        struct http_request *r = c->h2->receiving;
        struct str n, v;

        if (!r || r->header_too_large)
                return 0;
        n = keep(r, name);
        v = keep(r, value);
        if (n.n == 0 || n.p[0] != ':') {
                if (str_eq(n, STR("expect")) && str_eq_fold(v, STR("100-continue")))
                        r->expects_continue = true;
                request_add_header(r, n, v);
        } else if (str_eq(n, STR(":path")))
                request_set_target(r, v);
        else if (str_eq(n, STR(":method")))
                request_set_method(r, v);
        else if (str_eq(n, STR(":authority")))
                request_add_header(r, STR("host"), v);
        return 0;
}

static int on_data_chunk(nghttp2_session *s, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t n,
                         void *arg) {
        struct conn *c = arg;
        struct http_request *r = request_of(s, stream_id);

        if (r && r->streams && !r->ended) {
                request_body(r, str_n((const char *) data, n), false);
                return 0;
        }
        nghttp2_session_consume(s, stream_id, n);
        if (!r || r->started || r->dispatched)
                return 0;
        if (r->body.n + n > c->w->server->o.max_body) {
                r->too_large = true;
                buf_free(&r->body);
                request_dispatch(r); /* 413 */
                return 0;
        }
        buf_add(&r->body, data, n);
        return 0;
}

static void h2_inform(struct http_request *r, int status, const struct http_header *hv, size_t n_hv);

static void go_on(struct http_request *r) {
        if (r->expects_continue && !r->started)
                h2_inform(r, 100, NULL, 0);
        r->expects_continue = false;
}

static void h2_took(struct http_request *r, size_t n) {
        nghttp2_session_consume(r->conn->h2->session, r->stream_id, n);
        go_on(r);
        transport_dirty(&r->conn->t);
}

static void h2_abort(struct http_request *r) {
        nghttp2_submit_rst_stream(r->conn->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
        transport_dirty(&r->conn->t);
}

static void reserve_body(struct http_request *r, int64_t n, size_t max) {
        if (n > (int64_t) max)
                r->too_large = true;
        else if (n > 0)
                buf_reserve(&r->body, (size_t) n);
}

static int on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *arg) {
        struct conn *c = arg;
        int64_t length = -1;

        if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
                return 0;
        struct http_request *r = f->hd.type == NGHTTP2_HEADERS && c->h2->receiving ? c->h2->receiving
                                                                                   : request_of(s, f->hd.stream_id);
        if (f->hd.type == NGHTTP2_HEADERS)
                c->h2->receiving = NULL;
        if (r && f->hd.flags & NGHTTP2_FLAG_END_STREAM)
                r->received = true;
        if (r && r->streams && r->received && r->receiving) {
                request_body(r, STR(""), true);
                return 0;
        }
        if (!r || r->started || r->dispatched)
                return 0;
        if (f->hd.type == NGHTTP2_HEADERS && request_path_is_bad(r->path))
                return nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
        if (r->received) {
                if (c->deadline != DEADLINE_NONE)
                        conn_set_deadline(c, DEADLINE_NONE);
                request_dispatch(r);
                return 0;
        }
        if (f->hd.type == NGHTTP2_DATA)
                return 0;
        str_to_i64(http_request_header(r, "content-length"), &length);
        if (request_streams(r, length)) {
                conn_set_deadline(c, DEADLINE_NONE);
                request_dispatch(r);
                return 0;
        }
        reserve_body(r, length, c->w->server->o.max_body);
        if (r->too_large || r->header_too_large)
                request_dispatch(r);
        else
                go_on(r);
        return 0;
}

static int on_stream_close(nghttp2_session *s, int32_t stream_id, uint32_t code, void *arg) {
        struct conn *c = arg;
        struct http_request *r = request_of(s, stream_id);

        if (!r)
                return 0;
        if (c->h2->receiving == r)
                c->h2->receiving = NULL;
        nghttp2_session_set_stream_user_data(s, stream_id, NULL);
        if (r->streams && r->body.n > 0)
                nghttp2_session_consume_connection(s, r->body.n);
        if (--c->h2->n_streams == 0)
                conn_set_deadline(c, DEADLINE_IDLE);
        if (r->ended && r->out.bytes == 0)
                request_complete(r);
        else /* also of a stream that has no body: who sends it has not ended it */
                request_gone(r);
        return 0;
}

/* ---- sending ---- */

static nghttp2_nv *to_nv(struct http_request *r, const struct http_header *hv, size_t n_hv, size_t *n);

static ssize_t read_body(nghttp2_session *s, int32_t stream_id, uint8_t *dst, size_t n, uint32_t *flags,
                         nghttp2_data_source *source, void *arg) {
        struct http_request *r = source->ptr;

        n = MIN(n, r->out.bytes);
        if (n == 0 && !r->ended) {
                r->deferred = true;
                return NGHTTP2_ERR_DEFERRED;
        }
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
        if (r->ended && n == r->out.bytes) {
                *flags |= NGHTTP2_DATA_FLAG_EOF;
                if (r->n_trailers > 0) {
                        size_t n_nv = 0;
                        nghttp2_nv *nv = to_nv(r, r->trailers, r->n_trailers, &n_nv);

                        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
                        nghttp2_submit_trailer(s, stream_id, nv, n_nv);
                }
                if (!r->received) /* answered early: the rest of the request is not wanted (RFC 9113 8.1) */
                        nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_NO_ERROR);
        }
        return (ssize_t) n;
}

static int send_data(nghttp2_session *s, nghttp2_frame *f, const uint8_t *head, size_t n, nghttp2_data_source *source,
                     void *arg) {
        struct conn *c = arg;
        struct http_request *r = source->ptr;

        if (!transport_room(&c->t))
                return NGHTTP2_ERR_WOULDBLOCK;
        transport_put(&c->t, head, 9);
        while (n > 0) {
                struct str p = slices_peek(&r->out);
                size_t k = MIN(n, p.n);

                transport_put(&c->t, p.p, k);
                request_sent(r, k);
                n -= k;
        }
        return 0;
}

/* Frames as large as the peer takes, but not larger than a TLS record's plaintext. */
static ssize_t frame_length(nghttp2_session *s, uint8_t type, int32_t stream_id, int32_t session_window,
                            int32_t stream_window, uint32_t max_frame, void *arg) {
        return MIN(MIN(session_window, stream_window), (int32_t) MIN(max_frame, 16384u));
}

static void h2_fill(struct conn *c) {
        struct h2 *h = c->h2;

        while (transport_room(&c->t)) {
                const uint8_t *p;
                ssize_t n = nghttp2_session_mem_send(h->session, &p);

                if (n <= 0) {
                        if (n < 0)
                                transport_finish(&c->t);
                        break;
                }
                transport_put(&c->t, p, (size_t) n);
        }
        if (transport_room(&c->t) && !nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
                transport_finish(&c->t);
}

static nghttp2_nv make_nv(struct str name, struct str value, uint8_t flags) {
        return (nghttp2_nv) { (uint8_t *) name.p, (uint8_t *) value.p, name.n, value.n, flags };
}

/* Lower case as HTTP/2 wants it; most callers write it so. */
static struct str lower_name(struct http_request *r, struct str name) {
        for (size_t i = 0; i < name.n; i++)
                if (name.p[i] >= 'A' && name.p[i] <= 'Z') {
                        char *p = arena_dup(r->arena, name.p, name.n);

                        for (; i < name.n; i++)
                                if (p[i] >= 'A' && p[i] <= 'Z')
                                        p[i] |= 0x20;
                        return str_n(p, name.n);
                }
        return name;
}

static struct str decimal(char dst[static 20], uint64_t v) {
        size_t i = 20;

        do
                dst[--i] = (char) ('0' + v % 10);
        while (v /= 10);
        return str_n(dst + i, 20 - i);
}

static bool connection_specific(struct str name) { /* RFC 9113 8.2.2 */
        return str_eq(name, STR("connection")) || str_eq(name, STR("transfer-encoding")) ||
               str_eq(name, STR("keep-alive")) || str_eq(name, STR("upgrade"));
}

/* Those that may go, in the request's arena. */
static nghttp2_nv *to_nv(struct http_request *r, const struct http_header *hv, size_t n_hv, size_t *n) {
        nghttp2_nv *nv = arena_array(r->arena, nghttp2_nv, n_hv + 1);

        for (size_t i = 0; i < n_hv; i++)
                if (!connection_specific(lower_name(r, hv[i].name)))
                        nv[(*n)++] = make_nv(lower_name(r, hv[i].name), hv[i].value, NGHTTP2_NV_FLAG_NONE);
        return nv;
}

static void h2_inform(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        char code[20];
        struct http_header all[64] = { { STR(":status"), decimal(code, (unsigned) status) } };
        size_t n = 0, k = MIN(n_hv, ARRAY_SIZE(all) - 1);

        if (k > 0)
                memcpy(all + 1, hv, k * sizeof(*hv));
        nghttp2_nv *nv = to_nv(r, all, k + 1, &n);
        nghttp2_submit_headers(r->conn->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, nv, n, NULL);
        transport_dirty(&r->conn->t);
}

static void h2_start(struct http_request *r, int status, const struct http_header *hv, size_t n_hv) {
        struct conn *c = r->conn;
        nghttp2_nv few[32], *nv = few;
        nghttp2_data_provider body = { .source.ptr = r, .read_callback = read_body };
        char code[20], length[20];
        bool length_given = false, date_given = false;
        size_t n = 0;

        if (n_hv + r->n_added + 3 > ARRAY_SIZE(few))
                nv = arena_array(r->arena, nghttp2_nv, n_hv + r->n_added + 3);
        nv[n++] = make_nv(STR(":status"), decimal(code, (unsigned) status), NGHTTP2_NV_FLAG_NO_COPY_NAME);
        for (size_t i = 0; i < n_hv + r->n_added; i++) {
                const struct http_header *h = i < n_hv ? &hv[i] : &r->added[i - n_hv];
                struct str name = lower_name(r, h->name);

                if (connection_specific(name))
                        continue;
                length_given |= str_eq(name, STR("content-length"));
                date_given |= str_eq(name, STR("date"));
                /* Different in each response: not worth room in the peer's table. */
                nv[n++] = make_nv(name, h->value, str_eq(name, STR("audit-id")) ? NGHTTP2_NV_FLAG_NO_INDEX : 0);
        }
        if (!date_given)
                nv[n++] = make_nv(STR("date"), worker_date(c->w), NGHTTP2_NV_FLAG_NO_COPY_NAME);
        if (!length_given && status != 204 && status != 304 && request_has_length(r, LENGTH_MAX))
                nv[n++] = make_nv(STR("content-length"), decimal(length, (uint64_t) r->out_left),
                                  NGHTTP2_NV_FLAG_NO_COPY_NAME);
        if (r->bodyless || (r->ended && r->out.bytes == 0)) {
                nghttp2_submit_response(c->h2->session, r->stream_id, nv, n, NULL);
                if (!r->received)
                        nghttp2_submit_rst_stream(c->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR);
        } else
                nghttp2_submit_response(c->h2->session, r->stream_id, nv, n, &body);
        transport_dirty(&c->t);
}

static void h2_more(struct http_request *r) {
        struct conn *c = r->conn;

        if (r->deferred) {
                r->deferred = false;
                nghttp2_session_resume_data(c->h2->session, r->stream_id);
        }
        transport_dirty(&c->t);
}

/* ---- life ---- */

static nghttp2_session_callbacks *callbacks;
static nghttp2_option *option;

static void make_callbacks(void) {
        nghttp2_session_callbacks_new(&callbacks);
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
        nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, frame_length);
        nghttp2_option_new(&option);
        nghttp2_option_set_no_closed_streams(option, 1);
        nghttp2_option_set_no_auto_window_update(option, 1);
        /* Go's servers take values with spaces around them, and its clients send such, as user-agent even. */
        nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(option, 1);
}

__attribute__((destructor)) static void free_callbacks(void) {
        nghttp2_session_callbacks_del(callbacks);
        nghttp2_option_del(option);
        callbacks = NULL;
        option = NULL;
}

static int h2_begin(struct conn *c) {
        static uv_once_t once = UV_ONCE_INIT;
        const struct http_server_options *o = &c->w->server->o;
        nghttp2_settings_entry settings[] = {
                { NGHTTP2_SETTINGS_MAX_FRAME_SIZE, FRAME_MAX },
                { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o->max_streams },
                { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t) MIN(o->max_header + 320, (size_t) UINT32_MAX) },
                { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, NGHTTP2_DEFAULT_HEADER_TABLE_SIZE },
                { NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW },
                { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
        };
        struct h2 *h = xcalloc(1, sizeof(*h));

        uv_once(&once, make_callbacks);
        c->h2 = h;
        TRY(nghttp2_session_server_new2(&h->session, callbacks, c, option));
        TRY(nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, ARRAY_SIZE(settings)));
        return nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0,
                                                     (int32_t) MIN(o->max_streams, INT32_MAX / STREAM_WINDOW) *
                                                                     STREAM_WINDOW);
}

static void h2_stop(struct conn *c);

static void h2_data(struct conn *c, struct str data) {
        if (!c->h2) {
                if (h2_begin(c) != 0)
                        return conn_close(c);
                conn_set_deadline(c, DEADLINE_IDLE);
                transport_dirty(&c->t);
                if (c->w->stopping)
                        h2_stop(c);
        }
        if (data.n == 0 || c->t.finishing)
                return;
        ssize_t n = nghttp2_session_mem_recv(c->h2->session, (const uint8_t *) data.p, data.n);
        if (c->t.closed)
                return;
        if (n < 0 || !nghttp2_session_want_read(c->h2->session))
                c->t.discard = true; /* what it still sends is dropped, and not for long */
        if (n < 0) {                 /* not HTTP/2 at all; a GOAWAY says why where there is one */
                return transport_finish(&c->t);
        }
        transport_dirty(&c->t);
}

static void h2_stop(struct conn *c) {
        struct h2 *h = c->h2;

        if (!h || h->stopping)
                return;
        h->stopping = true;
        nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(h->session),
                              NGHTTP2_NO_ERROR, NULL, 0);
        transport_dirty(&c->t);
}

static void h2_free(struct conn *c) {
        if (!c->h2)
                return;
        nghttp2_session_del(c->h2->session);
        free(c->h2);
}

const struct conn_class conn_h2 = {
        .data = h2_data,
        .fill = h2_fill,
        .start = h2_start,
        .inform = h2_inform,
        .more = h2_more,
        .took = h2_took,
        .abort = h2_abort,
        .stop = h2_stop,
        .free = h2_free,
};
