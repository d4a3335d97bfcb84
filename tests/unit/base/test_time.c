/* RFC 3339 times and Go durations. */
#include "../test.h"

#include <errno.h>

#include "base/macro.h"
#include "base/time.h"

static void times_are_printed_as_the_api_prints_them(void **state) {
        struct moment m;
        char text[36];
        int64_t t = 1136214245LL * NSEC_PER_SEC + 123456789;

        assert_str(time_format(text, t), "2006-01-02T15:04:05Z");
        assert_str(time_format_micro(text, t), "2006-01-02T15:04:05.123456Z");
        assert_str(time_format_nano(text, t), "2006-01-02T15:04:05.123456789Z");
        assert_str(time_format(text, 0), "1970-01-01T00:00:00Z");
        assert_str(time_format_nano(text, -1), "1969-12-31T23:59:59.999999999Z");
        assert_str(time_format(text, 951782400LL * NSEC_PER_SEC), "2000-02-29T00:00:00Z");
        assert_str(time_format(text, INT64_MAX), "2262-04-11T23:47:16Z");
        assert_str(time_format(text, INT64_MIN), "1677-09-21T00:12:43Z");
        assert_int_equal(moment_parse(STR("0001-01-01T00:00:02.5Z"), &m), 0);
        assert_str(moment_format(text, m, 6), "0001-01-01T00:00:02.500000Z");
        assert_int_equal(m.seconds, MOMENT_MIN + 2);
        assert_int_equal(moment_parse(STR("9999-12-31T23:59:59Z"), &m), 0);
        assert_str(moment_format(text, m, 0), "9999-12-31T23:59:59Z");
}

static void times_are_read_with_zone_and_fraction(void **state) {
        static const struct {
                const char *text;
                int64_t secs, ns;
        } good[] = {
                { "2006-01-02T15:04:05Z", 1136214245, 0 },
                { "2006-01-02T15:04:05.5Z", 1136214245, 500000000 },
                { "2006-01-02T15:04:05.1234567891Z", 1136214245, 123456789 },
                { "2006-01-02T16:04:05+01:00", 1136214245, 0 },
                { "2006-01-02T08:34:05-06:30", 1136214245, 0 },
                { "2006-01-02T5:04:05,25-10:00", 1136214245, 250000000 },
                { "1969-12-31T23:59:59Z", -1, 0 },
                { "2024-02-29T00:00:00Z", 1709164800, 0 },
        };
        int64_t t;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(time_parse(str_of(good[i].text), &t), 0);
                assert_true(t == good[i].secs * NSEC_PER_SEC + good[i].ns);
        }
}

static void times_far_away_are_clamped_not_wrapped(void **state) {
        int64_t t;

        assert_int_equal(time_parse(STR("9999-12-31T23:59:59Z"), &t), 0);
        assert_true(t == INT64_MAX);
        assert_int_equal(time_parse(STR("0001-01-01T00:00:00Z"), &t), 0);
        assert_true(t == INT64_MIN);
}

static void malformed_times_are_refused(void **state) {
        static const char *const bad[] = {
                "",
                "2006-01-02",
                "2006-01-02T15:04:05",
                "2006-01-02 15:04:05Z",
                "2006-1-02T15:04:05Z",
                "2006-13-02T15:04:05Z",
                "2006-02-29T15:04:05Z",
                "2006-00-02T15:04:05Z",
                "2006-01-02T24:04:05Z",
                "2006-01-02T15:60:05Z",
                "2006-01-02T15:04:60Z",
                "2006-01-02T15:04:05.Z",
                "2006-01-02T15:04:05+0100",
                "2006-01-02T15:04:05Zx",
                "20060102T150405Z",
                "2006-01-02t15:04:05Z",
        };
        int64_t t;

        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(time_parse(str_of(bad[i]), &t), -EINVAL);
}

static void every_day_of_four_centuries_survives_a_round_trip(void **state) {
        char text[36];

        for (int64_t day = -106000; day < 106000; day += 7) {
                int64_t t;

                assert_int_equal(time_parse(time_format(text, day * 86400 * NSEC_PER_SEC), &t), 0);
                assert_true(t == day * 86400 * NSEC_PER_SEC);
        }
}

static void seconds_are_added_without_wrapping(void **state) {
        assert_int_equal(time_after(5, 2), 2000000005);
        assert_int_equal(time_after(5, -2), -1999999995);
        assert_int_equal(time_after(5, INT64_MAX), INT64_MAX);
        assert_int_equal(time_after(5, -INT64_MAX), INT64_MIN);
        assert_int_equal(time_after(INT64_MAX, 1), INT64_MAX);
        assert_int_equal(time_after(INT64_MIN, -1), INT64_MIN);
}

static void durations_are_printed_as_go_prints_them(void **state) {
        static const struct {
                int64_t ns;
                const char *text;
        } cases[] = {
                { 0, "0s" },
                { 1, "1ns" },
                { 1100, "1.1\xc2\xb5s" },
                { 2200000, "2.2ms" },
                { 3300000000, "3.3s" },
                { 245000000000, "4m5s" },
                { 245001000000, "4m5.001s" },
                { 18367001000000, "5h6m7.001s" },
                { 480000000001, "8m0.000000001s" },
                { INT64_MAX, "2562047h47m16.854775807s" },
                { INT64_MIN, "-2562047h47m16.854775808s" },
                { 5400000000000, "1h30m0s" },
                { -1500000000, "-1.5s" },
        };
        char text[36];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_str(duration_format(text, cases[i].ns), cases[i].text);
}

