/* What is refused and in which words: rows of a kind, an object that is wrong in one place, and the message. */
#include "help.h"

#define META "{\"metadata\":{\"name\":\"x\"},"
#define POD(spec) \
        META "\"spec\":{\"serviceAccountName\":\"default\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"" spec
#define IN_CONTAINER(part) POD("," part "}]}}")
#define IN_SPEC(part) POD("}]," part "}}")

#define TEMPLATE(restart)                                                                                              \
        "\"template\":{\"spec\":{\"restartPolicy\":\"" restart "\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}" \
        "}"
#define JOB(part) META "\"spec\":{" part TEMPLATE("Never") "}}"
#define INDEXED(part) JOB("\"completionMode\":\"Indexed\",\"completions\":5," part)
#define ON_FAILURE(rule) JOB("\"podFailurePolicy\":{\"rules\":[{" rule "}]},")
#define ON_EXIT(codes) ON_FAILURE("\"action\":\"Ignore\",\"onExitCodes\":{" codes "}")
#define SUCCESS(rule) INDEXED("\"successPolicy\":{\"rules\":[{" rule "}]},")

#define HPA(part) \
        META "\"spec\":{\"maxReplicas\":2,\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"}," part "}}"
#define METRIC(part) HPA("\"metrics\":[{" part "}]")
#define HTTP_PATH(path, backend)                                                                    \
        META "\"spec\":{\"rules\":[{\"http\":{\"paths\":[{\"pathType\":\"Prefix\",\"path\":\"" path \
             "\",\"backend\":" backend "}]}}]}}"
#define SERVICE "{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}"
#define SPEC(part) META "\"spec\":{" part "}}"
#define BINDING(ref, subject) META "\"roleRef\":{" ref "},\"subjects\":[{" subject "}]}"
#define ROLE_REF "\"kind\":\"Role\",\"name\":\"r\",\"apiGroup\":\"rbac.authorization.k8s.io\""

#define HALF                                                                             \
        "Invalid value: resource.Quantity{i:resource.int64Amount{value:500, scale:-3}, " \
        "d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, s:\"500m\", Format:\"DecimalSI\"}: must be an integer"

