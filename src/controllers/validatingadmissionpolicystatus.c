/* Checks the expressions of ValidatingAdmissionPolicies against the types that their rules name, and says in the status
 * what could not work. Custom resources and wildcards are not checked. */
#include "base/vec.h"
#include "cel/policy.h"
#include "controllers/controller.h"
#include "schema/types.h"

#define MAX_TYPES 10

typedef VEC(const struct api_resource *) type_vec;

static int by_kind(const void *a, const void *b) {
        const struct api_resource *x = *(const struct api_resource *const *) a,
                                  *y = *(const struct api_resource *const *) b;
        int r = strcmp(x->group, y->group);

        if (r == 0)
                r = strcmp(x->version, y->version);
        return r ? r : strcmp(x->kind, y->kind);
}

static void add_type(type_vec *types, const struct api_resource *r) {
        for (size_t i = 0; i < types->n; i++)
                if (types->v[i] == r)
                        return;
        if (r && types->n < MAX_TYPES)
                vec_push(types, r);
}

static bool has_wildcard(const struct json *list) {
        json_each_item(i, list)
                if (str_find(json_str(i), '*') >= 0)
                        return true;
        return false;
}

static void find_types(const struct json *spec, type_vec *types) {
        json_each_item(rule, json_at_path(spec, "matchConstraints", "resourceRules")) {
                const struct json *groups = json_getc(rule, "apiGroups"), *versions = json_getc(rule, "apiVersions");

                if (has_wildcard(groups) || has_wildcard(versions))
                        continue;
                json_each_item(g, groups)
                        json_each_item(v, versions)
                                json_each_item(r, json_getc(rule, "resources"))
                                        add_type(types, api_find_resource(json_str(g), json_str(v), json_str(r)));
        }
        if (types->n)
                qsort(types->v, types->n, sizeof(*types->v), by_kind);
}

/* What is wrong with one expression, as checked against one type: a line for each. */
static void add_issue(struct buf *text, const struct api_resource *r, const struct cel_expression *x) {
        if (!str_has_prefix(x->error, STR("compilation failed")))
                return;
        buf_printf(text, "%s%s/%s, Kind=%s: %" STR_FMT "\n", text->n ? "\n" : "", r->group, r->version, r->kind,
                   STR_ARG(x->error));
}

static void add_warning(struct arena *a, struct json *list, size_t i, const char *field, const struct buf *text) {
        struct json w = json_new_object();

        if (text->n == 0)
                return;
        json_setc(a, &w, "fieldRef", json_of_printf(a, "spec.validations[%zu].%s", i, field));
        json_setc(a, &w, "warning", json_of_copy(a, str_n(text->p, text->n)));
        json_push(a, list, w);
}

static struct json check(struct arena *a, const struct json *spec, const type_vec *types) {
        struct cel_policy **checked = arena_array(a, struct cel_policy *, types->n);
        struct json warnings = json_new_array();

        for (size_t i = 0; i < types->n; i++)
                checked[i] = cel_policy_new(spec, cel_type_of_schema(a, types->v[i]->type), NULL);
        for (size_t i = 0; i < json_len(json_getc(spec, "validations")); i++) {
                _cleanup_buf_ struct buf test = BUF_INIT, message = BUF_INIT;

                for (size_t k = 0; k < types->n; k++) {
                        add_issue(&test, types->v[k], &checked[k]->validations[i].x);
                        add_issue(&message, types->v[k], &checked[k]->validations[i].message_x);
                }
                add_warning(a, &warnings, i, "expression", &test);
                add_warning(a, &warnings, i, "messageExpression", &message);
        }
        for (size_t i = 0; i < types->n; i++)
                cel_policy_free(checked[i]);
        return warnings;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *policy = informer_get(controller_informer(c, &res_validatingadmissionpolicies), key);
        const struct json *j = policy ? object_json(policy) : NULL;
        int64_t generation = json_int(json_at_path(j, "metadata", "generation"));
        struct json status = json_new_object(), checking = json_new_object(), warnings;
        type_vec types = { 0 };

        if (!j || generation <= json_int(json_at_path(j, "status", "observedGeneration")))
                return 0;
        find_types(json_getc(j, "spec"), &types);
        warnings = check(a, json_getc(j, "spec"), &types);
        vec_free(&types);
        if (json_getc(j, "status"))
                status = json_copy_shallow(a, json_getc(j, "status"));
        if (json_len(&warnings) > 0)
                json_setc(a, &checking, "expressionWarnings", warnings);
        json_set_int(a, &status, "observedGeneration", generation);
        json_setc(a, &status, "typeChecking", checking);
        return controller_update_status(c, &res_validatingadmissionpolicies, policy, &status, err);
}

const struct controller_class validatingadmissionpolicystatus_controller = {
        .name = "validatingadmissionpolicy-status-controller",
        .watches = { { &res_validatingadmissionpolicies, enqueue_self } },
        .reconcile = reconcile,
};
