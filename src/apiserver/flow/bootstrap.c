/* The FlowSchemas and PriorityLevelConfigurations of v1.33, as tables. */
#include "apiserver/flow/flow.h"
#include "json/build.h"

static const struct {
        const char *name;
        int shares, lendable, queues, hand; /* queues 0: rejects */
} levels[] = {
        { "catch-all", 5, 0, 0, 0 },         { "global-default", 20, 50, 128, 6 }, { "leader-election", 10, 0, 16, 4 },
        { "node-high", 40, 25, 64, 6 },      { "system", 30, 33, 64, 6 },          { "workload-high", 40, 50, 128, 6 },
        { "workload-low", 100, 90, 128, 6 },
};

/* Subjects in one letter: u:user g:group s:ServiceAccount of kube-system. Rules: "verbs|group|resources", "*" for all;
 * a '+' before it: also of the cluster. "/…": verbs get on these paths. */
#define ALL "*"
static const struct {
        const char *name, *level;
        int precedence;
        const char *by, *subjects[4], *rules[3];
} schemas[] = {
        { "catch-all",
          "catch-all",
          10000,
          "ByUser",
          { "g:system:unauthenticated", "g:system:authenticated" },
          { ALL } },
        { "endpoint-controller",
          "workload-high",
          150,
          "ByUser",
          { "u:system:kube-controller-manager", "s:endpoint-controller", "s:endpointslicemirroring-controller" },
          { "get,create,update||endpoints" } },
        { "exempt", "exempt", 1, NULL, { "g:system:masters" }, { ALL } },
        { "global-default",
          "global-default",
          9900,
          "ByUser",
          { "g:system:unauthenticated", "g:system:authenticated" },
          { ALL } },
        { "kube-controller-manager",
          "workload-high",
          800,
          "ByNamespace",
          { "u:system:kube-controller-manager" },
          { ALL } },
        { "kube-scheduler", "workload-high", 800, "ByNamespace", { "u:system:kube-scheduler" }, { ALL } },
        { "kube-system-service-accounts", "workload-high", 900, "ByNamespace", { "s:*" }, { ALL } },
        { "probes",
          "exempt",
          2,
          NULL,
          { "g:system:unauthenticated", "g:system:authenticated" },
          { "/healthz,/readyz,/livez" } },
        { "service-accounts", "workload-low", 9000, "ByUser", { "g:system:serviceaccounts" }, { ALL } },
        { "system-leader-election",
          "leader-election",
          100,
          "ByUser",
          { "u:system:kube-controller-manager", "u:system:kube-scheduler", "s:*" },
          { "get,create,update|coordination.k8s.io|leases" } },
        { "system-node-high",
          "node-high",
          400,
          "ByUser",
          { "g:system:nodes" },
          { "+*||nodes,nodes/status", "*|coordination.k8s.io|leases" } },
        { "system-nodes", "system", 500, "ByUser", { "g:system:nodes" }, { ALL } },
        { "workload-leader-election",
          "leader-election",
          200,
          "ByUser",
          { "s:*" },
          { "get,create,update||endpoints,configmaps", "get,create,update|coordination.k8s.io|leases" } },
};

static struct json words(struct arena *a, struct str s) {
        struct json list = json_new_array();
        struct str word;

        if (str_empty(s))
                json_push(a, &list, json_of_cstr(""));
        while (str_split(&s, ',', &word))
                json_push(a, &list, json_of_str(word));
        return list;
}

static void add_resource_rule(struct arena *a, struct json *rules, struct str verbs, struct str group,
                              struct str resources, bool cluster) {
        struct json v = words(a, verbs), g = words(a, group), r = words(a, resources), yes = json_of_bool(true);

        json_push(a, json_get_or_add_array(a, rules, "resourceRules"),
                  json_build(a, "{ verbs: %j, apiGroups: %j, resources: %j, clusterScope: %j, namespaces: [ '*' ] }",
                             &v, &g, &r, cluster ? &yes : NULL));
}

