/* Protobuf to documents. Fields may come in any order and lists in pieces, so a message's values are collected in
 * slots, one for each field of the type, and written out in declaration order, as decode.c does. A message that is
 * inlined in JSON fills the slots of its own fields within its parent's. One that comes twice is one whose pieces have
 * been sent apart: its slots stay until its parent ends, so that no byte is read twice however many pieces there are.
 *
 * What is wrong is told in the words of Go's generated code, which reads a field's tag, looks whether the type is that
 * of the field and then reads the value. */
#include "schema/protobuf.h"

#include "base/encode.h"
#include "base/time.h"
#include "schema/internal.h"
#include "schema/quantity.h"
#include "schema/types.h"
#include "schema/wire.h"

#define MAX_DEPTH 100

struct slot {
        struct json value;
        bool set;
        void *pieces; /* of a message, what has come of it: its own slots, or the fields of a small one */
};

struct reader {
        struct arena *arena;
        struct error *err;
        struct error *late; /* what is found only when all has been read */
        size_t depth;
};

static int read_piece(struct reader *r, const struct schema_type *t, struct str bytes, struct slot *slot);
static int finish(struct reader *r, const struct schema_type *t, struct slot *slot);
static int read_value(struct reader *r, const struct schema_type *t, const struct wire_field *w, struct json *ret);
static int decode_object(struct arena *a, const struct schema_type *t, const struct protobuf_unknown *u, size_t depth,
                         struct json *ret, struct error *err);

/* ---- fields ---- */

static int failed(struct reader *r, const char *what) {
        return error_set(r->err, -EINVAL, "%s", what);
}

/* The tag of the message's next field: 1, or 0 at its end. */
static int next_tag(struct reader *r, const char *message, struct str *rest, uint64_t *ret) {
        const char *what;

        if (rest->n == 0)
                return 0;
        if (wire_varint(rest, ret, &what) < 0)
                return failed(r, what);
        if ((*ret & 7) == WIRE_GROUP_END)
                return error_set(r->err, -EINVAL, "proto: %s: wiretype end group for non-group", message);
        if ((int32_t) (*ret >> 3) <= 0)
                return error_set(r->err, -EINVAL, "proto: %s: illegal tag %d (wire type %llu)", message,
                                 (int32_t) (*ret >> 3), (unsigned long long) *ret);
        return 1;
}

static int skip(struct reader *r, struct str *rest, uint64_t tag) {
        const char *what;

        return wire_skip(rest, tag, &what) < 0 ? failed(r, what) : 0;
}

static int wrong_type(struct reader *r, uint64_t tag, struct str field) {
        return error_set(r->err, -EINVAL, "proto: wrong wireType = %d for field %" STR_FMT, (int) (tag & 7),
                         STR_ARG(field));
}

static int take(struct reader *r, struct str *rest, enum wire_type type, struct wire_field *ret) {
        const char *what;

        return wire_value(rest, type, ret, &what) < 0 ? failed(r, what) : 0;
}

static enum wire_type wire_type_of(const struct schema_type *t) {
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_BOOL:
        case SCHEMA_INT32:
        case SCHEMA_INT64:
                return WIRE_VARINT;
        case SCHEMA_DOUBLE:
                return WIRE_FIXED64;
        default:
                return WIRE_BYTES;
        }
}

/* "v1.ServiceReference" → "ServiceReference" */
static const char *message_name(const struct schema_type *t) {
        const char *dot = strrchr(t->go_name, '.');

        return dot ? dot + 1 : t->go_name;
}

