/* CertificateSigningRequests: signs what is approved, for the signers that are the cluster's own.
 * https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/ */
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "base/encode.h"
#include "controllers/conditions.h"
#include "controllers/controller.h"
#include "controllers/csr.h"
#include "schema/types.h"

#define YEAR_SECONDS (365 * 86400)
#define BACKDATE_SECONDS 300
#define MIN_SECONDS 600
#define SHORT_SECONDS (8 * 3600) /* what lives longer ends as much earlier as it began */

struct signer {
        X509 *ca;
        EVP_PKEY *key;
};

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(ASN1_INTEGER *, ASN1_INTEGER_free)
DEFINE_CLEANUP(BIGNUM *, BN_free)

/* ---- what is asked for ---- */

/* What each signer takes: usages it needs and those it allows besides; nodes: the subject is one, and which alternative
 * names it may have. */
static const struct {
        const char *name;
        const char *needed;
        const char *allowed[3];
        bool any_usage, node, names; /* names: DNS or IP, at least one; else, for a node, none */
} signers[] = {
        { "kubernetes.io/kube-apiserver-client",
          "client auth",
          { "digital signature", "key encipherment" },
          .node = false },
        { "kubernetes.io/kube-apiserver-client-kubelet",
          "client auth",
          { "digital signature", "key encipherment" },
          .node = true },
        { "kubernetes.io/kubelet-serving",
          "server auth",
          { "digital signature", "key encipherment" },
          .node = true,
          .names = true },
        { "kubernetes.io/legacy-unknown", .any_usage = true },
};

static const struct {
        const char *usage, *key_usage, *extended;
} usages[] = {
        { "digital signature", "digitalSignature", NULL },
        { "key encipherment", "keyEncipherment", NULL },
        { "data encipherment", "dataEncipherment", NULL },
        { "key agreement", "keyAgreement", NULL },
        { "content commitment", "nonRepudiation", NULL },
        { "signing", "digitalSignature", NULL },
        { "client auth", NULL, "clientAuth" },
        { "server auth", NULL, "serverAuth" },
        { "code signing", NULL, "codeSigning" },
        { "email protection", NULL, "emailProtection" },
        { "s/mime", NULL, "emailProtection" },
        { "cert sign", "keyCertSign", NULL },
        { "crl sign", "cRLSign", NULL },
        { "encipher only", "encipherOnly", NULL },
        { "decipher only", "decipherOnly", NULL },
        { "any", NULL, "anyExtendedKeyUsage" },
        { "ipsec end system", NULL, "ipsecEndSystem" },
        { "ipsec tunnel", NULL, "ipsecTunnel" },
        { "ipsec user", NULL, "ipsecUser" },
        { "timestamping", NULL, "timeStamping" },
        { "ocsp signing", NULL, "OCSPSigning" },
        { "microsoft sgc", NULL, "msSGC" },
        { "netscape sgc", NULL, "nsSGC" },
};

static void add_word(struct buf *b, const char *word) {
        if (!word)
                return;
        buf_printf(b, "%s%s", b->n ? "," : "", word);
}

static int read_usages(const struct json *spec, struct buf *key_usage, struct buf *extended, struct error *err) {
        json_each_item(u, CertificateSigningRequestSpec_usages(spec)) {
                size_t i;

                for (i = 0; i < ARRAY_SIZE(usages) && !str_eqc(json_str(u), usages[i].usage); i++)
                        ;
                if (i == ARRAY_SIZE(usages))
                        return error_set(err, -EINVAL, "unrecognized usage: %" STR_FMT, STR_ARG(json_str(u)));
                add_word(key_usage, usages[i].key_usage);
                add_word(extended, usages[i].extended);
        }
        return 0;
}

