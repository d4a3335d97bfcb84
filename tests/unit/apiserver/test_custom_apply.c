/* Server-side apply and owners of custom resources: schemas that differ between versions, nulls, scale. */
#include "help.h"

static const struct api_resource widgets = {
        .group = "example.com", .version = "v1", .plural = "widgets", .kind = "Widget", .namespaced = true
};
static const struct api_resource widgets_v2 = {
        .group = "example.com", .version = "v2", .plural = "widgets", .kind = "Widget", .namespaced = true
};

static void nap(void) {
        nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
}

/* Versions v1 and v2 of widgets, with what their specs are. */
static void define(struct fixture *f, const char *v1, const char *v2) {
        static const char version[] = "{'name':'%s','served':true,'storage':%s,'subresources':{'status':{},'scale':{"
                                      "'specReplicasPath':'.spec.n','statusReplicasPath':'.status.n'}},'schema':{"
                                      "'openAPIV3Schema':{'type':'object','properties':{'spec':%s,'status':{'type':"
                                      "'object','properties':{'n':{'type':'integer'},'l':{'type':'array','items':{"
                                      "'type':'object'}}}}}}}}";
        const char *const specs[] = { v1, v2 };
        struct str versions[2];
        struct answer r;

        for (size_t i = 0; i < 2; i++)
                versions[i] = arena_printf(f->a, version, i ? "v2" : "v1", i ? "false" : "true", specs[i]);
        r = ASK(f, API_CREATE, &res_customresourcedefinitions,
                .body = Q(arena_printf(f->a,
                                       "{'metadata':{'name':'widgets.example.com'},'spec':{'group':'example.com',"
                                       "'scope':'Namespaced','names':{'plural':'widgets','kind':'Widget'},"
                                       "'versions':[%s,%s]}}",
                                       versions[0].p, versions[1].p)
                                          .p));
        check_code(r, 201);
        for (int i = 0; ASK(f, API_LIST, &widgets_v2, "default").code != 200; i++, nap())
                assert_true(i < 30000);
}

static void undefine(struct fixture *f) {
        ASK(f, API_DELETE, &res_customresourcedefinitions, NULL, "widgets.example.com");
        for (int i = 0; ASK(f, API_LIST, &widgets, "default").code != 404; i++, nap())
                assert_true(i < 30000);
}

static struct answer apply(struct fixture *f, const struct api_resource *r, const char *manager, const char *rest) {
        return ASK(f, API_PATCH, r, "default", "w", .patch = API_PATCH_APPLY, .options.field_manager = str_of(manager),
                   .body = Q(arena_printf(f->a,
                                          "{'apiVersion':'example.com/%s','kind':'Widget','metadata':{'name':'w'}%s}",
                                          r->version, rest)
                                             .p));
}

static struct answer scale_to(struct fixture *f, const struct api_resource *r, const char *manager, const char *n) {
        return ASK(f, API_UPDATE, r, "default", "w", "scale", .options.field_manager = str_of(manager),
                   .body = Q(arena_printf(f->a, "{'metadata':{'name':'w'},'spec':{'replicas':%s}}", n).p));
}

#define GRANULAR "{'type':'object','properties':{'a':{'type':'string'},'n':{'type':'integer'}}}"
#define ATOMIC "{'type':'object','x-kubernetes-map-type':'atomic','properties':{'a':{'type':'string'}}}"

static void a_null_that_is_no_value_is_refused(void **state) {
        struct fixture *f = *state;

        define(f,
               "{'type':'object','properties':{'a':{'type':'string'},'b':{'type':'string','default':'d'},"
               "'c':{'type':'string','nullable':true},'n':{'type':'integer'}}}",
               GRANULAR);
        check_error(apply(f, &widgets, "me", ",'spec':{'a':null}"), 422,
                    "Widget.example.com \"w\" is invalid: spec.a: Invalid value: \"null\": spec.a in body must be of "
                    "type string: \"null\"");
        check_error(apply(f, &widgets, "me", ",'spec':{'n':null}"), 422,
                    "Widget.example.com \"w\" is invalid: [spec.n: Invalid value: \"null\": spec.n in body must be of "
                    "type integer: \"null\", .spec.n: Invalid value: 0: .spec.n accessor error: <nil> is of the type "
                    "<nil>, expected int64]");
        check(apply(f, &widgets, "me", ",'spec':{'b':null,'c':null}"), 201, ".spec", "{\"b\":\"d\",\"c\":null}");
        /* what was applied and is not any more may leave one, too */
        check_error(apply(f, &widgets, "me", ",'spec':{}"), 422,
                    "Widget.example.com \"w\" is invalid: spec: Invalid value: \"null\": spec in body must be of type "
                    "object: \"null\"");
        /* a status that was not there is null, which is not kept */
        check(ASK(f, API_PATCH, &widgets, "default", "w", "status", .patch = API_PATCH_APPLY,
                  .options.field_manager = STR("me"),
                  .body = Q("{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'},'status':null}")),
              200, ".status", "(absent)");
        undefine(f);
}

