/* A chain of chunks; the newest is at the head and is the one being filled.
 *
 *   arena ─▶ [chunk 16K ····    ] ─▶ [chunk 8K ·········] ─▶ [first 4K: struct arena · ·········]
 *             p──────▲    ▲──end
 *
 * The struct lives in its own first chunk, so a small arena is one malloc. What does not fit and is large gets a chunk
 * of its own behind the head, so that the head's free space is not lost. */
#include "base/arena.h"

#include <limits.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define poison(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define unpoison(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define poison(p, n) ((void) 0)
#define unpoison(p, n) ((void) 0)
#endif

#define DEFAULT_CHUNK 4096
#define MAX_CHUNK (256 * 1024) /* growth stops here: an arena never holds more than this in vain */

struct chunk {
        struct chunk *next;
        size_t size; /* bytes after this header */
        char data[];
};

struct arena {
        char *p, *end;
        struct chunk *chunks;
        size_t next_chunk;
        size_t total;
};

static struct chunk *chunk_new(size_t size) {
        struct chunk *c = xmalloc(sizeof(*c) + size);

        c->next = NULL;
        c->size = size;
        poison(c->data, size);
        return c;
}

static size_t next_after(const struct chunk *c) {
        return MIN(2 * (c->size + sizeof(*c)), (size_t) MAX_CHUNK);
}

static void chunk_free(struct chunk *c) {
        unpoison(c->data, c->size);
        free(c);
}

struct arena *arena_new(size_t first_chunk) {
        size_t size = MAX(first_chunk ? first_chunk : DEFAULT_CHUNK, sizeof(struct arena) + 64) - sizeof(struct chunk);
        struct chunk *c = chunk_new(MAX(size, sizeof(struct arena)));
        struct arena *a = (struct arena *) c->data;

        unpoison(a, sizeof(*a));
        *a = (struct arena) {
                .p = c->data + sizeof(*a),
                .end = c->data + c->size,
                .chunks = c,
                .next_chunk = next_after(c),
                .total = c->size + sizeof(*c),
        };
        return a;
}

/* Frees every chunk but the first, which holds the arena itself. */
static struct chunk *drop_chunks(struct arena *a) {
        struct chunk *c = a->chunks;

        while (c->next) {
                struct chunk *next = c->next;

                chunk_free(c);
                c = next;
        }
        return c;
}

void arena_free(struct arena *a) {
        if (a)
                chunk_free(drop_chunks(a));
}

void arena_reset(struct arena *a) {
        struct chunk *c = drop_chunks(a);

        a->chunks = c;
        a->p = c->data + sizeof(*a);
        a->end = c->data + c->size;
        a->total = c->size + sizeof(*c);
        a->next_chunk = next_after(c);
        poison(a->p, (size_t) (a->end - a->p));
}

size_t arena_size(const struct arena *a) {
        return a->total;
}

static __attribute__((noinline)) void *alloc_slow(struct arena *a, size_t n) {
        size_t size = a->next_chunk - sizeof(struct chunk);
        bool own = n > size / 4;

        if (n > SIZE_MAX / 2)
                abort();
        struct chunk *c = chunk_new(own ? n + 16 : size);
        a->total += c->size + sizeof(*c);
        char *p = (char *) (((uintptr_t) c->data + 15) & ~(uintptr_t) 15);
        if (own) {
                c->next = a->chunks->next;
                a->chunks->next = c;
                /* The head must stay the one being filled, and the first chunk the last of the chain. */
                if (!c->next) {
                        c->next = a->chunks;
                        a->chunks->next = NULL;
                        a->chunks = c;
                }
        } else {
                c->next = a->chunks;
                a->chunks = c;
                a->p = p + n;
                a->end = c->data + c->size;
                a->next_chunk = MIN(2 * a->next_chunk, (size_t) MAX_CHUNK);
        }
        unpoison(p, n);
        return p;
}

