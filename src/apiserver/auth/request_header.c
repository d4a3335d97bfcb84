/* Authorities that certify clients and front proxies. Of the latter: a connection whose certificate is signed by their
 * authority says in headers who its user is.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/ */
#include <ctype.h>

#include <openssl/err.h>
#include <openssl/pem.h>

#include "apiserver/auth/authn.h"
#include "apiserver/flags.h"
#include "base/encode.h"
#include "base/file.h"

struct request_header {
        struct str user, uid, group, extra; /* lists of header names, in lower case */
        struct str allowed;                 /* of common names; empty: any */
};

static struct str lower(struct arena *a, const char *text) {
        char *p = arena_cstr(a, str_of(text));

        for (size_t i = 0; p[i]; i++)
                p[i] = (char) tolower((unsigned char) p[i]);
        return str_of(p);
}

/* *broken: one of the certificates is none. */
static struct json fingerprints(struct arena *a, struct str pem, bool *broken) {
        struct json list = json_new_array();
        BIO *bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        X509 *cert;

        ERR_clear_error();
        while ((cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
                _cleanup_buf_ struct buf hex = BUF_INIT;
                unsigned char md[32];
                unsigned len = sizeof(md);

                X509_digest(cert, EVP_sha256(), md, &len);
                hex_encode(&hex, str_n((char *) md, len));
                json_push(a, &list, json_of_copy(a, buf_str(&hex)));
                X509_free(cert);
        }
        *broken = ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_ASN1_LIB;
        ERR_clear_error();
        BIO_free(bio);
        return list;
}

static int read_authority(struct arena *a, const char *path, const char *name, struct str *pem, struct json *ids,
                          struct error *err) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        bool broken;

        TRY(path ? file_read(path, 1 << 20, &text, err) : 0);
        if (path)
                *pem = arena_str(a, buf_str(&text));
        *ids = fingerprints(a, *pem, &broken);
        if (path && text.n == 0)
                return error_set(err, -EINVAL, "missing content for CA bundle \"%s::%s\"", name, path);
        if (path && (broken || json_len(ids) == 0))
                return error_set(err, -EINVAL, "error loading CA bundle for \"%s::%s\": %s", name, path,
                                 broken ? "x509: malformed certificate"
                                        : "data does not contain any valid RSA or ECDSA certificates");
        return 0;
}

int authorities_read(const struct apiserver *s, struct authorities **ret, struct error *err) {
        struct arena *a = arena_new(0);
        struct authorities *x = *ret = arena_new_of(a, struct authorities);

        *x = (struct authorities) { .arena = a, .clients = s->options.client_ca_pem };
        TRY(read_authority(a, server_flag(s, "client-ca-file", NULL), "client-ca-bundle", &x->clients, &x->client_ids,
                           err));
        return read_authority(a, server_flag(s, "requestheader-client-ca-file", NULL), "request-header", &x->proxies,
                              &x->proxy_ids, err);
}

void authorities_free(struct authorities *x) {
        if (x)
                arena_free(x->arena);
}

int request_header_new(struct authn *n, struct request_header **ret, struct error *err) {
        if (!server_flag(n->s, "requestheader-client-ca-file", NULL))
                return 0;
        struct request_header *h = arena_new_of(n->arena, struct request_header);
        h->user = lower(n->arena, server_flag(n->s, "requestheader-username-headers", "x-remote-user"));
        h->uid = lower(n->arena, server_flag(n->s, "requestheader-uid-headers", ""));
        h->group = lower(n->arena, server_flag(n->s, "requestheader-group-headers", "x-remote-group"));
        h->extra = lower(n->arena, server_flag(n->s, "requestheader-extra-headers-prefix", "x-remote-extra-"));
        h->allowed = str_of(server_flag(n->s, "requestheader-allowed-names", ""));
        *ret = h;
        return 0;
}

/* The value of the first of these headers that has one. */
static struct str first_of(struct http_request *req, struct str list) {
        struct str name, value = STR("");

        while (str_empty(value) && str_split(&list, ',', &name))
                value = str_trim(http_request_header(req, arena_cstr(http_request_arena(req), name)));
        return value;
}

static bool certified_by(const struct json *authorities, struct http_request *req) {
        return json_has_str(authorities, http_request_client_cert_authority(req));
}

bool request_header_is_client(const struct authorities *known, struct http_request *req) {
        return certified_by(&known->client_ids, req);
}

bool request_header_is_proxy(const struct request_header *h, const struct authorities *known,
                             struct http_request *req) {
        const struct str *orgs;
        struct str cn;
        size_t n;

        if (!http_request_client_cert(req, &cn, &orgs, &n))
                return false;
        return certified_by(&known->proxy_ids, req) && (str_empty(h->allowed) || str_is_part(cn, ',', h->allowed));
}

bool request_header_user(const struct request_header *h, const struct authorities *known, struct http_request *req,
                         struct api_user *ret) {
        struct arena *a = http_request_arena(req);
        const struct http_header *headers;
        size_t n = http_request_headers(req, &headers);

        if (!request_header_is_proxy(h, known, req))
                return false;
        *ret = user_new(a, first_of(req, h->user), first_of(req, h->uid), NULL, n + 1);
        if (str_empty(ret->name))
                return false;
        str_each(item, h->group, ',')
                for (size_t i = 0; i < n; i++)
                        if (str_eq(headers[i].name, item) && !str_empty(str_trim(headers[i].value)))
                                user_add_group(ret, str_trim(headers[i].value));
        str_each(item, h->extra, ',')
                for (size_t i = 0; i < n; i++) {
                        struct str rest = str_sub(headers[i].name, item.n, headers[i].name.n);
                        _cleanup_buf_ struct buf key = BUF_INIT;

                        if (str_has_prefix(headers[i].name, item))
                                user_add_extra(a, ret,
                                               url_decode(&key, rest, false) == 0 ? arena_str(a, buf_str(&key)) : rest,
                                               str_trim(headers[i].value));
                }
        user_add_authenticated(ret);
        return true;
}