int csr_read_request(const struct json *spec, X509_REQ **ret, struct error *err) {
        _cleanup_buf_ struct buf pem = BUF_INIT;
        _cleanup_(BIO_free_allp) BIO *bio = NULL;

        if (base64_decode(&pem, CertificateSigningRequestSpec_request(spec)) < 0 || pem.n == 0)
                return error_set(err, -EINVAL, "the request is not base64");
        bio = BIO_new_mem_buf(pem.p, (int) pem.n);
        _cleanup_(X509_REQ_freep) X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
        if (!request)
                return error_set(err, -EINVAL, "PEM block type must be CERTIFICATE REQUEST");
        EVP_PKEY *key = X509_REQ_get0_pubkey(request);
        if (!key || X509_REQ_verify(request, key) != 1)
                return error_set(err, -EINVAL, "unable to verify certificate request signature");
        *ret = TAKE_PTR(request);
        return 0;
}

struct str csr_common_name(const X509_REQ *request, char dst[static 256]) {
        dst[0] = '\0';
        X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(request), NID_commonName, dst, 256);
        return str_of(dst);
}

static int check_subject(const X509_REQ *request, struct error *err) {
        X509_NAME *subject = X509_REQ_get_subject_name(request);
        int first = X509_NAME_get_index_by_NID(subject, NID_organizationName, -1);
        char text[256] = "";

        X509_NAME_get_text_by_NID(subject, NID_organizationName, text, sizeof(text));
        if (strcmp(text, "system:nodes") != 0 || X509_NAME_get_index_by_NID(subject, NID_organizationName, first) >= 0)
                return error_set(err, -EINVAL, "subject organization is not system:nodes");
        if (!str_has_prefix(csr_common_name(request, text), STR("system:node:")))
                return error_set(err, -EINVAL, "subject common name does not begin with system:node:");
        return 0;
}

static int check_names(const X509_REQ *request, bool wanted, struct error *err) {
        static const struct {
                int type;
                const char *name;
                bool host;
        } kinds[] = { { GEN_DNS, "DNS", true },
                      { GEN_EMAIL, "Email", false },
                      { GEN_IPADD, "IP", true },
                      { GEN_URI, "URI", false } };
        STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions((X509_REQ *) request);
        GENERAL_NAMES *names = X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL);
        bool has[ARRAY_SIZE(kinds)] = { 0 };

        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
                for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
                        has[k] = has[k] || sk_GENERAL_NAME_value(names, i)->type == kinds[k].type;
        GENERAL_NAMES_free(names);
        sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
        if (wanted && !has[0] && !has[2])
                return error_set(err, -EINVAL, "DNS or IP subjectAltName is required");
        for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
                if (has[k] && !(wanted && kinds[k].host))
                        return error_set(err, -EINVAL, "%s subjectAltNames are not allowed", kinds[k].name);
        return 0;
}

static bool has_usage(const struct json *spec, const char *usage) {
        return json_has_str(CertificateSigningRequestSpec_usages(spec), str_of(usage));
}

/* A kubelet's certificate has exactly its usages, with or without "key encipherment"; a client's may lack others. */
static int check_usages(const struct json *spec, size_t signer, struct error *err) {
        const char *needed = signers[signer].needed;

        if (signers[signer].any_usage)
                return 0;
        json_each_item(u, CertificateSigningRequestSpec_usages(spec)) {
                bool fine = str_eqc(json_str(u), needed);

                for (size_t i = 0; signers[signer].allowed[i]; i++)
                        fine = fine || str_eqc(json_str(u), signers[signer].allowed[i]);
                if (!fine && !signers[signer].node)
                        return error_set(err, -EINVAL, "invalid usage for client certificate: %" STR_FMT,
                                         STR_ARG(json_str(u)));
                if (!fine)
                        goto mismatch;
        }
        if (has_usage(spec, needed) && (!signers[signer].node || has_usage(spec, "digital signature")))
                return 0;
        if (!signers[signer].node)
                return error_set(err, -EINVAL, "missing required usage for client certificate: %s", needed);
mismatch:
        return strcmp(needed, "client auth") == 0
                               ? error_set(err, -EINVAL,
                                           "usages did not match [client auth digital signature key encipherment]")
                               : error_set(err, -EINVAL,
                                           "usages did not match [digital signature key encipherment server auth]");
}

