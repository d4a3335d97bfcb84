/* Private to src/cel: from text to tokens. */
#pragma once

#include "cel/internal.h"

enum token {
        TOK_END,
        TOK_IDENT,
        TOK_INT,
        TOK_UINT,
        TOK_DOUBLE,
        TOK_STRING,
        TOK_BYTES,
        TOK_TRUE,
        TOK_FALSE,
        TOK_NULL,
        TOK_IN,
        TOK_OP, /* text says which */
};

struct lexer {
        struct arena *a;
        struct issues *is;
        struct str in;
        size_t at;    /* byte */
        uint32_t pos; /* code point */
        /* The token at hand. */
        enum token token;
        struct str text;
        uint32_t token_pos;
        struct cel_value value; /* of a literal */
        bool failed;
};

/* Goes to the next token; reports what is none. */
void lex_next(struct lexer *l);
