/* The RBAC roles and bindings that every cluster has, as upstream's default policy gives them:
 * https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
 *
 * A rule is a line: verbs, resources, API groups ("-" is core), and perhaps resource names. "read" is get, list and
 * watch; "write" is create, delete, deletecollection, patch and update. "url" in place of groups: paths instead of
 * resources. */
#include "apiserver/bootstrap.h"
#include "json/build.h"

struct role {
        const char *name;
        const char *aggregate_to; /* the label that puts it into admin, edit or view */
        const char *aggregates;   /* the label it collects */
        const char *const *rules; /* NULL-terminated */
};

/* Lines that go on over several literals are in parentheses. */
#define RULES(...)                \
        (const char *const[]) {   \
                __VA_ARGS__, NULL \
        }
#define EVENTS "create,patch,update events -,events.k8s.io"
#define ELECTION \
        "create,read,update leases coordination.k8s.io", "create,read,update leasecandidates coordination.k8s.io"

static const struct role cluster_roles[] = {
        { "cluster-admin", NULL, NULL, RULES("* * *", "* * url") },
        { "admin", NULL, "admin", NULL },
        { "edit", "admin", "edit", NULL },
        { "system:aggregate-to-admin", "admin", NULL,
          RULES("create localsubjectaccessreviews authorization.k8s.io",
                "write,read rolebindings,roles rbac.authorization.k8s.io") },
        { "system:aggregate-to-edit", "edit", NULL,
          RULES("read pods/attach,pods/exec,pods/portforward,pods/proxy,secrets,services/proxy -",
                "impersonate serviceaccounts -", "write pods,pods/attach,pods/exec,pods/portforward,pods/proxy -",
                "create pods/eviction -",
                ("write configmaps,events,persistentvolumeclaims,replicationcontrollers,replicationcontrollers/scale,"
                 "secrets,serviceaccounts,services,services/proxy -"),
                "create serviceaccounts/token -",
                ("write daemonsets,deployments,deployments/rollback,deployments/scale,replicasets,replicasets/scale,"
                 "statefulsets,statefulsets/scale apps"),
                "write horizontalpodautoscalers autoscaling", "write cronjobs,jobs batch",
                ("write daemonsets,deployments,deployments/rollback,deployments/scale,ingresses,networkpolicies,"
                 "replicasets,replicasets/scale,replicationcontrollers/scale extensions"),
                "write poddisruptionbudgets policy", "write ingresses,networkpolicies networking.k8s.io",
                "write,read leases coordination.k8s.io") },
        { "system:aggregate-to-view", "view", NULL,
          RULES(("read configmaps,endpoints,persistentvolumeclaims,persistentvolumeclaims/status,pods,"
                 "replicationcontrollers,replicationcontrollers/scale,serviceaccounts,services,services/status -"),
                ("read bindings,events,limitranges,namespaces/status,pods/log,pods/status,"
                 "replicationcontrollers/status,resourcequotas,resourcequotas/status -"),
                "read namespaces -", "read endpointslices discovery.k8s.io",
                ("read controllerrevisions,daemonsets,daemonsets/status,deployments,deployments/scale,"
                 "deployments/status,replicasets,replicasets/scale,replicasets/status,statefulsets,"
                 "statefulsets/scale,statefulsets/status apps"),
                "read horizontalpodautoscalers,horizontalpodautoscalers/status autoscaling",
                "read cronjobs,cronjobs/status,jobs,jobs/status batch",
                ("read daemonsets,daemonsets/status,deployments,deployments/scale,deployments/status,ingresses,"
                 "ingresses/status,networkpolicies,replicasets,replicasets/scale,replicasets/status,"
                 "replicationcontrollers/scale extensions"),
                "read poddisruptionbudgets,poddisruptionbudgets/status policy",
                "read ingresses,ingresses/status,networkpolicies networking.k8s.io") },
        { "view", "edit", "view", NULL },
        { "system:basic-user", NULL, NULL,
          RULES("create selfsubjectaccessreviews,selfsubjectrulesreviews authorization.k8s.io",
                "create selfsubjectreviews authentication.k8s.io") },
        { "system:discovery", NULL, NULL,
          RULES("get /api,/api/*,/apis,/apis/*,/healthz,/livez,/openapi,/openapi/*,/readyz,/version,/version/ url") },
        { "system:public-info-viewer", NULL, NULL, RULES("get /healthz,/livez,/readyz,/version,/version/ url") },
        { "system:monitoring", NULL, NULL,
          RULES("get /healthz,/healthz/*,/livez,/livez/*,/metrics,/metrics/slis,/readyz,/readyz/* url") },
        { "system:service-account-issuer-discovery", NULL, NULL,
          RULES(("get /.well-known/openid-configuration,/.well-known/openid-configuration/,/openid/v1/jwks,"
                 "/openid/v1/jwks/ url")) },
        { "system:auth-delegator", NULL, NULL,
          RULES("create tokenreviews authentication.k8s.io", "create subjectaccessreviews authorization.k8s.io") },
        { "system:node", NULL, NULL,
          RULES("create tokenreviews authentication.k8s.io",
                "create localsubjectaccessreviews,subjectaccessreviews authorization.k8s.io", "read services -",
                "create,read nodes -", "patch,update nodes/status -", "patch,update nodes -",
                "create,patch,update events -", "read pods -", "create,delete pods -", "patch,update pods/status -",
                "create pods/eviction -", "read configmaps,secrets -", "get persistentvolumeclaims,persistentvolumes -",
                "get endpoints -", "create,read certificatesigningrequests certificates.k8s.io",
                "create,delete,get,patch,update leases coordination.k8s.io", "get volumeattachments storage.k8s.io",
                "create serviceaccounts/token -", "get,patch,update persistentvolumeclaims/status -",
                "read csidrivers storage.k8s.io", "create,delete,get,patch,update csinodes storage.k8s.io",
                "read runtimeclasses node.k8s.io") },
        { "system:node-proxier", NULL, NULL,
          RULES("list,watch endpoints,services -", "read nodes -", EVENTS, "list,watch servicecidrs networking.k8s.io",
                "list,watch endpointslices discovery.k8s.io") },
        { "system:node-bootstrapper", NULL, NULL, RULES("create,read certificatesigningrequests certificates.k8s.io") },
        { "system:node-problem-detector", NULL, NULL, RULES("get nodes -", "patch nodes/status -", EVENTS) },
        { "system:kubelet-api-admin", NULL, NULL,
          RULES("read nodes -", "proxy nodes -", "* nodes/log,nodes/metrics,nodes/proxy,nodes/stats -",
                "* nodes/configz,nodes/healthz,nodes/pods -") },
        { "system:kube-scheduler", NULL, NULL,
          RULES(EVENTS, "create leases coordination.k8s.io", "read,update leases coordination.k8s.io kube-scheduler",
                "write,read leasecandidates coordination.k8s.io", "read nodes -", "delete,read pods -",
                "create bindings,pods/binding -", "patch,update pods/status -",
                "read replicationcontrollers,services -", "read replicasets apps,extensions", "read statefulsets apps",
                "read poddisruptionbudgets policy", "read persistentvolumeclaims,persistentvolumes -",
                "create tokenreviews authentication.k8s.io", "create subjectaccessreviews authorization.k8s.io",
                "read csinodes storage.k8s.io", "read volumeattachments storage.k8s.io", "read namespaces -",
                "read csidrivers storage.k8s.io", "read csistoragecapacities storage.k8s.io") },
        { "system:volume-scheduler", NULL, NULL,
          RULES("patch,read,update persistentvolumes -", "read storageclasses storage.k8s.io",
                "patch,read,update persistentvolumeclaims -") },
        { "system:kube-controller-manager", NULL, NULL,
          RULES(EVENTS, "create leases coordination.k8s.io",
                "get,update leases coordination.k8s.io kube-controller-manager", "create secrets,serviceaccounts -",
                "delete secrets -", "get configmaps,namespaces,secrets,serviceaccounts -",
                "update secrets,serviceaccounts -", "create tokenreviews authentication.k8s.io",
                "create subjectaccessreviews authorization.k8s.io", "list,watch * *",
                "create serviceaccounts/token -") },
        { "system:kube-dns", NULL, NULL, RULES("list,watch endpoints,services -") },
        { "system:kube-aggregator", NULL, NULL, RULES("read endpoints,services -") },
        { "system:heapster", NULL, NULL, RULES("read events,namespaces,nodes,pods -", "read deployments extensions") },
        { "system:persistent-volume-provisioner", NULL, NULL,
          RULES("create,delete,read persistentvolumes -", "read,update persistentvolumeclaims -",
                "read storageclasses storage.k8s.io", "watch events -", EVENTS) },
        { "system:certificates.k8s.io:certificatesigningrequests:nodeclient", NULL, NULL,
          RULES("create certificatesigningrequests/nodeclient certificates.k8s.io") },
        { "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", NULL, NULL,
          RULES("create certificatesigningrequests/selfnodeclient certificates.k8s.io") },
        { "system:certificates.k8s.io:kube-apiserver-client-approver", NULL, NULL,
          RULES("approve signers certificates.k8s.io kubernetes.io/kube-apiserver-client") },
        { "system:certificates.k8s.io:kube-apiserver-client-kubelet-approver", NULL, NULL,
          RULES("approve signers certificates.k8s.io kubernetes.io/kube-apiserver-client-kubelet") },
        { "system:certificates.k8s.io:kubelet-serving-approver", NULL, NULL,
          RULES("approve signers certificates.k8s.io kubernetes.io/kubelet-serving") },
        { "system:certificates.k8s.io:legacy-unknown-approver", NULL, NULL,
          RULES("approve signers certificates.k8s.io kubernetes.io/legacy-unknown") },
};

