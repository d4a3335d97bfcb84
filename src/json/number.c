/* Numbers: decimal text ↔ int64 or double, with Go's reading and Go's printing. */
#include "json/number.h"

#include <math.h>

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

/* The shortest decimal that reads back as the number: d.ddd × 10^exponent. */
struct decimal {
        char digits[20];
        int n, exponent;
};

static struct decimal shortest(double d, bool single) {
        struct decimal r = { 0 };
        char text[32], *e;
        /* A normal double tells 15 digits apart and needs up to 17; a subnormal may need as few as one. */
        int precision = single || fabs(d) < 2.3e-308 ? 1 : 15;

        for (;; precision++) {
                snprintf(text, sizeof(text), "%.*e", precision - 1, d);
                if (precision == 17 || (single ? strtof(text, NULL) == (float) d : strtod(text, NULL) == d))
                        break;
        }
        e = strchr(text, 'e');
        r.exponent = atoi(e + 1);
        for (const char *c = text; c < e; c++)
                if (*c != '.')
                        r.digits[r.n++] = *c;
        while (r.n > 1 && r.digits[r.n - 1] == '0')
                r.n--;
        return r;
}

/* exponent_digits: at least so many. */
static char *put_scientific(char *p, const struct decimal *d, int exponent_digits) {
        *p++ = d->digits[0];
        if (d->n > 1)
                *p++ = '.';
        p = mempcpy(p, d->digits + 1, (size_t) d->n - 1);
        return p + snprintf(p, 8, "e%c%0*d", d->exponent < 0 ? '-' : '+', exponent_digits, abs(d->exponent));
}

static char *put_fixed(char *p, const struct decimal *d) {
        if (d->exponent < 0) {
                *p++ = '0';
                *p++ = '.';
                for (int i = -1; i > d->exponent; i--)
                        *p++ = '0';
        }
        for (int i = 0; i < d->n || i <= d->exponent; i++) {
                if (i == d->exponent + 1 && d->exponent >= 0)
                        *p++ = '.';
                *p++ = i < d->n ? d->digits[i] : '0';
        }
        return p;
}

static struct str format(char *dst, double d, bool single, bool as_g) {
        char *p = dst;

        /* JSON has no NaN and no infinity; Go refuses them, and no object holds one. */
        if (!isfinite(d))
                return str_n(strcpy(dst, "null"), 4);
        if (signbit(d))
                *p++ = '-';
        d = fabs(d);
        if (d == 0) {
                *p++ = '0';
                return str_n(dst, (size_t) (p - dst));
        }
        struct decimal digits = shortest(d, single);
        bool scientific = as_g ? digits.exponent < -4 || digits.exponent >= 6 : d < 1e-6 || d >= 1e21;
        p = scientific ? put_scientific(p, &digits, as_g ? 2 : 1) : put_fixed(p, &digits);
        return str_n(dst, (size_t) (p - dst));
}

struct str json_format_double(char dst[static 32], double d) {
        return format(dst, d, false, false);
}

struct str json_format_double_g(char dst[static 32], double d) {
        return format(dst, d, false, true);
}

struct str json_format_float(char dst[static 32], float f) {
        return format(dst, (double) f, true, true);
}
