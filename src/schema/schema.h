/* The API as data: what a type looks like, which resources there are.
 *
 *   api/apps/v1.api ──scripts/apic.py──▶ const tables ─┐
 *   CustomResourceDefinition ──at run time──▶ tables ──┴─▶ decode, default, patch, apply, protobuf, OpenAPI, columns
 *
 * One struct schema_type describes a type however it came to be, so built-in and custom resources take the same path.
 * Tables are immutable once they are used, and shared by all threads. The built-in ones are static const data; C code
 * reads objects through the accessors generated from them: include "schema/types.h" (`PodSpec_nodeName(Pod_spec(j))`)
 * and add dep_schema to the `dependencies` of your target in meson.build, so that the header is generated before it is
 * used. */
#pragma once

#include "json/json.h"

#define API_VERSION "1.33"
#define API_RELEASE "v" API_VERSION ".4" /* the Kubernetes release whose API this is */

/* ---- types ---- */

enum schema_kind {
        SCHEMA_ANY, /* any JSON value: JSON, RawExtension, FieldsV1 */
        SCHEMA_BOOL,
        SCHEMA_INT32,
        SCHEMA_INT64,
        SCHEMA_DOUBLE,
        SCHEMA_STRING,
        SCHEMA_BYTES,         /* base64 in JSON */
        SCHEMA_QUANTITY,      /* "100m": quantity.h */
        SCHEMA_TIME,          /* "2006-01-02T15:04:05Z", null when unset */
        SCHEMA_MICRO_TIME,    /* "2006-01-02T15:04:05.000000Z" */
        SCHEMA_DURATION,      /* "1h0m0s" */
        SCHEMA_INT_OR_STRING, /* 80 or "http" */
        SCHEMA_LIST,          /* of elem */
        SCHEMA_MAP,           /* from string to elem */
        SCHEMA_STRUCT,        /* of fields */
        SCHEMA_UNION,         /* JSONSchemaPropsOrBool and its kin: one of fields, by the JSON type of the value */
};

enum schema_type_flags {
        SCHEMA_TYPE_OBJECT = 1 << 0,           /* has kind and apiVersion of its own: an API object */
        SCHEMA_TYPE_ATOMIC = 1 << 1,           /* server-side apply owns the whole of it */
        SCHEMA_TYPE_HAS_DEFAULTS = 1 << 2,     /* a default is somewhere at or below it */
        SCHEMA_TYPE_PRESERVE_UNKNOWN = 1 << 3, /* unknown fields are kept: x-kubernetes-preserve-unknown-fields */
        SCHEMA_TYPE_EMBEDDED = 1 << 4,  /* x-kubernetes-embedded-resource: kind, apiVersion and metadata are implied */
        SCHEMA_TYPE_OPEN_ENUM = 1 << 5, /* values names the well-known ones, others are allowed */
        SCHEMA_TYPE_ITEMS_MESSAGE = 1 << 6, /* a list that is a protobuf message of its own: { items = 1 } */
        SCHEMA_TYPE_UNTOLD_ENUM = 1 << 9,   /* OpenAPI does not tell the values */
        SCHEMA_TYPE_CHECKED_ENUM = 1 << 7,  /* rules or code refuse other values, in words of their own */
        SCHEMA_TYPE_ODD_SETS = 1 << 8, /* sets of objects, or items that may lack their key, here or below: nobody can
                                        * tell who owns what */
};

enum schema_field_flags {
        SCHEMA_OPTIONAL = 1 << 0,
        SCHEMA_OMITEMPTY = 1 << 1,         /* not printed when empty */
        SCHEMA_POINTER = 1 << 2,           /* absent differs from zero: a zero is printed */
        SCHEMA_NULLABLE = 1 << 3,          /* custom resources: null is a value */
        SCHEMA_PATCH_MERGE = 1 << 4,       /* strategic merge patch merges the list by patch_key, or as a set */
        SCHEMA_PATCH_RETAIN_KEYS = 1 << 5, /* $retainKeys is honoured */
        SCHEMA_PATCH_REPLACE = 1 << 6,
        SCHEMA_MAP_ATOMIC = 1 << 7, /* server-side apply owns the map or struct as a whole */
        SCHEMA_GRANULAR = 1 << 8,   /* the type is atomic elsewhere, not here */
        SCHEMA_OFF = 1 << 9,        /* of a feature that is off: dropped from what clients send */
        SCHEMA_SHOWN = 1 << 10,     /* OpenAPI tells the default, or that it is empty */
        SCHEMA_REQUIRED = 1 << 11,  /* OpenAPI says that it must be there, SCHEMA_OMITEMPTY or not */
};

