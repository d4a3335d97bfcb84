/* The HTTP server: a listener, n worker loops, one handler. A connection lives on one worker; the handler is called
 * there with the whole request (headers and body); the answer may come later, from the same worker's thread. */
#pragma once

#include "http/http.h"

struct http_server;
struct http_request;
struct tls_context; /* tls.h: certificate, key, client CA, ALPN */

typedef void (*http_handler)(struct http_request *req, void *arg);

struct http_server_options {
        const char *address;     /* "0.0.0.0", "::", "127.0.0.1" */
        uint16_t port;           /* 0: any */
        int listen_fd;           /* used instead of address and port when >= 0 (-1: none) */
        struct tls_context *tls; /* NULL: plain HTTP (h2c by prior knowledge too) */
        unsigned workers;        /* 0: one for each processor */
        size_t max_body;         /* 0: 3 MiB; past it 413 is answered */
        size_t max_header;       /* 0: 1 MiB; past it 431 */
        size_t max_headers;      /* 0: 64 MiB, of all requests together: of each what is beyond 16 KiB; past it 431 */
        unsigned header_timeout_ms; /* 0: 30 s from accept or last response to a whole header */
        unsigned max_streams;       /* of one HTTP/2 connection; 0: 100 */
        unsigned max_connections;   /* 0: 20,000 */
        http_handler handler;
        const atomic_int *busy; /* counts what handlers wait for: loops do not end before it is 0; NULL: nothing */
        /* NULL: no request comes to the handler before its body. Else those do whose client waits to be asked for it
         * (Expect), or that is larger than Go's servers read unasked, and those of which this is true, called with the
         * request's header: the handler gets the body piece by piece (http_request_on_body), whatever its size, or
         * waits until it is whole (http_request_collect), or does not want it. */
        bool (*streams)(struct http_request *r, void *arg);
        http_handler too_large; /* gets requests with a body past the limit, or in broken chunks, without it; NULL:
                                   they are refused */
        void *arg;
};

/* -EADDRINUSE and the other errors of bind(2). */
int http_server_start(const struct http_server_options *o, struct http_server **ret, struct error *err);
uint16_t http_server_port(const struct http_server *s);
size_t http_server_workers(const struct http_server *s);
struct loop *http_server_worker(const struct http_server *s, size_t i);
/* Stops accepting, lets running requests end for at most grace_ms; streams are told to end (on_close), with streams_ms
 * one after another within that time. */
void http_server_drain(struct http_server *s, unsigned grace_ms, unsigned streams_ms);
/* The same, if that was not done yet; then closes what is left. */
void http_server_stop(struct http_server *s, unsigned grace_ms);

/* ---- the request: valid from the handler's call until the response is complete or on_close was called ---- */

enum http_method http_request_method(const struct http_request *r);
struct str http_request_method_text(const struct http_request *r);
struct str http_request_uri(const struct http_request *r);  /* the whole of the target, as sent */
struct str http_request_path(const struct http_request *r); /* as sent, percent-encoding not resolved, without query */
/* From now on it is as it is meant, unless that could not be told from what separates it from the rest. */
void http_request_decode_path(struct http_request *r);
struct str http_request_query(const struct http_request *r);                          /* after '?', raw */
struct str http_request_header(const struct http_request *r, const char *lower_name); /* p == NULL when absent */
size_t http_request_headers(const struct http_request *r, const struct http_header **ret);
struct str http_request_body(const struct http_request *r);
bool http_request_is_too_large(const struct http_request *r);        /* its body was, and is not there */
const char *http_request_body_problem(const struct http_request *r); /* why it is not there, too; NULL: none */
size_t http_request_max_body(const struct http_request *r);          /* what may be sent here */
/* A body that comes piece by piece, and is not at its end. */
bool http_request_is_receiving(const struct http_request *r);
/* fn gets it from here on: first, at once, what has come already, last with the end. fn NULL: the rest is dropped.
 * While nobody takes it or it is paused, at most 64 KiB come over HTTP/1.1, over HTTP/2 a window of 256 KiB. */
typedef void (*http_body_fn)(struct http_request *r, struct str data, bool last, void *arg);
void http_request_on_body(struct http_request *r, http_body_fn fn, void *arg);
void http_request_pause_body(struct http_request *r, bool paused);
/* True: the body is not whole; then is called when it is, or is too large. */
bool http_request_collect(struct http_request *r, http_handler then, void *arg);
struct arena *http_request_arena(struct http_request *r); /* lives as long as the request */
struct loop *http_request_loop(const struct http_request *r);
size_t http_request_worker(const struct http_request *r);
bool http_request_is_h2(const struct http_request *r);
struct str http_request_peer(const struct http_request *r); /* "127.0.0.1:5000" */
/* The verified client certificate's subject: common name and organizations. False without a valid one. */
bool http_request_client_cert(const struct http_request *r, struct str *ret_cn, const struct str **ret_orgs,
                              size_t *ret_n_orgs);
