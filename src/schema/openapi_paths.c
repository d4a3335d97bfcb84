/* The paths of an OpenAPI document: what can be done with each resource, from its verbs.
 *
 *   …/pods                                   list for all namespaces
 *   …/namespaces/{namespace}/pods            list create deletecollection
 *   …/namespaces/{namespace}/pods/{name}     get update patch delete
 *   …/namespaces/{namespace}/pods/{name}/log a subresource
 *   …/watch/namespaces/{namespace}/pods      the old way to watch: any of the first three
 */
#include <ctype.h>

#include "base/encode.h"
#include "json/build.h"
#include "schema/internal.h"
#include "schema/openapi_private.h"
#include "schema/types.h"

enum {
        LIST = 1,
        GET = 2,
        CREATE = 4,
        UPDATE = 8,
        PATCH = 16,
        DELETE = 32,
        COLLECTION = 64,
        WATCH = 128,
        WATCH_LIST = 256,
        HEAD = 512, /* of connections */
        OPTIONS = 1024,
        CUSTOM_GET = 2048, /* of custom resources, whose options differ */
        WATCHES = WATCH | WATCH_LIST,
};

static const struct {
        const char *name, *type, *doc;
        unsigned verbs;
} query_parameters[] = {
        { "allowWatchBookmarks", "boolean", "Ask a watch for BOOKMARK events, which tell how far it is.", LIST },
        { "continue", "string", "Where the list goes on: the value that the page before gave.", LIST | COLLECTION },
        { "dryRun", "string", "All: go through everything, but keep nothing.",
          CREATE | UPDATE | PATCH | DELETE | COLLECTION },
        { "fieldManager", "string", "The name of who makes this change. Required for apply.", CREATE | UPDATE | PATCH },
        { "fieldSelector", "string", "Only objects whose fields match, as metadata.name=x.", LIST | COLLECTION },
        { "fieldValidation", "string",
          "What to do with unknown and duplicate fields: Ignore, Warn (the default) or Strict.",
          CREATE | UPDATE | PATCH },
        { "force", "boolean", "Apply: take fields over from other managers.", PATCH },
        { "gracePeriodSeconds", "integer", "How long the object may take to go; 0 is at once.", DELETE | COLLECTION },
        { "ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Delete the object even if it cannot be read.",
          DELETE | COLLECTION },
        { "labelSelector", "string", "Only objects whose labels match.", LIST | COLLECTION },
        { "limit", "integer", "How many items the list of returned objects may have: one page.", LIST | COLLECTION },
        { "orphanDependents", "boolean", "The old way to say propagationPolicy=Orphan.", DELETE | COLLECTION },
        { "propagationPolicy", "string", "What happens to dependents: Orphan, Background or Foreground.",
          DELETE | COLLECTION },
        { "resourceVersion", "string", "The version to answer from, or to watch from.",
          LIST | COLLECTION | CUSTOM_GET },
        { "resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan.", LIST | COLLECTION },
        { "sendInitialEvents", "boolean", "A watch starts with what there is.", LIST | COLLECTION },
        { "timeoutSeconds", "integer", "How long the call may take.", LIST | COLLECTION },
        { "watch", "boolean", "Watch for changes to the described resources: each is told as it happens.", LIST },
};

static const struct {
        unsigned op;
        const char *method, *id, *action, *what;
} operations[] = {
        { LIST, "get", "list", "list", "list or watch objects of kind" },
        { CREATE, "post", "create", "post", "create" },
        { COLLECTION, "delete", "delete", "deletecollection", "delete collection of" },
        { GET, "get", "read", "get", "read the specified" },
        { UPDATE, "put", "replace", "put", "replace the specified" },
        { PATCH, "patch", "patch", "patch", "partially update the specified" },
        { DELETE, "delete", "delete", "delete", "delete" },
        { WATCH, "get", "watch", "watch", "watch changes to an object of kind" },
        { WATCH_LIST, "get", "watch", "watchlist", "watch changes to a list of" },
        { OPTIONS, "options", NULL, NULL, NULL },
        { HEAD, "head", NULL, NULL, NULL },
};

/* What they delete is the answer to who deletes one. */
static const struct api_resource *const answered_when_deleted[] = {
        &res_pods,     &res_persistentvolumeclaims, &res_podtemplates,      &res_resourcequotas,
        &res_services, &res_serviceaccounts,        &res_csidrivers,        &res_persistentvolumes,
        &res_csinodes, &res_storageclasses,         &res_volumeattachments,
};

