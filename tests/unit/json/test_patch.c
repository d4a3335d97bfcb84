/* JSON Patch (the examples of RFC 6902's appendix and upstream's readings), merge patch (those of RFC 7396), and the
 * merge patch between two documents. */
#include "help.h"

#include <errno.h>

static void operations_do_what_rfc_6902_shows(void **state) {
        static const struct {
                const char *doc, *patch, *result;
        } cases[] = {
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\"}]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}" },
                { "{\"foo\":[\"bar\",\"baz\"]}", "[{\"op\":\"add\",\"path\":\"/foo/1\",\"value\":\"qux\"}]",
                  "{\"foo\":[\"bar\",\"qux\",\"baz\"]}" },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"remove\",\"path\":\"/baz\"}]", "{\"foo\":\"bar\"}" },
                { "{\"foo\":[\"bar\",\"qux\",\"baz\"]}", "[{\"op\":\"remove\",\"path\":\"/foo/1\"}]",
                  "{\"foo\":[\"bar\",\"baz\"]}" },
                { "{\"baz\":\"qux\",\"foo\":\"bar\"}", "[{\"op\":\"replace\",\"path\":\"/baz\",\"value\":\"boo\"}]",
                  "{\"baz\":\"boo\",\"foo\":\"bar\"}" },
                { "{\"foo\":{\"bar\":\"baz\",\"waldo\":\"fred\"},\"qux\":{\"corge\":\"grault\"}}",
                  "[{\"op\":\"move\",\"from\":\"/foo/waldo\",\"path\":\"/qux/thud\"}]",
                  "{\"foo\":{\"bar\":\"baz\"},\"qux\":{\"corge\":\"grault\",\"thud\":\"fred\"}}" },
                { "{\"foo\":[\"all\",\"grass\",\"cows\",\"eat\"]}",
                  "[{\"op\":\"move\",\"from\":\"/foo/1\",\"path\":\"/foo/3\"}]",
                  "{\"foo\":[\"all\",\"cows\",\"eat\",\"grass\"]}" },
                { "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}",
                  "[{\"op\":\"test\",\"path\":\"/baz\",\"value\":\"qux\"},{\"op\":\"test\",\"path\":\"/foo/"
                  "1\",\"value\":2}]",
                  "{\"baz\":\"qux\",\"foo\":[\"a\",2,\"c\"]}" },
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/child\",\"value\":{\"grandchild\":{}}}]",
                  "{\"foo\":\"bar\",\"child\":{\"grandchild\":{}}}" },
                { "{\"foo\":\"bar\"}", "[{\"op\":\"add\",\"path\":\"/baz\",\"value\":\"qux\",\"xyz\":123}]",
                  "{\"foo\":\"bar\",\"baz\":\"qux\"}" },
                { "{\"/\":9,\"~1\":10}",
                  "[{\"op\":\"test\",\"path\":\"/~01\",\"value\":10},{\"op\":\"replace\",\"path\":\"/"
                  "~1\",\"value\":8}]",
                  "{\"/\":8,\"~1\":10}" },
                { "{\"foo\":[\"bar\"]}", "[{\"op\":\"add\",\"path\":\"/foo/-\",\"value\":[\"abc\"]}]",
                  "{\"foo\":[\"bar\",[\"abc\"]]}" },
                { "{\"foo\":[1,2,3]}",
                  "[{\"op\":\"remove\",\"path\":\"/foo/-1\"},{\"op\":\"add\",\"path\":\"/foo/-1\",\"value\":4}]",
                  "{\"foo\":[1,2,4]}" },
                { "{\"a\":{\"b\":1}}",
                  "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},{\"op\":\"add\",\"path\":\"/c/"
                  "b\",\"value\":2}]",
                  "{\"a\":{\"b\":1},\"c\":{\"b\":2}}" },
                { "{}", "[{\"op\":\"replace\",\"path\":\"/new\",\"value\":1}]", "{\"new\":1}" },
                { "{\"a\":null}",
                  "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null},{\"op\":\"test\",\"path\":\"/"
                  "b\",\"value\":null}]",
                  "{\"a\":null}" },
                { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}" },
                { "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":\"b\"}]", "{\"a\":1}" },
                { "{\"a\":1}", "[]", "{\"a\":1}" },
                { "{\"a\":[1.5,\"\\u003cé\"]}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":[1.5,\"\\u003cé\"]}]",
                  "{\"a\":[1.5,\"\\u003cé\"]}" },
                { "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/\",\"value\":2}]", "{\"a\":1,\"\":2}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json result;

                assert_int_equal(json_patch_apply(arena, parse(cases[i].doc), parse(cases[i].patch), &result, NULL), 0);
                assert_text(&result, cases[i].result);
        }
}

