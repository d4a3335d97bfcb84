/* The kinds and what is special about each when it is written: one line a kind. */
#include "apiserver/auth/rbac.h"
#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "base/rand.h"
#include "json/build.h"

/* ---- namespaces ---- */

static int namespace_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *spec = json_get_or_add_object(a, obj, "spec");
        struct json *list = json_get_or_add_array(a, spec, "finalizers"), *labels;
        bool has = false;

        json_each_item(f, list)
                has = has || str_eqc(json_str(f), "kubernetes");
        if (!has)
                json_push(a, list, json_of_cstr("kubernetes"));
        json_set_cstr(a, json_get_or_add_object(a, obj, "status"), "phase", "Active");
        labels = json_get_or_add_object(a, meta_of(a, obj), "labels");
        json_set_str(a, labels, "kubernetes.io/metadata.name", op->name);
        return 0;
}

static int namespace_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        struct arena *a = op->c->arena;

        json_setc(a, obj, "spec", *json_getc(old, "spec")); /* finalizers change through /finalize only */
        json_set_str(a, json_get_or_add_object(a, meta_of(a, obj), "labels"), "kubernetes.io/metadata.name", op->name);
        return 0;
}

/* ---- volumes, quotas, disruption budgets: a first phase ---- */

static int phase_pending(struct op *op, struct json *obj, struct error *err) {
        json_set_cstr(op->c->arena, json_get_or_add_object(op->c->arena, obj, "status"), "phase", "Pending");
        return 0;
}

static bool is_source_of_old(const struct json *source) {
        struct str group = json_str(json_getc(source, "apiGroup")), kind = json_str(json_getc(source, "kind"));

        return (str_empty(group) && str_eqc(kind, "PersistentVolumeClaim")) ||
               (str_eqc(group, "snapshot.storage.k8s.io") && str_eqc(kind, "VolumeSnapshot"));
}

/* What a claim starts with stands in two fields, which say the same (KEP-1495). What the older one could not name is
 * lost when only that is given; references to other namespaces are off in v1.33, and so are classes of attributes, but
 * not in the templates of StatefulSets. */
static int claim_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        static const char older[] = "dataSource", newer[] = "dataSourceRef", class[] = "volumeAttributesClassName";
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");
        const struct json *before = json_getc(old, "spec");
        struct json source;

        if (!json_getc(before, class))
                json_removec(spec, class);
        if (!json_getc(before, newer) && !str_empty(json_str(json_at_path(spec, newer, "namespace"))))
                json_removec(spec, newer);
        if (!json_getc(before, older) && !json_getc(before, newer) && !json_getc(spec, newer) &&
            !is_source_of_old(json_getc(spec, older)))
                json_removec(spec, older);
        if (json_getc(spec, older) && !json_getc(spec, newer))
                json_setc(op->c->arena, spec, newer, *json_getc(spec, older));
        else if (json_getc(spec, newer) && !json_getc(spec, older) &&
                 str_empty(json_str(json_at_path(spec, newer, "namespace")))) {
                source = json_copy_shallow(op->c->arena, json_getc(spec, newer));
                json_removec(&source, "namespace");
                json_setc(op->c->arena, spec, older, source);
        }
        return 0;
}

static int claim_prepare_create(struct op *op, struct json *obj, struct error *err) {
        phase_pending(op, obj, err);
        return claim_prepare_update(op, obj, NULL, err);
}

/* Since when a volume is in its phase: unless the client says. */
static void volume_prepare_status(struct op *op, struct json *obj, const struct json *old) {
        static const char key[] = "lastPhaseTransitionTime";
        const struct json *now = json_getc(obj, "status"), *was = json_getc(old, "status");
        struct str since = json_str(json_getc(now, key));
        bool same = str_eq(json_str(json_getc(now, "phase")), json_str(json_getc(was, "phase")));

        if (same ? !str_empty(since) || !json_getc(was, key)
                 : !str_empty(since) && !str_eq(since, json_str(json_getc(was, key))))
                return;
        struct json status = json_copy_shallow(op->c->arena, now);
        json_set_str(op->c->arena, &status, key, same ? json_str(json_getc(was, key)) : now_text(op->c->arena));
        json_setc(op->c->arena, obj, "status", status);
}

