/* ID tokens of OpenID issuers: each issuer's configuration names its keys, both are fetched when the first token comes,
 * and again when a token is signed by a key that is not among them. What a token's claims make of its bearer is told by
 * flags, or by a file with expressions.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens */
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "apiserver/auth/authn.h"
#include "apiserver/config_file.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"
#include "base/file.h"
#include "base/url.h"
#include "cel/cel.h"
#include "http/jwt.h"
#include "json/build.h"

#define KEEP_MS (10 * 60 * 1000)
#define KEEP_CLAIMS_MS 10000
#define RETRY_MS 10000 /* keys are not fetched more often for tokens with unknown ones */
#define LEEWAY_SECONDS 60
#define MAX_ISSUERS 64
#define ALGORITHMS "ES256,ES384,ES512,PS256,PS384,PS512,RS256,RS384,RS512"

/* An expression of the configuration, with the claim's key or the message that goes with it. */
struct rule {
        struct str text, with;
        struct cel_program *program;
};
struct rules {
        struct rule *v;
        size_t n;
};

/* What a part of the user is made from: a claim or an expression; or nothing. */
struct mapping {
        struct str claim, prefix, text;
        struct cel_program *program;
};

struct oidc {
        struct remote *remote;
        struct str issuer, discovery, algorithms;
        const char *not_ready, *verify;             /* how errors of its keys and of its tokens begin */
        const struct json *audiences, *claim_rules; /* those that want a value of a claim, among others */
        struct mapping username, groups, uid;
        struct rules extra, claims, user;
};

static const struct cel_type claims_type = { .kind = CEL_MAP, .params = { &cel_string, &cel_any } };
CEL_DECLARE(user_type, "kubernetes.UserInfo", CEL_FIELD("username", &cel_string), CEL_FIELD("uid", &cel_string),
            CEL_FIELD("groups", &cel_strings), CEL_FIELD("extra", &cel_string_lists));
static const struct cel_variable claims_variable = { "claims", &claims_type }, user_variable = { "user", &user_type };

/* ---- the configuration ---- */

struct build {
        struct field_errors fe;
        struct authn *n;
        struct arena *a;
        struct oidc *o;
        const char *algorithms;
        bool email, email_verified; /* expressions look at these claims */
};

static struct str text_of(const struct json *o, const char *key) {
        return json_str(json_getc(o, key));
}

/* What is before the mark; *rest: what is after it. */
static struct str before(struct str s, char mark, struct str *rest) {
        ssize_t at = str_find(s, mark);

        *rest = at < 0 ? STR("") : str_sub(s, (size_t) at + 1, s.n);
        return str_sub(s, 0, at < 0 ? s.n : (size_t) at);
}

static void check_url(struct build *b, const struct path *p, struct str url) {
        struct str fragment, whole = before(url, '#', &fragment);
        struct url u;
        const char *fault = url_parse(b->a, url, false, &u, quoted_in_go);

        if (fault) {
                field_invalid_str(&b->fe, p, url, "parse %" STR_FMT ": %s", STR_ARG(quoted_in_go(b->a, whole)), fault);
                return;
        }
        if (!str_eqc(u.scheme, "https"))
                field_invalid_str(&b->fe, p, url, "URL scheme must be https");
        if (u.has_user)
                field_invalid_str(&b->fe, p, url, "URL must not contain a username or password");
        if (u.query.n > 0)
                field_invalid_str(&b->fe, p, url, "URL must not contain a query");
        if (u.fragment.n > 0)
                field_invalid_str(&b->fe, p, url, "URL must not contain a fragment");
}

/* Tokens of service accounts have these issuers. */
static void check_issuer(struct build *b, const struct path *p, struct str url) {
        struct json list = json_copy_shallow(b->a, &b->n->issuers);
        _cleanup_buf_ struct buf names = BUF_INIT;

        json_sort_texts(&list);
        json_each_item(i, &list)
                buf_printf(&names, "%s%" STR_FMT, names.n ? " " : "", STR_ARG(json_str(i)));
        if (json_has_str(&list, url))
                field_invalid_str(&b->fe, p, url, "URL must not overlap with disallowed issuers: [%" STR_FMT "]",
                                  STR_ARG(buf_str(&names)));
        check_url(b, p, url);
}

static struct str without_slashes(struct str url) {
        while (str_has_suffix(url, STR("/")))
                url.n--;
        return url;
}

