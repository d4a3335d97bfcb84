/* Whole files and trees of them. */
#include "../test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"

static char dir[] = "/tmp/cube-test-XXXXXX";

static char *path(const char *name) {
        static char p[4096];

        snprintf(p, sizeof(p), "%s/%s", dir, name);
        return p;
}

static int make_dir(void **state) {
        return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
        return file_remove_tree(dir, NULL);
}

static void an_atomic_write_replaces_the_file_and_leaves_nothing_beside_it(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct stat st;

        assert_int_equal(mkdir(path("atomic"), 0755), 0);
        assert_int_equal(file_write_atomic(path("atomic/f"), STR("old"), 0644, NULL), 0);
        assert_int_equal(file_write_atomic(path("atomic/f"), STR("new"), 0600, NULL), 0);
        assert_int_equal(file_read(path("atomic/f"), 0, &b, NULL), 0);
        assert_str(buf_str(&b), "new");
        assert_int_equal(stat(path("atomic/f"), &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(unlink(path("atomic/f")), 0);
        assert_int_equal(rmdir(path("atomic")), 0); /* it is empty: no temporary file */
}

static void a_failed_atomic_write_leaves_the_old_file(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;

        assert_int_equal(mkdir(path("target"), 0755), 0);
        assert_int_equal(mkdir(path("target/sub"), 0755), 0);
        assert_true(file_write_atomic(path("target"), STR("x"), 0644, &e) < 0); /* a directory is in the way */
        assert_non_null(strstr(e.message, "rename"));
        assert_true(file_write_atomic(path("nowhere/f"), STR("x"), 0644, &e) == -ENOENT);
        assert_int_equal(e.reason, REASON_NOT_FOUND);
}

static void reading_stops_at_the_limit(void **state) {
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(file_write(path("ten"), STR("0123456789"), 0644, NULL), 0);
        assert_int_equal(file_read(path("ten"), 9, &b, &e), -EFBIG);
        assert_int_equal(b.n, 0);
        assert_int_equal(file_read(path("ten"), 10, &b, &e), 0);
        assert_int_equal(b.n, 10);
        assert_int_equal(file_read("/proc/self/status", 0, &b, &e), 0); /* a file that says it is empty */
        assert_true(b.n > 100);
        assert_int_equal(file_read(path("none"), 0, &b, &e), -ENOENT);
        assert_non_null(strstr(e.message, "none: no such file or directory"));
}

static void directories_are_made_with_their_parents(void **state) {
        assert_int_equal(file_mkdirs(path("a/b//c/"), 0755, NULL), 0);
        assert_int_equal(file_mkdirs(path("a/b/c"), 0755, NULL), 0);
        assert_true(file_exists(path("a/b/c")));
        assert_int_equal(file_write(path("a/f"), STR(""), 0644, NULL), 0);
        assert_int_equal(file_mkdirs(path("a/f"), 0755, NULL), -ENOTDIR);
        assert_int_equal(file_mkdirs(path("a/f/g"), 0755, NULL), -ENOTDIR);
}

static void a_tree_is_removed_but_not_what_its_links_point_to(void **state) {
        assert_int_equal(file_mkdirs(path("tree/x/y"), 0755, NULL), 0);
        assert_int_equal(file_mkdirs(path("outside"), 0755, NULL), 0);
        assert_int_equal(file_write(path("outside/keep"), STR("k"), 0644, NULL), 0);
        assert_int_equal(file_write(path("tree/x/f"), STR("f"), 0400, NULL), 0);
        assert_int_equal(symlink(dir, path("tree/x/link")), 0);
        assert_int_equal(symlink("../outside", path("tree/link")), 0);
        assert_int_equal(file_remove_tree(path("tree"), NULL), 0);
        assert_false(file_exists(path("tree")));
        assert_true(file_exists(path("outside/keep")));
        assert_int_equal(symlink("outside", path("alias")), 0);
        assert_int_equal(file_remove_tree(path("alias"), NULL), 0); /* the link itself */
        assert_true(file_exists(path("outside/keep")));
        assert_int_equal(file_remove_tree(path("outside/keep"), NULL), 0);
        assert_int_equal(file_remove_tree(path("nothing"), NULL), 0);
}

static void a_tree_deeper_than_any_path_is_removed(void **state) {
        char in_memory[] = "/dev/shm/cube-test-XXXXXX"; /* where a directory costs no disk */
        const char *top = mkdtemp(in_memory) ? in_memory : path("deep");
        char *cwd = getcwd(NULL, 0);

        assert_int_equal(file_mkdirs(top, 0755, NULL), 0);
        assert_int_equal(chdir(top), 0);
        for (int i = 0; i < 3000; i++) {
                assert_int_equal(mkdir("d", 0755), 0);
                assert_int_equal(file_write("f", STR("x"), 0644, NULL), 0);
                assert_int_equal(chdir("d"), 0);
        }
        assert_int_equal(chdir(cwd), 0);
        free(cwd);
        assert_int_equal(file_remove_tree(top, NULL), 0);
        assert_false(file_exists(top));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(an_atomic_write_replaces_the_file_and_leaves_nothing_beside_it),
                cmocka_unit_test(a_failed_atomic_write_leaves_the_old_file),
                cmocka_unit_test(reading_stops_at_the_limit),
                cmocka_unit_test(directories_are_made_with_their_parents),
                cmocka_unit_test(a_tree_is_removed_but_not_what_its_links_point_to),
                cmocka_unit_test(a_tree_deeper_than_any_path_is_removed),
        };

        return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
