/* RBAC over an index that is made anew after a role or binding has changed.
 *
 *   "u:jane", "g:system:nodes", "s:default/app" ──▶ grants: { namespace or everywhere, rules }
 *
 * The index holds references to the role objects; its rules are views into their trees. Readers take a reference and
 * walk it without locks. */

#include "apiserver/auth/rbac.h"
#include "apiserver/bootstrap.h"
#include "base/lock.h"
#include "schema/selector.h"
#include "schema/types.h"

struct grants {
        VEC(struct rbac_grant) list;
};

struct index {
        atomic_uint refs;
        unsigned long long generation;
        struct map *subjects;            /* → struct grants */
        struct store_snapshot *snapshot; /* holds what rules point into */
        struct arena *arena;
};

struct rbac {
        struct apiserver *s;
        pthread_mutex_t lock;
        struct index *index;
        atomic_ullong generation;
        struct arena *arena;
        struct json node_rules;
};

/* ---- the index ---- */

static void free_grants(void *p) {
        struct grants *g = p;

        vec_free(&g->list);
        free(g);
}

static void index_unref(struct index *x) {
        if (!x || atomic_fetch_sub(&x->refs, 1) != 1)
                return;
        map_free(x->subjects);
        store_snapshot_unref(x->snapshot);
        arena_free(x->arena);
        free(x);
}
DEFINE_CLEANUP(struct index *, index_unref)

/* The rules of a ClusterRole: its own, and those of the roles that it aggregates. */
static const struct json *cluster_role_rules(const struct rbac *r, struct index *x, const struct json *role) {
        const struct json *selectors = json_at_path(role, "aggregationRule", "clusterRoleSelectors");
        const struct rest *rest = rest_of(r->s, &res_clusterroles);

        if (json_len(selectors) == 0)
                return json_getc(role, "rules");
        struct json rules = json_new_array();
        store_each(it, x->snapshot, rest->prefix) {
                json_each_item(sel, selectors) {
                        struct selector s;

                        if (selector_from_object(x->arena, sel, &s, NULL) < 0 ||
                            !selector_matches_object(&s, it.object))
                                continue;
                        json_each_item(rule, json_getc(object_json(it.object), "rules"))
                                json_push(x->arena, &rules, *rule);
                        break;
                }
        }
        return json_new(x->arena, rules);
}

static const struct json *rules_of_binding(const struct rbac *r, struct index *x, const struct object *binding) {
        const struct json *ref = json_getc(object_json(binding), "roleRef");
        struct str kind = json_str(json_getc(ref, "kind")), name = json_str(json_getc(ref, "name"));
        struct object *role;

        if (str_eqc(kind, "ClusterRole")) {
                role = server_get(r->s, x->snapshot, &res_clusterroles, STR(""), name);
                return role ? cluster_role_rules(r, x, object_json(role)) : NULL;
        }
        role = server_get(r->s, x->snapshot, &res_roles, object_namespace(binding), name);
        return role ? json_getc(object_json(role), "rules") : NULL;
}

static struct str subject_key(struct arena *a, const struct json *subject, struct str binding_ns) {
        struct str kind = json_str(json_getc(subject, "kind")), name = json_str(json_getc(subject, "name"));
        struct str ns = json_str_or(json_getc(subject, "namespace"), binding_ns);

        if (str_eqc(kind, "ServiceAccount"))
                return arena_printf(a, "u:system:serviceaccount:%" STR_FMT ":%" STR_FMT, STR_ARG(ns), STR_ARG(name));
        return arena_printf(a, "%c:%" STR_FMT, str_eqc(kind, "Group") ? 'g' : 'u', STR_ARG(name));
}

static void add_bindings(const struct rbac *r, struct index *x, const struct api_resource *resource) {
        const struct rest *rest = rest_of(r->s, resource);

        store_each(it, x->snapshot, rest->prefix) {
                struct rbac_grant g = { .namespace = object_namespace(it.object),
                                        .rules = rules_of_binding(r, x, it.object),
                                        .binding = object_json(it.object) };

                json_each_item(subject, json_getc(g.binding, "subjects")) {
                        struct str key = subject_key(x->arena, subject, g.namespace);
                        struct grants *list = map_get(x->subjects, key);

                        g.subject = subject;

                        if (!list) {
                                list = xcalloc(1, sizeof(*list));
                                map_put(x->subjects, key, list);
                        }
                        vec_push(&list->list, g);
                }
        }
}

