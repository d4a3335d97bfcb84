/* Our client against our server: both versions of HTTP, plain and TLS, certificates, trouble. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/time.h"
#include "helper.h"

enum mode { PLAIN_H1, PLAIN_H2, TLS_H1, TLS_H2 };

struct both {
        struct fixture *f;
        struct http_client *c;
        struct tls_context *tls;
        enum mode mode;
};

static int setup(void **state, enum mode mode) {
        struct both *b = xcalloc(1, sizeof(*b));
        bool tls = mode >= TLS_H1, h2 = mode == PLAIN_H2 || mode == TLS_H2;

        b->mode = mode;
        b->f = fixture_new(NULL, tls);
        b->tls = tls ? client_tls(h2, NULL, NULL) : NULL;
        b->c = client_new(b->f, &(struct http_client_options) { .tls = b->tls, .http2 = h2 });
        *state = b;
        return 0;
}

static int setup_plain_h1(void **state) {
        return setup(state, PLAIN_H1);
}
static int setup_plain_h2(void **state) {
        return setup(state, PLAIN_H2);
}
static int setup_tls_h1(void **state) {
        return setup(state, TLS_H1);
}
static int setup_tls_h2(void **state) {
        return setup(state, TLS_H2);
}

static int teardown(void **state) {
        struct both *b = *state;

        client_free(b->f, b->c);
        fixture_free(b->f);
        tls_context_unref(b->tls);
        free(b);
        return 0;
}

static void expect_ok(struct reply r, const char *part) {
        if (r.err || r.status != 200 || str_search(buf_str(&r.body), str_of(part)) < 0)
                fail_msg("err %d (%s) status %d body %.200s", r.err, r.error, r.status, r.body.p ? r.body.p : "");
        reply_free(&r);
}

static void gets_and_posts(void **state) {
        struct both *b = *state;
        struct http_header h = { STR("Content-Type"), STR("application/json") };
        struct reply r;
        char *big = xmalloc(2 * 1024 * 1024);

        expect_ok(get(b->f, b->c, "/path?a=b"),
                  b->mode == PLAIN_H2 || b->mode == TLS_H2 ? "GET /path ?a=b h2=1" : "h2=0");
        expect_ok(call(b->f, b->c, &(struct http_call_options) { .path = STR("/x"), .go_agent = true, .gunzip = true }),
                  b->mode == PLAIN_H2 || b->mode == TLS_H2 ? "user-agent: Go-http-client/2.0"
                                                           : "user-agent: Go-http-client/1.1");
        expect_ok(get(b->f, b->c, "/later"), "later");
        expect_ok(get(b->f, b->c, "/ticks"), "tick\ntick\ntick\ntick\ntick\n");
        memset(big, 'z', 2 * 1024 * 1024);
        r = call(b->f, b->c,
                 &(struct http_call_options) { .method = "POST",
                                               .path = STR("/echo"),
                                               .headers = &h,
                                               .n_headers = 1,
                                               .body = str_n(big, 2 * 1024 * 1024) });
        assert_int_equal(r.err, 0);
        assert_string_equal(r.type, "application/json");
        assert_int_equal(r.body.n, 2 * 1024 * 1024);
        assert_memory_equal(r.body.p, big, r.body.n);
        reply_free(&r);
        r = call(b->f, b->c, &(struct http_call_options) { .method = "HEAD", .path = STR("/x") });
        assert_int_equal(r.status, 200);
        assert_int_equal(r.body.n, 0);
        reply_free(&r);
        expect_ok(get(b->f, b->c, "/again"), "/again");
        free(big);
}

static void a_value_ends_no_line(void **state) {
        struct both *b = *state;
        struct http_header h = { STR("x-remote-user"), STR("a\r\nx-evil: 1") };

        expect_ok(call(b->f, b->c,
                       &(struct http_call_options) {
                                       .method = "GET", .path = STR("/x"), .headers = &h, .n_headers = 1 }),
                  "x-remote-user: a  x-evil: 1\n");
}

static void a_value_may_end_with_a_space(void **state) {
        struct both *b = *state;
        struct http_header h = { STR("user-agent"), STR("e2e.test -- a spec ") };

        expect_ok(call(b->f, b->c,
                       &(struct http_call_options) {
                                       .method = "GET", .path = STR("/x"), .headers = &h, .n_headers = 1 }),
                  "user-agent: e2e.test -- a spec");
}

static void refuses_a_body_past_the_limit(void **state) {
        struct both *b = *state;
        char *big = xcalloc(1, 4 * 1024 * 1024);
        struct reply r = call(b->f, b->c,
                              &(struct http_call_options) { .method = "POST",
                                                            .path = STR("/echo"),
                                                            .body = str_n(big, 4 * 1024 * 1024) });

        assert_int_equal(r.err, 0);
        assert_int_equal(r.status, 413);
        assert_true(str_search(buf_str(&r.body), STR("limit is 3145728")) >= 0);
        reply_free(&r);
        expect_ok(get(b->f, b->c, "/again"), "/again");
        free(big);
}

static void sends_a_body_of_any_size_where_it_is_passed_on(void **state) {
        struct both *b = *state;
        char *big = xcalloc(1, 20 * 1024 * 1024);

        expect_ok(call(b->f, b->c,
                       &(struct http_call_options) {
                                       .method = "POST", .path = STR("/sink"), .body = str_n(big, 20 * 1024 * 1024) }),
                  "20971520 bytes");
        for (int i = 0; i < 10; i++) { /* what nobody took is no part of the connection's window */
                struct reply r = call(b->f, b->c,
                                      &(struct http_call_options) { .method = "POST",
                                                                    .path = STR("/refused"),
                                                                    .body = str_n(big, 2 * 1024 * 1024) });

                if (r.err == 0)
                        assert_int_equal(r.status, 403);
                reply_free(&r);
        }
        expect_ok(get(b->f, b->c, "/again"), "/again");
        free(big);
}

