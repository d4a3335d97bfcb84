/* Private to json/: what the parser, the scanner and the writer share about text. 16 bytes at a time with SSE2 or NEON,
 * byte by byte elsewhere and at the end of a text: nothing is ever read beyond it. */
#pragma once

#include "base/utf8.h"
#include "json/json.h"

#define JSON_MAX_DEPTH 10000
#define JSON_MAX_KEY 0xffff
#define JSON_GROWN 1   /* json.flags: the array has room for the next power of two of len (at least 4) */
#define JSON_ESCAPED 1 /* json.flags: the text of the string had escapes */

#if defined(__SSE2__)
#include <emmintrin.h>
#define JSON_SIMD 1
typedef __m128i vec16;
#define MASK_SHIFT 0 /* a mask has one bit for each byte */
static inline vec16 v_load(const char *p) {
        return _mm_loadu_si128((const __m128i *) p);
}
static inline vec16 v_eq(vec16 v, char c) {
        return _mm_cmpeq_epi8(v, _mm_set1_epi8(c));
}
static inline vec16 v_less(vec16 v, char c) { /* signed: bytes from 0x80 on are less than any character */
        return _mm_cmplt_epi8(v, _mm_set1_epi8(c));
}
static inline vec16 v_or(vec16 a, vec16 b) {
        return _mm_or_si128(a, b);
}
static inline vec16 v_with(vec16 v, char bits) {
        return _mm_or_si128(v, _mm_set1_epi8(bits));
}
static inline uint64_t v_mask(vec16 v) {
        return (uint64_t) (unsigned) _mm_movemask_epi8(v);
}
#define MASK_ALL 0xffffULL
#elif defined(__aarch64__)
#include <arm_neon.h>
#define JSON_SIMD 1
typedef uint8x16_t vec16;
#define MASK_SHIFT 2 /* four bits for each byte */
static inline vec16 v_load(const char *p) {
        return vld1q_u8((const uint8_t *) p);
}
static inline vec16 v_eq(vec16 v, char c) {
        return vceqq_u8(v, vdupq_n_u8((uint8_t) c));
}
static inline vec16 v_less(vec16 v, char c) {
        return vcltq_s8(vreinterpretq_s8_u8(v), vdupq_n_s8((int8_t) c));
}
static inline vec16 v_or(vec16 a, vec16 b) {
        return vorrq_u8(a, b);
}
static inline vec16 v_with(vec16 v, char bits) {
        return vorrq_u8(v, vdupq_n_u8((uint8_t) bits));
}
static inline uint64_t v_mask(vec16 v) {
        return vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(v), 4)), 0);
}
#define MASK_ALL UINT64_MAX
#endif

/* Moves p on by 16 bytes as long as there are; returns the first whose bit is set in mask, over vec16 v. */
#ifdef JSON_SIMD
#define FIND_16(mask)                                                      \
        for (; end - p >= 16; p += 16) {                                   \
                vec16 v = v_load(p);                                       \
                uint64_t _mask = (mask);                                   \
                                                                           \
                if (_mask)                                                 \
                        return p + (__builtin_ctzll(_mask) >> MASK_SHIFT); \
        }
#else
#define FIND_16(mask)
#endif

/* Defines name(p, end): the first byte of a class, or end. vector is an expression over vec16 v, scalar over char c. */
#define DEFINE_FIND(name, vector, scalar)                                         \
        static inline _unused_ const char *name(const char *p, const char *end) { \
                FIND_16(v_mask(vector))                                           \
                for (; p < end; p++) {                                            \
                        char c = *p;                                              \
                                                                                  \
                        if (scalar)                                               \
                                break;                                            \
                }                                                                 \
                return p;                                                         \
        }

/* In a string: its end, an escape, a control character, or a byte beyond ASCII. */
DEFINE_FIND(find_string_special, v_or(v_or(v_eq(v, '"'), v_eq(v, '\\')), v_less(v, 0x20)),
            c == '"' || c == '\\' || (signed char) c < 0x20)
/* In a string that is known to be valid: its end or an escape. */
DEFINE_FIND(find_quote, v_or(v_eq(v, '"'), v_eq(v, '\\')), c == '"' || c == '\\')
/* What encoding/json does not write as it is: " \ < > & control, and beyond ASCII (U+2028, U+2029, what is invalid). */
DEFINE_FIND(find_unsafe,
            v_or(v_or(v_eq(v_with(v, 4), '&'), v_eq(v_with(v, 2), '>')), v_or(v_eq(v, '\\'), v_less(v, 0x20))),
            (c | 4) == '&' || (c | 2) == '>' || c == '\\' || (signed char) c < 0x20)

static inline bool json_is_space(char c) {
        return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline const char *json_skip_space(const char *p, const char *end) {
        if (p < end && (unsigned char) *p > ' ')
                return p;
        FIND_16(~v_mask(v_or(v_or(v_eq(v, ' '), v_eq(v, '\n')), v_or(v_eq(v, '\r'), v_eq(v, '\t')))) & MASK_ALL)
        while (p < end && json_is_space(*p))
                p++;
        return p;
}

static inline uint64_t json_make_key(struct str key) {
        return (uint64_t) (uintptr_t) key.p | (uint64_t) key.n << 48;
}

/* Resolves the escapes of a string's content that was checked to be well-formed; invalid_bytes of it are not UTF-8 and
 * become U+FFFD each, as unpaired surrogates do. */
struct str json_decode_string(struct arena *a, struct str content, size_t invalid_bytes);

/* Text of a number that follows the grammar. -ERANGE when no double holds it. */
int json_decode_number(struct str text, struct json *ret);

/* Duplicate keys among n members: the last value goes to the first place, the rest is closed up. Returns how many are
 * left; on_duplicate (may be NULL) hears of each. */
size_t json_unique_members(struct json_member *m, size_t n, void (*on_duplicate)(void *arg, struct str key), void *arg);
