/* Clocks, RFC 3339 and Go durations. The calendar is computed here: days since 1970 ↔ year, month, day, proleptic
 * Gregorian, with the year taken to begin in March so that the leap day comes last. */
#include "base/time.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "base/macro.h"

static int64_t clock_ns(clockid_t id) {
        struct timespec ts;

        clock_gettime(id, &ts);
        return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

int64_t now_wall_ns(void) {
        return clock_ns(CLOCK_REALTIME);
}

int64_t now_mono_ns(void) {
        return clock_ns(CLOCK_MONOTONIC);
}

int64_t now_thread_ns(void) {
        return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t now_coarse_ns(void) {
        return clock_ns(CLOCK_MONOTONIC_COARSE);
}

int64_t now_mono_ms(void) {
        return now_mono_ns() / NSEC_PER_MSEC;
}

static int64_t system_wall(const struct clock *c) {
        return now_wall_ns();
}

static int64_t system_mono(const struct clock *c) {
        return now_mono_ns();
}

const struct clock system_clock = { .wall_ns = system_wall, .mono_ns = system_mono };

/* ---- calendar ---- */

static int64_t days_from_civil(int64_t y, int m, int d) {
        y -= m <= 2;
        int64_t era = (y >= 0 ? y : y - 399) / 400;
        int64_t yoe = y - era * 400;
        int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
        return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void civil_from_days(int64_t days, int *ret_y, int *ret_m, int *ret_d) {
        days += 719468;
        int64_t era = (days >= 0 ? days : days - 146096) / 146097;
        int64_t doe = days - era * 146097;
        int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
        int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        int64_t mp = (5 * doy + 2) / 153;
        *ret_d = (int) (doy - (153 * mp + 2) / 5 + 1);
        *ret_m = (int) (mp < 10 ? mp + 3 : mp - 9);
        *ret_y = (int) (yoe + era * 400 + (*ret_m <= 2));
}

static char *put_digits(char *p, uint64_t v, int n) {
        for (int i = n - 1; i >= 0; i--, v /= 10)
                p[i] = (char) ('0' + v % 10);
        return p + n;
}

struct str moment_format(char dst[static 36], struct moment t, int fraction) {
        int64_t days = t.seconds / 86400, rest = t.seconds % 86400;
        int y, m, d;
        char *p = dst;

        if (rest < 0) {
                rest += 86400;
                days--;
        }
        civil_from_days(days, &y, &m, &d);
        p = put_digits(p, (uint64_t) y, 4);
        *p++ = '-';
        p = put_digits(p, (uint64_t) m, 2);
        *p++ = '-';
        p = put_digits(p, (uint64_t) d, 2);
        *p++ = 'T';
        p = put_digits(p, (uint64_t) rest / 3600, 2);
        *p++ = ':';
        p = put_digits(p, (uint64_t) rest / 60 % 60, 2);
        *p++ = ':';
        p = put_digits(p, (uint64_t) rest % 60, 2);
        if (fraction) {
                *p++ = '.';
                p = put_digits(p, (uint64_t) (fraction == 6 ? t.ns / 1000 : t.ns), fraction);
        }
        *p++ = 'Z';
        *p = 0;
        return str_n(dst, (size_t) (p - dst));
}

static struct str format(char *dst, int64_t wall_ns, int fraction) {
        struct moment t = { wall_ns / NSEC_PER_SEC, (int32_t) (wall_ns % NSEC_PER_SEC) };

        if (t.ns < 0) {
                t.ns += (int32_t) NSEC_PER_SEC;
                t.seconds--;
        }
        return moment_format(dst, t, fraction);
}

struct str time_format(char dst[static 36], int64_t wall_ns) {
        return format(dst, wall_ns, 0);
}

struct str time_format_micro(char dst[static 36], int64_t wall_ns) {
        return format(dst, wall_ns, 6);
}

struct str time_format_nano(char dst[static 36], int64_t wall_ns) {
        return format(dst, wall_ns, 9);
}

/* Reads exactly n digits. */
static bool take_digits(struct str *s, size_t n, int *ret) {
        int v = 0;

        if (s->n < n)
                return false;
        for (size_t i = 0; i < n; i++) {
                if (s->p[i] < '0' || s->p[i] > '9')
                        return false;
                v = v * 10 + (s->p[i] - '0');
        }
        *s = str_sub(*s, n, s->n);
        *ret = v;
        return true;
}

static bool take_char(struct str *s, char c) {
        if (s->n == 0 || s->p[0] != c)
                return false;
        *s = str_sub(*s, 1, s->n);
        return true;
}

/* ".123456" or ",123456" → nanoseconds; digits past the ninth are dropped. */
static bool take_fraction(struct str *s, int64_t *ret_ns) {
        int64_t ns = 0, scale = NSEC_PER_SEC;
        size_t i = 1;

        if (s->n < 2 || s->p[1] < '0' || s->p[1] > '9')
                return false;
        for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
                scale /= 10;
                ns += (s->p[i] - '0') * scale;
        }
        *s = str_sub(*s, i, s->n);
        *ret_ns = ns;
        return true;
}

static bool take_zone(struct str *s, int *ret_offset) {
        int hours, minutes, sign;

        *ret_offset = 0;
        if (take_char(s, 'Z'))
                return true;
        sign = take_char(s, '-') ? -1 : take_char(s, '+') ? 1 : 0;
        if (!sign || !take_digits(s, 2, &hours) || !take_char(s, ':') || !take_digits(s, 2, &minutes) || hours > 24 ||
            minutes > 60)
                return false;
        *ret_offset = sign * (hours * 3600 + minutes * 60);
        return true;
}

static int days_in_month(int y, int m) {
        static const int8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

        return days[m - 1] + (m == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
}

int moment_parse(struct str s, struct moment *ret) {
        int y, m, d, hour, minute, second, offset;
        int64_t ns = 0;

        if (!take_digits(&s, 4, &y) || !take_char(&s, '-') || !take_digits(&s, 2, &m) || !take_char(&s, '-') ||
            !take_digits(&s, 2, &d) || !take_char(&s, 'T') ||
            (!take_digits(&s, 2, &hour) && !take_digits(&s, 1, &hour)) || !take_char(&s, ':') ||
            !take_digits(&s, 2, &minute) || !take_char(&s, ':') || !take_digits(&s, 2, &second))
                return -EINVAL;
        if (s.n && (s.p[0] == '.' || s.p[0] == ',') && !take_fraction(&s, &ns))
                return -EINVAL;
        if (!take_zone(&s, &offset) || s.n)
                return -EINVAL;
        if (m < 1 || m > 12 || d < 1 || d > days_in_month(y, m) || hour > 23 || minute > 59 || second > 59)
                return -EINVAL;
        ret->seconds = days_from_civil(y, m, d) * 86400 + hour * 3600 + minute * 60 + second - offset;
        ret->ns = (int32_t) ns;
        ret->zone = offset;
        return 0;
}

int64_t time_after(int64_t ns, int64_t seconds) {
        int64_t length, end = seconds < 0 ? INT64_MIN : INT64_MAX, sum;

        if (__builtin_mul_overflow(seconds, NSEC_PER_SEC, &length) || __builtin_add_overflow(ns, length, &sum))
                return end;
        return sum;
}

int time_parse(struct str s, int64_t *ret_wall_ns) {
        struct moment t;
        int64_t total;

        if (moment_parse(s, &t) < 0)
                return -EINVAL;
        if (__builtin_mul_overflow(t.seconds, NSEC_PER_SEC, &total) || __builtin_add_overflow(total, t.ns, &total))
                total = t.seconds < 0 ? INT64_MIN : INT64_MAX;
        *ret_wall_ns = total;
        return 0;
}

/* ---- durations ---- */

static const struct unit {
        struct str name;
        int64_t ns;
} units[] = {
        { STR_INIT("ns"), 1 },
        { STR_INIT("us"), 1000 },
        { STR_INIT("\xc2\xb5s"), 1000 }, /* µ U+00B5 */
        { STR_INIT("\xce\xbcs"), 1000 }, /* μ U+03BC */
        { STR_INIT("ms"), NSEC_PER_MSEC },
        { STR_INIT("s"), NSEC_PER_SEC },
        { STR_INIT("m"), 60 * NSEC_PER_SEC },
        { STR_INIT("h"), 3600 * NSEC_PER_SEC },
};

static const struct unit *take_unit(struct str *s) {
        size_t n = 0;

        while (n < s->n && s->p[n] != '.' && (s->p[n] < '0' || s->p[n] > '9'))
                n++;
        for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
                if (!str_eq(str_n(s->p, n), units[i].name))
                        continue;
                *s = str_sub(*s, n, s->n);
                return &units[i];
        }
        return NULL;
}

/* One "1.5h" of a duration, in nanoseconds. */
static int take_term(struct str *s, uint64_t *ret) {
        uint64_t whole = 0, fraction = 0;
        double scale = 1;
        size_t i = 0, digits = 0;

        for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++, digits++)
                if (__builtin_mul_overflow(whole, 10, &whole) ||
                    __builtin_add_overflow(whole, (uint64_t) (s->p[i] - '0'), &whole) || whole > 1ULL << 63)
                        return -ERANGE;
        if (i < s->n && s->p[i] == '.')
                for (i++; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++, digits++)
                        if (fraction <= (INT64_MAX - 9) / 10) { /* what is finer than that has no weight */
                                fraction = fraction * 10 + (uint64_t) (s->p[i] - '0');
                                scale *= 10;
                        }
        if (!digits)
                return -EINVAL;
        *s = str_sub(*s, i, s->n);
        const struct unit *unit = take_unit(s);
        if (!unit)
                return -EINVAL;
        if (__builtin_mul_overflow(whole, (uint64_t) unit->ns, &whole) ||
            __builtin_add_overflow(whole, (uint64_t) ((double) fraction * ((double) unit->ns / scale)), &whole))
                return -ERANGE;
        *ret = whole;
        return 0;
}

int duration_parse(struct str s, int64_t *ret_ns) {
        bool negative = take_char(&s, '-');
        uint64_t total = 0;

        if (!negative)
                take_char(&s, '+');
        if (str_eq(s, STR("0"))) {
                *ret_ns = 0;
                return 0;
        }
        if (s.n == 0)
                return -EINVAL;
        while (s.n) {
                uint64_t term;

                TRY(take_term(&s, &term));
                if (__builtin_add_overflow(total, term, &total) || total > (uint64_t) INT64_MAX + negative)
                        return -ERANGE;
        }
        *ret_ns = negative ? (int64_t) (0 - total) : (int64_t) total;
        return 0;
}

/* Of "Days": the words are matched whole, the last of a unit also where more follows. 0: it is none. */
static uint64_t unit_of_word(struct str word) {
        static const struct {
                uint64_t ns;
                const char *words[3];
        } words_of[] = {
                { 1, { "ns", "nano" } },
                { 1000, { "us", "\xc2\xb5s", "micro" } },
                { NSEC_PER_MSEC, { "ms", "milli" } },
                { NSEC_PER_SEC, { "s", "sec" } },
                { 60 * NSEC_PER_SEC, { "m", "min" } },
                { 3600 * NSEC_PER_SEC, { "h", "hr", "hour" } },
                { 86400 * NSEC_PER_SEC, { "d", "day" } },
                { 604800 * NSEC_PER_SEC, { "w", "wk", "week" } },
        };

        for (size_t i = 0; i < ARRAY_SIZE(words_of); i++)
                for (size_t k = 0; k < 3 && words_of[i].words[k]; k++) {
                        struct str w = str_of(words_of[i].words[k]);
                        bool last = k == 2 || !words_of[i].words[k + 1];

                        if (str_eq_fold(word, w) || (last && str_eq_fold(str_sub(word, 0, w.n), w)))
                                return words_of[i].ns;
                }
        return 0;
}

int duration_parse_words(struct str s, int64_t *ret_ns) {
        uint64_t total = 0, n, unit;
        bool any = false;

        if (duration_parse(s, ret_ns) == 0)
                return 0;
        for (size_t i = 0, from; i < s.n;) {
                for (from = i; i < s.n && isdigit((unsigned char) s.p[i]);)
                        i++;
                if (i == from) {
                        i++;
                        continue;
                }
                if (str_to_u64(str_sub(s, from, i), &n) < 0)
                        n = UINT64_MAX;
                while (i < s.n && s.p[i] && strchr(" \t\n\f\r", s.p[i]))
                        i++;
                for (from = i; i < s.n && (isalpha((unsigned char) s.p[i]) ||
                                           str_has_prefix(str_sub(s, i, s.n), STR("\xc2\xb5")));)
                        i += isalpha((unsigned char) s.p[i]) ? 1 : 2;
                if (i > from && n > INT64_MAX)
                        return -EINVAL;
                unit = unit_of_word(str_sub(s, from, i));
                any = any || unit;
                total += n * unit;
        }
        *ret_ns = (int64_t) total;
        return any ? 0 : -EINVAL;
}

/* v / 10^digits with trailing zeros cut, written backwards ending at p. */
static char *put_fraction(char *p, uint64_t *v, int digits) {
        bool print = false;

        for (int i = 0; i < digits; i++, *v /= 10) {
                print = print || *v % 10;
                if (print)
                        *--p = (char) ('0' + *v % 10);
        }
        if (print)
                *--p = '.';
        return p;
}

static char *put_int(char *p, uint64_t v) {
        do
                *--p = (char) ('0' + v % 10);
        while (v /= 10);
        return p;
}

struct str duration_format(char dst[static 36], int64_t ns) {
        uint64_t v = ns < 0 ? 0 - (uint64_t) ns : (uint64_t) ns;
        char *end = dst + 35, *p = end;

        *p = 0;
        *--p = 's';
        if (v == 0)
                *--p = '0';
        else if (v < NSEC_PER_SEC) {
                int digits = v < 1000 ? 0 : v < 1000000 ? 3 : 6;

                if (digits == 3) {
                        *--p = '\xb5';
                        *--p = '\xc2';
                } else
                        *--p = digits ? 'm' : 'n';
                p = put_fraction(p, &v, digits);
                p = put_int(p, v);
        } else {
                p = put_fraction(p, &v, 9);
                p = put_int(p, v % 60);
                v /= 60;
                if (v) {
                        *--p = 'm';
                        p = put_int(p, v % 60);
                        v /= 60;
                }
                if (v) {
                        *--p = 'h';
                        p = put_int(p, v);
                }
        }
        if (ns < 0)
                *--p = '-';
        memmove(dst, p, (size_t) (end - p) + 1);
        return str_n(dst, (size_t) (end - p));
}

struct str duration_human(char dst[static 36], int64_t ns) {
        /* Below a limit, the age is printed in one unit, or in two while the smaller one still says something. */
        static const struct {
                int64_t below, big, small;
                char big_name, small_name; /* small_name 0: one unit */
        } steps[] = {
                { 120, 1, 1, 's', 0 },
                { 10 * 60, 60, 1, 'm', 's' },
                { 3 * 3600, 60, 1, 'm', 0 },
                { 8 * 3600, 3600, 60, 'h', 'm' },
                { 48 * 3600, 3600, 1, 'h', 0 },
                { 8 * 86400, 86400, 3600, 'd', 'h' },
                { 2 * 365 * 86400LL, 86400, 1, 'd', 0 },
                { 8 * 365 * 86400LL, 365 * 86400LL, 86400, 'y', 'd' },
                { INT64_MAX, 365 * 86400LL, 1, 'y', 0 },
        };
        int64_t secs = ns / NSEC_PER_SEC, rest;
        size_t i = 0;
        int n;

        if (secs < -1)
                return str_n(strcpy(dst, "<invalid>"), 9);
        secs = MAX(secs, (int64_t) 0);
        while (secs >= steps[i].below)
                i++;
        rest = secs % steps[i].big / steps[i].small;
        if (steps[i].small_name && rest)
                n = snprintf(dst, 36, "%" PRId64 "%c%" PRId64 "%c", secs / steps[i].big, steps[i].big_name, rest,
                             steps[i].small_name);
        else
                n = snprintf(dst, 36, "%" PRId64 "%c", secs / steps[i].big, steps[i].big_name);
        return str_n(dst, (size_t) n);
}
