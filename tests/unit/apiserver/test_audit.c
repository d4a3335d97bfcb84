/* What the audit log keeps, and where it goes. */
#include "help.h"
#include "hook.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "apiserver/audit/audit.h"
#include "apiserver/webhook_client.h"
#include "base/file.h"
#include "base/metrics.h"

static char dir[] = "/tmp/cube-audit-XXXXXX";

static char *file(const char *name) {
        return xprintf("%s/%s", dir, name);
}

static void a_full_log_is_rotated(void **state) {
        _cleanup_free_ char *path = file("rotated.log"),
                            *count = xprintf("cd %s && test $(ls rotated*.log | wc -l) = 1 && test $(zcat "
                                             "rotated*.log.gz | wc -l) = 2048",
                                             dir);
        _cleanup_buf_ struct buf line = BUF_INIT;
        struct audit_log *l;

        for (int i = 0; i < 1023; i++)
                buf_putc(&line, 'x');
        buf_putc(&line, '\n');
        assert_int_equal(audit_log_open(&(struct audit_options) { .log_path = path,
                                                                  .max_size_mb = 1,
                                                                  .max_backups = 2,
                                                                  .compress = true,
                                                                  .log = { .buffer_size = 10000 } },
                                        &l, NULL),
                         0);
        for (int i = 0; i < 5 * 1024; i++)
                audit_log_write(l, buf_str(&line));
        audit_log_close(l);
        assert_int_equal(system(count), 0);
}

static void what_an_earlier_server_rotated_is_looked_after(void **state) {
        static const struct {
                const char *name;
                bool stays; /* compressed, for the same readers */
        } table[] = {
                { "2026-01-01T00-00-00.000", false }, /* too old, */
                { "2999-01-01T00-00-00.000", false }, /* or too much */
                { "2999-01-02T00-00-00.000", true },
                { "2999-01-03T00-00-00.000", true },
        };
        _cleanup_free_ char *path = file("new/sub/kept.log"), *none = file("new/sub/kept-x.log");
        struct audit_options o = { .log_path = path, .max_backups = 2, .max_age_days = 1, .compress = true };
        struct audit_log *l;
        struct stat st;

        assert_int_equal(audit_log_open(&(struct audit_options) { .log_path = path }, &l, NULL), 0);
        audit_log_close(l);
        assert_int_equal(file_write(none, STR("x"), 0600, NULL), 0);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *name = xprintf("%s/new/sub/kept-%s.log", dir, table[i].name);

                assert_int_equal(file_write(name, STR("x"), 0640, NULL), 0);
        }
        assert_int_equal(audit_log_open(&o, &l, NULL), 0);
        audit_log_close(l);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_free_ char *name = xprintf("%s/new/sub/kept-%s.log.gz", dir, table[i].name);

                assert_int_equal(stat(name, &st), table[i].stays ? 0 : -1);
                if (table[i].stays)
                        assert_int_equal(st.st_mode & 0777, 0640);
                name[strlen(name) - 3] = 0;
                assert_false(file_exists(name));
        }
        assert_true(file_exists(none));
}

#define RULE "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: None, "

