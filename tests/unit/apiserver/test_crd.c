/* Custom objects against their schema, without a server: what is told of them, what is let pass because it was so
 * before, and what they become. */
#include "../test.h"

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "schema/decode.h"
#include "schema/types.h"

static char *quoted(struct arena *a, const char *text) {
        char *p = arena_cstr(a, str_of(text));

        for (char *c = p; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return p;
}

static struct json *parse(struct arena *a, const char *text) {
        struct json *v = NULL;

        assert_int_equal(json_parse(a, str_of(quoted(a, text)), NULL, &v, NULL), 0);
        return v;
}

static struct crd_schema *compile(struct arena *a, const char *properties) {
        struct json *source = parse(a, arena_printf(a, "{'type':'object','properties':{%s}}", properties).p), *schema;
        struct crd_schema *s;

        schema = arena_new_of(a, struct json);
        assert_int_equal(schema_decode(a, &type_JSONSchemaProps, source, NULL, schema, NULL), 0);
        s = crd_schema_compile(a, schema, "Kind", "com.example.v1");
        crd_rules_compile(a, s);
        return s;
}

static void print(struct buf *b, const struct field_errors *fe) {
        for (size_t i = 0; i < fe->list.n; i++)
                buf_printf(b, "%s%" STR_FMT ": %" STR_FMT, i ? "; " : "", STR_ARG(fe->list.v[i].field),
                           STR_ARG(fe->list.v[i].body));
        buf_putc(b, '\0');
}

#define RULE(r) "'x-kubernetes-validations':[{'rule':'" r "'}]"
#define ITEMS                                                                                                         \
        "{'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'type':'object'," \
        "'properties':{'k':{'type':'string'},'v':{'type':'integer','maximum':3}}}," RULE("self.size() > 2") "}"

static const struct {
        const char *properties, *old, *now, *errors, *passed;
} changes[] = {
        { "'a':{'type':'string'," RULE("self == \\\"x\\\"") "}", "{'a':'y'}", "{'a':'y'}", "",
          "a: Invalid value: \"string\": failed rule: self == \"x\"" },
        { "'a':{'type':'string'," RULE("self == \\\"x\\\"") "}", "{'a':'y'}", "{'a':'z'}",
          "a: Invalid value: \"string\": failed rule: self == \"x\"", "" },
        /* Keyed items may move. */
        { "'l':" ITEMS, "{'l':[{'k':'a','v':1},{'k':'b','v':9}]}", "{'l':[{'k':'b','v':9},{'k':'a','v':1}]}", "",
          "l: Invalid value: \"array\": failed rule: self.size() > 2" },
        { "'l':" ITEMS, "{'l':[{'k':'a','v':9},{'k':'b','v':9}]}", "{'l':[{'k':'b','v':9},{'k':'a','v':8}]}",
          "l[1].v: Invalid value: 8: l[1].v in body should be less than or equal to 3; "
          "l: Invalid value: \"array\": failed rule: self.size() > 2",
          "" },
        /* Of what the schema does not know, nobody can tell. */
        { "'o':{'type':'object','x-kubernetes-preserve-unknown-fields':true," RULE("false") "}", "{'o':{'a':1}}",
          "{'o':{'a':1}}", "o: Invalid value: \"object\": failed rule: false", "" },
        /* An allOf is let pass with what is around it. */
        { "'o':{'type':'object','properties':{'a':{'type':'integer','allOf':[{" RULE(
                          "self > 5") "}]},'b':{'type':'integer'}}}",
          "{'o':{'a':1,'b':1}}", "{'o':{'a':1,'b':2}}", "o.a: Invalid value: \"integer\": failed rule: self > 5", "" },
        { "'o':{'type':'object','properties':{'a':{'type':'integer','allOf':[{" RULE("self > 5") "}]}}}",
          "{'o':{'a':1}}", "{'o':{'a':1}}", "", "o.a: Invalid value: \"integer\": failed rule: self > 5" },
        { "'o':{'type':'object','properties':{'a':{'type':'integer'},'b':{'type':'integer'}},"
          "'allOf':[{'properties':{'a':{'minimum':5}}}]}",
          "{'o':{'a':1,'b':1}}", "{'o':{'a':1,'b':2}}",
          "o.a: Invalid value: 1: o.a in body should be greater than or equal to 5; "
          "<nil>: Invalid value: \"\": \"o\" must validate all the schemas (allOf). None validated",
          "" },
        /* The version was changed by the server, so it says nothing. */
        { "'kind':{'type':'string','pattern':'^A'," RULE("self == \\\"A\\\"") "}", "{'kind':'B','metadata':{}}",
          "{'kind':'B','metadata':{}}",
          "kind: Invalid value: \"B\": kind in body should match '^A'; "
          "kind: Invalid value: \"string\": failed rule: self == \"A\"",
          "" },
        { "'o':{'type':'object','additionalProperties':false}", NULL, "{'o':{'a':1}}",
          "o: Invalid value: \"a\": o.a in body is a forbidden property", "" },
        /* Once, however often it is asked for. */
        { "'o':{'type':'object','required':['a','a']}", NULL, "{'o':{}}", "o.a: Required value", "" },
        /* Numbers with a fraction or an exponent are floats, to Go and to rules. */
        { "'n':{'type':'number','maximum':5}", NULL, "{'n':1e10}",
          "n: Invalid value: 1e+10: n in body should be less than or equal to 5", "" },
        { "'n':{'type':'number','maximum':2147483646}", NULL, "{'n':1e10}",
          "n: Invalid value: 1e+10: n in body should be less than or equal to 2.147483646e+09", "" },
        /* A bound is a float. */
        { "'n':{'type':'integer','minimum':9007199254740993}", NULL, "{'n':9007199254740991}",
          "n: Invalid value: 9007199254740991: n in body should be greater than or equal to 9007199254740992", "" },
        { "'o':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'enum':[{'a':1}]}", NULL,
          "{'o':{'b':1e20}}",
          "o: Unsupported value: map[string]interface {}{\"b\":1e+20}: supported values: \"{\\\"a\\\":1}\"", "" },
        { "'s':{'type':'string','format':'byte'}", NULL, "{'s':'<a>'}",
          "s: Invalid value: \"<a>\": s in body must be of type byte: \"<a>\"", "" },
        { "'i':{'type':'integer'," RULE("self < 9") "}", NULL, "{'i':4.0}",
          "i: Invalid value: \"integer\": invalid data, expected int, got float64 evaluating rule: self < 9", "" },
        { "'x':{'x-kubernetes-int-or-string':true," RULE("self != 9") "}", NULL, "{'x':4.0}",
          "x: Invalid value: \"\": invalid data, expected XIntOrString value to be either a string or integer "
          "evaluating "
          "rule: self != 9",
          "" },
        /* What has a format may be a text, whatever its type. */
        { "'o':{'type':'object','format':'ipv4'}", NULL, "{'o':'1.2.3.4'}", "", "" },
        { "'o':{'type':'boolean','format':'ipv4'}", NULL, "{'o':1}",
          "o: Invalid value: \"int64\": o in body must be of type ipv4: \"int64\"", "" },
        /* Maps are told in the order of their keys. */
        { "'o':{'type':'object','x-kubernetes-preserve-unknown-fields':true,'enum':['a']}", NULL, "{'o':{'b':1,'a':2}}",
          "o: Unsupported value: map[string]interface {}{\"a\":2, \"b\":1}: supported values: \"a\"", "" },
};

static void what_was_wrong_before_is_let_pass(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct crd_schema *s = compile(a, changes[i].properties);
                struct field_errors fe = { .a = a }, passed = { .a = a };
                const struct json *now = parse(a, changes[i].now), *old;
                _cleanup_buf_ struct buf errors = BUF_INIT, warnings = BUF_INIT;

                old = changes[i].old ? parse(a, changes[i].old) : NULL;
                crd_validate_value(&fe, NULL, s, now, old);
                crd_rules_run(&fe, &passed, NULL, s, now, old);
                print(&errors, &fe);
                print(&warnings, &passed);
                crd_schema_release(s);
                if (strcmp(errors.p, changes[i].errors) != 0 || strcmp(warnings.p, changes[i].passed) != 0)
                        fail_msg("%s %s: %s | %s", changes[i].properties, changes[i].now, errors.p, warnings.p);
        }
}

