/* Who owns which field of an object, through the API: managedFields of every write, server-side apply, patches.
 * https://kubernetes.io/docs/reference/using-api/server-side-apply/ */
#include <stdio.h>

#include "help.h"

/* "manager Operation subresource fields" of each entry, a line each. */
static const char *owners(struct fixture *f, struct answer r) {
        const struct json *list = json_at_path(r.body, "metadata", "managedFields");
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_each_item(e, list) {
                struct str sub = json_str(json_getc(e, "subresource"));

                buf_printf(&b, "%s%" STR_FMT " %" STR_FMT "%s%" STR_FMT " ", b.n ? "\n" : "",
                           STR_ARG(json_str(json_getc(e, "manager"))), STR_ARG(json_str(json_getc(e, "operation"))),
                           sub.n ? " " : "", STR_ARG(sub));
                json_write(&b, json_getc(e, "fieldsV1"));
        }
        return arena_cstr(f->a, buf_str(&b));
}

#define DEPLOYMENT                                                                                                   \
        "{\"metadata\":{\"name\":\"w\",\"labels\":{\"x\":\"y\"}},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":"    \
        "\"b\"}},"                                                                                                   \
        "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":" \
        "\"i\","                                                                                                     \
        "\"ports\":[{\"containerPort\":80}]}]}}}}"

#define DEPLOYMENT_SPEC                                                                                      \
        "'spec':{'selector':{'matchLabels':{'a':'b'}},'template':{'metadata':{'labels':{'a':'b'}},'spec':{'" \
        "containers':"                                                                                       \
        "[{'name':'c','image':'i'}]}}}"

/* Fields and their order as kube-apiserver v1.33 has them for this Deployment. */
#define CREATED                                                                                                       \
        "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:x\":{}}},\"f:spec\":{\"f:progressDeadlineSeconds\":{},"          \
        "\"f:replicas\":{},\"f:revisionHistoryLimit\":{},\"f:selector\":{},\"f:strategy\":{\"f:rollingUpdate\":{"     \
        "\".\":{},\"f:maxSurge\":{},\"f:maxUnavailable\":{}},\"f:type\":{}},\"f:template\":{\"f:metadata\":{"         \
        "\"f:labels\":{\".\":{},\"f:a\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{}," \
        "\"f:image\":{},\"f:imagePullPolicy\":{},\"f:name\":{},\"f:ports\":{\".\":{},"                                \
        "\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},"             \
        "\"f:protocol\":{}}},\"f:resources\":{},\"f:terminationMessagePath\":{},\"f:terminationMessagePolicy\":{}}}," \
        "\"f:dnsPolicy\":{},\"f:restartPolicy\":{},\"f:schedulerName\":{},\"f:securityContext\":{},"                  \
        "\"f:terminationGracePeriodSeconds\":{}}}}}"

static void every_write_says_who_owns_what(void **state) {
        struct fixture *f = *state;
        struct answer r;

        r = ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT, .options.field_manager = STR("maker"));
        assert_string_equal(owners(f, r), "maker Update " CREATED);
        check(r, 201, ".metadata.managedFields[0].apiVersion", "apps/v1");

        r = ASK(f, API_PATCH, &res_deployments, "default", "w", "status", .patch = API_PATCH_MERGE,
                .options.field_manager = STR("counter"), .body = "{\"status\":{\"replicas\":1}}");
        assert_string_equal(owners(f, r),
                            "counter Update status {\"f:status\":{\"f:replicas\":{}}}\nmaker Update " CREATED);

        /* A role in this process is named by its user; what it sets it takes from the others. */
        r = ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                .body = "{\"metadata\":{\"labels\":{\"x\":\"z\"}}}");
        assert_non_null(strstr(owners(f, r), "apiserver Update {\"f:metadata\":{\"f:labels\":{\"f:x\":{}}}}"));
        assert_non_null(strstr(owners(f, r), "maker Update {\"f:metadata\":{\"f:labels\":{}},"));
        /* Nothing changes: nobody owns more, no time moves, nothing is written. */
        assert_string_equal(at(f,
                               ASK(f, API_PATCH, &res_deployments, "default", "w", .patch = API_PATCH_MERGE,
                                   .options.field_manager = STR("other"),
                                   .body = "{\"metadata\":{\"labels\":{\"x\":\"z\"}}}"),
                               ".metadata.resourceVersion"),
                            at(f, r, ".metadata.resourceVersion"));
}

static void what_admission_adds_is_owned_by_nobody(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        r = ASK(f, API_CREATE, &res_pods, "default",
                .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
        check(r, 201, ".spec.serviceAccountName", "default");
        assert_non_null(strstr(owners(f, r), "f:dnsPolicy"));
        assert_null(strstr(owners(f, r), "f:serviceAccountName"));
        assert_null(strstr(owners(f, r), "f:tolerations"));
}

static void clients_can_reset_managed_fields(void **state) {
        struct fixture *f = *state;
        struct answer r;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"b\"}}");
        r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_JSON,
                .body = "[{\"op\":\"test\",\"path\":\"/metadata/managedFields/0/fieldsV1/f:data/f:a\",\"value\":{}},"
                        "{\"op\":\"replace\",\"path\":\"/metadata/managedFields\",\"value\":[{}]}]");
        check(r, 200, ".data.a", "b");
        assert_string_equal(owners(f, r), "");
        /* From then on nobody is asked, until somebody applies. */
        r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_MERGE,
                .body = "{\"data\":{\"x\":\"y\"}}");
        assert_string_equal(owners(f, r), "");
        r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_APPLY,
                .options.field_manager = STR("m"),
                .body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"data\":{\"a\":\"b\"}}");
        assert_string_equal(owners(f, r), "m Apply {\"f:data\":{\"f:a\":{}}}\n"
                                          "before-first-apply Update {\"f:data\":{\".\":{},\"f:a\":{},\"f:x\":{}}}");
}

