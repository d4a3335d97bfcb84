/* Ownership: see owners.h. Adoption first asks the server whether the owner still lives, because the cache may be
 * behind and an adopted child of a dead owner would be collected. */
#include "controllers/owners.h"

#include "json/build.h"
#include "schema/types.h"

const struct json *controller_ref_of(const struct object *o) {
        const struct object_owner *owners;
        size_t n = object_owners(o, &owners);

        for (size_t i = 0; i < n; i++)
                if (owners[i].controller) {
                        json_each_item(ref, json_at_path(object_json(o), "metadata", "ownerReferences"))
                                if (OwnerReference_controller(ref))
                                        return ref;
                }
        return NULL;
}

bool ref_is_kind(const struct json *ref, const struct api_resource *res) {
        struct str group, version;

        if (!str_eqc(OwnerReference_kind(ref), res->kind))
                return false;
        return api_parse_group_version(OwnerReference_apiVersion(ref), &group, &version, NULL) == 0 &&
               str_eqc(group, res->group);
}

bool is_controlled_by(const struct object *o, struct str owner_uid) {
        const struct object_owner *owners;
        size_t n = object_owners(o, &owners);

        for (size_t i = 0; i < n; i++)
                if (owners[i].controller && str_eq(owners[i].uid, owner_uid))
                        return true;
        return false;
}

struct json controller_ref(struct arena *a, const struct api_resource *owner_res, const struct object *owner) {
        char gv[320];

        return json_build(a,
                          "{ apiVersion: %S, kind: %c, name: %s, uid: %s, controller: true, blockOwnerDeletion: true }",
                          api_version_of(gv, owner_res), owner_res->kind, object_name(owner), object_uid(owner));
}

/* ---- finalizers ---- */

bool finalizer_is_set(const struct object *o, const char *finalizer) {
        return json_has_str(json_at_path(object_json(o), "metadata", "finalizers"), str_of(finalizer));
}

int finalizer_set(struct controller *c, const struct api_resource *r, const struct object *o, const char *finalizer,
                  bool on, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json copy = json_copy_tree(a, object_json(o)), list = json_new_array();

        if (finalizer_is_set(o, finalizer) == on)
                return 0;
        json_each_item(f, json_at_path(object_json(o), "metadata", "finalizers"))
                if (!str_eqc(json_str(f), finalizer))
                        json_push(a, &list, *f);
        if (on)
                json_push(a, &list, json_of_cstr(finalizer));
        json_setc(a, json_get_or_add_object(a, &copy, "metadata"), "finalizers", list);
        return error_except(controller_update(c, r, STR(""), &copy, err), -ENOENT, err);
}

/* ---- finding ---- */

static void index_by_controller(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        const struct object_owner *owners;
        size_t n = object_owners(o, &owners);
        struct str ns = object_namespace(o);
        char orphan[256] = "/";

        for (size_t i = 0; i < n; i++)
                if (owners[i].controller)
                        return emit(ctx, owners[i].uid);
        ns.n = MIN(ns.n, sizeof(orphan) - 1);
        memcpy(orphan + 1, ns.p, ns.n);
        emit(ctx, str_n(orphan, ns.n + 1));
}

struct informer_index *children_index(struct controller *c, const struct api_resource *res) {
        return informer_add_index(controller_informer(c, res), "controller", index_by_controller);
}

static size_t orphans_in(struct informer_index *children, struct str ns, struct object *const **ret) {
        char orphan[256] = "/";

        ns.n = MIN(ns.n, sizeof(orphan) - 1);
        memcpy(orphan + 1, ns.p, ns.n);
        return informer_index_get(children, str_n(orphan, ns.n + 1), ret);
}

struct object_list owned_children(struct informer_index *children, const struct object *owner) {
        struct object *const *v;
        size_t n = informer_index_get(children, object_uid(owner), &v);

        return (struct object_list) { (struct object **) v, n };
}

/* ---- claiming ---- */

/* 0: the owner lives and is the one we think. */
static int check_owner(struct controller *c, const struct api_resource *res, const struct object *owner,
                       struct error *err) {
        _cleanup_(object_unrefp) struct object *fresh = NULL;

        TRY(client_get(c->client, res, object_namespace(owner), object_name(owner), &fresh, err));
        if (!str_eq(object_uid(fresh), object_uid(owner)))
                return error_set(err, -EAGAIN,
                                 "original %s %" STR_FMT "/%" STR_FMT " is gone: got uid %" STR_FMT
                                 ", wanted %" STR_FMT,
                                 res->kind, STR_ARG(object_namespace(owner)), STR_ARG(object_name(owner)),
                                 STR_ARG(object_uid(fresh)), STR_ARG(object_uid(owner)));
        if (object_deleting(fresh))
                return error_set(err, -EAGAIN, "%" STR_FMT "/%" STR_FMT " has just been deleted",
                                 STR_ARG(object_namespace(owner)), STR_ARG(object_name(owner)));
        return 0;
}

