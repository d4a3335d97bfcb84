/* OpenAPI documents: each type with a name is a definition, each field a property; what the tables know beyond JSON
 * schema is said in Kubernetes' extensions (x-kubernetes-list-type, …-patch-strategy, …-group-version-kind). A document
 * holds what its group-version defines and everything that is reachable from there. */
#include "schema/openapi.h"

#include <ctype.h>

#include "base/encode.h"
#include "json/build.h"
#include "schema/internal.h"
#include "schema/openapi_private.h"
#include "schema/types.h"

#define RESOURCE "io.k8s.apimachinery.pkg.api.resource."
#define META "io.k8s.apimachinery.pkg.apis.meta.v1."
#define INTSTR "io.k8s.apimachinery.pkg.util.intstr."

/* Scalars that upstream has as definitions of their own, and what is defined by its name alone. */
enum { NO_SCALAR = 0xff };
static const struct {
        uint8_t kind;
        const char *name, *v2, *v3, *doc;
} scalars[] = {
        { SCHEMA_QUANTITY, RESOURCE "Quantity", "{\"type\":\"string\"}",
          "{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]}",
          "A number with a unit: 100m, 1.5, 2Gi, 1e3. Written in its shortest canonical form." },
        { SCHEMA_TIME, META "Time", "{\"type\":\"string\",\"format\":\"date-time\"}", NULL,
          "A time as RFC 3339 writes it, to the second." },
        { SCHEMA_MICRO_TIME, META "MicroTime", "{\"type\":\"string\",\"format\":\"date-time\"}", NULL,
          "A time as RFC 3339 writes it, to the microsecond." },
        { SCHEMA_DURATION, META "Duration", "{\"type\":\"string\"}", NULL, "A span of time: 1h30m, 1.5s, 300ms." },
        { SCHEMA_INT_OR_STRING, INTSTR "IntOrString", "{\"type\":\"string\",\"format\":\"int-or-string\"}",
          "{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}",
          "A number, or a text such as a percentage or a port's name." },
        { NO_SCALAR, OPENAPI_PATCH, "{\"type\":\"object\"}", NULL,
          "A change to an object, in one of the forms that PATCH takes." },
        { NO_SCALAR, OPENAPI_VERSION,
          "{\"type\":\"object\",\"required\":[\"major\",\"minor\",\"gitVersion\",\"gitCommit\",\"gitTreeState\","
          "\"buildDate\",\"goVersion\",\"compiler\",\"platform\"],\"properties\":{"
          "\"buildDate\":{\"type\":\"string\"},\"compiler\":{\"type\":\"string\"},"
          "\"emulationMajor\":{\"type\":\"string\"},\"emulationMinor\":{\"type\":\"string\"},"
          "\"gitCommit\":{\"type\":\"string\"},\"gitTreeState\":{\"type\":\"string\"},"
          "\"gitVersion\":{\"type\":\"string\"},\"goVersion\":{\"type\":\"string\"},"
          "\"major\":{\"type\":\"string\"},\"minCompatibilityMajor\":{\"type\":\"string\"},"
          "\"minCompatibilityMinor\":{\"type\":\"string\"},\"minor\":{\"type\":\"string\"},"
          "\"platform\":{\"type\":\"string\"}}}",
          NULL, "What this server was built from, and which versions it behaves like." },
};

static struct json literal(struct openapi *o, const char *text) {
        struct json *v = NULL;

        if (json_parse(o->arena, str_of(text), NULL, &v, NULL) < 0)
                return json_null();
        return *v;
}

struct json openapi_ref(struct openapi *o, const char *name) {
        return json_build(o->arena, "{ '$ref': %j }",
                          json_new(o->arena, json_of_printf(o->arena, "#/%s/%s",
                                                            o->v3 ? "components/schemas" : "definitions", name)));
}

/* ---- types ---- */

struct json openapi_named(struct openapi *o, const char *name) {
        map_put(o->seen, str_of(name), NULL);
        return openapi_ref(o, name);
}

