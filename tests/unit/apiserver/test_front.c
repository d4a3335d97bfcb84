/* The front door over plain HTTP: headers of every answer, places and deadlines, gzip, the audit log. */
#include "help.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <zlib.h>

#include "apiserver/audit/audit.h"
#include "apiserver/flow/flow.h"
#include "base/file.h"

static char dir[] = "/tmp/cube-front-XXXXXX";
static const char policy[] = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n"
                             "- level: None\n  nonResourceURLs: ['/livez*']\n"
                             "- level: RequestResponse\n  resources: [{group: '', resources: [configmaps]}]\n"
                             "  omitManagedFields: true\n"
                             "- level: Metadata\n  resources: [{group: '', resources: [nodes]}]\n"
                             "- level: Metadata\n  omitStages: [ResponseStarted]\n";

static char *file(const char *name) {
        return xprintf("%s/%s", dir, name);
}

static int setup(void **state) {
        struct fixture *f;
        struct error e = ERROR_INIT;
        _cleanup_free_ char *path = file("policy"), *log = file("audit.log");

        fixture_setup(state);
        f = *state;
        assert_int_equal(file_write(path, str_of(policy), 0600, &e), 0);
        unlink(log);
        assert_int_equal(audit_new(f->s,
                                   &(struct audit_options) { .policy_file = path,
                                                             .log_path = log,
                                                             .log = { .mode = AUDIT_BLOCKING, .max_event = 1 << 20 } },
                                   &f->s->audit, &e),
                         0);
        fixture_serve(f);
        return 0;
}

static struct str talk(struct fixture *f, const char *text) {
        return talk_until(f, text, NULL);
}

