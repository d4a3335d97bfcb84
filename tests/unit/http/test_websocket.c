/* WebSocket: frames by hand against our server. */
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

#define HANDSHAKE                                                                                  \
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n" \
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

static void put_length(uint8_t *p, size_t n) {
        for (int i = 7; i >= 0; i--, n >>= 8)
                p[i] = (uint8_t) n;
}

static void send_all(int fd, const uint8_t *p, size_t n) {
        while (n > 0) {
                ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

                assert_true(k > 0);
                p += k;
                n -= (size_t) k;
        }
}

static void frame(int fd, unsigned first, const void *p, size_t n, bool masked) {
        size_t at = 2 + (n < 126 ? 0u : n <= UINT16_MAX ? 2u : 8u) + (masked ? 4u : 0u);
        uint8_t *b = xmalloc(at + n + 8), mask[4] = { 1, 2, 3, 4 }, length[8];

        put_length(length, n);
        b[0] = (uint8_t) first;
        b[1] = (uint8_t) ((n < 126 ? n : n <= UINT16_MAX ? 126 : 127) | (masked ? 0x80 : 0));
        memcpy(b + 2, n < 126 ? mask : n <= UINT16_MAX ? length + 6 : length, n <= UINT16_MAX ? 2 : 8);
        if (masked)
                memcpy(b + at - 4, mask, 4);
        for (size_t i = 0; i < n; i++)
                b[at + i] = ((const uint8_t *) p)[i] ^ (masked ? mask[i & 3] : 0);
        send_all(fd, b, at + n);
        free(b);
}

static void expect(int fd, const void *want, size_t n) {
        uint8_t *got = xmalloc(n + 1);
        size_t have = 0;

        while (have < n) {
                ssize_t k = recv(fd, got + have, n - have, 0);

                assert_true(k > 0);
                have += (size_t) k;
        }
        assert_memory_equal(got, want, n);
        free(got);
}

static void echoes_messages_of_all_sizes(void **state) {
        static const size_t sizes[] = { 0, 1, 125, 126, 127, 1000, 1024, 65535, 65536, 100000 };
        static uint8_t message[100000];
        int fd = handshake(state);

        for (size_t i = 0; i < sizeof(message); i++)
                message[i] = (uint8_t) (i * 7);
        for (size_t i = 0; i < ARRAY_SIZE(sizes) * 3; i++) {
                size_t n = sizes[i % ARRAY_SIZE(sizes)];
                uint8_t head[10] = { 0x82, (uint8_t) n }, length[8];

                put_length(length, n);
                if (n >= 126) {
                        head[1] = n <= UINT16_MAX ? 126 : 127;
                        memcpy(head + 2, n <= UINT16_MAX ? length + 6 : length, n <= UINT16_MAX ? 2 : 8);
                }
                frame(fd, 0x82, message, n, true);
                expect(fd, head, n < 126 ? 2 : n <= UINT16_MAX ? 4 : 10);
                expect(fd, message, n);
        }
        close(fd);
        wait_for(&closes, 1);
}

static void text_is_its_own_copy(void **state) {
        static uint8_t message[2000];
        int fd = handshake(state);

        memset(message, 'a', sizeof(message));
        memcpy(message, "as text", 7);
        frame(fd, 0x82, message, sizeof(message), true);
        expect(fd, "\x81\x7e\x07\xd0", 4);
        expect(fd, message, sizeof(message));
        close(fd);
        wait_for(&closes, 1);
}

static void chooses_the_clients_first_protocol(void **state) {
        struct fixture *f = *state;
        char *a = raw_request(f->port, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                       "Sec-WebSocket-Protocol: x, v4.channel.k8s.io, v5.channel.k8s.io\r\n\r\n"
                                       "\x88\x80\x01\x02\x03\x04");

        assert_non_null(strstr(a, "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n"));
        free(a);
        a = raw_request(f->port, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                 "Sec-WebSocket-Protocol: x, V4.channel.k8s.io\r\n\r\n");
        assert_non_null(strstr(a, "HTTP/1.1 403 Forbidden\r\n"));
        assert_null(strstr(a, "upgrade"));
        free(a);
}

static void joins_fragments_and_answers_pings_between(void **state) {
        int fd = handshake(state);

        frame(fd, 0x02, "ab", 2, true);
        frame(fd, 0x89, "hi", 2, true);
        frame(fd, 0x00, "cd", 2, true);
        frame(fd, 0x80, "ef", 2, true);
        expect(fd,
               "\x8a\x02hi\x82\x06"
               "abcdef",
               12);
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
                { 0x82, "x", 1, false, 1002 },                 /* not masked */
                { 0xc2, "x", 1, true, 1002 },                  /* a reserved bit */
                { 0x83, "x", 1, true, 1002 },                  /* a reserved opcode */
                { 0x80, "x", 1, true, 1002 },                  /* continues nothing */
                { 0x09, "x", 1, true, 1002 },                  /* a fragmented ping */
                { 0x88, "x", 1, true, 1002 },                  /* half a code */
                { 0x82, "\0\0\0\0\4\0\0\0", 127, true, 1009 }, /* 64 MiB */
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
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "not websocket protocol" },
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: "
                  "websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "\r\n",
                  "mismatch challenge/response" },
                { "POST /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
                  "405 Method Not Allowed" },
                { "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: "
                  "websocket\r\nSec-WebSocket-Version: 8\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                  "Sec-WebSocket-Version: 13\r\n" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                char *a = raw_request(f->port, bad[i].request);

                if (!strstr(a, bad[i].want))
                        fail_msg("no %s in %s", bad[i].want, a);
                free(a);
        }
}

static void takes_frames_byte_by_byte_and_right_behind_the_handshake(void **state) {
        static const char together[] = HANDSHAKE "\x82\x85\x01\x02\x03\x04"
                                                 "\x69\x67\x6f\x68\x6e";
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
                cmocka_unit_test_setup_teardown(text_is_its_own_copy, setup, teardown),
                cmocka_unit_test_setup_teardown(chooses_the_clients_first_protocol, setup, teardown),
                cmocka_unit_test_setup_teardown(joins_fragments_and_answers_pings_between, setup, teardown),
                cmocka_unit_test_setup_teardown(closes_with_the_right_code, setup, teardown),
                cmocka_unit_test_setup_teardown(refuses_bad_handshakes, setup, teardown),
                cmocka_unit_test_setup_teardown(takes_frames_byte_by_byte_and_right_behind_the_handshake, setup,
                                                teardown),
        };

        return cmocka_run_group_tests_name("websocket", tests, NULL, NULL);
}
