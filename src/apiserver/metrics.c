/* /metrics and /metrics/slis. What is counted as it happens is in base/metrics.h; here is what is measured when
 * somebody asks. */
#include <ctype.h>
#include <malloc.h>
#include <sys/resource.h>

#include "apiserver/allocator.h"
#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "apiserver/watch.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/metrics.h"
#include "json/yaml.h"
#include "schema/types.h"

static void write_objects(struct apiserver *s, struct buf *b) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);

        metric_header(b, "apiserver_storage_objects", "gauge",
                      "[STABLE] Number of stored objects at the time of last check split by kind. In case of a "
                      "fetching error, the value will be -1.");
        for (size_t i = 0; i < s->n_rests; i++) {
                const struct rest *r = &s->rest_table[i];

                if (r->stored != r || r->resource->transient || r->resource == &res_componentstatuses)
                        continue;
                buf_printf(b, "apiserver_storage_objects{resource=\"%" STR_FMT "\"} %zu\n", STR_ARG(r->qualified),
                           store_count(snap, r->prefix, r->prefix));
        }
}

/* Upstream's caches of what is watched, which here is the store itself: they are all there, and as new as it. */
static void write_caches(struct apiserver *s, struct buf *b) {
        const struct {
                const char *name, *type, *help;
                uint64_t value;
        } metrics[] = {
                { "watch_cache_capacity", "gauge", "[ALPHA] Total capacity of watch cache broken by resource type.",
                  100 },
                { "apiserver_watch_cache_initializations_total", "counter",
                  "[ALPHA] Counter of watch cache initializations broken by resource type.", 1 },
                { "apiserver_watch_cache_resource_version", "gauge",
                  "[ALPHA] Current resource version of watch cache broken by resource type.",
                  store_revision(s->store) },
        };

        for (size_t m = 0; m < ARRAY_SIZE(metrics); m++) {
                metric_header(b, metrics[m].name, metrics[m].type, metrics[m].help);
                for (size_t i = 0; i < s->n_rests; i++) {
                        const struct rest *r = &s->rest_table[i];

                        if (r->stored == r && (r->resource->verbs & VERB_WATCH) && r->resource != &res_events)
                                buf_printf(b, "%s{resource=\"%" STR_FMT "\"} %llu\n", metrics[m].name,
                                           STR_ARG(r->qualified), (unsigned long long) metrics[m].value);
                }
        }
}

/* What the store publishes is at once in the cache, and told to whoever watches: one number under three names. */
static void write_events(struct buf *b) {
        static const char *const names[][2] = {
                { "apiserver_storage_events_received_total", "[ALPHA] Number of etcd events received split by kind." },
                { "apiserver_watch_cache_events_dispatched_total",
                  "[ALPHA] Counter of events dispatched in watch cache broken by resource type." },
        };
        _cleanup_buf_ struct buf text = BUF_INIT;

        metric_collect(&text, &watch_received);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                metric_header(b, names[i][0], "counter", names[i][1]);
                str_each(line, buf_str(&text), '\n')
                        if (str_find(line, '{') >= 0 && line.p[0] != '#')
                                buf_printf(b, "%s%" STR_FMT "\n", names[i][0],
                                           STR_ARG(str_sub(line, (size_t) str_find(line, '{'), line.n)));
        }
}

/* Groups of other servers; those of this one are always there. */
static void write_api_services(struct apiserver *s, struct buf *b) {
        static const char *const service[] = { "spec", "service", "name", NULL };
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct str prefix = rest_of(s, &res_apiservices)->prefix;

        metric_header(b, "aggregator_unavailable_apiservice", "gauge",
                      "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.");
        store_each(it, snap, prefix) {
                bool away = json_scan(object_text(it.object), service).n > 0;

                if (away)
                        json_each_item(c, json_at_path(object_json(it.object), "status", "conditions"))
                                if (str_eqc(json_str(json_getc(c, "type")), "Available"))
                                        away = !str_eqc(json_str(json_getc(c, "status")), "True");
                buf_printf(b, "aggregator_unavailable_apiservice{name=\"%" STR_FMT "\"} %d\n",
                           STR_ARG(object_name(it.object)), away);
        }
}

