/* Between the versions of one resource. Only two resources have more than one: the autoscaler, whose v1 knows CPU only
 * and keeps what it cannot say in annotations, and events, whose core view has older names for the same things. */
#include "json/build.h"
#include "schema/decode.h"
#include "schema/types.h"

#define METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define CURRENT_METRICS "autoscaling.alpha.kubernetes.io/current-metrics"
#define CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"
#define BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"

/* ---- renaming ---- */

struct rename {
        const char *from, *to;
};

/* The members of o under their new names, in the order of o; a name that maps to NULL is dropped. */
static struct json renamed(struct arena *a, const struct json *o, const struct rename *names, size_t n, bool back) {
        struct json out = json_new_object();

        json_each_member(m, o) {
                struct str key = json_key(m);

                for (size_t i = 0; i < n; i++)
                        if (str_eqc(key, back ? names[i].to : names[i].from)) {
                                key = str_of(back ? names[i].from : names[i].to);
                                break;
                        }
                json_add(a, &out, key, m->value);
        }
        return out;
}

/* ---- events ---- */

static const struct rename event_names[] = {
        /* core, events.k8s.io */
        { "involvedObject", "regarding" },
        { "message", "note" },
        { "source", "deprecatedSource" },
        { "firstTimestamp", "deprecatedFirstTimestamp" },
        { "lastTimestamp", "deprecatedLastTimestamp" },
        { "count", "deprecatedCount" },
        { "reportingComponent", "reportingController" },
};

/* ---- autoscalers ---- */

/* The metric that v1 can express: CPU utilization of the pods' own resource. */
static bool is_cpu(const struct json *metric, bool status) {
        const struct json *resource = MetricSpec_resource(metric);

        if (!str_eqc(MetricSpec_type(metric), "Resource") || !str_eqc(ResourceMetricSource_name(resource), "cpu"))
                return false;
        return status || MetricTarget_has_averageUtilization(ResourceMetricSource_target(resource));
}

static void set_annotation(struct arena *a, struct json *object, const char *key, const struct json *value) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json *meta = json_get_or_add_object(a, object, "metadata"), annotations = json_new_object();

        if (json_len(value) == 0)
                return;
        json_write(&text, value);
        *meta = json_copy_shallow(a, meta);
        if (json_is(ObjectMeta_annotations(meta), JSON_OBJECT))
                annotations = json_copy_shallow(a, ObjectMeta_annotations(meta));
        json_setc(a, &annotations, key, json_of_copy(a, buf_str(&text)));
        json_setc(a, meta, "annotations", annotations);
}

/* Takes an annotation out and parses it; *ret is null when there is none. */
static struct json take_annotation(struct arena *a, struct json *object, const char *key) {
        struct json *meta = json_get_mut(object, STR("metadata")), *parsed = NULL, annotations;
        const struct json *text = json_getc(ObjectMeta_annotations(meta), key);

        if (!json_is(text, JSON_STRING))
                return json_null();
        if (json_parse(a, json_str(text), &(struct json_parse_opts) { .copy_strings = true }, &parsed, NULL) < 0)
                parsed = NULL; /* a person wrote it: nothing to restore */
        *meta = json_copy_shallow(a, meta);
        annotations = json_copy_shallow(a, ObjectMeta_annotations(meta));
        json_removec(&annotations, key);
        if (json_len(&annotations) > 0)
                json_setc(a, meta, "annotations", annotations);
        else
                json_removec(meta, "annotations");
        return parsed ? *parsed : json_null();
}

static const struct json *member_or(const struct json *o, const char *key, const struct json *dflt) {
        const struct json *v = json_getc(o, key);

        return v ? v : dflt;
}

