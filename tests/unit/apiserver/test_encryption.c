/* Encryption at rest: what lies on the disk, who can read it, and what a rewrite does. */
#include "../test.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/kms.h"
#include "base/file.h"
#include "base/metrics.h"

#define SECRET "hunter2-is-the-password"
#define KEY16 "c2VjcmV0IGlzIHNlY3VyZQ=="                     /* 16 bytes */
#define KEY32 "dGhpcyBpcyBhIHNlY3JldCBrZXkgb2YgMzIgYnl0ZXM=" /* 32 bytes */

static char dir[64], config_path[80];

static int setup(void **state) {
        snprintf(dir, sizeof(dir), "/tmp/test-encryption-%d", getpid());
        snprintf(config_path, sizeof(config_path), "%s.yaml", dir);
        return 0;
}

static int teardown(void **state) {
        file_remove_tree(dir, NULL);
        unlink(config_path);
        return 0;
}

static int configure(const char *rules, struct encryption **ret, struct error *err) {
        _cleanup_free_ char *text = xprintf("kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
                                            "resources:\n%s",
                                            rules);

        assert_int_equal(file_write(config_path, str_of(text), 0600, NULL), 0);
        return encryption_new(config_path, ret, err);
}

static struct encryption *with(const char *rules) {
        struct error e = ERROR_INIT;
        struct encryption *c;

        if (configure(rules, &c, &e) < 0)
                fail_msg("%s", error_text(&e));
        return c;
}

static int open_store(const struct encryption *c, struct store **ret, struct error *err) {
        return store_open(&(struct store_options) { .path = dir,
                                                    .cipher = encryption_cipher(c),
                                                    .max_map_bytes = 1 << 20 },
                          ret, err);
}

static void put(struct store *s, const char *key, const char *value) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json o = json_new_object();
        struct store_op op = { .key = str_of(key), .expect = STORE_ANY_REVISION };

        json_set_cstr(a, json_get_or_add_object(a, &o, "metadata"), "name", "x");
        json_set_cstr(a, &o, "value", value);
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);
        op.kind = store_get(snap, op.key) ? STORE_UPDATE : STORE_CREATE;
        op.object = object_from_tree(&o);
        assert_int_equal(store_commit(s, &op, 1, NULL), 0);
        object_unref(op.object);
}

static void check_value(struct store *s, const char *key, const char *value) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);
        struct object *o = store_get(snap, str_of(key));

        assert_non_null(o);
        assert_true(str_eqc(json_str(json_getc(object_json(o), "value")), value));
}

static bool on_disk(const char *what) {
        _cleanup_free_ char *path = xprintf("%s/data.mdb", dir);
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(file_read(path, 0, &b, NULL), 0);
        return memmem(b.p, b.n, what, strlen(what));
}

static void run_with(const char *rules, void (*body)(struct store *s)) {
        struct encryption *c = with(rules);
        struct error e = ERROR_INIT;
        struct store *s;

        if (open_store(c, &s, &e) < 0)
                fail_msg("%s", error_text(&e));
        body(s);
        store_close(s);
        encryption_free(c);
}

static void put_three(struct store *s) {
        put(s, "/secrets/ns/a", SECRET "-1");
        put(s, "/configmaps/ns/b", "an-open-word");
        put(s, "apps/deployments/ns/c", SECRET "-2");
}

static void check_three(struct store *s) {
        check_value(s, "/secrets/ns/a", SECRET "-1");
        check_value(s, "/configmaps/ns/b", "an-open-word");
        check_value(s, "apps/deployments/ns/c", SECRET "-2");
}

static void expect_counted(const char *line) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        metrics_collect(&b);
        if (str_search(buf_str(&b), str_of(line)) < 0)
                fail_msg("not counted: %s", line);
}

#define RULE(resources, providers) "- resources: [" resources "]\n  providers:\n" providers
#define AES(type, name, key) "  - " type ":\n      keys:\n      - {name: " name ", secret: " key "}\n"
#define PLAIN "  - identity: {}\n"
#define KMS(version, name, endpoint) "  - kms: {apiVersion: " version ", name: " name ", endpoint: " endpoint "}\n"

