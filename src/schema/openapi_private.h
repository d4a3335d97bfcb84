/* Between the files that make OpenAPI documents. */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "schema/openapi.h"

struct openapi {
        struct arena *arena;
        bool v3, custom;  /* custom: a document of custom resources alone */
        struct map *seen; /* definition name → it is in types or pending */
        VEC(const struct schema_type *) types;
        struct json parameters; /* of version 2: what operations share */
};

/* {"$ref": …} to a type with a name, or its schema; the type is put on the list of those to define. */
struct json openapi_schema(struct openapi *o, const struct schema_type *t);
/* A reference to a definition by name alone. */
struct json openapi_ref(struct openapi *o, const char *name);
/* The same; it is one of those that are defined by their name alone. */
struct json openapi_named(struct openapi *o, const char *name);
#define OPENAPI_PATCH "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
#define OPENAPI_VERSION "io.k8s.apimachinery.pkg.version.Info"
/* "api/v1", "apis/apps/v1" */
struct str openapi_place(struct arena *a, const struct api_group_version *gv);
/* The paths that are no resources: discovery, the version, the keys of tokens. place: "apis/apps"; empty: all. */
void openapi_pages(struct openapi *o, struct str place, const struct api_group_version *const *gvs, size_t n,
                   struct json *paths);
/* The paths of a group-version are added to the object paths. */
void openapi_paths(struct openapi *o, const struct api_group_version *gv, struct json *paths);
/* A v2 document as gnostic's openapi.v2.Document. */
