/* kube-apiserver's flags: those that change the server, those that change nothing, those that are refused. */
#include "help.h"

#include "apiserver/auth/authn.h"
#include "apiserver/flags.h"
#include "base/log.h"
#include "base/metrics.h"
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "http/tls.h"

static void values_are_read_as_upstream_reads_them(void **state) {
        static const struct {
                const char *name, *value, *line, *error; /* line: what is kept */
        } table[] = {
                { "allow-privileged", "T", "true", "" },
                { "allow-privileged", "yes", "",
                  "invalid argument \"yes\" for \"--allow-privileged\" flag: strconv.ParseBool: parsing \"yes\": "
                  "invalid syntax" },
                { "allow-privileged", "1 t", "",
                  "invalid argument \"1 t\" for \"--allow-privileged\" flag: strconv.ParseBool: parsing \"1 t\": "
                  "invalid syntax" },
                { "min-request-timeout", "0x10", "16", "" },
                { "min-request-timeout", "", "",
                  "invalid argument \"\" for \"--min-request-timeout\" flag: strconv.ParseInt: parsing \"\": invalid "
                  "syntax" },
                { "audit-log-maxage", "99999999999999999999", "",
                  "invalid argument \"99999999999999999999\" for \"--audit-log-maxage\" flag: strconv.ParseInt: "
                  "parsing \"99999999999999999999\": value out of range" },
                { "default-not-ready-toleration-seconds", "x", "",
                  "invalid argument \"x\" for \"--default-not-ready-toleration-seconds\" flag: parse error" },
                { "event-ttl", "5", "",
                  "invalid argument \"5\" for \"--event-ttl\" flag: time: missing unit in duration \"5\"" },
                { "event-ttl", "-1h", "-1h", "" },
                { "goaway-chance", "often", "",
                  "invalid argument \"often\" for \"--goaway-chance\" flag: strconv.ParseFloat: parsing \"often\": "
                  "invalid syntax" },
                { "bind-address", "here", "",
                  "invalid argument \"here\" for \"--bind-address\" flag: failed to parse IP: \"here\"" },
                { "tls-sni-cert-key", "a:b", "",
                  "invalid argument \"a:b\" for \"--tls-sni-cert-key\" flag: expected comma separated certificate and "
                  "key file paths" },
                { "tls-sni-cert-key", "a,b:c,d", "a,b:c,d", "" },
                { "service-node-port-range", "30000+10", "30000-30010", "" },
                { "service-node-port-range", "5", "5-5", "" },
                { "service-node-port-range", "9-1", "",
                  "invalid argument \"9-1\" for \"--service-node-port-range\" flag: end port cannot be less than start "
                  "port: 9-1" },
                { "service-node-port-range", "", "", "" },
                { "service-node-port-range", "1-65536", "",
                  "invalid argument \"1-65536\" for \"--service-node-port-range\" flag: the port range cannot be "
                  "greater "
                  "than 65535: 1-65536" },
                { "service-node-port-range", "-5", "",
                  "invalid argument \"-5\" for \"--service-node-port-range\" flag: strconv.Atoi: parsing \"\": invalid "
                  "syntax" },
                { "vmodule", "a=1,b=x", "",
                  "invalid argument \"a=1,b=x\" for \"--vmodule\" flag: parsing verbosity in \"b=x\": "
                  "strconv.ParseUint: parsing \"x\": invalid syntax" },
                { "v", "-1", "",
                  "invalid argument \"-1\" for \"-v, --v\" flag: strconv.ParseUint: parsing \"-1\": invalid syntax" },
                { "oidc-required-claim", "x", "",
                  "invalid argument \"x\" for \"--oidc-required-claim\" flag: malformed pair, expect string=string" },
                { "allow-metric-labels", "x", "",
                  "invalid argument \"x\" for \"--allow-metric-labels\" flag: x must be formatted as key=value" },
                { "watch-cache-sizes", "pods#100", "pods#100", "" },
                { "etcd-servers", "https://x", "", "--etcd-servers: the store is in this server (docs/store.md)" },
                { "enable-logs-handler", "false", "false", "" },
                { "enable-logs-handler", "true", "", "--enable-logs-handler: Cube has nothing like it" },
                { "runtime-config", "api/all=true", "", "--runtime-config: api/all is never wholly served here" },
                { "runtime-config", "api/ga=true,api/beta=false,apps/v1,apps/v1beta1=false,v1=true",
                  "api/ga=true,api/beta=false,apps/v1,apps/v1beta1=false,v1=true", "" },
                { "runtime-config", " apps/v1 = false ,batch/v1/jobs=0", " apps/v1 = false ,batch/v1/jobs=0", "" },
                { "runtime-config", "v1=false", "", "--runtime-config: v1 is always served here" },
                { "runtime-config", "api/all=false", "",
                  "--runtime-config=api/all=false conflicts with --enable-priority-and-fairness=true" },
                { "runtime-config", "api/beta=x", "", "invalid value api/beta=x" },
                { "runtime-config", "x.io/v1=true", "", "unknown api groups x.io" },
                { "runtime-config", "x.io/v1=true,apps/v1=x,y/v2", "", "unknown api groups x.io,y" },
                { "runtime-config", "batch/v1/jobs/x=true", "", "runtime-config invalid key batch/v1/jobs/x" },
                { "runtime-config", "batch/v1/Jobs=true", "",
                  "invalid key batch/v1/Jobs: group/version/resource and resource is always lowercase plural, not "
                  "\"Jobs\"" },
                { "runtime-config", "apps/v1beta1=true", "", "--runtime-config: apps/v1beta1 is never served here" },
                { "runtime-config", "apps/v1=x", "",
                  "invalid value of apps/v1: x, err: strconv.ParseBool: parsing \"x\": invalid syntax" },
                { "runtime-config", "x=true", "", "runtime-config invalid key x" },
                { "feature-gates", "X=true", "", "unrecognized feature gate: X" },
                { "feature-gates", "kube:WatchList=1,KMSv1=false", "kube:WatchList=1,KMSv1=false", "" },
                { "feature-gates", "WatchList", "", "missing bool value for WatchList" },
                { "feature-gates", "WatchList=x", "",
                  "invalid value of WatchList=x, err: strconv.ParseBool: parsing \"x\": invalid syntax" },
                { "feature-gates", "WatchList=true,KMSv1=true", "", "--feature-gates: KMSv1 is always false here" },
                { "feature-gates", "SidecarContainers=false", "",
                  "cannot set feature gate SidecarContainers to false, feature is locked to true" },
                { "feature-gates", " WatchList = T ,,kube:", " WatchList = T ,,kube:", "" },
                { "feature-gates", "x:WatchList=true", "", "component not registered: x" },
                { "runtime-config", ",", ",", "" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                _cleanup_buf_ struct buf lines = BUF_INIT;
                _cleanup_free_ char *line = xprintf("%s=%s\n", table[i].name, table[i].line);
                int r = apiserver_flag_add(str_of(table[i].name), table[i].value, &lines, &e);

                assert_string_equal(r < 0 ? error_text(&e) : "", table[i].error);
                assert_int_equal(r, *table[i].error ? -EINVAL : 0);
                assert_true(r < 0 || str_eqc(buf_str(&lines), line));
        }
        assert_non_null(apiserver_flag_arg(STR("etcd-servers")));
        assert_null(apiserver_flag_arg(STR("etcd")));
        assert_null(apiserver_flag_arg(STR("servers")));
        assert_null(apiserver_flag_arg(STR("")));
        assert_string_equal(apiserver_flag_arg(STR("watch-cache")), "BOOL");
}

static void lists_add_up_and_nothing_is_no_value(void **state) {
        static const char *const given[][2] = {
                { "api-audiences", "a,b" },
                { "api-audiences", "c" },
                { "audit-log-path", "x" },
                { "audit-log-path", "" },
        };
        _cleanup_buf_ struct buf lines = BUF_INIT;
        struct str rest, line;
        const char *args[8] = { NULL };
        size_t n = 0;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(given); i++)
                assert_int_equal(apiserver_flag_add(str_of(given[i][0]), given[i][1], &lines, NULL), 0);
        rest = buf_str(&lines);
        while (str_split(&rest, '\n', &line))
                args[n++] = arena_cstr(a, line);
        assert_string_equal(flag_value(args, "api-audiences", ""), "a,b,c");
        assert_null(flag_value(args, "audit-log-path", NULL));
        args[0] = "kubelet-certificate-authority=";
        assert_string_equal(flag_value(args, "kubelet-certificate-authority", "ours"), "");
        args[0] = "audit-log-mode=";
        assert_string_equal(flag_value(args, "audit-log-mode", "batch"), "");
}

