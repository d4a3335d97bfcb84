/* JSONPaths of CustomResourceDefinitions' columns, in the dialect of k8s.io/client-go/util/jsonpath and with its ways:
 * ['a.b'] is .a.b, an item that is not there is an error where a member that is not there is nothing, 1 is not 1.0. */
#pragma once

#include "json/json.h"

struct jsonpath;

/* "{.spec.items[?(@.name=="x")].size}". It lives in the arena; NULL: text is none. */
struct jsonpath *jsonpath_parse(struct arena *a, struct str text);
/* The first value that the first braces lead to. False: there is none, or looking for it failed. */
bool jsonpath_first(struct arena *a, const struct jsonpath *p, const struct json *root, struct json *ret);

/* The hint of a result that is no value of the document but a number of the path, or a byte of a string. */
#define JSONPATH_NUMBER 0xfff
