/* The standard functions and operators, optionals and sets:
 * https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions */
#include "cel/internal.h"

#include <ctype.h>
#include <math.h>

#include "base/time.h"

#define ARGS struct ctx *c, const struct cel_value *v, size_t n

static struct cel_value value_uint(uint64_t u) {
        return (struct cel_value) { .kind = CEL_UINT, .u = u };
}

static struct cel_value duration(int64_t ns) {
        return (struct cel_value) { .kind = CEL_DURATION, .i = ns };
}

/* ---- arithmetic ---- */

static struct cel_value shift_time(struct ctx *c, const struct cel_value *t, int64_t ns, bool minus) {
        int64_t sec = ns / NSEC_PER_SEC, rest = ns % NSEC_PER_SEC, nanos;
        struct cel_value r = *t;

        nanos = (int64_t) t->n + (minus ? -rest : rest);
        r.i = t->i + (minus ? -sec : sec) + (nanos < 0 ? -1 : nanos >= NSEC_PER_SEC);
        r.n = (uint32_t) (nanos < 0 ? nanos + NSEC_PER_SEC : nanos % NSEC_PER_SEC);
        if (!time_in_range(r.i))
                return value_error(c, "timestamp overflow");
        return r;
}

static struct cel_value concat(struct ctx *c, const struct cel_value *v) {
        char *p = arena_alloc(c->a, MAX((size_t) v[0].n + v[1].n, (size_t) 1));
        struct cel_value r = v[0];

        if (v[0].n)
                memcpy(p, v[0].s, v[0].n);
        if (v[1].n)
                memcpy(p + v[0].n, v[1].s, v[1].n);
        r.s = p;
        r.n += v[1].n;
        return r;
}

/* Lists of type set and map: what is there keeps its place, what is new goes to the end. */
static struct cel_value merge_lists(struct ctx *c, const struct cel_value *v) {
        const struct cel_type *t = v[0].type;
        struct json out = json_new_array(), *old;

        for (size_t i = 0; i < v[0].n; i++)
                json_push(c->a, &out, json_items(v[0].json)[i]);
        for (size_t i = 0; i < v[1].n; i++) {
                struct cel_value item = list_get(c->a, &v[1], i);
                struct json j = cel_to_json(c->a, &item);

                old = NULL;
                for (size_t k = 0; k < out.len && !old && !c->cancelled; k++) {
                        old = &json_items(&out)[k];
                        if (t->list_type == SCHEMA_LIST_MAP ? !same_keys(t, old, &j) : !json_equal(old, &j))
                                old = NULL;
                        compare_paid(c);
                }
                if (old)
                        *old = j;
                else
                        json_push(c->a, &out, j);
        }
        struct cel_value r = v[0];
        r.json = json_new(c->a, out);
        r.n = out.len;
        return r;
}

static struct cel_value add_lists(struct ctx *c, const struct cel_value *v) {
        struct cel_value r = { .kind = CEL_LIST, .form = CEL_CONCAT, .n = v[0].n + v[1].n };

        if (list_is_keyed(&v[0]) && v[0].form == CEL_JSON)
                return merge_lists(c, v);
        r.items = arena_dup(c->a, v, 2 * sizeof(*v));
        return r;
}

static struct cel_value f_add(ARGS) {
        struct cel_value r = v[0];

        switch ((enum cel_kind) v[0].kind) {
        case CEL_INT:
                return __builtin_add_overflow(v[0].i, v[1].i, &r.i) ? value_error(c, "integer overflow") : r;
        case CEL_UINT:
                return __builtin_add_overflow(v[0].u, v[1].u, &r.u) ? value_error(c, "unsigned integer overflow") : r;
        case CEL_DOUBLE:
                return value_double(v[0].d + v[1].d);
        case CEL_LIST:
                return add_lists(c, v);
        case CEL_TIMESTAMP:
                return shift_time(c, &v[0], v[1].i, false);
        case CEL_DURATION:
                if (v[1].kind == CEL_TIMESTAMP)
                        return shift_time(c, &v[1], v[0].i, false);
                return __builtin_add_overflow(v[0].i, v[1].i, &r.i) ? value_error(c, "duration overflow") : r;
        default:
                return concat(c, v);
        }
}

