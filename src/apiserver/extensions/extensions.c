/* What happens to CustomResourceDefinitions after they are written: their names are accepted when nobody else has them,
 * they are established and served, and when they are deleted their objects go first. Upstream has a controller for each
 * of these (k8s.io/apiextensions-apiserver/pkg/controller); here one pass over all definitions does what is due:
 *
 *   store's writer ─ a definition changed ─▶ [loop "extensions"] ─▶ a new catalog, then conditions ─▶ store
 *
 * The catalog comes first: who reads Established: True finds the resource. The loop's thread begins with the first
 * definition: a cluster without any pays nothing. */
#include "apiserver/extensions/aggregator.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/watch.h"
#include "base/faults.h"
#include "base/log.h"
#include "schema/apply.h"
#include "schema/defaults.h"
#include "schema/types.h"

#define CLEANUP "customresourcecleanup.apiextensions.k8s.io"
#define LOOK_AGAIN_MS 500
#define SETTLE_MS 60000 /* after which no write goes on that began with an older schema */

struct extensions {
        struct apiserver *s;
        struct late_loop loop; /* made with the first definition */
        atomic_bool queued;
        struct loop_work work;
        struct timer again, settle;
        struct list kept;   /* kept.c: those that run */
        atomic_int running; /* writes and deletions under way */
        bool ending;        /* on the loop: nothing new begins */
};

/* ---- one write of a definition ---- */

struct update {
        struct extensions *x;
        struct arena *arena;
        struct store_op op;
        struct store_txn txn;
};

static void look_again(struct extensions *x, uint64_t ms);

static void updated(struct store_txn *t) {
        struct update *u = container_of(t, struct update, txn);
        struct extensions *x = u->x;

        object_unref(t->current);
        if (t->result < 0 && t->result != -EAGAIN && t->result != -ENOENT && t->result != -ECANCELED)
                log_warn("cannot write the status of a definition: %s", strerror(-t->result));
        if (t->result < 0 && t->result != -ECANCELED)
                look_again(x, LOOK_AGAIN_MS);
        object_unref(u->op.object);
        arena_free(u->arena);
        x->running--;
}

/* Takes the arena over. */
static void write_crd(struct extensions *x, struct arena *a, const struct object *crd, struct json *tree, bool delete) {
        static const char *const reset[] = { "spec", "metadata", NULL };
        struct update *u = arena_new_of(a, struct update);
        const struct rest *r = rest_of(x->s, &res_customresourcedefinitions);
        struct apply_opts owner = { .manager = STR("kube-apiserver"),
                                    .subresource = STR("status"),
                                    .api_version = r->api_version,
                                    .now_wall_ns = now_wall_ns(),
                                    .reset = reset };

        apply_track_update(a, r->resource->type, object_json(crd), tree, &owner);
        schema_reorder(a, r->resource->type, tree);

        u->x = x;
        u->arena = a;
        u->op = (struct store_op) { .kind = delete ? STORE_DELETE : STORE_UPDATE,
                                    .key = rest_key(a, r, STR(""), object_name(crd)),
                                    .object = object_from_tree(tree),
                                    .expect = object_revision(crd) };
        u->txn = (struct store_txn) { .ops = &u->op, .n_ops = 1, .done = updated, .loop = x->loop.loop };
        x->running++;
        store_submit(x->s->store, &u->txn);
}

/* ---- conditions ---- */

void crd_set_condition(struct arena *a, struct json *status, const char *type, bool value, const char *reason,
                       struct str message) {
        struct json *old = condition_find(status, type), c = json_new_object(), now = json_of_str(now_text(a));
        bool same = old && str_eqc(json_str(json_getc(old, "status")), value ? "True" : "False");

        if (same && str_eqc(json_str(json_getc(old, "reason")), reason) &&
            str_eq(json_str(json_getc(old, "message")), message))
                return;
        json_setc(a, &c, "lastTransitionTime", same ? *json_getc(old, "lastTransitionTime") : now);
        json_set_str(a, &c, "message", message);
        json_set_cstr(a, &c, "reason", reason);
        json_set_cstr(a, &c, "status", value ? "True" : "False");
        json_set_cstr(a, &c, "type", type);
        if (old)
                *old = c;
        else
                json_push(a, json_get_or_add_array(a, status, "conditions"), c);
}

static void drop_condition(struct json *status, const char *type) {
        struct json *list = json_get_mut(status, STR("conditions"));

        for (size_t i = json_len(list); i-- > 0;)
                if (str_eqc(json_str(json_getc(&json_items(list)[i], "type")), type))
                        json_remove_item(list, i);
}

