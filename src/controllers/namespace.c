/* Namespace: a namespace that is being deleted is emptied, resource by resource, and then finalized. Its conditions
 * tell what is still in the way. Pods go first, so that nothing runs without what it relies on (network policies above
 * all). https://kubernetes.io/docs/concepts/architecture/garbage-collection/, KEP-5080 */
#include "base/vec.h"
#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "controllers/resources.h"
#include "schema/types.h"

#define LOOK_AGAIN_MS 5000 /* for what goes without our hearing of it */

struct finalizer_count {
        struct str name;
        size_t n;
};

struct emptying {
        struct controller *c;
        struct arena *a;
        struct str ns;
        int64_t since_ns; /* it is being deleted */
        VEC(struct str) missing, remaining, failures;
        VEC(struct finalizer_count) finalizers;
        size_t n_remaining;
};

/* ---- one resource ---- */

static void fail(struct emptying *e, const struct error *err) {
        vec_push(&e->failures, arena_str(e->a, str_of(error_text(err))));
}

/* Of what goes wrong the first is told, as of one deletion of them all. */
static bool delete_all(struct emptying *e, const struct api_resource *res, struct api_list *list) {
        _cleanup_free_ struct client_request *requests = xcalloc(list->n + 1, sizeof(*requests));
        _cleanup_free_ struct error *errors = xcalloc(list->n + 1, sizeof(*errors));
        _cleanup_free_ int *results = xcalloc(list->n + 1, sizeof(*results));
        size_t n = 0, n_failed = 0;

        for (size_t i = 0; i < list->n; i++)
                if (!object_deleting(list->items[i]))
                        requests[n++] = controller_delete_request(res, list->items[i], "Background");
        controller_batch(e->c, requests, n, results, errors, NULL);
        for (size_t i = 0; i < n; i++) {
                if (results[i] < 0 && results[i] != -ENOENT && n_failed++ == 0)
                        fail(e, &errors[i]);
                error_clear(&errors[i]);
        }
        return n_failed == 0;
}

static void count_finalizers(struct emptying *e, const struct object *o) {
        json_each_item(f, json_at_path(object_json(o), "metadata", "finalizers")) {
                size_t i;

                for (i = 0; i < e->finalizers.n; i++)
                        if (str_eq(e->finalizers.v[i].name, json_str(f)))
                                break;
                if (i == e->finalizers.n)
                        vec_push(&e->finalizers, (struct finalizer_count) { arena_str(e->a, json_str(f)), 0 });
                e->finalizers.v[i].n++;
        }
}

/* How many finalizers they have. */
static size_t count_rest(struct emptying *e, const struct api_resource *res, const struct api_list *list) {
        size_t n = 0;

        if (list->n == 0)
                return 0;
        e->n_remaining += list->n;
        vec_push(&e->remaining,
                 arena_printf(e->a, "%s.%s has %zu resource instances", res->plural, res->group, list->n));
        for (size_t i = 0; i < list->n; i++) {
                count_finalizers(e, list->items[i]);
                n += json_len(json_at_path(object_json(list->items[i]), "metadata", "finalizers"));
        }
        return n;
}

static int list_all(struct emptying *e, const struct api_resource *res, struct api_list **ret) {
        _cleanup_error_ struct error err = ERROR_INIT;
        int r = client_list(e->c->client, res, e->ns, NULL, ret, &err);

        if (r < 0)
                fail(e, &err);
        return r;
}

/* Pods have the time that they were given. */
static bool may_take_time(struct emptying *e, const struct api_resource *res, const struct api_list *list) {
        int64_t longest = 0;

        for (size_t i = 0; res == &res_pods && i < list->n; i++)
                if (!pod_is_terminal(list->items[i]))
                        longest = MAX(longest, json_int(json_at_path(object_json(list->items[i]), "spec",
                                                                     "terminationGracePeriodSeconds")));
        return controller_now(e->c) < e->since_ns + longest * NSEC_PER_SEC;
}

static void empty_resource(const struct api_resource *res, struct emptying *e) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct api_list *list;

        if (list_all(e, res, &list) < 0)
                return;
        if (list->n > 0) {
                bool patient = may_take_time(e, res, list), deleted = delete_all(e, res, list);

                api_list_free(list);
                if (!deleted || list_all(e, res, &list) < 0)
                        return;
                if (count_rest(e, res, list) == 0 && list->n > 0 && !patient) {
                        error_set(&err, -EBUSY,
                                  "unexpected items still remain in namespace: %" STR_FMT
                                  " for gvr: %s/%s, Resource=%s",
                                  STR_ARG(e->ns), res->group, res->version, res->plural);
                        fail(e, &err);
                }
        }
        api_list_free(list);
}

static void empty_other_resource(const struct api_resource *res, void *arg) {
        if (res->namespaced && res != &res_pods)
                empty_resource(res, arg);
}

static void miss_resources(struct str group_version, struct str why, void *arg) {
        struct emptying *e = arg;

        vec_push(&e->missing, arena_printf(e->a, "%" STR_FMT ": %" STR_FMT, STR_ARG(group_version), STR_ARG(why)));
}

/* ---- conditions ---- */

static void set(struct emptying *e, struct json *status, const char *type, const char *bad_reason,
                const char *good_reason, struct str bad, const char *good) {
        struct condition c = { type, bad.p ? "True" : "False", bad.p ? bad_reason : good_reason, bad.p ? bad.p : good };

        condition_set(e->a, status, &c, controller_now(e->c), 0);
}