static void read_audiences(struct build *b, const struct json *issuer, const struct path *p) {
        const struct json *list = json_getc(issuer, "audiences");
        struct str policy = text_of(issuer, "audienceMatchPolicy");
        _cleanup_buf_ struct buf text = BUF_INIT;
        bool any = str_eqc(policy, "MatchAny");

        b->o->audiences = list;
        path_print(&text, PATH(p, "audiences"));
        if (json_len(list) == 0)
                field_required(&b->fe, PATH(p, "audiences"),
                               arena_printf(b->a, "at least one %" STR_FMT " is required", STR_ARG(buf_str(&text))).p);
        json_each_item(i, list) {
                const struct path *at = PATH_INDEX(PATH(p, "audiences"), i - json_items(list));
                struct json before = { .type = JSON_ARRAY,
                                       .at = (uintptr_t) json_items(list),
                                       .len = (uint32_t) (i - json_items(list)) };

                if (str_empty(json_str(i)))
                        field_required(&b->fe, at, "audience can't be empty");
                if (json_has_str(&before, json_str(i)))
                        field_duplicate(&b->fe, at, json_str(i));
        }
        if (json_len(list) > 1 && !any)
                field_invalid_str(&b->fe, PATH(p, "audienceMatchPolicy"), policy,
                                  "audienceMatchPolicy must be MatchAny for multiple audiences");
        if (json_len(list) == 1 && !any && policy.n > 0)
                field_invalid_str(&b->fe, PATH(p, "audienceMatchPolicy"), policy,
                                  "audienceMatchPolicy must be empty or MatchAny for single audience");
}

static void check_authorities(struct build *b, const struct path *p, struct str pem) {
        BIO *bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        const char *problem = "data does not contain any valid RSA or ECDSA certificates";
        char *name, *header;
        uint8_t *data;
        bool bad = false;
        long len;

        while (!bad && PEM_read_bio(bio, &name, &header, &data, &len) == 1) {
                bool ours = strcmp(name, "CERTIFICATE") == 0 && !header[0];
                const uint8_t *at = data;
                X509 *cert = ours ? d2i_X509(NULL, &at, len) : NULL;

                bad = ours && !cert;
                if (ours)
                        problem = cert ? NULL : "x509: malformed certificate";
                X509_free(cert);
                OPENSSL_free(name);
                OPENSSL_free(header);
                OPENSSL_free(data);
        }
        BIO_free(bio);
        ERR_clear_error();
        if (pem.n > 0 && problem)
                field_invalid_str(&b->fe, p, STR("<omitted>"), "%s", problem);
}

static void read_issuer(struct build *b, const struct json *issuer, const struct path *p) {
        struct str url = text_of(issuer, "url"), discovery = text_of(issuer, "discoveryURL");

        b->o->issuer = url;
        b->o->discovery = discovery;
        if (str_empty(url))
                field_required(&b->fe, PATH(p, "url"), "URL is required");
        else
                check_issuer(b, PATH(p, "url"), url);
        if (discovery.n > 0 && url.n > 0 && str_eq(without_slashes(discovery), without_slashes(url)))
                field_invalid_str(&b->fe, PATH(p, "discoveryURL"), discovery,
                                  "discoveryURL must be different from URL");
        if (discovery.n > 0)
                check_url(b, PATH(p, "discoveryURL"), discovery);
        read_audiences(b, issuer, p);
        check_authorities(b, PATH(p, "certificateAuthority"), text_of(issuer, "certificateAuthority"));
}

/* One that may say whether an address is verified. */
static struct cel_program *compile_claims(struct build *b, const struct path *p, struct str text, bool boolean) {
        struct cel_program *program = config_compile(&b->fe, p, text, &claims_variable, boolean);

        if (program)
                b->email_verified = b->email_verified || cel_program_selects(program, "claims", "email_verified");
        return program;
}

enum { REQUIRED = 1, PREFIXED = 2 };

static void read_mapping(struct build *b, const struct json *from, const struct path *p, unsigned kind,
                         struct mapping *m) {
        const struct json *prefix = json_getc(from, "prefix");

        *m = (struct mapping) { text_of(from, "claim"), json_str(prefix), text_of(from, "expression"), NULL };
        if (m->claim.n > 0 && m->text.n > 0) {
                field_invalid_str(&b->fe, p, STR(""), "claim and expression can't both be set");
        } else if (m->text.n > 0) {
                if (prefix)
                        field_invalid_str(&b->fe, PATH(p, "prefix"), m->prefix,
                                          "prefix can't be set when expression is set");
                if (!(kind & REQUIRED)) {
                        m->program = config_compile(&b->fe, PATH(p, "expression"), m->text, &claims_variable, false);
                        return;
                }
                m->program = compile_claims(b, PATH(p, "expression"), m->text, false);
                b->email = m->program && cel_program_selects(m->program, "claims", "email");
        } else if (m->claim.n == 0 && (kind & REQUIRED)) {
                field_required(&b->fe, p, "claim or expression is required");
        } else if (m->claim.n > 0 && (kind & PREFIXED) && !json_is(prefix, JSON_STRING)) {
                field_required(&b->fe, PATH(p, "prefix"),
                               "prefix is required when claim is set. It can be set to an empty string to disable "
                               "prefixing");
        }
}