static void conflicts_in_all_versions_are_told(void **state) {
        struct fixture *f = *state;

        define(f, GRANULAR, GRANULAR);
        check_code(apply(f, &widgets, "one", ",'spec':{'a':'x'}"), 201);
        check_code(apply(f, &widgets_v2, "two", ",'spec':{'n':1}"), 200);
        check_error(apply(f, &widgets, "three", ",'spec':{'a':'y','n':2}"), 409,
                    "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.a\nconflicts with \"two\":\n"
                    "- .spec.n");
        check_error(apply(f, &widgets, "three", ",'spec':{'n':2}"), 409,
                    "Apply failed with 1 conflict: conflict with \"two\": .spec.n");
        check(ASK(f, API_GET, &widgets, "default", "w"), 200, ".spec", "{\"a\":\"x\",\"n\":1}");
        undefine(f);
}

static void an_owner_in_a_version_that_is_gone_is_in_the_way(void **state) {
        struct fixture *f = *state;

        define(f, GRANULAR, GRANULAR);
        check_code(apply(f, &widgets_v2, "one", ",'spec':{'a':'x'}"), 201);
        check_code(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                       .patch = API_PATCH_JSON, .body = "[{\"op\":\"remove\",\"path\":\"/spec/versions/1\"}]"),
                   200);
        for (int i = 0; ASK(f, API_GET, &widgets_v2, "default", "w").code != 404; i++, nap())
                assert_true(i < 1000);
        check_error(apply(f, &widgets, "two", ",'spec':{'n':1}"), 500,
                    "request to convert CR to an invalid group/version: example.com/v2");
        undefine(f);
}

#define ANNOTATION "kubectl.kubernetes.io/last-applied-configuration"

/* What upstream sets there itself is in nobody's way, and what was applied last time is in nobody's either. */
static void client_side_applies_of_another_version_are_taken_over(void **state) {
        struct fixture *f = *state;

        define(f, GRANULAR, GRANULAR);
        check_code(apply(f, &widgets_v2, "two", ",'spec':{'a':'x','n':1}"), 201);
        check_code(ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE,
                       .options.field_manager = STR("kubectl-client-side-apply"),
                       .body = Q("{'metadata':{'annotations':{'" ANNOTATION
                                 "':'{\\'apiVersion\\':\\'example.com/v2\\',\\'kind\\':\\'Widget\\',\\'spec\\':{"
                                 "\\'n\\':1}}'}}}")),
                   200);
        check_error(apply(f, &widgets_v2, "kubectl", ",'spec':{'a':'y','n':2}"), 409,
                    "Apply failed with 1 conflict: conflict with \"two\": .spec.a");
        check(apply(f, &widgets_v2, "kubectl", ",'spec':{'n':3}"), 200, ".spec", "{\"a\":\"x\",\"n\":3}");
        undefine(f);
}

static void what_is_owned_is_looked_at_in_its_own_version(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, GRANULAR, ATOMIC);
        check_code(apply(f, &widgets, "one", ",'spec':{'a':'x'}"), 201);
        r = ASK(f, API_PATCH, &widgets_v2, "default", "w", .patch = API_PATCH_MERGE,
                .options.field_manager = STR("two"), .body = Q("{'spec':{'a':'y'}}"));
        check(r, 200, ".metadata.managedFields[0].manager", "two");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].fieldsV1"), "{\"f:spec\":{}}");
        assert_string_equal(at(f, r, ".metadata.managedFields[1]"), "(absent)");
        undefine(f);
}

