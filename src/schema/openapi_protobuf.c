/* OpenAPI documents in protobuf, as github.com/google/gnostic lays them out: kubectl
 * up to 1.23 wants version 2, client-go may want version 3. A document is made as JSON and translated by tables: which
 * member goes to which field, and how. Only what our documents contain is in the tables. */
#include "json/yaml.h"
#include "schema/openapi_private.h"
#include "schema/wire.h"

enum how {
        END,
        TEXT,    /* string */
        FLAG,    /* bool */
        COUNT,   /* int64 */
        NUMBER,  /* double */
        TEXTS,   /* repeated string */
        YAML,    /* Any, whose yaml = 2 holds any value */
        YAMLS,   /* repeated Any */
        MESSAGE, /* below */
        WRAPPED, /* a message whose field 1 is the one below, or 2 a bool */
        CHOICE,  /* the same, or 2 a reference { $ref = 1 } */
        CHOICES, /* repeated CHOICE */
        ITEMS,   /* a message whose field 1 is a CHOICE, or 2 a bool */
        NAMED,   /* a map: a message of repeated { name = 1, value = 2 }, value as the one below */
        TYPE,    /* TypeItem { value = 1 } */
        DEFAULT, /* number = 1, bool = 2 or string = 3; nothing for what is none of these */
        PARAMETERS,
        NAMED_PARAMETERS,
        REQUIREMENTS,
};

struct entry {
        const char *key;
        uint32_t number;
        enum how how;
        const struct entry *below;
        uint32_t item;    /* NAMED: the number of the repeated field, 1 unless said */
        uint32_t wrap;    /* NAMED: value is a message whose field of that number is the one below */
        enum how choices; /* NAMED: values are CHOICEs */
};

/* Ends a table; vendor extensions (x-…) go to that number. */
#define EXTENSIONS(n) \
        { NULL, n, END, NULL }

static const struct entry schema_entries[] = {
        { "$ref", 1, TEXT, NULL },
        { "format", 2, TEXT, NULL },
        { "title", 3, TEXT, NULL },
        { "description", 4, TEXT, NULL },
        { "default", 5, YAML, NULL },
        { "multipleOf", 6, NUMBER, NULL },
        { "maximum", 7, NUMBER, NULL },
        { "exclusiveMaximum", 8, FLAG, NULL },
        { "minimum", 9, NUMBER, NULL },
        { "exclusiveMinimum", 10, FLAG, NULL },
        { "maxLength", 11, COUNT, NULL },
        { "minLength", 12, COUNT, NULL },
        { "pattern", 13, TEXT, NULL },
        { "maxItems", 14, COUNT, NULL },
        { "minItems", 15, COUNT, NULL },
        { "uniqueItems", 16, FLAG, NULL },
        { "maxProperties", 17, COUNT, NULL },
        { "minProperties", 18, COUNT, NULL },
        { "required", 19, TEXTS, NULL },
        { "enum", 20, YAMLS, NULL },
        { "additionalProperties", 21, WRAPPED, schema_entries },
        { "type", 22, TYPE, NULL },
        { "items", 23, WRAPPED, schema_entries },
        { "properties", 25, NAMED, schema_entries },
        EXTENSIONS(31),
};
static const struct entry query_entries[] = {
        { "required", 1, FLAG, NULL },
        { "in", 2, TEXT, NULL },
        { "description", 3, TEXT, NULL },
        { "name", 4, TEXT, NULL },
        { "type", 6, TEXT, NULL },
        { "uniqueItems", 20, FLAG, NULL },
        EXTENSIONS(23),
};
static const struct entry path_entries[] = {
        { "required", 1, FLAG, NULL },
        { "in", 2, TEXT, NULL },
        { "description", 3, TEXT, NULL },
        { "name", 4, TEXT, NULL },
        { "type", 5, TEXT, NULL },
        { "uniqueItems", 19, FLAG, NULL },
        EXTENSIONS(22),
};
static const struct entry body_entries[] = {
        { "description", 1, TEXT, NULL },
        { "name", 2, TEXT, NULL },
        { "in", 3, TEXT, NULL },
        { "required", 4, FLAG, NULL },
        { "schema", 5, MESSAGE, schema_entries },
        EXTENSIONS(6),
};
static const struct entry response_entries[] = {
        { "description", 1, TEXT, NULL },
        { "schema", 2, WRAPPED, schema_entries },
        EXTENSIONS(5),
};
static const struct entry operation_entries[] = {
        { "tags", 1, TEXTS, NULL },
        { "description", 3, TEXT, NULL },
        { "operationId", 5, TEXT, NULL },
        { "produces", 6, TEXTS, NULL },
        { "consumes", 7, TEXTS, NULL },
        { "parameters", 8, PARAMETERS, NULL },
        { "responses", 9, NAMED, response_entries, .wrap = 1 },
        { "schemes", 10, TEXTS, NULL },
        EXTENSIONS(13),
};
static const struct entry path_item_entries[] = {
        { "get", 2, MESSAGE, operation_entries },
        { "put", 3, MESSAGE, operation_entries },
        { "post", 4, MESSAGE, operation_entries },
        { "delete", 5, MESSAGE, operation_entries },
        { "options", 6, MESSAGE, operation_entries },
        { "head", 7, MESSAGE, operation_entries },
        { "patch", 8, MESSAGE, operation_entries },
        { "parameters", 9, PARAMETERS, NULL },
        EXTENSIONS(10),
};
static const struct entry info_entries[] = { { "title", 1, TEXT, NULL }, { "version", 2, TEXT, NULL }, EXTENSIONS(7) };
static const struct entry key_entries[] = {
        { "type", 1, TEXT, NULL },
        { "name", 2, TEXT, NULL },
        { "in", 3, TEXT, NULL },
        { "description", 4, TEXT, NULL },
        EXTENSIONS(5),
};
static const struct entry document_entries[] = {
        { "swagger", 1, TEXT, NULL },
        { "info", 2, MESSAGE, info_entries },
        { "paths", 8, NAMED, path_item_entries, .item = 2 },
        { "definitions", 9, NAMED, schema_entries },
        { "parameters", 10, NAMED_PARAMETERS, NULL },
        { "security", 12, REQUIREMENTS, NULL },
        { "securityDefinitions", 13, NAMED, key_entries, .wrap = 2 },
        EXTENSIONS(16),
};

