/* What does not compile, in cel-go's words, and what types results have. */
#include "help.h"

static const char schema[] =
                "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},"
                "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":"
                "\"string\"}}}},"
                "\"labels\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
                "\"hidden\":{\"x-kubernetes-preserve-unknown-fields\":true},\"meta data\":{\"type\":\"string\"}}}";

static const struct {
        const char *text, *message;
} refused[] = {
        { "y", "ERROR: <input>:1:1: undeclared reference to 'y' (in container '')\n | y\n | ^" },
        { "1 + 'a'",
          "ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a'\n | ..^" },
        { "self.nope", "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope\n | ....^" },
        { "self.hidden == 1", "ERROR: <input>:1:5: undefined field 'hidden'\n | self.hidden == 1\n | ....^" },
        { "self.metadata.labels",
          "ERROR: <input>:1:14: undefined field 'labels'\n | self.metadata.labels\n | .............^" },
        { "self.list[0].b", "ERROR: <input>:1:13: undefined field 'b'\n | self.list[0].b\n | ............^" },
        { "self.name.foo",
          "ERROR: <input>:1:10: type 'string' does not support field selection\n | self.name.foo\n | .........^" },
        { "self.name.size('a')", "ERROR: <input>:1:15: found no matching overload for 'size' applied to "
                                 "'string.(string)'\n | self.name.size('a')\n | ..............^" },
        { "foo(1)", "ERROR: <input>:1:4: undeclared reference to 'foo' (in container '')\n | foo(1)\n | ...^" },
        { "self.name.foo()", "ERROR: <input>:1:14: undeclared reference to 'foo' (in container '')\n | "
                             "self.name.foo()\n | .............^" },
        { "1 && true", "ERROR: <input>:1:1: expected type 'bool' but found 'int'\n | 1 && true\n | ^" },
        { "true ? 1 : 'a'", "ERROR: <input>:1:6: found no matching overload for '_?_:_' applied to '(bool, int, "
                            "string)'\n | true ? 1 : 'a'\n | .....^" },
        { "[1, 'a']", "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^" },
        { "[dyn(1), 'a']",
          "ERROR: <input>:1:10: expected type 'dyn' but found 'string'\n | [dyn(1), 'a']\n | .........^" },
        { "self.n.all(i, true)", "ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension "
                                 "(must be list, map, or dynamic)\n | self.n.all(i, true)\n | ....^" },
        { "self.labels.app == 1", "ERROR: <input>:1:17: found no matching overload for '_==_' applied to '(string, "
                                  "int)'\n | self.labels.app == 1\n | ................^" },
        { "self.name == null", "ERROR: <input>:1:11: found no matching overload for '_==_' applied to '(string, "
                               "null)'\n | self.name == null\n | ..........^" },
        { "a == b", "ERROR: <input>:1:1: undeclared reference to 'a' (in container '')\n | a == b\n | ^\nERROR: "
                    "<input>:1:6: undeclared reference to 'b' (in container '')\n | a == b\n | .....^" },
        { "duration('x')", "ERROR: <input>:1:10: invalid duration argument\n | duration('x')\n | .........^" },
        { "timestamp('2024')",
          "ERROR: <input>:1:11: invalid timestamp argument\n | timestamp('2024')\n | ..........^" },
        { "self.name.matches('(')",
          "ERROR: <input>:1:19: invalid matches argument\n | self.name.matches('(')\n | ..................^" },
        { "self.name.find(')') == ''", "program instantiation failed: error parsing regexp: unexpected ): `)`" },
        { "self.name.findAll(')', 1) == []", "program instantiation failed: error parsing regexp: unexpected ): `)`" },
        { "self.list[0]['a'] == ''",
          "ERROR: <input>:1:13: found no matching overload for '_[_]' applied to '(selfType.list.@idx, string)'\n"
          " | self.list[0]['a'] == ''\n | ............^" },
        { "string(type(self.n))",
          "ERROR: <input>:1:7: found no matching overload for 'string' applied to '(type(int))'\n"
          " | string(type(self.n))\n | ......^" },
        { "self.true == 1", "ERROR: <input>:1:6: Syntax error: mismatched input 'true' expecting IDENTIFIER\n"
                            " | self.true == 1\n | .....^" },
        { "['a', 'b'].sum()", "ERROR: <input>:1:15: found no matching overload for 'sum' applied to 'list(string).()'\n"
                              " | ['a', 'b'].sum()\n | ..............^" },
        { "has(self)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(self)\n | ....^" },
        { "[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^" },
        { "[1].map(__result__, 1)", "ERROR: <input>:1:9: iteration variable overwrites accumulator variable\n | "
                                    "[1].map(__result__, 1)\n | ........^" },
        { "[1].all(i, i, true)",
          "ERROR: <input>:1:12: duplicate variable name: i\n | [1].all(i, i, true)\n | ...........^" },
        { "if == 1", "ERROR: <input>:1:1: reserved identifier: if\n | if == 1\n | ^" },
        { "1 +", "ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', "
                 "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^" },
        { "", "ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', "
              "'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | \n | ^" },
        { "1 2", "ERROR: <input>:1:3: Syntax error: extraneous input '2' expecting <EOF>\n | 1 2\n | ..^" },
        { "1 2 3", "ERROR: <input>:1:3: Syntax error: mismatched input '2' expecting <EOF>\n | 1 2 3\n | ..^" },
        { "(1", "ERROR: <input>:1:3: Syntax error: mismatched input '<EOF>' expecting ')'\n | (1\n | ..^" },
        { "1 @ 2", "ERROR: <input>:1:3: Syntax error: token recognition error at: '@'\n | 1 @ 2\n | ..^" },
        { "'\xc3\xa9' +\n\tself.x", "ERROR: <input>:2:6: undefined field 'x'\n |  self.x\n | .....^" },
        { "'\xe4\xb8\xad' + 1", "ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'\n "
                                "| '\xe4\xb8\xad' + 1\n | .\xef\xbc\x8e..^" },
        { "99999999999999999999", "ERROR: <input>:1:1: invalid int literal\n | 99999999999999999999\n | ^" },
        { "9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n | 9223372036854775808\n | ^" },
        { "Foo{a: 1}", "ERROR: <input>:1:4: undeclared reference to 'Foo' (in container '')\n | Foo{a: 1}\n | ...^" },
        { "'abc", "ERROR: <input>:1:1: Syntax error: token recognition error at: ''abc'\n | 'abc\n | ^" },
};

