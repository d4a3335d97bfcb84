/* Upgrades towards kubelets: what a client speaks becomes what they speak. */
#include "fake_kubelet.h"
#include "help.h"

/* A message to a channel, masked so that a C string can hold it. */
#define MASKED(n, text) "\x82" n "aaaa" text
#define STDIN_HI MASKED("\x83", "a\x09\x08")
#define STDIN_END MASKED("\x82", "\x9e\x61")
#define BAD_END MASKED("\x82", "\x9e\x68")
/* What comes back. */
#define FRAME(n, channel) "\x82" n channel
#define OPEN(protocol) "Sec-WebSocket-Protocol: " protocol "\r\n\r\n"
#define CLOSED "\x88\x02\x03\xe8"

static void make_pod(struct fixture *f, uint16_t port) {
        check_code(ASK(f, API_CREATE, &res_nodes, "", .body = Q("{'metadata':{'name':'n'}}")), 201);
        check_code(ASK(f, API_PATCH, &res_nodes, "", "n", "status", .patch = API_PATCH_MERGE,
                       .body = arena_printf(f->a,
                                            "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":"
                                            "\"127.0.0.1\"}],\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%u}}}}",
                                            port)
                                               .p),
                   200);
        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_pods, "default",
                       .body = Q("{'metadata':{'name':'p'},'spec':{'nodeName':'n','containers':[{'name':'c','image':"
                                 "'i'},{'name':'gone','image':'i'}]}}")),
                   201);
}

static struct str upgrade(struct fixture *f, const char *target, const char *protocol, const char *sent,
                          const char *last) {
        return talk_until(f,
                          arena_printf(f->a,
                                       "GET /api/v1/namespaces/default/pods/p/%s HTTP/1.1\r\nHost: x\r\nConnection: "
                                       "Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: %s\r\n"
                                       "\r\n%s",
                                       target, protocol, sent)
                                          .p,
                          last);
}

#define check_has(text, what)                                                          \
        do {                                                                           \
                if (str_search((text), (what)) < 0)                                    \
                        fail_msg("no %s in %.*s", (what).p, (int) (text).n, (text).p); \
        } while (0)

static void exec_of_v5_is_spdy_to_the_kubelet(void **state) {
        struct fixture *f = *state;
        struct fake_kubelet *k = fake_kubelet_start();
        struct str r;

        make_pod(f, fake_kubelet_port(k));
        r = upgrade(f, "exec?container=c&command=a%20b&command=c&stdout=true&stderr=1&stdin=true&tty=false",
                    "v4.channel.k8s.io, v5.channel.k8s.io", STDIN_HI STDIN_END, CLOSED);
        check_has(r, STR(OPEN("v5.channel.k8s.io") FRAME("\x01", "\x01")));
        check_has(r, STR(FRAME("\x03", "\x01") "hi"));
        check_has(r, STR(FRAME("\x04", "\x02") "bye"));
        check_has(r,
                  STR("\x03{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit "
                      "code: command terminated with exit code 3\",\"reason\":\"NonZeroExitCode\",\"details\":"
                      "{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"3\"}]}}" CLOSED));
        assert_string_equal(fake_kubelet_asked(k), "POST /exec/default/p/c?command=a+b&command=c&error=1&input=1&"
                                                   "output=1 SPDY/3.1 v4.channel.k8s.io");
        fake_kubelet_stop(k);
}

static void what_goes_wrong_behind_it_is_a_status(void **state) {
        struct fixture *f = *state;
        struct fake_kubelet *k = fake_kubelet_start();
        struct str r;

        make_pod(f, fake_kubelet_port(k));
        r = upgrade(f, "attach?container=gone&stdin=true", "v5.channel.k8s.io", "", CLOSED);
        check_has(r, STR(OPEN("v5.channel.k8s.io") FRAME("\x01", "\x03")));
        check_has(r,
                  STR("{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Internal error occurred: unable to "
                      "upgrade "
                      "connection: there is no such thing\",\"reason\":\"InternalError\",\"details\":{\"causes\":[{"
                      "\"message\":\"unable to upgrade connection: there is no such thing\"}]},\"code\":500}" CLOSED));
        r = upgrade(f, "attach?container=c&stdin=true&stdout=true", "v5.channel.k8s.io", BAD_END, CLOSED);
        assert_true(str_search(r, STR("status")) < 0);
        fake_kubelet_stop(k);
        r = upgrade(f, "attach?container=c&stdout=true", "v5.channel.k8s.io", "", CLOSED);
        check_has(r, STR("Internal error occurred: error sending request: Post \\\"https://127.0.0.1:"));
        check_has(r, STR("/attach/default/p/c?output=1\\\": dial tcp 127.0.0.1:"));
}

