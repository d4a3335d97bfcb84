/* Strategic merge patch and server-side apply. */
#include <errno.h>

#include "check.h"
#include "schema/apply.h"
#include "schema/structure.h"
#include "schema/decode.h"
#include "schema/strategic.h"
#include "schema/types.h"

static void patched(const struct schema_type *t, const char *live, const char *patch, const char *want) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json l = doc(a, live), p = doc(a, patch), before = json_copy(a, &l), out;

        if (strategic_merge_patch(a, t, &l, &p, &out, &err) < 0)
                fail_msg("%s: %s", patch, error_text(&err));
        check_json(a, &out, want);
        assert_true(json_equal(&before, &l));
}

static void test_lists_merge_by_key(void **state) {
        patched(&type_PodSpec, "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'1'}]}",
                "{'containers':[{'name':'b','image':'2'}]}",
                "{'containers':[{'name':'a','image':'1'},{'name':'b','image':'2'}]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'}]}", "{'containers':[{'name':'b'}]}",
                "{'containers':[{'name':'b'},{'name':'a'}]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a','args':['x']}]}",
                "{'containers':[{'name':'a','args':['y']}]}", "{'containers':[{'name':'a','args':['y']}]}");
        patched(&type_Container, "{'ports':[{'containerPort':80},{'containerPort':81}]}",
                "{'ports':[{'containerPort':81,'name':'x'}]}",
                "{'ports':[{'containerPort':80},{'containerPort':81,'name':'x'}]}");
}

static void test_directives(void **state) {
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'}]}",
                "{'containers':[{'name':'a','$patch':'delete'}]}", "{'containers':[{'name':'b'}]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'}]}",
                "{'containers':[{'$patch':'replace'},{'name':'c'}]}", "{'containers':[{'name':'c'}]}");
        patched(&type_ObjectMeta, "{'labels':{'a':'b','c':'d'}}", "{'labels':{'$patch':'replace','e':'f'}}",
                "{'labels':{'e':'f'}}");
        patched(&type_ObjectMeta, "{'labels':{'a':'b'}}", "{'labels':{'a':null,'x':'y'}}", "{'labels':{'x':'y'}}");
        patched(&type_PodSpec, "{'tolerations':[{'key':'a'}]}", "{'tolerations':[{'key':'b'},{'$patch':'delete'}]}",
                "{'tolerations':[{'key':'b'},{'$patch':'delete'}]}"); /* a list that is not merged is taken as it is */
        patched(&type_ObjectMeta, "{'finalizers':['a','b']}", "{'finalizers':['c']}", "{'finalizers':['c','a','b']}");
        patched(&type_ObjectMeta, "{'finalizers':['a','b','c']}", "{'$deleteFromPrimitiveList/finalizers':['b']}",
                "{'finalizers':['a','c']}");
        patched(&type_DeploymentSpec, "{'strategy':{'type':'RollingUpdate','rollingUpdate':{'maxSurge':1}}}",
                "{'strategy':{'$retainKeys':['type'],'type':'Recreate'}}", "{'strategy':{'type':'Recreate'}}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]}",
                "{'$setElementOrder/"
                "containers':[{'name':'c'},{'name':'b'},{'name':'a'}],'containers':[{'name':'b','image':'x'}]}",
                "{'containers':[{'name':'c'},{'name':'b','image':'x'},{'name':'a'}]}");
        patched(&type_PodSpec, "{'volumes':[{'name':'v','emptyDir':{}}]}",
                "{'volumes':[{'name':'v','$retainKeys':['name','hostPath'],'hostPath':{'path':'/x'}}]}",
                "{'volumes':[{'name':'v','hostPath':{'path':'/x'}}]}");
        /* What is new stands where it was asked to when it takes the place of what goes. */
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'},{'name':'c'}]}",
                "{'$setElementOrder/containers':[{'name':'d'}],"
                "'containers':[{'name':'d'},{'name':'a','$patch':'delete'}]}",
                "{'containers':[{'name':'b'},{'name':'c'},{'name':'d'}]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'}]}",
                "{'$setElementOrder/containers':[{'name':'d'}],'containers':[{'name':'d'}]}",
                "{'containers':[{'name':'d'},{'name':'a'},{'name':'b'}]}");
        patched(&type_ObjectMeta, "{'finalizers':['a','b']}",
                "{'$setElementOrder/finalizers':['b'],'$deleteFromPrimitiveList/finalizers':['a']}",
                "{'finalizers':['b']}");
}

