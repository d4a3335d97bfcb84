/* DELETE: at once, gracefully (pods), or marked with a deletionTimestamp until the last finalizer is gone.
 *
 *   delete ─┬─ pod ──▶ deletionTimestamp = now + grace ─┬─ grace > 0 ──▶ its kubelet deletes it with grace 0
 *           │                                           └─ grace 0 (no node, ended, asked for) ──▶ gone
 *           ├─ has finalizers, or must get one (Foreground, Orphan) ──▶ deletionTimestamp; gone with the last one
 *           └─ else ──▶ gone */
#include "apiserver/admission/admission.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/flags.h"
#include "apiserver/request.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/defaults.h"
#include "schema/types.h"

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

/* What goes in its own way: it is marked first, whatever finalizers it has, and nothing tells of that but the time. */
static bool goes_its_own_way(const struct op *op) {
        const struct api_resource *r = op->rest->stored->resource;

        return r == &res_namespaces || r == &res_customresourcedefinitions;
}

/* Upstream's conflict names the kind here, not the resource. */
static int refuse_precondition(struct op *op, struct error *err, const char *what, struct str wanted, struct str is,
                               const char *happened) {
        const struct rest *r = op->rest->custom ? op->rest : op->rest->stored;

        if (goes_its_own_way(op))
                return err_conflict(err, r, op->name,
                                    "Precondition failed: %s in precondition: %" STR_FMT
                                    ", %s in object meta: %" STR_FMT,
                                    what, STR_ARG(wanted), what, STR_ARG(is));
        error_status(err, REASON_CONFLICT,
                     "Operation cannot be fulfilled on %" STR_FMT "%s%" STR_FMT " \"%" STR_FMT
                     "\": the %s in the precondition (%" STR_FMT ") does not match the %s in record (%" STR_FMT
                     "). The object might have been %s",
                     STR_ARG(r->kind), str_empty(r->group) ? "" : ".", STR_ARG(r->group), STR_ARG(op->name), what,
                     STR_ARG(wanted), what, STR_ARG(is), happened);
        error_details(err, op->name, r->group, r->kind);
        return -EAGAIN;
}

static int check_preconditions(struct op *op, struct error *err) {
        const struct api_options *o = &op->c->options;
        uint64_t revision = object_revision(op->old);
        struct str uid = o->precondition_uid, rv = o->precondition_resource_version,
                   now = arena_printf(op->c->arena, "%llu", (unsigned long long) revision);

        if (uid.p && !str_eq(uid, object_uid(op->old)))
                return refuse_precondition(op, err, "UID", uid, object_uid(op->old), "deleted and then recreated");
        if (rv.p && !str_eq(rv, now))
                return refuse_precondition(op, err, "ResourceVersion", rv, now, "modified");
        return 0;
}

static bool has_finalizer(const struct json *list, const char *name, size_t *ret_at) {
        size_t i = 0;

        json_each_item(f, list) {
                if (str_eqc(json_str(f), name)) {
                        if (ret_at)
                                *ret_at = i;
                        return true;
                }
                i++;
        }
        return false;
}

