/* Real containers with crun and conmon, of an image packed from busybox. Needs root; skipped where something is
 * missing. */
#include "../test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rand.h"
#include "base/time.h"
#include "pack.h"
#include "runtime/runtime.h"

static char base[64], root_dir[96], state_dir[96], log_dir[96], cgroup_parent[64];
static const char *missing; /* why the tests are skipped */
static struct runtime *rt;
static struct arena *arena;
static atomic_int attached, detached;

/* ---- a network that does nothing ---- */

static int fake_attach(struct pod_network *n, const char *sandbox_id, const char *netns_path,
                       const struct json *annotations, const struct json *hostports, char ips[2][46],
                       struct error *err) {
        attached++;
        snprintf(ips[0], 46, "10.1.2.3");
        return file_exists(netns_path) ? 0 : error_set(err, -ENOENT, "no namespace");
}

static int fake_detach(struct pod_network *n, const char *sandbox_id, const char *netns_path, struct error *err) {
        detached++;
        return 0;
}

static bool fake_ready(struct pod_network *n) {
        return true;
}

static struct pod_network network = { fake_attach, fake_detach, fake_ready };

/* ---- the ground ---- */

static void must(int r, const struct error *err) {
        if (r < 0)
                print_error("%s\n", err ? error_text(err) : strerror(-r));
        assert_true(r >= 0);
}

static struct runtime *open_runtime(void) {
        struct runtime_options o = {
                .root_dir = root_dir, .state_dir = state_dir, .cgroup_parent = cgroup_parent, .network = &network,
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct runtime *r = NULL;

        must(runtime_new(&o, &r, &err), &err);
        return r;
}

static bool have(const char *name) {
        char path[64];

        snprintf(path, sizeof(path), "/usr/bin/%s", name);
        return access(path, X_OK) == 0;
}

static int setup(void **state) {
        char suffix[9] = { 0 }, path[128];
        const char *layers[] = { path };

        arena = arena_new(0);
        missing = geteuid() != 0    ? "not root"
                  : !have("crun")   ? "crun is not installed"
                  : !have("conmon") ? "conmon is not installed"
                                    : NULL;
        if (missing)
                return 0;
        rand_suffix(suffix, 8);
        snprintf(base, sizeof(base), "/var/tmp/cube-test-%s", suffix);
        snprintf(root_dir, sizeof(root_dir), "%s/root", base);
        snprintf(state_dir, sizeof(state_dir), "%s/state", base);
        snprintf(log_dir, sizeof(log_dir), "%s/logs", base);
        snprintf(cgroup_parent, sizeof(cgroup_parent), "/cube-test-%s", suffix);
        if (mkdir(base, 0755) < 0)
                return -1;
        snprintf(path, sizeof(path), "%s/root.tar", base);
        if (!pack_root(path)) {
                missing = "busybox-static is not installed";
                return 0;
        }
        rt = open_runtime();
        {
                _cleanup_error_ struct error err = ERROR_INIT;
                char archive[128];
                struct str *refs;
                size_t n;

                snprintf(archive, sizeof(archive), "%s/image.tar", base);
                pack_image(archive, "busybox:test",
                           "{\"Env\":[\"FROM_IMAGE=1\"],\"Cmd\":[\"/bin/sh\"],\"WorkingDir\":\"/tmp\"}", layers, 1,
                           PACK_DOCKER);
                must(runtime_image_load(rt, arena, archive, &refs, &n, &err), &err);
                assert_int_equal(n, 1);
                assert_str(refs[0], "docker.io/library/busybox:test");
        }
        return 0;
}

/* Nothing of ours is left: no mount, no cgroup. */
static void assert_nothing_left(void) {
        _cleanup_buf_ struct buf mounts = BUF_INIT;

        assert_int_equal(file_read("/proc/self/mountinfo", 0, &mounts, NULL), 0);
        assert_true(str_search(buf_str(&mounts), str_of(base)) < 0);
}

static int teardown(void **state) {
        static const char *const trees[] = { "", "/memory", "/pids", "/cpu", "/systemd" };

        if (missing) {
                arena_free(arena);
                return file_remove_tree(base, NULL);
        }
        must(runtime_remove_all(rt, NULL), NULL);
        runtime_free(rt);
        arena_free(arena);
        assert_nothing_left();
        for (size_t i = 0; i < ARRAY_SIZE(trees); i++) {
                char path[256];

                snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s", trees[i], cgroup_parent);
                assert_false(file_exists(path));
                snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s-conmon", trees[i], cgroup_parent);
                assert_false(file_exists(path));
        }
        (void) file_remove_tree(base, NULL);
        return 0;
}

static bool have_memory_controller(void) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return file_exists("/sys/fs/cgroup/memory/memory.limit_in_bytes") ||
               (file_read("/sys/fs/cgroup/cgroup.controllers", 0, &b, NULL) >= 0 &&
                str_search(buf_str(&b), STR("memory")) >= 0);
}

