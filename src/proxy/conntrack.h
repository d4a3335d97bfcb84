/* Connection tracking entries of UDP services: a flow that goes on would otherwise stick to a backend that is gone. */
#pragma once

#include "base/error.h"

/* Deletes UDP entries whose original destination is ip:port (ip 0: any address) and whose reply comes from none of backends
 * (host order). Needs a scan of the table: called when a UDP service loses a backend or gets its first. */
int conntrack_forget_udp(uint32_t ip, uint16_t port, const uint32_t *backends, size_t n_backends, struct error *err);