/* A role "system:controller:NAME", bound to the service account NAME of kube-system. */
static const struct {
        const char *name;
        const char *const *rules;
} controllers[] = {
        { "attachdetach-controller",
          RULES("list,watch persistentvolumeclaims,persistentvolumes -", "read nodes -", "patch,update nodes/status -",
                "list,watch pods -", EVENTS, "create,delete,read volumeattachments storage.k8s.io",
                "read csidrivers storage.k8s.io", "read csinodes storage.k8s.io") },
        { "clusterrole-aggregation-controller",
          RULES("escalate,patch,read,update clusterroles rbac.authorization.k8s.io") },
        { "cronjob-controller", RULES("read,update cronjobs batch", "create,delete,patch,read,update jobs batch",
                                      "update cronjobs/status batch", "update cronjobs/finalizers batch",
                                      "delete,list,watch pods -", EVENTS) },
        { "daemon-set-controller", RULES("read daemonsets apps,extensions", "update daemonsets/status apps,extensions",
                                         "update daemonsets/finalizers apps,extensions", "list,watch nodes -",
                                         "create,delete,list,patch,watch pods -", "create pods/binding -",
                                         "create,delete,patch,read,update controllerrevisions apps", EVENTS) },
        { "deployment-controller",
          RULES("read,update deployments apps,extensions", "update deployments/status apps,extensions",
                "update deployments/finalizers apps,extensions",
                "create,delete,patch,read,update replicasets apps,extensions", "read,update pods -", EVENTS) },
        { "disruption-controller",
          RULES("read deployments apps,extensions", "read replicasets apps,extensions", "read replicationcontrollers -",
                "read poddisruptionbudgets policy", "read statefulsets apps",
                "update poddisruptionbudgets/status policy", "patch,update pods/status -", "get */scale *", EVENTS) },
        { "endpoint-controller", RULES("read pods,services -", "create,delete,read,update endpoints -",
                                       "create endpoints/restricted -", EVENTS) },
        { "endpointslice-controller", RULES("read nodes,pods,services -", "update services/finalizers -",
                                            "create,delete,read,update endpointslices discovery.k8s.io", EVENTS) },
        { "endpointslicemirroring-controller",
          RULES("read endpoints,services -", "update services/finalizers -", "update endpoints/finalizers -",
                "create,delete,read,update endpointslices discovery.k8s.io", EVENTS) },
        { "ephemeral-volume-controller",
          RULES("read pods -", "update pods/finalizers -", "create,read persistentvolumeclaims -", EVENTS) },
        { "expand-controller",
          RULES("patch,read,update persistentvolumes -", "patch,update persistentvolumeclaims/status -",
                "read persistentvolumeclaims -", EVENTS, "get services -") },
        { "generic-garbage-collector", RULES("delete,patch,read,update * *", EVENTS) },
        { "horizontal-pod-autoscaler",
          RULES("read horizontalpodautoscalers autoscaling", "update horizontalpodautoscalers/status autoscaling",
                "get,update */scale *", "list,watch pods -", "list,watch pods metrics.k8s.io",
                "read * custom.metrics.k8s.io", "read * external.metrics.k8s.io", EVENTS) },
        { "job-controller", RULES("patch,read,update jobs batch", "update jobs/status batch",
                                  "update jobs/finalizers batch", "create,delete,list,patch,watch pods -", EVENTS) },
        { "legacy-service-account-token-cleaner",
          RULES("get configmaps - kube-apiserver-legacy-service-account-token-tracking", "delete,patch secrets -") },
        { "namespace-controller", RULES("delete,read namespaces -", "update namespaces/finalize,namespaces/status -",
                                        "delete,deletecollection,read * *") },
        { "node-controller", RULES("delete,patch,read,update nodes -", "patch,update nodes/status -",
                                   "patch,update pods/status -", "delete,read pods -", EVENTS) },
        { "persistent-volume-binder",
          RULES("create,delete,read,update persistentvolumes -", "update persistentvolumes/status -",
                "read,update persistentvolumeclaims -", "update persistentvolumeclaims/status -",
                "create,delete,read pods -", "read storageclasses storage.k8s.io", "list,watch nodes -", EVENTS,
                "watch events -", "get services -") },
        { "pod-garbage-collector", RULES("delete,list,watch pods -", "read nodes -", "patch pods/status -") },
        { "replicaset-controller",
          RULES("read,update replicasets apps,extensions", "update replicasets/status apps,extensions",
                "update replicasets/finalizers apps,extensions", "create,delete,list,patch,watch pods -", EVENTS) },
        { "replication-controller",
          RULES("read,update replicationcontrollers -", "update replicationcontrollers/status -",
                "update replicationcontrollers/finalizers -", "create,delete,list,patch,watch pods -", EVENTS) },
        { "resourcequota-controller", RULES("list,watch * *", "update resourcequotas/status -", EVENTS) },
        { "route-controller", RULES("list,watch nodes -", "patch nodes/status -", EVENTS) },
        { "selinux-warning-controller", RULES(EVENTS, "read persistentvolumes -", "read persistentvolumeclaims -",
                                              "read pods -", "read csidrivers storage.k8s.io") },
        { "service-account-controller", RULES("create serviceaccounts -", EVENTS) },
        { "service-controller",
          RULES("read services -", "patch,update services/status -", "list,watch nodes -", EVENTS) },
        { "service-cidrs-controller",
          RULES("patch,read,update servicecidrs networking.k8s.io",
                "patch,update servicecidrs/finalizers networking.k8s.io",
                "patch,update servicecidrs/status networking.k8s.io", "read ipaddresses networking.k8s.io", EVENTS) },
        { "statefulset-controller",
          RULES("list,watch pods -", "read statefulsets apps", "update statefulsets/status apps",
                "update statefulsets/finalizers apps", "create,delete,get,patch,update pods -",
                "create,delete,patch,read,update controllerrevisions apps", "create,read persistentvolumeclaims -",
                EVENTS, "delete,update persistentvolumeclaims -", "update pods/finalizers -") },
        { "ttl-controller", RULES("list,patch,update,watch nodes -", EVENTS) },
        { "certificate-controller",
          RULES("delete,read certificatesigningrequests certificates.k8s.io",
                "update certificatesigningrequests/approval,certificatesigningrequests/status certificates.k8s.io",
                "approve signers certificates.k8s.io kubernetes.io/kube-apiserver-client-kubelet",
                ("sign signers certificates.k8s.io kubernetes.io/kube-apiserver-client,"
                 "kubernetes.io/kube-apiserver-client-kubelet,kubernetes.io/kubelet-serving,"
                 "kubernetes.io/legacy-unknown"),
                "create subjectaccessreviews authorization.k8s.io", EVENTS) },
        { "pvc-protection-controller", RULES("read,update persistentvolumeclaims -", "read pods -", EVENTS) },
        { "pv-protection-controller", RULES("read,update persistentvolumes -", EVENTS) },
        { "ttl-after-finished-controller", RULES("delete,read jobs batch", EVENTS) },
        { "root-ca-cert-publisher", RULES("create,update configmaps -", EVENTS) },
        { "validatingadmissionpolicy-status-controller",
          RULES("read validatingadmissionpolicies admissionregistration.k8s.io",
                "get,patch,update validatingadmissionpolicies/status admissionregistration.k8s.io", EVENTS) },
};

