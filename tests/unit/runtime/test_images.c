/* References, manifests, unpacking of friendly and hostile layers, archives in and out, crashes. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <zlib.h>

#include "base/file.h"
#include "base/rand.h"
#include "pack.h"
#include "runtime/images/images.h"
#include "runtime/images/unpack.h"

static char base[64];
static struct arena *arena;

static char *path_of(const char *name) {
        return (char *) arena_printf(arena, "%s/%s", base, name).p;
}

static int setup(void **state) {
        char suffix[9] = { 0 };

        rand_suffix(suffix, 8);
        snprintf(base, sizeof(base), "/var/tmp/cube-images-%s", suffix);
        arena = arena_new(0);
        return mkdir(base, 0755);
}

static int teardown(void **state) {
        arena_free(arena);
        return file_remove_tree(base, NULL);
}

/* ---- references ---- */

static void references_are_normalised_as_dockers(void **state) {
        static const struct {
                const char *ref, *normal; /* NULL: invalid */
        } cases[] = {
                { "busybox", "docker.io/library/busybox:latest" },
                { "busybox:1.36", "docker.io/library/busybox:1.36" },
                { "user/app", "docker.io/user/app:latest" },
                { "docker.io/busybox", "docker.io/library/busybox:latest" },
                { "index.docker.io/busybox", "docker.io/library/busybox:latest" },
                { "localhost/app", "localhost/app:latest" },
                { "localhost:5000/app:v1", "localhost:5000/app:v1" },
                { "registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9" },
                { "Registry/app", "Registry/app:latest" },
                { "[::1]:5000/app", "[::1]:5000/app:latest" },
                { "a.b/c/d__e/f-g--h:T_1.x", "a.b/c/d__e/f-g--h:T_1.x" },
                { "app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                  "docker.io/library/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
                { "app:v1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                  "docker.io/library/app@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
                { "", NULL },
                { ":", NULL },
                { "app:", NULL },
                { "app:-x", NULL },
                { "APP", NULL },
                { "a//b", NULL },
                { "/app", NULL },
                { "app/", NULL },
                { "a..b/c..d", NULL },
                { "x/a___b", NULL },
                { "app@sha256:12", NULL },
                { "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", NULL },
                { "host:port/app", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                struct str s;
                int r = image_normalize(arena, str_of(cases[i].ref), &s, &err);

                if (!cases[i].normal) {
                        if (r != -EINVAL)
                                print_error("\"%s\" was taken\n", cases[i].ref);
                        assert_int_equal(r, -EINVAL);
                        continue;
                }
                must(r, &err);
                assert_str(s, cases[i].normal);
        }
}

static void an_invalid_reference_says_so(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct str s;

        image_normalize(arena, STR("a b"), &s, &err);
        assert_string_equal(error_text(&err), "couldn't parse image reference \"a b\": invalid reference format");
        image_normalize(arena, STR("Busybox"), &s, &err);
        assert_string_equal(error_text(&err),
                            "couldn't parse image reference \"Busybox\": invalid reference format: repository name "
                            "(library/Busybox) must be lowercase");
}

/* ---- manifests ---- */

static void manifests_are_checked(void **state) {
        static const char *const bad[] = {
                "",
                "[]",
                "{}",
                "{\"schemaVersion\":1}",
                "{\"config\":{\"digest\":\"sha256:12\",\"size\":1},\"layers\":[]}",
                "{\"config\":{\"digest\":\"md5:0123456789abcdef\",\"size\":1}}",
                "{\"manifests\":[{}]}",
                ("{\"manifests\":[{\"digest\":\"sha256:"
                 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]}"),
        };
        struct manifest m;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_true(manifest_parse(arena, str_of(bad[i]), &m, NULL) < 0);
}

static void the_index_entry_of_this_machine_is_chosen(void **state) {
        struct descriptor d[] = {
                { .os = STR("windows"), .arch = str_of(platform_arch()) },
                { .os = STR("linux"), .arch = STR("other") },
                { .os = STR("linux"), .arch = str_of(platform_arch()) },
        };
        struct manifest m = { .is_index = true, .manifests = d, .n_manifests = 3 };

        assert_ptr_equal(manifest_choose(&m), &d[2]);
        m.n_manifests = 2;
        assert_null(manifest_choose(&m));
}

/* ---- unpacking ---- */

static int unpack(const char *name, const struct pack_entry *entries, size_t n, const int *parents, size_t n_parents,
                  char **ret_dir, struct error *err) {
        char *tar = (char *) arena_printf(arena, "%s/%s.tar", base, name).p;
        struct unpack_result result;
        int blob, dir, r;

        *ret_dir = path_of(name);
        assert_int_equal(mkdir(*ret_dir, 0755), 0);
        pack_tar(tar, entries, n);
        blob = open(tar, O_RDONLY | O_CLOEXEC);
        dir = open(*ret_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = layer_unpack(blob, dir, parents, n_parents, &result, err);
        close(blob);
        close(dir);
        return r;
}

static bool in(const char *dir, const char *name, struct stat *st) {
        return lstat(arena_printf(arena, "%s/%s", dir, name).p, st) == 0;
}

static void a_layer_is_unpacked_as_packed(void **state) {
        static const struct pack_entry entries[] = {
                { "./", 'd', 0711, "" },
                { "./etc/", 'd', 0750, "" },
                { "etc/file", 'f', 04755, "content" },
                { "etc/link", 'l', 0777, "file" },
                { "etc/same", 'h', 0644, "etc/file" },
                { "deep/er/file", 'f', 0600, "x" },
                { "etc/file2", 'f', 0644, "first" },
                { "etc/file2", 'f', 0600, "second" },
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct stat st, same;
        char *dir;

        if (geteuid() != 0)
                skip();
        must(unpack("plain", entries, ARRAY_SIZE(entries), NULL, 0, &dir, &err), &err);
        assert_true(stat(dir, &st) == 0 && (st.st_mode & 07777) == 0711);
        assert_true(in(dir, "etc", &st) && (st.st_mode & 07777) == 0750 && st.st_mtime == 1000000000);
        assert_true(in(dir, "etc/file", &st) && (st.st_mode & 07777) == 04755 && st.st_size == 7 &&
                    st.st_mtime == 1000000000);
        assert_true(in(dir, "etc/same", &same) && same.st_ino == st.st_ino);
        assert_true(in(dir, "etc/link", &st) && S_ISLNK(st.st_mode));
        assert_true(in(dir, "deep/er", &st) && (st.st_mode & 07777) == 0755);
        must(file_read(arena_printf(arena, "%s/etc/file2", dir).p, 0, &b, NULL), NULL);
        assert_str(buf_str(&b), "second");
}

static void whiteouts_become_overlayfs_own(void **state) {
        static const struct pack_entry below[] = { { "tmp", 'd', 01777, "" }, { "a", 'f', 0644, "" } };
        static const struct pack_entry entries[] = {
                { ".wh.a", 'f', 0, "" },  { "dir/.wh..wh..opq", 'f', 0, "" }, { ".wh.x", 'f', 0, "" },
                { "x/y", 'f', 0644, "" }, { ".wh..wh.plnk", 'f', 0, "" },     { "tmp/new", 'f', 0644, "" },
        };
        _cleanup_error_ struct error err = ERROR_INIT;
        char *lower, *dir, value[4];
        struct stat st;
        int parent;

        if (geteuid() != 0)
                skip();
        must(unpack("below", below, ARRAY_SIZE(below), NULL, 0, &lower, &err), &err);
        parent = open(lower, O_PATH | O_DIRECTORY | O_CLOEXEC);
        must(unpack("whiteouts", entries, ARRAY_SIZE(entries), &parent, 1, &dir, &err), &err);
        close(parent);
        assert_true(in(dir, "a", &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0));
        assert_int_equal(getxattr(arena_printf(arena, "%s/dir", dir).p, "trusted.overlay.opaque", value, sizeof(value)),
                         1);
        assert_int_equal(getxattr(arena_printf(arena, "%s/x", dir).p, "trusted.overlay.opaque", value, sizeof(value)),
                         1);
        assert_false(in(dir, ".wh..wh.plnk", &st));
        assert_true(in(dir, "tmp", &st) && (st.st_mode & 07777) == 01777); /* as below */
}

static void a_hostile_layer_writes_nothing_outside(void **state) {
        static const struct pack_entry cases[][3] = {
                { { "../outside", 'f', 0644, "x" } },
                { { "a/../../outside", 'f', 0644, "x" } },
                { { "link", 'l', 0777, "/var/tmp" }, { "link/cube-hostile", 'f', 0644, "x" } },
                { { "link", 'l', 0777, "../../../../var/tmp" }, { "link/cube-hostile", 'f', 0644, "x" } },
                { { "hard", 'h', 0644, "../../../etc/passwd" } },
                { { "link", 'l', 0777, "/etc" }, { "hard", 'h', 0644, "link/passwd" } },
                { { "f", 'l', 0777, "/var/tmp/cube-hostile" }, { "f", 'f', 0644, "x" } },
                { { ".wh..", 'f', 0, "" }, { ".wh..wh.", 'f', 0, "" }, { ".wh.", 'f', 0, "" } },
        };

        if (geteuid() != 0)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char *name = (char *) arena_printf(arena, "hostile%zu", i).p, *dir;
                _cleanup_error_ struct error err = ERROR_INIT;
                size_t n = 0;
                struct stat st;

                while (n < 3 && cases[i][n].path)
                        n++;
                (void) unpack(name, cases[i], n, NULL, 0, &dir, &err);
                assert_false(file_exists(path_of("outside")));
                assert_false(file_exists("/var/tmp/cube-hostile"));
                assert_true(lstat("/etc/passwd", &st) < 0 || st.st_nlink == 1);
        }
}

/* ---- archives ---- */

static struct image_store *open_store(const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct image_store *s = NULL;

        must(image_store_open(path_of(name), NULL, &s, &err), &err);
        return s;
}

static char *two_layers(const char *name, int formats) {
        static const struct pack_entry lower[] = { { "hello", 'f', 0644, "one" }, { "gone", 'f', 0644, "" } };
        static const struct pack_entry upper[] = { { "hello", 'f', 0644, "two" }, { ".wh.gone", 'f', 0, "" } };
        const char *layers[] = { path_of("lower.tar"), path_of("upper.tar") };
        char *path = path_of(name);

        pack_tar(layers[0], lower, 2);
        pack_tar(layers[1], upper, 2);
        pack_image(path, "example.com/two:v1", "{\"Cmd\":[\"/hello\"],\"User\":\"web:1\"}", layers, 2, formats);
        return path;
}

static void gzip_file(const char *from, const char *to) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        gzFile z = gzopen(to, "wb");

        must(file_read(from, 0, &b, NULL), NULL);
        assert_int_equal(gzwrite(z, b.p, (unsigned) b.n), b.n);
        gzclose(z);
}

static void assert_loaded(struct image_store *s, const char *path, const char *ref) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct image_status st;
        struct image_use use;
        struct str *refs;
        size_t n;

        must(image_store_load(s, arena, path, &refs, &n, &err), &err);
        assert_int_equal(n, 1);
        assert_str(refs[0], ref);
        must(image_store_status(s, arena, refs[0], &st, &err), &err);
        assert_string_equal(st.username, "web");
        assert_int_equal(st.uid, -1);
        assert_int_equal(st.size, 6);
        must(image_store_use(s, arena, refs[0], &use, &err), &err);
        assert_true(str_find(use.lowers, ':') > 0);
        image_store_release(s, use.id);
}

static void both_kinds_of_archives_are_loaded(void **state) {
        static const int formats[] = { PACK_DOCKER, PACK_OCI, PACK_DOCKER | PACK_OCI };
        struct image_status *list;
        size_t n;

        if (geteuid() != 0)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
                char *name = (char *) arena_printf(arena, "store%zu", i).p;
                struct image_store *s = open_store(name);
                char *path = two_layers("two.tar", formats[i]), *packed = path_of("two.tar.gz");

                assert_loaded(s, path, "example.com/two:v1");
                gzip_file(path, packed);
                assert_loaded(s, packed, "example.com/two:v1");
                image_store_list(s, arena, &list, &n);
                assert_int_equal(n, 1);
                image_store_close(s);
                s = open_store(name); /* as it was */
                image_store_list(s, arena, &list, &n);
                assert_int_equal(n, 1);
                assert_int_equal(list[0].size, 6);
                image_store_close(s);
        }
}