static const struct {
        const struct api_resource *resource;
        const char *body, *message; /* after `Kind "x" is invalid: ` */
} refused[] = {
        { &res_pods, META "\"spec\":{\"serviceAccountName\":\"default\"}}", "spec.containers: Required value" },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":0}]"),
          "spec.containers[0].ports[0].containerPort: Required value" },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":70000}]"),
          "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive" },
        { &res_pods,
          IN_CONTAINER("\"env\":[{\"name\":\"A\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.phase\"}}}]"),
          "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported "
          "values: "
          "\"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", "
          "\"spec.serviceAccountName\", "
          "\"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"" },
        { &res_pods, IN_CONTAINER("\"resources\":{\"requests\":{\"cpu\":\"2\"},\"limits\":{\"cpu\":\"1\"}}"),
          "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1" },
        { &res_pods, IN_CONTAINER("\"resources\":{\"requests\":{\"example.com/x\":\"1\"}}"),
          "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources" },
        { &res_pods, IN_CONTAINER("\"securityContext\":{\"seccompProfile\":{\"type\":\"Localhost\"}}"),
          "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when "
          "seccomp type "
          "is Localhost" },
        { &res_pods, IN_CONTAINER("\"livenessProbe\":{\"tcpSocket\":{\"port\":80},\"periodSeconds\":-1}"),
          "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/a/../b\"}}]"),
          "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"s\",\"defaultMode\":512}}]"),
          "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both "
          "inclusive" },
        { &res_pods, IN_SPEC("\"tolerations\":[{\"operator\":\"Equal\"}]"),
          "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which "
          "means "
          "\"match all values and all keys\"" },
        { &res_pods, IN_SPEC("\"dnsPolicy\":\"None\""),
          "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None" },
        { &res_endpoints, META "\"subsets\":[{\"addresses\":[{\"ip\":\"127.0.0.1\"}]}]}",
          "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
          "::1/128)" },
        { &res_networkpolicies,
          META "\"spec\":{\"podSelector\":{},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0\"}}]}]}}",
          "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. "
          "10.9.8.0/24 or 2001:db8::/64)" },
        { &res_cronjobs,
          META "\"spec\":{\"schedule\":\"1 2 3\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{"
               "\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
          "spec.schedule: Invalid value: \"1 2 3\": expected exactly 5 fields, found 3: [1 2 3]" },
        { &res_jobs, JOB("\"backoffLimitPerIndex\":1,"),
          "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode" },
        { &res_jobs, JOB("\"managedBy\":\"me\","),
          "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as "
          "\"acme.io/foo\")" },
        { &res_jobs, JOB("\"managedBy\":\"a.b/c?d\","),
          "spec.managedBy: Invalid value: \"c?d\": Invalid path (regex used for validation is "
          "'[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')" },
        { &res_jobs, JOB("\"completionMode\":\"Indexed\",\"parallelism\":1,"),
          "spec.completions: Required value: when completion mode is Indexed" },
        { &res_jobs, INDEXED("\"maxFailedIndexes\":2,"),
          "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified" },
        { &res_jobs, INDEXED("\"parallelism\":100001,"),
          "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when "
          "completion mode is Indexed" },
        { &res_jobs, INDEXED("\"backoffLimitPerIndex\":1,\"maxFailedIndexes\":6,"),
          "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions" },
        { &res_jobs, JOB("\"completionMode\":\"Indexed\",\"completions\":100001,\"backoffLimitPerIndex\":1,"),
          "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[0]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for "
          "the In operator" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[2,1]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: []int32{2, 1}: must be ordered" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[1,1]"),
          "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Duplicate value: 1" },
        { &res_jobs, ON_EXIT("\"operator\":\"In\",\"values\":[1],\"containerName\":\"d\""),
          "spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: \"d\": must be "
          "one of the container or initContainer names in the pod template" },
        { &res_jobs, ON_FAILURE("\"action\":\"Ignore\""),
          "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and "
          "OnPodConditions is required" },
        { &res_jobs, ON_FAILURE("\"action\":\"FailIndex\",\"onPodConditions\":[{\"type\":\"A\"}]"),
          "spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the "
          "backoffLimitPerIndex to be set" },
        { &res_jobs, ON_FAILURE("\"action\":\"Ignore\",\"onPodConditions\":[{\"type\":\"A\",\"status\":\"Yes\"}]"),
          "spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: \"Yes\": "
          "supported values: \"False\", \"True\", \"Unknown\"" },
        { &res_jobs, JOB("\"podFailurePolicy\":{\"rules\":[]},\"podReplacementPolicy\":\"TerminatingOrFailed\","),
          "spec.podReplacementPolicy: Unsupported value: \"TerminatingOrFailed\": supported values: "
          "\"Failed\"" },
        { &res_jobs, JOB("\"successPolicy\":{\"rules\":[]},"),
          "spec.successPolicy: Invalid value: batch.SuccessPolicy{Rules:[]batch.SuccessPolicyRule{}}: requires indexed "
          "completion mode" },
        { &res_jobs, INDEXED("\"successPolicy\":{\"rules\":[]},"),
          "spec.successPolicy.rules: Required value: at least one rules must be specified when the "
          "successPolicy is specified" },
        { &res_jobs, SUCCESS(""),
          "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or "
          "succeededIndexes must be specified" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1,0\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,0\": error parsing "
          "succeededIndexes: non-increasing order, previous: 1, current: 0" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1,\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,\": error parsing "
          "succeededIndexes: cannot convert string to integer for index: \"\"" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"1-5\""),
          "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1-5\": error parsing "
          "succeededIndexes: too large index: \"5\"" },
        { &res_jobs, SUCCESS("\"succeededIndexes\":\"0,2-3\",\"succeededCount\":4"),
          "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal "
          "to 3 (the number of indexes in the specified succeededIndexes field)" },
        { &res_jobs, META "\"spec\":{\"podFailurePolicy\":{\"rules\":[]}," TEMPLATE("OnFailure") "}}",
          "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is "
          "supported when podFailurePolicy is specified" },
        { &res_horizontalpodautoscalers, METRIC("\"type\":\"Resource\""),
          "spec.metrics[0].resource: Required value: must populate information for the given metric "
          "source" },
        { &res_horizontalpodautoscalers,
          METRIC("\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\"}}"),
          "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a "
          "target raw value or a target utilization" },
        { &res_horizontalpodautoscalers,
          METRIC("\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"m\"},"
                 "\"target\":{\"type\":\"Some\",\"averageValue\":\"1\"}}"),
          "spec.metrics[0].pods.target.type: Invalid value: \"Some\": must be either Utilization, "
          "Value, or AverageValue" },
        { &res_horizontalpodautoscalers,
          METRIC("\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"m\"},"
                 "\"target\":{\"type\":\"Value\",\"value\":\"1\",\"averageValue\":\"1\"}}"),
          "spec.metrics[0].external.target.value: Forbidden: may not set both a target value for "
          "metric and a per-pod target" },
        { &res_horizontalpodautoscalers, HPA("\"behavior\":{\"scaleUp\":{\"stabilizationWindowSeconds\":3601}}"),
          "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than "
          "or equal to 3600" },
        { &res_horizontalpodautoscalers,
          HPA("\"behavior\":{\"scaleDown\":{\"policies\":[{\"type\":\"Pods\",\"value\":0,\"periodSeconds\":1}]}}"),
          "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero" },
        { &res_horizontalpodautoscalers, HPA("\"behavior\":{\"scaleUp\":{\"policies\":[]}}"),
          "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy" },
        { &res_ingresses,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"kubernetes.io/ingress.class\":\"a\"}},\"spec\":{"
          "\"ingressClassName\":\"b\",\"rules\":[{\"host\":\"1.2.3.4\"}]}}",
          "[spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address, "
          "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are "
          "specified]" },
        { &res_ingresses,
          "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"ingressClassName\":\"\",\"rules\":[{\"host\":\"a.b\"}]}}",
          "spec.ingressClassName: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case "
          "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
          "'example.com', regex used for validation is "
          "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
        { &res_horizontalpodautoscalers_v1, HPA("\"targetCPUUtilizationPercentage\":-1"),
          "spec.metrics[0].resource.target.averageUtilization: Invalid value: -1: must be greater than 0" },
        { &res_services,
          SPEC("\"ports\":[{\"port\":0,\"targetPort\":1}],\"loadBalancerSourceRanges\":[\"10.0.0.0/8\"]"),
          "[spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive, "
          "spec.LoadBalancerSourceRanges: "
          "Forbidden: may only be used when `type` is 'LoadBalancer']" },
        { &res_replicasets,
          SPEC("\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"X\"}]},\"template\":{\"spec\":{}}"),
          "[spec.selector.matchExpressions[0].operator: Invalid value: \"X\": not a valid selector operator, "
          "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), "
          "MatchExpressions:[]v1.LabelSelectorRequirement{v1.LabelSelectorRequirement{Key:\"a\", Operator:\"X\", "
          "Values:[]string(nil)}}}: invalid label selector]" },
        { &res_configmaps, "{\"metadata\":{\"name\":\"x\",\"generation\":-1}}",
          "metadata.generation: Invalid value: -1: must be greater than or equal to 0" },
        { &res_nodes, SPEC("\"podCIDRs\":[\"10.0.0.0/24\",\"a\"]"),
          "[spec.podCIDRs[1]: Invalid value: \"a\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64), "
          "spec.podCIDRs: Internal error: invalid PodCIDRs. failed to check with dual stack with error:invalid "
          "CIDR[1]: "
          "<nil> (invalid CIDR address: a), spec.podCIDRs: Invalid value: []string{\"10.0.0.0/24\", \"a\"}: may "
          "specify "
          "no more than one CIDR for each IP family]" },
        { &res_ingresses, HTTP_PATH("/a//b", SERVICE),
          "spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'" },
        { &res_ingresses, HTTP_PATH("/a/..", SERVICE),
          "spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'" },
        { &res_ingresses, HTTP_PATH("/", "{}"),
          "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is "
          "required" },
        { &res_ingresses, HTTP_PATH("/", "{\"service\":{\"name\":\"s\"}}"),
          "spec.rules[0].http.paths[0].backend: Required value: port name or number is required" },
        { &res_ingresses, SPEC("\"rules\":[{\"host\":\"a.*.b\"}]"),
          "spec.rules[0].host: Invalid value: \"a.*.b\": a wildcard DNS-1123 subdomain must start "
          "with '*.', followed by a valid DNS subdomain, which must consist of lower case "
          "alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
          "'*.example.com', regex used for validation is "
          "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
        { &res_ingressclasses, SPEC("\"controller\":\"me\""),
          "spec.controller: Invalid value: \"me\": must be a domain-prefixed path (such as "
          "\"acme.io/foo\")" },
        { &res_ingressclasses,
          SPEC("\"controller\":\"a.b/c\",\"parameters\":{\"kind\":\"K\",\"name\":\"n\",\"scope\":\"Namespace\"}"),
          "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'" },
        { &res_servicecidrs, SPEC("\"cidrs\":[\"10.0.0.0/24\",\"10.1.0.0/24\"]"),
          "spec.cidrs: Invalid value: []string{\"10.0.0.0/24\", "
          "\"10.1.0.0/24\"}: may specify no more than "
          "one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64" },
        { &res_rolebindings, BINDING(ROLE_REF, "\"kind\":\"ServiceAccount\",\"name\":\"A_b\""),
          "subjects[0].name: Invalid value: \"A_b\": a lowercase RFC 1123 subdomain must consist of "
          "lower case alphanumeric characters, '-' or '.', and must start and end with an "
          "alphanumeric character (e.g. 'example.com', regex used for validation is "
          "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')" },
        { &res_rolebindings, BINDING(ROLE_REF, "\"kind\":\"User\",\"name\":\"u\",\"apiGroup\":\"g\""),
          "subjects[0].apiGroup: Unsupported value: \"g\": supported values: "
          "\"rbac.authorization.k8s.io\"" },
        { &res_clusterroles, META "\"aggregationRule\":{}}",
          "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector "
          "required if aggregationRule is non-nil" },
        { &res_csidrivers, SPEC("\"tokenRequests\":[{\"audience\":\"a\",\"expirationSeconds\":1}]"),
          "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration "
          "less than 10 minutes" },
        { &res_csinodes, SPEC("\"drivers\":[{\"name\":\"d\",\"nodeID\":\"\"}]"),
          "spec.drivers[0].nodeID: Required value" },
        { &res_volumeattachments, SPEC("\"attacher\":\"a\",\"nodeName\":\"n\",\"source\":{}"),
          "spec.source: Required value: must specify exactly one of inlineVolumeSpec and "
          "persistentVolumeName" },
        { &res_controllerrevisions, META "\"revision\":1}", "data: Required value: data is mandatory" },
        { &res_persistentvolumeclaims, META "\"spec\":{\"accessModes\":[\"ReadWriteOnce\"]}}",
          "spec.resources[storage]: Required value" },
        /* several at a time, in the order of upstream's code */
        { &res_pods,
          META "\"spec\":{\"serviceAccountName\":\"default\",\"hostname\":\"A\",\"nodeSelector\":{\"-\":\"a\"},"
               "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":0}],\"env\":[{}]},"
               "{\"name\":\"c\"}],\"volumes\":[{\"name\":\"v\",\"hostPath\":{}}]}}",
          "[spec.volumes[0].hostPath.path: Required value, "
          "spec.containers[0].ports[0].containerPort: Required value, spec.containers[0].env[0].name: Required value, "
          "spec.containers[1].image: Required value, spec.containers[1].name: Duplicate value: \"c\", "
          "spec.nodeSelector: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or "
          "'.', "
          "and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex "
          "used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), "
          "spec.hostname: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric "
          "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
          "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')]" },
        /* values as Go prints them */
        { &res_pods, IN_CONTAINER("\"resources\":{\"limits\":{\"a.b/c\":\"500m\"}}"),
          "[spec.containers[0].resources.limits[a.b/c]: " HALF ", spec.containers[0].resources.requests[a.b/c]: " HALF
          "]" },
        { &res_deployments,
          META "\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"strategy\":{\"rollingUpdate\":{"
               "\"maxUnavailable\":0,\"maxSurge\":0}},"
               "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
          "[spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does not match template "
          "`labels`, spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, "
          "StrVal:\"\"}: may not be 0 when `maxSurge` is 0]" },
        { &res_ingresses, SPEC(""),
          "spec: Invalid value: []networking.IngressRule(nil): either `defaultBackend` or `rules` must be specified" },
        { &res_configmaps,
          "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"\",\"name\":\"n\","
          "\"uid\":\"u\"}],\"finalizers\":[\"mine\"]}}",
          "[metadata.ownerReferences.kind: Invalid value: \"\": kind must not be empty, metadata.finalizers[0]: "
          "Invalid "
          "value: \"mine\": name is neither a standard finalizer name nor is it fully qualified]" },
        /* places that upstream tells in its own way */
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"gcePersistentDisk\":{\"pdName\":\"\"}}]"),
          "spec.volumes[0].persistentDisk.pdName: Required value" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"downwardAPI\":{\"items\":[{\"path\":\"a\"}]}}]"),
          "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required" },
        { &res_pods, IN_SPEC("\"volumes\":[{\"name\":\"v\",\"azureDisk\":{\"diskName\":\"d\",\"diskURI\":\"u\"}}]"),
          "spec.volumes[0].azureDisk.diskURI: Unsupported value: \"u\": supported values: "
          "\"https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd\"" },
        { &res_pods,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"container.apparmor.security.beta.kubernetes.io/d\":"
          "\"odd\",\"controller.kubernetes.io/pod-deletion-cost\":\"+1\"}},\"spec\":{\"serviceAccountName\":"
          "\"default\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}",
          "[metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: \"d\": container "
          "not "
          "found, metadata.annotations[container.apparmor.security.beta.kubernetes.io/d]: Invalid value: \"odd\": "
          "invalid AppArmor profile name: \"odd\", metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: "
          "Invalid value: \"+1\": must be a 32bit integer]" },
        { &res_pods, IN_SPEC("\"securityContext\":{\"windowsOptions\":{\"hostProcess\":true,\"runAsUserName\":\"\"}}"),
          "[spec.securityContext.windowsOptions.runAsUserName: Invalid value: \"\": runAsUserName cannot be an empty "
          "string, spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess "
          "containers]" },
        { &res_networkpolicies,
          META "\"spec\":{\"podSelector\":{},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\","
               "\"except\":[\"10.0.0.0/8\"]}}]}]}}",
          "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"10.0.0.0/8\": must be a strict subset of "
          "`cidr`" },
        { &res_resourcequotas,
          SPEC("\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"BestEffort\",\"operator\":\"In\","
               "\"values\":[\"a\"]}]}"),
          "spec.scopeSelector.matchExpressions.operator: Invalid value: \"In\": must be 'Exists' when scope is any of "
          "ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
          "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity" },
        { &res_namespaces, SPEC("\"finalizers\":[\"a\"]"),
          "spec.finalizers: Invalid value: \"a\": name is neither a standard finalizer name nor is it fully "
          "qualified" },
};

