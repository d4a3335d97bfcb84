/* The pod network of a node.
 *
 *    pod netns                  node
 *   ┌───────────┐ veth pair  ┌──────────────────────────────────────┐
 *   │ eth0 .5   ├────────────┤ vethXXXX ── cni0 .1 ── routing, nft ── eth0
 *   └───────────┘            └──────────────────────────────────────┘
 *
 * A pod's address is a /32 with the bridge's as its only neighbour, so that everything goes through the node's routing,
 * to pods beside it too: what was sent to a Service comes back the way it went, with or without br_netfilter, and the
 * source address stays the pod's.
 *
 * table ip <nft>-net: masquerade of what leaves the cluster, and host ports as two maps (with and without a host
 * address). attach and detach run on the kubelet's threads; the Node is watched on the net's own loop. */
#include <arpa/inet.h>
#include <sched.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/vec.h"
#include "client/informer.h"
#include "net/ipam.h"
#include "net/net.h"
#include "net/netlink.h"
#include "net/nft.h"
#include "schema/types.h"

#define RETRY_MS 1000

struct net {
        struct pod_network network; /* first: what the runtime holds is this */
        struct client *client;
        char *node_name, *state_dir, *bridge, *table, *cluster_cidr, *pod_cidr;
        int mtu;
        struct loop *loop;
        struct informer_factory *informers;
        struct timer retry;
        struct ipam *ipam; /* set once, before ready */
        atomic_bool ready;
        pthread_mutex_t rules; /* nft's host ports follow the leases under it */
        bool rules_stale;      /* they did not; all of them are to be written */
        struct map *left;      /* sandboxes detached before there was an ipam */
};

/* ---- names and addresses made from what is known ---- */

static void veth_name(const char *sandbox_id, char dst[static 16]) {
        snprintf(dst, 16, "veth%010llx", (unsigned long long) (str_hash_stable(str_of(sandbox_id)) & 0xffffffffffULL));
}

/* Derived from the address, so that neighbours' ARP entries stay right when an address moves to another pod. */
static void pod_mac(uint32_t ip, uint8_t mac[static 6]) {
        mac[0] = 0x0a;
        mac[1] = 0x58;
        uint32_t be = htonl(ip);
        memcpy(mac + 2, &be, 4);
}

/* ---- host ports ---- */

struct port_rule {
        struct str protocol;
        char host_ip[46]; /* "" is any */
        int64_t host, container;
};

static struct port_rule port_rule(const struct json *j) {
        struct port_rule p = { .protocol = json_str_or(json_getc(j, "protocol"), STR("TCP")),
                               .host = json_int(json_getc(j, "hostPort")),
                               .container = json_int(json_getc(j, "containerPort")) };
        struct str ip = json_str(json_getc(j, "hostIP"));
        uint32_t v4;
        if (ipv4_parse(ip, &v4) && v4 != 0)
                ipv4_format(v4, p.host_ip);
        return p;
}

static void add_port_elements(struct buf *b, const char *table, bool add, uint32_t ip, const struct json *hostports) {
        const char *verb = add ? "add" : "delete";
        char pod[46];
        bool any = false;
        ipv4_format(ip, pod);
        json_each_item(j, hostports) {
                struct port_rule p = port_rule(j);
                const char *proto = str_eq(p.protocol, STR("UDP"))    ? "udp"
                                    : str_eq(p.protocol, STR("SCTP")) ? "sctp"
                                                                      : "tcp";
                if (p.host <= 0 || p.host > 65535)
                        continue;
                buf_printf(b, "%s element ip %s-net %s { %s%s%s . %lld", verb, table,
                           p.host_ip[0] ? "hostports_ip" : "hostports", p.host_ip, p.host_ip[0] ? " . " : "", proto,
                           (long long) p.host);
                if (add)
                        buf_printf(b, " : %s . %lld", pod, (long long) (p.container ? p.container : p.host));
                buf_addc(b, " }\n");
                any = true;
        }
        if (any) /* it may come to its own host port */
                buf_printf(b, "%s element ip %s-net hairpin { %s . %s }\n", verb, table, pod, pod);
}

/* ---- the node's side: rules are changed with n->rules held ---- */

struct ports_ctx {
        struct buf *b;
        const char *table;
};