/* The small messages behind a scalar. */
static const struct small {
        const char *name;
        struct {
                const char *name;
                enum wire_type type;
        } fields[5]; /* by number */
} timestamp = { "Timestamp", { { 0 }, { "Seconds", WIRE_VARINT }, { "Nanos", WIRE_VARINT } } },
  quantity = { "Quantity", { { 0 }, { "String_", WIRE_BYTES } } },
  int_or_string = { "IntOrString",
                    { { 0 }, { "Type", WIRE_VARINT }, { "IntVal", WIRE_VARINT }, { "StrVal", WIRE_BYTES } } },
  duration = { "Duration", { { 0 }, { "Duration", WIRE_VARINT } } }, raw = { NULL, { { 0 }, { "Raw", WIRE_BYTES } } },
  type_meta = { "TypeMeta", { { 0 }, { "APIVersion", WIRE_BYTES }, { "Kind", WIRE_BYTES } } },
  unknown = { "Unknown",
              { { 0 },
                { "TypeMeta", WIRE_BYTES },
                { "Raw", WIRE_BYTES },
                { "ContentEncoding", WIRE_BYTES },
                { "ContentType", WIRE_BYTES } } };

/* Of a field that comes more than once the last counts. nested: what field 1 is, whose own come behind these. */
static int read_small(struct reader *r, const struct small *m, const char *name, struct str bytes,
                      const struct small *nested, struct wire_field *fields) {
        uint64_t tag;
        int n;

        while ((n = next_tag(r, name, &bytes, &tag)) > 0) {
                size_t i = tag >> 3 < ARRAY_SIZE(m->fields) ? (size_t) (tag >> 3) : 0;

                if (!m->fields[i].name) {
                        TRY(skip(r, &bytes, tag));
                        continue;
                }
                if ((tag & 7) != m->fields[i].type)
                        return wrong_type(r, tag, str_of(m->fields[i].name));
                TRY(take(r, &bytes, m->fields[i].type, &fields[i]));
                if (nested && i == 1)
                        TRY(read_small(r, nested, nested->name, fields[1].bytes, NULL, fields + 5));
        }
        return n;
}

/* ---- scalars that are messages ---- */

/* Go keeps the seconds of a Time and the microseconds of a MicroTime. */
static int read_time(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct wire_field f[5] = { 0 };
        struct moment m;
        char text[36];

        *ret = json_null();
        if (bytes.n == 0)
                return 0;
        TRY(read_small(r, &timestamp, timestamp.name, bytes, NULL, f));
        int64_t ns = t->kind == SCHEMA_TIME ? 0 : (int32_t) f[2].value / 1000 * 1000;
        int64_t carry = ns / NSEC_PER_SEC - (ns % NSEC_PER_SEC < 0);
        m.seconds = (int64_t) f[1].value;
        if (m.seconds < MOMENT_MIN || m.seconds > MOMENT_MAX) {
                error_set(r->late->err ? NULL : r->late, -EINVAL, "time out of range");
                return 0;
        }
        m.seconds += carry;
        m.ns = (int32_t) (ns - carry * NSEC_PER_SEC);
        if (m.seconds != MOMENT_MIN || m.ns > 0)
                *ret = json_of_copy(r->arena, moment_format(text, m, t->kind == SCHEMA_TIME ? 0 : 6));
        return 0;
}

static int read_quantity(struct reader *r, struct str bytes, struct slot *slot) {
        struct wire_field f[5] = { 0 };
        struct str text;

        TRY(read_small(r, &quantity, quantity.name, bytes, NULL, f));
        if (slot->set && !f[1].bytes.p)
                return 0;
        TRY(quantity_canonical(r->arena, f[1].bytes.p ? f[1].bytes : STR("0"), &text, r->err));
        slot->value = json_of_str(text);
        return 0;
}

/* The raw bytes are JSON, or an object in an envelope of its own. */
static int finish_any(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct json *v = NULL;
        bool owned = t == &type_FieldsV1;

        *ret = json_null();
        if (bytes.n == 0)
                return 0;
        if (str_has_prefix(bytes, PROTOBUF_MAGIC)) {
                struct protobuf_unknown u;
                struct str group, version;

                TRY(protobuf_open(bytes, &u, r->err));
                TRY(api_parse_group_version(u.api_version, &group, &version, r->err));
                t = api_find_type(group, version, u.kind);
                if (!t || t->kind != SCHEMA_STRUCT)
                        return error_set(r->err, -EINVAL,
                                         "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT "\"",
                                         STR_ARG(u.kind), STR_ARG(u.api_version));
                return decode_object(r->arena, t, &u, r->depth, ret, r->err);
        }
        if (json_parse(r->arena, bytes, NULL, &v, owned || r->late->err ? NULL : r->late) >= 0)
                *ret = *v;
        else if (owned) /* what nobody can read owns nothing */
                *ret = json_of_str(STR(""));
        return 0;
}

