/* What stands behind a struct duplex (http.h): the raw one over a transport is here; WebSockets and SPDY streams are
 * built the same way elsewhere. */
#pragma once

#include "http/http.h"
#include "http/transport.h"

struct duplex_class {
        void (*write)(struct duplex *d, const struct http_slice *s, size_t n); /* takes the slices over */
        size_t (*pending)(const struct duplex *d);
        void (*pause)(struct duplex *d, bool paused); /* d->paused is set already */
        void (*close)(struct duplex *d);              /* comes once */
        void (*kick)(struct duplex *d);               /* after duplex_kick: go on delivering */
        void (*free)(struct duplex *d);               /* after on_close */
};

struct duplex {
        const struct duplex_class *class;
        const struct duplex_ops *ops; /* NULL until the owner set them: deliver nothing */
        void *arg;
        struct loop *loop;
        struct loop_work work;
        int end; /* of duplex_ended */
        bool kicked, paused, closing, ended, told;
};

void duplex_init(struct duplex *d, const struct duplex_class *class, struct loop *l);
static inline bool duplex_takes(const struct duplex *d) { /* may on_data be called now? */
        return d->ops && !d->paused && !d->ended;
}
void duplex_deliver(struct duplex *d, struct str data);
void duplex_drained(struct duplex *d);
void duplex_kick(struct duplex *d); /* class->kick is called from the loop soon */
/* Nothing more comes: on_close is called (once there are ops), then class->free, later, from the loop. */
void duplex_ended(struct duplex *d, int err);
void slices_release(const struct http_slice *s, size_t n);

#define DUPLEX_LOW_WATER (64 * 1024)
#define DUPLEX_HIGH_WATER (256 * 1024)

/* Makes an open transport a duplex. first: bytes read already. gone(arg) (may be NULL): it closed the transport, whose
 * memory still goes by the transport's own on_freed. */
struct duplex *raw_duplex_new(struct transport *t, struct str first, void (*gone)(void *arg), void *arg);
void raw_duplex_put_first(struct duplex *d, struct str data); /* sent before all else */
void raw_duplex_abort(struct duplex *d, int err);             /* closes at once; on_close comes with err */
