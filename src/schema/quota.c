/* See quota.h. A name is taken apart on the spot; nothing is kept. */
#include "schema/quota.h"

#include "base/time.h"
#include "json/object.h"

#define CLASS_MARK STR(".storageclass.storage.k8s.io/")

/* ---- pods ---- */

static struct quantity larger(struct quantity a, struct quantity b) {
        return quantity_cmp(b, a) > 0 ? b : a;
}

/* What the kubelet has allocated or set, where a resize makes that differ from the spec. */
static struct quantity with_status(const struct json *pod, const struct json *container, const char *list,
                                   struct str resource, struct quantity q) {
        struct str name = json_str(json_getc(container, "name"));

        json_each_item(s, json_at_path(pod, "status", "containerStatuses")) {
                if (!str_eq(json_str(json_getc(s, "name")), name))
                        continue;
                q = larger(q, quantity_of_json(json_get(json_at_path(s, "resources", list), resource)));
                if (strcmp(list, "requests") == 0)
                        q = larger(q, quantity_of_json(json_get(json_getc(s, "allocatedResources"), resource)));
        }
        return q;
}

bool pod_amount(const struct json *pod, const char *list, struct str resource, struct quantity *ret) {
        const struct json *spec = json_getc(pod, "spec"), *overhead = json_get(json_getc(spec, "overhead"), resource);
        struct quantity sum = { 0 }, sidecars = { 0 }, most = { 0 };
        bool found = overhead && strcmp(list, "requests") == 0;

        json_each_item(c, json_getc(spec, "containers")) {
                const struct json *v = json_get(json_at_path(c, "resources", list), resource);

                found = found || v;
                sum = quantity_add(sum, with_status(pod, c, list, resource, quantity_of_json(v)));
        }
        json_each_item(c, json_getc(spec, "initContainers")) {
                const struct json *v = json_get(json_at_path(c, "resources", list), resource);
                struct quantity with = quantity_add(sidecars, quantity_of_json(v));

                found = found || v;
                if (str_eqc(json_str(json_getc(c, "restartPolicy")), "Always"))
                        sidecars = with;
                most = larger(most, with);
        }
        *ret = larger(quantity_add(sum, sidecars), most);
        if (found)
                *ret = quantity_add(*ret, quantity_of_json(overhead));
        return found;
}

const char *pod_qos_class(const struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers" };
        static const char *const counted[] = { "cpu", "memory" };
        bool any = false, guaranteed = true;

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                json_each_item(c, json_getc(spec, lists[l])) {
                        const struct json *requests = json_at_path(c, "resources", "requests");
                        const struct json *limits = json_at_path(c, "resources", "limits");

                        for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
                                struct quantity request = quantity_of_json(json_getc(requests, counted[i]));
                                struct quantity limit = quantity_of_json(json_getc(limits, counted[i]));

                                any = any || request.nano > 0 || limit.nano > 0;
                                guaranteed = guaranteed && limit.nano > 0 && request.nano == limit.nano;
                        }
                }
        return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

/* A pod that has ended, or should have by now, uses no compute resources. */
static bool pod_is_charged(const struct json *pod, int64_t now_ns) {
        const struct json *meta = json_getc(pod, "metadata"), *grace = json_getc(meta, "deletionGracePeriodSeconds");
        int64_t deleted;

        if (pod_has_ended(pod))
                return false;
        return !grace || time_parse(json_str(json_getc(meta, "deletionTimestamp")), &deleted) < 0 ||
               now_ns <= time_after(deleted, json_int(grace));
}

static bool has_domain(struct str name) {
        return str_find(name, '/') > 0 && str_search(name, STR("kubernetes.io/")) < 0;
}

/* "requests.cpu", "limits.memory", plain "cpu" (a request), "requests.example.com/gpu". false: not a pod's. */
static bool compute_name(struct str name, const char **ret_list, struct str *ret_resource) {
        static const struct str request = STR_INIT("requests."), limit = STR_INIT("limits.");
        bool asks = str_has_prefix(name, request), limits = str_has_prefix(name, limit);
        struct str rest = str_sub(name, asks ? request.n : limits ? limit.n : 0, name.n);

        *ret_list = limits ? "limits" : "requests";
        *ret_resource = rest;
        return str_eqc(rest, "cpu") || str_eqc(rest, "memory") || str_eqc(rest, "ephemeral-storage") ||
               (!limits && str_has_prefix(rest, STR("hugepages-"))) || (asks && has_domain(rest));
}

