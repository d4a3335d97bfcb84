/* What is wrong with a write, over HTTP, and what upstream v1.33 says to it. */
#include "help.h"

#define DEPLOYMENTS "/apis/apps/v1/namespaces/default/deployments"
#define WORKLOAD                                                                                              \
        "\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}," \
        "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"
#define CM "/api/v1/namespaces/default/configmaps"
#define JSON "application/json"
#define YAML "application/yaml"
#define MERGE "application/merge-patch+json"
#define PATCH "application/json-patch+json"
#define STRATEGIC "application/strategic-merge-patch+json"
#define APPLY "application/apply-patch+yaml"
#define JOE "Impersonate-User: joe\r\n"

struct said {
        const char *method, *path, *type, *body;
        const char *is; /* status and text that is in the answer: "409 text" */
        const char *headers;
};

static struct str say(struct fixture *f, const struct said *q) {
        size_t n = q->body ? strlen(q->body) : 0;

        return talk_until(f,
                          arena_printf(f->a,
                                       "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s%s%s%sContent-Length: "
                                       "%zu\r\n\r\n%s",
                                       q->method, q->path, q->headers ? q->headers : "",
                                       q->type ? "Content-Type: " : "", q->type ? q->type : "", q->type ? "\r\n" : "",
                                       n, q->body ? q->body : "")
                                          .p,
                          NULL);
}

/* In the answer as it is in the text of the error, without JSON's escapes. */
static void check_said(struct fixture *f, const struct said *table, size_t n) {
        for (size_t i = 0; i < n; i++) {
                struct str answer = say(f, &table[i]);
                _cleanup_buf_ struct buf plain = BUF_INIT;
                struct str text;

                for (size_t k = 0; k < answer.n; k++)
                        if (answer.p[k] != '\\')
                                buf_putc(&plain, answer.p[k]);
                text = buf_str(&plain);
                if (str_search(str_sub(text, 0, 16), str_n(table[i].is, 3)) < 0 ||
                    str_search(text, str_of(table[i].is + 4)) < 0)
                        fail_msg("%s %s %s: %s", table[i].method, table[i].path, table[i].body ? table[i].body : "",
                                 arena_cstr(f->a, answer));
        }
}
#define SAID(...)                                                    \
        do {                                                         \
                static const struct said _table[] = { __VA_ARGS__ }; \
                check_said(f, _table, ARRAY_SIZE(_table));           \
        } while (0)

static int setup(void **state) {
        struct fixture *f;

        fixture_setup(state);
        f = *state;
        fixture_serve(f);
        ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}",
            .options.field_manager = STR("other"));
        return 0;
}

/* Nobody learns from an error what he might not have asked for. */
static void rights_come_before_what_is_wrong_with_a_body(void **state) {
        struct fixture *f = *state;

        SAID({ "POST", CM, JSON, "{", "403 User \"joe\" cannot create resource", JOE },
             { "POST", CM, "text/plain", "{}", "403 cannot create resource", JOE },
             { "PATCH", CM "/a", "text/plain", "{}", "403 cannot patch resource", JOE },
             { "DELETE", CM "/a?dryRun=no", NULL, NULL, "403 cannot delete resource", JOE },
             { "GET", CM "/a", NULL, NULL, "403 cannot get resource", JOE "Accept: image/png\r\n" },
             { "GET", CM "/a", NULL, NULL, "406 ", "Accept: image/png\r\n" },
             { "POST", CM, JSON, "{", "400 couldn't get version/kind; json parse error: unexpected end of JSON" });
}

