/* Pods: fields that do not go together, and statuses that cannot be. */
#include "help.h"

#define POD(part) "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"serviceAccountName\":\"default\"," part "}}"
#define IN_CONTAINER(part) POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\"," part "}]")
#define IN_SPEC(part) POD("\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]," part)
#define VOLUME(source) IN_SPEC("\"volumes\":[{\"name\":\"v\"," source "}]")
#define ISCSI(part) VOLUME("\"iscsi\":{\"targetPortal\":\"p\",\"lun\":1," part "}")

static const struct {
        const char *body, *message; /* what is wrong with the whole */
} refused[] = {
        { IN_CONTAINER("\"ports\":[{\"containerPort\":1,\"hostPort\":80},{\"containerPort\":2,\"hostPort\":80}]"),
          "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"" },
        { IN_SPEC("\"initContainers\":[{\"name\":\"d\",\"image\":\"i\",\"restartPolicy\":\"Never\"}]"),
          "spec.initContainers[0].restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"" },
        { IN_CONTAINER("\"lifecycle\":{\"preStop\":{\"sleep\":{\"seconds\":31}}}"),
          "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
          "terminationGracePeriodSeconds (30)" },
        { IN_CONTAINER("\"securityContext\":{\"procMount\":\"Unmasked\"}"),
          "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use "
          "`Unmasked`" },
        { IN_SPEC("\"os\":{\"name\":\"windows\"},\"hostPID\":true,\"securityContext\":{\"fsGroup\":1,\"runAsUser\":2}"),
          "[spec.hostPID: Forbidden: cannot be set for a windows pod, spec.securityContext.fsGroup: Forbidden: cannot "
          "be "
          "set for a windows pod, spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod]" },
        { POD("\"os\":{\"name\":\"windows\"},\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"securityContext\":{"
              "\"privileged\":true}}]"),
          "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod" },
        { IN_SPEC("\"os\":{\"name\":\"linux\"},\"securityContext\":{\"windowsOptions\":{}}"),
          "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod" },
        { IN_SPEC("\"hostNetwork\":true,\"hostIPC\":true,\"securityContext\":{\"sysctls\":[{\"name\":\"net.a\","
                  "\"value\":"
                  "\"1\"},{\"name\":\"kernel.shmmax\",\"value\":\"1\"}]}"),
          "[spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when 'hostNetwork' is "
          "true, spec.securityContext.sysctls[1].name: Invalid value: \"kernel.shmmax\": may not be specified when "
          "'hostIPC' is true]" },
        { ISCSI("\"iqn\":\"q\""),
          "spec.volumes[0].iscsi.iqn: Invalid value: \"q\": must be valid format starting with iqn, eui, or naa" },
        { ISCSI("\"iqn\":\"iqn.2001-4.com:a\""),
          "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.2001-4.com:a\": must be valid format" },
        { ISCSI("\"iqn\":\"iqn.2001-04.com.a:b,c\""),
          "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.2001-04.com.a:b,c\": must be valid format" },
        { ISCSI("\"iqn\":\"eui.0123456789abcde\""),
          "spec.volumes[0].iscsi.iqn: Invalid value: \"eui.0123456789abcde\": must be valid format" },
        { ISCSI("\"iqn\":\"iqn.2001-04.com.a:b\",\"chapAuthSession\":true"),
          "spec.volumes[0].iscsi.secretRef: Required value" },
        { VOLUME("\"fc\":{\"wwids\":[\"a\"],\"targetWWNs\":[\"b\"]}"),
          "[spec.volumes[0].fc.targetWWNs: Invalid value: []string{\"b\"}: targetWWNs and wwids can not be specified "
          "simultaneously, spec.volumes[0].fc.lun: Required value: lun is required if targetWWNs is specified]" },
        { IN_SPEC("\"restartPolicy\":\"Q\""),
          "spec.restartPolicy: Unsupported value: \"Q\": supported values: \"Always\", \"OnFailure\", \"Never\"" },
        { IN_SPEC("\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{"
                  "\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Is\"}]}]}}}"),
          "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]."
          "matchExpressions[0].operator: Invalid value: \"Is\": not a valid selector operator" },
        { IN_SPEC("\"tolerations\":[{\"operator\":\"Exists\",\"effect\":\"Q\"}]"),
          "spec.tolerations[0].effect: Unsupported value: \"Q\": supported values: \"NoSchedule\", "
          "\"PreferNoSchedule\", \"NoExecute\"" },
        { IN_SPEC("\"schedulingGates\":[{\"name\":\"a\"},{\"name\":\"a\"}]"),
          "spec.schedulingGates[1]: Duplicate value: \"a\"" },
        { IN_SPEC("\"hostAliases\":[{\"ip\":\"1.2.3.4\",\"hostnames\":[\"a\",\"\"]}]"),
          "spec.hostAliases[0].hostnames[1]: Invalid value: \"\": " SUBDOMAIN },
        { IN_SPEC("\"dnsConfig\":{\"searches\":[\"a_b\",\".\",\"_x.y\",\"x.\",\"__a\"]}"),
          "spec.dnsConfig.searches[4]: Invalid value: \"__a\": " SUBDOMAIN_OF("'_', '-' or '.'") },
        { IN_SPEC("\"securityContext\":{\"fsGroupChangePolicy\":\"\"}"),
          "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"\": supported values: \"Always\", "
          "\"OnRootMismatch\"" },
        { IN_SPEC("\"securityContext\":{\"seLinuxChangePolicy\":\"MountOption\"}"),
          "spec.securityContext.seLinuxChangePolicy: Unsupported value: \"MountOption\": supported values: "
          "\"Recursive\"" },
        { IN_SPEC("\"securityContext\":{\"sysctls\":[{\"name\":\"a\",\"value\":\"1\"},{\"name\":\"net/"
                  "a\",\"value\":\"1\"}]},\"hostNetwork\":true"),
          "spec.securityContext.sysctls[1].name: Invalid value: \"net/a\": may not be specified when 'hostNetwork' is "
          "true" },
        { IN_SPEC("\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"k\",\"whenUnsatisfiable\":"
                  "\"DoNotSchedule\",\"matchLabelKeys\":[\"/a\"]}]"),
          "[spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is "
          "not set, spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"/a\": prefix part must be "
          "non-empty]" },
        { "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"serviceAccountName\":\"default\","
          "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"affinity\":{\"podAffinity\":{"
          "\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"k\",\"labelSelector\":{"
          "\"matchLabels\":{\"a\":\"c\"}},\"matchLabelKeys\":[\"a\"]}]}}}}",
          "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0][0]: Invalid value: \"a\": "
          "exists in both matchLabelKeys and labelSelector" },
};

static const char *detail_of(struct answer a) {
        const char *said = a.message ? strstr(a.message, "is invalid: ") : NULL;

        return said ? said + strlen("is invalid: ") : "";
}

static void pods_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                struct answer a = ASK(f, API_CREATE, &res_pods, "default", .body = refused[i].body);

                if (strcmp(detail_of(a), refused[i].message) != 0)
                        fail_msg("%s\n  %d %s", refused[i].body, a.code, a.message);
        }
}

