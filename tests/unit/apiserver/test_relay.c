/* What comes back through a proxy: a backend of our own answers with what it is told to, once for each connection. All
 * is in a network of its own, on an address that others could reach. */
#include "apiserver/relay.h"
#include "help.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdlib.h>

#define NODE_IP "198.51.100.1"

struct backend {
        pthread_t thread;
        int fd;
        uint16_t port;
        const char *answer;
        size_t n_answer; /* 0: a text */
        bool waits;      /* for who asks to leave */
};

static void *answer_once(void *arg) {
        struct backend *b = arg;
        int fd = accept(b->fd, NULL, NULL);
        char request[4096];
        size_t n = 0;

        while (n < sizeof(request) - 1 && !memmem(request, n, "\r\n\r\n", 4)) {
                ssize_t got = recv(fd, request + n, sizeof(request) - 1 - n, 0);

                if (got <= 0)
                        break;
                n += (size_t) got;
        }
        send(fd, b->answer, b->n_answer ? b->n_answer : strlen(b->answer), MSG_NOSIGNAL);
        while (b->waits && recv(fd, request, sizeof(request), 0) > 0)
                ;
        close(fd);
        return NULL;
}

static void backend_listen(struct backend *b) {
        struct sockaddr_in at = { .sin_family = AF_INET };
        socklen_t n = sizeof(at);

        at.sin_addr.s_addr = inet_addr(NODE_IP);
        b->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(b->fd, (struct sockaddr *) &at, sizeof(at)), 0);
        assert_int_equal(listen(b->fd, 1), 0);
        getsockname(b->fd, (struct sockaddr *) &at, &n);
        b->port = ntohs(at.sin_port);
}

static void set_node_address(struct fixture *f, const char *type, const char *address) {
        check_code(ASK(f, API_PATCH, &res_nodes, "", "n", "status", .patch = API_PATCH_MERGE,
                       .body = arena_printf(f->a, "{\"status\":{\"addresses\":[{\"type\":\"%s\",\"address\":\"%s\"}]}}",
                                            type, address)
                                               .p),
                   200);
}

static void make_node(struct fixture *f) {
        check_code(ASK(f, API_CREATE, &res_nodes, "", .body = Q("{'metadata':{'name':'n'}}")), 201);
        set_node_address(f, "InternalIP", NODE_IP);
}

static struct str ask_node(struct fixture *f, uint16_t port, const char *headers) {
        bool upgrade = str_has_prefix(str_of(headers), STR("Upgrade"));

        return talk_until(f,
                          arena_printf(f->a,
                                       "GET /api/v1/nodes/n:%u/proxy/x HTTP/1.1\r\nHost: x\r\n%sConnection: %s\r\n\r\n",
                                       port, headers, upgrade ? "Upgrade" : "close")
                                          .p,
                          upgrade ? "}\n" : NULL);
}

