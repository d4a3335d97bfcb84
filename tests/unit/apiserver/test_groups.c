/* What upstream's tests of validation refuse in the groups beside core: an object of each kind, a change that makes it
 * wrong in one place, and all that is said then. ` stands for the quotes of JSON and of messages. */
#include "help.h"

#include "apiserver/extensions/custom.h"

#define WORKLOAD                                                                                                      \
        "{`spec`:{`selector`:{`matchLabels`:{`a`:`b`}},`template`:{`metadata`:{`labels`:{`a`:`b`}},`spec`:{`containe" \
        "rs`:[{`name`:`c`,`image`:`i`}]}}}}"

enum {
        DEPLOYMENT,
        STATEFULSET,
        DAEMONSET,
        CRONJOB,
        HPA,
        NETWORK_POLICY,
        INGRESS,
        ADDRESS,
        RANGE,
        CLASS,
        ATTACHMENT,
        DRIVERS,
        FLOW,
        WEBHOOK,
        API_SERVICE,
        SLICE,
        PRIORITY,
        DRIVER,
        JOB,
        RUNTIME,
        AGGREGATE,
        BINDING,
        REVISION,
};

static const struct {
        const struct api_resource *resource;
        const char *body;
} objects[] = {
        [DEPLOYMENT] = { &res_deployments, WORKLOAD },
        [STATEFULSET] = { &res_statefulsets, WORKLOAD },
        [DAEMONSET] = { &res_daemonsets, WORKLOAD },
        [CRONJOB] = { &res_cronjobs, "{`spec`:{`schedule`:`* * * * "
                                     "*`,`jobTemplate`:{`spec`:{`template`:{`spec`:{`restartPolicy`:`Never`,`"
                                     "containers`:[{`name`:`c`,`image`"
                                     ":`i`}]}}}}}}" },
        [HPA] = { &res_horizontalpodautoscalers,
                  "{`spec`:{`maxReplicas`:5,`scaleTargetRef`:{`kind`:`Deployment`,`name`:`d`}}}" },
        [NETWORK_POLICY] = { &res_networkpolicies, "{`spec`:{`podSelector`:{}}}" },
        [INGRESS] = { &res_ingresses, "{`spec`:{`defaultBackend`:{`service`:{`name`:`s`,`port`:{`number`:80}}}}}" },
        [ADDRESS] = { &res_ipaddresses, "{`spec`:{`parentRef`:{`resource`:`services`,`name`:`s`}}}" },
        [RANGE] = { &res_servicecidrs, "{}" },
        [CLASS] = { &res_storageclasses, "{`provisioner`:`p`}" },
        [ATTACHMENT] = { &res_volumeattachments,
                         "{`spec`:{`attacher`:`a`,`nodeName`:`n`,`source`:{`persistentVolumeName`:`v`}}}" },
        [DRIVERS] = { &res_csinodes, "{}" },
        [FLOW] = { &res_flowschemas, "{`spec`:{`matchingPrecedence`:9,`priorityLevelConfiguration`:{`name`:`p`}}}" },
        [WEBHOOK] = { &res_validatingwebhookconfigurations, "{}" },
        [API_SERVICE] = { &res_apiservices, "{`metadata`:{`name`:`v1.a.b`},`spec`:{`group`:`a.b`,`version`:`v1`,`"
                                            "groupPriorityMinimum`:1,`versionPri"
                                            "ority`:1,`service`:{`name`:`s`,`namespace`:`n`}}}" },
        [SLICE] = { &res_endpointslices, "{`addressType`:`IPv4`,`endpoints`:[]}" },
        [PRIORITY] = { &res_priorityclasses, "{`value`:1}" },
        [DRIVER] = { &res_csidrivers, "{`spec`:{}}" },
        [JOB] = { &res_jobs,
                  "{`spec`:{`template`:{`spec`:{`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`image`:`i`}]}}"
                  "}}" },
        [RUNTIME] = { &res_runtimeclasses, "{`handler`:`h`}" },
        [AGGREGATE] = { &res_clusterroles, "{}" },
        [BINDING] = { &res_clusterrolebindings,
                      "{`roleRef`:{`apiGroup`:`rbac.authorization.k8s.io`,`kind`:`ClusterRole`,`name`:`r`}}" },
        [REVISION] = { &res_controllerrevisions, "{`revision`:1}" },
};

