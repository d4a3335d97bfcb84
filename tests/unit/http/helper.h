/* What the tests of http share: a server with one handler for all behaviours, certificates made on the spot, a client
 * on its own loop with calls that wait, raw sockets. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/client.h"
#include "http/server.h"
#include "http/tls.h"
#include "http/websocket.h"

#define BIG_ITEM 1700
#define BIG_ITEMS 4000

extern atomic_int closes;   /* on_close of /never and /ticks was called */
extern atomic_int releases; /* slices of /big and /flood that were released */

struct certs {
        struct buf ca, cert, key, client_cert, client_key, other_cert, other_key; /* other: signed by an unknown CA */
};
const struct certs *test_certs(void);
/* A client's; subject: "O=b/CN=a". */
void test_cert_for(const char *subject, const char *usage, long seconds, struct buf *cert, struct buf *key);

struct fixture {
        struct http_server *server;
        struct tls_context *tls;
        struct loop *loop; /* of the client */
        uint16_t port;
};
struct fixture *fixture_new(const struct http_server_options *o, bool tls); /* o may be NULL; the handler is ours */
void fixture_free(struct fixture *f);
void fixture_handler(struct http_request *r, void *arg);

struct reply {
        int err, status;
        char *error;
        struct buf body;
        char *trailer; /* grpc-status */
        char *type;    /* content-type */
};
void reply_free(struct reply *r);
struct http_client *client_new(struct fixture *f, const struct http_client_options *o);
void client_free(struct fixture *f, struct http_client *c);
struct reply call(struct fixture *f, struct http_client *c, const struct http_call_options *o);
struct reply get(struct fixture *f, struct http_client *c, const char *path);
struct tls_context *client_tls(bool http2, const struct buf *cert, const struct buf *key);

int raw_connect(uint16_t port);
void raw_send(int fd, const char *text);
/* Reads until the peer closes, or needle was seen, or nothing came for timeout_ms. NUL-terminated, malloc'd. */
char *raw_read(int fd, const char *needle, int timeout_ms);
bool raw_closed(int fd, int timeout_ms);            /* EOF or reset comes within the time */
char *raw_request(uint16_t port, const char *text); /* connects, sends, reads to the end, closes */
void wait_for(atomic_int *v, int want);
