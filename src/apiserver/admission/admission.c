/* Admission plugins, in upstream's order. Each looks at one thing and is a line in the table at the end. */
#include <errno.h>

#include "apiserver/admission/configs.h"
#include "apiserver/writes.h"
#include "schema/types.h"

#define ON_CREATE (1U << ADMIT_CREATE)
#define ON_UPDATE (1U << ADMIT_UPDATE)
#define ON_DELETE (1U << ADMIT_DELETE)
#define ON_CONNECT (1U << ADMIT_CONNECT)
#define ON_ALL (ON_CREATE | ON_UPDATE | ON_DELETE | ON_CONNECT)
#define ON_WRITE (ON_CREATE | ON_UPDATE)

struct object *admission_ns(struct admission *ad) {
        if (!ad->ns)
                ad->ns = server_get(ad->s, ad->op->snap, &res_namespaces, STR(""), ad->op->namespace);
        return ad->ns;
}

/* ---- NamespaceLifecycle ---- */

static int namespace_lifecycle(struct admission *r, struct error *err) {
        static const char *const immortal[] = { "default", "kube-system", "kube-public" };
        const struct rest *rest = r->op->rest;
        struct object *ns;

        if (r->operation == ADMIT_DELETE && admission_is(r, &res_namespaces)) {
                for (size_t i = 0; i < ARRAY_SIZE(immortal); i++)
                        if (str_eqc(r->op->name, immortal[i]))
                                return err_forbidden(err, rest, r->op->name, "this namespace may not be deleted");
                return 0;
        }
        if (r->operation != ADMIT_CREATE || !rest->resource->namespaced)
                return 0;
        ns = admission_ns(r);
        if (!ns)
                return err_not_found(err, rest_of(r->s, &res_namespaces), r->op->namespace);
        if (!object_deleting(ns))
                return 0;
        err_forbidden(err, rest, r->op->name,
                      "unable to create new content in namespace %" STR_FMT " because it is being terminated",
                      STR_ARG(r->op->namespace));
        error_add_cause(err, "NamespaceTerminating", STR("metadata.namespace"),
                        "namespace %" STR_FMT " is being terminated", STR_ARG(r->op->namespace));
        return -EACCES;
}

static int node_restriction(struct admission *r, struct error *err) {
        return admission_node_restriction(r->op, r->operation, r->obj, r->old, err);
}

/* ---- the table ---- */

static const struct admission_plugin plugins[] = {
        { "NamespaceLifecycle", ON_CREATE | ON_DELETE, namespace_lifecycle, NULL },
        { "LimitRanger", ON_WRITE, admission_limit_defaults, admission_limits },
        { "ServiceAccount", ON_WRITE, admission_service_account, admission_check_account },
        { "NodeRestriction", ON_CREATE | ON_UPDATE | ON_DELETE, node_restriction, NULL },
        { "TaintNodesByCondition", ON_CREATE, admission_taint_node, NULL },
        { "PodSecurity", ON_WRITE, NULL, admission_pod_security },
        { "Priority", ON_WRITE, admission_priority, admission_priority_class },
        { "DefaultTolerationSeconds", ON_WRITE, admission_default_tolerations, NULL },
        { "DefaultStorageClass", ON_CREATE, admission_default_storage_class, NULL },
        { "StorageObjectInUseProtection", ON_CREATE, admission_protect_storage, NULL },
        { "PersistentVolumeClaimResize", ON_UPDATE, NULL, admission_claim_resize },
        { "RuntimeClass", ON_CREATE, admission_runtime_class, admission_check_overhead },
        { "CertificateApproval", ON_UPDATE, NULL, admission_certificate_approval },
        { "CertificateSigning", ON_UPDATE, NULL, admission_certificate_signing },
        { "CertificateSubjectRestriction", ON_CREATE, NULL, admission_certificate_subject },
        { "DefaultIngressClass", ON_CREATE, admission_default_ingress_class, NULL },
        /* what others have configured comes after all that is built in, but for what charges for what is written */
        { "MutatingAdmissionWebhook", ON_ALL, admission_webhooks_mutate, NULL },
        { "ValidatingAdmissionPolicy", ON_ALL, NULL, admission_policies },
        { "ValidatingAdmissionWebhook", ON_ALL, NULL, admission_webhooks_validate },
        { "ResourceQuota", ON_WRITE, NULL, admission_resource_quota },
};

/* ---- the way along it ---- */

static void finish(struct admission *ad) {
        struct op *op = ad->op;

        if (ad->changed && !ad->again && !ad->validating) {
                ad->again = true;
                ad->next = 0;
                admission_continue(ad, 0);
        } else {
                admission_observe(ad, NULL, now_mono_ns() - ad->since_ns, false);
                ad->then(op);
        }
}

void admission_continue(struct admission *ad, int result) {
        const struct admission_plugin *p;
        int (*look)(struct admission *ad, struct error *err);

        while (result != ADMISSION_WAITS) { /* then it is another's by now */
                if (ad->running) {
                        int64_t now = now_coarse_ns();

                        admission_observe(ad, ad->running, now - ad->running_ns, result < 0);
                        ad->running = NULL;
                        ad->running_ns = now;
                }
                if (result < 0 || ad->next == ARRAY_SIZE(plugins))
                        break;
                p = &plugins[ad->next++];
                look = ad->validating ? p->validate : p->admit;
                if (look && p->handles & 1U << ad->operation) {
                        ad->running = p;
                        result = look(ad, &ad->op->c->error);
                }
        }
        if (result == 0) {
                finish(ad);
        } else if (result < 0) {
                admission_observe(ad, NULL, now_mono_ns() - ad->since_ns, true);
                op_fail(ad->op);
        }
}

void admission_release(struct op *op) {
        if (op->admission && op->admission->set)
                admission_set_unref(TAKE_PTR(op->admission->set));
}

void admission_admit(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                     void (*then)(struct op *op)) {
        if (!op->admission)
                op->admission = arena_new_of(op->c->arena, struct admission);
        admission_release(op); /* of an earlier attempt */
        *op->admission = (struct admission){
                .op = op, .s = op->s, .a = op->c->arena, .operation = o, .obj = obj, .old = old, .then = then,
                .since_ns = now_mono_ns(), .running_ns = now_coarse_ns()
        };
        if (op->c->admitted)
                then(op);
        else
                admission_continue(op->admission, 0);
}

void admission_validate(struct op *op, void (*then)(struct op *op)) {
        struct admission *ad = op->admission;

        ad->validating = true;
        ad->since_ns = now_mono_ns();
        ad->running_ns = now_coarse_ns();
        ad->next = 0;
        ad->then = then;
        if (op->c->admitted)
                then(op);
        else
                admission_continue(ad, 0);
}

static void run_second_half(struct op *op) {
        admission_validate(op, op->admitted);
}

void admission_run(struct op *op, enum admission_operation o, struct json *obj, const struct json *old,
                   void (*then)(struct op *op)) {
        op->admitted = then;
        admission_admit(op, o, obj, old, run_second_half);
}
