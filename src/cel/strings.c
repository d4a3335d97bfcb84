/* The extended string functions (cel-go's ext.Strings, version 2). Positions count code points. */
#include "cel/internal.h"

#include <math.h>

#define ARGS struct ctx *c, const struct cel_value *v, size_t n

static struct cel_value out_of_range(struct ctx *c, int64_t i) {
        return value_error(c, "index out of range: %lld", (long long) i);
}

#define MAX_TEXT (16 << 20) /* of what a function makes: its cost is counted by what goes in */

static bool too_long(const struct buf *b) {
        return b->n > MAX_TEXT;
}

static struct cel_value taken(struct ctx *c, struct buf *b) {
        struct cel_value r =
                        too_long(b) ? value_error(c, "result is too long") : value_string(arena_str(c->a, buf_str(b)));

        buf_free(b);
        return r;
}

static struct cel_value f_char_at(ARGS) {
        struct str s = cel_str(&v[0]);
        int64_t i = v[1].i, len = (int64_t) utf8_count(s);
        size_t from, to;

        if (i < 0 || i > len)
                return out_of_range(c, i);
        from = to = utf8_offset(s, (size_t) i);
        if (i < len)
                utf8_next(s, &to);
        return value_string(str_sub(s, from, to));
}

static struct cel_value f_substring(ARGS) {
        struct str s = cel_str(&v[0]);
        int64_t len = (int64_t) utf8_count(s), from = v[1].i, to = n == 3 ? v[2].i : len;

        if (n == 3 && from > to)
                return value_error(c, "invalid substring range. start: %lld, end: %lld", (long long) from,
                                   (long long) to);
        if (from < 0 || from > len)
                return out_of_range(c, from);
        if (to < 0 || to > len)
                return out_of_range(c, to);
        return value_string(str_sub(s, utf8_offset(s, (size_t) from), utf8_offset(s, (size_t) to)));
}

/* indexOf and lastIndexOf of strings and of lists, with a position to start from or without. */
static struct cel_value f_index_of(ARGS) {
        bool last = c->call->fn->name[0] == 'l';

        if (v[0].kind == CEL_LIST) {
                for (size_t i = 0; i < v[0].n; i++) {
                        size_t k = last ? v[0].n - 1 - i : i;
                        struct cel_value item = list_get(c->a, &v[0], k);

                        if (value_equal(c, &item, &v[1]))
                                return value_int((int64_t) k);
                }
                return value_int(-1);
        }
        struct str s = cel_str(&v[0]);
        struct str what = cel_str(&v[1]);
        int64_t len = (int64_t) utf8_count(s);
        int64_t at = n == 3 ? v[2].i : last ? len - (what.n > 0) : 0;
        if (what.n == 0)
                return value_int(at);
        if (n == 2 && len == 0)
                return value_int(-1);
        if (at < 0)
                return out_of_range(c, at);
        if (at >= len)
                return value_int(-1);
        size_t byte = utf8_offset(s, (size_t) at);
        if (!last) {
                ssize_t found = str_search(str_sub(s, byte, s.n), what);

                return value_int(found < 0 ? -1 : at + (int64_t) utf8_count(str_sub(s, byte, byte + (size_t) found)));
        }
        for (byte = MIN(byte, s.n >= what.n ? s.n - what.n : 0);; byte--) {
                if (str_has_prefix(str_sub(s, byte, s.n), what))
                        return value_int((int64_t) utf8_count(str_sub(s, 0, byte)));
                if (byte == 0)
                        return value_int(-1);
        }
}

static struct cel_value f_ascii_case(ARGS) {
        bool upper = c->call->fn->name[0] == 'u';
        struct cel_value r = value_string(arena_str(c->a, cel_str(&v[0])));
        char *p = (char *) r.s;

        for (size_t i = 0; i < r.n; i++)
                if (upper ? p[i] >= 'a' && p[i] <= 'z' : p[i] >= 'A' && p[i] <= 'Z')
                        p[i] ^= 0x20;
        return r;
}

/* Unicode's White_Space. */
static bool is_space(uint32_t ch) {
        return (ch >= 9 && ch <= 13) || ch == ' ' || ch == 0x85 || ch == 0xa0 || ch == 0x1680 ||
               (ch >= 0x2000 && ch <= 0x200a) || ch == 0x2028 || ch == 0x2029 || ch == 0x202f || ch == 0x205f ||
               ch == 0x3000;
}