/* Is there an earlier item of the list with this text, and no other? */
static bool seen(const struct json *list, const struct json *item, const char *key, struct str text,
                 const char *other) {
        for (const struct json *i = json_items(list); i < item; i++)
                if (str_eq(text_of(i, key), text) && str_empty(text_of(i, other)))
                        return true;
        return false;
}

static void read_extra(struct build *b, const struct json *list, const struct path *up) {
        b->o->extra.v = arena_array(b->a, struct rule, json_len(list));
        json_each_item(i, list) {
                const struct path *p = PATH_INDEX(up, i - json_items(list));
                struct str key = text_of(i, "key"), text = text_of(i, "valueExpression"), domain, after;

                check_domain_path(&b->fe, PATH(p, "key"), key);
                for (size_t k = 0; k < key.n; k++)
                        if (key.p[k] >= 'A' && key.p[k] <= 'Z') {
                                field_invalid_str(&b->fe, PATH(p, "key"), key, "key must be lowercase");
                                break;
                        }
                domain = str_find(key, '/') < 0 ? STR("") : before(key, '/', &after);
                if (str_eqc(domain, "k8s.io") || str_eqc(domain, "kubernetes.io") ||
                    str_has_suffix(domain, STR(".k8s.io")) || str_has_suffix(domain, STR(".kubernetes.io")))
                        field_invalid_str(&b->fe, PATH(p, "key"), key,
                                          "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
                if (seen(list, i, "key", key, ""))
                        field_duplicate(&b->fe, PATH(p, "key"), key);
                else if (str_empty(text))
                        field_required(&b->fe, PATH(p, "valueExpression"), "valueExpression is required");
                else
                        b->o->extra.v[b->o->extra.n++] =
                                        (struct rule) { text, key,
                                                        compile_claims(b, PATH(p, "valueExpression"), text, false) };
        }
}

static void read_claim_rules(struct build *b, const struct json *list, const struct path *up) {
        b->o->claim_rules = list;
        b->o->claims.v = arena_array(b->a, struct rule, json_len(list));
        json_each_item(i, list) {
                const struct path *p = PATH_INDEX(up, i - json_items(list));
                struct str claim = text_of(i, "claim"), text = text_of(i, "expression"), say = text_of(i, "message");

                if (claim.n > 0 && text.n > 0) {
                        field_invalid_str(&b->fe, p, claim, "claim and expression can't both be set");
                } else if (claim.n > 0) {
                        if (say.n > 0)
                                field_invalid_str(&b->fe, PATH(p, "message"), say,
                                                  "message can't be set when claim is set");
                        if (seen(list, i, "claim", claim, "expression"))
                                field_duplicate(&b->fe, PATH(p, "claim"), claim);
                } else if (text.n == 0) {
                        field_required(&b->fe, p, "claim or expression is required");
                } else {
                        if (text_of(i, "requiredValue").n > 0)
                                field_invalid_str(&b->fe, PATH(p, "requiredValue"), text_of(i, "requiredValue"),
                                                  "requiredValue can't be set when expression is set");
                        if (seen(list, i, "expression", text, "claim"))
                                field_duplicate(&b->fe, PATH(p, "expression"), text);
                        else
                                b->o->claims.v[b->o->claims.n++] =
                                                (struct rule) { text, say,
                                                                compile_claims(b, PATH(p, "expression"), text, true) };
                }
        }
}

static void read_user_rules(struct build *b, const struct json *list, const struct path *up) {
        b->o->user.v = arena_array(b->a, struct rule, json_len(list));
        json_each_item(i, list) {
                const struct path *p = PATH(PATH_INDEX(up, i - json_items(list)), "expression");
                struct str text = text_of(i, "expression");

                if (str_empty(text))
                        field_required(&b->fe, p, "expression is required");
                else if (seen(list, i, "expression", text, ""))
                        field_duplicate(&b->fe, p, text);
                else
                        b->o->user.v[b->o->user.n++] =
                                        (struct rule) { text, text_of(i, "message"),
                                                        config_compile(&b->fe, p, text, &user_variable, true) };
        }
}

/* Claims that are fetched change sooner than keys. */
static int64_t keep_ms(const struct remote_options *o, const struct json *answer) {
        return json_is(answer, JSON_STRING) ? KEEP_CLAIMS_MS : answer ? KEEP_MS : 0;
}

static int read_authenticator(struct build *b, const struct json *config, const struct path *p, struct error *err) {
        const struct json *issuer = json_getc(config, "issuer"), *m = json_getc(config, "claimMappings");
        const struct path *to = PATH(p, "claimMappings");
        struct remote_options o = { .s = b->n->s,
                                    .name = "OpenID issuer",
                                    .ca_pem = text_of(issuer, "certificateAuthority"),
                                    .keep_ms = keep_ms };

        b->email = b->email_verified = false;
        b->o->algorithms = str_of(b->algorithms);
        b->o->not_ready = "authenticator not initialized";
        b->o->verify = "verify token";
        read_issuer(b, issuer, PATH(p, "issuer"));
        read_claim_rules(b, json_getc(config, "claimValidationRules"), PATH(p, "claimValidationRules"));
        read_mapping(b, json_getc(m, "username"), PATH(to, "username"), REQUIRED | PREFIXED, &b->o->username);
        read_mapping(b, json_getc(m, "groups"), PATH(to, "groups"), PREFIXED, &b->o->groups);
        read_mapping(b, json_getc(m, "uid"), PATH(to, "uid"), 0, &b->o->uid);
        read_extra(b, json_getc(m, "extra"), PATH(to, "extra"));
        if (b->email && !b->email_verified)
                field_invalid_str(&b->fe, PATH(PATH(to, "username"), "expression"), b->o->username.text,
                                  "claims.email_verified must be used in claimMappings.username.expression or "
                                  "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when "
                                  "claims.email is used in claimMappings.username.expression");
        read_user_rules(b, json_getc(config, "userValidationRules"), PATH(p, "userValidationRules"));
        return remote_new(&o, &b->o->remote, err);
}

static bool known_before(const struct json *list, const struct json *item, const char *key) {
        struct str url = text_of(json_getc(item, "issuer"), key);

        for (const struct json *i = json_items(list); url.n > 0 && i < item; i++)
                if (str_eq(text_of(json_getc(i, "issuer"), key), url))
                        return true;
        return false;
}

int oidc_new(struct authn *n, struct arena *a, const struct json *list, const char *algorithms, struct field_errors *fe,
             struct oidcs *ret, struct error *err) {
        static const char *const unique[] = { "url", "discoveryURL" };
        struct build b = { .fe = *fe, .a = a, .n = n, .algorithms = algorithms ? algorithms : ALGORITHMS };
        const struct path *root = PATH(NULL, "jwt");
        int r = 0;

        if (json_len(list) > MAX_ISSUERS) {
                field_too_many(fe, root, json_len(list), MAX_ISSUERS);
                return 0;
        }
        ret->v = arena_array(a, struct oidc, json_len(list));
        json_each_item(i, list) {
                const struct path *p = PATH_INDEX(root, i - json_items(list));

                b.o = &ret->v[ret->n++];
                if (r == 0)
                        r = read_authenticator(&b, i, p, err);
                for (size_t k = 0; k < ARRAY_SIZE(unique); k++)
                        if (known_before(list, i, unique[k]))
                                field_duplicate(&b.fe, PATH(PATH(p, "issuer"), unique[k]),
                                                text_of(json_getc(i, "issuer"), unique[k]));
        }
        *fe = b.fe;
        return r;
}

/* The flags say what a file with one issuer would. */
int oidc_from_flags(struct authn *n, struct arena *a, struct json *ret, struct error *err) {
        const char *issuer = server_flag(n->s, "oidc-issuer-url", NULL), *ca = server_flag(n->s, "oidc-ca-file", NULL);
        const char *name = server_flag(n->s, "oidc-username-claim", "sub");
        const char *prefix = server_flag(n->s, "oidc-username-prefix", ""),
                   *id = server_flag(n->s, "oidc-client-id", "");
        struct str required = str_of(server_flag(n->s, "oidc-required-claim", "")), pair, claim;
        struct json rules = json_new_array();
        _cleanup_buf_ struct buf pem = BUF_INIT;
        int r = issuer && ca ? file_read(ca, 0, &pem, err) : 0;

        *ret = json_new_array();
        if (r < 0 || !issuer)
                return r;
        if (strcmp(prefix, "-") == 0)
                prefix = "";
        else if (!*prefix && strcmp(name, "email") != 0)
                prefix = arena_printf(a, "%s#", issuer).p;
        while (str_split(&required, ',', &pair)) {
                str_split(&pair, '=', &claim);
                json_push(a, &rules, json_build(a, "{ claim: %s, requiredValue: %s }", claim, pair));
        }
        json_push(a, ret,
                  json_build(a,
                             "{ issuer: { url: %c, audiences: [ %c ], certificateAuthority: %S },"
                             "  claimMappings: { username: { claim: %c, prefix: %c }, groups: { claim: %c, prefix: %c "
                             "} },  claimValidationRules: %j }",
                             issuer, id, buf_str(&pem), name, prefix, server_flag(n->s, "oidc-groups-claim", ""),
                             server_flag(n->s, "oidc-groups-prefix", ""), &rules));
        return 0;
}

static void free_rules(struct rules *r) {
        for (size_t i = 0; i < r->n; i++)
                cel_program_free(r->v[i].program);
}

void oidc_free(struct oidcs *list) {
        for (size_t i = 0; i < list->n; i++) {
                struct oidc *o = &list->v[i];

                remote_free(o->remote);
                cel_program_free(o->username.program);
                cel_program_free(o->groups.program);
                cel_program_free(o->uid.program);
                free_rules(&o->extra);
                free_rules(&o->claims);
                free_rules(&o->user);
        }
}

#define refused(err, fmt, ...) error_status((err), REASON_UNAUTHORIZED, "oidc: " fmt, ##__VA_ARGS__)

/* ---- keys ---- */

static int fetch(const struct oidc *o, struct arena *a, struct str url, const struct json **ret, struct error *err) {
        int r = remote_fetch(o->remote, a, url, NULL, ret);

        return r == -EIO ? refused(err, "%s", o->not_ready) : r;
}

static bool signed_by(const struct jwt *t, const struct json *keys) {
        struct str kid = text_of(t->header, "kid");
        bool ok = false;

        json_each_item(k, json_getc(keys, "keys")) {
                EVP_PKEY *key;

                if (ok || (kid.n > 0 && !str_eq(text_of(k, "kid"), kid)))
                        continue;
                key = jwk_read(k);
                ok = key && jwt_verify(t, key);
                EVP_PKEY_free(key);
        }
        return ok;
}

static int fetch_keys(const struct oidc *o, struct arena *a, struct str *ret_url, const struct json **ret,
                      struct error *err) {
        struct str base = str_has_suffix(o->issuer, STR("/")) ? str_sub(o->issuer, 0, o->issuer.n - 1) : o->issuer, url;
        const struct json *config;

        url = o->discovery.n ? o->discovery
                             : arena_printf(a, "%" STR_FMT "/.well-known/openid-configuration", STR_ARG(base));
        TRY(fetch(o, a, url, &config, err));
        if (!str_eq(text_of(config, "issuer"), o->issuer))
                return refused(err, "%s", o->not_ready);
        *ret_url = text_of(config, "jwks_uri");
        return fetch(o, a, *ret_url, ret, err);
}

int oidc_ready(const struct oidcs *list, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *keys;
        struct str url;

        for (size_t i = 0; i < list->n; i++)
                TRY(fetch_keys(&list->v[i], a, &url, &keys, err));
        return 0;
}

static int check_signature(const struct oidc *o, struct arena *a, const struct jwt *t, struct error *err) {
        const struct json *keys;
        struct str url;
        int r = fetch_keys(o, a, &url, &keys, err);

        if (r < 0 || signed_by(t, keys))
                return r;
        if (remote_forget(o->remote, url, RETRY_MS))
                return fetch(o, a, url, &keys, err);
        return refused(err, "%s: failed to verify signature: failed to verify id token signature", o->verify);
}

/* ---- the token ---- */

/* Texts as Go prints a list of them: ["a" "b"]. */
static struct str quoted(struct arena *a, const struct json *texts) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_putc(&b, '[');
        json_each_item(i, texts) {
                buf_addc(&b, b.n > 1 ? " " : "");
                json_write_string(&b, json_str(i));
        }
        if (json_is(texts, JSON_STRING))
                json_write_string(&b, json_str(texts));
        buf_putc(&b, ']');
        return arena_str(a, buf_str(&b));
}

