/* Values: JSON seen through a declared type, equality and order across the kinds, maps, text. */
#include "cel/internal.h"

#include <math.h>

#include "base/encode.h"
#include "base/time.h"
#include "schema/strategic.h"

#define MAX_NODES 1000000

const struct cel_value value_null = { .kind = CEL_NULL };

static struct cel_value error_of(struct str text) {
        return (struct cel_value) { .kind = CEL_ERROR, .n = (uint32_t) text.n, .s = text.p };
}

struct cel_value value_error(struct ctx *c, const char *fmt, ...) {
        return error_of(variadic(ap, fmt, arena_vprintf(c->a, fmt, ap)));
}

struct cel_value value_no_overload(struct ctx *c) {
        return error_of(STR("no such overload"));
}

struct cel_value cel_of_bool(bool b) {
        return (struct cel_value) { .kind = CEL_BOOL, .b = b };
}

struct cel_value cel_of_optional(struct arena *a, const struct cel_value *v) {
        return (struct cel_value) { .kind = CEL_OPTIONAL, .value = v ? arena_dup(a, v, sizeof(*v)) : NULL };
}

struct cel_value value_strings(struct arena *a, const struct str *v, size_t n) {
        struct cel_value *items = arena_array(a, struct cel_value, n), list;

        for (size_t i = 0; i < n; i++)
                items[i] = value_string(v[i]);
        list = value_list(items, n);
        list.type = &cel_strings;
        return list;
}

/* ---- UTF-8 ---- */

size_t utf8_count(struct str s) {
        size_t n = 0;

        for (size_t i = 0; i < s.n; i++)
                n += ((unsigned char) s.p[i] & 0xc0) != 0x80;
        return n;
}

size_t utf8_offset(struct str s, size_t chars) {
        size_t at = 0;

        while (chars-- > 0 && at < s.n)
                utf8_next(s, &at);
        return at;
}

/* ---- JSON ---- */

static struct cel_value invalid(struct arena *a, const char *expected, const struct json *j) {
        return error_of(arena_printf(a, "invalid data, expected %s, got %s", expected, strategic_type(j)));
}

static struct cel_value scalar_of_json(struct arena *a, const struct json *j, const struct cel_type *t) {
        struct str s = json_str(j);
        struct cel_value v = { .kind = (uint8_t) t->kind };
        struct buf bytes = BUF_INIT;

        switch (t->kind) {
        case CEL_BOOL:
                return json_is(j, JSON_BOOL) ? cel_of_bool(j->b) : invalid(a, "bool", j);
        case CEL_INT:
                return json_is(j, JSON_INT) ? value_int(j->i) : invalid(a, "int", j); /* 4.0 is none */
        case CEL_DOUBLE:
                return json_is(j, JSON_DOUBLE) || json_is(j, JSON_INT) ? value_double(json_double_or(j, 0))
                                                                       : invalid(a, "float", j);
        case CEL_STRING:
                return json_is(j, JSON_STRING) ? value_string(s) : invalid(a, "string", j);
        case CEL_TIMESTAMP:
                if (s.n == 10)
                        s = arena_printf(a, "%" STR_FMT "T00:00:00Z", STR_ARG(s));
                return parse_timestamp(s, &v) == 0
                                       ? v
                                       : error_of(arena_printf(a, "Invalid date-time formatted string %" STR_FMT,
                                                               STR_ARG(s)));
        case CEL_DURATION:
                return duration_parse_words(s, &v.i) == 0
                                       ? v
                                       : error_of(arena_printf(a,
                                                               "Invalid duration %" STR_FMT
                                                               ": unable to parse %" STR_FMT " as duration",
                                                               STR_ARG(s), STR_ARG(s)));
        default: /* CEL_BYTES */
                if (s.n % 4 != 0 ||
                    base64url_decode(&bytes, s) < 0) { /* so upstream, that validates the other alphabet */
                        buf_free(&bytes);
                        return error_of(arena_printf(a,
                                                     "Invalid byte formatted string %" STR_FMT
                                                     ": illegal base64 data at input byte %zu",
                                                     STR_ARG(s), base64_error(s, true)));
                }
                v = value_string(arena_str(a, buf_str(&bytes)));
                v.kind = CEL_BYTES;
                buf_free(&bytes);
                return v;
        }
}