#define NEEDS_GROUND()                  \
        do {                            \
                if (missing) {          \
                        print_message("skipped: %s\n", missing); \
                        skip();         \
                }                       \
        } while (0)

/* ---- short words ---- */

static char *sandbox_with(void (*change)(struct sandbox_config *c)) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct sandbox_config c = {
                .name = STR("web"), .namespace = STR("default"), .uid = STR("1234"), .hostname = STR("web-host"),
                .log_directory = str_of(log_dir), .cgroup_parent = STR("burstable/pod1234"),
        };
        char *id = NULL;

        if (change)
                change(&c);
        must(runtime_run_sandbox(rt, &c, &id, &err), &err);
        return id;
}

static struct container_config shell(const char *script) {
        struct str *args = arena_array(arena, struct str, 3);
        static int n;

        args[0] = STR("/bin/sh");
        args[1] = STR("-c");
        args[2] = str_of(script);
        return (struct container_config) {
                .name = STR("app"), .image = STR("busybox:test"), .command = args, .n_command = 3,
                .log_path = arena_printf(arena, "app/%d.log", n++),
        };
}

static char *create(const char *sandbox, const struct container_config *c) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *id = NULL;

        must(runtime_create_container(rt, sandbox, c, &id, &err), &err);
        return id;
}

static char *run(const char *sandbox, const struct container_config *c) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *id = create(sandbox, c);

        must(runtime_start_container(rt, id, &err), &err);
        return id;
}

static struct container_status status_of(const char *id) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct container_status s = { 0 };

        must(runtime_container_status(rt, arena, id, &s, &err), &err);
        return s;
}

static struct container_status wait_exit(const char *id) {
        for (int i = 0; i < 1000; i++) {
                struct container_status s = status_of(id);

                if (s.state == CONTAINER_EXITED)
                        return s;
                usleep(5000);
        }
        fail_msg("the container does not end");
        return (struct container_status) { 0 };
}

static struct str log_of(const char *id) {
        struct container_status s = status_of(id);
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(file_read(s.log_path, 0, &b, NULL), 0);
        return arena_str(arena, buf_str(&b));
}

static void assert_logged(const char *id, const char *text) {
        struct str log = { 0 };

        for (int i = 0; i < 200; i++) {
                log = log_of(id);
                if (str_search(log, str_of(text)) >= 0)
                        return;
                usleep(5000);
        }
        print_error("log: %" STR_FMT "\nlacks: %s\n", STR_ARG(log), text);
        fail();
}

static void drop(char *sandbox) {
        _cleanup_error_ struct error err = ERROR_INIT;

        must(runtime_stop_sandbox(rt, sandbox, &err), &err);
        must(runtime_remove_sandbox(rt, sandbox, &err), &err);
        free(sandbox);
        assert_nothing_left();
}

/* ---- the tests ---- */