static int volume_prepare_create(struct op *op, struct json *obj, struct error *err) {
        phase_pending(op, obj, err);
        json_set_str(op->c->arena, json_get_or_add_object(op->c->arena, obj, "status"), "lastPhaseTransitionTime",
                     now_text(op->c->arena));
        return 0;
}

static int csr_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *spec = json_get_or_add_object(a, obj, "spec"), groups = json_new_array();

        for (size_t i = 0; i < op->c->user.n_groups; i++)
                json_push(a, &groups, json_of_str(op->c->user.groups[i]));
        json_set_str(a, spec, "username", op->c->user.name);
        json_removec(spec, "uid");
        if (!str_empty(op->c->user.uid))
                json_set_str(a, spec, "uid", op->c->user.uid);
        json_setc(a, spec, "groups", groups);
        json_put(a, spec, "extra", op->c->user.extra);
        return 0;
}

static int csr_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        json_setc(op->c->arena, obj, "spec", *json_getc(old, "spec"));
        return 0;
}

static void csr_prepare_status(struct op *op, struct json *obj, const struct json *old);

static void count_generation(struct op *op, struct json *obj, const struct json *old) {
        json_set_int(op->c->arena, meta_of(op->c->arena, obj), "generation",
                     json_int(json_at_path(old, "metadata", "generation")) + 1);
}

/* What v1beta1 had instead of nodeName and zone is not written by v1. */
static bool drop_topology(struct op *op, struct json *obj) {
        static const char field[] = "deprecatedTopology";
        struct arena *a = op->c->arena;
        bool found = false;

        if (!json_getc(obj, "endpoints"))
                return false;
        struct json list = json_copy_shallow(a, json_getc(obj, "endpoints"));
        json_each_item(e, &list) {
                if (!json_getc(e, field))
                        continue;
                *e = json_copy_shallow(a, e);
                json_removec(e, field);
                found = true;
        }
        json_setc(a, obj, "endpoints", list);
        return found;
}

static int slice_prepare_create(struct op *op, struct json *obj, struct error *err) {
        drop_topology(op, obj);
        return 0;
}

/* It counts as a change nevertheless. */
static int slice_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        if (drop_topology(op, obj))
                count_generation(op, obj, old);
        return 0;
}

/* The type of a Secret stays when an update leaves it out. */
static int secret_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        if (str_empty(json_str(json_getc(obj, "type"))))
                json_set_str(op->c->arena, obj, "type", json_str(json_getc(old, "type")));
        return 0;
}

/* Need not be named by anybody. */
static int limit_range_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct json *meta = meta_of(op->c->arena, obj);
        char uuid[37];

        if (!str_empty(op->name))
                return 0;
        rand_uuid(uuid);
        op->name = arena_str(op->c->arena, str_of(uuid));
        json_set_str(op->c->arena, meta, "name", op->name);
        return 0;
}

/* Of its Secrets an account keeps the names. */
static int account_prepare_create(struct op *op, struct json *obj, struct error *err) {
        json_each_item(s, json_getc(obj, "secrets"))
                *s = json_build(op->c->arena, "{ name: %o }", json_str(json_getc(s, "name")));
        return 0;
}

static int account_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        return account_prepare_create(op, obj, err);
}

/* Roles and bindings: nobody gives what they do not have. */
static int rbac_prepare_create(struct op *op, struct json *obj, struct error *err) {
        return rbac_check_escalation(op, obj, NULL, err);
}

static int rbac_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        return rbac_check_escalation(op, obj, old, err);
}

