/* SPDY: sessions over an upgraded connection, and the very bytes that Go's spdystream sends. */
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "helper.h"
#include "http/spdy.h"

static atomic_int server_sessions_closed, server_streams_closed;

/* ---- the server: echoes streams of type "echo", counts bytes on "sink", refuses the rest ---- */

static void echo_data(struct spdy_stream *st, struct str data, void *arg) {
        spdy_stream_write_copy(st, data);
        if (spdy_stream_pending(st) > 256 * 1024)
                spdy_stream_pause(st, true);
}
static void echo_end(struct spdy_stream *st, void *arg) {
        spdy_stream_write_copy(st, STR("."));
        spdy_stream_close(st);
}
static void echo_drain(struct spdy_stream *st, void *arg) {
        spdy_stream_pause(st, false);
}
static void stream_closed(struct spdy_stream *st, int err, void *arg) {
        atomic_fetch_add(&server_streams_closed, 1);
}
static const struct spdy_stream_ops echo_ops = { NULL, echo_data, echo_end, echo_drain, stream_closed };

/* One stream fills the queue that all share; another, which has written nothing, waits until it is short. */
static char filling[8 * 1024 * 1024];

static void filler_data(struct spdy_stream *st, struct str data, void *patient) {
        spdy_stream_write(st, &(struct http_slice) { { filling, sizeof(filling) }, NULL, NULL }, 1);
        assert_true(spdy_stream_pending(patient) > 256 * 1024);
        spdy_stream_close(st);
}
static void patient_drain(struct spdy_stream *st, void *arg) {
        echo_end(st, arg);
}
static const struct spdy_stream_ops filler_ops = { NULL, filler_data, NULL, NULL, stream_closed };
static const struct spdy_stream_ops patient_ops = { NULL, NULL, NULL, patient_drain, stream_closed };

static void last_data(struct spdy_stream *st, struct str data, void *session) {
        spdy_stream_write_copy(st, STR("last words"));
        spdy_session_close(session);
}
static const struct spdy_stream_ops last_ops = { NULL, last_data, NULL, NULL, stream_closed };

static void on_stream(struct spdy_session *s, struct spdy_stream *st, void *arg) {
        static struct spdy_stream *patient;
        struct str type = spdy_stream_header(st, "streamtype");

        if (str_eqc(type, "echo"))
                spdy_stream_accept(st, &echo_ops, NULL);
        else if (str_eqc(type, "patient"))
                spdy_stream_accept(patient = st, &patient_ops, NULL);
        else if (str_eqc(type, "last"))
                spdy_stream_accept(st, &last_ops, s);
        else if (str_eqc(type, "filler"))
                spdy_stream_accept(st, &filler_ops, patient);
}
static void session_closed(struct spdy_session *s, int err, void *arg) {
        atomic_fetch_add(&server_sessions_closed, 1);
}
static const struct spdy_session_ops server_ops = { on_stream, session_closed };

static void handler(struct http_request *r, void *arg) {
        static const struct http_header h[] = { { STR_INIT("Connection"), STR_INIT("Upgrade") },
                                                { STR_INIT("Upgrade"), STR_INIT("SPDY/3.1") } };
        struct duplex *d = http_hijack(r, 101, h, 2);

        if (d)
                spdy_session_new(d, true, &server_ops, NULL);
}

/* ---- the client ---- */

struct talk {
        struct fixture *f;
        struct http_client *c;
        struct spdy_session *session;
        const char *const *types; /* of four streams, and again */
        int streams, replies, ends, closed, refused, err;
        bool pauses;
        size_t want, got, sent;
        sem_t done;
};

static void talk_reply(struct spdy_stream *st, void *arg) {
        struct talk *t = arg;

        t->replies++;
        if (t->pauses)
                spdy_stream_pause(st, true);
}
static void talk_data(struct spdy_stream *st, struct str data, void *arg) {
        ((struct talk *) arg)->got += data.n;
}
static void talk_end(struct spdy_stream *st, void *arg) {
        ((struct talk *) arg)->ends++;
}
static void talk_stream_close(struct spdy_stream *st, int err, void *arg) {
        struct talk *t = arg;

        t->closed++;
        t->refused += err == -ECONNRESET;
        if (t->closed == t->streams)
                spdy_session_close(t->session);
}
static const struct spdy_stream_ops talk_ops = { talk_reply, talk_data, talk_end, NULL, talk_stream_close };

