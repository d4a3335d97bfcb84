#include "ground.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/rand.h"
#include "pack.h"

char base[64], root_dir[96], state_dir[96], log_dir[96], cgroup_parent[64];
const char *missing;
struct runtime *rt;
struct arena *arena;
atomic_int attached, detached;

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

struct pod_network network = { fake_attach, fake_detach, fake_ready };

/* ---- the ground ---- */

struct runtime *open_runtime(void) {
        struct runtime_options o = {
                .root_dir = root_dir,
                .state_dir = state_dir,
                .cgroup_parent = cgroup_parent,
                .network = &network,
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

int ground_setup(void **state) {
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
void assert_nothing_left(void) {
        _cleanup_buf_ struct buf mounts = BUF_INIT;

        assert_int_equal(file_read("/proc/self/mountinfo", 0, &mounts, NULL), 0);
        assert_true(str_search(buf_str(&mounts), str_of(base)) < 0);
}

int ground_teardown(void **state) {
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

bool have_memory_controller(void) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return file_exists("/sys/fs/cgroup/memory/memory.limit_in_bytes") ||
               (file_read("/sys/fs/cgroup/cgroup.controllers", 0, &b, NULL) >= 0 &&
                str_search(buf_str(&b), STR("memory")) >= 0);
}

/* ---- short words ---- */

char *sandbox_with(void (*change)(struct sandbox_config *c)) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct sandbox_config c = {
                .name = STR("web"),
                .namespace = STR("default"),
                .uid = STR("1234"),
                .hostname = STR("web-host"),
                .log_directory = str_of(log_dir),
                .cgroup_parent = STR("burstable/pod1234"),
        };
        char *id = NULL;

        if (change)
                change(&c);
        must(runtime_run_sandbox(rt, &c, &id, &err), &err);
        return id;
}

struct container_config shell(const char *script) {
        struct str *args = arena_array(arena, struct str, 3);
        static int n;

        args[0] = STR("/bin/sh");
        args[1] = STR("-c");
        args[2] = str_of(script);
        return (struct container_config) {
                .name = STR("app"),
                .image = STR("busybox:test"),
                .command = args,
                .n_command = 3,
                .log_path = arena_printf(arena, "app/%d.log", n++),
        };
}

char *create(const char *sandbox, const struct container_config *c) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *id = NULL;

        must(runtime_create_container(rt, sandbox, c, &id, &err), &err);
        return id;
}

char *run(const char *sandbox, const struct container_config *c) {
        _cleanup_error_ struct error err = ERROR_INIT;
        char *id = create(sandbox, c);

        must(runtime_start_container(rt, id, &err), &err);
        return id;
}

bool find_container(struct arena *a, const char *id, struct container_status *ret) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct container_status *list;
        size_t n;

        must(runtime_list_containers(rt, a, NULL, &list, &n, &err), &err);
        for (size_t i = 0; i < n; i++)
                if (strcmp(list[i].id, id) == 0) {
                        *ret = list[i];
                        return true;
                }
        return false;
}

struct container_status status_of(const char *id) {
        struct container_status s = { 0 };

        assert_true(find_container(arena, id, &s));
        return s;
}

struct container_status wait_exit(const char *id) {
        for (int i = 0; i < 1000; i++) {
                struct container_status s = status_of(id);

                if (s.state == CONTAINER_EXITED)
                        return s;
                usleep(5000);
        }
        fail_msg("the container does not end");
        return (struct container_status) { 0 };
}

struct str log_of(const char *id) {
        struct container_status s = status_of(id);
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(file_read(s.log_path, 0, &b, NULL), 0);
        return arena_str(arena, buf_str(&b));
}

void assert_logged(const char *id, const char *text) {
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

void drop(char *sandbox) {
        _cleanup_error_ struct error err = ERROR_INIT;

        must(runtime_stop_sandbox(rt, sandbox, &err), &err);
        must(runtime_remove_sandbox(rt, sandbox, &err), &err);
        free(sandbox);
        assert_nothing_left();
}

struct json *json_text(const char *text) {
        struct json *j;

        must(json_parse(arena, str_of(text), NULL, &j, NULL), NULL);
        return j;
}
