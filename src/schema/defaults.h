/* Defaults: what the API server fills in before an object is validated and stored. */
#pragma once

#include "schema/schema.h"

/* Fills in the defaults of type t and all below it, in place: value must be the caller's own tree (the result of
 * schema_decode). Fields that are added land at the end; run schema_decode once more, or schema_reorder, to print. */
void schema_default(struct arena *a, const struct schema_type *t, struct json *value);
/* Puts members into declaration order and drops nothing. value is the caller's own; what it holds may be shared: where
 * the order is not right it is copied into a. */
void schema_reorder(struct arena *a, const struct schema_type *t, struct json *value);