static bool is_definition(const struct schema_type *t) {
        return t->name && (t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_UNION || t->kind == SCHEMA_ANY);
}

static const char *full_name(struct openapi *o, const struct schema_type *t) {
        return arena_printf(o->arena, "%s.%s", t->package, t->name).p;
}

static void want(struct openapi *o, const struct schema_type *t) {
        if (map_put(o->seen, str_of(full_name(o, t)), (void *) t))
                vec_push(&o->types, t);
}

static struct json enum_values(struct arena *a, const char *const *values) {
        struct json list = json_new_array();

        for (; *values; values++)
                json_push(a, &list, json_of_cstr(*values));
        return list;
}

/* Of a list or a map. In version 3 it says what it is when it is empty. */
static struct json element(struct openapi *o, const struct schema_type *t) {
        struct json s = openapi_schema(o, t);

        if (o->v3 && t->kind == SCHEMA_STRUCT && json_getc(&s, "$ref"))
                return json_build(o->arena, "{ allOf: [ %j ], default: {} }", &s);
        if (o->v3 && t->kind >= SCHEMA_BOOL && t->kind <= SCHEMA_STRING)
                json_setc(o->arena, &s, "default", schema_zero(o->arena, t));
        return s;
}

struct json openapi_schema(struct openapi *o, const struct schema_type *t) {
        static const char *const plain[] = {
                [SCHEMA_ANY] = "{}",
                [SCHEMA_BOOL] = "{\"type\":\"boolean\"}",
                [SCHEMA_INT32] = "{\"type\":\"integer\",\"format\":\"int32\"}",
                [SCHEMA_INT64] = "{\"type\":\"integer\",\"format\":\"int64\"}",
                [SCHEMA_DOUBLE] = "{\"type\":\"number\",\"format\":\"double\"}",
                [SCHEMA_STRING] = "{\"type\":\"string\"}",
                [SCHEMA_BYTES] = "{\"type\":\"string\",\"format\":\"byte\"}",
        };

        if (is_definition(t)) {
                want(o, t);
                return openapi_ref(o, full_name(o, t));
        }
        for (size_t i = 0; i < ARRAY_SIZE(scalars); i++)
                if (scalars[i].kind == t->kind)
                        return openapi_named(o, scalars[i].name);
        if (t->kind == SCHEMA_LIST || t->kind == SCHEMA_MAP) {
                struct json elem = element(o, t->elem);
                return json_build(o->arena,
                                  t->kind == SCHEMA_LIST ? "{ type: 'array', items: %j }"
                                                         : "{ type: 'object', additionalProperties: %j }",
                                  json_new(o->arena, elem));
        }
        if (t->kind == SCHEMA_STRUCT)
                return json_build(o->arena, "{ type: 'object' }");
        struct json s = literal(o, plain[t->kind]);
        if (t->values && !(t->flags & (SCHEMA_TYPE_OPEN_ENUM | SCHEMA_TYPE_UNTOLD_ENUM)))
                json_setc(o->arena, &s, "enum", enum_values(o->arena, t->values));
        return s;
}

/* ---- fields ---- */

static void set_default(struct openapi *o, const struct schema_field *f, struct json *s) {
        if (f->dflt && f->flags & SCHEMA_SHOWN)
                json_setc(o->arena, s, "default", literal(o, f->dflt));
        else if (f->flags & SCHEMA_POINTER)
                return;
        else if (f->type->kind == SCHEMA_STRUCT)
                json_setc(o->arena, s, "default", json_new_object());
        else if ((f->flags & SCHEMA_SHOWN || !(f->flags & SCHEMA_OMITEMPTY)) && f->type->kind >= SCHEMA_BOOL &&
                 f->type->kind <= SCHEMA_STRING)
                json_setc(o->arena, s, "default", schema_zero(o->arena, f->type));
}