static void all_that_is_wrong_is_told(void **state) {
        static const struct {
                const char *args[4], *error, *cidr, *address;
        } table[] = {
                { { "goaway-chance=0.5", "max-requests-inflight=-1" },
                  "[--max-requests-inflight can not be negative value, --goaway-chance can not be less than 0 or "
                  "greater "
                  "than 0.02]" },
                { { "request-timeout=-1s" }, "--request-timeout can not be negative value" },
                { { "max-requests-inflight=0", "max-mutating-requests-inflight=0" },
                  "invalid configuration: MaxRequestsInFlight=0 and MaxMutatingRequestsInFlight=0; they must add up to "
                  "something positive" },
                { { "max-requests-inflight=0", "max-mutating-requests-inflight=0",
                    "enable-priority-and-fairness=false" },
                  "" },
                { { "apiserver-count=0", "max-requests-inflight=0", "max-mutating-requests-inflight=0" },
                  "--apiserver-count should be a positive number, but value '0' provided" },
                { { "apiserver-count=2" }, "" },
                { { "strict-transport-security-directives=max-age=1,preload,includeSubDomains" }, "" },
                { { "strict-transport-security-directives=max-age" },
                  "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, "
                  "includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more "
                  "information" },
                { { "emulated-version=x" }, "could not parse \"x\" as version" },
                { { "emulated-version=kube=1.33" }, "" },
                { { "emulated-version=kube=1.33.1" }, "patch version not allowed, got: kube=1.33.1" },
                { { "emulated-version=1.32" }, "--emulated-version: Cube is always 1.33" },
                { { "emulation-forward-compatible=true" },
                  "ServerRunOptions.EmulationForwardCompatible cannot be set to true if the emulation version is the "
                  "same as the binary version" },
                { { "storage-backend=etcd2" },
                  "--storage-backend invalid, allowed values: etcd3. If not specified, it will default to 'etcd3'" },
                { { "encryption-provider-config-automatic-reload=true" },
                  "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config" },
                { { "oidc-groups-claim=g" },
                  "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set" },
                { { "service-account-issuer=a", "service-account-issuer=b", "service-account-issuer=a" },
                  "service-account-issuer \"a\" is already specified" },
                { { "service-account-issuer=http://a:b" },
                  "service-account-issuer \"http://a:b\" contained a ':' but was not a valid URL: parse "
                  "\"http://a:b\": invalid port \":b\" after host" },
                { { "service-account-jwks-uri=%zz" },
                  "service-account-jwks-uri must be a valid URL: parse \"%zz\": invalid URL escape \"%zz\"" },
                { { "service-account-signing-key-file=" },
                  "--service-account-signing-key-file, --service-account-issuer, and --api-audiences should be "
                  "specified together" },
                { { "endpoint-reconciler-type=x" }, "Reconciler not implemented: x" },
                { { "service-account-jwks-uri=http://x" },
                  "service-account-jwks-uri requires https scheme, parsed as: http://x" },
                { { "service-account-max-token-expiration=1m", "goaway-chance=1" },
                  "the service-account-max-token-expiration must be between 1 hour and 2^32 seconds" },
                { { "runtime-config=flowcontrol.apiserver.k8s.io/v1=false" },
                  "--runtime-config=flowcontrol.apiserver.k8s.io/v1=false conflicts with "
                  "--enable-priority-and-fairness=true" },
                { { "runtime-config=flowcontrol.apiserver.k8s.io/v1=false", "enable-priority-and-fairness=false" },
                  "" },
                { { "peer-ca-file=x" },
                  "--peer-ca-file requires UnknownVersionInteroperabilityProxy feature to be turned on" },
                { { "service-account-signing-endpoint=/x" },
                  "setting `--service-account-signing-endpoint` requires enabling ExternalServiceAccountTokenSigner "
                  "feature gate" },
                { { "logging-format=xml" }, "format: Invalid value: \"xml\": Unsupported log format" },
                { { "log-json-split-stream=true" },
                  "options.json.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled" },
                { { "watch-cache-sizes=pods" }, "invalid value of watch cache size: pods" },
                { { "watch-cache-sizes=pods#-1,x" }, "watch cache size cannot be negative: pods#-1" },
                { { "logging-format=xml", "goaway-chance=1" },
                  "format: Invalid value: \"xml\": Unsupported log format" },
                { { "strict-transport-security-directives=a,preload,b," },
                  "[--strict-transport-security-directives invalid, allowed values: max-age=expireTime, "
                  "includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more "
                  "information, empty value in strict-transport-security-directives]" },
                { { "authorization-mode=ABAC,X,X,Webhook" },
                  "[authorization-mode ABAC's authorization policy file not passed, authorization-mode \"X\" is not a "
                  "valid mode, authorization-mode Webhook's authorization config file not passed, authorization-mode "
                  "[\"ABAC\" \"X\" \"X\" \"Webhook\"] has mode specified more than once]" },
                { { "authorization-policy-file=x" }, "cannot specify --authorization-policy-file without mode ABAC" },
                { { "requestheader-uid-headers=x, ", "enable-admission-plugins=X", "goaway-chance=1" },
                  "[--goaway-chance can not be less than 0 or greater than 0.02, empty value in "
                  "\"requestheader-uid-headers\", --requestheader-uid-headers is set without specifying the standard "
                  "X-Remote-Uid header - API aggregation will not work, enable-admission-plugins plugin \"X\" is "
                  "unknown]" },
                { { "cors-allowed-origins=//a$,x", "authorization-config=x", "authorization-mode=X" },
                  "[--cors-allowed-origins has an invalid regular expression: regular expression does not pin to "
                  "start/end of host in the origin header, help: List of allowed origins for CORS, comma separated. An "
                  "allowed origin can be a regular expression to support subdomain matching. If this list is empty "
                  "CORS will not be enabled. Please ensure each expression matches the entire hostname by anchoring to "
                  "the start with '^' or including the '//' prefix, and by anchoring to the end with '$' or including "
                  "the ':' port separator suffix. Examples of valid expressions are '//example\\.com(:|$)' and "
                  "'^https://example\\.com(:|$)', --authorization-config can not be specified when "
                  "--authorization-mode or --authorization-webhook-* flags are defined]" },
                { { "authorization-config=x", "authorization-webhook-cache-unauthorized-ttl=1s" },
                  "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* "
                  "flags are defined" },
                { { "admission-control=X", "enable-admission-plugins=Priority" },
                  "[admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually "
                  "exclusive, admission-control plugin \"X\" is unknown]" },
                { { "service-account-issuer=" },
                  "[service-account-issuer should not be an empty string, --service-account-signing-key-file, "
                  "--service-account-issuer, and --api-audiences should be specified together]" },
                { { "goaway-chance=1" }, "service-cluster-ip-range[0] is not a valid cidr", "10.0.0.0" },
                { { NULL }, "service-cluster-ip-range[1] is not an ip net", "10.0.0.0/24," },
                { { NULL },
                  "error determining service IP ranges for primary service cidr: the service cluster IP range must be "
                  "at least 8 IP addresses",
                  "10.0.0.0/30" },
                { { "apiserver-count=0" },
                  "[specified --service-cluster-ip-range is too large; for 128-bit addresses, the mask must be >= 108, "
                  "service IP family \"fd00::/64\" must match public address family \"1.2.3.4\", --apiserver-count "
                  "should be a positive number, but value '0' provided]",
                  "fd00::1/64",
                  "1.2.3.4" },
                { { "endpoint-reconciler-type=none" }, "", "fd00::/108", "1.2.3.4" },
                { { NULL },
                  "[--service-cluster-ip-range must not contain more than two entries, --service-cluster-ip-range[0] "
                  "and --service-cluster-ip-range[1] must be of different IP family]",
                  "10.0.0.0/24,10.1.0.0/24,x",
                  "1.2.3.4" },
                { { "show-hidden-metrics-for-version=1.31" },
                  "--show-hidden-metrics-for-version must be omitted or have the value '1.32'. Only the previous minor "
                  "version is allowed" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                const struct apiserver_options o = { .args = table[i].args, /* and no store yet */
                                                     .service_cidr = table[i].cidr,
                                                     .advertise_address = table[i].address };
                int r = apiserver_check(&o, &e);

                assert_string_equal(r < 0 ? error_text(&e) : "", table[i].error);
        }
}

static void tls_is_as_strict_as_it_is_told(void **state) {
        static const struct {
                const char *version, *suites, *error;
        } table[] = {
                { "VersionTLS12", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_AES_128_GCM_SHA256", "" },
                { NULL, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "" },
                { "VersionTLS13", NULL, "" },
                { "VersionTLS10", NULL, "" },
                { "VersionTLS09", NULL, "unknown tls version \"VersionTLS09\"" },
                { NULL, "TLS_NONE", "Cipher suite TLS_NONE not supported or doesn't exist" },
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

static struct str pem_text(struct fixture *f, BIO *b) {
        char *p;
        long n = BIO_get_mem_data(b, &p);
        struct str s = arena_str(f->a, str_n(p, (size_t) n));

        BIO_free(b);
        return s;
}

/* Signed by itself, with a DNS name beside its common name. */
static struct tls_named make_pair(struct fixture *f, EVP_PKEY *key, const char *cn, const char *dns) {
        BIO *cert_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_mem());
        X509 *cert = X509_new();
        X509_EXTENSION *names =
                        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, arena_printf(f->a, "DNS:%s", dns).p);

        X509_set_version(cert, X509_VERSION_3);
        X509_gmtime_adj(X509_getm_notBefore(cert), 0);
        X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
        X509_set_pubkey(cert, key);
        X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *) cn, -1, -1,
                                   0);
        X509_add_ext(cert, names, -1);
        assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
        PEM_write_bio_X509(cert_pem, cert);
        PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL);
        X509_EXTENSION_free(names);
        X509_free(cert);
        EVP_PKEY_free(key);
        return (struct tls_named) { pem_text(f, cert_pem), pem_text(f, key_pem), STR("") };
}