static struct cel_value f_subtract(ARGS) {
        struct cel_value r = v[0];
        int64_t ns;

        switch ((enum cel_kind) v[0].kind) {
        case CEL_INT:
                return __builtin_sub_overflow(v[0].i, v[1].i, &r.i) ? value_error(c, "integer overflow") : r;
        case CEL_UINT:
                return __builtin_sub_overflow(v[0].u, v[1].u, &r.u) ? value_error(c, "unsigned integer overflow") : r;
        case CEL_DOUBLE:
                return value_double(v[0].d - v[1].d);
        case CEL_TIMESTAMP:
                if (v[1].kind == CEL_DURATION)
                        return shift_time(c, &v[0], v[1].i, true);
                if (__builtin_mul_overflow(v[0].i - v[1].i, NSEC_PER_SEC, &ns) ||
                    __builtin_add_overflow(ns, (int64_t) v[0].n - v[1].n, &ns))
                        return value_error(c, "integer overflow");
                return duration(ns);
        default:
                return __builtin_sub_overflow(v[0].i, v[1].i, &r.i) ? value_error(c, "duration overflow") : r;
        }
}

static struct cel_value f_multiply(ARGS) {
        struct cel_value r = v[0];

        if (r.kind == CEL_DOUBLE)
                return value_double(v[0].d * v[1].d);
        if (r.kind == CEL_UINT)
                return __builtin_mul_overflow(v[0].u, v[1].u, &r.u) ? value_error(c, "unsigned integer overflow") : r;
        return __builtin_mul_overflow(v[0].i, v[1].i, &r.i) ? value_error(c, "integer overflow") : r;
}

static struct cel_value f_divide(ARGS) {
        if (v[0].kind == CEL_DOUBLE)
                return value_double(v[0].d / v[1].d);
        if (v[1].u == 0)
                return value_error(c, "division by zero");
        if (v[0].kind == CEL_UINT)
                return value_uint(v[0].u / v[1].u);
        if (v[0].i == INT64_MIN && v[1].i == -1)
                return value_error(c, "integer overflow");
        return value_int(v[0].i / v[1].i);
}

static struct cel_value f_modulo(ARGS) {
        if (v[1].u == 0)
                return value_error(c, "modulus by zero");
        if (v[0].kind == CEL_UINT)
                return value_uint(v[0].u % v[1].u);
        if (v[0].i == INT64_MIN && v[1].i == -1)
                return value_error(c, "integer overflow");
        return value_int(v[0].i % v[1].i);
}

static struct cel_value f_negate(ARGS) {
        if (v[0].kind == CEL_DOUBLE)
                return value_double(-v[0].d);
        return v[0].i == INT64_MIN ? value_error(c, "integer overflow") : value_int(-v[0].i);
}

static struct cel_value f_not(ARGS) {
        return cel_of_bool(!v[0].b);
}

static struct cel_value f_not_strictly_false(ARGS) {
        return cel_of_bool(v[0].kind != CEL_BOOL || v[0].b);
}

/* ---- comparison ---- */

static struct cel_value f_equal(ARGS) {
        bool list = v[0].kind == CEL_LIST, map = v[0].kind == CEL_MAP || v[0].kind == CEL_OBJECT;

        if (v[0].kind == CEL_OPAQUE && v[1].kind != CEL_NULL && (v[0].type != v[1].type || opaque_is_sum(&v[1])))
                return value_no_overload(c);
        if ((list || map) && v[0].form == CEL_JSON && v[0].type && v[1].kind != CEL_NULL &&
            (list ? v[1].kind != CEL_LIST : v[1].kind != CEL_MAP && v[1].kind != CEL_OBJECT))
                return value_no_overload(c); /* upstream's values of data compare with nothing else */
        return cel_of_bool(value_equal(c, &v[0], &v[1]));
}

