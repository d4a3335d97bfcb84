/* Who sends a request. A client certificate names user (CN) and groups (O). A bearer token is a JWT that this server
 * signed for a service account (KEP-1205): ES256, bound to the account and perhaps a pod, which must still be there.
 *
 * Checking a signature costs more than everything else about a request, and a token is sent many times: tokens whose
 * signature was right are remembered with the user they stand for (expiry and bound objects are looked at each time).
 */
#include <errno.h>

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "apiserver/auth/authn.h"
#include "apiserver/auth/rbac.h"
#include "base/encode.h"
#include "schema/types.h"

#define MAX_TOKENS 1024
#define TOKEN_IDLE_MS 60000 /* far longer than a request looks at its user before it copies it */
#define ES256_PART 32

/* A token that was opened: everything about it lives in its arena. */
struct token {
        struct arena *arena;
        struct json *claims;
        struct api_user user;
        atomic_llong used_ms;
};

struct authn {
        struct apiserver *s;
        EVP_PKEY *key;
        struct str issuer;
        char key_id[44];
        struct str x, y; /* of the public key, base64url */
        pthread_mutex_t lock;
        struct map *tokens; /* text of a token → struct token */
};

static int unauthorized(struct error *err) {
        return error_status(err, REASON_UNAUTHORIZED, "Unauthorized");
}

static void token_free(void *p) {
        struct token *t = p;

        if (t)
                arena_free(t->arena);
}

/* ---- keys ---- */

static struct str public_part(struct arena *a, EVP_PKEY *key, const char *name) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        BIGNUM *n = NULL;
        uint8_t bytes[ES256_PART];

        if (EVP_PKEY_get_bn_param(key, name, &n) != 1)
                return STR("");
        BN_bn2binpad(n, bytes, sizeof(bytes));
        BN_free(n);
        base64url_encode(&b, str_n((const char *) bytes, sizeof(bytes)));
        return arena_str(a, buf_str(&b));
}

static void make_key_id(struct authn *n) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t *der = NULL, digest[32];
        int len = i2d_PUBKEY(n->key, &der);

        if (len <= 0)
                return;
        sha256(digest, str_n((const char *) der, (size_t) len));
        OPENSSL_free(der);
        base64url_encode(&b, str_n((const char *) digest, sizeof(digest)));
        memcpy(n->key_id, b.p, MIN(b.n, sizeof(n->key_id) - 1));
}

int authn_new(struct apiserver *s, struct authn **ret, struct error *err) {
        struct authn *n = xcalloc(1, sizeof(*n));
        struct str pem = s->options.service_account_key_pem;
        const char *issuer = s->options.service_account_issuer;

        n->s = s;
        n->issuer = str_of(issuer ? issuer : "https://kubernetes.default.svc.cluster.local");
        n->tokens = map_new(token_free);
        pthread_mutex_init(&n->lock, NULL);
        if (!str_empty(pem)) {
                BIO *bio = BIO_new_mem_buf(pem.p, (int) pem.n);

                n->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
                BIO_free(bio);
                if (!n->key || !EVP_PKEY_is_a(n->key, "EC")) {
                        authn_free(n);
                        return error_set(err, -EINVAL,
                                         "the service account key is no PEM of an ECDSA P-256 private key");
                }
                n->x = public_part(s->arena, n->key, "qx");
                n->y = public_part(s->arena, n->key, "qy");
                make_key_id(n);
        }
        *ret = n;
        return 0;
}

void authn_free(struct authn *n) {
        if (!n)
                return;
        EVP_PKEY_free(n->key);
        map_free(n->tokens);
        pthread_mutex_destroy(&n->lock);
        free(n);
}

struct str authn_issuer(const struct authn *n) {
        return n->issuer;
}

struct json authn_openid_configuration(const struct authn *n, struct arena *a) {
        struct json d = json_new_object(), types = json_new_array(), subjects = json_new_array(),
                    algs = json_new_array();

