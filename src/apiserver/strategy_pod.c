/* Pods: what is set when they are made, what may change afterwards. */
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "json/build.h"
#include "schema/quota.h"

/* matchLabelKeys and mismatchLabelKeys of a term: requirements of its selector, with the values that the pod has. */
static void select_by_keys(struct arena *a, struct json *term, const struct json *labels) {
        static const char *const lists[][2] = { { "matchLabelKeys", "In" }, { "mismatchLabelKeys", "NotIn" } };
        struct json *selector = json_get_mut(term, STR("labelSelector"));

        for (size_t i = 0; selector && i < ARRAY_SIZE(lists); i++)
                json_each_item(key, json_getc(term, lists[i][0])) {
                        const struct json *value = json_get(labels, json_str(key));

                        if (value)
                                json_push(a, json_get_or_add_array(a, selector, "matchExpressions"),
                                          json_build(a, "{ key: %s, operator: %c, values: [ %j ] }", json_str(key),
                                                     lists[i][1], value));
                }
}

static void complete_affinity(struct arena *a, struct json *spec, const struct json *labels) {
        json_each_member(kind, json_getc(spec, "affinity")) {
                if (str_eqc(json_key(kind), "nodeAffinity"))
                        continue;
                json_each_item(t, json_getc(&kind->value, "requiredDuringSchedulingIgnoredDuringExecution"))
                        select_by_keys(a, t, labels);
                json_each_item(t, json_getc(&kind->value, "preferredDuringSchedulingIgnoredDuringExecution"))
                        select_by_keys(a, json_get_or_add_object(a, t, "podAffinityTerm"), labels);
        }
}

static struct str armor_annotation(struct arena *a, const struct json *profile) {
        struct str type = json_str(json_getc(profile, "type")),
                   local = json_str(json_getc(profile, "localhostProfile"));

        return str_eqc(type, "Unconfined")       ? STR("unconfined")
               : str_eqc(type, "RuntimeDefault") ? STR("runtime/default")
               : str_eqc(type, "Localhost") && !str_empty(local)
                               ? arena_printf(a, "localhost/%" STR_FMT, STR_ARG(local))
                               : STR("");
}

/* The profile that an annotation names, or null. */
static struct json armor_profile(struct arena *a, struct str annotation) {
        struct str local = str_sub(annotation, MIN(strlen("localhost/"), annotation.n), annotation.n);

        if (str_eqc(annotation, "unconfined"))
                return json_build(a, "{ type: 'Unconfined' }");
        if (str_eqc(annotation, "runtime/default"))
                return json_build(a, "{ type: 'RuntimeDefault' }");
        return str_has_prefix(annotation, STR("localhost/")) && !str_empty(local) && str_trim(local).n == local.n
                               ? json_build(a, "{ type: 'Localhost', localhostProfile: %s }", local)
                               : json_null();
}

/* AppArmor profiles were annotations once: field and annotation of a container say the same. */
static void sync_profile(struct op *op, struct json *obj, const struct json *of_pod, struct json *container) {
        struct arena *a = op->c->arena;
        const struct json *own = json_at_path(container, "securityContext", "appArmorProfile"),
                          *annotations = json_at_path(obj, "metadata", "annotations"), *said;

        if (!own && !of_pod && json_len(annotations) == 0)
                return;
        struct str key = arena_printf(a, APPARMOR "%" STR_FMT, STR_ARG(json_str(json_getc(container, "name"))));
        said = json_get(annotations, key);
        if (!said) {
                struct str text = armor_annotation(a, own ? own : of_pod);

                if (!str_empty(text))
                        json_set(a, json_get_or_add_object(a, meta_of(a, obj), "annotations"), key, json_of_str(text));
                return;
        }
        if (own)
                return;
        struct json profile = armor_profile(a, json_str(said));
        if (of_pod && json_equal(&profile, of_pod))
                return;
        if (json_is(&profile, JSON_OBJECT))
                json_setc(a, json_get_or_add_object(a, container, "securityContext"), "appArmorProfile", profile);
        op_warn(op, arena_printf(a,
                                 "metadata.annotations[%" STR_FMT
                                 "]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
                                 STR_ARG(key)));
}

static void sync_profiles(struct op *op, struct json *obj, struct json *spec) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
        const struct json *of_pod = json_at_path(spec, "securityContext", "appArmorProfile");

        if (str_eqc(json_str(json_at_path(spec, "os", "name")), "windows"))
                return;
        for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                json_each_item(c, json_getc(spec, lists[i]))
                        sync_profile(op, obj, of_pod, c);
}

/* Old kubelets leave the class out. */
void pod_prepare_status(struct op *op, struct json *obj, const struct json *old) {
        const struct json *class = json_at_path(old, "status", "qosClass");

        if (!class || !str_empty(json_str(json_at_path(obj, "status", "qosClass"))))
                return;
        struct json status = json_copy_shallow(op->c->arena, json_getc(obj, "status"));
        json_setc(op->c->arena, &status, "qosClass", *class);
        json_setc(op->c->arena, obj, "status", status);
}

int pod_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct arena *a = op->c->arena;
        struct json *status = json_get_or_add_object(a, obj, "status");
        struct json *spec = json_get_or_add_object(a, obj, "spec");
        const struct json *gates = json_getc(spec, "schedulingGates");
        struct str class = json_str(json_at_path(op->c->body, "status", "qosClass"));

        json_set_cstr(a, status, "phase", "Pending");
        if (json_len(gates) > 0)
                json_setc(a, status, "conditions",
                          json_build(a,
                                     "[ { type: 'PodScheduled', status: 'False', lastProbeTime: null,"
                                     "  lastTransitionTime: %o, reason: 'SchedulingGated',"
                                     "  message: 'Scheduling is blocked due to non-empty scheduling gates' } ]",
                                     now_text(a)));
        if (str_empty(class)) /* upstream believes what it is told */
                class = str_of(pod_qos_class(spec));
        json_set_str(a, status, "qosClass", class);
        if (json_getc(spec, "affinity"))
                complete_affinity(a, spec, json_at_path(obj, "metadata", "labels"));
        sync_profiles(op, obj, spec);
        return 0;
}