static void objects_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                const struct api_resource *r = refused[i].resource;
                const char *expected = arena_printf(f->a, "%s%s%s \"x\" is invalid: %s", r->kind, *r->group ? "." : "",
                                                    r->group, refused[i].message)
                                                       .p;
                struct answer a = ASK(f, API_CREATE, r, r->namespaced ? "default" : "", .body = refused[i].body);

                if (a.code != 422)
                        fail_msg("%s: %d %s", refused[i].body, a.code, a.message);
                assert_string_equal(a.message, expected);
        }
}

static void what_changes_in_a_pod_is_limited(void **state) {
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default", .body = POD("}]}}"));
        assert_int_equal(a.code, 201);
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"hostname\":\"other\"}}");
        assert_int_equal(a.code, 422);
        assert_string_equal(a.message,
                            "Pod \"x\" is invalid: spec: Forbidden: pod updates may not change fields other than "
                            "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
                            "`spec.tolerations` (only additions to existing tolerations),"
                            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
                            "negative)\n"
                            "  core.PodSpec{\n"
                            "  \t... // 12 identical fields\n"
                            "  \tSecurityContext:   &{},\n"
                            "  \tImagePullSecrets:  nil,\n"
                            "- \tHostname:          \"\",\n"
                            "+ \tHostname:          \"other\",\n"
                            "  \tSubdomain:         \"\",\n"
                            "  \tSetHostnameAsFQDN: nil,\n"
                            "  \t... // 17 identical fields\n"
                            "  }\n");
        a = ASK(f, API_CREATE, &res_pods, "default",
                .body = "{\"metadata\":{\"name\":\"y\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],"
                        "\"hostAliases\":[{\"ip\":\"1.1.1.1\"},{\"ip\":\"2.2.2.2\"},{\"ip\":\"3.3.3.3\"}]}}");
        assert_int_equal(a.code, 201);
        a = ASK(f, API_PATCH, &res_pods, "default", "y", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"hostAliases\":[{\"ip\":\"2.2.2.2\"},{\"ip\":\"3.3.3.3\"}]}}");
        assert_non_null(strstr(a.message, "  \tHostAliases: []core.HostAlias{\n"
                                          "- \t\t{IP: \"1.1.1.1\"},\n"
                                          "  \t\t{IP: \"2.2.2.2\"},\n"
                                          "  \t\t{IP: \"3.3.3.3\"},\n"
                                          "  \t},\n"));
        a = ASK(f, API_PATCH, &res_pods, "default", "y", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"hostAliases\":[{\"ip\":\"4.4.4.4\"},{\"ip\":\"2.2.2.2\"},{\"ip\":\"3.3.3.3\"}]}"
                        "}");
        assert_non_null(strstr(a.message, "- \t\t\tIP:        \"1.1.1.1\",\n+ \t\t\tIP:        \"4.4.4.4\",\n"));
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "resize", .patch = API_PATCH_STRATEGIC,
                .body = "{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"limits\":{\"memory\":\"1Gi\"}}}]}"
                        "}");
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "Pod QOS Class may not change as a result of resizing"));
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "resize", .patch = API_PATCH_STRATEGIC,
                .body = "{\"spec\":{\"containers\":[{\"name\":\"d\",\"image\":\"i\"}]}}");
        check_error(a, 422,
                    "Pod \"x\" is invalid: spec.containers: Forbidden: containers may not be added or removed on "
                    "resize");
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "ephemeralcontainers", .patch = API_PATCH_STRATEGIC,
                .body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"i\","
                        "\"targetContainerName\":\"nope\"}]}}");
        assert_int_equal(a.code, 422);
        assert_non_null(strstr(a.message, "spec.ephemeralContainers[0].targetContainerName: Not found: \"nope\""));
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "ephemeralcontainers", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"i\",\"ports\":[],"
                        "\"resources\":{\"limits\":{}},\"resizePolicy\":[]}]}}");
