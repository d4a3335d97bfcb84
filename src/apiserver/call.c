/* The way of every call, from HTTP or from a role in this process: find the resource, authorize, dispatch by a table,
 * finish once. An op lives in the call's arena and goes through the store at most a few times. */
#include "apiserver/auth/remote.h"
#include "base/metrics.h"

#include "apiserver/admission/admission.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/defaults.h"
#include "schema/protobuf.h"
#include "schema/selector.h"
#include "schema/types.h"

const struct api_user api_user_system = {
        .name = STR_INIT("system:apiserver"),
        .groups = (struct str[]) { STR_INIT("system:masters"), STR_INIT("system:authenticated") },
        .n_groups = 2,
};

static void op_release(struct op *op) {
        turn_end(op);
        admission_release(op);
        store_snapshot_unref(TAKE_PTR(op->snap));
        object_unref(TAKE_PTR(op->converted));
        rest_release(op->held);
        vec_free(&op->warnings);
        vec_free(&op->with);
}

static void publish_warnings(struct op *op) {
        struct api_call *c = op->c;

        if (op->warnings.n == 0)
                return;
        c->warnings = arena_dup(c->arena, op->warnings.v, op->warnings.n * sizeof(struct str));
        c->n_warnings = op->warnings.n;
}

void op_finish(struct op *op, int code) {
        struct api_call *c = op->c;

        c->code = code;
        if (op->result && op->rest->custom && custom_is_in_version(op->rest, op->result)) {
                c->object = TAKE_PTR(op->result); /* op_load has made it what it is to be */
        } else if (op->result) {
                c->object = object_in_version(op->rest->stored, op->rest, op->result);
                object_unref(TAKE_PTR(op->result));
        }
        publish_warnings(op);
        op_release(op);
        c->done(c);
}

/* A call of this process that needs somebody else's word (auth/remote.h): from its beginning when it is there. */
struct call_again {
        struct apiserver *s;
        struct api_call *c;
};

static void call_again(void *arg) {
        struct call_again *g = arg;

        apiserver_call(g->s, g->c);
}

static struct call_again *again_of(struct op *op) {
        return arena_dup(op->c->arena, &(struct call_again) { op->s, op->c }, sizeof(struct call_again));
}

void op_fail(struct op *op) {
        struct api_call *c = op->c;

        if (op->undo)
                op->undo(op);
        object_unref(TAKE_PTR(op->result));
        if (c->error.err == -EINPROGRESS && c->waits && remote_is_open()) {
                struct call_again *again = again_of(op);

                error_clear(&c->error);
                op_release(op);
                remote_wait(c->loop, call_again, again); /* from here on the call is another thread's */
                return;
        }
        if (!c->error.err)
                error_status(&c->error, REASON_INTERNAL, "Internal error occurred: unknown");
        c->code = c->error.code ? c->error.code : status_reason_code(c->error.reason);
        publish_warnings(op);
        op_release(op);
        c->done(c);
}

void op_warn(struct op *op, struct str message) {
        if (str_empty(message))
                return;
        for (size_t i = 0; i < op->warnings.n; i++)
                if (str_eq(op->warnings.v[i], message))
                        return;
        if (op->warnings.n < 64)
                vec_push(&op->warnings, arena_str(op->c->arena, message));
}

void op_annotate(struct op *op, struct str key, struct str value) {
        struct arena *a = op->c->arena;

        if (!op->c->annotations)
                op->c->annotations = json_new(a, json_new_object());
        if (!json_get(op->c->annotations, key))
                json_set(a, op->c->annotations, arena_str(a, key), json_of_copy(a, value));
}

void op_annotate_named(struct op *op, struct str key, struct str value) {
        if (name_fits(key, check_qualified_name, NULL))
                op_annotate(op, key, value);
}

void op_refresh(struct op *op) {
        store_snapshot_unref(op->snap);
        op->snap = store_snapshot(op->s->store);
}

/* ---- the store ---- */

static const double seconds[] = { 0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2,
                                  3,     4,     5,    6,   8,   10,  15,  20,  30, 45,   60 };
HISTOGRAM(store_duration, seconds, "etcd_request_duration_seconds",
          "[ALPHA] Etcd request latency in seconds for each operation and object type.");
METRIC(store_requests, COUNTER, "etcd_requests_total",
       "[ALPHA] Etcd request counts for each operation and object type.");
