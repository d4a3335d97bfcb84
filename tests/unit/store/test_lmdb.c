/* What only the durable backend has: reopening, cleaning, limits, damage, locks. */
#include "help.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "store/record.h"

static char *dir;

static int setup(void **state) {
        dir = make_dir();
        return 0;
}

static int teardown(void **state) {
        remove_dir(TAKE_PTR(dir));
        return 0;
}

static struct store *open_with(struct store_options o) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct store *s = NULL;

        o.path = dir;
        if (store_open(&o, &s, &err) < 0)
                fail_msg("%s", error_text(&err));
        return s;
}

static struct store *open_it(void) {
        return open_with((struct store_options) { 0 });
}

/* Opening fails so, and the message names the directory. */
static void assert_refused(int expected) {
        _cleanup_error_ struct error err = ERROR_INIT;
        struct store *s;

        assert_int_equal(store_open(&(struct store_options) { .path = dir }, &s, &err), expected);
        assert_non_null(strstr(error_text(&err), dir));
}

static char *data_file(void) {
        return xprintf("%s/data.mdb", dir);
}

static off_t file_size(void) {
        _cleanup_free_ char *path = data_file();
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        return st.st_size;
}

static void assert_texts_equal(struct store_snapshot *s, struct store *again) {
        struct store_snapshot *t = store_snapshot(again);
        struct store_iter a, b;

        assert_int_equal(store_snapshot_revision(s), store_snapshot_revision(t));
        store_iter_init(&a, s, STR(""), STR(""));
        store_iter_init(&b, t, STR(""), STR(""));
        while (store_iter_next(&a)) {
                assert_true(store_iter_next(&b));
                assert_true(str_eq(a.key, b.key));
                assert_int_equal(object_revision(a.object), object_revision(b.object));
                assert_true(str_eq(object_text(a.object), object_text(b.object)));
        }
        assert_false(store_iter_next(&b));
        store_snapshot_unref(t);
}

static void everything_is_there_after_reopening(void **state) {
        static char key[STORE_KEY_MAX + 1], big[700000];
        struct store *s = open_it();
        struct store_snapshot *before;

        memset(big, 'b', sizeof(big) - 1);
        memset(key, 'k', STORE_KEY_MAX);
        for (int i = 0; i < 500; i++) {
                snprintf(key, sizeof(key), "core/pods/n%d/p%d", i % 7, i);
                assert_int_equal(put_new(s, key, make_object("{\"metadata\":{\"name\":\"p%d\"},\"n\":%d}", i, i), NULL),
                                 0);
        }
        memset(key, 'k', STORE_KEY_MAX);
        assert_int_equal(put_new(s, key, make_object("{\"n\":1}"), NULL), 0);
        assert_int_equal(put_new(s, "big", make_object("{\"v\":\"%s\"}", big), NULL), 0);
        assert_int_equal(remove_key(s, "core/pods/n0/p0", STORE_ANY_REVISION, NULL), 0);
        assert_int_equal(put_over(s, "core/pods/n1/p1", STORE_ANY_REVISION, make_object("{\"n\":-1}"), NULL), 0);
        assert_int_equal(remove_key(s, "big", STORE_ANY_REVISION, NULL), 0);
        before = store_snapshot(s);

        /* The old tree must outlive the store that made it: its objects do not point into the file. */
        {
                struct store *again;

                store_close(s);
                again = open_it();
                assert_texts_equal(before, again);
                assert_int_equal(store_oldest_revision(again), store_revision(again));
                assert_int_equal(number_of(again, "core/pods/n1/p1"), -1);
                assert_int_equal(put_over(again, "core/pods/n1/p1", 504, make_object("{\"n\":5}"), NULL), 0);
                store_snapshot_unref(before);
                store_close(again);
        }
}

static void the_file_stays_small(void **state) {
        static char filler[2000];
        struct store *s = open_it();
        struct store_snapshot *before;

        memset(filler, 'f', sizeof(filler) - 1);
        for (int i = 0; i < 500; i++) { /* cold: a megabyte that never changes, in the oldest segments */
                char key[16];

                snprintf(key, sizeof(key), "cold/%d", i);
                assert_int_equal(put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL), 0);
        }
        for (int round = 0; round < 120; round++) { /* hot: 24 MB in all */
                struct store_op ops[100];
                char keys[100][16];

                for (int i = 0; i < 100; i++) {
                        snprintf(keys[i], sizeof(keys[i]), "hot/%d", i);
                        ops[i] = (struct store_op) { .kind = round ? STORE_UPDATE : STORE_CREATE,
                                                     .key = str_of(keys[i]),
                                                     .object = make_object("{\"n\":%d,\"v\":\"%s\"}", round, filler),
                                                     .expect = STORE_ANY_REVISION };
                }
                assert_int_equal(store_commit(s, ops, 100, NULL), 0);
                for (int i = 0; i < 100; i++)
                        object_unref(ops[i].object);
        }
        assert_in_range(file_size(), 1 << 20, 14 << 20);
        before = store_snapshot(s);
        store_close(s);
        s = open_it();
        assert_texts_equal(before, s);
        store_snapshot_unref(before);
        store_close(s);
}