static void answers_come_through_without_what_is_between_two_hops(void **state) {
#define OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define PAGE "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
#define UPGRADE "Upgrade: foo\r\n"
#define BROKEN "reach service: net/http: HTTP/1.x transport connection broken: "
        static const struct {
                const char *headers, *answer, *has, *has_not;
        } cases[] = {
                { "", OK "Connection: X-Hop\r\nX-Hop: 1\r\nX-Stay: 2\r\nContent-Length: 2\r\n\r\nhi", "X-Stay: 2\r\n",
                  "X-Hop" },
                { "", OK "Connection: X-Hop, close\r\nX-Hop: 1\r\nContent-Length: 2\r\n\r\nhi", "X-Hop: 1\r\n",
                  "X-Hop, close" },
                { "", OK "Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "chunked",
                  "Content-Length" },
                { "", "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK "Content-Length: 2\r\n\r\nhi",
                  "HTTP/1.1 103 Early Hints\r\nCache-Control: no-cache, private\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
                  "text/plain\r\nCache" },
                { "", PAGE "Content-Length: 11\r\n\r\n<a href=/x>", "Content-Length: 40\r\n", "Content-Length: 11" },
                { "", PAGE "Content-Length: 99\r\n\r\n<a href=/x>", "\"message\":\"unexpected EOF\",\"code\":500}",
                  "href" },
                { "", PAGE "Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\nno gzip yet",
                  "\"message\":\"gzip: invalid header\",\"code\":500}", "200 OK" },
                { "Accept-Encoding: gzip\r\n", PAGE "Content-Encoding: gzip\r\nContent-Length: 11\r\n\r\nno gzip yet",
                  "\"message\":\"errorf making gzip reader: gzip: invalid header\",\"code\":500}", "200 OK" },
                { "", PAGE "Content-Encoding: br\r\nContent-Length: 11\r\n\r\n<a href=/x>", "\r\n\r\n<a href=/x>",
                  "/proxy/x" },
                { "", PAGE "Location: /y\r\nContent-Length: 11\r\n\r\n<a href=/x>", "\r\n\r\n<a href=/x>", "/proxy/x" },
                { "", "HTTP/1.1 418 x\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 418 I'm a teapot\r\n", " x\r\n" },
                { "", OK "Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nhi", "\r\n\r\nhi", "Proxy-Auth" },
                { "", OK "Access-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nhi", "\r\n\r\nhi",
                  "Access-Control" },
                { "", OK "Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "Content-Length: 2\r\n",
                  "content-length: 2\r\nContent-Length: 2\r\n" },
                { "", "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 999 status code 999\r\n", "Odd" },
                { "", "garb\"age\r\n\r\n", BROKEN "malformed HTTP response \\\"garb\\\\\\\"age\\\"\"", " 200 " },
                { "", "HTTP/1.1 200 OK\r\nLocation: http://[::1\r\nContent-Length: 2\r\n\r\nhi",
                  "error trying to parse Location header: parse \\\"http://[::1\\\": missing ']' in host\"", " 200 " },
                { "", "HTTP/1.1 304 Not Modified\r\nContent-Type: a/b\r\nContent-Length: 2\r\nX-Stay: 2\r\n\r\n",
                  "X-Stay: 2\r\n", "Content-" },
                { "", "HTTP/1.1 101 Switching Protocols\r\n\r\n",
                  "\"message\":\"internal error: 101 switching protocols response with non-writable body\"",
                  "HTTP/1.1 101" },
                { "", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n",
                  "backend tried to switch protocol \\\"foo\\\" when \\\"\\\" was requested\"", "HTTP/1.1 101" },
                { "", "HTTP/2.0 200\r\nContent-Length: 2\r\n\r\nhi", "HTTP/1.1 200 OK\r\n", "HTTP/2.0" },
                { "", "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 2\r\n\r\nhi", "\r\n\r\nhi", "Bad Name" },
                { "", "H", BROKEN "malformed HTTP response \\\"H\\\"\"", " 200 " },
                { "", "ICY 200 OK\r\n\r\n", BROKEN "malformed HTTP version \\\"ICY\\\"\"", " 200 " },
                { "", "HTTP/1.1 2000 OK\r\n\r\n", BROKEN "malformed HTTP status code \\\"2000\\\"\"", " 200 " },
                { "", "HTTP/1.1 99999999999 OK\r\n\r\n", BROKEN "malformed HTTP status code \\\"99999999999\\\"\"",
                  " 200 " },
                { "", "HTTP/1.1 200 OK\r\nContent-Le", BROKEN "unexpected EOF\"", " 200 " },
                { "", OK "Content-Length: abc\r\n\r\n", BROKEN "bad Content-Length \\\"abc\\\"\"", " 200 " },
                { "", OK "Content-Length:\r\n\r\n", BROKEN "invalid empty Content-Length \\\"\\\"\"", " 200 " },
                { "", OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
                  BROKEN "http: message cannot contain multiple Content-Length headers; got [\\\"1\\\" \\\"2\\\"]\"",
                  " 200 " },
                { "", OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
                  BROKEN "unsupported transfer encoding: \\\"gzip, chunked\\\"\"", " 200 " },
                { "", OK "Nothing\r\n\r\n", BROKEN "malformed MIME header: missing colon: \\\"Nothing\\\"\"", " 200 " },
                { "", OK "X-Long: a\r\n\t b \r\n c\r\nContent-Length: 2\r\n\r\nhi", "X-Long: a b c\r\n", "\r\n\t" },
                { "", "HTTP/1.1 200 OK\r\n X: y\r\n\r\n", BROKEN "malformed MIME header initial line:  X: y\"",
                  " 200 " },
                { "", OK "Transfer-Encoding: chunked\r\nTrailer: trailer\r\n\r\n0\r\n\r\n",
                  BROKEN "bad trailer key \\\"Trailer\\\"\"", " 200 " },
                { UPGRADE, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Own: 1\r\n\r\nno",
                  "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nX-Own: 1\r\n\r\nno", "Audit-Id" },
                { UPGRADE, "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
                  "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n", "Date" },
                { UPGRADE, "HTTP/1.1 103 Early Hints\r\n\r\n",
                  "\"message\":\"invalid upgrade response: status code 103\",\"code\":500}", " 103 " },
                { UPGRADE, "garbage\r\n\r\n", "\"message\":\"malformed HTTP response \\\"garbage\\\"\",\"code\":500}",
                  "dialing" },
                { UPGRADE, "", "\"message\":\"unexpected EOF\",\"code\":500}", "dialing" },
                { "Connection: Upgrade\r\n", "garbage\r\n\r\n",
                  "\"message\":\"malformed HTTP response \\\"garbage\\\"\",\"code\":500}", "reach service" },
        };
        struct fixture *f = *state;

        make_node(f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct backend b = { .answer = cases[i].answer };
                struct str r;

                backend_listen(&b);
                pthread_create(&b.thread, NULL, answer_once, &b);
                r = ask_node(f, b.port, cases[i].headers);
                pthread_join(b.thread, NULL);
                close(b.fd);
                if (str_search(r, str_of(cases[i].has)) < 0 || str_search(r, str_of(cases[i].has_not)) >= 0)
                        fail_msg("%s: %.*s", cases[i].answer, (int) r.n, r.p);
        }
}