static void restore_ports(uint32_t ip, const struct json *lease, void *arg) {
        struct ports_ctx *c = arg;
        add_port_elements(c->b, c->table, true, ip, json_getc(lease, "hostports"));
}

static int install_rules(struct net *n, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        const char *t = n->table;
        buf_printf(&b, "add table ip %s-net\ndelete table ip %s-net\n", t, t);
        buf_printf(&b,
                   "table ip %s-net {\n"
                   "  map hostports { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
                   "  map hostports_ip { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
                   "  set hairpin { type ipv4_addr . ipv4_addr; }\n"
                   "  chain ports {\n"
                   "    dnat ip to ip daddr . meta l4proto . th dport map @hostports_ip\n"
                   "    dnat ip to meta l4proto . th dport map @hostports\n"
                   "  }\n"
                   "  chain prerouting { type nat hook prerouting priority dstnat + 5; fib daddr type local jump "
                   "ports; }\n"
                   "  chain output { type nat hook output priority -95; fib daddr type local jump ports; }\n"
                   /* pods must not reach the node's loopback, which route_localnet would let them */
                   "  chain guard { type filter hook prerouting priority raw; iifname \"%s\" ip daddr 127.0.0.0/8 "
                   "drop; }\n"
                   /* they come in and go out by the bridge, on purpose */
                   "  chain redirects { type filter hook output priority filter; oifname \"%s\" icmp type redirect "
                   "drop; }\n"
                   "  chain postrouting {\n"
                   "    type nat hook postrouting priority srcnat;\n"
                   "    ip saddr %s ip daddr != %s ip daddr != 224.0.0.0/4 masquerade\n"
                   "    ip saddr 127.0.0.0/8 oifname \"%s\" masquerade\n"
                   "    ct status dnat ip saddr . ip daddr @hairpin masquerade\n"
                   "  }\n"
                   "}\n",
                   t, n->bridge, n->bridge, n->pod_cidr, n->cluster_cidr, n->bridge);
        struct ports_ctx ctx = { &b, t };
        ipam_each(n->ipam, restore_ports, &ctx);
        buf_putc(&b, 0);
        int r = nft_run(b.p, err);
        n->rules_stale = r < 0;
        return r;
}

static int add_ports(struct net *n, uint32_t ip, const struct json *hostports, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (n->rules_stale)
                return install_rules(n, err);
        add_port_elements(&b, n->table, true, ip, hostports);
        if (!b.n)
                return 0;
        buf_putc(&b, 0);
        return nft_run(b.p, err) < 0 ? error_prefix(err, "host ports of the pod") : 0;
}

/* After the lease's end. Where one of them is not there all are brought to what the leases say. */
static int remove_ports(struct net *n, uint32_t ip, const struct json *hostports, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        add_port_elements(&b, n->table, false, ip, hostports);
        buf_putc(&b, 0);
        if (!n->rules_stale && (b.n == 1 || nft_run(b.p, NULL) == 0))
                return 0;
        return install_rules(n, err);
}

static int set_sysctl(const char *name, const char *value, struct error *err) {
        _cleanup_free_ char *path = xprintf("/proc/sys/net/%s", name);
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (file_read(path, 0, &b, NULL) == 0 && str_eqc(str_trim(buf_str(&b)), value))
                return 0;
        return file_write(path, str_of(value), 0644, err);
}

static int install(struct net *n, struct error *err) {
        uint8_t mac[6];
        uint32_t gateway = ipam_gateway(n->ipam);
        _cleanup_free_ char *localnet = xprintf("ipv4/conf/%s/route_localnet", n->bridge);
        pod_mac(gateway, mac);
        TRY(nl_bridge_add(n->bridge, n->mtu, mac, err));
        TRY(nl_addr_add(n->bridge, gateway, ipam_bits(n->ipam), err));
        TRY(nl_link_up(n->bridge, err));
        TRY(set_sysctl("ipv4/ip_forward", "1", err));
        TRY(set_sysctl(localnet, "1", err));
        return install_rules(n, err);
}

/* Leases of sandboxes that went while they could not be ended yet. */
static int release_left(struct net *n, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *hostports;
        struct map_iter it = MAP_ITER(n->left);
        uint32_t ip;
        int r = 0;
        while (r == 0 && map_next(&it)) {
                _cleanup_free_ char *sandbox = str_dup(it.key);
                r = ipam_release(n->ipam, sandbox, a, &ip, &hostports, err);
                if (r == 0)
                        map_remove(n->left, it.key);
        }
        return r;
}

