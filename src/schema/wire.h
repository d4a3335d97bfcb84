/* The wire format of protobuf: https://protobuf.dev/programming-guides/encoding/. Private to src/schema. */
#pragma once

#include <errno.h>

#include "base/str.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_FIXED32 = 5 };

struct wire_field {
        uint32_t number;
        enum wire_type type;
        uint64_t value;   /* varint, fixed */
        struct str bytes; /* WIRE_BYTES */
};

/* The next field of a message: 1, 0 at its end, -EINVAL with *ret_what set. */
int wire_next(struct str *rest, struct wire_field *ret, const char **ret_what);
