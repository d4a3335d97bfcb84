#include "apiserver/flags.h"

#include "apiserver/server.h"
#include "base/arena.h"
#include "base/vec.h"

#define FEATURE_GATES "feature-gates"
#define RUNTIME_CONFIG "runtime-config"
#define EMULATED "emulated-version"

const struct apiserver_flag apiserver_flags[] = {
        { "admission-control-config-file", "FILE",
          "configures PodSecurity, EventRateLimit, webhooks … (docs/admission.md)" },
        { "admission-control", "LIST", "those that are on, and no others (deprecated)" },
        { "aggregator-reject-forwarding-redirect", "BOOL", "aggregated API servers cannot redirect (default true)" },
        { "allow-metric-labels", "LABELS", "METRIC,LABEL=VALUES that labels have, all others are unexpected" },
        { "allow-metric-labels-manifest", "FILE", "YAML of the same" },
        { "allow-privileged", "BOOL", "containers may be privileged (default true)" },
        { "anonymous-auth", "BOOL", "requests without credentials are system:anonymous (default true)" },
        { "api-audiences", "LIST", "who tokens must be for (default the issuer)" },
        { "audit-log-batch-buffer-size", "N", "how many events may wait for the log's thread (default 10000)" },
        { "audit-log-batch-max-size", "N", "how many are written at once, when throttled (default 1)" },
        { "audit-log-batch-max-wait", "DURATION", "nothing waits for others" },
        { "audit-log-batch-throttle-burst", "N", "batches that may be written at once" },
        { "audit-log-batch-throttle-enable", "BOOL", "(default false)" },
        { "audit-log-batch-throttle-qps", "QPS", "batches a second" },
        { "audit-log-compress", "BOOL", "rotated logs, with gzip (default false)" },
        { "audit-log-format", "FORMAT", "json, or legacy: a line of text (default json)" },
        { "audit-log-maxage", "DAYS", "how long rotated audit logs are kept (default no limit)" },
        { "audit-log-maxbackup", "N", "how many of them (default no limit)" },
        { "audit-log-maxsize", "MB", "at which the audit log is rotated (default 100)" },
        { "audit-log-mode", "MODE", "batch, blocking or blocking-strict (default blocking)" },
        { "audit-log-path", "FILE", "where the audit log goes; - for standard output" },
        { "audit-log-truncate-enabled", "BOOL", "what is too large loses its objects (default false)" },
        { "audit-log-truncate-max-batch-size", "BYTES", "(default 10485760)" },
        { "audit-log-truncate-max-event-size", "BYTES", "(default 102400)" },
        { "audit-log-version", "VERSION", "audit.k8s.io/v1" },
        { "audit-policy-file", "FILE", "what is logged" },
        { "audit-webhook-batch-buffer-size", "N", "how many events may wait for the webhook (default 10000)" },
        { "audit-webhook-batch-initial-backoff", "DURATION", "the old name of audit-webhook-initial-backoff" },
        { "audit-webhook-batch-max-size", "N", "how many go at once (default 400)" },
        { "audit-webhook-batch-max-wait", "DURATION", "how long the first of them waits (default 30s)" },
        { "audit-webhook-batch-throttle-burst", "N", "batches that may go at once (default 15)" },
        { "audit-webhook-batch-throttle-enable", "BOOL", "(default true)" },
        { "audit-webhook-batch-throttle-qps", "QPS", "batches a second (default 10)" },
        { "audit-webhook-config-file", "FILE", "kubeconfig of a webhook that gets audit events" },
        { "audit-webhook-initial-backoff", "DURATION", "before a batch is sent again (default 10s)" },
        { "audit-webhook-mode", "MODE", "batch, blocking or blocking-strict (default batch)" },
        { "audit-webhook-truncate-enabled", "BOOL", "what is too large loses its objects (default false)" },
        { "audit-webhook-truncate-max-batch-size", "BYTES", "(default 10485760)" },
        { "audit-webhook-truncate-max-event-size", "BYTES", "(default 102400)" },
        { "audit-webhook-version", "VERSION", "audit.k8s.io/v1" },
        { "authentication-config", "FILE", "OpenID issuers and anonymous requests; read again when it changes" },
        { "authentication-token-webhook-cache-ttl", "DURATION", "how long its answers hold (default 2m)" },
        { "authentication-token-webhook-config-file", "FILE", "kubeconfig of a webhook that knows tokens" },
        { "authentication-token-webhook-version", "VERSION", "of TokenReview (default v1beta1)" },
        { "authorization-config", "FILE", "authorizers in their order; read again when it changes" },
        { "authorization-mode", "LIST", "Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny (default Node,RBAC)" },
        { "authorization-policy-file", "FILE", "policies of ABAC, a line of JSON each" },
        { "authorization-webhook-cache-authorized-ttl", "DURATION", "how long a yes holds (default 5m)" },
        { "authorization-webhook-cache-unauthorized-ttl", "DURATION", "how long a no holds (default 30s)" },
        { "authorization-webhook-config-file", "FILE", "kubeconfig of a webhook that authorizes" },
        { "authorization-webhook-version", "VERSION", "of SubjectAccessReview (default v1beta1)" },
        { "bind-address", "IP", "where it listens (default 0.0.0.0)" },
        { "cert-dir", "DIR", "has apiserver.crt and .key; they are put there when they are not" },
        { "client-ca-file", "FILE", "certifies clients (default the cluster's)" },
        { "cors-allowed-origins", "LIST", "regular expressions of the origins whose pages may use the API" },
        { "default-not-ready-toleration-seconds", "SPAN",
          "how long pods stay on a node that is not ready (default 300)" },
        { "default-unreachable-toleration-seconds", "SPAN", "and on one that does not answer (default 300)" },
        { "disable-admission-plugins", "LIST", "of those that are on" },
        { "disable-http2-serving", "BOOL", "HTTP/1.1 only (default false)" },
        { "disabled-metrics", "LIST", "that /metrics does not tell" },
        { "enable-admission-plugins", "LIST", "of those that are off (docs/admission.md)" },
        { "enable-aggregator-routing", "BOOL",
          "aggregated servers and webhooks are asked at their endpoints (default true), or at cluster IPs" },
        { "enable-bootstrap-token-auth", "BOOL", "Secrets of kube-system are tokens of nodes to be (default true)" },
        { "enable-garbage-collector", "BOOL", "deletion leaves the dependents to the collector (default true)" },
        { "enable-priority-and-fairness", "BOOL", "false: --max-*-requests-inflight limit instead (default true)" },
        { "encryption-provider-config", "FILE", "how Secrets and others are encrypted in the store" },
        { "encryption-provider-config-automatic-reload", "BOOL", "read it again when it changes (default false)" },
        { "event-ttl", "DURATION", "how long Events live (default 1h)" },
        { "external-hostname", "NAME", "of this server, where tokens say who verifies them" },
        { "goaway-chance", "CHANCE", "of HTTP/2 requests after which the client shall connect anew (default 0)" },
        { "http2-max-streams-per-connection", "N", "requests of a client that run at once (default 100)" },
        { "kubelet-certificate-authority", "FILE",
          "certifies kubelets; \"\": they are not verified (default the cluster's, \"\" with the next)" },
        { "kubelet-client-certificate", "FILE", "who we are to kubelets" },
        { "kubelet-client-key", "FILE", "its key" },
        { "kubelet-preferred-address-types", "LIST",
          "of nodes (default InternalIP,Hostname,InternalDNS,ExternalDNS,ExternalIP)" },
        { "livez-grace-period", "DURATION", "how long /livez forgives what has not started (default 0)" },
        { "max-connection-bytes-per-sec", "N", "of exec, attach, port-forward and upgraded proxies; 0: any (default)" },
        { "max-mutating-requests-inflight", "N", "with the next, how many requests run at once (default 200)" },
        { "max-requests-inflight", "N", "and wait in the queues of priority levels beyond (default 400)" },
        { "min-request-timeout", "SECONDS", "after which watches end, or up to twice that (default 1800)" },
        { "oidc-ca-file", "FILE", "certifies the OpenID issuer (default the system's authorities)" },
        { "oidc-client-id", "ID", "whom ID tokens must be for" },
        { "oidc-groups-claim", "CLAIM", "has the user's groups" },
        { "oidc-groups-prefix", "TEXT", "goes before them" },
        { "oidc-issuer-url", "URL", "whose ID tokens are accepted" },
        { "oidc-required-claim", "PAIRS", "claim=value that a token must have" },
        { "oidc-signing-algs", "LIST", "accepted algorithms (default RS256)" },
        { "oidc-username-claim", "CLAIM", "names the user (default sub)" },
        { "oidc-username-prefix", "TEXT", "goes before the name; - for none" },
        { "profiling", "BOOL", "there is /debug/pprof (default true)" },
        { "proxy-client-cert-file", "FILE", "who we are to aggregated API servers" },
        { "proxy-client-key-file", "FILE", "its key" },
        { "requestheader-allowed-names", "LIST", "common names of front proxies (default any)" },
        { "requestheader-client-ca-file", "FILE", "certifies front proxies" },
        { "requestheader-extra-headers-prefix", "LIST", "of headers with more about the user" },
        { "requestheader-group-headers", "LIST", "headers with the user's groups" },
        { "requestheader-uid-headers", "LIST", "headers with the user's UID" },
        { "requestheader-username-headers", "LIST", "headers with the user's name" },
        { "request-timeout", "DURATION", "after which a request is given up (default 1m)" },
        { "service-account-extend-token-expiration", "BOOL", "tokens of pods hold for a year (default true)" },
        { "service-account-issuer", "URL", "of service account tokens; given again: accepted too" },
        { "service-account-jwks-uri", "URL", "where the keys of tokens are found, as discovery tells" },
        { "service-account-key-file", "FILE", "has keys that verify service account tokens too; may be repeated" },
        { "service-account-lookup", "BOOL", "tokens of Secrets hold as long as these (default true)" },
        { "service-account-max-token-expiration", "DURATION", "how long a service account token holds at most" },
        { "service-account-signing-key-file", "FILE", "the key that signs service account tokens from now on" },
        { "service-node-port-range", "RANGE", "of Services' node ports (default 30000-32767)" },
        { "shutdown-delay-duration", "DURATION", "how long /readyz fails before the server stops serving (default 0)" },
        { "shutdown-send-retry-after", "BOOL", "answer 429 until what runs has ended (default false)" },
        { "shutdown-watch-termination-grace-period", "DURATION",
          "watches end one after another within it; 0: at once (default)" },
        { "strict-transport-security-directives", "LIST", "of the header of that name (default none)" },
        { "tls-cert-file", "FILE", "who we are (default a certificate of the cluster's)" },
        { "tls-cipher-suites", "LIST", "of TLS 1.2, by their names of RFCs (default the secure ones)" },
        { "tls-min-version", "VERSION", "VersionTLS12 (the default) or VersionTLS13" },
        { "tls-private-key-file", "FILE", "its key" },
        { "tls-sni-cert-key", "PAIR", "CERT,KEY[:NAMES]: who we are to clients that ask for these; may be repeated" },
        { "token-auth-file", "FILE", "CSV of token,user,uid,\"group1,group2\"" },
        { NULL, NULL, NULL },
};

