/* The cluster's DNS: answers for Services, headless Services' pods and reverse names, forwards the rest with a cache.
 * https://github.com/kubernetes/dns/blob/master/docs/specification.md */
#pragma once

#include "client/client.h"

struct dns;
struct dns_options {
        struct client *client;
        const char *domain;      /* "cluster.local" */
        const char *address;     /* UDP and TCP; "0.0.0.0" or the node's address */
        uint16_t port;           /* 10053: the kube-dns Service maps 53 to it */
        const char *resolv_conf; /* upstream resolvers, read again when it changes; NULL: /etc/resolv.conf */
};
int dns_start(const struct dns_options *o, struct dns **ret, struct error *err); /* thread of its own */
uint16_t dns_port(const struct dns *d);
void dns_stop(struct dns *d); /* and frees it */
