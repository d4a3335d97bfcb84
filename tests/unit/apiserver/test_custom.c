/* Custom resources through the API: what the objects of a definition must be, and what becomes of both. */
#include "help.h"

#include "apiserver/extensions/custom.h"
#include "schema/openapi.h"

static const struct api_resource widgets = {
        .group = "example.com", .version = "v1", .plural = "widgets", .kind = "Widget", .namespaced = true
};
static const struct api_resource widgets_v2 = {
        .group = "example.com", .version = "v2", .plural = "widgets", .kind = "Widget", .namespaced = true
};

static void nap(void) {
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

static void await_condition(struct fixture *f, const char *name, const char *type, const char *status) {
        for (int i = 0; i < 2000; i++, nap()) {
                struct answer r = ASK(f, API_GET, &res_customresourcedefinitions, NULL, name);

                json_each_item(c, json_at_path(r.body, "status", "conditions"))
                        if (str_eqc(json_str(json_getc(c, "type")), type) &&
                            str_eqc(json_str(json_getc(c, "status")), status))
                                return;
        }
        fail_msg("%s never is %s", type, status);
}

static void define(struct fixture *f, const char *schema, const char *more) {
        struct answer r =
                        ASK(f, API_CREATE, &res_customresourcedefinitions, .body = widget_definition(f, schema, more));

        if (r.code != 201)
                fail_msg("%s", r.message);
        await_condition(f, "widgets.example.com", "Established", "True");
}

static void undefine_as(struct fixture *f, const char *name) {
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, name);
        for (int i = 0; i < 2000; i++, nap())
                if (ASK(f, API_GET, &res_customresourcedefinitions, NULL, name).code == 404)
                        return;
        fail_msg("the definition does not go");
}

static void undefine(struct fixture *f) {
        undefine_as(f, "widgets.example.com");
}

static struct answer create(struct fixture *f, const char *spec) {
        struct str s = arena_printf(f->a, "{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'},%s}",
                                    spec);

        return ASK(f, API_CREATE, &widgets, "default", .body = Q(s.p));
}

/* ---- values ---- */

