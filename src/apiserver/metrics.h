/* /metrics in Prometheus' text format. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

#define GIT_VERSION "v1.33.4+cube1"

void metrics_write(struct apiserver *s, struct buf *dst);
