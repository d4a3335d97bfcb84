/* The wire format of protobuf: https://protobuf.dev/programming-guides/encoding/. */
#pragma once

#include <errno.h>

#include "base/buf.h"

enum wire_type {
        WIRE_VARINT = 0,
        WIRE_FIXED64 = 1,
        WIRE_BYTES = 2,
        WIRE_GROUP = 3,
        WIRE_GROUP_END = 4,
        WIRE_FIXED32 = 5
};

struct wire_field {
        uint32_t number;
        enum wire_type type;
        uint64_t value;   /* varint, fixed */
        struct str bytes; /* WIRE_BYTES */
};

/* What a message is read with: -EINVAL with *ret_what set, in the words of Go's generated code. */
int wire_varint(struct str *rest, uint64_t *ret, const char **ret_what);
/* The value behind a tag of that type, which is not one of a group. */
int wire_value(struct str *rest, enum wire_type type, struct wire_field *ret, const char **ret_what);
/* Past the value behind the tag, groups and all. */
int wire_skip(struct str *rest, uint64_t tag, const char **ret_what);

/* The next field of a message that knows no groups: 1, 0 at its end, -EINVAL with *ret_what set. */
int wire_next(struct str *rest, struct wire_field *ret, const char **ret_what);

void wire_put_tag(struct buf *b, uint32_t number, enum wire_type w);
void wire_put_length(struct buf *b, uint32_t number, size_t n); /* of n bytes that follow */
void wire_put_bytes(struct buf *b, uint32_t number, struct str s);
void wire_put_int(struct buf *b, uint32_t number, int64_t v);
/* size_t at = wire_open(b, 3); … wire_close(b, at); */
size_t wire_open(struct buf *b, uint32_t number);
void wire_close(struct buf *b, size_t at);
