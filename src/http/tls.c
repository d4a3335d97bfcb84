/* TLS contexts.
 *
 * One tls_context holds one SSL_CTX, which does not change once it is made; it may be replaced by another.
 *
 * Client certificates are asked for, not required, and a bad one does not end the handshake: as in kube-apiserver the
 * request goes on and the authenticator answers 401, which a person can read. So the verdict is only recorded.
 */
#include "http/tls.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>

#include "base/encode.h"
#include "base/lock.h"

/* AES-128 first: on CPUs with AES instructions it is the fastest, and clients mostly offer AES-256 before it. */
#define TLS13_SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* As Go's, without SHA-1. */
#define SIGNATURES                                                                                            \
        "RSA-PSS+SHA256:ECDSA+SHA256:ed25519:RSA-PSS+SHA384:RSA-PSS+SHA512:RSA+SHA256:RSA+SHA384:RSA+SHA512:" \
        "ECDSA+SHA384:ECDSA+SHA512"
#define TLS12_CIPHERS                                                                              \
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:" \
        "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"   \
        "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA"
#define TICKET_SECONDS (7 * 24 * 3600) /* as Go's */

struct tls_context {
        atomic_uint refs;
        pthread_mutex_t lock; /* of ctx, which may be replaced */
        SSL_CTX *ctx;
        bool server, insecure, http2;
};

static void bio_freep(BIO **b) {
        BIO_free(*b);
}
static void x509_freep(X509 **x) {
        X509_free(*x);
}

/* The text of what OpenSSL last complained about on this thread; empties its queue. */
static const char *tls_error_text(char *dst, size_t n) {
        unsigned long e = ERR_get_error();
        const char *reason = e ? ERR_reason_error_string(e) : NULL;

        if (reason)
                snprintf(dst, n, "%s", reason);
        else if (e)
                ERR_error_string_n(e, dst, n);
        else
                snprintf(dst, n, "unknown error");
        ERR_clear_error();
        return dst;
}

static const struct {
        long code;
        const char *text;
} verify_texts[] = {
        { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_CERT_SIGNATURE_FAILURE, "x509: certificate signed by unknown authority" },
        { X509_V_ERR_CERT_HAS_EXPIRED, "x509: certificate has expired or is not yet valid" },
        { X509_V_ERR_CERT_NOT_YET_VALID, "x509: certificate has expired or is not yet valid" },
        { X509_V_ERR_HOSTNAME_MISMATCH, "x509: certificate is not valid for this name" },
        { X509_V_ERR_IP_ADDRESS_MISMATCH, "x509: certificate is not valid for this address" },
        { X509_V_ERR_INVALID_PURPOSE, "x509: certificate specifies an incompatible key usage" },
};

const char *tls_handshake_error(SSL *ssl, char *dst, size_t n) {
        long code = SSL_get_verify_result(ssl);
        unsigned long e = ERR_peek_error();

        if (!SSL_is_server(ssl) && code != X509_V_OK && ERR_GET_REASON(e) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
                const char *text = X509_verify_cert_error_string(code);

                for (size_t i = 0; i < ARRAY_SIZE(verify_texts); i++)
                        if (verify_texts[i].code == code)
                                text = verify_texts[i].text;
                snprintf(dst, n, "tls: failed to verify certificate: %s", text);
        } else if (!SSL_is_server(ssl) && ERR_GET_REASON(e) == SSL_R_WRONG_VERSION_NUMBER)
                snprintf(dst, n, "http: server gave HTTP response to HTTPS client");
        else {
                snprintf(dst, n, "remote error: tls: ");
                tls_error_text(dst + strlen(dst), n - strlen(dst));
        }
        ERR_clear_error();
        return dst;
}

static int tls_error(struct error *err, const char *what) {
        char text[256];

        return error_set(err, -EINVAL, "%s: %s", what, tls_error_text(text, sizeof(text)));
}

struct pair {
        X509 *cert;
        STACK_OF(X509) * chain;
        EVP_PKEY *key;
};

static void pair_free(struct pair *p) {
        X509_free(p->cert);
        sk_X509_pop_free(p->chain, X509_free);
        EVP_PKEY_free(p->key);
}

