/* Custom objects on their way in and out: what differs from built-in ones. */

#include "apiserver/extensions/crd_rules.h"
#include "apiserver/extensions/custom.h"
#include "schema/path.h"

/* ---- out ---- */

bool custom_is_in_version(const struct rest *r, const struct object *o) {
        static const char *const path[] = { "apiVersion", NULL };
        struct str raw = json_scan(object_text(o), path);

        return raw.n > 2 && str_eq(str_sub(raw, 1, raw.n - 1), r->api_version);
}

struct object *custom_view(const struct rest *r, struct object *o) {
        _cleanup_(arena_freep) struct arena *a = NULL;
        const struct custom *c = r->custom->of;
        bool same = custom_is_in_version(r, o);
        struct object *result;
        struct json copy, out;

        if (same && object_revision(o) > atomic_load_explicit(&c->since, memory_order_relaxed))
                return object_ref(o);
        if (!same && c->webhook)
                return NULL;
        a = arena_new(4096);
        copy = json_copy_shallow(a, object_json(o));
        json_set_str(a, &copy, "apiVersion", r->api_version);
        out = crd_complete(a, r->custom->schema, &copy);
        if (same && json_equal(&out, object_json(o)))
                return object_ref(o);
        result = object_from_tree(&out);
        object_set_revision(result, object_revision(o));
        return result;
}

/* ---- in ---- */

int custom_decode(struct op *op, const struct json *body, struct json *strict, struct json *ret, struct error *err) {
        return crd_prune(op->c->arena, op->rest->custom->schema, body, strict, ret, err);
}

static void check_replicas(struct field_errors *fe, const struct json *obj, const struct json *path) {
        _cleanup_free_ char *where = str_dup(json_str(path));
        const struct path *p = PATH(NULL, where);
        const struct json *v = path_first(obj, where);
        struct json zero = json_of_int(0);

        if (!v)
                return;
        if (!json_is(v, JSON_INT))
                field_invalid(fe, p, &zero, "%s accessor error: value is of the wrong type, expected int64", where);
        else if (v->i < 0)
                field_invalid(fe, p, v, "should be a non-negative integer");
        else if (v->i > INT32_MAX)
                field_invalid(fe, p, v, "should be less than or equal to %d", INT32_MAX);
}

void custom_validate(struct op *op, struct field_errors *fe, const struct json *obj, const struct json *old) {
        const struct custom_version *v = op->rest->custom;
        const struct crd_schema *s = v->schema;
        bool status = op->sub && old && str_eqc(op->c->subresource, "status");
        _cleanup_(arena_freep) struct arena *scratch = arena_new(0);
        struct field_errors before = { .a = scratch }, passed = { .a = op->c->arena };

        if (status) {
                const struct crd_schema *below = crd_property(s, STR("status"));

                if (below && json_getc(obj, "status"))
                        crd_validate_value(fe, PATH(NULL, "status"), below, json_getc(obj, "status"),
                                           json_getc(old, "status"));
        } else {
                crd_validate_value(fe, NULL, s, obj, old);
        }
        if (v->scale && !status)
                check_replicas(fe, obj, json_getc(v->scale, "specReplicasPath"));
        if (v->scale)
                check_replicas(fe, obj, json_getc(v->scale, "statusReplicasPath"));
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