static void set_list_type(struct openapi *o, const struct schema_field *f, struct json *s) {
        static const char *const names[] = { NULL, "atomic", "set", "map" };
        struct json keys = json_new_array();

        if (names[f->list_type])
                json_set_cstr(o->arena, s, "x-kubernetes-list-type", names[f->list_type]);
        str_each(key, str_of(f->list_keys), ',')
                json_push(o->arena, &keys, json_of_str(key));
        if (keys.len > 0)
                json_setc(o->arena, s, "x-kubernetes-list-map-keys", keys);
        if (f->flags & (SCHEMA_MAP_ATOMIC | SCHEMA_GRANULAR) && f->type->kind == SCHEMA_BYTES)
                json_set_cstr(o->arena, s, "x-kubernetes-list-type", "atomic");
        else if (f->flags & (SCHEMA_MAP_ATOMIC | SCHEMA_GRANULAR))
                json_set_cstr(o->arena, s, "x-kubernetes-map-type", f->flags & SCHEMA_GRANULAR ? "granular" : "atomic");
}

static void set_patch(struct openapi *o, const struct schema_field *f, struct json *s) {
        bool merge = f->flags & SCHEMA_PATCH_MERGE, retain = f->flags & SCHEMA_PATCH_RETAIN_KEYS;

        if (merge || retain)
                json_set_cstr(o->arena, s, "x-kubernetes-patch-strategy",
                              merge && retain ? "merge,retainKeys"
                              : merge         ? "merge"
                                              : "retainKeys");
        else if (f->flags & SCHEMA_PATCH_REPLACE)
                json_set_cstr(o->arena, s, "x-kubernetes-patch-strategy", "replace");
        if (f->patch_key)
                json_set_cstr(o->arena, s, "x-kubernetes-patch-merge-key", f->patch_key);
}

static struct json property(struct openapi *o, const struct schema_field *f) {
        struct json s = openapi_schema(o, f->type);

        if (o->v3 && json_getc(&s, "$ref")) /* v3 allows nothing beside $ref */
                s = json_build(o->arena, "{ allOf: [ %j ] }", json_new(o->arena, s));
        if (f->doc)
                json_set_cstr(o->arena, &s, "description", f->doc);
        if (o->v3)
                set_default(o, f, &s);
        if (o->v3 && (f->flags & SCHEMA_NULLABLE))
                json_set_bool(o->arena, &s, "nullable", true);
        set_list_type(o, f, &s);
        set_patch(o, f, &s);
        return s;
}

const char *const openapi_meta_docs[] = {
        "The kind of object this is, as in the resource it is kept as; in CamelCase. Cannot be changed.",
        "APIVersion defines the group and version of the schema this object follows: apps/v1, v1.",
        "Standard object's metadata: name, labels and the rest of what all objects have.",
};

/* ---- definitions ---- */

static const struct api_group_version *defined_in(const struct schema_type *t) {
        for (size_t i = 0; i < api_n_builtin; i++)
                for (size_t k = 0; k < api_builtin[i]->n_types; k++)
                        if (api_builtin[i]->types[k] == t)
                                return api_builtin[i];
        return NULL;
}

static void add_kind(struct arena *a, struct json *list, struct str group, struct str version, const char *kind) {
        json_push(a, list, json_build(a, "{ group: %s, kind: %c, version: %s }", group, kind, version));
}

