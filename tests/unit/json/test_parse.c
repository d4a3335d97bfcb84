/* What the parser makes of values, and what it says about what is none. */
#include "help.h"

#include <errno.h>
#include <math.h>

#include "base/time.h"
#include "json/scan.h"

static void messages_are_those_of_go(void **state) {
        static const struct {
                const char *text, *message;
        } cases[] = {
                { "", "unexpected end of JSON input" },
                { "[1,]", "invalid character ']' looking for beginning of value" },
                { "{\"a\":1,}", "invalid character '}' looking for beginning of object key string" },
                { "{a", "invalid character 'a' looking for beginning of object key string" },
                { "{\"a\" 1}", "invalid character '1' after object key" },
                { "{\"a\":1 1}", "invalid character '1' after object key:value pair" },
                { "[1 1]", "invalid character '1' after array element" },
                { "[01]", "invalid character '1' after array element" },
                { "1 1", "invalid character '1' after top-level value" },
                { "'", "invalid character '\\'' looking for beginning of value" },
                { "\"a\nb\"", "invalid character '\\n' in string literal" },
                { "\"\x01\"", "invalid character '\\x01' in string literal" },
                { "\"\\x\"", "invalid character 'x' in string escape code" },
                { "\"\\u12\"\"", "invalid character '\"' in \\u hexadecimal character escape" },
                { "-x", "invalid character 'x' in numeric literal" },
                { "1.x", "invalid character 'x' after decimal point in numeric literal" },
                { "1ex", "invalid character 'x' in exponent of numeric literal" },
                { "tru!", "invalid character '!' in literal true (expecting 'e')" },
                { "nope", "invalid character 'o' in literal null (expecting 'u')" },
                { "\xef\xbb\xbf{}", "invalid character '\xc3\xaf' looking for beginning of value" },
                { "\x7f", "invalid character '\\x7f' looking for beginning of value" },
                { "\xa0", "invalid character '\\u00a0' looking for beginning of value" },
                { "[1e999]", "json: cannot unmarshal number 1e999 into Go value of type float64" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct json *j = NULL;

                assert_int_equal(json_parse(arena, str_of(cases[i].text), NULL, &j, &e), -EINVAL);
                assert_string_equal(error_text(&e), cases[i].message);
                assert_null(j);
        }
}

static void integers_stay_integers_and_the_rest_becomes_double(void **state) {
        const struct json *j = parse("[9223372036854775807,-9223372036854775808,9223372036854775808,1.0,1e2,-0,-0.0,"
                                     "123456789012345678]");

        assert_int_equal(json_item(j, 0)->type, JSON_INT);
        assert_true(json_int(json_item(j, 0)) == INT64_MAX);
        assert_true(json_int(json_item(j, 1)) == INT64_MIN);
        assert_int_equal(json_item(j, 2)->type, JSON_DOUBLE);
        assert_true(json_item(j, 2)->d == 0x1p63);
        assert_int_equal(json_int_or(json_item(j, 2), -7), -7);
        assert_int_equal(json_item(j, 3)->type, JSON_DOUBLE);
        assert_int_equal(json_int(json_item(j, 3)), 1);
        assert_int_equal(json_int(json_item(j, 4)), 100);
        assert_int_equal(json_item(j, 5)->type, JSON_INT);
        assert_true(signbit(json_item(j, 6)->d));
        assert_true(json_int(json_item(j, 7)) == 123456789012345678);
}

static void doubles_are_the_nearest(void **state) {
        static const char *const texts[] = {
                "0.1",
                "1e22",
                "1e23",
                "123.456e-7",
                "9007199254740993.0",
                "2.2250738585072011e-308",
                "1.7976931348623157e308",
                "4.9e-324",
                "0.3",
                "8.41e21",
                "5e-1",
                "179769313486231570000e-5",
                "3.141592653589793238462643383279",
                "9007199254740992e22",
                "1e-22",
                "1e-23",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                assert_true(json_double_or(parse(texts[i]), -1) == strtod(texts[i], NULL));
}

static void strings_are_views_unless_they_have_escapes(void **state) {
        static const char text[] = "[\"plain\",\"esc\\taped\",\"\xc3\xa9\",\"\xff!\"]";
        const struct json *j = parse(text);

        assert_str(json_str(json_item(j, 0)), "plain");
        assert_ptr_equal(json_chars(json_item(j, 0)), text + 2);
        assert_str(json_str(json_item(j, 1)), "esc\taped");
        assert_str(json_str(json_item(j, 2)), "\xc3\xa9");
        assert_true(json_chars(json_item(j, 2)) > text && json_chars(json_item(j, 2)) < text + sizeof(text));
        assert_str(json_str(json_item(j, 3)), "\xef\xbf\xbd!");
}

static void escapes_are_resolved_as_go_resolves_them(void **state) {
        static const struct {
                const char *text, *value;
        } cases[] = {
                { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
                { "\"\\u0041\\u00e9\\u20AC\"", "A\xc3\xa9\xe2\x82\xac" },
                { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80" },
                { "\"\\ud83d\"", "\xef\xbf\xbd" },
                { "\"\\ude00x\"", "\xef\xbf\xbdx" },
                { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                                        "A" },
                { "\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80" },
                { "\"\xed\xa0\x80\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
                { "\"\xe2\x82\"", "\xef\xbf\xbd\xef\xbf\xbd" },
                { "\"0123456789abcdef\xff"
                  "0123456789abcdef\\n\"",
                  "0123456789abcdef\xef\xbf\xbd"
                  "0123456789abcdef\n" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_str(json_str(parse(cases[i].text)), cases[i].value);
                assert_str(json_unquote(arena, str_of(cases[i].text)), cases[i].value);
        }
}

static void copied_strings_outlive_their_text(void **state) {
        struct json_parse_opts opts = { .copy_strings = true };
        char *text = xstrdup("{\"key\":\"value\"}");
        struct json *j;

        assert_int_equal(json_parse(arena, str_of(text), &opts, &j, NULL), 0);
        memset(text, 'x', strlen(text));
        free(text);
        assert_str(json_str(json_getc(j, "key")), "value");
}

static void depth_is_bounded(void **state) {
        struct json_parse_opts opts = { .max_depth = 3 };
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j;

        assert_int_equal(json_parse(arena, STR("[[[1]]]"), &opts, &j, &e), 0);
        assert_int_equal(json_parse(arena, STR("[[],[[[]]]]"), &opts, &j, &e), -EINVAL);
        assert_string_equal(error_text(&e), "invalid character '[' exceeded max depth");
}

static void a_duplicate_takes_the_first_place_and_the_last_value(void **state) {
        struct json_duplicates d = { .arena = arena };
        struct json_parse_opts opts = { .duplicates = &d };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *j;

        assert_int_equal(json_parse(arena,
                                    STR("{\"a\":1,\"a\":0,\"spec\":{\"c\":[{},{\"name\":1,\"x\":2,\"name\":3}]},"
                                        "\"b\":5,\"b\":7}"),
                                    &opts, &j, NULL),
                         0);
        json_write(&b, j);
        assert_str(buf_str(&b), "{\"a\":0,\"spec\":{\"c\":[{},{\"name\":3,\"x\":2}]},\"b\":7}");
        assert_int_equal(d.n, 3);
        assert_str(d.messages[0], "duplicate field \"a\"");
        assert_str(d.messages[1], "duplicate field \"spec.c[1].name\"");
        assert_str(d.messages[2], "duplicate field \"b\"");
}

static void a_hundred_thousand_keys_are_no_trouble(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json_duplicates d = { .arena = arena };
        struct json_parse_opts opts = { .duplicates = &d };
        int64_t start = now_mono_ms();
        struct json *j;

        buf_putc(&b, '{');
        for (int i = 0; i < 200000; i++)
                buf_printf(&b, "%s\"key-%d\":%d", i ? "," : "", i % 100000, i);
        buf_putc(&b, '}');
        assert_int_equal(json_parse(arena, buf_str(&b), &opts, &j, NULL), 0);
        assert_int_equal(j->len, 100000);
        assert_int_equal(d.n, 100000);
        assert_int_equal(json_int(json_getc(j, "key-7")), 100007);
        assert_true(now_mono_ms() - start < 5000); /* quadratic would be minutes */
}

static void a_key_that_is_too_long_is_refused(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j;

        buf_addc(&b, "{\"");
        for (int i = 0; i < 65535; i++)
                buf_putc(&b, 'k');
        buf_addc(&b, "\":1}");
        assert_int_equal(json_parse(arena, buf_str(&b), NULL, &j, &e), 0);
        assert_int_equal(json_key(&json_members(j)[0]).n, 65535);
        b.n -= 4;
        buf_addc(&b, "k\":1}");
        assert_int_equal(json_parse(arena, buf_str(&b), NULL, &j, &e), -EINVAL);
}

static void scanning_finds_what_the_tree_has(void **state) {
        struct str text = STR(" { \"a\" : [ 1, {\"x\":\"]}\"} ] , \"b\\u0063\" : { \"c\" : \"v\\\"}\" , \"d\":-1.5e3}, "
                              "\"e\":null }");
        struct json_scan s;

        assert_str(json_scan(text, (const char *const[]) { "bc", "c", NULL }), "\"v\\\"}\"");
        assert_str(json_scan(text, (const char *const[]) { "bc", "d", NULL }), "-1.5e3");
        assert_str(json_scan(text, (const char *const[]) { "e", NULL }), "null");
        assert_str(json_scan(text, (const char *const[]) { "a", NULL }), "[ 1, {\"x\":\"]}\"} ]");
        assert_null(json_scan(text, (const char *const[]) { "a", "x", NULL }).p);
        assert_null(json_scan(text, (const char *const[]) { "zz", NULL }).p);
        assert_true(json_scan_open(&s, json_scan(text, (const char *const[]) { "a", NULL })));
        assert_true(json_scan_next(&s));
        assert_str(s.value, "1");
        assert_true(json_scan_next(&s));
        assert_str(s.value, "{\"x\":\"]}\"}");
        assert_false(json_scan_next(&s));
        assert_false(json_scan_open(&s, STR("\"x\"")));
}

static void scanning_broken_text_ends(void **state) {
        static const char *const broken[] = { "",        "{",         "{\"a",        "{\"a\"",
                                              "{\"a\":", "{\"a\":{",  "{\"a\":\"\\", "{\"b\":1 \"a\":2}",
                                              "[",       "{\"b\":[}", "{\"a\":}" };

        for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
                size_t n = strlen(broken[i]);
                _cleanup_free_ char *exact = memcpy(xmalloc(n), broken[i], n);

                assert_int_equal(json_scan(str_n(exact, n), (const char *const[]) { "a", NULL }).n, 0);
        }
}

static void no_number_is_found_in_a_string(void **state) {
        struct str found;

        assert_true(json_find_number(STR("{\"a\":\"b:1.0,\\\"c:1.0\",\"d\":1.00}"), false, 1, &found));
        assert_true(str_eqc(found, "1.00"));
        assert_false(json_find_number(STR("[\"1.0\\"), false, 1, &found));
        assert_false(json_find_number((struct str) { 0 }, false, 1, &found));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(messages_are_those_of_go),
                cmocka_unit_test(integers_stay_integers_and_the_rest_becomes_double),
                cmocka_unit_test(doubles_are_the_nearest),
                cmocka_unit_test(strings_are_views_unless_they_have_escapes),
                cmocka_unit_test(escapes_are_resolved_as_go_resolves_them),
                cmocka_unit_test(copied_strings_outlive_their_text),
                cmocka_unit_test(depth_is_bounded),
                cmocka_unit_test(a_duplicate_takes_the_first_place_and_the_last_value),
                cmocka_unit_test(a_hundred_thousand_keys_are_no_trouble),
                cmocka_unit_test(a_key_that_is_too_long_is_refused),
                cmocka_unit_test(scanning_finds_what_the_tree_has),
                cmocka_unit_test(scanning_broken_text_ends),
                cmocka_unit_test(no_number_is_found_in_a_string),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
