/* RE2's syntax, item by item, as Go reads it; each item adds instructions to the program. */
#include <ctype.h>

#include "base/regex_program.h"
#include "base/utf8.h"

#define MAX_PATTERN (64 << 10)
#define MAX_CODE (256 << 10)
#define MAX_NESTING 1000
#define MAX_REPEAT 1000
#define NONE SIZE_MAX

enum { FOLD = 1, MULTILINE = 2, DOT_NEWLINE = 4, UNGREEDY = 8 };

struct group {
        unsigned flags; /* of what is around it */
        size_t start, branch;
        size_t jump;   /* the last of the jumps to its end, whose arg leads to the one before; or NONE */
        size_t weight; /* how often a part of it is repeated at most */
};

struct reader {
        struct str in;
        size_t at;
        struct error *err;
        struct regex *re;
        unsigned flags;
        size_t operand, weight; /* where what an operator would repeat begins, or NONE */
        size_t quantifier;      /* just before, in the pattern, or NONE */
        VEC(struct group) open; /* the pattern is one */
};

/* ---- reading ---- */

static int refuse(struct reader *r, const char *what, struct str part) {
        return error_set(r->err, -EINVAL, "error parsing regexp: %s: `%" STR_FMT "`", what, STR_ARG(part));
}

static int refuse_from(struct reader *r, const char *what, size_t from) {
        return refuse(r, what, str_sub(r->in, from, r->at));
}

static bool more(const struct reader *r) {
        return r->at < r->in.n;
}

static bool next_is(const struct reader *r, const char *what) {
        return str_has_prefix(str_sub(r->in, r->at, r->in.n), str_of(what));
}

static bool skip(struct reader *r, const char *what) {
        bool is = next_is(r, what);

        r->at += is ? strlen(what) : 0;
        return is;
}

static uint32_t next_char(struct reader *r) {
        return more(r) ? utf8_next(r->in, &r->at) : 0xfffd;
}

static int hex_digit(uint32_t c) {
        return c >= '0' && c <= '9'                 ? (int) c - '0'
               : (c | 32) >= 'a' && (c | 32) <= 'f' ? (int) (c | 32) - 'a' + 10
                                                    : -1;
}

/* After "\x": 7f, {1F600}. */
static int read_hex(struct reader *r, size_t from, uint32_t *ret) {
        uint32_t c = 0, d;

        if (skip(r, "{")) {
                for (size_t n = 0; more(r); n++) {
                        d = next_char(r);
                        if (d == '}' && n > 0) {
                                *ret = c;
                                return 0;
                        }
                        if (hex_digit(d) < 0 || (c = c << 4 | (uint32_t) hex_digit(d)) > 0x10ffff)
                                break;
                }
                return refuse_from(r, "invalid escape sequence", from);
        }
        int hi = hex_digit(next_char(r));
        int lo = hex_digit(next_char(r));
        if (hi < 0 || lo < 0)
                return refuse_from(r, "invalid escape sequence", from);
        *ret = (uint32_t) (hi << 4 | lo);
        return 0;
}

static bool octal_next(const struct reader *r) {
        return more(r) && r->in.p[r->at] >= '0' && r->in.p[r->at] <= '7';
}

/* A backslash with what follows, where it stands for one character. */
static int read_escape(struct reader *r, uint32_t *ret) {
        static const char from[] = "aftnrv", to[] = "\a\f\t\n\r\v";
        size_t start = r->at++;
        const char *p;

        if (!more(r))
                return refuse(r, "trailing backslash at end of expression", STR(""));
        uint32_t c = next_char(r);
        if (c == 'x')
                return read_hex(r, start, ret);
        if (c == '0' || (c >= '1' && c <= '7' && octal_next(r))) {
                c -= '0';
                for (int i = 0; i < 2 && octal_next(r); i++)
                        c = c * 8 + (uint32_t) (r->in.p[r->at++] - '0');
        } else if (c < 0x80 && c && (p = strchr(from, (int) c))) {
                c = (unsigned char) to[p - from];
        } else if (c >= 0x80 || isalnum((int) c)) {
                return refuse_from(r, "invalid escape sequence", start);
        }
        *ret = c;
        return 0;
}

/* ---- classes of characters ---- */

