/* kube-apiserver's flags: those that change the server, those that change nothing, those that are refused. */
#include "help.h"

#include "apiserver/flags.h"
#include "http/tls.h"

static void others_are_taken_or_refused(void **state) {
        static const struct {
                const char *name, *value, *error; /* "": taken */
        } table[] = {
                { "allow-privileged", "true", "" },
                { "allow-privileged", "false", "--allow-privileged: it is always true here" },
                { "watch-cache-sizes", "pods#100", "" },
                { "log-text-split-stream", "true", "" },
                { "disable-http2-serving", "true", "--disable-http2-serving: it is always false here" },
                { "etcd-servers", "https://x", "--etcd-servers: the store is in this server (docs/store.md)" },
                { "runtime-config", "api/all=true", "--runtime-config: api/all is never wholly served here" },
                { "runtime-config", "api/ga=true,api/beta=false,apps/v1,apps/v1beta1=false,v1=true", "" },
                { "runtime-config", "apps/v1=false", "--runtime-config: apps/v1 is always served here" },
                { "runtime-config", "apps/v1beta1=true", "--runtime-config: apps/v1beta1 is never served here" },
                { "runtime-config", "apps/v1=x", "--runtime-config: invalid value apps/v1=x" },
                { "feature-gates", "X=true", "--feature-gates: unrecognized feature gate: X" },
                { "feature-gates", "WatchList=true,KMSv1=false", "" },
                { "feature-gates", "AllAlpha=false,CPUManagerPolicyOptions=true,WindowsHostNetwork=false", "" },
                { "show-hidden-metrics-for-version", "1.32", "" },
                { "show-hidden-metrics-for-version", "1.31",
                  "--show-hidden-metrics-for-version must be omitted or have the value '1.32'. Only the previous minor "
                  "version is allowed" },
                { "allow-metric-labels", "x,y=z", "--allow-metric-labels: labels of metrics cannot be chosen" },
                { "feature-gates", "WatchList=true,KMSv1=true", "--feature-gates: KMSv1 is always false here" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                int r = apiserver_flag_other(str_of(table[i].name), table[i].value, &e);

                assert_int_equal(r, *table[i].error ? -EINVAL : 0);
                assert_string_equal(r < 0 ? error_text(&e) : "", table[i].error);
        }
        assert_true(apiserver_flag_known(STR("etcd-servers")) && apiserver_flag_known(STR("event-ttl")));
        assert_false(apiserver_flag_known(STR("etcd")) || apiserver_flag_known(STR("servers")) ||
                     apiserver_flag_known(STR("")));
        assert_true(apiserver_flag_is_bool(STR("anonymous-auth")) && apiserver_flag_is_bool(STR("watch-cache")));
        assert_false(apiserver_flag_is_bool(STR("audit-log-path")) || apiserver_flag_is_bool(STR("etcd-servers")) ||
                     apiserver_flag_is_bool(STR("v")));
}

static void tls_is_as_strict_as_it_is_told(void **state) {
        static const struct {
                const char *version, *suites, *error;
        } table[] = {
                { "VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256", "" },
                { "VersionTLS13", NULL, "" },
                { "VersionTLS10", NULL, "TLS version \"VersionTLS10\" is none of VersionTLS12, VersionTLS13" },
                { NULL, "TLS_NONE", "cipher suite TLS_NONE is not supported" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct tls_options o = { .min_version = table[i].version, .cipher_suites = table[i].suites };
                struct tls_context *c = NULL;

                assert_int_equal(tls_context_new(&o, &c, &e), *table[i].error ? -EINVAL : 0);
                assert_string_equal(e.err ? error_text(&e) : "", table[i].error);
                if (c)
                        tls_context_unref(c);
        }
}

static int refused(const char *arg) {
        const char *const args[] = { arg, NULL };
        struct apiserver_options o = { .args = args };
        struct apiserver *s = NULL;
        int r;

        assert_int_equal(store_open(&(struct store_options) { 0 }, &o.store, NULL), 0);
        r = apiserver_new(&o, &s, NULL);
        apiserver_free(s);
        store_close(o.store);
        return r;
}

static int setup(void **state) {
        static const char *const args[] = {
                "service-node-port-range=20000-20000", "profiling=false",
                "disabled-metrics=apiserver_storage_objects,serviceaccount_valid_tokens_total", NULL
        };

        return fixture_setup_with(state, args);
}

/* Each family once, in order, with what it is; what was counted is no zero, what is disabled is not there. */
static void metrics_are_whole(struct str all) {
        struct str line, before = { 0 }, name, rest;
        unsigned n = 0;

        while (str_split(&all, '\n', &line)) {
                if (!str_has_prefix(line, STR("# HELP ")))
                        continue;
                rest = str_sub(line, 7, line.n);
                str_split(&rest, ' ', &name);
                if (before.n && str_compare(&before, &name) >= 0)
                        fail_msg("%.*s after %.*s", (int) name.n, name.p, (int) before.n, before.p);
                if (str_has_prefix(name, STR("apiserver_request_")) && !str_has_prefix(rest, STR("[STABLE] ")) &&
                    !str_has_prefix(rest, STR("[ALPHA] ")))
                        fail_msg("%.*s", (int) line.n, line.p);
                n += str_eqc(name, "disabled_metrics_total") || str_eqc(name, "serviceaccount_stale_tokens_total") ||
                     str_eqc(name, "authentication_duration_seconds") ||
                     str_eqc(name, "authorization_duration_seconds");
                assert_false(str_eqc(name, "apiserver_storage_objects") ||
                             str_eqc(name, "serviceaccount_valid_tokens_total") ||
                             str_eqc(name, "kubernetes_healthchecks_total"));
                before = name;
        }
        assert_int_equal(n, 4);
}

static void they_change_the_server(void **state) {
        static const char service[] =
                        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1}]}}";
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_services, "default", .body = arena_printf(f->a, service, "a").p);

        check(r, 201, ".spec.ports[0].nodePort", "20000");
        r = ASK(f, API_CREATE, &res_services, "default", .body = arena_printf(f->a, service, "b").p);
        check_code(r, 500); /* there is no other */
        assert_non_null(strstr(r.status, "[{\"message\":\"failed to allocate a nodePort: range is full\"}]"));
        fixture_let_all(f);
        fixture_listen(f);
        assert_true(str_has_prefix(talk_until(f, "GET /debug/pprof/heap HTTP/1.0\r\n\r\n", NULL),
                                   STR("HTTP/1.0 404 ")));
        assert_true(str_search(talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL),
                               STR(",go_version=\"none (C17)\",major=\"1\",minor=\"33\",platform=\"linux/")) > 0);
        assert_true(str_search(talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL),
                               STR("\nkubernetes_feature_enabled{name=\"WatchList\",stage=\"BETA\"} 1\n")) > 0);
        metrics_are_whole(talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL));
        assert_int_equal(refused("service-node-port-range=2-1"), -EINVAL);
        assert_int_equal(refused("service-node-port-range=1-65536"), -EINVAL);
        assert_int_equal(refused("service-node-port-range=many"), -EINVAL);
        assert_int_equal(refused("client-ca-file=/nowhere/ca.crt"), -ENOENT);
        assert_int_equal(refused("kubelet-certificate-authority=/nowhere/ca.crt"), -ENOENT);
        assert_int_equal(refused("kubelet-certificate-authority="), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(others_are_taken_or_refused),
                cmocka_unit_test(tls_is_as_strict_as_it_is_told),
                cmocka_unit_test_setup_teardown(they_change_the_server, setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
