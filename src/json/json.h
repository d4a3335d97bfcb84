/* The object model: a JSON document as a tree of 12-byte values in one arena.
 *
 *   value      type 3, flags 1, hint 12 bits │ pointer 48 bits, length 32 bits; or a number or bool in the last 64 bits
 *   object ──▶ members[len] { key: pointer 48, length 16 bits │ value } = 20 bytes a member
 *   array  ──▶ items[len]   { value }
 *   string ──▶ view: not NUL-terminated; it points into the parsed text, or into the arena where an escape was resolved
 *
 * A parsed document keeps views into its text: the text must live as long as the tree.
 * Trees may share subtrees: to change a part of a document that others see, copy the path to it (json_copy_shallow) and
 * change the copy. Members keep their order; a duplicate key in the text keeps the last value (and is counted, see
 * json_parse_opts). Numbers are int64 where the text is one, else double (as encoding/json into interface{} via
 * Kubernetes' json does). RFC 8259. Limits: depth 10,000 unless told, text 4 GiB, a key 64 KiB. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

/* RAW: an object that is kept as its compact text. Only metadata.managedFields[].fieldsV1 of stored objects is: half of
 * their members, into which almost nobody looks. */
enum json_type { JSON_NULL, JSON_BOOL, JSON_INT, JSON_DOUBLE, JSON_STRING, JSON_RAW, JSON_ARRAY, JSON_OBJECT };

struct json_member;
struct map;

struct json {
        uint16_t type : 3;
        uint16_t flags : 1; /* private to json/ */
        uint16_t hint : 12; /* schema's: 1 + the number of the field that this is the value of, or anything */
        union {
                struct {
                        uint64_t at : 48; /* json_chars(), json_items(), json_members() */
                        uint32_t len;     /* bytes, items or members; of other types: part of the number */
                } _packed_;
                struct {
                        uint16_t unused;
                        union {
                                bool b;
                                int64_t i;
                                double d;
                        } _packed_;
                } _packed_;
        } _packed_;
} _packed_ __attribute__((aligned(4)));

struct json_member {
        union {
                uint64_t key; /* json_key() */
                struct {
                        uint16_t key_at[3], key_len; /* little-endian, as all we build for */
                };
        };
        struct json value;
} _packed_ __attribute__((aligned(4)));

static inline struct str json_key(const struct json_member *m) {
        return (struct str) { (const char *) (uintptr_t) (m->key & 0xffffffffffffULL), m->key_len };
}
/* Where the bytes of a string, the items of an array, the members of an object are; of no other type. */
static inline const char *json_chars(const struct json *j) {
        return (const char *) (uintptr_t) j->at;
}
static inline struct json *json_items(const struct json *j) {
        return (struct json *) (uintptr_t) j->at;
}
static inline struct json_member *json_members(const struct json *j) {
        return (struct json_member *) (uintptr_t) j->at;
}

/* ---- reading: every function takes NULL for "absent" and any type, so that lookups chain ---- */

static inline enum json_type json_type(const struct json *j) {
        return j ? (enum json_type) j->type : JSON_NULL;
}
static inline bool json_is(const struct json *j, enum json_type t) { /* absent is never anything, not even null */
        return j && j->type == t;
}
static inline size_t json_len(const struct json *j) { /* items or members; 0 for the rest */
        return j && j->type >= JSON_ARRAY ? j->len : 0;
}
const struct json *json_get(const struct json *object, struct str key); /* NULL when absent */
static inline const struct json *json_getc(const struct json *object, const char *key) {
        return json_get(object, str_of(key)); /* here, so that the length of a literal costs nothing */
}
/* Down as many keys as are named. */
static inline const struct json *json_at_2(const struct json *j, const char *a, const char *b) {
        return j ? json_getc(json_getc(j, a), b) : NULL;
}
static inline const struct json *json_at_3(const struct json *j, const char *a, const char *b, const char *c) {
        return json_getc(json_at_2(j, a, b), c);
}
static inline const struct json *json_at_4(const struct json *j, const char *a, const char *b, const char *c,
                                           const char *d) {
        return json_getc(json_at_3(j, a, b, c), d);
}
#define json_at_5(j, a, b, c, d, e) json_getc(json_at_4((j), (a), (b), (c), (d)), (e))
#define JSON_AT(_1, _2, _3, _4, _5, name, ...) name
#define json_at_path(j, ...) \
        JSON_AT(__VA_ARGS__, json_at_5, json_at_4, json_at_3, json_at_2, json_getc)((j), __VA_ARGS__)
