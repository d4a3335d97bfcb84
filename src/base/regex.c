/* RE2 by PCRE2. The pattern is read once, item by item, and written anew as PCRE2 syntax in which nothing is left to
 * chance: a literal that is not a letter or digit becomes \x{..}, \s and \v become the characters RE2 means by them.
 * What the reader does not know does not reach PCRE2, so PCRE2's own extensions cannot be used. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/regex.h"

#include <ctype.h>
#include <pcre2.h>
#include <pthread.h>

#include "base/arena.h"
#include "base/buf.h"

#define MAX_PATTERN (64 << 10)
#define MAX_NESTING 200
#define MAX_REPEAT 1000
#define MATCH_LIMIT 200000 /* steps */
#define HEAP_LIMIT_KB 4096
#define DFA_LIMIT 2000000
#define DFA_WORK 400000000 /* of the text's length by the square of the states that may be alive at once */
#define DFA_STATES 48      /* at least */
#define DFA_MOST_STATES 8192

struct regex {
        pcre2_code *code;
        struct buf text; /* as PCRE2 reads it */
};

/* ---- what threads keep for matching ---- */

static pthread_once_t matcher_once = PTHREAD_ONCE_INIT;
static pthread_key_t matcher_key;
static pcre2_match_context *match_context, *dfa_context;

static void free_match_data(void *p) {
        pcre2_match_data_free(p);
}

static void start_matcher(void) {
        if (pthread_key_create(&matcher_key, free_match_data) != 0)
                abort();
        match_context = pcre2_match_context_create(NULL);
        dfa_context = pcre2_match_context_create(NULL);
        if (!match_context || !dfa_context)
                abort();
        pcre2_set_match_limit(match_context, MATCH_LIMIT);
        pcre2_set_heap_limit(match_context, HEAP_LIMIT_KB);
        pcre2_set_match_limit(dfa_context, DFA_LIMIT);
        pcre2_set_heap_limit(dfa_context, HEAP_LIMIT_KB);
}

static pcre2_match_data *match_data(void) {
        pcre2_match_data *m;

        pthread_once(&matcher_once, start_matcher);
        m = pthread_getspecific(matcher_key);
        if (!m) {
                m = pcre2_match_data_create(1, NULL);
                if (!m || pthread_setspecific(matcher_key, m) != 0)
                        abort();
        }
        return m;
}

/* ---- RE2 syntax ---- */

struct reader {
        struct str in;
        size_t at;
        struct buf out;
        struct error *err;
};

static int refuse(struct reader *r, const char *what, struct str part) {
        return error_set(r->err, -EINVAL, "error parsing regexp: %s: `%" STR_FMT "`", what, STR_ARG(part));
}

static int refuse_from(struct reader *r, const char *what, size_t from) {
        return refuse(r, what, str_sub(r->in, from, r->at));
}

/* A category or script of Unicode? */
static bool is_property(struct str name) {
        PCRE2_UCHAR pattern[64];
        int n = snprintf((char *) pattern, sizeof(pattern), "\\p{%.*s}", (int) MIN(name.n, sizeof(pattern)), name.p), k;
        pcre2_code *code = (size_t) n >= sizeof(pattern)
                                           ? NULL
                                           : pcre2_compile(pattern, (size_t) n, 0, &k, &(size_t) { 0 }, NULL);

        pcre2_code_free(code);
        return code;
}

static bool more(const struct reader *r) {
        return r->at < r->in.n;
}

static bool next_is(const struct reader *r, const char *what) {
        return str_has_prefix(str_sub(r->in, r->at, r->in.n), str_of(what));
}

static bool next_in(const struct reader *r, const char *set) {
        return more(r) && r->in.p[r->at] && strchr(set, r->in.p[r->at]);
}

static uint32_t next_char(struct reader *r) {
        const unsigned char *p = (const unsigned char *) r->in.p + r->at;
        size_t left = r->in.n - r->at, n = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
        uint32_t c = n == 1 ? *p : *p & (0x7fU >> n);

        if (n > left)
                n = left;
        for (size_t i = 1; i < n; i++)
                c = c << 6 | (p[i] & 0x3f);
        r->at += n;
        return c;
}

static void put_char(struct reader *r, uint32_t c) {
        if (c < 0x80 && isalnum((int) c))
                buf_putc(&r->out, (char) c);
        else
                buf_printf(&r->out, "\\x{%x}", c);
}

