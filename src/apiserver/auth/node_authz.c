/* The authorizer for kubelets: https://kubernetes.io/docs/reference/access-authn-authz/node/
 *
 * A node has the rules that the ClusterRole system:node has at first, and of some resources only what belongs to it:
 *
 *   node ◀─ pod ◀─ secret, configmap, service account
 *               ◀─ claim ◀─ volume ◀─ secret
 *   node ◀─ volume attachment, lease, csinode, node: by name
 *
 * Upstream keeps a graph for this question; here the pods of the namespace are looked at, by a search in their text
 * first, so that almost none has to be parsed. */
#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"
#include "schema/types.h"

bool node_user(const struct api_user *user, struct str *ret_name) {
        static const struct str prefix = STR_INIT("system:node:");

        if (!str_has_prefix(user->name, prefix))
                return false;
        for (size_t i = 0; i < user->n_groups; i++)
                if (str_eqc(user->groups[i], "system:nodes")) {
                        *ret_name = str_sub(user->name, prefix.n, user->name.n);
                        return true;
                }
        return false;
}

/* ---- what pods refer to ---- */

enum referred { SECRET, CONFIG_MAP, CLAIM, ACCOUNT, VOLUME, ATTACHMENT, POD, DEVICES };

static const struct reference {
        enum referred kind;
        const char *in; /* member of a volume, a projection, an env source or envFrom */
        const char *name;
} references[] = {
        { SECRET, "secret", "secretName" },         { SECRET, "secret", "name" },
        { SECRET, "secretKeyRef", "name" },         { SECRET, "secretRef", "name" },
        { SECRET, "nodePublishSecretRef", "name" }, { SECRET, "azureFile", "secretName" },
        { CONFIG_MAP, "configMap", "name" },        { CONFIG_MAP, "configMapKeyRef", "name" },
        { CONFIG_MAP, "configMapRef", "name" },     { CLAIM, "persistentVolumeClaim", "claimName" },
};

/* Does something below j name it the way a reference of this kind does? */
static bool names(const struct json *j, enum referred kind, struct str name) {
        json_each_item(i, j)
                if (names(i, kind, name))
                        return true;
        json_each_member(m, j) {
                for (size_t i = 0; i < ARRAY_SIZE(references); i++)
                        if (references[i].kind == kind && str_eqc(json_key(m), references[i].in) &&
                            str_eq(json_str(json_getc(&m->value, references[i].name)), name))
                                return true;
                if (names(&m->value, kind, name))
                        return true;
        }
        return false;
}

/* The claim of an ephemeral volume has the name of the pod and of the volume. */
static bool has_ephemeral(const struct json *pod, struct str claim) {
        struct str prefix = json_str(json_at_path(pod, "metadata", "name"));

        json_each_item(v, json_at_path(pod, "spec", "volumes")) {
                struct str name = json_str(json_getc(v, "name"));

                if (json_getc(v, "ephemeral") && claim.n == prefix.n + 1 + name.n && str_has_prefix(claim, prefix) &&
                    claim.p[prefix.n] == '-' && str_has_suffix(claim, name))
                        return true;
        }
        return false;
}

static bool pod_refers(const struct json *pod, enum referred kind, struct str name) {
        const struct json *spec = json_getc(pod, "spec");

        if (json_getc(json_at_path(pod, "metadata", "annotations"), "kubernetes.io/config.mirror"))
                return false; /* it is the node's own word */
        if (kind == ACCOUNT)
                return str_eq(json_str(json_getc(spec, "serviceAccountName")), name);
        if (kind == SECRET && json_find_by(json_getc(spec, "imagePullSecrets"), "name", name))
                return true;
        return names(spec, kind, name) || (kind == CLAIM && has_ephemeral(pod, name));
}

static bool is_bound(const struct object *pod, struct str node) {
        struct str raw = object_node(pod);

        return raw.n == node.n + 2 && str_eq(str_sub(raw, 1, raw.n - 1), node);
}

