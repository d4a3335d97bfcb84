/* CertificateSigningRequests: kubelets that may have their client certificate get it approved; requests that are done
 * with, or that nobody answers, go.
 * https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/ */
#include "controllers/conditions.h"
#include "controllers/controller.h"
#include "controllers/csr.h"
#include "controllers/pods.h"
#include "json/build.h"
#include "schema/types.h"

DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)

/* ---- approving ---- */

/* What allows a user to have a kubelet's certificate, by the right to create this subresource. */
static const struct {
        const char *subresource, *message;
        bool self; /* the user is the node already */
} rights[] = {
        { "selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.", true },
        { "nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.", false },
};

static int is_allowed(struct controller *c, struct arena *a, const struct json *spec, const char *subresource,
                      bool *ret, struct error *err) {
        _cleanup_(object_unrefp) struct object *answer = NULL;
        struct json review =
                        json_build(a,
                                   "{ spec: { user: %s, uid: %o, groups: %j, extra: %j, resourceAttributes: { verb: "
                                   "'create', group: 'certificates.k8s.io', version: '*', resource: "
                                   "'certificatesigningrequests', subresource: %c } } }",
                                   CertificateSigningRequestSpec_username(spec), json_str(json_getc(spec, "uid")),
                                   json_getc(spec, "groups"), json_getc(spec, "extra"), subresource);
        int r = client_create(c->client, &res_subjectaccessreviews, STR(""), &review, &answer, err);

        *ret = r == 0 && json_bool(json_at_path(object_json(answer), "status", "allowed"));
        return r;
}

static int approve(struct controller *c, struct arena *a, const struct object *csr, const char *message,
                   struct error *err) {
        struct json copy = json_copy_tree(a, object_json(csr)), status;

        status = status_copy(a, json_getc(&copy, "status"));
        condition_set(a, &status, &(struct condition) { "Approved", "True", "AutoApproved", message },
                      controller_now(c), CONDITION_UPDATE_TIME);
        json_setc(a, &copy, "status", status);
        return controller_update(c, &res_certificatesigningrequests, STR("approval"), &copy, err);
}

static bool is_answered(const struct json *status) {
        return condition_find(status, "Approved") || condition_find(status, "Denied") ||
               !str_empty(CertificateSigningRequestStatus_certificate(status));
}

static int reconcile_approval(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(X509_REQ_freep) X509_REQ *request = NULL;
        struct object *csr = informer_get(controller_informer(c, &res_certificatesigningrequests), key);
        const struct json *spec = csr ? CertificateSigningRequest_spec(object_json(csr)) : NULL;
        char name[256];

        if (!csr || is_answered(CertificateSigningRequest_status(object_json(csr))) ||
            !str_eqc(CertificateSigningRequestSpec_signerName(spec), "kubernetes.io/kube-apiserver-client-kubelet") ||
            csr_read_request(spec, &request, NULL) < 0 || csr_check(spec, request, NULL) < 0)
                return 0;
        for (size_t i = 0; i < ARRAY_SIZE(rights); i++) {
                bool allowed = false;

                if (rights[i].self &&
                    !str_eq(CertificateSigningRequestSpec_username(spec), csr_common_name(request, name)))
                        continue;
                TRY(is_allowed(c, a, spec, rights[i].subresource, &allowed, err));
                if (allowed)
                        return approve(c, a, csr, rights[i].message, err);
        }
        return 0;
}

/* ---- cleaning ---- */

#define ANSWERED_NS (3600LL * NSEC_PER_SEC)
#define PENDING_NS (24 * ANSWERED_NS)

/* NEVER - what is added: without its time a condition has no age. */
#define NEVER (INT64_MAX - PENDING_NS)

static int64_t told_at(const struct json *condition) {
        int64_t t;

        return time_parse(json_str(json_getc(condition, "lastUpdateTime")), &t) < 0 ? NEVER : t;
}

/* When a request has been here for long enough. */
static int64_t due_at(const struct object *csr) {
        const struct json *status = CertificateSigningRequest_status(object_json(csr));
        const struct json *denied = condition_find(status, "Denied"), *failed = condition_find(status, "Failed"),
                          *approved = condition_find(status, "Approved");

        if (denied || failed)
                return told_at(denied ? denied : failed) + ANSWERED_NS;
        if (approved)
                return told_at(approved) +
                       (str_empty(CertificateSigningRequestStatus_certificate(status)) ? PENDING_NS : ANSWERED_NS);
        return object_created_at(csr) + PENDING_NS;
}

static int reconcile_age(struct controller *c, struct str key, struct error *err) {
        struct object *csr = informer_get(controller_informer(c, &res_certificatesigningrequests), key);
        int64_t due = csr ? due_at(csr) : NEVER, left;

        if (due >= NEVER)
                return 0;
        left = due - controller_now(c);
        if (left <= 0)
                return controller_delete(c, &res_certificatesigningrequests, csr, NULL, err);
        controller_enqueue_after(c, key, (uint64_t) (left / NSEC_PER_MSEC) + 1);
        return 0;
}

const struct controller_class csrapproving_controller = {
        .name = "certificatesigningrequest-approving-controller",
        .account = "certificate-controller",
        .watches = { { &res_certificatesigningrequests, enqueue_self } },
        .reconcile = reconcile_approval,
}, csrcleaner_controller = {
        .name = "certificatesigningrequest-cleaner-controller",
        .account = "certificate-controller",
        .watches = { { &res_certificatesigningrequests, enqueue_self } },
        .reconcile = reconcile_age,
};
