/* JSONPaths, as columns and CustomResourceDefinitions use them: .a.b, .*, ..a, [0], [-1:], [0,2], [*], ['a.b'], .a\.b,
 * [?(@.type=="Ready")] (k8s.io/client-go/util/jsonpath). */
#pragma once

#include "json/json.h"

/* Calls visit for everything the path leads to, until it returns false. A leading "$", "{" and "}" are allowed. Paths
 * it does not understand lead to nothing. */
void path_walk(const struct json *root, const char *path, bool (*visit)(void *arg, const struct json *v), void *arg);
/* The first, or NULL. */
const struct json *path_first(const struct json *root, const char *path);
