/* rtnetlink requests, each a message with its attributes and one acknowledgement. */
#include <libmnl/libmnl.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "net/netlink.h"

struct request {
        char buf[1024];
        struct nlmsghdr *h;
};

static struct nlmsghdr *begin(struct request *q, uint16_t type, uint16_t flags) {
        q->h = mnl_nlmsg_put_header(q->buf);
        q->h->nlmsg_type = type;
        q->h->nlmsg_flags = NLM_F_REQUEST | flags;
        return q->h;
}

static struct ifinfomsg *begin_link(struct request *q, uint16_t type, uint16_t flags, int index) {
        begin(q, type, flags);
        struct ifinfomsg *i = mnl_nlmsg_put_extra_header(q->h, sizeof(*i));
        i->ifi_family = AF_UNSPEC;
        i->ifi_index = index;
        return i;
}

int nl_talk(struct mnl_socket *s, struct nlmsghdr *h, mnl_cb_t cb, void *arg) {
        static uint32_t seq;
        char in[16384];
        h->nlmsg_seq = __atomic_add_fetch(&seq, 1, __ATOMIC_RELAXED);
        if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
                return -errno;
        for (;;) {
                ssize_t n = mnl_socket_recvfrom(s, in, sizeof(in));
                if (n < 0)
                        return -errno;
                int more = mnl_cb_run(in, (size_t) n, h->nlmsg_seq, mnl_socket_get_portid(s), cb, arg);
                if (more <= 0)
                        return more < 0 ? -errno : 0;
        }
}

static int talk(struct request *q, mnl_cb_t cb, void *arg) {
        struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        if (!s)
                return -errno;
        if ((q->h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) /* its bits are those of CREATE's companions too */
                q->h->nlmsg_flags |= NLM_F_ACK;
        int r = mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : nl_talk(s, q->h, cb, arg);
        mnl_socket_close(s);
        return r;
}

static int run(struct request *q, int fine, struct error *err, const char *what, const char *name) {
        int r = talk(q, NULL, NULL);
        if (r == 0 || r == -fine)
                return 0;
        return error_errno(err, r, "%s %s", what, name);
}

static int need_index(const char *name, int *ret, struct error *err) {
        *ret = nl_link_index(name);
        return *ret ? 0 : error_set(err, -ENODEV, "there is no network interface %s", name);
}

int nl_link_index(const char *name) {
        return (int) if_nametoindex(name);
}

/* ---- links ---- */

/* The start of a new link of a kind: its IFLA_LINKINFO is open. */
static struct nlattr *begin_new_link(struct request *q, const char *name, const char *kind, int mtu) {
        begin_link(q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
        mnl_attr_put_strz(q->h, IFLA_IFNAME, name);
        if (mtu)
                mnl_attr_put_u32(q->h, IFLA_MTU, (uint32_t) mtu);
        struct nlattr *info = mnl_attr_nest_start(q->h, IFLA_LINKINFO);
        mnl_attr_put_strz(q->h, IFLA_INFO_KIND, kind);
        return info;
}

int nl_bridge_add(const char *name, int mtu, const uint8_t mac[6], struct error *err) {
        struct request q;
        struct nlattr *info = begin_new_link(&q, name, "bridge", mtu);
        mnl_attr_nest_end(q.h, info);
        if (mac)
                mnl_attr_put(q.h, IFLA_ADDRESS, 6, mac);
        return run(&q, EEXIST, err, "make bridge", name);
}

int nl_veth_add(const char *name, const char *peer, int peer_netns_fd, int mtu, const uint8_t peer_mac[6],
                struct error *err) {
        struct request q;
        struct nlattr *info = begin_new_link(&q, name, "veth", mtu);
        struct nlattr *data = mnl_attr_nest_start(q.h, IFLA_INFO_DATA);
        struct nlattr *p = mnl_attr_nest_start(q.h, VETH_INFO_PEER);
        struct ifinfomsg *i = mnl_nlmsg_put_extra_header(q.h, sizeof(*i));
        i->ifi_family = AF_UNSPEC;
        mnl_attr_put_strz(q.h, IFLA_IFNAME, peer);
        if (mtu)
                mnl_attr_put_u32(q.h, IFLA_MTU, (uint32_t) mtu);
        if (peer_mac)
                mnl_attr_put(q.h, IFLA_ADDRESS, 6, peer_mac);
        if (peer_netns_fd >= 0)
                mnl_attr_put_u32(q.h, IFLA_NET_NS_FD, (uint32_t) peer_netns_fd);
        mnl_attr_nest_end(q.h, p);
        mnl_attr_nest_end(q.h, data);
        mnl_attr_nest_end(q.h, info);
        return run(&q, EEXIST, err, "make veth", name);
}

int nl_link_up(const char *name, struct error *err) {
        struct request q;
        int index, r = need_index(name, &index, err);
        if (r < 0)
                return r;
        struct ifinfomsg *i = begin_link(&q, RTM_NEWLINK, 0, index);
        i->ifi_flags = i->ifi_change = IFF_UP;
        return run(&q, 0, err, "set up", name);
}

int nl_link_wait(const char *name, int ms, struct error *err) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq q = { 0 };
        snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
        for (; ms > 0; ms--) {
                if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &q) < 0)
                        return error_errno(err, -errno, "look at %s", name);
                if (q.ifr_flags & IFF_RUNNING)
                        return 0;
                usleep(1000);
        }
        return error_set(err, -ETIMEDOUT, "network interface %s does not come up", name);
}

