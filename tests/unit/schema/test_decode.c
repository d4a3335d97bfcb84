#include <errno.h>

#include "check.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/types.h"

static struct json decode(struct arena *a, const struct schema_type *t, const char *text, struct json *strict) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json in = doc(a, text), out;

        if (schema_decode(a, t, &in, strict, &out, &err) < 0)
                fail_msg("%s: %s", text, error_text(&err));
        return out;
}

static void refused(struct arena *a, const struct schema_type *t, const char *text, const char *want) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct json in = doc(a, text), out;

        assert_int_equal(schema_decode(a, t, &in, NULL, &out, &err), -EINVAL);
        assert_string_equal(error_text(&err), want);
}

static void test_fields_come_in_the_order_of_the_type(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = decode(
                        a, &type_Pod,
                        "{'spec':{'nodeName':'n','containers':[{'image':'i','name':'c'}]},'metadata':{'name':'p'},"
                        "'apiVersion':'v1','kind':'Pod'}",
                        NULL);

        check_json(a, &d,
                   "{'kind':'Pod','apiVersion':'v1','metadata':{'name':'p','creationTimestamp':null},"
                   "'spec':{'containers':[{'name':'c','image':'i','resources':{}}],'nodeName':'n'},'status':{}}");
}

static void test_zeros_are_printed_as_go_does(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = decode(a, &type_ServicePort, "{'port':80,'nodePort':0,'name':''}", NULL);

        check_json(a, &d, "{'port':80,'targetPort':0}");
        d = decode(a, &type_DeploymentSpec, "{'replicas':0,'selector':null,'template':{}}", NULL);
        check_json(a, &d,
                   "{'replicas':0,'selector':null,'template':{'metadata':{'creationTimestamp':null},'spec':{'"
                   "containers':null}},"
                   "'strategy':{}}");
        d = decode(a, &type_ClusterRole, "{'rules':null}", NULL);
        check_json(a, &d, "{'metadata':{'creationTimestamp':null},'rules':null}");
        d = decode(a, &type_ResourceFieldSelector, "{'resource':'limits.cpu'}", NULL);
        check_json(a, &d, "{'resource':'limits.cpu','divisor':'0'}");
        d = decode(a, &type_PodSpec, "{'containers':[],'hostNetwork':false,'hostUsers':false}", NULL);
        check_json(a, &d, "{'containers':[],'hostUsers':false}");
}

static void test_bytes_may_be_a_list(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = decode(a, &type_Secret, "{'data':{'a':[1,255,null],'b':[]}}", NULL);

        check_json(a, &d, "{'metadata':{'creationTimestamp':null},'data':{'a':'Af8A','b':''}}");
}

static void test_values_are_normalised(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = decode(a, &type_ResourceRequirements,
                               "{'limits':{'memory':'1024Mi','cpu':'1000m','b':1,'a':0.5}}", NULL);

        check_json(a, &d, "{'limits':{'a':'500m','b':'1','cpu':'1','memory':'1Gi'}}");
        d = decode(a, &type_ObjectMeta,
                   "{'creationTimestamp':'2024-01-02T03:04:05.678+02:00','labels':{'b':'2','a':'1','c':null}}", NULL);
        check_json(a, &d, "{'creationTimestamp':'2024-01-02T01:04:05Z','labels':{'a':'1','b':'2','c':''}}");
        d = decode(a, &type_LeaseSpec, "{'renewTime':'2024-01-02T03:04:05.678901Z'}", NULL);
        check_json(a, &d, "{'renewTime':'2024-01-02T03:04:05.678901Z'}");
        d = decode(a, &type_LeaseSpec, "{'renewTime':'0001-01-01T00:00:00.000000Z'}", NULL);
        check_json(a, &d, "{'renewTime':null}"); /* Go's zero time is none */
}

