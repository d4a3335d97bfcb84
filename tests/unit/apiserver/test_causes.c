/* What is told of an object that is wrong in several places: every cause, in the order of upstream's code, and told
 * twice where that looks twice. JSON has ` for its quotes here. */
#include "help.h"

#define POD(part)                                                                                                      \
        "{`metadata`:{`name`:`x`},`spec`:{`serviceAccountName`:`default`,`containers`:[{`name`:`c`,`image`:`i`}]" part \
        "}}"
#define CONTAINER(part)                                                                                               \
        "{`metadata`:{`name`:`x`},`spec`:{`serviceAccountName`:`default`,`containers`:[{`name`:`c`,`image`:`i`," part \
        "}]}}"
#define SPEC(part) "{`metadata`:{`name`:`x`},`spec`:{" part "}}"
#define OBJECT(part) "{`metadata`:{`name`:`x`}," part "}"
#define CSR_TEXT                                                                                     \
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISE1HNENBUUF3RERFS01BZ0dBMVVFQXd3QmVEQl" \
        "pNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQQpCUDNTTVVEeVJyVzRvdkRpeVMzeDMwdzU0L1doY0ZNd25N" \
        "YTcweEQweUxMMDBrQmM3MzQycUZCYmlEVTdLYXB1ClUvbUtJZW5weTNUV01Nc3FNbHQ5Z0gyZ0FEQUtCZ2dxaGtqT1" \
        "BRUURBZ05KQURCR0FpRUEwKys2OGkrLzBOeDEKS0FTQWxtM0N5SVVUZXY4T1FDdkorMVUzU20vWGpRY0NJUUN4Zmlh" \
        "UmxzREZ5bWdGZ01IV3RPUy9qOTB3RzZPZQpycTc3MjdDbUd6Q1E4UT09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUV" \
        "VFU1QtLS0tLQo="
#define REPLICAS "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
#define NO_FINALIZER "name is neither a standard finalizer name nor is it fully qualified"
#define RANGE(n) "must be between 0 and " n ", inclusive"
#define PROTOCOLS(w) "Unsupported value: `" w "`: supported values: `TCP`, `UDP`, `SCTP`"
#define LABEL_VALUE                                                                                               \
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must " \
        "start "                                                                                                  \
        "and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "    \
        "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
#define LABEL "metadata.labels: Invalid value: `-`: " LABEL_VALUE
#define BLANK "spec.containers[0].image: Invalid value: ` `: must not have leading or trailing whitespace"
#define TERM "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"
#define NAME_PART                                                                                             \
        "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an " \
        "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "  \
        "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
#define PORT_NAME "spec.containers[0].ports[0].name: Invalid value: `A--`: must "
#define COST                                                                                                     \
        "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: `x`: must be a 32bit " \
        "integer"
#define MODE "must be a number between 0 and 0777 (octal), both inclusive"

#define ODD_SELECTOR                                                                                             \
        SPEC("`selector`:{`matchExpressions`:[{`key`:`a`,`operator`:`X`}]},`template`:{`spec`:{`restartPolicy`:" \
             "`Never`,`activeDeadlineSeconds`:5,`containers`:[{`name`:`c`,`image`:`i`}]}}")
#define ODD_RUNS(kind)                                                                          \
        "spec.template.spec.restartPolicy: Unsupported value: `Never`: supported values: "      \
        "`Always`\nspec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds " \
        "in " kind " is not Supported"

