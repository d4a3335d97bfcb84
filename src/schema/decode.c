/* Decoding: one walk over the document and its type side by side. Each struct's members are first put into slots, one
 * for each field of the type, and then written out in the order of the slots:
 *
 *   {"image":"x","foo":1,"name":"c"}     slots of Container: name │ image │ command │ …
 *      │          │        └───────────────────────▶ c
 *      │          └─▶ unknown field "spec.containers[0].foo"
 *      └──────────────────────────────────────────────▶ x
 *
 * Frames on the stack remember the way down, for messages only. */
#include <math.h>

#include "schema/decode.h"

#include <ctype.h>

#include "base/encode.h"
#include "base/quote.h"
#include "base/time.h"
#include "json/number.h"
#include "json/scan.h"
#include "json/text.h"
#include "schema/internal.h"
#include "schema/quantity.h"

#define MAX_DEPTH 10000
#define MAX_STRICT 100
#define MAX_SOURCES 100

struct frame {
        const struct frame *up;
        const struct schema_type *in; /* the struct whose field this is; NULL for map keys and list items */
        struct str key;
        size_t index; /* of a list item, when key.p is NULL */
        size_t depth;
};

struct decoder {
        struct arena *arena;
        struct str text;  /* that it is parsed from */
        size_t n_sources; /* looked for in it: not without end */
        struct json *strict;
        size_t n_found;      /* by the parser, at its beginning */
        const char **places; /* of the keys that the others are about */
        struct error *err;
        enum schema_form form;
        bool odd;
        /* What went wrong first: see explain() */
        bool explaining, found;
        struct error first;
        bool own;                 /* in what decodes itself, and ends it all */
        const struct frame *self; /* this, whose inner path nobody tells */
};

static int decode(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                  struct json *ret);

/* ---- messages ---- */

/* "spec.containers[0].name", as strict errors have it */
static void print_path(struct buf *b, const struct frame *at) {
        if (!at)
                return;
        print_path(b, at->up);
        if (!at->key.p)
                buf_printf(b, "[%zu]", at->index);
        else {
                if (b->n > 0)
                        buf_putc(b, '.');
                buf_add_str(b, at->key);
        }
}

/* "spec.containers.name": only the fields of structs, as Go's type errors have it */
static void print_fields(struct buf *b, const struct frame *at) {
        if (!at)
                return;
        print_fields(b, at->up);
        if (!at->in)
                return;
        if (b->n > 0)
                buf_putc(b, '.');
        buf_add_str(b, at->key);
}

/* A number as it was spelled: 1e3 is 1000, but no integer. */
static void print_number(struct buf *b, struct decoder *d, const struct json *v) {
        struct str source;

        if (json_is(v, JSON_DOUBLE) && d->form != SENT_PATCHED && d->n_sources++ < MAX_SOURCES &&
            json_find_number(d->text, d->form == SENT_YAML, v->d, &source))
                buf_add_str(b, source);
        else
                json_write(b, v);
}

/* What upstream's converter says, which makes objects of strategic merges without the way over JSON. */
static int convert_error(struct decoder *d, const struct schema_type *t, const struct json *v) {
        static const char *const from[] = {
                [JSON_NULL] = "invalid",  [JSON_BOOL] = "bool",   [JSON_INT] = "int64",  [JSON_DOUBLE] = "float64",
                [JSON_STRING] = "string", [JSON_ARRAY] = "slice", [JSON_OBJECT] = "map", [JSON_RAW] = "map",
        };
        static const char *const scalars[] = {
                [SCHEMA_BOOL] = "bool",     [SCHEMA_INT32] = "int32",    [SCHEMA_INT64] = "int64",
                [SCHEMA_STRING] = "string", [SCHEMA_DOUBLE] = "float64",
        };
        enum schema_kind to = (enum schema_kind) t->kind;
        bool number = to == SCHEMA_INT32 || to == SCHEMA_INT64 || to == SCHEMA_DOUBLE;

        if (to == SCHEMA_MAP || to == SCHEMA_LIST || to == SCHEMA_BYTES)
                return error_set(d->err, -EINVAL, "cannot restore %s from %s", to == SCHEMA_MAP ? "map" : "slice",
                                 from[v->type]);
        if (to >= ARRAY_SIZE(scalars) || !scalars[to])
                return error_set(d->err, -EINVAL, "cannot restore struct from: %s", from[v->type]);
        if ((json_is(v, JSON_INT) && (number || to == SCHEMA_STRING)) || (json_is(v, JSON_DOUBLE) && number))
                return error_set(d->err, -EINVAL, "cannot convert %s to %s", from[v->type], t->go_name);
        return error_set(d->err, -EINVAL, "unrecognized type: %s", to == SCHEMA_INT32 ? t->go_name : scalars[to]);
}

