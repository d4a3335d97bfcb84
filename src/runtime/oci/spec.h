/* Inside of spec.c: one config.json in the making. */
#pragma once

#include "runtime/oci/oci.h"

struct spec {
        struct runtime *runtime;
        const struct sandbox *sandbox;
        struct container *container;
        const struct container_config *config;
        const struct image_config *image;
        struct arena *a;
        struct error *err;
        bool privileged;
        struct json process, linux_, mounts;
};

/* mounts.c */
int spec_mounts(struct spec *s);
/* security.c */
int spec_security(struct spec *s); /* user, capabilities, seccomp, masked paths, namespaces, devices */