static void what_is_no_certificate_is_told_as_go_tells_it(void **state) {
        struct fixture *f = *state;
        struct tls_named a = make_pair(f, EVP_RSA_gen(2048), "a", "a"), b = make_pair(f, EVP_RSA_gen(2048), "b", "b"),
                         ec = make_pair(f, EVP_EC_gen("P-256"), "c", "c");
        static const struct str junk = STR_INIT("junk"),
                                hollow = STR_INIT("-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n"),
                                other = STR_INIT("-----BEGIN X-----\nYWJj\n-----END X-----\n");
        const struct {
                struct str cert, key, ca;
                const char *error;
        } table[] = {
                { junk, a.key_pem, { 0 }, "tls: failed to find any PEM data in certificate input" },
                { other, a.key_pem, { 0 }, "tls: failed to find \"CERTIFICATE\" PEM block in certificate input" },
                { a.key_pem,
                  a.key_pem,
                  { 0 },
                  "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM "
                  "inputs may have been switched" },
                { hollow, a.key_pem, { 0 }, "x509: malformed certificate" },
                { a.cert_pem, junk, { 0 }, "tls: failed to find any PEM data in key input" },
                { a.cert_pem,
                  a.cert_pem,
                  { 0 },
                  "tls: found a certificate rather than a key in the PEM for the private key" },
                { a.cert_pem, b.key_pem, { 0 }, "tls: private key does not match public key" },
                { a.cert_pem, ec.key_pem, { 0 }, "tls: private key type does not match public key type" },
                { a.cert_pem, a.key_pem, junk, "unable to load root certificates: unable to parse bytes as PEM block" },
                { a.cert_pem, a.key_pem, other,
                  "unable to load root certificates: no valid certificate authority data seen" },
                { a.cert_pem, a.key_pem, hollow,
                  "unable to load root certificates: failed to parse certificate: x509: malformed certificate" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;
                struct tls_options o = { .cert_pem = table[i].cert, .key_pem = table[i].key, .ca_pem = table[i].ca };
                struct tls_context *c;

                assert_int_equal(tls_context_new(&o, &c, &e), -EINVAL);
                assert_string_equal(error_text(&e), table[i].error);
        }
}

/* The common name of who answers for name. */
static const char *who_is(struct fixture *f, struct tls_context *server, const char *name) {
        struct tls_context *client;
        SSL *ends[2];
        BIO *wires[2];
        char cn[64] = "";
        X509 *peer;

        assert_int_equal(tls_context_new(&(struct tls_options) { .insecure = true }, &client, NULL), 0);
        assert_int_equal(BIO_new_bio_pair(&wires[0], 0, &wires[1], 0), 1);
        ends[0] = tls_context_ssl(client, name);
        ends[1] = tls_context_ssl(server, NULL);
        for (size_t i = 0; i < 2; i++)
                SSL_set_bio(ends[i], wires[i], wires[i]);
        for (size_t i = 0; i < 16; i++)
                SSL_do_handshake(ends[i % 2]);
        peer = SSL_get1_peer_certificate(ends[0]);
        assert_non_null(peer);
        X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, cn, sizeof(cn));
        X509_free(peer);
        SSL_free(ends[0]);
        SSL_free(ends[1]);
        tls_context_unref(client);
        return arena_cstr(f->a, str_of(cn));
}