static void failures_say_what_upstream_says(void **state) {
        static const struct {
                const char *patch, *message;
        } cases[] = {
                { "[{\"op\":\"remove\",\"path\":\"/zz\"}]",
                  "error in remove for path: '/zz': Unable to remove nonexistent key: zz: missing value" },
                { "[{\"op\":\"test\",\"path\":\"/s\",\"value\":\"y\"}]", "testing value /s failed: test failed" },
                { "[{\"op\":\"test\",\"path\":\"/zz\"}]", "testing value /zz failed: test failed" },
                { "[{\"op\":\"test\",\"path\":\"\"}]", "testing value  failed: test failed" },
                { "[{\"op\":\"test\",\"path\":\"/l\",\"value\":[1.0,2]}]", "testing value /l failed: test failed" },
                { "[{\"op\":\"test\",\"path\":\"/s\",\"value\":\"\\u0078\"}]", "testing value /s failed: test failed" },
                { "[{\"op\":\"test\",\"path\":\"/t\",\"value\":\"<é\"}]", "testing value /t failed: test failed" },
                { "[{\"op\":\"add\",\"path\":\"/x/y/z\",\"value\":1}]",
                  "add operation does not apply: doc is missing path: \"/x/y/z\": missing value" },
                { "[{\"op\":\"add\",\"path\":\"/s/y\",\"value\":1}]",
                  "add operation does not apply: doc is missing path: \"/s/y\": missing value" },
                { "[{\"op\":\"add\",\"path\":\"/l/9\",\"value\":1}]",
                  "error in add for path: '/l/9': Unable to access invalid index: 9: invalid index referenced" },
                { "[{\"op\":\"add\",\"path\":\"/l/x\",\"value\":1}]",
                  "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: "
                  "parsing \"x\": invalid syntax" },
                { "[{\"op\":\"replace\",\"path\":\"/l/9\",\"value\":1}]",
                  "replace operation does not apply: doc is missing key: /l/9: missing value" },
                { "[{\"op\":\"move\",\"from\":\"/q\",\"path\":\"/r\"}]",
                  "error in move for path: 'q': Unable to remove nonexistent key: q: missing value" },
                { "[{\"op\":\"move\",\"from\":\"/o\",\"path\":\"/o/p/q\"}]",
                  "move operation does not apply: doc is missing destination path: /o/p/q: missing value" },
                { "[{\"op\":\"copy\",\"path\":\"/r\"}]",
                  "copy operation failed to decode from: operation, missing from field: missing value" },
                { "[{\"op\":\"fly\",\"path\":\"/r\"}]", "Unexpected kind: fly" },
                { "[{\"path\":\"/r\"}]", "Unexpected kind: unknown" },
                { "[{\"op\":\"replace\",\"path\":1}]", "replace operation failed to decode path: json: cannot "
                                                       "unmarshal number into Go value of type string" },
                { "[{\"op\":\"add\"}]", "add operation failed to decode path: missing value" },
                { "{}", "json: cannot unmarshal object into Go value of type jsonpatch.Patch" },
                { "[null]", "Unexpected kind: unknown" },
                { "[1]", "json: cannot unmarshal number into Go value of type jsonpatch.Operation" },
        };
        const char *doc = "{\"s\":\"x\",\"l\":[1,2],\"o\":{},\"t\":\"\\u003cé\"}";

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct json *original = parse(doc), result;

                assert_int_equal(json_patch_apply(arena, original, parse(cases[i].patch), &result, &e), -EINVAL);
                assert_string_equal(error_text(&e), cases[i].message);
                assert_text(original, doc);
        }
}

static void neither_the_document_nor_the_patch_is_changed(void **state) {
        static const char doc[] = "{\"a\":{\"b\":[1]}}",
                          patch[] = "[{\"op\":\"add\",\"path\":\"/"
                                    "c\",\"value\":{\"d\":[]}},{\"op\":\"add\",\"path\":\"/c/d/-\",\"value\":1},"
                                    "{\"op\":\"remove\",\"path\":\"/a/b/0\"}]";
        struct json *d = parse(doc), *p = parse(patch), result;

        assert_int_equal(json_patch_apply(arena, d, p, &result, NULL), 0);
        assert_text(&result, "{\"a\":{\"b\":[]},\"c\":{\"d\":[1]}}");
        assert_text(d, doc);
        assert_text(p, patch);
}

static void copies_that_double_are_stopped(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json patch = json_new_array(), result;

        for (int i = 0; i < 64; i++) {
                struct json *op = json_push(arena, &patch, json_new_object());

                json_set_cstr(arena, op, "op", "copy");
                json_set_cstr(arena, op, "from", "/a");
                json_set_cstr(arena, op, "path", "/a/-");
        }
        assert_int_equal(json_patch_apply(a, parse("{\"a\":[\"0123456789\"]}"), &patch, &result, &e), -EINVAL);
        assert_non_null(strstr(error_text(&e), "exceeding the limit 3145728"));
        assert_true(arena_size(a) < 64 << 20);
}

