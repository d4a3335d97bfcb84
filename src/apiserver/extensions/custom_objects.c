/* Custom objects on their way in and out: what differs from built-in ones. */

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "schema/defaults.h"
#include "schema/strategic.h"

/* ---- out ---- */

static struct str kept_version(const struct object *o) {
        static const char *const path[] = { "apiVersion", NULL };
        struct str raw = json_scan(object_text(o), path);

        return raw.n > 2 ? str_sub(raw, 1, raw.n - 1) : STR("");
}

bool custom_is_in_version(const struct rest *r, const struct object *o) {
        return str_eq(kept_version(o), r->api_version);
}

static bool has_version(const struct custom *c, struct str version) {
        for (size_t i = 0; i < c->n_versions; i++)
                if (str_eq(c->versions[i].rest.api_version, version))
                        return true;
        return false;
}

void custom_look(struct custom *c, struct store_snapshot *snap) {
        if (c->since == 0) /* it has never been another */
                return;
        store_each(it, snap, c->storage->rest.prefix)
                if (!has_version(c, kept_version(it.object))) {
                        c->foreign = arena_str(c->arena, kept_version(it.object));
                        return;
                }
}

int err_foreign(struct error *err, struct str version) {
        return error_status(err, REASON_UNKNOWN, "request to convert CR from an invalid group/version: %" STR_FMT,
                            STR_ARG(version));
}

int custom_check_version(const struct rest *r, const struct object *o, struct error *err) {
        const struct custom *c = r->custom ? r->custom->of : NULL;

        if (!c || c->terminating || (str_empty(c->foreign) && object_revision(o) > c->born) ||
            has_version(c, kept_version(o)))
                return 0;
        return err_foreign(err, kept_version(o));
}

struct json custom_as_kept(struct arena *a, const struct rest *r, const struct json *doc) {
        const struct custom *c = r->custom->of;
        const struct custom_version *kept = r->custom;

        for (size_t i = 0; i < c->n_versions; i++)
                if (str_eq(c->versions[i].rest.api_version, TEXT(doc, "apiVersion")))
                        kept = &c->versions[i];
        return crd_complete(a, kept->schema, doc);
}

struct json custom_in_version(struct arena *a, const struct rest *r, const struct json *doc) {
        struct json kept = custom_as_kept(a, r, doc);

        json_set_str(a, &kept, "apiVersion", r->api_version);
        return crd_narrow(a, r->custom->schema, &kept);
}

struct object *custom_view(const struct rest *r, struct object *o) {
        const struct custom *c = r->custom->of;
        bool same = custom_is_in_version(r, o);

        if (same && object_revision(o) > atomic_load_explicit(&c->since, memory_order_relaxed))
                return object_ref(o);
        if (!same && c->webhook)
                return NULL;
        _cleanup_(arena_freep) struct arena *a = arena_new(4096);
        struct json out = same ? crd_complete(a, r->custom->schema, object_json(o))
                               : custom_in_version(a, r, object_json(o));
        if (same && json_equal(&out, object_json(o)))
                return object_ref(o);
        schema_reorder(a, r->resource->type, &out);
        struct object *result = object_from_tree(&out);
        object_set_revision(result, object_revision(o));
        return result;
}

/* ---- in ---- */

int custom_decode(struct op *op, const struct json *body, struct json *strict, struct json *ret, struct error *err) {
        if (json_is(json_getc(body, "apiVersion"), JSON_NULL))
                return error_set(err, -EINVAL,
                                 ".apiVersion accessor error: <nil> is of the type <nil>, expected string");
        return crd_prune(op->c->arena, op->rest->custom->schema, body, strict, ret, err);
}

bool custom_check_kind(struct field_errors *fe, const struct rest *r, const struct json *obj) {
        struct str kind = json_str(json_getc(obj, "kind")), version = json_str(json_getc(obj, "apiVersion"));
        size_t before = fe->list.n;

        INVALID_STR_IF(!str_eq(kind, r->kind), PATH(NULL, "kind"), kind, "must be %" STR_FMT, STR_ARG(r->kind));
        if (!str_eq(version, r->api_version))
                field_invalid_str(fe, PATH(NULL, "apiVersion"), version, "must be %" STR_FMT, STR_ARG(r->api_version));
        return fe->list.n == before;
}

/* What lies at a path of the scale subresource; NULL when nothing does, or something else than wanted, which is told.
 */
