/* /metrics and /metrics/slis. What is counted as it happens is in base/metrics.h; here is what is measured when
 * somebody asks. */
#include <malloc.h>
#include <sys/resource.h>

#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "base/file.h"
#include "base/metrics.h"
#include "schema/types.h"

static void write_objects(struct apiserver *s, struct buf *b) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);

        metric_header(b, "apiserver_storage_objects", "gauge",
                      "Number of stored objects at the time of last check split by kind.");
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
                      "Gauge of APIServices which are marked as unavailable broken down by APIService name.");
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
        gauge(b, "go_goroutines", "gauge", "Number of goroutines that currently exist: here of threads.",
              (double) entries_of("/proc/self/task"));
        gauge(b, "go_threads", "gauge", "Number of OS threads created.", (double) entries_of("/proc/self/task"));
        gauge(b, "process_open_fds", "gauge", "Number of open file descriptors.",
              (double) entries_of("/proc/self/fd") - 1); /* the directory itself */
        write_memory(b);
        gauge(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
              (double) s->started_ns / NSEC_PER_SEC);
}

void metrics_write(struct apiserver *s, struct buf *b) {
        metrics_collect(b);
        flow_metrics(s, b);
        write_objects(s, b);
        write_api_services(s, b);
        metric_header(b, "apiserver_storage_size_bytes", "gauge",
                      "Size of the storage database file physically allocated in bytes.");
        buf_printf(b, "apiserver_storage_size_bytes{storage_cluster_id=\"store-0\"} %llu\n",
                   (unsigned long long) store_file_bytes(s->store));
        gauge(b, "apiserver_storage_revision", "gauge", "Revision of the store.", (double) store_revision(s->store));
        gauge(b, "apiserver_registered_watchers", "gauge",
              "Running watches, of clients and of the roles in this process.", (double) atomic_load(&s->watchers));
        metric_header(b, "kubernetes_build_info", "gauge",
                      "A metric with a constant '1' value labeled by the version this was built from.");
        buf_printf(b,
                   "kubernetes_build_info{build_date=\"1970-01-01T00:00:00Z\",compiler=\"gcc\",git_commit=\"\","
                   "git_tree_state=\"clean\",git_version=\"" GIT_VERSION "\",go_version=\"none (C17)\",major=\"1\","
                   "minor=\"33\",platform=\"linux/%s\"} 1\n",
                   server_architecture());
        metric_header(b, "kubernetes_feature_enabled", "gauge",
                      "This metric records the data about the stage and enablement of a k8s feature.");
        for (const struct apiserver_feature *f = apiserver_features; f->name; f++)
                buf_printf(b, "kubernetes_feature_enabled{name=\"%s\",stage=\"%s\"} %d\n", f->name, f->stage,
                           f->enabled);
        write_process(s, b);
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
