#include <errno.h>

#include "check.h"
#include "schema/names.h"
#include "schema/selector.h"
#include "schema/types.h"

static void printed(struct arena *a, const char *text, const char *want) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct selector s;

        if (selector_parse_labels(a, str_of(text), &s, &err) < 0)
                fail_msg("%s: %s", text, error_text(&err));
        selector_print(&b, &s);
        check_str(buf_str(&b), want);
}

static void test_grammar(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        printed(a, "", "");
        printed(a, "x=a,y=b", "x=a,y=b");
        printed(a, " x == a , !y, z ", "x==a,!y,z");
        printed(a, "z in (c,a , b),x!=d", "x!=d,z in (a,b,c)");
        printed(a, "x notin (a,,b)", "x notin (,a,b)");
        printed(a, "x in ()", "x in ()");
        printed(a, "x=,y", "x=,y");
        printed(a, "x>1,y<2", "x>1,y<2");
        printed(a, "in in (in),notin=in", "in in (in),notin=in");
        printed(a, "example.com/a=b", "example.com/a=b");
}

static void test_errors_are_upstreams(void **state) {
        static const char *const cases[][2] = {
                { "x=a y", "found 'y', expected: ',' or 'end of string'" },
                { "x,", "found '', expected: identifier after ','" },
                { ",x", "found ',', expected: !, identifier, or 'end of string'" },
                { "x in a", "unable to parse requirement: found 'a' expected: '('" },
                { "x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'" },
                { "!x=a", "found '=', expected: ',' or 'end of string'" },
                { "x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt" },
                { "x>a", "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the "
                         "value must be an integer" },
                { "=a", "found '=', expected: !, identifier, or 'end of string'" },
                { "\xff",
                  "unable to parse requirement: <nil>: Invalid value: \"\\xff\": name part must consist of "
                  "alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
                  "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                  "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
                { "/x", "unable to parse requirement: <nil>: Invalid value: \"/x\": prefix part must be non-empty" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct selector s;

                if (selector_parse_labels(a, str_of(cases[i][0]), &s, &err) != -EINVAL)
                        fail_msg("%s was taken", cases[i][0]);
                assert_string_equal(error_text(&err), cases[i][1]);
        }
        _cleanup_error_ struct error err = ERROR_INIT;
        struct selector s;
        assert_int_equal(selector_parse_labels(a, STR("x=a\0b"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "found 'b', expected: ',' or 'end of string'");
}

static void a_name_is_told_all_that_is_wrong_with_it(void **state) {
        _cleanup_buf_ struct buf why = BUF_INIT;

        assert_true(name_fits(STR("example.com/a"), check_qualified_name, &why));
        check_str(buf_str(&why), "");
        assert_false(name_fits(STR("-_--------------"), check_port_name, NULL));
        assert_false(name_fits(STR("-_--------------"), check_port_name, &why));
        check_str(buf_str(&why),
                  "must be no more than 15 characters; must contain only alpha-numeric characters (a-z, 0-9), and "
                  "hyphens (-); must contain at least one letter (a-z); must not contain consecutive hyphens; must not "
                  "begin or end with a hyphen");
}

static bool matches(struct arena *a, const char *text, const char *labels) {
        struct json l = doc(a, labels);
        struct selector s;

        assert_int_equal(selector_parse_labels(a, str_of(text), &s, NULL), 0);
        return selector_matches_labels(&s, &l);
}

static void test_matching(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        assert_true(matches(a, "x=a", "{'x':'a','y':'b'}"));
        assert_false(matches(a, "x=a", "{'x':'b'}"));
        assert_false(matches(a, "x=a", "{}"));
        assert_true(matches(a, "x!=a", "{}"));
        assert_true(matches(a, "x notin (a)", "{}"));
        assert_false(matches(a, "x in (a,b)", "{}"));
        assert_true(matches(a, "x in (a,b)", "{'x':'b'}"));
        assert_true(matches(a, "x", "{'x':''}"));
        assert_true(matches(a, "!x", "{}"));
        assert_true(matches(a, "x>1", "{'x':'2'}"));
        assert_false(matches(a, "x>1", "{'x':'z'}"));
        assert_true(matches(a, "x=", "{'x':''}"));
}

static void test_label_selector_objects(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json o = doc(
                        a,
                        "{'matchLabels':{'a':'b'},'matchExpressions':[{'key':'c','operator':'In','values':['d','e']},"
                        "{'key':'f','operator':'DoesNotExist'}]}");
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json labels = json_new_object();
        struct selector s;

        assert_int_equal(selector_from_object(a, &o, &s, NULL), 0);
        selector_print(&b, &s);
        check_str(buf_str(&b), "a=b,c in (d,e),!f");
        assert_int_equal(selector_from_object(a, NULL, &s, NULL), 0);
        assert_false(selector_matches_labels(&s, &labels));
        assert_int_equal(selector_from_object(a, &labels, &s, NULL), 0);
        assert_true(selector_matches_labels(&s, &labels));
        o = doc(a, "{'matchExpressions':[{'key':'c','operator':'Foo'}]}");
        assert_int_equal(selector_from_object(a, &o, &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "\"Foo\" is not a valid label selector operator");
}

/* Of many requirements, or values, not all are looked at: the same must come of it. */
static void test_many_requirements(void **state) {
        static const char *const texts[] = {
                "a=b",           "a!=b",     "a",           "!a",    "x",       "!x",  "n>4", "n>5",
                "n<6",           "n<5",      "x>1",         "a,a=b", "a=b,a=c", "e=",  "e!=", "a in (b,c)",
                "a notin (b,c)", "x in (b)", "x notin (b)", "a,e,n", "a,e,n,x", "!a,x"
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *o = NULL;
        _cleanup_buf_ struct buf more = BUF_INIT, values = BUF_INIT;
        struct selector few, many;

        assert_int_equal(object_from_text(STR("{\"metadata\":{\"name\":\"p\",\"labels\":{\"n\":\"5\",\"a\":\"b\",\"e\":"
                                              "\"\"}}}"),
                                          1, &o, NULL),
                         0);
        for (int i = 0; i < 30; i++) {
                buf_printf(&more, ",!z%d,%c%d notin (y)", i, 'a' + i % 26, i);
                buf_printf(&values, "v%d,", i);
        }
        for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
                struct str text = arena_printf(a, "%s%" STR_FMT, texts[i], STR_ARG(buf_str(&more)));

                assert_int_equal(selector_parse_labels(a, str_of(texts[i]), &few, NULL), 0);
                assert_int_equal(selector_parse_labels(a, text, &many, NULL), 0);
                if (selector_matches_object(&few, o) != selector_matches_object(&many, o))
                        fail_msg("%s", texts[i]);
        }
        for (int in = 0; in < 4; in++) {
                struct str text = arena_printf(a, "a %s (%" STR_FMT "%s)", in & 1 ? "in" : "notin",
                                               STR_ARG(buf_str(&values)), in & 2 ? "b" : "c");

                assert_int_equal(selector_parse_labels(a, text, &many, NULL), 0);
                assert_int_equal(selector_matches_object(&many, o), (in & 1) == in >> 1);
        }
}

static bool fields_match(struct arena *a, const struct api_resource *r, const char *text, struct object *o) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct field_selector s;

        if (selector_parse_fields(a, r, str_of(text), &s, &err) < 0)
                fail_msg("%s: %s", text, error_text(&err));
        return selector_matches_fields(&s, o);
}

static void test_field_selectors(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *pod = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct field_selector s;

        assert_int_equal(object_from_text(STR("{\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},"
                                              "\"spec\":{\"nodeName\":\"n\"},\"status\":{\"phase\":\"Running\","
                                              "\"podIPs\":[{\"ip\":\"1.2.3.4\"}]}}"),
                                          1, &pod, NULL),
                         0);
        assert_true(fields_match(a, &res_pods, "metadata.name=p", pod));
        assert_true(fields_match(a, &res_pods, "spec.nodeName==n,status.phase!=Failed", pod));
        assert_false(fields_match(a, &res_pods, "spec.nodeName=m", pod));
        assert_true(fields_match(a, &res_pods, "spec.hostNetwork=false", pod));
        assert_true(fields_match(a, &res_pods, "spec.schedulerName=", pod));
        assert_true(fields_match(a, &res_pods, "status.podIPs=,status.podIPs!=1.2.3.4", pod));
        assert_int_equal(selector_parse_fields(a, &res_pods, STR("spec.foo=x"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "field label not supported: spec.foo");
        assert_int_equal(selector_parse_fields(a, &res_jobs, STR("spec.foo=x"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "field label \"spec.foo\" not supported for Job");
        assert_int_equal(selector_parse_fields(a, &res_nodes, STR("metadata.namespace=x"), &s, &err), -EINVAL);
        assert_int_equal(selector_parse_fields(a, &res_clusterroles, STR("metadata.namespace=x"), &s, NULL), 0);
        assert_int_equal(selector_parse_fields(a, &res_leases, STR("spec.foo=x"), &s, &err), -EINVAL);
        assert_string_equal(
                        error_text(&err),
                        "\"spec.foo\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
        assert_int_equal(selector_parse_fields(a, &res_jobs, STR("x\\=y"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "field label \"x\\\\\" not supported for Job");
        assert_true(fields_match(a, &res_pods, "=,metadata.name=p", pod)); /* says nothing */
        assert_int_equal(selector_parse_fields(a, &res_pods, STR("a.b=x,foo"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "invalid selector: 'a.b=x,foo'; can't understand 'foo'");
        assert_int_equal(selector_parse_fields(a, &res_pods, STR("foo"), &s, &err), -EINVAL);
        assert_string_equal(error_text(&err), "invalid selector: 'foo'; can't understand 'foo'");
        assert_int_equal(selector_parse_fields(a, &res_pods, STR("metadata.name=a\\,b"), &s, NULL), 0);
        check_str(selector_field_value(&s, STR("metadata.name")), "a,b");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_grammar),
                cmocka_unit_test(test_errors_are_upstreams),
                cmocka_unit_test(test_matching),
                cmocka_unit_test(test_label_selector_objects),
                cmocka_unit_test(test_field_selectors),
                cmocka_unit_test(test_many_requirements),
                cmocka_unit_test(a_name_is_told_all_that_is_wrong_with_it),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
