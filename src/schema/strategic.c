/* Strategic merge patch. A merge patch whose lists are merged too, where the type says by which key:
 *
 *   live   containers: [ {name: a, image: 1}, {name: b, image: 1} ]
 *   patch  containers: [ {name: b, image: 2} ]                        patchMergeKey: name
 *   result containers: [ {name: a, image: 1}, {name: b, image: 2} ]
 *
 * Members that start with '$' are directives to the merge and never get into the result. Nothing is changed in place: a
 * container that changes is copied shallowly first. The facts are those of apimachinery's strategicpatch. */
#include "schema/strategic.h"

#include "json/number.h"
#include "schema/elements.h"
#include "schema/internal.h"

#define MAX_DEPTH 1000

#define DIRECTIVE STR("$patch")
#define RETAIN_KEYS STR("$retainKeys")
#define DELETE_FROM STR("$deleteFromPrimitiveList")
#define ELEMENT_ORDER STR("$setElementOrder")

struct merge {
        struct arena *arena;
        struct error *err;
        size_t depth;
};

static int merge_map(struct merge *m, const struct schema_type *t, const struct json *live, const struct json *patch,
                     struct json *ret);

/* ---- messages ---- */

const char *strategic_type(const struct json *v) {
        static const char *const names[] = {
                [JSON_NULL] = "<nil>",
                [JSON_BOOL] = "bool",
                [JSON_INT] = "int64",
                [JSON_DOUBLE] = "float64",
                [JSON_STRING] = "string",
                [JSON_RAW] = "string",
                [JSON_ARRAY] = "[]interface {}",
                [JSON_OBJECT] = "map[string]interface {}",
        };

        return names[json_type(v)];
}

void strategic_print(struct buf *b, const struct json *v) {
        const char *space = "";

        if (json_is(v, JSON_STRING))
                buf_add_str(b, json_str(v));
        else if (json_is(v, JSON_NULL))
                buf_addc(b, "<nil>");
        else if (json_is(v, JSON_OBJECT)) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct json sorted = json_copy_shallow(a, v);

                json_sort(&sorted);
                buf_addc(b, "map[");
                json_each_member(m, &sorted) {
                        buf_addc(b, space);
                        buf_add_str(b, json_key(m));
                        buf_putc(b, ':');
                        strategic_print(b, &m->value);
                        space = " ";
                }
                buf_putc(b, ']');
        } else if (json_is(v, JSON_ARRAY)) {
                buf_putc(b, '[');
                json_each_item(it, v) {
                        buf_addc(b, space);
                        strategic_print(b, it);
                        space = " ";
                }
                buf_putc(b, ']');
        } else if (json_is(v, JSON_DOUBLE)) {
                char digits[32];

                buf_add_str(b, json_format_double_g(digits, v->d));
        } else
                json_write(b, v);
}

static int no_merge_key(struct merge *m, const struct json *map, const char *key) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        strategic_print(&b, map);
        return error_set(m->err, -EINVAL, "map: %" STR_FMT " does not contain declared merge key: %s",
                         STR_ARG(buf_str(&b)), key);
}

static int bad_patch_type(struct merge *m, const struct json *directive, const struct json *map) {
        _cleanup_buf_ struct buf d = BUF_INIT, b = BUF_INIT;

        if (json_is(directive, JSON_NULL))
                buf_addc(&d, "%!s(<nil>)");
        else if (directive->type < JSON_STRING)
                buf_printf(&d, "%%!s(%s=", strategic_type(directive));
        if (directive->type != JSON_NULL)
                strategic_print(&d, directive);
        if (directive->type != JSON_NULL && directive->type < JSON_STRING)
                buf_putc(&d, ')');
        strategic_print(&b, map);
        return error_set(m->err, -EINVAL, "unknown patch type: %" STR_FMT " in map: %" STR_FMT, STR_ARG(buf_str(&d)),
                         STR_ARG(buf_str(&b)));
}

static int wrong_type(struct merge *m, const char *wanted, const struct json *v) {
        return error_set(m->err, -EINVAL, "expected a %s, but received a %s", wanted,
                         json_is(v, JSON_NULL) ? "%!s(<nil>)" : strategic_type(v));
}

