/* The garbage collector: follows ownerReferences across all resources.
 *
 *   informers of everything ─▶ graph: owner uid → its dependents (whatever their kind)
 *
 *   an object ──▶ all its owners are gone ───────────────────▶ delete it
 *             ──▶ some are gone, some live ──────────────────▶ drop the references to the dead
 *             ──▶ an owner waits for it (foreground) ────────▶ delete it, in the foreground if it has dependents
 *
 *   an owner being deleted with the finalizer
 *             ──▶ foregroundDeletion: blocking dependents are deleted first; none left ─▶ drop the finalizer
 *             ──▶ orphan: dependents lose their reference to it ──────────────────────▶ drop the finalizer
 *
 * The caches decide what may be garbage, the server is asked before anything is deleted. Keys are "number
 * namespace/name" with the number of the resource in our table.
 * https://kubernetes.io/docs/concepts/architecture/garbage-collection/ */
#include <inttypes.h>

#include "base/vec.h"
#include "controllers/owners.h"
#include "controllers/resources.h"
#include "json/build.h"
#include "schema/types.h"

#define ORPHAN "orphan"
#define FOREGROUND "foregroundDeletion"

struct gc_kind {
        struct controller *c;
        const struct api_resource *res;
        struct informer *informer;
        size_t number;
};

struct dependent {
        struct gc_kind *kind;
        char *key; /* "namespace/name" */
};

struct owner {
        VEC(struct dependent) dependents;
};

struct gc {
        VEC(struct gc_kind *) kinds;
        struct map *owners; /* uid → struct owner: only those that have dependents */
};

/* ---- the graph ---- */

static void owner_free(void *p) {
        struct owner *o = p;

        for (size_t i = 0; i < o->dependents.n; i++)
                free(o->dependents.v[i].key);
        vec_free(&o->dependents);
        free(o);
}

static void link_dependent(struct gc *gc, struct str owner_uid, struct gc_kind *kind, struct str key) {
        struct owner *o = map_get(gc->owners, owner_uid);

        if (!o) {
                o = xcalloc(1, sizeof(*o));
                map_put(gc->owners, owner_uid, o);
        }
        vec_push(&o->dependents, (struct dependent) { kind, str_dup(key) });
}

static void unlink_dependent(struct gc *gc, struct str owner_uid, struct gc_kind *kind, struct str key) {
        struct owner *o = map_get(gc->owners, owner_uid);

        for (size_t i = 0; o && i < o->dependents.n; i++)
                if (o->dependents.v[i].kind == kind && str_eqc(key, o->dependents.v[i].key)) {
                        free(o->dependents.v[i].key);
                        o->dependents.v[i] = vec_pop(&o->dependents);
                        if (o->dependents.n == 0)
                                map_remove(gc->owners, owner_uid);
                        return;
                }
}

static const struct object_owner *find_owner(const struct object *o, struct str uid) {
        const struct object_owner *owners;
        size_t n = o ? object_owners(o, &owners) : 0;

        for (size_t i = 0; i < n; i++)
                if (str_eq(owners[i].uid, uid))
                        return &owners[i];
        return NULL;
}

/* *changed is set when the owners are not the same. */
static void relink(struct gc *gc, struct gc_kind *kind, struct str key, struct object *old, struct object *new,
                   bool *changed) {
        const struct object_owner *owners;
        size_t n = old ? object_owners(old, &owners) : 0;

        for (size_t i = 0; i < n; i++) {
                const struct object_owner *now = find_owner(new, owners[i].uid);

                if (!now)
                        unlink_dependent(gc, owners[i].uid, kind, key);
                if (!now || now->block_owner_deletion != owners[i].block_owner_deletion)
                        *changed = true;
        }
        n = new ? object_owners(new, &owners) : 0;
        for (size_t i = 0; i < n; i++)
                if (!find_owner(old, owners[i].uid)) {
                        link_dependent(gc, owners[i].uid, kind, key);
                        *changed = true;
                }
}

/* ---- keys ---- */

static void enqueue(struct gc_kind *kind, struct str key) {
        char text[600];
        int n = snprintf(text, sizeof(text), "%zu %" STR_FMT, kind->number, STR_ARG(key));

        if (n > 0 && n < (int) sizeof(text))
                controller_enqueue_key(kind->c, str_n(text, (size_t) n));
}

static void enqueue_dependents(struct gc *gc, struct str uid) {
        struct owner *o = map_get(gc->owners, uid);

        for (size_t i = 0; o && i < o->dependents.n; i++)
                enqueue(o->dependents.v[i].kind, str_of(o->dependents.v[i].key));
}

