/* Frames from outside into a WebSocket; first byte: bit 1 pauses now and then, the rest cuts the input. */
#include "http/duplex.h"
#include "http/websocket.h"

#include "fuzz_duplex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct seen {
        int closes, n;
        bool pauses;
};

static void on_data(struct duplex *d, struct str data, void *arg) {
        struct seen *s = arg;

        duplex_write_copy(d, data);
        if (s->pauses && ++s->n % 3 == 0)
                duplex_pause(d, true);
}

static void on_close(struct duplex *d, int err, void *arg) {
        ((struct seen *) arg)->closes++;
}

static const struct duplex_ops ops = { .on_data = on_data, .on_close = on_close };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        static struct loop *l;
        struct fuzz_duplex *f;
        struct duplex *ws;
        struct seen s = { 0 };

        if (!l && loop_new("fuzz", &l, NULL) < 0)
                abort();
        if (n < 1)
                return 0;
        s.pauses = data[0] & 2;
        f = fuzz_duplex_new(l);
        ws = websocket_wrap(&f->d, 4096);
        duplex_set_ops(ws, &ops, &s);
        fuzz_turn(l);
        for (size_t i = 1, piece = (data[0] >> 2) + 1u; i < n && !s.closes; i += piece) {
                fuzz_duplex_feed(f, data + i, MIN(piece, n - i));
                if (s.pauses && !s.closes) {
                        duplex_pause(ws, false);
                        fuzz_turn(l);
                }
        }
        if (!s.closes)
                duplex_close(ws);
        fuzz_duplex_end(f);
        fuzz_turn(l);
        if (s.closes != 1)
                abort();
        return 0;
}
