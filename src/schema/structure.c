/* Walks over one or two documents along their type. At each place it is one of
 *
 *   leaf    a scalar, or what is atomic: owned as a whole
 *   struct, map       owned field by field
 *   set, keyed list   owned item by item
 */
#include "schema/decode.h"
#include "schema/structure.h"

#include "base/vec.h"
#include "schema/elements.h"
#include "schema/internal.h"
#include "schema/strategic.h"
#include "schema/types.h"

#define MANY 64 /* elements are put in order first */

enum form { LEAF, STRUCT, MAP, SET, KEYED };

struct place {
        const struct schema_type *type;
        const struct schema_field *field; /* whose value this is, or NULL */
};

/* What no schema describes is owned by its own structure: objects field by field, the rest as a whole. */
static const struct schema_type untyped = { .kind = SCHEMA_ANY };

static enum form form_of(struct place p, const struct json *v) {
        const struct schema_field *f = p.field;
        bool atomic = (p.type->flags & SCHEMA_TYPE_ATOMIC) && !(f && (f->flags & SCHEMA_GRANULAR));

        if (atomic || (f && (f->flags & SCHEMA_MAP_ATOMIC)))
                return LEAF;
        switch (p.type->kind) {
        case SCHEMA_STRUCT:
                return STRUCT;
        case SCHEMA_MAP:
                return MAP;
        case SCHEMA_ANY: /* upstream looks into no RawExtension */
                return json_is(v, JSON_OBJECT) && p.type != &type_RawExtension ? MAP : LEAF;
        case SCHEMA_LIST:
                return !f                                ? LEAF
                       : f->list_type == SCHEMA_LIST_SET ? SET
                       : f->list_type == SCHEMA_LIST_MAP ? KEYED
                                                         : LEAF;
        default:
                return LEAF;
        }
}

/* Of the items of a list, the values of a map: only custom resources have a field for them. */
static struct place place_of_item(const struct schema_type *t) {
        return (struct place) { t->elem, t->n_fields == 0 ? t->fields : NULL };
}

static struct place place_of_member(struct place p, struct str key) {
        if (p.type->kind == SCHEMA_STRUCT) {
                const struct schema_field *f = schema_field(p.type, key);

                if (!f && (p.type->flags & SCHEMA_TYPE_PRESERVE_UNKNOWN))
                        return (struct place) { &untyped, NULL };
                return (struct place) { f ? f->type : NULL, f };
        }
        return p.type->kind == SCHEMA_ANY ? p : place_of_item(p.type);
}

/* ---- elements of paths ---- */

static struct str field_element(struct arena *a, struct str key) {
        char *p = arena_alloc(a, key.n + 2);

        p[0] = 'f';
        p[1] = ':';
        memcpy(p + 2, key.p, key.n);
        return str_n(p, key.n + 2);
}

static struct str element_text(struct arena *a, char prefix, const struct json *v) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_putc(&b, prefix);
        buf_putc(&b, ':');
        json_write(&b, v);
        return arena_str(a, buf_str(&b));
}

/* The element that names an item; p == NULL with *ret_missing set when it lacks a key that has no default. */
static struct str item_element(struct arena *a, struct place list, const struct json *item, struct str *ret_missing) {
        struct json keys = json_new_object();

        *ret_missing = STR("");
        if (form_of(list, NULL) == SET)
                return item->type == JSON_NULL || item->type > JSON_STRING ? str_n(NULL, 0)
                                                                           : element_text(a, 'v', item);
        str_each(key, str_of(list.field && json_is(item, JSON_OBJECT) ? list.field->list_keys : NULL), ',') {
                const struct json *v = json_get(item, key);
                const struct schema_field *f = v ? NULL : schema_field(list.type->elem, key);
                struct json *dflt = NULL;

                if (f && f->dflt && json_parse(a, str_of(f->dflt), NULL, &dflt, NULL) == 0)
                        v = dflt;
                if (!v && f &&
                    (!(f->flags & (SCHEMA_OMITEMPTY | SCHEMA_POINTER)) || (f->flags & SCHEMA_SHOWN && !f->dflt)))
                        v = json_new(a, schema_zero(a, f->type));
                if (!v) {
                        *ret_missing = key;
                        return str_n(NULL, 0);
                }
                json_add(a, &keys, key, *v);
        }
        json_sort(&keys);
        return keys.len > 0 ? element_text(a, 'k', &keys) : str_n(NULL, 0);
}