/* The causes, a line each; the object is made as it is in `body`, and patched when there is a patch. */
static const struct row {
        const struct api_resource *resource;
        const char *body, *sub, *patch, *causes;
} rows[] = {
        /* volumes */
        { &res_pods,
          POD(",`volumes`:[{`name`:`v`,`csi`:{`driver`:`x`,`nodePublishSecretRef`:{`name`:`-`}}},"
              "{`name`:`w`,`gcePersistentDisk`:{`pdName`:`x`,`partition`:256}}]"),
          NULL, NULL,
          "spec.volumes[0].csi.name: Invalid value: `-`: " SUBDOMAIN "\n"
          "spec.volumes[1].persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive" },
        { &res_persistentvolumes,
          SPEC("`capacity`:{`storage`:`1`},`accessModes`:[`ReadWriteOnce`],`storageos`:{`volumeName`:`x`,"
               "`secretRef`:{}}"),
          NULL, NULL,
          "spec.storageos.secretRef.name: Required value\n"
          "spec.storageos.secretRef.namespace: Required value" },
        { &res_persistentvolumeclaims,
          SPEC("`resources`:{`requests`:{`storage`:`1`}},`accessModes`:[`ReadWriteOnce`],`dataSourceRef`:{`name`:`x`,"
               "`kind`:`y`,`namespace`:``}"),
          NULL, NULL,
          "spec.dataSource: Invalid value: `y`: must be 'PersistentVolumeClaim' when referencing the default apiGroup\n"
          "spec.dataSourceRef: Invalid value: `y`: must be 'PersistentVolumeClaim' when referencing the default "
          "apiGroup" },
        { &res_resourcequotas, SPEC("`hard`:{`services`:`1`},`scopes`:[`Foo`]"), NULL, NULL,
          "spec.scopes: Invalid value: []core.ResourceQuotaScope{`Foo`}: unsupported scope" },
        { &res_resourcequotas,
          SPEC("`hard`:{`pods`:`1`},`scopeSelector`:{`matchExpressions`:[{`scopeName`:`VolumeAttributesClass`,"
               "`operator`:`x`}]}"),
          NULL, NULL,
          "spec.scopeSelector.matchExpressions: Invalid value: core.ScopeSelector{MatchExpressions:[]core."
          "ScopedResourceSelectorRequirement{core.ScopedResourceSelectorRequirement{ScopeName:"
          "`VolumeAttributesClass`, Operator:`x`, Values:[]string(nil)}}}: unsupported scope applied to resource\n"
          "spec.scopeSelector.matchExpressions.operator: Invalid value: `x`: not a valid selector operator" },
        { &res_pods,
          POD(",`volumes`:[{`name`:`v`,`iscsi`:{`targetPortal`:``,`iqn`:`q`,`lun`:256,`chapAuthSession`:true,"
              "`initiatorName`:`q`}}]"),
          NULL, NULL,
          "spec.volumes[0].iscsi.targetPortal: Required value\n"
          "spec.volumes[0].iscsi.iqn: Invalid value: `q`: must be valid format starting with iqn, eui, or naa\n"
          "spec.volumes[0].iscsi.lun: Invalid value: 256: " RANGE(
                          "255") "\n"
                                 "spec.volumes[0].iscsi.secretRef: Required value\n"
                                 "spec.volumes[0].iscsi.initiatorname: Invalid value: `q`: must be valid format "
                                 "starting with iqn, eui, or "
                                 "naa" },
        { &res_pods,
          POD(",`volumes`:[{`name`:`v`,`downwardAPI`:{`items`:[{`path`:``,`mode`:512},{`path`:`a`,`mode`:513,"
              "`fieldRef`:{`fieldPath`:`a`}}]}}]"),
          NULL, NULL,
          "spec.volumes[0].downwardAPI.path: Required value\n"
          "spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required\n"
          "spec.volumes[0].downwardAPI.mode: Invalid value: 512: " MODE "\n"
          "spec.volumes[0].downwardAPI.fieldRef.fieldPath: Invalid value: `a`: error converting fieldPath: field label "
          "not supported: a\n"
          "spec.volumes[0].downwardAPI.mode: Invalid value: 513: " MODE },
        { &res_pods,
          POD(",`volumes`:[{`name`:`v`,`azureDisk`:{`diskName`:``,`diskURI`:``,`cachingMode`:``,`kind`:`a`}}]"), NULL,
          NULL,
          "spec.volumes[0].azureDisk.diskName: Required value\n"
          "spec.volumes[0].azureDisk.diskURI: Required value\n"
          "spec.volumes[0].azureDisk.cachingMode: Unsupported value: ``: supported values: `None`, `ReadOnly`, "
          "`ReadWrite`\n"
          "spec.volumes[0].azureDisk.kind: Unsupported value: `a`: supported values: `Dedicated`, `Managed`, "
          "`Shared`\n"
          "spec.volumes[0].azureDisk.diskURI: Unsupported value: ``: supported values: "
          "`https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd`" },
        { &res_pods,
          POD(",`volumes`:[{`name`:`v`,`projected`:{`sources`:[{`configMap`:{`name`:`m`,`items`:[{`key`:`a`,"
              "`path`:`p`},{`key`:``,`path`:`p`}]}},{`serviceAccountToken`:{`path`:``,`expirationSeconds`:1}},"
              "{`secret`:{`name`:``}}]}}]"),
          NULL, NULL,
          "spec.volumes[0].projected.sources[0].configMap.items[1].key: Required value\n"
          "spec.volumes[0].projected: Invalid value: `m`: conflicting duplicate paths\n"
          "spec.volumes[0].projected.sources[1].serviceAccountToken.expirationSeconds: Invalid value: 1: may not "
          "specify a duration less than 10 minutes\n"
          "spec.volumes[0].projected.path: Required value\n"
          "spec.volumes[0].projected.sources[2].secret.name: Required value" },
        /* containers */
        { &res_pods,
          CONTAINER("`volumeMounts`:[{`name`:`n`,`mountPath`:`/a`,`subPath`:`..`,`subPathExpr`:`b`,`readOnly`:true,"
                    "`mountPropagation`:``,`recursiveReadOnly`:`IfPossible`}]"),
          NULL, NULL,
          "spec.containers[0].volumeMounts[0].name: Not found: `n`\n"
          "spec.containers[0].volumeMounts.subPath: Invalid value: `..`: must not contain '..'\n"
          "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: `b`: subPathExpr and subPath are mutually "
          "exclusive\n"
          "spec.containers[0].volumeMounts.mountPropagation: Unsupported value: ``: supported values: "
          "`Bidirectional`, `HostToContainer`, `None`\n"
          "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation "
          "is None or not specified" },
        { &res_pods,
          CONTAINER("`volumeMounts`:[{`name`:`n`,`mountPath`:``,`subPath`:`/s`,`mountPropagation`:`Bidirectional`,"
                    "`recursiveReadOnly`:`Enabled`},{`name`:``,`mountPath`:`/m`,`mountPropagation`:``}],"
                    "`readinessProbe`:{`periodSeconds`:-1}"),
          NULL, NULL,
          "spec.containers[0].volumeMounts[0].name: Not found: `n`\n"
          "spec.containers[0].volumeMounts[0].mountPath: Required value\n"
          "spec.containers[0].volumeMounts.subPath: Invalid value: `/s`: must be a relative path\n"
          "spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available "
          "only to privileged containers\n"
          "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when readOnly is true\n"
          "spec.containers[0].volumeMounts.recursiveReadOnly: Forbidden: may only be specified when mountPropagation "
          "is None or not specified\n"
          "spec.containers[0].volumeMounts[1].name: Required value\n"
          "spec.containers[0].volumeMounts[1].name: Not found: ``\n"
          "spec.containers[0].volumeMounts.mountPropagation: Unsupported value: ``: supported values: "
          "`Bidirectional`, `HostToContainer`, `None`\n"
          "spec.containers[0].readinessProbe: Required value: must specify a handler type\n"
          "spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0" },
        { &res_pods,
          CONTAINER("`resizePolicy`:[{`resourceName`:`gpu`,`restartPolicy`:`a`},{`resourceName`:`gpu`,"
                    "`restartPolicy`:`NotRequired`}],`envFrom`:[{},{`prefix`:`=`}]"),
          NULL, NULL,
          "spec.containers[0].envFrom: Invalid value: ``: must specify one of: `configMapRef` or `secretRef`\n"
          "spec.containers[0].envFrom[1].prefix: Invalid value: `=`: a valid environment variable name must consist "
          "only of printable ASCII characters other than '='\n"
          "spec.containers[0].envFrom: Invalid value: ``: must specify one of: `configMapRef` or `secretRef`\n"
          "spec.containers[0].resizePolicy: Unsupported value: gpu: supported values: `cpu`, `memory`\n"
          "spec.containers[0].resizePolicy: Unsupported value: `a`: supported values: `NotRequired`, "
          "`RestartContainer`\n"
          "spec.containers[0].resizePolicy[1]: Duplicate value: gpu\n"
          "spec.containers[0].resizePolicy: Unsupported value: gpu: supported values: `cpu`, `memory`" },
        { &res_pods,
          CONTAINER("`ports`:[{`name`:`p`,`containerPort`:80,`hostPort`:90},{`name`:`p`,`containerPort`:91,"
                    "`hostPort`:90,`protocol`:``}]},{`name`:`c`,`ports`:[{`containerPort`:92,`hostPort`:90}]"),
          NULL, NULL,
          "spec.containers[0].ports[1].name: Duplicate value: `p`\n"
          "spec.containers[1].image: Required value\n"
          "spec.containers[1].name: Duplicate value: `c`\n"
          "spec.containers[0].ports[1].hostPort: Duplicate value: `TCP//90`\n"
          "spec.containers[1].ports[0].hostPort: Duplicate value: `TCP//90`" },
        /* pods */
        { &res_pods,
          POD(",`dnsPolicy`:`None`,`dnsConfig`:{`searches`:[`_`]},`tolerations`:[{`key`:`a`,`operator`:`Odd`,"
              "`effect`:`Bad`,`tolerationSeconds`:1}],`hostPID`:true,`shareProcessNamespace`:true,"
              "`securityContext`:{`fsGroup`:-1,`sysctls`:[{`name`:`a`},{`name`:`a`},{`name`:`-`},{`name`:`-`}]}"),
          NULL, NULL,
          "spec.securityContext.fsGroup: Invalid value: -1: " RANGE(
                          "2147483647") "\n"
                                        "spec.securityContext.shareProcessNamespace: Invalid value: true: "
                                        "ShareProcessNamespace and HostPID cannot "
                                        "both be enabled\n"
                                        "spec.securityContext.sysctls[1].name: Duplicate value: `a`\n"
                                        "spec.securityContext.sysctls[2].name: Invalid value: `-`: must have at most "
                                        "253 characters and match regex "
                                        "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$\n"
                                        "spec.securityContext.sysctls[3].name: Invalid value: `-`: must have at most "
                                        "253 characters and match regex "
                                        "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$\n"
                                        "spec.dnsConfig.nameservers: Required value: must provide at least one DNS "
                                        "nameserver when `dnsPolicy` is "
                                        "None\n"
                                        "spec.tolerations[0].effect: Invalid value: `Bad`: effect must be 'NoExecute' "
                                        "when `tolerationSeconds` is "
                                        "set\n"
                                        "spec.tolerations[0].operator: Unsupported value: `Odd`: supported values: "
                                        "`Equal`, `Exists`\n"
                                        "spec.tolerations[0].effect: Unsupported value: `Bad`: supported values: "
                                        "`NoSchedule`, `PreferNoSchedule`, "
                                        "`NoExecute`" },
        { &res_pods,
          POD(",`affinity`:{`nodeAffinity`:{`requiredDuringSchedulingIgnoredDuringExecution`:{`nodeSelectorTerms`:[{"
              "`matchExpressions`:[{`key`:`/a`,`operator`:`In`,`values`:[`-`]}],`matchFields`:[{`key`:`a`,"
              "`operator`:`Gt`}]}]}}}"),
          NULL, NULL,
          TERM ".matchExpressions[0].key: Invalid value: `/a`: prefix part must be non-empty\n" TERM
               ".matchExpressions[0].values[0]: Invalid value: `-`: " LABEL_VALUE "\n" TERM
               ".matchFields[0].operator: Invalid value: `Gt`: not a valid selector operator\n" TERM
               ".matchFields[0].key: Invalid value: `a`: not a valid field selector key" },
        /* what an update looks at twice */
        { &res_pods, POD(",`automountServiceAccountToken`:false"), "",
          "{`metadata`:{`labels`:{`a`:`-`}},`spec`:{`containers`:[{`name`:`c`,`image`:` `,"
          "`imagePullPolicy`:`Always`}]}}",
          LABEL "\n" LABEL "\n" LABEL "\n" LABEL "\n" BLANK "\n" BLANK },
        { &res_priorityclasses, OBJECT("`value`:1"), "", "{`metadata`:{`labels`:{`a`:`-`}},`value`:2}",
          LABEL "\n" LABEL "\n" LABEL "\nvalue: Forbidden: may not be changed in an update." },
        { &res_replicationcontrollers,
          SPEC("`selector`:{`a`:`b`},`template`:{`metadata`:{`labels`:{`a`:`b`}},`spec`:{`containers`:[{`name`:`c`,"
               "`image`:`i`}]}}"),
          "", "{`metadata`:{`labels`:{`a`:`-`}},`spec`:{`replicas`:-1}}",
          LABEL "\n" LABEL "\n" LABEL "\n" REPLICAS "\n" LABEL "\n" REPLICAS },
        { &res_poddisruptionbudgets, SPEC("`minAvailable`:1"), "",
          "{`metadata`:{`labels`:{`a`:`-`}},`spec`:{`minAvailable`:-1}}",
          LABEL "\n" LABEL "\nspec.minAvailable: Invalid value: -1: must be greater than or equal to 0" },
        { &res_configmaps, OBJECT("`immutable`:true"), "",
          "{`metadata`:{`finalizers`:[`a`]},`immutable`:null,`data`:{`/`:`a`}}",
          "metadata.finalizers[0]: Invalid value: `a`: " NO_FINALIZER "\n"
          "immutable: Forbidden: field is immutable when `immutable` is set\n"
          "data: Forbidden: field is immutable when `immutable` is set\n"
          "metadata.finalizers[0]: Invalid value: `a`: " NO_FINALIZER "\n"
          "data[/]: Invalid value: `/`: a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
          "(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')" },
        { &res_apiservices,
          "{`metadata`:{`name`:`v1.a.b`,`generateName`:`x`},`spec`:{`group`:`a.b`,`version`:`v1`,`groupPriorityMinimum`"
          ":1,"
          "`versionPriority`:1}}",
          NULL, NULL, "metadata.generateName: Invalid value: `x`: must be `spec.version+`.`+spec.group`: `v1.a.b`" },
        { &res_deployments,
          SPEC("`selector`:{`matchLabels`:{`a`:`b`}},`template`:{`metadata`:{`labels`:{`a`:`b`}},`spec`:{"
               "`containers`:[{`name`:`c`,`image`:`i`}]}}"),
          "scale", "{`metadata`:{`finalizers`:[`a`]},`spec`:{`replicas`:-1}}",
          "metadata.finalizers[0]: Invalid value: `a`: " NO_FINALIZER "\n" REPLICAS },
        /* others */
        { &res_services,
          SPEC("`type`:`ExternalName`,`externalName`:``,`clusterIPs`:[`None`],`ports`:[{`port`:0},{`name`:`a`,"
               "`port`:1,`nodePort`:2},{`name`:`b`,`port`:3,`nodePort`:2}],`sessionAffinity`:`Odd`"),
          NULL, NULL,
          "spec.clusterIPs: Forbidden: may not be set for ExternalName services\n"
          "spec.externalName: Required value\n"
          "spec.ports[0].name: Required value\n"
          "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive\n"
          "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive\n"
          "spec.sessionAffinity: Unsupported value: `Odd`: supported values: `ClientIP`, `None`\n"
          "spec.ports[2].nodePort: Duplicate value: 2" },
        { &res_endpoints,
          OBJECT("`subsets`:[{`addresses`:[{`ip`:`1.2.3.4`}],`ports`:[{`port`:1,`protocol`:`X`,`appProtocol`:`-`}]}]"),
          NULL, NULL,
          "subsets[0].ports[0].protocol: Unsupported value: `X`: supported values: `SCTP`, `TCP`, `UDP`\n"
          "subsets[0].ports[0].appProtocol: Invalid value: `-`: " NAME_PART },
        { &res_endpoints, OBJECT("`subsets`:[{`addresses`:[{`ip`:`127.0.0.1`,`hostname`:`A.`,`nodeName`:``}]}]"), NULL,
          NULL,
          "subsets[0].addresses[0].hostname: Invalid value: `A.`: " LABEL_NAME "\n"
          "subsets[0].addresses[0].nodeName: Invalid value: ``: " SUBDOMAIN "\n"
          "subsets[0].addresses[0].ip: Invalid value: `127.0.0.1`: may not be in the loopback range (127.0.0.0/8, "
          "::1/128)" },
        { &res_mutatingwebhookconfigurations,
          OBJECT("`webhooks`:[{`name`:`a.b.c`,`clientConfig`:{`service`:{`name`:``,`namespace`:``,`path`:`a`,`port`:0}}"
                 ","
                 "`sideEffects`:`Odd`,`reinvocationPolicy`:`Odd`,`admissionReviewVersions`:[`v1`,`v1`],`rules`:[{"
                 "`operations`:[`*`,`Odd`],`apiGroups`:[`*`,`a`],`apiVersions`:[``,`*`],`resources`:[`a/*`,`a/b`]}]},{"
                 "`name`:`a.b.c`,`clientConfig`:{},`sideEffects`:`None`,`admissionReviewVersions`:[]}]"),
          NULL, NULL,
          "webhooks[0].rules[0].operations: Invalid value: []admissionregistration.OperationType{`*`, `Odd`}: if '*' "
          "is present, must not specify other operations\n"
          "webhooks[0].rules[0].operations[1]: Unsupported value: `Odd`: supported values: `*`, `CONNECT`, `CREATE`, "
          "`DELETE`, `UPDATE`\n"
          "webhooks[0].rules[0].apiGroups: Invalid value: []string{`*`, `a`}: if '*' is present, must not specify "
          "other API groups\n"
          "webhooks[0].rules[0].apiVersions: Invalid value: []string{``, `*`}: if '*' is present, must not specify "
          "other API versions\n"
          "webhooks[0].rules[0].apiVersions[0]: Required value\n"
          "webhooks[0].rules[0].resources[1]: Invalid value: `a/b`: if 'a/*' is present, must not specify a/b\n"
          "webhooks[0].sideEffects: Unsupported value: `Odd`: supported values: `None`, `NoneOnDryRun`\n"
          "webhooks[0].reinvocationPolicy: Unsupported value: `Odd`: supported values: `IfNeeded`, `Never`\n"
          "webhooks[0].clientConfig.service.name: Required value: service name is required\n"
          "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required\n"
          "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, "
          "inclusive\n"
          "webhooks[0].clientConfig.service.path: Invalid value: `a`: must start with a '/'\n"
          "webhooks[0].clientConfig.service.path: Invalid value: `a`: segment[0] may not be empty\n"
          "webhooks[0].admissionReviewVersions[1]: Invalid value: `v1`: duplicate version\n"
          "webhooks[1].clientConfig: Required value: exactly one of url or service is required\n"
          "webhooks[1].admissionReviewVersions: Required value: must specify one of v1, v1beta1\n"
          "webhooks[1].name: Duplicate value: `a.b.c`" },
        { &res_pods,
          POD(",`topologySpreadConstraints`:[{`maxSkew`:0,`topologyKey`:`a`,`whenUnsatisfiable`:`Odd`,`minDomains`:0,"
              "`matchLabelKeys`:[`/b`]},{`maxSkew`:1,`topologyKey`:`a`,`whenUnsatisfiable`:`Odd`}],`affinity`:{"
              "`podAffinity`:{`requiredDuringSchedulingIgnoredDuringExecution`:[{`topologyKey`:`/a`,"
              "`matchLabelKeys`:[`k`,`l`],`mismatchLabelKeys`:[`l`],`labelSelector`:{`matchLabels`:{`k`:`v`}}}]}}"),
          NULL, NULL,
          "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys[1]: Invalid "
          "value: `l`: exists in both matchLabelKeys and mismatchLabelKeys\n"
          "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "
          "`/a`: prefix part must be non-empty\n"
          "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero\n"
          "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: `Odd`: supported values: "
          "`DoNotSchedule`, `ScheduleAnyway`\n"
          "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: `{a, Odd}`\n"
          "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: must be greater than zero\n"
          "spec.topologySpreadConstraints[0].minDomains: Invalid value: 0: can only use minDomains if "
          "whenUnsatisfiable=DoNotSchedule, not Odd\n"
          "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is "
          "not set\n"
          "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: `/b`: prefix part must be non-empty\n"
          "spec.topologySpreadConstraints[1].whenUnsatisfiable: Unsupported value: `Odd`: supported values: "
          "`DoNotSchedule`, `ScheduleAnyway`" },
        { &res_limitranges,
          SPEC("`limits`:[{`type`:`PersistentVolumeClaim`,`max`:{`a`:`1`},"
               "`maxLimitRequestRatio`:{`b`:`2`}},{`type`:`PersistentVolumeClaim`,`default`:{`c`:`1`}}]"),
          NULL, NULL,
          "spec.limits[0].max[a]: Invalid value: a: must be a standard resource type or fully qualified\n"
          "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was "
          "provided\n"
          "spec.limits[0].maxLimitRequestRatio[b]: Invalid value: b: must be a standard resource type or fully "
          "qualified\n"
          "spec.limits[1].type: Duplicate value: `PersistentVolumeClaim`\n"
          "spec.limits[1].default[c]: Invalid value: c: must be a standard resource type or fully qualified\n"
          "spec.limits[1].limits: Required value: either minimum or maximum storage value is required, but neither was "
          "provided" },
        { &res_replicationcontrollers,
          SPEC("`selector`:{`a`:`b`},`template`:{`metadata`:{`labels`:{`a`:`-`}},`spec`:{`restartPolicy`:`Never`,"
               "`containers`:[{`name`:`c`}]}}"),
          NULL, NULL,
          "metadata.labels: Invalid value: `-`: " LABEL_VALUE "\n"
          "spec.template.metadata.labels: Invalid value: map[string]string{`a`:`-`}: `selector` does not match "
          "template "
          "`labels`\n"
          "spec.template.labels: Invalid value: `-`: " LABEL_VALUE "\n"
          "spec.template.spec.containers[0].image: Required value\n"
          "spec.template.spec.restartPolicy: Unsupported value: `Never`: supported values: `Always`" },
        { &res_customresourcedefinitions,
          "{`metadata`:{`name`:`as.b.c`},`spec`:{`group`:`b.c`,`scope`:`Cluster`,`names`:{`plural`:`as`,`kind`:`A`},"
          "`preserveUnknownFields`:true,`versions`:[{`name`:`v1`,`served`:true,`storage`:true,`schema`:{"
          "`openAPIV3Schema`:{`type`:`object`,`properties`:{`p`:{`type`:`object`,`dependencies`:{},`default`:{}}}}}}]}"
          "}",
          NULL, NULL,
          "spec.preserveUnknownFields: Invalid value: true: must be false in order to use defaults in the schema\n"
          "spec.validation.openAPIV3Schema.properties[p].dependencies: Forbidden: dependencies is not "
          "supported\n"
          "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
          "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead" },
        { &res_jobs, SPEC("`template`:{`spec`:{`containers`:[{`name`:`c`,`image`:`i`}],`hostAliases`:[{`ip`:`x`}]}}"),
          NULL, NULL,
          "spec.template.spec.hostAliases[0].ip: Invalid value: `x`: must be a valid IP address, (e.g. 10.9.8.7 or "
          "2001:db8::ffff)\n"
          "spec.template.spec.restartPolicy: Required value: valid values: `OnFailure`, `Never`" },
        { &res_ipaddresses,
          "{`metadata`:{`generateName`:`x`,`labels`:{`a`:`-`}},`spec`:{`parentRef`:{`resource`:`r`,`name`:`a/b`,"
          "`namespace`:`c/d`}}}",
          NULL, NULL,
          "metadata.generateName: Invalid value: `x`: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)\n"
          "metadata.name: Invalid value: `x`: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)\n" LABEL
          "\n"
          "spec.parentRef.name: Invalid value: `a/b`: may not contain '/'\n"
          "spec.parentRef.namespace: Invalid value: `c/d`: may not contain '/'" },
        { &res_storageclasses, OBJECT("`provisioner`:`a/b`"), "", "{`parameters`:{}}",
          "parameters: Forbidden: updates to parameters are forbidden." },
        { &res_configmaps, OBJECT("`immutable`:true"), "", "{`data`:{}}", "" },
        { &res_configmaps, OBJECT("`immutable`:true"), "", "{`binaryData`:{}}",
          "binaryData: Forbidden: field is immutable when `immutable` is set" },
        { &res_events_events_k8s_io,
          OBJECT("`eventTime`:`2024-01-01T00:00:00.000000Z`,`reportingController`:`a.b/c`,`reportingInstance`:`i`,"
                 "`action`:`a`,`reason`:`r`,`type`:`Normal`"),
          "", "{`eventTime`:`2024-01-01T00:00:00.120000Z`}",
          "eventTime: Invalid value: 2024-01-01 00:00:00.12 +0000 UTC: field is immutable" },
        { &res_horizontalpodautoscalers,
          SPEC("`maxReplicas`:1,`scaleTargetRef`:{`kind`:`a`,`name`:`b`},`metrics`:[{`type`:`Object`,`pods`:{`metric`:{"
               "`name`:`m`},`target`:{`type`:`Value`}}}]"),
          NULL, NULL,
          "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue\n"
          "spec.metrics[0].object: Required value: must populate information for the given metric source" },
        { &res_servicecidrs, SPEC("`cidrs`:[`10.9.0.0/24`,`10.9.1.0/33`]"), NULL, NULL,
          "spec.cidrs[1]: Invalid value: `10.9.1.0/33`: must be a valid CIDR value, (e.g. 10.9.8.0/24 or "
          "2001:db8::/64)" },
        { &res_servicecidrs, SPEC("`cidrs`:[`10.9.0.0/24`]"), "", "{`spec`:{`cidrs`:[`fd00::/64`,`x`]}}",
          "spec.cidrs[0]: Invalid value: `fd00::/64`: field is immutable\n"
          "spec.cidrs[1]: Invalid value: `x`: must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)" },
        { &res_pods, POD(""), "status", "{`status`:{`hostIP`:`1.2.3.4`,`hostIPs`:[{`ip`:`1.2.3.4`},{`ip`:`1.2.3.4`}]}}",
          "status.hostIPs: Invalid value: []core.HostIP{core.HostIP{IP:`1.2.3.4`}, core.HostIP{IP:`1.2.3.4`}}: may "
          "specify no more than one IP for each IP family" },
        { &res_pods, POD(""), "resize", "{`spec`:{`containers`:[],`nodeName`:`a=b`}}",
          "spec.containers: Required value\n"
          "spec.nodeName: Invalid value: `a=b`: " SUBDOMAIN "\n"
          "spec.containers: Forbidden: containers may not be added or removed on resize" },
        { &res_pods,
          "{`metadata`:{`name`:`x`,`annotations`:{`container.apparmor.security.beta.kubernetes.io/c`:`unconfined`}},"
          "`spec`:{`serviceAccountName`:`default`,`containers`:[{`name`:`c`,`image`:`i`}]}}",
          "resize", "{`spec`:{`containers`:[{`name`:`d`,`image`:`i`}]}}",
          "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: `c`: container not "
          "found\n"
          "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize" },
        { &res_pods, POD(""), "resize", "{`spec`:{`containers`:[{`name`:`d`,`image`:`i`}],`nodeName`:`a=b`}}",
          "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize" },
        { &res_persistentvolumes,
          SPEC("`capacity`:{`storage`:`1`},`accessModes`:[`ReadWriteOnce`],`local`:{`path`:``},`storageClassName`:`-`,"
               "`persistentVolumeReclaimPolicy`:`Odd`"),
          NULL, NULL,
          "spec.persistentVolumeReclaimPolicy: Unsupported value: `Odd`: supported values: `Delete`, `Recycle`, "
          "`Retain`\n"
          "spec.local.path: Required value\n"
          "spec.nodeAffinity: Required value: Local volume requires node affinity\n"
          "spec.storageClassName: Invalid value: `-`: " SUBDOMAIN },
        { &res_persistentvolumeclaims, SPEC("`accessModes`:[`ReadWriteOnce`],`resources`:{`requests`:{`storage`:`2`}}"),
          "",
          "{`metadata`:{`annotations`:{`volume.beta.kubernetes.io/storage-class`:`a`}},`spec`:{`accessModes`:[`Odd`]}}",
          "spec.accessModes: Unsupported value: `Odd`: supported values: `ReadOnlyMany`, `ReadWriteMany`, "
          "`ReadWriteOnce`, `ReadWriteOncePod`\n"
          "spec.accessModes: Unsupported value: `Odd`: supported values: `ReadOnlyMany`, `ReadWriteMany`, "
          "`ReadWriteOnce`, `ReadWriteOncePod`\n"
          "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: `a`: field is immutable\n"
          "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
          "for bound claims\n"
          "  core.PersistentVolumeClaimSpec{\n"
          "- \tAccessModes: []core.PersistentVolumeAccessMode{`ReadWriteOnce`},\n"
          "+ \tAccessModes: []core.PersistentVolumeAccessMode{`Odd`},\n"
          "  \tSelector:    nil,\n"
          "  \tResources:   {Requests: {s`storage`: {i: {...}, s: `2`, Format: `DecimalSI`}}},\n"
          "  \t... // 6 identical fields\n"
          "  }\n"
          "" },
        { &res_services, SPEC("`clusterIP`:`a`,`clusterIPs`:[`b`],`ipFamilies`:[`IPv5`],`ports`:[{`port`:1}]"), NULL,
          NULL,
          "spec.clusterIPs: Invalid value: []string{`b`}: first value must match `clusterIP`\n"
          "spec.ipFamilies[0]: Unsupported value: `IPv5`: supported values: `IPv4`, `IPv6`\n"
          "spec.clusterIPs[0]: Invalid value: `b`: must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)" },
        { &res_storageclasses,
          OBJECT("`provisioner`:`a`,`allowedTopologies`:[{`matchLabelExpressions`:[{`key`:`a`,`values`:[`x`,`y`]}]},{"
                 "`matchLabelExpressions`:[{`key`:`a`,`values`:[`y`,`x`]},{`key`:`a`,`values`:[`x`,`x`]}]},{"
                 "`matchLabelExpressions`:[{`key`:`a`,`values`:[`y`,`x`]}]}]"),
          NULL, NULL,
          "allowedTopologies[1].matchLabelExpressions[1].values[1]: Duplicate value: `x`\n"
          "allowedTopologies[1].matchLabelExpressions[1].key: Duplicate value: `a`\n"
          "allowedTopologies[2].matchLabelExpressions: Duplicate value: ``" },
        { &res_storageclasses,
          OBJECT("`provisioner`:`a`,`allowedTopologies`:[{`matchLabelExpressions`:[{`key`:`a`,`values`:[`x`]}]},{"
                 "`matchLabelExpressions`:[{`key`:`a`,`values`:[`y`]},{`key`:`a`,`values`:[`x`]}]}]"),
          NULL, NULL,
          "allowedTopologies[1].matchLabelExpressions[1].key: Duplicate value: `a`\n"
          "allowedTopologies[1].matchLabelExpressions: Duplicate value: ``" },
        { &res_storageclasses, OBJECT("`provisioner`:`a`,`allowedTopologies`:[{}]"), NULL, NULL,
          "allowedTopologies[0].matchLabelExpressions: Duplicate value: ``" },
        { &res_volumeattachments,
          SPEC("`nodeName`:`n`,`source`:{`persistentVolumeName`:``,`inlineVolumeSpec`:{`hostPath`:{}}}"), NULL, NULL,
          "spec.attacher: Required value\n"
          "spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName\n"
          "spec.attacher: Required value\n"
          "spec.attacher: Invalid value: ``: " SUBDOMAIN "\n"
          "spec.source.persistentVolumeName: Invalid value: ``: " SUBDOMAIN },
        { &res_storageclasses, OBJECT("`provisioner`:`a`"), "",
          "{`metadata`:{`labels`:{`a`:`-`}},`provisioner`:``,`parameters`:{`a`:`b`}}",
          LABEL "\n" LABEL "\n" LABEL "\nprovisioner: Required value\n" LABEL
                "\nparameters: Forbidden: updates to parameters are forbidden.\n"
                "provisioner: Forbidden: updates to provisioner are forbidden." },
        { &res_daemonsets, ODD_SELECTOR, NULL, NULL,
          "spec.selector.matchExpressions[0].operator: Invalid value: `X`: not a valid selector operator\n" ODD_RUNS(
                          "DaemonSet") },
        { &res_statefulsets, ODD_SELECTOR, NULL, NULL,
          "spec.selector.matchExpressions[0].operator: Invalid value: `X`: not a valid selector operator\n"
          "spec.selector: Invalid value: v1.LabelSelector{MatchLabels:map[string]string(nil), MatchExpressions:"
          "[]v1.LabelSelectorRequirement{v1.LabelSelectorRequirement{Key:`a`, Operator:`X`, "
          "Values:[]string(nil)}}}\n" ODD_RUNS("StatefulSet") },
        { &res_pods, POD(""), "", "{`spec`:{`schedulingGates`:[{`name`:`a/g`},{`name`:`a/g`}]}}",
          "spec.schedulingGates[1]: Duplicate value: `a/g`\n"
          "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a/g'" },
        { &res_pods, /* profiles of no known type differ from no annotation */
          "{`metadata`:{`name`:`x`,`annotations`:{`container.apparmor.security.beta.kubernetes.io/c`:`unconfined`,"
          "`seccomp.security.alpha.kubernetes.io/pod`:`unconfined`}},`spec`:{`serviceAccountName`:`default`,"
          "`securityContext`:{`seccompProfile`:{}},`containers`:[{`name`:`c`,`image`:`i`,"
          "`securityContext`:{`appArmorProfile`:{`type`:`X`}}}]}}",
          NULL, NULL,
          "spec.containers[0].securityContext.appArmorProfile.type: Unsupported value: `X`: supported values: "
          "`Localhost`, `RuntimeDefault`, `Unconfined`\n"
          "spec.securityContext.seccompProfile.type: Required value: type is required when seccompProfile is set" },
        { &res_configmaps, OBJECT("`data`:{`a`:`b`},`binaryData`:{`a`:`Yg==`}"), NULL, NULL,
          "data[a]: Invalid value: `a`: duplicate of key present in binaryData" },
        { &res_networkpolicies, SPEC("`podSelector`:{},`ingress`:[{`ports`:[{`protocol`:``}]}]"), NULL, NULL,
          "spec.ingress[0].ports[0].protocol: " PROTOCOLS("") },
        { &res_priorityclasses, OBJECT("`value`:1"), "", "{`preemptionPolicy`:`x`}",
          "preemptionPolicy: Invalid value: `x`: field is immutable" },
        { &res_ingressclasses, SPEC("`controller`:`a.b/c`"), "", "{`spec`:{`controller`:`x`}}",
          "spec.controller: Invalid value: `x`: field is immutable\n"
          "spec.controller: Invalid value: `x`: must be a domain-prefixed path (such as `acme.io/foo`)" },
        { &res_clusterrolebindings,
          OBJECT("`roleRef`:{`apiGroup`:`rbac.authorization.k8s.io`,`kind`:`ClusterRole`,`name`:`view`}"), "",
          "{`roleRef`:{`name`:``}}",
          "roleRef.name: Required value\nroleRef.name: Required value\n"
          "roleRef: Invalid value: rbac.RoleRef{APIGroup:`rbac.authorization.k8s.io`, Kind:`ClusterRole`, Name:``}: "
          "cannot change roleRef" },
        { &res_jobs, SPEC("`template`:{`spec`:{`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`image`:`i`}]}}"), "",
          "{`spec`:{`activeDeadlineSeconds`:-1,`completions`:5}}",
          "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0\n"
          "spec.activeDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0\n"
          "spec.completions: Invalid value: 5: field is immutable" },
        { &res_persistentvolumes,
          SPEC("`capacity`:{`storage`:`1`},`accessModes`:[`ReadWriteOnce`],`local`:{`path`:`/a`},`nodeAffinity`:"
               "{`required`:{`nodeSelectorTerms`:[{`matchExpressions`:[{`key`:`a`,`operator`:`Exists`}]}]}}"),
          "", "{`spec`:{`accessModes`:null,`storageClassName`:`-`}}",
          "spec.accessModes: Required value\n"
          "spec.storageClassName: Invalid value: `-`: " SUBDOMAIN "\n"
          "spec.accessModes: Required value\n"
          "spec.storageClassName: Invalid value: `-`: " SUBDOMAIN },
        { &res_pods, POD(""), "", "{`metadata`:{`annotations`:{`controller.kubernetes.io/pod-deletion-cost`:`x`}}}",
          COST "\n" COST },
        { &res_resourcequotas, SPEC("`hard`:{`pods`:`1`},`scopes`:[`NotTerminating`]"), "",
          "{`spec`:{`scopes`:[`NotTerminating`,`NotTerminating`]}}", "" },
        { &res_pods, CONTAINER("`ports`:[{`name`:`A--`,`containerPort`:1}]"), NULL, NULL,
          PORT_NAME "contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)\n" PORT_NAME
                    "contain at least one letter (a-z)\n" PORT_NAME "not contain consecutive hyphens\n" PORT_NAME
                    "not begin or end with a hyphen" },
        { &res_pods, CONTAINER("`resources`:{`requests`:{`cpu`:`1`}}"), "resize",
          "{`spec`:{`containers`:[{`name`:`c`,`resources`:{`limits`:{`cpu`:`1`,`memory`:`1`},`requests`:{`cpu`:`1`,"
          "`memory`:`1`}}}]}}",
          "spec: Invalid value: `Burstable`: Pod QOS Class may not change as a result of resizing\n"
          "spec.containers[0].resources.limits[memory]: Forbidden: memory limits cannot be added unless resizePolicy "
          "is "
          "RestartContainer" },
        { &res_pods,
          CONTAINER("`securityContext`:{`windowsOptions`:{`hostProcess`:true}}}],`initContainers`:[{`name`:`d`,"
                    "`image`:`i`"),
          NULL, NULL,
          "spec: Invalid value: ``: If pod contains any hostProcess containers then all containers must be HostProcess "
          "containers\nspec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any "
          "hostProcess "
          "containers" },
        { &res_pods,
          POD(",`securityContext`:{`appArmorProfile`:{`type`:`RuntimeDefault`}},`ephemeralContainers`:[{`name`:`e-`,"
              "`image`:`i`}]"),
          NULL, NULL,
          "metadata.annotations: Invalid value: `container.apparmor.security.beta.kubernetes.io/e-`: " NAME_PART "\n"
          "spec.ephemeralContainers[0].name: Invalid value: `e-`: a lowercase RFC 1123 label must consist of lower "
          "case "
          "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
          "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
          "spec.ephemeralContainers: Forbidden: cannot be set on create" },
        { &res_configmaps, OBJECT("`data`:{}"), "", "{`metadata`:{`generateName`:`/`}}",
          "metadata.generateName: Invalid value: `/`: may not contain '/'\n"
          "metadata.generateName: Invalid value: `/`: " SUBDOMAIN },
        { &res_events, OBJECT("`involvedObject`:{`namespace`:`default`}"), "",
          "{`metadata`:{`finalizers`:[`x`],`labels`:{`a`:`-`}}}", LABEL "\n" LABEL },
        { &res_resourcequotas, SPEC("`hard`:{``:`1`}"), NULL, NULL,
          "spec.hard[]: Invalid value: : name part must be non-empty\n"
          "spec.hard[]: Invalid value: : " NAME_PART "\n"
          "spec.hard[]: Invalid value: : must be a standard resource for quota" },
        { &res_jobs,
          SPEC("`completionMode`:`Indexed`,`completions`:2,`template`:{`spec`:{`restartPolicy`:`Never`,`containers`:[{"
               "`name`:`c`,`image`:`i`}]}}"),
          "", "{`spec`:{`completions`:3,`completionMode`:null,`manualSelector`:null,`suspend`:true}}",
          "spec.completions: Invalid value: 3: field is immutable\n"
          "spec.completionMode: Invalid value: `NonIndexed`: field is immutable" },
        { &res_jobs, SPEC("`template`:{`spec`:{`restartPolicy`:`Never`,`containers`:[{`name`:`c`,`image`:`i`}]}}"),
          "status", "{`status`:{`active`:-1}}",
          "status.active: Invalid value: -1: must be greater than or equal to 0" },
        { &res_certificatesigningrequests,
          "{`metadata`:{`name`:`a/b`},`spec`:{`request`:`" CSR_TEXT "`,`signerName`:`a.b/c`,`usages`:[`any`]}}", NULL,
          NULL, "metadata.name: Invalid value: `a/b`: may not contain '/'" },
        { &res_certificatesigningrequests, SPEC("`request`:`eA==`,`signerName`:`a.b/c`,`usages`:[`any`]"), NULL, NULL,
          "spec.request: Invalid value: []byte{0x78}: PEM block type must be CERTIFICATE REQUEST" },
        { &res_endpointslices,
          OBJECT("`addressType`:`IPv6`,`endpoints`:[{`addresses`:[`FD00::1`,`1.2.3.4`,`01.2.3.4`]}],`ports`:[{`name`:"
                 "`a`},{`name`:`a`}]"),
          NULL, NULL,
          "ports[1].name: Duplicate value: `a`\n"
          "endpoints[0].addresses[0]: Invalid value: `FD00::1`: must be in canonical form (`fd00::1`)\n"
          "endpoints[0].addresses: Invalid value: `1.2.3.4`: must be an IPv6 address\n"
          "endpoints[0].addresses[2]: Invalid value: `01.2.3.4`: must not have leading 0s" },
        { &res_endpointslices, OBJECT("`addressType`:`IPv4`,`endpoints`:[{`addresses`:[`1.2.3.4`]}]"), "",
          "{`addressType`:`IPv6`}", "addressType: Invalid value: `IPv6`: field is immutable" },
        { &res_runtimeclasses, OBJECT("`handler`:`h`"), "",
          "{`handler`:`-`,`scheduling`:{`tolerations`:[{`value`:`a`,`operator`:`Exists`}]}}",
          "handler: Invalid value: `-`: a lowercase RFC 1123 label must consist of lower case alphanumeric characters "
          "or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used "
          "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"
          "scheduling.tolerations.tolerations[0].operator: Invalid value: `a`: value must be empty when `operator` is "
          "'Exists'\n"
          "handler: Invalid value: `-`: field is immutable" },
        { &res_networkpolicies, SPEC("`podSelector`:{}"), "", "{`spec`:{`policyTypes`:[`x`]}}",
          "spec.policyTypes[0]: Unsupported value: `x`: supported values: `Ingress`, `Egress`\n"
          "spec.policyTypes[0]: Unsupported value: `x`: supported values: `Ingress`, `Egress`" },
        { &res_volumeattachments, SPEC("`attacher`:`a`,`nodeName`:`n`,`source`:{`persistentVolumeName`:`v`}"), "",
          "{`spec`:{`attacher`:``,`source`:{`persistentVolumeName`:null}}}",
          "spec.attacher: Required value\n"
          "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName\n"
          "spec.attacher: Required value\n"
          "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName\n"
          "spec: Invalid value: storage.VolumeAttachmentSpec{Attacher:``, Source:storage.VolumeAttachmentSource{"
          "PersistentVolumeName:(*string)(nil), InlineVolumeSpec:(*core.PersistentVolumeSpec)(nil)}, NodeName:`n`}: "
          "field is immutable" },
        { &res_csinodes, SPEC("`drivers`:[{`name`:`d`,`nodeID`:`n`}]"), "",
          "{`spec`:{`drivers`:[{`name`:`d`,`nodeID`:`m`}]}}",
          "spec.drivers: Invalid value: storage.CSINodeDriver{Name:`d`, NodeID:`m`, TopologyKeys:[]string(nil), "
          "Allocatable:(*storage.VolumeNodeResources)(nil)}: field is immutable" },
        { &res_csinodes, SPEC("`drivers`:[{`name`:`d`,`nodeID`:`n`}]"), "",
          "{`spec`:{`drivers`:[{`name`:`d`,`nodeID`:`n`,`topologyKeys`:[]}]}}", "" },
        { &res_ingressclasses, SPEC("`controller`:`a.b/c`"), "", "{`spec`:null}",
          "spec.controller: Invalid value: ``: field is immutable\nspec.controller: Required value" },
        { &res_controllerrevisions, OBJECT("`data`:{`a`:1},`revision`:1"), "", "{`data`:null}",
          "data: Invalid value: runtime.RawExtension{Raw:[]uint8(nil), Object:runtime.Object(nil)}: field is "
          "immutable" },
        { &res_poddisruptionbudgets, SPEC(""), "status",
          "{`status`:{`conditions`:[{`type`:`a\\u0000b`,`status`:`True`,`reason`:`R`,`message`:``,"
          "`lastTransitionTime`:`2020-01-01T00:00:00Z`}]}}",
          "status.conditions[0].type: Invalid value: `a\\x00b`: " NAME_PART },
        { &res_poddisruptionbudgets, SPEC(""), "status",
          "{`status`:{`conditions`:[{`status`:`True`,`reason`:`R`,`message`:``,`lastTransitionTime`:`2020-01-01T00:00:"
          "00Z`}]}}",
          "status.conditions[0].type: Invalid value: ``: name part must be non-empty\n"
          "status.conditions[0].type: Invalid value: ``: name part must consist of alphanumeric characters, '-', '_' "
          "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
          "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')" },
        { &res_ingressclasses, SPEC("`controller`:`a.b/c`"), "",
          "{`metadata`:{`labels`:{`a`:`-`},`finalizers`:[`x`]},`spec`:{`controller`:`y`}}",
          LABEL "\n" LABEL "\n" LABEL "\n"
                "metadata.finalizers[0]: Invalid value: `x`: " NO_FINALIZER "\n"
                "spec.controller: Invalid value: `y`: field is immutable\n" LABEL "\n"
                "metadata.finalizers[0]: Invalid value: `x`: " NO_FINALIZER "\n"
                "spec.controller: Invalid value: `y`: must be a domain-prefixed path (such as `acme.io/foo`)" },
        { &res_events_events_k8s_io,
          OBJECT("`eventTime`:`2020-01-01T00:00:00.000000Z`,`reportingController`:`a.b/c`,`reportingInstance`:`i`,"
                 "`action`:`a`,`reason`:`r`,`type`:`Normal`,`regarding`:{`namespace`:`default`}"),
          "", "{`reason`:`s`,`eventTime`:null}",
          "reason: Invalid value: `s`: field is immutable\nreason: Invalid value: `s`: field is immutable\n"
          "eventTime: Invalid value: 0001-01-01 00:00:00 +0000 UTC: field is immutable" },
        { &res_storageclasses, OBJECT("`provisioner`:`p`"), "", "{`reclaimPolicy`:``}",
          "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden." },
        { &res_flowschemas, SPEC("`matchingPrecedence`:9,`priorityLevelConfiguration`:{`name`:`p`}"), "status",
          "{`status`:{`conditions`:[{`type`:`A`},{`type`:`A`},{}]}}",
          "status.conditions[1].type: Duplicate value: `A`\n"
          "status.conditions[2].type: Required value: must not be empty" },
        { &res_apiservices,
          "{`metadata`:{`name`:`v1.a.b`},`spec`:{`group`:`a.b`,`version`:`v1`,`groupPriorityMinimum`:1,"
          "`versionPriority`:1,`service`:{`name`:`s`,`namespace`:`n`}}}",
          "status", "{`status`:{`conditions`:[{`type`:`A`,`status`:`x`}]}}",
          "status.conditions[0].status: Unsupported value: `x`: supported values: `True`, `False`, `Unknown`" },
        { &res_priorityclasses, OBJECT("`value`:1,`preemptionPolicy`:``"), NULL, NULL,
          "preemptionPolicy: Required value" },
        { &res_nodes,
          SPEC("`taints`:[{`key`:`a`,`value`:`-a23456789.123456789.123456789.123456789.123456789.123456789.123456789`,"
               "`effect`:`NoExecute`}]"),
          NULL, NULL,
          "metadata.taints[0].value: Invalid value: "
          "`-a23456789.123456789.123456789.123456789.123456789.123456789.123456789`: must be no more than 63 "
          "characters;" LABEL_VALUE },
/* upstream's own tables of what is valid and what is not */
#define SEARCH                                                                                                     \
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and " \
        "must "                                                                                                    \
        "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "          \
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        { &res_pods, POD(",`dnsConfig`:{`searches`:[`..`,`.`]}"), NULL, NULL,
          "spec.dnsConfig.searches[0]: Invalid value: `.`: " SEARCH },
        { &res_pods, CONTAINER("`livenessProbe`:{`tcpSocket`:{`port`:1},`successThreshold`:-1,`failureThreshold`:-1}"),
          NULL, NULL,
          "spec.containers[0].livenessProbe.successThreshold: Invalid value: -1: must be greater than or equal to 0\n"
          "spec.containers[0].livenessProbe.failureThreshold: Invalid value: -1: must be greater than or equal to 0\n"
          "spec.containers[0].livenessProbe.successThreshold: Invalid value: -1: must be 1" },
        { &res_pods,
          CONTAINER("`env`:[{`name`:`E`,`valueFrom`:{`fieldRef`:{`apiVersion`:`v1`,`fieldPath`:`metadata.name['k']`}}}"
                    "]"),
          NULL, NULL,
          "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: `metadata.name['k']`: error "
          "converting fieldPath: field label does not support subscript: metadata.name['k']" },
        { &res_pods,
          CONTAINER("`securityContext`:{`windowsOptions`:{`hostProcess`:true}}}],`hostNetwork`:true,"
                    "`securityContext`:{`windowsOptions`:{`hostProcess`:false}},`initContainers`:[{`name`:`c`,`image`:`"
                    "i`"),
          NULL, NULL,
          "spec.initContainers[0].name: Duplicate value: `c`\n"
          "spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: true: pod hostProcess value "
          "must be identical if both are specified, was false\n"
          "spec: Invalid value: ``: If pod contains any hostProcess containers then all containers must be HostProcess "
          "containers" },
        { &res_pods, POD(""), "status", "{`metadata`:{`annotations`:{`kubernetes.io/config.mirror`:`a`}}}",
          "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation\n"
          "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: `a`: must set spec.nodeName if mirror pod "
          "annotation is set" },
        { &res_deployments,
          "{`metadata`:{`name`:`x`,`annotations`:{`deprecated.deployment.rollback.to`:`-3`}},`spec`:{"
          "`selector`:{`matchLabels`:{`a`:`b`}},`template`:{`metadata`:{`labels`:{`a`:`b`}},`spec`:{`containers`:[{"
          "`name`:`c`,`image`:`i`}]}},`strategy`:{`rollingUpdate`:{`maxSurge`:`20Percent`,`maxUnavailable`:0}}}}",
          NULL, NULL,
          "spec.strategy.rollingUpdate.maxSurge: Invalid value: intstr.IntOrString{Type:1, IntVal:0, "
          "StrVal:`20Percent`}: a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  "
          "or '93%', regex used for validation is '[0-9]+%')\n"
          "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: intstr.IntOrString{Type:0, IntVal:0, "
          "StrVal:``}: may not be 0 when `maxSurge` is 0\n"
          "spec.rollback.version: Invalid value: -3: must be greater than or equal to 0" },
        { &res_nodes,
          SPEC("`taints`:[{`key`:`a`,`effect`:`NoExecute`,`timeAdded`:`2020-01-02T03:04:05Z`},{`key`:`a`,`effect`:"
               "`NoExecute`,`timeAdded`:`2020-01-02T03:04:05Z`}]"),
          NULL, NULL,
          "metadata.taints[1]: Duplicate value: core.Taint{Key:`a`, Value:``, Effect:`NoExecute`, TimeAdded:time.Date("
          "2020, time.January, 2, 3, 4, 5, 0, time.Local)}: taints must be unique by key and effect pair" },
        { &res_nodes, OBJECT("`status`:{`nodeInfo`:{`swap`:{`capacity`:0}}}"), NULL, NULL,
          "metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero" },
        { &res_services,
          SPEC("`type`:`NodePort`,`ports`:[{`name`:`a`,`port`:1,`nodePort`:1},{`name`:`b`,`port`:2,`protocol`:`UDP`,"
               "`nodePort`:1}]"),
          NULL, NULL, "spec.ports[1].nodePort: Invalid value: 1: provided port is already allocated" },
        { &res_services, SPEC("`clusterIP`:`192.012.2.2`,`ports`:[{`port`:1}]"), NULL, NULL,
          "spec.clusterIPs: Invalid value: []string{`192.012.2.2`}: failed to allocate IP 192.012.2.2: the provided IP "
          "(192.12.2.2) is not in the valid range. The range of valid IPs is 10.96.0.0/12" },
        { &res_prioritylevelconfigurations,
          "{`metadata`:{`name`:`x`,`annotations`:{`flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares`:``}},"
          "`spec`:{`type`:`Limited`,`limited`:{`limitResponse`:{`type`:`Reject`}}}}",
          NULL, NULL,
          "metadata.annotations: Forbidden: annotation 'flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares' "
          "is forbidden" },
        { &res_replicationcontrollers,
          "{`metadata`:{`name`:`x`,`annotations`:{`non-convertible.kubernetes.io/spec.selector`:``}},`spec`:{"
          "`selector`:{`a`:`b`},`template`:{`metadata`:{`labels`:{`a`:`b`,`c`:`d`}},`spec`:{`containers`:[{`name`:`c`,"
          "`image`:`i`}]}}}}",
          "", "{`spec`:{`selector`:{`c`:`d`}}}",
          "spec.selector: Invalid value: map[string]string{`a`:`b`, `c`:`d`}: cannot update non-convertible selector" },
        { &res_validatingadmissionpolicies,
          SPEC("`matchConstraints`:{`resourceRules`:[{`apiGroups`:[``],`apiVersions`:[`v1`],`resources`:[`pods`],"
               "`operations`:[`CREATE`]}]},`auditAnnotations`:[{`key`:`k`,`valueExpression`:`a b `}]"),
          NULL, NULL,
          "spec.auditAnnotations[0].valueExpression: Invalid value: `a b `: compilation failed: ERROR: <input>:1:3: "
          "Syntax error: extraneous input 'b' expecting <EOF>\n | a b\n | ..^" },
        { &res_customresourcedefinitions,
          "{`metadata`:{`name`:`x`,`labels`:{`a`:`-`}},`spec`:{`group`:`a.b`,`scope`:`Cluster`,`names`:{`plural`:`cs`,"
          "`kind`:`C`},`versions`:[{`name`:`v1`,`served`:true,`storage`:true,`schema`:{`openAPIV3Schema`:{`type`:"
          "`object`}}}]}}",
          NULL, NULL, "metadata.name: Invalid value: `x`: must be spec.names.plural+`.`+spec.group\n" LABEL },
        { &res_validatingadmissionpolicies,
          SPEC("`matchConstraints`:{`resourceRules`:[{`apiGroups`:[``],`apiVersions`:[`v1`],`resources`:[`pods`],"
               "`operations`:[`CREATE`]}]},`validations`:[{`expression`:`true`}]"),
          "status",
          "{`status`:{`typeChecking`:{`expressionWarnings`:[{`fieldRef`:`f`,`warning`:``}]},`conditions`:[{`type`:`A`,"
          "`status`:`x`,`reason`:`R`,`message`:``,`lastTransitionTime`:`2020-01-01T00:00:00Z`}]}}",
          "status.typeChecking.expressionWarnings[0].warning: Required value\n"
          "status.conditions[0].status: Unsupported value: `x`: supported values: `False`, `True`, `Unknown`" },
        { &res_prioritylevelconfigurations,
          SPEC("`type`:`Limited`,`exempt`:{},`limited`:{`lendablePercent`:-1,`limitResponse`:{`type`:`Reject`}}"), NULL,
          NULL,
          "spec.exempt: Forbidden: must be nil if the type is Limited\n"
          "spec.limited.lendablePercent: Invalid value: -1: must be between 0 and 100, inclusive" },
};

