/* Quantities. Everything is kept in 10^-9 in an __int128, which holds ±1.7e29 whole units: more than any cluster has,
 * and more than int64 gives. Beyond that values saturate, and only their text stays. Upstream keeps a text that is
 * canonical already as it was given ("+5", "1.500"), so parsing tells whether it is. */
#include "schema/quantity.h"

#define INT128_MAX ((__int128) (~(unsigned __int128) 0 >> 1))
#define NANO ((__int128) 1000000000)

static int format_wrong(struct error *err) {
        return error_set(err, -EINVAL,
                         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}

/* The text in its parts: "-012.50Ki" is sign, num "12", denom "50", suffix "Ki". */
struct parts {
        bool negative, empty; /* it has no digit */
        struct str num, denom, suffix;
};

static size_t span_digits(struct str s, size_t at) {
        size_t n = 0;

        while (at + n < s.n && s.p[at + n] >= '0' && s.p[at + n] <= '9')
                n++;
        return n;
}

static int split(struct str s, struct parts *ret) {
        struct parts p = { .num = STR("0"), .denom = STR(""), .suffix = STR("") };
        size_t at = 0, n, first;

        if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+'))
                p.negative = s.p[at++] == '-';
        first = at;
        while (at < s.n && s.p[at] == '0')
                at++;
        n = span_digits(s, at);
        if (n > 0)
                p.num = str_n(s.p + at, n);
        at += n;
        p.empty = at == first;
        if (at < s.n && s.p[at] == '.') {
                n = span_digits(s, ++at);
                p.denom = str_n(s.p + at, n);
                p.empty = p.empty && n == 0;
                at += n;
        }
        p.suffix = str_n(s.p + at, s.n - at);
        while (at < s.n && s.p[at] && strchr("eEinumkKMGTP", s.p[at]))
                at++;
        if (at < s.n && (s.p[at] == '-' || s.p[at] == '+'))
                at++;
        if (at + span_digits(s, at) != s.n)
                return -EINVAL;
        *ret = p;
        return 0;
}

static const struct { /* the usual ones first */
        struct str suffix;
        int base, exponent;
} suffixes[] = {
        { STR_INIT("Mi"), 2, 20 }, { STR_INIT("m"), 10, -3 }, { STR_INIT(""), 10, 0 },   { STR_INIT("Gi"), 2, 30 },
        { STR_INIT("Ki"), 2, 10 }, { STR_INIT("k"), 10, 3 },  { STR_INIT("M"), 10, 6 },  { STR_INIT("G"), 10, 9 },
        { STR_INIT("n"), 10, -9 }, { STR_INIT("u"), 10, -6 }, { STR_INIT("T"), 10, 12 }, { STR_INIT("P"), 10, 15 },
        { STR_INIT("E"), 10, 18 }, { STR_INIT("Ti"), 2, 40 }, { STR_INIT("Pi"), 2, 50 }, { STR_INIT("Ei"), 2, 60 },
};

static int interpret(struct str s, int64_t *ret_exponent, enum quantity_format *ret_format) {
        int64_t v;

        for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
                if (str_eq(s, suffixes[i].suffix)) {
                        *ret_exponent = suffixes[i].exponent;
                        *ret_format = suffixes[i].base == 2 ? QUANTITY_BINARY_SI : QUANTITY_DECIMAL_SI;
                        return 0;
                }
        if (s.n < 2 || (s.p[0] != 'e' && s.p[0] != 'E'))
                return -EINVAL;
        struct str number = str_sub(s, 1, s.n);
        if (number.p[0] == '+')
                number = str_sub(number, 1, number.n);
        if (str_to_i64(number, &v) < 0)
                return -EINVAL;
        *ret_exponent = (int32_t) v;
        *ret_format = QUANTITY_DECIMAL_EXPONENT;
        return 0;
}

static __int128 times(__int128 a, __int128 b) { /* neither negative; saturates */
        __int128 c;

        return __builtin_mul_overflow(a, b, &c) ? INT128_MAX : c;
}

static uint64_t digits_value(struct str num, struct str denom) { /* at most 18 */
        uint64_t v = 0;

        for (size_t i = 0; i < num.n; i++)
                v = v * 10 + (uint64_t) (num.p[i] - '0');
        for (size_t i = 0; i < denom.n; i++)
                v = v * 10 + (uint64_t) (denom.p[i] - '0');
        return v;
}

static const int64_t powers[] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, NANO };

