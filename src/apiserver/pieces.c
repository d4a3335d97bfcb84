/* A large answer made as the client takes it, a piece at a time: one of many megabytes neither holds the loop up nor
 * lies in memory as a whole. For clients that take it, it is compressed (upstream's APIResponseCompression): from
 * 128 KiB on, at the fastest level.
 *
 *   next ─▶ piece ─▶ (deflate) ─▶ stream ─▶ the client takes it ─▶ more: next … */
#include <zlib.h>

#include "apiserver/pieces.h"
#include "apiserver/respond.h"
#include "apiserver/track.h"

#define THRESHOLD (128 * 1024)
#define LEVEL 1             /* the fastest */
#define WAITING (64 * 1024) /* of output; more is made when the client has taken it */
#define STEP (256 * 1024)   /* of input to deflate, at most, in one call */

struct delivery {
        struct pieces *source;
        VEC(struct http_slice) made; /* before it was known whether there is much */
        size_t i;
        struct http_slice in; /* what is being compressed */
        z_stream z;
        bool gzip, drained, finished;
        int64_t bytes;
};

static void release(struct http_slice *s) {
        if (s->release)
                s->release(s->arg);
        *s = (struct http_slice) { 0 };
}

static void delivery_free(struct delivery *d) {
        release(&d->in);
        while (d->i < d->made.n)
                release(&d->made.v[d->i++]);
        vec_free(&d->made);
        if (d->gzip)
                deflateEnd(&d->z);
        d->source->free(d->source);
        free(d);
}

static struct http_slice next(struct delivery *d) {
        struct http_slice s = d->i < d->made.n ? d->made.v[d->i++] : d->source->next(d->source);

        d->drained = s.data.n == 0;
        return s;
}

