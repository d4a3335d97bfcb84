/* The roles of a server process: each started from a cluster's configuration and its keys, each stoppable on its own.
 */
#pragma once

#include "apiserver/apiserver.h"
#include "apiserver/encryption/encryption.h"
#include "controllers/controller.h"
#include "cube/node.h"
#include "cube/pki.h"
#include "dns/dns.h"
#include "scheduler/scheduler.h"

#define CLUSTER_DOMAIN "cluster.local"
#define DNS_PORT 10053

struct control_plane {
        struct encryption *encryption;
        struct store *store;
        struct apiserver *api;
};
int control_plane_start(const struct cluster *c, const struct pki *p, struct control_plane *ret, struct error *err);
void control_plane_stop(struct control_plane *cp);

struct node_roles {
        struct net *net;
        struct runtime *runtime;
        struct kubelet *kubelet;
};
/* ready is called once when the node has been posted Ready. */
int node_roles_start(const struct cluster *c, const struct pki *p, struct client *client, void (*ready)(void *arg),
                     void *arg, struct node_roles *ret, struct error *err);
void node_roles_stop(struct node_roles *n);

int start_controllers(const struct cluster *c, const struct pki *p, struct client *client, struct controllers **ret,
                      struct error *err);
int start_proxy(const struct cluster *c, struct client *client, struct proxy **ret, struct error *err);
int start_dns(const struct cluster *c, struct client *client, struct dns **ret, struct error *err);
int addons_ensure_dns(struct client *c, const struct cluster *cluster, uint16_t port, struct error *err);
int load_pki(const struct cluster *c, struct pki *ret, bool *ret_changed, struct error *err);

/* Blocks the signals that end a server in this thread and those it makes: call before the first thread. */
void server_block_signals(void);
/* Waits for SIGTERM or SIGINT. tick (may be NULL) is called twice a day; true: the server is to end and be started
 * again. */
void server_wait(bool (*tick)(void *arg), void *arg);
/* From now on such a signal ends the process at once, with 1, as a second one ends upstream's programs. Not for a
 * server that is supervised: it may hear of one stop twice. */
void server_wait_no_longer(void);
