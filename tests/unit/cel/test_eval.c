/* What expressions come to: the language, its functions, and the libraries of Kubernetes. */
#include "help.h"

#include <errno.h>

struct row {
        const char *text, *result;
};

static const char schema[] =
                "{\"type\":\"object\",\"required\":[\"name\"],\"properties\":{"
                "\"name\":{\"type\":\"string\"},\"n\":{\"type\":\"integer\"},\"f\":{\"type\":\"number\"},\"flag\":{"
                "\"type\":\"boolean\"},"
                "\"namespace\":{\"type\":\"string\"},\"a-b.c/d\":{\"type\":\"string\"},\"x__y\":{\"type\":\"integer\"},"
                "\"port\":{\"x-kubernetes-int-or-string\":true},\"ports\":{\"type\":\"array\",\"items\":{\"x-"
                "kubernetes-int-or-string\":true}},"
                "\"when\":{\"type\":\"string\",\"format\":\"date-time\"},\"wait\":{\"type\":\"string\",\"format\":"
                "\"duration\"},"
                "\"day\":{\"type\":\"string\",\"format\":\"date\"},\"raw\":{\"type\":\"string\",\"format\":\"byte\"},"
                "\"labels\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}},"
                "\"free\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true},"
                "\"set\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":\"string\"}},"
                "\"list\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}},"
                "\"maybe\":{\"type\":\"string\",\"nullable\":true},"
                "\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":["
                "\"k\"],"
                "\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"},\"v\":{\"type\":"
                "\"integer\"}}}}}}";
static const char self[] =
                "{\"apiVersion\":\"e/"
                "v1\",\"kind\":\"E\",\"metadata\":{\"name\":\"one\",\"uid\":\"u\"},\"name\":\"web\",\"n\":3,\"f\":2,"
                "\"flag\":true,\"namespace\":\"ns\",\"a-b.c/"
                "d\":\"odd\",\"x__y\":7,\"port\":\"80\",\"ports\":[1,\"http\"],"
                "\"when\":\"2024-02-29T10:20:30.5Z\",\"wait\":\"1h30m\",\"day\":\"2024-01-02\",\"raw\":\"aGk=\","
                "\"labels\":{\"app\":\"web\",\"tier\":\"front\"},\"free\":{\"a\":1},\"set\":[\"a\",\"b\"],\"list\":[3,"
                "1,2],\"maybe\":null,"
                "\"items\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}]}";
static const char old[] = "{\"name\":\"web\",\"n\":2,\"set\":[\"b\",\"a\"],\"list\":[3,1,2],\"items\":[{\"v\":2,\"k\":"
                          "\"b\"},{\"k\":\"a\",\"v\":1}]}";

static void check_rows(const struct row *rows, size_t n) {
        struct cel_world w = cel_world(schema, self, old);
        size_t wrong = 0;

        for (size_t i = 0; i < n; i++) {
                const char *r = cel_answer(&w, rows[i].text, NULL);

                if (strcmp(r, rows[i].result) == 0)
                        continue;
                print_error("%s\n  is     %s\n  wanted %s\n", rows[i].text, r, rows[i].result);
                wrong++;
        }
        arena_free(w.a);
        assert_int_equal(wrong, 0);
}
#define ROWS(...)                                                 \
        do {                                                      \
                static const struct row rows[] = { __VA_ARGS__ }; \
                check_rows(rows, ARRAY_SIZE(rows));               \
        } while (0)

static void literals(void **state) {
        ROWS({ "1", "1" }, { "-9223372036854775808", "-9223372036854775808" }, { "0x1F", "31" }, { "-0x10", "-16" },
             { "7u", "7" }, { "0xFFu", "255" }, { "1.5", "1.5" }, { ".5", "0.5" }, { "1e3", "1000" },
             { "-2.5e-1", "-0.25" }, { "true", "true" }, { "null", "null" },
             { "'a\\n\\t\\x41\\u00e9\\U0001F600\\101'", "\"a\\n\\tA\xc3\xa9\xf0\x9f\x98\x80"
                                                        "A\"" },
             { "\"it's\"", "\"it's\"" }, { "r'\\d'", "\"\\\\d\"" }, { "'''a'b\n\"c'''", "\"a'b\\n\\\"c\"" },
             { "\"\"\"x\"\"y\"\"\"", "\"x\\\"\\\"y\"" }, { "string(b'abc')", "\"abc\"" },
             { "size(b'\\xff\\x00')", "2" }, { "size(br'\\x')", "2" }, { "[1, 2,]", "[1,2]" },
             { "{'a': [1], 'b': [2]}", "{\"a\":[1],\"b\":[2]}" }, { "[]", "[]" }, { "{}", "{}" },
             { "1 // one\n + 2", "3" },
             { "{1: 'x', true: 'y'}[1]", "error: ERROR: <input>:1:10: expected type 'int' but found 'bool'\n | {1: "
                                         "'x', true: 'y'}[1]\n | .........^" },
             { "{'a': 1, 'a': 2}", "{\"a\":2}" });
}

