/* What expressions cost as they run, and what is estimated before: cel-go's numbers, which the limits are made for. */
#include "help.h"

static const char schema[] =
                "{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"m\":{"
                "\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}},"
                "\"l\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},\"set\":{\"type\":\"array\",\"x-"
                "kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\"}},"
                "\"o\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"},"
                "\"v\":{\"type\":\"string\"}}}},"
                "\"any\":{\"x-kubernetes-int-or-string\":true},\"maybe\":{\"type\":\"integer\",\"nullable\":true}}}";
static const char self[] = "{\"s\":\"Rook takes "
                           "\xf0\x9f\x91\x91\",\"n\":10,\"m\":{\"b\":1,\"d\":2},\"l\":[1,1,2,2,3,3,4,5],\"set\":[\"a\","
                           "\"b\",\"c\"],"
                           "\"o\":[{\"k\":\"a1\",\"v\":\"b1\"},{\"k\":\"a2\",\"v\":\"b2\"},{\"k\":\"a3\",\"v\":\"b3\"}]"
                           ",\"any\":\"25%\",\"maybe\":null}";

static const struct {
        const char *text;
        uint64_t cost;
} runs[] = {
        { "1 == 1", 1 },
        { "self.n == 10", 3 },
        { "double(5) < 10.0", 1 },
        { "double(self.n) < 10.5", 4 },
        { "self.s.startsWith('Rook')", 4 },
        { "!self.s.startsWith('knight')", 5 },
        { "self.s.matches('^[^0-9]*$')", 8 },
        { "size(self.s) == 12", 4 },
        { "self.s.charAt(3) == 'k'", 4 },
        { "self.s.indexOf('o') == 1", 4 },
        { "self.s.replace(' ', 'x').size() > 0", 7 },
        { "self.s.split(' ').size() == 3", 7 },
        { "self.s.lowerAscii() == self.s.lowerAscii()", 10 },
        { "'%e'.format([3.14]).size() == 14", 3 },
        { "'%d %s'.format([1, 'abc']) == '1 abc'", 2 },
        { "1 in self.l", 10 },
        { "self.l + self.l == [1]", 6 },
        { "self.set == ['c', 'b', 'a']", 3 },
        { "self.set + ['c', 'd'] == ['a', 'b', 'c', 'd']", 4 },
        { "sets.contains(self.set, ['a'])", 6 },
        { "sets.equivalent(self.set, ['a', 'b', 'c'])", 21 },
        { "has(self.s)", 1 },
        { "has(self.s) && has(self.n)", 2 },
        { "has(self.m.b)", 2 },
        { "has({'a': 1}.a)", 1 },
        { "has({'a': self.n}.a)", 33 },
        { "has([self.m][0].b)", 14 },
        { "has(dyn(self.m).b)", 4 },
        { "has(optional.none().a) || true", 1 },
        { "type(self.any) == type('')", 4 },
        { "self.any in [[1], [2]] || true", 4 },
        { "!has(self.m.a)", 3 },
        { "!has(self.maybe)", 2 },
        { "'b' in self.m", 3 },
        { "self.m.all(k, self.m[k] > 0)", 17 },
        { "!self.m.exists(k, self.m[k] == 3)", 20 },
        { "self.m.exists_one(k, self.m[k] == 2)", 14 },
        { "size(self.m.filter(k, self.m[k] > 1)) == 1", 26 },
        { "self.m.all(k, v, v > 0)", 13 },
        { "self.m.transformMap(k, v, v > 1, v + 1).size() == 1", 14 },
        { "self.m.transformMap(k, v, v + 1).size() == 2", 15 },
        { "self.m.transformMapEntry(k, v, {k + '2': v + 1}).size() == 2", 77 },
        { "self.l.all(e, e > 0)", 43 },
        { "self.l.exists(e, e > 2)", 36 },
        { "self.l.exists_one(e, e > 4)", 22 },
        { "!self.l.all(e, e < 2)", 21 },
        { "size(self.l.filter(e, e % 2 == 0)) == 3", 68 },
        { "self.l.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)", 194 },
        { "self.l.transformList(i, e, e > 2, e * 2).size() > 0", 77 },
        { "self.o[0] == [self.o[0], self.o[1]][0]", 22 },
        { "self.o.map(m, m.v).exists(v, v == 'b1')", 55 },
        { "self.o.exists(m, m.k == 'a1' && m.v == 'b1')", 16 },
        { "type(self.any) == int ? self.any == 1 : self.any == '25%'", 7 },
        { "self.any == 1 || self.any == '25%'", 6 },
        { "self.any != ['anything']", 3 },
        /* What goes wrong has cost what was done, and the call that takes it. */
        { "1 / 0 == 1 / 0 || true", 3 },
        { "{'a': 1 / 0}.size() == 1 || true", 33 },
        { "self.l[1 / 0] == 1 || true", 5 },
        { "self.l.map(e, 1 / 0).size() == 8 || true", 109 },
        { "self.l.map(e, 1).size() == 8", 21 },
        { "self.l.transformMapEntry(i, e, {'same': e}).size() == 1 || true", 269 },
        { "self.s.substring(99).size() == 1 || true", 6 },
        { "has(self.o[9].k) || true", 2 },
        { "self.l[?9].hasValue() || true", 3 },
        { "self.?s.hasValue()", 3 },
        { "self.m[?'no'].orValue(1) == 1", 3 },
        { "optional.of('a').optMap(v, v == 'value').hasValue()", 8 },
        { "self.?s.optMap(v, v.size()).optMap(w, w + 1).orValue(0) == 13", 24 },
        { "self.o.indexOf(self.o[1]) == 1", 6 },
        { "matches(self.s, '^R.*')", 3 },
        { "dyn(self.s) + 'x' != 'y'", 6 },
        { "dyn(self.s) + dyn('x') != 'y'", 5 },
        { "self.any in ['25%', 'x']", 2 },
        { "cidr('2001:db8::/32').containsCIDR(cidr('2001:db8::/33'))", 7 },
        { "cidr('10.0.0.0/8').containsIP(self.s) || true", 6 },
        { "format.uuid().validate(self.s).hasValue()", 40 },
        { "format.date().validate(self.s).hasValue()", 40 },
};