static void test_what_is_new_has_no_directives(void **state) {
        patched(&type_PodSpec, "{}",
                "{'containers':[{'name':'a','$patch':'delete'},{'name':'b'}],'nodeSelector':{'a':null,'b':'c'}}",
                "{'containers':[{'name':'b'}],'nodeSelector':{'b':'c'}}");
        /* A null goes before it could be a directive. */
        patched(&type_ObjectMeta, "{}", "{'labels':{'a':'b','$patch':null}}", "{'labels':{'a':'b'}}");
        /* What is new in a merged list is not looked at. */
        patched(&type_PodSpec, "{'containers':[{'name':'a'}]}",
                "{'containers':[{'name':'b','$retainKeys':[],'env':null}]}",
                "{'containers':[{'name':'b','$retainKeys':[],'env':null},{'name':'a'}]}");
        patched(&type_PodSpec, "{}",
                "{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'a','$patch':'x'}]}",
                "{'containers':[]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'}]}",
                "{'$setElementOrder/containers':[],'containers':[{'name':'b'}]}",
                "{'containers':[{'name':'a'},{'name':'b'}]}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'}]}",
                "{'$setElementOrder/containers':[],'containers':[{'name':'b'},{'name':'c'},{'name':'d'}]}",
                "{'containers':[{'name':'d'},{'name':'c'},{'name':'a'},{'name':'b'}]}");
        patched(&type_ObjectMeta, "{'finalizers':['a']}", "{'$deleteFromPrimitiveList/finalizers':null}", "{}");
        /* A list to delete from that is none of scalars is merged; what is no list at all is left alone. */
        patched(&type_PodSpec, "{'containers':[{'name':'a'}]}",
                "{'$deleteFromPrimitiveList/containers':[{'name':'a','image':'x'}]}",
                "{'containers':[{'name':'a','image':'x'}]}");
        patched(&type_PodSpec, "{'nodeSelector':{'a':'b'}}", "{'$deleteFromPrimitiveList/nodeSelector':['a']}",
                "{'nodeSelector':{'a':'b'}}");
        patched(&type_PodSpec, "{'containers':[{'name':'a'}]}",
                "{'containers':[{'name':'a','$patch':'delete'},{'$patch':'replace'}]}", "{'containers':[]}");
}