static void secrets_do_not_lie_in_the_clear(void **state) {
        static const struct {
                const char *rules, *prefix;
        } table[] = {
                { RULE("secrets, '*.apps'", AES("aescbc", "key1", KEY32) PLAIN), "k8s:enc:aescbc:v1:key1:" },
                { RULE("secrets, '*.apps'", AES("aescbc", "k", KEY16)), "k8s:enc:aescbc:v1:k:" },
                { RULE("secrets, deployments.apps", AES("aesgcm", "key1", KEY32) PLAIN), "k8s:enc:aesgcm:v1:key1:" },
                { RULE("secrets", AES("secretbox", "s", KEY32)) RULE("'*.*'", AES("aesgcm", "key1", KEY16)),
                  "k8s:enc:secretbox:v1:s:" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                run_with(table[i].rules, put_three);
                assert_false(on_disk(SECRET));
                assert_true(on_disk(table[i].prefix));
                assert_true(on_disk("an-open-word") == (i != 3));
                run_with(table[i].rules, check_three);
                file_remove_tree(dir, NULL);
        }
        expect_counted("transformation_operations_total{resource=\"deployments.apps\",status=\"OK\",transformation_"
                       "type="
                       "\"to_storage\",transformer_prefix=\"k8s:enc:aesgcm:v1:\"} ");
        expect_counted("transformation_operations_total{resource=\"secrets\",status=\"OK\",transformation_type="
                       "\"from_storage\",transformer_prefix=\"s:\"} ");
        expect_counted("transformation_duration_seconds_count{transformation_type=\"to_storage\",transformer_prefix="
                       "\"k8s:enc:secretbox:v1:\"} ");
}

static void rewrite(struct store *s) {
        check_three(s);
        assert_true(store_is_stale(s, STR("/secrets/ns/a")));
        assert_false(store_is_stale(s, STR("/configmaps/ns/b")));
        put(s, "/secrets/ns/a", SECRET "-1");
        assert_false(store_is_stale(s, STR("/secrets/ns/a")));
}

static void a_rewrite_takes_the_first_key(void **state) {
        run_with(RULE("secrets, '*.apps'", PLAIN AES("aescbc", "old", KEY32)), put_three);
        assert_true(on_disk(SECRET));
        run_with(RULE("secrets, '*.apps'", AES("aescbc", "old", KEY32) PLAIN), rewrite);
        assert_true(on_disk("k8s:enc:aescbc:v1:old:"));
        run_with(RULE("secrets, '*.apps'", AES("aesgcm", "new", KEY32) AES("aescbc", "old", KEY32) PLAIN), rewrite);
        assert_true(on_disk("k8s:enc:aesgcm:v1:new:"));
        run_with(RULE("secrets, '*.apps'", PLAIN AES("aesgcm", "new", KEY32) AES("aescbc", "old", KEY32)), check_three);
}

static struct str sealed_in(struct store *s, const char *prefix) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);

        return store_sealed(s, snap, str_of(prefix)); /* its object lives as long as nobody opens it */
}

static void await_opened(struct store *s) {
        while (!str_empty(sealed_in(s, "")))
                usleep(1000);
}

static void check_sealed(struct store *s, struct encryption *c, const char *why) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_null(store_get(snap, STR("/secrets/ns/a")));
        assert_true(str_eqc(sealed_in(s, "/secrets/ns/a"), "/secrets/ns/a"));
        assert_true(str_empty(sealed_in(s, "/configmaps/")));
        check_value(s, "/configmaps/ns/b", "an-open-word");
        encryption_why(c, STR("/secrets/ns/a"), &b);
        assert_true(str_eqc(buf_str(&b), why));
}

