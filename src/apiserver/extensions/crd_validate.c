/* CustomResourceDefinitions: is a definition valid, with upstream's words
 * (k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation).
 *
 * Upstream keeps definitions in an older form, in which what is the same in all versions stands above them, and its
 * errors name that place: spec.validation, spec.subresources, spec.additionalPrinterColumns, spec.selectableFields. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "base/encode.h"
#include "base/map.h"

#define MAX_SELECTABLE 8
#define ANNOTATION "api-approved.kubernetes.io"
#define CLEANUP "customresourcecleanup.apiextensions.k8s.io"

#define SCHEMA_PATH(up) PATH((up), "openAPIV3Schema")

static struct str text(const struct json *j, const char *key) {
        return json_str(json_getc(j, key));
}

static bool is_true(const struct json *j, const char *key) {
        return json_bool(json_getc(j, key));
}

/* Errors of a check in one message, as upstream joins them here. */
static bool check_joined(struct field_errors *fe, const struct path *p, struct str s, name_check check,
                         const struct json *shown) {
        const char *messages[2];
        size_t n = check(s, messages);

        if (n > 0)
                field_invalid(fe, p, shown, "%s%s%s", messages[0], n > 1 ? "," : "", n > 1 ? messages[1] : "");
        return n == 0;
}

static void check_label(struct field_errors *fe, const struct path *p, const struct json *v) {
        if (!str_empty(json_str(v)))
                check_joined(fe, p, json_str(v), check_dns1035_label, v);
}

/* ---- defaults ---- */

/* How an object comes to what is of its kind, apiVersion or metadata. */
struct around {
        const struct around *up; /* NULL: the object itself */
        struct str key;          /* empty: an item of a list */
};

/* Is an object valid in which that is the only thing beside kind and apiVersion? */
static bool check_in_object(struct field_errors *fe, const struct path *here, const struct around *in,
                            const struct json *value) {
        const struct path *nowhere = PATH(NULL, "");
        struct field_errors inner = { .a = fe->a };
        _cleanup_buf_ struct buf why = BUF_INIT;
        const struct json nothing = json_new_object();
        struct crd_schema any = *crd_schema_compile(fe->a, &nothing, "", "");
        struct json object = *value, up;

        for (; in->up; in = in->up) {
                up = str_empty(in->key) ? json_new_array() : json_new_object();
                if (str_empty(in->key))
                        json_push(fe->a, &up, object);
                else
                        json_set(fe->a, &up, in->key, object);
                object = up;
        }
        if (!json_getc(&object, "apiVersion"))
                json_set_cstr(fe->a, &object, "apiVersion", "validation/v1");
        if (!json_getc(&object, "kind"))
                json_set_cstr(fe->a, &object, "kind", "Validation");
        any.has_embedded = true;
        if (crd_check_known(&inner, nowhere, &any, &object))
                crd_validate_embedded(&inner, nowhere, &any, &object);
        for (size_t i = 0; i < inner.list.n; i++)
                buf_printf(&why, "%s%" STR_FMT ": %" STR_FMT,
                           i                  ? ", "
                           : inner.list.n > 1 ? "["
                                              : "",
                           STR_ARG(inner.list.v[i].field), STR_ARG(inner.list.v[i].body));
        if (inner.list.n > 0)
                field_invalid(fe, here, value, "must result in valid metadata: %" STR_FMT "%s", STR_ARG(buf_str(&why)),
                              inner.list.n > 1 ? "]" : "");
        return why.n == 0;
}

/* A default is what an object could have there, when it is new and when it was there before. */
static void check_default(struct field_errors *fe, const struct path *here, const struct crd_schema *s,
                          const struct around *in) {
        size_t before;

        if (in ? !check_in_object(fe, here, in, s->dflt) : !crd_check_known(fe, here, s, s->dflt))
                return;
        before = fe->list.n;
        if (!in)
                crd_validate_embedded(fe, here, s, s->dflt);
        if (fe->list.n == before)
                crd_validate_value(fe, here, s, s->dflt, NULL);
        if (fe->list.n == before)
                crd_rules_run(fe, NULL, here, s, s->dflt, s->dflt);
        if (fe->list.n == before)
                crd_rules_run(fe, NULL, here, s, s->dflt, NULL);
}

/* in: where within what all objects have; NULL: not there. */
static void validate_defaults(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                              const struct around *in) {
        const struct around item = { in, STR("") }, object = { NULL, STR("") };

        if (s->embedded)
                in = NULL;
        if (s->dflt)
                check_default(fe, PATH(p, "default"), s, in);
        if (s->items)
                validate_defaults(fe, PATH(p, "items"), s->items, in ? &item : NULL);
        for (size_t i = 0; i < s->type.n_fields; i++) {
                struct str name = str_n(s->type.fields[i].name, s->type.fields[i].name_len);
                const struct crd_schema *below = crd_node(s, name);
                const struct around here = { in ? in : &object, name };
                bool meta = in || !crd_property(s, name);

                if (below && below->has_defaults)
                        validate_defaults(fe, PATH_KEY(PATH(p, "properties"), name), below, meta ? &here : NULL);
        }
}

/* ---- the rest of a schema ---- */

struct walk {
        struct field_errors *fe;
        const char *no_defaults; /* why none may be here, or NULL */
        bool in_meta;
};

static void walk_schema(struct walk w, const struct path *p, const struct json *j, bool root);