/* What else kube-apiserver takes, by the kinds of their values: there is nothing to set, or only what the check of all
 * flags looks at; or, with a reason, refused. */
static const struct {
        const char *arg, *names, *why;
} others[] = {
        { "BOOL",
          "contention-profiling emulation-forward-compatible log-json-split-stream "
          "log-text-split-stream permit-address-sharing permit-port-sharing "
          "runtime-config-emulation-forward-compatible send-retry-after-while-not-ready-once watch-cache ",
          NULL },
        { "N",
          "apiserver-count default-watch-cache-size delete-collection-workers kubelet-port kubelet-read-only-port "
          "lease-reuse-duration-seconds ",
          NULL },
        { "LEVEL", "v ", NULL },
        { "LEVELS", "vmodule ", NULL },
        { "QUANTITY", "log-json-info-buffer-size log-text-info-buffer-size ", NULL },
        { "DURATION",
          "etcd-compaction-interval etcd-count-metric-poll-period etcd-db-metric-poll-interval "
          "etcd-healthcheck-timeout etcd-readycheck-timeout kubelet-timeout log-flush-frequency "
          "storage-initialization-timeout ",
          NULL },
        { "TEXT",
          EMULATED " endpoint-reconciler-type etcd-cafile etcd-certfile etcd-keyfile etcd-prefix " FEATURE_GATES
                   " logging-format peer-advertise-ip "
                   "peer-advertise-port peer-ca-file " RUNTIME_CONFIG " service-account-signing-endpoint "
                   "show-hidden-metrics-for-version storage-backend storage-media-type watch-cache-sizes ",
          NULL },
        { "TEXT", "etcd-servers etcd-servers-overrides ", "the store is in this server (docs/store.md)" },
        { "BOOL", "enable-logs-handler ", "Cube has nothing like it" },
        { "N", "kubernetes-service-node-port ", "Cube has nothing like it" },
        { "TEXT", "debug-socket-path egress-selector-config-file tracing-config-file ", "Cube has nothing like it" },
};

