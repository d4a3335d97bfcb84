/* An arena for a whole test program, and trees in it. */
#pragma once

#include "../test.h"

#include "json/json.h"

static struct arena *arena;

static inline int set_up(void **state) {
        arena = arena_new(0);
        return 0;
}

static inline int tear_down(void **state) {
        arena_free(arena);
        return 0;
}

static inline struct json *parse(const char *text) {
        struct json *j;

        assert_int_equal(json_parse(arena, str_of(text), NULL, &j, NULL), 0);
        return j;
}

static inline void assert_text(const struct json *j, const char *expected) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write(&b, j);
        assert_str(buf_str(&b), expected);
}
