/* NodeRestriction: a node changes itself, its lease, its CSINode, the status of its own pods, and asks for tokens of
 * their accounts. It creates mirror pods only, which refer to nothing.
 * https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction */
#include "apiserver/admission/admission.h"
#include "apiserver/auth/node_authz.h"
#include "base/faults.h"
#include "schema/types.h"

#define MIRROR "kubernetes.io/config.mirror"

struct check {
        struct op *op;
        struct str node;
        enum admission_operation operation;
        const struct json *obj, *old;
        struct error *err;
};

/* The reasons name the node first, most of them. */
#define no(k, fmt, ...) err_forbidden((k)->err, (k)->op->rest, (k)->op->name, fmt, ##__VA_ARGS__)
#define node_may_not(k, fmt, ...) no(k, "node \"%" STR_FMT "\" " fmt, STR_ARG((k)->node), ##__VA_ARGS__)

static const char *operation_name(const struct check *k) {
        static const char *const names[] = {
                [ADMIT_CREATE] = "CREATE", [ADMIT_UPDATE] = "UPDATE", [ADMIT_DELETE] = "DELETE"
        };

        return names[k->operation];
}

/* As upstream's caches say it. */
static int no_such(const struct check *k, const char *kind, struct str name) {
        error_status(k->err, REASON_NOT_FOUND, "%s \"%" STR_FMT "\" not found", kind, STR_ARG(name));
        error_details(k->err, name, STR(""), str_of(kind));
        return -ENOENT;
}

/* ---- pods ---- */

/* Some member below j has one of these names, and is no text: labels may be called so too. */
static bool has_member(const struct json *j, const char *const *keys) {
        json_each_item(i, j)
                if (has_member(i, keys))
                        return true;
        json_each_member(m, j) {
                for (size_t i = 0; keys[i]; i++)
                        if (str_eqc(json_key(m), keys[i]) && (json_is(&m->value, JSON_OBJECT) || json_len(&m->value)))
                                return true;
                if (has_member(&m->value, keys))
                        return true;
        }
        return false;
}

static int check_owner(const struct check *k) {
        const struct json *owners = json_at_path(k->obj, "metadata", "ownerReferences"), *o = json_item(owners, 0);
        struct str uid = json_str(json_getc(o, "uid"));

        if (json_len(owners) > 1)
                return node_may_not(k, "can only create pods with a single owner reference set to itself");
        if (!o || !str_eqc(json_str(json_getc(o, "apiVersion")), "v1") ||
            !str_eqc(json_str(json_getc(o, "kind")), "Node") || !str_eq(json_str(json_getc(o, "name")), k->node))
                return node_may_not(k, "can only create pods with an owner reference set to itself");
        if (!json_bool(json_getc(o, "controller")))
                return node_may_not(k, "can only create pods with a controller owner reference set to itself");
        if (json_bool(json_getc(o, "blockOwnerDeletion")))
                return node_may_not(k, "must not set blockOwnerDeletion on an owner reference");
        struct object *node = server_get(k->op->s, k->op->snap, &res_nodes, STR(""), k->node);
        if (!node)
                return no_such(k, "node", k->node);
        if (!str_eq(uid, object_uid(node)))
                return no(k, "node %" STR_FMT " UID mismatch: expected %" STR_FMT " got %" STR_FMT, STR_ARG(k->node),
                          STR_ARG(uid), STR_ARG(object_uid(node)));
        return 0;
}

bool admission_names_secrets(const struct json *spec) {
        static const char *const keys[] = {
                "secret", "secretRef", "secretKeyRef", "imagePullSecrets", "nodePublishSecretRef", "azureFile", NULL
        };

        return has_member(spec, keys);
}

