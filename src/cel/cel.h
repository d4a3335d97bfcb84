/* CEL, the Common Expression Language (https://github.com/google/cel-spec), as kube-apiserver v1.33 has it: with its
 * function libraries, its limits of cost, and its words for what is wrong. One engine for x-kubernetes-validations of
 * custom resources, ValidatingAdmissionPolicy and matchConditions.
 *
 *   text ──cel_compile──▶ parsed, type-checked, costed ──cel_eval──▶ value
 *           against declared variables                    over JSON, without converting it
 *
 * A program is immutable; threads share it. What an evaluation makes lives in the arena of the evaluation. */
#pragma once

#include "json/json.h"
#include "schema/schema.h"

/* ---- types ---- */

enum cel_kind {
        CEL_ERROR, /* values: what went wrong; types: already reported */
        CEL_NULL,
        CEL_BOOL,
        CEL_INT,
        CEL_UINT,
        CEL_DOUBLE,
        CEL_STRING,
        CEL_BYTES,
        CEL_TIMESTAMP,
        CEL_DURATION,
        CEL_LIST,
        CEL_MAP,
        CEL_OBJECT, /* declared fields */
        CEL_TYPE,
        CEL_OPTIONAL,
        CEL_OPAQUE, /* kubernetes.Quantity, net.IP … */
        CEL_DYN,    /* types only */
        CEL_PARAM,  /* types only: a type variable */
};

struct cel_field;

struct cel_type {
        enum cel_kind kind;
        uint8_t list_type;                /* enum schema_list_type: how == and + treat the list */
        const char *name;                 /* of an object or opaque type */
        const struct cel_type *params[2]; /* list, optional, type: one; map: key and value */
        const struct cel_field *fields;
        size_t n_fields;
        const struct elements *by_name, *by_escaped; /* the fields, and maybe more of them; NULL: looked for in turn */
        const char *const *list_keys;                /* JSON names, NULL-terminated, of a list of type map */
        /* Declared data only: how many characters, items or entries there can be, and how few bytes of JSON. */
        bool declared;
        uint32_t weight; /* of a type made by an expression: how many types it consists of */
        uint64_t max_size, min_bytes;
};

struct cel_field {
        struct str name;    /* in JSON */
        struct str escaped; /* in expressions: "__namespace__", "foo__dot__bar"; empty: expressions cannot name it */
        const struct cel_type *type;
};

extern const struct cel_type cel_null, cel_bool, cel_int, cel_uint, cel_double, cel_string, cel_bytes, cel_timestamp,
                cel_duration, cel_dyn, cel_any /* dyn, but that macros do not go over it */, cel_list_dyn, cel_map_dyn,
                cel_strings, cel_string_lists;
/* CEL_DECLARE(user_type, "kubernetes.UserInfo", CEL_FIELD("uid", &cel_string), ...): an object whose fields expressions
 * call as JSON does. */
#define CEL_FIELD(text, its_type) \
        { STR_INIT(text), STR_INIT(text), (its_type) }
#define CEL_DECLARE(id, its_name, ...)                                                                           \
        static const struct cel_field id##_fields[] = { __VA_ARGS__ };                                           \
        static const struct cel_type id = {                                                                      \
                .kind = CEL_OBJECT, .name = its_name, .fields = id##_fields, .n_fields = ARRAY_SIZE(id##_fields) \
        }
const struct cel_type *cel_type_authorizer(void);
const struct cel_type *cel_type_resource_check(void);

/* The type of a structural OpenAPI schema (a JSONSchemaProps); NULL when expressions cannot see such data. root: the
 * schema of a whole object, which has apiVersion, kind, metadata.name and metadata.generateName in any case. name: of
 * objects of the type, in messages. */
const struct cel_type *cel_type_of_openapi(struct arena *a, const struct json *schema, bool root, struct str name);
/* The type of built-in objects. */
const struct cel_type *cel_type_of_schema(struct arena *a, const struct schema_type *t);
/* Of the first n fields: by_name may have more. */
const struct cel_type *cel_type_object(struct arena *a, const char *name, const struct cel_field *fields, size_t n,
                                       const struct elements *by_name);
const struct cel_type *cel_type_optional(struct arena *a, const struct cel_type *of);
/* The type of a field by its name in JSON, whether expressions can name it or not; NULL when there is none. */
const struct cel_type *cel_type_field(const struct cel_type *object, struct str name);
/* "list(string)", as messages print it. */
struct str cel_type_text(struct arena *a, const struct cel_type *t);
/* As messages name what a program yields, which is not how the type checker does. */
struct str cel_type_output(struct arena *a, const struct cel_type *t);

/* ---- values ---- */

struct cel_value;
struct cel_entries;
struct cel_run;