static void another_owner_is_a_conflict(void **state) {
        struct fixture *f = *state;
        struct request r = { API_PATCH,
                             &res_deployments,
                             "default",
                             "w",
                             .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("me"),
                             .body = "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"spec\":{\"replicas\":3}}" };

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT, .options.field_manager = STR("kubectl"));
        check_error(ask(f, r), 409,
                    "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas");
        r.options.force = true;
        check(ask(f, r), 200, ".spec.replicas", "3");
        assert_null(strstr(owners(f, ASK(f, API_GET, &res_deployments, "default", "w")),
                           "kubectl Update {\"f:metadata\":{\"f:labels\":{\".\":{},\"f:x\":{}}},\"f:spec\":{"
                           "\"f:progressDeadlineSeconds\":{},\"f:replicas\":{}"));
}

static void scaling_takes_the_replicas(void **state) {
        struct fixture *f = *state;
        struct request r = { API_PATCH,
                             &res_deployments,
                             "default",
                             "w",
                             "scale",
                             .patch = API_PATCH_MERGE,
                             .options.field_manager = STR("hpa"),
                             .body = "{\"spec\":{\"replicas\":4}}" };

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT, .options.field_manager = STR("maker"));
        check(ask(f, r), 200, ".spec.replicas", "4");
        assert_non_null(strstr(owners(f, ASK(f, API_GET, &res_deployments, "default", "w")),
                               "hpa Update scale {\"f:spec\":{\"f:replicas\":{}}}"));
        r.patch = API_PATCH_APPLY;
        r.options.field_manager = STR("me");
        r.body = "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"spec\":{\"replicas\":5}}";
        check_error(ask(f, r), 409,
                    "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using "
                    "autoscaling/v1: .spec.replicas");
        r.options.force = true;
        check(ask(f, r), 200, ".spec.replicas", "5");
        assert_non_null(strstr(owners(f, ASK(f, API_GET, &res_deployments, "default", "w")),
                               "me Apply scale {\"f:spec\":{\"f:replicas\":{}}}"));
        check(ASK(f, API_GET, &res_deployments, "default", "w"), 200, ".metadata.managedFields[0].time", "(absent)");
        /* what is applied is cut to its size */
        r.body = "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"spec\":{\"replicas\":4294967301}}";
        check(ask(f, r), 200, ".spec.replicas", "5");
        r.body = "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"spec\":{\"replicas\":1.5}}";
        check_error(ask(f, r), 500,
                    "failed to convert new object (/; autoscaling/v1, Kind=Scale) to proper version: unable to convert "
                    "unstructured object to autoscaling/v1, Kind=Scale: cannot convert float64 to int32");

        r.sub = NULL;
        r.options.force = false;
        r.options.field_manager = STR("me");
        r.body = "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"spec\":{\"minReadySeconds\":5}}";
        ask(f, r);
        r.options.field_manager = STR("x");
        r.body = "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"spec\":{\"minReadySeconds\":6,\"replicas\":6}}";
        check_error(ask(f, r), 409,
                    "Apply failed with 2 conflicts: conflicts with \"me\" with subresource \"scale\":\n- "
                    ".spec.replicas\n"
                    "conflicts with \"me\":\n- .spec.minReadySeconds");

        /* Through scale to what it is: its updater has an entry more. */
        r.sub = "scale";
        ASK(f, API_CREATE, &res_deployments, "default", .body = Q("{'metadata':{'name':'o'}," DEPLOYMENT_SPEC "}"),
            .options.field_manager = STR("maker"));
        r.name = "o";
        r.patch = API_PATCH_MERGE;
        r.options.force = false;
        r.body = "{\"spec\":{\"replicas\":1}}";
        ask(f, r);
        assert_true(str_has_prefix(
                        str_of(owners(f, ASK(f, API_GET, &res_deployments, "default", "o"))),
                        STR("maker Update {\"f:spec\":{\"f:replicas\":{}}}\nmaker Update {\"f:spec\":{\"f:prog")));
}

static void what_is_sent_to_a_subresource_is_of_its_own_kind(void **state) {
#define IN(kind, as) kind " in version \"v1\" cannot be handled as a " as ": "
#define POD "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"w\"}}"
#define STRICT .options.field_validation = API_VALIDATE_STRICT
        struct fixture *f = *state;
        const struct {
                struct request r;
                const char *message;
        } refused[] = {
                { { API_UPDATE, &res_deployments, .sub = "scale", .body = POD },
                  IN("Pod", "Scale") "converting (v1.Pod) to (autoscaling.Scale): unknown conversion" },
                { { API_UPDATE, &res_deployments, .sub = "scale",
                    .body = "{\"kind\":\"Scale\",\"apiVersion\":\"a/v1\"}" },
                  IN("Scale", "Scale") "no kind \"Scale\" is registered for version \"a/v1\" in scheme "
                                       "\"pkg/api/legacyscheme/scheme.go:30\"" },
                { { API_UPDATE, &res_deployments, .sub = "scale", .body = "{\"metadata\":{\"name\":\"x\"}}" },
                  "the name of the object (x) does not match the name on the URL (w)" },
                { { API_UPDATE, &res_deployments, .sub = "scale", .body = "{\"spec\":{\"replicas\":\"x\"}}" },
                  IN("Scale", "Scale") "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of "
                                       "type int32" },
                { { API_UPDATE, &res_deployments, .sub = "scale", .body = "{\"spec\":{\"bad\":1}}", STRICT },
                  IN("Scale", "Scale") "strict decoding error: unknown field \"spec.bad\"" },
                { { API_CREATE, &res_pods, .sub = "eviction", .body = POD },
                  IN("Pod", "Eviction") "converting (v1.Pod) to (policy.Eviction): unknown conversion" },
                { { API_CREATE, &res_pods, .sub = "binding", .body = POD },
                  IN("Pod", "Binding") "converting (v1.Pod) to (core.Binding): unknown conversion" },
                { { API_CREATE, &res_serviceaccounts, .sub = "token", .body = POD },
                  IN("Pod",
                     "TokenRequest") "converting (v1.Pod) to (authentication.TokenRequest): unknown conversion" },
                { { API_CREATE, &res_subjectaccessreviews, .body = "{\"spec\":{\"user\":1}}" },
                  IN("SubjectAccessReview", "SubjectAccessReview") "json: cannot unmarshal number into Go struct field "
                                                                   "SubjectAccessReviewSpec.spec.user of type string" },
                { { API_CREATE, &res_selfsubjectrulesreviews, .body = "{\"spec\":{\"bad\":1}}", STRICT },
                  IN("SelfSubjectRulesReview",
                     "SelfSubjectRulesReview") "strict decoding error: unknown field \"spec.bad\"" },
        };
        struct answer r;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT);
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                struct request q = refused[i].r;

                q.ns = q.resource->namespaced ? "default" : NULL;
                q.name = q.sub ? "w" : NULL;
                check_error(ask(f, q), 400, refused[i].message);
        }
        r = ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"replicas\":2,\"bad\":1}}");
        check(r, 200, ".spec.replicas", "2");
        assert_true(str_eqc(r.warning, "unknown field \"spec.bad\""));
        check_error(ASK(f, API_CREATE, &res_pods, "default", "gone", "eviction",
                        .body = "{\"kind\":\"Eviction\",\"apiVersion\":\"policy/"
                                "v1beta1\",\"metadata\":{\"name\":\"gone\"}}"),
                    404, "pods \"gone\" not found");
}

