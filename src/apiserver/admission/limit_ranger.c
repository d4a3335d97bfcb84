/* LimitRanger: what the LimitRanges of a namespace give to containers that say nothing (admit), and what they forbid to
 * containers, pods and claims (validate). https://kubernetes.io/docs/concepts/policy/limit-range/ */
#include "apiserver/admission/admission.h"
#include "base/faults.h"
#include "schema/quota.h"
#include "schema/types.h"

/* What is being deleted is left alone. */
static bool is_handled(const struct admission *ad) {
        return !json_at_path(ad->old, "metadata", "deletionTimestamp") &&
               (admission_is(ad, &res_persistentvolumeclaims) ||
                (ad->operation == ADMIT_CREATE ? admission_is(ad, &res_pods)
                                               : admission_is_sub(ad, &res_pods, "resize")));
}

/* Where those of its namespace are. */
static struct str limit_ranges(const struct admission *ad) {
        return rest_key(ad->a, rest_of(ad->s, &res_limitranges), ad->op->namespace, STR(""));
}

/* ---- defaults ---- */

/* Fills in what is missing, and notes "cpu, memory limit for container c". */
static void give(struct admission *ad, struct json *container, const char *what, const char *to, const char *word,
                 const struct json *from, struct buf *notes) {
        struct str *set = arena_array(ad->a, struct str, json_len(from) + 1);
        struct json *list;
        size_t n = 0;

        if (json_len(from) == 0)
                return;
        list = json_get_or_add_object(ad->a, json_get_or_add_object(ad->a, container, "resources"), to);
        json_each_member(m, from)
                if (!json_get(list, json_key(m))) {
                        set[n++] = json_key(m);
                        json_set(ad->a, list, json_key(m), json_copy(ad->a, &m->value));
                }
        if (n == 0)
                return;
        qsort(set, n, sizeof(*set), str_compare);
        buf_addc(notes, notes->n ? "; " : "LimitRanger plugin set: ");
        for (size_t i = 0; i < n; i++)
                buf_printf(notes, "%s%" STR_FMT, i ? ", " : "", STR_ARG(set[i]));
        buf_printf(notes, " %s for %s %" STR_FMT, word, what, STR_ARG(json_str(json_getc(container, "name"))));
}

/* What the items for containers say under a key: the last word counts. */
static struct json for_containers(struct arena *a, const struct json *limits, const char *key) {
        struct json all = json_new_object();

        json_each_item(item, limits)
                if (str_eqc(json_str(json_getc(item, "type")), "Container"))
                        json_each_member(m, json_getc(item, key))
                                json_set(a, &all, json_key(m), m->value);
        return all;
}

static void give_defaults(struct admission *ad, const struct json *items, struct buf *notes) {
        static const char *const lists[][2] = { { "containers", "container" }, { "initContainers", "init container" } };
        struct json requests = for_containers(ad->a, items, "defaultRequest"),
                    limits = for_containers(ad->a, items, "default");

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                json_each_item(c, json_at_path(ad->obj, "spec", lists[l][0])) {
                        give(ad, c, lists[l][1], "requests", "request", &requests, notes);
                        give(ad, c, lists[l][1], "limits", "limit", &limits, notes);
                }
}

int admission_limit_defaults(struct admission *ad, struct error *err) {
        if (!is_handled(ad) || admission_is(ad, &res_persistentvolumeclaims))
                return 0; /* a pod that is resized gets what it would leave out, again */
        store_each(it, ad->op->snap, limit_ranges(ad)) {
                _cleanup_buf_ struct buf notes = BUF_INIT;

                give_defaults(ad, json_at_path(object_json(it.object), "spec", "limits"), &notes);
                if (notes.n == 0)
                        continue;
                struct json *meta = json_get_or_add_object(ad->a, ad->obj, "metadata");
                json_setc(ad->a, json_get_or_add_object(ad->a, meta, "annotations"), "kubernetes.io/limit-ranger",
                          json_of_copy(ad->a, buf_str(&notes)));
        }
        return 0;
}

/* ---- limits ---- */

struct limits {
        struct arena *a;
        struct str type;
        struct faults problems;
};

/* What is compared: absent, or an amount. */
struct given {
        bool is;
        struct quantity q;
};

static struct str text_of(struct arena *a, struct quantity q) {
        char text[64];

        return arena_str(a, quantity_print(text, q));
}

/* "minimum cpu usage per Container is 1, but request is 500m" */
static void bound(struct limits *l, const char *which, struct str name, struct quantity want, const char *what,
                  const struct given *g) {
        struct str end = g->is ? arena_printf(l->a, ", but %s is %" STR_FMT, what, STR_ARG(text_of(l->a, g->q)))
                               : arena_printf(l->a, ".  No %s is specified", what);

        fault_add(&l->problems, "%s %" STR_FMT " usage per %" STR_FMT " is %" STR_FMT "%" STR_FMT, which, STR_ARG(name),
                  STR_ARG(l->type), STR_ARG(text_of(l->a, want)), STR_ARG(end));
}