bool quota_constraint_holds(const struct json *container, struct str name) {
        const char *list;
        struct str resource;

        if (!compute_name(name, &list, &resource) || (!str_eqc(resource, "cpu") && !str_eqc(resource, "memory")))
                return true;
        return json_get(json_at_path(container, "resources", list), resource) != NULL;
}

/* ---- services and claims ---- */

static int64_t node_ports(const struct json *spec, struct str type) {
        int64_t n = 0;

        if (str_eqc(type, "NodePort") ||
            (str_eqc(type, "LoadBalancer") && json_bool_or(json_getc(spec, "allocateLoadBalancerNodePorts"), true)))
                return (int64_t) json_len(json_getc(spec, "ports"));
        json_each_item(p, json_getc(spec, "ports"))
                n += str_eqc(type, "LoadBalancer") && json_int(json_getc(p, "nodePort")) != 0;
        return n;
}

static struct str claim_class(const struct json *claim) {
        const struct json *old = json_getc(json_at_path(claim, "metadata", "annotations"),
                                           "volume.beta.kubernetes.io/storage-class");

        return json_str(old ? old : json_at_path(claim, "spec", "storageClassName"));
}

/* Whole bytes. A claim that is being shrunk after a failed growth holds what was allocated. */
static struct quantity claim_storage(const struct json *claim) {
        struct quantity q = larger(quantity_of_json(json_at_path(claim, "spec", "resources", "requests", "storage")),
                                   quantity_of_json(json_at_path(claim, "status", "allocatedResources", "storage")));

        return quantity_of_int(quantity_value(q), q.format);
}

/* ---- names ---- */

static bool resource_is(const struct api_resource *r, const char *core_plural) {
        return r->group[0] == '\0' && strcmp(r->plural, core_plural) == 0;
}

/* The resource of "count/<plural>.<group>" or of an old name like "secrets". false: the name counts no objects. */
static bool quota_counted(struct str name, struct str *ret_plural, struct str *ret_group) {
        static const char *const old[] = { "configmaps",
                                           "persistentvolumeclaims",
                                           "replicationcontrollers",
                                           "resourcequotas",
                                           "secrets",
                                           "services",
                                           NULL };

        *ret_group = STR("");
        *ret_plural = name;
        if (str_among(name, old))
                return true;
        if (!str_has_prefix(name, STR("count/")))
                return false;
        name = str_sub(name, 6, name.n);
        ssize_t dot = str_find(name, '.');
        *ret_plural = dot < 0 ? name : str_sub(name, 0, (size_t) dot);
        if (dot >= 0)
                *ret_group = str_sub(name, (size_t) dot + 1, name.n);
        return true;
}

static bool claim_name(struct str name, struct str *ret_class, bool *ret_storage) {
        ssize_t mark = str_search(name, CLASS_MARK);

        *ret_class = mark > 0 ? str_sub(name, 0, (size_t) mark) : str_n(NULL, 0);
        if (mark > 0)
                name = str_sub(name, (size_t) mark + CLASS_MARK.n, name.n);
        *ret_storage = str_eqc(name, "requests.storage");
        return *ret_storage || (mark > 0 && str_eqc(name, "persistentvolumeclaims"));
}

bool quota_measures(const struct api_resource *r, struct str name) {
        struct str a, b;
        const char *list;
        bool storage;

        if (quota_counted(name, &a, &b))
                return str_eqc(a, r->plural) && str_eqc(b, r->group);
        if (resource_is(r, "pods"))
                return str_eqc(name, "pods") || compute_name(name, &list, &a);
        if (resource_is(r, "services"))
                return str_eqc(name, "services.loadbalancers") || str_eqc(name, "services.nodeports");
        return resource_is(r, "persistentvolumeclaims") && claim_name(name, &a, &storage);
}

static struct quantity whole(int64_t n) {
        return quantity_of_int(n, QUANTITY_DECIMAL_SI);
}

static void claim_usage(const struct json *obj, struct str name, struct quantity *ret) {
        struct str class;
        bool storage;

        if (claim_name(name, &class, &storage) && (!class.p || str_eq(class, claim_class(obj))))
                *ret = storage ? claim_storage(obj) : whole(1);
}

