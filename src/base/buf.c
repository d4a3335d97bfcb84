/* A growing byte buffer: doubles, so that n appends cost O(n). */
#include "base/buf.h"

#include "base/arena.h"

void buf_free(struct buf *b) {
        free(b->p);
        *b = BUF_INIT;
}

void buf_grow(struct buf *b, size_t more) {
        size_t want;

        if (__builtin_add_overflow(b->n, more, &want) || want > SIZE_MAX / 4)
                abort();
        b->cap = MAX(want, MAX(b->cap * 2, (size_t) 64));
        b->p = xrealloc(b->p, b->cap);
}

void buf_add(struct buf *b, const void *p, size_t n) {
        if (n == 0)
                return;
        memcpy(buf_reserve(b, n), p, n);
        b->n += n;
}

void buf_add_str(struct buf *b, struct str s) {
        buf_add(b, s.p, s.n);
}

void buf_addc(struct buf *b, const char *cstr) {
        buf_add(b, cstr, strlen(cstr));
}

void buf_printf(struct buf *b, const char *fmt, ...) {
        va_list ap, again;

        buf_reserve(b, 64);
        size_t room = b->cap - b->n;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(b->p + b->n, room, fmt, ap);
        va_end(ap);
        if (n < 0)
                abort();
        if ((size_t) n >= room)
                vsnprintf(buf_reserve(b, (size_t) n + 1), (size_t) n + 1, fmt, again);
        va_end(again);
        b->n += (size_t) n;
}

void buf_add_u64(struct buf *b, uint64_t v) {
        char digits[20], *p = digits + sizeof(digits);

        do
                *--p = (char) ('0' + v % 10);
        while (v /= 10);
        buf_add(b, p, (size_t) (digits + sizeof(digits) - p));
}

void buf_consume(struct buf *b, size_t n) {
        n = MIN(n, b->n);
        if (n == 0)
                return;
        b->n -= n;
        memmove(b->p, b->p + n, b->n);
}

char *buf_take(struct buf *b, size_t *ret_n) {
        *buf_reserve(b, 1) = 0;
        char *p = b->p;
        if (ret_n)
                *ret_n = b->n;
        *b = BUF_INIT;
        return p;
}
