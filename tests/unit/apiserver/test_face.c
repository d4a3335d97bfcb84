/* What clients see over plain HTTP before they ask for an object: discovery, health, what HTTP itself refuses. */
#include "help.h"

#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "json/build.h"

/* What an answer has to have, each part by '\x1f'; "!" before what it must not have. */
struct exchange_case {
        const char *line, *headers, *parts, *body; /* body may be NULL */
};
#define AND "\x1f"

static void run(struct fixture *f, const struct exchange_case *c) {
        struct str rest = str_of(c->parts), part, r;

        r = talk_until(f,
                       arena_printf(f->a, "%s\r\n%sContent-Length: %zu\r\nConnection: close\r\n\r\n%s", c->line,
                                    c->headers, c->body ? strlen(c->body) : 0, c->body ? c->body : "")
                                       .p,
                       NULL);
        while (str_split(&rest, '\x1f', &part)) {
                bool not = part.p[0] == '!';

                if ((str_search(r, str_sub(part, not, part.n)) >= 0) == not )
                        fail_msg("%s: %.*s in\n%.*s", c->line, (int) part.n, part.p, (int) MIN(r.n, 2000), r.p);
        }
}

#define HOST "Host: x\r\n"
#define AGGREGATED(type, version) \
        HOST "Accept: application/" type ";g=apidiscovery.k8s.io;v=" version ";as=APIGroupDiscoveryList\r\n"

static void run_all(void **state, const struct exchange_case *cases, size_t n) {
        for (size_t i = 0; i < n; i++)
                run(*state, &cases[i]);
}

static void discovery_says_no_more_than_it_has_to(void **state) {
        static const struct exchange_case cases[] = {
                { "GET /apis/apps/v1 HTTP/1.1", HOST,
                  "!\r\nEtag: " AND
                  "{\"name\":\"deployments/status\",\"singularName\":\"\",\"namespaced\":true,\"kind\":" AND
                  "\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\"" },
                { "GET /apis HTTP/1.1", AGGREGATED("json", "v2"),
                  "\r\nEtag: " AND "{\"group\":\"\",\"version\":\"\",\"kind\":\"Deployment\"}" },
                { "GET /apis HTTP/1.1", AGGREGATED("vnd.kubernetes.protobuf", "v2"),
                  "\r\nContent-Type: application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=API" AND
                  "\r\n\r\nk8s" },
                { "GET /apis HTTP/1.1", AGGREGATED("json", "v2beta1"), " 406 " },
                { "GET /apis/networking.k8s.io/v1 HTTP/1.1", HOST, "\"storageVersionHash\":\"O4H8VxQhW5Y=\"" },
        };

        run_all(state, cases, ARRAY_SIZE(cases));
}

#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"

static void http_itself_is_as_strict_as_gos(void **state) {
        static const struct exchange_case cases[] = {
                { "GET /version HTTP/1.1", HOST "Expect: more\r\n", "HTTP/1.1 417 " },
                { "OPTIONS * HTTP/1.1", HOST, "HTTP/1.1 200 " AND "\r\nContent-Length: 0\r\n" },
                { "GET version HTTP/1.1", HOST, "HTTP/1.1 400 " },
                { "GET http://x/version HTTP/1.1", HOST, "HTTP/1.1 200 " },
                { "GET /openapi/v2/ HTTP/1.1", HOST, "HTTP/1.1 404 " },
                { "GET /openapi/v3/ HTTP/1.1", HOST, "HTTP/1.1 404 " AND "\r\nContent-Length: 0\r\n" },
                { "GET /openapi/v3/x HTTP/1.1", HOST "Accept: text/html\r\n", "HTTP/1.1 404 " },
                { "GET /openapi/v3/version HTTP/1.1", HOST "Accept: x\r\n",
                  "HTTP/1.1 200 " AND "\r\nContent-Length: 0\r\n" },
                { "GET /openapi/v3 HTTP/1.1", HOST "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n",
                  "HTTP/1.1 304 " },
        };

        run_all(state, cases, ARRAY_SIZE(cases));
}