static struct index *index_build(struct rbac *r, unsigned long long generation) {
        struct index *x = xcalloc(1, sizeof(*x));

        atomic_store(&x->refs, 1);
        x->generation = generation;
        x->arena = arena_new(0);
        x->subjects = map_new(free_grants);
        x->snapshot = store_snapshot(r->s->store);
        add_bindings(r, x, &res_clusterrolebindings);
        add_bindings(r, x, &res_rolebindings);
        return x;
}

static struct index *index_get(struct rbac *r) {
        struct index *x;
        HOLD(&r->lock);

        if (!r->index || r->index->generation != atomic_load(&r->generation)) {
                unsigned long long generation =
                                atomic_load(&r->generation); /* before the snapshot: a change in between counts anew */

                x = index_build(r, generation);
                index_unref(r->index);
                r->index = x;
        }
        x = r->index;
        atomic_fetch_add(&x->refs, 1);
        return x;
}

/* ---- rules ---- */

bool rbac_lists(const struct json *list, struct str s) {
        return json_has_str(list, STR("*")) || json_has_str(list, s);
}

/* "pods", "pods/log", "*", and "*" + "/" + subresource. A review may ask for "pods/log" as one resource. */
static bool resource_matches(const struct json *list, struct str resource, struct str sub) {
        json_each_item(i, list) {
                struct str r = json_str(i);
                ssize_t slash = str_find(r, '/');

                if (str_eqc(r, "*"))
                        return true;
                if (str_empty(sub) && str_eq(r, resource))
                        return true;
                if (slash < 0 || str_empty(sub))
                        continue;
                if (!str_eq(str_sub(r, (size_t) slash + 1, r.n), sub))
                        continue;
                if (str_eqc(str_sub(r, 0, (size_t) slash), "*") || str_eq(str_sub(r, 0, (size_t) slash), resource))
                        return true;
        }
        return false;
}

bool rbac_names_path(const struct json *urls, struct str path) {
        json_each_item(i, urls) {
                struct str s = json_str(i);

                if (str_eq(s, path) || (str_has_suffix(s, STR("*")) && str_has_prefix(path, str_sub(s, 0, s.n - 1))))
                        return true;
        }
        return false;
}

bool rbac_rule_allows(const struct json *rule, const struct attributes *at) {
        const struct json *names = json_getc(rule, "resourceNames");

        if (!rbac_lists(json_getc(rule, "verbs"), str_of(at->verb)))
                return false;
        if (at->path.p)
                return rbac_names_path(json_getc(rule, "nonResourceURLs"), at->path);
        return rbac_lists(json_getc(rule, "apiGroups"), at->group) &&
               resource_matches(json_getc(rule, "resources"), at->resource, at->subresource) &&
               (json_len(names) == 0 || json_has_str(names, at->name));
}

static void visit_subject(const struct index *x, struct str key, const struct attributes *at, rbac_visit visit,
                          void *arg, bool *stop) {
        const struct grants *list = map_get(x->subjects, key);

        for (size_t i = 0; list && i < list->list.n && !*stop; i++) {
                const struct rbac_grant *g = &list->list.v[i];

                if (!str_empty(g->namespace) && !str_eq(g->namespace, at->namespace))
                        continue;
                if (!g->rules)
                        *stop = visit(NULL, g, at, arg);
                for (size_t k = 0; k < json_len(g->rules) && !*stop; k++)
                        *stop = visit(&json_items(g->rules)[k], g, at, arg);
        }
}

/* "u:jane". False when it does not fit: no binding names it then. */
static bool subject_of(char *dst, size_t cap, char kind, struct str name, struct str *ret) {
        if (name.n + 2 > cap)
                return false;
        dst[0] = kind;
        dst[1] = ':';
        memcpy(dst + 2, name.p, name.n);
        *ret = str_n(dst, name.n + 2);
        return true;
}