static void certificates_are_for_names(void **state) {
        struct fixture *f = *state;
        struct tls_named own = make_pair(f, EVP_EC_gen("P-256"), "own", "own.example"),
                         named[] = { make_pair(f, EVP_RSA_gen(2048), "a.example", "*.a.test"),
                                     make_pair(f, EVP_EC_gen("P-256"), "b", "b.example") };
        struct tls_options o = {
                .server = true, .cert_pem = own.cert_pem, .key_pem = own.key_pem, .named = named, .n_named = 2
        };
        struct tls_context *server;

        named[1].names = STR("other.name,*.star.x,x.a.test");
        assert_int_equal(tls_context_new(&o, &server, NULL), 0);
        assert_string_equal(who_is(f, server, "A.EXAMPLE"), "a.example");
        assert_string_equal(who_is(f, server, "y.a.test"), "a.example");
        assert_string_equal(who_is(f, server, "z.y.a.test"), "own");
        assert_string_equal(who_is(f, server, "x.a.test"), "b"); /* what is asked for goes before what it says */
        assert_string_equal(who_is(f, server, "other.name"), "b");
        assert_string_equal(who_is(f, server, "q.star.x"), "b");
        assert_string_equal(who_is(f, server, "b.example"), "b"); /* nobody else could */
        assert_string_equal(who_is(f, server, "own.example"), "own");
        assert_string_equal(who_is(f, server, "nobody"), "own");
        named[0].key_pem = own.key_pem;
        assert_int_equal(tls_context_renew(server, &o, NULL), -EINVAL);
        tls_context_unref(server);
}