static void what_is_saved_can_be_loaded(void **state) {
        struct image_store *s, *other;
        struct str refs[] = { STR_INIT("example.com/two:v1"), STR_INIT("other:tag") };
        _cleanup_error_ struct error err = ERROR_INIT;
        struct str *loaded;
        size_t n;

        if (geteuid() != 0)
                skip();
        s = open_store("saved");
        assert_loaded(s, two_layers("two.tar", PACK_OCI), "example.com/two:v1");
        must(image_store_tag(s, refs[0], refs[1], &err), &err);
        must(image_store_save(s, refs, 2, path_of("saved.tar"), &err), &err);
        image_store_close(s);
        other = open_store("other");
        must(image_store_load(other, arena, path_of("saved.tar"), &loaded, &n, &err), &err);
        assert_int_equal(n, 2);
        must(image_store_remove(other, STR("other:tag"), &err), &err); /* only the name */
        assert_int_equal(image_store_tag(other, STR("other:tag"), STR("x"), &err), -ENOENT);
        error_clear(&err);
        must(image_store_remove(other, refs[0], &err), &err);
        image_store_close(other);
}

static void a_root_file_system_is_imported(void **state) {
        struct image_store *s;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct json *config;
        struct image_use use;
        char *dir = path_of("tree");

        if (geteuid() != 0)
                skip();
        s = open_store("imported");
        assert_int_equal(mkdir(dir, 0755), 0);
        must(file_write(arena_printf(arena, "%s/file", dir).p, STR("in the tree"), 0640, NULL), NULL);
        must(json_parse(arena, STR("{\"Cmd\":[\"/bin/x\"]}"), NULL, &config, &err), &err);
        must(image_store_import(s, dir, STR("mine"), config, &err), &err);
        must(image_store_use(s, arena, STR("mine:latest"), &use, &err), &err);
        assert_str(json_str(json_item(json_getc(use.config.config, "Cmd"), 0)), "/bin/x");
        must(file_read(arena_printf(arena, "%s/file", use.lowers.p).p, 0, &b, &err), &err);
        assert_str(buf_str(&b), "in the tree");
        image_store_close(s);
}

