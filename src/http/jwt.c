#include "http/jwt.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "base/encode.h"
#include "json/build.h"

#define MAX_TOKEN 16384
#define MAX_SIGNATURE 1024

static const struct algorithm {
        const char *name, *digest, *type;
        const char *group, *curve; /* of ES: OpenSSL's name, JWK's name */
        unsigned part;             /* bytes of one number of an ECDSA signature */
        bool pss;
} algorithms[] = {
        { "RS256", "SHA256", "RSA", NULL, NULL, 0, false },
        { "RS384", "SHA384", "RSA", NULL, NULL, 0, false },
        { "RS512", "SHA512", "RSA", NULL, NULL, 0, false },
        { "PS256", "SHA256", "RSA", NULL, NULL, 0, true },
        { "PS384", "SHA384", "RSA", NULL, NULL, 0, true },
        { "PS512", "SHA512", "RSA", NULL, NULL, 0, true },
        { "ES256", "SHA256", "EC", SN_X9_62_prime256v1, "P-256", 32, false },
        { "ES384", "SHA384", "EC", SN_secp384r1, "P-384", 48, false },
        { "ES512", "SHA512", "EC", SN_secp521r1, "P-521", 66, false },
};

static bool fits(const struct algorithm *g, EVP_PKEY *key) {
        char group[64] = "";

        if (!EVP_PKEY_is_a(key, g->type))
                return false;
        return !g->group ||
               (EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 && strcmp(group, g->group) == 0);
}

static const struct algorithm *find_algorithm(struct str name, EVP_PKEY *key) {
        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++)
                if ((str_empty(name) || str_eqc(name, algorithms[i].name)) && fits(&algorithms[i], key))
                        return &algorithms[i];
        return NULL;
}

const char *jwt_algorithm(EVP_PKEY *key) {
        const struct algorithm *g = find_algorithm(STR(""), key);

        return g ? g->name : NULL;
}

/* ---- tokens ---- */

static int decode(struct arena *a, struct str part, struct str *ret, struct str *ret_fault) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (base64url_decode(&b, part) < 0) {
                *ret_fault = arena_printf(a, "illegal base64 data at input byte %zu", base64_error(part, true));
                return -EBADMSG;
        }
        *ret = arena_str(a, buf_str(&b));
        return 0;
}

int jwt_parse(struct arena *a, struct str token, struct jwt *ret) {
        struct json_parse_opts opts = { .max_depth = 32 };
        ssize_t first = str_find(token, '.'), last = str_rfind(token, '.');
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str header, claims;

        if (token.n > MAX_TOKEN || first < 0 || last == first ||
            decode(a, str_sub(token, (size_t) first + 1, (size_t) last), &claims, &ret->fault) < 0 ||
            json_parse(a, claims, &opts, &ret->claims, NULL) < 0 || !json_is(ret->claims, JSON_OBJECT))
                return -EINVAL;
        ret->signed_part = str_sub(token, 0, (size_t) last);
        TRY(decode(a, str_sub(token, 0, (size_t) first), &header, &ret->fault));
        TRY(decode(a, str_sub(token, (size_t) last + 1, token.n), &ret->signature, &ret->fault));
        if (json_parse(a, header, &opts, &ret->header, &e) == 0 && json_is(ret->header, JSON_OBJECT))
                return 0;
        ret->fault = arena_str(a, str_of(e.err ? error_text(&e) : "the header is no object"));
        return -EBADMSG;
}

/* JWS has the two numbers of ECDSA side by side, OpenSSL in DER. The result is OpenSSL's to free. */
static int der_signature(struct str raw, unsigned part, uint8_t **ret) {
        ECDSA_SIG *sig = ECDSA_SIG_new();
        const uint8_t *p = (const uint8_t *) raw.p;

        ECDSA_SIG_set0(sig, BN_bin2bn(p, (int) part, NULL), BN_bin2bn(p + part, (int) part, NULL));
        int n = i2d_ECDSA_SIG(sig, ret);
        ECDSA_SIG_free(sig);
        return n;
}

static size_t raw_signature(const uint8_t *der, size_t n, unsigned part, uint8_t *raw) {
        ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long) n);
        bool ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int) part) == (int) part &&
                  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + part, (int) part) == (int) part;

        ECDSA_SIG_free(sig);
        return ok ? 2 * (size_t) part : 0;
}

/* The context of a signature; NULL when OpenSSL refuses. */
static EVP_MD_CTX *begin(const struct algorithm *g, EVP_PKEY *key, bool sign) {
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        EVP_PKEY_CTX *pctx = NULL;
        int ok = (sign ? EVP_DigestSignInit_ex : EVP_DigestVerifyInit_ex)(ctx, &pctx, g->digest, NULL, NULL, key, NULL);

        if (ok == 1 && g->pss)
                ok = EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) == 1;
        if (ok == 1)
                return ctx;
        EVP_MD_CTX_free(ctx);
        return NULL;
}

