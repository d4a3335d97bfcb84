/* YAML as sigs.k8s.io/yaml reads and prints it. */
#include "help.h"

#include <dirent.h>
#include <errno.h>

#include "base/file.h"
#include "json/yaml.h"

static void assert_json(const char *yaml, const char *json) {
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *j;

        if (yaml_parse(arena, str_of(yaml), NULL, &j, &e) < 0) {
                print_error("%s: %s\n", yaml, error_text(&e));
                fail();
        }
        json_write(&b, j);
        assert_str(buf_str(&b), json);
}

static void assert_refused(const char *yaml, const char *message) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *j;

        assert_int_equal(yaml_parse(arena, str_of(yaml), NULL, &j, &e), -EINVAL);
        assert_string_equal(error_text(&e), message);
}

static void plain_scalars_have_the_types_of_yaml_1_1(void **state) {
        assert_json("[yes, No, on, OFF, y, N, true, False]", "[true,false,true,false,true,false,true,false]");
        assert_json("[~, null, Null, '', ]", "[null,null,null,\"\"]");
        assert_json("a:", "{\"a\":null}");
        assert_json("[0x10000000000000000, -0x8000000000000001]", "[\"0x10000000000000000\",\"-0x8000000000000001\"]");
        assert_json("[1, +2, -3, 0x1F, -0x1f, 0o17, 017, 0b101, -0b11, 1_000]", "[1,2,-3,31,-31,15,15,5,-3,1000]");
        assert_json("[9223372036854775807, 9223372036854775808, 18446744073709551615]",
                    "[9223372036854775807,9223372036854776000,18446744073709552000]");
        assert_json("[1.5, .5, -1.5e3, 1e3, 6.02e23, 08, 1.]", "[1.5,0.5,-1500,1000,6.02e+23,8,1]");
        assert_json("[2001-12-14, 2001-12-14t21:59:43.10-05:00, 12:30:45, 1.2.3, 0x, 1e, -, +a, .e1, 1__, 0xg]",
                    "[\"2001-12-14\",\"2001-12-14t21:59:43.10-05:00\",\"12:30:45\",\"1.2.3\",\"0x\",\"1e\",\"-\",\"+"
                    "a\",\".e1\",1,\"0xg\"]");
        assert_json("['yes', \"1\", !!str 1, !!int '7', !!float 2, !custom x, !!bool \"on\"]",
                    "[\"yes\",\"1\",\"1\",7,2,\"x\",true]");
        assert_json("!!binary aGVsbG8=", "\"hello\"");
}

static void keys_become_strings(void **state) {
        assert_json("1: a\ntrue: b\n1.5: c\n0x10: d\nyes: e\n",
                    "{\"1\":\"a\",\"1.5\":\"c\",\"16\":\"d\",\"true\":\"e\"}");
        assert_refused("? [a]\n: b\n", "error converting YAML to JSON: yaml: invalid map key: []interface {}{\"a\"}");
}

static void blocks_and_folds_keep_their_line_breaks(void **state) {
        assert_json("a: |\n  x\n  y\nb: |-\n  z\nc: >\n  f\n  g\n\n  h\nd: |+\n  k\n\n",
                    "{\"a\":\"x\\ny\\n\",\"b\":\"z\",\"c\":\"f g\\nh\\n\",\"d\":\"k\\n\\n\"}");
}

static void anchors_and_merge_keys_are_followed(void **state) {
        assert_json("a: &x {p: 1, q: 2}\nb: *x\nc:\n  <<: *x\n  q: 3\n",
                    "{\"a\":{\"p\":1,\"q\":2},\"b\":{\"p\":1,\"q\":2},\"c\":{\"p\":1,\"q\":3}}");
        assert_json("a: &a {p: 1}\nb: &b {p: 2, r: 3}\nc:\n  q: 0\n  <<: [*a, *b]\n",
                    "{\"a\":{\"p\":1},\"b\":{\"p\":2,\"r\":3},\"c\":{\"p\":1,\"q\":0,\"r\":3}}");
        assert_json("a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}");
        assert_refused("a: *x", "error converting YAML to JSON: yaml: unknown anchor 'x' referenced");
        assert_refused("a: &x [*x]", "error converting YAML to JSON: yaml: anchor 'x' value contains itself");
        assert_refused("<<: 1", "error converting YAML to JSON: yaml: map merge requires map or sequence of "
                                "maps as the value");
}