static struct cel_value f_not_equal(ARGS) {
        return cel_of_bool(opaque_is_sum(&v[1]) || !value_equal(c, &v[0], &v[1]));
}

static struct cel_value f_compare(ARGS) {
        const char *op = c->call->fn->name;
        int k = value_compare(&v[0], &v[1]);

        if (k > 1)
                return k == 2 ? value_error(c, "NaN values cannot be ordered") : value_no_overload(c);
        return cel_of_bool(op[1] == '<' ? k < 0 || (k == 0 && op[2] == '=') : k > 0 || (k == 0 && op[2] == '='));
}

static bool list_has(struct ctx *c, const struct cel_value *list, const struct cel_value *x) {
        for (size_t i = 0; i < list->n; i++) {
                struct cel_value item = list_get(c->a, list, i);

                if (value_equal(c, &item, x))
                        return true;
        }
        return false;
}

static struct cel_value f_in(ARGS) {
        struct cel_value r;

        if (v[1].kind == CEL_LIST)
                return cel_of_bool(list_has(c, &v[1], &v[0]));
        if (v[1].form == CEL_LAZY)
                return value_no_overload(c);
        bool found = cel_map_find(c, &v[1], &v[0], &r);
        return found && r.kind == CEL_ERROR ? r : cel_of_bool(found);
}

/* ---- containers ---- */

static struct cel_value f_size(ARGS) {
        return value_int((int64_t) value_size(&v[0]));
}

static bool as_index(const struct cel_value *v, int64_t *ret) {
        *ret = v->kind == CEL_DOUBLE ? (fabs(v->d) < 1e15 ? (int64_t) v->d : -1)
               : v->kind == CEL_UINT ? (v->u <= INT64_MAX ? (int64_t) v->u : -1)
                                     : v->i;
        return v->kind == CEL_INT || v->kind == CEL_UINT || (v->kind == CEL_DOUBLE && (double) *ret == v->d);
}

static struct cel_value bad_index(struct ctx *c, const struct cel_value *at) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (at->kind != CEL_DOUBLE && at->kind != CEL_UINT)
                return value_error(c, "unsupported index type '%" STR_FMT "' in list",
                                   STR_ARG(type_name(c->a, value_type_of(at))));
        value_print(&b, c, at);
        return value_error(c, "unsupported index value %" STR_FMT " in list", STR_ARG(buf_str(&b)));
}

/* 1 and the element, 0: there is none, -1: an error in *ret. */
static int element(struct ctx *c, const struct cel_value *of, const struct cel_value *at, struct cel_value *ret) {
        int64_t i;

        if (of->kind == CEL_OBJECT && at->kind == CEL_STRING)
                return value_select(c, of, cel_str(at), true, ret);
        if (of->kind == CEL_MAP || (of->kind == CEL_OBJECT && of->form == CEL_JSON))
                return cel_map_find(c, of, at, ret) ? (ret->kind == CEL_ERROR ? -1 : 1) : 0;
        if (of->kind != CEL_LIST)
                return 0;
        if (!as_index(at, &i)) {
                *ret = bad_index(c, at);
                return -1;
        }
        if (i < 0 || (uint64_t) i >= of->n)
                return 0;
        *ret = list_get(c->a, of, (size_t) i);
        return ret->kind == CEL_ERROR ? -1 : 1;
}

static struct cel_value f_index(ARGS) {
        bool optional = v[0].kind == CEL_OPTIONAL || c->call->fn->name[2] == '?';
        const struct cel_value *of = v[0].kind == CEL_OPTIONAL ? v[0].value : &v[0];
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct cel_value r;

