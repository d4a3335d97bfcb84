/* Finding keys among many: a table of positions by hash, used where a linear search for each key would be quadratic.
 * For the few keys most objects have, a bitmap of 256 hashes proves that there is no duplicate without a comparison. */
#include "json/text.h"

#define NONE UINT32_MAX

struct json_index {
        const struct json_member *members;
        uint32_t mask;
        uint32_t slots[]; /* positions, NONE when free */
};

static struct json_index *index_new(const struct json_member *m, size_t n) {
        size_t cap = 16;
        struct json_index *x;

        while (cap < 2 * n)
                cap *= 2;
        x = xmalloc(sizeof(*x) + cap * sizeof(x->slots[0]));
        x->members = m;
        x->mask = (uint32_t) (cap - 1);
        memset(x->slots, 0xff, cap * sizeof(x->slots[0]));
        return x;
}

/* The slot of the key: its position, or NONE where it would go. */
static uint32_t *find(const struct json_index *x, struct str key) {
        for (uint32_t i = (uint32_t) str_hash(key) & x->mask;; i = (i + 1) & x->mask) {
                uint32_t at = x->slots[i];

                if (at == NONE || str_eq(json_key(&x->members[at]), key))
                        return (uint32_t *) &x->slots[i];
        }
}

struct json_index *json_index_new(const struct json *object) {
        struct json_index *x = index_new(json_members(object), object->len);

        for (uint32_t i = 0; i < object->len; i++)
                *find(x, json_key(&json_members(object)[i])) = i;
        return x;
}

const struct json *json_index_get(const struct json_index *x, struct str key) {
        uint32_t at = *find(x, key);

        return at == NONE ? NULL : &x->members[at].value;
}

void json_index_free(struct json_index *x) {
        free(x);
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
        _cleanup_(json_index_freep) struct json_index *index = NULL;
        size_t kept = 0;

        if (n < 2 || (n < JSON_INDEX_FROM && surely_unique(m, n)))
                return n;
        if (n >= JSON_INDEX_FROM)
                index = index_new(m, n);
        for (size_t i = 0; i < n; i++) {
                struct json so_far = { .type = JSON_OBJECT, .at = (uintptr_t) m, .len = (uint32_t) kept };
                struct str key = json_key(&m[i]);
                uint32_t *slot = index ? find(index, key) : NULL;
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
