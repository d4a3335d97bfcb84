/* Byte streams with back-pressure.
 *
 *        on_data ◀── class ◀── transport, WebSocket frames, SPDY frames
 *   duplex_write ──▶ class ──▶ queue of slices ──▶ …            on_drain: the queue is short again
 *
 * A duplex may end before its owner has set ops (the handler still dials the other side): it then waits to tell; an
 * owner that closes it without any wants to hear nothing. And it may end while its own code is on the stack: so memory
 * goes later, from the loop, by the same message that resumes reading.
 */
#include "http/duplex.h"

#include "http/slices.h"

#define CLOSE_TIMEOUT_MS 30000 /* for what is queued to leave */
#define LINGER_MS 1000         /* for the peer to close after us */

/* ---- what all have in common ---- */

void slices_release(const struct http_slice *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (s[i].release)
                        s[i].release(s[i].arg);
}

static void tell_end(struct duplex *d) {
        d->told = true;
        if (d->ops && d->ops->on_close)
                d->ops->on_close(d, d->end, d->arg);
        duplex_kick(d);
}

static void on_kick(struct loop_work *w) {
        struct duplex *d = container_of(w, struct duplex, work);

        d->kicked = false;
        if (d->told)
                d->class->free(d);
        else if (d->ended && d->ops)
                tell_end(d);
        else if (d->class->kick && !d->ended)
                d->class->kick(d);
}

void duplex_init(struct duplex *d, const struct duplex_class *class, struct loop *l) {
        *d = (struct duplex) { .class = class, .loop = l, .work.run = on_kick };
}

void duplex_kick(struct duplex *d) {
        if (d->kicked)
                return;
        d->kicked = true;
        loop_post(d->loop, &d->work);
}

void duplex_deliver(struct duplex *d, struct str data) {
        if (d->ops && d->ops->on_data && !d->ended)
                d->ops->on_data(d, data, d->arg);
}

void duplex_drained(struct duplex *d) {
        if (d->ops && d->ops->on_drain && !d->ended)
                d->ops->on_drain(d, d->arg);
}

void duplex_ended(struct duplex *d, int err) {
        if (d->ended)
                return;
        d->ended = true;
        d->end = err;
        if (d->ops || d->closing)
                tell_end(d);
}

void duplex_set_ops(struct duplex *d, const struct duplex_ops *ops, void *arg) {
        d->ops = ops;
        d->arg = arg;
        duplex_kick(d); /* what waited for this is told from the loop */
}

void duplex_write(struct duplex *d, const struct http_slice *s, size_t n) {
        if (d->ended || d->closing)
                slices_release(s, n);
        else
                d->class->write(d, s, n);
}

void duplex_write_copy(struct duplex *d, struct str data) {
        char *p = xmalloc(data.n);

        if (data.n)
                memcpy(p, data.p, data.n);
        duplex_write(d, &(struct http_slice) { { p, data.n }, free, p }, 1);
}

size_t duplex_pending(const struct duplex *d) {
        return d->ended ? 0 : d->class->pending(d);
}

void duplex_pause(struct duplex *d, bool paused) {
        if (d->ended || d->paused == paused)
                return;
        d->paused = paused;
        if (d->class->pause)
                d->class->pause(d, paused);
        if (!paused)
                duplex_kick(d);
}

void duplex_close(struct duplex *d) {
        if (d->closing)
                return;
        d->closing = true;
        if (!d->ended)
                d->class->close(d);
        else if (!d->ops)
                tell_end(d);
}

struct loop *duplex_loop(struct duplex *d) {
        return d->loop;
}

/* ---- raw: over a transport ---- */

struct raw {
        struct duplex d;
        struct transport *t; /* NULL once closed */
        struct slices out;
        struct buf ahead; /* read but not delivered */
        struct timer timer;
        bool above;
        void (*gone)(void *arg);
        void *gone_arg;
        const struct transport_ops *before; /* whose on_freed still owns the memory */
};

static struct raw *raw_of(struct transport *t) {
        return t->owner;
}

static void raw_end(struct raw *w, int err) {
        if (w->t) {
                struct transport *t = w->t;

                w->t = NULL;
                t->ops = w->before; /* the memory of the transport is its maker's */
                transport_close(t);
                if (w->gone)
                        w->gone(w->gone_arg);
        }
        slices_clear(&w->out);
        duplex_ended(&w->d, err);
}

