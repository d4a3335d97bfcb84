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
        json_put(a, meta, "annotations", json_len(&annotations) > 0 ? &annotations : NULL);
        return parsed ? *parsed : json_null();
}

static const struct json *member_or(const struct json *o, const char *key, const struct json *dflt) {
        const struct json *v = json_getc(o, key);

        return v ? v : dflt;
}

/* Where v1 has what v2 has of a metric, in v1's order; % is "target" in a spec and "current" in a status. */
static const struct {
        const char *source; /* or all */
        const char *v1, *outer, *inner;
        enum { WHEN_GIVEN, ALWAYS, ALWAYS_IN_STATUS } when;
} metric_members[] = {
        { "object", "target", "describedObject", NULL, ALWAYS },
        { "object", "metricName", "metric", "name", ALWAYS },
        { "object", "%Value", "%", "value", ALWAYS },
        { "object", "selector", "metric", "selector", WHEN_GIVEN },
        { "object", "averageValue", "%", "averageValue", WHEN_GIVEN },
        { "pods", "metricName", "metric", "name", ALWAYS },
        { "pods", "%AverageValue", "%", "averageValue", ALWAYS },
        { "pods", "selector", "metric", "selector", WHEN_GIVEN },
        { "esource", "name", "name", NULL, ALWAYS },
        { "esource", "%AverageUtilization", "%", "averageUtilization", WHEN_GIVEN },
        { "esource", "%AverageValue", "%", "averageValue", ALWAYS_IN_STATUS },
        { "esource", "container", "container", NULL, WHEN_GIVEN },
        { "external", "metricName", "metric", "name", ALWAYS },
        { "external", "metricSelector", "metric", "selector", WHEN_GIVEN },
        { "external", "%Value", "%", "value", ALWAYS_IN_STATUS },
        { "external", "%AverageValue", "%", "averageValue", WHEN_GIVEN },
};

static const char *of_metric(struct arena *a, const char *name, bool status) {
        return *name == '%' ? arena_printf(a, "%s%s", status ? "current" : "target", name + 1).p : name;
}

static struct json source_to_v1(struct arena *a, struct str source, const struct json *v2, bool status) {
        struct json v1 = json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(metric_members); i++) {
                const char *outer = of_metric(a, metric_members[i].outer, status), *inner = metric_members[i].inner;
                const struct json *v = inner ? json_at_path(v2, outer, inner) : json_getc(v2, outer);
                bool always = metric_members[i].when == ALWAYS ||
                              (metric_members[i].when == ALWAYS_IN_STATUS && status);

                if (str_has_suffix(source, str_of(metric_members[i].source)) && (v || always))
                        json_add(a, &v1, str_of(of_metric(a, metric_members[i].v1, status)),
                                 v ? *v : json_of_cstr("0"));
        }
        return v1;
}

static struct json source_from_v1(struct arena *a, struct str source, const struct json *v1, bool status) {
        const char *value = status ? "current" : "target", *type = "AverageValue";
        struct json v2 = json_new_object(), *target;

        for (size_t i = 0; i < ARRAY_SIZE(metric_members); i++) {
                const struct json *v = json_getc(v1, of_metric(a, metric_members[i].v1, status));
                const char *outer = of_metric(a, metric_members[i].outer, status), *inner = metric_members[i].inner;

                if (v && str_has_suffix(source, str_of(metric_members[i].source)))
                        json_setc(a, inner ? json_get_or_add_object(a, &v2, outer) : &v2, inner ? inner : outer, *v);
        }
        target = json_get_or_add_object(a, &v2, value);
        if (json_getc(target, "averageUtilization"))
                type = "Utilization";
        else if (str_eqc(source, "external") ? !!json_getc(target, "value")
                                             : str_eqc(source, "object") && !json_getc(target, "averageValue"))
                type = "Value";
        if (!status)
                json_set_cstr(a, target, "type", type);
        return v2;
}

static struct json metrics_in(struct arena *a, const struct json *metrics, bool v1, bool status) {
        struct json out = json_new_array();

        json_each_item(metric, metrics) {
                struct json one = json_new_object();

                json_each_member(m, metric)
                        json_add(a, &one, json_key(m),
                                 !json_is(&m->value, JSON_OBJECT) ? m->value
                                 : v1                             ? source_to_v1(a, json_key(m), &m->value, status)
                                                                  : source_from_v1(a, json_key(m), &m->value, status));
                json_push(a, &out, one);
        }
        return out;
}

/* As Go writes a type that has no names for JSON, and back. */
static struct json with_go_names(struct arena *a, const struct schema_type *t, const struct json *v, bool back) {
        struct json out = json_is(v, JSON_ARRAY) ? json_new_array() : json_new_object();

