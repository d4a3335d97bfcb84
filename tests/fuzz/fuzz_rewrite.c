/* Pages of other servers: what they are stays, and where their links lead now they lead for ever. */
#include <stdlib.h>
#include <string.h>

#include "apiserver/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const struct str encodings[] = { STR_INIT(""), STR_INIT("gzip"), STR_INIT("deflate") };
        const struct rewriter w = { .prefix = STR("/p"), .host = STR("h:1"), .asked = STR("a") };
        _cleanup_buf_ struct buf once = BUF_INIT, twice = BUF_INIT;
        struct str encoding;

        if (size < 1)
                return 0;
        encoding = encodings[data[0] % ARRAY_SIZE(encodings)];
        if (rewrite_page(&w, encoding, &once, str_n((const char *) data + 1, size - 1), NULL) < 0)
                return 0;
        if (rewrite_page(&w, encoding, &twice, buf_str(&once), NULL) < 0 || !str_eq(buf_str(&once), buf_str(&twice)))
                abort();
        return 0;
}
