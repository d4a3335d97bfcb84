/* PATCH: the four kinds of patch make a document from the live one; then it is an update like any other. When another
 * writer is faster the patch is applied anew to what that one wrote. */
#include "apiserver/extensions/custom.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/strategic.h"
#include "schema/structure.h"

#define MAX_JSON_PATCH 10000 /* operations */

/* The patch cannot be decoded: shown is the result, or of a strategic merge the patch. */
static int invalid_patch(struct op *op, const struct json *doc, const char *text, struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (op->c->patch == API_PATCH_STRATEGIC)
                strategic_print(&b, op->c->body);
        else
                json_write(&b, doc);
        field_invalid_str(&fe, PATH(NULL, "patch"), arena_str(op->c->arena, buf_str(&b)), "%s", text);
        return field_errors_finish(&fe, STR(""), STR(""), STR(""), err);
}

/* The patch is of the wrong JSON type; go_type: what the server would take. */
static int wrong_type(const struct json *patch, const char *prefix, const char *go_type, struct error *err) {
        static const char *const names[] = {
                [JSON_NULL] = "null",     [JSON_BOOL] = "bool",   [JSON_INT] = "number",    [JSON_DOUBLE] = "number",
                [JSON_STRING] = "string", [JSON_ARRAY] = "array", [JSON_OBJECT] = "object",
        };

        return err_bad_request(err, "%sjson: cannot unmarshal %s into Go value of type %s", prefix,
                               names[json_type(patch)], go_type);
}

/* Upstream keeps the reason to itself. */
static int rejected(struct error *err) {
        return error_status(err, REASON_INVALID, "the server rejected our request due to an error in our request");
}

/* Members of operations that JSON Patch does not know, and those that are there twice. */
static int check_operations(struct op *op, struct error *err) {
        static const char *const known[] = { "op", "path", "from", "value" };
        struct json found = json_new_array();
        size_t i = 0;

        json_each_item(o, op->c->body) {
                json_each_member(m, o) {
                        size_t k = 0;

                        while (k < ARRAY_SIZE(known) && !str_eqc(json_key(m), known[k]))
                                k++;
                        if (k == ARRAY_SIZE(known))
                                json_push(op->c->arena, &found,
                                          json_of_printf(op->c->arena,
                                                         "json patch unknown field \"[%zu].%" STR_FMT "\"", i,
                                                         STR_ARG(json_key(m))));
                }
                i++;
        }
        json_each_item(m, op->c->strict)
                json_push(op->c->arena, &found,
                          json_of_printf(op->c->arena, "json patch %" STR_FMT, STR_ARG(json_str(m))));
        return registry_strict_result(op, &found, err);
}

static int json_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        const struct json *patch = op->c->body;
        bool ignore = op->c->options.field_validation == API_VALIDATE_IGNORE;
        _cleanup_error_ struct error e = ERROR_INIT;
        int r;

        if (json_type(patch) != JSON_ARRAY)
                return wrong_type(patch, ignore ? "" : "error decoding patch: ",
                                  ignore ? "jsonpatch.Patch" : "[]handlers.jsonPatchOp", err);
        if (json_len(patch) > MAX_JSON_PATCH)
                return error_status(
                                err, REASON_TOO_LARGE,
                                "Request entity too large: The allowed maximum operations in a JSON patch is %d, got "
                                "%zu",
                                MAX_JSON_PATCH, json_len(patch));
        if (json_patch_apply(op->c->arena, live, patch, ret, &e) < 0)
                return rejected(err);
        r = check_operations(op, &e);
        return r < 0 ? invalid_patch(op, ret, error_text(&e), err) : 0;
}

static int strategic_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        const struct schema_type *type = sent_of(op->c->arena, op->rest, op->sub).type;
        _cleanup_error_ struct error e = ERROR_INIT;
        const char *text;

        if (json_type(op->c->body) != JSON_OBJECT)
                return wrong_type(op->c->body, "", "map[string]interface {}", err);
        if (strategic_merge_patch(op->c->arena, type, live, op->c->body, ret, &e) == 0)
                return 0;
        text = error_text(&e);
        if (strncmp(text, "invalid ", 8) == 0)
                return err_bad_request(err, "%s", text);
        if (strncmp(text, "lists of lists", 14) == 0)
                return rejected(err);
        return error_status(err, REASON_UNKNOWN, "%s", text);
}

/* live with the patch applied, not yet decoded. */
static int apply_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        switch (op->c->patch) {
        case API_PATCH_JSON:
                return json_patch(op, live, ret, err);
        case API_PATCH_MERGE:
                if (json_type(op->c->body) != JSON_OBJECT)
                        return wrong_type(op->c->body, "error decoding patch: ", "map[string]interface {}", err);
                *ret = json_merge_patch(op->c->arena, live, op->c->body);
                return 0;
        case API_PATCH_STRATEGIC:
                return strategic_patch(op, live, ret, err);
        default:
                return error_status(err, REASON_UNSUPPORTED_MEDIA, "the body of the request was in an unknown format");
        }
}

/* A patch changes neither name nor namespace. */
static int match_url(struct op *op, const struct json *meta, struct error *err) {
        struct str name = json_str(json_getc(meta, "name")), ns = json_str(json_getc(meta, "namespace"));

        if (op->rest->resource->namespaced && !str_empty(ns) && !str_eq(ns, op->namespace))
                return err_bad_request(err, OTHER_NAMESPACE);
        if (!str_eq(name, op->name))
                return err_bad_request(err,
                                       "the name of the object (%" STR_FMT
                                       ") does not match the name on the URL (%" STR_FMT ")",
                                       STR_ARG(name), STR_ARG(op->name));
        return 0;
}