/* ---- version 3 ---- */

static const struct entry schema3_entries[] = {
        { "nullable", 1, FLAG, NULL },
        { "title", 9, TEXT, NULL },
        { "multipleOf", 10, NUMBER, NULL },
        { "maximum", 11, NUMBER, NULL },
        { "exclusiveMaximum", 12, FLAG, NULL },
        { "minimum", 13, NUMBER, NULL },
        { "exclusiveMinimum", 14, FLAG, NULL },
        { "maxLength", 15, COUNT, NULL },
        { "minLength", 16, COUNT, NULL },
        { "pattern", 17, TEXT, NULL },
        { "maxItems", 18, COUNT, NULL },
        { "minItems", 19, COUNT, NULL },
        { "uniqueItems", 20, FLAG, NULL },
        { "maxProperties", 21, COUNT, NULL },
        { "minProperties", 22, COUNT, NULL },
        { "required", 23, TEXTS, NULL },
        { "enum", 24, YAMLS, NULL },
        { "type", 25, TEXT, NULL },
        { "allOf", 26, CHOICES, schema3_entries },
        { "oneOf", 27, CHOICES, schema3_entries },
        { "anyOf", 28, CHOICES, schema3_entries },
        { "not", 29, MESSAGE, schema3_entries },
        { "items", 30, ITEMS, schema3_entries },
        { "properties", 31, NAMED, schema3_entries, .choices = CHOICE },
        { "additionalProperties", 32, ITEMS, schema3_entries },
        { "default", 33, DEFAULT, NULL },
        { "description", 34, TEXT, NULL },
        { "format", 35, TEXT, NULL },
        EXTENSIONS(36),
};
static const struct entry parameter3_entries[] = {
        { "name", 1, TEXT, NULL },
        { "in", 2, TEXT, NULL },
        { "description", 3, TEXT, NULL },
        { "required", 4, FLAG, NULL },
        { "schema", 10, CHOICE, schema3_entries },
        EXTENSIONS(14),
};
static const struct entry media3_entries[] = { { "schema", 1, CHOICE, schema3_entries }, EXTENSIONS(5) };
static const struct entry request3_entries[] = {
        { "description", 1, TEXT, NULL },
        { "content", 2, NAMED, media3_entries },
        { "required", 3, FLAG, NULL },
        EXTENSIONS(4),
};
static const struct entry response3_entries[] = {
        { "description", 1, TEXT, NULL },
        { "content", 3, NAMED, media3_entries },
        EXTENSIONS(5),
};
static const struct entry operation3_entries[] = {
        { "tags", 1, TEXTS, NULL },
        { "description", 3, TEXT, NULL },
        { "operationId", 5, TEXT, NULL },
        { "parameters", 6, CHOICES, parameter3_entries },
        { "requestBody", 7, CHOICE, request3_entries },
        { "responses", 8, NAMED, response3_entries, .item = 2, .choices = CHOICE },
        EXTENSIONS(13),
};
static const struct entry path_item3_entries[] = {
        { "get", 4, MESSAGE, operation3_entries },
        { "put", 5, MESSAGE, operation3_entries },
        { "post", 6, MESSAGE, operation3_entries },
        { "delete", 7, MESSAGE, operation3_entries },
        { "patch", 10, MESSAGE, operation3_entries },
        { "parameters", 13, CHOICES, parameter3_entries },
        EXTENSIONS(14),
};
static const struct entry key3_entries[] = {
        { "type", 1, TEXT, NULL },
        { "description", 2, TEXT, NULL },
        { "name", 3, TEXT, NULL },
        { "in", 4, TEXT, NULL },
        EXTENSIONS(9),
};
static const struct entry components3_entries[] = {
        { "schemas", 1, NAMED, schema3_entries, .choices = CHOICE },
        { "securitySchemes", 7, NAMED, key3_entries, .choices = CHOICE },
        EXTENSIONS(10),
};
static const struct entry info3_entries[] = { { "title", 1, TEXT, NULL }, { "version", 6, TEXT, NULL }, EXTENSIONS(7) };
static const struct entry document3_entries[] = {
        { "openapi", 1, TEXT, NULL },
        { "info", 2, MESSAGE, info3_entries },
        { "paths", 4, NAMED, path_item3_entries },
        { "components", 5, MESSAGE, components3_entries },
        EXTENSIONS(9),
};