static int hex_digit(char c) {
        return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

/* After "\x": 7f, {1F600}. */
static int read_hex(struct reader *r, size_t from, uint32_t *ret) {
        bool braces = more(r) && r->in.p[r->at] == '{';
        uint32_t c = 0;
        size_t n = 0;

        r->at += braces;
        for (; more(r) && hex_digit(r->in.p[r->at]) >= 0 && (braces || n < 2) && c <= 0x10ffff; n++)
                c = c << 4 | (uint32_t) hex_digit(r->in.p[r->at++]);
        if (n == 0 || (!braces && n < 2) || c > 0x10ffff || (braces && !(more(r) && r->in.p[r->at] == '}')))
                return refuse_from(r, "invalid escape sequence", from);
        r->at += braces;
        *ret = c;
        return 0;
}

/* A backslash with what follows, where it stands for one character. */
static int read_escape(struct reader *r, uint32_t *ret) {
        static const char from[] = "aftnrv", to[] = "\a\f\t\n\r\v";
        size_t start = r->at++;
        const char *p;
        uint32_t c;

        if (!more(r))
                return refuse(r, "trailing backslash at end of expression", STR(""));
        c = next_char(r);
        if (c == 'x')
                return read_hex(r, start, ret);
        if (c == '0' || (c >= '1' && c <= '7' && more(r) && r->in.p[r->at] >= '0' && r->in.p[r->at] <= '7')) {
                c -= '0';
                for (int i = 0; i < 2 && more(r) && r->in.p[r->at] >= '0' && r->in.p[r->at] <= '7'; i++)
                        c = c * 8 + (uint32_t) (r->in.p[r->at++] - '0');
                *ret = c;
                return 0;
        }
        if (c < 0x80 && c && (p = strchr(from, (int) c)))
                c = (unsigned char) to[p - from];
        else if (c >= 0x80 || isalnum((int) c))
                return refuse_from(r, "invalid escape sequence", start);
        *ret = c;
        return 0;
}

/* \d \w \s, \pL, \p{Greek} and their opposites: 1 when there was one and it is written. */
static int read_class_escape(struct reader *r, bool in_class) {
        size_t start = r->at;
        char c = r->at + 1 < r->in.n ? r->in.p[r->at + 1] : 0;

        if (c == 'd' || c == 'D' || c == 'w' || c == 'W') {
                buf_printf(&r->out, "\\%c", c);
        } else if (c == 's' && in_class) {
                buf_addc(&r->out, "\\t\\n\\f\\r\\x20");
        } else if (c == 'S' && in_class) {
                buf_addc(&r->out, "\\x{0}-\\x{8}\\x{b}\\x{e}-\\x{1f}\\x{21}-\\x{10ffff}");
        } else if (c == 's' || c == 'S') {
                buf_printf(&r->out, "[%s\\t\\n\\f\\r\\x20]", c == 'S' ? "^" : "");
        } else if (c == 'p' || c == 'P') {
                struct str name = str_sub(r->in, r->at + 2, r->at + 3);

                if (str_eqc(name, "{")) {
                        ssize_t end = str_find(str_sub(r->in, r->at, r->in.n), '}');

                        name = end < 0 ? STR("") : str_sub(r->in, r->at + 3, r->at + (size_t) end);
                        r->at += end < 0 ? 0 : (size_t) end - 2;
                }
                r->at = MIN(r->at + 3, r->in.n);
                if (str_has_prefix(name, STR("^"))) {
                        c = c == 'p' ? 'P' : 'p';
                        name = str_sub(name, 1, name.n);
                }
                for (size_t i = 0; i < name.n; i++)
                        if (!isalpha((unsigned char) name.p[i]) && name.p[i] != '_')
                                name.n = 0;
                if (name.n == 0 || !is_property(name))
                        return refuse_from(r, "invalid character class range", start);
                buf_printf(&r->out, "\\%c{%" STR_FMT "}", c, STR_ARG(name));
                return 1;
        } else {
                return 0;
        }
        r->at += 2;
        return 1;
}

static int read_class_char(struct reader *r, uint32_t *ret) {
        if (r->in.p[r->at] == '\\')
                return read_escape(r, ret);
        *ret = next_char(r);
        return 0;
}

/* [[:alpha:]]: 1 when there was one and it is written. */
static int read_posix(struct reader *r) {
        static const char *const names[] = { "alnum", "alpha", "ascii", "blank", "cntrl", "digit",  "graph",
                                             "lower", "print", "punct", "space", "upper", "xdigit", "word" };
        struct str rest = str_sub(r->in, r->at + 2, r->in.n), name;
        ssize_t end = str_search(rest, STR(":]"));
        bool not = str_has_prefix(rest, STR("^"));

        if (end < 0)
                return 0;
        name = str_sub(rest, not, (size_t) end);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                if (!str_eqc(name, names[i]))
                        continue;
                buf_printf(&r->out, "[:%s%s:]", not ? "^" : "", names[i]);
                r->at += 4 + (size_t) end;
                return 1;
        }
        return refuse(r, "invalid character class range", str_sub(r->in, r->at, r->at + 4 + (size_t) end));
}