static void an_archive_may_come_through_a_pipe(void **state) {
        struct image_store *s;
        char *path, number[32], *argv[] = { (char *) "cat", NULL, NULL };
        posix_spawn_file_actions_t out;
        int p[2];
        pid_t pid;

        if (geteuid() != 0)
                skip();
        path = argv[1] = two_layers("two.tar", PACK_DOCKER);
        assert_int_equal(pipe2(p, O_CLOEXEC), 0);
        posix_spawn_file_actions_init(&out);
        posix_spawn_file_actions_adddup2(&out, p[1], 1);
        assert_int_equal(posix_spawnp(&pid, "cat", &out, NULL, argv, environ), 0);
        posix_spawn_file_actions_destroy(&out);
        close(p[1]);
        snprintf(number, sizeof(number), "/proc/self/fd/%d", p[0]);
        s = open_store("piped");
        assert_loaded(s, number, "example.com/two:v1");
        image_store_close(s);
        close(p[0]);
        waitpid(pid, NULL, 0);
        assert_true(file_exists(path));
}

static void broken_archives_are_refused(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct image_store *s = open_store("broken");
        struct image_status *list;
        struct str *refs;
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t n;

        must(file_write(path_of("garbage"), STR("this is no archive"), 0644, NULL), NULL);
        assert_true(image_store_load(s, arena, path_of("garbage"), &refs, &n, &err) < 0);
        assert_int_equal(image_store_load(s, arena, path_of("missing"), &refs, &n, &err), -ENOENT);
        /* Cut anywhere, it is an error and nothing is left of it. */
        must(file_read(two_layers("two.tar", PACK_OCI | PACK_DOCKER), 0, &b, NULL), NULL);
        for (size_t cut = 512; cut < b.n; cut += 512) {
                must(file_write(path_of("cut.tar"), str_n(b.p, cut), 0644, NULL), NULL);
                error_clear(&err);
                if (image_store_load(s, arena, path_of("cut.tar"), &refs, &n, &err) >= 0)
                        break; /* only the end mark is missing */
                image_store_list(s, arena, &list, &n);
                assert_int_equal(n, 0);
        }
        image_store_close(s);
}

