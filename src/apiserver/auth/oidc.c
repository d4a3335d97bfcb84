/* ID tokens of an OpenID issuer: its configuration names its keys, both are fetched when the first token comes, and
 * again when a token is signed by a key that is not among them.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens */
#include <errno.h>

#include <openssl/evp.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"
#include "http/jwt.h"

#define KEEP_MS (10 * 60 * 1000)
#define RETRY_MS 10000 /* keys are not fetched more often for tokens with unknown ones */

struct oidc {
        struct authn *n;
        struct remote *remote;
        struct str issuer, client_id, username_claim, username_prefix, groups_claim, groups_prefix, required,
                        algorithms;
};

static int64_t keep_ms(const struct remote *r, const struct json *answer) {
        return answer ? KEEP_MS : 0;
}

int oidc_new(struct authn *n, struct oidc **ret, struct error *err) {
        const char *issuer = server_flag(n->s, "oidc-issuer-url", NULL), *prefix;
        struct remote_options o = { .s = n->s,
                                    .name = "OpenID issuer",
                                    .ca_file = server_flag(n->s, "oidc-ca-file", NULL),
                                    .keep_ms = keep_ms };
        struct oidc *c;

        if (!issuer)
                return 0;
        if (!str_has_prefix(str_of(issuer), STR("https://")))
                return error_set(err, -EINVAL, "--oidc-issuer-url: \"%s\" is no https URL", issuer);
        c = arena_new_of(n->arena, struct oidc);
        c->n = n;
        c->issuer = str_of(issuer);
        c->client_id = str_of(server_flag(n->s, "oidc-client-id", ""));
        if (str_empty(c->client_id))
                return error_set(err, -EINVAL, "--oidc-issuer-url needs --oidc-client-id");
        c->username_claim = str_of(server_flag(n->s, "oidc-username-claim", "sub"));
        prefix = server_flag(n->s, "oidc-username-prefix", NULL);
        if (prefix)
                c->username_prefix = strcmp(prefix, "-") == 0 ? STR("") : str_of(prefix);
        else if (!str_eqc(c->username_claim, "email"))
                c->username_prefix = arena_printf(n->arena, "%s#", issuer);
        c->groups_claim = str_of(server_flag(n->s, "oidc-groups-claim", ""));
        c->groups_prefix = str_of(server_flag(n->s, "oidc-groups-prefix", ""));
        c->required = str_of(server_flag(n->s, "oidc-required-claim", ""));
        c->algorithms = str_of(server_flag(n->s, "oidc-signing-algs", "RS256"));
        *ret = c;
        return remote_new(&o, &c->remote, err);
}

void oidc_free(struct oidc *o) {
        if (o)
                remote_free(o->remote);
}

static int refused(struct error *err, const char *why) {
        return error_status(err, REASON_UNAUTHORIZED, "oidc: %s", why);
}

/* ---- keys ---- */

static int fetch(const struct oidc *o, struct arena *a, struct str url, const struct json **ret, struct error *err) {
        int r = remote_ask(o->remote, a, url, NULL, ret);

        return r == -EIO ? refused(err, "authenticator not initialized") : r;
}

static bool signed_by(const struct jwt *t, const struct json *keys) {
        struct str kid = json_str(json_getc(t->header, "kid"));
        bool ok = false;

        json_each_item(k, json_getc(keys, "keys")) {
                EVP_PKEY *key;

                if (ok || (kid.n > 0 && !str_eq(json_str(json_getc(k, "kid")), kid)))
                        continue;
                key = jwk_read(k);
                ok = key && jwt_verify(t, key);
                EVP_PKEY_free(key);
        }
        return ok;
}