static int not_a_list(struct merge *m, const struct json *v) {
        return wrong_type(m, "[]interface {}", v);
}

/* Has the item the merge key? */
static int check_key(struct merge *m, const struct json *item, const char *key) {
        if (!json_is(item, JSON_OBJECT))
                return wrong_type(m, "map[string]interface {}", item);
        return json_getc(item, key) ? 0 : no_merge_key(m, item, key);
}

static int different_types(struct merge *m, const struct json *a, const struct json *b) {
        _cleanup_buf_ struct buf x = BUF_INIT, y = BUF_INIT;
        const struct json none = json_new_array();

        strategic_print(&x, a ? a : &none);
        strategic_print(&y, b ? b : &none);
        return error_set(m->err, -EINVAL, "list element types are not identical: [%" STR_FMT " %" STR_FMT "]",
                         STR_ARG(buf_str(&x)), STR_ARG(buf_str(&y)));
}

/* ---- directives leave what is taken over as it is ---- */

/* False: the value says $patch and is left out. Nulls in objects may go too: there is nothing for them to delete. */
static bool without_directives(struct arena *a, const struct json *v, bool nulls_go, struct json *ret) {
        struct json out, item;

        if (json_is(v, JSON_OBJECT)) {
                const struct json *directive = json_get(v, DIRECTIVE);

                if (directive && !(nulls_go && directive->type == JSON_NULL))
                        return false;
                out = json_new_object();
                json_each_member(m, v)
                        if (!(nulls_go && m->value.type == JSON_NULL) &&
                            without_directives(a, &m->value, nulls_go, &item))
                                json_add(a, &out, json_key(m), item);
        } else if (json_is(v, JSON_ARRAY)) {
                out = json_new_array();
                json_each_item(it, v)
                        if (without_directives(a, it, nulls_go, &item))
                                json_push(a, &out, item);
        } else
                out = *v;
        *ret = out;
        return true;
}

/* ---- lists ---- */

static const struct json *item_id(const struct json *item, const char *key) {
        return key ? json_getc(item, key) : item;
}

/* What names an item among others: the value of its key, or itself. p == NULL: it has no key. */
static struct str item_name(struct arena *a, const struct json *item, const char *key) {
        const struct json *id = item_id(item, key);
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!id)
                return str_n(NULL, 0);
        if (json_is(id, JSON_STRING))
                return id->len ? json_str(id) : STR("");
        buf_putc(&b, '\n'); /* the number 80 is not the text "80" */
        json_write(&b, id);
        return arena_str(a, buf_str(&b));
}

static struct elements names_of(struct arena *a, const struct json *list, const char *key) {
        struct elements e = elements_new(a, json_len(list));

        json_each_item(it, list)
                elements_add(&e, item_name(a, it, key));
        return e;
}

/* All elements of both lists must be of one type; *ret_objects: they are objects. */
static int check_elements(struct merge *m, const struct json *a, const struct json *b, bool *ret_objects) {
        const struct json *lists[] = { a, b }, *first = NULL;
        bool same = true;

        for (size_t i = 0; i < 2; i++) {
                json_each_item(it, lists[i]) {
                        if (!first && json_is(it, JSON_ARRAY))
                                return error_set(m->err, -EINVAL, "lists of lists are not supported");
                        first = first ? first : it;
                        same = same && it->type == first->type;
                }
        }
        *ret_objects = json_is(first, JSON_OBJECT);
        return same ? 0 : different_types(m, a, b);
}

/* What of list is (or is not) named in order: in the order of order, or of list. */
static struct json partition(struct arena *a, const struct json *list, const char *key, const struct elements *order,
                             bool among) {
        struct json out = json_new_array();
        struct elements names;

        json_each_item(it, among ? NULL : list)
                if (elements_find(order, item_name(a, it, key)) < 0)
                        json_push(a, &out, *it);
        if (!among)
                return out;
        names = names_of(a, list, key);
        for (size_t i = 0; i < order->n; i++)
                if (order->v[i].first == i) /* it may name one twice */
                        for (ssize_t at = elements_find(&names, order->v[i].text); at >= 0;
                             at = elements_next(&names, at))
                                json_push(a, &out, *json_item(list, (size_t) at));
        return out;
}

