/* Talking with a real container: exec, attach, terminals, ports, logs. */
#include "ground.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"

static void exec_runs_inside_and_returns_its_code(void **state) {
        struct container_config c = shell("trap 'exit 3' TERM; while true; do sleep 0.1; done");
        char *sandbox, *id,
                        *argv[] = { (char *) "sh", (char *) "-c",
                                    (char *) "echo hello $FROM_IMAGE; echo bad >&2; exit 4", NULL };
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

static void a_port_inside_is_reached(void **state) {
        struct container_config c = shell("echo pong | nc -l -p 8080; sleep 5");
        _cleanup_error_ struct error err = ERROR_INIT;
        char *sandbox, *id;
        int fd, r = -1;

        NEEDS_GROUND();
        sandbox = sandbox_with(NULL);
        assert_true(runtime_port_forward(rt, sandbox, 8081, &fd, &err) < 0);
        assert_non_null(strstr(error_text(&err), "connection refused"));
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(exec_runs_inside_and_returns_its_code),
                cmocka_unit_test(attach_reads_and_writes),
                cmocka_unit_test(a_terminal_has_a_size),
                cmocka_unit_test(exec_streams_with_pipes_and_with_a_terminal),
                cmocka_unit_test(an_exec_that_takes_too_long_is_killed),
                cmocka_unit_test(a_port_inside_is_reached),
                cmocka_unit_test(logs_go_on_in_a_new_file_after_rotation),
        };

        return cmocka_run_group_tests(tests, ground_setup, ground_teardown);
}