static void what_was_applied_in_another_version_is_removed_as_that_has_it(void **state) {
        struct fixture *f = *state;

        define(f, GRANULAR, ATOMIC);
        check_code(apply(f, &widgets_v2, "me", ",'spec':{'a':'x'}"), 201);
        check_error(apply(f, &widgets, "me", ",'spec':{'n':1}"), 500,
                    "failed to prune fields: failed to convert merged object to last applied version: .spec.n: field "
                    "not declared in schema");
        check(apply(f, &widgets, "me", ",'spec':{'a':'y'}"), 200, ".spec", "{\"a\":\"y\"}");
        undefine(f);
}

static void defaults_of_one_version_are_no_matter_to_another(void **state) {
        struct fixture *f = *state;

        define(f, "{'type':'object','properties':{'a':{'type':'string'},'b':{'type':'string','default':'d'}}}", ATOMIC);
        check_code(apply(f, &widgets_v2, "two", ""), 201);
        check_code(ASK(f, API_PATCH, &widgets_v2, "default", "w", .patch = API_PATCH_APPLY,
                       .options.field_manager = STR("two"),
                       .body = Q("{'apiVersion':'example.com/v2','kind':'Widget','metadata':{'name':'w','labels':{'a':"
                                 "'b'}}}")),
                   200);
        check(apply(f, &widgets, "one", ",'spec':{'a':'x'}"), 200, ".spec", "{\"a\":\"x\",\"b\":\"d\"}");
        undefine(f);
}

static void twins_in_another_version_are_no_object_of_it(void **state) {
        static const char list[] = "{'type':'object','properties':{'l':{'type':'array',%s'items':{'type':'string'}}}}";
        struct fixture *f = *state;

        define(f, arena_printf(f->a, list, "").p, arena_printf(f->a, list, "'x-kubernetes-list-type':'set',").p);
        check_code(apply(f, &widgets_v2, "two", ",'spec':{'l':['a']}"), 201);
        check_error(ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_APPLY, .options.force = true,
                        .options.field_manager = STR("one"),
                        .body = Q("{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'},"
                                  "'spec':{'l':['b','b']}}")),
                    500, "failed to convert new object: .spec.l: duplicate entries for key [=\"b\"]");
        undefine(f);
}

static void managers_of_no_version_make_all_forgotten(void **state) {
        struct fixture *f = *state;
        static const char given[] = ",'managedFields':[{'manager':'m','operation':'Update','apiVersion':"
                                    "'example.com/v3','fieldsType':'FieldsV1','fieldsV1':{'f:spec':{'f:a':{}}}}]";
        char *body = Q(arena_printf(f->a,
                                    "{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'%s},'spec':"
                                    "{'a':'x'}}",
                                    given)
                                       .p);

        define(f, GRANULAR, GRANULAR);
        check(ASK(f, API_CREATE, &widgets, "default", .body = body), 201, ".metadata.managedFields", "(absent)");
        check_code(apply(f, &widgets, "me", ",'spec':{'a':'x'}"), 200);
        check(ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .body = body), 200,
              ".metadata.managedFields", "(absent)");
        undefine(f);
}

static void a_scale_takes_nothing_from_versions_that_have_none(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, GRANULAR, GRANULAR);
        check_code(apply(f, &widgets_v2, "two", ",'spec':{'n':1}"), 201);
        check_code(apply(f, &widgets, "one", ",'spec':{'n':1}"), 200);
        check_code(ASK(f, API_PATCH, &res_customresourcedefinitions, NULL, "widgets.example.com",
                       .patch = API_PATCH_JSON,
                       .body = Q("[{'op':'remove','path':'/spec/versions/1/subresources/scale'}]")),
                   200);
        for (int i = 0; ASK(f, API_GET, &widgets_v2, "default", "w", "scale").code != 404; i++, nap())
                assert_true(i < 30000);
        check_code(scale_to(f, &widgets, "three", "5"), 200);
        r = ASK(f, API_GET, &widgets, "default", "w");
        check(r, 200, ".spec.n", "5");
        assert_string_equal(at(f, r, ".metadata.managedFields[?(@.manager==\"two\")].fieldsV1"),
                            "{\"f:spec\":{\"f:n\":{}}}");
        assert_string_equal(at(f, r, ".metadata.managedFields[?(@.manager==\"one\")].fieldsV1"), "(absent)");
        undefine(f);
}