static int check_audience(const struct oidc *o, struct arena *a, const struct jwt *t, struct error *err) {
        const struct json *aud = json_getc(t->claims, "aud");
        bool one = json_len(o->audiences) == 1;
        struct str wanted = quoted(a, o->audiences);

        if (json_has_str(o->audiences, json_str(aud)))
                return 0;
        json_each_item(i, aud)
                if (json_has_str(o->audiences, json_str(i)))
                        return 0;
        return refused(err, "%s: oidc: expected audience %s%" STR_FMT " got %" STR_FMT, o->verify, one ? "" : "in ",
                       STR_ARG(one ? str_sub(wanted, 1, wanted.n - 1) : wanted), STR_ARG(quoted(a, aud)));
}

/* Claims that are elsewhere have a source. */
static int check_sources(const struct oidc *o, const struct jwt *t, struct error *err) {
        const struct json *names = json_getc(t->claims, "_claim_names"), *all = json_getc(t->claims, "_claim_sources");

        if ((names && !json_is(names, JSON_OBJECT)) || (all && !json_is(all, JSON_OBJECT)))
                return refused(err, "%s: oidc: failed to unmarshal claims", o->verify);
        json_each_member(m, names) {
                if (str_empty(json_str(&m->value)))
                        return refused(err, "%s: oidc: failed to obtain source from claim name", o->verify);
                if (!json_get(all, json_str(&m->value)))
                        return refused(err, "%s: oidc: source does not exist", o->verify);
        }
        return 0;
}

