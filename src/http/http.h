/* HTTP as cube speaks it: types shared by the server (server.h), the client (client.h) and WebSocket/SPDY streams.
 * HTTP/1.1 over http-parser, HTTP/2 over nghttp2, TLS over OpenSSL with ALPN. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/loop.h"

const char *http_status_text(int status); /* "Not Found"; empty: unknown */

enum http_method {
        HTTP_M_GET,
        HTTP_M_HEAD,
        HTTP_M_POST,
        HTTP_M_PUT,
        HTTP_M_PATCH,
        HTTP_M_DELETE,
        HTTP_M_OPTIONS,
        HTTP_M_CONNECT,
        HTTP_M_OTHER
};

struct http_header {
        struct str name; /* lower case in what is received; any case in what is sent */
        struct str value;
};

/* Bytes to send, shared or owned: release(arg) is called on the loop's thread when they are sent or dropped. */
struct http_slice {
        struct str data;
        void (*release)(void *arg); /* NULL: static */
        void *arg;
};

/* "Name: value\r\n" of HTTP/1.1, the name as Go writes it: "Content-Type". A value may be somebody's text
 * (x-remote-user): it ends no line. */
void http_add_header(struct buf *dst, struct str name, struct str value);
/* The first of this name; p == NULL when absent. */
struct str http_header_get(const struct http_header *h, size_t n, const char *lower_name);

/* The content type of what begins so, as browsers and Go's servers guess it: never NULL. */
const char *http_sniff(struct str first);

/* A byte stream with back-pressure, both ways: an upgraded connection, a WebSocket's messages, a raw TLS tunnel.
 * All calls on its loop's thread. */
struct duplex;
struct duplex_ops {
        /* For a WebSocket: one whole message. */
        void (*on_data)(struct duplex *d, struct str data, void *arg);
        /* The queue fell below the low-water mark. May be NULL. */
        void (*on_drain)(struct duplex *d, void *arg);
        /* The last call: 0 when the peer closed in order, else negative errno. */
        void (*on_close)(struct duplex *d, int err, void *arg);
};
void duplex_set_ops(struct duplex *d, const struct duplex_ops *ops, void *arg);
void duplex_write(struct duplex *d, const struct http_slice *s, size_t n);
void duplex_write_copy(struct duplex *d, struct str data);
size_t duplex_pending(const struct duplex *d);    /* bytes queued: stop producing above 256 KiB, go on at on_drain */
void duplex_pause(struct duplex *d, bool paused); /* stop / go on reading */
void duplex_close(struct duplex *d);              /* sends what is queued, then closes; on_close is still called */
struct loop *duplex_loop(struct duplex *d);
/* Couples two duplexes on one loop until either closes, with back-pressure; then closes both and calls done.
 * rate: bytes a second that go each way; 0: as they come. */
void duplex_pipe(struct duplex *a, struct duplex *b, size_t rate, void (*done)(void *arg), void *arg);