#define DENIED ": Forbidden: cannot be set for an Ephemeral Container"
        check_error(a, 422,
                    "Pod \"x\" is invalid: [spec.ephemeralContainers[0].ports" DENIED
                    ", spec.ephemeralContainers[0].resources" DENIED ", spec.ephemeralContainers[0].resizePolicy" DENIED
                    "]");
        check(ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "ephemeralcontainers", .patch = API_PATCH_MERGE,
                  .body = "{\"spec\":{\"ephemeralContainers\":[{\"name\":\"d\",\"image\":\"i\",\"resources\":{},"
                          "\"ports\":null}]}}"),
              200, ".metadata.generation", "2");
}

static void what_changes_in_a_job_is_limited(void **state) {
        static const struct {
                const char *patch, *message; /* NULL: it may be changed */
        } rows[] = {
                { "{\"spec\":{\"completions\":4}}",
                  "spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism" },
                { "{\"spec\":{\"completions\":4,\"parallelism\":4}}", NULL },
                { "{\"spec\":{\"completionMode\":\"NonIndexed\"}}",
                  "spec.completionMode: Invalid value: \"NonIndexed\": field is immutable" },
                { "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"a\":\"b\"}},"
                  "\"spec\":{\"nodeSelector\":{\"a\":\"b\"},\"affinity\":{\"nodeAffinity\":{}}}}}}",
                  NULL },
                { "{\"spec\":{\"template\":{\"spec\":{\"hostNetwork\":true}}}}", "field is immutable" },
                { "{\"spec\":{\"suspend\":false}}", NULL },
                { "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"c\":\"d\"}}}}}", "field is immutable" },
        };
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_jobs, "default", .body = INDEXED("\"suspend\":true,"));
        assert_int_equal(a.code, 201);
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                a = ASK(f, API_PATCH, &res_jobs, "default", "x", .patch = API_PATCH_MERGE, .body = rows[i].patch);
                if (a.code != (rows[i].message ? 422 : 200) || (a.message && !strstr(a.message, rows[i].message)))
                        fail_msg("%s: %d %s", rows[i].patch, a.code, a.message);
        }
}

