/* A watch over HTTP: events of a watcher (watch.c) as lines of a chunked answer. */
#include "apiserver/flags.h"
#include "apiserver/handler.h"
#include "apiserver/track.h"
#include "apiserver/watch.h"
#include "base/rand.h"
#include "http/websocket.h"

#define MAX_PENDING (1024 * 1024) /* bytes on their way to a slow client before it lags */

static const double sizes[] = { 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072 };
HISTOGRAM(event_sizes, sizes, "apiserver_watch_events_sizes", "[ALPHA] Watch event size distribution in bytes");

struct stream {
        struct http_request *req;
        struct series *sizes; /* of its events */
        struct api_watch *watch;
        struct format format;
        int64_t bytes; /* of them all */
        bool told_columns;
        int form; /* of the event's shared ones; -1: none of them */
};

static void release_shared(void *p) {
        shared_bytes_unref(p);
}

static void release_buf(void *p) {
        free(p);
}

static int form_of(const struct format *f) {
        bool partial = f->as.shape == SHAPE_PARTIAL;

        if (f->as.media == MEDIA_YAML || f->as.v1beta1 || (!partial && f->as.shape != SHAPE_OBJECT))
                return -1;
        return 2 * partial + (f->as.media == MEDIA_PROTOBUF);
}

/* An event in the stream's form: made by the first stream of this loop, sent by all. */
static struct shared_bytes *shared_text(const struct stream *s, const struct watch_event *e, const struct rest *rest) {
        struct shared_bytes **kept = e->shared ? &e->shared->forms[s->form][e->type] : NULL, *b = kept ? *kept : NULL;
        struct buf text = BUF_INIT;

        if (!b) {
                respond_event(&text, &s->format, rest, e, false);
                series_observe(s->sizes, (double) text.n);
                b = xmalloc(sizeof(*b) + text.n);
                b->refs = 1;
                memcpy(b->text, text.p, text.n);
                b->data = str_n(b->text, text.n);
                buf_free(&text);
                if (!kept)
                        return b;
                *kept = b; /* the hub keeps the first reference until the event is dispatched */
        }
        b->refs++;
        return b;
}

/* No object of an event is a list: upstream ends the stream of who wants one. */
static bool is_unlike(const struct format *f, const struct watch_event *e) {
        return f->as.shape == SHAPE_PARTIAL && f->as.list && e->type != API_ERROR;
}

static void end(struct api_watch *w) {
        struct stream *s = watch_arg(w);

        http_request_on_close(s->req, NULL, NULL);
        http_stream_on_drain(s->req, NULL, NULL);
        api_watch_stop(w);
        track_size(s->req, s->bytes);
        http_stream_end(s->req); /* s goes with the request */
}

static void send_event(struct api_watch *w, const struct watch_event *e) {
        struct stream *s = watch_arg(w);
        struct http_slice slice;
        struct buf text = BUF_INIT;
        size_t n;

        if (is_unlike(&s->format, e))
                return end(w);
        if (s->form >= 0) {
                struct shared_bytes *b = shared_text(s, e, watch_rest(w));

                slice = (struct http_slice) { .data = b->data, .release = release_shared, .arg = b };
        } else {
                respond_event(&text, &s->format, watch_rest(w), e, !s->told_columns);
                if (text.n == 0)
                        return;
                s->told_columns = true;
                slice.arg = buf_take(&text, &n);
                slice.data = str_n(slice.arg, n);
                slice.release = release_buf;
                series_observe(s->sizes, (double) n);
        }
        s->bytes += (int64_t) slice.data.n;
        http_stream_send(s->req, &slice, 1);
}

static bool is_full(struct api_watch *w) {
        struct stream *s = watch_arg(w);

        return http_stream_pending(s->req) > MAX_PENDING;
}

static const struct watch_sink stream_sink = { .event = send_event, .full = is_full, .over = end };

static void client_gone(struct http_request *req, void *arg) {
        struct stream *s = arg;

        api_watch_stop(s->watch);
        track_size(s->req, s->bytes);
}

static void drained(struct http_request *req, void *arg) {
        struct stream *s = arg;

        watch_drained(s->watch);
}

/* ---- the same over a WebSocket: an event is a message ---- */

struct socket {
        struct duplex *d;
        struct api_watch *watch; /* NULL: it is over */
        struct format format;
        bool told_columns;
};

static void socket_over(struct api_watch *w) {
        struct socket *k = watch_arg(w);

        k->watch = NULL;
        api_watch_stop(w);
        duplex_close(k->d);
}

