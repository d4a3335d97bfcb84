/* Strings, arenas, buffers, vectors, maps, lists. */
#include "../test.h"

#include <errno.h>
#include <limits.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rand.h"
#include "base/vec.h"

static void strings_compare_by_bytes_and_then_by_length(void **state) {
        assert_true(str_cmp(STR("a"), STR("b")) < 0);
        assert_true(str_cmp(STR("a"), STR("ab")) < 0);
        assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
        assert_int_equal(str_cmp(STR(""), (struct str) { 0 }), 0);
        assert_true(str_eq((struct str) { 0 }, STR("")));
        assert_true(str_eq_fold(STR("Content-TYPE"), STR("content-type")));
        assert_false(str_eq_fold(STR("a@"), STR("a`")));
}

static void strings_are_searched_and_cut(void **state) {
        struct str s = STR("a/b/c");

        assert_int_equal(str_find(s, '/'), 1);
        assert_int_equal(str_rfind(s, '/'), 3);
        assert_int_equal(str_find((struct str) { 0 }, '/'), -1);
        assert_int_equal(str_search(s, STR("b/c")), 2);
        assert_int_equal(str_search(s, STR("")), 0);
        assert_int_equal(str_search(s, STR("x")), -1);
        assert_str(str_sub(s, 2, 100), "b/c");
        assert_str(str_sub(s, 7, 9), "");
        assert_str(str_trim(STR(" \t x y\r\n")), "x y");
        assert_str(str_trim(STR("  ")), "");
        assert_true(str_has_prefix(s, STR("a/")));
        assert_false(str_has_prefix(STR("a"), STR("a/")));
        assert_true(str_has_suffix(s, STR("/c")));
}

static void split_gives_empty_parts_but_none_of_an_empty_text(void **state) {
        struct str rest = STR("a,,b"), part;

        assert_true(str_split(&rest, ',', &part));
        assert_str(part, "a");
        assert_true(str_split(&rest, ',', &part));
        assert_str(part, "");
        assert_true(str_split(&rest, ',', &part));
        assert_str(part, "b");
        assert_false(str_split(&rest, ',', &part));
        rest = STR("");
        assert_false(str_split(&rest, ',', &part));
}

static void integers_are_read_whole_or_not_at_all(void **state) {
        int64_t i = 7;
        uint64_t u = 7;

        assert_int_equal(str_to_i64(STR("-9223372036854775808"), &i), 0);
        assert_true(i == INT64_MIN);
        assert_int_equal(str_to_i64(STR("9223372036854775807"), &i), 0);
        assert_true(i == INT64_MAX);
        assert_int_equal(str_to_i64(STR("9223372036854775808"), &i), -ERANGE);
        assert_int_equal(str_to_i64(STR("-9223372036854775809"), &i), -ERANGE);
        assert_int_equal(str_to_u64(STR("18446744073709551615"), &u), 0);
        assert_true(u == UINT64_MAX);
        assert_int_equal(str_to_u64(STR("18446744073709551616"), &u), -ERANGE);
        assert_true(u == UINT64_MAX); /* untouched */
        assert_int_equal(str_to_i64(STR(""), &i), -EINVAL);
        assert_int_equal(str_to_i64(STR("-"), &i), -EINVAL);
        assert_int_equal(str_to_i64(STR("1 "), &i), -EINVAL);
        assert_int_equal(str_to_u64(STR("-1"), &u), -EINVAL);
        assert_int_equal(str_to_u64(STR("99999999999999999999x"), &u), -EINVAL);
        bool b = false;
        assert_true(str_to_bool(STR("TRUE"), &b) == 0 && b);
        assert_true(str_to_bool(STR("f"), &b) == 0 && !b);
        assert_int_equal(str_to_bool(STR("yes"), &b), -EINVAL);
        assert_int_equal(str_to_bool(STR(""), &b), -EINVAL);
}