static int read_class(struct reader *r) {
        size_t start = r->at++;
        bool first = true;
        int k;

        buf_putc(&r->out, '[');
        if (next_is(r, "^")) {
                buf_putc(&r->out, '^');
                r->at++;
        }
        for (; more(r) && (first || r->in.p[r->at] != ']'); first = false) {
                size_t item = r->at;
                uint32_t lo, hi;

                k = next_is(r, "[:") ? read_posix(r) : r->in.p[r->at] == '\\' ? read_class_escape(r, true) : 0;
                if (k < 0)
                        return k;
                if (k > 0)
                        continue;
                TRY(read_class_char(r, &lo));
                hi = lo;
                if (next_is(r, "-") && r->at + 1 < r->in.n && r->in.p[r->at + 1] != ']') {
                        r->at++;
                        TRY(read_class_char(r, &hi));
                        if (hi < lo)
                                return refuse_from(r, "invalid character class range", item);
                }
                put_char(r, lo);
                if (hi != lo) {
                        buf_putc(&r->out, '-');
                        put_char(r, hi);
                }
        }
        if (!more(r))
                return refuse(r, "missing closing ]", str_sub(r->in, start, r->in.n));
        r->at++;
        buf_putc(&r->out, ']');
        return 0;
}

static bool read_number(struct reader *r, size_t *ret) {
        size_t v = 0, start = r->at;

        for (; more(r) && isdigit((unsigned char) r->in.p[r->at]); r->at++)
                v = MIN(v * 10 + (size_t) (r->in.p[r->at] - '0'), (size_t) MAX_REPEAT + 1);
        *ret = v;
        return r->at > start && (r->in.p[start] != '0' || r->at == start + 1);
}

/* {2}, {2,}, {2,5}: false when it is none, and so is text. */
static bool read_braces(struct reader *r, size_t *ret_min, size_t *ret_max) {
        size_t start = r->at++;
        bool ok = read_number(r, ret_min);

        *ret_max = *ret_min;
        if (ok && next_is(r, ",")) {
                r->at++;
                *ret_max = SIZE_MAX;
                if (!next_is(r, "}"))
                        ok = read_number(r, ret_max);
        }
        if (ok && next_is(r, "}")) {
                r->at++;
                return true;
        }
        r->at = start;
        return false;
}

/* The operator at hand, if there is one; weight is how often its operand itself repeats parts. */
static int read_repeat(struct reader *r, bool operand, size_t *weight) {
        size_t start = r->at, min = 0, max = 0;
        bool braces = next_is(r, "{") && read_braces(r, &min, &max);

        if (!braces && !next_in(r, "*+?"))
                return 0;
        if (!operand) {
                r->at += !braces;
                return refuse_from(r, "missing argument to repetition operator", start);
        }
        if (braces) {
                if (min > MAX_REPEAT || (max != SIZE_MAX && (max > MAX_REPEAT || min > max)))
                        return refuse_from(r, "invalid repeat count", start);
                *weight *= MAX(max == SIZE_MAX ? min : max, (size_t) 1);
                if (*weight > MAX_REPEAT)
                        return refuse_from(r, "invalid repeat count", start);
        } else {
                r->at++;
        }
        if (next_is(r, "?"))
                r->at++;
        buf_add_str(&r->out, str_sub(r->in, start, r->at));
        if (next_in(r, "*+?")) {
                r->at++;
                return refuse_from(r, "invalid nested repetition operator", start);
        }
        min = r->at;
        if (next_is(r, "{") && read_braces(r, &max, &max))
                return refuse_from(r, "invalid nested repetition operator", start);
        r->at = min;
        return 0;
}