static int adopt(struct controller *c, struct arena *a, const struct api_resource *owner_res,
                 const struct object *owner, const struct api_resource *res, const struct object *child,
                 struct error *err) {
        struct json ref = controller_ref(a, owner_res, owner);
        struct json patch =
                        json_build(a, "{ metadata: { ownerReferences: [ %j ], uid: %s } }", &ref, object_uid(child));

        return controller_patch(c, res, child, STR(""), API_PATCH_STRATEGIC, &patch, err);
}

static int release(struct controller *c, struct arena *a, const struct object *owner, const struct api_resource *res,
                   const struct object *child, struct error *err) {
        struct json patch =
                        json_build(a, "{ metadata: { ownerReferences: [ { '$patch': 'delete', uid: %s } ], uid: %s } }",
                                   object_uid(owner), object_uid(child));
        int r = controller_patch(c, res, child, STR(""), API_PATCH_STRATEGIC, &patch, err);

        /* Gone, or no longer the same object: nothing left to release. */
        if (r != -ENOENT && r != -EINVAL)
                return r;
        error_clear(err);
        return 0;
}

int claim_children(struct controller *c, struct arena *a, const struct api_resource *owner_res,
                   const struct object *owner, const struct selector *selector, const struct api_resource *res,
                   struct informer_index *children, struct object_list *ret, bool *ret_changed, struct error *err) {
        struct object_list owned = owned_children(children, owner);
        struct object *const *orphans;
        size_t n_orphans = orphans_in(children, object_namespace(owner), &orphans);
        struct object_list list = { arena_array(a, struct object *, owned.n + n_orphans), 0 };
        bool checked = false, changed = false;
        int r;

        for (size_t i = 0; i < owned.n; i++) {
                if (selector_matches_object(selector, owned.v[i])) {
                        list.v[list.n++] = owned.v[i];
                        continue;
                }
                if (object_deleting(owner))
                        continue;
                TRY(release(c, a, owner, res, owned.v[i], err));
                changed = true;
        }
        for (size_t i = 0; i < n_orphans && !object_deleting(owner); i++) {
                if (object_deleting(orphans[i]) || !selector_matches_object(selector, orphans[i]))
                        continue;
                TRY(checked ? 0 : check_owner(c, owner_res, owner, err));
                checked = true;
                r = adopt(c, a, owner_res, owner, res, orphans[i], err);
                if (r == -ENOENT)
                        continue;
                if (r < 0)
                        return r;
                list.v[list.n++] = orphans[i];
                changed = true;
        }
        *ret = list;
        if (ret_changed)
                *ret_changed = changed;
        return 0;
}

/* ---- enqueueing orphans ---- */

struct selector workload_selector(struct arena *a, const struct api_resource *res, const struct object *o) {
        const struct json *spec = json_at_path(object_json(o), "spec", "selector");
        struct selector s = { .nothing = true };

        if (res == &res_replicationcontrollers)
                selector_from_map(a, spec, &s);
        else if (selector_from_object(a, spec, &s, NULL) < 0)
                s.n = 0;
        s.nothing = s.n == 0;
        return s;
}

/* For the enqueue of an orphan: every object of the reconciled resource in its namespace whose selector matches it. */
static void enqueue_matching_selector(struct controller *c, const struct object *orphan) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct map *all = informer_objects(controller_informer(c, c->class->watches[0].resource));

        map_each(it, all) {
                if (!str_eq(object_namespace(it.value), object_namespace(orphan)))
                        continue;
                if (!a)
                        a = arena_new(0);
                struct selector s = workload_selector(a, c->class->watches[0].resource, it.value);
                if (selector_matches_object(&s, orphan))
                        controller_enqueue_key(c, it.key);
        }
}

void enqueue_owner_or_matching(struct controller *c, struct object *old, struct object *new) {
        enqueue_owner(c, old, new);
        if (new && !object_deleting(new) && !controller_ref_of(new))
                enqueue_matching_selector(c, new);
}