static void a_patch_is_read_when_there_is_something_to_patch(void **state) {
        struct fixture *f = *state;

        SAID({ "PATCH", CM "/none", MERGE, "{", "404 configmaps \"none\" not found" },
             { "PATCH", CM "/a", MERGE, "{", "400 error decoding patch: unexpected end of JSON input" },
             { "PATCH", CM "/none", APPLY, "a: b", "422 fieldManager: Required value: is required for apply patch" },
             { "PATCH", CM "/none?fieldManager=m", APPLY, "a: b: c", "400 error decoding YAML: " },
             { "PATCH", CM "/a?fieldManager=m", APPLY, "[]",
               "400 error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array "
               "into "
               "Go value of type map[string]interface {}" },
             { "PATCH", CM "/a?fieldManager=m", APPLY, "kind: ConfigMap\napiVersion: a/b/c",
               "400 invalid object type: /, Kind=\"" },
             { "PATCH", CM "/a?fieldManager=m&fieldValidation=Strict", APPLY,
               "kind: ConfigMap\napiVersion: v1\ndata: {k: w, k: x}", "409 Apply failed with 1 conflict" },
             { "PATCH", CM "/a", MERGE, "null", "400 Invalid JSON Patch" },
             { "PATCH", CM "/a", PATCH, "null", "200 \"k\":\"v\"" },
             { "PATCH", CM "/a", STRATEGIC, "null", "200 \"k\":\"v\"" });
}

static void patches_change_no_identity(void **state) {
        struct fixture *f = *state;

        SAID({ "PATCH", CM "/a", STRATEGIC, "{\"kind\":\"Secret\",\"apiVersion\":\"v2\"}",
               "200 \"kind\":\"ConfigMap\"" },
             { "PATCH", CM "/a", STRATEGIC, "{\"kind\":5}", "422 cannot convert int64 to string" },
             { "PATCH", CM "/a", MERGE, "{\"kind\":5}",
               "422 json parse error: json: cannot unmarshal number into Go struct field .kind of type string" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"name\":\"\"}}",
               "400 the name of the object (a based on URL) was undeterminable: name must be provided" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"uid\":\"x\"}}",
               "422 metadata.uid: Invalid value: \"x\": field is immutable" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"}}",
               "422 metadata.deletionTimestamp: Invalid value: 2020-01-01 00:00:00 +0000 UTC: field is immutable" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"deletionGracePeriodSeconds\":5}}",
               "422 metadata.deletionGracePeriodSeconds: Invalid value: 5: field is immutable" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"resourceVersion\":\"x\"}}",
               "500 strconv.ParseUint: parsing \"x\": invalid syntax" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"resourceVersion\":\"99999999999999999999\"}}",
               "500 strconv.ParseUint: parsing \"99999999999999999999\": value out of range" },
             { "PUT", "/api/v1/namespaces/default/endpoints/none", JSON,
               "{\"metadata\":{\"name\":\"none\",\"resourceVersion\":\"x\"}}",
               "500 strconv.ParseUint: parsing \"x\": invalid syntax" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"ownerReferences\":[{\"uid\":\"u\",\"name\":5}]}}",
               "422 \"ownerReferences\":[{\"name\":5,\"uid\":\"u\"}]" },
             { "PATCH", CM "/a", MERGE, "{\"apiVersion\":null}", "400 (a based on URL) was undeterminable" },
             { "PATCH", CM "/a", STRATEGIC, "{\"apiVersion\":null}", "200 \"apiVersion\":\"v1\"" },
             { "PATCH", CM "/a?fieldValidation=Strict", "application/json-patch+json",
               "[{\"op\":\"remove\",\"path\":\"/apiVersion\"}]",
               "422 strict decoding error: unknown field \"data\", unknown field \"metadata\"" },
             { "PATCH", CM "/a", MERGE, "{\"metadata\":{\"generateName\":\"x-\"}}", "200 \"generateName\":\"x-\"" },
             { "PUT", CM "/a", JSON, "{\"metadata\":{\"name\":\"a\",\"uid\":\"x\"}}",
               "409 on configmaps \"a\": StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/a, "
               "ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: x, UID in object" },
             { "PUT", CM "/a?dryRun=All", JSON, "{\"metadata\":{\"name\":\"a\",\"uid\":\"x\"}}",
               "409 invalid object, Code: 4, Key: /configmaps/default/a, " },
             { "PUT", CM "/none", JSON, "{\"metadata\":{\"name\":\"none\",\"uid\":\"x\"}}",
               "409 UID in precondition: x, UID in object meta: \"" });
}