/* What is wrong with a text that has no certificate, or no key, in the words of Go's crypto/tls. */
static int pair_fault(struct str pem, bool key, struct error *err) {
        bool has_cert = str_search(pem, STR("-----BEGIN CERTIFICATE-----")) >= 0,
             has_key = str_search(pem, STR("PRIVATE KEY-----")) >= 0, any = str_search(pem, STR("-----BEGIN ")) >= 0;

        ERR_clear_error();
        if (key && has_key)
                return error_set(err, -EINVAL, "tls: failed to parse private key");
        if (!key && has_cert)
                return error_set(err, -EINVAL, "x509: malformed certificate");
        if (key && has_cert)
                return error_set(err, -EINVAL,
                                 "tls: found a certificate rather than a key in the PEM for the private key");
        if (has_key)
                return error_set(
                                err, -EINVAL,
                                "tls: failed to find certificate PEM data in certificate input, but did find a private "
                                "key; PEM inputs may have been switched");
        return error_set(err, -EINVAL, "tls: failed to find %s in %s input",
                         !any  ? "any PEM data"
                         : key ? "PEM block with type ending in \"PRIVATE KEY\""
                               : "\"CERTIFICATE\" PEM block",
                         key ? "key" : "certificate");
}

/* The first certificate is ours, the rest its chain. What is read so far is in *ret also when it fails. */
static int read_pair(struct str cert_pem, struct str key_pem, struct pair *ret, struct error *err) {
        _cleanup_(bio_freep) BIO *cert_bio = BIO_new_mem_buf(cert_pem.p, (int) cert_pem.n);
        _cleanup_(bio_freep) BIO *key_bio = BIO_new_mem_buf(key_pem.p, (int) key_pem.n);
        X509 *ca;

        ret->cert = PEM_read_bio_X509_AUX(cert_bio, NULL, NULL, NULL);
        if (!ret->cert)
                return pair_fault(cert_pem, false, err);
        ret->chain = sk_X509_new_null();
        while ((ca = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL)))
                sk_X509_push(ret->chain, ca);
        ret->key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
        if (!ret->key)
                return pair_fault(key_pem, true, err);
        if (X509_check_private_key(ret->cert, ret->key) != 1) {
                bool same = EVP_PKEY_get_base_id(X509_get0_pubkey(ret->cert)) == EVP_PKEY_get_base_id(ret->key);

                ERR_clear_error();
                return error_set(err, -EINVAL, "tls: private key %sdoes not match public key%s", same ? "" : "type ",
                                 same ? "" : " type");
        }
        ERR_clear_error(); /* the end of the PEM file */
        return 0;
}

static int use_cert(SSL_CTX *ctx, struct str cert_pem, struct str key_pem, struct error *err) {
        _cleanup_(pair_free) struct pair p = { 0 };

        TRY(read_pair(cert_pem, key_pem, &p, err));
        if (SSL_CTX_use_certificate(ctx, p.cert) != 1 || SSL_CTX_set1_chain(ctx, p.chain) != 1 ||
            SSL_CTX_use_PrivateKey(ctx, p.key) != 1)
                return tls_error(err, "certificate");
        return 0;
}

/* Trusts every certificate of the bundle, one that is nobody's authority for itself, as Go does; a server also tells
 * clients whose certificates it takes. */
static int use_ca(SSL_CTX *ctx, struct str pem, bool server, struct error *err) {
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        X509_STORE *store = SSL_CTX_get_cert_store(ctx);
        size_t n = 0;

        for (;; n++) {
                _cleanup_(x509_freep) X509 *ca = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);

                if (!ca)
                        break;
                if (X509_STORE_add_cert(store, ca) != 1 || (server && SSL_CTX_add_client_CA(ctx, ca) != 1))
                        return tls_error(err, "CA certificate");
        }
        ERR_clear_error();
        if (n == 0)
                return error_set(err, -EINVAL, "unable to load root certificates: %s",
                                 str_search(pem, STR("-----BEGIN CERTIFICATE-----")) >= 0
                                                 ? "failed to parse certificate: x509: malformed certificate"
                                 : str_search(pem, STR("-----BEGIN ")) >= 0 ? "no valid certificate authority data seen"
                                                                            : "unable to parse bytes as PEM block");
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        return 0;
}