/* ---- encoding ---- */

static void put_entries(struct buf *b, const struct entry *table, const struct json *v);

static void put_message(struct buf *b, uint32_t number, const struct entry *table, const struct json *v) {
        size_t at = wire_open(b, number);

        put_entries(b, table, v);
        wire_close(b, at);
}

static void put_yaml(struct buf *b, uint32_t number, const struct json *v) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        size_t at = wire_open(b, number);

        yaml_write(&text, v);
        wire_put_bytes(b, 2, buf_str(&text));
        wire_close(b, at);
}

static void put_number(struct buf *b, uint32_t number, const struct json *v) {
        double d = json_double_or(v, 0);

        wire_put_tag(b, number, WIRE_FIXED64);
        buf_add(b, (const char *) &d, sizeof(d));
}

/* What is in a message that holds one thing or another. */
static void put_choice(struct buf *b, enum how how, const struct entry *below, const struct json *v) {
        const struct json *ref = json_getc(v, "$ref");
        size_t at;

        if (v->type == JSON_BOOL)
                wire_put_int(b, 2, v->b);
        else if (how == WRAPPED || (how == CHOICE && !ref))
                put_message(b, 1, below, v);
        else if (how == CHOICE) {
                at = wire_open(b, 2);
                wire_put_bytes(b, 1, json_str(ref));
                wire_close(b, at);
        } else {
                at = wire_open(b, 1);
                put_choice(b, CHOICE, below, v);
                wire_close(b, at);
        }
}

static void put_default(struct buf *b, const struct json *v) {
        if (json_is(v, JSON_BOOL))
                wire_put_int(b, 2, v->b);
        else if (json_is(v, JSON_STRING))
                wire_put_bytes(b, 3, json_str(v));
        else if (json_is(v, JSON_INT) || json_is(v, JSON_DOUBLE))
                put_number(b, 1, v);
}

static void put_named(struct buf *b, const struct entry *e, const struct json *v) {
        size_t all = wire_open(b, e->number);

        json_each_member(m, v) {
                size_t named = wire_open(b, e->item ? e->item : 1), value;

                wire_put_bytes(b, 1, json_key(m));
                value = wire_open(b, 2);
                if (e->choices)
                        put_choice(b, e->choices, e->below, &m->value);
                else if (e->wrap)
                        put_message(b, e->wrap, e->below, &m->value);
                else
                        put_entries(b, e->below, &m->value);
                wire_close(b, value);
                wire_close(b, named);
        }
        wire_close(b, all);
}