struct cel_value cel_of_json(struct arena *a, const struct json *j, const struct cel_type *t) {
        static const uint8_t kinds[] = {
                [JSON_NULL] = CEL_NULL,     [JSON_BOOL] = CEL_BOOL, [JSON_INT] = CEL_INT,    [JSON_DOUBLE] = CEL_DOUBLE,
                [JSON_STRING] = CEL_STRING, [JSON_RAW] = CEL_NULL,  [JSON_ARRAY] = CEL_LIST, [JSON_OBJECT] = CEL_MAP,
        };
        struct cel_value v = { .kind = kinds[json_type(j)] };

        if (t && t->kind == CEL_OPTIONAL)
                t = t->params[0];
        if (t && t->kind == CEL_DYN && t->min_bytes > 0 && v.kind == CEL_DOUBLE)
                return error_of(STR("invalid data, expected XIntOrString value to be either a string or integer"));
        if (t && (t->kind == CEL_DYN || v.kind == CEL_NULL))
                t = NULL;
        if (t && t->kind >= CEL_BOOL && t->kind <= CEL_DURATION)
                return scalar_of_json(a, j, t);
        if (t) {
                if (v.kind != (t->kind == CEL_LIST ? CEL_LIST : CEL_MAP))
                        return invalid(a, t->kind == CEL_LIST ? "an array" : "a map", j);
                v.kind = (uint8_t) t->kind;
        }
        switch ((enum cel_kind) v.kind) {
        case CEL_BOOL:
                v.b = j->b;
                break;
        case CEL_INT:
                v.i = j->i;
                break;
        case CEL_DOUBLE:
                v.d = j->d;
                break;
        case CEL_STRING:
                v.s = json_chars(j);
                v.n = j->len;
                break;
        case CEL_NULL:
                break;
        default:
                v.form = CEL_JSON;
                v.json = j;
                v.n = j->len;
                v.type = t;
        }
        return v;
}

/* Lists may hold the same list many times over: what would be too big is cut off. */
struct json value_to_json(struct ctx *c, const struct cel_value *v) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct arena *a = c->a;
        struct json j;

        if (++c->work > MAX_NODES)
                return json_null();
        switch ((enum cel_kind) v->kind) {
        case CEL_BOOL:
                return json_of_bool(v->b);
        case CEL_INT:
                return json_of_int(v->i);
        case CEL_UINT:
                return v->u <= INT64_MAX ? json_of_int((int64_t) v->u) : json_of_double((double) v->u);
        case CEL_DOUBLE:
                return json_of_double(v->d);
        case CEL_STRING:
                return json_of_str(cel_str(v));
        case CEL_OPTIONAL:
                return v->value ? value_to_json(c, v->value) : json_null();
        case CEL_LIST:
                if (v->form == CEL_JSON)
                        return *v->json;
                j = json_new_array();
                for (size_t i = 0; i < v->n; i++) {
                        struct cel_value item = list_get(a, v, i);

                        json_push(a, &j, value_to_json(c, &item));
                }
                return j;
        case CEL_MAP:
        case CEL_OBJECT:
                if (v->form == CEL_JSON)
                        return *v->json;
                j = json_new_object();
                for (size_t i = 0; v->form == CEL_NATIVE && i < cel_map_size(v); i++) {
                        struct cel_value key, value;

                        b.n = 0;
                        cel_map_entry(c, v, i, &key, &value);
                        value_print(&b, c, &key);
                        json_set(a, &j, arena_str(a, buf_str(&b)), value_to_json(c, &value));
                }
                return j;
        case CEL_TIMESTAMP:
                return json_of_str(format_timestamp(a, v));
        case CEL_DURATION:
                return json_of_str(format_duration(a, v->i));
        case CEL_BYTES:
                c->work += v->n;
                base64_encode(&b, cel_str(v));
                return json_of_str(arena_str(a, buf_str(&b)));
        default:
                return json_null();
        }
}

