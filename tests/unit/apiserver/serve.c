/* An API server over a store in memory, for trying things with a real client and for measuring:
 *
 *   serve DIR PORT        DIR has ca.pem, server.pem, server.key and sa.key; ends at SIGTERM or SIGINT */
#include <signal.h>
#include <stdio.h>

#include "apiserver/apiserver.h"
#include "base/file.h"
#include "base/log.h"

static struct str slurp(const char *dir, const char *name) {
        _cleanup_free_ char *path = xprintf("%s/%s", dir, name);
        struct error e = ERROR_INIT;
        struct buf b = BUF_INIT;
        size_t n;
        char *p;

        if (file_read(path, 0, &b, &e) < 0) {
                fprintf(stderr, "%s\n", error_text(&e));
                exit(1);
        }
        p = buf_take(&b, &n);
        return str_n(p, n);
}

/* What the controllers would do: pods need a service account. */
static void make_default_account(struct apiserver *s);

int main(int argc, char **argv) {
        struct store_options so = { 0 };
        struct apiserver_options o = { 0 };
        struct store *store = NULL;
        struct apiserver *s = NULL;
        struct error e = ERROR_INIT;
        struct str pems[4];
        sigset_t set;
        int sig;

        if (argc < 3)
                return 2;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigprocmask(SIG_BLOCK, &set, NULL);
        signal(SIGPIPE, SIG_IGN);
        pems[0] = o.cert_pem = slurp(argv[1], "server.pem");
        pems[1] = o.key_pem = slurp(argv[1], "server.key");
        pems[2] = o.client_ca_pem = slurp(argv[1], "ca.pem");
        pems[3] = o.service_account_key_pem = slurp(argv[1], "sa.key");
        o.address = "127.0.0.1";
        o.advertise_address = "127.0.0.1";
        o.port = (uint16_t) atoi(argv[2]);
        o.anonymous = true;
        so.path = argc > 3 ? argv[3] : NULL;
        if (store_open(&so, &store, &e) < 0)
                goto failed;
        o.store = store;
        if (apiserver_new(&o, &s, &e) < 0 || apiserver_bootstrap(s, &e) < 0 || apiserver_listen(s, &e) < 0)
                goto failed;
        make_default_account(s);
        printf("ready on %u\n", apiserver_port(s));
        fflush(stdout);
        sigwait(&set, &sig);
        apiserver_stop(s, 500);
        apiserver_free(s);
        store_close(store);
        for (size_t i = 0; i < 4; i++)
                free((char *) pems[i].p);
        return 0;
failed:
        fprintf(stderr, "%s\n", error_text(&e));
        return 1;
}

static void created(struct api_call *c) {
        if (c->code >= 400)
                fprintf(stderr, "service account: %s\n", error_text(&c->error));
        object_unref(c->object);
        error_clear(&c->error);
        *(_Atomic bool *) c->userdata = true;
}

static void make_default_account(struct apiserver *s) {
        struct arena *a = arena_new(0);
        _Atomic bool done = false;
        struct json *body;
        struct api_call c = { .verb = API_CREATE,
                              .resource = api_find_resource(STR(""), STR("v1"), STR("serviceaccounts")),
                              .namespace = STR("default"),
                              .options = API_OPTIONS_INIT,
                              .user = api_user_system,
                              .arena = a,
                              .done = created,
                              .userdata = (void *) &done };

        json_parse(a, STR("{\"metadata\":{\"name\":\"default\"}}"), NULL, &body, NULL);
        c.body = body;
        apiserver_call(s, &c);
        while (!done)
                nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
        arena_free(a);
}
