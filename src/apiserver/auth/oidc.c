/* ID tokens of OpenID issuers: each issuer's configuration, which is fetched ahead, names its keys. Those are fetched
 * when the first token comes, and again when a token is signed by a key that is not among them. What a token's claims
 * make of its bearer is told by flags, or by a file with expressions.
 * https://kubernetes.io/docs/reference/access-authn-authz/authentication/#openid-connect-tokens */
#include <openssl/evp.h>

#include "apiserver/auth/oidc.h"
#include "apiserver/auth/remote.h"
#include "base/encode.h"
#include "base/metrics.h"
#include "http/jwt.h"
#include "json/build.h"

#define RETRY_MS 10000 /* nothing is fetched more often: a configuration that was none, keys for unknown ones */
#define LEEWAY_SECONDS 60

#define refused(err, fmt, ...) error_status((err), REASON_UNAUTHORIZED, "oidc: " fmt, ##__VA_ARGS__)

/* ---- keys ---- */

static bool signed_by(const struct jwt *t, const struct json *keys) {
        struct str kid = text_of(t->header, "kid");
        bool ok = false;

        json_each_item(k, json_getc(keys, "keys")) {
                if (ok || (kid.n > 0 && !str_eq(text_of(k, "kid"), kid)))
                        continue;
                EVP_PKEY *key = jwk_read(k);
                ok = key && jwt_verify(t, key);
                EVP_PKEY_free(key);
        }
        return ok;
}

static struct str configuration_url(const struct oidc *o, struct arena *a) {
        struct str base = str_has_suffix(o->issuer, STR("/")) ? str_sub(o->issuer, 0, o->issuer.n - 1) : o->issuer;

        return o->discovery.n ? o->discovery
                              : arena_printf(a, "%" STR_FMT "/.well-known/openid-configuration", STR_ARG(base));
}

/* Where the keys are. A token of one of our issuers does not wait for that. */
static int discover(const struct oidc *o, struct arena *a, struct str *ret_keys, struct error *err) {
        struct str url = configuration_url(o, a);
        const struct json *config;
        int r = o->waits ? remote_fetch(o->remote, a, url, NULL, &config) : remote_known(o->remote, a, url, &config);

        if (r == -EINPROGRESS && o->waits)
                return r;
        if (r < 0 || !str_eq(text_of(config, "issuer"), o->issuer))
                return refused(err, "%s", o->not_ready);
        *ret_keys = text_of(config, "jwks_uri");
        return 0;
}

static int no_keys(const struct oidc *o, struct str url, struct str why, struct error *err) {
        return refused(err,
                       "%s: failed to verify signature: fetching keys oidc: get keys failed Get \"%" STR_FMT
                       "\": %" STR_FMT,
                       o->verify, STR_ARG(url), STR_ARG(why));
}

int oidc_ready(const struct oidcs *list, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str keys;

        for (size_t i = 0; i < list->n; i++)
                TRY(discover(&list->v[i], a, &keys, err));
        return 0;
}

static void answered(void *asking) {
        atomic_store((atomic_bool *) asking, false);
}

void oidc_prepare(const struct oidcs *list) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *config;
        struct str keys;

        for (size_t i = 0; i < list->n; i++) {
                struct oidc *o = &list->v[i];
                _cleanup_error_ struct error e = ERROR_INIT;

                if (atomic_load(&o->asking) || (o->tried_ms && now_mono_ms() - o->tried_ms < RETRY_MS) ||
                    discover(o, a, &keys, &e) == 0)
                        continue;
                o->tried_ms = now_mono_ms();
                remote_forget(o->remote, configuration_url(o, a)); /* which was none */
                atomic_store(&o->asking, true);
                if (remote_fetch(o->remote, a, configuration_url(o, a), NULL, &config) != -EINPROGRESS ||
                    !remote_wait(NULL, answered, &o->asking))
                        atomic_store(&o->asking, false);
        }
}

