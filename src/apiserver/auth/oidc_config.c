/* What flags and the file of --authentication-config say of OpenID issuers: read, checked, expressions compiled. */
#include <openssl/err.h>
#include <openssl/pem.h>

#include "apiserver/auth/oidc.h"
#include "apiserver/auth/remote.h"
#include "apiserver/config_file.h"
#include "apiserver/flags.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/url.h"
#include "json/build.h"

#define KEEP_MS (INT64_MAX / NSEC_PER_MSEC / 2) /* until it is asked again */
#define KEEP_CLAIMS_MS 10000
#define KEEP_FAILURE_MS 1000 /* an issuer that is gone is not asked for each token */
#define MAX_ISSUERS 64
#define ALGORITHMS "ES256,ES384,ES512,PS256,PS384,PS512,RS256,RS384,RS512"

static const struct cel_type claims_type = { .kind = CEL_MAP, .params = { &cel_string, &cel_any } };
CEL_DECLARE(user_type, "kubernetes.UserInfo", CEL_FIELD("username", &cel_string), CEL_FIELD("uid", &cel_string),
            CEL_FIELD("groups", &cel_strings), CEL_FIELD("extra", &cel_string_lists));
const struct cel_variable oidc_claims = { "claims", &claims_type }, oidc_user = { "user", &user_type };

struct build {
        struct field_errors fe;
        struct authn *n;
        struct arena *a;
        struct oidc *o;
        const char *algorithms;
        bool starts;                /* the server: nothing served before */
        bool email, email_verified; /* expressions look at these claims */
};

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

        if (fault)
                return field_invalid_str(&b->fe, p, url, "parse %" STR_FMT ": %s", STR_ARG(quoted_in_go(b->a, whole)),
                                         fault);
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
static void check_foreign(struct build *b, const struct path *p, struct str url) {
        struct json list = json_copy_shallow(b->a, &b->n->issuers);
        _cleanup_buf_ struct buf names = BUF_INIT;

        json_sort_texts(&list);
        json_each_item(i, &list)
                buf_printf(&names, "%s%" STR_FMT, names.n ? " " : "", STR_ARG(json_str(i)));
        if (json_has_str(&list, url))
                field_invalid_str(&b->fe, p, url, "URL must not overlap with disallowed issuers: [%" STR_FMT "]",
                                  STR_ARG(buf_str(&names)));
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
        each_at(i, at, PATH(p, "audiences"), list) {
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
        if (url.n > 0 && !b->starts)
                check_foreign(b, PATH(p, "url"), url);
        if (url.n > 0)
                check_url(b, PATH(p, "url"), url);
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
        struct cel_program *program = config_compile(&b->fe, p, text, &oidc_claims, boolean);

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
                        m->program = config_compile(&b->fe, PATH(p, "expression"), m->text, &oidc_claims, false);
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
        each_at(i, p, up, list) {
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
        each_at(i, p, up, list) {
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
                                                        config_compile(&b->fe, p, text, &oidc_user, true) };
        }
}

/* Claims that are fetched change sooner than keys. */
static int64_t keep_ms(const struct remote_options *o, struct str question, const struct json *answer) {
        return json_is(answer, JSON_STRING) ? KEEP_CLAIMS_MS : answer ? KEEP_MS : KEEP_FAILURE_MS;
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

        for (const struct json *i = json_items(list); i < item; i++)
                if ((url.n > 0 || strcmp(key, "url") == 0) && str_eq(text_of(json_getc(i, "issuer"), key), url))
                        return true;
        return false;
}

int oidc_new(struct authn *n, struct arena *a, const struct json *list, const char *algorithms, struct field_errors *fe,
             struct oidcs *ret, struct error *err) {
        static const char *const unique[] = { "url", "discoveryURL" };
        struct build b = { .fe = *fe,
                           .a = a,
                           .n = n,
                           .algorithms = algorithms ? algorithms : ALGORITHMS,
                           .starts = !atomic_load(&n->config) };
        const struct path *root = PATH(NULL, "jwt");
        int r = 0;

        if (json_len(list) > MAX_ISSUERS) {
                field_too_many(fe, root, json_len(list), MAX_ISSUERS);
                return 0;
        }
        ret->v = arena_array(a, struct oidc, json_len(list));
        each_at(i, p, root, list) {
                b.o = &ret->v[ret->n++];
                if (r == 0)
                        r = read_authenticator(&b, i, p, err);
                for (size_t k = 0; k < ARRAY_SIZE(unique); k++)
                        if (known_before(list, i, unique[k]))
                                field_duplicate(&b.fe, PATH(PATH(p, "issuer"), unique[k]),
                                                text_of(json_getc(i, "issuer"), unique[k]));
        }
        for (size_t i = 0; i < ret->n && b.starts && b.fe.list.n == 0; i++) /* at the start, that is looked at last */
                check_foreign(&b, PATH(PATH(NULL, "issuer"), "url"), ret->v[i].issuer);
        *fe = b.fe;
        return r;
}

/* The flags say what a file with one issuer would. */
int oidc_from_flags(struct authn *n, struct arena *a, struct json *ret, struct error *err) {
        const char *issuer = server_flag(n->s, "oidc-issuer-url", NULL), *ca = server_flag(n->s, "oidc-ca-file", NULL);
        const char *name = server_flag(n->s, "oidc-username-claim", "sub");
        const char *prefix = server_flag(n->s, "oidc-username-prefix", ""),
                   *id = server_flag(n->s, "oidc-client-id", "");
        const char *one;
        struct json rules = json_new_array(), required = json_new_object();
        size_t at = 0;
        _cleanup_buf_ struct buf pem = BUF_INIT;
        int r = issuer && ca ? file_read(ca, 0, &pem, err) : 0;

        *ret = json_new_array();
        if (r < 0 || !issuer)
                return r;
        if (strcmp(prefix, "-") == 0)
                prefix = "";
        else if (!*prefix && strcmp(name, "email") != 0)
                prefix = arena_printf(a, "%s#", issuer).p;
        while ((one = server_flag_next(n->s, "oidc-required-claim", &at))) {
                struct str value = str_of(one), claim = { 0 };

                str_split(&value, '=', &claim);
                json_set_str(a, &required, arena_cstr(a, str_trim(claim)), str_trim(value));
        }
        json_each_member(m, &required)
                json_push(a, &rules, json_build(a, "{ claim: %s, requiredValue: %j }", json_key(m), &m->value));
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
