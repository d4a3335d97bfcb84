/* Metrics as text: what was counted by however many threads, and how numbers are written. */
#include "../test.h"

#include <math.h>
#include <pthread.h>

#include "base/metrics.h"

METRIC(counted, COUNTER, "a_total", "Counted.");
static const double bounds[] = { 0.5, 1e6 };
HISTOGRAM(observed, bounds, "b", "Observed.");

static void *count(void *arg) {
        metric_add(&counted, 20000000000);
        return NULL;
}

static void threads_count_together(void **state) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        pthread_t t;

        metric_add(&counted, 5);
        pthread_create(&t, NULL, count, NULL);
        pthread_join(t, NULL);
        metrics_collect(&b);
        assert_true(str_search(buf_str(&b),
                               STR("# HELP a_total Counted.\n# TYPE a_total counter\na_total 2.0000000005e+10\n")) >=
                    0);
}

static void numbers_are_written_as_go_writes_them(void **state) {
        static const struct {
                double value;
                const char *sum;
        } cases[] = {
                { 0.25, "b_sum 0.25\n" },       { 999998.75, "b_sum 999999\n" }, { 1, "b_sum 1e+06\n" },
                { 3e10, "b_sum 3.0001e+10\n" }, { INFINITY, "b_sum +Inf\n" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                _cleanup_buf_ struct buf b = BUF_INIT;

                series_observe(metric_series(&observed, 0, NULL, NULL), cases[i].value);
                metrics_collect(&b);
                assert_true(str_search(buf_str(&b), str_of(cases[i].sum)) >= 0);
        }
}

METRIC(told, COUNTER, "c_total", "Told.");

static void one_begins_anew_or_all_others(void **state) {
        static const char *const text = "# HELP c_total Told.\n# TYPE c_total counter\nc_total{of=\"x\"} 3\n";
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct series *s = SERIES(&told, { "of", STR("x") });

        series_add(s, 3);
        metrics_reset(&told, false);
        metric_collect(&b, &told);
        assert_true(str_eqc(buf_str(&b), text));
        b.n = 0;
        metrics_reset(&told, true);
        metric_collect(&b, &told);
        assert_int_equal(b.n, 0);
        series_add(s, 3);
        metric_collect(&b, &told);
        assert_true(str_eqc(buf_str(&b), text));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(threads_count_together),
                cmocka_unit_test(numbers_are_written_as_go_writes_them),
                cmocka_unit_test(one_begins_anew_or_all_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