/* Who does not ask for compressed answers gets none, though the other server was told that it may compress. */
static void compressed_answers_are_unpacked(void **state) {
#define GZIP_HI "\037\213\010\000\000\000\000\000\002\003\313\310\004\000\254\052\223\330\002\000\000\000"
#define GZIP_PAGE                                                                                                      \
        "\037\213\010\000\000\000\000\000\002\003\263\111\124\310\050\112\115\263\325\257\260\003\000\046\054\106\324" \
        "\013\000\000\000"
        static const char hi[] = OK "Content-Encoding: gzip\r\n\r\n" GZIP_HI GZIP_HI,
                          page[] = PAGE "Content-Encoding: gzip\r\n\r\n" GZIP_PAGE;
        static const struct {
                const char *headers;
                struct str answer;
                const char *has, *has_not;
        } cases[] = {
                { "", { hi, sizeof(hi) - 1 }, "\r\n\r\nhihi", "Content-Encoding" },
                { "Accept-Encoding: identity\r\n", { hi, sizeof(hi) - 1 }, "Content-Encoding: gzip\r\n", "hihi" },
                { "Range: bytes=0-1\r\n", { hi, sizeof(hi) - 1 }, "Content-Encoding: gzip\r\n", "hihi" },
                { "", { page, sizeof(page) - 1 }, "/proxy/x\">", "Content-Encoding" },
                { "", { page, sizeof(page) - 3 }, "\"message\":\"unexpected EOF\",\"code\":500}", "href" },
        };
        struct fixture *f = *state;

        make_node(f);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct backend b = { .answer = cases[i].answer.p, .n_answer = cases[i].answer.n };
                struct str r;

                backend_listen(&b);
                pthread_create(&b.thread, NULL, answer_once, &b);
                r = ask_node(f, b.port, cases[i].headers);
                pthread_join(b.thread, NULL);
                close(b.fd);
                if (str_search(r, str_of(cases[i].has)) < 0 || str_search(r, str_of(cases[i].has_not)) >= 0)
                        fail_msg("%zu: %.*s", i, (int) r.n, r.p);
        }
}

