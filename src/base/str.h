/* A string is a view: pointer and length. It owns nothing and is not NUL-terminated.
 * Text that must outlive its source is copied into an arena (arena.h) or a buf (buf.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

struct str {
        const char *p;
        size_t n;
};

/* For literals, in expressions and in static initializers. */
#define STR(lit) ((struct str) { (lit), sizeof(lit) - 1 })
#define STR_INIT(lit) \
        { (lit), sizeof(lit) - 1 }
/* For printf: printf("%" STR_FMT, STR_ARG(s)). */
#define STR_FMT ".*s"
#define STR_ARG(s) (int) (s).n, (s).p ? (s).p : ""

static inline struct str str_of(const char *c) {
        return (struct str) { c, c ? strlen(c) : 0 };
}
static inline struct str str_n(const char *p, size_t n) {
        return (struct str) { p, n };
}
static inline bool str_eq(struct str a, struct str b) {
        return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_eqc(struct str a, const char *c) {
        return str_eq(a, str_of(c));
}
static inline bool str_empty(struct str a) {
        return a.n == 0;
}

int str_cmp(struct str a, struct str b);                         /* byte order, as strcmp */
int str_compare(const void *a, const void *b);                   /* of two struct str, for qsort */
bool str_among(struct str s, const char *const list[]);          /* NULL-terminated */
bool str_is_part(struct str s, char separator, struct str list); /* of "a,b,c" */
#define WORDS(...) ((const char *const[]) { __VA_ARGS__, NULL })
bool str_eq_fold(struct str a, struct str b); /* ASCII case-insensitive */
bool str_has_prefix(struct str s, struct str prefix);
bool str_has_suffix(struct str s, struct str suffix);
bool str_made_of(struct str s, const char *marks);        /* of letters and digits of ASCII, and these, only */
ssize_t str_find(struct str s, char c);                   /* index of the first c, or -1 */
ssize_t str_rfind(struct str s, char c);                  /* index of the last c, or -1 */
ssize_t str_search(struct str s, struct str what);        /* index of the first occurrence, or -1 */
struct str str_sub(struct str s, size_t from, size_t to); /* clamped to s */
struct str str_trim(struct str s);                        /* without ASCII space at both ends */
uint64_t str_hash(struct str s);                          /* seeded once a process; not stable across runs */
uint64_t str_hash_stable(struct str s); /* FNV-1a 64: the same everywhere, for names derived from data */

/* Cuts the part before the next sep off *rest and returns it in *ret_part. false when nothing is left.
 * "a,,b" by ',' gives "a", "", "b"; "" gives nothing. */
bool str_split(struct str *rest, char sep, struct str *ret_part);
/* Each of these parts. */
#define str_each(part, text, sep) for (struct str part##_rest = (text), part; str_split(&part##_rest, (sep), &part);)

/* Whole-string decimal. Errors: -EINVAL (not a number), -ERANGE. */
int str_to_i64(struct str s, int64_t *ret);
int str_to_u64(struct str s, uint64_t *ret);
int str_to_bool(struct str s, bool *ret); /* what Go reads as one: 1, t, T, true, TRUE, True; -EINVAL */

/* A NUL-terminated malloc'd copy (NULL only when out of memory, which aborts: see arena.h). */
char *str_dup(struct str s);
