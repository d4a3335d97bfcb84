/* Pods: what is set when they are made, what may change afterwards. */
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/quota.h"

int pod_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *status = json_get_or_add_object(a, obj, "status");
        struct json *spec = json_get_or_add_object(a, obj, "spec");
        const struct json *gates = json_getc(spec, "schedulingGates");

        json_set_cstr(a, status, "phase", "Pending");
        if (json_len(gates) > 0) {
                struct json condition = json_new_object(), conditions = json_new_array();

                json_set_cstr(a, &condition, "type", "PodScheduled");
                json_set_cstr(a, &condition, "status", "False");
                json_setc(a, &condition, "lastProbeTime", json_null());
                json_setc(a, &condition, "lastTransitionTime", json_null());
                json_set_cstr(a, &condition, "reason", "SchedulingGated");
                json_set_cstr(a, &condition, "message", "Scheduling is blocked due to non-empty scheduling gates");
                json_push(a, &conditions, condition);
                json_setc(a, status, "conditions", conditions);
        }
        json_set_cstr(a, status, "qosClass", pod_qos_class(spec));
        return 0;
}