static void unknown_fields_are_told_in_upstreams_order(void **state) {
        struct fixture *f = *state;

        SAID({ "POST", CM "?fieldValidation=Strict", JSON,
               "{\"metadata\":{\"name\":\"q\",\"x\":1},\"data\":{\"a\":\"1\",\"a\":\"2\"},\"foo\":1,\"foo\":2}",
               "400 strict decoding error: unknown field \"metadata.x\", duplicate field \"data.a\", unknown field "
               "\"foo\"" },
             { "POST", CM "?fieldValidation=Strict", YAML, "z: 1\nmetadata: {name: q, x: 1}\na: 1\na: 2",
               "400 strict decoding error: yaml: unmarshal errors:n  line 4: key \"a\" already set in map, unknown "
               "field "
               "\"a\", unknown field \"metadata.x\", unknown field \"z\"" },
             { "PATCH", CM "/a?fieldValidation=Strict", MERGE, "{\"z\":1,\"a\":1,\"a\":2}",
               "422 strict decoding error: duplicate field \"a\", unknown field \"a\", unknown field \"z\"" },
             { "PATCH", CM "/a?fieldValidation=Strict", PATCH,
               "[{\"op\":\"add\",\"path\":\"/z\",\"value\":1,\"x\":1,\"op\":\"add\"}]",
               "422 strict decoding error: json patch duplicate field \"[0].op\", json patch unknown field \"[0].x\", "
               "unknown field \"z\"" },
             { "POST", "/api/v1/namespaces/default/pods?fieldValidation=Strict", JSON,
               "{\"metadata\":{\"name\":\"q\"},\"status\":{\"foo\":1}}", "400 unknown field \"status.foo\"" },
             { "POST", "/api/v1/namespaces/default/pods", JSON,
               "{\"metadata\":{\"name\":\"q\"},\"status\":{\"phase\":1}}",
               "400 json: cannot unmarshal number into Go struct field PodStatus.status.phase of type v1.PodPhase" });
}

static void options_of_writes_are_checked_as_upstream_does(void **state) {
        struct fixture *f = *state;

        SAID({ "POST", CM "?dryRun=", JSON, "{}", "422 dryRun: Unsupported value: []string{\"\"}: supported values" },
             { "POST", CM "?dryRun=All&dryRun=x", JSON, "{}", "422 Unsupported value: []string{\"All\", \"x\"}: " },
             { "POST", CM "?dryRun=All", JSON, "{\"apiVersion\":\"/v1\",\"metadata\":{\"name\":\"v\"}}",
               "201 \"apiVersion\":\"v1\"" },
             { "POST", CM "?dryRun=All", JSON, "{\"metadata\":{\"name\":\"a\"}}",
               "409 configmaps \"a\" already exists" },
             { "POST", CM "?fieldManager=%C2%A0&fieldManager=x", JSON, "{}",
               "422 invalid character U+00A0 (at position 0)" },
             { "POST", CM "?a;b&limit=%zz", JSON, "{\"metadata\":{\"name\":\"c\",\"generation\":7}}",
               "201 \"generation\":7" },
             { "POST", CM, JSON, "{\"metadata\":{\"name\":\"d\",\"resourceVersion\":\"5\"}}",
               "500 resourceVersion should not be set on objects to be created" },
             { "PATCH", CM "/d?fieldManager=m", APPLY,
               "kind: ConfigMap\napiVersion: v1\nmetadata: {name: d, resourceVersion: '5'}", "201 " },
             { "DELETE", CM "/a", JSON, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}",
               "500 no kind \"Pod\" is registered for version \"v1\" in scheme "
               "\"pkg/apis/meta/internalversion/scheme/register.go:27\"" },
             { "DELETE", CM "/a", JSON, "{\"kind\":\"a\\u200b\",\"apiVersion\":\"v1\"}",
               "500 no kind \"au200b\" is registered for version \"v1\" in scheme "
               "\"pkg/apis/meta/internalversion/scheme/register.go:27\"" },
             { "DELETE", CM "/a", JSON, "{\"kind\":\"Status\",\"apiVersion\":\"v1\"}",
               "500 converting (v1.Status) to (v1.DeleteOptions): unknown conversion" },
             { "PUT", CM "/a%25", JSON, "{\"metadata\":{\"name\":\"b\"}}",
               "400 the name of the object (b) does not match the name on the URL (a%)" },
             { "PUT", CM "/a%25", JSON, "{\"metadata\":{\"name\":\"a%\"}}",
               "400 Name parameter invalid: \"a%\": may not contain '%'" },
             { "POST", "/api/v1/namespaces/a%25/configmaps", JSON, "{\"metadata\":{\"name\":\"a\"}}",
               "500 Internal error occurred: invalid resource name \"a%\": [may not contain '%']" },
             { "DELETE", CM "/a", JSON, "{\"gracePeriodSeconds\":\"x\"}",
               "500 cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64" },
             { "DELETE", CM "/a", JSON, "{",
               "500 couldn't get version/kind; json parse error: unexpected end of JSON" },
             { "DELETE", CM "/a?propagationPolicy=", NULL, NULL, "422 propagationPolicy: Unsupported value: \"\"" },
             { "DELETE", CM "?propagationPolicy=Bad&labelSelector=none", NULL, NULL, "422 Unsupported value: \"Bad\"" },
             { "DELETE", CM "?propagationPolicy=Bad&resourceVersionMatch=Exact", NULL,
               NULL, /* what is listed is first */
               "422 resourceVersionMatch is forbidden unless resourceVersion is provided" },
             { "DELETE", CM "?fieldSelector=foo%3Dbar", JSON, "{\"propagationPolicy\":\"Bad\"}",
               "400 is not a known field selector" },
             { "DELETE", CM "/a?uid=x", NULL, NULL, "409 the UID in the precondition (x) does not match the UID" },
             { "DELETE", CM "/a?orphanDependents=1&propagationPolicy=Orphan", NULL, NULL, "422 cannot be both set" },
             { "DELETE", CM "/a?orphanDependents=true", NULL, NULL, "200 \"finalizers\":[\"orphan\"]" },
             { "DELETE", CM "/c?dryRun=All&uid=x", JSON, "{}", "200 \"status\":\"Success\"" },
             { "GET", CM "/c", NULL, NULL, "404 " });
}

