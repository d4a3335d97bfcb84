/* Custom objects between the versions of their definition. Strategy None changes apiVersion; strategy Webhook asks a
 * webhook, many objects at a time, and checks what comes back. Whoever needs converted objects gives a continuation:
 *
 *   registry_update ─▶ op_load ── is there ──▶ true
 *        ▲                └─ must be asked for ─▶ false … answer ─▶ op->converted ─┐
 *        └─────────────────────────────── again ◀──────────────────────────────────┘
 *
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/ */
#include "apiserver/admission/review.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/webhook_client.h"
#include "apiserver/writes.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/defaults.h"
#include "schema/strategic.h"
#include "schema/structure.h"

#define WEBHOOK_TIMEOUT_MS 30000
#define WEBHOOK_QUERY "timeout=30s"

/* What is told without the webhook's name. */
#define NO_TEXT "unexpected end of JSON input"
#define NO_OBJECT "json: cannot unmarshal"
#define NO_KIND "Object 'Kind' is missing"

#define CALL_FAILURE "conversion_webhook_call_failure"

struct conversion {
        struct arena *arena;
        const struct rest *to; /* a reference */
        const struct json **in;
        struct json *out;
        size_t n;
        bool changes; /* an object that is there: upstream begins with what it has kept of it */
        bool whole;   /* in and out are as they are, be it unknown or absent */
        void (*done)(struct conversion *k, const struct error *err); /* err NULL: out is filled */
        void *arg[4];
        struct webhook_call call;
        int64_t since_ns;    /* it is being asked, */
        const char *failure; /* and what went wrong, as metrics call it; empty: nothing */
        char uid[37];
        struct buf body;
};

static void conversion_free(struct conversion *k) {
        rest_release(k->to);
        buf_free(&k->body);
        arena_free(k->arena);
}

static struct conversion *conversion_new(const struct rest *to, size_t n) {
        struct arena *a = arena_new(0);
        struct conversion *k = arena_new_of(a, struct conversion);

        k->arena = a;
        k->to = rest_ref(to);
        k->in = arena_array(a, const struct json *, n);
        k->out = arena_array(a, struct json, n);
        k->n = n;
        return k;
}

/* ---- what comes back ---- */

static int compare_meta(const struct json *in, const struct json *out, const char *key, const char *what,
                        struct error *err) {
        struct str x = json_str(json_at_path(in, "metadata", key)), y = json_str(json_at_path(out, "metadata", key));

        if (str_eq(x, y))
                return 0;
        return error_status(err, REASON_UNKNOWN, "must have the same %s: %" STR_FMT " != %" STR_FMT, what, STR_ARG(x),
                            STR_ARG(y));
}

/* What becomes of labels or annotations. */
static int take_texts(struct conversion *k, const struct json *in, const struct json *got, const char *key,
                      struct json *meta, struct error *err) {
        const struct json *was = json_at_path(in, "metadata", key), *is = json_at_path(got, "metadata", key);
        struct field_errors fe = { .a = k->arena };

        json_removec(meta, key);
        if (!is || json_is(is, JSON_NULL))
                return 0;
        if (!json_is(is, JSON_OBJECT))
                return error_status(err, REASON_UNKNOWN, "invalid metadata.%s of type %s in converted object", key,
                                    strategic_type(is));
        json_each_member(m, is)
                if (!json_is(&m->value, JSON_STRING))
                        return error_status(err, REASON_UNKNOWN,
                                            "metadata.%s[%" STR_FMT "] must be a string, but is %s in converted object",
                                            key, STR_ARG(json_key(m)), strategic_type(&m->value));
        if (!was || !json_equal(is, was)) {
                if (strcmp(key, "labels") == 0)
                        validate_labels(&fe, PATH(PATH(NULL, "metadata"), "labels"), is);
                else
                        validate_annotations(&fe, PATH(PATH(NULL, "metadata"), "annotation"), is);
        }
        if (json_len(is) > 0)
                json_setc(k->arena, meta, key, *is);
        return field_errors_finish(&fe, str_n(NULL, 0), STR(""), STR(""), err);
}