        if (!of)
                return v[0];
        if (v[1].kind == CEL_OPTIONAL || v[1].kind == CEL_NULL)
                return value_error(c, "invalid qualifier type: %s", value_go_type(&v[1]));
        int k = element(c, of, &v[1], &r);
        if (k < 0)
                return r;
        if (optional)
                return cel_of_optional(c->a, k ? &r : NULL);
        if (k > 0)
                return r;
        value_print(&b, c, &v[1]);
        return value_error(c, of->kind == CEL_LIST ? "index out of bounds: %" STR_FMT : "no such key: %" STR_FMT,
                           STR_ARG(buf_str(&b)));
}

/* ---- strings ---- */

static struct cel_value f_contains(ARGS) {
        return cel_of_bool(v[1].n == 0 || str_search(cel_str(&v[0]), cel_str(&v[1])) >= 0);
}

static struct cel_value f_starts_with(ARGS) {
        return cel_of_bool(str_has_prefix(cel_str(&v[0]), cel_str(&v[1])));
}

static struct cel_value f_ends_with(ARGS) {
        return cel_of_bool(str_has_suffix(cel_str(&v[0]), cel_str(&v[1])));
}

/* A pattern that is not a literal. Many of them are paid for. */
int pattern_compile(struct ctx *c, struct str pattern, struct regex **ret, struct error *err) {
        if (++c->compiled > 100)
                c->cost += 100;
        return regex_compile(pattern, ret, err);
}

static struct cel_value f_matches(ARGS) {
        _cleanup_(regex_freep) struct regex *made = NULL;
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = 0;

        if (!c->call->regex)
                r = pattern_compile(c, cel_str(&v[1]), &made, &err);
        if (r == 0)
                r = regex_match(c->call->regex ? c->call->regex : made, cel_str(&v[0]));
        if (r < 0)
                return value_error(c, "%s", r == -E2BIG ? "regular expression is too expensive" : error_text(&err));
        return cel_of_bool(r);
}

/* ---- conversions ---- */

static struct cel_value no_conversion(struct ctx *c, const struct cel_value *v, const char *to) {
        const struct cel_type *t = value_type_of(v);
        const char *from = t->kind == CEL_TIMESTAMP  ? "google.protobuf.Timestamp"
                           : t->kind == CEL_DURATION ? "google.protobuf.Duration"
                                                     : arena_cstr(c->a, cel_type_text(c->a, t));

        return value_error(c, "type conversion error from '%s' to '%s'", from, to);
}

/* 1_000, as Go writes numbers: between digits, or behind 0x. False: they are elsewhere. */
static bool drop_underscores(char *text) {
        bool hex = strpbrk(text, "xX");
        char *to = text;

        for (char *p = text; *p; p++) {
                if (*p != '_')
                        *to++ = *p;
                else if (p == text || !(isxdigit((unsigned char) p[-1]) || (p[-1] | 32) == 'x') ||
                         !(hex ? isxdigit((unsigned char) p[1]) : isdigit((unsigned char) p[1])))
                        return false;
        }
        *to = 0;
        return true;
}

struct cel_value string_to(struct ctx *c, enum cel_kind kind, const struct cel_value *v) {
        static const char *const names[] = { [CEL_BOOL] = "bool",
                                             [CEL_INT] = "int",
                                             [CEL_UINT] = "uint",
                                             [CEL_DOUBLE] = "double",
                                             [CEL_TIMESTAMP] = "google.protobuf.Timestamp",
                                             [CEL_DURATION] = "google.protobuf.Duration" };
        struct cel_value r = { .kind = (uint8_t) kind };
        struct str s = cel_str(v);
        char *text, *end;
        bool ok;