static void talk_session_close(struct spdy_session *s, int err, void *arg) {
        struct talk *t = arg;

        t->err = err;
        sem_post(&t->done);
}
static const struct spdy_session_ops talk_session_ops = { NULL, talk_session_close };

static void talk_begin(const struct http_upgrade_result *r, void *arg) {
        struct talk *t = arg;
        static char block[2 * 1024 * 1024];

        assert_non_null(r->duplex);
        t->session = spdy_session_new(r->duplex, false, &talk_session_ops, t);
        for (int i = 0; i < t->streams; i++) {
                struct http_header h[] = { { STR("StreamType"), str_of(t->types[i % 4]) },
                                           { STR("port"), STR("80") },
                                           { STR("requestID"), STR("17") } };
                struct spdy_stream *st = spdy_stream_open(t->session, h, 3, &talk_ops, t);
                struct http_slice s[] = { { STR("head "), NULL, NULL }, { str_n(block, t->want), NULL, NULL } };

                if (strcmp(t->types[i % 4], "patient"))
                        spdy_stream_write(st, s, 2);
                spdy_stream_close(st);
        }
}

static void talk_dial(void *arg) {
        struct talk *t = arg;
        static const struct http_header h[] = { { STR_INIT("Connection"), STR_INIT("Upgrade") },
                                                { STR_INIT("Upgrade"), STR_INIT("SPDY/3.1") } };

        http_client_upgrade(t->c,
                            &(struct http_call_options) {
                                            .method = "POST", .path = STR("/"), .headers = h, .n_headers = 2 },
                            talk_begin, t);
}

static void talk_run(const char *const *types, int streams, size_t size, int refused, size_t got) {
        struct http_server_options o = { .workers = 1, .address = "127.0.0.1", .listen_fd = -1, .handler = handler };
        struct talk t = { .types = types, .streams = streams, .want = size };
        struct http_server *s;
        int accepted = streams - refused;

        atomic_store(&server_sessions_closed, 0);
        atomic_store(&server_streams_closed, 0);
        t.f = fixture_new(NULL, false);
        assert_int_equal(http_server_start(&o, &s, NULL), 0);
        t.c = client_new(t.f, &(struct http_client_options) { .port = http_server_port(s) });
        sem_init(&t.done, 0, 0);
        loop_call(t.f->loop, talk_dial, &t);
        while (sem_wait(&t.done) < 0)
                ;
        assert_int_equal(t.err, 0);
        assert_int_equal(t.closed, streams);
        assert_int_equal(t.refused, refused);
        assert_int_equal(t.replies, accepted);
        assert_int_equal(t.ends, accepted);
        assert_int_equal(t.got, got);
        wait_for(&server_sessions_closed, 1);
        wait_for(&server_streams_closed, accepted);
        sem_destroy(&t.done);
        client_free(t.f, t.c);
        http_server_stop(s, 100);
        fixture_free(t.f);
}

static void carries_streams_over_an_upgrade(void **state) {
        static const char *const types[] = { "echo", "echo", "echo", "other" };

        talk_run(types, 5, 10, 1, 4 * 16);
        talk_run(types, 40, 70000, 10, 30 * 70006);
        talk_run(types, 3, 2 * 1024 * 1024, 0, 3 * (2 * 1024 * 1024 + 6));
}

static void who_waits_for_the_queue_hears_when_it_is_short(void **state) {
        static const char *const types[] = { "patient", "filler" };

        talk_run(types, 2, 10, 0, sizeof(filling) + 1);
}

/* Nothing of it was taken when the peer left. */
static void what_was_said_before_the_end_is_heard(void **state) {
        static const char *const types[] = { "last" };
        struct http_server_options o = { .workers = 1, .address = "127.0.0.1", .listen_fd = -1, .handler = handler };
        struct talk t = { .types = types, .streams = 1, .pauses = true };
        struct http_server *s;

        t.f = fixture_new(NULL, false);
        assert_int_equal(http_server_start(&o, &s, NULL), 0);
        t.c = client_new(t.f, &(struct http_client_options) { .port = http_server_port(s) });
        sem_init(&t.done, 0, 0);
        loop_call(t.f->loop, talk_dial, &t);
        while (sem_wait(&t.done) < 0)
                ;
        assert_int_equal(t.closed, 1);
        assert_int_equal(t.got, strlen("last words"));
        sem_destroy(&t.done);
        client_free(t.f, t.c);
        http_server_stop(s, 100);
        fixture_free(t.f);
}

/* ---- by hand ---- */