static void policies_are_checked(void **state) {
        static const struct {
                const char *text, *error;
        } bad[] = {
                { "{kind: Policy, apiVersion: audit.k8s.io/v1beta1}",
                  "failed decoding: no kind \"Policy\" is registered for version \"audit.k8s.io/v1beta1\" in scheme "
                  "\"k8s.io/apiserver/pkg/audit/scheme.go:30\"" },
                { "", "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy" },
                { "{kind: Event, apiVersion: audit.k8s.io/v1}",
                  "failed decoding: converting (v1.Event) to (audit.Policy): unknown conversion" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: x}",
                  "failed decoding: json: cannot unmarshal string into Go struct field Policy.rules of type "
                  "[]v1.PolicyRule" },
                { RULE "users: bob}]}",
                  "failed decoding: json: cannot unmarshal string into Go struct field PolicyRule.rules.users of type "
                  "[]string" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: 5}]}",
                  "failed decoding: json: cannot unmarshal number into Go struct field PolicyRule.rules.level of type "
                  "v1.Level" },
                { RULE "omitManagedFields: 'yes'}]}",
                  "failed decoding: json: cannot unmarshal string into Go struct field PolicyRule.rules."
                  "omitManagedFields of type bool" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1}", "loaded illegal policy with 0 rules" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: All}, {}]}",
                  "[rules[0].level: Unsupported value: \"All\": supported values: \"None\", \"Metadata\", \"Request\", "
                  "\"RequestResponse\", rules[1].level: Required value]" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: None, omitStages: [X]}]}",
                  "rules[0].omitStages[0]: Invalid value: \"X\": allowed stages are "
                  "RequestReceived,ResponseStarted,ResponseComplete,Panic" },
                { RULE "nonResourceURLs: [metrics]}]}",
                  "rules[0].nonResourceURLs[0]: Invalid value: \"metrics\": non-resource URL rules must begin with a "
                  "'/' character" },
                { RULE "nonResourceURLs: ['/a*b']}]}",
                  "rules[0].nonResourceURLs[0]: Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the "
                  "final character of the rule" },
                { RULE "nonResourceURLs: [/a], namespaces: [b]}]}",
                  "rules[0].nonResourceURLs: Invalid value: []string{\"/a\"}: rules cannot apply to both regular "
                  "resources and non-resource URLs" },
                { RULE "resources: [{group: '', resourceNames: [a]}]}]}",
                  "rules[0].resources.resourceNames: Invalid value: []string{\"a\"}: using resourceNames requires at "
                  "least one resource" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct audit_policy *p;

                assert_int_equal(audit_policy_parse(str_of(bad[i].text), &p, &e), -EINVAL);
                assert_string_equal(error_text(&e), bad[i].error);
        }
}

static void rules_match_as_upstreams(void **state) {
        static const struct {
                const char *rule, *resource, *sub, *path;
                bool match;
        } cases[] = {
                { "resources: [{group: '', resources: [pods]}]", "pods", "", "", true },
                { "resources: [{group: '', resources: [pods]}]", "pods", "log", "", false },
                { "resources: [{group: '', resources: ['pods/*']}]", "pods", "log", "", true },
                { "resources: [{group: '', resources: ['pods/*']}]", "pods", "", "", true },
                { "resources: [{group: '', resources: ['*']}]", "pods", "log", "", true },
                { "resources: [{group: '', resources: ['*/*']}]", "pods", "log", "", false },
                { "resources: [{group: '', resources: ['*/scale']}]", "rcs", "scale", "", true },
                { "resources: [{group: apps}]", "pods", "", "", false },
                { "resources: [{group: '', resources: [pods], resourceNames: [p]}]", "pods", "", "", true },
                { "resources: [{group: '', resources: [pods], resourceNames: [q]}]", "pods", "", "", false },
                { "namespaces: [kube]", "pods", "", "", true },
                { "namespaces: ['']", "pods", "", "", false },
                { "nonResourceURLs: ['/api*']", "", "", "/apis/x", true },
                { "nonResourceURLs: ['/api*']", "pods", "", "", false },
                { "nonResourceURLs: ['*']", "", "", "/logs/kubelet.log", true },
                { "nonResourceURLs: [/metrics]", "", "", "/metrics/slis", false },
                { "users: [other]", "pods", "", "", false },
                { "userGroups: [g2]", "pods", "", "", true },
                { "verbs: [list]", "pods", "", "", false },
        };
        struct str groups[] = { STR("g1"), STR("g2") };
        struct api_user u = { .name = STR("me"), .groups = groups, .n_groups = 2 };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text = xprintf("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: "
                                                    "Metadata\n  %s\n",
                                                    cases[i].rule);
                struct attributes at = { .verb = "get",
                                         .resource = str_of(cases[i].resource),
                                         .subresource = str_of(cases[i].sub),
                                         .path = str_of(cases[i].path) };
                struct audit_policy *p;

                if (str_empty(at.path)) {
                        at.namespace = STR("kube");
                        at.name = STR("p");
                }
                assert_int_equal(audit_policy_parse(str_of(text), &p, NULL), 0);
                if ((audit_policy_decide(p, &u, &at).level == AUDIT_METADATA) != cases[i].match)
                        fail_msg("%s", cases[i].rule);
                audit_policy_free(p);
        }
}