static int check_references(const struct check *k) {
        static const struct {
                const char *what;
                const char *keys[4];
        } table[] = {
                { "configmaps", { "configMap", "configMapRef", "configMapKeyRef" } },
                { "clustertrustbundles", { "clusterTrustBundle" } },
                { "persistentvolumeclaims", { "persistentVolumeClaim" } },
        };
        const struct json *spec = json_getc(k->obj, "spec");

        if (!str_empty(json_str(json_getc(spec, "serviceAccountName"))))
                return node_may_not(k, "can not create pods that reference a service account");
        if (admission_names_secrets(spec))
                return node_may_not(k, "can not create pods that reference secrets");
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (has_member(spec, table[i].keys))
                        return node_may_not(k, "can not create pods that reference %s", table[i].what);
        if (json_len(json_at_path(k->op->c->body, "spec", "resourceClaims")) > 0) /* which are not kept */
                return node_may_not(k, "can not create pods that reference resourceclaims");
        return 0;
}

static bool is_own(const struct check *k, const struct json *pod) {
        return str_eq(json_str(json_at_path(pod, "spec", "nodeName")), k->node);
}

static int create_pod(const struct check *k) {
        if (!json_getc(json_at_path(k->obj, "metadata", "annotations"), MIRROR))
                return no(k,
                          "pod does not have \"" MIRROR "\" annotation, node \"%" STR_FMT
                          "\" can only create mirror pods",
                          STR_ARG(k->node));
        if (!is_own(k, k->obj))
                return node_may_not(k, "can only create pods with spec.nodeName set to itself");
        TRY(check_owner(k));
        return check_references(k);
}

static bool differ(const struct check *k, const char *part, const char *key) {
        const struct json *now = json_at_path(k->obj, part, key), *before = json_at_path(k->old, part, key);

        return (json_len(now) || json_len(before)) && !(now && before && json_equal(now, before));
}

static int check_pod_status(const struct check *k) {
        if (k->operation != ADMIT_UPDATE)
                return no(k, "unexpected operation \"%s\"", operation_name(k));
        if (!is_own(k, k->old))
                return node_may_not(k, "can only update pod status for pods with spec.nodeName set to itself");
        if (differ(k, "metadata", "labels"))
                return node_may_not(k, "cannot update labels through pod status");
        if (differ(k, "status", "resourceClaimStatuses"))
                return node_may_not(k, "cannot update resource claim statues");
        return 0;
}

static int check_eviction(const struct check *k) {
        struct object *pod = server_get(k->op->s, k->op->snap, &res_pods, k->op->namespace, k->op->name);

        if (!pod)
                return no_such(k, "pod", k->op->name);
        if (!is_own(k, object_json(pod)))
                return no(k, "node %" STR_FMT " can only evict pods with spec.nodeName set to itself",
                          STR_ARG(k->node));
        return 0;
}

static int check_pod(const struct check *k) {
        struct str sub = k->op->c->subresource;

        if (str_eqc(sub, "status"))
                return check_pod_status(k);
        if (str_eqc(sub, "eviction"))
                return check_eviction(k);
        if (!str_empty(sub))
                return no(k, "unexpected pod subresource \"%" STR_FMT "\", only 'status' and 'eviction' are allowed",
                          STR_ARG(sub));
        if (k->operation == ADMIT_CREATE)
                return create_pod(k);
        if (k->operation == ADMIT_UPDATE)
                return no(k,
                          "unexpected operation \"UPDATE\", node \"%" STR_FMT
                          "\" can only create and delete mirror pods",
                          STR_ARG(k->node));
        return is_own(k, k->old) ? 0 : node_may_not(k, "can only delete pods with spec.nodeName set to itself");
}

/* ---- its Node ---- */

static bool in_domain(struct str label, const char *domain) {
        ssize_t slash = str_find(label, '/');
        struct str ns = slash < 0 ? STR("") : str_sub(label, 0, (size_t) slash);
        size_t n = strlen(domain);

        return str_has_suffix(ns, str_of(domain)) && (ns.n == n || ns.p[ns.n - n - 1] == '.');
}

