/* tests/data/json: y_* must parse, n_* must not, i_* is ours to choose (we choose what Go does: it parses). What parses
 * must come back the same from its own text, compact and pretty. */
#include "../test.h"

#include <dirent.h>

#include "base/file.h"
#include "json/json.h"
#include "json/scan.h"

static void text_and_tree_agree(struct arena *a, const struct json *j) {
        _cleanup_buf_ struct buf compact = BUF_INIT, pretty = BUF_INIT;
        struct json *back;

        json_write(&compact, j);
        assert_int_equal(json_parse(a, buf_str(&compact), NULL, &back, NULL), 0);
        assert_true(json_equal(j, back));
        json_write_pretty(&pretty, j, 0, 0); /* indented, the deep ones would be quadratic */
        assert_int_equal(json_parse(a, buf_str(&pretty), NULL, &back, NULL), 0);
        assert_true(json_equal(j, back));
}

/* An arena of the size that was measured holds the tree without growing. */
static void the_measure_suffices(struct str text) {
        _cleanup_(arena_freep) struct arena *a = arena_new(json_tree_size(text) + 128);
        size_t before = arena_size(a);
        struct json *j;

        assert_int_equal(json_parse(a, text, NULL, &j, NULL), 0);
        assert_int_equal(arena_size(a), before);
}

static void check_file(const char *name) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        _cleanup_free_ char *path = xprintf("%s/json/%s", TEST_DATA, name), *exact = NULL;
        struct json_parse_opts copy = { .copy_strings = true };
        struct json *j, *k;
        int r;

        assert_int_equal(file_read(path, 0, &b, NULL), 0);
        /* On the heap without a byte to spare, so that a sanitizer sees a read beyond the end. */
        exact = memcpy(xmalloc(b.n), b.p ? b.p : "", b.n);
        r = json_parse(a, str_n(exact, b.n), NULL, &j, &e);
        if ((r < 0) != (name[0] == 'n')) {
                print_error("%s: %s\n", name, r < 0 ? error_text(&e) : "was accepted");
                fail();
        }
        if (r < 0) {
                assert_true(strlen(error_text(&e)) > 10);
                return;
        }
        assert_int_equal(json_parse(a, str_n(exact, b.n), &copy, &k, NULL), 0);
        assert_true(json_equal(j, k));
        text_and_tree_agree(a, j);
        if (name[0] == 'y')
                the_measure_suffices(str_n(exact, b.n));
}

static void every_file_of_the_corpus_is_judged_right(void **state) {
        DIR *d = opendir(TEST_DATA "/json");
        struct dirent *de;
        int n = 0;

        assert_non_null(d);
        for (; (de = readdir(d)); n++)
                if (strchr("yni", de->d_name[0]) && de->d_name[1] == '_')
                        check_file(de->d_name);
        closedir(d);
        assert_true(n > 200);
}

static void every_cut_of_a_document_is_refused(void **state) {
        static const char text[] =
                        "{\"a\":[1,-2.5e3,true,null,\"x\\u00e9\\n\"],\"b\":{\"c\":\"0123456789abcdef\xc3\xa9\"}}";
        _cleanup_(arena_freep) struct arena *a = arena_new(0);

        for (size_t n = 0; n < sizeof(text) - 1; n++) {
                _cleanup_error_ struct error e = ERROR_INIT, spaced = ERROR_INIT;
                _cleanup_free_ char *cut = memcpy(xmalloc(n), text, n), *more = memcpy(xmalloc(n + 1), text, n);
                struct json *j;

                more[n] = ' '; /* with which Go's scanner looks for what is missing */
                assert_true(json_parse(a, str_n(cut, n), NULL, &j, &e) < 0);
                assert_true(json_parse(a, str_n(more, n + 1), NULL, &j, &spaced) < 0);
                assert_string_equal(error_text(&e), error_text(&spaced));
                assert_true(strcmp(error_text(&e), "unexpected end of JSON input") == 0 ||
                            str_has_prefix(str_of(error_text(&e)), STR("invalid character ' ' ")));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_file_of_the_corpus_is_judged_right),
                cmocka_unit_test(every_cut_of_a_document_is_refused),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
