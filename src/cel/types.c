/* Types: the fixed ones, their names, and those of declared data: from the OpenAPI schema of a custom resource, or from
 * the table of a built-in type. */
#include "cel/internal.h"
#include "schema/elements.h"

const struct cel_type cel_null = { .kind = CEL_NULL }, cel_bool = { .kind = CEL_BOOL }, cel_int = { .kind = CEL_INT },
                      cel_uint = { .kind = CEL_UINT }, cel_double = { .kind = CEL_DOUBLE },
                      cel_string = { .kind = CEL_STRING }, cel_bytes = { .kind = CEL_BYTES },
                      cel_timestamp = { .kind = CEL_TIMESTAMP }, cel_duration = { .kind = CEL_DURATION },
                      cel_dyn = { .kind = CEL_DYN }, cel_any = { .kind = CEL_DYN, .name = "any" },
                      cel_list_dyn = { .kind = CEL_LIST, .params = { &cel_dyn } },
                      cel_strings = { .kind = CEL_LIST, .params = { &cel_string } },
                      cel_string_lists = { .kind = CEL_MAP, .params = { &cel_string, &cel_strings } },
                      cel_map_dyn = { .kind = CEL_MAP, .params = { &cel_dyn, &cel_dyn } };

const char opaque_letters[] = "QPNUFZWGRD";
const struct cel_type opaque_types[] = {
        { .kind = CEL_OPAQUE, .name = "kubernetes.Quantity" },
        { .kind = CEL_OPAQUE, .name = "net.IP" },
        { .kind = CEL_OPAQUE, .name = "net.CIDR" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.URL" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.NamedFormat" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.authorization.Authorizer" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.authorization.PathCheck" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.authorization.GroupCheck" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.authorization.ResourceCheck" },
        { .kind = CEL_OPAQUE, .name = "kubernetes.authorization.Decision" },
};

const struct cel_type *opaque_type(char letter) {
        return &opaque_types[strchr(opaque_letters, letter) - opaque_letters];
}

const struct cel_type *cel_type_authorizer(void) {
        return opaque_type('Z');
}

const struct cel_type *cel_type_resource_check(void) {
        return opaque_type('R');
}

static void print_type(struct buf *b, const struct cel_type *t, bool output) {
        static const char *const names[] = {
                [CEL_ERROR] = "!error!",
                [CEL_NULL] = "null",
                [CEL_BOOL] = "bool",
                [CEL_INT] = "int",
                [CEL_UINT] = "uint",
                [CEL_DOUBLE] = "double",
                [CEL_STRING] = "string",
                [CEL_BYTES] = "bytes",
                [CEL_LIST] = "list",
                [CEL_MAP] = "map",
                [CEL_TIMESTAMP] = "timestamp",
                [CEL_TYPE] = "type",
                [CEL_DYN] = "dyn",
                [CEL_OPTIONAL] = "optional_type",
                [CEL_DURATION] = "duration",
        };
        static const char *const of_output[] = {
                [CEL_NULL] = "null_type",
                [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
                [CEL_DURATION] = "google.protobuf.Duration",
        };

        if (b->n > 4096)
                return;
        if (t->kind == CEL_PARAM)
                return buf_printf(b, "_var%llu", (unsigned long long) t->max_size);
        const char *name = t->name ? t->name : t->kind == CEL_OBJECT ? "object" : names[t->kind];
        if (output && t->kind < ARRAY_SIZE(of_output) && of_output[t->kind])
                name = of_output[t->kind];
        buf_addc(b, name);
        for (size_t i = 0; i < 2 && t->params[i]; i++) {
                buf_addc(b, i == 0 ? "(" : ", ");
                print_type(b, t->params[i], output);
        }
        if (t->params[0])
                buf_putc(b, ')');
}

struct str cel_type_text(struct arena *a, const struct cel_type *t) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        print_type(&b, t, false);
        return arena_str(a, buf_str(&b));
}

struct str cel_type_output(struct arena *a, const struct cel_type *t) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        print_type(&b, t, true);
        return arena_str(a, buf_str(&b));
}