static void gauge(struct buf *b, const char *name, const char *type, const char *help, double value) {
        char text[32];

        metric_header(b, name, type, help);
        buf_printf(b, "%s %s\n", name, metric_number(text, value));
}

static void write_memory(struct buf *b) {
        struct memory m = memory_taken();

        gauge(b, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.", (double) m.virtual);
        gauge(b, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", (double) m.resident);
}

static size_t entries_of(const char *path) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        size_t n = 0;

        while (d && readdir(d))
                n++;
        return n > 2 ? n - 2 : 0; /* ".", ".." */
}

/* Of all interfaces: proc(5), /proc/net/dev: "name: bytes packets …", the ninth is what was sent. */
static void write_network(struct buf *b) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str name, field;
        uint64_t sums[2] = { 0 };

        if (file_read("/proc/self/net/dev", 1 << 20, &text, NULL) < 0)
                return;
        str_each(line, buf_str(&text), '\n') {
                if (str_find(line, ':') < 0 || !str_split(&line, ':', &name))
                        continue;
                for (size_t i = 0; i < 9;) {
                        uint64_t n = 0;

                        if (!str_split(&line, ' ', &field))
                                break;
                        if (str_empty(field))
                                continue;
                        str_to_u64(field, &n);
                        sums[i > 0] += i == 0 || i == 8 ? n : 0;
                        i++;
                }
        }
        gauge(b, "process_network_receive_bytes_total", "counter",
              "Number of bytes received by the process over the network.", (double) sums[0]);
        gauge(b, "process_network_transmit_bytes_total", "counter",
              "Number of bytes sent by the process over the network.", (double) sums[1]);
}

