/* The first rule that matches a request says how much of it is logged. */
#include "apiserver/audit/audit.h"
#include "apiserver/auth/rbac.h"
#include "apiserver/config_file.h"
#include "json/build.h"
#include "json/yaml.h"

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

static unsigned parse_stages(struct field_errors *fe, const struct path *p, const struct json *list) {
        unsigned stages = 0;

        each_at(i, at, PATH(p, "omitStages"), list) {
                int stage = index_of(audit_stages, json_str(i));

                if (stage < 0)
                        field_invalid_str(fe, at, json_str(i),
                                          "allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic");
                else
                        stages |= 1U << stage;
        }
        return stages;
}

static void check_rule(struct field_errors *fe, const struct path *p, const struct json *j) {
        const struct json *urls = GET(j, "nonResourceURLs");
        struct str level = TEXT(j, "level");

        if (str_empty(level))
                field_required(fe, PATH(p, "level"), "");
        else if (index_of(audit_levels, level) < 0)
                field_not_supported(fe, PATH(p, "level"), level, audit_levels);
        each_at(u, at, PATH(p, "nonResourceURLs"), urls) {
                struct str url = json_str(u);

                if (str_eqc(url, "*"))
                        continue;
                if (!str_has_prefix(url, STR("/")))
                        field_invalid_str(fe, at, url, "non-resource URL rules must begin with a '/' character");
                INVALID_STR_IF(url.n > 0 && str_find(str_sub(url, 0, url.n - 1), '*') >= 0, at, url,
                               "non-resource URL wildcards '*' must be the final character of the rule");
        }
        json_each_item(g, GET(j, "resources")) {
                const struct path *at = PATH(p, "resources");
                const struct json *names = GET(g, "resourceNames");

                if (TEXT(g, "group").n > 0)
                        check_joined(fe, PATH(at, "group"), TEXT(g, "group"), check_dns_subdomain, ",");
                if (json_len(names) > 0 && json_len(GET(g, "resources")) == 0)
                        field_invalid(fe, PATH(at, "resourceNames"), list_in_go(fe->a, names, "string", NULL, NULL),
                                      "using resourceNames requires at least one resource");
        }
}

static void parse_rule(struct field_errors *fe, const struct path *p, const struct json *j,
                       const struct audit_decision *all, struct rule *ret) {
        const struct json *urls = GET(j, "nonResourceURLs");

        check_rule(fe, p, j);
        ret->json = j;
        ret->decision = (struct audit_decision) {
                .level = (enum audit_level) MAX(index_of(audit_levels, TEXT(j, "level")), 0),
                .omit_stages = all->omit_stages | parse_stages(fe, p, GET(j, "omitStages")),
                .omit_managed_fields = json_bool_or(GET(j, "omitManagedFields"), all->omit_managed_fields),
        };
        if (json_len(urls) > 0 && (json_len(GET(j, "resources")) > 0 || json_len(GET(j, "namespaces")) > 0))
                field_invalid(fe, PATH(p, "nonResourceURLs"), list_in_go(fe->a, urls, "string", NULL, NULL),
                              "rules cannot apply to both regular resources and non-resource URLs");
}

static const char policy_shape[] =
                "{ '': 'Policy', omitStages: [ 'Stage' ], omitManagedFields: true, rules: [ { '': 'PolicyRule',"
                "    level: 'Level', users: [ '' ], userGroups: [ '' ], verbs: [ '' ], namespaces: [ '' ],"
                "    resources: [ { '': 'GroupResources', group: '', resources: [ '' ], resourceNames: [ '' ] } ],"
                "    nonResourceURLs: [ '' ], omitStages: [ 'Stage' ], omitManagedFields: true } ] }";

static int parse(struct audit_policy *p, struct str text, struct error *err) {
        struct field_errors fe = { .a = p->arena };
        struct audit_decision all = { 0 };
        struct json *doc, shape;

        TRY(yaml_parse(p->arena, arena_str(p->arena, text), NULL, &doc, err));
        if (!json_is(doc, JSON_NULL) && api_check_head(doc, err) < 0)
                return error_prefix(err, "failed decoding");
        struct str kind = TEXT(doc, "kind");
        struct str version = TEXT(doc, "apiVersion");
        const struct json *rules = GET(doc, "rules");
        if (str_empty(version) && (str_empty(kind) || str_eqc(kind, "Policy")))
                return error_set(err, -EINVAL,
                                 "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy");
        if (str_empty(kind))
                kind = STR("Policy");
        if (str_eqc(version, "audit.k8s.io/v1") && str_among(kind, WORDS("Event", "EventList", "PolicyList")))
                return error_set(err, -EINVAL,
                                 "failed decoding: converting (v1.%" STR_FMT ") to (audit.Policy): unknown conversion",
                                 STR_ARG(kind));
        if (!str_eqc(kind, "Policy") || !str_eqc(version, "audit.k8s.io/v1"))
                return error_set(err, -EINVAL,
                                 "failed decoding: no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT
                                 "\" in scheme \"k8s.io/apiserver/pkg/audit/scheme.go:30\"",
                                 STR_ARG(kind), STR_ARG(version));
        shape = json_build(p->arena, policy_shape);
        if (config_check_types(p->arena, doc, &shape, err) < 0)
                return error_prefix(err, "failed decoding");
        if (json_len(rules) == 0)
                return error_set(err, -EINVAL, "loaded illegal policy with 0 rules");
        all.omit_stages = parse_stages(&fe, NULL, GET(doc, "omitStages"));
        all.omit_managed_fields = json_bool(GET(doc, "omitManagedFields"));
        p->rules = arena_array(p->arena, struct rule, json_len(rules));
        each_at(j, at, PATH(NULL, "rules"), rules)
                parse_rule(&fe, at, j, &all, &p->rules[p->n++]);
        return config_finish(&fe, err);
}

int audit_policy_parse(struct str text, struct audit_policy **ret, struct error *err) {
        struct audit_policy *p = xcalloc(1, sizeof(*p));

        p->arena = arena_new(8192);
        int r = parse(p, text, err);
        if (r < 0)
                audit_policy_free(p);
        else
                *ret = p;
        return r;
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

static bool rule_matches(const struct json *r, const struct api_user *u, const struct attributes *at) {
        const struct json *resources = GET(r, "resources"), *namespaces = GET(r, "namespaces"),
                          *urls = GET(r, "nonResourceURLs");

        if (!in(GET(r, "users"), u->name) || !in_groups(GET(r, "userGroups"), u) ||
            !in(GET(r, "verbs"), str_of(at->verb)))
                return false;
        if (json_len(urls) > 0)
                return !str_empty(at->path) && rbac_names_path(urls, at->path);
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