/* What a message shows of a patch that has been merged: what upstream's merge has left of it. */
static void test_what_is_left_of_a_patch(void **state) {
        static const struct {
                const char *patch, *left;
        } cases[] = {
                { "{'hostname':null,'volumes':[{'name':'v','secret':null}],'$retainKeys':['hostname']}",
                  "{'hostname':null,'volumes':[{'name':'v'}]}" },
                { "{'$patch':'replace','hostname':null}", "{'hostname':null}" },
                { "{'nodeSelector':{'a':{'b':null},'c':{'$patch':'delete','d':null}}}",
                  "{'nodeSelector':{'a':{},'c':{'$patch':'delete'}}}" },
                { "{'securityContext':{'runAsUser':{'$patch':'delete'},'runAsGroup':null}}", "{'securityContext':{}}" },
                { "{'$setElementOrder/containers':[],'containers':[],'hostname':{'a':null}}", "{'hostname':{}}" },
                { "{'containers':[{'name':'a','image':{'x':null},'env':null},{'name':'z','image':null}]}",
                  "{'containers':[{'name':'a','image':{},'env':null},{'name':'z','image':null}]}" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json live = doc(a, "{'containers':[{'name':'a','image':'i'}],'hostname':'h','nodeSelector':{'x':"
                                          "'y'}}"),
                            patch = doc(a, cases[i].patch), left = strategic_left(a, &type_PodSpec, &live, &patch);

                check_json(a, &left, cases[i].left);
        }
}

static void test_patch_errors(void **state) {
        static const char *const cases[][2] = {
                { "{'containers':[{'image':'x'}]}", "map: map[image:x] does not contain declared merge key: name" },
                { "{'securityContext':{'$patch':'foo'}}", "unknown patch type: foo in map: map[$patch:foo]" },
                { "{'$retainKeys':'x'}", "invalid patch format of retainKeys" },
                { "{'securityContext':{'$patch':null}}", "unknown patch type: %!s(<nil>) in map: map[$patch:<nil>]" },
                { "{'$setElementOrder/volumes':[],'volumes':[]}", "no elements in any of the given slices" },
                { "{'$setElementOrder/volumes':{}}",
                  "expected a []interface {}, but received a map[string]interface {}" },
                { "{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'a'},{'$patch':'replace'}]}",
                  "The order in patch list:\n[map[name:a] map[$patch:replace]]\n doesn't match $setElementOrder list:\n"
                  "[map[name:a]]\n" },
                { "{'$setElementOrder/containers':[{'nam':'a'}]}",
                  "map: map[nam:a] does not contain declared merge key: name" },
                { "{'$setElementOrder/containers':['a']}", "value for key 0 is not a map" },
                { "{'$setElementOrder/containers':['a'],'containers':[{'name':'a'}]}",
                  "expected a map[string]interface {}, but received a string" },
                { "{'$setElementOrder/securityContext':[]}",
                  "expected a []interface {}, but received a map[string]interface {}" },
                { "{'$setElementOrder/containers':[{'name':'a'}],'containers':[{'name':'a'},[]]}",
                  "expected a map[string]interface {}, but received a []interface {}" },
                { "{'$setElementOrder/containers':[{'nam':'a'},[]]}", "value for key 1 is not a map" },
                { "{'$setElementOrder/containers':[[]],'containers':[{'image':'x'}]}",
                  "expected a map[string]interface {}, but received a []interface {}" },
                { "{'$setElementOrder/hostname':[]}", "expected slice or array type, but got: struct" },
                { "{'nodeSelector':{'$setElementOrder/x':[]}}",
                  "merging an object in json but data type is not struct, instead is: map" },
                { "{'$setElementOrder':[]}", "invalid patch format of setElementOrder list" },
                { "{'$setElementOrder':'x'}", "expected a []interface {}, but received a string" },
                { "{'$retainKeys':[],'$x':[]}", "invalid patch format of retainKeys" },
                /* items of a list without a key have nothing to be ordered by */
                { "{'$setElementOrder/tolerations':[],'tolerations':[]}",
                  "map: map[key:t] does not contain declared merge key: " },
                { "{'$setElementOrder/tolerations':[1],'tolerations':[]}",
                  "expected a map[string]interface {}, but received a int64" },
                { "{'$deleteFromPrimitiveList':[]}", "invalid patch format of primitive list" },
                { "{'$deleteFromPrimitiveList/containers':['a']}",
                  "list element types are not identical: [[map[name:a]] [a]]" },
                { "{'hostname':[],'$deleteFromPrimitiveList/hostname':[{}]}",
                  "expected slice or array type, but got: struct" },
                { "{'$patch':1}", "unknown patch type: %!s(int64=1) in map: map[$patch:1]" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct json live = doc(a, "{'containers':[{'name':'a'}],'nodeSelector':{'a':'b'},"
                                          "'securityContext':{},'tolerations':[{'key':'t'}]}"),
                            p = doc(a, cases[i][0]), out;

                assert_int_equal(strategic_merge_patch(a, &type_PodSpec, &live, &p, &out, &err), -EINVAL);
                assert_string_equal(error_text(&err), cases[i][1]);
        }
}

static void test_what_has_no_type_is_not_merged(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json live = doc(a, "{'data':{'a':{},'b':1}}"), p = doc(a, "{'data':{'a':{'x':1}}}"), out;

        patched(&type_ControllerRevision, "{'data':{'a':{},'b':1}}", "{'data':{'b':2}}", "{'data':{'a':{},'b':2}}");
        assert_int_equal(strategic_merge_patch(a, &type_ControllerRevision, &live, &p, &out, &err), -EINVAL);
        assert_string_equal(error_text(&err),
                            "unable to find api field in struct RawExtension for the json field \"a\"");
}

/* ---- server-side apply ---- */

struct scene {
        struct arena *a;
        struct error err;
        struct json live;
        bool exists;
        int64_t now;
};

static int apply(struct scene *s, const char *manager, bool force, const char *config) {
        struct apply_opts o = { .manager = str_of(manager),
                                .api_version = STR("v1"),
                                .force = force,
                                .now_wall_ns = s->now += 1000000000 };
        struct json c = doc(s->a, config), out;
        int r;

        error_clear(&s->err);
        r = apply_merge(s->a, &type_ConfigMap, s->exists ? &s->live : NULL, &c, &o, &out, &s->err);
        if (r == 0) {
                s->live = out;
                s->exists = true;
        }
        return r;
}

static void update(struct scene *s, const char *manager, const char *key, const char *value) {
        struct apply_opts o = { .manager = str_of(manager),
                                .api_version = STR("v1"),
                                .now_wall_ns = s->now += 1000000000 };
        struct json next = json_copy(s->a, &s->live);

        json_set_cstr(s->a, json_get_or_add_object(s->a, &next, "data"), key, value);
        apply_track_update(s->a, &type_ConfigMap, &s->live, &next, &o);
        s->live = next;
}

static void owned(struct scene *s, size_t i, const char *manager, const char *fields) {
        const struct json *e = json_item(ObjectMeta_managedFields(ConfigMap_metadata(&s->live)), i);

        check_str(ManagedFieldsEntry_manager(e), manager);
        check_json(s->a, ManagedFieldsEntry_fieldsV1(e), fields);
}

#define CONFIG(data) "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c'},'data':" data "}"

static void test_appliers_own_what_they_apply(void **state) {
        struct scene s = { .a = arena_new(0) };

        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'1','y':'1'}")), 0);
        owned(&s, 0, "a", "{'f:data':{'f:x':{},'f:y':{}}}");
        assert_int_equal(apply(&s, "b", false, CONFIG("{'y':'1','z':'1'}")), 0); /* the same value: shared */
        owned(&s, 1, "b", "{'f:data':{'f:y':{},'f:z':{}}}");
        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'2'}")), 0); /* y stays: b has it */
        check_json(s.a, ConfigMap_data(&s.live), "{'x':'2','y':'1','z':'1'}");
        assert_int_equal(apply(&s, "b", false, CONFIG("{}")), 0);
        check_json(s.a, ConfigMap_data(&s.live), "{'x':'2'}");
        error_clear(&s.err);
        arena_free(s.a);
}