/* Every version there is of a built-in group, served or not: all have the options of requests and watch events. */
static const struct {
        const char *group, *versions;
        bool servers; /* the document of custom resources does not know them */
} registered[] = {
        { "", "v1" },
        { "admission.k8s.io", "v1,v1beta1", true },
        { "admissionregistration.k8s.io", "v1,v1alpha1,v1beta1" },
        { "apiextensions.k8s.io", "v1,v1beta1", true },
        { "apiregistration.k8s.io", "v1,v1beta1", true },
        { "apps", "v1,v1beta1,v1beta2" },
        { "authentication.k8s.io", "v1,v1alpha1,v1beta1" },
        { "authorization.k8s.io", "v1,v1beta1" },
        { "autoscaling", "v1,v2,v2beta1,v2beta2" },
        { "batch", "v1,v1beta1" },
        { "certificates.k8s.io", "v1,v1alpha1,v1beta1" },
        { "coordination.k8s.io", "v1,v1alpha2,v1beta1" },
        { "discovery.k8s.io", "v1,v1beta1" },
        { "events.k8s.io", "v1,v1beta1" },
        { "extensions", "v1beta1" },
        { "flowcontrol.apiserver.k8s.io", "v1,v1beta1,v1beta2,v1beta3" },
        { "imagepolicy.k8s.io", "v1alpha1", true },
        { "internal.apiserver.k8s.io", "v1alpha1" },
        { "networking.k8s.io", "v1,v1alpha1,v1beta1" },
        { "node.k8s.io", "v1,v1alpha1,v1beta1" },
        { "policy", "v1,v1beta1" },
        { "rbac.authorization.k8s.io", "v1,v1alpha1,v1beta1" },
        { "resource.k8s.io", "v1alpha3,v1beta1,v1beta2" },
        { "scheduling.k8s.io", "v1,v1alpha1,v1beta1" },
        { "storage.k8s.io", "v1,v1alpha1,v1beta1" },
        { "storagemigration.k8s.io", "v1alpha1" },
};

/* x-kubernetes-group-version-kind */
static void set_kinds(struct openapi *o, const struct schema_type *t, struct json *s) {
        const struct api_group_version *gv = defined_in(t);
        struct json list = json_new_array();
        struct str rest, version;

        if (!(t->flags & SCHEMA_TYPE_OBJECT) && t != &type_WatchEvent)
                return;
        if (t == &type_DeleteOptions || t == &type_WatchEvent) {
                for (size_t i = 0; i < ARRAY_SIZE(registered); i++) {
                        rest = str_of(registered[i].versions);
                        while ((!registered[i].servers || !o->custom) && str_split(&rest, ',', &version))
                                add_kind(o->arena, &list, str_of(registered[i].group), version, t->name);
                }
        } else if (gv)
                add_kind(o->arena, &list, str_of(strcmp(gv->group, "meta.k8s.io") ? gv->group : ""),
                         str_of(gv->version), t->name);
        if (list.len > 0)
                json_setc(o->arena, s, "x-kubernetes-group-version-kind", list);
}

/* Which of some fields is there depends on the value of another. */
static const struct {
        const struct schema_type *type;
        const char *by, *fields;
} unions[] = {
        { &type_AppArmorProfile, "type", "localhostProfile" },
        { &type_SeccompProfile, "type", "localhostProfile" },
        { &type_LimitResponse, "type", "queuing" },
        { &type_PriorityLevelConfigurationSpec, "type", "exempt,limited" },
        { &type_FlowcontrolSubject, "kind", "group,serviceAccount,user" },
};

static void set_union(struct openapi *o, const struct schema_type *t, struct json *s) {
        for (size_t i = 0; i < ARRAY_SIZE(unions); i++) {
                struct str rest = str_of(unions[i].fields), field;
                struct json values = json_new_object();

                while (unions[i].type == t && str_split(&rest, ',', &field))
                        json_add(o->arena, &values, field,
                                 json_of_printf(o->arena, "%c%" STR_FMT, toupper(field.p[0]),
                                                STR_ARG(str_sub(field, 1, field.n))));
                if (values.len > 0)
                        json_setc(o->arena, s, "x-kubernetes-unions",
                                  json_build(o->arena, "[ { discriminator: %c, 'fields-to-discriminateBy': %j } ]",
                                             unions[i].by, &values));
        }
}

static struct json definition(struct openapi *o, const struct schema_type *t) {
        struct json s = json_new_object(), properties = json_new_object(), required = json_new_array();

