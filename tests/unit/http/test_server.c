/* The server as a peer sees it: raw bytes for HTTP/1.1, our client for HTTP/2, and what it does to peers that
 * misbehave. */
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include "base/time.h"
#include "helper.h"

static int setup_plain(void **state) {
        *state = fixture_new(NULL, false);
        return 0;
}

static int teardown(void **state) {
        fixture_free(*state);
        return 0;
}

#define assert_has(text, what) assert_non_null(strstr(text, what))

static void answers(void **state, const char *request, const char *what) {
        struct fixture *f = *state;
        char *a = raw_request(f->port, request);

        if (!a || !strstr(a, what))
                fail_msg("request:\n%s\nwanted: %s\ngot:\n%s", request, what, a ? a : "");
        free(a);
}

static void keeps_alive_and_pipelines(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        raw_send(fd, "GET /one?x=1 HTTP/1.1\r\nHost: a\r\n\r\nGET /later HTTP/1.1\r\nHost: a\r\n\r\n"
                     "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /last HTTP/1.1\r\nHost: a\r\n"
                     "Connection: close\r\n\r\n");
        a = raw_read(fd, NULL, 3000);
        assert_has(a, "GET /one ?x=1 h2=0");
        assert_has(a, "later");
        assert_has(a, "hello");
        assert_has(a, "GET /last");
        assert_true(strstr(a, "/one") < strstr(a, "later") && strstr(a, "later") < strstr(a, "hello"));
        assert_has(a, "Connection: close");
        free(a);
        close(fd);
}

static void takes_bytes_one_by_one(void **state) {
        static const char text[] =
                        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n"
                        "Connection: close\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\n";
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        for (size_t i = 0; i < sizeof(text) - 1; i++)
                send(fd, text + i, 1, MSG_NOSIGNAL);
        a = raw_read(fd, NULL, 3000);
        assert_has(a, "200 OK");
        assert_has(a, "Content-Length: 5");
        assert_has(a, "\r\n\r\nabcde");
        free(a);
        close(fd);
}

static void speaks_http10(void **state) {
        answers(state, "GET /x HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK");
        answers(state, "GET /ticks HTTP/1.0\r\n\r\n", "tick\ntick\ntick\n");
}