static void test_conflicts_are_told_and_forced(void **state) {
        struct scene s = { .a = arena_new(0) };

        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'1','y':'1'}")), 0);
        update(&s, "kubectl-edit", "x", "2");
        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'1','y':'1'}")), -EAGAIN);
        assert_string_equal(error_text(&s.err),
                            "Apply failed with 1 conflict: conflict with \"kubectl-edit\" using v1: .data.x");
        assert_int_equal(s.err.reason, REASON_CONFLICT);
        assert_string_equal(s.err.causes[0].reason, "FieldManagerConflict");
        assert_string_equal(s.err.causes[0].field, ".data.x");
        assert_int_equal(apply(&s, "b", false, CONFIG("{'x':'3','y':'3'}")), -EAGAIN);
        assert_string_equal(error_text(&s.err), "Apply failed with 2 conflicts: conflicts with \"a\":\n- .data.y\n"
                                                "conflicts with \"kubectl-edit\" using v1:\n- .data.x");
        assert_int_equal(apply(&s, "a", true, CONFIG("{'x':'1','y':'1'}")), 0);
        check_json(s.a, ConfigMap_data(&s.live), "{'x':'1','y':'1'}");
        assert_int_equal(json_len(ObjectMeta_managedFields(ConfigMap_metadata(&s.live))), 1);
        error_clear(&s.err);
        arena_free(s.a);
}

