/* Small compiler helpers used everywhere: scope-bound release, ownership transfer, array size. */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX */

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt, args) __attribute__((format(printf, fmt, args)))
#define _unused_ __attribute__((unused))
#define _packed_ __attribute__((packed))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *) ((char *) (ptr) -offsetof(type, member)))

/* Hands a pointer on and forgets it here, so that _cleanup_ does not release it. */
#define TAKE_PTR(p)                        \
        ({                                 \
                __typeof__(p) *_pp = &(p); \
                __typeof__(p) _v = *_pp;   \
                *_pp = NULL;               \
                _v;                        \
        })

/* Leaves the function with what call returned when that is a negative errno; what the function holds goes by
 * _cleanup_. For calls in a row where the first failure is the caller's failure. */
#define TRY(call)                       \
        do {                            \
                int _failed = (call);   \
                if (_failed < 0)        \
                        return _failed; \
        } while (0)

/* The value of call, to which ap is what the function was given after fmt, its last parameter that has a name. */
#define variadic(ap, fmt, call)             \
        ({                                  \
                va_list ap;                 \
                va_start(ap, fmt);          \
                __auto_type _told = (call); \
                va_end(ap);                 \
                _told;                      \
        })

/* Defines func##p(T *x), the shape that _cleanup_ wants, over func(T x). */
#define DEFINE_CLEANUP(type, func)                     \
        static inline _unused_ void func##p(type *x) { \
                if (*x)                                \
                        func(*x);                      \
        }

static inline void freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(freep)

/* Frees each. All are read before the first goes: the last may be what holds the others. */
static inline void free_each(const void *const *p, size_t n) {
        for (size_t i = 0; i < n; i++)
                free((void *) p[i]);
}
#define free_all(...) \
        free_each((const void *const[]) { __VA_ARGS__ }, sizeof((const void *[]) { __VA_ARGS__ }) / sizeof(void *))

/* Closes a file descriptor held in a scope; negative values are left alone. */
void closep(int *fd);
#define _cleanup_close_ _cleanup_(closep)
#define TAKE_FD(fd)                \
        ({                         \
                int *_fdp = &(fd); \
                int _v = *_fdp;    \
                *_fdp = -1;        \
                _v;                \
        })
