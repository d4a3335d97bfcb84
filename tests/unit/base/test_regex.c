/* Regular expressions: RE2's syntax and answers, its refusals, and an end for every pattern. */
#include "../test.h"

#include "base/buf.h"
#include "base/regex.h"

static const struct {
        const char *pattern, *text;
        bool match;
} matches[] = {
        { "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "web-1", true },
        { "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "Web-1", false },
        { "", "anything", true },
        { "b", "abc", true },
        { "^b", "abc", false },
        { "^abc$", "abc\n", false }, /* $ is the end of the text */
        { "(?m)^abc$", "x\nabc\ny", true },
        { "a.c", "a\nc", false },
        { "(?s)a.c", "a\nc", true },
        { "(?i)HELLO", "hello", true },
        { "(?i:a)B", "AB", true },
        { "(?i:a)B", "Ab", false },
        { "(?P<year>\\d{4})-(?<month>\\d{2})", "2024-05", true },
        { "^\\d+$", "\xd9\xa3", false }, /* an Arabic digit: \d is ASCII */
        { "^\\pN$", "\xd9\xa3", true },
        { "^\\p{Greek}+$", "\xce\xb1\xce\xb2", true },
        { "^\\P{Greek}$", "\xce\xb1", false },
        { "^.$", "\xf0\x9f\x98\x80", true },
        { "^\\s$", "\v", false },
        { "^[\\s]$", "\v", false },
        { "^\\v$", "\v", true },
        { "^[^\\S]$", "\t", true },
        { "a{,2}", "a{,2}", true }, /* not a repeat: text */
        { "^a{2,3}$", "aaaa", false },
        { "^a{2,}?$", "aaaa", true },
        { "^[]a]+$", "]a", true },
        { "^[a-c-]+$", "a-c", true },
        { "^[[:alpha:][:^digit:]]+$", "a!", true },
        { "\\Qa.b\\E", "a.b", true },
        { "\\Qa.b\\E", "axb", false },
        { "^\\x41\\x{1F600}\\101$",
          "A\xf0\x9f\x98\x80"
          "A",
          true },
        { "^*a", "ba", true },
        { "\\bfoo\\b", "a foo b", true },
        { "(|a)*b", "aaab", true },
        { "^a(?i)*\\Q\\E$", "aaa", true },                  /* what is repeated is a, not the flag */
        { "^(?i)[^\\W_]k$", "\xc5\xbf\xe2\x84\xaa", true }, /* long s and the sign of Kelvin */
        { "^(?i)\xc3\xa9$", "\xc3\x89", true },
        { "^\\p{Greek}$", "\xcd\x82", false }, /* used in Greek, but inherited */
        { "^\\pC$", "\xcd\xb8", false },       /* not assigned */
        { "^.\\x{fffd}$", "\xff\xc3", true },  /* not UTF-8 */
        { "^[\\x{d800}-\\x{dfff}]|[^\\x{d800}]b$", "ab", true },
        { "^(https?|ftp)://[^\\s/$.?#].[^\\s]*$", "https://example.com/x", true },
        { "^(a+)+$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab", false }, /* exponential */
        { "^(.*)*(.*)*(.*)*x$", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
};

static void matches_as_re2(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(matches); i++) {
                _cleanup_(regex_freep) struct regex *re = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;

                if (regex_compile(str_of(matches[i].pattern), &re, &err) < 0)
                        fail_msg("%s: %s", matches[i].pattern, error_text(&err));
                if (regex_match(re, str_of(matches[i].text)) != matches[i].match)
                        fail_msg("%s on %s", matches[i].pattern, matches[i].text);
        }
}

static const char *const refused[][2] = {
        { "(?=a)", "invalid or unsupported Perl syntax: `(?=`" },
        { "(?!a)", "invalid or unsupported Perl syntax: `(?!`" },
        { "(?<=a)b", "invalid named capture: `(?<=a)b`" },
        { "(?P<a-b>c)", "invalid named capture: `(?P<a-b>`" },
        { "(?>a)", "invalid or unsupported Perl syntax: `(?>`" },
        { "(?x)a", "invalid or unsupported Perl syntax: `(?x`" },
        { "(a)\\1", "invalid escape sequence: `\\1`" },
        { "\\Z", "invalid escape sequence: `\\Z`" },
        { "\\K", "invalid escape sequence: `\\K`" },
        { "a*+", "invalid nested repetition operator: `*+`" },
        { "a**", "invalid nested repetition operator: `**`" },
        { "a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
        { "*a", "missing argument to repetition operator: `*`" },
        { "(*ACCEPT)", "missing argument to repetition operator: `*`" },
        { "(|+)", "missing argument to repetition operator: `+`" },
        { "a{1001}", "invalid repeat count: `{1001}`" },
        { "a{3,2}", "invalid repeat count: `{3,2}`" },
        { "((a{100}){100})", "invalid repeat count: `{100}`" },
        { "(a", "missing closing ): `(a`" },
        { "a)", "unexpected ): `a)`" },
        { "[a", "missing closing ]: `[a`" },
        { "[b-a]", "invalid character class range: `b-a`" },
        { "[[:foo:]]", "invalid character class range: `[:foo:]`" },
        { "(?i-)", "invalid or unsupported Perl syntax: `(?i-)`" },
        { "\\C", "invalid escape sequence: `\\C`" },
        { "\\pX", "invalid character class range: `\\pX`" },
        { "\\p{Alphabetic}", "invalid character class range: `\\p{Alphabetic}`" },
        { "a(?i)|*", "missing argument to repetition operator: `*`" },
        { "(a{2}{3}", "invalid nested repetition operator: `{2}{3}`" },
        { "(abcd{1000}){2}", "invalid repeat count: `{2}`" },
        { "a\\", "trailing backslash at end of expression: ``" },
        { "(?P<n", "invalid named capture: `(?P<n`" },
};

static void refuses_what_re2_refuses(void **state) {
        for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
                _cleanup_(regex_freep) struct regex *re = NULL;
                _cleanup_error_ struct error err = ERROR_INIT;
                struct str text;

                if (regex_compile(str_of(refused[i][0]), &re, &err) == 0)
                        fail_msg("%s is taken", refused[i][0]);
                text = str_of(error_text(&err));
                assert_true(str_has_prefix(text, STR("error parsing regexp: ")));
                assert_string_equal(text.p + 22, refused[i][1]);
        }
}

/* The match that begins first, and of those the one a reader from left to right would come to first; all of them. */
static void finds_leftmost_first(void **state) {
        static const struct {
                const char *pattern, *text, *found;
        } cases[] = {
                { "a|ab|\\d+", "xxab12", "2-3 4-6 " },      { "(|a)+", "aab", "0-0 1-1 2-2 3-3 " },
                { "(a*)+b?", "aab", "0-3 3-3 " },           { "(a+?)*?b|.", "aab", "0-3 " },
                { "(a|b|cd){2,3}?", "abcdab", "0-2 2-5 " }, { "((a{0,2}){2}){2}", "aaaaaaaaaa", "0-8 8-10 10-10 " },
                { "(?U)a+(?-U)b*", "aabb", "0-1 1-4 " },    { "(?m)^.|$", "ab\ncd", "0-1 2-2 3-4 5-5 " },
        };

        for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
                const char *text = cases[i / 2].text;
                _cleanup_(regex_freep) struct regex *re = NULL;
                _cleanup_buf_ struct buf pattern = BUF_INIT, found = BUF_INIT;
                size_t at = 0, from, to, work = 0;

                /* the second time it takes too many bits to go depth first */
                buf_printf(&pattern, "%s%s", cases[i / 2].pattern, i % 2 ? "|(?:z{1000}){0,1}z{999}" : "");
                for (int k = 0; i % 2 && k < 30; k++)
                        buf_addc(&pattern, "|z{1000}");
                assert_int_equal(regex_compile(buf_str(&pattern), &re, NULL), 0);
                while (at <= strlen(text) && regex_find(re, str_of(text), at, &work, &from, &to) == 1) {
                        buf_printf(&found, "%zu-%zu ", from, to);
                        at = to + (from == to);
                }
                buf_putc(&found, 0);
                assert_string_equal(found.p, cases[i / 2].found);
        }
}

/* However long a text is, it is gone over once; what keeps too much alive on the way is given up. */
static void goes_over_long_texts_once(void **state) {
        static const struct {
                const char *pattern;
                int match, at_the_end; /* of 200,000 times "ab"; and then a "c" */
        } cases[] = {
                { "(a|b)*c", 0, 1 },          { "^(a|b)*$", 1, 0 },
                { "^(a|b)*c$", 0, 1 },        { "(b|a)+[cd]", 0, 1 },
                { "(?i)(A|B)*C", 0, 1 },      { "(a|b)*b$", 1, 0 },
                { "\\b(a|b)+c\\b", 0, 1 },    { "^(ab|ba)*b", 0, 0 },
                { "(?m)^(a|b)*$", 1, 0 },     { "^(a+)+[cd]$", 0, 0 },
                { "(ab)*?c|d", 0, 1 },        { "^((a|b)*)*$", 1, 0 },
                { "^(?:[ab]+)+[xy]$", 0, 0 }, { "((a?b?){50}){20}c$", -E2BIG, -E2BIG },
        };
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str without;

        for (size_t i = 0; i < 200000; i++)
                buf_addc(&b, "ab");
        buf_putc(&b, 'c');
        without = str_n(b.p, b.n - 1);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_(regex_freep) struct regex *re = NULL;

                assert_int_equal(regex_compile(str_of(cases[i].pattern), &re, NULL), 0);
                if (regex_match(re, without) != cases[i].match || regex_match(re, buf_str(&b)) != cases[i].at_the_end)
                        fail_msg("%s: %d, %d", cases[i].pattern, regex_match(re, without),
                                 regex_match(re, buf_str(&b)));
        }
}

/* All the searches of a text have one bound together. */
static void ends_many_searches(void **state) {
        _cleanup_(regex_freep) struct regex *re = NULL;
        _cleanup_buf_ struct buf b = BUF_INIT;
        size_t at = 0, from, to, work = 0;
        int r;

        for (size_t i = 0; i < 1000000; i++)
                buf_putc(&b, 'a');
        assert_int_equal(regex_compile(STR("(.*z)|a"), &re, NULL), 0);
        while ((r = regex_find(re, buf_str(&b), at, &work, &from, &to)) == 1)
                at = to;
        assert_int_equal(r, -E2BIG);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(goes_over_long_texts_once), cmocka_unit_test(matches_as_re2),
                cmocka_unit_test(refuses_what_re2_refuses),  cmocka_unit_test(finds_leftmost_first),
                cmocka_unit_test(ends_many_searches),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