/* A webhook changes labels and annotations, nothing else of metadata. */
static int take_object(struct conversion *k, size_t i, const struct json *got, struct error *err) {
        const struct json *in = k->in[i], *was = json_getc(in, "metadata");
        struct json object, meta = was ? json_copy_shallow(k->arena, was) : json_new_object();
        struct str version = json_str(json_getc(got, "apiVersion")), kind = json_str(json_getc(got, "kind"));
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (json_is(got, JSON_NULL))
                return error_status(err, REASON_UNKNOWN, NO_TEXT);
        if (!json_is(got, JSON_OBJECT))
                return error_status(err, REASON_UNKNOWN, NO_OBJECT " %s into Go value of type map[string]interface {}",
                                    json_type_in_go(got));
        json_write(&text, got);
        if (!kind.n)
                return error_status(err, REASON_UNKNOWN, NO_KIND " in '%" STR_FMT "'", STR_ARG(buf_str(&text)));
        if (!str_eq(version, k->to->api_version))
                return error_status(err, REASON_UNKNOWN,
                                    "returned invalid object at index 0: invalid groupVersion (expected %" STR_FMT
                                    ", received %" STR_FMT ")",
                                    STR_ARG(k->to->api_version), STR_ARG(version));
        if (!str_eq(kind, k->to->kind))
                return error_status(err, REASON_UNKNOWN,
                                    "returned invalid object at index 0: invalid kind (expected %" STR_FMT
                                    ", received %" STR_FMT ")",
                                    STR_ARG(k->to->kind), STR_ARG(kind));
        if (compare_meta(in, got, "name", "name", err) < 0 ||
            compare_meta(in, got, "namespace", "namespace", err) < 0 || compare_meta(in, got, "uid", "UID", err) < 0)
                return error_prefix(err, "returned invalid object");
        if (take_texts(k, in, got, "labels", &meta, err) < 0 || take_texts(k, in, got, "annotations", &meta, err) < 0)
                return error_prefix(err, "returned invalid metadata");
        object = json_copy_shallow(k->arena, got);
        json_setc(k->arena, &object, "metadata", meta);
        k->out[i] = k->whole ? object : crd_narrow(k->arena, k->to->custom->schema, &object);
        return 0;
}

/* The first that the webhook wants and is known here. */
static const char *review_version(const struct conversion *k) {
        const struct json *webhook = k->to->custom->of->webhook;

        json_each_item(v, json_getc(webhook, "conversionReviewVersions")) {
                if (str_eqc(json_str(v), "v1"))
                        break;
                if (str_eqc(json_str(v), "v1beta1"))
                        return "apiextensions.k8s.io/v1beta1";
        }
        return "apiextensions.k8s.io/v1";
}

/* Of v1 it has to say what it is. */
static int check_review(const struct conversion *k, const struct json *doc, struct error *err) {
        struct str version = json_str(json_getc(doc, "apiVersion")), kind = json_str(json_getc(doc, "kind"));

        if (!str_has_suffix(str_of(review_version(k)), STR("/v1")) ||
            (str_eqc(version, review_version(k)) && str_eqc(kind, "ConversionReview")))
                return 0;
        return error_status(err, REASON_UNKNOWN,
                            "expected webhook response of %s, Kind=ConversionReview, got %s%" STR_FMT
                            ", Kind=%" STR_FMT,
                            review_version(k), str_find(version, '/') < 0 ? "/" : "", STR_ARG(version), STR_ARG(kind));
}

