/* Finding keys among many: a table of positions by hash, used where a linear search for each key would be quadratic.
 * For the few keys most objects have, a bitmap of 256 hashes proves that there is no duplicate without a comparison. */
#include "json/text.h"

#define NONE UINT32_MAX
#define REMOVED 1 /* json.flags of a null: the member goes when the edit ends */

struct json_index {
        uint32_t mask;
        uint32_t slots[]; /* positions, NONE when free */
};

static struct json_index *index_new(size_t n) {
        size_t cap = 16;
        struct json_index *x;

        while (cap < 2 * n)
                cap *= 2;
        x = xmalloc(sizeof(*x) + cap * sizeof(x->slots[0]));
        x->mask = (uint32_t) (cap - 1);
        memset(x->slots, 0xff, cap * sizeof(x->slots[0]));
        return x;
}

/* The slot of the key: its position, or NONE where it would go. */
static uint32_t *find(struct json_index *x, const struct json_member *members, struct str key) {
        for (uint32_t i = (uint32_t) str_hash(key) & x->mask;; i = (i + 1) & x->mask) {
                uint32_t at = x->slots[i];

                if (at == NONE || str_eq(json_key(&members[at]), key))
                        return &x->slots[i];
        }
}

/* Makes the index, with room for as many members again. */
static void index_all(struct json_edit *e) {
        free(e->index);
        e->index = index_new(2 * (size_t) e->object->len);
        for (uint32_t i = 0; i < e->object->len; i++)
                *find(e->index, json_members(e->object), json_key(&json_members(e->object)[i])) = i;
}

/* The member, be it removed or not. */
static struct json *find_member(struct json_edit *e, struct str key) {
        struct json_member *members = json_is(e->object, JSON_OBJECT) ? json_members(e->object) : NULL;
        uint32_t at = e->next;

        if (at < json_len(e->object) && members && str_eq(json_key(&members[at]), key)) {
                e->next++;
                return &members[at].value;
        }
        if (!members || e->object->len < JSON_INDEX_FROM || (!e->index && e->asked++ < JSON_INDEX_FROM)) {
                struct json *v = json_get_mut(e->object, key);

                e->next = v ? (uint32_t) (container_of(v, struct json_member, value) - members) + 1 : e->next;
                return v;
        }
        if (!e->index)
                index_all(e);
        at = *find(e->index, members, key);
        if (at == NONE)
                return NULL;
        e->next = at + 1;
        return &members[at].value;
}

static bool is_removed(const struct json *v) {
        return v->type == JSON_NULL && v->flags == REMOVED;
}

struct json *json_edit_get(struct json_edit *e, struct str key) {
        struct json *v = find_member(e, key);

        return v && !is_removed(v) ? v : NULL;
}

void json_edit_set(struct json_edit *e, struct str key, struct json v) {
        struct json *old = find_member(e, key);

        if (old) {
                v.hint = old->hint; /* which is about the key */
                *old = v;
                return;
        }
        json_add(e->arena, e->object, key, v);
        if (e->index && 2 * (size_t) e->object->len > e->index->mask)
                index_all(e);
        else if (e->index)
                *find(e->index, json_members(e->object), key) = e->object->len - 1;
}

void json_edit_remove(struct json_edit *e, struct str key) {
        struct json *v = json_edit_get(e, key);

        if (!v)
                return;
        *v = (struct json) { .type = JSON_NULL, .flags = REMOVED, .hint = v->hint };
        e->removes = true;
}

void json_edit_end(struct json_edit *e) {
        uint32_t n = 0;

        free(e->index);
        e->index = NULL;
        if (!e->removes)
                return;
        json_each_member(m, e->object)
                if (!is_removed(&m->value))
                        json_members(e->object)[n++] = *m;
        e->object->len = n;
        e->removes = false;
}

static unsigned small_hash(struct str k) {
        if (k.n == 0)
                return 0;
        return (unsigned) (k.n * 0x9e5 + (uint8_t) k.p[0] * 0x2f1 + (uint8_t) k.p[k.n / 2] * 0x1c3 +
                           (uint8_t) k.p[k.n - 1] * 0x3d) %
               256;
}

static bool surely_unique(const struct json_member *m, size_t n) {
        uint64_t seen[4] = { 0 }, hit = 0;

        for (size_t i = 0; i < n; i++) {
                unsigned h = small_hash(json_key(&m[i]));

                hit |= seen[h / 64] >> (h % 64) & 1;
                seen[h / 64] |= 1ULL << (h % 64);
        }
        return !hit;
}

size_t json_unique_members(struct json_member *m, size_t n, void (*on_duplicate)(void *arg, struct str key),
                           void *arg) {
        _cleanup_free_ struct json_index *index = NULL;
        size_t kept = 0;

        if (n < 2 || (n < JSON_INDEX_FROM && surely_unique(m, n)))
                return n;
        if (n >= JSON_INDEX_FROM)
                index = index_new(n);
        for (size_t i = 0; i < n; i++) {
                struct json so_far = { .type = JSON_OBJECT, .at = (uintptr_t) m, .len = (uint32_t) kept };
                struct str key = json_key(&m[i]);
                uint32_t *slot = index ? find(index, m, key) : NULL;
                const struct json *before = slot ? (*slot == NONE ? NULL : &m[*slot].value) : json_get(&so_far, key);

                if (before) {
                        *(struct json *) before = m[i].value;
                        if (on_duplicate)
                                on_duplicate(arg, key);
                        continue;
                }
                if (slot)
                        *slot = (uint32_t) kept;
                m[kept++] = m[i];
        }
        return kept;
}