        if (t->openapi) {
                want(o, &type_ObjectMeta); /* which it refers to, or its list */
                want(o, &type_ListMeta);
                return t->openapi(o->arena, t, o->v3);
        }
        if (t->doc)
                json_set_cstr(o->arena, &s, "description", t->doc);
        if (t->kind == SCHEMA_STRUCT || (t->kind == SCHEMA_ANY && strcmp(t->name, "JSON")))
                json_set_cstr(o->arena, &s, "type", "object");
        for (size_t i = 0; t->kind == SCHEMA_STRUCT && i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];
                struct json p = property(o, f);

                if ((t->flags & SCHEMA_TYPE_OBJECT) && i < 2)
                        json_set_cstr(o->arena, &p, "description", openapi_meta_docs[i]);
                json_add(o->arena, &properties, field_name(f), p);
                if (f->flags & SCHEMA_REQUIRED || !(f->flags & (SCHEMA_OPTIONAL | SCHEMA_OMITEMPTY)))
                        json_push(o->arena, &required, json_of_str(field_name(f)));
        }
        if (properties.len > 0)
                json_setc(o->arena, &s, "properties", properties);
        if (required.len > 0)
                json_setc(o->arena, &s, "required", required);
        if (t->flags & SCHEMA_TYPE_ATOMIC)
                json_set_cstr(o->arena, &s, "x-kubernetes-map-type", "atomic");
        if (t->flags & SCHEMA_TYPE_PRESERVE_UNKNOWN)
                json_set_bool(o->arena, &s, "x-kubernetes-preserve-unknown-fields", true);
        set_kinds(o, t, &s);
        set_union(o, t, &s);
        return s;
}

/* All types on the list, which grows while they are written. */
static struct json definitions(struct openapi *o) {
        struct json out = json_new_object();

        for (size_t i = 0; i < o->types.n; i++) {
                struct json d = definition(o, o->types.v[i]);

                json_add(o->arena, &out, str_of(full_name(o, o->types.v[i])), d);
        }
        for (size_t i = 0; i < ARRAY_SIZE(scalars); i++)
                if (map_has(o->seen, str_of(scalars[i].name))) {
                        struct json s = literal(o, o->v3 && scalars[i].v3 ? scalars[i].v3 : scalars[i].v2);

                        json_each_member(m, json_getc(&s, "properties")) /* texts, all of them */
                                if (o->v3 && json_has_str(json_getc(&s, "required"), json_key(m)))
                                        json_set_cstr(o->arena, &m->value, "default", "");
                        json_set_cstr(o->arena, &s, "description", scalars[i].doc);
                        json_setc(o->arena, &out, scalars[i].name, s);
                }
        json_sort(&out);
        return out;
}

/* ---- documents ---- */

static void openapi_init(struct openapi *o, bool v3) {
        *o = (struct openapi) {
                .arena = arena_new(1 << 20), .v3 = v3, .seen = map_new(NULL), .parameters = json_new_object()
        };
}

static void openapi_done(struct openapi *o) {
        vec_free(&o->types);
        map_free(o->seen);
        arena_free(o->arena);
}

/* Of custom resources, whose lists nothing else asks for. */
static void want_all(struct openapi *o, const struct api_group_version *gv) {
        if (api_is_builtin(gv))
                return;
        for (size_t i = 0; i < gv->n_types; i++)
                if (is_definition(gv->types[i]))
                        want(o, gv->types[i]);
}

static struct json security_schemes(struct openapi *o) {
        return json_build(o->arena, "{ BearerToken: { type: 'apiKey', description: 'Bearer Token authentication',"
                                    " name: 'authorization', in: 'header' } }");
}