/* What is not a list, though it should be, has no items: documents need not be checked before they get here. */
static size_t n_items(const struct json *v) {
        return json_is(v, JSON_ARRAY) ? v->len : 0;
}

static struct elements item_elements(struct arena *a, struct place list, const struct json *v) {
        struct elements e = elements_new(a, n_items(v));
        struct str missing;

        while (e.n < n_items(v))
                elements_add(&e, item_element(a, list, json_item(v, e.n), &missing));
        return e;
}

/* ---- the fields a value sets ---- */

static void add_items(struct arena *a, struct place p, const struct json *v, struct fieldset *to);

/* The same members, for a walk that fills sets, which take quickly what comes in their order. */
static struct json in_order(struct arena *a, const struct json *v) {
        struct json out = v ? *v : (struct json) { 0 };

        if (v && v->type == JSON_OBJECT && v->len > MANY) {
                out = json_copy_shallow(a, v);
                json_sort(&out);
        }
        return out;
}

/* What v sets goes to the entry that stands for it. */
static void add_fields(struct arena *a, struct place p, const struct json *v, struct fieldset_entry *to) {
        enum form form = form_of(p, v);

        if (form == LEAF) {
                to->member = true;
                return;
        }
        if (!to->below) {
                to->below = fieldset_new(a);
                to->below->cap = json_len(v);
                to->below->v = arena_array(a, struct fieldset_entry, json_len(v));
        }
        const struct json all = in_order(a, v);
        json_each_member(m, &all) {
                struct place below = place_of_member(p, json_key(m));
                struct fieldset_entry e = { 0 };

                if (below.type)
                        add_fields(a, below, &m->value, &e);
                if (form == MAP || !below.field || m->value.type == JSON_NULL ||
                    (m->value.type == JSON_OBJECT && m->value.len == 0))
                        e.member = true;
                if (!e.member && (!e.below || e.below->n == 0))
                        continue;
                e.element = field_element(a, json_key(m));
                *fieldset_get_or_add(a, to->below, e.element) = e;
        }
        if (form == SET || form == KEYED)
                add_items(a, p, v, to->below);
}

static int compare_texts(const void *x, const void *y, void *elements) {
        const struct element *v = elements;
        size_t i = *(const size_t *) x, k = *(const size_t *) y;
        int r = fieldset_compare(v[i].text, v[k].text);

        return r != 0 ? r : i < k ? -1 : i > k;
}

/* The numbers of many elements in the order of sets, which take in order what they take quickly; NULL: as they are. */
static size_t *order_of(struct arena *a, const struct elements *e) {
        size_t *order = e->n > MANY ? arena_array(a, size_t, e->n) : NULL;

        for (size_t i = 0; order && i < e->n; i++)
                order[i] = i;
        if (order)
                qsort_r(order, e->n, sizeof(*order), compare_texts, e->v);
        return order;
}

/* Items that are there twice are owned together, as a whole. */
static void add_items(struct arena *a, struct place p, const struct json *v, struct fieldset *to) {
        struct elements all = item_elements(a, p, v);
        const size_t *order = order_of(a, &all);

        for (size_t nth = 0; nth < all.n; nth++) {
                size_t i = order ? order[nth] : nth;

                if (!all.v[i].text.p)
                        continue;
                struct fieldset_entry *e = fieldset_get_or_add(a, to, all.v[i].text);
                if (!e->member && !all.v[i].next)
                        add_fields(a, place_of_item(p.type), json_item(v, i), e);
                e->member = true;
        }
}

struct fieldset *structure_fields(struct arena *a, const struct schema_type *t, const struct json *value) {
        struct fieldset_entry root = { .below = fieldset_new(a) };

        add_fields(a, (struct place) { t, NULL }, value, &root);
        return root.below;
}

/* ---- the fields of a new object, straight to text: every create pays for this ---- */

struct text_writer {
        struct arena *arena;
        struct buf *dst;
        const char *const *reset;
};

/* Fields that nobody owns, at the top and in metadata. */
static const char *const unowned[] = { "apiVersion", "kind", NULL };
static const char *const unowned_metadata[] = { "name",       "namespace",     "creationTimestamp", "uid",
                                                "generation", "managedFields", "resourceVersion",   "selfLink",
                                                NULL };