static inline void *alloc(struct arena *a, size_t n, size_t align) {
        char *p = (char *) (((uintptr_t) a->p + align - 1) & ~(uintptr_t) (align - 1));

        if (__builtin_expect(p > a->end || n > (size_t) (a->end - p), 0))
                return alloc_slow(a, n);
        a->p = p + n;
        unpoison(p, n);
        return p;
}

void *arena_alloc(struct arena *a, size_t n) {
        return alloc(a, n, n % 16 ? 8 : 16); /* what needs 16 has a size that is a multiple of 16 */
}

void *arena_alloc4(struct arena *a, size_t n) {
        return alloc(a, n, 4);
}

void *arena_alloc0(struct arena *a, size_t n) {
        return memset(arena_alloc(a, n), 0, n);
}

void *arena_dup(struct arena *a, const void *p, size_t n) {
        void *q = arena_alloc(a, n);

        return n ? memcpy(q, p, n) : q;
}

struct str arena_str(struct arena *a, struct str s) {
        return str_n(arena_cstr(a, s), s.n);
}

char *arena_cstr(struct arena *a, struct str s) {
        char *c = arena_alloc(a, s.n + 1);

        if (s.n)
                memcpy(c, s.p, s.n);
        c[s.n] = 0;
        return c;
}

/* What only has %s and %.*s, as most have, and is short: many times quicker than printf. -1: it is not. */
static int print_plain(char *dst, size_t size, const char *fmt, va_list ap) {
        size_t n = 0, length;

        while (*fmt) {
                const char *s = fmt;
                if (*fmt != '%') {
                        fmt = strchrnul(fmt, '%');
                        length = (size_t) (fmt - s);
                } else if (fmt[1] == 's' || strncmp(fmt, "%.*s", 4) == 0) {
                        int limit = fmt[1] == 's' ? INT_MAX : va_arg(ap, int);

                        fmt += fmt[1] == 's' ? 2 : 4;
                        s = va_arg(ap, const char *);
                        if (!s || limit < 0)
                                return -1;
                        length = strnlen(s, (size_t) limit);
                } else {
                        return -1;
                }
                if (length >= size - n)
                        return -1;
                memcpy(dst + n, s, length);
                n += length;
        }
        dst[n] = 0;
        return (int) n;
}

struct str arena_vprintf(struct arena *a, const char *fmt, va_list ap) {
        char text[256], *p;
        va_list again;

        va_copy(again, ap);
        int n = print_plain(text, sizeof(text), fmt, again);
        va_end(again);
        va_copy(again, ap);
        if (n < 0)
                n = vsnprintf(text, sizeof(text), fmt, ap);
        if (n < 0)
                abort();
        p = arena_alloc(a, (size_t) n + 1);
        if ((size_t) n < sizeof(text))
                memcpy(p, text, (size_t) n + 1);
        else
                vsnprintf(p, (size_t) n + 1, fmt, again);
        va_end(again);
        return str_n(p, (size_t) n);
}

struct str arena_printf(struct arena *a, const char *fmt, ...) {
        return variadic(ap, fmt, arena_vprintf(a, fmt, ap));
}

static __attribute__((noreturn)) void out_of_memory(void) {
        fputs("cube: out of memory\n", stderr);
        abort();
}

void *xmalloc(size_t n) {
        void *p = malloc(n ? n : 1);

        if (!p)
                out_of_memory();
        return p;
}

void *xcalloc(size_t n, size_t size) {
        void *p = calloc(n ? n : 1, size ? size : 1);

        if (!p)
                out_of_memory();
        return p;
}

void *xrealloc(void *p, size_t n) {
        p = realloc(p, n ? n : 1);
        if (!p)
                out_of_memory();
        return p;
}

char *xstrdup(const char *s) {
        return str_dup(str_of(s));
}

char *xvprintf(const char *fmt, va_list ap) {
        char *p;

        if (vasprintf(&p, fmt, ap) < 0)
                out_of_memory();
        return p;
}

char *xprintf(const char *fmt, ...) {
        return variadic(ap, fmt, xvprintf(fmt, ap));
}