static void arithmetic(void **state) {
        ROWS({ "1 + 2 * 3", "7" }, { "(1 + 2) * 3", "9" }, { "7 / 2", "3" }, { "-7 / 2", "-3" }, { "-7 % 3", "-1" },
             { "7u % 4u", "3" }, { "1.5 + 2.0", "3.5" }, { "1.0 / 0.0 > 1.0", "true" }, { "'a' + 'b'", "\"ab\"" },
             { "[1] + [2, 3]", "[1,2,3]" }, { "b'a' + b'b' == b'ab'", "true" }, { "- (3)", "-3" }, { "--3", "3" },
             { "!!true", "true" }, { "!!!true", "false" }, { "1 / 0", "error: division by zero" },
             { "1 % 0", "error: modulus by zero" }, { "1u / 0u", "error: division by zero" },
             { "9223372036854775807 + 1", "error: integer overflow" },
             { "-9223372036854775808 - 1", "error: integer overflow" },
             { "9223372036854775807 * 2", "error: integer overflow" },
             { "-(-9223372036854775808)", "error: integer overflow" },
             { "0u - 1u", "error: unsigned integer overflow" },
             { "18446744073709551615u + 1u", "error: unsigned integer overflow" },
             { "-9223372036854775808 / -1", "error: integer overflow" }, { "1 < 2 && 2 < 3", "true" },
             { "10 - 4 - 3", "3" });
}

static void comparison(void **state) {
        ROWS({ "1 == 1", "true" }, { "1 == 2", "false" }, { "1 != 2", "true" }, { "'a' < 'b'", "true" },
             { "b'a' <= b'a'", "true" }, { "false < true", "true" }, { "1 < 1.5", "true" }, { "1u > 0", "true" },
             { "dyn(1) == 1.0", "true" }, { "dyn(1) == 1u", "true" }, { "dyn('a') == 1", "false" },
             { "1.0 / 0.0 == 1.0 / 0.0", "true" }, { "0.0 / 0.0 == 0.0 / 0.0", "false" },
             { "9223372036854775807 < 9223372036854775808.0", "false" }, { "-1 < 18446744073709551615u", "true" },
             { "dyn(1) < 'a'", "error: no such overload" }, { "dyn([1]) < 1", "error: no such overload: _<_" },
             { "-dyn(null)", "error: no such overload: -_" }, { "dyn('a') - 1", "error: no such overload" },
             { "size(dyn(1))", "error: no such overload: size" },
             { "dyn(1).trim()", "error: no such overload: trim(int)" },
             { "dyn(null).split(',', 2)", "error: no such overload: split(null_type, string, int)" },
             { "dyn(1).startsWith('a')", "error: no such overload" },
             { "dyn(5).containsIP('1.1.1.1')", "error: no such overload: containsIP(int, string)" },
             { "dyn(quantity('1')).containsCIDR('1.1.1.0/24')",
               "error: no such overload: containsCIDR(kubernetes.Quantity, string)" },
             { "dyn(5).validate('a')", "error: no such overload: validate(int, string)" },
             { "dyn(5).all(x, x)", "error: got 'types.Int', expected iterable type" },
             { "cidr('10.0.0.0/8').containsIP('x')", "error: no such overload" }, { "dyn(1).orValue(2)", "1" },
             { "duration(1)",
               "error: program instantiation failed: type conversion error from 'int' to 'google.protobuf.Duration'" },
             { "[1, 2] == [1, 2]", "true" }, { "[1, 2] == [2, 1]", "false" }, { "{'a': 1} == {'a': 1}", "true" },
             { "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true" }, { "[[1]] == [[1]]", "true" },
             { "null == null", "true" }, { "dyn(null) == 1", "false" },
             { "timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-02T00:00:00Z')", "true" },
             { "duration('1s') < duration('1m')", "true" }, { "1 in [1, 2]", "true" }, { "3 in [1, 2]", "false" },
             { "'a' in {'a': 1}", "true" }, { "'b' in {'a': 1}", "false" }, { "dyn(1.0) in [1, 2]", "true" },
             { "type(1) == int", "true" }, { "type('a') == string", "true" }, { "type([1]) == list", "true" },
             { "type({}) == map", "true" }, { "type(type(1)) == type", "true" }, { "type(null) == null_type", "true" },
             { "type(1) == type(2u)", "false" }, { "type(duration('1s')) == google.protobuf.Duration", "true" });
}

