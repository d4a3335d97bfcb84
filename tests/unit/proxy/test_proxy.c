/* The service proxy with everything real: an API in this process, the pod network, nftables of a namespace of the
 * test's own, packets between pods "a" to "d", the node and "outside". */
#include "../net/ground.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/file.h"
#include "net/net.h"
#include "proxy/proxy.h"
#include "proxy/rules.h"

static const char *const pods[] = { "a", "b", "c", "d" };
static char ips[4][46];
static struct ground_api api;
static struct net *net;
static struct proxy *proxy;
static char dir[64];

static void start_proxy(void) {
        struct proxy_options o = {
                .client = api.client, .node_name = "n1", .nft_table = "cube", .cluster_cidr = "10.244.0.0/16"
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        if (proxy_start(&o, &proxy, &err) < 0)
                fail_msg("%s", error_text(&err));
}

/* ---- what is in the API ---- */

static void put_service(const char *name, const char *spec) {
        ground_put(&api, &res_services, "default", "{'metadata':{'name':'%s'},'spec':{%s}}", name, spec);
}

/* endpoints: letters of pods; "B": on another node; "b~": not ready; "b!": ending, still serving. */
static void put_slice(const char *service, const char *endpoints) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        for (const char *p = endpoints; *p; p++) {
                bool away = *p < 'a', ending = p[1] == '!', unready = p[1] == '~' || ending;
                buf_printf(&b,
                           "%s{'addresses':['%s'],'nodeName':'%s','conditions':{'ready':%s,'serving':%s,'terminating':%"
                           "s}}",
                           b.n ? "," : "", ips[(*p | 32) - 'a'], away ? "n2" : "n1", unready ? "false" : "true",
                           p[1] == '~' ? "false" : "true", ending ? "true" : "false");
                p += unready;
        }
        ground_put(&api, &res_endpointslices, "default",
                   "{'metadata':{'name':'%s-1','labels':{'kubernetes.io/service-name':'%s'}},'addressType':'IPv4',"
                   "'ports':[{'name':'p','port':80},{'name':'u','port':53,'protocol':'UDP'}],'endpoints':[%" STR_FMT
                   "]}",
                   service, service, STR_ARG(buf_str(&b)));
}

static void drop_service(const char *name) {
        _cleanup_free_ char *slice = xprintf("%s-1", name);
        ground_delete(&api, &res_services, "default", name);
        ground_delete(&api, &res_endpointslices, "default", slice);
}

/* ---- what is in the kernel ---- */

static int elements(const char *map) {
        return atoi(shell("nft -j list %s ip cube-proxy %s | python3 -c 'import json,sys; "
                          "print(sum(len(x.get(\"%s\",{}).get(\"elem\",[])) "
                          "for x in json.load(sys.stdin)[\"nftables\"]))'",
                          strcmp(map, "hairpin") == 0 || strcmp(map, "cluster_ips") == 0 ? "set" : "map", map,
                          strcmp(map, "hairpin") == 0 || strcmp(map, "cluster_ips") == 0 ? "set" : "map"));
}

static bool is_answer(const char *from, int type, const char *ip, uint16_t port, const char *expected) {
        return strcmp(ask_from(from, type, ip, port), expected) == 0;
}

/* An answer that begins with this letter. */
static bool answered_by(const char *from, const char *ip, uint16_t port, char letter) {
        const char *s = ask_from(from, SOCK_STREAM, ip, port);
        return s[0] == letter && s[1] == ' ';
}

/* How often each pod answers n questions; [4]: none did. */
static void spread(const char *from, const char *ip, uint16_t port, int n, int counts[5]) {
        memset(counts, 0, 5 * sizeof(*counts));
        for (int i = 0; i < n; i++) {
                const char *s = ask_from(from, SOCK_STREAM, ip, port);
                counts[s[1] == ' ' && s[0] >= 'a' && s[0] <= 'd' ? s[0] - 'a' : 4]++;
        }
}

#define WEB "'clusterIP':'10.96.3.7','ports':[{'name':'p','port':80,'targetPort':80}]"

static void a_service_is_spread_over_its_endpoints(void **state) {
        int counts[5];
        put_service("web", WEB);
        put_slice("web", "bcd~");
        eventually(answered_by("a", "10.96.3.7", 80, 'b'));
        spread("a", "10.96.3.7", 80, 60, counts);
        assert_true(counts[1] > 8 && counts[2] > 8);
        assert_int_equal(counts[1] + counts[2], 60);
        put_slice("web", "b");
        eventually(elements("endpoints") == 1);
        _cleanup_free_ char *kept = xprintf("b %s", ips[0]);
        assert_string_equal(ask_from("a", SOCK_STREAM, "10.96.3.7", 80), kept); /* its own address, not the node's */
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "10.96.3.7", 80), "b 10.244.7.1");
        assert_true(answered_by("b", "10.96.3.7", 80, 'b')); /* itself */
}

