/* How a key and its object lie in a file. Private to store/.
 *
 *   │ checksum 8 │ revision 8 │ key length 4 │ text length 4 │ key │ text │      little endian
 *
 * The checksum covers all that follows it. Records lie one behind the other. */
#pragma once

#include "base/str.h"

#define RECORD_HEAD 24

struct record {
        uint64_t revision;
        struct str key, text;
};

static inline size_t record_size(size_t key_n, size_t text_n) {
        return RECORD_HEAD + key_n + text_n;
}
/* Writes record_size bytes and returns where they end. dst need not be aligned. */
char *record_write(const struct record *r, char *dst);
/* Cuts a record off the front of *rest. Views into it. -ENOENT when nothing is left, -EUCLEAN when it is damaged. */
int record_read(struct str *rest, struct record *ret);
