/* Numbers: decimal text ↔ int64 or double, with Go's reading and Go's printing. */
#include "json/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "json/text.h"

/* Up to 2^53 × 10^±22 both factors are exact doubles, and one operation rounds once (Clinger). */
static bool small_double(struct str text, double *ret) {
        static const double powers[] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
        const char *p = text.p, *end = p + text.n;
        bool negative = *p == '-', exponent_negative;
        uint64_t mantissa = 0;
        int exponent = 0, e = 0;

        for (p += negative; p < end && *p >= '0' && *p <= '9'; p++) {
                mantissa = mantissa * 10 + (uint64_t) (*p - '0');
                if (mantissa > 1ULL << 53)
                        return false;
        }
        if (p < end && *p == '.')
                for (p++; p < end && *p >= '0' && *p <= '9'; p++, exponent--) {
                        mantissa = mantissa * 10 + (uint64_t) (*p - '0');
                        if (mantissa > 1ULL << 53)
                                return false;
                }
        if (p < end) {
                p++;
                exponent_negative = *p == '-';
                p += exponent_negative || *p == '+';
                for (; p < end; p++) {
                        e = e * 10 + (*p - '0');
                        if (e > 1000)
                                return false;
                }
                exponent += exponent_negative ? -e : e;
        }
        if (exponent < -22 || exponent > 22)
                return false;
        *ret = exponent < 0 ? (double) mantissa / powers[-exponent] : (double) mantissa * powers[exponent];
        if (negative)
                *ret = -*ret;
        return true;
}

static int big_double(struct str text, double *ret) {
        char small[128], *copy = text.n < sizeof(small) ? small : xmalloc(text.n + 1);

        memcpy(copy, text.p, text.n);
        copy[text.n] = 0;
        *ret = strtod(copy, NULL);
        if (copy != small)
                free(copy);
        return isfinite(*ret) ? 0 : -ERANGE;
}

int json_decode_number(struct str text, struct json *ret) {
        double d = 0;
        int64_t i;
        int r = 0;

        if (text.n <= 20 && str_to_i64(text, &i) >= 0) {
                *ret = json_of_int(i);
                return 0;
        }
        if (!small_double(text, &d))
                r = big_double(text, &d);
        if (r >= 0)
                *ret = json_of_double(d);
        return r;
}

/* ---- printing ---- */

/* The fewest digits that read back as d: "d.ddde±x" in text. */
static void shortest(double d, char text[static 32]) {
        /* A normal double is told apart by 17 digits and tells 15 apart; a subnormal may need as few as one. */
        for (int precision = fabs(d) < 2.3e-308 ? 1 : 15; precision <= 17; precision++) {
                snprintf(text, 32, "%.*e", precision - 1, d);
                if (strtod(text, NULL) == d)
                        return;
        }
}

struct str json_format_double(char dst[static 32], double d) {
        char text[32], digits[20], *p = dst, *e;
        int n = 0, exponent;

        if (d == 0 || !isfinite(d)) {
                /* JSON has no NaN and no infinity; Go refuses them, and no object holds one. */
                const char *zero = !isfinite(d) ? "null" : signbit(d) ? "-0" : "0";

                return str_n(strcpy(dst, zero), strlen(zero));
        }
        if (d < 0)
                *p++ = '-';
        d = fabs(d);
        shortest(d, text);
        e = strchr(text, 'e');
        exponent = atoi(e + 1);
        for (const char *c = text; c < e; c++)
                if (*c != '.')
                        digits[n++] = *c;
        while (n > 1 && digits[n - 1] == '0')
                n--;

        if (d < 1e-6 || d >= 1e21) {
                *p++ = digits[0];
                if (n > 1)
                        *p++ = '.';
                memcpy(p, digits + 1, (size_t) n - 1);
                p += n - 1;
                p += snprintf(p, 8, "e%c%d", exponent < 0 ? '-' : '+', abs(exponent));
                return str_n(dst, (size_t) (p - dst));
        }
        if (exponent < 0) {
                *p++ = '0';
                *p++ = '.';
                for (int i = -1; i > exponent; i--)
                        *p++ = '0';
        }
        for (int i = 0; i < n || i <= exponent; i++) {
                if (i == exponent + 1 && exponent >= 0)
                        *p++ = '.';
                *p++ = i < n ? digits[i] : '0';
        }
        return str_n(dst, (size_t) (p - dst));
}
