/* Who may do what: tokens and their reviews, the node authorizer, NodeRestriction, LimitRanger. */
#include "help.h"

#include "apiserver/auth/authn.h"
#include "json/build.h"

#define TOKEN_REVIEW "{\"spec\":{\"token\":\"%s\"}}"

static struct answer review(struct fixture *f, const char *token) {
        return ASK(f, API_CREATE, &res_tokenreviews, .body = arena_printf(f->a, TOKEN_REVIEW, token).p);
}

static const char *make_token(struct fixture *f, const char *spec) {
        struct answer r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = spec);

        assert_int_equal(r.code, 201);
        return at(f, r, ".status.token");
}

static void a_token_stands_for_its_service_account(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_account(f, "default");
        r = review(f, make_token(f, "{\"spec\":{}}"));
        check(r, 201, ".status.authenticated", "true");
        assert_string_equal(at(f, r, ".status.user.username"), "system:serviceaccount:default:default");
        assert_string_equal(at(f, r, ".status.user.groups[1]"), "system:serviceaccounts:default");
}

static void a_token_ends_with_its_account(void **state) {
        struct fixture *f = *state;
        const char *token;

        make_account(f, "default");
        token = make_token(f, "{\"spec\":{}}");
        check(review(f, token), 201, ".status.authenticated", "true");
        ASK(f, API_DELETE, &res_serviceaccounts, "default", "default");
        check(review(f, token), 201, ".status.authenticated", "(absent)");
        check(review(f, token), 201, ".status.error", "[invalid bearer token, serviceaccounts \"default\" not found]");
        make_account(f, "default");
        assert_int_equal(strncmp(at(f, review(f, token), ".status.error"),
                                 "[invalid bearer token, service account UID (", 44),
                         0);
}

/* What a token says about itself, and what is answered to it. */
static void claims_are_checked_one_after_the_other(void **state) {
        struct fixture *f = *state;
        static const char refused[] = "[invalid bearer token, %s]",
                          pod[] = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                                  "\"x\"}]}}",
                          issuer[] = "https://kubernetes.default.svc.cluster.local";
        const char *uid, *podid;
        int64_t now = now_wall_ns() / NSEC_PER_SEC;

        make_account(f, "default");
        uid = at(f, ASK(f, API_GET, &res_serviceaccounts, "default", "default"), ".metadata.uid");
        podid = at(f, ASK(f, API_CREATE, &res_pods, "default", .body = pod), ".metadata.uid");
        {
                const struct {
                        int nbf, iat, exp;
                        const char *audience, *ref, *name, *uid, *error;
                } table[] = {
                        { 0, 0, 9, issuer, "pod", "p", podid, NULL },
                        { 50, 50, 90, issuer, "pod", "p", podid, NULL },
                        { -90, -90, -50, issuer, "pod", "p", podid, NULL },
                        { 90, 0, 99, issuer, "pod", "p", podid, "service account token is not valid yet" },
                        { 0, 90, 99, issuer, "pod", "p", podid, "service account token is issued in the future" },
                        { -90, -90, -70, issuer, "pod", "p", podid, "service account token has expired" },
                        { -90, -90, -70, "vault", "pod", "p", podid,
                          "token audiences [\"vault\"] is invalid for the target audiences "
                          "[\"https://kubernetes.default.svc.cluster.local\"]" },
                        { 0, 0, 9, issuer, "pod", "q", podid, "service account token has been invalidated" },
                        { 0, 0, 9, issuer, "secret", "s", "x", "service account token has been invalidated" },
                        { 0, 0, 9, issuer, "node", "n", "x", "service account token has been invalidated" },
                        { 0, 0, 9, issuer, "pod", "p", "x",
                          arena_printf(f->a, "pod UID (%s) does not match service account pod ref claim (x)", podid)
                                          .p },
                };

                for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                        struct json claims =
                                        json_build(f->a,
                                                   "{iss:%c,sub:'system:serviceaccount:default:default',aud:[%c],"
                                                   "nbf:%l,iat:%l,exp:%l,kubernetes.io:{namespace:'default',"
                                                   "serviceaccount:{name:'default',uid:%c},%c:{name:%c,uid:%c}}}",
                                                   issuer, table[i].audience, now + table[i].nbf, now + table[i].iat,
                                                   now + table[i].exp, uid, table[i].ref, table[i].name, table[i].uid);
                        struct str token;

                        assert_int_equal(authn_sign(f->s->authn, f->a, &claims, &token, NULL), 0);
                        check(review(f, arena_cstr(f->a, token)), 201, ".status.error",
                              table[i].error ? arena_printf(f->a, refused, table[i].error).p : "(absent)");
                }
        }
}

