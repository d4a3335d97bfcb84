/* WebSocket: our client against our server, and frames by hand against our server. */
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper.h"

static int setup(void **state) {
        *state = fixture_new(NULL, false);
        atomic_store(&closes, 0);
        return 0;
}

static int teardown(void **state) {
        fixture_free(*state);
        return 0;
}

/* ---- client and server ---- */

struct talk {
        struct fixture *f;
        struct http_client *c;
        struct duplex *ws;
        const char *protocols;
        char chosen[64];
        int err, status, messages;
        size_t sent, bytes, want;
        unsigned code;
        bool wrong;
        sem_t done;
};

static void talk_data(struct duplex *d, struct str data, void *arg) {
        struct talk *t = arg;

        for (size_t i = 0; i < data.n; i++)
                t->wrong |= (unsigned char) data.p[i] != (unsigned char) (i * 7);
        t->messages++;
        t->bytes += data.n;
        if (t->bytes >= t->want)
                duplex_close(d);
}

static void talk_more(struct duplex *d, void *arg) {
        static const size_t sizes[] = { 0, 1, 125, 126, 127, 1000, 65535, 65536, 100000 };
        struct talk *t = arg;

        while (t->sent < ARRAY_SIZE(sizes) * 20 && duplex_pending(d) < 256 * 1024) {
                size_t n = sizes[t->sent++ % ARRAY_SIZE(sizes)];
                char *p = xmalloc(n + 1);

                for (size_t i = 0; i < n; i++)
                        p[i] = (char) (i * 7);
                duplex_write(d, &(struct http_slice) { { p, n }, free, p }, 1);
        }
}

static void talk_close(struct duplex *d, int err, void *arg) {
        struct talk *t = arg;

        t->err = err;
        t->code = websocket_close_code(d);
        sem_post(&t->done);
}

static const struct duplex_ops talk_ops = { talk_data, talk_more, talk_close };

static void talk_begin(const struct http_upgrade_result *r, void *arg) {
        struct talk *t = arg;
        struct str chosen = http_header_get(r->headers, r->n_headers, "sec-websocket-protocol");

        t->status = r->status;
        snprintf(t->chosen, sizeof(t->chosen), "%" STR_FMT, STR_ARG(chosen));
        t->ws = r->duplex;
        if (!r->duplex) {
                t->err = r->err;
                sem_post(&t->done);
                return;
        }
        duplex_set_ops(r->duplex, &talk_ops, t);
        if (t->want)
                talk_more(r->duplex, t);
        else
                duplex_close(r->duplex);
}

static void talk_dial(void *arg) {
        struct talk *t = arg;

        websocket_dial(t->c, STR("/ws"), NULL, 0, t->protocols, talk_begin, t);
}

static void talk_run(struct talk *t) {
        sem_init(&t->done, 0, 0);
        loop_call(t->f->loop, talk_dial, t);
        while (sem_wait(&t->done) < 0)
                ;
        sem_destroy(&t->done);
}

static void echoes_messages_of_all_sizes(void **state) {
        struct talk t = { .f = *state, .want = 20 * (0 + 1 + 125 + 126 + 127 + 1000 + 65535 + 65536 + 100000),
                          .protocols = "v4.channel.k8s.io, v5.channel.k8s.io, x" };

        t.c = client_new(t.f, NULL);
        talk_run(&t);
        assert_int_equal(t.err, 0);
        assert_int_equal(t.status, 101);
        assert_int_equal(t.messages, 180);
        assert_int_equal(t.bytes, t.want);
        assert_false(t.wrong);
        assert_string_equal(t.chosen, "v5.channel.k8s.io");
        assert_int_equal(t.code, 1000);
        client_free(t.f, t.c);
        wait_for(&closes, 1);
}

static void closes_cleanly(void **state) {
        struct talk t = { .f = *state };

        t.c = client_new(t.f, NULL);
        talk_run(&t);
        assert_int_equal(t.err, 0);
        assert_int_equal(t.code, 1000);
        client_free(t.f, t.c);
        wait_for(&closes, 1);
}

static void echoes_over_tls(void **state) {
        struct fixture *f = fixture_new(NULL, true);
        struct tls_context *tls = client_tls(true, NULL, NULL); /* h2 is not offered for upgrades */
        struct talk t = { .f = f, .want = 20 * (0 + 1 + 125 + 126 + 127 + 1000 + 65535 + 65536 + 100000) };

        t.c = client_new(f, &(struct http_client_options) { .tls = tls, .http2 = true });
        talk_run(&t);
        assert_int_equal(t.err, 0);
        assert_int_equal(t.bytes, t.want);
        client_free(f, t.c);
        tls_context_unref(tls);
        fixture_free(f);
}

static void upgrade_start(void *arg) {
        struct talk *t = arg;

        http_client_upgrade(t->c, &(struct http_call_options) { .path = STR("/info") }, talk_begin, t);
}

static void reports_a_refused_upgrade(void **state) {
        struct talk t = { .f = *state };

        t.c = client_new(t.f, NULL);
        sem_init(&t.done, 0, 0);
        loop_call(t.f->loop, upgrade_start, &t);
        while (sem_wait(&t.done) < 0)
                ;
        assert_null(t.ws);
        assert_int_equal(t.status, 200);
        sem_destroy(&t.done);
        client_free(t.f, t.c);
}

/* ---- by hand ---- */

