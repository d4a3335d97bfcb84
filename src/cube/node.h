/* This machine as a node of a cluster: what the roles on it are given, and what can be done to its pods from outside of
 * them. */
#pragma once

#include "cube/cube.h"
#include "kubelet/kubelet.h"
#include "net/net.h"
#include "proxy/proxy.h"
#include "runtime/runtime.h"

#define NODE_POD_LOGS "/var/log/pods"
#define NODE_CONTAINER_LOGS "/var/log/containers"

struct net_options node_net_options(const struct cluster *c,
                                    struct client *client); /* texts are malloc'd or the cluster's */
void node_net_options_free(struct net_options *o);
int node_runtime_new(const struct cluster *c, struct pod_network *network, struct runtime **ret, struct error *err);

/* Stops every sandbox and its containers; remove: also removes them. Not while the server runs. */
int node_stop_pods(const struct cluster *c, bool remove, struct error *err);
/* Freezes the pods and stops the server's process, and the other way round. */
int node_pause(const struct cluster *c, struct error *err);
int node_resume(const struct cluster *c, struct error *err);
int node_remove_cgroups(const struct cluster *c, struct error *err);