static bool write_below(struct text_writer *w, struct place p, const struct json *v, bool zero,
                        const char *const skip[]);

/* ,"f:name":{ of a field of a struct. */
static void open_field(struct buf *dst, struct str name) {
        char *p = buf_reserve(dst, name.n + 8), *start = p;

        *p = ',';
        p += p[-1] != '{';
        memcpy(p, "\"f:", 3);
        memcpy(p + 3, name.p, name.n);
        memcpy(p + 3 + name.n, "\":{", 3);
        dst->n += (size_t) (p + name.n + 6 - start);
}

static void open_element(struct buf *dst, struct str element) {
        if (dst->p[dst->n - 1] != '{')
                buf_putc(dst, ',');
        json_write_string(dst, element);
        buf_add(dst, ":{", 2);
}

/* element:{…} of a value; of a field of a struct its name is enough. zero: Go prints this field's zero value, so that
 * being there says nothing. The value itself is ".", left out when nothing else is below. */
static bool write_element(struct text_writer *w, struct str element, struct place p, const struct json *v, bool zero,
                          const char *const skip[]) {
        enum form form = form_of(p, v);
        bool leaf = form == LEAF || json_len(v) == 0, member = !zero;
        bool pointer = p.field && (p.field->flags & SCHEMA_POINTER);
        size_t start = w->dst->n, open, empty;

        if (leaf && p.type->flags & SCHEMA_TYPE_ODD_SETS)
                return false;
        if (leaf && zero && (form != STRUCT || pointer)) {
                struct json none = pointer ? json_null() : schema_zero(w->arena, p.type);

                member = !json_equal(&none, v);
        }
        if (element.n == 0)
                open_field(w->dst, field_name(p.field));
        else
                open_element(w->dst, element);
        open = w->dst->n;
        if (member && !leaf)
                buf_add(w->dst, "\".\":{}", 6);
        empty = w->dst->n;
        if (!leaf && !write_below(w, p, v, zero && !pointer, skip))
                return false;
        if (w->dst->n == empty)
                w->dst->n = member ? open : start;
        if (w->dst->n > start)
                buf_putc(w->dst, '}');
        return true;
}

static bool is_named(const char *const *names, const char *name) {
        while (names && *names && strcmp(*names, name) != 0)
                names++;
        return names && *names;
}

static bool write_struct(struct text_writer *w, const struct schema_type *t, const struct json *v, bool zero,
                         const char *const skip[]) {
        const struct json **slots = arena_array(w->arena, const struct json *, t->n_fields + 1);
        size_t hint = 0;

        json_each_member(m, v) {
                const struct schema_field *f = schema_field_hinted(t, m);

                f = f ? f : schema_field_after(t, json_key(m), &hint);
                if (!f)
                        return false;
                slots[f - t->fields] = &m->value;
        }
        for (size_t i = 0; i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[t->by_name[i]];
                const char *const *below = NULL;

                if (!slots[t->by_name[i]] || is_named(skip, f->name))
                        continue;
                if (skip == unowned && is_named(w->reset, f->name)) {
                        if (t->flags & SCHEMA_TYPE_ODD_SETS)
                                return false; /* nobody owns it, but a wrong one makes that nobody owns anything */
                        continue;
                }
                if (skip == unowned && strcmp(f->name, "metadata") == 0)
                        below = unowned_metadata;
                if (!write_element(w, STR(""), (struct place) { f->type, f }, slots[t->by_name[i]],
                                   zero && schema_prints_zero(f), below))
                        return false;
        }
        return true;
}

struct item {
        struct str element;
        const struct json *value;
};

static int compare_elements(const void *x, const void *y) {
        const struct item *a = x, *b = y;
        int c = fieldset_compare(a->element, b->element);

        return c ? c : a->value < b->value ? -1 : a->value > b->value;
}

static bool write_items(struct text_writer *w, struct place p, const struct json *v) {
        struct item *items = arena_array(w->arena, struct item, n_items(v) + 1);
        struct str missing;
        size_t n = 0;

        json_each_item(it, v) {
                items[n] = (struct item) { item_element(w->arena, p, it, &missing), it };
                if (!items[n++].element.p)
                        return false;
        }
        if (n > 1)
                qsort(items, n, sizeof(*items), compare_elements);
        for (size_t i = 0; i < n; i++) {
                if (i > 0 && str_eq(items[i].element, items[i - 1].element))
                        continue;
                if (i + 1 < n && str_eq(items[i].element, items[i + 1].element)) {
                        open_element(w->dst, items[i].element);
                        buf_putc(w->dst, '}');
                } else if (!write_element(w, items[i].element, place_of_item(p.type), items[i].value, false, NULL))
                        return false;
        }
        return true;
}

