/* Documents that are asked for in part, or on condition. RFC 9110, 13 and 14, as Go's http.ServeContent reads them. */
#include "help.h"

static bool has(struct str s, const char *part) {
        return str_search(s, str_of(part)) >= 0;
}

static struct str get(struct fixture *f, const char *path, const char *headers) {
        return talk_until(f,
                          arena_printf(f->a, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", path, headers)
                                          .p,
                          NULL);
}

/* With the document's own tag and time in place of %E and %T. */
static struct str ask_openapi(struct fixture *f, const char *headers, struct str tag, struct str time) {
        struct buf b = BUF_INIT;
        struct str r;

        for (const char *p = headers; *p; p++) {
                if (*p == '%' && *++p)
                        buf_add_str(&b, *p == 'E' ? tag : time);
                else
                        buf_putc(&b, *p);
        }
        buf_addc(&b, "\r\n");
        r = get(f, "/openapi/v3/apis/apps/v1", arena_cstr(f->a, buf_str(&b)));
        buf_free(&b);
        return r;
}

static struct str header_of(struct str answer, const char *name) {
        ssize_t i = str_search(answer, str_of(name));
        struct str rest = str_sub(answer, (size_t) i + strlen(name), answer.n);

        assert_true(i > 0);
        return str_sub(rest, 0, (size_t) str_find(rest, '\r'));
}

static void documents_are_asked_for_in_part_and_on_condition(void **state) {
        static const struct {
                const char *headers, *status, *has; /* has may be NULL */
        } cases[] = {
                { "If-None-Match: %E", "304", NULL },
                { "If-None-Match: \"a\", W/%E", "304", NULL },
                { "If-None-Match: *", "304", NULL },
                { "If-None-Match: \"a\"", "200", "\r\nAccept-Ranges: bytes\r\n" },
                { "If-None-Match: a, %E", "200", NULL },
                { "If-Match: \"a\"", "412", "\r\nContent-Type: application/json\r\n" },
                { "If-Match: W/%E", "412", NULL },
                { "If-Match: %E", "200", NULL },
                { "If-Modified-Since: %T", "304", NULL },
                { "If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT", "200", NULL },
                { "If-Modified-Since: Monday", "200", NULL },
                { "If-None-Match: \"a\"\r\nIf-Modified-Since: %T", "200", NULL },
                { "If-Unmodified-Since: Monday, 01-Jan-01 00:00:00 GMT", "412", NULL },
                { "If-Unmodified-Since: %T", "200", NULL },
                { "Range: bytes=0-9", "206", "\r\n\r\n{\"openapi\"" },
                { "Range: bytes=1-", "206", "\r\n\r\n\"openapi\":" },
                { "Range: bytes=-3", "206", "\r\n\r\n}}}" },
                { "Range: bytes=-0", "206", "\r\nContent-Length: 0\r\n" },
                { "Range: bytes=0-9, 99999999-", "206", "\r\nContent-Range: bytes 0-9/" },
                { "Range: bytes=0-1,2-3", "206", "\r\nContent-Range: bytes 2-3/" },
                { "Range: bytes=0-,0-", "200", NULL },
                { "Range: bytes=,", "200", NULL },
                { "Range: bytes=99999999-", "416", "\r\n\r\ninvalid range: failed to overlap\n" },
                { "Range: bytes=+0-+9", "206", "\r\n\r\n{\"openapi\"" },
                { "Range: bytes=-+3", "206", "\r\n\r\n}}}" },
                { "Range: bytes=9223372036854775808-", "416", "\r\n\r\ninvalid range\n" },
                { "Range: bytes=5-2", "416", "\r\n\r\ninvalid range\n" },
                { "Range: lines=5-6", "416", "\r\nX-Content-Type-Options: nosniff\r\n" },
                { "Range: bytes=0-9\r\nIf-Range: %E", "206", NULL },
                { "Range: bytes=0-9\r\nIf-Range: \"a\"", "200", NULL },
                { "Range: bytes=0-9\r\nIf-Range: %T", "206", NULL },
        };
        struct fixture *f = *state;
        struct str whole = get(f, "/openapi/v3/apis/apps/v1", ""), tag = header_of(whole, "\r\nEtag: "),
                   time = header_of(whole, "\r\nLast-Modified: ");

        assert_int_equal(tag.n, 130);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str r = ask_openapi(f, cases[i].headers, tag, time);

                if (!str_has_prefix(r, arena_printf(f->a, "HTTP/1.1 %s ", cases[i].status)) ||
                    (cases[i].has && !has(r, cases[i].has)))
                        fail_msg("%s: %.*s", cases[i].headers, (int) MIN(r.n, 600), r.p);
                assert_true(has(r, "\r\nEtag: ") == (strcmp(cases[i].status, "416") != 0));
        }
        assert_true(has(get(f, "/openapi/v3", ""), "\r\nLast-Modified: "));
        assert_true(has(get(f, "/openapi/v3", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT\r\n"),
                        "HTTP/1.1 304 "));
        assert_true(has(get(f, "/openapi/v2", "Accept: x/y\r\n"), "\r\nVary: Accept-Encoding\r\nVary: Accept\r\n"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(documents_are_asked_for_in_part_and_on_condition, fixture_serve_setup,
                                                fixture_serve_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
