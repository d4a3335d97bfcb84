/* What the audit log keeps, and where it goes. */
#include "help.h"
#include "hook.h"

#include "apiserver/audit/audit.h"
#include "apiserver/webhook_client.h"
#include "base/file.h"
#include "base/metrics.h"

static char dir[] = "/tmp/cube-audit-XXXXXX";

static char *file(const char *name) {
        return xprintf("%s/%s", dir, name);
}

static void a_full_log_is_rotated(void **state) {
        _cleanup_free_ char *path = file("rotated.log"), *count = xprintf("test $(ls %s/rotated* | wc -l) = 3", dir);
        _cleanup_buf_ struct buf line = BUF_INIT;
        struct audit_log *l;

        for (int i = 0; i < 1023; i++)
                buf_putc(&line, 'x');
        buf_putc(&line, '\n');
        assert_int_equal(audit_log_open(&(struct audit_options){ .log_path = path, .max_size_mb = 1, .max_backups = 2 },
                                        &l, NULL),
                         0);
        for (int i = 0; i < 5 * 1024; i++)
                audit_log_write(l, buf_str(&line));
        audit_log_close(l);
        assert_int_equal(system(count), 0);
}

#define RULE "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: None, "

static void policies_are_checked(void **state) {
        static const struct {
                const char *text, *error;
        } bad[] = {
                { "kind: Policy", "audit policy: it is no Policy of audit.k8s.io/v1" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1}", "audit policy: it has no rules" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: All}]}",
                  "audit policy: a rule has the level \"All\"" },
                { "{kind: Policy, apiVersion: audit.k8s.io/v1, rules: [{level: None, omitStages: [X]}]}",
                  "audit policy: unknown stage X" },
                { RULE "nonResourceURLs: [metrics]}]}",
                  "audit policy: rules[0].nonResourceURLs: Invalid value: non-resource URL rules must begin with a '/' "
                  "character" },
                { RULE "nonResourceURLs: ['/a*b']}]}",
                  "audit policy: rules[0].nonResourceURLs: Invalid value: non-resource URL wildcards '*' must be the "
                  "final character of the rule" },
                { RULE "nonResourceURLs: [/a], namespaces: [b]}]}",
                  "audit policy: rules[0].nonResourceURLs: Invalid value: rules cannot apply to both regular resources "
                  "and non-resource URLs" },
                { RULE "resources: [{group: '', resourceNames: [a]}]}]}",
                  "audit policy: rules[0].resources.resourceNames: Invalid value: using resourceNames requires at "
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
                                                    "Metadata\n  %s\n", cases[i].rule);
                struct attributes at = { .verb = "get", .resource = str_of(cases[i].resource),
                                         .subresource = str_of(cases[i].sub), .path = str_of(cases[i].path) };
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
                                                    "Request\n  %s\n", cases[i].policy, cases[i].rule);
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
                audit_webhook_write(h, arena_printf(a, "{\"n\":%d}", i));
        while (hook_calls(server, "/audit") < 2) /* two at once, the third when it has waited */
                usleep(2000);
        assert_string_equal(arena_cstr(a, hook_asked(server, a, "/audit")),
                            "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[{"
                            "\"n\":3}]}");
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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_full_log_is_rotated),
                cmocka_unit_test(policies_are_checked),
                cmocka_unit_test(rules_match_as_upstreams),
                cmocka_unit_test(a_rule_overrides_its_policy),
                cmocka_unit_test(a_webhook_gets_events_in_batches),
                cmocka_unit_test(what_a_webhook_does_not_take_is_counted),
        };
        _cleanup_free_ char *remove = NULL;
        int r;

        if (!mkdtemp(dir))
                return 1;
        r = cmocka_run_group_tests(tests, NULL, NULL);
        remove = xprintf("rm -r %s", dir);
        return system(remove) || r;
}