static void check_forbidden(struct walk w, const struct path *p, const struct json *j) {
        static const char *const types[] = { "array", "boolean", "integer", "number", "object", "string", NULL };
        static const char *const unsupported[] = { "id",          "additionalItems", "patternProperties",
                                                   "definitions", "dependencies",    "$ref" };
        struct str type = text(j, "type");
        bool known = str_empty(type);

        for (size_t i = 0; types[i]; i++)
                known = known || str_eqc(type, types[i]);
        if (!known)
                field_not_supported(w.fe, PATH(p, "type"), type, types);
        if (json_getc(j, "default") && w.no_defaults)
                field_forbidden(w.fe, PATH(p, "default"), "must not be set %s", w.no_defaults);
        for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
                if (json_getc(j, unsupported[i]))
                        field_forbidden(w.fe, PATH(p, unsupported[i]), "%s is not supported", unsupported[i]);
        if (str_eqc(type, "null"))
                field_forbidden(w.fe, PATH(p, "type"), "type cannot be set to null, use nullable as an alternative");
        if (json_is(json_getc(j, "items"), JSON_ARRAY))
                field_forbidden(w.fe, PATH(p, "items"), "items must be a schema object and not an array");
        if (w.in_meta && is_true(j, "x-kubernetes-embedded-resource"))
                field_forbidden(w.fe, PATH(p, "x-kubernetes-embedded-resource"),
                                "must not be used inside of resource meta");
        if (is_true(j, "uniqueItems"))
                field_forbidden(w.fe, PATH(p, "uniqueItems"),
                                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
}

/* x-kubernetes-list-type and x-kubernetes-map-type want their type. */
static void check_kind_of(struct field_errors *fe, const struct path *p, const struct json *j, const char *key,
                          const char *wanted, const char *const *known) {
        const struct json *v = json_getc(j, key);
        struct str type = text(j, "type");

        if (!v)
                return;
        if (str_empty(type))
                field_required(fe, PATH(p, "type"),
                               arena_printf(fe->a, "must be %s if %s is specified", wanted, key).p);
        else if (!str_eqc(type, wanted))
                field_invalid_str(fe, PATH(p, "type"), type, "must be %s if %s is specified", wanted, key);
        if (!str_among(json_str(v), known))
                field_not_supported(fe, PATH(p, key), json_str(v), known);
}

static void check_map_keys(struct field_errors *fe, const struct path *p, const struct json *j) {
        const struct json *keys = json_getc(j, "x-kubernetes-list-map-keys"), *items = json_getc(j, "items");
        const struct json *properties = json_getc(items, "properties");
        struct str list_type = text(j, "x-kubernetes-list-type"), type = text(items, "type");
        const struct path *keys_path = PATH(p, "x-kubernetes-list-map-keys"), *items_path = PATH(p, "items");
        bool map = str_eqc(list_type, "map");

        if (json_len(keys) > 0 && str_empty(list_type))
                field_required(fe, PATH(p, "x-kubernetes-list-type"),
                               "must be map if x-kubernetes-list-map-keys is non-empty");
        else if (json_len(keys) > 0 && !map)
                field_invalid_str(fe, PATH(p, "x-kubernetes-list-type"), list_type,
                                  "must be map if x-kubernetes-list-map-keys is non-empty");
        if (!map)
                return;
        if (json_len(keys) == 0)
                field_required(fe, keys_path, "must not be empty if x-kubernetes-list-type is map");
        if (!items)
                field_required(fe, items_path, "must have a schema if x-kubernetes-list-type is map");
        else if (json_is(items, JSON_ARRAY))
                field_invalid(fe, items_path, items, "must only have a single schema if x-kubernetes-list-type is map");
        else if (!str_eqc(type, "object"))
                field_invalid_str(fe, PATH(items_path, "type"), type,
                                  "must be object if parent array's x-kubernetes-list-type is map");
        if (!str_eqc(type, "object"))
                return;
        for (size_t i = 0; i < json_len(keys); i++) {
                const struct json *field = json_get(properties, json_str(json_item(keys, i)));
                struct str key_type = text(field, "type");

                if (!field)
                        field_invalid(fe, keys_path, keys, "entries must all be names of item properties");
                else if (str_eqc(key_type, "array") || str_eqc(key_type, "object"))
                        field_invalid_str(fe,
                                          PATH(PATH_KEY(PATH(items_path, "properties"), json_str(json_item(keys, i))),
                                               "type"),
                                          type,
                                          "must be a scalar type if parent array's x-kubernetes-list-type is map");
                for (size_t k = 0; k < i; k++)
                        if (json_equal(json_item(keys, i), json_item(keys, k))) {
                                field_invalid(fe, keys_path, keys, "must not contain duplicate entries");
                                break;
                        }
        }
}

/* Keys must always be there; items are never null; items of a set are atomic. */
static void check_set_items(struct field_errors *fe, const struct path *p, const struct json *j) {
        const struct json *items = json_getc(j, "items");
        struct str list_type = text(j, "x-kubernetes-list-type"), type = text(items, "type"),
                   inner = text(items, "x-kubernetes-list-type");
        const struct path *items_path = PATH(p, "items");
        bool set = str_eqc(list_type, "set"), array = str_eqc(text(j, "type"), "array");

        if (!items || (!set && !str_eqc(list_type, "map")))
                return;
        if (set && array && str_eqc(type, "array") && !str_empty(inner) && !str_eqc(inner, "atomic"))
                field_invalid_str(fe, PATH(items_path, "x-kubernetes-list-type"), inner,
                                  "must be atomic as item of a list with x-kubernetes-list-type=set");
        if (set && array && str_eqc(type, "object") && !str_eqc(text(items, "x-kubernetes-map-type"), "atomic"))
                field_invalid_str(fe, PATH(items_path, "x-kubernetes-map-type"), STR("null"),
                                  "must be atomic as item of a list with x-kubernetes-list-type=set");
        if (is_true(items, "nullable"))
                field_forbidden(fe, PATH(items_path, "nullable"),
                                "cannot be nullable when x-kubernetes-list-type is %" STR_FMT, STR_ARG(list_type));
        json_each_item(k, set ? NULL : json_getc(j, "x-kubernetes-list-map-keys")) {
                const struct json *field = json_get(json_getc(items, "properties"), json_str(k));
                const struct path *here = PATH_KEY(PATH(items_path, "properties"), json_str(k));
                bool required = false;

                json_each_item(r, json_getc(items, "required"))
                        required = required || json_equal(r, k);
                if (field && !required && !json_getc(field, "default"))
                        field_required(fe, PATH(here, "default"),
                                       "this property is in x-kubernetes-list-map-keys, so it "
                                       "must have a default or be a required property");
                if (field && is_true(field, "nullable"))
                        field_forbidden(fe, PATH(here, "nullable"),
                                        "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
        }
}

static bool has_newline(struct str s) {
        return str_find(s, '\n') >= 0 || str_find(s, '\r') >= 0;
}

static bool path_is_valid(const struct json *schema, struct str path) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;

        return !crd_follow(a, &schema, path, true, &b);
}

/* x-kubernetes-validations, but for their expressions. */
static void check_rules(struct field_errors *fe, const struct path *p, const struct json *schema) {
        static const char *const reasons[] = { "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid",
                                               "FieldValueRequired", NULL };
        const struct json *rules = json_getc(schema, "x-kubernetes-validations");

        for (size_t i = 0; i < json_len(rules); i++) {
                const struct json *r = json_item(rules, i);
                const struct path *at = PATH_INDEX(PATH(p, "x-kubernetes-validations"), i);
                struct str rule = str_trim(text(r, "rule")), message = text(r, "message"), reason = text(r, "reason");

                if (str_empty(rule))
                        field_required(fe, PATH(at, "rule"), "rule is not specified");
                else if (message.n > 0 && str_empty(str_trim(message)))
                        field_invalid_str(fe, PATH(at, "message"), message, "message must be non-empty if specified");
                else if (has_newline(str_trim(message)))
                        field_invalid_str(fe, PATH(at, "message"), message, "message must not contain line breaks");
                else if (has_newline(rule) && str_empty(message))
                        field_required(fe, PATH(at, "message"),
                                       "message must be specified if rule contains line breaks");
                if (text(r, "messageExpression").n > 0 && str_empty(str_trim(text(r, "messageExpression"))))
                        field_required(fe, PATH(at, "messageExpression"),
                                       "messageExpression must be non-empty if specified");
                if (!str_empty(reason) && !str_among(reason, reasons))
                        field_not_supported(fe, PATH(at, "reason"), reason, reasons);
                if (text(r, "fieldPath").n > 0 && str_empty(str_trim(text(r, "fieldPath"))))
                        field_invalid_str(fe, PATH(at, "fieldPath"), text(r, "fieldPath"),
                                          "fieldPath must be non-empty if specified");
                if (has_newline(text(r, "fieldPath")))
                        field_invalid_str(fe, PATH(at, "fieldPath"), text(r, "fieldPath"),
                                          "fieldPath must not contain line breaks");
                if (!path_is_valid(schema, text(r, "fieldPath")))
                        field_invalid_str(fe, PATH(at, "fieldPath"), text(r, "fieldPath"),
                                          "fieldPath must be a valid path");
        }
}

static void walk_properties(struct walk w, const struct path *p, const struct json *j, bool root) {
        bool object = root || is_true(j, "x-kubernetes-embedded-resource");

        json_each_member(m, json_getc(j, "properties")) {
                struct str key = json_key(m);
                struct walk below = w;

                if (object && (str_eqc(key, "metadata") || str_eqc(key, "kind") || str_eqc(key, "apiVersion"))) {
                        below.in_meta = true;
                        if (root)
                                below.no_defaults = arena_printf(w.fe->a, "in top-level %" STR_FMT, STR_ARG(key)).p;
                }
                walk_schema(below, PATH_KEY(PATH(p, "properties"), key), &m->value, false);
        }
}

static void walk_schema(struct walk w, const struct path *p, const struct json *j, bool root) {
        static const char *const lists[] = { "allOf", "oneOf", "anyOf" };
        static const char *const map_types[] = { "atomic", "granular", NULL };
        static const char *const list_types[] = { "atomic", "set", "map", NULL };
        const struct json *more = json_getc(j, "additionalProperties"),
                          *preserve = json_getc(j, "x-kubernetes-preserve-unknown-fields");
        struct walk below = w;

        check_forbidden(w, p, j);
        if (more && json_len(json_getc(j, "properties")) > 0 && !(json_is(more, JSON_BOOL) && more->b))
                field_forbidden(w.fe, PATH(p, "additionalProperties"),
                                "additionalProperties and properties are mutual exclusive");
        if (w.in_meta)
                below.no_defaults = "inside additionalProperties applying to object metadata";
        if (json_is(more, JSON_OBJECT))
                walk_schema(below, PATH(p, "additionalProperties"), more, false);
        walk_properties(w, p, j, root);
        if (json_getc(j, "not"))
                walk_schema(w, PATH(p, "not"), json_getc(j, "not"), false);
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                for (size_t k = 0; k < json_len(json_getc(j, lists[i])); k++)
                        walk_schema(w, PATH_INDEX(PATH(p, lists[i]), k), json_item(json_getc(j, lists[i]), k), false);
        if (json_is(json_getc(j, "items"), JSON_OBJECT))
                walk_schema(w, PATH(p, "items"), json_getc(j, "items"), false);
        if (json_is(preserve, JSON_BOOL) && !preserve->b)
                field_invalid(w.fe, PATH(p, "x-kubernetes-preserve-unknown-fields"), preserve,
                              "must be true or undefined");
        check_kind_of(w.fe, p, j, "x-kubernetes-map-type", "object", map_types);
        check_kind_of(w.fe, p, j, "x-kubernetes-list-type", "array", list_types);
        check_map_keys(w.fe, p, j);
        check_set_items(w.fe, p, j);
        check_rules(w.fe, p, j);
}

#define ROOT_FIELDS                                                                                             \
        "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength " \
        "Pattern "                                                                                              \
        "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example "              \
        "XPreserveUnknownFields XValidations]"

static void check_root(struct field_errors *fe, const struct path *p, const struct json *schema) {
        static const char *const forbidden[] = { "id",
                                                 "$schema",
                                                 "$ref",
                                                 "default",
                                                 "maxProperties",
                                                 "enum",
                                                 "allOf",
                                                 "oneOf",
                                                 "anyOf",
                                                 "minProperties",
                                                 "not",
                                                 "nullable",
                                                 "additionalProperties",
                                                 "x-kubernetes-embedded-resource",
                                                 "x-kubernetes-int-or-string",
                                                 "x-kubernetes-list-map-keys",
                                                 "x-kubernetes-list-type",
                                                 "x-kubernetes-map-type",
                                                 NULL };

        if (!str_empty(text(schema, "type")) && !str_eqc(text(schema, "type"), "object"))
                field_invalid_str(fe, PATH(p, "openAPIV3Schema.type"), text(schema, "type"),
                                  "only \"object\" is allowed as the type at the root of the schema if the status "
                                  "subresource is enabled");
        json_each_member(m, schema)
                if (str_among(json_key(m), forbidden) && !(m->value.type == JSON_BOOL && !m->value.b)) {
                        field_invalid(fe, SCHEMA_PATH(p), schema,
                                      "only " ROOT_FIELDS " fields are allowed at the root of the schema if the status "
                                      "subresource is enabled");
                        return;
                }
}

/* Does it say, anywhere, what no structural schema can? Then whether it is one is no question. */
static bool is_unsupported(const struct json *j) {
        static const char *const keys[] = { "id",           "$schema",         "$ref",       "patternProperties",
                                            "dependencies", "additionalItems", "definitions" },
                                 *const one[] = { "items", "additionalProperties", "not" },
                                 *const many[] = { "properties", "allOf", "anyOf", "oneOf" };
        const struct json *preserve = json_getc(j, "x-kubernetes-preserve-unknown-fields"), *v;
        bool found = json_is(json_getc(j, "items"), JSON_ARRAY) || (json_is(preserve, JSON_BOOL) && !preserve->b);

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                v = json_getc(j, keys[i]);
                found = found || (v && (json_is(v, JSON_BOOL) || v->len > 0));
        }
        for (size_t i = 0; i < ARRAY_SIZE(one); i++)
                found = found || (json_is(json_getc(j, one[i]), JSON_OBJECT) && is_unsupported(json_getc(j, one[i])));
        for (size_t i = 0; i < ARRAY_SIZE(many) && !found; i++) {
                json_each_member(m, i == 0 ? json_getc(j, many[i]) : NULL)
                        found = found || is_unsupported(&m->value);
                json_each_item(it, i > 0 ? json_getc(j, many[i]) : NULL)
                        found = found || is_unsupported(it);
        }
        return found;
}

