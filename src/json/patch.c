/* RFC 6902 (JSON Patch), RFC 7396 (merge patch) and the merge patch between two documents, with the readings and the
 * messages of evanphx/json-patch v4, which the API server shows to its clients: an absent member and null are the same
 * to "test", 1 and 1.0 are not, "replace" of an absent member adds it, negative indices count from the end.
 *
 * JSON Patch works on one private copy of the document's containers; what operations add is copied in, so that a later
 * operation may change it. */
#include <math.h>

#include "json/text.h"

#define MAX_COPIED (3 * 1024 * 1024) /* bytes of text that "copy" operations of one patch may add */

struct patch {
        struct arena *arena;
        struct json *doc;
        size_t copied;
        struct error *err;
};

/* Where a path leads: a member or an item of parent. */
struct place {
        struct json *parent; /* NULL: the path does not exist */
        struct str key;      /* decoded last part */
};

/* ~1 is a slash, ~0 a tilde. */
static struct str decode_part(struct arena *a, struct str part) {
        size_t n = 0;

        if (str_find(part, '~') < 0)
                return part;
        char *out = arena_alloc(a, part.n);
        for (size_t i = 0; i < part.n; i++) {
                bool escape = part.p[i] == '~' && i + 1 < part.n && (part.p[i + 1] == '0' || part.p[i + 1] == '1');

                out[n++] = escape ? (part.p[i + 1] == '1' ? '/' : '~') : part.p[i];
                i += escape;
        }
        return str_n(out, n);
}

/* An index as strconv.Atoi reads it. */
static int to_index(struct patch *p, struct str key, int64_t *ret) {
        int r = str_to_i64(key, ret);

        if (r >= 0)
                return 0;
        return error_set(p->err, -EINVAL, "strconv.Atoi: parsing \"%" STR_FMT "\": %s", STR_ARG(key),
                         r == -ERANGE ? "value out of range" : "invalid syntax");
}

static int bad_index(struct patch *p, int64_t i) {
        return error_set(p->err, -EINVAL, "Unable to access invalid index: %lld: invalid index referenced",
                         (long long) i);
}

/* The index of one of n items. */
static int find_index(struct patch *p, struct str key, size_t n, size_t *ret) {
        int64_t i;

        TRY(to_index(p, key, &i));
        if (i >= (int64_t) n || i < -(int64_t) n)
                return bad_index(p, i);
        *ret = (size_t) (i < 0 ? i + (int64_t) n : i);
        return 0;
}

/* The value at key; *ret NULL for an absent member, which is no error. */
static int place_get(struct patch *p, struct json *parent, struct str key, struct json **ret) {
        size_t i;

        if (parent->type == JSON_OBJECT) {
                *ret = json_get_mut(parent, key);
                return 0;
        }
        TRY(find_index(p, key, parent->len, &i));
        *ret = &json_items(parent)[i];
        return 0;
}

static struct place find(struct patch *p, struct str path) {
        struct json *at = p->doc, *next;

        if (str_empty(path) || at->type < JSON_ARRAY)
                return (struct place) { 0 };
        /* What precedes the first slash is ignored. */
        if (str_find(path, '/') < 0)
                return (struct place) { 0 };
        path = str_sub(path, (size_t) str_find(path, '/') + 1, path.n);
        for (;;) {
                ssize_t slash = str_find(path, '/');
                struct str part = decode_part(p->arena, slash < 0 ? path : str_sub(path, 0, (size_t) slash));

                if (slash < 0)
                        return (struct place) { at, part };
                next = NULL;
                if (place_get(p, at, part, &next) == 0 && json_is(next, JSON_RAW) && json_expand(p->arena, next))
                        *next = *json_expand(p->arena, next);
                if (!next || next->type < JSON_ARRAY) {
                        if (p->err)
                                error_clear(p->err);
                        return (struct place) { 0 };
                }
                at = next;
                path = str_sub(path, (size_t) slash + 1, path.n);
        }
}

