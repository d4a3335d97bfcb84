/* Tokens of every kind, the keys that sign them, and the flags that accept them. */
#include "help.h"

#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "apiserver/auth/authn.h"
#include "base/encode.h"
#include "base/file.h"
#include "http/jwt.h"
#include "json/build.h"

/* ---- JWT ---- */

static void each_key_signs_by_its_algorithm(void **state) {
        static const struct {
                const char *type, *param, *algorithm;
        } table[] = { { "RSA", NULL, "RS256" },
                      { "EC", "P-256", "ES256" },
                      { "EC", "P-384", "ES384" },
                      { "EC", "P-521", "ES512" } };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json claims = json_new_object();

        json_set_cstr(a, &claims, "sub", "x");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                EVP_PKEY *key = table[i].param ? EVP_EC_gen(table[i].param) : EVP_RSA_gen(2048), *public;
                EVP_PKEY *other = table[i].param ? EVP_EC_gen(table[i].param) : EVP_RSA_gen(2048);
                struct json jwk = jwk_write(a, key, STR("k"));
                struct str text;
                struct jwt t;

                assert_string_equal(jwt_algorithm(key), table[i].algorithm);
                assert_int_equal(jwt_sign(a, key, STR("k"), &claims, &text), 0);
                assert_int_equal(jwt_parse(a, text, &t), 0);
                public = jwk_read(&jwk);
                assert_non_null(public);
                assert_true(jwt_verify(&t, public));
                assert_false(jwt_verify(&t, other));
                ((char *) t.signature.p)[5] ^= 1;
                assert_false(jwt_verify(&t, public));
                EVP_PKEY_free(public);
                EVP_PKEY_free(other);
                EVP_PKEY_free(key);
        }
}

/* RFC 7515, A.2: RS256 by another implementation. */
static void rfc_7515_verifies(void **state) {
        static const char jwk_text[] =
                        "{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
                        "4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LO"
                        "L-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9"
                        "kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\","
                        "\"e\":\"AQAB\"}";
        static const char token[] =
                        "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNv"
                        "bS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm"
                        "4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6"
                        "xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
                        "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *jwk;
        EVP_PKEY *key;
        struct jwt t;

        assert_int_equal(json_parse(a, STR(jwk_text), NULL, &jwk, NULL), 0);
        key = jwk_read(jwk);
        assert_non_null(key);
        assert_int_equal(jwt_parse(a, STR(token), &t), 0);
        assert_true(jwt_verify(&t, key));
        assert_true(str_eqc(json_str(json_getc(t.claims, "iss")), "joe"));
        EVP_PKEY_free(key);
}

/* An attacker's classics: no algorithm, and a public key as an HMAC secret. */
static void other_algorithms_are_refused(void **state) {
        static const char *const headers[] = { "{\"alg\":\"none\"}", "{\"alg\":\"HS256\"}", "{\"alg\":\"\"}", "{}",
                                               "{\"alg\":\"RS256\"}" };
        EVP_PKEY *key = EVP_EC_gen("P-256");
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct jwt t;

                base64url_encode(&b, str_of(headers[i]));
                buf_addc(&b, ".e30.");
                if (jwt_parse(a, buf_str(&b), &t) == 0)
                        assert_false(jwt_verify(&t, key));
        }
        EVP_PKEY_free(key);
}

/* ---- service accounts ---- */

static struct answer review(struct fixture *f, struct str token) {
        return ASK(f, API_CREATE, &res_tokenreviews,
                   .body = arena_printf(f->a, "{\"spec\":{\"token\":\"%" STR_FMT "\"}}", STR_ARG(token)).p);
}

static const char *make_token(struct fixture *f, const char *spec) {
        struct answer r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = spec);

        check_code(r, 201);
        return at(f, r, ".status.token");
}