static const struct {
        int object;
        const char *change, *message;
} refused[] = {
        { DEPLOYMENT, "{`spec`:{`selector`:{`matchLabels`:{`a=`:`b`}}}}",
          "[spec.selector.matchLabels: Invalid value: `a=`: name part must consist of alphanumeric characters, '-', "
          "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
          "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), spec.selector: "
          "Invalid value: v1.LabelSelector{MatchLabels:map[string]string{`a`:`b`, `a=`:`b`}, "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}: invalid label selector]" },
        { STATEFULSET, "{`spec`:{`selector`:{`matchLabels`:{`a=`:`b`}}}}",
          "[spec.selector.matchLabels: Invalid value: `a=`: name part must consist of alphanumeric characters, '-', "
          "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
          "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), spec.selector: "
          "Invalid value: v1.LabelSelector{MatchLabels:map[string]string{`a`:`b`, `a=`:`b`}, "
          "MatchExpressions:[]v1.LabelSelectorRequirement(nil)}]" },
        { DAEMONSET, "{`spec`:{`selector`:{`matchLabels`:{`a=`:`b`}}}}",
          "spec.selector.matchLabels: Invalid value: `a=`: name part must consist of alphanumeric characters, '-', "
          "'_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
          "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
        { STATEFULSET, "{`metadata`:{`name`:`a.b`}}", "metadata.name: Invalid value: `a.b`: must not contain dots" },
        { STATEFULSET, "{`spec`:{`serviceName`:`a.b`}}",
          "spec.serviceName: Invalid value: `a.b`: must not contain dots" },
        { DAEMONSET, "{`spec`:{`updateStrategy`:{`rollingUpdate`:{`maxUnavailable`:`-1%`}}}}",
          "[spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:1, IntVal:0, "
          "StrVal:`-1%`}: a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or "
          "'93%', regex used for validation is '[0-9]+%'), spec.updateStrategy.rollingUpdate.maxUnavailable: "
          "Required value: cannot be 0 when maxSurge is 0]" },
        { DEPLOYMENT, "{`spec`:{`strategy`:{`rollingUpdate`:{`maxUnavailable`:-1}}}}",
          "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: -1: must be greater than or equal to 0" },
        { CRONJOB, "{`spec`:{`schedule`:`60 * * * *`}}",
          "spec.schedule: Invalid value: `60 * * * *`: end of range (60) above maximum (59): 60" },
        { CRONJOB, "{`spec`:{`schedule`:`* * 0 * *`}}",
          "spec.schedule: Invalid value: `* * 0 * *`: beginning of range (0) below minimum (1): 0" },
        { CRONJOB, "{`spec`:{`schedule`:`a * * * *`}}",
          "spec.schedule: Invalid value: `a * * * *`: failed to parse int from a: strconv.Atoi: parsing `a`: invalid "
          "syntax" },
        { CRONJOB, "{`spec`:{`schedule`:`5-1 * * * *`}}",
          "spec.schedule: Invalid value: `5-1 * * * *`: beginning of range (5) beyond end of range (1): 5-1" },
        { CRONJOB, "{`spec`:{`schedule`:`*/0 * * * *`}}",
          "spec.schedule: Invalid value: `*/0 * * * *`: step of range should be a positive number: */0" },
        { CRONJOB, "{`spec`:{`schedule`:`1/2/3 * * * *`}}",
          "spec.schedule: Invalid value: `1/2/3 * * * *`: too many slashes: 1/2/3" },
        { CRONJOB, "{`spec`:{`schedule`:`1-2-3 * * * *`}}",
          "spec.schedule: Invalid value: `1-2-3 * * * *`: too many hyphens: 1-2-3" },
        { CRONJOB, "{`spec`:{`schedule`:`*/-1 * * * *`}}",
          "spec.schedule: Invalid value: `*/-1 * * * *`: negative number (-1) not allowed: -1" },
        { CRONJOB, "{`spec`:{`schedule`:`* * * * 7`}}",
          "spec.schedule: Invalid value: `* * * * 7`: end of range (7) above maximum (6): 7" },
        { CRONJOB, "{`spec`:{`schedule`:`@often`}}",
          "spec.schedule: Invalid value: `@often`: unrecognized descriptor: @often" },
        { CRONJOB, "{`spec`:{`schedule`:`@every x`}}",
          "spec.schedule: Invalid value: `@every x`: failed to parse duration @every x: time: invalid duration `x`" },
        { CRONJOB, "{`spec`:{`schedule`:`TZ=Nope 1 * * * *`}}",
          "[spec.schedule: Invalid value: `TZ=Nope 1 * * * *`: provided bad location Nope: unknown time zone Nope, "
          "spec.schedule: Invalid value: `TZ=Nope 1 * * * *`: cannot use TZ or CRON_TZ in schedule, use timeZone "
          "field instead]" },
        { CRONJOB, "{`spec`:{`timeZone`:`Local`}}",
          "spec.timeZone: Invalid value: `Local`: timeZone must be an explicit time zone as defined in "
          "https://www.iana.org/time-zones" },
        { CRONJOB, "{`spec`:{`timeZone`:`Europe/`}}",
          "spec.timeZone: Invalid value: `Europe/`: unknown time zone Europe/" },
        { CRONJOB, "{`spec`:{`timeZone`:`a//b`}}", "spec.timeZone: Invalid value: `a//b`: unknown time zone a//b" },
        { CRONJOB, "{`spec`:{`timeZone`:`../UTC`}}",
          "spec.timeZone: Invalid value: `../UTC`: unknown time zone ../UTC" },
        { HPA, "{`spec`:{`minReplicas`:0}}",
          "[spec.minReplicas: Invalid value: 0: must be greater than or equal to 1, spec.metrics: Forbidden: must "
          "specify at least one Object or External metric to support scaling to zero replicas]" },
        { HPA, "{`spec`:{`metrics`:[{`type`:`Odd`}]}}",
          "spec.metrics[0].type: Unsupported value: `Odd`: supported values: `ContainerResource`, `External`, "
          "`Object`, `Pods`, `Resource`" },
        { HPA,
          "{`spec`:{`metrics`:[{`type`:`ContainerResource`,`containerResource`:{`name`:`odd`,`container`:`c`,`target"
          "`:{`type`:`Utilization`,`averageUtilization`:1}}}]}}",
          "[spec.metrics[0].containerResource.name: Invalid value: odd: must be a standard resource type or fully "
          "qualified, spec.metrics[0].containerResource.name: Invalid value: odd: must be a standard resource for "
          "containers]" },
        { NETWORK_POLICY, "{`spec`:{`ingress`:[{`ports`:[{`protocol`:`HTTP`}]}]}}",
          "spec.ingress[0].ports[0].protocol: Unsupported value: `HTTP`: supported values: `TCP`, `UDP`, `SCTP`" },
        { NETWORK_POLICY, "{`spec`:{`policyTypes`:[`Odd`]}}",
          "spec.policyTypes[0]: Unsupported value: `Odd`: supported values: `Ingress`, `Egress`" },
        { NETWORK_POLICY, "{`spec`:{`policyTypes`:[`Ingress`,`Egress`,`Odd`]}}",
          "spec.policyTypes: Invalid value: []networking.PolicyType{`Ingress`, `Egress`, `Odd`}: may not specify "
          "more than two policyTypes" },
        { INGRESS,
          "{`spec`:{`rules`:[{`http`:{`paths`:[{`path`:`/`,`backend`:{`service`:{`name`:`s`,`port`:{`number`:80}}}}]"
          "}}]}}",
          "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified" },
        { INGRESS,
          "{`spec`:{`rules`:[{`http`:{`paths`:[{`path`:`//`,`pathType`:`Odd`,`backend`:{`service`:{`name`:`s`,`port`"
          ":{`number`:80}}}}]}}]}}",
          "spec.rules[0].http.paths[0].pathType: Unsupported value: `Odd`: supported values: `Exact`, "
          "`ImplementationSpecific`, `Prefix`" },
        { INGRESS, "{`spec`:{`rules`:[{`host`:`::1`}]}}",
          "[spec.rules[0].host: Invalid value: `::1`: must be a DNS name, not an IP address, spec.rules[0].host: "
          "Invalid value: `::1`: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "
          "'-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for "
          "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]" },
        { ADDRESS, "{`metadata`:{`name`:`2001:DB8::1`}}",
          "metadata.name: Invalid value: `2001:DB8::1`: must be in canonical form (`2001:db8::1`)" },
        { ADDRESS, "{`metadata`:{`name`:`010.1.2.3`}}",
          "metadata.name: Invalid value: `010.1.2.3`: must not have leading 0s" },
        { ADDRESS, "{`metadata`:{`name`:`::ffff:1.2.3.4`}}",
          "metadata.name: Invalid value: `::ffff:1.2.3.4`: must not be an IPv4-mapped IPv6 address" },
        { ADDRESS, "{`metadata`:{`name`:`x`}}",
          "metadata.name: Invalid value: `x`: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
        { RANGE, "{`spec`:{`cidrs`:[`192.168.0.1/24`]}}",
          "spec.cidrs[0]: Invalid value: `192.168.0.1/24`: must not have bits set beyond the prefix length" },
        { RANGE, "{`spec`:{`cidrs`:[`2001:DB8::/64`]}}",
          "spec.cidrs[0]: Invalid value: `2001:DB8::/64`: must be in canonical form (`2001:db8::/64`)" },
        { RANGE, "{`spec`:{`cidrs`:[`192.168.0.0/024`]}}",
          "spec.cidrs[0]: Invalid value: `192.168.0.0/024`: must not have leading 0s in IP or prefix length" },
        { RANGE, "{`spec`:{`cidrs`:[`::ffff:1.2.3.0/120`]}}",
          "spec.cidrs[0]: Invalid value: `::ffff:1.2.3.0/120`: must not have an IPv4-mapped IPv6 address" },
        /* Pods of a StatefulSet are not looked at before they are made, but for labels and annotations. */
        { STATEFULSET,
          "{`spec`:{`template`:{`metadata`:{`annotations`:{`a b`:``}},`spec`:{`restartPolicy`:`x`,`containers`"
          ":null}}}}",
          "[spec.template.annotations: Invalid value: `a b`: name part must consist of alphanumeric characters, '-', "
          "'_' "
          "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', "
          "regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), spec.template.spec.restartPolicy: "
          "Unsupported value: `x`: supported values: `Always`]" },
        { JOB, "{`spec`:{`podReplacementPolicy`:`x`,`podFailurePolicy`:{`rules`:[]}}}",
          "spec.podReplacementPolicy: Unsupported value: `x`: supported values: `Failed`" },
        { JOB, "{`spec`:{`maxFailedIndexes`:-1,`completions`:-1,`completionMode`:`Indexed`}}",
          "[spec.completions: Invalid value: -1: must be greater than or equal to 0, spec.maxFailedIndexes: Invalid "
          "value: -1: must be greater than or equal to 0, spec.backoffLimitPerIndex: Required value: when "
          "maxFailedIndexes is specified]" },
        { JOB, "{`spec`:{`backoffLimitPerIndex`:1,`completionMode`:`x`}}",
          "spec.completionMode: Unsupported value: `x`: supported values: `NonIndexed`, `Indexed`" },
        { CRONJOB,
          "{`spec`:{`jobTemplate`:{`spec`:{`podFailurePolicy`:{`rules`:[{`action`:`Ignore`,`onPodConditions`:[{"
          "`type`:`x`}]}]}}}}}",
          "spec.jobTemplate.spec.podFailurePolicy.rules[0].onPodConditions[0].status: Required value: valid values: "
          "[`False` `True` `Unknown`]" },
        { RUNTIME, "{`scheduling`:{`tolerations`:[{`operator`:`Exists`},{`operator`:`Exists`,`effect`:`x`}]}}",
          "scheduling.tolerations.tolerations[1].effect: Unsupported value: `x`: supported values: `NoSchedule`, "
          "`PreferNoSchedule`, `NoExecute`" },
        { RUNTIME, "{`scheduling`:{`tolerations`:[{`operator`:`Exists`},{`operator`:`Exists`}]}}",
          "scheduling.tolerations[1]: Duplicate value: core.Toleration{Key:``, Operator:`Exists`, Value:``, Effect:``, "
          "TolerationSeconds:(*int64)(nil)}" },
        { AGGREGATE, "{`aggregationRule`:{`clusterRoleSelectors`:[{`matchExpressions`:[{`key`:`a`,`operator`:`x`}]}]}}",
          "[aggregationRule.clusterRoleSelectors[0].matchExpressions[0].operator: Invalid value: `x`: not a valid "
          "selector operator, aggregationRule.clusterRoleSelectors[0]: Invalid value: `null`: invalid label "
          "selector.]" },
        { BINDING, "{`subjects`:[{`kind`:`User`,`apiGroup`:`rbac.authorization.k8s.io`}]}",
          "subjects[0].name: Required value" },
        { REVISION, "{`data`:[1]}", "data: Required value: data must be a valid JSON object" },
        { REVISION, "{}", "data: Required value: data is mandatory" },
        { NETWORK_POLICY, "{`spec`:{`ingress`:[{`from`:[{`ipBlock`:{`cidr`:`10.0.0.0/8`,`except`:[``]}}]}]}}",
          "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: ``: must be a valid CIDR value, (e.g. 10.9.8.0/24 "
          "or 2001:db8::/64)" },
        { INGRESS, "{`spec`:{`defaultBackend`:{`service`:null,`resource`:{`name`:``,`kind`:``}}}}",
          "[spec.defaultBackend.resource.kind: Required value: kind is required, spec.defaultBackend.resource.name: "
          "Required value: name is required]" },
        { FLOW, "{`spec`:{`distinguisherMethod`:{`type`:`x`}}}",
          "spec.distinguisherMethod.type: Unsupported value: flowcontrol.FlowDistinguisherMethod{Type:`x`}: supported "
          "values: `ByNamespace`, `ByUser`" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`clientConfig`:{`service`:{`name`:`s`,`namespace`:``}},`sideEffects`:"
          "`None`,`admissionReviewVersions`:[`v1`]}]}",
          "webhooks[0].clientConfig.service.name: Required value: service name is required" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`clientConfig`:{`service`:{`name`:`s`,`namespace`:`n`,`path`:`a`}},"
          "`sideEffects`:`None`,`admissionReviewVersions`:[`v1`]}]}",
          "[webhooks[0].clientConfig.service.path: Invalid value: `a`: must start with a '/', webhooks[0]."
          "clientConfig.service.path: Invalid value: `a`: segment[0] may not be empty]" },
        { SLICE, "{`addressType`:`x`,`endpoints`:[{`addresses`:[`a`]}]}",
          "addressType: Unsupported value: `x`: supported values: `FQDN`, `IPv4`, `IPv6`" },
        { HPA,
          "{`spec`:{`metrics`:[{`type`:`Pods`,`pods`:{`metric`:{`name`:`m`},`target`:{`type`:`AverageValue`,"
          "`averageUtilization`:0}}}]}}",
          "[spec.metrics[0].pods.target.averageUtilization: Invalid value: 0: must be greater than 0, "
          "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue]" },
        { RANGE, "{`spec`:{`cidrs`:[`10.0.0.0/24`,`x`]}}",
          "spec.cidrs[1]: Invalid value: `x`: must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
        { RANGE, "{`spec`:{`cidrs`:[`10.0.0.0/24`,`10.1.0.0/24`]}}",
          "spec.cidrs: Invalid value: []string{`10.0.0.0/24`, `10.1.0.0/24`}: may specify no more than one IP for each "
          "IP family, i.e 192.168.0.0/24 and 2001:db8::/64" },
        { CLASS, "{`reclaimPolicy`:`Recycle`}",
          "reclaimPolicy: Unsupported value: `Recycle`: supported values: `Delete`, `Retain`" },
        { CLASS, "{`reclaimPolicy`:`Odd`}",
          "reclaimPolicy: Unsupported value: `Odd`: supported values: `Delete`, `Retain`" },
        { ATTACHMENT, "{`spec`:{`attacher`:`aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`}}",
          "spec.attacher: Too long: may not be more than 63 bytes" },
        { ATTACHMENT, "{`spec`:{`source`:{`persistentVolumeName`:``}}}",
          "[spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName, "
          "spec.source.persistentVolumeName: Invalid value: ``: a lowercase RFC 1123 subdomain must consist of lower "
          "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
          "'example.com', regex used for validation is "
          "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')]" },
        { DRIVERS, "{`spec`:{`drivers`:[{`name`:`A.b`,`nodeID`:`n`},{`name`:`A.b`,`nodeID`:`n`}]}}",
          "spec.drivers[1].name: Duplicate value: `A.b`" },
        { FLOW,
          "{`spec`:{`rules`:[{`subjects`:[{`kind`:`User`,`user`:{`name`:`u`}}],`resourceRules`:[{`verbs`:[`feed`],`a"
          "piGroups`:[`*`],`resources`:[`*`],`namespaces`:[`a`]}]}]}}",
          "spec.rules[0].resourceRules[0].verbs: Unsupported value: []string{`feed`}: supported values: `create`, "
          "`delete`, `deletecollection`, `get`, `list`, `patch`, `proxy`, `update`, `watch`" },
        { FLOW,
          "{`spec`:{`rules`:[{`subjects`:[{`kind`:`User`,`user`:{`name`:`u`}}],`resourceRules`:[{`verbs`:[`get`],`ap"
          "iGroups`:[`*`],`resources`:[`*`],`namespaces`:[`-`]}]}]}}",
          "spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: `-`: each member of this list must be '*' or "
          "a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
          "and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
          "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`admissionReviewVersions`:[`v1`],`clientConfig`:{`url`:`https://a`}}]}",
          "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`admissionReviewVersions`:[`v1`],`sideEffects`:`None`,`clientConfig`:{`url`:"
          "`https://a:b:c/`}}]}",
          "webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse `https://a:b:c/`: invalid "
          "port `:c` after host; desired format: https://host[/path]" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`admissionReviewVersions`:[`v1`],`sideEffects`:`None`,`clientConfig`:{`url`:"
          "`https://a/%zz`}}]}",
          "webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse `https://a/%zz`: invalid URL "
          "escape `%zz`; desired format: https://host[/path]" },
        { WEBHOOK,
          "{`webhooks`:[{`name`:`a.b.c`,`admissionReviewVersions`:[`v1`],`sideEffects`:`None`,`clientConfig`:{`servi"
          "ce`:{`name`:`s`,`namespace`:`n`,`path`:`/a//`}}}]}",
          "webhooks[0].clientConfig.service.path: Invalid value: `/a//`: segment[1] may not be empty" },
        { API_SERVICE, "{`spec`:{`service`:{`port`:0}}}",
          "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive" },
};

static const char *quoted(struct fixture *f, const char *text) {
        char *copy = arena_cstr(f->a, str_of(text));

        for (char *p = copy; *p; p++)
                if (*p == '`')
                        *p = '"';
        return copy;
}

static struct json *tree(struct fixture *f, const char *text) {
        struct json *j;

        if (json_parse(f->a, str_of(quoted(f, text)), NULL, &j, NULL) < 0)
                fail_msg("not JSON: %s", text);
        return j;
}

static void objects_are_refused_as_in_upstreams_tests(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                const struct api_resource *r = objects[refused[i].object].resource;
                struct json body = json_merge_patch(f->a, tree(f, objects[refused[i].object].body),
                                                    tree(f, refused[i].change));
                struct json *meta = json_get_or_add_object(f->a, &body, "metadata");
                _cleanup_buf_ struct buf text = BUF_INIT;
                const char *found;
                struct answer a;

                if (!json_getc(meta, "name"))
                        json_set_cstr(f->a, meta, "name", "x");
                json_write(&text, &body);
                a = ASK(f, API_CREATE, r, r->namespaced ? "default" : "", .body = arena_str(f->a, buf_str(&text)).p);
                found = a.message ? strstr(a.message, " is invalid: ") : NULL;
                if (a.code != 422 || !found ||
                    strcmp(found + strlen(" is invalid: "), quoted(f, refused[i].message)) != 0)
                        fail_msg("%s %s: %d %s", r->plural, refused[i].change, a.code, a.message);
        }
}

/* Changes in turn, and the generation after each. */
static const struct {
        int object;
        const char *change, *generation;
} counted[] = {
        { DEPLOYMENT, "{`metadata`:{`labels`:{`a`:`b`}}}", "1" },
        { DEPLOYMENT, "{`metadata`:{`annotations`:{`a`:`b`}}}", "2" },
        { DEPLOYMENT, "{`spec`:{`replicas`:2}}", "3" },
        { DAEMONSET, "{`metadata`:{`annotations`:{`a`:`b`}}}", "1" },
        { SLICE, "{`metadata`:{`annotations`:{`a`:`b`}}}", "1" },
        { SLICE, "{`metadata`:{`labels`:{`a`:`b`}}}", "2" },
        { SLICE, "{`endpoints`:[{`addresses`:[`1.2.3.4`]}]}", "3" },
        { PRIORITY, "{`description`:`d`}", "1" },
        { DRIVER, "{`metadata`:{`labels`:{`a`:`b`}}}", "(absent)" },
        { DRIVER, "{`spec`:{`storageCapacity`:true}}", "1" },
        { DRIVER, "{`spec`:{`requiresRepublish`:true}}", "2" },
        { CLASS, "{`allowVolumeExpansion`:true}", "(absent)" },
        { NETWORK_POLICY, "{`spec`:{`ingress`:[]}}", "2" },
        { NETWORK_POLICY, "{`metadata`:{`finalizers`:[]}}", "2" },
        { NETWORK_POLICY, "{`spec`:{`podSelector`:{`matchLabels`:{}}}}", "3" },
        { NETWORK_POLICY, "{`spec`:{`policyTypes`:[]}}", "3" }, /* which has a default */
        { WEBHOOK, "{`metadata`:{`labels`:{`a`:`b`}}}", "1" },
        { WEBHOOK, "{`webhooks`:[]}", "2" },
};

static void generations_count_what_upstream_counts(void **state) {
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
                const struct api_resource *r = objects[counted[i].object].resource;
                const char *ns = r->namespaced ? "default" : "";
                struct json body = *tree(f, objects[counted[i].object].body);
                _cleanup_buf_ struct buf text = BUF_INIT;

                json_set_cstr(f->a, json_get_or_add_object(f->a, &body, "metadata"), "name", "x");
                json_write(&text, &body);
                if (i == 0 || counted[i - 1].object != counted[i].object)
                        check_code(ASK(f, API_CREATE, r, ns, .body = arena_str(f->a, buf_str(&text)).p), 201);
                check(ASK(f, API_PATCH, r, ns, "x", .patch = API_PATCH_MERGE, .body = quoted(f, counted[i].change)),
                      200, ".metadata.generation", counted[i].generation);
        }
}

static void what_is_left_out_of_autoscaling_is_filled_in(void **state) {
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_horizontalpodautoscalers, "default",
                              .body = quoted(f, "{`metadata`:{`name`:`x`},`spec`:{`maxReplicas`:5,`scaleTargetRef`:{"
                                                "`kind`:`Deployment`,`name`:`d`},`behavior`:{}}}"));

        check(r, 201, ".spec.behavior.scaleUp.policies[0].value", "4");
        check(r, 201, ".spec.behavior.scaleDown.policies[0].value", "100");
        check(r, 201, ".spec.metrics[0].resource.target.averageUtilization", "80");
}

