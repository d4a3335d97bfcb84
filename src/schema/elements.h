/* The items of a list by what names each: its merge key, its keys, or itself. Found fast however many they are. */
#pragma once

#include "json/json.h"

struct elements {
        struct element {
                struct str text; /* p == NULL: the item has none, and is never found */
                uint32_t first, next,
                                last; /* of the same text: the first one; the one after this, 0 for none; first.last */
        } * v;
        size_t n, mask;
        uint32_t *slots; /* 1 + the first of a text, by hash; NULL: they are few */
};

struct elements elements_new(struct arena *a, size_t n_max);      /* room for so many */
ssize_t elements_find(const struct elements *e, struct str text); /* the first one with that text; -1: there is none */
bool elements_add(struct elements *e, struct str text);           /* a view; returns whether it was there before */
/* The next one of the same text, or -1. */
static inline ssize_t elements_next(const struct elements *e, ssize_t at) {
        return e->v[at].next ? (ssize_t) e->v[at].next : -1;
}