static const struct {
        const char *schema, *value, *message; /* of spec.x; message NULL: it is fine */
} values[] = {
        { "'type':'string'", "1",
          "spec.x: Invalid value: \"integer\": spec.x in body must be of type string: \"integer\"" },
        { "'type':'integer'", "'a'",
          "spec.x: Invalid value: \"string\": spec.x in body must be of type integer: \"string\"" },
        { "'type':'integer'", "1.0", NULL },
        { "'type':'integer'", "1.5",
          "spec.x: Invalid value: \"number\": spec.x in body must be of type integer: \"number\"" },
        { "'type':'number'", "1", NULL },
        { "'type':'boolean'", "'yes'",
          "spec.x: Invalid value: \"string\": spec.x in body must be of type boolean: \"string\"" },
        { "'type':'object','properties':{'y':{'type':'string'}}", "[]",
          "spec.x: Invalid value: \"array\": spec.x in body must be of type object: \"array\"" },
        { "'type':'integer','minimum':2", "1",
          "spec.x: Invalid value: 1: spec.x in body should be greater than or equal to 2" },
        { "'type':'integer','minimum':2,'exclusiveMinimum':true", "2",
          "spec.x: Invalid value: 2: spec.x in body should be greater than 2" },
        { "'type':'integer','maximum':2", "3",
          "spec.x: Invalid value: 3: spec.x in body should be less than or equal to 2" },
        { "'type':'number','maximum':2.5,'exclusiveMaximum':true", "2.5",
          "spec.x: Invalid value: 2.5: spec.x in body should be less than 2.5" },
        { "'type':'integer','multipleOf':3", "4",
          "spec.x: Invalid value: 4: spec.x in body should be a multiple of 3" },
        { "'type':'integer','multipleOf':3", "6", NULL },
        { "'type':'string','maxLength':2", "'abc'", "spec.x: Too long: may not be more than 2 bytes" },
        { "'type':'string','maxLength':2", "'äö'", NULL },
        { "'type':'string','minLength':2", "'a'",
          "spec.x: Invalid value: \"a\": spec.x in body should be at least 2 chars long" },
        { "'type':'string','pattern':'^a+$'", "'b'",
          "spec.x: Invalid value: \"b\": spec.x in body should match '^a+$'" },
        { "'type':'string','enum':['a','b']", "'c'",
          "spec.x: Unsupported value: \"c\": supported values: \"a\", \"b\"" },
        { "'type':'integer','enum':[1,2]", "2", NULL },
        { "'type':'string','format':'date-time'", "'now'",
          "spec.x: Invalid value: \"now\": spec.x in body must be of type date-time: \"now\"" },
        { "'type':'string','format':'date-time'", "'2024-01-02T03:04:05Z'", NULL },
        { "'type':'string','format':'ipv4'", "'1.2.3.256'",
          "spec.x: Invalid value: \"1.2.3.256\": spec.x in body must be of type ipv4: \"1.2.3.256\"" },
        { "'type':'string','format':'uuid'", "'9d476e18-0283-472f-bdc1-8ecd9d4a5f33'", NULL },
        { "'type':'string','format':'email'", "'nobody'",
          "spec.x: Invalid value: \"nobody\": spec.x in body must be of type email: \"nobody\"" },
        { "'type':'string','format':'no-such'", "'x'", NULL },
        { "'type':'array','items':{'type':'string'},'minItems':1", "[]",
          "spec.x: Invalid value: 0: spec.x in body should have at least 1 items" },
        { "'type':'array','items':{'type':'string'},'maxItems':1", "['a','b']",
          "spec.x: Too many: 2: must have at most 1 items" },
        { "'type':'array','items':{'type':'string'}", "['a',1]",
          "spec.x[1]: Invalid value: \"integer\": spec.x[1] in body must be of type string: \"integer\"" },
        { "'type':'array','x-kubernetes-list-type':'set','items':{'type':'string'}", "['a','b','a']",
          "spec.x[2]: Duplicate value: \"a\"" },
        { "'type':'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'type':'object',"
          "'required':['k'],'properties':{'k':{'type':'string'}}}",
          "[{'k':'a'},{'k':'a'}]", "spec.x[1]: Duplicate value: map[string]interface {}{\"k\":\"a\"}" },
        { "'type':'object','additionalProperties':{'type':'integer'}", "{'a.b/c':'1'}",
          "spec.x.a.b/c: Invalid value: \"string\": spec.x.a.b/c in body must be of type integer: \"string\"" },
        { "'type':'object','additionalProperties':{'type':'integer'},'maxProperties':1", "{'a':'1','b':2}",
          "[spec.x: Too many: 2: must have at most 1 items, spec.x.a: Invalid value: \"string\": spec.x.a in body must "
          "be of type integer: \"string\"]" },
        { "'type':'object','additionalProperties':{'type':'integer'},'minProperties':1", "{}",
          "spec.x: Invalid value: 0: spec.x in body should have at least 1 properties" },
        { "'type':'object','required':['y'],'properties':{'y':{'type':'string'}}", "{}", "spec.x.y: Required value" },
        { "'x-kubernetes-int-or-string':true", "'a'", NULL },
        { "'x-kubernetes-int-or-string':true", "1", NULL },
        { "'x-kubernetes-int-or-string':true", "true",
          "spec.x: Invalid value: \"boolean\": spec.x in body must be of type integer,string: \"boolean\"" },
        { "'type':'string','nullable':true", "null", NULL },
        { "'type':'integer','not':{'enum':[3]}", "3",
          "<nil>: Invalid value: \"\": \"spec.x\" must not validate the schema (not)" },
        { "'type':'integer','anyOf':[{'minimum':5},{'maximum':1}]", "3",
          "[<nil>: Invalid value: \"\": \"spec.x\" must validate at least one schema (anyOf), spec.x: Invalid value: "
          "3: "
          "spec.x in body should be greater than or equal to 5]" },
        { "'type':'integer','oneOf':[{'minimum':1},{'maximum':5}]", "3",
          "<nil>: Invalid value: \"\": \"spec.x\" must validate one and only one schema (oneOf). Found 2 valid "
          "alternatives" },
        { "'type':'integer','allOf':[{'minimum':5},{'maximum':9}]", "3",
          "[spec.x: Invalid value: 3: spec.x in body should be greater than or equal to 5, <nil>: Invalid value: \"\": "
          "\"spec.x\" must validate all the schemas (allOf)]" },
        { "'type':'object','x-kubernetes-embedded-resource':true,'x-kubernetes-preserve-unknown-fields':true",
          "{'kind':'Pod'}", "spec.x.apiVersion: Required value: must not be empty" },
        { "'type':'object','x-kubernetes-embedded-resource':true,'x-kubernetes-preserve-unknown-fields':true",
          "{'kind':'p d','apiVersion':'a/b/c','metadata':{'name':'a/b'}}",
          "[spec.x.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c, spec.x.kind: Invalid "
          "value: \"p d\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower "
          "case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric "
          "character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?'), "
          "spec.x.metadata.name: Invalid value: \"a/b\": may not contain '/']" },
};

/* One definition has them all: spec.c0, spec.c1 … */
static void every_keyword_is_checked(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_addc(&b, "{'type':'object','properties':{'spec':{'type':'object','properties':{");
        for (size_t i = 0; i < ARRAY_SIZE(values); i++)
                buf_printf(&b, "%s'c%zu':{'type':'object','properties':{'x':{%s}}}", i ? "," : "", i, values[i].schema);
        buf_addc(&b, "}},'status':{'type':'object','additionalProperties':{'type':'integer'}}}}");
        buf_putc(&b, '\0');
        define(f, b.p, ",'subresources':{'status':{}}");
        create(f, "'spec':{}");
        check_invalid(ASK(f, API_PATCH, &widgets, "default", "w", "status", .patch = API_PATCH_MERGE,
                          .body = Q("{'status':{'a':'x'}}")),
                      "Widget.example.com \"w\"",
                      "status.a: Invalid value: \"string\": .a in body must be of type integer: \"string\"");
        ASK(f, API_DELETE, &widgets, "default", "w");
        for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
                struct str spec = arena_printf(f->a, "'spec':{'c%zu':{'x':%s}}", i, values[i].value);
                struct str path = arena_printf(f->a, "spec.c%zu.x", i);
                struct answer r = create(f, spec.p);
                _cleanup_buf_ struct buf want = BUF_INIT;
                const char *rest = values[i].message, *at;

                if (!rest) {
                        if (r.code != 201)
                                fail_msg("%s %s: %s", values[i].schema, values[i].value, r.message);
                        ASK(f, API_DELETE, &widgets, "default", "w");
                        continue;
                }
                for (; (at = strstr(rest, "spec.x")); rest = at + 6) {
                        buf_add(&want, rest, (size_t) (at - rest));
                        buf_add_str(&want, path);
                }
                buf_printf(&want, "%s%c", rest, '\0');
                check_invalid(r, "Widget.example.com \"w\"", want.p);
        }
        undefine(f);
}