static void port_forward_in_messages_is_spdy_to_the_kubelet(void **state) {
        struct fixture *f = *state;
        struct fake_kubelet *k = fake_kubelet_start();
        struct str r;

        make_pod(f, fake_kubelet_port(k));
        r = upgrade(f, "portforward", "x, SPDY/3.1+portforward.k8s.io", MASKED("\x82", "\x09\x08"), "\x82\x02hi");
        check_has(r, STR(OPEN("SPDY/3.1+portforward.k8s.io") "\x82\x02hi"));
        assert_string_equal(fake_kubelet_asked(k), "POST /portForward/default/p SPDY/3.1 portforward.k8s.io");
        /* other protocols are for the kubelet itself */
        r = upgrade(f, "portforward?ports=80,81&ports=82", "v4.channel.k8s.io", "", "such thing");
        check_has(r, STR("HTTP/1.1 404 Not Found\r\n"));
        assert_string_equal(fake_kubelet_asked(k), "GET /portForward/default/p?port=80%2C81&port=82 websocket ");
        fake_kubelet_stop(k);
}

static void a_log_is_text_and_says_why_there_is_none(void **state) {
        struct fixture *f = *state;
        struct fake_kubelet *k = fake_kubelet_start();
        static const struct {
                int status;
                const char *want;
        } answers[] = {
                { 206, "\r\n\r\na line\n" },
                { 302,
                  "\"the server responded with the status code 302 but did not return more information ( pods/log p)" },
                { 400, "\"message\":\"a line\\n\",\"reason\":\"BadRequest\",\"code\":400}" },
                { 401, "\"message\":\"the server has asked for the client to provide credentials ( pods/log p)\","
                       "\"reason\":\"Unauthorized\"" },
                { 403, "\"message\":\"a line\\n ( pods/log p)\",\"reason\":\"Forbidden\"" },
                { 404, "\"the server could not find the requested resource ( pods/log p)\",\"reason\":\"NotFound\"" },
                { 500, "\"message\":\"Internal error occurred: a line\\n\",\"reason\":\"InternalError\"" },
                { 502, "\"an error on the server (\\\"a line\\\\n\\\") has prevented the request from succeeding ( " },
                { 503, "\"the server is currently unable to handle the request ( pods/log p)\"" },
        };
        struct str r;
        uint16_t port = fake_kubelet_port(k);

        make_pod(f, port);
#define LOG(query)                                                    \
        "GET /api/v1/namespaces/default/pods/p/log?container=c" query \
        " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        r = talk_until(f, LOG("&timestamps=1&tailLines=3&follow=false"), NULL);
        check_has(r, STR("Content-Type: text/plain\r\n"));
        check_has(r, STR("\r\n\r\na line\n"));
        assert_string_equal(fake_kubelet_asked(k), "GET /containerLogs/default/p/c?tailLines=3&timestamps=true  ");
        for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
                r = talk_until(f, arena_printf(f->a, LOG("&limitBytes=%d"), answers[i].status).p, NULL);
                check_has(r, arena_printf(f->a, "HTTP/1.1 %d ", answers[i].status == 206 ? 200 : answers[i].status));
                check_has(r, str_of(answers[i].want));
        }
        r = talk_until(f, LOG("&limitBytes=307"), NULL);
        check_has(r, STR("\"message\":\"Get \\\"/x\\\": redirects forbidden\",\"code\":500}"));
        r = talk_until(f, LOG("&limitBytes=202"), "\r\n0\r\n\r\n");
        assert_true(str_has_prefix(r, STR("HTTP/1.1 200 OK\r\n")));
        check_has(r, STR("\r\n0\r\n\r\n"));
        assert_true(str_search(r, STR("charset")) < 0);
        fake_kubelet_stop(k);
        r = talk_until(f, LOG(""), NULL);
        check_has(r, STR("HTTP/1.1 500 "));
        check_has(r, arena_printf(f->a,
                                  "\"message\":\"Get \\\"https://127.0.0.1:%u/containerLogs/default/p/c\\\": dial tcp "
                                  "127.0.0.1:%u: connect: connection refused\",\"code\":500}",
                                  port, port));
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_serve_setup, fixture_serve_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(exec_of_v5_is_spdy_to_the_kubelet),
                T(what_goes_wrong_behind_it_is_a_status),
                T(a_log_is_text_and_says_why_there_is_none),
                T(port_forward_in_messages_is_spdy_to_the_kubelet),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