static struct gc_kind *kind_of(struct gc *gc, struct str group, struct str kind) {
        for (size_t i = 0; i < gc->kinds.n; i++)
                if (str_eqc(kind, gc->kinds.v[i]->res->kind) && str_eqc(group, gc->kinds.v[i]->res->group))
                        return gc->kinds.v[i];
        return NULL;
}

/* The kind an ownerReference names, or NULL. */
static struct gc_kind *kind_of_ref(struct gc *gc, const struct json *ref) {
        struct str group, version;

        if (api_parse_group_version(OwnerReference_apiVersion(ref), &group, &version, NULL) < 0)
                return NULL;
        return kind_of(gc, group, OwnerReference_kind(ref));
}

static struct str owner_namespace(const struct gc_kind *kind, const struct object *dependent) {
        return kind->res->namespaced ? object_namespace(dependent) : STR("");
}

static bool waits_for_dependents(const struct object *o) {
        return object_deleting(o) && finalizer_is_set(o, FOREGROUND);
}

/* Owners that wait for this object to go, so that they can. */
static void enqueue_waiting_owners(struct gc *gc, const struct object *o) {
        json_each_item(ref, json_at_path(object_json(o), "metadata", "ownerReferences")) {
                struct gc_kind *kind = kind_of_ref(gc, ref);
                struct object *owner = kind ? informer_get_named(kind->informer, owner_namespace(kind, o),
                                                                 OwnerReference_name(ref))
                                            : NULL;

                if (!owner || !waits_for_dependents(owner))
                        continue;
                _cleanup_(arena_freep) struct arena *a = arena_new(512);
                enqueue(kind, object_key(a, owner));
        }
}

static void on_change(struct object *old, struct object *new, void *arg) {
        const struct object_owner *owners;
        struct gc_kind *kind = arg;
        struct gc *gc = kind->c->state;
        bool changed = false, had = old && object_owners(old, &owners) > 0, has = new &&object_owners(new, &owners) > 0;

        if (new && !had && !has && !object_deleting(new))
                return; /* the many that own and are owned by nothing, cheaply */
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        struct str key = object_key(a, new ? new : old);
        if (had || has)
                relink(gc, kind, key, old, new, &changed);
        if (!new) {
                enqueue_dependents(gc, object_uid(old));
                if (had)
                        enqueue_waiting_owners(gc, old);
                return;
        }
        if ((has && changed) ||
            (object_deleting(new) && (finalizer_is_set(new, ORPHAN) || finalizer_is_set(new, FOREGROUND))))
                enqueue(kind, key);
        if (had && changed)
                enqueue_waiting_owners(gc, old); /* one reference less may be what an owner waited for */
}

/* ---- changing objects ---- */

static int drop_finalizer(struct gc_kind *kind, const struct object *o, const char *name, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json copy = json_copy_tree(a, object_json(o)), rest = json_new_array(),
                    *meta = json_get_or_add_object(a, &copy, "metadata");

        json_each_item(f, json_getc(meta, "finalizers"))
                if (!str_eqc(json_str(f), name))
                        json_push(a, &rest, *f);
        json_setc(a, meta, "finalizers", rest);
        return error_except(controller_update(kind->c, kind->res, STR(""), &copy, err), -ENOENT, err);
}

/* Removes the references to these owners (or, with no owners, clears blockOwnerDeletion everywhere). Custom resources
 * know no strategic merge, so the list is written whole, guarded by the revision. */
static int edit_references(struct gc_kind *kind, const struct object *o, const struct str *uids, size_t n,
                           struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json rest = json_new_array(), patch;

        json_each_item(ref, json_at_path(object_json(o), "metadata", "ownerReferences")) {
                struct json copy = json_copy_shallow(a, ref);
                bool drop = false;

                for (size_t i = 0; i < n && !drop; i++)
                        drop = str_eq(OwnerReference_uid(ref), uids[i]);
                if (n == 0)
                        json_set_bool(a, &copy, "blockOwnerDeletion", false);
                if (!drop)
                        json_push(a, &rest, copy);
        }
        patch = json_build(a, "{ metadata: { uid: %s, resourceVersion: %s, ownerReferences: %j } }", object_uid(o),
                           arena_printf(a, "%" PRIu64, object_revision(o)), &rest);
        if (json_len(&rest) == 0)
                json_setc(a, json_get_mut(&patch, STR("metadata")), "ownerReferences", json_null());
        return error_except(controller_patch(kind->c, kind->res, o, STR(""), API_PATCH_MERGE, &patch, err), -ENOENT,
                            err);
}