static void a_bound_token_ends_with_its_pod(void **state) {
        struct fixture *f = *state;
        static const char pod[] =
                        "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}";
        const char *token;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default", .body = pod);
        token = make_token(f,
                           "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"p\"}}}");
        check(review(f, token), 201, ".status.user.extra.authentication\\.kubernetes\\.io/pod-name[0]", "p");
        ASK(f, API_DELETE, &res_pods, "default", "p");
        check(review(f, token), 201, ".status.error",
              "[invalid bearer token, service account token has been invalidated]");
}

static void a_token_is_bound_to_what_is_there(void **state) {
        struct fixture *f = *state;
        static const struct {
                const char *ref;
                int code;
                const char *text;
        } table[] = {
                { "\"kind\":\"Pod\",\"name\":\"p\"", 201, "" },
                { "\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"q\"", 404, "pods \"q\" not found" },
                { "\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"p\",\"uid\":\"x\"", 409,
                  "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (x) does not "
                  "match "
                  "the UID in record. The object might have been deleted and then recreated" },
                { "\"kind\":\"Service\",\"apiVersion\":\"v1\",\"name\":\"p\"", 400,
                  "cannot bind token to object of type /v1, Kind=Service" },
                { "\"kind\":\"Pod\",\"apiVersion\":\"apps/v1\",\"name\":\"p\"", 400,
                  "cannot bind token to object of type apps/v1, Kind=Pod" },
        };

        make_account(f, "default");
        ASK(f, API_CREATE, &res_pods, "default",
            .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                                .body = arena_printf(f->a, "{\"spec\":{\"boundObjectRef\":{%s}}}", table[i].ref).p),
                            table[i].code, table[i].text);
}

static void a_token_is_for_its_audience(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        check(review(f, make_token(f, "{\"spec\":{\"audiences\":[\"vault\"]}}")), 201, ".status.authenticated",
              "(absent)");
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                        .body = "{\"spec\":{\"expirationSeconds\":5}}"),
                    422,
                    "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5: may "
                    "not "
                    "specify a duration less than 10 minutes");
}

static void a_changed_token_is_worth_nothing(void **state) {
        struct fixture *f = *state;
        char *token;

        make_account(f, "default");
        token = arena_cstr(f->a, str_of(make_token(f, "{\"spec\":{}}")));
        token[strlen(token) / 2] ^= 1;
        check(review(f, token), 201, ".status.authenticated", "(absent)");
        check(review(f, "a.b.c"), 201, ".status.authenticated", "(absent)");
}

static void a_node_reads_what_its_pods_refer_to(void **state) {
        struct fixture *f = *state;
        struct str groups[] = { STR_INIT("system:nodes"), STR_INIT("system:authenticated") };
        struct api_user one = { .name = STR("system:node:n1"), .groups = groups, .n_groups = 2 };
        struct api_user two = { .name = STR("system:node:n2"), .groups = groups, .n_groups = 2 };

        make_account(f, "default");
        ASK(f, API_CREATE, &res_secrets, "default", .body = "{\"metadata\":{\"name\":\"s\"}}");
        ASK(f, API_CREATE, &res_secrets, "default", .body = "{\"metadata\":{\"name\":\"other\"}}");
        assert_int_equal(ASK(f, API_GET, &res_secrets, "default", "s", .user = &one).code, 403);
        ASK(f, API_CREATE, &res_pods, "default",
            .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\","
                    "\"image\":\"x\"}],"
                    "\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\"}}]}}");
        assert_int_equal(ASK(f, API_GET, &res_secrets, "default", "s", .user = &one).code, 200);
        assert_int_equal(ASK(f, API_GET, &res_secrets, "default", "other", .user = &one).code, 403);
        assert_int_equal(ASK(f, API_GET, &res_secrets, "default", "s", .user = &two).code, 403);
        assert_int_equal(ASK(f, API_LIST, &res_secrets, "default", .user = &one).code, 403);
        check_error(ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                        .body = "{\"status\":{\"phase\":\"Running\"}}", .user = &two),
                    403,
                    "pods \"p\" is forbidden: node \"n2\" can only update pod status for pods with spec.nodeName set "
                    "to itself");
        assert_int_equal(ASK(f, API_PATCH, &res_pods, "default", "p", "status", .patch = API_PATCH_MERGE,
                             .body = "{\"status\":{\"phase\":\"Running\"}}", .user = &one)
                                         .code,
                         200);
}