#define STATUS(part) "{\"status\":{" part "}}"
#define ENDED "{\"name\":\"c\",\"state\":{\"terminated\":{\"exitCode\":0}}}"

static const struct {
        const char *patch, *message; /* NULL: fine */
} statuses[] = {
        { STATUS("\"qosClass\":\"Guaranteed\""), "status.qosClass: Invalid value: \"Guaranteed\": field is immutable" },
        { STATUS("\"conditions\":[{\"type\":\"a b\",\"status\":\"True\"}]"),
          "status.conditions[0].Type: Invalid value: \"a b\": name part must consist of alphanumeric characters" },
        { STATUS("\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"10.0.0.2\"}]"),
          "status.podIPs: Invalid value: []core.PodIP{core.PodIP{IP:\"10.0.0.1\"}, core.PodIP{IP:\"10.0.0.2\"}}: may "
          "specify no more than one "
          "IP for "
          "each IP family" },
        { STATUS("\"podIPs\":[{\"ip\":\"10.0.0.1\"},{\"ip\":\"fd00::2\"}],\"hostIP\":\"1.2.3.4\",\"hostIPs\":[{\"ip\":"
                 "\"1.2.3.4\"}]"),
          NULL },
        { STATUS("\"hostIPs\":[{\"ip\":\"1.2.3.5\"}]"),
          "status.hostIPs[0].ip: Invalid value: \"1.2.3.5\": must be equal to `hostIP`" },
        { STATUS("\"initContainerStatuses\":[{\"name\":\"d\",\"user\":{\"linux\":{\"uid\":1,\"gid\":-2}}}]"),
          "status.initContainerStatuses[0].user.linux.gid: Invalid value: -2: must be between 0 and 2147483647, "
          "inclusive" },
        { STATUS("\"containerStatuses\":[" ENDED "]"), NULL },
        { STATUS("\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":{}}}]"),
          "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state" },
};

