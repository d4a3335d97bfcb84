/* ResourceQuota: what a namespace's quotas leave no room for is refused, and what goes in is charged at once: the
 * quota's status.used rises in the same transaction that writes the object.
 *
 *   admission ─▶ room for it in what this attempt sees? ─▶ op->with: "add this to the quota" ─▶ one transaction
 *                                                                     └─ merged on the store's writer thread, where
 *                                                                        it is checked again: no room ─▶ once more
 *
 * So many creations in one namespace need no locks and meet no conflicts, and none gets past the limit. The controller
 * (controllers/resourcequota.c) counts again what becomes free.
 * https://kubernetes.io/docs/concepts/policy/resource-quotas/ */
#include "apiserver/admission/admission.h"
#include "apiserver/config_file.h"
#include "json/build.h"
#include "schema/quota.h"
#include "schema/types.h"

#define OWNER "kube-apiserver"

struct check {
        struct op *op;
        struct arena *a;
        const struct api_resource *resource;
        const struct json *obj, *old; /* old: NULL for a create */
        bool status;                  /* a claim's status: charged, never refused */
        int64_t now_ns;
        const struct json *limited;  /* what needs a quota; or NULL */
        struct json covered, scopes; /* then: names that quotas limit, and their scopes that the object is in */
};

/* What an object adds to one quota: names and amounts. */
struct charge {
        struct json *amounts;
        bool force;
};

static bool ends(const struct json *pod) {
        return json_is(json_at_path(pod, "spec", "activeDeadlineSeconds"), JSON_INT);
}

static bool is_handled(const struct op *op, const struct admission *ad, const struct api_resource *r) {
        enum admission_operation o = ad->operation;
        struct str sub = op->c->subresource;

        if (o == ADMIT_UPDATE && r == &res_pods) /* which may come into other scopes */
                return str_eqc(sub, "resize") || (!op->sub && ends(ad->obj) != ends(ad->old));
        if (o == ADMIT_UPDATE && r == &res_persistentvolumeclaims)
                return !op->sub || str_eqc(sub, "status");
        return !op->sub && r != &res_events && (o == ADMIT_CREATE || (o == ADMIT_UPDATE && r == &res_services));
}

/* ---- texts ---- */

/* The names of a map, sorted. */
static size_t sorted_names(struct arena *a, const struct json *map, struct str **ret) {
        size_t n = 0;

        *ret = arena_array(a, struct str, json_len(map) + 1);
        json_each_member(m, map)
                (*ret)[n++] = json_key(m);
        if (n > 1)
                qsort(*ret, n, sizeof(struct str), str_compare);
        return n;
}

/* "pods=1,requests.cpu=2" of the names in which. */
static struct str amounts_text(struct arena *a, const struct json *which, const struct json *map) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str *names;
        size_t n = sorted_names(a, which, &names);

        for (size_t i = 0; i < n; i++)
                if (json_get(map, names[i]))
                        buf_printf(&b, "%s%" STR_FMT "=%" STR_FMT, b.n ? "," : "", STR_ARG(names[i]),
                                   STR_ARG(json_str(json_get(map, names[i]))));
        return arena_str(a, buf_str(&b));
}

static struct json amount(struct arena *a, struct quantity q) {
        char text[64];

        return json_of_copy(a, quantity_print(text, q));
}

/* ---- constraints: a quota on cpu or memory wants every container to say what it needs ---- */

static struct str containers_without(struct check *k, struct str name) {
        static const char *const lists[] = { "containers", "initContainers" };
        struct json set = json_new_object();
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str *names;

        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                json_each_item(c, json_at_path(k->obj, "spec", lists[l]))
                        if (!quota_constraint_holds(c, name))
                                json_set(k->a, &set, json_str(json_getc(c, "name")), json_null());
        size_t n = sorted_names(k->a, &set, &names);
        for (size_t i = 0; i < n; i++)
                buf_printf(&b, "%s%" STR_FMT, i ? "," : "", STR_ARG(names[i]));
        return arena_str(k->a, buf_str(&b));
}