static void add_path_rule(struct arena *a, struct json *rules, struct str verb, struct str paths) {
        struct json p = words(a, paths);

        json_push(a, json_get_or_add_array(a, rules, "nonResourceRules"),
                  json_build(a, "{ verbs: [ %s ], nonResourceURLs: %j }", verb, &p));
}

static void add_rule(struct arena *a, struct json *rules, const char *text) {
        struct str s = str_of(text), verbs, group, star = STR("*");
        bool cluster = *text == '+';

        if (strcmp(text, ALL) == 0) {
                add_resource_rule(a, rules, star, star, star, true);
                return add_path_rule(a, rules, star, star);
        }
        if (*text == '/')
                return add_path_rule(a, rules, STR("get"), s);
        s = str_sub(s, cluster, s.n);
        str_split(&s, '|', &verbs);
        str_split(&s, '|', &group);
        add_resource_rule(a, rules, verbs, group, s, cluster);
}

static struct json subject(struct arena *a, const char *text) {
        const char *name = text + 2;

        return *text == 'u'   ? json_build(a, "{ kind: 'User', user: { name: %c } }", name)
               : *text == 'g' ? json_build(a, "{ kind: 'Group', group: { name: %c } }", name)
                              : json_build(a,
                                           "{ kind: 'ServiceAccount', serviceAccount: {"
                                           "  namespace: 'kube-system', name: %c } }",
                                           name);
}

static struct json new_object(struct arena *a, const char *kind, const char *name, struct json spec) {
        return json_build(a,
                          "{ kind: %c, apiVersion: 'flowcontrol.apiserver.k8s.io/v1', metadata: { name: %c,"
                          "  generation: 1, annotations: { apf.kubernetes.io/autoupdate-spec: 'true' } }, spec: %j }",
                          kind, name, &spec);
}

static struct json make_level(struct arena *a, size_t i) {
        struct json response = json_build(a, "{ type: 'Reject' }");

        if (levels[i].queues)
                response = json_build(a,
                                      "{ type: 'Queue', queuing: { queues: %d, handSize: %d, queueLengthLimit: 50 } }",
                                      levels[i].queues, levels[i].hand);
        return new_object(a, "PriorityLevelConfiguration", levels[i].name,
                          json_build(a,
                                     "{ type: 'Limited', limited: { nominalConcurrencyShares: %d, lendablePercent: %d,"
                                     "  limitResponse: %j } }",
                                     levels[i].shares, levels[i].lendable, &response));
}

static struct json make_exempt(struct arena *a) {
        return new_object(a, "PriorityLevelConfiguration", "exempt",
                          json_build(a, "{ type: 'Exempt',"
                                        "  exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } }"));
}

static struct json make_schema(struct arena *a, size_t i) {
        struct json rule = json_build(a, "{ subjects: [] }"), method = json_build(a, "{ type: %c }", schemas[i].by);

        for (size_t k = 0; k < ARRAY_SIZE(schemas[i].subjects) && schemas[i].subjects[k]; k++)
                json_push(a, json_get_or_add_array(a, &rule, "subjects"), subject(a, schemas[i].subjects[k]));
        for (size_t k = 0; k < ARRAY_SIZE(schemas[i].rules) && schemas[i].rules[k]; k++)
                add_rule(a, &rule, schemas[i].rules[k]);
        return new_object(a, "FlowSchema", schemas[i].name,
                          json_build(a,
                                     "{ priorityLevelConfiguration: { name: %c }, matchingPrecedence: %d,"
                                     "  distinguisherMethod: %j, rules: [ %j ] }",
                                     schemas[i].level, schemas[i].precedence, schemas[i].by ? &method : NULL, &rule));
}

void flow_bootstrap(struct arena *a, void (*emit)(struct json object, bool mandatory, void *arg), void *arg) {
        emit(make_exempt(a), true, arg);
        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                emit(make_level(a, i), strcmp(levels[i].name, "catch-all") == 0, arg);
        for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
                emit(make_schema(a, i),
                     strcmp(schemas[i].name, "catch-all") == 0 || strcmp(schemas[i].name, "exempt") == 0, arg);
}