/* Where an error goes that ends nothing: others may come before it. */
static int mild(struct decoder *d, struct error *e) {
        if (!d->explaining) {
                error_move(d->err, e);
                return -EINVAL;
        }
        if (!d->found)
                error_move(&d->first, e);
        else
                error_clear(e);
        d->found = true;
        return 0;
}

/* json.UnmarshalTypeError; detail: the number's text follows */
static int type_error(struct decoder *d, const struct schema_type *t, const struct json *v, bool detail,
                      const struct frame *at) {
        _cleanup_buf_ struct buf path = BUF_INIT, value = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        const struct frame *f = d->self ? d->self : at;

        if (d->form == SENT_PATCHED && at)
                return convert_error(d, t, v);
        buf_addc(&value, json_type_in_go(v));
        if (detail) {
                buf_putc(&value, ' ');
                print_number(&value, d, v);
        }
        while (f && !f->in)
                f = f->up;
        print_fields(&path, f);
        if (f)
                error_set(&e, -EINVAL,
                          "json: cannot unmarshal %" STR_FMT " into Go struct field %s.%" STR_FMT " of type %s",
                          STR_ARG(buf_str(&value)), f->in->name, STR_ARG(buf_str(&path)), t->go_name);
        else
                error_set(&e, -EINVAL, "json: cannot unmarshal %" STR_FMT " into Go value of type %s",
                          STR_ARG(buf_str(&value)), t->go_name);
        if (!d->own)
                return mild(d, &e);
        error_move(d->err, &e);
        return -EINVAL;
}

/* Fields are decoded in the order of their type, but told in the order of the text, of which keys are views. */
static void tell(struct decoder *d, struct str key, struct json message) {
        size_t i = json_len(d->strict) - d->n_found;

        if (json_len(d->strict) >= MAX_STRICT)
                return;
        if (!d->places)
                d->places = arena_array(d->arena, const char *, MAX_STRICT);
        for (; i > 0 && d->places[i - 1] > key.p; i--)
                d->places[i] = d->places[i - 1];
        d->places[i] = key.p;
        json_insert(d->arena, d->strict, d->n_found + i, message);
}

static void unknown_field(struct decoder *d, struct str key, const struct frame *at) {
        _cleanup_buf_ struct buf b = BUF_INIT, text = BUF_INIT;
        struct frame last = { .up = at, .key = key };

        if (!d->strict)
                return;
        print_path(&b, &last);
        add_quoted(&text, buf_str(&b));
        tell(d, key, json_of_printf(d->arena, "unknown field %" STR_FMT, STR_ARG(buf_str(&text))));
}

/* What the parser has found already takes its place among the others when we come to it. */
static void duplicate_field(struct decoder *d, struct str key, const struct frame *at) {
        _cleanup_buf_ struct buf b = BUF_INIT, quoted = BUF_INIT;
        struct frame last = { .up = at, .key = key };

        print_path(&b, &last);
        add_quoted(&quoted, buf_str(&b));
        for (size_t i = 0; i < d->n_found; i++) {
                struct str text = json_str(json_item(d->strict, i));

                if (str_has_suffix(text, buf_str(&quoted)) && text.n == quoted.n + strlen("duplicate field "))
                        tell(d, key, json_of_str(text));
        }
}

/* ---- scalars ---- */

