/* Is a schema structural? Then what it says about types stands outside of anyOf, allOf, oneOf and not, so that it is
 * known of every place what lies there: what to prune, what to default, how to apply. In upstream's words:
 * k8s.io/apiextensions-apiserver/pkg/apiserver/schema/validation.go */
#include "apiserver/extensions/custom.h"
#include "base/regex.h"

static struct str text(const struct json *j, const char *key) {
        return json_str(json_getc(j, key));
}

static bool is_true(const struct json *j, const char *key) {
        return json_bool(json_getc(j, key));
}

enum level { ROOT, ITEM, FIELD };

static bool is_int_or_string_choice(const struct json *any_of) {
        const struct json *x = json_item(any_of, 0), *y = json_item(any_of, 1);

        return json_len(any_of) == 2 && json_len(x) == 1 && json_len(y) == 1 && str_eqc(text(x, "type"), "integer") &&
               str_eqc(text(y, "type"), "string");
}

static void check_nested(struct field_errors *fe, const struct path *p, const struct json *j, bool skip_any_of,
                         bool rules_allowed);

static void check_junctors(struct field_errors *fe, const struct path *p, const struct json *j, bool skip_any_of,
                           bool skip_first_any_of) {
        static const char *const lists[] = { "anyOf", "allOf", "oneOf" };
        _cleanup_error_ struct error e = ERROR_INIT;
        struct regex *re = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
                const struct json *list = json_getc(j, lists[i]);

                for (size_t k = 0; k < json_len(list) && !(i == 0 && skip_any_of); k++)
                        check_nested(fe, PATH_INDEX(PATH(p, lists[i]), k), json_item(list, k),
                                     i == 1 && k == 0 && skip_first_any_of, false);
        }
        if (json_getc(j, "not"))
                check_nested(fe, PATH(p, "not"), json_getc(j, "not"), false, false);
        if (!str_empty(text(j, "pattern")) && regex_compile(text(j, "pattern"), &re, &e) < 0)
                field_invalid_str(fe, PATH(p, "pattern"), text(j, "pattern"),
                                  "must be a valid regular expression, but isn't: %s", error_text(&e));
        regex_free(re);
}

static void check_nested(struct field_errors *fe, const struct path *p, const struct json *j, bool skip_any_of,
                         bool rules_allowed) {
        static const struct {
                const char *key, *detail;
        } forbidden[] = {
                { "type", "must be empty to be structural" },
                { "additionalProperties", "must be undefined to be structural" },
                { "default", "must be undefined to be structural" },
                { "title", "must be empty to be structural" },
                { "description", "must be empty to be structural" },
                { "nullable", "must be false to be structural" },
                { "x-kubernetes-preserve-unknown-fields", "must be false to be structural" },
                { "x-kubernetes-embedded-resource", "must be false to be structural" },
                { "x-kubernetes-int-or-string", "must be false to be structural" },
                { "x-kubernetes-list-map-keys", "must be empty to be structural" },
                { "x-kubernetes-list-type", "must be undefined to be structural" },
                { "x-kubernetes-map-type", "must be undefined to be structural" },
                { "x-kubernetes-validations", "must be empty to be structural" },
        };

        check_junctors(fe, p, j, skip_any_of, false);
        if (json_is(json_getc(j, "items"), JSON_OBJECT))
                check_nested(fe, PATH(p, "items"), json_getc(j, "items"), false, false);
        json_each_member(m, json_getc(j, "properties")) {
                const struct path *here = PATH_KEY(PATH(p, "properties"), json_key(m));

                check_nested(fe, here, &m->value, false, false);
                FORBIDDEN_IF(str_eqc(json_key(m), "metadata"), here, "must not be specified in a nested context");
        }
        for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
                const struct json *v = json_getc(j, forbidden[i].key);

                if (v && !(v->type == JSON_BOOL && !v->b && i != 2) &&
                    !(v->type >= JSON_STRING && v->len == 0 && i != 1 && i != 2))
                        field_forbidden(fe, PATH(p, forbidden[i].key), "%s", forbidden[i].detail);
        }
}