static void logic(void **state) {
        ROWS({ "true || 1 / 0 > 1", "true" }, { "1 / 0 > 1 || true", "true" }, { "false && 1 / 0 > 1", "false" },
             { "1 / 0 > 1 && false", "false" }, { "1 / 0 > 1 || false", "error: division by zero" },
             { "true && 1 / 0 > 1", "error: division by zero" }, { "true ? 1 : 2", "1" },
             { "false ? 1 : 2 / 0", "error: division by zero" }, { "true ? 1 : 2 / 0", "1" },
             { "dyn(1) && false", "false" }, { "dyn(1) && true", "error: no such overload" },
             { "true ? (false ? 1 : 2) : 3", "2" }, { "false || false || true", "true" },
             { "true && true && false", "false" });
}

static void selection(void **state) {
        ROWS({ "self.name", "\"web\"" }, { "self.n + 1", "4" }, { "self.f", "2" }, { "self.f == 2.0", "true" },
             { "self.metadata.name", "\"one\"" }, { "self.kind", "\"E\"" }, { "self.__namespace__", "\"ns\"" },
             { "self.a__dash__b__dot__c__slash__d", "\"odd\"" }, { "self.x__underscores__y", "7" },
             { "self.port == '80'", "true" }, { "type(self.ports[0]) == int && self.ports[1] == 'http'", "true" },
             { "self.when.getFullYear()", "2024" }, { "self.wait == duration('90m')", "true" },
             { "self.day < self.when", "true" }, { "self.raw == b'hi'", "true" }, { "self.labels.app", "\"web\"" },
             { "self.labels['tier']", "\"front\"" }, { "self.labels.nope", "error: no such key: nope" },
             { "self.labels['x']", "error: no such key: x" }, { "has(self.labels.app)", "true" },
             { "has(self.labels.nope)", "false" }, { "has(self.n)", "true" }, { "has(oldSelf.flag)", "false" },
             { "oldSelf.flag", "error: no such key: flag" }, { "self.list[1]", "1" },
             { "self.list[3]", "error: index out of bounds: 3" }, { "self.list[-1]", "error: index out of bounds: -1" },
             { "[1, 2][dyn(1.0)]", "2" }, { "self.list.size()", "3" }, { "size(self.labels)", "2" },
             { "self.items[1].v", "2" }, { "x.free.a", "1" }, { "x.free.b", "error: no such key: b" },
             { "x.nope.deep", "error: no such key: nope" }, { "has(x.free.a) && !has(x.free.z)", "true" },
             { "x.name.size()", "3" }, { "x.n.foo", "error: no such key: foo" },
             { "self.maybe == 'a'", "error: no such key: maybe" }, { "has(self.maybe)", "false" },
             { "self.namespace", "\"ns\"" }, { "has(self.namespace)", "true" },
             { "type(x.maybe) == null_type", "true" }, { "duration('0') == duration('0s')", "true" },
             { "type(self) == type(self)", "true" }, { "self.labels.?nope.hasValue()", "false" },
             { "self.n > oldSelf.n", "true" }, { "{'a': {'b': 1}}.a.b", "1" }, { "self.free == self.free", "true" });
}

static void lists_of_types(void **state) {
        ROWS({ "self.set == oldSelf.set", "true" }, { "self.set == ['b', 'a']", "true" },
             { "self.set == ['b', 'c']", "false" }, { "['b', 'a'] == self.set", "false" },
             { "self.set + ['b', 'c']", "[\"a\",\"b\",\"c\"]" }, { "self.items == oldSelf.items", "true" },
             { "self.items.map(i, i.v) == [1, 2]", "true" }, { "(self.items + oldSelf.items).size()", "2" },
             { "self.items + [{'k': 'c'}]", "error: ERROR: <input>:1:12: found no matching overload for '_+_' applied "
                                            "to '(list(selfType.items.@idx), list(map(string, string)))'\n | "
                                            "self.items + [{'k': 'c'}]\n | ...........^" },
             { "self.list == oldSelf.list", "true" }, { "self.list + [4]", "[3,1,2,4]" });
}