static void a_job_without_labels_has_those_of_its_pods(void **state) {
        static const char *const labels[] = { "", "`labels`:{`a`:`b`}," };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
                struct str body = arena_printf(f->a,
                                               "{`metadata`:{%s`name`:`x`},`spec`:{`template`:{`metadata`:{`labels`:{`"
                                               "a`:`b`}},`spec`:{`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`"
                                               "image`:`i`}]}}}}",
                                               labels[i]);
                struct answer r = ASK(f, API_CREATE, &res_jobs, "default", .options.dry_run = true,
                                      .body = quoted(f, body.p));

                check(r, 201, ".metadata.labels.a", "b");
                check(r, 201, ".metadata.labels.job-name", i == 0 ? "x" : "(absent)");
        }
        check(ASK(f, API_CREATE, &res_jobs, "default", .options.dry_run = true,
                  .body = quoted(f, "{`metadata`:{`generateName`:`x`},`spec`:{`template`:{`metadata`:{`labels`:{`a`:`b`"
                                    "}},`spec`:{`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`image`:`i`}]}}}}")),
              201, ".metadata.labels.job-name", "(absent)");
}

static void an_old_way_to_name_nodes_is_dropped(void **state) {
        static const char body[] =
                        "{`metadata`:{`name`:`x`},`addressType`:`IPv4`,`endpoints`:[{`addresses`:[`1.2.3.4`],"
                        "`deprecatedTopology`:{`kubernetes.io/hostname`:`n`}}]}";
        struct fixture *f = *state;
        struct answer r = ASK(f, API_CREATE, &res_endpointslices, "default", .body = quoted(f, body));

        check(r, 201, ".endpoints[0].addresses[0]", "1.2.3.4");
        check(r, 201, ".endpoints[0].deprecatedTopology", "(absent)");
        /* but is a change, every time */
        r = ASK(f, API_UPDATE, &res_endpointslices, "default", "x", .body = quoted(f, body));
        check(r, 200, ".endpoints[0].deprecatedTopology", "(absent)");
        check(r, 200, ".metadata.generation", "2");
}