static void write_process(struct apiserver *s, struct buf *b) {
        struct rusage u;
        struct rlimit files;

        getrusage(RUSAGE_SELF, &u);
        gauge(b, "process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
              (double) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                              (double) (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
        if (getrlimit(RLIMIT_NOFILE, &files) == 0)
                gauge(b, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                      (double) files.rlim_cur);
        gauge(b, "go_goroutines", "gauge", "Number of goroutines that currently exist.",
              (double) entries_of("/proc/self/task"));
        gauge(b, "go_threads", "gauge", "Number of OS threads created.", (double) entries_of("/proc/self/task"));
        gauge(b, "process_open_fds", "gauge", "Number of open file descriptors.",
              (double) entries_of("/proc/self/fd") - 1); /* the directory itself */
        write_memory(b);
        if (getrlimit(RLIMIT_AS, &files) == 0)
                gauge(b, "process_virtual_memory_max_bytes", "gauge",
                      "Maximum amount of virtual memory available in bytes.", (double) files.rlim_cur);
        write_network(b);
        gauge(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
              (double) s->started_ns / NSEC_PER_SEC);
}

/* ---- families ---- */

/* What upstream tells from its start on, whether or not it happens, and what can happen never here. */
static const double from_10us_by_4[] = { 1e-05,   4e-05,   0.00016, 0.00064, 0.00256,
                                         0.01024, 0.04096, 0.16384, 0.65536, 2.62144 },
                    usual[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 },
                    from_5us_by_2[] = { 5e-06,   1e-05,   2e-05,   4e-05,   8e-05,   0.00016, 0.00032,
                                        0.00064, 0.00128, 0.00256, 0.00512, 0.01024, 0.02048, 0.04096 },
                    objects[] = { 10, 50, 100, 500, 1000, 2500, 5000 },
                    request_seconds[] = { 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1,  1.25, 1.5, 2, 3,
                                          4,    5,   6,   8,   10,  15,  20, 30,   45,  60 },
                    ages[] = { 600,       1800,      3600,       14400,      86400,      604800,
                               2.592e+06, 7.776e+06, 1.5552e+07, 3.1104e+07, 1.24416e+08 };
#define BOUNDS(b) b, ARRAY_SIZE(b)
static const struct zero {
        const char *name, *type, *help, *labels;
        const double *bounds;
        size_t n_bounds;
} zeros[] = {
        { "aggregator_discovery_aggregation_count_total", "counter",
          "[ALPHA] Counter of number of times discovery was aggregated", "" },
        { "apiextensions_apiserver_validation_ratcheting_seconds", "histogram",
          "[ALPHA] Time for comparison of old to new for the purposes of CRDValidationRatcheting during an UPDATE in "
          "seconds.",
          "", BOUNDS(from_10us_by_4) },
        { "apiserver_audit_event_total", "counter",
          "[ALPHA] Counter of audit events generated and sent to the audit backend.", "" },
        { "apiserver_audit_requests_rejected_total", "counter",
          "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.", "" },
        { "apiserver_cel_compilation_duration_seconds", "histogram", "[BETA] CEL compilation time in seconds.", "",
          BOUNDS(usual) },
        { "apiserver_cel_evaluation_duration_seconds", "histogram", "[BETA] CEL evaluation time in seconds.", "",
          BOUNDS(usual) },
        { "apiserver_envelope_encryption_dek_cache_fill_percent", "gauge",
          "[ALPHA] Percent of the cache slots currently occupied by cached DEKs.", "" },
        { "apiserver_kube_aggregator_x509_insecure_sha1_total", "counter",
          "[ALPHA] Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate "
          "OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime "
          "environment)",
          "" },
        { "apiserver_kube_aggregator_x509_missing_san_total", "counter",
          "[ALPHA] Counts the number of requests to servers missing SAN extension in their serving certificate OR the "
          "number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based "
          "on the runtime environment)",
          "" },
        { "apiserver_nodeport_repair_reconcile_errors_total", "counter",
          "[ALPHA] Number of reconciliation failures on the nodeport repair reconcile loop", "" },
        { "apiserver_storage_data_key_generation_duration_seconds", "histogram",
          "[ALPHA] Latencies in seconds of data encryption key(DEK) generation operations.", "",
          BOUNDS(from_5us_by_2) },
        { "apiserver_storage_data_key_generation_failures_total", "counter",
          "[ALPHA] Total number of failed data encryption key(DEK) generation operations.", "" },
        { "apiserver_storage_envelope_transformation_cache_misses_total", "counter",
          "[ALPHA] Total number of cache misses while accessing key decryption key(KEK).", "" },
        { "apiserver_tls_handshake_errors_total", "counter",
          "[ALPHA] Number of requests dropped with 'TLS handshake error from' error", "" },
        { "apiserver_validation_declarative_validation_mismatch_total", "counter",
          "[BETA] Number of times declarative validation results differed from handwritten validation results for core "
          "types.",
          "" },
        { "apiserver_validation_declarative_validation_panic_total", "counter",
          "[BETA] Number of times declarative validation has panicked during validation.", "" },
        { "apiserver_webhooks_x509_insecure_sha1_total", "counter",
          "[ALPHA] Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate "
          "OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime "
          "environment)",
          "" },
        { "apiserver_webhooks_x509_missing_san_total", "counter",
          "[ALPHA] Counts the number of requests to servers missing SAN extension in their serving certificate OR the "
          "number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based "
          "on the runtime environment)",
          "" },
        { "etcd_lease_object_counts", "histogram", "[ALPHA] Number of objects attached to a single etcd lease.", "",
          BOUNDS(objects) },
        { "field_validation_request_duration_seconds", "histogram",
          "[ALPHA] Response latency distribution in seconds for each field validation value", "field_validation=\"\"",
          BOUNDS(request_seconds) },
        { "hidden_metrics_total", "counter", "[BETA] The count of hidden metrics.", "" },
        { "rest_client_exec_plugin_certificate_rotation_age", "histogram",
          "[ALPHA] Histogram of the number of seconds the last auth exec plugin client certificate lived before being "
          "rotated. If auth exec plugin client certificates are unused, histogram will contain no data.",
          "", BOUNDS(ages) },
        { "rest_client_transport_cache_entries", "gauge", "[ALPHA] Number of transport entries in the internal cache.",
          "" },
        { "serviceaccount_invalid_legacy_auto_token_uses_total", "counter",
          "[ALPHA] Cumulative invalid auto-generated legacy tokens used", "" },
        { "serviceaccount_legacy_auto_token_uses_total", "counter",
          "[ALPHA] Cumulative auto-generated legacy tokens used", "" },
        { "serviceaccount_legacy_manual_token_uses_total", "counter",
          "[ALPHA] Cumulative manually created legacy tokens used", "" },
        { "serviceaccount_legacy_tokens_total", "counter", "[ALPHA] Cumulative legacy service account tokens used",
          "" },
        { "serviceaccount_stale_tokens_total", "counter",
          "[ALPHA] Cumulative stale projected service account tokens used", "" },
        { "serviceaccount_valid_tokens_total", "counter",
          "[ALPHA] Cumulative valid projected service account tokens used", "" },
};

static void write_zero(struct buf *dst, const struct zero *z) {
        const char *comma = *z->labels ? "," : "", *open = *z->labels ? "{" : "", *close = *z->labels ? "}" : "";

        if (z->n_bounds == 0)
                return gauge(dst, z->name, z->type, z->help, 0);
        metric_header(dst, z->name, z->type, z->help);
        for (size_t i = 0; i < z->n_bounds; i++)
                buf_printf(dst, "%s_bucket{%s%sle=\"%g\"} 0\n", z->name, z->labels, comma, z->bounds[i]);
        buf_printf(dst, "%s_bucket{%s%sle=\"+Inf\"} 0\n%s_sum%s%s%s 0\n%s_count%s%s%s 0\n", z->name, z->labels, comma,
                   z->name, open, z->labels, close, z->name, open, z->labels, close);
}

struct family {
        struct str name, text;
};

static int by_name(const void *a, const void *b) {
        return str_compare(&((const struct family *) a)->name, &((const struct family *) b)->name);
}

static bool is_disabled(struct str name, struct str list) {
        return str_is_part(name, ',', list) ||
               str_eqc(name, "kubernetes_healthchecks_total"); /* told at /metrics/slis */
}

/* How many families there are of each stability, by what their help begins with. */
static void write_registered(struct buf *b, struct str all) {
        static const char *const levels[] = { "ALPHA", "BETA", "STABLE" };
        size_t n[ARRAY_SIZE(levels)] = { 0 };

        str_each(line, all, '\n')
                for (size_t i = 0; str_has_prefix(line, STR("# HELP ")) && i < ARRAY_SIZE(levels); i++)
                        n[i] += str_search(line, str_of(levels[i])) > 0;
        for (size_t z = 0; z < ARRAY_SIZE(zeros); z++)
                for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                        n[i] += str_has_prefix(str_of(zeros[z].help + 1), str_of(levels[i]));
        metric_header(b, "registered_metrics_total", "counter",
                      "[BETA] The count of registered metrics broken by stability level and deprecation version.");
        for (size_t i = 0; i < ARRAY_SIZE(levels); i++)
                buf_printf(b, "registered_metrics_total{deprecated_version=\"\",stability_level=\"%s\"} %zu\n",
                           levels[i], n[i]);
}

/* In order of their names, each once, and no zero where something was counted. */
static void write_families(struct buf *dst, struct str all, struct str disabled) {
        static const struct str help = STR_INIT("# HELP ");
        VEC(struct family) v = { 0 };

        while (all.n > 0) {
                struct family f = { .text = all };
                struct str rest = str_sub(all, help.n, all.n);
                ssize_t end = str_search(rest, STR("\n# HELP "));

                str_split(&rest, ' ', &f.name);
                if (end >= 0)
                        f.text.n = help.n + (size_t) end + 1;
                all = str_sub(all, f.text.n, all.n);
                vec_push(&v, f);
        }
        qsort(v.v, v.n, sizeof(*v.v), by_name);
        for (size_t i = 0, z = 0; i <= v.n; i++) {
                for (; z < ARRAY_SIZE(zeros); z++) {
                        struct str zero = str_of(zeros[z].name);
                        int order = i < v.n ? str_compare(&zero, &v.v[i].name) : -1;

                        if (order > 0)
                                break;
                        if (order < 0 && !is_disabled(zero, disabled))
                                write_zero(dst, &zeros[z]);
                }
                if (i < v.n && !is_disabled(v.v[i].name, disabled))
                        buf_add_str(dst, v.v[i].text);
        }
        vec_free(&v);
}

/* ---- --allow-metric-labels ---- */

static bool is_name(struct str s, bool colons) {
        for (size_t i = 0; i < s.n; i++)
                if (!(isalpha((unsigned char) s.p[i]) || s.p[i] == '_' || (colons && s.p[i] == ':') ||
                      (i > 0 && isdigit((unsigned char) s.p[i]))))
                        return false;
        return s.n > 0;
}

/* METRIC,LABEL=VALUES, or several of them as a line of CSV. */
static int allow_labels(const struct apiserver *s, struct error *err) {
        const char *text;

        for (size_t i = 0; (text = server_flag_next(s, "allow-metric-labels", &i));) {
                bool one = strchr(text, '=') == strrchr(text, '=');
                struct str rest = str_of(text);

                while (rest.n > 0) {
                        bool quoted = !one && rest.p[0] == '"';
                        struct str pair = one ? rest : str_sub(rest, quoted, rest.n), metric = { 0 }, label = { 0 };
                        ssize_t end = one ? -1 : str_find(pair, quoted ? '"' : ',');

                        pair.n = end < 0 ? pair.n : (size_t) end;
                        rest = str_sub(rest, MIN(rest.n, (size_t) (pair.p - rest.p) + pair.n + 1), rest.n);
                        if (quoted && rest.n)
                                rest = str_sub(rest, 1, rest.n);
                        str_split(&pair, '=', &label);
                        str_split(&label, ',', &metric);
                        if (!is_name(metric, true) || !is_name(label, false))
                                return error_set(err, -EINVAL,
                                                 "--allow-metric-labels must have a list of kv pair with format "
                                                 "`metricName,labelName=labelValue, labelValue,...`");
                        metrics_allow(metric, label, pair);
                }
        }
        return 0;
}

int metrics_configure(struct apiserver *s, struct error *err) {
        const char *path = server_flag(s, "allow-metric-labels-manifest", NULL);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_error_ struct error e = ERROR_INIT;
        struct json *doc = NULL;

        TRY(allow_labels(s, err));
        if (!path || server_flag(s, "allow-metric-labels", NULL))
                return 0;
        if (file_read(path, 1 << 20, &text, &e) < 0 || yaml_parse(a, buf_str(&text), NULL, &doc, &e) < 0)
                log_error("no labels of metrics are chosen: %s", error_text(&e)); /* as upstream, which goes on */
        json_each_member(m, doc) {
                struct str label = json_key(m), metric = { 0 };

                str_split(&label, ',', &metric);
                metrics_allow(metric, label, json_str(&m->value));
        }
        return 0;
}

static void write_all(struct apiserver *s, struct buf *b) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct apiserver_feature *f;
        double n_disabled = 0;

        str_each(one, str_of(server_flag(s, "disabled-metrics", "")), ',')
                n_disabled += one.n > 0;
        gauge(b, "disabled_metrics_total", "counter", "[BETA] The count of disabled metrics.", n_disabled);
        gauge(b, "cardinality_enforcement_unexpected_categorizations_total", "counter",
              "[ALPHA] The count of unexpected categorizations during cardinality enforcement.",
              (double) metrics_unexpected());
        flow_sample(s);
        metrics_collect(b);
        write_events(b);
        flow_metrics(s, b);
        allocator_metrics(s, snap, b);
        write_caches(s, b);
        write_objects(s, b);
        write_api_services(s, b);
        metric_header(b, "apiserver_storage_size_bytes", "gauge",
                      "[STABLE] Size of the storage database file physically allocated in bytes.");
        buf_printf(b, "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} %llu\n",
                   (unsigned long long) store_file_bytes(s->store));
        metric_header(b, "kubernetes_build_info", "gauge",
                      "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, "
                      "git tree state, build date, Go version, and compiler from which Kubernetes was built, and "
                      "platform on which it is running.");
        buf_printf(b,
                   "kubernetes_build_info{build_date=\"1970-01-01T00:00:00Z\",compiler=\"gcc\",git_commit=\"\","
                   "git_tree_state=\"clean\",git_version=\"" GIT_VERSION "\",go_version=\"none (C17)\",major=\"1\","
                   "minor=\"33\",platform=\"linux/%s\"} 1\n",
                   server_architecture());
        metric_header(b, "kubernetes_feature_enabled", "gauge",
                      "[BETA] This metric records the data about the stage and enablement of a k8s feature.");
        for (size_t i = 0, n = apiserver_features(a, &f); i < n; i++)
                buf_printf(b, "kubernetes_feature_enabled{name=\"%" STR_FMT "\",stage=\"%s\"} %d\n", STR_ARG(f[i].name),
                           f[i].stage, server_feature(s, f[i].name));
        write_process(s, b);
}

void metrics_write(struct apiserver *s, struct buf *dst) {
        _cleanup_buf_ struct buf all = BUF_INIT;

        write_all(s, &all);
        write_registered(&all, buf_str(&all));
        write_families(dst, buf_str(&all), str_of(server_flag(s, "disabled-metrics", "")));
}

/* ---- /debug/pprof: where memory and time are, in our own terms ---- */

static void debug_index(struct buf *b) {
        buf_addc(b, "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n<a href=\"heap\">heap</a><br>\n<a "
                    "href=\"threads\">threads</a><br>\n</body>\n</html>\n");
}

/* There are no names for addresses: the one that Go's tool asks for is that there are any. */
static void debug_symbol(struct buf *b) {
        buf_addc(b, "num_symbols: 1\n");
}

static void debug_heap(struct buf *b) {
        struct mallinfo2 m = mallinfo2();

        buf_printf(b, "allocated %zu\nfree %zu\nmapped %zu\nfrom_system %zu\ntrimmable %zu\n", m.uordblks + m.hblkhd,
                   m.fordblks, m.hblkhd, m.arena + m.hblkhd, m.keepcost);
        file_read("/proc/self/smaps_rollup", 4096, b, NULL);
}

/* One line for each thread: "name user-ticks system-ticks". */
static void debug_threads(struct buf *b) {
        _cleanup_(closedirp) DIR *d = opendir("/proc/self/task");

        dir_each(e, d) {
                _cleanup_free_ char *path = xprintf("/proc/self/task/%s/stat", e->d_name);
                _cleanup_buf_ struct buf text = BUF_INIT;
                struct str s, field, user = { 0 }, sys = { 0 };

                if (e->d_name[0] == '.' || file_read(path, 4096, &text, NULL) < 0)
                        continue;
                s = buf_str(&text);
                ssize_t open = str_find(s, '(');
                ssize_t close = str_rfind(s, ')');
                if (open < 0 || close < open)
                        continue;
                buf_printf(b, "%" STR_FMT, STR_ARG(str_sub(s, (size_t) open + 1, (size_t) close)));
                s = str_sub(s, (size_t) close + 2, s.n);
                for (int i = 3; i <= 15 && str_split(&s, ' ', &field); i++) { /* proc(5): 14 utime, 15 stime */
                        user = i == 14 ? field : user;
                        sys = i == 15 ? field : sys;
                }
                buf_printf(b, " %" STR_FMT " %" STR_FMT "\n", STR_ARG(user), STR_ARG(sys));
        }
}

bool debug_write(struct str page, struct buf *dst) {
        static const struct {
                const char *name;
                void (*write)(struct buf *b);
        } pages[] = {
                { "", debug_index }, { "heap", debug_heap }, { "symbol", debug_symbol }, { "threads", debug_threads }
        };

        for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                if (str_eqc(page, pages[i].name)) {
                        pages[i].write(dst);
                        return true;
                }
        return false;
}