/* ---- names ---- */

/* The names of a group that are granted. */
struct used {
        struct arena *arena;
        struct map *resources, *kinds; /* "group/name" */
};

static struct str used_key(struct arena *a, const struct object *crd, struct str name) {
        return arena_printf(a, "%" STR_FMT "/%" STR_FMT,
                            STR_ARG(json_str(json_at_path(object_json(crd), "spec", "group"))), STR_ARG(name));
}

static void use(struct used *u, struct map *m, const struct object *crd, struct str name) {
        if (name.n > 0)
                map_put(m, used_key(u->arena, crd, name), u);
}

static void add_used(struct used *u, const struct object *crd, const struct json *names) {
        use(u, u->resources, crd, json_str(json_getc(names, "plural")));
        use(u, u->resources, crd, json_str(json_getc(names, "singular")));
        json_each_item(n, json_getc(names, "shortNames"))
                use(u, u->resources, crd, json_str(n));
        use(u, u->kinds, crd, json_str(json_getc(names, "kind")));
        use(u, u->kinds, crd, json_str(json_getc(names, "listKind")));
}

/* By the definition itself, too, as another of its names. */
static bool is_taken(struct arena *a, const struct map *m, const struct object *crd, struct str name) {
        return map_get(m, used_key(a, crd, name)) != NULL;
}

/* Why not all the short names are to be had: one reason, or some in brackets; false: they are. */
static bool short_names_taken(struct arena *a, const struct used *u, const struct object *crd,
                              const struct json *wanted, const struct json *accepted, struct str *ret_message) {
        _cleanup_faults_ struct faults taken = { 0 };

        json_each_item(s, json_getc(wanted, "shortNames"))
                if (!json_has_str(json_getc(accepted, "shortNames"), json_str(s)) &&
                    is_taken(a, u->resources, crd, json_str(s)))
                        fault_add(&taken, "\"%" STR_FMT "\" is already in use", STR_ARG(json_str(s)));
        if (taken.n > 0)
                *ret_message = arena_str(a, faults_text(&taken));
        return taken.n > 0;
}

/* The names the definition gets now; why not all it wants (the last reason), or NULL. */
static const char *accept_names(struct arena *a, const struct used *u, const struct object *crd,
                                const struct json *wanted, struct json *accepted, struct str *ret_message) {
        static const struct {
                const char *key, *conflict;
                bool kind, list;
        } names[] = {
                { "plural", "PluralConflict", false, false },        { "singular", "SingularConflict", false, false },
                { "shortNames", "ShortNamesConflict", false, true }, { "kind", "KindConflict", true, false },
                { "listKind", "ListKindConflict", true, false },     { "categories", NULL, false, true },
        };
        const char *conflict = NULL;

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const struct json *want = json_getc(wanted, names[i].key), *have = json_getc(accepted, names[i].key);
                struct str s = json_str(want);

                if (!names[i].list && !str_eq(s, json_str(have)) &&
                    is_taken(a, names[i].kind ? u->kinds : u->resources, crd, s)) {
                        conflict = names[i].conflict;
                        *ret_message = arena_printf(a, "\"%" STR_FMT "\" is already in use", STR_ARG(s));
                } else if (!names[i].list) {
                        json_set_str(a, accepted, names[i].key, s);
                } else if (names[i].conflict && short_names_taken(a, u, crd, wanted, accepted, ret_message)) {
                        conflict = names[i].conflict;
                } else if (json_len(want) > 0) {
                        json_setc(a, accepted, names[i].key, *want);
                } else {
                        json_removec(accepted, names[i].key);
                }
        }
        return conflict;
}

/* ---- one definition ---- */

static bool waits_for_cleanup(const struct object *crd) {
        return object_deleting(crd) &&
               json_has_str(json_at_path(object_json(crd), "metadata", "finalizers"), STR(CLEANUP));
}

static void set_schema_conditions(struct arena *a, const struct json *crd, struct json *status) {
        struct str why = STR("");

        if (crd_is_structural(a, crd, &why))
                drop_condition(status, "NonStructuralSchema");
        else
                crd_set_condition(a, status, "NonStructuralSchema", true, "Violations", why);
        enum crd_approval approval = crd_approval(a, crd, &why);
        if (approval == CRD_APPROVAL_NOT_NEEDED)
                return;
        crd_set_condition(a, status, "KubernetesAPIApprovalPolicyConformant", approval == CRD_APPROVED,
                          approval == CRD_APPROVED            ? "ApprovedAnnotation"
                          : approval == CRD_APPROVAL_BYPASSED ? "UnapprovedAnnotation"
                          : approval == CRD_APPROVAL_MISSING  ? "MissingAnnotation"
                                                              : "InvalidAnnotation",
                          why);
}

