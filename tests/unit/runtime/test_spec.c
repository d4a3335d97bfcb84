/* What a real container is given: rights, mounts, namespaces, as its configuration says. */
#include "ground.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pack.h"

static void the_process_is_who_the_security_context_says(void **state) {
        static const struct {
                const char *security, *expected;
        } cases[] = {
                { "{}", "uid=0(root) gid=0(root) groups=0(root)" },
                { "{\"runAsUser\":1001}", "uid=1001(web) gid=1002(web) groups=1002(web),1500(extra)" },
                { "{\"runAsUser\":1001,\"supplementalGroupsPolicy\":\"Strict\"}",
                  "uid=1001(web) gid=1002(web) groups=1002(web)" },
                { "{\"runAsUser\":7,\"runAsGroup\":8,\"fsGroup\":9,\"supplementalGroups\":[10]}",
                  "uid=7 gid=8 groups=8,9,10" },
        };
        char *sandbox;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = shell("id");
                char *id;

                c.security = json_text(cases[i].security);
                id = run(sandbox, &c);
                wait_exit(id);
                assert_logged(id, cases[i].expected);
                free(id);
        }
        drop(sandbox);
}

static void capabilities_seccomp_and_privileges_are_as_asked(void **state) {
        static const struct {
                const char *security, *script, *expected;
        } cases[] = {
                { "{}", "grep CapEff /proc/self/status", "00000000a80425fb" },
                { "{\"capabilities\":{\"drop\":[\"ALL\"],\"add\":[\"NET_BIND_SERVICE\"]}}",
                  "grep CapEff /proc/self/status", "0000000000000400" },
                { "{\"capabilities\":{\"drop\":[\"CAP_KILL\"]}}", "grep CapEff /proc/self/status", "00000000a80425db" },
                { "{\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}", "grep Seccomp: /proc/self/status",
                  "Seccomp:\t2" },
                { "{\"seccompProfile\":{\"type\":\"RuntimeDefault\"},\"capabilities\":{\"add\":[\"SYS_ADMIN\"]}"
                  "}",
                  "mount -t tmpfs x /tmp && echo mounted", "mounted" },
                { "{\"seccompProfile\":{\"type\":\"Unconfined\"}}", "grep Seccomp: /proc/self/status", "Seccomp:\t0" },
                { "{\"allowPrivilegeEscalation\":false}", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1" },
                { "{\"readOnlyRootFilesystem\":true}", "touch /x || echo cannot", "cannot" },
                { "{}", "ls /proc/kcore -l; dd if=/proc/kcore bs=1 count=1 2>/dev/null | wc -c", "stdout F 0" },
                { "{}", "echo 1 > /proc/sys/kernel/panic || echo readonly", "readonly" },
                { "{\"privileged\":true}", "ls /dev/kmsg /dev/fuse /dev/net/tun; mount -t tmpfs x /tmp && echo mounted",
                  "mounted" },
        };
        char *sandbox;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct container_config c = shell(cases[i].script);
                char *id;

                c.security = json_text(cases[i].security);
                id = run(sandbox, &c);
                wait_exit(id);
                assert_logged(id, cases[i].expected);
                free(id);
        }
        drop(sandbox);
}

static void host_paths_are_mounted(void **state) {
        struct mount_config mounts[3];
        char dir[128], file[160], fresh[160];
        struct container_config c =
                        shell("cat /data/in; echo out > /data/out; touch /data/ro/x || echo readonly; ls -d /made");
        _cleanup_buf_ struct buf b = BUF_INIT;
        char *sandbox, *id;

        NEEDS_GROUND();
        snprintf(dir, sizeof(dir), "%s/volume", base);
        snprintf(file, sizeof(file), "%s/in", dir);
        snprintf(fresh, sizeof(fresh), "%s/fresh", base);
        assert_int_equal(mkdir(dir, 0755), 0);
        must(file_write(file, STR("from the host\n"), 0644, NULL), NULL);
        memset(mounts, 0, sizeof(mounts));
        mounts[0] = (struct mount_config) { .host_path = str_of(dir),
                                            .container_path = STR("/data/ro"),
                                            .readonly = true };
        mounts[1] = (struct mount_config) { .host_path = str_of(dir), .container_path = STR("/data") };
        mounts[2] = (struct mount_config) { .host_path = str_of(fresh),
                                            .container_path = STR("/made"),
                                            .propagation = 1 };
        c.mounts = mounts;
        c.n_mounts = 3;
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        wait_exit(id);
        assert_logged(id, "from the host");
        assert_logged(id, "readonly");
        assert_logged(id, "/made");
        snprintf(file, sizeof(file), "%s/out", dir);
        must(file_read(file, 0, &b, NULL), NULL);
        assert_str(buf_str(&b), "out\n");
        free(id);
        drop(sandbox);
}

