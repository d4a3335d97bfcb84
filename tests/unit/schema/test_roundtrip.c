/* Every filled object of upstream's API test data survives JSON, YAML and protobuf, to the byte. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/file.h"
#include "json/build.h"
#include "json/yaml.h"
#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/protobuf.h"
#include "schema/types.h"
#include "schema/wire.h"

static const char *directory;

static struct str read_data(struct arena *a, const char *name, const char *ext) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        char path[1024];

        snprintf(path, sizeof(path), "%s/%s.%s", directory, name, ext);
        if (file_read(path, 0, &b, &err) < 0)
                fail_msg("%s", error_text(&err));
        return arena_str(a, buf_str(&b));
}

/* "apps.v1.Deployment": the group has dots too. */
static const struct schema_type *type_of(const char *name) {
        struct str s = str_of(name), group, version, kind;
        ssize_t dot = str_rfind(s, '.');

        kind = str_sub(s, (size_t) dot + 1, s.n);
        group = str_sub(s, 0, (size_t) dot);
        dot = str_rfind(group, '.');
        version = str_sub(group, (size_t) dot + 1, group.n);
        group = str_sub(group, 0, (size_t) dot);
        return api_find_type(str_eqc(group, "core") ? STR("") : group, version, kind);
}

static struct json normalise(struct arena *a, const struct schema_type *t, const struct json *in, const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json strict = json_new_array(), out;

        if (schema_decode(a, t, in, &strict, &out, &err) < 0)
                fail_msg("%s: %s", name, error_text(&err));
        json_each_item(it, &strict)
                fail_msg("%s: %" STR_FMT, name, STR_ARG(json_str(it)));
        return out;
}

static void check_text(const struct json *got, const struct json *want, const char *name, const char *what) {
        _cleanup_buf_ struct buf g = BUF_INIT, w = BUF_INIT;

        json_write(&g, got);
        json_write(&w, want);
        if (!str_eq(buf_str(&g), buf_str(&w))) {
                size_t i = 0;

                while (i < g.n && i < w.n && g.p[i] == w.p[i])
                        i++;
                i = i > 60 ? i - 60 : 0;
                fail_msg("%s: %s differs\n got …%" STR_FMT "\nwant …%" STR_FMT, name, what,
                         STR_ARG(str_sub(buf_str(&g), i, i + 160)), STR_ARG(str_sub(buf_str(&w), i, i + 160)));
        }
}

static void check_protobuf(struct arena *a, const struct schema_type *t, const struct json *want, const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str bytes = read_data(a, name, "pb");
        struct protobuf_unknown u;
        struct json got;

        if (protobuf_open(bytes, &u, &err) < 0 || protobuf_decode_object(a, t, &u, &got, &err) < 0)
                fail_msg("%s.pb: %s", name, error_text(&err));
        if (!json_getc(want, "kind")) { /* WatchEvent is not an object of its own */
                json_removec(&got, "kind");
                json_removec(&got, "apiVersion");
        }
        check_text(&got, want, name, "protobuf decoded");
        if (protobuf_encode_object(&b, t, want, &err) < 0)
                fail_msg("%s: %s", name, error_text(&err));
        if (json_getc(want, "kind") && !str_eq(buf_str(&b), bytes)) {
                size_t i = 0;

                while (i < b.n && i < bytes.n && b.p[i] == bytes.p[i])
                        i++;
                fail_msg("%s: protobuf encoded: %zu bytes, want %zu, differs at %zu", name, b.n, bytes.n, i);
        }
}

/* What a creator owns is written straight to text; what an updater owns comes from a comparison. Changing an object
 * from nothing to what it is gives both. */
static void check_owned(struct arena *a, const struct schema_type *t, const struct json *object, const char *name) {
        struct apply_opts o = { .manager = STR("me"), .api_version = json_str(json_getc(object, "apiVersion")) };
        struct json created = json_copy(a, object), updated = json_copy(a, object), zero = json_new_object(),
                    other = json_build(a,
                                       "{metadata:{managedFields:[{manager:'x',operation:'Update',"
                                       "apiVersion:%s,fieldsType:'FieldsV1',fieldsV1:{'f:none':{}}}]}}",
                                       o.api_version);
        const struct json *entries;
        int mine = 0;

        json_removec(json_get_mut(&created, STR("metadata")), "managedFields");
        json_removec(json_get_mut(&updated, STR("metadata")), "managedFields");
        assert_int_equal(schema_decode(a, t, &zero, NULL, &zero, NULL), 0);
        json_setc(a, json_get_mut(&zero, STR("metadata")), "managedFields",
                  *json_at_path(&other, "metadata", "managedFields"));
        apply_track_update(a, t, NULL, &created, &o);
        apply_track_update(a, t, &zero, &updated, &o);
        entries = json_at_path(&updated, "metadata", "managedFields");
        json_each_item(e, entries)
                if (str_eqc(json_str(json_getc(e, "manager")), "me")) {
                        check_text(json_item(json_at_path(&created, "metadata", "managedFields"), 0), e, name, "owned");
                        mine++;
                }
        assert_int_equal(mine, 1);
}

