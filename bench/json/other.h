/* The others, behind plain functions: simdjson is C++, and jansson has names that are also ours. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Each parses text (with 64 readable bytes behind it) and returns its tree, NULL on an error. */
void *simdjson_dom(const char *text, size_t n);
void simdjson_free(void *tree);
bool simdjson_again(const char *text, size_t n); /* with a parser that keeps its memory */

void jansson_load(void); /* once, first */
void *jansson_tree(const char *text, size_t n);
char *jansson_text(void *tree); /* to be freed */
void jansson_free(void *tree);
#ifdef __cplusplus
}
#endif
