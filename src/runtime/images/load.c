/* Loading archives: an OCI layout (index.json), a docker archive (manifest.json), or both in one as `docker save`
 * writes. Either way every image becomes: a manifest blob, a config blob, layer blobs, and image_store_add(). */
#include "base/vec.h"
#include "json/build.h"
#include "runtime/images/staging.h"

struct load {
        struct image_store *images;
        struct staging stage;
        const struct json *docker; /* manifest.json, or NULL */
        VEC(struct str) refs;      /* what was loaded, in arena */
        struct arena *arena;
        bool other_platform;
};

static int read_json(struct load *l, const char *path, struct json **ret, struct error *err) {
        struct json_parse_opts opts = { .max_depth = 64 };
        const struct staged *f = staging_get(&l->stage, str_of(path));
        struct str text;

        *ret = NULL;
        if (!f)
                return 0;
        int r = staging_read(&l->stage, str_of(f->digest), &text, err);
        if (r >= 0)
                r = json_parse(l->stage.arena, text, &opts, ret, err);
        return r < 0 ? error_prefix(err, "%s", path) : 0;
}

static int commit_blobs(struct load *l, const struct manifest *m, struct error *err) {
        int r = staging_commit(&l->stage, m->config.digest, err);

        for (size_t i = 0; i < m->n_layers && r >= 0; i++)
                r = staging_commit(&l->stage, m->layers[i].digest, err);
        return r;
}

static void loaded(struct load *l, struct str ref) {
        for (size_t i = 0; i < l->refs.n; i++)
                if (str_eq(l->refs.v[i], ref))
                        return;
        vec_push(&l->refs, arena_str(l->arena, ref));
}

/* One image under all its names (normalised); one without a name is known by its id. */
static int add(struct load *l, struct str manifest, struct str index, const struct str *names, size_t n, bool by_digest,
               struct error *err) {
        _cleanup_free_ char *id = NULL;

        for (size_t i = 0; i < MAX(n, (size_t) 1); i++) {
                struct str name = n ? names[i] : STR(""), repo_digest = STR("");
                struct image_reference ref;

                if (n && by_digest && image_reference_parse(l->stage.arena, name, &ref, NULL) >= 0) {
                        ref.digest = manifest;
                        repo_digest = image_reference_format(l->stage.arena, &ref);
                }
                free(id);
                id = NULL;
                TRY(image_store_add(l->images, manifest, index, name, repo_digest, &id, err));
                loaded(l, n ? name : str_of(id));
        }
        return 0;
}

static bool normalize(struct load *l, struct str ref, struct str *ret) {
        if (str_empty(ref) || image_normalize(l->stage.arena, ref, ret, NULL) < 0)
                return false;
        return true;
}

/* RepoTags of manifest.json for the image with this config. */
static size_t docker_names(struct load *l, struct str config, struct str *names, size_t max) {
        size_t n = 0;

        json_each_item(it, l->docker) {
                const struct staged *f = staging_get(&l->stage, json_str(json_getc(it, "Config")));

                if (!f || !str_eqc(config, f->digest))
                        continue;
                json_each_item(tag, json_getc(it, "RepoTags"))
                        if (n < max && normalize(l, json_str(tag), &names[n]))
                                n++;
        }
        return n;
}

/* A descriptor's own names: containerd's annotation, then OCI's, which may be a whole reference or only a tag. */
static size_t oci_names(struct load *l, const struct descriptor *d, struct str *names) {
        struct str full = json_str(json_getc(d->annotations, "io.containerd.image.name"));
        struct str ref = json_str(json_getc(d->annotations, "org.opencontainers.image.ref.name"));

        if (normalize(l, full, names))
                return 1;
        if ((str_find(ref, '/') >= 0 || str_find(ref, ':') >= 0) && normalize(l, ref, names))
                return 1;
        return 0;
}

static int load_descriptor(struct load *l, const struct descriptor *top, struct error *err) {
        struct descriptor d = *top;
        struct str names[64], text, index = STR("");
        struct manifest m;

        for (int depth = 0;; depth++) {
                TRY(staging_read(&l->stage, d.digest, &text, err));
                TRY(manifest_parse(l->stage.arena, text, &m, err));
                if (!m.is_index)
                        break;
                const struct descriptor *best = manifest_choose(&m);
                if (!best || depth > 4) {
                        l->other_platform = true;
                        return 0;
                }
                if (str_empty(index))
                        index = d.digest;
                d = *best;
        }
        if (!str_empty(index))
                TRY(staging_commit(&l->stage, index, err));
        TRY(staging_commit(&l->stage, d.digest, err));
        TRY(commit_blobs(l, &m, err));
        size_t n = docker_names(l, m.config.digest, names, ARRAY_SIZE(names));
        if (n == 0)
                n = oci_names(l, top, names);
        return add(l, d.digest, index, names, n, true, err);
}