static void statuses_are_refused_as_upstream_does(void **state) {
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default", .body = IN_SPEC("\"restartPolicy\":\"OnFailure\""));
        assert_int_equal(a.code, 201);
        for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
                a = ASK(f, API_PATCH, &res_pods, "default", "x", .sub = "status", .patch = API_PATCH_MERGE,
                        .body = statuses[i].patch);
                if (a.code != (statuses[i].message ? 422 : 200) ||
                    (statuses[i].message && !strstr(detail_of(a), statuses[i].message)))
                        fail_msg("%s\n  %d %s", statuses[i].patch, a.code, a.message);
        }
}

#define NAMED(meta, part)                                                           \
        "{\"metadata\":{\"name\":\"x\"," meta                                       \
        "},\"spec\":{\"serviceAccountName\":\"default\",\"containers\":[{\"name\":" \
        "\"c\",\"image\":\"i\"}]" part "}}"
#define ARMOR "container.apparmor.security.beta.kubernetes.io/c"
#define PROFILE(text) "\"annotations\":{\"" ARMOR "\":\"" text "\"}"

/* What a new pod gets, or loses. */
static const struct {
        const char *body, *path, *value;
        size_t n_warnings;
} completed[] = {
        { NAMED(PROFILE("localhost/a"), ""), ".spec.containers[0].securityContext.appArmorProfile",
          "{\"type\":\"Localhost\",\"localhostProfile\":\"a\"}", 1 },
        { NAMED(PROFILE("unconfined"), ",\"securityContext\":{\"appArmorProfile\":{\"type\":\"Unconfined\"}}"),
          ".spec.containers[0].securityContext", "(absent)", 0 },
        { NAMED("\"uid\":\"\"", ",\"securityContext\":{\"appArmorProfile\":{\"type\":\"RuntimeDefault\"}}"),
          ".metadata.annotations", "{\"" ARMOR "\":\"runtime/default\"}", 0 },
        { NAMED("\"labels\":{\"a\":\"b\"}",
                ",\"affinity\":{\"podAntiAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":"
                "1,"
                "\"podAffinityTerm\":{\"topologyKey\":\"k\",\"labelSelector\":{},\"matchLabelKeys\":[\"z\"],"
                "\"mismatchLabelKeys\":[\"a\"]}}]}}"),
          ".spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm."
          "labelSelector.matchExpressions",
          "[{\"key\":\"a\",\"operator\":\"NotIn\",\"values\":[\"b\"]}]", 0 },
        { NAMED("\"uid\":\"\"", ",\"resourceClaims\":[{\"name\":\"A\"}]"), ".spec.resourceClaims", "(absent)", 0 },
};

static void new_pods_are_completed_as_upstream_does(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(completed); i++) {
                struct answer a = ASK(f, API_CREATE, &res_pods, "default", .body = completed[i].body,
                                      .options = { .dry_run = true });

                if (a.code != 201 || strcmp(at(f, a, completed[i].path), completed[i].value) != 0 ||
                    a.n_warnings != completed[i].n_warnings)
                        fail_msg("%s\n  %d %s, %s, %zu warnings", completed[i].body, a.code, a.message ? a.message : "",
                                 a.body ? at(f, a, completed[i].path) : "", a.n_warnings);
        }
}

#define SPEC(part) "{\"metadata\":{\"name\":\"y\"},\"spec\":{" part "}}"
#define WORKLOAD(name, more, part)                                                                              \
        "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{" more "\"selector\":{\"matchLabels\":{\"a\":\"b\"}}," \
        "\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\","      \
        "\"image\":\"i\"}]" part "}}}}"