static void mounts_travel_to_the_host_when_asked(void **state) {
        struct mount_config mounts[1];
        struct container_config c = shell("mkdir /shared/in && mount -t tmpfs x /shared/in && echo mounted; sleep 9");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id = NULL, dir[128], inside[160];
        struct stat out, in;

        NEEDS_GROUND();
        snprintf(dir, sizeof(dir), "%s/shared", base);
        snprintf(inside, sizeof(inside), "%s/in", dir);
        assert_int_equal(mkdir(dir, 0755), 0);
        assert_int_equal(mount("tmpfs", dir, "tmpfs", 0, NULL), 0);
        assert_int_equal(mount(NULL, dir, NULL, MS_PRIVATE, NULL), 0);
        memset(mounts, 0, sizeof(mounts));
        mounts[0] = (struct mount_config) { .host_path = str_of(dir),
                                            .container_path = STR("/shared"),
                                            .propagation = 2 };
        c.mounts = mounts;
        c.n_mounts = 1;
        c.security = json_text("{\"privileged\":true}");
        sandbox = sandbox_with(NULL);
        assert_true(runtime_create_container(rt, sandbox, &c, &id, &err) < 0);
        assert_non_null(strstr(error_text(&err), "but it is not a shared mount"));
        assert_int_equal(mount(NULL, dir, NULL, MS_SHARED, NULL), 0);
        id = run(sandbox, &c);
        assert_logged(id, "mounted");
        assert_true(stat(dir, &out) == 0 && stat(inside, &in) == 0 && out.st_dev != in.st_dev);
        must(runtime_stop_container(rt, id, 0, NULL), NULL);
        assert_int_equal(umount2(inside, MNT_DETACH), 0);
        assert_int_equal(umount2(dir, MNT_DETACH), 0);
        free(id);
        drop(sandbox);
}

static void an_image_is_mounted_as_a_volume(void **state) {
        struct mount_config mounts[1];
        struct container_config c = shell("/image/bin/busybox echo from the volume; touch /image/x || echo readonly");
        char *sandbox, *id;

        NEEDS_GROUND();
        memset(mounts, 0, sizeof(mounts));
        mounts[0] = (struct mount_config) { .image = STR("busybox:test"), .container_path = STR("/image") };
        c.mounts = mounts;
        c.n_mounts = 1;
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        wait_exit(id);
        assert_logged(id, "from the volume");
        assert_logged(id, "readonly");
        free(id);
        drop(sandbox);
}

static void share_pids(struct sandbox_config *c) {
        c->share_process_namespace = true;
}

static void a_pod_can_share_its_pid_namespace(void **state) {
        struct container_config c = shell("sleep 20"), look = shell("sleep 0.1; ps");
        char *sandbox, *id, *second;

        NEEDS_GROUND();
        sandbox = sandbox_with(share_pids);
        id = run(sandbox, &c);
        second = run(sandbox, &look);
        wait_exit(second);
        assert_logged(second, "sleep 20");
        assert_logged(second, "helper pause");
        free(id);
        free(second);
        drop(sandbox);
}

static void a_target_container_shares_its_pids(void **state) {
        struct container_config c = shell("sleep 20"), look = shell("ps");
        char *sandbox, *id, *second;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        look.target_container = str_of(id);
        second = run(sandbox, &look);
        wait_exit(second);
        assert_logged(second, "sleep 20");
        free(id);
        free(second);
        drop(sandbox);
}

static void on_host_network(struct sandbox_config *c) {
        c->host_network = c->host_ipc = c->host_pid = true;
        c->hostname = STR("");
}

static void a_pod_may_live_in_the_hosts_namespaces(void **state) {
        struct container_config c = shell("hostname; ls /proc/net/dev; (sleep 30 &) ; exit 0");
        char *sandbox, *id, host[65] = "";

        NEEDS_GROUND();
        gethostname(host, sizeof(host) - 1);
        sandbox = sandbox_with(on_host_network);
        id = run(sandbox, &c);
        assert_int_equal(wait_exit(id).exit_code, 0);
        assert_logged(id, host);
        free(id);
        drop(sandbox);
}

static void tuned(struct sandbox_config *c) {
        c->sysctls = json_text("{\"net.ipv4.ip_unprivileged_port_start\":\"77\",\"kernel.shmmax\":\"123456\"}");
        c->dns = json_text("{\"servers\":[\"10.96.0.10\"],\"searches\":[\"default.svc.cluster.local\",\"svc.cluster."
                           "local\"],\"options\":[\"ndots:5\"]}");
        c->cgroup_resources = json_text("{\"memory\":104857600,\"cpu_shares\":256}");
}

static void sysctls_and_dns_are_the_sandbox_s(void **state) {
        struct container_config c = shell("cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmax; "
                                          "cat /etc/resolv.conf; "
                                          "echo x > /dev/shm/x && echo shm");
        char *sandbox, *id;

        NEEDS_GROUND();
        sandbox = sandbox_with(tuned);
        id = run(sandbox, &c);
        wait_exit(id);
        assert_logged(id, "stdout F 77\n");
        assert_logged(id, "stdout F 123456\n");
        assert_logged(id, "stdout F search default.svc.cluster.local svc.cluster.local\n");
        assert_logged(id, "stdout F nameserver 10.96.0.10\n");
        assert_logged(id, "stdout F options ndots:5\n");
        assert_logged(id, "stdout F shm\n");
        free(id);
        drop(sandbox);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_process_is_who_the_security_context_says),
                cmocka_unit_test(capabilities_seccomp_and_privileges_are_as_asked),
                cmocka_unit_test(host_paths_are_mounted),
                cmocka_unit_test(mounts_travel_to_the_host_when_asked),
                cmocka_unit_test(an_image_is_mounted_as_a_volume),
                cmocka_unit_test(a_pod_can_share_its_pid_namespace),
                cmocka_unit_test(a_target_container_shares_its_pids),
                cmocka_unit_test(a_pod_may_live_in_the_hosts_namespaces),
                cmocka_unit_test(sysctls_and_dns_are_the_sandbox_s),
        };

        return cmocka_run_group_tests(tests, ground_setup, ground_teardown);
}
