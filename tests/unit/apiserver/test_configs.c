/* Files of AuthenticationConfiguration and AuthorizationConfiguration: what they make of tokens and requests, what is
 * wrong with them, and that a change is taken up. */
#include "help.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>

#define fixture http_fixture /* the one of help.h is meant here */
#include "../http/helper.h"
#undef fixture
#include "apiserver/admission/admission.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/oidc.h"
#include "apiserver/auth/remote.h"
#include "apiserver/reload.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/metrics.h"
#include "http/jwt.h"
#include "http/server.h"
#include "json/build.h"

#define AUTHN "authn.yaml"
#define AUTHZ "authz.yaml"
#define KUBECONFIG "/proc/self/cwd/kubeconfig.json"

/* An issuer, and a webhook that allows everything. */
static struct {
        struct http_server *http;
        struct tls_context *tls;
        EVP_PKEY *key;
        char issuer[64];
        atomic_int asked;
        atomic_bool broken;
        char last[2048];
} other;

static void serve(struct http_request *req, void *arg) {
        struct arena *a = http_request_arena(req);
        struct str path = http_request_path(req);
        struct json keys = json_new_array(), doc;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str token;

        if (atomic_load(&other.broken)) {
                http_respond_copy(req, 500, "text/plain", STR("broken"));
                return;
        }
        if (str_has_prefix(path, STR("/claims"))) { /* "/claims/none" has not the claim */
                doc = json_build(a, "{ iss: %c, aud: 'you', exp: %l }", other.issuer,
                                 now_wall_ns() / NSEC_PER_SEC + 600);
                if (str_eqc(path, "/claims"))
                        json_setc(a, &doc, "groups", json_build(a, "[ 'dev', 'ops' ]"));
                assert_int_equal(jwt_sign(a, other.key, STR("k"), &doc, &token), 0);
                http_respond_copy(req, str_eqc(http_request_header(req, "authorization"), "Bearer sesame") ? 200 : 401,
                                  "text/plain", str_eqc(path, "/claims/bad") ? STR("no token") : token);
                return;
        }
        json_push(a, &keys, jwk_write(a, other.key, STR("k")));
        if (str_has_suffix(path, STR("/openid-configuration"))) {
                doc = json_build(a, "{ issuer: %c, jwks_uri: %S }", other.issuer,
                                 arena_printf(a, "%s/keys", other.issuer));
        } else if (str_has_suffix(path, STR("/keys"))) {
                doc = json_build(a, "{ keys: %j }", &keys);
        } else {
                atomic_fetch_add(&other.asked, 1);
                snprintf(other.last, sizeof(other.last), "%" STR_FMT, STR_ARG(http_request_body(req)));
                doc = json_build(a, "{ status: { allowed: %b } }", true);
        }
        json_write(&b, &doc);
        http_respond_copy(req, 200, "application/json", buf_str(&b));
}

static void write_file(const char *path, const char *text) {
        assert_int_equal(file_write(path, str_of(text), 0600, NULL), 0);
}

static int setup_group(void **state) {
        const struct certs *certs = test_certs();
        struct tls_options tls = {
                .server = true, .cert_pem = buf_str(&certs->cert), .key_pem = buf_str(&certs->key), .http2 = true
        };
        _cleanup_buf_ struct buf ca = BUF_INIT;
        char text[4096];

        assert_int_equal(tls_context_new(&tls, &other.tls, NULL), 0);
        assert_int_equal(http_server_start(&(struct http_server_options) { .address = "127.0.0.1",
                                                                           .listen_fd = -1,
                                                                           .tls = other.tls,
                                                                           .workers = 1,
                                                                           .handler = serve },
                                           &other.http, NULL),
                         0);
        other.key = EVP_EC_gen("P-256");
        snprintf(other.issuer, sizeof(other.issuer), "https://localhost:%u", http_server_port(other.http));
        base64_encode(&ca, buf_str(&certs->ca));
        snprintf(text, sizeof(text),
                 "{\"current-context\":\"c\",\"contexts\":[{\"name\":\"c\",\"context\":{\"cluster\":\"c\",\"user\":"
                 "\"u\"}}],\"clusters\":[{\"name\":\"c\",\"cluster\":{\"server\":\"%s\",\"certificate-authority-data\":"
                 "\"%" STR_FMT "\"}}]}",
                 other.issuer, STR_ARG(buf_str(&ca)));
        write_file(KUBECONFIG, text);
        return 0;
}

static int teardown_group(void **state) {
        http_server_stop(other.http, 0);
        tls_context_unref(other.tls);
        EVP_PKEY_free(other.key);
        return 0;
}

/* jwt: the members beside the issuer of the one authenticator that there is. */
static void write_authn(const char *jwt) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_printf(&b,
                   "{\"apiVersion\":\"apiserver.config.k8s.io/v1beta1\",\"kind\":\"AuthenticationConfiguration\","
                   "\"anonymous\":{\"enabled\":true,\"conditions\":[{\"path\":\"/livez\"}]},"
                   "\"jwt\":[{\"issuer\":{\"url\":\"%s\",\"audiences\":[\"me\",\"you\"],\"audienceMatchPolicy\":"
                   "\"MatchAny\",\"certificateAuthority\":",
                   other.issuer);
        json_write_string(&b, buf_str(&test_certs()->ca));
        buf_printf(&b, "},%s}]}", jwt);
        assert_int_equal(file_write_atomic(AUTHN, buf_str(&b), 0600, NULL), 0);
}

static const char *const args[] = { "authentication-config=" AUTHN, NULL };

static int setup_authn(void **state) {
        write_authn("\"claimMappings\":{\"username\":{\"claim\":\"name\",\"prefix\":\"\"}}");
        return fixture_setup_with(state, args);
}

static void take_up(struct fixture *f) {
        struct error e = ERROR_INIT;
        struct authn_config *c;

        if (authn_configure(f->s, &c, &e) < 0)
                fail_msg("%s", error_text(&e));
        authn_config_free(atomic_exchange(&f->s->authn->config, c));
}

static void resumed(void *arg) {
        sem_post(arg);
}

static struct str token_of(struct fixture *f, const char *claims) {
        struct json all = json_build(f->a, "{ iss: %c, aud: [ 'you' ], exp: %l }", other.issuer,
                                     now_wall_ns() / NSEC_PER_SEC + 600),
                    *more;
        struct str token;