static int start(const char *const *args, struct error *err) {
        struct apiserver_options o = { .args = args };
        struct apiserver *s = NULL;
        int r;

        assert_int_equal(store_open(&(struct store_options) { 0 }, &o.store, NULL), 0);
        r = apiserver_new(&o, &s, err);
        apiserver_free(s);
        store_close(o.store);
        return r;
}

static int refused(const char *arg) {
        return start((const char *const[]) { arg, NULL }, NULL);
}

static void what_it_cannot_start_with_is_told(void **state) {
        static const struct {
                const char *args[4], *error;
        } table[] = {
                { { "service-account-key-file=/dev/null" },
                  "error reading public key file /dev/null: data does not contain any valid RSA or ECDSA public keys" },
                { { "service-account-signing-key-file=/dev/null" },
                  "failed to parse service-account-issuer-key-file: error reading private key file /dev/null: data "
                  "does "
                  "not contain a valid RSA or ECDSA private key" },
                { { "client-ca-file=/dev/null" }, "missing content for CA bundle \"client-ca-bundle::/dev/null\"" },
                { { "requestheader-client-ca-file=/proc/self/comm" },
                  "error loading CA bundle for \"request-header::/proc/self/comm\": data does not contain any valid "
                  "RSA "
                  "or ECDSA certificates" },
                { { "proxy-client-cert-file=/proc/self/comm", "proxy-client-key-file=/proc/self/comm" },
                  "tls: failed to find any PEM data in certificate input" },
                { { "authorization-mode=Webhook", "authorization-webhook-config-file=/none" },
                  "invalid authorization config: stat /none: no such file or directory" },
                { { "authorization-mode=Webhook", "authorization-webhook-config-file=/none",
                    "authorization-webhook-version=" },
                  "invalid authorization config: unsupported webhook authorizer version \"\", supported versions are "
                  "\"v1\", \"v1beta1\"" },
                { { "authentication-token-webhook-config-file=/none", "authentication-token-webhook-version=v2" },
                  "unsupported authentication webhook version \"v2\", supported versions are \"v1\", \"v1beta1\"" },
                { { "authorization-mode=ABAC", "authorization-policy-file=/none" },
                  "invalid authorization config: open /none: no such file or directory" },
                { { "oidc-issuer-url=https://a", "oidc-client-id=b", "oidc-signing-algs=RS256,HS256" },
                  "oidc: unsupported signing alg: \"HS256\"" },
                { { "oidc-issuer-url=https://a", "oidc-client-id=b", "oidc-username-claim=" },
                  "jwt[0].claimMappings.username: Required value: claim or expression is required" },
                { { "oidc-issuer-url=https://a", "oidc-client-id=b", "service-account-issuer=https://a" },
                  "issuer.url: Invalid value: \"https://a\": URL must not overlap with disallowed issuers: "
                  "[https://a]" },
                { { "audit-policy-file=/none" },
                  "loading audit policy file: failed to read file path \"/none\": open /none: no such file or "
                  "directory" },
                { { "authorization-config=/none" }, "open /none: no such file or directory" },
                { { "authorization-config=/dev/null" },
                  "authorizers: Required value: at least one authorization mode must be defined" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;

                assert_true(start(table[i].args, &e) < 0);
                assert_string_equal(error_text(&e), table[i].error);
        }
}

static int demanding(void **state) {
        static const char *const args[] = { "oidc-issuer-url=https://a",       "oidc-client-id=b",
                                            "oidc-required-claim=team=x,y",    "oidc-required-claim=level=1",
                                            "oidc-required-claim= level = 2 ", NULL };

        return fixture_setup_with(state, args);
}

static void every_required_claim_counts(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json list;

        assert_int_equal(oidc_from_flags(f->s->authn, f->a, &list, NULL), 0);
        json_write(&b, json_getc(json_item(&list, 0), "claimValidationRules"));
        assert_true(str_eqc(buf_str(&b), "[{\"claim\":\"team\",\"requiredValue\":\"x,y\"},"
                                         "{\"claim\":\"level\",\"requiredValue\":\"2\"}]"));
}

static int setup(void **state) {
        static const char *const args[] = {
                "service-node-port-range=20000-20000",
                "profiling=false",
                "disabled-metrics=apiserver_storage_objects,serviceaccount_valid_tokens_total",
                "allow-metric-labels=apiserver_request_total,verb=POST,PUT",
                "allow-metric-labels=apiserver_current_inflight_requests,request_kind=mutating",
                "allow-privileged=false",
                "external-hostname=api.example",
                "enable-garbage-collector=false",
                NULL
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

static void features_may_be_a_choice(void **state) {
        static const char *const args[] = { "feature-gates=WatchList=false", NULL };
        struct api_options o = { .send_initial_events = true, .resource_version_match = STR_INIT("NotOlderThan") };
        struct error e = ERROR_INIT;
        void *s = NULL;

        for (int on = 1; on >= 0; on--) {
                fixture_setup_with(&s, on ? NULL : args);
                struct fixture *f = s;
                bool is_on = server_feature(f->s, STR("WatchList"));

                assert_int_equal(is_on, on);
                assert_int_equal(list_options_check(f->a, &o, true, is_on, &e) < 0, !on);
                fixture_teardown(&s);
        }
        assert_string_equal(
                        error_text(&e),
                        "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is "
                        "forbidden for watch unless the WatchList feature gate is enabled");
        error_clear(&e);
}

static void they_change_the_server(void **state) {
        static const char service[] =
                        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":1}]}}";
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_services, "default", .body = arena_printf(f->a, service, "a").p);
        struct json openid;
        struct str page;

        check(r, 201, ".spec.ports[0].nodePort", "20000");
        r = ASK(f, API_CREATE, &res_services, "default", .body = arena_printf(f->a, service, "b").p);
        check_code(r, 500); /* there is no other */
        assert_non_null(strstr(r.status, "[{\"message\":\"failed to allocate a nodePort: range is full\"}]"));
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", .body = "{\"metadata\":{\"name\":\"default\"}}"),
                   201);
        r = ASK(f, API_CREATE, &res_pods, "default",
                .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
                        "\"securityContext\":{\"privileged\":true}}]}}");
        check_code(r, 422);
        assert_non_null(strstr(r.status, "spec.containers[0].securityContext.privileged: Forbidden: disallowed by "
                                         "cluster policy"));
        r = ASK(f, API_CREATE, &res_configmaps, "default",
                .body = "{\"metadata\":{\"name\":\"c\",\"finalizers\":[\"x/y\"]}}");
        check_code(r, 201);
        r = ASK(f, API_DELETE, &res_configmaps, "default", "c", .options = { .propagation_policy = STR("Foreground") });
        check(r, 200, ".metadata.finalizers", "[\"x/y\"]"); /* nobody collects: it does not wait for dependents */
        openid = authn_openid_configuration(f->s->authn, f->a);
        assert_true(str_has_prefix(json_str(json_getc(&openid, "jwks_uri")), STR("https://api.example:")));
        fixture_let_all(f);
        fixture_listen(f);
        assert_true(str_has_prefix(talk_until(f, "GET /debug/pprof/heap HTTP/1.0\r\n\r\n", NULL),
                                   STR("HTTP/1.0 404 ")));
        assert_true(str_search(talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL),
                               STR(",go_version=\"none (C17)\",major=\"1\",minor=\"33\",platform=\"linux/")) > 0);
        assert_true(str_search(talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL),
                               STR("\nkubernetes_feature_enabled{name=\"WatchList\",stage=\"BETA\"} 1\n")) > 0);
        talk_until(f, "GET /livez HTTP/1.0\r\n\r\n", NULL);
        page = talk_until(f, "GET /metrics HTTP/1.0\r\n\r\n", NULL);
        metrics_are_whole(page);
        assert_true(str_search(page, STR("subresource=\"/livez\",verb=\"unexpected\",version=\"\"} ")) > 0);
        assert_true(str_search(page, STR("\napiserver_current_inflight_requests{request_kind=\"unexpected\"} ")) > 0);
        assert_true(str_search(page, STR("\napiserver_current_inflight_requests{request_kind=\"readOnly\"}")) < 0);
        assert_true(str_search(page,
                               STR("\napiserver_request_duration_seconds_count{component=\"\",dry_run="
                                   "\"\",group=\"\",resource=\"\",scope=\"\",subresource=\"/livez\",verb=\"GET\"")) >
                    0);
        assert_true(str_search(page, STR("\ncardinality_enforcement_unexpected_categorizations_total 0\n")) < 0);
        assert_int_equal(refused("client-ca-file=/nowhere/ca.crt"), -ENOENT);
        assert_int_equal(refused("kubelet-certificate-authority=/nowhere/ca.crt"), -ENOENT);
        assert_int_equal(refused("kubelet-certificate-authority="), 0);
}

