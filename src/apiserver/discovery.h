/* What there is: /api, /apis, groups, group-versions, aggregated discovery, OpenAPI. Private to src/apiserver.
 * Documents are made once for each set of resources, and kept with it (struct catalog). */
#pragma once

#include "apiserver/handler.h"

/* True when the path is one of discovery's (it was answered). */
bool discovery_handle(struct exchange *x);
/* Whether a path below /api or /apis is there. */
bool discovery_knows(struct exchange *x);