static int take_answer(struct conversion *k, struct error *err) {
        struct str text = arena_str(k->arena, k->call.answer), message, status;
        struct json *doc;

        k->failure = CALL_FAILURE;
        TRY(review_read(k->arena, text, "ConversionReview", review_version(k), &doc, err));
        const struct json *response = json_getc(doc, "response");
        if (response && !json_is(response, JSON_OBJECT) && !json_is(response, JSON_NULL))
                return error_status(
                                err, REASON_UNKNOWN,
                                "failed: json: cannot unmarshal %s into Go struct field ConversionReview.response of "
                                "type %s.ConversionResponse",
                                json_type_in_go(response), strrchr(review_version(k), '/') + 1);
        k->failure = "conversion_webhook_malformed_response_failure";
        TRY(check_review(k, doc, err));
        if (!json_is(response, JSON_OBJECT))
                return error_status(err, REASON_UNKNOWN, "no response provided");
        if (!str_eqc(json_str(json_getc(response, "uid")), k->uid))
                return error_status(err, REASON_UNKNOWN, "expected response.uid=\"%s\", got \"%" STR_FMT "\"", k->uid,
                                    STR_ARG(json_str(json_getc(response, "uid"))));
        const struct json *result = json_getc(response, "result");
        status = json_str(json_getc(result, "status"));
        message = json_str(json_getc(result, "message"));
        if (!str_eqc(status, "Success") && message.n > 0)
                return error_status(err, REASON_UNKNOWN, "%" STR_FMT, STR_ARG(message));
        if (!str_eqc(status, "Success"))
                return error_status(err, REASON_UNKNOWN, "response.result.status was '%" STR_FMT "', not 'Success'",
                                    STR_ARG(status));
        const struct json *objects = json_getc(response, "convertedObjects");
        if (objects && !json_is(objects, JSON_ARRAY) && !json_is(objects, JSON_NULL))
                return error_status(err, REASON_UNKNOWN,
                                    "failed: json: cannot unmarshal %s into Go struct field "
                                    "ConversionResponse.response.convertedObjects of type []runtime.RawExtension",
                                    json_type_in_go(objects));
        k->failure = "conversion_webhook_partial_response_failure";
        if (json_len(objects) != k->n)
                return error_status(err, REASON_UNKNOWN, "returned %zu objects, expected %zu", json_len(objects), k->n);
        k->failure = "conversion_webhook_invalid_converted_object_failure";
        for (size_t i = 0; i < k->n; i++)
                TRY(take_object(k, i, json_item(objects, i), err));
        k->failure = "";
        return 0;
}

static void count(const struct conversion *k) {
        static const double request_seconds[] = { 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 45, 60 },
                            crd_seconds[] = { 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
                                              0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384 };
        METRIC(requests, COUNTER, "apiserver_conversion_webhook_request_total",
               "[ALPHA] Counter for conversion webhook requests with success/failure and failure error type");
        HISTOGRAM(request_time, request_seconds, "apiserver_conversion_webhook_duration_seconds",
                  "[ALPHA] Conversion webhook request latency");
        HISTOGRAM(crd_time, crd_seconds, "apiserver_crd_conversion_webhook_duration_seconds",
                  "[ALPHA] CRD webhook conversion duration in seconds");
        const struct metric_label l[] = { { "failure_type", str_of(k->failure) },
                                          { "result", *k->failure ? STR("failure") : STR("success") } };
        struct str from = json_str(json_getc(k->in[0], "apiVersion"));
        double s = (double) (now_mono_ns() - k->since_ns) / NSEC_PER_SEC;

        series_add(metric_labelled(&requests, l, ARRAY_SIZE(l)), 1);
        series_observe(metric_labelled(&request_time, l, ARRAY_SIZE(l)), s);
        series_observe(SERIES(&crd_time, { "crd_name", k->to->qualified },
                              { "from_version", str_sub(from, (size_t) (str_rfind(from, '/') + 1), from.n) },
                              { "succeeded", *k->failure ? STR("false") : STR("true") },
                              { "to_version", k->to->version }),
                       s);
}

/* Where what errors tell was to be converted from. */
static struct str told_version(const struct conversion *k) {
        bool back = k->changes && kept_knows(k->to, json_str(json_at_path(k->in[0], "metadata", "uid")));