static int check_constraints(struct check *k, const struct object *quota, struct str *names, size_t n,
                             struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < n && k->resource == &res_pods; i++) {
                struct str missing = quota_measures(k->resource, names[i]) ? containers_without(k, names[i]) : STR("");

                if (!str_empty(missing))
                        buf_printf(&b, "%s%" STR_FMT " for: %" STR_FMT, b.n ? "; " : "", STR_ARG(names[i]),
                                   STR_ARG(missing));
        }
        if (b.n == 0)
                return 0;
        return err_forbidden(err, k->op->rest, k->op->name, "failed quota: %" STR_FMT ": must specify %" STR_FMT,
                             STR_ARG(object_name(quota)), STR_ARG(buf_str(&b)));
}

/* ---- one quota ---- */

/* What the object adds: its usage, or how much that has grown. Only growth is charged; the controller gives back. */
static int usage_of(struct check *k, const struct json *spec, struct str *names, size_t n, struct json *ret,
                    struct error *err) {
        bool had = k->old && quota_in_scope(spec, k->resource, k->old);

        *ret = json_new_object();
        for (size_t i = 0; i < n; i++) {
                struct quantity now, before;

                if (!quota_usage(k->resource, k->obj, names[i], k->now_ns, &now))
                        continue;
                if (now.nano < 0)
                        return err_forbidden(err, k->op->rest, k->op->name,
                                             "quota usage is negative for resource(s): %" STR_FMT, STR_ARG(names[i]));
                if (had && quota_usage(k->resource, k->old, names[i], k->now_ns, &before))
                        now = quantity_sub(now, before);
                if (now.nano > 0)
                        json_set(k->a, ret, names[i], amount(k->a, now));
        }
        return 0;
}

/* Without a count of what is used already nobody can say whether there is room. */
static int check_counted(struct check *k, const struct object *quota, struct str *names, size_t n,
                         const struct json *used, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool unknown = false;

        for (size_t i = 0; i < n; i++) {
                if (!quota_measures(k->resource, names[i]))
                        continue;
                buf_printf(&b, "%s%" STR_FMT, b.n ? "," : "", STR_ARG(names[i]));
                unknown = unknown || !json_get(used, names[i]);
        }
        if (!unknown)
                return 0;
        return err_forbidden(err, k->op->rest, k->op->name,
                             "status unknown for quota: %" STR_FMT ", resources: %" STR_FMT,
                             STR_ARG(object_name(quota)), STR_ARG(buf_str(&b)));
}

/* The members of amounts for which there is no room. */
static struct json exceeded(struct arena *a, const struct json *amounts, const struct json *status) {
        const struct json *hard = json_getc(status, "hard"), *used = json_getc(status, "used");
        struct json over = json_new_object();

        json_each_member(m, amounts) {
                const struct json *limit = json_get(hard, json_key(m));
                struct quantity sum = quantity_add(quantity_of_json(json_get(used, json_key(m))),
                                                   quantity_of_json(&m->value));

                if (limit && quantity_cmp(sum, quantity_of_json(limit)) > 0)
                        json_set(a, &over, json_key(m), json_null());
        }
        return over;
}

/* Whether this server wrote these amounts last: then nothing changes about who owns them. */
static bool is_owner(struct arena *a, const struct json *quota, const struct json *amounts) {
        const struct json *hard = json_at_path(quota, "status", "hard");

        json_each_item(e, json_at_path(quota, "metadata", "managedFields")) {
                const struct json *fields = json_at_path(e, "fieldsV1", "f:status", "f:used");
                bool all = str_eqc(TEXT(e, "manager"), OWNER) && str_eqc(TEXT(e, "operation"), "Update") &&
                           str_eqc(TEXT(e, "subresource"), "status");

                json_each_member(m, amounts)
                        all = all && (!json_get(hard, json_key(m)) ||
                                      json_get(fields, arena_printf(a, "f:%" STR_FMT, STR_ARG(json_key(m)))));
                if (all)
                        return true;
        }
        return false;
}