static inline const struct json *json_item(const struct json *array, size_t i) {
        return json_is(array, JSON_ARRAY) && i < array->len ? &json_items(array)[i] : NULL;
}
/* The value, or the given default when it is absent or of another type. */
static inline struct str json_str_or(const struct json *j, struct str dflt) {
        return json_is(j, JSON_STRING) ? str_n(json_chars(j), j->len) : dflt;
}
static inline struct str json_str(const struct json *j) {
        return json_str_or(j, str_n("", 0));
}
int64_t json_int_or(const struct json *j, int64_t dflt); /* a double with an integral value counts */
static inline int64_t json_int(const struct json *j) {
        return json_int_or(j, 0);
}
double json_double_or(const struct json *j, double dflt);
static inline bool json_bool_or(const struct json *j, bool dflt) {
        return json_is(j, JSON_BOOL) ? j->b : dflt;
}
static inline bool json_bool(const struct json *j) {
        return json_bool_or(j, false);
}

static inline struct json_member *json_begin_members(const struct json *j, struct json_member **ret_end) {
        struct json_member *m = json_is(j, JSON_OBJECT) ? json_members(j) : NULL;

        *ret_end = m ? m + j->len : NULL;
        return m;
}
static inline struct json *json_begin_items(const struct json *j, struct json **ret_end) {
        struct json *it = json_is(j, JSON_ARRAY) ? json_items(j) : NULL;

        *ret_end = it ? it + j->len : NULL;
        return it;
}

/* for (each member m of object j): json_key(m), &m->value. for (each item it of array j).
 * NULL and other types: no rounds. */
#define json_each_member(m, j) \
        for (struct json_member * m##_end, *m = json_begin_members((j), &m##_end); m != m##_end; m++)
#define json_each_item(it, j) for (struct json * it##_end, *it = json_begin_items((j), &it##_end); it != it##_end; it++)

/* Whether an item before the i-th has the same text at a key. To be asked of one item after the other; *seen is NULL at
 * first, for what is long, and the caller's to map_free. */
bool json_is_twin(struct map **seen, const struct json *array, size_t i, const char *key);
bool json_has_str(const struct json *array, struct str s); /* is it one of the items? */
/* The item whose member of that key is the text: conditions by type, containers by name. NULL: none. */
struct json *json_find_by(const struct json *array, const char *key, struct str text);
const char *json_type_in_go(const struct json *j);           /* "bool", as its encoding/json says */
bool json_equal(const struct json *a, const struct json *b); /* member order does not matter; 1 equals 1.0 */
uint64_t json_hash(const struct json *v);                    /* the same of what is equal */

/* ---- building: everything new lives in the arena; keys and strings are views unless the name says copy ----
 *
 * Only containers that nobody else looks at may be changed: two struct json that share members must not both grow. */

struct json json_null(void);
struct json json_of_bool(bool b);
struct json json_of_int(int64_t i);
struct json json_of_double(double d);
struct json json_of_str(struct str s);                   /* a view */
struct json json_of_cstr(const char *s);                 /* a view */
struct json json_of_copy(struct arena *a, struct str s); /* copied into the arena */
struct json json_of_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3);
struct json json_of_raw(struct str text); /* a view of the compact text of an object */
/* A raw value as a tree (NULL when its text is damaged); other values as they are. */
const struct json *json_expand(struct arena *a, const struct json *j);
struct json *json_new(struct arena *a, struct json v);
struct json json_new_object(void); /* empty; needs no memory until something is added */
struct json json_new_array(void);

#define JSON_INDEX_FROM 32 /* below, a linear search is as fast */

/* Sets (adds at the end, or replaces in place) and returns where the value now is; that address is valid until the next
 * add to the same object. */
struct json *json_set(struct arena *a, struct json *object, struct str key, struct json v);
struct json *json_setc(struct arena *a, struct json *object, const char *key, struct json v);
void json_put(struct arena *a, struct json *object, const char *key, const struct json *v); /* NULL: it goes */
/* Adds at the end without looking for the key: for a key that cannot be there yet. */
struct json *json_add(struct arena *a, struct json *object, struct str key, struct json v);
#define json_set_str(a, o, k, v) json_setc((a), (o), (k), json_of_str(v))
#define json_set_cstr(a, o, k, v) json_setc((a), (o), (k), json_of_cstr(v))
#define json_set_int(a, o, k, v) json_setc((a), (o), (k), json_of_int(v))
#define json_set_bool(a, o, k, v) json_setc((a), (o), (k), json_of_bool(v))
/* The member for writing: created as an empty object / array when absent or of another type. */
struct json *json_get_or_add_object(struct arena *a, struct json *object, const char *key);
struct json *json_get_or_add_array(struct arena *a, struct json *object, const char *key);
/* A member for writing, NULL when absent. The container must not be shared. */
struct json *json_get_mut(struct json *object, struct str key);
bool json_remove(struct json *object, struct str key); /* keeps the order of the rest */
bool json_removec(struct json *object, const char *key);
/* Asks one object for many keys, and may change it meanwhile: { .arena, .object } and zeroes. Linear, where the
 * functions above would be quadratic. The object, which may be NULL, changes through these alone and is whole again
 * at the end. */
