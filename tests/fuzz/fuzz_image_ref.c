/* links: runtime json base */
/* Image references: what is taken is normal, and normalising it again changes nothing. */
#include <stdlib.h>

#include "runtime/images/ref.h"
#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str text = str_n((const char *) data, size), once, twice, hex;
        struct image_reference r;

        (void) image_id_like(text, &hex);
        if (image_normalize(a, text, &once, NULL) < 0)
                return 0;
        if (image_normalize(a, once, &twice, NULL) < 0 || !str_eq(once, twice))
                abort();
        if (image_reference_parse(a, once, &r, NULL) < 0 || str_empty(r.path) || str_empty(r.tag) == str_empty(r.digest))
                abort();
        return 0;
}