static void a_container_runs_logs_and_ends_with_its_code(void **state) {
        char *sandbox, *id;
        struct container_config c =
                        shell("echo out; echo err >&2; echo $FROM_IMAGE $HOSTNAME $(pwd) $(hostname); exit 7");
        _cleanup_error_ struct error err = ERROR_INIT;
        struct container_status s;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = create(sandbox, &c);
        assert_int_equal(status_of(id).state, CONTAINER_CREATED);
        must(runtime_start_container(rt, id, &err), &err);
        s = wait_exit(id);
        assert_int_equal(s.exit_code, 7);
        assert_string_equal(s.reason, "Error");
        assert_true(s.started_ns > 0 && s.finished_ns >= s.started_ns);
        assert_logged(id, " stdout F out\n");
        assert_logged(id, " stderr F err\n");
        assert_logged(id, " stdout F 1 web-host /tmp web-host\n");
        free(id);
        drop(sandbox);
}

static void exec_runs_inside_and_returns_its_code(void **state) {
        struct container_config c = shell("trap 'exit 3' TERM; while true; do sleep 0.1; done");
        char *sandbox, *id,
                        *argv[] = {(char *) "sh", (char *) "-c",
                                   (char *) "echo hello $FROM_IMAGE; echo bad >&2; exit 4", NULL};
        _cleanup_buf_ struct buf out = BUF_INIT, errout = BUF_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        int code = -1;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        must(runtime_exec_sync(rt, id, argv, 5000, &out, &errout, &code, &err), &err);
        assert_int_equal(code, 4);
        assert_str(buf_str(&out), "hello 1\n");
        assert_str(buf_str(&errout), "bad\n");
        must(runtime_stop_container(rt, id, 5000, &err), &err);
        assert_int_equal(status_of(id).exit_code, 3);
        free(id);
        drop(sandbox);
}

static void a_stop_waits_for_the_grace_and_then_kills(void **state) {
        struct container_config c = shell("trap '' TERM; echo up; while true; do sleep 0.05; done");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int64_t start;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        assert_logged(id, "stdout F up");
        start = now_mono_ms();
        must(runtime_stop_container(rt, id, 300, &err), &err);
        assert_true(now_mono_ms() - start >= 290 && now_mono_ms() - start < 3000);
        assert_int_equal(status_of(id).exit_code, 137);
        assert_string_equal(status_of(id).reason, "Error");
        must(runtime_stop_container(rt, id, 300, &err), &err); /* again: nothing to do */
        free(id);
        drop(sandbox);
}

static void a_missing_program_is_a_start_error(void **state) {
        struct str args[] = { STR_INIT("/no/such/program") };
        struct container_config c = {.name = STR("app"), .image = STR("busybox:test"), .command = args, .n_command = 1};
        _cleanup_error_ struct error err = ERROR_INIT;
        struct container_status s;
        char *sandbox, *id;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = create(sandbox, &c);
        assert_true(runtime_start_container(rt, id, &err) < 0);
        assert_non_null(strstr(error_text(&err), "/no/such/program"));
        assert_non_null(strstr(error_text(&err), "No such file or directory"));
        s = status_of(id);
        assert_int_equal(s.state, CONTAINER_EXITED);
        assert_int_equal(s.exit_code, 128);
        assert_string_equal(s.reason, "StartError");
        error_clear(&err);
        must(runtime_remove_container(rt, id, &err), &err);
        assert_int_equal(runtime_container_status(rt, arena, id, &s, &err), -ENOENT);
        c.image = STR("nope:1");
        error_clear(&err);
        assert_int_equal(runtime_create_container(rt, sandbox, &c, &id, &err), -ENOENT);
        free(id);
        drop(sandbox);
}

static void memory_beyond_the_limit_is_oom_killed(void **state) {
        struct container_config c = shell("exec dd if=/dev/zero of=/dev/null bs=200M count=2");
        struct json resources = json_new_object();
        char *sandbox, *id;
        struct container_status s;

        NEEDS_GROUND();
        if (!have_memory_controller())
                skip();
        json_set_int(arena, &resources, "memory", 32 << 20);
        json_set_int(arena, &resources, "cpu_shares", 512);
        json_set_int(arena, &resources, "oom_score_adj", -998);
        c.resources = &resources;
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        s = wait_exit(id);
        assert_int_equal(s.exit_code, 137);
        assert_string_equal(s.reason, "OOMKilled");
        free(id);
        drop(sandbox);
}

