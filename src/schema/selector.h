/* Label and field selectors: parsed once, matched against many objects. */
#pragma once

#include "json/object.h"
#include "schema/schema.h"

enum selector_op {
        SELECTOR_IN,
        SELECTOR_NOT_IN,
        SELECTOR_EXISTS,
        SELECTOR_NOT_EXISTS,
        SELECTOR_EQUALS,
        SELECTOR_DOUBLE_EQUALS,
        SELECTOR_NOT_EQUALS,
        SELECTOR_GT,
        SELECTOR_LT
};

struct selector_requirement {
        struct str key;
        enum selector_op op;
        struct str *values; /* sorted */
        size_t n_values;
};

/* All requirements must hold. An empty selector matches everything, unless nothing is set. */
struct selector {
        struct selector_requirement *reqs; /* sorted by key */
        size_t n;
        size_t n_present; /* so many need their label to be there */
        bool nothing;
};

/* "a=b,c in (x,y),!d,e>3": upstream's grammar and messages ("unable to parse requirement: …"). The result lives in a;
 * text is copied. */
int selector_parse_labels(struct arena *a, struct str text, struct selector *ret, struct error *err);
/* metav1.LabelSelector; absent (NULL or null) selects nothing, {} everything. */
int selector_from_object(struct arena *a, const struct json *label_selector, struct selector *ret, struct error *err);
/* {"app":"x"}: spec.selector of Service and ReplicationController, nodeSelector. NULL or {} selects everything. */
void selector_from_map(struct arena *a, const struct json *map, struct selector *ret);

bool selector_matches_object(const struct selector *s, const struct object *o);    /* its labels */
bool selector_matches_labels(const struct selector *s, const struct json *labels); /* a map; NULL: none */
/* The text upstream prints: "a=b,c in (x,y)". */
void selector_print(struct buf *dst, const struct selector *s);

/* "metadata.name=x,spec.nodeName!=y". Only = == !=. Unknown fields for the resource: upstream's BadRequest text
 * (`field label not supported: spec.foo`). */
struct field_selector {
        struct field_requirement {
                struct str field, value;
                bool negate, node;                        /* node: spec.nodeName, which objects remember */
                const char *const *keys, *const *or_keys; /* where it is in the stored object; when empty: NULL or where
                                                             else */
                struct str zero;                          /* what an absent field reads as: "", "false", "0" */
        } * reqs;
        size_t n;
};
/* Without a resource: only whether it can be read. */
int selector_parse_fields(struct arena *a, const struct api_resource *r, struct str text, struct field_selector *ret,
                          struct error *err);
bool selector_matches_fields(const struct field_selector *s, const struct object *o);
/* The value that the selector demands of a field (metadata.name, spec.nodeName), p == NULL when it does not. */
struct str selector_field_value(const struct field_selector *s, struct str field);