static size_t find_signer(const struct json *spec) {
        size_t i;

        for (i = 0; i < ARRAY_SIZE(signers); i++)
                if (str_eqc(CertificateSigningRequestSpec_signerName(spec), signers[i].name))
                        break;
        return i;
}

int csr_check(const struct json *spec, const X509_REQ *request, struct error *err) {
        size_t signer = find_signer(spec);
        int r = 0;

        if (signer == ARRAY_SIZE(signers))
                return -ENOENT;
        if (signers[signer].node)
                r = check_subject(request, err);
        if (r == 0 && signers[signer].node)
                r = check_names(request, signers[signer].names, err);
        return r < 0 ? r : check_usages(spec, signer, err);
}

/* ---- signing ---- */

static bool add_extension(X509 *cert, X509 *ca, int nid, const char *value) {
        X509V3_CTX ctx;

        X509V3_set_ctx(&ctx, ca, cert, NULL, NULL, 0);
        X509V3_set_ctx_nodb(&ctx);
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
        bool ok = e && X509_add_ext(cert, e, -1) == 1;
        X509_EXTENSION_free(e);
        return ok;
}

/* Of the extensions asked for only the alternative names are taken over. */
static bool copy_names(X509 *cert, X509_REQ *request) {
        STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(request);
        int at = X509v3_get_ext_by_NID(all, NID_subject_alt_name, -1);
        bool ok = at < 0 || X509_add_ext(cert, X509v3_get_ext(all, at), -1) == 1;

        sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
        return ok;
}

static bool set_serial(X509 *cert) {
        _cleanup_(BN_freep) BIGNUM *n = BN_new();

        if (!BN_rand(n, 127, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY))
                return false;
        _cleanup_(ASN1_INTEGER_freep) ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(n, NULL);
        return serial && X509_set_serialNumber(cert, serial) == 1;
}

static bool set_times(X509 *cert, X509 *ca, int64_t now, int64_t seconds) {
        ASN1_TIME_set(X509_getm_notBefore(cert), now - BACKDATE_SECONDS);
        ASN1_TIME *end = ASN1_TIME_set(X509_getm_notAfter(cert),
                                       now + seconds - (seconds < SHORT_SECONDS ? 0 : BACKDATE_SECONDS));
        if (end && ASN1_TIME_compare(X509_get0_notAfter(ca), end) < 0) /* not beyond our own */
                return X509_set1_notAfter(cert, X509_get0_notAfter(ca)) == 1;
        return end != NULL;
}

static int sign(const struct signer *s, X509_REQ *request, const struct buf *key_usage, const struct buf *extended,
                int64_t now, int64_t seconds, struct buf *ret_pem, struct error *err) {
        _cleanup_(X509_freep) X509 *cert = X509_new();
        _cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
        _cleanup_free_ char *words = xprintf("critical,%.*s", (int) key_usage->n, key_usage->p ? key_usage->p : ""),
                            *purposes = str_dup(str_n(extended->p ? extended->p : "", extended->n));
        char *data;
        long n;
        bool ok;

        ok = X509_set_version(cert, 2) && set_serial(cert) &&
             X509_set_subject_name(cert, X509_REQ_get_subject_name(request)) &&
             X509_set_issuer_name(cert, X509_get_subject_name(s->ca)) &&
             X509_set_pubkey(cert, X509_REQ_get0_pubkey(request)) && set_times(cert, s->ca, now, seconds) &&
             add_extension(cert, s->ca, NID_basic_constraints, "critical,CA:FALSE") &&
             (key_usage->n == 0 || add_extension(cert, s->ca, NID_key_usage, words)) &&
             (extended->n == 0 || add_extension(cert, s->ca, NID_ext_key_usage, purposes)) &&
             copy_names(cert, request) && add_extension(cert, s->ca, NID_authority_key_identifier, "keyid") &&
             X509_sign(cert, s->key, EVP_sha256()) > 0 && PEM_write_bio_X509(bio, cert);
        if (!ok)
                return error_set(err, -EIO, "the certificate could not be made");
        n = BIO_get_mem_data(bio, &data);
        buf_add(ret_pem, data, (size_t) n);
        return 0;
}