/* The messages of which a field that comes again takes the place of the one before. */
static const struct small *small_of(const struct schema_type *t) {
        return t->kind == SCHEMA_DURATION ? &duration : t->kind == SCHEMA_INT_OR_STRING ? &int_or_string : &raw;
}

static int finish_small(struct reader *r, const struct schema_type *t, const struct wire_field *f, struct json *ret) {
        char text[36];

        switch ((enum schema_kind) t->kind) {
        case SCHEMA_DURATION:
                *ret = json_of_copy(r->arena, duration_format(text, (int64_t) f[1].value));
                return 0;
        case SCHEMA_INT_OR_STRING:
                *ret = f[1].value ? json_of_str(f[3].bytes.p ? f[3].bytes : STR(""))
                                  : json_of_int((int32_t) f[2].value);
                return 0;
        default:
                return finish_any(r, t, f[1].bytes, ret);
        }
}

static int read_bytes(struct reader *r, struct str bytes, struct json *ret) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        base64_encode(&text, bytes);
        *ret = json_of_copy(r->arena, buf_str(&text));
        return 0;
}

/* ---- containers ---- */

/* f: the field of type of, or NULL for the items of a list that is a message. */
static int read_list_item(struct reader *r, const struct schema_type *of, const struct schema_field *f,
                          const struct schema_type *t, uint64_t tag, struct str *rest, struct json *list) {
        enum wire_type type = wire_type_of(t->elem);
        struct wire_field w = { 0 };
        struct json item;

        if ((tag & 7) == WIRE_BYTES && type == WIRE_VARINT) { /* packed; the last may reach beyond */
                struct str end;

                TRY(take(r, rest, WIRE_BYTES, &w));
                end = *rest;
                *rest = str_n(w.bytes.p, w.bytes.n + rest->n);
                while (rest->p < end.p) {
                        TRY(take(r, rest, WIRE_VARINT, &w));
                        TRY(read_value(r, t->elem, &w, &item));
                        json_push(r->arena, list, item);
                }
                return 0;
        }
        if ((tag & 7) != type)
                return wrong_type(r, tag, f ? schema_go_name(r->arena, of, f) : STR("Items"));
        TRY(take(r, rest, type, &w));
        TRY(read_value(r, t->elem, &w, &item));
        json_push(r->arena, list, item);
        return 0;
}

/* Nobody looks at the types in an entry, nor, while a value is read, at where the entry ends. */
static int read_map_entry(struct reader *r, const struct schema_type *t, struct str *rest, struct json *map) {
        struct json v = t->elem->kind == SCHEMA_BYTES ? json_null() : schema_zero(r->arena, t->elem);
        struct wire_field entry = { 0 }, key = { .bytes = STR("") }, value = { 0 };
        const char *what;
        uint64_t tag;

        TRY(take(r, rest, WIRE_BYTES, &entry));
        struct str end = *rest;
        struct str in = str_n(entry.bytes.p, entry.bytes.n + end.n);
        while (in.p < end.p) {
                if (wire_varint(&in, &tag, &what) < 0)
                        return failed(r, what);
                if ((int32_t) (tag >> 3) == 1)
                        TRY(take(r, &in, WIRE_BYTES, &key));
                else if ((int32_t) (tag >> 3) == 2) {
                        TRY(take(r, &in, wire_type_of(t->elem), &value));
                        TRY(read_value(r, t->elem, &value, &v));
                } else {
                        TRY(skip(r, &in, tag));
                        if (in.p > end.p)
                                return failed(r, "unexpected EOF");
                }
        }
        if (key.bytes.n > UINT16_MAX)
                return error_set(r->err, -EINVAL, "map key of %zu bytes is too long", key.bytes.n);
        json_add(r->arena, map, key.bytes, v);
        return 0;
}