/* The rules' settings go over the policy's; stages are those of both. */
static void a_rule_overrides_its_policy(void **state) {
        static const struct {
                const char *policy, *rule;
                bool managed;
                unsigned stages;
        } cases[] = {
                { "omitManagedFields: false", "omitManagedFields: true", true, 0 },
                { "omitManagedFields: true", "verbs: [get]", true, 0 },
                { "omitManagedFields: true", "omitManagedFields: false", false, 0 },
                { "omitStages: [RequestReceived]", "omitStages: [Panic, RequestReceived]", false,
                  1U << AUDIT_RECEIVED | 1U << AUDIT_PANIC },
        };
        struct api_user u = { .name = STR("me") };
        struct attributes at = { .verb = "get", .path = STR("/x") };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_free_ char *text = xprintf("apiVersion: audit.k8s.io/v1\nkind: Policy\n%s\nrules:\n- level: "
                                                    "Request\n  %s\n",
                                                    cases[i].policy, cases[i].rule);
                struct audit_decision d;
                struct audit_policy *p;

                assert_int_equal(audit_policy_parse(str_of(text), &p, NULL), 0);
                d = audit_policy_decide(p, &u, &at);
                assert_int_equal(d.level, AUDIT_REQUEST);
                assert_int_equal(d.omit_managed_fields, cases[i].managed);
                assert_int_equal(d.omit_stages, cases[i].stages);
                audit_policy_free(p);
        }
}

/* ---- the webhook ---- */

static struct audit_webhook *webhook(void **state, struct str url, struct str ca) {
        _cleanup_free_ char *path = file("kubeconfig"), *flag = xprintf("audit-webhook-config-file=%s", path);
        _cleanup_free_ char *text = xprintf("current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\n"
                                            "clusters:\n- name: a\n  cluster: {server: \"%" STR_FMT "\", "
                                            "certificate-authority-data: \"%" STR_FMT "\"}\n",
                                            STR_ARG(url), STR_ARG(ca));
        const char *const args[] = { flag, "audit-webhook-batch-max-size=2", "audit-webhook-batch-max-wait=50ms",
                                     "audit-webhook-initial-backoff=20ms", NULL };
        struct audit_webhook *h;
        struct error e = ERROR_INIT;

        assert_int_equal(file_write(path, str_of(text), 0600, &e), 0);
        fixture_setup_with(state, args);
        if (audit_webhook_new(((struct fixture *) *state)->s, &h, &e) < 0)
                fail_msg("%s", error_text(&e));
        return h;
}

static void webhook_end(void **state, struct audit_webhook *h) {
        struct fixture *f = *state;

        audit_webhook_stop(h);
        webhooks_stop(f->s->webhooks);
        audit_webhook_free(h);
        fixture_teardown(state);
}

static void a_webhook_gets_events_in_batches(void **state) {
        struct hook *server = hook_start();
        struct arena *a = arena_new(0);
        struct audit_webhook *h;
        struct json *config;

        json_parse(a, str_of(hook_config(server, a, "/audit")), NULL, &config, NULL);
        hook_answers(server, "/audit", "{}");
        h = webhook(state, json_str(json_getc(config, "url")), json_str(json_getc(config, "caBundle")));
        for (int i = 1; i <= 3; i++)
                audit_webhook_write(
                                h,
                                arena_printf(a, "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"n\":%d}", i));
        while (hook_calls(server, "/audit") < 2) /* two at once, the third when it has waited */
                usleep(2000);
        assert_string_equal(arena_cstr(a, hook_asked(server, a, "/audit")),
                            "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[{"
                            "\"n\":3}]}\n");
        audit_webhook_write(h, STR("{\"n\":4}"));
        audit_webhook_stop(h); /* does not leave it behind */
        assert_int_equal(hook_calls(server, "/audit"), 3);
        webhook_end(state, h);
        hook_stop(server);
        arena_free(a);
}