bool jwt_verify(const struct jwt *t, EVP_PKEY *key) {
        struct str name = json_str(json_getc(t->header, "alg"));
        const struct algorithm *g = str_empty(name) ? NULL : find_algorithm(name, key);
        const uint8_t *text = (const uint8_t *) t->signed_part.p, *sig = (const uint8_t *) t->signature.p;
        size_t n = t->signature.n;
        uint8_t *der = NULL;

        if (!g || (g->part && n != 2 * (size_t) g->part))
                return false;
        if (g->part) {
                int len = der_signature(t->signature, g->part, &der);

                if (len <= 0)
                        return false;
                sig = der;
                n = (size_t) len;
        }
        EVP_MD_CTX *ctx = begin(g, key, false);
        bool ok = ctx && EVP_DigestVerify(ctx, sig, n, text, t->signed_part.n) == 1;
        EVP_MD_CTX_free(ctx);
        OPENSSL_free(der);
        return ok;
}

int jwt_sign(struct arena *a, EVP_PKEY *key, struct str kid, const struct json *claims, struct str *ret) {
        const struct algorithm *g = find_algorithm(STR(""), key);
        _cleanup_buf_ struct buf token = BUF_INIT, part = BUF_INIT;
        uint8_t sig[MAX_SIGNATURE], raw[2 * 66];
        size_t n = sizeof(sig);

        if (!g)
                return -EIO;
        struct json header = json_build(a, "{ alg: %c, kid: %s }", g->name, kid);
        json_write(&part, &header);
        base64url_encode(&token, buf_str(&part));
        part.n = 0;
        json_write(&part, claims);
        buf_putc(&token, '.');
        base64url_encode(&token, buf_str(&part));
        EVP_MD_CTX *ctx = begin(g, key, true);
        bool ok = ctx && EVP_DigestSign(ctx, sig, &n, (const uint8_t *) token.p, token.n) == 1;
        EVP_MD_CTX_free(ctx);
        if (ok && g->part) {
                n = raw_signature(sig, n, g->part, raw);
                ok = n > 0;
        }
        if (!ok)
                return -EIO;
        buf_putc(&token, '.');
        base64url_encode(&token, str_n((const char *) (g->part ? raw : sig), n));
        *ret = arena_str(a, buf_str(&token));
        return 0;
}

struct str jws_detached(struct arena *a, struct str kid, struct str secret, struct str payload) {
        _cleanup_buf_ struct buf out = BUF_INIT, text = BUF_INIT;
        uint8_t md[32];
        unsigned n = sizeof(md);

        base64url_encode(&out, arena_printf(a, "{\"alg\":\"HS256\",\"kid\":\"%" STR_FMT "\"}", STR_ARG(kid)));
        buf_printf(&text, "%" STR_FMT ".", STR_ARG(buf_str(&out)));
        base64url_encode(&text, payload);
        HMAC(EVP_sha256(), secret.p, (int) secret.n, (const uint8_t *) text.p, text.n, md, &n);
        buf_addc(&out, "..");
        base64url_encode(&out, str_n((const char *) md, n));
        return arena_str(a, buf_str(&out));
}

/* ---- keys ---- */

static BIGNUM *number_of(const struct json *jwk, const char *name) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (base64url_decode(&b, json_str(json_getc(jwk, name))) < 0 || b.n == 0 || b.n > MAX_SIGNATURE)
                return NULL;
        return BN_bin2bn((const uint8_t *) b.p, (int) b.n, NULL);
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *bld) {
        OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
        EVP_PKEY *key = NULL;

        if (!params || EVP_PKEY_fromdata_init(ctx) != 1 ||
            EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
                key = NULL;
        EVP_PKEY_CTX_free(ctx);
        OSSL_PARAM_free(params);
        return key;
}

static EVP_PKEY *read_rsa(const struct json *jwk) {
        BIGNUM *n = number_of(jwk, "n"), *e = number_of(jwk, "e");
        OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
        EVP_PKEY *key = NULL;

        if (n && e && BN_num_bits(n) >= 1024 && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
            OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, e) == 1)
                key = make_key("RSA", bld);
        OSSL_PARAM_BLD_free(bld);
        BN_free(n);
        BN_free(e);
        return key;
}