static const struct {
        const char *name;
        struct str ranges;
} named[] = {
        { "\\d", STR_INIT("09") },
        { "\\s", STR_INIT("\t\n\f\r  ") },
        { "\\w", STR_INIT("09AZ__az") },
        { "[:alnum:]", STR_INIT("09AZaz") },
        { "[:alpha:]", STR_INIT("AZaz") },
        { "[:ascii:]", STR_INIT("\0\x7f") },
        { "[:blank:]", STR_INIT("\t\t  ") },
        { "[:cntrl:]", STR_INIT("\0\x1f\x7f\x7f") },
        { "[:digit:]", STR_INIT("09") },
        { "[:graph:]", STR_INIT("!~") },
        { "[:lower:]", STR_INIT("az") },
        { "[:print:]", STR_INIT(" ~") },
        { "[:punct:]", STR_INIT("!/:@[`{~") },
        { "[:space:]", STR_INIT("\t\r  ") },
        { "[:upper:]", STR_INIT("AZ") },
        { "[:word:]", STR_INIT("09AZ__az") },
        { "[:xdigit:]", STR_INIT("09AFaf") },
};

static void add_range(struct regex_class *class, uint32_t lo, uint32_t hi) {
        if (lo <= hi)
                vec_push(&class->ranges, (struct regex_range) { lo, hi });
}

/* Blind to case, what is not in [:word:] are not the two letters beyond ASCII either that are k and s. */
static bool add_named(struct regex_class *class, struct str name, bool inverse, bool fold) {
        bool letters = false;

        if (inverse && fold && (str_eqc(name, "[:lower:]") || str_eqc(name, "[:upper:]")))
                name = STR("[:alpha:]");
        for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
                struct str ranges = named[i].ranges;
                uint32_t from = 0;

                if (!str_eqc(name, named[i].name))
                        continue;
                for (size_t k = 0; k < ranges.n; k += 2) {
                        uint32_t lo = (uint32_t) ranges.p[k], hi = (uint32_t) ranges.p[k + 1];

                        if (inverse && lo > from)
                                add_range(class, from, lo - 1);
                        else if (!inverse)
                                add_range(class, lo, hi);
                        from = hi + 1;
                        letters = letters || (lo <= 's' && hi >= 's');
                }
                if (inverse && fold && letters) {
                        add_range(class, from, 0x17e);
                        add_range(class, 0x180, 0x2129);
                        from = 0x212b;
                }
                if (inverse)
                        add_range(class, from, 0x10ffff);
                return true;
        }
        return false;
}

/* \pL \p{Greek} \P{^Greek}: 1 when there was one. */
static int read_property(struct reader *r, struct buf *properties) {
        size_t start = r->at;
        struct str name;
        bool inverse = next_is(r, "\\P");

        if (!inverse && !next_is(r, "\\p"))
                return 0;
        r->at += 2;
        if (next_is(r, "{")) {
                ssize_t end = str_find(str_sub(r->in, r->at, r->in.n), '}');
                if (end < 0)
                        return refuse(r, "invalid character class range", str_sub(r->in, start, r->in.n));
                name = str_sub(r->in, r->at + 1, r->at + (size_t) end);
                r->at += (size_t) end + 1;
        } else {
                next_char(r);
                name = str_sub(r->in, start + 2, r->at);
        }
        if (str_has_prefix(name, STR("^"))) {
                inverse = !inverse;
                name = str_sub(name, 1, name.n);
        }
        if (regex_class_add_property(properties, name, inverse, r->flags & FOLD) == 0)
                return refuse_from(r, "invalid character class range", start);
        return 1;
}

/* \d \D \s \S \w \W */
static bool read_perl(struct reader *r, struct regex_class *class, bool lone) {
        char c = r->at + 1 < r->in.n && r->in.p[r->at] == '\\' ? r->in.p[r->at + 1] : 0;
        char name[] = { '\\', (char) tolower((unsigned char) c), 0 };

        if (!c || !strchr("dDsSwW", c))
                return false;
        if (lone)
                class->negated = isupper((unsigned char) c);
        add_named(class, str_of(name), !lone && isupper((unsigned char) c), r->flags & FOLD);
        r->at += 2;
        return true;
}

/* [[:alpha:]] [[:^alpha:]]: 1 when there was one. */
static int read_posix(struct reader *r, struct regex_class *class) {
        ssize_t end = next_is(r, "[:") ? str_search(str_sub(r->in, r->at + 2, r->in.n), STR(":]")) : -1;
        size_t start = r->at;
        char name[16];

        if (end < 0)
                return 0;
        r->at += (size_t) end + 4;
        bool inverse = r->in.p[start + 2] == '^';
        snprintf(name, sizeof(name), "[:%" STR_FMT, STR_ARG(str_sub(r->in, start + 2 + inverse, r->at)));
        if (!add_named(class, str_of(name), inverse, r->flags & FOLD) || strlen(name) != r->at - start - inverse)
                return refuse_from(r, "invalid character class range", start);
        return 1;
}