/* ---- the controller ---- */

static int make_certificate(struct controller *c, const struct json *spec, struct buf *ret_pem, struct error *err) {
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        _cleanup_buf_ struct buf key_usage = BUF_INIT, extended = BUF_INIT;
        int64_t seconds = CertificateSigningRequestSpec_has_expirationSeconds(spec)
                                          ? CertificateSigningRequestSpec_expirationSeconds(spec)
                                          : YEAR_SECONDS;

        TRY(csr_read_request(spec, &request, err));
        TRY(csr_check(spec, request, err));
        TRY(read_usages(spec, &key_usage, &extended, err));
        return sign(c->state, request, &key_usage, &extended, controller_now(c) / NSEC_PER_SEC,
                    MAX(MIN(seconds, YEAR_SECONDS), MIN_SECONDS), ret_pem, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct object *csr = informer_get(controller_informer(c, &res_certificatesigningrequests), key);
        _cleanup_buf_ struct buf pem = BUF_INIT, text = BUF_INIT;

        if (!csr || !c->state)
                return 0;
        const struct json *spec = CertificateSigningRequest_spec(object_json(csr));
        const struct json *old = CertificateSigningRequest_status(object_json(csr));
        if (find_signer(spec) == ARRAY_SIZE(signers) || !condition_is(old, "Approved", "True") ||
            condition_find(old, "Denied") || condition_find(old, "Failed") ||
            !str_empty(CertificateSigningRequestStatus_certificate(old)))
                return 0;
        a = arena_new(0);
        struct json status = status_copy(a, old);
        int r = make_certificate(c, spec, &pem, err);
        if (r == -EINVAL) { /* it will not get better */
                condition_set(a, &status,
                              &(struct condition) { "Failed", "True", "SignerValidationFailure", error_text(err) },
                              controller_now(c), CONDITION_UPDATE_TIME);
                r = controller_update_status(c, &res_certificatesigningrequests, csr, &status, NULL);
                error_clear(err);
                return r;
        }
        if (r < 0)
                return r;
        base64_encode(&text, buf_str(&pem));
        json_set_str(a, &status, "certificate", buf_str(&text));
        return controller_update_status(c, &res_certificatesigningrequests, csr, &status, err);
}

static void destroy(void *state) {
        struct signer *s = state;

        X509_free(s->ca);
        EVP_PKEY_free(s->key);
        free(s);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        const struct controllers_options *o = controllers_options(c->all);
        _cleanup_(BIO_free_allp) BIO *cert = NULL, *key = NULL;

        if (str_empty(o->signer_cert_pem) || str_empty(o->signer_key_pem))
                return 0; /* somebody else signs */
        struct signer *s = xcalloc(1, sizeof(*s));
        *ret_state = s;
        cert = BIO_new_mem_buf(o->signer_cert_pem.p, (int) o->signer_cert_pem.n);
        key = BIO_new_mem_buf(o->signer_key_pem.p, (int) o->signer_key_pem.n);
        s->ca = PEM_read_bio_X509(cert, NULL, NULL, NULL);
        s->key = PEM_read_bio_PrivateKey(key, NULL, NULL, NULL);
        if (!s->ca || !s->key)
                return error_set(err, -EINVAL, "the signing certificate or its key cannot be read");
        return 0;
}

const struct controller_class csrsigning_controller = {
        .name = "certificatesigningrequest-signing-controller",
        .account = "certificate-controller",
        .watches = { { &res_certificatesigningrequests, enqueue_self } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};
