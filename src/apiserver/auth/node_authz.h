/* What a kubelet may do: its role, narrowed to its own node and to what its pods refer to. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

/* True when the user is a node ("system:node:NAME" of the group system:nodes); its name then. */
bool node_user(const struct api_user *user, struct str *ret_name);
/* reason (may be NULL) gets why not. */
bool node_authorize(struct apiserver *s, const struct api_user *user, const struct attributes *at, struct buf *reason);