static int decode_int(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                      struct json *ret) {
        int64_t v;

        if (!json_is(in, JSON_INT) && !json_is(in, JSON_DOUBLE))
                return type_error(d, t, in, false, at);
        if (json_is(in, JSON_DOUBLE) && (d->form != SENT_PATCHED || in->d != trunc(in->d)))
                return type_error(d, t, in, true, at);
        if (json_is(in, JSON_DOUBLE)) /* as Go converts what is too large */
                v = in->d >= (double) INT64_MIN && in->d < -(double) INT64_MIN ? (int64_t) in->d : INT64_MIN;
        else
                v = json_int(in);
        if (t->kind == SCHEMA_INT32 && v != (int32_t) v && (d->form != SENT_PATCHED || d->own))
                return type_error(d, t, in, true, at);
        *ret = v == (int32_t) v && json_is(in, JSON_INT) ? *in : json_of_int(t->kind == SCHEMA_INT32 ? (int32_t) v : v);
        return 0;
}

/* Go takes a list of numbers, too, where null is zero. */
static int decode_byte_list(struct decoder *d, const struct json *in, const struct frame *at, struct json *ret) {
        static const struct schema_type uint8 = { .kind = SCHEMA_INT32, .go_name = "uint8" };
        _cleanup_buf_ struct buf raw = BUF_INIT, text = BUF_INIT;

        json_each_item(it, in) {
                struct json v = json_null();

                if (!json_is(it, JSON_NULL))
                        TRY(decode_int(d, &uint8, it, at, &v));
                if (json_int(&v) != (uint8_t) json_int(&v) && d->form != SENT_PATCHED)
                        return type_error(d, &uint8, it, true, at);
                buf_putc(&raw, (char) json_int(&v));
        }
        base64_encode(&text, buf_str(&raw));
        *ret = json_of_copy(d->arena, buf_str(&text));
        return 0;
}

static int decode_bytes(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                        struct json *ret) {
        _cleanup_buf_ struct buf raw = BUF_INIT, text = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;

        if (json_is(in, JSON_ARRAY))
                return decode_byte_list(d, in, at, ret);
        if (!json_is(in, JSON_STRING))
                return type_error(d, t, in, false, at);
        if (base64_decode(&raw, json_str(in)) < 0) {
                error_set(&e, -EINVAL, "%sillegal base64 data at input byte %zu",
                          d->form == SENT_PATCHED ? "error decoding from json: " : "",
                          base64_error(json_str(in), false));
                return mild(d, &e);
        }
        base64_encode(&text, buf_str(&raw));
        *ret = str_eq(buf_str(&text), json_str(in)) ? *in : json_of_copy(d->arena, buf_str(&text));
        return 0;
}

static int decode_quantity(struct decoder *d, const struct json *in, const struct frame *at, struct json *ret) {
        struct str text, out;

        if (json_is(in, JSON_STRING)) { /* a line break is written as \n, which is no space */
                for (text = json_str(in); str_has_prefix(text, STR(" "));)
                        text = str_sub(text, 1, text.n);
                while (str_has_suffix(text, STR(" ")))
                        text = str_sub(text, 0, text.n - 1);
        } else {
                _cleanup_buf_ struct buf b = BUF_INIT;

                print_number(&b, d, in);
                text = arena_str(d->arena, buf_str(&b));
        }
        TRY(quantity_canonical(d->arena, text, &out, d->err));
        *ret = json_of_str(out);
        return 0;
}

/* Six digits behind the seconds. */
static bool has_micros(struct str s) {
        size_t at = strlen("2006-01-02T15:04:05.");

        for (size_t i = at; i < at + 6; i++)
                if (i >= s.n || s.p[i] < '0' || s.p[i] > '9')
                        return false;
        return s.p[at - 1] == '.';
}

/* Digits stand for digits, the rest for itself. */
static bool fits(struct str text, const char *layout) {
        for (size_t i = 0; i < text.n; i++)
                if (isdigit((unsigned char) layout[i]) ? !isdigit((unsigned char) text.p[i]) : text.p[i] != layout[i])
                        return false;
        return text.n == strlen(layout);
}

/* As package time quotes. */
static struct str quoted_time(struct arena *a, struct str s) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        buf_putc(&b, '"');
        for (size_t i = 0; i < s.n; i++) {
                unsigned char c = (unsigned char) s.p[i];

                if (c < ' ' || c >= 0x80)
                        buf_printf(&b, "\\x%02x", c);
                else
                        buf_printf(&b, "%s%c", c == '"' || c == '\\' ? "\\" : "", c);
        }
        buf_putc(&b, '"');
        return arena_str(a, buf_str(&b));
}

