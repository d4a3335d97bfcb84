/* The OpenAPI definition of a custom kind: what its author wrote, with what all objects have. Version 2 cannot say
 * everything, and then says less rather than something wrong:
 * k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder,
 * k8s.io/apiextensions-apiserver/pkg/controller/openapi/v2 */
#include "apiserver/extensions/custom.h"
#include "json/build.h"
#include "schema/openapi.h"

#define META "io.k8s.apimachinery.pkg.apis.meta.v1."

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

/* Old clients check v2 strictly: null and unknown fields must pass where they are allowed. */
static bool is_dropped(const struct openapi_copy *c, const struct json *in, struct str key) {
        bool nullable = json_bool(json_getc(in, "nullable")),
             open = json_bool(json_getc(in, "x-kubernetes-preserve-unknown-fields"));
        struct str type = json_str(json_getc(in, "type"));

        if (str_among(key, WORDS("example", "externalDocs")))
                return true;
        if (c->v3)
                return false;
        if (str_eqc(key, "required"))
                return json_bool(json_at_path(in, "additionalProperties", "nullable"));
        if (str_eqc(key, "type"))
                return nullable || (open && str_among(type, WORDS("object", "array")));
        return str_among(key, WORDS("allOf", "anyOf", "oneOf", "not", "nullable", "default")) ||
               ((nullable || open) && str_among(key, WORDS("items", "properties")));
}

/* Without those that may be null, which v2 cannot say. */
static struct json copy_required(struct openapi_copy *c, const struct json *in) {
        struct json out = json_new_array();

        json_each_item(name, json_getc(in, "required"))
                if (c->v3 || !json_bool(json_getc(json_get(json_getc(in, "properties"), json_str(name)), "nullable")))
                        json_push(c->a, &out, *name);
        return out;
}

/* What x-kubernetes-int-or-string says, for who does not know it. */
static void unfold(struct openapi_copy *c, struct json *out) {
        const struct json choice = json_build(c->a, "[ { type: 'integer' }, { type: 'string' } ]"),
                          *any_of = json_getc(out, "anyOf"), *all_of = json_getc(out, "allOf");
        struct json list = json_new_array();

        if ((any_of && json_equal(any_of, &choice)) || json_equal(json_getc(json_item(all_of, 0), "anyOf"), &choice))
                return;
        if (!any_of) {
                json_setc(c->a, out, "anyOf", choice);
                return;
        }
        json_push(c->a, &list, json_build(c->a, "{ anyOf: %j }", &choice));
        json_each_item(it, all_of)
                json_push(c->a, &list, *it);
        json_setc(c->a, out, "allOf", list);
}

static void add_meta(struct openapi_copy *c, struct json *root, const char *meta) {
        struct json *properties = json_get_or_add_object(c->a, root, "properties"), link;

        link = json_of_printf(c->a, c->v3 ? "#/components/schemas/" META "%s" : "#/definitions/" META "%s", meta);
        json_setc(c->a, properties, "apiVersion",
                  json_build(c->a, "{ type: 'string', description: %c }", openapi_meta_docs[1]));
        json_setc(c->a, properties, "kind",
                  json_build(c->a, "{ type: 'string', description: %c }", openapi_meta_docs[0]));
        json_setc(c->a, properties, "metadata",
                  c->v3 ? json_build(c->a, "{ allOf: [ { '$ref': %j } ], description: %c }", json_new(c->a, link),
                                     openapi_meta_docs[2])
                        : json_build(c->a, "{ '$ref': %j, description: %c }", json_new(c->a, link),
                                     openapi_meta_docs[2]));
}

static void require(struct openapi_copy *c, struct json *schema, const char *name) {
        struct json *list = json_get_or_add_array(c->a, schema, "required");

        if (json_has_str(list, str_of(name)))
                return;
        *list = json_copy_shallow(c->a, list); /* the definition's own */
        json_push(c->a, list, json_of_cstr(name));
}

static struct json copy_schema(struct openapi_copy *c, const struct json *in) {
        struct json out = json_new_object();

        if (!json_is(in, JSON_OBJECT))
                return *in;
        json_each_member(m, in) {
                struct str key = json_key(m);
                struct json v = m->value;

                if (is_dropped(c, in, key))
                        continue;
                if (str_eqc(key, "properties"))
                        v = copy_members(c, &m->value);
                else if (str_eqc(key, "items") || str_eqc(key, "additionalProperties"))
                        v = copy_schema(c, &m->value);
                else if (str_eqc(key, "required"))
                        v = copy_required(c, in);
                if (!str_eqc(key, "required") || v.len > 0)
                        json_add(c->a, &out, key, v);
        }
        if (c->v3 && json_bool(json_getc(in, "x-kubernetes-int-or-string")))
                unfold(c, &out);
        if (json_bool(json_getc(in, "x-kubernetes-embedded-resource")) &&
            (c->v3 || !json_bool(json_getc(in, "x-kubernetes-preserve-unknown-fields")))) {
                add_meta(c, &out, "ObjectMeta");
                require(c, &out, "kind");
                require(c, &out, "apiVersion");
        }
        return out;
}

static void set_kind(struct arena *a, struct json *root, const struct rest *r, const char *kind) {
        for (const char *const *f = r->resource->select_fields; f && *f; f++)
                json_push(a, json_get_or_add_array(a, root, "x-kubernetes-selectable-fields"),
                          json_build(a, "{ fieldPath: %c }", *f));
        json_setc(a, root, "x-kubernetes-group-version-kind",
                  json_build(a, "[ { group: %s, kind: %c, version: %s } ]", r->group, kind, r->version));
}

struct json crd_openapi(struct arena *a, const struct schema_type *t, bool v3) {
        const struct crd_schema *s = crd_schema_of(t);
        struct openapi_copy c = { a, v3 };
        bool open = !v3 && s->preserve; /* kubectl then checks nothing below */
        struct json root = open ? json_new_object() : copy_schema(&c, s->source);

        json_set_cstr(a, &root, "type", "object");
        if (!open)
                add_meta(&c, &root, "ObjectMeta");
        set_kind(a, &root, &s->version->rest, s->version->resource.kind);
        return root;
}

struct json crd_list_openapi(struct arena *a, const struct schema_type *t, bool v3) {
        const struct custom_version *v = container_of(t, struct custom_version, list);
        struct openapi_copy c = { a, v3 };
        struct json text = json_of_printf(a, "%s is a list of %s", t->name, v->resource.kind),
                    link = json_of_printf(a, "#/%s/%s.%s", v3 ? "components/schemas" : "definitions", t->package,
                                          v->resource.kind),
                    root = json_build(a,
                                      "{ description: %j, type: 'object', required: [ 'items' ], properties: { items: {"
                                      " type: 'array', description: 'The objects.', items: { '$ref': %j } } } }",
                                      &text, &link);

        add_meta(&c, &root, "ListMeta");
        set_kind(a, &root, &v->rest, t->name);
        return root;
}
