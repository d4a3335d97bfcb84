#include "apiserver/admission/review.h"
#include "apiserver/request.h"

#include "apiserver/auth/authn.h"
#include "apiserver/extensions/custom.h"
#include "base/encode.h"
#include "json/yaml.h"
#include "schema/decode.h"

/* What a conversion webhook is asked for, and has made. */
struct view {
        struct view *next;
        struct admission *ad;
        const struct rest *to;
        const struct json *in;
        struct json out;
        struct object *given;
        void (*then)(struct admission *ad, int r);
};

void review_forget(struct admission *ad) {
        ad->views = NULL;
}

static void again(struct admission *ad, int r) {
        ad->resumed = r == 0;
        ad->next -= r == 0;
        admission_continue(ad, r);
}

static void converted(struct object **objects, size_t n, const struct error *err, void *arg) {
        struct view *v = arg;
        struct admission *ad = v->ad;
        int r = 0;

        object_unref(v->given);
        if (err) {
                r = error_status(&ad->op->c->error, REASON_INTERNAL, "Internal error occurred: %s", error_text(err));
        } else {
                v->out = json_copy(ad->a, object_json(objects[0]));
                object_unref(objects[0]);
                v->next = ad->views;
                ad->views = v;
        }
        v->then(ad, r);
}

static int view_of(struct admission *ad, const struct rest *to, const struct json *in,
                   void (*then)(struct admission *ad, int r), struct json *ret) {
        struct view *v;

        for (v = ad->views; v; v = v->next)
                if (v->to == to && v->in == in) {
                        *ret = v->out;
                        return 0;
                }
        v = arena_new_of(ad->a, struct view);
        *v = (struct view) { .ad = ad, .to = to, .in = in, .given = object_from_tree(in), .then = then ? then : again };
        convert_objects(ad->s, to, &v->given, 1, ad->op->c->loop, converted, v);
        return ADMISSION_WAITS;
}

int review_convert(struct admission *ad, const struct rest *from, const struct rest *to, const struct json *in,
                   void (*then)(struct admission *ad, int r), struct json *ret, struct error *err) {
        const struct op *op = ad->op;
        _cleanup_error_ struct error e = ERROR_INIT;

        *ret = *in;
        if (from == to || (op->sub && op->sub->type != op->rest->resource->type))
                return 0;
        if (from->custom && from->custom->of->webhook)
                return view_of(ad, to, in, then, ret);
        if (from->custom) {
                *ret = json_copy_shallow(ad->a, in);
                json_set_str(ad->a, ret, "apiVersion", to->api_version);
                return 0;
        }
        if (schema_convert(ad->a, from->resource, to->resource, in, ret, &e) == 0)
                return 0;
        return error_status(err, REASON_INTERNAL, "Internal error occurred: %s", error_text(&e));
}

/* ---- the question ---- */

static struct json three(struct arena *a, struct str group, struct str version, const char *what, struct str name) {
        struct json o = json_new_object();

        json_set_str(a, &o, "group", group);
        json_set_str(a, &o, "version", version);
        json_set_str(a, &o, what, name);
        return o;
}

/* The kind of what is sent: the resource's own, or that of its subresource. */
static struct json kind_of(struct arena *a, const struct admission *ad, const struct rest *r) {
        const struct api_subresource *sub = ad->op->sub;

        if (!sub)
                return three(a, r->group, r->version, "kind", r->kind);
        return three(a, sub->group ? str_of(sub->group) : r->group, sub->version ? str_of(sub->version) : r->version,
                     "kind", str_of(sub->kind));
}

static void set_text(struct arena *a, struct json *o, const char *key, struct str s) {
        if (!str_empty(s))
                json_set_str(a, o, key, s);
}

static void delete_options(struct arena *a, struct json *o, const struct api_options *from) {
        struct json pre = json_new_object();

        if (from->grace_period_seconds >= 0)
                json_set_int(a, o, "gracePeriodSeconds", from->grace_period_seconds);
        set_text(a, &pre, "uid", from->precondition_uid);
        set_text(a, &pre, "resourceVersion", from->precondition_resource_version);
        if (json_len(&pre) > 0)
                json_setc(a, o, "preconditions", pre);
        if (str_empty(from->orphan_dependents))
                set_text(a, o, "propagationPolicy", from->propagation_policy);
        else
                json_setc(a, o, "orphanDependents", json_of_bool(request_bool(from->orphan_dependents)));
}

