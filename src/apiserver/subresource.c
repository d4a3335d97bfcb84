/* Subresources that are not simply a part of their object: scale, binding, eviction, tokens. Found by a table. */
#include "apiserver/admission/admission.h"
#include "apiserver/auth/authn.h"
#include "apiserver/auth/review.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/validation/validate.h"
#include "apiserver/writes.h"
#include "base/faults.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/columns.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/selector.h"
#include "schema/types.h"

/* ---- scale: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/scale ---- */

static struct str selector_text(struct arena *a, const struct json *selector) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct selector s;

        if (json_getc(selector, "matchLabels") || json_getc(selector, "matchExpressions")) {
                if (selector_from_object(a, selector, &s, NULL) < 0)
                        return STR("");
        } else {
                selector_from_map(a, selector, &s); /* a replication controller's */
        }
        selector_print(&b, &s);
        return arena_str(a, buf_str(&b));
}

/* Where the numbers are: CustomResourceDefinitions say. */
static const struct json *scale_value(const struct op *op, const struct json *obj, const char *key, const char *outer) {
        struct str rest, name;

        if (!op->rest->custom)
                return json_at_path(obj, outer, "replicas");
        rest = json_str(json_getc(op->rest->custom->scale, key));
        rest = str_sub(rest, 1, rest.n);
        if (rest.n == 0)
                return NULL;
        while (str_split(&rest, '.', &name))
                obj = json_get(obj, name);
        return obj;
}

static struct json scale_of(const struct op *op, const struct json *obj, uint64_t revision) {
        struct arena *a = op->c->arena;
        const struct json *from = json_getc(obj, "metadata"),
                          *wanted = scale_value(op, obj, "specReplicasPath", "spec");
        struct str selector = op->rest->custom ? json_str(scale_value(op, obj, "labelSelectorPath", NULL))
                                               : selector_text(a, json_at_path(obj, "spec", "selector"));

        return json_build(a,
                          "{ kind: 'Scale', apiVersion: 'autoscaling/v1', metadata: { name: %j, namespace: %j, uid: %j,"
                          "  resourceVersion: %s, creationTimestamp: %j }, spec: { replicas: %j },"
                          "  status: { replicas: %l, selector: %o } }",
                          json_getc(from, "name"), json_getc(from, "namespace"), json_getc(from, "uid"),
                          arena_printf(a, "%llu", (unsigned long long) revision), json_getc(from, "creationTimestamp"),
                          json_int(wanted) ? wanted : NULL,
                          json_int(scale_value(op, obj, "statusReplicasPath", "status")), selector);
}

static void answer_scale(struct op *op) {
        struct object *o = op->result ? op->result : op->old;

        struct json scale = scale_of(op, object_json(o), object_revision(o));

        op->c->tree = json_new(op->c->arena,
                               json_copy(op->c->arena, &scale)); /* it shares with an object that may go now */
        object_unref(TAKE_PTR(op->result));
        op_finish(op, 200);
}

static void get_scale(struct op *op) {
        const struct json *path = op->rest->custom ? json_getc(op->rest->custom->scale, "specReplicasPath") : NULL;

        if (!registry_load(op, get_scale))
                return;
        if (path && !scale_value(op, object_json(op->old), "specReplicasPath", NULL)) {
                error_status(&op->c->error, REASON_INTERNAL,
                             "Internal error occurred: the spec replicas field \"%" STR_FMT "\" does not exist",
                             STR_ARG(json_str(path)));
                return op_fail(op);
        }
        answer_scale(op);
}

/* Where specReplicasPath says, or .spec.replicas. */
static struct str scale_path(const struct op *op) {
        return op->rest->custom ? json_str(json_getc(op->rest->custom->scale, "specReplicasPath"))
                                : STR(".spec.replicas");
}

static int check_scale(struct op *op, const struct json *want, struct error *err) {
        const struct json *replicas = json_at_path(want, "spec", "replicas");
        struct str uid = json_str(json_at_path(want, "metadata", "uid"));
        struct field_errors fe = { .a = op->c->arena, .type = &type_Scale };
        struct rest scale = *op->rest;

        if (op->rest->custom && json_int(replicas) == INT32_MIN)
                return err_bad_request(err, "the spec replicas field \"%" STR_FMT "\" cannot be empty",
                                       STR_ARG(scale_path(op)));
        if (!op->rest->custom) /* which is looked at as a whole, once it has them */
                validate_metadata(&fe, want, NULL, op->rest->resource->namespaced, check_dns_subdomain);
        if (!op->rest->custom && json_int(replicas) < 0)
                field_invalid(&fe, PATH(PATH(NULL, "spec"), "replicas"), replicas,
                              "must be greater than or equal to 0");
        TRY(field_errors_finish(&fe, STR("Scale"), STR("autoscaling"), op->name, err));
        if (op->c->verb == API_UPDATE)
                return op_check_identity(op, "UID", uid, object_uid(op->old), err);
        if (str_empty(uid) || str_eq(uid, object_uid(op->old)))
                return 0;
        scale.plural = arena_printf(fe.a, "%" STR_FMT "/scale", STR_ARG(op->rest->plural));
        scale.qualified = arena_printf(fe.a, "%" STR_FMT "%s%" STR_FMT, STR_ARG(scale.plural),
                                       str_empty(scale.group) ? "" : ".", STR_ARG(scale.group));
        return err_conflict(err, &scale, op->name,
                            "Precondition failed: UID in precondition: %" STR_FMT ", UID in object meta: %" STR_FMT,
                            STR_ARG(uid), STR_ARG(object_uid(op->old)));
}

