/* Tokens of CEL: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax */
#include "cel/lex.h"

#include <ctype.h>
#include <math.h>

const char *const token_names[N_TOKENS] = {
        "<EOF>", "==",   "!=",        "in",      "<",        "<=",     ">=",    ">",          "&&",
        "||",    "[",    "]",         "{",       "}",        "(",      ")",     ".",          ",",
        "-",     "!",    "?",         ":",       "+",        "*",      "/",     "%",          "true",
        "false", "null", "NUM_FLOAT", "NUM_INT", "NUM_UINT", "STRING", "BYTES", "IDENTIFIER", "ESC_IDENTIFIER",
};

static bool ident_char(char c, bool first) {
        return c == '_' || (first ? isalpha((unsigned char) c) : isalnum((unsigned char) c));
}

static char peek(const struct lexer *l, size_t ahead) {
        return l->at + ahead < l->in.n ? l->in.p[l->at + ahead] : 0;
}

static void advance(struct lexer *l, size_t bytes) {
        for (; bytes > 0 && l->at < l->in.n; bytes--, l->at++)
                if (((unsigned char) l->in.p[l->at] & 0xc0) != 0x80)
                        l->pos++;
}

static void skip_space(struct lexer *l) {
        size_t from = l->at;

        for (;;) {
                char c = peek(l, 0);

                if (c && strchr(" \t\r\n\f", c)) {
                        advance(l, 1);
                } else if (c == '/' && peek(l, 1) == '/') {
                        while (l->at < l->in.n && peek(l, 0) != '\n')
                                advance(l, 1);
                } else {
                        break;
                }
        }
        if (l->space)
                buf_add_str(l->space, str_sub(l->in, from, l->at));
}

/* The n bytes at hand are no token: on to what follows them. */
static void skip_bad(struct lexer *l, size_t n) {
        n = MIN(n, l->in.n - l->at);
        if (l->is)
                issue_add(l->is, l->token_pos, "Syntax error: token recognition error at: '%" STR_FMT "'",
                          STR_ARG(str_n(l->in.p + l->at, n)));
        advance(l, n);
}

/* The length of the character that far ahead; 0 at the end. */
static size_t char_at(const struct lexer *l, size_t ahead) {
        size_t at = l->at + ahead;

        if (at < l->in.n)
                utf8_next(l->in, &at);
        return at - l->at - ahead;
}

/* 1, 1u, 0x1f, 1.5, 1e3, .5 */
static void lex_number(struct lexer *l) {
        bool hex = peek(l, 0) == '0' && peek(l, 1) == 'x' && isxdigit((unsigned char) peek(l, 2)), is_double = false;
        size_t n = hex ? 2 : 0, digits;
        char text[400], *end;

        while (hex ? isxdigit((unsigned char) peek(l, n)) : isdigit((unsigned char) peek(l, n)))
                n++;
        if (!hex && peek(l, n) == '.' && isdigit((unsigned char) peek(l, n + 1))) {
                is_double = true;
                for (n++; isdigit((unsigned char) peek(l, n)); n++)
                        ;
        }
        if (!hex && (peek(l, n) | 32) == 'e') {
                digits = n + 1 + (peek(l, n + 1) == '+' || peek(l, n + 1) == '-');
                if (isdigit((unsigned char) peek(l, digits))) {
                        is_double = true;
                        for (n = digits; isdigit((unsigned char) peek(l, n)); n++)
                                ;
                }
        }
        l->token = is_double ? TOK_DOUBLE : (peek(l, n) | 32) == 'u' ? TOK_UINT : TOK_INT;
        n += l->token == TOK_UINT;
        l->text = str_n(l->in.p + l->at, n);
        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(l->text));
        errno = 0;
        if (is_double)
                l->value = value_double(strtod(text, &end));
        else
                l->value = (struct cel_value) { .kind = CEL_UINT, .u = strtoull(text, &end, hex ? 16 : 10) };
        if (n >= sizeof(text) || (is_double ? isinf(l->value.d) : errno == ERANGE))
                l->fault = is_double              ? "invalid double literal"
                           : l->token == TOK_UINT ? "invalid uint literal"
                                                  : "invalid int literal"; /* -2^63 is one: the parser knows */
        advance(l, n);
}

/* How many digits of that base are at p. */
static size_t digits_at(struct str s, size_t at, int base, size_t want) {
        size_t n = 0;

        while (n < want && at + n < s.n &&
               (base == 16 ? isxdigit((unsigned char) s.p[at + n]) : s.p[at + n] >= '0' && s.p[at + n] <= '7'))
                n++;
        return n;
}

/* One escape at s[*at], after its backslash. -EINVAL: *at is where it ceases to be one. */
static int unescape(struct str s, size_t *at, bool bytes, struct buf *out, const char **fault) {
        static const char from[] = "abfnrtv\"'\\?`", to[] = "\a\b\f\n\r\t\v\"'\\?`";
        char c = *at < s.n ? s.p[*at] : 0, number[9] = "";
        const char *p = c ? strchr(from, c) : NULL;
        size_t n = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0, have;
        int base = n == 3 ? 8 : 16;

        if (p) {
                buf_putc(out, to[p - from]);
                ++*at;
                return 0;
        }
        if (n == 0)
                return -EINVAL;
        *at += base == 16;
        have = digits_at(s, *at, base, n);
        memcpy(number, s.p + *at, have);
        *at += have;
        if (have < n)
                return -EINVAL;
        unsigned long v = strtoul(number, NULL, base);
        if (bytes && (c == 'u' || c == 'U'))
                *fault = "unable to unescape string";
        else if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
                *fault = "invalid unicode code point";
        else if (bytes)
                buf_putc(out, (char) v);
        else
                out->n = (size_t) (utf8_put(buf_reserve(out, 4), (uint32_t) v) - out->p);
        return 0;
}