static void media_types_are_those_of_upstream(void **state) {
#define REVIEWS "/apis/authentication.k8s.io/v1/selfsubjectreviews"
#define OPENAPI "application/com.github.proto-openapi.spec."
#define AS(type, shape) HOST "Accept: application/" type ";as=" shape ";g=meta.k8s.io;v=v1\r\n"
        static const struct exchange_case cases[] = {
                { "POST " CONFIGMAPS " HTTP/1.1", HOST "Content-Type: APPLICATION/Json\r\n",
                  "HTTP/1.1 201 " AND "\"manager\":\"unknown\"",
                  "{\"metadata\":{\"name\":\"a\"},\"data\":{\"b\":\"c\"}}" },
                { "DELETE " CONFIGMAPS "/none HTTP/1.1", HOST "Content-Type: text/plain\r\n", "HTTP/1.1 404 " },
                { "DELETE " CONFIGMAPS "/none HTTP/1.1", HOST "Content-Type: text/plain\r\n", "HTTP/1.1 415 ", "{}" },
                { "POST " CONFIGMAPS " HTTP/1.1", HOST "Content-Type: application/json;charset\r\n", "HTTP/1.1 415 ",
                  "{}" },
                { "DELETE " CONFIGMAPS "/none?gracePeriodSeconds=x HTTP/1.1", HOST, "HTTP/1.1 404 ", "{}" },
                { "PATCH " CONFIGMAPS "/a?fieldValidation=Ignore HTTP/1.1",
                  HOST "Content-Type: application/merge-patch+json\r\n", "\"message\":\"Invalid JSON Patch\"", "{" },
                { "POST " CONFIGMAPS "?fieldManager=%E2%80%8B HTTP/1.1", HOST,
                  "Invalid value: \\\"\\\\u200b\\\": ", "{}" },
                { "GET /api/v1/namespaces?watch=1&includeObject=x HTTP/1.1", AS("yaml", "Table"), "HTTP/1.1 400 " },
                { "GET " CONFIGMAPS "?fieldSelector=x&resourceVersionMatch=x HTTP/1.1", HOST, "can't understand 'x'" },
                { "DELETE " CONFIGMAPS "?fieldSelector=x%3Dy&resourceVersionMatch=x HTTP/1.1", HOST, "HTTP/1.1 422 " },
                { "DELETE " CONFIGMAPS "?fieldSelector=x%3Dy&gracePeriodSeconds=z HTTP/1.1", HOST,
                  "\\\"x\\\" is not a known field selector" },
                { "GET " CONFIGMAPS "?limit=x&timeoutSeconds=y HTTP/1.1", HOST, "parsing \\\"y\\\": " },
                { "GET " CONFIGMAPS "/none HTTP/1.1", AS("yaml", "Table"),
                  "404 " AND ": application/json\r\n" AND "{\n  \"kind\": \"Status\"" },
                { "GET " CONFIGMAPS "?labelSelector=none HTTP/1.1", AS("json", "PartialObjectMetadataList"),
                  ",\"items\":null}" },
                { "GET " CONFIGMAPS "?labelSelector=none HTTP/1.1", AS("json", "Table"), ",\"rows\":[]}" },
                { "GET /openid/v1/jwks HTTP/1.1", HOST "Accept: application/json\r\n",
                  "HTTP/1.1 406 " AND "Available representations: application/jwk-set+json\"" },
                { "GET /openid/v1/jwks HTTP/1.1", HOST "Accept: text/html, */*\r\n", "HTTP/1.1 200 " },
                { "GET /.well-known/openid-configuration HTTP/1.1", HOST "Accept: application/yaml\r\n",
                  "HTTP/1.1 406 " AND "\n  Available representations: application/json\n" },
                { "GET /apis/apps/v1 HTTP/1.1", HOST "Content-Type: text/plain\r\n",
                  "HTTP/1.1 406 " AND "Available representations: \"" },
                { "GET /apis/apps/v1 HTTP/1.1", HOST "Content-Type: text/plain\r\n",
                  "HTTP/1.1 415 " AND "\"415: Unsupported Media Type\"", "{}" },
                { "GET /apis/apps/v1 HTTP/1.1", HOST "Content-Type: application/yaml\r\n", "HTTP/1.1 200 " },
                { "GET /version HTTP/1.1", HOST "Content-Type: application/yaml\r\n", "HTTP/1.1 406 " },
                { "GET /apis HTTP/1.1", HOST "Content-Type: text/plain\r\n", "HTTP/1.1 200 " },
                { "GET /openapi/v3/apis/networking.k8s.io/v1 HTTP/1.1", HOST,
                  "\"required\":[\"resource\",\"name\"]" AND "\"required\":[\"parentRef\"]" },
                { "GET /openapi/v3/version HTTP/1.1", HOST, "\"gitVersion\":{\"type\":\"string\",\"default\":\"\"}" },
                { "GET /openapi/v3 HTTP/1.1", HOST, "\r\nContent-Type: text/plain; charset=utf-8\r\n" },
                { "GET /openapi/v2 HTTP/1.1", HOST "Accept: application/json;q=0.5, " OPENAPI "v2@v1.0+protobuf\r\n",
                  "\r\nContent-Type: " OPENAPI "v2.v1.0+protobuf\r\n" },
                { "GET /openapi/v2 HTTP/1.1", HOST "Accept: " OPENAPI "v2.v1+protobuf\r\n", "HTTP/1.1 406 " },
                { "GET /apis/rbac.authorization.k8s.io/v1/namespaces/default/roles HTTP/1.1", AS("json", "Table"),
                  ",\"rows\":null}" },
                { "POST " REVIEWS " HTTP/1.1", AS("json", "PartialObjectMetadata"),
                  "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{", "{}" },
                { "POST " REVIEWS " HTTP/1.1", HOST "Accept: application/vnd.kubernetes.protobuf\r\n",
                  "HTTP/1.1 201 " AND "\r\nContent-Type: application/vnd.kubernetes.protobuf\r\n", "{}" },
                { "POST " REVIEWS " HTTP/1.1", AS("json", "PartialObjectMetadataList"),
                  "HTTP/1.1 406 " AND "is not a list (*authentication.SelfSubjectReview)", "{}" },
        };

        run_all(state, cases, ARRAY_SIZE(cases));
}

