/* PATCH: the four kinds of patch make a document from the live one; then it is an update like any other. When another
 * writer is faster the patch is applied anew to what that one wrote. */
#include <errno.h>

#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/apply.h"
#include "schema/decode.h"
#include "schema/defaults.h"
#include "schema/strategic.h"

static int invalid_patch(struct op *op, const struct json *doc, const char *text, struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        _cleanup_buf_ struct buf b = BUF_INIT;
        int r;

        json_write(&b, doc);
        field_invalid_str(&fe, PATH(NULL, "patch"), arena_str(op->c->arena, buf_str(&b)), "%s", text);
        r = field_errors_finish(&fe, STR(""), STR(""), STR(""), err);
        vec_free(&fe.list);
        return r;
}

/* live with the patch applied, not yet decoded. */
static int apply_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        struct arena *a = op->c->arena;
        _cleanup_error_ struct error e = ERROR_INIT;

        switch (op->c->patch) {
        case API_PATCH_JSON:
                if (json_patch_apply(a, live, op->c->body, ret, &e) == 0)
                        return 0;
                if (json_type(op->c->body) != JSON_ARRAY)
                        return err_bad_request(
                                        err,
                                        "error decoding patch: json: cannot unmarshal object into Go value of type "
                                        "jsonpatch.Patch");
                error_status(err, REASON_INVALID, "the server rejected our request due to an error in our request: %s",
                             error_text(&e));
                error_add_cause(err, "", STR(""), "%s", error_text(&e));
                return -EINVAL;
        case API_PATCH_MERGE:
                if (json_type(op->c->body) != JSON_OBJECT)
                        return err_bad_request(err,
                                               "error decoding patch: json: cannot unmarshal into Go value of type "
                                               "map[string]interface {}");
                *ret = json_merge_patch(a, live, op->c->body);
                return 0;
        case API_PATCH_STRATEGIC:
                if (json_type(op->c->body) != JSON_OBJECT)
                        return err_bad_request(err,
                                               "error decoding patch: json: cannot unmarshal into Go value of type "
                                               "map[string]interface {}");
                if (strategic_merge_patch(a, op->rest->resource->type, live, op->c->body, ret, &e) < 0)
                        return err_bad_request(err, "%s", error_text(&e));
                return 0;
        default:
                return error_status(err, REASON_UNSUPPORTED_MEDIA, "the body of the request was in an unknown format");
        }
}

/* The patched document as a decoded, defaulted object of the request's version. */
static int decode_patched(struct op *op, struct json *doc, struct error *err) {
        struct arena *a = op->c->arena;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str name;

        if (registry_decode(op, doc, &op->tree, &e) < 0) {
                ssize_t at = str_search(str_of(error_text(&e)), STR("handled as a "));
                const char *text = error_text(&e);

                if (at >= 0 && strchr(text + at, ':'))
                        text = strchr(text + at, ':') + 2;
                return invalid_patch(op, doc, text, err);
        }
        name = json_str(json_at_path(&op->tree, "metadata", "name"));
        if (!str_eq(name, op->name))
                return err_bad_request(err,
                                       "the name of the object (%" STR_FMT
                                       ") does not match the name on the URL (%" STR_FMT ")",
                                       STR_ARG(name), STR_ARG(op->name));
        schema_default(a, op->rest->resource->type, &op->tree);
        return 0;
}

/* The live object's tree in the version of the request. */
static int live_tree(struct op *op, struct json *ret, struct error *err) {
        const struct rest *r = op->rest;

        if (r->stored == r) {
                *ret = *object_json(op->old);
                return 0;
        }
        return schema_convert(op->c->arena, r->stored->resource, r->resource, object_json(op->old), ret, err);
}

static int to_stored(struct op *op, struct error *err) {
        const struct rest *r = op->rest;

        if (r->stored == r)
                return 0;
        return schema_convert(op->c->arena, r->resource, r->stored->resource, &op->tree, &op->tree, err);
}

/* ---- server-side apply ---- */

static int apply_config(struct op *op, const struct json *live, struct error *err) {
        struct arena *a = op->c->arena;
        struct apply_opts opts = writes_apply_opts(op);
        struct json config, *meta;
        struct str name;
        int r;

        if (str_empty(op->c->options.field_manager))
                return error_status(err, REASON_INVALID,
                                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                                    "required for apply patch");
        r = registry_decode(op, op->c->body, &config, err);
        if (r < 0)
                return r;
        meta = meta_of(a, &config);
        if (json_len(json_getc(meta, "managedFields")) > 0)
                return err_bad_request(err, "metadata.managedFields must be nil");
        name = json_str(json_getc(meta, "name"));
        if (!str_empty(name) && !str_eq(name, op->name))
                return err_bad_request(err,
                                       "the name of the object (%" STR_FMT
                                       ") does not match the name on the URL (%" STR_FMT ")",
                                       STR_ARG(name), STR_ARG(op->name));
        json_set_str(a, meta, "name", op->name);
        if (op->rest->resource->namespaced)
                json_set_str(a, meta, "namespace", op->namespace);
        r = apply_merge(a, op->rest->resource->type, live, &config, &opts, &op->tree, err);
        if (r < 0)
                return r;
        op->applied = true;
        schema_default(a, op->rest->resource->type, &op->tree);
        return 0;
}

static void apply_new(struct op *op) {
        struct error *err = &op->c->error;

        if (op->sub) {
                err_not_found(err, op->rest, op->name);
                op_fail(op);
                return;
        }
        op->upsert = true;
        if (apply_config(op, NULL, err) < 0 || to_stored(op, err) < 0) {
                op_fail(op);
                return;
        }
        registry_write_new(op);
}

void registry_patch(struct op *op) {
        struct error *err = &op->c->error;
        struct json live, doc;
        bool apply = op->c->patch == API_PATCH_APPLY;

        op->again = registry_patch;
        op->warnings.n = 0;
        op_refresh(op);
        op->old = rest_get(op->snap, op->rest->stored, op->namespace, op->name);
        if (!op->old && apply) {
                apply_new(op);
                return;
        }
        if (!op->old) {
                err_not_found(err, op->rest, op->name);
                goto fail;
        }
        if (live_tree(op, &live, err) < 0)
                goto fail;
        if (apply) {
                if (apply_config(op, &live, err) < 0)
                        goto fail;
        } else {
                if (apply_patch(op, &live, &doc, err) < 0 || decode_patched(op, &doc, err) < 0)
                        goto fail;
        }
        if (writes_check_current(op, apply ? op->c->body : &op->tree, err) < 0 || to_stored(op, err) < 0)
                goto fail;
        registry_write_changed(op);
        return;
fail:
        op_fail(op);
}
