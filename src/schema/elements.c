/* Items of lists by their names: in turn while they are few, by a hash table when they are many. */
#include "schema/elements.h"

#define MANY 16

struct elements elements_new(struct arena *a, size_t n_max) {
        struct elements e = { .v = arena_array(a, struct element, n_max + 1) };

        if (n_max < MANY)
                return e;
        for (e.mask = MANY; e.mask < 2 * n_max; e.mask *= 2)
                ;
        e.slots = arena_array(a, uint32_t, e.mask--);
        return e;
}

/* The slot of the text, or where it would go. */
static uint32_t *slot_of(const struct elements *e, struct str text) {
        size_t i = str_hash(text) & e->mask;

        while (e->slots[i] && !str_eq(e->v[e->slots[i] - 1].text, text))
                i = (i + 1) & e->mask;
        return &e->slots[i];
}

ssize_t elements_find(const struct elements *e, struct str text) {
        if (!text.p)
                return -1;
        if (e->slots)
                return (ssize_t) *slot_of(e, text) - 1;
        for (size_t i = 0; i < e->n; i++)
                if (e->v[i].text.p && str_eq(e->v[i].text, text))
                        return (ssize_t) i;
        return -1;
}

bool elements_add(struct elements *e, struct str text) {
        ssize_t first = elements_find(e, text);
        uint32_t at = (uint32_t) e->n++;

        e->v[at] = (struct element) { .text = text, .first = at, .last = at };
        if (first >= 0) {
                e->v[at].first = (uint32_t) first;
                e->v[e->v[first].last].next = at;
                e->v[first].last = at;
        } else if (e->slots && text.p)
                *slot_of(e, text) = at + 1;
        return first >= 0;
}