static int job_prepare_create(struct op *op, struct json *obj, struct error *err);

static const char template_count[] = "deprecated.daemonset.template.generation";

static int daemonset_convert(const struct json *obj, struct error *err) {
        const struct json *sent = json_at_path(obj, "metadata", "annotations", template_count);
        int64_t count;
        int r = sent ? str_to_i64(json_str(sent), &count) : 0;

        return r < 0 ? error_set(err, -EINVAL, "strconv.ParseInt: parsing \"%" STR_FMT "\": %s",
                                 STR_ARG(json_str(sent)), request_number_wrong(r))
                     : 0;
}

/* Counts changes of the template, as apps/v1 has it: in an annotation that clients cannot set. */
static void count_template(struct op *op, struct json *obj, const struct json *from, int64_t changes) {
        struct arena *a = op->c->arena;
        int64_t count = 0;

        if (str_to_i64(json_str(json_at_path(from, "metadata", "annotations", template_count)), &count) < 0)
                count = 0;
        struct json *annotations = json_get_or_add_object(a, meta_of(a, obj), "annotations");
        json_set_str(a, annotations, template_count,
                     arena_printf(a, "%lld", (long long) (MAX(count, 1 - changes) + changes)));
        json_sort(annotations);
}

static int daemonset_prepare_create(struct op *op, struct json *obj, struct error *err) {
        count_template(op, obj, obj, 0);
        return 0;
}

static int daemonset_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        count_template(op, obj, old,
                       !json_equal(json_at_path(obj, "spec", "template"), json_at_path(old, "spec", "template")));
        return 0;
}

/* Which is of the spec, and so nothing that a status changes. */
static void daemonset_prepare_status(struct op *op, struct json *obj, const struct json *old) {
        count_template(op, obj, old, 0);
}

/* The first generation is the only one. */
static int priority_class_prepare_create(struct op *op, struct json *obj, struct error *err) {
        json_set_int(op->c->arena, meta_of(op->c->arena, obj), "generation", 1);
        return 0;
}

/* Counts from nothing on. */
static int csi_driver_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        if (!json_equal(json_getc(obj, "spec"), json_getc(old, "spec")))
                count_generation(op, obj, old);
        return 0;
}

/* ---- the table ---- */

#define GEN STRATEGY_GENERATION
#define UPSERT STRATEGY_CREATE_ON_UPDATE
#define CONDITIONAL STRATEGY_CONDITIONAL
#define KEEP STRATEGY_KEEP_STATUS
#define RETURN STRATEGY_RETURN_DELETED
#define RBAC .name = check_path_segment, .prepare_create = rbac_prepare_create, .prepare_update = rbac_prepare_update
#define STATUS STRATEGY_STATUS_ONLY
#define RESETS STRATEGY_STATUS_RESETS
#define EMPTY STRATEGY_COUNTS_EMPTY

