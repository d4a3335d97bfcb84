/* Checks the expressions of ValidatingAdmissionPolicies against the types that their rules name, and says in the status
 * what could not work. Wildcards name no type. */
#include "base/vec.h"
#include "cel/policy.h"
#include "controllers/controller.h"
#include "schema/types.h"

#define MAX_TYPES 10

struct checked {
        struct str group, version, kind;
        const struct cel_type *type;
        struct cel_policy *policy;
};
typedef VEC(struct checked) checked_vec;

/* ---- which types ---- */

/* The schema of a version of a custom resource, by plural or kind. */
static const struct json *custom_schema(const struct controller *c, struct str group, struct str version,
                                        struct str name, struct str *ret_kind) {
        struct informer *definitions = controller_informer(c, &res_customresourcedefinitions);

        map_each(it, informer_objects(definitions)) {
                const struct json *spec = json_getc(object_json(it.value), "spec"), *names = json_getc(spec, "names");

                if (!str_eq(json_str(json_getc(spec, "group")), group))
                        continue;
                *ret_kind = json_str(json_getc(names, "kind"));
                if (!str_eq(json_str(json_getc(names, "plural")), name) && !str_eq(*ret_kind, name))
                        continue;
                json_each_item(v, json_getc(spec, "versions"))
                        if (str_eq(json_str(json_getc(v, "name")), version) && json_bool(json_getc(v, "served")))
                                return json_at_path(v, "schema", "openAPIV3Schema");
        }
        return NULL;
}

/* Rules of a definition see names only; policies see what all objects have. */
static const struct cel_type *with_metadata(struct arena *a, const struct cel_type *t) {
        struct cel_type *copy = arena_new_of(a, struct cel_type);
        struct cel_field *fields;

        if (!t || t->kind != CEL_OBJECT)
                return t;
        fields = arena_array(a, struct cel_field, t->n_fields);
        for (size_t i = 0; i < t->n_fields; i++) {
                fields[i] = t->fields[i];
                if (str_eqc(fields[i].name, "metadata"))
                        fields[i].type = cel_type_of_schema(a, &type_ObjectMeta);
        }
        *copy = *t;
        copy->fields = fields;
        return copy;
}

/* By plural or kind; NULL when there is none such. */
static const struct cel_type *find_type(const struct controller *c, struct arena *a, struct str group,
                                        struct str version, struct str name, struct str *ret_kind) {
        const struct api_resource *r = api_find_resource(group, version, name);
        const struct json *schema;

        if (!r)
                r = api_find_kind(group, version, name);
        if (r) {
                *ret_kind = str_of(r->kind);
                return cel_type_of_schema(a, r->type);
        }
        schema = custom_schema(c, group, version, name, ret_kind);
        return schema ? with_metadata(a, cel_type_of_openapi(a, schema, true, *ret_kind)) : NULL;
}

/* Whether there is such a type. */
static bool add_type(const struct controller *c, struct arena *a, checked_vec *types, struct checked t,
                     struct str plural) {
        t.type = find_type(c, a, t.group, t.version, plural, &t.kind);
        for (size_t i = 0; i < types->n && t.type; i++)
                if (str_eq(types->v[i].group, t.group) && str_eq(types->v[i].version, t.version) &&
                    str_eq(types->v[i].kind, t.kind))
                        return true;
        if (t.type)
                vec_push(types, t);
        return t.type;
}

static int by_kind(const void *a, const void *b) {
        const struct checked *x = a, *y = b;
        int r = str_cmp(x->group, y->group);

        if (r == 0)
                r = str_cmp(x->version, y->version);
        return r ? r : str_cmp(x->kind, y->kind);
}

static bool has_wildcard(const struct json *list) {
        json_each_item(i, list)
                if (str_find(json_str(i), '*') >= 0)
                        return true;
        return false;
}

static struct json sorted(struct arena *a, const struct json *list) {
        struct json copy = list ? json_copy_shallow(a, list) : json_new_array();

        json_sort_texts(&copy);
        return copy;
}

/* Those of a rule in the order of their names, until there are too many. */
static bool find_types_of(const struct controller *c, struct arena *a, const struct json *rule, checked_vec *types) {
        struct json groups = sorted(a, json_getc(rule, "apiGroups")),
                    versions = sorted(a, json_getc(rule, "apiVersions")),
                    resources = sorted(a, json_getc(rule, "resources"));
        size_t n = 0;

        if (has_wildcard(&groups) || has_wildcard(&versions))
                return true;
        json_each_item(g, &groups)
                json_each_item(v, &versions)
                        json_each_item(r, &resources) {
                                struct checked t = { .group = json_str(g), .version = json_str(v) };

                                n += add_type(c, a, types, t, json_str(r));
                                if (str_empty(t.group) && n < MAX_TYPES) { /* is any group: two have events */
                                        t.group = STR("events.k8s.io");
                                        n += add_type(c, a, types, t, json_str(r));
                                }
                                if (n == MAX_TYPES)
                                        return false;
                        }
        return true;
}