/* As Go has it: who says for what it is, is for clients, or for anything; how the key may be used does not matter. */
static bool is_for_clients(X509_STORE_CTX *store) {
        const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);

        for (int i = 0; i < sk_X509_num(chain); i++) /* who does not say has all bits */
                if (!(X509_get_extended_key_usage(sk_X509_value(chain, i)) & (XKU_SSL_CLIENT | XKU_ANYEKU)))
                        return false;
        return true;
}

/* Verifies, keeps the verdict (it also travels in session tickets), and lets the handshake go on. */
static int verify_and_go_on(X509_STORE_CTX *store, void *arg) {
        X509_VERIFY_PARAM_set_purpose(X509_STORE_CTX_get0_param(store), X509_PURPOSE_ANY);
        int r = X509_verify_cert(store);
        if (r == 1 && !is_for_clients(store))
                X509_STORE_CTX_set_error(store, X509_V_ERR_INVALID_PURPOSE);
        if (r != 1 && X509_STORE_CTX_get_error(store) == X509_V_OK)
                X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
        return 1;
}

/* ---- certificates for names ---- */

struct named {
        struct pair pair;
        char *names; /* "a.example,*.b.example" */
        bool asked;  /* for these names, whatever it says itself */
};

struct named_list {
        size_t n;
        struct named v[];
};

static int named_index; /* of a context's list, which ends with it */

static void free_named(void *ctx, void *p, CRYPTO_EX_DATA *ad, int index, long argl, void *argp) {
        struct named_list *l = p;

        for (size_t i = 0; l && i < l->n; i++) {
                pair_free(&l->v[i].pair);
                free(l->v[i].names);
        }
        free(l);
}

static void make_named_index(void) {
        named_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_named);
}

/* The names in a certificate: of DNS, and its common name when it could be one. */
static void add_own_names(X509 *cert, struct buf *dst) {
        GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
        char cn[256];

        if (X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, cn, sizeof(cn)) > 0)
                buf_printf(dst, "%s,", cn);
        for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
                const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);

                if (g->type == GEN_DNS)
                        buf_printf(dst, "%.*s,", ASN1_STRING_length(g->d.dNSName),
                                   (const char *) ASN1_STRING_get0_data(g->d.dNSName));
        }
        GENERAL_NAMES_free(all);
}

static int read_named(struct named *to, const struct tls_named *from, struct error *err) {
        struct buf names = BUF_INIT;
        int r = read_pair(from->cert_pem, from->key_pem, &to->pair, err);

        if (r < 0) {
                error_prefix(err, "failed to load SNI cert and key");
                return r;
        }
        buf_add_str(&names, from->names);
        to->asked = from->names.n > 0;
        if (!to->asked)
                add_own_names(to->pair.cert, &names);
        for (size_t i = 0; i < names.n; i++)
                names.p[i] = (char) tolower((unsigned char) names.p[i]);
        to->names = buf_take(&names, NULL);
        return 0;
}

static const struct named *find_named(const struct named_list *l, const char *name) {
        _cleanup_buf_ struct buf word = BUF_INIT;
        const struct named *own = NULL;

        buf_addc(&word, name);
        for (size_t i = 0; i < word.n; i++)
                word.p[i] = (char) tolower((unsigned char) word.p[i]);
        for (size_t i = 0; i < l->n; i++)
                if (str_is_part(buf_str(&word), ',', str_of(l->v[i].names))) {
                        if (l->v[i].asked)
                                return &l->v[i];
                        own = own ? own : &l->v[i];
                }
        return own;
}

/* The name itself, else with a star for its first part; else who can show it, the default first, as Go does. */
static int choose_named(SSL *ssl, void *arg) {
        const struct named_list *l = arg;
        const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), *rest = name ? strchr(name, '.') : NULL;
        _cleanup_free_ char *star = xprintf("*%s", rest ? rest : "");
        const struct named *n = name ? find_named(l, name) : NULL;

        n = !n && name ? find_named(l, star) : n;
        for (size_t i = 0; !n && name && X509_check_host(SSL_get_certificate(ssl), name, 0, 0, NULL) != 1 && i < l->n;
             i++)
                n = X509_check_host(l->v[i].pair.cert, name, 0, 0, NULL) == 1 ? &l->v[i] : NULL;
        if (!n)
                return 1;
        SSL_certs_clear(ssl); /* one of another algorithm would stay, and might be preferred */
        return SSL_use_certificate(ssl, n->pair.cert) == 1 && SSL_use_PrivateKey(ssl, n->pair.key) == 1 &&
               SSL_set1_chain(ssl, n->pair.chain) == 1;
}

