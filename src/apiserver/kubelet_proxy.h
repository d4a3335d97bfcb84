/* What goes on to a node's kubelet: logs, exec, attach, port-forward, and proxying. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

int kubelets_new(struct apiserver *s, struct kubelets **ret, struct error *err);
void kubelets_stop(struct kubelets *k); /* before the workers' loops end */
void kubelets_free(struct kubelets *k);

/* One of a Service's ready endpoints, for the port of this number or name (empty: the first); an ExternalName as it is.
 * *ret_host lives in a. */
int service_endpoint(struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ns, struct str name,
                     struct str port, struct str *ret_host, uint16_t *ret_port, struct error *err);
