/* What goes on to a node's kubelet: logs, exec, attach, port-forward, and proxying. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

int kubelets_new(struct apiserver *s, struct kubelets **ret, struct error *err);
void kubelets_stop(struct kubelets *k); /* before the workers' loops end */
void kubelets_free(struct kubelets *k);