/* foregroundDeletion and orphan follow from the propagation policy. True when the list has changed. */
static bool set_gc_finalizers(struct op *op, struct json *meta) {
        struct arena *a = op->c->arena;
        struct str policy = op->c->options.propagation_policy;
        const struct json *now = json_getc(meta, "finalizers");
        struct json list = json_is(now, JSON_ARRAY) ? json_copy_tree(a, now) : json_new_array();
        bool had_orphan, had_foreground, orphan, foreground;
        size_t at;

        if (!server_flag_on(op->s, "enable-garbage-collector", true) ||
            (op->rest->stored->resource == &res_customresourcedefinitions && !object_deleting(op->old)))
                return false;
        had_orphan = has_finalizer(&list, FINALIZER_ORPHAN, NULL);
        had_foreground = has_finalizer(&list, FINALIZER_FOREGROUND, NULL);
        if (op->rest->stored->resource == &res_events) { /* have no dependents, whatever was asked for before */
                orphan = foreground = false;
        } else if (str_empty(policy)) { /* what was asked for before stays; else the kind's default */
                orphan = had_orphan || (!had_foreground && (op->rest->stored->strategy->flags & STRATEGY_ORPHAN));
                foreground = had_foreground;
        } else {
                orphan = str_eqc(policy, "Orphan");
                foreground = str_eqc(policy, "Foreground") || (op->rest->stored->resource == &res_namespaces &&
                                                               str_eqc(op->c->options.orphan_dependents, "false"));
        }
        if (orphan == had_orphan && foreground == had_foreground)
                return false;
        if (had_orphan && !orphan && has_finalizer(&list, FINALIZER_ORPHAN, &at))
                json_remove_item(&list, at);
        if (had_foreground && !foreground && has_finalizer(&list, FINALIZER_FOREGROUND, &at))
                json_remove_item(&list, at);
        if (!had_orphan && orphan)
                json_push(a, &list, json_of_cstr(FINALIZER_ORPHAN));
        if (!had_foreground && foreground)
                json_push(a, &list, json_of_cstr(FINALIZER_FOREGROUND));
        json_put(a, meta, "finalizers", json_len(&list) > 0 ? &list : NULL);
        return true;
}

static void mark_deleted(struct op *op, struct json *meta, int64_t grace) {
        struct arena *a = op->c->arena;
        const struct json *generation = json_getc(meta, "generation");
        int64_t now = now_wall_ns(), from = now, until;
        char text[36];

        if (object_deleting(op->old) && time_parse(json_str(json_getc(meta, "deletionTimestamp")), &until) == 0)
                from = time_after(until, -json_int(json_getc(meta, "deletionGracePeriodSeconds")));
        until = time_after(from, grace);
        if (until < now) { /* what it was given is over: the least that is still graceful */
                until = now;
                grace = grace > 0;
        }
        json_setc(a, meta, "deletionTimestamp", json_of_copy(a, time_format(text, until)));
        json_set_int(a, meta, "deletionGracePeriodSeconds", grace);
        if (json_int(generation) > 0 && !object_deleting(op->old))
                json_set_int(a, meta, "generation", json_int(generation) + 1);
}

/* How long a pod gets: upstream's podStrategy.CheckGracefulDelete. */
static int64_t pod_grace(const struct op *op, const struct json *pod) {
        int64_t grace = op->c->options.grace_period_seconds;

        if (grace < 0)
                grace = json_int_or(json_at_path(pod, "spec", "terminationGracePeriodSeconds"), 30);
        if (str_empty(json_str(json_at_path(pod, "spec", "nodeName"))) || pod_has_ended(pod))
                return 0;
        return MAX(grace, 0);
}

/* A pod that goes already, and is not asked to go sooner: nothing happens, and admission is not asked. */
static bool is_under_way(const struct op *op) {
        int64_t asked = op->c->options.grace_period_seconds,
                left = json_int(json_at_path(object_json(op->old), "metadata", "deletionGracePeriodSeconds"));

        return op->rest->stored->resource == &res_pods && object_deleting(op->old) && left > 0 &&
               (asked < 0 || asked >= left);
}

enum outcome { OUTCOME_DELETE, OUTCOME_MARK, OUTCOME_MARK_AND_DELETE, OUTCOME_NOTHING };

static enum outcome decide_pod(struct op *op, struct json *meta, bool finalizers_changed) {
        int64_t left = json_int(json_getc(meta, "deletionGracePeriodSeconds")),
                asked = op->c->options.grace_period_seconds;
        bool finalizers = json_len(json_getc(meta, "finalizers")) > 0;

        if (!object_deleting(op->old))
                asked = pod_grace(op, object_json(op->old));
        else if (left == 0)
                return !finalizers ? OUTCOME_DELETE : finalizers_changed ? OUTCOME_MARK : OUTCOME_NOTHING;
        mark_deleted(op, meta, asked);
        return asked > 0 || finalizers ? OUTCOME_MARK : OUTCOME_MARK_AND_DELETE;
}