/* What stays as it is: an object, a change of it, and what is said. */
static const struct {
        const struct api_resource *resource;
        const char *body, *patch, *message;
} fixed[] = {
        { &res_csidrivers, SPEC("\"attachRequired\":true"), "{\"spec\":{\"attachRequired\":false}}",
          "spec.attachedRequired: Invalid value: false: field is immutable" },
        { &res_volumeattachments,
          SPEC("\"attacher\":\"a\",\"nodeName\":\"n\",\"source\":{\"persistentVolumeName\":\"p\"}"),
          "{\"spec\":{\"nodeName\":\"m\"}}", "spec: Invalid value: storage.VolumeAttachmentSpec{Attacher:\"a\", " },
        { &res_servicecidrs, SPEC("\"cidrs\":[\"10.9.0.0/24\"]"), "{\"spec\":{\"cidrs\":[\"10.8.0.0/24\"]}}",
          "spec.cidrs[0]: Invalid value: \"10.8.0.0/24\": field is immutable" },
        { &res_controllerrevisions, META "\"data\":{\"a\":1},\"revision\":1}", "{\"data\":{\"a\":2}}",
          "data: Invalid value: runtime.RawExtension{Raw:[]uint8{0x7b, 0x22, 0x61, 0x22, 0x3a, 0x32, 0x7d}, " },
        { &res_persistentvolumes,
          SPEC("\"accessModes\":[\"ReadWriteOnce\"],\"capacity\":{\"storage\":\"1Gi\"},\"hostPath\":{\"path\":\"/a\"},"
               "\"nodeAffinity\":{\"required\":{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"k\","
               "\"operator\":\"Exists\"}]}]}}"),
          "{\"spec\":{\"volumeMode\":\"Block\",\"nodeAffinity\":null}}",
          "volumeMode: Invalid value: \"Block\": field is immutable, nodeAffinity: Invalid value: \"null\": field is "
          "immutable, except for" },
        { &res_persistentvolumeclaims,
          SPEC("\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}},\"dataSource\":{"
               "\"kind\":\"PersistentVolumeClaim\",\"name\":\"c\"}"),
          "{\"spec\":{\"dataSourceRef\":{\"apiGroup\":\"G\"}}}",
          "spec.dataSourceRef.apiGroup: Invalid value: \"G\": a lowercase RFC 1123 subdomain" },
        { &res_storageclasses, META "\"provisioner\":\"p\"}", "{\"provisioner\":\"q\"}",
          "provisioner: Forbidden: updates to provisioner are forbidden." },
        { &res_ingressclasses, SPEC("\"controller\":\"a.b/c\""), "{\"spec\":{\"controller\":\"a.b/d\"}}",
          "spec.controller: Invalid value: \"a.b/d\": field is immutable" },
        { &res_csinodes, SPEC("\"drivers\":[{\"name\":\"d\",\"nodeID\":\"a\"}]"),
          "{\"spec\":{\"drivers\":[{\"name\":\"d\",\"nodeID\":\"b\"}]}}",
          "spec.drivers: Invalid value: storage.CSINodeDriver{Name:\"d\", NodeID:\"b\", " },
        { &res_configmaps, META "\"data\":{}}", "{\"metadata\":{\"finalizers\":[\"a b\"]}}",
          "metadata.finalizers: Invalid value: \"a b\": name part must consist of" },
        { &res_secrets, META "\"data\":{}}", "{\"metadata\":{\"deletionTimestamp\":\"2020-01-01T00:00:00Z\"}}",
          "metadata.deletionTimestamp: Invalid value: 2020-01-01 00:00:00 +0000 UTC: field is immutable" },
        { &res_jobs,
          SPEC("\"manualSelector\":true,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":{"
               "\"labels\":{\"a\":\"b\"}},\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\","
               "\"image\":\"i\"}]}}"),
          "{\"spec\":{\"manualSelector\":false}}",
          "spec.template.metadata.labels[job-name]: Required value: must be 'x'" },
};

static void what_is_fixed_stays(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
                const struct api_resource *r = fixed[i].resource;
                const char *ns = r->namespaced ? "default" : "";
                struct answer a = ASK(f, API_CREATE, r, ns, .body = fixed[i].body);

                if (a.code != 201)
                        fail_msg("%s: %d %s", fixed[i].body, a.code, a.message);
                a = ASK(f, API_PATCH, r, ns, "x", .patch = API_PATCH_MERGE, .body = fixed[i].patch);
                if (a.code != 422 || !strstr(a.message, fixed[i].message))
                        fail_msg("%s: %d %s", fixed[i].patch, a.code, a.message);
        }
}

