/* See resources.h. The tables of resources that are not built in are made on first sight and kept: informers and
 * requests point to them. Their number is bounded by that of the resources there ever were in this process. */
#include "controllers/resources.h"

#include "base/vec.h"
#include "schema/types.h"

#define NEEDED (VERB_LIST | VERB_DELETE)

/* One for the thread of the controllers: see controllers.c for who frees it. */
struct made {
        struct arena *arena;
        VEC(struct api_resource *) resources;
};

static _Thread_local struct made made;

struct naming {
        struct str group, version, plural, singular, kind;
        uint32_t verbs;
        bool namespaced;
};

static const struct api_resource *table_of(const struct naming *n) {
        struct api_resource *r;

        for (size_t i = 0; i < made.resources.n; i++) {
                r = made.resources.v[i];
                if (str_eqc(n->group, r->group) && str_eqc(n->plural, r->plural) && str_eqc(n->version, r->version) &&
                    r->namespaced == n->namespaced && r->verbs == n->verbs && str_eqc(n->kind, r->kind))
                        return r;
        }
        if (!made.arena)
                made.arena = arena_new(0);
        struct arena *a = made.arena;
        r = arena_new_of(a, struct api_resource);
        r->group = arena_cstr(a, n->group);
        r->version = arena_cstr(a, n->version);
        r->plural = arena_cstr(a, n->plural);
        r->singular = arena_cstr(a, n->singular);
        r->kind = arena_cstr(a, n->kind);
        r->list_kind = arena_printf(a, "%sList", r->kind).p;
        r->verbs = n->verbs;
        r->namespaced = n->namespaced;
        vec_push(&made.resources, r);
        return r;
}

/* ---- custom resources ---- */

/* The version to use: served, and the stored one if that is. */
static struct str version_of(const struct json *spec) {
        struct str version = { 0 };

        json_each_item(v, CustomResourceDefinitionSpec_versions(spec))
                if (CustomResourceDefinitionVersion_served(v) &&
                    (!version.p || CustomResourceDefinitionVersion_storage(v)))
                        version = CustomResourceDefinitionVersion_name(v);
        return version;
}

static const struct api_resource *custom_resource(const struct json *spec) {
        const struct json *names = CustomResourceDefinitionSpec_names(spec);
        struct naming n = { .group = CustomResourceDefinitionSpec_group(spec),
                            .version = version_of(spec),
                            .plural = CustomResourceDefinitionNames_plural(names),
                            .singular = CustomResourceDefinitionNames_singular(names),
                            .kind = CustomResourceDefinitionNames_kind(names),
                            .verbs = VERB_CREATE | VERB_DELETE | VERB_DELETECOLLECTION | VERB_GET | VERB_LIST |
                                     VERB_PATCH | VERB_UPDATE | VERB_WATCH,
                            .namespaced = str_eqc(CustomResourceDefinitionSpec_scope(spec), "Namespaced") };

        return n.version.p ? table_of(&n) : NULL;
}

static void each_custom(struct controller *c, const struct resources_visitor *v) {
        struct informer *crds = controller_informer(c, &res_customresourcedefinitions);

        map_each(it, informer_objects(crds)) {
                const struct json *doc = object_json(it.value);
                const struct api_resource *r = NULL;

                if (condition_is(CustomResourceDefinition_status(doc), "Established", "True"))
                        r = custom_resource(CustomResourceDefinition_spec(doc));
                if (r)
                        v->each(r, v->arg);
        }
}

/* ---- resources of other servers ---- */

static const struct json *group_in(const struct json *discovery, struct str group) {
        json_each_item(g, json_getc(discovery, "items"))
                if (str_eq(json_str(json_at_path(g, "metadata", "name")), group))
                        return g;
        return NULL;
}

/* A version of the group before this one, which is preferred, has it too. */
static bool is_preferred(const struct json *versions, const struct json *version, struct str plural) {
        json_each_item(v, versions) {
                if (v == version)
                        return true;
                if (json_find_by(json_getc(v, "resources"), "resource", plural))
                        return false;
        }
        return true;
}

static uint32_t verbs_in(const struct json *list) {
        static const struct {
                const char *name;
                uint32_t bit;
        } verbs[] = { { "delete", VERB_DELETE }, { "get", VERB_GET }, { "list", VERB_LIST }, { "watch", VERB_WATCH } };
        uint32_t r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
                r |= json_has_str(list, str_of(verbs[i].name)) ? verbs[i].bit : 0;
        return r;
}

static void each_in_version(struct str group, struct str version, const struct json *versions, const struct json *found,
                            const struct resources_visitor *v) {
        json_each_item(r, json_getc(found, "resources")) {
                struct naming n = { .group = group,
                                    .version = version,
                                    .plural = json_str(json_getc(r, "resource")),
                                    .singular = json_str(json_getc(r, "singularResource")),
                                    .kind = json_str(json_at_path(r, "responseKind", "kind")),
                                    .verbs = verbs_in(json_getc(r, "verbs")),
                                    .namespaced = str_eqc(json_str(json_getc(r, "scope")), "Namespaced") };

                if ((n.verbs & NEEDED) == NEEDED && is_preferred(versions, found, n.plural))
                        v->each(table_of(&n), v->arg);
        }
}

static void each_elsewhere(struct controller *c, const struct resources_visitor *v) {
        struct informer *services = controller_informer(c, &res_apiservices);
        _cleanup_(object_unrefp) struct object *discovery = NULL;
        _cleanup_(arena_freep) struct arena *a = NULL;

        map_each(it, informer_objects(services)) {
                const struct json *spec = APIService_spec(object_json(it.value)), *versions, *found;
                struct str group = APIServiceSpec_group(spec), version = APIServiceSpec_version(spec), gv;
                _cleanup_error_ struct error err = ERROR_INIT;

                if (!APIServiceSpec_service(spec))
                        continue;
                if (!a)
                        a = arena_new(0);
                gv = arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(group), STR_ARG(version));
                if (!discovery && client_discover(c->client, &discovery, &err) < 0) {
                        if (v->missing)
                                v->missing(gv, str_of(error_text(&err)), v->arg);
                        continue;
                }
                versions = json_getc(group_in(object_json(discovery), group), "versions");
                found = json_find_by(versions, "version", version);
                if (str_eqc(json_str(json_getc(found, "freshness")), "Current"))
                        each_in_version(group, version, versions, found, v);
                else if (v->missing)
                        v->missing(gv, arena_printf(a, "stale GroupVersion discovery: %" STR_FMT, STR_ARG(gv)), v->arg);
        }
}

/* ---- all of them ---- */

void resources_each(struct controller *c, const struct resources_visitor *v) {
        for (size_t i = 0; i < api_n_builtin; i++) {
                const struct api_group_version *gv = api_builtin[i];

                for (size_t k = 0; gv->served && gv->preferred && k < gv->n_resources; k++) {
                        const struct api_resource *r = gv->resources[k];

                        if ((r->verbs & NEEDED) == NEEDED && !r->transient && !r->stored_as)
                                v->each(r, v->arg);
                }
        }
        each_custom(c, v);
        each_elsewhere(c, v);
}

void resources_forget(void) {
        vec_free(&made.resources);
        arena_free(TAKE_PTR(made.arena));
}