struct json cel_to_json(struct arena *a, const struct cel_value *v) {
        struct ctx c = { .a = a };

        return value_to_json(&c, v);
}

struct cel_value cel_item(struct arena *a, const struct cel_value *list, size_t i) {
        return list_get(a, list, i);
}

bool cel_list_of_texts(const struct cel_value *list) {
        return list->kind == CEL_LIST && list->form == CEL_NATIVE && list->type;
}

struct cel_value list_get(struct arena *a, const struct cel_value *list, size_t i) {
        while (list->form == CEL_CONCAT) {
                bool right = i >= list->items[0].n;

                i -= right ? list->items[0].n : 0;
                list = &list->items[right];
        }
        if (list->form == CEL_NATIVE)
                return list->items[i];
        return cel_of_json(a, &json_items(list->json)[i], list->type ? list->type->params[0] : NULL);
}

/* ---- maps ---- */

/* Keys by hash: open addressing over 1 + the number of an entry. */
struct hash_index {
        struct hash_index *next;
        const struct json_member *members;
        uint32_t *slots, mask, uses;
};

static uint64_t key_hash(const struct cel_value *k) {
        double d = k->kind == CEL_INT      ? (double) k->i
                   : k->kind == CEL_UINT   ? (double) k->u
                   : k->kind == CEL_DOUBLE ? k->d
                                           : 0;

        return k->kind == CEL_STRING ? str_hash(cel_str(k)) : str_hash(str_n((const char *) &d, sizeof(d)));
}

struct cel_value cel_map_new(struct arena *a, size_t n) {
        struct cel_entries *e = arena_new_of(a, struct cel_entries);

        e->cap = (uint32_t) MAX(n, (size_t) 4);
        e->v = arena_array(a, struct cel_value, 2 * e->cap);
        return (struct cel_value) { .kind = CEL_MAP, .entries = e };
}

static ssize_t entries_find(struct ctx *c, const struct cel_entries *e, const struct cel_value *key) {
        if (!e->index) {
                for (size_t i = 0; i < e->n; i++)
                        if (value_equal(c, &e->v[2 * i], key))
                                return (ssize_t) i;
                return -1;
        }
        for (uint64_t h = key_hash(key); e->index[h & (e->index_cap - 1)]; h++) {
                uint32_t i = e->index[h & (e->index_cap - 1)] - 1;

                if (value_equal(c, &e->v[2 * i], key))
                        return i;
        }
        return -1;
}

static void entries_index(struct arena *a, struct cel_entries *e) {
        e->index_cap = 4;
        while (e->index_cap < 4 * e->n)
                e->index_cap *= 2;
        e->index = arena_array(a, uint32_t, e->index_cap);
        for (uint32_t i = 0; i < e->n; i++) {
                uint64_t h = key_hash(&e->v[2 * i]);

                while (e->index[h & (e->index_cap - 1)])
                        h++;
                e->index[h & (e->index_cap - 1)] = i + 1;
        }
}

bool cel_map_insert(struct ctx *c, struct cel_value *map, const struct cel_value *key, const struct cel_value *value) {
        struct cel_entries *e = map->entries;
        uint64_t h;

        if (entries_find(c, e, key) >= 0)
                return false;
        if (e->n == e->cap) {
                struct cel_value *more = arena_array(c->a, struct cel_value, 4 * e->cap);
                memcpy(more, e->v, 2 * e->n * sizeof(*more));
                e->v = more;
                e->cap *= 2;
        }
        e->v[2 * e->n] = *key;
        e->v[2 * e->n + 1] = *value;
        e->n++;
        if (e->index && 2 * e->n < e->index_cap) {
                for (h = key_hash(key); e->index[h & (e->index_cap - 1)]; h++)
                        ;
                e->index[h & (e->index_cap - 1)] = e->n;
        } else if (e->n > 16) {
                entries_index(c->a, e);
        }
        return true;
}

