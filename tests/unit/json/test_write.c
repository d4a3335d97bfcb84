/* Text as Go's encoding/json makes it. */
#include "../test.h"

#include <math.h>

#include "base/rand.h"
#include "json/json.h"
#include "json/number.h"

static void doubles_are_printed_as_go_prints_them(void **state) {
        static const struct {
                double d;
                const char *text, *g;
        } cases[] = {
                { 0, "0", "0" },
                { -0.0, "-0", "-0" },
                { 1, "1", "1" },
                { -1.5, "-1.5", "-1.5" },
                { 0.1, "0.1", "0.1" },
                { 1e20, "100000000000000000000", "1e+20" },
                { 1e21, "1e+21", "1e+21" },
                { 123456789e12, "123456789000000000000", "1.23456789e+20" },
                { 1e-6, "0.000001", "1e-06" },
                { 1e-7, "1e-7", "1e-07" },
                { 9.5e-7, "9.5e-7", "9.5e-07" },
                { 0.0001, "0.0001", "0.0001" },
                { 5e-324, "5e-324", "5e-324" },
                { 1.7976931348623157e308, "1.7976931348623157e+308", "1.7976931348623157e+308" },
                { 2.2250738585072014e-308, "2.2250738585072014e-308", "2.2250738585072014e-308" },
                { 0.1 + 0.2, "0.30000000000000004", "0.30000000000000004" },
                { 1e23, "1e+23", "1e+23" },
                { 123456.7, "123456.7", "123456.7" },
                { 1234567.5, "1234567.5", "1.2345675e+06" },
                { 9007199254740993.0, "9007199254740992", "9.007199254740992e+15" },
                { 333333333.33333329, "333333333.3333333", "3.333333333333333e+08" },
        };
        char text[32];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_str(json_format_double(text, cases[i].d), cases[i].text);
                assert_str(json_format_double_g(text, cases[i].d), cases[i].g);
        }
        assert_str(json_format_float(text, 1.1f), "1.1");
        assert_str(json_format_float(text, 16777216.0f), "1.6777216e+07");
}

static void every_double_reads_back_as_itself(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (int i = 0; i < 20000; i++) {
                uint64_t bits = rand_u64();
                char text[32];
                struct json *j;
                double d;

                memcpy(&d, &bits, sizeof(d));
                if (!isfinite(d))
                        continue;
                arena_reset(a);
                assert_int_equal(json_parse(a, json_format_double(text, d), NULL, &j, NULL), 0);
                assert_true(json_double_or(j, NAN) == d);
        }
}

static void strings_are_escaped_as_go_escapes_them(void **state) {
        static const struct {
                const char *plain, *text;
        } cases[] = {
                { "", "\"\"" },
                { "plain", "\"plain\"" },
                { "a\"b\\c/d", "\"a\\\"b\\\\c/d\"" },
                { "\b\f\n\r\t\x01\x1f\x7f", "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\"" },
                { "<a href='x'>&</a>", "\"\\u003ca href='x'\\u003e\\u0026\\u003c/a\\u003e\"" },
                { "\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\"" },
                { "\xc3\xa9\xf0\x9f\x98\x80", "\"\xc3\xa9\xf0\x9f\x98\x80\"" },
                { "a\xff\xed\xa0\x80z", "\"a\\ufffd\\ufffd\\ufffd\\ufffdz\"" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;

                json_write_string(&b, str_of(cases[i].plain));
                assert_str(buf_str(&b), cases[i].text);
        }
}

static void a_special_byte_is_seen_at_every_place_of_every_length(void **state) {
        static const char special[] = { '"', '\\', '<', '>', '&', '\n', '\x7f', '\xc3' };

        for (size_t n = 1; n < 50; n++)
                for (size_t at = 0; at < n; at++)
                        for (size_t k = 0; k < sizeof(special); k++) {
                                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                                _cleanup_buf_ struct buf b = BUF_INIT;
                                char *s = memset(arena_alloc(a, n), 'a', n);
                                struct json *j;

                                s[at] = special[k];
                                json_write_string(&b, str_n(s, n));
                                assert_int_equal(b.n == n + 2, special[k] == '\x7f');
                                assert_int_equal(json_parse(a, buf_str(&b), NULL, &j, NULL), 0);
                                if (special[k] != '\xc3')
                                        assert_true(str_eq(json_str(j), str_n(s, n)));
                        }
}

static void pretty_text_is_go_marshal_indent(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *j;

        assert_int_equal(json_parse(a, STR("{\"a\":[1,{}],\"b\":{\"c\":[]}}"), NULL, &j, NULL), 0);
        json_write_pretty(&b, j, 4, 0);
        assert_str(buf_str(&b),
                   "{\n    \"a\": [\n        1,\n        {}\n    ],\n    \"b\": {\n        \"c\": []\n    }\n}");
}

static void integers_reach_their_ends(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json v = json_of_int(INT64_MIN);

        json_write(&b, &v);
        buf_putc(&b, ' ');
        v = json_of_int(INT64_MAX);
        json_write(&b, &v);
        assert_str(buf_str(&b), "-9223372036854775808 9223372036854775807");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(doubles_are_printed_as_go_prints_them),
                cmocka_unit_test(every_double_reads_back_as_itself),
                cmocka_unit_test(strings_are_escaped_as_go_escapes_them),
                cmocka_unit_test(a_special_byte_is_seen_at_every_place_of_every_length),
                cmocka_unit_test(pretty_text_is_go_marshal_indent),
                cmocka_unit_test(integers_reach_their_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
