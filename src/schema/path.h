/* Paths of our own tables' columns: .a.b, [0], [?(@.type=="Ready")]. What users write is read by jsonpath.h. */
#pragma once

#include "json/json.h"

/* What it leads to first, or NULL. */
const struct json *path_first(const struct json *root, const char *path);