static const struct {
        const struct api_resource *resource;
        const char *body, *warning; /* the only one; NULL: none */
        bool again;                 /* an update of something else is warned, too */
} unwise[] = {
        { &res_pods, IN_SPEC("\"nodeSelector\":{\"beta.kubernetes.io/os\":\"linux\"}"),
          "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead" },
        { &res_pods,
          IN_SPEC("\"topologySpreadConstraints\":[{\"maxSkew\":1,\"whenUnsatisfiable\":\"DoNotSchedule\","
                  "\"topologyKey\":\"a\"}]"),
          "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod" },
        { &res_pods,
          IN_SPEC("\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1,"
                  "\"podAffinityTerm\":{\"topologyKey\":\"a\"}}]}}"),
          "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: "
          "a "
          "null labelSelector results in matching no pod" },
        { &res_pods, IN_SPEC("\"hostAliases\":[{\"ip\":\"1.2.3.4\"},{\"ip\":\"1.2.3.4\"}]"),
          "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"" },
        { &res_pods, VOLUME("\"gitRepo\":{\"repository\":\"r\"}"),
          "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+" },
        { &res_pods,
          VOLUME("\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"a\"}},{\"serviceAccountToken\":{\"path\":"
                 "\"t\"}}]}"),
          NULL },
        { &res_pods,
          VOLUME("\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}},{\"configMap\":{\"name\":"
                 "\"a\"}}]}"),
          "volume \"v\" (Projected): overlapping paths: \"t\" (ServiceAccountToken) with \"t\" "
          "(ServiceAccountToken)" },
        { &res_pods, IN_CONTAINER("\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"A\",\"value\":\"$(A)2\"}]"),
          NULL },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":80},{\"containerPort\":80,\"hostPort\":81}]"),
          "spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]" },
        { &res_pods, IN_CONTAINER("\"ports\":[{\"containerPort\":80,\"hostIP\":\"1.2.3.4\"}]"),
          "spec.containers[0].ports[0]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:80 Protocol:TCP "
          "HostIP:1.2.3.4}" },
        { &res_deployments, WORKLOAD("y.z", "", ""),
          "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS "
          "label is "
          "recommended: [must not contain dots]" },
        { &res_statefulsets, WORKLOAD("y", "\"revisionHistoryLimit\":-1,", ""),
          "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended",
          true },
        { &res_services, SPEC("\"ports\":[{\"port\":80}],\"externalIPs\":[\"2001:db8:0::1\"]"),
          "spec.externalIPs[0]: IPv6 address \"2001:db8:0::1\" should be in RFC 5952 canonical format "
          "(\"2001:db8::1\")",
          true },
        { &res_services, SPEC("\"ports\":[{\"port\":80}],\"externalName\":\"a\""),
          "spec.externalName is ignored when spec.type is not \"ExternalName\"", true },
        { &res_services, SPEC("\"ports\":[{\"port\":80}],\"externalIPs\":[\"10.001.0.1\"]"),
          "spec.externalIPs[0]: non-standard IP address \"10.001.0.1\" will be considered invalid in a future "
          "Kubernetes "
          "release: use \"10.1.0.1\"",
          true },
        { &res_services,
          SPEC("\"type\":\"LoadBalancer\",\"ports\":[{\"port\":80}],\"loadBalancerSourceRanges\":[\"10.1.2.3/8\"]"),
          "spec.loadBalancerSourceRanges[0]: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be "
          "\"10.0.0.0/8\" or \"10.1.2.3/32\"?)",
          true },
        { &res_ingresses,
          "{\"metadata\":{\"name\":\"y\",\"annotations\":{\"kubernetes.io/ingress.class\":\"a\"}},\"spec\":{"
          "\"defaultBackend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}}",
          "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead" },
        { &res_persistentvolumes,
          SPEC("\"capacity\":{\"storage\":\"1Gi\"},\"accessModes\":[\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/a\"},"
               "\"persistentVolumeReclaimPolicy\":\"Recycle\""),
          "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
          "approach "
          "is to use dynamic provisioning.",
          true },
        { &res_persistentvolumeclaims,
          SPEC("\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1500m\"}}"),
          "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer", true },
        { &res_nodes, SPEC("\"externalID\":\"a\""),
          "spec.externalID: this field is deprecated, and is unused by Kubernetes", true },
        { &res_runtimeclasses,
          "{\"metadata\":{\"name\":\"y\"},\"handler\":\"h\",\"scheduling\":{\"nodeSelector\":{\"beta.kubernetes.io/"
          "os\":"
          "\"a\"}}}",
          "scheduling.nodeSelector: deprecated since v1.14; use \"kubernetes.io/os\" instead", true },
        { &res_storageclasses,
          "{\"metadata\":{\"name\":\"y\"},\"provisioner\":\"p\",\"allowedTopologies\":[{\"matchLabelExpressions\":[{"
          "\"key\":\"beta.kubernetes.io/os\",\"values\":[\"a\"]}]}]}",
          "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14; use \"kubernetes.io/os\" instead",
          true },
        { &res_serviceaccounts,
          "{\"metadata\":{\"name\":\"y\",\"annotations\":{\"kubernetes.io/enforce-mountable-secrets\":\"\"}}}",
          "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate "
          "namespaces to isolate access to mounted secrets" },
};