static EVP_PKEY *read_ec(const struct json *jwk) {
        struct str curve = json_str(json_getc(jwk, "crv"));
        BIGNUM *x = number_of(jwk, "x"), *y = number_of(jwk, "y");
        EVP_PKEY *key = NULL;
        uint8_t point[1 + 2 * 66] = { 4 }; /* uncompressed */

        for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
                const struct algorithm *g = &algorithms[i];

                if (!g->part || !str_eqc(curve, g->curve) || !x || !y ||
                    BN_bn2binpad(x, point + 1, (int) g->part) < 0 ||
                    BN_bn2binpad(y, point + 1 + g->part, (int) g->part) < 0)
                        continue;
                OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
                if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, g->group, 0) == 1 &&
                    OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * (size_t) g->part) ==
                                    1)
                        key = make_key("EC", bld);
                OSSL_PARAM_BLD_free(bld);
        }
        BN_free(x);
        BN_free(y);
        return key;
}

EVP_PKEY *jwk_read(const struct json *jwk) {
        struct str type = json_str(json_getc(jwk, "kty")), use = json_str_or(json_getc(jwk, "use"), STR("sig"));

        if (!str_eqc(use, "sig"))
                return NULL;
        return str_eqc(type, "RSA") ? read_rsa(jwk) : str_eqc(type, "EC") ? read_ec(jwk) : NULL;
}

static void set_number(struct arena *a, struct json *jwk, const char *name, EVP_PKEY *key, const char *param,
                       unsigned width) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t bytes[MAX_SIGNATURE];
        BIGNUM *n = NULL;
        int len;

        if (EVP_PKEY_get_bn_param(key, param, &n) != 1 || BN_num_bytes(n) > (int) sizeof(bytes)) {
                BN_free(n);
                return;
        }
        len = BN_bn2binpad(n, bytes, width ? (int) width : BN_num_bytes(n));
        BN_free(n);
        base64url_encode(&b, str_n((const char *) bytes, (size_t) MAX(len, 0)));
        json_setc(a, jwk, name, json_of_copy(a, buf_str(&b)));
}

struct json jwk_write(struct arena *a, EVP_PKEY *key, struct str kid) {
        const struct algorithm *g = find_algorithm(STR(""), key);
        struct json k = json_build(a, "{ use: 'sig', kty: %c, kid: %s, crv: %c, alg: %c }", g->type, kid,
                                   g->part ? g->curve : NULL, g->name);

        if (g->part) {
                set_number(a, &k, "x", key, OSSL_PKEY_PARAM_EC_PUB_X, g->part);
                set_number(a, &k, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y, g->part);
        } else {
                set_number(a, &k, "n", key, OSSL_PKEY_PARAM_RSA_N, 0);
                set_number(a, &k, "e", key, OSSL_PKEY_PARAM_RSA_E, 0);
        }
        return k;
}

struct str jwk_id(struct arena *a, EVP_PKEY *key) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        uint8_t *der = NULL, digest[32];
        int len = i2d_PUBKEY(key, &der);

        if (len <= 0)
                return STR("");
        sha256(digest, str_n((const char *) der, (size_t) len));
        OPENSSL_free(der);
        base64url_encode(&b, str_n((const char *) digest, sizeof(digest)));
        return arena_str(a, buf_str(&b));
}

static EVP_PKEY *key_of_der(const char *name, const unsigned char *der, long n) {
        if (strcmp(name, PEM_STRING_PUBLIC) == 0)
                return d2i_PUBKEY(NULL, &der, n);
        if (strcmp(name, PEM_STRING_RSA_PUBLIC) == 0)
                return d2i_PublicKey(EVP_PKEY_RSA, NULL, &der, n);
        if (str_has_suffix(str_of(name), STR("PRIVATE KEY")))
                return d2i_AutoPrivateKey(NULL, &der, n);
        if (strcmp(name, PEM_STRING_X509) != 0)
                return NULL;
        X509 *cert = d2i_X509(NULL, &der, n);
        EVP_PKEY *key = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
        return key;
}

bool jwt_can_sign(EVP_PKEY *key) {
        BIGNUM *secret = NULL;
        bool yes = EVP_PKEY_get_bn_param(key,
                                         EVP_PKEY_is_a(key, "RSA") ? OSSL_PKEY_PARAM_RSA_D : OSSL_PKEY_PARAM_PRIV_KEY,
                                         &secret) == 1;

        BN_clear_free(secret);
        ERR_clear_error();
        return yes;
}

EVP_PKEY *pem_next_key(struct str *pem) {
        BIO *bio = BIO_new_mem_buf(pem->p, (int) pem->n);
        char *name, *header, *rest;
        EVP_PKEY *key = NULL;
        unsigned char *der;
        long n;

        while (!key && PEM_read_bio(bio, &name, &header, &der, &n) == 1) {
                key = key_of_der(name, der, n);
                if (key && !jwt_algorithm(key)) {
                        EVP_PKEY_free(key);
                        key = NULL;
                }
                OPENSSL_free(name);
                OPENSSL_free(header);
                OPENSSL_clear_free(der, (size_t) n);
        }
        n = BIO_get_mem_data(bio, &rest);
        *pem = str_n(rest, (size_t) n);
        BIO_free(bio);
        return key;
}