        switch (kind) {
        case CEL_BOOL:
                ok = str_to_bool(s, &r.b) == 0;
                break;
        case CEL_INT:
                ok = str_to_i64(s.n > 1 && *s.p == '+' ? str_sub(s, 1, s.n) : s, &r.i) == 0;
                break;
        case CEL_UINT:
                ok = str_to_u64(s, &r.u) == 0;
                break;
        case CEL_DOUBLE:
                text = arena_cstr(c->a, s);
                ok = drop_underscores(text);
                r.d = strtod(text, &end);
                ok = ok && s.n > 0 && !strchr(" \t\n\r\f\v", *text) && end == text + strlen(text) &&
                     (!strpbrk(text, "xX") || strpbrk(text, "pP")) && (!isinf(r.d) || strpbrk(text, "nN"));
                break;
        case CEL_TIMESTAMP:
                ok = parse_timestamp(s, &r) == 0;
                if (ok && !time_in_range(r.i))
                        return value_error(c, "timestamp overflow");
                break;
        default:
                ok = duration_parse(s, &r.i) == 0;
        }
        return ok ? r : no_conversion(c, v, names[kind]);
}

static struct cel_value f_int(ARGS) {
        switch ((enum cel_kind) v[0].kind) {
        case CEL_UINT:
                return v[0].u > INT64_MAX ? value_error(c, "integer overflow") : value_int((int64_t) v[0].u);
        case CEL_DOUBLE:
                if (isnan(v[0].d) || v[0].d <= -9223372036854775808.0 || v[0].d >= 9223372036854775808.0)
                        return value_error(c, "integer overflow");
                return value_int((int64_t) v[0].d);
        case CEL_STRING:
                return string_to(c, CEL_INT, v);
        default: /* int, timestamp, duration */
                return value_int(v[0].i);
        }
}

static struct cel_value f_uint(ARGS) {
        switch ((enum cel_kind) v[0].kind) {
        case CEL_INT:
                return v[0].i < 0 ? value_error(c, "unsigned integer overflow") : value_uint((uint64_t) v[0].i);
        case CEL_DOUBLE:
                if (!(v[0].d >= 0 && v[0].d < 0x1p64))
                        return value_error(c, "unsigned integer overflow");
                return value_uint((uint64_t) v[0].d);
        case CEL_STRING:
                return string_to(c, CEL_UINT, v);
        default:
                return v[0];
        }
}

static struct cel_value f_double(ARGS) {
        switch ((enum cel_kind) v[0].kind) {
        case CEL_INT:
                return value_double((double) v[0].i);
        case CEL_UINT:
                return value_double((double) v[0].u);
        case CEL_STRING:
                return string_to(c, CEL_DOUBLE, v);
        default:
                return v[0];
        }
}

static struct cel_value f_bool(ARGS) {
        return v[0].kind == CEL_BOOL ? v[0] : string_to(c, CEL_BOOL, v);
}

static struct cel_value f_bytes(ARGS) {
        struct cel_value r = v[0];

        r.kind = CEL_BYTES;
        return r;
}

static bool valid_utf8(struct str s) {
        size_t at = 0, from;

        while (at < s.n) {
                static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

                from = at;
                uint32_t ch = utf8_next(s, &at);
                if ((at - from == 1 && (unsigned char) s.p[from] >= 0x80) || ch > 0x10ffff || ch < least[at - from] ||
                    (ch >= 0xd800 && ch < 0xe000))
                        return false;
                for (size_t i = from + 1; i < at; i++)
                        if (((unsigned char) s.p[i] & 0xc0) != 0x80)
                                return false;
                if (at - from < ((unsigned char) s.p[from] >= 0xf0 ? 4u : (unsigned char) s.p[from] >= 0xe0 ? 3u : 1u))
                        return false;
        }
        return true;
}

static struct cel_value f_string(ARGS) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct cel_value r = v[0];

        if (v[0].kind == CEL_STRING)
                return r;
        if (v[0].kind == CEL_BYTES && !valid_utf8(cel_str(&v[0])))
                return value_error(c, "invalid UTF-8 in bytes, cannot convert to string");
        r.kind = CEL_STRING;
        if (v[0].kind == CEL_BYTES)
                return r;
        if (v[0].kind == CEL_OPAQUE)
                return opaque_string(c, &v[0]);
        if (v[0].kind == CEL_DOUBLE)
                return value_string(format_double(c->a, v[0].d, 6));
        value_print(&b, c, &v[0]);
        return value_string(arena_str(c->a, buf_str(&b)));
}