static struct str get(struct fixture *f, const char *path, const char *headers) {
        return talk(f,
                    arena_printf(f->a, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", path, headers).p);
}

struct talker {
        pthread_t thread;
        struct fixture *f; /* with an arena of its own */
        const char *text;
        struct str answer;
};

static void *talk_apart(void *arg) {
        struct talker *t = arg;

        t->answer = talk_until(t->f, t->text, "\r\n0\r\n\r\n");
        return NULL;
}

static struct str body_of(struct str answer) {
        ssize_t i = str_search(answer, STR("\r\n\r\n"));

        return i < 0 ? STR("") : str_sub(answer, (size_t) i + 4, answer.n);
}

static bool has(struct str s, const char *what) {
        return str_search(s, str_of(what)) >= 0;
}

/* Three seconds for the revision to come, as upstream's cache. */
static void a_read_waits_for_its_revision(void **state) {
        struct fixture *f = *state;
        int64_t before = now_mono_ms();
        struct talker t = { .f = &(struct fixture) { .store = f->store, .s = f->s, .a = arena_new(0) } };
        struct str r;

        t.text = arena_printf(f->a, "GET /api/v1/namespaces/default?resourceVersion=%llu HTTP/1.0\r\n\r\n",
                              (unsigned long long) store_revision(f->store) + 1)
                                 .p;
        pthread_create(&t.thread, NULL, talk_apart, &t);
        usleep(100000);
        ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"next\"}}");
        pthread_join(t.thread, NULL);
        if (!has(t.answer, "HTTP/1.0 200") || now_mono_ms() - before < 100)
                fail_msg("%s", arena_cstr(f->a, t.answer));
        before = now_mono_ms();
        r = get(f, "/api/v1/namespaces?resourceVersion=99999", "");
        assert_true(has(r, "HTTP/1.1 504") && has(r, "ResourceVersionTooLarge") && has(r, "\r\nRetry-After: 1\r\n"));
        assert_true(now_mono_ms() - before >= 3000);
        before = now_mono_ms(); /* who may not read need not wait to hear it */
        r = get(f, "/api/v1/namespaces?resourceVersion=99999", "Impersonate-User: nobody\r\n");
        assert_true(has(r, "HTTP/1.1 403") && now_mono_ms() - before < 3000);
        before = now_mono_ms(); /* nor does one of exactly that revision */
        r = get(f, "/api/v1/namespaces?resourceVersion=99999&resourceVersionMatch=Exact", "");
        assert_true(has(r, "HTTP/1.1 500") && now_mono_ms() - before < 3000);
        r = get(f, "/api/v1/namespaces?resourceVersion=99999&limit=1", "");
        assert_true(has(r, "HTTP/1.1 500") && now_mono_ms() - before < 3000);
        arena_free(t.f->a);
}

static void every_answer_has_its_headers(void **state) {
        struct fixture *f = *state;
        struct str r = get(f, "/api/v1/namespaces/default", "");

        assert_true(has(r, "HTTP/1.1 200"));
        assert_true(has(r, "\r\nAudit-Id: "));
        assert_true(has(r, "\r\nX-Kubernetes-Pf-Flowschema-Uid: ") &&
                    has(r, "\r\nX-Kubernetes-Pf-Prioritylevel-Uid: "));
        assert_true(has(get(f, "/none", "Audit-ID: mine-1\r\n"), "\r\nAudit-Id: mine-1\r\n"));
        assert_true(has(get(f, "/api/v1/pods", "Authorization: Bearer x\r\n"), "\r\nAudit-Id: ")); /* 401 */
        r = get(f, "/api/v1/pods", "Authorization: Bearer  x\r\n");
        assert_true(has(r, "HTTP/1.1 200") &&
                    has(r, "\r\nWarning: 299 - \"the provided Authorization header contains extra space before the "
                           "bearer token, and is ignored\"\r\n"));
        assert_true(has(get(f, "/api/v1/pods?timeout=soon", ""),
                        "invalid timeout specified in the request URL - time: invalid duration \\\"soon\\\"\""));
        assert_true(has(get(f, "/api/v1/pods?timeout=5", ""), " - time: missing unit in duration \\\"5\\\"\""));
        assert_true(has(get(f, "/api/v1/pods?timeout=5", "Impersonate-Group: g\r\n"), " - time: missing unit "));
        assert_true(has(get(f, "/api/v1/pods?timeout=5x", ""), " - time: unknown unit \\\"x\\\" in duration "));
        r = talk(f, "POST /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n");
        assert_true(has(r, "HTTP/1.1 413") && has(r, "\r\nAudit-Id: ") &&
                    has(r, "Request entity too large: limit is 3145728"));
        r = get(f, "/metrics", "");
        assert_true(has(r,
                        "apiserver_request_total{code=\"200\",component=\"apiserver\",dry_run=\"\",group=\"\","
                        "resource=\"namespaces\",scope=\"resource\",subresource=\"\",verb=\"GET\",version=\"v1\"} "));
        get(f, "/livez", "");
        r = get(f, "/metrics/slis", "");
        assert_true(has(r, "kubernetes_healthcheck{name=\"ping\",type=\"livez\"} 1") &&
                    has(r, "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"livez\"} 1\n") &&
                    has(r, "\nprocess_start_time_seconds ") && has(r, "\r\nProcess-Start-Time-Unix: ") &&
                    !has(r, "apiserver_request"));
        assert_true(has(get(f, "/metrics/slis", "Accept-Encoding: gzip\r\n"), "\r\nContent-Encoding: gzip\r\n"));
        assert_true(has(get(f, "/debug/api_priority_and_fairness/dump_priority_levels", ""),
                        "\nworkload-low,      0,            true,   false,       0,               0,                "
                        " "));
}

static void who_only_looks_like_an_account_is_none(void **state) {
        static const char review[] = "POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\r\nHost: x\r\n"
                                     "Connection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
                                     "Impersonate-User: system:serviceaccount:%s\r\n\r\n{}";
        static const struct {
                const char *name, *groups;
        } table[] = {
                { "foo:bar", "[\"system:serviceaccounts\",\"system:serviceaccounts:foo\",\"system:authenticated\"]" },
                { "Foo:bar", "[\"system:authenticated\"]" },
                { "foo:bar:x", "[\"system:authenticated\"]" },
                { "foo:", "[\"system:authenticated\"]" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                assert_true(has(talk(f, arena_printf(f->a, review, table[i].name).p),
                                arena_printf(f->a, "\"groups\":%s", table[i].groups).p));
}

static void every_part_of_an_impersonated_user_is_asked_for(void **state) {
        static const struct {
                const char *headers, *refused; /* NULL: by none */
        } table[] = {
                { "Impersonate-User: x\r\n", NULL },
                { "Impersonate-Uid: u\r\nImpersonate-Extra-A: b\r\nImpersonate-Group: h\r\nImpersonate-User: x\r\n",
                  "groups \\\"h\\\"" },
                { "Impersonate-Uid: u\r\nImpersonate-Extra-A%2fB: b\r\nImpersonate-Group: g\r\nImpersonate-User: x\r\n",
                  "cannot impersonate resource \\\"userextras/a/b\\\" in API group \\\"authentication.k8s.io\\\"" },
                { "Impersonate-Uid: u\r\nImpersonate-User: x\r\n", "uids.authentication.k8s.io \\\"u\\\"" },
                { "Impersonate-Uid: \r\nImpersonate-User: x\r\nImpersonate-Group: g\r\n", NULL },
                { "Impersonate-User: system:serviceaccount:a:b\r\n", "serviceaccounts \\\"b\\\"" },
                { "Impersonate-User: x\r\nImpersonate-Group: a<b\xe9\r\n", "groups \\\"a\\u003cb\\\\xe9\\\"" },
        };
        struct fixture *f = *state;

        check_code(ASK(f, API_PATCH, &res_clusterroles, NULL, "system:public-info-viewer", .patch = API_PATCH_MERGE,
                       .body = "{\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"users\"],\"verbs\":["
                               "\"impersonate\"]},{\"apiGroups\":[\"\"],\"resources\":[\"groups\"],"
                               "\"resourceNames\":[\"g\"],\"verbs\":[\"impersonate\"]}]}"),
                   200);
        check_code(ASK(f, API_DELETE, &res_clusterrolebindings, NULL, "all"), 200);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r = get(f, "/api/v1/secrets", table[i].headers);

                if (!has(r, table[i].refused ? table[i].refused : "User \\\"x\\\" cannot list resource"))
                        fail_msg("%zu: %" STR_FMT, i, STR_ARG(r));
        }
}

static void texts_of_clients_stay_texts(void **state) {
        struct fixture *f = *state;
        struct str r = get(f, "/api/v1/secrets?a=<b>", "Impersonate-Group: <i>\r\n");

        assert_true(has(r, "HTTP/1.1 500") && has(r, "\r\nContent-Type: text/plain; charset=utf-8\r\n") &&
                    has(r, "\r\nX-Content-Type-Options: nosniff\r\n"));
        assert_true(str_eqc(body_of(r), "Internal Server Error: \"/api/v1/secrets?a=&lt;b&gt;\": requested [{Group  "
                                        "&lt;i&gt;    }] without impersonating a user\n"));
        r = get(f, "/api/v1/secrets", "Impersonate-User: <i>\"x\r\n");
        assert_true(has(r, "HTTP/1.1 403") && has(r, "\r\nX-Content-Type-Options: nosniff\r\n") &&
                    has(r, "User \\\"\\u0026lt;i\\u0026gt;\\\\\\\"x\\\" cannot list"));
        r = talk(f, "DELETE /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_true(has(r, "HTTP/1.1 403") && has(r, "may not be deleted") && !has(r, "nosniff")); /* by admission */
        r = get(f, "/metrics", "Authorization: Bearer x y\r\n"); /* y is ignored, x is nobody */
        assert_true(has(r, "HTTP/1.1 401"));
        r = get(f, "/metrics", "");
        assert_true(has(r, "authentication_attempts{result=\"error\"} ") &&
                    has(r, "authenticated_user_requests{username=\"other\"} ") &&
                    has(r, "authorization_attempts_total{result=\"allowed\"} ") &&
                    has(r,
                        "apiserver_authorization_decisions_total{decision=\"allowed\",name=\"rbac\",type=\"RBAC\"} "));
        for (int i = 0; i < 2; i++) {
                r = get(f, i ? "/openid/v1/jwks/" : "/openid/v1/jwks", "");
                assert_true(has(r, "\r\nCache-Control: public, max-age=3600\r\n"));
        }
        assert_true(has(get(f, "/.well-known/openid-configuration/", ""), "\"jwks_uri\":"));
        assert_true(has(get(f, "/metrics/", ""), "HTTP/1.1 404"));
        r = get(f, "/", "");
        assert_true(has(r, "[\n    \"/.well-known/openid-configuration\",\n    \"/api\",\n    \"/api/v1\",\n    "
                           "\"/apis\",\n"
                           "    \"/apis/\",\n    \"/apis/admissionregistration.k8s.io\",\n"));
        assert_true(has(r, "\"/readyz/shutdown\",\n    \"/version\"\n  ]"));
        r = get(f, "/api/v1/namespaces", "Authorization: Bearer  x\r\n"); /* no token: two spaces */
        assert_true(has(r, "HTTP/1.1 200"));
        r = get(f, "/api/v1/namespaces", "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.eA\r\n");
        assert_true(has(r, "HTTP/1.1 200")); /* no WebSocket */
}

static void watches_are_checked_and_the_end_of_initial_events_has_a_blueprint(void **state) {
#define WATCH "/api/v1/namespaces/default/configmaps?watch=1&"
#define INITIAL_ONLY "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
#define INITIAL "/api/v1/namespaces/default/configmaps?" INITIAL_ONLY
        struct fixture *f = *state;
        struct str r = get(f, INITIAL "&timeoutSeconds=1", "");

        /* {"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":null} and a newline */
        assert_true(has(r, "{\"k8s.io/initial-events-end\":\"true\",\"kubernetes.io/initial-events-list-blueprint\":\""
                           "eyJraW5kIjoiQ29uZmlnTWFwTGlzdCIsImFwaVZlcnNpb24iOiJ2MSIsIm1ldGFkYXRhIjp7fSwiaXRlbXMiOm51"
                           "bGx9Cg==\"}"));
        r = get(f, "/apis/apps/v1/daemonsets?timeoutSeconds=1&" INITIAL_ONLY, "");
        assert_true(has(r, "\"annotations\":{\"deprecated.daemonset.template.generation\":\"0\","));
        r = get(f, "/apis/apps/v1/replicasets?timeoutSeconds=1&" INITIAL_ONLY, ""); /* what Go's own type has none of */
        assert_true(has(r, "\"spec\":{\"replicas\":0,\"selector\":null,"));
        r = get(f, WATCH "sendInitialEvents=true", "Accept: application/json;as=Table;v=v3;g=meta.k8s.io\r\n");
        assert_true(has(r, "HTTP/1.1 422")); /* before the format is looked at */
        r = get(f, "/api/v1/secrets?resourceVersionMatch=x&resourceVersion=1&fieldSelector=x%3Dy", "");
        assert_true(has(r, "HTTP/1.1 422")); /* and before fields */
        r = get(f, "/api/v1/watch/secrets?resourceVersionMatch=NotOlderThan&resourceVersion=0&timeoutSeconds=-1", "");
        assert_true(has(r, "HTTP/1.1 200")); /* as a list's */
        r = get(f, "/api/v1/endpoints?watch=1&fieldSelector=x%3Dy", "");
        assert_true(has(r, "HTTP/1.1 400") && has(r, "\r\nWarning: 299 - \"v1 Endpoints is deprecated in v1.33+"));
        r = get(f, "/api/v1/endpoints?limit=x", "Accept: application/json\r\n");
        assert_true(has(r, "HTTP/1.1 400") && has(r, "\r\nWarning: 299 - \"v1 Endpoints is deprecated in v1.33+"));
        for (int i = 0; i < 2; i++) /* of Events there is no cache that does not page, nor one that reads revisions */
                ASK(f, API_CREATE, &res_events, "default",
                    .body = Q(i ? "{'metadata':{'name':'e'},'involvedObject':{'namespace':'default'}}"
                                : "{'metadata':{'name':'f'},'involvedObject':{'namespace':'default'}}"));
        r = get(f, "/apis/events.k8s.io/v1/events?resourceVersion=0&limit=1", "");
        assert_true(has(r, "\"remainingItemCount\":1}"));
        r = get(f, "/api/v1/namespaces/default/events/e?resourceVersion=x", "");
        assert_true(has(r, "HTTP/1.1 400") && has(r, "invalid resource version: resourceVersion: Invalid value"));
        r = get(f, "/api/v1/namespaces/default/events/e?resourceVersion=999999999", "");
        assert_true(has(r, "HTTP/1.1 504") && !has(r, "Retry-After"));
        r = get(f, "/api/v1/secrets?fieldSelector=z%3D1,a%3D1", "");
        assert_true(has(r, "field label not supported: a\"")); /* the first in their order */
        r = get(f, "/api/v1/watch/namespaces/default/secrets/x", "Accept: application/cbor\r\n");
        assert_true(has(r, "application/vnd.kubernetes.protobuf, application/json;stream=watch"));
        r = get(f, WATCH "timeoutSeconds=-1", ""); /* ends at once */
        assert_true(has(r, "HTTP/1.1 200"));
        r = get(f, INITIAL, "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n");
        assert_true(has(r, "HTTP/1.1 406"));
        r = talk(f, "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.0\r\nContent-Length: 2\r\n"
                    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n\r\n{}");
        assert_true(has(r, "HTTP/1.1 406") || has(r, "HTTP/1.0 406")); /* nothing that has rows */
        r = talk(f, "POST /api/v1/namespaces/default/pods/p/eviction HTTP/1.0\r\nContent-Length: 2\r\n"
                    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n\r\n{}");
        assert_true(has(r, "HTTP/1.1 406") || has(r, "HTTP/1.0 406"));
        r = get(f, "/api/v1/watch/namespaces/default/configmaps/a?fieldSelector=metadata.name%3Db", "");
        assert_true(has(r, "HTTP/1.1 400") && has(r, "fieldSelector metadata.name doesn't match requested name"));
        r = get(f, "/api/v1/configmaps?watch=1", "Accept: application/yaml\r\n");
        assert_true(has(r, "HTTP/1.1 406") && has(r, "reason: NotAcceptable"));
        r = get(f, "/api/v1/namespaces/default?export=1", "");
        assert_true(has(r, "the export parameter, deprecated since v1.14, is no longer supported"));
}

static void what_is_not_there_is_told_as_upstream_does(void **state) {
        static const struct {
                const char *line, *status, *text;
        } table[] = {
                { "POST /api/v1/configmaps", "405", "the server does not allow this method on the requested resource" },
                { "DELETE /api/v1/configmaps", "405", "the server does not allow this method on the requested" },
                { "GET /api/v1/secrets", "200", "\"kind\":\"SecretList\"" },
                { "PATCH /api/v1/namespaces/default/configmaps", "405", "the server does not allow this method on" },
                { "HEAD /api/v1/secrets", "405", "" },
                { "PUT /api/v1/namespaces/default/pods/p/exec", "405", "the server does not allow this method on" },
                { "GET /api/v1/namespaces/default/bindings/b", "404", "the server could not find the requested res" },
                { "PUT /api/v1/configmaps", "405", "\"reason\":\"MethodNotAllowed\",\"details\":{},\"code\":405}" },
                { "GET /api/v1/nothing", "404", "\"reason\":\"NotFound\",\"details\":{},\"code\":404}" },
                { "GET /api/v2", "404", "\"message\":\"the server could not find the requested resource\"" },
                { "GET /apis/apps/v2", "404", "\"message\":\"the server could not find the requested resource\"" },
                { "GET /apis/apps/v2/pods", "404", "\"message\":\"the server could not find the requested" },
                { "GET /apis/none", "404", "404 page not found\n" },
                { "GET /index.html", "200", "\"/apis/apps/v1\",\n" },
                { "GET /apis/none/v1/pods", "404", "404 page not found\n" },
                { "GET /api/v1/namespaces/default/pods/p/log?tailLines=x", "400", "parsing \\\"x\\\": invalid syntax" },
                { "GET /api/v1/namespaces/default/pods/p/log?tailLines=-1&sinceSeconds=5&sinceTime=x", "422",
                  "PodLogOptions \\\"p\\\" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to "
                  "0, "
                  "[]: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified]" },
                { "DELETE /api/v1/namespaces/default/pods/p/log?tailLines=-1", "405", "does not allow this method" },
                { "HEAD /api/v1/namespaces/default/configmaps", "405", "" },
                { "ODD /api/v1/namespaces/default/configmaps/x", "405", "does not allow this method" },
                { "ODD /api/v1/namespaces/default/configmaps/x/y", "404", "could not find the requested resource" },
                { "POST /api/v1/namespaces/default/pods/p/status/x", "404", "could not find the requested resource" },
                { "POST /api/v2", "404", "\"message\":\"the server could not find the requested resource\"" },
                { "HEAD /version/", "405", "" }, /* upstream's router answers GET alone … */
                { "POST /api/v1", "405", "does not allow this method on the requested" },
                { "POST /apis", "200", "\"kind\":\"APIGroupList\"" }, /* … what stands beside it everything */
                { "PUT /apis/apps", "200", "\"kind\":\"APIGroup\"" },
                { "DELETE /livez/ping", "200", "ok" },
                { "POST /none", "404", "404 page not found\n" },
                { "GET /%76ersion", "200", "\"gitVersion\"" }, /* a path is what it means … */
                { "GET /api%2Fv1", "200", "\"kind\":\"APIResourceList\"" },
                { "GET /version%3Fx", "404", "404 page not found\n" }, /* … but for what would end it */
                { "OPTIONS //api/v1", "404", "404 page not found\n" },
                { "GET /livez/", "404", "404 page not found\n" },
                { "GET //api/v1/nodes", "404", "404 page not found\n" },
                { "GET /api/v1/namespaces/default?watch=1&limit=x", "200", "\"kind\":\"Namespace\"" },
                { "GET /api/v1/namespaces?limit=x", "400", "strconv.ParseInt: parsing \\\"x\\\": invalid syntax" },
                { "DELETE /api/v1/namespaces/a%25b", "400",
                  "Name parameter invalid: \\\"a%b\\\": may not contain '%'" },
                { "GET /api/v1/namespaces/..", "400", "Name parameter invalid: \\\"..\\\": may not be '..'" },
                { "GET /readyz/shutdown", "200", "ok" },
                { "GET /readyz?verbose&exclude=ping&exclude=b&exclude=a&exclude=b", "500", /* it has not been started */
                  "warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\nreadyz check failed\n" },
                { "DELETE /api/v1/namespaces/default?dryRun=Some", "422",
                  "is invalid: dryRun: Unsupported value: []string{\\\"Some\\\"}: supported values: " },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r = talk(f, arena_printf(f->a, "%s HTTP/1.0\r\n\r\n", table[i].line).p);

                if (!str_has_prefix(r, arena_printf(f->a, "HTTP/1.0 %s ", table[i].status)) || !has(r, table[i].text))
                        fail_msg("%s: %s", table[i].line, arena_cstr(f->a, r));
        }
        assert_true(has(get(f, "/none", ""), "\r\nX-Content-Type-Options: nosniff\r\n"));
}

static void a_group_that_nobody_serves_is_listed(void **state) {
        struct fixture *f = *state;
        struct str r = { 0 };

        each_word(name, "v2.another.example.com", "v1.nobody.example.com")
                ASK(f, API_CREATE, &res_apiservices,
                    .body = arena_printf(f->a,
                                         "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"group\":\"%s\",\"version\":"
                                         "\"%.2s\",\"groupPriorityMinimum\":1,\"versionPriority\":1}}",
                                         name, name + 3, name)
                                            .p);
        for (int i = 0; i < 200 && !has(r, "\"kind\":\"APIGroup\""); i++) { /* another thread looks */
                usleep(10000);
                r = get(f, "/apis/nobody.example.com", "");
        }
        assert_true(has(r, "\"preferredVersion\":{\"groupVersion\":\"nobody.example.com/v1\",\"version\":\"v1\"}"));
        r = get(f, "/apis", "");
        assert_in_range(str_search(r, STR("\"name\":\"nobody.example.com\"")), 1, /* v1 comes before v2 */
                        str_search(r, STR("\"name\":\"another.example.com\"")));
        assert_true(has(get(f, "/apis/nobody.example.com/v1", ""), "HTTP/1.1 404 "));
        r = get(f, "/apis", "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\n");
        assert_true(has(r, "\"name\":\"apps\"") && !has(r, "nobody.example.com"));
}

#define LEVEL "/apis/flowcontrol.apiserver.k8s.io/v1"

static int connected(struct fixture *f) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(http_server_port(f->s->http)) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        return fd;
}

/* A level with few seats, or none, for everybody who is anonymous. */
static void jail(struct fixture *f, const char *response, unsigned shares) {
        ASK(f, API_CREATE, &res_prioritylevelconfigurations,
            .body = arena_printf(f->a,
                                 "{\"metadata\":{\"name\":\"jail\"},\"spec\":{\"type\":\"Limited\",\"limited\":{"
                                 "\"nominalConcurrencyShares\":%u,\"borrowingLimitPercent\":0,\"limitResponse\":%s}}}",
                                 shares, response)
                                    .p);
        assert_int_equal(
                        ASK(f, API_CREATE, &res_flowschemas,
                            .body = "{\"metadata\":{\"name\":\"jail\"},\"spec\":{\"matchingPrecedence\":10,"
                                    "\"priorityLevelConfiguration\":{\"name\":\"jail\"},\"rules\":[{\"subjects\":[{"
                                    "\"kind\":\"Group\",\"group\":{\"name\":\"system:unauthenticated\"}}],"
                                    "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],"
                                    "\"namespaces\":[\"*\"]}]}]}}")
                                        .code,
                        201);
        flow_reconcile(f->s);
}

static void a_watch_over_a_websocket_has_an_event_in_each_message(void **state) {
        struct fixture *f = *state;
        struct str r, frames;

        ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"a\"}}");
        r = talk_until(f,
                       "GET " WATCH " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Protocol: base64.binary.k8s.io\r\n\r\n",
                       "\"name\":\"a\"");
        assert_true(has(r, "HTTP/1.1 101") && has(r, "ec-WebSocket-Protocol: base64.binary.k8s.io\r\n"));
        frames = body_of(r);
        assert_int_equal(frames.p[0], (char) 0x81); /* text */
        assert_true(has(frames, "{\"type\":\"ADDED\",\"object\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\""));
}

static void metrics_have_upstreams_names(void **state) {
        static const char *const lines[] = {
                "# TYPE apiserver_request_sli_duration_seconds histogram",
                "apiserver_request_duration_seconds_count{component=\"apiserver\",dry_run=\"\",group=\"\","
                "resource=\"endpoints\",scope=\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 2",
                "apiserver_response_sizes_bucket{component=\"apiserver\",group=\"\",resource=\"endpoints\",scope=\""
                "namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\",le=\"1000\"} 2",
                "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\","
                "subresource=\"\",version=\"v1\"} 1",
                "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"true\","
                "type=\"admit\"} 1",
                "etcd_request_duration_seconds_count{operation=\"create\",type=\"leases.coordination.k8s.io\"} 1",
                "etcd_requests_total{operation=\"create\",type=\"leases.coordination.k8s.io\"} 1",
                "apiserver_cache_list_total{index=\"\",resource_prefix=\"/services/endpoints\"} 2",
                "apiserver_cache_list_fetched_objects_total{index=\"\",resource_prefix=\"/configmaps\"} 3",
                "apiserver_cache_list_returned_objects_total{resource_prefix=\"/configmaps\"} 1",
                "# TYPE go_goroutines gauge",
                "apiserver_flowcontrol_current_executing_requests{flow_schema=\"global-default\",priority_level=\""
                "global-default\"} 1",
                "apiserver_flowcontrol_request_wait_duration_seconds_bucket{execute=\"true\",",
                "apiserver_flowcontrol_request_execution_seconds_count{flow_schema=\"global-default\",priority_level=\""
                "global-default\",type=\"regular\"} ",
                "apiserver_flowcontrol_request_queue_length_after_enqueue_bucket{flow_schema=\"global-default\","
                "priority_level=\"global-default\",le=\"0\"} 0\n",
                "apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"global-default\",priority_level=\""
                "global-default\"} 0\n",
                "apiserver_flowcontrol_priority_level_request_utilization_count{phase=\"waiting\",priority_level=\""
                "exempt\"} ",
                "apiserver_flowcontrol_latest_s{priority_level=\"exempt\"} 0\n",
                "apiserver_flowcontrol_upper_limit_seats{priority_level=\"exempt\"} 600",
                "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} 0",
                "aggregator_unavailable_apiservice{name=\"elsewhere.example.com\"} 1",
                "aggregator_unavailable_apiservice{name=\"v1.\"} 0",
                "apiserver_request_terminations_total{code=\"503\",component=\"aggregator\",group=\"example.com\","
                "resource=\"things\",scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"elsewhere\"} 1\n",
        };
        struct fixture *f = *state;
        int64_t late = now_mono_ms() + 20000;
        struct str r;

        ASK(f, API_CREATE, &res_leases, "default", .body = "{\"metadata\":{\"name\":\"a\"}}");
        ASK(f, API_CREATE, &res_configmaps, "nowhere", .body = "{\"metadata\":{\"name\":\"a\"}}");
        ASK(f, API_CREATE, &res_apiservices,
            .body = "{\"metadata\":{\"name\":\"elsewhere.example.com\"},\"spec\":{\"group\":\"example.com\","
                    "\"version\":\"elsewhere\",\"service\":{\"namespace\":\"default\",\"name\":\"x\"},"
                    "\"groupPriorityMinimum\":1,"
                    "\"versionPriority\":1,\"insecureSkipTLSVerify\":true}}");
        get(f, "/api/v1/namespaces/default/endpoints", "");
        get(f, "/api/v1/namespaces/default/endpoints", "");
        for (int i = 0; i < 3; i++)
                ASK(f, API_CREATE, &res_configmaps, "default",
                    .body = arena_printf(f->a, "{\"metadata\":{\"name\":\"c%d\",\"labels\":{\"n\":\"%d\"}}}", i, i).p);
        get(f, "/api/v1/namespaces/default/configmaps?labelSelector=n=1", "");
        get(f, "/livez/ping", "");
        do /* the first that is passed on; before, it is not known yet that somebody else serves it */
                r = get(f, "/apis/example.com/elsewhere/things", "");
        while (!has(r, "HTTP/1.1 503") && now_mono_ms() < late);
        r = get(f, "/metrics", "");
        for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
                if (!has(r, lines[i]))
                        fail_msg("%s", lines[i]);
}

static void a_write_takes_seats_for_those_who_watch(void **state) {
        static const char post[] = "POST /api/v1/namespaces/default/secrets?dryRun=All HTTP/1.1\r\nHost: x\r\n"
                                   "Connection: close\r\nContent-Length: 25\r\n\r\n{\"metadata\":{\"name\":\"a\"}}";
        struct fixture *f = *state;
        atomic_uint *watchers = rest_of(f->s, &res_secrets)->watchers;
        struct str r;

        jail(f, "{\"type\":\"Queue\",\"queuing\":{\"queues\":1,\"handSize\":1,\"queueLengthLimit\":5}}", 60);
        atomic_fetch_add(watchers, 25);
        assert_true(has(talk(f, post), "HTTP/1.1 201"));
        assert_true(has(get(f, "/metrics", ""),
                        "work_estimated_seats_sum{flow_schema=\"jail\",priority_level=\"jail\"} 3\n"));
        atomic_fetch_add(watchers, 600000); /* ten seats for half a minute */
        assert_true(has(talk(f, post), "HTTP/1.1 201"));
        atomic_fetch_sub(watchers, 600025);
        do /* those of the first go after 5 ms */
                r = get(f, "/metrics", "");
        while (has(r, "current_executing_seats{flow_schema=\"jail\",priority_level=\"jail\"} 13\n"));
        assert_true(has(r, "current_executing_seats{flow_schema=\"jail\",priority_level=\"jail\"} 10\n"));
        assert_true(has(r, "current_executing_requests{flow_schema=\"jail\",priority_level=\"jail\"} 0\n"));
        assert_true(has(r, "watch_count_samples_sum{flow_schema=\"jail\",priority_level=\"jail\"} 600050\n"));
}

/* A webhook that takes connections and says nothing: its socket. */
static int hole(struct fixture *f, unsigned timeout_s) {
        struct sockaddr_in at = { .sin_family = AF_INET };
        socklen_t n = sizeof(at);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bind(fd, (struct sockaddr *) &at, sizeof(at));
        listen(fd, 5);
        getsockname(fd, (struct sockaddr *) &at, &n);
        assert_int_equal(ASK(f, API_CREATE, &res_validatingwebhookconfigurations,
                             .body = arena_printf(f->a,
                                                  "{\"metadata\":{\"name\":\"hole\"},\"webhooks\":[{\"name\":\"a.b.c\","
                                                  "\"clientConfig\":{\"url\":\"https://127.0.0.1:%u/"
                                                  "\"},\"timeoutSeconds\":"
                                                  "%u,\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"],"
                                                  "\"rules\":[{\"operations\":[\"CREATE\"],\"apiGroups\":[\"\"],"
                                                  "\"apiVersions\":[\"v1\"],\"resources\":[\"configmaps\"]}]}]}",
                                                  ntohs(at.sin_port), timeout_s)
                                                     .p)
                                         .code,
                         201);
        return fd;
}

static void a_full_level_refuses(void **state) {
        static const char post[] = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\n"
                                   "Content-Length: 25\r\n\r\n{\"metadata\":{\"name\":\"c\"}}";
        struct fixture *f = *state;
        int webhook = hole(f, 30), fd = connected(f);
        struct str r;

        jail(f, "{\"type\":\"Reject\"}", 0);
        assert_true(has(get(f, "/api/v1/namespaces/default/pods", ""), "HTTP/1.1 200")); /* alone */
        send(fd, post, sizeof(post) - 1, MSG_NOSIGNAL);
        while (!has(get(f, "/metrics", ""), "executing_seats{flow_schema=\"jail\",priority_level=\"jail\"} 1\n"))
                ;
        r = get(f, "/api/v1/namespaces/default/pods", "");
        close(fd);
        close(webhook);
        assert_true(has(r, "HTTP/1.1 429") && has(r, "\r\nRetry-After: 1\r\n"));
        assert_true(str_eqc(body_of(r), "Too many requests, please try again later.\n"));
        assert_true(has(get(f, "/metrics", ""), "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"jail\","
                                                "priority_level=\"jail\",reason=\"concurrency-limit\"} 1"));
}

static void a_queued_request_is_refused_after_a_quarter_of_its_time(void **state) {
        struct fixture *f = *state;
        int64_t before = now_mono_ms();

        jail(f, "{\"type\":\"Queue\",\"queuing\":{\"queues\":1,\"handSize\":1,\"queueLengthLimit\":5}}", 0);
        assert_true(has(get(f, "/api/v1/namespaces/default/pods?timeout=400ms", ""), "HTTP/1.1 429"));
        assert_true(now_mono_ms() - before >= 90);
        assert_true(has(get(f, "/metrics", ""), "reason=\"time-out\""));
}

static void a_queued_request_whose_client_left_is_forgotten(void **state) {
        struct fixture *f = *state;
        static const char text[] = "GET /api/v1/namespaces/default/pods HTTP/1.1\r\nHost: x\r\n\r\n";
        int fd = connected(f);
        struct str dump;

        jail(f, "{\"type\":\"Queue\",\"queuing\":{\"queues\":1,\"handSize\":1,\"queueLengthLimit\":5}}", 0);
        send(fd, text, sizeof(text) - 1, MSG_NOSIGNAL);
        do
                dump = get(f, "/debug/api_priority_and_fairness/dump_requests", "");
        while (!has(dump, "\njail,              jail,           0,          0,                   "));
        assert_true(has(dump, "FlowDistingsher, ArriveTime,") && has(dump, "Z, 1,            0,          0s,"));
        dump = get(f, "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=1", "");
        assert_true(has(dump,
                        " UserName,         Verb,   APIPath,                         Namespace, Name,   APIVersion, "
                        "Resource, SubResource\n") &&
                    has(dump, "Z, system:anonymous, list,   /api/v1/namespaces/default/pods, default,   ,       v1,"
                              "         pods,     \n"));
        dump = get(f, "/debug/api_priority_and_fairness/dump_queues", "");
        assert_true(has(dump, "\njail,              0,      1,               0,                 0,          0.") &&
                    has(dump, "ss,  1,               1,           0.00300000ss\n"));
        close(fd);
        do
                dump = get(f, "/debug/api_priority_and_fairness/dump_requests", "");
        while (has(dump, "jail, "));
}

static void what_hangs_ends_with_its_timeout(void **state) {
        struct fixture *f = *state;
        int fd = hole(f, 30);
        struct str r;

        r = talk(f,
                 "POST /api/v1/namespaces/default/configmaps?timeout=300ms HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                 "Content-Type: application/json\r\nContent-Length: 25\r\n\r\n{\"metadata\":{\"name\":\"c\"}}");
        assert_true(has(r, "HTTP/1.1 504"));
        assert_true(has(r, "Content-Type: text/plain; charset=utf-8"));
        assert_true(has(r, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Timeout: request did not complete "
                           "within the allotted timeout\",\"reason\":\"Timeout\",\"details\":{},\"code\":504}\n"));
        close(fd);
}

/* Who does not need a body answers without it. */
static void what_comes_in_pieces_that_are_none_is_not_read(void **state) {
#define CM "/api/v1/namespaces/default/configmaps"
#define TO(method, path, headers) method " " path " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" headers
#define CHUNKS "Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        static const struct {
                const char *request, *has;
        } cases[] = {
                { TO("GET", CM "/none", CHUNKS), "HTTP/1.1 404 " },
                { TO("POST", "/none", CHUNKS), "HTTP/1.1 404 " },
                { TO("POST", CM, CHUNKS), "\"message\":\"invalid byte in chunk length\",\"code\":500}\n" },
                { TO("POST", CM, CHUNKS), "\r\nCache-Control: no-cache, private\r\n" },
                { TO("DELETE", CM "/none", CHUNKS), "HTTP/1.1 500 " },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str r = talk(f, cases[i].request);

                if (!has(r, cases[i].has) || !str_has_prefix(str_sub(r, 9, r.n), STR("4")) == !has(r, " 500 ") ||
                    !has(r, "\r\nAudit-Id: ") || !has(r, "\r\nConnection: close\r\n"))
                        fail_msg("%s: %.*s", cases[i].request, (int) r.n, r.p);
        }
}

/* A write that is under way ends as it would have, a watch as at its timeout; both are told that it is over. */
static void a_server_that_stops_lets_requests_end(void **state) {
        struct fixture *f = *state;
        struct talker t[] = {
                { .text = "GET /api/v1/namespaces/default/secrets?watch=1 HTTP/1.1\r\nHost: x\r\n\r\n" },
                { .text = "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nContent-Length: 25\r\n"
                          "\r\n{\"metadata\":{\"name\":\"c\"}}" },
        };
        struct fixture own[ARRAY_SIZE(t)];
        int fd = hole(f, 1);

        for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
                own[i] = (struct fixture) { .store = f->store, .s = f->s, .a = arena_new(0) };
                t[i].f = &own[i];
                pthread_create(&t[i].thread, NULL, talk_apart, &t[i]);
        }
        while (!has(get(f, "/metrics", ""), "verb=\"WATCH\",version=\"v1\"} 1\n") ||
               !has(get(f, "/metrics", ""), "current_inflight_requests{request_kind=\"mutating\"} 1\n"))
                usleep(5000);
        apiserver_stop(f->s, 3000);
        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                pthread_join(t[i].thread, NULL);
        assert_true(has(t[0].answer, "HTTP/1.1 200") && str_has_suffix(t[0].answer, STR("\r\n0\r\n\r\n")));
        assert_true(has(t[1].answer, "HTTP/1.1 500") && has(t[1].answer, "context deadline exceeded"));
        assert_true(has(t[1].answer, "\r\nConnection: close\r\n"));
        for (size_t i = 0; i < ARRAY_SIZE(t); i++)
                arena_free(own[i].a);
        close(fd);
}

static void large_answers_are_compressed(void **state) {
        struct fixture *f = *state;
        struct str plain, packed, body;
        _cleanup_buf_ struct buf data = BUF_INIT;
        z_stream z = { 0 };
        Bytef *out;

        for (unsigned i = 0; i < 60000; i++)
                buf_putc(&data, (char) ('a' + i * i % 26));
        for (int i = 0; i < 12; i++)
                ASK(f, API_CREATE, &res_configmaps, "default",
                    .body = arena_printf(f->a, "{\"metadata\":{\"name\":\"big-%d\"},\"data\":{\"x\":\"%" STR_FMT "\"}}",
                                         i, STR_ARG(buf_str(&data)))
                                            .p);
        plain = body_of(get(f, "/api/v1/configmaps", ""));
        assert_true(plain.n > 12 * 60000);
        packed = talk(f, "GET /api/v1/configmaps HTTP/1.0\r\nAccept-Encoding: br, gzip\r\n\r\n");
        assert_true(has(get(f, "/metrics", ""),
                        "apiserver_response_sizes_count{component=\"apiserver\",group=\"\",resource=\"configmaps\","
                        "scope=\"cluster\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 2\n"));
        assert_true(has(packed, "\r\nContent-Encoding: gzip\r\n") && has(packed, "\r\nVary: Accept-Encoding\r\n"));
        body = body_of(packed);
        assert_true(body.n < plain.n / 4);
        out = arena_alloc(f->a, plain.n);
        inflateInit2(&z, 15 + 16);
        z.next_in = (Bytef *) body.p;
        z.avail_in = (uInt) body.n;
        z.next_out = out;
        z.avail_out = (uInt) plain.n;
        assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
        inflateEnd(&z);
        assert_true(str_eq(str_n((char *) out, z.total_out), plain));
        plain = get(f, "/openapi/v3/apis/apps/v1?hash=0", "");
        assert_true(has(plain, "HTTP/1.1 301") && has(plain, "\r\nLocation: /openapi/v3/apis/apps/v1?hash="));
        plain = get(f,
                    arena_cstr(f->a, str_sub(plain, (size_t) str_search(plain, STR("/openapi")),
                                             (size_t) str_search(plain, STR("hash=")) + 133)),
                    "");
        assert_true(has(plain, "\r\nCache-Control: public, immutable\r\n") && has(plain, "\r\nExpires: "));
        assert_true(has(get(f, "/apis", ""), "\r\nCache-Control: no-cache, private\r\n"));
        assert_true(has(get(f, "/apis",
                            "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList\r\n"),
                        "\r\nCache-Control: public\r\n"));
        assert_false(has(get(f, "/openapi/v3/apis/apps/v1", "Accept-Encoding: gzip\r\n"), "content-encoding"));
        plain = get(f, "/openapi/v2", "");
        packed = get(f, "/openapi/v2", "Accept-Encoding: gzip\r\n");
        assert_true(has(packed, "\r\nContent-Encoding: gzip\r\n") && packed.n < plain.n / 4);
        assert_true(has(get(f, "/openapi/v2", "Accept-Encoding: br, GZIP; q=0.5\r\n"),
                        "\r\nContent-Encoding: gzip\r\n"));
        assert_false(has(get(f, "/openapi/v2", "Accept-Encoding: gzip;q=0\r\n"), "Content-Encoding"));
        assert_true(has(get(f, "/metrics/slis", "Accept-Encoding: gzip;q=0.5\r\n"), "\r\nContent-Encoding: gzip\r\n"));
        assert_false(has(get(f, "/metrics/slis", "Accept-Encoding: GZIP\r\n"), "Content-Encoding"));
        assert_false(has(get(f, "/api/v1/watch", ""), "Cache-Control"));
        assert_true(has(plain, "\r\nVary: Accept-Encoding\r\nVary: Accept\r\n"));
        assert_false(has(get(f, "/api/v1/configmaps", "Accept-Encoding: gzip;q=1\r\n"), "content-encoding"));
        assert_false(has(get(f, "/api/v1/namespaces/default", "Accept-Encoding: gzip\r\n"), "content-encoding"));
}

static void people_are_answered_with_lines(void **state) {
#define CURL "User-Agent: curl/8.5\r\n"
#define STATUS "\r\n\r\n{\n  \"kind\": \"Status\",\n"
        static const struct {
                const char *path, *headers, *code, *body;
        } table[] = {
                { "/api", CURL, "200", "\r\n\r\n{\n  \"kind\": \"APIVersions\",\n" },
                { "/apis/apps?pretty=0", CURL, "200", "\r\n\r\n{\"kind\":\"APIGroup\"," },
                { "/api/v1?pretty=true", "", "200", "\r\n\r\n{\n  \"kind\": \"APIResourceList\",\n" },
                { "/api/v1/none", CURL, "404", STATUS },
                { "/api/v1/none", "", "404", "\r\n\r\n{\"kind\":\"Status\"," },
                { "/api/v1/proxy/nodes/n", CURL, "404", STATUS },
                { "/api/v1/pods?timeout=x", "Accept: application/yaml\r\n", "400",
                  "\r\n\r\napiVersion: v1\ncode: 400\n" },
                { "/api/v1/pods?timeout=x", "Accept: application/json;pretty=1\r\n", "400", STATUS },
                { "/api/v1/pods", "Accept: text/html\r\n", "406", STATUS }, /* nothing that it accepts */
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r = get(f, table[i].path, table[i].headers);

                if (!str_eqc(str_sub(r, 9, 12), table[i].code) || !has(r, table[i].body))
                        fail_msg("%s: %" STR_FMT, table[i].path, STR_ARG(r));
        }
        assert_true(str_has_suffix(get(f, "/api", CURL), STR("\n}"))); /* which ends without one … */
        assert_true(str_has_suffix(get(f, "/api", ""), STR("}\n")));   /* … and with one when it is no other */
        assert_true(str_has_suffix(get(f, "/api/v1/namespaces/default", ""), STR("}\n")));
        assert_true(str_has_suffix(get(f, "/api/v1/namespaces", ""), STR("]}\n")));
        assert_true(str_has_suffix(get(f, "/api/v1/namespaces/none", ""), STR("}\n")));
}

static void what_strict_decoding_finds_is_told_in_the_order_of_the_text(void **state) {
        static const struct {
                const char *method, *type, *body, *warnings;
        } table[] = {
                { "POST /api/v1/namespaces/default/configmaps", "application/json",
                  "{\"metadata\":{\"name\":\"s\",\"name\":\"s\",\"zz\":1},\"data\":{\"a\":\"\",\"a\":\"\"},\"aa\":2}",
                  "duplicate field \"metadata.name\", unknown field \"metadata.zz\", duplicate field \"data.a\", "
                  "unknown "
                  "field \"aa\"" },
                { "PATCH /api/v1/namespaces/default/configmaps/s", "application/merge-patch+json",
                  "{\"zz\":1,\"metadata\":{\"b\":1,\"a\":1,\"b\":1},\"zz\":2}",
                  "duplicate field \"metadata.b\", duplicate field \"zz\", unknown field \"metadata.a\", unknown field "
                  "\"metadata.b\", unknown field \"zz\"" },
                { "PATCH /api/v1/namespaces/default/configmaps/s", "application/json-patch+json",
                  "[{\"op\":\"add\",\"path\":\"/a\",\"path\":\"/b\",\"value\":1,\"x\":1}]",
                  "json patch duplicate field \"[0].path\", json patch unknown field \"[0].x\", unknown field \"b\"" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str r = talk(f,
                                    arena_printf(f->a,
                                                 "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
                                                 "%s\r\nContent-Length: %zu\r\n\r\n%s",
                                                 table[i].method, table[i].type, strlen(table[i].body), table[i].body)
                                                    .p);
                _cleanup_buf_ struct buf got = BUF_INIT;
                struct str line;

                while (str_split(&r, '\n', &line))
                        if (str_has_prefix(line, STR("Warning: 299 - \"")))
                                for (size_t k = 16; k + 2 < line.n; k++) {
                                        if (k == 16 && got.n)
                                                buf_addc(&got, ", ");
                                        if (line.p[k] != '\\')
                                                buf_putc(&got, line.p[k]);
                                }
                if (!str_eqc(buf_str(&got), table[i].warnings))
                        fail_msg("%" STR_FMT, STR_ARG(buf_str(&got)));
        }
}

/* The audit log, once it has n lines. */
static struct json *log_lines(struct fixture *f, size_t n) {
        _cleanup_free_ char *path = file("audit.log");

        for (;;) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct json *list = json_new(f->a, json_new_array()), *line;
                struct str rest, one;

                assert_int_equal(file_read(path, 0, &b, NULL), 0);
                rest = arena_str(f->a, buf_str(&b));
                while (str_split(&rest, '\n', &one))
                        if (!str_empty(one) && json_parse(f->a, one, NULL, &line, NULL) == 0)
                                json_push(f->a, list, *line);
                if (json_len(list) >= n)
                        return list;
                usleep(5000);
        }
}

static const char *field(struct fixture *f, const struct json *line, const char *path) {
        return at(f, (struct answer) { .body = line }, path);
}

static void the_audit_log_has_what_the_policy_wants(void **state) {
        struct fixture *f = *state;
        const struct json *l, *line;

        get(f, "/livez/ping", "");
        get(f, "/api/v1/namespaces/default?x=1", "User-Agent: me\r\nAudit-ID: a1\r\nX-Forwarded-For: 10.0.0.9\r\n");
        talk(f, "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: "
                "application/yaml\r\nContent-Length: 38\r\n\r\n{metadata: {name: c}, data: {a: \"b\"}} ");
        get(f, "/api/v1/namespaces/default/configmaps/none", "");
        get(f, "/api/v1/nodes", "Authorization: Bearer x\r\n");
        l = log_lines(f, 4);
        line = json_item(l, 0);
        assert_string_equal(field(f, line, ".level"), "Metadata");
        assert_string_equal(field(f, line, ".stage"), "ResponseComplete");
        assert_string_equal(field(f, line, ".auditID"), "a1");
        assert_string_equal(field(f, line, ".requestURI"), "/api/v1/namespaces/default?x=1");
        assert_string_equal(field(f, line, ".verb"), "get");
        assert_string_equal(field(f, line, ".user.username"), "system:anonymous");
        assert_string_equal(field(f, line, ".sourceIPs"), "[\"10.0.0.9\",\"127.0.0.1\"]");
        assert_string_equal(field(f, line, ".objectRef.resource"), "namespaces");
        assert_string_equal(field(f, line, ".responseStatus.code"), "200");
        assert_string_equal(field(f, line, ".responseObject"), "(absent)");
        assert_string_equal(field(f, line, ".annotations.authorization\\.k8s\\.io/decision"), "allow");
        line = json_item(l, 1);
        assert_string_equal(field(f, line, ".verb"), "create");
        assert_string_equal(field(f, line, ".objectRef.name"), "c");
        assert_string_equal(field(f, line, ".requestObject.data.a"), "b");
        assert_string_equal(field(f, line, ".requestObject.kind"), "ConfigMap");
        assert_string_equal(field(f, line, ".requestObject.metadata.creationTimestamp"), "null");
        assert_string_equal(field(f, line, ".responseObject.kind"), "ConfigMap");
        assert_string_equal(field(f, line, ".responseObject.metadata.managedFields"), "(absent)");
        line = json_item(l, 2);
        assert_string_equal(field(f, line, ".responseStatus.reason"), "NotFound");
        assert_string_equal(field(f, line, ".responseStatus.code"), "404");
        line = json_item(l, 3);
        assert_string_equal(field(f, line, ".stage"), "ResponseStarted");
        assert_string_equal(field(f, line, ".responseStatus.message"), "Unauthorized");
        assert_string_equal(field(f, line, ".responseStatus.code"), "401");
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, fixture_serve_teardown)

static void a_scale_has_rows_of_its_own(void **state) {
        struct fixture *f = *state;
        struct str table;

        ASK(f, API_CREATE, &res_replicationcontrollers, "default",
            .body = "{\"metadata\":{\"name\":\"rc\"},\"spec\":{\"replicas\":3,\"template\":{\"metadata\":{\"labels\":{"
                    "\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"x\"}]}}}}");
        table = get(f, "/api/v1/namespaces/default/replicationcontrollers/rc/scale",
                    "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n");
        assert_true(str_search(table, STR("\"cells\":[\"rc\",3,0,\"")) > 0);
        assert_true(str_search(table, STR("{\"name\":\"Desired\",\"type\":\"integer\"")) > 0);
}

static void flow_schemas_are_shown_in_the_order_they_are_tried(void **state) {
#define FLOW(name, precedence)                                                                   \
        "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"matchingPrecedence\":" precedence "," \
        "\"priorityLevelConfiguration\":{\"name\":\"exempt\"}}}"
        const char *accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io\r\n";
        struct fixture *f = *state;
        struct str table;

        ASK(f, API_CREATE, &res_flowschemas, .body = FLOW("first", "700"));
        ASK(f, API_CREATE, &res_flowschemas, .body = FLOW("a-last", "7000"));
        table = get(f, "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", accept);
        assert_in_range(str_search(table, STR("[\"first\"")), 1, str_search(table, STR("[\"a-last\"")));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(every_answer_has_its_headers),
                T(texts_of_clients_stay_texts),
                T(every_part_of_an_impersonated_user_is_asked_for),
                T(who_only_looks_like_an_account_is_none),
                T(a_read_waits_for_its_revision),
                T(watches_are_checked_and_the_end_of_initial_events_has_a_blueprint),
                T(a_watch_over_a_websocket_has_an_event_in_each_message),
                T(metrics_have_upstreams_names),
                T(a_group_that_nobody_serves_is_listed),
                T(a_write_takes_seats_for_those_who_watch),
                T(what_is_not_there_is_told_as_upstream_does),
                T(a_full_level_refuses),
                T(a_queued_request_is_refused_after_a_quarter_of_its_time),
                T(a_queued_request_whose_client_left_is_forgotten),
                T(what_hangs_ends_with_its_timeout),
                T(what_comes_in_pieces_that_are_none_is_not_read),
                T(a_server_that_stops_lets_requests_end),
                T(large_answers_are_compressed),
                T(people_are_answered_with_lines),
                T(what_strict_decoding_finds_is_told_in_the_order_of_the_text),
                T(the_audit_log_has_what_the_policy_wants),
                T(flow_schemas_are_shown_in_the_order_they_are_tried),
                T(a_scale_has_rows_of_its_own),
        };
        _cleanup_free_ char *remove = NULL;
        int r;

        if (!mkdtemp(dir))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        remove = xprintf("rm -r %s", dir);
        return system(remove) || r;
}