struct json_edit {
        struct arena *arena; /* may be NULL when nothing is set */
        struct json *object;
        struct json_index *index;
        uint32_t asked, next; /* next: where keys in the object's own order come */
        bool removes;
};
struct json *json_edit_get(struct json_edit *e, struct str key); /* as json_get_mut() */
void json_edit_set(struct json_edit *e, struct str key, struct json v);
void json_edit_remove(struct json_edit *e, struct str key);
void json_edit_end(struct json_edit *e);
struct json *json_push(struct arena *a, struct json *array, struct json v);
void json_insert(struct arena *a, struct json *array, size_t at, struct json v);
void json_sort(struct json *object); /* by key */
void json_sort_texts(struct json *array);
void json_remove_item(struct json *array, size_t at);

struct json json_copy(struct arena *a, const struct json *j);      /* deep, with its strings and keys: shares nothing */
struct json json_copy_tree(struct arena *a, const struct json *j); /* deep containers, shared strings */
struct json json_copy_shallow(struct arena *a, const struct json *j); /* own top container, shared children */

/* ---- text ---- */

struct json_parse_opts {
        size_t max_depth;  /* 0: 10,000 */
        bool copy_strings; /* strings go into the arena: the text may go away */
        bool all_members;  /* a key that comes again stays, too: see schema_join_duplicates() */
        bool infinite;     /* a number beyond all doubles is taken as an infinite one */
        bool raw_fields;   /* metadata.managedFields[].fieldsV1 become JSON_RAW; the text is trusted */
        /* Set on return when not NULL: the number of duplicate keys, and the first ones as upstream words it, for
         * strict field validation. */
        struct json_duplicates *duplicates;
};
struct json_duplicates {
        struct arena *arena; /* where messages go */
        size_t n;
        /* `duplicate field "spec.containers[0].name"`; `line 7: key "name" already set in map` */
        struct str messages[16];
        int64_t places[16]; /* in the text, rising: the byte, or the line of YAML */
};
/* Takes a message (made with printf's format) to its place among the others; what is beyond 16 is only counted. */
void json_duplicates_add(struct json_duplicates *d, int64_t place, const char *fmt, ...) _printf_(3, 4);

/* The whole of text must be one value (space around it allowed). On error -EINVAL and a message in Go's wording
 * ("invalid character 'x' looking for beginning of value"). opts may be NULL. */
int json_parse(struct arena *a, struct str text, const struct json_parse_opts *opts, struct json **ret,
               struct error *err);

/* Compact text, keys in the order of the tree, strings escaped as Go's encoding/json does (<, >, & and U+2028/9 as
 * \u003c …). Doubles as Go prints them. */
void json_write(struct buf *dst, const struct json *j);
/* Indented by so many spaces a level; it begins depth levels deep. */
void json_write_pretty(struct buf *dst, const struct json *j, size_t indent, size_t depth);
void json_write_string(struct buf *dst, struct str s); /* with quotes */

/* ---- without a tree ---- */

/* Finds a value in valid JSON text by a path of object keys, without building a tree. Returns the raw text of the value
 * (a string with its quotes), or an empty str. Used for field selectors and metadata on stored bytes. */
struct str json_scan(struct str text, const char *const keys[]);
/* The content of a raw string value; copies into the arena only if there is an escape. */
struct str json_unquote(struct arena *a, struct str raw);

/* ---- patches (patch.c) ---- */

/* RFC 6902. doc is not changed; the result shares with doc and patch. Errors: -EINVAL (bad patch or path not there),
 * with evanphx/json-patch's wording, which the API server shows; a failed test is -EINVAL too. */
int json_patch_apply(struct arena *a, const struct json *doc, const struct json *patch, struct json *ret,
                     struct error *err);
/* RFC 7396. */
struct json json_merge_patch(struct arena *a, const struct json *doc, const struct json *patch);