/* The status the definition should have. True when that is another than it has. */
static bool wanted_status(struct arena *a, const struct used *u, const struct object *crd, struct json *ret_tree) {
        const struct json *doc = object_json(crd), *wanted = json_at_path(doc, "spec", "names");
        struct json tree = json_copy_tree(a, doc), *status = json_get_or_add_object(a, &tree, "status"), *accepted;
        struct str message = STR("");

        accepted = json_get_or_add_object(a, status, "acceptedNames");
        const char *conflict = accept_names(a, u, crd, wanted, accepted, &message);
        crd_set_condition(a, status, "NamesAccepted", !conflict, conflict ? conflict : "NoConflicts",
                          conflict ? message : STR("no conflicts found"));
        if (!condition_is(json_getc(&tree, "status"), "Established", "True")) {
                bool bad = !conflict && crd_bundle_is_bad(doc);

                crd_set_condition(a, status, "Established", !conflict && !bad,
                                  conflict ? "NotAccepted"
                                  : bad    ? "InvalidCABundle"
                                           : "InitialNamesAccepted",
                                  conflict ? STR("not all names are accepted")
                                  : bad    ? STR("The conversion webhook CABundle is invalid")
                                           : STR("the initial names have been accepted"));
        }
        set_schema_conditions(a, doc, status);
        if (waits_for_cleanup(crd))
                crd_set_condition(a, status, "Terminating", true, "InstanceDeletionInProgress",
                                  STR("CustomResource deletion is in progress"));
        *ret_tree = tree;
        return !json_equal(&tree, doc);
}

/* ---- deletion ---- */

struct removal {
        struct extensions *x;
        struct custom *custom; /* a reference */
        struct api_call call;
};

static void removed(struct api_call *c) {
        struct removal *r = container_of(c, struct removal, call);
        struct extensions *x = r->x;
        uint64_t wait = c->code >= 400 ? LOOK_AGAIN_MS : 1;

        if (c->code >= 400)
                log_warn("cannot delete objects of a definition: %s", error_text(&c->error));
        api_list_free(c->list);
        object_unref(c->object);
        error_clear(&c->error);
        r->custom->emptying = false;
        custom_unref(r->custom);
        arena_free(c->arena); /* r goes with it */
        x->running--;
        look_again(x, wait);
}

static void remove_objects(struct extensions *x, struct custom *c) {
        struct arena *a = arena_new(0);
        struct removal *r = arena_new_of(a, struct removal);
        const struct custom_version *v = c->storage;

        for (size_t i = 0; i < c->n_versions && !v->served; i++)
                v = &c->versions[i];
        r->x = x;
        r->custom = custom_ref(c);
        r->call = (struct api_call) { .verb = API_DELETE_COLLECTION,
                                      .resource = &v->resource,
                                      .options = API_OPTIONS_INIT,
                                      .user = api_user_system,
                                      .authorized = true,
                                      .arena = a,
                                      .loop = x->loop.loop,
                                      .done = removed };
        x->running++;
        c->emptying = true;
        apiserver_call(x->s, &r->call);
}

/* Without objects left the definition may go. */
static void finish_deletion(struct extensions *x, struct object *crd) {
        struct arena *a = arena_new(0);
        struct json tree = json_copy_tree(a, object_json(crd)), *meta = json_get_or_add_object(a, &tree, "metadata");
        struct json *list = json_get_or_add_array(a, meta, "finalizers");
        struct json *status = json_get_or_add_object(a, &tree, "status");
        bool was = condition_is(status, "Established", "True"), last;

        for (size_t i = json_len(list); i-- > 0;)
                if (str_eqc(json_str(&json_items(list)[i]), CLEANUP))
                        json_remove_item(list, i);
        crd_set_condition(a, status, "Terminating", false, was ? "InstanceDeletionCompleted" : "NeverEstablished",
                          was ? STR("removed all instances") : STR("resource was never established"));
        last = json_len(list) == 0;
        if (last)
                tree = json_copy_tree(a, object_json(crd)); /* what goes is shown as it was */
        write_crd(x, a, crd, &tree, last);
}

/* ---- all of them ---- */