        return back ? k->to->api_version : TEXT(k->in[0], "apiVersion");
}

static void answered(struct webhook_call *w) {
        struct conversion *k = container_of(w, struct conversion, call);
        _cleanup_error_ struct error e = ERROR_INIT, all = ERROR_INIT;

        if (w->error.err)
                error_move(&e, &w->error);
        else
                take_answer(k, &e);
        count(k);
        struct str why = str_of(error_text(&e));
        if (e.err &&
            (str_eqc(why, NO_TEXT) || str_has_prefix(why, STR(NO_OBJECT)) || str_has_prefix(why, STR(NO_KIND))))
                error_move(&all, &e);
        else if (e.err)
                error_status(&all, REASON_UNKNOWN, "conversion webhook for %" STR_FMT ", Kind=%" STR_FMT " %s%s",
                             STR_ARG(told_version(k)), STR_ARG(k->to->kind),
                             str_has_prefix(why, STR("returned ")) || str_has_prefix(why, STR("failed: ")) ? ""
                                                                                                           : "failed: ",
                             error_text(&e));
        k->done(k, all.err ? &all : NULL);
        conversion_free(k);
}

/* ---- asking ---- */

/* As upstream prints it: by key, and what is stored has no revision yet. */
static struct json shown(const struct conversion *k, const struct json *in) {
        struct json object = k->whole ? *in : custom_as_kept(k->arena, k->to, in);

        if (!k->whole) {
                struct json meta = json_copy_shallow(k->arena, json_getc(&object, "metadata"));

                json_removec(&meta, "resourceVersion");
                object = json_copy_shallow(k->arena, &object);
                json_setc(k->arena, &object, "metadata", meta);
        }
        schema_reorder(k->arena, k->to->resource->type, &object);
        return object;
}

static void ask(struct apiserver *s, struct conversion *k, struct loop *loop) {
        const struct json *webhook = k->to->custom->of->webhook;
        struct json objects = json_new_array(), review;

        k->since_ns = now_mono_ns();
        k->failure = CALL_FAILURE;
        rand_uuid(k->uid);
        k->uid[36] = '\0';
        for (size_t i = 0; i < k->n; i++)
                json_push(k->arena, &objects, shown(k, k->in[i]));
        review = json_build(k->arena,
                            "{ kind: 'ConversionReview', apiVersion: %c, request: { uid: %c, desiredAPIVersion: %s,"
                            " objects: %j }, response: { uid: '', convertedObjects: null, result: { metadata: {} } } }",
                            review_version(k), k->uid, k->to->api_version, &objects);
        json_write(&k->body, &review);
        buf_putc(&k->body, '\n');
        k->call = (struct webhook_call) { .config = json_getc(webhook, "clientConfig"),
                                          .query = STR(WEBHOOK_QUERY),
                                          .body = buf_str(&k->body),
                                          .timeout_ms = WEBHOOK_TIMEOUT_MS,
                                          .loop = loop,
                                          .done = answered };
        webhook_call(s, &k->call);
}

static struct object *converted_object(struct conversion *k, size_t i, uint64_t revision) {
        schema_reorder(k->arena, k->to->resource->type, &k->out[i]);
        struct object *o = object_from_tree(&k->out[i]);
        object_set_revision(o, revision);
        return o;
}

/* ---- for an op ---- */

static void loaded(struct conversion *k, const struct error *err) {
        struct op *op = k->arg[0];
        void (*again)(struct op * op) = k->arg[1];
        _cleanup_(object_unrefp) struct object *raw = k->arg[2];

        if (err) {
                error_copy(&op->c->error, err);
                return op_fail(op);
        }
        object_unref(op->converted);
        op->converted = converted_object(k, 0, object_revision(raw));
        again(op);
}

