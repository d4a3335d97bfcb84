/* Defaults. The plain ones are data (`default 30` in api/); the few that depend on something are the functions of
 * default_functions.c that api/ names. For each struct: its fields' own defaults, then its function, then what is
 * below, so that a default of {} gets its own defaults in turn. Types without any default at or below them are skipped
 * (HAS_DEFAULTS). */
#include "schema/defaults.h"

#include "schema/internal.h"

static struct json literal(struct arena *a, const char *text) {
        size_t n = strlen(text);
        struct json *v = NULL;

        if (text[0] == '"')
                return json_of_str(str_n(text + 1, n - 2)); /* none has an escape */
        if (json_parse(a, str_n(text, n), NULL, &v, NULL) < 0)
                return json_null();
        return *v;
}

static bool is_unset(const struct schema_field *f, const struct json *v) {
        if (!v || v->type == JSON_NULL)
                return true;
        if (f->flags & SCHEMA_POINTER)
                return false;
        return (v->type == JSON_STRING && v->len == 0) || (v->type == JSON_INT && v->i == 0) ||
               (v->type == JSON_BOOL && !v->b) || (v->type == JSON_ARRAY && v->len == 0);
}

static void default_struct(struct arena *a, const struct schema_type *t, struct json *value) {
        for (size_t i = 0; i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];

                if (f->dflt && is_unset(f, json_get(value, field_name(f))))
                        json_set(a, value, field_name(f), literal(a, f->dflt));
        }
        if (t->defaults)
                t->defaults(a, value);
        json_each_member(m, value) {
                const struct schema_field *f = schema_field_of(t, m);

                if (f)
                        schema_default(a, f->type, &m->value);
        }
}

void schema_default(struct arena *a, const struct schema_type *t, struct json *value) {
        if (!(t->flags & SCHEMA_TYPE_HAS_DEFAULTS))
                return;
        if (t->kind == SCHEMA_STRUCT && json_is(value, JSON_OBJECT)) {
                default_struct(a, t, value);
                return;
        }
        if (t->defaults)
                t->defaults(a, value);
        if (t->kind == SCHEMA_LIST)
                json_each_item(it, value)
                        schema_default(a, t->elem, it);
        else if (t->kind == SCHEMA_MAP)
                json_each_member(m, value)
                        schema_default(a, t->elem, &m->value);
}

/* Moves member i, which belongs to field f, before those of later fields. */
static void move_back(const struct schema_type *t, struct json *value, size_t i, const struct schema_field *f) {
        struct json_member m = value->members[i];
        size_t k = i;

        while (k > 0) {
                const struct schema_field *before = schema_field_of(t, &value->members[k - 1]);

                if (before && before < f)
                        break;
                k--;
        }
        memmove(&value->members[k + 1], &value->members[k], (i - k) * sizeof(m));
        value->members[k] = m;
}

/* Insertion sort: what was added at the end goes to its place, the rest stays. */
static void reorder_struct(struct arena *a, const struct schema_type *t, struct json *value) {
        const struct schema_field *last = NULL;

        for (size_t i = 0; i < value->len; i++) {
                const struct schema_field *f = schema_field_of(t, &value->members[i]);

                if (!f)
                        continue;
                schema_reorder(a, f->type, &value->members[i].value);
                if (last && f < last)
                        move_back(t, value, i, f);
                else
                        last = f;
        }
}

static int compare_keys(const void *x, const void *y) {
        return str_cmp(json_key(x), json_key(y));
}

void schema_reorder(struct arena *a, const struct schema_type *t, struct json *value) {
        if (t->kind == SCHEMA_LIST)
                json_each_item(it, value)
                        schema_reorder(a, t->elem, it);
        else if (t->kind == SCHEMA_MAP && json_is(value, JSON_OBJECT)) {
                if (value->len > 1)
                        qsort(value->members, value->len, sizeof(*value->members), compare_keys);
                json_each_member(m, value)
                        schema_reorder(a, t->elem, &m->value);
        } else if (t->kind == SCHEMA_STRUCT && json_is(value, JSON_OBJECT))
                reorder_struct(a, t, value);
}
