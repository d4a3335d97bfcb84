/* The table of what is served: every resource of the schema with its texts made once, found by path or by handle. */
#include "apiserver/server.h"
#include "apiserver/extensions/custom.h"
#include "apiserver/flags.h"
#include "apiserver/strategy.h"

static struct str lookup_key(char *dst, size_t cap, struct str group, struct str version, struct str plural) {
        struct str none = { NULL, 0 };

        if (group.n + version.n + plural.n + 2 > cap)
                return none;
        memcpy(dst, group.p, group.n);
        size_t n = group.n;
        dst[n++] = '/';
        memcpy(dst + n, version.p, version.n);
        n += version.n;
        dst[n++] = '/';
        memcpy(dst + n, plural.p, plural.n);
        return str_n(dst, n + plural.n);
}

static struct str pointer_key(const struct api_resource *const *r) {
        return str_n((const char *) r, sizeof(*r));
}

/* As of v1.33: https://kubernetes.io/docs/reference/using-api/deprecation-guide/ */
static struct str deprecation(const struct api_resource *r) {
        static const struct {
                const char *resource, *warning;
        } table[] = {
                { "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+" },
                { "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                if (*r->group == '\0' && strcmp(r->plural, table[i].resource) == 0)
                        return str_of(table[i].warning);
        return str_n(NULL, 0);
}

void rest_set_names(struct arena *a, struct rest *r, const struct api_resource *res) {
        char gv[320];

        r->resource = res;
        r->group = str_of(res->group);
        r->version = str_of(res->version);
        r->plural = str_of(res->plural);
        r->kind = str_of(res->kind);
        r->api_version = arena_str(a, api_version_of(gv, res));
        r->prefix = arena_printf(a, "%s/%s/", res->group, res->plural);
        r->qualified = *res->group ? arena_printf(a, "%s.%s", res->plural, res->group) : r->plural;
}

static void rest_fill(struct arena *a, struct rest *r, const struct api_resource *res) {
        rest_set_names(a, r, res);
        r->type_head = arena_printf(a, "\"kind\":\"%s\",\"apiVersion\":\"%" STR_FMT "\",", res->kind,
                                    STR_ARG(r->api_version));
        r->list_head = arena_printf(a, "{\"kind\":\"%s\",\"apiVersion\":\"%" STR_FMT "\",\"metadata\":{",
                                    res->list_kind ? res->list_kind : "List", STR_ARG(r->api_version));
        r->deprecated = deprecation(res);
        r->watchers = arena_new_of(a, atomic_uint);
}

int resources_init(struct apiserver *s) {
        size_t n = 0;

        s->rests = map_new(NULL);
        s->rests_by_resource = map_new(NULL);
        for (size_t g = 0; g < api_n_builtin; g++)
                n += api_builtin[g]->served ? api_builtin[g]->n_resources : 0;
        s->rest_table = arena_array(s->arena, struct rest, n);

        for (size_t g = 0; g < api_n_builtin; g++) {
                const struct api_group_version *gv = api_builtin[g];

                for (size_t i = 0; gv->served && i < gv->n_resources; i++) {
                        struct rest *r = &s->rest_table[s->n_rests++];
                        char key[1024];

                        rest_fill(s->arena, r, gv->resources[i]);
                        if (server_wants(s, r->resource)) /* else there is no path to it, but for ourselves */
                                map_put(s->rests, lookup_key(key, sizeof(key), r->group, r->version, r->plural), r);
                        map_put(s->rests_by_resource, pointer_key(&r->resource), r);
                }
        }
        for (size_t i = 0; i < s->n_rests; i++) {
                struct rest *r = &s->rest_table[i];
                const struct api_resource *kept_as = api_stored_as(r->resource);
                struct rest *stored = map_get(s->rests_by_resource, pointer_key(&kept_as));

                r->stored = stored ? stored : r;
                if (stored && stored != r)
                        stored->shared = true;
                r->prefix = r->stored->prefix;
                r->strategy = strategy_of(r->stored->resource);
        }
        return 0;
}

const struct rest *rest_find(const struct apiserver *s, struct str group, struct str version, struct str plural) {
        char key[1024];
        struct str k = lookup_key(key, sizeof(key), group, version, plural);

        return k.p ? map_get(s->rests, k) : NULL;
}

const struct api_group_version *rest_served(const struct apiserver *s, const struct api_group_version *gv,
                                            struct arena *a) {
        struct api_group_version *some;
        const struct api_resource **list;
        size_t n = 0;

        for (size_t i = 0; gv->served && i < gv->n_resources; i++)
                n += rest_find(s, str_of(gv->group), str_of(gv->version), str_of(gv->resources[i]->plural)) != NULL;
        if (n == 0 || n == gv->n_resources)
                return n ? gv : NULL;
        some = arena_dup(a, gv, sizeof(*gv));
        some->resources = list = arena_array(a, const struct api_resource *, n);
        some->n_resources = 0;
        for (size_t i = 0; i < gv->n_resources; i++)
                if (rest_find(s, str_of(gv->group), str_of(gv->version), str_of(gv->resources[i]->plural)))
                        list[some->n_resources++] = gv->resources[i];
        return some;
}

const struct rest *rest_of(const struct apiserver *s, const struct api_resource *r) {
        return map_get(s->rests_by_resource, pointer_key(&r));
}

static const struct rest *custom_version_of(const struct custom *c, size_t i) {
        for (size_t k = 0; k < c->n_versions; k++)
                if (c->versions[k].served && i-- == 0)
                        return &c->versions[k].rest;
        return NULL;
}

const struct rest *rest_version(const struct apiserver *s, const struct rest *r, size_t i) {
        if (r->custom)
                return custom_version_of(r->custom->of, i);
        for (size_t k = 0; k < s->n_rests; k++)
                if (s->rest_table[k].stored == r->stored && i-- == 0)
                        return &s->rest_table[k];
        return NULL;
}

static size_t key_write(char *dst, const struct rest *r, struct str namespace, struct str name) {
        size_t n = r->prefix.n;

        memcpy(dst, r->prefix.p, n);
        if (r->resource->namespaced) {
                memcpy(dst + n, namespace.p, namespace.n);
                n += namespace.n;
                dst[n++] = '/';
        }
        memcpy(dst + n, name.p, name.n);
        return n + name.n;
}

struct str rest_key(struct arena *a, const struct rest *r, struct str namespace, struct str name) {
        char *p = arena_alloc(a, r->prefix.n + namespace.n + name.n + 2);

        return str_n(p, key_write(p, r, namespace, name));
}

struct object *rest_get(struct store_snapshot *snap, const struct rest *r, struct str namespace, struct str name) {
        char key[1024];

        if (r->prefix.n + namespace.n + name.n + 1 > sizeof(key))
                return NULL; /* longer than any valid name */
        return store_get(snap, str_n(key, key_write(key, r, namespace, name)));
}

struct object *server_get(const struct apiserver *s, struct store_snapshot *snap, const struct api_resource *res,
                          struct str namespace, struct str name) {
        const struct rest *r = rest_of(s, res);

        return r ? rest_get(snap, r->stored, namespace, name) : NULL;
}
