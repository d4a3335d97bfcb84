/* Workloads and nodes: what is refused when they are made, changed, and when their status is written. */
#include "help.h"

#define SPEC(part) "{\"metadata\":{\"name\":\"x\"},\"spec\":{" part "}}"
#define POD "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}"
#define TEMPLATE "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}}," POD "}"
#define SELECTOR "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}"
#define WORKLOAD(part) SPEC(SELECTOR "," TEMPLATE part)
#define JOB                                                                                                           \
        SPEC("\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}" \
             "}")
#define STATUS(part) "{\"status\":{" part "}}"
#define CONDITIONS(list) "\"conditions\":[" list "]"
#define IS(type) "{\"type\":\"" type "\",\"status\":\"True\"}"
#define MISMATCH                                                                                                   \
        "spec.template.metadata.labels: Invalid value: map[string]string{\"a\":\"b\"}: `selector` does not match " \
        "template `labels`"

static const struct {
        const struct api_resource *resource;
        const char *body, *message; /* what is wrong with the whole */
} refused[] = {
        { &res_deployments, SPEC(TEMPLATE), "[spec.selector: Required value, " MISMATCH "]" },
        { &res_deployments, SPEC("\"selector\":{}," TEMPLATE),
          "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment" },
        { &res_replicasets, SPEC("\"selector\":{}," TEMPLATE),
          "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment" },
        { &res_daemonsets, SPEC(TEMPLATE), MISMATCH },
        { &res_daemonsets,
          SPEC(SELECTOR ",\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"preemptionPolicy\":\"\","
                        "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"),
          "spec.template.spec.preemptionPolicy: Required value" },
        { &res_deployments, SPEC("\"selector\":{\"matchLabels\":{\"a\":\"c\"}}," TEMPLATE), MISMATCH },
        { &res_deployments, SPEC(SELECTOR ",\"template\":{" POD "}"),
          "spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match template "
          "`labels`" },
        { &res_deployments,
          SPEC(SELECTOR ",\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\",\"q q\":\"\"}},\"spec\":{"
                        "\"activeDeadlineSeconds\":1,\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\","
                        "\"image\":\"i\"}]}}"),
          "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported" },
        { &res_deployments, WORKLOAD(",\"strategy\":{\"type\":\"Q\"}"),
          "spec.strategy: Unsupported value: apps.DeploymentStrategy{Type:\"Q\", "
          "RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}: supported values: \"Recreate\", "
          "\"RollingUpdate\"" },
        { &res_deployments,
          WORKLOAD(",\"strategy\":{\"rollingUpdate\":{\"maxSurge\":\"0%\",\"maxUnavailable\":0}},"
                   "\"progressDeadlineSeconds\":5,\"minReadySeconds\":5"),
          "[spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, "
          "StrVal:\"\"}: may not be 0 when `maxSurge` is 0, "
          "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds]" },
        { &res_daemonsets,
          WORKLOAD(",\"updateStrategy\":{\"rollingUpdate\":{\"maxSurge\":\"10%\",\"maxUnavailable\":\"101%\"}}"),
          "[spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, "
          "StrVal:\"101%\"}: must not be greater than 100%, "
          "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:1, IntVal:0, "
          "StrVal:\"10%\"}: may not be set when maxUnavailable is "
          "non-zero]" },
        { &res_daemonsets, WORKLOAD(",\"updateStrategy\":{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":0}}"),
          "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0" },
        { &res_statefulsets, WORKLOAD(",\"podManagementPolicy\":\"Q\",\"updateStrategy\":{\"type\":\"R\"}"),
          "[spec.podManagementPolicy: Invalid value: \"Q\": must be 'OrderedReady' or 'Parallel', spec.updateStrategy: "
          "Invalid value: apps.StatefulSetUpdateStrategy{Type:\"R\", "
          "RollingUpdate:(*apps.RollingUpdateStatefulSetStrategy)(nil)}: must be 'RollingUpdate' or 'OnDelete']" },
        { &res_statefulsets,
          WORKLOAD(",\"updateStrategy\":{\"type\":\"OnDelete\",\"rollingUpdate\":{\"partition\":1}}"),
          "spec.updateStrategy.rollingUpdate: Invalid value: apps.RollingUpdateStatefulSetStrategy{Partition:1, "
          "MaxUnavailable:(*intstr.IntOrString)(nil)}: only allowed for updateStrategy 'RollingUpdate'" },
        { &res_statefulsets, WORKLOAD(",\"ordinals\":{\"start\":-1}"),
          "spec.ordinals.start: Invalid value: -1: must be greater than or equal to 0" },
        { &res_replicationcontrollers, SPEC("\"replicas\":-1"),
          "[spec.selector: Required value, spec.replicas: Invalid value: -1: must be greater than or equal to 0, "
          "spec.template: Required value]" },
        { &res_poddisruptionbudgets, SPEC("\"minAvailable\":1,\"maxUnavailable\":\"120%\""),
          "[spec: Invalid value: policy.PodDisruptionBudgetSpec{MinAvailable:(*intstr.IntOrString)(0xc000aa5b60), "
          "Selector:(*v1.LabelSelector)(nil), MaxUnavailable:(*intstr.IntOrString)(0xc000aa5b60), "
          "UnhealthyPodEvictionPolicy:(*policy.UnhealthyPodEvictionPolicyType)(nil)}: minAvailable and maxUnavailable "
          "cannot be both set, "
          "spec.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, StrVal:\"120%\"}: must not be "
          "greater than 100%]" },
        { &res_storageclasses,
          "{\"metadata\":{\"name\":\"x\"},\"provisioner\":\"p\",\"allowedTopologies\":[{\"matchLabelExpressions\":["
          "{\"key\":\"a\",\"values\":[\"1\",\"1\"]},{\"key\":\"a\",\"values\":[]}]},{},{}]}",
          "[allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: \"1\", "
          "allowedTopologies[0].matchLabelExpressions[1].values: Required value, "
          "allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: \"a\", "
          "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\", "
          "allowedTopologies[2].matchLabelExpressions: Duplicate value: \"\"]" },
        { &res_endpointslices,
          "{\"metadata\":{\"name\":\"x\"},\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"::1\",\"127.0.0."
          "1\"],"
          "\"hints\":{\"forZones\":[{\"name\":\"a\"},{\"name\":\"a\"}]}}],\"ports\":[{\"port\":1},{\"port\":2}]}",
          "[ports[1].name: Duplicate value: \"\", endpoints[0].addresses: Invalid value: \"::1\": must be an IPv4 "
          "address, endpoints[0].addresses[0]: "
          "Invalid value: \"::1\": may not be in the loopback range (127.0.0.0/8, ::1/128), endpoints[0].addresses[1]: "
          "Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128), "
          "endpoints[0].hints.forZones[1].name: Duplicate value: \"a\"]" },
        { &res_endpointslices,
          "{\"metadata\":{\"name\":\"x\"},\"addressType\":\"FQDN\",\"endpoints\":[{\"addresses\":[\"a\",\"a.b.\"]}]}",
          "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by "
          "dots" },
        { &res_csistoragecapacities, "{\"metadata\":{\"name\":\"x\"},\"storageClassName\":\"q_\",\"capacity\":\"-1\"}",
          "capacity: Invalid value: \"-1\": must be greater than or equal to 0]" },
        { &res_nodes,
          SPEC("\"taints\":[{\"key\":\"a\",\"effect\":\"Q\"},{\"key\":\"b\",\"effect\":\"NoSchedule\"},{\"key\":\"b\","
               "\"value\":\"v\",\"effect\":\"NoSchedule\"}]"),
          "[metadata.taints[0].effect: Unsupported value: \"Q\": supported values: \"NoSchedule\", "
          "\"PreferNoSchedule\", "
          "\"NoExecute\", metadata.taints[2]: Duplicate value: "
          "core.Taint{Key:\"b\", Value:\"v\", Effect:\"NoSchedule\", "
          "TimeAdded:<nil>}: taints must be unique by key and effect pair]" },
        { &res_nodes, SPEC("\"podCIDR\":\"10.1.0.0/24\",\"podCIDRs\":[\"10.1.0.0/24\",\"10.2.0.0/24\"]"),
          "spec.podCIDRs: Invalid value: []string{\"10.1.0.0/24\", \"10.2.0.0/24\"}: may specify no more than one CIDR "
          "for each "
          "IP family" },
        { &res_nodes,
          "{\"metadata\":{\"name\":\"x\"},\"status\":{\"allocatable\":{\"example.com/a\":\"1.5\",\"cpu\":\"-1\"}}}",
          "[status.allocatable.cpu: Invalid value: \"-1\": must be greater than or equal to 0, "
          "status.allocatable.example.com/a: Invalid value: resource.Quantity{i:resource.int64Amount{value:1500, "
          "scale:-3}, "
          "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"1500m\", Format:\"DecimalSI\"}: must be an integer]" },
        { &res_nodes,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"scheduler.alpha.kubernetes.io/"
          "preferAvoidPods\":\"{\\\"preferAvoidPods\\\":[{}]}\",\"scheduler.alpha.kubernetes.io/taints\":\"[\"}}}",
          "[metadata.annotations: Invalid value: \"scheduler.alpha.kubernetes.io/taints\": unexpected end of JSON "
          "input, metadata.annotations.scheduler.alpha.kubernetes.io/preferAvoidPods[0].PodSignature: Required "
          "value]" },
        { &res_nodes, SPEC("\"podCIDR\":\"10.1.0.0/24\",\"podCIDRs\":[\"10.1.0.0/24\",\"10.1.0.0/24\"]"),
          "spec.podCIDRs: Invalid value: []string{\"10.1.0.0/24\", \"10.1.0.0/24\"}: may specify no more than one "
          "CIDR for each IP family" },
        { &res_priorityclasses, "{\"metadata\":{\"name\":\"x\"},\"value\":1000000001,\"preemptionPolicy\":\"Q\"}",
          "[value: Forbidden: maximum allowed value of a user defined priority is 1000000000, preemptionPolicy: "
          "Unsupported" },
        { &res_csinodes, SPEC("\"drivers\":[{\"name\":\"a\",\"nodeID\":\"n\"},{\"name\":\"a\",\"nodeID\":\"\"}]"),
          "[spec.drivers[1].nodeID: Required value, spec.drivers[1].name: Duplicate value: \"a\"]" },
        /* what is sent empty is not what is not sent */
        { &res_replicationcontrollers,
          SPEC("\"replicas\":-1,\"selector\":{\"a\":\"b\"},\"template\":{\"metadata\":{\"labels\":{}},\"spec\":{"
               "\"containers\":["
               "{\"name\":\"c\",\"image\":\"x\"}]}}"),
          "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.template.metadata.labels: "
          "Invalid value: map[string]string{}: `selector` does not match" },
        { &res_validatingadmissionpolicies,
          SPEC("\"validations\":[{\"expression\":\"true\"}],\"matchConstraints\":{\"excludeResourceRules\":[{"
               "\"apiGroups\":["
               "\"\"],\"apiVersions\":[\"v1\"],\"resources\":[\"pods\"]}]}"),
          "[spec.matchConstraints.excludeResourceRules[0].operations: Required value, "
          "spec.matchConstraints.resourceRules: Required value]" },
        { &res_deployments,
          SPEC("\"selector\":{\"matchLabels\":{}},\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":"
               "\"x\"}]}}"),
          "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{}, "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: empty selector is invalid for deployment" },
        /* metadata is looked at when nothing else is wrong */
        { &res_poddisruptionbudgets,
          "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"-\"}},\"spec\":{\"maxUnavailable\":-1,"
          "\"unhealthyPodEvictionPolicy\":\"Q\",\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"-\"}]"
          "}}}",
          "[spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0, "
          "spec.selector.matchExpressions[0].operator: Invalid value: \"-\": not a valid selector operator, "
          "spec.unhealthyPodEvictionPolicy: Unsupported value: \"Q\": supported values: \"AlwaysAllow\", "
          "\"IfHealthyBudget\"]" },
        { &res_poddisruptionbudgets, "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"-\"}}}",
          "metadata.labels: Invalid value: \"-\": a valid label must be" },
        { &res_ingressclasses,
          SPEC("\"controller\":\"a.b/c\",\"parameters\":{\"kind\":\"a/b\",\"name\":\"n\",\"scope\":\"Namespace\"}"),
          "[spec.parameters.kind: Invalid value: \"a/b\": may not contain '/', spec.parameters.namespace: Required "
          "value: `parameters.scope` is set to 'Namespace']" },
        { &res_controllerrevisions, "{\"metadata\":{\"name\":\"x\"},\"revision\":-1}",
          "[revision: Invalid value: -1: must be greater than or equal to 0, data: Required value: data is "
          "mandatory]" },
        { &res_apiservices,
          "{\"metadata\":{\"name\":\"v2.g/\"},\"spec\":{\"group\":\"g\",\"version\":\"v2\","
          "\"groupPriorityMinimum\":1,\"versionPriority\":1,\"service\":{\"name\":\"s\",\"namespace\":\"n\"}}}",
          "metadata.name: Invalid value: \"v2.g/\": may not contain '/'" },
        { &res_namespaces, SPEC("\"finalizers\":[\"Q/\"]"),
          "'), spec.finalizers: Invalid value: \"Q/\": name part must be non-empty, spec.finalizers: Invalid value: "
          "\"Q/\": name part must consist of alphanumeric" },
        { &res_namespaces, SPEC("\"finalizers\":[\"foo\"]"),
          "spec.finalizers: Invalid value: \"foo\": name is neither a standard finalizer name nor is it fully "
          "qualified" },
        { &res_secrets,
          "{\"metadata\":{\"name\":\"x\"},\"type\":\"kubernetes.io/"
          "dockerconfigjson\",\"stringData\":{\".dockerconfigjson\":\"[1]\"}}",
          "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into "
          "Go value of type map[string]interface {}" },
};

