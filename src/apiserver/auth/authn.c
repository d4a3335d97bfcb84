/* Who sends a request: the first that knows decides. A front proxy's headers, the client's certificate (CN and O), a
 * bearer token, or nobody. A token that nobody knows is refused even where nobody may come in. */
#include <openssl/evp.h>

#include "apiserver/auth/authn.h"
#include "apiserver/config_file.h"
#include "apiserver/auth/remote.h"
#include "apiserver/flags.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "http/jwt.h"
#include "json/build.h"

static int unauthorized(struct error *err) {
        error_clear(err);
        return error_status(err, REASON_UNAUTHORIZED, "Unauthorized");
}

/* ---- users ---- */

struct api_user user_new(struct arena *a, struct str name, struct str uid, const struct json *groups, size_t more) {
        struct api_user u = { .name = name, .uid = uid, .groups = arena_array(a, struct str, json_len(groups) + more) };

        json_each_item(g, groups)
                u.groups[u.n_groups++] = json_str(g);
        return u;
}

void user_add_group(struct api_user *u, struct str group) {
        u->groups[u->n_groups++] = group;
}

void user_add_authenticated(struct api_user *u) {
        if (!str_eqc(u->name, "system:anonymous") && !user_is_in(u, "system:authenticated") &&
            !user_is_in(u, "system:unauthenticated"))
                user_add_group(u, STR("system:authenticated"));
}

void user_add_extra(struct arena *a, struct api_user *u, struct str key, struct str value) {
        if (!u->extra)
                u->extra = json_new(a, json_new_object());
        struct json *list = json_get_mut(u->extra, key);
        if (!list)
                list = json_set(a, u->extra, key, json_new_array());
        json_push(a, list, json_of_str(value));
}

struct json user_json(struct arena *a, const struct api_user *u) {
        struct json o = json_new_object(), groups = json_new_array();

        for (size_t i = 0; i < u->n_groups; i++)
                json_push(a, &groups, json_of_str(u->groups[i]));
        if (!str_empty(u->name))
                json_set_str(a, &o, "username", u->name);
        if (!str_empty(u->uid))
                json_set_str(a, &o, "uid", u->uid);
        if (u->n_groups > 0)
                json_setc(a, &o, "groups", groups);
        if (u->extra && json_len(u->extra) > 0) {
                struct json extra = json_copy_shallow(a, u->extra);

                json_sort(&extra);
                json_setc(a, &o, "extra", extra);
        }
        return o;
}

struct api_user user_of_json(struct arena *a, const struct json *info, const char *name_key) {
        struct api_user u = user_new(a, json_str(json_getc(info, name_key)), json_str(json_getc(info, "uid")),
                                     json_getc(info, "groups"), 1);
        const struct json *extra = json_getc(info, "extra");

        if (json_len(extra) > 0)
                u.extra = json_new(a, *extra);
        return u;
}

/* ---- the file of tokens ---- */

/* A record of CSV: fields are bare, or in double quotes with "" for one. How many there are; the first four are kept.
 * 0: there is more after a quoted one. */
static size_t csv_record(struct arena *a, struct str line, struct str ret[static 4]) {
        size_t n = 0, at = 0;

        for (bool more = true; more; at++, n++) {
                bool quoted = at < line.n && line.p[at] == '"';
                _cleanup_buf_ struct buf b = BUF_INIT;

                for (at += quoted; at < line.n; at++) {
                        if (quoted ? line.p[at] == '"' && (at + 1 == line.n || line.p[at + 1] != '"')
                                   : line.p[at] == ',')
                                break;
                        at += quoted && line.p[at] == '"';
                        buf_putc(&b, line.p[at]);
                }
                at += quoted;
                more = at < line.n;
                if (more && line.p[at] != ',')
                        return 0;
                if (n < 4)
                        ret[n] = arena_str(a, buf_str(&b));
        }
        return n;
}