/* Who cannot change a field does not own it either, and is not in the way of those who can. */
static void what_cannot_be_changed_is_not_owned(void **state) {
        struct fixture *f = *state;
        struct request r = { API_PATCH,
                             &res_deployments,
                             "default",
                             "w",
                             .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("me"),
                             .body = "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"labels\":{"
                                     "\"x\":\"z\"},\"annotations\":{\"a\":\"b\"}},\"spec\":{\"replicas\":3},"
                                     "\"status\":{\"replicas\":7}}" };

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT, .options.field_manager = STR("maker"));
        r.sub = "status";
        check(ask(f, r), 200, ".metadata.labels.x", "y");
        assert_non_null(strstr(owners(f, ASK(f, API_GET, &res_deployments, "default", "w")),
                               "me Apply status {\"f:metadata\":{\"f:annotations\":{\"f:a\":{}}},\"f:status\":{"
                               "\"f:replicas\":{}}}"));
        r.sub = NULL;
        r.options.force = true;
        check(ask(f, r), 200, ".metadata.labels.x", "z");
        assert_non_null(strstr(owners(f, ASK(f, API_GET, &res_deployments, "default", "w")),
                               "me Apply {\"f:metadata\":{\"f:annotations\":{\"f:a\":{}},\"f:labels\":{\"f:x\":{}}},"
                               "\"f:spec\":{\"f:replicas\":{}}}"));
}

static void ten_updaters_are_remembered(void **state) {
        struct fixture *f = *state;
        const struct json *list;
        struct answer r;
        size_t ancient = 0;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"b\"}}");
        for (char i = 'b'; i <= 'z'; i++) {
                struct str name = arena_printf(f->a, "m%c", i);
                const char *body = arena_cstr(f->a, arena_printf(f->a, "{\"data\":{\"%c\":\"1\"}}", i));

                r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_MERGE, .body = body,
                        .options.field_manager = name);
        }
        list = json_at_path(r.body, "metadata", "managedFields");
        assert_int_equal(json_len(list), 10);
        json_each_item(e, list)
                if (str_eqc(json_str(json_getc(e, "manager")), "ancient-changes"))
                        ancient = json_len(json_getc(json_expand(f->a, json_getc(e, "fieldsV1")), "f:data"));
        assert_int_equal(ancient, 18); /* ".", and a to q */
}

static void bad_patches_are_refused_in_upstreams_words(void **state) {
        static const struct {
                enum api_patch type;
                int code;
                const char *body, *message;
        } table[] = {
                { API_PATCH_JSON, 422, "[{\"op\":\"test\",\"path\":\"/data/a\",\"value\":\"x\"}]",
                  "the server rejected our request due to an error in our request" },
                { API_PATCH_JSON, 400, "{}",
                  "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp" },
                { API_PATCH_MERGE, 400, "[1]",
                  "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}" },
                { API_PATCH_STRATEGIC, 400, "\"x\"",
                  "json: cannot unmarshal string into Go value of type map[string]interface {}" },
                { API_PATCH_APPLY, 400, "[]",
                  "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array "
                  "into Go value of type map[string]interface {}" },
                { API_PATCH_APPLY, 400, "{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}",
                  "invalid object type: /v1, Kind=Secret" },
                { API_PATCH_APPLY, 500, "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"date\":{}}",
                  "failed to create typed patch object (/; /v1, Kind=ConfigMap): .date: field not declared in "
                  "schema" },
                { API_PATCH_APPLY, 400,
                  "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"managedFields\":[{\"manager\":\"m\"}]}"
                  "}",
                  "metadata.managedFields must be nil" },
        };
        struct fixture *f = *state;
        _cleanup_buf_ struct buf many = BUF_INIT;
        struct answer r;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"b\"}}");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = table[i].type,
                                .body = table[i].body, .options.field_manager = STR("m")),
                            table[i].code, table[i].message);
        for (size_t i = 0; i < 10001; i++)
                buf_printf(&many, "%c{\"op\":\"remove\",\"path\":\"/x\"}", i ? ',' : '[');
        buf_addc(&many, "]");
        buf_putc(&many, '\0');
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_JSON, .body = many.p), 413,
                    "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
        r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_JSON,
                .body = "[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":\"y\",\"foo\":1}]");
        check(r, 200, ".data.x", "y");
        assert_int_equal(r.n_warnings, 1);
        assert_true(str_eqc(r.warning, "json patch unknown field \"[0].foo\""));
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "gone", .patch = API_PATCH_APPLY,
                        .options.field_manager = STR("m"),
                        .body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"uid\":\"u\"}}"),
                    409,
                    "Operation cannot be fulfilled on configmaps \"gone\": uid mismatch: the provided object specified "
                    "uid u, and no existing object was found");
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "gone", .patch = API_PATCH_APPLY,
                        .options.field_manager = STR("m"),
                        .body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"uid\":\"u\","
                                "\"managedFields\":[{\"manager\":\"m\"}]}}"),
                    400, "metadata.managedFields must be nil");
}

static const struct api_resource ks1 = {
        .group = "x.io", .version = "v1", .plural = "ks", .kind = "K", .namespaced = true
};
static const struct api_resource ks2 = {
        .group = "x.io", .version = "v2", .plural = "ks", .kind = "K", .namespaced = true
};