/* Fills one buffer with what comes of at most STEP bytes. Returns how much there is in it. */
static size_t deflate_some(struct delivery *d, Bytef *out) {
        size_t left = STEP;

        d->z.next_out = out;
        d->z.avail_out = WAITING;
        while (d->z.avail_out > 0 && !d->finished && left > 0) {
                if (d->z.avail_in == 0 && !d->drained) {
                        release(&d->in);
                        d->in = next(d);
                        d->z.next_in = (Bytef *) d->in.data.p;
                        d->z.avail_in = (uInt) d->in.data.n;
                }
                left -= MIN(left, d->z.avail_in);
                d->finished = deflate(&d->z, d->drained ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
        }
        return WAITING - d->z.avail_out;
}

static struct http_slice make(struct delivery *d) {
        if (d->gzip) {
                char *p = xmalloc(WAITING);

                return (struct http_slice) { .data = str_n(p, deflate_some(d, (Bytef *) p)),
                                             .release = free,
                                             .arg = p };
        }
        struct http_slice s = next(d);
        d->finished = d->drained;
        return s;
}

static void more(struct http_request *req, void *arg) {
        struct delivery *d = arg;

        d->finished = d->finished || !http_request_is_read(req);
        while (!d->finished && http_stream_pending(req) < WAITING) {
                struct http_slice s = make(d);

                d->bytes += (int64_t) s.data.n;
                http_stream_send(req, &s, 1);
        }
        if (!d->finished)
                return;
        http_request_on_close(req, NULL, NULL);
        http_stream_on_drain(req, NULL, NULL);
        track_size(req, d->bytes);
        delivery_free(d);
        http_stream_end(req);
}

static void gone(struct http_request *req, void *arg) {
        delivery_free(arg);
}

/* Only the plain name counts, as upstream reads the header. */
bool respond_wants_gzip(struct http_request *req) {
        str_each(one, http_request_header(req, "accept-encoding"), ',')
                if (str_eqc(str_trim(one), "gzip"))
                        return true;
        return false;
}

bool respond_weighs_gzip(struct http_request *req, bool metrics) {
        bool wants = false;

        str_each(one, http_request_header(req, "accept-encoding"), ',') {
                struct str name = STR(""), part;
                bool known = true;
                float q = 1;

                str_split(&one, ';', &name);
                while (str_split(&one, ';', &part)) {
                        part = str_trim(part);
                        if (str_has_prefix(part, STR("q=")))
                                q = request_quality(str_sub(part, 2, part.n));
                        else
                                known = false;
                }
                name = str_trim(name);
                if (metrics ? known && str_eqc(name, "gzip") : str_eq_fold(name, STR("gzip")))
                        wants = q > 0;
        }
        return wants;
}

void deflate_text(struct buf *dst, struct str text, int level, int window) {
        z_stream z = { .next_in = (Bytef *) text.p, .avail_in = (uInt) text.n };

        if (deflateInit2(&z, level, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) != Z_OK)
                abort(); /* no memory */
        z.avail_out = (uInt) deflateBound(&z, text.n);
        z.next_out = (Bytef *) buf_reserve(dst, z.avail_out);
        deflate(&z, Z_FINISH);
        dst->n += z.total_out;
        deflateEnd(&z);
}

void gzip_text(struct buf *dst, struct str text) {
        deflate_text(dst, text, LEVEL, DEFLATE_GZIP);
}

void respond_pieces(struct http_request *req, int code, struct http_header *h, size_t n_h, struct pieces *source) {
        struct delivery *d = xcalloc(1, sizeof(*d));
        size_t bytes = 0;

        d->source = source;
        while (bytes <= THRESHOLD && !d->drained) {
                struct http_slice s = next(d);

                vec_push(&d->made, s);
                d->i = d->made.n;
                bytes += s.data.n;
        }
        if (bytes <= THRESHOLD) {
                http_respond(req, code, h, n_h, d->made.v, d->made.n);
                delivery_free(d);
                return;
        }
        d->i = 0;
        d->gzip = respond_wants_gzip(req) &&
                  deflateInit2(&d->z, LEVEL, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
        if (d->gzip) {
                h[n_h++] = (struct http_header) { STR("content-encoding"), STR("gzip") };
                h[n_h++] = (struct http_header) { STR("vary"), STR("Accept-Encoding") };
        }
        struct http_slice first = make(d);
        if (d->finished) {
                delivery_free(d);
                return http_respond(req, code, h, n_h, &first, 1);
        }
        d->bytes = (int64_t) first.data.n;
        http_request_on_close(req, gone, d);
        http_stream_on_drain(req, more, d);
        http_stream_is_finite(req);
        http_stream_start(req, code, h, n_h);
        http_stream_send(req, &first, 1);
        more(req, d);
}

/* ---- of slices that are there ---- */

struct slice_pieces {
        struct pieces pieces;
        size_t i, n;
        struct http_slice v[];
};

static struct http_slice next_slice(struct pieces *p) {
        struct slice_pieces *q = container_of(p, struct slice_pieces, pieces);

        while (q->i < q->n) {
                struct http_slice s = q->v[q->i++];

                if (s.data.n > 0)
                        return s;
                release(&s);
        }
        return (struct http_slice) { 0 };
}

static void slices_free(struct pieces *p) {
        struct slice_pieces *q = container_of(p, struct slice_pieces, pieces);

        while (q->i < q->n)
                release(&q->v[q->i++]);
        free(q);
}

bool respond_gzip(struct http_request *req, int code, struct http_header *h, size_t n_h, const struct http_slice *body,
                  size_t n_body) {
        struct slice_pieces *q;
        size_t bytes = 0;

        for (size_t i = 0; i < n_body; i++)
                bytes += body[i].data.n;
        if (bytes <= THRESHOLD || !respond_wants_gzip(req))
                return false;
        q = xmalloc(sizeof(*q) + n_body * sizeof(*q->v));
        q->pieces = (struct pieces) { next_slice, slices_free };
        q->i = 0;
        q->n = n_body;
        memcpy(q->v, body, n_body * sizeof(*q->v));
        respond_pieces(req, code, h, n_h, &q->pieces);
        return true;
}
