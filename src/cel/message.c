/* The messages an expression can make: google.protobuf.Int32Value{value: 3}, which is 3, and may be null where types
 * are checked; times, and what JSON is made of. */
#include "base/time.h"
#include "cel/internal.h"

#define WRAPPER(k, of) \
        { .kind = (k), .name = "wrapper(" of ")" }

static const struct cel_type list_value = { .kind = CEL_LIST, .params = { &cel_dyn } },
                             struct_value = { .kind = CEL_MAP, .params = { &cel_string, &cel_dyn } };

/* Of those that make one kind, the first is the one that tells the fields. */
const struct message messages[] = {
        { "google.protobuf.BoolValue", WRAPPER(CEL_BOOL, "bool"), { { "value", &cel_bool, "bool" } } },
        { "google.protobuf.BytesValue", WRAPPER(CEL_BYTES, "bytes"), { { "value", &cel_bytes, "[]uint8" } } },
        { "google.protobuf.DoubleValue", WRAPPER(CEL_DOUBLE, "double"), { { "value", &cel_double, "float64" } } },
        { "google.protobuf.FloatValue", WRAPPER(CEL_DOUBLE, "double"), { { "value", &cel_double, "float32" } } },
        { "google.protobuf.Int32Value", WRAPPER(CEL_INT, "int"), { { "value", &cel_int, "int32" } } },
        { "google.protobuf.Int64Value", WRAPPER(CEL_INT, "int"), { { "value", &cel_int, "int64" } } },
        { "google.protobuf.StringValue", WRAPPER(CEL_STRING, "string"), { { "value", &cel_string, "string" } } },
        { "google.protobuf.UInt32Value", WRAPPER(CEL_UINT, "uint"), { { "value", &cel_uint, "uint32" } } },
        { "google.protobuf.UInt64Value", WRAPPER(CEL_UINT, "uint"), { { "value", &cel_uint, "uint64" } } },
        { "google.protobuf.Timestamp",
          { .kind = CEL_TIMESTAMP },
          { { "seconds", &cel_int, "int64" }, { "nanos", &cel_int, "int32" } } },
        { "google.protobuf.Duration",
          { .kind = CEL_DURATION },
          { { "seconds", &cel_int, "int64" }, { "nanos", &cel_int, "int32" } } },
        { "google.protobuf.ListValue",
          { .kind = CEL_LIST, .params = { &cel_dyn } },
          { { "values", &list_value, NULL } } },
        { "google.protobuf.Struct",
          { .kind = CEL_MAP, .params = { &cel_string, &cel_dyn } },
          { { "fields", &struct_value, NULL } } },
        { "google.protobuf.Value",
          { .kind = CEL_DYN },
          { { "null_value", &cel_int, "structpb.NullValue" },
            { "number_value", &cel_double, "float64" },
            { "string_value", &cel_string, "string" },
            { "bool_value", &cel_bool, "bool" },
            { "struct_value", &struct_value, "*structpb.Struct" },
            { "list_value", &list_value, "*structpb.ListValue" } } },
        { "google.protobuf.Any",
          { .kind = CEL_DYN, .name = "any" },
          { { "type_url", &cel_string, "string" }, { "value", &cel_bytes, "[]uint8" } } },
        { "google.protobuf.Empty", { .kind = CEL_OBJECT, .name = "google.protobuf.Empty" }, { { 0 } } },
        { NULL },
};

const struct message *message_find(struct str name) {
        for (const struct message *m = messages; m->name; m++)
                if (str_eqc(name, m->name))
                        return m;
        return NULL;
}

const struct message_field *message_field(const struct message *m, struct str name) {
        for (size_t i = 0; i < ARRAY_SIZE(m->fields) && m->fields[i].name; i++)
                if (str_eqc(name, m->fields[i].name))
                        return &m->fields[i];
        return NULL;
}