/* "g:system:masters", "u:system:kube-proxy", "s:kube-system/kube-dns" */
#define MAX_SUBJECTS 3

static const struct {
        const char *name, *role, *subjects[MAX_SUBJECTS];
} cluster_bindings[] = {
        { "cluster-admin", "cluster-admin", { "g:system:masters" } },
        { "system:basic-user", "system:basic-user", { "g:system:authenticated" } },
        { "system:discovery", "system:discovery", { "g:system:authenticated" } },
        { "system:public-info-viewer",
          "system:public-info-viewer",
          { "g:system:authenticated", "g:system:unauthenticated" } },
        { "system:monitoring", "system:monitoring", { "g:system:monitoring" } },
        { "system:service-account-issuer-discovery",
          "system:service-account-issuer-discovery",
          { "g:system:serviceaccounts" } },
        { "system:node-proxier", "system:node-proxier", { "u:system:kube-proxy" } },
        { "system:kube-scheduler", "system:kube-scheduler", { "u:system:kube-scheduler" } },
        { "system:volume-scheduler", "system:volume-scheduler", { "u:system:kube-scheduler" } },
        { "system:kube-controller-manager", "system:kube-controller-manager", { "u:system:kube-controller-manager" } },
        { "system:kube-dns", "system:kube-dns", { "s:kube-system/kube-dns" } },
        { "system:node", "system:node", { NULL } },
};