        json_push(a, &types, json_of_cstr("id_token"));
        json_push(a, &subjects, json_of_cstr("public"));
        json_push(a, &algs, json_of_cstr("ES256"));
        json_set_str(a, &d, "issuer", n->issuer);
        json_setc(a, &d, "jwks_uri", json_of_printf(a, "%" STR_FMT "/openid/v1/jwks", STR_ARG(n->issuer)));
        json_setc(a, &d, "response_types_supported", types);
        json_setc(a, &d, "subject_types_supported", subjects);
        json_setc(a, &d, "id_token_signing_alg_values_supported", algs);
        return d;
}

struct json authn_jwks(const struct authn *n, struct arena *a) {
        struct json d = json_new_object(), keys = json_new_array(), k = json_new_object();

        if (n->key) {
                json_set_cstr(a, &k, "use", "sig");
                json_set_cstr(a, &k, "kty", "EC");
                json_set_cstr(a, &k, "kid", n->key_id);
                json_set_cstr(a, &k, "crv", "P-256");
                json_set_cstr(a, &k, "alg", "ES256");
                json_set_str(a, &k, "x", n->x);
                json_set_str(a, &k, "y", n->y);
                json_push(a, &keys, k);
        }
        json_setc(a, &d, "keys", keys);
        return d;
}

/* ---- JWT ---- */

/* DER to the two 32-byte numbers of JWS. */
static int raw_signature(const uint8_t *der, size_t n, uint8_t raw[static 2 * ES256_PART]) {
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long) n);
        bool ok;

        if (!sig)
                return -EINVAL;
        ok = BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, ES256_PART) == ES256_PART &&
             BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + ES256_PART, ES256_PART) == ES256_PART;
        ECDSA_SIG_free(sig);
        return ok ? 0 : -EINVAL;
}

static int sign_bytes(struct authn *n, struct str text, uint8_t raw[static 2 * ES256_PART]) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        uint8_t der[128];
        size_t len = sizeof(der);
        bool ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, n->key) == 1 &&
                  EVP_DigestSign(ctx, der, &len, (const uint8_t *) text.p, text.n) == 1;

        EVP_MD_CTX_free(ctx);
        return ok ? raw_signature(der, len, raw) : -EIO;
}

int authn_sign(struct authn *n, struct arena *a, const struct json *claims, struct str *ret, struct error *err) {
        _cleanup_buf_ struct buf token = BUF_INIT;
        _cleanup_buf_ struct buf part = BUF_INIT;
        uint8_t raw[2 * ES256_PART];

        if (!n->key)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: the API server has no service account key");
        base64url_encode(&token, arena_printf(a, "{\"alg\":\"ES256\",\"kid\":\"%s\"}", n->key_id));
        buf_putc(&token, '.');
        json_write(&part, claims);
        base64url_encode(&token, buf_str(&part));
        if (sign_bytes(n, buf_str(&token), raw) < 0)
                return error_status(err, REASON_INTERNAL, "Internal error occurred: cannot sign a token");
        buf_putc(&token, '.');
        base64url_encode(&token, str_n((const char *) raw, sizeof(raw)));
        *ret = arena_str(a, buf_str(&token));
        return 0;
}

static bool signature_is_right(struct authn *n, struct str text, struct str raw) {
        ECDSA_SIG *sig = ECDSA_SIG_new();
        BIGNUM *r, *s;
        uint8_t *der = NULL;
        EVP_MD_CTX *ctx;
        int len;
        bool ok;

        r = BN_bin2bn((const uint8_t *) raw.p, ES256_PART, NULL);
        s = BN_bin2bn((const uint8_t *) raw.p + ES256_PART, ES256_PART, NULL);
        ECDSA_SIG_set0(sig, r, s);
        len = i2d_ECDSA_SIG(sig, &der);
        ECDSA_SIG_free(sig);
        if (len <= 0)
                return false;
        ctx = EVP_MD_CTX_new();
        ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, n->key) == 1 &&
             EVP_DigestVerify(ctx, der, (size_t) len, (const uint8_t *) text.p, text.n) == 1;
        EVP_MD_CTX_free(ctx);
        OPENSSL_free(der);
        return ok;
}