/* The fraction and the zone from *at on, which goes as far as they do; NULL, or what is not there. */
static const char *end_of_time(struct str s, size_t *at, bool micro) {
        size_t digits = *at + 1;

        if (micro && !has_micros(s))
                return ".000000";
        while (digits < s.n && isdigit((unsigned char) s.p[digits]) && (!micro || digits < *at + 7))
                digits++;
        if (*at < s.n && s.p[*at] == '.' && digits > *at + 1)
                *at = digits;
        if (*at < s.n && s.p[*at] == 'Z')
                *at += 1;
        else if (fits(str_sub(s, *at, *at + 6), "+07:00") || fits(str_sub(s, *at, *at + 6), "-07:00"))
                *at += 6;
        else
                return "Z07:00";
        return NULL;
}

/* time.Parse names the first part of the layout that does not fit, or whose number is out of range. */
static int time_error(struct decoder *d, struct str s, bool micro) {
        static const struct {
                const char *layout, *name; /* of a number that has a range */
                uint64_t min, max;
        } parts[] = {
                { "2006" },
                { "-" },
                { "01", "month", 1, 12 },
                { "-" },
                { "02" },
                { "T" },
                { "15", "hour", 0, 23 },
                { ":" },
                { "04", "minute", 0, 59 },
                { ":" },
                { "05", "second", 0, 59 },
        };
        const char *layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00", *misfit = NULL;
        struct str quoted = quoted_time(d->arena, s);
        size_t at = 0;
        uint64_t v;

        for (size_t i = 0; i < ARRAY_SIZE(parts) && !misfit; i++) {
                struct str text = str_sub(s, at, at + strlen(parts[i].layout));

                if (!fits(text, parts[i].layout))
                        misfit = parts[i].layout;
                else if (parts[i].name && (str_to_u64(text, &v) < 0 || v < parts[i].min || v > parts[i].max))
                        return error_set(d->err, -EINVAL, "parsing time %" STR_FMT ": %s out of range", STR_ARG(quoted),
                                         parts[i].name);
                else
                        at += text.n;
        }
        if (!misfit)
                misfit = end_of_time(s, &at, micro);
        s = quoted_time(d->arena, str_sub(s, at, s.n));
        if (misfit)
                return error_set(d->err, -EINVAL,
                                 "parsing time %" STR_FMT " as \"%s\": cannot parse %" STR_FMT " as \"%s\"",
                                 STR_ARG(quoted), layout, STR_ARG(s), misfit);
        if (s.n > strlen("\"\""))
                return error_set(d->err, -EINVAL, "parsing time %" STR_FMT ": extra text: %" STR_FMT, STR_ARG(quoted),
                                 STR_ARG(s));
        return error_set(d->err, -EINVAL, "parsing time %" STR_FMT ": day out of range", STR_ARG(quoted));
}

static const struct schema_type go_string = { .kind = SCHEMA_STRING, .go_name = "string" };

/* Of types that decode themselves. */
static int own_type_error(struct decoder *d, const struct schema_type *t, const struct json *in, bool detail,
                          const struct frame *at) {
        d->own = true;
        return type_error(d, t, in, detail, d->form == SENT_PATCHED ? NULL : at);
}

static int decode_time(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                       struct json *ret) {
        bool micro = t->kind == SCHEMA_MICRO_TIME;
        struct str s = json_str(in), out;
        struct moment m;
        char text[36];

        if (!json_is(in, JSON_STRING))
                return own_type_error(d, &go_string, in, false, at);
        if (moment_parse(s, &m) < 0 ||
            (micro && (!has_micros(s) || isdigit((unsigned char) s.p[strlen("2006-01-02T15:04:05.000000")]))))
                return time_error(d, s, micro);
        m.seconds = MAX(MIN(m.seconds, MOMENT_MAX), MOMENT_MIN);
        if (m.seconds == MOMENT_MIN && m.ns == 0) {
                *ret = json_null();
                return 0;
        }
        out = moment_format(text, m, micro ? 6 : 0);
        *ret = str_eq(out, s) ? *in : json_of_copy(d->arena, out);
        return 0;
}