enum schema_list_type { SCHEMA_LIST_NONE, SCHEMA_LIST_ATOMIC, SCHEMA_LIST_SET, SCHEMA_LIST_MAP };

struct schema_type;

struct schema_field {
        const char *name; /* in JSON */
        const struct schema_type *type;
        const char *dflt;      /* JSON text, or NULL */
        const char *patch_key; /* patchMergeKey, or NULL */
        const char *list_keys; /* "containerPort,protocol", or NULL */
        const char *doc;
        uint8_t name_len;
        uint8_t list_type; /* enum schema_list_type */
        uint16_t flags;    /* enum schema_field_flags */
        uint16_t pb;       /* protobuf number; 0: not in protobuf, or part of an inlined message */
        uint8_t rank;      /* its place among the fields where errors of validation are listed */
};

/* A Go struct embedded in another: its fields are among the outer type's fields; protobuf has it as a message of its
 * own. */
struct schema_inline {
        const struct schema_type *type;
        uint16_t pb;
};

/* Completes a value beyond what `default` in a field says ("default by function"): src/schema/defaults.c. */
typedef void (*schema_default_fn)(struct arena *a, struct json *value);

/* What a value must satisfy, beyond its type: `check` in api/. The functions are the API server's (hooks.h). */
struct schema_rule {
        uint16_t field; /* its number; n_fields: the struct as a whole */
        uint8_t id;     /* enum schema_rule_id */
        /* for absent values too; for every item of a list; an empty text is one */
        uint8_t always : 1, each : 1, empty : 1;
        int64_t a, b;
        const char *text; /* the detail of the message, or NULL: the usual one */
};

struct schema_type {
        const char *name;    /* "PodSpec"; NULL for lists, maps and plain scalars */
        const char *package; /* "io.k8s.api.core.v1", NULL like name; with name the OpenAPI definition name */
        const char *go_name; /* as Go prints the type: "v1.PodSpec", "map[string]string" */
        const char *doc;
        const struct schema_type *elem; /* of a list or map */
        /* In the order upstream prints them, inlined ones included. Of a custom list or map one for its items, which
         * n_fields does not count. */
        const struct schema_field *fields;
        const uint16_t *by_name; /* indices into fields, sorted by name */
        const uint16_t *by_pb;   /* sorted by protobuf number; n_fields + i is inlines[i] */
        const struct schema_inline *inlines;
        const char *const *values; /* enum values, NULL-terminated, or NULL */
        schema_default_fn defaults;
        const struct schema_rule *rules; /* by field */
        uint16_t n_rules;
        /* Of a custom resource: makes its OpenAPI definition, which says more than the tables. Else NULL. */
        struct json (*openapi)(struct arena *a, const struct schema_type *t, bool v3);
        uint16_t n_fields, n_inlines, n_by_pb;
        uint8_t kind;   /* enum schema_kind */
        uint8_t rank;   /* the place of errors of a struct itself, among those of its fields */
        uint16_t flags; /* enum schema_type_flags */
};

/* The field of that name, case-sensitive; NULL when there is none (or t is not a struct). */
const struct schema_field *schema_field(const struct schema_type *t, struct str name);
/* The field of a member: decoding has left its number in the value, which holds while the key is the field's own name.
 */
static inline const struct schema_field *schema_field_hinted(const struct schema_type *t, const struct json_member *m) {
        size_t i = m->value.hint - (size_t) 1;

        return t && i < t->n_fields && t->fields[i].name == json_key(m).p ? &t->fields[i] : NULL;
}
static inline const struct schema_field *schema_field_of(const struct schema_type *t, const struct json_member *m) {
        const struct schema_field *f = schema_field_hinted(t, m);

        return f ? f : schema_field(t, json_key(m));
}

/* The field as Go's struct has it, which messages name: dnsPolicy → DNSPolicy. */
struct str schema_go_name(struct arena *a, const struct schema_type *t, const struct schema_field *f);

/* ---- resources ---- */

enum verb_bit {
        VERB_CREATE = 1 << 0,
        VERB_DELETE = 1 << 1,
        VERB_DELETECOLLECTION = 1 << 2,
        VERB_GET = 1 << 3,
        VERB_LIST = 1 << 4,
        VERB_PATCH = 1 << 5,
        VERB_UPDATE = 1 << 6,
        VERB_WATCH = 1 << 7,
};
#define N_VERBS 8
extern const char *const verb_names[N_VERBS]; /* by bit, which is also the alphabetical order discovery shows */