/* The claims of a token whose form and signature are right. */
static int open_token(struct authn *n, struct arena *a, struct str token, struct json **ret) {
        _cleanup_buf_ struct buf head = BUF_INIT;
        _cleanup_buf_ struct buf body = BUF_INIT;
        _cleanup_buf_ struct buf raw = BUF_INIT;
        ssize_t first = str_find(token, '.'), last = str_rfind(token, '.');
        struct json *header;

        if (!n->key || token.n > 16384 || first < 0 || last == first)
                return -EACCES;
        if (base64url_decode(&head, str_sub(token, 0, (size_t) first)) < 0 ||
            base64url_decode(&body, str_sub(token, (size_t) first + 1, (size_t) last)) < 0 ||
            base64url_decode(&raw, str_sub(token, (size_t) last + 1, token.n)) < 0 || raw.n != 2 * ES256_PART)
                return -EACCES;
        if (json_parse(a, arena_str(a, buf_str(&head)), NULL, &header, NULL) < 0 ||
            !str_eqc(json_str(json_getc(header, "alg")), "ES256"))
                return -EACCES;
        if (!signature_is_right(n, str_sub(token, 0, (size_t) last), buf_str(&raw)))
                return -EACCES;
        return json_parse(a, arena_str(a, buf_str(&body)), NULL, ret, NULL) < 0 ? -EACCES : 0;
}

static bool bound_object_is_there(struct apiserver *s, struct store_snapshot *snap, const struct api_resource *r,
                                  struct str ns, const struct json *ref) {
        struct object *o;

        if (!ref)
                return true;
        o = server_get(s, snap, r, ns, json_str(json_getc(ref, "name")));
        return o && str_eq(object_uid(o), json_str(json_getc(ref, "uid")));
}

static bool audience_fits(const struct json *token_aud, const struct json *wanted, struct str issuer, struct arena *a,
                          struct json *ret) {
        *ret = json_new_array();
        json_each_item(t, token_aud) {
                bool hit = json_len(wanted) == 0 && str_eq(json_str(t), issuer);

                json_each_item(w, wanted)
                        hit = hit || str_eq(json_str(t), json_str(w));
                if (hit)
                        json_push(a, ret, *t);
        }
        return json_len(ret) > 0;
}

static void add_extra(struct arena *a, struct json *extra, const char *key, struct str value) {
        struct json list = json_new_array();

        if (str_empty(value))
                return;
        json_push(a, &list, json_of_str(value));
        json_setc(a, extra, key, list);
}

static void service_account_user(struct arena *a, const struct json *claims, struct api_user *ret) {
        const struct json *k = json_getc(claims, "kubernetes.io"), *pod = json_getc(k, "pod"),
                          *node = json_getc(k, "node");
        struct str ns = json_str(json_getc(k, "namespace"));
        struct json extra = json_new_object();

        *ret = (struct api_user){
                .name = json_str(json_getc(claims, "sub")),
                .uid = json_str(json_at_path(k, "serviceaccount", "uid")),
                .groups = arena_array(a, struct str, 3),
                .n_groups = 3,
        };
        ret->groups[0] = STR("system:serviceaccounts");
        ret->groups[1] = arena_printf(a, "system:serviceaccounts:%" STR_FMT, STR_ARG(ns));
        ret->groups[2] = STR("system:authenticated");
        add_extra(a, &extra, "authentication.kubernetes.io/pod-name", json_str(json_getc(pod, "name")));
        add_extra(a, &extra, "authentication.kubernetes.io/pod-uid", json_str(json_getc(pod, "uid")));
        add_extra(a, &extra, "authentication.kubernetes.io/node-name", json_str(json_getc(node, "name")));
        add_extra(a, &extra, "authentication.kubernetes.io/node-uid", json_str(json_getc(node, "uid")));
        if (!str_empty(json_str(json_getc(claims, "jti"))))
                add_extra(a, &extra, "authentication.kubernetes.io/credential-id",
                          arena_printf(a, "JTI=%" STR_FMT, STR_ARG(json_str(json_getc(claims, "jti")))));
        ret->extra = json_new(a, extra);
}

