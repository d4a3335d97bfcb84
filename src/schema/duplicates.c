/* What Go makes of a key that comes twice: what is decoded later goes on top of what was decoded before.
 *
 *   {"spec":{"a":1,"l":[{"x":1},{"x":2}]},"spec":{"b":2,"l":[{"y":3}]}}  →  {"spec":{"a":1,"b":2,"l":[{"x":1,"y":3}]}}
 *
 * Structs are joined, lists item by item; of a map and of all that has no type the later member counts. A null takes
 * away what may be absent, and leaves the rest. Each joining copies the members that are there, which a body could ask
 * for once in a few bytes: how many may be copied follows from its length. */
#include "json/text.h"
#include "schema/decode.h"
#include "schema/internal.h"

#define MORE_MEMBERS 100000 /* than a body of its length has: those that are joined */

struct joining {
        struct arena *a;
        size_t left; /* members that may still be copied */
        bool over;
};

static struct json join(struct joining *j, const struct schema_type *t, const struct json *before,
                        const struct json *v);

/* What decoding refuses, so that it has to see it. */
static bool is_mistyped(const struct schema_type *t, const struct json *v) {
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_BOOL:
                return v->type != JSON_BOOL;
        case SCHEMA_STRING:
        case SCHEMA_TIME:
        case SCHEMA_MICRO_TIME:
        case SCHEMA_DURATION:
                return v->type != JSON_STRING;
        case SCHEMA_DOUBLE:
                return v->type != JSON_INT && v->type != JSON_DOUBLE;
        case SCHEMA_INT32:
                return v->type != JSON_INT || v->i != (int32_t) v->i;
        case SCHEMA_INT64:
                return v->type != JSON_INT;
        case SCHEMA_INT_OR_STRING:
                return v->type != JSON_STRING && (v->type != JSON_INT || v->i != (int32_t) v->i);
        case SCHEMA_QUANTITY:
                return v->type != JSON_STRING && v->type != JSON_INT && v->type != JSON_DOUBLE;
        case SCHEMA_BYTES:
                return v->type != JSON_STRING && v->type != JSON_ARRAY;
        case SCHEMA_LIST:
                return v->type != JSON_ARRAY;
        case SCHEMA_MAP:
        case SCHEMA_STRUCT:
                return v->type != JSON_OBJECT;
        default:
                return false;
        }
}

/* pointer: of a field that a null takes away. */
static struct json onto(struct joining *j, const struct schema_type *t, bool pointer, const struct json *before,
                        const struct json *v) {
        bool list = t->kind == SCHEMA_LIST || t->kind == SCHEMA_BYTES, map = t->kind == SCHEMA_MAP;

        if (before && before->type != JSON_NULL && is_mistyped(t, before))
                return *before;
        if (before && v->type == JSON_NULL && !pointer && !list && !map && t->kind != SCHEMA_ANY)
                return *before;
        return join(j, t, before, v);
}

static struct json join_list(struct joining *j, const struct schema_type *elem, const struct json *before,
                             const struct json *v) {
        struct json out = json_array_of(j->a, json_len(v));

        for (size_t i = 0; i < json_len(v); i++) {
                const struct json *it = json_item(v, i);

                json_items(&out)[i] = elem ? onto(j, elem, false, json_item(before, i), it) : join(j, NULL, NULL, it);
        }
        return out;
}

static struct json join_object(struct joining *j, const struct schema_type *t, const struct json *before,
                               const struct json *v) {
        const struct schema_type *of = t && t->kind == SCHEMA_STRUCT ? t : NULL;
        size_t n = 0, most = json_len(before) + 2 * json_len(v) + 1;
        struct json out = json_new_object();
        struct json_member *m, **slots = NULL;

        j->over = j->over || most > j->left;
        if (j->over)
                return *v;
        j->left -= most;
        m = arena_array(j->a, struct json_member, most);
        if (of)
                slots = arena_array(j->a, struct json_member *, of->n_fields + 1U);
        json_each_member(old, before) {
                const struct schema_field *f = of ? schema_field(of, json_key(old)) : NULL;

                if (f)
                        slots[f - of->fields] = &m[n];
                m[n++] = *old;
        }
        json_each_member(new, v) {
                const struct schema_field *f = of ? schema_field(of, json_key(new)) : NULL;
                struct json_member **slot = f ? &slots[f - of->fields] : NULL;

                if (slot && *slot) {
                        (*slot)->key = new->key; /* the place at which strict validation tells of it */
                        (*slot)->value = onto(j, f->type, f->flags & SCHEMA_POINTER, &(*slot)->value, &new->value);
                        continue;
                }
                m[n] = *new;
                m[n].value = join(j, f ? f->type : t && t->kind == SCHEMA_MAP ? t->elem : NULL, NULL, &new->value);
                if (slot)
                        *slot = &m[n];
                n++;
        }
        json_each_member(new, t && t->kind == SCHEMA_MAP ? v : NULL) /* the last ones count: those to be refused */
                if (new->value.type != JSON_NULL && is_mistyped(t->elem, &new->value))
                        m[n++] = *new;
        out.at = (uintptr_t) m;
        out.len = (uint32_t) json_unique_members(m, n, NULL, NULL);
        return out;
}

static struct json join(struct joining *j, const struct schema_type *t, const struct json *before,
                        const struct json *v) {
        bool list = t && t->kind == SCHEMA_LIST, object = t && (t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_MAP);

        if (v->type == JSON_ARRAY)
                return join_list(j, list ? t->elem : NULL, list && json_is(before, JSON_ARRAY) ? before : NULL, v);
        if (v->type == JSON_OBJECT)
                return join_object(j, t, object && json_is(before, JSON_OBJECT) ? before : NULL, v);
        return *v;
}

int schema_join_duplicates(struct arena *a, const struct schema_type *t, size_t length, struct json *v,
                           struct error *err) {
        struct joining j = { .a = a, .left = length + MORE_MEMBERS };
        struct json joined = join(&j, t, NULL, v);

        if (j.over)
                return error_set(err, -E2BIG, "json: too many members come twice");
        *v = joined;
        return 0;
}