/* Killed at any moment, the store opens again, and the image is there or not, but never in part. */
static void a_crash_leaves_no_half_image(void **state) {
        char *path = two_layers("two.tar", PACK_OCI);
        unsigned complete = 0;

        if (geteuid() != 0)
                skip();
        for (int round = 0; round < 25; round++) {
                char *name = (char *) arena_printf(arena, "crash%d", round).p;
                struct image_status *list;
                struct image_store *s;
                size_t n;
                pid_t pid = fork();

                if (pid == 0) {
                        struct arena *a = arena_new(0);
                        struct str *refs;

                        if (image_store_open(path_of(name), NULL, &s, NULL) < 0)
                                _exit(1);
                        for (;;)
                                if (image_store_load(s, a, path, &refs, &n, NULL) < 0 ||
                                    image_store_remove(s, STR("example.com/two:v1"), NULL) < 0)
                                        _exit(2);
                }
                usleep((useconds_t) rand_below(100000));
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                s = open_store(name);
                image_store_list(s, arena, &list, &n);
                if (n > 0) {
                        struct image_use use;
                        struct str rest, dir;

                        complete++;
                        must(image_store_use(s, arena, str_of(list[0].id), &use, NULL), NULL);
                        rest = use.lowers;
                        while (str_split(&rest, ':', &dir))
                                assert_true(file_exists(arena_printf(arena, "%" STR_FMT "/hello", STR_ARG(dir)).p));
                        image_store_release(s, use.id);
                        must(image_store_remove(s, str_of(list[0].id), NULL), NULL);
                }
                assert_loaded(s, path, "example.com/two:v1");
                image_store_close(s);
        }
        print_message("complete after the crash: %u of 25\n", complete);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(references_are_normalised_as_dockers),
                cmocka_unit_test(an_invalid_reference_says_so),
                cmocka_unit_test(manifests_are_checked),
                cmocka_unit_test(the_index_entry_of_this_machine_is_chosen),
                cmocka_unit_test(a_layer_is_unpacked_as_packed),
                cmocka_unit_test(whiteouts_become_overlayfs_own),
                cmocka_unit_test(a_hostile_layer_writes_nothing_outside),
                cmocka_unit_test(both_kinds_of_archives_are_loaded),
                cmocka_unit_test(what_is_saved_can_be_loaded),
                cmocka_unit_test(a_root_file_system_is_imported),
                cmocka_unit_test(an_archive_may_come_through_a_pipe),
                cmocka_unit_test(broken_archives_are_refused),
                cmocka_unit_test(a_crash_leaves_no_half_image),
        };

        return cmocka_run_group_tests(tests, setup, teardown);
}
