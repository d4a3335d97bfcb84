/* /metrics and /metrics/slis. What is counted as it happens is in base/metrics.h; here is what is measured when
 * somebody asks. */
#include <ctype.h>
#include <malloc.h>
#include <sys/resource.h>

#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "base/file.h"
#include "base/log.h"
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

                if (r->stored != r || r->resource->transient)
                        continue;
                buf_printf(b, "apiserver_storage_objects{resource=\"%" STR_FMT "\"} %zu\n", STR_ARG(r->qualified),
                           store_count(snap, r->prefix, r->prefix));
        }
}

/* Groups of other servers; those of this one are always there. */
static void write_api_services(struct apiserver *s, struct buf *b) {
        static const char *const service[] = { "spec", "service", "name", NULL };
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        struct str prefix = rest_of(s, &res_apiservices)->prefix;
        struct store_iter it;

        metric_header(b, "aggregator_unavailable_apiservice", "gauge",
                      "[ALPHA] Gauge of APIServices which are marked as unavailable broken down by APIService name.");
        store_iter_init(&it, snap, prefix, prefix);
        while (store_iter_next(&it)) {
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
        metric_header(b, name, type, help);
        buf_printf(b, "%s %.15g\n", name, value);
}

static void write_memory(struct buf *b) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct str rest, field;
        uint64_t pages[2] = { 0 };

        if (file_read("/proc/self/statm", 256, &text, NULL) < 0)
                return;
        rest = buf_str(&text);
        for (size_t i = 0; i < 2 && str_split(&rest, ' ', &field); i++) /* size, resident, … */
                str_to_u64(field, &pages[i]);
        gauge(b, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
              (double) pages[0] * (double) sysconf(_SC_PAGESIZE));
        gauge(b, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
              (double) pages[1] * (double) sysconf(_SC_PAGESIZE));
}

static size_t entries_of(const char *path) {
        _cleanup_(closedirp) DIR *d = opendir(path);
        size_t n = 0;

        while (d && readdir(d))
                n++;
        return n > 2 ? n - 2 : 0; /* ".", ".." */
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
        gauge(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
              (double) s->started_ns / NSEC_PER_SEC);
}

/* ---- families ---- */