/* Feature gates of kube-apiserver, and what Cube does: nobody can change that but for CHOICE. */
#define CHOICE "WatchList"
static const struct {
        const char *stage; /* "": GA */
        bool enabled;
        const char *names;
} features[] = {
        { "", true,
          "AnyVolumeDataSource BtreeWatchCache CPUManagerPolicyOptions CRDValidationRatcheting "
          "CSIMigrationPortworx ComponentSLIs CronJobsScheduledAnnotation CustomResourceFieldSelectors "
          "DevicePluginCDIDevices ElasticIndexedJob ExecProbeTimeout HonorPVReclaimPolicy "
          "JobBackoffLimitPerIndex JobSuccessPolicy LoadBalancerIPMode LogarithmicScaleDown "
          "MatchLabelKeysInPodAffinity MemoryManager MultiCIDRServiceAllocator NFTablesProxyMode "
          "NodeInclusionPolicyInPodTopologySpread PodDisruptionConditions PodIndexLabel "
          "PodSchedulingReadiness RecursiveReadOnlyMounts RetryGenerateName ServiceAccountTokenJTI "
          "ServiceAccountTokenNodeBinding ServiceAccountTokenNodeBindingValidation "
          "ServiceAccountTokenPodNodeInfo ServiceTrafficDistribution SidecarContainers "
          "SizeMemoryBackedVolumes StatefulSetAutoDeletePVC StatefulSetStartOrdinal "
          "StrictCostEnforcementForVAP StrictCostEnforcementForWebhooks StructuredAuthorizationConfiguration "
          "TopologyAwareHints TopologyManagerPolicyOptions" },
        { "BETA", true,
          "APIResponseCompression APIServerIdentity AllowParsingUserUIDFromCertAuth "
          "AnonymousAuthConfigurableEndpoints AuthorizeNodeWithSelectors AuthorizeWithSelectors "
          "CPUManagerPolicyBetaOptions ConsistentListFromCache ContainerCheckpoint ContextualLogging "
          "DRAResourceClaimDeviceStatus DeclarativeValidation DisableCPUQuotaWithExclusiveCPUs "
          "GracefulNodeShutdown GracefulNodeShutdownBasedOnPodPriority ImageMaximumGCAge InOrderInformers "
          "InPlacePodVerticalScaling JobManagedBy JobPodReplacementPolicy KubeletCgroupDriverFromCRI "
          "KubeletFineGrainedAuthz KubeletSeparateDiskGC KubeletTracing LoggingBetaOptions "
          "MatchLabelKeysInPodTopologySpread NodeLogQuery NodeSwap OpenAPIEnums OrderedNamespaceDeletion "
          "PodDeletionCost PodLifecycleSleepAction PodLifecycleSleepActionAllowZero "
          "PodReadyToStartContainersCondition PortForwardWebsockets ProcMountType "
          "RecoverVolumeExpansionFailure RelaxedDNSSearchValidation RelaxedEnvironmentVariableValidation "
          "ReloadKubeletServerCertificateFile RemoteRequestHeaderUID ResilientWatchCacheInitialization "
          "RotateKubeletServerCertificate SELinuxChangePolicy SELinuxMountReadWriteOncePod "
          "SchedulerAsyncPreemption SchedulerPopFromBackoffQ SchedulerQueueingHints "
          "SeparateTaintEvictionController ServiceAccountNodeAudienceRestriction StorageVersionHash "
          "StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf "
          "StructuredAuthenticationConfiguration SupplementalGroupsPolicy SystemdWatchdog "
          "TopologyManagerPolicyBetaOptions TranslateStreamCloseWebsocketRequests "
          "UnauthenticatedHTTP2DOSMitigation UserNamespacesSupport WatchList WinDSR WinOverlay" },
        { "BETA", false,
          "APIServerTracing AllBeta ClusterTrustBundle ClusterTrustBundleProjection "
          "ConcurrentWatchObjectDecode CoordinatedLeaderElection DeclarativeValidationTakeover "
          "DisableAllocatorDualWrite DynamicResourceAllocation ImageVolume "
          "LocalStorageCapacityIsolationFSQuotaMonitoring SELinuxMount VolumeAttributesClass "
          "WatchCacheInitializationPostStartHook WatchListClient" },
        { "ALPHA", true, "ListFromCacheSnapshot" },
        { "ALPHA", false,
          "APIServingWithRoutine AllAlpha AllowUnsafeMalformedObjectDeletion CBORServingAndStorage "
          "CPUManagerPolicyAlphaOptions CSIVolumeHealth ClientsAllowCBOR ClientsPreferCBOR "
          "CloudControllerManagerWebhook ComponentFlagz ComponentStatusz ContainerStopSignals "
          "CrossNamespaceVolumeDataSource CustomCPUCFSQuotaPeriod DRAAdminAccess DRADeviceTaints "
          "DRAPartitionableDevices DRAPrioritizedList DeploymentReplicaSetTerminatingReplicas EventedPLEG "
          "ExternalServiceAccountTokenSigner HPAConfigurableTolerance HPAScaleToZero "
          "InPlacePodVerticalScalingExclusiveCPUs InTreePluginPortworxUnregister InformerResourceVersion "
          "KubeletCrashLoopBackOffMax KubeletEnsureSecretPulledImages KubeletInUserNamespace KubeletPSI "
          "KubeletPodResourcesDynamicResources KubeletPodResourcesGet "
          "KubeletServiceAccountTokenForCredentialProviders LoggingAlphaOptions MaxUnavailableStatefulSet "
          "MemoryQoS MutableCSINodeAllocatableCount MutatingAdmissionPolicy PodAndContainerStatsFromCRI "
          "PodLevelResources PodLogsQuerySplitStreams PodObservedGenerationTracking "
          "PodTopologyLabelsAdmission PreferSameTrafficDistribution QOSReserved "
          "ReduceDefaultCrashLoopBackOffDecay ResourceHealthStatus RuntimeClassInImageCriApi "
          "StorageCapacityScoring StorageVersionAPI StorageVersionMigrator StrictIPCIDRValidation "
          "TopologyManagerPolicyAlphaOptions UnknownVersionInteroperabilityProxy "
          "UserNamespacesPodSecurityStandards WindowsCPUAndMemoryAffinity WindowsGracefulNodeShutdown" },
        { "DEPRECATED", true, "AggregatedDiscoveryRemoveBetaType DisableNodeKubeProxyVersion StorageNamespaceIndex" },
        { "DEPRECATED", false,
          "AllowDNSOnlyNodeCSR AllowInsecureKubeletCertificateSigningRequests "
          "AllowOverwriteTerminationGracePeriodSeconds AllowServiceLBStatusOnNonLB GitRepoVolumeDriver "
          "InPlacePodVerticalScalingAllocatedStatus KMSv1 KubeletRegistrationGetOnExistsOnly "
          "LegacySidecarContainers SeparateCacheWatchRPC WatchFromStorageWithoutResourceVersion "
          "WindowsHostNetwork" },
};