static const char *detail_of(struct answer a) {
        const char *said = a.message ? strstr(a.message, "is invalid: ") : NULL;

        return said ? said + strlen("is invalid: ") : "";
}

static void workloads_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                struct answer a = ASK(f, API_CREATE, refused[i].resource,
                                      refused[i].resource->namespaced ? "default" : "", .body = refused[i].body);

                if (!strstr(detail_of(a), refused[i].message))
                        fail_msg("%s\n  %d %s", refused[i].body, a.code, a.message);
        }
}

/* One after the other: an object is made when body is there, and patched. message NULL: that is fine. */
static const struct {
        const struct api_resource *resource;
        const char *body, *sub, *patch, *message;
} changed[] = {
        { &res_deployments, WORKLOAD(""), "", "{\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"c\"}}}}",
          "[" MISMATCH ", spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string{\"a\":\"c\"}, "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: field is immutable]" },
        { &res_deployments, NULL, "status",
          STATUS("\"replicas\":1,\"readyReplicas\":2,\"availableReplicas\":3,\"updatedReplicas\":-1"),
          "status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0, status.readyReplicas: "
          "Invalid "
          "value: 2: cannot be greater than status.replicas, status.availableReplicas: Invalid value: 3: cannot be "
          "greater than status.replicas, status.availableReplicas: Invalid value: 3: cannot be greater than "
          "readyReplicas]" },
        { &res_deployments, NULL, "status", STATUS("\"collisionCount\":0"), NULL },
        { &res_deployments, NULL, "status", STATUS("\"collisionCount\":null"),
          "status.collisionCount: Invalid value: 0: cannot be decremented" },
        { &res_deployments, NULL, "status", STATUS("\"collisionCount\":3"), NULL },
        { &res_deployments, NULL, "status", STATUS("\"collisionCount\":2"),
          "status.collisionCount: Invalid value: 2: cannot be decremented" },
        { &res_replicasets, WORKLOAD(""), "status", STATUS("\"fullyLabeledReplicas\":1"),
          "status.fullyLabeledReplicas: Invalid value: 1: cannot be greater than status.replicas" },
        { &res_statefulsets, WORKLOAD(""), "status", STATUS("\"replicas\":2,\"availableReplicas\":1"),
          "status.availableReplicas: Invalid value: 1: cannot be greater than status.readyReplicas" },
        { &res_statefulsets, NULL, "", "{\"spec\":{\"serviceName\":\"s\"}}",
          "updates to statefulset spec for fields other" },
        { &res_daemonsets, WORKLOAD(""), "status", STATUS("\"numberReady\":-2"),
          "status.numberReady: Invalid value: -2: must be greater than or equal to 0" },
        { &res_poddisruptionbudgets, SPEC("\"minAvailable\":1"), "status",
          STATUS("\"disruptionsAllowed\":-1," CONDITIONS("{\"type\":\"A\",\"status\":\"Q\",\"reason\":\"1a\","
                                                         "\"lastTransitionTime\":\"2020-01-01T00:00:00Z\"}")),
          "status.conditions[0].status: Unsupported value: \"Q\": supported values: \"False\", \"True\", \"Unknown\", "
          "status.conditions[0].reason: Invalid value: \"1a\": a condition reason must start with alphabetic "
          "character" },
        { &res_poddisruptionbudgets, NULL, "status",
          STATUS(CONDITIONS("{\"type\":\"A\"},{\"type\":\"A\"},{\"type\":\"A\"}")),
          "status.conditions[1].reason: Required value: must be set, "
          "status.conditions[2].type: Duplicate value: \"A\", status.conditions[2].status: " },
        { &res_csistoragecapacities, "{\"metadata\":{\"name\":\"x\"},\"storageClassName\":\"c\"}", "",
          "{\"storageClassName\":\"d\"}", "storageClassName: Invalid value: \"d\": field is immutable" },
        { &res_jobs, JOB, "", "{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}",
          "spec.template: Invalid value: core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Name:\"\", "
          "GenerateName:\"\", " },
        { &res_jobs, NULL, "status", STATUS("\"active\":-1,\"ready\":1"),
          "status.ready: Invalid value: 1: cannot set more "
          "ready pods than active" },
        { &res_jobs, NULL, "status", STATUS(CONDITIONS(IS("Complete") "," IS("Failed"))),
          "[status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions, "
          "status.completionTime: Required value: completionTime is required for Complete jobs, status.conditions: "
          "Invalid value: cannot set Failed=True condition without the FailureTarget=true condition, "
          "status.conditions: "
          "Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition, "
          "status.startTime: Required value: startTime is required for finished job]" },
        { &res_jobs, NULL, "status", STATUS("\"completionTime\":\"2020-01-01T00:00:00Z\""),
          "cannot set completionTime when there is no Complete=True condition" },
        { &res_jobs, NULL, "status", STATUS("\"completedIndexes\":\"0\""),
          "cannot set non-empty completedIndexes when non-indexed completion mode" },
        { &res_jobs, NULL, "status", STATUS("\"uncountedTerminatedPods\":{\"succeeded\":[\"a\",\"a\"]}"),
          "status.uncountedTerminatedPods.succeeded[1]: Duplicate value: \"a\"" },
        { &res_jobs, NULL, "status",
          STATUS("\"startTime\":\"2020-01-01T00:00:00Z\"," CONDITIONS(IS("SuccessCriteriaMet"))), NULL },
        { &res_jobs, NULL, "status", STATUS("\"startTime\":null"), "startTime cannot be removed for unsuspended job" },
        { &res_jobs, NULL, "status",
          STATUS("\"completionTime\":\"2019-01-01T00:00:00Z\"," CONDITIONS(
                          IS("SuccessCriteriaMet") "," IS("Complete"))),
          "completionTime cannot be set before startTime" },
        { &res_jobs, NULL, "status", STATUS(CONDITIONS("")), "cannot disable the SuccessCriteriaMet=True condition" },
        { &res_jobs, NULL, "status",
          STATUS("\"active\":1,\"completionTime\":\"2020-01-02T00:00:00Z\"," CONDITIONS(
                          IS("SuccessCriteriaMet") "," IS("Complete"))),
          "status.active: Invalid value: 1: active>0 is invalid for finished job" },
        { &res_nodes, SPEC("\"podCIDR\":\"10.1.0.0/24\",\"podCIDRs\":[\"10.1.0.0/24\"],\"providerID\":\"a\""), "",
          "{\"spec\":{\"providerID\":\"b\"}}", "node updates may not change providerID except from \"\" to valid" },
        { &res_nodes, NULL, "", "{\"spec\":{\"podCIDR\":\"10.2.0.0/24\"}}", /* older clients know no more */
          "node updates may not change podCIDR except from \"\" to valid" },
        { &res_replicationcontrollers, SPEC("\"replicas\":0,\"selector\":{\"a\":\"b\"}," TEMPLATE), "status",
          STATUS("\"replicas\":-1,\"readyReplicas\":-1"),
          "status.readyReplicas: Invalid value: -1: must be greater than or equal to 0, "
          "status.fullyLabeledReplicas: Invalid value: 0: cannot be greater than status.replicas, "
          "status.availableReplicas: Invalid value: 0: cannot be greater than status.replicas, "
          "status.availableReplicas: Invalid value: 0: cannot be greater than readyReplicas]" },
        { &res_ingresses, SPEC("\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}"), "status",
          STATUS("\"loadBalancer\":{\"ingress\":[{\"ip\":\"q\"},{\"hostname\":\"a\"}]}"),
          "status.loadBalancer.ingress[0].ip: Invalid value: \"q\": must be a valid IP address" },
        { &res_nodes, NULL, "status",
          STATUS("\"addresses\":[{\"type\":\"Hostname\",\"address\":\"a\"},{\"type\":\"Hostname\",\"address\":\"a\"}]"),
          "status.addresses[1]: Duplicate value: core.NodeAddress{Type:\"Hostname\", Address:\"a\"}" },
};