METRIC(store_errors, COUNTER, "etcd_request_errors_total",
       "[ALPHA] Etcd failed request counts for each operation and object type.");
METRIC(lists, COUNTER, "apiserver_storage_list_total", "[ALPHA] Number of LIST requests served from storage");
METRIC(fetched, COUNTER, "apiserver_storage_list_fetched_objects_total",
       "[ALPHA] Number of objects read from storage in the course of serving a LIST request");
METRIC(evaluated, COUNTER, "apiserver_storage_list_evaluated_objects_total",
       "[ALPHA] Number of objects tested in the course of serving a LIST request from storage");
METRIC(returned, COUNTER, "apiserver_storage_list_returned_objects_total",
       "[ALPHA] Number of objects returned for a LIST request from storage");
METRIC(consistent, COUNTER, "apiserver_watch_cache_consistent_read_total",
       "[ALPHA] Counter for consistent reads from cache.");
METRIC(cache_lists, COUNTER, "apiserver_cache_list_total", "[ALPHA] Number of LIST requests served from watch cache");
METRIC(cache_fetched, COUNTER, "apiserver_cache_list_fetched_objects_total",
       "[ALPHA] Number of objects read from watch cache in the course of serving a LIST request");
METRIC(cache_returned, COUNTER, "apiserver_cache_list_returned_objects_total",
       "[ALPHA] Number of objects returned for a LIST request from watch cache");
#define STORE_LIST (STORE_DELETE + 1)
static const char *const store_operations[] = {
        [STORE_CREATE] = "create", [STORE_UPDATE] = "update", [STORE_DELETE] = "delete", [STORE_LIST] = "list"
};

struct store_labels {
        const struct rest *rest;
        const char *operation;
};

static void write_labels(struct buf *dst, const void *arg) {
        const struct store_labels *l = arg;

        metric_label(dst, "operation", str_of(l->operation));
        metric_label(dst, "type", l->rest->qualified);
}

static void count_stored(const struct rest *r, unsigned operation, int64_t since_ns, bool failed) {
        const struct store_labels l = { r->stored, store_operations[operation] };
        uint64_t key = str_hash(r->stored->qualified) * 4 + operation;

        series_observe(metric_series(&store_duration, key, write_labels, &l),
                       (double) (now_mono_ns() - since_ns) / 1e9);
        series_add(metric_series(&store_requests, key, write_labels, &l), 1);
        if (failed)
                series_add(metric_series(&store_errors, key, write_labels, &l), 1);
}

static void write_resource(struct buf *dst, const void *arg) {
        metric_label(dst, "resource", ((const struct rest *) arg)->qualified);
}