/* v * 10^exponent, rounded away from zero. */
static __int128 scale(__int128 v, int64_t exponent) {
        bool rest = false;

        if (v == 0)
                return 0;
        if (exponent >= 0 && exponent < (int64_t) ARRAY_SIZE(powers) && v <= INT64_MAX)
                return v * powers[exponent];
        for (; exponent > 0 && v < INT128_MAX; exponent--)
                v = times(v, 10);
        for (; exponent < 0; exponent++) {
                rest = rest || v % 10 != 0;
                v /= 10;
                if (v == 0)
                        break;
        }
        return v + rest;
}

/* Whether upstream keeps the text instead of printing the value: see ParseQuantity's fast path. */
static bool keeps_text(const struct parts *p, int64_t exponent, enum quantity_format format) {
        int64_t length = (int64_t) (p->num.n + p->denom.n);
        struct str last = p->denom.n ? p->denom : p->num;

        if (format == QUANTITY_BINARY_SI)
                return p->denom.n == 0 && 15 - (int64_t) p->num.n - exponent * 3 / 10 - 1 >= 0 &&
                       (digits_value(p->num, p->denom) & 7) != 0;
        if (length > 18 || exponent - (int64_t) p->denom.n < -9 || (exponent - (int64_t) p->denom.n) % 3 != 0 ||
            p->num.p[0] == '0')
                return false;
        if (p->denom.n > 0 && p->denom.n < 3) { /* does the whole end in three zeros? */
                size_t zeros = 0;

                while (zeros < last.n && last.p[last.n - 1 - zeros] == '0')
                        zeros++;
                if (zeros < last.n)
                        return true;
                while (zeros < 3 && zeros - last.n < p->num.n && p->num.p[p->num.n - 1 - (zeros - last.n)] == '0')
                        zeros++;
                return zeros < 3;
        }
        return !str_has_suffix(last, STR("000"));
}

/* ---- what 64 bits do not hold: digit by digit ---- */

#define CARRIED 20 /* digits that come to the front of 2^60 times a number */

/* The digits of 2^power times p, rounded up to 10^-9; *exponent: what they are multiplied with, before and after. */
static void widen(struct buf *digits, struct parts p, int power, int64_t *exponent) {
        size_t drop = *exponent < -9 ? (size_t) (-9 - *exponent) : 0, keep;
        bool rest = false;

        buf_add(digits, "00000000000000000000", CARRIED);
        buf_add_str(digits, p.num);
        buf_add_str(digits, p.denom);
        for (; power > 0; power -= 10)
                for (size_t i = digits->n, carry = 0; i-- > 0; carry /= 10) {
                        carry += (size_t) (digits->p[i] - '0') << 10;
                        digits->p[i] = (char) ('0' + carry % 10);
                }
        keep = digits->n > drop ? digits->n - drop : 0;
        while (digits->n > keep)
                rest = digits->p[--digits->n] != '0' || rest;
        if (keep == 0)
                buf_putc(digits, '0');
        for (size_t i = digits->n; rest; digits->p[i] = rest ? '0' : (char) (digits->p[i] + 1))
                rest = digits->p[--i] == '9';
        *exponent += (int64_t) drop;
}