static int use_named(SSL_CTX *ctx, const struct tls_options *o, struct error *err) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        struct named_list *l;

        if (o->n_named == 0)
                return 0;
        pthread_once(&once, make_named_index);
        l = xcalloc(1, sizeof(*l) + o->n_named * sizeof(l->v[0]));
        l->n = o->n_named;
        if (SSL_CTX_set_ex_data(ctx, named_index, l) != 1) {
                free_named(ctx, l, NULL, 0, 0, NULL);
                return tls_error(err, "certificates for names");
        }
        for (size_t i = 0; i < l->n; i++)
                TRY(read_named(&l->v[i], &o->named[i], err));
        SSL_CTX_set_cert_cb(ctx, choose_named, l);
        return 0;
}

static struct str fingerprint(struct arena *a, const X509 *cert) {
        _cleanup_buf_ struct buf hex = BUF_INIT;
        unsigned char md[EVP_MAX_MD_SIZE];
        unsigned n = 0;

        if (X509_digest(cert, EVP_sha256(), md, &n) == 1)
                hex_encode(&hex, str_n((char *) md, n));
        return arena_str(a, buf_str(&hex));
}

static const unsigned char alpn_list[] = "\x02h2\x08http/1.1";
static const unsigned alpn_h1_offset = 3;

static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *outlen, const unsigned char *in,
                       unsigned inlen, void *arg) {
        const struct tls_context *c = arg;
        const unsigned char *ours = alpn_list + (c->http2 ? 0 : alpn_h1_offset);
        unsigned n = (unsigned) sizeof(alpn_list) - 1 - (c->http2 ? 0 : alpn_h1_offset);

        if (SSL_select_next_proto((unsigned char **) out, outlen, ours, n, in, inlen) != OPENSSL_NPN_NEGOTIATED)
                return SSL_TLSEXT_ERR_ALERT_FATAL;
        return SSL_TLSEXT_ERR_OK;
}

/* Who certifies the client's certificate: in lower-case hex, or nothing. */
static struct str authority_of(struct arena *a, SSL *ssl) {
        STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);

        return chain ? fingerprint(a, sk_X509_value(chain, sk_X509_num(chain) - 1)) : STR("");
}

/* A ticket has the certificate, but not what it was verified with. */
static int add_authority(SSL *ssl, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(256);
        struct str authority = authority_of(a, ssl);

        return authority.n == 0 || SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), authority.p, authority.n);
}

static int setup_server(struct tls_context *c, SSL_CTX *ctx, const struct tls_options *o, struct error *err) {
        static const unsigned char id[] = "cube";

        SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF); /* tickets only: no memory for who is gone */
        SSL_CTX_set_num_tickets(ctx, 1);
        SSL_CTX_set_timeout(ctx, TICKET_SECONDS);
        if (o->authorities)
                SSL_CTX_set_session_ticket_cb(ctx, add_authority, NULL, NULL);
        SSL_CTX_set_session_id_context(ctx, id, sizeof(id) - 1);
        SSL_CTX_set_alpn_select_cb(ctx, select_alpn, c);
        TRY(use_named(ctx, o, err));
        if (o->ca_pem.n == 0)
                return 0;
        TRY(use_ca(ctx, o->ca_pem, true, err));
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | (o->require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), NULL);
        if (!o->require_client_cert)
                SSL_CTX_set_cert_verify_callback(ctx, verify_and_go_on, NULL);
        return 0;
}

