/* The service proxy: Services and EndpointSlices become nftables maps, changed incrementally. NodePorts answer on every
 * address of the node, loopback too. */
#pragma once

#include "client/client.h"

struct proxy;
struct proxy_options {
        struct client *client;
        const char *node_name;
        const char *nft_table;    /* "cube": table ip <nft_table>-proxy */
        const char *cluster_cidr; /* to tell traffic from pods */
};
int proxy_start(const struct proxy_options *o, struct proxy **ret, struct error *err); /* thread of its own */
void proxy_stop(struct proxy *p);                            /* and frees it; the rules stay, so that Services go on */
int proxy_destroy(const char *nft_table, struct error *err); /* removes the table; missing is fine */