static int decode_duration(struct decoder *d, const struct json *in, const struct frame *at, struct json *ret) {
        char text[36];
        int64_t ns;

        if (!json_is(in, JSON_STRING))
                return own_type_error(d, &go_string, in, false, at);
        if (duration_parse(json_str(in), &ns) < 0)
                return error_set(d->err, -EINVAL, "time: invalid duration \"%" STR_FMT "\"", STR_ARG(json_str(in)));
        *ret = json_of_copy(d->arena, duration_format(text, ns));
        return 0;
}

static int decode_int_or_string(struct decoder *d, const struct json *in, const struct frame *at, struct json *ret) {
        static const struct schema_type int32 = { .kind = SCHEMA_INT32, .go_name = "int32" };

        if (json_is(in, JSON_STRING)) {
                *ret = *in;
                return 0;
        }
        bool own = d->own;
        d->own = true;
        TRY(decode_int(d, &int32, in, d->form == SENT_PATCHED ? NULL : at, ret));
        d->own = own;
        return 0;
}

/* ---- containers ---- */

static int decode_list(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                       struct json *ret) {
        struct json out;

        if (!json_is(in, JSON_ARRAY))
                return type_error(d, t, in, false, at);
        out = json_array_of(d->arena, json_len(in));
        for (size_t i = 0; i < json_len(in); i++) {
                struct frame f = { .up = at, .index = i, .depth = at ? at->depth + 1 : 1 };

                TRY(decode(d, t->elem, &json_items(in)[i], &f, &json_items(&out)[i]));
        }
        *ret = out;
        return 0;
}

static int decode_map(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                      struct json *ret) {
        struct json out = json_new_object();
        bool sorted = true;

        if (!json_is(in, JSON_OBJECT))
                return type_error(d, t, in, false, at);
        if (in->len > 0)
                out.at = (uintptr_t) arena_array(d->arena, struct json_member, in->len);
        for (size_t i = 0; i < in->len; i++) {
                struct json_member *m = &json_members(&out)[i];
                struct frame f = { .up = at, .key = json_key(&json_members(in)[i]), .depth = at ? at->depth + 1 : 1 };

                m->key = json_members(in)[i].key;
                if (d->n_found)
                        duplicate_field(d, f.key, at);
                TRY(decode(d, t->elem, &json_members(in)[i].value, &f, &m->value));
                if (m->value.type == JSON_NULL && t->elem->kind == SCHEMA_BYTES)
                        m->value = json_of_cstr(""); /* as protobuf stores it */
                sorted = sorted && (i == 0 || str_cmp(json_key(m - 1), json_key(m)) <= 0);
        }
        out.len = in->len;
        if (!sorted) /* Go prints maps by key */
                json_sort(&out);
        *ret = out;
        return 0;
}

/* Sorts members into slots; returns how many are kept though unknown. */
static size_t fill_slots(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                         const struct json **slots) {
        size_t hint = 0, extra = 0;

        json_each_member(m, in) {
                const struct schema_field *f = schema_field_after(t, json_key(m), &hint);

                if (f && d->n_found)
                        duplicate_field(d, json_key(m), at);
                if (f)
                        slots[f - t->fields] = &m->value;
                else if (t->flags & SCHEMA_TYPE_PRESERVE_UNKNOWN)
                        extra++;
                else
                        unknown_field(d, json_key(m), at);
        }
        return extra;
}

/* Upstream stores protobuf, which has no empty lists and maps: they come back as none, which is printed here. */
static bool is_stored_as_null(const struct schema_field *f, const struct json *v) {
        return !(f->flags & (SCHEMA_OMITEMPTY | SCHEMA_POINTER)) &&
               (f->type->kind == SCHEMA_LIST || f->type->kind == SCHEMA_MAP) && json_len(v) == 0;
}