/* 0: they go; only in what nobody else sees (own_scale). */
static void set_replicas(struct op *op, struct json *tree, int64_t replicas, bool keep_zero) {
        struct str rest = str_sub(scale_path(op), 1, scale_path(op).n), key;

        while (str_split(&rest, '.', &key) && rest.n > 0)
                tree = json_get_or_add_object(op->c->arena, tree, arena_cstr(op->c->arena, key));
        if (replicas || keep_zero)
                json_set_int(op->c->arena, tree, arena_cstr(op->c->arena, key), replicas);
        else
                json_removec(tree, arena_cstr(op->c->arena, key));
}

static void take_managers(struct op *op, const struct json *owned) {
        const struct json *managers = json_at_path(owned, "metadata", "managedFields");

        json_removec(meta_of(op->c->arena, &op->tree), "managedFields");
        if (managers)
                json_setc(op->c->arena, meta_of(op->c->arena, &op->tree), "managedFields", *managers);
}

/* Sets the replicas of op->tree, and who owns them: an entry for the subresource "scale". A Scale leaves out 0, which
 * nobody owns then. */
static int own_scale(struct op *op, int64_t replicas, struct error *err) {
        const struct rest *r = op->rest->stored;
        struct apply_opts opts = writes_scale_opts(op, scale_path(op));
        struct arena *a = op->c->arena;
        struct json config, owned, was;

        opts.api_version = r->api_version;
        was = json_copy_tree(a, object_json(op->old));
        set_replicas(op, &was, json_int(scale_value(op, &was, "specReplicasPath", "spec")), false);
        if (op->c->patch != API_PATCH_APPLY) {
                set_replicas(op, &op->tree, replicas, true);
                owned = json_copy_tree(a, &op->tree);
                set_replicas(op, &owned, replicas, false);
                apply_track_update(a, r->resource->type, &was, &owned, &opts);
                take_managers(op, &owned);
                return 0;
        }
        config = json_build(a, "{kind:%s,apiVersion:%s,metadata:{name:%s,namespace:%o}}", r->kind, r->api_version,
                            op->name, op->namespace);
        if (json_at_path(op->c->body, "spec", "replicas"))
                set_replicas(op, &config, replicas, true);
        opts.scale_kept = json_getc(op->c->body, "spec") || json_getc(op->c->body, "status");
        TRY(apply_merge(a, r->resource->type, &was, &config, &opts, &owned, err));
        op->tree = json_copy_tree(a, object_json(op->old)); /* nothing else changes, be it owned as a whole */
        if (scale_value(op, &owned, "specReplicasPath", "spec"))
                set_replicas(op, &op->tree, json_int(scale_value(op, &owned, "specReplicasPath", "spec")), true);
        else
                set_replicas(op, &op->tree, 0, false);
        take_managers(op, &owned);
        return 0;
}

static bool has_its_replicas(const struct op *op) {
        return json_int(scale_value(op, &op->tree, "specReplicasPath", NULL)) ==
               json_int(scale_value(op, object_json(op->old), "specReplicasPath", NULL));
}

/* Those who may change the Scale see who has its replicas, and who would have them. */
static int track_scale(struct op *op, struct json *now, struct error *err) {
        const struct apply_opts opts = {
                .manager = writes_apply_opts(op).manager,
                .subresource = op->c->subresource,
                .api_version = STR("autoscaling/v1"),
                .force = true,
                .now_wall_ns = now_wall_ns(),
        };
        struct arena *a = op->c->arena;
        struct json seen;

        if (op->c->patch != API_PATCH_APPLY) {
                apply_track_update(a, &type_Scale, now, &op->tree, &opts);
                return 0;
        }
        TRY(apply_merge(a, &type_Scale, now, op->c->body, &opts, &seen, err));
        take_managers(op, &seen);
        return 0;
}

/* op->tree: the Scale that the request makes of the current one. */
static int wanted_scale(struct op *op, const struct json *now, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (op->c->patch == API_PATCH_APPLY) {
                TRY(registry_check_config(op, NULL, err));
                op->tree = *object_json(op->old); /* conflicts are told before what is wrong with the Scale */
                TRY(own_scale(op, json_int(json_at_path(op->c->body, "spec", "replicas")), err));
                struct json doc = json_merge_patch(op->c->arena, now, op->c->body);
                if (op->rest->custom && !(json_equal(now, &doc) && has_its_replicas(op)))
                        return registry_refuse_scale(op, err);
                TRY(writes_match_patched(op, json_getc(&doc, "metadata"), err));
                return schema_decode_request(op->c->arena, &type_Scale, &doc, STR(""), NULL, SENT_PATCHED, &op->tree,
                                             &op->odd, &e) < 0
                                       ? registry_refuse_result(op, error_text(&e), err)
                                       : 0;
        }
        return op->c->verb == API_PATCH ? registry_patched(op, now, err) : 0;
}