static bool is_forbidden_label(struct str label) {
        static const char *const own[] = { "kubernetes.io/hostname",
                                           "kubernetes.io/os",
                                           "kubernetes.io/arch",
                                           "topology.kubernetes.io/zone",
                                           "topology.kubernetes.io/region",
                                           "failure-domain.beta.kubernetes.io/zone",
                                           "failure-domain.beta.kubernetes.io/region",
                                           "node.kubernetes.io/instance-type",
                                           "beta.kubernetes.io/instance-type",
                                           "beta.kubernetes.io/os",
                                           "beta.kubernetes.io/arch",
                                           NULL };

        if (in_domain(label, "node-restriction.kubernetes.io"))
                return true;
        if (!in_domain(label, "kubernetes.io") && !in_domain(label, "k8s.io"))
                return false;
        return !str_among(label, own) && !in_domain(label, "kubelet.kubernetes.io") &&
               !in_domain(label, "node.kubernetes.io");
}

static void add_forbidden(struct arena *a, struct json *list, const struct json *labels, const struct json *other,
                          bool absent_only) {
        json_each_member(m, labels) {
                const struct json *o = json_get(other, json_key(m));

                if (is_forbidden_label(json_key(m)) && (absent_only ? !o : !o || !json_equal(o, &m->value)))
                        json_push(a, list, json_of_str(json_key(m)));
        }
}

/* The labels that differ and are not the node's to change, as "a, b"; empty: none. */
static struct str forbidden_labels(const struct check *k) {
        const struct json *new = json_at_path(k->obj, "metadata", "labels"),
                          *old = json_at_path(k->old, "metadata", "labels");
        struct arena *a = k->op->c->arena;
        struct json list = json_new_array();
        _cleanup_buf_ struct buf b = BUF_INIT;

        add_forbidden(a, &list, new, old, false);
        add_forbidden(a, &list, old, new, true);
        if (json_len(&list) == 0)
                return STR("");
        json_sort_texts(&list);
        json_each_item(l, &list)
                buf_printf(&b, "%s%" STR_FMT, b.n ? ", " : "", STR_ARG(json_str(l)));
        return arena_str(a, buf_str(&b));
}

static int check_node(const struct check *k) {
        if (!str_eq(k->op->name, k->node))
                return node_may_not(k, "is not allowed to modify node \"%" STR_FMT "\"", STR_ARG(k->op->name));
        if (k->operation == ADMIT_DELETE)
                return 0;
        struct str labels = forbidden_labels(k);
        if (k->operation == ADMIT_CREATE) {
                if (json_is(json_at_path(k->obj, "spec", "configSource"), JSON_OBJECT))
                        return node_may_not(k, "is not allowed to create pods with a non-nil configSource");
                if (labels.n > 0)
                        return node_may_not(k, "is not allowed to set the following labels: %" STR_FMT,
                                            STR_ARG(labels));
                return 0;
        }
        if (json_len(json_at_path(k->obj, "spec", "configSource")) && differ(k, "spec", "configSource"))
                return node_may_not(k, "is not allowed to update configSource to a new non-nil configSource");
        if (differ(k, "spec", "taints"))
                return node_may_not(k, "is not allowed to modify taints");
        if (differ(k, "metadata", "ownerReferences"))
                return node_may_not(k, "is not allowed to modify ownerReferences");
        if (labels.n > 0)
                return no(k, "is not allowed to modify labels: %" STR_FMT, STR_ARG(labels));
        return 0;
}

/* ---- the rest ---- */

static struct json without_volume_status(struct arena *a, const struct json *claim) {
        static const char *const status_keys[] = { "capacity", "conditions", "allocatedResources",
                                                   "allocatedResourceStatuses" };
        struct json c = json_copy_shallow(a, claim), meta = json_copy_shallow(a, json_getc(claim, "metadata"));
        struct json status = json_getc(claim, "status") ? json_copy_shallow(a, json_getc(claim, "status"))
                                                        : json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(status_keys); i++)
                json_removec(&status, status_keys[i]);
        json_removec(&meta, "managedFields");
        json_removec(&meta, "resourceVersion");
        json_setc(a, &c, "metadata", meta);
        json_setc(a, &c, "status", status);
        return c;
}