/* After "(": nothing, ?:, ?P<name>, ?i-s:, ?i). 1 when a group is open now, 0 when it was only flags. */
static int read_group_head(struct reader *r, size_t start) {
        size_t name;

        if (!next_is(r, "?")) {
                buf_putc(&r->out, '(');
                return 1;
        }
        r->at++;
        if (next_is(r, "P<") || (next_is(r, "<") && !next_is(r, "<=") && !next_is(r, "<!"))) {
                r->at += next_is(r, "P") ? 2 : 1;
                name = r->at;
                while (more(r) && (isalnum((unsigned char) r->in.p[r->at]) || r->in.p[r->at] == '_'))
                        r->at++;
                if (r->at == name || !next_is(r, ">")) {
                        r->at = MIN(r->at + 1, r->in.n);
                        return refuse_from(r, "invalid named capture", start);
                }
                r->at++; /* names have no use here */
                buf_putc(&r->out, '(');
                return 1;
        }
        buf_addc(&r->out, "(?");
        for (bool minus = false, any = false; more(r); r->at++) {
                char c = r->in.p[r->at];

                if (c == ':' || (c == ')' && r->at > start + 2)) {
                        if (minus && !any)
                                break;
                        buf_putc(&r->out, c);
                        r->at++;
                        return c == ':';
                }
                if (c == '-' ? minus : !next_in(r, "imsU"))
                        break;
                any = c != '-';
                minus = minus || c == '-';
                buf_putc(&r->out, c);
        }
        r->at = MIN(r->at + 1, r->in.n);
        return refuse_from(r, "invalid or unsupported Perl syntax", start);
}

/* ^, $, \A, \z, \b, \B: in a group where an operator follows, which PCRE2 would refuse otherwise. */
static void put_assertion(struct reader *r, const char *text) {
        bool repeated = next_in(r, "*+?{");

        buf_printf(&r->out, repeated ? "(?:%s)" : "%s", text);
}

/* \Qliteral\E; the last character of it is what an operator repeats. */
static void read_quoted(struct reader *r) {
        for (r->at += 2; more(r) && !next_is(r, "\\E");)
                put_char(r, next_char(r));
        if (more(r))
                r->at += 2;
}

static int read_atom(struct reader *r) {
        static const struct {
                const char *re2, *pcre;
        } fixed[] = {
                { "^", "^" }, { "$", "$" }, { "\\A", "\\A" }, { "\\z", "\\z" }, { "\\b", "\\b" }, { "\\B", "\\B" },
        };
        char c = r->in.p[r->at];
        uint32_t ch;
        int k;

        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
                if (!next_is(r, fixed[i].re2))
                        continue;
                r->at += strlen(fixed[i].re2);
                put_assertion(r, fixed[i].pcre);
                return 0;
        }
        if (c == '[')
                return read_class(r);
        if (c == '.') {
                buf_putc(&r->out, '.');
                r->at++;
                return 0;
        }
        if (c == '\\') {
                if (next_is(r, "\\Q")) {
                        read_quoted(r);
                        return 0;
                }
                k = read_class_escape(r, false);
                if (k)
                        return MIN(k, 0);
                k = read_escape(r, &ch);
        } else {
                ch = next_char(r);
                k = 0;
        }
        if (k == 0)
                put_char(r, ch);
        return k;
}

/* Up to the end, or to the ")" of the group at depth. *weight: the largest product of repeats within. */
static int read_sequence(struct reader *r, size_t depth, size_t *weight) {
        int k;

        if (depth > MAX_NESTING)
                return refuse(r, "expression nests too deeply", r->in);
        *weight = 1;
        while (more(r) && r->in.p[r->at] != ')') {
                size_t w = 1, start = r->at;
                char c = r->in.p[r->at];

                TRY(read_repeat(r, false, &w));
                if (c == '|') {
                        buf_putc(&r->out, '|');
                        r->at++;
                        continue;
                }
                if (c == '(') {
                        r->at++;
                        k = read_group_head(r, start);
                        if (k < 0)
                                return k;
                        if (k == 0)
                                continue;
                        TRY(read_sequence(r, depth + 1, &w));
                        if (!more(r))
                                return refuse(r, "missing closing )", r->in);
                        buf_putc(&r->out, ')');
                        r->at++;
                } else {
                        TRY(read_atom(r));
                }
                TRY(read_repeat(r, true, &w));
                *weight = MAX(*weight, w);
        }
        return 0;
}

