/* Scalars of YAML 1.1 as go-yaml v2 sees them: a table of words, then integers of five notations, then floats. */
#include "json/yaml_scalar.h"

#include <math.h>

#include "base/time.h"
#include "json/number.h"
#include "json/text.h"

/* clang-format off */
static const struct {
        struct str text;
        enum yaml_scalar_type type;
        double value; /* of a boolean or a float */
} words[] = {
        { STR_INIT("y"), YAML_BOOL, 1 },     { STR_INIT("Y"), YAML_BOOL, 1 },     { STR_INIT("yes"), YAML_BOOL, 1 },
        { STR_INIT("Yes"), YAML_BOOL, 1 },   { STR_INIT("YES"), YAML_BOOL, 1 },   { STR_INIT("true"), YAML_BOOL, 1 },
        { STR_INIT("True"), YAML_BOOL, 1 },  { STR_INIT("TRUE"), YAML_BOOL, 1 },  { STR_INIT("on"), YAML_BOOL, 1 },
        { STR_INIT("On"), YAML_BOOL, 1 },    { STR_INIT("ON"), YAML_BOOL, 1 },    { STR_INIT("n"), YAML_BOOL, 0 },
        { STR_INIT("N"), YAML_BOOL, 0 },     { STR_INIT("no"), YAML_BOOL, 0 },    { STR_INIT("No"), YAML_BOOL, 0 },
        { STR_INIT("NO"), YAML_BOOL, 0 },    { STR_INIT("false"), YAML_BOOL, 0 }, { STR_INIT("False"), YAML_BOOL, 0 },
        { STR_INIT("FALSE"), YAML_BOOL, 0 }, { STR_INIT("off"), YAML_BOOL, 0 },   { STR_INIT("Off"), YAML_BOOL, 0 },
        { STR_INIT("OFF"), YAML_BOOL, 0 },   { STR_INIT(""), YAML_NULL, 0 },      { STR_INIT("~"), YAML_NULL, 0 },
        { STR_INIT("null"), YAML_NULL, 0 },  { STR_INIT("Null"), YAML_NULL, 0 },  { STR_INIT("NULL"), YAML_NULL, 0 },
        { STR_INIT(".nan"), YAML_FLOAT, NAN },        { STR_INIT(".NaN"), YAML_FLOAT, NAN },
        { STR_INIT(".NAN"), YAML_FLOAT, NAN },        { STR_INIT(".inf"), YAML_FLOAT, INFINITY },
        { STR_INIT(".Inf"), YAML_FLOAT, INFINITY },   { STR_INIT(".INF"), YAML_FLOAT, INFINITY },
        { STR_INIT("+.inf"), YAML_FLOAT, INFINITY },  { STR_INIT("+.Inf"), YAML_FLOAT, INFINITY },
        { STR_INIT("+.INF"), YAML_FLOAT, INFINITY },  { STR_INIT("-.inf"), YAML_FLOAT, -INFINITY },
        { STR_INIT("-.Inf"), YAML_FLOAT, -INFINITY }, { STR_INIT("-.INF"), YAML_FLOAT, -INFINITY },
};
/* clang-format on */

const char *yaml_scalar_tag(enum yaml_scalar_type type) {
        static const char *const tags[] = { "str", "null", "bool", "int", "float", "timestamp" };

        return tags[type];
}