static void validate_schema(struct field_errors *fe, const struct path *p, const struct json *schema, bool status) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct path *here = SCHEMA_PATH(p);
        struct crd_schema *compiled;
        size_t first = fe->list.n, before, structural;
        bool unsupported = is_unsupported(schema), rules = false;

        if (status)
                check_root(fe, p, schema);
        if (is_true(schema, "nullable"))
                field_forbidden(fe, PATH(p, "openAPIV3Schema.nullable"), "nullable cannot be true at the root");
        structural = fe->list.n;
        if (!unsupported && crd_validate_structural(fe, here, schema)) {
                a = arena_new(0);
                compiled = crd_schema_compile(a, schema, "", "");
                if (compiled->has_defaults) {
                        crd_rules_compile(a, compiled);
                        validate_defaults(fe, here, compiled, NULL);
                }
                crd_schema_release(compiled);
                rules = fe->list.n == structural;
        }
        before = fe->list.n;
        walk_schema((struct walk) { .fe = fe }, here, schema, true);
        if (unsupported && fe->list.n == first) /* all else of that has been told */
                field_invalid_str(fe, here, STR(""), "OpenAPIV3Schema 'schema' is not supported");
        if (rules)
                crd_rules_validate(fe, here, schema, before);
}

/* ---- versions ---- */

