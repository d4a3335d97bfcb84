/* Views on bytes: compare, search, cut, hash. Nothing here allocates but str_dup. */
#include "base/str.h"

#include <errno.h>
#include <sys/random.h>

#include "base/arena.h"

int str_cmp(struct str a, struct str b) {
        size_t n = MIN(a.n, b.n);
        int r = n ? memcmp(a.p, b.p, n) : 0;

        return r ? r : (a.n > b.n) - (a.n < b.n);
}

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c | 0x20) : c;
}

int str_compare(const void *a, const void *b) {
        return str_cmp(*(const struct str *) a, *(const struct str *) b);
}

bool str_among(struct str s, const char *const list[]) {
        for (; *list; list++)
                if (str_eqc(s, *list))
                        return true;
        return false;
}

bool str_is_part(struct str s, char separator, struct str list) {
        struct str part;

        while (str_split(&list, separator, &part))
                if (str_eq(part, s))
                        return true;
        return false;
}

bool str_eq_fold(struct str a, struct str b) {
        if (a.n != b.n)
                return false;
        for (size_t i = 0; i < a.n; i++)
                if (lower(a.p[i]) != lower(b.p[i]))
                        return false;
        return true;
}

bool str_has_prefix(struct str s, struct str prefix) {
        return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_has_suffix(struct str s, struct str suffix) {
        return s.n >= suffix.n && str_eq(str_n(s.p + (s.n - suffix.n), suffix.n), suffix);
}

ssize_t str_find(struct str s, char c) {
        const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

        return at ? at - s.p : -1;
}

ssize_t str_rfind(struct str s, char c) {
        const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

        return at ? at - s.p : -1;
}

ssize_t str_search(struct str s, struct str what) {
        if (what.n == 0)
                return 0;
        const char *at = s.n ? memmem(s.p, s.n, what.p, what.n) : NULL;
        return at ? at - s.p : -1;
}

struct str str_sub(struct str s, size_t from, size_t to) {
        to = MIN(to, s.n);
        from = MIN(from, to);
        return from ? str_n(s.p + from, to - from) : str_n(s.p, to);
}

static bool is_space(char c) {
        return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s) {
        while (s.n && is_space(s.p[0]))
                s = str_n(s.p + 1, s.n - 1);
        while (s.n && is_space(s.p[s.n - 1]))
                s.n--;
        return s;
}

bool str_made_of(struct str s, const char *marks) {
        for (size_t i = 0; i < s.n; i++) {
                char c = s.p[i], lower = c | 0x20;

                if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr(marks, c)))
                        return false;
        }
        return true;
}

/* The seed keeps clients from choosing keys that collide. */
static uint64_t hash_seed;

__attribute__((constructor)) static void seed_hash(void) {
        if (getrandom(&hash_seed, sizeof(hash_seed), GRND_NONBLOCK) != sizeof(hash_seed))
                hash_seed = (uint64_t) (uintptr_t) &hash_seed * 0x9e3779b97f4a7c15ULL;
}

static uint64_t mix(uint64_t a, uint64_t b) {
        __uint128_t m = (__uint128_t) a * b;

        return (uint64_t) m ^ (uint64_t) (m >> 64);
}

static uint64_t load64(const char *p) {
        uint64_t v;

        memcpy(&v, p, 8);
        return v;
}

/* 16 bytes a round through a 64 × 64 → 128 bit multiplication that folds onto itself. */
uint64_t str_hash(struct str s) {
        uint64_t h = hash_seed ^ 0xa0761d6478bd642fULL, a = 0, b = 0;
        const char *p = s.p;
        size_t n = s.n;

        for (; n > 16; p += 16, n -= 16)
                h = mix(load64(p) ^ 0xe7037ed1a0b428dbULL, load64(p + 8) ^ h);
        if (n >= 8) {
                a = load64(p);
                b = load64(p + n - 8);
        } else if (n)
                memcpy(&a, p, n);
        return mix(0x8ebc6af09c88c6e3ULL ^ s.n, mix(a ^ 0xe7037ed1a0b428dbULL, b ^ h));
}

uint64_t str_hash_stable(struct str s) {
        uint64_t h = 0xcbf29ce484222325ULL;

        for (size_t i = 0; i < s.n; i++)
                h = (h ^ (uint8_t) s.p[i]) * 0x100000001b3ULL;
        return h;
}

bool str_split(struct str *rest, char sep, struct str *ret_part) {
        if (!rest->p)
                return false;
        ssize_t at = str_find(*rest, sep);
        if (at < 0) {
                /* A text that ended in a separator leaves an empty last part; an empty text leaves none. */
                if (rest->n == 0)
                        return false;
                *ret_part = *rest;
                *rest = (struct str) { 0 };
                return true;
        }
        *ret_part = str_n(rest->p, (size_t) at);
        *rest = str_n(rest->p + at + 1, rest->n - (size_t) at - 1);
        return true;
}

int str_to_u64(struct str s, uint64_t *ret) {
        uint64_t v = 0;

        if (s.n == 0)
                return -EINVAL;
        for (size_t i = 0; i < s.n; i++)
                if (s.p[i] < '0' || s.p[i] > '9')
                        return -EINVAL;
        for (size_t i = 0; i < s.n; i++)
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (s.p[i] - '0'), &v))
                        return -ERANGE;
        *ret = v;
        return 0;
}

int str_to_i64(struct str s, int64_t *ret) {
        bool negative = s.n && s.p[0] == '-';
        uint64_t v, limit = (uint64_t) INT64_MAX + negative;

        if (negative || (s.n && s.p[0] == '+'))
                s = str_n(s.p + 1, s.n - 1);
        TRY(str_to_u64(s, &v));
        if (v > limit)
                return -ERANGE;
        *ret = negative ? (int64_t) (0 - v) : (int64_t) v;
        return 0;
}

char *str_dup(struct str s) {
        char *c = xmalloc(s.n + 1);

        if (s.n)
                memcpy(c, s.p, s.n);
        c[s.n] = 0;
        return c;
}

int str_to_bool(struct str s, bool *ret) {
        static const char *const words[] = { "0", "f", "F", "false", "FALSE", "False",
                                             "1", "t", "T", "true",  "TRUE",  "True" };

        for (size_t i = 0; i < ARRAY_SIZE(words); i++)
                if (str_eqc(s, words[i])) {
                        *ret = i >= ARRAY_SIZE(words) / 2;
                        return 0;
                }
        return -EINVAL;
}
