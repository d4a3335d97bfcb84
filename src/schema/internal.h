/* What the algorithms over the tables share. Private to src/schema. */
#pragma once

#include <errno.h>

#include "schema/schema.h"

static inline struct str field_name(const struct schema_field *f) {
        return str_n(f->name, f->name_len);
}

static inline uint64_t member_key(struct str s) {
        return (uint64_t) (uintptr_t) s.p | (uint64_t) s.n << 48;
}

/* An empty array with room for n, to be filled through json_push. */
static inline struct json json_array_of(struct arena *a, size_t n) {
        struct json j = json_new_array();

        if (n > 0) {
                j.at = (uintptr_t) arena_array(a, struct json, n);
                j.len = (uint32_t) n;
        }
        return j;
}

/* The member, looked for first behind the last one that was found: fields are mostly asked for in their order. */
static inline const struct json *json_get_after(const struct json *object, struct str key, size_t *hint) {
        const struct json *v;

        if (!json_is(object, JSON_OBJECT))
                return NULL;
        if (*hint < object->len && str_eq(json_key(&json_members(object)[*hint]), key))
                return &json_members(object)[(*hint)++].value;
        v = json_get(object, key);
        if (v)
                *hint = (size_t) (container_of(v, struct json_member, value) - json_members(object)) + 1;
        return v;
}

/* The field of that name, looked for first a little behind the last one that was found: documents come mostly in the
 * order of the type. */
static inline const struct schema_field *schema_field_after(const struct schema_type *t, struct str key, size_t *hint) {
        const struct schema_field *f;

        for (size_t i = *hint; i < MIN(*hint + 8, (size_t) t->n_fields); i++)
                if (str_eq(key, field_name(&t->fields[i]))) {
                        *hint = i + 1;
                        return &t->fields[i];
                }
        f = schema_field(t, key);
        if (f)
                *hint = (size_t) (f - t->fields) + 1;
        return f;
}

/* What Go prints for the zero value of a type: {} with its own zeros, "", 0, null … */
struct json schema_zero(struct arena *a, const struct schema_type *t);
static inline bool schema_prints_zero(const struct schema_field *f) {
        enum {
                HAVE_EMPTY = 1 << SCHEMA_BOOL | 1 << SCHEMA_INT32 | 1 << SCHEMA_INT64 | 1 << SCHEMA_DOUBLE |
                             1 << SCHEMA_STRING | 1 << SCHEMA_BYTES | 1 << SCHEMA_LIST | 1 << SCHEMA_MAP
        };

        return !(f->flags & SCHEMA_OMITEMPTY) || (!(f->flags & SCHEMA_POINTER) && !(HAVE_EMPTY >> f->type->kind & 1));
}
/* True when Go prints the field although nothing was given, and then *ret is what it prints. */
bool schema_absent(struct arena *a, const struct schema_field *f, struct json *ret);
/* True when an omitempty field of this value is not printed. */
bool schema_is_empty(const struct schema_field *f, const struct json *v);