static void changes_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(changed); i++) {
                const char *ns = changed[i].resource->namespaced ? "default" : "";
                struct answer a;

                if (changed[i].body) {
                        a = ASK(f, API_CREATE, changed[i].resource, ns, .body = changed[i].body);
                        if (a.code != 201)
                                fail_msg("%s: %d %s", changed[i].body, a.code, a.message);
                }
                a = ASK(f, API_PATCH, changed[i].resource, ns, "x", .sub = changed[i].sub, .patch = API_PATCH_MERGE,
                        .body = changed[i].patch);
                if (a.code != (changed[i].message ? 422 : 200) ||
                    (changed[i].message && !strstr(detail_of(a), changed[i].message)))
                        fail_msg("%s: %d %s", changed[i].patch, a.code, a.message);
        }
}

/* What a StatefulSet's pods are to be is not looked at before there are pods, but for how they restart. */
static void pods_of_a_statefulset_are_not_looked_at(void **state) {
#define PODS(spec) SPEC(SELECTOR ",\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{" spec "}}")
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_statefulsets, "default",
                              .body = PODS("\"containers\":[{\"name\":\"C\",\"volumeMounts\":[{\"name\":\"v\"}]}]"));

        if (a.code != 201)
                fail_msg("%d %s", a.code, a.message);
        a = ASK(f, API_CREATE, &res_statefulsets, "default",
                .body = PODS("\"restartPolicy\":\"Never\",\"containers\":[]"));
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "invalid: spec.template.spec.restartPolicy: Unsupported value: \"Never\""));
}

