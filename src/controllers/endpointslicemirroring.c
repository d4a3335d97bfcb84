/* EndpointSlice mirroring: Endpoints that somebody wrote by hand, for a Service without selector, are shown as
 * EndpointSlices too, because those are what proxies and DNS read. A slice for each subset and address family, at most
 * 1,000 addresses of each subset.
 */
#include "controllers/owners.h"
#include "controllers/services.h"
#include "json/build.h"
#include "schema/types.h"

#define MANAGER "endpointslicemirroring-controller.k8s.io"
#define SERVICE_NAME "kubernetes.io/service-name"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define SKIP_MIRROR "endpointslice.kubernetes.io/skip-mirror"
#define MAX_ADDRESSES 1000

struct mirror {
        struct controller *c;
        struct arena *a;
        struct object *endpoints;
        struct json labels;
        struct object_list existing;
        bool *kept; /* by existing */
};

static bool is_mirrored(struct controller *c, struct object *endpoints, struct str key) {
        struct object *service = informer_get(controller_informer(c, &res_services), key);

        if (!endpoints || object_deleting(endpoints) || !service)
                return false;
        if (str_eqc(object_label(endpoints, STR(SKIP_MIRROR)), "true") ||
            object_label(endpoints, STR("endpoints.kubernetes.io/managed-by")).p)
                return false;
        return json_len(ServiceSpec_selector(Service_spec(object_json(service)))) == 0;
}

static struct json labels_for(struct arena *a, const struct object *endpoints) {
        const struct json *own = json_at_path(object_json(endpoints), "metadata", "labels");
        struct json labels = own ? json_copy_shallow(a, own) : json_new_object();

        json_set_str(a, &labels, SERVICE_NAME, object_name(endpoints));
        json_set_cstr(a, &labels, MANAGED_BY, MANAGER);
        return labels;
}

/* ---- one slice ---- */

static void add_addresses(struct mirror *m, struct json *list, const struct json *addresses, bool ready, bool v6) {
        json_each_item(e, addresses) {
                struct str ip = EndpointAddress_ip(e);

                if ((str_find(ip, ':') >= 0) != v6 || json_len(list) >= MAX_ADDRESSES)
                        continue;
                json_push(m->a, list,
                          json_build(m->a,
                                     "{ addresses: [ %s ], conditions: { ready: %b }, hostname: %o, targetRef: %j, "
                                     "nodeName: %o }",
                                     ip, ready, EndpointAddress_hostname(e), EndpointAddress_targetRef(e),
                                     EndpointAddress_nodeName(e)));
        }
}

static struct json ports_of(struct arena *a, const struct json *subset) {
        struct json ports = json_new_array();

        json_each_item(p, EndpointSubset_ports(subset))
                json_push(a, &ports,
                          json_build(a, "{ name: %s, port: %l, protocol: %s, appProtocol: %o }", EndpointPort_name(p),
                                     EndpointPort_port(p), EndpointPort_protocol(p), EndpointPort_appProtocol(p)));
        return ports;
}

/* A slice there is with these ports and this family, not yet taken by another subset. */
static struct object *take_existing(struct mirror *m, const char *family, const struct json *ports) {
        struct json none = json_new_array();

        for (size_t i = 0; i < m->existing.n; i++) {
                const struct json *doc = object_json(m->existing.v[i]), *have = EndpointSlice_ports(doc);

                if (m->kept[i] || !str_eqc(EndpointSlice_addressType(doc), family) ||
                    !json_equal(json_is(have, JSON_ARRAY) ? have : &none, ports))
                        continue;
                m->kept[i] = true;
                return m->existing.v[i];
        }
        return NULL;
}

static int write_slice(struct mirror *m, const struct json *subset, bool v6, struct error *err) {
        const char *family = v6 ? "IPv6" : "IPv4";
        struct json endpoints = json_new_array(), ports = ports_of(m->a, subset), body, ref;

        add_addresses(m, &endpoints, EndpointSubset_addresses(subset), true, v6);
        add_addresses(m, &endpoints, EndpointSubset_notReadyAddresses(subset), false, v6);
        if (json_len(&endpoints) == 0)
                return 0;
        struct object *slice = take_existing(m, family, &ports);
        if (!slice) {
                ref = controller_ref(m->a, &res_endpoints, m->endpoints);
                body = json_build(m->a,
                                  "{ kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1', metadata: { "
                                  "generateName: %s,"
                                  "  namespace: %s, labels: %j, ownerReferences: [ %j ] }, addressType: %c, endpoints: "
                                  "%j,"
                                  "  ports: %j }",
                                  arena_printf(m->a, "%" STR_FMT "-", STR_ARG(object_name(m->endpoints))),
                                  object_namespace(m->endpoints), &m->labels, &ref, family, &endpoints, &ports);
                return controller_create(m->c, &res_endpointslices, object_namespace(m->endpoints), &body, NULL, err);
        }
        if (json_equal(EndpointSlice_endpoints(object_json(slice)), &endpoints) &&
            json_equal(ObjectMeta_labels(EndpointSlice_metadata(object_json(slice))), &m->labels))
                return 0;
        body = json_copy_tree(m->a, object_json(slice));
        json_setc(m->a, json_get_or_add_object(m->a, &body, "metadata"), "labels", m->labels);
        json_setc(m->a, &body, "endpoints", endpoints);
        return controller_update(m->c, &res_endpointslices, STR(""), &body, err);
}

/* ---- reconcile ---- */

static struct object_list slices_of(struct controller *c, struct arena *a, struct str ns, struct str name) {
        struct object *const *all;
        size_t n = informer_index_get(c->state, ns, &all);
        struct object_list ours = { arena_array(a, struct object *, n + 1), 0 };

        for (size_t i = 0; i < n; i++)
                if (str_eqc(object_label(all[i], STR(MANAGED_BY)), MANAGER) &&
                    str_eq(object_label(all[i], STR(SERVICE_NAME)), name) && !object_deleting(all[i]))
                        ours.v[ours.n++] = all[i];
        return ours;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct mirror m = { .c = c, .a = a, .endpoints = informer_get(controller_informer(c, &res_endpoints), key) };
        struct str ns, name;
        int r = 0;

        object_key_split(key, &ns, &name);
        m.existing = slices_of(c, a, ns, name);
        m.kept = arena_array(a, bool, m.existing.n + 1);
        if (is_mirrored(c, m.endpoints, key)) {
                m.labels = labels_for(a, m.endpoints);
                json_each_item(subset, Endpoints_subsets(object_json(m.endpoints)))
                        for (int v6 = 0; v6 < 2 && r == 0; v6++)
                                r = write_slice(&m, subset, v6, err);
        }
        for (size_t i = 0; i < m.existing.n && r == 0; i++)
                if (!m.kept[i])
                        r = controller_delete(c, &res_endpointslices, m.existing.v[i], NULL, err);
        return r;
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        *ret_state = informer_add_index(controller_informer(c, &res_endpointslices), "namespace",
                                        informer_index_by_namespace);
        return 0;
}

const struct controller_class endpointslicemirroring_controller = {
        .name = "endpointslicemirroring-controller",
        .watches = { { &res_endpoints, enqueue_self },
                     { &res_services, enqueue_self },
                     { &res_endpointslices, enqueue_service_by_label } },
        .init = init,
        .reconcile = reconcile,
};