/* What upstream counts from its start on, whether or not it happens, and what can happen never here. */
static const struct {
        const char *name, *help;
} zeros[] = {
        { "apiserver_audit_event_total", "[ALPHA] Counter of audit events generated and sent to the audit backend." },
        { "apiserver_audit_requests_rejected_total",
          "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend." },
        { "apiserver_kube_aggregator_x509_insecure_sha1_total",
          "[ALPHA] Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate "
          "OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime "
          "environment)" },
        { "apiserver_kube_aggregator_x509_missing_san_total",
          "[ALPHA] Counts the number of requests to servers missing SAN extension in their serving certificate OR the "
          "number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based "
          "on the runtime environment)" },
        { "apiserver_nodeport_repair_reconcile_errors_total",
          "[ALPHA] Number of reconciliation failures on the nodeport repair reconcile loop" },
        { "apiserver_storage_data_key_generation_failures_total",
          "[ALPHA] Total number of failed data encryption key(DEK) generation operations." },
        { "apiserver_storage_envelope_transformation_cache_misses_total",
          "[ALPHA] Total number of cache misses while accessing key decryption key(KEK)." },
        { "apiserver_validation_declarative_validation_mismatch_total",
          "[BETA] Number of times declarative validation results differed from handwritten validation results for "
          "core types." },
        { "apiserver_validation_declarative_validation_panic_total",
          "[BETA] Number of times declarative validation has panicked during validation." },
        { "apiserver_webhooks_x509_insecure_sha1_total",
          "[ALPHA] Counts the number of requests to servers with insecure SHA1 signatures in their serving certificate "
          "OR the number of connection failures due to the insecure SHA1 signatures (either/or, based on the runtime "
          "environment)" },
        { "apiserver_webhooks_x509_missing_san_total",
          "[ALPHA] Counts the number of requests to servers missing SAN extension in their serving certificate OR the "
          "number of connection failures due to the lack of x509 certificate SAN extension missing (either/or, based "
          "on the runtime environment)" },
        { "hidden_metrics_total", "[BETA] The count of hidden metrics." },
        { "serviceaccount_invalid_legacy_auto_token_uses_total",
          "[ALPHA] Cumulative invalid auto-generated legacy tokens used" },
        { "serviceaccount_legacy_auto_token_uses_total", "[ALPHA] Cumulative auto-generated legacy tokens used" },
        { "serviceaccount_legacy_manual_token_uses_total", "[ALPHA] Cumulative manually created legacy tokens used" },
        { "serviceaccount_legacy_tokens_total", "[ALPHA] Cumulative legacy service account tokens used" },
        { "serviceaccount_stale_tokens_total", "[ALPHA] Cumulative stale projected service account tokens used" },
        { "serviceaccount_valid_tokens_total", "[ALPHA] Cumulative valid projected service account tokens used" },
};

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
                                gauge(dst, zeros[z].name, "counter", zeros[z].help, 0);
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
        struct str disabled = str_of(server_flag(s, "disabled-metrics", "")), one;
        double n_disabled = 0;

        while (str_split(&disabled, ',', &one))
                n_disabled += one.n > 0;
        gauge(b, "disabled_metrics_total", "counter", "[BETA] The count of disabled metrics.", n_disabled);
        gauge(b, "cardinality_enforcement_unexpected_categorizations_total", "counter",
              "[ALPHA] The count of unexpected categorizations during cardinality enforcement.",
              (double) metrics_unexpected());
        metrics_collect(b);
        flow_metrics(s, b);
        write_objects(s, b);
        write_api_services(s, b);
        metric_header(b, "apiserver_storage_size_bytes", "gauge",
                      "[STABLE] Size of the storage database file physically allocated in bytes.");
        buf_printf(b, "apiserver_storage_size_bytes{storage_cluster_id=\"store-0\"} %llu\n",
                   (unsigned long long) store_file_bytes(s->store));
        gauge(b, "apiserver_storage_revision", "gauge", "Revision of the store.", (double) store_revision(s->store));
        gauge(b, "apiserver_registered_watchers", "gauge",
              "Running watches, of clients and of the roles in this process.", (double) atomic_load(&s->watchers));
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
        for (const struct apiserver_feature *f = apiserver_features; f->name; f++)
                buf_printf(b, "kubernetes_feature_enabled{name=\"%s\",stage=\"%s\"} %d\n", f->name, f->stage,
                           f->enabled);
        write_process(s, b);
}

void metrics_write(struct apiserver *s, struct buf *dst) {
        _cleanup_buf_ struct buf all = BUF_INIT;

        write_all(s, &all);
        write_families(dst, buf_str(&all), str_of(server_flag(s, "disabled-metrics", "")));
}

/* ---- /debug/pprof: where memory and time are, in our own terms ---- */

static void debug_index(struct buf *b) {
        buf_addc(b, "heap\nthreads\n");
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
        struct dirent *e;

        while (d && (e = readdir(d))) {
                _cleanup_free_ char *path = xprintf("/proc/self/task/%s/stat", e->d_name);
                _cleanup_buf_ struct buf text = BUF_INIT;
                struct str s, field, user = { 0 }, sys = { 0 };
                ssize_t open, close;

                if (e->d_name[0] == '.' || file_read(path, 4096, &text, NULL) < 0)
                        continue;
                s = buf_str(&text);
                open = str_find(s, '(');
                close = str_rfind(s, ')');
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
        } pages[] = { { "", debug_index }, { "heap", debug_heap }, { "threads", debug_threads } };

        for (size_t i = 0; i < ARRAY_SIZE(pages); i++)
                if (str_eqc(page, pages[i].name)) {
                        pages[i].write(dst);
                        return true;
                }
        return false;
}