static int check_signature(const struct oidc *o, struct arena *a, const struct jwt *t, struct str url,
                           struct error *err) {
        const struct json *keys;
        int r = url.n ? remote_fetch(o->remote, a, url, NULL, &keys) : -EIO;

        if (r == 0) {
                if (signed_by(t, keys))
                        return 0;
                r = remote_fetch_anew(o->remote, a, url, RETRY_MS, &keys);
        }
        if (r == -EIO)
                return no_keys(o, url, url.n ? json_str(keys) : STR("unsupported protocol scheme \"\""), err);
        return r < 0 ? r
                     : refused(err, "%s: failed to verify signature: failed to verify id token signature", o->verify);
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

enum shape { TEXT, AUDIENCE, TIME, TEXTS, SOURCES };

/* The claims of all ID tokens, in two turns: what is wrong with some of them is told before what is with others. */
static const struct {
        const char *name;
        enum shape shape;
        int turn;
} known_claims[] = {
        { "iss", TEXT, 1 },           { "sub", TEXT, 1 },
        { "aud", AUDIENCE, 0 },       { "exp", TIME, 0 },
        { "iat", TIME, 0 },           { "nbf", TIME, 0 },
        { "nonce", TEXT, 1 },         { "at_hash", TEXT, 1 },
        { "_claim_names", TEXTS, 1 }, { "_claim_sources", SOURCES, 1 },
};

static int no_claim(const struct oidc *o, const struct json *is, const char *name, const char *type,
                    struct error *err) {
        return refused(err,
                       "%s: oidc: failed to unmarshal claims: json: cannot unmarshal %s into Go struct field %s of "
                       "type "
                       "%s",
                       o->verify, json_type_in_go(is), name, type);
}

static int check_claim(const struct oidc *o, const struct json *is, const char *name, enum shape shape,
                       struct error *err) {
        char path[40];
        int64_t time;

        snprintf(path, sizeof(path), "idToken.%s", name);
        if (shape == TIME && json_is(is, JSON_STRING) && str_to_i64(json_str(is), &time) < 0)
                return refused(err,
                               "%s: oidc: failed to unmarshal claims: json: invalid number literal, trying to "
                               "unmarshal "
                               "\"\\\"%" STR_FMT "\\\"\" into Number",
                               o->verify, STR_ARG(json_str(is)));
        if (shape == TIME && (json_is(is, JSON_BOOL) || json_is(is, JSON_ARRAY) || json_is(is, JSON_OBJECT)))
                return no_claim(o, is, path, "json.Number", err);
        if (json_is(is, JSON_NULL) || shape == TIME)
                return 0;
        if (shape == TEXT)
                return json_is(is, JSON_STRING) ? 0 : no_claim(o, is, path, "string", err);
        if (shape == AUDIENCE) {
                if (!json_is(is, JSON_STRING) && !json_is(is, JSON_ARRAY))
                        return no_claim(o, is, path, "[]string", err);
                json_each_item(i, is)
                        TRY(check_claim(o, i, name, TEXT, err));
                return 0;
        }
        if (!json_is(is, JSON_OBJECT))
                return no_claim(o, is, path, shape == TEXTS ? "map[string]string" : "map[string]oidc.claimSource", err);
        json_each_member(m, is)
                if (shape == TEXTS)
                        TRY(check_claim(o, &m->value, name, TEXT, err));
                else if (!json_is(&m->value, JSON_OBJECT) && !json_is(&m->value, JSON_NULL))
                        return no_claim(o, &m->value, path, "oidc.claimSource", err);
        return 0;
}

static int check_claims(const struct oidc *o, const struct jwt *t, struct error *err) {
        const struct json *all = json_getc(t->claims, "_claim_sources");

        for (int turn = 0; turn < 2; turn++)
                json_each_member(m, t->claims)
                        for (size_t i = 0; i < ARRAY_SIZE(known_claims); i++)
                                if (known_claims[i].turn == turn && str_eqc(json_key(m), known_claims[i].name))
                                        TRY(check_claim(o, &m->value, known_claims[i].name, known_claims[i].shape,
                                                        err));
        json_each_member(m, json_getc(t->claims, "_claim_names")) { /* what is elsewhere has a source */
                if (str_empty(json_str(&m->value)))
                        return refused(err, "%s: oidc: failed to obtain source from claim name", o->verify);
                if (!json_get(all, json_str(&m->value)))
                        return refused(err, "%s: oidc: source does not exist", o->verify);
        }
        return 0;
}

static int64_t time_of(const struct jwt *t, const char *claim) {
        const struct json *j = json_getc(t->claims, claim);
        int64_t time = 0;

        if (json_is(j, JSON_DOUBLE))
                return j->d > -9e18 && j->d < 9e18 ? (int64_t) j->d : INT64_MIN;
        if (json_is(j, JSON_STRING))
                str_to_i64(json_str(j), &time);
        return json_is(j, JSON_INT) ? j->i : time;
}

static int check_times(const struct oidc *o, const struct jwt *t, struct error *err) {
        int64_t now = now_wall_ns(), until = time_of(t, "exp"), from = time_of(t, "nbf");
        char text[36], other[36];
        struct str at;

        if (now / NSEC_PER_SEC >= until) {
                at = time_format(text, MAX(until, -62135596800LL / 1000) * NSEC_PER_SEC);
                return refused(err, "%s: oidc: token is expired (Token Expiry: %.10s %.8s +0000 UTC)", o->verify, at.p,
                               at.p + 11);
        }
        if (now / NSEC_PER_SEC + LEEWAY_SECONDS >= from)
                return 0;
        at = time_format(text, now);
        time_format(other, MIN(from, INT64_MAX / NSEC_PER_SEC) * NSEC_PER_SEC);
        return refused(err,
                       "%s: oidc: current time %.10s %.8s.%09lld +0000 UTC m=+%lld.%09lld before the nbf (not before) "
                       "time: %.10s %.8s +0000 UTC",
                       o->verify, at.p, at.p + 11, (long long) (now % NSEC_PER_SEC),
                       (long long) (now_mono_ns() / NSEC_PER_SEC), (long long) (now_mono_ns() % NSEC_PER_SEC), other,
                       other + 11);
}

/* Of several audiences upstream takes care itself, when its library is done. */
static int check_token(const struct oidc *o, struct arena *a, const struct jwt *t, struct error *err) {
        struct str algorithm = text_of(t->header, "alg"), keys;
        struct json known = json_new_array();
        bool early = json_len(o->audiences) == 1;

        TRY(discover(o, a, &keys, err));
        if (t->fault.n > 0)
                return refused(err, "%s: oidc: malformed jwt: %" STR_FMT, o->verify, STR_ARG(t->fault));
        TRY(check_claims(o, t, err));
        if (early)
                TRY(check_audience(o, a, t, err));
        TRY(check_times(o, t, err));
        str_each(one, o->algorithms, ',')
                json_push(a, &known, json_of_str(one));
        if (!json_has_str(&known, algorithm))
                return refused(err,
                               "%s: oidc: id token signed with unsupported algorithm, expected %" STR_FMT
                               " got \"%" STR_FMT "\"",
                               o->verify, STR_ARG(quoted(a, &known)), STR_ARG(algorithm));
        TRY(check_signature(o, a, t, keys, err));
        return early ? 0 : check_audience(o, a, t, err);
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
        struct jwt t = { 0 };
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
        of.waits = true;
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
        bool failed;            /* for its metric */
};

/* what: NULL: nothing is said of it. */
static int evaluate(struct arena *a, const struct cel_program *p, struct str text, const struct cel_value *of,
                    struct cel_value *ret, const char *what, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct cel_run run = { .arena = a };

        if (cel_eval(p, of, &run, ret, &e) == 0)
                return 0;
        return error_status(err, REASON_UNAUTHORIZED, "%s%s%sexpression '%" STR_FMT "' resulted in error: %s",
                            what ? "oidc: error evaluating " : "", what ? what : "", what ? ": " : "", STR_ARG(text),
                            error_text(&e));
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
                               plural, STR_ARG(m->claim), json_type_in_go(claim));
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
                               json_type_in_go(verified));
        return json_bool(verified) ? 0 : refused(err, "email not verified");
}

