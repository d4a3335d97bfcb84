/* Certificates of a cluster. Each is a row of a table: who it names, what it is for; made only when the one on disk
 * will not do. */
#include <arpa/inet.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/arena.h"
#include "base/file.h"
#include "cube/pki.h"

#define DAY 86400L
#define CA_DAYS 3650L
#define LEAF_DAYS 365L
#define RENEW_DAYS 30L

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509_EXTENSION *, X509_EXTENSION_free)
#define _cleanup_x509_ _cleanup_(X509_freep)
#define _cleanup_pkey_ _cleanup_(EVP_PKEY_freep)
#define _cleanup_bio_ _cleanup_(BIO_free_allp)

struct leaf {
        const char *name; /* <name>.crt and <name>.key */
        const char *cn, *org;
        bool server;           /* else client */
        const char *names[12]; /* subject alternative names: DNS or addresses, ends with NULL */
        char **cert, **key;    /* where the PEM texts go */
        bool front_proxy;      /* signed by the CA of front proxies */
};

struct ca { /* PEM texts */
        char *cert, *key;
};

static int ssl_error(struct error *err, const char *what) {
        char text[256];
        ERR_error_string_n(ERR_get_error(), text, sizeof(text));
        return error_set(err, -EIO, "%s: %s", what, text);
}

static int key_new(EVP_PKEY **ret, struct error *err) {
        *ret = EVP_EC_gen("P-256");
        return *ret ? 0 : ssl_error(err, "making an ECDSA key");
}

static char *bio_text(BIO *b) {
        char *p;
        long n = BIO_get_mem_data(b, &p);
        return str_dup(str_n(p, (size_t) n));
}

static char *key_pem(EVP_PKEY *key) {
        _cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());
        return PEM_write_bio_PrivateKey(b, key, NULL, NULL, 0, NULL, NULL) ? bio_text(b) : NULL;
}

static char *cert_pem(X509 *cert) {
        _cleanup_bio_ BIO *b = BIO_new(BIO_s_mem());
        return PEM_write_bio_X509(b, cert) ? bio_text(b) : NULL;
}

static EVP_PKEY *key_read(const char *pem) {
        _cleanup_bio_ BIO *b = BIO_new_mem_buf(pem, -1);
        return PEM_read_bio_PrivateKey(b, NULL, NULL, NULL);
}

static X509 *cert_read(const char *pem) {
        _cleanup_bio_ BIO *b = BIO_new_mem_buf(pem, -1);
        return PEM_read_bio_X509(b, NULL, NULL, NULL);
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value) {
        X509V3_CTX ctx;
        X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
        _cleanup_(X509_EXTENSION_freep) X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        if (ext)
                X509_add_ext(cert, ext, -1);
}

static bool is_address(const char *s) {
        unsigned char a[16];
        return inet_pton(AF_INET, s, a) == 1 || inet_pton(AF_INET6, s, a) == 1;
}

/* What every certificate here has: version 3, a random serial, a life from an hour ago (clocks differ), a subject. */
static X509 *cert_new(EVP_PKEY *key, const char *cn, const char *org, long days) {
        X509 *cert = X509_new();
        unsigned char serial[16];
        RAND_bytes(serial, sizeof(serial));
        serial[0] &= 0x7f;
        BIGNUM *bn = BN_bin2bn(serial, sizeof(serial), NULL);
        BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert));
        BN_free(bn);
        X509_set_version(cert, X509_VERSION_3);
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
        X509_gmtime_adj(X509_getm_notAfter(cert), days * DAY);
        X509_set_pubkey(cert, key);
        X509_NAME *subject = X509_get_subject_name(cert);
        if (org)
                X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *) org, -1, -1, 0);
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *) cn, -1, -1, 0);
        return cert;
}

static int write_pair(const char *dir, const char *name, const char *cert, const char *key, struct error *err) {
        _cleanup_free_ char *crt_path = xprintf("%s/%s.crt", dir, name), *key_path = xprintf("%s/%s.key", dir, name);
        TRY(file_write_atomic(key_path, str_of(key), 0600, err));
        return file_write_atomic(crt_path, str_of(cert), 0644, err);
}

/* 1 when the file was there, 0 when it is missing. */
static int read_pem(const char *dir, const char *file, char **ret, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/%s", dir, file);
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!file_exists(path))
                return 0;
        TRY(file_read(path, 1 << 20, &b, err));
        *ret = buf_take(&b, NULL);
        return 1;
}