static struct cel_type *new_type(struct arena *a, enum cel_kind kind, const struct cel_type *p0,
                                 const struct cel_type *p1) {
        struct cel_type *t = arena_new_of(a, struct cel_type);

        t->kind = kind;
        t->params[0] = p0;
        t->params[1] = p1;
        return t;
}

static const struct cel_type *cel_type_list(struct arena *a, const struct cel_type *elem) {
        return new_type(a, CEL_LIST, elem, NULL);
}

const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *of) {
        return new_type(a, CEL_OPTIONAL, of, NULL);
}

const struct cel_type *cel_type_object(struct arena *a, const char *name, const struct cel_field *fields, size_t n,
                                       const struct elements *by_name) {
        struct cel_type *t = new_type(a, CEL_OBJECT, NULL, NULL);

        t->name = name;
        t->fields = fields;
        t->n_fields = n;
        t->by_name = t->by_escaped = by_name;
        return t;
}

const struct cel_type *signature_type(struct arena *a, const char **p, const struct cel_type *const vars[2]) {
        static const char simple[] = "biudsytgn*";
        static const struct cel_type *const types[] = { &cel_bool,   &cel_int,   &cel_uint,      &cel_double,
                                                        &cel_string, &cel_bytes, &cel_timestamp, &cel_duration,
                                                        &cel_null,   &cel_dyn };
        char c = *(*p)++;
        const char *s = strchr(simple, c);

        if (s)
                return types[s - simple];
        if (c == 'A' || c == 'B')
                return vars[c - 'A'];
        if (c != 'L' && c != 'M' && c != 'O' && c != 'T')
                return opaque_type(c);
        const struct cel_type *first = signature_type(a, p, vars);
        if (c == 'M')
                return new_type(a, CEL_MAP, first, signature_type(a, p, vars));
        return new_type(a, c == 'L' ? CEL_LIST : c == 'O' ? CEL_OPTIONAL : CEL_TYPE, first, NULL);
}

/* ---- fields ---- */

bool cel_reserved(struct str s) {
        return str_among(s, WORDS("true", "false", "null", "in", "as", "break", "const", "continue", "else", "for",
                                  "function", "if", "import", "let", "loop", "package", "namespace", "return", "var",
                                  "void", "while"));
}

/* A name of a field as expressions write it; empty when none can be. */
static struct str cel_escape(struct arena *a, struct str name) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (name.n == 0 || (name.p[0] >= '0' && name.p[0] <= '9'))
                return STR("");
        if (cel_reserved(name))
                return arena_printf(a, "__%" STR_FMT "__", STR_ARG(name));
        for (size_t i = 0; i < name.n; i++) {
                char c = name.p[i];
                bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_';

                if (c == '_' && i + 1 < name.n && name.p[i + 1] == '_') {
                        buf_addc(&b, "__underscores__");
                        i++;
                } else if (plain) {
                        buf_putc(&b, c);
                } else if (c == '.' || c == '-' || c == '/') {
                        buf_addc(&b, c == '.' ? "__dot__" : c == '-' ? "__dash__" : "__slash__");
                } else {
                        return STR("");
                }
        }
        return b.n == name.n ? name : arena_str(a, buf_str(&b));
}

static const struct cel_field *field_in(const struct cel_type *t, const struct elements *by, struct str name) {
        ssize_t i = elements_find(by, name);

        return i >= 0 && (size_t) i < t->n_fields ? &t->fields[i] : NULL;
}

/* A reserved word may be written as it is, too: a.namespace. */
const struct cel_field *type_field(const struct cel_type *t, struct str name) {
        if (t->by_escaped && name.n > 0 && !cel_reserved(name))
                return field_in(t, t->by_escaped, name);
        for (size_t i = 0; i < t->n_fields; i++)
                if (str_eq(t->fields[i].escaped, name) && name.n > 0)
                        return &t->fields[i];
        return cel_reserved(name) ? type_json_field(t, name) : NULL;
}

