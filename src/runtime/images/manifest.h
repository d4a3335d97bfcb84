/* Image manifests, indexes and configs: OCI image spec v1 and Docker's schema 2, as bytes from outside. */
#pragma once

#include "json/json.h"

#define MANIFEST_MAX_BYTES (8U << 20)
#define MANIFEST_MAX_LAYERS 500 /* what overlayfs can stack */

#define MEDIA_OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_OCI_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_OCI_LAYER "application/vnd.oci.image.layer.v1.tar"
#define MEDIA_DOCKER_LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define MEDIA_DOCKER_MANIFEST "application/vnd.docker.distribution.manifest.v2+json"

/* A copy that lives as long as the arena; NULL stays NULL. */
static inline struct json *json_keep(struct arena *a, const struct json *j) {
        return j ? json_new(a, json_copy(a, j)) : NULL;
}

struct descriptor {
        struct str media_type, digest;
        int64_t size;
        struct str os, arch, variant; /* of an index' entry */
        const struct json *annotations;
};

struct manifest {
        bool is_index;
        struct descriptor config;
        struct descriptor *layers; /* of an image */
        size_t n_layers;
        struct descriptor *manifests; /* of an index */
        size_t n_manifests;
};

struct image_config {
        struct str arch, os;
        int64_t created_ns;
        struct str *diff_ids;
        size_t n_diff_ids;
        const struct json *config; /* {"Env","Entrypoint","Cmd","User","WorkingDir","Labels","StopSignal",…}; may be
                                      NULL */
        const struct json *doc;
};

/* text lives as long as the result. -EINVAL, -ENOTSUP (schema 1). */
int manifest_parse(struct arena *a, struct str text, struct manifest *ret, struct error *err);
int image_config_parse(struct arena *a, struct str text, struct image_config *ret, struct error *err);
/* The entry of an index that fits this machine best; NULL: none does. */
const struct descriptor *manifest_choose(const struct manifest *index);
const char *platform_arch(void); /* as Go names it: "amd64" */