/* CreateOptions, UpdateOptions, DeleteOptions; a CONNECT has none. */
static struct json options_of(struct arena *a, const struct admission *ad) {
        static const char *const kinds[] = {
                [ADMIT_CREATE] = "CreateOptions", [ADMIT_UPDATE] = "UpdateOptions", [ADMIT_DELETE] = "DeleteOptions"
        };
        static const char *const modes[] = { [API_VALIDATE_DEFAULT] = "",
                                             [API_VALIDATE_IGNORE] = "Ignore",
                                             [API_VALIDATE_WARN] = "Warn",
                                             [API_VALIDATE_STRICT] = "Strict" };
        const struct api_options *from = &ad->op->c->options;
        struct json o = json_new_object(), all = json_new_array();

        if (ad->operation == ADMIT_CONNECT)
                return json_null();
        json_set_cstr(a, &o, "kind", kinds[ad->operation]);
        json_set_cstr(a, &o, "apiVersion", "meta.k8s.io/v1");
        if (from->dry_run) {
                json_push(a, &all, json_of_cstr("All"));
                json_setc(a, &o, "dryRun", all);
        }
        if (ad->operation == ADMIT_DELETE) {
                delete_options(a, &o, from);
        } else {
                set_text(a, &o, "fieldManager", from->field_manager);
                set_text(a, &o, "fieldValidation", str_of(modes[from->field_validation]));
        }
        return o;
}

/* The request up to what it is about, which stands before how it was asked. */
static struct json what_is_asked(struct arena *a, const struct admission *ad, const struct rest *as, struct str uid) {
        const struct rest *r = ad->op->rest;
        struct str sub = ad->op->c->subresource;
        struct json q = json_new_object();

        json_set_str(a, &q, "uid", uid);
        json_setc(a, &q, "kind", kind_of(a, ad, as));
        json_setc(a, &q, "resource", three(a, as->group, as->version, "resource", as->plural));
        set_text(a, &q, "subResource", sub);
        json_setc(a, &q, "requestKind", kind_of(a, ad, r));
        json_setc(a, &q, "requestResource", three(a, r->group, r->version, "resource", r->plural));
        set_text(a, &q, "requestSubResource", sub);
        set_text(a, &q, "name", admission_name(ad));
        set_text(a, &q, "namespace", admission_namespace(ad));
        json_set_cstr(a, &q, "operation", admission_operation_name(ad->operation));
        json_setc(a, &q, "userInfo", user_json(a, &ad->op->c->user));
        return q;
}

static void add_options(struct arena *a, const struct admission *ad, struct json *q) {
        json_set_bool(a, q, "dryRun", ad->op->c->options.dry_run);
        json_setc(a, q, "options", options_of(a, ad));
}

struct json review_request(struct arena *a, const struct admission *ad, const struct rest *as, struct str uid) {
        struct json q = what_is_asked(a, ad, as, uid);

        add_options(a, ad, &q);
        return q;
}

struct str review_question(struct arena *a, const struct admission *ad, const struct rest *as, const char *api_version,
                           struct str uid, const struct json *object, const struct json *old) {
        struct json q = what_is_asked(a, ad, as, uid), review = json_new_object();
        _cleanup_buf_ struct buf text = BUF_INIT;

        json_setc(a, &q, "object", object ? *object : json_null());
        json_setc(a, &q, "oldObject", old ? *old : json_null());
        add_options(a, ad, &q);
        json_set_cstr(a, &review, "kind", "AdmissionReview");
        json_set_cstr(a, &review, "apiVersion", api_version);
        json_setc(a, &review, "request", q);
        json_write(&text, &review);
        buf_putc(&text, '\n');
        return arena_str(a, buf_str(&text));
}

/* ---- the answer ---- */

/* 503: what metrics count it as. */
#define invalid(e, ...) \
        (error_set(e, -EINVAL, "received invalid webhook response: " __VA_ARGS__), (e)->code = 503, -EINVAL)

int review_kind(const struct json *doc, struct str *kind, struct str *version, struct error *err) {
        json_each_member(m, doc) {
                bool is_kind = str_eq_fold(json_key(m), STR("kind"));

                if ((!is_kind && !str_eq_fold(json_key(m), STR("apiVersion"))) || json_is(&m->value, JSON_NULL))
                        continue;
                if (!json_is(&m->value, JSON_STRING))
                        return error_set(err, -EINVAL,
                                         "couldn't get version/kind; json parse error: json: cannot unmarshal %s into "
                                         "Go struct field .%s of type string",
                                         json_type_in_go(&m->value), is_kind ? "kind" : "apiVersion");
                *(is_kind ? kind : version) = json_str(&m->value);
        }
        return 0;
}