const struct cel_field *type_json_field(const struct cel_type *t, struct str name) {
        if (t->by_name)
                return field_in(t, t->by_name, name);
        for (size_t i = 0; i < t->n_fields; i++)
                if (str_eq(t->fields[i].name, name))
                        return &t->fields[i];
        return NULL;
}

const struct cel_type *cel_type_field(const struct cel_type *object, struct str name) {
        const struct cel_field *f = type_json_field(object, name);

        return f && f->type->declared ? f->type : NULL;
}

/* ---- from OpenAPI ---- */

#define MAX_SCALAR (CEL_MAX_REQUEST_BYTES - 2)

static struct cel_type *declared(struct arena *a, const struct cel_type *t, uint64_t max_size, uint64_t min_bytes) {
        struct cel_type *d = arena_dup(a, t, sizeof(*t));

        d->declared = true;
        d->max_size = max_size;
        d->min_bytes = min_bytes;
        return d;
}

static uint64_t limit_or(const struct json *schema, const char *key, uint64_t dflt) {
        const struct json *v = json_getc(schema, key);
        int64_t i = json_int(v);

        return v ? (uint64_t) MAX(i, (int64_t) 0) : dflt;
}

/* In bytes. */
static uint64_t longest_text(const struct json *s) {
        return json_getc(s, "maxLength") ? 4 * MIN(limit_or(s, "maxLength", 0), UINT64_MAX / 4) : MAX_SCALAR;
}

static struct cel_type *string_type(struct arena *a, const struct json *s) {
        struct str format = json_str(json_getc(s, "format"));
        uint64_t longest = 0;

        if (str_eqc(format, "byte"))
                return declared(a, &cel_bytes, limit_or(s, "maxLength", MAX_SCALAR), 2);
        if (str_eqc(format, "duration"))
                return declared(a, &cel_duration, 32, 3);
        if (str_eqc(format, "date"))
                return declared(a, &cel_timestamp, 12, 12);
        if (str_eqc(format, "date-time"))
                return declared(a, &cel_timestamp, 32, 21);
        json_each_item(v, json_getc(s, "enum"))
                if (json_is(v, JSON_STRING))
                        longest = MAX(longest, (uint64_t) v->len);
        if (json_getc(s, "maxLength") || json_len(json_getc(s, "enum")) == 0)
                longest = longest_text(s);
        return declared(a, &cel_string, longest, 2);
}

struct builder {
        struct arena *a;
        size_t depth;
};

static const struct cel_type *build(struct builder *b, const struct json *s, bool root, struct str name);

static struct str subname(struct builder *b, struct str name, struct str sub) {
        return arena_printf(b->a, "%" STR_FMT ".%" STR_FMT, STR_ARG(name), STR_ARG(sub));
}

static struct cel_type *list_type(struct builder *b, const struct json *s, struct str name) {
        struct str kind = json_str(json_getc(s, "x-kubernetes-list-type"));
        const struct cel_type *elem = build(b, json_getc(s, "items"), false, subname(b, name, STR("@idx")));
        const struct json *keys = json_getc(s, "x-kubernetes-list-map-keys");
        size_t n = 0;

        if (!elem)
                return NULL;
        struct cel_type *t = declared(b->a, &(struct cel_type) { .kind = CEL_LIST, .params = { elem } },
                                      limit_or(s, "maxItems", MAX_SCALAR / (elem->min_bytes + 1)), 2);
        t->list_type = str_eqc(kind, "map")   ? SCHEMA_LIST_MAP
                       : str_eqc(kind, "set") ? SCHEMA_LIST_SET
                                              : SCHEMA_LIST_ATOMIC;
        const char **copy = arena_array(b->a, const char *, json_len(keys) + 1);
        json_each_item(k, keys)
                copy[n++] = arena_cstr(b->a, json_str(k));
        t->list_keys = copy;
        return t;
}