static const struct {
        const char *properties, *in, *out;
} completed[] = {
        { "'m':{'type':'object','additionalProperties':{'type':'string','default':'d'}}", "{'m':{'a':null,'b':'x'}}",
          "{'m':{'a':'d','b':'x'}}" },
        { "'m':{'type':'object','additionalProperties':{'type':'string'}}", "{'m':{'a':null}}", "{'m':{}}" },
        { "'m':{'type':'object','additionalProperties':{'type':'string','nullable':true}}", "{'m':{'a':null}}",
          "{'m':{'a':null}}" },
        { "'m':{'type':'string','default':'d'},'n':{'type':'string'}", "{'m':null,'n':null}", "{'m':'d'}" },
        { "'l':{'type':'array','items':{'type':'string','default':'d'}}", "{'l':[null,'x']}", "{'l':['d','x']}" },
        { "'m':{'type':'object','additionalProperties':false}", "{'m':{'a':1,'b':{'c':1}}}", "{'m':{'a':1,'b':{}}}" },
        /* A list keeps what is unknown in its items, but not in their fields. */
        { "'l':{'type':'array','x-kubernetes-preserve-unknown-fields':true,'items':{'type':'object','properties':"
          "{'p':{'type':'object'}}}}",
          "{'l':[{'a':1,'p':{'b':1}}]}", "{'l':[{'a':1,'p':{}}]}" },
};

