/* ctnetlink: dump the UDP entries, pick, delete each by its original tuple. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <time.h>

#include "base/vec.h"
#include "net/netlink.h"
#include "proxy/conntrack.h"

struct tuple {
        uint32_t src, dst;
        uint16_t sport, dport;
        uint8_t proto;
};

struct scan {
        bool (*stale)(uint32_t ip, uint16_t port, uint32_t reply_ip, uint16_t reply_port, void *arg);
        void *arg;
        VEC(struct tuple) found;
};

static void read_tuple(const struct nlattr *tuple, struct tuple *t) {
        const struct nlattr *part, *a;
        mnl_attr_for_each_nested(part, tuple) {
                uint16_t type = mnl_attr_get_type(part);
                mnl_attr_for_each_nested(a, part) {
                        if (type == CTA_TUPLE_IP && mnl_attr_get_type(a) == CTA_IP_V4_SRC)
                                t->src = ntohl(mnl_attr_get_u32(a));
                        else if (type == CTA_TUPLE_IP && mnl_attr_get_type(a) == CTA_IP_V4_DST)
                                t->dst = ntohl(mnl_attr_get_u32(a));
                        else if (type == CTA_TUPLE_PROTO && mnl_attr_get_type(a) == CTA_PROTO_NUM)
                                t->proto = mnl_attr_get_u8(a);
                        else if (type == CTA_TUPLE_PROTO && mnl_attr_get_type(a) == CTA_PROTO_SRC_PORT)
                                t->sport = ntohs(mnl_attr_get_u16(a));
                        else if (type == CTA_TUPLE_PROTO && mnl_attr_get_type(a) == CTA_PROTO_DST_PORT)
                                t->dport = ntohs(mnl_attr_get_u16(a));
                }
        }
}

static int on_entry(const struct nlmsghdr *h, void *arg) {
        struct scan *s = arg;
        struct tuple original = { 0 }, reply = { 0 };
        const struct nlattr *a;
        mnl_attr_for_each(a, h, sizeof(struct nfgenmsg)) {
                if (mnl_attr_get_type(a) == CTA_TUPLE_ORIG)
                        read_tuple(a, &original);
                else if (mnl_attr_get_type(a) == CTA_TUPLE_REPLY)
                        read_tuple(a, &reply);
        }
        if (original.proto == IPPROTO_UDP && s->stale(original.dst, original.dport, reply.src, reply.sport, s->arg))
                vec_push(&s->found, original);
        return MNL_CB_OK;
}

static struct nlmsghdr *begin(char *buf, uint16_t type, uint16_t flags) {
        struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
        h->nlmsg_type = (uint16_t) (NFNL_SUBSYS_CTNETLINK << 8 | type);
        h->nlmsg_flags = NLM_F_REQUEST | flags;
        struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
        g->nfgen_family = AF_INET;
        g->version = NFNETLINK_V0;
        return h;
}

static void put_tuple(struct nlmsghdr *h, const struct tuple *f) {
        struct nlattr *tuple = mnl_attr_nest_start(h, CTA_TUPLE_ORIG), *ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
        mnl_attr_put_u32(h, CTA_IP_V4_SRC, htonl(f->src));
        mnl_attr_put_u32(h, CTA_IP_V4_DST, htonl(f->dst));
        mnl_attr_nest_end(h, ip);
        struct nlattr *proto = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
        mnl_attr_put_u8(h, CTA_PROTO_NUM, f->proto);
        mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, htons(f->sport));
        mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, htons(f->dport));
        mnl_attr_nest_end(h, proto);
        mnl_attr_nest_end(h, tuple);
}

int conntrack_forget_udp(bool (*stale)(uint32_t ip, uint16_t port, uint32_t reply_ip, uint16_t reply_port, void *arg),
                         void *arg, struct error *err) {
        struct scan scan = { .stale = stale, .arg = arg };
        struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
        char buf[512];
        if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0) {
                int r = -errno;
                if (s)
                        mnl_socket_close(s);
                return error_errno(err, r, "open a netfilter socket");
        }
        int r = nl_talk(s, begin(buf, IPCTNL_MSG_CT_GET, NLM_F_DUMP), on_entry, &scan);
        for (size_t i = 0; r == 0 && i < scan.found.n; i++) {
                struct nlmsghdr *h = begin(buf, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
                put_tuple(h, &scan.found.v[i]);
                r = nl_talk(s, h, NULL, NULL);
                if (r == -ENOENT) /* it timed out meanwhile */
                        r = 0;
        }
        vec_free(&scan.found);
        mnl_socket_close(s);
        return r < 0 ? error_errno(err, r, "clean the connection tracking table") : 0;
}