/* Each item is looked for by its key among those of order. */
static int check_items(struct merge *m, const struct json *merged, const struct json *order, const char *key) {
        struct elements orders = names_of(m->arena, order, key);
        size_t odd = 0;

        while (key && odd < json_len(order) && json_is(json_item(order, odd), JSON_OBJECT))
                odd++;
        for (size_t i = 0; key && i < json_len(merged); i++) {
                TRY(check_key(m, json_item(merged, i), key));
                if (odd < json_len(order) &&
                    (size_t) elements_find(&orders, item_name(m->arena, json_item(merged, i), key)) > odd)
                        return error_set(m->err, -EINVAL, "value for key %zu is not a map", odd);
        }
        return 0;
}

/* Items that neither the patch nor the live list puts in order: an empty $setElementOrder lets them through. To
 * upstream's sort each of two is then less than the other, and up to here that is a sort by insertion. */
enum { INSERTED = 20 };

static struct json sort_by_insertion(struct arena *a, const struct json *list, const char *key,
                                     const struct elements *lives) {
        struct json out = json_copy_shallow(a, list), *v = json_items(&out);
        ssize_t at[INSERTED];

        for (size_t i = 0; i < out.len; i++) {
                struct json item = v[i];
                ssize_t its = elements_find(lives, item_name(a, &item, key));
                size_t k = i;

                for (; k > 0 && (its < 0 || at[k - 1] < 0 || its < at[k - 1]); k--) {
                        v[k] = v[k - 1];
                        at[k] = at[k - 1];
                }
                v[k] = item;
                at[k] = its;
        }
        return out;
}

/* Items of the patch keep the patch's order, the others the live one; where both are live, the live order decides which
 * comes first. */
static int order_items(struct merge *m, const struct json *merged, const struct json *order, const struct json *live,
                       const char *key, struct json *ret) {
        struct elements orders = names_of(m->arena, order, key), lives = names_of(m->arena, live, key);
        struct json ours, theirs, sorted, added, out = json_new_array();
        size_t i = 0, k = 0;

        for (i = 0; key && i < json_len(order); i++)
                TRY(check_key(m, json_item(order, i), key));
        for (i = 0; key && i < json_len(live); i++)
                TRY(check_key(m, json_item(live, i), key));
        ours = partition(m->arena, merged, key, &orders, true);
        theirs = partition(m->arena, merged, key, &orders, false);
        sorted = partition(m->arena, &theirs, key, &lives, true);
        added = partition(m->arena, &theirs, key, &lives, false);
        if (added.len > 0 && theirs.len <= INSERTED)
                sorted = sort_by_insertion(m->arena, &theirs, key, &lives);
        else
                json_each_item(it, &added)
                        json_push(m->arena, &sorted, *it);
        i = 0;
        while (i < sorted.len || k < ours.len) {
                bool take_theirs = k == ours.len;

                if (i < sorted.len && k < ours.len) {
                        ssize_t a = elements_find(&lives, item_name(m->arena, json_item(&sorted, i), key));
                        ssize_t b = elements_find(&lives, item_name(m->arena, json_item(&ours, k), key));

                        take_theirs = a >= 0 && b >= 0 && a < b;
                }
                json_push(m->arena, &out, take_theirs ? json_items(&sorted)[i++] : json_items(&ours)[k++]);
        }
        *ret = out;
        return 0;
}

/* [{"name":"x","$patch":"delete"}, {"$patch":"replace"}] are done to *live; the rest of patch is in *ret: null when all
 * is replaced. */