static const struct {
        const char *namespace, *name;
        const char *const *rules;
        const char *binding; /* its name */
        const char *subjects[MAX_SUBJECTS];
} namespaced[] = {
        { "kube-system",
          "extension-apiserver-authentication-reader",
          RULES("read configmaps - extension-apiserver-authentication"),
          "system::extension-apiserver-authentication-reader",
          { "u:system:kube-controller-manager", "u:system:kube-scheduler" } },
        { "kube-system",
          "system:controller:bootstrap-signer",
          RULES("read secrets -"),
          "system:controller:bootstrap-signer",
          { "s:kube-system/bootstrap-signer" } },
        { "kube-system",
          "system:controller:cloud-provider",
          RULES("create,read configmaps -"),
          "system:controller:cloud-provider",
          { "s:kube-system/cloud-provider" } },
        { "kube-system",
          "system:controller:token-cleaner",
          RULES("delete,read secrets -", EVENTS),
          "system:controller:token-cleaner",
          { "s:kube-system/token-cleaner" } },
        { "kube-system",
          "system::leader-locking-kube-controller-manager",
          RULES("watch configmaps -", "get,update configmaps - kube-controller-manager", ELECTION),
          "system::leader-locking-kube-controller-manager",
          { "u:system:kube-controller-manager", "s:kube-system/kube-controller-manager",
            "s:kube-system/leader-election-controller" } },
        { "kube-system",
          "system::leader-locking-kube-scheduler",
          RULES("watch configmaps -", "get,update configmaps - kube-scheduler", ELECTION),
          "system::leader-locking-kube-scheduler",
          { "u:system:kube-scheduler", "s:kube-system/kube-scheduler" } },
        { "kube-public",
          "system:controller:bootstrap-signer",
          RULES("read configmaps -", "update configmaps - cluster-info", EVENTS),
          "system:controller:bootstrap-signer",
          { "s:kube-system/bootstrap-signer" } },
};

