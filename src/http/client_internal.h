/* What client.c, client_h1.c and client_h2.c share. */
#pragma once

#include <netdb.h>

#include "http/client.h"
#include "http/gunzip.h"
#include "http/http1.h"
#include "http/slices.h"
#include "http/tls.h"
#include "http/transport.h"

struct client_conn;

struct client_class {
        void (*begin)(struct client_conn *c); /* connected */
        void (*data)(struct client_conn *c, struct str data);
        void (*fill)(struct client_conn *c);
        void (*eof)(struct client_conn *c);          /* before the calls fail: a body may end this way */
        size_t (*room)(const struct client_conn *c); /* calls it takes now */
        void (*start)(struct client_conn *c, struct http_call *call);
        void (*pause)(struct http_call *call); /* call->paused changed */
        void (*drop)(struct http_call *call);  /* cancelled while running */
        void (*ping)(struct client_conn *c);   /* HTTP/2: silence for long */
        void (*free)(struct client_conn *c);
};
extern const struct client_class client_h1, client_h2;

struct client_conn {
        struct transport t; /* first */
        struct http_client *client;
        struct list link;                 /* client->conns */
        const struct client_class *class; /* NULL until connected */
        void *state;                      /* of the class */
        struct list calls;                /* running here */
        size_t n_calls;
        struct timer timer; /* connecting; idle; HTTP/2: silence */
        int64_t last_read_ms;
        struct http_call *upgrade; /* the connection is for this call alone */
        /* connecting */
        uv_getaddrinfo_t resolve;
        struct addrinfo *addresses, *next_address;
        char where[128]; /* "tcp 127.0.0.1:80", for messages */
        int connect_error;
        bool reused;   /* a call ended on it before */
        bool draining; /* takes no new calls */
        bool pinged, resolving, try_next, open, closed, failed;
        bool has_transport;
};

struct http_client {
        struct http_client_options o;
        char *host, *unix_path, *server_name, *authority;
        struct list conns, waiting;
        struct list unpacking; /* calls whose connection is done with them */
        size_t n_conns, n_waiting, refs;
        bool freed, http1_only; /* it negotiated HTTP/1.1 once */
};

struct http_call {
        struct http_client *client;
        struct client_conn *conn; /* NULL while waiting */
        struct list link;         /* client->waiting, conn->calls or client->unpacking */
        struct arena *arena;
        struct http_call_options o; /* its pointers are into the arena */
        struct slices out;
        int status;
        http1_headers headers, trailers;
        struct timer timer;
        struct loop_work work, unpack;
        struct gunzip *gunzip; /* its body comes compressed */
        bool asked_gzip, at_end, unpack_posted;
        struct buf held; /* HTTP/2: came while paused */
        int32_t stream_id;
        bool sending; /* the body is not at its end */
        bool above;   /* more of it waits than DRAIN_MARK */
        bool waiting, paused, done, got_bytes, retried;
        /* upgrades */
        void (*upgraded)(const struct http_upgrade_result *r, void *arg);
        bool connected;
        struct buf answer;
};

#define DRAIN_MARK (64 * 1024)

/* client.c */
void call_response(struct http_call *c, int status);
void call_unpacks(struct http_call *c); /* before call_response: there is a body, which may be compressed */
void call_data(struct http_call *c, struct str data);
void call_done(struct http_call *c, int err, const char *fmt, ...) _printf_(3, 4);
void call_retry(struct http_call *c, int err, const char *why);      /* on another connection, or done with err */
void conn_call_ended(struct client_conn *c, struct http_call *call); /* takes it off the connection */
void conn_fail(struct client_conn *c, int err, const char *why);
void client_conn_upgraded(struct client_conn *c, struct str first); /* first: read beyond the response's header */