static void access_reviews_say_who_may(void **state) {
        struct fixture *f = *state;
        struct answer r;
        struct api_user jane = { .name = STR("jane") };

        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"}"
                          "}}"),
              201, ".status.allowed", "false");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"groups\":[\"system:masters\"],\"resourceAttributes\":{\"verb\":\"get\","
                          "\"resource\":\"pods\"}}}"),
              201, ".status.allowed", "true");
        assert_int_equal(ASK(f, API_CREATE, &res_subjectaccessreviews, .user = &jane, .body = "{}").code, 403);
        /* a path is a path, be it empty, and no resource */
        ASK(f, API_CREATE, &res_clusterroles,
            .body = "{\"metadata\":{\"name\":\"all\"},\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],"
                    "\"resources\":[\"*\"]}]}");
        ASK(f, API_CREATE, &res_clusterrolebindings,
            .body = "{\"metadata\":{\"name\":\"bob\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\","
                    "\"kind\":\"ClusterRole\",\"name\":\"all\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"bob\",\"resourceAttributes\":{\"verb\":\"get\"}}}"),
              201, ".status.allowed", "true");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"bob\",\"nonResourceAttributes\":{\"verb\":\"get\"}}}"),
              201, ".status.allowed", "false");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":"
                          "\"pods\","
                          "\"fieldSelector\":{\"rawSelector\":\"x\"},\"labelSelector\":{\"rawSelector\":\"a in\"}}}}"),
              201, ".status.evaluationError",
              "spec.resourceAttributes.fieldSelector ignored due to parse error; "
              "spec.resourceAttributes.labelSelector ignored due to parse error");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":"
                          "\"pods\",\"fieldSelector\":{\"rawSelector\":\"a=b=c\"}}}}"),
              201, ".status.evaluationError", "spec.resourceAttributes.fieldSelector ignored due to parse error");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":"
                          "\"pods\",\"fieldSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":\"New\"}]}}}}"),
              201, ".status.evaluationError", "spec.resourceAttributes.fieldSelector ignored due to parse error");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"list\",\"resource\":"
                          "\"pods\",\"fieldSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":\"New\"},"
                          "{\"key\":\"a\",\"operator\":\"In\",\"values\":[\"b\"]}]}}}}"),
              201, ".status.evaluationError",
              "spec.resourceAttributes.fieldSelector partially ignored due to parse error");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews, /* what only the server sets is no part of a question */
                  .body = "{\"metadata\":{\"uid\":\"u\",\"creationTimestamp\":\"2020-01-01T00:00:00Z\"},\"spec\":{"
                          "\"user\":\"jane\",\"resourceAttributes\":{\"verb\":\"get\"}}}"),
              201, ".metadata.creationTimestamp", "null");
        check(ASK(f, API_CREATE, &res_subjectaccessreviews,
                  .body = "{\"spec\":{\"user\":\"system:node:n\",\"groups\":[\"system:nodes\"],"
                          "\"resourceAttributes\":{\"verb\":\"list\",\"group\":\"resource.k8s.io\",\"resource\":"
                          "\"resourceslices\"}}}"),
              201, ".status.reason",
              "can only list/watch/deletecollection resourceslices with nodeName field selector");
        check_error(ASK(f, API_CREATE, &res_localsubjectaccessreviews, "default",
                        .body = "{\"metadata\":{\"namespace\":\"x\"},\"spec\":{\"user\":\"jane\"}}"),
                    400, "the namespace of the provided object does not match the namespace sent on the request");
        check(ASK(f, API_CREATE, &res_localsubjectaccessreviews, "default",
                  .body = "{\"spec\":{\"user\":\"jane\",\"resourceAttributes\":{\"namespace\":\"default\",\"verb\":"
                          "\"get\",\"resource\":\"pods\"}}}"),
              201, ".metadata.namespace", "default");
        check(ASK(f, API_CREATE, &res_localsubjectaccessreviews, "default", .options.field_manager = STR("me"),
                  .body = "{\"spec\":{\"groups\":[\"g\"],\"resourceAttributes\":{\"namespace\":\"default\"}}}"),
              201, ".metadata.managedFields[0].fieldsV1",
              "{\"f:spec\":{\"f:groups\":{},\"f:resourceAttributes\":{\".\":{},\"f:namespace\":{}}}}");
        r = ASK(f, API_CREATE, &res_selfsubjectreviews, .body = "{\"metadata\":{\"name\":\"x\"}}");
        check(r, 201, ".status.userInfo.username", "system:apiserver");
        check(r, 201, ".metadata.name", "(absent)"); /* made anew */
        assert_true(json_is(json_at_path(r.body, "metadata", "creationTimestamp"), JSON_STRING));
        check(ASK(f, API_CREATE, &res_selfsubjectrulesreviews, .body = "{\"spec\":{\"namespace\":\"default\"}}"), 201,
              ".spec", "{}");
        /* masters have cluster-admin's rule once. */
        check(ASK(f, API_CREATE, &res_selfsubjectrulesreviews, .body = "{\"spec\":{\"namespace\":\"default\"}}"), 201,
              ".status.nonResourceRules[1].verbs", "[\"get\"]");
}

