/* Protobuf, as Kubernetes speaks it (application/vnd.kubernetes.protobuf): a runtime.Unknown envelope with magic bytes
 * around a message whose layout the tables give. Encoding is deterministic and equals upstream's byte for byte. */
#pragma once

#include "schema/schema.h"

#define PROTOBUF_MAGIC STR("k8s\0")

struct protobuf_unknown { /* runtime.Unknown; views into the message */
        struct str api_version, kind, raw, content_encoding, content_type;
};
/* -EINVAL when the magic or the envelope is wrong. */
int protobuf_open(struct str message, struct protobuf_unknown *ret, struct error *err);

/* A message of type t to the same document schema_decode gives for it (without kind and apiVersion). Strings are views
 * into bytes where possible. Limits: depth 100, bytes as given. -EINVAL. */
int protobuf_decode(struct arena *a, const struct schema_type *t, struct str bytes, struct json *ret,
                    struct error *err);
/* A normalised document (schema_decode) of type t to a message. */
int protobuf_encode(struct buf *dst, const struct schema_type *t, const struct json *value, struct error *err);

/* What is before and behind a message of n bytes that is kept apart. */
void protobuf_envelope(struct buf *before, struct buf *behind, struct str api_version, struct str kind, size_t n);
/* With the envelope: kind and apiVersion travel outside of the message. Decoding puts them in front of the document. */
int protobuf_encode_object(struct buf *dst, const struct schema_type *t, const struct json *object, struct error *err);
int protobuf_decode_object(struct arena *a, const struct schema_type *t, const struct protobuf_unknown *u,
                           struct json *ret, struct error *err);
