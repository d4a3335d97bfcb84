/* How a key and its object lie in a file. Private to store/.
 *
 *   │ checksum 8 │ revision 8 │ key length 4 │ key │ text │      little endian
 *
 * The checksum covers all that follows it. The key is there because the file's own key may be a shortened one. */
#pragma once

#include "base/str.h"

#define RECORD_HEAD 20

struct record {
        uint64_t revision;
        struct str key, text;
};

static inline size_t record_size(const struct record *r) {
        return RECORD_HEAD + r->key.n + r->text.n;
}
void record_write(const struct record *r, void *dst); /* record_size bytes; dst need not be aligned */
int record_read(struct str bytes, struct record *ret); /* views into bytes. -EUCLEAN */

/* A file's key is at most FILE_KEY_MAX bytes (LMDB's limit). A longer key is cut, and ends in the SHA-256 of the whole. */
#define FILE_KEY_MAX 511
struct str record_file_key(struct str key, char buf[static FILE_KEY_MAX]);
