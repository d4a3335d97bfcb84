/* The life of one object: an array of documents, which managers apply and update by turns. Whatever they are, each set
 * of fields survives its text, who has applied may apply the same again without a conflict, and a creator owns what an
 * updater from nothing would own. The first byte says what type the object is of. */
#include <stdlib.h>

#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/structure.h"
#include "schema/types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
        if (!ok)
                abort();
}

static const struct schema_type *const types[] = { &type_Pod,     &type_Deployment,
                                                   &type_Service, &type_ConfigMap,
                                                   &type_Ingress, &type_Node,
                                                   &type_Secret,  &type_CustomResourceDefinition };
static const struct str managers[] = { STR_INIT("a"), STR_INIT("b"), STR_INIT("kubectl") };

static void check_sets(struct arena *a, const struct json *object) {
        const struct json *list = ObjectMeta_managedFields(Pod_metadata(object));

        json_each_item(e, list) {
                const struct json *raw = ManagedFieldsEntry_fieldsV1(e);
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct fieldset *s;

                if (raw && raw->type == JSON_RAW) {
                        check(fieldset_from_json(a, json_expand(a, raw), &s) == 0);
                        fieldset_write(&b, s);
                        check(str_eq(buf_str(&b), str_n(json_chars(raw), raw->len)));
                }
        }
}

/* What both say of the fields of a new object. */
static void check_created(struct arena *a, const struct schema_type *t, const struct json *doc) {
        struct json zero = json_new_object(), object = json_copy_tree(a, doc);
        _cleanup_buf_ struct buf direct = BUF_INIT;
        struct fieldset *changed, *s;
        struct structure_diff d;

        json_removec(json_get_mut(&object, STR("metadata")), "managedFields");
        check(schema_decode(a, t, &zero, NULL, &zero, NULL) == 0);
        if (!structure_write_new(a, &direct, t, &object, NULL))
                return;
        d = structure_compare(a, t, &zero, &object);
        changed = fieldset_union(a, d.added, d.modified);
        struct json *text = NULL;

        check(json_parse(a, buf_str(&direct), NULL, &text, NULL) == 0 && fieldset_from_json(a, text, &s) == 0);
        check(fieldset_empty(fieldset_difference(a, s, changed)));
}

static void turn(struct arena *a, const struct schema_type *t, struct json *live, bool *exists, const struct json *doc,
                 size_t n) {
        struct apply_opts o = { .manager = managers[n / 2 % 3], .api_version = STR("v1"), .force = n % 5 != 0 };
        struct json decoded, out;

        if (schema_decode(a, t, doc, NULL, &decoded, NULL) < 0)
                return;
        check_created(a, t, &decoded);
        if (n % 2 == 0) {
                if (structure_check(a, t, doc, false, NULL) < 0 ||
                    apply_merge(a, t, *exists ? live : NULL, &decoded, &o, &out, NULL) < 0)
                        return;
                *live = out;
                o.force = false;
                check(apply_merge(a, t, live, &decoded, &o, &out, NULL) == 0);
        } else {
                apply_track_update(a, t, *exists ? live : NULL, &decoded, &o);
                *live = decoded;
        }
        *exists = true;
        check_sets(a, live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *docs, live = json_null();
        bool exists = false;
        size_t n = 0;

        if (size < 2 || json_parse(a, str_n((const char *) data + 1, size - 1),
                                   &(struct json_parse_opts) { .max_depth = 100 }, &docs, NULL) < 0)
                return 0;
        json_each_item(doc, docs)
                if (json_is(doc, JSON_OBJECT) && n < 12)
                        turn(a, types[data[0] % ARRAY_SIZE(types)], &live, &exists, doc, n++);
        return 0;
}
