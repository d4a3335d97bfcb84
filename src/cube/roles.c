/* One role in a process of its own, as upstream's programs run: the API server with its store, the others as clients of
 * any API server through a kubeconfig. */
#include "base/log.h"
#include "cube/server.h"

static const struct flag role_flags[] = {
        { "kubeconfig", FLAG_STRING, offsetof(struct flags, kubeconfig), "FILE", "how to reach the API server" },
        { "service-cidr", FLAG_STRING, offsetof(struct flags, service_cidr), "CIDR",
          "addresses of Services (default 10.96.0.0/12)" },
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
};

static void role_free(struct role *r) {
        if (r->client)
                client_free(r->client);
        pki_free(&r->pki);
        cluster_free(&r->cluster);
}

static int role_init(struct role *role, const struct flags *f, bool needs_pki, bool needs_client, const char *name,
                     struct error *err) {
        bool new;
        server_block_signals();
        log_set_component(name);
        int r = cluster_resolve(f, &role->cluster, &new, err);
        if (r == 0 && needs_pki)
                r = load_pki(&role->cluster, &role->pki, NULL, err);
        if (r == 0 && needs_client) {
                bool kube = !str_eqc(str_of(name), "kubelet") && !str_eqc(str_of(name), "dns"); /* as upstream's */
                _cleanup_free_ char *agent = xprintf("%s%s/" CUBE_VERSION, kube ? "kube-" : "", name);
                if (!f->kubeconfig)
                        return error_set(err, -EINVAL, "cube %s needs --kubeconfig FILE", name);
                r = client_new_kubeconfig(f->kubeconfig, agent, &role->client, err);
        }
        return r;
}

static int run_apiserver(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct control_plane cp = { 0 };
        int r = role_init(&role, f, true, false, "apiserver", err);
        if (r == 0)
                r = control_plane_start(&role.cluster, &role.pki, &cp, err);
        if (r == 0)
                server_wait(NULL, NULL);
        control_plane_stop(&cp);
        return r;
}

static int run_controllers(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct controllers *c = NULL;
        int r = role_init(&role, f, true, true, "controller-manager", err);
        if (r == 0)
                r = start_controllers(&role.cluster, &role.pki, role.client, &c, err);
        if (r == 0)
                server_wait(NULL, NULL);
        if (c)
                controllers_stop(c);
        return r;
}

static int run_scheduler(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct scheduler *s = NULL;
        int r = role_init(&role, f, false, true, "scheduler", err);
        struct scheduler_options o = { .client = role.client };
        if (r == 0)
                r = scheduler_start(&o, &s, err);
        if (r == 0)
                server_wait(NULL, NULL);
        if (s)
                scheduler_stop(s);
        return r;
}

static int run_kubelet(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct node_roles n = { 0 };
        int r = role_init(&role, f, true, true, "kubelet", err);
        if (r == 0)
                r = node_roles_start(&role.cluster, &role.pki, role.client, NULL, NULL, &n, err);
        if (r == 0)
                server_wait(NULL, NULL);
        node_roles_stop(&n);
        return r;
}

static int run_proxy(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct proxy *p = NULL;
        int r = role_init(&role, f, false, true, "proxy", err);
        if (r == 0)
                r = start_proxy(&role.cluster, role.client, &p, err);
        if (r == 0)
                server_wait(NULL, NULL);
        if (p)
                proxy_stop(p);
        return r;
}

static int run_dns(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_(role_free) struct role role = { 0 };
        struct dns *d = NULL;
        int r = role_init(&role, f, false, true, "dns", err);
        if (r == 0)
                r = start_dns(&role.cluster, role.client, &d, err);
        if (r == 0)
                r = addons_ensure_dns(role.client, &role.cluster, dns_port(d), err);
        if (r == 0)
                server_wait(NULL, NULL);
        if (d)
                dns_stop(d);
        return r;
}

#define ROLE(var, cmd, text, fn) \
        const struct command cmd_##var = { .name = cmd, .summary = text, .run = fn, .flags = role_flags, .root = true }
const struct command cmd_apiserver = { .name = "apiserver",
                                       .summary = "Runs the API server and its store",
                                       .run = run_apiserver,
                                       .flags = role_flags,
                                       .root = true,
                                       .apiserver = true };
ROLE(controller_manager, "controller-manager", "Runs the controllers", run_controllers);
ROLE(scheduler, "scheduler", "Runs the scheduler", run_scheduler);
ROLE(kubelet, "kubelet", "Runs the node agent", run_kubelet);
ROLE(proxy, "proxy", "Runs the service proxy", run_proxy);
ROLE(dns, "dns", "Runs the cluster's DNS", run_dns);
