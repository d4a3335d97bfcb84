/* Documents to protobuf. The layout is gogo's proto2 with non-nullable fields: what is not a pointer in Go is always
 * written, zero or not, structs included; fields come in the order of their numbers, maps sorted by key, lists never
 * packed. */
#include "schema/protobuf.h"

#include "base/encode.h"
#include "base/time.h"
#include "schema/internal.h"
#include "schema/wire.h"

static void encode_value(struct buf *b, const struct schema_type *t, const struct json *v, uint32_t number);
static void encode_message(struct buf *b, const struct schema_type *t, const struct json *v);

/* ---- scalars that are messages ---- */

static void encode_time(struct buf *b, const struct schema_type *t, const struct json *v) {
        struct moment m;

        if (!json_is(v, JSON_STRING) || moment_parse(json_str(v), &m) < 0)
                return; /* the zero time is an empty message */
        wire_put_int(b, 1, m.seconds);
        wire_put_int(b, 2, t->kind == SCHEMA_TIME ? 0 : m.ns);
}

static void encode_int_or_string(struct buf *b, const struct json *v) {
        wire_put_int(b, 1, json_is(v, JSON_STRING));
        wire_put_int(b, 2, json_int(v));
        wire_put_bytes(b, 3, json_str(v));
}

static void encode_any(struct buf *b, const struct json *v) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        if (json_type(v) == JSON_NULL)
                return;
        json_write(&text, v);
        wire_put_bytes(b, 1, buf_str(&text));
}

static void encode_duration(struct buf *b, const struct json *v) {
        int64_t ns = 0;

        (void) duration_parse(json_str(v), &ns); /* normalised, or absent: zero */
        wire_put_int(b, 1, ns);
}

/* ---- containers ---- */

static void encode_map(struct buf *b, const struct schema_type *t, const struct json *v, uint32_t number) {
        json_each_member(m, v) { /* normalised: sorted by key */
                size_t at = wire_open(b, number);

                wire_put_bytes(b, 1, json_key(m));
                if (t->elem->kind != SCHEMA_BYTES || m->value.type != JSON_NULL)
                        encode_value(b, t->elem, &m->value, 2);
                wire_close(b, at);
        }
}

static void encode_list(struct buf *b, const struct schema_type *t, const struct json *v, uint32_t number) {
        size_t at = 0;

        if (t->flags & SCHEMA_TYPE_ITEMS_MESSAGE) {
                at = wire_open(b, number);
                number = 1;
        }
        json_each_item(it, v)
                encode_value(b, t->elem, it, number);
        if (t->flags & SCHEMA_TYPE_ITEMS_MESSAGE)
                wire_close(b, at);
}

static void encode_field(struct buf *b, const struct schema_field *f, const struct json *v) {
        bool set = json_type(v) != JSON_NULL;
        enum schema_kind k = (enum schema_kind) f->type->kind;

        if (v && !set && (k == SCHEMA_TIME || k == SCHEMA_MICRO_TIME)) /* is there, and no time: upstream's zero */
                set = true;
        if (!set && ((f->flags & SCHEMA_POINTER) || k == SCHEMA_LIST || k == SCHEMA_MAP || k == SCHEMA_BYTES))
                return;
        encode_value(b, f->type, v, f->pb);
}

static void encode_struct(struct buf *b, const struct schema_type *t, const struct json *v) {
        size_t hint = 0;

        for (size_t i = 0; i < t->n_by_pb; i++) {
                size_t k = t->by_pb[i];

                if (k < t->n_fields) {
                        const struct schema_field *f = &t->fields[k];

                        encode_field(b, f, json_get_after(v, field_name(f), &hint));
                } else {
                        size_t at = wire_open(b, t->inlines[k - t->n_fields].pb);

                        encode_message(b, t->inlines[k - t->n_fields].type, v);
                        wire_close(b, at);
                }
        }
}

/* JSONSchemaPropsOrBool and its kin: both alternatives are fields, and a schema allows. */
static void encode_union(struct buf *b, const struct schema_type *t, const struct json *v) {
        for (size_t i = 0; i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];

                switch (f->type->kind) {
                case SCHEMA_BOOL:
                        wire_put_int(b, f->pb, json_bool_or(v, json_is(v, JSON_OBJECT)));
                        break;
                case SCHEMA_LIST:
                        if (json_is(v, JSON_ARRAY))
                                encode_list(b, f->type, v, f->pb);
                        break;
                default:
                        if (json_is(v, JSON_OBJECT))
                                encode_value(b, f->type, v, f->pb);
                }
        }
}

