/* A kubelet as upstream's for exec and port-forward: it speaks SPDY and nothing else. What comes to stdin goes to
 * stdout; at its end the "process" exits with 3. A port gives back what it gets. */
#pragma once

#include "base/str.h"

struct fake_kubelet;

struct fake_kubelet *fake_kubelet_start(void);
uint16_t fake_kubelet_port(const struct fake_kubelet *k);
/* What it was asked for last: method, target, upgrade and protocol, with a space between. */
const char *fake_kubelet_asked(struct fake_kubelet *k);
void fake_kubelet_stop(struct fake_kubelet *k);