static void owners_are_named_once(void **state) {
        struct fixture *f = *state;
#define OWNER "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"u\"}"

        SAID({ "POST", CM, JSON, "{\"metadata\":{\"name\":\"o\",\"ownerReferences\":[" OWNER "," OWNER "]}}",
               "201 ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
               "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u" },
             { "GET", CM "/o", NULL, NULL, "200 \"ownerReferences\":[" OWNER "]" },
             { "PATCH", CM "/o", MERGE, "{\"metadata\":{\"ownerReferences\":[" OWNER "," OWNER "," OWNER "]}}",
               "200 duplicate entries after mutating admission happens; API server dedups owner references in 1.20+, "
               "and "
               "may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: u, "
               "u" },
             { "PUT", CM "/o?dryRun=All", JSON,
               "{\"metadata\":{\"name\":\"o\",\"ownerReferences\":[{\"kind\":\"Node\"},{\"kind\":\"Node\"}]}}",
               "422 duplicate UID(s) observed: \"" },
             { "POST", DEPLOYMENTS, JSON, "{\"metadata\":{\"name\":\"d\"},\"spec\":{" WORKLOAD "}}", "201 " },
             { "PATCH", DEPLOYMENTS "/d/scale", MERGE, "{\"metadata\":{\"ownerReferences\":[" OWNER "," OWNER "]}}",
               "200 duplicate entries after mutating admission happens" },
             { "PUT", DEPLOYMENTS "/d/scale", JSON,
               "{\"metadata\":{\"name\":\"d\",\"ownerReferences\":[" OWNER "," OWNER "]}}",
               "200 ownerReferences contains duplicate entries; API server dedups" });
}