static bool write_below(struct text_writer *w, struct place p, const struct json *v, bool zero,
                        const char *const skip[]) {
        enum form form = form_of(p, v);
        struct json map;

        if (form == STRUCT)
                return write_struct(w, p.type, v, zero, skip);
        if (form != MAP)
                return write_items(w, p, v);
        if (!json_is(v, JSON_OBJECT)) /* validation will say so */
                return true;
        map = *v;
        for (size_t i = 1; i < map.len && json_members(&map) == json_members(v); i++)
                if (str_cmp(json_key(&json_members(&map)[i - 1]), json_key(&json_members(&map)[i])) > 0)
                        map = json_copy_shallow(w->arena, v);
        if (json_members(&map) != json_members(v))
                json_sort(&map);
        json_each_member(m, &map)
                if (!write_element(w, field_element(w->arena, json_key(m)), place_of_member(p, json_key(m)), &m->value,
                                   false, NULL))
                        return false;
        return true;
}

bool structure_write_new(struct arena *a, struct buf *dst, const struct schema_type *t, const struct json *value,
                         const char *const *reset) {
        struct text_writer w = { a, dst, reset };
        size_t start = dst->n;

        buf_putc(dst, '{');
        if (!write_below(&w, (struct place) { t, NULL }, value, true, unowned)) {
                dst->n = start;
                return false;
        }
        buf_putc(dst, '}');
        return true;
}

/* ---- differences ---- */

struct differ {
        struct arena *arena;
        struct structure_diff diff;
};

static void compare(struct differ *d, struct place p, const struct json *old, const struct json *new,
                    const struct fieldpath *at);

static void mark(struct differ *d, const struct json *old, const struct json *new, const struct fieldpath *at) {
        fieldset_insert(d->arena, !old ? d->diff.added : !new ? d->diff.removed : d->diff.modified, at);
}

static void compare_members_of(struct differ *d, struct place p, const struct json *old, const struct json *new,
                               const struct fieldpath *at) {
        _cleanup_(json_edit_end) struct json_edit olds = { .object = (struct json *) old },
                                                  news = { .object = (struct json *) new };
        const struct json all_old = in_order(d->arena, old), all_new = in_order(d->arena, new);

        json_each_member(m, &all_old) {
                const struct json *other = json_edit_get(&news, json_key(m));

                if (other && other->type < JSON_ARRAY && json_equal(&m->value, other))
                        continue; /* the most common case, without making a path */
                compare(d, place_of_member(p, json_key(m)), &m->value, other,
                        &(struct fieldpath) { at, field_element(d->arena, json_key(m)) });
        }
        json_each_member(m, &all_new)
                if (!json_edit_get(&olds, json_key(m)))
                        compare(d, place_of_member(p, json_key(m)), NULL, &m->value,
                                &(struct fieldpath) { at, field_element(d->arena, json_key(m)) });
}

/* All items with the element of the first-th, as one value; none when that is below 0. */
static struct json items_of(struct arena *a, const struct json *v, const struct elements *elements, ssize_t first) {
        struct json out = json_new_array();

        for (ssize_t i = first; i >= 0; i = elements_next(elements, i))
                json_push(a, &out, *json_item(v, (size_t) i));
        return out;
}

/* Items that are there twice, before or now, differ or are gone or new as a whole. */
static void compare_twins(struct differ *d, struct place below, const struct json *old, const struct json *new,
                          const struct fieldpath *at) {
        if (json_len(old) > 1 && json_len(new) > 1) {
                if (!json_equal(old, new))
                        mark(d, old, new, at);
                return;
        }
        if (json_len(old) == 1 || json_len(new) == 1)
                compare(d, below, json_len(old) == 1 ? json_item(old, 0) : NULL,
                        json_len(new) == 1 ? json_item(new, 0) : NULL, at);
        mark(d, json_len(old) > 1 ? old : NULL, json_len(new) > 1 ? new : NULL, at);
}