/* A review of another version is not converted, another kind not known; what is not said is what was asked. */
static int check_version(const struct json *review, const char *wanted, const char *api_version, struct error *err) {
        struct str kind = STR(""), named = STR(""), version, group = STR(""), own = str_of(api_version);
        ssize_t slash = str_rfind(own, '/');
        struct str own_group = str_sub(own, 0, (size_t) slash), own_version = str_sub(own, (size_t) slash + 1, own.n);

        TRY(review_kind(review, &kind, &named, err));
        version = named;
        slash = str_find(named, '/');
        if (slash != str_rfind(named, '/'))
                return error_set(err, -EINVAL, "unexpected GroupVersion string: %" STR_FMT, STR_ARG(named));
        if (slash >= 0) {
                group = str_sub(named, 0, (size_t) slash);
                version = str_sub(named, (size_t) slash + 1, named.n);
        }
        kind = kind.n ? kind : str_of(wanted);
        if (!version.n && (!group.n || str_eq(group, own_group))) {
                group = own_group;
                version = own_version;
        }
        bool known = str_among(version, WORDS("v1", "v1beta1")) && str_eq(group, own_group);
        if (known && str_eqc(kind, wanted) && str_eq(version, own_version))
                return 0;
        if ((known && str_among(kind, WORDS(wanted, "Status"))) || /* every scheme of upstream's knows this one */
            (str_eqc(kind, "Status") && !group.n && str_eqc(version, "v1")))
                return error_set(err, -EINVAL,
                                 "converting (%" STR_FMT ".%" STR_FMT ") to (%" STR_FMT ".%s): unknown conversion",
                                 STR_ARG(version), STR_ARG(kind), STR_ARG(own_version), wanted);
        return error_set(err, -EINVAL,
                         "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT "%s%" STR_FMT
                         "\" in scheme \"k8s.io/apiserver/pkg/util/webhook/client.go:71\"",
                         STR_ARG(kind), STR_ARG(group), group.n ? "/" : "", STR_ARG(version));
}

int review_read(struct arena *a, struct str text, const char *kind, const char *api_version, struct json **ret,
                struct error *err) {
        const struct json_parse_opts opts = { .max_depth = 1000, .copy_strings = true };
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str start = str_trim(text);
        struct json *j;

        if (json_parse(a, text, &opts, &j, &e) < 0 &&
            (text.n == 0 || start.n == 0 || start.p[0] == '{' || text.p[0] == '['))
                return error_set(err, -EINVAL, "couldn't get version/kind; json parse error: %s", error_text(&e));
        if (e.err) {
                error_clear(&e);
                if (yaml_parse(a, text, NULL, &j, &e) < 0) {
                        struct str why = str_of(error_text(&e)), extra = STR(YAML_ERROR);

                        why = str_sub(why, str_has_prefix(why, extra) ? extra.n : 0, why.n);
                        return error_set(err, -EINVAL, "%" STR_FMT, STR_ARG(why));
                }
        }
        *ret = json_is(j, JSON_NULL) ? json_new(a, json_new_object()) : j;
        if (json_is(j, JSON_NULL) || json_is(j, JSON_OBJECT))
                return check_version(*ret, kind, api_version, err);
        return error_set(err, -EINVAL, /* what is neither is a word */
                         "couldn't get version/kind; json parse error: json: cannot unmarshal %s into Go value of type "
                         "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string "
                         "\"json:\\\"kind,omitempty\\\"\" }",
                         json_type_in_go(j));
}

/* The review in text, with the fields it may have in the types they must have. */
static int decode(struct arena *a, struct str text, const char *api_version, struct json *ret, struct error *err) {
        const struct schema_type *t = api_find_type(STR("admission.k8s.io"), STR("v1"), STR("AdmissionReview"));
        struct json *j;

        if (review_read(a, text, "AdmissionReview", api_version, &j, err) < 0 ||
            schema_decode(a, t, j, NULL, ret, err) < 0)
                return error_prefix(err, "failed to call webhook");
        return 0;
}

static int check_kind(const struct json *review, const char *api_version, struct error *err) {
        struct str kind = json_str(json_getc(review, "kind")), version = json_str(json_getc(review, "apiVersion"));
        struct str group = STR(""), v = version;
        ssize_t slash = str_find(version, '/');

        if (str_eqc(kind, "AdmissionReview") && str_eqc(version, api_version))
                return 0;
        if (slash >= 0) {
                group = str_sub(version, 0, (size_t) slash);
                v = str_sub(version, (size_t) slash + 1, version.n);
        }
        return invalid(err,
                       "expected webhook response of %s, Kind=AdmissionReview, got %" STR_FMT "/%" STR_FMT
                       ", Kind=%" STR_FMT,
                       api_version, STR_ARG(group), STR_ARG(v), STR_ARG(kind));
}

