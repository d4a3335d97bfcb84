/* links: apiserver http store schema json base */
/* What an HTTP request's first line and headers can say: path, query, Accept, Content-Type, continue token. The input's lines
 * are taken for these in turn. */
#include "apiserver/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

        for (int i = 0; i < 6 && str_split(&text, '\n', &line); i++) {
                switch (i) {
                case 0:
                        request_parse_path(a, line, &info);
                        break;
                case 1:
                        request_parse_query(a, line, &query, NULL);
                        request_query_get(a, line, "container");
                        break;
                case 2:
                        request_negotiate(line, ~0U, &n, NULL);
                        break;
                case 3:
                        request_body_media(line, &media, NULL);
                        request_patch_type(line, &patch, NULL);
                        break;
                case 4:
                        continue_decode(a, line, &revision, &start, NULL);
                        break;
                case 5:
                        if (json_parse(a, line, NULL, &body, NULL) == 0)
                                request_delete_options(body, &options, NULL);
                        break;
                }
        }
        arena_free(a);
        return 0;
}
