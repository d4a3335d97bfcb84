/* A server for measuring src/http: 1.7 KB on /, 17 MB in 10,000 slices on /list, POSTs answered with their body's
 * length. Usage: bench_http PORT WORKERS [CERT KEY]; without a certificate it speaks plain. */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "http/server.h"
#include "http/tls.h"

#define ITEM 1700
#define N_ITEMS 10000

static char item[ITEM];
static struct http_slice items[N_ITEMS];

static const struct http_header headers[] = {
        { STR_INIT("content-type"), STR_INIT("application/json") },
        { STR_INIT("cache-control"), STR_INIT("no-cache, private") },
};

static void handler(struct http_request *r, void *arg) {
        struct http_slice one = { str_n(item, ITEM), NULL, NULL };
        struct str path = http_request_path(r);

        if (http_request_method(r) == HTTP_M_POST) {
                one.data = arena_printf(http_request_arena(r), "%zu", http_request_body(r).n);
                http_respond(r, 201, headers, ARRAY_SIZE(headers), &one, 1);
        } else if (str_eq(path, STR("/list")))
                http_respond(r, 200, headers, ARRAY_SIZE(headers), items, N_ITEMS);
        else
                http_respond(r, 200, headers, ARRAY_SIZE(headers), &one, 1);
}

int main(int argc, char **argv) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct http_server_options o = { .address = "127.0.0.1", .listen_fd = -1, .handler = handler };
        struct buf cert = BUF_INIT, key = BUF_INIT;
        struct http_server *s;
        sigset_t set;
        int sig;

        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        memset(item, 'x', sizeof(item));
        for (size_t i = 0; i < N_ITEMS; i++)
                items[i] = (struct http_slice) { str_n(item, ITEM), NULL, NULL };
        o.port = argc > 1 ? (uint16_t) atoi(argv[1]) : 0;
        o.workers = argc > 2 ? (unsigned) atoi(argv[2]) : 0;
        if (argc > 4 && (file_read(argv[3], 0, &cert, &err) < 0 || file_read(argv[4], 0, &key, &err) < 0 ||
                         tls_context_new(&(struct tls_options) { .server = true,
                                                                 .cert_pem = buf_str(&cert),
                                                                 .key_pem = buf_str(&key),
                                                                 .http2 = true },
                                         &o.tls, &err) < 0)) {
                fprintf(stderr, "%s\n", error_text(&err));
                return 1;
        }
        if (http_server_start(&o, &s, &err) < 0) {
                fprintf(stderr, "%s\n", error_text(&err));
                return 1;
        }
        printf("%u\n", http_server_port(s));
        fflush(stdout);
        sigwait(&set, &sig);
        http_server_stop(s, 1000);
        tls_context_unref(o.tls);
        buf_free(&cert);
        buf_free(&key);
        return 0;
}
