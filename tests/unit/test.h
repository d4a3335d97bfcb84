/* What every unit test begins with. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"

/* The text of a str against a C string, shown in full when it differs. */
#define assert_str(s, expected)                                                                                 \
        do {                                                                                                    \
                struct str _s = (s), _e = str_of(expected);                                                     \
                if (!str_eq(_s, _e)) {                                                                          \
                        print_error("\"%" STR_FMT "\" is not \"%" STR_FMT "\"\n", STR_ARG(_s), STR_ARG(_e));    \
                        _fail(__FILE__, __LINE__);                                                              \
                }                                                                                               \
        } while (0)