static void check_object(const char *name) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        const struct schema_type *t = type_of(name);
        struct json *parsed, *yaml, out;

        if (!t)
                fail_msg("%s: no such type", name);
        if (json_parse(a, read_data(a, name, "json"), NULL, &parsed, &err) < 0)
                fail_msg("%s.json: %s", name, error_text(&err));
        out = normalise(a, t, parsed, name);
        check_text(&out, parsed, name, "JSON");
        if (yaml_parse(a, read_data(a, name, "yaml"), NULL, &yaml, &err) < 0)
                fail_msg("%s.yaml: %s", name, error_text(&err));
        out = normalise(a, t, yaml, name);
        check_text(&out, parsed, name, "YAML");
        check_protobuf(a, t, parsed, name);
        out = json_copy(a, parsed); /* complete objects have nothing to default, but for what is derived */
        schema_default(a, t, &out);
        schema_reorder(a, t, &out);
        if (json_at_path(parsed, "metadata", "name"))
                check_owned(a, t, parsed, name);
}

static void test_every_object_survives(void **state) {
        DIR *d = opendir(directory);
        size_t n = 0;

        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));) {
                size_t len = strlen(e->d_name);

                if (len < 6 || strcmp(e->d_name + len - 5, ".json"))
                        continue;
                e->d_name[len - 5] = '\0';
                check_object(e->d_name);
                n++;
        }
        closedir(d);
        assert_int_equal(n, 84);
}

/* What the bytes of a message say: what is made of them, or why nothing is, as Go's generated code reads it. */
static const struct {
        const struct schema_type *type;
        struct str bytes;
        const char *result;
} messages[] = {
#define M(type, bytes, result) \
        { &type_##type, STR_INIT(bytes), result }
        /* a message that comes twice is one in two pieces; a time is not; of a string the last counts */
        M(ConfigMap, "\x0a\x03\x0a\x01x\x0a\x03\x1a\x01y",
          "{'metadata':{'name':'x','namespace':'y',"
          "'creationTimestamp':null}}"),
        M(ConfigMap, "\x0a\x03\x0a\x01x\x0a\x03\x0a\x01y", "{'metadata':{'name':'y','creationTimestamp':null}}"),
        M(ObjectMeta,
          "B\x02\x08\x01"
          "B\x02\x10\x01",
          "{'creationTimestamp':'1970-01-01T00:00:00Z'}"),
        /* the small ones, too: what came before stays where a piece says nothing of it */
        M(ControllerRevision, "\x12\x03\x0a\x01{\x12\x04\x0a\x02[]\x12\x00",
          "{'metadata':{'creationTimestamp':null},"
          "'data':[],'revision':0}"),
        M(HTTPGetAction, "\x12\x02\x08\x01\x12\x03\x1a\x01x\x12\x00", "{'port':'x'}"),
        M(ResourceFieldSelector, "\x1a\x04\x0a\x02\x31m\x1a\x00", "{'resource':'','divisor':'1m'}"),
        /* of a key that comes twice the last value counts, and entries may lack either */
        M(ConfigMap, "\x12\x06\x0a\x01k\x12\x01v\x12\x03\x0a\x01k\x12\x00",
          "{'metadata':{'creationTimestamp':null},'data':{'':'','k':''}}"),
        /* groups are skipped */
        M(ConfigMap, "\xbb\x3e\x1b\x08\x01\x1c\xbc\x3e", "{'metadata':{'creationTimestamp':null}}"),
        M(ConfigMap, "\xbb\x3e", "unexpected EOF"),
        M(ConfigMap, "\xbc\x3e", "proto: ConfigMap: wiretype end group for non-group"),
        M(ConfigMap, "\x02\x00", "proto: ConfigMap: illegal tag 0 (wire type 2)"),
        M(ConfigMap, "\xbe\x3e", "proto: illegal wireType 6"),
        M(ConfigMap, "\x0e", "proto: wrong wireType = 6 for field ObjectMeta"),
        M(ConfigMap, "\x10\x01", "proto: wrong wireType = 0 for field Data"),
        M(ConfigMap, "\x0a\x02\x52\x01", "proto: wrong wireType = 2 for field DeletionGracePeriodSeconds"),
        M(ConfigMap,
          "\x0a\x04"
          "B\x02\x0a\x00",
          "proto: wrong wireType = 2 for field Seconds"),
        M(ConfigMap, "\x12\x02\x1c\x00", "proto: unexpected end of group"),
        M(ConfigMap, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
          "proto: negative length found during unmarshaling"),
        M(ConfigMap, "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "proto: negative length found during unmarshaling"),
        M(ConfigMap, "\x0a\x05", "unexpected EOF"),
        M(ConfigMap, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "proto: integer overflow"),
        M(IngressSpec, "\x10\x00", "proto: wrong wireType = 0 for field TLS"),
        M(JSONSchemaProps, "\xb2\x02\x00", "proto: wrong wireType = 2 for field XPreserveUnknownFields"),
        M(RBDVolumeSource, "\x08\x00", "proto: wrong wireType = 0 for field CephMonitors"),
        /* who owns what may be anything; what else is no JSON is told last */
        M(ManagedFieldsEntry, "\x3a\x03\x0a\x01{", "{'fieldsV1':''}"),
        M(ControllerRevision, "\x12\x03\x0a\x01{\x10\x00", "proto: wrong wireType = 0 for field Data"),
        M(ControllerRevision, "\x12\x03\x0a\x01{", "unexpected end of JSON input"),
#undef M
};

static void test_messages_read_as_go_reads_them(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_error_ struct error err = ERROR_INIT;
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct json got;

                if (protobuf_decode(a, messages[i].type, messages[i].bytes, &got, &err) < 0)
                        buf_addc(&b, error_text(&err));
                else
                        json_write(&b, &got);
                for (size_t k = 0; k < b.n; k++)
                        if (b.p[k] == '"')
                                b.p[k] = '\'';
                if (!str_eqc(buf_str(&b), messages[i].result))
                        fail_msg("message %zu: %" STR_FMT, i, STR_ARG(buf_str(&b)));
        }
}

static int decode(const struct schema_type *t, const struct buf *b, size_t *ret_bytes) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json got;
        int r = protobuf_decode(a, t, buf_str(b), &got, NULL);

        *ret_bytes = arena_size(a);
        return r;
}