static void what_has_no_key_waits_for_one(void **state) {
        static const struct {
                const char *rules, *why;
        } table[] = {
                { RULE("secrets", AES("aesgcm", "other", KEY32)),
                  "no matching key was found for the provided AES transformer" },
                { RULE("secrets", PLAIN), "no matching prefix found" },
                { RULE("events", PLAIN), "identity transformer tried to read encrypted data" },
                { RULE("secrets", AES("aesgcm", "key1", KEY16)), "cipher: message authentication failed" },
                { RULE("secrets", AES("aesgcm", "key1", KEY16) AES("aesgcm", "key1", KEY16)),
                  "[cipher: message authentication failed, cipher: message authentication failed]" },
        };
        struct error e = ERROR_INIT;
        struct store *s;

        run_with(RULE("secrets", AES("aesgcm", "key1", KEY32)), put_three);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct encryption *c = with(table[i].rules);

                assert_int_equal(open_store(c, &s, &e), 0);
                encryption_serve(c, s);
                check_sealed(s, c, table[i].why);
                for (int k = 0; i == 0 && k < 3000; k++) /* what cannot be read outlives the cleaning of the file */
                        put(s, "/configmaps/ns/b", "an-open-word");
                encryption_free(with(RULE("secrets", AES("aesgcm", "key1", KEY32))));
                assert_int_equal(encryption_reload(c, &e), 0);
                await_opened(s);
                check_value(s, "/secrets/ns/a", SECRET "-1");
                encryption_serve(c, NULL);
                store_close(s);
                encryption_free(c);
        }
        run_with(RULE("secrets", AES("aesgcm", "key1", KEY32)), check_three);
        assert_int_equal(open_store(NULL, &s, &e), -EACCES);
        assert_non_null(strstr(error_text(&e), "/secrets/ns/a is encrypted: --encryption-provider-config is needed"));
        error_clear(&e);
        expect_counted("transformation_operations_total{resource=\"secrets\",status=\"unknown-non-grpc\","
                       "transformation_type=\"from_storage\",transformer_prefix=\"key1:\"} ");
        expect_counted("transformation_operations_total{resource=\"secrets\",status=\"unknown-non-grpc\","
                       "transformation_type=\"from_storage\",transformer_prefix=\"unknown\"} ");
}

/* Of Linux, which knows them beside those of files. */
static void a_plugin_may_have_an_abstract_socket(void **state) {
        struct encryption *c = with(RULE("secrets", KMS("v2", "vault", "unix:///@no-such-cube-kms") PLAIN));
        _cleanup_buf_ struct buf why = BUF_INIT;

        assert_false(encryption_kms_healthy(c, 0, &why));
        assert_true(str_search(buf_str(&why), STR("dial unix @no-such-cube-kms: connect: connection refused")) > 0);
        encryption_free(c);
}

static void a_plugin_may_be_away(void **state) {
        struct encryption *c = with(RULE("secrets", KMS("v2", "vault", "unix:///tmp/no/such.sock") PLAIN));
        _cleanup_buf_ struct buf why = BUF_INIT;
        struct error e = ERROR_INIT;
        struct store *s;

        assert_int_equal(encryption_n_kms(c), 1);
        assert_false(encryption_kms_healthy(c, 0, &why));
        assert_true(str_eqc(buf_str(&why),
                            "failed to perform status section of the healthz check for KMS Provider vault, error: rpc "
                            "error: code = DeadlineExceeded desc = latest balancer error: connection error: desc = "
                            "\"transport: Error while dialing: dial unix /tmp/no/such.sock: connect: no such file or "
                            "directory\""));
        assert_int_equal(encryption_check(c, STR("/secrets/ns/a"), &e), -ENOKEY);
        assert_string_equal(error_text(&e), "got unexpected nil transformer");
        error_clear(&e);
        assert_int_equal(encryption_check(c, STR("/configmaps/ns/a"), &e), 0);
        assert_int_equal(open_store(c, &s, &e), 0);
        put(s, "/configmaps/ns/a", "an-open-word");
        expect_counted("kms_operations_latency_seconds_count{grpc_status_code=\"DeadlineExceeded\",method_name="
                       "\"/v2.KeyManagementService/Status\",provider_name=\"vault\"} ");
        store_close(s);
        encryption_free(c);
}

