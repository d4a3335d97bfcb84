/* Staging: the files of an archive go, hashed on the way, into a scratch directory under the name of their digest. So
 * the order of the archive does not matter, and "this file has that digest" is proved by its name. */
#include "runtime/images/staging.h"

#include <archive.h>
#include <archive_entry.h>

#include "base/file.h"
#include "base/map.h"
#include "runtime/images/stream.h"

#define ARCHIVE_MAX_BYTES (64ULL << 30)
#define ARCHIVE_MAX_FILES 20000

/* Where a file's bytes go while their digest is not known. */
static int incoming(const struct staging *s, char **ret_path, struct error *err) {
        *ret_path = xprintf("%s/incoming", s->dir);
        int fd = open(*ret_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        return fd < 0 ? error_errno(err, -errno, "create %s", *ret_path) : fd;
}

static int write_block(int fd, struct digest *d, const char *p, size_t n, struct error *err) {
        digest_add(d, p, n);
        while (n > 0) {
                ssize_t w = write(fd, p, n);

                if (w < 0 && errno == EINTR)
                        continue;
                if (w < 0)
                        return error_errno(err, -errno, "write");
                p += w;
                n -= (size_t) w;
        }
        return 0;
}

static int settle(const struct staging *s, struct str path, const char *from, struct digest *d, int64_t size,
                  struct error *err) {
        struct staged *f = arena_new_of(s->arena, struct staged);
        _cleanup_free_ char *to = NULL;

        digest_finish(d, f->digest);
        f->path = arena_str(s->arena, path);
        f->size = size;
        to = xprintf("%s/%s", s->dir, f->digest + 7);
        if (rename(from, to) < 0)
                return error_errno(err, -errno, "rename %s", from);
        map_put(s->files, f->path, f);
        map_put(s->digests, str_of(f->digest), f);
        return 0;
}

/* The bytes of an archive's entry, or of a file. */
static ssize_t next_block(struct archive *tar, int from, char *block, size_t n, struct error *err) {
        ssize_t r = tar ? archive_read_data(tar, block, n) : TEMP_FAILURE_RETRY(read(from, block, n));

        if (r >= 0)
                return r;
        return tar ? error_set(err, -EBADMSG, "tar: %s", archive_error_string(tar)) : error_errno(err, -errno, "read");
}

static int stage_file(const struct staging *s, struct archive *tar, int from, struct str path, struct error *err) {
        _cleanup_(digest_freep) struct digest *d = digest_new();
        _cleanup_free_ char *tmp = NULL, *block = xmalloc(256 << 10);
        _cleanup_close_ int fd = incoming(s, &tmp, err);
        int64_t size = 0;
        ssize_t n;

        if (fd < 0)
                return fd;
        while ((n = next_block(tar, from, block, 256 << 10, err)) > 0) {
                TRY(write_block(fd, d, block, (size_t) n, err));
                size += n;
        }
        return n < 0 ? (int) n : settle(s, path, tmp, d, size, err);
}

int staging_copy_fd(const struct staging *s, int from, struct str path, struct error *err) {
        return stage_file(s, NULL, from, path, err);
}

/* "./a//b" → "a/b"; a symlink's target is taken relative to base. ".." goes up, at most to the top. */
static struct str clean(struct arena *a, struct str base, struct str path) {
        char *to = arena_alloc(a, base.n + path.n + 2), *p = to;

        for (int i = 0; i < 2; i++) {
                str_each(part, i ? path : base, '/') {
                        if (str_empty(part) || str_eqc(part, "."))
                                continue;
                        if (str_eqc(part, "..")) {
                                while (p > to && *--p != '/')
                                        ;
                                continue;
                        }
                        if (p > to)
                                *p++ = '/';
                        memcpy(p, part.p, part.n);
                        p += part.n;
                }
        }
        *p = 0;
        return str_n(to, (size_t) (p - to));
}

static struct str dirname_of(struct str path) {
        ssize_t slash = str_rfind(path, '/');

        return str_sub(path, 0, slash < 0 ? 0 : (size_t) slash);
}

static int stage_entry(const struct staging *s, struct archive *tar, struct archive_entry *e, struct error *err) {
        struct str path = clean(s->arena, STR(""), str_of(archive_entry_pathname(e))), target = { 0 };

        if (archive_entry_hardlink(e))
                target = clean(s->arena, STR(""), str_of(archive_entry_hardlink(e)));
        else if (archive_entry_filetype(e) == AE_IFLNK && archive_entry_symlink(e))
                target = clean(s->arena, dirname_of(path), str_of(archive_entry_symlink(e)));
        else if (archive_entry_filetype(e) == AE_IFREG)
                return stage_file(s, tar, -1, path, err);
        else
                return 0;
        struct staged *f = arena_new_of(s->arena, struct staged);
        f->path = path;
        f->link = target;
        map_put(s->files, path, f);
        return 0;
}

struct source {
        struct stream *stream;
        struct error err;
};

static la_ssize_t read_source(struct archive *a, void *arg, const void **ret) {
        struct source *src = arg;
        ssize_t n = stream_read(src->stream, ret, &src->err);

        if (n < 0)
                archive_set_error(a, (int) -n, "%s", error_text(&src->err));
        return n;
}

static int stage_all(const struct staging *s, struct archive *tar, struct error *err) {
        struct archive_entry *e;
        size_t n = 0;
        int k;

        while ((k = archive_read_next_header(tar, &e)) != ARCHIVE_EOF) {
                if (k < ARCHIVE_WARN)
                        return error_set(err, -EBADMSG, "%s", archive_error_string(tar));
                if (!archive_entry_pathname(e) || ++n > ARCHIVE_MAX_FILES)
                        return error_set(err, -EBADMSG, "not an image archive");
                TRY(stage_entry(s, tar, e, err));
        }
        return 0;
}

int staging_open(struct image_store *images, const char *path, struct staging *ret, struct error *err) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct source src = { 0 };

        *ret = (struct staging) { .images = images };
        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);
        ret->dir = image_store_tmp_dir(images, "load", err);
        if (!ret->dir)
                return -EIO;
        ret->arena = arena_new(0);
        ret->files = map_new(NULL);
        ret->digests = map_new(NULL);
        int r = stream_open(fd, ARCHIVE_MAX_BYTES, &src.stream, err);
        if (r >= 0) {
                struct archive *tar = archive_read_new();
                archive_read_support_format_tar(tar);
                if (archive_read_open(tar, &src, NULL, read_source, NULL) != ARCHIVE_OK)
                        r = error_set(err, -EBADMSG, "%s", archive_error_string(tar));
                else
                        r = stage_all(ret, tar, err);
                archive_read_free(tar);
                stream_close(src.stream);
                error_clear(&src.err);
        }
        if (r < 0) {
                error_prefix(err, "%s", path);
                staging_close(ret);
        }
        return r;
}

