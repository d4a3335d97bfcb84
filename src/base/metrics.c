/* A shard for each thread that ever counted:
 *
 *   shards ─▶ shard ─▶ series ─▶ series …    pushed at the head by the owner, walked by whoever collects
 *               └ table: (metric, key) → series, private to the owner
 *
 * A shard outlives its thread, since counters may not fall, and serves the next thread. */
#include "base/lock.h"
#include "base/metrics.h"

#include <math.h>
#include <stdatomic.h>

#include "base/arena.h"
#include "base/time.h"
#include "base/vec.h"

#define MAX_SERIES 16384

struct series {
        struct series *next; /* in the shard; set before it is published */
        const struct metric *metric;
        uint64_t key;
        char *labels;
        unsigned unexpected;   /* how many of them */
        struct base *base;     /* what is not told any more; under the lock */
        _Atomic int64_t value; /* of a histogram: how many */
        _Atomic double sum;
        _Atomic uint64_t buckets[];
};

struct base {
        int64_t value;
        double sum;
        uint64_t buckets[];
};

struct shard {
        struct shard *next;
        struct shard *next_free;
        _Atomic(struct series *) series;
        struct series **table;
        size_t n, cap;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct shard *shards, *free_shards;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local struct shard *mine;

static void give_back(void *p) {
        struct shard *s = p;
        HOLD(&lock);

        s->next_free = free_shards;
        free_shards = s;
}

static void make_key(void) {
        pthread_key_create(&thread_end, give_back);
}

static struct shard *take_shard(void) {
        struct shard *s;

        pthread_once(&once, make_key);
        with_lock(&lock) {
                s = free_shards;
                if (s) {
                        free_shards = s->next_free;
                } else {
                        s = xcalloc(1, sizeof(*s));
                        s->next = shards;
                        shards = s;
                }
        }
        pthread_setspecific(thread_end, s);
        return mine = s;
}

/* ---- counting ---- */

static size_t slot_of(const struct shard *s, const struct metric *m, uint64_t key) {
        uint64_t h = (key ^ (uint64_t) (uintptr_t) m) * 0x9e3779b97f4a7c15ULL;
        size_t i = (size_t) (h >> 32) & (s->cap - 1);

        while (s->table[i] && (s->table[i]->metric != m || s->table[i]->key != key))
                i = (i + 1) & (s->cap - 1);
        return i;
}

static void grow(struct shard *s) {
        free(s->table);
        s->cap = s->cap ? s->cap * 2 : 64;
        s->table = xcalloc(s->cap, sizeof(*s->table));
        for (struct series *x = s->series; x; x = x->next)
                s->table[slot_of(s, x->metric, x->key)] = x;
}

/* ---- values that labels may have ---- */

struct allowed {
        struct allowed *next;
        char *metric, *label, *values;
};

static struct allowed *allowed;

void metrics_allow(struct str metric, struct str label, struct str values) {
        struct allowed *a = xcalloc(1, sizeof(*a));

        *a = (struct allowed) { allowed, str_dup(metric), str_dup(label), str_dup(values) };
        allowed = a;
}

/* Replaces what may not be there in the text of the labels; returns whether it has. */
static bool constrain(struct buf *labels, const struct allowed *a) {
        _cleanup_free_ char *begin = xprintf("%s=\"", a->label);
        struct buf fixed = BUF_INIT;
        struct str all = buf_str(labels);
        ssize_t at = str_search(all, str_of(begin));
        size_t value, end;

        while (at > 0 && all.p[at - 1] != ',') { /* the end of another name */
                ssize_t next = str_search(str_sub(all, (size_t) at + 1, all.n), str_of(begin));

                at = next < 0 ? -1 : at + 1 + next;
        }
        if (at < 0)
                return false;
        value = end = (size_t) at + strlen(begin);
        while (end < all.n && all.p[end] != '"')
                end += all.p[end] == '\\' ? 2 : 1;
        if (str_is_part(str_sub(all, value, end), ',', str_of(a->values)))
                return false;
        buf_printf(&fixed, "%" STR_FMT "unexpected%" STR_FMT, STR_ARG(str_sub(all, 0, value)),
                   STR_ARG(str_sub(all, end, all.n)));
        buf_free(labels);
        *labels = fixed;
        return true;
}

static struct series *add_series(struct shard *s, const struct metric *m, uint64_t key,
                                 void (*labels)(struct buf *dst, const void *arg), const void *arg) {
        struct series *x = xcalloc(1, sizeof(*x) + m->n_buckets * sizeof(x->buckets[0]));
        struct buf b = BUF_INIT;

        if (labels)
                labels(&b, arg);
        for (const struct allowed *al = allowed; al; al = al->next)
                if (strcmp(al->metric, m->name) == 0)
                        x->unexpected += constrain(&b, al);
        x->labels = buf_take(&b, NULL);
        x->metric = m;
        x->key = key;
        x->next = s->series;
        atomic_store_explicit(&s->series, x, memory_order_release);
        s->n++;
        return x;
}

struct series *metric_series(const struct metric *m, uint64_t key, void (*labels)(struct buf *dst, const void *arg),
                             const void *arg) {
        struct shard *s = mine ? mine : take_shard();
        size_t i;

        if (s->cap > 0) {
                i = slot_of(s, m, key);
                if (s->table[i])
                        return s->table[i];
        }
        if (s->n >= MAX_SERIES)
                return NULL;
        if (s->n * 2 >= s->cap)
                grow(s);
        i = slot_of(s, m, key);
        return s->table[i] = add_series(s, m, key, labels, arg);
}

struct labels {
        const struct metric_label *v;
        size_t n;
};

static void write_labels(struct buf *dst, const void *arg) {
        const struct labels *l = arg;

        for (size_t i = 0; i < l->n; i++)
                metric_label(dst, l->v[i].name, l->v[i].value);
}

struct series *metric_labelled(const struct metric *m, const struct metric_label *labels, size_t n) {
        uint64_t key = 0;