static void write_scale(struct op *op) {
        struct arena *a = op->c->arena;
        int64_t replicas = json_int(json_at_path(&op->tree, "spec", "replicas"));
        const struct json *old = scale_value(op, object_json(op->old), "specReplicasPath", "spec");

        op->tree = json_copy_tree(a, object_json(op->old));
        if (own_scale(op, replicas, &op->c->error) < 0 ||
            (op->rest->custom && writes_validate(op, &op->tree, object_json(op->old), &op->c->error) < 0))
                return op_fail(op);
        if (op->rest->custom) /* the spec may be new */
                registry_default(op, &op->tree);
        replicas = json_int(scale_value(op, &op->tree, "specReplicasPath", "spec"));
        if (!scale_value(op, &op->tree, "specReplicasPath", "spec")) /* its applier has left it out */
                set_replicas(op, &op->tree, 0, true);
        if (!old || json_int(old) != replicas) {
                struct json *meta = meta_of(a, &op->tree);
                json_set_int(a, meta, "generation", json_int(json_getc(meta, "generation")) + 1);
                schema_reorder(a, op->rest->stored->resource->type, &op->tree);
        }
        if (op->rest->stored->strategy->warn)
                op->rest->stored->strategy->warn(op, &op->tree);
        writes_put_changed(op);
}

/* Those who only look at it see the Scale that will be: of the object, with the new replicas. */
static void scale_admitted(struct op *op) {
        int64_t replicas = json_int(json_at_path(&op->tree, "spec", "replicas"));

        writes_merge_owners(op, &op->tree, AFTER_ADMISSION);
        if (check_scale(op, &op->tree, &op->c->error) < 0 || writes_check_current(op, &op->tree, &op->c->error) < 0)
                return op_fail(op);
        op->tree = scale_of(op, object_json(op->old), object_revision(op->old));
        json_removec(json_get_mut(&op->tree, STR("spec")), "replicas");
        if (replicas)
                json_set_int(op->c->arena, json_get_mut(&op->tree, STR("spec")), "replicas", replicas);
        admission_validate(op, write_scale);
}

static void put_scale(struct op *op) {
        struct arena *a = op->c->arena;

        op->then = answer_scale;
        op->again = put_scale;
        if (op->c->verb == API_UPDATE && (registry_decode(op, op->c->body, &op->tree, &op->c->error) < 0 ||
                                          writes_match_request(op, &op->tree, &op->c->error) < 0))
                return op_fail(op);
        if (op->c->verb == API_UPDATE)
                writes_merge_owners(op, &op->tree, "");
        if (!registry_load(op, put_scale))
                return;
        struct json now = scale_of(op, object_json(op->old), object_revision(op->old));
        if (op->rest->custom && op->c->verb == API_PATCH &&
            !scale_value(op, object_json(op->old), "specReplicasPath", "spec"))
                json_set_int(a, json_get_or_add_object(a, &now, "spec"), "replicas",
                             INT32_MIN); /* upstream's sign for none */
        const struct apply_opts opts = writes_scale_opts(op, scale_path(op));
        apply_scale_managers(a, object_json(op->old), &opts, &now);
        if (wanted_scale(op, &now, &op->c->error) < 0 || track_scale(op, &now, &op->c->error) < 0)
                return op_fail(op);
        if (op->rest->resource->namespaced && str_empty(json_str(json_at_path(&op->tree, "metadata", "namespace"))))
                json_set_str(a, meta_of(a, &op->tree), "namespace", op->namespace);
        admission_admit(op, ADMIT_UPDATE, &op->tree, json_new(a, now), scale_admitted);
}

/* ---- binding ---- */

/* PodScheduled becomes true. */
static void set_scheduled(struct arena *a, struct json *status) {
        struct json *list = json_get_or_add_array(a, status, "conditions"),
                    *old = condition_find(status, "PodScheduled");
        struct json c = json_build(a,
                                   "{ type: 'PodScheduled', status: 'True', lastProbeTime: null,"
                                   "  lastTransitionTime: %s }",
                                   now_text(a));

        if (!old)
                json_push(a, list, c);
        else if (!str_eqc(json_str(json_getc(old, "status")), "True"))
                *old = c;
}

/* Upstream's words for a Binding that is wrong are no Status: 500. */
static int check_target(struct str kind, struct str node, struct error *err) {
        _cleanup_faults_ struct faults w = { 0 };

        if (!str_empty(kind) && !str_eqc(kind, "Node"))
                fault_add(&w,
                          "target.kind: Unsupported value: \"%" STR_FMT "\": supported values: \"Node\", \"<empty>\"",
                          STR_ARG(kind));
        if (str_empty(node))
                fault_add(&w, "target.name: Required value");
        return w.n == 0 ? 0 : error_status(err, REASON_UNKNOWN, "%" STR_FMT, STR_ARG(faults_text(&w)));
}

static struct str revision_text(const struct op *op) {
        return arena_printf(op->c->arena, "%llu", (unsigned long long) object_revision(op->old));
}