static void a_scale_hands_replicas_back_in_its_version(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, "{'type':'object','properties':{'a':{'type':'string','default':'d'},'n':{'type':'integer'}}}",
               GRANULAR);
        check_code(apply(f, &widgets, "me", ""), 201);
        check_code(scale_to(f, &widgets_v2, "two", "3"), 200);
        /* the spec is new, and has its defaults */
        check(ASK(f, API_GET, &widgets, "default", "w"), 200, ".spec", "{\"a\":\"d\",\"n\":3}");
        check_code(apply(f, &widgets, "me", ",'spec':{'a':'d'}"), 200); /* from now on owners are known */
        ASK(f, API_PATCH, &widgets, "default", "w", .patch = API_PATCH_MERGE, .options.field_manager = STR("one"),
            .body = Q("{'spec':{'n':0}}"));
        check_code(scale_to(f, &widgets_v2, "two", "0"), 200); /* the same: they stay who owned them */
        r = ASK(f, API_GET, &widgets, "default", "w");
        check(r, 200, ".metadata.managedFields[1].manager", "one");
        assert_string_equal(at(f, r, ".metadata.managedFields[1].apiVersion"), "example.com/v2");
        assert_string_equal(at(f, r, ".metadata.managedFields[1].fieldsV1"), "{\"f:spec\":{\"f:n\":{}}}");
        /* a Scale leaves 0 out, so that to apply it is a change */
        check_error(ASK(f, API_PATCH, &widgets, "default", "w", "scale", .patch = API_PATCH_APPLY,
                        .options.field_manager = STR("three"),
                        .body = Q("{'apiVersion':'autoscaling/v1','kind':'Scale','metadata':{'name':'w'},"
                                  "'spec':{'replicas':0}}")),
                    409, "Apply failed with 1 conflict: conflict with \"one\" using autoscaling/v1: .spec.n");
        undefine(f);
}

static void a_scale_is_of_one_type_whatever_the_versions_of_its_object_have(void **state) {
        struct fixture *f = *state;
        struct answer r;

        define(f, "{'type':'object','properties':{'a':{'type':'string','default':'d'},'n':{'type':'integer'}}}",
               "{'type':'object','properties':{'n':{'type':'integer'}}}");
        check_code(apply(f, &widgets_v2, "me", ",'spec':{'n':2}"), 201);
        check(ASK(f, API_PATCH, &widgets, "default", "w", "scale", .patch = API_PATCH_APPLY,
                  .options.field_manager = STR("me"), .options.force = true,
                  .body = Q("{'apiVersion':'autoscaling/v1','kind':'Scale','metadata':{'name':'w'},"
                            "'spec':{'replicas':2}}")),
              200, ".spec.replicas", "2");
        undefine(f);
        define(f,
               "{'type':'object','properties':{'a':{'type':'array','x-kubernetes-list-type':'set','items':{'type':"
               "'string'}},'n':{'type':'integer'}}}",
               "{'type':'object','properties':{'a':{'type':'object','additionalProperties':{'type':'array',"
               "'x-kubernetes-list-type':'set','items':{'type':'string'}}},'n':{'type':'integer'}}}");
        check_code(apply(f, &widgets, "me", ",'spec':{'a':['x'],'n':2}"), 201);
        check_code(scale_to(f, &widgets_v2, "two", "3"), 200); /* to v2 its a is nothing */
        r = ASK(f, API_GET, &widgets, "default", "w");
        check(r, 200, ".metadata.managedFields[0].manager", "me");
        assert_string_equal(at(f, r, ".metadata.managedFields[1].manager"), "two");
        undefine(f);
}