struct pieces {
        struct both *b;
        struct http_call *call;
        struct http_call_options o;
        struct buf answer;
        int err, n_sent;
        sem_t done;
};

static void piece_sent(struct http_call *c, void *arg) {
        struct pieces *p = arg;
        static char block[100000];

        while (p->n_sent < 50 && http_call_unsent(c) < 200000) {
                p->n_sent++;
                http_call_send(c, str_n(block, sizeof(block)), p->n_sent == 50);
        }
}

static void pieces_done(struct http_call *c, int err, const struct error *e, void *arg) {
        struct pieces *p = arg;

        p->err = err;
        sem_post(&p->done);
}

static void pieces_start(void *arg) {
        struct pieces *p = arg;

        p->call = http_client_call(p->b->c, &p->o);
        piece_sent(p->call, p);
}

static void sends_a_body_in_pieces(void **state) {
        struct pieces p = { .b = *state };
        int status;

        sem_init(&p.done, 0, 0);
        for (int known = 0; known < 2; known++) {
                p.n_sent = 0;
                p.o = (struct http_call_options) { .method = "POST",
                                                   .path = STR("/sink"),
                                                   .streams = true,
                                                   .body_length = known ? 5000000 : -1,
                                                   .status = &status,
                                                   .answer = &p.answer,
                                                   .max_answer = 1000,
                                                   .on_sent = piece_sent,
                                                   .on_done = pieces_done,
                                                   .arg = &p };
                loop_call(p.b->f->loop, pieces_start, &p);
                while (sem_wait(&p.done) < 0)
                        ;
                assert_int_equal(p.err, 0);
                assert_int_equal(status, 200);
                assert_true(str_eqc(buf_str(&p.answer), "5000000 bytes"));
                buf_free(&p.answer);
        }
        sem_destroy(&p.done);
}

static void takes_big_answers(void **state) {
        struct both *b = *state;
        struct reply r;

        atomic_store(&releases, 0);
        r = get(b->f, b->c, "/big");
        assert_int_equal(r.err, 0);
        assert_int_equal(r.body.n, BIG_ITEM * BIG_ITEMS);
        assert_int_equal(atomic_load(&releases), BIG_ITEMS);
        reply_free(&r);
        r = get(b->f, b->c, "/flood");
        assert_int_equal(r.err, 0);
        assert_int_equal(r.body.n, 200 * 64 * 1024);
        wait_for(&releases, BIG_ITEMS + 200);
        reply_free(&r);
}

