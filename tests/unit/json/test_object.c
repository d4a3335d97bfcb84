/* Objects: their text with the gap for the revision, their index, their lazily parsed tree. */
#include "../test.h"

#include <errno.h>
#include <pthread.h>

#include "json/object.h"

static struct object *from_tree(const char *text) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *j;

        assert_int_equal(json_parse(a, str_of(text), NULL, &j, NULL), 0);
        return object_from_tree(j); /* must not keep anything of the tree */
}

static void the_revision_goes_where_upstream_prints_it(void **state) {
        static const struct {
                const char *tree, *unrevisioned, *revisioned;
        } cases[] = {
                { "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{"
                  "}}}",
                  "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\",\"labels\":{"
                  "}}}",
                  "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"uid\":\"u\","
                  "\"resourceVersion\":\"42\",\"labels\":{}}}" },
                { "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"7\",\"namespace\":\"n\"},\"spec\":{\"x\":"
                  "[1]}}",
                  "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\"},\"spec\":{\"x\":[1]}}",
                  "{\"metadata\":{\"name\":\"a\",\"namespace\":\"n\",\"resourceVersion\":\"42\"},\"spec\":{"
                  "\"x\":[1]}}" },
                { "{\"metadata\":{\"labels\":{\"k\":\"v\"},\"name\":\"a\"}}",
                  "{\"metadata\":{\"labels\":{\"k\":\"v\"},\"name\":\"a\"}}",
                  "{\"metadata\":{\"labels\":{\"k\":\"v\"},\"name\":\"a\",\"resourceVersion\":\"42\"}}" },
                { "{\"metadata\":{\"labels\":{}}}", "{\"metadata\":{\"labels\":{}}}",
                  "{\"metadata\":{\"resourceVersion\":\"42\",\"labels\":{}}}" },
                { "{\"metadata\":{\"resourceVersion\":\"1\"}}", "{\"metadata\":{}}",
                  "{\"metadata\":{\"resourceVersion\":\"42\"}}" },
                { "{\"kind\":\"X\"}", "{\"kind\":\"X\"}", "{\"kind\":\"X\"}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(object_unrefp) struct object *o = from_tree(cases[i].tree);

                assert_str(object_text(o), cases[i].unrevisioned);
                assert_int_equal(object_revision(o), 0);
                object_set_revision(o, 42);
                assert_str(object_text(o), cases[i].revisioned);
                assert_int_equal(object_revision(o), 42);
        }
}

static void the_index_survives_the_move_of_the_head(void **state) {
        _cleanup_(object_unrefp) struct object *o =
                        from_tree("{\"metadata\":{\"labels\":{\"app\":\"w\\\"eb\",\"tier\":\"x\"},\"ownerReferences\":["
                                  "{\"uid\":\"o1\",\"controller\":true},"
                                  "{\"uid\":\"o2\",\"blockOwnerDeletion\":true}],\"deletionTimestamp\":\"2026-01-01T00:"
                                  "00:00Z\",\"name\":\"a\","
                                  "\"namespace\":\"n\",\"uid\":\"u\",\"annotations\":{\"labels\":\"no\"}}}");
        const struct object_label *labels;
        const struct object_owner *owners;

        for (int round = 0; round < 2; round++) {
                assert_str(object_name(o), "a");
                assert_str(object_namespace(o), "n");
                assert_str(object_uid(o), "u");
                assert_int_equal(object_labels(o, &labels), 2);
                assert_str(labels[0].key, "app");
                assert_str(labels[0].value, "w\"eb");
                assert_str(object_label(o, STR("tier")), "x");
                assert_null(object_label(o, STR("none")).p);
                assert_int_equal(object_owners(o, &owners), 2);
                assert_str(owners[0].uid, "o1");
                assert_true(owners[0].controller && !owners[0].block_owner_deletion);
                assert_str(owners[1].uid, "o2");
                assert_true(!owners[1].controller && owners[1].block_owner_deletion);
                assert_true(object_deleting(o));
                if (round == 0)
                        object_set_revision(o, UINT64_MAX);
        }
        assert_str(json_str(json_at_path(object_json(o), "metadata", "resourceVersion")), "18446744073709551615");
}

static void a_finished_text_brings_its_revision(void **state) {
        _cleanup_(object_unrefp) struct object *a = NULL, *b = NULL;
        struct str text = STR(
                        " {\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"99\",\"deletionTimestamp\":null}} \n");

        assert_int_equal(object_from_text(text, 0, &a, NULL), 0);
        assert_int_equal(object_revision(a), 99);
        assert_str(object_name(a), "x");
        assert_false(object_deleting(a));
        assert_str(object_text(a),
                   "{\"metadata\":{\"name\":\"x\",\"resourceVersion\":\"99\",\"deletionTimestamp\":null}}");
        assert_int_equal(object_from_text(text, 7, &b, NULL), 0);
        assert_int_equal(object_revision(b), 7);
}

static void the_node_is_found_before_and_after_the_head_moves(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str longer = arena_printf(a, "\"%070000d\"", 1);
        const struct {
                const char *spec;
                struct str node; /* as it stands in the text */
        } cases[] = {
                { "{\"a\":1,\"nodeName\":\"n-1\"}", STR("\"n-1\"") },
                { "{\"nodeName\":\"\"}", STR("\"\"") },
                { "{\"nodeName\":7}", STR("7") },
                { "{\"x\":{\"nodeName\":\"no\"}}", STR("") },
                { "\"nodeName\"", STR("") },
                { arena_printf(a, "{\"nodeName\":%" STR_FMT "}", STR_ARG(longer)).p, longer },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str text = arena_printf(a, "{\"metadata\":{\"name\":\"x\"},\"spec\":%s}", cases[i].spec);
                _cleanup_(object_unrefp) struct object *o = NULL;
                struct json *tree;

                assert_int_equal(json_parse(a, text, NULL, &tree, NULL), 0);
                o = object_from_tree(tree);
                for (int k = 0; k < 2; k++)
                        assert_true(str_eq(object_node(o), cases[i].node));
                object_set_revision(o, 12345);
                for (int k = 0; k < 2; k++)
                        assert_true(str_eq(object_node(o), cases[i].node));
        }
}

static void what_is_not_an_object_is_refused(void **state) {
        static const char *const bad[] = { "", "[]", "1", "{", "{}x", "{\"a\":1", "null", "\"{}\"" };
        struct object *o;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(object_from_text(str_of(bad[i]), 0, &o, NULL), -EINVAL);
}

static void odd_metadata_is_no_trouble(void **state) {
        static const char *const texts[] = {
                "{}",
                "{\"metadata\":null}",
                "{\"metadata\":[]}",
                "{\"metadata\":{\"name\":5,\"labels\":[1],\"ownerReferences\":{\"a\":1}}}",
                "{\"metadata\":{\"labels\":{\"a\":null,\"b\":{}},\"ownerReferences\":[1,{},{\"uid\":2}]}}",
        };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                _cleanup_(object_unrefp) struct object *o = NULL;

                assert_int_equal(object_from_text(str_of(texts[i]), 0, &o, NULL), 0);
                assert_str(object_name(o), "");
                assert_true(object_json(o)->type == JSON_OBJECT);
                assert_true(object_size(o) > strlen(texts[i]));
        }
}

static void *look(void *arg) {
        for (int i = 0; i < 2000; i++) {
                struct object *o = object_ref(arg);

                assert_str(json_str(json_at_path(object_json(o), "spec", "x")), "y");
                object_unref(o);
        }
        return NULL;
}

static void many_threads_share_one_tree(void **state) {
        for (int round = 0; round < 20; round++) {
                struct object *o = from_tree("{\"metadata\":{\"name\":\"a\"},\"spec\":{\"x\":\"y\"}}");
                pthread_t t[4];

                for (int i = 0; i < 4; i++)
                        pthread_create(&t[i], NULL, look, o);
                for (int i = 0; i < 4; i++)
                        pthread_join(t[i], NULL);
                assert_ptr_equal(object_json(o), object_json(o));
                object_unref(o);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_revision_goes_where_upstream_prints_it),
                cmocka_unit_test(the_index_survives_the_move_of_the_head),
                cmocka_unit_test(a_finished_text_brings_its_revision),
                cmocka_unit_test(the_node_is_found_before_and_after_the_head_moves),
                cmocka_unit_test(what_is_not_an_object_is_refused),
                cmocka_unit_test(odd_metadata_is_no_trouble),
                cmocka_unit_test(many_threads_share_one_tree),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