/* An object whose fields are made when they are asked for: the variables of a policy. */
struct cel_lazy {
        struct cel_value (*get)(const struct cel_lazy *l, struct cel_run *run, struct str field);
};

struct cel_value {
        uint8_t kind;                /* enum cel_kind */
        uint8_t form;                /* of lists, maps and objects: enum cel_form; of a timestamp: its zone, int8_t */
        uint32_t n;                  /* bytes, items, entries; of a timestamp: nanoseconds */
        const struct cel_type *type; /* declared type of JSON data (NULL: any), type of an opaque value */
        union {
                bool b;
                int64_t i; /* int; timestamp: seconds since 1970; duration: nanoseconds */
                uint64_t u;
                double d;
                const char *s; /* string, bytes, the message of an error */
                const struct json *json;
                const struct cel_value *items;
                struct cel_entries *entries;
                const struct cel_value *value; /* of an optional; NULL: none */
                const struct cel_type *t;
                const struct cel_lazy *lazy;
                const void *opaque;
        };
};
enum cel_form { CEL_NATIVE, CEL_JSON, CEL_LAZY, CEL_CONCAT /* a list of two lists: items[0], items[1] */ };

/* JSON data as a value: a view, nothing is copied. type NULL: the data says what it is. */
struct cel_value cel_of_json(struct arena *a, const struct json *j, const struct cel_type *type);
struct json cel_to_json(struct arena *a, const struct cel_value *v);
struct cel_value cel_item(struct arena *a, const struct cel_value *list, size_t i);
bool cel_list_of_texts(const struct cel_value *list); /* made by a function: 'a,b'.split(',') */
struct cel_value cel_of_bool(bool b);
struct cel_value cel_of_optional(struct arena *a, const struct cel_value *v); /* v NULL: optional.none() */
static inline struct str cel_str(const struct cel_value *v) {                 /* of a string, bytes or an error */
        return str_n(v->s, v->n);
}

/* ---- authorizer ---- */

struct cel_check {       /* what authorizer…check(…) asks; unset parts are empty */
        struct str path; /* non-resource */
        struct str group, resource, subresource, namespace, name, verb;
        struct str service_account_namespace, service_account_name; /* empty: the user of the request */
        struct str field_selector, label_selector;
};
struct cel_authorizer {
        /* Sets *ret_allowed and *ret_reason (in a). A negative errno with a message is an error of the check. */
        int (*check)(const struct cel_authorizer *az, struct arena *a, const struct cel_check *c, bool *ret_allowed,
                     struct str *ret_reason, struct error *err);
};
/* The values of the variables `authorizer` and `authorizer.requestResource`. */
struct cel_value cel_of_authorizer(struct arena *a, const struct cel_authorizer *az);
struct cel_value cel_of_resource_check(struct arena *a, const struct cel_authorizer *az, const struct cel_check *c);

/* ---- programs ---- */

#define CEL_CALL_LIMIT 1000000       /* cost of one evaluation */
#define CEL_RUNTIME_BUDGET 10000000  /* cost of all rules of one object */
#define CEL_ESTIMATE_LIMIT 10000000  /* estimated cost of one rule of a CRD */
#define CEL_ESTIMATE_TOTAL 100000000 /* of all rules of a CRD */
#define CEL_MAX_REQUEST_BYTES (3 << 20)

struct cel_variable {
        const char *name; /* may have dots: "authorizer.requestResource" */
        const struct cel_type *type;
};

struct cel_program;

/* The variables (and their types) must outlive the program. -EINVAL: the message is what cel-go prints,
 * "ERROR: <input>:1:5: undeclared reference to 'x' (in container '')\n | …", a paragraph an error. -ENOEXEC: it
 * compiles, and can only fail ("program instantiation failed: error parsing regexp: …"); *ret is set, and has a type.
 */
int cel_compile(struct str text, const struct cel_variable *variables, size_t n, struct cel_program **ret,
                struct error *err);
void cel_program_free(struct cel_program *p); /* NULL is fine */
DEFINE_CLEANUP(struct cel_program *, cel_program_free)
const struct cel_type *cel_program_type(const struct cel_program *p); /* of its result */
bool cel_program_uses(const struct cel_program *p, const char *variable);
bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field);
void cel_program_estimate(const struct cel_program *p, uint64_t *ret_min, uint64_t *ret_max);

struct cel_run {
        struct arena *arena;
        uint64_t limit; /* of cost; 0: CEL_CALL_LIMIT */
        uint64_t cost;  /* set: what it did cost */
};
/* values: of the variables, in the order they were declared. 0; -EINVAL with the message of what went wrong ("no such
 * key: a"); -E2BIG: "operation cancelled: actual cost limit exceeded"; -ETIMEDOUT: "operation
 * interrupted", after a second. */
int cel_eval(const struct cel_program *p, const struct cel_value *values, struct cel_run *run, struct cel_value *ret,
             struct error *err);