static void configure(struct net *n) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *leases = xprintf("%s/leases", n->state_dir);
        int r = n->ipam ? 0 : ipam_open(leases, n->pod_cidr, &n->ipam, &err);
        if (!n->mtu)
                n->mtu = nl_default_mtu();
        with_lock(&n->rules) {
                if (r == 0)
                        r = release_left(n, &err);
                if (r == 0)
                        r = install(n, &err);
                if (r == 0)
                        atomic_store(&n->ready, true);
        }
        if (r < 0)
                return log_error("the pod network cannot be set up, trying again: %s", error_text(&err));
        log_info("pod network %s on %s", n->pod_cidr, n->bridge);
}

static void on_retry(struct timer *t) {
        struct net *n = container_of(t, struct net, retry);
        configure(n);
        if (!atomic_load(&n->ready))
                timer_start(n->loop, &n->retry, RETRY_MS, on_retry);
}

static void on_node(struct object *old, struct object *new, void *arg) {
        struct net *n = arg;
        struct str cidr = new ? NodeSpec_podCIDR(Node_spec(object_json(new))) : str_n("", 0);
        if (!cidr.n || (n->pod_cidr && str_eqc(cidr, n->pod_cidr)))
                return;
        if (n->pod_cidr) { /* a podCIDR never changes; a Node made anew may get another one, and pods keep theirs until
                              they end */
                log_warn("the node's podCIDR is now %" STR_FMT ", its pods have %s: restart the node to change over",
                         STR_ARG(cidr), n->pod_cidr);
                return;
        }
        n->pod_cidr = str_dup(cidr);
        on_retry(&n->retry);
}

/* ---- the pod's side ---- */

/* Runs fn in another network namespace, on this thread. */
static int in_namespace(const char *path, int (*fn)(void *arg, struct error *err), void *arg, struct error *err) {
        _cleanup_close_ int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
                            there = open(path, O_RDONLY | O_CLOEXEC);
        if (here < 0 || there < 0)
                return error_errno(err, -errno, "open network namespace %s", path);
        if (setns(there, CLONE_NEWNET) < 0)
                return error_errno(err, -errno, "enter network namespace %s", path);
        int r = fn(arg, err);
        if (setns(here, CLONE_NEWNET) < 0) {
                log_error("cannot leave network namespace %s", path);
                abort(); /* going on would configure the wrong network */
        }
        return r;
}

struct pod_side {
        uint32_t ip, gateway;
};

static int setup_inside(void *arg, struct error *err) {
        struct pod_side *p = arg;
        TRY(nl_link_up("lo", err));
        TRY(nl_addr_add("eth0", p->ip, 32, err));
        TRY(nl_link_up("eth0", err));
        TRY(nl_route_add(p->gateway, 32, 0, "eth0", err));
        return nl_route_add(0, 0, p->gateway, "eth0", err);
}

static int attach(struct pod_network *network, const char *sandbox_id, const char *netns_path,
                  const struct json *annotations, const struct json *hostports, char ret_ips[2][46],
                  struct error *err) {
        struct net *n = container_of(network, struct net, network);
        if (!atomic_load(&n->ready))
                return error_set(err, -EAGAIN, "the pod network is not ready: the node has no podCIDR yet");
        struct pod_side p = { .gateway = ipam_gateway(n->ipam) };
        char veth[16];
        uint8_t mac[6];
        TRY(ipam_acquire(n->ipam, sandbox_id, netns_path, hostports, &p.ip, err));
        veth_name(sandbox_id, veth);
        pod_mac(p.ip, mac);
        _cleanup_close_ int fd = open(netns_path, O_RDONLY | O_CLOEXEC);
        int r = fd < 0 ? error_errno(err, -errno, "open %s", netns_path) : 0;
        if (r == 0)
                r = nl_veth_add(veth, "eth0", fd, n->mtu, mac, err);
        if (r == 0)
                r = nl_link_set_master(veth, n->bridge, true,
                                       err); /* with br_netfilter, what a pod sends to itself never leaves the bridge */
        if (r == 0)
                r = nl_link_up(veth, err);
        if (r == 0)
                r = in_namespace(netns_path, setup_inside, &p, err);
        if (r == 0)
                r = nl_link_wait(veth, 3000, err); /* until then the bridge drops what the pod sends */
        pthread_mutex_lock(&n->rules);
        if (r == 0)
                r = add_ports(n, p.ip, hostports, err);
        pthread_mutex_unlock(&n->rules);
        if (r < 0) {
                network->detach(network, sandbox_id, netns_path, NULL);
                return r;
        }
        ipv4_format(p.ip, ret_ips[0]);
        ret_ips[1][0] = 0;
        return 0;
}