/* What one path is about. */
struct place {
        const struct api_resource *resource;
        const struct api_subresource *sub; /* or NULL */
        const char *path;
        bool in_namespace, all_namespaces, item, watch;
        bool connect;                      /* exec, proxy …: a connection, not an object */
        bool further;                      /* proxy: what the path goes on with */
        const struct schema_type *options; /* of a connection or a log: its fields are parameters; else NULL */
};

/* ---- words ---- */

/* What is neither letter nor digit is left out, and the letter after it is large: cert-manager.io → CertManagerIo */
static void add_camel(struct buf *b, struct str s, bool upper) {
        for (size_t i = 0; i < s.n; i++) {
                bool valid = isalpha((unsigned char) s.p[i]) || s.p[i] == '_' ||
                             (i > 0 && isdigit((unsigned char) s.p[i]));

                if (valid)
                        buf_putc(b, upper ? (char) toupper((unsigned char) s.p[i]) : s.p[i]);
                upper = !valid;
        }
}

/* rbac.authorization.k8s.io → RbacAuthorization */
static void add_group(struct buf *b, const char *group, bool upper) {
        struct str s = str_of(group[0] ? group : "core");

        if (str_has_suffix(s, STR(".k8s.io")))
                s.n -= 7;
        add_camel(b, s, upper);
}

static struct json operation_id(struct openapi *o, const struct place *p, size_t op) {
        _cleanup_buf_ struct buf b = BUF_INIT, rest = BUF_INIT;

        buf_addc(&b, p->connect ? "connect" : operations[op].id);
        add_group(&b, p->resource->group, true);
        add_camel(&b, str_of(p->resource->version), true);
        if (p->connect)
                add_camel(&b, str_of(operations[op].method), true);
        if (operations[op].op == COLLECTION)
                buf_addc(&rest, "Collection");
        if (p->in_namespace)
                buf_addc(&rest, "Namespaced");
        buf_addc(&rest, p->resource->kind);
        if (p->sub)
                add_camel(&rest, str_of(p->sub->name), true);
        if (operations[op].op == WATCH_LIST)
                buf_addc(&rest, "List");
        if (p->all_namespaces)
                buf_addc(&rest, "ForAllNamespaces");
        if (p->further)
                buf_addc(&rest, "WithPath");
        add_camel(&b, buf_str(&rest), true);
        return json_of_copy(o->arena, buf_str(&b));
}

/* ---- parts of an operation ---- */

/* The name tells of its kind; the others are where kubectl up to 1.27 looks for them. */
static bool is_unshared(const char *name) {
        return !strcmp(name, "dryRun") || !strcmp(name, "fieldValidation") || !strcmp(name, "name");
}

#define SHARED "#/parameters/"

/* What many operations take is said once, in version 2: a reference to it under a name that tells it from those of the
 * same name (kube-openapi/pkg/builder/parameters.go). */
static struct json share(struct openapi *o, const char *name, const struct json *p) {
        _cleanup_buf_ struct buf text = BUF_INIT, id = BUF_INIT;
        struct json ref = json_new_object();

        json_write(&text, p);
        uint64_t hash = htobe64(str_hash_stable(buf_str(&text)));
        buf_printf(&id, "%s-", name);
        base64url_encode(&id, (struct str) { (const char *) &hash, 6 });
        if (!json_get(&o->parameters, buf_str(&id)))
                json_add(o->arena, &o->parameters, arena_str(o->arena, buf_str(&id)), *p);
        json_setc(o->arena, &ref, "$ref", json_of_printf(o->arena, SHARED "%" STR_FMT, STR_ARG(buf_str(&id))));
        return ref;
}

static struct json parameter(struct openapi *o, const char *name, const char *in, const char *type, const char *doc) {
        bool required = !strcmp(in, "path");
        struct json p;

        if (o->v3)
                p = json_build(o->arena,
                               "{ name: %c, in: %c, description: %c, schema: { type: %c, uniqueItems: true } }", name,
                               in, doc, type);
        else
                p = json_build(o->arena, "{ name: %c, in: %c, description: %c, type: %c, uniqueItems: true }", name, in,
                               doc, type);
        if (required)
                json_set_bool(o->arena, &p, "required", true);
        return o->v3 || is_unshared(name) ? p : share(o, name, &p);
}