static int load_oci(struct load *l, const struct json *index, struct error *err) {
        struct manifest m;
        _cleanup_buf_ struct buf text = BUF_INIT;

        json_write(&text, index);
        int r = manifest_parse(l->stage.arena, arena_str(l->stage.arena, buf_str(&text)), &m, err);
        if (r >= 0 && !m.is_index)
                r = error_set(err, -EINVAL, "not an image index");
        if (r < 0)
                return error_prefix(err, "index.json");
        for (size_t i = 0; i < m.n_manifests; i++)
                TRY(load_descriptor(l, &m.manifests[i], err));
        return 0;
}

static struct json describe(struct arena *a, const char *type, const struct staged *f) {
        return json_build(a, "{ mediaType: %c, digest: %c, size: %l }", type, f->digest, (int64_t) f->size);
}

/* manifest.json names files; the manifest that a registry would have for them is made here. */
static int load_docker_image(struct load *l, const struct json *image, struct error *err) {
        struct arena *a = l->stage.arena;
        const struct staged *config = staging_get(&l->stage, json_str(json_getc(image, "Config")));
        struct json m, layers = json_new_array(), description;
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str names[64];
        char digest[72];
        size_t n = 0;

        if (!config)
                return error_set(err, -EBADMSG, "manifest.json: no file \"%" STR_FMT "\"",
                                 STR_ARG(json_str(json_getc(image, "Config"))));
        TRY(staging_commit(&l->stage, str_of(config->digest), err));
        json_each_item(it, json_getc(image, "Layers")) {
                const struct staged *f = staging_get(&l->stage, json_str(it));

                if (!f)
                        return error_set(err, -EBADMSG, "manifest.json: no file \"%" STR_FMT "\"",
                                         STR_ARG(json_str(it)));
                json_push(a, &layers, describe(a, MEDIA_OCI_LAYER, f));
                TRY(staging_commit(&l->stage, str_of(f->digest), err));
        }
        description = describe(a, MEDIA_OCI_CONFIG, config);
        m = json_build(a, "{ schemaVersion: 2, mediaType: %c, config: %j, layers: %j }", MEDIA_OCI_MANIFEST,
                       &description, &layers);
        json_write(&text, &m);
        TRY(image_store_blob_write(l->images, buf_str(&text), digest, err));
        json_each_item(tag, json_getc(image, "RepoTags"))
                if (n < ARRAY_SIZE(names) && normalize(l, json_str(tag), &names[n]))
                        n++;
        return add(l, str_of(digest), STR(""), names, n, false, err);
}

static int load_all(struct load *l, const char *path, struct error *err) {
        struct json *index, *docker;

        TRY(read_json(l, "index.json", &index, err));
        TRY(read_json(l, "manifest.json", &docker, err));
        l->docker = docker;
        if (!index && !docker)
                return error_set(err, -EINVAL,
                                 "%s is not an image archive: it has neither index.json (OCI) nor manifest.json "
                                 "(docker)",
                                 path);
        if (index && staging_get(&l->stage, STR("oci-layout")))
                TRY(load_oci(l, index, err));
        else
                json_each_item(it, docker)
                        TRY(load_docker_image(l, it, err));
        if (l->refs.n > 0)
                return 0;
        return error_set(err, -ENOENT, l->other_platform ? "%s has no image for linux/%s" : "%s has no image in it",
                         path, platform_arch());
}

int image_store_load(struct image_store *s, struct arena *a, const char *path, struct str **ret_refs, size_t *ret_n,
                     struct error *err) {
        struct load l = { .images = s, .arena = a };
        int r;

        image_store_work_begin(s);
        r = staging_open(s, path, &l.stage, err);
        if (r >= 0) {
                r = load_all(&l, path, err);
                staging_close(&l.stage);
        }
        image_store_work_end(s);
        if (r >= 0) {
                *ret_refs = arena_dup(a, l.refs.v, l.refs.n * sizeof(struct str));
                *ret_n = l.refs.n;
        }
        vec_free(&l.refs);
        return r;
}