static void times_out(void **state) {
        struct both *b = *state;
        struct reply r;

        atomic_store(&closes, 0);
        r = call(b->f, b->c, &(struct http_call_options) { .path = STR("/never"), .timeout_ms = 300 });
        assert_int_equal(r.err, -ETIMEDOUT);
        assert_non_null(strstr(r.error, "context deadline exceeded"));
        reply_free(&r);
        r = call(b->f, b->c, &(struct http_call_options) { .path = STR("/watch"), .timeout_ms = 300 });
        assert_int_equal(r.err, -ETIMEDOUT);
        assert_string_equal(buf_str(&r.body).p ? "begun" : "", "begun");
        reply_free(&r);
        wait_for(&closes, 2); /* the server heard of it */
        expect_ok(get(b->f, b->c, "/again"), "/again");
}

/* Many at once, some of them slow. */
struct many {
        struct both *b;
        struct http_call_options o;
        int left;
        int failed, refused;
        sem_t done;
};

static void many_done(struct http_call *c, int err, const struct error *e, void *arg) {
        struct many *m = arg;

        m->failed += err != 0;
        m->refused += err == -ECONNREFUSED;
        if (--m->left == 0)
                sem_post(&m->done);
}

static void many_start(void *arg) {
        struct many *m = arg;

        for (int i = m->left; i > 0; i--) {
                m->o.path = i % 10 ? STR("/x") : STR("/later");
                http_client_call(m->b->c, &m->o);
        }
}

static void takes_many_calls_at_once(void **state) {
        struct many m = { .b = *state, .left = 500 };

        m.o = (struct http_call_options) { .method = "GET", .on_done = many_done, .arg = &m };
        sem_init(&m.done, 0, 0);
        loop_call(m.b->f->loop, many_start, &m);
        while (sem_wait(&m.done) < 0)
                ;
        assert_int_equal(m.failed, 0);
        sem_destroy(&m.done);
}

/* A body that goes on while the answer comes, and back-pressure by pausing. */
struct duet {
        struct both *b;
        struct http_call *call;
        struct timer timer;
        int paused_seen;
        size_t got;
        bool paused;
        int err;
        sem_t done;
};

static void duet_data(struct http_call *c, struct str data, void *arg) {
        struct duet *d = arg;

        d->paused_seen += d->paused;
        d->got += data.n;
}

static void duet_freed(struct timer *t) {
        sem_post(&container_of(t, struct duet, timer)->done);
}

static void duet_done(struct http_call *c, int err, const struct error *e, void *arg) {
        struct duet *d = arg;

        d->err = err;
        timer_close(&d->timer, duet_freed);
}

static void unpause(struct timer *t) {
        struct duet *d = container_of(t, struct duet, timer);

        d->paused = false;
        http_call_pause(d->call, false);
}

static void pause_at_once(struct http_call *c, int status, const struct http_header *h, size_t n, void *arg) {
        struct duet *d = arg;

        d->paused = true;
        http_call_pause(c, true);
        timer_start(d->b->f->loop, &d->timer, 100, unpause);
}

static void pause_start(void *arg) {
        struct duet *d = arg;

        d->call = http_client_call(d->b->c, &(struct http_call_options) { .path = STR("/flood"),
                                                                          .on_response = pause_at_once,
                                                                          .on_data = duet_data,
                                                                          .on_done = duet_done,
                                                                          .arg = d });
}

static void pauses_a_response(void **state) {
        struct duet d = { .b = *state };

        atomic_store(&releases, 0);
        sem_init(&d.done, 0, 0);
        loop_call(d.b->f->loop, pause_start, &d);
        usleep(80000);
        assert_true(atomic_load(&releases) < 200);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, 0);
        assert_true(d.paused_seen <= 5); /* what was in flight in the same read */
        assert_int_equal(d.got, 200 * 64 * 1024);
        sem_destroy(&d.done);
}