/* The same in all versions: upstream knows it once, above them. */
static bool is_shared(const struct json *versions, const char *key) {
        const struct json *first = json_getc(json_item(versions, 0), key);

        json_each_item(v, versions)
                if (!json_getc(v, key) || !json_equal(json_getc(v, key), first))
                        return false;
        return json_len(versions) > 0;
}

static void check_json_path(struct field_errors *fe, const struct path *p, const struct json *v, const char *below,
                            const char *where) {
        struct str s = json_str(v), rest = STR(""), root;

        if (str_empty(s)) {
                field_required(fe, p, "");
                return;
        }
        if (s.p[0] != '.') {
                field_invalid_str(fe, p, s, "must be a simple json path starting with .");
                return;
        }
        rest = str_of(below);
        while (rest.n > 0 && str_split(&rest, ' ', &root))
                if (str_has_prefix(s, root))
                        return;
        if (*below)
                field_invalid_str(fe, p, s, "should be a json path under %s", where);
}

static void validate_subresources(struct field_errors *fe, const struct path *p, const struct json *subs) {
        const struct json *scale = json_getc(subs, "scale"), *selector = json_getc(scale, "labelSelectorPath");

        if (!scale)
                return;
        check_json_path(fe, PATH(p, "scale.specReplicasPath"), json_getc(scale, "specReplicasPath"), ".spec.", ".spec");
        check_json_path(fe, PATH(p, "scale.statusReplicasPath"), json_getc(scale, "statusReplicasPath"), ".status.",
                        ".status");
        if (!str_empty(json_str(selector)))
                check_json_path(fe, PATH(p, "scale.labelSelectorPath"), selector, ".spec. .status.",
                                "either .spec or .status");
}

