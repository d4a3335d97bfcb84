/* The schema of a CustomResourceDefinition, in upstream's words: what may stand in it and where, whether its defaults
 * are objects that it lets pass, and, when nothing else is wrong, its rules
 * (k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation, .../schema/defaulting). */
#include "apiserver/config_file.h"
#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"

#define SCHEMA_PATH(up) PATH((up), "openAPIV3Schema")
#define IS_TRUE(o, k) json_bool(json_getc((o), (k)))

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
        INVALID_IF(inner.list.n > 0, here, value, "must result in valid metadata: %" STR_FMT "%s",
                   STR_ARG(buf_str(&why)), inner.list.n > 1 ? "]" : "");
        return why.n == 0;
}

/* A default is what an object could have there, when it is new and when it was there before. */
static void check_default(struct field_errors *fe, const struct path *here, const struct crd_schema *s,
                          const struct around *in) {
        struct json dflt = *s->dflt;
        size_t before;

        if (in ? !check_in_object(fe, here, in, &dflt) : !crd_check_known(fe, here, s, &dflt))
                return;
        before = fe->list.n;
        if (!in)
                crd_validate_embedded(fe, here, s, &dflt);
        if (fe->list.n == before)
                crd_validate_value(fe, here, s, &dflt, NULL);
        if (fe->list.n == before)
                crd_rules_run(fe, NULL, here, s, &dflt, &dflt);
        if (fe->list.n == before)
                crd_rules_run(fe, NULL, here, s, &dflt, NULL);
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
        struct str type = TEXT(j, "type");
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
        if (w.in_meta && IS_TRUE(j, "x-kubernetes-embedded-resource"))
                field_forbidden(w.fe, PATH(p, "x-kubernetes-embedded-resource"),
                                "must not be used inside of resource meta");
        if (IS_TRUE(j, "uniqueItems"))
                field_forbidden(w.fe, PATH(p, "uniqueItems"),
                                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic");
}

/* x-kubernetes-list-type and x-kubernetes-map-type want their type. */
static void check_kind_of(struct field_errors *fe, const struct path *p, const struct json *j, const char *key,
                          const char *wanted, const char *const *known) {
        const struct json *v = json_getc(j, key);
        struct str type = TEXT(j, "type");

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
        struct str list_type = TEXT(j, "x-kubernetes-list-type"), type = TEXT(items, "type");
        const struct path *keys_path = PATH(p, "x-kubernetes-list-map-keys"), *items_path = PATH(p, "items");
        _cleanup_(json_edit_end) struct json_edit fields = { .object = (struct json *) properties };
        _cleanup_(map_freep) struct map *seen = map_new(NULL);
        bool map = str_eqc(list_type, "map");

        if (json_len(keys) > 0 && str_empty(list_type))
                field_required(fe, PATH(p, "x-kubernetes-list-type"),
                               "must be map if x-kubernetes-list-map-keys is non-empty");
        else if (json_len(keys) > 0 && !map)
                field_invalid_str(fe, PATH(p, "x-kubernetes-list-type"), list_type,
                                  "must be map if x-kubernetes-list-map-keys is non-empty");
        if (!map)
                return;
        REQUIRED_IF(json_len(keys) == 0, keys_path, "must not be empty if x-kubernetes-list-type is map");
        if (!items)
                field_required(fe, items_path, "must have a schema if x-kubernetes-list-type is map");
        else if (json_is(items, JSON_ARRAY))
                field_invalid(fe, items_path, items, "must only have a single schema if x-kubernetes-list-type is map");
        else if (!str_eqc(type, "object"))
                field_invalid_str(fe, PATH(items_path, "type"), type,
                                  "must be object if parent array's x-kubernetes-list-type is map");
        if (!str_eqc(type, "object"))
                return;
        for (size_t i = 0; i < json_len(keys) && !errors_are_many(fe); i++) {
                const struct json *field = json_edit_get(&fields, json_str(json_item(keys, i)));
                struct str key_type = TEXT(field, "type");

                if (!field)
                        field_invalid(fe, keys_path, list_in_go(fe->a, keys, "string", NULL, NULL),
                                      "entries must all be names of item properties");
                else if (str_eqc(key_type, "array") || str_eqc(key_type, "object"))
                        field_invalid_str(fe,
                                          PATH(PATH_KEY(PATH(items_path, "properties"), json_str(json_item(keys, i))),
                                               "type"),
                                          type,
                                          "must be a scalar type if parent array's x-kubernetes-list-type is map");
                INVALID_IF(!map_put(seen, json_str(json_item(keys, i)), (void *) keys), keys_path,
                           list_in_go(fe->a, keys, "string", NULL, NULL), "must not contain duplicate entries");
        }
}

/* Those of a set are. */
static void check_atomic_items(struct field_errors *fe, const struct path *p, const struct json *j) {
        const struct json *items = json_getc(j, "items");
        struct str type = TEXT(items, "type"), inner = TEXT(items, "x-kubernetes-list-type");
        const struct path *items_path = PATH(p, "items");

        if (!str_eqc(TEXT(j, "x-kubernetes-list-type"), "set") || !str_eqc(TEXT(j, "type"), "array"))
                return;
        if (str_eqc(type, "array") && !str_empty(inner) && !str_eqc(inner, "atomic"))
                field_invalid_str(fe, PATH(items_path, "x-kubernetes-list-type"), inner,
                                  "must be atomic as item of a list with x-kubernetes-list-type=set");
        if (str_eqc(type, "object") && !str_eqc(TEXT(items, "x-kubernetes-map-type"), "atomic"))
                field_invalid_str(fe, PATH(items_path, "x-kubernetes-map-type"), STR("null"),
                                  "must be atomic as item of a list with x-kubernetes-list-type=set");
}

/* Keys must always be there; items are never null. */
static void check_items(struct field_errors *fe, const struct path *p, const struct json *j) {
        const struct json *items = json_getc(j, "items");
        struct str list_type = TEXT(j, "x-kubernetes-list-type");
        const struct path *items_path = PATH(p, "items");
        _cleanup_(json_edit_end) struct json_edit fields = { .object = (struct json *) json_getc(items, "properties") };
        _cleanup_(map_freep) struct map *needed = map_new(NULL);
        bool set = str_eqc(list_type, "set");

        if (!items || (!set && !str_eqc(list_type, "map")))
                return;
        FORBIDDEN_IF(IS_TRUE(items, "nullable"), PATH(items_path, "nullable"),
                     "cannot be nullable when x-kubernetes-list-type is %" STR_FMT, STR_ARG(list_type));
        json_each_item(r, json_getc(items, "required"))
                map_put(needed, json_str(r), r);
        json_each_item(k, set ? NULL : json_getc(j, "x-kubernetes-list-map-keys")) {
                const struct json *field = json_edit_get(&fields, json_str(k));
                const struct path *here = PATH_KEY(PATH(items_path, "properties"), json_str(k));

                if (field && !map_has(needed, json_str(k)) && !json_getc(field, "default"))
                        field_required(fe, PATH(here, "default"),
                                       "this property is in x-kubernetes-list-map-keys, so it "
                                       "must have a default or be a required property");
                FORBIDDEN_IF(field && IS_TRUE(field, "nullable"), PATH(here, "nullable"),
                             "this property is in x-kubernetes-list-map-keys, so it cannot be nullable");
        }
}

static bool has_newline(struct str s) {
        return str_find(s, '\n') >= 0 || str_find(s, '\r') >= 0;
}

const char *crd_unsupported(const struct json *j) {
        static const char *const keys[][2] = {
                { "id", "OpenAPIV3Schema 'id' is not supported" },
                { "$schema", "OpenAPIV3Schema 'schema' is not supported" },
                { "$ref", "OpenAPIV3Schema '$ref' is not supported" },
                { "patternProperties", "OpenAPIV3Schema 'patternProperties' is not supported" },
                { "dependencies", "OpenAPIV3Schema 'dependencies' is not supported" },
                { "additionalItems", "OpenAPIV3Schema 'additionalItems' is not supported" },
                { "definitions", "OpenAPIV3Schema 'definitions' is not supported" }
        };
        static const char *const below[] = { "allOf", "anyOf", "oneOf",      "not",
                                             NULL,    "items", "properties", "additionalProperties" };
        const struct json *preserve = json_getc(j, "x-kubernetes-preserve-unknown-fields");
        const char *why = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                const struct json *v = json_getc(j, keys[i][0]);

                if (v && (v->type < JSON_STRING ? v->type == JSON_BOOL : v->len > 0 || i == 5))
                        return keys[i][1];
        }
        for (size_t i = 0; i < ARRAY_SIZE(below) && !why; i++) {
                const struct json *v = below[i] ? json_getc(j, below[i]) : NULL;

                if (!below[i] && json_is(preserve, JSON_BOOL) && !preserve->b)
                        return "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
                if (json_is(v, JSON_ARRAY) && str_eqc(STR("items"), below[i]))
                        return "OpenAPIV3Schema 'items' must be a schema, but is an array";
                json_each_item(it, v)
                        why = why ? why : crd_unsupported(it);
                if (below[i] && strcmp(below[i], "properties") == 0)
                        json_each_member(m, v)
                                why = why ? why : crd_unsupported(&m->value);
                else if (json_is(v, JSON_OBJECT))
                        why = crd_unsupported(v);
        }
        return why;
}

