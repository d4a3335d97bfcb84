/* Items of lists by their names, few and many: what is found is what a look at each would find. */
#include "check.h"

#include "schema/elements.h"

static void check_list(size_t n, size_t n_names) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct elements e = elements_new(a, n);
        unsigned seed = (unsigned) n;

        for (size_t i = 0; i < n; i++) {
                struct str name = arena_printf(a, "n%zu", (size_t) rand_r(&seed) % n_names);
                bool there = false;

                name = rand_r(&seed) % 8 == 0 ? str_n(NULL, 0) : name;
                for (size_t k = 0; k < i; k++)
                        there = there || (name.p && e.v[k].text.p && str_eq(e.v[k].text, name));
                assert_int_equal(elements_add(&e, name), there);
        }
        assert_int_equal(e.n, n);
        assert_int_equal(elements_find(&e, STR("no")), -1);
        assert_int_equal(elements_find(&e, str_n(NULL, 0)), -1);
        for (size_t i = 0; i < n; i++) {
                ssize_t at = elements_find(&e, e.v[i].text);

                if (!e.v[i].text.p)
                        continue;
                assert_int_equal(at, e.v[i].first);
                for (size_t k = 0; k < n; k++) /* each of that name, in their order */
                        if (e.v[k].text.p && str_eq(e.v[k].text, e.v[i].text)) {
                                assert_int_equal(at, k);
                                at = elements_next(&e, at);
                        }
                assert_int_equal(at, -1);
        }
}

static void items_are_found_by_their_names(void **state) {
        for (size_t n = 0; n < 40; n++)
                check_list(n, n / 2 + 1);
        check_list(500, 1);
        check_list(500, 100);
        check_list(500, 100000);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(items_are_found_by_their_names) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
