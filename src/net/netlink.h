/* Links, addresses and routes over rtnetlink (libmnl). Blocking, a socket for each call, thread-safe; acts
 * on the calling thread's network namespace. What is already as wanted is fine: every "add" is idempotent, every
 * "delete" of nothing too. */
#pragma once

#include <netinet/in.h>

#include "base/error.h"

struct mnl_socket;
struct nlmsghdr;

/* Sends over an open socket of any family and reads answers until the acknowledgement; cb (may be NULL) sees the data
 * messages. */
int nl_talk(struct mnl_socket *s, struct nlmsghdr *h, int (*cb)(const struct nlmsghdr *h, void *arg), void *arg);
int nl_bridge_add(const char *name, int mtu, const uint8_t mac[6] /* may be NULL */, struct error *err);
/* A pair; the peer is made in the namespace of peer_netns_fd (or here when -1). mtu 0: the default. */
int nl_veth_add(const char *name, const char *peer, int peer_netns_fd, int mtu, const uint8_t peer_mac[6],
                struct error *err);
int nl_link_up(const char *name, struct error *err);
/* Waits until the other end is there and frames pass, at most so long. The kernel may take a second to notice. */
int nl_link_wait(const char *name, int ms, struct error *err);
int nl_link_set_master(const char *name, const char *bridge, bool hairpin, struct error *err);
int nl_link_delete(const char *name, struct error *err);
int nl_link_index(const char *name); /* 0 when there is none */
int nl_addr_add(const char *name, uint32_t ip, unsigned bits, struct error *err);
/* gateway 0: on link; dest 0/0: default. */
int nl_route_add(uint32_t dest, unsigned bits, uint32_t gateway, const char *dev, struct error *err);
/* Addresses are host order. Calls each for every IPv4 route of the main table, for every link (master: the index of the
 * bridge it is a port of, or 0). While the list changes it is read again: what has been told may come twice. */
int nl_routes(void (*each)(uint32_t dest, unsigned bits, int ifindex, void *arg), void *arg, struct error *err);
int nl_links(void (*each)(const char *name, int ifindex, int master, void *arg), void *arg, struct error *err);
/* That of the interface of the default route; 0 when there is none. */
int nl_default_mtu(void);
int nl_link_mtu(const char *name); /* 0 when there is none */