static void validate_column(struct field_errors *fe, const struct path *p, const struct json *c) {
        static const char *const types[] = { "boolean", "date", "integer", "number", "string", NULL };
        static const char *const formats[] = { "byte",  "date",  "date-time", "double", "float",
                                               "int32", "int64", "password",  NULL };
        struct str type = text(c, "type"), format = text(c, "format");

        if (str_empty(text(c, "name")))
                field_required(fe, PATH(p, "name"), "");
        if (str_empty(type))
                field_required(fe, PATH(p, "type"), "must be one of boolean,date,integer,number,string");
        else if (!str_among(type, types))
                field_invalid_str(fe, PATH(p, "type"), type, "must be one of boolean,date,integer,number,string");
        if (!str_empty(format) && !str_among(format, formats))
                field_invalid_str(fe, PATH(p, "format"), format,
                                  "must be one of byte,date,date-time,double,float,int32,int64,password");
        check_json_path(fe, PATH(p, "JSONPath"), json_getc(c, "jsonPath"), "", "");
}

static void validate_selectable(struct field_errors *fe, const struct path *p, const struct json *fields,
                                const struct json *schema) {
        size_t n = json_len(fields), different = 0;
        struct str *seen = arena_array(fe->a, struct str, n + 1);

        for (size_t i = 0; i < n; i++) {
                const struct json *path = json_getc(json_item(fields, i), "jsonPath"), *found = schema;
                const struct path *at = PATH(PATH_INDEX(p, i), "jsonPath");
                _cleanup_buf_ struct buf b = BUF_INIT;
                const char *fault = crd_follow(fe->a, &found, json_str(path), false, &b);
                struct str type = text(found, "type");
                size_t k = 0;

                if (str_empty(json_str(path))) {
                        field_required(fe, at, "");
                        continue;
                }
                if (fault) {
                        field_invalid(fe, at, path, "is an invalid path: %s", fault);
                        continue;
                }
                if (str_has_prefix(json_str(path), STR(".metadata")) &&
                    (json_str(path).n == 9 || json_str(path).p[9] == '.'))
                        field_invalid(fe, at, path, "must not point to fields in metadata");
                if (!str_eqc(type, "string") && !str_eqc(type, "boolean") && !str_eqc(type, "integer"))
                        field_invalid(fe, at, path,
                                      "must point to a field of type string, boolean or integer. Enum string "
                                      "fields and strings with formats are allowed.");
                while (k < different && !str_eq(seen[k], buf_str(&b)))
                        k++;
                if (k < different)
                        field_duplicate_value(fe, at, path);
                else
                        seen[different++] = arena_str(fe->a, buf_str(&b));
        }
        if (different > MAX_SELECTABLE)
                field_too_many(fe, p, different, MAX_SELECTABLE);
}

static void check_deprecation(struct field_errors *fe, const struct path *p, const struct json *v) {
        const struct json *warning = json_getc(v, "deprecationWarning");
        struct str s = json_str(warning);

        if (!warning)
                return;
        if (!is_true(v, "deprecated")) {
                field_invalid(fe, PATH(p, "deprecationWarning"), warning, "can only be set for deprecated versions");
                return;
        }
        if (s.n > 256)
                field_invalid(fe, PATH(p, "deprecationWarning"), warning, "must be <= 256 characters long");
        if (s.n == 0)
                field_invalid(fe, PATH(p, "deprecationWarning"), warning, "must not be an empty string");
        for (size_t i = 0; i < s.n; i++)
                if ((unsigned char) s.p[i] < 0x20 || s.p[i] == 0x7f) {
                        field_invalid(fe, PATH(p, "deprecationWarning"), warning,
                                      "must only contain printable UTF-8 characters; non-printable character found at "
                                      "index %zu",
                                      i);
                        return;
                }
}

/* What is the same in all versions comes after them, with the path it has above them. */
static bool comes_here(const struct json *versions, const char *key, bool shared) {
        return is_shared(versions, key) == shared;
}

