/* What the tests of src/schema share: documents written as text, compared as text. Documents are written with ' for ".
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "json/json.h"

static inline struct json doc(struct arena *a, const char *text) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json *v = NULL;
        char *copy = arena_cstr(a, str_of(text));

        for (char *p = copy; *p; p++)
                if (*p == '\'')
                        *p = '"';
        if (json_parse(a, str_of(copy), NULL, &v, &err) < 0)
                fail_msg("%s: %s", text, error_text(&err));
        return *v;
}

static inline void check_json(struct arena *a, const struct json *got, const char *want) {
        struct json w = doc(a, want);
        struct buf g = BUF_INIT, e = BUF_INIT;

        json_write(&g, got);
        json_write(&e, &w);
        if (!str_eq(buf_str(&g), buf_str(&e)))
                fail_msg("\n got %.*s\nwant %.*s", (int) g.n, g.p, (int) e.n, e.p);
        buf_free(&g);
        buf_free(&e);
}

static inline void check_str(struct str got, const char *want) {
        if (!str_eqc(got, want))
                fail_msg("\n got %.*s\nwant %s", (int) got.n, got.p, want);
}
