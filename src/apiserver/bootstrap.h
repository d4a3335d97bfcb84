/* What every cluster has from the start. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

/* The default RBAC roles and bindings, one call of emit each; the trees live in a. */
void bootstrap_policy(struct arena *a, void (*emit)(struct json object, void *arg), void *arg);
/* The name of this server's Lease. */
struct str bootstrap_identity(struct arena *a);
/* The rules of one of these ClusterRoles. */
struct json bootstrap_rules(struct arena *a, const char *role);
/* The FlowSchemas and PriorityLevelConfigurations of every cluster, again where they are missing or were changed. */
void bootstrap_flow(struct apiserver *s);
/* The namespaces of every cluster and the Service of its API, again where somebody deleted them. Does not wait. */
void bootstrap_again(struct apiserver *s);