static int setup_client(SSL_CTX *ctx, const struct tls_options *o, struct error *err) {
        SSL_CTX_set_verify(ctx, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
        if (o->insecure)
                return 0;
        if (o->ca_pem.n)
                return use_ca(ctx, o->ca_pem, false, err);
        if (SSL_CTX_set_default_verify_paths(ctx) != 1)
                return tls_error(err, "system CA store");
        return 0;
}

/* What the administrator chose, in Go's words. */
static int set_versions(SSL_CTX *ctx, const struct tls_options *o, struct error *err) {
        _cleanup_buf_ struct buf ciphers = BUF_INIT;
        static const struct {
                const char *name;
                int version;
        } versions[] = { { "VersionTLS10", TLS1_VERSION },
                         { "VersionTLS11", TLS1_1_VERSION },
                         { "VersionTLS12", TLS1_2_VERSION },
                         { "VersionTLS13", TLS1_3_VERSION } };
        int version = o->min_version ? 0 : TLS1_2_VERSION;

        for (size_t i = 0; i < ARRAY_SIZE(versions); i++)
                if (o->min_version && strcmp(o->min_version, versions[i].name) == 0)
                        version = versions[i].version;
        if (!version)
                return error_set(err, -EINVAL, "unknown tls version \"%s\"", o->min_version);
        SSL_CTX_set_min_proto_version(ctx, version);
        str_each(name, str_of(o->cipher_suites ? o->cipher_suites : ""), ',') {
                bool old = str_has_suffix(name, STR("_CHACHA20_POLY1305")); /* Go's name from before the RFC's */
                _cleanup_free_ char *text = xprintf("%" STR_FMT "%s", STR_ARG(name), old ? "_SHA256" : "");
                const char *ours = OPENSSL_cipher_name(text);

                if (strcmp(ours, "(NONE)") == 0)
                        return error_set(err, -EINVAL, "Cipher suite %" STR_FMT " not supported or doesn't exist",
                                         STR_ARG(name));
                if (!str_has_prefix(str_of(ours), STR("TLS_"))) /* those of 1.3 cannot be chosen, as in Go */
                        buf_printf(&ciphers, "%s%s", ciphers.n ? ":" : "", ours);
        }
        if (ciphers.n && (buf_putc(&ciphers, '\0'), SSL_CTX_set_cipher_list(ctx, ciphers.p)) != 1)
                return tls_error(err, "TLS ciphers");
        return 0;
}

static int setup(struct tls_context *c, const struct tls_options *o, SSL_CTX **ret, struct error *err) {
        SSL_CTX *ctx = *ret = SSL_CTX_new(o->server ? TLS_server_method() : TLS_client_method());

        if (!ctx)
                return tls_error(err, "TLS context");
        SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION);
        /* No automatic chain: it is the one in the file, and OpenSSL would build and verify one in each handshake. */
        SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
        if (SSL_CTX_set_ciphersuites(ctx, TLS13_SUITES) != 1 || SSL_CTX_set_cipher_list(ctx, TLS12_CIPHERS) != 1 ||
            SSL_CTX_set1_groups_list(ctx, "X25519:P-256:P-384:P-521") != 1 ||
            SSL_CTX_set1_sigalgs_list(ctx, SIGNATURES) != 1)
                return tls_error(err, "TLS ciphers");
        TRY(set_versions(ctx, o, err));
        if (o->cert_pem.n) {
                TRY(use_cert(ctx, o->cert_pem, o->key_pem, err));
        } else if (o->server)
                return error_set(err, -EINVAL, "TLS server without a certificate");
        return o->server ? setup_server(c, ctx, o, err) : setup_client(ctx, o, err);
}

int tls_context_new(const struct tls_options *o, struct tls_context **ret, struct error *err) {
        struct tls_context *c = xcalloc(1, sizeof(*c));

        *c = (struct tls_context) { .server = o->server, .insecure = o->insecure, .http2 = o->http2 };
        atomic_init(&c->refs, 1);
        pthread_mutex_init(&c->lock, NULL);
        int r = setup(c, o, &c->ctx, err);
        if (r < 0) {
                tls_context_unref(c);
                return r;
        }
        *ret = c;
        return 0;
}

int tls_context_renew(struct tls_context *c, const struct tls_options *o, struct error *err) {
        SSL_CTX *old = NULL;
        int r = setup(c, o, &old, err);

        if (r == 0) {
                SSL_CTX *fresh = old;
                HOLD(&c->lock);

                old = c->ctx;
                c->ctx = fresh;
        }
        SSL_CTX_free(old); /* connections that have it keep it */
        return r;
}