static void what_is_not_wise_is_warned_of(void **state) {
        struct fixture *f = *state;

        make_account(f, "default");
        for (size_t i = 0; i < ARRAY_SIZE(unwise); i++) {
                const struct api_resource *r = unwise[i].resource;
                const char *ns = r->namespaced ? "default" : "", *name;
                struct answer a = ASK(f, API_CREATE, r, ns, .body = unwise[i].body);

                if (a.code != 201 || a.n_warnings != (unwise[i].warning ? 1U : 0U) ||
                    (unwise[i].warning && !str_eqc(a.warning, unwise[i].warning)))
                        fail_msg("%s\n  %d %s, %zu warnings: %" STR_FMT, unwise[i].body, a.code,
                                 a.message ? a.message : "", a.n_warnings, STR_ARG(a.warning));
                name = at(f, a, ".metadata.name");
                a = ASK(f, API_PATCH, r, ns, name, .patch = API_PATCH_MERGE,
                        .body = "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
                if (a.code != 200 || a.n_warnings != (unwise[i].again ? 1U : 0U))
                        fail_msg("%s, again\n  %d %s, %zu warnings", unwise[i].body, a.code, a.message ? a.message : "",
                                 a.n_warnings);
                check_code(ASK(f, API_DELETE, r, ns, name), 200);
        }
}

static void sources_of_a_volume_are_warned_of_in_their_order(void **state) {
        struct fixture *f = *state;
        struct answer a;

        make_account(f, "default");
        a = ASK(f, API_CREATE, &res_pods, "default",
                .body = VOLUME("\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"path\":\"t\"}},{\"configMap\":{"
                               "\"name\":\"a\"}},{}]}"));
        check_code(a, 201);
        assert_int_equal(a.n_warnings, 2);
        assert_true(str_has_prefix(a.warning, STR("volume \"v\" (Projected): overlapping paths: \"t\"")));
}

/* What looked at all pairs of them would take minutes, and gigabytes. */
static void long_lists_are_no_trouble(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;

        make_account(f, "default");
        buf_addc(&b, "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[");
        for (int i = 0; i < 20000; i++)
                buf_printf(&b, "%s{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n\",\"uid\":\"%d\"}", i ? "," : "",
                           i);
        buf_addc(&b, "]},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[");
        for (int i = 0; i < 20000; i++)
                buf_printf(&b, "%s{\"name\":\"e%d\"}", i ? "," : "", i);
        buf_addc(&b, "],\"ports\":[");
        for (int i = 0; i < 20000; i++)
                buf_printf(&b, "%s{\"containerPort\":%d,\"name\":\"p%d\"}", i ? "," : "", i + 1, i);
        buf_addc(&b, "]}]}}");
        check_code(ASK(f, API_CREATE, &res_pods, "default", .options.dry_run = true,
                       .body = arena_cstr(f->a, buf_str(&b))),
                   201);
}

/* Its text is longer than may be stored, but not what upstream would store of it: somebody has to look into it
 * before it has its revision. */
static void large_pods_stay_whole(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;

        make_account(f, "default");
        buf_addc(&b,
                 "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[");
        for (int i = 0; i < 20000; i++)
                buf_printf(&b, "%s{\"name\":\"e%d\",\"value\":\"v\"}", i ? "," : "", i);
        buf_addc(&b, "]}]}}");
        check_code(ASK(f, API_CREATE, &res_pods, "default", .body = arena_cstr(f->a, buf_str(&b))), 201);
        check(ASK(f, API_PATCH, &res_pods, "default", "x", .patch = API_PATCH_MERGE,
                  .body = "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"),
              200, ".metadata.name", "x");
        check(ASK(f, API_GET, &res_pods, "default", "x"), 200, ".metadata.namespace", "default");
}

/* Each of many errors shows the whole list. */
static void errors_do_not_grow_with_the_square(void **state) {
        struct fixture *f = *state;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct answer r;

        buf_addc(&b, "{\"metadata\":{\"name\":\"x\",\"ownerReferences\":[");
        for (int i = 0; i < 3000; i++)
                buf_printf(&b,
                           "%s{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n%d\",\"uid\":\"u\",\"controller\":"
                           "true}",
                           i ? "," : "", i);
        buf_addc(&b, "]}}");
        r = ASK(f, API_CREATE, &res_configmaps, "default", .body = arena_cstr(f->a, buf_str(&b)));
        check_code(r, 422);
        assert_non_null(strstr(r.message, "Only one reference can have Controller set to true. Found \"true\" in "
                                          "references for K/n0 and K/n1"));
        assert_true(strlen(r.message) < (10 << 20));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(long_lists_are_no_trouble, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(large_pods_stay_whole, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(errors_do_not_grow_with_the_square, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(pods_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(new_pods_are_completed_as_upstream_does, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(what_is_not_wise_is_warned_of, fixture_setup, fixture_teardown),
                cmocka_unit_test_setup_teardown(sources_of_a_volume_are_warned_of_in_their_order, fixture_setup,
                                                fixture_teardown),
                cmocka_unit_test_setup_teardown(statuses_are_refused_as_upstream_does, fixture_setup, fixture_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
