/* ResourceQuota: what a namespace uses of what its quotas limit. Admission (the API server's part) charges ahead; here
 * everything is counted again whenever something that is counted changes.
 * https://kubernetes.io/docs/concepts/policy/resource-quotas/ */
#include <errno.h>

#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "controllers/resources.h"
#include "json/build.h"
#include "schema/quantity.h"
#include "schema/types.h"

struct counting {
        struct controller *c;
        struct arena *a;
        struct object *quota;
        struct str ns;
};

/* ---- pods ---- */

static struct quantity container_quantity(const struct json *container, const char *list, struct str name) {
        return quantity_of_json(json_get(json_at_path(container, "resources", list), name));
}

static bool is_sidecar(const struct json *container) {
        return str_eqc(Container_restartPolicy(container), "Always");
}

/* What the pod asks for: its containers and sidecars together, or the largest init container with the sidecars before
 * it. */
static struct quantity pod_quantity(const struct object *pod, const char *list, struct str name) {
        const struct json *spec = Pod_spec(object_json(pod));
        struct quantity sum = { 0 }, sidecars = { 0 }, most = { 0 };

        json_each_item(c, PodSpec_containers(spec))
                sum = quantity_add(sum, container_quantity(c, list, name));
        json_each_item(c, PodSpec_initContainers(spec)) {
                struct quantity q = container_quantity(c, list, name), with;

                if (is_sidecar(c)) {
                        sidecars = quantity_add(sidecars, q);
                        with = sidecars;
                } else
                        with = quantity_add(sidecars, q);
                if (quantity_cmp(with, most) > 0)
                        most = with;
        }
        sum = quantity_add(sum, sidecars);
        if (quantity_cmp(most, sum) > 0)
                sum = most;
        return quantity_add(sum, quantity_of_json(json_get(PodSpec_overhead(spec), name)));
}

static bool in_scope(const struct object *pod, struct str scope) {
        const struct json *spec = Pod_spec(object_json(pod));
        bool best_effort = str_eqc(PodStatus_qosClass(Pod_status(object_json(pod))), "BestEffort"),
             terminating = PodSpec_has_activeDeadlineSeconds(spec);

        if (str_eqc(scope, "BestEffort") || str_eqc(scope, "NotBestEffort"))
                return best_effort == str_eqc(scope, "BestEffort");
        if (str_eqc(scope, "Terminating") || str_eqc(scope, "NotTerminating"))
                return terminating == str_eqc(scope, "Terminating");
        if (str_eqc(scope, "PriorityClass"))
                return !str_empty(PodSpec_priorityClassName(spec));
        return true;
}

static bool requirement_holds(const struct object *pod, const struct json *r) {
        struct str scope = json_str(json_getc(r, "scopeName")), op = json_str(json_getc(r, "operator")),
                   class = PodSpec_priorityClassName(Pod_spec(object_json(pod)));
        bool found = false;

        if (!str_eqc(scope, "PriorityClass") || str_eqc(op, "Exists"))
                return in_scope(pod, scope);
        if (str_eqc(op, "DoesNotExist"))
                return str_empty(class);
        json_each_item(v, json_getc(r, "values"))
                found |= str_eq(json_str(v), class);
        return found == str_eqc(op, "In");
}

static bool is_counted(const struct object *quota, const struct object *pod) {
        const struct json *spec = ResourceQuota_spec(object_json(quota));

        if (pod_is_terminal(pod))
                return false;
        json_each_item(s, ResourceQuotaSpec_scopes(spec))
                if (!in_scope(pod, json_str(s)))
                        return false;
        json_each_item(r, json_getc(ResourceQuotaSpec_scopeSelector(spec), "matchExpressions"))
                if (!requirement_holds(pod, r))
                        return false;
        return true;
}

/* "requests.cpu", "limits.memory", plain "cpu" (a request), "pods". false: not about pods. */
static bool count_pods(struct counting *k, struct str name, struct quantity *ret) {
        const char *list = "requests";
        bool number = str_eqc(name, "pods");

        if (str_has_prefix(name, STR("requests."))) {
                name = str_sub(name, 9, name.n);
                if (str_eqc(name, "storage"))
                        return false;
        } else if (str_has_prefix(name, STR("limits."))) {
                name = str_sub(name, 7, name.n);
                list = "limits";
        } else if (!number && !str_eqc(name, "cpu") && !str_eqc(name, "memory") &&
                   !str_eqc(name, "ephemeral-storage") && !str_has_prefix(name, STR("hugepages-")))
                return false;
        for (struct map_iter it = MAP_ITER(informer_objects(controller_informer(k->c, &res_pods))); map_next(&it);)
                if (str_eq(object_namespace(it.value), k->ns) && is_counted(k->quota, it.value))
                        *ret = quantity_add(*ret, number ? quantity_of_int(1, QUANTITY_DECIMAL_SI)
                                                         : pod_quantity(it.value, list, name));
        return true;
}

/* ---- everything else ---- */

static bool is_wanted_service(const struct object *service, struct str name, int64_t *n) {
        const struct json *spec = Service_spec(object_json(service));
        bool balanced = str_eqc(ServiceSpec_type(spec), "LoadBalancer");

        if (str_eqc(name, "services.loadbalancers"))
                *n += balanced;
        else if (str_eqc(ServiceSpec_type(spec), "NodePort") ||
                 (balanced && json_bool_or(json_getc(spec, "allocateLoadBalancerNodePorts"), true)))
                *n += (int64_t) json_len(ServiceSpec_ports(spec));
        return true;
}

