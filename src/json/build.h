/* Trees from templates: what a controller writes looks on the page like what it writes to the API.
 *
 *   json_build(a, "{ metadata: { name: %s, labels: %j }, status: { phase: 'Failed', restarts: %d, since: %t } }",
 *              name, labels, n, now_ns);
 */
#pragma once

#include "json/json.h"

/* The template is a literal (keys and 'texts' are views of it) of JSON with bare keys and single quotes, and
 *   %s struct str     %S the same, copied into a      %o the same as %s, left out when empty too      %c const char *
 *   %d int            %l int64_t                      %b bool
 *   %j const struct json * (shared, not copied)       %t int64_t wall clock ns → "2006-01-02T15:04:05Z"
 * as values; %s and %c also as keys. An absent value (NULL pointer in %s, %S, %c, %j) leaves its member or item out. A
 * mistake in the template aborts: it is the program's. */
struct json json_build(struct arena *a, const char *template, ...);
