/* Private to src/cel: the syntax tree, the function table, helpers for values. */
#pragma once

#include "base/regex.h"
#include "base/utf8.h"
#include "base/vec.h"
#include "cel/cel.h"

/* ---- the tree: parse.c makes it, check.c types it, cost.c and eval.c walk it ---- */

enum node_kind {
        NODE_CONST,
        NODE_IDENT,  /* name */
        NODE_SELECT, /* args[0].name; test: has() */
        NODE_CALL,   /* name(args…); member: args[0].name(…) */
        NODE_AND,    /* two or more args */
        NODE_OR,
        NODE_COND,   /* args: condition, then, else */
        NODE_LIST,   /* args */
        NODE_MAP,    /* args: key, value, key, value … */
        NODE_STRUCT, /* name{…}; args: the name of a field, its value, a name … */
        NODE_FOLD,   /* args: range, accumulator's start, condition, step, result */
};

struct function;

struct node {
        uint8_t kind;
        bool member, test;
        bool optional; /* a.?b */
        bool maybe;    /* an entry [?a] or {?k: a} */
        bool chained;  /* of a select or index: the operand is a path from a variable */
        bool exact;    /* of a call: one signature fits, and these are the kinds it takes (CEL_DYN: any) */
        uint8_t kinds[4];
        bool append; /* of a call: accumulator + [x], in place */
        bool again;  /* of what optMap() makes: upstream has no variable there, but the operand, once more (member) */
        uint16_t depth;
        uint32_t pos; /* in code points */
        uint32_t n_args;
        uint32_t overloads; /* of a call: bits of the signatures that fit */
        int slot; /* variable: >= 0 a declared one, < 0 a local one ~slot; fold: the first of its three locals */
        struct str name, name2, accu; /* fold: iteration variables, accumulator */
        struct node **args;
        const struct function *fn;
        const struct cel_type *type, *decl; /* checked; the declaration of the data it is, or NULL */
        struct cel_value value;             /* of a constant */
        struct regex *regex;                /* of a constant pattern */
};

struct cel_program {
        struct arena *arena;
        struct str text;
        struct node *root;
        const struct cel_variable *variables;
        size_t n_variables, n_locals;
        uint64_t used; /* bits of the variables in use; of all from 63 on the last */
        uint64_t cost_min, cost_max;
        struct node **regexes;
        size_t n_regexes;
};

/* ---- errors with a place ---- */

#define NO_PLACE UINT32_MAX
#define START_PLACE (UINT32_MAX - 1) /* before the first character: of what could not be read */
struct issue {
        uint32_t pos; /* in code points, or NO_PLACE */
        struct str text;
        bool late; /* of the text as parsed, not of its syntax: who does not get so far has none */
};
struct issues {
        struct arena *arena;
        struct str source;
        VEC(struct issue) list;
        struct str fault; /* of a program that checks, and cannot be made */
};
void issue_add(struct issues *is, uint32_t pos, const char *fmt, ...) _printf_(3, 4);
int issues_report(struct issues *is, struct error *err); /* -EINVAL when there are any; frees the list */

int cel_parse(struct arena *a, struct str text, struct issues *is, struct node **ret);
int cel_check(struct cel_program *p, struct issues *is);
void cel_estimate(struct cel_program *p);
struct node *node_new(struct arena *a, enum node_kind kind, uint32_t pos, size_t n_args, ...);
bool node_qualified(struct arena *a, const struct node *n, struct str *ret); /* a.b.T as one name */
bool is_path(const struct node *n);                                          /* a variable, or a path from one */

/* ---- functions ---- */

struct ctx {
        const struct cel_program *program;
        const struct cel_value *variables;
        struct cel_value *locals;
        struct cel_run *run;
        struct arena *a;
        uint64_t cost, limit, work;
        int64_t begun;   /* thread_ns */
        int64_t until;   /* mono_ns: not late before; 0: no matter */
        size_t compiled; /* patterns */
        bool cancelled, late;
        const struct node *call;    /* the call at work */
        struct hash_index *indexes; /* of big JSON objects, by their members */
};

typedef struct cel_value (*function_impl)(struct ctx *c, const struct cel_value *args, size_t n);