static void what_a_webhook_does_not_take_is_counted(void **state) {
        struct audit_webhook *h = webhook(state, STR("https://127.0.0.1:1"), STR(""));
        bool counted = false;

        audit_webhook_write(h, STR("{}"));
        while (!counted) { /* after five attempts */
                _cleanup_buf_ struct buf b = BUF_INIT;

                usleep(5000);
                metrics_collect(&b);
                counted = str_search(buf_str(&b), STR("apiserver_audit_error_total{plugin=\"webhook\"} 1\n")) >= 0;
        }
        audit_webhook_write(h, STR("{}"));
        webhook_end(state, h);
}

/* ---- requests that wait for their events, over plain HTTP ---- */

static void write_file(const char *name, const char *text) {
        _cleanup_free_ char *path = file(name);

        assert_int_equal(file_write(path, str_of(text), 0600, NULL), 0);
}

static struct str say(struct fixture *f, const char *request) {
        struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(apiserver_port(f->s)) };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct str text = str_of(request);
        _cleanup_buf_ struct buf b = BUF_INIT;
        ssize_t n;

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *) &to, sizeof(to)), 0);
        assert_int_equal(send(fd, text.p, text.n, MSG_NOSIGNAL), (ssize_t) text.n);
        while ((n = recv(fd, buf_reserve(&b, 65536), 65536, 0)) > 0)
                b.n += (size_t) n;
        close(fd);
        return arena_str(f->a, buf_str(&b));
}

static struct str get(struct fixture *f, const char *path) {
        return say(f, arena_printf(f->a, "GET %s HTTP/1.0\r\n\r\n", path).p);
}

#define BY_ADMIN " HTTP/1.0\r\nAuthorization: Bearer t"
#define ALL "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: RequestResponse}]}"

/* A server with these flags beside the policy's and the log's. */
static struct fixture *serve(void **state, const char *a, const char *b, const char *c) {
        _cleanup_free_ char *policy = xprintf("audit-policy-file=%s/policy", dir),
                            *log = xprintf("audit-log-path=%s/log", dir), *path = file("log"),
                            *tokens = xprintf("token-auth-file=%s/tokens", dir);
        const char *const args[] = { policy, log, tokens, a, b, c, NULL };
        struct error e = ERROR_INIT;

        unlink(path);
        write_file("policy", ALL);
        write_file("tokens", "t,admin,u,system:masters\n");
        fixture_setup_with(state, args);
        if (apiserver_listen(((struct fixture *) *state)->s, &e) < 0)
                fail_msg("%s", error_text(&e));
        return *state;
}

static struct str logged(struct fixture *f) {
        _cleanup_free_ char *path = file("log");
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(file_read(path, 0, &b, NULL), 0);
        return arena_str(f->a, buf_str(&b));
}

static void an_answer_comes_after_its_event(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);

        assert_true(str_search(get(f, "/version"), STR(" 200 ")) > 0);
        assert_true(str_search(logged(f), STR("\"stage\":\"ResponseComplete\",\"requestURI\":\"/version\"")) > 0);
        fixture_teardown(state);
}

static void who_may_not_be_somebody_else_is_told(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);
        struct str text;

        get(f, "/version HTTP/1.0\r\nImpersonate-Group: g\r\nX-Rest:");
        text = logged(f);
        assert_true(str_search(text, STR("\"stage\":\"RequestReceived\",\"requestURI\":\"/version\"")) > 0);
        assert_true(str_search(text, STR("\"responseStatus\":{\"metadata\":{},\"code\":500}")) > 0);
        fixture_teardown(state);
}

static void a_list_of_one_name_has_it(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);

        get(f, "/api/v1/secrets?fieldSelector=metadata.name%3Dx,type%3Da");
        assert_true(str_search(logged(f), STR("\"objectRef\":{\"resource\":\"secrets\",\"name\":\"x\"")) > 0);
        fixture_teardown(state);
}