static void counts_as_it_runs(void **state) {
        struct cel_world w = cel_world(schema, self, self);
        size_t wrong = 0;

        for (size_t i = 0; i < ARRAY_SIZE(runs); i++) {
                uint64_t cost = 0;
                const char *r = cel_answer(&w, runs[i].text, &cost);

                if (cost == runs[i].cost && strncmp(r, "error", 5) != 0)
                        continue;
                print_error("%s (%s) costs %llu, not %llu\n", runs[i].text, r, (unsigned long long) cost,
                            (unsigned long long) runs[i].cost);
                wrong++;
        }
        arena_free(w.a);
        assert_int_equal(wrong, 0);
}

#define ARRAY(type, more) "{\"type\":\"array\"," more "\"items\":{\"type\":\"" type "\"}}"
#define MAP(type, more) "{\"type\":\"object\"," more "\"additionalProperties\":{\"type\":\"" type "\"}}"
#define STRING(more) "{\"type\":\"string\"" more "}"

#define STRINGS "{\"type\":\"array\",\"maxItems\":2000,\"items\":" STRING(",\"maxLength\":3200") "}"

static const struct {
        const char *schema, *text;
        uint64_t cost;
} estimates[] = {
        { ARRAY("number", ""), "self.all(x, true)", 4718591 },
        { ARRAY("number", "\"maxItems\":10,"), "self.all(x, true)", 32 },
        { ARRAY("string", ""), "self.all(x, true)", 3145727 },
        { ARRAY("boolean", ""), "self.all(x, true)", 1887437 },
        { MAP("number", ""), "self.all(x, true)", 1348169 },
        { MAP("string", ""), "self.all(x, true)", 1179647 },
        { MAP("boolean", "\"maxProperties\":100,"), "self.all(x, true)", 302 },
        { STRING(""), "self.contains('test')", 314574 },
        { "{\"x-kubernetes-int-or-string\":true}", "isQuantity(self)", 314574 },
        { "{\"x-kubernetes-int-or-string\":true,\"maxLength\":20}", "isQuantity(self)", 9 },
        { "{\"type\":\"object\",\"properties\":{\"if\":{\"type\":\"integer\"}}}", "self.if == 10", 3 },
        { "{\"type\":\"integer\"}", "dyn([1, 2]).sum() == 3", 13 },
        { STRING(",\"maxLength\":10"), "self.contains('test')", 5 },
        { STRING(""), "self.startsWith('test')", 2 },
        { STRING(""), "size(self + \"hello\") > size(\"hello\")", 314578 },
        { STRING(",\"maxLength\":4"), "size(self + \"hello\") > size(\"hello\")", 7 },
        { ARRAY("number", ""), "self[1] == 0.0", 2 },
        { ARRAY("string", ""), "self[1] == self[1]", 314577 },
        { ARRAY("number", "\"maxItems\":10,"), "self.all(x, self.all(y, true))", 352 },
        { ARRAY("number", "\"maxItems\":10,"), "self.all(x, self.all(y, self.all(z, true)))", 3552 },
        { STRING(""), "self.matches(\"x\")", 314574 },
        { STRING(",\"maxLength\":50"), "self.matches(\"x\")", 22 },
        { STRING(""), "\"\".matches(\"(((((((((())))))))))[0-9]\")", 7 },
        { STRING(""), "self.matches(\"\")", 1 },
        { MAP("number", ""), "self[\"x\"] == 0.0", 2 },
        { STRING(""), "self == \"x\"", 2 },
        { STRING(",\"maxLength\":0"), "self == \"x\"", 1 },
        { ARRAY("number", ""), "self.all(x, x == 0.0)", 6291454 },
        { ARRAY("number", "\"maxItems\":6291456,"), "self.all(x, x == 0.0)", 25165826 },
        { STRING(",\"enum\":[\"a\",\"four\"]"), "self.contains('x')", 2 },
        { STRING(",\"maxLength\":10"), "self.split(',').all(x, true)", 130 },
        { "{\"type\":\"string\",\"maxLength\":30}", "quantity(self).isInteger()", 14 },
        { "{\"type\":\"string\",\"maxLength\":30}", "isIP(self)", 13 },
        { "{\"type\":\"string\",\"maxLength\":30}", "ip.isCanonical(self)", 25 },
        { "{\"type\":\"string\",\"maxLength\":30}", "matches(self, 'x.*')", 2 },
        { "{\"type\":\"integer\"}", "self < 3", 2 },
        { "{\"x-kubernetes-int-or-string\":true}", "self < 3", 2 },
        { "{\"x-kubernetes-int-or-string\":true}", "string(self) == '3'", 314575 },
        { "{\"x-kubernetes-int-or-string\":true}", "dyn(self) + dyn('x') == 'ax'", 314577 },
        { "{\"type\":\"string\"}", "quantity('1') != quantity('2')", 1844674407370955266 },
        { "{\"type\":\"string\",\"maxLength\":30}", "url(self) == url(self)", 38 },
        { "{\"type\":\"string\"}", "format.uuid() == format.uuid()", 9 },
        { "{\"type\":\"string\"}", "optional.of('a').optMap(v, v == 'value').hasValue()", 18 },
        { "{\"type\":\"string\",\"maxLength\":30}",
          "optional.of(self).optFlatMap(v, optional.of(v + 'x')).orValue('') == 'x'", 1844674407370955284 },
        { "{\"type\":\"array\",\"maxItems\":4,\"items\":{\"type\":\"integer\"}}", "self.exists(e, e > 3)", 26 },
        { "{\"type\":\"object\"}", "[[1]].all(x, x.all(y, y == 1))", 26 },
        { STRINGS, "self.all(y, self.map(x, 'abcdefghij')[0].matches(y))", 60834002 },
        { STRINGS, "self.all(y, (self.map(x, 'abcdefghij') + ['abcdefghijklmno'])[0].matches(y))", 60856002 },
        { STRINGS, "self.all(y, self.filter(x, true)[0].matches('abcdefghijklmnopqrstuvwx'))", 67404002 },
        { STRINGS, "self.all(y, dyn(['abcdefghij'])[0].matches(y))", 12832002 },
        { STRING(""), "authorizer.path('/').check('get').allowed()", UINT64_MAX },
};