static void validate_parts(struct field_errors *fe, const struct path *p, const struct json *versions,
                           const struct json *v, bool shared) {
        const struct json *schema = json_at_path(v, "schema", "openAPIV3Schema"),
                          *columns = json_getc(v, "additionalPrinterColumns"),
                          *fields = json_getc(v, "selectableFields");
        bool status = json_at_path(v, "subresources", "status");

        for (size_t i = 0; shared && i < json_len(versions); i++)
                status = status || json_at_path(json_item(versions, i), "subresources", "status");
        if (schema && comes_here(versions, "schema", shared))
                validate_schema(fe, PATH(p, shared ? "validation" : "schema"), schema, status);
        if (comes_here(versions, "subresources", shared))
                validate_subresources(fe, PATH(p, "subresources"), json_getc(v, "subresources"));
        for (size_t k = 0; comes_here(versions, "additionalPrinterColumns", shared) && k < json_len(columns); k++)
                validate_column(fe, PATH_INDEX(PATH(p, "additionalPrinterColumns"), k), json_item(columns, k));
        if (json_len(fields) == 0 || !comes_here(versions, "selectableFields", shared))
                return;
        if (shared && !is_shared(versions, "schema"))
                field_invalid_str(fe, PATH(p, "selectableFields"), STR(""),
                                  "selectableFields may only be set when validations.schema is included");
        else if (!shared && (!schema || is_shared(versions, "schema")))
                field_invalid_str(
                                fe, PATH(p, "selectableFields"), STR(""),
                                "selectableFields may only be set when version.schema.openAPIV3Schema is not included");
        else
                validate_selectable(fe, PATH(p, "selectableFields"), fields, schema);
}

static void validate_versions(struct field_errors *fe, const struct path *spec, const struct json *versions) {
        const struct path *at = PATH(spec, "versions");
        size_t n_storage = 0;
        bool twice = false;

        for (size_t i = 0; i < json_len(versions); i++)
                if (!json_at_path(json_item(versions, i), "schema", "openAPIV3Schema"))
                        field_required(fe, SCHEMA_PATH(PATH(PATH_INDEX(at, i), "schema")), "schemas are required");
        for (size_t i = 0; i < json_len(versions); i++) {
                const struct json *v = json_item(versions, i);

                check_joined(fe, PATH(PATH_INDEX(at, i), "name"), text(v, "name"), check_dns1035_label,
                             json_getc(v, "name"));
                check_deprecation(fe, PATH_INDEX(at, i), v);
                validate_parts(fe, PATH_INDEX(at, i), versions, v, false);
                n_storage += is_true(v, "storage");
                for (size_t k = 0; k < i; k++)
                        twice = twice || str_eq(text(v, "name"), text(json_item(versions, k), "name"));
        }
        if (twice)
                field_invalid(fe, at, versions, "must contain unique version names");
        if (n_storage != 1)
                field_invalid(fe, at, versions, "must have exactly one version marked as storage version");
        if (json_len(versions) > 0)
                check_joined(fe, PATH(spec, "version"), text(json_item(versions, 0), "name"), check_dns1035_label,
                             json_getc(json_item(versions, 0), "name"));
}

/* ---- conversion ---- */

/* Upstream lets such a definition be created, does not establish it, and refuses the bundle in later changes. */
bool crd_bundle_is_bad(const struct json *crd) {
        struct str bundle = json_str(json_at_path(crd, "spec", "conversion", "webhook", "clientConfig", "caBundle"));
        _cleanup_buf_ struct buf pem = BUF_INIT;
        X509 *cert = NULL;
        BIO *bio;

        if (str_empty(bundle))
                return false;
        if (base64_decode(&pem, bundle) == 0 && (bio = BIO_new_mem_buf(pem.p, (int) pem.n))) {
                cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
                BIO_free(bio);
        }
        ERR_clear_error();
        X509_free(cert);
        return cert == NULL;
}

/* As Go prints it: []byte{0x61, 0x62}. */
static const struct json *shown_bytes(struct arena *a, struct str base64) {
        _cleanup_buf_ struct buf bytes = BUF_INIT, b = BUF_INIT;

        base64_decode(&bytes, base64);
        for (size_t i = 0; i < bytes.n; i++)
                buf_printf(&b, "%s0x%x", i ? ", " : "[]byte{", (unsigned char) bytes.p[i]);
        buf_putc(&b, '}');
        return json_new(a, json_of_raw(arena_str(a, buf_str(&b))));
}

static void check_review_versions(struct field_errors *fe, const struct path *p, const struct json *versions) {
        bool known = false;

        if (json_len(versions) == 0) {
                field_required(fe, p, "");
                return;
        }
        for (size_t i = 0; i < json_len(versions); i++) {
                const struct json *v = json_item(versions, i);
                bool twice = false;

                for (size_t k = 0; k < i; k++)
                        twice = twice || json_equal(v, json_item(versions, k));
                if (twice)
                        field_invalid(fe, PATH_INDEX(p, i), v, "duplicate version");
                else
                        check_field(fe, PATH_INDEX(p, i), json_str(v), check_dns1035_label);
                known = known || str_eqc(json_str(v), "v1") || str_eqc(json_str(v), "v1beta1");
        }
        if (!known)
                field_invalid(fe, p, versions, "must include at least one of v1, v1beta1");
}

static void validate_conversion(struct field_errors *fe, const struct path *p, const struct json *conversion,
                                bool preserved) {
        static const char *const strategies[] = { "None", "Webhook", NULL };
        const struct json *webhook = json_getc(conversion, "webhook"), *client = json_getc(webhook, "clientConfig");
        struct str strategy = text(conversion, "strategy");

        if (!conversion)
                return;
        if (!str_eqc(strategy, "None") && preserved)
                field_invalid_str(fe, PATH(p, "strategy"), strategy,
                                  "must be None if spec.preserveUnknownFields is true");
        if (str_empty(strategy))
                field_required(fe, PATH(p, "strategy"), "");
        else
                check_enum(fe, PATH(p, "strategy"), strategy, strategies);
        if (str_eqc(strategy, "Webhook")) {
                if (!client)
                        field_required(fe, PATH(p, "webhookClientConfig"), "required when strategy is set to Webhook");
                else
                        validate_webhook_client(fe, PATH(p, "webhookClientConfig"), client);
                check_review_versions(fe, PATH(p, "conversionReviewVersions"),
                                      json_getc(webhook, "conversionReviewVersions"));
        } else {
                if (client)
                        field_forbidden(fe, PATH(p, "webhookClientConfig"),
                                        "should not be set when strategy is not set to Webhook");
                if (json_len(json_getc(webhook, "conversionReviewVersions")) > 0)
                        field_forbidden(fe, PATH(p, "conversionReviewVersions"),
                                        "should not be set when strategy is not set to Webhook");
        }
}

