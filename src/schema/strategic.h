/* Strategic merge patch:
 * https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md */
#pragma once

#include "schema/schema.h"

/* Applies patch to doc of type t with all its directives ($patch, $retainKeys, $deleteFromPrimitiveList/x,
 * $setElementOrder/x). doc and patch are not changed; the result shares with both. -EINVAL with upstream's text. */
int strategic_merge_patch(struct arena *a, const struct schema_type *t, const struct json *doc,
                          const struct json *patch, struct json *ret, struct error *err);
/* The patch as upstream prints it once it has been merged into doc, which takes it apart. */
struct json strategic_left(struct arena *a, const struct schema_type *t, const struct json *doc,
                           const struct json *patch);
/* What Go's %T says of a value decoded into an interface. */
const char *strategic_type(const struct json *v);
/* As Go's fmt shows a document in messages: map[image:x name:y] */
void strategic_print(struct buf *b, const struct json *v);