static void numbers_of_metrics_are_as_go_prints_them(void **state) {
        METRIC(large, GAUGE, "test_large", "x");
        static const double bounds[] = { 0.00001, 2500000 };
        HISTOGRAM(spread, bounds, "test_spread", "x");
        _cleanup_buf_ struct buf b = BUF_INIT;

        metric_add(&large, 1795335131);
        series_observe(metric_series(&spread, 0, NULL, NULL), 1234567.25);
        metrics_collect(&b);
        assert_true(str_search(buf_str(&b), STR("\ntest_large 1.795335131e+09\n")) > 0);
        assert_true(str_search(buf_str(&b), STR("test_spread_bucket{le=\"1e-05\"} 0\n"
                                                "test_spread_bucket{le=\"2.5e+06\"} 1\n")) > 0);
        assert_true(str_search(buf_str(&b), STR("test_spread_sum 1.23456725e+06\ntest_spread_count 1\n")) > 0);
}

static bool tells(struct str page, const char *line) {
        return str_search(page, str_of(line)) >= 0;
}

#define FETCH(f, path) talk_until((f), "GET " path " HTTP/1.0\r\n\r\n", NULL)

static void tell(struct fixture *f, const char *method, const char *path, const char *header, const char *body,
                 const char *status) {
        struct str text = arena_printf(f->a, "%s %s HTTP/1.0\r\n%sContent-Length: %zu\r\n\r\n%s", method, path, header,
                                       strlen(body), body);

        struct str r = talk_until(f, text.p, NULL);

        if (str_search(r, str_of(status)) < 0)
                fail_msg("%s %s: %" STR_FMT, method, path, STR_ARG(r));
}

static void post(struct fixture *f, const char *path, const char *body) {
        tell(f, "POST", path, "Content-Type: application/json\r\n", body, " 201 ");
}

static const char *untold(struct str page, const char *const *lines, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!tells(page, lines[i]))
                        return lines[i];
        return NULL;
}