static int load_ca(const char *dir, const char *name, const char *cn, struct ca *ca, struct error *err) {
        _cleanup_free_ char *crt = xprintf("%s.crt", name), *key_file = xprintf("%s.key", name);
        int r = read_pem(dir, crt, &ca->cert, err);
        if (r == 1)
                r = read_pem(dir, key_file, &ca->key, err);
        if (r < 0)
                return r;
        if (ca->cert && ca->key) {
                _cleanup_x509_ X509 *cert = cert_read(ca->cert);
                _cleanup_pkey_ EVP_PKEY *key = key_read(ca->key);
                if (!cert || !key || X509_check_private_key(cert, key) != 1)
                        return error_set(err, -EUCLEAN,
                                         "%s/%s and %s do not belong together: restore them from a backup, "
                                         "or remove the directory to get a new CA",
                                         dir, crt, key_file);
                return 0;
        }
        if (ca->cert)
                return error_set(err, -EUCLEAN, "%s/%s is missing: restore it, or remove the directory to get a new CA",
                                 dir, key_file);

        _cleanup_pkey_ EVP_PKEY *key = NULL;
        TRY(key_new(&key, err));
        _cleanup_x509_ X509 *cert = cert_new(key, cn, NULL, CA_DAYS);
        X509_set_issuer_name(cert, X509_get_subject_name(cert));
        add_extension(cert, cert, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(cert, cert, NID_key_usage, "critical,digitalSignature,keyEncipherment,keyCertSign");
        add_extension(cert, cert, NID_subject_key_identifier, "hash");
        _cleanup_free_ char *san = xprintf("DNS:%s", cn);
        add_extension(cert, cert, NID_subject_alt_name, san);
        if (!X509_sign(cert, key, EVP_sha256()))
                return ssl_error(err, "signing the CA certificate");
        ca->cert = cert_pem(cert);
        ca->key = key_pem(key);
        return write_pair(dir, name, ca->cert, ca->key, err);
}

/* Whether the pair on disk still does: matches, signed by this CA, long enough, and names all it should. */
static bool leaf_good(const struct leaf *l, X509 *ca) {
        _cleanup_x509_ X509 *cert = cert_read(*l->cert);
        _cleanup_pkey_ EVP_PKEY *key = key_read(*l->key);
        _cleanup_pkey_ EVP_PKEY *ca_key = X509_get_pubkey(ca);
        if (!cert || !key || X509_check_private_key(cert, key) != 1 || X509_verify(cert, ca_key) != 1)
                return false;
        time_t soon = time(NULL) + RENEW_DAYS * DAY;
        if (X509_cmp_time(X509_get0_notAfter(cert), &soon) <= 0)
                return false;
        for (const char *const *n = l->names; *n; n++)
                if ((is_address(*n) ? X509_check_ip_asc(cert, *n, 0) : X509_check_host(cert, *n, 0, 0, NULL)) != 1)
                        return false;
        return true;
}

static int leaf_make(const struct leaf *l, const char *dir, X509 *ca, EVP_PKEY *ca_key, struct error *err) {
        _cleanup_pkey_ EVP_PKEY *key = NULL;
        TRY(key_new(&key, err));
        _cleanup_x509_ X509 *cert = cert_new(key, l->cn, l->org, LEAF_DAYS);
        X509_set_issuer_name(cert, X509_get_subject_name(ca));
        add_extension(cert, ca, NID_basic_constraints, "critical,CA:FALSE");
        add_extension(cert, ca, NID_key_usage, "critical,digitalSignature,keyEncipherment");
        add_extension(cert, ca, NID_ext_key_usage, l->server ? "serverAuth" : "clientAuth");
        add_extension(cert, ca, NID_authority_key_identifier, "keyid");
        if (l->names[0]) {
                _cleanup_buf_ struct buf san = BUF_INIT;
                for (const char *const *n = l->names; *n; n++)
                        buf_printf(&san, "%s%s:%s", san.n ? "," : "", is_address(*n) ? "IP" : "DNS", *n);
                buf_putc(&san, 0);
                add_extension(cert, ca, NID_subject_alt_name, san.p);
        }
        if (!X509_sign(cert, ca_key, EVP_sha256()))
                return ssl_error(err, "signing a certificate");
        free(*l->cert);
        free(*l->key);
        *l->cert = cert_pem(cert);
        *l->key = key_pem(key);
        return write_pair(dir, l->name, *l->cert, *l->key, err);
}

static int load_leaf(const struct leaf *l, const char *dir, const struct ca *signer, bool *changed, struct error *err) {
        _cleanup_x509_ X509 *ca = cert_read(signer->cert);
        _cleanup_pkey_ EVP_PKEY *ca_key = key_read(signer->key);
        _cleanup_free_ char *crt = xprintf("%s.crt", l->name), *key = xprintf("%s.key", l->name);
        int r = read_pem(dir, crt, l->cert, err);
        if (r == 1)
                r = read_pem(dir, key, l->key, err);
        if (r < 0)
                return r;
        if (r == 1 && leaf_good(l, ca))
                return 0;
        *changed = true;
        return leaf_make(l, dir, ca, ca_key, err);
}

static int load_sa_key(const char *dir, struct pki *p, struct error *err) {
        int r = read_pem(dir, "sa.key", &p->sa_key, err);
        if (r != 0)
                return MIN(r, 0);
        _cleanup_pkey_ EVP_PKEY *key = NULL;
        TRY(key_new(&key, err));
        p->sa_key = key_pem(key);
        _cleanup_free_ char *path = xprintf("%s/sa.key", dir);
        return file_write_atomic(path, str_of(p->sa_key), 0600, err);
}

int pki_load(const struct pki_options *o, struct pki *ret, bool *ret_changed, struct error *err) {
        _cleanup_(pki_free) struct pki p = { 0 };
        bool changed = false;
        TRY(file_mkdirs(o->dir, 0700, err));
        struct ca ca = { 0 }, front = { 0 };
        int r = load_ca(o->dir, "ca", "kubernetes", &ca, err);
        if (r == 0)
                r = load_ca(o->dir, "front-proxy-ca", "front-proxy-ca", &front, err);
        p.ca_cert = ca.cert;
        p.ca_key = ca.key;
        p.front_proxy_ca_cert = front.cert;
        p.front_proxy_ca_key = front.key;
        if (r < 0)
                return r;

        _cleanup_free_ char *svc = xprintf("kubernetes.default.svc.%s", o->cluster_domain);
        _cleanup_free_ char *node_cn = xprintf("system:node:%s", o->node_name);
        const struct leaf leaves[] = {
                { "apiserver",
                  "kube-apiserver",
                  NULL,
                  true,
                  { "kubernetes", "kubernetes.default", "kubernetes.default.svc", svc, "localhost", "127.0.0.1",
                    o->node_name, o->api_service_ip, o->node_ip, o->extra_name },
                  &p.apiserver_cert,
                  &p.apiserver_key },
                { "kubelet",
                  node_cn,
                  "system:nodes",
                  true,
                  { o->node_name, "localhost", "127.0.0.1", o->node_ip },
                  &p.kubelet_cert,
                  &p.kubelet_key },
                { "apiserver-kubelet-client",
                  "kube-apiserver-kubelet-client",
                  "system:masters",
                  false,
                  { NULL },
                  &p.apiserver_kubelet_cert,
                  &p.apiserver_kubelet_key },
                { "admin", "kubernetes-admin", "system:masters", false, { NULL }, &p.admin_cert, &p.admin_key },
                { "front-proxy-client",
                  "front-proxy-client",
                  NULL,
                  false,
                  { NULL },
                  &p.front_proxy_client_cert,
                  &p.front_proxy_client_key,
                  true },
        };
        for (size_t i = 0; i < ARRAY_SIZE(leaves); i++)
                TRY(load_leaf(&leaves[i], o->dir, leaves[i].front_proxy ? &front : &ca, &changed, err));
        TRY(load_sa_key(o->dir, &p, err));
        *ret = p;
        p = (struct pki) { 0 };
        if (ret_changed)
                *ret_changed = changed;
        return 0;
}

void pki_free(struct pki *p) {
        char **all[] = { &p->ca_cert,
                         &p->ca_key,
                         &p->apiserver_cert,
                         &p->apiserver_key,
                         &p->kubelet_cert,
                         &p->kubelet_key,
                         &p->apiserver_kubelet_cert,
                         &p->apiserver_kubelet_key,
                         &p->admin_cert,
                         &p->admin_key,
                         &p->front_proxy_ca_cert,
                         &p->front_proxy_ca_key,
                         &p->front_proxy_client_cert,
                         &p->front_proxy_client_key,
                         &p->sa_key };
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                free(*all[i]);
                *all[i] = NULL;
        }
}
