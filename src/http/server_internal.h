/* What server.c, server_h1.c and server_h2.c share. */
#pragma once

#include <stdatomic.h>

#include "http/http1.h"
#include "http/server.h"
#include "http/slices.h"
#include "http/tls.h"
#include "http/transport.h"

struct conn;
struct h1;
struct h2;

/* A connection waits for something by a deadline of one of these classes; all of a class wait equally long, so each
 * class is a queue in order of time and one timer looks at the heads. */
enum deadline {
        DEADLINE_HEADER, /* a whole request header (and the TLS handshake before the first) */
        DEADLINE_IDLE,   /* the next request on a kept-alive connection */
        DEADLINE_BODY,   /* a whole request body */
        DEADLINE_LINGER, /* the peer's close after ours */
        N_DEADLINES,
        DEADLINE_NONE = N_DEADLINES,
};

struct worker {
        struct http_server *server;
        struct loop *loop;
        size_t index;
        char name[24];
        struct list conns;
        struct list orphans; /* requests whose client is gone while their handler is still at work */
        struct list pool;    /* requests to use again */
        size_t n_pool;
        struct list deadlines[N_DEADLINES];
        struct timer timer;
        uint64_t timer_at; /* 0: not armed */
        atomic_size_t n_conns;
        size_t peak_conns; /* since memory was given back to the system */
        int64_t date_second;
        char date[32];
        bool stopping;
};

struct http_server {
        struct http_server_options o;
        struct worker *workers;
        size_t n_workers;
        size_t next;                 /* round robin */
        atomic_size_t large_headers; /* bytes, of max_headers */
        bool draining;
        int listen_fd;
        uint16_t port;
        uv_poll_t listener;        /* on the first worker */
        struct timer accept_timer; /* out of descriptors: accepts again after a while */
        uint64_t deadline_ms[N_DEADLINES];
};

/* How a version of HTTP does what server.h promises. */
struct conn_class {
        void (*data)(struct conn *c, struct str data);
        void (*fill)(struct conn *c);
        /* The head of a response. With body: r->out has all of it. */
        void (*start)(struct http_request *r, int status, const struct http_header *h, size_t n_h);
        void (*inform)(struct http_request *r, int status, const struct http_header *h, size_t n_h); /* 1xx */
        void (*more)(struct http_request *r);           /* r->out grew, or r->ended was set */
        void (*took)(struct http_request *r, size_t n); /* n bytes of a body that streams left for the handler */
        void (*abort)(struct http_request *r);
        void (*stop)(struct conn *c); /* no new requests; close when the running ones ended */
        void (*free)(struct conn *c);
};
extern const struct conn_class conn_h1, conn_h2;

struct conn {
        struct transport t; /* first: the memory goes with it */
        struct worker *w;
        struct list link;
        struct list deadline_link;
        uint64_t deadline_at;
        enum deadline deadline;
        const struct conn_class *class; /* NULL until known */
        union {
                struct h1 *h1;
                struct h2 *h2;
        };
        struct list requests;  /* dispatched, and those being received */
        struct list drains;    /* requests whose on_drain is due */
        struct duplex *raw;    /* the connection was handed over to it */
        struct tls_peer *peer; /* read at the first question */
        struct buf sniffed;    /* plain: the first bytes, until they tell the version */
        char address[56];
        uint8_t n_address;
};

struct http_request {
        struct conn *conn; /* NULL: the client is gone */
        struct worker *w;
        struct list link; /* conn->requests, worker->orphans or worker->pool */
        struct list drain_link;
        struct arena *arena;
        enum http_method method;
        struct str method_text, uri, path, query;
        http1_headers headers;
        size_t header_bytes, header_charged;
        struct buf body; /* of one that streams: what its taker has not got yet */
        http_body_fn on_body;
        void *on_body_arg;
        http_handler then; /* instead of the server's handler: who has the request, and waits for its body */
        void *then_arg;
        struct slices out;
        int64_t out_left; /* respond: bytes of the body still to come; stream: -1 */
        void *userdata;
        void (*on_close)(struct http_request *r, void *arg);
        void *on_close_arg;
        void (*on_drain)(struct http_request *r, void *arg);
        void *on_drain_arg;
        const struct http_observer *observer;
        void *observer_arg;
        const struct http_header *added; /* headers of the observer */
        size_t n_added;
        struct http_header *trailers;
        size_t n_trailers;
        int32_t stream_id; /* HTTP/2 */
        bool received;     /* HTTP/2: the peer sent all of it */
        bool dispatched;   /* the handler has it */
        bool started;      /* a response began */
        bool streaming;    /* … of unknown length */
        bool finite;       /* … that ends by itself */
        bool ended;        /* nothing more will be added */
        bool deferred;     /* HTTP/2: nghttp2 waits for resume */
        bool held;         /* the response waits for http_request_release */
        int held_status;
        struct http_header *held_headers;
        size_t n_held;
        bool above;    /* more than DRAIN_MARK is queued */
        bool bodyless; /* HEAD, 204, 304 */
        bool too_large, header_too_large;
        bool refused;             /* it is no request */
        const char *problem;      /* beside the status that it is refused with */
        const char *body_problem; /* why its body cannot be had */
        bool expects_continue;
        bool streams, receiving, body_paused;
        bool wanted; /* somebody asked for what streams */
};

#define DRAIN_MARK (64 * 1024)

/* server.c */
void http_server_defaults(struct http_server *s); /* fills s->o and the deadlines */
void worker_init(struct worker *w, struct http_server *s, size_t index);
/* A connection, on the worker's thread. */
void worker_adopt(struct worker *w, int fd, const struct sockaddr_storage *address);
/* A header has this many bytes now, of which *charged count already among the large ones: false when those of all
 * connections are too many. With 0 it is gone. */
bool header_charge(struct http_server *s, size_t *charged, size_t bytes);
void worker_close(void *worker); /* all connections, at once */
void worker_empty_pools(struct worker *w);
void conn_set_deadline(struct conn *c, enum deadline d);
void conn_close(struct conn *c);
struct duplex *conn_hijack(struct conn *c, struct str first); /* first: what was read beyond the request */

/* request.c */
struct http_request *request_new(struct conn *c);
void request_set_method(struct http_request *r, struct str text);
void request_set_target(struct http_request *r, struct str target);
bool request_path_is_bad(struct str target); /* its escapes are none: nobody is told why */
void request_add_header(struct http_request *r, struct str name, struct str value); /* both outlive the request */
void request_dispatch(struct http_request *r);
/* Whether it is dispatched now, before its body; length: of that, -1 when it is not known. */
bool request_streams(struct http_request *r, int64_t length);
bool request_wants_body(const struct http_request *r);                 /* who waits to be asked for it may go on */
void request_body(struct http_request *r, struct str data, bool last); /* of one that streams */
void request_respond_simple(struct http_request *r, int status); /* the server's own answers: 400, 413, 417, 431 … */
/* Whether the server tells how long the body is, where its handler does not. As Go's servers, which tell what fits into
 * their buffer. */
bool request_has_length(const struct http_request *r, size_t max);
void request_sent(struct http_request *r, size_t n); /* n bytes of out were taken: bounds, on_drain */
void request_complete(struct http_request *r);       /* the whole response is sent: frees */
void request_gone(struct http_request *r);           /* the client is gone: tells the handler, frees or orphans */
void request_destroy(struct http_request *r);        /* its memory, not to be used again */
void conn_run_drains(struct conn *c);
struct str worker_date(struct worker *w); /* for the date header */