static void macros(void **state) {
        ROWS({ "[1u].map(x, null).size()", "1" }, { "self.list.map(x, 'a')", "[\"a\",\"a\",\"a\"]" },
             { "dyn(1).all(k, v, true)", "error: unsupported comprehension range type: types.Int" },
             { "dyn(ip('::1')).all(v, true)", "error: got 'cel.IP', expected iterable type" },
             { "[1, 2, 3].all(i, i > 0)", "true" }, { "[1, 2, 3].all(i, i > 1)", "false" },
             { "[1, 2].exists(i, i == 2)", "true" }, { "[].exists(i, i == 2)", "false" },
             { "[1, 2, 2].exists_one(i, i == 1)", "true" }, { "[1, 2, 2].exists_one(i, i == 2)", "false" },
             { "[1, 2].existsOne(i, i == 2)", "true" }, { "[1, 2, 3].map(i, i * 2)", "[2,4,6]" },
             { "[1, 2, 3].map(i, i > 1, i * 2)", "[4,6]" }, { "[1, 2, 3].filter(i, i % 2 == 1)", "[1,3]" },
             { "self.labels.all(k, k.size() > 2)", "true" },
             { "self.labels.map(k, self.labels[k])", "[\"web\",\"front\"]" },
             { "self.labels.exists(k, v, k == 'app' && v == 'web')", "true" },
             { "[5, 6].all(i, v, v == i + 5)", "true" }, { "[1, 2].transformList(i, v, v * 10 + i)", "[10,21]" },
             { "[1, 2].transformList(i, v, i > 0, v)", "[2]" }, { "{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}" },
             { "['x'].transformMapEntry(i, v, {v: i})", "{\"x\":0}" },
             { "['x', 'x'].transformMapEntry(i, v, {v: i})", "error: insert failed: key x already exists" },
             { "[[1, 2], [3]].map(l, l.map(i, i + 1))", "[[2,3],[4]]" },
             { "[1, 2].all(i, [3, 4].all(j, j > i))", "true" },
             { "[1, 2].map(i, [i]).map(l, l.map(i, i)[0])", "[1,2]" }, { "[0, 1].all(i, 1 / i > 5 || i >= 0)", "true" },
             { "[0, 1].exists(i, 1 / i == 1)", "true" }, { "[0, 2].all(i, 1 / i == 1)", "false" },
             { "[0].all(i, 1 / i == 1)", "error: division by zero" },
             { "has(self.name) && self.name == 'web'", "true" },
             { "[1, 2, 3, 4, 5, 6, 7, 8, 9].map(i, i).size()", "9" },
             { "dyn(1).all(i, true)", "error: got 'types.Int', expected iterable type" });
}

static void optionals(void **state) {
        ROWS({ "type(optional.of(self).when.value()) == string", "true" }, /* in an optional, data has no types */
             { "self.?when.value() == timestamp('1970-01-01T00:00:00Z')", "false" },
             { "self.?set == optional.of(['b', 'a'])", "true" },
             { "optional.of(self).set == optional.of(['b', 'a'])", "false" }, { "optional.of(1).value()", "1" },
             { "optional.none().hasValue()", "false" },
             { "optional.none().value()", "error: optional.none() dereference" },
             { "optional.of(1).or(optional.of(2)).value()", "1" }, { "optional.none().orValue(3)", "3" },
             { "optional.ofNonZeroValue('').hasValue()", "false" }, { "self.?name.orValue('x')", "\"web\"" },
             { "oldSelf.?__namespace__.orValue('x')", "\"x\"" }, { "self.labels[?'nope'].hasValue()", "false" },
             { "self.labels.?app.value()", "\"web\"" }, { "self.list[?7].orValue(9)", "9" },
             { "x.?free.a.value()", "1" }, { "x.?free.?z.?y.hasValue()", "false" },
             { "[?optional.of(1), ?optional.none(), 3]", "[1,3]" },
             { "{?'a': optional.none(), ?'b': optional.of(2)}", "{\"b\":2}" },
             { "optional.of(2).optMap(v, v * 2).value()", "4" },
             { "optional.none().optMap(v, v * 2).hasValue()", "false" },
             { "optional.of(2).optFlatMap(v, optional.of(v + 1)).value()", "3" },
             { "optional.of(1).optMap(a, a + 1).optMap(b, b * 10).orValue(0)", "20" },
             { "[1, 2].first().value() + [1, 2].last().value()", "3" },
             { "optional.unwrap([optional.of(1), optional.none()])", "[1]" },
             { "optional.of(1) == optional.of(1)", "true" },
             { "dyn(self).?unseen.hasValue() || has(dyn(self).unseen)", "false" },
             { "dyn(self).unseen", "error: no such key: unseen" },
             { "dyn(['a']).sum()", "error: no such overload: sum(list)" },
             { "dyn([null]).max()", "error: no such overload: max(list)" },
             { "dyn([1]).join(',')", "error: no such overload: join(list, string)" },
             { "google.protobuf.Empty{} != null", "true" }, { "google.protobuf.NullValue.NULL_VALUE", "0" });
}