void rbac_each_rule(struct apiserver *s, const struct api_user *user, const struct attributes *at, rbac_visit visit,
                    void *arg) {
        _cleanup_(index_unrefp) struct index *x = index_get(s->rbac);
        struct str subject;
        char key[1024];
        bool stop = false;

        if (subject_of(key, sizeof(key), 'u', user->name, &subject))
                visit_subject(x, subject, at, visit, arg, &stop);
        for (size_t i = 0; i < user->n_groups && !stop; i++)
                if (subject_of(key, sizeof(key), 'g', user->groups[i], &subject))
                        visit_subject(x, subject, at, visit, arg, &stop);
}

struct question {
        bool allowed;
        struct buf *reason; /* may be NULL */
        struct rbac_absent absent;
};

/* Why, as upstream says it in the answer to an access review. */
static void explain(struct buf *b, const struct rbac_grant *g) {
        const struct json *meta = json_getc(g->binding, "metadata"), *ref = json_getc(g->binding, "roleRef");
        struct str ns = g->namespace, kind = json_str(json_getc(g->subject, "kind"));
        struct str home = json_str_or(json_getc(g->subject, "namespace"), ns);
        bool account = str_eqc(kind, "ServiceAccount");

        b->n = 0;
        buf_printf(b, "RBAC: allowed by %s \"%" STR_FMT "%s%" STR_FMT "\" of %" STR_FMT " \"%" STR_FMT "\" to ",
                   ns.n ? "RoleBinding" : "ClusterRoleBinding", STR_ARG(json_str(json_getc(meta, "name"))),
                   ns.n ? "/" : "", STR_ARG(ns), STR_ARG(json_str(json_getc(ref, "kind"))),
                   STR_ARG(json_str(json_getc(ref, "name"))));
        buf_printf(b, "%" STR_FMT " \"%" STR_FMT "%s%" STR_FMT "\"", STR_ARG(kind),
                   STR_ARG(json_str(json_getc(g->subject, "name"))), account ? "/" : "",
                   STR_ARG(account ? home : STR("")));
}

void rbac_absent_add(struct rbac_absent *x, const struct rbac_grant *g) {
        const struct json *ref = json_getc(g->binding, "roleRef");
        bool cluster = str_eqc(json_str(json_getc(ref, "kind")), "ClusterRole");
        struct str resource = x->read_as.n ? x->read_as : cluster ? STR("clusterrole") : STR("role");

        fault_add(&x->faults, "%" STR_FMT ".rbac.authorization.k8s.io \"%" STR_FMT "\" not found", STR_ARG(resource),
                  STR_ARG(json_str(json_getc(ref, "name"))));
}

static bool visit_allowed(const struct json *rule, const struct rbac_grant *g, const struct attributes *at, void *arg) {
        struct question *q = arg;

        if (!rule) {
                if (q->reason)
                        rbac_absent_add(&q->absent, g);
                return false;
        }
        q->allowed = rbac_rule_allows(rule, at);
        if (q->allowed && q->reason)
                explain(q->reason, g);
        return q->allowed;
}

bool rbac_authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at, struct buf *reason) {
        struct question q = { .reason = reason };

        rbac_each_rule(s, user, at, visit_allowed, &q);
        if (q.absent.faults.n > 0 && !q.allowed)
                buf_printf(reason, "RBAC: %" STR_FMT, STR_ARG(faults_text(&q.absent.faults)));
        faults_clear(&q.absent.faults);
        return q.allowed;
}

/* ---- life ---- */

/* On the store's writer thread. */
void rbac_changed(struct rbac *r, struct str key) {
        if (str_has_prefix(key, STR("rbac.authorization.k8s.io/")))
                atomic_fetch_add(&r->generation, 1);
}

struct rbac *rbac_new(struct apiserver *s) {
        struct rbac *r = xcalloc(1, sizeof(*r));

        r->s = s;
        r->arena = arena_new(0);
        r->node_rules = bootstrap_rules(r->arena, "system:node");
        pthread_mutex_init(&r->lock, NULL);
        return r;
}

const struct json *rbac_node_rules(const struct rbac *r) {
        return &r->node_rules;
}

void rbac_free(struct rbac *r) {
        if (!r)
                return;
        index_unref(r->index);
        arena_free(r->arena);
        pthread_mutex_destroy(&r->lock);
        free(r);
}