/* The patched document as a decoded object of the request's version. */
static int decode_patched(struct op *op, struct json *doc, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;

        if (registry_decode(op, doc, &op->tree, &e) < 0) {
                ssize_t at = str_search(str_of(error_text(&e)), STR("handled as a "));
                const char *text = error_text(&e);

                if (e.reason == REASON_INVALID) { /* another kind, which upstream finds in what the patch makes */
                        error_move(err, &e);
                        return -EINVAL;
                }
                if (at >= 0 && strchr(text + at, ':'))
                        text = strchr(text + at, ':') + 2;
                return invalid_patch(op, doc, text, err);
        }
        return match_url(op, json_getc(&op->tree, "metadata"), err);
}

int registry_patched(struct op *op, const struct json *live, struct error *err) {
        struct json doc;

        TRY(apply_patch(op, live, &doc, err));
        return decode_patched(op, &doc, err);
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

/* The config is not what the type wants; what names what could not be done. */
static int unfit(struct op *op, const char *what, const char *text, struct error *err) {
        const struct rest *r = op->rest;

        return error_status(err, REASON_UNKNOWN,
                            "failed to %s object (%" STR_FMT "/%" STR_FMT "; %" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT
                            "): %s",
                            what, STR_ARG(op->namespace), STR_ARG(op->name), STR_ARG(r->group), STR_ARG(r->version),
                            STR_ARG(r->kind), text);
}

/* What upstream asks of a config before it looks at anything else. */
static int check_config(struct op *op, struct error *err) {
        const struct json *body = op->c->body;
        struct str kind = json_str(json_getc(body, "kind")), version = json_str(json_getc(body, "apiVersion"));
        _cleanup_error_ struct error e = ERROR_INIT;
        struct str group = { 0 }, v = { 0 };

        if (str_empty(op->c->options.field_manager))
                return error_status(err, REASON_INVALID,
                                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                                    "required for apply patch");
        if (json_type(body) != JSON_OBJECT && json_type(body) != JSON_NULL)
                return wrong_type(body, "error decoding YAML: error unmarshaling JSON: while decoding JSON: ",
                                  "map[string]interface {}", err);
        api_parse_group_version(version, &group, &v, NULL);
        if (!str_eq(kind, op->rest->kind) || !str_eq(version, op->rest->api_version))
                return err_bad_request(err, "invalid object type: %" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT,
                                       STR_ARG(group), STR_ARG(v), STR_ARG(kind));
        if (json_type(json_at_path(body, "metadata", "managedFields")) != JSON_NULL)
                return err_bad_request(err, "metadata.managedFields must be nil");
        if (structure_check(op->c->arena, op->rest->resource->type, body, &e) == 0)
                return 0;
        return unfit(op, "create typed patch", error_text(&e), err);
}

static int apply_config(struct op *op, const struct json *live, struct error *err) {
        struct arena *a = op->c->arena;
        struct apply_opts opts = writes_apply_opts(op);
        struct json config = json_copy_shallow(a, op->c->body), *meta;
        _cleanup_error_ struct error e = ERROR_INIT;
        int r;

        TRY(check_config(op, err));
        TRY(registry_strict_result(op, op->c->strict, err));
        meta = meta_of(a, &config);
        *meta = json_copy_shallow(a, meta);
        if (str_empty(json_str(json_getc(meta, "name"))))
                json_set_str(a, meta, "name", op->name);
        TRY(match_url(op, meta, err));
        if (op->rest->resource->namespaced)
                json_set_str(a, meta, "namespace", op->namespace);
        r = apply_merge(a, op->rest->resource->type, live, &config, &opts, &op->tree, &e);
        if (r == 0 && op->rest->custom)
                r = custom_decode(op, &op->tree, NULL, &op->tree, &e);
        if (r == -EINVAL)
                return unfit(op, "convert new", error_text(&e), err);
        if (r < 0)
                return error_move(err, &e), r;
        op->applied = true;
        registry_default(op, &op->tree);
        return 0;
}

static void apply_new(struct op *op) {
        struct error *err = &op->c->error;
        struct str uid = json_str(json_at_path(op->c->body, "metadata", "uid"));

        op->upsert = true;
        if (op->sub)
                err_not_found(err, op->rest, op->name);
        else if (!str_empty(uid))
                err_conflict(err, op->rest, op->name,
                             "uid mismatch: the provided object specified uid %" STR_FMT
                             ", and no existing object was found",
                             STR_ARG(uid));
        else if (apply_config(op, NULL, err) == 0)
                to_stored(op, err);
        if (err->err) {
                op_fail(op);
                return;
        }
        registry_write_new(op);
}

void registry_patch(struct op *op) {
        struct error *err = &op->c->error;
        struct json live;
        bool apply = op->c->patch == API_PATCH_APPLY;

        op->again = registry_patch;
        op->warnings.n = 0;
        if (op->rest->custom && op->c->patch == API_PATCH_STRATEGIC) {
                error_status(err, REASON_UNSUPPORTED_MEDIA,
                             "the body of the request was in an unknown format - accepted media types include: "
                             "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
                goto fail;
        }
        op_refresh(op);
        if (!op_load(op, registry_patch))
                return;
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
                if (registry_patched(op, &live, err) < 0)
                        goto fail;
                registry_default(op, &op->tree);
        }
        if (writes_check_current(op, apply ? op->c->body : &op->tree, err) < 0 || to_stored(op, err) < 0)
                goto fail;
        registry_write_changed(op);
        return;
fail:
        op_fail(op);
}
