/* A typed growing array:
 *   VEC(struct pod *) pods = {0}; vec_push(&pods, p); for (i < pods.n) pods.v[i]; vec_free(&pods). */
#pragma once

#include "base/arena.h"

#define VEC(type)              \
        struct {               \
                type *v;       \
                size_t n, cap; \
        }

#define vec_reserve(vec, want)                                                              \
        do {                                                                                \
                if ((vec)->cap < (size_t) (want)) {                                         \
                        (vec)->cap = MAX((size_t) (want), (vec)->cap ? (vec)->cap * 2 : 8); \
                        (vec)->v = xrealloc((vec)->v, (vec)->cap * sizeof(*(vec)->v));      \
                }                                                                           \
        } while (0)
#define vec_push(vec, ...)                          \
        do {                                        \
                vec_reserve(vec, (vec)->n + 1);     \
                (vec)->v[(vec)->n++] = __VA_ARGS__; \
        } while (0)
/* The same for one that lives in an arena and is never freed. */
#define vec_push_in(a, vec, ...)                                                      \
        do {                                                                          \
                if ((vec)->n == (vec)->cap) {                                         \
                        void *_old = (vec)->v;                                        \
                        (vec)->cap = MAX((vec)->cap * 2, (size_t) 4);                 \
                        (vec)->v = arena_alloc((a), (vec)->cap * sizeof(*(vec)->v));  \
                        if ((vec)->n > 0)                                             \
                                memcpy((vec)->v, _old, (vec)->n * sizeof(*(vec)->v)); \
                }                                                                     \
                (vec)->v[(vec)->n++] = __VA_ARGS__;                                   \
        } while (0)
#define vec_pop(vec) ((vec)->v[--(vec)->n])
/* Takes element i out and keeps the order of the rest. */
#define vec_remove(vec, i)                                                                          \
        do {                                                                                        \
                size_t _i = (i);                                                                    \
                memmove(&(vec)->v[_i], &(vec)->v[_i + 1], ((vec)->n - _i - 1) * sizeof(*(vec)->v)); \
                (vec)->n--;                                                                         \
        } while (0)
#define vec_free(vec)                      \
        do {                               \
                free((vec)->v);            \
                (vec)->v = NULL;           \
                (vec)->n = (vec)->cap = 0; \
        } while (0)
