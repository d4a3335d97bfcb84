/* Rules that api/ names under `check`: rule_x() for `x`. Private to validation/. p: where v is; v: NULL for an absent
 * struct and for rules of absent values; r: the numbers and the text given with it. */
#pragma once

#include "apiserver/validation/validate.h"
#include "schema/hooks.h"

#define RULE(name)                                                                            \
        void rule_##name(struct field_errors *fe, const struct path *p, const struct json *v, \
                         _unused_ const struct schema_rule *r)
#define RULE_DECLARATION(name) RULE(name);
SCHEMA_RULES(RULE_DECLARATION)
