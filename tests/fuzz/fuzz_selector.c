/* links: schema json base */
/* Any text as a label selector, a field selector and a quantity. What a selector prints must parse to what prints the
 * same. */
#include <stdlib.h>

#include "schema/quantity.h"
#include "schema/selector.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf first = BUF_INIT, second = BUF_INIT;
        struct str text = str_n((const char *) data, size), canonical, again;
        struct json labels = json_new_object();
        struct field_selector fields;
        struct selector s, t;

        if (selector_parse_labels(a, text, &s, NULL) == 0) {
                selector_print(&first, &s);
                check(selector_parse_labels(a, buf_str(&first), &t, NULL) == 0);
                selector_print(&second, &t);
                check(str_eq(buf_str(&first), buf_str(&second)));
                check(selector_matches_labels(&s, &labels) == selector_matches_labels(&t, &labels));
        }
        (void) selector_parse_fields(a, &res_pods, text, &fields, NULL);
        if (quantity_canonical(a, text, &canonical, NULL) == 0) {
                check(quantity_canonical(a, canonical, &again, NULL) == 0);
                check(str_eq(canonical, again));
        }
        return 0;
}