/* What upstream keeps of them in its own version is no text, but a number. */
static void a_count_that_is_none_is_told_where_it_is_read(void **state) {
        struct fixture *f = *state;
#define DS "/apis/apps/v1/namespaces/default/daemonsets"
#define COUNT "\"annotations\":{\"deprecated.daemonset.template.generation\":\"x\"}"
#define NO_COUNT "strconv.ParseInt: parsing \"x\": invalid syntax"

        SAID({ "POST", DS, JSON, "{\"metadata\":{\"name\":\"d\"},\"spec\":{" WORKLOAD "}}", "201 " },
             { "PUT", DS "/d/status", JSON, "{\"metadata\":{\"name\":\"d\"," COUNT "}}",
               "400 DaemonSet in version \"v1\" cannot be handled as a DaemonSet: " NO_COUNT },
             { "PATCH", DS "/d", MERGE, "{\"metadata\":{" COUNT "}}", "422 : " NO_COUNT },
             { "PATCH", DS "/d/status", PATCH,
               "[{\"op\":\"add\",\"path\":\"/metadata/annotations/"
               "deprecated.daemonset.template.generation\",\"value\":\"x\"}]",
               "422 : " NO_COUNT },
             { "PATCH", DS "/d/status", STRATEGIC, "{\"metadata\":{" COUNT "}}", "500 \"message\":\"" NO_COUNT },
             { "PATCH", DS "/d?fieldManager=m&force=true", APPLY,
               "{\"kind\":\"DaemonSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"d\"," COUNT "}}",
               "500 failed to convert to unversioned (/d; apps/v1, Kind=DaemonSet): " NO_COUNT });
}

static void numbers_are_told_as_they_were_spelled(void **state) {
        struct fixture *f = *state;
#define NUMBER(n) "json: cannot unmarshal number " n " into Go struct field DeploymentSpec.spec.replicas of type int32"

        SAID({ "POST", DEPLOYMENTS, JSON, "{\"metadata\":{\"name\":\"d\"},\"spec\":{" WORKLOAD "}}", "201 " },
             { "POST", DEPLOYMENTS, YAML, "{spec: {replicas: 18446744073709551615}}",
               "400 " NUMBER("184467440737095516"
                             "15") },
             { "PATCH", DEPLOYMENTS "/d", MERGE, "{\"spec\":{\"replicas\":1e3}}", "422 \"replicas\":1e3," },
             { "PATCH", DEPLOYMENTS "/d", MERGE, "{\"spec\":{\"replicas\":1.0}}", "422 " NUMBER("1.0") },
             { "PATCH", DEPLOYMENTS "/d", PATCH, "[{\"op\":\"add\",\"path\":\"/spec/replicas\",\"value\":1.50}]",
               "422 " NUMBER("1.50") },
             { "POST", CM, JSON, "{\"metadata\":{\"name\":\"n\"},\"binaryData\":{\"a\":[1.0]}}",
               "400 json: cannot unmarshal number 1.0 into Go struct field ConfigMap.binaryData of type uint8" },
             { "POST", CM, JSON, "{\"metadata\":{\"name\":\"n\"},\"binaryData\":{\"a\":[256]}}",
               "400 number 256 into" },
             { "POST", CM, JSON, "{\"metadata\":{\"name\":\"n\"},\"binaryData\":{\"a\":[1]}}", "201 \"AQ==\"" },
             { "PATCH", CM "/n", STRATEGIC, "{\"binaryData\":{\"a\":[true]}}", "422 : unrecognized type: uint8" },
             { "PATCH", CM "/n", STRATEGIC, "{\"binaryData\":{\"a\":[258.0]}}", "200 \"Ag==\"" });
}

