/* The first rule that matches a request says how much of it is logged. */
#include "apiserver/audit/audit.h"
#include "json/yaml.h"

#define GET(o, k) json_getc((o), (k))

const char *const audit_levels[] = { "None", "Metadata", "Request", "RequestResponse", NULL };
const char *const audit_stages[] = { "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic", NULL };

struct rule {
        const struct json *json;
        struct audit_decision decision;
};

struct audit_policy {
        struct arena *arena;
        struct rule *rules;
        size_t n;
};

static int index_of(const char *const *names, struct str s) {
        for (int i = 0; names[i]; i++)
                if (str_eqc(s, names[i]))
                        return i;
        return -1;
}

static int parse_stages(const struct json *list, unsigned *ret, struct error *err) {
        json_each_item(i, list) {
                int stage = index_of(audit_stages, json_str(i));

                if (stage < 0)
                        return error_set(err, -EINVAL, "audit policy: unknown stage %" STR_FMT, STR_ARG(json_str(i)));
                *ret |= 1U << stage;
        }
        return 0;
}

static int wrong(struct error *err, size_t i, const char *field, const char *text) {
        return error_set(err, -EINVAL, "audit policy: rules[%zu].%s: Invalid value: %s", i, field, text);
}

static int check_rule(const struct json *j, size_t i, struct error *err) {
        const struct json *urls = GET(j, "nonResourceURLs");

        json_each_item(u, urls) {
                struct str url = json_str(u);

                if (str_eqc(url, "*"))
                        continue;
                if (!str_has_prefix(url, STR("/")))
                        return wrong(err, i, "nonResourceURLs",
                                     "non-resource URL rules must begin with a '/' character");
                if (str_find(str_sub(url, 0, url.n - 1), '*') >= 0)
                        return wrong(err, i, "nonResourceURLs",
                                     "non-resource URL wildcards '*' must be the final character of the rule");
        }
        json_each_item(g, GET(j, "resources")) {
                if (str_find(json_str(GET(g, "group")), '/') >= 0)
                        return wrong(err, i, "resources.group", "a group has no version");
                if (json_len(GET(g, "resourceNames")) > 0 && json_len(GET(g, "resources")) == 0)
                        return wrong(err, i, "resources.resourceNames",
                                     "using resourceNames requires at least one resource");
        }
        if (json_len(urls) > 0 && (json_len(GET(j, "resources")) > 0 || json_len(GET(j, "namespaces")) > 0))
                return wrong(err, i, "nonResourceURLs",
                             "rules cannot apply to both regular resources and non-resource URLs");
        return 0;
}

static int parse_rule(const struct json *j, size_t i, const struct audit_decision *all, struct rule *ret,
                      struct error *err) {
        struct str level = json_str(GET(j, "level"));
        int l = index_of(audit_levels, level), r = check_rule(j, i, err);

        if (r < 0)
                return r;
        if (l < 0)
                return error_set(err, -EINVAL, "audit policy: a rule has the level \"%" STR_FMT "\"", STR_ARG(level));
        ret->json = j;
        ret->decision = (struct audit_decision) {
                .level = (enum audit_level) l,
                .omit_stages = all->omit_stages,
                .omit_managed_fields = json_bool_or(GET(j, "omitManagedFields"), all->omit_managed_fields),
        };
        return parse_stages(GET(j, "omitStages"), &ret->decision.omit_stages, err);
}

