/* UTF-8. What is not valid is U+FFFD for each byte of it, as Go has it. */
#pragma once

#include <stddef.h>

#include "base/str.h"

/* Length (1 to 4) of the UTF-8 sequence at p, 0 when it is not valid: overlong forms and surrogates are not. */
static inline size_t utf8_sequence(const char *s, const char *end) {
        const uint8_t *p = (const uint8_t *) s;
        ptrdiff_t left = end - s;

        if (p[0] < 0x80)
                return 1;
        if (p[0] < 0xc2 || p[0] > 0xf4 || left < 2)
                return 0;
        if (p[0] < 0xe0)
                return (p[1] & 0xc0) == 0x80 ? 2 : 0;
        if (p[0] < 0xf0)
                return left >= 3 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && (p[0] != 0xe0 || p[1] >= 0xa0) &&
                                                       (p[0] != 0xed || p[1] < 0xa0)
                                       ? 3
                                       : 0;
        return left >= 4 && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 &&
                                               (p[0] != 0xf0 || p[1] >= 0x90) && (p[0] != 0xf4 || p[1] < 0x90)
                               ? 4
                               : 0;
}

/* The character at *at, which is before the end; goes past it. */
static inline uint32_t utf8_next(struct str s, size_t *at) {
        const uint8_t *p = (const uint8_t *) s.p + *at;
        size_t n = utf8_sequence(s.p + *at, s.p + s.n);
        uint32_t c = *p & (n <= 1 ? 0x7fU : 0x7fU >> n);

        for (size_t i = 1; i < n; i++)
                c = c << 6 | (p[i] & 0x3f);
        *at += n ? n : 1;
        return n ? c : 0xfffd;
}

/* Writes code point c; returns the end. */
static inline char *utf8_put(char *p, uint32_t c) {
        if (c < 0x80)
                *p++ = (char) c;
        else if (c < 0x800) {
                *p++ = (char) (0xc0 | c >> 6);
                *p++ = (char) (0x80 | (c & 63));
        } else if (c < 0x10000) {
                *p++ = (char) (0xe0 | c >> 12);
                *p++ = (char) (0x80 | (c >> 6 & 63));
                *p++ = (char) (0x80 | (c & 63));
        } else {
                *p++ = (char) (0xf0 | c >> 18);
                *p++ = (char) (0x80 | (c >> 12 & 63));
                *p++ = (char) (0x80 | (c >> 6 & 63));
                *p++ = (char) (0x80 | (c & 63));
        }
        return p;
}