static int list_directives(struct merge *m, const char *key, const struct json *patch, struct json *live,
                           struct json *ret) {
        struct elements gone = elements_new(m->arena, json_len(patch));
        struct json rest = json_new_array();
        bool replace = false;

        json_each_item(it, patch) {
                const struct json *directive = json_get(it, DIRECTIVE);

                if (!directive)
                        json_push(m->arena, &rest, *it);
                else if (str_eqc(json_str(directive), "replace"))
                        replace = true;
                else if (str_eqc(json_str(directive), "merge"))
                        return error_set(m->err, -EINVAL, "merging lists cannot yet be specified in the patch");
                else if (!str_eqc(json_str(directive), "delete"))
                        return bad_patch_type(m, directive, it);
                else if (!json_getc(it, key))
                        return no_merge_key(m, it, key);
                else
                        elements_add(&gone, item_name(m->arena, it, key));
        }
        if (gone.n > 0)
                *live = partition(m->arena, live, key, &gone, false);
        if (replace) {
                *live = rest;
                rest = json_null();
        }
        *ret = rest;
        return 0;
}

/* What the directives have left of both lists is what is ordered then. */
static int merge_objects(struct merge *m, const struct schema_type *elem, const char *key, struct json *live,
                         struct json *patch, struct json *ret) {
        struct elements names;
        struct json out;

        TRY(list_directives(m, key, patch, live, patch));
        out = json_copy_shallow(m->arena, live);
        names = elements_new(m->arena, json_len(live) + json_len(patch));
        json_each_item(it, live)
                elements_add(&names, item_name(m->arena, it, key));
        json_each_item(it, patch) {
                struct str name = item_name(m->arena, it, key);
                ssize_t at = elements_find(&names, name);
                struct json merged;

                if (!name.p)
                        return no_merge_key(m, it, key);
                if (at >= 0) {
                        TRY(merge_map(m, elem, &json_items(&out)[at], it, &merged));
                        json_items(&out)[at] = merged;
                } else {
                        json_push(m->arena, &out, *it);
                        elements_add(&names, name);
                }
        }
        *ret = out;
        return 0;
}

/* deletes: of a list of scalars the patch says what goes. ret_live: the live list as upstream's has it then, in which
 * what is new has taken the places of what is gone. */
static int merge_list(struct merge *m, const struct schema_field *f, const struct json *live, const struct json *patch,
                      bool deletes, struct json *ret, struct json *ret_live) {
        const struct schema_type *elem = f->type->elem;
        struct json merged, old = json_copy_shallow(m->arena, live), new = *patch;
        struct elements names;
        bool objects;

        TRY(check_elements(m, live, patch, &objects));
        if (objects && !f->patch_key)
                return error_set(m->err, -EINVAL, "cannot merge lists without merge key for %s",
                                 elem->kind == SCHEMA_STRUCT ? "struct" : elem->go_name);
        if (!objects && deletes) {
                names = names_of(m->arena, patch, NULL);
                *ret = partition(m->arena, live, NULL, &names, false);
                return 0;
        }
        if (objects)
                TRY(merge_objects(m, elem, f->patch_key, &old, &new, &merged));
        if (objects && ret_live && !json_is(&new, JSON_NULL)) {
                *ret_live = json_copy_shallow(m->arena, &merged);
                ret_live->len = MIN(ret_live->len, live->len);
        }
        if (!objects) {
                merged = json_new_array();
                names = elements_new(m->arena, json_len(live) + json_len(patch));
                for (size_t i = 0; i < 2; i++)
                        json_each_item(it, i ? patch : live)
                                if (!elements_add(&names, item_name(m->arena, it, NULL)))
                                        json_push(m->arena, &merged, *it);
        }
        TRY(check_items(m, &merged, &new, objects ? f->patch_key : NULL));
        return order_items(m, &merged, &new, &old, objects ? f->patch_key : NULL, ret);
}

/* ---- objects ---- */

/* $retainKeys: whatever is not named goes. */
static int retain_keys(struct merge *m, const struct json *patch, struct json *out) {
        const struct json *keys = json_get(patch, RETAIN_KEYS);
        struct json kept = json_new_object();

        if (!keys)
                return 0;
        if (!json_is(keys, JSON_ARRAY))
                return error_set(m->err, -EINVAL, "invalid patch format of retainKeys");
        struct elements names = names_of(m->arena, keys, NULL);
        json_each_member(p, patch)
                if (p->value.type != JSON_NULL && !str_eq(json_key(p), RETAIN_KEYS) &&
                    !str_has_prefix(json_key(p), DELETE_FROM) && !str_has_prefix(json_key(p), ELEMENT_ORDER) &&
                    elements_find(&names, json_key(p)) < 0)
                        return error_set(m->err, -EINVAL, "invalid patch format of retainKeys");
        json_each_member(o, out)
                if (elements_find(&names, json_key(o)) >= 0)
                        json_add(m->arena, &kept, json_key(o), o->value);
        *out = kept;
        return 0;
}