size_t apiserver_features(struct arena *a, struct apiserver_feature **ret) {
        VEC(struct apiserver_feature) all = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(features); i++)
                str_each(name, str_of(features[i].names), ' ')
                        vec_push_in(a, &all,
                                    (struct apiserver_feature) { name, features[i].stage, features[i].enabled });
        qsort(all.v, all.n, sizeof(*all.v), str_compare); /* which begin with their names */
        *ret = all.v;
        return all.n;
}

/* One of "kube:Name=true, …", without the space around what it says. */
struct gate {
        struct str component, name, value; /* value.p: NULL when it says none */
};

static struct gate gate_of(struct str part) {
        ssize_t colon = str_find(part, ':'), equals;
        struct gate g = { .component = colon < 0 ? STR("kube") : str_trim(str_sub(part, 0, (size_t) colon)) };

        part = str_trim(str_sub(part, (size_t) (colon + 1), part.n));
        equals = str_find(part, '=');
        g.name = str_trim(str_sub(part, 0, equals < 0 ? part.n : (size_t) equals));
        if (equals >= 0)
                g.value = str_trim(str_sub(part, (size_t) equals + 1, part.n));
        return g;
}

bool server_feature(const struct apiserver *s, struct str name) {
        bool on = false;

        for (size_t i = 0; i < ARRAY_SIZE(features) && !on; i++)
                on = features[i].enabled && str_is_part(name, ' ', str_of(features[i].names));
        if (str_eqc(name, CHOICE))
                str_each(part, str_of(server_flag(s, FEATURE_GATES, "")), ',') {
                        struct gate g = gate_of(part);

                        if (str_eqc(g.name, CHOICE)) /* "1", "t", "T", "TRUE", "true", "True" */
                                on = g.value.n > 0 && strchr("1tT", g.value.p[0]);
                }
        return on;
}