static void sources_are_addresses(void **state) {
        static const struct {
                const char *headers, *sources;
        } cases[] = {
                { "X-Forwarded-For: x, 1.2.3.4 ,127.0.0.1", "[\"1.2.3.4\",\"127.0.0.1\"]" },
                { "X-Forwarded-For: ::ffff:1.2.3.4,2001:DB8::0001\r\nX-Real-Ip: 1.2.3.4",
                  "[\"1.2.3.4\",\"2001:db8::1\",\"127.0.0.1\"]" },
                { "X-Forwarded-For: , ,\r\nX-Real-Ip: 010.1.2.3", "[\"10.1.2.3\",\"127.0.0.1\"]" },
                { "X-Real-Ip: x", "[\"127.0.0.1\"]" },
        };
        struct fixture *f = serve(state, NULL, NULL, NULL);

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                get(f, arena_printf(f->a, "/version?%zu HTTP/1.0\r\n%s\r\nX-Rest:", i, cases[i].headers).p);
                assert_true(str_search(logged(f), arena_printf(f->a,
                                                               "\"requestURI\":\"/version?%zu\",\"verb\":\"get\","
                                                               "\"user\":{\"username\":\"system:anonymous\","
                                                               "\"groups\":[\"system:unauthenticated\"]},"
                                                               "\"sourceIPs\":%s",
                                                               i, cases[i].sources)) > 0);
        }
        fixture_teardown(state);
}

#define TO_PODS "POST /api/v1/namespaces/default/pods HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: "

/* Nobody has read it, nor would it have helped to be large. */
static void what_was_sent_by_who_may_not_is_not_told(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);
        struct str text, line;
        int done = 0;

        assert_true(str_search(say(f, TO_PODS "23\r\n\r\n{\"metadata\":{\"name\":1}}"), STR(" 403 ")) > 0);
        assert_true(str_search(say(f, TO_PODS "4000000\r\n\r\n"), STR(" 403 ")) > 0);
        text = logged(f);
        assert_true(str_search(text, STR("requestObject")) < 0);
        while (str_split(&text, '\n', &line))
                done += str_search(line, STR("\"stage\":\"ResponseComplete\"")) > 0;
        assert_int_equal(done, 2);
        fixture_teardown(state);
}

static bool last_has(struct fixture *f, const char *text) {
        struct str all = logged(f);

        all.n--;
        return str_search(str_sub(all, (size_t) (str_rfind(all, '\n') + 1), all.n), str_of(text)) >= 0;
}

static void answers_that_are_objects_are_told(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);

        get(f, "/api" BY_ADMIN "\r\nX-Rest:");
        assert_true(last_has(f, "\"responseObject\":{\"kind\":\"APIVersions\""));
        get(f, "/version" BY_ADMIN "\r\nX-Rest:");
        assert_false(last_has(f, "responseObject"));
        get(f, "/%61pi/none" BY_ADMIN "\r\nX-Rest:");
        assert_true(last_has(f, "\"requestURI\":\"/%61pi/none\""));
        get(f, "/api/v1/pods" BY_ADMIN "\r\nAccept: text/html\r\nX-Rest:");
        assert_true(last_has(f, "\"responseStatus\":{\"metadata\":{},\"code\":406},\"requestReceived"));
        get(f, "/api/v1/proxy/pods" BY_ADMIN "\r\nX-Rest:");
        assert_true(last_has(f, "\"verb\":\"proxy\""));
        fixture_teardown(state);
}

static void the_object_is_told_as_it_was_read(void **state) {
        struct fixture *f = serve(state, NULL, NULL, NULL);

        say(f, "POST /api/v1/namespaces/default/configmaps" BY_ADMIN "\r\nContent-Type: application/json\r\n"
               "Content-Length: 25\r\n\r\n{\"metadata\":{\"name\":\"x\"}}");
        assert_true(last_has(f, "\"name\":\"x\",\"apiVersion\":\"v1\"},\"responseStatus\""));
        assert_true(last_has(f,
                             "\"requestObject\":{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
                             "\"x\",\"creationTimestamp\":null}}"));
        say(f, "POST /api/v1/namespaces/default/configmaps" BY_ADMIN "\r\nContent-Type: application/json\r\n"
               "Content-Length: 25\r\n\r\n{\"metadata\":{\"name\":[0]}}");
        assert_false(last_has(f, "requestObject"));
        say(f, "DELETE /api/v1/namespaces/default/configmaps/y" BY_ADMIN "\r\nContent-Type: application/json\r\n"
               "Content-Length: 25\r\n\r\n{\"gracePeriodSeconds\":1 }");
        assert_true(last_has(f, "\"requestObject\":{\"kind\":\"DeleteOptions\","));
        say(f, "DELETE /api/v1/namespaces/default/configmaps/y" BY_ADMIN "\r\nContent-Type: application/json\r\n"
               "Content-Length: 25\r\n\r\n{\"kind\":\"DeleteOption\"  }");
        assert_false(last_has(f, "requestObject"));
        fixture_teardown(state);
}

