/* Two documents in one text, an array [document, patch]: the patch is applied as JSON Patch and as merge patch. */
#include <stdlib.h>

#include "json/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct arena *a = arena_new(0);
        struct error err = ERROR_INIT;
        struct buf before = BUF_INIT, after = BUF_INIT, out = BUF_INIT;
        struct json *j, result;

        if (json_parse(a, str_n((const char *) data, size), NULL, &j, NULL) == 0 && json_len(j) == 2 &&
            j->type == JSON_ARRAY) {
                const struct json *doc = json_item(j, 0), *patch = json_item(j, 1);

                json_write(&before, j);
                if (json_patch_apply(a, doc, patch, &result, &err) == 0)
                        json_write(&out, &result);
                else
                        check(err.message && *err.message);
                result = json_merge_patch(a, doc, patch);
                json_write(&out, &result);
                json_write(&after, j);
                check(str_eq(buf_str(&before), buf_str(&after))); /* nothing was changed */
        }
        error_clear(&err);
        buf_free(&before);
        buf_free(&after);
        buf_free(&out);
        arena_free(a);
        return 0;
}
