/* A large answer in gzip for clients that take it (upstream's APIResponseCompression): from 128 KiB on, at the fastest
 * level.
 *
 * It is compressed as the client takes it, a piece at a time: a list of many megabytes neither holds the loop up nor
 * lies in memory twice. */
#include <zlib.h>

#include "apiserver/respond.h"
#include "apiserver/track.h"

#define THRESHOLD (128 * 1024)
#define LEVEL 1           /* the fastest */
#define PIECE (64 * 1024) /* of output; more waits until the client has taken it */
#define STEP (256 * 1024) /* of input, at most, in one call */

struct squeeze {
        struct http_request *req;
        z_stream z;
        struct http_slice *v;
        size_t i, n; /* the slice being read */
        size_t offset;
        bool finished;
};

static void squeeze_free(struct squeeze *q) {
        for (size_t i = 0; i < q->n; i++)
                if (q->v[i].release)
                        q->v[i].release(q->v[i].arg);
        deflateEnd(&q->z);
        free(q->v);
        free(q);
}

/* Fills one buffer with what comes of at most STEP bytes. Returns how much there is in it. */
static size_t fill(struct squeeze *q, Bytef *out) {
        size_t left = STEP;

        q->z.next_out = out;
        q->z.avail_out = PIECE;
        while (q->z.avail_out > 0 && !q->finished && left > 0) {
                if (q->z.avail_in == 0 && q->i < q->n) {
                        struct str data = q->v[q->i++].data;

                        q->z.next_in = (Bytef *) data.p;
                        q->z.avail_in = (uInt) data.n;
                }
                left -= MIN(left, q->z.avail_in);
                q->finished = deflate(&q->z, q->i == q->n && q->z.avail_in == 0 ? Z_FINISH : Z_NO_FLUSH) ==
                              Z_STREAM_END;
        }
        return PIECE - q->z.avail_out;
}

static void more(struct http_request *req, void *arg) {
        struct squeeze *q = arg;

        while (!q->finished && http_stream_pending(req) < PIECE) {
                char *p = xmalloc(PIECE);
                size_t n = fill(q, (Bytef *) p);
                struct http_slice s = { .data = str_n(p, n), .release = free, .arg = p };

                http_stream_send(req, &s, 1);
        }
        if (!q->finished)
                return;
        http_request_on_close(req, NULL, NULL);
        http_stream_on_drain(req, NULL, NULL);
        track_size(req, (int64_t) q->z.total_out);
        squeeze_free(q);
        http_stream_end(req);
}

static void gone(struct http_request *req, void *arg) {
        squeeze_free(arg);
}

/* Only the plain name counts, as upstream reads the header. */
bool respond_wants_gzip(struct http_request *req) {
        struct str all = http_request_header(req, "accept-encoding"), one;

        while (str_split(&all, ',', &one))
                if (str_eqc(str_trim(one), "gzip"))
                        return true;
        return false;
}

void gzip_text(struct buf *dst, struct str text) {
        z_stream z = { .next_in = (Bytef *) text.p, .avail_in = (uInt) text.n };

        if (deflateInit2(&z, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                abort(); /* no memory */
        z.avail_out = (uInt) deflateBound(&z, text.n);
        z.next_out = (Bytef *) buf_reserve(dst, z.avail_out);
        deflate(&z, Z_FINISH);
        dst->n += z.total_out;
        deflateEnd(&z);
}

bool respond_gzip(struct http_request *req, int code, struct http_header *h, size_t n_h, const struct http_slice *body,
                  size_t n_body) {
        struct squeeze *q;
        struct http_slice s;
        size_t bytes = 0;
        char *first;

        for (size_t i = 0; i < n_body; i++)
                bytes += body[i].data.n;
        if (bytes <= THRESHOLD || !respond_wants_gzip(req))
                return false;
        q = xcalloc(1, sizeof(*q));
        if (deflateInit2(&q->z, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
                free(q);
                return false;
        }
        q->v = xmalloc(n_body * sizeof(*q->v));
        memcpy(q->v, body, n_body * sizeof(*q->v));
        q->n = n_body;
        h[n_h++] = (struct http_header) { STR("content-encoding"), STR("gzip") };
        h[n_h++] = (struct http_header) { STR("vary"), STR("Accept-Encoding") };
        first = xmalloc(PIECE);
        s = (struct http_slice) { .data = str_n(first, fill(q, (Bytef *) first)), .release = free, .arg = first };
        if (q->finished) {
                squeeze_free(q);
                http_respond(req, code, h, n_h, &s, 1);
                return true;
        }
        http_request_on_close(req, gone, q);
        http_stream_on_drain(req, more, q);
        http_stream_is_finite(req);
        http_stream_start(req, code, h, n_h);
        http_stream_send(req, &s, 1);
        more(req, q);
        return true;
}