/* What a call costs beyond its arguments, at most and at run time: cost.c. */
enum cost_class {
        COST_ONE,
        COST_TARGET,   /* a traversal of the first argument */
        COST_ARGUMENT, /* likewise; the estimate takes the argument after the target, as upstream does */
        COST_RESIZE,   /* a traversal of the target; the result is at most as long */
        COST_TO_BYTES,
        COST_TO_STRING,
        COST_QUOTE,
        COST_TWICE, /* ip.isCanonical */
        COST_REPLACE,
        COST_SPLIT,
        COST_JOIN,
        COST_COMPARE,
        COST_ADD,
        COST_IN,
        COST_CONTAINS,
        COST_MATCHES,
        COST_FIND,
        COST_LIST,    /* sum, min, isSorted, indexOf … */
        COST_CONVERT, /* quantity(), ip() … : run time by the text, estimated as one */
        COST_FORMAT,  /* "…".format([…]) */
        COST_CHECK,
        COST_SELECTOR,
        COST_VALIDATE,
        COST_CONTAINS_IP,
        COST_CONTAINS_CIDR,
        COST_DYN,
        COST_INDEX,
        COST_SETS,
};

/* One name with all its overloads. A signature is "arguments>result"; "target.arguments>result" for methods; more
 * after '|'. Letters: b bool, i int, u uint, d double, s string, y bytes, t timestamp, g duration, n null, * dyn,
 * L list of, M map from to, O optional, T type; A and B any type; E error. Opaque types: Q Quantity, P IP, N CIDR,
 * U URL, F NamedFormat, Z Authorizer, W PathCheck, G GroupCheck, R ResourceCheck, D Decision. */
struct function {
        const char *name;
        const char *signatures;
        function_impl impl;
        uint8_t cost; /* enum cost_class */
};
extern const struct function functions_std[], functions_strings[], functions_kubernetes[],
                functions_net[]; /* NULL-named end */
const struct function *function_find(struct str name);

/* Reads one type of a signature; vars: what A and B stand for. */
const struct cel_type *signature_type(struct arena *a, const char **p, const struct cel_type *const vars[2]);
extern const struct cel_type opaque_types[];
extern const char opaque_letters[];
const struct cel_type *opaque_type(char letter);

uint64_t call_cost(struct ctx *c, const struct node *n, const struct cel_value *args, const struct cel_value *result);
bool cel_reserved(struct str word); /* no identifier: true, in, if, namespace … */

/* ---- messages: message.c ---- */

struct message {
        const char *name;
        struct cel_type type; /* of what it makes */
        struct message_field {
                const char *name;
                const struct cel_type *type;
                const char *go; /* what upstream has there; NULL: all that is in the message */
        } fields[6];
};
extern const struct message messages[]; /* NULL-named end */
const struct message *message_find(struct str name);
const struct message_field *message_field(const struct message *m, struct str name); /* NULL */
struct cel_value message_make(struct ctx *c, const struct message *m, struct cel_value *values, size_t last);

/* ---- values ---- */

extern const struct cel_value value_null;
struct cel_value value_error(struct ctx *c, const char *fmt, ...) _printf_(2, 3);
struct cel_value value_no_overload(struct ctx *c);
static inline struct cel_value value_int(int64_t i) {
        return (struct cel_value) { .kind = CEL_INT, .i = i };
}
static inline struct cel_value value_double(double d) {
        return (struct cel_value) { .kind = CEL_DOUBLE, .d = d };
}
static inline struct cel_value value_type(const struct cel_type *t) {
        return (struct cel_value) { .kind = CEL_TYPE, .t = t };
}
static inline struct cel_value value_opaque(char letter, const void *p) {
        return (struct cel_value) { .kind = CEL_OPAQUE, .type = opaque_type(letter), .opaque = p };
}
static inline struct cel_value value_list(const struct cel_value *items, size_t n) {
        return (struct cel_value) { .kind = CEL_LIST, .n = (uint32_t) n, .items = items };
}
static inline struct cel_value value_string(struct str s) {
        return (struct cel_value) { .kind = CEL_STRING, .n = (uint32_t) s.n, .s = s.p };
}
struct cel_value value_strings(struct arena *a, const struct str *v, size_t n);