static void a_new_runtime_finds_what_the_old_one_left(void **state) {
        struct container_config c = shell("while true; do sleep 0.05; done"), quick = shell("sleep 0.3; exit 9");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *stays, *ends, *created;
        struct sandbox_status sb;
        struct container_status s;
        int pid;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        stays = run(sandbox, &c);
        ends = run(sandbox, &quick);
        created = create(sandbox, &c);
        pid = status_of(stays).pid;
        runtime_free(rt); /* as after kill -9: nothing is said, nothing is ended */
        usleep(600000);
        {
                /* What a crash in the middle of a create leaves. */
                char half[256];

                snprintf(half, sizeof(half), "%s/containers/%064d", state_dir, 1);
                assert_int_equal(mkdir(half, 0700), 0);
                snprintf(half, sizeof(half), "%s/sandboxes/%064d", state_dir, 1);
                assert_int_equal(mkdir(half, 0700), 0);
        }
        rt = open_runtime();
        s = status_of(stays);
        assert_int_equal(s.state, CONTAINER_RUNNING);
        assert_int_equal(s.pid, pid);
        s = status_of(ends);
        assert_int_equal(s.state, CONTAINER_EXITED);
        assert_int_equal(s.exit_code, 9);
        assert_int_equal(status_of(created).state, CONTAINER_CREATED);
        must(runtime_sandbox_status(rt, arena, sandbox, &sb, &err), &err);
        assert_int_equal(sb.state, SANDBOX_READY);
        assert_string_equal(sb.ips[0], "10.1.2.3");
        must(runtime_start_container(rt, created, &err), &err);
        assert_int_equal(runtime_image_remove(rt, STR("busybox:test"), &err), -EBUSY);
        error_clear(&err);
        must(runtime_stop_container(rt, stays, 0, &err), &err);
        assert_int_equal(status_of(stays).exit_code, 137);
        free(stays);
        free(ends);
        free(created);
        drop(sandbox);
}

static void a_killed_monitor_leaves_an_exit_nobody_knows(void **state) {
        struct container_config c = shell("sleep 0.2; exit 5");
        _cleanup_buf_ struct buf b = BUF_INIT;
        char *sandbox, *id, path[256];
        struct container_status s;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        snprintf(path, sizeof(path), "%s/containers/%s/conmon.pid", state_dir, id);
        must(file_read(path, 0, &b, NULL), NULL);
        buf_putc(&b, 0);
        assert_int_equal(kill(atoi(b.p), SIGKILL), 0);
        s = wait_exit(id);
        assert_int_equal(s.exit_code, 255);
        assert_string_equal(s.reason, "ContainerStatusUnknown");
        free(id);
        drop(sandbox);
}

static struct json *json_text(const char *text) {
        struct json *j;

        must(json_parse(arena, str_of(text), NULL, &j, NULL), NULL);
        return j;
}