/* ---- objects in objects ---- */

#define EMBEDS                                                                                                     \
        "{'type':'object','properties':{'e':{'type':'object','x-kubernetes-embedded-resource':true,'properties':{" \
        "'metadata':{'type':'object','properties':{'name':{'type':'string','default':'n'},'odd':{'type':'string'," \
        "'default':'x'}}}}},'color':{'type':'string'}}}"

static void embedded_objects_have_metadata(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, EMBEDS, "");
        r = create(f, "'e':{'apiVersion':'v1','kind':'Pod','metadata':{'more':1}}");
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".e"), "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"n\"}}");
        r = create(f, "'e':{'apiVersion':'v1','kind':'Pod','metadata':{'namespace':42}}");
        assert_int_equal(r.code, 400);
        assert_string_equal(r.message,
                            "Widget in version \"v1\" cannot be handled as a Widget: e.metadata: Invalid value: "
                            "map[string]interface {}{\"namespace\":42}: json: cannot unmarshal number into Go "
                            "struct field ObjectMeta.namespace of type string");
        r = ASK(f, API_CREATE, &widgets, "default",
                .body = Q("{'apiVersion':'example.com/v1','kind':'Other','metadata':{'name':'%'}}"));
        check_invalid(r, "Other.example.com \"%\"", "kind: Invalid value: \"Other\": must be Widget");
        undefine(f);
}

static void openapi_says_what_is_selectable_and_embedded(void **state) {
        struct fixture *f = *state;
        struct json *doc;
        struct object *o;
        struct custom *c;

        assert_int_equal(json_parse(f->a,
                                    str_of(widget_definition(f, EMBEDS, ",'selectableFields':[{'jsonPath':'.color'}]")),
                                    NULL, &doc, NULL),
                         0);
        o = object_from_tree(doc);
        c = custom_new(o, 1);
        for (int v3 = 0; v3 < 2; v3++) {
                struct json api = crd_openapi(f->a, &c->versions[0].schema->type, v3);
                _cleanup_buf_ struct buf b = BUF_INIT;

                json_write(&b, &api);
                assert_true(str_search(buf_str(&b),
                                       STR("\"x-kubernetes-selectable-fields\":[{\"fieldPath\":\"color\"}]")) > 0);
                assert_true(str_search(buf_str(&b), STR("\"required\":[\"kind\",\"apiVersion\"]")) > 0);
        }
        custom_unref(c);
        object_unref(o);
}

/* ---- life ---- */

#define PLAIN                                                                                                       \
        "{'type':'object','properties':{'spec':{'type':'object','properties':{'a':{'type':'string','default':'x'}," \
        "'n':{'type':'integer','maximum':5},'any':{'type':'object','x-kubernetes-preserve-unknown-fields':true}}}," \
        "'status':{'type':'object','properties':{'n':{'type':'integer'}}}}}"

static void unknown_fields_go_and_defaults_come(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, PLAIN, ",'subresources':{'status':{}}");
        r = create(f, "'spec':{'b':1,'any':{'deep':{'er':true}}},'status':{'n':1},'more':1");
        assert_int_equal(r.code, 201);
        assert_string_equal(at(f, r, ".spec"), "{\"a\":\"x\",\"any\":{\"deep\":{\"er\":true}}}");
        assert_string_equal(at(f, r, ".status"), "(absent)");
        assert_string_equal(at(f, r, ".more"), "(absent)");
        assert_string_equal(at(f, r, ".metadata.generation"), "1");

        r = ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'n':2}}"), .patch = API_PATCH_MERGE);
        assert_string_equal(at(f, r, ".metadata.generation"), "2");
        r = ASK(f, API_PATCH, &widgets, "default", "w", "status", .patch = API_PATCH_MERGE,
                .body = Q("{'status':{'n':3},'spec':{'n':4},'metadata':{'labels':{'a':'b'}}}"));
        assert_string_equal(at(f, r, ".status.n"), "3");
        assert_string_equal(at(f, r, ".spec.n"), "2");
        assert_string_equal(at(f, r, ".metadata.labels"), "(absent)");
        assert_string_equal(at(f, r, ".metadata.generation"), "2");
        /* 2.0 is a float in what is compared, what is stored of it is none */
        for (int i = 0; i < 2; i++)
                r = ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'any':{'x':2.0}}}"),
                        .patch = API_PATCH_MERGE);
        assert_string_equal(at(f, r, ".metadata.generation"), "4");
        r = ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'any':{'x':2}}}"),
                .patch = API_PATCH_MERGE);
        assert_string_equal(at(f, r, ".metadata.generation"), "4");
        r = ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'n':2}}"), .patch = API_PATCH_STRATEGIC);
        assert_int_equal(r.code, 415);
        undefine(f);
}

static void what_a_patch_makes_of_an_object_is_validated(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, PLAIN, ",'subresources':{'status':{}}");
        assert_int_equal(create(f, "'spec':{'n':3}").code, 201);
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'kind':'X'}"));
        check_invalid(r, "X.example.com \"w\"", "kind: Invalid value: \"X\": must be Widget");
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'apiVersion':'a/v2'}"));
        check_invalid(r, "Widget.a \"w\"", "apiVersion: Invalid value: \"a/v2\": must be example.com/v1");
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'apiVersion':''}"));
        assert_int_equal(r.code, 500);
        r = ASK(f, API_PATCH, &widgets, "default", "w", "status", .patch = API_PATCH_MERGE, .body = Q("{'kind':'X'}"));
        assert_int_equal(r.code, 200);
        assert_string_equal(at(f, r, ".kind"), "Widget");
        undefine(f);
}