int nl_link_set_master(const char *name, const char *bridge, bool hairpin, struct error *err) {
        struct request q;
        int index, master;
        TRY(need_index(name, &index, err));
        TRY(need_index(bridge, &master, err));
        begin_link(&q, RTM_NEWLINK, 0, index);
        mnl_attr_put_u32(q.h, IFLA_MASTER, (uint32_t) master);
        TRY(run(&q, 0, err, "attach to the bridge", name));
        if (!hairpin)
                return 0;
        begin_link(&q, RTM_SETLINK, 0, index)->ifi_family = AF_BRIDGE;
        struct nlattr *port = mnl_attr_nest_start(q.h, IFLA_PROTINFO);
        mnl_attr_put_u8(q.h, IFLA_BRPORT_MODE, 1);
        mnl_attr_nest_end(q.h, port);
        return run(&q, 0, err, "set hairpin mode of", name);
}

int nl_link_delete(const char *name, struct error *err) {
        struct request q;
        int index = nl_link_index(name);
        if (!index)
                return 0;
        begin_link(&q, RTM_DELLINK, 0, index);
        return run(&q, ENODEV, err, "delete", name);
}

/* ---- addresses and routes ---- */

int nl_addr_add(const char *name, uint32_t ip, unsigned bits, struct error *err) {
        struct request q;
        int index;
        TRY(need_index(name, &index, err));
        begin(&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        struct ifaddrmsg *a = mnl_nlmsg_put_extra_header(q.h, sizeof(*a));
        *a = (struct ifaddrmsg) { .ifa_family = AF_INET,
                                  .ifa_prefixlen = (uint8_t) bits,
                                  .ifa_index = (uint32_t) index };
        mnl_attr_put_u32(q.h, IFA_LOCAL, htonl(ip));
        mnl_attr_put_u32(q.h, IFA_ADDRESS, htonl(ip));
        if (bits < 31)
                mnl_attr_put_u32(q.h, IFA_BROADCAST, htonl(ip | (bits ? 0xffffffffu >> bits : 0xffffffffu)));
        return run(&q, EEXIST, err, "add an address to", name);
}

int nl_route_add(uint32_t dest, unsigned bits, uint32_t gateway, const char *dev, struct error *err) {
        struct request q;
        int index;
        TRY(need_index(dev, &index, err));
        begin(&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
        struct rtmsg *m = mnl_nlmsg_put_extra_header(q.h, sizeof(*m));
        *m = (struct rtmsg) { .rtm_family = AF_INET,
                              .rtm_dst_len = (uint8_t) bits,
                              .rtm_table = RT_TABLE_MAIN,
                              .rtm_protocol = RTPROT_STATIC,
                              .rtm_scope = gateway ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
                              .rtm_type = RTN_UNICAST };
        if (bits)
                mnl_attr_put_u32(q.h, RTA_DST, htonl(dest));
        if (gateway)
                mnl_attr_put_u32(q.h, RTA_GATEWAY, htonl(gateway));
        mnl_attr_put_u32(q.h, RTA_OIF, (uint32_t) index);
        return run(&q, 0, err, "add a route", dev);
}

/* ---- listing ---- */

struct dump {
        void (*route)(uint32_t dest, unsigned bits, int ifindex, void *arg);
        void (*link)(const char *name, int ifindex, int master, void *arg);
        void *arg;
};

static int on_route(const struct nlmsghdr *h, void *arg) {
        struct dump *d = arg;
        const struct rtmsg *m = mnl_nlmsg_get_payload(h);
        uint32_t dest = 0;
        int index = 0;
        const struct nlattr *a;
        mnl_attr_for_each(a, h, sizeof(*m)) {
                if (mnl_attr_get_type(a) == RTA_DST)
                        dest = ntohl(mnl_attr_get_u32(a));
                else if (mnl_attr_get_type(a) == RTA_OIF)
                        index = (int) mnl_attr_get_u32(a);
        }
        if (m->rtm_family == AF_INET && m->rtm_table == RT_TABLE_MAIN)
                d->route(dest, m->rtm_dst_len, index, d->arg);
        return MNL_CB_OK;
}

static int on_link(const struct nlmsghdr *h, void *arg) {
        struct dump *d = arg;
        const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);
        const char *name = NULL;
        int master = 0;
        const struct nlattr *a;
        mnl_attr_for_each(a, h, sizeof(*i)) {
                if (mnl_attr_get_type(a) == IFLA_IFNAME)
                        name = mnl_attr_get_str(a);
                else if (mnl_attr_get_type(a) == IFLA_MASTER)
                        master = (int) mnl_attr_get_u32(a);
        }
        if (name)
                d->link(name, i->ifi_index, master, d->arg);
        return MNL_CB_OK;
}

/* -EINTR: what is listed changed meanwhile. */
static int dump(struct request *q, mnl_cb_t cb, struct dump *d) {
        int r = -EINTR;
        for (int i = 0; i < 20 && r == -EINTR; i++)
                r = talk(q, cb, d);
        return r;
}

int nl_routes(void (*each)(uint32_t, unsigned, int, void *), void *arg, struct error *err) {
        struct request q;
        struct dump d = { .route = each, .arg = arg };
        begin(&q, RTM_GETROUTE, NLM_F_DUMP);
        struct rtmsg *m = mnl_nlmsg_put_extra_header(q.h, sizeof(*m));
        m->rtm_family = AF_INET;
        int r = dump(&q, on_route, &d);
        return r < 0 ? error_errno(err, r, "list routes") : 0;
}

int nl_links(void (*each)(const char *, int, int, void *), void *arg, struct error *err) {
        struct request q;
        struct dump d = { .link = each, .arg = arg };
        begin_link(&q, RTM_GETLINK, NLM_F_DUMP, 0);
        int r = dump(&q, on_link, &d);
        return r < 0 ? error_errno(err, r, "list network interfaces") : 0;
}

static void note_default(uint32_t dest, unsigned bits, int ifindex, void *arg) {
        if (!dest && !bits && !*(int *) arg)
                *(int *) arg = ifindex;
}

int nl_default_mtu(void) {
        char name[IF_NAMESIZE];
        int index = 0;
        nl_routes(note_default, &index, NULL);
        return index && if_indextoname((unsigned) index, name) ? nl_link_mtu(name) : 0;
}

int nl_link_mtu(const char *name) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq q = { 0 };
        snprintf(q.ifr_name, sizeof(q.ifr_name), "%s", name);
        return fd >= 0 && ioctl(fd, SIOCGIFMTU, &q) == 0 ? q.ifr_mtu : 0;
}
