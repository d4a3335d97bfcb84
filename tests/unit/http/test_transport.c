#include "helper.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/file.h"
#include "http/transport.h"

#define RECORDS 3 /* that come at once; one more comes while the reader is paused */

/* ---- a reader that pauses at each of its first records ---- */

struct reader {
        struct transport t;
        struct transport *writer;
        struct buf got;
        int err, peer;
        bool opened, asked;
};

static struct reader *reader_of(struct transport *t) {
        return t->owner;
}

static void ignore(struct transport *t) {
}

static void ignore_close(struct transport *t, int err, const char *why) {
}

static void reader_open(struct transport *t) {
        reader_of(t)->opened = true;
}

static void reader_data(struct transport *t, struct str data) {
        struct reader *r = reader_of(t);

        buf_add_str(&r->got, data);
        if (r->asked)
                return;
        r->asked = true;
        transport_pause(t, true);
        transport_dirty(r->writer);
}

static void reader_close(struct transport *t, int err, const char *why) {
        struct reader *r = reader_of(t);

        r->err = err ? err : -EPIPE;
        loop_stop(transport_loop(t));
}

static const struct transport_ops reader_ops = {
        .on_open = reader_open, .on_data = reader_data, .on_fill = ignore, .on_close = reader_close, .on_freed = ignore
};

/* ---- who writes to it: some records, and one more when it is asked again ---- */

static int written;

static void writer_fill(struct transport *t) {
        struct reader *r = reader_of(t);
        int until = !r->asked ? RECORDS : RECORDS + 1;

        for (; r->opened && written < until; written++) {
                char c = (char) ('a' + written);

                transport_put(t, &c, 1);
                transport_end_record(t);
        }
}

static const struct transport_ops writer_ops = {
        .on_data = NULL, .on_fill = writer_fill, .on_close = ignore_close, .on_freed = ignore
};

/* ---- what makes them go on ---- */

/* Right before the loop looks at its sockets: after all that has to be flushed was. */
static void resume(uv_prepare_t *h) {
        struct reader *r = h->data;

        if (written > RECORDS)
                transport_pause(&r->t, false);
}

static void tick(uv_check_t *h) {
        struct reader *r = h->data;

        if (r->opened && written < RECORDS)
                transport_dirty(r->writer);
        if (r->got.n == RECORDS + 1)
                loop_stop(transport_loop(&r->t));
}

/* What was kept while it was paused comes before what arrived since, also where the loop hears of that first. */
static void keeps_the_order_of_what_it_kept(void **state) {
        const struct certs *certs = test_certs();
        struct tls_options o = { .server = true, .cert_pem = buf_str(&certs->cert), .key_pem = buf_str(&certs->key) };
        struct tls_context *server, *client;
        struct transport writer;
        struct reader r = { .writer = &writer };
        int pair[2];
        struct loop *l;
        uv_prepare_t prepare;
        uv_check_t check;

        written = 0;
        assert_int_equal(tls_context_new(&o, &server, NULL), 0);
        assert_int_equal(tls_context_new(&(struct tls_options) { .insecure = true }, &client, NULL), 0);
        assert_int_equal(loop_new("transport", &l, NULL), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        uv_prepare_init(loop_uv(l), &prepare);
        uv_check_init(loop_uv(l), &check);
        prepare.data = check.data = &r;
        uv_prepare_start(&prepare, resume); /* of those the first comes last */
        uv_check_start(&check, tick);
        assert_int_equal(transport_init(&r.t, l, pair[0], server, NULL, false, &reader_ops), 0);
        assert_int_equal(transport_init(&writer, l, pair[1], client, NULL, true, &writer_ops), 0);
        r.t.owner = writer.owner = &r;
        loop_run(l);
        assert_int_equal(r.err, 0);
        assert_int_equal(r.got.n, RECORDS + 1);
        assert_memory_equal(r.got.p, "abcd", RECORDS + 1);
        transport_close(&r.t);
        transport_close(&writer);
        uv_close((uv_handle_t *) &prepare, NULL);
        uv_close((uv_handle_t *) &check, NULL);
        loop_free(l);
        buf_free(&r.got);
        tls_context_unref(server);
        tls_context_unref(client);
}

static void reset_when_ended(uv_check_t *h) {
        struct reader *r = h->data;
        const struct linger at_once = { .l_onoff = 1 };

        if (!r->t.hung || r->peer < 0)
                return;
        setsockopt(r->peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        closep(&r->peer);
        r->peer = -1;
}

/* It does not read, so it cannot hear it by reading; after the peer's end, too, and what came before is there. */
static void who_is_paused_hears_of_a_reset(void **state) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t n = sizeof(a);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct reader r = { .asked = true, .peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
        struct loop *l;
        uv_check_t check;

        assert_int_equal(bind(listener, (struct sockaddr *) &a, sizeof(a)), 0);
        assert_int_equal(listen(listener, 1), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *) &a, &n), 0);
        assert_int_equal(connect(r.peer, (struct sockaddr *) &a, sizeof(a)), 0);
        assert_int_equal(loop_new("transport", &l, NULL), 0);
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        assert_int_equal(transport_init(&r.t, l, fd, NULL, NULL, false, &reader_ops), 0);
        r.t.owner = &r;
        transport_pause(&r.t, true);
        uv_check_init(loop_uv(l), &check);
        check.data = &r;
        uv_check_start(&check, reset_when_ended);
        raw_send(r.peer, "x");
        assert_int_equal(shutdown(r.peer, SHUT_WR), 0);
        loop_run(l);
        assert_int_equal(r.err, -EPIPE); /* what Linux calls a reset after the end */
        transport_close(&r.t);
        uv_close((uv_handle_t *) &check, NULL);
        loop_free(l);
        close(listener);
        buf_free(&r.got);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keeps_the_order_of_what_it_kept),
                cmocka_unit_test(who_is_paused_hears_of_a_reset),
        };

        return cmocka_run_group_tests_name("transport", tests, NULL, NULL);
}
