#include "pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "json/json.h"
#include "runtime/images/manifest.h"

static struct archive *open_tar(const char *path) {
        struct archive *tar = archive_write_new();

        archive_write_set_format_pax_restricted(tar);
        archive_write_set_bytes_in_last_block(tar, 1);
        if (archive_write_open_filename(tar, path) != ARCHIVE_OK)
                abort();
        return tar;
}

static void close_tar(struct archive *tar) {
        archive_write_close(tar);
        archive_write_free(tar);
}

static void put(struct archive *tar, const char *path, char type, int mode, struct str content) {
        struct archive_entry *e = archive_entry_new();

        archive_entry_set_pathname(e, path);
        archive_entry_set_perm(e, (mode_t) mode);
        archive_entry_set_mtime(e, 1000000000, 0);
        archive_entry_set_filetype(e, type == 'd' ? AE_IFDIR : type == 'l' ? AE_IFLNK : AE_IFREG);
        if (type == 'l')
                archive_entry_set_symlink(e, content.p);
        else if (type == 'h')
                archive_entry_set_hardlink(e, content.p);
        else if (type == 'f')
                archive_entry_set_size(e, (la_int64_t) content.n);
        if (archive_write_header(tar, e) < ARCHIVE_WARN)
                abort();
        if (type == 'f' && content.n > 0 && archive_write_data(tar, content.p, content.n) < 0)
                abort();
        archive_entry_free(e);
}

void pack_tar(const char *path, const struct pack_entry *entries, size_t n) {
        struct archive *tar = open_tar(path);

        for (size_t i = 0; i < n; i++)
                put(tar, entries[i].path, entries[i].type, entries[i].mode, str_of(entries[i].content));
        close_tar(tar);
}

bool pack_root(const char *path) {
        static const char *const applets[] = { "sh",    "cat", "echo",  "sleep", "true", "false", "id",
                                               "ls",    "env", "nc",    "kill",  "ps",   "stty",  "hostname",
                                               "mount", "dd",  "grep",  "pwd",   "wc",   "head",  "touch",
                                               "test",  "seq", "httpd", "mkdir" };
        static const char *const candidates[] = { "/bin/busybox", "/usr/bin/busybox" };
        _cleanup_buf_ struct buf busybox = BUF_INIT;
        struct archive *tar;
        char name[64];

        for (size_t i = 0; i < ARRAY_SIZE(candidates) && !busybox.n; i++)
                (void) file_read(candidates[i], 16 << 20, &busybox, NULL);
        if (!busybox.n)
                return false;
        tar = open_tar(path);
        put(tar, "bin", 'd', 0755, STR(""));
        put(tar, "bin/busybox", 'f', 0755, buf_str(&busybox));
        for (size_t i = 0; i < ARRAY_SIZE(applets); i++) {
                snprintf(name, sizeof(name), "bin/%s", applets[i]);
                put(tar, name, i % 2 ? 'l' : 'h', 0755, i % 2 ? STR("busybox") : STR("bin/busybox"));
        }
        put(tar, "etc", 'd', 0755, STR(""));
        put(tar, "etc/passwd", 'f', 0644, STR("root:x:0:0:root:/:/bin/sh\nweb:x:1001:1002:web:/home/web:/bin/sh\n"));
        put(tar, "etc/group", 'f', 0644, STR("root:x:0:\nweb:x:1002:\nextra:x:1500:web\n"));
        put(tar, "tmp", 'd', 01777, STR(""));
        close_tar(tar);
        return true;
}

static struct json describe(struct arena *a, const char *type, struct str bytes) {
        char digest[72] = "sha256:";
        struct json d = json_new_object();

        sha256_hex(digest + 7, bytes);
        json_set_cstr(a, &d, "mediaType", type);
        json_setc(a, &d, "digest", json_of_copy(a, str_of(digest)));
        json_set_int(a, &d, "size", (int64_t) bytes.n);
        return d;
}

static struct str blob_path(struct arena *a, const struct json *descriptor) {
        return arena_printf(a, "blobs/sha256/%s", json_chars(json_getc(descriptor, "digest")) + 7);
}

static struct str text_of(struct arena *a, const struct json *j) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_write(&b, j);
        return arena_str(a, buf_str(&b));
}

void pack_image(const char *path, const char *ref, const char *config, const char *const *layers, size_t n_layers,
                int formats) {
        struct arena *a = arena_new(0);
        struct json doc = json_new_object(), rootfs = json_new_object(), ids = json_new_array(),
                    descs = json_new_array(), files = json_new_array(), m = json_new_object(), d, *parsed;
        struct archive *tar = open_tar(path);
        struct str text;

        for (size_t i = 0; i < n_layers; i++) {
                struct buf b = BUF_INIT;
                struct json l;

                if (file_read(layers[i], 256 << 20, &b, NULL) < 0)
                        abort();
                l = describe(a, MEDIA_OCI_LAYER, buf_str(&b));
                json_push(a, &ids, *json_getc(&l, "digest"));
                put(tar, blob_path(a, &l).p, 'f', 0644, buf_str(&b));
                json_push(a, &files, json_of_str(blob_path(a, &l)));
                json_push(a, &descs, l);
                buf_free(&b);
        }
        if (json_parse(a, str_of(config), NULL, &parsed, NULL) < 0)
                abort();
        json_set_cstr(a, &rootfs, "type", "layers");
        json_setc(a, &rootfs, "diff_ids", ids);
        json_set_cstr(a, &doc, "created", "2024-01-02T03:04:05Z");
        json_set_cstr(a, &doc, "architecture", platform_arch());
        json_set_cstr(a, &doc, "os", "linux");
        json_setc(a, &doc, "config", *parsed);
        json_setc(a, &doc, "rootfs", rootfs);
        text = text_of(a, &doc);
        d = describe(a, MEDIA_OCI_CONFIG, text);
        put(tar, blob_path(a, &d).p, 'f', 0644, text);
        if (formats & PACK_DOCKER) {
                struct json list = json_new_array(), image = json_new_object(), tags = json_new_array();

                json_push(a, &tags, json_of_cstr(ref));
                json_setc(a, &image, "Config", json_of_str(blob_path(a, &d)));
                json_setc(a, &image, "RepoTags", tags);
                json_setc(a, &image, "Layers", files);
                json_push(a, &list, image);
                put(tar, "manifest.json", 'f', 0644, text_of(a, &list));
        }
        if (formats & PACK_OCI) {
                struct json index = json_new_object(), list = json_new_array(), notes = json_new_object(), md;

                json_set_int(a, &m, "schemaVersion", 2);
                json_setc(a, &m, "config", d);
                json_setc(a, &m, "layers", descs);
                text = text_of(a, &m);
                md = describe(a, MEDIA_OCI_MANIFEST, text);
                put(tar, blob_path(a, &md).p, 'f', 0644, text);
                json_set_cstr(a, &notes, "org.opencontainers.image.ref.name", ref);
                json_setc(a, &md, "annotations", notes);
                json_push(a, &list, md);
                json_set_int(a, &index, "schemaVersion", 2);
                json_setc(a, &index, "manifests", list);
                put(tar, "index.json", 'f', 0644, text_of(a, &index));
                put(tar, "oci-layout", 'f', 0644, STR("{\"imageLayoutVersion\":\"1.0.0\"}"));
        }
        close_tar(tar);
        arena_free(a);
}