/* On the store's writer thread: used + what is added, or NULL when that is too much by now. */
static struct object *add_to_quota(const struct object *now, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct charge *k = arg;
        struct json tree = json_copy_shallow(a, object_json(now)), status, used, over;
        const struct json *hard = json_at_path(&tree, "status", "hard");

        status = json_is(json_getc(&tree, "status"), JSON_OBJECT) ? json_copy_shallow(a, json_getc(&tree, "status"))
                                                                  : json_new_object();
        over = exceeded(a, k->amounts, &status);
        if (json_len(&over) > 0 && !k->force)
                return NULL;
        used = json_is(json_getc(&status, "used"), JSON_OBJECT) ? json_copy_shallow(a, json_getc(&status, "used"))
                                                                : json_new_object();
        json_each_member(m, k->amounts)
                if (json_get(hard, json_key(m)))
                        json_set(a, &used, json_key(m),
                                 amount(a, quantity_add(quantity_of_json(json_get(&used, json_key(m))),
                                                        quantity_of_json(&m->value))));
        json_setc(a, &status, "used", used);
        json_setc(a, &tree, "status", status);
        if (!is_owner(a, object_json(now), k->amounts)) {
                struct json meta = json_copy_shallow(a, json_getc(&tree, "metadata"));
                const struct apply_opts owner = { .manager = STR(OWNER),
                                                  .subresource = STR("status"),
                                                  .api_version = STR("v1"),
                                                  .now_wall_ns = now_wall_ns() };

                json_setc(a, &tree, "metadata", meta);
                apply_track_update(a, res_resourcequotas.type, object_json(now), &tree, &owner);
        }
        return object_from_tree(&tree);
}

static void charge(struct check *k, struct str key, struct json *amounts) {
        struct charge *c = arena_new_of(k->a, struct charge);

        *c = (struct charge) { json_new(k->a, *amounts), k->status };
        vec_push(&k->op->with, (struct store_op) { .kind = STORE_UPDATE,
                                                   .key = arena_str(k->a, key),
                                                   .expect = STORE_ANY_REVISION,
                                                   .merge = add_to_quota,
                                                   .arg = c });
}

/* ---- what may only be used where a quota limits it ---- */

static const struct config_kind limited_kind = {
        "apiserver.config.k8s.io/v1:ResourceQuotaConfiguration "
        "resourcequota.admission.k8s.io/v1beta1:Configuration resourcequota.admission.k8s.io/v1alpha1:Configuration",
        "k8s.io/apiserver/pkg/admission/plugin/resourcequota/config.go:31",
        "{ '': 'Configuration', limitedResources: [ { '': 'LimitedResource', apiGroup: '', resource: '',"
        "  matchContains: [ '' ], matchScopes: [ { '': 'ScopedResourceSelectorRequirement', scopeName: "
        "'v1.ResourceQuotaScope',"
        "  operator: 'v1.ScopeSelectorOperator', values: [ '' ] } ] } ] }",
        false,
};

int admission_limited(struct apiserver *s, const struct json **ret, struct error *err) {
        struct field_errors fe = { .a = s->arena };

        TRY(admission_config(s, "ResourceQuota", &limited_kind, ret, err));
        *ret = json_getc(*ret, "limitedResources");
        each_at(l, at, PATH(NULL, "limitedResources"), *ret)
                if (str_empty(TEXT(l, "resource")))
                        field_required(&fe, PATH(at, "resource"), "");
        return config_finish(&fe, err) < 0 ? admission_unfit(err, "ResourceQuota") : 0;
}

