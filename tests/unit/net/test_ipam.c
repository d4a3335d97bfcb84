/* Addresses: handed out once, kept over restarts, given back by crashes. */
#include "ground.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "json/build.h"
#include "net/ipam.h"

static char dir[64];

static struct ipam *open_ipam(const char *cidr) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct ipam *i = NULL;
        if (ipam_open(dir, cidr, &i, &err) < 0)
                fail_msg("%s", error_text(&err));
        return i;
}

static uint32_t acquire(struct ipam *i, const char *sandbox) {
        uint32_t ip = 0;
        assert_int_equal(ipam_acquire(i, sandbox, netns_path("alive"), NULL, &ip, NULL), 0);
        return ip;
}

static uint32_t release(struct ipam *i, const char *sandbox) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *ports;
        uint32_t ip;
        assert_int_equal(ipam_release(i, sandbox, a, &ip, &ports, NULL), 0);
        return ip;
}

static void addresses_are_given_out_in_turn(void **state) {
        struct ipam *i = open_ipam("10.244.3.0/24");
        assert_int_equal(ipam_gateway(i), 0x0af40301);
        assert_int_equal(ipam_bits(i), 24);
        assert_int_equal(acquire(i, "a"), 0x0af40302);
        assert_int_equal(acquire(i, "b"), 0x0af40303);
        assert_int_equal(acquire(i, "a"), 0x0af40302); /* the same sandbox again */
        assert_int_equal(release(i, "a"), 0x0af40302);
        assert_int_equal(release(i, "a"), 0);
        assert_int_equal(acquire(i, "c"), 0x0af40304); /* not the one just given back */
        ipam_close(i);
}

static void all_but_three_addresses_can_be_used(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct ipam *i = open_ipam("10.244.3.9/29");
        char name[16];
        uint32_t ip;
        for (int n = 0; n < 5; n++) {
                snprintf(name, sizeof(name), "s%d", n);
                assert_int_equal(acquire(i, name), 0x0af4030a + n);
        }
        assert_int_equal(ipam_acquire(i, "more", netns_path("alive"), NULL, &ip, &err), -ENOSPC);
        assert_string_equal(error_text(&err), "no addresses left in 10.244.3.9/29");
        release(i, "s3");
        assert_int_equal(acquire(i, "more"), 0x0af4030d);
        ipam_close(i);
}

static void leases_survive_a_restart(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json ports = json_build(a, "[{ hostPort: 8080, containerPort: 80, protocol: 'TCP' }]");
        const struct json *back = NULL;
        struct ipam *i = open_ipam("10.244.3.0/24");
        uint32_t ip, released;
        assert_int_equal(ipam_acquire(i, "kept", netns_path("alive"), &ports, &ip, NULL), 0);
        ipam_close(i);
        i = open_ipam("10.244.3.0/24");
        assert_int_equal(acquire(i, "kept"), ip);
        assert_int_not_equal(acquire(i, "other"), ip);
        assert_int_equal(ipam_release(i, "kept", a, &released, &back, NULL), 0);
        assert_int_equal(released, ip);
        assert_true(json_equal(back, &ports));
        ipam_close(i);
}

static void count_lease(uint32_t ip, const struct json *lease, void *arg) {
        ++*(int *) arg;
}

static int leases(struct ipam *i) {
        int n = 0;
        ipam_each(i, count_lease, &n);
        return n;
}

static int files(void) {
        return atoi(shell("ls -A %s | wc -l", dir));
}

static void what_a_crash_left_is_dropped(void **state) {
        struct ipam *i = open_ipam("10.244.3.0/24");
        uint32_t ip;
        acquire(i, "alive");
        assert_int_equal(ipam_acquire(i, "gone", "/run/netns/cube-test-nobody", NULL, &ip, NULL), 0);
        ipam_close(i);
        shell("cd %s && echo '{' >10.244.3.9; : >10.244.3.10; echo '{\"sandbox\":\"x\",\"netns\":\"/etc/passwd\"}' "
              ">10.244.3.11;"
              "echo junk >.10.244.3.12; echo x >notes",
              dir);
        i = open_ipam("10.244.3.0/24");
        assert_int_equal(leases(i), 1);
        assert_int_equal(files(), 1);
        assert_int_equal(acquire(i, "alive"), 0x0af40302);
        ipam_close(i);
}

static void ranges_are_checked(void **state) {
        const char *bad[] = { "",          "10.0.0.0",     "10.0.0.0/7", "10.0.0.0/31", "10.0.0.256/24",
                              "fd00::/64", "10.0.0.0/24x", "10.0.0.0/+8" };
        struct ipam *i;
        for (size_t n = 0; n < ARRAY_SIZE(bad); n++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                _cleanup_free_ char *text = xprintf("podCIDR \"%s\" is not an IPv4 range from /8 to /30", bad[n]);
                assert_int_equal(ipam_open(dir, bad[n], &i, &err), -EINVAL);
                assert_string_equal(error_text(&err), text);
        }
}

struct many {
        struct ipam *ipam;
        int id;
        uint32_t ips[50];
};

static void *take_many(void *arg) {
        struct many *m = arg;
        for (int n = 0; n < 50; n++) {
                char name[32];
                snprintf(name, sizeof(name), "t%d-%d", m->id, n);
                if (ipam_acquire(m->ipam, name, netns_path("alive"), NULL, &m->ips[n], NULL) < 0)
                        m->ips[n] = 0;
        }
        return NULL;
}

static void threads_never_get_the_same(void **state) {
        struct ipam *i = open_ipam("10.244.3.0/24");
        struct many many[4];
        pthread_t threads[4];
        bool seen[256] = { 0 };
        for (int t = 0; t < 4; t++) {
                many[t] = (struct many) { .ipam = i, .id = t };
                pthread_create(&threads[t], NULL, take_many, &many[t]);
        }
        for (int t = 0; t < 4; t++) {
                pthread_join(threads[t], NULL);
                for (int n = 0; n < 50; n++) {
                        assert_true(many[t].ips[n]);
                        assert_false(seen[many[t].ips[n] & 255]);
                        seen[many[t].ips[n] & 255] = true;
                }
        }
        assert_int_equal(leases(i), 200);
        ipam_close(i);
}

static int fresh(void **state) {
        snprintf(dir, sizeof(dir), "/tmp/cube-ipam-test-XXXXXX");
        return mkdtemp(dir) ? 0 : -1;
}

static int gone(void **state) {
        return file_remove_tree(dir, NULL);
}

static int setup(void **state) {
        netns_add("alive");
        return 0;
}

static int teardown(void **state) {
        netns_delete("alive");
        return 0;
}

#define test_in_fresh_dir(f) cmocka_unit_test_setup_teardown(f, fresh, gone)

int main(void) {
        const struct CMUnitTest tests[] = {
                test_in_fresh_dir(addresses_are_given_out_in_turn),
                test_in_fresh_dir(all_but_three_addresses_can_be_used),
                test_in_fresh_dir(leases_survive_a_restart),
                test_in_fresh_dir(what_a_crash_left_is_dropped),
                test_in_fresh_dir(ranges_are_checked),
                test_in_fresh_dir(threads_never_get_the_same),
        };
        if (!ground_enter())
                return 77;
        return cmocka_run_group_tests_name("ipam", tests, setup, teardown);
}
