/* Items of lists by their names, few and many: what is found is what a look at each would find. */
#include "check.h"

#include "schema/elements.h"
#include "schema/fieldset.h"
#include "schema/structure.h"

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

/* An object that no schema describes, whose members come from the last to the first. */
static struct json backwards(struct arena *a, int from, int to, bool value) {
        struct json out = json_new_object();

        for (int i = to; i-- > from;)
                json_add(a, &out, arena_printf(a, "k%d", 1000000 + i), json_of_bool(value));
        return out;
}

static void check_members(const struct fieldset *s, int from, int to) {
        assert_int_equal(s->n, to - from);
        for (int i = from; i < to; i++) {
                char name[16];

                snprintf(name, sizeof(name), "f:k%d", 1000000 + i);
                assert_true(s->v[i - from].member && str_eqc(s->v[i - from].element, name));
        }
}

/* Sets have an order, objects come in any; one at a time at its place, these would take minutes. */
static void members_come_in_any_order(void **state) {
        static const struct schema_type untyped = { .kind = SCHEMA_ANY };
        static const int sizes[] = { 3, 300, 900000 };

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                int n = sizes[i] / 3;
                struct json old = backwards(a, 0, 2 * n, false), now = backwards(a, n, 3 * n, true);
                struct structure_diff d = structure_compare(a, &untyped, &old, &now);

                check_members(d.removed, 0, n);
                check_members(d.modified, n, 2 * n);
                check_members(d.added, 2 * n, 3 * n);
                check_members(structure_fields(a, &untyped, &now), n, 3 * n);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(items_are_found_by_their_names),
                                            cmocka_unit_test(members_come_in_any_order) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