static int check_token(const struct oidc *o, struct arena *a, const struct jwt *t, struct error *err) {
        int64_t now = now_wall_ns() / NSEC_PER_SEC, until = json_int(json_getc(t->claims, "exp"));
        struct str algorithm = text_of(t->header, "alg"), rest = o->algorithms, one;
        struct json known = json_new_array();
        char text[36];

        TRY(check_sources(o, t, err));
        if (now >= until) {
                struct str at = time_format(text, until * NSEC_PER_SEC);

                return refused(err, "%s: oidc: token is expired (Token Expiry: %.10s %.8s +0000 UTC)", o->verify, at.p,
                               at.p + 11);
        }
        if (now + LEEWAY_SECONDS < json_int(json_getc(t->claims, "nbf")))
                return refused(err, "%s: oidc: current time is before the nbf (not before) time", o->verify);
        while (str_split(&rest, ',', &one))
                json_push(a, &known, json_of_str(one));
        if (!json_has_str(&known, algorithm))
                return refused(err,
                               "%s: oidc: id token signed with unsupported algorithm, expected %" STR_FMT
                               " got \"%" STR_FMT "\"",
                               o->verify, STR_ARG(quoted(a, &known)), STR_ARG(algorithm));
        TRY(check_signature(o, a, t, err));
        return check_audience(o, a, t, err);
}

