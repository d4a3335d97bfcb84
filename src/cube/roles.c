/* One role in a process of its own, as upstream's programs run: the API server with its store, the others as clients of
 * any API server through a kubeconfig. */
#include "base/log.h"
#include "cube/server.h"

static const struct flag role_flags[] = {
        { "kubeconfig", FLAG_STRING, offsetof(struct flags, kubeconfig), "FILE", "how to reach the API server" },
        { "service-cidr", FLAG_STRING, offsetof(struct flags, service_cidr), "CIDR",
          "addresses of Services (default 10.96.0.0/12); the API server takes IPv6 ones, or one of each" },
        { "cluster-cidr", FLAG_STRING, offsetof(struct flags, cluster_cidr), "CIDR",
          "addresses of pods (default 10.244.0.0/16)" },
        { "node-name", FLAG_STRING, offsetof(struct flags, node_name), "NAME", "of this node (default the host name)" },
        { "node-ip", FLAG_STRING, offsetof(struct flags, node_ip), "IP",
          "of this node (default that of the default route)" },
        { "api-port", FLAG_PORT, offsetof(struct flags, api_port), "PORT", "of the API server (default 6443)" },
        { "kubelet-port", FLAG_PORT, offsetof(struct flags, kubelet_port), "PORT",
          "of the node agent (default 10250)" },
        { NULL },
};

struct role {
        struct cluster cluster;
        struct pki pki;
        struct client *client;
        struct control_plane control;
        struct controllers *controllers;
        struct scheduler *scheduler;
        struct node_roles node;
        struct proxy *proxy;
        struct dns *dns;
};

static void role_free(struct role *r) {
        if (r->dns)
                dns_stop(r->dns);
        if (r->proxy)
                proxy_stop(r->proxy);
        node_roles_stop(&r->node);
        if (r->scheduler)
                scheduler_stop(r->scheduler);
        if (r->controllers)
                controllers_stop(r->controllers);
        if (r->client)
                client_free(r->client);
        control_plane_stop(&r->control);
        pki_free(&r->pki);
        cluster_free(&r->cluster);
}

static int begin_apiserver(struct role *r, struct error *err) {
        return control_plane_start(&r->cluster, &r->pki, &r->control, err);
}

static int begin_controllers(struct role *r, struct error *err) {
        return start_controllers(&r->cluster, &r->pki, r->client, &r->controllers, err);
}

static int begin_scheduler(struct role *r, struct error *err) {
        return scheduler_start(&(struct scheduler_options) { .client = r->client }, &r->scheduler, err);
}

static int begin_kubelet(struct role *r, struct error *err) {
        return node_roles_start(&r->cluster, &r->pki, r->client, NULL, NULL, &r->node, err);
}

static int begin_proxy(struct role *r, struct error *err) {
        return start_proxy(&r->cluster, r->client, &r->proxy, err);
}

static int begin_dns(struct role *r, struct error *err) {
        TRY(start_dns(&r->cluster, r->client, &r->dns, err));
        return addons_ensure_dns(r->client, &r->cluster, dns_port(r->dns), err);
}

struct role_kind {
        const char *name, *agent; /* agent: how it calls itself, as upstream's does; NULL: it is no client */
        bool needs_pki;
        int (*begin)(struct role *r, struct error *err);
};

static int run(const struct role_kind *k, struct flags *f, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        bool new;
        server_block_signals();
        log_set_component(k->name);
        f->api_alone = !k->agent;
        TRY(cluster_resolve(f, &role.cluster, &new, err));
        TRY(k->needs_pki ? load_pki(&role.cluster, &role.pki, NULL, err) : 0);
        if (k->agent && !f->kubeconfig)
                return error_set(err, -EINVAL, "cube %s needs --kubeconfig FILE", k->name);
        TRY(k->agent ? client_new_kubeconfig(f->kubeconfig, k->agent, &role.client, err) : 0);
        TRY(k->begin(&role, err));
        server_wait(NULL, NULL);
        server_wait_no_longer();
        return 0;
}

#define ROLE(id, its_name, its_agent, pki, text, ...)                                                              \
        static int run_##id(struct flags *f, int argc, char **argv, struct error *err) {                           \
                static const struct role_kind kind = { its_name, its_agent, pki, begin_##id };                     \
                return run(&kind, f, err);                                                                         \
        }                                                                                                          \
        const struct command cmd_##id = {                                                                          \
                .name = its_name, .summary = text, .run = run_##id, .flags = role_flags, .root = true, __VA_ARGS__ \
        };
ROLE(apiserver, "apiserver", NULL, true, "Runs the API server and its store", .apiserver = true)
ROLE(controllers, "controller-manager", "kube-controller-manager/" CUBE_VERSION, true, "Runs the controllers")
ROLE(scheduler, "scheduler", "kube-scheduler/" CUBE_VERSION, false, "Runs the scheduler")
ROLE(kubelet, "kubelet", "kubelet/" CUBE_VERSION, true, "Runs the node agent")
ROLE(proxy, "proxy", "kube-proxy/" CUBE_VERSION, false, "Runs the service proxy")
ROLE(dns, "dns", "dns/" CUBE_VERSION, false, "Runs the cluster's DNS")