static void cancel_and_free(void *arg) {
        struct duet *d = arg;

        http_call_cancel(d->call);
}

static void cancels(void **state) {
        struct duet d = { .b = *state };

        atomic_store(&closes, 0);
        atomic_store(&releases, 0);
        sem_init(&d.done, 0, 0);
        loop_call(d.b->f->loop, pause_start, &d);
        wait_for(&releases, 1); /* the answer has begun */
        loop_call_sync(d.b->f->loop, cancel_and_free, &d);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, -ECANCELED);
        wait_for(&closes, 1);
        sem_destroy(&d.done);
        expect_ok(get(d.b->f, d.b->c, "/again"), "/again");
}

static void freeing_the_client_ends_calls(void **state) {
        struct both *b = *state;
        struct duet d = { .b = b };

        sem_init(&d.done, 0, 0);
        loop_call(b->f->loop, pause_start, &d);
        usleep(50000);
        client_free(b->f, b->c);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, -ECANCELED);
        sem_destroy(&d.done);
        b->c = client_new(b->f, &(struct http_client_options) { .tls = b->tls });
}

static void reconnects_after_the_server_restarted(void **state) {
        struct both *b = *state;
        struct http_server_options o = { .port = b->f->port, .workers = 1 };
        struct fixture *second;

        expect_ok(get(b->f, b->c, "/one"), "/one");
        http_server_stop(b->f->server, 100);
        second = fixture_new(&o, b->tls != NULL);
        for (int i = 0; i < 3; i++)
                expect_ok(get(b->f, b->c, "/two"), "/two");
        b->f->server = second->server; /* it is stopped by the teardown */
        loop_end(second->loop);
        tls_context_unref(b->f->tls);
        b->f->tls = second->tls;
        free(second);
}

/* ---- trouble ---- */

static void says_what_went_wrong_as_go_does(void **state) {
        struct fixture *f = fixture_new(NULL, false);
        struct tls_context *tls = client_tls(false, NULL, NULL), *stranger;
        struct fixture *secure = fixture_new(NULL, true);
        const struct {
                struct http_client_options o;
                const char *want;
        } cases[] = {
                { { .host = "127.0.0.1", .port = 1 }, "dial tcp 127.0.0.1:1: connect: connection refused" },
                { { .host = "no-such-host.invalid", .port = 1 },
                  "dial tcp: lookup no-such-host.invalid: no such host" },
                { { .unix_path = "/no/such/socket" }, "dial unix /no/such/socket: connect: no such file or directory" },
                { { .port = f->port, .tls = tls }, "http: server gave HTTP response to HTTPS client" },
                { { .port = secure->port, .tls = tls, .server_name = "elsewhere" },
                  "tls: failed to verify certificate: x509: certificate is not valid for this name" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct http_client *c = client_new(f, &cases[i].o);
                struct reply r = get(f, c, "/");

                assert_true(r.err < 0);
                assert_string_equal(r.error, cases[i].want);
                reply_free(&r);
                client_free(f, c);
        }
        assert_int_equal(tls_context_new(&(struct tls_options) { 0 }, &stranger, NULL), 0);
        {
                struct http_client *c = client_new(secure, &(struct http_client_options) { .tls = stranger });
                struct reply r = get(secure, c, "/");

                assert_string_equal(r.error,
                                    "tls: failed to verify certificate: x509: certificate signed by unknown authority");
                reply_free(&r);
                client_free(secure, c);
        }
        tls_context_unref(stranger);
        tls_context_unref(tls);
        fixture_free(secure);
        fixture_free(f);
}

static void all_hear_that_there_is_nobody(void **state) {
        struct both b = { .f = fixture_new(NULL, false) };
        struct many m = { .b = &b, .left = 50 };

        b.c = client_new(b.f, &(struct http_client_options) { .host = "127.0.0.1", .port = 1 });
        m.o = (struct http_call_options) { .method = "GET", .on_done = many_done, .arg = &m, .timeout_ms = 20000 };
        sem_init(&m.done, 0, 0);
        loop_call(b.f->loop, many_start, &m);
        while (sem_wait(&m.done) < 0)
                ;
        assert_int_equal(m.refused, 50);
        sem_destroy(&m.done);
        client_free(b.f, b.c);
        fixture_free(b.f);
}

static void a_certificate_is_its_own_authority_when_it_is_trusted(void **state) {
        const struct certs *certs = test_certs();
        struct fixture *f = fixture_new(NULL, true);
        const struct buf *trusted[] = { &certs->cert, &certs->client_cert };

        for (size_t i = 0; i < ARRAY_SIZE(trusted); i++) {
                struct tls_context *tls;
                struct http_client *c;
                struct reply r;

                assert_int_equal(tls_context_new(&(struct tls_options) { .ca_pem = buf_str(trusted[i]) }, &tls, NULL),
                                 0);
                c = client_new(f, &(struct http_client_options) { .tls = tls });
                r = get(f, c, "/one");
                assert_int_equal(r.status, i == 0 ? 200 : 0);
                reply_free(&r);
                client_free(f, c);
                tls_context_unref(tls);
        }
        fixture_free(f);
}

static void a_server_changes_its_certificate(void **state) {
        const struct certs *certs = test_certs();
        const struct buf *pairs[][2] = { { &certs->client_cert, &certs->client_key }, /* for another name */
                                         { &certs->client_cert, &certs->key },        /* refused: of two */
                                         { &certs->cert, &certs->key } };
        struct fixture *f = fixture_new(NULL, true);
        struct tls_context *tls = client_tls(true, NULL, NULL);

        for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
                struct tls_options o = {
                        .server = true, .http2 = true, .cert_pem = buf_str(pairs[i][0]), .key_pem = buf_str(pairs[i][1])
                };
                struct http_client *c = client_new(f, &(struct http_client_options) { .tls = tls });
                struct reply r;

                assert_int_equal(tls_context_renew(f->tls, &o, NULL) < 0, i == 1);
                r = get(f, c, "/one");
                assert_int_equal(r.status, i == 2 ? 200 : 0);
                reply_free(&r);
                client_free(f, c);
        }
        tls_context_unref(tls);
        fixture_free(f);
}

