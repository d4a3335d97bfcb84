/* Trees: lookups, building, comparing, copying. An array that grew by one at a time has room up to the next power of
 * two of its length, and the flag JSON_GROWN says so; every other array is exactly as long as it says. That is the
 * whole of its bookkeeping. */
#include <math.h>

#include "base/map.h"
#include "json/text.h"

/* ---- reading ---- */

static inline uint64_t load(const char *p, size_t n) { /* n: 4 or 8 */
        uint64_t v = 0;

        memcpy(&v, p, n);
        return v;
}

/* Two keys of one length up to 16: both ends, which meet. */
static inline bool same_key(const char *a, const char *b, size_t n) {
        if (n >= 8)
                return load(a, 8) == load(b, 8) && load(a + n - 8, 8) == load(b + n - 8, 8);
        if (n >= 4)
                return load(a, 4) == load(b, 4) && load(a + n - 4, 4) == load(b + n - 4, 4);
        return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

static __attribute__((noinline)) const struct json *get_long(const struct json *object, struct str key) {
        json_each_member(m, object)
                if (str_eq(json_key(m), key))
                        return &m->value;
        return NULL;
}

static inline bool has_key(const struct json_member *m, struct str key) { /* of up to 16 bytes */
        return m->key_len == (uint16_t) key.n && same_key(json_key(m).p, key.p, key.n);
}

/* Everything asks here, mostly for what is not there: two at a time, no call is made for keys of the usual length. */
const struct json *json_get(const struct json *object, struct str key) {
        struct json_member *end, *m = json_begin_members(object, &end);

        if (key.n > 16)
                return get_long(object, key);
        for (; end - m >= 2; m += 2) {
                if (has_key(&m[0], key))
                        return &m[0].value;
                if (has_key(&m[1], key))
                        return &m[1].value;
        }
        return m != end && has_key(m, key) ? &m->value : NULL;
}

/* Integral and within int64: 2^63 itself is not. */
static bool is_int64(double d) {
        return d == floor(d) && fabs(d) <= 9223372036854775808.0 && d != 9223372036854775808.0;
}

int64_t json_int_or(const struct json *j, int64_t dflt) {
        if (json_is(j, JSON_INT))
                return j->i;
        if (json_is(j, JSON_DOUBLE) && is_int64(j->d))
                return (int64_t) j->d;
        return dflt;
}

double json_double_or(const struct json *j, double dflt) {
        return json_is(j, JSON_DOUBLE) ? j->d : json_is(j, JSON_INT) ? (double) j->i : dflt;
}

/* ---- comparing ---- */

static bool numbers_equal(const struct json *a, const struct json *b) {
        if (a->type == JSON_INT && b->type == JSON_INT)
                return a->i == b->i;
        if (a->type == JSON_DOUBLE && b->type == JSON_DOUBLE)
                return a->d == b->d;
        if (a->type == JSON_DOUBLE)
                return numbers_equal(b, a);
        /* An int64 beyond 2^53 equals a double only if the double holds exactly it. */
        return is_int64(b->d) && (int64_t) b->d == a->i;
}

static bool objects_equal(const struct json *a, const struct json *b) {
        _cleanup_(json_edit_end) struct json_edit by_key = { .object = (struct json *) b };

        for (uint32_t i = 0; i < a->len; i++) {
                const struct json_member *m = &json_members(a)[i], *n = &json_members(b)[i];
                const struct json *v = &n->value;

                if (!str_eq(json_key(m), json_key(n))) /* mostly both have the same order */
                        v = json_edit_get(&by_key, json_key(m));
                if (!v || !json_equal(&m->value, v))
                        return false;
        }
        return true;
}

static bool raw_equal(const struct json *a, const struct json *b) {
        if (a->type == b->type && str_eq(str_n(json_chars(a), a->len), str_n(json_chars(b), b->len)))
                return true;
        _cleanup_(arena_freep) struct arena *arena = arena_new(0);
        a = json_expand(arena, a);
        b = json_expand(arena, b);
        return a && b && json_equal(a, b);
}

struct json *json_find_by(const struct json *array, const char *key, struct str text) {
        json_each_item(it, array)
                if (str_eq(json_str(json_getc(it, key)), text))
                        return it;
        return NULL;
}

bool json_is_twin(struct map **seen, const struct json *array, size_t i, const char *key) {
        struct str text = json_str(json_getc(json_item(array, i), key));

        if (json_len(array) < JSON_INDEX_FROM)
                return json_find_by(array, key, text) < json_item(array, i);
        if (!*seen)
                *seen = map_new(NULL);
        return !map_put(*seen, text, (void *) array);
}

bool json_has_str(const struct json *array, struct str s) {
        json_each_item(i, array)
                if (json_is(i, JSON_STRING) && str_eq(json_str(i), s))
                        return true;
        return false;
}

const char *json_type_in_go(const struct json *j) {
        static const char *const names[] = {
                "null", "bool", "number", "number", "string", "object", "array", "object"
        };

        return names[json_type(j)];
}

bool json_equal(const struct json *a, const struct json *b) {
        if (a == b || !a || !b)
                return a == b;
        if (a->type == JSON_RAW || b->type == JSON_RAW)
                return raw_equal(a, b);
        if ((a->type == JSON_INT || a->type == JSON_DOUBLE) && (b->type == JSON_INT || b->type == JSON_DOUBLE))
                return numbers_equal(a, b);
        if (a->type != b->type)
                return false;
        switch (a->type) {
        case JSON_NULL:
                return true;
        case JSON_BOOL:
                return a->b == b->b;
        case JSON_STRING:
                return str_eq(json_str(a), json_str(b));
        case JSON_ARRAY:
                if (a->len != b->len)
                        return false;
                for (uint32_t i = 0; i < a->len; i++)
                        if (!json_equal(&json_items(a)[i], &json_items(b)[i]))
                                return false;
                return true;
        default:
                return a->len == b->len && objects_equal(a, b);
        }
}

uint64_t json_hash(const struct json *v) {
        uint64_t h = 0;
        double d = 0;

        switch (json_type(v)) {
        case JSON_STRING:
                return str_hash(json_str(v));
        case JSON_INT:
        case JSON_DOUBLE:
                d += json_double_or(v, 0); /* no -0 */
                return str_hash(str_n((const char *) &d, sizeof(d)));
        case JSON_ARRAY:
                json_each_item(it, v)
                        h = h * 31 + json_hash(it) + 1;
                return h;
        case JSON_OBJECT:
                json_each_member(m, v)
                        h += str_hash(json_key(m)) * (2 * json_hash(&m->value) + 1);
                return h;
        case JSON_BOOL:
                return v->b;
        default:
                return 0; /* also of a raw text, which may be anything */
        }
}

/* ---- building ---- */

struct json json_null(void) {
        return (struct json) { .type = JSON_NULL };
}

struct json json_of_bool(bool b) {
        return (struct json) { .type = JSON_BOOL, .b = b };
}

struct json json_of_int(int64_t i) {
        return (struct json) { .type = JSON_INT, .i = i };
}

struct json json_of_double(double d) {
        return (struct json) { .type = JSON_DOUBLE, .d = d };
}

struct json json_of_str(struct str s) {
        return (struct json) { .type = JSON_STRING, .at = (uintptr_t) s.p, .len = (uint32_t) s.n };
}

struct json json_of_cstr(const char *s) {
        return json_of_str(str_of(s));
}

struct json json_of_copy(struct arena *a, struct str s) {
        return json_of_str(arena_str(a, s));
}

struct json json_of_raw(struct str text) {
        return (struct json) { .type = JSON_RAW, .at = (uintptr_t) text.p, .len = (uint32_t) text.n };
}

const struct json *json_expand(struct arena *a, const struct json *j) {
        struct json *tree = NULL;

        if (!json_is(j, JSON_RAW))
                return j;
        return json_parse(a, str_n(json_chars(j), j->len), NULL, &tree, NULL) < 0 ? NULL : tree;
}

struct json json_of_printf(struct arena *a, const char *fmt, ...) {
        return json_of_str(variadic(ap, fmt, arena_vprintf(a, fmt, ap)));
}

struct json *json_new(struct arena *a, struct json v) {
        return arena_dup(a, &v, sizeof(v));
}

struct json json_new_object(void) {
        return (struct json) { .type = JSON_OBJECT };
}

struct json json_new_array(void) {
        return (struct json) { .type = JSON_ARRAY };
}

static size_t power_of_two(size_t n) {
        return n <= 4 ? 4 : (size_t) 1 << (64 - __builtin_clzll(n - 1));
}

/* Room for one more; size is that of an item or a member. */
static void make_room(struct arena *a, struct json *c, size_t size) {
        size_t cap = c->flags & JSON_GROWN ? power_of_two(c->len) : c->len;

        if (c->len < cap)
                return;
        void *grown = arena_alloc(a, power_of_two((size_t) c->len + 1) * size);
        if (c->len)
                memcpy(grown, json_items(c), c->len * size);
        c->at = (uintptr_t) grown;
        c->flags |= JSON_GROWN;
}

struct json *json_add(struct arena *a, struct json *object, struct str key, struct json v) {
        struct json_member *m;

        make_room(a, object, sizeof(*m));
        m = &json_members(object)[object->len++];
        *m = (struct json_member) { .key = json_make_key(key), .value = v };
        return &m->value;
}

struct json *json_get_mut(struct json *object, struct str key) {
        return (struct json *) json_get(object, key);
}

struct json *json_set(struct arena *a, struct json *object, struct str key, struct json v) {
        struct json *old = json_get_mut(object, key);

        if (!old)
                return json_add(a, object, key, v);
        v.hint = old->hint; /* which is about the key */
        *old = v;
        return old;
}

struct json *json_setc(struct arena *a, struct json *object, const char *key, struct json v) {
        return json_set(a, object, str_of(key), v);
}

void json_put(struct arena *a, struct json *object, const char *key, const struct json *v) {
        if (v)
                json_setc(a, object, key, *v);
        else
                json_removec(object, key);
}

static struct json *get_or_add(struct arena *a, struct json *object, const char *key, uint8_t type) {
        struct json *v = json_get_mut(object, str_of(key)), empty = { .type = type };

        if (!v)
                return json_setc(a, object, key, empty);
        if (v->type != type)
                *v = empty;
        return v;
}

struct json *json_get_or_add_object(struct arena *a, struct json *object, const char *key) {
        return get_or_add(a, object, key, JSON_OBJECT);
}

struct json *json_get_or_add_array(struct arena *a, struct json *object, const char *key) {
        return get_or_add(a, object, key, JSON_ARRAY);
}

/* Takes the element at out of n of the given size. A grown array may lose a power of two here: then it is exact or
 * smaller than it could be, never larger than it is. */
static void close_up(struct json *c, size_t at, size_t size) {
        char *base = (char *) json_items(c);

        memmove(base + at * size, base + (at + 1) * size, (c->len - at - 1) * size);
        c->len--;
}

bool json_remove(struct json *object, struct str key) {
        struct json *v = json_get_mut(object, key);

        if (!v)
                return false;
        close_up(object, (size_t) (container_of(v, struct json_member, value) - json_members(object)),
                 sizeof(struct json_member));
        return true;
}

bool json_removec(struct json *object, const char *key) {
        return json_remove(object, str_of(key));
}

struct json *json_push(struct arena *a, struct json *array, struct json v) {
        make_room(a, array, sizeof(v));
        json_items(array)[array->len] = v;
        return &json_items(array)[array->len++];
}

void json_insert(struct arena *a, struct json *array, size_t at, struct json v) {
        at = MIN(at, (size_t) array->len);
        make_room(a, array, sizeof(v));
        memmove(&json_items(array)[at + 1], &json_items(array)[at], (array->len - at) * sizeof(v));
        json_items(array)[at] = v;
        array->len++;
}

void json_remove_item(struct json *array, size_t at) {
        if (at < json_len(array))
                close_up(array, at, sizeof(struct json));
}

static int compare_keys(const void *x, const void *y) {
        return str_cmp(json_key(x), json_key(y));
}

void json_sort(struct json *object) {
        if (json_is(object, JSON_OBJECT) && object->len > 1)
                qsort(json_members(object), object->len, sizeof(struct json_member), compare_keys);
}

static int compare_texts(const void *x, const void *y) {
        return str_cmp(json_str(x), json_str(y));
}

void json_sort_texts(struct json *array) {
        if (json_len(array) > 1)
                qsort(json_items(array), array->len, sizeof(struct json), compare_texts);
}

/* ---- copying ---- */

struct json json_copy_shallow(struct arena *a, const struct json *j) {
        struct json copy = *j;

        copy.flags = 0;
        if (j->type == JSON_ARRAY && j->len)
                copy.at = (uintptr_t) arena_dup(a, json_items(j), j->len * sizeof(struct json));
        else if (j->type == JSON_OBJECT && j->len)
                copy.at = (uintptr_t) arena_dup(a, json_members(j), j->len * sizeof(struct json_member));
        return copy;
}

struct json json_copy_tree(struct arena *a, const struct json *j) {
        struct json copy = json_copy_shallow(a, j);

        json_each_item(it, &copy)
                if (it->type >= JSON_ARRAY)
                        *it = json_copy_tree(a, it);
        json_each_member(m, &copy)
                if (m->value.type >= JSON_ARRAY)
                        m->value = json_copy_tree(a, &m->value);
        return copy;
}

struct json json_copy(struct arena *a, const struct json *j) {
        struct json copy = json_copy_shallow(a, j);

        if (j->type == JSON_STRING || j->type == JSON_RAW)
                copy.at = (uintptr_t) arena_str(a, str_n(json_chars(j), j->len)).p;
        json_each_item(it, &copy)
                *it = json_copy(a, it);
        json_each_member(m, &copy) {
                m->key = json_make_key(arena_str(a, json_key(m)));
                m->value = json_copy(a, &m->value);
        }
        return copy;
}
