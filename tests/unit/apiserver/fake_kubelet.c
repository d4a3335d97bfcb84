#include "fake_kubelet.h"

#include "../http/helper.h"
#include "http/spdy.h"

struct fake_kubelet {
        struct http_server *server;
        struct tls_context *tls;
        char asked[512];
        struct spdy_stream *streams[REMOTE_CHANNELS];
};

static void stream_data(struct spdy_stream *st, struct str data, void *arg) {
        struct fake_kubelet *k = arg;

        if (st == k->streams[REMOTE_STDIN])
                spdy_stream_write_copy(k->streams[REMOTE_STDOUT], data);
}

static void stream_end(struct spdy_stream *st, void *arg) {
        struct fake_kubelet *k = arg;

        if (st != k->streams[REMOTE_STDIN])
                return;
        spdy_stream_write_copy(k->streams[REMOTE_STDERR], STR("bye"));
        spdy_stream_write_copy(k->streams[REMOTE_ERROR],
                               STR("{\"metadata\":{},\"status\":\"Failure\",\"message\":\"in v4's words\",\"reason\":"
                                   "\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":"
                                   "\"3\"}]}}"));
        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++)
                if (k->streams[c])
                        spdy_stream_close(k->streams[c]);
}

static void stream_close(struct spdy_stream *st, int err, void *arg) {
        struct fake_kubelet *k = arg;

        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++)
                if (k->streams[c] == st)
                        k->streams[c] = NULL;
}

static void on_stream(struct spdy_session *s, struct spdy_stream *st, void *arg) {
        static const struct spdy_stream_ops ops = { .on_data = stream_data,
                                                    .on_end = stream_end,
                                                    .on_close = stream_close };
        struct fake_kubelet *k = arg;

        for (enum remote_channel c = 0; c < REMOTE_CHANNELS; c++)
                if (str_eqc(spdy_stream_header(st, "streamtype"), remote_channels[c]))
                        k->streams[c] = st;
        spdy_stream_accept(st, &ops, k);
}

static void port_data(struct duplex *d, struct str data, void *arg) {
        duplex_write_copy(d, data);
}

static void handle(struct http_request *r, void *arg) {
        static const struct spdy_session_ops session_ops = { .on_stream = on_stream };
        static const struct duplex_ops port_ops = { .on_data = port_data };
        struct fake_kubelet *k = arg;
        struct str upgrade = STR(""), protocol = http_request_header(r, "x-stream-protocol-version"),
                   uri = http_request_uri(r);
        struct http_header headers[] = { { STR("Connection"), STR("Upgrade") },
                                         { STR("Upgrade"), STR("SPDY/3.1") },
                                         { STR("X-Stream-Protocol-Version"), protocol } };
        bool port = str_eqc(protocol, "portforward.k8s.io");
        struct duplex *raw;

        http_request_wants_upgrade(r, &upgrade);
        snprintf(k->asked, sizeof(k->asked), "%.*s %.*s %.*s %.*s", (int) http_request_method_text(r).n,
                 http_request_method_text(r).p, (int) uri.n, uri.p, (int) upgrade.n, upgrade.p, (int) protocol.n,
                 protocol.p);
        if (str_has_prefix(uri, STR("/containerLogs/"))) {
                ssize_t at = str_search(uri, STR("limitBytes="));
                uint64_t status = 200;

                if (at > 0) /* what a test wants the answer to be */
                        str_to_u64(str_sub(uri, (size_t) at + strlen("limitBytes="), uri.n), &status);
                if (status == 307) {
                        http_respond(r, 307, &(struct http_header) { STR("location"), STR("/x") }, 1, NULL, 0);
                } else if (status == 202) { /* of no type, and cut off */
                        http_inform(r, 103, NULL, 0);
                        raw = http_hijack(r, 202, &(struct http_header) { STR("content-length"), STR("100") }, 1);
                        duplex_write_copy(raw, STR("a line\n"));
                        duplex_close(raw);
                } else {
                        http_respond_copy(r, (int) status, "text/plain; charset=utf-8", STR("a line\n"));
                }
                return;
        }
        if (!str_eqc(upgrade, "SPDY/3.1") || str_search(uri, STR("gone")) > 0) {
                http_respond_copy(r, 404, "text/plain", STR("there is no such thing\n"));
                return;
        }
        raw = http_hijack(r, 101, headers, ARRAY_SIZE(headers));
        if (port)
                duplex_set_ops(raw, &port_ops, k);
        else
                spdy_session_new(raw, true, &session_ops, k);
}

struct fake_kubelet *fake_kubelet_start(void) {
        const struct certs *c = test_certs();
        struct fake_kubelet *k = xcalloc(1, sizeof(*k));

        assert_int_equal(tls_context_new(&(struct tls_options) { .cert_pem = buf_str(&c->cert),
                                                                 .key_pem = buf_str(&c->key),
                                                                 .server = true },
                                         &k->tls, NULL),
                         0);
        assert_int_equal(http_server_start(&(struct http_server_options) { .address = "127.0.0.1",
                                                                           .listen_fd = -1,
                                                                           .tls = k->tls,
                                                                           .workers = 1,
                                                                           .handler = handle,
                                                                           .arg = k },
                                           &k->server, NULL),
                         0);
        return k;
}

uint16_t fake_kubelet_port(const struct fake_kubelet *k) {
        return http_server_port(k->server);
}

static void nothing(void *arg) {
}

const char *fake_kubelet_asked(struct fake_kubelet *k) {
        loop_call_sync(http_server_worker(k->server, 0), nothing, NULL); /* the loop has written it */
        return k->asked;
}

void fake_kubelet_stop(struct fake_kubelet *k) {
        http_server_stop(k->server, 0);
        tls_context_unref(k->tls);
        free(k);
}