static void compare_items(struct differ *d, struct place p, const struct json *old, const struct json *new,
                          const struct fieldpath *at) {
        struct place below = place_of_item(p.type);
        struct elements olds = item_elements(d->arena, p, old), news = item_elements(d->arena, p, new);
        const size_t *old_order = order_of(d->arena, &olds), *new_order = order_of(d->arena, &news);

        for (size_t i = 0; i < olds.n + news.n; i++) { /* each element once, where it comes first */
                bool was = i < olds.n;
                const size_t *order = was ? old_order : new_order;
                size_t nth = was ? i : i - olds.n, own = order ? order[nth] : nth;
                const struct element *e = was ? &olds.v[own] : &news.v[own];
                struct fieldpath here = { at, e->text };
                ssize_t before = was ? (ssize_t) own : elements_find(&olds, e->text),
                        now = was ? elements_find(&news, e->text) : (ssize_t) own;

                if (!e->text.p || e->first != own || (!was && before >= 0))
                        continue;
                if ((before >= 0 && olds.v[before].next) || (now >= 0 && news.v[now].next)) {
                        struct json all_old = items_of(d->arena, old, &olds, before),
                                    all_new = items_of(d->arena, new, &news, now);

                        compare_twins(d, below, &all_old, &all_new, &here);
                } else
                        compare(d, below, before < 0 ? NULL : json_item(old, (size_t) before),
                                now < 0 ? NULL : json_item(new, (size_t) now), &here);
        }
}

static void compare(struct differ *d, struct place p, const struct json *old, const struct json *new,
                    const struct fieldpath *at) {
        enum form form = p.type ? form_of(p, json_type(old) ? old : new) : LEAF;

        if (p.type && p.type->kind == SCHEMA_ANY && old && new && old->type &&new->type && old->type != new->type) {
                compare_members_of(d, p, old, new, at); /* of the one that is a map */
                form = LEAF;
        }
        if (form != LEAF && json_len(old) == 0 && json_len(new) == 0)
                form = LEAF; /* so that empty and null stay different */
        if (form == LEAF) {
                if (!old || !new || !json_equal(old, new))
                        mark(d, old, new, at);
                return;
        }
        if (form == STRUCT || form == MAP)
                compare_members_of(d, p, old, new, at);
        else
                compare_items(d, p, old, new, at);
        if (!old || !new)
                mark(d, old, new, at);
}

struct structure_diff structure_compare(struct arena *a, const struct schema_type *t, const struct json *old,
                                        const struct json *new) {
        struct differ d = { a, { fieldset_new(a), fieldset_new(a), fieldset_new(a) } };

        compare(&d, (struct place) { t, NULL }, old, new, NULL);
        return d.diff;
}

static void find_emptied(struct arena *a, struct place p, const struct json *sent, const struct json *now,
                         const struct fieldpath *at, struct fieldset *ret) {
        _cleanup_(json_edit_end) struct json_edit of_now = { .object = (struct json *) now };

        json_each_member(m, sent) {
                struct place below = place_of_member(p, json_key(m));
                const struct json *v = json_edit_get(&of_now, json_key(m));
                struct fieldpath here = { at, field_element(a, json_key(m)) };
                enum form form = below.type && json_len(v) > 0 ? form_of(below, v) : KEYED;

                if (form == STRUCT || form == MAP)
                        find_emptied(a, below, &m->value, v, &here, ret);
                else if (form == LEAF && below.type->kind == SCHEMA_LIST && schema_was_empty(below.type, &m->value, v))
                        fieldset_insert(a, ret, &here);
        }
}

struct fieldset *structure_emptied(struct arena *a, const struct schema_type *t, const struct json *sent,
                                   const struct json *now) {
        struct fieldset *s = fieldset_new(a);

        find_emptied(a, (struct place) { t, NULL }, sent, now, NULL, s);
        return s;
}

/* ---- merging ---- */

static struct json merge(struct arena *a, struct place p, const struct json *live, const struct json *config);

static struct json merge_map(struct arena *a, struct place p, const struct json *live, const struct json *config) {
        struct json out = json_is(live, JSON_OBJECT) ? json_copy_shallow(a, live) : json_new_object();
        struct json_edit e = { .arena = a, .object = &out };

