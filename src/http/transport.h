/* A connected socket, plain or TLS, as the protocols of this folder see it: plaintext comes in through on_data, and
 * when the socket takes more, on_fill asks for it. Everything on the loop's thread. See transport.c for the way of the
 * bytes. */
#pragma once

#include <sys/socket.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/loop.h"

struct transport;
struct tls_context;
struct io;
struct ssl_st;

struct transport_ops {
        /* Connected, and TLS is up: transport_alpn is known. May be NULL. */
        void (*on_open)(struct transport *t);
        /* Plaintext that arrived; valid during the call. All of it must be taken (or kept by the callee), also after
         * transport_pause: what was on its way when pausing still comes, at most 64 KiB. */
        void (*on_data)(struct transport *t, struct str data);
        /* Give bytes with transport_put as long as transport_room holds. */
        void (*on_fill)(struct transport *t);
        /* After transport_finish: all is with the kernel and our direction is shut. */
        void (*on_finished)(struct transport *t);
        /* The peer closed (0) or it broke (negative errno). Call transport_close. why: "connect", "read", "write",
         * "tls", or with -EPROTO before on_open what was wrong in the handshake. */
        void (*on_close)(struct transport *t, int err, const char *why);
        /* After transport_close, from the loop: the memory may go. */
        void (*on_freed)(struct transport *t);
};

struct transport {
        uv_poll_t poll;
        struct io *io;
        const struct transport_ops *ops;
        void *owner;        /* for who sets ops */
        struct ssl_st *ssl; /* NULL: plain */
        struct list dirty;  /* in io->dirty when there may be something to write */
        struct buf pending; /* what the socket did not take, as it goes on the wire */
        struct buf unread;  /* as it came, kept while paused */
        ssize_t budget;     /* what on_fill may still give in this turn */
        int fd;
        int events;       /* what the poll handle waits for */
        int error;        /* negative errno of a failed write; told by on_close */
        size_t discarded; /* bytes, since discard */
        bool connecting, open, paused, finishing, finished, discard, eof, closed, filling;
        bool hung, urgent; /* heard while nothing was read: the peer's end, urgent data */
};

/* Takes over fd (nonblocking); tls may be NULL. connecting: connect() is under way. server_name: for TLS clients. */
int transport_init(struct transport *t, struct loop *l, int fd, struct tls_context *tls, const char *server_name,
                   bool connecting, const struct transport_ops *ops);
void transport_dirty(struct transport *t); /* something to write: on_fill is called in this turn of the loop */
void transport_put(struct transport *t, const void *p, size_t n); /* only in on_fill */
void transport_end_record(struct transport *t); /* only in on_fill: what was put goes as a TLS record of its own */
static inline bool transport_room(const struct transport *t) {
        return t->pending.n == 0 && t->budget > 0 && t->error == 0;
}
void transport_flush(struct transport *t);              /* now; not from on_fill */
void transport_pause(struct transport *t, bool paused); /* reading */
void transport_finish(struct transport *t); /* shut our direction once on_fill has no more; input is dropped */
void transport_close(struct transport *t);  /* at once; no callback but on_freed comes after it */
struct str transport_alpn(const struct transport *t);
struct loop *transport_loop(const struct transport *t);
/* What every TCP socket of ours wants: no delay, and an end when the peer has been silent or deaf for a minute or two.
 * What is set on a listener is inherited. Does nothing on other sockets. */
void transport_set_options(int fd);