static void tokens_of_pods_name_their_node_and_are_extended(void **state) {
        struct fixture *f = *state;
        struct answer r;
        struct jwt t;
        int64_t now = now_wall_ns() / NSEC_PER_SEC;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_nodes, .body = "{\"metadata\":{\"name\":\"n1\"}}");
        ASK(f, API_CREATE, &res_pods, "default",
            .body = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\","
                    "\"image\":\"x\"}]}}");
        r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                .body = "{\"spec\":{\"expirationSeconds\":3607,\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":"
                        "\"v1\",\"name\":\"p\"}}}");
        check_code(r, 201);
        assert_string_equal(at(f, r, ".spec.expirationSeconds"), "3607");
        assert_int_equal(jwt_parse(f->a, str_of(at(f, r, ".status.token")), &t), 0);
        assert_true(json_int(json_getc(t.claims, "exp")) > now + 300 * 24 * 3600);
        assert_true(json_int(json_at_path(t.claims, "kubernetes.io", "warnafter")) <= now + 3608);
        r = review(f, str_of(at(f, r, ".status.token")));
        assert_string_equal(at(f, r, ".status.user.extra.authentication\\.kubernetes\\.io/node-name[0]"), "n1");
        assert_true(str_has_prefix(
                        str_of(at(f, r, ".status.user.extra.authentication\\.kubernetes\\.io/credential-id[0]")),
                        STR("JTI=")));
}

static void a_token_bound_to_a_node_ends_with_it(void **state) {
        struct fixture *f = *state;
        const char *token;

        make_account(f, "default");
        ASK(f, API_CREATE, &res_nodes, .body = "{\"metadata\":{\"name\":\"n1\"}}");
        token = make_token(f,
                           "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Node\",\"apiVersion\":\"v1\",\"name\":\"n1\"}}}");
        assert_string_equal(at(f, review(f, str_of(token)), ".status.authenticated"), "true");
        ASK(f, API_DELETE, &res_nodes, NULL, "n1");
        assert_string_equal(at(f, review(f, str_of(token)), ".status.authenticated"), "(absent)");
}

static void a_secret_token_is_worth_what_its_secret_is(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b64 = BUF_INIT;
        struct json claims = json_new_object();
        struct answer r;
        struct str token;
        const char *uid;

        make_account(f, "default");
        uid = at(f, ASK(f, API_GET, &res_serviceaccounts, "default", "default"), ".metadata.uid");
        json_set_cstr(f->a, &claims, "iss", "kubernetes/serviceaccount");
        json_set_cstr(f->a, &claims, "kubernetes.io/serviceaccount/namespace", "default");
        json_set_cstr(f->a, &claims, "kubernetes.io/serviceaccount/secret.name", "s");
        json_set_cstr(f->a, &claims, "kubernetes.io/serviceaccount/service-account.name", "default");
        json_set_cstr(f->a, &claims, "kubernetes.io/serviceaccount/service-account.uid", uid);
        json_set_cstr(f->a, &claims, "sub", "system:serviceaccount:default:default");
        assert_int_equal(authn_sign(f->s->authn, f->a, &claims, &token, NULL), 0);
        assert_string_equal(at(f, review(f, token), ".status.authenticated"), "(absent)"); /* no such secret */
        base64_encode(&b64, token);
        check_code(ASK(f, API_CREATE, &res_secrets, "default",
                       .body = arena_printf(f->a,
                                            "{\"metadata\":{\"name\":\"s\",\"annotations\":{\"kubernetes.io/"
                                            "service-account.name\":\"default\"}},\"type\":\"kubernetes.io/"
                                            "service-account-token\",\"data\":{\"token\":\"%" STR_FMT "\"}}",
                                            STR_ARG(buf_str(&b64)))
                                               .p),
                   201);
        r = review(f, token);
        assert_string_equal(at(f, r, ".status.user.username"), "system:serviceaccount:default:default");
        assert_int_equal(r.n_warnings, 0);
        assert_int_equal(strlen(at(f, ASK(f, API_GET, &res_secrets, "default", "s"),
                                   ".metadata.labels.kubernetes\\.io/legacy-token-last-used")),
                         10); /* noted before the answer */
        assert_true(json_equal(
                        r.annotations,
                        json_new(f->a, json_build(f->a, "{ authentication.k8s.io/legacy-token:"
                                                        "    'system:serviceaccount:default:default',"
                                                        "  authentication.k8s.io/legacy-token-manual-secret: 's' }"))));
        ASK(f, API_PATCH, &res_serviceaccounts, "default", "default", .patch = API_PATCH_MERGE,
            .body = "{\"secrets\":[{\"name\":\"s\"}]}");
        r = review(f, token);
        assert_true(str_eqc(r.warning, "Use tokens from the TokenRequest API or manually created secret-based tokens "
                                       "instead of auto-generated secret-based tokens."));
        assert_true(str_eqc(
                        json_str(json_getc(r.annotations, "authentication.k8s.io/legacy-token-autogenerated-secret")),
                        "s"));
        ASK(f, API_PATCH, &res_secrets, "default", "s", .patch = API_PATCH_MERGE,
            .body = "{\"metadata\":{\"labels\":{\"kubernetes.io/legacy-token-invalid-since\":\"2024-01-01\"}}}");
        r = review(f, token);
        assert_non_null(strstr(at(f, r, ".status.error"), "has been marked invalid. Use tokens from the TokenRequest"));
        assert_true(str_eqc(json_str(json_getc(r.annotations, "authentication.k8s.io/legacy-token-invalidated")),
                            "s/default"));
        ASK(f, API_PATCH, &res_secrets, "default", "s", .patch = API_PATCH_MERGE,
            .body = "{\"data\":{\"token\":\"eA==\"}}");
        assert_string_equal(at(f, review(f, token), ".status.authenticated"), "(absent)");
}

