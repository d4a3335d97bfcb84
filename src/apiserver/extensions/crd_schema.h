/* A structural schema, compiled: openAPIV3Schema of a CustomResourceDefinition's version as the tables that all generic
 * algorithms walk (schema/schema.h), with the constraints on values beside them. Private to src/apiserver.
 *
 *   struct crd_schema ┬ type: a struct schema_type, so that apply, selectors and the rest see a type like any other
 *                     ├ limits ─▶ what values must satisfy; NULL for most nodes
 *                     └ items, additional, type.fields[i].type ─▶ nodes below
 *
 * https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ */
#pragma once

#include "apiserver/validation/validate.h"
#include "schema/elements.h"

struct regex;
struct custom_version;

enum crd_type { CRD_ANY, CRD_BOOLEAN, CRD_INTEGER, CRD_NUMBER, CRD_STRING, CRD_ARRAY, CRD_OBJECT, CRD_NULL };

struct crd_schema;

/* The items of a list by what they are: found fast however many there are. */
struct crd_values {
        const struct json *list;
        uint32_t *slots; /* 1 + an item, by its hash; NULL: they are few */
        size_t mask;
        bool twice; /* there are equal ones */
};
struct crd_values *crd_values_new(struct arena *a, const struct json *list);

struct crd_limits {
        const struct json *minimum, *maximum, *multiple_of;                                   /* numbers, or NULL */
        int64_t min_length, max_length, min_items, max_items, min_properties, max_properties; /* -1: none */
        bool exclusive_minimum, exclusive_maximum, unique_items;
        bool closed; /* additionalProperties: false */
        const char *pattern_text;
        struct regex *pattern;
        struct crd_values *values; /* enum; NULL: none */
        struct str *required;
        size_t n_required;
        struct crd_schema **all_of, **any_of, **one_of, *none_of; /* none_of: not */
        size_t n_all_of, n_any_of, n_one_of;
};

struct crd_schema {
        struct schema_type type; /* the first member: crd_schema_of() */
        uint8_t json_type;       /* enum crd_type */
        bool nullable, preserve, embedded, int_or_string;
        bool atomic;             /* x-kubernetes-map-type */
        bool pruned_below;       /* additionalProperties is true or false: keys are kept, what is in them is not */
        bool has_defaults;       /* here or below */
        bool has_lists;          /* sets or keyed lists, here or below */
        bool has_embedded;       /* here or below */
        uint8_t list_type;       /* enum schema_list_type */
        const char *list_keys;   /* "a,b" */
        const char *format;      /* one that is known, or NULL */
        const struct json *dflt; /* or NULL */
        const struct crd_limits *limits;
        const struct crd_schema *items, *additional;
        struct crd_schema *meta[3]; /* of an object: what the schema says of apiVersion, kind and metadata, or NULL */
        const struct json *rules;   /* x-kubernetes-validations, or NULL */
        void *programs;             /* the rules, compiled: the CEL engine's */
        bool has_rules;             /* here or below */
        const struct json *source;  /* the JSON it was made from */
        const struct custom_version *version; /* of a root: what it is the schema of */
};

/* The node that a field's or element's type is the head of: every type below a compiled root but ObjectMeta's. */
static inline const struct crd_schema *crd_schema_of(const struct schema_type *t) {
        return container_of(t, struct crd_schema, type);
}
/* The node of a property; NULL when there is none, or it is kind, apiVersion or metadata of an object. */
const struct crd_schema *crd_property(const struct crd_schema *s, struct str name);
/* The same, with what the schema says of kind, apiVersion and metadata: limits, rules, defaults. */
const struct crd_schema *crd_node(const struct crd_schema *s, struct str name);

/* Compiles a schema (decoded, defaults applied) into a; source must live as long. kind and package name the type. What
 * a valid CRD cannot contain is ignored, so that anything may be compiled. Patterns are freed by crd_schema_release. */
struct crd_schema *crd_schema_compile(struct arena *a, const struct json *source, const char *kind,
                                      const char *package);
void crd_schema_release(struct crd_schema *s);

/* Is it one of the formats that are checked? date-time and datetime are the same. */
bool crd_format_known(struct str format);
bool crd_format_matches(const char *format, struct str value);

/* ---- values (crd_prune.c) ---- */

/* Drops unknown fields (named in strict when that is not NULL) and decodes metadata, of the object and of embedded
 * ones. The result is the caller's own tree, its strings shared with in. -EINVAL on metadata that is none. */
int crd_prune(struct arena *a, const struct crd_schema *s, const struct json *in, struct json *strict, struct json *ret,
              struct error *err);
/* The same, with defaults filled in and nulls dropped where they are no value. Metadata that is none is emptied. */
struct json crd_complete(struct arena *a, const struct crd_schema *s, const struct json *in);
/* The same, but nulls that are no value and have no default stay, which *ret_nulls tells: of what was applied. */
struct json crd_default(struct arena *a, const struct crd_schema *s, const struct json *in, bool *ret_nulls);
/* The same as crd_complete without defaults: what becomes of an object that comes from another version. */
struct json crd_narrow(struct arena *a, const struct crd_schema *s, const struct json *in);
/* Has *value nothing that pruning would drop, and are the parts that all objects have of their types? Its metadata is
 * decoded. False: that is of wrong types, and nothing more can be said of it. */
bool crd_check_known(struct field_errors *fe, const struct path *p, const struct crd_schema *s, struct json *value);

/* ---- validation (crd_values.c) ---- */

/* Every constraint of the schema, with upstream's messages. old: the value before, or NULL; what was wrong before and
 * has not changed is let pass (ratcheting, KEP-4008). */
void crd_validate_value(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                        const struct json *value, const struct json *old);
/* A list as it was (NULL: there was none), whose items are asked for by the keys of those that are there now: only
 * keyed lists can say which that is. */
struct crd_before {
        const struct crd_schema *schema;
        const struct json *list;
        struct arena *arena;
        struct elements items;
};
struct crd_before crd_before_new(struct arena *a, const struct crd_schema *s, const struct json *old);
const struct json *crd_item_before(const struct crd_before *b, const struct json *item); /* NULL: there is none */
/* Is a value what it was? Items of keyed lists may have moved; of fields that are not in the schema nobody knows. */
bool crd_unchanged(const struct crd_schema *s, const struct json *now, const struct json *old);
/* Sets and keyed lists have no duplicates. True when there are none. */
bool crd_validate_lists(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                        const struct json *value);
/* Embedded resources have kind and apiVersion, and metadata that is right. */
void crd_validate_embedded(struct field_errors *fe, const struct path *p, const struct crd_schema *s,
                           const struct json *value);
/* A kind in CamelCase, which may be empty. */
void crd_check_kind(struct field_errors *fe, const struct path *p, const struct json *v);
