/* rtnetlink and nftables, each call against the kernel, in a namespace of the test's own. */
#include "ground.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "net/netlink.h"
#include "net/nft.h"

#define ok(call)                                                    \
        do {                                                        \
                _cleanup_error_ struct error _err = ERROR_INIT;     \
                struct error *err = &_err;                          \
                if ((call) < 0)                                     \
                        fail_msg("%s: %s", #call, error_text(err)); \
        } while (0)

static const uint8_t mac[6] = { 0x0a, 0x58, 10, 1, 0, 1 };

static void a_bridge_is_made_once(void **state) {
        for (int i = 0; i < 2; i++) {
                ok(nl_bridge_add("br0", 1400, mac, err));
                ok(nl_addr_add("br0", 0x0a010001, 24, err));
                ok(nl_link_up("br0", err));
        }
        assert_int_equal(nl_link_mtu("br0"), 1400);
        assert_true(nl_link_index("br0") > 0);
        shell("ip -br link show br0 | grep -q 0a:58:0a:01:00:01");
        shell("ip -4 addr show br0 | grep -q 'inet 10.1.0.1/24 brd 10.1.0.255'");
        ok(nl_link_delete("br0", err));
        ok(nl_link_delete("br0", err));
        assert_int_equal(nl_link_index("br0"), 0);
        assert_int_equal(nl_link_mtu("br0"), 0);
}

static void a_pair_may_end_in_another_namespace(void **state) {
        netns_add("peer");
        _cleanup_close_ int fd = open(netns_path("peer"), O_RDONLY | O_CLOEXEC);
        ok(nl_bridge_add("br0", 0, NULL, err));
        for (int i = 0; i < 2; i++) {
                ok(nl_veth_add("v0", "eth0", fd, 1300, mac, err));
                ok(nl_link_set_master("v0", "br0", true, err));
                ok(nl_link_up("v0", err));
        }
        shell("ip netns exec $(basename %s) ip -o link show eth0 | grep 'mtu 1300' | grep -q 0a:58:0a:01:00:01",
              netns_path("peer"));
        shell("ip -o -d link show v0 | grep 'master br0' | grep -q 'hairpin on'");
        netns_delete("peer");
        close(TAKE_FD(fd));
        eventually(nl_link_index("v0") == 0); /* a pair goes with its namespace */
        ok(nl_link_delete("br0", err));
}

static void count_route(uint32_t dest, unsigned bits, int ifindex, void *arg) {
        if (dest == 0x0a020000 && bits == 16 && ifindex == nl_link_index("br0"))
                ++*(int *) arg;
}

static void routes_are_added_once_and_listed(void **state) {
        int n = 0;
        ok(nl_bridge_add("br0", 1450, mac, err));
        ok(nl_addr_add("br0", 0x0a010001, 24, err));
        ok(nl_link_up("br0", err));
        assert_int_equal(nl_default_mtu(), 0);
        for (int i = 0; i < 2; i++) {
                ok(nl_route_add(0x0a020000, 16, 0x0a010002, "br0", err));
                ok(nl_route_add(0, 0, 0x0a010003, "br0", err));
        }
        ok(nl_routes(count_route, &n, err));
        assert_int_equal(n, 1);
        assert_int_equal(nl_default_mtu(), 1450);
        shell("ip route | grep -q '10.2.0.0/16 via 10.1.0.2 dev br0'");
        ok(nl_link_delete("br0", err));
}

static void errors_name_what_was_tried(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        assert_int_equal(nl_link_up("nothing", &e), -ENODEV);
        assert_string_equal(error_text(&e), "there is no network interface nothing");
        ok(nl_link_up("lo", err));
        assert_int_equal(nl_route_add(0x0a090000, 16, 0x0a080001, "lo", &e), -ENETUNREACH);
        assert_string_equal(error_text(&e), "add a route lo: network is unreachable");
}

struct links {
        int ports, all;
        int bridge;
};

static void count_port(const char *name, int ifindex, int master, void *arg) {
        struct links *l = arg;
        l->all++;
        l->ports += master == l->bridge;
}

static void *churn(void *arg) {
        for (int i = 0; i < 60; i++) {
                nl_veth_add("c0", "c1", -1, 0, NULL, NULL);
                nl_link_delete("c0", NULL);
        }
        return NULL;
}

static void links_can_be_listed_while_they_change(void **state) {
        struct links l = { 0 };
        pthread_t t;
        ok(nl_bridge_add("br0", 0, NULL, err));
        l.bridge = nl_link_index("br0");
        for (int i = 0; i < 40; i++) {
                char a[16], b[16];
                snprintf(a, sizeof(a), "p%d", i);
                snprintf(b, sizeof(b), "q%d", i);
                ok(nl_veth_add(a, b, -1, 0, NULL, err));
                ok(nl_link_set_master(a, "br0", false, err));
        }
        pthread_create(&t, NULL, churn, NULL);
        for (int i = 0; i < 50; i++) {
                l.ports = 0;
                ok(nl_links(count_port, &l, err));
                assert_true(l.ports >= 40);
        }
        pthread_join(t, NULL);
        for (int i = 0; i < 40; i++) {
                char a[16];
                snprintf(a, sizeof(a), "p%d", i);
                ok(nl_link_delete(a, err));
        }
        ok(nl_link_delete("br0", err));
}

/* ---- nft ---- */

static void a_transaction_is_whole_or_not_at_all(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        ok(nft_run("table ip t { set s { type ipv4_addr; }; }\nadd element ip t s { 10.0.0.1 }\n", err));
        assert_int_equal(nft_run("add element ip t s { 10.0.0.2 }\ndelete element ip t s { 10.0.0.9 }\n", &e), -EIO);
        assert_int_equal(strncmp(error_text(&e), "nftables: ", 10), 0);
        assert_non_null(strstr(error_text(&e), "No such file or directory"));
        assert_int_equal(shell_code("nft list set ip t s | grep -q 10.0.0.2"), 1);
        error_clear(&e);
        assert_int_equal(nft_run("add nonsense\n", &e), -EIO);
        assert_non_null(strstr(error_text(&e), "syntax error"));
        for (int i = 0; i < 2; i++)
                ok(nft_delete_table("ip", "t", err));
        assert_int_equal(shell_code("nft list table ip t"), 1);
}

static void an_error_has_an_end(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        ok(nft_run("table ip t { set s { type ipv4_addr; }; }\n", err));
        for (int i = 0; i < 1000; i++)
                buf_printf(&b, "delete element ip t s { 10.0.%d.%d }\n", i / 256, i % 256);
        buf_putc(&b, 0);
        assert_int_equal(nft_run(b.p, &e), -EIO);
        assert_true(strlen(error_text(&e)) < 1100);
        ok(nft_delete_table("ip", "t", err));
}

static void *add_elements(void *arg) {
        for (int i = 0; i < 20; i++) {
                char text[96];
                snprintf(text, sizeof(text), "add element ip t s { 10.0.%d.%d }\n", *(int *) arg, i);
                if (nft_run(text, NULL) < 0)
                        return "failed";
        }
        return NULL;
}

static void threads_may_change_rules_at_once(void **state) {
        pthread_t threads[4];
        int ids[4];
        void *result;
        ok(nft_run("table ip t { set s { type ipv4_addr; }; }\n", err));
        for (int i = 0; i < 4; i++) {
                ids[i] = i;
                pthread_create(&threads[i], NULL, add_elements, &ids[i]);
        }
        for (int i = 0; i < 4; i++) {
                pthread_join(threads[i], &result);
                assert_null(result);
        }
        assert_string_equal(shell("nft list set ip t s | grep -o '10\\.0\\.' | wc -l"), "80\n");
        ok(nft_delete_table("ip", "t", err));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_bridge_is_made_once),
                cmocka_unit_test(a_pair_may_end_in_another_namespace),
                cmocka_unit_test(routes_are_added_once_and_listed),
                cmocka_unit_test(errors_name_what_was_tried),
                cmocka_unit_test(links_can_be_listed_while_they_change),
                cmocka_unit_test(a_transaction_is_whole_or_not_at_all),
                cmocka_unit_test(an_error_has_an_end),
                cmocka_unit_test(threads_may_change_rules_at_once),
        };
        if (!ground_enter())
                return 77;
        return cmocka_run_group_tests_name("links", tests, NULL, NULL);
}