static bool is_message(const struct schema_type *t) {
        return wire_type_of(t) == WIRE_BYTES && t->kind != SCHEMA_BYTES && t->kind != SCHEMA_STRING;
}

static int read_field(struct reader *r, const struct schema_type *of, const struct schema_field *f, uint64_t tag,
                      struct str *rest, struct slot *slot) {
        const struct schema_type *t = f->type;
        struct wire_field w = { 0 };

        if (t->kind == SCHEMA_LIST && !(t->flags & SCHEMA_TYPE_ITEMS_MESSAGE)) {
                if (!slot->set)
                        *slot = (struct slot) { json_new_array(), true, NULL };
                return read_list_item(r, of, f, t, tag, rest, &slot->value);
        }
        if ((tag & 7) != wire_type_of(t))
                return wrong_type(r, tag, schema_go_name(r->arena, of, f));
        if (t->kind == SCHEMA_MAP) {
                if (!slot->set)
                        *slot = (struct slot) { json_new_object(), true, NULL };
                return read_map_entry(r, t, rest, &slot->value);
        }
        TRY(take(r, rest, wire_type_of(t), &w));
        TRY(is_message(t) ? read_piece(r, t, w.bytes, slot) : read_value(r, t, &w, &slot->value));
        slot->set = true;
        return 0;
}

static const struct schema_field *field_by_number(const struct schema_type *t, uint32_t number,
                                                  const struct schema_inline **ret_inline) {
        for (size_t i = 0; i < t->n_by_pb; i++) {
                size_t k = t->by_pb[i];

                if (k < t->n_fields && t->fields[k].pb == number)
                        return &t->fields[k];
                if (k >= t->n_fields && t->inlines[k - t->n_fields].pb == number)
                        *ret_inline = &t->inlines[k - t->n_fields];
        }
        return NULL;
}

/* An embedded struct's first field among those of t. */
static size_t first_of(const struct schema_type *t, const struct schema_type *embedded) {
        return embedded->n_fields ? (size_t) (schema_field(t, field_name(&embedded->fields[0])) - t->fields) : 0;
}

static int read_slots(struct reader *r, const struct schema_type *t, struct str bytes, struct slot *slots) {
        uint64_t tag;
        int n;

        while ((n = next_tag(r, message_name(t), &bytes, &tag)) > 0) {
                const struct schema_inline *in = NULL;
                const struct schema_field *f = field_by_number(t, (uint32_t) (tag >> 3), &in);
                struct wire_field w = { 0 };

                if (f)
                        TRY(read_field(r, t, f, tag, &bytes, &slots[f - t->fields]));
                else if (!in)
                        TRY(skip(r, &bytes, tag));
                else if ((tag & 7) != WIRE_BYTES)
                        return wrong_type(r, tag, str_of(message_name(in->type)));
                else {
                        TRY(take(r, &bytes, WIRE_BYTES, &w));
                        TRY(read_slots(r, in->type, w.bytes, slots + first_of(t, in->type)));
                }
        }
        return n;
}

/* Sorted by key, which encoders do already; of a key that is there twice the last counts. */
static void sort_map(struct json *map) {
        bool sorted = true;
        size_t n = 0;

        for (size_t i = 1; i < map->len; i++)
                sorted = sorted && str_cmp(json_key(&json_members(map)[i - 1]), json_key(&json_members(map)[i])) < 0;
        if (sorted)
                return;
        json_sort(map);
        for (size_t i = 0; i < map->len; i++)
                if (n > 0 && str_eq(json_key(&json_members(map)[n - 1]), json_key(&json_members(map)[i])))
                        json_members(map)[n - 1] = json_members(map)[i];
                else
                        json_members(map)[n++] = json_members(map)[i];
        map->len = (uint32_t) n;
}