static void the_legacy_format_is_a_line_of_text(void **state) {
        struct fixture *f = serve(state, "audit-log-format=legacy", NULL, NULL);
        struct str line;

        get(f, "/version?a=b");
        line = logged(f);
        assert_true(str_search(line, STR(" stage=\"RequestReceived\" ip=\"127.0.0.1\" method=\"get\" "
                                         "user=\"system:anonymous\" groups=\"\\\"system:unauthenticated\\\"\" "
                                         "as=\"<self>\" asgroups=\"<lookup>\" user-agent=\"\" namespace=\"<none>\" "
                                         "uri=\"/version?a=b\" response=\"<deferred>\"\n")) > 0);
        assert_true(str_search(line, STR(" response=\"200\"\n")) > 0);
        get(f, "/version" BY_ADMIN "\r\nImpersonate-User: bob\r\nX-Rest:");
        line = logged(f); /* as whom is known after it was received */
        assert_true(str_search(line,
                               STR(" user=\"admin\" groups=\"\\\"system:masters\\\",\\\"system:authenticated\\\"\" "
                                   "as=\"<self>\" asgroups=\"<lookup>\"")) > 0);
        assert_true(str_search(line, STR(" as=\"bob\" asgroups=\"\\\"system:authenticated\\\"\"")) > 0);
        fixture_teardown(state);
}

static void what_is_too_large_loses_its_objects(void **state) {
        struct fixture *f =
                        serve(state, "audit-log-truncate-enabled=true", "audit-log-truncate-max-event-size=900", NULL);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str text;

        get(f, "/apis" BY_ADMIN "\r\nX-Rest:");
        text = logged(f);
        assert_true(str_search(text, STR("\"audit.k8s.io/truncated\":\"true\"")) > 0);
        assert_true(str_search(text, STR("responseObject")) < 0);
        for (int i = 0; i < 900; i++)
                buf_putc(&b, 'x');
        get(f, arena_printf(f->a, "/version?%" STR_FMT, STR_ARG(buf_str(&b))).p);
        assert_int_equal(logged(f).n, text.n); /* not even so */
        fixture_teardown(state);
}

/* Starts a server whose webhook is at this path of the hook. */
static struct fixture *serve_with_webhook(void **state, struct hook *server, const char *path, const char *mode) {
        struct arena *a = arena_new(0);
        struct json *config;
        struct fixture *f;

        json_parse(a, str_of(hook_config(server, a, path)), NULL, &config, NULL);
        write_file("kubeconfig",
                   arena_printf(a,
                                "current-context: a\ncontexts: [{name: a, context: {cluster: a}}]\nclusters:\n- name: "
                                "a\n  cluster: {server: \"%" STR_FMT "\", certificate-authority-data: \"%" STR_FMT
                                "\"}\n",
                                STR_ARG(json_str(json_getc(config, "url"))),
                                STR_ARG(json_str(json_getc(config, "caBundle"))))
                                   .p);
        f = serve(state, arena_printf(a, "audit-webhook-config-file=%s/kubeconfig", dir).p,
                  arena_printf(a, "audit-webhook-mode=%s", mode).p, "audit-webhook-initial-backoff=5ms");
        arena_free(a);
        return f;
}