static void durations_are_read_as_go_reads_them(void **state) {
        static const struct {
                const char *text;
                int64_t ns;
        } good[] = {
                { "0", 0 },
                { "5s", 5000000000 },
                { "1h30m", 5400000000000 },
                { "1.5s", 1500000000 },
                { "300ms", 300000000 },
                { "-.5s", -500000000 },
                { "+5s", 5000000000 },
                { "1478s", 1478000000000 },
                { "5.s", 5000000000 },
                { ".5s", 500000000 },
                { "10ns", 10 },
                { "11us", 11000 },
                { "12\xc2\xb5s", 12000 },
                { "12\xce\xbcs", 12000 },
                { "3h30m", 12600000000000 },
                { "10.5s4m", 250500000000 },
                { "-2m3.4s", -123400000000 },
                { "39h9m14.425s", 140954425000000 },
                { "9223372036854775807ns", INT64_MAX },
                { "-9223372036854775808ns", INT64_MIN },
                { "0.100000000000000000000h", 360000000000 },
                { "0.3333333333333333333h", 1200000000000 },
        };
        static const struct {
                const char *text;
                int error;
        } bad[] = {
                { "", -EINVAL },
                { "3", -EINVAL },
                { "-", -EINVAL },
                { "s", -EINVAL },
                { ".", -EINVAL },
                { "-.", -EINVAL },
                { ".s", -EINVAL },
                { "3000000h", -ERANGE },
                { "9223372036854775808ns", -ERANGE },
                { "1x", -EINVAL },
                { "1 s", -EINVAL },
                { "1sm", -EINVAL },
                { "99999999999999999999s", -ERANGE },
        };
        int64_t ns;

        for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
                assert_int_equal(duration_parse(str_of(good[i].text), &ns), 0);
                assert_true(ns == good[i].ns);
        }
        for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
                assert_int_equal(duration_parse(str_of(bad[i].text), &ns), bad[i].error);
}

static void durations_may_be_words(void **state) {
        static const struct {
                const char *text;
                int64_t ns; /* 0: none */
        } cases[] = {
                { "90s", 90 * NSEC_PER_SEC },
                { "1d", 86400 * NSEC_PER_SEC },
                { "2 Weeks and 3 hours", (1209600 + 10800) * NSEC_PER_SEC },
                { "5 hrs", 0 },
                { "7 \xc2\xb5s", 7000 },
                { "1 month 1 minute", 60 * NSEC_PER_SEC },
                { "3", 0 },
                { "", 0 },
                { "day", 0 },
                { "99999999999999999999 d", 0 },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                int64_t ns = 0;

                assert_int_equal(duration_parse_words(str_of(cases[i].text), &ns), cases[i].ns ? 0 : -EINVAL);
                assert_true(ns == cases[i].ns);
        }
}

static void ages_are_shown_as_kubectl_shows_them(void **state) {
        static const struct {
                int64_t secs;
                const char *text;
        } cases[] = {
                { -2, "<invalid>" },  { -1, "0s" },        { 0, "0s" },          { 119, "119s" },
                { 120, "2m" },        { 150, "2m30s" },    { 599, "9m59s" },     { 600, "10m" },
                { 10799, "179m" },    { 10800, "3h" },     { 11100, "3h5m" },    { 28799, "7h59m" },
                { 28800, "8h" },      { 172799, "47h" },   { 172800, "2d" },     { 176400, "2d1h" },
                { 691199, "7d23h" },  { 691200, "8d" },    { 63071999, "729d" }, { 63072000, "2y" },
                { 63158400, "2y1d" }, { 252288000, "8y" }, { 315360000, "10y" },
        };
        char text[36];

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_str(duration_human(text, cases[i].secs * NSEC_PER_SEC), cases[i].text);
}

static void the_monotonic_clock_does_not_go_back(void **state) {
        int64_t before = now_mono_ns();

        for (int i = 0; i < 1000; i++) {
                int64_t now = system_clock.mono_ns(&system_clock);

                assert_true(now >= before);
                before = now;
        }
        assert_true(now_wall_ns() > 1700000000LL * NSEC_PER_SEC);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(durations_may_be_words),
                cmocka_unit_test(times_are_printed_as_the_api_prints_them),
                cmocka_unit_test(times_are_read_with_zone_and_fraction),
                cmocka_unit_test(times_far_away_are_clamped_not_wrapped),
                cmocka_unit_test(seconds_are_added_without_wrapping),
                cmocka_unit_test(malformed_times_are_refused),
                cmocka_unit_test(every_day_of_four_centuries_survives_a_round_trip),
                cmocka_unit_test(durations_are_printed_as_go_prints_them),
                cmocka_unit_test(durations_are_read_as_go_reads_them),
                cmocka_unit_test(ages_are_shown_as_kubectl_shows_them),
                cmocka_unit_test(the_monotonic_clock_does_not_go_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