static struct custom *find_custom(struct custom *const *sorted, size_t n, struct str name) {
        for (size_t low = 0, high = n; low < high;) {
                size_t middle = low + (high - low) / 2;
                int order = str_cmp(object_name(sorted[middle]->crd), name);

                if (order == 0)
                        return sorted[middle];
                if (order < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return NULL;
}

static struct custom *catalog_custom(const struct catalog *c, const struct object *crd) {
        return find_custom(c->customs, c->n_customs, object_name(crd));
}

/* Is what is served of the definition what was compiled before? */
static bool is_current(const struct custom *c, const struct json *doc, const struct object *crd) {
        const struct json *was = object_json(c->crd);

        return str_eq(object_uid(c->crd), object_uid(crd)) &&
               json_equal(json_getc(was, "spec"), json_getc(doc, "spec")) &&
               json_equal(json_at_path(was, "status", "acceptedNames"), json_at_path(doc, "status", "acceptedNames"));
}

/* The definition as it will be once its status is written: what is served now. */
static struct custom *make_custom(struct extensions *x, const struct catalog *old, struct object *crd,
                                  const struct json *tree) {
        struct custom *c = catalog_custom(old, crd);
        _cleanup_(object_unrefp) struct object *coming = NULL;

        if (c && is_current(c, tree, crd)) {
                if (object_deleting(crd))
                        atomic_store(&c->terminating, true); /* watches go on: they see the objects go */
                return custom_ref(c);
        }
        coming = object_from_tree(tree);
        object_set_revision(coming, object_revision(crd));
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        c = custom_new(coming, store_snapshot_revision(snap));
        c->born = store_snapshot_revision(snap);
        custom_look(c, snap);
        return c;
}

struct pass {
        VEC(struct custom *) customs;
        VEC(struct declared) declared;
        VEC(struct update_due {
                struct arena *a;
                struct object *crd;
                struct json tree;
        })
        updates;
        struct used used;
        bool same; /* as the catalog there is */
};

static void declare(struct pass *p, const struct catalog *old, const struct json *spec) {
        json_each_item(v, json_getc(spec, "versions")) {
                struct declared d = { TEXT(spec, "group"), TEXT(v, "name") };
                const struct declared *then = p->declared.n < old->n_declared ? &old->declared[p->declared.n] : NULL;

                if (!json_bool(json_getc(v, "served")))
                        continue;
                p->same = p->same && then && str_eq(then->group, d.group) && str_eq(then->version, d.version);
                vec_push(&p->declared, d);
        }
}

static void look_at(struct extensions *x, struct pass *p, const struct catalog *old, struct object *crd) {
        struct arena *a = arena_new(0);
        struct custom *c, *before = catalog_custom(old, crd);
        struct json tree;
        bool differs = wanted_status(a, &p->used, crd, &tree), ending = before && atomic_load(&before->terminating);

        add_used(&p->used, crd, json_at_path(&tree, "status", "acceptedNames")); /* those behind it in this pass know */
        if (condition_is(json_getc(&tree, "status"), "Established", "True")) {
                c = make_custom(x, old, crd, &tree);
                p->same = p->same && c == before && ending == atomic_load(&c->terminating);
                vec_push(&p->customs, c);
        } else {
                declare(p, old, json_getc(object_json(crd), "spec"));
        }
        if (differs)
                vec_push(&p->updates, (struct update_due) { a, crd, tree });
        else
                arena_free(a);
}

static void settle(struct timer *t) {
        struct extensions *x = container_of(t, struct extensions, settle);
        struct catalog *c = catalog_get(x->s);
        uint64_t now = store_revision(x->s->store);

        for (size_t i = 0; i < c->n_customs; i++)
                if (atomic_load(&c->customs[i]->since) == UINT64_MAX)
                        atomic_store(&c->customs[i]->since, now);
        catalog_unref(c);
}

/* A changed schema: until every writer has it, each object is looked at when it is read. */
static void mark_unsettled(struct extensions *x, const struct pass *p, const struct catalog *old) {
        bool any = false;

        for (size_t i = 0; i < p->customs.n; i++) {
                struct custom *c = p->customs.v[i], *before = catalog_custom(old, c->crd);

                if (!before || before == c || !str_eq(object_uid(before->crd), object_uid(c->crd)))
                        continue;
                atomic_store(&c->since, UINT64_MAX);
                any = true;
        }
        if (any)
                timer_start(x->loop.loop, &x->settle, SETTLE_MS, settle);
}

static void publish(struct extensions *x, struct pass *p) {
        struct catalog *old = catalog_get(x->s);

        mark_unsettled(x, p, old);
        catalog_swap(x->s, catalog_new(x->s, p->customs.v, p->customs.n, p->declared.v, p->declared.n));
        for (size_t i = 0; i < old->n_customs; i++) {
                struct custom *c = old->customs[i];

                if (find_custom(p->customs.v, p->customs.n, object_name(c->crd)) != c)
                        atomic_store(&c->retired, true);
        }
        hubs_end_retired(x->s);
        catalog_unref(old);
}

static void clean_up(struct extensions *x, struct store_snapshot *snap, struct object *crd) {
        struct catalog *now = catalog_get(x->s);
        struct custom *c = catalog_custom(now, crd);
        struct str prefix = c ? c->storage->rest.prefix : STR("");

        if (c && store_count(snap, prefix, prefix) > 0) {
                if (!c->emptying)
                        remove_objects(x, c);
                look_again(x, LOOK_AGAIN_MS); /* those with finalizers go when they can */
        } else {
                finish_deletion(x, crd);
        }
        catalog_unref(now);
}

static void sync_all(struct extensions *x) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        const struct rest *r = rest_of(x->s, &res_customresourcedefinitions);
        struct catalog *old = catalog_get(x->s);
        struct pass p = { .used = { arena_new(0), map_new(NULL), map_new(NULL) }, .same = true };

        store_each(it, snap, r->prefix)
                add_used(&p.used, it.object, json_at_path(object_json(it.object), "status", "acceptedNames"));
        store_each(it, snap, r->prefix)
                look_at(x, &p, old, it.object);
        map_free(p.used.resources);
        map_free(p.used.kinds);
        arena_free(p.used.arena);
        if (p.same && p.customs.n == old->n_customs && p.declared.n == old->n_declared)
                for (size_t i = 0; i < p.customs.n; i++)
                        custom_unref(p.customs.v[i]);
        else
                publish(x, &p); /* takes the references over */
        catalog_unref(old);
        old = catalog_get(x->s); /* the current one */
        for (size_t i = 0; i < old->n_customs; i++)
                kept_begin(old->customs[i], x->s, x->loop.loop, &x->kept);
        catalog_unref(old);
        local_services_sync(x->s, x->loop.loop, &x->running);
        for (size_t i = 0; i < p.updates.n; i++)
                write_crd(x, p.updates.v[i].a, p.updates.v[i].crd, &p.updates.v[i].tree, false);
        vec_free(&p.customs);
        vec_free(&p.declared);
        if (p.updates.n == 0) {
                store_each(it, snap, r->prefix)
                        if (waits_for_cleanup(it.object))
                                clean_up(x, snap, it.object);
        }
        vec_free(&p.updates);
}

static void due(struct timer *t) {
        struct extensions *x = container_of(t, struct extensions, again);

        if (!x->ending)
                sync_all(x);
}

static void look_again(struct extensions *x, uint64_t ms) {
        if (!x->ending)
                timer_start(x->loop.loop, &x->again, ms, due);
}

static void changed(struct loop_work *w) {
        struct extensions *x = container_of(w, struct extensions, work);

        atomic_store(&x->queued, false);
        if (!x->ending)
                sync_all(x);
}

void extensions_changed(struct extensions *x) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (atomic_exchange(&x->queued, true))
                return;
        if (late_loop_post(&x->loop, &x->work, &e) < 0 && e.err != -ECANCELED)
                log_error("custom resources are not served: %s", error_text(&e));
}

