/* `cube server`: every role in one process, over the in-process client. Starting is a straight line: each line needs
 * those above. */
#include <malloc.h>
#include <sys/resource.h>

#include "apiserver/flags.h"
#include "base/log.h"
#include "client/kubeconfig.h"
#include "cube/control.h"
#include "cube/server.h"
#include "cube/step.h"

#define OTHERS_TIMEOUT_MS 10000 /* of a call: the controllers wait for it */
/* How long requests under way may go on when the API server is to stop: as long as they may ever, as upstream's; in a
 * whole cluster less, as `cube stop` waits for it. */
#define DRAIN_MS 60000
#define CLUSTER_DRAIN_MS 10000

int load_pki(const struct cluster *c, struct pki *ret, bool *ret_changed, struct error *err) {
        char api_ip[46];
        cluster_service_ip(c, 1, api_ip);
        _cleanup_free_ char *dir = cluster_path(c, "pki");
        struct pki_options o = { .dir = dir,
                                 .node_name = c->node_name,
                                 .node_ip = c->node_ip,
                                 .api_service_ip = api_ip,
                                 .cluster_domain = CLUSTER_DOMAIN };
        return pki_load(&o, ret, ret_changed, err);
}

/* ---- roles ---- */

/* The lines of name=value as a list, in a; before them who speaks for users to aggregated API servers, and is believed
 * when it does so to us, unless they name an authority of their own for that. */
static const char *const *apiserver_args(struct arena *a, const struct cluster *c) {
        struct str rest = str_of(c->apiserver_flags), line;
        _cleanup_free_ char *dir = cluster_path(c, "pki");
        const char **args = arena_array(a, const char *, rest.n / 2 + 5);
        size_t n = 0;
        args[n++] = arena_printf(a, "requestheader-client-ca-file=%s/front-proxy-ca.crt", dir).p;
        args[n++] = "requestheader-allowed-names=front-proxy-client";
        args[n++] = arena_printf(a, "proxy-client-cert-file=%s/front-proxy-client.crt", dir).p;
        args[n++] = arena_printf(a, "proxy-client-key-file=%s/front-proxy-client.key", dir).p;
        while (str_split(&rest, '\n', &line))
                if (line.n > 0)
                        args[n++] = arena_cstr(a, line);
        return flag_value(args + 4, "requestheader-client-ca-file", NULL) ? args + 2 : args;
}

int control_plane_start(const struct cluster *c, const struct pki *p, struct control_plane *ret, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_free_ char *dir = cluster_path(c, "store");
        const char *const *args = apiserver_args(a, c);
        const char *encryption = flag_value(args, "encryption-provider-config", NULL);
        struct apiserver_options ao = {
                .args = args,
                .address = "0.0.0.0",
                .port = c->api_port,
                .cert_pem = str_of(p->apiserver_cert),
                .key_pem = str_of(p->apiserver_key),
                .client_ca_pem = str_of(p->ca_cert),
                .service_account_key_pem = str_of(p->sa_key),
                .service_account_issuer = "https://kubernetes.default.svc." CLUSTER_DOMAIN,
                .kubelet_client_cert_pem = str_of(p->apiserver_kubelet_cert),
                .kubelet_client_key_pem = str_of(p->apiserver_kubelet_key),
                .kubelet_ca_pem = str_of(p->ca_cert),
                .service_cidr = c->service_cidr,
                .node_port_min = 30000,
                .node_port_max = 32767,
                .advertise_address = c->node_ip,
                .anonymous = true,
        };
        TRY(apiserver_check(&ao, err));
        TRY(encryption ? encryption_new(encryption, &ret->encryption, err) : 0);
        struct store_options so = { .path = dir, .cipher = encryption_cipher(ret->encryption) };
        TRY(store_open(&so, &ret->store, err));
        encryption_serve(ret->encryption, ret->store);
        ao.encryption = ret->encryption;
        ao.store = ret->store;
        TRY(apiserver_new(&ao, &ret->api, err));
        TRY(apiserver_bootstrap(ret->api, err));
        return apiserver_listen(ret->api, err);
}