static void add_field(struct builder *b, struct cel_type *to, struct cel_field *fields, struct elements index[2],
                      struct str name, const struct cel_type *t) {
        struct str escaped = t ? cel_escape(b->a, name) : STR("");

        if (elements_find(&index[0], name) >= 0)
                return;
        elements_add(&index[0], name);
        elements_add(&index[1], escaped);
        fields[to->n_fields++] = (struct cel_field) { name, escaped, t ? t : &cel_dyn };
}

static const struct cel_type *meta_type(struct builder *b, struct str name) {
        struct cel_field *f = arena_array(b->a, struct cel_field, 2);
        struct cel_type *t =
                        declared(b->a, &(struct cel_type) { .kind = CEL_OBJECT, .fields = f, .n_fields = 2 }, 0, 2);

        t->name = arena_cstr(b->a, subname(b, name, STR("metadata")));
        for (size_t i = 0; i < 2; i++) {
                struct str field = i == 0 ? STR("name") : STR("generateName");

                f[i] = (struct cel_field) { field, field, declared(b->a, &cel_string, MAX_SCALAR, 2) };
        }
        return t;
}

static bool has_type(const struct json *props, const char *key, const char *type) {
        return str_eqc(json_str(json_at_path(props, key, "type")), type);
}

/* Does it say of kind, apiVersion and metadata what rules need? They see what it says then, else what all objects
 * have. */
static bool specifies_meta(const struct json *props) {
        const struct json *meta = json_at_path(props, "metadata", "properties");

        return has_type(props, "kind", "string") && has_type(props, "apiVersion", "string") &&
               has_type(props, "metadata", "object") && has_type(meta, "name", "string") &&
               has_type(meta, "generateName", "string");
}

static struct cel_type *object_type(struct builder *b, const struct json *s, bool root, struct str name) {
        const struct json *props = json_getc(s, "properties"), *required = json_getc(s, "required");
        struct cel_field *fields = arena_array(b->a, struct cel_field, json_len(props) + 3);
        struct cel_type *t = declared(b->a, &(struct cel_type) { .kind = CEL_OBJECT, .fields = fields }, 0, 2);
        struct elements *index = arena_array(b->a, struct elements, 2), needed = elements_new(b->a, json_len(required));

        index[0] = elements_new(b->a, json_len(props) + 3);
        index[1] = elements_new(b->a, json_len(props) + 3);
        t->by_name = &index[0];
        t->by_escaped = &index[1];
        t->name = arena_cstr(b->a, name);
        json_each_item(key, required)
                elements_add(&needed, json_str(key));
        if (root && !specifies_meta(props)) {
                add_field(b, t, fields, index, STR("apiVersion"), declared(b->a, &cel_string, MAX_SCALAR, 2));
                add_field(b, t, fields, index, STR("kind"), declared(b->a, &cel_string, MAX_SCALAR, 2));
                add_field(b, t, fields, index, STR("metadata"), meta_type(b, name));
        }
        json_each_member(m, props) {
                struct str key = json_key(m);
                const struct cel_type *ft = build(b, &m->value, false, subname(b, name, cel_escape(b->a, key)));

                add_field(b, t, fields, index, key, ft);
                if (ft && elements_find(&needed, key) >= 0 && !json_getc(&m->value, "default"))
                        t->min_bytes += key.n + ft->min_bytes + 4;
        }
        return t;
}

static struct cel_type *map_type(struct builder *b, const struct json *s, struct str name) {
        const struct cel_type *elem =
                        build(b, json_getc(s, "additionalProperties"), false, subname(b, name, STR("@elem")));

        if (!elem)
                return NULL;
        return declared(b->a,
                        &(struct cel_type) { .kind = CEL_MAP, .params = { declared(b->a, &cel_string, 0, 2), elem } },
                        limit_or(s, "maxProperties", MAX_SCALAR / (elem->min_bytes + 6)), 2);
}