static void conversions(void **state) {
        ROWS({ "timestamp('0001-01-01T00:00:00Z') - timestamp('9999-01-01T00:00:00Z')", "error: integer overflow" },
             { "quantity(dyn(optional.none()))", "error: no such overload: quantity(optional_type)" },
             { "int('12')", "12" }, { "int(3.9)", "3" }, { "int(7u)", "7" },
             { "int(dyn(self.name))", "error: type conversion error from 'string' to 'int'" },
             { "int('x')", "error: program instantiation failed: type conversion error from 'string' to 'int'" },
             { "int(self.f * 1e30)", "error: integer overflow" },
             { "uint(-self.n)", "error: unsigned integer overflow" }, { "uint('5')", "5" }, { "double('1.5')", "1.5" },
             { "double('1_000.2_5')", "1000.25" },
             { "double('1__0' + '')", "error: type conversion error from 'string' to 'double'" },
             { "timestamp('0000-01-01T00:00:00Z' + '')", "error: timestamp overflow" },
             { "timestamp('2020-01-01T1:00:00,5Z') == timestamp('2020-01-01T01:00:00.5Z')", "true" },
             { "format.byte().validate('').hasValue()", "true" }, { "double(2)", "2" }, { "string(1.5)", "\"1.5\"" },
             { "string(1e21)", "\"1e+21\"" }, { "string(123456789.0)", "\"1.23456789e+08\"" },
             { "string(100000.0)", "\"100000\"" },
             { "string(timestamp('2024-01-02T03:04:05.5-01:30'))", "\"2024-01-02T03:04:05.5-01:30\"" },
             { "string(0.00001)", "\"1e-05\"" }, { "string(true)", "\"true\"" }, { "string(5u)", "\"5\"" },
             { "bool('true')", "true" }, { "bool(self.name)", "error: type conversion error from 'string' to 'bool'" },
             { "string(bytes('h\xc3\xa9'))", "\"h\xc3\xa9\"" },
             { "string(b'\\xff' + self.raw)", "error: invalid UTF-8 in bytes, cannot convert to string" },
             { "string(duration('90s'))", "\"90s\"" }, { "string(duration('1.5s'))", "\"1.5s\"" },
             { "string(timestamp('2024-01-01T00:00:00.120Z'))", "\"2024-01-01T00:00:00.12Z\"" },
             { "int(timestamp('1970-01-01T00:01:00Z'))", "60" }, { "timestamp(60)", "\"1970-01-01T00:01:00Z\"" },
             { "duration(string('1h'))", "\"3600s\"" }, { "size('h\xc3\xa9llo')", "5" },
             { "type(dyn(1))==int", "true" });
}

static void time_functions(void **state) {
        ROWS({ "timestamp('2024-02-29T10:20:30Z') + duration('24h')", "\"2024-03-01T10:20:30Z\"" },
             { "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z')", "\"86400s\"" },
             { "self.when.getMonth()", "1" }, { "self.when.getDate()", "29" }, { "self.when.getDayOfMonth()", "28" },
             { "self.when.getDayOfWeek()", "4" }, { "self.when.getDayOfYear()", "59" },
             { "self.when.getHours()", "10" }, { "self.when.getMinutes()", "20" }, { "self.when.getSeconds()", "30" },
             { "self.when.getMilliseconds()", "500" }, { "self.when.getHours('+02:30')", "12" },
             { "self.when.getMinutes('-00:30')", "50" },
             { "self.when.getHours('Nowhere/City')", "error: unknown time zone Nowhere/City" },
             { "duration('90m').getHours()", "1" }, { "duration('90m').getMinutes()", "90" },
             { "duration('1.5s').getMilliseconds()", "1500" },
             { "timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow" },
             { "timestamp('2024-01-01T01:00:00+01:00') == timestamp('2024-01-01T00:00:00Z')", "true" },
             { "timestamp('2024-01-01T00:00:00.75Z') - duration('1s')", "\"2023-12-31T23:59:59.75Z\"" });
}