static void estimates_the_worst(void **state) {
        struct cel_variable vars[1] = { { "self", NULL } };
        size_t wrong = 0;

        for (size_t i = 0; i < ARRAY_SIZE(estimates); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_(cel_program_freep) struct cel_program *p = NULL;
                uint64_t cost = UINT64_MAX;

                vars[0].type = cel_type_of_openapi(a, cel_parse_json(a, estimates[i].schema), false, STR("selfType"));
                if (cel_compile(str_of(estimates[i].text), vars, 1, &p, NULL) == 0)
                        cel_program_estimate(p, NULL, &cost);
                if (cost == estimates[i].cost)
                        continue;
                print_error("%s of %s is estimated %llu, not %llu\n", estimates[i].text, estimates[i].schema,
                            (unsigned long long) cost, (unsigned long long) estimates[i].cost);
                wrong++;
        }
        assert_int_equal(wrong, 0);
}

/* Nothing runs for long, whatever the data. */
static void stops_at_the_limit(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct cel_world w;

        buf_addc(&b, "{\"l\":[");
        for (size_t i = 0; i < 2000; i++)
                buf_printf(&b, "%s%zu", i ? "," : "", i);
        buf_addc(&b, "],\"m\":{");
        for (size_t i = 0; i < 2000; i++)
                buf_printf(&b, "%s\"k%zu\":%zu", i ? "," : "", i, i);
        buf_addc(&b, "}}");
        buf_putc(&b, 0);
        w = cel_world(schema, b.p, "{}");
        assert_string_equal(cel_answer(&w, "self.l.all(i, self.l.all(j, i >= 0))", NULL),
                            "error: operation cancelled: actual cost limit exceeded");
        assert_string_equal(cel_answer(&w, "self.l.exists(i, self.l.exists(j, i + j < 0)) || true", NULL),
                            "error: operation cancelled: actual cost limit exceeded");
        assert_string_equal(cel_answer(&w, "self.m.all(k, self.m[k] >= 0)", NULL), "true");
        assert_string_equal(cel_answer(&w, "self.l.map(i, self.l + self.l)[5].size()", NULL), "4000");
        arena_free(w.a);
}