/* What was wrong before and has not changed does not stand in the way: KEP-4008. */
static void old_mistakes_may_stay(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, PLAIN, "");
        assert_int_equal(create(f, "'spec':{'n':3}").code, 201);
        r = ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com", .patch = API_PATCH_JSON,
                .body = Q("[{'op':'replace','path':'/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/"
                          "n/"
                          "maximum','value':1}]"));
        assert_int_equal(r.code, 200);
        for (int i = 0; i < 1000; i++, nap()) /* until it is in force */
                if (ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'spec':{'n':2}}"),
                        .options = { .dry_run = true })
                                    .code == 422)
                        break;
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'spec':{'a':'y'}}"));
        assert_int_equal(r.code, 200);
        assert_int_equal(r.n_warnings, 0); /* only rules warn */
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'spec':{'n':2}}"));
        check_invalid(r, "Widget.example.com \"w\"",
                      "spec.n: Invalid value: 2: spec.n in body should be less than or equal to 1");
        undefine(f);
}

/* A rule that what is there has broken all along warns, until that is changed. */
static void old_faults_warn(void **state) {
        struct fixture *f = *state;
        struct answer r = { 0 };

        define(f, PLAIN, "");
        assert_int_equal(create(f, "'spec':{'n':3}").code, 201);
        r = ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com", .patch = API_PATCH_JSON,
                .body = Q("[{'op':'add','path':'/spec/versions/0/schema/openAPIV3Schema/properties/spec/"
                          "x-kubernetes-validations','value':[{'rule':'self.n > 4'}]}]"));
        assert_int_equal(r.code, 200);
        for (int i = 0; i < 1000 && r.n_warnings == 0; i++, nap()) { /* until it is in force */
                r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE,
                        .body = Q("{'metadata':{'labels':{'a':'b'}}}"));
                assert_int_equal(r.code, 200);
        }
        assert_true(str_eqc(r.warning, "spec: Invalid value: \"object\": failed rule: self.n > 4"));
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'spec':{'n':2}}"));
        check_invalid(r, "Widget.example.com \"w\"", "spec: Invalid value: \"object\": failed rule: self.n > 4");
        undefine(f);
}

/* A default that came later is there when an old object is read. */
static void a_status_may_have_a_default(void **state) {
        struct fixture *f = *state;

        define(f,
               "{'type':'object','properties':{'status':{'type':'object','default':{'seen':-1},'properties':{'seen':"
               "{'type':'integer'}}}}}",
               ",'subresources':{'status':{}}");
        check(create(f, "'status':{'seen':5}"), 201, ".status", "{\"seen\":-1}");
        /* Of a write that is of wrong types nobody can say what it owns, though what is wrong does not get through. */
        check(ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = Q("{'status':['x']}")), 200,
              ".metadata.managedFields", "(absent)");
        check(ASK(f, API_GET, &widgets, "default", "w"), 200, ".status", "{\"seen\":-1}");
        undefine(f);
}

static void reading_fills_in_defaults(void **state) {
        struct fixture *f = *state;

        define(f, "{'type':'object','properties':{'spec':{'type':'object','properties':{'b':{'type':'string'}}}}}", "");
        assert_int_equal(create(f, "'spec':{'b':'1'}").code, 201);
        assert_int_equal(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                             .patch = API_PATCH_JSON,
                             .body = Q("[{'op':'replace','path':'/spec/versions/0/schema/openAPIV3Schema/properties/"
                                       "spec/"
                                       "properties','value':{'c':{'type':'integer','default':7}}}]"))
                                         .code,
                         200);
        for (int i = 0; i < 1000; i++, nap()) {
                struct answer r = ASK(f, API_GET, &widgets, "default", "w");

                if (strcmp(at(f, r, ".spec"), "{\"c\":7}") == 0)
                        break;
                assert_true(i < 999);
        }
        undefine(f);
}

#define VERSION(fields) "{'type':'object','properties':{'spec':{'type':'object','properties':{" fields "}}}}"

/* Defaults are those of the version that is kept, and of the one that was written; fields are those that both know. */
static void other_versions_have_the_defaults_of_the_one_that_is_kept(void **state) {
        struct fixture *f = *state;

        define(f, VERSION("'a':{'type':'string','default':'A'},'b':{'type':'string'},'c':{'type':'string'}"),
               "},{'name':'v2','served':true,'storage':false,'schema':{'openAPIV3Schema':" VERSION(
                               "'a':{'type':'string'},'b':{'type':'string','default':'B'},'d':{'type':'string'}") "}");
        check(ASK(f, API_CREATE, &widgets_v2, "default",
                  .body = Q("{'apiVersion':'example.com/v2','kind':'Widget','metadata':{'name':'w'},"
                            "'spec':{'d':'lost'}}")),
              201, ".spec", "{\"a\":\"A\",\"b\":\"B\"}");
        check(ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'b':null,'c':'C'}}"),
                  .patch = API_PATCH_MERGE),
              200, ".spec", "{\"a\":\"A\",\"c\":\"C\"}");
        struct answer lacking = ASK(f, API_GET, &widgets_v2, "default", "w");
        check(lacking, 200, ".spec", "{\"a\":\"A\"}");
        check(ASK(f, API_PATCH, &widgets_v2, "default", "w", .patch = API_PATCH_APPLY,
                  .options.field_manager = STR("m"),
                  .body = Q("{'apiVersion':'example.com/v2','kind':'Widget','spec':{}}")),
              200, ".metadata.generation", at(f, lacking, ".metadata.generation"));
        ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com", .patch = API_PATCH_JSON,
            .body = Q("[{'op':'add','path':'/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/b/"
                      "default',"
                      "'value':'Z'},{'op':'add','path':'/spec/versions/1/schema/openAPIV3Schema/properties/spec/"
                      "properties/d/default','value':'D'}]"));
        for (int i = 0; i < 1000; i++, nap()) {
                struct answer r = ASK(f, API_GET, &widgets_v2, "default", "w");

                if (strcmp(at(f, r, ".spec"), "{\"a\":\"A\",\"b\":\"Z\"}") == 0)
                        break;
                assert_true(i < 999);
        }
        undefine(f);
        for (int i = 0; ASK(f, API_LIST, &widgets, "default").code != 404; i++, nap())
                assert_true(i < 1000);
}