/* ---- owners being deleted ---- */

static int orphan_dependents(struct gc *gc, struct gc_kind *kind, const struct object *o, struct error *err) {
        struct owner *owner = map_get(gc->owners, object_uid(o));
        struct str uid = object_uid(o);

        for (size_t i = 0; owner && i < owner->dependents.n; i++) {
                struct dependent *d = &owner->dependents.v[i];
                struct object *child = informer_get(d->kind->informer, str_of(d->key));

                if (!child || !find_owner(child, uid))
                        continue;
                TRY(edit_references(d->kind, child, &uid, 1, err));
        }
        return drop_finalizer(kind, o, ORPHAN, err);
}

static bool blocks(const struct object *child, struct str owner_uid) {
        const struct object_owner *o = find_owner(child, owner_uid);

        return o && o->block_owner_deletion;
}

static int wait_for_dependents(struct gc *gc, struct gc_kind *kind, const struct object *o, struct error *err) {
        struct owner *owner = map_get(gc->owners, object_uid(o));
        size_t blocking = 0;

        for (size_t i = 0; owner && i < owner->dependents.n; i++) {
                struct dependent *d = &owner->dependents.v[i];
                struct object *child = informer_get(d->kind->informer, str_of(d->key));

                if (!child || !blocks(child, object_uid(o)))
                        continue;
                blocking++;
                if (!object_deleting(child))
                        enqueue(d->kind, str_of(d->key));
        }
        return blocking == 0 ? drop_finalizer(kind, o, FOREGROUND, err) : 0;
}

/* ---- dependents ---- */

enum owner_state { OWNER_SOLID, OWNER_DANGLING, OWNER_WAITING };

static int look_up_owner(struct gc *gc, struct gc_kind *self, const struct object *o, const struct json *ref,
                         enum owner_state *ret, struct error *err) {
        struct gc_kind *kind = kind_of_ref(gc, ref);
        _cleanup_(object_unrefp) struct object *fresh = NULL;
        struct object *owner;
        int r;

        *ret = OWNER_SOLID;
        if (!kind)
                return 0; /* a kind we do not know may well have that object */
        if (kind->res->namespaced && str_empty(object_namespace(o))) {
                event_record(kind->c->events, self->res, o, NULL, "Warning", "OwnerRefInvalidNamespace",
                             "ownerRef [%" STR_FMT "/%s, namespace: , name: %" STR_FMT ", uid: %" STR_FMT
                             "] does not exist in namespace \"\"",
                             STR_ARG(OwnerReference_apiVersion(ref)), kind->res->kind,
                             STR_ARG(OwnerReference_name(ref)), STR_ARG(OwnerReference_uid(ref)));
                return 0; /* a namespaced owner of a cluster-scoped object is nobody's business */
        }
        owner = informer_get_named(kind->informer, owner_namespace(kind, o), OwnerReference_name(ref));
        if (!owner || !str_eq(object_uid(owner), OwnerReference_uid(ref))) {
                r = client_get(kind->c->client, kind->res, owner_namespace(kind, o), OwnerReference_name(ref), &fresh,
                               err);
                if (r < 0 && r != -ENOENT)
                        return r;
                if (r < 0)
                        error_clear(err);
                if (r < 0 || !str_eq(object_uid(fresh), OwnerReference_uid(ref))) {
                        *ret = OWNER_DANGLING;
                        return 0;
                }
                owner = fresh;
        }
        if (waits_for_dependents(owner))
                *ret = OWNER_WAITING;
        return 0;
}

struct verdict {
        struct str uids[64]; /* of dead and waiting owners */
        size_t n, solid, dangling, waiting;
};

static int judge(struct gc *gc, struct gc_kind *self, const struct object *o, struct verdict *v, struct error *err) {
        *v = (struct verdict) { 0 };
        json_each_item(ref, json_at_path(object_json(o), "metadata", "ownerReferences")) {
                enum owner_state state;

                TRY(look_up_owner(gc, self, o, ref, &state, err));
                v->solid += state == OWNER_SOLID;
                v->dangling += state == OWNER_DANGLING;
                v->waiting += state == OWNER_WAITING;
                if (state != OWNER_SOLID && v->n < ARRAY_SIZE(v->uids))
                        v->uids[v->n++] = OwnerReference_uid(ref);
        }
        return 0;
}