/* ---- keys of service account tokens ---- */

#define OLD_KEY "old.pem"
#define NEW_KEY "new.pem"
#define PUBLIC_KEYS "public.pem"

static int setup_two_keys(void **state) {
        static const char *const args[] = { "service-account-signing-key-file=" NEW_KEY,
                                            "service-account-key-file=" PUBLIC_KEYS,
                                            "service-account-issuer=https://new",
                                            "service-account-issuer=https://old",
                                            "service-account-jwks-uri=https://keys",
                                            "service-account-max-token-expiration=1h",
                                            NULL };
        EVP_PKEY *old = EVP_RSA_gen(2048), *new = EVP_EC_gen("P-256");
        FILE *private[] = { fopen(OLD_KEY, "w"), fopen(NEW_KEY, "w") }, *public = fopen(PUBLIC_KEYS, "w");

        PEM_write_PrivateKey(private[0], old, NULL, NULL, 0, NULL, NULL);
        PEM_write_PrivateKey(private[1], new, NULL, NULL, 0, NULL, NULL);
        PEM_write_PUBKEY(public, new);
        PEM_write_PUBKEY(public, old);
        fclose(private[0]);
        fclose(private[1]);
        fclose(public);
        EVP_PKEY_free(old);
        EVP_PKEY_free(new);
        return fixture_setup_with(state, args);
}

/* What another server of the cluster signed before its key was replaced. */
static struct str signed_by_the_old_key(struct fixture *f, const char *token, const char *claim,
                                        const struct json *value) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str pem, signed_token;
        struct jwt t;
        EVP_PKEY *key;

        assert_int_equal(file_read(OLD_KEY, 0, &text, NULL), 0);
        pem = buf_str(&text);
        key = pem_next_key(&pem);
        assert_int_equal(jwt_parse(f->a, str_of(token), &t), 0);
        if (value)
                json_setc(f->a, t.claims, claim, *value);
        else
                json_removec(t.claims, claim);
        assert_int_equal(jwt_sign(f->a, key, jwk_id(f->a, key), t.claims, &signed_token), 0);
        EVP_PKEY_free(key);
        return signed_token;
}