static void no_endpoint_is_a_refusal(void **state) {
        put_slice("web", "");
        eventually(is_answer("a", SOCK_STREAM, "10.96.3.7", 80, "refused"));
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "10.96.3.7", 80), "refused");
        assert_string_equal(ask_from("a", SOCK_STREAM, "10.96.3.7", 81), "refused"); /* no such port */
        assert_int_equal(elements("endpoints"), 0);
        put_slice("web", "b~");
        usleep(50000);
        assert_string_equal(ask_from("a", SOCK_STREAM, "10.96.3.7", 80), "refused");
        put_slice("web", "b~c!"); /* better one that is ending than none */
        eventually(answered_by("a", "10.96.3.7", 80, 'c'));
        put_slice("web", "bc!");
        eventually(answered_by("a", "10.96.3.7", 80, 'b'));
        drop_service("web");
        eventually(elements("services") == 0);
        assert_int_equal(elements("cluster_ips"), 0);
        assert_int_equal(elements("hairpin"), 0);
}

static void node_ports_are_open_everywhere_on_the_node(void **state) {
        put_service("np",
                    "'type':'NodePort','clusterIP':'10.96.3.8','ports':[{'name':'p','port':80,'nodePort':30035}]");
        put_slice("np", "b");
        eventually(answered_by("outside", "192.0.2.1", 30035, 'b'));
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 30035),
                            "b 10.244.7.1"); /* so that the answer comes back here */
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "192.0.2.1", 30035), "b 10.244.7.1");
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "127.0.0.1", 30035), "b 10.244.7.1");
        assert_true(answered_by("a", "192.0.2.1", 30035, 'b'));
        assert_true(answered_by("b", "192.0.2.1", 30035, 'b'));
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 30036), "refused");
        put_slice("np", "");
        eventually(is_answer("outside", SOCK_STREAM, "192.0.2.1", 30035, "refused"));
}

static void a_local_policy_keeps_the_source_and_never_leaves_the_node(void **state) {
        put_service("np", "'type':'NodePort','externalTrafficPolicy':'Local','clusterIP':'10.96.3.8',"
                          "'ports':[{'name':'p','port':80,'nodePort':30035}]");
        put_slice("np", "bC");
        eventually(is_answer("outside", SOCK_STREAM, "192.0.2.1", 30035, "b 192.0.2.2"));
        int counts[5];
        spread("outside", "192.0.2.1", 30035, 20, counts);
        assert_int_equal(counts[1], 20);
        put_slice("np", "C");
        eventually(is_answer("outside", SOCK_STREAM, "192.0.2.1", 30035,
                             "timeout"));                    /* said nothing: another node has it */
        assert_true(answered_by("a", "10.96.3.8", 80, 'c')); /* inside nothing changes */
        put_slice("np", "");
        eventually(is_answer("outside", SOCK_STREAM, "192.0.2.1", 30035, "refused"));
        drop_service("np");
        put_service("in", "'internalTrafficPolicy':'Local','clusterIP':'10.96.3.9','ports':[{'name':'p','port':80}]");
        put_slice("in", "bC");
        eventually(answered_by("a", "10.96.3.9", 80, 'b'));
        spread("a", "10.96.3.9", 80, 20, counts);
        assert_int_equal(counts[1], 20);
        put_slice("in", "C");
        eventually(is_answer("a", SOCK_STREAM, "10.96.3.9", 80, "timeout"));
        drop_service("in");
        eventually(elements("empty") == 0 && elements("node_empty") == 0);
}