static void strings(void **state) {
        ROWS({ "'hello'.startsWith('he')", "true" }, { "'hello'.endsWith('lo')", "true" },
             { "'hello'.contains('ell')", "true" }, { "'abc'.matches('^a.c$')", "true" },
             { "matches('abc', 'b')", "true" }, { "'h\xc3\xa9llo'.charAt(1)", "\"\xc3\xa9\"" },
             { "'abc'.charAt(3)", "\"\"" }, { "'abc'.charAt(4)", "error: index out of range: 4" },
             { "'h\xc3\xa9llo'.indexOf('l')", "2" }, { "'hello'.indexOf('l', 3)", "3" },
             { "'hello'.indexOf('z')", "-1" }, { "'hello'.lastIndexOf('l')", "3" },
             { "'hello'.lastIndexOf('l', 2)", "2" }, { "''.indexOf('a')", "-1" }, { "'hello'.lastIndexOf('')", "5" },
             { "['a', 'b'].join()", "\"ab\"" }, { "['a', 'b'].join(', ')", "\"a, b\"" },
             { "'HeLLo'.lowerAscii()", "\"hello\"" }, { "'h\xc3\xa9llo'.upperAscii()", "\"H\xc3\xa9LLO\"" },
             { "'a.b.c'.replace('.', '-')", "\"a-b-c\"" }, { "'a.b.c'.replace('.', '-', 1)", "\"a-b.c\"" },
             { "'ab'.replace('', '_')", "\"_a_b_\"" }, { "'a,b,c'.split(',')", "[\"a\",\"b\",\"c\"]" },
             { "'a,b,c'.split(',', 2)", "[\"a\",\"b,c\"]" }, { "'a,b'.split(',', 0)", "[]" },
             { "'abc'.split('')", "[\"a\",\"b\",\"c\"]" }, { "'h\xc3\xa9llo'.substring(1, 3)", "\"\xc3\xa9l\"" },
             { "'hello'.substring(3)", "\"lo\"" },
             { "'hello'.substring(3, 2)", "error: invalid substring range. start: 3, end: 2" },
             { "'hello'.substring(9)", "error: index out of range: 9" }, { "'  x \\t'.trim()", "\"x\"" },
             { "''.trim()", "\"\"" }, { "strings.quote('a\"b\\n')", "\"\\\"a\\\\\\\"b\\\\n\\\"\"" },
             { "'%s is %d'.format(['x', dyn(3)])", "\"x is 3\"" },
             { "'%.2f|%e'.format([1234.567, 1052.0])", "\"1,234.57|1.052000\xc3\x97"
                                                       "10\xe2\x81\xb0\xc2\xb3\"" },
             { "'%x %X %o %b %%'.format([255, 255, 8, 5])", "\"ff FF 10 101 %\"" },
             { "'%s'.format([[1, 2]])", "\"[1, 2]\"" },
             { "'%s'.format([{'b': 1, 'a': 2}])", "\"{\\\"a\\\":2, \\\"b\\\":1}\"" },
             { "'%s'.format([null])", "\"null\"" },
             { "'%d'.format([dyn('x')])",
               "error: error during formatting: decimal clause can only be used on integers, was given string" },
             { "(self.name + '%s %s').format(['x'])", "error: index 1 out of range" },
             { "(self.name + '%q').format(['x'])",
               "error: could not parse formatting clause: unrecognized formatting clause \"q\"" },
             { "'%f'.format([self.n])", "error: ERROR: <input>:1:18: error during formatting: fixed-point clause can "
                                        "only be used on doubles, was given int\n | '%f'.format([self.n])\n | "
                                        ".................^" },
             { "'%q'.format(['x'])", "error: ERROR: <input>:1:12: could not parse formatting clause: unrecognized "
                                     "formatting clause \"q\"\n | '%q'.format(['x'])\n | ...........^" });
}