static void what_is_not_there_is_told_as_upstream_tells_it(void **state) {
        static const struct exchange_case cases[] = {
                { "POST /api/v1/bindings HTTP/1.1", HOST, "HTTP/1.1 404 ", "{}" },
                { "POST /api/v1/configmaps HTTP/1.1", HOST, "HTTP/1.1 405 ", "{}" },
                { "GET " CONFIGMAPS "?watch=1&resourceVersion=x HTTP/1.1", HOST,
                  "HTTP/1.1 500 " AND "\"message\":\"resourceVersion: Invalid value: \\\"x\\\": strconv.ParseUint: " AND
                  "!\"reason\"" },
                { "GET /api/v1/componentstatuses/x HTTP/1.1", HOST,
                  "HTTP/1.1 404 " AND "componentstatus \\\"x\\\" not found" AND
                  "{\"name\":\"x\",\"kind\":\"componentstatus\"}" },
                { "GET /api/v1/componentstatuses HTTP/1.1", HOST, "\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[" },
                { "GET /api/v1/componentstatuses HTTP/1.1", AS("json", "PartialObjectMetadataList"),
                  "List\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{},\"items\":[" },
                { "GET /api/v1/componentstatuses HTTP/1.1", AS("json", "Table"),
                  "\"metadata\":{},\"columnDefinitions\"" },
        };

        run_all(state, cases, ARRAY_SIZE(cases));
}