static void socket_event(struct api_watch *w, const struct watch_event *e) {
        static const size_t length = 4; /* goes before a message of protobuf in a stream: here it has its frame */
        struct socket *k = watch_arg(w);
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (is_unlike(&k->format, e))
                return socket_over(w);
        respond_event(&text, &k->format, watch_rest(w), e, !k->told_columns);
        k->told_columns = true;
        if (k->format.as.media == MEDIA_JSON)
                websocket_write_text(k->d, buf_str(&text));
        else if (text.n > length)
                duplex_write_copy(k->d, str_sub(buf_str(&text), length, text.n));
}

static bool socket_full(struct api_watch *w) {
        struct socket *k = watch_arg(w);

        return duplex_pending(k->d) > MAX_PENDING;
}

static void socket_data(struct duplex *d, struct str data, void *arg) {
}

static void socket_drain(struct duplex *d, void *arg) {
        struct socket *k = arg;

        if (k->watch)
                watch_drained(k->watch);
}

static void socket_closed(struct duplex *d, int err, void *arg) {
        struct socket *k = arg;

        if (k->watch)
                api_watch_stop(k->watch);
        free(k);
}

static const struct watch_sink socket_sink = { .event = socket_event, .full = socket_full, .over = socket_over };
static const struct duplex_ops socket_ops = { .on_data = socket_data,
                                              .on_drain = socket_drain,
                                              .on_close = socket_closed };

/* What a browser offers beside its token is accepted whatever it is, or it would close the connection. */
static const char *offered_protocol(struct exchange *x) {
        str_each(p, http_request_header(x->req, "sec-websocket-protocol"), ',') {
                p = str_trim(p);
                if (!str_empty(p) && !str_has_prefix(p, STR("base64url.bearer.authorization.k8s.io.")))
                        return arena_cstr(http_request_arena(x->req), p);
        }
        return NULL;
}

/* How the events shall look, after all that they depend on. */
static int check_format(const struct exchange *x, struct error *err) {
        TRY(exchange_check_table(x, err));
        if (x->format.as.media == MEDIA_YAML) /* a format, but no stream */
                return error_status(err, REASON_NOT_ACCEPTABLE,
                                    "only the following media types are accepted: application/json;stream=watch, "
                                    "application/vnd.kubernetes.protobuf;stream=watch");
        return 0;
}

static int start(struct exchange *x, const struct api_call *c, const struct watch_sink *sink, void *arg,
                 int64_t deadline_ms, struct api_watch **ret) {
        _cleanup_error_ struct error e = ERROR_INIT;
        int r = watch_new(x->s, c, sink, arg, deadline_ms, ret, &e);

        if (r == 0 && (r = check_format(x, &e)) < 0) {
                watch_begin(*ret);
                api_watch_stop(*ret);
        }
        if (r < 0 && e.reason == REASON_FORBIDDEN)
                track_uncounted(x);
        else
                track_permitted(x);
        if (r < 0)
                respond_error(x->req, &x->format, &e);
        return r;
}

static void handle_socket(struct exchange *x, const struct api_call *c, int64_t deadline_ms) {
        struct socket *k = xcalloc(1, sizeof(*k));

        k->format = x->format;
        k->format.pretty = false;
        if (start(x, c, &socket_sink, k, deadline_ms, &k->watch) < 0)
                return free(k);
        watch_begin(k->watch); /* from the loop's next turn on */
        k->d = http_accept_websocket(x->req, offered_protocol(x));
        if (k->d) {
                duplex_set_ops(k->d, &socket_ops, k);
        } else {
                api_watch_stop(k->watch);
                free(k);
        }
}

void handle_watch(struct exchange *x, const struct api_call *c) {
        struct stream *s = arena_new_of(http_request_arena(x->req), struct stream);
        int64_t timeout = MIN(MAX(c->options.timeout_seconds, 0), UINT32_MAX) * 1000;
        unsigned least = server_flag_number(x->s, "min-request-timeout", 1800);
        struct http_header h[3];
        size_t n = 2;

        if (c->options.timeout_seconds == 0)
                /* as upstream: 30 to 60 minutes, so that watches do not all end together */
                timeout = 1000 * ((int64_t) least + (int64_t) rand_below(MAX(least, 1U)));
        if (http_request_wants_websocket(x->req))
                return handle_socket(x, c, now_mono_ms() + timeout);
        s->req = x->req;
        s->format = x->format;
        s->sizes = watch_series(&event_sizes, x->rest);
        s->format.pretty = false;
        s->form = form_of(&x->format);
        if (start(x, c, &stream_sink, s, now_mono_ms() + timeout, &s->watch) < 0)
                return;
        h[0] = (struct http_header) { STR("cache-control"), STR("no-cache, private") };
        h[1] = (struct http_header) { STR("content-type"), str_of(respond_stream_type(&x->format)) };
        http_request_on_close(x->req, client_gone, s);
        http_stream_on_drain(x->req, drained, s);
        http_stream_start(x->req, 200, h, n);
        watch_begin(s->watch);
}