static struct str sort_key(const struct json *parameter) {
        struct str ref = json_str(json_getc(parameter, "$ref"));

        return ref.n > 0 ? str_sub(ref, strlen(SHARED), ref.n) : json_str(json_getc(parameter, "name"));
}

static int by_name(const void *a, const void *b) {
        return str_cmp(sort_key(a), sort_key(b));
}

static void set_parameters(struct openapi *o, struct json *of, struct json list) {
        qsort(json_items(&list), list.len, sizeof(list), by_name);
        json_setc(o->arena, of, "parameters", list);
}

static bool is_custom(const struct place *p) {
        return p->resource->type && p->resource->type->openapi;
}

static bool takes(const struct place *p, unsigned op, unsigned verbs) {
        if (op & WATCHES || (op == COLLECTION && is_custom(p))) /* they take all that lists take */
                op = LIST;
        else if (op == GET && is_custom(p))
                op = CUSTOM_GET;
        return !p->connect && verbs & op;
}

/* What all of the operations take is the path's, and what only this one takes its own. */
static struct json parameters(struct openapi *o, const struct place *p, unsigned ops, unsigned own) {
        struct json list = json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(query_parameters); i++) {
                unsigned verbs = query_parameters[i].verbs;
                bool common = true;

                for (unsigned op = 1; op <= ops; op <<= 1)
                        common = common && (!(op & ops) || takes(p, op, verbs));
                if (own ? takes(p, own, verbs) && !common : common)
                        json_push(o->arena, &list,
                                  parameter(o, query_parameters[i].name, "query", query_parameters[i].type,
                                            query_parameters[i].doc));
        }
        return list;
}

/* The options of a connection, as far as a query can say them. */
static void add_options(struct openapi *o, const struct schema_type *options, struct json *list) {
        static const char *const types[] = { [SCHEMA_BOOL] = "boolean",
                                             [SCHEMA_INT32] = "integer",
                                             [SCHEMA_INT64] = "integer",
                                             [SCHEMA_STRING] = "string" };

        for (size_t i = 2; options && i < options->n_fields; i++) { /* after kind and apiVersion */
                const struct schema_field *f = &options->fields[i];
                const struct schema_type *t = f->type->kind == SCHEMA_LIST ? f->type->elem : f->type;

                if (t->kind < ARRAY_SIZE(types) && types[t->kind])
                        json_push(o->arena, list, parameter(o, f->name, "query", types[t->kind], f->doc));
        }
}

static const char *const any_media[] = { "*/*", NULL };
static const char *const json_media[] = { "application/json", NULL };
static const char *const log_media[] = { "text/plain", "application/json", "application/yaml",
                                         "application/vnd.kubernetes.protobuf", NULL };
static const char *const list_media[] = {
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;stream=watch",
        "application/vnd.kubernetes.protobuf;stream=watch",
        NULL,
};
static const char *const patch_media[] = {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
        NULL,
};
static const char *const custom_media[] = { "application/json", "application/yaml", NULL };
static const char *const custom_patch_media[] = {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
        NULL,
};
static const char *const answer_media[] = { "application/json", "application/yaml",
                                            "application/vnd.kubernetes.protobuf", NULL };

static struct json content(struct openapi *o, const char *const *media, const struct json *schema) {
        struct json c = json_new_object();

        for (; *media; media++)
                json_add(o->arena, &c, str_of(*media), json_build(o->arena, "{ schema: %j }", schema));
        return c;
}

/* kubectl looks here for the patch that a kind takes. */
static const char *const *consumed(const struct place *p, unsigned op) {
        if (is_custom(p))
                return op == PATCH ? custom_patch_media : custom_media;
        return op == PATCH && !p->connect ? patch_media : any_media;
}

static const char *const *produced(const struct place *p, unsigned op) {
        return is_custom(p)            ? custom_media
               : p->connect            ? any_media
               : p->options            ? log_media
               : op & (LIST | WATCHES) ? list_media
                                       : answer_media;
}