static int parse(struct str text, struct quantity *ret, bool *ret_keep, struct error *err) {
        _cleanup_buf_ struct buf digits = BUF_INIT;
        struct quantity q = { 0 };
        struct parts p;
        int64_t exponent;
        int power = 0;

        if (text.n == 0 || split(text, &p) < 0)
                return format_wrong(err);
        if (interpret(p.suffix, &exponent, &q.format) < 0)
                return error_set(err, -EINVAL, "unable to parse quantity's suffix");
        if (p.empty &&
            (q.format == QUANTITY_BINARY_SI ? exponent >= 50 : exponent < -9)) /* else upstream takes it for 0 */
                return error_set(err, -EINVAL, "unable to parse numeric part of quantity");
        if (ret_keep)
                *ret_keep = keeps_text(&p, exponent, q.format);
        if (q.format == QUANTITY_BINARY_SI) {
                power = (int) exponent;
                exponent = 0;
        }
        exponent -= (int64_t) p.denom.n;
        if (p.num.n + p.denom.n <= 18) /* as almost always */
                q.nano = scale(times(digits_value(p.num, p.denom), (__int128) 1 << power), exponent + 9);
        else {
                widen(&digits, p, power, &exponent);
                for (size_t i = 0; i < digits.n; i++) {
                        q.nano = times(q.nano, 10);
                        q.nano += MIN(INT128_MAX - q.nano, digits.p[i] - '0');
                }
                q.nano = scale(q.nano, exponent + 9);
        }
        if (q.format == QUANTITY_BINARY_SI) {
                q.nano = MIN(q.nano, (__int128) INT64_MAX * NANO);
                if (q.nano > 0 && q.nano < NANO)
                        q.format = QUANTITY_DECIMAL_SI;
        }
        if (p.negative)
                q.nano = -q.nano;
        *ret = q;
        return 0;
}

int quantity_parse(struct str text, struct quantity *ret, struct error *err) {
        return parse(text, ret, NULL, err);
}

static const char *name_exponent(char dst[static 16], enum quantity_format format, int64_t exponent) {
        static const char *const names[] = { "n", "u", "m", "", "k", "M", "G", "T", "P", "E" };

        if (format != QUANTITY_DECIMAL_EXPONENT || exponent == 0)
                return exponent > 18 ? "" : names[exponent / 3 + 3]; /* as upstream has it */
        snprintf(dst, 16, "e%lld", (long long) exponent);
        return dst;
}

/* A decimal number that is larger than what is calculated with. */
static struct str print_wide(struct arena *a, struct str text, enum quantity_format format) {
        _cleanup_buf_ struct buf digits = BUF_INIT;
        char suffix[16];
        int64_t exponent = 0;
        size_t zeros = 0;
        struct parts p;

        split(text, &p);
        interpret(p.suffix, &exponent, &format);
        exponent -= (int64_t) p.denom.n;
        widen(&digits, p, 0, &exponent);
        for (; exponent % 3 != 0; exponent--)
                buf_putc(&digits, '0');
        for (; str_has_suffix(buf_str(&digits), STR("000")); exponent += 3)
                digits.n -= 3;
        while (digits.p[zeros] == '0')
                zeros++;
        return arena_printf(a, "%s%" STR_FMT "%s", p.negative ? "-" : "",
                            STR_ARG(str_sub(buf_str(&digits), zeros, digits.n)),
                            name_exponent(suffix, format, exponent));
}

int quantity_canonical(struct arena *a, struct str text, struct str *ret, struct error *err) {
        struct quantity q;
        char printed[64];
        bool keep;

        TRY(parse(text, &q, &keep, err));
        if (!keep && (q.nano == INT128_MAX || q.nano == -INT128_MAX)) {
                *ret = print_wide(a, text, q.format);
                return 0;
        }
        struct str s = keep ? text : quantity_print(printed, q);
        *ret = str_eq(s, text) ? text : arena_str(a, s);
        return 0;
}

struct quantity quantity_of_json(const struct json *j) {
        struct quantity q = { 0 };

        if (json_is(j, JSON_INT))
                q.nano = json_int(j) * NANO;
        else if (json_is(j, JSON_DOUBLE))
                q.nano = (__int128) (json_double_or(j, 0) * 1e9);
        else if (json_is(j, JSON_STRING))
                (void) quantity_parse(str_trim(json_str(j)), &q, NULL); /* malformed is zero: said in the header */
        return q;
}