int authn_parse_tokens(struct arena *a, const char *path, struct str rest, struct map *ret, struct error *err) {
        struct str line;

        for (size_t number = 1; str_split(&rest, '\n', &line); number++) {
                struct str fields[4] = { 0 }, group;

                if (str_has_suffix(line, STR("\r")))
                        line.n--;
                if (line.n == 0)
                        continue;
                size_t n = csv_record(a, line, fields);
                if (n == 0)
                        return error_set(err, -EINVAL,
                                         "%s: parse error on line %zu: extraneous or missing \" in quoted-field", path,
                                         number);
                if (n < 3)
                        return error_set(err, -EINVAL,
                                         "token file '%s' must have at least 3 columns (token, user name, user uid), "
                                         "found %zu",
                                         path, n);
                if (str_empty(fields[0])) {
                        log_warn("empty token has been found in token file '%s', line %zu", path, number);
                        continue;
                }
                struct api_user *u = arena_new_of(a, struct api_user);
                *u = user_new(a, fields[1], fields[2], NULL, fields[3].n + 2);
                for (ssize_t comma = 0; n > 3 && comma >= 0; fields[3] = str_sub(fields[3], group.n + 1, fields[3].n)) {
                        comma = str_find(fields[3], ',');
                        group = comma < 0 ? fields[3] : str_sub(fields[3], 0, (size_t) comma);
                        user_add_group(u, group); /* which may be empty */
                }
                user_add_authenticated(u);
                map_put(ret, fields[0], u);
        }
        return 0;
}

static int read_token_file(struct authn *n, const char *path, struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        TRY(file_read(path, 0, &text, err));
        return authn_parse_tokens(n->arena, path, arena_str(n->arena, buf_str(&text)), n->file_tokens, err);
}

static int file_check(const struct token_check *t, struct error *err) {
        const struct api_user *u = map_get(t->n->file_tokens, t->text);

        if (!u)
                return -ENOENT;
        *t->ret = *u;
        return 0;
}

/* ---- life ---- */

static void make_own_token(struct authn *n) {
        _cleanup_buf_ struct buf hex = BUF_INIT;
        char secret[32];

        rand_bytes(secret, sizeof(secret));
        hex_encode(&hex, str_n(secret, sizeof(secret)));
        n->own_token = arena_str(n->arena, buf_str(&hex));
        n->file_tokens = map_new(NULL);
        map_put(n->file_tokens, n->own_token, (void *) &api_user_system);
}

static void read_audiences(struct authn *n) {
        n->audiences = json_new_array();
        str_each(one, str_of(server_flag(n->s, "api-audiences", "")), ',')
                json_push(n->arena, &n->audiences, json_of_str(str_trim(one)));
        if (json_len(&n->audiences) == 0)
                n->audiences = n->issuers;
}

/* ---- keys and issuers of service account tokens ---- */

/* How many there are, those among them that were known, too. */
static size_t add_keys(struct authn *n, struct str pem) {
        EVP_PKEY *key;
        size_t found = 0;

        for (; (key = pem_next_key(&pem)); found++) {
                struct str id = jwk_id(n->arena, key);
                bool known = false;

                for (size_t i = 0; i < n->keys.n; i++)
                        known = known || str_eq(n->keys.v[i].id, id);
                if (known)
                        EVP_PKEY_free(key);
                else
                        vec_push(&n->keys, (struct signing_key) { key, id });
        }
        return found;
}

/* -ENOKEY: there is none in it. */
static int read_keys(struct authn *n, const char *path, struct error *err) {
        _cleanup_buf_ struct buf pem = BUF_INIT;
        int r = file_read(path, 0, &pem, err);

        if (r == 0)
                r = add_keys(n, buf_str(&pem)) > 0 ? 0 : -ENOKEY;
        OPENSSL_cleanse(pem.p, pem.n);
        return r;
}

static int read_signing_key(struct authn *n, const char *path, struct error *err) {
        static const char what[] = "failed to parse service-account-issuer-key-file";
        int r = read_keys(n, path, err);

        if (r == -ENOKEY || (r == 0 && !jwt_can_sign(n->keys.v[0].key)))
                return error_set(err, -EINVAL,
                                 "%s: error reading private key file %s: data does not contain a valid RSA or ECDSA "
                                 "private key",
                                 what, path);
        return r < 0 ? error_prefix(err, "%s", what) : 0;
}

static int read_public_keys(struct authn *n, const char *path, struct error *err) {
        int r = read_keys(n, path, err);

        return r != -ENOKEY ? r
                            : error_set(err, -EINVAL,
                                        "error reading public key file %s: data does not contain any valid RSA or "
                                        "ECDSA public keys",
                                        path);
}