/* The token with another claim (NULL: without it), as it is reviewed: its member at path. */
static const char *reviewed(struct fixture *f, const char *token, const char *claim, const char *value,
                            const char *path) {
        struct json j;

        if (value)
                j = json_build(f->a, value);
        return at(f, review(f, signed_by_the_old_key(f, token, claim, value ? &j : NULL)), path);
}

static void old_keys_and_issuers_are_accepted_new_ones_sign(void **state) {
        struct fixture *f = *state;
        struct json jwks = authn_jwks(f->s->authn, f->a), d = authn_openid_configuration(f->s->authn, f->a);
        struct answer r;
        const char *token;
        struct jwt t;

        make_account(f, "default");
        token = make_token(f, "{\"spec\":{}}");
        assert_int_equal(jwt_parse(f->a, str_of(token), &t), 0);
        assert_true(str_eqc(json_str(json_getc(t.header, "alg")), "ES256"));
        assert_true(str_eqc(json_str(json_getc(t.claims, "iss")), "https://new"));
        assert_int_equal(json_len(json_getc(t.claims, "aud")), 2);
        assert_string_equal(at(f, review(f, str_of(token)), ".status.authenticated"), "true");
        assert_string_equal(reviewed(f, token, "iss", "'https://old'", ".status.authenticated"), "true");
        assert_string_equal(reviewed(f, token, "iss", "'https://other'", ".status.authenticated"), "(absent)");
        assert_string_equal(reviewed(f, token, "exp", NULL, ".status.authenticated"), "true");
        assert_string_equal(reviewed(f, token, "aud", NULL, ".status.audiences"), "[\"https://new\",\"https://old\"]");
        assert_string_equal(reviewed(f, token, "aud", "'https://old'", ".status.audiences"), "[\"https://old\"]");
        assert_string_equal(reviewed(f, token, "aud", "'x'", ".status.authenticated"), "(absent)");
        assert_string_equal(reviewed(f, token, "aud", "5", ".status.authenticated"), "(absent)");
        assert_string_equal(reviewed(f, token, "sub", "'x'", ".status.user.username"),
                            "system:serviceaccount:default:default");
        assert_int_equal(json_len(json_getc(&jwks, "keys")), 2); /* without the server's own */
        assert_true(str_eqc(json_str(json_getc(&d, "jwks_uri")), "https://keys"));
        d = *json_getc(&d, "id_token_signing_alg_values_supported");
        assert_int_equal(json_len(&d), 2);
        assert_true(str_eqc(json_str(json_item(&d, 1)), "RS256")); /* in the order of their names */
        r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                .body = "{\"spec\":{\"expirationSeconds\":7200}}");
        assert_string_equal(at(f, r, ".spec.expirationSeconds"), "3600");
        assert_string_equal(at(f, r, ".spec.boundObjectRef"), "null");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].subresource"), "token");
        assert_string_equal(at(f, r, ".metadata.managedFields[0].fieldsV1"),
                            "{\"f:spec\":{\"f:expirationSeconds\":{}}}");
        assert_true(str_eqc(r.warning, "requested expiration of 7200 seconds shortened to 3600 seconds"));
        r = ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                .body = "{\"spec\":{\"expirationSeconds\":7200,\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":"
                        "\"v1\","
                        "\"name\":\"none\"}}}");
        check_error(r, 404, "pods \"none\" not found");
        assert_true(str_empty(r.warning)); /* nothing was shortened */
}

/* ---- bootstrap tokens ---- */

static void make_bootstrap_token(struct fixture *f, const char *id, const char *more) {
        check_code(ASK(f, API_CREATE, &res_secrets, "kube-system",
                       .body = arena_printf(f->a,
                                            "{\"metadata\":{\"name\":\"bootstrap-token-%s\"},\"type\":"
                                            "\"bootstrap.kubernetes.io/token\",\"stringData\":{\"token-id\":\"%s\","
                                            "\"token-secret\":\"0123456789abcdef\"%s}}",
                                            id, id, more)
                                               .p),
                   201);
}