/* 'x', "x", '''x''', with r (raw) and b (bytes) before: true. False: there is no end to it, or an escape that is none;
 * *ret_end is behind the character at fault. */
static bool lex_string(struct lexer *l, bool raw, bool bytes, size_t prefix, size_t *ret_end) {
        size_t at = l->at + prefix, quotes = 1;
        char quote = l->in.p[at];
        _cleanup_buf_ struct buf out = BUF_INIT;
        bool closed = false;

        if (at + 2 < l->in.n && l->in.p[at + 1] == quote && l->in.p[at + 2] == quote)
                quotes = 3;
        for (at += quotes; at < l->in.n && !closed;) {
                char c = l->in.p[at];
                size_t run = 0;

                while (run < quotes && at + run < l->in.n && l->in.p[at + run] == quote)
                        run++;
                if (run == quotes) {
                        at += quotes;
                        closed = true;
                } else if (quotes == 1 && (c == '\n' || c == '\r')) {
                        break;
                } else if (c == '\\' && !raw) {
                        at++;
                        if (unescape(l->in, &at, bytes, &out, &l->fault) < 0)
                                break;
                } else if (c == '\r') { /* lines end with \n, whatever they end with */
                        buf_putc(&out, '\n');
                        at += at + 1 < l->in.n && l->in.p[at + 1] == '\n' ? 2 : 1;
                } else {
                        buf_putc(&out, c);
                        at++;
                }
        }
        if (!closed && quotes == 3) { /* an empty string, and what follows */
                at = l->at + prefix + 2;
                out.n = 0;
                l->fault = NULL;
        } else if (!closed) {
                *ret_end = at + char_at(l, at - l->at);
                return false;
        }
        l->token = bytes ? TOK_BYTES : TOK_STRING;
        l->value = value_string(arena_str(l->a, buf_str(&out)));
        l->value.kind = bytes ? CEL_BYTES : CEL_STRING;
        l->text = str_n(l->in.p + l->at, at - l->at);
        advance(l, at - l->at);
        return true;
}

/* The length of r, b, rb or br before a quote; 0 with *raw and *bytes false when there is a quote at once; -1: none. */
static int string_prefix(const struct lexer *l, bool *raw, bool *bytes) {
        int n = 0;

        *raw = *bytes = false;
        if ((peek(l, 0) | 32) == 'b') {
                *bytes = true;
                n++;
        }
        if ((peek(l, (size_t) n) | 32) == 'r') {
                *raw = true;
                n++;
        }
        return peek(l, (size_t) n) == '"' || peek(l, (size_t) n) == '\'' ? n : -1;
}

static void lex_ident(struct lexer *l) {
        static const enum token words[] = { TOK_TRUE, TOK_FALSE, TOK_NULL, TOK_IN };
        size_t n = 1;

        while (ident_char(peek(l, n), false))
                n++;
        l->token = TOK_IDENT;
        l->text = str_n(l->in.p + l->at, n);
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (str_eqc(l->text, token_names[words[i]]))
                        l->token = words[i];
        advance(l, n);
}

/* An operator, or `an escaped name`; false: there is none, and the first *ret_bad bytes are why. */
static bool lex_operator(struct lexer *l, size_t *ret_bad) {
        struct str rest = str_sub(l->in, l->at, l->in.n);
        size_t longest = 0, n = 1;

        if (*rest.p == '`') {
                while (n < rest.n && (ident_char(rest.p[n], false) || (rest.p[n] && strchr(".-/ ", rest.p[n]))))
                        n++;
                longest = n > 1 && n < rest.n && rest.p[n] == '`' ? n + 1 : 0;
                l->token = TOK_ESCAPED_IDENT;
        }
        for (enum token t = TOK_EQUAL; t <= TOK_PERCENT; t++)
                if (strlen(token_names[t]) > longest && str_has_prefix(rest, str_of(token_names[t]))) {
                        longest = strlen(token_names[t]);
                        l->token = t;
                }
        l->text = str_sub(rest, 0, longest);
        advance(l, longest);
        if (*rest.p != '`') /* half of an operator takes what follows with it */
                n = *rest.p && strchr("=&|", *rest.p) ? 1 : 0;
        *ret_bad = n + char_at(l, n);
        return longest > 0;
}

void lex_next(struct lexer *l) {
        bool raw, bytes;

        l->fault = NULL;
        for (;;) {
                skip_space(l);
                l->token_pos = l->pos;
                l->token = TOK_END;
                l->text = STR("<EOF>");
                if (l->at >= l->in.n)
                        return;
                int prefix = string_prefix(l, &raw, &bytes);
                size_t bad = 0;
                if (prefix >= 0 && lex_string(l, raw, bytes, (size_t) prefix, &bad))
                        return;
                l->fault = NULL;
                if (prefix == 0) {
                        skip_bad(l, bad - l->at);
                } else if (ident_char(peek(l, 0), true)) {
                        return lex_ident(l);
                } else if (isdigit((unsigned char) peek(l, 0)) ||
                           (peek(l, 0) == '.' && isdigit((unsigned char) peek(l, 1)))) {
                        return lex_number(l);
                } else if (lex_operator(l, &bad)) {
                        return;
                } else {
                        skip_bad(l, bad);
                }
        }
}