static int parse_patch(struct arena *a, struct str encoded, struct review_answer *ret, struct error *err) {
        const struct json_parse_opts opts = { .max_depth = 1000, .copy_strings = true };
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *patch;

        if (base64_decode(&text, encoded) < 0)
                return error_set(err, -EINVAL, "failed to call webhook: illegal base64 data in response.patch");
        if (json_parse(a, buf_str(&text), &opts, &patch, &e) < 0)
                return error_status(err, REASON_INTERNAL, "Internal error occurred: %s", error_text(&e));
        if (json_is(patch, JSON_NULL))
                return 0;
        if (!json_is(patch, JSON_ARRAY))
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: json: cannot unmarshal %s into Go value of type "
                                    "jsonpatch.Patch",
                                    json_type_in_go(patch));
        if (json_len(patch) > 0)
                ret->patch = patch;
        return 0;
}

static int check_patch(const struct json *response, bool v1, bool mutating, struct error *err) {
        struct str patch = json_str(json_getc(response, "patch")), type = json_str(json_getc(response, "patchType"));
        bool has_type = json_getc(response, "patchType") != NULL;

        if (!v1)
                return 0;
        if (!mutating && !str_empty(patch))
                return invalid(err, "validating webhook may not return response.patch");
        if (!mutating && has_type)
                return invalid(err, "validating webhook may not return response.patchType");
        if (!str_empty(patch) && !has_type)
                return invalid(err, "webhook returned response.patch but not response.patchType");
        if (str_empty(patch) && has_type)
                return invalid(err, "webhook returned response.patchType but not response.patch");
        if (has_type && str_empty(type))
                return invalid(err, "webhook returned invalid response.patchType of \"\"");
        return 0;
}

static int take_patch(struct arena *a, const struct json *response, bool v1, struct review_answer *ret,
                      struct error *err) {
        struct str patch = json_str(json_getc(response, "patch")), type = json_str(json_getc(response, "patchType"));

        if (!ret->allowed || str_empty(patch))
                return 0;
        if (parse_patch(a, patch, ret, err) < 0)
                return err->err;
        if (v1 && ret->patch && !str_eqc(type, "JSONPatch"))
                return error_set(err, -EINVAL, "unsupported patch type \"%" STR_FMT "\"", STR_ARG(type));
        return 0;
}

int review_parse(struct arena *a, struct str text, const char *api_version, struct str uid, bool mutating,
                 struct review_answer *ret, struct error *err) {
        bool v1 = str_has_suffix(str_of(api_version), STR("/v1"));
        const struct json *response;
        struct json review;

        *ret = (struct review_answer) { 0 };
        TRY(decode(a, text, api_version, &review, err));
        response = json_getc(&review, "response");
        if (!json_is(response, JSON_OBJECT))
                return invalid(err, "webhook response was absent");
        if (v1 && !str_eq(json_str(json_getc(response, "uid")), uid))
                return invalid(err, "expected response.uid=\"%" STR_FMT "\", got \"%" STR_FMT "\"", STR_ARG(uid),
                               STR_ARG(json_str(json_getc(response, "uid"))));
        TRY(v1 ? check_kind(&review, api_version, err) : 0);
        TRY(check_patch(response, v1, mutating, err));
        ret->allowed = json_bool(json_getc(response, "allowed"));
        ret->status = json_getc(response, "status");
        ret->warnings = json_getc(response, "warnings");
        ret->annotations = json_getc(response, "auditAnnotations");
        return mutating ? take_patch(a, response, v1, ret, err) : 0;
}

/* ---- refusals ---- */

int review_denied(struct error *err, struct str webhook, const struct json *status) {
        struct str message = json_str(json_getc(status, "message")), reason = json_str(json_getc(status, "reason"));
        const struct json *details = json_getc(status, "details");
        int64_t code = json_int(json_getc(status, "code"));

        if (str_empty(message))
                message = reason;
        error_status(err, status_reason_of(reason), "admission webhook \"%" STR_FMT "\" denied the request%s%" STR_FMT,
                     STR_ARG(webhook), str_empty(message) ? " without explanation" : ": ", STR_ARG(message));
        err->reason_text = str_dup(reason);
        if (!str_eqc(json_str(json_getc(status, "status")), "Success"))
                err->status_text = str_dup(json_str(json_getc(status, "status")));
        err->continue_token = str_dup(json_str(json_at_path(status, "metadata", "continue")));
        err->uid = str_dup(json_str(json_getc(details, "uid")));
        err->code = code < 400 ? 400 : (int) MIN(code, 999);
        err->retry_after_seconds = (int) json_int(json_getc(details, "retryAfterSeconds"));
        if (json_is(details, JSON_OBJECT))
                error_details(err, json_str(json_getc(details, "name")), json_str(json_getc(details, "group")),
                              json_str(json_getc(details, "kind")));
        json_each_item(c, json_getc(details, "causes")) {
                _cleanup_free_ char *why = str_dup(json_str(json_getc(c, "reason")));

                error_add_cause(err, why, json_str(json_getc(c, "field")), "%" STR_FMT,
                                STR_ARG(json_str(json_getc(c, "message"))));
        }
        return err->err;
}