static void a_bootstrap_token_is_for_joining(void **state) {
        struct fixture *f = *state;
        struct answer r;

        make_bootstrap_token(f, "abcdef",
                             ",\"usage-bootstrap-authentication\":\"true\",\"auth-extra-groups\":"
                             "\"system:bootstrappers:workers,system:bootstrappers:a,system:bootstrappers:workers\","
                             "\"expiration\":\"2099-01-01T00:00:00Z\"");
        r = review(f, STR("abcdef.0123456789abcdef"));
        assert_string_equal(at(f, r, ".status.user.username"), "system:bootstrap:abcdef");
        assert_string_equal(at(f, r, ".status.user.groups"),
                            "[\"system:bootstrappers\",\"system:bootstrappers:a\",\"system:bootstrappers:workers\","
                            "\"system:authenticated\"]");
        assert_string_equal(at(f, review(f, STR("abcdef.0123456789abcdee")), ".status.authenticated"), "(absent)");
        make_bootstrap_token(f, "aaaaaa", "");
        assert_string_equal(at(f, review(f, STR("aaaaaa.0123456789abcdef")), ".status.authenticated"), "(absent)");
        make_bootstrap_token(f, "bbbbbb",
                             ",\"usage-bootstrap-authentication\":\"true\",\"expiration\":\"2020-01-01T00:00:00Z\"");
        assert_string_equal(at(f, review(f, STR("bbbbbb.0123456789abcdef")), ".status.authenticated"), "(absent)");
        make_bootstrap_token(f, "cccccc",
                             ",\"usage-bootstrap-authentication\":\"true\",\"auth-extra-groups\":\"system:masters\"");
        assert_string_equal(at(f, review(f, STR("cccccc.0123456789abcdef")), ".status.authenticated"), "(absent)");
}

/* ---- questions ---- */

static void questions_are_checked(void **state) {
        static const struct {
                const char *spec, *error; /* of a SubjectAccessReview */
        } table[] = {
                { "{'user':'x'}",
                  "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or "
                  "resourceAttributes must be specified" },
                { "{'nonResourceAttributes':{'path':'/'}}",
                  "spec.user: Invalid value: \"\": at least one of user or group must be specified" },
                { "{'user':'x','resourceAttributes':{},'nonResourceAttributes':{'path':'/'}}",
                  "spec.nonResourceAttributes: Invalid value: authorization.NonResourceAttributes{Path:\"/\", "
                  "Verb:\"\"}: cannot be specified in combination "
                  "with resourceAttributes" },
                { "{'user':'x','resourceAttributes':{'fieldSelector':{}}}",
                  "spec.resourceAttributes.fieldSelector.requirements: Required value: when "
                  "spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required" },
                { "{'user':'x','resourceAttributes':{'labelSelector':{'rawSelector':'a','requirements':[{'key':'a',"
                  "'operator':'In'}]}}}",
                  "[spec.resourceAttributes.labelSelector.rawSelector: Invalid value: \"a\": may not specified at the "
                  "same time as requirements, spec.resourceAttributes.labelSelector.requirements[0].values: Required "
                  "value: must be specified when `operator` is 'In' or 'NotIn']" },
                { "{'user':'x','resourceAttributes':{'labelSelector':{'requirements':[{'key':'a','operator':'In',"
                  "'values':['-']}]}}}",
                  "spec.resourceAttributes.labelSelector.requirements[0].values[0]: Invalid value: \"-\": a valid "
                  "label "
                  "must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
                  "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
                  "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')" },
        };
        struct fixture *f = *state;
        static const char wrong_name[] = "{\"metadata\":{\"name\":\"x\"},\"spec\":{}}";
        struct answer r;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                char *spec = arena_cstr(f->a, str_of(table[i].spec));

                for (char *p = spec; *p; p++)
                        if (*p == '\'')
                                *p = '"';
                r = ASK(f, API_CREATE, &res_subjectaccessreviews, .body = arena_printf(f->a, "{\"spec\":%s}", spec).p);
                assert_int_equal(r.code, 422);
                assert_string_equal(r.message,
                                    arena_printf(f->a, ".authorization.k8s.io \"\" is invalid: %s", table[i].error).p);
        }
        r = ASK(f, API_CREATE, &res_localsubjectaccessreviews, "default",
                .body = "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"user\":\"x\",\"resourceAttributes\":{\"namespace\":"
                        "\"other\"}}}");
        assert_non_null(strstr(r.message, ": must be empty except for namespace"));
        assert_non_null(strstr(r.message, "spec.resourceAttributes.namespace: Invalid value: \"other\": must match "
                                          "metadata.namespace"));
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = wrong_name), 422,
                    "TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \"x\": "
                    "must "
                    "match the service account name if specified"); /* before anybody looks for the account */
        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = wrong_name), 422);
        check(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token", .body = "{\"spec\":{}}"), 201,
              ".metadata.managedFields[0].fieldsV1", "{\"f:spec\":{\"f:expirationSeconds\":{}}}");
        check_error(ASK(f, API_CREATE, &res_serviceaccounts, "default", "default", "token",
                        .body = "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}}}"),
                    400, "Name parameter required.");
}

