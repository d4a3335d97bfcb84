/* FlowSchemas and PriorityLevelConfigurations as the store has them, made ready to classify requests. Immutable once
 * loaded, but for the levels, which live on from one configuration to the next. */
#include <math.h>

#include "apiserver/auth/rbac.h"
#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "schema/types.h"

#define TEXT(o, k) json_str(json_getc((o), (k)))
#define WIDEST 10U /* seats of a request, at most */

/* ---- levels ---- */

static double shares_of(const struct object *o) {
        const struct json *spec = json_getc(object_json(o), "spec");
        bool exempt = str_eqc(TEXT(spec, "type"), "Exempt");
        const struct json *part = json_getc(spec, exempt ? "exempt" : "limited");

        return (double) json_int_or(json_getc(part, "nominalConcurrencyShares"), exempt ? 0 : 30);
}

static struct flow_limits limits_of(const struct object *o, unsigned total, double all_shares) {
        const struct json *spec = json_getc(object_json(o), "spec"), *part, *queuing, *borrow;
        struct flow_limits m = { .exempt = str_eqc(TEXT(spec, "type"), "Exempt") };
        double nominal = all_shares > 0 ? ceil(total * shares_of(o) / all_shares) : 0;

        part = json_getc(spec, m.exempt ? "exempt" : "limited");
        queuing = json_at_path(part, "limitResponse", "queuing");
        borrow = json_getc(part, "borrowingLimitPercent");
        m.nominal = (unsigned) nominal;
        m.min = (unsigned) (nominal - round(nominal * (double) json_int(json_getc(part, "lendablePercent")) / 100));
        m.max = m.nominal + total;
        if (json_is(borrow, JSON_INT))
                m.max = (unsigned) (nominal + round(nominal * (double) json_int(borrow) / 100));
        m.queuing = !m.exempt && queuing;
        m.queues = (unsigned) json_int_or(json_getc(queuing, "queues"), 64);
        m.hand = (unsigned) json_int_or(json_getc(queuing, "handSize"), 8);
        m.length = (unsigned) json_int_or(json_getc(queuing, "queueLengthLimit"), 50);
        m.queues = MAX(1U, MIN(m.queues, 4096U));
        m.widest = WIDEST;
        if (m.queuing) /* so that a few do not fill it */
                m.widest = MAX(1U, MIN(WIDEST, MIN((unsigned) ceil(nominal * 0.15), m.nominal / MAX(m.hand, 1U))));
        return m;
}

static struct flow_level *find_level(const struct flow_config *c, struct str name) {
        for (size_t i = 0; c && i < c->n_levels; i++)
                if (str_eqc(name, c->levels[i]->name))
                        return c->levels[i];
        return NULL;
}

static size_t each_object(struct store_snapshot *snap, const struct rest *r, struct object **ret, size_t max) {
        struct store_iter it;
        size_t n = 0;

        store_iter_init(&it, snap, r->prefix, r->prefix);
        while (n < max && store_iter_next(&it))
                ret[n++] = it.object;
        return n;
}

static void load_levels(struct flow_config *c, struct apiserver *s, struct store_snapshot *snap,
                        const struct flow_config *old) {
        const struct rest *r = rest_of(s, &res_prioritylevelconfigurations);
        size_t n = store_count(snap, r->prefix, r->prefix);
        struct object **objects = arena_array(c->arena, struct object *, n + 1);
        double sum = 0;

        n = each_object(snap, r, objects, n);
        c->levels = arena_array(c->arena, struct flow_level *, n + 1);
        for (size_t i = 0; i < n; i++)
                sum += shares_of(objects[i]);
        for (size_t i = 0; i < n; i++) {
                struct flow_limits limits = limits_of(objects[i], c->total, sum);
                struct flow_level *l = find_level(old, object_name(objects[i]));

                if (l && l->exempt == limits.exempt) {
                        atomic_fetch_add(&l->state, 1ULL << 32);
                        flow_level_set(l, &limits);
                } else {
                        l = flow_level_new(object_name(objects[i]), &limits);
                }
                c->levels[c->n_levels++] = l;
        }
}

/* ---- schemas ---- */

static int by_precedence(const void *a, const void *b) {
        const struct flow_schema *x = a, *y = b;

        if (x->precedence != y->precedence)
                return x->precedence < y->precedence ? -1 : 1;
        return str_cmp(x->name, y->name);
}

static void load_schema(struct flow_config *c, struct apiserver *s, struct store_snapshot *snap,
                        const struct object *o) {
        static const struct str names[] = { STR_INIT("x-kubernetes-pf-flowschema-uid"),
                                            STR_INIT("x-kubernetes-pf-prioritylevel-uid") };
        struct arena *a = c->arena;
        const struct json *spec = json_getc(object_json(o), "spec");
        struct str level = json_str(json_at_path(spec, "priorityLevelConfiguration", "name")),
                   by = json_str(json_at_path(spec, "distinguisherMethod", "type"));
        struct object *plc = rest_get(snap, rest_of(s, &res_prioritylevelconfigurations), STR(""), level);
        struct flow_schema *f = &c->schemas[c->n_schemas++];
        const struct json *rules = json_getc(spec, "rules"); /* none: nothing is of this schema */

        *f = (struct flow_schema) { .name = arena_str(a, object_name(o)),
                                    .precedence = json_int_or(json_getc(spec, "matchingPrecedence"), 1000),
                                    .rules = rules ? json_new(a, json_copy(a, rules)) : NULL,
                                    .level = find_level(c, level),
                                    .by = str_eqc(by, "ByUser")        ? FLOW_BY_USER
                                          : str_eqc(by, "ByNamespace") ? FLOW_BY_NAMESPACE
                                                                       : FLOW_BY_NOTHING };
        f->dangling = !f->level;
        f->headers[0] = (struct http_header) { names[0], arena_str(a, object_uid(o)) };
        f->headers[1] = (struct http_header) { names[1], plc ? arena_str(a, object_uid(plc)) : STR("") };
}