static void kubernetes_lists(void **state) {
        ROWS({ "[1, 2, 3].isSorted()", "true" }, { "['b', 'a'].isSorted()", "false" }, { "self.list.sum()", "6" },
             { "[].sum() == 0", "true" }, { "[1.5, 2.5].sum()", "4" },
             { "[duration('1s'), duration('1m')].sum() == duration('61s')", "true" }, { "self.list.min()", "1" },
             { "['a', 'c', 'b'].max()", "\"c\"" }, { "[1].filter(i, i > 1).min()", "error: min called on empty list" },
             { "[1, 2, 2].indexOf(2)", "1" }, { "[1, 2, 2].lastIndexOf(2)", "2" }, { "[1].indexOf(9)", "-1" },
             { "'abc 123 def 45'.find('[0-9]+')", "\"123\"" }, { "'abc'.find('[0-9]+')", "\"\"" },
             { "'123 abc 456'.findAll('[0-9]+')", "[\"123\",\"456\"]" },
             { "'123 abc 456'.findAll('[0-9]+', 1)", "[\"123\"]" },
             { "'a'.matches(dyn('('))", "error: error parsing regexp: missing closing ): `(`" },
             { "sets.contains([1, 2], [2])", "true" }, { "sets.equivalent([1, 2], [2, 1, 1])", "true" },
             { "sets.intersects([1], [2])", "false" }, { "sets.contains([1], [1, 2])", "false" });
}

static void kubernetes_values(void **state) {
        ROWS({ "quantity('1Gi').isGreaterThan(quantity('900Mi'))", "true" }, { "quantity('1k').asInteger()", "1000" },
             { "quantity('1.5').isInteger()", "false" },
             { "quantity('1.5').asInteger()", "error: cannot convert value to integer" },
             { "quantity('500m').asApproximateFloat()", "0.5" },
             { "quantity('100u').asApproximateFloat() == 0.0001", "false" }, /* 100 times what 1e-6 is */
             { "quantity('200M').compareTo(quantity('0.2G'))", "0" },
             { "quantity('50k').add(20) == quantity('50020')", "true" },
             { "quantity('50020') == quantity('50k').add(20)", "error: no such overload" },
             { "quantity('50020') != quantity('50k').add(20)", "true" },
             { "quantity('1').sub(quantity('2')) == quantity('-1')", "true" }, { "sign(quantity('-5'))", "-1" },
             { "isQuantity('1.3Gi')", "true" }, { "isQuantity('x')", "false" }, { "isQuantity('10Mo')", "false" },
             { "ip('192.168.0.1').family()", "4" }, { "ip('::1').isLoopback()", "true" },
             { "ip('127.0.0.1').isLoopback()", "true" }, { "isIP('256.0.0.1')", "false" },
             { "isIP('::ffff:1.2.3.4')", "false" }, { "ip.isCanonical('2001:DB8::1')", "false" },
             { "ip.isCanonical('2001:db8::1')", "true" }, { "ip('0.0.0.0').isUnspecified()", "true" },
             { "ip('fe80::1').isLinkLocalUnicast()", "true" }, { "ip('ff02::1').isLinkLocalMulticast()", "true" },
             { "ip('10.0.0.1').isGlobalUnicast()", "true" }, { "ip('224.0.0.1').isGlobalUnicast()", "false" },
             { "string(ip('2001:0db8:0:0:0:0:0:1'))", "\"2001:db8::1\"" }, { "ip('1.2.3.4') == ip('1.2.3.4')", "true" },
             { "ip('127.0.0.1').isLinkLocalUnicast()", "false" },
             { "ip('x')", "error: IP Address \"x\" parse error during conversion from string: ParseAddr(\"x\"): unable "
                          "to parse IP" },
             { "cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true" },
             { "cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))", "false" },
             { "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true" },
             { "cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))", "false" },
             { "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')", "true" },
             { "cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", "true" }, { "cidr('::/0').prefixLength()", "0" },
             { "isCIDR('10.0.0.0/33')", "false" }, { "string(cidr('192.168.0.0/24'))", "\"192.168.0.0/24\"" },
             { "url('https://user:pw@example.com:80/path/a%20b?k=1&k=2&j=x+y').getHost()", "\"example.com:80\"" },
             { "url('https://[::1]:80/x').getHostname()", "\"::1\"" },
             { "url('https://example.com:8443/').getPort()", "\"8443\"" },
             { "url('HTTPS://example.com/a b').getEscapedPath()", "\"/a%20b\"" },
             { "url('HTTPS://h/').getScheme()", "\"https\"" },
             { "url('https://h/?k=1&k=2&j=x+y').getQuery()", "{\"k\":[\"1\",\"2\"],\"j\":[\"x y\"]}" },
             { "isURL('https://a.com/b')", "true" }, { "isURL('../b')", "false" }, { "isURL('/abs')", "true" },
             { "isURL('https://a:b/')", "false" }, { "format.dns1123Label().validate('my-name').hasValue()", "false" },
             { "format.dns1123Label().validate('My').value().size()", "1" },
             { "format.named('uuid').value().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()", "false" },
             { "format.named('nope').hasValue()", "false" },
             { "format.dns1123LabelPrefix().validate('web-').hasValue()", "false" },
             { "format.date().validate('2024-13-01').value()", "[\"invalid date\"]" },
             { "format.byte().validate('aGk=').hasValue()", "false" },
             { "format.uri().validate('../x').hasValue()", "true" },
             { "format.labelValue().validate('a_b').hasValue()", "false" });
}