static int finish_struct(struct reader *r, const struct schema_type *t, struct slot *slots, struct json *ret) {
        struct json out = json_new_object();
        size_t n = 0;

        for (size_t i = 0; i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];

                TRY(finish(r, f->type, &slots[i]));
                if (slots[i].set && f->type->kind == SCHEMA_MAP)
                        sort_map(&slots[i].value);
                slots[i].set = slots[i].set ? !schema_is_empty(f, &slots[i].value)
                                            : schema_absent(r->arena, f, &slots[i].value);
                n += slots[i].set;
        }
        out.at = (uintptr_t) arena_array(r->arena, struct json_member, n + 1);
        for (size_t i = 0; i < t->n_fields; i++)
                if (slots[i].set)
                        json_members(&out)[out.len++] =
                                        (struct json_member) { .key = member_key(field_name(&t->fields[i])),
                                                               .value = slots[i].value };
        *ret = out;
        return 0;
}

/* The alternative that is there; a schema before a bool, as upstream prints. */
static int finish_union(struct reader *r, const struct schema_type *t, struct slot *slots, struct json *ret) {
        *ret = json_null();
        for (size_t i = 0; i < t->n_fields; i++) {
                TRY(finish(r, t->fields[i].type, &slots[i]));
                if (slots[i].set && (ret->type == JSON_NULL || ret->type == JSON_BOOL))
                        *ret = slots[i].value;
        }
        return 0;
}

static int read_items(struct reader *r, const struct schema_type *t, struct str bytes, struct json *list) {
        uint64_t tag;
        int n;

        while ((n = next_tag(r, message_name(t), &bytes, &tag)) > 0)
                if (tag >> 3 == 1)
                        TRY(read_list_item(r, t, NULL, t, tag, &bytes, list));
                else
                        TRY(skip(r, &bytes, tag));
        return n;
}

static void *pieces(struct slot *slot, size_t n, size_t size) {
        if (!slot->pieces)
                slot->pieces = xcalloc(n, size);
        return slot->pieces;
}

static void pieces_free(const struct schema_type *t, struct slot *slot) {
        if (slot->pieces && (t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_UNION))
                for (size_t i = 0; i < t->n_fields; i++)
                        pieces_free(t->fields[i].type, (struct slot *) slot->pieces + i);
        free(TAKE_PTR(slot->pieces));
}

/* A message, or what is sent of it here. */
static int read_piece(struct reader *r, const struct schema_type *t, struct str bytes, struct slot *slot) {
        int n;

        if (r->depth >= MAX_DEPTH)
                return error_set(r->err, -EINVAL, "message is nested too deeply");
        r->depth++;
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_STRUCT:
        case SCHEMA_UNION:
                n = read_slots(r, t, bytes, pieces(slot, t->n_fields + 1, sizeof(struct slot)));
                break;
        case SCHEMA_LIST:
                if (!slot->set)
                        slot->value = json_new_array();
                n = read_items(r, t, bytes, &slot->value);
                break;
        case SCHEMA_QUANTITY:
                n = read_quantity(r, bytes, slot);
                break;
        case SCHEMA_TIME:
        case SCHEMA_MICRO_TIME:
                n = read_time(r, t, bytes, &slot->value);
                break;
        default:
                n = read_small(r, small_of(t), small_of(t)->name ?: message_name(t), bytes, NULL,
                               pieces(slot, 5, sizeof(struct wire_field)));
        }
        r->depth--;
        return n;
}

/* The value of what has come. */
static int finish(struct reader *r, const struct schema_type *t, struct slot *slot) {
        if (!slot->pieces)
                return 0;
        r->depth++;
        int n = t->kind == SCHEMA_STRUCT  ? finish_struct(r, t, slot->pieces, &slot->value)
                : t->kind == SCHEMA_UNION ? finish_union(r, t, slot->pieces, &slot->value)
                                          : finish_small(r, t, slot->pieces, &slot->value);
        r->depth--;
        pieces_free(t, slot);
        return n;
}

