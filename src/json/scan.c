/* Values in text that is known to be valid, found without building a tree: what lies between is skipped by its brackets
 * and quotes alone. Text that is not valid gives an empty answer, never a read beyond its end. */
#include <ctype.h>
#include <math.h>

#include "json/scan.h"

#include "json/number.h"
#include "json/text.h"

/* p is after an opening quote; the result is after the closing one. NULL: no end. */
static const char *skip_string(const char *p, const char *end) {
        while ((p = find_quote(p, end)) < end) {
                if (*p == '"')
                        return p + 1;
                if (end - p < 2)
                        return NULL;
                p += 2;
        }
        return NULL;
}

/* 64 bytes as bits: the first byte is bit 0. */
struct block {
        uint64_t quote, backslash, open, close;
};

static inline struct block load_block(const char *p) {
        struct block b = { 0 };

#ifdef __SSE2__
        for (int i = 0; i < 4; i++) {
                vec16 v = v_load(p + 16 * i), bracket = v_with(v, 0x20); /* [ and ] look like { and } */

                b.quote |= v_mask(v_eq(v, '"')) << 16 * i;
                b.backslash |= v_mask(v_eq(v, '\\')) << 16 * i;
                b.open |= v_mask(v_eq(bracket, '{')) << 16 * i;
                b.close |= v_mask(v_eq(bracket, '}')) << 16 * i;
        }
#else
        for (int i = 0; i < 64; i++) {
                b.quote |= (uint64_t) (p[i] == '"') << i;
                b.backslash |= (uint64_t) (p[i] == '\\') << i;
                b.open |= (uint64_t) ((p[i] | 0x20) == '{') << i;
                b.close |= (uint64_t) ((p[i] | 0x20) == '}') << i;
        }
#endif
        return b;
}

static inline uint64_t find_in_block(const char *p, char c) {
        uint64_t bits = 0;

#ifdef __SSE2__
        for (int i = 0; i < 4; i++)
                bits |= v_mask(v_eq(v_load(p + 16 * i), c)) << 16 * i;
#else
        for (int i = 0; i < 64; i++)
                bits |= (uint64_t) (p[i] == c) << i;
#endif
        return bits;
}

/* The bytes that a backslash takes the meaning of. *carry: the first one of this block, of the next one on return. */
static uint64_t escaped_bytes(uint64_t backslash, uint64_t *carry) {
        uint64_t escaped = *carry;

        backslash &= ~*carry;
        *carry = 0;
        while (backslash) {
                unsigned at = (unsigned) __builtin_ctzll(backslash);

                if (at == 63) {
                        *carry = 1;
                        break;
                }
                escaped |= 2ULL << at;
                backslash &= ~(3ULL << at);
        }
        return escaped;
}

/* Each bit becomes the parity of those up to it: from one quote to the next the bits are set. */
static uint64_t between(uint64_t quotes) {
        for (int shift = 1; shift < 64; shift *= 2)
                quotes ^= quotes << shift;
        return quotes;
}

/* p is at the opening bracket. Brackets are counted a block at a time; only the block where the last one closes is
 * looked at more closely. */
static const char *skip_container(const char *p, const char *end) {
        uint64_t carry = 0, in_string = 0, depth = 0;

        for (; p < end; p += 64) {
                char tail[64] = { 0 };
                struct block b = load_block(end - p >= 64 ? p : memcpy(tail, p, (size_t) (end - p)));

                if (b.backslash || carry)
                        b.quote &= ~escaped_bytes(b.backslash, &carry);
                uint64_t strings = between(b.quote) ^ in_string;
                in_string = 0 - (strings >> 63);
                b.open &= ~strings;
                b.close &= ~strings;
                if ((uint64_t) __builtin_popcountll(b.close) >= depth)
                        for (uint64_t bits = b.open | b.close; bits; bits &= bits - 1) {
                                if (b.open & bits & -bits)
                                        depth++;
                                else if (--depth == 0)
                                        return p + __builtin_ctzll(bits) + 1;
                        }
                else
                        depth += (uint64_t) __builtin_popcountll(b.open) - (uint64_t) __builtin_popcountll(b.close);
        }
        return NULL;
}

/* Strings that have escapes are copied when they are parsed. */
static size_t escaped_size(const char *begin, const char *end) {
        const char *p = begin;
        size_t n = 0;

        while (p && p < end && (p = memchr(p, '\\', (size_t) (end - p)))) {
                const char *start = p;

                while (start > begin && *start != '"')
                        start--;
                p = skip_string(start + 1, end);
                n += p ? (size_t) (p - start) + 16 : 0;
        }
        return n;
}