static enum outcome decide(struct op *op) {
        struct arena *a = op->c->arena;
        const struct api_resource *r = op->rest->stored->resource;
        bool changed, deleting = object_deleting(op->old);
        char text[36];

        if (r == &res_namespaces && deleting && json_len(json_at_path(&op->tree, "spec", "finalizers")) > 0)
                return OUTCOME_NOTHING;
        if (op->rest->stored->strategy->prepare_delete)
                op->rest->stored->strategy->prepare_delete(op, &op->tree);
        struct json *meta = meta_of(a, &op->tree);
        if (!object_deleting(op->old) && json_is(json_getc(meta, "deletionTimestamp"), JSON_STRING))
                return OUTCOME_MARK; /* its strategy did it */
        changed = set_gc_finalizers(op, meta);
        if (r == &res_pods)
                return decide_pod(op, meta, changed);
        if (goes_its_own_way(op) && !deleting) {
                if (r == &res_namespaces)
                        json_set_cstr(a, json_get_or_add_object(a, &op->tree, "status"), "phase", "Terminating");
                json_setc(a, meta, "deletionTimestamp", json_of_copy(a, time_format(text, now_wall_ns())));
                return OUTCOME_MARK;
        }
        if (json_len(json_getc(meta, "finalizers")) == 0)
                return OUTCOME_DELETE;
        if (deleting)
                return changed ? OUTCOME_MARK : OUTCOME_NOTHING;
        mark_deleted(op, meta, 0);
        return OUTCOME_MARK;
}

static void answer_deleted(struct op *op) {
        struct arena *a = op->c->arena;
        const struct rest *r = op->rest;

        if (r->stored->strategy->flags & STRATEGY_RETURN_DELETED) {
                if (!op->result)
                        op->result = object_ref(op->old);
                return op_finish(op, 200);
        }
        op->c->tree = json_new(a, status_success(a, op->name, r->group, r->plural, arena_str(a, object_uid(op->old))));
        object_unref(TAKE_PTR(op->result));
        op_finish(op, 200);
}

static bool retry(struct op *op) {
        bool again = op->txn.result == -EAGAIN || (op->txn.result == -ENOENT && op->txn.failed_op > 0);

        if (!again || ++op->attempts >= 32)
                return false;
        object_unref(TAKE_PTR(op->result));
        registry_delete(op);
        return true;
}

static void deleted(struct op *op) {
        bool other_was_faster = op->txn.result == -ENOENT && op->txn.failed_op == 0 && op->result;

        if (other_was_faster && object_revision(op->result) == 0) /* what was marked is gone: the last that is known */
                object_set_revision(op->result, op->ops[0].expect);
        if (op->txn.result == 0 || other_was_faster) {
                answer_deleted(op);
        } else if (!retry(op)) {
                writes_store_error(op);
                op_fail(op);
        }
}

/* The object is still there. */
static void answer_remains(struct op *op) {
        struct str orphan = op->c->options.orphan_dependents;

        op_finish(op, str_empty(orphan) || request_bool(orphan) ? 200 : 202);
}

/* op->result is its last state, when it was marked before; op->old else. */
static void remove_now(struct op *op) {
        _cleanup_(object_unrefp) struct object *now = object_ref(op->result ? op->result : op->old);

        if (op->c->options.dry_run)
                return answer_deleted(op);
        object_unref(TAKE_PTR(op->result));
        if (op->rest->stored->strategy->flags & STRATEGY_RETURN_DELETED) /* is answered with the revision of its end */
                op->result = object_from_tree(object_json(now));
        op->ops[0] = (struct store_op) {
                .kind = STORE_DELETE, .key = op->key, .object = op->result, .expect = object_revision(now)
        };
        op_submit(op, 1, deleted);
}