/* Where upstream keeps them in etcd. */
static struct str place_of(const struct rest *r, struct arena *a) {
        static const struct {
                const struct api_resource *resource;
                const char *place;
        } places[] = {
                { &res_nodes, "minions" },
                { &res_services, "services/specs" },
                { &res_endpoints, "services/endpoints" },
                { &res_replicationcontrollers, "controllers" },
                { &res_ingresses, "ingress" },
                { &res_customresourcedefinitions, "apiextensions.k8s.io/customresourcedefinitions" },
                { &res_apiservices, "apiregistration.k8s.io/apiservices" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(places); i++)
                if (r->resource == places[i].resource)
                        return arena_printf(a, "/%s", places[i].place);
        return r->custom ? arena_printf(a, "/%" STR_FMT "/%" STR_FMT, STR_ARG(r->group), STR_ARG(r->plural))
                         : arena_printf(a, "/%" STR_FMT, STR_ARG(r->plural));
}

static void write_cache_place(struct buf *dst, const void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        metric_label(dst, "resource_prefix", place_of(arg, a));
}

static void write_cache_index(struct buf *dst, const void *arg) {
        metric_label(dst, "index", STR(""));
        write_cache_place(dst, arg);
}

static void write_consistent(struct buf *dst, const void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        metric_label(dst, "fallback", STR("false"));
        metric_label(dst, "resource", place_of(arg, a));
        metric_label(dst, "success", STR("true"));
}

bool api_lists_exactly(const struct api_options *o) {
        struct str rv = o->resource_version, match = o->resource_version_match;

        return str_eqc(match, "Exact") || (str_empty(match) && (!str_empty(o->continue_token) ||
                                                                (o->limit > 0 && !str_empty(rv) && !str_eqc(rv, "0"))));
}

bool rest_is_cached(const struct rest *r) {
        return r->stored->resource != &res_events;
}

/* Upstream's cache has what is at present. */
void op_count_list(const struct op *op, int64_t since_ns) {
        const struct rest *r = op->rest->stored;
        const struct api_list *l = op->c->list;
        const struct count {
                const struct metric *metric;
                size_t n;
                void (*labels)(struct buf *dst, const void *arg);
        } stored[] = { { &lists, 1, write_resource },
                       { &fetched, l ? l->n_seen : 0, write_resource },
                       { &evaluated, l ? l->n_seen : 0, write_resource },
                       { &returned, l ? l->n : 0, write_resource } },
          cached[] = { { &cache_lists, 1, write_cache_index },
                       { &cache_fetched, l ? l->n_seen : 0, write_cache_index },
                       { &cache_returned, l ? l->n : 0, write_cache_place },
                       { &consistent, str_empty(op->c->options.resource_version), write_consistent } };
        uint64_t key = str_hash(r->qualified);
        bool from_store = !rest_is_cached(r) || api_lists_exactly(&op->c->options), failed = op->c->error.err;

        if (failed && op->c->error.reason != REASON_EXPIRED)
                return; /* the store was not asked */
        if (from_store)
                count_stored(op->rest, STORE_LIST, since_ns, failed);
        for (size_t i = 0; i < (from_store ? ARRAY_SIZE(stored) : ARRAY_SIZE(cached)); i++) {
                const struct count *c = from_store ? &stored[i] : &cached[i];

                if (c->n > 0 || c->metric != &consistent)
                        series_add(metric_series(c->metric, key, c->labels, r), (int64_t) c->n);
        }
}

/* That something was not as expected is an answer, and what no POST creates is to upstream a change of nothing. */
static void count_submitted(const struct op *op) {
        enum store_op_kind kind = op->txn.ops[0].kind;
        int r = op->txn.result;

        count_stored(op->rest, kind == STORE_CREATE && op->c->verb != API_CREATE ? STORE_UPDATE : kind,
                     op->submitted_ns, r < 0 && r != -EEXIST && r != -ENOENT && r != -EAGAIN);
}

static void submitted(struct store_txn *t) {
        struct op *op = container_of(t, struct op, txn);

        count_submitted(op);
        object_unref(TAKE_PTR(t->current));
        if (op->rest->custom && t->result == 0 && op->result && op->result != t->ops[0].object)
                object_set_revision(op->result, t->revision); /* what is stored is in another version */
        for (size_t i = 0; i < t->n_ops; i++)
                if (t->ops[i].object && t->ops[i].object != op->result)
                        object_unref(t->ops[i].object);
        op->finished(op);
}

/* With what quotas are charged, and what other objects follow this one. */
static size_t add_companions(struct op *op, struct store_op *ops, size_t n) {
        const struct strategy *st = op->rest->stored->strategy;

        for (size_t i = 0; i < op->with.n; i++)
                ops[n++] = op->with.v[i];
        if (st->companions)
                n += st->companions(op, op->old ? object_json(op->old) : NULL,
                                    ops[0].kind != STORE_DELETE ? &op->tree : NULL, ops + n);
        return n;
}

/* What etcd takes, which stores kinds of its own in protobuf: clients know its refusal, and split what they have. */
#define MAX_STORED (3 * 512 * 1024)

/* As etcd would have it, in protobuf. */
static size_t stored_bytes(const struct op *op, const struct object *o) {
        const struct rest *r = op->rest->stored;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *tree; /* of our own: that of the object is not to be asked for before it has its revision */

        return r->custom || json_parse(a, object_text(o), NULL, &tree, NULL) < 0 ||
                                               protobuf_encode_object(&b, r->resource->type, tree, NULL) < 0
                               ? object_text(o).n
                               : b.n;
}

void op_submit(struct op *op, size_t n_ops, void (*finished)(struct op *op)) {
        struct store_op *ops = op->ops;

        if (op->with.n > 0 || op->rest->stored->strategy->companions) {
                ops = arena_array(op->c->arena, struct store_op, n_ops + op->with.n + COMPANIONS_MAX);
                memcpy(ops, op->ops, n_ops * sizeof(*ops));
                n_ops = add_companions(op, ops, n_ops);
        }
        op->finished = finished;
        op->submitted_ns = now_mono_ns();
        op->txn = (struct store_txn) { .ops = ops, .n_ops = n_ops, .done = submitted, .loop = op->c->loop };
        if (ops[0].object && object_text(ops[0].object).n > MAX_STORED &&
            (op->stored_bytes = stored_bytes(op, ops[0].object)) > MAX_STORED)
                op->txn.result = -E2BIG;
        else if (ops[0].kind != STORE_DELETE)
                op->txn.result = encryption_check(op->s->options.encryption, ops[0].key, NULL);
        if (op->txn.result < 0) {
                submitted(&op->txn);
        } else {
                store_submit(op->s->store, &op->txn);
        }
}

const char *call_verb_name(const struct api_call *c) {
        static const char *const names[] = {
                [API_GET] = "get",        [API_LIST] = "list",
                [API_WATCH] = "watch",    [API_CREATE] = "create",
                [API_UPDATE] = "update",  [API_PATCH] = "patch",
                [API_DELETE] = "delete",  [API_DELETE_COLLECTION] = "deletecollection",
                [API_CONNECT] = "create",
        };

        return names[c->verb];
}

static uint32_t verb_mask(const struct api_call *c) {
        static const uint32_t bits[] = {
                [API_GET] = VERB_GET,
                [API_LIST] = VERB_LIST,
                [API_WATCH] = VERB_WATCH,
                [API_CREATE] = VERB_CREATE,
                [API_UPDATE] = VERB_UPDATE,
                [API_PATCH] = VERB_PATCH,
                [API_DELETE] = VERB_DELETE,
                [API_DELETE_COLLECTION] = VERB_DELETECOLLECTION,
                [API_CONNECT] = VERB_CREATE | VERB_GET,
        };

        return bits[c->verb];
}

/* Fills op->rest and op->sub, and checks that the verb exists there. */
static int find_target(struct op *op, struct error *err) {
        const struct api_call *c = op->c;

        op->rest = op->held = rest_acquire_of(op->s, c->resource);
        if (!op->rest)
                return error_status(err, REASON_NOT_FOUND, "the server could not find the requested resource");
        if (!str_empty(c->subresource))
                op->sub = api_subresource(op->rest->resource, c->subresource);
        if (!str_empty(c->subresource) && !op->sub)
                return op->rest->custom ? err_not_found(err, op->rest, c->name)
                                        : error_status(err, REASON_NOT_FOUND,
                                                       "the server could not find the requested resource");
        if ((op->sub ? op->sub->verbs : op->rest->resource->verbs) & verb_mask(c))
                return 0;
        return op->rest->custom ? err_method(err, op->rest, call_verb_name(c)) : err_no_method(err);
}

/* What a call is about, for the authorizer. */
void attributes_select(struct arena *a, struct attributes *at, const struct api_options *o) {
        bool reads = strcmp(at->verb, "list") == 0 || strcmp(at->verb, "watch") == 0;
        struct field_selector s = { 0 };

        if (!reads && strcmp(at->verb, "deletecollection") != 0)
                return;
        at->field_selector = o->field_selector;
        at->label_selector = o->label_selector;
        if (!reads || at->name.n > 0 || at->field_selector.n == 0 ||
            selector_parse_fields(a, NULL, at->field_selector, &s, NULL) < 0)
                return;
        struct str name = selector_field_value(&s, STR("metadata.name"));
        if (name.n > 0 && str_find(name, '/') < 0 && err_bad_name(NULL, name) == 0)
                at->name = name;
}

struct attributes call_attributes(const struct api_call *c, const struct rest *r, const char *verb) {
        struct attributes at = { .verb = verb,
                                 .group = r->group,
                                 .version = r->version,
                                 .resource = r->plural,
                                 .subresource = c->subresource,
                                 .namespace = c->namespace,
                                 .name = c->name };