/* ---- names, approval, all ---- */

static void validate_names(struct field_errors *fe, const struct path *p, const struct json *names) {
        const struct json *kind = json_getc(names, "kind"), *list = json_getc(names, "listKind");

        check_label(fe, PATH(p, "plural"), json_getc(names, "plural"));
        check_label(fe, PATH(p, "singular"), json_getc(names, "singular"));
        crd_check_kind(fe, PATH(p, "kind"), kind);
        crd_check_kind(fe, PATH(p, "listKind"), list);
        for (size_t i = 0; i < json_len(json_getc(names, "shortNames")); i++)
                check_label(fe, PATH_INDEX(PATH(p, "shortNames"), i), json_item(json_getc(names, "shortNames"), i));
        if (!str_empty(json_str(kind)) && str_eq(json_str(kind), json_str(list)))
                field_invalid(fe, PATH(p, "listKind"), list, "kind and listKind may not be the same");
        for (size_t i = 0; i < json_len(json_getc(names, "categories")); i++)
                check_label(fe, PATH_INDEX(PATH(p, "categories"), i), json_item(json_getc(names, "categories"), i));
}

enum crd_approval crd_approval(struct arena *a, const struct json *crd, struct str *ret_reason) {
        struct str group = json_str(json_at_path(crd, "spec", "group")),
                   s = json_str(json_at_path(crd, "metadata", "annotations", ANNOTATION));
        ssize_t scheme = str_search(s, STR("://"));

        if (!str_eqc(group, "k8s.io") && !str_eqc(group, "kubernetes.io") && !str_has_suffix(group, STR(".k8s.io")) &&
            !str_has_suffix(group, STR(".kubernetes.io")))
                return CRD_APPROVAL_NOT_NEEDED;
        if (str_empty(s)) {
                *ret_reason = STR("protected groups must have approval annotation \"" ANNOTATION "\", see "
                                  "https://github.com/kubernetes/enhancements/pull/1111");
                return CRD_APPROVAL_MISSING;
        }
        if (str_has_prefix(s, STR("unapproved"))) {
                *ret_reason = arena_printf(a, "not approved: \"%" STR_FMT "\"", STR_ARG(s));
                return CRD_APPROVAL_BYPASSED;
        }
        if (scheme > 0 && s.n > (size_t) scheme + 3) {
                *ret_reason = arena_printf(a, "approved in %" STR_FMT, STR_ARG(s));
                return CRD_APPROVED;
        }
        *ret_reason = STR("protected groups must have approval annotation \"" ANNOTATION
                          "\" with either a URL or a reason "
                          "starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111");
        return CRD_APPROVAL_INVALID;
}

static void check_approval(struct field_errors *fe, const struct json *obj, const struct json *old) {
        struct str reason = STR(""), ignored;
        enum crd_approval now = crd_approval(fe->a, obj, &reason);
        const struct path *p = PATH_KEY(PATH(PATH(NULL, "metadata"), "annotations"), STR(ANNOTATION));

        if (old && crd_approval(fe->a, old, &ignored) == now)
                return;
        if (now == CRD_APPROVAL_MISSING)
                field_required(fe, p, reason.p);
        else if (now == CRD_APPROVAL_INVALID)
                field_invalid(fe, p, json_at_path(obj, "metadata", "annotations", ANNOTATION), "%s", reason.p);
}

static void check_stored(struct field_errors *fe, const struct json *obj) {
        const struct json *stored = json_at_path(obj, "status", "storedVersions");
        const struct path *p = PATH(PATH(NULL, "status"), "storedVersions");

        if (json_len(stored) == 0)
                field_invalid(fe, p, json_new(fe->a, json_of_raw(STR("[]string(nil)"))),
                              "must have at least one stored version");
        json_each_item(v, json_len(stored) > 0 ? json_at_path(obj, "spec", "versions") : NULL)
                if (is_true(v, "storage") && !json_has_str(stored, text(v, "name")))
                        field_invalid(fe, p, stored, "must have the storage version %" STR_FMT,
                                      STR_ARG(text(v, "name")));
        for (size_t i = 0; i < json_len(stored); i++) {
                struct str s = json_str(json_item(stored, i));
                bool there = false;

                json_each_item(v, json_at_path(obj, "spec", "versions"))
                        there = there || str_eq(text(v, "name"), s);
                if (!there)
                        field_invalid_str(fe, PATH_INDEX(p, i), s,
                                          "missing from spec.versions; %" STR_FMT
                                          " was previously a storage version, and "
                                          "must remain in spec.versions until a storage migration ensures no data "
                                          "remains persisted in %" STR_FMT " and removes %" STR_FMT
                                          " from status.storedVersions",
                                          STR_ARG(s), STR_ARG(s), STR_ARG(s));
        }
}

