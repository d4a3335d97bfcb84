/* Defaults. The plain ones are data (`default 30` in api/); the few that depend on something are the functions of
 * default_functions.c that api/ names. For each struct: its fields' own defaults, then its function, then what is
 * below, so that a default of {} gets its own defaults in turn. Types without any default at or below them are skipped
 * (HAS_DEFAULTS). */
#include "schema/defaults.h"

#include "schema/internal.h"

static struct json literal(struct arena *a, const char *text) {
        size_t n = strlen(text);
        struct json *v = NULL;
        int64_t number;

        if (text[0] == '"')
                return json_of_str(str_n(text + 1, n - 2)); /* none has an escape */
        if (str_to_i64(str_n(text, n), &number) == 0)
                return json_of_int(number);
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
                const struct json *given = f->dflt ? json_get(value, field_name(f)) : NULL;

                if (!f->dflt || !is_unset(f, given))
                        continue;
                struct json v = literal(a, f->dflt);
                if (!(f->flags & SCHEMA_OMITEMPTY) || !is_unset(f, &v)) /* Go prints no zero */
                        (given ? json_set : json_add)(a, value, field_name(f), v)->hint = (uint16_t) (i + 1);
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
        if (t->kind == SCHEMA_STRUCT && json_is(value, JSON_OBJECT))
                return default_struct(a, t, value);
        if (t->defaults)
                t->defaults(a, value);
        if (t->kind == SCHEMA_LIST)
                json_each_item(it, value)
                        schema_default(a, t->elem, it);
        else if (t->kind == SCHEMA_MAP)
                json_each_member(m, value)
                        schema_default(a, t->elem, &m->value);
}

static const struct schema_field *field_of(const struct schema_type *t, const struct json_member *m, size_t *hint) {
        const struct schema_field *f = schema_field_hinted(t, m);

        return f ? f : schema_field_after(t, json_key(m), hint);
}

static bool keys_sorted(const struct json *map) {
        for (size_t i = 1; i < map->len; i++)
                if (str_cmp(json_key(&json_members(map)[i - 1]), json_key(&json_members(map)[i])) > 0)
                        return false;
        return true;
}

static bool reorder(struct arena *a, const struct schema_type *t, struct json *value);

/* Container i of value; value becomes a copy of its own at the first change, as it may belong to an object that others
 * read. */
static void reorder_below(struct arena *a, const struct schema_type *t, struct json *value, size_t i, bool *owned) {
        bool object = value->type == JSON_OBJECT;
        struct json below = object ? json_members(value)[i].value : json_items(value)[i];

        if (!reorder(a, t, &below))
                return;
        if (!*owned)
                *value = json_copy_shallow(a, value);
        *owned = true;
        *(object ? &json_members(value)[i].value : &json_items(value)[i]) = below;
}

struct place {
        const struct schema_field *field; /* NULL: not known */
        size_t i;                         /* its member's */
};

/* Insertion sort: what was added at the end goes to its place, the rest stays. */
static void sort_places(struct place *places, size_t n) {
        const struct schema_field *last = NULL;

        for (size_t i = 0; i < n; i++) {
                struct place p = places[i];
                size_t k = i;

                if (p.field && p.field < last)
                        for (; k > 0 && !(places[k - 1].field && places[k - 1].field < p.field); k--)
                                places[k] = places[k - 1];
                else if (p.field)
                        last = p.field;
                places[k] = p;
        }
}

static void move_members(struct arena *a, const struct schema_type *t, struct json *value, const struct place *places) {
        struct json out = json_copy_shallow(a, value);

        for (size_t i = 0; i < out.len; i++) {
                struct json_member *m = &json_members(&out)[i];
                const struct schema_field *f = places[i].field;

                *m = json_members(value)[places[i].i];
                if (f) { /* as decoding does */
                        m->key = member_key(field_name(f));
                        m->value.hint = (uint16_t) (f - t->fields + 1);
                }
        }
        *value = out;
}

static bool reorder_struct(struct arena *a, const struct schema_type *t, struct json *value) {
        const struct schema_field *last = NULL;
        struct place few[48], *places = value->len <= ARRAY_SIZE(few) ? few : arena_array(a, struct place, value->len);
        bool owned = false, sorted = true;
        size_t hint = 0;

        for (size_t i = 0; i < value->len; i++) {
                const struct schema_field *f = field_of(t, &json_members(value)[i], &hint);

                places[i] = (struct place) { f, i };
                if (!f)
                        continue;
                if (f->type->kind >= SCHEMA_LIST && json_members(value)[i].value.type >= JSON_ARRAY)
                        reorder_below(a, f->type, value, i, &owned);
                sorted = sorted && f >= last;
                last = f;
        }
        if (!sorted) {
                sort_places(places, value->len);
                move_members(a, t, value, places);
        }
        return owned || !sorted;
}

/* Whether anything changed, and so *value is a copy now. */
static bool reorder(struct arena *a, const struct schema_type *t, struct json *value) {
        bool owned = false;

        if (t->kind == SCHEMA_STRUCT && json_is(value, JSON_OBJECT))
                return reorder_struct(a, t, value);
        if (t->kind == SCHEMA_MAP && json_is(value, JSON_OBJECT) && !keys_sorted(value)) {
                *value = json_copy_shallow(a, value);
                json_sort(value);
                owned = true;
        }
        if (t->elem && t->elem->kind >= SCHEMA_LIST && value->type >= JSON_ARRAY)
                for (size_t i = 0; i < value->len; i++)
                        reorder_below(a, t->elem, value, i, &owned);
        return owned;
}

/* What Go has no type of it prints by key, all the way down. */
static const struct schema_type untyped = { .kind = SCHEMA_MAP, .elem = &untyped };

void schema_reorder(struct arena *a, const struct schema_type *t, struct json *value) {
        reorder(a, t->openapi ? &untyped : t, value);
}