/* The patch's items must come in the order that $setElementOrder gives. */
static int check_order(struct merge *m, const struct json *patch, const struct json *order, const char *key) {
        size_t p = json_len(order) ? 0 : json_len(patch), o = 0;

        for (size_t i = p; key && i < json_len(patch); i++)
                if (!json_is(json_item(patch, i), JSON_OBJECT))
                        return wrong_type(m, "map[string]interface {}", json_item(patch, i));
        while (p < json_len(patch) && o < json_len(order)) {
                if (json_get(json_item(patch, p), DIRECTIVE)) {
                        p++;
                        continue;
                }
                for (size_t i = 0; key && i < 2; i++)
                        if (!json_is(json_item(i ? order : patch, i ? o : p), JSON_OBJECT))
                                return wrong_type(m, "map[string]interface {}",
                                                  json_item(i ? order : patch, i ? o : p));
                for (size_t i = 0; key && i < 2; i++)
                        TRY(check_key(m, json_item(i ? order : patch, i ? o : p), key));
                if (json_equal(item_id(json_item(patch, p), key), item_id(json_item(order, o), key)))
                        p++;
                o++;
        }
        while (p < json_len(patch) && key && str_eqc(json_str(json_get(json_item(patch, p), DIRECTIVE)), "delete"))
                p++;
        if (p < json_len(patch)) {
                _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT;

                strategic_print(&a, patch);
                strategic_print(&b, order);
                return error_set(m->err, -EINVAL,
                                 "The order in patch list:\n%" STR_FMT
                                 "\n doesn't match $setElementOrder list:\n%" STR_FMT "\n",
                                 STR_ARG(buf_str(&a)), STR_ARG(buf_str(&b)));
        }
        return 0;
}

/* The field of a struct, with what it says of merging. */
static int find_field(struct merge *m, const struct schema_type *t, struct str key, enum json_type wanted,
                      const struct schema_field **ret) {
        const struct schema_field *f = t->kind == SCHEMA_STRUCT ? schema_field(t, key) : NULL;

        if (t->kind == SCHEMA_MAP)
                return error_set(m->err, -EINVAL,
                                 "merging an object in json but data type is not struct, instead is: map");
        if (!f)
                return error_set(m->err, -EINVAL,
                                 "unable to find api field in struct %s for the json field \"%" STR_FMT "\"", t->name,
                                 STR_ARG(key));
        if (wanted == JSON_ARRAY && f->type->kind != SCHEMA_LIST && f->type->kind != SCHEMA_BYTES &&
            !(f->flags & SCHEMA_POINTER))
                return error_set(m->err, -EINVAL, "expected slice or array type, but got: struct");
        *ret = f;
        return 0;
}

/* The field that "$directive/field" is about. */
static bool directed(struct str key, struct str directive, struct str *ret) {
        if (key.n <= directive.n || !str_has_prefix(key, directive) || key.p[directive.n] != '/')
                return false;
        *ret = str_sub(key, directive.n + 1, key.n);
        return true;
}