static struct cel_value f_trim(ARGS) {
        struct str s = cel_str(&v[0]);
        size_t from = 0, to = 0, at = 0;
        bool begun = false;

        while (at < s.n) {
                size_t start = at;

                if (is_space(utf8_next(s, &at)))
                        continue;
                from = begun ? from : start;
                to = at;
                begun = true;
        }
        return value_string(str_sub(s, from, to));
}

static struct cel_value f_replace(ARGS) {
        struct str s = cel_str(&v[0]), old = cel_str(&v[1]);
        int64_t left = n == 4 ? v[3].i : -1;
        struct buf b = BUF_INIT;
        size_t at = 0, next;

        while (left != 0 && !too_long(&b)) {
                ssize_t found = old.n == 0 ? 0 : str_search(str_sub(s, at, s.n), old);
                if (found < 0)
                        break;
                buf_add_str(&b, str_sub(s, at, at + (size_t) found));
                buf_add_str(&b, cel_str(&v[2]));
                at += (size_t) found + old.n;
                left--;
                if (old.n > 0)
                        continue;
                if (at >= s.n)
                        break;
                next = at;
                utf8_next(s, &next);
                buf_add_str(&b, str_sub(s, at, next));
                at = next;
        }
        buf_add_str(&b, str_sub(s, at, s.n));
        return taken(c, &b);
}

static struct cel_value f_split(ARGS) {
        struct str s = cel_str(&v[0]), sep = cel_str(&v[1]);
        int64_t left = n == 3 ? v[2].i : -1;
        VEC(struct str) parts = { 0 };
        size_t at = 0, end;

        while (left != 0 && left != 1 && (sep.n > 0 || at < s.n)) {
                ssize_t found = sep.n > 0 ? str_search(str_sub(s, at, s.n), sep) : 0;
                if (found < 0)
                        break;
                end = at + (size_t) found;
                if (sep.n == 0) {
                        utf8_next(s, &end);
                        if (end >= s.n)
                                break;
                }
                vec_push(&parts, str_sub(s, at, end));
                at = end + sep.n;
                left--;
        }
        if (left != 0 && (sep.n > 0 || at < s.n))
                vec_push(&parts, str_sub(s, at, s.n));
        struct cel_value r = value_strings(c->a, parts.v, parts.n);
        vec_free(&parts);
        return r;
}

static struct cel_value f_join(ARGS) {
        struct buf b = BUF_INIT;

        for (size_t i = 0; i < v[0].n && !too_long(&b); i++) {
                struct cel_value item = list_get(c->a, &v[0], i);

                if (item.kind != CEL_STRING) {
                        buf_free(&b);
                        return item.kind == CEL_ERROR ? item : value_error(c, "join: invalid input");
                }
                if (i > 0 && n == 2)
                        buf_add_str(&b, cel_str(&v[1]));
                buf_add_str(&b, cel_str(&item));
        }
        return taken(c, &b);
}

static void add_quoted(struct buf *b, struct str s) {
        static const char from[] = "\a\b\f\n\r\t\v\\\"", to[] = "abfnrtv\\\"";

        buf_putc(b, '"');
        for (size_t i = 0; i < s.n; i++) {
                const char *p = s.p[i] ? strchr(from, s.p[i]) : NULL;

                if (p)
                        buf_putc(b, '\\');
                buf_putc(b, p ? to[p - from] : s.p[i]);
        }
        buf_putc(b, '"');
}

struct str quoted(struct arena *a, struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_quoted(&b, s);
        return arena_str(a, buf_str(&b));
}

static struct cel_value f_quote(ARGS) {
        struct buf b = BUF_INIT;

        add_quoted(&b, cel_str(&v[0]));
        return taken(c, &b);
}

/* ---- format ---- */

struct str type_name(struct arena *a, const struct cel_type *t) {
        return t->kind == CEL_NULL        ? STR("null_type")
               : t->kind == CEL_TIMESTAMP ? STR("google.protobuf.Timestamp")
               : t->kind == CEL_DURATION  ? STR("google.protobuf.Duration")
                                          : cel_type_text(a, &(struct cel_type) { .kind = t->kind, .name = t->name });
}

static void add_double(struct buf *b, char clause, int precision, double d);

static bool format_string(struct ctx *c, struct buf *b, const struct cel_value *v, bool inside);

static int by_text(const void *a, const void *b) {
        const struct str *x = a, *y = b;

        return str_cmp(*x, *y);
}

