/* The life of real containers with crun and conmon: start, stop, crash, accounts. */
#include "ground.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/rand.h"
#include "base/time.h"

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
        struct container_config c = {
                .name = STR("app"), .image = STR("busybox:test"), .command = args, .n_command = 1
        };
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
        assert_false(find_container(arena, id, &s));
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
        int r = runtime_run_sandbox(rt, &sc, &sandbox, &err);

        if (r >= 0)
                r = runtime_create_container(rt, sandbox, &cc, &id, &err);
        if (r >= 0)
                r = runtime_start_container(rt, id, &err);
        for (int i = 0; r >= 0 && s.state != CONTAINER_EXITED && i < 2000; i++) {
                usleep(2000);
                find_container(a, id, &s);
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
                cmocka_unit_test(a_stop_waits_for_the_grace_and_then_kills),
                cmocka_unit_test(a_missing_program_is_a_start_error),
                cmocka_unit_test(memory_beyond_the_limit_is_oom_killed),
                cmocka_unit_test(a_new_runtime_finds_what_the_old_one_left),
                cmocka_unit_test(a_killed_monitor_leaves_an_exit_nobody_knows),
                cmocka_unit_test(usage_is_counted),
                cmocka_unit_test(an_exit_is_told_at_once),
                cmocka_unit_test(stopping_a_sandbox_ends_its_containers),
                cmocka_unit_test(many_pods_live_at_once),
                cmocka_unit_test(a_crash_at_any_moment_leaves_nothing_behind),
        };

        return cmocka_run_group_tests(tests, ground_setup, ground_teardown);
}