static int read_class_char(struct reader *r, size_t class, uint32_t *ret) {
        if (!more(r))
                return refuse(r, "missing closing ]", str_sub(r->in, class, r->in.n));
        if (r->in.p[r->at] == '\\')
                return read_escape(r, ret);
        *ret = next_char(r);
        return 0;
}

/* [a-z\d[:alpha:]\pL]: 1 when it is one. */
static int read_class(struct reader *r, struct regex_class *class, struct buf *properties) {
        size_t start = r->at;

        if (!skip(r, "["))
                return 0;
        class->negated = skip(r, "^");
        for (bool first = true; first || !skip(r, "]"); first = false) {
                size_t item = r->at;
                uint32_t lo, hi;
                int k = read_posix(r, class);

                if (k == 0)
                        k = read_property(r, properties);
                if (k < 0)
                        return k;
                if (k > 0 || read_perl(r, class, false))
                        continue;
                TRY(read_class_char(r, start, &lo));
                hi = lo;
                if (next_is(r, "-") && r->at + 1 < r->in.n && r->in.p[r->at + 1] != ']') {
                        r->at++;
                        TRY(read_class_char(r, start, &hi));
                        if (hi < lo)
                                return refuse_from(r, "invalid character class range", item);
                }
                add_range(class, lo, hi);
        }
        return 1;
}

/* ---- writing ---- */

static int put(struct reader *r, enum regex_op op, size_t arg) {
        if (r->re->code.n >= MAX_CODE)
                return refuse(r, "expression too large", r->in);
        vec_push(&r->re->code, (struct regex_inst) { op, (int32_t) arg });
        return 0;
}

/* From at on, all moves by one. */
static int put_before(struct reader *r, size_t at, enum regex_op op, size_t arg) {
        TRY(put(r, op, arg));
        for (size_t i = r->re->code.n - 1; i > at; i--)
                r->re->code.v[i] = r->re->code.v[i - 1];
        r->re->code.v[at] = (struct regex_inst) { op, (int32_t) arg };
        return 0;
}

static int put_copy(struct reader *r, size_t from, size_t n) {
        for (size_t i = 0; i < n; i++)
                TRY(put(r, r->re->code.v[from + i].op, (size_t) r->re->code.v[from + i].arg));
        return 0;
}

static void begin_operand(struct reader *r, size_t at) {
        struct group *g = &r->open.v[r->open.n - 1];

        g->weight = MAX(g->weight, r->weight);
        r->weight = 1;
        r->operand = at;
}

static int put_atom(struct reader *r, enum regex_op op, size_t arg) {
        begin_operand(r, r->re->code.n);
        return put(r, op, arg);
}

static int put_class(struct reader *r, struct regex_class *class, struct str properties) {
        regex_class_finish(class, properties, r->flags & FOLD);
        vec_push(&r->re->classes, *class);
        return put_atom(r, REGEX_CLASS, r->re->classes.n - 1);
}

static int put_char(struct reader *r, uint32_t c) {
        struct regex_class class = { 0 };
        uint32_t folded = regex_fold(c);

        if (!(r->flags & FOLD) || (folded < 0x80 && !isalpha((int) folded)))
                return put_atom(r, REGEX_CHAR, c);
        if (folded < 0x80)
                return put_atom(r, REGEX_FOLD, folded);
        add_range(&class, c, c);
        return put_class(r, &class, STR(""));
}

/* ---- operators ---- */

static bool read_number(struct reader *r, size_t *ret) {
        size_t v = 0, start = r->at;

        for (; more(r) && isdigit((unsigned char) r->in.p[r->at]); r->at++)
                v = MIN(v * 10 + (size_t) (r->in.p[r->at] - '0'), (size_t) MAX_REPEAT + 1);
        *ret = v;
        return r->at > start && (r->in.p[start] != '0' || r->at == start + 1);
}