static void who_speaks_another_protocol_is_not_waited_for(void **state) {
        struct fixture *f = *state;
        struct backend b = { .answer = "SSH-2.0-x\r\n", .waits = true };
        struct str r;

        make_node(f);
        backend_listen(&b);
        pthread_create(&b.thread, NULL, answer_once, &b);
        r = ask_node(f, b.port, "");
        pthread_join(b.thread, NULL);
        close(b.fd);
        assert_true(str_search(r, STR(BROKEN "malformed HTTP response \\\"SSH-2.0-x\\\"\"")) > 0);
}

static void what_follows_a_body_follows_it_here(void **state) {
        struct fixture *f = *state;
        struct backend b = { .answer = OK "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nhi\r\n0\r\n"
                                          "X-Sum: 1\r\nX-More: 2\r\n\r\n" };
        struct str r;

        make_node(f);
        backend_listen(&b);
        pthread_create(&b.thread, NULL, answer_once, &b);
        r = talk_until(f, arena_printf(f->a, "GET /api/v1/nodes/n:%u/proxy/x HTTP/1.1\r\nHost: x\r\n\r\n", b.port).p,
                       "\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n");
        pthread_join(b.thread, NULL);
        close(b.fd);
        assert_true(str_search(r, STR("\r\nTrailer: X-Sum\r\n")) > 0);
}

static void an_upgrade_says_why_nobody_answers(void **state) {
        struct fixture *f = *state;
        struct backend b = { 0 };
        struct str r;

        make_node(f);
        backend_listen(&b);
        close(b.fd);
        r = ask_node(f, b.port, UPGRADE);
        assert_true(str_search(r, arena_printf(f->a,
                                               "\"message\":\"error dialing backend: dial tcp " NODE_IP ":%u: connect: "
                                               "connection refused\",\"code\":500}",
                                               b.port)) > 0);
}

static void what_only_this_machine_reaches_is_no_pods_or_nodes(void **state) {
        static const char *const forbidden[] = { "127.0.0.1", "169.254.169.254", "224.0.0.1",
                                                 "::1",       "fe80::1",         "::ffff:127.0.0.1" };
        struct fixture *f = *state;

        make_node(f);
        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_pods, "default",
                       .body = Q("{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]}}")),
                   201);
        for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
                struct str r;

                check_code(ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                               .body = arena_printf(f->a,
                                                    "{\"status\":{\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}]}}",
                                                    forbidden[i], forbidden[i])
                                                       .p),
                           200);
                r = talk_until(f,
                               "GET /api/v1/namespaces/default/pods/p:1/proxy/x HTTP/1.1\r\nHost: x\r\n"
                               "Connection: close\r\n\r\n",
                               NULL);
                if (str_search(r, STR("\"message\":\"address not allowed\"")) < 0)
                        fail_msg("%s: %.*s", forbidden[i], (int) r.n, r.p);
                set_node_address(f, "ExternalDNS", forbidden[i]);
                r = ask_node(f, 1, "");
                if (str_search(r, STR("\"message\":\"address not allowed\"")) < 0)
                        fail_msg("node %s: %.*s", forbidden[i], (int) r.n, r.p);
        }
        set_node_address(f, "Other", "1.2.3.4");
        assert_true(str_search(ask_node(f, 1, ""),
                               STR("no preferred addresses found; known addresses: [{Other 1.2.3.4}]")) > 0);
}

