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
        { "['a'][?0].zz", "ERROR: <input>:1:10: type 'string' does not support field selection\n | ['a'][?0].zz\n | "
                          ".........^" },
        { "[?self.nn]", "ERROR: <input>:1:7: undefined field 'nn'\n | [?self.nn]\n | ......^\nERROR: <input>:1:7: "
                        "expected type 'optional_type(!error!)' but found '!error!'\n | [?self.nn]\n | ......^" },
        { "self.?nn.optMap(x, x)", "ERROR: <input>:1:5: undefined field 'nn'\n | self.?nn.optMap(x, x)\n | ....^\n"
                                   "ERROR: <input>:1:5: undefined field 'nn'\n | self.?nn.optMap(x, x)\n | ....^" },
        { "quantity('1').value", "ERROR: <input>:1:14: unexpected failed resolution of 'kubernetes.Quantity'\n | "
                                 "quantity('1').value\n | .............^" },
        { "[optional_type].sum()",
          "ERROR: <input>:1:20: found no matching overload for 'sum' applied to "
          "'list(type(optional_type)).()'\n | [optional_type].sum()\n | ...................^" },
        { "optional.of('a'.matches('(')).optMap(x, x).hasValue()",
          "ERROR: <input>:1:25: invalid matches argument\n | optional.of('a'.matches('(')).optMap(x, x).hasValue()\n | "
          "........................^\nERROR: <input>:1:25: invalid matches argument\n | "
          "optional.of('a'.matches('(')).optMap(x, x).hasValue()\n | ........................^" },
        { "'%d'.format(['a', 1])", "ERROR: <input>:1:14: error during formatting: decimal clause can only be used on "
                                   "integers, was given string\n | '%d'.format(['a', 1])\n | .............^" },
        { "{namespace}", "ERROR: <input>:1:11: Syntax error: mismatched input '}' expecting ':'\n | {namespace}\n | "
                         "..........^" },
        { "has(self)", "ERROR: <input>:1:5: invalid argument to has() macro\n | has(self)\n | ....^" },
        { "[1].all(1, true)", "ERROR: <input>:1:9: argument must be a simple name\n | [1].all(1, true)\n | ........^" },
        { "[1].map(__result__, 1)", "ERROR: <input>:1:9: iteration variable overwrites accumulator variable\n | "
                                    "[1].map(__result__, 1)\n | ........^" },
        { "[1].all(i, i, true)",
          "ERROR: <input>:1:12: duplicate variable name: i\n | [1].all(i, i, true)\n | ...........^" },
        { "'\xc3\xa9' +\n\tself.x", "ERROR: <input>:2:6: undefined field 'x'\n |  self.x\n | .....^" },
        { "'\xe4\xb8\xad' + 1", "ERROR: <input>:1:5: found no matching overload for '_+_' applied to '(string, int)'\n "
                                "| '\xe4\xb8\xad' + 1\n | .\xef\xbc\x8e..^" },
        { "b\"\"\"x", "ERROR: <input>:1:4: Syntax error: token recognition error at: '\"x'\n | b\"\"\"x\n | ...^" },
        { "99999999999999999999", "ERROR: <input>:1:1: invalid int literal\n | 99999999999999999999\n | ^" },
        { "9223372036854775808", "ERROR: <input>:1:1: invalid int literal\n | 9223372036854775808\n | ^" },
        { "Foo{a: 1}", "ERROR: <input>:1:4: undeclared reference to 'Foo' (in container '')\n | Foo{a: 1}\n | ...^" },
};

#define OPERAND                                                                                                 \
        "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, " \
        "IDENTIFIER}"
#define ENTRY                                                                                                   \
        "{'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, " \
        "STRING, BYTES, IDENTIFIER}"
#define FIELD "{'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"

