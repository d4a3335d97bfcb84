/* Numbers as text, for those who print them outside a document (jsonpath, columns, quantities). */
#pragma once

#include "json/json.h"

/* As Go's encoding/json prints a float64: shortest digits, exponents below 1e-6 and from 1e21 on. */
struct str json_format_double(char dst[static 32], double d);

/* strconv.FormatFloat(d, 'g', -1, 64), and with 32 bits: how go-yaml prints floats, and map keys that are floats. */
struct str json_format_double_g(char dst[static 32], double d);
struct str json_format_float(char dst[static 32], float f);