#define KS_SCHEMA                                                                                                    \
        "{'type':'object','properties':{'spec':{'type':'object','properties':{'a':{'type':'string'},'day':{'type':'" \
        "string','format':'date'},'sets':{'type':'"                                                                  \
        "object',"                                                                                                   \
        "'additionalProperties':{'type':'array','x-kubernetes-list-type':'set','items':{'type':'string'}}},'odd':{'" \
        "type':"                                                                                                     \
        "'array','x-kubernetes-list-type':'set','items':{'type':'object','x-kubernetes-map-type':'atomic','"         \
        "properties':{"                                                                                              \
        "'x':{'type':'string'}}}},'free':{'type':'object','x-kubernetes-preserve-unknown-fields':true},'keyed':{'"   \
        "type':"                                                                                                     \
        "'array','x-kubernetes-list-type':'map','x-kubernetes-list-map-keys':['k'],'items':{'type':'object','"       \
        "properties':"                                                                                               \
        "{'k':{'type':'string','default':'d'}}}}}}}}"
#define KS_VERSION(name, storage) \
        "{'name':'" name "','served':true,'storage':" storage ",'schema':{'openAPIV3Schema':" KS_SCHEMA "}}"

/* The same field manager that upstream has for custom resources. */
static void custom_resources_are_owned_as_their_schema_says(void **state) {
        static const struct {
                const char *op, *spec, *owners; /* of a new object each time: a create (c) or an apply (a) */
        } table[] = {
                { "c", "{'a':'b'}", "m Update {'f:spec':{'.':{},'f:a':{}}}" },
                { "c", "{'sets':{'y.z':['v']}}",
                  "m Update {'f:spec':{'.':{},'f:sets':{'.':{},'f:y.z':{'.':{},'v:\\'v\\'':{}}}}}" },
                { "a", "{'free':{'v':{'w':1}}}", "m Apply {'f:spec':{'f:free':{'f:v':{'.':{},'f:w':{}}}}}" },
                { "a", "{'keyed':[{}]}", "m Apply {'f:spec':{'f:keyed':{'k:{\\'k\\':\\'d\\'}':{}}}}" },
                { "a", "{}", "m Apply {'f:spec':{}}" },
                { "c", "{'odd':[{'x':'y'}]}", "" }, /* nobody can say who */
                { "a", "{'odd':[{'x':'y'}]}", NULL },
        };
        struct fixture *f = *state;
        struct answer r;

        r = ASK(f, API_CREATE, &res_customresourcedefinitions,
                .body = Q("{'metadata':{'name':'ks.x.io'},'spec':{'group':'x.io','scope':'Namespaced','names':{'plural'"
                          ":"
                          "'ks','kind':'K'},'versions':[" KS_VERSION("v1", "true") "," KS_VERSION("v2",
                                                                                                  "false") "]}}"));
        assert_int_equal(r.code, 201);
        for (int i = 0; i < 2000 && ASK(f, API_LIST, &ks1, "default").code != 200; i++)
                nanosleep(&(struct timespec) { .tv_nsec = 2000000 }, NULL);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                bool apply = table[i].op[0] == 'a';
                const char *name = arena_printf(f->a, "k%zu", i).p;
                struct str body = arena_printf(f->a,
                                               "{'kind':'K','apiVersion':'x.io/v1','metadata':{'name':'%s'},'spec':%s}",
                                               name, table[i].spec);

                r = ASK(f, apply ? API_PATCH : API_CREATE, &ks1, "default", apply ? name : NULL,
                        .patch = API_PATCH_APPLY, .body = Q(body.p), .options.field_manager = STR("m"));
                if (table[i].owners)
                        assert_string_equal(owners(f, r), Q(table[i].owners));
                else
                        check_error(r, 500,
                                    "failed to create typed patch object (/k6; x.io/v1, Kind=K): .spec.odd: "
                                    "element 0: associative list without keys has an element that's a map type");
        }
        /* What is not of its type has no owners to be found. */
        assert_int_equal(ASK(f, API_CREATE, &ks1, "default",
                             .body = Q("{'kind':'K','apiVersion':'x.io/v1','metadata':{'name':'l'},'spec':{'sets':["
                                       "'a','b','c',{'d':1}]}}"))
                                         .code,
                         422);
        /* A text of a format may be any scalar to who applies: what it must be validation says. */
        check_error(ASK(f, API_PATCH, &ks1, "default", "day", .patch = API_PATCH_APPLY,
                        .body = Q("{'kind':'K','apiVersion':'x.io/v1','metadata':{'name':'day'},'spec':{'day':1}}"),
                        .options.field_manager = STR("n")),
                    422,
                    "K.x.io \"day\" is invalid: spec.day: Invalid value: \"int64\": spec.day in body must be of type "
                    "date: "
                    "\"int64\"");
        /* Another version's owners are in the way too. */
        check_error(ASK(f, API_PATCH, &ks2, "default", "k0", .patch = API_PATCH_APPLY,
                        .body = Q("{'kind':'K','apiVersion':'x.io/v2','spec':{'a':'c'}}"),
                        .options.field_manager = STR("n")),
                    409, "Apply failed with 1 conflict: conflict with \"m\" using x.io/v1: .spec.a");
}

/* What no version of a kind is called any more owns nothing. */
static void owners_of_versions_that_are_gone_are_dropped(void **state) {
        struct fixture *f = *state;

        assert_string_equal(
                        owners(f,
                               ASK(f, API_CREATE, &res_configmaps, "default", .options.field_manager = STR("m"),
                                   .body = "{\"metadata\":{\"name\":\"c\",\"managedFields\":[{\"manager\":\"o\","
                                           "\"operation\":\"Update\",\"apiVersion\":\"v0\",\"fieldsType\":\"FieldsV1\","
                                           "\"fieldsV1\":{\"f:data\":{}}}]},\"data\":{\"a\":\"b\"}}")),
                        "m Update {\"f:data\":{\".\":{},\"f:a\":{}}}");
}