/* ---- to objects ---- */

static void push_words(struct arena *a, struct json *list, struct str words) {
        static const struct {
                const char *word, *verbs[5];
        } groups[] = {
                { "read", { "get", "list", "watch" } },
                { "write", { "create", "delete", "deletecollection", "patch", "update" } },
        };

        str_each(w, words, ',') {
                bool group = false;

                for (size_t g = 0; g < ARRAY_SIZE(groups); g++) {
                        if (!str_eqc(w, groups[g].word))
                                continue;
                        group = true;
                        for (size_t i = 0; i < 5 && groups[g].verbs[i]; i++)
                                json_push(a, list, json_of_cstr(groups[g].verbs[i]));
                }
                if (!group)
                        json_push(a, list, str_eqc(w, "-") ? json_of_cstr("") : json_of_str(w));
        }
}

static struct json words(struct arena *a, struct str text) {
        struct json list = json_new_array();

        push_words(a, &list, text);
        json_sort_texts(&list);
        return list;
}

static struct json rule_json(struct arena *a, const char *line) {
        struct str text = str_of(line), part[4] = { 0 };
        struct json list[4];

        for (size_t i = 0; i < ARRAY_SIZE(part); i++) {
                str_split(&text, ' ', &part[i]);
                list[i] = part[i].n > 0 ? words(a, part[i]) : json_null();
        }
        if (str_eqc(part[2], "url"))
                return json_build(a, "{ verbs: %j, nonResourceURLs: %j }", &list[0], &list[1]);
        return json_build(a, "{ verbs: %j, apiGroups: %j, resources: %j, resourceNames: %j }", &list[0], &list[2],
                          &list[1], part[3].n > 0 ? &list[3] : NULL);
}