static int detach(struct pod_network *network, const char *sandbox_id, const char *netns_path, struct error *err) {
        struct net *n = container_of(network, struct net, network);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *hostports = NULL;
        char veth[16];
        uint32_t ip = 0;
        veth_name(sandbox_id, veth);
        int r = 0;
        TRY(nl_link_delete(veth, err));
        HOLD(&n->rules);
        if (!atomic_load(&n->ready))
                map_put(n->left, str_of(sandbox_id), n);
        else
                r = ipam_release(n->ipam, sandbox_id, a, &ip, &hostports, err);
        if (r == 0 && (hostports || n->rules_stale) && n->ipam)
                r = remove_ports(n, ip, hostports, err);
        return r;
}

static bool network_ready(struct pod_network *network) {
        return atomic_load(&container_of(network, struct net, network)->ready);
}

/* ---- life ---- */

static void begin(void *arg) {
        struct net *n = arg;
        _cleanup_free_ char *field = xprintf("metadata.name=%s", n->node_name);
        informer_add_handler(informer_of_selected(n->informers, &res_nodes, NULL, NULL, field), on_node, n);
        informer_factory_start(n->informers);
}

int net_start(const struct net_options *o, struct net **ret, struct error *err) {
        struct loop *loop;
        TRY(loop_new("net", &loop, err));
        struct net *n = xcalloc(1, sizeof(*n));
        *n = (struct net) {
                .network = { attach, detach, network_ready },
                .client = o->client,
                .node_name = xstrdup(o->node_name),
                .state_dir = xstrdup(o->state_dir),
                .bridge = xstrdup(o->bridge),
                .table = xstrdup(o->nft_table),
                .cluster_cidr = xstrdup(o->cluster_cidr),
                .mtu = o->mtu,
                .loop = loop,
                .left = map_new(NULL),
        };
        pthread_mutex_init(&n->rules, NULL);
        n->informers = informer_factory_new(n->client, n->loop);
        loop_start_thread(n->loop);
        loop_call(n->loop, begin, n);
        *ret = n;
        return 0;
}

struct pod_network *net_pod_network(struct net *n) {
        return &n->network;
}

static void end(void *arg) {
        struct net *n = arg;
        timer_close(&n->retry, NULL);
        informer_factory_free(n->informers);
        loop_stop(n->loop);
}

void net_stop(struct net *n) {
        loop_call(n->loop, end, n);
        loop_join(n->loop);
        loop_free(n->loop);
        ipam_close(n->ipam);
        map_free(n->left);
        pthread_mutex_destroy(&n->rules);
        free_all(n->node_name, n->state_dir, n->bridge, n->table, n->cluster_cidr, n->pod_cidr, n);
}

struct ports {
        int bridge;
        VEC(char *) v;
};

static void note_port(const char *name, int ifindex, int master, void *arg) {
        struct ports *p = arg;
        if (p->bridge && master == p->bridge)
                vec_push(&p->v, xstrdup(name));
}

int net_destroy(const struct net_options *o, struct error *err) {
        _cleanup_free_ char *table = xprintf("%s-net", o->nft_table);
        struct ports ports = { .bridge = nl_link_index(o->bridge) };
        int r = nl_links(note_port, &ports, err);
        for (size_t i = 0; i < ports.v.n; i++) {
                if (r == 0)
                        r = nl_link_delete(ports.v.v[i], err);
                free(ports.v.v[i]);
        }
        vec_free(&ports.v);
        if (r == 0)
                r = nl_link_delete(o->bridge, err);
        if (r == 0)
                r = nft_delete_table("ip", table, err);
        return r < 0 ? r : file_remove_tree(o->state_dir, err);
}
