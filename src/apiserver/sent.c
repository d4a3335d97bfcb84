/* Objects as clients send and read them: of which kind a body is, what is unknown in it, its defaults, its version. */
#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "json/build.h"
#include "schema/decode.h"
#include "schema/defaults.h"

struct sent sent_of(struct arena *a, const struct rest *r, const struct api_subresource *sub) {
        struct sent s = { r->group, r->version, r->kind, r->api_version, r->resource->type, r->custom };

        if (!sub || str_eqc(r->kind, sub->kind))
                return s;
        if (sub->version) {
                s.group = str_of(sub->group);
                s.version = str_of(sub->version);
                s.api_version = arena_printf(a, "%s%s%s", sub->group, *sub->group ? "/" : "", sub->version);
        }
        s.kind = str_of(sub->kind);
        s.type = sub->type;
        s.custom = NULL;
        return s;
}

/* What a custom object says it is, is a matter of validation; but no body has another version. */
static int check_kind(struct op *op, const struct sent *want, const struct json *body, struct error *err) {
        struct str kind = json_str(json_getc(body, "kind")), version = json_str(json_getc(body, "apiVersion"));

        if (want->custom && op->c->verb == API_PATCH)
                return 0;
        if (!want->custom) {
                if (version.n > 0 && version.p[0] == '/') /* of the group without a name */
                        version = str_sub(version, 1, version.n);
                if (version.n == want->group.n + 1 && version.p[version.n - 1] == '/' &&
                    str_has_prefix(version, want->group)) /* of the group without a version */
                        version = STR("");
                kind = str_empty(kind) ? want->kind : kind;
                version = str_empty(version) ? want->api_version : version;
                if (str_eqc(want->kind, "Eviction") && str_eq(kind, want->kind) && str_eqc(version, "policy/v1beta1"))
                        return 0; /* older clients' */
                TRY(err_other_kind(err, want, kind, version));
        }
        if (!str_eq(version, want->api_version))
                return err_bad_request(err,
                                       "the API version in the data (%" STR_FMT
                                       ") does not match the expected API version (%" STR_FMT ")",
                                       STR_ARG(version), STR_ARG(want->api_version));
        return 0;
}

int registry_strict_result(struct op *op, const struct json *strict, struct error *err) {
        enum api_field_validation mode = op->c->options.field_validation;
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (json_len(strict) == 0 || mode == API_VALIDATE_IGNORE)
                return 0;
        if (mode != API_VALIDATE_STRICT) {
                json_each_item(m, strict)
                        op_warn(op, json_str(m));
                return 0;
        }
        json_each_item(m, strict) {
                if (str_has_prefix(json_str(m), STR("line "))) /* of YAML: all of them are one error upstream */
                        buf_printf(&text, "%s\n  ", text.n > 0 ? "" : "yaml: unmarshal errors:");
                else if (text.n > 0)
                        buf_addc(&text, ", ");
                buf_add_str(&text, json_str(m));
        }
        return error_status(err, REASON_BAD_REQUEST, "%s: %" STR_FMT,
                            strict == op->c->strict ? "error strict decoding YAML: error converting YAML to JSON"
                                                    : "strict decoding error",
                            STR_ARG(buf_str(&text)));
}

static int decode_as(struct op *op, const struct sent *as, const struct json *in, struct json *strict, struct json *ret,
                     struct error *err) {
        if (as->custom)
                return custom_decode(op, in, strict, ret, err);
        bool patched = op->c->patch == API_PATCH_STRATEGIC || op->c->patch == API_PATCH_APPLY;
        enum schema_form form = patched ? SENT_PATCHED : op->c->sorted ? SENT_YAML : SENT_JSON;
        TRY(schema_decode_request(op->c->arena, as->type, in, op->c->text, strict, form, ret, &op->odd, err));
        return op->rest->strategy->convert ? op->rest->strategy->convert(ret, err) : 0;
}

static int by_text(const void *p, const void *q) {
        return str_cmp(json_str(p), json_str(q));
}