/* $setElementOrder/x: merges x, then orders it as told. */
static int set_element_order(struct merge *m, const struct schema_type *t, const struct json_member *directive,
                             const struct json *patch, struct json_edit *out) {
        const struct json *live, *list, *order = &directive->value, *first;
        const struct schema_field *f;
        struct json merged, before;
        struct str name;
        bool objects;

        if (!json_is(order, JSON_ARRAY))
                return not_a_list(m, order);
        if (!directed(json_key(directive), ELEMENT_ORDER, &name))
                return error_set(m->err, -EINVAL, "invalid patch format of setElementOrder list");
        live = json_edit_get(out, name);
        list = json_get(patch, name);
        if (live && !json_is(live, JSON_ARRAY))
                return not_a_list(m, live);
        if (list && !json_is(list, JSON_ARRAY))
                return not_a_list(m, list);
        TRY(find_field(m, t, name, JSON_ARRAY, &f));
        if (!live && !list)
                return 0;
        TRY(check_order(m, list, order, f->patch_key));
        before = live ? *live : json_new_array();
        if (!live)
                without_directives(m->arena, list, false, &merged);
        else if (list && f->flags & SCHEMA_PATCH_MERGE)
                TRY(merge_list(m, f, live, list, false, &merged, &before));
        else
                merged = list ? *list : *live;
        TRY(check_items(m, &merged, order, f->patch_key));
        TRY(check_elements(m, live, list, &objects));
        if (json_len(live) + json_len(list) == 0)
                return error_set(m->err, -EINVAL, "no elements in any of the given slices");
        first = json_len(order) ? json_item(order, 0) : json_item(live, 0);
        if (objects && !f->patch_key && merged.len == 0 && first) /* it has no key to be ordered by */
                return check_key(m, first, "");
        TRY(order_items(m, &merged, order, &before, f->patch_key, &merged));
        json_edit_set(out, name, merged);
        return 0;
}

/* deletes: the value is of $deleteFromPrimitiveList, which says nothing of what is not there. */
static int merge_member(struct merge *m, const struct schema_type *t, struct str name, const struct json *v,
                        bool deletes, struct json_edit *out) {
        const struct json *live = json_edit_get(out, name);
        bool alike = live && live->type == v->type;
        const struct schema_field *f = NULL;
        struct json merged = *v;

        if (v->type == JSON_NULL) {
                json_edit_remove(out, name);
                return 0;
        }
        if (alike && v->type >= JSON_ARRAY)
                TRY(find_field(m, t, name, v->type, &f));
        if (alike && v->type == JSON_OBJECT && !(f->flags & SCHEMA_PATCH_REPLACE))
                TRY(merge_map(m, f->type, live, v, &merged));
        else if (alike && v->type == JSON_ARRAY && (deletes || f->flags & SCHEMA_PATCH_MERGE) &&
                 json_len(v) + json_len(live) > 0)
                TRY(merge_list(m, f, live, v, deletes, &merged, NULL));
        else if (!alike && deletes)
                return 0;
        else if (!alike && !without_directives(m->arena, v, true, &merged)) {
                json_edit_remove(out, name);
                return 0;
        }
        json_edit_set(out, name, merged);
        return 0;
}

static struct str order_of(struct arena *a, struct str name) {
        return arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(ELEMENT_ORDER), STR_ARG(name));
}

static int merge_members(struct merge *m, const struct schema_type *t, const struct json *patch,
                         struct json_edit *out) {
        bool ordered = false;

        TRY(retain_keys(m, patch, out->object));
        json_each_member(p, patch) {
                if (!str_has_prefix(json_key(p), ELEMENT_ORDER))
                        continue;
                TRY(set_element_order(m, t, p, patch, out));
                ordered = true;
        }
        json_each_member(p, patch) {
                struct str name = json_key(p);
                bool deletes = str_has_prefix(name, DELETE_FROM);

                if (str_has_prefix(name, ELEMENT_ORDER) || str_eq(name, RETAIN_KEYS))
                        continue;
                if (deletes && !directed(name, DELETE_FROM, &name))
                        return error_set(m->err, -EINVAL, "invalid patch format of primitive list");
                if (ordered && !deletes && p->value.type != JSON_NULL && json_get(patch, order_of(m->arena, name)))
                        continue; /* merged already */
                TRY(merge_member(m, t, name, &p->value, deletes, out));
        }
        return 0;
}

