/* Every resource that holds objects, built-in and custom: for those who must look everywhere (namespace, garbage
 * collector). */
#pragma once

#include "controllers/controller.h"

/* Calls each for every stored resource that can be listed and deleted, once for each group (in its preferred version);
 * views of another resource are left out. Custom resources come from the cache of CustomResourceDefinitions, which the
 * controller must watch. */
void resources_each(struct controller *c, void (*each)(const struct api_resource *res, void *arg), void *arg);

/* Frees what was made for custom resources: when all controllers are gone. */
void resources_forget(void);
