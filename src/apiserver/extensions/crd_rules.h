/* x-kubernetes-validations: the rules of a structural schema, as CEL programs (cel/cel.h). Private to src/apiserver.
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules */
#pragma once

#include "apiserver/extensions/crd_schema.h"

/* Compiles the rules of a root and of all below it; says in has_rules where there are any. What a valid definition
 * cannot contain is left out. */
void crd_rules_compile(struct arena *a, struct crd_schema *root);
void crd_rules_release(struct crd_schema *s); /* of this node alone */

/* Runs them over a value that the rest of the schema is content with. old: the value before, or NULL. What fails and
 * did so before goes to passed, which may be NULL. */
void crd_rules_evaluate(struct field_errors *fe, struct field_errors *passed, const struct crd_schema *s,
                        const struct json *value, const struct json *old);
/* The same for a value at p, whatever else is wrong. */
void crd_rules_run(struct field_errors *fe, struct field_errors *passed, const struct path *p,
                   const struct crd_schema *s, const struct json *value, const struct json *old);

/* The rules of a definition's schema: do they compile, are they affordable? Where errors from the first-th on are about
 * the schema at a place or below it, the rules there are not looked at. */
void crd_rules_validate(struct field_errors *fe, const struct path *p, const struct json *schema, size_t first);
/* Follows a path as in ".spec['a.b'].c" (of a rule) or ".spec.c" (of a selectable field: no brackets) through a schema,
 * which *schema leads to. NULL, and the path as errors have it goes to out; else what is wrong with it, in upstream's
 * words. */
const char *crd_follow(struct arena *a, const struct json **schema, struct str path, bool brackets, struct buf *out);