static void marked(struct op *op) {
        if (op->txn.result == 0) {
                answer_remains(op);
        } else if (!retry(op)) {
                writes_store_error(op);
                op_fail(op);
        }
}

static void marked_to_go(struct op *op) {
        if (op->txn.result == 0)
                remove_now(op);
        else
                marked(op);
}

static void put_marked(struct op *op, void (*done)(struct op *op)) {
        schema_reorder(op->c->arena, op->rest->stored->resource->type, &op->tree);
        op->result = object_from_tree(&op->tree);
        if (op->c->options.dry_run) {
                object_set_revision(op->result, object_revision(op->old));
                return answer_remains(op);
        }
        op->ops[0] = (struct store_op) {
                .kind = STORE_UPDATE, .key = op->key, .object = op_stored_object(op), .expect = object_revision(op->old)
        };
        op_submit(op, 1, done);
}

static void mark(struct op *op) {
        if (op->c->options.dry_run || op_convert_out(op, mark))
                put_marked(op, marked);
}

/* There is nothing to do, but what another version does not know goes when it is written in that. */
static void leave(struct op *op) {
        if (!op->c->options.dry_run && op->rest->custom && !op->rest->custom->of->terminating) {
                if (!op_convert_out(op, leave))
                        return;
                if (op_stores_anew(op))
                        return put_marked(op, marked);
        }
        op->result = object_ref(op->old);
        answer_remains(op);
}

static void delete_admitted(struct op *op) {
        switch (decide(op)) {
        case OUTCOME_DELETE:
                remove_now(op);
                return;
        case OUTCOME_MARK:
                mark(op);
                return;
        case OUTCOME_MARK_AND_DELETE:
                put_marked(op, marked_to_go);
                return;
        case OUTCOME_NOTHING:
                return leave(op);
        }
}

static void warn_of_orphans(struct op *op) {
        if (str_empty(op->c->options.propagation_policy) && str_eqc(op->rest->group, "batch") &&
            (op->rest->stored->strategy->flags & STRATEGY_ORPHAN))
                op_warn(op, STR("child pods are preserved by default when jobs are deleted; set "
                                "propagationPolicy=Background to remove them or set propagationPolicy=Orphan to "
                                "suppress this warning"));
}

void registry_delete(struct op *op) {
        struct error *err = &op->c->error;
        struct arena *a = op->c->arena;
        const struct rest *r = op->rest->stored;

        op_refresh(op);
        warn_of_orphans(op);
        if (r->resource == &res_priorityclasses && !op->c->collection && /* in which upstream does not look either */
            str_among(op->name, WORDS("system-cluster-critical", "system-node-critical"))) {
                err_forbidden(err, op->rest, op->name, "this is a system priority class and cannot be deleted");
                goto fail;
        }
        if (!op_load(op, registry_delete))
                return;
        if (!op->old) {
                err_not_found(err, op->rest, op->name);
                goto fail;
        }
        if (check_preconditions(op, err) < 0)
                goto fail;
        if (is_under_way(op))
                return leave(op);
        op->key = rest_key(a, r, op->namespace, op->name);
        op->tree = json_copy_shallow(a, object_json(op->old));
        json_setc(a, &op->tree, "metadata", json_copy_tree(a, json_getc(object_json(op->old), "metadata")));
        if (json_is(json_getc(&op->tree, "status"), JSON_OBJECT))
                json_setc(a, &op->tree, "status", json_copy_shallow(a, json_getc(&op->tree, "status")));
        admission_run(op, ADMIT_DELETE, NULL, object_json(op->old), delete_admitted);
        return;
fail:
        op_fail(op);
}

/* ---- deletecollection: in the list's order, each delete as its own call ----
 *
 * The first failure is the last delete. Only what administrators have configured, or the request itself, makes a delete
 * fail; without either several are under way at once, and share the store's commits. */

#define AT_ONCE 32

