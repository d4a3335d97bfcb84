/* Regular expressions as RE2 and Go's regexp have them (https://github.com/google/re2/wiki/Syntax), over PCRE2: what
 * matches is decided by the same leftmost-first rule, what RE2 refuses (lookaround, backreferences, possessive and
 * atomic groups, repeats above 1000) is refused, in Go's words. Text is UTF-8.
 *
 * RE2 promises linear time and PCRE2 does not: each match has a limit of steps and of memory. A yes or no question that
 * meets it is put again to PCRE2's breadth-first matcher, which does not backtrack; what meets its limit too is -E2BIG.
 * A struct regex is immutable: threads share it. */
#pragma once

#include "base/error.h"

struct regex;

/* -EINVAL: "error parsing regexp: missing closing ): `(a`". */
int regex_compile(struct str pattern, struct regex **ret, struct error *err);
void regex_free(struct regex *re); /* NULL is fine */
DEFINE_CLEANUP(struct regex *, regex_free)

/* Is there a match anywhere in s? 1, 0, or -E2BIG (also for text that is not UTF-8). */
int regex_match(const struct regex *re, struct str s);
/* The first match at or after byte from: 1 and its bounds, 0, or -E2BIG. With a from that is not 0, s has been searched
 * from 0 before, and a character begins there. */
int regex_find(const struct regex *re, struct str s, size_t from, size_t *ret_start, size_t *ret_end);
