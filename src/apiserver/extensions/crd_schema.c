#include "apiserver/extensions/crd_rules.h"

#include "base/regex.h"
#include "schema/internal.h"
#include "schema/types.h"

struct compiler {
        struct arena *a;
        bool in_kept; /* an item of a list that keeps what is unknown: it does so too */
        bool in_meta; /* what is not specified is kept: ObjectMeta says what there is */
        bool open;    /* x-kubernetes-preserve-unknown-fields, here or above: who applies may say more than is known */
};

static struct crd_schema *compile(struct compiler *c, const struct json *j, bool root);

/* ---- limits ---- */

static struct crd_schema **compile_list(struct compiler *c, const struct json *list, size_t *ret_n) {
        struct crd_schema **out = json_len(list) ? arena_array(c->a, struct crd_schema *, json_len(list)) : NULL;
        size_t n = 0;

        json_each_item(it, list)
                out[n++] = compile(c, it, false);
        *ret_n = n;
        return out;
}

static int64_t bound(const struct json *j, const char *key) {
        return json_int_or(json_getc(j, key), -1);
}

static const struct crd_limits *compile_limits(struct compiler *c, const struct json *j) {
        static const char *const keys[] = {
                "minimum",  "maximum",       "multipleOf",    "minLength",   "maxLength", "minItems",
                "maxItems", "minProperties", "maxProperties", "uniqueItems", "pattern",   "enum",
                "required", "allOf",         "anyOf",         "oneOf",       "not",       "additionalProperties",
        };
        const struct json *pattern = json_getc(j, "pattern"), *more = json_getc(j, "additionalProperties");
        bool any = false;

        for (size_t i = 0; i < ARRAY_SIZE(keys) && !any; i++)
                any = json_getc(j, keys[i]) != NULL;
        if (!any)
                return NULL;
        struct crd_limits *l = arena_new_of(c->a, struct crd_limits);
        *l = (struct crd_limits) {
                .minimum = json_getc(j, "minimum"),
                .maximum = json_getc(j, "maximum"),
                .multiple_of = json_getc(j, "multipleOf"),
                .min_length = bound(j, "minLength"),
                .max_length = bound(j, "maxLength"),
                .min_items = bound(j, "minItems"),
                .max_items = bound(j, "maxItems"),
                .min_properties = bound(j, "minProperties"),
                .max_properties = bound(j, "maxProperties"),
                .exclusive_minimum = json_bool(json_getc(j, "exclusiveMinimum")),
                .exclusive_maximum = json_bool(json_getc(j, "exclusiveMaximum")),
                .unique_items = json_bool(json_getc(j, "uniqueItems")),
                .closed = json_is(more, JSON_BOOL) && !more->b,
                .values = json_len(json_getc(j, "enum")) ? crd_values_new(c->a, json_getc(j, "enum")) : NULL,
        };
        if (!str_empty(json_str(pattern))) {
                l->pattern_text = arena_cstr(c->a, json_str(pattern));
                regex_compile(json_str(pattern), &l->pattern, NULL);
        }
        l->required = arena_array(c->a, struct str, json_len(json_getc(j, "required")) + 1);
        json_each_item(r, json_getc(j, "required"))
                l->required[l->n_required++] = json_str(r);
        l->all_of = compile_list(c, json_getc(j, "allOf"), &l->n_all_of);
        l->any_of = compile_list(c, json_getc(j, "anyOf"), &l->n_any_of);
        l->one_of = compile_list(c, json_getc(j, "oneOf"), &l->n_one_of);
        if (json_is(json_getc(j, "not"), JSON_OBJECT))
                l->none_of = compile(c, json_getc(j, "not"), false);
        return l;
}

/* ---- tables ---- */

static int compare_names(const void *x, const void *y, void *fields) {
        const struct schema_field *f = fields;

        return str_cmp(field_name(&f[*(const uint16_t *) x]), field_name(&f[*(const uint16_t *) y]));
}

static void index_fields(struct arena *a, struct schema_type *t) {
        uint16_t *by_name = arena_array(a, uint16_t, t->n_fields + 1);

        for (uint16_t i = 0; i < t->n_fields; i++)
                by_name[i] = i;
        qsort_r(by_name, t->n_fields, sizeof(*by_name), compare_names, (void *) t->fields);
        t->by_name = by_name;
}

static struct schema_field meta_field(const char *name, const struct schema_type *t) {
        return (struct schema_field) {
                .name = name, .type = t, .name_len = (uint8_t) strlen(name), .flags = SCHEMA_OPTIONAL | SCHEMA_OMITEMPTY
        };
}

/* name: of a property; "" for the items or values of a list or map. */
static struct schema_field field_of(struct arena *a, struct str name, const struct crd_schema *below) {
        _cleanup_buf_ struct buf dflt = BUF_INIT;