static void metrics_count_what_upstream_counts(void **state) {
        static const char *const there[] = {
                "resource=\"\",scope=\"\",subresource=\"/livez\",verb=\"GET\",version=\"\"} 1\n",
                "\napiserver_request_body_size_bytes_sum{resource=\"configmaps\",verb=\"create\"} 51\n",
                "\napiserver_request_body_size_bytes_bucket{resource=\"configmaps\",verb=\"create\",le=\"3.05e+06\"}",
                "\napiserver_cache_list_total{index=\"\",resource_prefix=\"/services/specs\"} 1\n",
                "\napiserver_cache_list_returned_objects_total{resource_prefix=\"/services/specs\"} 2\n",
                "\napiserver_storage_list_total{resource=\"services\"} 1\n",
                "\nkube_apiserver_nodeport_allocator_allocation_total{scope=\"dynamic\"} 1\n",
                "\nkube_apiserver_nodeport_allocator_allocated_ports 1\n",
                "\nkube_apiserver_nodeport_allocator_available_ports 2767\n",
                "\nkube_apiserver_clusterip_allocator_allocation_total{cidr=\"10.96.0.0/12\",scope=\"static\"} 1\n",
                "\nwatch_cache_capacity{resource=\"configmaps\"} 100\n",
                "\netcd_lease_object_counts_bucket{le=\"10\"} 0\n",
                "\nfield_validation_request_duration_seconds_sum{field_validation=\"\"} 0\n",
                "\napiserver_current_inqueue_requests{request_kind=\"mutating\"} 0\n",
                "\nregistered_metrics_total{deprecated_version=\"\",stability_level=\"STABLE\"} ",
                "\napiserver_flowcontrol_demand_seats_count{priority_level=\"catch-all\"} ",
                "\napiserver_flowcontrol_seat_fair_frac ",
                "\napiserver_request_filter_duration_seconds_count{filter=\"audit\"} ",
                "\napiserver_request_filter_duration_seconds_count{filter=\"authentication\"} ",
                "\napiserver_request_filter_duration_seconds_count{filter=\"authorization\"} ",
                "\napiserver_request_filter_duration_seconds_count{filter=\"impersonation\"} ",
                "\napiserver_request_filter_duration_seconds_count{filter=\"priorityandfairness\"} ",
                "\napiserver_request_sli_duration_seconds_count{component=\"apiserver\",group=\"\",resource=\"pods\","
                "scope=\"resource\",subresource=\"log\",verb=\"CONNECT\",version=\"v1\"} 1\n",
                "\nkube_apiserver_pod_logs_insecure_backend_total{usage=\"enforce_tls\"} 1\n",
                "\napiserver_response_sizes_count{component=\"apiserver\",group=\"\",resource=\"configmaps\","
                "scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"} 1\n",
                "\netcd_requests_total{operation=\"create\",type=\"configmaps\"} 2\n",
                "\netcd_requests_total{operation=\"update\",type=\"configmaps\"} 1\n",
                "\napiserver_watch_cache_consistent_read_total{fallback=\"false\",resource=\"/services/specs\",success="
                "\"true\"} 1\n",
                "\napiserver_init_events_total{resource=\"configmaps\"} 2\n",
                "\napiserver_storage_events_received_total{resource=\"configmaps\"} 2\n",
                "\napiserver_watch_cache_events_dispatched_total{resource=\"configmaps\"} 2\n",
                "\napiserver_watch_cache_events_received_total{resource=\"configmaps\"} 2\n",
                "\napiserver_watch_cache_events_received_total{resource=\"leases.coordination.k8s.io\"} 1\n",
                "\r\nProcess-Start-Time-Unix: ",
        };
        static const char *const missing[] = { "/version",
                                               "code=\"406\"",
                                               "etcd_request_errors_total",
                                               "etcd_requests_total{operation=\"list\",type=\"configmaps\"}",
                                               "_sizes_bucket{resource=\"configmaps\",verb=\"update\"",
                                               "wait_duration_seconds_count{execute=\"true\",flow_schema=\"exempt\"",
                                               "apiserver_longrunning_requests{component=\"\"",
                                               "apiserver_storage_objects{resource=\"componentstatuses\"}",
                                               "code=\"403\"",
                                               "code=\"404\"",
                                               "/livez/ping",
                                               "watch_cache_capacity{resource=\"events\"}",
                                               "watch_cache_capacity{resource=\"componentstatuses\"}" };
        struct fixture *f = *state;
        int64_t late = now_mono_ms() + 20000;
        struct str page;

        fixture_listen(f);
        assert_true(str_search(FETCH(f, "/api/v1/services"), STR(" 403 ")) > 0);
        fixture_let_all(f);
        page = talk_until(f, "DELETE /metrics HTTP/1.0\r\n\r\n", NULL);
        assert_true(str_has_suffix(page, STR("\r\n\r\nmetrics reset\n")));
        post(f, "/api/v1/namespaces/default/configmaps", "{\"metadata\":{\"name\":\"c\"}} ");
        post(f, "/api/v1/namespaces/default/services",
             "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}]}}");
        FETCH(f, "/api/v1/services");
        FETCH(f, "/api/v1/services?limit=1&resourceVersion=1&resourceVersionMatch=Exact");
        FETCH(f, "/version");
        FETCH(f, "/livez");
        FETCH(f, "/livez/ping");
        FETCH(f, "/nope");
        FETCH(f, "/api/v1/nopes");
        post(f, "/apis/coordination.k8s.io/v1/namespaces/default/leases", "{\"metadata\":{\"name\":\"l\"}}");
        tell(f, "GET", "/api/v1/namespaces/default/configmaps", "Accept: text/x\r\n", "", " 406 ");
        tell(f, "PUT", "/api/v1/namespaces/default/configmaps/c", "Content-Type: text/x\r\n", "{}", " 415 ");
        tell(f, "POST", "/api/v1/namespaces/default/configmaps", "", "{\"metadata\":{\"name\":\"c\"}}", " 409 ");
        tell(f, "PATCH", "/api/v1/namespaces/default/configmaps/d?fieldManager=me",
             "Content-Type: application/apply-patch+yaml\r\n", "{apiVersion: v1, kind: ConfigMap, metadata: {name: d}}",
             " 201 ");
        tell(f, "GET", "/api/v1/configmaps?continue=x", "", "", " 400 ");
        tell(f, "GET", "/api/v1/namespaces/default/pods/p/log?tailLines=-1", "", "", " 422 ");
        tell(f, "GET", "/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1", "", "", " 200 ");
        do /* the end of a watch is counted after its client has seen it, and a write when the store publishes it */
                page = FETCH(f, "/metrics");
        while (untold(page, there, ARRAY_SIZE(there)) && now_mono_ms() < late);
        if (untold(page, there, ARRAY_SIZE(there)))
                fail_msg("it does not tell %s", untold(page, there, ARRAY_SIZE(there)));
        for (size_t i = 0; i < ARRAY_SIZE(missing); i++)
                if (tells(page, missing[i]))
                        fail_msg("it tells %s", missing[i]);
        assert_true(tells(FETCH(f, "/metrics/slis"), "checks_total{name=\"ping\",status=\"success\",type=\"livez\"} "));
        tell(f, "DELETE", "/metrics/slis", "", "", " 200 "); /* each path has its own */
        assert_false(tells(FETCH(f, "/metrics/slis"), "checks_total{name=\"ping\""));
        FETCH(f, "/livez");
        assert_true(tells(FETCH(f, "/metrics"), "subresource=\"/livez\",verb=\"GET\",version=\"\"} 2\n"));
        talk_until(f, "DELETE /metrics HTTP/1.0\r\n\r\n", NULL);
        assert_true(tells(FETCH(f, "/metrics/slis"), "checks_total{name=\"ping\""));
        page = FETCH(f, "/metrics");
        assert_false(tells(page, "subresource=\"/livez\"") || tells(page, "request_body_size_bytes_count{resource"));
        assert_true(tells(page, "\nkube_apiserver_nodeport_allocator_allocated_ports 1\n"));
}