/* * + ? {2} {2,} {2,5}: false when it is none of them; {,5} is text. */
static bool read_operator(struct reader *r, size_t *ret_min, size_t *ret_max) {
        size_t start = r->at;

        *ret_min = next_is(r, "+");
        *ret_max = next_is(r, "?") ? 1 : NONE;
        if (skip(r, "*") || skip(r, "+") || skip(r, "?"))
                return true;
        if (!skip(r, "{"))
                return false;
        bool ok = read_number(r, ret_min);
        *ret_max = *ret_min;
        if (ok && skip(r, ",")) {
                *ret_max = NONE;
                ok = next_is(r, "}") || read_number(r, ret_max);
        }
        if (ok && skip(r, "}"))
                return true;
        r->at = start;
        return false;
}

/* x+ is x and a way back, x* is (x+)?, x{2,4} is xx(x(x)?)?. */
static int repeat(struct reader *r, size_t min, size_t max, bool greedy) {
        enum regex_op enter = greedy ? REGEX_SPLIT : REGEX_LEAP, again = greedy ? REGEX_LEAP : REGEX_SPLIT;
        size_t from = r->operand, n = r->re->code.n - from, each = n + 1;

        if (max == 0 || n == 0) {
                r->re->code.n = from;
                return 0;
        }
        if (max == NONE) {
                for (size_t i = 1; i < min; i++)
                        TRY(put_copy(r, from, n));
                TRY(put(r, again, -n));
                return min > 0 ? 0 : put_before(r, from, enter, n + 2);
        }
        for (size_t i = 1; i < min; i++)
                TRY(put_copy(r, from, n));
        if (min == 0)
                TRY(put_before(r, from, enter, each * max));
        for (size_t i = MAX(min, (size_t) 1); i < max; i++) {
                TRY(put(r, enter, each * (max - i)));
                TRY(put_copy(r, from + (min == 0), n));
        }
        return 0;
}

/* The operator at hand: 1 when there was one. */
static int read_repeat(struct reader *r) {
        size_t start = r->at, min, max;
        bool braces = next_is(r, "{"), greedy;

        if (!read_operator(r, &min, &max))
                return 0;
        if (braces && (min > MAX_REPEAT || (max != NONE && (max > MAX_REPEAT || min > max))))
                return refuse_from(r, "invalid repeat count", start);
        greedy = !skip(r, "?") != !!(r->flags & UNGREEDY);
        if (r->quantifier != NONE)
                return refuse_from(r, "invalid nested repetition operator", r->quantifier);
        if (r->operand == NONE)
                return refuse_from(r, "missing argument to repetition operator", start);
        if (braces) {
                r->weight *= max == NONE ? MAX(min, (size_t) 1) : max;
                if (r->weight > MAX_REPEAT)
                        return refuse_from(r, "invalid repeat count", start);
        }
        TRY(repeat(r, min, max, greedy));
        r->quantifier = start;
        return 1;
}

/* ---- groups ---- */

static int open_group(struct reader *r, unsigned flags) {
        if (r->open.n > MAX_NESTING)
                return refuse(r, "expression nests too deeply", r->in);
        if (r->open.n > 0)
                begin_operand(r, NONE);
        vec_push(&r->open, (struct group) { .flags = r->flags,
                                            .start = r->re->code.n,
                                            .branch = r->re->code.n,
                                            .jump = NONE,
                                            .weight = 1 });
        r->flags = flags;
        r->operand = NONE;
        return 0;
}

/* What is behind a branch: over the others, to the end of the group. */
static int end_branch(struct reader *r) {
        struct group *g = &r->open.v[r->open.n - 1];

        begin_operand(r, NONE);
        TRY(put_before(r, g->branch, REGEX_SPLIT, r->re->code.n - g->branch + 2));
        TRY(put(r, REGEX_JUMP, 0));
        r->re->code.v[r->re->code.n - 1].arg = (int32_t) g->jump; /* NONE is -1 */
        g->jump = r->re->code.n - 1;
        g->branch = r->re->code.n;
        return 0;
}

static void close_group(struct reader *r) {
        struct group g = vec_pop(&r->open);

        for (size_t at = g.jump, before; at != NONE; at = before) {
                before = (size_t) r->re->code.v[at].arg;
                r->re->code.v[at].arg = (int32_t) (r->re->code.n - at);
        }
        g.weight = MAX(g.weight, r->weight);
        r->weight = 1;
        if (r->open.n > 0)
                begin_operand(r, g.start);
        r->weight = g.weight;
        r->flags = g.flags;
}

