/* The image store: blobs, unpacked layers, and an index that says which belong together.
 *
 *   root/blobs/sha256/<hex>   manifests, configs, layers as they came
 *   root/layers/<n>           one unpacked layer each; short names, since overlayfs' option string is one page
 *   root/index.json           images (names, digests, layers), which chain id is layers/<n>; replaced last
 *   root/tmp/                 downloads and half-unpacked layers: emptied at start
 *
 * What the index does not name does not exist: a crash leaves only garbage, and garbage is swept at start, and
 * whenever an image was removed and nobody is adding one. */
#pragma once

#include "runtime/images/manifest.h"
#include "base/image_ref.h"
#include "runtime/runtime.h"

struct image_store;

/* root is created. registries (may be NULL) is copied. */
int image_store_open(const char *root, const struct json *registries, struct image_store **ret, struct error *err);
void image_store_close(struct image_store *s);
void image_store_interrupt(struct image_store *s); /* pulls end with -ECANCELED */
const bool *image_store_interrupted(const struct image_store *s);

/* ---- what containers need ---- */

struct image_use {
        char *id;          /* "sha256:…" */
        struct str lowers; /* overlayfs' lowerdir: "/root/layers/7:/root/layers/3", the upper-most first */
        struct image_config config;
};
/* Finds an image (an id, a prefix of one, or a name) and holds it: it cannot be removed until image_store_release(id).
 * -ENOENT. */
int image_store_use(struct image_store *s, struct arena *a, struct str ref_or_id, struct image_use *ret,
                    struct error *err);
int image_store_hold(struct image_store *s, const char *id); /* again, after a restart; -ENOENT */
void image_store_release(struct image_store *s, const char *id);
/* How containers name their image: "docker.io/library/x@sha256:…", or its id where it has no digest. */
char *image_store_digest_form(struct image_store *s, const char *id);

/* ---- adding images: everything between work_begin and work_end is safe from the sweep ---- */

void image_store_work_begin(struct image_store *s);
void image_store_work_end(struct image_store *s);
char *image_store_tmp_dir(struct image_store *s, const char *what,
                          struct error *err);                        /* a new directory in tmp/; NULL on failure */
int image_store_blob_open(struct image_store *s, struct str digest); /* descriptor, or negative errno */
int image_store_blob_read(struct image_store *s, struct arena *a, struct str digest, size_t limit, struct str *ret,
                          struct error *err);
int image_store_blob_put(struct image_store *s, struct str digest, const char *path,
                         struct error *err); /* moves a checked file in */
int image_store_blob_write(struct image_store *s, struct str data, char ret_digest[static 72], struct error *err);
/* Unpacks what is not unpacked and makes the image known. All blobs of the manifest are in the store. name ("repo:tag",
 * normalised) and repo_digest ("repo@sha256:…") may be empty. also: the digest of an index to keep with it, or empty.
 */
int image_store_add(struct image_store *s, struct str manifest_digest, struct str also, struct str name,
                    struct str repo_digest, char **ret_id, struct error *err);

/* The same for the outside, without struct runtime in it. */
int image_store_status(struct image_store *s, struct arena *a, struct str ref_or_id, struct image_status *ret,
                       struct error *err);
int image_store_list(struct image_store *s, struct arena *a, struct image_status **ret, size_t *ret_n);
int image_store_remove(struct image_store *s, struct str ref_or_id, struct error *err);
int image_store_tag(struct image_store *s, struct str ref_or_id, struct str name, struct error *err);
int image_store_usage(struct image_store *s, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err);
int image_store_manifest(struct image_store *s, struct arena *a, struct str ref_or_id, struct str *ret_digest,
                         struct str *ret_name, struct error *err);
const struct json *image_store_registries(const struct image_store *s);

/* archive.c */
int image_store_load(struct image_store *s, struct arena *a, const char *path, struct str **ret_refs, size_t *ret_n,
                     struct error *err);
int image_store_save(struct image_store *s, const struct str *refs, size_t n, const char *path, struct error *err);
int image_store_import(struct image_store *s, const char *path, struct str ref, const struct json *config,
                       struct error *err);
/* registry.c */
int image_store_pull(struct image_store *s, struct str ref, const struct registry_auth *auth,
                     void (*progress)(const char *line, void *arg), void *arg, char **ret_id, struct error *err);