static void raw_deliver_ahead(struct raw *w) {
        struct buf b = w->ahead;

        if (b.n == 0 || !duplex_takes(&w->d))
                return;
        w->ahead = BUF_INIT;
        duplex_deliver(&w->d, buf_str(&b));
        buf_free(&b);
}

static void raw_on_data(struct transport *t, struct str data) {
        struct raw *w = raw_of(t);

        if (w->d.closing)
                return; /* we only wait for the end */
        if (duplex_takes(&w->d) && w->ahead.n == 0)
                duplex_deliver(&w->d, data);
        else
                buf_add_str(&w->ahead, data);
}

static void raw_on_fill(struct transport *t) {
        struct raw *w = raw_of(t);

        while (w->out.bytes > 0 && transport_room(t)) {
                struct str s = slices_peek(&w->out);

                s.n = MIN(s.n, (size_t) 64 * 1024);
                transport_put(t, s.p, s.n);
                slices_consume(&w->out, s.n);
                transport_end_record(t); /* the Python client polls the socket before it reads each frame: two in a
                                            record hang it */
        }
        if (w->above && w->out.bytes < DUPLEX_LOW_WATER) {
                w->above = false;
                if (!w->d.closing)
                        duplex_drained(&w->d);
        }
        if (w->t && w->d.closing && w->out.bytes == 0)
                transport_finish(t);
}

static void raw_timeout(struct timer *timer) {
        struct raw *w = container_of(timer, struct raw, timer);

        raw_end(w, w->t && w->t->finished ? 0 : -ETIMEDOUT);
}

static void raw_on_finished(struct transport *t) {
        struct raw *w = raw_of(t);

        timer_start(w->d.loop, &w->timer, LINGER_MS, raw_timeout);
}

static void raw_on_close(struct transport *t, int err, const char *why) {
        struct raw *w = raw_of(t);

        raw_deliver_ahead(w);
        raw_end(w, w->d.closing && t->finished ? 0 : err);
}

static const struct transport_ops raw_ops = {
        .on_data = raw_on_data,
        .on_fill = raw_on_fill,
        .on_finished = raw_on_finished,
        .on_close = raw_on_close,
};

static size_t raw_pending(const struct duplex *d) {
        const struct raw *w = container_of(d, struct raw, d);

        return w->out.bytes + (w->t ? w->t->pending.n : 0);
}

static void raw_write(struct duplex *d, const struct http_slice *s, size_t n) {
        struct raw *w = container_of(d, struct raw, d);

        slices_add(&w->out, s, n, NULL);
        w->above |= raw_pending(d) >= DUPLEX_LOW_WATER;
        transport_dirty(w->t);
}

static void raw_pause(struct duplex *d, bool paused) {
        struct raw *w = container_of(d, struct raw, d);

        if (w->d.ops)
                transport_pause(w->t, paused);
}

static void raw_close(struct duplex *d) {
        struct raw *w = container_of(d, struct raw, d);

        transport_pause(w->t, false);
        transport_dirty(w->t);
        timer_start(d->loop, &w->timer, CLOSE_TIMEOUT_MS, raw_timeout);
}

static void raw_kick(struct duplex *d) {
        struct raw *w = container_of(d, struct raw, d);

        if (!w->t)
                return;
        raw_deliver_ahead(w);
        if (w->t && d->ops && !d->paused)
                transport_pause(w->t, false);
}

static void raw_timer_freed(struct timer *timer) {
        struct raw *w = container_of(timer, struct raw, timer);

        buf_free(&w->ahead);
        free(w);
}

static void raw_free(struct duplex *d) {
        timer_close(&container_of(d, struct raw, d)->timer, raw_timer_freed);
}

static const struct duplex_class raw_class = {
        .write = raw_write,
        .pending = raw_pending,
        .pause = raw_pause,
        .close = raw_close,
        .kick = raw_kick,
        .free = raw_free,
};

struct duplex *raw_duplex_new(struct transport *t, struct str first, void (*gone)(void *arg), void *arg) {
        struct raw *w = xcalloc(1, sizeof(*w));

