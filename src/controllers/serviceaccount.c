/* Every namespace has a ServiceAccount "default"; and, rootca below, a ConfigMap "kube-root-ca.crt" by which its pods
 * know the API server. One shape, two objects. */
#include "controllers/controller.h"
#include "json/build.h"
#include "schema/types.h"

/* The namespace of an object that went or changed. */
static void enqueue_namespace(struct controller *c, struct object *old, struct object *new, const char *name) {
        struct object *o = new ? new : old;

        if (str_eqc(object_name(o), name))
                controller_enqueue_key(c, object_namespace(o));
}

static bool is_going(const struct object *ns) {
        return object_deleting(ns) || str_eqc(NamespaceStatus_phase(Namespace_status(object_json(ns))), "Terminating");
}

/* A namespace that begins to go while we write is no failure, nor is one who was faster. */
static int settle(int r, struct error *err) {
        if (r != -EEXIST && r != -EACCES && r != -ENOENT)
                return r;
        error_clear(err);
        return 0;
}

static int reconcile_account(struct controller *c, struct str key, struct error *err) {
        struct object *ns = informer_get(controller_informer(c, &res_namespaces), key);

        if (!ns || is_going(ns) || controller_get(c, &res_serviceaccounts, key, STR("default")))
                return 0;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json body = json_build(
                        a, "{ kind: 'ServiceAccount', apiVersion: 'v1', metadata: { name: 'default', namespace: %s } }",
                        key);
        return settle(controller_create(c, &res_serviceaccounts, key, &body, NULL, err), err);
}

static void enqueue_account(struct controller *c, struct object *old, struct object *new) {
        if (!new)
                enqueue_namespace(c, old, new, "default");
}

const struct controller_class serviceaccount_controller = {
        .name = "serviceaccount-controller",
        .account = "service-account-controller",
        .watches = { { &res_namespaces, enqueue_self }, { &res_serviceaccounts, enqueue_account } },
        .reconcile = reconcile_account,
};

/* ---- kube-root-ca.crt ---- */

#define ROOT_CA "kube-root-ca.crt"
#define DESCRIPTION                                                                                                 \
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as " \
        "the internal "                                                                                             \
        "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "    \
        "clusters."

static int reconcile_root_ca(struct controller *c, struct str key, struct error *err) {
        struct object *ns = informer_get(controller_informer(c, &res_namespaces), key), *current;
        struct str pem = controllers_options(c->all)->root_ca_pem;
        struct json body;

        if (!ns || is_going(ns) || str_empty(pem))
                return 0;
        current = controller_get(c, &res_configmaps, key, STR(ROOT_CA));
        if (current && str_eq(json_str(json_at_path(object_json(current), "data", "ca.crt")), pem) &&
            json_len(ConfigMap_data(object_json(current))) == 1)
                return 0;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        if (!current) {
                body = json_build(a,
                                  "{ kind: 'ConfigMap', apiVersion: 'v1', metadata: { name: '" ROOT_CA
                                  "', namespace: %s, annotations: {"
                                  "  'kubernetes.io/description': %c } }, data: { ca.crt: %s } }",
                                  key, DESCRIPTION, pem);
                return settle(controller_create(c, &res_configmaps, key, &body, NULL, err), err);
        }
        body = json_copy_tree(a, object_json(current));
        json_setc(a, &body, "data", json_build(a, "{ ca.crt: %s }", pem));
        return settle(controller_update(c, &res_configmaps, STR(""), &body, err), err);
}

static void enqueue_root_ca(struct controller *c, struct object *old, struct object *new) {
        enqueue_namespace(c, old, new, ROOT_CA);
}

const struct controller_class root_ca_controller = {
        .name = "root-ca-certificate-publisher-controller",
        .account = "root-ca-cert-publisher",
        .watches = { { &res_namespaces, enqueue_self }, { &res_configmaps, enqueue_root_ca } },
        .reconcile = reconcile_root_ca,
};