static bool path_is_valid(const struct json *schema, struct str path) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (str_empty(path) || crd_unsupported(schema))
                return true; /* nobody knows what lies there */
        a = arena_new(0);
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
                struct str rule = str_trim(TEXT(r, "rule")), message = TEXT(r, "message"), reason = TEXT(r, "reason");

                if (str_empty(rule))
                        field_required(fe, PATH(at, "rule"), "rule is not specified");
                else if (message.n > 0 && str_empty(str_trim(message)))
                        field_invalid_str(fe, PATH(at, "message"), message, "message must be non-empty if specified");
                else if (has_newline(str_trim(message)))
                        field_invalid_str(fe, PATH(at, "message"), message, "message must not contain line breaks");
                else if (has_newline(rule) && str_empty(message))
                        field_required(fe, PATH(at, "message"),
                                       "message must be specified if rule contains line breaks");
                REQUIRED_IF(TEXT(r, "messageExpression").n > 0 && str_empty(str_trim(TEXT(r, "messageExpression"))),
                            PATH(at, "messageExpression"), "messageExpression must be non-empty if specified");
                if (json_getc(r, "reason") && !str_among(reason, reasons))
                        field_not_supported(fe, PATH(at, "reason"), reason, reasons);
                INVALID_STR_IF(TEXT(r, "fieldPath").n > 0 && str_empty(str_trim(TEXT(r, "fieldPath"))),
                               PATH(at, "fieldPath"), TEXT(r, "fieldPath"), "fieldPath must be non-empty if specified");
                INVALID_STR_IF(has_newline(TEXT(r, "fieldPath")), PATH(at, "fieldPath"), TEXT(r, "fieldPath"),
                               "fieldPath must not contain line breaks");
                INVALID_STR_IF(!path_is_valid(schema, TEXT(r, "fieldPath")), PATH(at, "fieldPath"),
                               TEXT(r, "fieldPath"), "fieldPath must be a valid path");
        }
}