        if (!t || (!json_is(v, JSON_OBJECT) && !json_is(v, JSON_ARRAY)))
                return v ? *v : json_null();
        json_each_item(it, v)
                json_push(a, &out, with_go_names(a, t->elem, it, back));
        for (size_t i = 0; json_is(v, JSON_OBJECT) && i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];
                struct str go = arena_printf(a, "%c%s", f->name[0] - 'a' + 'A', f->name + 1);
                const struct json *member = json_getc(v, f->name);

                if (back && json_get(v, go))
                        member = json_get(v, go);
                if (!back || json_type(member) != JSON_NULL)
                        json_add(a, &out, back ? str_of(f->name) : go, with_go_names(a, f->type, member, back));
        }
        return out;
}

static void autoscaler_to_v1(struct arena *a, struct json *object) {
        const struct json none = json_new_object();
        struct json spec = json_copy_shallow(a, member_or(object, "spec", &none));
        struct json status = json_copy_shallow(a, member_or(object, "status", &none));
        struct json others = json_new_array(), current, behavior;
        bool have = false;

        json_each_item(metric, HorizontalPodAutoscalerSpec_metrics(&spec)) {
                if (!is_cpu(metric, false)) {
                        json_push(a, &others, *metric);
                        continue;
                }
                if (!have)
                        json_set_int(a, &spec, "targetCPUUtilizationPercentage",
                                     MetricTarget_averageUtilization(
                                                     ResourceMetricSource_target(MetricSpec_resource(metric))));
                have = true;
        }
        json_each_item(metric, HorizontalPodAutoscalerStatus_currentMetrics(&status)) {
                const struct json *value = ResourceMetricStatus_current(MetricStatus_resource(metric));

                if (is_cpu(metric, true) && MetricValueStatus_has_averageUtilization(value))
                        json_set_int(a, &status, "currentCPUUtilizationPercentage",
                                     MetricValueStatus_averageUtilization(value));
        }
        others = metrics_in(a, &others, true, false);
        current = metrics_in(a, HorizontalPodAutoscalerStatus_currentMetrics(&status), true, true);
        behavior = with_go_names(a, &type_HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec_behavior(&spec),
                                 false);
        set_annotation(a, object, METRICS, &others);
        set_annotation(a, object, CURRENT_METRICS, &current);
        set_annotation(a, object, CONDITIONS, HorizontalPodAutoscalerStatus_conditions(&status));
        set_annotation(a, object, BEHAVIOR, &behavior);
        json_setc(a, object, "spec", spec);
        json_setc(a, object, "status", status);
}

static struct json cpu_metric(struct arena *a, bool status, int64_t percent) {
        return status ? json_build(a,
                                   "{ type: 'Resource', resource: { name: 'cpu', current: { averageUtilization: %l "
                                   "} } }",
                                   percent)
                      : json_build(a,
                                   "{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', "
                                   "averageUtilization: %l } } }",
                                   percent);
}

static void autoscaler_from_v1(struct arena *a, struct json *object) {
        const struct json none = json_new_object();
        struct json spec = json_copy_shallow(a, member_or(object, "spec", &none));
        struct json status = json_copy_shallow(a, member_or(object, "status", &none));
        struct json others = take_annotation(a, object, METRICS), now = take_annotation(a, object, CURRENT_METRICS);
        struct json conditions = take_annotation(a, object, CONDITIONS),
                    behavior = take_annotation(a, object, BEHAVIOR);
        struct json metrics = metrics_in(a, &others, false, false), current = metrics_in(a, &now, false, true);

        if (HorizontalPodAutoscalerSpecV1_has_targetCPUUtilizationPercentage(&spec))
                json_push(a, &metrics,
                          cpu_metric(a, false, HorizontalPodAutoscalerSpecV1_targetCPUUtilizationPercentage(&spec)));
        else if (json_len(&metrics) == 0)
                json_push(a, &metrics, cpu_metric(a, false, 80)); /* v1 has always meant that */
        if (now.type != JSON_ARRAY && HorizontalPodAutoscalerStatusV1_has_currentCPUUtilizationPercentage(&status))
                json_push(a, &current,
                          cpu_metric(a, true,
                                     HorizontalPodAutoscalerStatusV1_currentCPUUtilizationPercentage(&status)));
        json_setc(a, &spec, "metrics", metrics);
        behavior = with_go_names(a, &type_HorizontalPodAutoscalerBehavior, &behavior, true);
        if (behavior.type == JSON_OBJECT && json_len(&behavior) > 0)
                json_setc(a, &spec, "behavior", behavior);
        if (json_len(&current) > 0)
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
