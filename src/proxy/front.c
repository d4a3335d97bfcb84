/* From a Service and its EndpointSlices to fronts. Which endpoints count: ready ones; where there is none, those that
 * still serve while they end (KEP-1669); with a traffic policy of Local only this node's. */
#include "base/encode.h"
#include "base/vec.h"
#include "proxy/front.h"
#include "schema/types.h"

void front_free(void *p) {
        struct front *f = p;
        free_all(f->backends, f->ids, f);
}

static int by_number(const void *a, const void *b) {
        backend_t x = *(const backend_t *) a, y = *(const backend_t *) b;
        return x < y ? -1 : x > y;
}

const backend_t *front_find(const struct front *f, backend_t b) {
        return f->n ? bsearch(&b, f->backends, f->n, sizeof(b), by_number) : NULL;
}

struct build {
        struct str service;
        const struct json *spec;
        struct object *const *slices;
        size_t n_slices;
        const char *node_name;
        struct map *want;
};

/* ---- endpoints ---- */

static bool usable(const struct json *endpoint, bool ending_too) {
        const struct json *c = Endpoint_conditions(endpoint);
        if (!ending_too)
                return json_bool_or(json_getc(c, "ready"), true);
        return json_bool_or(json_getc(c, "serving"), true) && json_bool(json_getc(c, "terminating"));
}

static int64_t slice_port(const struct json *slice, struct str name, struct str protocol) {
        json_each_item(p, EndpointSlice_ports(slice))
                if (str_eq(EndpointPort_name(p), name) &&
                    str_eq(json_str_or(json_getc(p, "protocol"), STR("TCP")), protocol))
                        return EndpointPort_port(p);
        return 0;
}

/* Returns how many there are; sets f's when it is not NULL. */
static size_t find_backends(const struct build *b, struct front *f, struct str port_name, struct str protocol,
                            bool local, bool ending) {
        VEC(backend_t) found = { 0 };
        for (size_t i = 0; i < b->n_slices; i++) {
                const struct json *slice = object_json(b->slices[i]);
                int64_t port = slice_port(slice, port_name, protocol);
                if (port <= 0 || port > 65535 || !str_eq(EndpointSlice_addressType(slice), STR("IPv4")))
                        continue;
                json_each_item(e, EndpointSlice_endpoints(slice)) {
                        uint32_t ip;
                        if (usable(e, ending) && (!local || str_eqc(Endpoint_nodeName(e), b->node_name)) &&
                            ipv4_parse(json_str(json_item(Endpoint_addresses(e), 0)), &ip))
                                vec_push(&found, (backend_t) ip << 16 | (backend_t) port);
                }
        }
        size_t n = 0;
        if (found.n)
                qsort(found.v, found.n, sizeof(*found.v), by_number);
        for (size_t i = 0; i < found.n; i++)
                if (!n || found.v[n - 1] != found.v[i])
                        found.v[n++] = found.v[i];
        if (f) {
                free(f->backends);
                f->backends = found.v;
                f->n = n;
        } else {
                vec_free(&found);
        }
        return n;
}

/* ---- fronts ---- */

static const char *nft_protocol(struct str protocol) {
        return str_eq(protocol, STR("UDP")) ? "udp" : str_eq(protocol, STR("SCTP")) ? "sctp" : "tcp";
}

/* address empty: a NodePort. external: traffic from outside the cluster, whose source has to be ours unless it stays on
 * this node. */
static void add_front(const struct build *b, const struct json *port, struct str address, bool external) {
        struct str protocol = json_str_or(json_getc(port, "protocol"), STR("TCP")), name = ServicePort_name(port);
        bool local = str_eq(external ? ServiceSpec_externalTrafficPolicy(b->spec)
                                     : ServiceSpec_internalTrafficPolicy(b->spec),
                            STR("Local"));
        uint32_t ip = 0;
        if (address.n && !ipv4_parse(address, &ip))
                return; /* of the other address family, or no address at all */
        struct front *f = xcalloc(1, sizeof(*f));
        f->node = !address.n;
        f->external = external;
        f->ip = ip;
        f->port = (uint16_t) (f->node ? ServicePort_nodePort(port) : ServicePort_port(port));
        f->udp = str_eq(protocol, STR("UDP"));
        f->masquerade = external && !local;
        snprintf(f->service, sizeof(f->service), "%" STR_FMT, STR_ARG(b->service));
        snprintf(f->key, sizeof(f->key), "%" STR_FMT "%s%s . %d", STR_ARG(address), f->node ? "" : " . ",
                 nft_protocol(protocol), f->port);
        if (str_eq(ServiceSpec_sessionAffinity(b->spec), STR("ClientIP")))
                f->affinity = json_int_or(json_at_path(b->spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"),
                                          10800);
        if (!find_backends(b, f, name, protocol, local, false) && !find_backends(b, f, name, protocol, local, true) &&
            local)
                f->drop = find_backends(b, NULL, name, protocol, false, false) >
                          0; /* others serve it: say nothing rather than refuse */
        map_put(b->want, str_of(f->key), f);
}

static void add_port(const struct build *b, const struct json *port, const struct json *status) {
        json_each_item(a, ServiceSpec_clusterIPs(b->spec))
                if (!str_eq(json_str(a), STR("None")))
                        add_front(b, port, json_str(a), false);
        json_each_item(a, ServiceSpec_externalIPs(b->spec))
                add_front(b, port, json_str(a), true);
        json_each_item(i, LoadBalancerStatus_ingress(ServiceStatus_loadBalancer(status)))
                if (LoadBalancerIngress_ip(i).n && !str_eq(LoadBalancerIngress_ipMode(i), STR("Proxy")))
                        add_front(b, port, LoadBalancerIngress_ip(i), true);
        if (ServicePort_nodePort(port))
                add_front(b, port, str_n("", 0), true);
}

struct map *fronts_wanted(struct str key, const struct object *service, struct object *const *slices, size_t n_slices,
                          const char *node_name) {
        struct build b = { .service = key,
                           .slices = slices,
                           .n_slices = n_slices,
                           .node_name = node_name,
                           .want = map_new(front_free) };
        if (!service || object_label(service, STR("service.kubernetes.io/service-proxy-name")).p /* another proxy's */
            || object_label(service, STR("service.kubernetes.io/headless")).p)                   /* nobody's */
                return b.want;
        b.spec = Service_spec(object_json(service));
        if (str_eq(ServiceSpec_type(b.spec), STR("ExternalName")))
                return b.want;
        json_each_item(port, ServiceSpec_ports(b.spec))
                add_port(&b, port, Service_status(object_json(service)));
        return b.want;
}
