/* Connection tracking entries of UDP services: a flow that goes on would otherwise stick to a backend that is gone. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* Reads the table once and deletes the UDP entries that stale() names, told where they were sent and who answers (host
 * order). */
int conntrack_forget_udp(bool (*stale)(uint32_t ip, uint16_t port, uint32_t reply_ip, uint16_t reply_port, void *arg),
                         void *arg, struct error *err);