/* At the root metadata may say something about names, nothing else. */
static void check_metadata(struct field_errors *fe, const struct path *p, const struct json *j, bool check,
                           enum level level) {
        const struct json *properties = json_getc(j, "properties");
        bool only_names = true;

        if (check && !str_eqc(text(j, "type"), "object"))
                field_invalid_str(fe, PATH(p, "type"), text(j, "type"), "must be object");
        if (level != ROOT)
                return;
        json_each_member(m, properties)
                only_names = only_names && (str_eqc(json_key(m), "name") || str_eqc(json_key(m), "generateName"));
        json_each_member(m, j)
                only_names = only_names &&
                             str_among(json_key(m), WORDS("type", "properties", "default", "example",
                                                          "externalDocs")); /* the last are no structure */
        FORBIDDEN_IF(!only_names, p,
                     "must not specify anything other than name and generateName, but metadata is "
                     "implicitly specified");
}

static void check_structural(struct field_errors *fe, const struct path *p, const struct json *j, enum level level) {
        static const char *const empty_type[] = { "must not be empty at the root",
                                                  "must not be empty for specified array items",
                                                  "must not be empty for specified object fields" };
        const struct json *items = json_getc(j, "items"), *more = json_getc(j, "additionalProperties"),
                          *properties = json_getc(j, "properties"), *first = json_item(json_getc(j, "allOf"), 0), *v;
        bool embedded = is_true(j, "x-kubernetes-embedded-resource"), int_or = is_true(j, "x-kubernetes-int-or-string"),
             preserve = is_true(j, "x-kubernetes-preserve-unknown-fields"), check = level == ROOT || embedded;
        struct str type = text(j, "type");
        struct json yes = json_of_bool(true);

        REQUIRED_IF(str_eqc(type, "array") && !json_is(items, JSON_OBJECT), PATH(p, "items"), "must be specified");
        if (json_is(items, JSON_OBJECT))
                check_structural(fe, PATH(p, "items"), items, ITEM);
        json_each_member(m, properties)
                check_structural(fe, PATH_KEY(PATH(p, "properties"), json_key(m)), &m->value, FIELD);
        FORBIDDEN_IF(more && level == ROOT, PATH(p, "additionalProperties"), "must not be used at the root");
        if (json_is(more, JSON_OBJECT))
                check_structural(fe, PATH(p, "additionalProperties"), more, FIELD);
        INVALID_IF(int_or && preserve, PATH(p, "x-kubernetes-preserve-unknown-fields"), &yes,
                   "must be false if x-kubernetes-int-or-string is true");
        INVALID_IF(int_or && embedded, PATH(p, "x-kubernetes-embedded-resource"), &yes,
                   "must be false if x-kubernetes-int-or-string is true");
        check_junctors(fe, p, j, is_int_or_string_choice(json_getc(j, "anyOf")),
                       is_int_or_string_choice(json_getc(first, "anyOf")));
        if (embedded && !str_eqc(type, "object")) {
                if (str_empty(type))
                        field_required(fe, PATH(p, "type"), "must be object if x-kubernetes-embedded-resource is true");
                else
                        field_invalid_str(fe, PATH(p, "type"), type,
                                          "must be object if x-kubernetes-embedded-resource is true");
        } else if (str_empty(type) && !int_or && !preserve) {
                field_required(fe, PATH(p, "type"), empty_type[level]);
        }
        FORBIDDEN_IF(embedded && more, PATH(p, "additionalProperties"),
                     "must not be used if x-kubernetes-embedded-resource is set");
        if (level == ROOT && !str_empty(type) && !str_eqc(type, "object"))
                field_invalid_str(fe, PATH(p, "type"), type, "must be object at the root");
        for (size_t i = 0; check && i < 2; i++) {
                struct str name = i ? STR("apiVersion") : STR("kind");

                v = json_get(properties, name);
                INVALID_STR_IF(v && !str_eqc(text(v, "type"), "string"),
                               PATH(PATH_KEY(PATH(p, "properties"), name), "type"), text(v, "type"), "must be string");
        }
        v = json_getc(properties, "metadata");
        if (v)
                check_metadata(fe, PATH_KEY(PATH(p, "properties"), STR("metadata")), v, check, level);
        REQUIRED_IF(embedded && !preserve && json_len(properties) == 0, PATH(p, "properties"),
                    "must not be empty if x-kubernetes-embedded-resource is true "
                    "without x-kubernetes-preserve-unknown-fields");
}

