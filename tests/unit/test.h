/* What every unit test begins with. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/error.h"

/* The text of a str against a C string, shown in full when it differs. */
#define assert_str(s, expected)                                                                              \
        do {                                                                                                 \
                struct str _s = (s), _e = str_of(expected);                                                  \
                if (!str_eq(_s, _e)) {                                                                       \
                        print_error("\"%" STR_FMT "\" is not \"%" STR_FMT "\"\n", STR_ARG(_s), STR_ARG(_e)); \
                        _fail(__FILE__, __LINE__);                                                           \
                }                                                                                            \
        } while (0)

/* r is no error; if it is, err (may be NULL) says which. */
static inline void must(int r, const struct error *err) {
        if (r < 0)
                print_error("%s\n", err ? error_text(err) : strerror(-r));
        assert_true(r >= 0);
}
