/* Protobuf to documents. Fields may come in any order and lists in pieces, so a message's values are collected in
 * slots, one for each field of the type, and written out in declaration order, as decode.c does. A message that is
 * inlined in JSON fills the slots of its own fields within its parent's. */
#include "schema/protobuf.h"

#include "base/encode.h"
#include "base/time.h"
#include "schema/internal.h"
#include "schema/quantity.h"
#include "schema/wire.h"

#define MAX_DEPTH 100

struct slot {
        struct json value;
        bool set;
};

struct reader {
        struct arena *arena;
        struct error *err;
        size_t depth;
};

static int read_message(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret);
static int read_value(struct reader *r, const struct schema_type *t, const struct wire_field *w, struct json *ret);

static int next(struct reader *r, struct str *rest, struct wire_field *ret) {
        const char *what = "";
        int n = wire_next(rest, ret, &what);

        return n < 0 ? error_set(r->err, n, "%s", what) : n;
}

static int expect(struct reader *r, const struct wire_field *w, enum wire_type type, const char *what) {
        if (w->type == type)
                return 0;
        return error_set(r->err, -EINVAL, "proto: wrong wireType = %d for field %s", (int) w->type, what);
}

/* Fields 1 to 3 of the small messages behind a scalar: Time, Quantity, IntOrString, RawExtension … */
static int read_small(struct reader *r, struct str bytes, struct wire_field fields[static 4]) {
        struct wire_field w;
        int n;

        while ((n = next(r, &bytes, &w)) > 0)
                if (w.number < 4)
                        fields[w.number] = w;
        return n;
}

/* ---- scalars that are messages ---- */

static int read_time(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct wire_field f[4] = { 0 };
        struct moment m;
        char text[36];

        *ret = json_null();
        if (bytes.n == 0)
                return 0;
        TRY(read_small(r, bytes, f));
        m = (struct moment) { (int64_t) f[1].value, (int32_t) f[2].value };
        if (m.seconds < MOMENT_MIN || m.seconds > MOMENT_MAX || m.ns < 0 || m.ns >= (int32_t) NSEC_PER_SEC)
                return error_set(r->err, -EINVAL, "time out of range");
        *ret = json_of_copy(r->arena, moment_format(text, m, t->kind == SCHEMA_TIME ? 0 : 6));
        return 0;
}

static int read_quantity(struct reader *r, struct str bytes, struct json *ret) {
        struct wire_field f[4] = { 0 };
        struct str text;

        TRY(read_small(r, bytes, f));
        TRY(quantity_canonical(r->arena, f[1].bytes.n ? f[1].bytes : STR("0"), &text, r->err));
        *ret = json_of_str(text);
        return 0;
}

static int read_int_or_string(struct reader *r, struct str bytes, struct json *ret) {
        struct wire_field f[4] = { 0 };

        TRY(read_small(r, bytes, f));
        *ret = f[1].value ? json_of_str(f[3].bytes.p ? f[3].bytes : STR("")) : json_of_int((int32_t) f[2].value);
        return 0;
}

static int read_duration(struct reader *r, struct str bytes, struct json *ret) {
        struct wire_field f[4] = { 0 };
        char text[36];

        TRY(read_small(r, bytes, f));
        *ret = json_of_copy(r->arena, duration_format(text, (int64_t) f[1].value));
        return 0;
}

/* The raw bytes are JSON, or an object in an envelope of its own. */
static int read_any(struct reader *r, struct str bytes, struct json *ret) {
        struct wire_field f[4] = { 0 };
        struct json *v = NULL;
        int n;

        *ret = json_null();
        n = read_small(r, bytes, f);
        if (n < 0 || f[1].bytes.n == 0)
                return n;
        if (str_has_prefix(f[1].bytes, PROTOBUF_MAGIC)) {
                struct protobuf_unknown u;
                struct str group, version;
                const struct schema_type *t;

                TRY(protobuf_open(f[1].bytes, &u, r->err));
                TRY(api_parse_group_version(u.api_version, &group, &version, r->err));
                t = api_find_type(group, version, u.kind);
                if (!t || t->kind != SCHEMA_STRUCT)
                        return error_set(r->err, -EINVAL,
                                         "no kind \"%" STR_FMT "\" is registered for version \"%" STR_FMT "\"",
                                         STR_ARG(u.kind), STR_ARG(u.api_version));
                return protobuf_decode_object(r->arena, t, &u, ret, r->err);
        }
        TRY(json_parse(r->arena, f[1].bytes, NULL, &v, r->err));
        *ret = *v;
        return 0;
}

