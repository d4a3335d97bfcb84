/* The API server and its store without TLS, where everybody may do everything: what do they do by themselves?
 *
 *   bench_plain DIRECTORY PORT      serves on 127.0.0.1 until it is told to end
 *
 * Who has no token is answered 401: DIRECTORY/tokens is a token file. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "apiserver/apiserver.h"
#include "store/store.h"

int main(int argc, char **argv) {
        char tokens[4096];
        const char *const args[] = { "authorization-mode=AlwaysAllow", tokens, NULL };
        struct apiserver_options o = { .args = args,
                                       .anonymous = true,
                                       .address = "127.0.0.1",
                                       .advertise_address = "127.0.0.1",
                                       .service_cidr = "10.96.0.0/12",
                                       .node_port_min = 30000,
                                       .node_port_max = 32767 };
        struct error e = ERROR_INIT;
        struct apiserver *s = NULL;
        sigset_t ends;
        int number;

        if (argc != 3) {
                fprintf(stderr, "usage: bench_plain DIRECTORY PORT\n");
                return 2;
        }
        snprintf(tokens, sizeof(tokens), "token-auth-file=%s/tokens", argv[1]);
        sigemptyset(&ends);
        sigaddset(&ends, SIGTERM);
        sigaddset(&ends, SIGINT);
        pthread_sigmask(SIG_BLOCK, &ends, NULL);
        o.port = (uint16_t) atoi(argv[2]);
        if (store_open(&(struct store_options) { .path = argv[1] }, &o.store, &e) < 0 ||
            apiserver_new(&o, &s, &e) < 0 || apiserver_bootstrap(s, &e) < 0 || apiserver_listen(s, &e) < 0) {
                fprintf(stderr, "%s\n", error_text(&e));
                return 1;
        }
        sigwait(&ends, &number);
        apiserver_stop(s, 1000);
        apiserver_free(s);
        store_close(o.store);
        return 0;
}