struct flow_config *flow_config_load(struct apiserver *s, struct store_snapshot *snap, const struct flow_config *old) {
        const struct rest *r = rest_of(s, &res_flowschemas);
        struct flow_config *c = xcalloc(1, sizeof(*c));
        size_t n = store_count(snap, r->prefix, r->prefix);

        c->arena = arena_new(16384);
        atomic_store(&c->refs, 1);
        c->total = server_flag_number(s, "max-requests-inflight", 400) +
                   server_flag_number(s, "max-mutating-requests-inflight", 200);
        load_levels(c, s, snap, old);
        struct object **objects = arena_array(c->arena, struct object *, n + 1);
        n = each_object(snap, r, objects, n);
        c->schemas = arena_array(c->arena, struct flow_schema, n + 1);
        for (size_t i = 0; i < n; i++)
                load_schema(c, s, snap, objects[i]);
        if (n > 1)
                qsort(c->schemas, n, sizeof(*c->schemas), by_precedence);
        return c;
}

void flow_config_unref(struct flow_config *c) {
        if (!c || atomic_fetch_sub(&c->refs, 1) > 1)
                return;
        for (size_t i = 0; i < c->n_levels; i++)
                flow_level_unref(c->levels[i]);
        arena_free(c->arena);
        free(c);
}

/* ---- classification ---- */

static bool is_account(struct str user, struct str namespace, struct str name) {
        static const struct str prefix = STR_INIT("system:serviceaccount:");
        struct str rest, ns;

        if (!str_has_prefix(user, prefix))
                return false;
        rest = str_sub(user, prefix.n, user.n);
        return str_split(&rest, ':', &ns) && str_eq(ns, namespace) && (str_eqc(name, "*") || str_eq(rest, name));
}

static bool subject_matches(const struct json *s, const struct api_user *u) {
        struct str kind = TEXT(s, "kind"), name;

        if (str_eqc(kind, "ServiceAccount")) {
                const struct json *account = json_getc(s, "serviceAccount");

                return is_account(u->name, TEXT(account, "namespace"), TEXT(account, "name"));
        }
        if (str_eqc(kind, "User")) {
                name = json_str(json_at_path(s, "user", "name"));
                return str_eqc(name, "*") || str_eq(name, u->name);
        }
        name = json_str(json_at_path(s, "group", "name"));
        for (size_t i = 0; i < u->n_groups; i++)
                if (str_eqc(name, "*") || str_eq(name, u->groups[i]))
                        return true;
        return false;
}

static bool resource_rule_matches(const struct json *rule, const struct attributes *at) {
        const struct json *resources = json_getc(rule, "resources");
        char text[512];
        int n = snprintf(text, sizeof(text), "%" STR_FMT "/%" STR_FMT, STR_ARG(at->resource), STR_ARG(at->subresource));

        if (!rbac_lists(json_getc(rule, "verbs"), str_of(at->verb)) ||
            !rbac_lists(json_getc(rule, "apiGroups"), at->group))
                return false;
        if (str_empty(at->subresource) ? !rbac_lists(resources, at->resource)
                                       : !rbac_lists(resources, str_n(text, MIN((size_t) n, sizeof(text) - 1))))
                return false;
        return str_empty(at->namespace) ? json_bool(json_getc(rule, "clusterScope"))
                                        : rbac_lists(json_getc(rule, "namespaces"), at->namespace);
}

/* "/healthz" is what is below it too, and "/api*" is no more than "/api". */
static bool path_matches(struct str url, struct str path) {
        struct str below = str_has_suffix(url, STR("*")) ? str_sub(url, 0, url.n - 1) : url;

        if (str_eqc(url, "*") || str_eq(url, path))
                return true;
        if (!str_has_prefix(path, below))
                return false;
        return str_has_suffix(below, STR("/")) || (path.n > below.n && path.p[below.n] == '/');
}

static bool path_rule_matches(const struct json *rule, const struct attributes *at) {
        if (!rbac_lists(json_getc(rule, "verbs"), str_of(at->verb)))
                return false;
        json_each_item(i, json_getc(rule, "nonResourceURLs"))
                if (path_matches(json_str(i), at->path))
                        return true;
        return false;
}

static bool rule_matches(const struct json *rule, const struct api_user *u, const struct attributes *at) {
        bool subject = false;

        json_each_item(s, json_getc(rule, "subjects"))
                subject = subject || subject_matches(s, u);
        if (!subject)
                return false;
        if (!at->path.p) {
                json_each_item(r, json_getc(rule, "resourceRules"))
                        if (resource_rule_matches(r, at))
                                return true;
        } else {
                json_each_item(r, json_getc(rule, "nonResourceRules"))
                        if (path_rule_matches(r, at))
                                return true;
        }
        return false;
}

const struct flow_schema *flow_config_classify(const struct flow_config *c, const struct api_user *u,
                                               const struct attributes *at) {
        for (size_t i = 0; i < c->n_schemas; i++) {
                if (c->schemas[i].dangling)
                        continue;
                json_each_item(rule, c->schemas[i].rules)
                        if (rule_matches(rule, u, at))
                                return &c->schemas[i];
        }
        return NULL;
}