static int read_bytes(struct reader *r, struct str bytes, struct json *ret) {
        _cleanup_buf_ struct buf text = BUF_INIT;

        base64_encode(&text, bytes);
        *ret = json_of_copy(r->arena, buf_str(&text));
        return 0;
}

/* ---- containers ---- */

static int read_list_item(struct reader *r, const struct schema_type *t, const struct wire_field *w,
                          struct json *list) {
        struct json item;

        if (w->type == WIRE_BYTES && (t->elem->kind == SCHEMA_INT32 || t->elem->kind == SCHEMA_INT64)) {
                struct str rest = w->bytes; /* packed: read a varint as a field without a tag */

                while (rest.n > 0) {
                        uint64_t v = 0;
                        unsigned shift = 0;

                        for (; rest.n > 0 && shift < 64; shift += 7) {
                                uint8_t c = (uint8_t) *rest.p++;

                                rest.n--;
                                v |= (uint64_t) (c & 0x7f) << shift;
                                if (c < 0x80)
                                        break;
                        }
                        json_push(r->arena, list,
                                  json_of_int(t->elem->kind == SCHEMA_INT32 ? (int32_t) v : (int64_t) v));
                }
                return 0;
        }
        TRY(read_value(r, t->elem, w, &item));
        json_push(r->arena, list, item);
        return 0;
}

static int read_map_entry(struct reader *r, const struct schema_type *t, struct str bytes, struct json *map) {
        struct wire_field f[4] = { 0 };
        struct json v = t->elem->kind == SCHEMA_BYTES ? json_null() : schema_zero(r->arena, t->elem);

        TRY(read_small(r, bytes, f));
        if (f[2].number == 2)
                TRY(read_value(r, t->elem, &f[2], &v));
        if (f[1].bytes.n > UINT16_MAX)
                return error_set(r->err, -EINVAL, "map key of %zu bytes is too long", f[1].bytes.n);
        json_add(r->arena, map, f[1].bytes.p ? f[1].bytes : STR(""), v);
        return 0;
}

