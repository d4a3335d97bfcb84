/* EndpointSlices: the endpoints of a Service in pieces of at most 100, so that one pod's change is one small write.
 *
 *   pods ─▶ groups: address family × ports ─▶ slices there are: an endpoint stays in its slice, what is gone is taken
 *                                             out, what is new fills the gaps
 *                                         ─▶ new slices for the rest, empty ones go
 */
#include "base/vec.h"
#include "controllers/owners.h"
#include "controllers/pods.h"
#include "controllers/services.h"
#include "json/build.h"
#include "schema/types.h"

#define MAX_ENDPOINTS 100
#define MANAGER "endpointslice-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define HEADLESS "service.kubernetes.io/headless"

struct endpoint {
        struct str uid; /* of the pod */
        struct json json;
        bool reserved; /* a slice that is there has it */
        bool placed;
};

struct group {
        struct str family;
        struct json ports;
        VEC(struct endpoint) endpoints;
};

struct slices {
        struct controller *c;
        struct arena *a;
        struct object *service;
        struct json labels;
        VEC(struct group) groups;
        struct object **existing;
        size_t n_existing, n_kept;
};

/* ---- what should be ---- */

static struct str address_of(const struct object *pod, struct str family) {
        const struct json *status = Pod_status(object_json(pod));
        bool v6 = str_eqc(family, "IPv6");

        json_each_item(ip, PodStatus_podIPs(status)) {
                struct str text = PodIP_ip(ip);

                if ((str_find(text, ':') >= 0) == v6)
                        return text;
        }
        if ((str_find(PodStatus_podIP(status), ':') >= 0) == v6)
                return PodStatus_podIP(status);
        return str_n("", 0);
}

static struct json endpoint_of(struct slices *s, const struct object *pod, struct str address) {
        bool serving = pod_is_ready(pod), terminating = object_deleting(pod);
        bool publish = ServiceSpec_publishNotReadyAddresses(Service_spec(object_json(s->service)));
        struct str node_name = pod_node(pod), zone = { 0 };
        struct object *node = str_empty(node_name) ? NULL : controller_get(s->c, &res_nodes, STR(""), node_name);
        struct json ref = pod_target_ref(s->a, pod);

        if (node)
                zone = object_label(node, STR("topology.kubernetes.io/zone"));
        return json_build(s->a,
                          "{ addresses: [ %s ], conditions: { ready: %b, serving: %b, terminating: %b }, hostname: %s, "
                          "targetRef: %j,"
                          "  nodeName: %o, zone: %s }",
                          address, publish || (serving && !terminating), serving, terminating,
                          service_hostname_of_pod(s->service, pod), &ref, node_name, zone);
}

static struct group *group_of(struct slices *s, struct str family, const struct json *ports) {
        for (size_t i = 0; i < s->groups.n; i++)
                if (str_eq(s->groups.v[i].family, family) && json_equal(&s->groups.v[i].ports, ports))
                        return &s->groups.v[i];
        vec_push(&s->groups, (struct group) { .family = family, .ports = *ports });
        return &s->groups.v[s->groups.n - 1];
}

static void collect(struct slices *s, struct str family) {
        size_t n;
        struct object **pods = service_pods(s->c, s->a, s->service, true, &n);

        for (size_t i = 0; i < n; i++) {
                struct str address = address_of(pods[i], family);

                if (str_empty(address))
                        continue;
                struct json ports = service_ports_of_pod(s->a, s->service, pods[i]);
                struct group *g = group_of(s, family, &ports);
                vec_push(&g->endpoints,
                         (struct endpoint) { object_uid(pods[i]), endpoint_of(s, pods[i], address), false, false });
        }
}

static struct json labels_for(struct arena *a, const struct object *service) {
        const struct json *own = json_at_path(object_json(service), "metadata", "labels");
        struct json labels = own ? json_copy_shallow(a, own) : json_new_object();

        json_removec(&labels, HEADLESS);
        if (service_is_headless(service))
                json_set_cstr(a, &labels, HEADLESS, "");
        json_set_str(a, &labels, SERVICE_NAME, object_name(service));
        json_set_cstr(a, &labels, MANAGED_BY, MANAGER);
        return labels;
}

/* ---- what is ---- */

static void find_existing(struct slices *s) {
        struct informer_index *x = children_index(s->c, &res_endpointslices);
        struct object_list owned = owned_children(x, s->service);

        s->existing = arena_array(s->a, struct object *, owned.n + 1);
        for (size_t i = 0; i < owned.n; i++)
                if (str_eqc(object_label(owned.v[i], STR(MANAGED_BY)), MANAGER) && !object_deleting(owned.v[i]))
                        s->existing[s->n_existing++] = owned.v[i];
}

static struct group *group_of_slice(struct slices *s, const struct json *slice) {
        const struct json *ports = EndpointSlice_ports(slice);
        struct json none = json_new_array();

        for (size_t i = 0; i < s->groups.n; i++)
                if (str_eq(s->groups.v[i].family, EndpointSlice_addressType(slice)) &&
                    json_equal(&s->groups.v[i].ports, json_is(ports, JSON_ARRAY) ? ports : &none))
                        return &s->groups.v[i];
        return NULL;
}

static struct endpoint *find_endpoint(struct group *g, struct str uid) {
        for (size_t i = 0; i < g->endpoints.n; i++)
                if (str_eq(g->endpoints.v[i].uid, uid))
                        return &g->endpoints.v[i];
        return NULL;
}

/* ---- making it so ---- */

