/* Who owns which fields: managedFields of what is written, in the version of the request, before admission changes it.
 * Server-side apply (patch.c) keeps its own. And whose the object is: metadata.ownerReferences. */
#include "apiserver/extensions/custom.h"
#include "apiserver/request.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"
#include "schema/types.h"

#define MAX_MANAGER 128

/* What of a text may be a manager's name: at most 128 bytes that can be seen. */
static struct str printable(struct arena *a, struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool clean = s.n <= MAX_MANAGER;
        unsigned rune;

        for (size_t i = 0; clean && i < s.n; i++)
                clean = s.p[i] >= ' ' && s.p[i] < 0x7f;
        for (size_t i = 0, n; !clean && i < s.n && b.n + (n = rune_at(s, i, &rune)) <= MAX_MANAGER; i += n)
                if (rune_is_printable(rune))
                        buf_add_str(&b, str_sub(s, i, i + n));
        return clean ? s : arena_str(a, buf_str(&b));
}

/* Who writes, when no fieldManager is given: the program that a User-Agent names, or the role in this process. */
static struct str writer_name(const struct api_call *c) {
        static const struct {
                struct str prefix, name;
        } roles[] = {
                { STR_INIT("system:node:"), STR_INIT("kubelet") },
                { STR_INIT("system:serviceaccount:kube-system:"), STR_INIT("kube-controller-manager") },
        };
        static const struct str system = STR_INIT("system:");
        ssize_t slash = str_find(c->user_agent, '/');

        if (c->user_agent.n > 0)
                return printable(c->arena, slash < 0 ? c->user_agent : str_sub(c->user_agent, 0, (size_t) slash));
        for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
                if (str_has_prefix(c->user.name, roles[i].prefix))
                        return roles[i].name;
        return str_has_prefix(c->user.name, system) ? str_sub(c->user.name, system.n, c->user.name.n) : c->user.name;
}

/* What the request cannot change, and so does not own. */
static const char *const *reset_fields(const struct op *op) {
        static const char *const none[] = { NULL }, *const status[] = { "status", NULL },
                                 *const both[] = { "spec", "status", NULL }, *const spec[] = { "spec", NULL },
                                 *const labels[] = { "spec", "metadata.labels", NULL },
                                 *const metadata[] = { "spec", "metadata", NULL },
                                 *const owners[] = { "spec", "metadata.deletionTimestamp", "metadata.ownerReferences",
                                                     NULL },
                                 *const verdict[] = { "spec", "status.conditions", NULL },
                                 *const signature[] = { "spec", "status.certificate", NULL };
        const struct rest *r = op->rest->stored;
        unsigned flags = r->strategy->flags;

        if (flags & STRATEGY_STATUS_IS_OPEN)
                return none;
        if (str_empty(op->c->subresource))
                return flags & STRATEGY_SPEC_IS_FIXED                ? both
                       : api_subresource(r->resource, STR("status")) ? status
                                                                     : none;
        if (!str_eqc(op->c->subresource, "status"))
                return str_eqc(op->c->subresource, "finalize")   ? status
                       : str_eqc(op->c->subresource, "approval") ? signature
                                                                 : none;
        return flags & STRATEGY_STATUS_KEEPS_LABELS                                      ? labels
               : flags & STRATEGY_STATUS_KEEPS_OWNERS                                    ? owners
               : flags & STRATEGY_STATUS_DISOWNS                                         ? metadata
               : flags & STRATEGY_SPEC_IS_FIXED                                          ? verdict
               : (flags & (STRATEGY_STATUS_ONLY | STRATEGY_STATUS_RESETS)) && !r->custom ? metadata
                                                                                         : spec;
}

static const struct schema_type *type_in_version(const void *custom, struct str api_version) {
        const struct custom *c = custom;

        for (size_t i = 0; i < c->n_versions; i++)
                if (str_eq(c->versions[i].rest.api_version, api_version))
                        return c->versions[i].resource.type;
        return NULL;
}

struct apply_opts writes_apply_opts(const struct op *op) {
        struct str given = op->c->options.field_manager;
        const struct custom_version *v = op->rest->custom;

        return (struct apply_opts) {
                .manager = str_empty(given) ? writer_name(op->c) : given,
                .subresource = op->c->subresource,
                .api_version = op->rest->api_version,
                .force = op->c->options.force,
                .custom = v,
                .type_of = v ? type_in_version : NULL,
                .versions = v ? v->of : NULL,
                .alike = v ? !v->of->webhook : op->rest->stored->shared,
                .one_version = v || op->rest->stored->shared, /* of the others: op_track_versions() */
                .now_wall_ns = now_wall_ns(),
                .reset = reset_fields(op),
        };
}

static bool has_scale(const void *custom, struct str api_version) {
        const struct custom *c = custom;

        for (size_t i = 0; i < c->n_versions; i++)
                if (str_eq(c->versions[i].rest.api_version, api_version))
                        return c->versions[i].scale;
        return false;
}

struct apply_opts writes_scale_opts(const struct op *op, struct str path) {
        struct apply_opts opts = writes_apply_opts(op);

        opts.one_version = false;
        opts.alike = false; /* it is the Scale's type that all has to be of, and that has no other version */
        opts.scale = arena_cstr(op->c->arena, str_sub(path, 1, path.n));
        opts.has_scale = op->rest->custom ? has_scale : NULL;
        return opts;
}

void writes_track_sent(struct op *op, struct json *body) {
        struct apply_opts opts = writes_apply_opts(op);
        struct sent as = sent_of(op->c->arena, op->rest, op->sub);

        opts.api_version = as.api_version;
        apply_track_update(op->c->arena, as.type, NULL, body, &opts);
}