/* What is found in the result of a patch, or in YAML, is told in this order. */
static void sort_unknown(struct json *strict) {
        size_t n = 0;

        while (n < json_len(strict) && str_has_prefix(json_str(json_item(strict, n)), STR("line ")))
                n++;
        if (json_len(strict) > n + 1)
                qsort(json_items(strict) + n, json_len(strict) - n, sizeof(struct json), by_text);
}

static int decode_body(struct op *op, const struct sent *as, const struct json *body, struct json *ret,
                       struct error *err) {
        struct arena *a = op->c->arena;
        struct json in = json_copy_shallow(a, body), all;
        bool patch = op->c->verb == API_PATCH, want_strict = op->c->options.field_validation != API_VALIDATE_IGNORE;
        struct json strict = op->c->strict && !patch ? json_copy_shallow(a, op->c->strict) : json_new_array();

        if (!as->custom && json_is(&in, JSON_OBJECT)) {
                json_set_str(a, &in, "kind", as->kind);
                json_set_str(a, &in, "apiVersion", as->api_version);
        }
        TRY(decode_as(op, as, &in, want_strict ? &strict : NULL, ret, err));
        if (!as->custom && (patch || op->c->sorted))
                sort_unknown(&strict);
        if (!op->c->strict || !patch || op->c->patch == API_PATCH_APPLY)
                return registry_strict_result(op, &strict, err);
        all = json_copy_shallow(a, op->c->strict); /* first what is wrong with the patch, then with what it makes */
        json_each_item(m, &strict)
                json_push(a, &all, *m);
        return registry_strict_result(op, &all, err);
}

int registry_decode(struct op *op, const struct json *body, struct json *ret, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        struct sent as = sent_of(op->c->arena, op->rest, op->sub);
        const struct json *managers = json_at_path(body, "metadata", "managedFields");
        int r = as.custom ? 0 : check_kind(op, &as, body, err);

        if (r < 0)
                return r;
        r = decode_body(op, &as, body, ret, &e);
        if (r == 0 && !as.custom && json_is(managers, JSON_ARRAY) && managers->len == 0)
                json_setc(op->c->arena, meta_of(op->c->arena, ret), "managedFields",
                          json_build(op->c->arena, "[ {} ]")); /* resets them, too */
        if (r < 0) {
                struct str kind = as.custom ? json_str(json_getc(body, "kind")) : as.kind, group,
                           version = as.custom ? json_str(json_getc(body, "apiVersion")) : as.version;

                if (op->rest->custom && !as.custom && op->c->verb == API_UPDATE) /* where upstream looks for its name */
                        return err_bad_request(err, "no kind is registered for the type v1.Scale in scheme "
                                                    "\"k8s.io/apiextensions-apiserver/pkg/apiserver/"
                                                    "customresource_handler.go:725\"");
                api_parse_group_version(version, &group, &version, NULL);
                return err_unhandled(err, kind, version, as.kind, str_of(error_text(&e)));
        }
        if (as.custom)
                TRY(check_kind(op, &as, body, err));
        op->c->understood = true;
        return 0;
}

void registry_default(struct op *op, struct json *tree) {
        if (op->rest->custom && op->applied)
                *tree = crd_default(op->c->arena, op->rest->custom->schema, tree, &op->nulls);
        else if (op->rest->custom)
                *tree = crd_complete(op->c->arena, op->rest->custom->schema, tree);
        else
                schema_default(op->c->arena, op->rest->resource->type, tree);
}

struct object *object_in_version(const struct rest *stored, const struct rest *as, struct object *o) {
        struct object *result;
        struct json out;

        if (as->custom) {
                result = custom_view(as, o);
                return result ? result : object_ref(o);
        }
        if (stored == as)
                return object_ref(o);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        if (schema_convert(a, stored->resource, as->resource, object_json(o), &out, NULL) < 0)
                return object_ref(o);
        result = object_from_tree(&out);
        if (object_revision(o) > 0) /* a dry run makes what has none */
                object_set_revision(result, object_revision(o));
        return result;
}