static void set_body(struct openapi *o, const struct place *p, unsigned op, struct json *operation, struct json *list) {
        const struct schema_type *t = p->sub ? p->sub->type : p->resource->type;
        struct json schema, media;

        if (op == PATCH)
                schema = openapi_named(o, OPENAPI_PATCH);
        else
                schema = openapi_schema(o, op & (DELETE | COLLECTION) ? &type_DeleteOptions : t);
        if (o->v3) {
                media = content(o, consumed(p, op), &schema);
                json_setc(o->arena, operation, "requestBody",
                          op & (DELETE | COLLECTION) ? json_build(o->arena, "{ content: %j }", &media)
                                                     : json_build(o->arena, "{ content: %j, required: true }", &media));
        } else {
                media = json_build(o->arena, "{ name: 'body', in: 'body', schema: %j }", &schema);
                if (!(op & (DELETE | COLLECTION)))
                        json_set_bool(o->arena, &media, "required", true);
                json_push(o->arena, list, op & (PATCH | DELETE | COLLECTION) ? share(o, "body", &media) : media);
        }
}

static void add_response(struct openapi *o, struct json *responses, const char *code, const char *text,
                         const struct json *schema, const char *const *types) {
        struct json r = json_build(o->arena, "{ description: %c }", text), media;

        if (types && o->v3) {
                media = content(o, types, schema);
                json_setc(o->arena, &r, "content", media);
        } else if (types)
                json_setc(o->arena, &r, "schema", *schema);
        json_setc(o->arena, responses, code, r);
}

static const struct schema_type *answer_type(const struct place *p, unsigned op) {
        const struct schema_type *t = p->sub ? p->sub->type : p->resource->type;

        if (op & WATCHES)
                return &type_WatchEvent;
        if (op == LIST && p->resource->list_type)
                return p->resource->list_type;
        for (size_t i = 0; i < ARRAY_SIZE(answered_when_deleted); i++)
                if (op == DELETE && answered_when_deleted[i] == p->resource)
                        return t;
        return op & (DELETE | COLLECTION) ? &type_Status : t;
}

static struct json responses(struct openapi *o, const struct place *p, unsigned op) {
        const struct schema_type *t = answer_type(p, op);
        const char *const *media = produced(p, op);
        struct json out = json_new_object(), schema;

        if (op == LIST && !p->resource->list_type) /* of a custom resource */
                schema = openapi_ref(o, arena_printf(o->arena, "%s.%s", t->package, p->resource->list_kind).p);
        else
                schema = p->options ? json_build(o->arena, "{ type: 'string' }") : openapi_schema(o, t);
        add_response(o, &out, "200", "OK", &schema, media);
        if (op & (is_custom(p) ? CREATE | UPDATE : CREATE | UPDATE | PATCH) && !p->connect)
                add_response(o, &out, "201", "Created", &schema, media);
        if (op & (CREATE | DELETE) && !p->connect)
                add_response(o, &out, "202", "Accepted", &schema, media);
        add_response(o, &out, "401", "Unauthorized", NULL, NULL);
        return out;
}

/* What only version 2 says of an operation. */
static void set_v2(struct openapi *o, const char *const *consumes, const char *const *produces, struct json *out) {
        const char *const *const media[] = { consumes, produces };

        for (size_t i = 0; i < ARRAY_SIZE(media); i++) {
                struct json list = json_new_array();

                for (const char *const *m = media[i]; m && *m; m++)
                        json_push(o->arena, &list, json_of_cstr(*m));
                if (list.len > 0)
                        json_setc(o->arena, out, i == 0 ? "consumes" : "produces", list);
        }
        json_setc(o->arena, out, "schemes", json_build(o->arena, "[ 'https' ]"));
}

static struct json operation(struct openapi *o, const struct place *p, unsigned ops, size_t i) {
        const struct api_resource *r = p->resource;
        _cleanup_buf_ struct buf tag = BUF_INIT;
        unsigned op = operations[i].op;
        struct json id = operation_id(o, p, i), list, out, answers, text;
        const struct api_subresource *sub = is_custom(p) ? NULL : p->sub; /* whose kind it is, unless the resource's */

        list = parameters(o, p, ops, op);
        add_group(&tag, r->group, false);
        buf_putc(&tag, '_');
        add_camel(&tag, str_of(r->version), false);
        text = json_of_printf(o->arena, "%s %s%s%s", p->connect ? "connect to" : operations[i].what,
                              p->sub ? p->sub->name : "", p->sub ? " of " : "", r->kind);
        out = json_build(o->arena, "{ description: %j, tags: [ %S ], operationId: %j }", &text, buf_str(&tag), &id);
        if (!p->connect && op & (CREATE | UPDATE | PATCH | DELETE | (is_custom(p) ? 0u : COLLECTION)))
                set_body(o, p, op, &out, &list);
        if (list.len > 0)
                set_parameters(o, &out, list);
        if (!o->v3)
                set_v2(o, consumed(p, op), produced(p, op), &out);
        answers = responses(o, p, op);
        json_setc(o->arena, &out, "responses", answers);
        json_set_cstr(o->arena, &out, "x-kubernetes-action", p->connect ? "connect" : operations[i].action);
        json_setc(o->arena, &out, "x-kubernetes-group-version-kind",
                  json_build(o->arena, "{ group: %c, kind: %c, version: %c }", sub ? sub->group : r->group,
                             sub ? sub->kind : r->kind, sub ? sub->version : r->version));
        return out;
}

