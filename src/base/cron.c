/* Schedules as bit sets, and the next time found by walking days, then the hours and minutes of a day that matches.
 *
 * Civil time becomes UTC through the zone's offset. A time that a change of the clock skips does not come; one that it
 * repeats comes once. */
#include "base/cron.h"

#include <ctype.h>
#include <time.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/time.h"

#define DAY 86400
#define SEARCH_DAYS (5 * 366)

/* ---- parsing ---- */

static const struct {
        const char *name, *meaning;
} macros[] = {
        { "@yearly", "0 0 1 1 *" }, { "@annually", "0 0 1 1 *" }, { "@monthly", "0 0 1 * *" },
        { "@weekly", "0 0 * * 0" }, { "@daily", "0 0 * * *" },    { "@midnight", "0 0 * * *" },
        { "@hourly", "0 * * * *" },
};

static const struct field {
        int64_t min, max;
        const char *names; /* three letters each, from min on */
} fields[] = {
        { 0, 59, NULL },
        { 0, 23, NULL },
        { 1, 31, NULL },
        { 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec" },
        { 0, 6, "sunmontuewedthufrisat" },
};

static int parse_number(struct str s, int64_t *ret, struct error *err) {
        int r = str_to_i64(s, ret);

        if (r < 0)
                return error_set(err, -EINVAL,
                                 "failed to parse int from %" STR_FMT ": strconv.Atoi: parsing \"%" STR_FMT "\": %s",
                                 STR_ARG(s), STR_ARG(s), r == -ERANGE ? "value out of range" : "invalid syntax");
        return *ret < 0 ? error_set(err, -EINVAL, "negative number (%lld) not allowed: %" STR_FMT, (long long) *ret,
                                    STR_ARG(s))
                        : 0;
}

static int parse_value(const struct field *f, struct str s, int64_t *ret, struct error *err) {
        for (int64_t i = 0; f->names && s.n == 3 && i <= f->max - f->min; i++)
                if (str_eq_fold(s, str_n(f->names + 3 * i, 3))) {
                        *ret = f->min + i;
                        return 0;
                }
        return parse_number(s, ret, err);
}

/* "*", "5", "1-5", each with "/2". */
static int parse_range(const struct field *f, struct str s, uint64_t *bits, bool *any, struct error *err) {
        ssize_t slash = str_find(s, '/'), dash;
        struct str range = slash < 0 ? s : str_sub(s, 0, (size_t) slash), first;
        int64_t from = f->min, to = f->max, step = 1;

        dash = str_find(range, '-');
        first = str_sub(range, 0, dash < 0 ? range.n : (size_t) dash);
        bool all = str_eqc(first, "*") || str_eqc(first, "?");
        if (!all) {
                TRY(parse_value(f, first, &from, err));
                if (str_rfind(range, '-') != dash)
                        return error_set(err, -EINVAL, "too many hyphens: %" STR_FMT, STR_ARG(s));
                if (dash >= 0)
                        TRY(parse_value(f, str_sub(range, (size_t) dash + 1, range.n), &to, err));
                else if (slash < 0) /* else "5/15": from 5 on */
                        to = from;
        }
        if (str_rfind(s, '/') != slash)
                return error_set(err, -EINVAL, "too many slashes: %" STR_FMT, STR_ARG(s));
        if (slash >= 0)
                TRY(parse_number(str_sub(s, (size_t) slash + 1, s.n), &step, err));
        *any |= all && step <= 1;
        if (from < f->min)
                return error_set(err, -EINVAL, "beginning of range (%lld) below minimum (%lld): %" STR_FMT,
                                 (long long) from, (long long) f->min, STR_ARG(s));
        if (to > f->max)
                return error_set(err, -EINVAL, "end of range (%lld) above maximum (%lld): %" STR_FMT, (long long) to,
                                 (long long) f->max, STR_ARG(s));
        if (from > to)
                return error_set(err, -EINVAL, "beginning of range (%lld) beyond end of range (%lld): %" STR_FMT,
                                 (long long) from, (long long) to, STR_ARG(s));
        if (step == 0)
                return error_set(err, -EINVAL, "step of range should be a positive number: %" STR_FMT, STR_ARG(s));
        for (; from <= to; from += MIN(step, 64))
                *bits |= 1ULL << from;
        return 0;
}

static int parse_field(const struct field *f, struct str s, uint64_t *ret, bool *any, struct error *err) {
        *ret = 0;
        *any = false;
        str_each(part, s, ',')
                if (part.n > 0)
                        TRY(parse_range(f, part, ret, any, err));
        return 0;
}

/* The words between runs of space; more than max are counted, not kept. said: all of them with one space between. */
static size_t split_words(struct str s, struct str *words, size_t max, struct buf *said) {
        size_t n = 0;

        for (s = str_trim(s); s.n > 0; s = str_trim(s)) {
                size_t len = 0;

                while (len < s.n && !strchr(" \t\n\v\f\r", s.p[len]))
                        len++;
                len = MAX(len, 1); /* a NUL is no word either, but something */
                if (n < max)
                        words[n] = str_sub(s, 0, len);
                buf_printf(said, "%s%" STR_FMT, n++ ? " " : "", STR_ARG(str_sub(s, 0, len)));
                s = str_sub(s, len, s.n);
        }
        return n;
}

/* "TZ=Europe/Berlin 5 4 * * *": the zone is looked for, and left to the field that took its place. */
static int skip_zone(struct str *text, struct error *err) {
        ssize_t space = str_find(*text, ' '), equals = str_find(*text, '=');
        struct timezone_data *zone = NULL;

        if (!str_has_prefix(*text, STR("TZ=")) && !str_has_prefix(*text, STR("CRON_TZ=")))
                return 0;
        if (space < 0)
                return error_set(err, -EINVAL, "invalid schedule format");
        struct str name = str_sub(*text, (size_t) equals + 1, (size_t) space);
        if (!str_empty(name) && timezone_load(name, &zone, NULL) < 0) /* none is UTC */
                return error_set(err, -EINVAL, "provided bad location %" STR_FMT ": unknown time zone %" STR_FMT,
                                 STR_ARG(name), STR_ARG(name));
        timezone_free(zone);
        *text = str_trim(str_sub(*text, (size_t) space, text->n));
        return 0;
}

static int parse_every(struct str text, struct cron *ret, struct error *err) {
        struct str length = str_sub(text, 7, text.n);

        if (duration_parse(length, &ret->every_ns) < 0)
                return error_set(err, -EINVAL,
                                 "failed to parse duration %" STR_FMT ": time: invalid duration \"%" STR_FMT "\"",
                                 STR_ARG(text), STR_ARG(length));
        ret->every_ns = MAX(ret->every_ns / NSEC_PER_SEC, 1) * NSEC_PER_SEC;
        return 0;
}

int cron_parse(struct str text, struct cron *ret, struct error *err) {
        _cleanup_buf_ struct buf said = BUF_INIT;
        uint64_t *const bits[] = { &ret->minute, &ret->hour, &ret->day, &ret->month, &ret->weekday };
        struct str words[5];

        *ret = (struct cron) { 0 };
        if (str_empty(text))
                return error_set(err, -EINVAL, "empty spec string");
        TRY(skip_zone(&text, err));
        if (str_has_prefix(text, STR("@every ")))
                return parse_every(text, ret, err);
        for (size_t i = 0; i < ARRAY_SIZE(macros); i++)
                if (str_eqc(text, macros[i].name))
                        text = str_of(macros[i].meaning);
        if (str_has_prefix(text, STR("@")))
                return error_set(err, -EINVAL, "unrecognized descriptor: %" STR_FMT, STR_ARG(text));
        size_t n = split_words(text, words, 5, &said);
        if (n != 5)
                return error_set(err, -EINVAL, "expected exactly 5 fields, found %zu: [%" STR_FMT "]", n,
                                 STR_ARG(buf_str(&said)));
        for (size_t i = 0; i < 5; i++) {
                bool any;

                TRY(parse_field(&fields[i], words[i], bits[i], &any, err));
                if (i == 2)
                        ret->any_day = any;
                if (i == 4)
                        ret->any_weekday = any;
        }
        return 0;
}

/* ---- zones: RFC 8536 ---- */

struct timezone_data {
        size_t n;
        int64_t *at;     /* seconds UTC of each change … */
        int32_t *offset; /* … and the offset from then on */
        int32_t first;   /* before all changes */
};

static int64_t read_be(const uint8_t *p, size_t n) {
        uint64_t v = 0;

        for (size_t i = 0; i < n; i++)
                v = v << 8 | p[i];
        return n == 8 ? (int64_t) v : (int32_t) (uint32_t) v;
}

struct header {
        size_t isutc, isstd, leap, time, type, chars;
};

static bool read_header(const uint8_t *p, size_t n, struct header *h) {
        if (n < 44 || memcmp(p, "TZif", 4) != 0)
                return false;
        *h = (struct header) { (size_t) read_be(p + 20, 4), (size_t) read_be(p + 24, 4), (size_t) read_be(p + 28, 4),
                               (size_t) read_be(p + 32, 4), (size_t) read_be(p + 36, 4), (size_t) read_be(p + 40, 4) };
        return h->time < 10000 && h->type < 300 && h->chars < 10000 && h->leap < 10000 && h->isutc < 300 &&
               h->isstd < 300;
}

static size_t block_size(const struct header *h, size_t wide) {
        return h->time * wide + h->time + h->type * 6 + h->chars + h->leap * (wide + 4) + h->isstd + h->isutc;
}

/* Parts between slashes: letters, digits and ".-_+", none of them a step up. */
static bool is_zone_name(struct str name) {
        if (str_empty(name) || str_has_suffix(name, STR("/")))
                return false;
        str_each(part, name, '/') {
                if (str_empty(part) || part.n > 14 || str_eqc(part, ".") || str_eqc(part, "..") || part.p[0] == '-' ||
                    !str_made_of(part, ".-_+"))
                        return false;
        }
        return true;
}

int timezone_load(struct str name, struct timezone_data **ret, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_free_ char *path = xprintf("/usr/share/zoneinfo/%" STR_FMT, STR_ARG(name));
        struct header h;

        if (!is_zone_name(name) || file_read(path, 1024 * 1024, &text, NULL) < 0)
                return error_set(err, -ENOENT, "unknown time zone %" STR_FMT, STR_ARG(name));
        const uint8_t *p = (const uint8_t *) text.p;
        size_t n = text.n;
        /* The second block has 64-bit times; every file since 2005 has it. */
        if (!read_header(p, n, &h) || n < 44 + block_size(&h, 4))
                return error_set(err, -EINVAL, "malformed time zone information: %" STR_FMT, STR_ARG(name));
        p += 44 + block_size(&h, 4);
        n -= 44 + block_size(&h, 4);
        if (!read_header(p, n, &h) || n < 44 + block_size(&h, 8) || h.type == 0)
                return error_set(err, -EINVAL, "malformed time zone information: %" STR_FMT, STR_ARG(name));
        p += 44;
        struct timezone_data *z = xcalloc(1, sizeof(*z));
        z->n = h.time;
        z->at = xcalloc(h.time + 1, sizeof(*z->at));
        z->offset = xcalloc(h.time + 1, sizeof(*z->offset));
        z->first = (int32_t) read_be(p + h.time * 9, 4);
        for (size_t i = 0; i < h.time; i++) {
                size_t type = p[h.time * 8 + i];

                z->at[i] = read_be(p + i * 8, 8);
                z->offset[i] = type < h.type ? (int32_t) read_be(p + h.time * 9 + type * 6, 4) : z->first;
        }
        *ret = z;
        return 0;
}

void timezone_free(struct timezone_data *z) {
        if (!z)
                return;
        free_all(z->at, z->offset, z);
}

/* east of UTC, at that time */
static int64_t timezone_offset(const struct timezone_data *z, int64_t seconds) {
        size_t lo = 0, hi;
        struct tm tm;
        time_t t = seconds;

        if (!z) {
                localtime_r(&t, &tm);
                return tm.tm_gmtoff;
        }
        for (hi = z->n; lo < hi;) {
                size_t mid = (lo + hi) / 2;

                if (z->at[mid] <= seconds)
                        lo = mid + 1;
                else
                        hi = mid;
        }
        return lo == 0 ? z->first : z->offset[lo - 1];
}

/* ---- the next time ---- */

static bool day_matches(const struct cron *c, const struct tm *tm) {
        bool day = c->day & 1ULL << tm->tm_mday, weekday = c->weekday & 1ULL << tm->tm_wday;

        if (!(c->month & 1ULL << (tm->tm_mon + 1)))
                return false;
        return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* UTC of a civil time (as if it were UTC); false when the clock skips it. */
static bool civil_to_utc(const struct timezone_data *z, int64_t civil, int64_t *ret) {
        int64_t t = civil - timezone_offset(z, civil);

        t = civil - timezone_offset(z, t);
        *ret = t;
        return t + timezone_offset(z, t) == civil;
}

static int64_t next_on_day(const struct cron *c, const struct timezone_data *z, int64_t midnight, int64_t after) {
        for (int hour = 0; hour < 24; hour++) {
                if (!(c->hour & 1ULL << hour))
                        continue;
                for (int minute = 0; minute < 60; minute++) {
                        int64_t t;

                        if ((c->minute & 1ULL << minute) && civil_to_utc(z, midnight + hour * 3600 + minute * 60, &t) &&
                            t > after)
                                return t;
                }
        }
        return INT64_MAX;
}

int64_t cron_next(const struct cron *c, const struct timezone_data *zone, int64_t t) {
        int64_t after = t / NSEC_PER_SEC, civil, midnight;

        if (c->every_ns && __builtin_add_overflow(after * NSEC_PER_SEC, c->every_ns, &civil))
                return INT64_MAX; /* once in three hundred years */
        if (c->every_ns)
                return civil;
        civil = after + timezone_offset(zone, after);
        midnight = civil - ((civil % DAY) + DAY) % DAY;
        for (int i = 0; i < SEARCH_DAYS; i++, midnight += DAY) {
                time_t day = midnight;
                struct tm tm;

                gmtime_r(&day, &tm);
                if (!day_matches(c, &tm))
                        continue;
                int64_t found = next_on_day(c, zone, midnight, after);
                if (found != INT64_MAX)
                        return found * NSEC_PER_SEC;
        }
        return INT64_MAX;
}