        assert_int_equal(json_parse(f->a, str_of(claims), NULL, &more, NULL), 0);
        json_each_member(m, more)
                json_set(f->a, &all, json_key(m), m->value);
        assert_int_equal(jwt_sign(f->a, other.key, STR("k"), &all, &token), 0);
        return token;
}

/* What a review says of the token, asking the issuer first when that is needed. */
static struct answer review(struct fixture *f, const char *claims) {
        struct authn_notes notes = { 0 };
        struct json audiences;
        struct api_user user;
        struct token_check t = { .n = f->s->authn,
                                 .a = f->a,
                                 .text = token_of(f, claims),
                                 .ret = &user,
                                 .ret_audiences = &audiences,
                                 .notes = &notes };
        sem_t sem;

        while (oidc_ready(&atomic_load(&f->s->authn->config)->issuers, NULL) < 0) {
                oidc_prepare(&atomic_load(&f->s->authn->config)->issuers);
                usleep(1000);
        }
        sem_init(&sem, 0, 0);
        while (authn_check_token(&t, NULL) == -EINPROGRESS) {
                assert_true(remote_wait(NULL, resumed, &sem));
                sem_wait(&sem);
        }
        sem_destroy(&sem);
        return ASK(f, API_CREATE, &res_tokenreviews,
                   .body = arena_printf(f->a, "{\"spec\":{\"token\":\"%" STR_FMT "\"}}", STR_ARG(t.text)).p);
}

static void claims_make_the_user(void **state) {
        static const char *const mappings =
                        "\"claimMappings\":{"
                        "\"username\":{\"expression\":\"claims.name + ':x'\"},"
                        "\"groups\":{\"expression\":\"claims.roles.split(',').map(r, r)\"},"
                        "\"uid\":{\"claim\":\"sub\"},"
                        "\"extra\":[{\"key\":\"example.com/team\",\"valueExpression\":\"claims.?team.orValue('')\"}]},"
                        "\"claimValidationRules\":[{\"claim\":\"hd\",\"requiredValue\":\"corp\"},"
                        "{\"expression\":\"claims.exp - claims.iat <= 1200\",\"message\":\"lives too long\"}],"
                        "\"userValidationRules\":[{\"expression\":\"!user.username.startsWith('system:')\","
                        "\"message\":\"reserved\"},{\"expression\":\"user.groups.all(g, g != 'no')\"}]";
        static const struct {
                const char *claims, *error; /* of the review; NULL: it is authenticated */
        } table[] = {
                { "'name':'jane','roles':'a,b','sub':'7','hd':'corp','iat':NOW,'team':'t','jti':'j'", NULL },
                { "'name':'jane','roles':'a','sub':'7','hd':'corp','iat':0",
                  "oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat "
                  "<= 1200' failed: lives too long" },
                { "'name':'jane','roles':'a','sub':'7','hd':'x','iat':NOW",
                  "oidc: required claim hd value does not match. Got = x, want = corp" },
                { "'name':'jane','roles':'a','sub':'7','iat':NOW", "oidc: required claim hd not present in ID token" },
                { "'name':'jane','roles':'a','sub':'7','iat':NOW,'hd':null",
                  "oidc: required claim hd value does not match. Got = , want = corp" },
                { "'name':'jane','roles':'a','hd':'corp','iat':NOW",
                  "oidc: parse uid claim \"sub\": claim not present" },
                { "'name':'jane','sub':'7','hd':'corp','iat':NOW",
                  "oidc: error evaluating group claim expression: expression 'claims.roles.split(',').map(r, r)' "
                  "resulted in "
                  "error: no such key: roles" },
                { "'name':7,'roles':'a','sub':'7','hd':'corp','iat':NOW",
                  "oidc: error evaluating username claim expression: expression 'claims.name + ':x'' resulted in "
                  "error: no such overload" },
                { "'name':'system:jane','roles':'a','sub':'7','hd':'corp','iat':NOW",
                  "oidc: error evaluating user info validation rule: validation expression "
                  "'!user.username.startsWith('system:')' failed: reserved" },
                { "'name':'jane','roles':'no','sub':'7','hd':'corp','iat':NOW",
                  "oidc: error evaluating user info validation rule: validation expression 'user.groups.all(g, g != "
                  "'no')' failed: " },
                { "'name':'jane','roles':'a','sub':'7','hd':'corp','iat':NOW,'team':{'a':1}",
                  "oidc: error evaluating extra claim expression: claims.?team.orValue(''): expression must return a "
                  "string or a list of strings" },
                { "'sub':5,'nbf':NOW,'nonce':[],'exp':'x'",
                  "oidc: verify token: oidc: failed to unmarshal claims: json: invalid number literal, trying to "
                  "unmarshal \"\\\"x\\\"\" into Number" },
                { "'sub':5,'nonce':[]",
                  "oidc: verify token: oidc: failed to unmarshal claims: json: cannot unmarshal number into Go struct "
                  "field idToken.sub of type string" },
                { "'aud':['you',5]",
                  "oidc: verify token: oidc: failed to unmarshal claims: json: cannot unmarshal number into Go struct "
                  "field idToken.aud of type string" },
                { "'_claim_sources':{'x':7}",
                  "oidc: verify token: oidc: failed to unmarshal claims: json: cannot unmarshal number into Go struct "
                  "field idToken._claim_sources of type oidc.claimSource" },
                { "'aud':'x','name':'jane'",
                  "oidc: verify token: oidc: expected audience in [\"me\" \"you\"] got [\"x\"]" },
                { "'exp':1,'name':'jane'",
                  "oidc: verify token: oidc: token is expired (Token Expiry: 1970-01-01 00:00:01 +0000 UTC)" },
        };
        struct fixture *f = *state;
        struct answer r;

        write_authn(mappings);
        take_up(f);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                const char *is;

                buf_addc(&b, "{");
                for (const char *c = table[i].claims; *c; c++)
                        if (strncmp(c, "NOW", 3) == 0) {
                                buf_printf(&b, "%lld", (long long) (now_wall_ns() / NSEC_PER_SEC));
                                c += 2;
                        } else {
                                buf_putc(&b, *c == '\'' ? '"' : *c);
                        }
                buf_addc(&b, "}");
                r = review(f, arena_cstr(f->a, buf_str(&b)));
                is = at(f, r, ".status.error");
                if (table[i].error)
                        assert_string_equal(is, arena_printf(f->a, "[invalid bearer token, %s]", table[i].error).p);
                else
                        assert_string_equal(is, "(absent)");
                if (!table[i].error)
                        assert_string_equal(at(f, r, ".status.user"),
                                            "{\"username\":\"jane:x\",\"uid\":\"7\",\"groups\":[\"a\",\"b\","
                                            "\"system:authenticated\"],\"extra\":{\"authentication.kubernetes.io/"
                                            "credential-id\":[\"JTI=j\"],\"example.com/team\":[\"t\"]}}");
        }
        for (int failed = 0; failed < 2; failed++) {
                _cleanup_buf_ struct buf b = BUF_INIT;
                ssize_t line;

                metrics_collect(&b);
                line = str_search(buf_str(&b),
                                  STR("\napiserver_authentication_jwt_authenticator_latency_seconds_bucket{"
                                      "jwt_issuer_hash=\"sha256:"));
                assert_true(line > 0);
                assert_true(str_search(str_sub(buf_str(&b), (size_t) line, b.n),
                                       failed ? STR("\",result=\"failure\",le=\"0.001\"} ")
                                              : STR("\",result=\"success\",le=\"0.001\"} ")) > 0);
        }
}