static void an_update_through_a_version_loses_what_that_has_not(void **state) {
        struct fixture *f = *state;
        const char *revision;

        define(f, GRANULAR, ATOMIC);
        check_code(apply(f, &widgets, "me", ",'spec':{'a':'x','n':1}"), 201);
        check_code(ASK(f, API_PATCH, &widgets_v2, "default", "w", .patch = API_PATCH_MERGE, .body = "{}"), 200);
        check(ASK(f, API_GET, &widgets, "default", "w"), 200, ".spec", "{\"a\":\"x\"}");
        revision = at(f, ASK(f, API_GET, &widgets, "default", "w"), ".metadata.resourceVersion");
        check(ASK(f, API_PATCH, &widgets_v2, "default", "w", .patch = API_PATCH_MERGE, .body = "{}"), 200,
              ".metadata.resourceVersion", revision);
        undefine(f);
}

static void what_may_be_an_integer_keeps_to_a_type_where_it_is_applied(void **state) {
        struct fixture *f = *state;

        define(f, "{'type':'object','properties':{'s':{'type':'string','x-kubernetes-int-or-string':true}}}", GRANULAR);
        check_error(apply(f, &widgets, "me", ",'spec':{'s':5}"), 500,
                    "failed to create typed patch object (/w; example.com/v1, Kind=Widget): .spec.s: expected "
                    "string, got &value.valueUnstructured{Value:5}");
        check_code(apply(f, &widgets, "me", ",'spec':{'s':'5'}"), 201);
        undefine(f);
}

#define NEW "{'apiVersion':'example.com/v1','kind':'Widget','metadata':{'name':'w'},'spec':{'a':'x'},'status':"

static void of_a_new_object_with_a_wrong_status_nobody_owns_anything(void **state) {
        struct fixture *f = *state;

        define(f, GRANULAR, GRANULAR);
        check(ASK(f, API_CREATE, &widgets, "default", .body = Q(NEW "{'n':1}}"), .options.dry_run = true), 201,
              ".metadata.managedFields[0].fieldsV1", "{\"f:spec\":{\".\":{},\"f:a\":{}}}");
        check(ASK(f, API_CREATE, &widgets, "default", .body = Q(NEW "{'n':'y'}}")), 201, ".metadata.managedFields",
              "(absent)");
        undefine(f);
}

/* An object of which nothing is said takes all from who applies, and keeps nothing; yet it counts as a change. */
static void what_is_applied_and_not_kept_counts(void **state) {
        struct fixture *f = *state;

        define(f, "{'type':'object','properties':{'l':{'type':'array','items':{'type':'object'}}}}", GRANULAR);
        check(apply(f, &widgets, "me", ",'spec':{'l':[{'x':1}]}"), 201, ".metadata.generation", "1");
        check(apply(f, &widgets, "me", ",'spec':{'l':[{'x':1}]}"), 200, ".metadata.generation", "2");
        check(apply(f, &widgets, "me", ",'spec':{'l':[{}]}"), 200, ".metadata.generation", "2");
        check(apply(f, &widgets, "me", ",'spec':{'l':[{}]},'status':{'l':[{'x':1}]}"), 200, ".metadata.generation",
              "2");
        undefine(f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_null_that_is_no_value_is_refused),
                cmocka_unit_test(conflicts_in_all_versions_are_told),
                cmocka_unit_test(an_owner_in_a_version_that_is_gone_is_in_the_way),
                cmocka_unit_test(client_side_applies_of_another_version_are_taken_over),
                cmocka_unit_test(what_is_owned_is_looked_at_in_its_own_version),
                cmocka_unit_test(what_was_applied_in_another_version_is_removed_as_that_has_it),
                cmocka_unit_test(defaults_of_one_version_are_no_matter_to_another),
                cmocka_unit_test(managers_of_no_version_make_all_forgotten),
                cmocka_unit_test(twins_in_another_version_are_no_object_of_it),
                cmocka_unit_test(an_update_through_a_version_loses_what_that_has_not),
                cmocka_unit_test(of_a_new_object_with_a_wrong_status_nobody_owns_anything),
                cmocka_unit_test(what_is_applied_and_not_kept_counts),
                cmocka_unit_test(what_may_be_an_integer_keeps_to_a_type_where_it_is_applied),
                cmocka_unit_test(a_scale_takes_nothing_from_versions_that_have_none),
                cmocka_unit_test(a_scale_hands_replicas_back_in_its_version),
                cmocka_unit_test(a_scale_is_of_one_type_whatever_the_versions_of_its_object_have),
        };

        return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
