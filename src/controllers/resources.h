/* Every resource that holds objects, built-in and custom: for those who must look everywhere (namespace, garbage
 * collector). */
#pragma once

#include "controllers/controller.h"

/* Calls each for every stored resource that can be listed and deleted, once for each group (in its preferred version);
 * views of another resource are left out. Custom resources come from the cache of CustomResourceDefinitions, those of
 * other servers from the cache of APIServices and discovery: the controller must watch both. missing (may be NULL)
 * hears of a group and version of another server whose resources could not be found out, and why. */
struct resources_visitor {
        void (*each)(const struct api_resource *res, void *arg);
        void (*missing)(struct str group_version, struct str why, void *arg);
        void *arg;
};
void resources_each(struct controller *c, const struct resources_visitor *v);

/* Frees what was made for resources that are not built in: when all controllers are gone. */
void resources_forget(void);
