#include "store/record.h"

#include <endian.h>
#include <errno.h>

/* XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): fast without special instructions. */
#define P1 0x9E3779B185EBCA87ULL
#define P2 0xC2B2AE3D27D4EB4FULL
#define P3 0x165667B19E3779F9ULL
#define P4 0x85EBCA77C2B2AE63ULL
#define P5 0x27D4EB2F165667C5ULL

static uint64_t rotate(uint64_t x, unsigned by) {
        return x << by | x >> (64 - by);
}

static uint64_t get64(const uint8_t *p) {
        uint64_t v;

        memcpy(&v, p, sizeof(v));
        return le64toh(v);
}

static uint32_t get32(const uint8_t *p) {
        uint32_t v;

        memcpy(&v, p, sizeof(v));
        return le32toh(v);
}

static uint64_t mix(uint64_t lane, uint64_t in) {
        return rotate(lane + in * P2, 31) * P1;
}

static uint64_t checksum(const uint8_t *p, size_t n) {
        const uint8_t *end = p + n;
        uint64_t h = P5;

        if (n >= 32) {
                uint64_t lane[4] = { P1 + P2, P2, 0, -P1 };

                for (; end - p >= 32; p += 32)
                        for (size_t i = 0; i < 4; i++)
                                lane[i] = mix(lane[i], get64(p + 8 * i));
                h = rotate(lane[0], 1) + rotate(lane[1], 7) + rotate(lane[2], 12) + rotate(lane[3], 18);
                for (unsigned i = 0; i < 4; i++)
                        h = (h ^ mix(0, lane[i])) * P1 + P4;
        }
        h += n;
        for (; end - p >= 8; p += 8)
                h = rotate(h ^ mix(0, get64(p)), 27) * P1 + P4;
        if (end - p >= 4) {
                h = rotate(h ^ get32(p) * P1, 23) * P2 + P3;
                p += 4;
        }
        for (; p < end; p++)
                h = rotate(h ^ *p * P5, 11) * P1;
        h = (h ^ h >> 33) * P2;
        h = (h ^ h >> 29) * P3;
        return h ^ h >> 32;
}

static void put64(char *p, uint64_t v) {
        v = htole64(v);
        memcpy(p, &v, sizeof(v));
}

static void put32(char *p, uint32_t v) {
        v = htole32(v);
        memcpy(p, &v, sizeof(v));
}

char *record_write(const struct record *r, char *dst) {
        char *p = dst + RECORD_HEAD;

        put64(dst + 8, r->revision);
        put32(dst + 16, (uint32_t) r->key.n);
        put32(dst + 20, (uint32_t) r->text.n);
        p = mempcpy(p, r->key.p, r->key.n);
        p = mempcpy(p, r->text.p, r->text.n);
        put64(dst, checksum((uint8_t *) dst + 8, (size_t) (p - dst) - 8));
        return p;
}

int record_read(struct str *rest, struct record *ret) {
        const uint8_t *p = (const uint8_t *) rest->p;

        if (rest->n == 0)
                return -ENOENT;
        if (rest->n < RECORD_HEAD)
                return -EUCLEAN;
        size_t key_n = get32(p + 16);
        size_t text_n = get32(p + 20);
        size_t n = rest->n - RECORD_HEAD;
        if (key_n > n || text_n > n - key_n || get64(p) != checksum(p + 8, record_size(key_n, text_n) - 8))
                return -EUCLEAN;
        *ret = (struct record) {
                .revision = get64(p + 8),
                .key = { rest->p + RECORD_HEAD, key_n },
                .text = { rest->p + RECORD_HEAD + key_n, text_n },
        };
        *rest = str_sub(*rest, record_size(key_n, text_n), rest->n);
        return 0;
}