static struct cel_value f_timestamp(ARGS) {
        if (v[0].kind == CEL_STRING)
                return string_to(c, CEL_TIMESTAMP, v);
        if (v[0].kind == CEL_INT && !time_in_range(v[0].i))
                return value_error(c, "timestamp overflow");
        if (v[0].kind == CEL_TIMESTAMP)
                return v[0];
        return (struct cel_value) { .kind = CEL_TIMESTAMP, .i = v[0].i };
}

static struct cel_value f_duration(ARGS) {
        if (v[0].kind == CEL_INT) /* declared, and not there */
                return no_conversion(c, &v[0], "google.protobuf.Duration");
        return v[0].kind == CEL_STRING ? string_to(c, CEL_DURATION, v) : v[0];
}

static struct cel_value f_dyn(ARGS) {
        return v[0];
}

static struct cel_value f_type(ARGS) {
        return value_type(value_type_of(&v[0]));
}

/* ---- time ---- */

/* "UTC", "+05:30", "-08:00"; a name of the zone database is read from the machine's. */
static bool zone_offset(struct str zone, int64_t at, int64_t *ret) {
        int h, m, n = 0;
        char text[16];

        *ret = 0;
        if (zone.n == 0 || str_eqc(zone, "UTC"))
                return true;
        if (str_find(zone, ':') < 0 || zone.n > 6)
                return zone_lookup(zone, at, ret);
        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(zone));
        if (sscanf(text + (*text == '+' || *text == '-'), "%2d:%2d%n", &h, &m, &n) != 2 || n < 4)
                return false;
        *ret = (*text == '-' ? -1 : 1) * (h * 3600 + m * 60);
        return true;
}

static struct cel_value f_time_part(ARGS) {
        const char *name = c->call->fn->name + 3; /* after "get" */
        int64_t offset = 0, at;
        struct tm tm;

        if (v[0].kind == CEL_DURATION) {
                int64_t unit = *name == 'H'                       ? 3600 * NSEC_PER_SEC
                               : *name == 'S'                     ? NSEC_PER_SEC
                               : name[1] == 'i' && name[2] == 'n' ? 60 * NSEC_PER_SEC
                                                                  : NSEC_PER_MSEC;

                return value_int(v[0].i / unit);
        }
        if (n == 2 && !zone_offset(cel_str(&v[1]), v[0].i, &offset))
                return value_error(c, "unknown time zone %" STR_FMT, STR_ARG(cel_str(&v[1])));
        at = v[0].i + offset;
        time_t t = (time_t) at;
        gmtime_r(&t, &tm);
        switch (*name) {
        case 'F':
                return value_int(tm.tm_year + 1900);
        case 'H':
                return value_int(tm.tm_hour);
        case 'S':
                return value_int(tm.tm_sec);
        case 'D':
                return value_int(strcmp(name, "DayOfYear") == 0    ? tm.tm_yday
                                 : strcmp(name, "DayOfMonth") == 0 ? tm.tm_mday - 1
                                 : strcmp(name, "DayOfWeek") == 0  ? tm.tm_wday
                                                                   : tm.tm_mday);
        default:
                return value_int(strcmp(name, "Month") == 0     ? tm.tm_mon
                                 : strcmp(name, "Minutes") == 0 ? tm.tm_min
                                                                : (int64_t) v[0].n / NSEC_PER_MSEC);
        }
}

/* ---- optionals ---- */

static struct cel_value f_optional_of(ARGS) {
        bool none = n == 0 || (strcmp(c->call->fn->name, "optional.ofNonZeroValue") == 0 && value_is_zero(&v[0]));