/* A write through a version is one where that changes what is stored, and only there. */
static void what_a_version_does_not_know_goes_with_the_next_write(void **state) {
        struct fixture *f = *state;
        static const struct {
                enum api_verb verb;
                const struct api_resource *as;
                const char *subresource, *body;
                bool writes;
                const char *spec;
        } steps[] = {
                { API_PATCH, &widgets_v2, "status", "{'status':{'s':'x'}}", true, "{\"a\":\"A\"}" },
                { API_PATCH, &widgets_v2, "status", "{'status':{'s':'x'}}", false, "{\"a\":\"A\"}" },
                { API_PATCH, &widgets, "", "{'spec':{'b':5}}", true, "{\"a\":\"A\",\"b\":5}" },
                { API_DELETE, &widgets, "", NULL, true, "{\"a\":\"A\",\"b\":5}" },
                { API_DELETE, &widgets, "", NULL, false, "{\"a\":\"A\",\"b\":5}" },
                { API_DELETE, &widgets_v2, "", NULL, true, "{\"a\":\"A\"}" },
                { API_DELETE, &widgets_v2, "", NULL, false, "{\"a\":\"A\"}" },
                { API_GET, &widgets, "", NULL, false, "{\"a\":\"A\"}" },
                { API_PATCH, &widgets_v2, "", "{'metadata':{'finalizers':null}}", false,
                  "{\"a\":\"A\",\"c\":\"C\"}" }, /* is gone as it was made */
        };

#define STATUS "'subresources':{'status':{}}"
#define TYPE(fields)                                                                                         \
        "{'type':'object','properties':{'spec':{'type':'object','properties':{'a':{'type':'string'}," fields \
        "}},'status':{'type':'object','properties':{'s':{'type':'string'}"
        define(f, TYPE("'b':{'type':'integer'}") "}}}}",
               "," STATUS "},{'name':'v2','served':true,'storage':false," STATUS
               ",'schema':{'openAPIV3Schema':" TYPE("'c':{'type':'string','default':'C'}") ",'t':{'type':'integer',"
                                                                                           "'default':1}}}}}}");
        struct answer r = ASK(f, API_CREATE, &widgets, "default",
                              .body = Q("{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w',"
                                        "'finalizers':['a.b/c']},'spec':{'a':'A','b':4}}"));
        for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
                const char *before = at(f, r, ".metadata.resourceVersion");

                r = ASK(f, steps[i].verb, steps[i].as, "default", "w", steps[i].subresource,
                        .body = steps[i].body ? Q(steps[i].body) : NULL, .patch = API_PATCH_MERGE);
                if (r.code != 200 || strcmp(at(f, r, ".spec"), steps[i].spec) != 0 ||
                    (strcmp(at(f, r, ".metadata.resourceVersion"), before) != 0) != steps[i].writes)
                        fail_msg("%zu: %d %s", i, r.code, at(f, r, "."));
        }
        undefine(f);
        for (int i = 0; ASK(f, API_LIST, &widgets, "default").code != 404; i++, nap())
                assert_true(i < 1000);
}

static void versions_are_views_of_one_object(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, PLAIN,
               ",'deprecated':true},{'name':'v2','served':true,'storage':false,'schema':{'openAPIV3Schema':" PLAIN "}");
        r = create(f, "'spec':{'n':3}");
        assert_int_equal(r.code, 201);
        assert_true(str_eqc(r.warning, "example.com/v1 Widget is deprecated; use example.com/v2 Widget"));
        r = ASK(f, API_GET, &widgets_v2, "default", "w");
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".spec.n"), "3");
        r = ASK(f, API_PATCH, &widgets_v2, "default", "w", .body = Q("{'spec':{'n':4}}"), .patch = API_PATCH_MERGE);
        assert_string_equal(at(f, r, ".apiVersion"), "example.com/v2");
        r = ASK(f, API_LIST, &widgets, "default");
        assert_string_equal(at(f, r, ".items[0].apiVersion"), "example.com/v1");
        assert_string_equal(at(f, r, ".items[0].spec.n"), "4");
        undefine(f);
        for (int i = 0; ASK(f, API_LIST, &widgets, "default").code != 404; i++, nap())
                assert_true(i < 1000);
}