/* A pod in the namespace that is bound to the node refers to the object. */
static bool some_pod_refers(struct apiserver *s, struct store_snapshot *snap, struct str node, enum referred kind,
                            struct str ns, struct str name) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str prefix = rest_key(a, rest_of(s, &res_pods), ns, STR(""));

        if (str_empty(ns) || str_empty(name))
                return false;
        store_each(it, snap, prefix) {
                struct str text = object_text(it.object);
                struct json *doc;

                if (!is_bound(it.object, node) ||
                    (str_search(text, name) < 0 && (kind != CLAIM || str_search(text, STR("\"ephemeral\"")) < 0)))
                        continue;
                _cleanup_(arena_freep) struct arena *scratch = arena_new(0);
                if (json_parse(scratch, text, NULL, &doc, NULL) == 0 && pod_refers(doc, kind, name))
                        return true;
        }
        return false;
}

static bool volume_is_used(struct apiserver *s, struct store_snapshot *snap, struct str node, const struct json *pv) {
        const struct json *claim = json_at_path(pv, "spec", "claimRef");

        return some_pod_refers(s, snap, node, CLAIM, json_str(json_getc(claim, "namespace")),
                               json_str(json_getc(claim, "name")));
}

/* The secrets of a volume that a node needs: those of its driver on the node, not of the controller. */
static bool volume_names_secret(const struct json *pv, struct str ns, struct str name) {
        struct str home = json_str(json_at_path(pv, "spec", "claimRef", "namespace"));

        json_each_member(source, json_getc(pv, "spec"))
                json_each_member(m, &source->value) {
                        struct str key = json_key(m), in = json_str_or(json_getc(&m->value, "namespace"), home);

                        if (str_eqc(key, "secretName") && str_eq(json_str(&m->value), name) &&
                            str_eq(json_str_or(json_getc(&source->value, "secretNamespace"), home), ns))
                                return true;
                        if ((str_has_suffix(key, STR("SecretRef")) || str_eqc(key, "secretRef")) &&
                            !str_has_prefix(key, STR("controller")) &&
                            str_eq(json_str(json_getc(&m->value, "name")), name) && str_eq(in, ns))
                                return true;
                }
        return false;
}

static bool some_volume_names(struct apiserver *s, struct store_snapshot *snap, struct str node, struct str ns,
                              struct str name) {
        struct str prefix = rest_of(s, &res_persistentvolumes)->prefix;

        store_each(it, snap, prefix)
                if (str_search(object_text(it.object), name) >= 0 &&
                    volume_names_secret(object_json(it.object), ns, name) &&
                    volume_is_used(s, snap, node, object_json(it.object)))
                        return true;
        return false;
}

static bool belongs(struct apiserver *s, struct str node, enum referred kind, struct str ns, struct str name) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct object *o;

        switch (kind) {
        case VOLUME:
                o = server_get(s, snap, &res_persistentvolumes, STR(""), name);
                return o && volume_is_used(s, snap, node, object_json(o));
        case ATTACHMENT:
                o = server_get(s, snap, &res_volumeattachments, STR(""), name);
                return o && is_bound(o, node);
        case POD:
                o = server_get(s, snap, &res_pods, ns, name);
                return o && is_bound(o, node);
        case DEVICES: /* dynamic resource allocation is off: there are none */
                return false;
        default:
                return some_pod_refers(s, snap, node, kind, ns, name) ||
                       (kind == SECRET && some_volume_names(s, snap, node, ns, name));
        }
}

/* ---- the rules ---- */

static bool role_allows(struct apiserver *s, const struct attributes *at) {
        json_each_item(rule, rbac_node_rules(s->rbac))
                if (rbac_rule_allows(rule, at))
                        return true;
        return false;
}

static bool verb_in(const struct attributes *at, const char *list) {
        return str_is_part(str_of(at->verb), ' ', str_of(list));
}

