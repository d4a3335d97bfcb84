/* Counters, gauges, histograms and summaries for /metrics, in Prometheus' text format. Each thread counts for itself:
 * counting is an add to memory that nobody else writes; the reader sums what the threads have. */
#pragma once

#include "base/buf.h"

enum metric_type {
        METRIC_COUNTER,
        METRIC_GAUGE,
        METRIC_HISTOGRAM,
        METRIC_FLAG,    /* a gauge: 1 when ever counted */
        METRIC_SUMMARY, /* quantiles of what each thread has observed last */
        METRIC_TIME     /* a gauge: when it was counted last */
};

/* Static: a metric is known by its address. */
struct metric {
        const char *name, *help;
        enum metric_type type;
        const double *buckets; /* of a histogram: upper bounds in seconds, rising */
        unsigned n_buckets;    /* of a summary: how many values each thread keeps */
};
/* METRIC(lost, COUNTER, "apiserver_audit_error_total", "what it says"); a histogram has an array of bounds, too. */
#define METRIC(id, kind, ...) static const struct metric id = { __VA_ARGS__, METRIC_##kind, NULL, 0 }
#define HISTOGRAM(id, bounds, ...) \
        static const struct metric id = { __VA_ARGS__, METRIC_HISTOGRAM, bounds, ARRAY_SIZE(bounds) }

struct series;

/* This thread's series of a metric with the labels that key stands for: the same key means the same labels everywhere.
 * labels writes them (`verb="GET",code="200"`), once for each thread; NULL: none. Valid for the life of the process,
 * for this thread to count on. A thread has at most 16384 series; what is beyond is not counted. */
struct series *metric_series(const struct metric *m, uint64_t key, void (*labels)(struct buf *dst, const void *arg),
                             const void *arg);
void series_add(struct series *s, int64_t n);
void series_observe(struct series *s, double seconds);
void series_observe_n(struct series *s, double value, int64_t n); /* the same n times; of a histogram */
/* The same, with labels that are at hand: the values are the key. SERIES(&lost, { "plugin", plugin }). */
struct metric_label {
        const char *name;
        struct str value;
};
struct series *metric_labelled(const struct metric *m, const struct metric_label *labels, size_t n);
#define SERIES(m, ...)                                                      \
        metric_labelled((m), (const struct metric_label[]) { __VA_ARGS__ }, \
                        sizeof((const struct metric_label[]) { __VA_ARGS__ }) / sizeof(struct metric_label))
#define metric_add(m, n) series_add(metric_series((m), 0, NULL, NULL), (n))

/* From now on a label of a metric has one of these values, with commas between; others are told as "unexpected". For
 * the life of the process, before anybody counts. */
void metrics_allow(struct str metric, struct str label, struct str values);
/* How often one was not, in counts that are not gauges. */
int64_t metrics_unexpected(void);

/* A label's value, escaped. */
void metric_label(struct buf *dst, const char *name, struct str value);
/* HELP and TYPE, for what is measured when it is asked for. */
void metric_header(struct buf *dst, const char *name, const char *type, const char *help);
/* A number as Go prints it in metrics. */
const char *metric_number(char dst[static 32], double v);
/* Counters and histograms with labels begin anew: they are gone until they are counted again. That one only, or
 * all but that. */
void metrics_reset(const struct metric *that, bool only);
/* All that was ever counted, in order of name and labels. */
void metrics_collect(struct buf *dst);
void metric_collect(struct buf *dst, const struct metric *m);
