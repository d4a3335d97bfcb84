/* The API server: configuration, start, stop. Its call interface for roles in the same process is api.h. */
#pragma once

#include "apiserver/api.h"
#include "store/store.h"

struct encryption;

struct apiserver_options {
        struct store *store;
        const char *address;                /* "0.0.0.0" */
        uint16_t port;                      /* 6443; 0: any */
        struct str cert_pem, key_pem;       /* serving; empty: plain HTTP, for measurements */
        struct str client_ca_pem;           /* verifies client certificates (CN = user, O = groups) */
        struct str service_account_key_pem; /* ECDSA P-256 private: signs tokens (ES256) */
        const char *service_account_issuer; /* "https://kubernetes.default.svc.cluster.local" */
        struct str kubelet_client_cert_pem, kubelet_client_key_pem, kubelet_ca_pem; /* to :10250 of nodes */
        const char *service_cidr; /* "10.96.0.0/12": the allocator of ClusterIPs; first address is the kubernetes
                                     Service's */
        uint16_t node_port_min, node_port_max; /* 30000, 32767 */
        const char *advertise_address;         /* in the kubernetes EndpointSlice */
        struct encryption *encryption;         /* the store's, when there is one (encryption/encryption.h) */
        const char *const *args;               /* flags.h: "name=value", ends with NULL; or NULL */
        bool anonymous;   /* unauthenticated requests are system:anonymous (RBAC decides) instead of 401 */
        unsigned workers; /* 0: one for each processor */
};

/* Are its flags right? Asked before there is a store: what is wrong with them is told first. */
int apiserver_check(const struct apiserver_options *o, struct error *err);
int apiserver_new(const struct apiserver_options *o, struct apiserver **ret, struct error *err);
/* Creates what every cluster has, where missing: namespaces default, kube-system, kube-public, kube-node-lease; the
 * kubernetes Service with its Endpoints and EndpointSlice; system priority classes; bootstrap RBAC roles and bindings;
 * kube-dns Service is an addon's. Idempotent; one store transaction, so that the start is quick. */
int apiserver_bootstrap(struct apiserver *s, struct error *err);
int apiserver_listen(struct apiserver *s, struct error *err); /* from here on clients are served; /readyz is ok */
uint16_t apiserver_port(const struct apiserver *s);
void apiserver_stop(struct apiserver *s, unsigned grace_ms);
void apiserver_free(struct apiserver *s);
