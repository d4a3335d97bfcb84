/* PATCH: the four kinds of patch make a document from the live one; then it is an update like any other. When another
 * writer is faster the patch is applied anew to what that one wrote. */
#include "apiserver/extensions/custom.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "json/scan.h"
#include "schema/decode.h"
#include "schema/strategic.h"
#include "schema/structure.h"
#include "schema/types.h"

#define MAX_JSON_PATCH 10000 /* operations */

/* Upstream's patches make maps of the objects that they have been in, and print those in the order of their keys:
 * wherever a merge patch says something, or everywhere (patch is NULL), as in its lists. */
static void sort_merged(struct arena *a, struct json *doc, const struct json *patch) {
        if (json_is(patch, JSON_ARRAY))
                patch = NULL;
        if (doc->type < JSON_ARRAY || (patch && !json_is(patch, JSON_OBJECT)))
                return;
        *doc = json_copy_shallow(a, doc);
        if (json_is(doc, JSON_OBJECT))
                json_sort(doc);
        for (size_t i = 0; !patch && json_is(doc, JSON_ARRAY) && i < doc->len; i++)
                sort_merged(a, &json_items(doc)[i], NULL);
        json_each_member(m, doc) {
                const struct json *below = json_get(patch, json_key(m));

                if (!patch || below)
                        sort_merged(a, &m->value, json_is(below, JSON_ARRAY) ? NULL : below);
        }
}

/* The same along the path of an operation of a JSON patch, "/spec/ports/0", but for its last part. */
static void sort_on_way(struct arena *a, struct json *doc, struct str path) {
        struct str rest = str_sub(path, 1, path.n), name;
        uint64_t i;

        if (path.n == 0 || doc->type < JSON_ARRAY || !str_split(&rest, '/', &name))
                return;
        *doc = json_copy_shallow(a, doc);
        if (json_is(doc, JSON_OBJECT)) {
                json_sort(doc);
                doc = rest.n ? json_get_mut(doc, name) : NULL;
        } else {
                doc = rest.n && str_to_u64(name, &i) == 0 && i < doc->len ? &json_items(doc)[i] : NULL;
        }
        if (doc)
                sort_on_way(a, doc, str_n(rest.p - 1, rest.n + 1));
}

/* What a patch has made, as upstream's has it in its hands. */
static void sort_patched(struct op *op, struct json *doc) {
        struct arena *a = op->c->arena;

        if (op->rest->custom || op->c->patch == API_PATCH_MERGE)
                sort_merged(a, doc, op->rest->custom ? NULL : op->c->body);
        else
                json_each_item(o, op->c->body)
                        for (size_t i = 0; i < 2; i++)
                                sort_on_way(a, doc, json_str(json_getc(o, i ? "from" : "path")));
}

/* Numbers as the patch spells them, so many as are left. */
static void spell_numbers(struct op *op, struct json *doc, size_t *left) {
        struct str source;

        if (json_is(doc, JSON_DOUBLE) && *left > 0) {
                --*left;
                if (json_find_number(op->c->text, false, doc->d, &source))
                        *doc = json_of_raw(source);
        }
        if (doc->type >= JSON_ARRAY)
                *doc = json_copy_shallow(op->c->arena, doc);
        json_each_item(it, doc)
                spell_numbers(op, it, left);
        json_each_member(m, doc)
                spell_numbers(op, &m->value, left);
}

/* The patch cannot be decoded: shown is the result, or of a strategic merge the patch. */
static int invalid_patch(struct op *op, const struct json *live, const struct json *doc, const char *text,
                         struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        struct json shown = *doc;
        size_t spelled = 100;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (op->c->patch == API_PATCH_STRATEGIC) {
                const struct schema_type *type = sent_of(op->c->arena, op->rest, op->sub).type;
                struct json left = strategic_left(op->c->arena, type, live, op->c->body);

                strategic_print(&b, &left);
        } else {
                sort_patched(op, &shown);
                spell_numbers(op, &shown, &spelled);
                json_write(&b, &shown);
        }
        field_invalid_str(&fe, PATH(NULL, "patch"), arena_str(op->c->arena, buf_str(&b)), "%s", text);
        return field_errors_finish(&fe, STR(""), STR(""), STR(""), err);
}

