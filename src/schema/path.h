/* Paths of our own tables' columns: .a.b, [0], [*], [?(@.type=="Ready")]. What users write is read by jsonpath.h. */
#pragma once

#include "json/json.h"

/* Calls visit for everything the path leads to, until it returns false. */
void path_walk(const struct json *root, const char *path, bool (*visit)(void *arg, const struct json *v), void *arg);
/* The first, or NULL. */
const struct json *path_first(const struct json *root, const char *path);
