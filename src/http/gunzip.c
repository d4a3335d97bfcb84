#include "http/gunzip.h"

#include <errno.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/buf.h"

#define GZIP (15 + 16) /* as zlib is told it: with its header */

struct gunzip {
        z_stream z;
        struct buf in;
        bool within; /* a member that is not at its end */
        char why[64], out[16384];
};

struct gunzip *gunzip_new(void) {
        struct gunzip *g = xcalloc(1, sizeof(*g));

        if (inflateInit2(&g->z, GZIP) != Z_OK)
                abort(); /* no memory */
        return g;
}

void gunzip_free(struct gunzip *g) {
        if (!g)
                return;
        inflateEnd(&g->z);
        buf_free(&g->in);
        free(g);
}

void gunzip_give(struct gunzip *g, struct str data) {
        buf_consume(&g->in, g->in.n - g->z.avail_in);
        buf_add_str(&g->in, data);
        g->z.next_in = (Bytef *) g->in.p;
        g->z.avail_in = (uInt) g->in.n;
}

static const char *fault(struct gunzip *g) {
        struct str msg = str_of(g->z.msg);

        if (str_search(msg, STR("header")) >= 0 || str_eqc(msg, "unknown compression method"))
                return "gzip: invalid header";
        if (str_eqc(msg, "incorrect data check") || str_eqc(msg, "incorrect length check"))
                return "gzip: invalid checksum";
        snprintf(g->why, sizeof(g->why), "flate: corrupt input before offset %lu", g->z.total_in);
        return g->why;
}

int gunzip_take(struct gunzip *g, struct str *ret, const char **ret_why) {
        int r = Z_OK;

        g->z.next_out = (Bytef *) g->out;
        g->z.avail_out = sizeof(g->out);
        while (g->z.avail_out > 0 && r == Z_OK) {
                if (!g->within && g->z.avail_in > 0) {
                        inflateReset(&g->z);
                        g->within = true;
                }
                if (!g->within)
                        break;
                r = inflate(&g->z, Z_NO_FLUSH);
                if (r == Z_STREAM_END) {
                        g->within = false;
                        r = Z_OK;
                }
        }
        *ret = str_n(g->out, sizeof(g->out) - g->z.avail_out);
        if (ret->n > 0) /* before what is wrong, which the next call finds again */
                return 1;
        if (r != Z_OK && r != Z_BUF_ERROR) {
                *ret_why = fault(g);
                return -EPROTO;
        }
        *ret_why = g->within ? "unexpected EOF" : NULL;
        return 0;
}
