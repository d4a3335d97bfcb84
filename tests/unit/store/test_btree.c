/* The B+tree against a sorted array that is too simple to be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/arena.h"
#include "store/btree.h"

#define KEYS 3000

/* Small, seeded, the same each time. */
static uint64_t seed;
static uint64_t next_rand(void) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        return seed;
}

/* Entry i of the oracle is the one that the tree should have under name[i], or NULL. Names are in order. */
struct oracle {
        char name[KEYS][48];
        struct entry *at[KEYS];
};

static int by_name(const void *a, const void *b) {
        return strcmp(a, b);
}

/* Names as the API server makes them, and some that share nothing, or everything but an end. */
static struct oracle *oracle_new(void) {
        static const char *const shapes[] = { "core/pods/default/web-%06x", "apps/deployments/kube-system/d%x", "%x",
                                              "core/pods/default/web-7f5d8c%09x",
                                              "core/configmaps/n%x/kube-root-ca.crt" };
        struct oracle *o = xcalloc(1, sizeof(*o));

        for (size_t i = 0; i < KEYS; i++)
                snprintf(o->name[i], sizeof(o->name[i]), shapes[next_rand() % 5], (unsigned) i * 7919U);
        qsort(o->name, KEYS, sizeof(o->name[0]), by_name);
        for (size_t i = 1; i < KEYS; i++)
                assert_true(strcmp(o->name[i - 1], o->name[i]) < 0);
        return o;
}

static void oracle_copy(struct oracle *dst, const struct oracle *src) {
        *dst = *src;
        for (size_t i = 0; i < KEYS; i++)
                if (dst->at[i])
                        entry_ref(dst->at[i]);
}

static void oracle_clear(struct oracle *o) {
        for (size_t i = 0; i < KEYS; i++)
                entry_unref(TAKE_PTR(o->at[i]));
}

static void assert_same(const struct node *root, const struct oracle *o) {
        struct btree_cursor c;
        size_t rank = 0, from = next_rand() % KEYS;

        assert_true(btree_check(root));
        btree_seek(&c, root, STR(""));
        for (size_t i = 0; i < KEYS; i++) {
                assert_ptr_equal(btree_find(root, str_of(o->name[i])), o->at[i]);
                assert_int_equal(btree_rank(root, str_of(o->name[i])), rank);
                if (!o->at[i])
                        continue;
                assert_ptr_equal(btree_next(&c), o->at[i]);
                rank++;
        }
        assert_null(btree_next(&c));
        assert_int_equal(btree_size(root), rank);

        btree_seek(&c, root, str_of(o->name[from]));
        for (size_t i = from; i < KEYS; i++)
                if (o->at[i])
                        assert_ptr_equal(btree_next(&c), o->at[i]);
        assert_null(btree_next(&c));
}

static void random_op(struct node **root, struct oracle *o, unsigned put_of_16) {
        size_t i = next_rand() % KEYS;
        struct entry *old = o->at[i];

        if (next_rand() % 16 < put_of_16) {
                o->at[i] = entry_new(str_of(o->name[i]), NULL);
                btree_put(root, entry_ref(o->at[i]));
        } else {
                o->at[i] = NULL;
                assert_int_equal(btree_remove(root, str_of(o->name[i])), old != NULL);
        }
        entry_unref(old);
}

static void behaves_like_a_sorted_array(void **state) {
        static const unsigned put_of_16[] = { 14, 8, 2, 12, 1, 0 }; /* grow, churn, shrink, grow again, empty */

        for (uint64_t s = 1; s <= 4; s++) {
                struct oracle *o;
                struct node *root = NULL;

                seed = s * 0x9E3779B97F4A7C15ULL;
                o = oracle_new();
                for (size_t phase = 0; phase < ARRAY_SIZE(put_of_16); phase++)
                        for (unsigned round = 0; round < 8; round++) {
                                for (unsigned i = 0; i < 1500; i++)
                                        random_op(&root, o, put_of_16[phase]);
                                assert_same(root, o);
                        }
                btree_unref(root);
                oracle_clear(o);
                free(o);
        }
}