/* Of a group-version, or with NULL of a page. */
static bool make_v3(struct buf *dst, struct str path, const struct api_group_version *gv,
                    const struct api_group_version *const *gvs, size_t n, struct buf *protobuf) {
        struct json paths = json_new_object(), schemas, document, security;
        struct openapi o;
        bool found;

        openapi_init(&o, true);
        if (gv) {
                o.custom = !api_is_builtin(gv);
                want_all(&o, gv);
                openapi_paths(&o, gv, &paths);
                json_sort(&paths);
        } else {
                openapi_pages(&o, path, gvs, n, &paths);
        }
        found = paths.len > 0;
        schemas = definitions(&o);
        security = security_schemes(&o);
        document = json_build(
                        o.arena,
                        "{ openapi: '3.0.0', info: { title: %c, version: %c }, paths: %j, components: { schemas: %j,"
                        " securitySchemes: %j } }",
                        o.custom ? "Kubernetes CRD Swagger" : "Kubernetes", o.custom ? "v0.1.0" : API_VERSION, &paths,
                        &schemas, o.custom ? NULL : &security);
        if (found)
                json_write(dst, &document);
        if (found && protobuf)
                openapi_to_protobuf(protobuf, &document);
        openapi_done(&o);
        return found;
}

bool openapi_v3(struct buf *dst, struct str path, const struct api_group_version *const *gvs, size_t n,
                struct buf *protobuf) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t i = 0; i < n; i++)
                if (gvs[i]->served && str_eq(path, openapi_place(a, gvs[i])))
                        return make_v3(dst, path, gvs[i], NULL, 0, protobuf);
        return make_v3(dst, path, NULL, gvs, n, protobuf);
}

static void add_to_index(struct arena *a, struct json *paths, struct str path, const struct api_group_version *gv,
                         const struct api_group_version *const *gvs, size_t n) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json url;
        char hash[129];

        make_v3(&text, path, gv, gvs, n, NULL);
        sha512_hex(hash, buf_str(&text));
        url = json_of_printf(a, "/openapi/v3/%" STR_FMT "?hash=%s", STR_ARG(path), hash);
        json_add(a, paths, path, json_build(a, "{ serverRelativeURL: %j }", &url));
}

void openapi_v3_index(struct buf *dst, const struct api_group_version *const *gvs, size_t n) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json pages = json_new_object(), paths = json_new_object(), document;
        struct openapi o;

        openapi_init(&o, true);
        openapi_pages(&o, STR(""), gvs, n, &pages);
        json_each_member(m, &pages) /* "/apis/apps/" */
                add_to_index(a, &paths, arena_str(a, str_sub(json_key(m), 1, json_key(m).n - 1)), NULL, gvs, n);
        openapi_done(&o);
        for (size_t i = 0; i < n; i++)
                if (gvs[i]->served)
                        add_to_index(a, &paths, openapi_place(a, gvs[i]), gvs[i], NULL, 0);
        json_sort(&paths);
        document = json_build(a, "{ paths: %j }", &paths);
        json_write(dst, &document);
}

static struct json make_v2(struct openapi *o, const struct api_group_version *const *gvs, size_t n) {
        struct json paths = json_new_object(), types, security = security_schemes(o);

        openapi_pages(o, STR(""), gvs, n, &paths);
        for (size_t i = 0; i < n; i++)
                if (gvs[i]->served) {
                        want_all(o, gvs[i]);
                        openapi_paths(o, gvs[i], &paths);
                }
        json_sort(&paths);
        types = definitions(o);
        json_sort(&o->parameters);
        return json_build(o->arena,
                          "{ swagger: '2.0', info: { title: 'Kubernetes', version: %c }, paths: %j, definitions: %j,"
                          " parameters: %j, securityDefinitions: %j, security: [ { BearerToken: [] } ] }",
                          API_VERSION, &paths, &types, &o->parameters, &security);
}

void openapi_v2(struct buf *dst, const struct api_group_version *const *gvs, size_t n, openapi_writer *write) {
        struct openapi o;

        openapi_init(&o, false);
        struct json document = make_v2(&o, gvs, n);
        write(dst, &document);
        openapi_done(&o);
}
