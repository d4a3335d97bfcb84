/* Sets of field paths: what managedFields is made of.
 *
 *   {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"port\":80}":{".":{},"f:name":{}}}}}
 *
 * A set is a tree. Each element of a path is kept as the text FieldsV1 has for it: f:NAME a field, k:{…} the list item
 * with those keys, v:VALUE the item of a list that is a set, i:N an index. An element is a member itself ("."), or on
 * the way to one, or both. Sets live in an arena; functions that return one leave their arguments as they are and may
 * share with them. */
#pragma once

#include "schema/schema.h"

struct fieldset;

struct fieldset_entry {
        struct str element;
        bool member;
        struct fieldset *below; /* or NULL */
};

struct fieldset { /* entries are sorted as upstream sorts them */
        struct fieldset_entry *v;
        uint32_t n, cap;
};

/* A path while something is walked: frames on the stack. Each remembers where in a set what is below it goes, so that
 * this is not looked for from the root for every leaf; a walk fills three sets at most. */
struct fieldpath {
        const struct fieldpath *up;
        struct str element;
        struct fieldpath_place {
                const struct fieldset *set;
                struct fieldset *below;
        } places[3]; /* fieldset_insert's */
};

struct fieldset *fieldset_new(struct arena *a);
/* Valid until the next one is added to s. */
struct fieldset_entry *fieldset_get_or_add(struct arena *a, struct fieldset *s, struct str element);
/* The path becomes a member. */
void fieldset_insert(struct arena *a, struct fieldset *s, const struct fieldpath *path);
const struct fieldset_entry *fieldset_find(const struct fieldset *s, struct str element);
bool fieldset_empty(const struct fieldset *s); /* NULL is empty */

bool fieldset_intersects(const struct fieldset *x, const struct fieldset *y);
struct fieldset *fieldset_union(struct arena *a, const struct fieldset *x, const struct fieldset *y);
/* The same in place, for the union of many: s, which has nothing of other sets, takes what is in x. */
void fieldset_add_all(struct arena *a, struct fieldset *s, const struct fieldset *x);
struct fieldset *fieldset_difference(struct arena *a, const struct fieldset *x, const struct fieldset *y);
struct fieldset *fieldset_intersection(struct arena *a, const struct fieldset *x, const struct fieldset *y);
/* Without everything at and below the fields that are named ("status", "metadata.labels", …; ends with NULL). */
struct fieldset *fieldset_without(struct arena *a, const struct fieldset *s, const char *const paths[]);

void fieldset_write(struct buf *dst, const struct fieldset *s);
/* The order of two elements, as qsort wants it of their texts. */
int fieldset_compare(struct str x, struct str y);
/* -EINVAL when it is not FieldsV1. */
int fieldset_from_json(struct arena *a, const struct json *j, struct fieldset **ret);
void fieldset_print_element(struct buf *b, struct str element); /* ".name", "[name=\"x\"]" */
/* ".spec.containers[name=\"x\"].image" of each member, in order. */
void fieldset_each(const struct fieldset *s, void (*fn)(void *arg, struct str path), void *arg);