static void the_process_is_who_the_security_context_says(void **state) {
        static const struct {
                const char *security, *expected;
        } cases[] = {
                        {"{}", "uid=0(root) gid=0(root) groups=0(root)"},
                        {"{\"runAsUser\":1001}", "uid=1001(web) gid=1002(web) groups=1002(web),1500(extra)"},
                        {"{\"runAsUser\":1001,\"supplementalGroupsPolicy\":\"Strict\"}",
                         "uid=1001(web) gid=1002(web) groups=1002(web)"},
                        {"{\"runAsUser\":7,\"runAsGroup\":8,\"fsGroup\":9,\"supplementalGroups\":[10]}",
                         "uid=7 gid=8 groups=8,9,10"},
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
                        {"{}", "grep CapEff /proc/self/status", "00000000a80425fb"},
                        {"{\"capabilities\":{\"drop\":[\"ALL\"],\"add\":[\"NET_BIND_SERVICE\"]}}",
                         "grep CapEff /proc/self/status", "0000000000000400"},
                        {"{\"capabilities\":{\"drop\":[\"CAP_KILL\"]}}", "grep CapEff /proc/self/status",
                         "00000000a80425db"},
                        {"{\"seccompProfile\":{\"type\":\"RuntimeDefault\"}}", "grep Seccomp: /proc/self/status",
                         "Seccomp:\t2"},
                        {"{\"seccompProfile\":{\"type\":\"RuntimeDefault\"},\"capabilities\":{\"add\":[\"SYS_ADMIN\"]}"
                         "}",
                         "mount -t tmpfs x /tmp && echo mounted", "mounted"},
                        {"{\"seccompProfile\":{\"type\":\"Unconfined\"}}", "grep Seccomp: /proc/self/status",
                         "Seccomp:\t0"},
                        {"{\"allowPrivilegeEscalation\":false}", "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"},
                        {"{\"readOnlyRootFilesystem\":true}", "touch /x || echo cannot", "cannot"},
                        {"{}", "ls /proc/kcore -l; dd if=/proc/kcore bs=1 count=1 2>/dev/null | wc -c", "stdout F 0"},
                        {"{}", "echo 1 > /proc/sys/kernel/panic || echo readonly", "readonly"},
                        {"{\"privileged\":true}",
                         "ls /dev/kmsg /dev/fuse /dev/net/tun; mount -t tmpfs x /tmp && echo mounted", "mounted"},
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
        mounts[0] = (struct mount_config){
                        .host_path = str_of(dir), .container_path = STR("/data/ro"), .readonly = true};
        mounts[1] = (struct mount_config) { .host_path = str_of(dir), .container_path = STR("/data") };
        mounts[2] = (struct mount_config){.host_path = str_of(fresh), .container_path = STR("/made"), .propagation = 1};
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

/* Reads packets until text is in them. */
static void expect_from(int fd, const char *text, bool packets) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct pollfd p = { .fd = fd, .events = POLLIN };

        while (!memmem(b.p ? b.p : "", b.n, text, strlen(text))) {
                char block[8192];
                ssize_t n;

                if (poll(&p, 1, 3000) <= 0) {
                        print_error("\"%" STR_FMT "\" lacks \"%s\"\n", (int) b.n, b.p ? b.p : "", text);
                        fail();
                }
                n = read(fd, block, sizeof(block));
                assert_true(n > 0);
                buf_add(&b, block + packets, (size_t) n - packets);
        }
}

static void attach_reads_and_writes(void **state) {
        struct container_config c = shell("read line; echo got $line; sleep 5");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int fd;

        NEEDS_GROUND();
        c.stdin_open = true;
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        must(runtime_attach(rt, id, true, false, &fd, &err), &err);
        assert_int_equal(write(fd, "hello\n", 6), 6);
        expect_from(fd, "got hello\n", true);
        close(fd);
        free(id);
        drop(sandbox);
}

static void a_terminal_has_a_size(void **state) {
        struct container_config c = shell("read line; stty size; sleep 5");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int fd;

        NEEDS_GROUND();
        c.stdin_open = c.tty = true;
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        must(runtime_attach(rt, id, true, true, &fd, &err), &err);
        must(runtime_resize_container(rt, id, 123, 45, &err), &err);
        usleep(100000);
        assert_int_equal(write(fd, "\n", 1), 1);
        expect_from(fd, "45 123", true);
        close(fd);
        free(id);
        drop(sandbox);
}

static void exec_streams_with_pipes_and_with_a_terminal(void **state) {
        struct container_config c = shell("sleep 20");
        char *argv[] = { (char *) "sh", (char *) "-c",
                         (char *) "read x; echo $x; test -t 0 && echo $TERM && stty size; exit 6", NULL };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct runtime_stream s;
        char *sandbox, *id;
        int code;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        must(runtime_exec_start(rt, id, argv, true, true, false, false, &s, &err), &err);
        assert_int_equal(write(s.stdin_fd, "piped\n", 6), 6);
        expect_from(s.stdout_fd, "piped\n", false);
        must(runtime_exec_wait(rt, &s, &code, &err), &err);
        assert_int_equal(code, 6);
        close(s.stdin_fd);
        close(s.stdout_fd);
        must(runtime_exec_start(rt, id, argv, true, true, true, true, &s, &err), &err);
        assert_true(s.tty && isatty(s.stdout_fd));
        runtime_stream_resize(&s, 91, 17);
        assert_int_equal(write(s.stdout_fd, "typed\n", 6), 6);
        expect_from(s.stdout_fd, "xterm\r\n17 91", false);
        must(runtime_exec_wait(rt, &s, &code, &err), &err);
        assert_int_equal(code, 6);
        close(s.stdout_fd);
        free(id);
        drop(sandbox);
}

static void an_exec_that_takes_too_long_is_killed(void **state) {
        struct container_config c = shell("sleep 20");
        char *argv[] = { (char *) "sleep", (char *) "10", NULL }, *none[] = { (char *) "/nope", NULL };
        _cleanup_buf_ struct buf out = BUF_INIT, errout = BUF_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int code = 0;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        assert_int_equal(runtime_exec_sync(rt, id, argv, 200, &out, &errout, &code, &err), -ETIMEDOUT);
        error_clear(&err);
        must(runtime_exec_sync(rt, id, none, 2000, &out, &errout, &code, &err), &err);
        assert_int_not_equal(code, 0);
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

static void a_port_inside_is_reached(void **state) {
        struct container_config c = shell("echo pong | nc -l -p 8080; sleep 5");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int fd, r = -1;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        assert_true(runtime_port_forward(rt, sandbox, 8081, &fd, &err) < 0);
        assert_non_null(strstr(error_text(&err), "Connection refused"));
        error_clear(&err);
        id = run(sandbox, &c);
        for (int i = 0; i < 100 && r < 0; i++) {
                r = runtime_port_forward(rt, sandbox, 8080, &fd, &err);
                usleep(10000);
        }
        must(r, &err);
        expect_from(fd, "pong\n", false);
        close(fd);
        free(id);
        drop(sandbox);
}

static void logs_go_on_in_a_new_file_after_rotation(void **state) {
        struct container_config c = shell("i=0; while true; do echo line $i; i=$((i+1)); sleep 0.02; done");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id, rotated[256];
        struct container_status s;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        assert_logged(id, "line 3");
        s = status_of(id);
        snprintf(rotated, sizeof(rotated), "%s.1", s.log_path);
        assert_int_equal(rename(s.log_path, rotated), 0);
        must(runtime_reopen_log(rt, id, &err), &err);
        assert_logged(id, "line");
        assert_true(str_search(log_of(id), STR("line 3\n")) < 0);
        free(id);
        drop(sandbox);
}

static void usage_is_counted(void **state) {
        struct container_config c = shell("dd if=/dev/zero of=/blob bs=1M count=3 2>/dev/null; i=0; while [ $i -lt "
                                          "20000 ]; do i=$((i+1)); done; sleep 9");
        _cleanup_error_ struct error err = ERROR_INIT;
        struct runtime_usage u, pod;
        char *sandbox, *id;
        uint64_t rx, tx;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        usleep(400000);
        must(runtime_container_usage(rt, id, &u, &err), &err);
        must(runtime_sandbox_usage(rt, sandbox, &pod, &rx, &tx, &err), &err);
        assert_true(u.cpu_ns > 1000000);
        assert_true(!have_memory_controller() || (u.memory_bytes > 0 && u.pids >= 1));
        assert_true(u.rootfs_bytes >= 3 << 20 && u.rootfs_inodes >= 1);
        assert_true(pod.cpu_ns >= u.cpu_ns);
        must(runtime_update_resources(rt, id,
                                      json_text("{\"memory\":67108864,\"cpu_shares\":100,\"cpu_quota\":20000,\"cpu_"
                                                "period\":100000}"),
                                      &err),
             &err);
        free(id);
        drop(sandbox);
}

static atomic_int ends;
static char last_end[65];

static void on_end(const char *id, void *arg) {
        snprintf(last_end, sizeof(last_end), "%s", id);
        ends++;
}

static void an_exit_is_told_at_once(void **state) {
        struct container_config c = shell("sleep 0.1");
        struct loop *loop;
        char *sandbox, *id;
        int64_t when;

        NEEDS_GROUND();
        must(loop_new("test", &loop, NULL), NULL);
        loop_start_thread(loop);
        runtime_on_exit(rt, loop, on_end, NULL);
        sandbox = sandbox_with(NULL);
        id = run(sandbox, &c);
        for (int i = 0; i < 400 && !ends; i++)
                usleep(2000);
        when = now_wall_ns();
        assert_int_equal(ends, 1);
        assert_string_equal(last_end, id);
        assert_true(when - status_of(id).finished_ns < 50 * NSEC_PER_MSEC);
        free(id);
        drop(sandbox);
        loop_stop(loop);
        loop_join(loop);
        /* The runtime would still post to it. */
        runtime_free(rt);
        loop_free(loop);
        rt = open_runtime();
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

static void stopping_a_sandbox_ends_its_containers(void **state) {
        struct container_config c = shell("trap '' TERM; while true; do sleep 0.05; done");
        _cleanup_error_ struct error err = ERROR_INIT;
        struct sandbox_status sb;
        struct container_status *list;
        char *sandbox, *a, *b;
        size_t n;
        int before = detached;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        a = run(sandbox, &c);
        b = run(sandbox, &c);
        must(runtime_list_containers(rt, arena, sandbox, &list, &n, &err), &err);
        assert_int_equal(n, 2);
        must(runtime_stop_sandbox(rt, sandbox, &err), &err);
        must(runtime_stop_sandbox(rt, sandbox, &err), &err);
        assert_int_equal(detached, before + 1);
        must(runtime_sandbox_status(rt, arena, sandbox, &sb, &err), &err);
        assert_int_equal(sb.state, SANDBOX_NOTREADY);
        assert_int_equal(status_of(a).exit_code, 137);
        assert_int_equal(runtime_create_container(rt, sandbox, &c, &(char *) { NULL }, &err), -EINVAL);
        free(a);
        free(b);
        drop(sandbox);
}

static void *one_pod(void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str args[] = { STR_INIT("/bin/sh"), STR_INIT("-c"), STR_INIT("exit 3") };
        struct sandbox_config sc = {
                .name = STR("many"), .namespace = STR("d"), .uid = STR("u"), .hostname = STR("h")
        };
        struct container_config cc = {
                .name = STR("app"), .image = STR("busybox:test"), .command = args, .n_command = 3
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *sandbox = NULL, *id = NULL;
        struct container_status s = { 0 };
        struct container_status *list;
        size_t n;
        int r = runtime_run_sandbox(rt, &sc, &sandbox, &err);

        if (r >= 0)
                r = runtime_create_container(rt, sandbox, &cc, &id, &err);
        if (r >= 0)
                r = runtime_start_container(rt, id, &err);
        for (int i = 0; r >= 0 && s.state != CONTAINER_EXITED && i < 2000; i++) {
                usleep(2000);
                r = runtime_container_status(rt, a, id, &s, &err);
                runtime_list_containers(rt, a, NULL, &list, &n, &err);
        }
        if (r >= 0 && s.exit_code != 3)
                r = error_set(&err, -EINVAL, "exit code %d", s.exit_code);
        if (r >= 0)
                r = runtime_stop_container(rt, id, 1000, &err);
        if (r >= 0)
                r = runtime_stop_sandbox(rt, sandbox, &err);
        if (r >= 0)
                r = runtime_remove_sandbox(rt, sandbox, &err);
        if (r < 0)
                print_error("%s\n", error_text(&err));
        *(int *) arg = r;
        return NULL;
}

/* Processes of ours: their command lines name our directories. */
static size_t processes_of_ours(void) {
        DIR *d = opendir("/proc");
        struct dirent *e;
        size_t n = 0;

        while ((e = readdir(d))) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                char path[300];

                snprintf(path, sizeof(path), "/proc/%s/cmdline", e->d_name);
                if (e->d_name[0] < '1' || e->d_name[0] > '9' || atoi(e->d_name) == getpid() ||
                    file_read(path, 0, &b, NULL) < 0)
                        continue;
                n += b.n > 0 && memmem(b.p, b.n, base, strlen(base)) != NULL;
        }
        closedir(d);
        return n;
}

/* kill -9 of us at any moment of a pod's life: the next runtime finds what is whole, removes what is not, and in the
 * end nothing is left. */
static void a_crash_at_any_moment_leaves_nothing_behind(void **state) {
        NEEDS_GROUND();
        runtime_free(rt);
        for (int round = 0; round < 20; round++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                pid_t pid = fork();

                if (pid == 0) {
                        struct runtime_options o = {
                                .root_dir = root_dir,
                                .state_dir = state_dir,
                                .cgroup_parent = cgroup_parent,
                                .network = &network,
                        };
                        int r;

                        if (runtime_new(&o, &rt, NULL) < 0)
                                _exit(1);
                        for (;;)
                                one_pod(&r);
                }
                usleep((useconds_t) (20000 + rand_below(150000)));
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                rt = open_runtime();
                must(runtime_remove_all(rt, &err), &err);
                runtime_free(rt);
                assert_nothing_left();
                for (int i = 0; i < 200 && processes_of_ours(); i++)
                        usleep(10000); /* conmon on its way out */
                assert_int_equal(processes_of_ours(), 0);
        }
        rt = open_runtime();
}

static void many_pods_live_at_once(void **state) {
        pthread_t threads[8];
        int results[8];

        NEEDS_GROUND();
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
                assert_int_equal(pthread_create(&threads[i], NULL, one_pod, &results[i]), 0);
        for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
                pthread_join(threads[i], NULL);
                assert_true(results[i] >= 0);
        }
        assert_nothing_left();
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_container_runs_logs_and_ends_with_its_code),
                cmocka_unit_test(exec_runs_inside_and_returns_its_code),
                cmocka_unit_test(a_stop_waits_for_the_grace_and_then_kills),
                cmocka_unit_test(a_missing_program_is_a_start_error),
                cmocka_unit_test(memory_beyond_the_limit_is_oom_killed),
                cmocka_unit_test(a_new_runtime_finds_what_the_old_one_left),
                cmocka_unit_test(a_killed_monitor_leaves_an_exit_nobody_knows),
                cmocka_unit_test(the_process_is_who_the_security_context_says),
                cmocka_unit_test(capabilities_seccomp_and_privileges_are_as_asked),
                cmocka_unit_test(host_paths_are_mounted),
                cmocka_unit_test(mounts_travel_to_the_host_when_asked),
                cmocka_unit_test(an_image_is_mounted_as_a_volume),
                cmocka_unit_test(attach_reads_and_writes),
                cmocka_unit_test(a_terminal_has_a_size),
                cmocka_unit_test(exec_streams_with_pipes_and_with_a_terminal),
                cmocka_unit_test(an_exec_that_takes_too_long_is_killed),
                cmocka_unit_test(a_pod_can_share_its_pid_namespace),
                cmocka_unit_test(a_target_container_shares_its_pids),
                cmocka_unit_test(a_port_inside_is_reached),
                cmocka_unit_test(logs_go_on_in_a_new_file_after_rotation),
                cmocka_unit_test(usage_is_counted),
                cmocka_unit_test(an_exit_is_told_at_once),
                cmocka_unit_test(a_pod_may_live_in_the_hosts_namespaces),
                cmocka_unit_test(sysctls_and_dns_are_the_sandbox_s),
                cmocka_unit_test(stopping_a_sandbox_ends_its_containers),
                cmocka_unit_test(many_pods_live_at_once),
                cmocka_unit_test(a_crash_at_any_moment_leaves_nothing_behind),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