void cel_map_set(struct ctx *c, struct cel_value *map, const struct cel_value *key, const struct cel_value *value) {
        ssize_t i = entries_find(c, map->entries, key);

        if (i >= 0)
                map->entries->v[2 * i + 1] = *value;
        else
                cel_map_insert(c, map, key, value);
}

static void index_members(struct ctx *c, struct hash_index *ix, const struct json *j) {
        for (ix->mask = 63; ix->mask < 2 * j->len; ix->mask = ix->mask * 2 + 1)
                ;
        ix->slots = arena_array(c->a, uint32_t, ix->mask + 1);
        for (uint32_t i = 0; i < j->len; i++) {
                uint64_t h = str_hash(json_key(&json_members(j)[i]));

                while (ix->slots[h & ix->mask])
                        h++;
                ix->slots[h & ix->mask] = i + 1;
        }
}

/* json_get; a big object that is looked into again and again gets an index for the time of the evaluation. */
static const struct json *json_find(struct ctx *c, const struct json *j, struct str key) {
        struct hash_index *ix = c->indexes;

        if (j->len <= 32)
                return json_get(j, key);
        while (ix && ix->members != json_members(j))
                ix = ix->next;
        if (!ix) {
                ix = arena_new_of(c->a, struct hash_index);
                *ix = (struct hash_index) { .next = c->indexes, .members = json_members(j) };
                c->indexes = ix;
        }
        if (++ix->uses < 16)
                return json_get(j, key);
        if (!ix->slots)
                index_members(c, ix, j);
        for (uint64_t h = str_hash(key); ix->slots[h & ix->mask]; h++) {
                const struct json_member *m = &json_members(j)[ix->slots[h & ix->mask] - 1];

                if (str_eq(json_key(m), key))
                        return &m->value;
        }
        return NULL;
}

/* Data that nobody declared is not seen: such fields count as absent. */
static bool visible(const struct cel_value *map, struct str key, const struct cel_type **ret) {
        *ret = NULL;
        if (!map->type)
                return true;
        if (map->kind == CEL_MAP) {
                *ret = map->type->params[1];
                return true;
        }
        const struct cel_field *f = type_json_field(map->type, key);
        *ret = f ? f->type : NULL;
        return f != NULL;
}

int cel_map_find(struct ctx *c, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret) {
        const struct cel_type *t;

        if (map->form == CEL_JSON) {
                if (map->type && key->kind != CEL_STRING) {
                        *ret = value_no_overload(c);
                        return 1;
                }
                const struct json *j = key->kind == CEL_STRING ? json_find(c, map->json, cel_str(key)) : NULL;
                if (!j || !visible(map, cel_str(key), &t) || (map->kind == CEL_OBJECT && j->type == JSON_NULL))
                        return 0; /* a field that is null is absent; an entry of a map is not */
                *ret = cel_of_json(c->a, j, t);
                return 1;
        }
        ssize_t i = entries_find(c, map->entries, key);
        if (i >= 0)
                *ret = map->entries->v[2 * i + 1];
        return i >= 0;
}

size_t cel_map_size(const struct cel_value *map) {
        return map->form == CEL_JSON ? map->n : map->entries->n;
}

void cel_map_entry(struct ctx *c, const struct cel_value *map, size_t i, struct cel_value *ret_key,
                   struct cel_value *ret_value) {
        const struct cel_type *t;

        if (map->form == CEL_NATIVE) {
                if (ret_key)
                        *ret_key = map->entries->v[2 * i];
                if (ret_value)
                        *ret_value = map->entries->v[2 * i + 1];
                return;
        }
        visible(map, json_key(&json_members(map->json)[i]), &t);
        if (ret_key)
                *ret_key = value_string(json_key(&json_members(map->json)[i]));
        if (ret_value)
                *ret_value = cel_of_json(c->a, &json_members(map->json)[i].value, t);
}