static int place_add(struct patch *p, struct place at, struct json v) {
        size_t i = at.parent->len;
        int64_t number;

        if (at.parent->type == JSON_OBJECT) {
                if (at.key.n > JSON_MAX_KEY)
                        return error_set(p->err, -EINVAL, "object key of %zu bytes is longer than %d", at.key.n,
                                         JSON_MAX_KEY);
                json_set(p->arena, at.parent, at.key, v);
                return 0;
        }
        if (!str_eq(at.key, STR("-"))) {
                int r = to_index(p, at.key, &number);
                if (r < 0)
                        return error_prefix(p->err, "value was not a proper array index: '%" STR_FMT "'",
                                            STR_ARG(at.key)),
                               r;
                TRY(find_index(p, at.key, (size_t) at.parent->len + 1, &i));
        }
        json_insert(p->arena, at.parent, i, v);
        return 0;
}

static int place_remove(struct patch *p, struct place at) {
        size_t i;

        if (at.parent->type == JSON_OBJECT) {
                if (json_remove(at.parent, at.key))
                        return 0;
                return error_set(p->err, -EINVAL, "Unable to remove nonexistent key: %" STR_FMT ": missing value",
                                 STR_ARG(at.key));
        }
        int r = find_index(p, at.key, at.parent->len, &i);
        if (r >= 0)
                json_remove_item(at.parent, i);
        return r;
}

/* ---- operations ---- */

struct operation {
        struct str path, from;
        bool has_path, has_from;
        const char *no_path, *no_from; /* why there are none */
        const struct json *value;      /* NULL: absent */
};

#define FAIL(...) return error_set(p->err, -EINVAL, __VA_ARGS__)
#define WRAP(r, ...) return error_prefix(p->err, __VA_ARGS__), (r)

static struct json own_value(struct patch *p, const struct operation *op) {
        return op->value ? json_copy_tree(p->arena, op->value) : json_null();
}

static int op_add(struct patch *p, const struct operation *op) {
        if (!op->has_path)
                FAIL("add operation failed to decode path: missing value");
        struct place at = find(p, op->path);
        if (!at.parent)
                FAIL("add operation does not apply: doc is missing path: \"%" STR_FMT "\": missing value",
                     STR_ARG(op->path));
        int r = place_add(p, at, own_value(p, op));
        if (r < 0)
                WRAP(r, "error in add for path: '%" STR_FMT "'", STR_ARG(op->path));
        return 0;
}

static int op_remove(struct patch *p, const struct operation *op) {
        if (!op->has_path)
                FAIL("remove operation failed to decode path: missing value");
        struct place at = find(p, op->path);
        if (!at.parent)
                FAIL("remove operation does not apply: doc is missing path: \"%" STR_FMT "\": missing value",
                     STR_ARG(op->path));
        int r = place_remove(p, at);
        if (r < 0)
                WRAP(r, "error in remove for path: '%" STR_FMT "'", STR_ARG(op->path));
        return 0;
}

static int op_replace(struct patch *p, const struct operation *op) {
        struct json *old;

        if (!op->has_path)
                FAIL("replace operation failed to decode path: %s", op->no_path);
        if (str_empty(op->path)) {
                if (!op->value)
                        FAIL("replace operation value must be object or array");
                if (json_type(op->value) >= JSON_ARRAY) /* what is neither changes nothing */
                        *p->doc = own_value(p, op);
                return 0;
        }
        struct place at = find(p, op->path);
        if (!at.parent)
                FAIL("replace operation does not apply: doc is missing path: %" STR_FMT ": missing value",
                     STR_ARG(op->path));
        if (place_get(p, at.parent, at.key, &old) < 0)
                FAIL("replace operation does not apply: doc is missing key: %" STR_FMT ": missing value",
                     STR_ARG(op->path));
        if (old)
                *old = own_value(p, op);
        else
                return place_add(p, at, own_value(p, op));
        return 0;
}

