/* Records as they lie in the store's file: what is read is within the bytes, and is written back as the same bytes. And
 * the file itself, damaged in any way: the check reads nothing outside it. */
#include <stdlib.h>

#include "store/lmdb_check.h"
#include "store/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        struct str rest = str_n((const char *) data, n), before = rest;
        struct record rec;

        lmdb_check((const char *) data, n);
        while (record_read(&rest, &rec) == 0) {
                size_t size = before.n - rest.n;
                char *copy = malloc(size);

                if (size != record_size(rec.key.n, rec.text.n) || record_write(&rec, copy) != copy + size ||
                    memcmp(copy, before.p, size) != 0)
                        abort();
                free(copy);
                before = rest;
        }
        return 0;
}

/* Random bytes have no right checksum: lets the fuzzer mutate lengths and contents, and then puts the checksum right.
 */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max, unsigned seed) {
        n = LLVMFuzzerMutate(data, n, max);
        if (seed % 4 && n >= RECORD_HEAD) {
                size_t key_n = (seed >> 2) % (n - RECORD_HEAD + 1);
                char *copy = malloc(n);

                record_write(&(struct record) { seed,
                                                { (char *) data + RECORD_HEAD, key_n },
                                                { (char *) data + RECORD_HEAD + key_n, n - RECORD_HEAD - key_n } },
                             copy);
                memcpy(data, copy, n);
                free(copy);
        }
        return n;
}