#define HANDSHAKE                                                                                       \
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"      \
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static int handshake(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        raw_send(fd, HANDSHAKE);
        a = raw_read(fd, "\r\n\r\n", 1000);
        assert_non_null(strstr(a, "HTTP/1.1 101 Switching Protocols"));
        assert_non_null(strstr(a, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")); /* RFC 6455 1.3 */
        free(a);
        return fd;
}

static void frame(int fd, unsigned first, const void *p, size_t n, bool masked) {
        uint8_t b[512] = { (uint8_t) first, (uint8_t) (n | (masked ? 0x80 : 0)), 1, 2, 3, 4 };
        size_t at = masked ? 6 : 2;

        for (size_t i = 0; i < n; i++)
                b[at + i] = ((const uint8_t *) p)[i] ^ (masked ? b[2 + (i & 3)] : 0);
        send(fd, b, at + n, MSG_NOSIGNAL);
}

static void expect(int fd, const void *want, size_t n) {
        uint8_t got[512];
        size_t have = 0;

        while (have < n) {
                ssize_t k = recv(fd, got + have, n - have, 0);

                assert_true(k > 0);
                have += (size_t) k;
        }
        assert_memory_equal(got, want, n);
}

static void joins_fragments_and_answers_pings_between(void **state) {
        int fd = handshake(state);

        frame(fd, 0x02, "ab", 2, true);
        frame(fd, 0x89, "hi", 2, true);
        frame(fd, 0x00, "cd", 2, true);
        frame(fd, 0x80, "ef", 2, true);
        expect(fd, "\x8a\x02hi\x82\x06" "abcdef", 12);
        frame(fd, 0x81, "text", 4, true); /* text comes back as bytes */
        expect(fd, "\x82\x04text", 6);
        frame(fd, 0x88, "\x03\xe8", 2, true);
        expect(fd, "\x88\x02\x03\xe8", 4);
        assert_true(raw_closed(fd, 2000));
        close(fd);
}

static void closes_with_the_right_code(void **state) {
        static const struct {
                unsigned first;
                const char *p;
                size_t n;
                bool masked;
                unsigned code;
        } bad[] = {
                { 0x82, "x", 1, false, 1002 },          /* not masked */
                { 0xc2, "x", 1, true, 1002 },           /* a reserved bit */
                { 0x83, "x", 1, true, 1002 },           /* a reserved opcode */
                { 0x80, "x", 1, true, 1002 },           /* continues nothing */
                { 0x09, "x", 1, true, 1002 },           /* a fragmented ping */
                { 0x88, "x", 1, true, 1002 },           /* half a code */
                { 0x82, "\0\0\0\0\0\x20\0\0", 127, true, 1009 }, /* 2 MiB */
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                int fd = handshake(state);
                uint8_t want[2] = { (uint8_t) (bad[i].code >> 8), (uint8_t) bad[i].code }, got[4];

                if (bad[i].n == 127) {
                        uint8_t b[14] = { 0x82, 0xff };

                        memcpy(b + 2, bad[i].p, 8);
                        send(fd, b, sizeof(b), MSG_NOSIGNAL);
                } else
                        frame(fd, bad[i].first, bad[i].p, bad[i].n, bad[i].masked);
                assert_int_equal(recv(fd, got, 4, MSG_WAITALL), 4);
                assert_int_equal(got[0], 0x88);
                assert_memory_equal(got + 2, want, 2);
                assert_true(raw_closed(fd, 2000));
                close(fd);
        }
        wait_for(&closes, (int) ARRAY_SIZE(bad));
}

static void refuses_bad_handshakes(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *request, *want;
        } bad[] = {
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "400 Bad Request" },
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: "
                  "websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: short\r\n\r\n",
                  "400 Bad Request" },
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: "
                  "websocket\r\nSec-WebSocket-Version: 8\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                  "426 Upgrade Required" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *a = raw_request(f->port, bad[i].request);

                assert_non_null(strstr(a, bad[i].want));
                free(a);
        }
}

static void takes_frames_byte_by_byte_and_right_behind_the_handshake(void **state) {
        static const char together[] = HANDSHAKE "\x82\x85\x01\x02\x03\x04" "\x69\x67\x6f\x68\x6e";
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        for (size_t i = 0; i < sizeof(together) - 1; i++)
                send(fd, together + i, 1, MSG_NOSIGNAL);
        a = raw_read(fd, "hello", 2000);
        assert_non_null(strstr(a, "\x82\x05hello"));
        free(a);
        close(fd);
        fd = raw_connect(f->port);
        send(fd, together, sizeof(together) - 1, MSG_NOSIGNAL);
        a = raw_read(fd, "hello", 2000);
        assert_non_null(strstr(a, "\x82\x05hello"));
        free(a);
        close(fd);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(echoes_messages_of_all_sizes, setup, teardown),
                cmocka_unit_test_setup_teardown(closes_cleanly, setup, teardown),
                cmocka_unit_test_setup_teardown(echoes_over_tls, setup, teardown),
                cmocka_unit_test_setup_teardown(reports_a_refused_upgrade, setup, teardown),
                cmocka_unit_test_setup_teardown(joins_fragments_and_answers_pings_between, setup, teardown),
                cmocka_unit_test_setup_teardown(closes_with_the_right_code, setup, teardown),
                cmocka_unit_test_setup_teardown(refuses_bad_handshakes, setup, teardown),
                cmocka_unit_test_setup_teardown(takes_frames_byte_by_byte_and_right_behind_the_handshake, setup,
                                                teardown),
        };

        return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