/* The one that signs, the server's own unless another one is given, others that are accepted. */
static int configure_keys(struct authn *n, struct error *err) {
        const char *signs = server_flag(n->s, "service-account-signing-key-file", NULL), *path;
        size_t i = 0;
        int r = signs ? read_signing_key(n, signs, err) : 0;

        if (!signs)
                add_keys(n, n->s->options.service_account_key_pem);
        if (r == 0 && !signs && n->keys.n == 0 && !str_empty(n->s->options.service_account_key_pem))
                return error_set(err, -EINVAL, "the service account key is no PEM of a private key, RSA or ECDSA");
        while (r == 0 && (path = server_flag_next(n->s, "service-account-key-file", &i)))
                r = read_public_keys(n, path, err);
        return r;
}

static void configure_issuers(struct authn *n) {
        const char *dflt = n->s->options.service_account_issuer, *one;
        size_t i = 0;

        n->issuers = json_new_array();
        while ((one = server_flag_next(n->s, "service-account-issuer", &i)))
                json_push(n->arena, &n->issuers, json_of_cstr(one));
        if (json_len(&n->issuers) == 0)
                json_push(n->arena, &n->issuers,
                          json_of_cstr(dflt ? dflt : "https://kubernetes.default.svc.cluster.local"));
        n->max_token_seconds = server_flag_ms(n->s, "service-account-max-token-expiration", 0) / 1000;
        n->extends_tokens = strcmp(server_flag(n->s, "service-account-extend-token-expiration", "true"), "false") != 0;
}

static const struct config_kind config_kind = {
        "apiserver.config.k8s.io/v1beta1:AuthenticationConfiguration "
        "apiserver.config.k8s.io/v1alpha1:AuthenticationConfiguration",
        "pkg/kubeapiserver/options/authentication.go:852",
        "{ '': 'AuthenticationConfiguration', jwt: [ { '': 'JWTAuthenticator',"
        "    issuer: { '': 'Issuer', url: '', discoveryURL: '', certificateAuthority: '', audiences: [ '' ],"
        "              audienceMatchPolicy: 'AudienceMatchPolicyType' },"
        "    claimValidationRules: [ { '': 'ClaimValidationRule', claim: '', requiredValue: '',"
        "                              expression: '', message: '' } ],"
        "    claimMappings: { '': 'ClaimMappings',"
        "        username: { '': 'PrefixedClaimOrExpression', claim: '', prefix: '', expression: '' },"
        "        groups: { '': 'PrefixedClaimOrExpression', claim: '', prefix: '', expression: '' },"
        "        uid: { '': 'ClaimOrExpression', claim: '', expression: '' },"
        "        extra: [ { '': 'ExtraMapping', key: '', valueExpression: '' } ] },"
        "    userValidationRules: [ { '': 'UserValidationRule', expression: '', message: '' } ] } ],"
        "  anonymous: { '': 'AnonymousAuthConfig', enabled: true,"
        "               conditions: [ { '': 'AnonymousAuthCondition', path: '' } ] } }",
        false,
        false,
};

static int read_file(struct authn *n, const char *path, struct authn_config *c, struct error *err) {
        struct field_errors fe = { .a = c->arena };
        struct json *doc;

        TRY(config_read(c->arena, path, &config_kind, &doc, err));
        if (server_flag(n->s, "oidc-issuer-url", NULL))
                return error_set(err, -EINVAL, "authentication-config file and oidc-* flags are mutually exclusive");
        c->given = json_getc(doc, "anonymous");
        if (c->given && server_flag(n->s, "anonymous-auth", NULL))
                return error_set(err, -EINVAL,
                                 "anonymous: Forbidden: --anonynous-auth flag cannot be set when anonymous field is "
                                 "configured in "
                                 "authentication configuration file");
        if (c->given)
                c->anonymous = json_bool(json_getc(c->given, "enabled"));
        c->conditions = json_getc(c->given, "conditions");
        int r = oidc_new(n, c->arena, json_getc(doc, "jwt"), NULL, &fe, &c->issuers, err);
        if (!c->anonymous && json_len(c->conditions) > 0)
                field_invalid(&fe, PATH(PATH(NULL, "anonymous"), "conditions"),
                              list_in_go(fe.a, c->conditions, "apiserver.AnonymousAuthCondition", "Path", "path"),
                              "enabled should be set to true when conditions are defined");
        if (r == 0)
                return config_finish(&fe, err);
        return r;
}