#define TLS(certificate, key) \
        META "\"type\":\"kubernetes.io/tls\",\"data\":{\"tls.crt\":\"" certificate "\",\"tls.key\":\"" key "\"}}"
/* PEM of three zeros. */
#define EMPTY_CERTIFICATE "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBQUEKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="

static const struct {
        const struct api_resource *resource;
        const char *body, *warning;
} unwise[] = {
        { &res_secrets, TLS("Zm9v", ""), "tls: failed to find any PEM data in certificate input" },
        { &res_secrets, TLS(EMPTY_CERTIFICATE, "Zm9v"), "tls: failed to find any PEM data in key input" },
        { &res_secrets, TLS(EMPTY_CERTIFICATE, EMPTY_CERTIFICATE),
          "tls: found a certificate rather than a key in the PEM for the private key" },
        { &res_serviceaccounts,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"kubernetes.io/enforce-mountable-secrets\":\"true\"}}}",
          "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
          "namespaces to isolate access to mounted secrets" },
        { &res_statefulsets,
          META
          "\"spec\":{\"serviceName\":\"a\",\"revisionHistoryLimit\":-1,\"selector\":{\"matchLabels\":{\"a\":\"b\"}},"
          "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
          "\"image\":\"i\"}]}}}}",
          "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended" },
        { &res_ingresses,
          "{\"metadata\":{\"name\":\"x\",\"annotations\":{\"kubernetes.io/ingress.class\":\"a\"}},\"spec\":{"
          "\"rules\":[{}]}}",
          "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead" },
        { &res_services, META "\"spec\":{\"ports\":[{\"port\":80}],\"externalIPs\":[\"01.2.3.4\"]}}",
          "spec.externalIPs[0]: non-standard IP address \"01.2.3.4\" will be considered invalid in a future Kubernetes "
          "release: use \"1.2.3.4\"" },
};