struct collection {
        struct op *op;
        struct api_list *list;
        pthread_mutex_t lock; /* calls may end on any thread */
        size_t next, running, width;
        bool starting; /* somebody is in start_items, and sees what becomes free */
        struct item {
                struct collection *of;
                struct arena *arena; /* of its call; NULL: it is not needed yet */
                bool busy;
                struct api_call call;
        } items[AT_ONCE];
};

static void start_items(struct collection *k);

static void item_deleted(struct api_call *call) {
        struct item *i = container_of(call, struct item, call);
        struct collection *k = i->of;
        struct op *op = k->op;

        object_unref(call->object);
        pthread_mutex_lock(&k->lock);
        for (size_t n = 0; n < call->n_warnings; n++)
                op_warn(op, call->warnings[n]);
        if (call->code >= 400 && call->error.reason != REASON_NOT_FOUND && !op->c->error.err)
                error_move(&op->c->error, &call->error);
        error_clear(&call->error);
        i->busy = false;
        k->running--;
        bool go_on = !k->starting;
        pthread_mutex_unlock(&k->lock);
        if (go_on)
                start_items(k);
}

static void collection_done(struct collection *k) {
        struct op *op = k->op;

        for (size_t i = 0; i < k->width; i++)
                arena_free(k->items[i].arena);
        pthread_mutex_destroy(&k->lock);
        if (op->c->error.err) {
                api_list_free(k->list);
                return op_fail(op);
        }
        op->c->list = k->list;
        op_finish(op, 200);
}

static void delete_item(struct collection *k, struct item *i, const struct object *o) {
        if (i->arena)
                arena_reset(i->arena);
        else
                i->arena = arena_new(0);
        i->call = *k->op->c;
        i->call.verb = API_DELETE;
        i->call.name = object_name(o);
        i->call.namespace = object_namespace(o);
        i->call.authorized = i->call.collection = true;
        i->call.arena = i->arena;
        i->call.done = item_deleted;
        apiserver_call(k->op->s, &i->call);
}

static void start_items(struct collection *k) {
        bool exhausted;

        pthread_mutex_lock(&k->lock);
        if (k->starting) { /* two have ended at once */
                pthread_mutex_unlock(&k->lock);
                return;
        }
        k->starting = true;
        while (!(exhausted = k->next == k->list->n || k->op->c->error.err) && k->running < k->width) {
                struct object *o = k->list->items[k->next++];
                struct item *i = k->items;

                while (i->busy)
                        i++;
                i->busy = true;
                k->running++;
                pthread_mutex_unlock(&k->lock);
                delete_item(k, i, o);
                pthread_mutex_lock(&k->lock);
        }
        exhausted = exhausted && k->running == 0;
        k->starting = exhausted; /* then nobody starts again */
        pthread_mutex_unlock(&k->lock);
        if (exhausted)
                collection_done(k);
}

/* Nothing can refuse one of the objects and not the others. */
static bool asks_nobody(const struct op *op) {
        return !op->c->options.precondition_uid.p && !op->c->options.precondition_resource_version.p &&
               !admission_is_configured(op->s);
}

static void collection_listed(struct op *op) {
        struct collection *k = arena_new_of(op->c->arena, struct collection);

        list_select(op);
        k->op = op;
        k->list = TAKE_PTR(op->c->list);
        k->width = asks_nobody(op) ? AT_ONCE : 1;
        pthread_mutex_init(&k->lock, NULL);
        for (size_t i = 0; i < k->width; i++)
                k->items[i].of = k;
        start_items(k);
}

void registry_delete_collection(struct op *op) {
        op_refresh(op);
        warn_of_orphans(op);
        if (list_collect(op->s, op->c, op->rest, op->snap, &op->c->list, &op->c->error) < 0)
                op_fail(op);
        else if (str_empty(op->c->options.field_selector) && str_empty(op->c->options.label_selector))
                collection_listed(op); /* goes whether or not a webhook is there to convert it */
        else
                convert_list(op, collection_listed);
}
