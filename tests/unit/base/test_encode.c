/* Base64, hex, percent encoding, SHA-256. */
#include "../test.h"

#include <errno.h>

#include "base/encode.h"

static const struct {
        const char *plain, *std, *url;
} base64[] = {
        { "", "", "" },
        { "f", "Zg==", "Zg" },
        { "fo", "Zm8=", "Zm8" },
        { "foo", "Zm9v", "Zm9v" },
        { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
        { "\xff\xef\xbe", "/+++", "_---" },
};

static void base64_follows_rfc_4648(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(base64); i++) {
                _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT, c = BUF_INIT, d = BUF_INIT;

                base64_encode(&a, str_of(base64[i].plain));
                base64url_encode(&b, str_of(base64[i].plain));
                assert_str(buf_str(&a), base64[i].std);
                assert_str(buf_str(&b), base64[i].url);
                assert_int_equal(base64_decode(&c, buf_str(&a)), 0);
                assert_int_equal(base64url_decode(&d, buf_str(&b)), 0);
                assert_str(buf_str(&c), base64[i].plain);
                assert_str(buf_str(&d), base64[i].plain);
        }
}

static void base64_ignores_line_breaks_and_refuses_the_rest(void **state) {
        static const char *const bad[] = { "Zg",    "Zg=",      "Zg===", "Z",    "Zm9v=",
                                           "Z g==", "Zg==Zg==", "====",  "_w==", "Zm8=\t" };
        _cleanup_buf_ struct buf b = BUF_INIT;

        assert_int_equal(base64_decode(&b, STR("Zm9v\r\nYmFy\n")), 0);
        assert_str(buf_str(&b), "foobar");
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
                assert_int_equal(base64_decode(&b, str_of(bad[i])), -EINVAL);
                assert_str(buf_str(&b), "foobar"); /* nothing is left behind */
        }
        assert_int_equal(base64url_decode(&b, STR("Zg==")), 0);
        assert_int_equal(base64url_decode(&b, STR("/w")), -EINVAL);
}

static void sha256_and_hex(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        char hex[65];

        sha256_hex(hex, STR("abc"));
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        sha256_hex(hex, (struct str) { 0 });
        assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        hex_encode(&b, STR("\x01\xfe"));
        assert_str(buf_str(&b), "01fe");
}

static void urls_are_encoded_and_decoded(void **state) {
        _cleanup_buf_ struct buf a = BUF_INIT, b = BUF_INIT, c = BUF_INIT;

        url_encode(&a, STR("a b/c~d=\xc3\xa9"));
        assert_str(buf_str(&a), "a%20b%2Fc~d%3D%C3%A9");
        assert_int_equal(url_decode(&b, STR("a%20b+c%2f"), true), 0);
        assert_str(buf_str(&b), "a b c/");
        assert_int_equal(url_decode(&c, STR("a+b"), false), 0);
        assert_str(buf_str(&c), "a+b");
        assert_int_equal(url_decode(&c, STR("%"), false), -EINVAL);
        assert_int_equal(url_decode(&c, STR("%2"), false), -EINVAL);
        assert_int_equal(url_decode(&c, STR("%zz"), false), -EINVAL);
        assert_str(buf_str(&c), "a+b");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(base64_follows_rfc_4648),
                cmocka_unit_test(base64_ignores_line_breaks_and_refuses_the_rest),
                cmocka_unit_test(sha256_and_hex),
                cmocka_unit_test(urls_are_encoded_and_decoded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
