/* What a cluster has beyond its API: the kube-dns Service, whose endpoint is the DNS server in this program. */
#include <errno.h>

#include "base/log.h"
#include "cube/server.h"
#include "schema/types.h"

#define NAMESPACE STR("kube-system")

static struct json metadata(struct arena *a, const char *name, struct json labels) {
        struct json m = json_new_object();
        json_set_cstr(a, &m, "name", name);
        json_set_str(a, &m, "namespace", NAMESPACE);
        json_setc(a, &m, "labels", labels);
        return m;
}

static void dns_ports(struct arena *a, struct json *array, int64_t port, int64_t target) {
        static const char *const ports[][2] = { { "dns", "UDP" }, { "dns-tcp", "TCP" } };
        for (size_t i = 0; i < ARRAY_SIZE(ports); i++) {
                struct json p = json_new_object();
                json_set_cstr(a, &p, "name", ports[i][0]);
                json_set_cstr(a, &p, "protocol", ports[i][1]);
                json_set_int(a, &p, "port", port);
                if (target)
                        json_set_int(a, &p, "targetPort", target);
                json_push(a, array, p);
        }
}

static struct json dns_service(struct arena *a, const char *cluster_ip, uint16_t port) {
        struct json labels = json_new_object(), o = json_new_object();
        json_set_cstr(a, &labels, "k8s-app", "kube-dns");
        json_set_cstr(a, &labels, "kubernetes.io/cluster-service", "true");
        json_set_cstr(a, &labels, "kubernetes.io/name", "CoreDNS");
        json_set_cstr(a, &o, "kind", "Service");
        json_set_cstr(a, &o, "apiVersion", "v1");
        json_setc(a, &o, "metadata", metadata(a, "kube-dns", labels));
        struct json *spec = json_get_or_add_object(a, &o, "spec");
        json_set_cstr(a, spec, "clusterIP", cluster_ip);
        dns_ports(a, json_get_or_add_array(a, spec, "ports"), 53, port);
        return o;
}

static struct json dns_slice(struct arena *a, const char *address, const char *node, uint16_t port) {
        struct json labels = json_new_object(), o = json_new_object(), e = json_new_object();
        json_set_cstr(a, &labels, "kubernetes.io/service-name", "kube-dns");
        json_set_cstr(a, &labels, "endpointslice.kubernetes.io/managed-by", "cube");
        json_set_cstr(a, &o, "kind", "EndpointSlice");
        json_set_cstr(a, &o, "apiVersion", "discovery.k8s.io/v1");
        json_setc(a, &o, "metadata", metadata(a, "kube-dns", labels));
        json_set_cstr(a, &o, "addressType", "IPv4");
        json_push(a, json_get_or_add_array(a, &e, "addresses"), json_of_cstr(address));
        json_set_bool(a, json_get_or_add_object(a, &e, "conditions"), "ready", true);
        json_set_cstr(a, &e, "nodeName", node);
        json_push(a, json_get_or_add_array(a, &o, "endpoints"), e);
        dns_ports(a, json_get_or_add_array(a, &o, "ports"), port, 0);
        return o;
}

/* Creates it, or brings what is there up to date: the node's address and the port may have changed since. */
static int ensure(struct client *c, const struct api_resource *res, const struct json *want, const char *const fields[], struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        int r = client_create(c, res, NAMESPACE, want, NULL, err);
        if (r != -EEXIST)
                return r;
        error_clear(err);
        struct json patch = json_new_object();
        for (const char *const *f = fields; *f; f++)
                json_setc(a, &patch, *f, *json_getc(want, *f));
        return client_patch(c, res, NAMESPACE, STR("kube-dns"), str_n("", 0), API_PATCH_MERGE, &patch, NULL, err);
}

int addons_ensure_dns(struct client *c, const struct cluster *cluster, uint16_t port, struct error *err) {
        static const char *const service_fields[] = { "spec", NULL }, *const slice_fields[] = { "endpoints", "ports", NULL };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        char ip[46];
        cluster_service_ip(cluster, 10, ip);
        struct json service = dns_service(a, ip, port), slice = dns_slice(a, cluster->node_ip, cluster->node_name, port);
        int r = ensure(c, &res_services, &service, service_fields, err);
        return r < 0 ? r : ensure(c, &res_endpointslices, &slice, slice_fields, err);
}
