/* The authorizer for kubelets: https://kubernetes.io/docs/reference/access-authn-authz/node/
 *
 * A node has the rules of the ClusterRole system:node. Secrets, ConfigMaps, claims and service account tokens among
 * them only when a pod that is bound to it refers to them. Upstream keeps a graph for this question; here the pods of
 * the namespace are looked at, by a search in their text first, so that almost none has to be parsed. */
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

enum referred { SECRET, CONFIG_MAP, CLAIM, ACCOUNT };

static const struct reference {
        enum referred kind;
        const char *in; /* member of a volume, a projection, an env source or envFrom */
        const char *name;
} references[] = {
        { SECRET, "secret", "secretName" },     { SECRET, "secret", "name" },
        { SECRET, "secretKeyRef", "name" },     { SECRET, "secretRef", "name" },
        { CONFIG_MAP, "configMap", "name" },    { CONFIG_MAP, "configMapKeyRef", "name" },
        { CONFIG_MAP, "configMapRef", "name" }, { CLAIM, "persistentVolumeClaim", "claimName" },
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

static bool pod_refers(const struct json *spec, enum referred kind, struct str name) {
        if (kind == ACCOUNT)
                return str_eq(json_str(json_getc(spec, "serviceAccountName")), name);
        if (kind == SECRET)
                json_each_item(s, json_getc(spec, "imagePullSecrets"))
                        if (str_eq(json_str(json_getc(s, "name")), name))
                                return true;
        return names(spec, kind, name);
}

/* A pod in the namespace that is bound to the node refers to the object. */
static bool some_pod_refers(struct apiserver *s, struct str node, enum referred kind, struct str ns, struct str name) {
        static const char *const node_path[] = { "spec", "nodeName", NULL };
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct rest *pods = rest_of(s, &res_pods);
        struct str quoted, bound, prefix;
        struct store_iter it;

        if (str_empty(ns) || str_empty(name))
                return false;
        prefix = arena_printf(a, "%" STR_FMT "%" STR_FMT "/", STR_ARG(pods->prefix), STR_ARG(ns));
        quoted = arena_printf(a, "\"%" STR_FMT "\"", STR_ARG(name));
        bound = arena_printf(a, "\"%" STR_FMT "\"", STR_ARG(node));
        store_iter_init(&it, snap, prefix, prefix);
        while (store_iter_next(&it)) {
                struct str text = object_text(it.object);
                _cleanup_(arena_freep) struct arena *scratch = NULL;
                struct json *doc;

                if (!str_eq(json_scan(text, node_path), bound) || str_search(text, quoted) < 0)
                        continue;
                scratch = arena_new(0);
                if (json_parse(scratch, text, NULL, &doc, NULL) == 0 && pod_refers(json_getc(doc, "spec"), kind, name))
                        return true;
        }
        return false;
}

static bool role_allows(struct apiserver *s, const struct attributes *at) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct object *role = server_get(s, snap, &res_clusterroles, STR(""), STR("system:node"));
        const struct json *rules = role ? json_getc(object_json(role), "rules") : NULL;

        json_each_item(rule, rules)
                if (rbac_rule_allows(rule, at))
                        return true;
        return false;
}

bool node_authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at) {
        static const struct {
                const char *resource, *subresource;
                enum referred kind;
        } narrowed[] = {
                { "secrets", "", SECRET },
                { "configmaps", "", CONFIG_MAP },
                { "persistentvolumeclaims", "", CLAIM },
                { "serviceaccounts", "token", ACCOUNT },
        };
        struct str node;

        if (!node_user(user, &node) || !role_allows(s, at))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(narrowed); i++)
                if (str_empty(at->group) && str_eqc(at->resource, narrowed[i].resource) &&
                    str_eqc(at->subresource, narrowed[i].subresource))
                        return some_pod_refers(s, node, narrowed[i].kind, at->namespace, at->name);
        return true;
}
