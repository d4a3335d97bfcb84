/* What authors of definitions write into strings: a regular expression or a JSONPath, a NUL, then the text that is
 * matched or the JSON that is walked. A match is found where there is one, and within the text. */
#include <stdlib.h>

#include "base/regex.h"
#include "schema/jsonpath.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static void match(struct str pattern, struct str text) {
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_(regex_freep) struct regex *re = NULL;
        size_t start = 0, end = 0, from = 0, work = 0;
        int r = regex_compile(pattern, &re, &e), found;

        if (r < 0) {
                check(e.message && *e.message);
                return;
        }
        r = regex_match(re, text);
        found = regex_find(re, text, 0, &work, &start, &end);
        check(r < 0 || found < 0 || r == found);
        for (int i = 0; i < 20 && found == 1; i++) {
                check(from <= start && start <= end && end <= text.n);
                from = end + (start == end);
                found = from <= text.n ? regex_find(re, text, from, &work, &start, &end) : 0;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str all = str_n((const char *) data, size), pattern;
        struct jsonpath *path;
        struct json *j, found;

        if (!str_split(&all, 0, &pattern))
                return 0;
        match(pattern, all);
        path = jsonpath_parse(a, pattern);
        if (path && json_parse(a, all, NULL, &j, NULL) == 0 && jsonpath_first(a, path, j, &found))
                check(found.type <= JSON_OBJECT);
        return 0;
}