static int op_move(struct patch *p, const struct operation *op) {
        struct json *found, value;

        if (!op->has_from)
                FAIL("move operation failed to decode from: %s", op->no_from);
        struct place at = find(p, op->from);
        if (!at.parent)
                FAIL("move operation does not apply: doc is missing from path: %" STR_FMT ": missing value",
                     STR_ARG(op->from));
        int r = place_get(p, at.parent, at.key, &found);
        if (r >= 0) {
                value = found ? *found : json_null();
                r = place_remove(p, at);
        }
        if (r < 0)
                WRAP(r, "error in move for path: '%" STR_FMT "'", STR_ARG(at.key));
        if (!op->has_path)
                FAIL("move operation failed to decode path: %s", op->no_path);
        at = find(p, op->path);
        if (!at.parent)
                FAIL("move operation does not apply: doc is missing destination path: %" STR_FMT ": missing value",
                     STR_ARG(op->path));
        r = place_add(p, at, value);
        if (r < 0)
                WRAP(r, "error in move for path: '%" STR_FMT "'", STR_ARG(op->path));
        return 0;
}

static int op_copy(struct patch *p, const struct operation *op) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *found, value;

        if (!op->has_from)
                FAIL("copy operation failed to decode from: %s", op->no_from);
        struct place at = find(p, op->from);
        if (!at.parent)
                FAIL("copy operation does not apply: doc is missing from path: %" STR_FMT ": missing value",
                     STR_ARG(op->from));
        int r = place_get(p, at.parent, at.key, &found);
        if (r < 0)
                WRAP(r, "error in copy for from: '%" STR_FMT "'", STR_ARG(op->from));
        if (!op->has_path)
                FAIL("copy operation failed to decode path: missing value");
        at = find(p, op->path);
        if (!at.parent)
                FAIL("copy operation does not apply: doc is missing destination path: %" STR_FMT ": missing value",
                     STR_ARG(op->path));
        if (found)
                json_write(&text, found);
        p->copied += text.n;
        if (p->copied > MAX_COPIED)
                FAIL("Unable to complete the copy, the accumulated size increase of copy is %zu, exceeding the limit "
                     "%d",
                     p->copied, MAX_COPIED);
        value = found ? json_copy_tree(p->arena, found) : json_null();
        r = place_add(p, at, value);
        if (r < 0)
                WRAP(r, "error while adding value during copy");
        return 0;
}

/* Upstream compares texts, and those of objects are as json_write makes them: is this one, too, as far as it tells? */
static bool is_as_written(const struct json *v) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (v->type == JSON_DOUBLE)
                return v->d != trunc(v->d) || fabs(v->d) >= 0x1p63;
        if (v->type == JSON_STRING) {
                json_write_string(&b, json_str(v));
                return (b.n > v->len + 2UL) == (v->flags == JSON_ESCAPED);
        }
        json_each_item(it, v)
                if (!is_as_written(it))
                        return false;
        json_each_member(m, v)
                if (!is_as_written(&m->value))
                        return false;
        return true;
}

static int op_test(struct patch *p, const struct operation *op) {
        struct json *found = NULL;

        if (!op->has_path)
                FAIL("test operation failed to decode path: %s", op->no_path);
        if (str_empty(op->path))
                found = p->doc;
        else {
                struct place at = find(p, op->path);
                if (!at.parent)
                        FAIL("test operation does not apply: is missing path: %" STR_FMT ": missing value",
                             STR_ARG(op->path));
                int r = place_get(p, at.parent, at.key, &found);
                if (r < 0)
                        WRAP(r, "error in test for path: '%" STR_FMT "'", STR_ARG(op->path));
        }
        /* Absent and null are one. A test without a value ends upstream's connection, or fails. */
        if (op->value && (json_type(found) == JSON_NULL ? op->value->type == JSON_NULL
                                                        : json_equal(found, op->value) && is_as_written(op->value)))
                return 0;
        FAIL("testing value %" STR_FMT " failed: test failed", STR_ARG(op->path));
}