static const struct strategy strategies[] = {
        { "", "pods", GEN | RETURN | STRATEGY_STATUS_KEEPS_OWNERS, .looks = "uo", .prepare_create = pod_prepare_create,
          .prepare_status = pod_prepare_status, .warn = warn_pod, .warn_status = warn_pod_status,
          .validate = validate_pod, .validate_status = validate_pod_status },
        { "", "services", UPSERT | RETURN | STRATEGY_STATUS_CREATES, .looks = "uo", .name = check_dns1035_label,
          .prepare_create = service_prepare_create, .prepare_update = service_prepare_update,
          .companions = service_companions, .warn = warn_service, .warn_status = warn_balancer,
          .validate = validate_service, .validate_status = validate_service_status },
        { "", "namespaces", 0, .looks = "oU", .name = check_dns_label, .prepare_create = namespace_prepare_create,
          .prepare_update = namespace_prepare_update, .validate = validate_namespace,
          .validate_status = validate_namespace_status },
        { "", "nodes", KEEP, .looks = "oU", .warn = warn_node, .validate = validate_node,
          .validate_status = validate_node_status },
        { "", "configmaps", 0, .looks = "uo", .validate = validate_config_map },
        { "", "secrets", 0, .looks = "uo", .prepare_update = secret_prepare_update, .warn = warn_secret,
          .validate = validate_secret },
        { "", "serviceaccounts", RETURN, .looks = "uo", .prepare_create = account_prepare_create,
          .prepare_update = account_prepare_update, .warn = warn_account },
        { "", "endpoints", UPSERT, .looks = "uo", .warn = warn_endpoints, .validate = validate_endpoints },
        { "", "events", UPSERT, .name = check_path_segment, .looks = "", .prepare_create = event_prepare_create,
          .prepare_update = event_prepare_update, .validate = validate_event },
        { "", "limitranges", UPSERT, .looks = "o", .prepare_create = limit_range_prepare_create,
          .validate = validate_limit_range },
        { "", "resourcequotas", RETURN, .validate = validate_resource_quota,
          .validate_status = validate_resource_quota_status },
        { "", "persistentvolumes", RETURN, .looks = "2o", .prepare_create = volume_prepare_create,
          .prepare_status = volume_prepare_status, .warn = warn_volume, .validate = validate_pv },
        { "", "persistentvolumeclaims", RETURN, .looks = "2uo", .prepare_create = claim_prepare_create,
          .prepare_update = claim_prepare_update, .warn = warn_claim, .validate = validate_pvc,
          .validate_status = validate_pvc_status },
        { "", "podtemplates", GEN | RETURN, .warn = warn_pod_template },
        { "", "replicationcontrollers", GEN | STRATEGY_ORPHAN | STRATEGY_TEMPLATE_LABELS, .looks = "2u",
          .warn = warn_replicas, .validate = validate_replication_controller },
        { "apps", "deployments", GEN | STRATEGY_STATUS_KEEPS_LABELS, .counted = "annotations", .warn = warn_replicas,
          .validate = validate_deployment, .validate_status = validate_collisions },
        { "apps", "replicasets", GEN, .looks = "2u", .warn = warn_replicas, .validate = validate_replicaset },
        { "apps", "statefulsets", GEN, .name = check_dns_label, .warn = warn_statefulset,
          .validate = validate_statefulset, .validate_status = validate_collisions },
        { "apps", "daemonsets", GEN, .looks = "2u", .convert = daemonset_convert,
          .prepare_create = daemonset_prepare_create, .prepare_update = daemonset_prepare_update,
          .prepare_status = daemonset_prepare_status, .warn = warn_template, .validate = validate_daemonset,
          .validate_status = validate_collisions },
        { "apps", "controllerrevisions", 0, .looks = "uo", .validate = validate_revision },
        { "batch", "jobs", GEN | STRATEGY_ORPHAN | STRATEGY_TEMPLATE_LABELS, .looks = "2u",
          .prepare_create = job_prepare_create, .warn = warn_job, .validate = validate_job,
          .validate_status = validate_job_status },
        { "batch", "cronjobs", GEN, .status_looks = "", .warn = warn_cronjob, .validate = validate_cronjob },
        { "networking.k8s.io", "ingresses", GEN, .looks = "uo", .warn = warn_ingress, .warn_status = warn_balancer,
          .validate = validate_ingress, .validate_status = validate_ingress_status },
        { "networking.k8s.io", "ingressclasses", GEN, .looks = "uo", .validate = validate_ingress_class },
        { "networking.k8s.io", "ipaddresses", STRATEGY_IS_ADDRESS, .looks = "oU", .name = check_any_name,
          .validate = validate_ip_address },
        { "networking.k8s.io", "servicecidrs", RESETS | KEEP | STRATEGY_STATUS_IS_OPEN,
          .validate = validate_service_cidr },
        { "networking.k8s.io", "networkpolicies", GEN | EMPTY, .looks = "2u", .warn = warn_network_policy,
          .validate = validate_network_policy },
        { "policy", "poddisruptionbudgets", GEN | CONDITIONAL, .name = check_path_segment, .looks = "",
          .status_looks = "", .validate = validate_pdb },
        { "autoscaling", "horizontalpodautoscalers", 0, .validate = validate_hpa },
        { "rbac.authorization.k8s.io", "roles", UPSERT, .looks = "2oU", RBAC, .validate = validate_role },
        { "rbac.authorization.k8s.io", "clusterroles", UPSERT, .looks = "2oU", RBAC, .validate = validate_role },
        { "rbac.authorization.k8s.io", "rolebindings", UPSERT, .looks = "2oU", RBAC, .validate = validate_binding },
        { "rbac.authorization.k8s.io", "clusterrolebindings", UPSERT, .looks = "2oU", RBAC,
          .validate = validate_binding },
        { "scheduling.k8s.io", "priorityclasses", 0, .prepare_create = priority_class_prepare_create,
          .validate = validate_priority_class },
        { "coordination.k8s.io", "leases", UPSERT | CONDITIONAL },
        { "discovery.k8s.io", "endpointslices", GEN | STRATEGY_COUNTS_OFF, .looks = "o", .counted = "labels",
          .prepare_create = slice_prepare_create, .prepare_update = slice_prepare_update, .warn = warn_endpoint_slice,
          .validate = validate_endpoint_slice },
        { "storage.k8s.io", "storageclasses", RETURN, .looks = "oU", .warn = warn_storage_class,
          .validate = validate_storage_class },
        { "storage.k8s.io", "csistoragecapacities", CONDITIONAL, .looks = "oU", .warn = warn_capacity,
          .validate = validate_storage_capacity },
        { "storage.k8s.io", "csinodes", RETURN | CONDITIONAL, .looks = "2o", .validate = validate_csi_node },
        { "storage.k8s.io", "csidrivers", RETURN | CONDITIONAL, .prepare_update = csi_driver_prepare_update,
          .validate = validate_csi_driver },
        { "storage.k8s.io", "volumeattachments", RETURN | CONDITIONAL | RESETS, .looks = "2o", .status_looks = "2o",
          .validate = validate_volume_attachment, .validate_status = validate_attachment_status },
        { "node.k8s.io", "runtimeclasses", UPSERT | CONDITIONAL, .looks = "oU", .warn = warn_runtime_class,
          .validate = validate_runtime_class },
        { "certificates.k8s.io", "certificatesigningrequests", STRATEGY_SPEC_IS_FIXED, .looks = "oU",
          .status_looks = "oU", .name = check_any_name, .prepare_create = csr_prepare_create,
          .prepare_update = csr_prepare_update, .prepare_status = csr_prepare_status, .validate = validate_csr_update,
          .validate_status = validate_csr_status },
        { "admissionregistration.k8s.io", "mutatingwebhookconfigurations", GEN | EMPTY | CONDITIONAL, .looks = "o",
          .validate = validate_webhooks },
        { "admissionregistration.k8s.io", "validatingwebhookconfigurations", GEN | EMPTY | CONDITIONAL, .looks = "o",
          .validate = validate_webhooks },
        { "admissionregistration.k8s.io", "validatingadmissionpolicies",
          GEN | CONDITIONAL | RESETS | STRATEGY_STATUS_CREATES, .looks = "o", .status_looks = "",
          .permit = rbac_check_params, .validate = validate_policy, .validate_status = validate_policy_status },
        { "admissionregistration.k8s.io", "validatingadmissionpolicybindings", GEN | CONDITIONAL, .looks = "o",
          .permit = rbac_check_params, .validate = validate_policy_binding },
        { "apiextensions.k8s.io", "customresourcedefinitions", GEN | CONDITIONAL | STRATEGY_STATUS_DISOWNS,
          .prepare_create = crd_prepare_create, .prepare_update = crd_prepare_update,
          .prepare_delete = crd_prepare_delete, .validate = validate_crd, .validate_status = validate_crd_status },
        { "apiregistration.k8s.io", "apiservices", CONDITIONAL | RESETS, .looks = "uo", .name = check_path_segment,
          .prepare_create = api_service_prepare_create, .validate = validate_api_service },
        { "flowcontrol.apiserver.k8s.io", "flowschemas", GEN | STATUS, .looks = "o", .validate = validate_flow_schema },
        { "flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", GEN | STATUS, .looks = "o",
          .validate = validate_priority_level },
};

