/* Base64, hex, percent encoding, SHA-256 and SHA-512. The decoders take what Go's decoders take. */
#include "base/encode.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/sha.h>

static const char std_alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char hex_digits[] = "0123456789abcdef";

static void encode64(struct buf *dst, struct str src, const char *alphabet, bool pad) {
        const uint8_t *s = (const uint8_t *) src.p;
        char *p = buf_reserve(dst, (src.n + 2) / 3 * 4), *start = p;
        size_t i = 0;

        for (; i + 3 <= src.n; i += 3) {
                uint32_t v = (uint32_t) s[i] << 16 | (uint32_t) s[i + 1] << 8 | s[i + 2];

                *p++ = alphabet[v >> 18];
                *p++ = alphabet[v >> 12 & 63];
                *p++ = alphabet[v >> 6 & 63];
                *p++ = alphabet[v & 63];
        }
        if (i < src.n) {
                bool two = i + 2 == src.n;
                uint32_t v = (uint32_t) s[i] << 16 | (two ? (uint32_t) s[i + 1] << 8 : 0);

                *p++ = alphabet[v >> 18];
                *p++ = alphabet[v >> 12 & 63];
                if (two)
                        *p++ = alphabet[v >> 6 & 63];
                else if (pad)
                        *p++ = '=';
                if (pad)
                        *p++ = '=';
        }
        dst->n += (size_t) (p - start);
}

static int digit64(char c, bool url) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        if (c == (url ? '-' : '+'))
                return 62;
        return c == (url ? '_' : '/') ? 63 : -1;
}

static int decode64(struct buf *dst, struct str src, bool url) {
        size_t before = dst->n, digits = 0, pads = 0;
        uint32_t v = 0;

        buf_reserve(dst, src.n / 4 * 3 + 3);
        for (size_t i = 0; i < src.n; i++) {
                int d;

                if (src.p[i] == '\n' || src.p[i] == '\r')
                        continue;
                if (src.p[i] == '=') {
                        pads++;
                        continue;
                }
                d = digit64(src.p[i], url);
                if (d < 0 || pads)
                        goto bad;
                v = v << 6 | (uint32_t) d;
                if (++digits % 4 == 0) {
                        dst->p[dst->n++] = (char) (v >> 16);
                        dst->p[dst->n++] = (char) (v >> 8);
                        dst->p[dst->n++] = (char) v;
                        v = 0;
                }
        }
        if (digits % 4 == 1 || pads > 2 || (pads && (digits + pads) % 4) || (!url && (digits + pads) % 4))
                goto bad;
        if (digits % 4 >= 2)
                dst->p[dst->n++] = (char) (digits % 4 == 2 ? v >> 4 : v >> 10);
        if (digits % 4 == 3)
                dst->p[dst->n++] = (char) (v >> 2);
        return 0;
bad:
        dst->n = before;
        return -EINVAL;
}

static size_t skip_newlines(struct str s, size_t i) {
        while (i < s.n && (s.p[i] == '\n' || s.p[i] == '\r'))
                i++;
        return i;
}

size_t base64_error(struct str src, bool url) {
        size_t digits = 0, i = 0; /* of the four that belong together */

        while ((i = skip_newlines(src, i)) < src.n && digit64(src.p[i], url) >= 0) {
                digits = (digits + 1) % 4;
                i++;
        }
        if (i == src.n)
                return i - digits;
        if (url || src.p[i] != '=' || digits < 2)
                return i;
        i = skip_newlines(src, i + 1);
        if (digits == 3 || i == src.n)
                return i;
        return src.p[i] != '=' ? i - 1 : skip_newlines(src, i + 1);
}

void base64_encode(struct buf *dst, struct str src) {
        encode64(dst, src, std_alphabet, true);
}

void base64url_encode(struct buf *dst, struct str src) {
        encode64(dst, src, url_alphabet, false);
}

int base64_decode(struct buf *dst, struct str src) {
        return decode64(dst, src, false);
}

int base64url_decode(struct buf *dst, struct str src) {
        return decode64(dst, src, true);
}

void hex_encode(struct buf *dst, struct str src) {
        char *p = buf_reserve(dst, 2 * src.n);

        for (size_t i = 0; i < src.n; i++) {
                *p++ = hex_digits[(uint8_t) src.p[i] >> 4];
                *p++ = hex_digits[(uint8_t) src.p[i] & 15];
        }
        dst->n += 2 * src.n;
}

void sha256(uint8_t dst[static 32], struct str src) {
        SHA256((const uint8_t *) (src.p ? src.p : ""), src.n, dst);
}

static void digest_hex(char *dst, const uint8_t *digest, size_t n, const char *digits) {
        for (size_t i = 0; i < n; i++) {
                dst[2 * i] = digits[digest[i] >> 4];
                dst[2 * i + 1] = digits[digest[i] & 15];
        }
        dst[2 * n] = 0;
}

void sha256_hex(char dst[static 65], struct str src) {
        uint8_t digest[32];

        sha256(digest, src);
        digest_hex(dst, digest, sizeof(digest), hex_digits);
}

void sha512_hex(char dst[static 129], struct str src) {
        uint8_t digest[64];

        SHA512((const uint8_t *) (src.p ? src.p : ""), src.n, digest);
        digest_hex(dst, digest, sizeof(digest), "0123456789ABCDEF");
}

static bool unreserved(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_' || c == '~';
}

void url_encode(struct buf *dst, struct str src) {
        static const char upper[] = "0123456789ABCDEF";

        for (size_t i = 0; i < src.n; i++) {
                uint8_t c = (uint8_t) src.p[i];

                if (unreserved(src.p[i]))
                        buf_putc(dst, src.p[i]);
                else
                        buf_add(dst, (char[]) { '%', upper[c >> 4], upper[c & 15] }, 3);
        }
}

void url_encode_query(struct buf *dst, struct str src) {
        for (size_t i = 0; i < src.n; i++)
                if (src.p[i] == ' ')
                        buf_putc(dst, '+');
                else
                        url_encode(dst, str_n(src.p + i, 1));
}

int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(struct buf *dst, struct str src, bool plus) {
        size_t before = dst->n;

        buf_reserve(dst, src.n);
        for (size_t i = 0; i < src.n; i++) {
                char c = src.p[i];

                if (c == '%') {
                        int high = i + 2 < src.n ? hex_digit(src.p[i + 1]) : -1;
                        int low = i + 2 < src.n ? hex_digit(src.p[i + 2]) : -1;

                        if (high < 0 || low < 0) {
                                dst->n = before;
                                return -EINVAL;
                        }
                        c = (char) (high << 4 | low);
                        i += 2;
                } else if (c == '+' && plus)
                        c = ' ';
                dst->p[dst->n++] = c;
        }
        return 0;
}

struct str base64_text(struct arena *a, struct str base64) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        return base64_decode(&b, base64) < 0 ? STR("") : arena_str(a, buf_str(&b));
}

bool ipv4_parse(struct str text, uint32_t *ret) {
        char c[INET_ADDRSTRLEN];
        struct in_addr a;

        if (text.n == 0 || text.n >= sizeof(c))
                return false;
        memcpy(c, text.p, text.n);
        c[text.n] = 0;
        if (inet_pton(AF_INET, c, &a) != 1)
                return false;
        *ret = ntohl(a.s_addr);
        return true;
}

void ipv4_format(uint32_t ip, char dst[static 46]) {
        struct in_addr a = { htonl(ip) };

        inet_ntop(AF_INET, &a, dst, 46);
}