        duplex_init(&w->d, &raw_class, transport_loop(t));
        w->t = t;
        w->before = t->ops;
        w->gone = gone;
        w->gone_arg = arg;
        t->owner = w;
        t->ops = &raw_ops;
        buf_add_str(&w->ahead, first);
        transport_pause(t, true); /* until there are ops */
        return &w->d;
}

void raw_duplex_put_first(struct duplex *d, struct str data) {
        struct raw *w = container_of(d, struct raw, d);

        slices_add_copy(&w->out, data);
        transport_dirty(w->t);
}

void raw_duplex_abort(struct duplex *d, int err) {
        raw_end(container_of(d, struct raw, d), err);
}

/* ---- two coupled ---- */

#define TICK_MS 100

struct pipe {
        struct duplex *end[2]; /* NULL once closed */
        size_t rate;           /* bytes a second each way; 0: as they come */
        size_t quota[2];       /* of them, until the next tick */
        struct buf late[2];    /* what came beyond that; who sent it is paused, or has closed */
        struct timer tick;
        void (*done)(void *arg);
        void *arg;
};

static void pipe_free(struct timer *t) {
        struct pipe *p = container_of(t, struct pipe, tick);

        buf_free(&p->late[0]);
        buf_free(&p->late[1]);
        free(p);
}

static void pipe_put(struct pipe *p, int from, struct str data) {
        struct duplex *to = p->end[!from];

        duplex_write_copy(to, data);
        if (p->end[from] && duplex_pending(to) > DUPLEX_HIGH_WATER)
                duplex_pause(p->end[from], true);
}

static void pipe_on_data(struct duplex *d, struct str data, void *arg) {
        struct pipe *p = arg;
        int from = p->end[1] == d;
        size_t n = p->rate ? MIN(p->quota[from], data.n) : data.n;

        if (!p->end[!from])
                return;
        p->quota[from] -= p->rate ? n : 0;
        if (n > 0)
                pipe_put(p, from, str_sub(data, 0, n));
        if (n == data.n)
                return;
        buf_add_str(&p->late[from], str_sub(data, n, data.n));
        duplex_pause(d, true);
}

static void pipe_on_drain(struct duplex *d, void *arg) {
        struct pipe *p = arg;
        int from = p->end[0] == d;

        if (p->end[from] && p->late[from].n == 0)
                duplex_pause(p->end[from], false);
}

static void pipe_tick(struct timer *t) {
        struct pipe *p = container_of(t, struct pipe, tick);

        timer_start(p->end[0] ? p->end[0]->loop : p->end[1]->loop, t, TICK_MS, pipe_tick);
        for (int i = 0; i < 2; i++) {
                size_t n = MIN(p->late[i].n, MAX(p->rate * TICK_MS / 1000, 1UL));

                p->quota[i] = MAX(p->rate * TICK_MS / 1000, 1UL) - n;
                if (n == 0 || !p->end[!i])
                        continue;
                pipe_put(p, i, str_n(p->late[i].p, n));
                buf_consume(&p->late[i], n);
                if (p->late[i].n > 0)
                        continue;
                if (!p->end[i])
                        duplex_close(p->end[!i]);
                else if (duplex_pending(p->end[!i]) <= DUPLEX_HIGH_WATER)
                        duplex_pause(p->end[i], false);
        }
}

static void pipe_on_close(struct duplex *d, int err, void *arg) {
        struct pipe *p = arg;
        int from = p->end[1] == d;
        struct duplex *to = p->end[!from];

        p->end[from] = NULL;
        if (to) {
                if (p->late[from].n == 0)
                        duplex_close(to);
                return;
        }
        if (p->done)
                p->done(p->arg);
        timer_close(&p->tick, pipe_free);
}

static const struct duplex_ops pipe_ops = {
        .on_data = pipe_on_data,
        .on_drain = pipe_on_drain,
        .on_close = pipe_on_close,
};

void duplex_pipe(struct duplex *a, struct duplex *b, size_t rate, void (*done)(void *arg), void *arg) {
        struct pipe *p = xcalloc(1, sizeof(*p));

        *p = (struct pipe) { .end = { a, b }, .rate = rate, .done = done, .arg = arg };
        duplex_set_ops(a, &pipe_ops, p);
        duplex_set_ops(b, &pipe_ops, p);
        if (rate)
                pipe_tick(&p->tick);
}
