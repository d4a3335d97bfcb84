/* What an HTTP request's first line and headers can say: path, query, Accept, Content-Type, continue token. The input's
 * lines are taken for these in turn. And all of it as a label selector, a field selector and a quantity: what a
 * selector prints must parse to what prints the same. */
#include <stdlib.h>

#include "apiserver/request.h"
#include "schema/quantity.h"
#include "schema/selector.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static void selectors(struct arena *a, struct str text) {
        _cleanup_buf_ struct buf first = BUF_INIT, second = BUF_INIT;
        struct json labels = json_new_object();
        struct str canonical, again;
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
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text = { (const char *) data, size }, line;
        struct arena *a = arena_new(0);
        struct request_info info;
        struct request_query query;
        struct negotiated n;
        struct api_options options = API_OPTIONS_INIT;
        enum media media;
        enum api_patch patch;
        struct json *body;
        uint64_t revision;
        struct str start;

        selectors(a, text);
        for (int i = 0; i < 6 && str_split(&text, '\n', &line); i++) {
                switch (i) {
                case 0:
                        request_parse_path(a, line, &info);
                        break;
                case 1:
                        request_parse_query(a, line, &query);
                        request_query_get(a, line, "container");
                        break;
                case 2:
                        request_negotiate(line, ~0U, &n, NULL);
                        break;
                case 3:
                        request_body_media(line, &media, NULL);
                        request_patch_type(line, false, LENGTH_SOME, &patch, NULL);
                        break;
                case 4:
                        continue_decode(a, line, &revision, &start, NULL);
                        break;
                case 5:
                        if (json_parse(a, line, NULL, &body, NULL) == 0)
                                request_delete_options(a, body, &options, NULL);
                        break;
                }
        }
        arena_free(a);
        return 0;
}
