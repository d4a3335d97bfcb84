/* Errors as values, and the log. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

static void the_reason_follows_from_errno(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;

        assert_int_equal(error_set(&e, -ENOENT, "no %s", "pod"), -ENOENT);
        assert_int_equal(e.reason, REASON_NOT_FOUND);
        assert_string_equal(error_text(&e), "no pod");
        assert_int_equal(error_set(&e, EEXIST, "there"), -EEXIST);
        assert_int_equal(e.reason, REASON_ALREADY_EXISTS);
        assert_int_equal(error_set(&e, -EINVAL, "bad"), -EINVAL);
        assert_int_equal(e.reason, REASON_BAD_REQUEST);
        assert_int_equal(error_set(&e, -EAGAIN, "again"), -EAGAIN);
        assert_int_equal(e.reason, REASON_CONFLICT);
        assert_int_equal(error_set(&e, -ENOSPC, "full"), -ENOSPC);
        assert_int_equal(e.reason, REASON_INTERNAL);
        assert_int_equal(error_set(NULL, -ENOENT, "nobody reads this"), -ENOENT);
}

static void reasons_have_upstreams_names_and_codes(void **state) {
        static const struct {
                enum status_reason reason;
                int code;
                const char *text;
        } cases[] = {
                { REASON_NOT_FOUND, 404, "NotFound" },
                { REASON_ALREADY_EXISTS, 409, "AlreadyExists" },
                { REASON_CONFLICT, 409, "Conflict" },
                { REASON_INVALID, 422, "Invalid" },
                { REASON_EXPIRED, 410, "Expired" },
                { REASON_TOO_LARGE, 413, "RequestEntityTooLarge" },
                { REASON_SERVER_TIMEOUT, 500, "ServerTimeout" },
                { REASON_TIMEOUT, 504, "Timeout" },
                { REASON_UNSUPPORTED_MEDIA, 415, "UnsupportedMediaType" },
                { REASON_UNKNOWN, 500, "" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(status_reason_code(cases[i].reason), cases[i].code);
                assert_string_equal(status_reason_text(cases[i].reason), cases[i].text);
        }
}

static void an_error_is_prefixed_copied_and_moved_with_its_causes(void **state) {
        _cleanup_error_ struct error a = ERROR_INIT, b = ERROR_INIT, c = ERROR_INIT;

        assert_true(error_status(&a, REASON_INVALID, "Pod is invalid") < 0);
        error_details(&a, STR("web"), STR(""), STR("Pod"));
        error_add_cause(&a, "FieldValueRequired", STR("spec.containers"), "Required value%s", "");
        error_add_cause(&a, "FieldValueInvalid", (struct str) { 0 }, "x");
        assert_int_equal(error_prefix(&a, "creating %d", 1), -EINVAL);
        assert_string_equal(a.message, "creating 1: Pod is invalid");
        error_copy(&b, &a);
        error_move(&c, &a);
        assert_null(a.message);
        assert_string_equal(c.message, b.message);
        assert_string_equal(b.causes[0].field, "spec.containers");
        assert_string_equal(b.causes[0].message, "Required value");
        assert_null(b.causes[1].field);
        assert_int_equal(c.n_causes, 2);
        assert_string_equal(b.name, "web");
}

static void an_argument_may_be_the_old_message(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;

        error_set(&e, -EIO, "inner");
        error_set(&e, -ENOENT, "outer: %s", e.message);
        assert_string_equal(e.message, "outer: inner");
        error_errno(&e, -ENOENT, "open %s", "/x");
        assert_string_equal(e.message, "open /x: no such file or directory");
}

static void a_log_line_is_one_line_with_level_time_and_component(void **state) {
        char line[8192];
        int saved = dup(STDERR_FILENO), p[2];
        ssize_t n;

        assert_int_equal(pipe(p), 0);
        dup2(p[1], STDERR_FILENO);
        log_set_component("tester");
        log_warn("two\nlines %d", 7);
        log_debug("not shown");
        n = read(p[0], line, sizeof(line) - 1);
        dup2(saved, STDERR_FILENO);
        close(saved);
        close(p[0]);
        close(p[1]);
        assert_true(n > 0);
        line[n] = 0;
        assert_int_equal(line[0], 'W');
        assert_string_equal(line + strlen("W0102 15:04:05.123456"), " tester] two lines 7\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_reason_follows_from_errno),
                cmocka_unit_test(reasons_have_upstreams_names_and_codes),
                cmocka_unit_test(an_error_is_prefixed_copied_and_moved_with_its_causes),
                cmocka_unit_test(an_argument_may_be_the_old_message),
                cmocka_unit_test(a_log_line_is_one_line_with_level_time_and_component),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