        return cel_of_optional(c->a, none ? NULL : &v[0]);
}

static struct cel_value f_has_value(ARGS) {
        return cel_of_bool(v[0].value != NULL);
}

static struct cel_value f_value(ARGS) {
        return v[0].value ? *v[0].value : value_error(c, "optional.none() dereference");
}

static struct cel_value f_end(ARGS) {
        if (v[0].n == 0)
                return cel_of_optional(c->a, NULL);
        struct cel_value item = list_get(c->a, &v[0], c->call->fn->name[0] == 'f' ? 0 : v[0].n - 1);
        return item.kind == CEL_ERROR ? item : cel_of_optional(c->a, &item);
}

static struct cel_value f_unwrap(ARGS) {
        struct cel_value *items = arena_array(c->a, struct cel_value, v[0].n + 1);
        size_t count = 0;

        for (size_t i = 0; i < v[0].n; i++) {
                struct cel_value item = list_get(c->a, &v[0], i);

                if (item.kind != CEL_OPTIONAL)
                        return value_no_overload(c);
                if (item.value)
                        items[count++] = *item.value;
        }
        return value_list(items, count);
}

/* ---- sets ---- */

static bool contains_all(struct ctx *c, const struct cel_value *list, const struct cel_value *of) {
        for (size_t i = 0; i < of->n; i++) {
                struct cel_value item = list_get(c->a, of, i);

                if (!list_has(c, list, &item))
                        return false;
        }
        return true;
}

static struct cel_value f_sets(ARGS) {
        const char *which = c->call->fn->name + 5; /* after "sets." */
        bool found = false;

        c->cost += (uint64_t) v[0].n * v[1].n * (*which == 'e' ? 2 : 1);
        if (c->cost > c->limit) {
                c->cancelled = true;
                return value_null;
        }
        if (*which == 'c')
                return cel_of_bool(contains_all(c, &v[0], &v[1]));
        if (*which == 'e')
                return cel_of_bool(contains_all(c, &v[0], &v[1]) && contains_all(c, &v[1], &v[0]));
        for (size_t i = 0; i < v[1].n && !found; i++) {
                struct cel_value item = list_get(c->a, &v[1], i);

                found = list_has(c, &v[0], &item);
        }
        return cel_of_bool(found);
}

#define ORDERED "bb>b|ii>b|id>b|iu>b|uu>b|ud>b|ui>b|dd>b|di>b|du>b|ss>b|yy>b|tt>b|gg>b"
#define TIME_PART "t.>i|t.s>i"

