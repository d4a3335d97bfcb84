/* Documents by structure: what of them is owned as a whole, what item by item. The ground of server-side apply; the
 * behaviour is that of sigs.k8s.io/structured-merge-diff. */
#pragma once

#include "schema/fieldset.h"

struct structure_diff {
        struct fieldset *added, *modified, *removed;
};

/* Every field that value sets. */
struct fieldset *structure_fields(struct arena *a, const struct schema_type *t, const struct json *value);
/* The same without a set, as FieldsV1: what value sets beyond the zero value of its type, but for what belongs to the
 * server and the top-level fields that reset names (NULL: none). false (and dst as it was): there are fields that the
 * type does not know, or items without a key; take structure_compare. */
bool structure_write_new(struct arena *a, struct buf *dst, const struct schema_type *t, const struct json *value,
                         const char *const *reset);
/* How new differs from old. */
struct structure_diff structure_compare(struct arena *a, const struct schema_type *t, const struct json *old,
                                        const struct json *new);
/* Atomic lists in which a list or map was sent empty and now is none: to upstream they have changed. What is in lists
 * with keys is not looked at. */
struct fieldset *structure_emptied(struct arena *a, const struct schema_type *t, const struct json *sent,
                                   const struct json *now);
/* live with what config says laid over it. */
struct json structure_merge(struct arena *a, const struct schema_type *t, const struct json *live,
                            const struct json *config);
/* -EINVAL, with all that is wrong, when value has fields that the type has not, or list items without their keys or
 * twice the same, unless twins may be. */
int structure_check(struct arena *a, const struct schema_type *t, const struct json *value, bool twins,
                    struct error *err);
/* value without the members of s. */
struct json structure_remove(struct arena *a, const struct schema_type *t, const struct json *value,
                             const struct fieldset *s);
/* s was written when the type was another: what has become atomic since is owned as a whole. True: s has changed. */
bool structure_reconcile(const struct schema_type *t, struct fieldset *s);
/* s with the fields of structs on the way to its members as members too. */
struct fieldset *structure_with_parents(struct arena *a, const struct schema_type *t, const struct fieldset *s);