static void check_unchanged(struct field_errors *fe, const struct json *spec, const struct json *old_spec,
                            bool established) {
        const struct path *p = PATH(NULL, "spec"), *names = PATH(p, "names");
        const struct json *now = json_getc(spec, "names"), *then = json_getc(old_spec, "names");

        if (established) {
                check_immutable(fe, PATH(p, "scope"), json_getc(spec, "scope"), json_getc(old_spec, "scope"));
                check_immutable(fe, PATH(names, "kind"), json_getc(now, "kind"), json_getc(then, "kind"));
        }
        check_immutable(fe, PATH(p, "group"), json_getc(spec, "group"), json_getc(old_spec, "group"));
        check_immutable(fe, PATH(names, "plural"), json_getc(now, "plural"), json_getc(then, "plural"));
}

static void check_group_and_scope(struct field_errors *fe, const struct path *p, const struct json *spec) {
        static const char *const scopes[] = { "Cluster", "Namespaced", NULL };
        const struct json *group = json_getc(spec, "group");
        struct str scope = text(spec, "scope");

        if (str_empty(json_str(group)))
                field_required(fe, PATH(p, "group"), "");
        else if (check_joined(fe, PATH(p, "group"), json_str(group), check_dns_subdomain, group) &&
                 str_find(json_str(group), '.') < 0)
                field_invalid(fe, PATH(p, "group"), group, "should be a domain with at least one dot");
        if (str_empty(scope))
                field_required(fe, PATH(p, "scope"), "");
        else
                check_enum(fe, PATH(p, "scope"), scope, scopes);
}

void validate_crd(struct field_errors *fe, const struct json *obj, const struct json *old) {
        static const char *const needed[] = { "plural", "singular", "kind", "listKind" };
        const struct json *spec = json_getc(obj, "spec"), *versions = json_getc(spec, "versions"),
                          *names = json_getc(spec, "names"), *preserve = json_getc(spec, "preserveUnknownFields");
        const struct path *p = PATH(NULL, "spec");
        struct str name = json_str(json_at_path(obj, "metadata", "name")),
                   wanted = arena_printf(fe->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(text(names, "plural")),
                                         STR_ARG(text(spec, "group")));

        if (!old && !str_eq(name, wanted))
                field_invalid_str(fe, PATH(PATH(NULL, "metadata"), "name"), name,
                                  "must be spec.names.plural+\".\"+spec.group");
        check_group_and_scope(fe, p, spec);
        validate_versions(fe, p, versions);
        for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
                if (str_empty(text(names, needed[i])))
                        field_required(fe, PATH(PATH(p, "names"), needed[i]), "");
        validate_names(fe, PATH(p, "names"), names);
        validate_parts(fe, p, versions, json_item(versions, 0), true);
        validate_conversion(fe, PATH(p, "conversion"), json_getc(spec, "conversion"), json_bool(preserve));
        if (old && condition_is(json_getc(old, "status"), "Established", "True") && crd_bundle_is_bad(obj) &&
            !crd_bundle_is_bad(old))
                field_invalid(fe, PATH(PATH(PATH(p, "conversion"), "webhookClientConfig"), "caBundle"),
                              shown_bytes(fe->a, json_str(json_at_path(spec, "conversion", "webhook", "clientConfig",
                                                                       "caBundle"))),
                              "unable to load root certificates: unable to parse bytes as PEM block");
        if (old)
                check_unchanged(fe, spec, json_getc(old, "spec"),
                                condition_is(json_getc(old, "status"), "Established", "True"));
        validate_names(fe, PATH(PATH(NULL, "status"), "acceptedNames"), json_at_path(obj, "status", "acceptedNames"));
        check_stored(fe, obj);
        check_approval(fe, obj, old);
        if (json_bool(preserve) && !json_bool(json_at_path(old, "spec", "preserveUnknownFields")))
                field_invalid(fe, PATH(p, "preserveUnknownFields"), preserve,
                              "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
                              "spec.versions[*].schema instead");
}

void validate_crd_status(struct field_errors *fe, const struct json *obj, const struct json *old) {
        validate_names(fe, PATH(PATH(NULL, "status"), "acceptedNames"), json_at_path(obj, "status", "acceptedNames"));
}

/* ---- strategy ---- */

/* Objects will be written in the storage version: it is remembered until somebody says that none are left. */
static void note_storage(struct arena *a, struct json *obj) {
        struct json *status = json_get_or_add_object(a, obj, "status"), *list;
        struct str storage = STR("");

        *status = json_copy_shallow(a, status);
        list = json_get_or_add_array(a, status, "storedVersions");
        *list = json_copy_shallow(a, list);
        json_each_item(v, json_at_path(obj, "spec", "versions"))
                if (is_true(v, "storage"))
                        storage = text(v, "name");
        json_each_item(v, list)
                if (str_eq(json_str(v), storage))
                        return;
        if (storage.n > 0)
                json_push(a, list, json_of_str(storage));
}

int crd_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json status = json_new_object(), names = json_new_object();

        json_set_cstr(a, &names, "plural", "");
        json_set_cstr(a, &names, "kind", "");
        json_setc(a, &status, "conditions", json_null());
        json_setc(a, &status, "acceptedNames", names);
        json_setc(a, obj, "status", status);
        note_storage(a, obj);
        return 0;
}

int crd_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        note_storage(op->c->arena, obj);
        return 0;
}

/* Its objects go first: extensions.c takes the finalizer away when none are left. */
void crd_prepare_delete(struct op *op, struct json *obj) {
        struct arena *a = op->c->arena;
        struct json *list = json_get_or_add_array(a, json_get_or_add_object(a, obj, "metadata"), "finalizers");

        if (object_deleting(op->old))
                return;
        json_each_item(f, list)
                if (str_eqc(json_str(f), CLEANUP))
                        return;
        json_push(a, list, json_of_cstr(CLEANUP));
}
