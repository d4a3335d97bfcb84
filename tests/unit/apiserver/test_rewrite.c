/* Links of pages that come through a proxy, whatever the pieces in which they come. */
#include "../test.h"

#include "apiserver/rewrite.h"

#define PREFIX "/api/v1/namespaces/d/pods/p/proxy"

static void page(const char *text, size_t piece, const char *want) {
        struct rewriter w = { .prefix = STR(PREFIX), .host = STR("10.0.0.7:80"), .asked = STR("cube:6443") };
        _cleanup_buf_ struct buf out = BUF_INIT;
        size_t n = strlen(text);

        for (size_t at = 0; at < n; at += piece)
                rewrite_html(&w, &out, str_n(text + at, MIN(piece, n - at)), false);
        rewrite_html(&w, &out, STR(""), true);
        buf_free(&w.kept);
        buf_putc(&out, '\0');
        assert_string_equal(out.p, want);
}

static void links_lead_through_the_proxy(void **state) {
        static const struct {
                const char *text, *want; /* NULL: as it is */
        } table[] = {
                { "<a href=\"/x\">test</a>", "<a href=\"" PREFIX "/x\">test</a>" },
                { "<A\n HREF = '/x?a=b&amp;c#d' class=/y>", "<A\n HREF = '" PREFIX "/x?a=b&amp;c#d' class=/y>" },
                { "<img src=/i.png alt=\"a > b\" longdesc=/l/>",
                  "<img src=" PREFIX "/i.png alt=\"a > b\" longdesc=" PREFIX "/l/>" },
                { "<a href=x><a href=\"mailto:a@b\"><a href=\"http://other/x\"><a href=\"//other/x\"><p href=/x>",
                  NULL },
                { "<a href=\"" PREFIX "/x\"><a href=\"http://10.0.0.7:80\"><a href=\"\"><a href>", NULL },
                { "<a href=\"http://10.0.0.7:80/x\">", "<a href=\"" PREFIX "/x\">" },
                { "<a href=\"https://cube:6443/x\">", "<a href=\"https://cube:6443" PREFIX "/x\">" },
                { "<form action='/go?to=http://a/b'>", "<form action='" PREFIX "/go?to=http://a/b'>" },
                { "1 < 2 <!-- <a href=/x> --><script src=/s>\"<a href=/x>\"</SCRIPT><a href=/y>",
                  "1 < 2 <!-- <a href=/x> --><script src=" PREFIX "/s>\"<a href=/x>\"</SCRIPT><a href=" PREFIX "/y>" },
                { "<!DOCTYPE html></a href=/x><a href='/unfinished", NULL },
                { "<!-- <a href=/x>", NULL },
                { "<", NULL },
        };

        for (size_t i = 0; i < ARRAY_SIZE(table); i++)
                for (size_t piece = 1; piece <= strlen(table[i].text); piece++)
                        page(table[i].text, piece, table[i].want ? table[i].want : table[i].text);
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(links_lead_through_the_proxy) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
