/* What a CustomResourceDefinition's author writes and what its objects' authors write: the first line is a schema, the
 * second an object. Whatever they are, the schema compiles, and completing an object twice changes nothing more. A
 * definition that may be is published, and may stay as it is. */
#include <stdlib.h>

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "schema/decode.h"
#include "schema/openapi.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(struct arena *a, struct crd_schema *s, const struct json *object) {
        struct field_errors fe = { .a = a }, again = { .a = a };
        struct json strict = json_new_array(), pruned, once, twice;

        if (schema_respell(a, &s->type, object, object) != object) /* which another schema may have let in */
                abort();
        crd_prune(a, s, object, &strict, &pruned, NULL);
        once = crd_complete(a, s, &pruned);
        twice = crd_complete(a, s, &once);
        if (!json_equal(&once, &twice))
                abort();
        crd_validate_value(&fe, NULL, s, &once, NULL);
        crd_validate_value(&again, NULL, s, &once, &once); /* nothing has changed, so nothing more is wrong */
        if (again.list.n > fe.list.n)
                abort();
        crd_validate_lists(&fe, NULL, s, &once);
        crd_validate_embedded(&fe, NULL, s, &once);
}

static bool is_valid(struct arena *a, const struct json *crd, const struct json *old) {
        struct field_errors fe = { .a = a, .object = crd, .type = &type_CustomResourceDefinition };

        validate_crd(&fe, crd, old);
        return fe.list.n == 0;
}

static void check_definition(struct arena *a, const struct json *schema, const struct json *object) {
        static const char around[] =
                        "{\"metadata\":{\"name\":\"ws.a.b\"},\"spec\":{\"group\":\"a.b\",\"scope\":\"Cluster\","
                        "\"names\":{"
                        "\"plural\":\"ws\",\"singular\":\"w\",\"kind\":\"W\",\"listKind\":\"WList\"},\"versions\":[{"
                        "\"name\":"
                        "\"v1\",\"served\":true,\"storage\":true,\"subresources\":{\"status\":{}}}]},\"status\":{"
                        "\"storedVersions\":[\"v1\"]}}";
        struct field_errors fe = { .a = a };
        struct json *crd, holder = json_new_object();
        struct custom *c;

        if (json_parse(a, STR(around), NULL, &crd, NULL) < 0)
                abort();
        json_setc(a, &holder, "openAPIV3Schema", *schema);
        json_setc(a, (struct json *) json_item(json_at_path(crd, "spec", "versions"), 0), "schema", holder);
        if (!is_valid(a, crd, NULL))
                return;
        if (!is_valid(a, crd, crd))
                abort();
        _cleanup_(object_unrefp) struct object *o = object_from_tree(crd);
        c = custom_new(o, 1);
        for (int v3 = 0; v3 < 2; v3++)
                (void) crd_openapi(a, &c->versions[0].schema->type, v3);
        crd_rules_run(&fe, NULL, NULL, c->versions[0].schema, object, NULL);
        crd_rules_run(&fe, NULL, NULL, c->versions[0].schema, object, object);
        custom_unref(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct str text = { (const char *) data, size }, first, second;
        struct json_parse_opts opts = { .max_depth = 100 };
        struct arena *a = arena_new(0);
        struct json *source, *object, schema;

        if (str_split(&text, '\n', &first) && str_split(&text, '\n', &second) &&
            json_parse(a, first, &opts, &source, NULL) == 0 && json_parse(a, second, &opts, &object, NULL) == 0 &&
            schema_decode(a, &type_JSONSchemaProps, source, NULL, &schema, NULL) == 0) {
                struct crd_schema *s = crd_schema_compile(a, &schema, "Kind", "com.example.v1");

                struct json schemas = json_new_object(), parts = json_new_object(), document = json_new_object();
                _cleanup_buf_ struct buf b = BUF_INIT;

                check_object(a, s, object);
                check_definition(a, &schema, object);
                json_setc(a, &schemas, "S", schema);
                json_setc(a, &parts, "schemas", schemas);
                json_set_cstr(a, &document, "openapi", "3.0.0");
                json_setc(a, &document, "components", parts);
                openapi_to_protobuf(&b, &document);
                crd_schema_release(s);
        }
        arena_free(a);
        return 0;
}