void compare_paid(struct ctx *c);
bool list_is_keyed(const struct cel_value *l); /* of type set or map */
bool same_keys(const struct cel_type *list, const struct json *a, const struct json *b);
int value_equal(struct ctx *c, const struct cel_value *a, const struct cel_value *b); /* 1, 0 */
/* -1, 0, 1; 2 where they have no order (NaN); 3 where the kinds have none. */
int value_compare(const struct cel_value *a, const struct cel_value *b);
size_t value_size(const struct cel_value *v); /* as size(): code points of a string */
struct cel_value list_get(struct arena *a, const struct cel_value *list, size_t i);
struct json value_to_json(struct ctx *c, const struct cel_value *v); /* counts as work */
/* The type a value has at run time. */
const struct cel_type *value_type_of(const struct cel_value *v);
const char *value_go_type(const struct cel_value *v); /* what implements it upstream, as its messages call it */
bool value_is_zero(const struct cel_value *v);
struct str type_name(struct arena *a, const struct cel_type *t);         /* without what it is of: "list" */
bool opaque_equal(const struct cel_value *a, const struct cel_value *b); /* of one type */
bool opaque_is_sum(const struct cel_value *v);                           /* of quantities */
bool net_equal(const struct cel_value *a, const struct cel_value *b);
bool url_is_request_uri(struct str s, struct buf *why);
size_t opaque_size(const struct cel_value *cidr); /* bytes of its prefix */
size_t format_regex_size(const struct cel_value *format);

/* A map that grows: keys and values in turn, with an index over the keys. */
struct cel_entries {
        struct cel_value *v;
        uint32_t n, cap;
        uint32_t *index, index_cap; /* 1 + entry */
};
struct cel_value cel_map_new(struct arena *a, size_t n);
/* false: the key is there already. */
bool cel_map_insert(struct ctx *c, struct cel_value *map, const struct cel_value *key, const struct cel_value *value);
/* The same, in the place of what is there. */
void cel_map_set(struct ctx *c, struct cel_value *map, const struct cel_value *key, const struct cel_value *value);
/* 1 and the value (or an error), or 0. A value of JSON data is made. */
int cel_map_find(struct ctx *c, const struct cel_value *map, const struct cel_value *key, struct cel_value *ret);
size_t cel_map_size(const struct cel_value *map);
void cel_map_entry(struct ctx *c, const struct cel_value *map, size_t i, struct cel_value *ret_key,
                   struct cel_value *ret_value);                               /* either may be NULL */
const struct cel_field *type_field(const struct cel_type *t, struct str name); /* by its escaped name */
const struct cel_field *type_json_field(const struct cel_type *t, struct str name);
/* a.f or, with only_test, whether it is there: 1, 0, or -1 with an error in *ret. */
int value_select(struct ctx *c, const struct cel_value *v, struct str field, bool only_test, struct cel_value *ret);

struct str quoted(struct arena *a, struct str s);                            /* "…", escaped */
void value_print(struct buf *dst, struct ctx *c, const struct cel_value *v); /* as %v in messages of upstream */
struct cel_value opaque_string(struct ctx *c, const struct cel_value *v);    /* string(ip), string(cidr) */
/* The offset of a named time zone at a time, in seconds; false when the machine does not know it. */
bool zone_lookup(struct str name, int64_t at, int64_t *ret);
int parse_timestamp(struct str s, struct cel_value *ret);
/* From year 1 to the end of year 9999? */
static inline bool time_in_range(int64_t sec) {
        return sec >= -62135596800LL && sec <= 253402300799LL;
}
struct str format_timestamp(struct arena *a, const struct cel_value *v);
struct str format_duration(struct arena *a, int64_t ns);
/* As Go does, with an exponent from 10^limit on. */
struct str format_double(struct arena *a, double d, int limit);
struct cel_value string_to(struct ctx *c, enum cel_kind kind, const struct cel_value *v);

/* What is wrong with "…".format([…]), as far as that can be told from the types, and where; empty: nothing. */
struct str format_check(struct arena *a, const struct node *call, uint32_t *ret_pos);
int pattern_compile(struct ctx *c, struct str pattern, struct regex **ret, struct error *err);

/* Code points. */
size_t utf8_count(struct str s);
size_t utf8_offset(struct str s, size_t chars); /* the byte at which that character starts; s.n at and after the end */