void control_plane_stop(struct control_plane *cp) {
        if (cp->api) {
                apiserver_stop(cp->api, DRAIN_MS);
                apiserver_free(cp->api);
        }
        encryption_serve(cp->encryption, NULL);
        store_close(cp->store);
        encryption_free(cp->encryption);
        *cp = (struct control_plane) { 0 };
}

int start_controllers(const struct cluster *c, const struct pki *p, struct client *client, struct controllers **ret,
                      struct error *err) {
        struct controllers_options o = {
                .client = client,
                .cluster_cidr = c->cluster_cidr,
                .node_cidr_mask = 24,
                .root_ca_pem = str_of(p->ca_cert),
                .service_account_key_pem = str_of(p->sa_key),
                .signer_cert_pem = str_of(p->ca_cert),
                .signer_key_pem = str_of(p->ca_key),
        };
        return controllers_start(&o, ret, err);
}

int start_proxy(const struct cluster *c, struct client *client, struct proxy **ret, struct error *err) {
        struct proxy_options o = {
                .client = client, .node_name = c->node_name, .nft_table = c->nft_table, .cluster_cidr = c->cluster_cidr
        };
        return proxy_start(&o, ret, err);
}

int start_dns(const struct cluster *c, struct client *client, struct dns **ret, struct error *err) {
        struct dns_options o = { .client = client, .domain = CLUSTER_DOMAIN, .address = c->node_ip, .port = DNS_PORT };
        int r = dns_start(&o, ret, err);
        if (r < 0) {
                /* Another cluster on this host has that port: any other will do, the Service tells which. */
                o.port = 0;
                error_clear(err);
                r = dns_start(&o, ret, err);
        }
        return r;
}

int node_roles_start(const struct cluster *c, const struct pki *p, struct client *client, void (*ready)(void *arg),
                     void *arg, struct node_roles *ret, struct error *err) {
        struct net_options no = node_net_options(c, client);
        int r = net_start(&no, &ret->net, err);
        node_net_options_free(&no);
        TRY(r);
        TRY(node_runtime_new(c, net_pod_network(ret->net), &ret->runtime, err));
        char dns_ip[46];
        cluster_service_ip(c, 10, dns_ip);
        /* In a node of its own, /var/log is still the host's: its logs stay with its data. */
        bool host_logs = !c->isolated && strcmp(c->name, CUBE_DEFAULT_NAME) == 0;
        _cleanup_free_ char *root = cluster_path(c, "kubelet"), *logs = cluster_path(c, "log/pods");
        struct kubelet_options ko = {
                .client = client,
                .runtime = ret->runtime,
                .network = net_pod_network(ret->net),
                .node_name = c->node_name,
                .node_ips = { c->node_ip },
                .root_dir = root,
                .pod_log_dir = host_logs ? NODE_POD_LOGS : logs,
                .container_log_dir = host_logs ? NODE_CONTAINER_LOGS : "",
                .cluster_dns = dns_ip,
                .cluster_domain = CLUSTER_DOMAIN,
                .port = c->kubelet_port,
                .cert_pem = str_of(p->kubelet_cert),
                .key_pem = str_of(p->kubelet_key),
                .client_ca_pem = str_of(p->ca_cert),
                .node_ready = ready,
                .arg = arg,
        };
        return kubelet_start(&ko, &ret->kubelet, err);
}

void node_roles_stop(struct node_roles *n) {
        if (n->kubelet) {
                kubelet_stop(n->kubelet);
                kubelet_free(n->kubelet);
        }
        runtime_free(n->runtime);
        if (n->net)
                net_stop(n->net);
        *n = (struct node_roles) { 0 };
}

/* ---- the process ---- */

