#include "check.h"
#include <errno.h>

#include "schema/quantity.h"

static void test_prints_as_upstream(void **state) {
        static const char *const cases[][2] = {
                { "1000m", "1" },
                { "0.5", "500m" },
                { "1", "1" },
                { "0", "0" },
                { "100m", "100m" },
                { "1Gi", "1Gi" },
                { "1024Mi", "1Gi" },
                { "512Mi", "512Mi" },
                { "1.5Gi", "1536Mi" },
                { "1e3", "1e3" },
                { "12e6", "12e6" },
                { "1000", "1k" },
                { "1500", "1500" },
                { "1000000", "1M" },
                { "0.1Gi", "107374182400m" },
                { "1e-3", "1e-3" },
                { "-1", "-1" },
                { "+5", "+5" },
                { "1.500", "1.500" },
                { "0.0001", "100u" },
                { "1n", "1n" },
                { "0.1n", "1n" },
                { "1Ki", "1Ki" },
                { "1023", "1023" },
                { "1024Ki", "1Mi" },
                { "9223372036854775807", "9223372036854775807" },
                { "1E", "1E" },
                { "123456789Ki", "123456789Ki" },
                { "1e6", "1e6" },
                { "1000e3", "1e6" },
                { "0.0", "0" },
                { "100Ei", "9223372036854775807" },
                { "1.", "1." },
                { "2500000000000000000", "2500P" },
                { "1000E", "1" },             /* there is no name for it */
                { "123.1000e28", "1231e27" }, /* more than is calculated with */
                { "-10001e28", "-100010e27" },
                { "9999999999999999999999.000E", "9999999999999999999999E" },
                { "+9999999999999999999999999999999.0000000001T", "9999999999999999999999999999999000000000100" },
                { "0.999999999999999999999999999999999999999999P", "1P" }, /* rounded up */
                { "1.999999999999999999999Ei", "2305843009213693951998847079n" },
                { "-007.99999999999999999999999999999999Ei", "-9223372036854775807" },
                { ".Ti", "0" },
                { "0Ei", "0" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct str out;

                if (quantity_canonical(a, str_of(cases[i][0]), &out, &err) < 0)
                        fail_msg("%s: %s", cases[i][0], error_text(&err));
                check_str(out, cases[i][1]);
        }
}

static void test_refuses_with_upstreams_words(void **state) {
        static const char *const wrong = "quantities must match the regular expression "
                                         "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        static const char *const suffix = "unable to parse quantity's suffix";
        static const char *const number = "unable to parse numeric part of quantity";
        const char *const cases[][2] = { { "", wrong },     { "abc", wrong },  { "1 Gi", wrong }, { "1Qi", wrong },
                                         { "1KM", suffix }, { "1ki", suffix }, { "1e", suffix },  { "1ee3", suffix },
                                         { "--1", suffix }, { ".Ei", number }, { "-Pi", number }, { "E-12", number } };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct quantity q;

                if (quantity_parse(str_of(cases[i][0]), &q, &err) != -EINVAL)
                        fail_msg("%s was taken", cases[i][0]);
                assert_string_equal(error_text(&err), cases[i][1]);
        }
}

static struct quantity q(const char *s) {
        struct quantity v;

        assert_int_equal(quantity_parse(str_of(s), &v, NULL), 0);
        return v;
}

static void test_counts(void **state) {
        char text[64];

        assert_int_equal(quantity_value(q("1.5")), 2);
        assert_int_equal(quantity_value(q("-1.5")), -2);
        assert_int_equal(quantity_milli(q("1.5")), 1500);
        assert_int_equal(quantity_milli(q("0.0001")), 1);
        assert_int_equal(quantity_value(q("2Gi")), 2LL << 30);
        assert_int_equal(quantity_value(q("100E")), INT64_MAX);
        assert_true(quantity_is_whole(q("8Pi")) && quantity_is_whole(q("16Ei")) && quantity_is_whole(q("10P")));
        assert_false(quantity_is_whole(q("1500m")) || quantity_is_whole(q("9Pi")) ||
                     quantity_is_whole(q("12345678901234567")));
        assert_true(quantity_cmp(q("1Ki"), q("1k")) > 0);
        assert_int_equal(quantity_cmp(q("1000m"), q("1")), 0);
        check_str(quantity_print(text, quantity_add(q("512Mi"), q("512Mi"))), "1Gi");
        check_str(quantity_print(text, quantity_add(q("250m"), q("750m"))), "1");
        check_str(quantity_print(text, quantity_add(q("0"), q("1Gi"))), "1Gi");
        check_str(quantity_print(text, quantity_sub(q("1"), q("1500m"))), "-500m");
        check_str(quantity_print(text, quantity_round_milli(q("100u"))), "1m");
        check_str(quantity_print(text, quantity_of_milli(1500, QUANTITY_DECIMAL_SI)), "1500m");
        check_str(quantity_print(text, quantity_of_int(8 << 20, QUANTITY_BINARY_SI)), "8Mi");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_prints_as_upstream),
                cmocka_unit_test(test_refuses_with_upstreams_words),
                cmocka_unit_test(test_counts),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