static int check_algorithms(struct str list, struct error *err) {
        str_each(one, list, ',')
                if (!str_is_part(one, ' ', STR("RS256 RS384 RS512 ES256 ES384 ES512 PS256 PS384 PS512")))
                        return error_set(err, -EINVAL, "oidc: unsupported signing alg: \"%" STR_FMT "\"", STR_ARG(one));
        return 0;
}

int authn_configure(struct apiserver *s, struct authn_config **ret, struct error *err) {
        const char *anonymous = server_flag(s, "anonymous-auth", NULL);
        const char *path = server_flag(s, "authentication-config", NULL);
        struct arena *a = arena_new(0);
        struct authn_config *c = arena_new_of(a, struct authn_config);
        struct field_errors fe = { .a = a };
        struct json list;
        int r;

        c->arena = a;
        c->anonymous = anonymous ? strcmp(anonymous, "false") != 0 : s->options.anonymous;
        if (c->anonymous && str_is_part(STR("AlwaysAllow"), ',', str_of(server_flag(s, "authorization-mode", "")))) {
                log_warn("AnonymousAuth is not allowed with the AlwaysAllow authorizer: requests without credentials "
                         "are refused");
                c->anonymous = false;
        }
        if (path) {
                r = read_file(s->authn, path, c, err);
        } else {
                r = oidc_from_flags(s->authn, a, &list, err);
                if (r == 0)
                        r = oidc_new(s->authn, a, json_new(a, list), server_flag(s, "oidc-signing-algs", "RS256"), &fe,
                                     &c->issuers, err);
                if (r == 0)
                        r = config_finish(&fe, err);
                if (r == 0 && c->issuers.n > 0)
                        r = check_algorithms(str_of(server_flag(s, "oidc-signing-algs", "RS256")), err);
        }
        if (r == 0)
                *ret = c;
        else
                authn_config_free(c);
        return r;
}

void authn_config_free(struct authn_config *c) {
        if (!c)
                return;
        oidc_free(&c->issuers);
        arena_free(c->arena);
}

static int configure(struct authn *n, struct error *err) {
        const char *tokens = server_flag(n->s, "token-auth-file", NULL);
        struct authorizers *authorizers;
        struct authorities *known;
        struct authn_config *c;
        int r = configure_keys(n, err);

        if (r == 0 && tokens)
                r = read_token_file(n, tokens, err);
        if (r == 0)
                r = authn_configure(n->s, &c, err);
        if (r < 0)
                return r;
        atomic_store(&n->config, c);
        r = authorities_read(n->s, &known, err);
        atomic_store(&n->authorities, known);
        if (r < 0)
                return r;
        TRY(token_webhook_new(n, err));
        TRY(authorizers_configure(n->s, &authorizers, err));
        atomic_store(&n->s->authorizers, authorizers);
        return request_header_new(n, &n->request_header, err);
}

int authn_new(struct apiserver *s, struct authn **ret, struct error *err) {
        struct authn *n = xcalloc(1, sizeof(*n));

        n->s = s;
        n->arena = arena_new(0);
        make_own_token(n);
        s->authn = n;
        configure_issuers(n);
        n->tokens = map_new(token_free);
        pthread_mutex_init(&n->lock, NULL);
        read_audiences(n);
        int r = configure(n, err);
        *ret = n;
        return r;
}

void authn_free(struct authn *n) {
        if (!n)
                return;
        authn_config_free(atomic_load(&n->config));
        authorities_free(atomic_load(&n->authorities));
        authorizers_free(atomic_load(&n->s->authorizers));
        remote_free(n->token_webhook);
        for (size_t i = 0; i < n->keys.n; i++)
                EVP_PKEY_free(n->keys.v[i].key);
        vec_free(&n->keys);
        map_free(n->tokens);
        map_free(n->file_tokens);
        pthread_mutex_destroy(&n->lock);
        arena_free(n->arena);
        free(n);
}

/* ---- the issuer of service account tokens ---- */

struct str authn_issuer(const struct authn *n) {
        return json_str(json_item(&n->issuers, 0));
}