/* As ANTLR tells them, one a line, without the source. */
static const struct {
        const char *text, *messages;
} unreadable[] = {
        { "1 +", "1:4: mismatched input '<EOF>' expecting " OPERAND },
        { "", "1:0: mismatched input '<EOF>' expecting " OPERAND },
        { "1 2", "1:3: extraneous input '2' expecting <EOF>" },
        { "1 2 3", "1:3: mismatched input '2' expecting <EOF>" },
        { "(1", "1:3: missing ')' at '<EOF>'" },
        { "self.n[1", "1:9: missing ']' at '<EOF>'" },
        { "[1", "1:3: mismatched input '<EOF>' expecting {']', ','}" },
        { "[1 2]", "1:4: extraneous input '2' expecting {']', ','}" },
        { "size(1 2)", "1:8: extraneous input '2' expecting ')'" },
        { "size(,)", "1:6: extraneous input ',' expecting {'[', '{', '(', ')', '.', '-', '!', 'true', 'false', 'null', "
                     "NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}" },
        { "1 @ 2", "1:3: token recognition error at: '@'\n1:5: extraneous input '2' expecting <EOF>" },
        { "self.n = 1", "1:8: token recognition error at: '= '\n1:10: extraneous input '1' expecting <EOF>" },
        { "*@a | b", "1:1: extraneous input '*' expecting " OPERAND "\n1:2: token recognition error at: '@'\n"
                     "1:5: token recognition error at: '| '\n1:7: extraneous input 'b' expecting <EOF>" },
        { "1 + $", "1:5: token recognition error at: '$'\n1:6: mismatched input '<EOF>' expecting " OPERAND },
        { "1 + 2\n3 +", "2:1: mismatched input '3' expecting <EOF>" },
        { "1 + +",
          "1:5: mismatched input '+' expecting " OPERAND "\n1:6: mismatched input '<EOF>' expecting " OPERAND },
        { "--", "1:3: no viable alternative at input '-'\n1:3: mismatched input '<EOF>' expecting " OPERAND },
        { "!-", "1:3: no viable alternative at input '-'\n1:3: mismatched input '<EOF>' expecting " OPERAND },
        { "!-a", "1:3: no viable alternative at input '-a'" },
        { "!-true", "1:3: mismatched input 'true' expecting IDENTIFIER" },
        { " .absent", "1:3: undeclared reference to '.absent' (in container '')" },
        { "?", "1:1: mismatched input '?' expecting " OPERAND "\n1:2: mismatched input '<EOF>' expecting " OPERAND },
        { "in", "1:1: mismatched input 'in' expecting " OPERAND "\n1:3: mismatched input '<EOF>' expecting " OPERAND },
        { "{\"a\": 1}.\"a\"", "1:10: no viable alternative at input '.\"a\"'" },
        { "{} && true", "1:1: expected type 'bool' but found 'map(_var0, _var1)'" },
        { "f(g(.'a'))", "1:6: no viable alternative at input '.'a''\n1:10: extraneous input ')' expecting <EOF>" },
        { "f(a.?[0].?[1])", "1:6: mismatched input '[' expecting {IDENTIFIER, ESC_IDENTIFIER}\n"
                            "1:6: unsupported ident kind\n"
                            "1:11: mismatched input '[' expecting {IDENTIFIER, ESC_IDENTIFIER}\n"
                            "1:11: unsupported ident kind" },
        { "has(a.b[)", "1:8: invalid argument to has() macro\n1:9: mismatched input ')' expecting {'[', '{', '(', '.', "
                       "'-', '!', '?', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, "
                       "IDENTIFIER}" },
        { "{", "1:2: mismatched input '<EOF>' expecting " ENTRY },
        { "{a}", "1:3: mismatched input '}' expecting ':'" },
        { "{:a}", "1:2: extraneous input ':' expecting " ENTRY "\n1:4: mismatched input '}' expecting ':'" },
        { "msg{:a}", "1:5: extraneous input ':' expecting " FIELD "\n1:7: mismatched input '}' expecting ':'" },
        { "func{{a}}", "1:6: extraneous input '{' expecting " FIELD "\n1:8: mismatched input '}' expecting ':'\n"
                       "1:9: extraneous input '}' expecting <EOF>" },
        { "ind[a{b}]", "1:8: mismatched input '}' expecting ':'" },
        { "x{.", "1:3: mismatched input '.' expecting " FIELD },
        { "x{?.", "1:4: mismatched input '.' expecting {IDENTIFIER, ESC_IDENTIFIER}" },
        { "T(){}", "1:4: mismatched input '{' expecting <EOF>" },
        { "T{}()", "1:4: mismatched input '(' expecting <EOF>" },
        { "a ? b c", "1:7: missing ':' at 'c'" },
        { "a ? b ((?))",
          "1:9: mismatched input '?' expecting " OPERAND "\n1:10: mismatched input ')' expecting " OPERAND
          "\n1:12: mismatched input '<EOF>' expecting ':'" },
        { "\"\\xFh\"", "1:1: token recognition error at: '\"\\xFh'\n1:6: token recognition error at: '\"'\n"
                       "1:7: mismatched input '<EOF>' expecting " OPERAND },
        { "'abc", "1:1: token recognition error at: ''abc'\n1:5: mismatched input '<EOF>' expecting " OPERAND },
        { "'\xf0\x9f\x98\x81' in ['x']\n && in.\xf0\x9f\x98\x81",
          "2:5: extraneous input 'in' expecting " OPERAND "\n2:8: token recognition error at: '\xf0\x9f\x98\x81'\n"
          "2:9: no viable alternative at input '.'" },
        { "`b-c`", "1:1: mismatched input '`b-c`' expecting " OPERAND },
        { "a.`b-c`", "1:3: unsupported syntax: '`'" },
        { "a.`$b`", "1:3: token recognition error at: '`$'\n1:6: token recognition error at: '`'" },
        { "a.| + 1", "1:3: token recognition error at: '| '\n1:5: no viable alternative at input '.+'" },
        { "has(..)", "1:0: invalid argument to has() macro\n1:6: no viable alternative at input '..'" },
        { "[1].all(., true)", "1:0: argument must be a simple name\n1:10: no viable alternative at input '.,'" },
        { "has(a ? b", "1:7: invalid argument to has() macro\n1:10: mismatched input '<EOF>' expecting ':'" },
        { "F{a: 1, `x`: 2}", "1:3: unsupported syntax: '`'" },
        { "F{?: 1}", "1:3: unsupported ident kind\n1:4: mismatched input ':' expecting {IDENTIFIER, ESC_IDENTIFIER}" },
        { "if == 1", "1:1: reserved identifier: if" },
        { "[1].map(var, var * var)", "1:9: reserved identifier: var\n1:9: argument is not an identifier\n"
                                     "1:14: reserved identifier: var\n1:20: reserved identifier: var" },
};