        json_each_member(c, config) {
                struct place below = place_of_member(p, json_key(c));

                json_edit_set(&e, json_key(c),
                              below.type ? merge(a, below, json_edit_get(&e, json_key(c)), &c->value) : c->value);
        }
        json_edit_end(&e);
        return out;
}

/* The config's items come in its order; those that only the live list has stay where they are relative to the items
 * around them that both have, before what is new. */
static struct json merge_items(struct arena *a, struct place p, const struct json *live, const struct json *config) {
        struct elements lives = item_elements(a, p, live), configs = item_elements(a, p, config);
        struct place below = place_of_item(p.type);
        struct json out = json_new_array();
        size_t l = 0, c = 0, shared = 0;

        while (l < lives.n || c < configs.n) {
                for (shared = MAX(shared, c); shared < configs.n; shared++)
                        if (elements_find(&lives, configs.v[shared].text) >= 0)
                                break;
                if (l < lives.n && elements_find(&configs, lives.v[l].text) < 0)
                        json_push(a, &out, *json_item(live, l++));
                else if (l < lives.n && (shared == configs.n || !str_eq(lives.v[l].text, configs.v[shared].text)))
                        l++; /* its turn comes with the config, or has come */
                else {
                        ssize_t k = elements_find(&lives, configs.v[c].text);
                        json_push(a, &out,
                                  merge(a, below, k >= 0 && !lives.v[k].next ? json_item(live, (size_t) k) : NULL,
                                        json_item(config, c++)));
                        l += k >= 0 && l < lives.n;
                }
        }
        return out;
}

static struct json merge(struct arena *a, struct place p, const struct json *live, const struct json *config) {
        enum form form = form_of(p, json_is(config, JSON_NULL) ? live : config);
        bool list = form == SET || form == KEYED;

        if (form == LEAF || (json_len(live) == 0 && json_len(config) == 0))
                return *config;
        if (!json_is(config, list ? JSON_ARRAY : JSON_OBJECT))
                return json_is(config, JSON_NULL) ? *live : *config; /* null says nothing of what is below */
        return list ? merge_items(a, p, live, config) : merge_map(a, p, live, config);
}

struct json structure_merge(struct arena *a, const struct schema_type *t, const struct json *live,
                            const struct json *config) {
        return merge(a, (struct place) { t, NULL }, live, config);
}

/* ---- checking ---- */

#define MAX_PROBLEMS 20

struct checker {
        struct arena *arena;
        bool twins; /* an item may be there twice */
        VEC(struct str) problems;
};

static void print_path(struct buf *b, const struct fieldpath *at) {
        if (!at)
                return;
        print_path(b, at->up);
        fieldset_print_element(b, at->element);
}

static void problem(struct checker *c, const struct fieldpath *at, struct str text) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (c->problems.n == MAX_PROBLEMS)
                return;
        print_path(&b, at);
        buf_addc(&b, ": ");
        buf_add_str(&b, text);
        vec_push(&c->problems, arena_str(c->arena, buf_str(&b)));
}

static void check(struct checker *c, struct place p, const struct json *v, const struct fieldpath *at);

/* A value as a literal of Go. */
static void print_literal(struct arena *a, struct buf *b, const struct json *v) {
        struct json sorted = json_is(v, JSON_OBJECT) ? json_copy_shallow(a, v) : *v;
        const char *comma = "";

        if (v->type < JSON_ARRAY) {
                if (v->type == JSON_NULL)
                        buf_addc(b, "interface {}(nil)");
                else if (v->type == JSON_DOUBLE)
                        strategic_print(b, v);
                else
                        json_write(b, v);
                return;
        }
        buf_printf(b, "%s{", strategic_type(v));
        json_each_item(it, v) {
                buf_addc(b, comma);
                print_literal(a, b, it);
                comma = ", ";
        }
        json_sort(&sorted);
        json_each_member(m, &sorted) {
                buf_addc(b, comma);
                json_write_string(b, json_key(m));
                buf_putc(b, ':');
                print_literal(a, b, &m->value);
                comma = ", ";
        }
        buf_putc(b, '}');
}

