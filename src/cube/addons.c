/* What a cluster has beyond its API: cluster DNS as a Service, with the role it reads the cluster by. kubeadm's names,
 * so that what looks for them finds them. */
#include "cube/server.h"
#include "json/yaml.h"

static const char dns_manifest[] =
                "apiVersion: rbac.authorization.k8s.io/v1\n"
                "kind: ClusterRole\n"
                "metadata: {name: \"system:coredns\"}\n"
                "rules:\n"
                "- {apiGroups: [\"\"], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}\n"
                "- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}\n"
                "---\n"
                "apiVersion: rbac.authorization.k8s.io/v1\n"
                "kind: ClusterRoleBinding\n"
                "metadata: {name: \"system:coredns\"}\n"
                "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: \"system:coredns\"}\n"
                "subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]\n"
                "---\n"
                "apiVersion: v1\n"
                "kind: Service\n"
                "metadata:\n"
                "  name: kube-dns\n"
                "  namespace: kube-system\n"
                "  labels: {k8s-app: kube-dns, kubernetes.io/cluster-service: \"true\", kubernetes.io/name: CoreDNS}\n"
                "spec:\n"
                "  clusterIP: %s\n"
                "  ports:\n"
                "  - {name: dns, protocol: UDP, port: 53, targetPort: %d}\n"
                "  - {name: dns-tcp, protocol: TCP, port: 53, targetPort: %d}\n"
                "---\n"
                "apiVersion: discovery.k8s.io/v1\n"
                "kind: EndpointSlice\n"
                "metadata:\n"
                "  name: kube-dns\n"
                "  namespace: kube-system\n"
                "  labels: {kubernetes.io/service-name: kube-dns, endpointslice.kubernetes.io/managed-by: cube}\n"
                "addressType: IPv4\n"
                "endpoints:\n"
                "- {addresses: [%s], conditions: {ready: true}, nodeName: %s}\n"
                "ports:\n"
                "- {name: dns, protocol: UDP, port: %d}\n"
                "- {name: dns-tcp, protocol: TCP, port: %d}\n";

/* Brings what is there up to date, as the node's address and the port may have changed, or creates it. (The other way
 * about a Service of a second start is refused for its address, before anybody sees that it is there.) */
static int ensure(struct client *c, const struct json *want, struct error *err) {
        struct str group, version, name = json_str(json_at_path(want, "metadata", "name")),
                                   ns = json_str(json_at_path(want, "metadata", "namespace"));
        TRY(api_parse_group_version(json_str(json_getc(want, "apiVersion")), &group, &version, err));
        const struct api_resource *res = api_find_kind(group, version, json_str(json_getc(want, "kind")));
        int r = client_patch(c, res, ns, name, str_n("", 0), API_PATCH_MERGE, want, NULL, err);
        if (r != -ENOENT)
                return r;
        error_clear(err);
        return client_create(c, res, ns, want, NULL, err);
}

int addons_ensure_dns(struct client *c, const struct cluster *cluster, uint16_t port, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(8192);
        struct json *all;
        char ip[46];
        cluster_service_ip(cluster, 10, ip);
        struct str text =
                        arena_printf(a, dns_manifest, ip, port, port, cluster->node_ip, cluster->node_name, port, port);
        int r = yaml_parse_all(a, text, &all, err);
        json_each_item(o, all) {
                if (r == 0)
                        r = ensure(c, o, err);
        }
        return r;
}
