/* What `kubectl get` shows: the columns of a resource and the cells of a row, as upstream's printers make them. */
#pragma once

#include "schema/schema.h"

/* What has the columns of a Scale, which is a subresource of others. */
extern const struct api_resource columns_scale;
/* columnDefinitions of a meta.k8s.io/v1 Table. */
struct json columns_definitions(struct arena *a, const struct api_resource *r);
/* The cells of one object. Views into object where possible. */
struct json columns_cells(struct arena *a, const struct api_resource *r, const struct json *object,
                          int64_t now_wall_ns);
/* conditions of a row: that a pod has completed. Empty for everything else. */
struct json columns_conditions(struct arena *a, const struct api_resource *r, const struct json *object);