int authn_sign(struct authn *n, struct arena *a, const struct json *claims, struct str *ret, struct error *err) {
        if (n->keys.n == 0)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: the API server has no service account key");
        if (jwt_sign(a, n->keys.v[0].key, n->keys.v[0].id, claims, ret) < 0)
                return error_status(err, REASON_INTERNAL, "Internal error occurred: cannot sign a token");
        return 0;
}

struct json authn_openid_configuration(const struct authn *n, struct arena *a) {
        struct json d = json_new_object(), *algorithms;
        const char *jwks = server_flag(n->s, "service-account-jwks-uri", NULL),
                   *address = server_flag(n->s, "external-hostname", n->s->options.advertise_address),
                   *port = address ? strchr(address, ':') : NULL;

        json_set_str(a, &d, "issuer", authn_issuer(n));
        json_setc(a, &d, "jwks_uri",
                  jwks ? json_of_cstr(jwks)
                       : json_of_printf(a, port ? "https://%s/openid/v1/jwks" : "https://%s:%u/openid/v1/jwks",
                                        address ? address : "127.0.0.1", (unsigned) n->s->options.port));
        json_push(a, json_get_or_add_array(a, &d, "response_types_supported"), json_of_cstr("id_token"));
        json_push(a, json_get_or_add_array(a, &d, "subject_types_supported"), json_of_cstr("public"));
        algorithms = json_get_or_add_array(a, &d, "id_token_signing_alg_values_supported");
        for (size_t i = 0; i < n->keys.n; i++)
                if (!json_has_str(algorithms, str_of(jwt_algorithm(n->keys.v[i].key))))
                        json_push(a, algorithms, json_of_cstr(jwt_algorithm(n->keys.v[i].key)));
        json_sort_texts(algorithms);
        return d;
}

struct json authn_jwks(const struct authn *n, struct arena *a) {
        struct json d = json_new_object(), *keys = json_get_or_add_array(a, &d, "keys");

        for (size_t i = 0; i < n->keys.n; i++)
                json_push(a, keys, jwk_write(a, n->keys.v[i].key, n->keys.v[i].id));
        return d;
}

/* ---- tokens ---- */

static bool some_audience(const struct authn *n, const struct json *wanted, struct arena *a, struct json *ret) {
        *ret = json_new_array();
        json_each_item(w, wanted)
                json_each_item(i, &n->audiences)
                        if (json_equal(w, i))
                                json_push(a, ret, *i);
        return json_len(ret) > 0;
}

int authn_check_token(struct token_check *t, struct error *err) {
        static const struct {
                int (*check)(const struct token_check *t, struct error *err);
                bool any_audience; /* it knows of none: what it says holds for this server's */
        } checks[] = {
                { file_check, true }, { service_account_check, false }, { bootstrap_token_check, true },
                { oidc_check, true }, { token_webhook_check, false },
        };
        _cleanup_buf_ struct buf texts = BUF_INIT;
        int r = -ENOENT;

        if (json_len(t->audiences) == 0)
                t->audiences = &t->n->audiences;
        for (size_t i = 0; i < ARRAY_SIZE(checks) && r != 0 && r != -EINPROGRESS; i++) {
                _cleanup_error_ struct error e = ERROR_INIT;

                if (!some_audience(t->n, t->audiences, t->a, t->ret_audiences) && checks[i].any_audience)
                        continue;
                r = checks[i].check(t, &e);
                if (r < 0 && r != -ENOENT && r != -EINPROGRESS)
                        buf_printf(&texts, "%s%s", texts.n ? ", " : "", error_text(&e));
        }
        if (r == -EINPROGRESS)
                return error_set(err, r, "a token is being looked up");
        if (r < 0 && texts.n)
                return error_status(err, REASON_UNAUTHORIZED, "%" STR_FMT, STR_ARG(buf_str(&texts)));
        return r < 0 ? unauthorized(err) : 0;
}

/* ---- requests ---- */

static const double ages[] = { 0,      1800,   3600,   7200,    21600,   43200,    86400,
                               172800, 345600, 604800, 2592000, 7776000, 15552000, 31104000 };
HISTOGRAM(expiration, ages, "apiserver_client_certificate_expiration_seconds",
          "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.");