static void what_is_logged_may_change(void **state) {
        struct fixture *f = *state;

        fixture_let_all(f);
        fixture_listen(f);
        assert_true(tells(FETCH(f, "/debug/flags"), "<tr>v<br>"));
        assert_true(tells(FETCH(f, "/debug/flags/v/x"), "<tr>v<br>"));
        assert_true(tells(FETCH(f, "/debug/flags/v"), " 406 "));
        assert_true(tells(talk_until(f, "PUT /debug/flags/v HTTP/1.0\r\nContent-Length: 1\r\n\r\n4", NULL),
                          "successfully set klog.logging.verbosity to 4\n"));
        assert_true(log_enabled(LOG_LEVEL_DEBUG));
        assert_true(tells(talk_until(f, "PUT /debug/flags/v HTTP/1.0\r\nContent-Length: 1\r\n\r\n2", NULL), " 200 "));
        assert_false(log_enabled(LOG_LEVEL_DEBUG));
        assert_true(tells(talk_until(f, "PUT /debug/flags/v HTTP/1.0\r\nContent-Length: 1\r\n\r\nx", NULL), " 400 "));
        assert_true(tells(FETCH(f, "/debug/pprof"), "\r\nLocation: /debug/pprof/\r\n"));
        assert_true(tells(FETCH(f, "/debug/pprof/"), "\r\nX-Content-Type-Options: nosniff\r\n"));
        assert_true(tells(FETCH(f, "/debug/pprof/x"), "Unknown profile\n"));
        assert_true(tells(FETCH(f, "/version/x"), "\"the server could not find the requested resource\""));
        assert_true(tells(FETCH(f, "/apis//"), "404 page not found\n"));
        assert_true(tells(FETCH(f, "/version//"), " 200 "));
        assert_true(tells(FETCH(f, "/api%2f/v1"), "\"the server could not find the requested resource\""));
        assert_true(tells(FETCH(f, "/api/v1/namespaces/../configmaps"), "invalid key: \\\"/configmaps/..\\\""));
        assert_true(tells(talk_until(f, "DELETE /api/// HTTP/1.0\r\n\r\n", NULL), " 405 "));
        assert_true(tells(talk_until(f, "DELETE /apis/apps// HTTP/1.0\r\n\r\n", NULL), " 405 "));
        assert_true(tells(talk_until(f, "DELETE /apis/apps/ HTTP/1.0\r\n\r\n", NULL), " 200 "));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                /* the first, as numbers stay */
                cmocka_unit_test_setup_teardown(they_change_the_server, setup, fixture_teardown),
                cmocka_unit_test(features_may_be_a_choice),
                cmocka_unit_test(numbers_of_metrics_are_as_go_prints_them),
                cmocka_unit_test(values_are_read_as_upstream_reads_them),
                cmocka_unit_test(lists_add_up_and_nothing_is_no_value),
                cmocka_unit_test(all_that_is_wrong_is_told),
                cmocka_unit_test(tls_is_as_strict_as_it_is_told),
                cmocka_unit_test_setup_teardown(certificates_are_for_names, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_no_certificate_is_told_as_go_tells_it, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test(what_it_cannot_start_with_is_told),
                cmocka_unit_test_setup_teardown(every_required_claim_counts, demanding, fixture_teardown),
                cmocka_unit_test_setup_teardown(metrics_count_what_upstream_counts, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_logged_may_change, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
