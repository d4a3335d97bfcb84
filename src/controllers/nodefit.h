/* Would a pod of this spec be let onto that node, as far as a DaemonSet asks: names, labels, taints. */
#pragma once

#include "json/object.h"

/* nodeSelector and the required node affinity. */
bool node_matches(const struct object *node, const struct json *pod_spec);
/* All taints of one of these effects ("NoSchedule", "NoExecute") are tolerated. */
bool taints_tolerated(const struct object *node, const struct json *tolerations, bool no_schedule, bool no_execute);
bool toleration_matches(const struct json *toleration, const struct json *taint);