static void nulls_and_unknown_fields(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(completed); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct crd_schema *s = compile(a, completed[i].properties);
                struct json out = crd_complete(a, s, parse(a, completed[i].in));
                _cleanup_buf_ struct buf b = BUF_INIT;

                json_write(&b, &out);
                buf_putc(&b, '\0');
                crd_schema_release(s);
                assert_string_equal(b.p, quoted(a, completed[i].out));
        }
}

static void items_that_are_no_objects_are_told_instead_of_twins(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_schema *s = compile(a, "'l':" ITEMS);
        struct field_errors fe = { .a = a };
        _cleanup_buf_ struct buf errors = BUF_INIT;

        crd_validate_lists(&fe, NULL, s, parse(a, "{'l':[{'k':'a'},{'k':'a'},'x']}"));
        print(&errors, &fe);
        crd_schema_release(s);
        assert_string_equal(errors.p, "l[2]: Invalid value: \"x\": must be an object for an array of list-type map");
}

static void a_float_is_no_twin_of_an_integer(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_schema *s = compile(a, "'l':{'type':'array','items':{'type':'number'},"
                                          "'x-kubernetes-list-type':'set'}");
        struct field_errors fe = { .a = a };

        assert_true(crd_validate_lists(&fe, NULL, s, parse(a, "{'l':[1,1.0]}")));
        assert_false(crd_validate_lists(&fe, NULL, s, parse(a, "{'l':[1,1.0,1.0]}")));
        crd_schema_release(s);
}

static void unknown_fields_are_told_in_order(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct crd_schema *s = compile(a, "'o':{'type':'object','x-kubernetes-embedded-resource':true},'b':{'type':"
                                          "'object'},'m':{'type':'object','additionalProperties':{'type':'object',"
                                          "'x-kubernetes-embedded-resource':true}}");
        struct json strict = json_new_array(), out;
        _cleanup_buf_ struct buf b = BUF_INIT;

        crd_prune(a, s,
                  parse(a, "{'z':1,'o':{'metadata':{'n':1},'y':1},'b':{'x':1},'metadata':{'m':1,'a':1},"
                           "'m':{'k':{'metadata':{'n':1},'y':1}}}"),
                  &strict, &out, NULL);
        json_each_item(it, &strict)
                buf_printf(&b, "%" STR_FMT "; ", STR_ARG(json_str(it)));
        buf_putc(&b, '\0');
        crd_schema_release(s);
        assert_string_equal(b.p, "unknown field \"metadata.a\"; unknown field \"metadata.m\"; unknown field \"b.x\"; "
                                 "unknown field \"m.k.y\"; unknown field \"o.y\"; unknown field \"z\"; "
                                 "unknown field \"m[k].metadata.n\"; unknown field \"o.metadata.n\"; ");
}

/* ---- definitions ---- */

#define BAD(more) "'a':{'type':'array','x-kubernetes-list-type':'set','items':{'type':'object'" more "}}"
#define DEAR \
        "'s':{'type':'array','maxItems':2000,'items':{'type':'integer'}," RULE("self.all(x, self.all(y, x == y))") "}"
#define TOLD "spec.validation.openAPIV3Schema.properties"

/* A definition that breaks a rule may go on breaking it; one that does not may not begin. */
static const struct {
        const char *old, *now, *errors;
} updates[] = {
        { BAD(""), BAD(",'description':'x'"), "" },
        { "'a':{'type':'string'}", BAD(""),
          TOLD "[a].items.x-kubernetes-map-type: Invalid value: \"null\": must be atomic as item of a list with "
               "x-kubernetes-list-type=set" },
        { DEAR, DEAR, "" },
        { "'s':{'type':'string'}", DEAR,
          TOLD "[s].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of "
               "2.0x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, "
               "maps, and strings are declared)" },
        { "'s':{'type':'text'}", "'s':{'type':'txt'}", "" },
};

static const struct json *make_definition(struct arena *a, const char *properties) {
        struct json *out = arena_new_of(a, struct json);
        struct str text = arena_printf(
                        a,
                        "{'metadata':{'name':'ws.a.b'},'spec':{'group':'a.b','scope':'Cluster','names':{'plural':'ws',"
                        "'singular':'w','kind':'W','listKind':'WList'},'versions':[{'name':'v1','served':true,'storage'"
                        ":"
                        "true,'schema':{'openAPIV3Schema':{'type':'object','properties':{%s}}}}]},'status':{"
                        "'storedVersions':['v1']}}",
                        properties);

        assert_int_equal(schema_decode(a, &type_CustomResourceDefinition, parse(a, text.p), NULL, out, NULL), 0);
        return out;
}