        if (below->dflt)
                json_write(&dflt, below->dflt);
        return (struct schema_field) {
                .name = arena_cstr(a, name),
                .type = &below->type,
                .name_len = (uint8_t) name.n,
                .doc = below->type.doc,
                .dflt = below->dflt ? arena_cstr(a, buf_str(&dflt)) : NULL,
                .list_type = below->list_type,
                .list_keys = below->list_keys,
                .flags = (uint16_t) (SCHEMA_OPTIONAL | SCHEMA_POINTER | SCHEMA_OMITEMPTY |
                                     (below->nullable ? SCHEMA_NULLABLE : 0) | (below->atomic ? SCHEMA_MAP_ATOMIC : 0)),
        };
}

static void merge_below(struct crd_schema *s, const struct crd_schema *below) {
        s->has_defaults |= below->has_defaults;
        s->has_lists |= below->has_lists;
        s->has_embedded |= below->has_embedded;
        s->has_rules |= below->has_rules;
}

/* Which of an object's own fields it is; -1: none. */
static int meta_index(struct str name) {
        static const char *const names[] = { "apiVersion", "kind", "metadata" };

        for (int i = 0; i < 3; i++)
                if (str_eqc(name, names[i]))
                        return i;
        return -1;
}

/* The properties as fields. Objects have kind, apiVersion and metadata whether they say so or not. */
static void compile_fields(struct compiler *c, struct crd_schema *s, const struct json *properties, bool object) {
        static const struct schema_type text = { .kind = SCHEMA_STRING, .go_name = "string" };
        struct schema_field *f = arena_array(c->a, struct schema_field, json_len(properties) + 4);
        uint16_t n = 0;

        if (object) {
                f[n++] = meta_field("apiVersion", &text);
                f[n++] = meta_field("kind", &text);
                f[n++] = meta_field("metadata", &type_ObjectMeta);
        }
        json_each_member(m, properties) {
                int meta = object ? meta_index(json_key(m)) : -1;

                if (meta >= 0) {
                        c->in_meta = true;
                        s->meta[meta] = compile(c, &m->value, false);
                        c->in_meta = false;
                        merge_below(s, s->meta[meta]);
                        continue;
                }
                if (json_key(m).n > UINT8_MAX || n > UINT16_MAX - 4)
                        continue;
                struct crd_schema *below = compile(c, &m->value, false);
                f[n++] = field_of(c->a, json_key(m), below);
                merge_below(s, below);
        }
        s->type.fields = f;
        s->type.n_fields = n;
        index_fields(c->a, &s->type);
}

static enum crd_type type_of_name(struct str name) {
        static const char *const names[] = {
                [CRD_BOOLEAN] = "boolean", [CRD_INTEGER] = "integer", [CRD_NUMBER] = "number",
                [CRD_STRING] = "string",   [CRD_ARRAY] = "array",     [CRD_OBJECT] = "object"
        };

        for (size_t i = CRD_BOOLEAN; i < ARRAY_SIZE(names); i++)
                if (str_eqc(name, names[i]))
                        return (enum crd_type) i;
        return CRD_ANY;
}

static void set_kind(struct compiler *c, struct crd_schema *s) {
        static const uint8_t kinds[] = {
                [CRD_ANY] = SCHEMA_ANY,       [CRD_BOOLEAN] = SCHEMA_BOOL,  [CRD_INTEGER] = SCHEMA_INT64,
                [CRD_NUMBER] = SCHEMA_DOUBLE, [CRD_STRING] = SCHEMA_STRING, [CRD_ARRAY] = SCHEMA_LIST,
                [CRD_OBJECT] = SCHEMA_STRUCT
        };
        struct str format = json_str(json_getc(s->source, "format"));

        s->type.kind = kinds[s->json_type]; /* who applies what may be an integer or a text has to keep to a type */
        if (s->type.kind == SCHEMA_STRING && !str_empty(format) && !str_eqc(format, "byte"))
                s->type.kind = SCHEMA_TIME; /* who applies may write any scalar; validation says what it must be */
        if (s->type.kind == SCHEMA_LIST && !s->items)
                s->type.kind = SCHEMA_ANY;
        if (s->type.kind == SCHEMA_STRUCT && s->type.n_fields == 0 && s->additional)
                s->type.kind = SCHEMA_MAP;
        s->type.elem = s->type.kind == SCHEMA_LIST  ? &s->items->type
                       : s->type.kind == SCHEMA_MAP ? &s->additional->type
                                                    : NULL;
        if (s->type.elem && s->type.n_fields == 0) { /* its items may be lists in turn */
                struct schema_field item =
                                field_of(c->a, STR(""), s->type.kind == SCHEMA_LIST ? s->items : s->additional);

                s->type.fields = arena_dup(c->a, &item, sizeof(item));
        }
        s->type.flags |= (uint16_t) (SCHEMA_TYPE_ODD_SETS |
                                     (c->open || s->pruned_below || s->type.n_fields == 0 ? SCHEMA_TYPE_PRESERVE_UNKNOWN
                                                                                          : 0) |
                                     (s->embedded ? SCHEMA_TYPE_EMBEDDED : 0) | (s->atomic ? SCHEMA_TYPE_ATOMIC : 0));
}