/* ---- life ---- */

struct extensions *extensions_new(struct apiserver *s) {
        struct extensions *x = xcalloc(1, sizeof(*x));

        x->s = s;
        x->work.run = changed;
        x->loop = LATE_LOOP("extensions");
        list_init(&x->kept);
        return x;
}

void extensions_load(struct extensions *x) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(x->s->store);
        const struct rest *r = rest_of(x->s, &res_customresourcedefinitions);
        uint64_t now = store_snapshot_revision(snap);
        VEC(struct custom *) customs = { 0 };

        store_each(it, snap, r->prefix)
                if (condition_is(json_getc(object_json(it.object), "status"), "Established", "True"))
                        vec_push(&customs, custom_new(it.object, now));
        for (size_t i = 0; i < customs.n; i++)
                custom_look(customs.v[i], snap);
        if (customs.n > 0)
                catalog_swap(x->s, catalog_new(x->s, customs.v, customs.n, NULL, 0));
        vec_free(&customs);
        if (store_count(snap, r->prefix, r->prefix) > 0)
                extensions_changed(x);
}

static void close_all(void *arg) {
        struct extensions *x = arg;

        x->ending = true;
        kept_end_all(&x->kept);
        timer_close(&x->again, NULL);
        timer_close(&x->settle, NULL);
}

void extensions_stop(struct extensions *x) {
        late_loop_stop(&x->loop, close_all, x, &x->running);
}

void extensions_free(struct extensions *x) {
        if (!x)
                return;
        extensions_stop(x);
        free(x);
}