void server_block_signals(void) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        /* Each connection, watch and log is a descriptor: take what the system gives. */
        struct rlimit files;
        if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
                files.rlim_cur = files.rlim_max;
                setrlimit(RLIMIT_NOFILE, &files);
        }
        mallopt(M_ARENA_MAX, 2); /* a dozen threads must not each hoard a heap */
}

void server_wait(bool (*tick)(void *arg), void *arg) {
        const struct timespec half_a_day = { .tv_sec = 12 * 3600 };
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        for (;;) {
                int sig = sigtimedwait(&set, NULL, &half_a_day);
                if (sig > 0)
                        return;
                if (errno == EAGAIN && tick && tick(arg))
                        return;
        }
}

static void end_now(int sig) {
        _exit(EXIT_FAILURE);
}

void server_wait_no_longer(void) {
        static const int signals[] = { SIGTERM, SIGINT };
        sigset_t set;

        sigemptyset(&set);
        for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
                signal(signals[i], end_now);
                sigaddset(&set, signals[i]);
        }
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void on_node_ready(void *arg) {
        const struct cluster *c = arg;
        step_report("node %s is Ready", c->node_name);
        step_ready();
        if (getenv("CUBE_WRITE_KUBECONFIG")) {
                _cleanup_error_ struct error err = ERROR_INIT;
                if (kubeconfig_write_user(c, &err) < 0)
                        log_warn("the kubeconfig could not be written: %s", error_text(&err));
        }
}

struct role_users {
        struct api_user controllers, scheduler, node, proxy, dns;
        struct str node_name, groups[2];
};

/* The users that the roles are in any cluster, so that what RBAC gives them is what it gives upstream's. */
static void name_users(struct role_users *u, const struct cluster *c) {
        u->node_name = str_of(xprintf("system:node:%s", c->node_name));
        u->groups[0] = STR("system:nodes");
        u->groups[1] = STR("system:authenticated");
        struct api_user plain = { .groups = &u->groups[1], .n_groups = 1 };
        u->controllers = u->scheduler = u->proxy = u->dns = plain;
        u->controllers.name = STR("system:kube-controller-manager");
        u->scheduler.name = STR("system:kube-scheduler");
        u->proxy.name = STR("system:kube-proxy");
        u->dns.name = STR("system:serviceaccount:kube-system:coredns");
        u->node = (struct api_user) { .name = u->node_name, .groups = u->groups, .n_groups = 2 };
}

struct server {
        const struct cluster *cluster;
        struct pki pki;
        struct control_plane control;
        struct role_users users;
        struct client *c_controllers, *c_scheduler, *c_node, *c_proxy, *c_dns, *c_system;
        struct controllers *controllers;
        struct scheduler *scheduler;
        struct node_roles node;
        struct control *image_control;
        struct proxy *proxy;
        struct dns *dns;
};

/* Objects of other servers (APIServices) are looked after as well, through our own front door. */
static int open_front_door(void *arg, struct client **ret, struct error *err) {
        struct server *s = arg;
        _cleanup_kubeconfig_ struct kubeconfig k = { .server = xprintf("https://127.0.0.1:%d",
                                                                       apiserver_port(s->control.api)) };
        buf_addc(&k.ca_pem, s->pki.ca_cert);
        buf_addc(&k.cert_pem, s->pki.admin_cert);
        buf_addc(&k.key_pem, s->pki.admin_key);
        return client_new_remote(&k, "kube-controller-manager/" CUBE_VERSION, OTHERS_TIMEOUT_MS, ret, err);
}

