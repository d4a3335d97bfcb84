/* Who sends a request: client certificates, service account tokens, impersonation. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

struct http_request;

int authn_new(struct apiserver *s, struct authn **ret, struct error *err);
void authn_free(struct authn *n);

/* The user of a request, and who it is that impersonates it; -EACCES Unauthorized. Texts live in the request's arena. */
int authenticate(struct apiserver *s, struct http_request *req, struct api_user *ret, struct api_user *ret_real,
                 struct error *err);

/* A service account token: signed, not expired, for one of these audiences (NULL: the server's), bound objects still
 * there. ret_audiences may be NULL. -EACCES. */
int authn_check_token(struct apiserver *s, struct arena *a, struct str token, const struct json *audiences,
                      struct api_user *ret, struct json *ret_audiences, struct error *err);
/* A JWT of these claims, ES256. */
int authn_sign(struct authn *n, struct arena *a, const struct json *claims, struct str *ret, struct error *err);
struct str authn_issuer(const struct authn *n);
struct json authn_openid_configuration(const struct authn *n, struct arena *a);
struct json authn_jwks(const struct authn *n, struct arena *a);