/* Upstream knows lists of data and of expressions, not those that its functions make. */
static void lists_of_functions_are_no_groups(void **state) {
        struct fixture *f = *state;

        write_authn("\"claimMappings\":{\"username\":{\"claim\":\"name\",\"prefix\":\"\"},\"groups\":{\"expression\":"
                    "\"claims.roles.split(',')\"}}");
        take_up(f);
        assert_string_equal(at(f, review(f, "{\"name\":\"jane\",\"roles\":\"a,b\"}"), ".status.error"),
                            "[invalid bearer token, oidc: error evaluating group claim expression: expression must "
                            "return a string or a list of strings]");
}

static void an_issuer_that_is_not_there_delays_nobody(void **state) {
        struct fixture *f = *state;
        struct authn_notes notes = { 0 };
        struct error e = ERROR_INIT;
        const struct json *answer;
        struct api_user user;
        sem_t sem;

        write_authn("\"claimMappings\":{\"username\":{\"claim\":\"name\",\"prefix\":\"\"}}");
        take_up(f);
        struct token_check t = {
                .n = f->s->authn, .a = f->a, .text = token_of(f, "{\"name\":\"jane\"}"), .ret = &user, .notes = &notes
        };
        assert_true(oidc_check(&t, &e) < 0); /* what it says of itself is not known yet */
        assert_string_equal(error_text(&e), "oidc: authenticator not initialized");
        assert_false(remote_is_open());
        error_clear(&e);
        assert_string_equal(at(f, review(f, "{\"name\":\"jane\"}"), ".status.user.username"), "jane");

        struct remote *r = atomic_load(&f->s->authn->config)->issuers.v[0].remote;
        struct str keys = arena_printf(f->a, "%s/keys", other.issuer);
        atomic_store(&other.broken, true); /* its keys hold, until there are others */
        assert_int_equal(remote_fetch_anew(r, f->a, keys, 60000, &answer), 0);
        assert_int_equal(remote_fetch_anew(r, f->a, keys, 0, &answer), -EINPROGRESS);
        sem_init(&sem, 0, 0);
        assert_true(remote_wait(NULL, resumed, &sem));
        sem_wait(&sem);
        sem_destroy(&sem);
        assert_int_equal(remote_fetch_anew(r, f->a, keys, 60000, &answer), -EIO);
        assert_int_equal(remote_known(r, f->a, keys, &answer), 0);
        assert_int_equal(oidc_check(&t, &e), 0);
        atomic_store(&other.broken, false);
}

/* Groups that the issuer keeps elsewhere. */
static void claims_may_be_elsewhere(void **state) {
        static const struct {
                const char *names, *sources; /* I is the issuer's URL */
                const char *is;              /* the groups, or the end of the error after '!' */
        } table[] = {
                { "{'groups':'s'}", "{'s':{'endpoint':'I/claims','access_token':'sesame'}}",
                  "[\"g:dev\",\"g:ops\",\"system:authenticated\"]" },
                { "{'other':'s'}", "{'s':{}}", "[\"system:authenticated\"]" },
                { "{'groups':'s'}", "{'s':{'JWT':'x.y.z'}}", "[\"system:authenticated\"]" },
                { "{'groups':'s'}", "{'t':{}}", "!verify token: oidc: source does not exist" },
                { "{'groups':'s'}", "null", "!verify token: oidc: source does not exist" },
                { "7", "null",
                  "!json: cannot unmarshal number into Go struct field idToken._claim_names of type "
                  "map[string]string" },
                { "{'groups':'s'}", "{'s':{'endpoint':'I/claims','access_token':'wrong'}}",
                  "!asked for the client to provide credentials" },
                { "{'groups':'s'}", "{'s':{'endpoint':'I/claims/bad','access_token':'sesame'}}",
                  "!/claims/bad failed for claim \"groups\": malformed token" },
                { "{'groups':'s'}", "{'s':{'endpoint':'I/claims/none','access_token':'sesame'}}",
                  "!/claims/none\" did not contain claim: groups" },
        };
        struct fixture *f = *state;

        write_authn("\"claimMappings\":{\"username\":{\"claim\":\"name\",\"prefix\":\"\"},\"groups\":{\"claim\":"
                    "\"groups\",\"prefix\":\"g:\"}}");
        take_up(f);
        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const char *parts[] = { table[i].names, table[i].sources };
                _cleanup_buf_ struct buf b = BUF_INIT;
                struct answer r;

                buf_addc(&b, "{\"name\":\"jane\"");
                for (size_t k = 0; k < 2 && strcmp(parts[k], "null") != 0; k++) {
                        buf_addc(&b, k ? ",\"_claim_sources\":" : ",\"_claim_names\":");
                        for (const char *c = parts[k]; *c; c++)
                                if (*c == 'I')
                                        buf_addc(&b, other.issuer);
                                else
                                        buf_putc(&b, *c == '\'' ? '"' : *c);
                }
                buf_addc(&b, "}");
                r = review(f, arena_cstr(f->a, buf_str(&b)));
                if (table[i].is[0] != '!') {
                        assert_string_equal(at(f, r, ".status.user.groups"), table[i].is);
                } else {
                        struct str e = str_of(at(f, r, ".status.error"));

                        if (!str_has_suffix(str_sub(e, 0, e.n - 1), str_of(table[i].is + 1)) ||
                            (str_search(e, STR("oidc: could not expand distributed claims: ")) < 0 &&
                             str_search(e, STR("oidc: verify token: ")) < 0))
                                fail_msg("%s", e.p);
                }
        }
}