static void refuses(void **state) {
        struct cel_world w = cel_world(schema, "{}", "{}");
        size_t wrong = 0;

        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                const char *r = cel_answer(&w, refused[i].text, NULL);

                if (strncmp(r, "error: ", 7) == 0 && strcmp(r + 7, refused[i].message) == 0)
                        continue;
                print_error("%s\n  is     %s\n  wanted %s\n", refused[i].text, r, refused[i].message);
                wrong++;
        }
        arena_free(w.a);
        assert_int_equal(wrong, 0);
}

static const struct {
        const char *text, *type;
} typed[] = {
        { "self.n + 1", "int" },
        { "self.list", "list(selfType.list.@idx)" },
        { "self.list.map(i, i.a)", "list(string)" },
        { "self.labels", "map(string, string)" },
        { "self.labels.map(k, self.labels[k].size())", "list(int)" },
        { "x.a.b", "dyn" },
        { "[]", "list(dyn)" },
        { "[] + [1]", "list(int)" },
        { "{}", "map(dyn, dyn)" },
        { "[1].filter(i, i > 1)", "list(int)" },
        { "self.?name", "optional_type(string)" },
        { "self.labels[?'a']", "optional_type(string)" },
        { "optional.of(1).orValue(2)", "int" },
        { "type(1)", "type(int)" },
        { "quantity('1')", "kubernetes.Quantity" },
        { "format.dns1123Label().validate('a')", "optional_type(list(string))" },
        { "url('http://a/').getQuery()", "map(string, list(string))" },
        { "[1, 2].transformMap(i, v, string(v))", "map(int, string)" },
        { "x ? 1 : 2", "int" },
        { "dyn(1) + dyn(2)", "dyn" },
        { "x == null", "bool" },
};

static void knows_the_type(void **state) {
        struct cel_world w = cel_world(schema, "{}", "{}");

        for (size_t i = 0; i < ARRAY_SIZE(typed); i++) {
                _cleanup_(cel_program_freep) struct cel_program *p = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                if (cel_compile(str_of(typed[i].text), w.vars, 3, &p, &err) < 0)
                        fail_msg("%s: %s", typed[i].text, error_text(&err));
                assert_str(cel_type_text(w.a, cel_program_type(p)), typed[i].type);
        }
        arena_free(w.a);
}

static void says_which_variables(void **state) {
        struct cel_world w = cel_world(schema, "{}", "{}");
        _cleanup_(cel_program_freep) struct cel_program *p = NULL;

        assert_int_equal(cel_compile(STR("self.n == oldSelf.n"), w.vars, 3, &p, NULL), 0);
        assert_true(cel_program_uses(p, "oldSelf"));
        assert_false(cel_program_uses(p, "x"));
        arena_free(w.a);
}

static void too_deep(void **state) {
        struct cel_world w = cel_world(schema, "{}", "{}");
        char text[4096];
        size_t n = 0;

        for (; n < 2000; n++)
                text[n] = '(';
        text[n] = 0;
        assert_non_null(strstr(cel_answer(&w, text, NULL), "expression recursion limit exceeded: 250"));
        for (n = 0; n < 4000; n += 2)
                memcpy(text + n, "1+", 2);
        memcpy(text + n, "1", 2);
        assert_non_null(strstr(cel_answer(&w, text, NULL), "expression recursion limit exceeded: 250"));
        for (n = 0; n < 4000; n += 2)
                memcpy(text + n, "!!", 2);
        memcpy(text + n, "x", 2);
        cel_answer(&w, text, NULL);
        arena_free(w.a);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(refuses),
                cmocka_unit_test(knows_the_type),
                cmocka_unit_test(says_which_variables),
                cmocka_unit_test(too_deep),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
