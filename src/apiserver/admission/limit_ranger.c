/* LimitRanger: what a LimitRange of the namespace gives to containers that say nothing, and what it forbids.
 * https://kubernetes.io/docs/concepts/policy/limit-range/ */
#include <errno.h>

#include "apiserver/admission/admission.h"
#include "apiserver/validation/validate.h"
#include "schema/quantity.h"
#include "schema/types.h"

struct limits {
        struct op *op;
        struct json *obj;
        VEC(struct str) problems;
};

static void problem(struct limits *l, struct str text) {
        if (l->problems.n < 32)
                vec_push(&l->problems, text);
}

static void give_defaults(struct arena *a, struct json *resources, const char *to, const struct json *from) {
        json_each_member(m, from) {
                struct json *list = json_get_or_add_object(a, resources, to);

                if (!json_get(list, json_key(m)))
                        json_set(a, list, json_key(m), json_copy(a, &m->value));
        }
}

/* Defaults of type Container for every container of the pod. */
static void default_container(struct limits *l, struct json *container, const struct json *item) {
        struct arena *a = l->op->c->arena;
        struct json *resources = json_get_or_add_object(a, container, "resources");

        give_defaults(a, resources, "limits", json_getc(item, "default"));
        give_defaults(a, resources, "requests", json_getc(item, "defaultRequest"));
}

static struct str text_of(struct arena *a, struct quantity q) {
        char text[64];

        return arena_str(a, quantity_print(text, q));
}

/* min, max and maxLimitRequestRatio of one type over the usage of one thing. */
static void check_usage(struct limits *l, const struct json *item, const struct json *requests,
                        const struct json *limits) {
        struct arena *a = l->op->c->arena;
        struct str type = json_str(json_getc(item, "type"));

        json_each_member(m, json_getc(item, "min")) {
                const struct json *request = json_get(requests, json_key(m)), *limit = json_get(limits, json_key(m));
                struct str min = json_str(&m->value), key = json_key(m);

                if (!request)
                        problem(l, arena_printf(a,
                                                "minimum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ".  No request is specified",
                                                STR_ARG(key), STR_ARG(type), STR_ARG(min)));
                else if (quantity_cmp(quantity_of_json(request), quantity_of_json(&m->value)) < 0)
                        problem(l, arena_printf(a,
                                                "minimum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ", but request is %" STR_FMT,
                                                STR_ARG(key), STR_ARG(type), STR_ARG(min),
                                                STR_ARG(text_of(a, quantity_of_json(request)))));
                if (limit && quantity_cmp(quantity_of_json(limit), quantity_of_json(&m->value)) < 0)
                        problem(l, arena_printf(a,
                                                "minimum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ", but limit is %" STR_FMT,
                                                STR_ARG(key), STR_ARG(type), STR_ARG(min),
                                                STR_ARG(text_of(a, quantity_of_json(limit)))));
        }
        json_each_member(m, json_getc(item, "max")) {
                const struct json *request = json_get(requests, json_key(m)), *limit = json_get(limits, json_key(m));
                struct str max = json_str(&m->value), key = json_key(m);
                bool claim = str_eqc(type, "PersistentVolumeClaim");

                if (!limit && !claim)
                        problem(l, arena_printf(a,
                                                "maximum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ".  No limit is specified",
                                                STR_ARG(key), STR_ARG(type), STR_ARG(max)));
                else if (limit && quantity_cmp(quantity_of_json(limit), quantity_of_json(&m->value)) > 0)
                        problem(l, arena_printf(a,
                                                "maximum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ", but limit is %" STR_FMT,
                                                STR_ARG(key), STR_ARG(type), STR_ARG(max),
                                                STR_ARG(text_of(a, quantity_of_json(limit)))));
                if (request && quantity_cmp(quantity_of_json(request), quantity_of_json(&m->value)) > 0)
                        problem(l, arena_printf(a,
                                                "maximum %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT
                                                ", but request is %" STR_FMT,
                                                STR_ARG(key), STR_ARG(type), STR_ARG(max),
                                                STR_ARG(text_of(a, quantity_of_json(request)))));
        }
        json_each_member(m, json_getc(item, "maxLimitRequestRatio")) {
                const struct json *request = json_get(requests, json_key(m)), *limit = json_get(limits, json_key(m));
                double ratio, max = quantity_double(quantity_of_json(&m->value));

                if (!request || !limit || quantity_of_json(request).nano == 0)
                        continue;
                ratio = quantity_double(quantity_of_json(limit)) / quantity_double(quantity_of_json(request));
                if (ratio > max)
                        problem(l,
                                arena_printf(a,
                                             "%" STR_FMT " max limit to request ratio per %" STR_FMT " is %" STR_FMT
                                             ", but provided ratio is %f",
                                             STR_ARG(json_key(m)), STR_ARG(type), STR_ARG(json_str(&m->value)), ratio));
        }
}