static void count_services(struct counting *k, struct str name, struct quantity *ret) {
        int64_t n = 0;

        for (struct map_iter it = MAP_ITER(informer_objects(controller_informer(k->c, &res_services))); map_next(&it);)
                if (str_eq(object_namespace(it.value), k->ns))
                        is_wanted_service(it.value, name, &n);
        *ret = quantity_of_int(n, QUANTITY_DECIMAL_SI);
}

/* "requests.storage", or "class.storageclass.storage.k8s.io/requests.storage" and "…/persistentvolumeclaims". */
static void count_claims(struct counting *k, struct str class, bool storage, struct quantity *ret) {
        for (struct map_iter it = MAP_ITER(informer_objects(controller_informer(k->c, &res_persistentvolumeclaims)));
             map_next(&it);) {
                const struct json *spec = PersistentVolumeClaim_spec(object_json(it.value));

                if (!str_eq(object_namespace(it.value), k->ns) ||
                    (class.p && !str_eq(json_str(json_getc(spec, "storageClassName")), class)))
                        continue;
                *ret = quantity_add(*ret,
                                    storage ? quantity_of_json(json_at_path(spec, "resources", "requests", "storage"))
                                            : quantity_of_int(1, QUANTITY_DECIMAL_SI));
        }
}

struct wanted_resource {
        struct str plural, group;
        const struct api_resource *found;
};

static void match_resource(const struct api_resource *res, void *arg) {
        struct wanted_resource *w = arg;

        if (str_eqc(w->plural, res->plural) && str_eqc(w->group, res->group))
                w->found = res;
}

/* "count/deployments.apps", and the old names of core resources ("secrets"). */
static int count_objects(struct counting *k, struct str name, struct quantity *ret, struct error *err) {
        struct wanted_resource w = { 0 };
        struct api_list *list;
        ssize_t dot;
        int r;

        if (str_has_prefix(name, STR("count/")))
                name = str_sub(name, 6, name.n);
        dot = str_find(name, '.');
        w.plural = dot < 0 ? name : str_sub(name, 0, (size_t) dot);
        w.group = dot < 0 ? STR("") : str_sub(name, (size_t) dot + 1, name.n);
        resources_each(k->c, match_resource, &w);
        if (!w.found || !w.found->namespaced)
                return -ENOENT;
        r = client_list(k->c->client, w.found, k->ns, NULL, &list, err);
        if (r < 0)
                return r;
        *ret = quantity_of_int((int64_t) list->n, QUANTITY_DECIMAL_SI);
        api_list_free(list);
        return 0;
}

/* -ENOENT: nobody knows how to count that. */
static int count(struct counting *k, struct str name, struct quantity *ret, struct error *err) {
        ssize_t class = str_search(name, STR(".storageclass.storage.k8s.io/"));

        *ret = quantity_of_int(0, QUANTITY_DECIMAL_SI);
        if (class > 0)
                count_claims(k, str_sub(name, 0, (size_t) class), str_has_suffix(name, STR("/requests.storage")), ret);
        else if (str_eqc(name, "requests.storage"))
                count_claims(k, str_n(NULL, 0), true, ret);
        else if (str_has_prefix(name, STR("services.")))
                count_services(k, name, ret);
        else if (!count_pods(k, name, ret))
                return count_objects(k, name, ret, err);
        return 0;
}

/* ---- reconcile ---- */

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *quota = informer_get(controller_informer(c, &res_resourcequotas), key);
        struct counting k = { .c = c, .a = a, .quota = quota };
        const struct json *hard;
        struct json status, used = json_new_object();

        if (!quota)
                return 0;
        k.ns = object_namespace(quota);
        hard = ResourceQuotaSpec_hard(ResourceQuota_spec(object_json(quota)));
        json_each_member(m, hard) {
                struct quantity q;
                char text[64];
                int r = count(&k, json_key(m), &q, err);

                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return r;
                json_set(a, &used, json_key(m), json_of_copy(a, quantity_print(text, q)));
        }
        status = json_build(a, "{ hard: %j, used: %j }", hard, &used);
        return controller_update_status(c, &res_resourcequotas, quota, &status, err);
}

static void enqueue_namespace(struct controller *c, struct object *old, struct object *new) {
        struct object *o = new ? new : old;

        for (struct map_iter it = MAP_ITER(informer_objects(controller_informer(c, &res_resourcequotas)));
             map_next(&it);)
                if (str_eq(object_namespace(it.value), object_namespace(o)))
                        controller_enqueue_key(c, it.key);
}

/* A pod's status changes often; what it uses only when it ends. */
static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        if (!old || !new || pod_is_terminal(old) != pod_is_terminal(new) ||
            object_generation(old) != object_generation(new))
                enqueue_namespace(c, old, new);
}

static void enqueue_count(struct controller *c, struct object *old, struct object *new) {
        if (!old || !new)
                enqueue_namespace(c, old, new);
}

const struct controller_class resourcequota_controller = {
        .name = "resourcequota-controller",
        .watches = { { &res_resourcequotas, enqueue_self },
                     { &res_pods, enqueue_pod },
                     { &res_services, enqueue_namespace },
                     { &res_persistentvolumeclaims, enqueue_namespace },
                     { &res_secrets, enqueue_count },
                     { &res_configmaps, enqueue_count },
                     { &res_replicationcontrollers, enqueue_count },
                     { &res_deployments, enqueue_count },
                     { &res_replicasets, enqueue_count },
                     { &res_jobs, enqueue_count },
                     { &res_customresourcedefinitions, NULL } },
        .reconcile = reconcile,
};
