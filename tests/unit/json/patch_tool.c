/* For the oracle (test_oracle.py): each line is [document, patch]; an array is a JSON Patch, an object a merge patch.
 * Each answer is a line: the result, or nothing when the patch does not apply. */
#include <stdio.h>
#include <stdlib.h>

#include "json/json.h"

int main(void) {
        char *line = NULL;
        size_t room = 0;
        ssize_t n;

        while ((n = getline(&line, &room, stdin)) > 0) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_buf_ struct buf out = BUF_INIT;
                struct json *pair, result;

                if (json_parse(a, str_trim(str_n(line, (size_t) n)), NULL, &pair, NULL) < 0 || json_len(pair) != 2)
                        return 1;
                if (json_is(json_item(pair, 1), JSON_OBJECT)) {
                        result = json_merge_patch(a, json_item(pair, 0), json_item(pair, 1));
                        json_write(&out, &result);
                } else if (json_patch_apply(a, json_item(pair, 0), json_item(pair, 1), &result, NULL) == 0)
                        json_write(&out, &result);
                printf("%.*s\n", (int) out.n, out.n ? out.p : "");
        }
        free(line);
        return 0;
}