const struct strategy *strategy_of(const struct api_resource *r) {
        static const struct strategy plain = { 0 };

        for (size_t i = 0; i < ARRAY_SIZE(strategies); i++)
                if (strcmp(strategies[i].group, r->group) == 0 && strcmp(strategies[i].resource, r->plural) == 0)
                        return &strategies[i];
        return &plain;
}

/* ---- jobs ---- */

/* Unless told otherwise a job selects its pods by its uid: upstream's generateSelector. */
static int job_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *spec = json_get_or_add_object(a, obj, "spec"), *labels, *match;
        const struct json *meta = json_getc(obj, "metadata");
        struct str uid = json_str(json_getc(meta, "uid"));
        const struct {
                const char *key;
                struct str value;
        } set[] = {
                { "batch.kubernetes.io/controller-uid", uid },
                { "batch.kubernetes.io/job-name", op->name },
                { "controller-uid", uid },
                { "job-name", op->name },
        };

        if (json_bool(json_getc(spec, "manualSelector")))
                return 0;
        labels = json_get_or_add_object(
                        a, json_get_or_add_object(a, json_get_or_add_object(a, spec, "template"), "metadata"),
                        "labels");
        /* A job that is sent without labels has its pods', when these have some, and then all of them: in Go it is one
         * map, unless it is copied for each name that is tried. */
        bool shared = !op->generated && json_len(labels) > 0 &&
                      json_len(json_at_path(op->c->body, "metadata", "labels")) == 0 &&
                      (json_len(json_getc(meta, "labels")) == 0 || json_equal(json_getc(meta, "labels"), labels));
        match = json_get_or_add_object(a, json_get_or_add_object(a, spec, "selector"), "matchLabels");
        if (!json_getc(match, set[0].key))
                json_set_str(a, match, set[0].key, uid);
        for (size_t i = 0; i < ARRAY_SIZE(set); i++)
                if (!json_getc(labels, set[i].key)) /* others than these are refused by validation */
                        json_set_str(a, labels, set[i].key, set[i].value);
        if (shared)
                json_setc(a, meta_of(a, obj), "labels", json_copy_shallow(a, labels));
        return 0;
}

