/* The defaults that depend on something: `default by x` in api/ is default_x() here. Each gets a value of its type that
 * is the caller's own, before its members are defaulted. The facts are those of upstream's SetDefaults_* functions. */
#include "base/encode.h"
#include "base/image_ref.h"
#include "json/build.h"
#include "schema/hooks.h"
#include "schema/internal.h"
#include "schema/quantity.h"
#include "schema/types.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static bool has(const struct json *o, const char *key) {
        return json_type(json_getc(o, key)) != JSON_NULL;
}

static void set_if_absent(struct arena *a, struct json *o, const char *key, struct json v) {
        if (!has(o, key))
                json_setc(a, o, key, v);
}

static struct json *get_mut(struct json *o, const char *key) {
        return o ? json_get_mut(o, str_of(key)) : NULL;
}

/* Adds to the map at key what is in from and not yet there. */
static void fill_map(struct arena *a, struct json *o, const char *key, const struct json *from) {
        if (json_len(from) == 0)
                return;
        struct json_edit map = { .arena = a, .object = json_get_or_add_object(a, o, key) };

        json_each_member(m, from)
                if (!json_edit_get(&map, json_key(m)))
                        json_edit_set(&map, json_key(m), m->value);
        json_edit_end(&map);
}

/* ---- pods ---- */

/* latest, or no tag and no digest, is pulled always; what is no reference never will be. */
void default_image_pull_policy(struct arena *a, struct json *value) {
        struct str image = Container_image(value), name = image;
        struct image_reference unused;
        bool latest;

        if (has(value, "imagePullPolicy") && Container_imagePullPolicy(value).n > 0)
                return;
        if (str_find(image, '@') >= 0)
                name = str_sub(image, 0, (size_t) str_find(image, '@'));
        ssize_t slash = str_rfind(name, '/');
        ssize_t colon = str_rfind(name, ':');
        if (colon > slash)
                latest = str_eqc(str_sub(name, (size_t) colon + 1, name.n), "latest");
        else
                latest = name.n == image.n && image.n > 0;
        latest = latest && image_reference_parse(a, image, &unused, NULL) == 0;
        json_set_cstr(a, value, "imagePullPolicy", latest ? "Always" : "IfNotPresent");
}

void default_volume(struct arena *a, struct json *value) {
        if (json_len(value) == 0 || (json_len(value) == 1 && json_getc(value, "name")))
                json_setc(a, value, "emptyDir", json_new_object());
}

static void default_containers(struct arena *a, struct json *containers, bool host_network) {
        json_each_item(c, containers) {
                struct json *resources = get_mut(c, "resources");

                if (json_is(resources, JSON_OBJECT))
                        fill_map(a, resources, "requests", ResourceRequirements_limits(resources));
                if (!host_network)
                        continue;
                json_each_item(port, get_mut(c, "ports"))
                        if (ContainerPort_hostPort(port) == 0)
                                json_set_int(a, port, "hostPort", ContainerPort_containerPort(port));
        }
}

/* What a pod has and a pod template has not. */
void default_pod(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec");

        default_containers(a, get_mut(spec, "containers"), PodSpec_hostNetwork(spec));
        default_containers(a, get_mut(spec, "initContainers"), PodSpec_hostNetwork(spec));
        set_if_absent(a, spec, "enableServiceLinks", json_of_bool(true));
        if (PodSpec_terminationGracePeriodSeconds(spec) < 0)
                json_set_int(a, spec, "terminationGracePeriodSeconds", 1);
}

/* serviceAccount is the old name of serviceAccountName; upstream prints both. */
void default_pod_spec(struct arena *a, struct json *value) {
        struct str name = PodSpec_serviceAccountName(value);

        if (name.n == 0)
                name = PodSpec_serviceAccount(value);
        if (name.n == 0)
                return;
        json_set_str(a, value, "serviceAccountName", name);
        json_set_str(a, value, "serviceAccount", name);
}

/* podIP is the first of podIPs; where they differ clients mean the one they know. */
void default_pod_status(struct arena *a, struct json *value) {
        const struct json *first = json_item(PodStatus_podIPs(value), 0);
        struct str ip = PodStatus_podIP(value);

        if (first && ip.n == 0)
                json_set_str(a, value, "podIP", PodIP_ip(first));
        else if (ip.n > 0 && !str_eq(PodIP_ip(first), ip))
                json_setc(a, value, "podIPs", json_build(a, "[ { ip: %s } ]", PodStatus_podIP(value)));
}