/* Requests or limits of all containers together; what one of them leaves out is not known of the pod. */
static struct json pod_sum(struct arena *a, const struct json *spec, const char *kind) {
        struct json sum = json_new_object();

        json_each_item(c, json_getc(spec, "containers"))
                json_each_member(m, json_at_path(c, "resources", kind)) {
                        struct quantity q = quantity_add(quantity_of_json(json_get(&sum, json_key(m))),
                                                         quantity_of_json(&m->value));

                        json_set(a, &sum, json_key(m), json_of_str(text_of(a, q)));
                }
        return sum;
}

static void apply_to_pod(struct limits *l, const struct json *item) {
        static const char *const lists[] = { "initContainers", "containers" };
        struct arena *a = l->op->c->arena;
        struct json *spec = json_get_or_add_object(a, l->obj, "spec");

        if (str_eqc(json_str(json_getc(item, "type")), "Pod")) {
                struct json requests = pod_sum(a, spec, "requests"), limits = pod_sum(a, spec, "limits");

                check_usage(l, item, &requests, &limits);
        } else if (str_eqc(json_str(json_getc(item, "type")), "Container")) {
                for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
                        json_each_item(c, json_getc(spec, lists[i])) {
                                default_container(l, c, item);
                                check_usage(l, item, json_at_path(c, "resources", "requests"),
                                            json_at_path(c, "resources", "limits"));
                        }
        }
}

static int refuse(struct limits *l, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < l->problems.n; i++)
                buf_printf(&b, "%s%" STR_FMT, i ? ", " : "", STR_ARG(l->problems.v[i]));
        return err_forbidden(err, l->op->rest, l->op->name, "%s%" STR_FMT "%s", l->problems.n > 1 ? "[" : "",
                             STR_ARG(buf_str(&b)), l->problems.n > 1 ? "]" : "");
}

int admission_limit_ranger(struct op *op, struct json *obj, struct error *err) {
        const struct rest *ranges = rest_of(op->s, &res_limitranges);
        bool pod = op->rest->stored->resource == &res_pods,
             claim = op->rest->stored->resource == &res_persistentvolumeclaims;
        struct limits l = { .op = op, .obj = obj };
        struct store_iter it;
        struct str prefix;
        int r = 0;

        if (!pod && !claim)
                return 0;
        prefix = arena_printf(op->c->arena, "%" STR_FMT "%" STR_FMT "/", STR_ARG(ranges->prefix),
                              STR_ARG(op->namespace));
        store_iter_init(&it, op->snap, prefix, prefix);
        while (store_iter_next(&it))
                json_each_item(item, json_at_path(object_json(it.object), "spec", "limits")) {
                        if (pod)
                                apply_to_pod(&l, item);
                        else if (str_eqc(json_str(json_getc(item, "type")), "PersistentVolumeClaim"))
                                check_usage(&l, item, json_at_path(obj, "spec", "resources", "requests"), NULL);
                }
        if (l.problems.n > 0)
                r = refuse(&l, err);
        vec_free(&l.problems);
        return r;
}
