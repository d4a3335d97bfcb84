/* /metrics in Prometheus' text format. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

void metrics_write(struct apiserver *s, struct buf *dst);