/* In what a storage attachment names itself these stay open. */
void default_persistent_volume(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec");

        if (PersistentVolumeSpec_persistentVolumeReclaimPolicy(spec).n == 0)
                json_set_cstr(a, spec, "persistentVolumeReclaimPolicy", "Retain");
        set_if_absent(a, spec, "volumeMode", json_of_cstr("Filesystem"));
}

/* Finer than 1/1000 is rounded up. */
void default_resource_list(struct arena *a, struct json *value) {
        json_each_member(m, value) {
                struct quantity q = quantity_of_json(&m->value), rounded = quantity_round_milli(q);
                char text[64];

                if (quantity_cmp(q, rounded) != 0)
                        m->value = json_of_copy(a, quantity_print(text, rounded));
        }
}

/* ---- the rest of core ---- */

void default_namespace(struct arena *a, struct json *value) {
        struct json *meta = json_get_or_add_object(a, value, "metadata");
        struct str name = ObjectMeta_name(meta);

        if (name.n > 0)
                json_set_str(a, json_get_or_add_object(a, meta, "labels"), "kubernetes.io/metadata.name", name);
}

/* podCIDR and podCIDRs likewise. */
void default_node_spec(struct arena *a, struct json *value) {
        struct str first = json_str(json_item(NodeSpec_podCIDRs(value), 0)), cidr = NodeSpec_podCIDR(value);

        if (first.n > 0 && cidr.n == 0)
                json_set_str(a, value, "podCIDR", first);
        else if (cidr.n > 0 && !str_eq(first, cidr))
                json_setc(a, value, "podCIDRs", json_build(a, "[ %s ]", cidr));
}

void default_node_status(struct arena *a, struct json *value) {
        if (!has(value, "allocatable"))
                fill_map(a, value, "allocatable", NodeStatus_capacity(value));
}

void default_limit_range_item(struct arena *a, struct json *value) {
        if (!str_eqc(LimitRangeItem_type(value), "Container"))
                return;
        fill_map(a, value, "default", LimitRangeItem_max(value));
        fill_map(a, value, "defaultRequest", LimitRangeItem_default(value));
        fill_map(a, value, "defaultRequest", LimitRangeItem_min(value));
}

void default_replication_controller(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec");
        const struct json *labels =
                        ObjectMeta_labels(PodTemplateSpec_metadata(ReplicationControllerSpec_template(spec)));

        if (json_len(labels) == 0)
                return;
        if (json_len(ReplicationControllerSpec_selector(spec)) == 0)
                fill_map(a, spec, "selector", labels);
        if (json_len(ObjectMeta_labels(ReplicationController_metadata(value))) == 0)
                fill_map(a, json_get_or_add_object(a, value, "metadata"), "labels", labels);
}

/* stringData is only for writing: it goes into data. */
void default_secret(struct arena *a, struct json *value) {
        const struct json *plain = Secret_stringData(value);

        if (json_len(plain) > 0) {
                struct json_edit data = { .arena = a, .object = json_get_or_add_object(a, value, "data") };

                json_each_member(m, plain) {
                        _cleanup_buf_ struct buf text = BUF_INIT;

                        base64_encode(&text, json_str(&m->value));
                        json_edit_set(&data, json_key(m), json_of_copy(a, buf_str(&text)));
                }
                json_edit_end(&data);
        }
        json_removec(value, "stringData");
}

static void default_affinity(struct arena *a, struct json *spec) {
        struct str affinity = ServiceSpec_sessionAffinity(spec);
        const struct json *client = SessionAffinityConfig_clientIP(ServiceSpec_sessionAffinityConfig(spec));

        if (str_eqc(affinity, "None"))
                json_removec(spec, "sessionAffinityConfig");
        else if (str_eqc(affinity, "ClientIP") && !ClientIPConfig_has_timeoutSeconds(client)) {
                struct json *config = json_get_or_add_object(a, spec, "sessionAffinityConfig");

                json_set_int(a, json_get_or_add_object(a, config, "clientIP"), "timeoutSeconds", 10800);
        }
}