static int select_field(struct ctx *c, const struct cel_value *v, struct str field, struct cel_value *ret) {
        struct cel_value key = value_string(field);

        if (v->form == CEL_LAZY) {
                *ret = v->lazy->get(v->lazy, c->run, field);
                return ret->kind == CEL_ERROR ? -1 : 1;
        }
        if (v->kind == CEL_MAP)
                return cel_map_find(c, v, &key, ret);
        const struct cel_field *f = type_field(v->type, field);
        if (!f && v->json) /* what has no schema cannot be seen */
                return 0;
        if (!f) {
                *ret = value_error(c, "no such field '%" STR_FMT "'", STR_ARG(field));
                return -1;
        }
        const struct json *j = json_find(c, v->json, f->name);
        if (!j || j->type == JSON_NULL)
                return 0;
        *ret = cel_of_json(c->a, j, f->type);
        return 1;
}

int value_select(struct ctx *c, const struct cel_value *v, struct str field, bool only_test, struct cel_value *ret) {
        if (v->kind == CEL_ERROR || v->kind == CEL_LIST) {
                *ret = v->kind == CEL_ERROR ? *v : value_error(c, "unsupported index type 'string' in list");
                return -1;
        }
        int r = v->kind == CEL_MAP || v->kind == CEL_OBJECT ? select_field(c, v, field, ret) : 0;
        if (r == 0 && !only_test) {
                *ret = value_error(c, "no such key: %" STR_FMT, STR_ARG(field));
                return -1;
        }
        return r;
}

/* ---- equality and order ---- */

static bool is_number(const struct cel_value *v) {
        return v->kind == CEL_INT || v->kind == CEL_UINT || v->kind == CEL_DOUBLE;
}

static int order(bool less, bool more) {
        return more - less;
}

static int compare_with_double(double d, const struct cel_value *v) {
        double other;

        if (v->kind == CEL_DOUBLE)
                return order(d<v->d, d> v->d);
        if (d < (v->kind == CEL_INT ? -0x1p63 : 0))
                return -1;
        if (d > (v->kind == CEL_INT ? 0x1p63 : 0x1p64))
                return 1;
        other = v->kind == CEL_INT ? (double) v->i : (double) v->u; /* as near as a double comes, as cel-go has it */
        return order(d<other, d> other);
}

static int compare_numbers(const struct cel_value *a, const struct cel_value *b) {
        if ((a->kind == CEL_DOUBLE && isnan(a->d)) || (b->kind == CEL_DOUBLE && isnan(b->d)))
                return 2;
        if (a->kind == CEL_DOUBLE)
                return compare_with_double(a->d, b);
        if (b->kind == CEL_DOUBLE)
                return -compare_with_double(b->d, a);
        if (a->kind == CEL_INT && b->kind == CEL_INT)
                return order(a->i<b->i, a->i> b->i);
        if (a->kind == CEL_INT && a->i < 0)
                return -1;
        if (b->kind == CEL_INT && b->i < 0)
                return 1;
        return order(a->u<b->u, a->u> b->u);
}

int value_compare(const struct cel_value *a, const struct cel_value *b) {
        if (is_number(a) && is_number(b))
                return compare_numbers(a, b);
        if (a->kind != b->kind)
                return 3;
        switch ((enum cel_kind) a->kind) {
        case CEL_BOOL:
                return order(a->b<b->b, a->b> b->b);
        case CEL_STRING:
        case CEL_BYTES: {
                int r = str_cmp(cel_str(a), cel_str(b));

                return order(r<0, r> 0);
        }
        case CEL_TIMESTAMP:
                return a->i != b->i ? order(a->i<b->i, a->i> b->i) : order(a->n<b->n, a->n> b->n);
        case CEL_DURATION:
                return order(a->i<b->i, a->i> b->i);
        default:
                return 3;
        }
}

