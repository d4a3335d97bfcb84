/* links: runtime json base */
/* Image manifests, indexes and configs from a registry or an archive. */
#include <stdlib.h>

#include "runtime/images/manifest.h"
#include "runtime/images/ref.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str text = str_n((const char *) data, size);
        struct image_config c;
        struct manifest m;

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
