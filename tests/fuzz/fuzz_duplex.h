/* A duplex whose other side is the fuzzer: what is written is dropped, what is fed is read. */
#pragma once

#include "http/duplex.h"

struct fuzz_duplex {
        struct duplex d;
        bool gone;
};

static inline void fuzz_turn(struct loop *l) {
        for (int i = 0; i < 8; i++)
                uv_run(loop_uv(l), UV_RUN_NOWAIT);
}

static void fuzz_write(struct duplex *d, const struct http_slice *s, size_t n) {
        static volatile char last; /* touch all of it, for the sanitizers */

        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < s[i].data.n; k++)
                        last ^= s[i].data.p[k];
        (void) last;
        slices_release(s, n);
}
static size_t fuzz_pending(const struct duplex *d) {
        return 0;
}
static void fuzz_close(struct duplex *d) {
        duplex_ended(d, 0);
}
static void fuzz_free(struct duplex *d) {
        struct fuzz_duplex *f = container_of(d, struct fuzz_duplex, d);

        if (f->gone)
                free(f);
        f->gone = true; /* the fuzzer lets go last */
}
static const struct duplex_class fuzz_class = {
        .write = fuzz_write, .pending = fuzz_pending, .close = fuzz_close, .free = fuzz_free
};

static struct fuzz_duplex *fuzz_duplex_new(struct loop *l) {
        struct fuzz_duplex *f = xcalloc(1, sizeof(*f));

        duplex_init(&f->d, &fuzz_class, l);
        return f;
}

static void fuzz_duplex_feed(struct fuzz_duplex *f, const uint8_t *data, size_t n) {
        char *copy = xmalloc(n);

        memcpy(copy, data, n);
        if (duplex_takes(&f->d))
                duplex_deliver(&f->d, str_n(copy, n));
        free(copy);
        fuzz_turn(f->d.loop);
}

static void fuzz_duplex_end(struct fuzz_duplex *f) {
        duplex_ended(&f->d, 0);
        fuzz_turn(f->d.loop);
        if (f->gone)
                free(f);
        else
                f->gone = true;
}