static int digit_value(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* An integer as strconv.ParseInt(s, 0) reads it; beyond int64 it becomes a double. */
static bool parse_int(struct str s, struct json *ret) {
        bool negative = s.n && s.p[0] == '-', big = false;
        uint64_t v = 0;
        double d = 0;
        int base = 10;

        if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
                s = str_sub(s, 1, s.n);
        if (s.n > 2 && s.p[0] == '0' && strchr("xXbBoO", s.p[1])) {
                char c = (char) (s.p[1] | 0x20);

                base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
                s = str_sub(s, 2, s.n);
        } else if (s.n > 1 && s.p[0] == '0') {
                base = 8;
                s = str_sub(s, 1, s.n);
        }
        if (s.n == 0)
                return false;
        for (size_t i = 0; i < s.n; i++) {
                int digit = digit_value(s.p[i]);

                if (digit >= base)
                        return false;
                d = d * base + digit;
                big = big || __builtin_mul_overflow(v, (uint64_t) base, &v) ||
                      __builtin_add_overflow(v, (uint64_t) digit, &v);
        }
        if (big || v > (uint64_t) INT64_MAX + negative) {
                if (base != 10 && (big || negative)) /* no number of 64 bits: a text, or what else it may be */
                        return false;
                /* Decimal digits are rounded once, by the one who does it right. */
                if (base == 10 && json_decode_number(s, ret) >= 0)
                        *ret = json_of_double(negative ? -ret->d : ret->d);
                else
                        *ret = json_of_double(negative ? -d : d);
                return isfinite(ret->d);
        }
        *ret = json_of_int(negative ? (int64_t) (0 - v) : (int64_t) v);
        return true;
}

static size_t digits(struct str s, size_t i) {
        while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9')
                i++;
        return i;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool is_float(struct str s) {
        size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+'), start = i, k;

        i = digits(s, i);
        if (i < s.n && s.p[i] == '.') {
                k = digits(s, i + 1);
                if (i == start && k == i + 1)
                        return false;
                i = k;
        } else if (i == start)
                return false;
        if (i < s.n && (s.p[i] | 0x20) == 'e') {
                k = i + 1;
                k += k < s.n && (s.p[k] == '-' || s.p[k] == '+');
                i = digits(s, k);
                if (i == k)
                        return false;
        }
        return i == s.n;
}

static bool parse_float(struct str s, double *ret) {
        char small[64], *copy = s.n < sizeof(small) ? small : xmalloc(s.n + 1);

        memcpy(copy, s.p, s.n);
        copy[s.n] = 0;
        *ret = strtod(copy, NULL);
        if (copy != small)
                free(copy);
        return isfinite(*ret);
}

/* What JSON makes of the number: 1.0 is printed as 1 and read as an integer. */
static struct json number(double d) {
        struct json v = json_of_double(d);
        char text[32];

        if (isfinite(d) && d == floor(d) && fabs(d) < 1e21)
                json_decode_number(json_format_double(text, d), &v);
        return v;
}

static bool take_number(struct str *s, size_t max, int *ret) {
        size_t n = digits(*s, 0);

        if (n == 0 || n > max)
                return false;
        *ret = 0;
        for (size_t i = 0; i < n; i++)
                *ret = *ret * 10 + (s->p[i] - '0');
        *s = str_sub(*s, n, s->n);
        return true;
}

static bool take(struct str *s, char c) {
        if (!s->n || s->p[0] != c)
                return false;
        *s = str_sub(*s, 1, s->n);
        return true;
}

/* 2001-12-14, 2001-12-14t21:59:43.10-05:00, 2001-12-14 21:59:43: rebuilt as RFC 3339 and checked as that. */
static bool is_timestamp(struct str s) {
        int y, mo, d, h = 0, mi = 0, sec = 0;
        struct str zone = STR("Z");
        char text[80];
        int64_t unused;

        if (digits(s, 0) != 4 || !take_number(&s, 4, &y) || !take(&s, '-') || !take_number(&s, 2, &mo) ||
            !take(&s, '-') || !take_number(&s, 2, &d))
                return false;
        if (s.n) {
                bool zoned = s.p[0] != ' ';
                if (!(take(&s, 'T') || take(&s, 't') || take(&s, ' ')) || !take_number(&s, 2, &h) || !take(&s, ':') ||
                    !take_number(&s, 2, &mi) || !take(&s, ':') || !take_number(&s, 2, &sec))
                        return false;
                if (take(&s, '.')) {
                        size_t k = digits(s, 0);

                        if (k == 0)
                                return false;
                        s = str_sub(s, k, s.n);
                }
                if (zoned)
                        zone = s;
                else if (s.n)
                        return false;
        }
        int n = snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d%" STR_FMT, y, mo, d, h, mi, sec,
                         (int) MIN(zone.n, 8), zone.p);
        return zone.n <= 8 && time_parse(str_n(text, (size_t) n), &unused) >= 0;
}

/* The type of the text when nothing is said about it; timestamps: whether those are looked for. */
static void resolve_plain(struct str in, bool timestamps, struct yaml_scalar *ret) {
        _cleanup_free_ char *copy = NULL;
        struct str plain = in;
        double d;

        *ret = (struct yaml_scalar) { .type = YAML_STRING };
        for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
                if (!str_eq(words[i].text, in))
                        continue;
                ret->type = words[i].type;
                ret->value = ret->type == YAML_BOOL    ? json_of_bool(words[i].value > 0)
                             : ret->type == YAML_FLOAT ? json_of_double(words[i].value)
                                                       : json_null();
                return;
        }
        if (!strchr("+-.0123456789", in.p[0]) || !in.p[0])
                return;
        if (in.p[0] == '.') {
                if (is_float(in) && parse_float(in, &d))
                        *ret = (struct yaml_scalar) { YAML_FLOAT, number(d) };
                return;
        }
        if (timestamps && is_timestamp(in)) {
                ret->type = YAML_TIMESTAMP;
                return;
        }
        if (str_find(in, '_') >= 0) {
                copy = xmalloc(in.n);
                plain = str_n(copy, 0);
                for (size_t i = 0; i < in.n; i++)
                        if (in.p[i] != '_')
                                copy[plain.n++] = in.p[i];
        }
        if (parse_int(plain, &ret->value))
                ret->type = YAML_INT;
        else if (is_float(plain) && parse_float(plain, &d))
                *ret = (struct yaml_scalar) { YAML_FLOAT, number(d) };
}