/* A column of `kubectl get`: what is at a path of the object, or a function where the cell has to be computed. */
typedef struct json (*column_fn)(struct arena *a, const struct json *object, int64_t now_wall_ns);
enum column_kind {
        COLUMN_VALUE,    /* as it is; absent: 0, false or "" by type */
        COLUMN_SINCE,    /* a time, as "5m" ago; absent: <unknown> */
        COLUMN_COUNT,    /* how many items or members */
        COLUMN_JOIN,     /* all the path leads to, with commas between */
        COLUMN_LABELS,   /* a map, as "a=b,c=d" */
        COLUMN_SELECTOR, /* a LabelSelector, as kubectl -l takes it */
        COLUMN_TEXT,     /* a value of any type, as text: True, False, 1, 25% */
        COLUMN_FLAG,     /* a boolean, false when absent */
        COLUMN_PAIR,     /* ".spec.ref.kind/name": two texts of an object, with the slash between */
        COLUMN_CUSTOM,   /* of a custom resource: a value of the column's type, else null */
};
struct api_column {
        const char *name, *type, *format, *doc;
        const char *path;                /* ".spec.replicas"; NULL when there is a function */
        const struct jsonpath *jsonpath; /* of COLUMN_CUSTOM: what users write */
        column_fn cell;
        const char *absent; /* what to show when there is nothing, or NULL */
        enum column_kind kind;
        int priority; /* above 0: only with -o wide */
};

struct api_subresource {
        const char *name;            /* "status", "scale", "exec" */
        const char *group, *version; /* of kind; NULL: those of the resource */
        const char *kind;
        const struct schema_type *type; /* of what is sent and answered: Scale, Eviction, the resource's own */
        uint32_t verbs;
};

struct api_resource {
        const char *group; /* "" is core */
        const char *version;
        const char *plural, *singular, *kind, *list_kind;
        const char *const *short_names, *const *categories; /* NULL-terminated, or NULL */
        const struct api_subresource *subresources;
        const struct schema_type *type;
        const struct schema_type *list_type; /* NULL for custom resources: kind, apiVersion, metadata, items */
        const struct api_column *columns;
        /* Field selectors beyond metadata.name and metadata.namespace, NULL-terminated or NULL: "spec.nodeName", or
         * "source=source.component" where label and path differ. */
        const char *const *select_fields;
        const char *warning; /* sent with every answer, or NULL: "v1 Endpoints is deprecated in v1.33+; …" */
        /* The resource as which it is kept: autoscaling/v1 is a view of autoscaling/v2, events.k8s.io of core events.
         * NULL: itself. Other versions go through schema_convert(). */
        const struct api_resource *stored_as;
        uint32_t verbs;
        uint16_t n_subresources, n_columns;
        bool namespaced;
        bool transient; /* answered, never stored: SubjectAccessReview, Binding */
};

const struct api_subresource *api_subresource(const struct api_resource *r, struct str name);
static inline const struct api_resource *api_stored_as(const struct api_resource *r) {
        return r->stored_as ? r->stored_as : r;
}
/* "v1", "apps/v1" */
struct str api_version_of(char dst[static 320], const struct api_resource *r);

/* A group and version with its resources, for discovery. */
struct api_group_version {
        const char *group, *version;
        const struct api_resource *const *resources; /* sorted by plural */
        size_t n_resources;
        const struct schema_type *const *types; /* all it defines, sorted by name, for OpenAPI and lookups by kind */
        size_t n_types;
        bool preferred; /* the version of the group that clients should use */
        bool served;    /* false: only types (meta/v1, admission/v1) */
};

/* The built-in groups in the order of upstream's discovery (core, apiregistration.k8s.io, apps, events.k8s.io, …), the
 * preferred version of a group first. Custom resources are kept by the apiserver in tables of the same structs. */
extern const struct api_group_version *const api_builtin[];
extern const size_t api_n_builtin;

const struct api_group_version *api_find_group_version(struct str group, struct str version);
bool api_is_builtin(const struct api_group_version *gv); /* maybe with fewer resources */
const struct api_resource *api_find_resource(struct str group, struct str version, struct str plural);
const struct api_resource *api_find_kind(struct str group, struct str version, struct str kind);
/* Any type by name, resource or not: api_find_type("meta.k8s.io"…) takes "" and "v1" too for DeleteOptions, Status. */
const struct schema_type *api_find_type(struct str group, struct str version, struct str name);
/* Splits "apps/v1" or "v1". -EINVAL with upstream's text on more than one slash. */
int api_parse_group_version(struct str api_version, struct str *ret_group, struct str *ret_version, struct error *err);

/* Turns an object of one version of a resource into another version of the same (HPA v1 and v2, the two Events). The
 * result shares with object. -EINVAL when there is no such conversion. */
int schema_convert(struct arena *a, const struct api_resource *from, const struct api_resource *to,
                   const struct json *object, struct json *ret, struct error *err);

/* Every built-in resource has a handle for C code: res_pods, res_deployments, … in "schema/types.h". */
