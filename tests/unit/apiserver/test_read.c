/* GET and LIST at a revision: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions */
#include <stdio.h>

#include "base/encode.h"
#include "help.h"

static const char *revision(struct fixture *f) {
        return arena_cstr(f->a, arena_printf(f->a, "%llu", (unsigned long long) store_revision(f->store)));
}

static void create(struct fixture *f, const char *name) {
        const char *body = arena_cstr(f->a, arena_printf(f->a, "{\"metadata\":{\"name\":\"%s\"}}", name));

        assert_int_equal(ASK(f, API_CREATE, &res_configmaps, "default", .body = body).code, 201);
}

static void change(struct fixture *f, const char *name) {
        assert_int_equal(ASK(f, API_PATCH, &res_configmaps, "default", name, .patch = API_PATCH_MERGE,
                             .body = "{\"data\":{\"changed\":\"1\"}}")
                                         .code,
                         200);
}

/* "a b* c": the names of a list, a star for those that were changed. */
static const char *names(struct fixture *f, struct answer r) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (r.code != 200)
                return r.message;
        json_each_item(it, json_getc(r.body, "items"))
                buf_printf(&b, "%s%" STR_FMT "%s", b.n ? " " : "",
                           STR_ARG(json_str(json_at_path(it, "metadata", "name"))), json_getc(it, "data") ? "*" : "");
        return arena_cstr(f->a, buf_str(&b));
}

static struct answer list(struct fixture *f, struct api_options o) {
        return ASK(f, API_LIST, &res_configmaps, "default", .options = o);
}
#define LIST(f, ...) list((f), (struct api_options) { __VA_ARGS__ })

static void an_exact_list_is_of_its_revision(void **state) {
        struct fixture *f = *state;
        struct str then;
        struct answer r;

        create(f, "a");
        create(f, "b");
        create(f, "c");
        then = str_of(revision(f));
        change(f, "a");
        create(f, "aa");
        change(f, "aa");
        assert_int_equal(ASK(f, API_DELETE, &res_configmaps, "default", "c").code, 200);
        assert_string_equal(names(f, LIST(f, .resource_version = then)), "a* aa* b");
        assert_string_equal(names(f, LIST(f, .resource_version = then, .resource_version_match = STR("NotOlderThan"))),
                            "a* aa* b");
        r = LIST(f, .resource_version = then, .resource_version_match = STR("Exact"));
        assert_string_equal(names(f, r), "a b c");
        assert_string_equal(at(f, r, ".revision"), arena_cstr(f->a, then));
        /* A page without a match is exact, and its next page is of the same revision. */
        r = LIST(f, .resource_version = then, .limit = 2);
        assert_string_equal(names(f, r), "a b");
        assert_string_equal(at(f, r, ".remaining"), "1");
        struct str next = str_of(at(f, r, ".continue"));
        assert_string_equal(names(f, LIST(f, .continue_token = next, .field_selector = STR("metadata.name=a"))), "");
        assert_string_equal(names(f, LIST(f, .continue_token = next, .field_selector = STR("metadata.name=c"))), "c");
        r = LIST(f, .limit = 2, .continue_token = str_of(at(f, r, ".continue")));
        assert_string_equal(names(f, r), "c");
        assert_string_equal(at(f, r, ".revision"), arena_cstr(f->a, then));
        /* What can only be one object is no page. */
        r = LIST(f, .resource_version = then, .limit = 2, .field_selector = STR("metadata.name=a"));
        assert_string_equal(names(f, r), "a*");
}

static void a_page_that_nobody_remembers_says_where_to_go_on(void **state) {
        struct fixture *f = *state;
        struct answer first, r;

        create(f, "a");
        create(f, "b");
        first = LIST(f, .limit = 1);
        assert_string_equal(at(f, first, ".remaining"), "1");
        create(f, "c");
        snapshots_expire(f->s, store_revision(f->store));
        r = LIST(f, .limit = 1, .continue_token = str_of(at(f, first, ".continue")));
        assert_int_equal(r.code, 410);
        assert_string_equal(r.reason, "Expired");
        assert_non_null(strstr(r.message, "The provided continue parameter is too old to display a consistent list"));
        r = LIST(f, .continue_token = str_of(r.token));
        assert_string_equal(names(f, r), "b c");
        r = LIST(f, .resource_version = STR("1"), .resource_version_match = STR("Exact"));
        assert_string_equal(r.message, "The resourceVersion for the provided list is too old.");
        assert_int_equal(r.code, 410);
        /* Zero is all there is, in one page. */
        r = LIST(f, .limit = 1, .resource_version = STR("0"));
        assert_string_equal(names(f, r), "a b c");
        assert_string_equal(at(f, r, ".continue"), "");
        /* Filtered pages do not know how much is left. */
        assert_string_equal(at(f, LIST(f, .limit = 1, .label_selector = STR("!x")), ".remaining"), "-1");
}