static const struct cel_type *build(struct builder *b, const struct json *s, bool root, struct str name) {
        struct str type = json_str(json_getc(s, "type"));
        struct cel_type *t = NULL;

        if (!json_is(s, JSON_OBJECT) || b->depth > 200)
                return NULL;
        b->depth++;
        root = root || json_bool(json_getc(s, "x-kubernetes-embedded-resource"));
        if (json_bool(json_getc(s, "x-kubernetes-int-or-string"))) {
                t = declared(b->a, &cel_dyn, longest_text(s), 1);
        } else if (str_eqc(type, "array")) {
                t = list_type(b, s, name);
        } else if (str_eqc(type, "object")) {
                t = json_is(json_getc(s, "additionalProperties"), JSON_OBJECT) ? map_type(b, s, name)
                                                                               : object_type(b, s, root, name);
        } else if (str_eqc(type, "string")) {
                t = string_type(b->a, s);
        } else if (str_eqc(type, "boolean")) {
                t = declared(b->a, &cel_bool, 0, 4);
        } else if (str_eqc(type, "number")) {
                t = declared(b->a, &cel_double, 0, 1);
        } else if (str_eqc(type, "integer")) {
                t = declared(b->a, &cel_int, 0, 1);
        }
        b->depth--;
        return t;
}

const struct cel_type *cel_type_of_openapi(struct arena *a, const struct json *schema, bool root, struct str name) {
        struct builder b = { .a = a };

        return build(&b, schema, root, name);
}

/* ---- from the tables of built-in types ---- */

struct schema_types {
        struct arena *a;
        VEC(struct cel_type *) made;
        VEC(const struct schema_type *) of;
};

/* NULL: expressions cannot see such data, because upstream's OpenAPI gives it no one type: quantities and unions. */
static const struct cel_type *from_schema(struct schema_types *s, const struct schema_type *t) {
        static const struct cel_type *const simple[] = {
                [SCHEMA_BOOL] = &cel_bool,
                [SCHEMA_INT32] = &cel_int,
                [SCHEMA_INT64] = &cel_int,
                [SCHEMA_DOUBLE] = &cel_double,
                [SCHEMA_STRING] = &cel_string,
                [SCHEMA_BYTES] = &cel_bytes,
                [SCHEMA_TIME] = &cel_timestamp,
                [SCHEMA_DURATION] = &cel_string,
                [SCHEMA_MICRO_TIME] = &cel_timestamp,
                [SCHEMA_INT_OR_STRING] = &cel_dyn,
        };
        const struct cel_type *elem;

        if (t->kind == SCHEMA_ANY && t->name && strcmp(t->name, "JSON") != 0) /* RawExtension, FieldsV1 */
                return cel_type_object(s->a, "object", NULL, 0, NULL);
        if (t->kind == SCHEMA_LIST || t->kind == SCHEMA_MAP) {
                elem = from_schema(s, t->elem);
                if (!elem)
                        return NULL;
                return t->kind == SCHEMA_LIST ? cel_type_list(s->a, elem) : new_type(s->a, CEL_MAP, &cel_string, elem);
        }
        if (t->kind != SCHEMA_STRUCT)
                return simple[t->kind];
        for (size_t i = 0; i < s->of.n; i++)
                if (s->of.v[i] == t)
                        return s->made.v[i];
        struct cel_field *fields = arena_array(s->a, struct cel_field, t->n_fields);
        struct cel_type *ct = (struct cel_type *) cel_type_object(s->a, t->name ? t->name : "object", fields, 0, NULL);
        vec_push(&s->of, t);
        vec_push(&s->made, ct);
        for (size_t i = 0; i < t->n_fields; i++) {
                struct str name = str_n(t->fields[i].name, t->fields[i].name_len);

                elem = from_schema(s, t->fields[i].type);
                if (elem)
                        fields[ct->n_fields++] = (struct cel_field) { name, cel_escape(s->a, name), elem };
        }
        return ct;
}

const struct cel_type *cel_type_of_schema(struct arena *a, const struct schema_type *t) {
        struct schema_types s = { .a = a };
        const struct cel_type *r = from_schema(&s, t);

        vec_free(&s.made);
        vec_free(&s.of);
        return r;
}