        for (size_t i = 0; i < n; i++)
                key = (key ^ str_hash(labels[i].value)) * 0x9e3779b97f4a7c15ULL;
        return metric_series(m, key, write_labels, &(struct labels) { labels, n });
}

/* Only this thread writes: a load and a store are enough. */
#define BUMP(field, n)                                                                              \
        atomic_store_explicit(&(field), atomic_load_explicit(&(field), memory_order_relaxed) + (n), \
                              memory_order_relaxed)

void series_add(struct series *s, int64_t n) {
        if (s && s->metric->type == METRIC_TIME)
                atomic_store_explicit(&s->sum, (double) now_wall_ns() / NSEC_PER_SEC, memory_order_relaxed);
        if (s)
                BUMP(s->value, n);
}

static uint64_t bits_of(double d) {
        uint64_t bits;

        memcpy(&bits, &d, sizeof(bits));
        return bits;
}

void series_observe_n(struct series *s, double value, int64_t n) {
        unsigned i = 0;

        if (!s)
                return;
        while (i < s->metric->n_buckets && value > s->metric->buckets[i])
                i++;
        if (i < s->metric->n_buckets)
                BUMP(s->buckets[i], (uint64_t) n);
        BUMP(s->value, n);
        BUMP(s->sum, value * (double) n);
}

void series_observe(struct series *s, double seconds) {
        if (s && s->metric->type == METRIC_SUMMARY) {
                unsigned i = (unsigned) s->value % s->metric->n_buckets;

                atomic_store_explicit(&s->buckets[i], bits_of(seconds), memory_order_relaxed);
                BUMP(s->value, 1);
                BUMP(s->sum, seconds);
        } else {
                series_observe_n(s, seconds, 1);
        }
}

/* ---- collecting ---- */

void metric_label(struct buf *dst, const char *name, struct str value) {
        if (dst->n > 0)
                buf_putc(dst, ',');
        buf_printf(dst, "%s=\"", name);
        for (size_t i = 0; i < value.n; i++) {
                if (value.p[i] == '"' || value.p[i] == '\\')
                        buf_putc(dst, '\\');
                buf_addc(dst, value.p[i] == '\n' ? "\\n" : "");
                if (value.p[i] != '\n')
                        buf_putc(dst, value.p[i]);
        }
        buf_putc(dst, '"');
}

void metric_header(struct buf *dst, const char *name, const char *type, const char *help) {
        buf_printf(dst, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* As Go prints numbers in metrics: the fewest digits that tell it, from a million on with an exponent. */
const char *metric_number(char dst[static 32], double v) {
        char digits[32];
        int precision = 0, exponent;

        if (!isfinite(v)) {
                snprintf(dst, 32, "%s", isnan(v) ? "NaN" : v < 0 ? "-Inf" : "+Inf");
                return dst;
        }
        if (v > -1e6 && v < 1e6 && v == (int) v) {
                snprintf(dst, 32, "%d", (int) v);
                return dst;
        }
        do
                snprintf(digits, sizeof(digits), "%.*e", precision, v);
        while (strtod(digits, NULL) != v && ++precision < 17);
        exponent = (int) strtol(strchr(digits, 'e') + 1, NULL, 10);
        if (exponent < -4 || exponent >= 6)
                snprintf(dst, 32, "%s", digits);
        else
                snprintf(dst, 32, "%.*f", MAX(precision - exponent, 0), v);
        return dst;
}

static int by_name(const void *a, const void *b) {
        const struct series *x = *(struct series *const *) a, *y = *(struct series *const *) b;
        int r = strcmp(x->metric->name, y->metric->name);

        return r ? r : strcmp(x->labels, y->labels);
}

int64_t metrics_unexpected(void) {
        int64_t n = 0;
        HOLD(&lock);

        for (struct shard *s = shards; allowed && s; s = s->next)
                for (struct series *x = atomic_load_explicit(&s->series, memory_order_acquire); x; x = x->next)
                        if (x->metric->type != METRIC_GAUGE)
                                n += x->unexpected * atomic_load_explicit(&x->value, memory_order_relaxed);
        return n;
}

static int64_t count_of(struct series *const *v, size_t n) {
        int64_t count = 0;

        for (size_t i = 0; i < n; i++)
                count += atomic_load_explicit(&v[i]->value, memory_order_relaxed) -
                         (v[i]->base ? v[i]->base->value : 0);
        return count;
}

void metrics_reset(const struct metric *that, bool only) {
        HOLD(&lock);

        for (struct shard *s = shards; s; s = s->next)
                for (struct series *x = atomic_load_explicit(&s->series, memory_order_acquire); x; x = x->next) {
                        const struct metric *m = x->metric;

                        if ((m->type != METRIC_COUNTER && m->type != METRIC_HISTOGRAM) || !*x->labels ||
                            (m == that) != only)
                                continue;
                        if (!x->base)
                                x->base = xcalloc(1, sizeof(*x->base) + m->n_buckets * sizeof(x->base->buckets[0]));
                        for (unsigned b = 0; b < m->n_buckets; b++)
                                x->base->buckets[b] = atomic_load_explicit(&x->buckets[b], memory_order_relaxed);
                        x->base->sum = atomic_load_explicit(&x->sum, memory_order_relaxed);
                        x->base->value = atomic_load_explicit(&x->value, memory_order_relaxed);
                }
}

static void write_sum(struct buf *dst, const struct metric *m, struct series *const *v, size_t n, int64_t count) {
        const char *labels = v[0]->labels;
        char text[2][32];
        double sum = 0;

        for (size_t i = 0; i < n; i++)
                sum += atomic_load_explicit(&v[i]->sum, memory_order_relaxed) - (v[i]->base ? v[i]->base->sum : 0);
        buf_printf(dst, *labels ? "%s_sum{%s} %s\n" : "%s_sum%s %s\n", m->name, labels, metric_number(text[0], sum));
        buf_printf(dst, *labels ? "%s_count{%s} %s\n" : "%s_count%s %s\n", m->name, labels,
                   metric_number(text[1], (double) count));
}

static void write_histogram(struct buf *dst, const struct metric *m, struct series *const *v, size_t n) {
        const char *labels = v[0]->labels, *comma = *labels ? "," : "";
        uint64_t below = 0;
        char text[2][32];

        for (unsigned b = 0; b < m->n_buckets; b++) {
                for (size_t i = 0; i < n; i++)
                        below += atomic_load_explicit(&v[i]->buckets[b], memory_order_relaxed) -
                                 (v[i]->base ? v[i]->base->buckets[b] : 0);
                buf_printf(dst, "%s_bucket{%s%sle=\"%s\"} %s\n", m->name, labels, comma,
                           metric_number(text[0], m->buckets[b]), metric_number(text[1], (double) below));
        }
        below = MAX(below, (uint64_t) count_of(v, n)); /* the threads go on counting meanwhile */
        buf_printf(dst, "%s_bucket{%s%sle=\"+Inf\"} %s\n", m->name, labels, comma,
                   metric_number(text[0], (double) below));
        write_sum(dst, m, v, n, (int64_t) below);
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return x < y ? -1 : x > y;
}

static void write_summary(struct buf *dst, const struct metric *m, struct series *const *v, size_t n) {
        static const double quantiles[] = { 0.5, 0.9, 0.99 };
        const char *labels = v[0]->labels, *comma = *labels ? "," : "";
        double *all = xcalloc(n * m->n_buckets, sizeof(*all));
        char text[32];
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                uint64_t has = MIN((uint64_t) count_of(&v[i], 1), m->n_buckets);

                for (uint64_t k = 0; k < has; k++) {
                        uint64_t bits = atomic_load_explicit(&v[i]->buckets[k], memory_order_relaxed);

                        memcpy(&all[kept++], &bits, sizeof(bits));
                }
        }
        qsort(all, kept, sizeof(*all), by_value);
        for (size_t q = 0; q < ARRAY_SIZE(quantiles) && kept > 0; q++)
                buf_printf(dst, "%s{%s%squantile=\"%g\"} %s\n", m->name, labels, comma, quantiles[q],
                           metric_number(text, all[(size_t) (quantiles[q] * (double) (kept - 1))]));
        free(all);
        write_sum(dst, m, v, n, count_of(v, n));
}

static void write_number(struct buf *dst, const struct metric *m, struct series *const *v, size_t n) {
        double sum = (double) count_of(v, n);
        char text[32];

        if (m->type == METRIC_FLAG)
                sum = MIN(sum, 1);
        if (m->type == METRIC_TIME)
                sum = 0;
        for (size_t i = 0; i < n && m->type == METRIC_TIME; i++)
                sum = MAX(sum, atomic_load_explicit(&v[i]->sum, memory_order_relaxed));
        buf_printf(dst, *v[0]->labels ? "%s{%s} %s\n" : "%s%s %s\n", m->name, v[0]->labels, metric_number(text, sum));
}

void metric_collect(struct buf *dst, const struct metric *only) {
        static const char *const types[] = { "counter", "gauge", "histogram", "gauge", "summary", "gauge" };
        VEC(struct series *) all = { 0 };
        const char *name = "";
        size_t n;

        HOLD(&lock);

        for (struct shard *s = shards; s; s = s->next)
                for (struct series *x = atomic_load_explicit(&s->series, memory_order_acquire); x; x = x->next)
                        if ((!x->base || count_of(&x, 1) != 0) && (!only || x->metric == only))
                                vec_push(&all, x);
        if (all.n > 1)
                qsort(all.v, all.n, sizeof(*all.v), by_name);
        for (size_t i = 0; i < all.n; i += n) {
                const struct metric *m = all.v[i]->metric;

                for (n = 1; i + n < all.n && by_name(&all.v[i], &all.v[i + n]) == 0;)
                        n++;
                if (strcmp(name, m->name) != 0)
                        metric_header(dst, m->name, types[m->type], m->help);
                name = m->name;
                if (m->type == METRIC_HISTOGRAM)
                        write_histogram(dst, m, all.v + i, n);
                else if (m->type == METRIC_SUMMARY)
                        write_summary(dst, m, all.v + i, n);
                else
                        write_number(dst, m, all.v + i, n);
        }
        vec_free(&all);
}

void metrics_collect(struct buf *dst) {
        metric_collect(dst, NULL);
}