static void old_definitions_may_go_on(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(updates); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct field_errors fe = { .a = a };
                _cleanup_buf_ struct buf b = BUF_INIT;

                validate_crd(&fe, make_definition(a, updates[i].now), make_definition(a, updates[i].old));
                print(&b, &fe);
                assert_string_equal(b.p, updates[i].errors);
        }
}

/* ---- OpenAPI ---- */

#define CHOICE "[{'type':'integer'},{'type':'string'}]"

static const struct {
        const char *schema, *v2, *v3; /* v3 NULL: as written */
} published[] = {
        { "{'type':'string','nullable':true,'minLength':1}", "{'minLength':1}", NULL },
        { "{'type':'string','default':'x','allOf':[{'minLength':1}],'not':{'maxLength':3}}", "{'type':'string'}",
          NULL }, /* v2 tells no defaults at all */
        { "{'type':'object','nullable':true,'additionalProperties':{'type':'string'}}",
          "{'additionalProperties':{'type':'string'}}", NULL },
        { "{'type':'object','x-kubernetes-preserve-unknown-fields':true,'properties':{'a':{'type':'string'}}}",
          "{'x-kubernetes-preserve-unknown-fields':true}", NULL },
        { "{'type':'object','required':['a','b'],'properties':{'a':{'type':'string','nullable':true},'b':{'type':"
          "'string'}}}",
          "{'type':'object','required':['b'],'properties':{'a':{},'b':{'type':'string'}}}", NULL },
        { "{'type':'object','required':['a'],'additionalProperties':{'type':'string','nullable':true}}",
          "{'type':'object','additionalProperties':{}}", NULL },
        { "{'x-kubernetes-int-or-string':true}", "{'x-kubernetes-int-or-string':true}",
          "{'x-kubernetes-int-or-string':true,'anyOf':" CHOICE "}" },
        { "{'x-kubernetes-int-or-string':true,'anyOf':" CHOICE "}", "{'x-kubernetes-int-or-string':true}", NULL },
        { "{'x-kubernetes-int-or-string':true,'anyOf':[{'minimum':3}]}", "{'x-kubernetes-int-or-string':true}",
          "{'x-kubernetes-int-or-string':true,'anyOf':[{'minimum':3}],'allOf':[{'anyOf':" CHOICE "}]}" },
        { "{'type':'string','example':'y','externalDocs':{'url':'x'}}", "{'type':'string'}", "{'type':'string'}" },
};

static void openapi_v2_says_what_it_can(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(published); i++)
                for (int v3 = 0; v3 < 2; v3++) {
                        _cleanup_(arena_freep) struct arena *a = arena_new(0);
                        const char *want = !v3               ? published[i].v2
                                           : published[i].v3 ? published[i].v3
                                                             : published[i].schema;
                        struct str crd = arena_printf(a,
                                                      "{'metadata':{'name':'ws.a.b'},'spec':{'group':'a.b','scope':'"
                                                      "Cluster','versions':[{"
                                                      "'name':'v1','schema':{'openAPIV3Schema':{'type':'object','"
                                                      "properties':{'p':%s}}}}]}}",
                                                      published[i].schema);
                        _cleanup_(object_unrefp) struct object *o = object_from_tree(parse(a, crd.p));
                        struct custom *c = custom_new(o, 1);
                        struct json api = crd_openapi(a, &c->versions[0].schema->type, v3);
                        const struct json *got = json_at_path(&api, "properties", "p");
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        json_write(&b, got);
                        buf_putc(&b, '\0');
                        if (!json_equal(got, parse(a, want)))
                                fail_msg("%s: %s", published[i].schema, b.p);
                        api = crd_list_openapi(a, &c->versions[0].list, v3);
                        got = json_at_path(&api, "properties", "items", "items", "$ref");
                        assert_true(str_has_suffix(json_str(got), STR("/b.a.v1.")));
                        custom_unref(c);
                }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_was_wrong_before_is_let_pass),
                cmocka_unit_test(nulls_and_unknown_fields),
                cmocka_unit_test(items_that_are_no_objects_are_told_instead_of_twins),
                cmocka_unit_test(a_float_is_no_twin_of_an_integer),
                cmocka_unit_test(unknown_fields_are_told_in_order),
                cmocka_unit_test(old_definitions_may_go_on),
                cmocka_unit_test(openapi_v2_says_what_it_can),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