const struct function functions_std[] = {
        { "_+_", "yy>y|dd>d|gg>g|gt>t|tg>t|ii>i|LALA>LA|ss>s|uu>u", f_add, COST_ADD },
        { "_-_", "dd>d|gg>g|ii>i|tg>t|tt>g|uu>u", f_subtract, COST_ONE },
        { "_*_", "dd>d|ii>i|uu>u", f_multiply, COST_ONE },
        { "_/_", "dd>d|ii>i|uu>u", f_divide, COST_ONE },
        { "_%_", "ii>i|uu>u", f_modulo, COST_ONE },
        { "-_", "d>d|i>i", f_negate, COST_ONE },
        { "!_", "b>b", f_not, COST_ONE },
        { "@not_strictly_false", "b>b", f_not_strictly_false, COST_ONE },
        { "_?_:_", "bAA>A", NULL, COST_ONE },
        { "_==_", "AA>b", f_equal, COST_COMPARE },
        { "_!=_", "AA>b", f_not_equal, COST_COMPARE },
        { "_<_", ORDERED, f_compare, COST_COMPARE },
        { "_<=_", ORDERED, f_compare, COST_COMPARE },
        { "_>_", ORDERED, f_compare, COST_COMPARE },
        { "_>=_", ORDERED, f_compare, COST_COMPARE },
        { "@in", "ALA>b|AMAB>b", f_in, COST_IN },
        { "_[_]", "LAi>A|MABA>B|OLAi>OA|OMABA>OB", f_index, COST_INDEX },
        { "_[?_]", "LAi>OA|OLAi>OA|MABA>OB|OMABA>OB", f_index, COST_INDEX },
        { "size", "y>i|y.>i|LA>i|LA.>i|MAB>i|MAB.>i|s>i|s.>i", f_size, COST_ONE },
        { "contains", "s.s>b", f_contains, COST_CONTAINS },
        { "startsWith", "s.s>b", f_starts_with, COST_ARGUMENT },
        { "endsWith", "s.s>b", f_ends_with, COST_ARGUMENT },
        { "matches", "ss>b|s.s>b", f_matches, COST_MATCHES },
        { "int", "i>i|d>i|g>i|s>i|t>i|u>i", f_int, COST_ONE },
        { "uint", "u>u|d>u|i>u|s>u", f_uint, COST_ONE },
        { "double", "d>d|i>d|s>d|u>d", f_double, COST_ONE },
        { "bool", "b>b|s>b", f_bool, COST_ONE },
        { "bytes", "y>y|s>y", f_bytes, COST_TO_BYTES },
        { "string", "s>s|b>s|y>s|d>s|g>s|i>s|t>s|u>s|P>s|N>s", f_string, COST_TO_STRING },
        { "timestamp", "t>t|i>t|s>t", f_timestamp, COST_ONE },
        { "duration", "g>g|i>g|s>g", f_duration, COST_ONE },
        { "dyn", "A>*", f_dyn, COST_DYN },
        { "type", "A>TA", f_type, COST_ONE },
        { "getFullYear", TIME_PART, f_time_part, COST_ONE },
        { "getMonth", TIME_PART, f_time_part, COST_ONE },
        { "getDayOfYear", TIME_PART, f_time_part, COST_ONE },
        { "getDayOfMonth", TIME_PART, f_time_part, COST_ONE },
        { "getDate", TIME_PART, f_time_part, COST_ONE },
        { "getDayOfWeek", TIME_PART, f_time_part, COST_ONE },
        { "getHours", TIME_PART "|g.>i", f_time_part, COST_ONE },
        { "getMinutes", TIME_PART "|g.>i", f_time_part, COST_ONE },
        { "getSeconds", TIME_PART "|g.>i", f_time_part, COST_ONE },
        { "getMilliseconds", TIME_PART "|g.>i", f_time_part, COST_ONE },
        { "optional.of", "A>OA", f_optional_of, COST_ONE },
        { "optional.ofNonZeroValue", "A>OA", f_optional_of, COST_ONE },
        { "optional.none", ">OA", f_optional_of, COST_ONE },
        { "hasValue", "OA.>b", f_has_value, COST_ONE },
        { "value", "OA.>A", f_value, COST_ONE },
        { "or", "OA.OA>OA", NULL, COST_ONE },
        { "orValue", "OA.A>A", NULL, COST_ONE },
        { "first", "LA.>OA", f_end, COST_ONE },
        { "last", "LA.>OA", f_end, COST_ONE },
        { "optional.unwrap", "LOA>LA", f_unwrap, COST_ONE },
        { "unwrapOpt", "LOA.>LA", f_unwrap, COST_ONE },
        { "cel.@mapInsert", "MABAB>MAB|MABMAB>MAB", f_dyn, COST_ONE }, /* eval.c does it */
        { "sets.contains", "LALA>b", f_sets, COST_SETS },
        { "sets.equivalent", "LALA>b", f_sets, COST_SETS },
        { "sets.intersects", "LALA>b", f_sets, COST_SETS },
        { NULL },
};

const struct function *function_find(struct str name) {
        static const struct function *const tables[] = { functions_std, functions_strings, functions_kubernetes,
                                                         functions_net };

        for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
                for (const struct function *f = tables[i]; f->name; f++)
                        if (str_eqc(name, f->name))
                                return f;
        return NULL;
}