static bool selects(const struct attributes *at, const char *field, struct str value) {
        bool found = false;

        str_each(part, at->field_selector, ',') {
                ssize_t eq = str_find(part, '=');
                size_t v = (size_t) eq + 1;

                if (eq < 0 && part.n > 0)
                        return false; /* a selector that cannot be read selects nothing */
                v += eq >= 0 && v < part.n && part.p[v] == '=';
                found = found || (eq >= 0 && str_eqc(str_sub(part, 0, (size_t) eq), field) &&
                                  str_eq(str_sub(part, v, part.n), value));
        }
        return found;
}

/* Resources of which a node sees its own only. In the order of the questions upstream asks. */
static const struct narrowed {
        const char *group, *resource, *subresource;
        const char *verbs, *wrong_verb; /* others are refused with this reason */
        enum referred kind;
} narrowed[] = {
        { "", "secrets", "", "get list watch", "can only read resources of this type", SECRET },
        { "", "configmaps", "", "get list watch", "can only read resources of this type", CONFIG_MAP },
        { "", "persistentvolumeclaims", "status", "update patch", "can only get/update/patch this type", CLAIM },
        { "", "persistentvolumeclaims", "", "get", "can only get individual resources of this type", CLAIM },
        { "", "persistentvolumes", "", "get", "can only get individual resources of this type", VOLUME },
        { "storage.k8s.io", "volumeattachments", "", "get", "can only get individual resources of this type",
          ATTACHMENT },
        { "resource.k8s.io", "resourceclaims", "", "get", "can only get individual resources of this type", DEVICES },
        { "", "serviceaccounts", "token", "create", "can only create tokens for individual service accounts", ACCOUNT },
};

static bool refuse(struct buf *reason, struct str text) {
        if (reason)
                buf_add_str(reason, text);
        return false;
}

static bool allow_narrowed(struct apiserver *s, const struct narrowed *n, struct str node, const struct attributes *at,
                           struct buf *reason) {
        bool namespaced = n->kind == SECRET || n->kind == CONFIG_MAP;

        if (n->kind == ACCOUNT && verb_in(at, "get") && str_empty(at->subresource))
                return refuse(reason, STR("not allowed to get service accounts"));
        if (!verb_in(at, n->verbs) || (n->kind == ACCOUNT && str_empty(at->name)))
                return refuse(reason, str_of(n->wrong_verb));
        if (!str_eqc(at->subresource, n->subresource))
                return refuse(reason, n->kind == ACCOUNT ? STR("can only create token subresource of serviceaccount")
                                      : namespaced       ? STR("cannot read subresource")
                                                         : STR("cannot get subresource"));
        if (namespaced && str_empty(at->namespace))
                return refuse(reason, STR("can only read namespaced object of this type"));
        if (str_empty(at->name))
                return refuse(reason, STR("No Object name found"));
        if (belongs(s, node, n->kind, at->namespace, at->name))
                return true;
        if (reason)
                buf_printf(reason, "no relationship found between node '%" STR_FMT "' and this object", STR_ARG(node));
        return false;
}

/* Leases and CSINodes have the name of their node; what a create is called, admission sees. */
static bool allow_own_name(struct str node, const struct attributes *at, bool lease, struct buf *reason) {
        if (!verb_in(at, "get create update patch delete"))
                return refuse(reason, lease ? STR("can only get, create, update, patch, or delete a node lease")
                                            : STR("can only get, create, update, patch, or delete a CSINode"));
        if (lease && !str_eqc(at->namespace, "kube-node-lease"))
                return refuse(reason, STR("can only access leases in the \"kube-node-lease\" system namespace"));
        if (!lease && !str_empty(at->subresource))
                return refuse(reason, STR("cannot authorize CSINode subresources"));
        if (!str_eqc(str_of(at->verb), "create") && !str_eq(at->name, node))
                return refuse(reason,
                              lease ? STR("can only access node lease with the same name as the requesting node")
                                    : STR("can only access CSINode with the same name as the requesting node"));
        return true;
}

