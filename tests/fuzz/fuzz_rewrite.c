/* Pages of other servers: the pieces in which they come make no difference. */
#include <stdlib.h>
#include <string.h>

#include "apiserver/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rewrite(struct str page, size_t piece, struct buf *out) {
        struct rewriter w = { .prefix = STR("/p"), .host = STR("h:1"), .asked = STR("a") };

        for (size_t at = 0; at < page.n; at += piece)
                rewrite_html(&w, out, str_sub(page, at, MIN(at + piece, page.n)), false);
        rewrite_html(&w, out, STR(""), true);
        buf_free(&w.kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_buf_ struct buf whole = BUF_INIT, pieces = BUF_INIT;
        struct str page;

        if (size < 2)
                return 0;
        page = str_n((const char *) data + 1, size - 1);
        rewrite(page, page.n, &whole);
        rewrite(page, 1 + data[0] % 16, &pieces);
        if (!str_eq(buf_str(&whole), buf_str(&pieces)))
                abort();
        return 0;
}
