/* Pods: what is set when they are made, what may change afterwards. */
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/quantity.h"

/* Guaranteed: every container limits cpu and memory and requests as much. Best effort: nothing anywhere. */
static const char *qos_class(const struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers" };
        static const char *const counted[] = { "cpu", "memory" };
        bool any = false, guaranteed = true;

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                json_each_item(c, json_getc(spec, lists[l])) {
                        const struct json *requests = json_at_path(c, "resources", "requests");
                        const struct json *limits = json_at_path(c, "resources", "limits");

                        for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
                                struct quantity request = quantity_of_json(json_getc(requests, counted[i]));
                                struct quantity limit = quantity_of_json(json_getc(limits, counted[i]));

                                any = any || request.nano > 0 || limit.nano > 0;
                                guaranteed = guaranteed && limit.nano > 0 && request.nano == limit.nano;
                        }
                }
        return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

int pod_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *status = json_get_or_add_object(a, obj, "status");
        struct json *spec = json_get_or_add_object(a, obj, "spec");
        const struct json *gates = json_getc(spec, "schedulingGates");

        json_removec(spec, "ephemeralContainers"); /* only through the subresource */
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
        json_set_cstr(a, status, "qosClass", qos_class(spec));
        return 0;
}
