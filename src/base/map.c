/* Open addressing with linear probing; a slot is 24 bytes, its key a malloc'd copy.
 * A removed slot becomes a tombstone, so that removing while iterating moves nothing; tombstones go at the next rehash,
 * which comes when live and dead slots fill 3/4 of the table. */
#include "base/map.h"

#include "base/arena.h"

struct slot {
        char *key; /* NULL: free; TOMB: removed */
        void *value;
        uint32_t hash, len;
};

struct map {
        struct slot *slots;
        size_t cap;        /* 0 or a power of two */
        size_t live, used; /* used counts tombstones too */
        void (*free_value)(void *);
};

static char tomb;
#define TOMB (&tomb)

static bool slot_live(const struct slot *s) {
        return s->key && s->key != TOMB;
}

struct map *map_new(void (*free_value)(void *)) {
        struct map *m = xcalloc(1, sizeof(*m));

        m->free_value = free_value;
        return m;
}

void map_clear(struct map *m) {
        for (size_t i = 0; i < m->cap; i++) {
                if (!slot_live(&m->slots[i]))
                        continue;
                free(m->slots[i].key);
                if (m->free_value && m->slots[i].value)
                        m->free_value(m->slots[i].value);
        }
        free(m->slots);
        m->slots = NULL;
        m->cap = m->live = m->used = 0;
}

void map_free(struct map *m) {
        if (!m)
                return;
        map_clear(m);
        free(m);
}

size_t map_size(const struct map *m) {
        return m->live;
}

static struct slot *find(const struct map *m, struct str key, uint32_t hash) {
        if (!m->cap)
                return NULL;
        for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
                struct slot *s = &m->slots[i];

                if (!s->key)
                        return NULL;
                if (s->hash == hash && s->key != TOMB && str_eq(str_n(s->key, s->len), key))
                        return s;
        }
}

static void rehash(struct map *m, size_t cap) {
        struct slot *old = m->slots;
        size_t old_cap = m->cap;

        m->slots = xcalloc(cap, sizeof(*m->slots));
        m->cap = cap;
        m->used = m->live;
        for (size_t i = 0; i < old_cap; i++) {
                size_t at;

                if (!slot_live(&old[i]))
                        continue;
                for (at = old[i].hash & (cap - 1); m->slots[at].key; at = (at + 1) & (cap - 1))
                        ;
                m->slots[at] = old[i];
        }
        free(old);
}

void *map_get(const struct map *m, struct str key) {
        const struct slot *s = find(m, key, (uint32_t) str_hash(key));

        return s ? s->value : NULL;
}

bool map_has(const struct map *m, struct str key) {
        return find(m, key, (uint32_t) str_hash(key));
}

bool map_put(struct map *m, struct str key, void *value) {
        uint32_t hash = (uint32_t) str_hash(key);
        struct slot *s = find(m, key, hash);
        size_t i;

        if (s) {
                void *old = s->value;

                s->value = value;
                if (m->free_value && old && old != value)
                        m->free_value(old);
                return false;
        }
        if (4 * (m->used + 1) > 3 * m->cap)
                rehash(m, 2 * (m->live + 1) > m->cap ? MAX(m->cap * 2, (size_t) 8) : m->cap);
        for (i = hash & (m->cap - 1); slot_live(&m->slots[i]); i = (i + 1) & (m->cap - 1))
                ;
        s = &m->slots[i];
        if (!s->key)
                m->used++;
        *s = (struct slot) { .key = str_dup(key), .value = value, .hash = hash, .len = (uint32_t) key.n };
        m->live++;
        return true;
}

static bool take(struct map *m, struct str key, void **ret_value) {
        struct slot *s = find(m, key, (uint32_t) str_hash(key));

        if (!s)
                return false;
        char *old = s->key; /* key may be a view of it: freed last */
        *ret_value = s->value;
        s->key = TOMB;
        s->value = NULL;
        m->live--;
        free(old);
        return true;
}

void *map_take(struct map *m, struct str key) {
        void *value = NULL;

        take(m, key, &value);
        return value;
}

bool map_remove(struct map *m, struct str key) {
        void *value = NULL;

        if (!take(m, key, &value))
                return false;
        if (m->free_value && value)
                m->free_value(value);
        return true;
}

bool map_next(struct map_iter *it) {
        while (it->i < it->m->cap) {
                const struct slot *s = &it->m->slots[it->i++];

                if (!slot_live(s))
                        continue;
                it->key = str_n(s->key, s->len);
                it->value = s->value;
                return true;
        }
        return false;
}
