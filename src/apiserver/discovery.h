/* What there is: /api, /apis, groups, group-versions, aggregated discovery, OpenAPI. Private to src/apiserver.
 * Documents are made once and kept; they change only with the set of resources. */
#pragma once

#include "apiserver/handler.h"

struct discovery;
struct discovery *discovery_new(struct apiserver *s);
void discovery_free(struct discovery *d);
/* True when the path is one of discovery's (it was answered). */
bool discovery_handle(struct exchange *x);