static void external_and_load_balancer_addresses_lead_in(void **state) {
        put_service("ext", "'type':'LoadBalancer','clusterIP':'10.96.3.10','externalIPs':['198.51.100.7'],'"
                           "allocateLoadBalancerNodePorts':false,"
                           "'ports':[{'name':'p','port':80}]");
        put_slice("ext", "b");
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *status;
        assert_int_equal(json_parse(a,
                                    STR("{\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"198.51.100.8\"},{\"ip\":"
                                        "\"198.51.100.7\"},"
                                        "{\"hostname\":\"x\"}]}}}"),
                                    NULL, &status, NULL),
                         0);
        assert_int_equal(client_patch(api.client, &res_services, STR("default"), STR("ext"), STR("status"),
                                      API_PATCH_MERGE, status, NULL, NULL),
                         0);
        shell("ip -n $(basename %s) route add 198.51.100.0/24 via 192.0.2.1", netns_path("outside"));
        eventually(is_answer("outside", SOCK_STREAM, "198.51.100.8", 80, "b 10.244.7.1"));
        assert_string_equal(ask_from("outside", SOCK_STREAM, "198.51.100.7", 80), "b 10.244.7.1");
        assert_int_equal(elements("services"), 3);
        drop_service("ext");
        eventually(elements("services") == 0 && elements("endpoints") == 0);
}

/* ---- session affinity ---- */

static char who(const char *from) {
        return ask_from(from, SOCK_STREAM, "10.96.3.11", 80)[0];
}

static bool stays(const char *from, char with) {
        for (int i = 0; i < 25; i++)
                if (who(from) != with)
                        return false;
        return true;
}

static void a_client_stays_with_its_endpoint(void **state) {
        put_service("stick", "'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':60}},'"
                             "clusterIP':'10.96.3.11',"
                             "'ports':[{'name':'p','port':80}]");
        put_slice("stick", "abcd");
        eventually(elements("slots") == 8);
        char mine = who("a"), nodes = who(NULL);
        assert_true(stays("a", mine));
        assert_true(stays(NULL, nodes));
        for (char gone = 'a'; gone <= 'd'; gone++) { /* whoever else goes or comes, wherever it stood */
                char rest[8] = "", *r = rest;
                if (gone == mine || gone == nodes)
                        continue;
                for (char c = 'a'; c <= 'd'; c++)
                        if (c != gone)
                                *r++ = c;
                put_slice("stick", rest);
                eventually(elements("slots") == 6);
                assert_true(stays("a", mine));
                assert_true(stays(NULL, nodes));
                put_slice("stick", "abcd");
                eventually(elements("slots") == 8);
                assert_true(stays("a", mine));
                assert_true(stays(NULL, nodes));
        }
}

static void a_client_whose_endpoint_went_gets_another_to_stay_with(void **state) {
        char mine = who("a"), rest[8] = "", *r = rest;
        for (char c = 'a'; c <= 'd'; c++)
                if (c != mine)
                        *r++ = c;
        put_slice("stick", rest);
        eventually(elements("slots") == 6);
        char next = who("a");
        assert_int_not_equal(next, mine);
        assert_true(stays("a", next));
        put_slice("stick", "abcd"); /* it does not go back */
        eventually(elements("slots") == 8);
        assert_true(stays("a", next));
}

static void affinity_ends_after_its_time(void **state) {
        int counts[5] = { 0 };
        put_service("stick", "'sessionAffinity':'ClientIP','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':1}},'"
                             "clusterIP':'10.96.3.11',"
                             "'ports':[{'name':'p','port':80}]");
        eventually(shell_code("nft list map ip cube-proxy services | grep -q sticky-1") == 0);
        for (int i = 0; i < 8; i++) {
                char with = who("b");
                assert_int_equal(who("b"), with);
                counts[with - 'a']++;
                usleep(1100000 - (i > 4) * 100000);
        }
        assert_true((counts[0] > 0) + (counts[1] > 0) + (counts[2] > 0) + (counts[3] > 0) > 1);
        drop_service("stick");
        eventually(elements("slots") == 0 && elements("endpoints") == 0);
}

/* ---- UDP ---- */

static const char *say(int fd) {
        static char answer[64];
        struct timeval limit = { 0, 300000 };
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (send(fd, "?", 1, 0) < 0)
                return "unsent";
        ssize_t n = recv(fd, answer, sizeof(answer) - 1, 0);
        if (n < 0)
                return "silence";
        answer[n] = 0;
        return answer;
}

static void a_udp_flow_goes_on_with_another_endpoint(void **state) {
        struct sockaddr_in to = { .sin_family = AF_INET,
                                  .sin_port = htons(53),
                                  .sin_addr.s_addr = inet_addr("10.96.3.12") };
        _cleanup_close_ int fd = socket_in("a", SOCK_DGRAM);
        put_service("dns", "'clusterIP':'10.96.3.12','ports':[{'name':'u','port':53,'protocol':'UDP'},{'name':'p','"
                           "port':53}]");
        put_slice("dns", "b");
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        eventually(say(fd)[0] == 'b');
        put_slice("dns", "c");
        eventually(say(fd)[0] == 'c');
        put_slice("dns", "cd");
        usleep(100000);
        assert_int_equal(say(fd)[0], 'c'); /* nobody forgets a flow whose endpoint is there */
        assert_int_equal(say(fd)[0], 'c');
        put_slice("dns", "");
        eventually(say(fd)[0] != 'c');
        put_slice("dns", "b");
        eventually(say(fd)[0] == 'b');
        drop_service("dns");
        eventually(elements("services") == 0);
}

