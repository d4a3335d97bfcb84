/* An isolated node: its own network, mount, PID and UTS namespaces on a private bridge, so that the host stays as it
 * was.
 *
 *   host                                   node (PID 1: cube supervise)
 *   ┌───────────────┐   veth               ┌──────────────────────────┐
 *   │ cb-NAME .1/24 ├──────────────────────┤ eth0 .2/24               │
 *   └───────────────┘   masquerade out     │ cni0, pods, API server … │
 *                                          └──────────────────────────┘
 */
#include <net/if.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#include "base/encode.h"
#include "base/file.h"
#include "cube/cube.h"
#include "net/netlink.h"
#include "net/nft.h"

#define SUBNET_BITS 24

struct taken {
        struct cidr candidate;
        int own; /* index of our bridge, whose route does not count */
        int by;  /* index of the interface that has it; 0: free */
};

static void check_route(uint32_t dest, unsigned bits, int ifindex, void *arg) {
        struct taken *t = arg;
        struct cidr route = { dest, bits };
        if (bits && ifindex != t->own && cidr_overlaps(route, t->candidate))
                t->by = ifindex;
}

int isolate_check(const struct cluster *c, struct error *err) {
        struct taken t = { .own = nl_link_index(c->host_bridge) };
        _cleanup_free_ char *range = xprintf("%s/%d", c->node_ip, SUBNET_BITS);
        char dev[IF_NAMESIZE];
        cidr_parse(range, &t.candidate);
        int r = nl_routes(check_route, &t, err);
        if (r < 0 || !t.by)
                return r;
        return error_set(err, -EADDRINUSE,
                         "%s, where the node of \"%s\" lives, is used by the interface %s now: free it, or cube delete "
                         "--name %s and start anew",
                         range, c->name, if_indextoname((unsigned) t.by, dev) ?: "?", c->name);
}

int isolate_choose(struct cluster *c, struct error *err) {
        struct cidr inside[2] = { 0 };
        cidr_parse(c->service_cidr, &inside[0]);
        cidr_parse(c->cluster_cidr, &inside[1]);
        if (c->node_ip) { /* the user's choice: the bridge gets the first address of its /24 that is not the node's */
                uint32_t ip;
                if (!ipv4_parse(str_of(c->node_ip), &ip))
                        return error_set(err, -EINVAL, "--node-ip: \"%s\" is not an IPv4 address", c->node_ip);
                char host[46];
                ipv4_format((ip & 0xffffff00u) | ((ip & 0xff) == 1 ? 2 : 1), host);
                c->host_ip = xstrdup(host);
                return 0;
        }
        for (unsigned i = 49; i < 255; i++) {
                struct taken t = { .candidate = { 192u << 24 | 168u << 16 | i << 8, SUBNET_BITS } };
                char text[46];
                TRY(nl_routes(check_route, &t, err));
                if (t.by || cluster_range_taken(c, t.candidate) || cidr_overlaps(t.candidate, inside[0]) ||
                    cidr_overlaps(t.candidate, inside[1]))
                        continue;
                ipv4_format(t.candidate.address + 1, text);
                c->host_ip = xstrdup(text);
                ipv4_format(t.candidate.address + 2, text);
                c->node_ip = xstrdup(text);
                return 0;
        }
        return error_set(err, -EADDRNOTAVAIL,
                         "every 192.168.x.0/24 from 49 up is routed on this host: pass --node-ip with a free address");
}

/* ---- the host's side ---- */

static char *veth_name(const struct cluster *c) {
        return xprintf("cv-%08x", (unsigned) str_hash_stable(str_of(c->name)));
}

static int host_rules(const struct cluster *c, struct error *err) {
        _cleanup_free_ char *text = xprintf("add table ip cube-host-%s\n"
                                            "delete table ip cube-host-%s\n"
                                            "table ip cube-host-%s {\n"
                                            "  chain postrouting {\n"
                                            "    type nat hook postrouting priority srcnat; policy accept;\n"
                                            "    ip saddr %s/%d oifname != \"%s\" masquerade\n"
                                            "  }\n"
                                            "}\n",
                                            c->name, c->name, c->name, c->node_ip, SUBNET_BITS, c->host_bridge);
        return nft_run(text, err);
}

