/* Image manifests, indexes and configs from a registry or an archive; and image references: what is taken is normal,
 * and normalising it again changes nothing. */
#include <stdlib.h>

#include "runtime/images/manifest.h"
#include "base/image_ref.h"
#include "runtime/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reference(struct arena *a, struct str text) {
        struct str once, twice, hex;
        struct image_reference r;

        (void) image_id_like(text, &hex);
        if (image_normalize(a, text, &once, NULL) < 0)
                return;
        if (image_normalize(a, once, &twice, NULL) < 0 || !str_eq(once, twice))
                abort();
        if (image_reference_parse(a, once, &r, NULL) < 0 || str_empty(r.path) ||
            str_empty(r.tag) == str_empty(r.digest))
                abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str text = str_n((const char *) data, size);
        struct image_config c;
        struct manifest m;

        reference(a, text);
        if (manifest_parse(a, text, &m, NULL) >= 0) {
                const struct descriptor *d = m.is_index ? manifest_choose(&m) : &m.config;

                if (d && !digest_valid(d->digest))
                        abort();
                for (size_t i = 0; i < m.n_layers; i++)
                        if (!digest_valid(m.layers[i].digest) || m.layers[i].size < 0)
                                abort();
        }
        if (image_config_parse(a, text, &c, NULL) >= 0)
                for (size_t i = 0; i < c.n_diff_ids; i++)
                        if (!digest_valid(c.diff_ids[i]))
                                abort();
        return 0;
}