static int check_access(const struct cel_authorizer *az, struct arena *a, const struct cel_check *c, bool *ret_allowed,
                        struct str *ret_reason, struct error *err) {
        if (str_eqc(c->verb, "broken"))
                return error_set(err, -EIO, "webhook is down");
        *ret_allowed = str_eqc(c->group, "apps") && str_eqc(c->resource, "deployments") &&
                       str_eqc(c->subresource, "status") && str_eqc(c->namespace, "default") &&
                       str_eqc(c->name, "web") && str_eqc(c->verb, "update");
        *ret_allowed |= str_eqc(c->path, "/healthz") && str_eqc(c->service_account_name, "sa");
        *ret_reason = *ret_allowed ? STR("granted") : STR("no");
        return 0;
}

static void asks_the_authorizer(void **state) {
        static const struct row rows[] = {
                { "authorizer.group('apps').resource('deployments').subresource('status').namespace('default').name('"
                  "web').check('update').allowed()",
                  "true" },
                { "authorizer.group('apps').resource('deployments').check('update').allowed()", "false" },
                { "authorizer.group('').resource('pods').check('get').reason()", "\"no\"" },
                { "authorizer.serviceAccount('ns', 'sa').path('/healthz').check('get').reason()", "\"granted\"" },
                { "authorizer.path('/healthz').check('broken').errored()", "true" },
                { "authorizer.path('/healthz').check('broken').error()", "\"webhook is down\"" },
                { "authorizer.path(' ').check('get').allowed()", "error: path must not be empty" },
                { "authorizer.requestResource.check('update').allowed()", "true" },
                { "authorizer.requestResource.check('get').allowed() || "
                  "authorizer.requestResource.check('list').allowed() || "
                  "authorizer.requestResource.check('watch').allowed()",
                  "error: operation cancelled: actual cost limit exceeded" },
        };
        struct cel_authorizer az = { check_access };
        struct cel_check request = { .group = STR("apps"),
                                     .resource = STR("deployments"),
                                     .subresource = STR("status"),
                                     .namespace = STR("default"),
                                     .name = STR("web") };
        struct cel_world w = { .a = arena_new(0) };

        w.vars[0] = (struct cel_variable) { "authorizer", cel_type_authorizer() };
        w.vars[1] = (struct cel_variable) { "authorizer.requestResource", cel_type_resource_check() };
        w.vars[2] = (struct cel_variable) { "x", &cel_dyn };
        w.values[0] = cel_of_authorizer(w.a, &az);
        w.values[1] = cel_of_resource_check(w.a, &az, &request);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                assert_string_equal(cel_answer(&w, rows[i].text, NULL), rows[i].result);
        arena_free(w.a);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(literals),
                cmocka_unit_test(arithmetic),
                cmocka_unit_test(comparison),
                cmocka_unit_test(logic),
                cmocka_unit_test(selection),
                cmocka_unit_test(lists_of_types),
                cmocka_unit_test(macros),
                cmocka_unit_test(optionals),
                cmocka_unit_test(conversions),
                cmocka_unit_test(time_functions),
                cmocka_unit_test(strings),
                cmocka_unit_test(kubernetes_lists),
                cmocka_unit_test(kubernetes_values),
                cmocka_unit_test(asks_the_authorizer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