/* The patch is of the wrong JSON type; go_type: what the server would take. */
static int wrong_type(const struct json *patch, const char *prefix, const char *go_type, struct error *err) {
        return err_bad_request(err, "%sjson: cannot unmarshal %s into Go value of type %s", prefix,
                               json_type_in_go(patch), go_type);
}

/* Upstream keeps the reason to itself. */
static int rejected(struct error *err) {
        return error_status(err, REASON_INVALID, "the server rejected our request due to an error in our request");
}

#define OF_PATCH "json patch "

/* What is wrong with the operations: fields given twice, and those that JSON Patch does not know. */
static const struct json *check_operations(struct op *op) {
        static const char *const known[] = { "op", "path", "from", "value", NULL };
        struct arena *a = op->c->arena;
        struct json *found = json_new(a, json_new_array());
        size_t i = 0;

        if (str_has_prefix(json_str(json_item(op->c->strict, 0)), STR(OF_PATCH)))
                return op->c->strict; /* it is applied once more */
        json_each_item(o, op->c->body) {
                json_each_member(m, o) {
                        struct str at = arena_printf(a, "field \"[%zu].%" STR_FMT "\"", i, STR_ARG(json_key(m)));
                        struct str twice = arena_printf(a, "duplicate %" STR_FMT, STR_ARG(at));

                        if (json_has_str(op->c->strict, twice))
                                json_push(a, found, json_of_printf(a, OF_PATCH "%" STR_FMT, STR_ARG(twice)));
                        if (!str_among(json_key(m), known))
                                json_push(a, found, json_of_printf(a, OF_PATCH "unknown %" STR_FMT, STR_ARG(at)));
                }
                i++;
        }
        return json_len(found) ? found : NULL;
}

static int json_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        static const char *const texts[] = { "op", "path", "from", NULL };
        const struct json *patch = op->c->body;
        bool ignore = op->c->options.field_validation == API_VALIDATE_IGNORE;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (json_is(patch, JSON_NULL)) {
                *ret = *live;
                return 0;
        }
        if (json_type(patch) != JSON_ARRAY)
                return wrong_type(patch, ignore ? "" : "error decoding patch: ",
                                  ignore ? "jsonpatch.Patch" : "[]handlers.jsonPatchOp", err);
        json_each_item(o, patch)
                if (!json_is(o, JSON_OBJECT) && !json_is(o, JSON_NULL))
                        return wrong_type(o, ignore ? "" : "error decoding patch: ",
                                          ignore ? "jsonpatch.Operation" : "handlers.jsonPatchOp", err);
        json_each_item(o, patch)
                for (size_t i = 0; i < json_len(o) && !ignore; i++) {
                        const struct json_member *m = &json_members(o)[i];

                        if (str_among(json_key(m), texts) && m->value.type != JSON_STRING && m->value.type != JSON_NULL)
                                return err_bad_request(err,
                                                       "error decoding patch: json: cannot unmarshal %s into Go struct "
                                                       "field jsonPatchOp.%" STR_FMT " of type string",
                                                       json_type_in_go(&m->value), STR_ARG(json_key(m)));
                }
        if (json_len(patch) > MAX_JSON_PATCH)
                return error_status(
                                err, REASON_TOO_LARGE,
                                "Request entity too large: The allowed maximum operations in a JSON patch is %d, got "
                                "%zu",
                                MAX_JSON_PATCH, json_len(patch));
        if (json_patch_apply(op->c->arena, live, patch, ret, &e) < 0)
                return rejected(err);
        op->c->strict = check_operations(op);
        return 0;
}

