/* See resources.h. The tables of custom resources are made on first sight of their definition and kept: informers and
 * requests point to them. Their number is bounded by that of the definitions there ever were in this process. */
#include "controllers/resources.h"

#include "base/vec.h"
#include "schema/types.h"

#define NEEDED (VERB_LIST | VERB_DELETE)

/* One for the thread of the controllers: see controllers.c for who frees it. */
struct custom {
        struct arena *arena;
        VEC(struct api_resource *) resources;
};

static _Thread_local struct custom custom;

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
        struct str group = CustomResourceDefinitionSpec_group(spec), version = version_of(spec),
                   plural = CustomResourceDefinitionNames_plural(names);
        struct api_resource *r;

        if (!version.p)
                return NULL;
        for (size_t i = 0; i < custom.resources.n; i++) {
                r = custom.resources.v[i];
                if (str_eqc(group, r->group) && str_eqc(plural, r->plural) && str_eqc(version, r->version))
                        return r;
        }
        if (!custom.arena)
                custom.arena = arena_new(0);
        r = arena_new_of(custom.arena, struct api_resource);
        r->group = arena_cstr(custom.arena, group);
        r->version = arena_cstr(custom.arena, version);
        r->plural = arena_cstr(custom.arena, plural);
        r->singular = arena_cstr(custom.arena, CustomResourceDefinitionNames_singular(names));
        r->kind = arena_cstr(custom.arena, CustomResourceDefinitionNames_kind(names));
        r->list_kind = arena_cstr(custom.arena, CustomResourceDefinitionNames_listKind(names));
        r->verbs = VERB_CREATE | VERB_DELETE | VERB_DELETECOLLECTION | VERB_GET | VERB_LIST | VERB_PATCH | VERB_UPDATE |
                   VERB_WATCH;
        r->namespaced = str_eqc(CustomResourceDefinitionSpec_scope(spec), "Namespaced");
        vec_push(&custom.resources, r);
        return r;
}

void resources_each(struct controller *c, void (*each)(const struct api_resource *res, void *arg), void *arg) {
        struct informer *crds = controller_informer(c, &res_customresourcedefinitions);

        for (size_t i = 0; i < api_n_builtin; i++) {
                const struct api_group_version *gv = api_builtin[i];

                for (size_t k = 0; gv->served && gv->preferred && k < gv->n_resources; k++) {
                        const struct api_resource *r = gv->resources[k];

                        if ((r->verbs & NEEDED) == NEEDED && !r->transient && !r->stored_as)
                                each(r, arg);
                }
        }
        for (struct map_iter it = MAP_ITER(informer_objects(crds)); map_next(&it);) {
                const struct json *doc = object_json(it.value);
                const struct api_resource *r = NULL;

                if (condition_is(CustomResourceDefinition_status(doc), "Established", "True"))
                        r = custom_resource(CustomResourceDefinition_spec(doc));
                if (r)
                        each(r, arg);
        }
}

void resources_forget(void) {
        vec_free(&custom.resources);
        if (custom.arena)
                arena_free(TAKE_PTR(custom.arena));
}