static int decode_field(struct decoder *d, const struct schema_type *t, const struct schema_field *f,
                        const struct json *in, const struct frame *at, struct json *out, size_t *n) {
        struct json_member *m = &json_members(out)[*n];
        struct frame here = { .up = at, .in = t, .key = field_name(f), .depth = at ? at->depth + 1 : 1 };

        m->key = member_key(field_name(f));
        if (!in || (in->type == JSON_NULL && !(f->flags & SCHEMA_NULLABLE)))
                *n += schema_absent(d->arena, f, &m->value);
        else if (in->type == JSON_NULL) {
                m->value = *in;
                ++*n;
        } else {
                TRY(decode(d, f->type, in, &here, &m->value));
                if (m->value.type == JSON_NULL ? f->type->kind == SCHEMA_UNION : schema_is_empty(f, &m->value))
                        return 0;
                d->odd = d->odd || is_stored_as_null(f, &m->value) || (f->flags & SCHEMA_OFF);
                ++*n;
        }
        m->value.hint = (uint16_t) (f - t->fields + 1);
        return 0;
}

/* The fields that are there, in the order of the text. */
static int explain_struct(struct decoder *d, const struct schema_type *t, const struct json *in,
                          const struct frame *at) {
        json_each_member(m, in) {
                const struct schema_field *f = schema_field(t, json_key(m));
                struct frame here = { .up = at, .in = t, .key = json_key(m), .depth = at ? at->depth + 1 : 1 };
                struct json unused;

                if (f && m->value.type != JSON_NULL)
                        TRY(decode(d, f->type, &m->value, &here, &unused));
        }
        return 0;
}

static int decode_struct(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                         struct json *ret) {
        struct json out = json_new_object();
        const struct json **slots;
        uint16_t *there; /* Most fields of most objects are absent and print nothing. */
        size_t extra, want = 0, n = 0;

        if (!json_is(in, JSON_OBJECT))
                return type_error(d, t, in, false, at);
        if (d->explaining)
                return explain_struct(d, t, in, at);
        slots = arena_array(d->arena, const struct json *, MAX(t->n_fields, 1));
        there = arena_alloc(d->arena, (t->n_fields + 1U) * sizeof(*there));
        extra = fill_slots(d, t, in, at, slots);
        for (size_t i = 0; i < t->n_fields; i++) {
                there[want] = (uint16_t) i;
                want += slots[i] || schema_prints_zero(&t->fields[i]);
        }
        out.at = (uintptr_t) arena_array(d->arena, struct json_member, want + extra + 1);
        for (size_t i = 0; i < want; i++)
                TRY(decode_field(d, t, &t->fields[there[i]], slots[there[i]], at, &out, &n));
        if (t->flags & SCHEMA_TYPE_PRESERVE_UNKNOWN)
                json_each_member(m, in)
                        if (!schema_field(t, json_key(m)))
                                json_members(&out)[n++] = *m;
        out.len = (uint32_t) n;
        *ret = out;
        return 0;
}

/* JSONSchemaPropsOrBool, …OrArray, …OrStringArray: the alternative whose JSON type it is. */
static const struct schema_field *union_field(const struct schema_type *t, const struct json *in) {
        for (size_t i = 0; i < t->n_fields; i++) {
                enum schema_kind k = (enum schema_kind) t->fields[i].type->kind;

                if (in->type == (k == SCHEMA_BOOL ? JSON_BOOL : k == SCHEMA_LIST ? JSON_ARRAY : JSON_OBJECT))
                        return &t->fields[i];
        }
        return NULL;
}

static int decode_union(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                        struct json *ret) {
        const struct schema_field *f = union_field(t, in);
        bool outer = !d->own && d->form != SENT_PATCHED;
        struct json *strict = d->strict;
        size_t n_found = d->n_found;

        if (f) {
                if (outer)
                        d->self = at;
                d->own = d->own || outer;
                d->strict = NULL; /* it decodes itself, and takes what it does not know */
                d->n_found = 0;
                TRY(decode(d, f->type, in, at, ret));
                d->strict = strict;
                d->n_found = n_found;
                if (outer)
                        d->self = NULL;
                d->own = d->own && !outer;
                return 0;
        }
        if (schema_field(t, STR("allows")))
                return error_set(d->err, -EINVAL, "boolean or JSON schema expected");
        *ret = json_null(); /* upstream drops what is neither: decode_field does. It keeps times that are none */
        return 0;
}