/* Manifests that programs print have "creationTimestamp": null; quantities may be written in many ways. */
static void applying_the_same_again_changes_nothing(void **state) {
        static const char *const bodies[] = {
                "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'same','creationTimestamp':null},"
                "'data':{'a':'b'}}",
                "{'kind':'ResourceQuota','apiVersion':'v1','metadata':{'name':'same'},"
                "'spec':{'hard':{'requests.memory':'2048Mi'}},'status':{}}",
        };
        static const struct api_resource *const resources[] = { &res_configmaps, &res_resourcequotas };
        struct fixture *f = *state;
        const char *was[2];

        for (size_t k = 0; k < 4; k++) {
                struct answer r = ASK(f, API_PATCH, resources[k % 2], "default", "same", .patch = API_PATCH_APPLY,
                                      .body = Q(bodies[k % 2]), .options.field_manager = STR("m"));

                check_code(r, k < 2 ? 201 : 200);
                if (k >= 2)
                        assert_string_equal(at(f, r, ".metadata.resourceVersion"), was[k % 2]);
                was[k % 2] = at(f, r, ".metadata.resourceVersion");
                if (k == 1) /* times have seconds */
                        nanosleep(&(struct timespec) { .tv_sec = 1, .tv_nsec = 100000000 }, NULL);
        }
}

static void configs_are_named_and_have_no_managers(void **state) {
        static const char *const cases[][2] = {
                { "{'kind':'ConfigMap','apiVersion':'v1'}",
                  "the name of the object (c based on URL) was undeterminable: name must be provided" },
                { "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c','managedFields':[]}}",
                  "metadata.managedFields must be nil" },
                { "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'c'},'binaryData':{'a':'!!'}}",
                  "failed to convert new object (/c; /v1, Kind=ConfigMap) to proper version: unable to convert "
                  "unstructured object to /v1, Kind=ConfigMap: error decoding from json: illegal base64 data at input "
                  "byte 0" },
        };
        struct fixture *f = *state;
        struct answer r;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_APPLY,
                                .body = Q(cases[i][0]), .options.field_manager = STR("m")),
                            i == 2 ? 500 : 400, cases[i][1]);
        ASK(f, API_CREATE, &res_configmaps, "default", .body = Q("{'metadata':{'name':'c'},'data':{'a':'b'}}"));
        r = ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_MERGE,
                .body = arena_printf(f->a,
                                     "{\"metadata\":{\"managedFields\":[{\"manager\":\"%0129d\",\"operation\":"
                                     "\"Update\","
                                     "\"apiVersion\":\"v1\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:data\":{}}}]}"
                                     "}",
                                     0)
                                        .p);
        /* Objects that a patch has been in are shown, and looked at, in the order of their keys. */
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_JSON,
                        .body = Q("[{'op':'add','path':'/metadata','value':1},{'op':'add','path':'/data','value':2},"
                                  "{'op':'add','path':'/binaryData','value':[{'b':1,'a':2}]}]")),
                    422,
                    " \"\" is invalid: patch: Invalid value: "
                    "\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"binaryData\\\":[{\\\"b\\\":1,\\\"a\\\":2}],\\\"data\\\":2,"
                    "\\\"kind\\\":\\\"ConfigMap\\\",\\\"metadata\\\":1}\": json: cannot unmarshal array into Go struct "
                    "field ConfigMap.binaryData of type map[string][]uint8");
        assert_int_equal(r.code, 422);
        assert_non_null(strstr(r.message, "metadata.managedFields[0].manager: Too long: may not be more than 128 "
                                          "bytes"));
}

/* Upstream stores protobuf: what is empty comes back as none, and differs from nothing. */
static void what_is_applied_empty_is_kept_as_none(void **state) {
        struct fixture *f = *state;
        const char *slice = "{'kind':'EndpointSlice','apiVersion':'discovery.k8s.io/v1','metadata':{'name':'s'},"
                            "'addressType':'IPv4','endpoints':[],'ports':[]}";

        check(ASK(f, API_PATCH, &res_endpointslices, "default", "s", .patch = API_PATCH_APPLY, .body = Q(slice),
                  .options.field_manager = STR("a")),
              201, ".endpoints", "null");
        check(ASK(f, API_PATCH, &res_endpointslices, "default", "s", .patch = API_PATCH_MERGE,
                  .body = Q("{'endpoints':[]}"), .options.field_manager = STR("b")),
              200, ".metadata.generation", "1");
        check(ASK(f, API_CREATE, &res_secrets, "default", .body = Q("{'metadata':{'name':'n'},'data':{'a':null}}")),
              201, ".data", Q("{'a':''}"));
}

/* The count that only the server sets is somebody's nevertheless. */
static void who_creates_a_daemonset_owns_its_count(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_daemonsets, "default", .options.field_manager = STR("m"),
                              .body = Q("{'metadata':{'name':'d'}," DEPLOYMENT_SPEC "}"));

        check(r, 201, ".metadata.annotations", Q("{'deprecated.daemonset.template.generation':'1'}"));
        assert_non_null(strstr(owners(f, r), "{\"f:metadata\":{\"f:annotations\":{\".\":{},"
                                             "\"f:deprecated.daemonset.template.generation\":{}}}"));
}

static void an_empty_list_resets_managers(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_configmaps, "default",
            .body = "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"b\"}}");
        check(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_MERGE,
                  .body = "{\"metadata\":{\"managedFields\":null}}"),
              200, ".metadata.managedFields[0].operation", "Update");
        check(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_MERGE,
                  .body = "{\"metadata\":{\"managedFields\":[]}}"),
              200, ".metadata.managedFields", "(absent)");
}

static void a_status_has_no_owners_of_its_pod(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default",
            .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}");
        r = ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                .body = "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\","
                        "\"uid\":\"u\"}],\"labels\":{\"a\":\"b\"}}}");
        check(r, 200, ".metadata.managedFields[1].fieldsV1", "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}}");
}

