/* Private to src/cel: from text to tokens. */
#pragma once

#include "cel/internal.h"

/* In the order in which messages list them; token_names has their names. */
enum token {
        TOK_END,
        TOK_EQUAL,
        TOK_NOT_EQUAL,
        TOK_IN,
        TOK_LESS,
        TOK_LESS_EQUAL,
        TOK_GREATER_EQUAL,
        TOK_GREATER,
        TOK_AND,
        TOK_OR,
        TOK_LBRACKET,
        TOK_RBRACKET,
        TOK_LBRACE,
        TOK_RBRACE,
        TOK_LPAREN,
        TOK_RPAREN,
        TOK_DOT,
        TOK_COMMA,
        TOK_MINUS,
        TOK_NOT,
        TOK_QUESTION,
        TOK_COLON,
        TOK_PLUS,
        TOK_STAR,
        TOK_SLASH,
        TOK_PERCENT,
        TOK_TRUE,
        TOK_FALSE,
        TOK_NULL,
        TOK_DOUBLE,
        TOK_INT,
        TOK_UINT,
        TOK_STRING,
        TOK_BYTES,
        TOK_IDENT,
        TOK_ESCAPED_IDENT,
        N_TOKENS
};
extern const char *const token_names[N_TOKENS];

struct lexer {
        struct arena *a;
        struct issues *is; /* NULL: what is no token is passed over silently */
        struct buf *space; /* takes what stands between tokens, but what is none of them; or NULL */
        struct str in;
        size_t at;    /* byte */
        uint32_t pos; /* code point */
        /* The token at hand. */
        enum token token;
        struct str text;
        uint32_t token_pos;
        struct cel_value value; /* of a literal */
        const char *fault;      /* why the literal is none after all, or NULL */
};

/* Goes to the next token; reports what is none on the way. */
void lex_next(struct lexer *l);