static int change_binding(struct op *op, struct error *err) {
        struct arena *a = op->c->arena;
        const struct json *body = op->c->body, *target = json_getc(body, "target"), *meta = json_getc(body, "metadata");
        struct str node = json_str(json_getc(target, "name")), why = STR("");
        struct json *spec = json_get_or_add_object(a, &op->tree, "spec");
        struct str bound = json_str(json_getc(spec, "nodeName"));

        if (op->sub) /* the older way, POST /bindings, knows no uid */
                TRY(op_check_identity(op, "UID", json_str(json_getc(meta, "uid")), object_uid(op->old), err));
        TRY(op_check_identity(op, "ResourceVersion", json_str(json_getc(meta, "resourceVersion")), revision_text(op),
                              err));
        if (object_deleting(op->old))
                why = STR("is being deleted, cannot be assigned to a host");
        else if (!str_empty(bound))
                why = arena_printf(a, "is already assigned to node \"%" STR_FMT "\"", STR_ARG(bound));
        else if (json_len(json_getc(spec, "schedulingGates")) > 0)
                why = STR("has non-empty .spec.schedulingGates");
        if (!str_empty(why)) {
                error_status(err, REASON_CONFLICT,
                             "Operation cannot be fulfilled on pods/binding \"%" STR_FMT "\": pod %" STR_FMT
                             " %" STR_FMT,
                             STR_ARG(op->name), STR_ARG(op->name), STR_ARG(why));
                error_details(err, op->name, STR(""), STR("pods/binding"));
                return -EAGAIN;
        }
        json_set_str(a, spec, "nodeName", node);
        json_each_member(m, json_getc(meta, "annotations"))
                json_set(a, json_get_or_add_object(a, meta_of(a, &op->tree), "annotations"), json_key(m), m->value);
        json_each_member(m, op->labels)
                json_set(a, json_get_or_add_object(a, meta_of(a, &op->tree), "labels"), json_key(m), m->value);
        set_scheduled(a, json_get_or_add_object(a, &op->tree, "status"));
        return 1;
}

static void answer_success(struct op *op) {
        object_unref(TAKE_PTR(op->result));
        op->c->tree = json_new(op->c->arena,
                               json_build(op->c->arena, "{ kind: 'Status', apiVersion: 'v1', metadata: {},"
                                                        "  status: 'Success', code: 201 }"));
        op_finish(op, 201);
}

static bool named_otherwise(struct op *op, const char *kind) {
        if (str_eq(json_str(json_at_path(op->c->body, "metadata", "name")), op->name))
                return false;
        err_bad_request(&op->c->error, "name in URL does not match name in %s object", kind);
        op_fail(op);
        return true;
}

static bool has_target(struct op *op) {
        const struct json *target = json_getc(op->c->body, "target");

        if (check_target(json_str(json_getc(target, "kind")), json_str(json_getc(target, "name")), &op->c->error) == 0)
                return true;
        op_fail(op);
        return false;
}

static void bind_pod(struct op *op) {
        if (str_empty(op->name) && err_bad_request(&op->c->error, "Name parameter required.") < 0)
                op_fail(op);
        else
                registry_modify(op, change_binding, answer_success);
}

static void create_binding(struct op *op) {
        if (!named_otherwise(op, "Binding") && has_target(op) && op_validated(op, create_binding))
                bind_pod(op);
}

/* POST /bindings: the pod is the one the Binding is named after. */
void legacy_binding(struct op *op) {
        if (!has_target(op) || !op_validated(op, legacy_binding))
                return;
        op->rest = rest_of(op->s, &res_pods);
        op->name = json_str(json_at_path(op->c->body, "metadata", "name"));
        bind_pod(op);
}

/* ---- eviction: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/ ---- */

#define MAX_DISRUPTED_PODS 2000

struct eviction {
        struct op *op;
        bool guarded;               /* the pod has to be as it was seen, which we ask for and not the client */
        struct api_call call;       /* the disruption budget's update, then the delete */
        struct api_options options; /* of the delete */
        struct json body;
        enum { SPENDING, MARKING, DELETING } step;
};

static void evict_delete(struct eviction *e);
static void evict_pod(struct eviction *e);

static int not_now(struct error *err, int retry_after, struct str why) {
        error_status(err, REASON_TOO_MANY_REQUESTS,
                     "Cannot evict pod as it would violate the pod's disruption budget.");
        err->retry_after_seconds = retry_after;
        error_add_cause(err, "DisruptionBudget", STR(""), "%" STR_FMT, STR_ARG(why));
        return -EINVAL;
}

