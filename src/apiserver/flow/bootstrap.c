/* The FlowSchemas and PriorityLevelConfigurations of v1.33, as tables. */
#include "apiserver/flow/flow.h"

static const struct {
        const char *name;
        int shares, lendable, queues, hand; /* queues 0: rejects */
} levels[] = {
        { "catch-all", 5, 0, 0, 0 },
        { "global-default", 20, 50, 128, 6 },
        { "leader-election", 10, 0, 16, 4 },
        { "node-high", 40, 25, 64, 6 },
        { "system", 30, 33, 64, 6 },
        { "workload-high", 40, 50, 128, 6 },
        { "workload-low", 100, 90, 128, 6 },
};

/* Subjects in one letter: u:user g:group s:ServiceAccount of kube-system. Rules: "verbs|group|resources", "*" for all;
 * a '+' before it: also of the cluster. "/…": verbs get on these paths. */
#define ALL "*"
static const struct {
        const char *name, *level;
        int precedence;
        const char *by;
        const char *subjects[4], *rules[3];
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
          { "get,create,update|coordination.k8s.io|leases" } },
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

static struct json resource_rule(struct arena *a, struct str verbs, struct str group, struct str resources,
                                 bool cluster) {
        struct json r = json_new_object();

        json_setc(a, &r, "verbs", words(a, verbs));
        json_setc(a, &r, "apiGroups", words(a, group));
        json_setc(a, &r, "resources", words(a, resources));
        if (cluster)
                json_set_bool(a, &r, "clusterScope", true);
        json_setc(a, &r, "namespaces", words(a, STR("*")));
        return r;
}

static struct json path_rule(struct arena *a, struct str verbs, struct str paths) {
        struct json r = json_new_object();

        json_setc(a, &r, "verbs", words(a, verbs));
        json_setc(a, &r, "nonResourceURLs", words(a, paths));
        return r;
}

static void add_rule(struct arena *a, struct json *rules, const char *text) {
        struct str s = str_of(text), verbs, group, star = STR("*");
        bool cluster = *text == '+';

        if (strcmp(text, ALL) == 0) {
                json_push(a, json_get_or_add_array(a, rules, "resourceRules"),
                          resource_rule(a, star, star, star, true));
                json_push(a, json_get_or_add_array(a, rules, "nonResourceRules"), path_rule(a, star, star));
                return;
        }
        if (*text == '/') {
                json_push(a, json_get_or_add_array(a, rules, "nonResourceRules"), path_rule(a, STR("get"), s));
                return;
        }
        s = str_sub(s, cluster, s.n);
        str_split(&s, '|', &verbs);
        str_split(&s, '|', &group);
        json_push(a, json_get_or_add_array(a, rules, "resourceRules"), resource_rule(a, verbs, group, s, cluster));
}

static struct json subject(struct arena *a, const char *text) {
        struct json s = json_new_object(), who = json_new_object();
        const char *key = *text == 'u' ? "user" : *text == 'g' ? "group" : "serviceAccount";

        json_set_cstr(a, &s, "kind", *text == 'u' ? "User" : *text == 'g' ? "Group" : "ServiceAccount");
        if (*text == 's')
                json_set_cstr(a, &who, "namespace", "kube-system");
        json_set_cstr(a, &who, "name", text + 2);
        json_setc(a, &s, key, who);
        return s;
}

static struct json new_object(struct arena *a, const char *kind, const char *name) {
        struct json o = json_new_object(), *meta;

        json_set_cstr(a, &o, "kind", kind);
        json_set_cstr(a, &o, "apiVersion", "flowcontrol.apiserver.k8s.io/v1");
        meta = json_get_or_add_object(a, &o, "metadata");
        json_set_cstr(a, meta, "name", name);
        json_set_int(a, meta, "generation", 1);
        json_set_cstr(a, json_get_or_add_object(a, meta, "annotations"), "apf.kubernetes.io/autoupdate-spec", "true");
        return o;
}

static struct json make_level(struct arena *a, size_t i) {
        struct json o = new_object(a, "PriorityLevelConfiguration", levels[i].name);
        struct json *spec = json_get_or_add_object(a, &o, "spec"), *limited, *response, *queuing;

        json_set_cstr(a, spec, "type", "Limited");
        limited = json_get_or_add_object(a, spec, "limited");
        json_set_int(a, limited, "nominalConcurrencyShares", levels[i].shares);
        json_set_int(a, limited, "lendablePercent", levels[i].lendable);
        response = json_get_or_add_object(a, limited, "limitResponse");
        json_set_cstr(a, response, "type", levels[i].queues ? "Queue" : "Reject");
        if (levels[i].queues) {
                queuing = json_get_or_add_object(a, response, "queuing");
                json_set_int(a, queuing, "queues", levels[i].queues);
                json_set_int(a, queuing, "handSize", levels[i].hand);
                json_set_int(a, queuing, "queueLengthLimit", 50);
        }
        return o;
}

static struct json make_exempt(struct arena *a) {
        struct json o = new_object(a, "PriorityLevelConfiguration", "exempt");
        struct json *spec = json_get_or_add_object(a, &o, "spec"), *exempt;

        json_set_cstr(a, spec, "type", "Exempt");
        exempt = json_get_or_add_object(a, spec, "exempt");
        json_set_int(a, exempt, "nominalConcurrencyShares", 0);
        json_set_int(a, exempt, "lendablePercent", 0);
        return o;
}

static struct json make_schema(struct arena *a, size_t i) {
        struct json o = new_object(a, "FlowSchema", schemas[i].name), rule = json_new_object();
        struct json *spec = json_get_or_add_object(a, &o, "spec");
        struct json *subjects = json_get_or_add_array(a, &rule, "subjects");

        json_set_cstr(a, json_get_or_add_object(a, spec, "priorityLevelConfiguration"), "name", schemas[i].level);
        json_set_int(a, spec, "matchingPrecedence", schemas[i].precedence);
        if (schemas[i].by)
                json_set_cstr(a, json_get_or_add_object(a, spec, "distinguisherMethod"), "type", schemas[i].by);
        for (size_t k = 0; k < ARRAY_SIZE(schemas[i].subjects) && schemas[i].subjects[k]; k++)
                json_push(a, subjects, subject(a, schemas[i].subjects[k]));
        for (size_t k = 0; k < ARRAY_SIZE(schemas[i].rules) && schemas[i].rules[k]; k++)
                add_rule(a, &rule, schemas[i].rules[k]);
        json_push(a, json_get_or_add_array(a, spec, "rules"), rule);
        return o;
}

void flow_bootstrap(struct arena *a, void (*emit)(struct json object, bool mandatory, void *arg), void *arg) {
        emit(make_exempt(a), true, arg);
        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                emit(make_level(a, i), strcmp(levels[i].name, "catch-all") == 0, arg);
        for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
                emit(make_schema(a, i),
                     strcmp(schemas[i].name, "catch-all") == 0 || strcmp(schemas[i].name, "exempt") == 0, arg);
}