/* A rule that names the same resource as an earlier one adds its providers. */
static void rules_of_a_resource_add_up(void **state) {
        run_with(RULE("secrets", AES("aescbc", "key1", KEY32)), put_three);
        run_with(RULE("secrets", AES("aesgcm", "key2", KEY32)) RULE("secrets", AES("aescbc", "key1", KEY32)),
                 check_three);
}

/* Ciphertexts do not move from one object to another: AES-GCM knows whose they are. */
static void gcm_binds_a_text_to_its_key(void **state) {
        _cleanup_buf_ struct buf sealed = BUF_INIT, text = BUF_INIT;
        uint8_t key[32] = { 1 };

        assert_int_equal(gcm_seal(key, 32, STR("a"), STR(SECRET), &sealed), 0);
        assert_int_equal(gcm_open(key, 32, STR("b"), buf_str(&sealed), &text), -EBADMSG);
        assert_int_equal(gcm_open(key, 32, STR("a"), buf_str(&sealed), &text), 0);
        assert_true(str_eq(buf_str(&text), STR(SECRET)));
        sealed.p[14] ^= 1;
        assert_int_equal(gcm_open(key, 32, STR("a"), buf_str(&sealed), &text), -EBADMSG);
        assert_int_equal(gcm_open(key, 32, STR("a"), STR("short"), &text), -EBADMSG);
}