/* Is the new object of the definition's kind (a patch of the status may say otherwise), and has the definition all the
 * versions in which managers have written, be it as the client says? Else upstream forgets them all. */
static bool can_be_tracked(struct op *op, const struct json *old, const struct json *new) {
        const struct rest *r = op->rest->stored;
        const struct custom *c = r->custom->of;
        const struct json *sent = op->sub ? NULL : json_at_path(new, "metadata", "managedFields");
        bool counts = json_len(sent) > 0 && (json_len(sent) > 1 || json_len(json_item(sent, 0)) > 0) &&
                      apply_check_managers(op->c->arena, new, NULL) == 0;

        json_each_item(e, counts ? sent : json_at_path(old, "metadata", "managedFields"))
                if (!type_in_version(c, TEXT(e, "apiVersion")))
                        return false;
        return str_eq(TEXT(new, "kind"), r->kind) && type_in_version(c, TEXT(new, "apiVersion"));
}

void writes_track_fields(struct op *op, const struct json *old, struct json *obj) {
        const struct rest *r = op->rest->stored;

        if (op->applied || op->c->untracked)
                return;
        if (op->tracked)
                return;
        if (r->custom && !can_be_tracked(op, old, obj)) {
                json_removec(meta_of(op->c->arena, obj), "managedFields");
                return;
        }
        struct apply_opts opts = writes_apply_opts(op);
        opts.api_version = r->api_version;
        if (old && !r->custom)
                opts.sent = op->c->verb == API_PATCH ? op->sent : op->c->body;
        apply_track_update(op->c->arena, r->resource->type, old, obj, &opts);
}

void writes_keep_times(struct op *op) {
        struct arena *a = op->c->arena;
        const struct json *old = object_json(op->old), *was = json_at_path(old, "metadata", "managedFields"),
                          *now = json_at_path(&op->tree, "metadata", "managedFields");
        struct json list = json_new_array(), same, *meta;

        if (json_len(now) == 0 || json_len(now) != json_len(was))
                return;
        for (size_t i = 0; i < json_len(now); i++) {
                struct json e = json_copy_shallow(a, json_item(now, i));
                const struct json *time = json_getc(json_item(was, i), "time");

                json_removec(&e, "time");
                if (time)
                        json_setc(a, &e, "time", *time);
                if (!json_equal(&e, json_item(was, i)))
                        return;
                json_push(a, &list, e);
        }
        same = json_copy_shallow(a, &op->tree);
        meta = json_get_or_add_object(a, &same, "metadata");
        *meta = json_copy_shallow(a, meta);
        json_setc(a, meta, "managedFields", list);
        if (json_equal(&same, old))
                op->tree = same;
}

int writes_to_stored(struct op *op, struct error *err) {
        const struct rest *r = op->rest;
        struct arena *a = op->c->arena;
        struct json old, seen;

        op->tracked = false;
        if (r->stored == r)
                return 0;
        if (op->old)
                TRY(schema_convert(a, r->stored->resource, r->resource, object_json(op->old), &old, err));
        bool track = !r->custom && !op->applied;
        bool lossy = r->resource == &res_horizontalpodautoscalers_v1; /* what it becomes in storage has an owner, too */
        struct apply_opts opts = writes_apply_opts(op);
        if (track && !lossy)
                apply_track_update(a, r->resource->type, op->old ? &old : NULL, &op->tree, &opts);
        op->tracked = track;
        TRY(schema_convert(a, r->resource, r->stored->resource, &op->tree, &op->tree, err));
        if (!track || !lossy)
                return 0;
        TRY(schema_convert(a, r->stored->resource, r->resource, &op->tree, &seen, err));
        apply_track_update(a, r->resource->type, op->old ? &old : NULL, &seen, &opts);
        const struct json *managers = json_at_path(&seen, "metadata", "managedFields");
        json_removec(meta_of(a, &op->tree), "managedFields");
        if (managers)
                json_setc(a, meta_of(a, &op->tree), "managedFields", *managers);
        return 0;
}

/* ---- owners of the whole object ---- */

void writes_merge_owners(struct op *op, struct json *obj, const char *when) {
        const struct json *sent = json_at_path(obj, "metadata", "ownerReferences");
        _cleanup_buf_ struct buf twins = BUF_INIT;
        _cleanup_(map_freep) struct map *seen = NULL;
        struct json list = json_new_array();
        size_t n = json_len(sent);

        if (n < 2)
                return;
        seen = map_new(NULL);
        for (size_t i = 0; i < n; i++) {
                const struct json *o = json_item(sent, i);
                _cleanup_buf_ struct buf text = BUF_INIT;

                each_word(field, "apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion") {
                        if (json_getc(o, field))
                                json_write(&text, json_getc(o, field));
                        buf_putc(&text, ',');
                }
                if (map_put(seen, buf_str(&text), (void *) o))
                        json_push(op->c->arena, &list, *o);
                else
                        buf_printf(&twins, "%s%" STR_FMT, i > list.len ? ", " : "",
                                   STR_ARG(json_str(json_getc(o, "uid"))));
        }
        if (list.len == n)
                return;
        op_warn(op, arena_printf(op->c->arena,
                                 ".metadata.ownerReferences contains duplicate entries%s; API server dedups owner "
                                 "references in 1.20+, and may reject such requests as early as 1.24; please fix your "
                                 "requests; duplicate UID(s) observed: %" STR_FMT,
                                 when, STR_ARG(buf_str(&twins))));
        json_setc(op->c->arena, meta_of(op->c->arena, obj), "ownerReferences", list);
}
