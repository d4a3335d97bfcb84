/* /metrics in Prometheus' text format. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

#define GIT_VERSION "v1.33.4+cube1"

int metrics_configure(struct apiserver *s, struct error *err); /* what the flags say of labels */
void metrics_write(struct apiserver *s, struct buf *dst);
/* Pages of /debug/pprof: "" (which there are), "heap", "threads". False when there is no such page. */
bool debug_write(struct str page, struct buf *dst);
/* As Go names it: amd64. */
const char *server_architecture(void);