/* Of all components there is one, which is also meant when none is named. */
static int check_features(struct str rest, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        str_each(part, rest, ',') {
                struct gate g = gate_of(part);
                size_t i = 0;
                _cleanup_buf_ struct buf on = BUF_INIT;

                if (!str_eqc(g.component, "kube") && g.component.n)
                        return error_set(err, -EINVAL, "component not registered: %" STR_FMT, STR_ARG(g.component));
                if (str_empty(g.name) && !g.value.p)
                        continue;
                while (i < ARRAY_SIZE(features) && !str_is_part(g.name, ' ', str_of(features[i].names)))
                        i++;
                if (!g.value.p)
                        return error_set(err, -EINVAL, "missing bool value for %" STR_FMT, STR_ARG(g.name));
                if (apiserver_flag_read(g.name, "BOOL", arena_cstr(a, g.value), &on, NULL) < 0)
                        return error_set(err, -EINVAL,
                                         "invalid value of %" STR_FMT "=%" STR_FMT ", err: strconv.ParseBool: parsing "
                                         "\"%" STR_FMT "\": invalid syntax",
                                         STR_ARG(g.name), STR_ARG(g.value), STR_ARG(g.value));
                if (i == ARRAY_SIZE(features))
                        return error_set(err, -EINVAL, "unrecognized feature gate: %" STR_FMT, STR_ARG(g.name));
                const char *fixed = features[i].enabled ? "true" : "false";
                if (str_eqc(g.name, CHOICE) || str_eqc(buf_str(&on), fixed))
                        continue;
                return *features[i].stage
                                       ? error_set(err, -EINVAL, "--" FEATURE_GATES ": %" STR_FMT " is always %s here",
                                                   STR_ARG(g.name), fixed)
                                       : error_set(err, -EINVAL,
                                                   "cannot set feature gate %" STR_FMT " to %" STR_FMT
                                                   ", feature is locked to %s",
                                                   STR_ARG(g.name), STR_ARG(buf_str(&on)), fixed);
        }
        return 0;
}