static int merge_map(struct merge *m, const struct schema_type *t, const struct json *live, const struct json *patch,
                     struct json *ret) {
        const struct json *directive = json_get(patch, DIRECTIVE);
        struct json out = json_copy_shallow(m->arena, live);
        struct json_edit edit = { .arena = m->arena, .object = &out };
        int r;

        if (directive) {
                if (str_eqc(json_str(directive), "replace")) {
                        out = json_copy_shallow(m->arena, patch);
                        json_remove(&out, DIRECTIVE);
                } else if (str_eqc(json_str(directive), "delete"))
                        out = json_new_object();
                else
                        return bad_patch_type(m, directive, patch);
                *ret = out;
                return 0;
        }
        if (++m->depth > MAX_DEPTH)
                return error_set(m->err, -EINVAL, "exceeded max depth");
        r = merge_members(m, t, patch, &edit);
        json_edit_end(&edit);
        m->depth--;
        if (r < 0)
                return r;
        *ret = out;
        return 0;
}

int strategic_merge_patch(struct arena *a, const struct schema_type *t, const struct json *doc,
                          const struct json *patch, struct json *ret, struct error *err) {
        struct merge m = { .arena = a, .err = err };

        if (!json_is(patch, JSON_OBJECT))
                return error_set(err, -EINVAL, "invalid JSON document");
        return merge_map(&m, t, doc, patch, ret);
}

/* ---- what is left of a patch ---- */

static struct json without_nulls(struct arena *a, const struct json *v) {
        struct json out = json_copy_shallow(a, v);

        if (json_is(v, JSON_ARRAY)) {
                json_each_item(it, &out)
                        *it = without_nulls(a, it);
        } else if (json_is(v, JSON_OBJECT)) {
                out.len = 0;
                json_each_member(m, v)
                        if (m->value.type != JSON_NULL)
                                json_add(a, &out, json_key(m), without_nulls(a, &m->value));
        }
        return out;
}

/* What was not there has been taken over, of which upstream takes the nulls and the directives within. */
static struct json left_of_new(struct arena *a, const struct json *v) {
        struct json out = without_nulls(a, v), clean;

        if (json_is(&out, JSON_ARRAY)) {
                json_each_item(it, &out)
                        if (without_directives(a, it, true, &clean))
                                *it = clean;
        } else if (without_directives(a, &out, true, &clean))
                out = clean;
        return out;
}

static struct json left_of_list(struct arena *a, const struct schema_field *f, const struct json *live,
                                const struct json *patch) {
        struct elements lives = names_of(a, live, f->patch_key);
        struct json out = json_copy_shallow(a, patch);

        json_each_item(it, &out) {
                ssize_t at = json_get(it, DIRECTIVE) ? -1 : elements_find(&lives, item_name(a, it, f->patch_key));

                if (at >= 0)
                        *it = strategic_left(a, f->type->elem, json_item(live, (size_t) at), it);
        }
        return out;
}

struct json strategic_left(struct arena *a, const struct schema_type *t, const struct json *live,
                           const struct json *patch) {
        struct str directive = json_str(json_get(patch, DIRECTIVE));
        struct json out = json_new_object();

        if (str_eqc(directive, "delete"))
                return *patch;
        json_each_member(m, patch) {
                struct str key = json_key(m);
                const struct json *mine = json_get(live, key);
                const struct schema_field *f = t && t->kind == SCHEMA_STRUCT ? schema_field(t, key) : NULL;
                struct json v = m->value;
                bool ordered = json_get(patch, arena_printf(a, "$setElementOrder/%" STR_FMT, STR_ARG(key)));

                if (str_eq(key, DIRECTIVE))
                        continue;
                if (directive.n == 0 && (str_eq(key, RETAIN_KEYS) || str_has_prefix(key, ELEMENT_ORDER) || ordered))
                        continue;
                if (directive.n > 0 || v.type == JSON_NULL || str_has_prefix(key, DELETE_FROM))
                        ;
                else if (!mine || mine->type != v.type)
                        v = left_of_new(a, &v);
                else if (v.type == JSON_OBJECT && !(f && f->flags & SCHEMA_PATCH_REPLACE))
                        v = strategic_left(a, f ? f->type : NULL, mine, &v);
                else if (v.type == JSON_ARRAY && f && f->patch_key && f->flags & SCHEMA_PATCH_MERGE)
                        v = left_of_list(a, f, mine, &v);
                json_add(a, &out, key, v);
        }
        return out;
}