static void lower_cases_and_trims_headers(void **state) {
        answers(state, "GET / HTTP/1.1\r\nHost: a\r\nX-Thing:   v 1 \t \r\nX-Empty:\r\nConnection: close\r\n\r\n",
                "x-thing: v 1\nx-empty: \n");
        answers(state, "PROPFIND /dav HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "PROPFIND /dav ");
        answers(state, "GET http://h/abs?q HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "GET /abs ?q h2=0");
}

/* As Go's servers: what fits into their buffer has a length. */
static void only_short_answers_have_a_length(void **state) {
        static const struct {
                const char *version, *method;
                size_t n;
                const char *has, *has_not;
        } cases[] = {
                { "1.1", "POST", 2048, "\r\nContent-Length: 2048\r\n", "chunked" },
                { "1.1", "POST", 2049, "\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n801\r\naa",
                  "Content-Length" },
                { "1.0", "POST", 2049, "\r\n\r\naaa", "Content-Length" },
                { "1.1", "HEAD", 2049, " 200 ", "Content-Length" },
                { "1.1", "HEAD", 0, " 200 ", "Content-Length" },
        };
        struct fixture *f = *state;
        char body[2050];

        memset(body, 'a', sizeof(body));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text =
                                xprintf("%s /echo HTTP/%s\r\nHost: a\r\nConnection: close\r\n"
                                        "Content-Length: %zu\r\n\r\n%.*s",
                                        cases[i].method, cases[i].version, cases[i].n, (int) cases[i].n, body);
                _cleanup_free_ char *a = raw_request(f->port, text);

                assert_has(a, cases[i].has);
                assert_null(strstr(a, cases[i].has_not));
        }
}

#define EXPECTS(path, n) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " n "\r\nExpect: 100-continue\r\n\r\n"

static void says_continue(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        raw_send(fd, EXPECTS("/echo", "2"));
        a = raw_read(fd, "100 Continue\r\n\r\n", 2000);
        assert_has(a, "HTTP/1.1 100 Continue");
        free(a);
        raw_send(fd, "ok");
        a = raw_read(fd, "\r\n\r\nok", 2000);
        assert_has(a, "200 OK");
        free(a);
        close(fd);
        answers(state, EXPECTS("/echo", "2") "ok" EXPECTS("/x", "2"),
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n");
}

/* One that nobody reads is not waited for; what follows on its connection cannot be told from it. */
static void asks_for_no_body_that_is_not_wanted(void **state) {
        static const char *const requests[] = { EXPECTS("/x", "2"),
                                                "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\nbo" };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                char *a = raw_request(f->port, requests[i]);

                assert_int_equal(strncmp(a, "HTTP/1.1 200 OK\r\n", 17), 0);
                assert_has(a, "Connection: close\r\n");
                free(a);
        }
}

static void answers_head_without_body(void **state) {
        struct fixture *f = *state;
        char *a = raw_request(f->port, "HEAD /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");

        assert_has(a, "Content-Length: ");
        assert_string_equal(strstr(a, "\r\n\r\n"), "\r\n\r\n");
        free(a);
}

/* RFC 9112 11.2 and its relatives: each of these could mean something else to a proxy before us. */
static void refuses_smuggling(void **state) {
        static const char *const bad[] = {
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nhello",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello",
                "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
                ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n0\r\n\r\n"),
                "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\n X: a\r\n\r\n",
                "GET / HTTP/1.1\r\n X: a\r\nHost: a\r\n\r\n",
                ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x, content-length\r\n\r\n"
                 "0\r\n\r\n"),
                "GET / HTTP/1.1\r\nHost: a\r\nX y: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX\x01: a\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb: c\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n",
                "GET / HTTP/1.1\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
                "GE T / HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET / HxxP/1.1\r\nHost: a\r\n\r\n",
                "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
                "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
                "GET /\r\nHost: a\r\n\r\n",
                "GET / HTP/1.1\r\nHost: a\r\n\r\n",
                "\x16\x03\x01\x02\x01\x01\r\n\r\n",
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                answers(state, bad[i], "HTTP/1.1 400 Bad Request");
        answers(state, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
                "HTTP/1.1 501 ");
        answers(state, "GET / HTTP/2.7\r\nHost: a\r\n\r\n", "HTTP/1.1 505 ");
}

/* The words of Go's server and of its reader of chunks, which clients see in a Status. */
static void says_what_is_wrong(void **state) {
        static const char chunked[] = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        static const struct {
                const char *request, *answer;
        } heads[] = {
                { "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request: missing required Host header\r\n" },
                { "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
                  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
                  "400 Bad Request" },
                { "GET /x?%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 OK\r\n" },
                { "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n" },
                { "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n\r\nGET /%zz HTTP/1.1\r\n\r\n",
                  "HTTP/1.1 400 Bad Request: missing required Host header\r\n" }, /* its body has no end of a line */
                { "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n",
                  "HTTP/1.1 400 Bad Request\r\n" },
                { "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "\r\n\r\n400 Bad Request: malformed Host header" },
                { "GET / HTTP/1.1\r\nHost: a\r\nX y: a\r\n\r\n", "400 Bad Request: invalid header name" },
                { "GET / HTTP/3.0\r\nHost: a\r\n\r\n",
                  "505 HTTP Version Not Supported: unsupported protocol version" },
                { "GET / HTTP/1.0\r\nExpect: x\r\n\r\n", "HTTP/1.0 417 Expectation Failed\r\n" },
                { "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
                  "\r\n\r\nUnsupported transfer encoding" },
                { "GET ://a HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request" },
                { "GET 1x://a/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request" },
                { "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request" },
                { "GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 Bad Request" },
                { "GET http://u@[::1]:80/one?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK" },
                { "GET x:/one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK" },
                { "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                  "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
                  "200 OK" },
                { "POST /echo HTTP/1.1\r\nHost: a\r\nConnection:\r\n\tclose\r\nContent-Length:\r\n 2\r\n\r\nhi",
                  "\r\n\r\nhi" },
                { "#+1 /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK" },
        },
          bodies[] = {
                  { "xyz\r\n\r\n", "invalid byte in chunk length" },
                  { "1\nx\r\n0\r\n\r\n", "chunked line ends with bare LF" },
                  { "1;a\nb\r\nx\r\n0\r\n\r\n", "chunked line ends with bare LF" },
                  { "1\r\nxyz0\r\n\r\n", "malformed chunked encoding" },
                  { "11111111111111111\r\nx\r\n", "http chunk length too large" },
                  { "00000000000000001\r\nx\r\n", "http chunk length too large" },
                  { "\r\n", "empty hex number for chunk length" },
                  { "0x1\r\nx\r\n0\r\n\r\n", "invalid byte in chunk length" },
                  { "1 ;a\r\nx\r\n0\r\n\r\n", "invalid byte in chunk length" },
                  { "0\r\nT x\r\n\r\n", "malformed MIME header: missing colon: \"T x\"" },
                  { "0\r\n: x\r\n\r\n", "malformed MIME header line: : x" },
                  { "0\r\n T: x\r\n\r\n", "malformed MIME header initial line:  T: x" },
          };

        for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
                answers(state, heads[i].request, heads[i].answer);
        for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
                char request[256], answer[128];

                snprintf(request, sizeof(request), "%s%s", chunked, bodies[i].request);
                snprintf(answer, sizeof(answer), "\"message\":\"%s\",\"code\":500}", bodies[i].answer);
                answers(state, request, answer);
                answers(state, request, "HTTP/1.1 500 Internal Server Error\r\n");
        }
}

static void bounds_header_and_body(void **state) {
        static char header[70 * 1024], huge[200 * 1024];
        struct fixture *f = fixture_new(&(struct http_server_options) { .max_body = 1000, .max_header = 8192 }, false);
        void *s = f;
        size_t n;

        n = (size_t) snprintf(header, sizeof(header), "GET / HTTP/1.1\r\nHost: a\r\nX: ");
        memset(header + n, 'x', 20000);
        memcpy(header + n + 20000, "\r\n\r\n", 5);
        answers(&s, header, "HTTP/1.1 431 Request Header Fields Too Large");
        answers(&s, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n",
                "HTTP/1.1 413 Request Entity Too Large");
        n = (size_t) snprintf(huge, sizeof(huge),
                              "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n");
        memset(huge + n, 'x', 100000); /* the answer is not lost though the rest of this is never read */
        answers(&s, huge, "\"message\":\"Request entity too large: limit is 1000\"");
        answers(&s, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n", "");
        fixture_free(f);
}

static void bounds_the_headers_of_all_together(void **state) {
        static char header[64 * 1024];
        struct fixture *f = fixture_new(&(struct http_server_options) { .max_headers = 60 * 1024 }, false);
        void *s = f;
        int64_t until = now_mono_ms() + 10000;
        int held[2], refused = 0;
        size_t n = (size_t) snprintf(header, sizeof(header),
                                     "GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: ");

        memset(header + n, 'x', sizeof(header) - n - 1);
        held[0] = raw_connect(f->port);
        raw_send(held[0], header); /* its end does not come */
        held[1] = raw_connect(f->port);
        raw_send(held[1], header);
        while (refused == 0 && now_mono_ms() < until) /* which of the two came too late is not ours to say */
                for (int i = 0; i < 2; i++) {
                        char *a = raw_read(held[i], NULL, 50);

                        refused += strstr(a, "HTTP/1.1 431 ") != NULL;
                        free(a);
                }
        assert_true(refused > 0);
        close(held[0]);
        close(held[1]);
        memcpy(header + sizeof(header) - 6, "\r\n\r\n", 5);
        memcpy(header + 49999, "\r\nY: ", 5);
        for (bool again = true; again;) { /* until the server has seen that they left */
                char *a = raw_request(f->port, header);

                again = strstr(a, "HTTP/1.1 431 ") && now_mono_ms() < until;
                free(a);
        }
        for (int i = 0; i < 5; i++) /* alone each has room */
                answers(&s, header, "GET /large");
        fixture_free(f);
}

static void hands_on_a_body_as_it_comes(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        raw_send(fd, "POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
        a = raw_read(fd, "100 Continue\r\n\r\n", 2000);
        assert_has(a, "HTTP/1.1 100 Continue");
        free(a);
        raw_send(fd, "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\nGET /next HTTP/1.1\r\nHost: a\r\n\r\n");
        a = raw_read(fd, "GET /next", 2000);
        assert_has(a, "\r\n\r\n5 bytes");
        assert_has(a, "GET /next");
        free(a);
        close(fd);
        answers(state, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
                "4 bytes");
        answers(state, "POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "0 bytes");
        answers(state, "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\nbody",
                "Connection: close\r\n\r\nnot you"); /* without the rest of it */
}

static void keeps_little_of_a_body_that_nobody_takes(void **state) {
        struct fixture *f = *state;
        static char block[65536];
        int fd = raw_connect(f->port);
        size_t total = 0;

        atomic_store(&closes, 0);
        raw_send(fd, "POST /never HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n");
        for (int quiet = 0; quiet < 20 && total < 100000000; quiet++) {
                ssize_t n = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n > 0) {
                        total += (size_t) n;
                        quiet = 0;
                } else
                        usleep(10000);
        }
        assert_true(total < 50000000); /* what the kernel holds, and 64 KiB */
        close(fd);
}

static void breaks_off_what_is_not_whole(void **state) {
        struct fixture *f = *state;
        char *a = raw_request(f->port, "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n");

        assert_null(strstr(a, "0\r\n\r\n")); /* no end that looks like one */
        free(a);
}

static void drops_slow_headers_and_bodies(void **state) {
        struct fixture *f = fixture_new(&(struct http_server_options) { .header_timeout_ms = 100 }, false);
        int quiet = raw_connect(f->port), slow = raw_connect(f->port), body = raw_connect(f->port),
            used = raw_connect(f->port);
        int64_t begin = now_mono_ms();
        char *a;

        raw_send(slow, "GET / HTTP/1.1\r\nHost: a\r\nX");
        raw_send(body, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
        raw_send(used, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        a = raw_read(used, "h2=0", 1000);
        free(a);
        for (int i = 0; i < 3; i++) { /* a byte now and then does not help */
                usleep(30000);
                send(slow, "y", 1, MSG_NOSIGNAL);
        }
        assert_true(raw_closed(slow, 1000));
        assert_true(raw_closed(quiet, 1000));
        assert_true(raw_closed(body, 1000));
        assert_true(now_mono_ms() - begin < 5000);
        assert_true(raw_closed(used, 1000)); /* idle: three times as long */
        assert_true(now_mono_ms() - begin >= 290);
        close(quiet);
        close(slow);
        close(body);
        close(used);
        fixture_free(f);
}

static void tells_the_handler_that_the_client_left(void **state) {
        struct fixture *f = *state;
        int never = raw_connect(f->port), watch = raw_connect(f->port);
        char *a;

        atomic_store(&closes, 0);
        raw_send(never, "GET /never HTTP/1.1\r\nHost: a\r\n\r\n");
        raw_send(watch, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
        a = raw_read(watch, "begun", 1000);
        free(a);
        usleep(20000);
        close(never);
        close(watch);
        wait_for(&closes, 2);
}

static void survives_an_answer_after_the_client_left(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);

        raw_send(fd, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        close(fd);
        fd = raw_connect(f->port);
        raw_send(fd, "GET /ticks HTTP/1.1\r\nHost: a\r\n\r\n");
        close(fd);
        usleep(100000);
        answers(state, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK");
}

static void streams_with_backpressure(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        size_t total = 0;
        char block[65536];
        ssize_t n;

        atomic_store(&releases, 0);
        raw_send(fd, "GET /flood HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        usleep(200000); /* nobody reads: the kernel's buffers fill, then it has to stop */
        assert_true(atomic_load(&releases) < 200);
        while ((n = recv(fd, block, sizeof(block), 0)) > 0)
                total += (size_t) n;
        assert_true(total > 200 * 64 * 1024);
        wait_for(&releases, 200);
        close(fd);
}

static void *send_the_rest(void *fd) {
        usleep(50000);
        raw_send(*(int *) fd, "ody");
        return NULL;
}

static void stops_gracefully(void **state) {
        struct fixture *f = fixture_new(NULL, false);
        int idle = raw_connect(f->port), watch = raw_connect(f->port), later = raw_connect(f->port),
            slow = raw_connect(f->port);
        pthread_t sender;
        char *a;

        atomic_store(&closes, 0);
        raw_send(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        a = raw_read(idle, "h2=0", 1000);
        free(a);
        raw_send(watch, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
        a = raw_read(watch, "begun", 1000);
        free(a);
        raw_send(later, "GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
        raw_send(slow, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nb");
        usleep(20000);
        pthread_create(&sender, NULL, send_the_rest, &slow);
        fixture_free(f);
        pthread_join(sender, NULL);
        assert_int_equal(atomic_load(&closes), 1);
        a = raw_read(watch, NULL, 100);
        assert_has(a, "0\r\n\r\n"); /* ended, not cut */
        free(a);
        a = raw_read(later, NULL, 100);
        assert_has(a, "later"); /* was let finish */
        free(a);
        a = raw_read(slow, NULL, 100);
        assert_has(a, "HTTP/1.1 200 OK\r\n"); /* as was this one, though its body was still coming */
        free(a);
        assert_true(raw_closed(idle, 100));
        close(slow);
        close(idle);
        close(watch);
        close(later);
}

static void upgrades_to_a_raw_stream(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        char *a;

        atomic_store(&closes, 0);
        raw_send(fd, "POST /raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly bytes");
        a = raw_read(fd, "early bytes", 1000);
        assert_has(a, "HTTP/1.1 101 Switching Protocols\r\n");
        free(a);
        raw_send(fd, "more");
        a = raw_read(fd, "more", 1000);
        assert_string_equal(a, "more");
        free(a);
        close(fd);
        wait_for(&closes, 1);
        answers(state, "GET /raw HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "no upgrade");
}

/* The frames of an HTTP/2 connection by hand. */
static void h2_frame(int fd, uint8_t type, uint8_t flags, uint32_t stream, const void *p, size_t n) {
        uint8_t head[9] = { (uint8_t) (n >> 16),
                            (uint8_t) (n >> 8),
                            (uint8_t) n,
                            type,
                            flags,
                            (uint8_t) (stream >> 24),
                            (uint8_t) (stream >> 16),
                            (uint8_t) (stream >> 8),
                            (uint8_t) stream };

        send(fd, head, 9, MSG_NOSIGNAL | MSG_MORE);
        send(fd, p, n, MSG_NOSIGNAL);
}

/* It ends with its header, and whoever sends it must hear of that. */
static void a_stream_without_a_body_ends(void **state) {
        static const uint8_t head[] = {
                0x42, 4, 'H', 'E', 'A', 'D', 0x86, 0x44, 6, '/', 'w', 'a', 't', 'c', 'h', 0x41, 1, 'a'
        }; /* HEAD http /watch :authority a */
        struct fixture *f = *state;
        int fd = raw_connect(f->port);

        atomic_store(&closes, 0);
        raw_send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        h2_frame(fd, 4, 0, 0, "", 0);
        h2_frame(fd, 1, 5, 1, head, sizeof(head));
        wait_for(&closes, 1);
        close(fd);
}

static void stops_rapid_resets(void **state) {
        static const uint8_t headers[] = { 0x82, 0x86, 0x84, 0x41, 0x01, 'a' }; /* GET http / :authority a */
        static const uint8_t cancel[] = { 0, 0, 0, 8 };
        struct fixture *f = *state;
        int fd = raw_connect(f->port);
        bool closed = false;

        raw_send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        h2_frame(fd, 4, 0, 0, "", 0);
        for (uint32_t i = 0; i < 20000 && !closed; i++) {
                char c[65536];

                h2_frame(fd, 1, 5, 2 * i + 1, headers, sizeof(headers));
                h2_frame(fd, 3, 0, 2 * i + 1, cancel, sizeof(cancel));
                closed = recv(fd, c, sizeof(c), MSG_DONTWAIT) == 0;
        }
        assert_true(closed || raw_closed(fd, 1500));
        close(fd);
        answers(state, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "200 OK");
}

static void refuses_garbage_after_the_preface(void **state) {
        struct fixture *f = *state;
        int fd = raw_connect(f->port);

        raw_send(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is not a frame at all, is it, or what do you think?");
        assert_true(raw_closed(fd, 3000));
        close(fd);
}

static void explains_plain_http_to_a_tls_port(void **state) {
        struct fixture *f = fixture_new(NULL, true);
        void *s = f;

        answers(&s, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "Client sent an HTTP request to an HTTPS server.");
        fixture_free(f);
}

static void shares_connections_evenly(void **state) {
        struct fixture *f = *state;
        int fds[16];
        size_t n = http_server_workers(f->server);

        assert_int_equal(n, 2);
        for (int i = 0; i < 16; i++)
                fds[i] = raw_connect(f->port);
        usleep(20000);
        for (int i = 0; i < 16; i++) {
                raw_send(fds[i], "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                free(raw_read(fds[i], "h2=0", 1000));
                close(fds[i]);
        }
}

/* The signatures that a client's certificate may have, in Go's order. */
static void asks_for_certificates_signed_as_go_does(void **state) {
        static const int want[] = { 0x0804, 0x0403, 0x0807, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0503, 0x0603 };
        struct fixture *f = fixture_new(NULL, true);
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL *ssl = SSL_new(ctx);
        int fd = raw_connect(f->port);

        SSL_set_fd(ssl, fd);
        assert_int_equal(SSL_connect(ssl), 1);
        assert_int_equal(SSL_get_sigalgs(ssl, -1, NULL, NULL, NULL, NULL, NULL), ARRAY_SIZE(want));
        for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
                unsigned char signature, hash;

                SSL_get_sigalgs(ssl, (int) i, NULL, NULL, NULL, &signature, &hash);
                assert_int_equal(hash << 8 | signature, want[i]);
        }
        SSL_free(ssl);
        SSL_CTX_free(ctx);
        close(fd);
        fixture_free(f);
}

/* What /cert answers; *session is what it is tried with, and then that of this connection. */
static char *ask_resumed(struct fixture *f, SSL_CTX *ctx, SSL_SESSION **session) {
        static const char get[] = "GET /cert HTTP/1.0\r\n\r\n";
        SSL *ssl = SSL_new(ctx);
        int fd = raw_connect(f->port), n;
        struct buf b = BUF_INIT;

        SSL_set_fd(ssl, fd);
        if (*session)
                assert_int_equal(SSL_set_session(ssl, *session), 1);
        assert_int_equal(SSL_connect(ssl), 1);
        assert_int_equal(SSL_session_reused(ssl), *session != NULL);
        assert_int_equal(SSL_write(ssl, get, sizeof(get) - 1), sizeof(get) - 1);
        while ((n = SSL_read(ssl, buf_reserve(&b, 4096), 4096)) > 0)
                b.n += (size_t) n;
        SSL_SESSION_free(*session);
        *session = SSL_get1_session(ssl);
        SSL_shutdown(ssl); /* without which it does not go on */
        SSL_free(ssl);
        close(fd);
        return buf_take(&b, NULL);
}

/* A session that goes on is the same client's, certified by the same authority. */
static void resumes_sessions(void **state) {
        static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
        struct fixture *f = fixture_new(NULL, true);
        const struct certs *c = test_certs();

        for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
                SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
                BIO *cert = BIO_new_mem_buf(c->client_cert.p, (int) c->client_cert.n),
                    *key = BIO_new_mem_buf(c->client_key.p, (int) c->client_key.n);
                X509 *x = PEM_read_bio_X509(cert, NULL, NULL, NULL);
                EVP_PKEY *k = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
                SSL_SESSION *session = NULL;

                SSL_CTX_set_max_proto_version(ctx, versions[i]);
                SSL_CTX_use_certificate(ctx, x);
                SSL_CTX_use_PrivateKey(ctx, k);
                for (int again = 0; again < 3; again++) {
                        char *r = ask_resumed(f, ctx, &session);

                        if (!strstr(r, "admin") || !strstr(r, "sha=64 by=64"))
                                fail_msg("%s", r);
                        free(r);
                }
                SSL_SESSION_free(session);
                EVP_PKEY_free(k);
                X509_free(x);
                BIO_free(key);
                BIO_free(cert);
                SSL_CTX_free(ctx);
        }
        fixture_free(f);
}

static void speaks_only_what_it_can(void **state) {
        static const struct {
                const char *protocols;
                int connected;
        } cases[] = { { "\x03"
                        "foo",
                        -1 },
                      { "\x03"
                        "foo\x02"
                        "h2",
                        1 },
                      { "\x08"
                        "http/1.1",
                        1 } };
        struct fixture *f = fixture_new(NULL, true);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
                SSL *ssl = SSL_new(ctx);
                int fd = raw_connect(f->port);

                SSL_set_fd(ssl, fd);
                SSL_set_alpn_protos(ssl, (const unsigned char *) cases[i].protocols,
                                    (unsigned) strlen(cases[i].protocols));
                assert_int_equal(SSL_connect(ssl), cases[i].connected);
                SSL_free(ssl);
                SSL_CTX_free(ctx);
                close(fd);
        }
        ERR_clear_error();
        fixture_free(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(keeps_alive_and_pipelines, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(takes_bytes_one_by_one, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(speaks_http10, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(lower_cases_and_trims_headers, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(only_short_answers_have_a_length, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(says_continue, setup_plain, teardown),
                cmocka_unit_test(asks_for_certificates_signed_as_go_does),
                cmocka_unit_test(resumes_sessions),
                cmocka_unit_test(speaks_only_what_it_can),
                cmocka_unit_test_setup_teardown(asks_for_no_body_that_is_not_wanted, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(answers_head_without_body, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(refuses_smuggling, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(says_what_is_wrong, setup_plain, teardown),
                cmocka_unit_test(bounds_header_and_body),
                cmocka_unit_test_setup_teardown(hands_on_a_body_as_it_comes, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(keeps_little_of_a_body_that_nobody_takes, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(breaks_off_what_is_not_whole, setup_plain, teardown),
                cmocka_unit_test(bounds_the_headers_of_all_together),
                cmocka_unit_test(drops_slow_headers_and_bodies),
                cmocka_unit_test_setup_teardown(tells_the_handler_that_the_client_left, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(survives_an_answer_after_the_client_left, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(streams_with_backpressure, setup_plain, teardown),
                cmocka_unit_test(stops_gracefully),
                cmocka_unit_test_setup_teardown(upgrades_to_a_raw_stream, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(a_stream_without_a_body_ends, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(stops_rapid_resets, setup_plain, teardown),
                cmocka_unit_test_setup_teardown(refuses_garbage_after_the_preface, setup_plain, teardown),
                cmocka_unit_test(explains_plain_http_to_a_tls_port),
                cmocka_unit_test_setup_teardown(shares_connections_evenly, setup_plain, teardown),
        };

        return cmocka_run_group_tests_name("http server", tests, NULL, NULL);
}
