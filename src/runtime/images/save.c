/* Writing archives (OCI layout and docker archive in one tar, as `docker save` does), and images made of a root file
 * system. */
#include <archive.h>
#include <archive_entry.h>

#include "base/map.h"
#include "base/time.h"
#include "json/build.h"
#include "runtime/images/staging.h"
#include "runtime/images/stream.h"
#include "runtime/images/unpack.h"

struct save {
        struct image_store *images;
        struct arena *arena;
        struct archive *tar;
        struct map *written; /* digests of blobs that are in */
        struct json index, docker;
};

static int tar_error(struct save *s, struct error *err) {
        return error_set(err, -EIO, "%s", archive_error_string(s->tar) ? archive_error_string(s->tar) : "write failed");
}

static int put_header(struct save *s, const char *path, int64_t size, struct error *err) {
        struct archive_entry *e = archive_entry_new();

        archive_entry_set_pathname(e, path);
        archive_entry_set_filetype(e, AE_IFREG);
        archive_entry_set_perm(e, 0644);
        archive_entry_set_size(e, size);
        archive_entry_set_mtime(e, 0, 0);
        int k = archive_write_header(s->tar, e);
        archive_entry_free(e);
        return k == ARCHIVE_OK ? 0 : tar_error(s, err);
}

static int put_text(struct save *s, const char *path, const struct json *j, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write(&b, j);
        int r = put_header(s, path, (int64_t) b.n, err);
        return r >= 0 && archive_write_data(s->tar, b.p, b.n) != (la_ssize_t) b.n ? tar_error(s, err) : r;
}

static int put_blob(struct save *s, struct str digest, struct error *err) {
        _cleanup_close_ int fd = image_store_blob_open(s->images, digest);
        _cleanup_free_ char *path = NULL, *block = NULL;
        struct stat st;
        ssize_t n;

        if (map_has(s->written, digest))
                return 0;
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_errno(err, fd < 0 ? fd : -errno, "blob %" STR_FMT, STR_ARG(digest));
        path = xprintf("blobs/sha256/%.64s", digest.p + 7);
        TRY(put_header(s, path, st.st_size, err));
        block = xmalloc(256 << 10);
        while ((n = read(fd, block, 256 << 10)) != 0) {
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return error_errno(err, -errno, "read blob %" STR_FMT, STR_ARG(digest));
                if (archive_write_data(s->tar, block, (size_t) n) != n)
                        return tar_error(s, err);
        }
        map_put(s->written, digest, s);
        return 0;
}

static struct json blob_name(struct save *s, struct str digest) {
        return json_of_printf(s->arena, "blobs/sha256/%.64s", digest.p + 7);
}

static void describe_image(struct save *s, struct str digest, size_t size, struct str name, const struct manifest *m) {
        struct arena *a = s->arena;
        struct json config = blob_name(s, m->config.digest), layers = json_new_array(), *d;
        struct image_reference ref = { 0 };

        if (str_empty(name) || image_reference_parse(a, name, &ref, NULL) < 0 || str_empty(ref.tag))
                name = ref.tag = str_n(NULL, 0);
        d = json_push(a, &s->index,
                      json_build(a, "{ mediaType: %c, digest: %s, size: %l }", MEDIA_OCI_MANIFEST, digest,
                                 (int64_t) size));
        if (name.p)
                json_setc(a, d, "annotations",
                          json_build(a, "{ io.containerd.image.name: %s, org.opencontainers.image.ref.name: %s }", name,
                                     ref.tag));
        for (size_t i = 0; i < m->n_layers; i++)
                json_push(a, &layers, blob_name(s, m->layers[i].digest));
        json_push(a, &s->docker, json_build(a, "{ Config: %j, RepoTags: [ %s ], Layers: %j }", &config, name, &layers));
}

static int save_image(struct save *s, struct str ref, struct error *err) {
        struct str digest, first_name, name, hex, text = { 0 };
        struct manifest m;

        TRY(image_store_manifest(s->images, s->arena, ref, &digest, &first_name, err));
        TRY(image_store_blob_read(s->images, s->arena, digest, MANIFEST_MAX_BYTES, &text, err));
        TRY(manifest_parse(s->arena, text, &m, err));
        if (image_id_like(ref, &hex) || image_normalize(s->arena, ref, &name, NULL) < 0)
                name = first_name;
        int r = put_blob(s, digest, err);
        if (r >= 0)
                r = put_blob(s, m.config.digest, err);
        for (size_t i = 0; i < m.n_layers && r >= 0; i++)
                r = put_blob(s, m.layers[i].digest, err);
        if (r >= 0)
                describe_image(s, digest, text.n, name, &m);
        return r;
}

static int save_all(struct save *s, const struct str *refs, size_t n, struct error *err) {
        struct json layout = json_build(s->arena, "{ imageLayoutVersion: '1.0.0' }"), index;

        for (size_t i = 0; i < n; i++)
                TRY(save_image(s, refs[i], err));
        index = json_build(s->arena, "{ schemaVersion: 2, mediaType: %c, manifests: %j }", MEDIA_OCI_INDEX, &s->index);
        TRY(put_text(s, "oci-layout", &layout, err));
        TRY(put_text(s, "index.json", &index, err));
        return put_text(s, "manifest.json", &s->docker, err);
}