static void what_the_server_counts_and_selects_is_its_own(void **state) {
        struct fixture *f = *state;

        check_error(ASK(f, API_CREATE, &res_cronjobs, "default",
                        .body = quoted(f, "{`metadata`:{`name`:`x`},`spec`:{`schedule`:`* * * * *`,`jobTemplate`:{"
                                          "`spec`:{`selector`:{`matchLabels`:{`-`:`b`}},`template`:{`spec`:{"
                                          "`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`image`:`i`}]}}}}}}")),
                    422,
                    "CronJob.batch \"x\" is invalid: spec.jobTemplate.spec.selector: Invalid value: "
                    "v1.LabelSelector{MatchLabels:map[string]string{\"-\":\"b\"}, MatchExpressions:[]v1."
                    "LabelSelectorRequirement(nil)}: `selector` will be auto-generated");

        check_error(ASK(f, API_CREATE, &res_daemonsets, "default",
                        .body = quoted(f, "{`metadata`:{`name`:`x`,`annotations`:{`deprecated.daemonset.template."
                                          "generation`:`x`}},`spec`:{`selector`:{`matchLabels`:{`a`:`b`}},`template`:{"
                                          "`metadata`:{`labels`:{`a`:`b`}},`spec`:{`containers`:[{`name`:`c`,`image`:"
                                          "`i`}]}}}}")),
                    400,
                    "DaemonSet in version \"v1\" cannot be handled as a DaemonSet: strconv.ParseInt: parsing \"x\": "
                    "invalid syntax");
}