static void stable_hash_is_fnv1a(void **state) {
        assert_true(str_hash_stable(STR("")) == 0xcbf29ce484222325ULL);
        assert_true(str_hash_stable(STR("a")) == 0xaf63dc4c8601ec8cULL);
        assert_true(str_hash(STR("some key that is longer than sixteen")) ==
                    str_hash(STR("some key that is longer than sixteen")));
        assert_true(str_hash(STR("a")) != str_hash(STR("b")));
}

static void arena_memory_is_aligned_and_does_not_overlap(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(100);
        struct {
                uint8_t *p;
                size_t n;
        } blocks[600];

        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++) {
                size_t n = i % 50 == 0 ? 5000 : i % 37;

                blocks[i].p = arena_alloc(a, n);
                blocks[i].n = n;
                assert_int_equal((uintptr_t) blocks[i].p % (n % 16 ? 8 : 16), 0);
                memset(blocks[i].p, (int) i, n);
        }
        for (size_t i = 0; i < ARRAY_SIZE(blocks); i++)
                for (size_t k = 0; k < blocks[i].n; k++)
                        assert_int_equal(blocks[i].p[k], (uint8_t) i);
}

static void arena_reset_keeps_only_the_first_chunk(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(4096);
        size_t before = arena_size(a);

        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 100; i++)
                        memset(arena_alloc(a, 1000), 1, 1000);
                arena_alloc(a, 3000000);
                assert_true(arena_size(a) > 3000000);
                arena_reset(a);
                assert_int_equal(arena_size(a), before);
        }
        assert_str(arena_printf(a, "%d-%s", 7, "x"), "7-x");
        assert_string_equal(arena_cstr(a, STR("abc")), "abc");
}

static void buffer_grows_and_gives_itself_away(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_free_ char *taken = NULL;
        size_t n;

        buf_addc(&b, "a");
        buf_putc(&b, 'b');
        buf_add_u64(&b, UINT64_MAX);
        buf_add_u64(&b, 0);
        buf_printf(&b, "%0200d", 5);
        assert_int_equal(b.n, 2 + 20 + 1 + 200);
        assert_true(str_has_prefix(buf_str(&b), STR("ab184467440737095516150")));
        buf_consume(&b, 222);
        assert_str(buf_str(&b), "5");
        buf_consume(&b, 5);
        assert_int_equal(b.n, 0);
        buf_addc(&b, "xyz");
        taken = buf_take(&b, &n);
        assert_string_equal(taken, "xyz");
        assert_int_equal(n, 3);
        assert_null(b.p);
}

static void vector_pushes_pops_and_removes_in_order(void **state) {
        VEC(int) v = { 0 };

        for (int i = 0; i < 20; i++)
                vec_push(&v, i);
        vec_remove(&v, 3);
        assert_int_equal(v.n, 19);
        assert_int_equal(v.v[3], 4);
        assert_int_equal(vec_pop(&v), 19);
        vec_free(&v);
        assert_null(v.v);
}

static int freed;

static void count_free(void *p) {
        freed++;
}

static void map_finds_replaces_and_removes(void **state) {
        _cleanup_(map_freep) struct map *m = map_new(count_free);
        char key[16];

        freed = 0;
        for (int i = 0; i < 5000; i++) {
                snprintf(key, sizeof(key), "key-%d", i);
                assert_true(map_put(m, str_of(key), (void *) (intptr_t) (i + 1)));
        }
        assert_int_equal(map_size(m), 5000);
        for (int i = 0; i < 5000; i++) {
                snprintf(key, sizeof(key), "key-%d", i);
                assert_int_equal((intptr_t) map_get(m, str_of(key)), i + 1);
        }
        assert_null(map_get(m, STR("nope")));
        assert_false(map_put(m, STR("key-7"), (void *) 99));
        assert_int_equal(freed, 1);
        assert_int_equal((intptr_t) map_take(m, STR("key-7")), 99);
        assert_int_equal(freed, 1);
        assert_true(map_remove(m, STR("key-8")));
        assert_false(map_remove(m, STR("key-8")));
        assert_int_equal(freed, 2);
        assert_false(map_has(m, STR("key-8")));
        map_clear(m);
        assert_int_equal(freed, 5000);
        assert_int_equal(map_size(m), 0);
}

