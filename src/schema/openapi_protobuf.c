/* An OpenAPI v2 document in protobuf, as github.com/google/gnostic's OpenAPIv2.proto lays it out and kubectl up to 1.23
 * wants it. The document is made as JSON and translated by tables: which member goes to which field, and how. Only what
 * our documents contain is in the tables. */
#include "schema/openapi_private.h"
#include "schema/wire.h"

enum how {
        END,
        TEXT,    /* string */
        FLAG,    /* bool */
        TEXTS,   /* repeated string */
        YAML,    /* Any, whose yaml = 2 holds any value */
        YAMLS,   /* repeated Any */
        MESSAGE, /* below */
        WRAPPED, /* a message whose field 1 is the one below */
        NAMED,   /* a map: a message of repeated { name = 1, value = 2 }, value as the one below */
        TYPE,    /* TypeItem { value = 1 } */
        PARAMETERS,
        REQUIREMENTS,
};

struct entry {
        const char *key;
        uint32_t number;
        enum how how;
        const struct entry *below;
        uint32_t item; /* NAMED: the number of the repeated field, 1 unless said */
        uint32_t wrap; /* NAMED: value is a message whose field of that number is the one below */
};

/* Ends a table; vendor extensions (x-…) go to that number. */
#define EXTENSIONS(n) \
        { NULL, n, END, NULL }

static const struct entry schema_entries[] = {
        { "$ref", 1, TEXT, NULL },
        { "format", 2, TEXT, NULL },
        { "description", 4, TEXT, NULL },
        { "default", 5, YAML, NULL },
        { "uniqueItems", 16, FLAG, NULL },
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
        { "security", 12, REQUIREMENTS, NULL },
        { "securityDefinitions", 13, NAMED, key_entries, .wrap = 2 },
        EXTENSIONS(16),
};

static void put_entries(struct buf *b, const struct entry *table, const struct json *v);

static void put_message(struct buf *b, uint32_t number, const struct entry *table, const struct json *v) {
        size_t at = wire_open(b, number);

        put_entries(b, table, v);
        wire_close(b, at);
}

static void put_yaml(struct buf *b, uint32_t number, const struct json *v) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        size_t at = wire_open(b, number);

        json_write(&text, v);
        wire_put_bytes(b, 2, buf_str(&text));
        wire_close(b, at);
}

static void put_named(struct buf *b, const struct entry *e, const struct json *v) {
        size_t all = wire_open(b, e->number);

        json_each_member(m, v) {
                size_t named = wire_open(b, e->item ? e->item : 1), value;

                wire_put_bytes(b, 1, json_key(m));
                value = wire_open(b, 2);
                if (e->wrap)
                        put_message(b, e->wrap, e->below, &m->value);
                else
                        put_entries(b, e->below, &m->value);
                wire_close(b, value);
                wire_close(b, named);
        }
        wire_close(b, all);
}

/* ParametersItem { parameter = 1 { body = 1 | non_body = 2 { query = 3 | path = 4 } } } */
static void put_parameter(struct buf *b, uint32_t number, const struct json *p) {
        struct str in = json_str(json_getc(p, "in"));
        size_t item = wire_open(b, number), parameter = wire_open(b, 1);

        if (str_eqc(in, "body"))
                put_message(b, 1, body_entries, p);
        else {
                bool path = str_eqc(in, "path");
                size_t at = wire_open(b, 2);

                put_message(b, path ? 4 : 3, path ? path_entries : query_entries, p);
                wire_close(b, at);
        }
        wire_close(b, parameter);
        wire_close(b, item);
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
                at = wire_open(b, e->number);
                put_message(b, 1, e->below, v);
                wire_close(b, at);
                break;
        case NAMED:
                put_named(b, e, v);
                break;
        case PARAMETERS:
                json_each_item(it, v)
                        put_parameter(b, e->number, it);
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
        put_entries(dst, document_entries, document);
}