static void test_objects_nobody_tracked_get_an_owner_at_the_first_apply(void **state) {
        struct scene s = { .a = arena_new(0), .exists = true };

        s.live = doc(s.a, CONFIG("{'x':'1'}"));
        update(&s, "someone", "z", "1");
        assert_null(ObjectMeta_managedFields(ConfigMap_metadata(&s.live)));
        assert_int_equal(apply(&s, "a", false, CONFIG("{'y':'1'}")), 0);
        owned(&s, 0, "a", "{'f:data':{'f:y':{}}}");
        owned(&s, 1, "before-first-apply", "{'f:data':{'.':{},'f:x':{},'f:z':{}}}");
        error_clear(&s.err);
        arena_free(s.a);
}

static void test_an_apply_that_changes_nothing_keeps_the_time(void **state) {
        struct scene s = { .a = arena_new(0) };
        struct json before;

        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'1'}")), 0);
        before = s.live;
        assert_int_equal(apply(&s, "a", false, CONFIG("{'x':'1'}")), 0);
        assert_true(json_equal(&before, &s.live));
        assert_int_equal(apply(&s, "b", false, CONFIG("{'x':'1'}")), 0); /* one more owner, and nothing new */
        owned(&s, 0, "b", "{'f:data':{'f:x':{}}}");
        assert_int_equal(ManagedFieldsEntry_time(json_item(ObjectMeta_managedFields(Pod_metadata(&s.live)), 0)).n, 0);
        error_clear(&s.err);
        arena_free(s.a);
}

/* The annotation is whatever somebody wrote there. */
static void test_client_side_applies_are_taken_over_without_conflict(void **state) {
        static const char *const annotations[][2] = {
                { "{'apiVersion':'v1','kind':'ConfigMap','data':{'x':'1'}}", "ok" }, /* still so: kubectl may have it */
                { "{'apiVersion':'v1','kind':'ConfigMap','data':{'x':'0'}}", "conflict" },
                { "{'apiVersion':'v1','metadata':{'finalizers':{'a':1},'ownerReferences':{'b':{}}},'data':[1,2]}",
                  "conflict" },
                { "{'apiVersion':'v1'", "conflict" },
                { "[]", "conflict" },
        };
        for (size_t i = 0; i < ARRAY_SIZE(annotations); i++) {
                struct scene s = { .a = arena_new(0) };
                char *text = arena_cstr(s.a, str_of(annotations[i][0]));
                struct json *meta, map = json_new_object();

                for (char *p = text; *p; p++)
                        *p = *p == '\'' ? '"' : *p;
                assert_int_equal(apply(&s, "a", false, CONFIG("{'y':'1'}")), 0);
                update(&s, "kubectl-client-side-apply", "x", "1");
                meta = json_get_or_add_object(s.a, &s.live, "metadata");
                json_set_cstr(s.a, &map, "kubectl.kubernetes.io/last-applied-configuration", text);
                json_setc(s.a, meta, "annotations", map);
                assert_int_equal(apply(&s, "kubectl", false, CONFIG("{'x':'2'}")),
                                 strcmp(annotations[i][1], "ok") ? -EAGAIN : 0);
                error_clear(&s.err);
                arena_free(s.a);
        }
}