/* ---- flags ---- */

#define TOKENS "tokens.csv"

static int setup_token_file(void **state) {
        static const char *const args[] = { "token-auth-file=" TOKENS, "api-audiences=one,two", NULL };

        assert_int_equal(file_write(TOKENS, STR("t1,jane,u1,\"dev,ops\"\r\n\n,nobody,u\nt2,joe,u2\nt4,jim,u4,\n"), 0600,
                                    NULL),
                         0);
        return fixture_setup_with(state, args);
}

static void a_file_may_have_tokens(void **state) {
        struct fixture *f = *state;
        struct answer r = review(f, STR("t1"));

        assert_string_equal(at(f, r, ".status.user.username"), "jane");
        assert_string_equal(at(f, r, ".status.user.groups"), "[\"dev\",\"ops\",\"system:authenticated\"]");
        assert_string_equal(at(f, r, ".status.audiences"), "[\"one\",\"two\"]");
        assert_string_equal(at(f, review(f, STR("t2")), ".status.user.uid"), "u2");
        assert_string_equal(at(f, review(f, STR("t4")), ".status.user.groups"), "[\"\",\"system:authenticated\"]");
        assert_string_equal(at(f, review(f, STR("t3")), ".status.error"), "invalid bearer token");
        r = ASK(f, API_CREATE, &res_tokenreviews,
                .body = "{\"spec\":{\"token\":\"t1\",\"audiences\":[\"two\",\"x\"]},\"status\":{\"error\":\"e\"}}");
        assert_string_equal(at(f, r, ".status.audiences"), "[\"two\"]");
        assert_string_equal(at(f, r, ".status.error"), "e"); /* of what is sent stays what nothing is known of */
        r = ASK(f, API_CREATE, &res_tokenreviews,
                .body = "{\"spec\":{\"token\":\"t3\"},\"status\":{\"authenticated\":true,\"audiences\":[\"a\"]}}");
        assert_string_equal(at(f, r, ".status"),
                            "{\"user\":{},\"audiences\":[\"a\"],\"error\":\"invalid bearer token\"}");
        r = ASK(f, API_CREATE, &res_tokenreviews, .body = "{\"spec\":{\"token\":\"t1\",\"audiences\":[\"x\"]}}");
        assert_string_equal(at(f, r, ".status.authenticated"), "(absent)");
}

#define POLICY "policy.jsonl"

static int setup_always_allow(void **state) {
        static const char *const args[] = { "authorization-mode=AlwaysAllow", NULL };

        return fixture_setup_with(state, args);
}

