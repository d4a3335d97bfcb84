/* The pod network of this node: a bridge, a veth pair for each pod, addresses from the node's podCIDR, masquerade out,
 * host ports. It learns the podCIDR from the Node object and is not ready before. Implements struct pod_network for the
 * runtime. */
#pragma once

#include "client/client.h"
#include "runtime/runtime.h"

struct net;
struct net_options {
        struct client *client;
        const char *node_name;
        const char *state_dir;    /* leases of addresses, kept over restarts: "/var/lib/cube/net" */
        const char *bridge;       /* "cni0" */
        const char *nft_table;    /* "cube": everything of ours in nftables is in table ip <nft_table>-net */
        const char *cluster_cidr; /* traffic from pods to anything outside of it is masqueraded */
        int mtu;                  /* 0: that of the default route's interface */
};
int net_start(const struct net_options *o, struct net **ret, struct error *err); /* thread of its own */
void net_stop(struct net *n); /* and frees it; the pods' network stays as it is */
struct pod_network *net_pod_network(struct net *n);
/* Removes everything the network of this name ever made on this node: bridge, links, nft tables. Needs no running net.
 */
int net_destroy(const struct net_options *o, struct error *err);