/* A server that accepts and says nothing. */
static void upgrade_done(const struct http_upgrade_result *r, void *arg) {
        struct duet *d = arg;

        d->err = r->err;
        sem_post(&d->done);
}

static void upgrade_unwanted(const struct http_upgrade_result *r, void *arg) {
        struct duet *d = arg;

        d->err = r->err;
        if (r->duplex)
                duplex_close(r->duplex);
        sem_post(&d->done);
}

static void upgrade_unwanted_start(void *arg) {
        static const struct http_header h[] = { { STR_INIT("Connection"), STR_INIT("Upgrade") },
                                                { STR_INIT("Upgrade"), STR_INIT("echo") } };
        struct duet *d = arg;

        http_client_upgrade(d->b->c,
                            &(struct http_call_options) {
                                            .method = "POST", .path = STR("/raw"), .headers = h, .n_headers = 2 },
                            upgrade_unwanted, d);
}

/* Nobody ever says what to do with it: it goes, and its memory with it. */
static void an_upgrade_that_nobody_waits_for_any_more_is_closed(void **state) {
        struct both *b = *state;
        struct duet d = { .b = b };

        atomic_store(&closes, 0);
        sem_init(&d.done, 0, 0);
        loop_call(b->f->loop, upgrade_unwanted_start, &d);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, 0);
        wait_for(&closes, 1);
        sem_destroy(&d.done);
}

static void upgrade_start(void *arg) {
        struct duet *d = arg;

        http_client_upgrade(d->b->c, &(struct http_call_options) { .path = STR("/never"), .timeout_ms = 50 },
                            upgrade_done, d);
}