static void wrong_combinations_are_refused(void **state) {
        static const struct {
                struct api_options o;
                int code;
                const char *message;
        } table[] = {
#define INVALID "ListOptions.meta.k8s.io \"\" is invalid: "
                { { .resource_version_match = STR_INIT("Exact") },
                  422,
                  INVALID "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion "
                          "is provided" },
                { { .resource_version = STR_INIT("0"), .resource_version_match = STR_INIT("Exact") },
                  422,
                  INVALID "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for "
                          "resourceVersion \"0\"" },
                { { .resource_version = STR_INIT("1"), .resource_version_match = STR_INIT("Never") },
                  422,
                  INVALID "resourceVersionMatch: Unsupported value: \"Never\": supported values: \"Exact\", "
                          "\"NotOlderThan\", \"\"" },
                { { .send_initial_events = true },
                  422,
                  INVALID "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list" },
                { { .resource_version = STR_INIT("x") },
                  400,
                  "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing "
                  "\"x\": invalid syntax" },
                { { .field_selector = STR_INIT("spec.x=1") },
                  400,
                  "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"" },
                { { .continue_token = STR_INIT("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0"),
                    .resource_version = STR_INIT("5") },
                  400,
                  "specifying resource version is not allowed when using continue" },
        };
        struct fixture *f = *state;
        struct answer r;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                r = list(f, table[i].o);
                assert_non_null(r.message);
                assert_string_equal(r.message, table[i].message);
                assert_int_equal(r.code, table[i].code);
        }
        r = ASK(f, API_GET, &res_configmaps, "default", "a", .options.resource_version = STR("99999"));
        assert_int_equal(r.code, 504);
        assert_non_null(strstr(r.message, "Timeout: Too large resource version: 99999, current: "));
        r = ASK(f, API_GET, &res_deployments, "default", "a", "scale", .options.resource_version = STR("99999"));
        assert_int_equal(r.code, 504);
}

/* The next page begins right behind the last key of this one, whatever is there by then; whether there is one at all is
 * told without looking at what the rest is. */
static void a_page_ends_behind_its_last_key(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf token = BUF_INIT;
        struct answer r;

        create(f, "a");
        create(f, "c");
        r = LIST(f, .limit = 1);
        base64url_decode(&token, str_of(at(f, r, ".continue")));
        assert_true(str_has_suffix(buf_str(&token), STR("\"start\":\"a\\u0000\"}")));
        create(f, "b");
        snapshots_expire(f->s, store_revision(f->store));
        r = LIST(f, .limit = 1, .continue_token = str_of(at(f, r, ".continue")));
        assert_int_equal(r.code, 410);
        assert_string_equal(names(f, LIST(f, .continue_token = str_of(r.token))), "b c");
        r = LIST(f, .limit = 1, .field_selector = STR("metadata.name!=b,metadata.name!=c"));
        assert_string_equal(names(f, r), "a");
        r = LIST(f, .limit = 1, .field_selector = STR("metadata.name!=b,metadata.name!=c"),
                 .continue_token = str_of(at(f, r, ".continue")));
        assert_string_equal(names(f, r), "");
        assert_string_equal(at(f, r, ".continue"), "");
        assert_string_equal(at(f, LIST(f, .limit = 1, .field_selector = STR("metadata.name!=a,metadata.name!=b")),
                               ".continue"),
                            "");
}

/* Each of the two APIs of Events has its own names for the same fields. */
static void events_are_selected_by_the_names_of_their_version(void **state) {
        static const struct {
                const struct api_resource *resource;
                const char *selector;
                size_t n; /* 9: refused */
        } table[] = {
                { &res_events, "involvedObject.name=p", 1 },
                { &res_events, "source=c", 1 }, /* when the source is empty: who reports */
                { &res_events, "source=", 0 },
                { &res_events, "regarding.name=p", 9 },
                { &res_events_events_k8s_io, "regarding.name=p", 1 },
                { &res_events_events_k8s_io, "regarding.name!=p,reportingController=c", 0 },
                { &res_events_events_k8s_io, "involvedObject.name=p", 9 },
        };
        struct fixture *f = *state;

        assert_int_equal(ASK(f, API_CREATE, &res_events, "default",
                             .body = "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"namespace\":\"default\","
                                     "\"name\":\"p\"},\"reportingComponent\":\"c\"}")
                                         .code,
                         201);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct answer r = ASK(f, API_LIST, table[i].resource, "default",
                                      .options.field_selector = str_of(table[i].selector));

                assert_int_equal(r.code == 400 ? 9 : json_len(json_getc(r.body, "items")), table[i].n);
        }
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                TEST(an_exact_list_is_of_its_revision),
                TEST(a_page_that_nobody_remembers_says_where_to_go_on),
                TEST(wrong_combinations_are_refused),
                TEST(a_page_ends_behind_its_last_key),
                TEST(events_are_selected_by_the_names_of_their_version),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