/* ---- who owns what ---- */

static void a_node_port_moves_to_another_service(void **state) {
        put_service("old", "'type':'NodePort','clusterIP':'10.96.3.13','externalIPs':['198.51.100.9'],'ports':[{'name':"
                           "'p','port':80,'nodePort':30036}]");
        put_slice("old", "b");
        eventually(answered_by("outside", "198.51.100.9", 80, 'b'));
        put_service("new", "'clusterIP':'10.96.3.14','externalIPs':['198.51.100.9'],'ports':[{'name':'p','port':80}]");
        put_slice("new", "c");
        eventually(answered_by("a", "10.96.3.14", 80, 'c'));
        assert_true(answered_by("outside", "198.51.100.9", 80, 'b')); /* the first has it */
        ground_delete(&api, &res_services, "default", "old");
        put_service("new", "'type':'NodePort','clusterIP':'10.96.3.14','externalIPs':['198.51.100.9'],'ports':[{'name':"
                           "'p','port':80,'nodePort':30036}]");
        eventually(answered_by("outside", "198.51.100.9", 80, 'c'));
        eventually(answered_by("outside", "192.0.2.1", 30036, 'c'));
        ground_delete(&api, &res_endpointslices, "default", "old-1");
        drop_service("new");
        eventually(elements("services") == 0 && elements("node_services") == 0);
}

static void services_of_other_proxies_are_left_alone(void **state) {
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'other','labels':{'service.kubernetes.io/service-proxy-name':'x'}},"
                   "'spec':{'clusterIP':'10.96.3.15','ports':[{'name':'p','port':80}]}}");
        ground_put(&api, &res_services, "default",
                   "{'metadata':{'name':'headless','labels':{'service.kubernetes.io/headless':''}},"
                   "'spec':{'clusterIP':'10.96.3.17','ports':[{'name':'p','port':80}]}}");
        put_service("mine", "'clusterIP':'10.96.3.16','ports':[{'name':'p','port':80}]");
        put_slice("headless", "b");
        put_slice("other", "b");
        put_slice("mine", "b");
        eventually(answered_by("a", "10.96.3.16", 80, 'b'));
        assert_int_equal(elements("services"), 1);
        drop_service("headless");
        drop_service("other");
        drop_service("mine");
        eventually(elements("services") == 0);
}

/* ---- work for a change ---- */

static struct front *front(int service, size_t n_backends, int64_t affinity) {
        struct front *f = xcalloc(1, sizeof(*f));
        f->ip = 0x0a600000 + (uint32_t) service;
        f->port = 80;
        f->affinity = affinity;
        f->n = n_backends;
        f->backends = xcalloc(n_backends + 1, sizeof(*f->backends));
        snprintf(f->key, sizeof(f->key), "10.96.%d.%d . tcp . 80", service / 256, service % 256);
        for (size_t i = 0; i < n_backends; i++)
                f->backends[i] = (backend_t) (0x0af40000 + (uint32_t) service * 16 + i) << 16 | 80;
        return f;
}

/* How many commands it takes to bring service 7 from one number of endpoints to another. */
static int commands(struct rules *r, size_t n, int64_t affinity) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct front *want = front(7, n, affinity);
        int lines = 0;
        rules_adjust(r, &b, rules_front(r, STR("10.96.0.7 . tcp . 80")), want);
        front_free(want);
        for (size_t i = 0; i < b.n; i++)
                lines += b.p[i] == '\n';
        return lines;
}

static void a_change_is_a_few_elements_however_many_there_are(void **state) {
        for (int64_t affinity = 0; affinity <= 60; affinity += 60) {
                struct rules *r = rules_new("t", "10.244.0.0/16");
                _cleanup_buf_ struct buf b = BUF_INIT;
                rules_start_over(r, &b);
                for (int i = 0; i < 3000; i++)
                        rules_install(r, &b, front(i, 1 + (size_t) i % 9, affinity));
                assert_int_equal(commands(r, 8, affinity), 0);
                assert_in_range(commands(r, 7, affinity), 1, 6);
                assert_in_range(commands(r, 8, affinity), 1, 6);
                assert_in_range(commands(r, 7, affinity), 1, 6);
                rules_free(r);
        }
}