/* Parameter { body = 1 | non_body = 2 { query = 3 | path = 4 } } */
static void put_parameter(struct buf *b, uint32_t number, const struct json *p) {
        struct str in = json_str(json_getc(p, "in"));
        size_t parameter = wire_open(b, number);

        if (str_eqc(in, "body"))
                put_message(b, 1, body_entries, p);
        else {
                bool path = str_eqc(in, "path");
                size_t at = wire_open(b, 2);

                put_message(b, path ? 4 : 3, path ? path_entries : query_entries, p);
                wire_close(b, at);
        }
        wire_close(b, parameter);
}

/* ParametersItem { parameter = 1 | reference = 2 { $ref = 1 } } */
static void put_parameters_item(struct buf *b, uint32_t number, const struct json *p) {
        size_t item = wire_open(b, number);

        if (json_getc(p, "$ref"))
                put_choice(b, CHOICE, NULL, p);
        else
                put_parameter(b, 1, p);
        wire_close(b, item);
}

/* ParameterDefinitions { repeated { name = 1, value = 2 } = 1 } */
static void put_named_parameters(struct buf *b, uint32_t number, const struct json *v) {
        size_t all = wire_open(b, number);

        json_each_member(m, v) {
                size_t named = wire_open(b, 1);

                wire_put_bytes(b, 1, json_key(m));
                put_parameter(b, 2, &m->value);
                wire_close(b, named);
        }
        wire_close(b, all);
}

/* SecurityRequirement { repeated { name = 1, value = 2 { repeated string = 1 } } = 1 } */
static void put_requirement(struct buf *b, uint32_t number, const struct json *v) {
        size_t all = wire_open(b, number);

        json_each_member(m, v) {
                size_t named = wire_open(b, 1), value;

                wire_put_bytes(b, 1, json_key(m));
                value = wire_open(b, 2);
                json_each_item(it, &m->value)
                        wire_put_bytes(b, 1, json_str(it));
                wire_close(b, value);
                wire_close(b, named);
        }
        wire_close(b, all);
}

static void put_entry(struct buf *b, const struct entry *e, const struct json *v) {
        size_t at;

        switch (e->how) {
        case TEXT:
                wire_put_bytes(b, e->number, json_str(v));
                break;
        case FLAG:
                wire_put_int(b, e->number, json_bool(v));
                break;
        case COUNT:
                wire_put_int(b, e->number, json_int(v));
                break;
        case NUMBER:
                put_number(b, e->number, v);
                break;
        case TEXTS:
                json_each_item(it, v)
                        wire_put_bytes(b, e->number, json_str(it));
                break;
        case YAML:
                put_yaml(b, e->number, v);
                break;
        case YAMLS:
                json_each_item(it, v)
                        put_yaml(b, e->number, it);
                break;
        case MESSAGE:
                put_message(b, e->number, e->below, v);
                break;
        case TYPE:
                at = wire_open(b, e->number);
                wire_put_bytes(b, 1, json_str(v));
                wire_close(b, at);
                break;
        case WRAPPED:
        case CHOICE:
        case ITEMS:
                at = wire_open(b, e->number);
                put_choice(b, e->how, e->below, v);
                wire_close(b, at);
                break;
        case CHOICES:
                json_each_item(it, v) {
                        at = wire_open(b, e->number);
                        put_choice(b, CHOICE, e->below, it);
                        wire_close(b, at);
                }
                break;
        case DEFAULT:
                at = wire_open(b, e->number);
                put_default(b, v);
                wire_close(b, at);
                break;
        case NAMED:
                put_named(b, e, v);
                break;
        case PARAMETERS:
                json_each_item(it, v)
                        put_parameters_item(b, e->number, it);
                break;
        case NAMED_PARAMETERS:
                put_named_parameters(b, e->number, v);
                break;
        case REQUIREMENTS:
                json_each_item(it, v)
                        put_requirement(b, e->number, it);
                break;
        case END:
                break;
        }
}

static void put_entries(struct buf *b, const struct entry *table, const struct json *v) {
        json_each_member(m, v) {
                const struct entry *e = table;

                while (e->how != END && !str_eqc(json_key(m), e->key))
                        e++;
                if (e->how != END)
                        put_entry(b, e, &m->value);
                else if (str_has_prefix(json_key(m), STR("x-"))) {
                        size_t at = wire_open(b, e->number);

                        wire_put_bytes(b, 1, json_key(m));
                        put_yaml(b, 2, &m->value);
                        wire_close(b, at);
                }
        }
}

void openapi_to_protobuf(struct buf *dst, const struct json *document) {
        put_entries(dst, json_getc(document, "openapi") ? document3_entries : document_entries, document);
}
