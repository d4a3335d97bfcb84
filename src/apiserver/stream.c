/* A watch over HTTP: events of a watcher (watch.c) as lines of a chunked answer. */
#include "apiserver/handler.h"
#include "apiserver/watch.h"
#include "base/metrics.h"
#include "base/rand.h"

#define MAX_PENDING (1024 * 1024) /* bytes on their way to a slow client before it lags */
#define MIN_REQUEST_TIMEOUT_MS (1800 * 1000)

static const double sizes[] = { 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072 };
static const struct metric event_sizes = { "apiserver_watch_events_sizes", "Watch event size distribution in bytes",
                                           METRIC_HISTOGRAM, sizes, ARRAY_SIZE(sizes) };

struct stream {
        struct http_request *req;
        struct series *sizes; /* of its events */
        struct api_watch *watch;
        struct format format;
        bool told_columns, shareable;
};

static void release_shared(void *p) {
        shared_bytes_unref(p);
}

static void release_buf(void *p) {
        free(p);
}

/* The plain JSON of an event: made by the first stream of this loop, sent by all. */
static struct shared_bytes *shared_event(const struct watch_event *e, const struct rest *rest) {
        static const struct format plain = { 0 };
        struct shared_bytes *b = e->shared ? e->shared[e->type] : NULL;
        struct buf text = BUF_INIT;

        if (!b) {
                respond_event(&text, &plain, rest, e, false);
                b = xmalloc(sizeof(*b) + text.n);
                b->refs = 1;
                memcpy(b->text, text.p, text.n);
                b->data = str_n(b->text, text.n);
                buf_free(&text);
                if (!e->shared)
                        return b;
                e->shared[e->type] = b; /* the hub keeps the first reference until the event is dispatched */
        }
        b->refs++;
        return b;
}

static void send_event(struct api_watch *w, const struct watch_event *e) {
        struct stream *s = watch_arg(w);
        struct http_slice slice;
        struct buf text = BUF_INIT;
        size_t n;

        if (s->shareable) {
                struct shared_bytes *b = shared_event(e, watch_rest(w));

                slice = (struct http_slice){ .data = b->data, .release = release_shared, .arg = b };
        } else {
                respond_event(&text, &s->format, watch_rest(w), e, !s->told_columns);
                if (text.n == 0)
                        return;
                s->told_columns = s->told_columns || e->type != API_BOOKMARK;
                slice.arg = buf_take(&text, &n);
                slice.data = str_n(slice.arg, n);
                slice.release = release_buf;
        }
        series_observe(s->sizes, (double) slice.data.n);
        http_stream_send(s->req, &slice, 1);
}

static bool is_full(struct api_watch *w) {
        struct stream *s = watch_arg(w);

        return http_stream_pending(s->req) > MAX_PENDING;
}

static void end(struct api_watch *w) {
        struct stream *s = watch_arg(w);

        http_request_on_close(s->req, NULL, NULL);
        http_stream_on_drain(s->req, NULL, NULL);
        api_watch_stop(w);
        http_stream_end(s->req); /* s goes with the request */
}

static const struct watch_sink stream_sink = { .event = send_event, .full = is_full, .over = end };

static void client_gone(struct http_request *req, void *arg) {
        struct stream *s = arg;

        api_watch_stop(s->watch);
}

static void drained(struct http_request *req, void *arg) {
        struct stream *s = arg;

        watch_drained(s->watch);
}

void handle_watch(struct exchange *x, const struct api_call *c) {
        struct stream *s = arena_new_of(http_request_arena(x->req), struct stream);
        _cleanup_error_ struct error e = ERROR_INIT;
        int64_t timeout = c->options.timeout_seconds * 1000;
        struct http_header h[3];
        size_t n = 2;

        if (timeout <= 0) /* as upstream: 30 to 60 minutes, so that watches do not all end together */
                timeout = MIN_REQUEST_TIMEOUT_MS + (int64_t) rand_below(MIN_REQUEST_TIMEOUT_MS);
        s->req = x->req;
        s->format = x->format;
        s->sizes = watch_series(&event_sizes, x->rest);
        s->format.pretty = false;
        s->shareable = x->format.as.media == MEDIA_JSON && x->format.as.shape == SHAPE_OBJECT;
        if (watch_new(x->s, c, &stream_sink, s, now_mono_ms() + timeout, &s->watch, &e) < 0) {
                respond_error(x->req, &x->format, &e);
                return;
        }
        h[0] = (struct http_header){ STR("cache-control"), STR("no-cache, private") };
        h[1] = (struct http_header){ STR("content-type"), str_of(respond_stream_type(&x->format)) };
        http_request_on_close(x->req, client_gone, s);
        http_stream_on_drain(x->req, drained, s);
        if (x->rest->deprecated.n)
                n += respond_warnings(http_request_arena(x->req), h + n, &x->rest->deprecated, 1);
        http_stream_start(x->req, 200, h, n);
        watch_begin(s->watch);
}