/* The next "name=value" of a list, without the space around them; false: there is none. */
static bool next_pair(struct str *rest, struct str *ret_name, struct str *ret_value) {
        struct str part;

        while (str_split(rest, ',', &part)) {
                ssize_t equals = str_find(part, '=');

                if (str_empty(part))
                        continue;
                *ret_name = str_trim(str_sub(part, 0, equals < 0 ? part.n : (size_t) equals));
                *ret_value = str_trim(equals < 0 ? STR("") : str_sub(part, (size_t) equals + 1, part.n));
                return true;
        }
        return false;
}

/* All versions of a kind: the stable ones are served, others are not. */
static int check_all(struct str name, struct str value, struct error *err) {
        bool on = str_eqc(value, "true"), served = str_eqc(name, "api/ga"), all = str_eqc(name, "api/all");

        if (!on && !str_eqc(value, "false"))
                return error_set(err, -EINVAL, "invalid value %" STR_FMT "=%" STR_FMT, STR_ARG(name), STR_ARG(value));
        if (!on && (served || all)) /* there is no server without it */
                return error_set(err, -EINVAL,
                                 "--" RUNTIME_CONFIG "=%" STR_FMT
                                 "=false conflicts with --enable-priority-and-fairness=true",
                                 STR_ARG(name));
        if (on && !served)
                return error_set(err, -EINVAL, "--" RUNTIME_CONFIG ": %" STR_FMT " is never %sserved here",
                                 STR_ARG(name), all ? "wholly " : "");
        return 0;
}

