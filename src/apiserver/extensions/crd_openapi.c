/* The OpenAPI definition of a custom kind: what its author wrote, with what all objects have. Version 2 cannot say
 * everything, and then says less rather than something wrong:
 * k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder,
 * k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2 */
#include "apiserver/extensions/custom.h"
#include "json/build.h"

struct openapi_copy {
        struct arena *a;
        bool v3;
};

static struct json copy_schema(struct openapi_copy *c, const struct json *in);

static struct json copy_members(struct openapi_copy *c, const struct json *in) {
        struct json out = json_new_object();

        json_each_member(m, in)
                json_add(c->a, &out, json_key(m), copy_schema(c, &m->value));
        return out;
}

static bool is_dropped(const struct openapi_copy *c, struct str key, bool any) {
        static const char *const v2[] = { "oneOf", "anyOf", "not", "nullable", "default" };
        static const char *const shape[] = { "items", "properties", "type", "additionalProperties" };

        if (c->v3)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(v2); i++)
                if (str_eqc(key, v2[i]))
                        return true;
        for (size_t i = 0; any && i < ARRAY_SIZE(shape); i++)
                if (str_eqc(key, shape[i]))
                        return true;
        return false;
}

static void add_meta(struct openapi_copy *c, struct json *root) {
        static const char kind_doc[] = "The kind of object this is, as in the resource it is kept as; in CamelCase. "
                                       "Cannot be changed.";
        static const char version_doc[] = "The group and version of the schema this object follows: apps/v1, v1.";
        static const char meta_doc[] = "Name, labels and the rest of what all objects have.";
        static const char ref[] = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        struct json *properties = json_get_or_add_object(c->a, root, "properties"), link;

        link = json_of_printf(c->a, c->v3 ? "#/components/schemas/%s" : "#/definitions/%s", ref);
        json_setc(c->a, properties, "apiVersion", json_build(c->a, "{ type: 'string', description: %c }", version_doc));
        json_setc(c->a, properties, "kind", json_build(c->a, "{ type: 'string', description: %c }", kind_doc));
        json_setc(c->a, properties, "metadata",
                  c->v3 ? json_build(c->a, "{ allOf: [ { '$ref': %j } ], description: %c }", json_new(c->a, link),
                                     meta_doc)
                        : json_build(c->a, "{ '$ref': %j, description: %c }", json_new(c->a, link), meta_doc));
}

static void require(struct openapi_copy *c, struct json *schema, const char *name) {
        struct json *list = json_get_or_add_array(c->a, schema, "required");

        if (json_has_str(list, str_of(name)))
                return;
        *list = json_copy_shallow(c->a, list); /* the definition's own */
        json_push(c->a, list, json_of_cstr(name));
}

static struct json copy_schema(struct openapi_copy *c, const struct json *in) {
        /* Old clients check v2 strictly: null and unknown fields must pass where they are allowed. */
        bool any = json_bool(json_getc(in, "x-kubernetes-preserve-unknown-fields")) ||
                   json_bool(json_getc(in, "nullable")) || json_bool(json_getc(in, "x-kubernetes-int-or-string"));
        struct json out = json_new_object();

        if (!json_is(in, JSON_OBJECT))
                return *in;
        json_each_member(m, in) {
                struct str key = json_key(m);
                struct json v = m->value;

                if (is_dropped(c, key, any))
                        continue;
                if (str_eqc(key, "properties"))
                        v = copy_members(c, &m->value);
                else if (str_eqc(key, "items") || str_eqc(key, "additionalProperties"))
                        v = copy_schema(c, &m->value);
                json_add(c->a, &out, key, v);
        }
        if (c->v3 && json_bool(json_getc(in, "x-kubernetes-int-or-string")) && !json_getc(in, "anyOf") &&
            !json_getc(in, "allOf"))
                json_setc(c->a, &out, "oneOf", json_build(c->a, "[ { type: 'integer' }, { type: 'string' } ]"));
        if (json_bool(json_getc(in, "x-kubernetes-embedded-resource")) && (c->v3 || !any)) {
                add_meta(c, &out);
                require(c, &out, "kind");
                require(c, &out, "apiVersion");
        }
        return out;
}

struct json crd_openapi(struct arena *a, const struct schema_type *t, bool v3) {
        const struct crd_schema *s = crd_schema_of(t);
        const struct rest *r = &s->version->rest;
        struct openapi_copy c = { a, v3 };
        bool open = !v3 && s->preserve; /* kubectl then checks nothing below */
        struct json root = open ? json_new_object() : copy_schema(&c, s->source);

        json_set_cstr(a, &root, "type", "object");
        if (!open)
                add_meta(&c, &root);
        for (const char *const *f = r->resource->select_fields; f && *f; f++)
                json_push(a, json_get_or_add_array(a, &root, "x-kubernetes-selectable-fields"),
                          json_build(a, "{ fieldPath: %c }", *f));
        json_setc(a, &root, "x-kubernetes-group-version-kind",
                  json_build(a, "[ { group: %s, kind: %s, version: %s } ]", r->group, r->kind, r->version));
        return root;
}