static void the_modes_of_authorization_are_a_choice(void **state) {
        struct fixture *f = *state;
        struct api_user nobody = { .name = STR("nobody") };
        struct apiserver_options o = { .store = f->store };
        struct authn_config *c;
        struct apiserver *s;
        struct error e = ERROR_INIT;

        check_code(ASK(f, API_LIST, &res_secrets, .user = &nobody), 200);
        assert_int_equal(authn_configure(f->s, &c, &e), 0);
        assert_false(c->anonymous); /* who may do everything must at least say who he is */
        authn_config_free(c);
        o.args = (const char *const[]) { "authorization-mode=RBAC,Nonsense", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "authorization-mode \"Nonsense\" is not a valid mode");
        error_clear(&e);
        o.args = (const char *const[]) { "authorization-mode=RBAC,RBAC", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "authorization-mode [\"RBAC\" \"RBAC\"] has mode specified more than once");
        error_clear(&e);
        o.args = (const char *const[]) { "authorization-policy-file=x", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "cannot specify --authorization-policy-file without mode ABAC");
        error_clear(&e);
        o.args = (const char *const[]) { "authorization-mode=ABAC", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "authorization-mode ABAC's authorization policy file not passed");
        error_clear(&e);
        assert_int_equal(file_write(POLICY, STR("t,\"a \"\"b\"\"\",\nu,v\n"), 0600, NULL), 0);
        o.args = (const char *const[]) { "token-auth-file=" POLICY, NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "token file 'policy.jsonl' must have at least 3 columns (token, user name, "
                                            "user uid), found 2");
        error_clear(&e);
        o.args = (const char *const[]) { "requestheader-group-headers=a,,b", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "empty value in \"requestheader-group-headers\"");
        error_clear(&e);
        o.args = (const char *const[]) { "requestheader-uid-headers=uid", NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e), "--requestheader-uid-headers is set without specifying the standard "
                                            "X-Remote-Uid header - API aggregation will not work");
        error_clear(&e);
        assert_int_equal(file_write(POLICY, STR("\n{\"kind\":\"x\"}\n"), 0600, NULL), 0);
        o.args = (const char *const[]) { "authorization-mode=ABAC", "authorization-policy-file=" POLICY, NULL };
        assert_true(apiserver_new(&o, &s, &e) < 0);
        assert_string_equal(error_text(&e),
                            "invalid authorization config: error reading policy file policy.jsonl, line 2: "
                            "{\"kind\":\"x\"}: no kind \"x\" is registered for version \"\" in scheme "
                            "\"pkg/apis/abac/register.go:33\"");
        error_clear(&e);
}

#define POLICY_LINE(spec) \
        "{\"apiVersion\":\"abac.authorization.kubernetes.io/v1beta1\",\"kind\":\"Policy\",\"spec\":{" spec "}}\n"

static int setup_abac(void **state) {
        static const char *const args[] = { "authorization-mode=ABAC", "authorization-policy-file=" POLICY, NULL };
        static const char text[] = "# who may what\n" POLICY_LINE(
                        "\"user\":\"admin\",\"namespace\":\"*\",\"resource\":\"*\",\"apiGroup\":\"*\"")
                        POLICY_LINE("\"user\":\"*\",\"readonly\":true,\"nonResourcePath\":\"/version*\"") POLICY_LINE(
                                        "\"user\":\"bob\",\"namespace\":\"a\",\"resource\":\"pods\",\"readonly\":true")
                                        POLICY_LINE("\"user\":\"eve\",\"group\":\"ops\",\"namespace\":\"a\","
                                                    "\"resource\":\"pods\"") "\n{\"user\":\"old\",\"resource\":"
                                                                             "\"pods\"}\n"
                                                                             "{\"group\":\"readers\",\"readonly\":true}"
                                                                             "\n";

        assert_int_equal(file_write(POLICY, STR(text), 0600, NULL), 0);
        return fixture_setup_with(state, args);
}

