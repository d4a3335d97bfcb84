/* Tokens of CEL: https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax */
#include "cel/lex.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
        for (;;) {
                char c = peek(l, 0);

                if (c && strchr(" \t\r\n\f", c)) {
                        advance(l, 1);
                } else if (c == '/' && peek(l, 1) == '/') {
                        while (l->at < l->in.n && peek(l, 0) != '\n')
                                advance(l, 1);
                } else {
                        return;
                }
        }
}

static void fail_token(struct lexer *l, size_t n) {
        if (!l->failed)
                issue_add(l->is, l->token_pos, "Syntax error: token recognition error at: '%" STR_FMT "'",
                          STR_ARG(str_n(l->in.p + l->at, MIN(n, l->in.n - l->at))));
        l->failed = true;
        l->token = TOK_END;
}

/* 1, 1u, 0x1f, 1.5, 1e3, .5 */
static void lex_number(struct lexer *l) {
        bool hex = peek(l, 0) == '0' && peek(l, 1) == 'x' && isxdigit((unsigned char) peek(l, 2)), is_double = false;
        size_t n = hex ? 2 : 0, digits;
        char text[400];
        char *end;

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
        l->text = str_n(l->in.p + l->at, n);
        snprintf(text, sizeof(text), "%" STR_FMT, STR_ARG(l->text));
        errno = 0;
        if (is_double)
                l->value = value_double(strtod(text, &end));
        else
                l->value = (struct cel_value) { .kind = CEL_UINT, .u = strtoull(text, &end, hex ? 16 : 10) };
        if (n >= sizeof(text) || (!is_double && errno == ERANGE)) { /* an int may be that of -2^63: the parser knows */
                issue_add(l->is, l->token_pos, "invalid %s literal",
                          l->token == TOK_UINT ? "uint"
                          : is_double          ? "double"
                                               : "int");
                l->failed = true;
        }
        advance(l, n + (l->token == TOK_UINT));
}

/* How many digits of that base are at p. */
static size_t digits_at(struct str s, size_t at, int base, size_t want) {
        size_t n = 0;

        while (n < want && at + n < s.n &&
               (base == 16 ? isxdigit((unsigned char) s.p[at + n]) : s.p[at + n] >= '0' && s.p[at + n] <= '7'))
                n++;
        return n;
}

/* One escape at s[*at], after its backslash. */
static int unescape(struct str s, size_t *at, bool bytes, struct buf *out) {
        static const char from[] = "abfnrtv\"'\\?`", to[] = "\a\b\f\n\r\t\v\"'\\?`";
        char c = *at < s.n ? s.p[*at] : 0, number[9] = "";
        const char *p = c ? strchr(from, c) : NULL;
        size_t n = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : c >= '0' && c <= '3' ? 3 : 0;
        int base = n == 3 ? 8 : 16;
        unsigned long v;

        if (p) {
                buf_putc(out, to[p - from]);
                ++*at;
                return 0;
        }
        *at += base == 16;
        if (n == 0 || digits_at(s, *at, base, n) < n || (bytes && (c == 'u' || c == 'U')))
                return -EINVAL;
        memcpy(number, s.p + *at, n);
        v = strtoul(number, NULL, base);
        *at += n;
        if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
                return -EINVAL;
        if (bytes)
                buf_putc(out, (char) v);
        else
                utf8_put(out, (uint32_t) v);
        return 0;
}

/* 'x', "x", '''x''', with r (raw) and b (bytes) before. */
static void lex_string(struct lexer *l, bool raw, bool bytes, size_t prefix) {
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
                        if (unescape(l->in, &at, bytes, &out) < 0)
                                break;
                } else {
                        buf_putc(&out, c);
                        at++;
                }
        }
        if (!closed) {
                fail_token(l, at + 1 - l->at);
                return;
        }
        l->token = bytes ? TOK_BYTES : TOK_STRING;
        l->value = value_string(arena_str(l->a, buf_str(&out)));
        l->value.kind = bytes ? CEL_BYTES : CEL_STRING;
        l->text = str_n(l->in.p + l->at, at - l->at);
        advance(l, at - l->at);
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
        static const struct {
                const char *word;
                enum token token;
        } words[] = { { "true", TOK_TRUE }, { "false", TOK_FALSE }, { "null", TOK_NULL }, { "in", TOK_IN } };
        size_t n = 1;

        while (ident_char(peek(l, n), false))
                n++;
        l->token = TOK_IDENT;
        l->text = str_n(l->in.p + l->at, n);
        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (str_eqc(l->text, words[i].word))
                        l->token = words[i].token;
        advance(l, n);
}

void lex_next(struct lexer *l) {
        static const char *const ops[] = { "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}",
                                           "(",  ")",  ".",  ",",  "-",  "!",  "?", ":", "+", "*", "/", "%" };
        bool raw, bytes;
        int prefix;

        if (l->failed)
                return;
        skip_space(l);
        l->token_pos = l->pos;
        l->text = STR("<EOF>");
        if (l->at >= l->in.n) {
                l->token = TOK_END;
                return;
        }
        prefix = string_prefix(l, &raw, &bytes);
        if (prefix >= 0) {
                lex_string(l, raw, bytes, (size_t) prefix);
                return;
        }
        if (ident_char(peek(l, 0), true)) {
                lex_ident(l);
                return;
        }
        if (isdigit((unsigned char) peek(l, 0)) || (peek(l, 0) == '.' && isdigit((unsigned char) peek(l, 1)))) {
                lex_number(l);
                return;
        }
        for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
                size_t n = strlen(ops[i]);

                if (!str_has_prefix(str_sub(l->in, l->at, l->in.n), str_n(ops[i], n)))
                        continue;
                l->token = TOK_OP;
                l->text = str_n(l->in.p + l->at, n);
                advance(l, n);
                return;
        }
        fail_token(l, (unsigned char) peek(l, 0) < 0x80 ? 1 : utf8_offset(str_sub(l->in, l->at, l->in.n), 1));
}