static void gives_up_on_a_silent_upgrade(void **state) {
        struct both *b = *state;
        struct duet d = { .b = b };
        struct both deaf = { .f = b->f };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof(a);

        sem_init(&d.done, 0, 0);
        loop_call(b->f->loop, upgrade_start, &d);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, -ETIMEDOUT);
        /* and while the TLS handshake gets no answer */
        bind(fd, (struct sockaddr *) &a, sizeof(a));
        listen(fd, 5);
        getsockname(fd, (struct sockaddr *) &a, &n);
        deaf.tls = client_tls(false, NULL, NULL);
        deaf.c = client_new(b->f, &(struct http_client_options) { .port = ntohs(a.sin_port), .tls = deaf.tls });
        d.b = &deaf;
        loop_call(b->f->loop, upgrade_start, &d);
        while (sem_wait(&d.done) < 0)
                ;
        assert_int_equal(d.err, -ETIMEDOUT);
        client_free(b->f, deaf.c);
        tls_context_unref(deaf.tls);
        close(fd);
        sem_destroy(&d.done);
}

static void shows_client_certificates(void **state) {
        const struct certs *certs = test_certs();
        struct fixture *f = fixture_new(NULL, true);
        struct tls_context *tls[] = {
                client_tls(true, NULL, NULL),
                client_tls(true, &certs->client_cert, &certs->client_key),
                client_tls(false, &certs->client_cert, &certs->client_key),
                client_tls(true, &certs->other_cert, &certs->other_key),
                client_tls(true, &certs->cert, &certs->key), /* for servers, not for clients */
        };
        static const char *const want[] = { "none", "cn=admin o=system:masters o=second sha=64 by=64 uid=7",
                                            "cn=admin o=system:masters o=second sha=64 by=64 uid=7", "invalid",
                                            "invalid" };

        for (size_t i = 0; i < ARRAY_SIZE(tls); i++) {
                struct http_client *c = client_new(f, &(struct http_client_options) { .tls = tls[i], .http2 = true });
                struct reply r = get(f, c, "/cert");

                assert_int_equal(r.err, 0);
                assert_int_equal(r.body.n, strlen(want[i]));
                assert_memory_equal(r.body.p, want[i], r.body.n);
                reply_free(&r);
                client_free(f, c);
                tls_context_unref(tls[i]);
        }
        fixture_free(f);
}

static void certificates_are_for_whom_go_has_them(void **state) {
        static const char *const table[][3] = {
                { "CN=a", "anyExtendedKeyUsage", "cn=a sha=64 by=64 uid=" },
                { "CN=a", "serverAuth,clientAuth", "cn=a sha=64 by=64 uid=" },
                { "CN=a", "codeSigning", "invalid" },
                { "O=b", "clientAuth", "cn= o=b sha=64 by=64 uid=" },
                { "CN=a/UID=1/UID=2", "clientAuth", "cn=a sha=64 by=64 uid=1 spoilt" },
                { "UID=1/UID=2", "clientAuth", "cn= sha=64 by=64 uid=1" },
        };
        struct fixture *f = fixture_new(NULL, true);

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT;
                struct tls_context *tls;
                struct http_client *c;
                struct reply r;

                test_cert_for(table[i][0], table[i][1], 3600, &cert, &key);
                tls = client_tls(true, &cert, &key);
                c = client_new(f, &(struct http_client_options) { .tls = tls, .http2 = true });
                r = get(f, c, "/cert");
                assert_int_equal(r.err, 0);
                assert_true(str_eqc(buf_str(&r.body), table[i][2]));
                reply_free(&r);
                client_free(f, c);
                tls_context_unref(tls);
        }
        fixture_free(f);
}

static void a_certificate_expires_while_its_connection_lives(void **state) {
        struct fixture *f = fixture_new(NULL, true);
        _cleanup_buf_ struct buf cert = BUF_INIT, key = BUF_INIT;
        struct tls_context *tls;
        struct http_client *c;
        static const char *const want[] = { "cn=brief", "invalid" };

        test_cert_for("CN=brief", "clientAuth", 2, &cert, &key);
        tls = client_tls(true, &cert, &key);
        c = client_new(f, &(struct http_client_options) { .tls = tls, .http2 = true });
        for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
                struct reply r = get(f, c, "/cert");

                assert_int_equal(r.err, 0);
                assert_true(str_has_prefix(buf_str(&r.body), str_of(want[i])));
                reply_free(&r);
                if (i == 0)
                        usleep(3100000);
        }
        client_free(f, c);
        tls_context_unref(tls);
        fixture_free(f);
}