/* After "(": nothing, ?:, ?P<name>, ?i-s:, ?i). */
static int read_group_head(struct reader *r) {
        size_t start = r->at++, left = r->in.n - start;
        unsigned flags = r->flags;

        if (!skip(r, "?"))
                return open_group(r, flags);
        if ((left > 4 && skip(r, "P<")) || (left > 3 && skip(r, "<"))) {
                struct str name = str_sub(r->in, r->at, r->in.n);
                ssize_t end = str_find(name, '>');
                r->at = end < 0 ? r->in.n : r->at + (size_t) end + 1;
                while (end > 0 && (isalnum((unsigned char) name.p[end - 1]) || name.p[end - 1] == '_'))
                        end--;
                return end != 0 || name.p[0] == '>' ? refuse_from(r, "invalid named capture", start)
                                                    : open_group(r, flags);
        }
        for (bool minus = false, any = false; more(r);) {
                static const char letters[] = "imsU";
                uint32_t c = next_char(r);
                const char *flag = c && c < 0x80 ? strchr(letters, (int) c) : NULL;

                if (c == ':' || c == ')') {
                        if (minus && !any)
                                break;
                        if (c == ':')
                                return open_group(r, flags);
                        r->flags = flags;
                        return 0;
                }
                if (flag)
                        flags = minus ? flags & ~(1U << (flag - letters)) : flags | 1U << (flag - letters);
                else if (c != '-' || minus)
                        break;
                any = flag;
                minus = minus || c == '-';
        }
        return refuse_from(r, "invalid or unsupported Perl syntax", start);
}

/* ---- items ---- */

/* \Qliteral\E; the last character of it is what an operator repeats. */
static int read_quoted(struct reader *r) {
        while (more(r) && !skip(r, "\\E"))
                TRY(put_char(r, next_char(r)));
        return 0;
}

static int read_atom(struct reader *r) {
        bool lines = r->flags & MULTILINE;
        struct regex_class class = { 0 };
        _cleanup_buf_ struct buf properties = BUF_INIT;
        uint32_t c;

        if (skip(r, "^"))
                return put_atom(r, lines ? REGEX_LINE_START : REGEX_TEXT_START, 0);
        if (skip(r, "$"))
                return put_atom(r, lines ? REGEX_LINE_END : REGEX_TEXT_END, 0);
        if (skip(r, "."))
                return put_atom(r, r->flags & DOT_NEWLINE ? REGEX_ANY : REGEX_ANY_BUT_NEWLINE, 0);
        if (skip(r, "\\A"))
                return put_atom(r, REGEX_TEXT_START, 0);
        if (skip(r, "\\z"))
                return put_atom(r, REGEX_TEXT_END, 0);
        if (skip(r, "\\b"))
                return put_atom(r, REGEX_WORD_EDGE, 0);
        if (skip(r, "\\B"))
                return put_atom(r, REGEX_NO_WORD_EDGE, 0);
        if (skip(r, "\\Q"))
                return read_quoted(r);
        int k = read_class(r, &class, &properties);
        if (k == 0)
                k = read_property(r, &properties);
        if (k < 0)
                regex_class_free(&class);
        if (k < 0)
                return k;
        if (k > 0 || read_perl(r, &class, true))
                return put_class(r, &class, buf_str(&properties));
        if (next_is(r, "\\"))
                TRY(read_escape(r, &c));
        else
                c = next_char(r);
        return put_char(r, c);
}

static int read_item(struct reader *r) {
        int k = read_repeat(r);

        if (k != 0)
                return MIN(k, 0);
        r->quantifier = NONE;
        if (next_is(r, "("))
                return read_group_head(r);
        if (skip(r, "|"))
                return end_branch(r);
        if (!skip(r, ")"))
                return read_atom(r);
        if (r->open.n == 1)
                return refuse(r, "unexpected )", r->in);
        close_group(r);
        return 0;
}

int regex_parse(struct str pattern, struct regex *re, struct error *err) {
        struct reader r = { .in = pattern, .err = err, .re = re, .weight = 1, .operand = NONE, .quantifier = NONE };
        int k = pattern.n > MAX_PATTERN ? refuse(&r, "expression too large", pattern) : 0;

        open_group(&r, 0);
        while (k == 0 && more(&r))
                k = read_item(&r);
        if (k == 0 && r.open.n > 1)
                k = refuse(&r, "missing closing )", pattern);
        if (k == 0) {
                close_group(&r);
                k = put(&r, REGEX_MATCH, 0);
        }
        vec_free(&r.open);
        return k;
}