bool op_load(struct op *op, void (*again)(struct op *op)) {
        if (err_bad_name(&op->c->error, op->name) < 0) {
                op_fail(op);
                return false;
        }
        op->raw = op->old = rest_get(op->snap, op->rest->stored, op->namespace, op->name);
        if (!op->old) {
                struct str key = rest_key(op->c->arena, op->rest->stored, op->namespace, op->name);

                if (!str_eq(store_sealed(op->s->store, op->snap, key), key))
                        return true;
                err_sealed(&op->c->error, op->s, op->rest, key, SEALED_ONE);
                op_fail(op);
                return false;
        }
        if (!op->rest->custom)
                return true;
        if (op->c->verb == API_DELETE && op->rest->custom->of->terminating)
                return true; /* it goes with its definition, whether or not the webhook is still there */
        if (custom_check_version(op->rest, op->raw, &op->c->error) < 0) {
                op_fail(op);
                return false;
        }
        if (op->converted && object_revision(op->converted) == object_revision(op->raw)) {
                op->old = op->converted;
                return true;
        }
        struct object *view = custom_view(op->rest, op->raw);
        if (!view && op->c->verb == API_GET && !str_empty(op->c->options.resource_version))
                view = kept_find(op->rest, op->raw);
        if (view) {
                object_unref(op->converted);
                op->old = op->converted = view;
                return true;
        }
        struct conversion *k = conversion_new(op->rest, 1);
        k->in[0] = object_json(op->raw);
        k->arg[0] = op;
        k->arg[1] = again;
        k->arg[2] = object_ref(op->raw);
        k->done = loaded;
        k->changes = op->c->verb == API_UPDATE || op->c->verb == API_PATCH;
        ask(op->s, k, op->c->loop);
        return false;
}

static void converted_back(struct conversion *k, const struct error *err) {
        struct op *op = k->arg[0];
        void (*again)(struct op * op) = k->arg[1];

        if (err) {
                error_copy(&op->c->error, err);
                return op_fail(op);
        }
        op->tree = json_copy(op->c->arena, &k->out[0]);
        again(op);
}

static void converted_out(struct conversion *k, const struct error *err) {
        struct op *op = k->arg[0];
        void (*again)(struct op * op) = k->arg[1];
        struct conversion *back;
        struct json complete;

        if (err) {
                error_copy(&op->c->error, err);
                return op_fail(op);
        }
        complete = crd_complete(op->c->arena, k->to->custom->schema, &k->out[0]); /* readers take it as it is */
        op->outgoing = json_new(op->c->arena, json_copy(op->c->arena, &complete));
        back = conversion_new(op->rest, 1); /* the answer is what is read then */
        back->in[0] = op->outgoing;
        back->arg[0] = op;
        back->arg[1] = again;
        back->done = converted_back;
        ask(op->s, back, op->c->loop);
}

bool op_convert_out(struct op *op, void (*again)(struct op *op)) {
        const struct custom_version *v = op->rest->custom, *storage = v ? v->of->storage : NULL;

        if (op->nulls) { /* whoever reads it finds none */
                op->tree = crd_narrow(op->c->arena, v->schema, &op->tree);
                op->nulls = false;
        }
        if (!v || v == storage || op->outgoing)
                return true;
        if (!v->of->webhook) {
                struct json copy = json_copy_shallow(op->c->arena, &op->tree);
                _cleanup_error_ struct error e = ERROR_INIT;

                json_set_str(op->c->arena, &copy, "apiVersion", storage->rest.api_version);
                if (crd_prune(op->c->arena, storage->schema, &copy, NULL, &copy, &e) < 0) {
                        error_status(&op->c->error, REASON_UNKNOWN, "%s", error_text(&e));
                        op_fail(op);
                        return false;
                }
                copy = crd_complete(op->c->arena, storage->schema, &copy); /* readers take it as it is */
                op->outgoing = json_new(op->c->arena, copy);
                op->tree = custom_in_version(op->c->arena, op->rest,
                                             op->outgoing); /* the answer is what is read then */
                schema_reorder(op->c->arena, op->rest->resource->type, &op->tree);
                return true;
        }
        struct conversion *k = conversion_new(&storage->rest, 1);
        k->in[0] = &op->tree;
        k->arg[0] = op;
        k->arg[1] = again;
        k->done = converted_out;
        ask(op->s, k, op->c->loop);
        return false;
}