/* ---- claims that are elsewhere (OpenID Connect Core 1.0, 5.6.2) ---- */

#define not_expanded(err, fmt, ...) refused((err), EXPAND fmt, ##__VA_ARGS__)
#define EXPAND "could not expand distributed claims: "

/* The token that the source hands out has the claim; who signed it need not be our issuer. */
static int resolve(const struct oidc *o, struct arena *a, struct str url, struct str access, struct json *claims,
                   struct error *err) {
        struct str claim = o->groups.claim;
        struct oidc of = *o;
        const struct json *answer;
        struct jwt t;
        int r = remote_fetch(o->remote, a, url, arena_cstr(a, access), &answer);

        if (r == -EIO)
                return not_expanded(err, "while getting distributed claim \"%" STR_FMT "\": %" STR_FMT, STR_ARG(claim),
                                    STR_ARG(json_str(answer)));
        if (r < 0)
                return r;
        if (jwt_parse(a, str_trim(json_str(answer)), &t) < 0)
                return not_expanded(err,
                                    "getting untrusted issuer from endpoint %" STR_FMT " failed for claim \"%" STR_FMT
                                    "\": malformed token",
                                    STR_ARG(url), STR_ARG(claim));
        of.issuer = text_of(t.claims, "iss");
        of.discovery = STR("");
        of.verify = EXPAND "verify distributed claim token";
        of.not_ready = arena_printf(a,
                                    EXPAND "verifying untrusted issuer %" STR_FMT
                                           " failed: verifier not initialized for issuer: \"%" STR_FMT "\"",
                                    STR_ARG(of.issuer), STR_ARG(of.issuer))
                                       .p;
        r = check_token(&of, a, &t, err);
        if (r == 0 && !json_get(t.claims, claim))
                return not_expanded(err,
                                    "jwt returned by distributed claim endpoint \"%" STR_FMT
                                    "\" did not contain claim: %" STR_FMT,
                                    STR_ARG(url), STR_ARG(claim));
        if (r == 0)
                json_set(a, claims, claim, *json_get(t.claims, claim));
        return r;
}

static int expand(const struct oidc *o, struct arena *a, struct json *claims, struct error *err) {
        const struct json *names = json_getc(claims, "_claim_names"), *sources = json_getc(claims, "_claim_sources");
        struct str source = json_str(json_get(names, o->groups.claim)), url;

        if (str_empty(o->groups.claim) || json_get(claims, o->groups.claim) || str_empty(source))
                return 0;
        url = text_of(json_get(sources, source), "endpoint"); /* none: the claim is in the token, as another token */
        return str_empty(url) ? 0 : resolve(o, a, url, text_of(json_get(sources, source), "access_token"), claims, err);
}

/* ---- who it is ---- */

struct reading {
        const struct oidc *o;
        struct arena *a;
        const struct json *claims;
        struct cel_value value; /* the claims */
};

