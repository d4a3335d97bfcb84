/* Image references as Docker's reference grammar reads and normalises them. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct image_reference {
        struct str domain; /* "docker.io", "localhost:5000" */
        struct str path;   /* "library/busybox" */
        struct str tag;    /* "latest"; empty when a digest is given (a tag beside a digest is dropped) */
        struct str digest; /* "sha256:…", or empty */
};

/* Views into ref or into the arena. -EINVAL: `couldn't parse image reference "X": invalid reference format`. */
int image_reference_parse(struct arena *a, struct str ref, struct image_reference *ret, struct error *err);
struct str image_reference_format(struct arena *a, const struct image_reference *r); /* the whole, normalised */
/* Reference normalisation as Docker's: "busybox" → "docker.io/library/busybox:latest". -EINVAL "couldn't parse image
 * reference …" */
int image_normalize(struct arena *a, struct str ref, struct str *ret, struct error *err);
/* The host to talk to: docker.io is served by registry-1.docker.io. */
struct str image_reference_host(const struct image_reference *r);
bool digest_valid(struct str d); /* "sha256:" and 64 lower-case hex digits */
/* "busybox" of "sha256:busybox…": true when s may be an image id or a prefix of one (12 or more hex digits). */
bool image_id_like(struct str s, struct str *ret_hex);