/* head and the texts, sorted; absent when there are none. */
static struct str listed(struct emptying *e, struct str head, struct str *texts, size_t n) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (n == 0)
                return str_n(NULL, 0);
        qsort(texts, n, sizeof(*texts), str_compare);
        buf_add_str(&b, head);
        for (size_t i = 0; i < n; i++)
                buf_printf(&b, "%s%" STR_FMT, i ? ", " : "", STR_ARG(texts[i]));
        return arena_str(e->a, buf_str(&b));
}

static struct str finalizer_text(struct emptying *e) {
        struct str *texts = arena_array(e->a, struct str, e->finalizers.n + 1);

        for (size_t i = 0; i < e->finalizers.n; i++)
                texts[i] = arena_printf(e->a, "%" STR_FMT " in %zu resource instances",
                                        STR_ARG(e->finalizers.v[i].name), e->finalizers.v[i].n);
        return listed(e, STR("Some content in the namespace has finalizers remaining: "), texts, e->finalizers.n);
}

static int write_conditions(struct emptying *e, const struct object *ns, struct error *err) {
        const struct json *old = Namespace_status(object_json(ns));
        struct json status = status_copy(e->a, old);
        struct str none = { 0 };

        set(e, &status, "NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", "ResourcesDiscovered",
            listed(e,
                   arena_printf(e->a,
                                "Discovery failed for some groups, %zu failing: unable to retrieve the complete list "
                                "of server APIs: ",
                                e->missing.n),
                   e->missing.v, e->missing.n),
            "All resources successfully discovered");
        set(e, &status, "NamespaceDeletionGroupVersionParsingFailure", "", "ParsedGroupVersions", none,
            "All legacy kube types successfully parsed");
        set(e, &status, "NamespaceDeletionContentFailure", "ContentDeletionFailed", "ContentDeleted",
            listed(e, arena_printf(e->a, "Failed to delete all resource types, %zu remaining: ", e->failures.n),
                   e->failures.v, e->failures.n),
            "All content successfully deleted, may be waiting on finalization");
        set(e, &status, "NamespaceContentRemaining", "SomeResourcesRemain", "ContentRemoved",
            listed(e, STR("Some resources are remaining: "), e->remaining.v, e->remaining.n),
            "All content successfully removed");
        set(e, &status, "NamespaceFinalizersRemaining", "SomeFinalizersRemain", "ContentHasNoFinalizers",
            finalizer_text(e), "All content-preserving finalizers finished");
        return controller_update_status(e->c, &res_namespaces, ns, &status, err);
}

/* ---- reconcile ---- */

static bool has_finalizer(const struct object *ns) {
        return json_has_str(NamespaceSpec_finalizers(Namespace_spec(object_json(ns))), STR("kubernetes"));
}

/* Of the namespace as it is now: its status has just been written, and others may have changed the rest. */
static int finalize(struct controller *c, struct arena *a, struct str name, struct error *err) {
        _cleanup_(object_unrefp) struct object *ns = NULL;
        struct json copy, rest = json_new_array();

        int r = client_get(c->client, &res_namespaces, STR(""), name, &ns, err);
        if (r < 0)
                return error_except(r, -ENOENT, err);
        copy = json_copy_tree(a, object_json(ns));
        json_each_item(f, NamespaceSpec_finalizers(Namespace_spec(object_json(ns))))
                if (!str_eqc(json_str(f), "kubernetes"))
                        json_push(a, &rest, *f);
        json_setc(a, json_get_or_add_object(a, &copy, "spec"), "finalizers", rest);
        return error_except(client_update(c->client, &res_namespaces, STR("finalize"), &copy, NULL, err), -ENOENT, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *ns = informer_get(controller_informer(c, &res_namespaces), key);
        struct emptying e = { .c = c, .a = a, .ns = key };
        int r;

        if (!ns || !object_deleting(ns) || !has_finalizer(ns))
                return 0;
        time_parse(json_str(json_at_path(object_json(ns), "metadata", "deletionTimestamp")), &e.since_ns);
        empty_resource(&res_pods, &e);
        if (e.n_remaining == 0)
                resources_each(c, &(struct resources_visitor) { empty_other_resource, miss_resources, &e });
        r = write_conditions(&e, ns, err);
        if (e.n_remaining + e.failures.n + e.missing.n == 0) {
                r = r == 0 ? finalize(c, a, key, err) : r;
        } else {
                controller_enqueue_after(c, key, LOOK_AGAIN_MS);
                if (r == 0 && e.failures.n > 0)
                        r = error_set(err, -EIO, "%" STR_FMT, STR_ARG(e.failures.v[0]));
        }
        vec_free(&e.missing);
        vec_free(&e.remaining);
        vec_free(&e.failures);
        vec_free(&e.finalizers);
        return r;
}

static void enqueue_namespace(struct controller *c, struct object *old, struct object *new) {
        if (new &&object_deleting(new))
                enqueue_self(c, old, new);
}

/* What holds a namespace up is mostly pods: when one is gone it is time to look again. */
static void enqueue_pod(struct controller *c, struct object *old, struct object *new) {
        struct object *ns = new ? NULL : controller_get(c, &res_namespaces, STR(""), object_namespace(old));

        if (ns && object_deleting(ns))
                controller_enqueue_key(c, object_namespace(old));
}

const struct controller_class namespace_controller = {
        .name = "namespace-controller",
        .watches = { { &res_namespaces, enqueue_namespace },
                     { &res_pods, enqueue_pod },
                     { &res_customresourcedefinitions, NULL },
                     { &res_apiservices, NULL } },
        .reconcile = reconcile,
};