static void what_is_off_has_a_manager_and_goes(void **state) {
        static const char pod[] =
                        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{"
                        "\"serviceAccountName\":\"default\",\"containers\":[{\"name\":\"c\",\"image\":\"i\","
                        "\"lifecycle\":{\"stopSignal\":\"SIGTERM\"},\"resources\":{\"claims\":[{\"name\":\"x\"}]}}]}}";
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        r = ASK(f, API_CREATE, &res_pods, "default", .body = pod, .options.dry_run = true);
        check(r, 201, ".spec.containers[0].lifecycle", "(absent)");
        check(r, 201, ".spec.containers[0].resources", "{}");
        assert_non_null(strstr(at(f, r, ".metadata.managedFields"), "\"f:lifecycle\":{\".\":{},\"f:stopSignal\":{}}"));
        r = ASK(f, API_PATCH, &res_pods, "default", "p", .patch = API_PATCH_APPLY, .options.field_manager = STR("a"),
                .body = pod);
        check(r, 201, ".spec.containers[0].lifecycle", "(absent)");
}

#define CLAIM                                                                                      \
        "{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}," \
        "\"volumeAttributesClassName\":\"gold\"}"

static void what_is_bootstrapped_has_upstreams_owners(void **state) {
        static const struct {
                const struct api_resource *resource;
                const char *name, *first, *second;
        } rows[] = {
                { &res_flowschemas, "exempt", "api-priority-and-fairness-config-consumer-v1 Apply status",
                  "api-priority-and-fairness-config-producer-v1 Update" },
                { &res_servicecidrs, "kubernetes", "kubernetes-service-cidr-controller Apply status",
                  "kube-apiserver Update {\"f:spec\":{\"f:cidrs\":{}}}" },
                { &res_ipaddresses, "10.96.0.1", "kube-apiserver Update {\"f:metadata\":{\"f:labels\"", "" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const char *text = owners(f, ASK(f, API_GET, rows[i].resource, "", rows[i].name));

                if (!strstr(text, rows[i].first) || !strstr(text, rows[i].second))
                        fail_msg("%s: %s", rows[i].name, text);
        }
}

static void what_the_stored_version_adds_is_owned(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_horizontalpodautoscalers_v1, "default",
                              .options.field_manager = STR("m"),
                              .body = "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,"
                                      "\"scaleTargetRef\":{\"kind\":\"D\",\"name\":\"d\"}}}");

        assert_non_null(strstr(owners(f, r), "\"f:targetCPUUtilizationPercentage\":{}"));
}

/* That version tells the use of the CPU apart from the other metrics, which come first from then on. */
static void what_the_version_of_a_request_does_not_keep_stays_owned(void **state) {
        struct fixture *f = *state;
        struct answer r;

        ASK(f, API_CREATE, &res_horizontalpodautoscalers, "default", .options.field_manager = STR("m"),
            .body = "{\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{\"kind\":\"D\","
                    "\"name\":\"d\"},\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{"
                    "\"type\":\"Utilization\",\"averageUtilization\":50}}},{\"type\":\"Resource\",\"resource\":{"
                    "\"name\":\"memory\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"1Mi\"}}}]}}");
        ASK(f, API_PATCH, &res_horizontalpodautoscalers_v1, "default", "h", .patch = API_PATCH_MERGE,
            .options.field_manager = STR("n"), .body = "{\"spec\":{\"maxReplicas\":4}}");
        r = ASK(f, API_GET, &res_horizontalpodautoscalers, "default", "h");
        check(r, 200, ".spec.metrics[0].resource.name", "memory");
        assert_non_null(strstr(owners(f, r), "\"f:metrics\":{}"));
}

/* Each has it in the words of its version, and conflicts are told in them. */
static void what_another_version_calls_otherwise_is_lost_too(void **state) {
#define SCALER(version, more)                                                                                      \
        "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/" version "\",\"metadata\":{\"name\":" \
        "\"h\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{\"kind\":\"D\",\"name\":\"d\"}," more "}}"
#define USE(percent)                                                                                               \
        "\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\"," \
        "\"averageUtilization\":" percent "}}}]"
        struct fixture *f = *state;
        struct request r = { API_PATCH,
                             &res_horizontalpodautoscalers_v1,
                             "default",
                             "h",
                             .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("m"),
                             .body = SCALER("v1", "\"targetCPUUtilizationPercentage\":50") };

        check_code(ask(f, r), 201);
        r.resource = &res_horizontalpodautoscalers;
        r.options.field_manager = STR("n");
        r.body = SCALER("v2", USE("60"));
        check_error(ask(f, r), 409,
                    "Apply failed with 1 conflict: conflict with \"m\": "
                    ".spec.targetCPUUtilizationPercentage");
        r.options.force = true;
        assert_string_equal(owners(f, ask(f, r)),
                            "m Apply {\"f:spec\":{\"f:maxReplicas\":{},\"f:scaleTargetRef\":{}}}\n"
                            "n Apply "
                            "{\"f:spec\":{\"f:maxReplicas\":{},\"f:metrics\":{},\"f:scaleTargetRef\":{\"f:kind\":{},"
                            "\"f:name\":{}}}}");
        ASK(f, API_PATCH, &res_horizontalpodautoscalers_v1, "default", "h", .patch = API_PATCH_MERGE,
            .options.field_manager = STR("o"), .body = "{\"spec\":{\"targetCPUUtilizationPercentage\":70}}");
        assert_null(strstr(owners(f, ASK(f, API_GET, &res_horizontalpodautoscalers, "default", "h")), "f:metrics"));
}

/* v1 has no word for it, but it was applied in v2. The metrics stay: what v1 says of none is that there is one. */
static void what_was_applied_in_another_version_goes(void **state) {
        struct fixture *f = *state;
        struct request r = { API_PATCH,
                             &res_horizontalpodautoscalers,
                             "default",
                             "h",
                             .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("m"),
                             .body = SCALER("v2", USE("60") ",\"behavior\":{\"scaleDown\":{}},\"minReplicas\":2") };

        check_code(ask(f, r), 201);
        r.resource = &res_horizontalpodautoscalers_v1;
        r.body = SCALER("v1", "\"minReplicas\":2");
        check_code(ask(f, r), 200);
        struct answer now = ASK(f, API_GET, &res_horizontalpodautoscalers, "default", "h");
        const struct json *spec = json_getc(now.body, "spec");
        assert_null(json_getc(spec, "behavior"));
        assert_int_equal(json_int(json_getc(spec, "minReplicas")), 2);
        assert_int_equal(json_int(json_at_path(json_item(json_getc(spec, "metrics"), 0), "resource", "target",
                                               "averageUtilization")),
                         60);
}

static void the_status_of_a_range_is_open(void **state) {
        static const char range[] = "{\"metadata\":{\"name\":\"r\"},\"spec\":{\"cidrs\":[\"10.9.0.0/24\"]},"
                                    "\"status\":{\"conditions\":[{\"type\":\"%s\",\"status\":\"True\",\"reason\":\"r\","
                                    "\"message\":\"\",\"lastTransitionTime\":\"2024-01-01T00:00:00Z\"}]}}";
        struct fixture *f = *state;
        struct answer r =
                        ASK(f, API_CREATE, &res_servicecidrs, .body = arena_cstr(f->a, arena_printf(f->a, range, "A")));

        check(r, 201, ".status.conditions[0].type", "A");
        r = ASK(f, API_UPDATE, &res_servicecidrs, .name = "r",
                .body = arena_cstr(f->a, arena_printf(f->a, range, "B")));
        check(r, 200, ".status.conditions[0].type", "B");
        assert_non_null(strstr(owners(f, r), "k:{\\\"type\\\":\\\"B\\\"}"));
}

static void a_status_keeps_metadata_but_not_a_wrong_identity(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_volumeattachments,
            .body = "{\"metadata\":{\"name\":\"v\"},\"spec\":{\"attacher\":\"a\",\"nodeName\":\"n\",\"source\":{"
                    "\"persistentVolumeName\":\"p\"}}}");
        check(ASK(f, API_PATCH, &res_volumeattachments, .name = "v", .sub = "status", .patch = API_PATCH_MERGE,
                  .body = "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
              200, ".metadata.labels", "(absent)");
        assert_non_null(strstr(ASK(f, API_PATCH, &res_volumeattachments, .name = "v", .sub = "status",
                                   .patch = API_PATCH_MERGE, .body = "{\"metadata\":{\"uid\":\"b\"}}")
                                               .message,
                               "metadata.uid: Invalid value: \"b\": field is immutable"));
}

static void a_name_that_is_applied_as_null_is_none(void **state) {
        static const char no_name[] = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":null}}";
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"b\"}}",
            .options.field_manager = STR("o"));
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_APPLY, .body = no_name,
                        .options.field_manager = STR("m")),
                    400, "the name of the object (c based on URL) was undeterminable: name must be provided");
        /* conflicts come before the place */
        assert_int_equal(ASK(f, API_PATCH, &res_configmaps, "default", "c", .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("m"),
                             .body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"c\","
                                     "\"namespace\":\"other\"},\"data\":{\"a\":\"c\"}}")
                                         .code,
                         409);
}

