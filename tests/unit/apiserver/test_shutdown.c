/* A server as its flags have it: how it ends (what is at the store comes back before the workers go, and clients hear
 * of it), how much it takes at once, for whose pages it is. */
#include "help.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include "apiserver/handler.h"
#include "store/backend.h"

/* ---- a store whose disk is slow ---- */

static atomic_bool slow, writing, written;

static int load(struct backend *b, struct node **ret_root, uint64_t *ret_revision, struct error *err) {
        *ret_root = NULL;
        *ret_revision = 0;
        return 0;
}

static int apply(struct backend *b, const struct backend_run *run, struct error *err) {
        if (!slow)
                return 0;
        writing = true;
        usleep(300000);
        written = true;
        return 0;
}

static void close_backend(struct backend *b) {
}

static const struct backend_class slow_class = { .name = "slow", .load = load, .apply = apply, .close = close_backend };

static struct fixture *serve(void **state, const char *const *args) {
        static struct backend backend = { &slow_class };
        struct fixture *f = xcalloc(1, sizeof(*f));
        struct apiserver_options o = {
                .address = "127.0.0.1", .advertise_address = "127.0.0.1", .args = args, .anonymous = true
        };
        struct error e = ERROR_INIT;

        slow = writing = written = false;
        assert_int_equal(store_open_on(&backend, &(struct store_options) { 0 }, &f->store, &e), 0);
        o.store = f->store;
        if (apiserver_new(&o, &f->s, &e) < 0 || apiserver_bootstrap(f->s, &e) < 0 || apiserver_listen(f->s, &e) < 0)
                fail_msg("%s", error_text(&e));
        f->a = arena_new(0);
        fixture_let_all(f);
        *state = f;
        return f;
}

static int knock(uint16_t port, int *ret) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

        *ret = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return connect(*ret, (struct sockaddr *) &to, sizeof(to));
}

static int client(struct fixture *f, const char *text) {
        int fd;

        assert_int_equal(knock(apiserver_port(f->s), &fd), 0);
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t) strlen(text));
        return fd;
}

static struct str answer_on(struct fixture *f, int fd) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        ssize_t n;

        while ((n = recv(fd, buf_reserve(&b, 65536), 65536, 0)) > 0)
                b.n += (size_t) n;
        close(fd);
        return arena_str(f->a, buf_str(&b));
}

#define POST                                                                                                   \
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" \
        "Content-Length: 25\r\n\r\n{\"metadata\":{\"name\":\"c\"}}"

static void a_worker_does_not_end_before_the_store_has_answered_it(void **state) {
        struct fixture *f = serve(state, NULL);
        int fd;

        slow = true;
        fd = client(f, POST);
        while (!writing)
                usleep(1000);
        apiserver_stop(f->s, 0); /* no grace: the client is cut off, */
        assert_true(written);    /* the call is not */
        assert_int_equal(answer_on(f, fd).n, 0);
        fixture_teardown(state);
}

static void *stop(void *arg) {
        apiserver_stop(arg, 5000);
        return NULL;
}

static void who_comes_too_late_is_told_to_come_again(void **state) {
        static const char *const args[] = { "shutdown-send-retry-after=true", NULL };
        static const char get[] = "GET /version HTTP/1.1\r\nHost: x\r\n\r\n";
        struct fixture *f = serve(state, args);
        pthread_t stopper;
        struct str r;
        int fd;

        slow = true;
        fd = client(f, POST);
        while (!writing)
                usleep(1000);
        pthread_create(&stopper, NULL, stop, f->s);
        while (!atomic_load(&f->s->refusing))
                usleep(1000);
        r = answer_on(f, client(f, get));
        assert_true(str_has_prefix(r, STR("HTTP/1.1 429 ")) && str_search(r, STR("\r\nRetry-After: 5\r\n")) > 0 &&
                    str_search(r, STR("\r\nConnection: close\r\n")) > 0);
        assert_true(str_has_suffix(r, STR("\r\n\r\nThe apiserver is shutting down, please try again later.\n")));
        r = answer_on(f, client(f, "GET /readyz HTTP/1.0\r\n\r\n"));
        assert_true(str_search(r, STR("[-]shutdown failed: reason withheld\n")) > 0);
        assert_true(str_has_prefix(answer_on(f, fd), STR("HTTP/1.1 201 ")));
        pthread_join(stopper, NULL);
        fixture_teardown(state);
}

static void *stop_soon(void *arg) {
        apiserver_stop(arg, 1000);
        return NULL;
}

/* Also more than end in one turn; each is told that it ends. */
static void watches_end_in_turns(void **state) {
        static const char *const args[] = { "shutdown-watch-termination-grace-period=1h", NULL };
        struct fixture *f = serve(state, args);
        pthread_t stopper;
        int fds[25];

        for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
                char c;

                fds[i] = client(f, "GET /api/v1/configmaps?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n");
                assert_int_equal(recv(fds[i], &c, 1, 0), 1);
        }
        pthread_create(&stopper, NULL, stop_soon, f->s);
        for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
                assert_true(str_has_suffix(answer_on(f, fds[i]), STR("\r\n0\r\n\r\n")));
        pthread_join(stopper, NULL);
        fixture_teardown(state);
}

