/* The pod network as the runtime uses it: real namespaces as pods, a real API for the Node, real packets.
 *
 *   pods a, b … ── cni0 ── the test's own namespace, "node" ── out0 192.0.2.1/24 ── 192.0.2.2 "outside"
 */
#include "ground.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/file.h"
#include "json/build.h"
#include "net/net.h"
#include "net/netlink.h"

static struct ground_api api;
static struct net *net;
static char dir[64];

static struct net_options options(void) {
        return (struct net_options) { .client = api.client,
                                      .node_name = "n1",
                                      .state_dir = dir,
                                      .bridge = "cni0",
                                      .nft_table = "cube",
                                      .cluster_cidr = "10.244.0.0/16" };
}

static void start_net(void) {
        struct net_options o = options();
        _cleanup_error_ struct error err = ERROR_INIT;
        if (net_start(&o, &net, &err) < 0)
                fail_msg("%s", error_text(&err));
}

static bool ready(void) {
        struct pod_network *p = net_pod_network(net);
        return p->ready(p);
}

static int attach_with(const char *pod, const struct json *ports, char ip[46], struct error *err) {
        struct pod_network *p = net_pod_network(net);
        char ips[2][46];
        int r = p->attach(p, pod, netns_path(pod), NULL, ports, ips, err);
        if (r == 0) {
                memcpy(ip, ips[0], 46);
                assert_string_equal(ips[1], "");
        }
        return r;
}

static const char *attach(const char *pod, const struct json *ports) {
        static char kept[8][46];
        static unsigned turn;
        char *ip = kept[turn++ % 8];
        _cleanup_error_ struct error err = ERROR_INIT;
        if (attach_with(pod, ports, ip, &err) < 0)
                fail_msg("attach %s: %s", pod, error_text(&err));
        return ip;
}

static void detach(const char *pod) {
        struct pod_network *p = net_pod_network(net);
        _cleanup_error_ struct error err = ERROR_INIT;
        if (p->detach(p, pod, netns_path(pod), &err) < 0)
                fail_msg("detach %s: %s", pod, error_text(&err));
}

static int leases(void) {
        return atoi(shell("ls %s/leases | wc -l", dir));
}

static int port_elements(void) {
        return atoi(shell("nft -n list map ip cube-net hostports | grep -oE '\\b(6|17) \\. [0-9]+ :' | wc -l"));
}

static void nothing_is_ready_before_the_node_has_a_range(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char ip[46];
        start_net();
        assert_false(ready());
        assert_int_equal(attach_with("a", NULL, ip, &err), -EAGAIN);
        assert_string_equal(error_text(&err), "the pod network is not ready: the node has no podCIDR yet");
        ground_put(&api, &res_nodes, "", "{'metadata':{'name':'n1'}}");
        usleep(50000);
        assert_false(ready());
        ground_put(&api, &res_nodes, "",
                   "{'metadata':{'name':'n1'},'spec':{'podCIDR':'10.244.7.0/24','podCIDRs':['10.244.7.0/24']}}");
        eventually(ready());
        shell("ip -4 addr show cni0 | grep -q 'inet 10.244.7.1/24'");
        assert_int_equal(nl_link_mtu("cni0"), 1400); /* the default route's */
        assert_string_equal(shell("cat /proc/sys/net/ipv4/ip_forward"), "1\n");
}

static void pods_reach_each_other_the_node_and_the_world(void **state) {
        const char *a = attach("a", NULL), *b = attach("b", NULL);
        assert_string_equal(a, "10.244.7.2");
        assert_string_equal(b, "10.244.7.3");
        serve("b", SOCK_STREAM, 80);
        serve("outside", SOCK_STREAM, 80);
        serve(NULL, SOCK_STREAM, 80);
        assert_string_equal(ask_from("a", SOCK_STREAM, b, 80), "b 10.244.7.2");
        assert_string_equal(ask_from("a", SOCK_STREAM, "10.244.7.1", 80), "node 10.244.7.2");
        assert_string_equal(ask_from("a", SOCK_STREAM, "192.0.2.1", 80), "node 10.244.7.2");
        assert_string_equal(ask_from("a", SOCK_STREAM, "192.0.2.2", 80), "outside 192.0.2.1"); /* masqueraded */
        assert_string_equal(ask_from(NULL, SOCK_STREAM, b, 80), "b 10.244.7.1");
        assert_string_equal(ask_from("b", SOCK_STREAM, "127.0.0.1", 80), "b 127.0.0.1");
        serve_end();
        assert_string_equal(ask_from("a", SOCK_STREAM, b, 80), "refused");
}