/* A definition that somebody else keeps says that its objects are gone, and why. */
static void what_is_kept_says_that_its_objects_are_gone(void **state) {
        struct fixture *f = *state;
        const char *name = "gadgets.example.com";
        static const struct {
                const char *names, *accepted, *reason;
        } rows[] = {
                { "", "True", "InstanceDeletionCompleted" },
                { ",'listKind':'WidgetList'", "False", "NeverEstablished" },
        };

        define(f, PLAIN, "");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct str body = arena_printf(
                                f->a,
                                "{'metadata':{'name':'%s','finalizers':['a.b/c']},'spec':{"
                                "'group':'example.com','scope':"
                                "'Cluster','names':{'plural':'gadgets','kind':'G'%s},'versions':[{'name':'v1','served':"
                                "true,'storage':true,'schema':{'openAPIV3Schema':{'type':'object'}}}]}}",
                                name, rows[i].names);
                struct answer r = ASK(f, API_CREATE, &res_customresourcedefinitions, .body = Q(body.p));

                assert_int_equal(r.code, 201);
                await_condition(f, name, "Established", rows[i].accepted);
                ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, name);
                await_condition(f, name, "Terminating", "False");
                r = ASK(f, API_GET, &res_customresourcedefinitions, NULL, name);
                assert_string_equal(at(f, r, ".metadata.finalizers"), "[\"a.b/c\"]");
                assert_true(str_eqc(json_str(json_getc(condition_find(json_getc(r.body, "status"), "Terminating"),
                                                       "reason")),
                                    rows[i].reason));
                assert_int_equal(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, name, .patch = API_PATCH_MERGE,
                                     .body = Q("{'metadata':{'finalizers':null}}"))
                                                 .code,
                                 200);
        }
        undefine(f);
}

static void taken_names_are_refused(void **state) {
        struct fixture *f = *state;
        struct answer r;
        char *other = Q("{'metadata':{'name':'gadgets.example.com'},'spec':{'group':'example.com','scope':'Cluster','"
                        "names':{"
                        "'plural':'gadgets','shortNames':['widget','widgets','g'],'kind':'G','listKind':'WidgetList'},'"
                        "versions':[{'name':'v9','served':true,'storage':true,'"
                        "schema':"
                        "{'openAPIV3Schema':{'type':'object'}}}]}}");

        define(f, PLAIN, "");
        assert_int_equal(ASK(f, API_CREATE, &res_customresourcedefinitions, .body = other).code, 201);
        await_condition(f, "gadgets.example.com", "NamesAccepted", "False");
        r = ASK(f, API_GET, &res_customresourcedefinitions, NULL, "gadgets.example.com");
        assert_string_equal(at(f, r, ".status.conditions[0].reason"), "ListKindConflict"); /* the last */
        assert_string_equal(at(f, r, ".status.acceptedNames"),
                            "{\"plural\":\"gadgets\",\"singular\":\"g\",\"kind\":\"G\"}");
        for (int i = 0; ASK(f, API_GET, &res_apiservices, NULL, "v9.example.com").code != 200; i++, nap())
                assert_true(i < 1000);         /* it has a service all the same */
        struct catalog *c = catalog_get(f->s); /* and is one of its group's versions, which serves nothing */
        assert_null(catalog_find(c, STR("example.com"), STR("v9")));
        assert_string_equal(c->listed[c->n_served - 1]->version, "v9");
        assert_string_equal(c->listed[c->n_listed - 1]->version, "v1");
        catalog_unref(c);
        undefine(f);
        await_condition(f, "gadgets.example.com", "NamesAccepted",
                        "False"); /* those are free now, but one is its own */
        for (int i = 0;; i++, nap()) {
                r = ASK(f, API_GET, &res_customresourcedefinitions, NULL, "gadgets.example.com");
                if (strcmp(at(f, r, ".status.conditions[0].message"), "\"g\" is already in use") == 0)
                        break;
                assert_true(i < 1000);
        }
        ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "gadgets.example.com", .patch = API_PATCH_MERGE,
            .body = Q("{'spec':{'names':{'shortNames':['widget','widgets']}}}"));
        await_condition(f, "gadgets.example.com", "Established", "True");
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "gadgets.example.com");
}

static void apply_scale(struct fixture *f, const char *replicas, int code, const char *message) {
        struct answer r = ASK(f, API_PATCH, &widgets, "default", "w", "scale", .patch = API_PATCH_APPLY,
                              .options.field_manager = STR("other"),
                              .body = Q(arena_printf(f->a,
                                                     "{'apiVersion':'autoscaling/v1','kind':'Scale','metadata':"
                                                     "{'name':'w'},'spec':{'replicas':%s}}",
                                                     replicas)
                                                        .p));

        check_code(r, code);
        if (message)
                check_error(r, code, message);
}

static struct answer apply_new(struct fixture *f, const char *meta) {
        return ASK(f, API_PATCH, &widgets, "default", "new", .patch = API_PATCH_APPLY, .options.dry_run = true,
                   .options.field_manager = STR("me"),
                   .body = Q(arena_printf(f->a,
                                          "{'apiVersion':'example.com/"
                                          "v1','kind':'Widget','metadata':{'name':'new',%s}}",
                                          meta)
                                             .p));
}

static void apply_drops_metadata_that_is_none(void **state) {
        struct fixture *f = *state;

        define(f, "{'type':'object'}", "");
        check(apply_new(f, "'creationTimestamp':'x'"), 201, ".metadata.name", "new");
        check(apply_new(f, "'generation':1.5,'deletionTimestamp':'x'"), 201, ".metadata.deletionTimestamp", "(absent)");
        check_code(apply_new(f, "'labels':{'a':1}"), 500);
        check_error(apply_new(f, "'resourceVersion':'x'"), 500, "strconv.ParseUint: parsing \"x\": invalid syntax");
        undefine(f);
}