#define FROM(cidr) \
        META "\"spec\":{\"podSelector\":{},\"ingress\":[{\"from\":[{\"ipBlock\":{\"cidr\":\"" cidr "\"}}]}]}}"

static void networks_are_written_in_one_way(void **state) {
        static const char *const rows[][2] = {
                { FROM("0.0.0.0/0"), "" },
                { FROM("::/0"), "" },
                { FROM("10.0.0.0/08"), "non-standard CIDR value \"10.0.0.0/08\" will be considered invalid in a future "
                                       "Kubernetes release: use \"10.0.0.0/8\"" },
                { FROM("10.1.2.3/8"),
                  "CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" "
                  "or \"10.1.2.3/32\"?)" },
                { FROM("::ffff:1.2.3.0/120"), "non-standard CIDR value \"::ffff:1.2.3.0/120\" will be considered "
                                              "invalid in a future Kubernetes release: use \"1.2.3.0/24\"" },
                { FROM("2001:DB8::/32"), "IPv6 CIDR value \"2001:DB8::/32\" should be in RFC 5952 canonical format "
                                         "(\"2001:db8::/32\")" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct answer a = ASK(f, API_CREATE, &res_networkpolicies, "default", .body = rows[i][0],
                                      .options = { .dry_run = true });

                check_code(a, 201);
                assert_int_equal(a.n_warnings, *rows[i][1] ? 1 : 0);
                if (a.n_warnings > 0)
                        assert_non_null(strstr(arena_cstr(f->a, a.warning), rows[i][1]));
        }
}

static void what_is_not_wise_is_warned_of(void **state) {
        struct fixture *f = *state;
        struct answer a;

        for (size_t i = 0; i < ARRAY_SIZE(unwise); i++) {
                a = ASK(f, API_CREATE, unwise[i].resource, "default", .body = unwise[i].body,
                        .options = { .dry_run = true });
                assert_int_equal(a.n_warnings, 1);
                assert_string_equal(arena_cstr(f->a, a.warning), unwise[i].warning);
        }
        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default",
                .body = IN_CONTAINER("\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"2\"}]"));
        assert_int_equal(a.code, 201);
        assert_int_equal(a.n_warnings, 1);
        assert_string_equal(arena_cstr(f->a, a.warning),
                            "spec.containers[0].env[1]: hides previous definition of \"A\", "
                            "which may be dropped when using apply");
        a = ASK(f, API_PATCH, &res_pods, "default", "x", .patch = API_PATCH_MERGE,
                .body = "{\"spec\":{\"activeDeadlineSeconds\":9}}");
        check_code(a, 200);
        assert_int_equal(a.n_warnings, 0); /* once is enough */
}