static int merge_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        const struct json *patch = op->c->body;

        if (json_is(patch, JSON_NULL) ||
            (!json_is(patch, JSON_OBJECT) && op->c->options.field_validation == API_VALIDATE_IGNORE))
                return err_bad_request(err, "Invalid JSON Patch");
        if (!json_is(patch, JSON_OBJECT))
                return wrong_type(patch, "error decoding patch: ", "map[string]interface {}", err);
        *ret = json_merge_patch(op->c->arena, live, patch);
        return 0;
}

static int strategic_patch(struct op *op, const struct json *live, struct json *ret, struct error *err) {
        const struct schema_type *type = sent_of(op->c->arena, op->rest, op->sub).type;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (json_is(op->c->body, JSON_NULL)) {
                *ret = *live;
                return 0;
        }
        if (json_type(op->c->body) != JSON_OBJECT)
                return wrong_type(op->c->body, "", "map[string]interface {}", err);
        if (strategic_merge_patch(op->c->arena, type, live, op->c->body, ret, &e) == 0)
                return 0;
        const char *text = error_text(&e);
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
                return merge_patch(op, live, ret, err);
        case API_PATCH_STRATEGIC:
                return strategic_patch(op, live, ret, err);
        default:
                return error_status(err, REASON_UNSUPPORTED_MEDIA, "the body of the request was in an unknown format");
        }
}

int writes_match_patched(struct op *op, const struct json *meta, struct error *err) {
        struct str name = json_str(json_getc(meta, "name")), ns = json_str(json_getc(meta, "namespace"));

        if (op->rest->resource->namespaced && !str_empty(ns) && !str_eq(ns, op->namespace))
                return err_bad_request(err, OTHER_NAMESPACE);
        return writes_match_name(name, op->name, err);
}

/* kind and apiVersion: of a strategic merge they do not matter, upstream knows what it patches. */
static int check_type_meta(struct op *op, const struct json *live, struct json *doc, struct error *err) {
        static const char *const keys[] = { "apiVersion", "kind" };
        struct arena *a = op->c->arena;
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (op->c->patch != API_PATCH_STRATEGIC) {
                if (api_check_head(doc, &e) < 0)
                        return invalid_patch(op, live, doc, error_text(&e), err);
                if (!op->rest->custom || !str_empty(json_str(json_getc(doc, "kind"))))
                        return 0;
                sort_patched(op, doc);
                json_write(&b, doc);
                return invalid_patch(
                                op, live, doc,
                                arena_printf(a, "Object 'Kind' is missing in '%" STR_FMT "'", STR_ARG(buf_str(&b))).p,
                                err);
        }
        for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
                enum json_type t = json_type(json_getc(doc, keys[i]));

                if (t != JSON_NULL && t != JSON_STRING)
                        return invalid_patch(op, live, doc,
                                             t == JSON_INT ? "cannot convert int64 to string"
                                                           : "unrecognized type: string",
                                             err);
        }
        *doc = json_copy_shallow(a, doc);
        json_removec(doc, "kind");
        json_removec(doc, "apiVersion");
        return 0;
}

/* What says of no version what it is has nothing that upstream would know, not even a name. */
static int forget_all(struct op *op, const struct json *doc, struct error *err) {
        struct json unknown = json_new_array();

        json_each_member(m, doc)
                if (!str_eqc(json_key(m), "kind") && !str_eqc(json_key(m), "apiVersion"))
                        json_push(op->c->arena, &unknown,
                                  json_of_printf(op->c->arena, "unknown field \"%" STR_FMT "\"", STR_ARG(json_key(m))));
        json_sort_texts(&unknown);
        json_setc(op->c->arena, &op->tree, "metadata", json_new_object());
        return registry_strict_result(op, &unknown, err);
}