/* Zeros of what is not used, amounts finer than 1/1000, a volume named in an attachment: nothing fills them in. */
static void what_is_open_elsewhere_stays_so(void **state) {
        static const struct {
                const struct api_resource *resource;
                const char *ns, *body, *path, *value;
        } rows[] = {
                { &res_daemonsets, "default",
                  "{`metadata`:{`name`:`x`},`spec`:{`updateStrategy`:{`type`:`OnDelete`,`rollingUpdate`:{}},`selector`:"
                  "{"
                  "`matchLabels`:{`a`:`b`}},`template`:{`metadata`:{`labels`:{`a`:`b`}},`spec`:{`containers`:[{`name`:"
                  "`c`,`image`:`i`}]}}}}",
                  ".spec.updateStrategy.rollingUpdate.maxUnavailable", "0" },
                { &res_runtimeclasses, NULL,
                  "{`metadata`:{`name`:`x`},`handler`:`h`,`overhead`:{`podFixed`:{`cpu`:`0.0000001`}}}",
                  ".overhead.podFixed.cpu", "100n" },
                { &res_persistentvolumes, NULL,
                  "{`metadata`:{`name`:`x`},`spec`:{`accessModes`:[`ReadWriteOnce`],`capacity`:{`storage`:`1`},"
                  "`hostPath`:{`path`:`/x`}}}",
                  ".spec.volumeMode", "Filesystem" },
                { &res_volumeattachments, NULL,
                  "{`metadata`:{`name`:`x`},`spec`:{`attacher`:`a`,`nodeName`:`n`,`source`:{`inlineVolumeSpec`:{"
                  "`accessModes`:[`ReadWriteOnce`],`csi`:{`driver`:`d`,`volumeHandle`:`v`}}}}}",
                  ".spec.source.inlineVolumeSpec.volumeMode", "(absent)" },
                { &res_events_events_k8s_io, "default",
                  "{`metadata`:{`name`:`x`},`eventTime`:`2020-01-01T00:00:00.000000Z`,`reportingController`:`a.b/c`,"
                  "`reportingInstance`:`i`,`action`:`a`,`reason`:`r`,`type`:`Normal`}",
                  ".metadata.resourceVersion", "(absent)" },
        };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                check(ASK(f, API_CREATE, rows[i].resource, rows[i].ns, .body = quoted(f, rows[i].body),
                          .options.dry_run = true),
                      201, rows[i].path, rows[i].value);
}