/* A value as Go prints the struct around it. */
static bool expected(struct checker *c, const char *what, const struct json *v, const struct fieldpath *at) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b, "expected %s, got ", what);
        if (strcmp(what, "string") == 0) {
                buf_addc(&b, "&value.valueUnstructured{Value:");
                print_literal(c->arena, &b, v);
                buf_putc(&b, '}');
        } else if (what[0] == 'n')
                buf_addc(&b, strategic_type(v));
        else {
                buf_addc(&b, "&{");
                strategic_print(&b, v);
                buf_putc(&b, '}');
        }
        problem(c, at, buf_str(&b));
        return false;
}

static bool check_type(struct checker *c, const struct schema_type *t, const struct json *v,
                       const struct fieldpath *at) {
        bool number = json_is(v, JSON_INT) || json_is(v, JSON_DOUBLE);

        switch (t->kind) {
        case SCHEMA_STRUCT:
        case SCHEMA_MAP:
                return json_is(v, JSON_OBJECT) || expected(c, "map", v, at);
        case SCHEMA_LIST:
                return json_is(v, JSON_ARRAY) || expected(c, "list", v, at);
        case SCHEMA_BOOL:
                return json_is(v, JSON_BOOL) || expected(c, "boolean", v, at);
        case SCHEMA_INT32:
        case SCHEMA_INT64:
        case SCHEMA_DOUBLE:
                return number || expected(c, "numeric (int or float)", v, at);
        case SCHEMA_STRING:
        case SCHEMA_BYTES:
                return json_is(v, JSON_STRING) || expected(c, "string", v, at);
        case SCHEMA_ANY:
        case SCHEMA_UNION:
        case SCHEMA_INT_OR_STRING: /* of no type to upstream */
                return true;
        default:
                return v->type < JSON_RAW || expected(c, "any scalar", v, at);
        }
}

/* Why an item has no element that names it. */
static struct str nameless(struct arena *a, struct place list, const struct json *item, struct str missing) {
        if (form_of(list, NULL) == KEYED)
                return json_is(item, JSON_OBJECT)
                                       ? arena_printf(a,
                                                      "associative list with keys has an element that omits key field "
                                                      "\"%" STR_FMT "\" (and doesn't have default value)",
                                                      STR_ARG(missing))
                       : json_is(item, JSON_NULL) ? STR("associative list with keys may not have a null element")
                                                  : STR("associative list with keys may not have non-map elements");
        return json_is(item, JSON_NULL)    ? STR("associative list without keys has an element that's an explicit null")
               : json_is(item, JSON_ARRAY) ? STR("not supported: associative list with lists as elements")
                                           : STR("associative list without keys has an element that's a map type");
}

static void check_items(struct checker *c, struct place p, const struct json *v, const struct fieldpath *at) {
        struct elements elements = elements_new(c->arena, n_items(v));

        for (size_t i = 0; i < n_items(v); i++) {
                struct str missing, element = item_element(c->arena, p, json_item(v, i), &missing);

                if (!element.p) {
                        missing = nameless(c->arena, p, json_item(v, i), missing);
                        return problem(c, at, arena_printf(c->arena, "element %zu: %" STR_FMT, i, STR_ARG(missing)));
                }
                if (elements_add(&elements, element) && !c->twins) {
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        fieldset_print_element(&b, element);
                        problem(c, at,
                                arena_printf(c->arena, "duplicate entries for key %" STR_FMT, STR_ARG(buf_str(&b))));
                }
                check(c, place_of_item(p.type), json_item(v, i), &(struct fieldpath) { at, element });
        }
}

static void check(struct checker *c, struct place p, const struct json *v, const struct fieldpath *at) {
        enum form form = form_of(p, v);

        if (v->type == JSON_NULL || !check_type(c, p.type, v, at))
                return;
        if (form == SET || form == KEYED)
                check_items(c, p, v, at);
        if (p.type->kind == SCHEMA_LIST && form == LEAF) {
                size_t i = 0;

                json_each_item(it, v)
                        check(c, place_of_item(p.type), it,
                              &(struct fieldpath) { at, arena_printf(c->arena, "i:%zu", i++) });
        }
        if (p.type->kind != SCHEMA_STRUCT && p.type->kind != SCHEMA_MAP)
                return;
        json_each_member(m, v) {
                struct place below = place_of_member(p, json_key(m));
                struct fieldpath here = { at, field_element(c->arena, json_key(m)) };

                if (below.type)
                        check(c, below, &m->value, &here);
                else if (!(p.type->flags & SCHEMA_TYPE_PRESERVE_UNKNOWN) && p.type->kind == SCHEMA_STRUCT) {
                        return problem(c, &here, STR("field not declared in schema"));
                }
        }
}