#define GROUP "z.example"

/* What it says of itself in aggregated discovery is told as it is, but nothing while it is away. What is ours as well
 * is not told twice. */
static void other_servers_are_listed(void **state) {
        static const struct exchange_case cases[] = {
                { "GET /apis HTTP/1.1", AGGREGATED("json", "v2"),
                  "\"metadata\":{\"name\":\"" GROUP "\"" AND
                  "{\"version\":\"v9\",\"resources\":[],\"freshness\":\"Current\"},"
                  "{\"version\":\"v8\",\"freshness\":\"Stale\"}]" AND
                  "\"metadata\":{\"name\":\"events.k8s.io\",\"creationTimestamp\":null},\"versions\":[{\"version\":"
                  "\"v1\","
                  "\"freshness\":\"Stale\"}]" },
                { "GET / HTTP/1.1", HOST,
                  "\"/apis/" GROUP "\"," AND "\"/apis/" GROUP "/v9\"," AND "\"/apis/apps/v1\"," },
        };
        struct fixture *f = *state;
        struct remotes *r = xcalloc(1, sizeof(*r));

        r->arena = arena_new(0);
        atomic_store(&r->refs, 1);
        r->v = arena_array(r->arena, struct remote, r->n = 3);
        for (size_t i = 0; i < r->n; i++)
                r->v[i] = (struct remote) {
                        .group = i == 2 ? STR("events.k8s.io") : STR(GROUP),
                        .version = i == 2   ? STR("v1")
                                   : i == 1 ? STR("v8")
                                            : STR("v9"),
                        .current = i == 0,
                        .discovery = json_new(r->arena, json_build(r->arena, "{ version: 'v9', resources: [] }")),
                };
        catalog_set_remotes(f->s, r);
        run_all(state, cases, ARRAY_SIZE(cases));
}

/* Other servers' groups stand where the highest priority of their versions says, and versions as Kubernetes counts. */
static void groups_come_by_priority(void **state) {
        static const struct {
                const char *version;
                int priority;
        } services[] = { { "v1alpha1", 1 }, { "v1", 20000 }, { "v2", 17300 } };
        static const char *const order[] = { "\"name\":\"apiregistration.k8s.io\"", "\"" GROUP "/v2\"",
                                             "\"" GROUP "/v1\"", "\"" GROUP "/v1alpha1\"", "\"name\":\"apps\"" };
        struct fixture *f = *state;
        struct str r;

        for (size_t i = 0; i < ARRAY_SIZE(services); i++)
                check_code(ASK(f, API_CREATE, &res_apiservices,
                               .body = arena_printf(f->a,
                                                    "{\"metadata\":{\"name\":\"%s." GROUP
                                                    "\"},\"spec\":{\"group\":\"" GROUP
                                                    "\",\"version\":\"%s\",\"groupPriorityMinimum\":%d,"
                                                    "\"versionPriority\":15,\"service\":{\"namespace\":\"default\","
                                                    "\"name\":\"x\"}}}",
                                                    services[i].version, services[i].version, services[i].priority)
                                                       .p),
                           201);
        for (int i = 0; i < 500; i++) {
                r = talk_until(f, "GET /apis HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", NULL);
                if (str_search(r, str_of(order[1])) >= 0 && str_search(r, str_of(order[3])) >= 0)
                        break;
                usleep(10000);
        }
        for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
                ssize_t at = str_search(r, str_of(order[i]));

                if (at < 0)
                        fail_msg("%s is not where it has to be", order[i]);
                r = str_sub(r, (size_t) at, r.n);
        }
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_serve_setup, fixture_serve_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                T(discovery_says_no_more_than_it_has_to),
                T(groups_come_by_priority),
                T(http_itself_is_as_strict_as_gos),
                T(media_types_are_those_of_upstream),
                T(other_servers_are_listed),
                T(what_is_not_there_is_told_as_upstream_tells_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