static bool format_map(struct ctx *c, struct buf *b, const struct cel_value *v) {
        size_t n = cel_map_size(v);
        struct str *entries = arena_array(c->a, struct str, n);
        bool ok = true;

        for (size_t i = 0; i < n && ok && ++c->work < MAX_TEXT; i++) {
                _cleanup_buf_ struct buf e = BUF_INIT;
                struct cel_value key, value;

                cel_map_entry(c, v, i, &key, &value);
                ok = (key.kind == CEL_STRING || key.kind == CEL_BOOL || key.kind == CEL_INT || key.kind == CEL_UINT) &&
                     format_string(c, &e, &key, true);
                buf_putc(&e, ':');
                ok = ok && format_string(c, &e, &value, true);
                entries[i] = arena_str(c->a, buf_str(&e));
        }
        if (n > 0)
                qsort(entries, n, sizeof(*entries), by_text);
        buf_putc(b, '{');
        for (size_t i = 0; i < n; i++) {
                buf_addc(b, i > 0 ? ", " : "");
                buf_add_str(b, entries[i]);
        }
        buf_putc(b, '}');
        return ok;
}

/* %s. Inside lists and maps strings are quoted and doubles have six digits. */
static bool format_string(struct ctx *c, struct buf *b, const struct cel_value *v, bool inside) {
        bool ok = true;

        switch ((enum cel_kind) v->kind) {
        case CEL_LIST:
                buf_putc(b, '[');
                for (size_t i = 0; i < v->n && ok && !too_long(b); i++) {
                        struct cel_value item = list_get(c->a, v, i);

                        buf_addc(b, i > 0 ? ", " : "");
                        ok = format_string(c, b, &item, true);
                }
                buf_putc(b, ']');
                return ok;
        case CEL_MAP:
        case CEL_OBJECT:
                return v->form != CEL_LAZY && format_map(c, b, v);
        case CEL_STRING:
        case CEL_BYTES:
                if (!inside) {
                        buf_add_str(b, cel_str(v));
                        return true;
                }
                buf_addc(b, v->kind == CEL_BYTES ? "b" : "");
                add_quoted(b, cel_str(v));
                return true;
        case CEL_TYPE:
                buf_add_str(b, type_name(c->a, v->t));
                return true;
        case CEL_DOUBLE:
                if (!inside) {
                        buf_add_str(b, format_double(c->a, v->d, 6));
                        return true;
                }
                buf_addc(b, isfinite(v->d) ? "" : "\"");
                add_double(b, 'f', 6, v->d);
                buf_addc(b, isfinite(v->d) ? "" : "\"");
                return true;
        case CEL_TIMESTAMP:
        case CEL_DURATION:
                buf_addc(b, inside ? v->kind == CEL_DURATION ? "duration(\"" : "timestamp(\"" : "");
                value_print(b, c, v);
                buf_addc(b, inside ? "\")" : "");
                return true;
        case CEL_OPTIONAL:
        case CEL_OPAQUE:
        case CEL_ERROR:
                return false;
        default:
                break;
        }
        value_print(b, c, v);
        return true;
}

static void add_double(struct buf *b, char clause, int precision, double d) {
        static const char *const superscript[] = { "\xe2\x81\xb0", "\xc2\xb9",     "\xc2\xb2",     "\xc2\xb3",
                                                   "\xe2\x81\xb4", "\xe2\x81\xb5", "\xe2\x81\xb6", "\xe2\x81\xb7",
                                                   "\xe2\x81\xb8", "\xe2\x81\xb9" };
        char text[512], *e;

        if (!isfinite(d))
                return buf_addc(b, isnan(d) ? "NaN" : d > 0 ? "\xe2\x88\x9e" : "-\xe2\x88\x9e");
        if (clause == 'f')
                snprintf(text, sizeof(text), "%.*f", precision, d);
        else
                snprintf(text, sizeof(text), "%.6e", d);
        e = clause == 'e' ? strchr(text, 'e') : NULL;
        if (!e) { /* thousands with commas */
                size_t lead = strspn(text, "-"), whole = strcspn(text + lead, ".");

                for (size_t i = 0; text[i]; i++) {
                        if (i > lead && i < lead + whole && (whole - (i - lead)) % 3 == 0)
                                buf_putc(b, ',');
                        buf_putc(b, text[i]);
                }
                return;
        }
        *e++ = 0;
        for (size_t n = strlen(text) + strlen(e) + (*e == '-') + 2; n < (size_t) precision; n++)
                buf_putc(b, ' '); /* upstream takes what is given as precision for a width */
        buf_printf(b, "%s\xc3\x97%d%s", text, 10, *e == '-' ? "\xe2\x81\xbb" : "");
        for (e++; *e; e++)
                buf_addc(b, superscript[*e - '0']);
}