static void a_request_waits_for_a_webhook_that_blocks(void **state) {
        struct hook *server = hook_start();
        struct fixture *f;

        hook_answers(server, "/audit", "{}");
        f = serve_with_webhook(state, server, "/audit", "blocking");
        assert_true(str_search(get(f, "/version"), STR(" 200 ")) > 0);
        assert_int_equal(hook_calls(server, "/audit"), 2); /* received and complete */
        apiserver_stop(f->s, 0);
        fixture_teardown(state);
        hook_stop(server);
}

static void what_a_strict_webhook_does_not_take_is_refused(void **state) {
        struct hook *server = hook_start();
        struct fixture *f = serve_with_webhook(state, server, "/none", "blocking-strict");
        struct str r = get(f, "/version?a&b");

        assert_true(str_search(r, STR(" 500 ")) > 0);
        assert_true(str_has_suffix(r,
                                   STR("Internal Server Error: \"/version?a&amp;b\": failed to store audit event\n")));
        apiserver_stop(f->s, 0);
        fixture_teardown(state);
        f = serve_with_webhook(state, server, "/none", "blocking");
        assert_true(str_search(get(f, "/version?a&b"), STR(" 200 ")) > 0);
        apiserver_stop(f->s, 0);
        fixture_teardown(state);
        hook_stop(server);
}

static void flags_are_checked_in_upstreams_words(void **state) {
        static const struct {
                const char *flag, *error;
        } table[] = {
                { "audit-log-mode=never",
                  "invalid audit log mode never, allowed modes are \"batch,blocking,blocking-strict\"" },
                { "audit-log-format=xml", "invalid audit log format xml, allowed formats are \"legacy,json\"" },
                { "audit-log-maxage=-1", "--audit-log-maxage -1 can't be a negative number" },
                { "audit-log-truncate-max-event-size=0",
                  "invalid audit truncate log max event size 0, must be a positive number" },
                { "audit-log-truncate-max-batch-size=5",
                  "invalid audit truncate log max batch size 5, must be greater than max event size (102400)" },
                { "audit-log-version=audit.k8s.io/v1beta1",
                  "invalid group version, allowed versions are [\"audit.k8s.io/v1\"]" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                const char *const args[] = { table[i].flag, "audit-log-path=-", NULL }, *const off[] = { args[0],
                                                                                                         NULL };
                struct audit *audit;
                struct fixture *f;

                fixture_setup(state);
                f = *state;
                f->s->options.args = args;
                assert_int_equal(audit_new_from_flags(f->s, &audit, &e), -EINVAL);
                assert_string_equal(error_text(&e), table[i].error);
                f->s->options.args = off;
                assert_int_equal(audit_new_from_flags(f->s, &audit, NULL), 0); /* nobody looks */
                f->s->options.args = NULL;
                fixture_teardown(state);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_full_log_is_rotated),
                cmocka_unit_test(policies_are_checked),
                cmocka_unit_test(rules_match_as_upstreams),
                cmocka_unit_test(a_rule_overrides_its_policy),
                cmocka_unit_test(a_webhook_gets_events_in_batches),
                cmocka_unit_test(what_a_webhook_does_not_take_is_counted),
                cmocka_unit_test(an_answer_comes_after_its_event),
                cmocka_unit_test(who_may_not_be_somebody_else_is_told),
                cmocka_unit_test(a_list_of_one_name_has_it),
                cmocka_unit_test(sources_are_addresses),
                cmocka_unit_test(what_was_sent_by_who_may_not_is_not_told),
                cmocka_unit_test(answers_that_are_objects_are_told),
                cmocka_unit_test(the_object_is_told_as_it_was_read),
                cmocka_unit_test(the_legacy_format_is_a_line_of_text),
                cmocka_unit_test(what_is_too_large_loses_its_objects),
                cmocka_unit_test(a_request_waits_for_a_webhook_that_blocks),
                cmocka_unit_test(what_an_earlier_server_rotated_is_looked_after),
                cmocka_unit_test(what_a_strict_webhook_does_not_take_is_refused),
                cmocka_unit_test(flags_are_checked_in_upstreams_words),
        };
        _cleanup_free_ char *remove = NULL;
        int r;

        if (!mkdtemp(dir))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        remove = xprintf("rm -r %s", dir);
        return system(remove) || r;
}
