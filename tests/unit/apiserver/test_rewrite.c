/* Links of pages that come through a proxy. */
#include "../test.h"

#include "apiserver/rewrite.h"

#define PREFIX "/api/v1/namespaces/d/pods/p/proxy"

static void page(const char *text, const char *want) {
        const struct rewriter w = { .prefix = STR(PREFIX), .host = STR("10.0.0.7:80"), .asked = STR("cube:6443") };
        _cleanup_buf_ struct buf out = BUF_INIT;

        assert_int_equal(rewrite_page(&w, STR(""), &out, str_of(text), NULL), 0);
        buf_putc(&out, '\0');
        assert_string_equal(out.p, want);
}

static void links_lead_through_the_proxy(void **state) {
        static const struct {
                const char *text, *want; /* NULL: as it is */
        } table[] = {
                { "<a href=\"/x\">test</a>", "<a href=\"" PREFIX "/x\">test</a>" },
                { "<A\n HREF = '/x?a=b&amp;c#d' class=/y>", "<a href=\"" PREFIX "/x?a=b&amp;c#d\" class=\"/y\">" },
                { "<img src=/i.png alt=\"a > b\" longdesc=/l/>",
                  "<img src=\"" PREFIX "/i.png\" alt=\"a &gt; b\" longdesc=\"" PREFIX "/l/\">" },
                { "<a href=\"x\"><a href=\"mailto:a@b\"><a href=\"http://other/x\"><a href=\"//other/x\"><p "
                  "href=\"/x\">",
                  NULL },
                { "<a href=\"" PREFIX "/x\"><a href=\"http://10.0.0.7:80\"><a href=\"\"><a>", NULL },
                { "<input disabled/><br/><p =a=b c = 'd'e title=it's x='&#x41;&copy;&lt;&quot;&nosuch'>",
                  "<input disabled=\"\"/><br/><p =a=\"b\" c=\"d\" e=\"\" title=\"it&#39;s\" "
                  "x=\"A&copy;&lt;&#34;&amp;nosuch\">" },
                { "<a href=\"http://10.0.0.7:80/x\">", "<a href=\"" PREFIX "/x\">" },
                { "<a href=\"https://cube:6443/x\">", "<a href=\"https://cube:6443" PREFIX "/x\">" },
                { "<form action='/go?to=http://a/b'>", "<form action=\"" PREFIX "/go?to=http://a/b\">" },
                { "<a href='/a/../b//c d/#/../e'>", "<a href=\"" PREFIX "/b/c%20d/#/../e\">" },
                { "1 < 2 <!-- <a href=/x> --><script src=/s>\"<a href=/x>\"</SCRIPT><a href=/y>",
                  "1 < 2 <!-- <a href=/x> --><script src=\"" PREFIX "/s\">\"<a href=/x>\"</SCRIPT><a href=\"" PREFIX
                  "/y\">" },
                { "<!DOCTYPE html></a href=/x>", NULL },
                { "<a href=\"/%zz\">", NULL },
                { "text<a href='/unfinished", "text" },
                { "<!-- <a href=/x>", NULL },
                { "<", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                page(table[i].text, table[i].want ? table[i].want : table[i].text);
}

static void links_of_another_api_server_lead_there(void **state) {
        static const char *const urls[][2] = {
                { "/x?a#b", "https://10.0.0.7:443/x?a#b" },
                { "http://10.0.0.7:443/x", "https://10.0.0.7:443/x" },
                { "x", "x" },
                { "https://other/x", "https://other/x" },
        };
        const struct rewriter w = { .origin = STR("https://10.0.0.7:443"), .host = STR("10.0.0.7:443") };

        for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;

                rewrite_url(&w, &b, str_of(urls[i][0]));
                buf_putc(&b, '\0');
                assert_string_equal(b.p, urls[i][1]);
        }
}

/* "<a href=/x>" in gzip, and with no header of its own as "deflate". */
static void compressed_pages_stay_so(void **state) {
        static const char gz[] = "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xb3\x49\x54\xc8\x28\x4a\x4d\xb3\xd5\xaf\xb0\x03"
                                 "\0\x26\x2c\x46\xd4\x0b\0\0\0",
                          raw[] = "\xb3\x49\x54\xc8\x28\x4a\x4d\xb3\xd5\xaf\xb0\x03\0";
        static const struct {
                const char *encoding;
                struct str page;
                const char *wrong; /* NULL: nothing is */
        } cases[] = {
                { "gzip", STR_INIT(gz), NULL },
                { "deflate", STR_INIT(raw), NULL },
                { "gzip", STR_INIT(raw), "errorf making gzip reader: gzip: invalid header" },
                { "deflate", STR_INIT("\xff\xff"), "flate: corrupt input before offset 1" },
                { "gzip", { gz, 20 }, "unexpected EOF" },
                { "gzip", STR_INIT(""), "unexpected EOF" },
        };
        const struct rewriter w = { .prefix = STR(PREFIX) };

        assert_true(rewrites(STR("gzip")) && !rewrites(STR("br")));
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct str encoding = str_of(cases[i].encoding);
                _cleanup_buf_ struct buf once = BUF_INIT, twice = BUF_INIT;
                _cleanup_error_ struct error e = ERROR_INIT;

                assert_int_equal(rewrite_page(&w, encoding, &once, cases[i].page, &e) < 0, cases[i].wrong != NULL);
                if (cases[i].wrong) {
                        assert_string_equal(error_text(&e), cases[i].wrong);
                        continue;
                }
                assert_false(str_eq(buf_str(&once), cases[i].page));
                /* where they lead now they lead for ever */
                assert_int_equal(rewrite_page(&w, encoding, &twice, buf_str(&once), &e), 0);
                assert_true(str_eq(buf_str(&once), buf_str(&twice)));
        }
}

static void a_page_full_of_links_or_of_nothing_has_a_bound(void **state) {
        static const char link[] = "<a href=/>";
        const struct rewriter w = { .prefix = STR(PREFIX PREFIX PREFIX) };
        _cleanup_buf_ struct buf page = BUF_INIT, out = BUF_INIT;

        while (page.n < REWRITE_MAX)
                buf_addc(&page, link);
        assert_true(rewrite_page(&w, STR(""), &out, buf_str(&page), NULL) < 0);
        assert_true(out.n < 5 * REWRITE_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(links_lead_through_the_proxy),
                cmocka_unit_test(links_of_another_api_server_lead_there),
                cmocka_unit_test(compressed_pages_stay_so),
                cmocka_unit_test(a_page_full_of_links_or_of_nothing_has_a_bound),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
