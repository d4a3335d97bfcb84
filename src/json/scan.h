/* Walking over valid JSON text without building a tree. */
#pragma once

#include "json/json.h"

/* The end of the value that starts at p, NULL when there is none. */
const char *json_skip_value(const char *p, const char *end);

/* The members of an object or the items of an array, one after the other:
 *   struct json_scan s; if (json_scan_open(&s, text)) while (json_scan_next(&s)) use s.key (raw), s.value (raw) */
struct json_scan {
        const char *p, *end;
        bool object, first;
        struct str key, value;
};
bool json_scan_open(struct json_scan *s, struct str text); /* false when text is neither object nor array */
bool json_scan_next(struct json_scan *s);

/* How the first number that reads as d, which no integer does, is spelled in text. Of YAML upstream makes JSON: what it
 * spells as there are integers from 2^63 on. */
bool json_find_number(struct str text, bool yaml, double d, struct str *ret);

/* The arena that json_parse() of this valid text takes: exact, but for empty containers. */
size_t json_tree_size(struct str text);