static int evaluate(struct arena *a, const struct cel_program *p, struct str text, const struct cel_value *of,
                    struct cel_value *ret, const char *what, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cel_run run = { .arena = a };

        if (cel_eval(p, of, &run, ret, &e) == 0)
                return 0;
        return refused(err, "error evaluating %s: expression '%" STR_FMT "' resulted in error: %s", what, STR_ARG(text),
                       error_text(&e));
}

static const char *go_type(const struct json *j) {
        return json_is(j, JSON_OBJECT)  ? "object"
               : json_is(j, JSON_ARRAY) ? "array"
               : json_is(j, JSON_BOOL)  ? "bool"
                                        : "number";
}

static struct str prefixed(struct arena *a, struct str prefix, struct str text) {
        return arena_printf(a, "%" STR_FMT "%" STR_FMT, STR_ARG(prefix), STR_ARG(text));
}

/* A name or UID. */
static int map_text(const struct reading *r, const struct mapping *m, const char *what, const char *plural,
                    struct str *ret, struct error *err) {
        const struct json *claim = json_get(r->claims, m->claim);
        struct cel_value v;

        *ret = STR("");
        if (m->program) {
                TRY(evaluate(r->a, m->program, m->text, &r->value, &v, what, err));
                if (v.kind != CEL_STRING)
                        return refused(err, "error evaluating %s: %s must return a string", what, what);
                *ret = arena_str(r->a, cel_str(&v));
                return 0;
        }
        if (m->claim.n == 0)
                return 0;
        if (!claim)
                return refused(err, "parse %s \"%" STR_FMT "\": claim not present", plural, STR_ARG(m->claim));
        if (!json_is(claim, JSON_STRING) && !json_is(claim, JSON_NULL))
                return refused(err, "parse %s \"%" STR_FMT "\": json: cannot unmarshal %s into Go value of type string",
                               plural, STR_ARG(m->claim), go_type(claim));
        *ret = prefixed(r->a, m->prefix, json_str(claim));
        return 0;
}

static int check_email(const struct reading *r, struct error *err) {
        const struct json *verified = json_getc(r->claims, "email_verified");

        if (!str_eqc(r->o->username.claim, "email") || !verified)
                return 0;
        if (!json_is(verified, JSON_BOOL))
                return refused(err,
                               "parse 'email_verified' claim: json: cannot unmarshal %s into Go value of type bool",
                               json_is(verified, JSON_STRING) ? "string" : go_type(verified));
        return json_bool(verified) ? 0 : refused(err, "email not verified");
}

/* The texts of what an expression yields: one, a list, or none. */
static int value_texts(const struct reading *r, const struct cel_value *v, const char *what, struct json *ret,
                       struct error *err) {
        struct json j = cel_to_json(r->a, v), one = json_new_array();
        bool fine = true;

        *ret = json_new_array();
        if (j.type == JSON_STRING)
                json_push(r->a, &one, j);
        else if (j.type == JSON_ARRAY)
                one = j;
        else
                fine = j.type == JSON_NULL;
        json_each_item(i, &one) {
                fine = fine && json_is(i, JSON_STRING);
                if (json_str(i).n > 0)
                        json_push(r->a, ret, json_of_copy(r->a, json_str(i)));
        }
        return fine ? 0
                    : refused(err, "error evaluating %s: expression must return a string or a list of strings", what);
}

static int map_groups(const struct reading *r, struct json *ret, struct error *err) {
        const struct mapping *m = &r->o->groups;
        const struct json *claim = m->claim.n ? json_get(r->claims, m->claim) : NULL;
        struct cel_value v;
        bool fine = !claim || json_is(claim, JSON_ARRAY) || json_is(claim, JSON_STRING) || json_is(claim, JSON_NULL);

        *ret = json_new_array();
        if (m->program) {
                TRY(evaluate(r->a, m->program, m->text, &r->value, &v, "group claim expression", err));
                return value_texts(r, &v, "group claim expression", ret, err);
        }
        if (json_is(claim, JSON_STRING))
                json_push(r->a, ret, json_of_str(prefixed(r->a, m->prefix, json_str(claim))));
        json_each_item(g, claim) {
                fine = fine && json_is(g, JSON_STRING);
                json_push(r->a, ret, json_of_str(prefixed(r->a, m->prefix, json_str(g))));
        }
        return fine ? 0
                    : refused(err,
                              "parse groups claim \"%" STR_FMT
                              "\": json: cannot unmarshal %s into Go value of type string",
                              STR_ARG(m->claim), go_type(json_is(claim, JSON_ARRAY) ? json_item(claim, 0) : claim));
}