static void wrong_files_are_told(void **state) {
        static const char file[] = "{\"apiVersion\":\"apiserver.config.k8s.io/v1beta1\",\"kind\":"
                                   "\"AuthenticationConfiguration\",%s}";
        static const struct {
                const char *text, *error;
        } table[] = {
                { "'jwt':[{'issuer':{'url':'https://"
                  "a','audiences':['x'],'nope':1},'claimMappings':{'username':{'claim':"
                  "'c','prefix':''}}}]",
                  "strict decoding error: unknown field \"jwt[0].issuer.nope\"" },
                { "'jwt':[{'issuer':{},'claimMappings':{}}]",
                  "[jwt[0].issuer.url: Required value: URL is required, jwt[0].issuer.audiences: Required value: at "
                  "least one jwt[0].issuer.audiences is required, jwt[0].claimMappings.username: Required value: claim "
                  "or "
                  "expression is required]" },
                { "'jwt':[{'issuer':{'url':'http://"
                  "a?b','audiences':['x','x']},'claimMappings':{'username':{'claim':'c'}}}]",
                  "[jwt[0].issuer.url: Invalid value: \"http://a?b\": URL scheme must be https, jwt[0].issuer.url: "
                  "Invalid value: \"http://a?b\": URL must not contain a query, jwt[0].issuer.audiences[1]: Duplicate "
                  "value: \"x\", jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be "
                  "MatchAny for multiple audiences, jwt[0].claimMappings.username.prefix: Required value: prefix is "
                  "required when claim is set. It can be set to an empty string to disable prefixing]" },
                { "'jwt':[{'issuer':{'url':'https://a','audiences':['x']},'claimMappings':{'username':{'expression':"
                  "'claims.email'},'extra':[{'key':'k8s.io/a','valueExpression':'1'}]}}]",
                  "[jwt[0].claimMappings.extra[0].key: Invalid value: \"k8s.io/a\": k8s.io, kubernetes.io and their "
                  "subdomains are reserved for Kubernetes use, jwt[0].claimMappings.username.expression: Invalid "
                  "value: "
                  "\"claims.email\": claims.email_verified must be used in claimMappings.username.expression or "
                  "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                  "used in claimMappings.username.expression]" },
                { "'jwt':[{'issuer':{'url':'https://a','audiences':['x']},'claimMappings':{'username':{'claim':'c',"
                  "'prefix':''}},'userValidationRules':[{'expression':'user.name'}]}]",
                  "jwt[0].userValidationRules[0].expression: Invalid value: \"user.name\": compilation failed: ERROR: "
                  "<input>:1:5: undefined field 'name'\n | user.name\n | ....^" },
                { "'jwt':[{'issuer':{'url':'https://a:b','audiences':[''],'discoveryURL':'https://u:p@a/x?y#z'},"
                  "'claimMappings':{'username':{'expression':'claims.c','prefix':''},'extra':[{'key':'a.b/C'}]},"
                  "'claimValidationRules':[{'claim':'c','message':'m'},{'expression':'1','requiredValue':'x'}],"
                  "'userValidationRules':[{}]}]",
                  "[jwt[0].issuer.url: Invalid value: \"https://a:b\": parse \"https://a:b\": invalid port \":b\" "
                  "after host, jwt[0].issuer.discoveryURL: Invalid value: \"https://u:p@a/x?y#z\": URL must not "
                  "contain "
                  "a username or password, jwt[0].issuer.discoveryURL: Invalid value: \"https://u:p@a/x?y#z\": URL "
                  "must "
                  "not contain a query, jwt[0].issuer.discoveryURL: Invalid value: \"https://u:p@a/x?y#z\": URL must "
                  "not "
                  "contain a fragment, jwt[0].issuer.audiences[0]: Required value: audience can't be empty, "
                  "jwt[0].claimValidationRules[0].message: Invalid value: \"m\": message can't be set when claim is "
                  "set, jwt[0].claimValidationRules[1].requiredValue: Invalid value: \"x\": requiredValue can't be set "
                  "when expression is set, jwt[0].claimValidationRules[1].expression: Invalid value: \"1\": must "
                  "evaluate to bool, jwt[0].claimMappings.username.prefix: Invalid value: \"\": prefix can't be set "
                  "when expression is set, jwt[0].claimMappings.extra[0].key: Invalid value: \"a.b/C\": key must be "
                  "lowercase, jwt[0].claimMappings.extra[0].valueExpression: Required value: valueExpression is "
                  "required, jwt[0].userValidationRules[0].expression: Required value: expression is required]" },
                { "'jwt':[{'issuer':{'url':'https://kubernetes.default.svc.cluster.local','discoveryURL':"
                  "'https://kubernetes.default.svc.cluster.local/','audiences':['x']},'claimMappings':{'username':"
                  "{'claim':'c','prefix':''}}}]",
                  "[jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc.cluster.local\": URL must not "
                  "overlap with disallowed issuers: [https://kubernetes.default.svc.cluster.local], "
                  "jwt[0].issuer.discoveryURL: Invalid value: \"https://kubernetes.default.svc.cluster.local/\": "
                  "discoveryURL must be different from URL]" },
                { "'jwt':[{'issuer':{'url':5}}]",
                  "json: cannot unmarshal number into Go struct field Issuer.jwt.issuer.url of type string" },
                { "'jwt':[{'issuer':{'url':'https://a','audiences':['x']},'claimMappings':{'username':{'claim':'c',"
                  "'prefix':''},'uid':{'expression':'\\u0022%d\\u0022.format([claims.n])'}}}]",
                  "jwt[0].claimMappings.uid.expression: Invalid value: \"\\\"%d\\\".format([claims.n])\": compilation "
                  "failed: ERROR: <input>:1:20: error during formatting: decimal clause can only be used on integers, "
                  "was "
                  "given google.protobuf.Any\n | \"%d\".format([claims.n])\n | ...................^" },
                { "'jwt':{}",
                  "json: cannot unmarshal object into Go struct field AuthenticationConfiguration.jwt of type "
                  "[]v1beta1.JWTAuthenticator" },
                { "'jwt':[{'issuer':{'url':'https://a','audiences':['x'],'certificateAuthority':'-----BEGIN "
                  "CERTIFICATE-----\\nAAAA\\n-----END CERTIFICATE-----\\n'},'claimMappings':{'username':{'claim':'c',"
                  "'prefix':''}}}]",
                  "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": x509: malformed certificate" },
                { "'jwt':[{'issuer':{'url':'a:b','audiences':['x'],'certificateAuthority':'x'},'claimMappings':"
                  "{'username':{'expression':'claims.email'},'groups':{'expression':'claims.email_verified'}},"
                  "'claimValidationRules':[{'claim':'a','expression':'b'},{'claim':'a'},{'expression':"
                  "'claims.a.all(x, x)'},"
                  "{'expression':'uint(-1) == 1u'}]}],'anonymous':{'enabled':false,'conditions':[{'path':'/'}]}",
                  "[jwt[0].issuer.url: Invalid value: \"a:b\": URL scheme must be https, "
                  "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid "
                  "RSA or ECDSA certificates, jwt[0].claimValidationRules[0]: Invalid value: \"a\": claim and "
                  "expression "
                  "can't both be set, jwt[0].claimValidationRules[2].expression: Invalid value: \"claims.a.all(x, "
                  "x)\": "
                  "compilation failed: ERROR: <input>:1:7: expression of type 'any' cannot be range of a comprehension "
                  "(must be list, map, or dynamic)\n | claims.a.all(x, x)\n | ......^, "
                  "jwt[0].claimValidationRules[3].expression: Internal error: program instantiation failed: unsigned "
                  "integer overflow, jwt[0].claimMappings.username.expression: Invalid value: "
                  "\"claims.email\": claims.email_verified must be used in claimMappings.username.expression or "
                  "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is "
                  "used in claimMappings.username.expression, anonymous.conditions: Invalid value: "
                  "[]apiserver.AnonymousAuthCondition{apiserver.AnonymousAuthCondition{Path:\"/\"}}: enabled should be "
                  "set to true when conditions are defined]" },
                { "'jwt':[],'jwt':[],'x':1", "strict decoding error: duplicate field \"jwt\", unknown field \"x\"" },
                { "'kind':'Foo'",
                  "no kind \"Foo\" is registered for version \"apiserver.config.k8s.io/v1beta1\" in scheme "
                  "\"pkg/kubeapiserver/options/authentication.go:852\"" },
                { "'kind':[]", "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go "
                               "struct field .kind "
                               "of type string" },
                { "'anonymous':{'enabled':false,'conditions':[{'path':'/x'}]}",
                  "anonymous.conditions: Invalid value: "
                  "[]apiserver.AnonymousAuthCondition{apiserver.AnonymousAuthCondition{Path:\"/x\"}}: enabled should "
                  "be set to true when conditions are defined" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                char *text = arena_cstr(f->a, arena_printf(f->a, file, table[i].text));
                struct error e = ERROR_INIT;
                struct authn_config *c;

                for (char *p = text; *p; p++)
                        if (*p == '\'')
                                *p = '"';
                write_file(AUTHN, text);
                assert_true(authn_configure(f->s, &c, &e) < 0);
                assert_string_equal(error_text(&e), table[i].error);
                error_clear(&e);
        }
}

/* ---- authorization ---- */

#define HEAD "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n"
#define RBAC "- {type: RBAC, name: rbac}\n" /* there from the start, it stays */
#define WEBHOOK                                                                                            \
        "- type: Webhook\n  name: hook\n  webhook:\n    timeout: 3s\n    subjectAccessReviewVersion: v1\n" \
        "    matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: Deny\n    connectionInfo:\n" \
        "      type: KubeConfigFile\n      kubeConfigFile: " KUBECONFIG "\n    matchConditions:\n"

static int setup_authz(void **state) {
        static const char *const with[] = { "authorization-config=" AUTHZ, NULL };

        write_file(AUTHZ, HEAD WEBHOOK "    - expression: has(request.resourceAttributes)\n"
                                       "    - expression: request.resourceAttributes.namespace == 'default' && "
                                       "'devs' in request.groups\n"
                                       "    - expression: request.user != 'bad' || request.extra['x'][0] == 'y'\n"
                                       "    - expression: request.user != 'bad' || request.extra['z'][0] == 'y'\n"
                                       "    - expression: request.resourceAttributes.labelSelector.requirements.all(r, "
                                       "r.values.size() < 9)\n"
                                       "- type: RBAC\n  name: rbac\n");
        return fixture_setup_with(state, with);
}

static int may(struct fixture *f, const char *name, const char *group, struct attributes at) {
        struct str groups[] = { str_of(group) };
        struct api_user user = { .name = str_of(name), .groups = groups, .n_groups = 1 };
        enum authz z;
        sem_t sem;

        sem_init(&sem, 0, 0);
        while ((z = authorize_why(f->s, &user, &at, NULL)) == AUTHZ_PENDING) {
                assert_true(remote_wait(NULL, resumed, &sem));
                sem_wait(&sem);
        }
        sem_destroy(&sem);
        return z;
}

static void check_condition_count(const char *name, unsigned n) {
        _cleanup_free_ char *line = xprintf(
                        "\napiserver_authorization_match_condition_%s{name=\"hook\",type=\"Webhook\"} %u\n", name, n);
        _cleanup_buf_ struct buf all = BUF_INIT;

        metrics_collect(&all);
        if (str_search(buf_str(&all), str_of(line)) < 0)
                fail_msg("no %s", line);
}

static void conditions_say_what_a_webhook_is_asked(void **state) {
        struct str ops[] = { STR("ops") }, devs[] = { STR("devs") };
        struct api_user jane = { .name = STR("jane"), .groups = ops, .n_groups = 1 };
        struct api_user bad = { .name = STR("bad"), .groups = devs, .n_groups = 1 };
        _cleanup_opinion_ struct opinion why = { 0 }, bad_why = { 0 };
        struct attributes pods = { .verb = "list",
                                   .version = STR("v1"),
                                   .resource = STR("pods"),
                                   .namespace = STR("default"),
                                   .label_selector = STR("a in (x,y),!b"),
                                   .field_selector = STR("metadata.name!=z") };
        struct attributes elsewhere = pods, path = { .verb = "get", .path = STR("/metrics") };
        struct fixture *f = *state;
        _cleanup_buf_ struct buf metrics = BUF_INIT;
        struct json reviewed;

        elsewhere.namespace = STR("other");
        atomic_store(&other.asked, 0);
        assert_int_equal(may(f, "jane", "ops", pods), AUTHZ_NO_OPINION);
        assert_int_equal(may(f, "jane", "devs", elsewhere), AUTHZ_NO_OPINION);
        assert_int_equal(may(f, "jane", "devs", path), AUTHZ_NO_OPINION);
        assert_int_equal(atomic_load(&other.asked), 0);
        assert_int_equal(may(f, "bad", "devs", pods), AUTHZ_DENY); /* an expression fails: failurePolicy */
        assert_int_equal(atomic_load(&other.asked), 0);
        assert_int_equal(may(f, "jane", "devs", pods), AUTHZ_ALLOW);
        assert_int_equal(atomic_load(&other.asked), 1);
        assert_non_null(strstr(other.last,
                               "\"fieldSelector\":{\"requirements\":[{\"key\":\"metadata.name\",\"operator\":\"NotIn\","
                               "\"values\":[\"z\"]}]},\"labelSelector\":{\"requirements\":[{\"key\":\"a\",\"operator\":"
                               "\"In\",\"values\":[\"x\",\"y\"]},{\"key\":\"b\",\"operator\":\"DoesNotExist\"}]}"));
        assert_non_null(strstr(other.last, "\"apiVersion\":\"authorization.k8s.io/v1\""));
        pods.field_selector = STR("spec.nodeName=n\\,m,metadata.name!=b"); /* sorted; those of a review are not */
        assert_int_equal(may(f, "jane", "devs", pods), AUTHZ_ALLOW);
        assert_non_null(strstr(other.last, "{\"requirements\":[{\"key\":\"metadata.name\",\"operator\":\"NotIn\","
                                           "\"values\":[\"b\"]},{\"key\":\"spec.nodeName\",\"operator\":\"In\","
                                           "\"values\":[\"n,m\"]}]"));
        reviewed = json_build(f->a,
                              "{ fieldSelector: { requirements: [ { key: 'z', operator: 'In', values: [ 'v' ] },"
                              " { key: 'y', operator: 'Odd' }, { key: 'x', operator: 'In', values: [ 'v' ] } ] } }");
        pods.reviewed = &reviewed;
        assert_int_equal(may(f, "jane", "devs", pods), AUTHZ_ALLOW);
        assert_non_null(strstr(other.last, "{\"requirements\":[{\"key\":\"z\",\"operator\":\"In\",\"values\":[\"v\"]},"
                                           "{\"key\":\"x\""));
        metrics_collect(&metrics);
        assert_true(str_search(buf_str(&metrics), STR("\napiserver_authorization_webhook_duration_seconds_count{name="
                                                      "\"hook\",result=\"success\"} 3\n")) > 0);
        check_condition_count("evaluation_seconds_count", 3); /* not while an answer is waited for */
        assert_int_equal(authorize_why(f->s, &jane, &pods, &why), AUTHZ_NO_OPINION);
        check_condition_count("evaluation_seconds_count", 4);
        check_condition_count("exclusions_total", 1);
        assert_int_equal(authorize_why(f->s, &bad, &pods, &bad_why), AUTHZ_DENY);
        check_condition_count("evaluation_errors_total", 1);
        assert_true(str_eqc(buf_str(&bad_why.error),
                            "[cel evaluation error: expression 'request.user != 'bad' || request.extra['x'][0] == 'y'' "
                            "resulted in error: no such key: x, cel evaluation error: expression 'request.user != "
                            "'bad' || request.extra['z'][0] == 'y'' resulted in error: no such key: z]"));
        check_condition_count("exclusions_total", 1);
}

/* v1beta1 calls the groups "group". */
static void older_webhooks_are_asked_as_they_know_it(void **state) {
        struct attributes pods = { .verb = "list", .version = STR("v1"), .resource = STR("pods") };
        struct attributes path = { .verb = "", .path = STR("/x") };
        struct fixture *f = *state;
        struct error e = ERROR_INIT;
        struct authorizers *z;

        write_file(AUTHZ, HEAD "- type: Webhook\n  name: hook\n  webhook:\n    timeout: 3s\n    failurePolicy: Deny\n"
                               "    subjectAccessReviewVersion: v1beta1\n"
                               "    matchConditionSubjectAccessReviewVersion: v1\n    connectionInfo: {type: "
                               "KubeConfigFile, kubeConfigFile: " KUBECONFIG "}\n    matchConditions:\n"
                               "    - expression: \"!has(request.nonResourceAttributes) || "
                               "request.nonResourceAttributes.verb == ''\"\n" RBAC);
        if (authorizers_configure(f->s, &z, &e) < 0)
                fail_msg("%s", error_text(&e));
        authorizers_free(atomic_exchange(&f->s->authorizers, z));
        assert_int_equal(may(f, "jane", "devs", pods), AUTHZ_ALLOW);
        assert_non_null(strstr(other.last, "\"group\":[\"devs\"]"));
        assert_non_null(strstr(other.last, "\"apiVersion\":\"authorization.k8s.io/v1beta1\""));
        assert_int_equal(may(f, "jane", "devs", path), AUTHZ_ALLOW);
}

/* How a webhook that wants a password answers. */
static struct answer ask_hook(struct fixture *f) {
        _cleanup_buf_ struct buf ca = BUF_INIT;

        base64_encode(&ca, buf_str(&test_certs()->ca));
        ASK(f, API_DELETE, &res_validatingwebhookconfigurations, NULL, "h");
        check_code(ASK(f, API_CREATE, &res_validatingwebhookconfigurations,
                       .body = arena_printf(f->a,
                                            "{\"metadata\":{\"name\":\"h\"},\"webhooks\":[{\"name\":\"h.example.com\","
                                            "\"clientConfig\":{\"url\":\"%s/claims\",\"caBundle\":\"%" STR_FMT "\"},"
                                            "\"sideEffects\":\"None\",\"admissionReviewVersions\":[\"v1\"],\"rules\":[{"
                                            "\"apiGroups\":[\"\"],\"apiVersions\":[\"v1\"],\"resources\":"
                                            "[\"configmaps\"],"
                                            "\"operations\":[\"*\"]}]}]}",
                                            other.issuer, STR_ARG(buf_str(&ca)))
                                               .p),
                   201);
        return ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"x\"}}");
}

static void webhooks_know_us_from_a_kubeconfig(void **state) {
        static const char *const hook_args[] = { "admission-control-config-file=admission.yaml", NULL };
#define SESAME ", user: {token: sesame}}"
#define CURRENT "\ncontexts: [{name: c, context: {user: me}}]\ncurrent-context: "
        static const char *const known[] = {
                "[{name: '%s'" SESAME "]",
                "[{name: x}, {name: '*'" SESAME ", {name: me}]" CURRENT "c",
                "[{name: x}, {name: me" SESAME "]" CURRENT "c",
        };
        static const char *const unknown[] = {
                "[{name: '*.example.com'" SESAME "]",
                "[{name: '*.svc'" SESAME "]",
                "[{name: 'localhost:1'" SESAME "]",
                "[{name: localhost" SESAME "]",
                "[{name: me" SESAME "]" CURRENT "d",
                "[{name: me" SESAME ", {name: '%s'}, {name: '*'" SESAME "]" CURRENT "c",
        };
        struct fixture *f = *state;
        struct error e = ERROR_INIT;

        check_error(ask_hook(f), 500,
                    "Internal error occurred: failed calling webhook \"h.example.com\": failed to call webhook: the "
                    "server has asked for the client to provide credentials");
        write_file("admission.yaml",
                   "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins: [{name: "
                   "ValidatingAdmissionWebhook, configuration: {kind: WebhookAdmissionConfiguration, apiVersion: "
                   "apiserver.config.k8s.io/v1, kubeConfigFile: /proc/self/cwd/hooks.yaml}}]");
        f->s->options.args = hook_args;
        for (size_t i = 0; i < ARRAY_SIZE(known) + ARRAY_SIZE(unknown); i++) {
                bool is_known = i < ARRAY_SIZE(known);

                write_file("hooks.yaml", arena_printf(f->a,
                                                      arena_printf(f->a, "users: %s\n",
                                                                   is_known ? known[i] : unknown[i - ARRAY_SIZE(known)])
                                                                      .p,
                                                      other.issuer + strlen("https://"))
                                                         .p);
                if (admission_configure(f->s, &e) < 0)
                        fail_msg("%s", error_text(&e));
                assert_int_equal(!strstr(ask_hook(f).message, "provide credentials"), is_known);
        }
        f->s->options.args = NULL;
}

static void wrong_authorizers_are_told(void **state) {
        static const struct {
                const char *text, *error;
        } table[] = {
                { "[]", "authorizers: Required value: at least one authorization mode must be defined" },
                { "[{type: RBAC, name: a}, {type: RBAC, name: b}]", "authorizers[1].type: Duplicate value: \"RBAC\"" },
                { "[{type: Foo, name: a}]",
                  "authorizers[0].type: Unsupported value: \"Foo\": supported values: \"ABAC\", \"AlwaysAllow\", "
                  "\"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"" },
                { "[{type: RBAC}, {type: Node, name: a, webhook: {}}]",
                  "[authorizers[0].name: Required value, authorizers[1].webhook: Invalid value: \"non-null\": may only "
                  "be specified when type=Webhook]" },
                { "[{type: ABAC, name: a}]",
                  "[expected name abac for authorizer ABAC instead of a, missing required types: [RBAC]]" },
                { "[{type: AlwaysAllow, name: alwaysallow}]", "missing required types: [RBAC]" },
                { "[{type: RBAC, name: rbac}, {type: Node, name: node}]",
                  "authorizer type Node is not allowed if it was not enabled at initial server startup" },
                { "[{type: Webhook, name: w, webhook: {timeout: ''}}]",
                  "failed to load AuthorizationConfiguration from file: time: invalid duration \"\"" },
                { "[{type: Webhook, name: w}]", "authorizers[0].webhook: Required value: required when type=Webhook" },
                { "[{type: Webhook, name: w, webhook: {timeout: 31s, matchConditions: [{expression: '1'}]}}]",
                  "[authorizers[0].timeout: Invalid value: \"31s\": must be > 0s and <= 30s, "
                  "authorizers[0].subjectAccessReviewVersion: Required value, "
                  "authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match "
                  "conditions "
                  "are specified, authorizers[0].failurePolicy: Required value, authorizers[0].connectionInfo.type: "
                  "Required value, authorizers[0].matchConditions[0].expression: Invalid value: \"1\": must evaluate "
                  "to bool but got int]" },
                { "[{type: Webhook, name: W, webhook: {timeout: 0s, authorizedTTL: -60s, subjectAccessReviewVersion: "
                  "v1, "
                  "failurePolicy: Deny, connectionInfo: {type: InClusterConfig, kubeConfigFile: /x}}}]",
                  "[authorizers[0].name: Invalid value: \"W\": authorizer name is invalid: a lowercase RFC 1123 "
                  "subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
                  "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                  "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), authorizers[0].timeout: "
                  "Required value, authorizers[0].authorizedTTL: Invalid value: \"-1m0s\": must be > 0s, "
                  "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/x\": can only be set when "
                  "type=KubeConfigFile]" },
                { "[{type: Webhook, name: w, webhook: {timeout: 1s, subjectAccessReviewVersion: v1, failurePolicy: "
                  "Deny, connectionInfo: {type: KubeConfigFile, kubeConfigFile: /none}}}]",
                  "authorizers[0].connectionInfo.kubeConfigFile: Invalid value: \"/none\": error loading file: stat "
                  "/none: no such file or directory" },
                { "[{type: Webhook, name: w, webhook: {timeout: 1d, failurePolicy: 5}}]",
                  "failed to load AuthorizationConfiguration from file: time: unknown unit \"d\" in duration \"1d\"" },
                { "[{type: Webhook, name: w, webhook: {timeout: 1s, subjectAccessReviewVersion: v1, failurePolicy: "
                  "Deny, connectionInfo: {type: x}}}]",
                  "authorizers[0].connectionInfo.type: Unsupported value: apiserver.WebhookConnectionInfo{Type:\"x\", "
                  "KubeConfigFile:(*string)(nil)}: supported values: \"InClusterConfig\", \"KubeConfigFile\"" },
                { "[{type: RBAC, name: a}, {type: Node, name: b}]",
                  "[expected name rbac for authorizer RBAC instead of a, expected name node for authorizer Node "
                  "instead of b]" },
                { "[]\nauthorizers: []",
                  "failed to load AuthorizationConfiguration from file: strict decoding error: yaml: unmarshal "
                  "errors:\n  line 4: key \"authorizers\" already set in map" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                struct error e = ERROR_INIT;
                struct authorizers *z;

                write_file(AUTHZ, arena_printf(f->a,
                                               "apiVersion: apiserver.config.k8s.io/v1\nkind: "
                                               "AuthorizationConfiguration\nauthorizers: %s",
                                               table[i].text)
                                                  .p);
                assert_true(authorizers_configure(f->s, &z, &e) < 0);
                assert_string_equal(error_text(&e), table[i].error);
                error_clear(&e);
        }
}

static void replace(const char *text) {
        assert_int_equal(file_write_atomic(AUTHZ, str_of(text), 0600, NULL), 0);
}

static bool told(const char *what) {
        _cleanup_buf_ struct buf metrics = BUF_INIT;

        metrics_collect(&metrics);
        return str_search(buf_str(&metrics), str_of(what)) >= 0;
}

/* What is wrong, or goes, changes nothing, and is counted; what says the same as before is not. */
static void a_changed_file_is_taken_up(void **state) {
        static const char wrong[] = HEAD "- {type: Nonsense, name: alwaysallow}\n";
        struct attributes path = { .verb = "get", .path = STR("/metrics") };
        struct fixture *f = *state;
        int i = 0;

        assert_int_equal(reloads_start(f->s, NULL), 0);
        assert_int_equal(may(f, "jane", "devs", path), AUTHZ_NO_OPINION);
        replace(HEAD "- {type: AlwaysAllow, name: alwaysallow}\n" RBAC);
        for (; i < 6000 && may(f, "jane", "devs", path) != AUTHZ_ALLOW; i++)
                usleep(10000);
        assert_true(i < 6000);
        replace(wrong);
        for (i = 0; i < 6000 && !told("\",status=\"failure\"} 1\n"); i++)
                usleep(10000);
        assert_true(i < 6000);
        replace(wrong);
        usleep(1500000);
        assert_true(told("\",status=\"failure\"} 1\n"));
        replace(HEAD "# the same\n- {type: AlwaysAllow, name: alwaysallow}\n" RBAC);
        usleep(1500000);
        assert_true(told("\",status=\"failure\"} 1\n"));
        assert_int_equal(unlink(AUTHZ), 0);
        for (i = 0; i < 6000 && !told("\",status=\"failure\"} 2\n"); i++)
                usleep(10000);
        assert_true(i < 6000);
        assert_int_equal(may(f, "jane", "devs", path), AUTHZ_ALLOW);
        reloads_stop(f->s);
        assert_true(told("\",status=\"success\"} 2\n")); /* one at the start */
        assert_true(told("\napiserver_authorization_config_controller_automatic_reloads_total{apiserver_id_hash="
                         "\"sha256:"));
}

/* One whose issuers do not answer waits for them; what was before stays. */
static void issuers_are_asked_before_they_are_believed(void **state) {
        static const char map[] = "\"claimMappings\":{\"username\":{\"claim\":\"%s\",\"prefix\":\"\"}}";
        struct fixture *f = *state;
        struct authn_config *first = atomic_load(&f->s->authn->config), *second;
        int i = 0;

        assert_int_equal(reloads_start(f->s, NULL), 0);
        write_authn(arena_printf(f->a, map, "sub").p);
        for (; i < 1000 && atomic_load(&f->s->authn->config) == first; i++)
                usleep(10000);
        second = atomic_load(&f->s->authn->config);
        assert_ptr_not_equal(second, first);
        write_file(AUTHN,
                   arena_printf(f->a, "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n"
                                      "anonymous: {enabled: true, conditions: [{path: /livez}]}\njwt: [{issuer: {url: "
                                      "'https://127.0.0.1:1', audiences: [a]}, claimMappings: "
                                      "{username: {claim: sub, prefix: ''}}}]")
                                   .p);
        usleep(1500000);
        assert_ptr_equal(atomic_load(&f->s->authn->config), second);
        reloads_stop(f->s);
}

/* Whether requests without credentials are somebody is settled at the start. */
static void who_is_anonymous_does_not_change(void **state) {
        static const char text[] = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n"
                                   "anonymous: {enabled: true}";
        struct fixture *f = *state;
        struct authn_config *first = atomic_load(&f->s->authn->config);
        int i = 0;

        assert_int_equal(reloads_start(f->s, NULL), 0);
        assert_int_equal(file_write_atomic(AUTHN, str_of(text), 0600, NULL), 0);
        while (i < 6000 && !told("\",status=\"failure\"} 1\n") && atomic_load(&f->s->authn->config) == first) {
                usleep(10000);
                i++;
        }
        assert_true(i < 6000);
        assert_ptr_equal(atomic_load(&f->s->authn->config), first);
        reloads_stop(f->s);
}

int main(void) {
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
        const struct CMUnitTest tests[] = {
                T(claims_make_the_user, setup_authn),
                T(lists_of_functions_are_no_groups, setup_authn),
                T(an_issuer_that_is_not_there_delays_nobody, setup_authn),
                T(claims_may_be_elsewhere, setup_authn),
                T(wrong_files_are_told, setup_authn),
                T(conditions_say_what_a_webhook_is_asked, setup_authz),
                T(older_webhooks_are_asked_as_they_know_it, setup_authz),
                T(webhooks_know_us_from_a_kubeconfig, fixture_setup),
                T(wrong_authorizers_are_told, setup_authz),
                T(a_changed_file_is_taken_up, setup_authz),
                T(who_is_anonymous_does_not_change, setup_authn),
                T(issuers_are_asked_before_they_are_believed, setup_authn),
        };

        char dir[] = "/tmp/test-configs-XXXXXX"; /* where the tests write their files */
        int r;

        assert_true(mkdtemp(dir) && chdir(dir) == 0);
        r = cmocka_run_group_tests(tests, setup_group, teardown_group);
        file_remove_tree(dir, NULL);
        return r;
}
