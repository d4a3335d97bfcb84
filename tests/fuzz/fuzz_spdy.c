/* Frames from outside into a SPDY session; first byte: bit 0 client side, bit 1 pauses streams, the rest cuts the
 * input. */
#include "http/duplex.h"
#include "http/spdy.h"

#include "fuzz_duplex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct seen {
        int session_closes, opened, closed, n;
        bool pauses;
};

static void on_data(struct spdy_stream *st, struct str data, void *arg) {
        struct seen *s = arg;

        spdy_stream_write_copy(st, data);
        if (++s->n % 7 == 0)
                spdy_stream_reset(st);
        else if (s->pauses && s->n % 3 == 0)
                spdy_stream_pause(st, true);
}
static void on_end(struct spdy_stream *st, void *arg) {
        spdy_stream_close(st);
}
static void on_stream_close(struct spdy_stream *st, int err, void *arg) {
        ((struct seen *) arg)->closed++;
}
static const struct spdy_stream_ops stream_ops = { .on_data = on_data, .on_end = on_end, .on_close = on_stream_close };

static void on_stream(struct spdy_session *session, struct spdy_stream *st, void *arg) {
        struct seen *s = arg;

        if (spdy_stream_header(st, "refuse").p)
                return;
        s->opened++;
        spdy_stream_accept(st, &stream_ops, s);
}
static void on_close(struct spdy_session *session, int err, void *arg) {
        ((struct seen *) arg)->session_closes++;
}
static const struct spdy_session_ops session_ops = { on_stream, on_close };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static struct loop *l;
        struct fuzz_duplex *f;
        struct spdy_session *session;
        struct seen s = { 0 };

        if (!l && loop_new("fuzz", &l, NULL) < 0)
                abort();
        if (n < 1)
                return 0;
        s.pauses = data[0] & 2;
        f = fuzz_duplex_new(l);
        session = spdy_session_new(&f->d, !(data[0] & 1), &session_ops, &s);
        fuzz_turn(l);
        if (data[0] & 1 &&
            spdy_stream_open(session, &(struct http_header) { STR("streamtype"), STR("data") }, 1, &stream_ops, &s))
                s.opened++;
        for (size_t i = 1, piece = (data[0] >> 2) + 1u; i < n; i += piece)
                fuzz_duplex_feed(f, data + i, MIN(piece, n - i));
        if (!s.session_closes)
                spdy_session_close(session);
        fuzz_duplex_end(f);
        fuzz_turn(l);
        if (s.session_closes != 1 || s.opened != s.closed)
                abort();
        return 0;
}
