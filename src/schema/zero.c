/* What Go prints where nothing was given. encoding/json leaves out an omitempty field only when it is a false, 0, "",
 * nil or empty list or map; a struct is never empty, so "status":{} and "creationTimestamp":null appear. */
#include "schema/internal.h"

bool schema_absent(struct arena *a, const struct schema_field *f, struct json *ret) {
        bool pointer = f->flags & SCHEMA_POINTER;

        if (!schema_prints_zero(f))
                return false;
        *ret = pointer ? json_null() : schema_zero(a, f->type);
        return true;
}

bool schema_is_empty(const struct schema_field *f, const struct json *v) {
        if (!(f->flags & SCHEMA_OMITEMPTY) || (f->flags & SCHEMA_POINTER))
                return false;
        switch (f->type->kind) {
        case SCHEMA_BOOL:
                return !json_bool(v);
        case SCHEMA_INT32:
        case SCHEMA_INT64:
                return json_int(v) == 0;
        case SCHEMA_DOUBLE:
                return json_double_or(v, 0) == 0;
        case SCHEMA_STRING:
        case SCHEMA_BYTES:
                return json_str(v).n == 0;
        case SCHEMA_LIST:
        case SCHEMA_MAP:
                return json_len(v) == 0;
        default:
                return false;
        }
}

static struct json zero_struct(struct arena *a, const struct schema_type *t) {
        struct json o = json_new_object(), v;

        for (size_t i = 0; i < t->n_fields; i++)
                if (schema_absent(a, &t->fields[i], &v))
                        json_set(a, &o, field_name(&t->fields[i]), v);
        return o;
}

struct json schema_zero(struct arena *a, const struct schema_type *t) {
        switch (t->kind) {
        case SCHEMA_BOOL:
                return json_of_bool(false);
        case SCHEMA_INT32:
        case SCHEMA_INT64:
        case SCHEMA_DOUBLE:
        case SCHEMA_INT_OR_STRING:
                return json_of_int(0);
        case SCHEMA_STRING:
                return json_of_cstr("");
        case SCHEMA_QUANTITY:
                return json_of_cstr("0");
        case SCHEMA_DURATION:
                return json_of_cstr("0s");
        case SCHEMA_STRUCT:
                return zero_struct(a, t);
        default:
                return json_null();
        }
}