static void test_unknown_fields_are_named_and_pruned(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json strict = json_new_array();
        struct json d = decode(
                        a, &type_Pod,
                        "{'Kind':'Pod','spec':{'containers':[{'name':'c'},{'name':'d','imagee':'x'}],'Volumes':[]}}",
                        &strict);

        check_json(a, &strict,
                   "['unknown field \\'Kind\\'','unknown field \\'spec.containers[1].imagee\\'',"
                   "'unknown field \\'spec.Volumes\\'']");
        /* what decodes itself takes what it does not know */
        strict = json_new_array();
        decode(a, &type_JSONSchemaProps, "{'a':1,'items':{'b':1},'additionalProperties':{'c':1}}", &strict);
        check_json(a, &strict, "['unknown field \\'a\\'']");
        strict = json_new_array();
        decode(a, &type_Pod, "{'a\\nb':1}", &strict);
        check_json(a, &strict, "['unknown field \\'a\\\\nb\\'']");
        assert_null(json_getc(json_getc(&d, "spec"), "Volumes"));
}

static void test_what_the_parser_found_takes_its_place(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json strict = json_build(a, "[ %c, %c, %c, %c ]", "line 3: key \"a\" already set in map",
                                        "duplicate field \"spec.nodeName\"", "duplicate field \"spec.foo\"",
                                        "duplicate field \"metadata.labels.x\"");

        decode(a, &type_Pod, "{'metadata':{'labels':{'x':'1'}},'spec':{'foo':1,'nodeName':'n','bar':2}}", &strict);
        check_json(a, &strict,
                   "['line 3: key \\'a\\' already set in map','duplicate field \\'metadata.labels.x\\'',"
                   "'unknown field \\'spec.foo\\'','duplicate field \\'spec.nodeName\\'',"
                   "'unknown field \\'spec.bar\\'']");
}

