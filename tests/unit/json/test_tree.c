/* Reading, building, comparing and copying trees. */
#include "help.h"

static void lookups_chain_through_what_is_absent(void **state) {
        const struct json *j = parse("{\"a\":{\"b\":{\"c\":5}},\"s\":\"x\",\"t\":true,\"\":1}");

        assert_int_equal(json_int(json_at_path(j, "a", "b", "c")), 5);
        assert_null(json_at_path(j, "a", "zz", "c"));
        assert_int_equal(json_int_or(json_at_path(j, "s", "b"), 9), 9);
        assert_str(json_str(NULL), "");
        assert_str(json_str_or(json_getc(j, "t"), STR("d")), "d");
        assert_true(json_bool(json_getc(j, "t")));
        assert_int_equal(json_int(json_get(j, (struct str) { 0 })), 1);
        assert_int_equal(json_len(json_getc(j, "s")), 0);
        assert_null(json_item(j, 0));
        assert_false(json_is(NULL, JSON_NULL));
        json_each_member(m, json_getc(j, "nope"))
                fail();
        json_each_item(it, j)
                fail();
}

static void members_are_set_replaced_and_removed_in_order(void **state) {
        struct json j = json_new_object(), *child;

        for (int i = 0; i < 9; i++)
                json_set(arena, &j, arena_printf(arena, "k%d", i), json_of_int(i));
        json_set_cstr(arena, &j, "k3", "three");
        assert_true(json_removec(&j, "k0"));
        assert_true(json_removec(&j, "k8"));
        assert_false(json_removec(&j, "k8"));
        child = json_get_or_add_object(arena, &j, "k4"); /* was a number */
        json_set_bool(arena, child, "x", true);
        json_push(arena, json_get_or_add_array(arena, &j, "list"), json_null());
        json_push(arena, json_get_or_add_array(arena, &j, "list"), json_of_printf(arena, "%d!", 5));
        assert_text(&j, "{\"k1\":1,\"k2\":2,\"k3\":\"three\",\"k4\":{\"x\":true},\"k5\":5,\"k6\":6,\"k7\":7,\"list\":["
                        "null,\"5!\"]}");
}

static void arrays_grow_shrink_and_grow_again(void **state) {
        struct json a = json_new_array();

        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 1000; i++)
                        json_push(arena, &a, json_of_int(i));
                while (a.len > 5)
                        json_remove_item(&a, 2);
        }
        json_insert(arena, &a, 0, json_of_int(-1));
        json_insert(arena, &a, 100, json_of_int(-2)); /* clamped to the end */
        json_remove_item(&a, 100);                    /* nothing there */
        assert_int_equal(json_int(json_item(&a, 0)), -1);
        assert_int_equal(json_int(json_item(&a, a.len - 1)), -2);
        assert_int_equal(a.len, 7);
        while (a.len)
                json_remove_item(&a, 0);
        json_push(arena, &a, json_of_bool(true));
        assert_text(&a, "[true]");
}

static void a_parsed_container_grows_without_touching_its_neighbours(void **state) {
        struct json *j = parse("{\"a\":[1],\"b\":[2,3],\"c\":{\"d\":4}}");

        for (int i = 0; i < 5; i++)
                json_push(arena, json_get_mut(j, STR("a")), json_of_int(i));
        json_setc(arena, json_get_mut(j, STR("c")), "e", json_of_int(5));
        assert_text(j, "{\"a\":[1,0,1,2,3,4],\"b\":[2,3],\"c\":{\"d\":4,\"e\":5}}");
}

static void equality_ignores_member_order_and_number_kind(void **state) {
        static const struct {
                const char *a, *b;
                bool equal;
        } cases[] = {
                { "{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}", true },
                { "{\"a\":1}", "{\"a\":1,\"b\":null}", false },
                { "{\"a\":1,\"b\":1}", "{\"a\":1,\"c\":1}", false },
                { "[1,2]", "[2,1]", false },
                { "\"1\"", "1", false },
                { "null", "false", false },
                { "9007199254740993", "9007199254740992.0", false },
                { "9223372036854775807", "9223372036854775808", false },
                { "{}", "[]", false },
        };
        struct json big = json_new_object(), reversed = json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                assert_int_equal(json_equal(parse(cases[i].a), parse(cases[i].b)), cases[i].equal);
                assert_int_equal(json_equal(parse(cases[i].b), parse(cases[i].a)), cases[i].equal);
        }
        assert_true(json_equal(NULL, NULL));
        assert_false(json_equal(NULL, parse("null")));
        for (int i = 0; i < 20000; i++) {
                json_add(arena, &big, arena_printf(arena, "%d", i), json_of_int(i));
                json_add(arena, &reversed, arena_printf(arena, "%d", 19999 - i), json_of_int(19999 - i));
        }
        assert_true(json_equal(&big, &reversed));
        json_get_mut(&reversed, STR("77"))->i = 0;
        assert_false(json_equal(&big, &reversed));
}

static void a_shallow_copy_changes_alone_a_deep_one_lives_alone(void **state) {
        struct json *original = parse("{\"a\":{\"b\":[1,2]},\"s\":\"text\"}"), shallow, tree, deep;
        struct arena *other = arena_new(0), *short_lived = arena_new(0);
        struct json *j;

        shallow = json_copy_shallow(arena, original);
        json_set_cstr(arena, &shallow, "s", "new");
        assert_ptr_equal(json_members(json_getc(&shallow, "a")), json_members(json_getc(original, "a")));
        tree = json_copy_tree(arena, original);
        json_push(arena, json_get_mut(json_get_mut(&tree, STR("a")), STR("b")), json_of_int(3));
        assert_text(original, "{\"a\":{\"b\":[1,2]},\"s\":\"text\"}");
        assert_text(&shallow, "{\"a\":{\"b\":[1,2]},\"s\":\"new\"}");
        assert_text(&tree, "{\"a\":{\"b\":[1,2,3]},\"s\":\"text\"}");

        assert_int_equal(json_parse(short_lived, STR("{\"k\\n\":[\"v\\n\",{}]}"), NULL, &j, NULL), 0);
        deep = json_copy(other, j);
        arena_free(short_lived);
        assert_text(&deep, "{\"k\\n\":[\"v\\n\",{}]}");
        arena_free(other);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lookups_chain_through_what_is_absent),
                cmocka_unit_test(members_are_set_replaced_and_removed_in_order),
                cmocka_unit_test(arrays_grow_shrink_and_grow_again),
                cmocka_unit_test(a_parsed_container_grows_without_touching_its_neighbours),
                cmocka_unit_test(equality_ignores_member_order_and_number_kind),
                cmocka_unit_test(a_shallow_copy_changes_alone_a_deep_one_lives_alone),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
