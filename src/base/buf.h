/* A growing byte buffer on the heap. */
#pragma once

#include "base/macro.h"
#include "base/str.h"

struct buf {
        char *p;
        size_t n; /* bytes in use */
        size_t cap;
};

#define BUF_INIT ((struct buf) { 0 })

void buf_free(struct buf *b); /* leaves an empty buf; also the shape _cleanup_ wants */
#define _cleanup_buf_ _cleanup_(buf_free)

void buf_grow(struct buf *b, size_t more); /* the slow half of buf_reserve */
/* Room for more bytes after n; returns where they go. */
static inline char *buf_reserve(struct buf *b, size_t more) {
        if (__builtin_expect(!b->p || b->cap - b->n < more, 0))
                buf_grow(b, more);
        return b->p + b->n;
}
void buf_add(struct buf *b, const void *p, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_addc(struct buf *b, const char *cstr);
static inline void buf_putc(struct buf *b, char c) {
        *buf_reserve(b, 1) = c;
        b->n++;
}
void buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);
void buf_add_u64(struct buf *b, uint64_t v); /* decimal */
void buf_consume(struct buf *b, size_t n);   /* drops n bytes from the front */
static inline struct str buf_str(const struct buf *b) {
        return (struct str) { b->p, b->n };
}
char *buf_take(struct buf *b, size_t *ret_n); /* NUL-terminated, malloc'd; the buf becomes empty. ret_n may be NULL */