/* Types and values that double with each step, and texts that outgrow what they are made of. */
static void nothing_explodes(void **state) {
        struct cel_world w = cel_world(schema, self, self);
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_addc(&b, "[1]");
        for (int i = 0; i < 60; i++)
                buf_printf(&b, ".map(x, {x: x})");
        buf_putc(&b, 0);
        assert_non_null(strstr(cel_answer(&w, b.p, NULL), "expression has too large a type"));
        b.n = 0;
        for (int side = 0; side < 2; side++) {
                buf_addc(&b, side ? " == dyn([1]" : "dyn([1]");
                for (int i = 0; i < 60; i++)
                        buf_addc(&b, ".map(x, dyn([x, x]))");
                buf_addc(&b, ")");
        }
        buf_putc(&b, 0);
        assert_string_equal(cel_answer(&w, b.p, NULL), "error: operation cancelled: actual cost limit exceeded");
        b.n = 0;
        buf_addc(&b, "'%s'.format([[dyn(1)]");
        for (int i = 0; i < 60; i++)
                buf_printf(&b, ".map(x, dyn([x, x]))");
        buf_addc(&b, "])");
        buf_putc(&b, 0);
        assert_string_equal(cel_answer(&w, b.p, NULL), "error: result is too long");
        b.n = 0;
        buf_addc(&b, "['aaaaaaaaaaaaaaaaaaaa']");
        for (int i = 0; i < 6; i++)
                buf_printf(&b, ".map(x, x.replace('a', x))");
        buf_putc(&b, 0);
        assert_string_equal(cel_answer(&w, b.p, NULL), "error: result is too long");
        arena_free(w.a);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(counts_as_it_runs),
                cmocka_unit_test(estimates_the_worst),
                cmocka_unit_test(stops_at_the_limit),
                cmocka_unit_test(nothing_explodes),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