static bool format_double_clause(struct ctx *c, struct buf *b, char clause, int precision, const struct cel_value *v) {
        double d = v->d;

        if (v->kind == CEL_STRING) {
                struct str s = cel_str(v);

                if (!str_eqc(s, "NaN") && !str_eqc(s, "Infinity") && !str_eqc(s, "-Infinity"))
                        return false;
                d = *s.p == 'N' ? NAN : *s.p == '-' ? -INFINITY : INFINITY;
        } else if (v->kind != CEL_DOUBLE) {
                return false;
        }
        add_double(b, clause, precision, d);
        return true;
}

static bool format_integer(struct buf *b, char clause, const struct cel_value *v) {
        bool negative = v->kind == CEL_INT && v->i < 0;
        uint64_t u = v->kind == CEL_BOOL ? v->b : negative ? 0 - v->u : v->u, base;

        if (clause == 'b' && v->kind == CEL_BOOL) {
                buf_putc(b, v->b ? '1' : '0');
                return true;
        }
        if ((clause == 'x' || clause == 'X') && (v->kind == CEL_STRING || v->kind == CEL_BYTES)) {
                for (size_t i = 0; i < v->n; i++)
                        buf_printf(b, clause == 'x' ? "%02x" : "%02X", (unsigned char) v->s[i]);
                return true;
        }
        if (v->kind != CEL_INT && v->kind != CEL_UINT)
                return false;
        if (negative)
                buf_putc(b, '-');
        if (clause == 'd')
                buf_add_u64(b, u);
        else if (clause != 'b')
                buf_printf(b, clause == 'o' ? "%llo" : clause == 'x' ? "%llx" : "%llX", (unsigned long long) u);
        for (base = 1ULL << 63; clause == 'b' && base > 0; base >>= 1)
                if (u >= base || base == 1)
                        buf_putc(b, u & base ? '1' : '0');
        return true;
}

static const char *clause_error(char clause) {
        switch (clause) {
        case 'd':
                return "decimal clause can only be used on integers";
        case 'f':
                return "fixed-point clause can only be used on doubles";
        case 'e':
                return "scientific clause can only be used on doubles";
        case 'b':
                return "only integers and bools can be formatted as binary";
        case 'x':
        case 'X':
                return "only integers, byte buffers, and strings can be formatted as hex";
        case 'o':
                return "octal clause can only be used on integers";
        default:
                return "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, "
                       "durations, and timestamps";
        }
}

/* After the '%': [.precision]clause. Leaves *at behind it. NULL, or what is wrong. */
static const char *read_clause(struct arena *a, struct str f, size_t *at, char *ret_clause, int *ret_precision) {
        *ret_precision = 6;
        if (f.p[*at] == '.') {
                size_t from = ++*at;

                *ret_precision = 0;
                for (; *at < f.n && f.p[*at] >= '0' && f.p[*at] <= '9'; ++*at)
                        *ret_precision = MIN(*ret_precision * 10 + (f.p[*at] - '0'), 1000);
                if (*at == f.n)
                        return "error while parsing precision: could not find end of precision specifier";
                if (*at == from)
                        return "error while parsing precision: error while converting precision to integer: "
                               "strconv.Atoi: parsing \"\": invalid syntax";
                if (*ret_precision >= 100)
                        return "error while parsing precision: precision is too large";
        }
        *ret_clause = f.p[(*at)++];
        return *ret_clause && strchr("sdfebxXo", *ret_clause)
                               ? NULL
                               : arena_printf(a, "unrecognized formatting clause \"%c\"", *ret_clause).p;
}

/* The next clause, after plain text that goes to b, or nowhere: 1; 0 at the end; -1 and *ret_why. used: so many of n
 * arguments are spoken for. */
static int next_clause(struct arena *a, struct str f, size_t used, size_t n, size_t *at, struct buf *b,
                       char *ret_clause, int *ret_precision, struct str *ret_why) {
        const char *fault;

        for (; *at < f.n && (f.p[*at] != '%' || (*at + 1 < f.n && f.p[*at + 1] == '%')); ++*at) {
                *at += f.p[*at] == '%';
                if (b)
                        buf_putc(b, f.p[*at]);
        }
        if (*at >= f.n)
                return 0;
        *ret_why = STR("unexpected end of string");
        if (used >= n && (b || *at + 1 < f.n))
                *ret_why = arena_printf(a, "index %zu out of range", used);
        if (used >= n || ++*at >= f.n)
                return -1;
        fault = read_clause(a, f, at, ret_clause, ret_precision);
        if (fault)
                *ret_why = arena_printf(a, "could not parse formatting clause: %s", fault);
        return fault ? -1 : 1;
}