static int setup_without(void **state) {
        static const char *const args[] = { "runtime-config=apps/v1=false,batch/v1/jobs=false", NULL };

        return fixture_setup_with(state, args);
}

static void what_is_turned_off_has_no_path(void **state) {
        static const struct {
                const struct api_resource *resource;
                bool on;
        } table[] = { { &res_deployments, false }, { &res_jobs, false }, { &res_cronjobs, true }, { &res_pods, true } };
        struct fixture *f = *state;
        struct catalog *c = catalog_get(f->s);

        for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
                const struct api_resource *r = table[i].resource;

                assert_int_equal(rest_find(f->s, str_of(r->group), str_of(r->version), str_of(r->plural)) != NULL,
                                 table[i].on);
                assert_non_null(rest_of(f->s, r)); /* for ourselves */
        }
        assert_null(catalog_find(c, STR("apps"), STR("v1")));
        assert_int_equal(catalog_find(c, STR("batch"), STR("v1"))->n_resources, 1);
        catalog_unref(c);
        assert_int_equal(ASK(f, API_GET, &res_apiservices, NULL, "v1.apps").code, 404);
        assert_int_equal(ASK(f, API_GET, &res_apiservices, NULL, "v1.batch").code, 200);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(objects_are_refused_as_in_upstreams_tests, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(generations_count_what_upstream_counts, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_left_out_of_autoscaling_is_filled_in, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(a_job_without_labels_has_those_of_its_pods, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(what_the_server_counts_and_selects_is_its_own, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_open_elsewhere_stays_so, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(an_old_way_to_name_nodes_is_dropped, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_turned_off_has_no_path, setup_without, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