bool same_keys(const struct cel_type *t, const struct json *a, const struct json *b) {
        for (size_t i = 0; t->list_keys[i]; i++) {
                const struct json *x = json_getc(a, t->list_keys[i]), *y = json_getc(b, t->list_keys[i]);

                if (!x != !y || (x && !json_equal(x, y)))
                        return false;
        }
        return true;
}

/* Does element x of a list of that type stand for the same as y? */
static bool same_element(struct ctx *c, const struct cel_type *t, const struct cel_value *x,
                         const struct cel_value *y) {
        struct json a, b;

        if (t->list_type != SCHEMA_LIST_MAP)
                return value_equal(c, x, y);
        a = cel_to_json(c->a, x);
        b = cel_to_json(c->a, y);
        return same_keys(t, &a, &b);
}

/* cel-go has hash maps for what this does by comparing pairs: where there are many of them, they are paid for. */
void compare_paid(struct ctx *c) {
        if (++c->work > 100000 && c->work % 16 == 0 && ++c->cost > c->limit)
                c->cancelled = true;
}

/* Lists of type set and map are equal in any order. */
static bool unordered_equal(struct ctx *c, const struct cel_value *a, const struct cel_value *b) {
        for (size_t i = 0; i < b->n; i++) {
                struct cel_value y = list_get(c->a, b, i), x;
                bool found = false;

                for (size_t k = 0; k < a->n && !found && !c->cancelled; k++) {
                        x = list_get(c->a, a, (i + k) % a->n);
                        found = same_element(c, a->type, &x, &y);
                        compare_paid(c);
                }
                if (!found || (a->type->list_type == SCHEMA_LIST_MAP && !value_equal(c, &x, &y)))
                        return false;
        }
        return true;
}

bool list_is_keyed(const struct cel_value *l) {
        return l->type && (l->type->list_type == SCHEMA_LIST_SET || l->type->list_type == SCHEMA_LIST_MAP);
}

static bool lists_equal(struct ctx *c, const struct cel_value *a, const struct cel_value *b) {
        if (a->n != b->n)
                return false;
        if (list_is_keyed(a))
                return unordered_equal(c, a, b);
        for (size_t i = 0; i < a->n; i++) {
                struct cel_value x = list_get(c->a, a, i), y = list_get(c->a, b, i);

                compare_paid(c);
                if (c->cancelled || !value_equal(c, &x, &y))
                        return false;
        }
        return true;
}

static bool maps_equal(struct ctx *c, const struct cel_value *a, const struct cel_value *b) {
        if (cel_map_size(a) != cel_map_size(b))
                return false;
        for (size_t i = 0; i < cel_map_size(a); i++) {
                struct cel_value key, x, y;
                const struct cel_type *t;

                compare_paid(c);
                if (c->cancelled)
                        return false;
                cel_map_entry(c, a, i, &key, &x);
                if (a->form == CEL_JSON && b->form == CEL_JSON && !visible(a, cel_str(&key), &t)) {
                        const struct json *raw = json_find(c, b->json, cel_str(&key));
                        if (!raw || !json_equal(raw, &json_members(a->json)[i].value))
                                return false;
                        continue;
                }
                if (!cel_map_find(c, b, &key, &y) || !value_equal(c, &x, &y))
                        return false;
        }
        return true;
}

