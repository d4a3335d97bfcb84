/* Regular expressions as RE2 and Go's regexp have them (https://github.com/google/re2/wiki/Syntax): what matches is
 * decided by the leftmost-first rule, what RE2 refuses (lookaround, backreferences, possessive and atomic groups,
 * repeats above 1000) is refused, in Go's words. Text is UTF-8; a byte of it that is not valid is U+FFFD.
 *
 * Time is linear in the text, and in the pattern with its repeats written out (at most 256 Ki items of it). What takes
 * 100 million steps nevertheless is given up. A struct regex is immutable: threads share it. */
#pragma once

#include "base/error.h"

struct regex;

/* -EINVAL: "error parsing regexp: missing closing ): `(a`". */
int regex_compile(struct str pattern, struct regex **ret, struct error *err);
void regex_free(struct regex *re); /* NULL is fine */
DEFINE_CLEANUP(struct regex *, regex_free)

/* Is there a match anywhere in s? 1, 0, or -E2BIG. */
int regex_match(const struct regex *re, struct str s);
/* The first match at or after byte from, where a character begins: 1 and its bounds, 0, or -E2BIG. *work, 0 at first,
 * bounds what all the searches of a text may take together. */
int regex_find(const struct regex *re, struct str s, size_t from, size_t *work, size_t *ret_start, size_t *ret_end);
