/* A client of one registry: requests with authentication, and blobs downloaded into files. OCI distribution spec v1. */
#pragma once

#include <pthread.h>

#include "runtime/images/images.h"

struct registry {
        char *base;       /* "https://registry-1.docker.io" */
        char *repository; /* "library/busybox" */
        bool insecure;    /* the certificate is not checked */
        char *ca;         /* a file of CA certificates, or NULL: the system's */
        struct registry_auth auth;
        const bool *interrupted; /* atomic; NULL: never */
        pthread_mutex_t lock;    /* authorization: shared by parallel downloads */
        char *authorization;     /* "Authorization: Bearer …", once the registry asked for it */
};

struct registry_answer {
        int code;
        char content_type[128], digest[80]; /* of the manifest; "" when not said */
        char challenge[2048];               /* WWW-Authenticate */
        int64_t retry_after;
};

/* All texts are copied. base: with scheme. */
void registry_init(struct registry *g, struct str base, struct str repository);
void registry_done(struct registry *g);

/* HEAD or GET of a manifest by tag or digest. body may be NULL (HEAD). Errors in containerd's wording; -ENOENT: not
 * found. */
int registry_manifest(struct registry *g, struct str tag_or_digest, struct buf *body, struct registry_answer *ret,
                      struct error *err);
/* Downloads a blob into the file at path and checks size and digest; goes on where an interrupted one stopped. */
int registry_blob(struct registry *g, const struct descriptor *d, const char *path, struct error *err);
