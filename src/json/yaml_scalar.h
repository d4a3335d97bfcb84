/* Private to json/: what a plain YAML 1.1 scalar means, as go-yaml v2 resolves it. */
#pragma once

#include "json/json.h"

#define YAML_TAG_PREFIX "tag:yaml.org,2002:"

enum yaml_scalar_type { YAML_STRING, YAML_NULL, YAML_BOOL, YAML_INT, YAML_FLOAT, YAML_TIMESTAMP };

struct yaml_scalar {
        enum yaml_scalar_type type;
        struct json value; /* for null, bool, int and float */
};

const char *yaml_scalar_tag(enum yaml_scalar_type type); /* "int" */

/* tag: the full tag or NULL. A timestamp stays a string under YAML_STRING unless asked for by tag.
 * -EINVAL: the text is not of the type that the tag asks for (type then says what it is); -ERANGE: no JSON number. */
int yaml_resolve(struct str text, const char *tag, struct yaml_scalar *ret);

/* Whether text, written plain, would be read as a string again. */
bool yaml_reads_as_string(struct str text);

/* A copy of s with each of its invalid bytes replaced by U+FFFD. */
struct str yaml_valid_utf8(struct arena *a, struct str s, size_t invalid);