/* What this quota covers of the object. */
static void note_covered(struct check *k, const struct json *spec, const struct str *names, size_t n) {
        json_each_item(s, json_getc(spec, "scopes")) {
                struct json term = json_build(k->a, "{scopeName:%j,operator:'Exists'}", s);

                if (quota_scope_matches(&term, k->resource, k->obj))
                        json_set(k->a, &k->scopes, json_str(s), json_null());
        }
        json_each_item(e, json_at_path(spec, "scopeSelector", "matchExpressions"))
                if (quota_scope_matches(e, k->resource, k->obj))
                        json_set(k->a, &k->scopes, json_str(json_getc(e, "scopeName")), json_null());
        for (size_t i = 0; i < n && quota_in_scope(spec, k->resource, k->obj); i++)
                if (quota_measures(k->resource, names[i]))
                        json_set(k->a, &k->covered, names[i], json_null());
}

/* A name of what the object may use is missing when one of these texts is in it and it uses (more of) it, uncovered. */
static void need_quota(struct check *k, const struct json *texts, struct str name, struct json *missing) {
        struct quantity now, before = { 0 };

        json_each_item(t, texts)
                if (str_search(name, json_str(t)) >= 0 && !json_get(&k->covered, name) &&
                    quota_usage(k->resource, k->obj, name, k->now_ns, &now) &&
                    !(k->old && quota_usage(k->resource, k->old, name, k->now_ns, &before) && before.nano >= now.nano))
                        json_set(k->a, missing, name, json_null());
}

static void need_quotas(struct check *k, const struct json *texts, struct json *missing) {
        static const char *const lists[][2] = { { "containers", "requests" },
                                                { "containers", "limits" },
                                                { "initContainers", "requests" },
                                                { "initContainers", "limits" } },
                                 *const prefixes[] = { "", "requests.", "limits." },
                                 *const fixed[] = { "services.nodeports", "services.loadbalancers",
                                                    "requests.storage" },
                                 *const of_class[] = { "requests.storage", "persistentvolumeclaims" };
        const char *dot = *k->resource->group ? "." : "";

        need_quota(k, texts, str_of(k->resource->plural), missing);
        need_quota(k, texts, arena_printf(k->a, "count/%s%s%s", k->resource->plural, dot, k->resource->group), missing);
        for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
                need_quota(k, texts, str_of(fixed[i]), missing);
        for (size_t i = 0; i < ARRAY_SIZE(of_class); i++)
                need_quota(k, texts,
                           arena_printf(k->a, "%" STR_FMT ".storageclass.storage.k8s.io/%s",
                                        STR_ARG(json_str(json_at_path(k->obj, "spec", "storageClassName"))),
                                        of_class[i]),
                           missing);
        for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
                json_each_item(c, json_at_path(k->obj, "spec", lists[l][0]))
                        json_each_member(m, json_at_path(c, "resources", lists[l][1]))
                                for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
                                        need_quota(k, texts,
                                                   arena_printf(k->a, "%s%" STR_FMT, prefixes[i], STR_ARG(json_key(m))),
                                                   missing);
}

/* As Go prints the terms of scopeSelectors. */
static void add_term(struct buf *b, const struct json *term) {
        bool first = true;

        buf_printf(b, "%s{%" STR_FMT " %" STR_FMT " [", b->n ? " " : "",
                   STR_ARG(json_str(json_getc(term, "scopeName"))), STR_ARG(json_str(json_getc(term, "operator"))));
        json_each_item(v, json_getc(term, "values")) {
                buf_printf(b, "%s%" STR_FMT, first ? "" : " ", STR_ARG(json_str(v)));
                first = false;
        }
        buf_addc(b, "]}");
}

