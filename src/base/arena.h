/* An arena: memory with one life. Chunks grow geometrically; everything goes at once.
 * Not thread-safe. Running out of memory aborts the process (cube is crash-safe; half-handled ENOMEM is not). */
#pragma once

#include <stdarg.h>

#include "base/macro.h"
#include "base/str.h"

struct arena;

struct arena *arena_new(size_t first_chunk); /* first_chunk bytes, 0 for a default of 4 KiB */
void arena_free(struct arena *a);            /* NULL is fine */
void arena_reset(struct arena *a);           /* empties it, keeps its first chunk */
size_t arena_size(const struct arena *a);    /* bytes taken from the system */
DEFINE_CLEANUP(struct arena *, arena_free)

void *arena_alloc(struct arena *a, size_t n);  /* aligned to 8, to 16 where n is a multiple of 16; not cleared */
void *arena_alloc4(struct arena *a, size_t n); /* aligned to 4 only, for what is many and packed */
void *arena_alloc0(struct arena *a, size_t n); /* cleared */
void *arena_dup(struct arena *a, const void *p, size_t n);
struct str arena_str(struct arena *a, struct str s); /* a copy, NUL-terminated after its end */
char *arena_cstr(struct arena *a, struct str s);     /* the same as a C string */
struct str arena_printf(struct arena *a, const char *fmt, ...) _printf_(2, 3); /* NUL-terminated after its end */
struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap) _printf_(2, 0);

#define arena_new_of(a, type) ((type *) arena_alloc0((a), sizeof(type)))
#define arena_array(a, type, n) ((type *) arena_alloc0((a), sizeof(type) * (size_t) (n)))

/* malloc that aborts, for what is not in an arena. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
/* xnew(struct pump, .fd = fd, .open = true): the rest is zero. */
#define xnew(type, ...)                             \
        ({                                          \
                type *_new = xmalloc(sizeof(type)); \
                *_new = (type) { __VA_ARGS__ };     \
                _new;                               \
        })
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xprintf(const char *fmt, ...) _printf_(1, 2);
char *xvprintf(const char *fmt, va_list ap) _printf_(1, 0);