/* ---- subresources that are parts of an object ---- */

static void take(struct op *op, struct json *obj, const struct json *sent, const char *outer, const char *inner) {
        struct arena *a = op->c->arena;
        const struct json *now = json_getc(obj, outer);
        struct json part = json_is(now, JSON_OBJECT) ? json_copy_shallow(a, now) : json_new_object();

        json_put(a, &part, inner, json_at_path(sent, outer, inner));
        json_setc(a, obj, outer, part);
}

/* What an approver leaves open: when it said so. A condition that stays keeps its time of transition. */
static void date_conditions(struct op *op, struct json *obj, const struct json *old) {
        struct arena *a = op->c->arena;
        const struct json *conditions = json_at_path(obj, "status", "conditions");

        if (json_len(conditions) == 0)
                return;
        struct json status = json_copy_shallow(a, json_getc(obj, "status"));
        struct json list = json_copy_tree(a, conditions);
        json_each_item(c, &list) {
                struct str since = now_text(a);

                if (str_empty(json_str(json_getc(c, "lastUpdateTime"))))
                        json_set_str(a, c, "lastUpdateTime", since);
                if (!str_empty(json_str(json_getc(c, "lastTransitionTime"))))
                        continue;
                json_each_item(o, json_at_path(old, "status", "conditions"))
                        if (json_equal(json_getc(o, "type"), json_getc(c, "type")) &&
                            json_equal(json_getc(o, "status"), json_getc(c, "status")))
                                since = json_str_or(json_getc(o, "lastTransitionTime"), since);
                json_set_str(a, c, "lastTransitionTime", since);
        }
        json_setc(a, &status, "conditions", list);
        json_setc(a, obj, "status", status);
}