static void set_list(struct compiler *c, struct crd_schema *s, const struct json *j) {
        static const char *const names[] = { "", "atomic", "set", "map" };
        _cleanup_buf_ struct buf keys = BUF_INIT;

        for (size_t i = 1; i < ARRAY_SIZE(names); i++)
                if (str_eqc(json_str(json_getc(j, "x-kubernetes-list-type")), names[i]))
                        s->list_type = (uint8_t) i;
        json_each_item(k, json_getc(j, "x-kubernetes-list-map-keys"))
                buf_printf(&keys, "%s%" STR_FMT, keys.n ? "," : "", STR_ARG(json_str(k)));
        if (keys.n > 0)
                s->list_keys = arena_cstr(c->a, buf_str(&keys));
        s->has_lists |= s->list_type == SCHEMA_LIST_SET || s->list_type == SCHEMA_LIST_MAP;
}

static struct crd_schema *compile(struct compiler *c, const struct json *j, bool root) {
        bool open = c->open, kept = c->in_kept;
        struct crd_schema *s = arena_new_of(c->a, struct crd_schema), *below;
        const struct json *items = json_getc(j, "items"), *more = json_getc(j, "additionalProperties");

        s->source = j;
        s->json_type = type_of_name(json_str(json_getc(j, "type")));
        s->nullable = json_bool(json_getc(j, "nullable"));
        s->preserve = c->in_meta || kept || json_bool(json_getc(j, "x-kubernetes-preserve-unknown-fields"));
        s->embedded = root || json_bool(json_getc(j, "x-kubernetes-embedded-resource"));
        s->int_or_string = json_bool(json_getc(j, "x-kubernetes-int-or-string"));
        s->atomic = str_eqc(json_str(json_getc(j, "x-kubernetes-map-type")), "atomic");
        s->has_embedded = s->embedded && !root;
        s->dflt = json_getc(j, "default");
        s->has_defaults = s->dflt != NULL;
        s->rules = json_len(json_getc(j, "x-kubernetes-validations")) ? json_getc(j, "x-kubernetes-validations") : NULL;
        s->has_rules = s->rules != NULL;
        if (!s->int_or_string && crd_format_known(json_str(json_getc(j, "format"))))
                s->format = arena_cstr(c->a, json_str(json_getc(j, "format")));
        if (json_getc(j, "description"))
                s->type.doc = arena_cstr(c->a, json_str(json_getc(j, "description")));
        c->open = open || s->preserve;
        c->in_kept = false;
        compile_fields(c, s, json_getc(j, "properties"), s->embedded);
        if (json_is(items, JSON_OBJECT)) {
                c->in_kept = s->preserve;
                s->items = below = compile(c, items, false);
                merge_below(s, below);
        }
        if (json_is(more, JSON_OBJECT)) {
                s->additional = below = compile(c, more, false);
                merge_below(s, below);
        }
        s->pruned_below = json_is(more, JSON_BOOL);
        set_list(c, s, j);
        set_kind(c, s);
        c->open = open;
        s->limits = compile_limits(c, j);
        return s;
}

struct crd_schema *crd_schema_compile(struct arena *a, const struct json *source, const char *kind,
                                      const char *package) {
        struct compiler c = { .a = a };
        struct crd_schema *s = compile(&c, source, true);

        s->type.name = kind;
        s->type.package = package;
        s->type.go_name = kind;
        s->type.kind = SCHEMA_STRUCT;
        s->type.flags |= SCHEMA_TYPE_OBJECT;
        return s;
}

static void release_list(struct crd_schema **list, size_t n) {
        for (size_t i = 0; i < n; i++)
                crd_schema_release(list[i]);
}

void crd_schema_release(struct crd_schema *s) {
        const struct crd_limits *l = s ? s->limits : NULL;

        if (!s)
                return;
        for (size_t i = 0; i < s->type.n_fields; i++)
                if (crd_property(s, field_name(&s->type.fields[i])))
                        crd_schema_release((struct crd_schema *) crd_schema_of(s->type.fields[i].type));
        for (size_t i = 0; i < ARRAY_SIZE(s->meta); i++)
                crd_schema_release(s->meta[i]);
        crd_schema_release((struct crd_schema *) s->items);
        crd_schema_release((struct crd_schema *) s->additional);
        crd_rules_release(s);
        if (!l)
                return;
        regex_free(l->pattern);
        release_list(l->all_of, l->n_all_of);
        release_list(l->any_of, l->n_any_of);
        release_list(l->one_of, l->n_one_of);
        crd_schema_release(l->none_of);
}

const struct crd_schema *crd_property(const struct crd_schema *s, struct str name) {
        const struct schema_field *f = schema_field(&s->type, name);

        return f && !(s->embedded && meta_index(name) >= 0) ? crd_schema_of(f->type) : NULL;
}

const struct crd_schema *crd_node(const struct crd_schema *s, struct str name) {
        int meta = s->embedded ? meta_index(name) : -1;

        return meta >= 0 ? s->meta[meta] : crd_property(s, name);
}