static void push_rules(struct arena *a, struct json *list, const char *const *rules) {
        for (; rules && *rules; rules++)
                json_push(a, list, rule_json(a, *rules));
}

/* The rules of admin, edit and view: those of all that aggregate into them, so that they can be read without a
 * controller. */
static void push_aggregated(struct arena *a, struct json *list, const char *label) {
        for (size_t i = 0; i < ARRAY_SIZE(cluster_roles); i++) {
                const struct role *r = &cluster_roles[i];

                if (!r->aggregate_to || strcmp(r->aggregate_to, label) != 0)
                        continue;
                push_rules(a, list, r->rules);
                if (r->aggregates)
                        push_aggregated(a, list, r->aggregates);
        }
}

static struct json head(struct arena *a, const char *kind, const char *ns, struct str name) {
        return json_build(a,
                          "{ kind: %c, apiVersion: 'rbac.authorization.k8s.io/v1', metadata: { name: %s, namespace: %c,"
                          "  annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },"
                          "  labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults' } } }",
                          kind, name, ns);
}

static struct json role_json(struct arena *a, const char *ns, struct str name, const char *const *lines) {
        struct json o = head(a, ns ? "Role" : "ClusterRole", ns, name);

        push_rules(a, json_get_or_add_array(a, &o, "rules"), lines);
        return o;
}

