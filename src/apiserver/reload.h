/* Files that are read again when they change: --authentication-config, --authorization-config, the server's certificate
 * and key, who certifies clients and front proxies, who it is to kubelets and, with its own flag,
 * --encryption-provider-config. A thread of their own looks at them once a second; a server without such files has
 * none. What cannot be read leaves what was before. Private to src/apiserver. */
#pragma once

#include "apiserver/server.h"

int reloads_start(struct apiserver *s, struct error *err);
void reloads_stop(struct apiserver *s); /* no file is looked at any more */
void reloads_free(struct apiserver *s); /* when nobody asks who may do what any more */