static int decode(struct decoder *d, const struct schema_type *t, const struct json *in, const struct frame *at,
                  struct json *ret) {
        if (at && at->depth > MAX_DEPTH)
                return error_set(d->err, -EINVAL, "exceeded max depth");
        if (d->explaining)
                *ret = json_null();
        if (t->kind == SCHEMA_ANY) {
                *ret = *in;
                return 0;
        }
        if (in->type == JSON_NULL) { /* in a list or map: the zero value */
                *ret = schema_zero(d->arena, t);
                return 0;
        }
        switch ((enum schema_kind) t->kind) {
        case SCHEMA_BOOL:
                if (in->type != JSON_BOOL)
                        return type_error(d, t, in, false, at);
                *ret = *in;
                return 0;
        case SCHEMA_STRING:
                if (in->type != JSON_STRING)
                        return type_error(d, t, in, false, at);
                *ret = *in;
                return 0;
        case SCHEMA_DOUBLE:
                if (in->type != JSON_INT && in->type != JSON_DOUBLE)
                        return type_error(d, t, in, false, at);
                if (in->type == JSON_DOUBLE && !isfinite(in->d))
                        return type_error(d, t, in, true, at);
                *ret = *in;
                return 0;
        case SCHEMA_INT32:
        case SCHEMA_INT64:
                return decode_int(d, t, in, at, ret);
        case SCHEMA_BYTES:
                return decode_bytes(d, t, in, at, ret);
        case SCHEMA_QUANTITY:
                return decode_quantity(d, in, at, ret);
        case SCHEMA_TIME:
        case SCHEMA_MICRO_TIME:
                return decode_time(d, t, in, at, ret);
        case SCHEMA_DURATION:
                return decode_duration(d, in, at, ret);
        case SCHEMA_INT_OR_STRING:
                return decode_int_or_string(d, in, at, ret);
        case SCHEMA_LIST:
                return decode_list(d, t, in, at, ret);
        case SCHEMA_MAP:
                return decode_map(d, t, in, at, ret);
        case SCHEMA_STRUCT:
                return decode_struct(d, t, in, at, ret);
        case SCHEMA_UNION:
                return decode_union(d, t, in, at, ret);
        default:
                return error_set(d->err, -EINVAL, "type %s is of no known kind", t->go_name);
        }
}

/* Which of several errors Go tells: values that decode themselves, such as times and quantities, end it all; else it is
 * the first in the order of the text. in is refused already. */
static int explain(const struct decoder *from, const struct schema_type *t, const struct json *in, struct error *err) {
        _cleanup_error_ struct error last = ERROR_INIT;
        struct decoder d = {
                .arena = from->arena, .text = from->text, .form = from->form, .err = &last, .explaining = true
        };
        struct json unused;
        int r = decode(&d, t, in, NULL, &unused);

        error_clear(err);
        error_move(err, r < 0 ? &last : &d.first);
        error_clear(&d.first);
        return -EINVAL;
}

static int decode_whole(struct decoder *d, const struct schema_type *t, const struct json *in, struct json *ret) {
        struct json *strict = d->strict;

        d->n_found = d->form == SENT_PATCHED ? 0 : json_len(strict);
        int r = decode(d, t, in, NULL, ret);
        if (r < 0 && d->form != SENT_PATCHED)
                explain(d, t, in, d->err);
        if (d->n_found) { /* of YAML all are told, and first; of JSON those that mean something to the type */
                struct json all = json_new_array();

                json_each_item(m, strict)
                        if ((size_t) (m - json_items(strict)) >= d->n_found ||
                            str_has_prefix(json_str(m), STR("line ")))
                                json_push(d->arena, &all, *m);
                *strict = all;
        }
        return r;
}

int schema_decode(struct arena *a, const struct schema_type *t, const struct json *in, struct json *strict,
                  struct json *ret, struct error *err) {
        struct decoder d = { .arena = a, .strict = strict, .err = err };

        return decode_whole(&d, t, in, ret);
}

int schema_decode_request(struct arena *a, const struct schema_type *t, const struct json *in, struct str text,
                          struct json *strict, enum schema_form form, struct json *ret, bool *ret_odd,
                          struct error *err) {
        struct decoder d = { .arena = a, .text = text, .strict = strict, .err = err, .form = form };
        int r = decode_whole(&d, t, in, ret);

        *ret_odd = d.odd;
        return r;
}

