/* Addresses of a node's podCIDR, one file for each lease, so that they survive any crash:
 *   <dir>/10.244.0.5   {"sandbox": id, "netns": path, "hostports": [...]}
 * Thread-safe. */
#pragma once

#include "base/error.h"
#include "json/json.h"

struct ipam;

/* Leases whose network namespace is no longer there (the machine was switched off) are dropped.
 * -EINVAL: cidr is not an IPv4 range from /8 to /30. */
int ipam_open(const char *dir, const char *cidr, struct ipam **ret, struct error *err);
void ipam_close(struct ipam *i);
uint32_t ipam_gateway(const struct ipam *i); /* the first address: the bridge's */
unsigned ipam_bits(const struct ipam *i);
/* The sandbox's lease, made when there is none. -ENOSPC: "no addresses left in 10.244.0.0/24". hostports may be NULL.
 */
int ipam_acquire(struct ipam *i, const char *sandbox, const char *netns, const struct json *hostports, uint32_t *ret,
                 struct error *err);
/* Ends it. ret_hostports (in the arena) is what it was made with, or NULL. Missing is fine: *ret is 0. */
int ipam_release(struct ipam *i, const char *sandbox, struct arena *a, uint32_t *ret, const struct json **ret_hostports,
                 struct error *err);
/* Calls each for every lease. */
void ipam_each(struct ipam *i, void (*each)(uint32_t ip, const struct json *lease, void *arg), void *arg);
