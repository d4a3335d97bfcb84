/* A pull reader over a file: read → inflate (zlib or zstd, by magic) → hash.
 *
 *   fd ──▶ in[256 KiB] ──▶ gzip │ zstd │ as is ──▶ out[256 KiB] ──▶ caller
 *                                                 └─▶ SHA-256 (the diff id)
 *
 * Both compressors allow several members after one another; both are followed. */
#include "runtime/images/stream.h"

#include <openssl/evp.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/encode.h"

#define BLOCK (256U << 10)
#define BOMB_RATIO 1100       /* gzip cannot do better than 1032 */
#define BOMB_FREE (64U << 20) /* …and small ones do no harm */

struct digest {
        EVP_MD_CTX *md;
};

struct digest *digest_new(void) {
        struct digest *d = xcalloc(1, sizeof(*d));

        d->md = EVP_MD_CTX_new();
        if (!d->md || !EVP_DigestInit_ex(d->md, EVP_sha256(), NULL))
                abort(); /* out of memory */
        return d;
}

void digest_free(struct digest *d) {
        if (!d)
                return;
        EVP_MD_CTX_free(d->md);
        free(d);
}

void digest_add(struct digest *d, const void *p, size_t n) {
        EVP_DigestUpdate(d->md, p, n);
}

void digest_finish(struct digest *d, char dst[static 72]) {
        _cleanup_buf_ struct buf hex = BUF_INIT;
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        EVP_DigestFinal_ex(d->md, md, &n);
        hex_encode(&hex, str_n((const char *) md, n));
        memcpy(dst, "sha256:", 7);
        memcpy(dst + 7, hex.p, MIN(hex.n, 64U));
        dst[71] = 0;
}

enum compression { PLAIN, GZIP, ZSTD };

struct stream {
        int fd;
        enum compression kind;
        bool eof, member_done; /* no more input; the last member is complete */
        uint64_t bytes_in, bytes_out, max;
        size_t in_at, in_n;
        z_stream z;
        ZSTD_DStream *zstd;
        struct digest *digest;
        unsigned char in[BLOCK], out[BLOCK];
};

static int fill(struct stream *s, struct error *err) {
        ssize_t n;

        if (s->in_at < s->in_n || s->eof)
                return 0;
        do
                n = read(s->fd, s->in, BLOCK);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return error_errno(err, -errno, "read");
        s->in_at = 0;
        s->in_n = (size_t) n;
        s->bytes_in += (uint64_t) n;
        s->eof = n == 0;
        return 0;
}

int stream_open(int fd, uint64_t max_bytes, struct stream **ret, struct error *err) {
        static const unsigned char zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };
        _cleanup_(stream_closep) struct stream *s = xcalloc(1, sizeof(*s));

        if (lseek(fd, 0, SEEK_SET) < 0 && errno != ESPIPE) /* a pipe is taken as it comes */
                return error_errno(err, -errno, "seek");
        s->fd = fd;
        s->max = max_bytes;
        s->digest = digest_new();
        TRY(fill(s, err));
        if (s->in_n >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b) {
                s->kind = GZIP;
                if (inflateInit2(&s->z, 15 + 16) != Z_OK)
                        return error_set(err, -ENOMEM, "gzip: out of memory");
        } else if (s->in_n >= 4 && memcmp(s->in, zstd_magic, 4) == 0) {
                s->kind = ZSTD;
                s->zstd = ZSTD_createDStream();
                if (!s->zstd)
                        return error_set(err, -ENOMEM, "zstd: out of memory");
        }
        *ret = TAKE_PTR(s);
        return 0;
}

void stream_close(struct stream *s) {
        if (!s)
                return;
        if (s->kind == GZIP)
                inflateEnd(&s->z);
        ZSTD_freeDStream(s->zstd);
        digest_free(s->digest);
        free(s);
}

/* One step of the decompressor over what is in in[]; returns the bytes put in out[]. */
static ssize_t inflate_gzip(struct stream *s, struct error *err) {
        if (s->member_done) { /* another member follows */
                inflateReset(&s->z);
                s->member_done = false;
        }
        s->z.next_in = s->in + s->in_at;
        s->z.avail_in = (uInt) (s->in_n - s->in_at);
        s->z.next_out = s->out;
        s->z.avail_out = BLOCK;
        int k = inflate(&s->z, Z_NO_FLUSH);
        s->in_at = s->in_n - s->z.avail_in;
        if (k == Z_STREAM_END)
                s->member_done = true;
        else if (k != Z_OK && k != Z_BUF_ERROR)
                return error_set(err, -EBADMSG, "gzip: %s", s->z.msg ? s->z.msg : "invalid data");
        return BLOCK - s->z.avail_out;
}

static ssize_t inflate_zstd(struct stream *s, struct error *err) {
        ZSTD_inBuffer in = { s->in, s->in_n, s->in_at };
        ZSTD_outBuffer out = { s->out, BLOCK, 0 };
        size_t k = ZSTD_decompressStream(s->zstd, &out, &in);

        if (ZSTD_isError(k))
                return error_set(err, -EBADMSG, "zstd: %s", ZSTD_getErrorName(k));
        s->in_at = in.pos;
        s->member_done = k == 0;
        return (ssize_t) out.pos;
}

ssize_t stream_read(struct stream *s, const void **ret, struct error *err) {
        ssize_t n = 0;

        while (n == 0) {
                TRY(fill(s, err));
                if (s->kind == PLAIN) {
                        n = (ssize_t) (s->in_n - s->in_at);
                        memcpy(s->out, s->in + s->in_at, (size_t) n);
                        s->in_at = s->in_n;
                        if (n == 0)
                                return 0;
                        break;
                }
                if (s->eof && s->member_done)
                        return 0;
                n = s->kind == GZIP ? inflate_gzip(s, err) : inflate_zstd(s, err);
                if (n < 0)
                        return n;
                if (n == 0 && s->eof && !s->member_done)
                        return error_set(err, -EBADMSG, "unexpected EOF in compressed data");
        }
        s->bytes_out += (uint64_t) n;
        if (s->bytes_out > s->max)
                return error_set(err, -EFBIG, "more than %llu bytes", (unsigned long long) s->max);
        if (s->bytes_out > BOMB_FREE && s->bytes_out / BOMB_RATIO > s->bytes_in && s->kind == GZIP)
                return error_set(err, -EFBIG, "compressed data grows more than %d-fold", BOMB_RATIO);
        digest_add(s->digest, s->out, (size_t) n);
        *ret = s->out;
        return n;
}

void stream_digest(struct stream *s, char dst[static 72]) {
        digest_finish(s->digest, dst);
}