/* The patched document as a decoded object of the request's version. */
static int decode_patched(struct op *op, const struct json *live, struct json *doc, struct error *err) {
        _cleanup_error_ struct error e = ERROR_INIT;
        bool nameless = !op->rest->custom && op->c->patch != API_PATCH_STRATEGIC &&
                        !json_str(json_getc(doc, "apiVersion")).n;

        TRY(check_type_meta(op, live, doc, err));
        if (registry_decode(op, doc, &op->tree, &e) < 0) {
                struct json sorted = *doc;

                if (op->c->patch != API_PATCH_STRATEGIC) { /* of several errors the first is told */
                        error_clear(&e);
                        sort_patched(op, &sorted);
                        registry_decode(op, &sorted, &op->tree, &e);
                }
                const char *text = error_text(&e);
                ssize_t at = str_search(str_of(text), STR("handled as a "));

                if (at >= 0 && strchr(text + at, ':'))
                        text = strchr(text + at, ':') + 2;
                if (op->c->patch == API_PATCH_STRATEGIC && op->rest->strategy->convert &&
                    op->rest->strategy->convert(&op->tree, NULL) < 0)
                        return error_status(err, REASON_UNKNOWN, "%s", text);
                if (!nameless ||
                    (json_is(json_getc(doc, "kind"), JSON_STRING) &&
                     !str_eq(json_str(json_getc(doc, "kind")), sent_of(op->c->arena, op->rest, op->sub).kind)))
                        return invalid_patch(op, live, doc, text, err);
                op->tree = json_new_object();
        }
        error_clear(&e);
        if (nameless && forget_all(op, doc, &e) < 0)
                return invalid_patch(op, live, doc, error_text(&e), err);
        return writes_match_patched(op, json_getc(&op->tree, "metadata"), err);
}