static void a_server_lives_before_it_is_ready(void **state) {
        static const char *const args[] = { "livez-grace-period=1h", NULL };
        static const struct {
                const char *path, *status;
                const char *const *args;
        } table[] = {
                { "/livez", "200", args },   { "/livez/autoregister-completion", "200", args },
                { "/livez", "500", NULL },   { "/readyz", "500", args },
                { "/healthz", "500", args },
        };
        struct fixture *f = serve(state, args);

        atomic_store(&f->s->ready, false);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r;

                f->s->options.args = table[i].args;
                r = answer_on(f, client(f, arena_printf(f->a, "GET %s HTTP/1.0\r\n\r\n", table[i].path).p));
                if (!str_has_prefix(r, arena_printf(f->a, "HTTP/1.0 %s ", table[i].status)))
                        fail_msg("%s: %s", table[i].path, arena_cstr(f->a, r));
        }
        atomic_store(&f->s->ready, true);
        fixture_teardown(state);
}

static void nobody_is_asked_for_a_body_that_cannot_be_read(void **state) {
#define EXPECT "HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        static const char *const requests[] = {
                "POST /api/v1/namespaces/default/configmaps " EXPECT "Content-Type: a/b\r\n\r\n",
                "PUT /api/v1/namespaces/default/configmaps/x " EXPECT "Content-Type: a/b\r\n\r\n",
                "PATCH /api/v1/namespaces/default/configmaps/x " EXPECT "Content-Type: a/b\r\n\r\n",
        };
        struct fixture *f = serve(state, NULL);

        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                struct str r = answer_on(f, client(f, requests[i]));

                if (!str_has_prefix(r, STR("HTTP/1.1 415 ")) || str_search(r, STR("\r\nConnection: close\r\n")) < 0)
                        fail_msg("%s%s", requests[i], arena_cstr(f->a, r));
        }
        fixture_teardown(state);
}

static void pages_of_allowed_origins_may_use_the_api(void **state) {
        static const char *const args[] = { "cors-allowed-origins=//example\\.com(:|$),^http://localhost:", NULL };
        static const struct {
                const char *request, *status;
                bool allowed;
        } table[] = {
                { "OPTIONS /api HTTP/1.0\r\nOrigin: https://example.com\r\n\r\n", "204", true },
                { "GET /version HTTP/1.0\r\nOrigin: http://localhost:8080\r\n\r\n", "200", true },
                { "GET /version HTTP/1.0\r\nOrigin: https://example.com.evil\r\n\r\n", "200", false },
                { "OPTIONS /api HTTP/1.0\r\nOrigin: https://evil\r\n\r\n", "405", false },
                { "GET /version HTTP/1.0\r\n\r\n", "200", false },
        };
        struct fixture *f = serve(state, args);

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r = answer_on(f, client(f, table[i].request));

                if (!str_has_prefix(r, arena_printf(f->a, "HTTP/1.0 %s ", table[i].status)) ||
                    (str_search(r, STR("\r\nAccess-Control-Allow-Origin: http")) > 0) != table[i].allowed)
                        fail_msg("%s%s", table[i].request, arena_cstr(f->a, r));
        }
        fixture_teardown(state);
}

static void without_levels_so_many_run_at_once(void **state) {
        static const char *const args[] = { "enable-priority-and-fairness=false", "max-mutating-requests-inflight=1",
                                            NULL };
        struct fixture *f = serve(state, args);
        struct str r;
        int fd;

        slow = true;
        fd = client(f, POST);
        while (!writing)
                usleep(1000);
        r = answer_on(f, client(f, "POST /api/v1/namespaces HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"));
        assert_true(str_has_prefix(r, STR("HTTP/1.0 429 ")) && str_search(r, STR("\r\nRetry-After: 1\r\n")) > 0);
        assert_true(str_search(r, STR("x-kubernetes-pf-")) < 0);
        r = answer_on(f, client(f, "GET /api/v1/namespaces HTTP/1.0\r\n\r\n"));
        assert_true(str_has_prefix(r, STR("HTTP/1.0 200 ")));
        apiserver_stop(f->s, 5000);
        assert_true(str_has_prefix(answer_on(f, fd), STR("HTTP/1.1 201 ")));
        fixture_teardown(state);
}

static void who_comes_while_a_server_drains_is_refused(void **state) {
        struct fixture *f = serve(state, NULL);
        size_t half = strlen(POST) - 5;
        uint16_t port = apiserver_port(f->s);
        int fd = client(f, arena_printf(f->a, "%.*s", (int) half, POST).p), other, r;
        pthread_t t;

        pthread_create(&t, NULL, stop, f->s);
        do {
                r = knock(port, &other);
                close(other);
                usleep(1000);
        } while (r == 0);
        assert_int_equal(send(fd, &POST[half], 5, MSG_NOSIGNAL), 5); /* what has begun goes on */
        assert_true(str_has_prefix(answer_on(f, fd), STR("HTTP/1.1 201 ")));
        pthread_join(t, NULL);
        fixture_teardown(state);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_worker_does_not_end_before_the_store_has_answered_it),
                cmocka_unit_test(who_comes_while_a_server_drains_is_refused),
                cmocka_unit_test(who_comes_too_late_is_told_to_come_again),
                cmocka_unit_test(watches_end_in_turns),
                cmocka_unit_test(a_server_lives_before_it_is_ready),
                cmocka_unit_test(without_levels_so_many_run_at_once),
                cmocka_unit_test(nobody_is_asked_for_a_body_that_cannot_be_read),
                cmocka_unit_test(pages_of_allowed_origins_may_use_the_api),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