static void attaching_again_changes_nothing(void **state) {
        assert_string_equal(attach("a", NULL), "10.244.7.2");
        assert_int_equal(leases(), 2);
        serve("a", SOCK_STREAM, 80);
        assert_string_equal(ask_from("b", SOCK_STREAM, "10.244.7.2", 80), "a 10.244.7.3");
        serve_end();
}

static void detaching_leaves_nothing(void **state) {
        detach("a");
        detach("a");
        detach("b");
        assert_int_equal(leases(), 0);
        assert_string_equal(shell("ip -o link | grep -c veth || true"), "0\n");
        assert_string_equal(shell("ip netns exec $(basename %s) ip -o link | grep -c eth0 || true", netns_path("a")),
                            "0\n");
}

static void host_ports_lead_to_the_pod(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json ports = json_build(
                        a, "[{ hostPort: 8080, containerPort: 80 }, { hostPort: 5353, containerPort: 53, protocol: "
                           "'UDP' },"
                           " { hostPort: 9090, containerPort: 80, hostIP: '192.0.2.1' }, { containerPort: 7 }]");
        attach("a", &ports);
        attach("b", NULL);
        serve("a", SOCK_STREAM, 80);
        serve("a", SOCK_DGRAM, 53);
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 8080), "a 192.0.2.2");
        assert_string_equal(ask_from("outside", SOCK_DGRAM, "192.0.2.1", 5353), "a 192.0.2.2");
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 9090), "a 192.0.2.2");
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 80), "refused");
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "192.0.2.1", 8080), "a 192.0.2.1");
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "127.0.0.1", 8080), "a 10.244.7.1");
        assert_string_equal(ask_from(NULL, SOCK_STREAM, "127.0.0.1", 9090), "refused");
        assert_int_equal(strncmp(ask_from("b", SOCK_STREAM, "192.0.2.1", 8080), "a 10.244.7.", 11),
                         0);                                                                /* a pod beside it */
        assert_string_equal(ask_from("a", SOCK_STREAM, "192.0.2.1", 8080), "a 10.244.7.1"); /* and itself */
        serve_end();
}

static void a_taken_host_port_is_an_error_and_leaves_nothing(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json ports =
                        json_build(a, "[{ hostPort: 8080, containerPort: 81 }, { hostPort: 8081, containerPort: 81 }]");
        char ip[46];
        int before = leases();
        assert_int_equal(attach_with("c", &ports, ip, &err), -EIO);
        assert_int_equal(strncmp(error_text(&err), "host ports of the pod: nftables: ", 33), 0);
        assert_non_null(strstr(error_text(&err), "File exists"));
        assert_int_equal(leases(), before);
        assert_int_equal(port_elements(), 2);
}

static void a_restart_keeps_what_runs(void **state) {
        assert_int_equal(leases(), 2);
        net_stop(net);
        serve("a", SOCK_STREAM, 80);
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 8080), "a 192.0.2.2");
        shell("nft delete table ip cube-net");
        start_net();
        eventually(ready());
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 8080),
                            "a 192.0.2.2"); /* written anew from the leases */
        serve_end();
        assert_int_equal(leases(), 2);
        detach("a");
        assert_int_equal(port_elements(), 0);
        assert_string_equal(ask_from("outside", SOCK_STREAM, "192.0.2.1", 8080), "refused");
        detach("b");
}

static void missing_rules_do_not_hold_up_an_end(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json ports = json_build(a, "[{ hostPort: 8080, containerPort: 80 }]"),
                    others = json_build(a, "[{ hostPort: 8081, containerPort: 80 }]");
        attach("a", &ports);
        attach("b", &others);
        shell("nft flush map ip cube-net hostports");
        detach("a");
        assert_int_equal(port_elements(), 1); /* b's is back */
        detach("b");
        assert_int_equal(port_elements(), 0);
}

static void an_end_before_the_network_is_ready_counts(void **state) {
        attach("a", NULL);
        net_stop(net);
        ground_delete(&api, &res_nodes, "", "n1");
        start_net();
        detach("a"); /* its namespace is still there when the leases are read */
        assert_int_equal(leases(), 1);
        ground_put(&api, &res_nodes, "",
                   "{'metadata':{'name':'n1'},'spec':{'podCIDR':'10.244.7.0/24','podCIDRs':['10.244.7.0/24']}}");
        eventually(ready());
        assert_int_equal(leases(), 0);
}