static void cannot_read(void **state) {
        struct cel_world w = cel_world(schema, "{}", "{}");
        size_t wrong = 0;

        for (size_t i = 0; i < ARRAY_SIZE(unreadable); i++) {
                struct str rest = str_of(cel_answer(&w, unreadable[i].text, NULL)), line;
                _cleanup_buf_ struct buf b = BUF_INIT;

                while (str_split(&rest, '\n', &line)) {
                        ssize_t at = str_search(line, STR("ERROR: <input>:")), end;

                        if (at < 0)
                                continue;
                        line = str_sub(line, (size_t) at + 15, line.n);
                        end = str_search(line, STR("Syntax error: "));
                        buf_printf(&b, "%s%" STR_FMT "%" STR_FMT, b.n > 0 ? "\n" : "",
                                   STR_ARG(str_sub(line, 0, end < 0 ? 0 : (size_t) end)),
                                   STR_ARG(str_sub(line, end < 0 ? 0 : (size_t) end + 14, line.n)));
                }
                if (str_eqc(buf_str(&b), unreadable[i].messages))
                        continue;
                print_error("%s\n  is     %" STR_FMT "\n  wanted %s\n", unreadable[i].text, STR_ARG(buf_str(&b)),
                            unreadable[i].messages);
                wrong++;
        }
        arena_free(w.a);
        assert_int_equal(wrong, 0);
}

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
        assert_string_equal(cel_answer(&w, text, NULL),
                            "error: ERROR: <input>:-1:0: expression recursion limit exceeded: 250");
        for (n = 0; n < 4000; n += 2)
                memcpy(text + n, "1+", 2);
        memcpy(text + n, "1", 2);
        assert_string_equal(cel_answer(&w, text, NULL), "error: ERROR: <input>:-1:0: max recursion depth exceeded");
        for (n = 0; n < 4000; n += 2)
                memcpy(text + n, "!!", 2);
        memcpy(text + n, "x", 2);
        cel_answer(&w, text, NULL);
        arena_free(w.a);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(refuses),        cmocka_unit_test(cannot_read),
                cmocka_unit_test(knows_the_type), cmocka_unit_test(says_which_variables),
                cmocka_unit_test(too_deep),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