/* What managers of another version own of op->tree, which is made of op->old; before and after are these in that
 * version. What is no object of its schema makes upstream forget them all, or refuse to apply. False: op has failed. */
static bool compare_version(struct op *op, const struct rest *version, const struct json *before,
                            const struct json *after, const struct error *err) {
        const struct schema_type *t = version->resource->type;
        struct apply_opts opts = writes_apply_opts(op);
        _cleanup_error_ struct error e = ERROR_INIT;
        struct arena *a = op->c->arena;

        if (err)
                error_copy(&e, err);
        else if (structure_check(a, t, before, false, &e) == 0 && structure_check(a, t, after, false, &e) < 0)
                error_prefix(&e, "failed to convert new object");
        opts.api_version = version->api_version;
        opts.force |= !op->applied;
        opts.seen = &op->seen;
        if (version->custom)
                opts.reset = NULL; /* upstream knows what a way cannot change in the version of the request only */
        if (!e.err)
                apply_track_version(a, t, before, after, &opts, &op->tree, &op->c->error);
        else if (op->applied)
                error_status(&op->c->error, REASON_UNKNOWN, "%s", error_text(&e));
        else
                json_removec(meta_of(a, &op->tree), "managedFields");
        if (!op->c->error.err)
                return true;
        op_fail(op);
        return false;
}

static void version_converted(struct conversion *k, const struct error *err) {
        struct op *op = k->arg[0];
        void (*then)(struct op * op) = k->arg[1];
        struct json before = json_null(), after = json_null();

        if (!err) {
                before = json_copy(op->c->arena, &k->out[0]);
                after = json_copy(op->c->arena, &k->out[1]);
        }
        if (compare_version(op, k->to, &before, &after, err) && op_track_versions(op, then))
                then(op);
}

static bool has_managers(const struct json *object, struct str api_version) {
        json_each_item(e, json_at_path(object, "metadata", "managedFields"))
                if (str_eq(TEXT(e, "apiVersion"), api_version))
                        return true;
        return false;
}

/* Built in: all that is there of the other version is what the version of the request has of it. */
static bool track_builtin_versions(struct op *op) {
        const struct api_resource *kept = op->rest->stored->resource, *asked = op->rest->resource;
        const struct json *now = op->applied ? &op->seen.merged : &op->tree;
        const struct rest *other;
        struct json before, after;

        for (size_t i = 0; op->rest->stored->shared && (other = rest_version(op->s, op->rest, i)); i++) {
                _cleanup_error_ struct error e = ERROR_INIT;

                if (other == op->rest || !has_managers(&op->tree, other->api_version))
                        continue;
                if (schema_convert(op->c->arena, kept, asked, object_json(op->old), &before, &e) == 0 &&
                    schema_convert(op->c->arena, asked, other->resource, &before, &before, &e) == 0)
                        schema_convert(op->c->arena, op->applied ? asked : kept, other->resource, now, &after, &e);
                if (!compare_version(op, other, &before, &after, e.err ? &e : NULL))
                        return false;
        }
        return true;
}

bool op_track_versions(struct op *op, void (*then)(struct op *op)) {
        const struct json *now = op->applied ? &op->seen.merged : &op->tree;
        const struct custom_version *v = op->rest->custom, *other;

        if (!v)
                return track_builtin_versions(op);

        while (v && op->next_version < v->of->n_versions) {
                other = &v->of->versions[op->next_version++];
                if (other == v || !has_managers(&op->tree, other->rest.api_version))
                        continue;
                if (!v->of->webhook) {
                        if (!compare_version(op, &other->rest, object_json(op->old), now, NULL))
                                return false;
                        continue;
                }
                struct conversion *k = conversion_new(&other->rest, 2);
                k->whole = true;
                k->in[0] = object_json(op->old);
                k->in[1] = now;
                k->arg[0] = op;
                k->arg[1] = then;
                k->done = version_converted;
                ask(op->s, k, op->c->loop);
                return false;
        }
        return true;
}