static void owners_are_named_once(void **state) {
#define OWNER "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":\"p\",\"uid\":\"u\"}"
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_configmaps, "default",
                              .body = "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[" OWNER "," OWNER "]}}");

        check(a, 201, ".metadata.ownerReferences", "[" OWNER "]");
        assert_string_equal(arena_cstr(f->a, a.warning),
                            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references "
                            "in 1.20+, and may reject such requests as early as 1.24; please fix your requests; "
                            "duplicate UID(s) observed: u");
}

static void names_need_not_be_given(void **state) {
        struct fixture *f = *state;
        struct answer a = ASK(f, API_CREATE, &res_limitranges, "default", .body = "{\"spec\":{\"limits\":[]}}");
        const char *name = at(f, a, ".metadata.name");

        check_code(a, 201);
        assert_int_equal(strlen(name), 36);
        check_code(ASK(f, API_GET, &res_limitranges, "default", name), 200);
        make_account(f, "default");
        check_code(ASK(f, API_CREATE, &res_pods, "default", /* a name that could go on */
                       .body = IN_CONTAINER("\"envFrom\":[{\"configMapRef\":{\"name\":\"a-\"}}]")),
                   201);
        check(ASK(f, API_CREATE, &res_configmaps, "default",
                  .body = "{\"metadata\":{\"name\":\"g\",\"generation\":7}}"),
              201, ".metadata.generation", "7");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(objects_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_changes_in_a_pod_is_limited, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_changes_in_a_job_is_limited, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_fixed_stays, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(owners_are_named_once, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(names_need_not_be_given, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(networks_are_written_in_one_way, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_not_wise_is_warned_of, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
