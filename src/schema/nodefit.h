/* Would a pod of this spec be let onto that node, by names, labels and taints: as DaemonSets and the node itself ask.
 * The scheduler, which asks it of every node, compiles a pod's terms first (scheduler/podinfo.c). */
#pragma once

#include "json/object.h"

/* nodeSelector and the required node affinity. */
bool node_matches(const struct object *node, const struct json *pod_spec);
/* All taints of effect "NoExecute", and "NoSchedule" where asked, are tolerated. */
bool taints_tolerated(const struct object *node, const struct json *tolerations, bool no_schedule);
bool toleration_matches(const struct json *toleration, const struct json *taint);
/* The minor version of Kubernetes that took this kernel setting for safe first, where every pod may have it; -1: none
 * has. */
int sysctl_safe_since(struct str name);
/* The name of a kernel setting with '.' or '/' between its parts, whichever stands between them now (the first of both
 * tells; the other is part of a name, as in net/ipv4/conf/eth0.100/rp_filter). The caller frees it. */
char *sysctl_written(struct str name, char between);
