/* From a parsed document to the document upstream would print for the same object.
 *
 * Unknown fields are pruned, nulls dropped, fields put in declaration order, quantities, times and base64 brought to
 * their canonical form, empty omitempty fields left out, and what Go always prints added ("status":{},
 * "creationTimestamp":null). */
#pragma once

#include "schema/schema.h"

/* strict: when not NULL, an array to which the messages of strict field validation are added, in upstream's words
 * (`unknown field "spec.foo"`), at most 100. Strings in it live in a. Errors are -EINVAL with the text of Go's decoder
 * ("json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"), without the
 * server's prefix. The result shares strings with in; in is not changed. Case matters in field names, as in Kubernetes'
 * own decoder. */
int schema_decode(struct arena *a, const struct schema_type *t, const struct json *in, struct json *strict,
                  struct json *ret, struct error *err);
/* PATCHED: the result of a strategic merge, whose errors read otherwise ("cannot restore map from string"). */
enum schema_form { SENT_JSON, SENT_YAML, SENT_PATCHED };
/* The same for what clients send. text: what in was parsed from, or the patch that it is the result of, for numbers as
 * they were spelled; empty when there is none. ret_odd: it has what the following functions are for. */
int schema_decode_request(struct arena *a, const struct schema_type *t, const struct json *in, struct str text,
                          struct json *strict, enum schema_form form, struct json *ret, bool *ret_odd,
                          struct error *err);
/* Makes one document of one that was parsed with all its members, twins too, as upstream's decoder would join them.
 * length: of its text. -E2BIG: that would be far more than the text is, and v is as it was. */
int schema_join_duplicates(struct arena *a, const struct schema_type *t, size_t length, struct json *v,
                           struct error *err);
/* Fields of features that are off go; whether there were any. */
bool schema_drop_off(struct arena *a, const struct schema_type *t, struct json *v);
/* Whether a list or map was sent empty, and has nothing in v either, which was made of it. */
bool schema_was_empty(const struct schema_type *t, const struct json *sent, const struct json *v);
/* Makes null of the empty lists and maps that upstream, where they are stored as protobuf, gives back as none. */
void schema_null_empty(const struct schema_type *t, struct json *v);
/* The same as was, with quantities spelled as in now where those are as much: 1Gi is 1073741824. */
const struct json *schema_respell(struct arena *a, const struct schema_type *t, const struct json *was,
                                  const struct json *now);