        attributes_select(c->arena, &at, &c->options);
        if (str_empty(at.group) && str_eqc(at.resource, "namespaces"))
                at.namespace = c->name; /* a role in a namespace may speak of it */
        return at;
}

/* What is sent is not what is stored: only admission sees it, and may change it. */
static struct json *body_of(struct op *op) {
        struct arena *a = op->c->arena;
        struct json *body = json_new(a, op->c->body ? json_copy_tree(a, op->c->body) : json_new_object());

        op->c->body = body;
        op_refresh(op);
        return body;
}

bool op_validated(struct op *op, subresource_fn again) {
        if (op->admission->validating)
                return true;
        op->admission->ns = NULL; /* there may be another snapshot */
        admission_validate(op, again);
        return false;
}

/* What is sent to be answered, not stored, is in the namespace of the request. */
static int take_place(const struct op *op, struct json *body, struct error *err) {
        struct str ns = json_str(json_at_path(body, "metadata", "namespace"));

        if (!op->rest->resource->namespaced || str_eq(ns, op->namespace))
                return 0;
        if (!str_empty(ns))
                return err_bad_request(err, OTHER_NAMESPACE);
        if (json_getc(body, "metadata"))
                json_set_str(op->c->arena, meta_of(op->c->arena, body), "namespace", op->namespace);
        return 0;
}

/* exec, attach, portforward, proxy: only whether it may be; who asks makes the connection. The body is the options. */
static void connected(struct op *op) {
        op->c->tree = json_new(op->c->arena, *op->c->body);
        op_finish(op, 200);
}

static void connect_to(struct op *op) {
        admission_run(op, ADMIT_CONNECT, body_of(op), NULL, connected);
}

static const struct {
        void (*run)(struct op *op);
} verbs[] = {
        [API_GET] = { registry_get },
        [API_LIST] = { registry_list },
        [API_CREATE] = { registry_create },
        [API_UPDATE] = { registry_update },
        [API_PATCH] = { registry_patch },
        [API_DELETE] = { registry_delete },
        [API_DELETE_COLLECTION] = { registry_delete_collection },
        [API_CONNECT] = { connect_to },
        [API_WATCH] = { NULL },
};

void apiserver_call(struct apiserver *s, struct api_call *c) {
        struct op *op = arena_new_of(c->arena, struct op);
        subresource_fn special = NULL;

        op->s = s;
        op->c = c;
        op->namespace = c->namespace;
        op->name = c->name;
        c->code = 0;
        c->error = ERROR_INIT;
        c->object = NULL;
        c->tree = NULL;
        c->list = NULL;
        c->n_warnings = 0;
        c->annotations = NULL;
        c->webhooks_ns = 0;

        _cleanup_error_ struct error lacking = ERROR_INIT; /* what is not there is told to those who might ask for it */

        if (find_target(op, &lacking) < 0 && !op->rest)
                goto lacks;
        struct attributes at = call_attributes(c, op->rest, call_verb_name(c));

        c->forbidden = !c->authorized && authorize_or_error(s, &c->user, &at, &c->error) < 0;
        if (c->forbidden)
                goto fail;
        if (lacking.err)
                goto lacks;
        if (op->rest->deprecated.n)
                op_warn(op, op->rest->deprecated);
        if (c->refusal && (!c->late_refusal || op->sub)) {
                error_move(&c->error, c->refusal);
                goto fail;
        }
        if (op->sub)
                special = subresource_handler(op->rest, c->subresource, c->verb);
        else if (op->rest->resource->transient)
                special = transient_handler(op->rest);
        else
                special = component_status_handler(op);
        if (special && c->verb == API_CREATE) { /* what is sent is of the subresource's own kind */
                struct json *body = json_new(c->arena, json_null());

                if (registry_decode(op, c->body, body, &c->error) < 0)
                        goto fail;
                c->body = body;
                if (json_getc(body, "metadata") && !(op->sub && op->sub->type == &type_Binding))
                        writes_wipe(meta_of(c->arena, body)); /* of a pod's binding, the UID is a condition */
                if (take_place(op, body, &c->error) < 0)
                        goto fail;
                schema_default(c->arena, sent_of(c->arena, op->rest, op->sub).type, body);
                writes_track_sent(op, body);
                return admission_admit(op, ADMIT_CREATE, body_of(op), NULL, special);
        }
        if (special)
                return special(op);
        if (!verbs[c->verb].run || op->rest->resource->transient) {
                err_no_method(&c->error);
                goto fail;
        }
        verbs[c->verb].run(op);
        return;
lacks:
        error_move(&c->error, &lacking);
fail:
        op_fail(op);
}

void api_list_free(struct api_list *l) {
        if (!l)
                return;
        for (size_t i = 0; i < l->n; i++)
                object_unref(l->items[i]);
        free_all(l->items, l->continue_token.p, l);
}