static int translate(struct reader *r) {
        size_t weight;

        TRY(read_sequence(r, 0, &weight));
        if (more(r))
                return refuse(r, "unexpected )", r->in);
        return 0;
}

static pcre2_code *make_code(struct str text, uint32_t more, int *ret_fault) {
        pcre2_compile_context *context = pcre2_compile_context_create(NULL);
        pcre2_code *code;
        PCRE2_SIZE offset;

        if (!context)
                abort();
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
        code = pcre2_compile((PCRE2_SPTR) (text.p ? text.p : ""), text.n,
                             PCRE2_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | more, ret_fault, &offset,
                             context);
        pcre2_compile_context_free(context);
        return code;
}

int regex_compile(struct str pattern, struct regex **ret, struct error *err) {
        struct reader r = { .in = pattern, .err = err };
        PCRE2_UCHAR text[256];
        pcre2_code *code;
        int k;

        if (pattern.n > MAX_PATTERN)
                return error_set(err, -EINVAL, "error parsing regexp: expression too large");
        k = translate(&r);
        if (k < 0) {
                buf_free(&r.out);
                return k;
        }
        code = make_code(buf_str(&r.out), 0, &k);
        if (!code) {
                buf_free(&r.out);
                pcre2_get_error_message(k, text, sizeof(text));
                return error_set(err, -EINVAL, "error parsing regexp: %s: `%" STR_FMT "`", (char *) text,
                                 STR_ARG(pattern));
        }
        *ret = xcalloc(1, sizeof(**ret));
        (*ret)->code = code;
        (*ret)->text = r.out;
        return 0;
}

void regex_free(struct regex *re) {
        if (!re)
                return;
        pcre2_code_free(re->code);
        buf_free(&re->text);
        free(re);
}

/* A search that goes on from some place has found the text before to be UTF-8. */
static int run(const struct regex *re, struct str s, size_t from, pcre2_match_data *m) {
        int r = pcre2_match(re->code, (PCRE2_SPTR) (s.p ? s.p : ""), s.n, from, from ? PCRE2_NO_UTF_CHECK : 0, m,
                            match_context);

        return r >= 0 ? 1 : r == PCRE2_ERROR_NOMATCH ? 0 : -E2BIG;
}

/* Once over the text, in all states at once that the pattern may be in. Each step looks at each pair of them, so the
 * longer the text is, the fewer there may be. */
static int run_states(const struct regex *re, struct str s, pcre2_match_data *m) {
        size_t states = DFA_STATES, ints;
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_free_ int *workspace = NULL;
        pcre2_code *code;
        int r;

        while (states < DFA_MOST_STATES && 4 * states * states * (s.n + 1) <= DFA_WORK)
                states *= 2;
        buf_addc(&text, "(?s:.*)(?:");
        buf_add_str(&text, buf_str(&re->text));
        buf_putc(&text, ')');
        code = make_code(buf_str(&text), PCRE2_ANCHORED, &r);
        if (!code)
                return -E2BIG;
        ints = 2 + 6 * states;
        workspace = xmalloc(ints * sizeof(int));
        r = pcre2_dfa_match(code, (PCRE2_SPTR) s.p, s.n, 0, PCRE2_DFA_SHORTEST, m, dfa_context, workspace, ints);
        pcre2_code_free(code);
        return r >= 0 ? 1 : r == PCRE2_ERROR_NOMATCH ? 0 : -E2BIG;
}

int regex_match(const struct regex *re, struct str s) {
        pcre2_match_data *m = match_data();
        int r = run(re, s, 0, m);

        return r != -E2BIG ? r : run_states(re, s, m);
}

int regex_find(const struct regex *re, struct str s, size_t from, size_t *ret_start, size_t *ret_end) {
        pcre2_match_data *m = match_data();
        int r = run(re, s, from, m);
        size_t *ovector;

        if (r <= 0)
                return r;
        ovector = pcre2_get_ovector_pointer(m);
        *ret_start = ovector[0];
        *ret_end = ovector[1];
        return 1;
}