int value_equal(struct ctx *c, const struct cel_value *a, const struct cel_value *b) {
        int k = value_compare(a, b);
        bool a_map = a->kind == CEL_MAP || a->kind == CEL_OBJECT, b_map = b->kind == CEL_MAP || b->kind == CEL_OBJECT;

        if (k != 3)
                return k == 0;
        if (a_map && b_map && a->form != CEL_LAZY && b->form != CEL_LAZY)
                return a->form == CEL_JSON && b->form == CEL_JSON && a->json == b->json ? 1 : maps_equal(c, a, b);
        if (a->kind != b->kind)
                return 0;
        switch ((enum cel_kind) a->kind) {
        case CEL_NULL:
                return 1;
        case CEL_LIST:
                return lists_equal(c, a, b);
        case CEL_TYPE:
                return a->t->kind == b->t->kind && (!a->t->name || !b->t->name || strcmp(a->t->name, b->t->name) == 0);
        case CEL_OPTIONAL:
                return a->value && b->value ? value_equal(c, a->value, b->value) : a->value == b->value;
        case CEL_OPAQUE:
                return opaque_equal(a, b);
        default:
                return 0;
        }
}

size_t value_size(const struct cel_value *v) {
        switch ((enum cel_kind) v->kind) {
        case CEL_STRING:
                return utf8_count(cel_str(v));
        case CEL_BYTES:
        case CEL_LIST:
                return v->n;
        case CEL_MAP:
        case CEL_OBJECT:
                return v->form == CEL_LAZY ? 1 : cel_map_size(v);
        case CEL_OPTIONAL:
                return v->value ? value_size(v->value) : 1;
        default:
                return 1;
        }
}

const struct cel_type *value_type_of(const struct cel_value *v) {
        static const struct cel_type type_type = { .kind = CEL_TYPE },
                                     type_optional = { .kind = CEL_OPTIONAL, .params = { &cel_dyn } };
        static const struct cel_type *const types[] = {
                [CEL_NULL] = &cel_null,          [CEL_BOOL] = &cel_bool,           [CEL_INT] = &cel_int,
                [CEL_UINT] = &cel_uint,          [CEL_DOUBLE] = &cel_double,       [CEL_STRING] = &cel_string,
                [CEL_BYTES] = &cel_bytes,        [CEL_TIMESTAMP] = &cel_timestamp, [CEL_DURATION] = &cel_duration,
                [CEL_LIST] = &cel_list_dyn,      [CEL_MAP] = &cel_map_dyn,         [CEL_TYPE] = &type_type,
                [CEL_OPTIONAL] = &type_optional, [CEL_ERROR] = &cel_dyn,
        };

        if (v->kind == CEL_OPAQUE)
                return v->type;
        return v->kind == CEL_OBJECT ? &cel_map_dyn : types[v->kind];
}

const char *value_go_type(const struct cel_value *v) {
        static const char *const names[] = {
                [CEL_NULL] = "types.Null",
                [CEL_BOOL] = "types.Bool",
                [CEL_INT] = "types.Int",
                [CEL_UINT] = "types.Uint",
                [CEL_DOUBLE] = "types.Double",
                [CEL_STRING] = "types.String",
                [CEL_BYTES] = "types.Bytes",
                [CEL_TYPE] = "*types.Type",
                [CEL_DURATION] = "types.Duration",
                [CEL_TIMESTAMP] = "types.Timestamp",
                [CEL_OPTIONAL] = "*types.Optional",
        };
        static const char *const opaque[] = { "cel.Quantity", "cel.IP", "cel.CIDR", "cel.URL", "*cel.Format" };
        size_t i = v->kind == CEL_OPAQUE ? (size_t) (v->type - opaque_types) : ARRAY_SIZE(opaque);

        if (i < ARRAY_SIZE(opaque))
                return opaque[i];
        return v->kind < ARRAY_SIZE(names) && names[v->kind] ? names[v->kind] : "library.authorizerVal";
}

bool value_is_zero(const struct cel_value *v) {
        switch ((enum cel_kind) v->kind) {
        case CEL_NULL:
                return true;
        case CEL_BOOL:
                return !v->b;
        case CEL_INT:
        case CEL_UINT:
        case CEL_DURATION:
                return v->i == 0;
        case CEL_DOUBLE:
                return v->d == 0;
        case CEL_STRING:
        case CEL_BYTES:
        case CEL_LIST:
                return v->n == 0;
        case CEL_MAP:
        case CEL_OBJECT:
                return v->form != CEL_LAZY && cel_map_size(v) == 0;
        case CEL_OPTIONAL:
                return !v->value;
        case CEL_TIMESTAMP:
                return v->i == -62135596800LL && v->n == 0;
        default:
                return false;
        }
}

