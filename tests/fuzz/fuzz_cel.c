/* CEL: any text is parsed, checked, costed and run over any JSON, declared or not; what comes out is printed. The input
 * is an expression, a NUL and a JSON text. */
#include "cel/cel.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char schema[] =
                "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":{\"type\":\"integer\"},\"c\":{"
                "\"type\":\"array\","
                "\"items\":{\"type\":\"string\"},\"x-kubernetes-list-type\":\"set\"},\"d\":{\"type\":\"object\","
                "\"additionalProperties\":{\"type\":\"number\"}},\"e\":{\"type\":\"string\",\"format\":\"date-time\"},"
                "\"f\":{\"x-kubernetes-int-or-string\":true},\"g\":{\"type\":\"array\",\"x-kubernetes-list-type\":"
                "\"map\","
                "\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":"
                "\"string\"}}}}}}";

static const struct cel_type *declared(void) {
        static struct arena *a;
        static const struct cel_type *type;
        struct json *tree;

        if (!type) {
                a = arena_new(0);
                if (json_parse(a, STR(schema), NULL, &tree, NULL) < 0)
                        __builtin_trap();
                type = cel_type_of_openapi(a, tree, true, STR("selfType"));
        }
        return type;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text = str_n((const char *) data, size), json = STR("{}");
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(cel_program_freep) struct cel_program *p = NULL;
        struct json *tree = NULL;
        struct cel_variable vars[2] = { { "self", declared() }, { "x", &cel_dyn } };
        struct cel_value values[2], v;
        struct cel_run run = { .arena = a, .limit = 20000 };
        ssize_t nul = str_find(text, 0);

        if (nul >= 0) {
                json = str_sub(text, (size_t) nul + 1, text.n);
                text = str_sub(text, 0, (size_t) nul);
        }
        if (json_parse(a, json, &(struct json_parse_opts) { .max_depth = 50 }, &tree, NULL) < 0)
                return 0;
        if (cel_compile(text, vars, 2, &p, NULL) < 0)
                return 0;
        values[0] = cel_of_json(a, tree, vars[0].type);
        values[1] = cel_of_json(a, tree, NULL);
        if (cel_eval(p, values, &run, &v, NULL) == 0) {
                struct json j = cel_to_json(a, &v);
                _cleanup_buf_ struct buf b = BUF_INIT;

                json_write(&b, &j);
        }
        return 0;
}
