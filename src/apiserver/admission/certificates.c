/* CertificateSigningRequests: who may approve and sign for a signer, and whom nobody may ask to become. Each function
 * is a plugin's half in the table of admission.c.
 * https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/ */
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "apiserver/admission/admission.h"
#include "base/encode.h"
#include "base/metrics.h"
#include "schema/types.h"

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)

static struct str signer_of(const struct json *csr) {
        return json_str(json_at_path(csr, "spec", "signerName"));
}

/* For this signer, or for all of its domain. */
static int need_right(struct admission *ad, const char *verb, struct error *err) {
        struct str signer = signer_of(ad->old);
        ssize_t slash = str_find(signer, '/');
        struct str names[] = { signer,
                               arena_printf(ad->a, "%" STR_FMT "/*",
                                            STR_ARG(str_sub(signer, 0, slash < 0 ? signer.n : (size_t) slash))) };

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                struct attributes at = { .verb = verb,
                                         .group = STR("certificates.k8s.io"),
                                         .version = STR("*"),
                                         .resource = STR("signers"),
                                         .name = names[i] };
                int r = authorize_or_error(ad->s, &ad->op->c->user, &at, err);

                if (r == 0 || r == -EINPROGRESS)
                        return r;
                error_clear(err);
        }
        return admission_forbid(ad, err, "user not permitted to %s requests with signerName \"%" STR_FMT "\"", verb,
                                STR_ARG(signer));
}

int admission_certificate_approval(struct admission *ad, struct error *err) {
        return admission_is_sub(ad, &res_certificatesigningrequests, "approval") ? need_right(ad, "approve", err) : 0;
}

static bool differs(const struct admission *ad, const char *key) {
        const struct json *now = json_at_path(ad->obj, "status", key), *old = json_at_path(ad->old, "status", key);

        return now && old ? !json_equal(now, old) : json_len(now) + json_str(now).n != json_len(old) + json_str(old).n;
}

/* NULL when text is not base64 of any PEM. */
static BIO *open_pem(struct str text) {
        _cleanup_buf_ struct buf pem = BUF_INIT;

        if (base64_decode(&pem, text) < 0 || pem.n == 0)
                return NULL;
        BIO *bio = BIO_new(BIO_s_mem());
        BIO_write(bio, pem.p, (int) pem.n);
        return bio;
}

/* Of a certificate that is new: whether it lives as long as was asked for, give or take. */
static void count_duration(struct admission *ad) {
        METRIC(requested, COUNTER, "apiserver_certificates_registry_csr_requested_duration_total",
               "[ALPHA] Total number of issued CSRs with a requested duration, sliced by signer (only kubernetes.io "
               "signer names are specifically identified)");
        METRIC(honored, COUNTER, "apiserver_certificates_registry_csr_honored_duration_total",
               "[ALPHA] Total number of issued CSRs with a requested duration that was honored, sliced by signer (only "
               "kubernetes.io signer names are specifically identified)");
        const struct json *want = json_at_path(ad->old, "spec", "expirationSeconds");
        struct str text = json_str(json_at_path(ad->obj, "status", "certificate")), signer = signer_of(ad->old);
        _cleanup_(BIO_free_allp) BIO *bio = text.n > 0 && want ? open_pem(text) : NULL;
        _cleanup_(X509_freep) X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        int days, seconds;

        if (!cert || ad->op->c->options.dry_run || json_str(json_at_path(ad->old, "status", "certificate")).n > 0)
                return;
        if (!str_has_prefix(signer, STR("kubernetes.io/")))
                signer = STR("other");
        series_add(SERIES(&requested, { "signerName", signer }), 1);
        if (!ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(cert), X509_get0_notAfter(cert)))
                return;
        int64_t off = llabs(json_int(want) - (days * INT64_C(86400) + seconds));
        if (off < 300 + json_int(want) / 20)
                series_add(SERIES(&honored, { "signerName", signer }), 1);
}

int admission_certificate_signing(struct admission *ad, struct error *err) {
        if (!admission_is_sub(ad, &res_certificatesigningrequests, "status") ||
            (!differs(ad, "certificate") && !differs(ad, "conditions")))
                return 0;
        TRY(need_right(ad, "sign", err));
        count_duration(ad);
        return 0;
}

/* One of the subject's organizations, that is one of the user's groups. */
static bool has_organization(const X509_NAME *subject, const char *want) {
        for (int at = -1; (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0;) {
                const ASN1_STRING *s = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
                unsigned char *text = NULL;
                int n = ASN1_STRING_to_UTF8(&text, s);
                bool same = n >= 0 && str_eqc(str_n((const char *) text, (size_t) n), want);

                OPENSSL_free(text);
                if (same)
                        return true;
        }
        return false;
}

#define NO_REQUEST "PEM block type must be CERTIFICATE REQUEST"

/* What the object has in PEM, or NULL. */
static X509_REQ *parse_request(const struct json *csr) {
        _cleanup_(BIO_free_allp) BIO *bio = open_pem(json_str(json_at_path(csr, "spec", "request")));

        return bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
}

int admission_certificate_subject(struct admission *ad, struct error *err) {
        static const char client[] = "kubernetes.io/kube-apiserver-client";

        if (!admission_is(ad, &res_certificatesigningrequests) || !str_eqc(signer_of(ad->obj), client))
                return 0;
        _cleanup_(X509_REQ_freep) X509_REQ *request = parse_request(ad->obj);
        if (!request)
                return admission_forbid(ad, err, "failed to parse CSR: " NO_REQUEST);
        if (!has_organization(X509_REQ_get_subject_name(request), "system:masters"))
                return 0;
        return admission_forbid(ad, err, "use of %s signer with system:masters group is not allowed", client);
}

int admission_node_request(struct op *op, const struct json *csr, struct str node, struct error *err) {
        static const char *const kubelets[] = { "kubernetes.io/kubelet-serving",
                                                "kubernetes.io/kube-apiserver-client-kubelet", NULL };
        struct str want = arena_printf(op->c->arena, "system:node:%" STR_FMT, STR_ARG(node));
        char name[256] = "";

        if (!str_among(signer_of(csr), kubelets))
                return 0;
        _cleanup_(X509_REQ_freep) X509_REQ *request = parse_request(csr);
        if (!request)
                return err_forbidden(err, op->rest, op->name, "unable to parse csr: " NO_REQUEST);
        X509_NAME_get_text_by_NID(X509_REQ_get_subject_name(request), NID_commonName, name, sizeof(name));
        return str_eqc(want, name) ? 0
                                   : err_forbidden(err, op->rest, op->name,
                                                   "can only create a node CSR with CN=%" STR_FMT, STR_ARG(want));
}