/* ---- tokens that are known ---- */

static void drop_idle(struct authn *n, int64_t now) {
        struct map_iter it = MAP_ITER(n->tokens);

        while (map_next(&it))
                if (now - atomic_load(&((struct token *) it.value)->used_ms) > TOKEN_IDLE_MS)
                        map_remove(n->tokens, it.key);
}

/* Keeps a new one. When all are in use it is not kept: true tells that it belongs to the map now. */
static bool keep_token(struct authn *n, struct str text, struct token *t) {
        int64_t now = now_mono_ms();
        bool kept;

        pthread_mutex_lock(&n->lock);
        if (map_size(n->tokens) >= MAX_TOKENS)
                drop_idle(n, now);
        kept = map_size(n->tokens) < MAX_TOKENS && !map_has(n->tokens, text);
        if (kept)
                map_put(n->tokens, text, t);
        pthread_mutex_unlock(&n->lock);
        return kept;
}

static const struct token *known_token(struct authn *n, struct str text) {
        struct token *t;

        pthread_mutex_lock(&n->lock);
        t = map_get(n->tokens, text);
        if (t)
                atomic_store(&t->used_ms, now_mono_ms());
        pthread_mutex_unlock(&n->lock);
        return t;
}

/* The token, from the known ones or opened (then in a, unless it is kept). */
static int find_token(struct authn *n, struct arena *a, struct str text, const struct token **ret) {
        _cleanup_(arena_freep) struct arena *own = NULL;
        struct token *t;

        *ret = known_token(n, text);
        if (*ret)
                return 0;
        own = arena_new(0);
        t = arena_new_of(own, struct token);
        t->arena = own;
        atomic_store(&t->used_ms, now_mono_ms());
        if (open_token(n, own, text, &t->claims) < 0)
                return -EACCES;
        service_account_user(own, t->claims, &t->user);
        if (keep_token(n, text, t)) {
                TAKE_PTR(own);
                *ret = t;
                return 0;
        }
        t = arena_new_of(a, struct token); /* once more, for this request alone */
        t->arena = NULL;
        if (open_token(n, a, text, &t->claims) < 0)
                return -EACCES;
        service_account_user(a, t->claims, &t->user);
        *ret = t;
        return 0;
}

int authn_check_token(struct apiserver *s, struct arena *a, struct str token, const struct json *audiences,
                      struct api_user *ret, struct json *ret_audiences, struct error *err) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = NULL;
        int64_t now = now_wall_ns() / NSEC_PER_SEC;
        const struct json *k, *sa, *claims;
        const struct token *t;
        struct json matched;
        struct str ns;

        if (find_token(s->authn, a, token, &t) < 0)
                return unauthorized(err);
        claims = t->claims;
        k = json_getc(claims, "kubernetes.io");
        sa = json_getc(k, "serviceaccount");
        ns = json_str(json_getc(k, "namespace"));
        if (!str_eq(json_str(json_getc(claims, "iss")), s->authn->issuer) ||
            now >= json_int(json_getc(claims, "exp")) || now < json_int(json_getc(claims, "nbf")) || !sa)
                return unauthorized(err);
        if (!audience_fits(json_getc(claims, "aud"), audiences, s->authn->issuer, a, &matched))
                return unauthorized(err);
        snap = store_snapshot(s->store);
        if (!bound_object_is_there(s, snap, &res_serviceaccounts, ns, sa) ||
            !bound_object_is_there(s, snap, &res_pods, ns, json_getc(k, "pod")) ||
            !bound_object_is_there(s, snap, &res_secrets, ns, json_getc(k, "secret")))
                return unauthorized(err);
        *ret = t->user;
        if (ret_audiences)
                *ret_audiences = json_copy(a, &matched);
        return 0;
}