static void an_update_of_a_controller_warns_of_what_it_was(void **state) {
        struct fixture *f = *state;
        struct answer r =
                        ASK(f, API_CREATE, &res_replicationcontrollers, "default",
                            .body = "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{\"a\":\"b\"},\"template\":{"
                                    "\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"imagePullSecrets\":[{}],"
                                    "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}");

        assert_int_equal(r.n_warnings, 1);
        r = ASK(f, API_PATCH, &res_replicationcontrollers, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"template\":{\"spec\":{\"imagePullSecrets\":null}}}}");
        assert_true(str_eqc(r.warning, "spec.template.spec.imagePullSecrets[0].name: invalid empty name \"\""));
        r = ASK(f, API_PATCH, &res_replicationcontrollers, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"template\":{\"spec\":{\"imagePullSecrets\":[{}]}}}}");
        assert_int_equal(r.n_warnings, 0);
}

static void a_daemon_set_warns_of_templates_that_change(void **state) {
        struct fixture *f = *state;

        check_code(ASK(f, API_CREATE, &res_daemonsets, "default",
                       .body = "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
                               "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{"
                               "\"imagePullSecrets\":[{}],\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"),
                   201);
        assert_int_equal(ASK(f, API_PATCH, &res_daemonsets, "default", "x", .patch = API_PATCH_MERGE,
                             .body = "{\"spec\":{\"minReadySeconds\":1}}")
                                         .n_warnings,
                         0);
        assert_int_equal(ASK(f, API_PATCH, &res_daemonsets, "default", "x", .patch = API_PATCH_MERGE,
                             .body = "{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}")
                                         .n_warnings,
                         1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(workloads_are_refused_as_upstream_does, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(a_daemon_set_warns_of_templates_that_change, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(an_update_of_a_controller_warns_of_what_it_was, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(pods_of_a_statefulset_are_not_looked_at, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(changes_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