static void walk_properties(struct walk w, const struct path *p, const struct json *j, bool root) {
        bool object = root || IS_TRUE(j, "x-kubernetes-embedded-resource");

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
        for (size_t k = 0; json_is(json_getc(j, "items"), JSON_ARRAY) && k < json_len(json_getc(j, "items")); k++)
                walk_schema(w, PATH_INDEX(PATH(p, "items"), k), json_item(json_getc(j, "items"), k), false);
        if (json_is(preserve, JSON_BOOL) && !preserve->b)
                field_invalid(w.fe, PATH(p, "x-kubernetes-preserve-unknown-fields"), preserve,
                              "must be true or undefined");
        check_kind_of(w.fe, p, j, "x-kubernetes-map-type", "object", map_types);
        check_kind_of(w.fe, p, j, "x-kubernetes-list-type", "array", list_types);
        check_atomic_items(w.fe, p, j);
        check_map_keys(w.fe, p, j);
        check_items(w.fe, p, j);
        check_rules(w.fe, p, j);
}

#define ROOT_FIELDS                                                                                             \
        "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength " \
        "Pattern "                                                                                              \
        "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example "              \
        "XPreserveUnknownFields XValidations]"

static void check_root(struct field_errors *fe, const struct path *p, const struct json *schema,
                       const struct json *sent) {
        /* in the order of upstream's struct; what comes first is told */
        static const char *const fields[] = { "id",
                                              "$schema",
                                              "$ref",
                                              "type",
                                              "nullable",
                                              "default",
                                              "enum",
                                              "maxProperties",
                                              "minProperties",
                                              "allOf",
                                              "oneOf",
                                              "anyOf",
                                              "not",
                                              "additionalProperties",
                                              "patternProperties",
                                              "dependencies",
                                              "additionalItems",
                                              "definitions",
                                              "x-kubernetes-embedded-resource",
                                              "x-kubernetes-int-or-string",
                                              "x-kubernetes-list-map-keys",
                                              "x-kubernetes-list-type",
                                              "x-kubernetes-map-type" };
        struct str type = TEXT(schema, "type");

        for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
                const struct json *v = json_getc(schema, fields[i]), *empty = json_getc(sent, fields[i]);
                bool zero = (!v && !json_is(empty, JSON_ARRAY) && !json_is(empty, JSON_OBJECT)) ||
                            (json_is(v, JSON_STRING) && v->len == 0 && i < 2) ||
                            (json_is(v, JSON_BOOL) && !v->b &&
                             (str_eqc(STR("nullable"), fields[i]) ||
                              str_has_prefix(str_of(fields[i]), STR("x-kubernetes"))));

                if (i == 3 && !str_empty(type) && !str_eqc(type, "object"))
                        field_invalid_str(fe, PATH(p, "openAPIV3Schema.type"), type,
                                          "only \"object\" is allowed as the type at the root of the schema if the "
                                          "status subresource is enabled");
                else if (i != 3 && !zero)
                        field_invalid(fe, SCHEMA_PATH(p), schema,
                                      "only " ROOT_FIELDS " fields are allowed at the root of the schema if the status "
                                      "subresource is enabled");
                else
                        continue;
                return;
        }
}