/* 1Gi, the second time in other words. */
static void a_quantity_that_is_spelled_otherwise_is_the_same(void **state) {
        struct fixture *f = *state;
#define PODS_WITH(memory)                                                                                              \
        "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[" \
        "{"                                                                                                            \
        "\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{\"memory\":\"" memory "\"}}}]}}"
#define CRONS "/apis/batch/v1/namespaces/default/cronjobs"
#define JOBS "/apis/batch/v1/namespaces/default/jobs"

        SAID({ "POST", CRONS, JSON,
               "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"schedule\":\"@hourly\",\"jobTemplate\":{\"spec\":"
               "{" PODS_WITH("1Gi") "}}}}",
               "201 \"generation\":1" },
             { "PATCH", CRONS "/c", MERGE, "{\"spec\":{\"jobTemplate\":{\"spec\":{" PODS_WITH("1073741824") "}}}}",
               "200 \"generation\":1" },
             { "GET", CRONS "/c", NULL, NULL, "200 \"memory\":\"1073741824\"" },
             { "POST", JOBS, JSON, "{\"metadata\":{\"name\":\"j\"},\"spec\":{" PODS_WITH("1Gi") "}}", "201 " },
             { "PATCH", JOBS "/j", MERGE, "{\"spec\":{" PODS_WITH("1073741824") "}}", "200 \"memory\":\"1073741824\"" },
             { "PATCH", JOBS "/j", MERGE, "{\"spec\":{" PODS_WITH("1073741825") "}}", "422 field is immutable" });
}

static void a_revision_is_the_text_of_its_data(void **state) {
        struct fixture *f = *state;
#define CR "/apis/apps/v1/namespaces/default/controllerrevisions"
#define REVISION(data) "{\"metadata\":{\"name\":\"r\"},\"revision\":1,\"data\":" data "}"

        SAID({ "POST", CR, JSON, REVISION("{\"a\":1,\"b\":2}"), "201 " },
             { "PUT", CR "/r", JSON, REVISION("{\"a\":1,\"b\":2}"), "200 " },
             { "PUT", CR "/r", JSON, REVISION("{\"b\":2,\"a\":1}"),
               "422 data: Invalid value: runtime.RawExtension{Raw:" },
             { "PATCH", CR "/r", MERGE, "{\"revision\":2}", "200 \"revision\":2" });
}

/* An Event is served in two groups, of which upstream knows one where it writes the other. */
static void owners_of_an_event_in_another_group_are_forgotten(void **state) {
        struct fixture *f = *state;
#define EVENTS "/apis/events.k8s.io/v1/namespaces/default/events"
#define OLD_EVENTS "/api/v1/namespaces/default/events"
#define EVENT                                                                                                    \
        "\"eventTime\":\"2024-01-01T00:00:00.000000Z\",\"reportingController\":\"a.b/c\",\"reportingInstance\":" \
        "\"i\",\"action\":\"a\",\"reason\":\"r\",\"type\":\"Normal\""

        SAID({ "POST", EVENTS "?fieldManager=one", JSON, "{\"metadata\":{\"name\":\"e\"}," EVENT "}",
               "201 \"manager\":\"one\"" },
             { "PUT", EVENTS "/e", JSON, "{\"metadata\":{\"name\":\"e\"}," EVENT ",\"related\":{}}",
               "422 related: Invalid value: core.ObjectReference{Kind:\"\"" },
             { "PATCH", OLD_EVENTS "/e?fieldManager=two", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}",
               "200 \"managedFields\":[{\"manager\":\"two\"" },
             { "PATCH", EVENTS "/e?fieldManager=one", MERGE, "{\"metadata\":{\"labels\":{\"a\":\"c\"}}}",
               "200 \"managedFields\":[{\"manager\":\"one\"" });
        assert_true(str_search(say(f, &(struct said) { "GET", EVENTS "/e" }), STR("\"two\"")) < 0);
}

static void who_has_no_name_has_no_address(void **state) {
        struct fixture *f = *state;
#define SERVICES "/api/v1/namespaces/default/services"
#define PORT "\"ports\":[{\"port\":1}]"

        SAID({ "POST", SERVICES, JSON, "{\"spec\":{" PORT "}}",
               "500 Internal error occurred: failed to allocate a serviceIP: IPAddress.networking.k8s.io" },
             { "POST", SERVICES, JSON, "{\"spec\":{" PORT ",\"clusterIP\":\"10.96.0.9\"}}",
               "422 failed to allocate IP 10.96.0.9: provided IP is already allocated" },
             { "POST", SERVICES "?dryRun=All", JSON, "{\"spec\":{" PORT "}}",
               "422 metadata.name: Required value: name or generateName is required" });
}