static void test_entries_may_say_little(void **state) {
#define ENTRY(version, rest) "{'operation':'Update','apiVersion':'" version "','fieldsType':'FieldsV1'" rest "}"
        static const char *const cases[][2] = {
                { ENTRY("v1", ",'fieldsV1':{'f:data':{'f:x':{}}},'time':null"),
                  "[{'operation':'Update','apiVersion':'v1','time':null,'fieldsType':'FieldsV1','fieldsV1':{'f:data':{"
                  "'f:x':{}}}}]" },
                { ENTRY("v1", "") "," ENTRY("v1", ",'manager':'m','fieldsV1':{'f:data':{'f:x':{}}}"),
                  "[{'manager':'m','operation':'Update','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:data':"
                  "{"
                  "'f:x':{}}}}]" },
                { ENTRY("v1", ",'fieldsV1':null"), "null" },
                { ENTRY("v1", ",'manager':'m','fieldsV1':{'f:data':{}}") "," ENTRY("a/b/c", ""), "null" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                struct apply_opts o = { .manager = STR("hand"), .api_version = STR("v1") };
                struct json live = doc(a, CONFIG("{'x':'1'}")), next = json_copy(a, &live), entries;
                const struct json *told;

                entries = doc(a, arena_printf(a, "[%s]", cases[i][0]).p);
                json_setc(a, json_get_or_add_object(a, &next, "metadata"), "managedFields", entries);
                apply_track_update(a, &type_ConfigMap, &live, &next, &o);
                told = ObjectMeta_managedFields(ConfigMap_metadata(&next));
                check_json(a, told ? told : &(struct json) { .type = JSON_NULL }, cases[i][1]);
        }
}

static void test_keyed_items_are_owned_one_by_one(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        struct apply_opts o = { .manager = STR("m"), .api_version = STR("v1"), .now_wall_ns = 1 };
        struct json c = doc(a, "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p'},'spec':{'containers':[{'name':'"
                               "c','image':'i',"
                               "'ports':[{'containerPort':443},{'containerPort':80,'protocol':'UDP'}],'command':['a','"
                               "b']}]}}"),
                    out;

        assert_int_equal(apply_merge(a, &type_Pod, NULL, &c, &o, &out, &err), 0);
        check_json(a, ManagedFieldsEntry_fieldsV1(json_item(ObjectMeta_managedFields(Pod_metadata(&out)), 0)),
                   "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'.':{},'f:command':{},'f:image':{},'f:name':{}"
                   ",'"
                   "f:ports':{"
                   "'k:{\\'containerPort\\':80,\\'protocol\\':\\'UDP\\'}':{'.':{},'f:containerPort':{},'f:protocol':{}}"
                   ","
                   "'k:{\\'containerPort\\':443,\\'protocol\\':\\'TCP\\'}':{'.':{},'f:containerPort':{}}}}}}}");
}

/* What structured-merge-diff says against configs. */
static void test_configs_must_fit_their_type(void **state) {
        static const struct {
                const struct schema_type *type;
                const char *config, *problem;
        } table[] = {
                { &type_Pod, "{'spec':{'containers':[{'image':'i'}]}}", NULL }, /* the name's default is "" */
                { &type_Pod, "{'spec':{'containers':null,'replicas':null}}",
                  ".spec.replicas: field not declared in schema" },
                { &type_Pod, "{'spec':{'containers':[{'name':'a','imagine':'b'},{'name':'a'}],'hostName':1}}",
                  "errors:\n  .spec.containers[name=\"a\"].imagine: field not declared in schema\n"
                  "  .spec.containers: duplicate entries for key [name=\"a\"]\n"
                  "  .spec.hostName: field not declared in schema" },
                { &type_ServiceAccount, "{'secrets':[{'kind':'x'}]}",
                  ".secrets: element 0: associative list with keys has an element that omits key field \"name\" (and "
                  "doesn't have default value)" },
                { &type_ServiceAccount, "{'secrets':['x']}",
                  ".secrets: element 0: associative list with keys may not have non-map elements" },
                { &type_Pod, "{'metadata':{'finalizers':['a',null]}}",
                  ".metadata.finalizers: element 1: associative list without keys has an element that's an explicit "
                  "null" },
                { &type_Pod, "{'spec':[1]}", ".spec: expected map, got &{[1]}" },
                { &type_Pod, "{'spec':{'containers':{'a':'b'}}}", ".spec.containers: expected list, got &{map[a:b]}" },
                { &type_Pod, "{'spec':{'nodeName':1}}",
                  ".spec.nodeName: expected string, got &value.valueUnstructured{Value:1}" },
                { &type_Pod, "{'spec':{'nodeName':{'b':[null,'x'],'a':1}}}",
                  ".spec.nodeName: expected string, got &value.valueUnstructured{Value:map[string]interface "
                  "{}{\"a\":1, "
                  "\"b\":[]interface {}{interface {}(nil), \"x\"}}}" },
                { &type_Pod, "{'spec':{'priority':'1','hostPID':'x'}}",
                  "errors:\n  .spec.priority: expected numeric (int or float), got string\n"
                  "  .spec.hostPID: expected boolean, got &{x}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_error_ struct error err = ERROR_INIT;
                struct json c = doc(a, table[i].config);

                assert_int_equal(structure_check(a, table[i].type, &c, false, &err), table[i].problem ? -EINVAL : 0);
                assert_string_equal(error_text(&err), table[i].problem ? table[i].problem : "no error");
        }
}

#define SPEC(containers) "{'kind':'Pod','apiVersion':'v1','spec':{'containers':" containers "}}"

/* Who owns what after one of an apply and an update: as apimachinery's field manager has it. */
static void test_owned_fields(void **state) {
        static const struct {
                bool apply;
                const char *live, *next, *fields;
                const struct schema_type *type; /* NULL: a pod */
        } table[] = {
                /* what is said explicitly is owned, be it nothing; the items of a list without any are not */
                { true, NULL, SPEC("[{'name':'c','stdin':false,'args':[],'env':[],'resources':{},'image':null}]"),
                  "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'.':{},'f:args':{},'f:image':{},'f:name':{},"
                  "'f:resources':{},'f:stdin':{}}}}}" },
                /* twins are one */
                { false, NULL, SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"),
                  "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'.':{},'f:env':{'.':{},"
                  "'k:{\\'name\\':\\'A\\'}':{}},"
                  "'f:name':{},'f:resources':{}}}}}" },
                { false, SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"),
                  SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"), NULL },
                { false, NULL, "{'imagePullSecrets':[{}]}",
                  "{'f:imagePullSecrets':{'.':{},'k:{\\'name\\':\\'\\'}':{}}}", &type_PodSpec },
                /* nobody owns what has an item that nothing names */
                { false, NULL, "{'secrets':[{'name':'s'},{}]}", NULL, &type_ServiceAccount },
                { false, NULL, "{'secrets':[{'name':'s'}]}", "{'f:secrets':{'.':{},'k:{\\'name\\':\\'s\\'}':{}}}",
                  &type_ServiceAccount },
                { false, SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"),
                  SPEC("[{'name':'c','env':[{'name':'A'},{'name':'A','value':'1'}]}]"),
                  "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'f:env':{'k:{\\'name\\':\\'A\\'}':{}}}}}}" },
                { false, SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"),
                  SPEC("[{'name':'c','env':[{'name':'A','value':'1'}]}]"),
                  "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'f:env':{"
                  "'k:{\\'name\\':\\'A\\'}':{'.':{},'f:name':{},"
                  "'f:value':{}}}}}}}" },
                { false, SPEC("[{'name':'c','env':[{'name':'A','value':'1'}]}]"),
                  SPEC("[{'name':'c','env':[{'name':'A','value':'1'},{'name':'A'}]}]"),
                  "{'f:spec':{'f:containers':{'k:{\\'name\\':\\'c\\'}':{'f:env':{'k:{\\'name\\':\\'A\\'}':{}}}}}}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_(arena_freep) struct arena *a = arena_new(0);
                _cleanup_error_ struct error err = ERROR_INIT;
                struct apply_opts o = { .manager = STR("m"),
                                        .api_version = STR("v1"),
                                        .now_wall_ns = 1,
                                        .reset = (const char *const[]) { "status", NULL } };
                struct json live = json_null(), next = doc(a, table[i].next), out;
                const struct schema_type *t = table[i].type ? table[i].type : &type_Pod;
                const struct json *e = NULL;

                if (table[i].live) {
                        struct json was = doc(a, table[i].live);

                        assert_int_equal(schema_decode(a, t, &was, NULL, &live, &err), 0);
                        o.manager = STR("maker");
                        apply_track_update(a, t, NULL, &live, &o);
                        o.manager = STR("m");
                }
                if (table[i].apply)
                        assert_int_equal(apply_merge(a, t, table[i].live ? &live : NULL, &next, &o, &out, &err), 0);
                else {
                        assert_int_equal(schema_decode(a, t, &next, NULL, &out, &err), 0);
                        apply_track_update(a, t, table[i].live ? &live : NULL, &out, &o);
                }
                json_each_item(it, ObjectMeta_managedFields(Pod_metadata(&out)))
                        if (str_eqc(ManagedFieldsEntry_manager(it), "m"))
                                e = it;
                if (table[i].fields)
                        check_json(a, json_expand(a, ManagedFieldsEntry_fieldsV1(e)), table[i].fields);
                else
                        assert_null(e);
        }
}

static void test_merged_lists_keep_both_orders(void **state) {
        static const struct {
                const char *live, *config, *want;
        } table[] = {
                { "['a']", "['b']", "['a','b']" },
                { "['a','x']", "['y','a']", "['y','a','x']" },
                { "['a','b','x']", "['b','a','y']", "['b','x','a','y']" },
                { "['x','a','y','b','z']", "['a','n','b']", "['x','a','y','n','b','z']" },
                { "['a','b']", "[]", "['a','b']" },
                { "[]", "['b','a']", "['b','a']" },
                { "['a','b','a']", "['b']", "['a','b','a']" },
                { "['a','b','a']", "['a']", "['a','b']" },
                { "['a']", "null", "['a']" },
                { "[]", "null", "null" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct json live = json_new_object(), config = json_new_object(), out;

                json_setc(a, &live, "finalizers", doc(a, table[i].live));
                json_setc(a, &config, "finalizers", doc(a, table[i].config));
                out = structure_merge(a, &type_ObjectMeta, &live, &config);
                check_json(a, json_getc(&out, "finalizers"), table[i].want);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lists_merge_by_key),
                cmocka_unit_test(test_directives),
                cmocka_unit_test(test_what_is_new_has_no_directives),
                cmocka_unit_test(test_patch_errors),
                cmocka_unit_test(test_what_has_no_type_is_not_merged),
                cmocka_unit_test(test_what_is_left_of_a_patch),
                cmocka_unit_test(test_appliers_own_what_they_apply),
                cmocka_unit_test(test_conflicts_are_told_and_forced),
                cmocka_unit_test(test_objects_nobody_tracked_get_an_owner_at_the_first_apply),
                cmocka_unit_test(test_an_apply_that_changes_nothing_keeps_the_time),
                cmocka_unit_test(test_client_side_applies_are_taken_over_without_conflict),
                cmocka_unit_test(test_entries_may_say_little),
                cmocka_unit_test(test_keyed_items_are_owned_one_by_one),
                cmocka_unit_test(test_configs_must_fit_their_type),
                cmocka_unit_test(test_owned_fields),
                cmocka_unit_test(test_merged_lists_keep_both_orders),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