static int spdy_raw(uint16_t port) {
        int fd = raw_connect(port);

        raw_send(fd, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
        free(raw_read(fd, "\r\n\r\n", 1000));
        return fd;
}

/* SYN_STREAM 1 with streamtype: echo, compressed as Go does; data "hi" with FIN. Split at every place. */
static void understands_frames_however_they_are_split(void **state) {
        static const uint8_t block[] = {
                0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, /* zlib with the SPDY/3 dictionary, then stored: */
                0x00, 0x1a, 0x00, 0xe5, 0xff, 0,    0, 0, 1, 0,   0,   0,   10,  's', 't', 'r', 'e',  'a',
                'm',  't',  'y',  'p',  'e',  0,    0, 0, 4, 'e', 'c', 'h', 'o', 0,   0,   0,   0xff, 0xff
        };
        static const uint8_t data[] = { 0, 0, 0, 1, 1, 0, 0, 2, 'h', 'i' };
        struct http_server_options o = { .workers = 1, .address = "127.0.0.1", .listen_fd = -1, .handler = handler };
        uint8_t all[128] = { 0x80, 3, 0, 1, 0, 0, 0, 10 + sizeof(block), 0, 0, 0, 1 };
        size_t n = 18 + sizeof(block) + sizeof(data);
        struct http_server *s;

        memcpy(all + 18, block, sizeof(block));
        memcpy(all + 18 + sizeof(block), data, sizeof(data));
        assert_int_equal(http_server_start(&o, &s, NULL), 0);
        for (size_t cut = 1; cut < n; cut += 5) {
                int fd = spdy_raw(http_server_port(s));
                uint8_t got[256] = { 0 };
                size_t have = 0;

                send(fd, all, cut, MSG_NOSIGNAL);
                usleep(2000);
                send(fd, all + cut, n - cut, MSG_NOSIGNAL);
                while (have < 8 + 4 || have < 8 + got[7] + 10 + 9 + 8u) { /* SYN_REPLY, "hi", ".", FIN */
                        ssize_t k = recv(fd, got + have, sizeof(got) - have, 0);

                        assert_true(k > 0);
                        have += (size_t) k;
                }
                assert_int_equal(got[3], 2);
                assert_memory_equal(got + 8 + got[7], "\0\0\0\1\0\0\0\2hi\0\0\0\1\0\0\0\1.\0\0\0\1\1\0\0\0", 27);
                close(fd);
        }
        http_server_stop(s, 100);
}

static void answers_pings_and_closes_on_nonsense(void **state) {
        struct http_server_options o = { .workers = 1, .address = "127.0.0.1", .listen_fd = -1, .handler = handler };
        static const char ping[] = "\x80\x03\x00\x06\x00\x00\x00\x04\x00\x00\x00\x07";
        static const struct {
                const char *p;
                size_t n;
        } bad[] = {
                { "\x80\x02\x00\x01\x00\x00\x00\x0a", 8 }, /* version 2 */
                { "\x80\x03\x00\x01\x00\xff\xff\xff", 8 }, /* a control frame too large */
                { "\x80\x03\x00\x01\x00\x00\x00\x04"
                  "abcd",
                  12 },                                                                                 /* too short */
                { "\x80\x03\x00\x01\x00\x00\x00\x0e\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00junk", 22 }, /* no zlib */
        };
        struct http_server *s;
        char got[16];
        int fd;

        assert_int_equal(http_server_start(&o, &s, NULL), 0);
        fd = spdy_raw(http_server_port(s));
        send(fd, ping, 12, MSG_NOSIGNAL);
        assert_int_equal(recv(fd, got, 12, MSG_WAITALL), 12);
        assert_memory_equal(got, ping, 12);
        close(fd);
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                fd = spdy_raw(http_server_port(s));
                send(fd, bad[i].p, bad[i].n, MSG_NOSIGNAL);
                assert_int_equal(recv(fd, got, 16, MSG_WAITALL), 16);
                assert_int_equal(got[3], 7); /* GOAWAY */
                assert_int_equal(got[15], 1);
                assert_true(raw_closed(fd, 2000));
                close(fd);
        }
        http_server_stop(s, 100);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(carries_streams_over_an_upgrade),
                cmocka_unit_test(what_was_said_before_the_end_is_heard),
                cmocka_unit_test(who_waits_for_the_queue_hears_when_it_is_short),
                cmocka_unit_test(understands_frames_however_they_are_split),
                cmocka_unit_test(answers_pings_and_closes_on_nonsense),
        };

        return cmocka_run_group_tests_name("spdy", tests, NULL, NULL);
}