static void merge_patches_do_what_rfc_7396_shows(void **state) {
        static const struct {
                const char *doc, *patch, *result;
        } cases[] = {
                { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
                { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
                { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
                { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
                { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
                { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
                { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
                { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
                { "[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]" },
                { "{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]" },
                { "{\"a\":\"foo\"}", "null", "null" },
                { "{\"a\":\"foo\"}", "\"bar\"", "\"bar\"" },
                { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
                { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
                { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
                { "{\"a\":{\"x\":1},\"b\":2}", "{\"a\":null,\"c\":{\"d\":null,\"e\":3}}", "{\"b\":2,\"c\":{\"e\":3}}" },
                { "{\"a\":{\"x\":1}}", "{\"a\":[{\"d\":null}]}", "{\"a\":[{\"d\":null}]}" },
                { "{\"a\":[1]}", "{\"a\":[{\"d\":null}]}", "{\"a\":[{}]}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json *doc = parse(cases[i].doc), result = json_merge_patch(arena, doc, parse(cases[i].patch));

                assert_text(&result, cases[i].result);
                assert_text(doc, cases[i].doc);
        }
}

static void large_objects_are_merged_by_index(void **state) {
        struct json a = json_new_object(), patch = json_new_object(), merged;

        for (int i = 0; i < 20000; i++)
                json_add(arena, &a, arena_printf(arena, "k%d", i), json_of_int(i));
        for (int i = 30000; i-- > 10000;)
                json_add(arena, &patch, arena_printf(arena, "k%d", i), i & 1 ? json_null() : json_of_int(-i));
        merged = json_merge_patch(arena, &a, &patch);
        assert_int_equal(merged.len, 10000 + 5000 + 5000); /* untouched, changed, new ones */
        assert_int_equal(json_int(json_getc(&merged, "k9999")), 9999);
        assert_int_equal(json_int(json_getc(&merged, "k10000")), -10000);
        assert_null(json_getc(&merged, "k10001"));
        assert_int_equal(json_int(json_getc(&merged, "k29998")), -29998);
}

/* Any changes to any number of members come to what json_set() and json_remove() make of them. */
static void edits_are_many_single_changes(void **state) {
        for (unsigned round = 0; round < 60; round++) {
                struct json one = json_new_object(), two = json_new_object();
                struct json_edit e = { .arena = arena, .object = &two };
                unsigned seed = round, n_keys = round % 2 ? 1 + round : 20 * round + 1;

                for (unsigned i = 0; i < 10 * n_keys; i++) {
                        struct str key = arena_printf(arena, "k%u", (unsigned) rand_r(&seed) % n_keys);
                        const struct json *a = json_get(&one, key), *b = json_edit_get(&e, key);

                        assert_int_equal(a != NULL, b != NULL);
                        assert_true(!a || json_equal(a, b));
                        if (rand_r(&seed) % 3 == 0) {
                                json_remove(&one, key);
                                json_edit_remove(&e, key);
                        } else {
                                json_set(arena, &one, key, json_of_int(i));
                                json_edit_set(&e, key, json_of_int(i));
                        }
                }
                json_edit_end(&e);
                assert_int_equal(one.len, two.len);
                assert_true(json_equal(&one, &two));
        }
}

static void ten_thousand_levels_fit_on_the_stack(void **state) {
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;
        struct json *doc, *patch, merged, copy;

        for (int i = 0; i < 9998; i++) {
                buf_addc(&a, "{\"x\":");
                buf_addc(&b, "{\"x\":");
        }
        buf_addc(&a, "{\"y\":1}");
        buf_addc(&b, "{\"y\":null,\"z\":[]}");
        for (int i = 0; i < 9998; i++) {
                buf_putc(&a, '}');
                buf_putc(&b, '}');
        }
        assert_int_equal(json_parse(arena, buf_str(&a), NULL, &doc, NULL), 0);
        assert_int_equal(json_parse(arena, buf_str(&b), NULL, &patch, NULL), 0);
        merged = json_merge_patch(arena, doc, patch);
        copy = json_copy(arena, &merged);
        assert_true(json_equal(&copy, &merged));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(operations_do_what_rfc_6902_shows),
                cmocka_unit_test(failures_say_what_upstream_says),
                cmocka_unit_test(neither_the_document_nor_the_patch_is_changed),
                cmocka_unit_test(copies_that_double_are_stopped),
                cmocka_unit_test(merge_patches_do_what_rfc_7396_shows),
                cmocka_unit_test(large_objects_are_merged_by_index),
                cmocka_unit_test(edits_are_many_single_changes),
                cmocka_unit_test(ten_thousand_levels_fit_on_the_stack),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
