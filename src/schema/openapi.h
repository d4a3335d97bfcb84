/* OpenAPI documents made from the tables. */
#pragma once

#include "schema/schema.h"

/* The OpenAPI v3 document of one place: "apis/apps/v1" (schemas and paths of a group-version), "apis/apps", "version" …
 * False: there is none. protobuf, when not NULL, gets the same as
 * application/com.github.proto-openapi.spec.v3.v1.0+protobuf. */
bool openapi_v3(struct buf *dst, struct str place, const struct api_group_version *const *gvs, size_t n,
                struct buf *protobuf);
/* The index at /openapi/v3: {"paths":{"api/v1":{"serverRelativeURL":"/openapi/v3/api/v1?hash=…"}}}. */
void openapi_v3_index(struct buf *dst, const struct api_group_version *const *gvs, size_t n);
/* Any OpenAPI document, v2 or v3, as application/com.github.proto-openapi.spec.v[23].v1.0+protobuf, which kubectl
 * prefers. */
void openapi_to_protobuf(struct buf *dst, const struct json *document);
/* json_write, or openapi_to_protobuf. */
typedef void openapi_writer(struct buf *dst, const struct json *document);
/* The OpenAPI v2 (swagger) document of all group-versions. */
void openapi_v2(struct buf *dst, const struct api_group_version *const *gvs, size_t n, openapi_writer *write);
/* What all kinds' definitions say of kind, apiVersion and metadata. */
extern const char *const openapi_meta_docs[];