struct object *op_stored_object(struct op *op) {
        const struct json *outgoing = TAKE_PTR(op->outgoing);

        if (!outgoing)
                return op->result;
        struct json tree = *outgoing;
        schema_reorder(op->c->arena, op->rest->stored->resource->type, &tree);
        return object_from_tree(&tree);
}

bool op_stores_anew(const struct op *op) {
        const struct custom_version *v = op->rest->custom;

        if (!v || !op->raw)
                return !json_equal(&op->tree, object_json(op->old));
        return !custom_is_in_version(&v->of->storage->rest, op->raw) ||
               !json_equal(op->outgoing ? op->outgoing : &op->tree, object_json(op->raw));
}

/* ---- for lists and watches ---- */

struct batch {
        struct object **objects; /* results */
        uint64_t *revisions;
};

static void objects_done(struct conversion *k, const struct error *err) {
        void (*done)(struct object * *converted, size_t n, const struct error *e, void *arg) = k->arg[0];
        struct batch *b = k->arg[2];

        for (size_t i = 0; !err && i < k->n; i++)
                b->objects[i] = converted_object(k, i, b->revisions[i]);
        done(b->objects, err ? 0 : k->n, err, k->arg[1]);
}

void convert_objects(struct apiserver *s, const struct rest *r, struct object *const *objects, size_t n,
                     struct loop *loop,
                     void (*done)(struct object **converted, size_t n, const struct error *err, void *arg), void *arg) {
        struct conversion *k = conversion_new(r, n);
        struct batch *b = arena_new_of(k->arena, struct batch);

        b->objects = arena_array(k->arena, struct object *, n);
        b->revisions = arena_array(k->arena, uint64_t, n);
        for (size_t i = 0; i < n; i++) {
                k->in[i] = object_json(objects[i]);
                b->revisions[i] = object_revision(objects[i]);
        }
        k->arg[0] = done;
        k->arg[1] = arg;
        k->arg[2] = b;
        k->done = objects_done;
        ask(s, k, loop);
}

static void list_converted(struct object **converted, size_t n, const struct error *err, void *arg) {
        struct op *op = arg;
        struct api_list *l = op->c->list;
        size_t k = 0;

        if (err) {
                api_list_free(TAKE_PTR(op->c->list));
                error_copy(&op->c->error, err);
                return op_fail(op);
        }
        for (size_t i = 0; i < l->n && k < n; i++) {
                if (custom_is_in_version(op->rest, l->items[i]))
                        continue;
                object_unref(l->items[i]);
                l->items[i] = converted[k++];
        }
        op->list_converted(op);
}

void convert_list(struct op *op, void (*then)(struct op *op)) {
        struct api_list *l = op->c->list;
        uint64_t position;
        size_t n = 0;

        if (!op->rest->custom || !op->rest->custom->of->webhook)
                return then(op);
        struct object **wanted = arena_array(op->c->arena, struct object *, l->n + 1);
        bool exactly = api_lists_exactly(&op->c->options) ||
                       (!str_eqc(op->c->options.resource_version, "0") && kept_is_stuck(op->rest, &position));
        for (size_t i = 0; i < l->n; i++) {
                if (custom_is_in_version(op->rest, l->items[i]))
                        continue;
                struct object *view = exactly ? NULL : kept_find(op->rest, l->items[i]);

                if (!view) {
                        wanted[n++] = l->items[i];
                        continue;
                }
                object_unref(l->items[i]);
                l->items[i] = view;
        }
        op->list_converted = then;
        if (n == 0)
                then(op);
        else
                convert_objects(op->s, op->rest, wanted, n, op->c->loop, list_converted, op);
}