int structure_check(struct arena *a, const struct schema_type *t, const struct json *value, bool twins,
                    struct error *err) {
        struct checker c = { .arena = a, .twins = twins };
        _cleanup_buf_ struct buf b = BUF_INIT;
        int r = 0;

        check(&c, (struct place) { t, NULL }, value, NULL);
        if (c.problems.n > 1)
                buf_addc(&b, "errors:");
        for (size_t i = 0; i < c.problems.n; i++) {
                if (c.problems.n > 1)
                        buf_addc(&b, "\n  ");
                buf_add_str(&b, c.problems.v[i]);
        }
        if (c.problems.n > 0)
                r = error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(buf_str(&b)));
        vec_free(&c.problems);
        return r;
}

/* ---- removing ---- */

static struct json without(struct arena *a, struct place p, const struct json *v, const struct fieldset *s) {
        enum form form = form_of(p, v);

        if (form == LEAF || json_len(v) == 0 || fieldset_empty(s))
                return *v;
        struct json out = json_is(v, JSON_ARRAY) ? json_new_array() : json_new_object();
        json_each_member(m, v) {
                const struct fieldset_entry *e = fieldset_find(s, field_element(a, json_key(m)));
                struct place below = place_of_member(p, json_key(m));

                if (!e || !e->member)
                        json_add(a, &out, json_key(m),
                                 e && below.type ? without(a, below, &m->value, e->below) : m->value);
        }
        json_each_item(it, v) {
                struct str missing, element = item_element(a, p, it, &missing);
                const struct fieldset_entry *e = element.p ? fieldset_find(s, element) : NULL;

                if (!e || !e->member)
                        json_push(a, &out, e ? without(a, place_of_item(p.type), it, e->below) : *it);
        }
        return out.len > 0 ? out : json_null();
}

struct json structure_remove(struct arena *a, const struct schema_type *t, const struct json *value,
                             const struct fieldset *s) {
        return without(a, (struct place) { t, NULL }, value, s);
}

/* ---- sets by type ---- */

static struct fieldset *with_parents(struct arena *a, struct place p, const struct fieldset *s) {
        struct fieldset *out = fieldset_new(a);

        if (!s)
                return out;
        out->v = arena_dup(a, s->v, s->n * sizeof(*s->v));
        out->n = out->cap = s->n;
        for (size_t i = 0; i < s->n; i++) {
                struct fieldset_entry *e = &out->v[i];
                struct place below = { NULL, NULL };

                if (p.type && e->element.p[0] == 'f') {
                        below = place_of_member(p, str_sub(e->element, 2, e->element.n));
                        e->member = e->member || (p.type->kind == SCHEMA_STRUCT && below.type);
                } else if (p.type && p.type->kind == SCHEMA_LIST)
                        below.type = p.type->elem;
                if (e->below)
                        e->below = with_parents(a, below, e->below);
        }
        return out;
}

struct fieldset *structure_with_parents(struct arena *a, const struct schema_type *t, const struct fieldset *s) {
        return with_parents(a, (struct place) { t, NULL }, s);
}

static bool reconcile(struct place p, struct fieldset *s) {
        bool changed = false;

        for (size_t i = 0; i < s->n; i++) {
                struct fieldset_entry *e = &s->v[i];
                struct place below = { p.type->kind == SCHEMA_LIST ? p.type->elem : NULL, NULL };

                if (e->element.p[0] == 'f')
                        below = place_of_member(p, str_sub(e->element, 2, e->element.n));
                if (!below.type || !e->below || below.type->kind < SCHEMA_LIST || below.type->kind > SCHEMA_STRUCT)
                        continue;
                if (below.type->kind == SCHEMA_STRUCT ? below.type->n_fields == 0
                                                      : below.type->elem->kind == SCHEMA_ANY)
                        continue; /* a map of anything */
                if (form_of(below, NULL) != LEAF) {
                        changed = reconcile(below, e->below) || changed;
                        continue;
                }
                e->below = NULL;
                e->member = changed = true;
        }
        return changed;
}

bool structure_reconcile(const struct schema_type *t, struct fieldset *s) {
        return reconcile((struct place) { t, NULL }, s);
}