/* A tenth of it goes each tenth of a second; what came before the other server left goes on, too. */
static void upgraded_connections_have_a_rate(void **state) {
        static const char *const args[] = { "max-connection-bytes-per-sec=2000", NULL };
        static char answer[1000] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
        struct fixture *f = *state;
        struct backend b = { .answer = answer, .n_answer = sizeof(answer) };
        struct str r;

        memset(answer + strlen(answer), 'x', sizeof(answer) - strlen(answer) - 4);
        memcpy(answer + sizeof(answer) - 4, "last", 4);
        f->s->options.args = args;
        make_node(f);
        backend_listen(&b);
        pthread_create(&b.thread, NULL, answer_once, &b);
        r = talk_until(f,
                       arena_printf(f->a,
                                    "GET /api/v1/nodes/n:%u/proxy/x HTTP/1.1\r\nHost: x\r\n" UPGRADE
                                    "Connection: Upgrade\r\n\r\n",
                                    b.port)
                                       .p,
                       "last");
        pthread_join(b.thread, NULL);
        close(b.fd);
        assert_true(str_has_prefix(r, STR("HTTP/1.1 101 ")) && str_has_suffix(r, STR("xlast")));
        assert_true(r.n >= sizeof(answer));
}

static void services_are_asked_at_endpoints_or_cluster_ips(void **state) {
        static const char *const args[] = { "enable-aggregator-routing=false", NULL };
        static const struct {
                const char *name, *spec, *host, *error;
                int port;
        } cases[] = {
                { "a", "'clusterIP':'10.96.0.77',", "10.96.0.77", NULL, 443 },
                { "b", "'clusterIP':'10.96.0.78',", NULL, "no service port 444 found for service \"b\"", 444 },
                { "c", "'clusterIP':'None',", "c.default.svc", NULL, 443 },
                { "d", "'type':'ExternalName','externalName':'x.example',", "x.example", NULL, 443 },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                for (int routed = 0; routed < 2; routed++) {
                        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = NULL;
                        _cleanup_error_ struct error e = ERROR_INIT;
                        struct str host = STR(""), name = str_of(cases[i].name);
                        uint16_t port;
                        int r;

                        f->s->options.args = NULL;
                        if (routed == 0)
                                check_code(ASK(f, API_CREATE, &res_services, "default",
                                               .body = with_quotes(f,
                                                                   arena_printf(f->a,
                                                                                "{'metadata':{'name':'%s'},'spec':{%s"
                                                                                "'ports':[{'port':443}]}}",
                                                                                cases[i].name, cases[i].spec)
                                                                                   .p)),
                                           201);
                        else
                                f->s->options.args = args;
                        snap = store_snapshot(f->s->store);
                        r = service_endpoint(f->s, snap, f->a, STR("default"), name, cases[i].port, &host, &port, &e);
                        if (routed == 1 && cases[i].host)
                                assert_true(r == 0 && str_eqc(host, cases[i].host) && port == cases[i].port);
                        else if (routed == 1)
                                assert_string_equal(error_text(&e), cases[i].error);
                        else
                                assert_int_equal(r == 0, strcmp(cases[i].name, "d") == 0); /* there are no endpoints */
                }
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_serve_setup, fixture_serve_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(answers_come_through_without_what_is_between_two_hops),
                T(compressed_answers_are_unpacked),
                T(who_speaks_another_protocol_is_not_waited_for),
                T(what_follows_a_body_follows_it_here),
                T(an_upgrade_says_why_nobody_answers),
                T(upgraded_connections_have_a_rate),
                T(services_are_asked_at_endpoints_or_cluster_ips),
                T(what_only_this_machine_reaches_is_no_pods_or_nodes),
        };

        if (unshare(CLONE_NEWNET) < 0 || system("ip link set lo up && ip addr add " NODE_IP " dev lo") != 0)
                return 1;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