/* ---- what is no resource ---- */

struct str openapi_place(struct arena *a, const struct api_group_version *gv) {
        return arena_printf(a, "api%s%s/%s", *gv->group ? "s/" : "", gv->group, gv->version);
}

struct page {
        const char *place, *tag, *id, *what;
        const struct schema_type *type; /* of the answer; NULL: a text, or the version */
        const char *const *media;
};

static const char *const keys_media[] = { "application/jwk-set+json", NULL };
static const struct page pages[] = {
        { ".well-known/openid-configuration", "WellKnown", "getServiceAccountIssuerOpenIDConfiguration",
          "how tokens of service accounts are verified, as OpenID Connect says it", NULL, json_media },
        { "api", "core", "getCoreAPIVersions", "the versions of the core group", &type_APIVersions, answer_media },
        { "apis", "apis", "getAPIVersions", "the groups and their versions", &type_APIGroupList, answer_media },
        { "openid/v1/jwks", "openid", "getServiceAccountIssuerOpenIDKeyset",
          "the keys that verify tokens of service accounts", NULL, keys_media },
        { "version", "version", "getCodeVersion", "the version of this server", NULL, json_media },
};

static void add_page(struct openapi *o, struct str wanted, const struct page *p, struct json *paths) {
        struct json answers = json_new_object(), schema, get, item = json_new_object();
        struct str path = arena_printf(o->arena, "/%s/", p->place);

        if ((!str_empty(wanted) && !str_eqc(wanted, p->place)) || json_get(paths, path))
                return;
        schema = p->type                            ? openapi_schema(o, p->type)
                 : strcmp(p->place, "version") == 0 ? openapi_named(o, OPENAPI_VERSION)
                                                    : json_build(o->arena, "{ type: 'string' }");
        add_response(o, &answers, "200", "OK", &schema, p->media);
        add_response(o, &answers, "401", "Unauthorized", NULL, NULL);
        get = json_build(o->arena, "{ description: %c, tags: [ %c ], operationId: %c, responses: %j }", p->what, p->tag,
                         p->id, &answers);
        if (!o->v3)
                set_v2(o,
                       p->type                            ? answer_media
                       : strcmp(p->place, "version") == 0 ? json_media
                                                          : NULL,
                       p->media, &get);
        json_setc(o->arena, &item, "get", get);
        json_add(o->arena, paths, path, item);
}

/* Of a group, or of one of its versions. Custom resources have none. */
static void add_group_page(struct openapi *o, struct str wanted, const struct api_group_version *gv, bool version,
                           struct json *paths) {
        struct page p = { .what = version ? "the resources of the version" : "the versions of the group",
                          .type = version ? &type_APIResourceList : &type_APIGroup,
                          .media = answer_media };
        _cleanup_buf_ struct buf tag = BUF_INIT, id = BUF_INIT;

        if (!api_is_builtin(gv))
                return;
        add_group(&tag, gv->group, false);
        buf_addc(&id, "get");
        add_group(&id, gv->group, true);
        if (version) {
                buf_printf(&tag, "_%s", gv->version);
                buf_printf(&id, "%c%s", toupper(gv->version[0]), gv->version + 1);
        }
        buf_addc(&id, version ? "APIResources" : "APIGroup");
        p.place = version ? openapi_place(o->arena, gv).p : arena_printf(o->arena, "apis/%s", gv->group).p;
        p.tag = arena_str(o->arena, buf_str(&tag)).p;
        p.id = arena_str(o->arena, buf_str(&id)).p;
        add_page(o, wanted, &p, paths);
}

void openapi_pages(struct openapi *o, struct str place, const struct api_group_version *const *gvs, size_t n,
                   struct json *paths) {
        for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                add_page(o, place, &pages[i], paths);
        for (size_t i = 0; i < n; i++)
                if (gvs[i]->served && *gvs[i]->group)
                        add_group_page(o, place, gvs[i], false, paths);
}