static void test_pieces_are_read_once_however_many_there_are(void **state) {
        _cleanup_buf_ struct buf wide = BUF_INIT, deep = BUF_INIT;
        size_t bytes;

        while (wide.n < 3 << 20)
                buf_add(&wide, "\x0a\x03\x0a\x01x", 5);
        assert_int_equal(decode(&type_ConfigMap, &wide, &bytes), 0);
        assert_true(bytes < wide.n);
        for (size_t i = 0; i < 90; i++) { /* each level: a schema, and one more piece of it, which is empty */
                _cleanup_buf_ struct buf inner = deep;

                deep = BUF_INIT;
                wire_put_bytes(&deep, 28, buf_str(&inner));
                wire_put_bytes(&deep, 28, STR(""));
        }
        assert_int_equal(decode(&type_JSONSchemaProps, &deep, &bytes), 0);
        assert_true(bytes < 1 << 20);
}

/* An object in an envelope within an object in an envelope … */
static void test_envelopes_are_so_deep_and_no_deeper(void **state) {
        static const struct str head = STR_INIT("k8s\0\x0a\x1d\x0a\x07"
                                                "apps/v1\x12\x12"
                                                "ControllerRevision");

        for (size_t n = 10; n <= 10000; n *= 1000) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                size_t bytes;

                for (size_t i = 0; i < n; i++) { /* raw, data */
                        _cleanup_buf_ struct buf raw = BUF_INIT, body = BUF_INIT;

                        if (i > 0) {
                                buf_add_str(&raw, head);
                                wire_put_bytes(&raw, 2, buf_str(&b));
                        }
                        wire_put_bytes(&body, 1, buf_str(&raw));
                        b.n = 0;
                        wire_put_bytes(&b, 2, buf_str(&body));
                }
                assert_int_equal(decode(&type_ControllerRevision, &b, &bytes), n == 10 ? 0 : -EINVAL);
        }
}

static void a_time_that_is_none_is_there(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        static const char bytes[] = "\x1a"; /* acquireTime, and that it is empty */
        struct json spec;

        assert_int_equal(protobuf_decode(a, &type_LeaseSpec, str_n(bytes, sizeof(bytes)), &spec, NULL), 0);
        assert_int_equal(protobuf_encode(&b, &type_LeaseSpec, &spec, NULL), 0);
        assert_int_equal(b.n, sizeof(bytes));
        assert_memory_equal(b.p, bytes, sizeof(bytes));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_object_survives),
                                            cmocka_unit_test(test_messages_read_as_go_reads_them),
                                            cmocka_unit_test(test_pieces_are_read_once_however_many_there_are),
                                            cmocka_unit_test(a_time_that_is_none_is_there),
                                            cmocka_unit_test(test_envelopes_are_so_deep_and_no_deeper),
                                            cmocka_unit_test(a_time_that_is_none_is_there) };

        directory = argc > 1 ? argv[1] : "tests/data/api";
        return cmocka_run_group_tests(tests, NULL, NULL);
}