static void the_map_grows_to_its_limit(void **state) {
        static char filler[100000];
        struct store *s = open_with((struct store_options) { .max_map_bytes = 256U << 20 });
        struct store_snapshot *before;
        char key[16];
        int r = 0, n = 0;

        memset(filler, 'f', sizeof(filler) - 1);
        for (; r == 0; n++) {
                snprintf(key, sizeof(key), "k/%d", n);
                r = put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL);
        }
        assert_int_equal(r, -ENOSPC);
        assert_in_range(n, 600, 680); /* 64 MiB */
        assert_int_equal(store_revision(s), n - 1);
        assert_int_equal(remove_key(s, "k/0", STORE_ANY_REVISION, NULL), 0);
        assert_int_equal(put_new(s, "k/0", make_object("{\"v\":\"%s\"}", filler), NULL), 0);
        assert_int_equal(put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL), -ENOSPC);
        before = store_snapshot(s);
        store_close(s);
        s = open_it();
        assert_texts_equal(before, s);
        store_snapshot_unref(before);
        store_close(s);
}

/* A file size limit stands in for a full disk: both fail a write in the middle of a commit. */
static void a_failed_write_changes_nothing(void **state) {
        static char filler[100000];
        struct store *s = open_it();
        struct rlimit old, small;
        struct store_snapshot *before;

        memset(filler, 'f', sizeof(filler) - 1);
        assert_int_equal(put_new(s, "a", make_object("{\"n\":1}"), NULL), 0);
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &old);
        small = (struct rlimit) { .rlim_cur = (rlim_t) file_size(), .rlim_max = old.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        before = store_snapshot(s);
        for (int i = 0; i < 3; i++)
                assert_int_equal(put_new(s, "b", make_object("{\"v\":\"%s\"}", filler), NULL), -EIO);
        assert_int_equal(store_revision(s), 1);
        assert_int_equal(number_of(s, "b"), -1);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        store_close(s);
        s = open_it();
        assert_texts_equal(before, s);
        store_snapshot_unref(before);
        assert_int_equal(put_new(s, "b", make_object("{\"v\":\"%s\"}", filler), NULL), 0);
        assert_int_equal(store_revision(s), 2);
        store_close(s);
}

static void a_full_disk_is_told_as_one(void **state) {
        static char filler[100000];
        struct store *s;
        char key[16];
        int r = 0;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0)
                skip();
        s = open_it();
        memset(filler, 'f', sizeof(filler) - 1);
        for (int i = 0; r == 0 && i < 100; i++) {
                snprintf(key, sizeof(key), "k/%d", i);
                r = put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL);
        }
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=8m"), 0);
        assert_int_equal(put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL), 0);
        store_close(s);
        assert_int_equal(umount(dir), 0);
}

static void a_second_one_is_refused(void **state) {
        struct store *s = open_it();

        assert_refused(-EWOULDBLOCK);
        store_close(s);
        store_close(open_it());
}

static void the_lock_dies_with_its_holder(void **state) {
        int fds[2], status;
        char byte;
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        if (pid == 0) {
                struct store *s;

                if (store_open(&(struct store_options) { .path = dir }, &s, NULL) < 0 || write(fds[1], "x", 1) != 1)
                        _exit(1);
                pause();
        }
        assert_int_equal(read(fds[0], &byte, 1), 1);
        assert_refused(-EWOULDBLOCK);
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
        store_close(open_it());
        close(fds[0]);
        close(fds[1]);
}

static void child_programs_do_not_inherit_the_file(void **state) {
        struct store *s = open_it();
        char path[64], target[512];

        for (int fd = 0; fd < 64; fd++) {
                ssize_t n;

                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                n = readlink(path, target, sizeof(target) - 1);
                if (n > 0 && str_has_prefix(str_n(target, (size_t) n), str_of(dir)))
                        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        }
        store_close(s);
}

/* ---- damage ---- */

static void write_data(struct str content) {
        _cleanup_free_ char *path = data_file();

        assert_int_equal(file_write(path, content, 0600, NULL), 0);
}

static void read_data(struct buf *dst) {
        _cleanup_free_ char *path = data_file();

        assert_int_equal(file_read(path, 0, dst, NULL), 0);
}