static int check_limited(struct check *k, struct error *err) {
        struct json missing = json_new_object();
        _cleanup_buf_ struct buf names = BUF_INIT, terms = BUF_INIT;

        json_each_item(l, k->limited) {
                if (str_eqc(json_str(json_getc(l, "resource")), k->resource->plural) &&
                    str_eqc(json_str(json_getc(l, "apiGroup")), k->resource->group))
                        need_quotas(k, json_getc(l, "matchContains"), &missing);
                json_each_item(term, json_getc(l, "matchScopes"))
                        if (quota_scope_matches(term, k->resource, k->obj) &&
                            !json_get(&k->scopes, json_str(json_getc(term, "scopeName"))))
                                add_term(&terms, term);
        }
        json_sort(&missing);
        json_each_member(m, &missing)
                buf_printf(&names, "%s%" STR_FMT, names.n ? "," : "", STR_ARG(json_key(m)));
        if (names.n > 0)
                return err_forbidden(err, k->op->rest, k->op->name, "insufficient quota to consume: %" STR_FMT,
                                     STR_ARG(buf_str(&names)));
        if (terms.n > 0)
                return error_status(err, REASON_UNKNOWN, "insufficient quota to match these scopes: [%" STR_FMT "]",
                                    STR_ARG(buf_str(&terms)));
        return 0;
}

/* Can it be said what the object uses of it? */
static int check_quota(struct check *k, struct str key, const struct object *quota, struct error *err) {
        const struct json *j = object_json(quota), *status = json_getc(j, "status");
        struct str *names;
        size_t n = sorted_names(k->a, json_getc(status, "hard"), &names);

        if (k->limited)
                note_covered(k, json_getc(j, "spec"), names, n);
        if (!quota_in_scope(json_getc(j, "spec"), k->resource, k->obj))
                return 0;
        TRY(check_constraints(k, quota, names, n, err));
        return check_counted(k, quota, names, n, json_getc(status, "used"), err);
}

static int charge_quota(struct check *k, struct str key, const struct object *quota, struct error *err) {
        const struct json *j = object_json(quota), *spec = json_getc(j, "spec"), *status = json_getc(j, "status");
        const struct json *used = json_getc(status, "used");
        struct json amounts, over;
        struct str *names;
        size_t n = sorted_names(k->a, json_getc(status, "hard"), &names);

        if (!quota_in_scope(spec, k->resource, k->obj))
                return 0;
        int r = usage_of(k, spec, names, n, &amounts, err);
        if (r < 0 || json_len(&amounts) == 0)
                return r;
        over = exceeded(k->a, &amounts, status);
        if (json_len(&over) == 0 || k->status) {
                charge(k, key, &amounts);
                return 0;
        }
        return err_forbidden(err, k->op->rest, k->op->name,
                             "exceeded quota: %" STR_FMT ", requested: %" STR_FMT ", used: %" STR_FMT
                             ", limited: %" STR_FMT,
                             STR_ARG(object_name(quota)), STR_ARG(amounts_text(k->a, &over, &amounts)),
                             STR_ARG(amounts_text(k->a, &over, used)),
                             STR_ARG(amounts_text(k->a, &over, json_getc(status, "hard"))));
}

int admission_resource_quota(struct admission *ad, struct error *err) {
        struct op *op = ad->op;
        const struct rest *quotas = rest_of(op->s, &res_resourcequotas);
        struct check k = { .op = op, .a = ad->a, .resource = op->rest->stored->resource, .obj = ad->obj };
        int (*const looks[])(struct check *, struct str, const struct object *, struct error *) = { check_quota,
                                                                                                    charge_quota };
        bool some = true;
        int r = 0;

        op->with.n = 0;
        if (!op->rest->resource->namespaced || !is_handled(op, ad, k.resource))
                return 0;
        k.old = ad->operation == ADMIT_UPDATE ? ad->old : NULL;
        k.status = str_eqc(op->c->subresource, "status");
        k.now_ns = now_wall_ns();
        k.limited = k.status ? NULL : ad->s->plugins->limited;
        k.covered = k.scopes = json_new_object();
        struct str prefix = rest_key(k.a, quotas, op->namespace, STR(""));
        for (size_t i = 0; r == 0 && some && i < ARRAY_SIZE(looks); i++) {
                some = false;
                store_each(it, op->snap, prefix) {
                        some = true;
                        r = looks[i](&k, it.key, it.object, err);
                        if (r != 0)
                                break;
                }
                if (r == 0 && i == 0 && k.limited)
                        r = check_limited(&k, err);
        }
        return r;
}