/* Upstream makes these anew each time it looks at them, and so prints other pointers. */
static void owners_with_pointers_are_told_again_and_again(void **state) {
#define OWNER(uid) "{'apiVersion':'v1','kind':'K','name':'n','uid':'" uid "','controller':true}"
        struct fixture *f = *state;
        struct answer r;

        define(f, "{'type':'object'}", "");
        check_code(create(f, "'spec':{}"), 201);
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE,
                .body = Q("{'metadata':{'ownerReferences':[" OWNER("1") "," OWNER("2") "]}}"));
        check_code(r, 422);
        r.message = strstr(r.message, "is invalid: [metadata.ownerReferences: ");
        assert_non_null(r.message);
        assert_non_null(strstr(r.message + 20, ", metadata.ownerReferences: "));
        undefine(f);
}

static void scale_is_where_the_definition_says(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f,
               "{'type':'object','properties':{'spec':{'type':'object','x-kubernetes-preserve-unknown-fields':true,"
               "'properties':{'m':{'type':'array','items':{'type':'string','nullable':true}}}},'status':{'type':'"
               "object'}}}",
               ",'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.n','statusReplicasPath':"
               "'.status.n','labelSelectorPath':'.spec.l.a'}}");
        check_invalid(create(f, "'spec':{'n':{'b':[1e20,'x']},'l':'y'}"), "Widget.example.com \"w\"",
                      "[.spec.n: Invalid value: 0: .spec.n accessor error: map[b:[1e+20 x]] is of the type "
                      "map[string]interface "
                      "{}, expected int64, .spec.l.a: Invalid value: \"\": .spec.l.a accessor error: y is of the type "
                      "string, expected map[string]interface{}]");
        r = ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_APPLY, .options.field_manager = STR("me"),
                .body = Q("{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'},"
                          "'spec':{'n':3,'m':[null,'']}}"));
        check_code(r, 201);
        assert_string_equal(at(f, r, ".spec"), "{\"m\":[null,\"\"],\"n\":3}");
        check_code(ASK(f, API_CREATE, &widgets, "default",
                       .body = Q("{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'none'}}")),
                   201);
        check_error(ASK(f, API_PATCH, &widgets, "default", "none", "scale", .patch = API_PATCH_MERGE,
                        .body = Q("{'metadata':{'labels':null}}")),
                    400, "the spec replicas field \".spec.n\" cannot be empty");
        check_code(ASK(f, API_PATCH, &widgets, "default", "none", "scale", .patch = API_PATCH_JSON,
                       .body = Q("[{'op':'replace','path':'/spec/replicas','value':2}]")),
                   200);
        check_error(ASK(f, API_DELETE, &widgets, "default", "w", "scale"), 405,
                    "delete is not supported on resources of kind \"widgets.example.com\"");
        check_error(ASK(f, API_GET, &widgets, "default", "w", "finalize"), 404, "widgets.example.com \"w\" not found");
        r = ASK(f, API_GET, &widgets, "default", "w", "scale");
        assert_string_equal(at(f, r, ".spec.replicas"), "3");
        r = ASK(f, API_PATCH, &widgets, "default", "w", "scale", .body = Q("{'spec':{'replicas':5}}"),
                .patch = API_PATCH_MERGE);
        assert_int_equal(r.code, 200);
        r = ASK(f, API_GET, &widgets, "default", "w");
        assert_string_equal(at(f, r, ".spec.n"), "5");
        assert_string_equal(at(f, r, ".metadata.generation"), "2");
        /* It need not say of which version it is; the object is looked at as a whole then. */
        check(ASK(f, API_UPDATE, &widgets, "default", "w", "scale",
                  .body = Q("{'metadata':{'name':'w'},'spec':{'replicas':6}}")),
              200, ".spec.replicas", "6");
        check_invalid(ASK(f, API_PATCH, &widgets, "default", "w", "scale", .body = Q("{'spec':{'replicas':-1}}"),
                          .patch = API_PATCH_MERGE),
                      "Widget.example.com \"w\"", ".spec.n: Invalid value: -1: should be a non-negative integer");
        r = ASK(f, API_PATCH, &widgets, "default", "w", "status", .patch = API_PATCH_MERGE,
                .body = Q("{'kind':'Other','status':{}}"), .options.dry_run = true);
        check(r, 200, ".kind", "Widget"); /* the patch made something whose owners nobody can tell */
        assert_string_equal(at(f, r, ".metadata.managedFields"), "(absent)");
        apply_scale(f, "6", 200, NULL); /* who wants what there is owns it */
        apply_scale(f, "7", 409, NULL);
        apply_scale(f, "'x'", 500,
                    "failed to create typed patch object (/w; autoscaling/v1, Kind=Scale): "
                    ".spec.replicas: expected numeric (int or float), got string");
        ASK(f, API_PATCH, &widgets, "default", "w", .body = Q("{'spec':{'n':null}}"), .patch = API_PATCH_MERGE);
        apply_scale(f, "6", 500,
                    "failed to create manager for existing fields: failed to convert live object (/; "
                    "autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid "
                    "group/version: autoscaling/v1");
        undefine(f);
}

