/* Cluster IPs and node ports: what is taken, in memory, followed from the store's events. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

struct allocator;
int allocator_new(struct apiserver *s, struct allocator **ret, struct error *err);
void allocator_free(struct allocator *al);
/* What the services of a snapshot hold; then every change of a Service. Any thread. */
void allocator_load(struct allocator *al, struct store_snapshot *snap, struct str services_prefix);
void allocator_changed(struct allocator *al, const struct object *before, const struct object *after);

/* Takes a certain one, or any. -EEXIST it is taken, -ERANGE not ours to give, -ENOSPC all are taken. Given back by
 * release when the write that wanted it fails. */
int allocator_take_ip(struct allocator *al, struct str ip);
int allocator_any_ip(struct allocator *al, struct arena *a, struct str *ret);
int allocator_take_port(struct allocator *al, int64_t port);
int allocator_any_port(struct allocator *al, int64_t *ret);
void allocator_release_ip(struct allocator *al, struct str ip);
void allocator_release_port(struct allocator *al, int64_t port);
const char *allocator_cidr(const struct allocator *al);
struct str allocator_first_ip(const struct allocator *al, struct arena *a); /* the kubernetes Service's */
void allocator_port_range(const struct allocator *al, int *ret_min, int *ret_max);
