/* links: store json base */
/* A store's file, damaged in any way: the check reads nothing outside it. */
#include <stdint.h>

#include "store/lmdb_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
        lmdb_check((const char *) data, n);
        return 0;
}