int isolate_host_setup(const struct cluster *c, int pid, struct error *err) {
        _cleanup_free_ char *ns = xprintf("/proc/%d/ns/net", pid), *veth = veth_name(c);
        uint32_t host_ip;
        ipv4_parse(str_of(c->host_ip), &host_ip);
        _cleanup_close_ int fd = open(ns, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", ns);
        nl_link_delete(veth, NULL); /* of a node that was killed */
        TRY(nl_bridge_add(c->host_bridge, 0, NULL, err));
        TRY(nl_addr_add(c->host_bridge, host_ip, SUBNET_BITS, err));
        TRY(nl_link_up(c->host_bridge, err));
        TRY(nl_veth_add(veth, "eth0", fd, 0, NULL, err));
        TRY(nl_link_set_master(veth, c->host_bridge, false, err));
        TRY(nl_link_up(veth, err));
        TRY(file_write("/proc/sys/net/ipv4/ip_forward", STR("1"), 0644, err));
        return host_rules(c, err);
}

int isolate_destroy(const struct cluster *c, struct error *err) {
        _cleanup_free_ char *veth = veth_name(c);
        TRY(nl_link_delete(veth, err));
        TRY(c->host_bridge ? nl_link_delete(c->host_bridge, err) : 0);
        _cleanup_free_ char *table = xprintf("cube-host-%s", c->name);
        return nft_delete_table("ip", table, err);
}

/* ---- inside ---- */

static int mount_at(const char *src, const char *dst, const char *type, unsigned long flags, struct error *err) {
        return mount(src, dst, type, flags, NULL) < 0 ? error_errno(err, -errno, "mount %s on %s", src, dst) : 0;
}

/* /sys shows the network of the namespace it is mounted in, so it is mounted anew; the cgroup mounts below it are
 * carried over. */
static int mount_sys(const struct cluster *c, struct error *err) {
        _cleanup_free_ char *keep = cluster_run_path(c, "cgroup");
        int r = file_mkdirs(keep, 0755, err);
        if (r == 0)
                r = mount_at("/sys/fs/cgroup", keep, NULL, MS_BIND | MS_REC, err);
        if (r == 0)
                r = mount_at("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, err);
        if (r == 0)
                r = mount_at(keep, "/sys/fs/cgroup", NULL, MS_BIND | MS_REC, err);
        if (r == 0 && umount2(keep, MNT_DETACH) < 0)
                r = error_errno(err, -errno, "umount %s", keep);
        rmdir(keep);
        return r;
}

int isolate_inside_setup(const struct cluster *c, struct error *err) {
        TRY(mount_at("none", "/", NULL, MS_REC | MS_SLAVE, err));
        TRY(mount_at("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, err));
        TRY(mount_sys(c, err));
        /* A peer group of the node's own, for Bidirectional propagation. Last, or the unmount above reached its peers.
         */
        TRY(mount_at("none", "/", NULL, MS_REC | MS_SHARED, err));
        if (sethostname(c->node_name, strlen(c->node_name)) < 0)
                return error_errno(err, -errno, "sethostname %s", c->node_name);
        /* A node that was switched off has no processes: what the runtime noted of the last ones is void. */
        _cleanup_free_ char *state = cluster_run_path(c, "runtime");
        return file_remove_tree(state, err);
}

int isolate_inside_network(const struct cluster *c, struct error *err) {
        uint32_t node_ip, host_ip;
        ipv4_parse(str_of(c->node_ip), &node_ip);
        ipv4_parse(str_of(c->host_ip), &host_ip);
        TRY(nl_link_up("lo", err));
        TRY(nl_link_up("eth0", err));
        TRY(nl_addr_add("eth0", node_ip, SUBNET_BITS, err));
        return nl_route_add(0, 0, host_ip, "eth0", err);
}