static int read_message(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct slot slot = { 0 };
        int n = read_piece(r, t, bytes, &slot);

        if (n >= 0)
                n = finish(r, t, &slot);
        pieces_free(t, &slot);
        *ret = slot.value;
        return n;
}

static int read_value(struct reader *r, const struct schema_type *t, const struct wire_field *w, struct json *ret) {
        enum schema_kind k = (enum schema_kind) t->kind;
        double d;

        switch (k) {
        case SCHEMA_BOOL:
                *ret = json_of_bool(w->value != 0);
                return 0;
        case SCHEMA_INT32:
                *ret = json_of_int((int32_t) w->value);
                return 0;
        case SCHEMA_INT64:
                *ret = json_of_int((int64_t) w->value);
                return 0;
        case SCHEMA_DOUBLE:
                memcpy(&d, &w->value, sizeof(d));
                if (d != d || d - d != 0)
                        return error_set(r->err, -EINVAL, "json: unsupported value");
                *ret = json_of_double(d);
                return 0;
        case SCHEMA_STRING:
                *ret = json_of_str(w->bytes);
                return 0;
        case SCHEMA_BYTES:
                return read_bytes(r, w->bytes, ret);
        default:
                return read_message(r, t, w->bytes, ret);
        }
}

/* ---- the envelope ---- */

int protobuf_open(struct str message, struct protobuf_unknown *ret, struct error *err) {
        struct reader r = { .err = err };
        struct wire_field f[10] = { 0 };

        if (!str_has_prefix(message, PROTOBUF_MAGIC))
                return error_set(err, -EINVAL,
                                 "provided data does not appear to be a protobuf message, expected prefix [107 56 115 "
                                 "0]");
        if (message.n == PROTOBUF_MAGIC.n)
                return error_set(err, -EINVAL, "empty body");
        int n = read_small(&r, &unknown, unknown.name, str_sub(message, PROTOBUF_MAGIC.n, message.n), &type_meta, f);
        if (n >= 0)
                *ret = (struct protobuf_unknown) { .raw = f[2].bytes,
                                                   .content_encoding = f[3].bytes,
                                                   .content_type = f[4].bytes,
                                                   .api_version = f[6].bytes,
                                                   .kind = f[7].bytes };
        return n;
}

static int decode(struct arena *a, const struct schema_type *t, struct str bytes, size_t depth, struct json *ret,
                  struct error *err) {
        _cleanup_error_ struct error late = ERROR_INIT;
        struct reader r = { .arena = a, .err = err, .late = &late, .depth = depth };

        TRY(read_message(&r, t, bytes, ret));
        if (late.err == 0)
                return 0;
        error_move(err, &late);
        return -EINVAL;
}

static int decode_object(struct arena *a, const struct schema_type *t, const struct protobuf_unknown *u, size_t depth,
                         struct json *ret, struct error *err) {
        struct json body, out = json_new_object();

        TRY(decode(a, t, u->raw, depth, &body, err));
        if (u->kind.n > 0)
                json_set_str(a, &out, "kind", u->kind);
        if (u->api_version.n > 0)
                json_set_str(a, &out, "apiVersion", u->api_version);
        json_each_member(m, &body)
                if (!str_eqc(json_key(m), "kind") && !str_eqc(json_key(m), "apiVersion"))
                        json_add(a, &out, json_key(m), m->value);
        *ret = out;
        return 0;
}

int protobuf_decode(struct arena *a, const struct schema_type *t, struct str bytes, struct json *ret,
                    struct error *err) {
        return decode(a, t, bytes, 0, ret, err);
}

int protobuf_decode_object(struct arena *a, const struct schema_type *t, const struct protobuf_unknown *u,
                           struct json *ret, struct error *err) {
        return decode_object(a, t, u, 0, ret, err);
}