static void legacy_watches_are_where_upstream_has_them(void **state) {
        struct fixture *f = *state;

        SAID({ "GET", "/api/v1/watch?x=1", NULL, NULL,
               "500 Internal Server Error: \"/api/v1/watch?x=1\": failed to create RequestInfo: unable to determine "
               "kind "
               "and namespace from url, /api/v1/watch?x=1" },
             { "GET", "/apis/apps/v1/watch/", NULL, NULL, "500 unable to determine kind and namespace from url" },
             { "GET", "/api/v1/watch/configmaps?timeoutSeconds=1", NULL, NULL, "200 \"type\":\"ADDED\"" },
             { "GET", "/api/v1/watch/namespaces/default/configmaps/a?timeoutSeconds=1", NULL, NULL, "200 ADDED" },
             { "DELETE", "/api/v1/watch/namespaces/default/configmaps/a", NULL, NULL, "405 " },
             { "GET", "/api/v1/watch/namespaces/default/pods/a/log", NULL, NULL,
               "404 the server could not find the requested resource" },
             { "GET", "/api/v1/watch/namespaces/default/status", NULL, NULL,
               "404 the server could not find the requested resource" },
             { "GET", "/api/v1/watch/componentstatuses", NULL, NULL,
               "404 the server could not find the requested resource" },
             { "GET", "/api/v1/watch/nothing", NULL, NULL, "404 the server could not find the requested resource" });
}

/* Who writes in a version owns by its names; who wrote in the other loses what changes. */
static void fields_are_owned_in_the_version_of_the_request(void **state) {
        struct fixture *f = *state;
#define HPA(v) "/apis/autoscaling/" v "/namespaces/default/horizontalpodautoscalers"
#define SCALES "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"x\"},\"maxReplicas\":3"

        SAID({ "POST", HPA("v1") "?fieldManager=one", JSON,
               "{\"metadata\":{\"name\":\"h\"},\"spec\":{" SCALES ",\"targetCPUUtilizationPercentage\":50}}",
               "201 \"manager\":\"one\",\"operation\":\"Update\",\"apiVersion\":\"autoscaling/v1\"" },
             { "GET", HPA("v2") "/h", NULL, NULL, "200 \"f:targetCPUUtilizationPercentage\":{}" },
             { "PATCH", HPA("v2") "/h?fieldManager=two", MERGE, "{\"spec\":{\"maxReplicas\":4}}",
               "200 \"manager\":\"two\",\"operation\":\"Update\",\"apiVersion\":\"autoscaling/v2\"" },
             { "PATCH", HPA("v1") "/h?fieldManager=one", MERGE, "{\"spec\":{\"maxReplicas\":5}}",
               "200 \"manager\":\"one\",\"operation\":\"Update\",\"apiVersion\":\"autoscaling/v1\"" });
        assert_true(str_search(say(f, &(struct said) { "GET", HPA("v2") "/h" }), STR("\"manager\":\"two\"")) < 0);
        SAID({ "PATCH", HPA("v1") "/h", MERGE, "{\"metadata\":{\"managedFields\":[{}]}}", "200 \"name\":\"h\"" });
        assert_true(str_search(say(f, &(struct said) { "GET", HPA("v2") "/h" }), STR("managedFields")) < 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, fixture_serve_teardown)
int main(void) {
        const struct CMUnitTest tests[] = {
                T(rights_come_before_what_is_wrong_with_a_body),
                T(a_patch_is_read_when_there_is_something_to_patch),
                T(patches_change_no_identity),
                T(unknown_fields_are_told_in_upstreams_order),
                T(options_of_writes_are_checked_as_upstream_does),
                T(owners_are_named_once),
                T(a_count_that_is_none_is_told_where_it_is_read),
                T(numbers_are_told_as_they_were_spelled),
                T(a_quantity_that_is_spelled_otherwise_is_the_same),
                T(a_revision_is_the_text_of_its_data),
                T(owners_of_an_event_in_another_group_are_forgotten),
                T(who_has_no_name_has_no_address),
                T(legacy_watches_are_where_upstream_has_them),
                T(fields_are_owned_in_the_version_of_the_request),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