/* A group with its version, and maybe a resource. */
static int read_version(struct str name, struct str *ret_group, struct str *ret_version, struct str *ret_resource,
                        struct error *err) {
        struct str rest = name, more;

        *ret_group = *ret_version = *ret_resource = (struct str) { 0 };
        str_split(&rest, '/', ret_group);
        if (str_eqc(name, "v1") || str_eqc(name, "api/v1"))
                return 0;
        if (!str_split(&rest, '/', ret_version) ||
            (str_split(&rest, '/', ret_resource) && str_split(&rest, '/', &more)))
                return error_set(err, -EINVAL, "runtime-config invalid key %" STR_FMT, STR_ARG(name));
        return 0;
}

static bool is_group(struct str group) {
        static const char *const others_groups = "extensions imagepolicy.k8s.io internal.apiserver.k8s.io "
                                                 "resource.k8s.io storagemigration.k8s.io";

        for (size_t i = 0; i < api_n_builtin; i++)
                if (str_eqc(group, api_builtin[i]->group))
                        return true;
        return str_is_part(group, ' ', str_of(others_groups));
}

/* What is built in can be turned off, but for the core; nothing else can be turned on. */
static int check_version(struct str name, struct str value, struct error *err) {
        struct str group, version, resource;
        _cleanup_buf_ struct buf on = BUF_INIT;
        bool core = str_eqc(name, "v1") || str_eqc(name, "api/v1");
        _cleanup_free_ char *text = str_dup(str_empty(value) ? STR("true") : value);

        TRY(read_version(name, &group, &version, &resource, err));
        const struct api_group_version *gv =
                        core ? api_find_group_version(STR(""), STR("v1")) : api_find_group_version(group, version);
        if (apiserver_flag_read(name, "BOOL", text, &on, NULL) < 0)
                return error_set(err, -EINVAL,
                                 "invalid value of %" STR_FMT ": %s, err: strconv.ParseBool: parsing \"%s\": invalid "
                                 "syntax",
                                 STR_ARG(name), text, text);
        for (size_t i = 0; i < resource.n; i++)
                if (resource.p[i] >= 'A' && resource.p[i] <= 'Z')
                        return error_set(err, -EINVAL,
                                         "invalid key %" STR_FMT ": group/version/resource and resource is always "
                                         "lowercase plural, not \"%" STR_FMT "\"",
                                         STR_ARG(name), STR_ARG(resource));
        if (str_eqc(buf_str(&on), "true") ? !gv || !gv->served : core)
                return error_set(err, -EINVAL, "--" RUNTIME_CONFIG ": %" STR_FMT " is %s served here", STR_ARG(name),
                                 core ? "always" : "never");
        return 0;
}

/* All groups that are none are told at once. */
static int check_versions(const char *text, struct error *err) {
        struct str rest = str_of(text), name, value, group, version, resource,
                   all = STR("api/all api/ga api/beta api/alpha");
        _cleanup_buf_ struct buf unknown = BUF_INIT;

        while (next_pair(&rest, &name, &value)) {
                if (str_is_part(name, ' ', all))
                        continue;
                TRY(read_version(name, &group, &version, &resource, err));
                if (version.n && !is_group(group))
                        buf_printf(&unknown, "%s%" STR_FMT, unknown.n ? "," : "", STR_ARG(group));
        }
        if (unknown.n)
                return error_set(err, -EINVAL, "unknown api groups %" STR_FMT, STR_ARG(buf_str(&unknown)));
        for (rest = str_of(text); next_pair(&rest, &name, &value);)
                TRY((str_is_part(name, ' ', all) ? check_all : check_version)(name, value, err));
        return 0;
}

bool server_wants(const struct apiserver *s, const struct api_resource *r) {
        _cleanup_free_ char *version = xprintf("%s/%s", r->group, r->version),
                            *resource = xprintf("%s/%s", version, r->plural);
        struct str rest, name, value;
        bool wanted[2] = { true, true }, own = false; /* the version; the resource itself, when it is named */
        const char *list;
        size_t i = 0;

        while ((list = server_flag_next(s, RUNTIME_CONFIG, &i)))
                for (rest = str_of(list); next_pair(&rest, &name, &value);) {
                        bool is_own = str_eqc(name, resource);

                        own = own || is_own;
                        if (is_own || str_eqc(name, version))
                                wanted[is_own] = !str_is_part(value, ' ', STR("0 f F FALSE false False"));
                }
        return wanted[own];
}