static void fill(struct slices *s, struct group *g, struct json *endpoints) {
        for (size_t i = 0; i < g->endpoints.n && json_len(endpoints) < MAX_ENDPOINTS; i++)
                if (!g->endpoints.v[i].placed && !g->endpoints.v[i].reserved) {
                        g->endpoints.v[i].placed = true;
                        json_push(s->a, endpoints, g->endpoints.v[i].json);
                }
}

static int write_slice(struct slices *s, struct object *slice, const struct json *endpoints, struct error *err) {
        const struct json *doc = object_json(slice);

        if (json_equal(endpoints, EndpointSlice_endpoints(doc) ? EndpointSlice_endpoints(doc)
                                                               : json_new(s->a, json_new_array())) &&
            json_equal(&s->labels, ObjectMeta_labels(EndpointSlice_metadata(doc))))
                return 0;
        struct json copy = json_copy_tree(s->a, doc);
        json_setc(s->a, json_get_or_add_object(s->a, &copy, "metadata"), "labels", s->labels);
        json_setc(s->a, &copy, "endpoints", *endpoints);
        return controller_update(s->c, &res_endpointslices, STR(""), &copy, err);
}

static int create_slice(struct slices *s, struct str family, const struct json *ports, const struct json *endpoints,
                        struct error *err) {
        struct json ref = controller_ref(s->a, &res_services, s->service);
        struct json body = json_build(
                        s->a,
                        "{ kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', metadata: { generateName: %s,"
                        "  namespace: %s, labels: %j, ownerReferences: [ %j ] }, addressType: %s, endpoints: %j, "
                        "ports: %j }",
                        arena_printf(s->a, "%" STR_FMT "-", STR_ARG(object_name(s->service))),
                        object_namespace(s->service), &s->labels, &ref, family, endpoints, ports);

        return controller_create(s->c, &res_endpointslices, object_namespace(s->service), &body, NULL, err);
}

/* One slice there is: keeps its endpoints that are still wanted, in their order, takes in new ones, goes when it is
 * empty and not the last. */
static int sync_slice(struct slices *s, struct object *slice, struct error *err) {
        const struct json *doc = object_json(slice);
        struct group *g = group_of_slice(s, doc);
        struct json endpoints = json_new_array();

        if (g) {
                json_each_item(old, EndpointSlice_endpoints(doc)) {
                        struct endpoint *e = find_endpoint(g, ObjectReference_uid(Endpoint_targetRef(old)));

                        if (!e || e->placed)
                                continue;
                        e->placed = true;
                        json_push(s->a, &endpoints, e->json);
                }
        }
        if (g)
                fill(s, g, &endpoints);
        if (json_len(&endpoints) == 0 && (s->groups.n > 0 || s->n_kept > 0))
                return controller_delete(s->c, &res_endpointslices, slice, NULL, err);
        s->n_kept++;
        return write_slice(s, slice, &endpoints, err);
}

/* An endpoint is not placed anew while a later slice still has it. */
static void reserve(struct slices *s, const struct object *slice) {
        const struct json *doc = object_json(slice);
        struct group *g = group_of_slice(s, doc);

        if (!g)
                return;
        json_each_item(old, EndpointSlice_endpoints(doc)) {
                struct endpoint *e = find_endpoint(g, ObjectReference_uid(Endpoint_targetRef(old)));

                if (e)
                        e->reserved = true;
        }
}

static int sync_all(struct slices *s, struct str first_family, struct error *err) {
        struct json none = json_new_array();
        int r = 0;

        for (size_t i = 0; i < s->n_existing; i++)
                reserve(s, s->existing[i]);
        for (size_t i = 0; i < s->n_existing && r == 0; i++)
                r = sync_slice(s, s->existing[i], err);
        for (size_t i = 0; i < s->groups.n && r == 0; i++)
                for (;;) {
                        struct json endpoints = json_new_array();

                        fill(s, &s->groups.v[i], &endpoints);
                        if (json_len(&endpoints) == 0)
                                break;
                        r = create_slice(s, s->groups.v[i].family, &s->groups.v[i].ports, &endpoints, err);
                        if (r < 0)
                                break;
                        s->n_kept++;
                }
        if (r == 0 && s->n_kept == 0) /* "no endpoints" is an answer too */
                r = create_slice(s, first_family, &none, &none, err);
        return r;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *service = informer_get(controller_informer(c, &res_services), key);
        struct slices s = { .c = c, .a = a, .service = service };

        if (!service || object_deleting(service) || !service_is_selecting(service))
                return 0; /* the slices of a deleted Service are its dependents */
        s.labels = labels_for(a, service);
        find_existing(&s);
        const struct json *families = ServiceSpec_ipFamilies(Service_spec(object_json(service)));
        for (size_t i = 0; i < MAX(json_len(families), 1U); i++)
                collect(&s, json_str_or(json_item(families, i), STR("IPv4")));
        int r = sync_all(&s, json_str_or(json_item(families, 0), STR("IPv4")), err);
        for (size_t i = 0; i < s.groups.n; i++)
                vec_free(&s.groups.v[i].endpoints);
        vec_free(&s.groups);
        return r;
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        children_index(c, &res_endpointslices);
        return services_init(c, ret_state, err);
}

const struct controller_class endpointslice_controller = {
        .name = "endpointslice-controller",
        .watches = { { &res_services, enqueue_self },
                     { &res_pods, enqueue_services_of_pod },
                     { &res_endpointslices, enqueue_service_by_label },
                     { &res_nodes, NULL } },
        .init = init,
        .reconcile = reconcile,
};