static int check_claim(const struct check *k) {
        struct arena *a = k->op->c->arena;

        if (!str_eqc(k->op->c->subresource, "status"))
                return no(k, "may only update PVC status");
        if (k->operation != ADMIT_UPDATE)
                return no(k, "unexpected operation \"%s\"", operation_name(k));
        struct json now = without_volume_status(a, k->obj);
        struct json before = without_volume_status(a, k->old);
        if (!json_equal(&now, &before))
                return node_may_not(k, "is not allowed to update fields other than status.quantity and "
                                       "status.conditions");
        return 0;
}

/* What is there; or NULL, and the error joins the others. */
static const struct json *find(const struct check *k, const struct api_resource *r, struct str ns, struct str name,
                               struct faults *errors) {
        struct object *o = name.n > 0 ? server_get(k->op->s, k->op->snap, r, ns, name) : NULL;
        const struct rest *rest = rest_of(k->op->s, r);

        if (o)
                return object_json(o);
        fault_add(errors, "%.*s%s%" STR_FMT " \"%" STR_FMT "\" not found", (int) rest->plural.n - 1, rest->plural.p,
                  rest->group.n ? "." : "", STR_ARG(rest->group), STR_ARG(name));
        return NULL;
}

/* The driver of a volume; those that were part of Kubernetes once have one now. */
static struct str driver_of(const struct json *volume) {
        static const char *const moved[][2] = {
                { "awsElasticBlockStore", "ebs.csi.aws.com" }, { "gcePersistentDisk", "pd.csi.storage.gke.io" },
                { "azureDisk", "disk.csi.azure.com" },         { "azureFile", "file.csi.azure.com" },
                { "cinder", "cinder.csi.openstack.org" },      { "vsphereVolume", "csi.vsphere.vmware.com" },
                { "portworxVolume", "pxd.portworx.com" }
        };

        for (size_t i = 0; i < ARRAY_SIZE(moved); i++)
                if (json_getc(volume, moved[i][0]))
                        return str_of(moved[i][1]);
        return json_str(json_at_path(volume, "csi", "driver"));
}

/* Tokens for this audience are what the volume has in it, or what its driver asks for. */
static bool volume_needs(const struct check *k, const struct json *pod, const struct json *volume, struct str audience,
                         struct faults *errors) {
        struct str ns = k->op->namespace, claim = json_str(json_at_path(volume, "persistentVolumeClaim", "claimName"));
        struct str driver = driver_of(volume);
        const struct json *found;

        json_each_item(s, json_at_path(volume, "projected", "sources")) {
                const struct json *token = json_getc(s, "serviceAccountToken");

                if (token && str_eq(json_str(json_getc(token, "audience")), audience))
                        return true;
        }
        if (json_getc(volume, "ephemeral"))
                claim = arena_printf(k->op->c->arena, "%" STR_FMT "-%" STR_FMT,
                                     STR_ARG(json_str(json_at_path(pod, "metadata", "name"))),
                                     STR_ARG(json_str(json_getc(volume, "name"))));
        if (claim.n > 0) {
                found = find(k, &res_persistentvolumeclaims, ns, claim, errors);
                if (found)
                        found = find(k, &res_persistentvolumes, STR(""),
                                     json_str(json_at_path(found, "spec", "volumeName")), errors);
                driver = driver_of(json_getc(found, "spec"));
        }
        found = driver.n > 0 ? find(k, &res_csidrivers, STR(""), driver, errors) : NULL;
        return json_find_by(json_at_path(found, "spec", "tokenRequests"), "audience", audience);
}