/* What a junctor says about must be specified beside it too. */
static void check_complete(struct field_errors *fe, const struct path *sp, const struct json *s, const struct path *vp,
                           const struct json *v) {
        static const char *const lists[] = { "allOf", "anyOf", "oneOf" };
        const struct json *items = json_getc(v, "items");
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!s) {
                path_print(&b, vp);
                buf_putc(&b, '\0');
                return field_required(fe, sp, arena_printf(fe->a, "because it is defined in %s", b.p).p);
        }
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                for (size_t k = 0; k < json_len(json_getc(v, lists[i])); k++)
                        check_complete(fe, sp, s, PATH_INDEX(PATH(vp, lists[i]), k),
                                       json_item(json_getc(v, lists[i]), k));
        if (json_getc(v, "not"))
                check_complete(fe, sp, s, PATH(vp, "not"), json_getc(v, "not"));
        if (v == s)
                return; /* the schema itself: only its junctors are looked at */
        if (json_is(items, JSON_OBJECT))
                check_complete(fe, PATH(sp, "items"), json_getc(s, "items"), PATH(vp, "items"), items);
        json_each_member(m, json_getc(v, "properties"))
                check_complete(fe, PATH_KEY(PATH(sp, "properties"), json_key(m)),
                               json_get(json_getc(s, "properties"), json_key(m)),
                               PATH_KEY(PATH(vp, "properties"), json_key(m)), &m->value);
}

/* By what is printed of them. */
static int compare_errors(const void *x, const void *y) {
        const struct field_error *a = x, *b = y;
        int r = memcmp(a->field.p, b->field.p, MIN(a->field.n, b->field.n));

        if (r != 0 || a->field.n == b->field.n)
                return r != 0 ? r : str_cmp(a->body, b->body);
        return a->field.n < b->field.n        ? (':' < b->field.p[a->field.n] ? -1 : 1)
               : a->field.p[b->field.n] < ':' ? -1
                                              : 1;
}

bool crd_validate_structural(struct field_errors *fe, const struct path *p, const struct json *schema) {
        size_t before = fe->list.n;

        check_structural(fe, p, schema, ROOT);
        check_complete(fe, p, schema, p, schema);
        if (fe->list.n > before)
                qsort(fe->list.v + before, fe->list.n - before, sizeof(*fe->list.v), compare_errors);
        return fe->list.n == before;
}

bool crd_is_structural(struct arena *a, const struct json *crd, struct str *ret_why) {
        struct field_errors fe = { .a = a };
        bool ok = true;

        each_at(v, p, PATH(PATH(NULL, "spec"), "versions"), json_at_path(crd, "spec", "versions")) {
                const struct json *schema = json_at_path(v, "schema", "openAPIV3Schema");

                ok = ok && schema && crd_validate_structural(&fe, PATH(PATH(p, "schema"), "openAPIV3Schema"), schema);
                if (fe.list.n > 0)
                        *ret_why = arena_printf(a, "%" STR_FMT ": %" STR_FMT, STR_ARG(fe.list.v[0].field),
                                                STR_ARG(fe.list.v[0].body));
        }
        return ok;
}