/* ---- paths ---- */

static unsigned operations_of(uint32_t verbs, bool item) {
        if (!item)
                return (verbs & VERB_LIST ? LIST : 0u) | (verbs & VERB_CREATE ? CREATE : 0u) |
                       (verbs & VERB_DELETECOLLECTION ? COLLECTION : 0u);
        return (verbs & VERB_GET ? GET : 0u) | (verbs & VERB_UPDATE ? UPDATE : 0u) | (verbs & VERB_PATCH ? PATCH : 0u) |
               (verbs & VERB_DELETE ? DELETE : 0u);
}

static void add_path(struct openapi *o, const struct place *p, unsigned ops, struct json *paths) {
        struct json item = json_new_object(), list = parameters(o, p, ops, 0);

        for (size_t i = 0; i < ARRAY_SIZE(operations); i++)
                if (operations[i].op & ops) {
                        struct json op = operation(o, p, ops, i);

                        json_setc(o->arena, &item, operations[i].method, op);
                }
        if (p->in_namespace)
                json_push(o->arena, &list,
                          parameter(o, "namespace", "path", "string", "The namespace of the objects."));
        if (p->item)
                json_push(o->arena, &list, parameter(o, "name", "path", "string", "The name of the object."));
        add_options(o, p->options, &list);
        if (p->further)
                json_push(o->arena, &list, parameter(o, "path", "path", "string", "The path to ask for."));
        if (!p->connect)
                json_push(o->arena, &list, parameter(o, "pretty", "query", "string", "true: indented, for people."));
        set_parameters(o, &item, list);
        if (ops)
                json_add(o->arena, paths, str_of(p->path), item);
}

static const char *path_text(struct openapi *o, const struct place *p, const char *rest) {
        const struct api_resource *r = p->resource;

        return arena_printf(o->arena, "%s%s/%s/%s%s%s%s%s", r->group[0] == '\0' ? "/api" : "/apis/", r->group,
                            r->version, p->watch ? "watch/" : "", p->in_namespace ? "namespaces/{namespace}/" : "",
                            r->plural, p->item ? "/{name}" : "", rest)
                        .p;
}

static void add_subresource(struct openapi *o, struct place p, const struct api_subresource *sub, struct json *paths) {
        unsigned ops = operations_of(sub->verbs, true) | (sub->verbs & VERB_CREATE ? CREATE : 0u);
        bool proxy = strcmp(sub->name, "proxy") == 0;

        p.sub = sub;
        p.connect = proxy || !strcmp(sub->name, "exec") || !strcmp(sub->name, "attach") ||
                    !strcmp(sub->name, "portforward");
        p.options = p.connect ? sub->type : strcmp(sub->name, "log") == 0 ? &type_PodLogOptions : NULL;
        p.path = path_text(o, &p, arena_printf(o->arena, "/%s", sub->name).p);
        if (proxy)
                ops |= HEAD | OPTIONS;
        add_path(o, &p, ops, paths);
        if (proxy) {
                p.further = true;
                p.path = path_text(o, &p, "/proxy/{path}");
                add_path(o, &p, ops, paths);
        }
}

static void add_place(struct openapi *o, struct place p, unsigned ops, struct json *paths) {
        p.path = path_text(o, &p, "");
        add_path(o, &p, ops, paths);
        p.watch = true;
        p.path = path_text(o, &p, "");
        if (p.resource->verbs & VERB_WATCH && !is_custom(&p))
                add_path(o, &p, p.item ? WATCH : WATCH_LIST, paths);
}

void openapi_paths(struct openapi *o, const struct api_group_version *gv, struct json *paths) {
        for (size_t i = 0; i < gv->n_resources; i++) {
                const struct api_resource *r = gv->resources[i];
                struct place p = { .resource = r, .in_namespace = r->namespaced };

                if (r->namespaced && (r->verbs & VERB_LIST))
                        add_place(o, (struct place) { .resource = r, .all_namespaces = true }, LIST, paths);
                add_place(o, p, operations_of(r->verbs, false), paths);
                p.item = true;
                add_place(o, p, operations_of(r->verbs, true), paths);
                for (size_t k = 0; k < r->n_subresources; k++)
                        add_subresource(o, p, &r->subresources[k], paths);
        }
        add_group_page(o, STR(""), gv, true, paths);
}