static void autoscaler_to_v1(struct arena *a, struct json *object) {
        const struct json none = json_new_object();
        struct json spec = json_copy_shallow(a, member_or(object, "spec", &none));
        struct json status = json_copy_shallow(a, member_or(object, "status", &none));
        struct json others = json_new_array(), current = json_new_array();
        bool have = false;

        json_each_item(metric, HorizontalPodAutoscalerSpec_metrics(&spec)) {
                if (!have && is_cpu(metric, false)) {
                        json_set_int(a, &spec, "targetCPUUtilizationPercentage",
                                     MetricTarget_averageUtilization(
                                                     ResourceMetricSource_target(MetricSpec_resource(metric))));
                        have = true;
                } else
                        json_push(a, &others, *metric);
        }
        json_each_item(metric, HorizontalPodAutoscalerStatus_currentMetrics(&status)) {
                const struct json *value = ResourceMetricStatus_current(MetricStatus_resource(metric));

                if (is_cpu(metric, true) && MetricValueStatus_has_averageUtilization(value))
                        json_set_int(a, &status, "currentCPUUtilizationPercentage",
                                     MetricValueStatus_averageUtilization(value));
                json_push(a, &current, *metric);
        }
        set_annotation(a, object, METRICS, &others);
        set_annotation(a, object, CURRENT_METRICS, &current);
        set_annotation(a, object, CONDITIONS, HorizontalPodAutoscalerStatus_conditions(&status));
        set_annotation(a, object, BEHAVIOR, HorizontalPodAutoscalerSpec_behavior(&spec));
        json_setc(a, object, "spec", spec);
        json_setc(a, object, "status", status);
}

static void autoscaler_from_v1(struct arena *a, struct json *object) {
        const struct json none = json_new_object();
        struct json spec = json_copy_shallow(a, member_or(object, "spec", &none));
        struct json status = json_copy_shallow(a, member_or(object, "status", &none));
        struct json metrics = take_annotation(a, object, METRICS),
                    current = take_annotation(a, object, CURRENT_METRICS);
        struct json conditions = take_annotation(a, object, CONDITIONS),
                    behavior = take_annotation(a, object, BEHAVIOR);
        bool has_cpu = HorizontalPodAutoscalerSpecV1_has_targetCPUUtilizationPercentage(&spec);
        int64_t cpu = 80; /* v1 has always meant that */

        if (metrics.type != JSON_ARRAY)
                metrics = json_new_array();
        if (has_cpu)
                cpu = HorizontalPodAutoscalerSpecV1_targetCPUUtilizationPercentage(&spec);
        if (has_cpu || json_len(&metrics) == 0)
                json_insert(a, &metrics, 0,
                            json_build(a,
                                       "{ type: 'Resource', resource: { name: 'cpu', "
                                       "  target: { type: 'Utilization', averageUtilization: %l } } }",
                                       cpu));
        json_setc(a, &spec, "metrics", metrics);
        if (behavior.type == JSON_OBJECT)
                json_setc(a, &spec, "behavior", behavior);
        if (current.type == JSON_ARRAY)
                json_setc(a, &status, "currentMetrics", current);
        if (conditions.type == JSON_ARRAY)
                json_setc(a, &status, "conditions", conditions);
        json_setc(a, object, "spec", spec);
        json_setc(a, object, "status", status);
}

/* ---- all ---- */

int schema_convert(struct arena *a, const struct api_resource *from, const struct api_resource *to,
                   const struct json *object, struct json *ret, struct error *err) {
        struct json out;
        char text[320];

        if (from == to) {
                *ret = *object;
                return 0;
        }
        if ((from == &res_events && to == &res_events_events_k8s_io) ||
            (from == &res_events_events_k8s_io && to == &res_events))
                out = renamed(a, object, event_names, ARRAY_SIZE(event_names), to == &res_events);
        else if (from == &res_horizontalpodautoscalers && to == &res_horizontalpodautoscalers_v1) {
                out = json_copy_shallow(a, object);
                autoscaler_to_v1(a, &out);
        } else if (from == &res_horizontalpodautoscalers_v1 && to == &res_horizontalpodautoscalers) {
                out = json_copy_shallow(a, object);
                autoscaler_from_v1(a, &out);
        } else
                return error_set(err, -EINVAL, "no conversion from %s/%s %s to %s/%s %s", from->group, from->version,
                                 from->kind, to->group, to->version, to->kind);
        json_setc(a, &out, "apiVersion", json_of_copy(a, api_version_of(text, to)));
        return schema_decode(a, to->type, &out, NULL, ret, err);
}