bool quota_usage(const struct api_resource *r, const struct json *obj, struct str name, int64_t now_ns,
                 struct quantity *ret) {
        const struct json *spec = json_getc(obj, "spec");
        struct str a, b, type;
        const char *list;

        *ret = whole(0);
        if (!quota_measures(r, name))
                return false;
        if (quota_counted(name, &a, &b)) {
                *ret = whole(1);
        } else if (resource_is(r, "persistentvolumeclaims")) {
                claim_usage(obj, name, ret);
        } else if (resource_is(r, "services")) {
                type = json_str(json_getc(spec, "type"));
                *ret = whole(str_eqc(name, "services.nodeports") ? node_ports(spec, type)
                                                                 : str_eqc(type, "LoadBalancer"));
        } else if (pod_is_charged(obj, now_ns)) {
                if (str_eqc(name, "pods"))
                        *ret = whole(1);
                else if (compute_name(name, &list, &a))
                        pod_amount(obj, list, a, ret);
        }
        return ret->nano != 0;
}

/* ---- scopes ---- */

static bool affinity_crosses(const struct json *terms, bool weighted) {
        json_each_item(t, terms) {
                const struct json *term = weighted ? json_getc(t, "podAffinityTerm") : t;

                if (json_len(json_getc(term, "namespaces")) > 0 ||
                    json_is(json_getc(term, "namespaceSelector"), JSON_OBJECT))
                        return true;
        }
        return false;
}

static bool crosses_namespaces(const struct json *spec) {
        static const char *const kinds[] = { "podAffinity", "podAntiAffinity" };

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                const struct json *k = json_at_path(spec, "affinity", kinds[i]);

                if (affinity_crosses(json_getc(k, "requiredDuringSchedulingIgnoredDuringExecution"), false) ||
                    affinity_crosses(json_getc(k, "preferredDuringSchedulingIgnoredDuringExecution"), true))
                        return true;
        }
        return false;
}

static bool class_matches(struct str name, struct str op_name, const struct json *values) {
        bool among = false;

        if (str_eqc(op_name, "Exists") || str_eqc(op_name, "DoesNotExist"))
                return !str_empty(name) == str_eqc(op_name, "Exists");
        json_each_item(v, values)
                among = among || (!str_empty(name) && str_eq(json_str(v), name));
        return among == str_eqc(op_name, "In");
}

static bool pod_in_scope(const struct json *pod, struct str scope, struct str op_name, const struct json *values) {
        const struct json *spec = json_getc(pod, "spec");
        bool best_effort = strcmp(pod_qos_class(spec), "BestEffort") == 0,
             terminating = json_int_or(json_getc(spec, "activeDeadlineSeconds"), -1) >= 0;

        if (str_eqc(scope, "Terminating") || str_eqc(scope, "NotTerminating"))
                return terminating == str_eqc(scope, "Terminating");
        if (str_eqc(scope, "BestEffort") || str_eqc(scope, "NotBestEffort"))
                return best_effort == str_eqc(scope, "BestEffort");
        if (str_eqc(scope, "PriorityClass"))
                return class_matches(json_str(json_getc(spec, "priorityClassName")), op_name, values);
        return str_eqc(scope, "CrossNamespacePodAffinity") && crosses_namespaces(spec);
}

bool quota_scope_matches(const struct json *term, const struct api_resource *r, const struct json *obj) {
        return resource_is(r, "pods") && pod_in_scope(obj, json_str(json_getc(term, "scopeName")),
                                                      json_str(json_getc(term, "operator")), json_getc(term, "values"));
}

bool quota_in_scope(const struct json *spec, const struct api_resource *r, const struct json *obj) {
        const struct json *scopes = json_getc(spec, "scopes"),
                          *expressions = json_at_path(spec, "scopeSelector", "matchExpressions");

        if (!resource_is(r, "pods")) /* only pods have scopes */
                return json_len(scopes) == 0 && json_len(expressions) == 0;
        json_each_item(s, scopes)
                if (!pod_in_scope(obj, json_str(s), STR("Exists"), NULL))
                        return false;
        json_each_item(e, expressions)
                if (!quota_scope_matches(e, r, obj))
                        return false;
        return true;
}
