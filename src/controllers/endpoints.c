/* Endpoints: the addresses behind a Service that has a selector, in the old form (one object a Service, at most 1,000
 * addresses); EndpointSlices (endpointslice.c) are the form that grows. */
#include "controllers/pods.h"
#include "controllers/services.h"
#include "json/build.h"
#include "schema/types.h"

#define CAPACITY 1000
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"
#define HEADLESS "service.kubernetes.io/headless"
#define MANAGED_BY "endpoints.kubernetes.io/managed-by"

static struct json *subset_for(struct arena *a, struct json *subsets, const struct json *ports) {
        json_each_item(s, subsets)
                if (json_equal(EndpointSubset_ports(s), ports))
                        return s;
        return json_push(a, subsets, json_build(a, "{ addresses: [], notReadyAddresses: [], ports: %j }", ports));
}

static struct json address_of(struct arena *a, const struct object *service, const struct object *pod) {
        struct json ref = pod_target_ref(a, pod);

        return json_build(a, "{ ip: %s, hostname: %s, nodeName: %o, targetRef: %j }",
                          PodStatus_podIP(Pod_status(object_json(pod))), service_hostname_of_pod(service, pod),
                          pod_node(pod), &ref);
}

static struct json make_subsets(struct controller *c, struct arena *a, const struct object *service,
                                bool *ret_truncated) {
        bool publish = ServiceSpec_publishNotReadyAddresses(Service_spec(object_json(service)));
        struct json subsets = json_new_array();
        size_t n, room = CAPACITY;
        struct object **pods = service_pods(c, a, service, publish, &n);

        *ret_truncated = n > CAPACITY;
        /* When there are too many, ready ones are kept first. */
        for (int ready = 1; ready >= 0; ready--)
                for (size_t i = 0; i < n && room > 0; i++) {
                        if ((publish || pod_is_ready(pods[i])) != ready)
                                continue;
                        struct json ports = service_ports_of_pod(a, service, pods[i]);
                        if (json_len(&ports) == 0 && !service_is_headless(service))
                                continue;
                        json_each_item(p, &ports) /* here, unlike in slices, no name is no member */
                                if (str_empty(EndpointPort_name(p)))
                                        json_removec(p, "name");
                        struct json *subset = subset_for(a, &subsets, &ports);
                        json_push(a, json_get_mut(subset, ready ? STR("addresses") : STR("notReadyAddresses")),
                                  address_of(a, service, pods[i]));
                        room--;
                }
        json_each_item(s, &subsets)
                for (const char *const *k = (const char *const[]) { "addresses", "notReadyAddresses", "ports", NULL };
                     *k; k++)
                        if (json_len(json_getc(s, *k)) == 0)
                                json_removec(s, *k);
        return subsets;
}

static struct json labels_for(struct arena *a, const struct object *service) {
        const struct json *own = json_at_path(object_json(service), "metadata", "labels");
        struct json labels = own ? json_copy_shallow(a, own) : json_new_object();

        if (service_is_headless(service))
                json_set_cstr(a, &labels, HEADLESS, "");
        else
                json_removec(&labels, HEADLESS);
        json_set_cstr(a, &labels, MANAGED_BY, "endpoint-controller");
        return labels;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *service = informer_get(controller_informer(c, &res_services), key),
                      *current = informer_get(controller_informer(c, &res_endpoints), key);
        const struct json *doc = current ? object_json(current) : NULL;
        struct json subsets, labels, copy, *meta, *annotations;
        bool truncated;

        if (!service)
                return current ? controller_delete(c, &res_endpoints, current, NULL, err) : 0;
        if (!service_is_selecting(service) || object_deleting(service))
                return 0;
        subsets = make_subsets(c, a, service, &truncated);
        labels = labels_for(a, service);
        if (!current) {
                copy = json_build(a,
                                  "{ kind: 'Endpoints', apiVersion: 'v1', metadata: { name: %s, namespace: %s, labels: "
                                  "%j,"
                                  "  annotations: %j }, subsets: %j }",
                                  object_name(service), object_namespace(service), &labels,
                                  truncated ? json_new(a, json_build(a, "{ '" OVER_CAPACITY "': 'truncated' }")) : NULL,
                                  json_len(&subsets) ? &subsets : NULL);
                return controller_create(c, &res_endpoints, object_namespace(service), &copy, NULL, err);
        }
        if (json_equal(&subsets, Endpoints_subsets(doc) ? Endpoints_subsets(doc) : json_new(a, json_new_array())) &&
            json_equal(&labels, ObjectMeta_labels(Endpoints_metadata(doc))) &&
            truncated == str_eqc(object_annotation(current, OVER_CAPACITY), "truncated"))
                return 0;
        copy = json_copy_tree(a, doc);
        meta = json_get_or_add_object(a, &copy, "metadata");
        json_setc(a, meta, "labels", labels);
        annotations = json_get_or_add_object(a, meta, "annotations");
        if (truncated)
                json_set_cstr(a, annotations, OVER_CAPACITY, "truncated");
        else
                json_removec(annotations, OVER_CAPACITY);
        json_setc(a, &copy, "subsets", subsets);
        return controller_update(c, &res_endpoints, STR(""), &copy, err);
}

static bool is_ours(const struct object *endpoints) {
        return str_eqc(object_label(endpoints, STR(MANAGED_BY)), "endpoint-controller");
}

/* Somebody's own Endpoints may be there before their Service. */
static void enqueue_endpoints(struct controller *c, struct object *old, struct object *new) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        const struct object *o = new ? new : old;

        if (is_ours(o) || informer_get(controller_informer(c, &res_services), object_key(a, o)))
                enqueue_self(c, old, new);
}

/* At the start: Endpoints whose Service went while we were not looking. */
static void started(struct controller *c) {
        controller_each(it, c, &res_endpoints)
                if (is_ours(it.value))
                        controller_enqueue_key(c, it.key);
}

const struct controller_class endpoints_controller = {
        .name = "endpoint-controller",
        .watches = { { &res_services, enqueue_self },
                     { &res_pods, enqueue_services_of_pod },
                     { &res_endpoints, enqueue_endpoints } },
        .init = services_init,
        .started = started,
        .reconcile = reconcile,
};