int registry_patched(struct op *op, const struct json *live, struct error *err) {
        struct json doc;

        TRY(apply_patch(op, live, &doc, err));
        op->sent = json_new(op->c->arena, doc);
        return decode_patched(op, live, &doc, err);
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

/* ---- server-side apply ---- */

/* The config (or live) is not what the type wants; what and to_what name what could not be done. Who it is is told in
 * its own words. */
static int unfit(struct op *op, const struct json *live, const char *what, const char *to_what, const char *text,
                 struct error *err) {
        const struct sent as = sent_of(op->c->arena, op->rest, op->sub);
        const struct json *meta = json_getc(live ? live : op->c->body, "metadata");
        struct str namespace = json_str(json_getc(meta, "namespace")), name = json_str(json_getc(meta, "name"));

        return error_status(err, REASON_UNKNOWN,
                            "failed to %s (%" STR_FMT "/%" STR_FMT "; %" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT
                            ")%s: %s",
                            what, STR_ARG(namespace), STR_ARG(name), STR_ARG(as.group), STR_ARG(as.version),
                            STR_ARG(as.kind), to_what, text);
}

/* How and why. */
#define NOT_CUSTOM " to proper version", "request to convert CR to an invalid group/version: autoscaling/v1"

int registry_check_config(struct op *op, const struct json *live, struct error *err) {
        const struct sent as = sent_of(op->c->arena, op->rest, op->sub);
        const struct schema_type *t = as.type;
        const struct json *body = op->c->body, nobody = json_new_object();
        struct str kind = json_str(json_getc(body, "kind")), version = json_str(json_getc(body, "apiVersion"));
        _cleanup_error_ struct error e = ERROR_INIT, unfit_live = ERROR_INIT;
        struct str group = { 0 }, v = { 0 };

        if (str_empty(op->c->options.field_manager))
                return error_status(err, REASON_INVALID,
                                    "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is "
                                    "required for apply patch");
        if (json_type(body) != JSON_OBJECT && json_type(body) != JSON_NULL)
                return wrong_type(body, "error decoding YAML: error unmarshaling JSON: while decoding JSON: ",
                                  "map[string]interface {}", err);
        if (api_parse_group_version(version, &group, &v, NULL) < 0)
                kind = STR("");
        if (!str_eq(kind, as.kind) || !str_eq(version, as.api_version))
                return err_bad_request(err, "invalid object type: %" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT,
                                       STR_ARG(group), STR_ARG(v), STR_ARG(kind));
        if (op->rest->custom && !as.custom) {
                struct apply_opts opts =
                                writes_scale_opts(op, json_str(json_getc(op->rest->custom->scale, "specReplicasPath")));

                if (!apply_scale_is_owned(op->c->arena, object_json(op->old), &opts))
                        return unfit(op, &nobody, "create manager for existing fields: failed to convert live object",
                                     NOT_CUSTOM, err);
        }
        bool fits = !live || !(t->flags & SCHEMA_TYPE_ODD_SETS) ||
                    structure_check(op->c->arena, t, live, true, &unfit_live) == 0;
        if (!fits && !json_len(json_at_path(live, "metadata", "managedFields")))
                return unfit(op, live, "create manager for existing fields: failed to convert new object",
                             " to smd typed", error_text(&unfit_live), err);
        if (json_is(json_at_path(body, "metadata", "managedFields"), JSON_ARRAY))
                return err_bad_request(err, "metadata.managedFields must be nil");
        if (structure_check(op->c->arena, t, body, false, &e) < 0)
                return unfit(op, NULL, "create typed patch object", "", error_text(&e), err);
        return fits ? 0 : unfit(op, live, "create typed live object", "", error_text(&unfit_live), err);
}

int registry_refuse_scale(struct op *op, struct error *err) {
        return unfit(op, NULL, "convert new object", NOT_CUSTOM, err);
}

int registry_refuse_result(struct op *op, const char *text, struct error *err) {
        const struct sent as = sent_of(op->c->arena, op->rest, op->sub);
        struct str type = arena_printf(op->c->arena,
                                       " to proper version: unable to convert unstructured object to %" STR_FMT
                                       "/%" STR_FMT ", Kind=%" STR_FMT,
                                       STR_ARG(as.group), STR_ARG(as.version), STR_ARG(as.kind));

        return unfit(op, NULL, "convert new object", as.custom ? "" : type.p, text, err);
}

/* The result of applying is looked at as a stored object is: what metadata cannot be, a time say, is not there. */
static bool drop_malformed(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *meta = json_getc(&op->tree, "metadata");
        struct json kept = json_new_object(), one, out;

        json_each_member(m, meta) {
                one = json_new_object();
                json_add(a, &one, json_key(m), m->value);
                if (schema_decode(a, &type_ObjectMeta, &one, NULL, &out, NULL) == 0)
                        json_add(a, &kept, json_key(m), m->value);
        }
        if (kept.len == json_len(meta))
                return false;
        json_setc(a, &op->tree, "metadata", kept);
        return true;
}

/* Has the schema no place for something that would count in the generation? */
static bool is_pruned(struct op *op, const struct json *config) {
        struct json counts = json_copy_shallow(op->c->arena, config), lost = json_new_array(), ignored;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (api_subresource(op->rest->resource, STR("status")))
                json_removec(&counts, "status");
        return custom_decode(op, &counts, &lost, &ignored, &e) == 0 && json_len(&lost) > 0;
}

static int apply_config(struct op *op, const struct json *live, struct error *err) {
        struct arena *a = op->c->arena;
        struct apply_opts opts = writes_apply_opts(op);
        struct str uid;
        struct json config = json_copy_shallow(a, op->c->body), lost = json_new_array(), out = json_null(), *meta;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (!json_is(op->c->body, JSON_OBJECT) && !json_is(op->c->body, JSON_NULL))
                return wrong_type(op->c->body, "error decoding YAML: error unmarshaling JSON: while decoding JSON: ",
                                  "map[string]interface {}", err);
        TRY(registry_check_config(op, live, err));
        meta = meta_of(a, &config);
        *meta = json_copy_shallow(a, meta);
        opts.odd = &op->odd;
        op->seen = (struct apply_seen) { 0 };
        if (op->rest->custom || op->rest->stored->shared) /* conflicts of all versions are told */
                opts.seen = &op->seen;
        op->applied = true;
        int r = apply_merge(a, op->rest->resource->type, live, &config, &opts, &op->tree, &e);
        if (op->seen.conflicts)
                return 0;
        if (r == 0 && op->rest->custom) {
                r = custom_decode(op, &op->tree, &lost, &out, &e);
                if (r == -EINVAL && drop_malformed(op)) {
                        error_clear(&e);
                        r = custom_decode(op, &op->tree, &lost, &out, &e);
                }
                op->tree = out;
                op->odd = json_len(&lost) > 0 && is_pruned(op, op->c->body);
        }
        if (r == -EINVAL)
                return registry_refuse_result(op, error_text(&e), err);
        if (r < 0)
                return error_move(err, &e), r;
        if (op->rest->strategy->convert && op->rest->strategy->convert(&op->tree, &e) < 0)
                return unfit(op, NULL, "convert to unversioned", "", error_text(&e), err);
        TRY(registry_strict_result(op, op->c->strict, err));
        meta = meta_of(a, &op->tree);
        uid = json_str(json_getc(json_getc(op->c->body, "metadata"), "uid"));
        if (!live && !str_empty(uid))
                return err_conflict(err, op->rest, op->name,
                                    "uid mismatch: the provided object specified uid %" STR_FMT
                                    ", and no existing object was found",
                                    STR_ARG(uid));
        TRY(writes_match_patched(op, meta, err));
        if (op->rest->resource->namespaced && str_empty(json_str(json_getc(meta, "namespace"))))
                json_set_str(a, meta, "namespace", op->namespace);
        op->sent = op->c->body;
        if (!op->rest->custom ||
            !op->seen.same) /* what stays lacks defaults of a version in which it was not written */
                registry_default(op, &op->tree);
        return 0;
}

static void apply_new(struct op *op) {
        struct error *err = &op->c->error;

        op->upsert = true;
        if (op->sub &&
            !(op->rest->stored->strategy->flags & STRATEGY_STATUS_CREATES && str_eqc(op->c->subresource, "status")))
                err_not_found(err, op->rest, op->name);
        else if (apply_config(op, NULL, err) == 0 && writes_check_current(op, &op->tree, err) == 0)
                writes_to_stored(op, err);
        if (err->err)
                return op_fail(op);
        registry_write_new(op);
}

void registry_patch(struct op *op) {
        struct error *err = &op->c->error;
        struct json live;
        bool apply = op->c->patch == API_PATCH_APPLY;

        op->again = registry_patch;
        if (op->rest->custom && op->c->patch == API_PATCH_STRATEGIC) {
                error_status(err, REASON_UNSUPPORTED_MEDIA,
                             "the body of the request was in an unknown format - accepted media types include: "
                             "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
                goto fail;
        }
        op_refresh(op);
        if (!op_load(op, registry_patch))
                return;
        if (!op->old && !apply) {
                err_not_found(err, op->rest, op->name);
                goto fail;
        }
        if (op->c->refusal) {
                error_move(err, op->c->refusal);
                goto fail;
        }
        if (!op->old)
                return apply_new(op);
        if (live_tree(op, &live, err) < 0)
                goto fail;
        if (apply) {
                if (apply_config(op, &live, err) < 0)
                        goto fail;
                if (op->seen.conflicts)
                        return registry_write_changed(op);
        } else {
                if (registry_patched(op, &live, err) < 0)
                        goto fail;
                registry_default(op, &op->tree);
        }
        if (writes_to_stored(op, err) < 0)
                goto fail;
        registry_write_changed(op);
        return;
fail:
        op_fail(op);
}