static bool certificate_user(struct arena *a, struct http_request *req, struct api_user *ret) {
        static const char prefix[] = "X509SHA256=";
        const struct str *orgs;
        char *text;
        struct str cn, sha, uid;
        size_t n;

        if (!http_request_client_cert(req, &cn, &orgs, &n) || str_empty(cn) || !http_request_client_cert_uid(req, &uid))
                return false;
        series_observe(metric_series(&expiration, 0, NULL, NULL),
                       (double) (http_request_client_cert_not_after(req) - time(NULL)));
        *ret = user_new(a, cn, uid, NULL, n + 1);
        for (size_t i = 0; i < n; i++)
                user_add_group(ret, orgs[i]);
        user_add_authenticated(ret);
        sha = http_request_client_cert_sha256(req);
        text = arena_alloc(a, sizeof(prefix) + sha.n); /* for every request: without printf */
        memcpy(mempcpy(text, prefix, sizeof(prefix) - 1), sha.p, sha.n);
        user_add_extra(a, ret, STR("authentication.kubernetes.io/credential-id"),
                       str_n(text, sizeof(prefix) - 1 + sha.n));
        return true;
}

/* Browsers cannot set the header for a WebSocket: the token is one of its subprotocols, beside a real one. 1: there is
 * one, 0: there is none, -EACCES: it is no token. */
static int websocket_token(struct http_request *req, struct str *ret) {
        static const struct str prefix = STR_INIT("base64url.bearer.authorization.k8s.io.");
        const struct http_header *h;
        size_t n = http_request_headers(req, &h), tokens = 0, others = 0;

        *ret = STR("");
        if (!http_request_wants_websocket(req))
                return 0;
        for (size_t i = 0; i < n; i++) {
                struct str rest = h[i].value, p;

                while (str_eqc(h[i].name, "sec-websocket-protocol") && str_split(&rest, ',', &p)) {
                        _cleanup_buf_ struct buf b = BUF_INIT;

                        p = str_trim(p);
                        if (!str_has_prefix(p, prefix)) {
                                others++;
                                continue;
                        }
                        if (tokens++ || base64url_decode(&b, str_sub(p, prefix.n, p.n)) < 0)
                                return -EACCES;
                        *ret = arena_str(http_request_arena(req), buf_str(&b));
                }
        }
        return ret->n == 0 ? 0 : others ? 1 : -EACCES;
}

static int bearer_token(struct http_request *req, struct str *ret, struct authn_notes *notes) {
        struct str rest = str_trim(http_request_header(req, "authorization")), scheme = { 0 };

        *ret = STR("");
        if (str_split(&rest, ' ', &scheme) && str_eq_fold(scheme, STR("bearer")) && str_split(&rest, ' ', ret)) {
                if (ret->n > 0)
                        return 1;
                notes->warning = STR("the provided Authorization header contains extra space before the bearer token, "
                                     "and is ignored");
        }
        return websocket_token(req, ret);
}

static bool may_be_anonymous(struct authn *n, struct str path) {
        const struct authn_config *c = atomic_load(&n->config);
        bool any = json_len(c->conditions) == 0;

        json_each_item(i, c->conditions)
                any = any || str_eq(json_str(json_getc(i, "path")), path);
        return c->anonymous && any;
}

/* Refused as an unknown token is: one that is not for whom it is shown to. One that names nobody is none. */
static bool is_bad_certificate(const struct request_header *proxy, const struct authorities *known,
                               struct http_request *req) {
        bool valid = http_request_client_cert_authority(req).n > 0,
             client = !proxy || request_header_is_client(known, req);
        struct str uid;

        return http_request_client_cert_invalid(req) || (client && !http_request_client_cert_uid(req, &uid)) ||
               (proxy && valid && !(client && request_header_is_proxy(proxy, known, req)));
}

static int find_user(struct apiserver *s, struct http_request *req, struct api_user *ret, struct authn_notes *notes,
                     struct error *err) {
        static struct str nobody[] = { STR_INIT("system:unauthenticated") };
        const struct request_header *proxy = s->authn->request_header;
        const struct authorities *known = atomic_load(&s->authn->authorities);
        struct arena *a = http_request_arena(req);
        struct json audiences;
        struct str token;
        int r;

        if (proxy && request_header_user(proxy, known, req, ret))
                return 0;
        if ((!proxy || request_header_is_client(known, req)) && certificate_user(a, req, ret))
                return 0;
        r = bearer_token(req, &token, notes);
        if (r < 0)
                return unauthorized(err);
        if (r > 0) {
                r = authn_check_token(&(struct token_check) { .n = s->authn,
                                                              .a = a,
                                                              .text = token,
                                                              .ret = ret,
                                                              .ret_audiences = &audiences,
                                                              .notes = notes },
                                      err);
                return r == 0 || r == -EINPROGRESS ? r : unauthorized(err);
        }
        if (is_bad_certificate(proxy, known, req) || !may_be_anonymous(s->authn, http_request_path(req)))
                return unauthorized(err);
        *ret = (struct api_user) { .name = STR("system:anonymous"), .groups = nobody, .n_groups = 1 };
        return 0;
}

