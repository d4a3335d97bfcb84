/* Private to regex: the program that a pattern becomes. regex_parse.c writes it, regex.c runs it.
 *
 *     a(b|[cd])*e       0 CHAR a
 *                       1 SPLIT +5      go on with 2, or else with 6
 *                       2 SPLIT +3      2 or else 5
 *                       3 CHAR b
 *                       4 JUMP +2
 *                       5 CLASS 0       classes[0] is [cd]
 *                       6 LEAP -4       2, or else 7
 *                       7 CHAR e
 *                       8 MATCH
 *
 * (As drawn but for x*, which is (x+)?.) A part of a pattern is a row of instructions that is entered at its first and
 * left behind its last: it is repeated by copying it, for all goals are relative. */
#pragma once

#include "base/buf.h"
#include "base/regex.h"
#include "base/vec.h"

enum regex_op {
        REGEX_MATCH,
        REGEX_CHAR,  /* arg */
        REGEX_FOLD,  /* the ASCII letter arg, lower case, in either case */
        REGEX_CLASS, /* classes[arg] */
        REGEX_ANY,
        REGEX_ANY_BUT_NEWLINE,
        REGEX_SPLIT, /* the next, or else the one that is arg away */
        REGEX_LEAP,  /* the one that is arg away, or else the next */
        REGEX_JUMP,
        REGEX_TEXT_START,
        REGEX_TEXT_END,
        REGEX_LINE_START,
        REGEX_LINE_END,
        REGEX_WORD_EDGE,
        REGEX_NO_WORD_EDGE,
};

struct regex_inst {
        uint32_t op : 4;
        int32_t arg : 28;
};

struct regex_range {
        uint32_t lo, hi;
};

/* ASCII is looked up; beyond it PCRE2 is asked where properties or the case of letters matter. */
struct regex_class {
        uint64_t ascii[2];
        VEC(struct regex_range) ranges;
        bool negated;
        void *unicode; /* a pcre2_code, or NULL */
};

struct regex {
        VEC(struct regex_inst) code;
        VEC(struct regex_class) classes;
};

int regex_parse(struct str pattern, struct regex *re, struct error *err);

/* A class is its ranges, if properties are none; they go to a text of their own until the class is complete. */
int regex_class_add_property(struct buf *properties, struct str name, bool inverse, bool fold);
void regex_class_finish(struct regex_class *class, struct str properties, bool fold);
bool regex_class_has(const struct regex_class *class, uint32_t c); /* c is not ASCII */
void regex_class_free(struct regex_class *class);

/* Both cases of an ASCII letter, and the two letters beyond ASCII that have one as their other case, as one. */
static inline uint32_t regex_fold(uint32_t c) {
        return c >= 'A' && c <= 'Z' ? c | 32 : c == 0x212a ? 'k' : c == 0x17f ? 's' : c;
}