int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err) {
        struct audit_policy *p = xcalloc(1, sizeof(*p));
        struct audit_decision all = { 0 };
        struct json *doc;
        int r;

        p->arena = arena_new(8192);
        r = yaml_parse(p->arena, arena_str(p->arena, text), NULL, &doc, err);
        if (r == 0 && (!str_eqc(json_str(GET(doc, "kind")), "Policy") ||
                       !str_eqc(json_str(GET(doc, "apiVersion")), "audit.k8s.io/v1")))
                r = error_set(err, -EINVAL, "audit policy: it is no Policy of audit.k8s.io/v1");
        if (r == 0 && json_len(GET(doc, "rules")) == 0)
                r = error_set(err, -EINVAL, "audit policy: it has no rules");
        if (r == 0)
                r = parse_stages(GET(doc, "omitStages"), &all.omit_stages, err);
        all.omit_managed_fields = r == 0 && json_bool(GET(doc, "omitManagedFields"));
        p->rules = arena_array(p->arena, struct rule, r == 0 ? json_len(GET(doc, "rules")) : 0);
        if (r == 0)
                json_each_item(j, GET(doc, "rules")) {
                        r = parse_rule(j, p->n, &all, &p->rules[p->n], err);
                        p->n++;
                        if (r < 0)
                                break;
                }
        if (r < 0) {
                audit_policy_free(p);
                return r;
        }
        *ret = p;
        return 0;
}

void audit_policy_free(struct audit_policy *p) {
        if (!p)
                return;
        arena_free(p->arena);
        free(p);
}

/* ---- matching ---- */

/* True when there is no list. */
static bool in(const struct json *list, struct str s) {
        return json_len(list) == 0 || json_has_str(list, s);
}

static bool in_groups(const struct json *list, const struct api_user *u) {
        for (size_t i = 0; i < u->n_groups; i++)
                if (in(list, u->groups[i]))
                        return true;
        return json_len(list) == 0;
}

/* "pods", "pods/log", "*" + "/scale", "*"; "pods/" + "*" is the pods themselves too. */
static bool resource_matches(struct str pattern, const struct attributes *at) {
        struct str resource = pattern, sub = STR("");
        ssize_t slash = str_find(pattern, '/');

        if (str_eqc(pattern, "*"))
                return true;
        if (slash >= 0) {
                resource = str_sub(pattern, 0, (size_t) slash);
                sub = str_sub(pattern, (size_t) slash + 1, pattern.n);
        }
        if (str_eqc(resource, "*"))
                return !str_empty(at->subresource) && str_eq(sub, at->subresource);
        return str_eq(resource, at->resource) && (str_eq(sub, at->subresource) || str_eqc(sub, "*"));
}

static bool group_matches(const struct json *g, const struct attributes *at) {
        if (!str_eq(json_str(GET(g, "group")), at->group))
                return false;
        if (json_len(GET(g, "resources")) == 0)
                return true;
        if (!in(GET(g, "resourceNames"), at->name))
                return false;
        json_each_item(r, GET(g, "resources"))
                if (resource_matches(json_str(r), at))
                        return true;
        return false;
}

static bool path_matches(const struct json *list, struct str path) {
        json_each_item(i, list) {
                struct str s = json_str(i);

                if (str_eq(s, path) || (str_has_suffix(s, STR("*")) && str_has_prefix(path, str_sub(s, 0, s.n - 1))))
                        return true;
        }
        return false;
}

static bool rule_matches(const struct json *r, const struct api_user *u, const struct attributes *at) {
        const struct json *resources = GET(r, "resources"), *namespaces = GET(r, "namespaces"),
                          *urls = GET(r, "nonResourceURLs");

        if (!in(GET(r, "users"), u->name) || !in_groups(GET(r, "userGroups"), u) ||
            !in(GET(r, "verbs"), str_of(at->verb)))
                return false;
        if (json_len(urls) > 0)
                return !str_empty(at->path) && path_matches(urls, at->path);
        if (json_len(resources) == 0 && json_len(namespaces) == 0)
                return true;
        if (!str_empty(at->path) || !in(namespaces, at->namespace))
                return false;
        json_each_item(g, resources)
                if (group_matches(g, at))
                        return true;
        return json_len(resources) == 0;
}

struct audit_decision audit_policy_decide(const struct audit_policy *p, const struct api_user *u,
                                          const struct attributes *at) {
        for (size_t i = 0; i < p->n; i++)
                if (rule_matches(p->rules[i].json, u, at))
                        return p->rules[i].decision;
        return (struct audit_decision) { .level = AUDIT_NONE };
}