/* A signer does not change what the approver said. */
static void csr_prepare_status(struct op *op, struct json *obj, const struct json *old) {
        static const char *const said[] = { "Approved", "Denied" };
        struct arena *a = op->c->arena;
        const struct json *sent = json_at_path(obj, "status", "conditions");

        if (json_len(sent) == 0)
                return;
        struct json status = json_copy_shallow(a, json_getc(obj, "status"));
        json_setc(a, &status, "conditions", json_copy_shallow(a, sent));
        for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
                const struct json *had = condition_find(json_getc(old, "status"), said[i]);
                struct json *now = condition_find(&status, said[i]);

                if (had && now)
                        *now = *had;
        }
        json_setc(a, obj, "status", status);
        date_conditions(op, obj, old);
}

static bool same_names(const struct json *a, const struct json *b) {
        for (size_t i = 0; i < MAX(json_len(a), json_len(b)); i++)
                if (!str_eq(json_str(json_getc(json_item(a, i), "name")), json_str(json_getc(json_item(b, i), "name"))))
                        return false;
        return true;
}

/* What of each container a resize may change. */
static void merge_resize(struct op *op, struct json *obj, const struct json *sent) {
        static const char *const lists[] = { "initContainers", "containers" };
        static const char *const members[] = { "resources", "resizePolicy" };
        struct arena *a = op->c->arena;
        struct json spec = json_copy_shallow(a, json_getc(obj, "spec"));

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                if (json_len(json_at_path(sent, "spec", lists[l])) != json_len(json_getc(&spec, lists[l])) &&
                    json_getc(sent, "spec")) { /* validation says why not, and what else is wrong */
                        json_setc(a, obj, "spec", *json_getc(sent, "spec"));
                        return;
                }
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++) {
                const struct json *list = json_at_path(sent, "spec", lists[l]);

                if (!same_names(list, json_getc(&spec, lists[l]))) { /* nor may these change */
                        json_setc(a, &spec, lists[l], list ? *list : json_new_array());
                        continue;
                }
                if (!list)
                        continue;
                struct json containers = json_copy_shallow(a, json_getc(&spec, lists[l]));
                json_each_item(c, &containers) {
                        const struct json *s = json_item(list, (size_t) (c - json_items(&containers)));

                        *c = json_copy_shallow(a, c);
                        for (size_t i = 0; i < ARRAY_SIZE(members); i++)
                                json_put(a, c, members[i], json_getc(s, members[i]));
                }
                json_setc(a, &spec, lists[l], containers);
        }
        json_setc(a, obj, "spec", spec);
}

void writes_merge_part(struct op *op, struct json *obj, const struct json *sent, const struct json *old) {
        struct str sub = op->c->subresource;

        if (str_eqc(sub, "finalize")) {
                take(op, obj, sent, "spec", "finalizers");
        } else if (str_eqc(sub, "approval")) {
                take(op, obj, sent, "status", "conditions");
                date_conditions(op, obj, old);
        } else if (str_eqc(sub, "ephemeralcontainers")) {
                take(op, obj, sent, "spec", "ephemeralContainers");
        } else if (str_eqc(sub, "resize")) {
                merge_resize(op, obj, sent);
        }
}