/* A node has tokens for what its pods need them for, and for whom it was given the right (KEP-4412). */
static int check_audience(const struct check *k, const struct json *pod) {
        const struct json *audiences = json_at_path(k->obj, "spec", "audiences");
        struct str audience = json_str(json_item(audiences, 0));
        _cleanup_faults_ struct faults errors = { 0 };
        struct attributes at = { .verb = "request-serviceaccounts-token-audience",
                                 .version = STR("v1"),
                                 .resource = audience,
                                 .namespace = k->op->namespace,
                                 .name = k->op->name };

        if (json_len(audiences) > 1)
                return no(k, "node may only request 0 or 1 audiences");
        json_each_item(v, json_at_path(pod, "spec", "volumes"))
                if (volume_needs(k, pod, v, audience, &errors))
                        return 0;
        if (errors.n)
                return no(k, "error validating audience \"%" STR_FMT "\": %" STR_FMT, STR_ARG(audience),
                          STR_ARG(faults_text(&errors)));
        if (authorize_why(k->op->s, &k->op->c->user, &at, NULL) == AUTHZ_ALLOW)
                return 0;
        return no(k,
                  "audience \"%" STR_FMT "\" not found in pod spec volume, %" STR_FMT
                  " is not authorized to request tokens for this audience",
                  STR_ARG(audience), STR_ARG(k->op->c->user.name));
}

static int check_token(const struct check *k) {
        const struct json *ref = json_at_path(k->obj, "spec", "boundObjectRef");
        struct str name = json_str(json_getc(ref, "name")), uid = json_str(json_getc(ref, "uid"));

        if (k->operation != ADMIT_CREATE || !str_eqc(k->op->c->subresource, "token"))
                return 0;
        if (!str_eqc(json_str(json_getc(ref, "apiVersion")), "v1") ||
            !str_eqc(json_str(json_getc(ref, "kind")), "Pod") || str_empty(name))
                return no(k, "node requested token not bound to a pod");
        if (str_empty(uid))
                return no(k, "node requested token with a pod binding without a uid");
        struct object *pod = server_get(k->op->s, k->op->snap, &res_pods, k->op->namespace, name);
        if (!pod)
                return no_such(k, "pod", name);
        if (!str_eq(uid, object_uid(pod)))
                return no(k,
                          "the UID in the bound object reference (%" STR_FMT
                          ") does not match the UID in record. The object might have been deleted and then "
                          "recreated",
                          STR_ARG(uid));
        if (!is_own(k, object_json(pod)))
                return no(k, "node requested token bound to a pod scheduled on a different node");
        return check_audience(k, object_json(pod));
}

/* A name that is still to be made is none. */
static bool is_named_as_node(const struct check *k) {
        return str_eq(k->operation == ADMIT_CREATE ? json_str(json_at_path(k->obj, "metadata", "name")) : k->op->name,
                      k->node);
}

static int check_lease(const struct check *k) {
        if (!str_eqc(k->op->namespace, "kube-node-lease"))
                return no(k, "can only access leases in the \"kube-node-lease\" system namespace");
        return is_named_as_node(k) ? 0 : no(k, "can only access node lease with the same name as the requesting node");
}

static int check_csi_node(const struct check *k) {
        return is_named_as_node(k) ? 0 : no(k, "can only access CSINode with the same name as the requesting node");
}

static int check_request(const struct check *k) {
        return k->operation == ADMIT_CREATE ? admission_node_request(k->op, k->obj, k->node, k->err) : 0;
}

int admission_node_restriction(struct op *op, enum admission_operation o, const struct json *obj,
                               const struct json *old, struct error *err) {
        static const struct {
                const struct api_resource *resource;
                int (*check)(const struct check *k);
        } table[] = {
                { &res_pods, check_pod },
                { &res_nodes, check_node },
                { &res_persistentvolumeclaims, check_claim },
                { &res_serviceaccounts, check_token },
                { &res_leases, check_lease },
                { &res_csinodes, check_csi_node },
                { &res_certificatesigningrequests, check_request },
        };
        struct check k = { .op = op, .operation = o, .obj = obj, .old = old, .err = err };

        if (!node_user(&op->c->user, &k.node))
                return 0;
        if (str_empty(k.node))
                return no(&k, "could not determine node from user \"%" STR_FMT "\"", STR_ARG(op->c->user.name));
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (op->rest->stored->resource == table[i].resource)
                        return table[i].check(&k);
        return 0;
}
