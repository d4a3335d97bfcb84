/* A hash map from strings to pointers: open addressing, keys copied into the map. Not thread-safe.
 * Iteration order is arbitrary; the map may not change while it is iterated, except map_remove of the current key. */
#pragma once

#include "base/macro.h"
#include "base/str.h"

struct map;

struct map *map_new(void (*free_value)(void *)); /* free_value may be NULL: values are borrowed */
void map_free(struct map *m);
DEFINE_CLEANUP(struct map *, map_free)
void map_clear(struct map *m);

size_t map_size(const struct map *m);
void *map_get(const struct map *m, struct str key); /* NULL when absent */
bool map_has(const struct map *m, struct str key);
/* Replaces (and frees) what was there; true when the key is new. */
bool map_put(struct map *m, struct str key, void *value);
void *map_take(struct map *m, struct str key);  /* removes without freeing the value */
bool map_remove(struct map *m, struct str key); /* true when it was there */

struct map_iter {
        const struct map *m;
        size_t i;
        struct str key;
        void *value;
};
#define MAP_ITER(map) ((struct map_iter) { .m = (map) })
bool map_next(struct map_iter *it);
/* Each it.key and it.value. */
#define map_each(it, map) for (struct map_iter it = MAP_ITER(map); map_next(&it);)