static struct cel_value f_format(ARGS) {
        struct str f = cel_str(&v[0]), why;
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t used = 0, at = 0;
        int precision, r = 1;
        char clause;

        while (!too_long(&b) && (r = next_clause(c->a, f, used, v[1].n, &at, &b, &clause, &precision, &why)) > 0) {
                struct cel_value arg = list_get(c->a, &v[1], used++);

                if (arg.kind == CEL_ERROR)
                        return arg;
                bool ok = clause == 's'                    ? format_string(c, &b, &arg, false)
                          : clause == 'f' || clause == 'e' ? format_double_clause(c, &b, clause, precision, &arg)
                                                           : format_integer(&b, clause, &arg);
                if (!ok)
                        return value_error(c, "error during formatting: %s, was given %" STR_FMT, clause_error(clause),
                                           STR_ARG(type_name(c->a, value_type_of(&arg))));
        }
        if (r < 0)
                return value_error(c, "%" STR_FMT, STR_ARG(why));
        return too_long(&b) ? value_error(c, "result is too long") : value_string(arena_str(c->a, buf_str(&b)));
}

static bool clause_takes(char clause, const struct cel_type *t) {
        bool whole = t->kind == CEL_INT || t->kind == CEL_UINT;

        switch (clause) {
        case 's':
                return t->kind != CEL_OBJECT && t->kind != CEL_OPAQUE && t->kind != CEL_OPTIONAL;
        case 'f':
        case 'e':
                return t->kind == CEL_DOUBLE || t->kind == CEL_STRING; /* "NaN", "Infinity" */
        case 'x':
        case 'X':
                return whole || t->kind == CEL_STRING || t->kind == CEL_BYTES;
        case 'b':
                return whole || t->kind == CEL_BOOL;
        default:
                return whole;
        }
}

struct str format_check(struct arena *a, const struct node *n, uint32_t *ret_pos) {
        struct str f = cel_str(&n->args[0]->value), why;
        const struct node *list = n->args[1];
        size_t used = 0, at = 0;
        int precision, r;
        char clause;

        *ret_pos = n->pos;
        while ((r = next_clause(a, f, used, list->n_args, &at, NULL, &clause, &precision, &why)) > 0) {
                const struct node *arg = list->args[used++];
                const struct cel_type *t = arg->type;

                *ret_pos = arg->pos;
                if (t == &cel_any || (t->kind != CEL_DYN && t->kind != CEL_PARAM && !clause_takes(clause, t)))
                        return arena_printf(a, "error during formatting: %s, was given %" STR_FMT, clause_error(clause),
                                            STR_ARG(t == &cel_any ? STR("google.protobuf.Any") : type_name(a, t)));
                *ret_pos = n->pos;
        }
        if (r == 0 && used < list->n_args)
                return arena_printf(a, "too many arguments supplied to string.format (expected %zu, got %u)", used,
                                    list->n_args);
        return r < 0 ? why : STR("");
}

const struct function functions_strings[] = {
        { "charAt", "s.i>s", f_char_at, COST_ONE },
        { "indexOf", "s.s>i|s.si>i|LA.A>i", f_index_of, COST_LIST },
        { "lastIndexOf", "s.s>i|s.si>i|LA.A>i", f_index_of, COST_LIST },
        { "join", "Ls.>s|Ls.s>s", f_join, COST_JOIN },
        { "lowerAscii", "s.>s", f_ascii_case, COST_RESIZE },
        { "upperAscii", "s.>s", f_ascii_case, COST_RESIZE },
        { "replace", "s.ss>s|s.ssi>s", f_replace, COST_REPLACE },
        { "split", "s.s>Ls|s.si>Ls", f_split, COST_SPLIT },
        { "substring", "s.i>s|s.ii>s", f_substring, COST_RESIZE },
        { "trim", "s.>s", f_trim, COST_RESIZE },
        { "format", "s.L*>s", f_format, COST_FORMAT },
        { "strings.quote", "s>s", f_quote, COST_QUOTE },
        { NULL },
};