static void a_bomb_is_refused_and_stays_small(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *j;

        buf_addc(&b, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for (int i = 1; i < 30; i++) {
                buf_printf(&b, "a%d: &a%d [", i, i);
                for (int k = 0; k < 10; k++)
                        buf_printf(&b, "%s*a%d", k ? "," : "", i - 1);
                buf_addc(&b, "]\n");
        }
        assert_int_equal(yaml_parse(a, buf_str(&b), NULL, &j, &e), -EINVAL);
        assert_non_null(strstr(error_text(&e), "excessive aliasing"));
        assert_true(arena_size(a) < 1 << 20);

        b.n = 0;
        for (int i = 0; i < 200; i++)
                buf_putc(&b, '[');
        error_clear(&e);
        assert_int_equal(yaml_parse(a, buf_str(&b), NULL, &j, &e), -EINVAL);
        buf_reserve(&b, 4 << 20);
        memset(b.p, 'x', 4 << 20);
        b.n = 4 << 20;
        assert_int_equal(yaml_parse(a, buf_str(&b), NULL, &j, &e), -EINVAL);
}

static void mistakes_are_told_with_their_line(void **state) {
        assert_refused("a: b\nc: [1,\n",
                       "error converting YAML to JSON: yaml: line 2: did not find expected node content");
        assert_refused("a: b: c",
                       "error converting YAML to JSON: yaml: mapping values are not allowed in this context");
        assert_refused("a: b\nc: d: e",
                       "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context");
        assert_refused("a: 'x", "error converting YAML to JSON: yaml: found unexpected end of stream");
        assert_refused("!!int x", "error converting YAML to JSON: yaml: cannot decode !!str `x` as a !!int");
        assert_refused("a: .nan", "error converting YAML to JSON: json: unsupported value: NaN");
        /* what is no YAML is told before what cannot be read, and that before what JSON has not */
        assert_refused("a: .inf\n? [x]\n: !!int z\nb: c: d",
                       "error converting YAML to JSON: yaml: line 4: mapping values are not allowed in this context");
        assert_refused("a: .inf\n~: x\nb: !!int z",
                       "error converting YAML to JSON: yaml: cannot decode !!str `z` as a !!int");
        assert_refused("a: .inf\n~: {x: [1, 2.5, ~]}",
                       "error converting YAML to JSON: unsupported map key of type: %!s(<nil>), key: <nil>, value: "
                       "map[interface {}]interface {}{\"x\":[]interface {}{1, 2.5, interface {}(nil)}}");
        assert_refused("%YAML 1.2\n---\na: 1\n",
                       "error converting YAML to JSON: yaml: found incompatible YAML document");
        assert_refused("a: -.inf", "error converting YAML to JSON: json: unsupported value: -Inf");
}

static void duplicates_are_reported_with_their_line(void **state) {
        struct json_duplicates d = { .arena = arena };
        struct json *j;

        assert_int_equal(yaml_parse(arena, STR("spec:\n  c:\n  - x: 1\n  - name: 1\n    name: 2\na: 1\na: 2\n"), &d, &j,
                                    NULL),
                         0);
        assert_int_equal(d.n, 2);
        assert_str(d.messages[0], "line 5: key \"name\" already set in map");
        assert_str(d.messages[1], "line 7: key \"a\" already set in map");
        assert_int_equal(json_int(json_getc(j, "a")), 2);
        d = (struct json_duplicates) { .arena = arena }; /* keys of two types are two, what is merged comes again */
        assert_int_equal(yaml_parse(arena, STR("a: {true: 1, yes: 2, 1: a, '1': b}\nb:\n  x: 1\n  <<: {x: 2}\n"), &d,
                                    &j, NULL),
                         0);
        assert_int_equal(d.n, 2);
        assert_str(d.messages[0], "line 1: key true already set in map");
        assert_str(d.messages[1], "line 4: key \"x\" already set in map");
}

static void a_key_again_and_again_costs_no_more_than_others(void **state) {
        struct json_duplicates d = { .arena = arena };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *v;

        while (b.n < 2 << 20)
                buf_addc(&b, "a: b\n");
        assert_int_equal(yaml_parse(arena, buf_str(&b), &d, &v, NULL), 0);
        assert_int_equal(d.n, b.n / 5 - 1);
        assert_str(d.messages[15], "line 17: key \"a\" already set in map");
        assert_int_equal(json_len(v), 1);
}

static void a_stream_gives_its_documents_without_the_empty_ones(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *all, *first;

        assert_int_equal(yaml_parse_all(arena, STR("---\na: 1\n---\n---\n# nothing\n---\n{\"b\": 2}\n...\n---\n- c\n"),
                                        &all, NULL),
                         0);
        json_write(&b, all);
        assert_str(buf_str(&b), "[{\"a\":1},{\"b\":2},[\"c\"]]");
        assert_int_equal(yaml_parse_all(arena, STR(""), &all, NULL), 0);
        assert_int_equal(json_len(all), 0);
        assert_int_equal(yaml_parse(arena, STR("a: 1\n---\nb: 2\n"), NULL, &first, NULL), 0);
        assert_non_null(json_getc(first, "a"));
        assert_int_equal(yaml_parse(arena, STR("# only a comment\n"), NULL, &first, NULL), 0);
        assert_int_equal(first->type, JSON_NULL);
}

static void printing_quotes_what_would_be_read_as_something_else(void **state) {
        static const struct {
                const char *json, *yaml;
        } cases[] = {
                { "{}", "{}\n" },
                { "[]", "[]\n" },
                { "{\"b\":[1,{\"y\":2,\"x\":[]}],\"a\":{\"c\":null}}",
                  "a:\n  c: null\nb:\n- 1\n- x: []\n  \"y\": 2\n" },
                { "[\"yes\",\"no\",\"1\",\"1.5\",\"0x1f\",\"null\",\"~\",\"\",\"true\",\"2001-01-01\",\"12:30\","
                  "\"1e3\"]",
                  "- \"yes\"\n- \"no\"\n- \"1\"\n- \"1.5\"\n- \"0x1f\"\n- \"null\"\n- \"~\"\n- \"\"\n- "
                  "\"true\"\n- \"2001-01-01\"\n- \"12:30\"\n- \"1e3\"\n" },
                { "[\"plain text\",\"a: b\",\"- x\",\"# c\",\" "
                  "lead\",\"it's\",\"{x}\",\"*a\",\"<<\",\"a#b\",\"é\"]",
                  "- plain text\n- 'a: b'\n- '- x'\n- '# c'\n- ' lead'\n- it's\n- '{x}'\n- '*a'\n- <<\n- a#b\n- "
                  "é\n" },
                { "{\"a\":\"x\\ny\\n\",\"b\":\"x\\ny\",\"c\":\"x\\n\\n\"}",
                  "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |+\n  x\n\n" },
                { "{\"a\":\"tab\\there\",\"b\":\"bell\\u0007\"}", "a: \"tab\\there\"\nb: \"bell\\a\"\n" },
                { "[1.0,1e20,1e21,0.000001,1234567.5,-7]",
                  "- 1\n- 100000000000000000000\n- 1e+21\n- 1e-06\n- 1.2345675e+06\n- -7\n" },
                { "{\"a10\":1,\"a9\":2,\"B\":3,\"a\":4,\"a-b\":5}", "B: 3\na: 4\na-b: 5\na9: 2\na10: 1\n" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct json *j;

                assert_int_equal(json_parse(arena, str_of(cases[i].json), NULL, &j, NULL), 0);
                yaml_write(&b, j);
                assert_str(buf_str(&b), cases[i].yaml);
        }
}

/* Upstream's own YAML of each of its kinds: read, it equals the JSON; printed from the JSON, it is the same bytes. */
static void upstreams_objects_are_read_and_printed_alike(void **state) {
        DIR *d = opendir(TEST_DATA "/api");
        struct dirent *de;
        int n = 0;

        assert_non_null(d);
        while ((de = readdir(d))) {
                size_t stem = strlen(de->d_name);
                _cleanup_free_ char *json_path = NULL, *yaml_path = NULL;
                _cleanup_buf_ struct buf json = BUF_INIT, yaml = BUF_INIT, out = BUF_INIT;
                struct json *from_json, *from_yaml;

                if (!str_has_suffix(str_of(de->d_name), STR(".json")))
                        continue;
                stem -= strlen(".json");
                json_path = xprintf("%s/api/%s", TEST_DATA, de->d_name);
                yaml_path = xprintf("%s/api/%.*s.yaml", TEST_DATA, (int) stem, de->d_name);
                if (file_read(yaml_path, 0, &yaml, NULL) < 0)
                        continue;
                assert_int_equal(file_read(json_path, 0, &json, NULL), 0);
                assert_int_equal(json_parse(arena, buf_str(&json), NULL, &from_json, NULL), 0);
                assert_int_equal(yaml_parse(arena, buf_str(&yaml), NULL, &from_yaml, NULL), 0);
                assert_true(json_equal(from_json, from_yaml));
                yaml_write(&out, from_json);
                assert_true(str_eq(buf_str(&out), buf_str(&yaml)));
                n++;
        }
        closedir(d);
        assert_true(n > 50);
}

/* Behind a space it is YAML to us, too: whatever is sent has to mean the same. */
static void assert_read_alike(const char *text) {
        _cleanup_buf_ struct buf spaced = BUF_INIT, a = BUF_INIT, b = BUF_INIT;
        struct json_duplicates here = { .arena = arena }, there = { .arena = arena };
        struct json *j = NULL, *k = NULL;
        int r, s;

        buf_printf(&spaced, " %s", text);
        r = yaml_parse(arena, str_of(text), &here, &j, NULL);
        s = yaml_parse(arena, buf_str(&spaced), &there, &k, NULL);
        if (r == 0 && s == 0) {
                json_write(&a, j);
                json_write(&b, k);
        }
        if (r != s || !str_eq(buf_str(&a), buf_str(&b)) || here.n != there.n)
                print_error("%s: %d and %d: %.*s and %.*s\n", text, r, s, STR_ARG(buf_str(&a)), STR_ARG(buf_str(&b)));
        assert_int_equal(r, s);
        assert_true(str_eq(buf_str(&a), buf_str(&b)));
        assert_int_equal(here.n, there.n);
}

static void json_means_what_yaml_makes_of_it(void **state) {
        static const char *const documents[] = {
                "{\"a\":{\"b\":[1,-2,true,null,\"\\u003c\\n\\\"x\"]},\"c d\": \"e\", \"f\":[],\"g\":{}}\n",
                "{\"a\":-0,\"b\":1.50,\"c\":1e3,\"d\":123456789012345678}",
                "{\"a\":1,\"b\":{\"c\":2,\"c\":3}}",
                "{\"a\" :1,\n\"b\"\n:2,\t\"<<\":{\"k\":3}}",
                "{\"a\":\"\\ud83d\\ude00\",\"b\":\"\\/\",\"yes\":\"~\"}",
                "{\"a\":12345678901234567890,\"b\":[[{}],[[]]],\"\":\"#:-\"}",
        };
        static const char odd[] = "{}[]:,\"\\0123456789-+.eEtrufalsn \n\t#&*!|>'%@`?~<x\x7f\xc3\x85";
        _cleanup_buf_ struct buf key = BUF_INIT, deep = BUF_INIT;
        unsigned random = 1;

        for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
                assert_read_alike(documents[i]);
        for (size_t round = 0; round < 6000; round++) {
                char text[128];
                size_t n;

                strcpy(text, documents[round % ARRAY_SIZE(documents)]);
                n = strlen(text);
                for (size_t change = 0; change <= round % 3; change++) {
                        random = random * 1664525 + 1013904223;
                        text[1 + (random >> 8) % (n - 1)] = odd[(random >> 16) % (sizeof(odd) - 1)];
                }
                assert_read_alike(text);
        }
        for (size_t n = 990; n < 1040; n++) {
                key.n = 0;
                buf_printf(&key, "{\"%0*d\":1,\"v\":\"%0*d\"}", (int) n, 0, (int) n, 0);
                assert_read_alike(key.p);
        }
        for (size_t n = 40; n < 120; n++) {
                deep.n = 0;
                buf_addc(&deep, "{\"a\":");
                for (size_t i = 0; i < 2 * n; i++)
                        buf_putc(&deep, i < n ? '[' : ']');
                buf_add(&deep, "}", sizeof("}"));
                assert_read_alike(deep.p);
        }
}

/* libyaml compares each with all before it. */
static void of_directives_there_are_not_many(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *v;

        buf_addc(&b, "%TAG !a! tag:a,2000:\n---\na: '%'\n");
        assert_int_equal(yaml_parse(arena, buf_str(&b), NULL, &v, NULL), 0);
        b.n = 0;
        for (int i = 0; i < 150000; i++)
                buf_printf(&b, "%%TAG !a%d! tag:a\n", i);
        assert_int_equal(yaml_parse(arena, buf_str(&b), NULL, &v, &e), -EINVAL);
        assert_string_equal(error_text(&e), "YAML text of more than 1000 directives");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_scalars_have_the_types_of_yaml_1_1),
                cmocka_unit_test(keys_become_strings),
                cmocka_unit_test(blocks_and_folds_keep_their_line_breaks),
                cmocka_unit_test(anchors_and_merge_keys_are_followed),
                cmocka_unit_test(a_bomb_is_refused_and_stays_small),
                cmocka_unit_test(mistakes_are_told_with_their_line),
                cmocka_unit_test(duplicates_are_reported_with_their_line),
                cmocka_unit_test(a_key_again_and_again_costs_no_more_than_others),
                cmocka_unit_test(of_directives_there_are_not_many),
                cmocka_unit_test(json_means_what_yaml_makes_of_it),
                cmocka_unit_test(a_stream_gives_its_documents_without_the_empty_ones),
                cmocka_unit_test(printing_quotes_what_would_be_read_as_something_else),
                cmocka_unit_test(upstreams_objects_are_read_and_printed_alike),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