static int map_extra(const struct reading *r, struct api_user *u, struct error *err) {
        struct str id = text_of(r->claims, "jti");
        struct cel_value v;
        struct json texts;
        int e = 0;

        if (id.n > 0)
                user_add_extra(r->a, u, STR("authentication.kubernetes.io/credential-id"),
                               prefixed(r->a, STR("JTI="), id));
        for (size_t i = 0; e == 0 && i < r->o->extra.n; i++) {
                const struct rule *x = &r->o->extra.v[i];

                e = evaluate(r->a, x->program, x->text, &r->value, &v, "extra claim expression", err);
                if (e == 0)
                        e = value_texts(r, &v, "extra claim expression", &texts, err);
                if (e == 0)
                        json_each_item(t, &texts)
                                user_add_extra(r->a, u, x->with, json_str(t));
        }
        return e;
}

static int check_required(const struct reading *r, struct error *err) {
        json_each_item(i, r->o->claim_rules) {
                struct str name = text_of(i, "claim"), want = text_of(i, "requiredValue");
                const struct json *is = json_get(r->claims, name);

                if (str_empty(name))
                        continue;
                if (!is)
                        return refused(err, "required claim %" STR_FMT " not present in ID token", STR_ARG(name));
                if (!json_is(is, JSON_STRING))
                        return refused(err,
                                       "parse claim %" STR_FMT
                                       ": json: cannot unmarshal %s into Go value of type string",
                                       STR_ARG(name), go_type(is));
                if (!str_eq(json_str(is), want))
                        return refused(err,
                                       "required claim %" STR_FMT " value does not match. Got = %" STR_FMT
                                       ", want = %" STR_FMT,
                                       STR_ARG(name), STR_ARG(json_str(is)), STR_ARG(want));
        }
        return 0;
}

static int check_rules(const struct reading *r, const struct rules *rules, const struct cel_value *of, const char *what,
                       struct error *err) {
        for (size_t i = 0; i < rules->n; i++) {
                const struct rule *x = &rules->v[i];
                struct cel_value v;

                TRY(evaluate(r->a, x->program, x->text, of, &v, what, err));
                if (v.kind != CEL_BOOL || !v.b)
                        return refused(err,
                                       "error evaluating %s: validation expression '%" STR_FMT "' failed: %" STR_FMT,
                                       what, STR_ARG(x->text), STR_ARG(x->with));
        }
        return 0;
}

static struct cel_value user_value(struct arena *a, const struct api_user *u) {
        struct json *j = json_new(a, user_json(a, u));
        static const char *const texts[] = { "username", "uid" };

        for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
                if (!json_getc(j, texts[i]))
                        json_set_cstr(a, j, texts[i], "");
        json_get_or_add_array(a, j, "groups");
        json_get_or_add_object(a, j, "extra");
        return cel_of_json(a, j, &user_type);
}

static int make_user(const struct reading *r, struct api_user *ret, struct error *err) {
        struct cel_value user;
        struct str name, uid;
        struct json groups;
        int e = map_text(r, &r->o->username, "username claim expression", "username claims", &name, err);

        if (e == 0 && r->o->username.program && str_empty(name))
                e = refused(err, "empty username via CEL expression is not allowed");
        if (e == 0)
                e = check_email(r, err);
        if (e == 0)
                e = map_groups(r, &groups, err);
        if (e == 0)
                e = map_text(r, &r->o->uid, "uid claim expression", "uid claim", &uid, err);
        if (e < 0)
                return e;
        *ret = user_new(r->a, name, uid, &groups, 1);
        e = map_extra(r, ret, err);
        if (e == 0)
                e = check_required(r, err);
        if (e == 0)
                e = check_rules(r, &r->o->claims, &r->value, "claim validation expression", err);
        if (e == 0 && r->o->user.n > 0) {
                user = user_value(r->a, ret);
                e = check_rules(r, &r->o->user, &user, "user info validation rule", err);
        }
        if (e == 0)
                user_add_authenticated(ret);
        return e;
}

/* Google's tokens have had no scheme. */
static struct str issuer_of(const struct jwt *t) {
        struct str iss = text_of(t->claims, "iss");

        return str_eqc(iss, "accounts.google.com") ? STR("https://accounts.google.com") : iss;
}

int oidc_check(const struct token_check *c, struct error *err) {
        const struct oidcs *all = &atomic_load(&c->n->config)->issuers;
        struct jwt t;

        if (all->n == 0 || jwt_parse(c->a, c->text, &t) < 0)
                return -ENOENT;
        for (size_t i = 0; i < all->n; i++) {
                struct reading r = { .o = &all->v[i], .a = c->a, .claims = t.claims };
                int e;

                if (!str_eq(issuer_of(&t), r.o->issuer))
                        continue;
                e = check_token(r.o, c->a, &t, err);
                if (e == 0)
                        e = expand(r.o, c->a, t.claims, err);
                r.value = cel_of_json(c->a, t.claims, &claims_type);
                return e < 0 ? e : make_user(&r, c->ret, err);
        }
        return -ENOENT;
}