void default_service(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec");

        /* What is asked here are defaults of the spec itself. */
        if (ServiceSpec_type(spec).n == 0)
                json_set_cstr(a, spec, "type", "ClusterIP");
        if (ServiceSpec_sessionAffinity(spec).n == 0)
                json_set_cstr(a, spec, "sessionAffinity", "None");
        struct str type = ServiceSpec_type(spec);
        bool balanced = str_eqc(type, "LoadBalancer");
        default_affinity(a, spec);
        json_each_item(port, get_mut(spec, "ports")) {
                const struct json *target = ServicePort_targetPort(port);

                if (!target || (json_is(target, JSON_INT) && target->i == 0) ||
                    (json_is(target, JSON_STRING) && target->len == 0))
                        json_set_int(a, port, "targetPort", ServicePort_port(port));
        }
        if ((balanced || str_eqc(type, "NodePort") ||
             (str_eqc(type, "ClusterIP") && json_len(ServiceSpec_externalIPs(spec)) > 0)) &&
            ServiceSpec_externalTrafficPolicy(spec).n == 0)
                json_set_cstr(a, spec, "externalTrafficPolicy", "Cluster");
        if (!str_eqc(type, "ExternalName"))
                set_if_absent(a, spec, "internalTrafficPolicy", json_of_cstr("Cluster"));
        if (!balanced)
                return;
        set_if_absent(a, spec, "allocateLoadBalancerNodePorts", json_of_bool(true));
        json_each_item(ingress, get_mut(get_mut(get_mut(value, "status"), "loadBalancer"), "ingress"))
                if (LoadBalancerIngress_ip(ingress).n > 0)
                        set_if_absent(a, ingress, "ipMode", json_of_cstr("VIP"));
}

/* ---- workloads ---- */

static void rolling_update(struct arena *a, struct json *value) {
        if (str_eqc(json_str(json_getc(value, "type")), "RollingUpdate"))
                set_if_absent(a, value, "rollingUpdate", json_new_object());
}

void default_deployment_strategy(struct arena *a, struct json *value) {
        rolling_update(a, value);
}

/* Only what is used has the defaults; the zero of the rest is said. */
void default_daemon_set_strategy(struct arena *a, struct json *value) {
        struct json *unused = get_mut(value, "rollingUpdate");

        if (str_eqc(json_str(json_getc(value, "type")), "RollingUpdate"))
                rolling_update(a, value);
        else if (json_is(unused, JSON_OBJECT))
                set_if_absent(a, unused, "maxUnavailable", json_of_int(0));
}

/* Unlike the others, an explicit RollingUpdate gets no rollingUpdate. */
void default_stateful_set_strategy(struct arena *a, struct json *value) {
        if (StatefulSetUpdateStrategy_type(value).n > 0)
                return;
        json_set_cstr(a, value, "type", "RollingUpdate");
        rolling_update(a, value);
}

/* The templates are whole objects and say so. */
void default_claim_templates(struct arena *a, struct json *value) {
        json_each_item(claim, get_mut(value, "volumeClaimTemplates")) {
                json_set_cstr(a, claim, "kind", "PersistentVolumeClaim");
                json_set_cstr(a, claim, "apiVersion", "v1");
        }
}

void default_job(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec");
        const struct json *labels = ObjectMeta_labels(PodTemplateSpec_metadata(JobSpec_template(spec)));

        if (!JobSpec_has_completions(spec) && !JobSpec_has_parallelism(spec))
                json_set_int(a, spec, "completions", 1);
        set_if_absent(a, spec, "parallelism", json_of_int(1));
        set_if_absent(a, spec, "backoffLimit", json_of_int(JobSpec_has_backoffLimitPerIndex(spec) ? INT32_MAX : 6));
        set_if_absent(a, spec, "completionMode", json_of_cstr("NonIndexed"));
        set_if_absent(a, spec, "suspend", json_of_bool(false));
        set_if_absent(a, spec, "manualSelector", json_of_bool(false));
        set_if_absent(a, spec, "podReplacementPolicy",
                      json_of_cstr(JobSpec_podFailurePolicy(spec) ? "Failed" : "TerminatingOrFailed"));
        json_each_item(rule, JobSpec_podFailurePolicy(spec) ? json_at_path(spec, "podFailurePolicy", "rules") : NULL)
                json_each_item(pattern, get_mut(rule, "onPodConditions"))
                        if (str_empty(json_str(json_getc(pattern, "status"))))
                                json_set_cstr(a, pattern, "status", "True");
        if (json_len(ObjectMeta_labels(Job_metadata(value))) == 0)
                fill_map(a, json_get_or_add_object(a, value, "metadata"), "labels", labels);
}