static void check_min(struct limits *l, struct str name, struct quantity min, const struct given *request,
                      const struct given *limit) {
        if (!request->is || quantity_cmp(request->q, min) < 0)
                bound(l, "minimum", name, min, "request", request);
        else if (limit->is && quantity_cmp(limit->q, min) < 0)
                bound(l, "minimum", name, min, "limit", limit);
}

/* A claim has no limits: what counts is its request. */
static void check_max(struct limits *l, struct str name, struct quantity max, const struct given *request,
                      const struct given *limit, bool claim) {
        if (!claim && (!limit->is || quantity_cmp(limit->q, max) > 0))
                bound(l, "maximum", name, max, "limit", limit);
        else if (request->is ? quantity_cmp(request->q, max) > 0 : claim)
                bound(l, "maximum", name, max, "request", request);
}

static void check_ratio(struct limits *l, struct str name, struct quantity max, const struct given *request,
                        const struct given *limit) {
        struct str head = arena_printf(l->a, "%" STR_FMT " max limit to request ratio per %" STR_FMT " is %" STR_FMT,
                                       STR_ARG(name), STR_ARG(l->type), STR_ARG(text_of(l->a, max)));
        double ratio = request->is && request->q.nano ? quantity_double(limit->q) / quantity_double(request->q) : 0;

        if (!request->is || request->q.nano == 0)
                fault_add(&l->problems, "%" STR_FMT ", but no request is specified or request is 0", STR_ARG(head));
        else if (!limit->is || limit->q.nano == 0)
                fault_add(&l->problems, "%" STR_FMT ", but no limit is specified or limit is 0", STR_ARG(head));
        else if (ratio > quantity_double(max))
                fault_add(&l->problems, "%" STR_FMT ", but provided ratio is %f", STR_ARG(head), ratio);
}

typedef struct given (*measure_fn)(const struct json *thing, const char *list, struct str name);

static struct given of_resources(const struct json *thing, const char *list, struct str name) {
        const struct json *v = json_get(json_at_path(thing, "resources", list), name);

        return (struct given) { v != NULL, quantity_of_json(v) };
}

static struct given of_pod(const struct json *pod, const char *list, struct str name) {
        const struct json *spec = json_getc(pod, "spec");
        struct json bare_spec, bare = json_new_object();
        _cleanup_(arena_freep) struct arena *a = arena_new(1024);
        struct given g;

        bare_spec = spec ? json_copy_shallow(a, spec) : json_new_object(); /* without overhead: not the containers' */
        json_removec(&bare_spec, "overhead");
        json_setc(a, &bare, "spec", bare_spec);
        g.is = pod_amount(&bare, list, name, &g.q);
        return g;
}

static void check(struct limits *l, const struct json *item, const struct json *thing, measure_fn measure) {
        static const struct given none = { 0 };
        bool claim = str_eqc(l->type, "PersistentVolumeClaim");

        json_each_member(m, json_getc(item, "min")) {
                struct given r = measure(thing, "requests", json_key(m)), i = measure(thing, "limits", json_key(m));

                check_min(l, json_key(m), quantity_of_json(&m->value), &r, claim ? &none : &i);
        }
        json_each_member(m, json_getc(item, "max")) {
                struct given r = measure(thing, "requests", json_key(m)), i = measure(thing, "limits", json_key(m));

                check_max(l, json_key(m), quantity_of_json(&m->value), &r, &i, claim);
        }
        json_each_member(m, claim ? NULL : json_getc(item, "maxLimitRequestRatio")) {
                struct given r = measure(thing, "requests", json_key(m)), i = measure(thing, "limits", json_key(m));

                check_ratio(l, json_key(m), quantity_of_json(&m->value), &r, &i);
        }
}

static void check_item(struct limits *l, const struct json *item, const struct json *obj, bool pod) {
        static const char *const lists[] = { "containers", "initContainers" };
        const struct json *spec = json_getc(obj, "spec");

        l->type = json_str(json_getc(item, "type"));
        if (pod && str_eqc(l->type, "Pod"))
                check(l, item, obj, of_pod);
        else if (!pod && str_eqc(l->type, "PersistentVolumeClaim"))
                check(l, item, spec, of_resources);
        for (size_t i = 0; pod && str_eqc(l->type, "Container") && i < ARRAY_SIZE(lists); i++)
                json_each_item(c, json_getc(spec, lists[i]))
                        check(l, item, c, of_resources);
}

int admission_limits(struct admission *ad, struct error *err) {
        if (!is_handled(ad))
                return 0;
        store_each(it, ad->op->snap, limit_ranges(ad)) {
                struct limits l = { .a = ad->a };

                json_each_item(item, json_at_path(object_json(it.object), "spec", "limits"))
                        check_item(&l, item, ad->obj, ad->op->rest->stored->resource == &res_pods);
                struct str problems = arena_str(ad->a, faults_text(&l.problems));
                faults_clear(&l.problems);
                if (problems.n > 0)
                        return admission_forbid(ad, err, "%" STR_FMT, STR_ARG(problems));
        }
        return 0;
}
