/* The HTTP client, on a loop: requests over HTTP/2 or HTTP/1.1 with kept-alive connections, streams, upgrades.
 * For the API (remote roles), for kubelets (logs, exec), webhooks, aggregated servers, gRPC (etcd, CRI) over TCP, TLS
 * or a Unix socket. Image registries use libcurl instead. */
#pragma once

#include "http/http.h"

struct http_client;
struct http_call;
struct tls_context;

struct http_client_options {
        struct loop *loop;
        const char *host; /* name or address; the TLS server name too unless server_name says otherwise */
        uint16_t port;
        const char *unix_path;       /* instead of host and port when not NULL; "@name": an abstract socket */
        struct tls_context *tls;     /* NULL: plain */
        const char *server_name;     /* may be NULL */
        const char *authority;       /* the Host header; NULL: from host and port */
        bool http2;                  /* offer h2 by ALPN; without TLS: prior knowledge */
        unsigned connect_timeout_ms; /* 0: 10 s */
        unsigned max_connections;    /* HTTP/1.1; 0: 32 */
};
int http_client_new(const struct http_client_options *o, struct http_client **ret, struct error *err);
void http_client_free(struct http_client *c); /* running calls end with -ECANCELED */

struct http_call_options {
        const char *method;
        struct str path;                   /* with query */
        const struct http_header *headers; /* host is added. Copied. */
        size_t n_headers;
        struct str body;     /* copied */
        bool streams;        /* the body comes by http_call_send instead, over HTTP/1.1 only */
        int64_t body_length; /* how long that will be; -1: not known */
        bool gunzip;         /* the server may compress, if the caller says nothing of that */
        bool go_agent;       /* User-Agent: what Go's client says, "Go-http-client/2.0" over HTTP/2 */
        unsigned timeout_ms; /* for the whole call; 0: none (watches) */
        /* Where the answer goes, without on_response and on_data; each may be NULL. One that is larger ends the call
         * with -EFBIG. */
        int *status;
        struct buf *answer;
        size_t max_answer;
        /* All on the loop's thread; each may be NULL. on_done is the last and comes exactly once. */
        void (*on_info)(struct http_call *c, int status, const struct http_header *h, size_t n_h,
                        void *arg); /* 1xx, over HTTP/1.1 */
        void (*on_response)(struct http_call *c, int status, const struct http_header *h, size_t n_h, void *arg);
        void (*on_data)(struct http_call *c, struct str data, void *arg);
        void (*on_sent)(struct http_call *c, void *arg); /* less than 64 KiB of what streams waits again */
        void (*on_done)(struct http_call *c, int err, const struct error *error, void *arg); /* 0, or negative errno */
        void *arg;
};
/* trailers (gRPC) are visible in on_done through http_call_trailer. The call is freed after on_done. */
struct http_call *http_client_call(struct http_client *c, const struct http_call_options *o);
void http_call_cancel(struct http_call *c); /* on_done comes with -ECANCELED, before this returns */
void http_call_send(struct http_call *c, struct str data, bool last); /* copied */
size_t http_call_unsent(const struct http_call *c);
void http_call_pause(struct http_call *c, bool paused);
struct str http_call_trailer(const struct http_call *c, const char *lower_name);
size_t http_call_trailers(const struct http_call *c, const struct http_header **ret);

/* Opens a connection of its own, sends the request as given (an Upgrade), and hands over the raw stream after the
 * response's header. status is 101 when the peer agreed; otherwise body has its answer (at most 64 KiB) and duplex is
 * NULL. */
struct http_upgrade_result {
        int err;             /* 0 or negative errno */
        const char *message; /* why, as http_call_options.on_done hears it */
        bool connected;      /* it failed later */
        int status;
        const struct http_header *headers;
        size_t n_headers;
        struct str body;
        struct duplex *duplex;
};
void http_client_upgrade(struct http_client *c, const struct http_call_options *o,
                         void (*done)(const struct http_upgrade_result *r, void *arg), void *arg);