int yaml_resolve(struct str text, const char *tag, struct yaml_scalar *ret) {
        enum yaml_scalar_type want = YAML_STRING;

        *ret = (struct yaml_scalar) { .type = YAML_STRING };
        if (tag) {
                if (strncmp(tag, YAML_TAG_PREFIX, sizeof(YAML_TAG_PREFIX) - 1) != 0)
                        return 0; /* somebody's own tag: its text */
                tag += sizeof(YAML_TAG_PREFIX) - 1;
                for (enum yaml_scalar_type t = YAML_NULL; t <= YAML_TIMESTAMP; t++)
                        if (strcmp(tag, yaml_scalar_tag(t)) == 0)
                                want = t;
                if (want == YAML_STRING)
                        return 0;
        }
        resolve_plain(text, !tag || want == YAML_TIMESTAMP, ret);
        if (tag && ret->type != want && !(want == YAML_FLOAT && ret->type == YAML_INT))
                return -EINVAL;
        if (ret->type == YAML_FLOAT && ret->value.type == JSON_DOUBLE && !isfinite(ret->value.d))
                return -ERANGE;
        if (ret->type == YAML_TIMESTAMP)
                ret->type = YAML_STRING;
        return 0;
}

/* Base 60 numbers of YAML 1.1, which others read as numbers: [-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)? */
static bool is_base60(struct str s) {
        size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+'), groups = 0;

        if (i >= s.n || s.p[i] < '0' || s.p[i] > '9')
                return false;
        while (i < s.n && (s.p[i] == '_' || (s.p[i] >= '0' && s.p[i] <= '9')))
                i++;
        for (; i < s.n && s.p[i] == ':'; groups++) {
                size_t end = digits(s, i + 1), n = end - i - 1;

                if (n < 1 || n > 2 || (n == 2 && s.p[i + 1] > '5'))
                        return false;
                i = end;
        }
        if (i < s.n && s.p[i] == '.')
                for (i++; i < s.n && (s.p[i] == '_' || (s.p[i] >= '0' && s.p[i] <= '9'));)
                        i++;
        return groups && i == s.n;
}

bool yaml_reads_as_string(struct str text) {
        struct yaml_scalar s;

        resolve_plain(text, true, &s);
        return s.type == YAML_STRING && !is_base60(text);
}

struct str yaml_valid_utf8(struct arena *a, struct str s, size_t invalid) {
        char *start = arena_alloc(a, s.n + 2 * invalid), *out = start;

        for (const char *p = s.p, *end = p + s.n; p < end;) {
                size_t n = utf8_sequence(p, end);

                if (n)
                        out = mempcpy(out, p, n);
                else
                        out = utf8_put(out, 0xfffd);
                p += MAX(n, (size_t) 1);
        }
        return str_n(start, (size_t) (out - start));
}