struct quantity quantity_of_int(int64_t v, enum quantity_format f) {
        return (struct quantity) { v * NANO, f };
}

struct quantity quantity_of_milli(int64_t v, enum quantity_format f) {
        return (struct quantity) { v * (NANO / 1000), f };
}

static int64_t divided(__int128 nano, __int128 by) {
        __int128 v = nano / by;

        if (nano % by != 0)
                v += nano > 0 ? 1 : -1;
        return v > INT64_MAX ? INT64_MAX : v < INT64_MIN ? INT64_MIN : (int64_t) v;
}

int64_t quantity_value(struct quantity q) {
        return divided(q.nano, NANO);
}

int64_t quantity_milli(struct quantity q) {
        return divided(q.nano, NANO / 1000);
}

/* Thousandths above 64 bits lose what is above; of decimals from giga on nothing is left. */
bool quantity_is_whole(struct quantity q) {
        __int128 milli = q.nano / (NANO / 1000) + (q.nano % (NANO / 1000) != 0);

        if (milli != (int64_t) milli && q.format != QUANTITY_BINARY_SI && q.nano % (NANO * NANO) == 0)
                return true;
        return (int64_t) milli % 1000 == 0;
}

double quantity_double(struct quantity q) {
        return (double) q.nano / 1e9;
}

int quantity_cmp(struct quantity a, struct quantity b) {
        return (a.nano > b.nano) - (a.nano < b.nano);
}

struct quantity quantity_add(struct quantity a, struct quantity b) {
        struct quantity q = { .format = a.nano == 0 ? b.format : a.format };

        if (__builtin_add_overflow(a.nano, b.nano, &q.nano))
                q.nano = a.nano > 0 ? INT128_MAX : -INT128_MAX;
        return q;
}

struct quantity quantity_sub(struct quantity a, struct quantity b) {
        return quantity_add(a, (struct quantity) { -b.nano, b.format });
}

/* Rounded up to 1/1000, as the resources of a container are. */
struct quantity quantity_round_milli(struct quantity q) {
        const __int128 unit = NANO / 1000;
        __int128 rest = q.nano % unit;

        if (rest == 0)
                return q;
        return quantity_add(q, (struct quantity) { q.nano > 0 ? unit - rest : -(unit + rest), q.format });
}

static struct str print_number(char dst[static 64], __int128 v, const char *suffix) {
        unsigned __int128 u = v < 0 ? -(unsigned __int128) v : (unsigned __int128) v;
        size_t at = 48, n = strlen(suffix);

        memcpy(dst + at, suffix, n);
        do {
                dst[--at] = (char) ('0' + (int) (u % 10));
                u /= 10;
        } while (u > 0);
        if (v < 0)
                dst[--at] = '-';
        return str_n(dst + at, 48 - at + n);
}

static struct str print_binary(char dst[static 64], __int128 v) {
        static const char *const names[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" };
        size_t i = 0;

        while (i + 1 < ARRAY_SIZE(names) && (v >= 1024 || v <= -1024) && v % 1024 == 0) {
                v /= 1024;
                i++;
        }
        return print_number(dst, v, names[i]);
}

static struct str print_decimal(char dst[static 64], struct quantity q) {
        char suffix[16];
        int exponent = -9;
        __int128 v = q.nano;

        while (v % 1000 == 0) {
                v /= 1000;
                exponent += 3;
        }
        return print_number(dst, v, name_exponent(suffix, q.format, exponent));
}

struct str quantity_print(char dst[static 64], struct quantity q) {
        if (q.nano == 0)
                return print_number(dst, 0, "");
        if (q.format == QUANTITY_BINARY_SI && (q.nano >= 1024 * NANO || q.nano <= -1024 * NANO) && q.nano % NANO == 0)
                return print_binary(dst, q.nano / NANO);
        return print_decimal(dst, q);
}