/* Whether there are fields that are off; they go, and with them a lifecycle that has nothing else. */
static bool find_off(const struct schema_type *t, struct json *v, bool drop) {
        bool found = false;

        json_each_item(it, t->kind == SCHEMA_LIST ? v : NULL)
                found = find_off(t->elem, it, drop) || found;
        json_each_member(m, t->kind == SCHEMA_MAP ? v : NULL)
                found = find_off(t->elem, &m->value, drop) || found;
        for (size_t i = 0; t->kind == SCHEMA_STRUCT && i < json_len(v); i++) {
                struct json_member *m = &json_members(v)[i];
                const struct schema_field *f = schema_field_of(t, m);
                bool off = f && (f->flags & SCHEMA_OFF), within = f && !off && find_off(f->type, &m->value, drop);

                found = found || off || within;
                if (drop && (off || (within && json_len(&m->value) == 0 && strcmp(f->name, "lifecycle") == 0))) {
                        json_remove(v, json_key(m));
                        i--;
                }
        }
        return found;
}

bool schema_drop_off(struct arena *a, const struct schema_type *t, struct json *v) {
        if (!find_off(t, v, false))
                return false;
        *v = json_copy_tree(a, v);
        return find_off(t, v, true);
}

bool schema_was_empty(const struct schema_type *t, const struct json *sent, const struct json *v) {
        size_t i = 0;

        if ((t->kind == SCHEMA_LIST || t->kind == SCHEMA_MAP) && sent->type >= JSON_ARRAY && sent->len == 0)
                return json_len(v) == 0;
        json_each_item(it, t->kind == SCHEMA_LIST ? sent : NULL)
                if (schema_was_empty(t->elem, it, json_item(v, i++)))
                        return true;
        json_each_member(m, t->kind == SCHEMA_STRUCT ? sent : NULL) {
                const struct schema_field *f = schema_field(t, json_key(m));

                if (f && schema_was_empty(f->type, &m->value, json_get(v, json_key(m))))
                        return true;
        }
        return false;
}

void schema_null_empty(const struct schema_type *t, struct json *v) {
        if (t->kind == SCHEMA_LIST)
                json_each_item(it, v)
                        schema_null_empty(t->elem, it);
        if (t->kind == SCHEMA_MAP)
                json_each_member(m, v)
                        schema_null_empty(t->elem, &m->value);
        if (t->kind != SCHEMA_STRUCT)
                return;
        json_each_member(m, v) {
                const struct schema_field *f = schema_field_of(t, m);

                if (f && is_stored_as_null(f, &m->value))
                        m->value = json_null();
                else if (f)
                        schema_null_empty(f->type, &m->value);
        }
}

static bool respell(struct arena *a, const struct schema_type *t, const struct json *was, const struct json *now,
                    struct json *ret) {
        bool done = false;
        struct json v;

        bool list = t->kind == SCHEMA_LIST && json_is(was, JSON_ARRAY);
        bool members = (t->kind == SCHEMA_STRUCT || t->kind == SCHEMA_MAP) && json_is(was, JSON_OBJECT);

        if (!now || now->type != was->type)
                return false;
        if (t->kind == SCHEMA_QUANTITY) {
                *ret = *now;
                return !str_eq(json_str(was), json_str(now)) &&
                       quantity_cmp(quantity_of_json(was), quantity_of_json(now)) == 0;
        }
        for (size_t i = 0; list && i < json_len(was); i++)
                if (respell(a, t->elem, json_item(was, i), json_item(now, i), &v)) {
                        *ret = done ? *ret : json_copy_shallow(a, was);
                        json_items(ret)[i] = v;
                        done = true;
                }
        for (size_t i = 0; members && i < json_len(was); i++) {
                const struct json_member *m = &json_members(was)[i];
                const struct schema_field *f = t->kind == SCHEMA_STRUCT ? schema_field_of(t, m) : NULL;
                const struct schema_type *below = f ? f->type : t->elem;

                if (below && respell(a, below, &m->value, json_get(now, json_key(m)), &v)) {
                        *ret = done ? *ret : json_copy_shallow(a, was);
                        json_members(ret)[i].value = v;
                        done = true;
                }
        }
        return done;
}

const struct json *schema_respell(struct arena *a, const struct schema_type *t, const struct json *was,
                                  const struct json *now) {
        struct json v;

        return respell(a, t, was, now, &v) ? json_new(a, v) : was;
}