static void a_status_of_nothing_may_be_a_creation(void **state) {
        struct fixture *f = *state;

        check_error(ASK(f, API_PATCH, &res_services, "default", "s", "status", .patch = API_PATCH_APPLY,
                        .options.field_manager = STR("m"),
                        .body = "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"}}"),
                    422, "Service \"s\" is invalid: spec.ports: Required value");
        check_error(ASK(f, API_UPDATE, &res_services, "default", "s", "status",
                        .body = "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80}],"
                                "\"clusterIP\":\"10.96.0.9\"}}"),
                    422, "Service \"s\" is invalid: spec.clusterIPs: Required value");
        check_error(ASK(f, API_PATCH, &res_deployments, "default", "d", "status", .patch = API_PATCH_APPLY,
                        .options.field_manager = STR("m"),
                        .body = "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"d\"}}"),
                    404, "deployments.apps \"d\" not found");
}

static void nobody_gives_what_is_new_a_status(void **state) {
        static const char body[] =
                        "{\"kind\":\"DaemonSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"%s\"},"
                        "\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{"
                        "\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},"
                        "\"status\":{\"numberReady\":3,\"observedGeneration\":4}}";
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_daemonsets, "default",
                              .body = arena_cstr(f->a, arena_printf(f->a, body, "made")));

        check(r, 201, ".status.numberReady", "0");
        assert_null(json_at_path(r.body, "status", "observedGeneration"));
        r = ASK(f, API_PATCH, &res_daemonsets, "default", "applied", .patch = API_PATCH_APPLY,
                .options.field_manager = STR("m"), .body = arena_cstr(f->a, arena_printf(f->a, body, "applied")));
        check(r, 201, ".status.numberReady", "0");
        assert_null(json_at_path(r.body, "status", "observedGeneration"));
}

static void claim_templates_keep_what_claims_lose(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(
                        f, API_CREATE, &res_statefulsets, "default",
                        .body = "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"serviceName\":\"s\",\"selector\":{"
                                "\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},"
                                "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}},"
                                "\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"v\"},\"spec\":" CLAIM "}]}}");

        check(r, 201, ".spec.volumeClaimTemplates[0].spec.volumeAttributesClassName", "gold");
        r = ASK(f, API_CREATE, &res_persistentvolumeclaims, "default",
                .body = "{\"metadata\":{\"name\":\"v\"},\"spec\":" CLAIM "}");
        check(r, 201, ".spec.volumeAttributesClassName", "(absent)");
}

#define SCALE(spec) \
        "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"w\"},\"spec\":" spec "}"

static void nobody_has_no_replicas_before_a_scale(void **state) {
        struct fixture *f = *state;

        ASK(f, API_CREATE, &res_deployments, "default", .body = DEPLOYMENT, .options.field_manager = STR("maker"));
        /* a conflict is told before what is wrong */
        assert_int_equal(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_APPLY,
                             .options.field_manager = STR("a"), .body = SCALE("{\"replicas\":-1}"))
                                         .code,
                         409);
        assert_int_equal(
                        ASK(f, API_UPDATE, &res_deployments, "default", "w", "scale", .body = SCALE("{\"replicas\":0}"))
                                        .code,
                        200);
        check(ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_APPLY,
                  .options.field_manager = STR("a"), .body = SCALE("{\"replicas\":3}")),
              200, ".spec.replicas", "3");
        /* who leaves out what it has applied leaves none */
        ASK(f, API_PATCH, &res_deployments, "default", "w", "scale", .patch = API_PATCH_APPLY,
            .options.field_manager = STR("a"), .body = SCALE("{}"));
        check(ASK(f, API_GET, &res_deployments, "default", "w"), 200, ".spec.replicas", "0");
}