/* ---- text ---- */

struct str format_double(struct arena *a, double d, int limit) {
        char text[40];
        int digits = 1, exponent;

        if (isnan(d))
                return STR("NaN");
        if (isinf(d))
                return d > 0 ? STR("+Inf") : STR("-Inf");
        for (;; digits++) { /* the shortest that reads back the same */
                snprintf(text, sizeof(text), "%.*e", digits - 1, d);
                if (digits == 17 || strtod(text, NULL) == d)
                        break;
        }
        exponent = atoi(strchr(text, 'e') + 1);
        if (exponent >= -4 && exponent < limit)
                snprintf(text, sizeof(text), "%.*f", MAX(digits - 1 - exponent, 0), d);
        return arena_str(a, str_of(text));
}

struct str format_duration(struct arena *a, int64_t ns) {
        int64_t whole = ns / NSEC_PER_SEC;
        double seconds = (double) whole + (double) (ns % NSEC_PER_SEC) / 1e9;
        char text[64];
        int digits = 0;

        do /* the shortest that reads back the same */
                snprintf(text, sizeof(text), "%.*f", digits, seconds);
        while (strtod(text, NULL) != seconds && digits++ < 9);
        return arena_printf(a, "%ss", text);
}

#define QUARTER (15 * 60) /* zones are told in quarters of an hour */

int parse_timestamp(struct str s, struct cel_value *ret) {
        struct moment m;

        TRY(moment_parse(s, &m));
        *ret = (struct cel_value) {
                .kind = CEL_TIMESTAMP, .form = (uint8_t) (m.zone / QUARTER), .i = m.seconds, .n = (uint32_t) m.ns
        };
        return 0;
}

struct str format_timestamp(struct arena *a, const struct cel_value *v) {
        int digits = 9, zone = (int8_t) v->form * 15;
        time_t t = (time_t) v->i + zone * 60;
        struct str s, end = STR("Z");
        uint32_t nanos = v->n;
        struct tm tm;

        gmtime_r(&t, &tm);
        s = arena_printf(a, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                         tm.tm_min, tm.tm_sec);
        for (; nanos > 0 && nanos % 10 == 0; nanos /= 10)
                digits--;
        if (zone)
                end = arena_printf(a, "%c%02d:%02d", zone < 0 ? '-' : '+', abs(zone) / 60, abs(zone) % 60);
        return nanos == 0 ? arena_printf(a, "%" STR_FMT "%" STR_FMT, STR_ARG(s), STR_ARG(end))
                          : arena_printf(a, "%" STR_FMT ".%0*u%" STR_FMT, STR_ARG(s), digits, nanos, STR_ARG(end));
}

void value_print(struct buf *dst, struct ctx *c, const struct cel_value *v) {
        struct json j;

        switch ((enum cel_kind) v->kind) {
        case CEL_UINT:
                buf_add_u64(dst, v->u);
                break;
        case CEL_STRING:
        case CEL_BYTES:
        case CEL_ERROR:
                buf_add_str(dst, cel_str(v));
                break;
        case CEL_TYPE:
                buf_add_str(dst, cel_type_text(c->a, v->t));
                break;
        case CEL_TIMESTAMP:
                buf_add_str(dst, format_timestamp(c->a, v));
                break;
        case CEL_DURATION:
                buf_add_str(dst, format_duration(c->a, v->i));
                break;
        case CEL_DOUBLE:
                buf_add_str(dst, format_double(c->a, v->d, 21));
                break;
        default:
                j = cel_to_json(c->a, v);
                json_write(dst, &j);
        }
}