size_t json_tree_size(struct str text) {
        uint64_t carry = 0, in_string = 0;
        size_t members = 0, values = 1, containers = 0, n;
        bool escapes = false;

        for (size_t i = 0; i < text.n; i += 64) {
                char tail[64] = { 0 };
                const char *p = text.n - i >= 64 ? text.p + i : memcpy(tail, text.p + i, text.n - i);
                struct block b = load_block(p);

                if (b.backslash || carry) {
                        b.quote &= ~escaped_bytes(b.backslash, &carry);
                        escapes = true;
                }
                uint64_t strings = between(b.quote) ^ in_string;
                in_string = 0 - (strings >> 63);
                members += (size_t) __builtin_popcountll(find_in_block(p, ':') & ~strings);
                values += (size_t) __builtin_popcountll(find_in_block(p, ',') & ~strings);
                containers += (size_t) __builtin_popcountll(b.open & ~strings);
        }
        /* A container has one value more than commas, and all are packed. The root, which is not, may lose 8 bytes. */
        n = (values + containers) * sizeof(struct json) + members * (sizeof(struct json_member) - sizeof(struct json)) +
            8;
        return n + (escapes ? escaped_size(text.p, text.p + text.n) : 0);
}

const char *json_skip_value(const char *p, const char *end) {
        const char *start = p;

        if (p >= end)
                return NULL;
        if (*p == '"')
                return skip_string(p + 1, end);
        if (*p == '{' || *p == '[')
                return skip_container(p, end);
        while (p < end && *p != ',' && *p != '}' && *p != ']' && !json_is_space(*p))
                p++;
        return p > start ? p : NULL;
}

bool json_scan_open(struct json_scan *s, struct str text) {
        if (!text.n)
                return false;
        s->end = text.p + text.n;
        s->p = json_skip_space(text.p, s->end);
        if (s->p >= s->end || (*s->p != '{' && *s->p != '['))
                return false;
        s->object = *s->p++ == '{';
        s->first = true;
        return true;
}

bool json_scan_next(struct json_scan *s) {
        const char *p = json_skip_space(s->p, s->end), *end = s->end, *q;

        if (p >= end || *p == '}' || *p == ']')
                return false;
        if (!s->first) {
                if (*p != ',')
                        return false;
                p = json_skip_space(p + 1, end);
        }
        s->first = false;
        s->key = (struct str) { 0 };
        if (s->object) {
                if (p >= end || *p != '"' || !(q = skip_string(p + 1, end)))
                        return false;
                s->key = str_n(p, (size_t) (q - p));
                p = json_skip_space(q, end);
                if (p >= end || *p != ':')
                        return false;
                p = json_skip_space(p + 1, end);
        }
        q = json_skip_value(p, end);
        if (!q)
                return false;
        s->value = str_n(p, (size_t) (q - p));
        s->p = q;
        return true;
}

/* A raw key with its quotes, against a plain one. Keys with escapes are compared resolved. */
static bool key_is(struct str raw, struct str key) {
        struct str content = str_sub(raw, 1, raw.n - 1);

        if (memchr(content.p, '\\', content.n)) {
                _cleanup_(arena_freep) struct arena *a = arena_new(256);

                return str_eq(json_unquote(a, raw), key);
        }
        return str_eq(content, key);
}

struct str json_scan(struct str text, const char *const keys[]) {
        for (; *keys; keys++) {
                struct json_scan s;
                struct str found = { 0 };

                if (json_scan_open(&s, text) && s.object)
                        while (!found.p && json_scan_next(&s))
                                if (key_is(s.key, str_of(*keys)))
                                        found = s.value;
                if (!found.p)
                        return (struct str) { 0 };
                text = found;
        }
        return text;
}

struct str json_unquote(struct arena *a, struct str raw) {
        size_t invalid = 0;
        bool escapes = false;

        if (raw.n < 2 || raw.p[0] != '"' || raw.p[raw.n - 1] != '"')
                return (struct str) { 0 };
        raw = str_sub(raw, 1, raw.n - 1);
        for (const char *p = raw.p, *end = p + raw.n; (p = find_string_special(p, end)) < end;) {
                size_t n = 1;

                if (*p == '\\') {
                        escapes = true;
                        n = p + 1 < end && p[1] == 'u' ? 6 : 2;
                        if ((size_t) (end - p) < n)
                                return (struct str) { 0 };
                } else {
                        n = utf8_sequence(p, end);
                        invalid += n == 0;
                        n = MAX(n, (size_t) 1);
                }
                p += n;
        }
        return escapes || invalid ? json_decode_string(a, raw, invalid) : raw;
}

bool json_find_number(struct str text, bool yaml, double d, struct str *ret) {
        const char *end = text.n > 0 ? text.p + text.n : text.p, *q;
        struct json number;
        uint64_t v;

        for (const char *p = text.p; p < end; p = q + (q == p)) {
                if (*p == '"' && !yaml) { /* no number is in a string */
                        for (q = p + 1; q < end && *q != '"';)
                                q += *q == '\\' && q + 1 < end ? 2 : 1;
                        q += q < end;
                        continue;
                }
                for (q = p; q < end && (isalnum((unsigned char) *q) || *q == '+' || *q == '-' || *q == '.');)
                        q++;
                struct str word = str_n(p, (size_t) (q - p));

                if (word.n == 0 || (word.p[0] != '-' && !isdigit((unsigned char) word.p[0])))
                        continue;
                if (yaml ? str_to_u64(word, &v) < 0 : p > text.p && !strchr(":,[ \t\r\n", p[-1]))
                        continue;
                if (json_decode_number(word, &number) < 0 ? isinf(d) : number.type == JSON_DOUBLE && number.d == d) {
                        *ret = word;
                        return true;
                }
        }
        return false;
}
