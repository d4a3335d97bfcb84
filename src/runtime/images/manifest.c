/* Manifests. What is read here came from a registry or an archive: every digest is checked for its form, every list for
 * its length; the bytes' own digest has been checked by whoever fetched them. */
#include "runtime/images/manifest.h"

#include "base/time.h"
#include "base/image_ref.h"

static const struct {
        const char *arch, *variants; /* variants from the best to the least that runs here */
} platform =
#if defined(__x86_64__)
                { "amd64", "" };
#elif defined(__aarch64__)
                { "arm64", "v8" };
#elif defined(__arm__)
                { "arm", "v7 v6 v5" };
#elif defined(__riscv) && __riscv_xlen == 64
                { "riscv64", "" };
#elif defined(__powerpc64__)
                { "ppc64le", "" };
#elif defined(__s390x__)
                { "s390x", "" };
#elif defined(__i386__)
                { "386", "" };
#else
                { "unknown", "" };
#endif

const char *platform_arch(void) {
        return platform.arch;
}

static int descriptor_read(const struct json *j, struct descriptor *d, struct error *err) {
        const struct json *p = json_getc(j, "platform");

        *d = (struct descriptor) {
                .media_type = json_str(json_getc(j, "mediaType")),
                .digest = json_str(json_getc(j, "digest")),
                .size = json_int_or(json_getc(j, "size"), -1),
                .os = json_str(json_getc(p, "os")),
                .arch = json_str(json_getc(p, "architecture")),
                .variant = json_str(json_getc(p, "variant")),
                .annotations = json_getc(j, "annotations"),
        };
        if (!digest_valid(d->digest))
                return error_set(err, -EINVAL, "invalid digest \"%" STR_FMT "\" in manifest", STR_ARG(d->digest));
        if (d->size < 0)
                return error_set(err, -EINVAL, "descriptor %" STR_FMT " has no size", STR_ARG(d->digest));
        return 0;
}

static int descriptors_read(struct arena *a, const struct json *list, struct descriptor **ret, size_t *ret_n,
                            struct error *err) {
        size_t n = 0;

        *ret = arena_array(a, struct descriptor, json_len(list) + 1);
        json_each_item(it, list)
                TRY(descriptor_read(it, &(*ret)[n++], err));
        *ret_n = n;
        return 0;
}

int manifest_parse(struct arena *a, struct str text, struct manifest *ret, struct error *err) {
        struct json_parse_opts opts = { .max_depth = 64 };
        struct manifest m = { 0 };
        struct json *j;

        if (text.n > MANIFEST_MAX_BYTES)
                return error_set(err, -EFBIG, "manifest of %zu bytes is larger than %u bytes", text.n,
                                 MANIFEST_MAX_BYTES);
        int r = json_parse(a, text, &opts, &j, err);
        if (r < 0)
                return error_prefix(err, "failed to parse manifest");
        if (json_int(json_getc(j, "schemaVersion")) == 1)
                return error_set(
                                err, -ENOTSUP,
                                "manifest schema 1 is not supported: the image must be pushed again in a newer format");
        if (json_is(json_getc(j, "manifests"), JSON_ARRAY)) {
                m.is_index = true;
                if (json_len(json_getc(j, "manifests")) > 1000)
                        return error_set(err, -EINVAL, "image index has more than 1000 entries");
                TRY(descriptors_read(a, json_getc(j, "manifests"), &m.manifests, &m.n_manifests, err));
        } else if (json_is(json_getc(j, "config"), JSON_OBJECT)) {
                if (json_len(json_getc(j, "layers")) > MANIFEST_MAX_LAYERS)
                        return error_set(err, -EINVAL, "image has more than %d layers", MANIFEST_MAX_LAYERS);
                TRY(descriptor_read(json_getc(j, "config"), &m.config, err));
                TRY(descriptors_read(a, json_getc(j, "layers"), &m.layers, &m.n_layers, err));
        } else
                return error_set(err, -EINVAL, "neither an image manifest nor an image index");
        *ret = m;
        return 0;
}

int image_config_parse(struct arena *a, struct str text, struct image_config *ret, struct error *err) {
        struct json_parse_opts opts = { .max_depth = 64 };
        struct image_config c = { 0 };
        struct json *j;

        if (text.n > MANIFEST_MAX_BYTES)
                return error_set(err, -EFBIG, "image config of %zu bytes is larger than %u bytes", text.n,
                                 MANIFEST_MAX_BYTES);
        int r = json_parse(a, text, &opts, &j, err);
        if (r < 0)
                return error_prefix(err, "failed to parse image config");
        const struct json *ids = json_at_path(j, "rootfs", "diff_ids");
        if (!json_is(j, JSON_OBJECT) || json_len(ids) > MANIFEST_MAX_LAYERS)
                return error_set(err, -EINVAL, "not an image config");
        c.doc = j;
        c.arch = json_str(json_getc(j, "architecture"));
        c.os = json_str(json_getc(j, "os"));
        c.config = json_getc(j, "config");
        if (time_parse(json_str(json_getc(j, "created")), &c.created_ns) < 0)
                c.created_ns = 0;
        c.diff_ids = arena_array(a, struct str, json_len(ids) + 1);
        json_each_item(it, ids) {
                if (!digest_valid(json_str(it)))
                        return error_set(err, -EINVAL, "invalid diff id \"%" STR_FMT "\" in image config",
                                         STR_ARG(json_str(it)));
                c.diff_ids[c.n_diff_ids++] = json_str(it);
        }
        *ret = c;
        return 0;
}

/* 0: does not run here; otherwise the higher the better. */
static int platform_score(const struct descriptor *d) {
        int score = 10;

        if (!str_eqc(d->os, "linux") || !str_eqc(d->arch, platform.arch))
                return 0;
        if (str_empty(d->variant))
                return score;
        str_each(v, str_of(platform.variants), ' ')
                if (str_eq(v, d->variant))
                        return score;
                else
                        score--;
        return str_empty(str_of(platform.variants)) && str_eqc(d->variant, "v1") ? 9 : 0;
}

const struct descriptor *manifest_choose(const struct manifest *index) {
        const struct descriptor *best = NULL;
        int best_score = 0;

        for (size_t i = 0; i < index->n_manifests; i++) {
                const struct descriptor *d = &index->manifests[i];
                int score = platform_score(d);

                if (score > best_score) {
                        best_score = score;
                        best = d;
                }
        }
        if (best)
                return best;
        /* An index of one image that names no platform, as archives have. */
        for (size_t i = 0; i < index->n_manifests; i++)
                if (str_empty(index->manifests[i].os) && str_empty(index->manifests[i].arch))
                        return &index->manifests[i];
        return NULL;
}