/* To upstream a list that is one value has changed when an empty list is in it where none was. */
static void an_empty_list_within_a_list_is_a_change(void **state) {
        struct fixture *f = *state;
#define ROLE(more)                                                                                             \
        "{\"metadata\":{\"name\":\"r\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"verbs\":[" \
        "\"get\"]" more "}]}"

        check(ASK(f, API_CREATE, &res_roles, "default", .options.field_manager = STR("a"), .body = ROLE("")), 201,
              ".metadata.managedFields[*].manager", "a");
        check(ASK(f, API_UPDATE, &res_roles, "default", "r", .options.field_manager = STR("b"), .body = ROLE("")), 200,
              ".metadata.managedFields[*].manager", "a");
        check(ASK(f, API_UPDATE, &res_roles, "default", "r", .options.field_manager = STR("b"),
                  .body = ROLE(",\"resourceNames\":[]")),
              200, ".metadata.managedFields[*].manager", "b");
        check(ASK(f, API_PATCH, &res_roles, "default", "r", .options.field_manager = STR("c"), .patch = API_PATCH_MERGE,
                  .body = ROLE(",\"nonResourceURLs\":[]")),
              200, ".metadata.managedFields[*].manager", "c");
}

static void a_dry_run_keeps_the_revision_that_was_sent(void **state) {
        struct fixture *f = *state;

        check(ASK(f, API_CREATE, &res_configmaps, "default", .options.dry_run = true,
                  .body = "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"7\"}}"),
              201, ".metadata.resourceVersion", "7");
        check(ASK(f, API_CREATE, &res_configmaps, "default", .options.dry_run = true,
                  .body = "{\"metadata\":{\"name\":\"c\",\"resourceVersion\":\"0\"}}"),
              201, ".metadata.resourceVersion", "0");
}

/* An object named so whose finalizers a/1 … a/n come in steps. */
static char *with_finalizers(struct fixture *f, char name, size_t n, size_t step) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b, "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%c\",\"finalizers\":[",
                   name);
        for (size_t i = 0; i < n; i++)
                buf_printf(&b, "%s\"a/%zu\"", i ? "," : "", i * step % n + 1);
        buf_addc(&b, "]}}");
        return arena_cstr(f->a, buf_str(&b));
}

/* Sets of many are made in another way than those of a few. */
/* Upstream takes it from no update that creates. */
static void what_is_applied_may_be_going_already(void **state) {
        struct fixture *f = *state;
        const char *going = "{'kind':'ConfigMap','apiVersion':'v1','metadata':{'name':'g','deletionTimestamp':"
                            "'2020-01-01T00:00:00Z'}}";

        for (int code = 201; code >= 200; code--) /* the second update finds it without finalizers */
                check(ASK(f, API_PATCH, &res_configmaps, "default", "g", .patch = API_PATCH_APPLY, .body = Q(going),
                          .options.field_manager = STR("a")),
                      code, ".metadata.deletionTimestamp", "2020-01-01T00:00:00Z");
        assert_int_equal(ASK(f, API_GET, &res_configmaps, "default", "g").code, 404);
        check(ASK(f, API_CREATE, &res_configmaps, "default",
                  .body = Q("{'metadata':{'name':'h','deletionTimestamp':"
                            "'2020-01-01T00:00:00Z'}}")),
              201, ".metadata.deletionTimestamp", "(absent)");
}

static void the_order_of_many_does_not_matter(void **state) {
        struct fixture *f = *state;
        static const enum api_patch patches[] = { API_PATCH_APPLY, API_PATCH_MERGE };

        for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
                const char *want = NULL;

                for (size_t k = 0; k < 2; k++) { /* 101 and 131 are prime: each comes once */
                        char name = (char) ('a' + i * 2 + k);
                        size_t step = k ? 37 : 1;
                        struct answer r;

                        if (patches[i] == API_PATCH_MERGE)
                                ASK(f, API_CREATE, &res_configmaps, "default", .body = with_finalizers(f, name, 0, 1));
                        r = ASK(f, API_PATCH, &res_configmaps, "default", (char[2]) { name }, .patch = patches[i],
                                .options.field_manager = STR("m"), .body = with_finalizers(f, name, 101, step));
                        assert_true(r.code < 300);
                        r = ASK(f, API_PATCH, &res_configmaps, "default", (char[2]) { name }, .patch = patches[i],
                                .options.field_manager = STR("m"), .body = with_finalizers(f, name, 131, step));
                        assert_true(r.code < 300);
                        if (k == 0)
                                want = owners(f, r);
                        else
                                assert_string_equal(owners(f, r), want);
                }
        }
}

int main(void) {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(an_empty_list_resets_managers, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(a_status_has_no_owners_of_its_pod, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_off_has_a_manager_and_goes, fixture_setup, fixture_teardown),
                TEST(every_write_says_who_owns_what),
                TEST(the_order_of_many_does_not_matter),
                TEST(what_admission_adds_is_owned_by_nobody),
                TEST(clients_can_reset_managed_fields),
                TEST(another_owner_is_a_conflict),
                TEST(what_is_sent_to_a_subresource_is_of_its_own_kind),
                TEST(scaling_takes_the_replicas),
                TEST(what_cannot_be_changed_is_not_owned),
                TEST(ten_updaters_are_remembered),
                TEST(bad_patches_are_refused_in_upstreams_words),
                TEST(custom_resources_are_owned_as_their_schema_says),
                TEST(owners_of_versions_that_are_gone_are_dropped),
                TEST(applying_the_same_again_changes_nothing),
                TEST(configs_are_named_and_have_no_managers),
                TEST(what_is_applied_empty_is_kept_as_none),
                TEST(who_creates_a_daemonset_owns_its_count),
                TEST(what_is_bootstrapped_has_upstreams_owners),
                TEST(what_the_stored_version_adds_is_owned),
                TEST(what_the_version_of_a_request_does_not_keep_stays_owned),
                TEST(what_another_version_calls_otherwise_is_lost_too),
                TEST(what_was_applied_in_another_version_goes),
                TEST(the_status_of_a_range_is_open),
                TEST(a_status_keeps_metadata_but_not_a_wrong_identity),
                TEST(a_name_that_is_applied_as_null_is_none),
                TEST(a_status_of_nothing_may_be_a_creation),
                TEST(nobody_gives_what_is_new_a_status),
                TEST(nobody_has_no_replicas_before_a_scale),
                TEST(an_empty_list_within_a_list_is_a_change),
                TEST(a_dry_run_keeps_the_revision_that_was_sent),
                TEST(what_is_applied_may_be_going_already),
                TEST(claim_templates_keep_what_claims_lose),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