void staging_close(struct staging *s) {
        if (s->dir)
                (void) file_remove_tree(s->dir, NULL);
        free(s->dir);
        map_free(s->files);
        map_free(s->digests);
        arena_free(s->arena);
        *s = (struct staging) { 0 };
}

const struct staged *staging_get(const struct staging *s, struct str path) {
        const struct staged *f = map_get(s->files, clean(s->arena, STR(""), path));

        for (int depth = 0; f && !str_empty(f->link) && depth < 8; depth++)
                f = map_get(s->files, f->link);
        return f && str_empty(f->link) ? f : NULL;
}

int staging_read(const struct staging *s, struct str digest, struct str *ret, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        if (!map_has(s->digests, digest))
                return image_store_blob_read(s->images, s->arena, digest, MANIFEST_MAX_BYTES, ret, err);
        _cleanup_free_ char *path = xprintf("%s/%.64s", s->dir, digest.p + 7);
        int r = file_read(path, MANIFEST_MAX_BYTES, &b, err);
        if (r == -ENOENT) /* committed before */
                return image_store_blob_read(s->images, s->arena, digest, MANIFEST_MAX_BYTES, ret, err);
        if (r >= 0)
                *ret = arena_str(s->arena, buf_str(&b));
        return r;
}

int staging_commit(const struct staging *s, struct str digest, struct error *err) {
        _cleanup_free_ char *path = xprintf("%s/%.64s", s->dir, digest.p + 7);

        if (file_exists(path))
                return image_store_blob_put(s->images, digest, path, err);
        _cleanup_close_ int fd = image_store_blob_open(s->images, digest);
        return fd < 0 ? error_set(err, -ENOENT, "the archive lacks the blob %" STR_FMT, STR_ARG(digest)) : 0;
}