struct tls_context *tls_context_ref(struct tls_context *c) {
        if (c)
                atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
        return c;
}

void tls_context_unref(struct tls_context *c) {
        if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
                return;
        SSL_CTX_free(c->ctx);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

static bool is_address(const char *s) {
        struct in6_addr a;

        return inet_pton(AF_INET, s, &a) == 1 || inet_pton(AF_INET6, s, &a) == 1;
}

SSL *tls_context_ssl(struct tls_context *c, const char *server_name) {
        bool ok = true;

        pthread_mutex_lock(&c->lock);
        SSL *ssl = SSL_new(c->ctx);
        pthread_mutex_unlock(&c->lock);
        if (!ssl)
                return NULL;
        if (c->server) {
                SSL_set_accept_state(ssl);
                return ssl;
        }
        SSL_set_connect_state(ssl);
        tls_offer(ssl, c->http2);
        if (server_name && is_address(server_name))
                ok = c->insecure || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server_name) == 1;
        else if (server_name)
                ok = SSL_set_tlsext_host_name(ssl, server_name) == 1 &&
                     (c->insecure || SSL_set1_host(ssl, server_name) == 1);
        if (!ok) {
                SSL_free(ssl);
                return NULL;
        }
        return ssl;
}

void tls_offer(SSL *ssl, bool http2) {
        SSL_set_alpn_protos(ssl, alpn_list + (http2 ? 0 : alpn_h1_offset),
                            sizeof(alpn_list) - 1 - (http2 ? 0 : alpn_h1_offset));
}

static struct str name_entry(struct arena *a, X509_NAME *name, int i) {
        unsigned char *utf8 = NULL;
        int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i)));
        struct str s = arena_str(a, str_n((char *) utf8, n > 0 ? (size_t) n : 0));

        OPENSSL_free(utf8);
        return s;
}

static void read_uid(X509_NAME *name, struct tls_peer *ret) {
        ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.57683.2", 1);
        int i = X509_NAME_get_index_by_OBJ(name, oid, -1);

        if (i >= 0) {
                ret->uid = name_entry(ret->arena, name, i);
                ret->spoilt = ret->cn.n > 0 && (str_empty(ret->uid) || X509_NAME_get_index_by_OBJ(name, oid, i) >= 0);
        }
        ASN1_OBJECT_free(oid);
}

void tls_peer_read(SSL *ssl, struct tls_peer *ret) {
        _cleanup_(x509_freep) X509 *cert = SSL_get1_peer_certificate(ssl);
        struct tm end;
        size_t n_data;
        void *data;
        int i;

        *ret = (struct tls_peer) { .present = cert != NULL };
        /* A resumed session carries the verdict of its first handshake; the certificate may have expired since. */
        ret->valid = cert && SSL_get_verify_result(ssl) == X509_V_OK &&
                     X509_cmp_current_time(X509_get0_notAfter(cert)) > 0;
        if (!ret->valid)
                return;
        ret->arena = arena_new(512);
        X509_NAME *name = X509_get_subject_name(cert);
        ret->orgs = arena_array(ret->arena, struct str, X509_NAME_entry_count(name));
        for (i = -1; (i = X509_NAME_get_index_by_NID(name, NID_commonName, i)) >= 0;) /* the last one, as in Go */
                ret->cn = name_entry(ret->arena, name, i);
        read_uid(name, ret);
        for (i = -1; (i = X509_NAME_get_index_by_NID(name, NID_organizationName, i)) >= 0;)
                ret->orgs[ret->n_orgs++] = name_entry(ret->arena, name, i);
        ret->sha256 = fingerprint(ret->arena, cert);
        if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &end))
                ret->not_after = timegm(&end);
        ret->authority = authority_of(ret->arena, ssl);
        if (str_empty(ret->authority) && SSL_SESSION_get0_ticket_appdata(SSL_get_session(ssl), &data, &n_data))
                ret->authority = arena_str(ret->arena, str_n(data, n_data));
}

void tls_peer_clear(struct tls_peer *p) {
        arena_free(p->arena);
        *p = (struct tls_peer) { 0 };
}