static int read_field(struct reader *r, const struct schema_field *f, const struct wire_field *w, struct slot *slot) {
        const struct schema_type *t = f->type;
        int n;

        if (t->kind == SCHEMA_LIST && !(t->flags & SCHEMA_TYPE_ITEMS_MESSAGE)) {
                if (!slot->set)
                        *slot = (struct slot) { json_new_array(), true };
                return read_list_item(r, t, w, &slot->value);
        }
        if (t->kind == SCHEMA_MAP) {
                TRY(expect(r, w, WIRE_BYTES, f->name));
                if (!slot->set)
                        *slot = (struct slot) { json_new_object(), true };
                return read_map_entry(r, t, w->bytes, &slot->value);
        }
        n = read_value(r, t, w, &slot->value);
        slot->set = n >= 0;
        return n;
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

static int read_slots(struct reader *r, const struct schema_type *t, struct str bytes, struct slot *slots) {
        struct wire_field w;
        int n;

        while ((n = next(r, &bytes, &w)) > 0) {
                const struct schema_inline *in = NULL;
                const struct schema_field *f = field_by_number(t, w.number, &in);

                if (f)
                        n = read_field(r, f, &w, &slots[f - t->fields]);
                else if (in) {
                        n = expect(r, &w, WIRE_BYTES, in->type->name);
                        if (n >= 0 && in->type->n_fields > 0)
                                n = read_slots(r, in->type, w.bytes,
                                               slots + (schema_field(t, field_name(&in->type->fields[0])) - t->fields));
                }
                if (n < 0)
                        return n;
        }
        return n;
}

/* Sorted by key, which encoders do already; a key that is there twice is malformed and stays once. */
static void sort_map(struct json *map) {
        bool sorted = true;
        size_t n = 0;

        for (size_t i = 1; i < map->len; i++)
                sorted = sorted && str_cmp(json_key(&json_members(map)[i - 1]), json_key(&json_members(map)[i])) < 0;
        if (sorted)
                return;
        json_sort(map);
        for (size_t i = 0; i < map->len; i++)
                if (n == 0 || !str_eq(json_key(&json_members(map)[n - 1]), json_key(&json_members(map)[i])))
                        json_members(map)[n++] = json_members(map)[i];
        map->len = (uint32_t) n;
}

static int read_struct(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct slot *slots = arena_array(r->arena, struct slot, t->n_fields + 1);
        struct json out = json_new_object();
        size_t n = 0;

        TRY(read_slots(r, t, bytes, slots));
        for (size_t i = 0; i < t->n_fields; i++) {
                const struct schema_field *f = &t->fields[i];

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
static int read_union(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct slot slots[4] = { 0 };

        TRY(read_slots(r, t, bytes, slots));
        *ret = json_null();
        for (size_t i = 0; i < t->n_fields; i++)
                if (slots[i].set && (ret->type == JSON_NULL || ret->type == JSON_BOOL))
                        *ret = slots[i].value;
        return 0;
}

static int read_items(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        struct json list = json_new_array();
        struct wire_field w;
        int n;

        while ((n = next(r, &bytes, &w)) > 0) {
                if (w.number == 1)
                        n = read_list_item(r, t, &w, &list);
                if (n < 0)
                        return n;
        }
        *ret = list;
        return n;
}

static int read_message(struct reader *r, const struct schema_type *t, struct str bytes, struct json *ret) {
        int n;

        if (r->depth >= MAX_DEPTH)
                return error_set(r->err, -EINVAL, "message is nested too deeply");
        r->depth++;
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_STRUCT:
                n = read_struct(r, t, bytes, ret);
                break;
        case SCHEMA_UNION:
                n = read_union(r, t, bytes, ret);
                break;
        case SCHEMA_LIST:
                n = read_items(r, t, bytes, ret);
                break;
        case SCHEMA_QUANTITY:
                n = read_quantity(r, bytes, ret);
                break;
        case SCHEMA_TIME:
        case SCHEMA_MICRO_TIME:
                n = read_time(r, t, bytes, ret);
                break;
        case SCHEMA_DURATION:
                n = read_duration(r, bytes, ret);
                break;
        case SCHEMA_INT_OR_STRING:
                n = read_int_or_string(r, bytes, ret);
                break;
        default:
                n = read_any(r, bytes, ret);
        }
        r->depth--;
        return n;
}

static int read_value(struct reader *r, const struct schema_type *t, const struct wire_field *w, struct json *ret) {
        enum schema_kind k = (enum schema_kind) t->kind;
        double d;

        TRY(expect(r, w,
                   k == SCHEMA_BOOL || k == SCHEMA_INT32 || k == SCHEMA_INT64 ? WIRE_VARINT
                   : k == SCHEMA_DOUBLE                                       ? WIRE_FIXED64
                                                                              : WIRE_BYTES,
                   t->go_name));
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
        struct wire_field f[4] = { 0 }, w;
        struct protobuf_unknown u = { 0 };
        struct str rest;
        int n;

        if (!str_has_prefix(message, PROTOBUF_MAGIC))
                return error_set(err, -EINVAL,
                                 "provided data does not appear to be a protobuf message, expected prefix [107 56 115 "
                                 "0]");
        rest = str_sub(message, PROTOBUF_MAGIC.n, message.n);
        if (str_empty(rest))
                return error_set(err, -EINVAL, "empty body");
        while ((n = next(&r, &rest, &w)) > 0) {
                if (w.type != WIRE_BYTES)
                        continue;
                if (w.number == 1) {
                        n = read_small(&r, w.bytes, f);
                        if (n < 0)
                                return n;
                        u.api_version = f[1].bytes;
                        u.kind = f[2].bytes;
                } else if (w.number == 2)
                        u.raw = w.bytes;
                else if (w.number == 3)
                        u.content_encoding = w.bytes;
                else if (w.number == 4)
                        u.content_type = w.bytes;
        }
        if (n < 0)
                return n;
        *ret = u;
        return 0;
}

int protobuf_decode(struct arena *a, const struct schema_type *t, struct str bytes, struct json *ret,
                    struct error *err) {
        struct reader r = { .arena = a, .err = err };

        return read_message(&r, t, bytes, ret);
}

int protobuf_decode_object(struct arena *a, const struct schema_type *t, const struct protobuf_unknown *u,
                           struct json *ret, struct error *err) {
        struct json body, out = json_new_object();

        TRY(protobuf_decode(a, t, u->raw, &body, err));
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
