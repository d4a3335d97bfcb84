/* Reading: one field after the other, nothing copied. Writing: a message goes behind its tag and, once its length is
 * known, is moved to make room for the length: most lengths fit one byte, and most messages are small. */
#include "schema/wire.h"

#define MAX_LENGTH (INT64_MAX - 10) /* no int of Go's says where what is longer ends */

int wire_varint(struct str *rest, uint64_t *ret, const char **ret_what) {
        uint64_t v = 0;

        for (unsigned shift = 0; shift < 64; shift += 7) {
                if (rest->n == 0) {
                        *ret_what = "unexpected EOF";
                        return -EINVAL;
                }
                uint8_t c = (uint8_t) *rest->p++;
                rest->n--;
                v |= (uint64_t) (c & 0x7f) << shift;
                if (c < 0x80) {
                        *ret = v;
                        return 0;
                }
        }
        *ret_what = "proto: integer overflow";
        return -EINVAL;
}

static int take(struct str *rest, uint64_t n, struct str *ret, const char **ret_what) {
        if (n > rest->n) {
                *ret_what = n > MAX_LENGTH ? "proto: negative length found during unmarshaling" : "unexpected EOF";
                return -EINVAL;
        }
        *ret = str_n(rest->p, (size_t) n);
        rest->p += n;
        rest->n -= (size_t) n;
        return 0;
}

int wire_value(struct str *rest, enum wire_type type, struct wire_field *ret, const char **ret_what) {
        uint64_t n = type == WIRE_FIXED64 ? 8 : 4;

        if (type == WIRE_VARINT)
                return wire_varint(rest, &ret->value, ret_what);
        if (type == WIRE_BYTES)
                TRY(wire_varint(rest, &n, ret_what));
        TRY(take(rest, n, &ret->bytes, ret_what));
        if (type != WIRE_BYTES)
                memcpy(&ret->value, ret->bytes.p, n);
        return 0;
}

int wire_skip(struct str *rest, uint64_t tag, const char **ret_what) {
        struct wire_field unused = { 0 };
        size_t depth = 0;

        for (;;) {
                enum wire_type type = (enum wire_type)(tag & 7);

                if (type > WIRE_FIXED32) {
                        *ret_what = type == 6 ? "proto: illegal wireType 6" : "proto: illegal wireType 7";
                        return -EINVAL;
                }
                if (type == WIRE_GROUP_END && depth == 0) {
                        *ret_what = "proto: unexpected end of group";
                        return -EINVAL;
                }
                if (type == WIRE_GROUP)
                        depth++;
                else if (type == WIRE_GROUP_END)
                        depth--;
                else
                        TRY(wire_value(rest, type, &unused, ret_what));
                if (depth == 0)
                        return 0;
                TRY(wire_varint(rest, &tag, ret_what));
        }
}

int wire_next(struct str *rest, struct wire_field *ret, const char **ret_what) {
        struct wire_field f = { 0 };
        uint64_t tag;

        if (rest->n == 0)
                return 0;
        TRY(wire_varint(rest, &tag, ret_what));
        f.number = (uint32_t) (tag >> 3);
        f.type = (enum wire_type)(tag & 7);
        if (f.number == 0 || tag >> 3 > 0x1fffffff || f.type == WIRE_GROUP || f.type == WIRE_GROUP_END ||
            f.type > WIRE_FIXED32) {
                *ret_what = "proto: illegal tag";
                return -EINVAL;
        }
        TRY(wire_value(rest, f.type, &f, ret_what));
        *ret = f;
        return 1;
}

static void wire_put_varint(struct buf *b, uint64_t v) {
        while (v >= 0x80) {
                buf_putc(b, (char) (v | 0x80));
                v >>= 7;
        }
        buf_putc(b, (char) v);
}

void wire_put_tag(struct buf *b, uint32_t number, enum wire_type w) {
        wire_put_varint(b, (uint64_t) number << 3 | w);
}

void wire_put_length(struct buf *b, uint32_t number, size_t n) {
        wire_put_tag(b, number, WIRE_BYTES);
        wire_put_varint(b, n);
}

void wire_put_bytes(struct buf *b, uint32_t number, struct str s) {
        wire_put_length(b, number, s.n);
        buf_add_str(b, s);
}

void wire_put_int(struct buf *b, uint32_t number, int64_t v) {
        wire_put_tag(b, number, WIRE_VARINT);
        wire_put_varint(b, (uint64_t) v);
}

size_t wire_open(struct buf *b, uint32_t number) {
        wire_put_tag(b, number, WIRE_BYTES);
        return b->n;
}

void wire_close(struct buf *b, size_t at) {
        size_t n = b->n - at, v = n, width = 1;

        while (v >>= 7)
                width++;
        buf_reserve(b, width);
        char *p = b->p + at;
        memmove(p + width, p, n);
        b->n = at;
        wire_put_varint(b, n);
        b->n += n;
}