/* Their paths promise less than those of built-in resources: no protobuf, no PATCH that creates. */
static void openapi_says_what_custom_resources_take(void **state) {
        static const char *const has[] = {
                "\"title\":\"Kubernetes CRD Swagger\",\"version\":\"v0.1.0\"",
                "\"requestBody\":{\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/"
                "com.example.v1.Widget\"}},\"application/yaml\":",
                "\"x-kubernetes-action\":\"deletecollection\",\"x-kubernetes-group-version-kind\":{\"group\":\"example."
                "com\"",
                "\"x-kubernetes-group-version-kind\":{\"group\":\"example.com\",\"kind\":\"Widget\",\"version\":"
                "\"v1\"}",
        };
        struct fixture *f = *state;
        struct catalog *c;
        _cleanup_buf_ struct buf b = BUF_INIT;

        define(f, PLAIN,
               ",'subresources':{'status':{},'scale':{'specReplicasPath':'.spec.n','statusReplicasPath':'.status.n'}}");
        c = catalog_get(f->s);
        assert_true(openapi_v3(&b, STR("apis/example.com/v1"), c->served, c->n_served, NULL));
        catalog_unref(c);
        for (size_t i = 0; i < ARRAY_SIZE(has); i++)
                if (str_search(buf_str(&b), str_of(has[i])) < 0)
                        fail_msg("no %s in %.*s", has[i], (int) b.n, b.p);
        assert_true(str_search(buf_str(&b), STR("vnd.kubernetes.protobuf")) < 0);
        assert_true(str_search(buf_str(&b), STR("\"kind\":\"DeleteOptions\",\"version\":\"v1\"")) > 0);
        assert_true(str_search(buf_str(&b), STR("admission.k8s.io")) < 0);
        assert_true(str_search(buf_str(&b), STR("-kind\":{\"group\":\"autoscaling\"")) < 0);
        undefine(f);
}

static void deletion_removes_the_objects(void **state) {
        struct fixture *f = *state;

        struct answer r;

        define(f, PLAIN, "");
        assert_int_equal(create(f, "'spec':{}").code, 201);
        r = ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com", "status",
                .patch = API_PATCH_MERGE,
                .body = Q("{'metadata':{'labels':{'a':'b'}},'status':{'storedVersions':[]}}"));
        check(r, 200, ".status.storedVersions", "[\"v1\"]");
        assert_string_equal(at(f, r, ".metadata.labels.a"), "b");
        assert_non_null(strstr(at(f, r, ".metadata.managedFields"), "\"manager\":\"kube-apiserver\""));
        r = ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "widgets.example.com");
        check(r, 200, ".status.conditions[2].reason", "InstanceDeletionPending");
        assert_string_equal(at(f, r, ".metadata.generation"), "1");
        assert_string_equal(at(f, r, ".metadata.deletionGracePeriodSeconds"), "(absent)");
        undefine(f);
        define(f, PLAIN, "");
        assert_int_equal(ASK(f, API_GET, &widgets, "default", "w").code, 404);
        undefine(f);
}

/* A definition called as built-in resources are has none of their objects. */
static void built_in_objects_outlive_a_definition(void **state) {
        static const char *const names[] = { "leases.coordination.k8s.io",
                                             "customresourcedefinitions.apiextensions.k8s.io" };
        struct fixture *f = *state;

        define(f, PLAIN, "");
        assert_int_equal(ASK(f, API_CREATE, &res_leases, "default", .body = Q("{'metadata':{'name':'l'}}")).code, 201);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct str group = str_of(names[i]), plural = STR("");
                struct answer r;

                str_split(&group, '.', &plural);
                r = ASK(f, API_CREATE, &res_customresourcedefinitions,
                        .body = Q(arena_printf(f->a,
                                               "{'metadata':{'name':'%s','annotations':{'api-approved.kubernetes.io':"
                                               "'unapproved'}},'spec':{'group':'%" STR_FMT "','scope':'Cluster',"
                                               "'names':{'plural':'%" STR_FMT "','kind':'Other'},'versions':[{'name':"
                                               "'v7','served':true,'storage':true,'schema':{'openAPIV3Schema':"
                                               "{'type':'object'}}}]}}",
                                               names[i], STR_ARG(group), STR_ARG(plural))
                                                  .p));
                assert_int_equal(r.code, 201);
                await_condition(f, names[i], "Established", "True");
                undefine_as(f, names[i]);
        }
        assert_int_equal(ASK(f, API_GET, &res_leases, "default", "l").code, 200);
        assert_int_equal(ASK(f, API_GET, &res_customresourcedefinitions, NULL, "widgets.example.com").code, 200);
        undefine(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_keyword_is_checked),
                cmocka_unit_test(embedded_objects_have_metadata),
                cmocka_unit_test(openapi_says_what_is_selectable_and_embedded),
                cmocka_unit_test(unknown_fields_go_and_defaults_come),
                cmocka_unit_test(what_a_patch_makes_of_an_object_is_validated),
                cmocka_unit_test(old_mistakes_may_stay),
                cmocka_unit_test(old_faults_warn),
                cmocka_unit_test(a_status_may_have_a_default),
                cmocka_unit_test(reading_fills_in_defaults),
                cmocka_unit_test(other_versions_have_the_defaults_of_the_one_that_is_kept),
                cmocka_unit_test(what_a_version_does_not_know_goes_with_the_next_write),
                cmocka_unit_test(versions_are_views_of_one_object),
                cmocka_unit_test(what_is_kept_says_that_its_objects_are_gone),
                cmocka_unit_test(taken_names_are_refused),
                cmocka_unit_test(scale_is_where_the_definition_says),
                cmocka_unit_test(apply_drops_metadata_that_is_none),
                cmocka_unit_test(owners_with_pointers_are_told_again_and_again),
                cmocka_unit_test(openapi_says_what_custom_resources_take),
                cmocka_unit_test(deletion_removes_the_objects),
                cmocka_unit_test(built_in_objects_outlive_a_definition),
        };

        return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