#define MANY 1000

static void make_many(void) {
        for (int i = 0; i < MANY; i++) {
                char name[32], spec[128];
                snprintf(name, sizeof(name), "many-%d", i);
                snprintf(spec, sizeof(spec), "'clusterIP':'10.96.%d.%d','ports':[{'name':'p','port':80}]", 16 + i / 250,
                         i % 250 + 1);
                put_service(name, spec);
                put_slice(name, "bcd");
        }
}

static void thousands_of_services_are_there_at_once(void **state) {
        int counts[5];
        proxy_stop(proxy);
        make_many();
        int64_t begun = now_mono_ms();
        start_proxy();
        eventually(shell_code("nft list map ip cube-proxy services | grep -q 10.96.19.250") == 0);
        print_message("    %d services with 3 endpoints each are there after %lld ms\n", MANY,
                      (long long) (now_mono_ms() - begun));
        assert_int_equal(elements("services"), MANY);
        assert_int_equal(elements("endpoints"), 3 * MANY);

        put_slice("many-7", "cd");
        eventually(elements("endpoints") == 3 * MANY - 1);
        spread("a", "10.96.16.8", 80, 20, counts);
        assert_int_equal(counts[2] + counts[3], 20);
        put_slice("many-7", "bcd");
        eventually(elements("endpoints") == 3 * MANY);

        begun = now_mono_ms();
        for (int i = 0; i < 50; i++)
                put_slice("many-9", i % 2 ? "bcd" : "cd");
        eventually(elements("endpoints") == 3 * MANY);
        print_message("    50 changes take %lld ms\n", (long long) (now_mono_ms() - begun));
}

static int unanswered(void) {
        const char *answer = ask_from("a", SOCK_STREAM, "10.96.16.8", 80);
        if (answer[1] != ' ')
                print_message("    instead of an answer: %s\n", answer);
        return answer[1] != ' ';
}

/* But for who comes in the very moment in which the rules change: a packet that is in a chain of before looks into its
 * maps as they are after, where they are gone. */
static void a_restart_interrupts_nobody(void **state) {
        int lost = 0;
        proxy_stop(proxy);
        for (int i = 0; i < 10; i++)
                assert_int_equal(unanswered(), 0);
        put_slice("many-7", "c"); /* meanwhile */
        start_proxy();
        for (int64_t end = now_mono_ms() + 1000; now_mono_ms() < end;)
                lost += unanswered();
        assert_true(lost <= 1);
        eventually(elements("endpoints") == 3 * MANY - 2);
        for (int i = 0; i < MANY; i++) {
                char name[32];
                snprintf(name, sizeof(name), "many-%d", i);
                drop_service(name);
        }
        eventually(elements("services") == 0);
        assert_int_equal(elements("endpoints"), 0);
}

static void a_table_that_was_taken_away_comes_back(void **state) {
        put_service("web", WEB);
        put_slice("web", "b");
        eventually(answered_by("a", "10.96.3.7", 80, 'b'));
        shell("nft delete table ip cube-proxy");
        put_slice("web", "c");
        eventually(answered_by("a", "10.96.3.7", 80, 'c'));
        drop_service("web");
        eventually(elements("services") == 0);
}