/* A circle of foreground deletions would wait for itself. */
static bool has_waiting_dependents(struct gc *gc, const struct object *o) {
        struct owner *owner = map_get(gc->owners, object_uid(o));

        for (size_t i = 0; owner && i < owner->dependents.n; i++) {
                struct object *child =
                                informer_get(owner->dependents.v[i].kind->informer, str_of(owner->dependents.v[i].key));

                if (child && waits_for_dependents(child))
                        return true;
        }
        return false;
}

static int collect(struct gc *gc, struct gc_kind *kind, const struct object *o, const struct verdict *v,
                   struct error *err) {
        bool has_dependents = map_has(gc->owners, object_uid(o));
        const char *policy = finalizer_is_set(o, ORPHAN)       ? "Orphan"
                             : finalizer_is_set(o, FOREGROUND) ? "Foreground"
                                                               : "Background";

        if (v->solid > 0)
                return v->n > 0 ? edit_references(kind, o, v->uids, v->n, err) : 0;
        if (v->waiting > 0 && has_dependents) {
                if (has_waiting_dependents(gc, o))
                        TRY(edit_references(kind, o, NULL, 0, err));
                policy = "Foreground";
        }
        return controller_delete(kind->c, kind->res, o, policy, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(object_unrefp) struct object *fresh = NULL;
        struct gc *gc = c->state;
        const struct object_owner *owners;
        struct str rest = key, number, ns, name;
        struct verdict v;
        uint64_t i;

        if (!str_split(&rest, ' ', &number) || str_to_u64(number, &i) < 0 || i >= gc->kinds.n)
                return error_set(err, -EINVAL, "bad key");
        struct gc_kind *kind = gc->kinds.v[i];
        struct object *o = informer_get(kind->informer, rest);
        if (!o)
                return 0;
        if (object_deleting(o) && finalizer_is_set(o, ORPHAN))
                return orphan_dependents(gc, kind, o, err);
        if (waits_for_dependents(o))
                return wait_for_dependents(gc, kind, o, err);
        if (object_deleting(o) || object_owners(o, &owners) == 0)
                return 0;
        int r = judge(gc, kind, o, &v, err);
        if (r < 0 || v.n == 0)
                return r;
        /* Something is to be done: by what the server says, not by what we remember. */
        object_key_split(rest, &ns, &name);
        r = client_get(c->client, kind->res, ns, name, &fresh, err);
        if (r == -ENOENT) {
                error_clear(err);
                return 0;
        }
        if (r < 0)
                return r;
        if (!str_eq(object_uid(fresh), object_uid(o)) || object_deleting(fresh) || object_owners(fresh, &owners) == 0)
                return 0; /* its own news will come */
        TRY(judge(gc, kind, fresh, &v, err));
        return collect(gc, kind, fresh, &v, err);
}

/* ---- following everything ---- */

static void follow(const struct api_resource *res, void *arg) {
        struct controller *c = arg;
        struct gc *gc = c->state;

        if (res == &res_events || (res->verbs & VERB_WATCH) == 0)
                return; /* events own nothing, and come by the thousand */
        for (size_t i = 0; i < gc->kinds.n; i++)
                if (gc->kinds.v[i]->res == res)
                        return;
        struct gc_kind *kind = xcalloc(1, sizeof(*kind));
        *kind = (struct gc_kind) { c, res, controller_informer(c, res), gc->kinds.n };
        vec_push(&gc->kinds, kind);
        informer_add_handler(kind->informer, on_change, kind);
        if (res->type) /* built-in: there from the start */
                controller_wait_for(c, kind->informer);
}

/* A definition or another server came or changed: its objects are followed too. */
static void follow_new(struct controller *c, struct object *old, struct object *new) {
        struct gc *gc = c->state;
        size_t before = gc->kinds.n;

        resources_each(c, &(struct resources_visitor) { .each = follow, .arg = c });
        if (gc->kinds.n > before)
                informer_factory_start(c->informers);
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        struct gc *gc = xcalloc(1, sizeof(*gc));

        gc->owners = map_new(owner_free);
        *ret_state = c->state = gc;
        resources_each(c, &(struct resources_visitor) { .each = follow, .arg = c });
        return 0;
}

static void destroy(void *state) {
        struct gc *gc = state;

        for (size_t i = 0; i < gc->kinds.n; i++)
                free(gc->kinds.v[i]);
        vec_free(&gc->kinds);
        map_free(gc->owners);
        free(gc);
}

const struct controller_class garbagecollector_controller = {
        .name = "garbage-collector-controller",
        .account = "generic-garbage-collector",
        .watches = { { &res_customresourcedefinitions, follow_new }, { &res_apiservices, follow_new } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};