static const struct json *scale_value(struct field_errors *fe, const struct json *obj, struct str where,
                                      enum json_type want) {
        const struct json zero = want == JSON_INT ? json_of_int(0) : json_of_cstr(""), *v = obj;
        struct str rest = str_sub(where, 1, where.n), name;
        _cleanup_buf_ struct buf b = BUF_INIT;
        bool whole = false;

        while (json_is(v, JSON_OBJECT) && !whole) {
                whole = !str_split(&rest, '.', &name) || rest.n == 0;
                v = json_get(v, name);
        }
        if (!v || (whole ? json_is(v, want) : v->type == JSON_NULL))
                return whole ? v : NULL;
        if (!whole)
                str_split(&rest, '.', &name);
        strategic_print(&b, v);
        field_invalid(fe, PATH(NULL, arena_cstr(fe->a, where)), &zero,
                      "%" STR_FMT " accessor error: %" STR_FMT " is of the type %s, expected %s",
                      STR_ARG(str_n(where.p, (size_t) (name.p + name.n - where.p))), STR_ARG(buf_str(&b)),
                      strategic_type(v), !whole ? "map[string]interface{}" : strategic_type(&zero));
        return NULL;
}

static void check_replicas(struct field_errors *fe, const struct json *obj, const struct json *path) {
        const struct json *v = scale_value(fe, obj, json_str(path), JSON_INT);
        const struct path *p = PATH(NULL, arena_cstr(fe->a, json_str(path)));

        if (v && v->i < 0)
                field_invalid(fe, p, v, "should be a non-negative integer");
        else if (v && v->i > INT32_MAX)
                field_invalid(fe, p, v, "should be less than or equal to %d", INT32_MAX);
}

void custom_validate(struct op *op, struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct custom_version *v = op->rest->custom;
        const struct crd_schema *s = v->schema;
        bool status = op->sub && old && str_eqc(op->c->subresource, "status");
        _cleanup_(arena_freep) struct arena *scratch = arena_new(0);
        struct field_errors before = { .a = scratch }, passed = { .a = op->c->arena };

        if (!custom_check_kind(fe, op->rest, obj))
                return;
        if (status) {
                const struct crd_schema *below = crd_property(s, STR("status"));
                const struct json *now = json_getc(obj, "status"), *was = json_getc(old, "status");

                if (below && now && (was || now->type != JSON_NULL)) /* null is what was not there */
                        crd_validate_value(fe, PATH(NULL, "status"), below, now, was);
        } else {
                crd_validate_value(fe, NULL, s, obj, old);
        }
        if (v->scale && !status)
                check_replicas(fe, obj, json_getc(v->scale, "specReplicasPath"));
        if (v->scale)
                check_replicas(fe, obj, json_getc(v->scale, "statusReplicasPath"));
        if (json_str(json_getc(v->scale, "labelSelectorPath")).n > 0)
                scale_value(fe, obj, json_str(json_getc(v->scale, "labelSelectorPath")), JSON_STRING);
        if (!status)
                crd_validate_embedded(fe, NULL, s, obj);
        if (!old || crd_validate_lists(&before, NULL, s, old))
                crd_validate_lists(fe, NULL, s, obj);
        crd_rules_evaluate(fe, &passed, s, obj, old);
        for (size_t i = 0; i < passed.list.n; i++)
                op_warn(op, arena_printf(op->c->arena, "%" STR_FMT ": %" STR_FMT, STR_ARG(passed.list.v[i].field),
                                         STR_ARG(passed.list.v[i].body)));
}

void custom_warn(struct op *op, const struct json *obj, const struct json *old) {
        const struct json *before = json_at_path(old, "metadata", "finalizers");

        json_each_item(f, json_at_path(obj, "metadata", "finalizers")) {
                struct str s = json_str(f);
                bool standard = str_eqc(s, "orphan") || str_eqc(s, "foregroundDeletion") || str_eqc(s, "kubernetes");

                if (json_has_str(before, s) || standard || str_find(s, '/') >= 0)
                        continue;
                op_warn(op,
                        arena_printf(op->c->arena,
                                     "metadata.finalizers: \"%" STR_FMT "\": prefer a domain-qualified finalizer name "
                                     "%sto avoid accidental conflicts with other finalizer writers",
                                     STR_ARG(s), str_find(s, '.') >= 0 ? "including a path (/) " : ""));
        }
}