/* The content of a message, without tag and length. v may be NULL: the zero value. */
static void encode_message(struct buf *b, const struct schema_type *t, const struct json *v) {
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_STRUCT:
                encode_struct(b, t, v);
                break;
        case SCHEMA_UNION:
                encode_union(b, t, v);
                break;
        case SCHEMA_QUANTITY:
                wire_put_bytes(b, 1, json_str_or(v, STR("0")));
                break;
        case SCHEMA_TIME:
        case SCHEMA_MICRO_TIME:
                encode_time(b, t, v);
                break;
        case SCHEMA_DURATION:
                encode_duration(b, v);
                break;
        case SCHEMA_INT_OR_STRING:
                encode_int_or_string(b, v);
                break;
        default:
                encode_any(b, v);
        }
}

static void encode_bytes(struct buf *b, const struct json *v, uint32_t number) {
        _cleanup_buf_ struct buf raw = BUF_INIT;

        (void) base64_decode(&raw, json_str(v)); /* normalised: it is valid */
        wire_put_bytes(b, number, buf_str(&raw));
}

static void encode_double(struct buf *b, const struct json *v, uint32_t number) {
        double d = json_double_or(v, 0);

        wire_put_tag(b, number, WIRE_FIXED64);
        buf_add(b, &d, sizeof(d)); /* IEEE 754, little-endian like us */
}

static void encode_value(struct buf *b, const struct schema_type *t, const struct json *v, uint32_t number) {
        size_t at;

        switch ((enum schema_kind) t->kind) {
        case SCHEMA_BOOL:
                wire_put_int(b, number, json_bool(v));
                break;
        case SCHEMA_INT32:
        case SCHEMA_INT64:
                wire_put_int(b, number, json_int(v));
                break;
        case SCHEMA_DOUBLE:
                encode_double(b, v, number);
                break;
        case SCHEMA_STRING:
                wire_put_bytes(b, number, json_str(v));
                break;
        case SCHEMA_BYTES:
                encode_bytes(b, v, number);
                break;
        case SCHEMA_LIST:
                encode_list(b, t, v, number);
                break;
        case SCHEMA_MAP:
                encode_map(b, t, v, number);
                break;
        default:
                at = wire_open(b, number);
                encode_message(b, t, v);
                wire_close(b, at);
        }
}

int protobuf_encode(struct buf *dst, const struct schema_type *t, const struct json *value, struct error *err) {
        if (t->kind != SCHEMA_STRUCT || (t->n_by_pb == 0 && t->n_fields > 2)) /* Table: its fields have no numbers */
                return error_status(err, REASON_NOT_ACCEPTABLE,
                                    "object %s does not implement the protobuf marshalling interface "
                                    "and cannot be encoded to a protobuf message",
                                    t->go_name);
        encode_message(dst, t, value);
        return 0;
}

static void put_envelope(struct buf *b, struct str api_version, struct str kind) {
        buf_add_str(b, PROTOBUF_MAGIC);
        size_t at = wire_open(b, 1);
        wire_put_bytes(b, 1, api_version);
        wire_put_bytes(b, 2, kind);
        wire_close(b, at);
}

static void put_end(struct buf *b) {
        wire_put_bytes(b, 3, STR(""));
        wire_put_bytes(b, 4, STR(""));
}

void protobuf_envelope(struct buf *before, struct buf *behind, struct str api_version, struct str kind, size_t n) {
        put_envelope(before, api_version, kind);
        wire_put_length(before, 2, n);
        put_end(behind);
}

int protobuf_encode_object(struct buf *dst, const struct schema_type *t, const struct json *object, struct error *err) {
        size_t start = dst->n, at;

        put_envelope(dst, json_str(json_getc(object, "apiVersion")), json_str(json_getc(object, "kind")));
        at = wire_open(dst, 2);
        int r = protobuf_encode(dst, t, object, err);
        if (r < 0) {
                dst->n = start;
                return r;
        }
        wire_close(dst, at);
        put_end(dst);
        return 0;
}