/* The texts of what an expression yields: one, a list, or none. Lists that functions make upstream takes for none. */
static int value_texts(const struct reading *r, const struct cel_value *v, const char *what, struct json *ret,
                       struct error *err) {
        bool fine = v->kind == CEL_STRING || v->kind == CEL_NULL || (v->kind == CEL_LIST && !cel_list_of_texts(v));

        *ret = json_new_array();
        for (size_t i = 0; fine && i < (v->kind == CEL_NULL ? 0 : v->kind == CEL_STRING ? 1 : v->n); i++) {
                struct cel_value one = v->kind == CEL_STRING ? *v : cel_item(r->a, v, i);

                fine = one.kind == CEL_STRING;
                if (fine && one.n > 0)
                        json_push(r->a, ret, json_of_copy(r->a, cel_str(&one)));
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
                fine = fine && (json_is(g, JSON_STRING) || json_is(g, JSON_NULL));
                json_push(r->a, ret, json_of_str(prefixed(r->a, m->prefix, json_str(g))));
        }
        return fine ? 0
                    : refused(err,
                              "parse groups claim \"%" STR_FMT
                              "\": json: cannot unmarshal %s into Go value of type string",
                              STR_ARG(m->claim), json_type_in_go(claim));
}

static int map_extra(const struct reading *r, struct api_user *u, struct error *err) {
        struct str id = text_of(r->claims, "jti");
        struct cel_value *v = arena_array(r->a, struct cel_value, r->o->extra.n);
        const struct rule *x = r->o->extra.v;
        struct json texts;
        int e = 0;

        if (id.n > 0)
                user_add_extra(r->a, u, STR("authentication.kubernetes.io/credential-id"),
                               prefixed(r->a, STR("JTI="), id));
        for (size_t i = 0; e == 0 && i < r->o->extra.n; i++)
                e = evaluate(r->a, x[i].program, x[i].text, &r->value, &v[i], NULL, err);
        for (size_t i = 0; e == 0 && i < r->o->extra.n; i++) {
                e = value_texts(r, &v[i], arena_printf(r->a, "extra claim expression: %" STR_FMT, STR_ARG(x[i].text)).p,
                                &texts, err);
                if (e == 0)
                        json_each_item(t, &texts)
                                user_add_extra(r->a, u, x[i].with, json_str(t));
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
                if (!json_is(is, JSON_STRING) && !json_is(is, JSON_NULL))
                        return refused(err,
                                       "parse claim %" STR_FMT
                                       ": json: cannot unmarshal %s into Go value of type string",
                                       STR_ARG(name), json_type_in_go(is));
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
        struct cel_value *v = arena_array(r->a, struct cel_value, rules->n);
        const struct rule *x = rules->v;

        for (size_t i = 0; i < rules->n; i++)
                TRY(evaluate(r->a, x[i].program, x[i].text, of, &v[i], what, err));
        for (size_t i = 0; i < rules->n; i++)
                if (v[i].kind != CEL_BOOL || !v[i].b)
                        return refused(err,
                                       "error evaluating %s: validation expression '%" STR_FMT "' failed: %" STR_FMT,
                                       what, STR_ARG(x[i].text), STR_ARG(x[i].with));
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
        return cel_of_json(a, j, oidc_user.type);
}

static int make_user(const struct reading *r, struct api_user *ret, struct error *err) {
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
                struct cel_value user = user_value(r->a, ret);
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

static void write_issuer(struct buf *dst, const void *arg) {
        const struct reading *r = arg;
        char id[72] = "sha256:";

        sha256_hex(id + strlen(id), r->o->issuer);
        metric_label(dst, "jwt_issuer_hash", str_of(id));
        metric_label(dst, "result", r->failed ? STR("failure") : STR("success"));
}

/* Its issuer is one of ours. */
static void count(struct reading *r, int result, int64_t ns) {
        static const double seconds[] = { 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
        HISTOGRAM(latency, seconds, "apiserver_authentication_jwt_authenticator_latency_seconds",
                  "[ALPHA] Latency of jwt authentication operations in seconds. This is the time spent authenticating "
                  "a token for cache miss only (i.e. when the token is not found in the cache).");

        r->failed = result < 0;
        if (result != -EINPROGRESS)
                series_observe(metric_series(&latency, str_hash(r->o->issuer) * 2 + r->failed, write_issuer, r),
                               (double) ns / NSEC_PER_SEC);
}

int oidc_check(const struct token_check *c, struct error *err) {
        const struct oidcs *all = &atomic_load(&c->n->config)->issuers;
        struct jwt t = { 0 };

        if (all->n == 0 || jwt_parse(c->a, c->text, &t) == -EINVAL)
                return -ENOENT;
        for (size_t i = 0; i < all->n; i++) {
                struct reading r = { .o = &all->v[i], .a = c->a, .claims = t.claims };
                int64_t since = now_mono_ns();

                if (!str_eq(issuer_of(&t), r.o->issuer))
                        continue;
                int e = check_token(r.o, c->a, &t, err);
                if (e == 0)
                        e = expand(r.o, c->a, t.claims, err);
                r.value = cel_of_json(c->a, t.claims, oidc_claims.type);
                if (e == 0)
                        e = make_user(&r, c->ret, err);
                count(&r, e, now_mono_ns() - since);
                return e;
        }
        return -ENOENT;
}