static const struct {
        struct str name;
        int (*apply)(struct patch *p, const struct operation *op);
} operations[] = {
        { STR_INIT("add"), op_add },   { STR_INIT("remove"), op_remove }, { STR_INIT("replace"), op_replace },
        { STR_INIT("move"), op_move }, { STR_INIT("copy"), op_copy },     { STR_INIT("test"), op_test },
};

/* Why a path is none. */
static const char *no_pointer(struct patch *p, const struct json *path, const char *missing) {
        return !path || json_is(path, JSON_NULL)
                               ? missing
                               : arena_printf(p->arena, "json: cannot unmarshal %s into Go value of type string",
                                              json_type_in_go(path))
                                                 .p;
}

static int apply(struct patch *p, const struct json *j) {
        struct operation op = {
                .path = json_str(json_getc(j, "path")),
                .from = json_str(json_getc(j, "from")),
                .has_path = json_is(json_getc(j, "path"), JSON_STRING),
                .has_from = json_is(json_getc(j, "from"), JSON_STRING),
                .value = json_getc(j, "value"),
        };
        op.no_path = no_pointer(p, json_getc(j, "path"), "operation missing path field: missing value");
        op.no_from = no_pointer(p, json_getc(j, "from"), "operation, missing from field: missing value");
        struct str name = json_str_or(json_getc(j, "op"), STR("unknown"));

        for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
                if (str_eq(name, operations[i].name))
                        return operations[i].apply(p, &op);
        FAIL("Unexpected kind: %" STR_FMT, STR_ARG(name));
}

int json_patch_apply(struct arena *a, const struct json *doc, const struct json *patch, struct json *ret,
                     struct error *err) {
        struct json copy;
        struct patch p = { .arena = a, .doc = &copy, .err = err };

        if (patch->type != JSON_ARRAY)
                return error_set(err, -EINVAL, "json: cannot unmarshal %s into Go value of type jsonpatch.Patch",
                                 json_type_in_go(patch));
        json_each_item(op, patch)
                if (op->type != JSON_OBJECT && op->type != JSON_NULL)
                        return error_set(err, -EINVAL,
                                         "json: cannot unmarshal %s into Go value of type jsonpatch.Operation",
                                         json_type_in_go(op));
        copy = json_copy_tree(a, doc);
        json_each_item(op, patch)
                TRY(apply(&p, op));
        *ret = copy;
        return 0;
}

/* ---- merge patch ---- */

/* In lists, too, the nulls of objects say that a member is not there. */
static struct json list_without_nulls(struct arena *a, const struct json *list) {
        struct json out = json_copy_shallow(a, list);

        json_each_item(it, &out)
                if (it->type == JSON_OBJECT)
                        *it = json_merge_patch(a, NULL, it);
                else if (it->type == JSON_ARRAY)
                        *it = list_without_nulls(a, it);
        return out;
}

struct json json_merge_patch(struct arena *a, const struct json *doc, const struct json *patch) {
        struct json out;
        struct json_edit e = { .arena = a, .object = &out };

        if (!json_is(patch, JSON_OBJECT))
                return *patch;
        out = json_is(doc, JSON_OBJECT) ? json_copy_shallow(a, doc) : json_new_object();
        json_each_member(m, patch) {
                struct str key = json_key(m);
                const struct json *old = m->value.type < JSON_ARRAY ? NULL : json_edit_get(&e, key);

                if (m->value.type == JSON_NULL)
                        json_edit_remove(&e, key);
                else if (m->value.type == JSON_OBJECT)
                        json_edit_set(&e, key, json_merge_patch(a, old, &m->value));
                else if (m->value.type == JSON_ARRAY && !json_is(old, JSON_OBJECT)) /* upstream's keeps them there */
                        json_edit_set(&e, key, list_without_nulls(a, &m->value));
                else
                        json_edit_set(&e, key, m->value);
        }
        json_edit_end(&e);
        return out;
}
