/* /metrics and /metrics/slis. What is counted as it happens is in base/metrics.h; here is what is measured when somebody
 * asks. */
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "apiserver/flow/flow.h"
#include "apiserver/metrics.h"
#include "base/file.h"
#include "base/metrics.h"

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
        write_memory(b);
        gauge(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.",
              (double) s->started_ns / NSEC_PER_SEC);
}

void metrics_write(struct apiserver *s, struct buf *b) {
        metrics_collect(b);
        flow_metrics(s, b);
        write_objects(s, b);
        gauge(b, "apiserver_storage_revision", "gauge", "Revision of the store.", (double) store_revision(s->store));
        gauge(b, "apiserver_registered_watchers", "gauge", "Running watches, of clients and of the roles in this process.",
              (double) atomic_load(&s->watchers));
        metric_header(b, "kubernetes_build_info", "gauge",
                      "A metric with a constant '1' value labeled by the version this was built from.");
        buf_addc(b, "kubernetes_build_info{git_version=\"" GIT_VERSION "\",major=\"1\",minor=\"33\"} 1\n");
        write_process(s, b);
}
