/* Who sends a request: client certificates, front proxies, tokens of several kinds, impersonation. Private to
 * src/apiserver.
 *
 *   authn.c ── request_header.c                   a proxy that we trust says who
 *      │  └─── impersonate.c                       … wants to be somebody else
 *      └─ tokens: file ─▶ service_account.c ─▶ bootstrap_token.c ─▶ oidc.c ─▶ webhook.c     the first that knows it */
#pragma once

#include "apiserver/server.h"
#include "apiserver/validation/validate.h"

struct http_request;
struct remote;
struct evp_pkey_st;

/* A key of service account tokens. */
struct signing_key {
        struct evp_pkey_st *key;
        struct str id;
};

/* OpenID issuers, and whom requests without credentials are; replaced as a whole. */
struct oidcs {
        struct oidc *v;
        size_t n;
};
struct authn_config {
        struct arena *arena;
        struct oidcs issuers;
        bool anonymous;
        const struct json *given;      /* "anonymous" of a file, or NULL */
        const struct json *conditions; /* of it: the only paths where they are; none: everywhere */
};

/* Who certifies clients, and who front proxies. They may be replaced at any time; whoever asks may keep them for some
 * seconds. */
struct authorities {
        struct arena *arena;
        struct str clients, proxies;       /* certificates, PEM; empty: none */
        struct json client_ids, proxy_ids; /* their SHA-256, in hex */
};

struct authn {
        struct apiserver *s;
        struct arena *arena;
        VEC(struct signing_key) keys; /* the first signs service account tokens, all verify them; may be none */
        struct json issuers;          /* of them, likewise */
        int64_t max_token_seconds;    /* 0: no limit */
        bool extends_tokens;
        struct json audiences; /* whom tokens must be for, unless the question says otherwise */
        pthread_mutex_t lock;
        struct map *tokens;      /* service_account.c: text of a token → struct token */
        struct map *file_tokens; /* text → struct api_user: of the file, and our own */
        struct str own_token;    /* by which we know ourselves: webhooks may be reached through this server */
        _Atomic(struct authn_config *) config;
        _Atomic(struct authorities *) authorities;
        struct remote *token_webhook; /* NULL: not configured, as is this */
        struct request_header *request_header;
};

int authn_new(struct apiserver *s, struct authn **ret, struct error *err);
void authn_free(struct authn *n);

/* What there is to say about credentials, good or bad. */
struct authn_notes {
        struct str warning;       /* to the client; or empty */
        struct json *annotations; /* to the audit log: a map of strings; NULL: nothing */
};

/* The user of a request, and who it is that impersonates it; -EACCES Unauthorized; -EINPROGRESS (remote.h). Texts live
 * in the request's arena. */
int authenticate(struct apiserver *s, struct http_request *req, struct api_user *ret, struct api_user *ret_real,
                 struct authn_notes *notes, struct error *err);

/* What the authenticators of tokens share. 0: it is known, ret is set; -ENOENT: it is not theirs; -EACCES: it is, but
 * not valid (err says why); -EINPROGRESS. audiences: whom it must be for. */
struct token_check {
        struct authn *n;
        struct arena *a;
        struct str text;
        const struct json *audiences; /* NULL or empty: the server's */
        struct api_user *ret;
        struct json *ret_audiences; /* for which of them it is; set to all of the server's before */
        struct authn_notes *notes;
};
int service_account_check(const struct token_check *t, struct error *err);
int bootstrap_token_check(const struct token_check *t, struct error *err);
int oidc_check(const struct token_check *t, struct error *err);
/* 0: all are known as they tell of themselves. */
int oidc_ready(const struct oidcs *list, struct error *err);
/* Asks those that are not. For one thread, again and again. */
void oidc_prepare(const struct oidcs *list);
int token_webhook_check(const struct token_check *t, struct error *err);

