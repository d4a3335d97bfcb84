/* JSON Web Tokens and keys, as Kubernetes uses them: RFC 7515 (compact form), 7517, 7518; RS, PS and ES with 256, 384
 * and 512 bits. Over OpenSSL. */
#pragma once

#include "json/json.h"

struct evp_pkey_st;

struct jwt {
        struct json *header, *claims;
        struct str signed_part, signature; /* signature: bytes */
        struct str fault;                  /* why it is no more than claims */
};

/* Form only: nothing is verified. Everything lives in a. -EINVAL; -EBADMSG: only the claims can be read. */
int jwt_parse(struct arena *a, struct str token, struct jwt *ret);
/* The signature is this key's, by the header's algorithm, which must fit the key. */
bool jwt_verify(const struct jwt *t, struct evp_pkey_st *key);
/* "RS256", "ES384" …: what jwt_sign uses with this key; NULL: none. */
const char *jwt_algorithm(struct evp_pkey_st *key);
/* kid may be empty. -EIO. */
int jwt_sign(struct arena *a, struct evp_pkey_st *key, struct str kid, const struct json *claims, struct str *ret);
/* HMAC with SHA-256 over a payload that is not part of the result ("header..signature"): bootstrap tokens sign
 * cluster-info so. */
struct str jws_detached(struct arena *a, struct str kid, struct str secret, struct str payload);

/* A public key of a JWK; NULL when it is no key for signatures that we know. */
struct evp_pkey_st *jwk_read(const struct json *jwk);
struct json jwk_write(struct arena *a, struct evp_pkey_st *key, struct str kid);
/* Base64url of SHA-256 over the public key, as kube-apiserver names its keys. */
struct str jwk_id(struct arena *a, struct evp_pkey_st *key);
/* Cuts the next key off *pem, RSA or ECDSA, private, public or of a certificate; NULL: there is none any more. */
struct evp_pkey_st *pem_next_key(struct str *pem);
bool jwt_can_sign(struct evp_pkey_st *key); /* it is a private one */