static int bring_up(struct server *s, struct error *err) {
        const struct cluster *c = s->cluster;
        bool made;
        TRY(load_pki(c, &s->pki, &made, err));
        step_report("certificates %s", made ? "made" : "loaded");
        TRY(control_plane_start(c, &s->pki, &s->control, err));
        step_report("API server on port %d", apiserver_port(s->control.api));

        name_users(&s->users, c);
        s->c_system = client_new_local(s->control.api, &api_user_system);
        s->c_controllers = client_new_local(s->control.api, &s->users.controllers);
        client_reach_others(s->c_controllers, open_front_door, s);
        s->c_scheduler = client_new_local(s->control.api, &s->users.scheduler);
        s->c_node = client_new_local(s->control.api, &s->users.node);
        s->c_proxy = client_new_local(s->control.api, &s->users.proxy);
        s->c_dns = client_new_local(s->control.api, &s->users.dns);
        struct scheduler_options so = { .client = s->c_scheduler };
        TRY(node_roles_start(c, &s->pki, s->c_node, on_node_ready, (void *) c, &s->node, err));
        TRY(control_start(c, s->node.runtime, &s->image_control, err));
        TRY(start_controllers(c, &s->pki, s->c_controllers, &s->controllers, err));
        TRY(scheduler_start(&so, &s->scheduler, err));
        TRY(start_proxy(c, s->c_proxy, &s->proxy, err));
        TRY(addons_ensure_dns(s->c_system, c, DNS_PORT, err)); /* with the role by which it may read */
        TRY(start_dns(c, s->c_dns, &s->dns, err));
        if (dns_port(s->dns) != DNS_PORT)
                TRY(addons_ensure_dns(s->c_system, c, dns_port(s->dns), err));
        step_report("controllers, scheduler, proxy and DNS started");
        return 0;
}

static void take_down(struct server *s) {
        if (s->dns)
                dns_stop(s->dns);
        if (s->proxy)
                proxy_stop(s->proxy);
        if (s->node.runtime)
                runtime_interrupt(s->node.runtime); /* a pull must not hold up the end */
        if (s->image_control)
                control_stop(s->image_control);
        node_roles_stop(&s->node);
        if (s->scheduler)
                scheduler_stop(s->scheduler);
        if (s->controllers)
                controllers_stop(s->controllers);
        struct client *clients[] = { s->c_controllers, s->c_scheduler, s->c_node, s->c_proxy, s->c_dns, s->c_system };
        if (s->control.api)
                apiserver_stop(s->control.api, CLUSTER_DRAIN_MS);
        for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
                if (clients[i])
                        client_free(clients[i]);
        control_plane_stop(&s->control);
        free((char *) s->users.node_name.p);
        pki_free(&s->pki);
}

/* Renewed certificates are taken up by starting anew, which no pod notices: the supervisor (or systemd) starts the
 * server again. */
static bool renew_certificates(void *arg) {
        const struct cluster *c = arg;
        _cleanup_(pki_free) struct pki p = { 0 };
        _cleanup_error_ struct error err = ERROR_INIT;
        bool changed = false;
        if (load_pki(c, &p, &changed, &err) < 0)
                log_error("certificates cannot be renewed: %s", error_text(&err));
        else if (changed)
                log_info("certificates near their end were renewed; starting again with them");
        return changed;
}

int server_run(const struct cluster *c, int step_fd, struct error *err) {
        struct server s = { .cluster = c };
        server_block_signals();
        step_open(step_fd);
        int r = bring_up(&s, err);
        if (r < 0)
                step_fatal(error_text(err));
        else
                server_wait(renew_certificates, (void *) c);
        log_info("stopping");
        take_down(&s);
        return r;
}

static int server(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        const char *fd = getenv("CUBE_STEP_FD");
        TRY(cluster_load(f, &c, err));
        if (f->apiserver) {
                free(c.apiserver_flags);
                c.apiserver_flags = xstrdup(f->apiserver);
        }
        return server_run(&c, fd ? atoi(fd) : -1, err);
}

const struct command cmd_server = { .name = "server",
                                    .summary = "Runs all roles of a cluster in this process (cube start does it)",
                                    .run = server,
                                    .root = true,
                                    .apiserver = true };