static void find_types(const struct controller *c, struct arena *a, const struct json *spec, checked_vec *types) {
        json_each_item(rule, json_at_path(spec, "matchConstraints", "resourceRules"))
                if (!find_types_of(c, a, rule, types))
                        break;
        if (types->n)
                qsort(types->v, types->n, sizeof(*types->v), by_kind);
}

static const struct cel_type *param_type(const struct controller *c, struct arena *a, const struct json *spec) {
        const struct json *kind = json_getc(spec, "paramKind");
        struct str group, version, name;

        if (!kind || api_parse_group_version(json_str(json_getc(kind, "apiVersion")), &group, &version, NULL) < 0)
                return NULL;
        return find_type(c, a, group, version, json_str(json_getc(kind, "kind")), &name);
}

/* ---- what is wrong ---- */

/* With one expression, as checked against one type: a line for each. */
static void add_issue(struct buf *text, const struct checked *t, const struct cel_expression *x) {
        static const struct str prefix = STR_INIT("compilation failed: ");

        if (!str_has_prefix(x->error, prefix))
                return;
        buf_printf(text, "%s%" STR_FMT "/%" STR_FMT ", Kind=%" STR_FMT ": %" STR_FMT "\n", text->n ? "\n" : "",
                   STR_ARG(t->group), STR_ARG(t->version), STR_ARG(t->kind),
                   STR_ARG(str_sub(x->error, prefix.n, x->error.n)));
}

static void add_warning(struct arena *a, struct json *list, size_t i, const char *field, const struct buf *text) {
        struct json w = json_new_object();

        if (text->n == 0)
                return;
        json_setc(a, &w, "fieldRef", json_of_printf(a, "spec.validations[%zu].%s", i, field));
        json_setc(a, &w, "warning", json_of_copy(a, str_n(text->p, text->n)));
        json_push(a, list, w);
}

static struct json check(const struct controller *c, struct arena *a, const struct json *spec) {
        const struct cel_type *params = param_type(c, a, spec);
        struct json warnings = json_new_array(), known = json_copy_shallow(a, spec);
        checked_vec types = { 0 };

        if (!params) /* nobody knows them */
                json_removec(&known, "paramKind");
        find_types(c, a, spec, &types);
        for (size_t i = 0; i < types.n; i++)
                types.v[i].policy = cel_policy_new(&known, types.v[i].type, params);
        for (size_t i = 0; i < json_len(json_getc(spec, "validations")); i++) {
                _cleanup_buf_ struct buf test = BUF_INIT, message = BUF_INIT;

                for (size_t k = 0; k < types.n; k++) {
                        add_issue(&test, &types.v[k], &types.v[k].policy->validations[i].x);
                        add_issue(&message, &types.v[k], &types.v[k].policy->validations[i].message_x);
                }
                add_warning(a, &warnings, i, "expression", &test);
                add_warning(a, &warnings, i, "messageExpression", &message);
        }
        for (size_t i = 0; i < types.n; i++)
                cel_policy_free(types.v[i].policy);
        vec_free(&types);
        return warnings;
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct object *policy = informer_get(controller_informer(c, &res_validatingadmissionpolicies), key);
        const struct json *j = policy ? object_json(policy) : NULL;
        int64_t generation = json_int(json_at_path(j, "metadata", "generation"));
        struct json status = json_new_object(), checking = json_new_object(), warnings;

        if (!j || generation <= json_int(json_at_path(j, "status", "observedGeneration")))
                return 0;
        warnings = check(c, a, json_getc(j, "spec"));
        if (json_getc(j, "status"))
                status = json_copy_shallow(a, json_getc(j, "status"));
        if (json_len(&warnings) > 0)
                json_setc(a, &checking, "expressionWarnings", warnings);
        bool had = json_getc(json_getc(&status, "typeChecking"), "expressionWarnings");
        json_removec(&status, "typeChecking");
        json_set_int(a, &status, "observedGeneration", generation);
        if (json_len(&warnings) > 0 || !had) /* as upstream applies it, the list takes what it was in with it */
                json_setc(a, &status, "typeChecking", checking);
        return controller_update_status(c, &res_validatingadmissionpolicies, policy, &status, err);
}

const struct controller_class validatingadmissionpolicystatus_controller = {
        .name = "validatingadmissionpolicy-status-controller",
        .watches = { { &res_validatingadmissionpolicies, enqueue_self }, { &res_customresourcedefinitions, NULL } },
        .reconcile = reconcile,
};