static int check_signature(const struct oidc *o, struct arena *a, const struct jwt *t, struct error *err) {
        struct str base = str_has_suffix(o->issuer, STR("/")) ? str_sub(o->issuer, 0, o->issuer.n - 1) : o->issuer, url;
        const struct json *config, *keys;
        int r = fetch(o, a, arena_printf(a, "%" STR_FMT "/.well-known/openid-configuration", STR_ARG(base)), &config,
                      err);

        if (r < 0)
                return r;
        if (!str_eq(json_str(json_getc(config, "issuer")), o->issuer))
                return refused(err, "issuer did not match the issuer returned by provider");
        url = json_str(json_getc(config, "jwks_uri"));
        r = fetch(o, a, url, &keys, err);
        if (r < 0 || signed_by(t, keys))
                return r;
        if (remote_forget(o->remote, url, RETRY_MS))
                return fetch(o, a, url, &keys, err);
        return refused(err, "verify token: failed to verify signature: failed to verify id token signature");
}

/* ---- claims ---- */

static bool lists(struct str list, struct str item) {
        struct str i;

        while (str_split(&list, ',', &i))
                if (str_eq(i, item))
                        return true;
        return false;
}

/* A claim that is one text or a list of them. */
static bool has_text(const struct json *claim, struct str text) {
        json_each_item(i, claim)
                if (str_eq(json_str(i), text))
                        return true;
        return json_is(claim, JSON_STRING) && str_eq(json_str(claim), text);
}

static int check_claims(const struct oidc *o, const struct json *claims, struct error *err) {
        int64_t now = now_wall_ns() / NSEC_PER_SEC;
        struct str rest = o->required, pair, key;

        if (!has_text(json_getc(claims, "aud"), o->client_id))
                return refused(err, "verify token: expected audience not found");
        if (now >= json_int(json_getc(claims, "exp")))
                return refused(err, "verify token: token is expired");
        if (now + 300 < json_int(json_getc(claims, "nbf")))
                return refused(err, "verify token: current time is before the nbf (not before) time");
        while (str_split(&rest, ',', &pair)) {
                str_split(&pair, '=', &key);
                if (!json_is(json_get(claims, key), JSON_STRING) || !str_eq(json_str(json_get(claims, key)), pair))
                        return refused(err, "required claim not present or its value does not match");
        }
        return 0;
}

static struct str prefixed(struct arena *a, struct str prefix, struct str text) {
        return arena_printf(a, "%" STR_FMT "%" STR_FMT, STR_ARG(prefix), STR_ARG(text));
}

static int make_user(const struct oidc *o, struct arena *a, const struct json *claims, struct api_user *ret,
                     struct error *err) {
        struct str name = json_str(json_get(claims, o->username_claim));
        const struct json *groups = o->groups_claim.n ? json_get(claims, o->groups_claim) : NULL;
        const struct json *verified = json_getc(claims, "email_verified");

        if (str_empty(name))
                return refused(err, "parse username claims: claim not present or no text");
        if (str_eqc(o->username_claim, "email") && verified && !json_bool(verified))
                return refused(err, "email not verified");
        *ret = user_new(a, prefixed(a, o->username_prefix, name), STR(""), NULL, json_len(groups) + 2);
        json_each_item(g, groups)
                user_add_group(ret, prefixed(a, o->groups_prefix, json_str(g)));
        if (json_is(groups, JSON_STRING))
                user_add_group(ret, prefixed(a, o->groups_prefix, json_str(groups)));
        user_add_group(ret, STR("system:authenticated"));
        if (json_is(json_getc(claims, "jti"), JSON_STRING))
                user_add_extra(a, ret, STR("authentication.kubernetes.io/credential-id"),
                               prefixed(a, STR("JTI="), json_str(json_getc(claims, "jti"))));
        return 0;
}

int oidc_check(const struct token_check *c, struct error *err) {
        const struct oidc *o = c->n->oidc;
        struct jwt t;
        int r;

        if (!o || jwt_parse(c->a, c->text, &t) < 0 || !str_eq(json_str(json_getc(t.claims, "iss")), o->issuer))
                return -ENOENT;
        if (!lists(o->algorithms, json_str(json_getc(t.header, "alg"))))
                return refused(err, "verify token: malformed jwt: unexpected signature algorithm");
        r = check_claims(o, t.claims, err);
        if (r == 0)
                r = check_signature(o, c->a, &t, err);
        return r < 0 ? r : make_user(o, c->a, t.claims, c->ret, err);
}
