/* Cluster IPs and node ports: which are taken. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

struct allocator;
struct faults;
/* What is wrong with --service-cluster-ip-range as it is written, or else with what it says. */
void allocator_check_words(const struct apiserver *s, struct faults *w);
void allocator_check(const struct apiserver *s, struct faults *w);
struct allocator *allocator_new(const struct apiserver *s); /* both find nothing */
void allocator_free(struct allocator *al);

/* ---- addresses: as the snapshot has it; the transaction that makes the IPAddress object takes it ---- */

/* -EEXIST: it is taken; -ERANGE: of no range that is ready. */
int allocator_check_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ip);
/* A free one of the family (4 or 6); -ENOSPC: all are taken. */
int allocator_any_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, int family,
                     struct str *ret);
/* As the object of an address is named: a Service may write it with zeros in front, or as one of IPv6. */
struct str allocator_plain_ip(struct arena *a, struct str ip);
/* Makes the IPAddress object of a Service. */
struct store_op allocator_new_address(const struct apiserver *s, struct arena *a, struct str ip, struct str ns,
                                      struct str service);
void allocator_metrics(const struct apiserver *s, struct store_snapshot *snap, struct buf *dst);
/* The range of the family (4 or 6) that the server was started with; NULL: there is none. */
const char *allocator_cidr(const struct allocator *al, int family);
int allocator_default_family(const struct allocator *al);
struct json allocator_cidrs(const struct allocator *al, struct arena *a);   /* of the default ServiceCIDR */
struct str allocator_first_ip(const struct allocator *al, struct arena *a); /* the kubernetes Service's */
/* What a dry run is given: upstream looks for none, and answers with the address of the network. */
struct str allocator_network_ip(const struct allocator *al, struct arena *a, int family);

/* ---- ports: taken in memory, followed from the store's events ---- */

/* What the services of a snapshot hold; then every change of a Service. Any thread. */
void allocator_load(struct allocator *al, struct store_snapshot *snap, struct str services_prefix);
void allocator_changed(struct allocator *al, const struct object *before, const struct object *after);
/* Takes a certain one, or any. -EEXIST it is taken, -ERANGE not ours to give, -ENOSPC all are taken. Given back by
 * release when the write that wanted it fails. */
int allocator_take_port(struct allocator *al, int64_t port);
int allocator_any_port(struct allocator *al, int64_t *ret);
void allocator_release_port(struct allocator *al, int64_t port);
bool allocator_holds_port(const struct json *service, int64_t port);
void allocator_port_range(const struct allocator *al, int *ret_min, int *ret_max);
