/* Pods: what is set when they are made, what may change afterwards. */
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "json/build.h"
#include "schema/quota.h"

int pod_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *status = json_get_or_add_object(a, obj, "status");
        struct json *spec = json_get_or_add_object(a, obj, "spec");
        const struct json *gates = json_getc(spec, "schedulingGates");

        json_set_cstr(a, status, "phase", "Pending");
        if (json_len(gates) > 0)
                json_setc(a, status, "conditions",
                          json_build(a, "[ { type: 'PodScheduled', status: 'False', lastProbeTime: null,"
                                        "  lastTransitionTime: null, reason: 'SchedulingGated',"
                                        "  message: 'Scheduling is blocked due to non-empty scheduling gates' } ]"));
        json_set_cstr(a, status, "qosClass", pod_qos_class(spec));
        return 0;
}