static void a_limit_range_gives_and_forbids(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_limitranges, "default",
            .body = "{\"metadata\":{\"name\":\"l\"},\"spec\":{\"limits\":[{\"type\":\"Container\",\"default\":{\"cpu\":"
                    "\"500m\"},"
                    "\"defaultRequest\":{\"cpu\":\"100m\"},\"max\":{\"cpu\":\"1\"}}]}}");
        check(ASK(f, API_CREATE, &res_pods, "default",
                  .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}"
                          "}"),
              201, ".spec.containers[0].resources.requests.cpu", "100m");
        check(ASK(f, API_PATCH, &res_pods, "default", "p", "resize", .patch = API_PATCH_STRATEGIC,
                  .body = "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":null}}}]}}"),
              200, ".spec.containers[0].resources.limits.cpu", "500m");
        /* but not one that is being deleted */
        ASK(f, API_PATCH, &res_pods, "default", "p", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"finalizers\":[\"a/b\"]}}");
        assert_int_equal(ASK(f, API_DELETE, &res_pods, "default", "p").code, 200);
        assert_int_equal(ASK(f, API_PATCH, &res_pods, "default", "p", "resize", .patch = API_PATCH_STRATEGIC,
                             .body = "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"cpu\":"
                                     "null}}}"
                                     "]}}")
                                         .code,
                         422);
        check_error(ASK(f, API_CREATE, &res_pods, "default",
                        .body = "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
                                "\"x\",\"resources\":{"
                                "\"limits\":{\"cpu\":\"2\"}}}]}}"),
                    403, "pods \"q\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(a_token_stands_for_its_service_account),
                T(a_token_ends_with_its_account),
                T(a_bound_token_ends_with_its_pod),
                T(claims_are_checked_one_after_the_other),
                T(a_token_is_bound_to_what_is_there),
                T(a_token_is_for_its_audience),
                T(a_changed_token_is_worth_nothing),
                T(a_node_reads_what_its_pods_refer_to),
                T(access_reviews_say_who_may),
                T(a_limit_range_gives_and_forbids),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