/* Without metrics: 80 % of the requested CPU. Scaling rules that are given get the rest of their values. */
static void default_rules(struct arena *a, struct json *behavior, bool up) {
        struct json *rules = json_get_or_add_object(a, behavior, up ? "scaleUp" : "scaleDown");

        if (up)
                set_if_absent(a, rules, "stabilizationWindowSeconds", json_of_int(0));
        set_if_absent(a, rules, "selectPolicy", json_of_cstr("Max"));
        if (has(rules, "policies"))
                return;
        json_setc(a, rules, "policies",
                  json_build(a, up ? "[ { type: 'Pods', value: 4, periodSeconds: 15 },"
                                     "  { type: 'Percent', value: 100, periodSeconds: 15 } ]"
                                   : "[ { type: 'Percent', value: 100, periodSeconds: 15 } ]"));
}

void default_autoscaler(struct arena *a, struct json *value) {
        struct json *behavior;

        if (json_len(HorizontalPodAutoscalerSpec_metrics(value)) == 0)
                json_setc(a, value, "metrics",
                          json_build(a, "[ { type: 'Resource', resource: { name: 'cpu',"
                                        "  target: { type: 'Utilization', averageUtilization: 80 } } } ]"));
        behavior = get_mut(value, "behavior"); /* where it is now */
        if (!json_is(behavior, JSON_OBJECT))
                return;
        default_rules(a, behavior, true);
        default_rules(a, behavior, false);
}

/* ---- the others ---- */

void default_network_policy(struct arena *a, struct json *value) {
        if (json_len(NetworkPolicySpec_policyTypes(value)) == 0)
                json_setc(a, value, "policyTypes",
                          json_build(a, json_len(NetworkPolicySpec_egress(value)) > 0 ? "[ 'Ingress', 'Egress' ]"
                                                                                      : "[ 'Ingress' ]"));
}

void default_subject(struct arena *a, struct json *value) {
        struct str kind = Subject_kind(value);

        if (Subject_apiGroup(value).n == 0 && (str_eqc(kind, "User") || str_eqc(kind, "Group")))
                json_set_cstr(a, value, "apiGroup", RBAC_GROUP);
}

/* The server counts; who sends an object without the count says that it is 0. */
void default_daemon_set(struct arena *a, struct json *value) {
        static const char key[] = "deprecated.daemonset.template.generation";
        struct json *meta = json_get_or_add_object(a, value, "metadata"),
                    *annotations = json_get_or_add_object(a, meta, "annotations");

        if (!json_getc(annotations, key))
                json_set_cstr(a, annotations, key, "0");
}

/* Upstream keeps what is in a webhook without one around it. */
void default_crd_conversion(struct arena *a, struct json *value) {
        const struct json *webhook = CustomResourceConversion_webhook(value);

        if (!json_getc(webhook, "clientConfig") && json_len(json_getc(webhook, "conversionReviewVersions")) == 0)
                json_removec(value, "webhook");
}

static void default_crd_names(struct arena *a, struct json *names) {
        struct str kind = CustomResourceDefinitionNames_kind(names);

        if (CustomResourceDefinitionNames_singular(names).n == 0 && kind.n > 0) {
                char *lower = arena_cstr(a, kind);

                for (char *p = lower; *p; p++)
                        if (*p >= 'A' && *p <= 'Z')
                                *p = (char) (*p - 'A' + 'a');
                json_set_cstr(a, names, "singular", lower);
        }
        if (CustomResourceDefinitionNames_listKind(names).n == 0 && kind.n > 0)
                json_setc(a, names, "listKind", json_of_printf(a, "%" STR_FMT "List", STR_ARG(kind)));
}

/* Names are given to what is wanted, not to what is accepted. A status that knows of no version is one of now. */
void default_crd(struct arena *a, struct json *value) {
        struct json *spec = json_get_or_add_object(a, value, "spec"),
                    *status = json_get_or_add_object(a, value, "status"), *stored;

        default_crd_names(a, json_get_or_add_object(a, spec, "names"));
        stored = json_get_or_add_array(a, status, "storedVersions");
        if (stored->len > 0)
                return;
        json_each_item(v, CustomResourceDefinitionSpec_versions(spec))
                if (CustomResourceDefinitionVersion_storage(v)) {
                        json_push(a, stored, json_of_str(CustomResourceDefinitionVersion_name(v)));
                        return;
                }
}