static struct cel_value unfit(struct ctx *c, const struct message *m, const struct message_field *f,
                              const struct cel_value *v) {
        static const char *const from[] = {
                [CEL_NULL] = "type conversion error from 'null_type'",
                [CEL_BOOL] = "type conversion error from bool",
                [CEL_INT] = "unsupported type conversion from 'int'",
                [CEL_UINT] = "unsupported type conversion from 'uint'",
                [CEL_DOUBLE] = "type conversion error from Double",
                [CEL_STRING] = "unsupported native conversion from string",
                [CEL_BYTES] = "type conversion error from Bytes",
                [CEL_TIMESTAMP] = "type conversion error from 'Timestamp'",
                [CEL_DURATION] = "type conversion error from 'Duration'",
                [CEL_LIST] = "type conversion error from list",
                [CEL_MAP] = "type conversion error from map",
                [CEL_OBJECT] = "type conversion error from 'map(, )'",
        };
        const char *quote = v->kind == CEL_INT || v->kind == CEL_UINT ? "" : "'", *last;

        if (!f->go)
                return value_error(c, "unsupported field type for %s.%s: %s", m->name, f->name,
                                   arena_cstr(c->a, type_name(c->a, value_type_of(v))));
        if (v->kind == CEL_OPTIONAL)
                return value_error(c, "field type conversion error for %s.%s value type: optional.none() dereference",
                                   m->name, f->name);
        if (v->kind < ARRAY_SIZE(from) && from[v->kind])
                return value_error(c, "field type conversion error for %s.%s value type: %s to %s%s%s", m->name,
                                   f->name, from[v->kind], quote, f->go, quote);
        if (v->kind != CEL_OPAQUE)
                return value_error(c,
                                   "field type conversion error for %s.%s value type: type conversion not supported "
                                   "for 'type'",
                                   m->name, f->name);
        last = strrchr(v->type->name, '.') + 1;
        return value_error(c,
                           "field type conversion error for %s.%s value type: type conversion error from '%s' to '%s'",
                           m->name, f->name, last, f->go);
}

/* What a field takes of a value, or an error. */
static struct cel_value convert(struct ctx *c, const struct message *m, const struct message_field *f,
                                const struct cel_value *v) {
        struct ctx own = { .a = c->a };
        const char *late = NULL;
        struct json j;

        while (v->kind == CEL_OPTIONAL && v->value)
                v = v->value;
        if (f->type->kind != v->kind && !(f->type->kind == CEL_MAP && v->kind == CEL_OBJECT && v->form != CEL_LAZY))
                return unfit(c, m, f, v);
        if (v->kind == CEL_INT && !str_eqc(str_of(f->go), "int64") && (v->i < INT32_MIN || v->i > INT32_MAX))
                late = "integer overflow";
        else if (v->kind == CEL_UINT && str_eqc(str_of(f->go), "uint32") && v->u > UINT32_MAX)
                late = "unsigned integer overflow";
        if (late)
                return value_error(c, "field type conversion error for %s.%s value type: %s", m->name, f->name, late);
        if (f->go && str_eqc(str_of(f->go), "float32"))
                return value_double((double) (float) v->d);
        if (v->kind != CEL_LIST && v->kind != CEL_MAP && v->kind != CEL_OBJECT)
                return *v;
        j = value_to_json(&own, v);
        if (own.work > 64) /* constants cost nothing, and are copied each time */
                c->cost += own.work;
        return cel_of_json(c->a, arena_dup(c->a, &j, sizeof(j)), NULL);
}

/* values: of the fields, in their order; those not given are of kind CEL_ERROR. last: the last that is given. */
struct cel_value message_make(struct ctx *c, const struct message *m, struct cel_value *values, size_t last) {
        static const struct json nothing = { .type = JSON_OBJECT };
        struct cel_value made = { .kind = m->type.kind };

        for (size_t i = 0; i < ARRAY_SIZE(m->fields) && m->fields[i].name; i++) {
                if (values[i].kind == CEL_ERROR)
                        continue;
                values[i] = convert(c, m, &m->fields[i], &values[i]);
                if (values[i].kind == CEL_ERROR)
                        return values[i];
        }
        if (m->type.kind == CEL_TIMESTAMP || m->type.kind == CEL_DURATION) {
                int64_t sec = values[0].kind == CEL_INT ? values[0].i : 0;
                int64_t nanos = values[1].kind == CEL_INT ? values[1].i : 0;
                if (m->type.kind == CEL_DURATION) {
                        if (__builtin_mul_overflow(sec, NSEC_PER_SEC, &made.i) ||
                            __builtin_add_overflow(made.i, nanos, &made.i))
                                made.i = sec < 0 ? INT64_MIN : INT64_MAX;
                        return made;
                }
                made.i = sec;
                if (!time_in_range(sec))
                        return value_error(c, "timestamp overflow");
                made.i += nanos / NSEC_PER_SEC - (nanos % NSEC_PER_SEC < 0);
                made.n = (uint32_t) ((nanos % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC);
                return made;
        }
        if (m->type.kind == CEL_DYN && m->type.name)
                return value_error(c, "unsupported conversion to ref.Val: (*dynamicpb.Message)");
        if (values[last].kind != CEL_ERROR && !(m->type.kind == CEL_DYN && last == 0))
                return values[last];
        if (m->type.kind == CEL_MAP)
                return cel_map_new(c->a, 0);
        if (m->type.kind == CEL_OBJECT)
                return (struct cel_value) { .kind = CEL_OBJECT, .type = &m->type, .json = &nothing };
        made.kind = m->type.kind == CEL_DYN ? CEL_NULL : m->type.kind;
        return made;
}