static void refuses_bad_certificates_with_a_reason(void **state) {
        struct tls_context *tls = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;

        assert_int_equal(tls_context_new(&(struct tls_options) { .server = true,
                                                                 .cert_pem = STR("x"),
                                                                 .key_pem = STR("y") },
                                         &tls, &err),
                         -EINVAL);
        assert_null(tls);
        assert_non_null(strstr(error_text(&err), "certificate"));
}

static void speaks_over_a_unix_socket(void **state) {
        char path[] = "/tmp/cube-test-http-XXXXXX";
        struct sockaddr_un un = { .sun_family = AF_UNIX };
        struct http_server_options o = { .workers = 1 };
        struct http_server *s;
        struct fixture *f = fixture_new(NULL, false);
        struct http_client *c[2];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        assert_non_null(mkdtemp(path));
        snprintf(un.sun_path, sizeof(un.sun_path), "%s/s", path);
        assert_int_equal(bind(fd, (struct sockaddr *) &un, sizeof(un)), 0);
        assert_int_equal(listen(fd, 10), 0);
        o.listen_fd = fd;
        o.handler = fixture_handler;
        assert_int_equal(http_server_start(&o, &s, NULL), 0);
        for (int h2 = 0; h2 < 2; h2++) {
                c[h2] = client_new(f, &(struct http_client_options) { .unix_path = un.sun_path, .http2 = h2 });
                expect_ok(get(f, c[h2], "/unix"), h2 ? "h2=1" : "h2=0");
                client_free(f, c[h2]);
        }
        http_server_stop(s, 100);
        unlink(un.sun_path);
        rmdir(path);
        fixture_free(f);
}

#define IN_ALL_MODES(t)                                                               \
        cmocka_unit_test_setup_teardown(t, setup_plain_h1, teardown),                 \
                        cmocka_unit_test_setup_teardown(t, setup_plain_h2, teardown), \
                        cmocka_unit_test_setup_teardown(t, setup_tls_h1, teardown),   \
                        cmocka_unit_test_setup_teardown(t, setup_tls_h2, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                IN_ALL_MODES(gets_and_posts),
                IN_ALL_MODES(a_value_may_end_with_a_space),
                IN_ALL_MODES(refuses_a_body_past_the_limit),
                IN_ALL_MODES(takes_big_answers),
                IN_ALL_MODES(sends_a_body_of_any_size_where_it_is_passed_on),
                cmocka_unit_test_setup_teardown(sends_a_body_in_pieces, setup_plain_h1, teardown),
                cmocka_unit_test_setup_teardown(sends_a_body_in_pieces, setup_tls_h1, teardown),
                IN_ALL_MODES(times_out),
                IN_ALL_MODES(takes_many_calls_at_once),
                IN_ALL_MODES(pauses_a_response),
                IN_ALL_MODES(cancels),
                IN_ALL_MODES(freeing_the_client_ends_calls),
                IN_ALL_MODES(reconnects_after_the_server_restarted),
                cmocka_unit_test_setup_teardown(an_upgrade_that_nobody_waits_for_any_more_is_closed, setup_plain_h1,
                                                teardown),
                cmocka_unit_test_setup_teardown(gives_up_on_a_silent_upgrade, setup_plain_h1, teardown),
                cmocka_unit_test_setup_teardown(a_value_ends_no_line, setup_plain_h1, teardown),
                cmocka_unit_test(says_what_went_wrong_as_go_does),
                cmocka_unit_test(all_hear_that_there_is_nobody),
                cmocka_unit_test(a_certificate_is_its_own_authority_when_it_is_trusted),
                cmocka_unit_test(a_server_changes_its_certificate),
                cmocka_unit_test(shows_client_certificates),
                cmocka_unit_test(certificates_are_for_whom_go_has_them),
                cmocka_unit_test(a_certificate_expires_while_its_connection_lives),
                cmocka_unit_test(refuses_bad_certificates_with_a_reason),
                cmocka_unit_test(speaks_over_a_unix_socket),
        };

        return cmocka_run_group_tests_name("http client", tests, NULL, NULL);
}
