/* SPDY/3.1 streams over any duplex: exec, attach and port-forward, of kubelets and older clients. Server and client
 * side, as moby/spdystream, which all Kubernetes clients use, speaks it: windows are neither kept nor announced.
 * Everything on the duplex's loop. */
#pragma once

#include "http/http.h"

struct spdy_session;
struct spdy_stream;

struct spdy_session_ops {
        /* The peer opened a stream. Call spdy_stream_accept before returning (and spdy_stream_pause when it cannot take
         * data yet); otherwise the stream is refused. */
        void (*on_stream)(struct spdy_session *s, struct spdy_stream *st, void *arg);
        void (*on_close)(struct spdy_session *s, int err, void *arg); /* last; after on_close of each stream */
};

struct spdy_stream_ops {
        void (*on_reply)(struct spdy_stream *st, void *arg); /* of a stream we opened: accepted. May be NULL */
        void (*on_data)(struct spdy_stream *st, struct str data, void *arg);
        void (*on_end)(struct spdy_stream *st, void *arg);   /* the peer sends no more. May be NULL */
        void (*on_drain)(struct spdy_stream *st, void *arg); /* pending is low again. May be NULL */
        /* Last: 0 when both directions ended, -ECONNRESET after a reset (by either side), else what broke the session.
         */
        void (*on_close)(struct spdy_stream *st, int err, void *arg);
};

/* Takes the transport over. The session lives until its on_close was called. */
struct spdy_session *spdy_session_new(struct duplex *transport, bool server, const struct spdy_session_ops *ops,
                                      void *arg);
void spdy_session_close(
                struct spdy_session *s); /* GOAWAY, what is queued is sent, then the transport closes; streams end */

/* Streams live until their on_close was called. */
struct spdy_stream *spdy_stream_open(struct spdy_session *s, const struct http_header *h, size_t n_h,
                                     const struct spdy_stream_ops *ops, void *arg); /* NULL: the session is closing */
void spdy_stream_accept(struct spdy_stream *st, const struct spdy_stream_ops *ops, void *arg); /* SYN_REPLY */
void spdy_stream_write(struct spdy_stream *st, const struct http_slice *s, size_t n);
void spdy_stream_write_copy(struct spdy_stream *st, struct str data);
void spdy_stream_close(struct spdy_stream *st);              /* our direction ends; the peer's goes on */
void spdy_stream_reset(struct spdy_stream *st);              /* both, at once */
size_t spdy_stream_pending(const struct spdy_stream *st);    /* bytes queued in the session: stop above 256 KiB */
void spdy_stream_pause(struct spdy_stream *st, bool paused); /* past a bound the whole session stops reading */
struct str spdy_stream_header(const struct spdy_stream *st, const char *lower_name); /* of SYN_STREAM; "streamtype" */
uint32_t spdy_stream_id(const struct spdy_stream *st);
