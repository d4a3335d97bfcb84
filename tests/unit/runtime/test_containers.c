/* Real containers with crun and conmon, of an image packed from busybox. Needs root; skipped where something is missing. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
static int attached, detached;

/* ---- a network that does nothing ---- */

static int fake_attach(struct pod_network *n, const char *sandbox_id, const char *netns_path, const struct json *annotations,
                       const struct json *hostports, char ips[2][46], struct error *err) {
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
                print_error("%s\n", error_text(err));
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

        missing = geteuid() != 0 ? "not root" : !have("crun") ? "crun is not installed" : !have("conmon") ? "conmon is not installed" : NULL;
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
        arena = arena_new(0);
        rt = open_runtime();
        {
                _cleanup_error_ struct error err = ERROR_INIT;
                char archive[128];
                struct str *refs;
                size_t n;

                snprintf(archive, sizeof(archive), "%s/image.tar", base);
                pack_image(archive, "busybox:test", "{\"Env\":[\"FROM_IMAGE=1\"],\"Cmd\":[\"/bin/sh\"],\"WorkingDir\":\"/tmp\"}", layers, 1, PACK_DOCKER);
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
        if (missing)
                return 0;
        runtime_free(rt);
        arena_free(arena);
        assert_nothing_left();
        (void) file_remove_tree(base, NULL);
        return 0;
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
        static struct str args[3];

        args[0] = STR("/bin/sh");
        args[1] = STR("-c");
        args[2] = str_of(script);
        return (struct container_config) {
                .name = STR("app"), .image = STR("busybox:test"), .command = args, .n_command = 3, .log_path = STR("app/0.log"),
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
        struct container_config c = shell("echo out; echo err >&2; echo $FROM_IMAGE $HOSTNAME $(pwd) $(hostname); exit 7");
        struct container_status s;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        id = create(sandbox, &c);
        assert_int_equal(status_of(id).state, CONTAINER_CREATED);
        must(runtime_start_container(rt, id, NULL), NULL);
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
        char *sandbox, *id, *argv[] = { (char *) "sh", (char *) "-c", (char *) "echo hello $FROM_IMAGE; echo bad >&2; exit 4", NULL };
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_container_runs_logs_and_ends_with_its_code),
                cmocka_unit_test(exec_runs_inside_and_returns_its_code),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