static void policies_of_a_file_say_who_may(void **state) {
        static const struct {
                const char *user, *group, *verb, *ns, *resource, *path;
                bool allowed;
        } table[] = {
                { "admin", "x", "delete", "b", "secrets", NULL, true },
                { "admin", "x", "get", "", "", "/metrics", false },
                { "who", "system:authenticated", "get", "", "", "/version/x", true },
                { "who", "system:unauthenticated", "get", "", "", "/version", false },
                { "who", "system:authenticated", "post", "", "", "/version", false },
                { "bob", "x", "list", "a", "pods", NULL, true },
                { "bob", "x", "create", "a", "pods", NULL, false },
                { "bob", "x", "list", "b", "pods", NULL, false },
                { "bob", "x", "list", "", "pods", NULL, false },
                { "bob", "x", "list", "a", "secrets", NULL, false },
                { "eve", "ops", "create", "a", "pods", NULL, true },
                { "eve", "dev", "get", "a", "pods", NULL, false },
                { "joe", "ops", "get", "a", "pods", NULL, false },
                { "old", "x", "delete", "b", "pods", NULL, true },
                { "old", "x", "get", "", "", "/healthz", false },
                { "who", "readers", "watch", "z", "secrets", NULL, true },
                { "who", "readers", "get", "", "", "/healthz", true },
                { "who", "readers", "patch", "z", "secrets", NULL, false },
        };
        struct fixture *f = *state;
        struct str readers[] = { STR("readers") };
        struct api_user user = { .name = STR("who"), .groups = readers, .n_groups = 1 };
        struct answer r;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct str group = str_of(table[i].group);
                struct api_user u = { .name = str_of(table[i].user), .groups = &group, .n_groups = 1 };
                struct attributes at = { .verb = table[i].verb,
                                         .resource = str_of(table[i].resource),
                                         .namespace = str_of(table[i].ns),
                                         .path = str_of(table[i].path) };

                if ((authorize_why(f->s, &u, &at, NULL) == AUTHZ_ALLOW) != table[i].allowed)
                        fail_msg("row %zu is %s", i, table[i].allowed ? "refused" : "allowed");
        }
        check_error(ASK(f, API_CREATE, &res_pods, "default", .body = "{}", .user = &user), 403,
                    "pods is forbidden: User \"who\" cannot create resource \"pods\" in API group \"\" in the "
                    "namespace \"default\": No policy matched.");
        user.name = STR("old");
        r = ASK(f, API_CREATE, &res_selfsubjectrulesreviews, .body = "{\"spec\":{\"namespace\":\"a\"}}", .user = &user);
        check_code(r, 403); /* nobody gave it */
        user.name = STR("admin");
        r = ASK(f, API_CREATE, &res_selfsubjectrulesreviews, .body = "{\"spec\":{\"namespace\":\"a\"}}", .user = &user);
        check(r, 201, ".status.resourceRules",
              "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]},"
              "{\"verbs\":[\"get\",\"list\",\"watch\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]");
        assert_string_equal(at(f, r, ".status.nonResourceRules"),
                            "[{\"verbs\":[\"get\",\"list\",\"watch\"],\"nonResourceURLs\":[\"*\"]}]");
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define T_WITH(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_key_signs_by_its_algorithm),
                cmocka_unit_test(rfc_7515_verifies),
                cmocka_unit_test(other_algorithms_are_refused),
                T(tokens_of_pods_name_their_node_and_are_extended),
                T(a_token_bound_to_a_node_ends_with_it),
                T(a_secret_token_is_worth_what_its_secret_is),
                T_WITH(old_keys_and_issuers_are_accepted_new_ones_sign, setup_two_keys),
                T(a_bootstrap_token_is_for_joining),
                T(questions_are_checked),
                T_WITH(a_file_may_have_tokens, setup_token_file),
                T_WITH(the_modes_of_authorization_are_a_choice, setup_always_allow),
                T_WITH(policies_of_a_file_say_who_may, setup_abac),
        };

        char dir[] = "/tmp/test-tokens-XXXXXX"; /* where the tests write their files */
        int r;

        assert_true(mkdtemp(dir) && chdir(dir) == 0);
        r = cmocka_run_group_tests(tests, NULL, NULL);
        file_remove_tree(dir, NULL);
        return r;
}
