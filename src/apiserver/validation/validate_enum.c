/* Enumerations: the schema says which values a field may have, so one walk checks them for every kind. */
#include "apiserver/validation/validate.h"

#define MAX_DEPTH 64

static void walk(struct field_errors *fe, const struct path *p, const struct schema_type *t, const struct json *v,
                 unsigned depth);

static void walk_list(struct field_errors *fe, const struct path *p, const struct schema_type *t, const struct json *v,
                      unsigned depth) {
        size_t i = 0;

        if (t->elem && (t->elem->kind >= SCHEMA_LIST || t->elem->values))
                json_each_item(it, v)
                        walk(fe, PATH_INDEX(p, i++), t->elem, it, depth);
}

static void walk_map(struct field_errors *fe, const struct path *p, const struct schema_type *t, const struct json *v,
                     unsigned depth) {
        if (t->elem && (t->elem->kind >= SCHEMA_LIST || t->elem->values))
                json_each_member(m, v)
                        walk(fe, PATH_KEY(p, json_key(m)), t->elem, &m->value, depth);
}

static void walk_struct(struct field_errors *fe, const struct path *p, const struct schema_type *t,
                        const struct json *v, unsigned depth) {
        json_each_member(m, v) {
                const struct schema_field *f = schema_field_of(t, m);

                if (f && (f->type->kind >= SCHEMA_LIST || f->type->values))
                        walk(fe, PATH(p, f->name), f->type, &m->value, depth);
        }
}

static void walk(struct field_errors *fe, const struct path *p, const struct schema_type *t, const struct json *v,
                 unsigned depth) {
        if (depth > MAX_DEPTH)
                return;
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_LIST:
                walk_list(fe, p, t, v, depth + 1);
                break;
        case SCHEMA_MAP:
                walk_map(fe, p, t, v, depth + 1);
                break;
        case SCHEMA_STRUCT:
                walk_struct(fe, p, t, v, depth + 1);
                break;
        case SCHEMA_STRING:
                if (t->values && !(t->flags & SCHEMA_TYPE_OPEN_ENUM) && !str_empty(json_str(v)))
                        check_enum(fe, p, json_str(v), t->values);
                break;
        default:
                break;
        }
}

void validate_enums(struct field_errors *fe, const struct schema_type *t, const struct json *obj) {
        json_each_member(m, obj) {
                const struct schema_field *f = schema_field_of(t, m);

                if (f && !str_eqc(json_key(m), "metadata") && !str_eqc(json_key(m), "status"))
                        walk(fe, PATH(NULL, f->name), f->type, &m->value, 0);
        }
}