/* Does it allow one more disruption? */
static int check_budget(struct arena *a, const struct object *pdb, struct error *err) {
        static const struct rest budgets = { .qualified = STR_INIT("poddisruptionbudget.policy"),
                                             .plural = STR_INIT("poddisruptionbudget"),
                                             .group = STR_INIT("policy") };
        const struct json *j = object_json(pdb), *status = json_getc(j, "status");
        int64_t allowed = json_int(json_getc(status, "disruptionsAllowed"));
        struct str name = object_name(pdb);

        if (json_int(json_getc(status, "observedGeneration")) < json_int(json_at_path(j, "metadata", "generation")))
                return not_now(err, 10,
                               arena_printf(a,
                                            "The disruption budget %" STR_FMT
                                            " is still being processed by the server.",
                                            STR_ARG(name)));
        if (json_len(json_getc(status, "disruptedPods")) > MAX_DISRUPTED_PODS)
                return err_forbidden(err, &budgets, name,
                                     "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
        if (allowed > 0)
                return 0;
        return not_now(err, 0,
                       arena_printf(a,
                                    "The disruption budget %" STR_FMT " needs %lld healthy pods and has %lld currently",
                                    STR_ARG(name), (long long) json_int(json_getc(status, "desiredHealthy")),
                                    (long long) json_int(json_getc(status, "currentHealthy"))));
}

/* The budget that covers the pod, if any. -EINVAL when there are several. */
static int find_budget(struct op *op, struct object **ret, struct error *err) {
        const struct rest *r = rest_of(op->s, &res_poddisruptionbudgets);
        struct arena *a = op->c->arena;

        *ret = NULL;
        store_each(it, op->snap, rest_key(a, r, op->namespace, STR(""))) {
                struct selector s;

                if (selector_from_object(a, json_at_path(object_json(it.object), "spec", "selector"), &s, NULL) < 0 ||
                    !selector_matches_object(&s, op->old))
                        continue;
                if (*ret)
                        return error_status(err, REASON_UNKNOWN,
                                            "This pod has more than one PodDisruptionBudget, which the eviction "
                                            "subresource does not support.");
                *ret = it.object;
        }
        return 0;
}

static void create_eviction(struct op *op);

static void eviction_done(struct api_call *c) {
        struct eviction *e = c->userdata;
        struct op *op = e->op;

        if (c->object && e->step == MARKING && e->options.precondition_resource_version.p)
                e->options.precondition_resource_version =
                                arena_printf(op->c->arena, "%llu", (unsigned long long) object_revision(c->object));
        object_unref(TAKE_PTR(c->object));
        if (c->code == 409 && (e->step != DELETING || e->guarded)) { /* it has changed under us: look again */
                error_clear(&c->error);
                if (++op->attempts < 20)
                        return create_eviction(op);
                error_status(&op->c->error, REASON_TOO_MANY_REQUESTS,
                             "couldn't update PodDisruptionBudget due to conflicts");
                return op_fail(op);
        }
        if (c->code >= 400) {
                error_move(&op->c->error, &c->error);
                return op_fail(op);
        }
        if (e->step == SPENDING)
                evict_pod(e);
        else if (e->step == MARKING)
                evict_delete(e);
        else
                answer_success(op);
}

static void evict_call(struct eviction *e, enum api_verb verb, const struct api_resource *r) {
        struct op *op = e->op;

        e->call = (struct api_call) {
                .verb = verb,
                .resource = r,
                .namespace = op->namespace,
                .options = API_OPTIONS_INIT,
                .user = op->c->user,
                .authorized = true, /* who may evict may do what follows */
                .admitted = true,
                .arena = op->c->arena,
                .loop = op->c->loop,
                .done = eviction_done,
                .userdata = e,
        };
}

static void evict_delete(struct eviction *e) {
        e->step = DELETING;
        evict_call(e, API_DELETE, &res_pods);
        e->call.name = e->op->name;
        e->call.options = e->options;
        apiserver_call(e->op->s, &e->call);
}

/* The pod says why it goes, before it does. */
static void evict_pod(struct eviction *e) {
        struct op *op = e->op;
        struct arena *a = op->c->arena;
        const struct api_options *o = &e->options;
        const struct json *pod = object_json(op->old), *now = json_at_path(pod, "status", "conditions");
        struct json list = json_is(now, JSON_ARRAY) ? json_copy_shallow(a, now) : json_new_array(),
                    c = json_build(a,
                                   "{ type: 'DisruptionTarget', status: 'True', lastTransitionTime: %s,"
                                   "  reason: 'EvictionByEvictionAPI', message: 'Eviction API: evicting' }",
                                   now_text(a)),
                    *old = (struct json *) json_find_by(&list, "type", STR("DisruptionTarget"));
        bool others = !str_empty(o->precondition_uid) && !str_eq(o->precondition_uid, object_uid(op->old));

        if (others || o->dry_run || condition_is(json_getc(pod, "status"), "DisruptionTarget", "True") ||
            (!str_empty(o->precondition_resource_version) &&
             !str_eq(o->precondition_resource_version, revision_text(op)))) {
                e->guarded = e->guarded && !others;
                return evict_delete(e); /* which refuses what is not so */
        }
        if (old)
                *old = c;
        else
                json_push(a, &list, c);
        e->body = json_build(a, "{ metadata: { resourceVersion: %s }, status: { conditions: %j } }", revision_text(op),
                             &list);
        e->step = MARKING;
        evict_call(e, API_PATCH, &res_pods);
        e->call.name = op->name;
        e->call.subresource = STR("status");
        e->call.patch = API_PATCH_MERGE;
        e->call.untracked = true;
        e->call.body = &e->body;
        apiserver_call(op->s, &e->call);
}

static void allow_no_more(struct arena *a, struct json *status) {
        struct json *list = json_get_or_add_array(a, status, "conditions"),
                    *old = condition_find(status, "DisruptionAllowed");
        struct json c = json_build(a,
                                   "{ type: 'DisruptionAllowed', status: 'False', observedGeneration: %j,"
                                   "  lastTransitionTime: %s, reason: 'InsufficientPods', message: '' }",
                                   json_getc(status, "observedGeneration"),
                                   old && str_eqc(json_str(json_getc(old, "status")), "False")
                                                   ? json_str(json_getc(old, "lastTransitionTime"))
                                                   : now_text(a));

        if (old)
                *old = c;
        else
                json_push(a, list, c);
}

static void spend_budget(struct eviction *e, struct object *pdb) {
        struct op *op = e->op;
        struct arena *a = op->c->arena;

        e->body = json_copy(a, object_json(pdb));
        struct json *status = json_get_or_add_object(a, &e->body, "status");
        json_set_int(a, status, "disruptionsAllowed", json_int(json_getc(status, "disruptionsAllowed")) - 1);
        if (json_int(json_getc(status, "disruptionsAllowed")) == 0)
                allow_no_more(a, status);
        json_set_str(a, json_get_or_add_object(a, status, "disruptedPods"), arena_cstr(a, op->name), now_text(a));
        evict_call(e, API_UPDATE, &res_poddisruptionbudgets);
        e->call.options.field_manager = STR("kube-apiserver");
        e->call.name = arena_str(a, object_name(pdb));
        e->call.subresource = STR("status");
        e->call.body = &e->body;
        apiserver_call(op->s, &e->call);
}

/* What goes without asking a budget goes as it was seen: it might be healthy by now. */
static void evict_guarded(struct eviction *e, bool guard) {
        if (guard && !e->options.precondition_resource_version.p) {
                e->guarded = true;
                e->options.precondition_resource_version = revision_text(e->op);
        }
        evict_pod(e);
}

/* An unhealthy pod disturbs nobody who has enough others, or does not mind. */
static bool may_go_unhealthy(const struct op *op, const struct object *pdb) {
        const struct json *status = json_getc(object_json(pdb), "status");
        int64_t desired = json_int(json_getc(status, "desiredHealthy"));

        if (condition_is(json_getc(object_json(op->old), "status"), "Ready", "True"))
                return false;
        return str_eqc(json_str(json_at_path(object_json(pdb), "spec", "unhealthyPodEvictionPolicy")), "AlwaysAllow") ||
               (desired > 0 && json_int(json_getc(status, "currentHealthy")) >= desired);
}

/* The options of the query and those of the body have to say the same, when both say something. */
static int eviction_options(struct op *op, struct api_options *ret, struct error *err) {
        const struct json *o = json_getc(op->c->body, "deleteOptions"), *dry_run = json_getc(o, "dryRun");
        struct field_errors fe = { .a = op->c->arena };
        _cleanup_buf_ struct buf given = BUF_INIT;
        struct json yes = json_of_bool(true);

        *ret = API_OPTIONS_INIT;
        if (json_bool(json_getc(o, "ignoreStoreReadErrorWithClusterBreakingPotential"))) {
                field_invalid(&fe,
                              PATH(PATH(NULL, "deleteOptions"), "ignoreStoreReadErrorWithClusterBreakingPotential"),
                              &yes, "can not be set for pod eviction, try after removing the option");
                return field_errors_finish(&fe, STR("Eviction"), STR("policy"), op->name, err);
        }
        json_each_item(d, dry_run)
                buf_printf(&given, "%s%" STR_FMT, given.n ? " " : "", STR_ARG(json_str(d)));
        if (json_len(dry_run) > 0 && op->c->options.dry_run && !str_eqc(buf_str(&given), "All"))
                return error_status(err, REASON_UNKNOWN,
                                    "Non-matching dry-run options in request and content: [All] and [%" STR_FMT "]",
                                    STR_ARG(buf_str(&given)));
        TRY(request_delete_options(op->c->arena, o, ret, err));
        ret->dry_run |= op->c->options.dry_run;
        return 0;
}

static void create_eviction(struct op *op) {
        struct eviction *e = arena_new_of(op->c->arena, struct eviction);
        struct error *err = &op->c->error;
        struct object *pdb = NULL;

        *e = (struct eviction) { .op = op };
        if (named_otherwise(op, "Eviction"))
                return;
        if (eviction_options(op, &e->options, err) < 0)
                return op_fail(op);
        if (!op_validated(op, create_eviction) || !registry_load(op, create_eviction))
                return;
        const struct json *pod = object_json(op->old);
        if (pod_has_ended(pod) || object_deleting(op->old))
                evict_pod(e);
        else if (str_eqc(json_str(json_at_path(pod, "status", "phase")), "Pending"))
                evict_guarded(e, true);
        else if (find_budget(op, &pdb, err) < 0)
                op_fail(op);
        else if (!pdb || may_go_unhealthy(op, pdb))
                evict_guarded(e, pdb);
        else if (check_budget(op->c->arena, pdb, err) < 0)
                op_fail(op);
        else if (e->options.dry_run)
                evict_pod(e);
        else
                spend_budget(e, pdb);
}

/* ---- serviceaccounts/token ---- */

#define MIN_TOKEN_SECONDS 600
#define DEFAULT_TOKEN_SECONDS 3600
#define MAX_TOKEN_SECONDS (1LL << 32)

static void claim_object(struct arena *a, struct json *claim, const char *key, struct str name,
                         const struct object *o) {
        json_setc(a, claim, key, json_build(a, "{ name: %s, uid: %S }", name, o ? object_uid(o) : str_n(NULL, 0)));
}

/* The object that the token lives as long as; a pod brings its node along. */
static int bind_token(struct op *op, const struct json *ref, struct json *claim, struct error *err) {
        static const struct {
                const char *kind, *claim;
                const struct api_resource *resource;
        } kinds[] = { { "Pod", "pod", &res_pods },
                      { "Secret", "secret", &res_secrets },
                      { "Node", "node", &res_nodes } };
        struct arena *a = op->c->arena;
        struct str name = json_str(json_getc(ref, "name")), uid = json_str(json_getc(ref, "uid")), node;
        struct str kind = json_str(json_getc(ref, "kind")), group, version;
        size_t i = 0;

        if (!json_is(ref, JSON_OBJECT))
                return 0;
        if (api_parse_group_version(json_str(json_getc(ref, "apiVersion")), &group, &version, NULL) < 0)
                group = version = STR("");
        while (i < ARRAY_SIZE(kinds) && (!str_empty(group) || !str_eqc(kind, kinds[i].kind)))
                i++;
        if (i == ARRAY_SIZE(kinds))
                return err_bad_request(err,
                                       "cannot bind token to object of type %" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT,
                                       STR_ARG(group), STR_ARG(version), STR_ARG(kind));
        if (str_empty(name))
                return err_bad_request(err, "Name parameter required.");
        struct object *o = server_get(op->s, op->snap, kinds[i].resource,
                                      kinds[i].resource->namespaced ? op->namespace : STR(""), name);
        if (!o)
                return err_not_found(err, rest_of(op->s, kinds[i].resource), name);
        const struct json *pod = i == 0 ? object_json(o) : NULL;
        if (pod && !str_eq(json_str(json_at_path(pod, "spec", "serviceAccountName")), op->name))
                return err_bad_request(err,
                                       "cannot bind token for serviceaccount \"%" STR_FMT
                                       "\" to pod running with different serviceaccount name.",
                                       STR_ARG(op->name));
        if (!str_empty(uid) && !str_eq(uid, object_uid(o))) {
                error_status(err, REASON_CONFLICT,
                             "Operation cannot be fulfilled on %" STR_FMT " \"%" STR_FMT
                             "\": the UID in the bound object reference (%" STR_FMT
                             ") does not match the UID in record. The object might have been deleted and then "
                             "recreated",
                             STR_ARG(kind), STR_ARG(name), STR_ARG(uid));
                error_details(err, name, STR(""), kind);
                return -EAGAIN;
        }
        claim_object(a, claim, kinds[i].claim, name, o);
        node = json_str(json_at_path(pod, "spec", "nodeName"));
        if (!str_empty(node))
                claim_object(a, claim, "node", arena_str(a, node),
                             server_get(op->s, op->snap, &res_nodes, STR(""), node));
        return 0;
}

/* Pods whose client reads its token once only go on for a year: what kubelets ask for by default is extended, and says
 * when it should have been renewed (KEP-1205). */
#define DEFAULT_POD_SECONDS 3607
#define EXTENDED_SECONDS (365 * 24 * 3600)

static int make_claims(struct op *op, const struct json *spec, int64_t *seconds, struct json *ret, struct error *err) {
        struct arena *a = op->c->arena;
        int64_t now = now_wall_ns() / NSEC_PER_SEC, most = op->s->authn->max_token_seconds, valid;
        const struct json *audiences = json_getc(spec, "audiences");
        struct json k = json_build(a, "{ namespace: %s }", op->namespace), aud;
        bool ours = true;
        char uuid[37];

        aud = json_copy(a, json_len(audiences) > 0 ? audiences : &op->s->authn->audiences);
        rand_uuid(uuid);
        TRY(bind_token(op, json_getc(spec, "boundObjectRef"), &k, err));
        if (most && *seconds > most) {
                op_warn(op, arena_printf(a, "requested expiration of %lld seconds shortened to %lld seconds",
                                         (long long) *seconds, (long long) most));
                *seconds = most;
        }
        valid = *seconds;
        claim_object(a, &k, "serviceaccount", op->name, op->old);
        json_each_item(i, &aud)
                ours = ours && json_has_str(&op->s->authn->audiences, json_str(i));
        if (op->s->authn->extends_tokens && valid == DEFAULT_POD_SECONDS && json_getc(&k, "pod") && ours) {
                json_set_int(a, &k, "warnafter", now + valid);
                valid = EXTENDED_SECONDS;
        }
        json_sort(&k);
        *ret = json_build(a, "{ aud: %j, exp: %l, iat: %l, iss: %s, jti: %S, kubernetes.io: %j, nbf: %l, sub: %s }",
                          &aud, now + valid, now, authn_issuer(op->s->authn), str_n(uuid, 36), &k, now,
                          arena_printf(a, "system:serviceaccount:%" STR_FMT ":%" STR_FMT, STR_ARG(op->namespace),
                                       STR_ARG(op->name)));
        return 0;
}

static int check_request_name(struct op *op, struct error *err) {
        struct str name = json_str(json_at_path(op->c->body, "metadata", "name"));
        struct field_errors fe = { .a = op->c->arena };

        if (!str_empty(name) && !str_eq(name, op->name))
                field_invalid_str(&fe, PATH(PATH(NULL, "metadata"), "name"), name,
                                  "must match the service account name if specified");
        return field_errors_finish(&fe, STR("TokenRequest"), STR("authentication.k8s.io"), op->name, err);
}

static int check_duration(struct op *op, const struct json *v, int64_t seconds, struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        const struct path *p = PATH(PATH(NULL, "spec"), "expirationSeconds");

        if (seconds < MIN_TOKEN_SECONDS)
                field_invalid(&fe, p, v, "may not specify a duration less than 10 minutes");
        else if (seconds > MAX_TOKEN_SECONDS)
                field_invalid(&fe, p, v, "may not specify a duration larger than 2^32 seconds");
        return field_errors_finish(&fe, STR("TokenRequest"), STR("authentication.k8s.io"), STR(""), err);
}

/* What was asked for, with what is given instead. */
static void answer_token(struct op *op, const struct json *audiences, int64_t valid, struct str token) {
        struct arena *a = op->c->arena;
        struct json out = json_copy_tree(a, op->c->body), *meta = meta_of(a, &out),
                    *spec = json_get_or_add_object(a, &out, "spec");

        json_set_str(a, meta, "name", op->name);
        json_set_str(a, meta, "namespace", op->namespace);
        json_set_str(a, meta, "creationTimestamp", now_text(a));
        json_setc(a, spec, "audiences", *audiences);
        json_set_int(a, spec, "expirationSeconds", valid);
        json_setc(a, &out, "status",
                  json_build(a, "{ token: %s, expirationTimestamp: %t }", token, now_wall_ns() + valid * NSEC_PER_SEC));
        schema_reorder(a, op->sub->type, &out);
        op->c->tree = json_new(a, out);
        op_finish(op, 201);
}

static void create_token(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *spec = json_getc(op->c->body, "spec"), *seconds = json_getc(spec, "expirationSeconds");
        struct json claims;
        struct str token;
        int64_t valid = json_int_or(seconds, DEFAULT_TOKEN_SECONDS);

        if (check_request_name(op, &op->c->error) < 0)
                return op_fail(op);
        if (!registry_load(op, create_token))
                return;
        if (check_duration(op, seconds, valid, &op->c->error) < 0)
                return op_fail(op);
        if (!op_validated(op, create_token))
                return;
        if (make_claims(op, spec, &valid, &claims, &op->c->error) < 0 ||
            authn_sign(op->s->authn, a, &claims, &token, &op->c->error) < 0)
                return op_fail(op);
        op_annotate(op, STR("authentication.kubernetes.io/issued-credential-id"),
                    arena_printf(a, "JTI=%" STR_FMT, STR_ARG(json_str(json_getc(&claims, "jti")))));
        answer_token(op, json_getc(&claims, "aud"), valid, token);
}

/* ---- changes by the server itself ---- */

static void registry_modify_again(struct op *op) {
        registry_modify(op, op->change, op->then);
}

void registry_modify(struct op *op, int (*change)(struct op *op, struct error *err), void (*then)(struct op *op)) {
        struct error *err = &op->c->error;

        op->change = change;
        op->then = then;
        op->again = registry_modify_again;
        op_refresh(op);
        if (!op_load(op, registry_modify_again))
                return;
        if (!op->old) {
                err_not_found(err, op->rest, op->name);
                return op_fail(op);
        }
        op->tree = json_copy_tree(op->c->arena, object_json(op->old));
        int r = change(op, err);
        if (r < 0)
                return op_fail(op);
        if (r > 0)
                schema_reorder(op->c->arena, op->rest->stored->resource->type, &op->tree);
        writes_put_changed(op);
}

/* ---- the table ---- */

static const struct {
        const char *name;
        const char *resource; /* NULL: any */
        enum api_verb verb;
        subresource_fn run;
} table[] = {
        { "scale", NULL, API_GET, get_scale },
        { "scale", NULL, API_UPDATE, put_scale },
        { "scale", NULL, API_PATCH, put_scale },
        { "binding", "pods", API_CREATE, create_binding },
        { "eviction", "pods", API_CREATE, create_eviction },
        { "token", "serviceaccounts", API_CREATE, create_token },
};

subresource_fn subresource_handler(const struct rest *r, struct str name, enum api_verb verb) {
        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (str_eqc(name, table[i].name) && verb == table[i].verb &&
                    (!table[i].resource || str_eqc(r->plural, table[i].resource)))
                        return table[i].run;
        return NULL;
}
