/* ResourceQuota: what a namespace uses of what its quotas limit. Admission (the API server's part) charges what is
 * written in the same transaction; here everything is counted again when something has gone, has shrunk, or after some
 * time, and when the limits change.
 *
 * The count is exact: the quota is read first, then what it limits, and the answer is written only if no charge has
 * come in between. Resources are watched once a quota names them.
 * https://kubernetes.io/docs/concepts/policy/resource-quotas/ */
#include "base/vec.h"
#include "controllers/controller.h"
#include "controllers/resources.h"
#include "json/build.h"
#include "schema/quota.h"
#include "schema/types.h"

#define RECOUNT_MS 300000
#define RECOUNT_ADDED_MS 1000 /* a new object has been charged, unless the quota is as new */
#define MAX_TRIES 5

struct watched {
        struct controller *c;
        const struct api_resource *resource;
};

struct quotas {
        struct informer_index *by_namespace;
        VEC(struct watched *) watched;
};

/* ---- what has changed ---- */

static bool usage_differs(const struct watched *w, const struct object *quota, const struct json *old,
                          const struct json *new) {
        const struct json *spec = ResourceQuota_spec(object_json(quota));
        bool was = quota_in_scope(spec, w->resource, old), is = quota_in_scope(spec, w->resource, new);
        int64_t now = controller_now(w->c);

        if (was != is)
                return true;
        json_each_member(m, ResourceQuotaSpec_hard(spec)) {
                struct quantity a, b;

                quota_usage(w->resource, old, json_key(m), now, &a);
                quota_usage(w->resource, new, json_key(m), now, &b);
                if (quantity_cmp(a, b) != 0)
                        return true;
        }
        return false;
}

static void on_change(struct object *old, struct object *new, void *arg) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        struct watched *w = arg;
        struct quotas *q = w->c->state;
        struct object *const *found;
        size_t n = informer_index_get(q->by_namespace, object_namespace(new ? new : old), &found);

        for (size_t i = 0; i < n; i++) {
                if (!a)
                        a = arena_new(512);
                if (!old)
                        controller_enqueue_after(w->c, object_key(a, found[i]), RECOUNT_ADDED_MS);
                else if (!new || usage_differs(w, found[i], object_json(old), object_json(new)))
                        controller_enqueue_key(w->c, object_key(a, found[i]));
        }
}

static void watch(struct controller *c, const struct api_resource *r) {
        struct quotas *q = c->state;

        for (size_t i = 0; i < q->watched.n; i++)
                if (q->watched.v[i]->resource == r)
                        return;
        struct watched *w = xcalloc(1, sizeof(*w));
        *w = (struct watched) { c, r };
        vec_push(&q->watched, w);
        informer_add_handler(informer_of(c->informers, r), on_change, w);
        informer_factory_start(c->informers);
}

/* ---- counting ---- */

struct counting {
        struct controller *c;
        struct arena *a;
        const struct json *spec;
        struct str ns;
        struct json *used;
        struct error *err;
        int result;
};

static void count_list(struct counting *k, const struct api_resource *r, const struct api_list *list) {
        json_each_member(m, ResourceQuotaSpec_hard(k->spec)) {
                struct quantity sum = quantity_of_int(0, QUANTITY_DECIMAL_SI);
                char text[64];

                if (!quota_measures(r, json_key(m)))
                        continue;
                for (size_t i = 0; i < list->n; i++) {
                        const struct json *obj = object_json(list->items[i]);
                        struct quantity q;

                        if (quota_in_scope(k->spec, r, obj) &&
                            quota_usage(r, obj, json_key(m), controller_now(k->c), &q))
                                sum = quantity_add(sum, q);
                }
                json_set(k->a, k->used, json_key(m), json_of_copy(k->a, quantity_print(text, sum)));
        }
}

static void count_resource(const struct api_resource *r, void *arg) {
        struct counting *k = arg;
        struct api_list *list;
        bool measured = false;

        json_each_member(m, ResourceQuotaSpec_hard(k->spec))
                measured = measured || quota_measures(r, json_key(m));
        if (!measured || !r->namespaced || k->result < 0)
                return;
        watch(k->c, r);
        k->result = client_list(k->c->client, r, k->ns, NULL, &list, k->err);
        if (k->result < 0)
                return;
        count_list(k, r, list);
        api_list_free(list);
}

/* ---- reconcile ---- */

/* The newest state of a quota: the controller's role may list, not get. */
static int read_quota(struct controller *c, struct arena *a, struct str ns, struct str name, struct object **ret,
                      struct error *err) {
        struct api_options o = API_OPTIONS_INIT;
        struct api_list *list;

        o.field_selector = arena_printf(a, "metadata.name=%" STR_FMT, STR_ARG(name));
        TRY(client_list(c->client, &res_resourcequotas, ns, &o, &list, err));
        *ret = list->n > 0 ? object_ref(list->items[0]) : NULL;
        api_list_free(list);
        return *ret ? 0 : -ENOENT;
}

static int count_once(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_(object_unrefp) struct object *quota = NULL;
        struct json used = json_new_object(), status;
        struct counting k = { .c = c, .a = a, .used = &used, .err = err };
        struct str name;

        object_key_split(key, &k.ns, &name);
        TRY(read_quota(c, a, k.ns, name, &quota, err));
        k.spec = ResourceQuota_spec(object_json(quota));
        resources_each(c, &(struct resources_visitor) { .each = count_resource, .arg = &k });
        if (k.result < 0)
                return k.result;
        status = json_build(a, "{ hard: %j, used: %j }", ResourceQuotaSpec_hard(k.spec), &used);
        return controller_update_status(c, &res_resourcequotas, quota, &status, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        int r = -EAGAIN;

        if (!informer_get(controller_informer(c, &res_resourcequotas), key))
                return 0;
        for (int i = 0; i < MAX_TRIES && r == -EAGAIN; i++) {
                error_clear(err);
                r = count_once(c, key, err);
        }
        if (r == 0)
                controller_enqueue_after(c, key, RECOUNT_MS);
        return r;
}

/* Charges change the status only: there is nothing to count anew. */
static void enqueue_quota(struct controller *c, struct object *old, struct object *new) {
        const struct json *spec = new ? ResourceQuota_spec(object_json(new)) : NULL;

        if (new && (!old || !json_equal(spec, ResourceQuota_spec(object_json(old))) ||
                    !json_equal(ResourceQuotaSpec_hard(spec), json_at_path(object_json(new), "status", "hard"))))
                enqueue_self(c, old, new);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct quotas *q = xcalloc(1, sizeof(*q));

        q->by_namespace = informer_add_index(controller_informer(c, &res_resourcequotas), "quota-namespace",
                                             informer_index_by_namespace);
        *ret_state = q;
        return 0;
}

static void destroy(void *state) {
        struct quotas *q = state;

        for (size_t i = 0; i < q->watched.n; i++)
                free(q->watched.v[i]);
        vec_free(&q->watched);
        free(q);
}

const struct controller_class resourcequota_controller = {
        .name = "resourcequota-controller",
        .watches = { { &res_resourcequotas, enqueue_quota },
                     { &res_customresourcedefinitions, NULL },
                     { &res_apiservices, NULL } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};
