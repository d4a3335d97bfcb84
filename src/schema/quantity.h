/* resource.Quantity: "100m", "1Gi", "1e3", "0.5". Kept in 10^-9; what is finer is rounded up, as upstream does. */
#pragma once

#include "json/json.h"

enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };

struct quantity {
        __int128 nano; /* the value in 10^-9 */
        enum quantity_format format;
};

/* -EINVAL with upstream's messages ("quantities must match the regular expression '…'"). */
int quantity_parse(struct str text, struct quantity *ret, struct error *err);
/* The text upstream would print for it: most texts are kept, "1000m" becomes "1". A view into text, or a copy in a. */
int quantity_canonical(struct arena *a, struct str text, struct str *ret, struct error *err);
/* From a JSON string or number; absent or malformed is zero. */
struct quantity quantity_of_json(const struct json *j);
struct quantity quantity_of_int(int64_t v, enum quantity_format f);
struct quantity quantity_of_milli(int64_t v, enum quantity_format f);
/* Rounded up, saturated, as upstream's Value() and MilliValue(). */
int64_t quantity_value(struct quantity q);
int64_t quantity_milli(struct quantity q);
bool quantity_is_whole(struct quantity q); /* as upstream asks, for whom 9Pi is not */
double quantity_double(struct quantity q);
int quantity_cmp(struct quantity a, struct quantity b);
/* The format of a is kept unless a is zero. */
struct quantity quantity_add(struct quantity a, struct quantity b);
struct quantity quantity_sub(struct quantity a, struct quantity b);
struct quantity quantity_round_milli(struct quantity q); /* up to 1/1000, as container resources are */
/* Canonical text, as upstream marshals it. Returns the text within dst. */
struct str quantity_print(char dst[static 64], struct quantity q);