static void snapshots_stay_as_they_were(void **state) {
        enum { SNAPSHOTS = 12 };
        struct node *root = NULL, *kept[SNAPSHOTS];
        struct oracle *now, *then[SNAPSHOTS];

        seed = 42;
        now = oracle_new();
        for (unsigned k = 0; k < SNAPSHOTS; k++) {
                for (unsigned i = 0; i < 1000; i++)
                        random_op(&root, now, k < 6 ? 12 : 4);
                kept[k] = btree_ref(root);
                then[k] = xmalloc(sizeof(*then[k]));
                oracle_copy(then[k], now);
        }
        for (unsigned k = 0; k < SNAPSHOTS; k++) {
                assert_same(kept[k], then[k]);
                btree_unref(kept[k]);
                oracle_clear(then[k]);
                free(then[k]);
        }
        assert_same(root, now);
        btree_unref(root);
        oracle_clear(now);
        free(now);
}

static void sorted_and_reversed_loads(void **state) {
        seed = 7;
        for (int reversed = 0; reversed <= 1; reversed++) {
                struct oracle *o = oracle_new();
                struct node *root = NULL;

                for (size_t k = 0; k < KEYS; k++) {
                        size_t i = reversed ? KEYS - 1 - k : k;

                        o->at[i] = entry_new(str_of(o->name[i]), NULL);
                        btree_put(&root, entry_ref(o->at[i]));
                }
                assert_same(root, o);
                for (size_t i = 0; i < KEYS; i++) {
                        assert_true(btree_remove(&root, str_of(o->name[i])));
                        entry_unref(TAKE_PTR(o->at[i]));
                        if (i % 97 == 0)
                                assert_true(btree_check(root));
                }
                assert_null(root);
                free(o);
        }
}

static void keys_of_any_bytes(void **state) {
        static const struct str keys[] = { STR_INIT("\1"),
                                           STR_INIT("\1\0"),
                                           STR_INIT("\1\0\0"),
                                           STR_INIT("a"),
                                           STR_INIT("a\0b"),
                                           STR_INIT("aaaaaaaaa"),
                                           STR_INIT("aaaaaaaaa\0"),
                                           STR_INIT("aaaaaaaaab"),
                                           STR_INIT("\xff"),
                                           STR_INIT("\xff\xff\xff"),
                                           STR_INIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff") };
        struct node *root = NULL;
        struct btree_cursor c;

        for (size_t i = ARRAY_SIZE(keys); i-- > 0;)
                btree_put(&root, entry_new(keys[i], NULL));
        assert_true(btree_check(root));
        btree_seek(&c, root, STR(""));
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                assert_true(str_eq(entry_key(btree_next(&c)), keys[i]));
                assert_int_equal(btree_rank(root, keys[i]), i);
        }
        assert_null(btree_find(root, STR("")));
        assert_null(btree_find(root, STR("aaaaaaaa")));
        assert_false(btree_remove(&root, STR("nothing")));
        btree_unref(root);
}

static void an_empty_tree(void **state) {
        struct node *root = NULL;
        struct btree_cursor c;

        assert_null(btree_find(root, STR("a")));
        assert_false(btree_remove(&root, STR("a")));
        assert_int_equal(btree_rank(root, STR("a")), 0);
        btree_seek(&c, root, STR("a"));
        assert_null(btree_next(&c));
        assert_true(btree_check(root));
        assert_null(btree_ref(root));
        btree_unref(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(behaves_like_a_sorted_array),
                cmocka_unit_test(snapshots_stay_as_they_were),
                cmocka_unit_test(sorted_and_reversed_loads),
                cmocka_unit_test(keys_of_any_bytes),
                cmocka_unit_test(an_empty_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
