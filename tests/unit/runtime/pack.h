/* Images for tests, made of the machine's static busybox: the tests need no registry and no network. */
#pragma once

#include "base/str.h"

struct packed_layer {
        const char *tar; /* a path */
};

/* A tar at path: /bin/busybox with a few names, /etc/passwd and /etc/group, /tmp. false: there is no busybox here. */
bool pack_root(const char *path);
enum pack_format { PACK_DOCKER = 1, PACK_OCI = 2 };
/* An archive at path of one image called ref with the layers given; formats: or'ed. config: JSON of the config member.
 * compress: "", "gzip". */
void pack_image(const char *path, const char *ref, const char *config, const char *const *layers, size_t n_layers,
                int formats);
/* A tar from a table. type: 'f' file with content, 'd' directory, 'l' symlink to content, 'h' hard link to content. */
struct pack_entry {
        const char *path;
        char type;
        int mode;
        const char *content;
};
void pack_tar(const char *path, const struct pack_entry *entries, size_t n);