int image_store_save(struct image_store *images, const struct str *refs, size_t n, const char *path,
                     struct error *err) {
        struct save s = { .images = images, .index = json_new_array(), .docker = json_new_array() };
        _cleanup_close_ int fd = -1;
        struct stat st;
        int r;

        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);
        s.arena = arena_new(0);
        s.written = map_new(NULL);
        s.tar = archive_write_new();
        archive_write_set_format_pax_restricted(s.tar);
        archive_write_set_bytes_in_last_block(s.tar, 1);
        image_store_work_begin(images);
        r = archive_write_open_fd(s.tar, fd) == ARCHIVE_OK ? save_all(&s, refs, n, err) : tar_error(&s, err);
        if (r >= 0 && archive_write_close(s.tar) != ARCHIVE_OK)
                r = tar_error(&s, err);
        image_store_work_end(images);
        archive_write_free(s.tar);
        map_free(s.written);
        arena_free(s.arena);
        if (r < 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
                unlink(path);
        return r;
}

/* ---- import ---- */

/* The root file system as one staged file. */
static int stage_root(const struct staging *st, const char *path, struct error *err) {
        _cleanup_free_ char *tmp = NULL;
        _cleanup_close_ int fd = -1;
        struct stat sb;

        if (stat(path, &sb) < 0)
                return error_errno(err, -errno, "stat %s", path);
        if (S_ISDIR(sb.st_mode)) {
                tmp = xprintf("%s/packed", st->dir);
                fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                TRY(fd < 0 ? error_errno(err, -errno, "create %s", tmp) : tree_pack(path, fd, err));
                if (lseek(fd, 0, SEEK_SET) < 0)
                        return error_errno(err, -errno, "%s", tmp);
                unlink(tmp);
        } else {
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0)
                        return error_errno(err, -errno, "open %s", path);
        }
        return staging_copy_fd(st, fd, STR("layer"), err);
}

static int diff_id_of(struct image_store *s, struct str blob, char dst[static 72], struct error *err) {
        _cleanup_(stream_closep) struct stream *in = NULL;
        _cleanup_close_ int fd = image_store_blob_open(s, blob);
        const void *p;
        ssize_t n = fd < 0 ? error_errno(err, fd, "open blob") : stream_open(fd, UINT64_MAX, &in, err);

        if (n < 0)
                return (int) n;
        while ((n = stream_read(in, &p, err)) > 0)
                ;
        stream_digest(in, dst);
        return (int) n;
}

static int write_config(struct image_store *s, struct arena *a, const char *diff_id, const struct json *config,
                        char digest[static 72], size_t *ret_size, struct error *err) {
        struct json none = json_new_object(), doc;
        _cleanup_buf_ struct buf text = BUF_INIT;

        doc = json_build(a,
                         "{ created: %t, architecture: %c, os: 'linux', config: %j,"
                         "  rootfs: { type: 'layers', diff_ids: [ %c ] } }",
                         now_wall_ns(), platform_arch(), json_is(config, JSON_OBJECT) ? config : &none, diff_id);
        json_write(&text, &doc);
        *ret_size = text.n;
        return image_store_blob_write(s, buf_str(&text), digest, err);
}

static int import_staged(struct image_store *s, const struct staging *st, struct str name, const struct json *config,
                         struct error *err) {
        const struct staged *layer = staging_get(st, STR("layer"));
        char diff_id[72], config_digest[72], manifest_digest[72];
        struct json m;
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct arena *a = st->arena;
        size_t config_size;

        TRY(staging_commit(st, str_of(layer->digest), err));
        TRY(diff_id_of(s, str_of(layer->digest), diff_id, err));
        TRY(write_config(s, a, diff_id, config, config_digest, &config_size, err));
        m = json_build(a,
                       "{ schemaVersion: 2, mediaType: %c, config: { mediaType: %c, digest: %c, size: %l },"
                       "  layers: [ { mediaType: %c, digest: %c, size: %l } ] }",
                       MEDIA_OCI_MANIFEST, MEDIA_OCI_CONFIG, config_digest, (int64_t) config_size,
                       strcmp(diff_id, layer->digest) == 0 ? MEDIA_OCI_LAYER : MEDIA_OCI_LAYER "+gzip", layer->digest,
                       (int64_t) layer->size);
        json_write(&text, &m);
        TRY(image_store_blob_write(s, buf_str(&text), manifest_digest, err));
        return image_store_add(s, str_of(manifest_digest), STR(""), name, STR(""), NULL, err);
}

int image_store_import(struct image_store *s, const char *path, struct str ref, const struct json *config,
                       struct error *err) {
        struct staging st = { .images = s };
        struct image_reference parsed;
        int r;

        image_store_work_begin(s);
        st.arena = arena_new(0);
        st.files = map_new(NULL);
        st.digests = map_new(NULL);
        r = image_reference_parse(st.arena, ref, &parsed, err);
        if (r >= 0 && !str_empty(parsed.digest))
                r = error_set(err, -EINVAL, "cannot import under a digest: \"%" STR_FMT "\"", STR_ARG(ref));
        if (r >= 0 && !(st.dir = image_store_tmp_dir(s, "import", err)))
                r = -EIO;
        if (r >= 0)
                r = stage_root(&st, path, err);
        if (r >= 0)
                r = import_staged(s, &st, image_reference_format(st.arena, &parsed), config, err);
        staging_close(&st);
        image_store_work_end(s);
        return r;
}