/* Asks one after the other, until one knows the token; err is "Unauthorized" where none has more to say. */
int authn_check_token(struct token_check *t, struct error *err);
/* A file of tokens, in CSV: ret gets a struct api_user in a for each token. text lives in a too. */
int authn_parse_tokens(struct arena *a, const char *path, struct str text, struct map *ret, struct error *err);
/* A JWT of these claims. */
int authn_sign(struct authn *n, struct arena *a, const struct json *claims, struct str *ret, struct error *err);
struct str authn_issuer(const struct authn *n);
struct json authn_openid_configuration(const struct authn *n, struct arena *a);
struct json authn_jwks(const struct authn *n, struct arena *a);

/* ---- the parts ---- */

void token_free(void *token);
/* list: of JWTAuthenticators; a holds it and what is made of it. algorithms: "RS256,ES256"; NULL: any. What is there
 * after an error is for oidc_free too. */
int oidc_new(struct authn *n, struct arena *a, const struct json *list, const char *algorithms, struct field_errors *fe,
             struct oidcs *ret, struct error *err);
int oidc_from_flags(struct authn *n, struct arena *a, struct json *ret_list, struct error *err);
void oidc_free(struct oidcs *list);
int token_webhook_new(struct authn *n, struct error *err);
int request_header_new(struct authn *n, struct request_header **ret, struct error *err);
/* Of the files that flags name, or the cluster's own. What is there after an error is for authorities_free too. */
int authorities_read(const struct apiserver *s, struct authorities **ret, struct error *err);
void authorities_free(struct authorities *x);
/* The user that a front proxy names; false: this connection is none's. */
bool request_header_user(const struct request_header *h, const struct authorities *known, struct http_request *req,
                         struct api_user *ret);
/* Its certificate is a front proxy's; of the authority of clients. */
bool request_header_is_proxy(const struct request_header *h, const struct authorities *known, struct http_request *req);
bool request_header_is_client(const struct authorities *known, struct http_request *req);
/* Replaces the user by the one it wants to be and may be. */
int impersonate(struct apiserver *s, struct http_request *req, struct api_user *user, struct error *err);

/* ---- webhooks that authorize ---- */

struct access_webhook;
/* config: a WebhookConfiguration, with errors in fe at p; NULL: the flags. All lives in a, until access_webhook_free.
 */
int access_webhook_new(struct authn *n, struct arena *a, struct str name, const struct json *config,
                       struct field_errors *fe, const struct path *p, struct access_webhook **ret, struct error *err);
void access_webhook_free(struct access_webhook *w); /* NULL is fine */
/* What its conditions made of a question; ns 0: nothing, it has none. */
struct condition_run {
        int64_t ns;
        bool failed, excluded;
};
/* What it says; AUTHZ_PENDING as remote.h. */
enum authz access_webhook_ask(const struct access_webhook *w, const struct api_user *user, const struct attributes *at,
                              struct opinion *why, struct condition_run *ret);

/* ---- files that are read again when they change (reload.h) ---- */

/* The configuration that the file or the flags give. */
int authn_configure(struct apiserver *s, struct authn_config **ret, struct error *err);
void authn_config_free(struct authn_config *c); /* NULL is fine */
int authorizers_configure(struct apiserver *s, struct authorizers **ret, struct error *err);
void authorizers_free(struct authorizers *c);

/* ---- counting ---- */

/* One more with this label, { name, value }; key tells values apart. */
struct metric;
void count_labelled(const struct metric *m, uint64_t key, const char *const label[2]);
extern const double authz_seconds[15]; /* upstream's buckets of how long both take */
void observe_labelled(const struct metric *m, uint64_t key, const char *const label[2], int64_t ns);

/* ---- users ---- */

/* A user with room for more groups; the texts are views. */
struct api_user user_new(struct arena *a, struct str name, struct str uid, const struct json *groups, size_t more);
void user_add_group(struct api_user *u, struct str group);
/* "system:authenticated", unless they are said not to be that. */
void user_add_authenticated(struct api_user *u);
void user_add_extra(struct arena *a, struct api_user *u, struct str key, struct str value);
/* metav1.UserInfo: username, uid, groups, extra; what is empty is left out. And back. */
struct json user_json(struct arena *a, const struct api_user *u);
struct api_user user_of_json(struct arena *a, const struct json *info, const char *name_key);