static void foreign_files_are_refused(void **state) {
        write_data(STR("this is not a database"));
        assert_refused(-EUCLEAN);
        {
                _cleanup_free_ char *zeros = xcalloc(1, 100000);

                write_data(str_n(zeros, 100000));
                assert_refused(-EUCLEAN);
        }
}

static void flipped_bits_of_an_object_are_found(void **state) {
        _cleanup_buf_ struct buf data = BUF_INIT;
        struct store *s = open_it();
        ssize_t at;

        assert_int_equal(
                        put_new(s, "core/secrets/default/a", make_object("{\"v\":\"a needle in the haystack\"}"), NULL),
                        0);
        store_close(s);
        read_data(&data);
        at = str_search(buf_str(&data), STR("needle"));
        assert_true(at > 0);
        data.p[at] ^= 4;
        write_data(buf_str(&data));
        assert_refused(-EUCLEAN);
        data.p[at] ^= 4;
        write_data(buf_str(&data));
        store_close(open_it());
}

static void another_format_is_refused(void **state) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf data = BUF_INIT;
        struct store *s = open_it();
        ssize_t at;

        assert_int_equal(put_new(s, "a", make_object("{}"), NULL), 0);
        store_close(s);
        read_data(&data);
        at = str_search(buf_str(&data), STR("cube store 1"));
        assert_true(at > RECORD_HEAD);
        record_write(&(struct record) { 1, STR(""), STR("cube store 2") }, data.p + at - RECORD_HEAD);
        write_data(buf_str(&data));
        assert_int_equal(store_open(&(struct store_options) { .path = dir }, &s, &err), -EUCLEAN);
        assert_non_null(strstr(error_text(&err), "another version"));
}

static void a_truncated_file_is_refused(void **state) {
        static char filler[50000];
        _cleanup_buf_ struct buf data = BUF_INIT;
        struct store *s = open_it();

        memset(filler, 'f', sizeof(filler) - 1);
        for (int i = 0; i < 10; i++) {
                char key[8];

                snprintf(key, sizeof(key), "%d", i);
                assert_int_equal(put_new(s, key, make_object("{\"v\":\"%s\"}", filler), NULL), 0);
        }
        store_close(s);
        read_data(&data);
        for (size_t n = 4096; n < data.n; n += data.n / 13) {
                write_data(str_n(data.p, n));
                assert_refused(-EUCLEAN);
        }
}

/* Whatever happened to the file: no crash, and either a refusal or a store whose every object is whole. */
static void damage_anywhere_is_survived(void **state) {
        _cleanup_buf_ struct buf data = BUF_INIT;
        struct store *s = open_it();
        uint64_t seed = 88172645463325252ULL;
        char key[32];

        for (int i = 0; i < 300; i++) {
                snprintf(key, sizeof(key), "core/pods/default/p%d", i % 40);
                if (put_new(s, key, make_object("{\"n\":%d}", i), NULL) < 0)
                        remove_key(s, key, STORE_ANY_REVISION, NULL);
        }
        store_close(s);
        read_data(&data);
        for (int i = 0; i < 400; i++) {
                _cleanup_error_ struct error err = ERROR_INIT;
                _cleanup_buf_ struct buf copy = BUF_INIT;
                int r;

                buf_add_str(&copy, buf_str(&data));
                for (int k = 0; k < 1 + i % 4; k++) {
                        seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
                        if (i % 2) /* page headers are where it hurts */
                                copy.p[seed % (copy.n / 4096) * 4096 + (seed >> 40) % 32] = (char) (seed >> 32);
                        else
                                copy.p[seed % copy.n] ^= (char) (1 << (seed >> 61));
                }
                write_data(buf_str(&copy));
                r = store_open(&(struct store_options) { .path = dir }, &s, &err);
                if (r < 0) {
                        assert_true(r == -EUCLEAN || r == -EIO);
                        continue;
                }
                put_new(s, "another", make_object("{}"), NULL);
                store_close(s);
        }
}

int main(void) {
#define TEST(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(everything_is_there_after_reopening), TEST(the_file_stays_small),
                TEST(the_map_grows_to_its_limit),          TEST(a_failed_write_changes_nothing),
                TEST(a_full_disk_is_told_as_one),          TEST(a_second_one_is_refused),
                TEST(the_lock_dies_with_its_holder),       TEST(child_programs_do_not_inherit_the_file),
                TEST(foreign_files_are_refused),           TEST(flipped_bits_of_an_object_are_found),
                TEST(another_format_is_refused),           TEST(a_truncated_file_is_refused),
                TEST(damage_anywhere_is_survived),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