/* What a node publishes of its devices; whose a new one is, admission sees. */
static bool allow_slice(struct apiserver *s, struct str node, const struct attributes *at, struct buf *reason) {
        static const struct narrowed one = { "", "", "", "get update patch delete", NULL, DEVICES };

        if (!str_empty(at->subresource))
                return refuse(reason, STR("cannot authorize ResourceSlice subresources"));
        if (verb_in(at, "create"))
                return true;
        if (verb_in(at, one.verbs))
                return allow_narrowed(s, &one, node, at, reason);
        if (!verb_in(at, "watch list deletecollection"))
                return refuse(reason, STR("only the following verbs are allowed for a ResourceSlice: get, watch, list, "
                                          "create, update, patch, delete, deletecollection"));
        return selects(at, "spec.nodeName", node) ||
               refuse(reason, STR("can only list/watch/deletecollection resourceslices with nodeName field selector"));
}

static bool allow_node(struct str node, const struct attributes *at, struct buf *reason) {
        if (str_eqc(at->subresource, "status"))
                return verb_in(at, "update patch");
        if (!str_empty(at->subresource) || !verb_in(at, "get list watch create update patch"))
                return false;
        if (!verb_in(at, "get list watch") || str_eq(at->name, node))
                return true;
        if (reason && str_empty(at->name))
                buf_printf(reason, "node '%" STR_FMT "' cannot read all nodes, only its own Node object",
                           STR_ARG(node));
        else if (reason)
                buf_printf(reason, "node '%" STR_FMT "' cannot read '%" STR_FMT "', only its own Node object",
                           STR_ARG(node), STR_ARG(at->name));
        return false;
}

static bool allow_pod(struct apiserver *s, struct str node, const struct attributes *at, struct buf *reason) {
        if (str_eqc(at->subresource, "status"))
                return verb_in(at, "update patch");
        if (str_eqc(at->subresource, "eviction"))
                return verb_in(at, "create");
        if (!str_empty(at->subresource))
                return false;
        if (verb_in(at, "create delete") || (verb_in(at, "list watch") && selects(at, "spec.nodeName", node)))
                return true;
        if (!verb_in(at, "get list watch"))
                return false;
        if (str_empty(at->name))
                return refuse(reason, verb_in(at, "get") ? STR("No Object name found")
                                                         : STR("can only list/watch pods with spec.nodeName field "
                                                               "selector"));
        if (belongs(s, node, POD, at->namespace, at->name))
                return true;
        if (reason)
                buf_printf(reason, "no relationship found between node '%" STR_FMT "' and this object", STR_ARG(node));
        return false;
}

bool node_authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at, struct buf *reason) {
        bool core = str_empty(at->group);
        struct str node;

        if (!node_user(user, &node))
                return false;
        if (str_empty(node)) {
                if (reason)
                        buf_printf(reason, "unknown node for user \"%" STR_FMT "\"", STR_ARG(user->name));
                return false;
        }
        if (at->path.p)
                return role_allows(s, at);
        for (size_t i = 0; i < ARRAY_SIZE(narrowed); i++)
                if (str_eqc(at->group, narrowed[i].group) && str_eqc(at->resource, narrowed[i].resource) &&
                    (narrowed[i].kind != CLAIM ||
                     str_eqc(at->subresource, "status") == (*narrowed[i].subresource != 0)))
                        return allow_narrowed(s, &narrowed[i], node, at, reason);
        if (str_eqc(at->group, "coordination.k8s.io") && str_eqc(at->resource, "leases"))
                return allow_own_name(node, at, true, reason);
        if (str_eqc(at->group, "storage.k8s.io") && str_eqc(at->resource, "csinodes"))
                return allow_own_name(node, at, false, reason);
        if (str_eqc(at->group, "resource.k8s.io") && str_eqc(at->resource, "resourceslices"))
                return allow_slice(s, node, at, reason);
        if (core && str_eqc(at->resource, "nodes"))
                return allow_node(node, at, reason);
        if (core && str_eqc(at->resource, "pods"))
                return allow_pod(s, node, at, reason);
        return role_allows(s, at);
}