static struct str quoted(struct arena *a, const char *text) {
        char *copy = arena_cstr(a, str_of(text));

        for (char *p = copy; *p; p++)
                if (*p == '`')
                        *p = '"';
        return str_of(copy);
}

/* Backquotes of messages are quotes here, too. */
static void print_causes(struct fixture *f, struct buf *dst, const char *status) {
        struct json *j;

        if (!status || json_parse(f->a, str_of(status), NULL, &j, NULL) < 0)
                return;
        json_each_item(c, json_at_path(j, "details", "causes"))
                buf_printf(dst, "%s%" STR_FMT ": %" STR_FMT, dst->n ? "\n" : "",
                           STR_ARG(json_str(json_getc(c, "field"))), STR_ARG(json_str(json_getc(c, "message"))));
        for (size_t i = 0; i < dst->n; i++)
                if (dst->p[i] == '`')
                        dst->p[i] = '"';
}

static void every_cause_is_told_in_upstreams_order(void **state) {
        struct fixture *f = *state;
        size_t wrong = 0;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const struct row *r = &rows[i];
                const char *ns = r->resource->namespaced ? "default" : "",
                           *name = r->resource == &res_apiservices ? "v1.a.b" : "x";
                struct answer a = ASK(f, API_CREATE, r->resource, ns, .options.dry_run = !r->patch,
                                      .body = quoted(f->a, r->body).p);
                _cleanup_buf_ struct buf got = BUF_INIT;

                if (r->patch) {
                        if (a.code != 201)
                                fail_msg("%s: %d %s", r->body, a.code, a.message);
                        a = ASK(f, API_PATCH, r->resource, ns, name, .sub = r->sub, .patch = API_PATCH_MERGE,
                                .body = quoted(f->a, r->patch).p);
                        ASK(f, API_DELETE, r->resource, ns, name, .options.propagation_policy = STR("Background"));
                }
                print_causes(f, &got, a.code == 422 ? a.status : NULL);
                if (!str_eq(buf_str(&got), quoted(f->a, r->causes))) {
                        fprintf(stderr, "%s %s\n  is     %d\n%" STR_FMT "\n  wanted\n%s\n", r->body,
                                r->patch ? r->patch : "", a.code, STR_ARG(buf_str(&got)), r->causes);
                        wrong++;
                }
        }
        assert_int_equal(wrong, 0);
}