static void bad_configurations_are_refused(void **state) {
        static const struct {
                const char *rules, *text;
        } table[] = {
                { "  []", "error while parsing file: resources: Required value: at least one resources is required" },
                { RULE("", PLAIN), "resources[0].resources: Required value: at least one resources[0].resources is "
                                   "required" },
                { RULE("secrets", ""), "resources[0].providers: Required value: at least one resources[0].providers is "
                                       "required" },
                { RULE("secrets", AES("aescbc", "k", "YWJj")),
                  "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the "
                  "expected length, got 3, expected one of [16 24 32]" },
                { RULE("secrets", AES("secretbox", "k", KEY16)),
                  "resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secret is not of "
                  "the expected length, got 16, expected one of [32]" },
                { RULE("secrets", AES("aescbc", "k", "'*'")), "secrets must be base64 encoded" },
                { RULE("secrets", AES("aescbc", "''", KEY32)), "name is a mandatory field for a key" },
                { RULE("secrets", "  - {}\n"),
                  "Identity:(*apiserver.IdentityConfiguration)(nil), KMS:(*apiserver.KMSConfiguration)(nil)}: provider "
                  "does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity" },
                { RULE("secrets", "  - kms: {apiVersion: v2, name: x, endpoint: 'unix:///x', timeout: -1s}\n"),
                  "kms.timeout: Invalid value: v1.Duration{Duration:-1000000000}: timeout should be a positive value" },
                { RULE("secrets", "  - kms: {apiVersion: v2, name: x, endpoint: 'unix:///x', timeout: x}\n"),
                  "time: invalid duration \"x\"" },
                { RULE("secrets", "  - kms: {apiVersion: v2, name: x, endpoint: 'unix:///x', timeout: 5}\n"),
                  "json: cannot unmarshal number into Go struct field KMSConfiguration.resources.providers.kms.timeout "
                  "of type string" },
                { RULE("secrets", "  - {identity: {}, aesgcm: {keys: []}}\n"),
                  "more than one provider specified in a single element" },
                { RULE("secrets", "  - rot13: {}\n"),
                  "strict decoding error: unknown field \"resources[0].providers[0].rot13\"" },
                { RULE("secrets", KMS("v1", "x", "unix:///x")),
                  "error while building transformers: KMSv1 is deprecated and will only receive security updates going "
                  "forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 feature." },
                { RULE("secrets", KMS("v3", "x", "unix:///x")), "only v1 and v2 are supported" },
                { RULE("secrets", KMS("v2", "'x:y'", "unix:///x")),
                  "invalid KMS provider name x:y, must not contain ':'" },
                { RULE("secrets", KMS("v2", "x", "unix:///x") KMS("v2", "x", "unix:///x")),
                  "resources[0].providers[1].kms.name: Invalid value: \"x\": duplicate KMS provider name x, names must "
                  "be unique" },
                { RULE("secrets", KMS("v2", "x", "tcp://x")),
                  "unsupported scheme \"tcp\" for KMS provider, only unix is supported" },
                { RULE("secrets, secrets", PLAIN), "the same resource cannot be specified multiple times" },
                { RULE("secrets, '*.'", PLAIN), "using overlapping resources such as" },
                { RULE("Secrets", PLAIN), "resource name should not contain capital letters" },
                { RULE("'*'", PLAIN), "use '*.' to encrypt all the resources from core API group" },
                { RULE("events.events.k8s.io", PLAIN), "Use 'events' instead in the config file" },
                { RULE("'secrets.*'", PLAIN), "encrypting the same resource across groups is not supported" },
                { RULE("'*.*'", PLAIN) RULE("secrets", PLAIN),
                  "resource \"secrets\" is masked by earlier rule \"*.*\"" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct error e = ERROR_INIT;
                struct encryption *c;

                assert_true(configure(table[i].rules, &c, &e) < 0);
                assert_non_null(strstr(error_text(&e), table[i].text));
                error_clear(&e);
        }
}

static void another_key_is_taken_up_while_the_store_is_open(void **state) {
        struct encryption *c = with(RULE("secrets", AES("aescbc", "key1", KEY32)));
        const struct store_cipher *cipher = encryption_cipher(c);
        struct error e = ERROR_INIT;
        struct encryption *none;
        struct store *s;

        assert_int_equal(open_store(c, &s, &e), 0);
        put(s, "/secrets/ns/a", SECRET);
        put(s, "/secrets/ns/b", SECRET);
        assert_false(cipher->stale(cipher, STR("/secrets/ns/a")));
        assert_true(configure(RULE("secrets", ""), &none, &e) < 0);
        error_clear(&e);
        assert_true(encryption_reload(c, &e) < 0); /* what was before stays */
        error_clear(&e);
        put(s, "/secrets/ns/b", SECRET "!");
        assert_false(on_disk("k8s:enc:secretbox"));
        encryption_free(with(RULE("secrets", AES("secretbox", "key2", KEY32) AES("aescbc", "key1", KEY32))));
        assert_int_equal(encryption_reload(c, &e), 0);
        assert_true(cipher->stale(cipher, STR("/secrets/ns/a")));
        assert_false(cipher->stale(cipher, STR("/configmaps/ns/a")));
        put(s, "/secrets/ns/a", SECRET);
        assert_false(cipher->stale(cipher, STR("/secrets/ns/a")));
        assert_true(cipher->stale(cipher, STR("/secrets/ns/b")));
        assert_true(on_disk("k8s:enc:secretbox:v1:key2:"));
        store_close(s);
        encryption_free(c);
}

static void put_many(struct store *s) {
        for (int i = 0; i < 3000; i++) {
                char key[64];

                snprintf(key, sizeof(key), "/secrets/ns/k%d", i % 100);
                put(s, key, "a value of some length, so that segments are cleaned while it is rewritten " SECRET);
        }
}

static void check_many(struct store *s) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s);

        assert_int_equal(store_count(snap, STR("/secrets/"), STR("/secrets/")), 100);
}

static void cleaning_keeps_them_sealed(void **state) {
        run_with(RULE("secrets", AES("aesgcm", "key1", KEY32)), put_many);
        assert_false(on_disk(SECRET));
        run_with(RULE("secrets", AES("aesgcm", "key1", KEY32)), check_many);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(secrets_do_not_lie_in_the_clear),
                T(a_rewrite_takes_the_first_key),
                T(what_has_no_key_waits_for_one),
                T(a_plugin_may_be_away),
                T(a_plugin_may_have_an_abstract_socket),
                T(rules_of_a_resource_add_up),
                T(another_key_is_taken_up_while_the_store_is_open),
                T(gcm_binds_a_text_to_its_key),
                T(bad_configurations_are_refused),
                T(cleaning_keeps_them_sealed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
