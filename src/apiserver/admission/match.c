/* Does a webhook or policy mean this write? Upstream's order: selectors, then rules, and a namespace that cannot be
 * found is an error only for what the rules match. */
#include "apiserver/admission/configs.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/validation/validate.h"
#include "schema/types.h"

void admission_match_compile(struct arena *a, const struct json *from, bool policy, struct admission_match *ret) {
        *ret = (struct admission_match) {
                .rules = json_getc(from, policy ? "resourceRules" : "rules"),
                .excluded = json_getc(from, "excludeResourceRules"),
                .exact = str_eqc(json_str(json_getc(from, "matchPolicy")), "Exact"),
        };
        ret->everything = policy && json_len(ret->rules) == 0;
        if (selector_from_object(a, json_getc(from, "namespaceSelector"), &ret->namespaces, NULL) < 0)
                ret->namespaces.nothing = true; /* validation lets no such one in */
        if (selector_from_object(a, json_getc(from, "objectSelector"), &ret->objects, NULL) < 0)
                ret->objects.nothing = true;
}

/* ---- attributes ---- */

const char *admission_operation_name(enum admission_operation o) {
        static const char *const names[] = { [ADMIT_CREATE] = "CREATE",
                                             [ADMIT_UPDATE] = "UPDATE",
                                             [ADMIT_DELETE] = "DELETE",
                                             [ADMIT_CONNECT] = "CONNECT" };

        return names[o];
}

struct str admission_name(const struct admission *ad) {
        if (ad->operation == ADMIT_CREATE && ad->op->c->subresource.n == 0)
                return json_str(json_at_path(ad->obj, "metadata", "name"));
        return ad->op->c->collection ? STR("") : ad->op->name;
}

struct str admission_called(const struct admission *ad) {
        struct str name = ad->op->c->collection ? STR("") : ad->op->name;

        each_word(key, "name", "generateName")
                if (str_empty(name))
                        name = json_str(json_at_path(ad->obj, "metadata", key));
        return str_empty(name) ? STR("Unknown") : name;
}

struct str admission_namespace(const struct admission *ad) {
        return ad->op->rest->stored->resource == &res_namespaces ? admission_name(ad) : ad->op->namespace;
}

/* ---- selectors ---- */

static bool selects_all(const struct selector *s) {
        return s->n == 0 && !s->nothing;
}

static const struct json *labels_of(const struct json *obj) {
        return json_at_path(obj, "metadata", "labels");
}

/* 1, 0, or -ENOENT with err. */
static int namespace_matches(const struct selector *s, const struct admission *ad, struct error *err) {
        bool is_namespace = ad->op->rest->stored->resource == &res_namespaces;
        struct str name = admission_namespace(ad);

        if (selects_all(s) || (str_empty(name) && !is_namespace))
                return 1;
        if (is_namespace && ad->obj && ad->op->c->subresource.n == 0)
                return selector_matches_labels(s, labels_of(ad->obj));
        struct object *ns = server_get(ad->s, ad->op->snap, &res_namespaces, STR(""), name);
        if (!ns)
                return err_not_found(err, rest_of(ad->s, &res_namespaces), name);
        return selector_matches_object(s, ns);
}

static bool object_matches(const struct selector *s, const struct admission *ad) {
        return selects_all(s) || (ad->obj && selector_matches_labels(s, labels_of(ad->obj))) ||
               (ad->old && selector_matches_labels(s, labels_of(ad->old)));
}

/* ---- rules ---- */

static bool resource_matches(const struct json *list, struct str plural, struct str sub) {
        json_each_item(i, list) {
                struct str res = json_str(i), s = STR("");
                ssize_t slash = str_find(res, '/');

                if (slash >= 0) {
                        s = str_sub(res, (size_t) slash + 1, res.n);
                        res = str_sub(res, 0, (size_t) slash);
                }
                if ((str_eqc(res, "*") || str_eq(res, plural)) && (str_eqc(s, "*") || str_eq(s, sub)))
                        return true;
        }
        return false;
}

static bool scope_matches(struct str scope, const struct admission *ad) {
        bool cluster = ad->op->rest->stored->resource == &res_namespaces || str_empty(ad->op->namespace);

        return str_empty(scope) || str_eqc(scope, "*") || str_eqc(scope, cluster ? "Cluster" : "Namespaced");
}

static bool rule_matches(const struct json *rule, const struct admission *ad, const struct rest *r) {
        const struct json *names = json_getc(rule, "resourceNames");

        return scope_matches(json_str(json_getc(rule, "scope")), ad) &&
               rbac_lists(json_getc(rule, "operations"), str_of(admission_operation_name(ad->operation))) &&
               rbac_lists(json_getc(rule, "apiGroups"), r->group) &&
               rbac_lists(json_getc(rule, "apiVersions"), r->version) &&
               resource_matches(json_getc(rule, "resources"), r->plural, ad->op->c->subresource) &&
               (json_len(names) == 0 || rbac_lists(names, admission_name(ad)));
}

/* The resource as which one of the rules matches, or NULL. */
static const struct rest *rules_match(const struct json *rules, const struct admission *ad, bool exact) {
        const struct rest *r = ad->op->rest, *other;

        json_each_item(rule, rules)
                if (rule_matches(rule, ad, r))
                        return r;
        if (exact)
                return NULL;
        json_each_item(rule, rules)
                for (size_t i = 0; (other = rest_version(ad->s, r, i)); i++)
                        if (other != r && rule_matches(rule, ad, other))
                                return other;
        return NULL;
}

int admission_match(const struct admission_match *m, const struct admission *ad, const struct rest **ret,
                    struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        int ns = namespace_matches(&m->namespaces, ad, &e);

        if (ns == 0 || !object_matches(&m->objects, ad) || rules_match(m->excluded, ad, m->exact))
                return 0;
        *ret = m->everything ? ad->op->rest : rules_match(m->rules, ad, m->exact);
        if (!*ret)
                return 0;
        if (ns < 0)
                error_move(err, &e);
        return ns;
}