static void write_label(struct buf *dst, const void *arg) {
        const char *const *label = arg;

        metric_label(dst, label[0], str_of(label[1]));
}

void count_labelled(const struct metric *m, uint64_t key, const char *const label[2]) {
        series_add(metric_series(m, key, write_label, label), 1);
}

const double authz_seconds[15] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
                                   0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384 };

void observe_labelled(const struct metric *m, uint64_t key, const char *const label[2], int64_t ns) {
        series_observe(metric_series(m, key, write_label, label), (double) ns / NSEC_PER_SEC);
}

void filter_passed(enum request_filter f, int64_t ns) {
        static const double seconds[] = { 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 5, 10, 15, 30 };
        HISTOGRAM(duration, seconds, "apiserver_request_filter_duration_seconds",
                  "[ALPHA] Request filter latency distribution in seconds, for each filter type");
        static const char *const names[N_FILTERS][2] = { [FILTER_AUTHENTICATION] = { "filter", "authentication" },
                                                         [FILTER_AUDIT] = { "filter", "audit" },
                                                         [FILTER_IMPERSONATION] = { "filter", "impersonation" },
                                                         [FILTER_FLOW] = { "filter", "priorityandfairness" },
                                                         [FILTER_AUTHORIZATION] = { "filter", "authorization" } };

        observe_labelled(&duration, f, names[f], ns);
}

/* Users are counted by kind, as upstream does, since they are many. */
static void count_attempt(int r, const struct api_user *user, int64_t ns) {
        HISTOGRAM(duration, authz_seconds, "authentication_duration_seconds",
                  "[ALPHA] Authentication duration in seconds broken out by result.");
        METRIC(attempts, COUNTER, "authentication_attempts", "[ALPHA] Counter of authenticated attempts.");
        METRIC(requests, COUNTER, "authenticated_user_requests",
               "[ALPHA] Counter of authenticated requests broken out by username.");
        static const char *const results[][2] = { { "result", "success" }, { "result", "error" } };
        static const char *const users[][2] = { { "username", "other" },
                                                { "username", "email_id" },
                                                { "username", "admin" },
                                                { "username", "client" },
                                                { "username", "kube_proxy" },
                                                { "username", "kubelet" },
                                                { "username", "system:serviceaccount:kube-system:default" } };
        size_t kind = ARRAY_SIZE(users) - 1;

        if (r == -EINPROGRESS)
                return;
        count_labelled(&attempts, r < 0, results[r < 0]);
        observe_labelled(&duration, r < 0, results[r < 0], ns);
        filter_passed(FILTER_AUTHENTICATION, ns);
        if (r < 0)
                return;
        while (kind > 1 && !str_eqc(user->name, users[kind][1]))
                kind--;
        if (kind == 1)
                kind = str_find(user->name, '@') >= 0;
        count_labelled(&requests, kind, users[kind]);
}

int authenticate(struct apiserver *s, struct http_request *req, struct api_user *ret, struct api_user *ret_real,
                 struct authn_notes *notes, struct error *err) {
        int64_t since = now_mono_ns();
        int r = find_user(s, req, ret, notes, err);

        count_attempt(r, ret, now_mono_ns() - since);
        /* HTTP/2 is dear: nobody that we do not know keeps a connection */
        if (http_request_is_h2(req) && (r == 0 ? str_eqc(ret->name, "system:anonymous") : r != -EINPROGRESS))
                http_request_last(req);
        if (r < 0)
                return r;
        *ret_real = *ret;
        since = str_empty(http_request_header(req, "impersonate-user")) ? 0 : now_mono_ns();
        TRY(impersonate(s, req, ret, err));
        filter_passed(FILTER_IMPERSONATION, since ? now_mono_ns() - since : 0);
        return 0;
}
