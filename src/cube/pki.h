/* The cluster's certificates and keys, under <data>/pki. ECDSA P-256 throughout: a start must not wait for RSA.
 *
 *   ca ─┬─ apiserver            serving, for every name and address the API is reached by
 *       ├─ kubelet              serving on :10250
 *       ├─ apiserver-kubelet    client of the API server towards kubelets
 *       └─ admin                client in the kubeconfig: system:masters
 *   front-proxy-ca              a CA of its own: who holds a certificate of it may speak for any user
 *      └─ front-proxy-client    the API server towards aggregated API servers
 *   sa.key                      signs service account tokens
 */
#pragma once

#include "base/error.h"

struct pki {
        char *ca_cert, *ca_key;
        char *apiserver_cert, *apiserver_key;
        char *kubelet_cert, *kubelet_key;
        char *apiserver_kubelet_cert, *apiserver_kubelet_key;
        char *admin_cert, *admin_key;
        char *front_proxy_ca_cert, *front_proxy_ca_key;
        char *front_proxy_client_cert, *front_proxy_client_key;
        char *sa_key;
}; /* PEM texts */

struct pki_options {
        const char *dir;
        const char *node_name, *node_ip;
        const char *api_service_ip; /* "10.96.0.1" */
        const char *cluster_domain; /* "cluster.local" */
        const char *extra_name;     /* one more DNS name or address of the API server; may be NULL */
};

/* Reads what is there, makes what is missing, and renews what ends within 30 days or no longer covers the names and
 * addresses asked for. The CAs and sa.key are never replaced. *ret_changed (may be NULL): a certificate was made. */
int pki_load(const struct pki_options *o, struct pki *ret, bool *ret_changed, struct error *err);
void pki_free(struct pki *p);
