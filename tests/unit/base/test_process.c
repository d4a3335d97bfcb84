/* Programs run to their end. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/process.h"
#include "base/time.h"

#define SH(script) (char *[]) { "sh", "-c", (script), NULL }

static void output_and_exit_code_are_collected(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };

        assert_int_equal(process_run(SH("cat; echo oops >&2; exit 3"), STR("hello"), 0, &r, NULL), 0);
        assert_int_equal(r.exit_code, 3);
        assert_false(r.timed_out);
        assert_str(buf_str(&r.out), "hello");
        assert_str(buf_str(&r.err), "oops\n");
}

static void a_signal_counts_from_128(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };

        assert_int_equal(process_run(SH("kill -TERM $$"), STR(""), 0, &r, NULL), 0);
        assert_int_equal(r.exit_code, 128 + SIGTERM);
}

static void the_whole_group_is_killed_at_the_timeout(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };
        int64_t start = now_mono_ms();
        pid_t child;

        assert_int_equal(process_run(SH("sleep 60 & echo $!; wait"), STR(""), 150, &r, NULL), 0);
        assert_true(r.timed_out);
        assert_true(now_mono_ms() - start < 5000);
        child = (pid_t) atoi(r.out.p);
        assert_true(child > 1);
        for (int i = 0; i < 100 && kill(child, 0) == 0; i++)
                usleep(20000);
        /* A zombie, where nobody reaps orphans, is dead too. */
        if (kill(child, 0) == 0) {
                _cleanup_free_ char *stat = xprintf("/proc/%d/stat", (int) child);
                _cleanup_close_ int fd = open(stat, O_RDONLY);
                char text[256] = { 0 };

                assert_true(read(fd, text, sizeof(text) - 1) > 0);
                assert_int_equal(strrchr(text, ')')[2], 'Z');
        }
}

static void nobody_waits_for_a_daemon_that_was_left_behind(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };
        int64_t start = now_mono_ms();

        assert_int_equal(process_run(SH("sleep 3 & echo started"), STR(""), 0, &r, NULL), 0);
        assert_str(buf_str(&r.out), "started\n");
        assert_true(now_mono_ms() - start < 2500);
}

static void output_beyond_the_limit_is_dropped_not_waited_for(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };

        assert_int_equal(process_run(SH("head -c 3000000 /dev/zero; echo done >&2"), STR(""), 0, &r, NULL), 0);
        assert_int_equal(r.exit_code, 0);
        assert_int_equal(r.out.n, 1024 * 1024);
        assert_str(buf_str(&r.err), "done\n");
}

static void big_input_is_read_late_or_never(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 }, s = { 0 };
        size_t n = 3000000;
        _cleanup_free_ char *data = xcalloc(1, n);

        assert_int_equal(process_run(SH("sleep 0.1; wc -c"), str_n(data, n), 0, &r, NULL), 0);
        assert_int_equal(atoi(r.out.p), n);
        assert_int_equal(process_run(SH("true"), str_n(data, n), 0, &s, NULL), 0);
        assert_int_equal(s.exit_code, 0);
}

static void descriptors_are_not_inherited(void **state) {
        _cleanup_(process_result_free) struct process_result r = { 0 };
        int fd = open("/dev/null", O_RDONLY); /* without O_CLOEXEC */

        assert_int_equal(process_run(SH("exec ls /proc/self/fd"), STR(""), 0, &r, NULL), 0);
        close(fd);
        assert_str(buf_str(&r.out), "0\n1\n2\n3\n"); /* 3 is the directory that ls reads */
}

static void a_missing_program_is_an_error_with_its_name(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct process_result r = { .exit_code = 77 };

        assert_int_equal(process_run((char *[]) { "no-such-program", NULL }, STR(""), 0, &r, &e), -ENOENT);
        assert_string_equal(e.message, "run no-such-program: No such file or directory");
        assert_int_equal(r.exit_code, 77); /* untouched */
}

static void check_quotes_the_first_line_of_stderr(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;

        assert_int_equal(process_check(SH("true"), STR(""), 0, &e), 0);
        assert_true(process_check(SH("echo first >&2; echo second >&2; exit 4"), STR(""), 0, &e) < 0);
        assert_string_equal(e.message, "sh: exit code 4: first");
        assert_true(process_check(SH("exit 5"), STR(""), 0, &e) < 0);
        assert_string_equal(e.message, "sh: exit code 5");
        assert_int_equal(process_check(SH("sleep 9"), STR(""), 50, &e), -ETIMEDOUT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(output_and_exit_code_are_collected),
                cmocka_unit_test(a_signal_counts_from_128),
                cmocka_unit_test(the_whole_group_is_killed_at_the_timeout),
                cmocka_unit_test(nobody_waits_for_a_daemon_that_was_left_behind),
                cmocka_unit_test(output_beyond_the_limit_is_dropped_not_waited_for),
                cmocka_unit_test(big_input_is_read_late_or_never),
                cmocka_unit_test(descriptors_are_not_inherited),
                cmocka_unit_test(a_missing_program_is_an_error_with_its_name),
                cmocka_unit_test(check_quotes_the_first_line_of_stderr),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