/* Has a schema defaults, or one within it? */
static bool has_default(const struct json *j) {
        static const char *const one[] = { "items", "additionalProperties", "not" }, *const many[] = { "properties",
                                                                                                       "allOf", "anyOf",
                                                                                                       "oneOf" };
        bool found = json_getc(j, "default");

        for (size_t i = 0; i < ARRAY_SIZE(one); i++)
                found = found || (json_is(json_getc(j, one[i]), JSON_OBJECT) && has_default(json_getc(j, one[i])));
        for (size_t i = 0; i < ARRAY_SIZE(many) && !found; i++) {
                json_each_member(m, i == 0 ? json_getc(j, many[i]) : NULL)
                        found = found || has_default(&m->value);
                json_each_item(it, i > 0 ? json_getc(j, many[i]) : NULL)
                        found = found || has_default(it);
        }
        return found;
}

bool crd_has_defaults(const struct json *versions) {
        json_each_item(v, versions)
                if (has_default(json_at_path(v, "schema", "openAPIV3Schema")))
                        return true;
        return false;
}

void crd_validate_schema(struct field_errors *fe, const struct path *p, const struct json *schema,
                         const struct json *sent, bool status) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct path *here = SCHEMA_PATH(p);
        struct crd_schema *compiled;
        size_t first = fe->list.n, before, structural;
        const char *unsupported = crd_unsupported(schema);
        bool rules = false;

        if (status)
                check_root(fe, p, schema, sent);
        if (IS_TRUE(schema, "nullable"))
                field_forbidden(fe, PATH(p, "openAPIV3Schema.nullable"), "nullable cannot be true at the root");
        structural = fe->list.n;
        if (!unsupported && crd_validate_structural(fe, here, schema)) {
                a = arena_new(0);
                compiled = crd_schema_compile(a, schema, "", "");
                if (compiled->has_defaults) {
                        compiled->has_embedded = true;
                        crd_rules_compile(a, compiled);
                        validate_defaults(fe, here, compiled, NULL);
                }
                crd_schema_release(compiled);
                rules = fe->list.n == structural;
        }
        before = fe->list.n;
        walk_schema((struct walk) { .fe = fe }, here, schema, true);
        if (unsupported && fe->list.n == first) /* all else of that has been told */
                field_invalid_str(fe, here, STR(""), "%s", unsupported);
        if (rules)
                crd_rules_validate(fe, here, schema, before);
}