static void what_etcd_would_refuse_is_refused(void **state) {
        static const struct {
                size_t n; /* of a text in it */
                int code;
        } sizes[] = { { 3 * 512 * 1024 - 4096, 201 }, { 3 * 512 * 1024, 500 }, { 2100000, 500 } };
        struct fixture *f = *state;

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                char *text = arena_alloc(f->a, sizes[i].n + 1);
                struct answer a;

                memset(text, 'a', sizes[i].n);
                text[sizes[i].n] = '\0';
                a = ASK(f, API_CREATE, &res_podtemplates, "default",
                        .body = arena_printf(f->a,
                                             "{\"metadata\":{\"name\":\"x%zu\"},\"template\":{\"spec\":{"
                                             "\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{"
                                             "\"name\":\"A\",\"value\":\"%s\"}]}]}}}",
                                             i, text)
                                                .p);
                assert_int_equal(a.code, sizes[i].code);
                if (i == 1)
                        check_error(a, 500, "etcdserver: request is too large");
                if (i == 2) /* nor would upstream's client of etcd send it */
                        check_error(a, 500,
                                    "rpc error: code = ResourceExhausted desc = trying to send message larger than max "
                                    "(2100363 vs. 2097152)");
        }
}

/* What is too large with managedFields is stored without: but of a config that is applied. */
static void managed_fields_are_left_out_of_what_is_too_large(void **state) {
        static const char meta[] = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"x\"}";
        struct fixture *f = *state;
        struct buf b = BUF_INIT;
        struct answer a;

        buf_printf(&b, "%s,\"data\":{", meta);
        for (int i = 0; i < 9999; i++)
                buf_printf(&b,
                           "%s\"a-key-that-is-long-so-that-very-many-bytes-are-in-the-names-of-so-many-keys-as-these-%"
                           "d\":\"\"",
                           i ? "," : "", i);
        buf_printf(&b, "}}");
        a = ASK(f, API_CREATE, &res_configmaps, "default", .body = buf_str(&b).p);
        check_code(a, 201);
        assert_string_equal(at(f, a, ".metadata.managedFields"), "(absent)");
        check_code(ASK(f, API_CREATE, &res_configmaps, "default", .body = "{\"metadata\":{\"name\":\"y\"}}"), 201);
        a = ASK(f, API_UPDATE, &res_configmaps, "default", "x", .body = buf_str(&b).p);
        check_code(a, 200);
        assert_string_equal(at(f, a, ".metadata.managedFields"), "(absent)");
        check_error(ASK(f, API_PATCH, &res_configmaps, "default", "x", .body = arena_printf(f->a, "%s}", meta).p,
                        .patch = API_PATCH_APPLY, .options = { .field_manager = STR("m") }),
                    500, "etcdserver: request is too large");
        buf_free(&b);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(every_cause_is_told_in_upstreams_order, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(what_etcd_would_refuse_is_refused, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(managed_fields_are_left_out_of_what_is_too_large, fixture_setup,
                                                fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