/* True when a certificate was given that does not verify (unknown CA, expired, not for clients): the answer to it is
 * 401. */
bool http_request_client_cert_invalid(const struct http_request *r);
/* SHA-256 of the trusted certificate that it is certified by, in lower-case hex: with tls_options.authorities. */
struct str http_request_client_cert_authority(const struct http_request *r);
/* SHA-256 of the verified certificate in lower-case hex, empty without one: the credential id of KEP-4193. */
struct str http_request_client_cert_sha256(const struct http_request *r);
/* The UID that it names the user by; empty: none. false: it is not one, and the certificate names nobody. */
bool http_request_client_cert_uid(const struct http_request *r, struct str *ret);
/* When that certificate ends, in seconds since 1970; 0 without one. */
int64_t http_request_client_cert_not_after(const struct http_request *r);
void http_request_set_userdata(struct http_request *r, void *p);
void *http_request_userdata(const struct http_request *r);
/* The client went away, or the server stops, before the response was complete: drop what you have; do not respond. */
void http_request_on_close(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg);

/* Who watches over a request from its handler's call to its end: limits, metrics, audit. answered is called once, when
 * the response begins (bytes: of its body, -1 for a stream), and may still add headers, which must stay valid; when it
 * returns true a response that is no stream is held back until http_request_release.
 * ended is the last call, when the response is sent or the client is gone. */
struct http_observer {
        bool (*answered)(struct http_request *r, int status, int64_t bytes, void *arg);
        void (*ended)(struct http_request *r, void *arg);
};
void http_request_observe(struct http_request *r, const struct http_observer *o, void *arg);
void http_request_add_headers(struct http_request *r, const struct http_header *h, size_t n); /* once */
void http_request_release(struct http_request *r);
/* The last of its connection: "Connection: close", or GOAWAY. Before it is answered. */
void http_request_last(struct http_request *r);
/* Tells the handler that nobody waits any more, as when the client went away (on_close), so that the caller can answer
 * in its place. False when it is answered already, or the handler did not ask to be told. */
bool http_request_take_over(struct http_request *r);

/* ---- the response: one of these, once ---- */

void http_respond(struct http_request *r, int status, const struct http_header *h, size_t n_h,
                  const struct http_slice *body,
                  size_t n_body); /* date, and of short bodies content-length are added */
void http_respond_copy(struct http_request *r, int status, const char *content_type, struct str body);

/* A response of unknown length: chunked in HTTP/1.1, DATA frames in HTTP/2. */
void http_stream_start(struct http_request *r, int status, const struct http_header *h, size_t n_h);
/* Before a response: what may be told already (1xx). */
void http_inform(struct http_request *r, int status, const struct http_header *h, size_t n_h);
void http_stream_send(struct http_request *r, const struct http_slice *s, size_t n);
/* The stream has an end of its own: a server that stops waits for it as for any response. */
void http_stream_is_finite(struct http_request *r);
size_t http_stream_pending(const struct http_request *r); /* bytes queued and not yet taken by the socket */
/* Whether anybody gets what is sent: not for HEAD, and not when the client is gone. */
bool http_request_is_read(const struct http_request *r);
/* Called when less than 64 KiB is queued again. */
void http_stream_on_drain(struct http_request *r, void (*fn)(struct http_request *r, void *arg), void *arg);
/* What follows the body, before http_stream_end; it is copied. */
void http_stream_trailers(struct http_request *r, const struct http_header *h, size_t n_h);
void http_stream_end(struct http_request *r);
/* What was sent is not all there should be: the connection (HTTP/2: the stream) breaks off. */
void http_stream_abort(struct http_request *r);

/* Upgrades (HTTP/1.1 only). NULL and an answer already sent (400, 403 or 426) when the request does not fit. */
bool http_request_wants_websocket(const struct http_request *r);
/* To "websocket", "SPDY/3.1", or whatever: as upstream takes it, also to nothing in particular. */
bool http_request_wants_upgrade(const struct http_request *r, struct str *ret_protocol);
/* Accepts a WebSocket (RFC 6455) with this subprotocol (may be NULL); messages are binary both ways. */
struct duplex *http_accept_websocket(struct http_request *r, const char *subprotocol);
/* Answers 101 with these headers and hands over the raw byte stream (SPDY; or a proxy that relays the peer's own 101,
 * then status 0: nothing is written). The request is gone. */
struct duplex *http_hijack(struct http_request *r, int status, const struct http_header *h, size_t n_h);