static void the_books_are_right_after_many_changes(void **state) {
        static const char *const maps[] = { "services",       "endpoints",  "slots",      "empty",   "node_services",
                                            "node_endpoints", "node_slots", "node_empty", "hairpin", "cluster_ips" };
        int kept[ARRAY_SIZE(maps)];
        srand(7);
        for (int i = 0; i < 400; i++) {
                char name[8], spec[256], endpoints[16], *e = endpoints;
                int n = rand() % 6;
                snprintf(name, sizeof(name), "s%d", n);
                snprintf(spec, sizeof(spec),
                         "'type':'%s','sessionAffinity':'%s','clusterIP':'10.96.4.%d','ports':[{'name':'p','port':80%s}"
                         ","
                         "{'name':'u','port':53,'protocol':'UDP'}]",
                         n < 3 ? "NodePort" : "ClusterIP", rand() % 3 ? "None" : "ClientIP", n + 1,
                         n == 0   ? ",'nodePort':30030"
                         : n == 1 ? ",'nodePort':30031"
                         : n == 2 ? ",'nodePort':30032"
                                  : "");
                for (int k = 0; k < 4; k++)
                        if (rand() % 2) {
                                *e++ = (char) ((rand() % 4 ? 'a' : 'A') + k);
                                if (rand() % 5 == 0)
                                        *e++ = rand() % 2 ? '~' : '!';
                        }
                *e = 0;
                if (rand() % 20 == 0 && i > 60) {
                        put_service(name, spec);
                        put_slice(name, endpoints);
                        drop_service(name);
                        continue;
                }
                if (rand() % 3 == 0)
                        put_service(name, spec);
                put_slice(name, endpoints);
        }
        usleep(500000);
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                kept[i] = elements(maps[i]);
        shell("nft list table ip cube-proxy >/dev/null");
        proxy_stop(proxy);
        shell("nft delete table ip cube-proxy");
        start_proxy(); /* writes from nothing what the other had come to bit by bit */
        eventually(shell_code("nft list table ip cube-proxy >/dev/null 2>&1") == 0);
        usleep(200000);
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
                print_message("    %s: %d\n", maps[i], kept[i]);
                assert_int_equal(elements(maps[i]), kept[i]);
        }
}

static void destroying_leaves_nothing(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        proxy_stop(proxy);
        for (int i = 0; i < 2; i++)
                assert_int_equal(proxy_destroy("cube", &err), 0);
        assert_string_equal(shell("nft list tables | grep -c cube-proxy || true"), "0\n");
}

/* ---- the ground ---- */

static int setup(void **state) {
        struct net_options o = {
                .node_name = "n1", .bridge = "cni0", .nft_table = "cube", .cluster_cidr = "10.244.0.0/16"
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        ground_api_start(&api);
        snprintf(dir, sizeof(dir), "/tmp/cube-proxy-test-XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        outside_add();
        ground_put(&api, &res_nodes, "",
                   "{'metadata':{'name':'n1'},'spec':{'podCIDR':'10.244.7.0/24','podCIDRs':['10.244.7.0/24']}}");
        o.client = api.client;
        o.state_dir = dir;
        assert_int_equal(net_start(&o, &net, &err), 0);
        struct pod_network *p = net_pod_network(net);
        eventually(p->ready(p));
        for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
                char both[2][46];
                netns_add(pods[i]);
                assert_int_equal(p->attach(p, pods[i], netns_path(pods[i]), NULL, NULL, both, &err), 0);
                memcpy(ips[i], both[0], sizeof(ips[i]));
                serve(pods[i], SOCK_STREAM, 80);
                serve(pods[i], SOCK_DGRAM, 53);
        }
        ground_delete(&api, &res_services, "default", "kubernetes"); /* one Service less to think of */
        start_proxy();
        eventually(shell_code("nft list table ip cube-proxy >/dev/null 2>&1") == 0);
        return 0;
}

static int teardown(void **state) {
        serve_end();
        net_stop(net);
        for (size_t i = 0; i < ARRAY_SIZE(pods); i++)
                netns_delete(pods[i]);
        outside_delete();
        ground_api_stop(&api);
        return file_remove_tree(dir, NULL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_service_is_spread_over_its_endpoints),
                cmocka_unit_test(no_endpoint_is_a_refusal),
                cmocka_unit_test(node_ports_are_open_everywhere_on_the_node),
                cmocka_unit_test(a_local_policy_keeps_the_source_and_never_leaves_the_node),
                cmocka_unit_test(external_and_load_balancer_addresses_lead_in),
                cmocka_unit_test(a_client_stays_with_its_endpoint),
                cmocka_unit_test(a_client_whose_endpoint_went_gets_another_to_stay_with),
                cmocka_unit_test(affinity_ends_after_its_time),
                cmocka_unit_test(a_udp_flow_goes_on_with_another_endpoint),
                cmocka_unit_test(a_node_port_moves_to_another_service),
                cmocka_unit_test(services_of_other_proxies_are_left_alone),
                cmocka_unit_test(a_change_is_a_few_elements_however_many_there_are),
                cmocka_unit_test(thousands_of_services_are_there_at_once),
                cmocka_unit_test(a_restart_interrupts_nobody),
                cmocka_unit_test(a_table_that_was_taken_away_comes_back),
                cmocka_unit_test(the_books_are_right_after_many_changes),
                cmocka_unit_test(destroying_leaves_nothing),
        };
        if (!ground_enter())
                return 77;
        return cmocka_run_group_tests_name("proxy", tests, setup, teardown);
}
