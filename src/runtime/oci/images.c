/* The image half of runtime.h: the store does it. */
#include "runtime/oci/oci.h"

int runtime_image_status(struct runtime *r, struct arena *a, struct str ref_or_id, struct image_status *ret,
                         struct error *err) {
        return image_store_status(r->images, a, ref_or_id, ret, err);
}

int runtime_image_list(struct runtime *r, struct arena *a, struct image_status **ret, size_t *ret_n,
                       struct error *err) {
        return image_store_list(r->images, a, ret, ret_n);
}

int runtime_image_pull(struct runtime *r, struct str ref, const struct registry_auth *auth,
                       void (*progress)(const char *line, void *arg), void *arg, char **ret_id, struct error *err) {
        return image_store_pull(r->images, ref, auth, progress, arg, ret_id, err);
}

int runtime_image_remove(struct runtime *r, struct str ref_or_id, struct error *err) {
        return image_store_remove(r->images, ref_or_id, err);
}

int runtime_image_load(struct runtime *r, struct arena *a, const char *path, struct str **ret_refs, size_t *ret_n,
                       struct error *err) {
        return image_store_load(r->images, a, path, ret_refs, ret_n, err);
}

int runtime_image_save(struct runtime *r, const struct str *refs, size_t n, const char *path, struct error *err) {
        return image_store_save(r->images, refs, n, path, err);
}

int runtime_image_import(struct runtime *r, const char *path, struct str ref, const struct json *config,
                         struct error *err) {
        return image_store_import(r->images, path, ref, config, err);
}

int runtime_image_tag(struct runtime *r, struct str ref_or_id, struct str new_ref, struct error *err) {
        return image_store_tag(r->images, ref_or_id, new_ref, err);
}

int runtime_image_usage(struct runtime *r, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err) {
        return image_store_usage(r->images, ret_bytes, ret_inodes, err);
}