static void test_type_errors_have_gos_wording(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        refused(a, &type_Deployment, "{'spec':{'replicas':'3'}}",
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32");
        refused(a, &type_Deployment, "{'spec':{'replicas':1.5}}",
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32");
        refused(a, &type_Deployment, "{'spec':{'replicas':3000000000}}",
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type "
                "int32");
        refused(a, &type_Pod, "{'spec':{'containers':{'name':'x'}}}",
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container");
        refused(a, &type_Pod, "{'spec':{'containers':[{'ports':[{'containerPort':'x'}]}]}}",
                "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort "
                "of type int32");
        refused(a, &type_Pod, "{'metadata':{'labels':{'a':1}}}",
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string");
        refused(a, &type_Pod, "{'metadata':{'creationTimestamp':'x'}}",
                "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"");
        refused(a, &type_Pod, "[]", "json: cannot unmarshal array into Go value of type v1.Pod");
        refused(a, &type_Secret, "{'data':{'a':'!!'}}", "illegal base64 data at input byte 0");
        refused(a, &type_ResourceRequirements, "{'limits':{'cpu':'1\\n'}}", /* but spaces are nothing */
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        struct json spaced = decode(a, &type_ResourceRequirements, "{'limits':{'cpu':' 1 '}}", NULL);
        check_json(a, &spaced, "{'limits':{'cpu':'1'}}");
        refused(a, &type_ResourceRequirements, "{'limits':{'cpu':'x'}}",
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        refused(a, &type_ServicePort, "{'targetPort':1.5}",
                "json: cannot unmarshal number 1.5 into Go struct field ServicePort.targetPort of type int32");
        refused(a, &type_Lease, "{'spec':{'renewTime':5}}",
                "json: cannot unmarshal number into Go struct field LeaseSpec.spec.renewTime of type string");
        refused(a, &type_Lease, "{'spec':{'renewTime':'2021-01-01T00:00:00.5+02:00'}}",
                "parsing time \"2021-01-01T00:00:00.5+02:00\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse "
                "\".5+02:00\" as \".000000\"");
        refused(a, &type_Lease, "{'spec':{'renewTime':'2021-01-01T00:00:00.1234567Z'}}",
                "parsing time \"2021-01-01T00:00:00.1234567Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse "
                "\"7Z\" as \"Z07:00\"");
        refused(a, &type_Pod, "{'metadata':{'creationTimestamp':'2021-01-01T00:00:00.5+2'}}",
                "parsing time \"2021-01-01T00:00:00.5+2\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"+2\" as "
                "\"Z07:00\"");
        /* the rest of the text is looked at as well */
#define TIME(text) refused(a, &type_Lease, "{'spec':{'renewTime':'" text "'}}", "parsing time \"" text "\": " WHY)
#define WHY "extra text: \"x\""
        TIME("2020-01-01T00:00:00.000000Zx");
        TIME("2020-01-01T00:00:00.000000+02:00x");
#undef WHY
#define WHY "hour out of range"
        TIME("2020-01-01T24:00:00.000000Z");
#undef WHY
#define WHY "day out of range"
        TIME("2021-02-29T00:00:00.000000Z");
#undef WHY
#undef TIME
        /* where base64 goes wrong */
        refused(a, &type_Secret, "{'data':{'a':'eA== '}}", "illegal base64 data at input byte 4");
        refused(a, &type_Secret, "{'data':{'a':[1,300]}}",
                "json: cannot unmarshal number 300 into Go struct field Secret.data of type uint8");
        refused(a, &type_Secret, "{'data':{'a':'eA=x'}}", "illegal base64 data at input byte 2");
        refused(a, &type_Secret, "{'data':{'a':'eA='}}", "illegal base64 data at input byte 3");
        refused(a, &type_Secret, "{'data':{'a':'eHh4eA'}}", "illegal base64 data at input byte 4");
        refused(a, &type_Secret, "{'data':{'a':'e\\n=A='}}", "illegal base64 data at input byte 2");
}

static void test_of_several_errors_the_first_of_the_text_is_told(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        refused(a, &type_Deployment, "{'spec':{'template':{'spec':5},'replicas':'3'},'metadata':7}",
                "json: cannot unmarshal number into Go struct field PodTemplateSpec.spec.template.spec of type "
                "v1.PodSpec");
        /* but for values that decode themselves: they end it all */
        refused(a, &type_Event, "{'reason':1,'eventTime':'R'}",
                "parsing time \"R\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"R\" as \"2006\"");
        refused(a, &type_PersistentVolumeClaim, "{'metadata':{'name':{}},'spec':{'resources':{'limits':{'a':'b'}}}}",
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
        refused(a, &type_Service, "{'metadata':{'name':{}},'spec':{'ports':[{'targetPort':1.5}]}}",
                "json: cannot unmarshal number 1.5 into Go struct field ServicePort.spec.ports.targetPort of type "
                "int32");
        refused(a, &type_CustomResourceValidation, "{'openAPIV3Schema':{'maximum':'x','items':{'type':5}}}",
                "json: cannot unmarshal number into Go struct field JSONSchemaProps.openAPIV3Schema.items of type "
                "string");
        refused(a, &type_Secret, "{'type':5,'data':{'a':'!!'}}",
                "json: cannot unmarshal number into Go struct field Secret.type of type v1.SecretType");
}

static struct json joined(struct arena *a, const struct schema_type *t, const char *text) {
        const struct json_parse_opts opts = { .all_members = true };
        struct str quoted = arena_str(a, str_of(text));
        struct json *v;

        for (size_t i = 0; i < quoted.n; i++)
                if (quoted.p[i] == '\'')
                        ((char *) quoted.p)[i] = '"';
        assert_int_equal(json_parse(a, quoted, &opts, &v, NULL), 0);
        assert_int_equal(schema_join_duplicates(a, t, quoted.n, v, NULL), 0);
        return *v;
}

/* A few bytes could else ask for copies of all that came before them, again and again. */
static void test_what_comes_too_often_is_not_joined(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json_parse_opts opts = { .all_members = true };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *v;

        buf_addc(&b, "{\"spec\":{}");
        for (int i = 0; i < 10000; i++)
                buf_printf(&b, ",\"spec\":{\"x%d\":1}", i);
        buf_addc(&b, "}");
        assert_int_equal(json_parse(a, buf_str(&b), &opts, &v, NULL), 0);
        assert_int_equal(schema_join_duplicates(a, &type_Pod, b.n, v, &err), -E2BIG);
        assert_string_equal(error_text(&err), "json: too many members come twice");
        assert_true(arena_size(a) < 16 << 20);
}

static void test_what_comes_twice_is_joined(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        static const struct {
                const struct schema_type *type;
                const char *text, *want;
        } cases[] = {
                { &type_Pod, "{'spec':{'nodeName':'a','hostname':'b'},'spec':{'nodeName':'c'}}",
                  "{'spec':{'nodeName':'c','hostname':'b'}}" },
                { &type_PodSpec, "{'containers':[{'name':'a'},{'name':'b'}],'containers':[{'image':'i'}]}",
                  "{'containers':[{'name':'a','image':'i'}]}" },
                { &type_PodSpec, "{'containers':[{'name':'a'}],'containers':[null,{'name':'b'}]}",
                  "{'containers':[{'name':'a'},{'name':'b'}]}" },
                { &type_PodSpec, "{'containers':[{'name':'a'}],'containers':null}", "{'containers':null}" },
                { &type_PodSpec, "{'nodeName':'a','nodeName':null,'hostNetwork':true,'hostNetwork':false}",
                  "{'nodeName':'a','hostNetwork':false}" },
                { &type_PodSpec, "{'priority':1,'priority':null,'securityContext':{},'securityContext':null}",
                  "{'priority':null,'securityContext':null}" },
                { &type_ObjectMeta, "{'labels':{'a':'1','b':'2'},'labels':{'b':'3','c':'4','c':'5'}}",
                  "{'labels':{'a':'1','b':'3','c':'5'}}" },
                { &type_ConfigMap, "{'data':[],'data':{}}", "{'data':[]}" },
                { &type_ConfigMap, "{'data':{'a':1,'a':'x'}}", "{'data':{'a':1}}" },
                { &type_ConfigMap, "{'immutable':1,'immutable':true}", "{'immutable':1}" },
                { &type_DeploymentSpec, "{'replicas':1.5,'replicas':2,'x':1,'x':2}", "{'replicas':1.5,'x':2}" },
                { &type_ControllerRevision, "{'data':{'a':1,'b':{'c':1,'c':2}},'data':{'a':{'d':1}}}",
                  "{'data':{'a':{'d':1}}}" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json got = joined(a, cases[i].type, cases[i].text), want = joined(a, NULL, cases[i].want);
                _cleanup_buf_ struct buf b = BUF_INIT, w = BUF_INIT;

                json_write(&b, &got);
                json_write(&w, &want);
                assert_string_equal(arena_cstr(a, buf_str(&b)), arena_cstr(a, buf_str(&w)));
        }
}

static void test_numbers_are_told_as_they_were_spelled(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        static const struct {
                const struct schema_type *type;
                const char *text, *want;
        } cases[] = {
                { &type_Deployment, "{\"spec\":{\"replicas\":1e3}}",
                  "json: cannot unmarshal number 1e3 into Go struct field DeploymentSpec.spec.replicas of type int32" },
                { &type_Deployment, "{\"spec\":{\"replicas\": 1e400 }}",
                  "json: cannot unmarshal number 1e400 into Go struct field DeploymentSpec.spec.replicas of type "
                  "int32" },
                { &type_Job, "{\"spec\":{\"parallelism\":7,\"backoffLimit\":3.0,\"backoffLimit\":3}}",
                  "json: cannot unmarshal number 3.0 into Go struct field JobSpec.spec.backoffLimit of type int32" },
                { &type_PodFailurePolicyOnExitCodesRequirement, "{\"values\":[1,2,30e-1]}",
                  "json: cannot unmarshal number 30e-1 into Go struct field "
                  "PodFailurePolicyOnExitCodesRequirement.values of type int32" },
                { &type_Deployment,
                  "{\"metadata\":{\"name\":\"a:1.00\",\"labels\":{\"t\":\"T:01Z\"}},\"spec\":{\"replicas\":1.0}}",
                  "json: cannot unmarshal number 1.0 into Go struct field DeploymentSpec.spec.replicas of type int32" },
                { &type_ConfigMap, "{\"immutable\":1e400}",
                  "json: cannot unmarshal number into Go struct field ConfigMap.immutable of type bool" },
        };
        const struct json_parse_opts opts = { .infinite = true, .all_members = true };
        struct json *in, out;
        bool odd;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct str text = str_of(cases[i].text);

                assert_int_equal(json_parse(a, text, &opts, &in, NULL), 0);
                assert_int_equal(schema_join_duplicates(a, cases[i].type, text.n, in, NULL), 0);
                assert_int_equal(schema_decode_request(a, cases[i].type, in, text, NULL, SENT_JSON, &out, &odd, &err),
                                 -EINVAL);
                assert_string_equal(error_text(&err), cases[i].want);
        }
        assert_int_equal(json_parse(a, STR("{\"limits\":{\"cpu\":1e3}}"), NULL, &in, NULL), 0);
        assert_int_equal(schema_decode_request(a, &type_ResourceRequirements, in, STR("{\"limits\":{\"cpu\":1e3}}"),
                                               NULL, SENT_JSON, &out, &odd, NULL),
                         0);
        assert_true(str_eqc(json_str(json_at_path(&out, "limits", "cpu")), "1e3"));
}

static void test_results_of_strategic_merges_are_refused_in_other_words(void **state) {
        static const struct {
                const struct schema_type *type;
                const char *text, *want;
        } cases[] = {
                { &type_Pod, "{'metadata':{'labels':'x'}}", "cannot restore map from string" },
                { &type_Pod, "{'spec':{'containers':{'name':'x'}}}", "cannot restore slice from map" },
                { &type_Pod, "{'spec':{'containers':[1]}}", "cannot restore struct from: int64" },
                { &type_Deployment, "{'spec':{'replicas':1.5}}", "cannot convert float64 to int32" },
                { &type_Deployment, "{'spec':{'replicas':'3'}}", "unrecognized type: int32" },
                { &type_Pod, "{'metadata':{'labels':{'a':1}}}", "cannot convert int64 to string" },
                { &type_Service, "{'spec':{'sessionAffinity':5}}", "cannot convert int64 to v1.ServiceAffinity" },
                { &type_Service, "{'spec':{'ports':[{'targetPort':2147483648}]}}",
                  "json: cannot unmarshal number 2147483648 into Go value of type int32" },
                { &type_Secret, "{'data':{'a':'.'}}", "error decoding from json: illegal base64 data at input byte 0" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct json in = doc(a, cases[i].text), out;
                bool empty;

                assert_int_equal(schema_decode_request(a, cases[i].type, &in, STR(""), NULL, SENT_PATCHED, &out, &empty,
                                                       &err),
                                 -EINVAL);
                assert_string_equal(error_text(&err), cases[i].want);
        }
        for (size_t i = 0; i < 2; i++) {
                struct json in = doc(a, i ? "{'spec':{'replicas':4e18}}" : "{'spec':{'replicas':2147483649}}"), out;
                bool odd;

                assert_int_equal(schema_decode_request(a, &type_Deployment, &in, STR(""), NULL, SENT_PATCHED, &out,
                                                       &odd, NULL),
                                 0);
                assert_int_equal(json_int(json_at_path(&out, "spec", "replicas")),
                                 i ? (int32_t) 4000000000000000000 : -2147483647);
        }
}

static struct json defaulted(struct arena *a, const struct schema_type *t, const char *text) {
        struct json d = decode(a, t, text, NULL);

        schema_default(a, t, &d);
        schema_reorder(a, t, &d);
        return d;
}

static void test_a_default_of_zero_is_not_printed(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(a, &type_ReplicationControllerSpec, "{}");

        check_json(a, &d, "{'replicas':1}");
}

/* A patch shares what it does not touch with the stored object, which others are reading. */
static void test_reordering_writes_no_shared_part(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = decode(a, &type_Pod, "{'spec':{'containers':[{'name':'c'}]}}", NULL), copy,
                    labels = json_new_object();
        struct json *spec = json_get_mut(&d, STR("spec"));

        json_set_cstr(a, &labels, "b", "1");
        json_set_cstr(a, &labels, "a", "2");
        json_setc(a, spec, "nodeSelector", labels);
        json_setc(a, spec, "volumes", json_new_array());
        copy = json_copy_shallow(a, &d);
        schema_reorder(a, &type_Pod, &copy);
        assert_true(str_eqc(json_key(&json_members(json_getc(&copy, "spec"))[0]), "volumes"));
        assert_true(str_eqc(json_key(&json_members(json_at_path(&copy, "spec", "nodeSelector"))[0]), "a"));
        assert_true(str_eqc(json_key(&json_members(spec)[spec->len - 1]), "volumes"));
        assert_true(str_eqc(json_key(&json_members(json_getc(spec, "nodeSelector"))[0]), "b"));
}

static void test_pod_defaults(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(
                        a, &type_Pod,
                        "{'metadata':{'name':'p'},'spec':{'hostNetwork':true,'containers':[{'name':'c','image':'"
                        "busybox:1',"
                        "'ports':[{'containerPort':80}],'resources':{'limits':{'cpu':'1'}},"
                        "'livenessProbe':{'httpGet':{'port':80}}}],'volumes':[{'name':'v'},{'name':'s','secret':{}}],"
                        "'serviceAccountName':'x','terminationGracePeriodSeconds':-1}}");

        check_json(a, &d,
                   "{'metadata':{'name':'p','creationTimestamp':null},'spec':{'volumes':[{'name':'v','emptyDir':{}},"
                   "{'name':'s','secret':{'defaultMode':420}}],'containers':[{'name':'c','image':'busybox:1','ports':[{"
                   "'hostPort':80,"
                   "'containerPort':80,'protocol':'TCP'}],'resources':{'limits':{'cpu':'1'},'requests':{'cpu':'1'}},"
                   "'livenessProbe':{'httpGet':{'path':'/"
                   "','port':80,'scheme':'HTTP'},'timeoutSeconds':1,'periodSeconds':10,"
                   "'successThreshold':1,'failureThreshold':3},'terminationMessagePath':'/dev/termination-log',"
                   "'terminationMessagePolicy':'File','imagePullPolicy':'IfNotPresent'}],'restartPolicy':'Always',"
                   "'terminationGracePeriodSeconds':1,'dnsPolicy':'ClusterFirst','serviceAccountName':'x','"
                   "serviceAccount':'x',"
                   "'hostNetwork':true,'securityContext':{},'schedulerName':'default-scheduler','enableServiceLinks':"
                   "true},'status':{}}");
}

static void test_image_decides_the_pull_policy(void **state) {
        static const char *const cases[][2] = {
                { "nginx", "Always" },
                { "nginx:latest", "Always" },
                { "nginx:1", "IfNotPresent" },
                { "localhost:5000/nginx", "Always" },
                { "nginx@sha256:0123", "IfNotPresent" },
                { "r:5000/a/b:v1", "IfNotPresent" },
                { "NGINX:latest", "IfNotPresent" },
                { "http://a/b", "IfNotPresent" },
        };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct json c = json_new_object();

                json_set_cstr(a, &c, "image", cases[i][0]);
                schema_default(a, &type_Container, &c);
                check_str(Container_imagePullPolicy(&c), cases[i][1]);
        }
}

static void test_quantities_are_spelled_as_they_come(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json was = doc(a, "{'limits':{'cpu':'1','memory':'1Gi','x':7}}");
        struct json now = doc(a, "{'limits':{'cpu':'1000m','memory':'2Gi','x':'7'}}"), other;

        check_json(a, schema_respell(a, &type_ResourceRequirements, &was, &now),
                   "{'limits':{'cpu':'1000m','memory':'1Gi','x':7}}");
        was = now = doc(a, "{'limits':[{'a':'1'},2],'claims':{'a':[3]}}"); /* not of this type */
        check_json(a, schema_respell(a, &type_ResourceRequirements, &was, &now),
                   "{'limits':[{'a':'1'},2],'claims':{'a':[3]}}");
        other = doc(a, "[1,'2']");
        assert_ptr_equal(schema_respell(a, &type_ResourceRequirements, &other, &other), &other);
}

static void test_service_defaults(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(a, &type_Service,
                                  "{'spec':{'ports':[{'port':80}],'type':'NodePort','sessionAffinity':'ClientIP'}}");

        check_json(a, Service_spec(&d),
                   "{'ports':[{'protocol':'TCP','port':80,'targetPort':80}],'type':'NodePort','sessionAffinity':'"
                   "ClientIP',"
                   "'externalTrafficPolicy':'Cluster','sessionAffinityConfig':{'clientIP':{'timeoutSeconds':10800}},"
                   "'internalTrafficPolicy':'Cluster'}");
}

static void test_workload_defaults(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(a, &type_DeploymentSpec, "{'selector':{},'template':{}}");

        assert_int_equal(DeploymentSpec_replicas(&d), 1);
        check_json(a, DeploymentSpec_strategy(&d),
                   "{'type':'RollingUpdate','rollingUpdate':{'maxUnavailable':'25%','maxSurge':'25%'}}");
        d = defaulted(a, &type_DeploymentSpec, "{'selector':{},'template':{},'strategy':{'type':'Recreate'}}");
        check_json(a, DeploymentSpec_strategy(&d), "{'type':'Recreate'}");
        d = defaulted(a, &type_StatefulSetSpec,
                      "{'selector':{},'template':{},'serviceName':'s','volumeClaimTemplates':[{}]}");
        check_json(a, StatefulSetSpec_updateStrategy(&d), "{'type':'RollingUpdate','rollingUpdate':{'partition':0}}");
        check_json(a, StatefulSetSpec_volumeClaimTemplates(&d),
                   "[{'kind':'PersistentVolumeClaim','apiVersion':'v1','metadata':{'creationTimestamp':null},"
                   "'spec':{'resources':{},'volumeMode':'Filesystem'},'status':{'phase':'Pending'}}]");
        d = defaulted(a, &type_Job, "{'spec':{'template':{'metadata':{'labels':{'a':'b'}}}}}");
        assert_int_equal(JobSpec_completions(Job_spec(&d)), 1);
        assert_int_equal(JobSpec_backoffLimit(Job_spec(&d)), 6);
        check_json(a, ObjectMeta_labels(Job_metadata(&d)), "{'a':'b'}");
}

static void test_definitions_have_names_and_a_stored_version(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(a, &type_CustomResourceDefinition,
                                  "{'spec':{'names':{'kind':'Foo'},'conversion':{'strategy':'None'},"
                                  "'versions':[{'name':'v1'},{'name':'v2','storage':true}]},"
                                  "'status':{'acceptedNames':{'kind':'Foo'},'storedVersions':[]}}");

        check_json(a, CustomResourceDefinitionSpec_names(CustomResourceDefinition_spec(&d)),
                   "{'plural':'','singular':'foo','kind':'Foo','listKind':'FooList'}");
        check_json(a, CustomResourceDefinition_status(&d),
                   "{'conditions':null,'acceptedNames':{'plural':'','kind':'Foo'},'storedVersions':['v2']}");
}

static void test_secret_strings_become_data(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json d = defaulted(a, &type_Secret, "{'stringData':{'k':'value'},'data':{'o':'eA=='}}");

        check_json(a, &d, "{'metadata':{'creationTimestamp':null},'data':{'k':'dmFsdWU=','o':'eA=='},'type':'Opaque'}");
}

static void test_versions_convert(void **state) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json v1 = decode(a, &type_HorizontalPodAutoscalerV1,
                                "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/"
                                "v1','spec':{'scaleTargetRef':{'kind':'D',"
                                "'name':'x'},'maxReplicas':3,'targetCPUUtilizationPercentage':50}}",
                                NULL),
                    v2, back;

        assert_int_equal(schema_convert(a, &res_horizontalpodautoscalers_v1, &res_horizontalpodautoscalers, &v1, &v2,
                                        NULL),
                         0);
        check_json(a, HorizontalPodAutoscalerSpec_metrics(HorizontalPodAutoscaler_spec(&v2)),
                   "[{'type':'Resource','resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':"
                   "50}}}]");
        assert_int_equal(schema_convert(a, &res_horizontalpodautoscalers, &res_horizontalpodautoscalers_v1, &v2, &back,
                                        NULL),
                         0);
        assert_true(json_equal(HorizontalPodAutoscalerV1_spec(&v1), HorizontalPodAutoscalerV1_spec(&back)));
        v2 = decode(a, &type_HorizontalPodAutoscaler,
                    "{'kind':'HorizontalPodAutoscaler','apiVersion':'autoscaling/v2','spec':{'scaleTargetRef':{'kind':"
                    "'D','name':'x'},'maxReplicas':3,'metrics':[{'type':'Object','object':{'describedObject':{'kind':"
                    "'K','name':'n'},'target':{'type':'Value','value':'10'},'metric':{'name':'m'}}},{'type':'Resource',"
                    "'resource':{'name':'cpu','target':{'type':'Utilization','averageUtilization':7}}}],'behavior':{"
                    "'scaleUp':{'policies':[{'type':'Pods','value':4,'periodSeconds':15}]}}},'status':{"
                    "'currentMetrics':[{'type':'Resource','resource':{'name':'cpu','current':{'averageUtilization':"
                    "3}}}]}}",
                    NULL);
        assert_int_equal(schema_convert(a, &res_horizontalpodautoscalers, &res_horizontalpodautoscalers_v1, &v2, &v1,
                                        NULL),
                         0);
        check_str(json_str(json_at_path(&v1, "metadata", "annotations", "autoscaling.alpha.kubernetes.io/metrics")),
                  "[{\"type\":\"Object\",\"object\":{\"target\":{\"kind\":\"K\",\"name\":\"n\"},\"metricName\":\"m\","
                  "\"targetValue\":\"10\"}}]");
        check_str(json_str(json_at_path(&v1, "metadata", "annotations",
                                        "autoscaling.alpha.kubernetes.io/current-metrics")),
                  "[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"currentAverageUtilization\":3,"
                  "\"currentAverageValue\":\"0\"}}]");
        check_str(json_str(json_at_path(&v1, "metadata", "annotations", "autoscaling.alpha.kubernetes.io/behavior")),
                  "{\"ScaleUp\":{\"StabilizationWindowSeconds\":null,\"SelectPolicy\":null,\"Policies\":[{\"Type\":"
                  "\"Pods\",\"Value\":4,\"PeriodSeconds\":15}],\"Tolerance\":null},\"ScaleDown\":null}");
        assert_int_equal(schema_convert(a, &res_horizontalpodautoscalers_v1, &res_horizontalpodautoscalers, &v1, &back,
                                        NULL),
                         0);
        assert_true(json_equal(HorizontalPodAutoscaler_spec(&v2), HorizontalPodAutoscaler_spec(&back)));
        v1 = decode(a, &type_Event, "{'kind':'Event','apiVersion':'v1','involvedObject':{'name':'p'},'message':'m'}",
                    NULL);
        assert_int_equal(schema_convert(a, &res_events, &res_events_events_k8s_io, &v1, &v2, NULL), 0);
        check_str(EventsEvent_note(&v2), "m");
        check_str(EventsEvent_apiVersion(&v2), "events.k8s.io/v1");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_fields_come_in_the_order_of_the_type),
                cmocka_unit_test(test_zeros_are_printed_as_go_does),
                cmocka_unit_test(test_bytes_may_be_a_list),
                cmocka_unit_test(test_values_are_normalised),
                cmocka_unit_test(test_unknown_fields_are_named_and_pruned),
                cmocka_unit_test(test_what_the_parser_found_takes_its_place),
                cmocka_unit_test(test_type_errors_have_gos_wording),
                cmocka_unit_test(test_of_several_errors_the_first_of_the_text_is_told),
                cmocka_unit_test(test_what_comes_twice_is_joined),
                cmocka_unit_test(test_what_comes_too_often_is_not_joined),
                cmocka_unit_test(test_numbers_are_told_as_they_were_spelled),
                cmocka_unit_test(test_results_of_strategic_merges_are_refused_in_other_words),
                cmocka_unit_test(test_a_default_of_zero_is_not_printed),
                cmocka_unit_test(test_reordering_writes_no_shared_part),
                cmocka_unit_test(test_pod_defaults),
                cmocka_unit_test(test_image_decides_the_pull_policy),
                cmocka_unit_test(test_quantities_are_spelled_as_they_come),
                cmocka_unit_test(test_service_defaults),
                cmocka_unit_test(test_workload_defaults),
                cmocka_unit_test(test_definitions_have_names_and_a_stored_version),
                cmocka_unit_test(test_secret_strings_become_data),
                cmocka_unit_test(test_versions_convert),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