/* ---- requests ---- */

static void certificate_user(struct arena *a, struct str cn, const struct str *orgs, size_t n_orgs,
                             struct api_user *ret) {
        *ret = (struct api_user){ .name = cn,
                                  .groups = arena_array(a, struct str, n_orgs + 1),
                                  .n_groups = n_orgs + 1 };
        for (size_t i = 0; i < n_orgs; i++)
                ret->groups[i] = orgs[i];
        ret->groups[n_orgs] = STR("system:authenticated");
}

static struct str bearer_token(struct http_request *req) {
        struct str h = http_request_header(req, "authorization");

        if (h.n > 7 && str_eq_fold(str_sub(h, 0, 7), STR("bearer ")))
                return str_trim(str_sub(h, 7, h.n));
        return str_n(NULL, 0);
}

/* Impersonate-User and its kin: what the sender must be allowed to be. */
static int impersonate(struct apiserver *s, struct http_request *req, struct api_user *user, struct error *err) {
        struct arena *a = http_request_arena(req);
        struct str name = http_request_header(req, "impersonate-user");
        struct attributes at = { .verb = "impersonate", .version = STR("v1"), .resource = STR("users"), .name = name };
        struct api_user as = { .name = name, .uid = http_request_header(req, "impersonate-uid") };
        const struct http_header *h;
        size_t n = http_request_headers(req, &h), groups = 0;
        int r;

        if (str_empty(name))
                return 0;
        if (str_has_prefix(name, STR("system:serviceaccount:"))) {
                struct str rest = str_sub(name, 22, name.n);

                at.resource = STR("serviceaccounts");
                str_split(&rest, ':', &at.namespace);
                at.name = rest;
        }
        r = authorize_or_error(s, user, &at, err);
        if (r < 0)
                return r;
        as.groups = arena_array(a, struct str, n + 3);
        for (size_t i = 0; i < n; i++) {
                if (!str_eqc(h[i].name, "impersonate-group"))
                        continue;
                at = (struct attributes){
                        .verb = "impersonate", .version = STR("v1"), .resource = STR("groups"), .name = h[i].value
                };
                r = authorize_or_error(s, user, &at, err);
                if (r < 0)
                        return r;
                as.groups[groups++] = h[i].value;
        }
        if (groups == 0 && str_has_prefix(name, STR("system:serviceaccount:"))) {
                struct str rest = str_sub(name, 22, name.n), ns = STR("");

                str_split(&rest, ':', &ns);
                as.groups[groups++] = STR("system:serviceaccounts");
                as.groups[groups++] = arena_printf(a, "system:serviceaccounts:%" STR_FMT, STR_ARG(ns));
        }
        as.groups[groups++] =
                        str_eqc(name, "system:anonymous") ? STR("system:unauthenticated") : STR("system:authenticated");
        as.n_groups = groups;
        *user = as;
        return 0;
}

int authenticate(struct apiserver *s, struct http_request *req, struct api_user *ret, struct api_user *ret_real,
                 struct error *err) {
        static struct str nobody[] = { STR_INIT("system:unauthenticated") };
        struct arena *a = http_request_arena(req);
        const struct str *orgs;
        struct str cn, token;
        size_t n_orgs;
        int r;

        token = bearer_token(req);
        if (http_request_client_cert(req, &cn, &orgs, &n_orgs)) {
                certificate_user(a, cn, orgs, n_orgs, ret);
        } else if (token.p) {
                r = authn_check_token(s, a, token, NULL, ret, NULL, err);
                if (r < 0)
                        return r;
        } else if (http_request_client_cert_invalid(req) || !s->options.anonymous) {
                return unauthorized(err);
        } else {
                *ret = (struct api_user){ .name = STR("system:anonymous"), .groups = nobody, .n_groups = 1 };
        }
        *ret_real = *ret;
        return impersonate(s, req, ret, err);
}