static ssize_t find_other(struct str name) {
        _cleanup_buf_ struct buf word = BUF_INIT;

        buf_printf(&word, "%" STR_FMT " ", STR_ARG(name));
        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                ssize_t at = str_search(str_of(others[i].names), buf_str(&word));

                if (at == 0 || (at > 0 && others[i].names[at - 1] == ' '))
                        return (ssize_t) i;
        }
        return -1;
}

static const struct apiserver_flag *find_flag(struct str name) {
        for (const struct apiserver_flag *f = apiserver_flags; f->name; f++)
                if (str_eqc(name, f->name))
                        return f;
        return NULL;
}

const char *apiserver_flag_arg(struct str name) {
        const struct apiserver_flag *f = find_flag(name);
        ssize_t other = f ? -1 : find_other(name);

        return f ? f->arg : other >= 0 ? others[other].arg : NULL;
}

int apiserver_flag_add(struct str name, const char *text, struct buf *lines, struct error *err) {
        const char *arg = apiserver_flag_arg(name);
        ssize_t other = find_flag(name) ? -1 : find_other(name);
        _cleanup_buf_ struct buf value = BUF_INIT;
        struct str rest = buf_str(lines), line, before = { 0 }, key;

        TRY(apiserver_flag_read(name, arg, text, &value, err));
        if (other >= 0 && others[other].why && value.n && !str_eqc(buf_str(&value), "false") &&
            !str_eqc(buf_str(&value), "0"))
                return error_set(err, -EINVAL, "--%" STR_FMT ": %s", STR_ARG(name), others[other].why);
        if (str_eqc(name, FEATURE_GATES))
                TRY(check_features(str_of(text), err));
        if (str_eqc(name, RUNTIME_CONFIG))
                TRY(check_versions(text, err));
        /* a list goes on where an earlier one ended */
        while (strcmp(arg, "LIST") == 0 && str_split(&rest, '\n', &line))
                if (str_split(&line, '=', &key) && str_eq(key, name))
                        before = line;
        if (before.n && value.n) {
                _cleanup_free_ char *both =
                                xprintf("%" STR_FMT ",%" STR_FMT, STR_ARG(before), STR_ARG(buf_str(&value)));

                value.n = 0;
                buf_addc(&value, both);
        }
        buf_printf(lines, "%" STR_FMT "=%" STR_FMT "\n", STR_ARG(name),
                   STR_ARG(before.n && !value.n ? before : buf_str(&value)));
        return 0;
}

static const char *value_of(const char *arg, const char *name) {
        size_t n = strlen(name);

        return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

/* What is given as nothing is not given, but for the authority without which kubelets are not verified, and where
 * nothing is one more wrong word. */
const char *flag_value(const char *const *args, const char *name, const char *dflt) {
        static const char words[] = "kubelet-certificate-authority audit-log-format audit-log-mode audit-log-version "
                                    "audit-webhook-mode audit-webhook-version authentication-token-webhook-version "
                                    "authorization-webhook-version oidc-username-claim";
        const char *found = NULL;

        for (; args && *args; args++) {
                const char *value = value_of(*args, name);

                if (value)
                        found = value;
        }
        return found && (*found || str_is_part(str_of(name), ' ', str_of(words))) ? found : dflt;
}

const char *server_flag_next(const struct apiserver *s, const char *name, size_t *i) {
        const char *const *args = s->options.args, *value = NULL;

        while (args && args[*i] && !value)
                value = value_of(args[(*i)++], name);
        return value;
}

const char *server_flag(const struct apiserver *s, const char *name, const char *dflt) {
        return flag_value(s->options.args, name, dflt);
}

unsigned server_flag_number(const struct apiserver *s, const char *name, unsigned dflt) {
        const char *text = server_flag(s, name, NULL);
        uint64_t n;

        return text && str_to_u64(str_of(text), &n) == 0 && n <= 1000000 ? (unsigned) n : dflt;
}

int64_t server_flag_ms(const struct apiserver *s, const char *name, int64_t dflt_ms) {
        const char *text = server_flag(s, name, NULL);
        int64_t ns;

        return text && duration_parse(str_of(text), &ns) == 0 && ns >= 0 ? ns / NSEC_PER_MSEC : dflt_ms;
}

bool server_flag_on(const struct apiserver *s, const char *name, bool dflt) {
        return strcmp(server_flag(s, name, dflt ? "true" : "false"), "true") == 0;
}