static void map_lets_the_current_key_be_removed_while_iterating(void **state) {
        _cleanup_(map_freep) struct map *m = map_new(NULL);
        char key[16];
        int seen = 0;

        for (int i = 0; i < 1000; i++) {
                snprintf(key, sizeof(key), "%d", i);
                map_put(m, str_of(key), m);
        }
        for (struct map_iter it = MAP_ITER(m); map_next(&it); seen++)
                map_remove(m, it.key);
        assert_int_equal(seen, 1000);
        assert_int_equal(map_size(m), 0);
}

static void map_does_not_grow_when_keys_come_and_go(void **state) {
        _cleanup_(map_freep) struct map *m = map_new(NULL);
        char key[16];

        for (int i = 0; i < 200000; i++) {
                snprintf(key, sizeof(key), "%d", i);
                map_put(m, str_of(key), m);
                if (i >= 10) {
                        snprintf(key, sizeof(key), "%d", i - 10);
                        assert_true(map_remove(m, str_of(key)));
                }
        }
        assert_int_equal(map_size(m), 10);
        for (int i = 199990; i < 200000; i++) {
                snprintf(key, sizeof(key), "%d", i);
                assert_true(map_has(m, str_of(key)));
        }
}

static void list_keeps_order_and_survives_a_second_delete(void **state) {
        struct item {
                int number;
                struct list link;
        } a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
        struct list head = LIST_INIT(head);
        int n = 0;

        list_push(&head, &b.link);
        list_push(&head, &c.link);
        list_push_front(&head, &a.link);
        assert_ptr_equal(head.next, &a.link);
        assert_ptr_equal(head.prev, &c.link);
        list_each(struct item, it, &head, link)
                assert_int_equal(it->number, ++n);
        assert_int_equal(n, 3);
        n = 0;
        list_each_safe(struct item, it, &head, link) {
                list_del(&it->link);
                list_del(&it->link);
                n++;
        }
        assert_int_equal(n, 3);
        assert_true(list_empty(&head));
}

static void random_names_have_their_alphabet_and_uuids_their_version(void **state) {
        char uuid[37], other[37], suffix[6] = { 0 };
        bool seen[8] = { 0 };

        rand_uuid(uuid);
        rand_uuid(other);
        assert_string_not_equal(uuid, other);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
        for (int i = 0; i < 200; i++) {
                rand_suffix(suffix, 5);
                assert_int_equal(strspn(suffix, "bcdfghjklmnpqrstvwxz2456789"), 5);
                seen[rand_below(8)] = true;
                assert_true(rand_below(3) < 3);
        }
        for (int i = 0; i < 8; i++)
                assert_true(seen[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(strings_compare_by_bytes_and_then_by_length),
                cmocka_unit_test(strings_are_searched_and_cut),
                cmocka_unit_test(split_gives_empty_parts_but_none_of_an_empty_text),
                cmocka_unit_test(integers_are_read_whole_or_not_at_all),
                cmocka_unit_test(stable_hash_is_fnv1a),
                cmocka_unit_test(arena_memory_is_aligned_and_does_not_overlap),
                cmocka_unit_test(arena_reset_keeps_only_the_first_chunk),
                cmocka_unit_test(buffer_grows_and_gives_itself_away),
                cmocka_unit_test(vector_pushes_pops_and_removes_in_order),
                cmocka_unit_test(map_finds_replaces_and_removes),
                cmocka_unit_test(map_lets_the_current_key_be_removed_while_iterating),
                cmocka_unit_test(map_does_not_grow_when_keys_come_and_go),
                cmocka_unit_test(list_keeps_order_and_survives_a_second_delete),
                cmocka_unit_test(random_names_have_their_alphabet_and_uuids_their_version),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