static struct json cluster_role_json(struct arena *a, const struct role *r) {
        struct json o = role_json(a, NULL, str_of(r->name), r->rules);

        if (r->aggregate_to)
                json_setc(a, json_get_or_add_object(a, json_get_or_add_object(a, &o, "metadata"), "labels"),
                          arena_printf(a, "rbac.authorization.k8s.io/aggregate-to-%s", r->aggregate_to).p,
                          json_of_cstr("true"));
        if (!r->aggregates)
                return o;
        json_setc(a, &o, "aggregationRule",
                  json_build(a, "{ clusterRoleSelectors: [ { matchLabels: { %s: 'true' } } ] }",
                             arena_printf(a, "rbac.authorization.k8s.io/aggregate-to-%s", r->aggregates)));
        push_aggregated(a, json_get_or_add_array(a, &o, "rules"), r->aggregates);
        return o;
}

static struct json subject_json(struct arena *a, const char *text) {
        struct str rest = str_of(text + 2), ns;

        if (*text != 's')
                return json_build(a, "{ kind: %c, apiGroup: 'rbac.authorization.k8s.io', name: %s }",
                                  *text == 'g' ? "Group" : "User", rest);
        str_split(&rest, '/', &ns);
        return json_build(a, "{ kind: 'ServiceAccount', namespace: %s, name: %s }", ns, rest);
}

static struct json binding_json(struct arena *a, const char *ns, struct str name, struct str role,
                                const char *const *subjects) {
        struct json o = head(a, ns ? "RoleBinding" : "ClusterRoleBinding", ns, name);

        for (size_t i = 0; i < MAX_SUBJECTS && subjects[i]; i++)
                json_push(a, json_get_or_add_array(a, &o, "subjects"), subject_json(a, subjects[i]));
        json_setc(a, &o, "roleRef",
                  json_build(a, "{ apiGroup: 'rbac.authorization.k8s.io', kind: %c, name: %s }",
                             ns ? "Role" : "ClusterRole", role));
        return o;
}

struct json bootstrap_rules(struct arena *a, const char *role) {
        struct json list = json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(cluster_roles); i++)
                if (strcmp(cluster_roles[i].name, role) == 0)
                        push_rules(a, &list, cluster_roles[i].rules);
        return list;
}

void bootstrap_policy(struct arena *a, void (*emit)(struct json object, void *arg), void *arg) {
        for (size_t i = 0; i < ARRAY_SIZE(cluster_roles); i++)
                emit(cluster_role_json(a, &cluster_roles[i]), arg);
        for (size_t i = 0; i < ARRAY_SIZE(cluster_bindings); i++)
                emit(binding_json(a, NULL, str_of(cluster_bindings[i].name), str_of(cluster_bindings[i].role),
                                  cluster_bindings[i].subjects),
                     arg);
        for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
                struct str name = arena_printf(a, "system:controller:%s", controllers[i].name);
                const char *subjects[MAX_SUBJECTS] = { arena_printf(a, "s:kube-system/%s", controllers[i].name).p };

                emit(role_json(a, NULL, name, controllers[i].rules), arg);
                emit(binding_json(a, NULL, name, name, subjects), arg);
        }
        for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
                const char *ns = namespaced[i].namespace;
                struct str name = str_of(namespaced[i].name);

                emit(role_json(a, ns, name, namespaced[i].rules), arg);
                emit(binding_json(a, ns, str_of(namespaced[i].binding), name, namespaced[i].subjects), arg);
        }
}