static void pods_cannot_reach_the_nodes_loopback(void **state) {
        attach("a", NULL);
        serve(NULL, SOCK_STREAM, 81);
        shell("ip netns exec $(basename %s) ip route add 127.0.0.9 via 10.244.7.1 dev eth0", netns_path("a"));
        shell("ip netns exec $(basename %s) sysctl -qw net.ipv4.conf.eth0.route_localnet=1", netns_path("a"));
        shell("ip netns exec $(basename %s) ip rule add pref 1 to 127.0.0.9 table main && ip netns exec $(basename %s) "
              "ip rule del pref 0 "
              "&& ip netns exec $(basename %s) ip rule add pref 2 table local",
              netns_path("a"), netns_path("a"), netns_path("a"));
        assert_string_equal(ask_from("a", SOCK_STREAM, "127.0.0.9", 81), "timeout");
        serve_end();
        detach("a");
}

static void *attach_many(void *arg) {
        struct pod_network *p = net_pod_network(net);
        const char *pod = arg;
        char id[64], ips[2][46];
        for (int i = 0; i < 10; i++) {
                snprintf(id, sizeof(id), "%s-%d", pod, i);
                if (p->attach(p, id, netns_path(pod), NULL, NULL, ips, NULL) < 0 ||
                    p->detach(p, id, netns_path(pod), NULL) < 0)
                        return "failed";
        }
        return NULL;
}

static void many_pods_come_and_go_at_once(void **state) {
        static const char *const pods[] = { "a", "b", "c" };
        pthread_t threads[3];
        void *result;
        for (int i = 0; i < 3; i++)
                pthread_create(&threads[i], NULL, attach_many, (void *) pods[i]);
        for (int i = 0; i < 3; i++) {
                pthread_join(threads[i], &result);
                assert_null(result);
        }
        assert_int_equal(leases(), 0);
        assert_string_equal(shell("ip -o link | grep -c veth || true"), "0\n");
}

static void destroying_leaves_nothing(void **state) {
        struct net_options o = options();
        _cleanup_error_ struct error err = ERROR_INIT;
        attach("a", NULL);
        attach("b", NULL);
        net_stop(net);
        for (int i = 0; i < 2; i++)
                assert_int_equal(net_destroy(&o, &err), 0);
        assert_string_equal(shell("ip -o link | grep -c 'veth\\|cni0' || true"), "0\n");
        assert_string_equal(shell("nft list tables | grep -c cube || true"), "0\n");
        assert_false(file_exists(dir));
}

static int setup(void **state) {
        static const char *const names[] = { "a", "b", "c" };
        ground_api_start(&api);
        snprintf(dir, sizeof(dir), "/tmp/cube-net-test-XXXXXX");
        if (!mkdtemp(dir))
                return -1;
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                netns_add(names[i]);
        outside_add();
        return 0;
}

static int teardown(void **state) {
        static const char *const names[] = { "a", "b", "c" };
        outside_delete();
        for (size_t i = 0; i < ARRAY_SIZE(names); i++)
                netns_delete(names[i]);
        ground_api_stop(&api);
        file_remove_tree(dir, NULL);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nothing_is_ready_before_the_node_has_a_range),
                cmocka_unit_test(pods_reach_each_other_the_node_and_the_world),
                cmocka_unit_test(attaching_again_changes_nothing),
                cmocka_unit_test(detaching_leaves_nothing),
                cmocka_unit_test(host_ports_lead_to_the_pod),
                cmocka_unit_test(a_taken_host_port_is_an_error_and_leaves_nothing),
                cmocka_unit_test(a_restart_keeps_what_runs),
                cmocka_unit_test(missing_rules_do_not_hold_up_an_end),
                cmocka_unit_test(an_end_before_the_network_is_ready_counts),
                cmocka_unit_test(pods_cannot_reach_the_nodes_loopback),
                cmocka_unit_test(many_pods_come_and_go_at_once),
                cmocka_unit_test(destroying_leaves_nothing),
        };
        if (!ground_enter())
                return 77;
        if (file_exists("/proc/sys/net/bridge"))
                shell("sysctl -qw net.bridge.bridge-nf-call-iptables=1");
        int failed = cmocka_run_group_tests_name("pod network", tests, setup, teardown);
        if (file_exists("/proc/sys/net/bridge"))
                shell("sysctl -qw net.bridge.bridge-nf-call-iptables=0");
        return failed + cmocka_run_group_tests_name("pod network without br_netfilter", tests, setup, teardown);
}
