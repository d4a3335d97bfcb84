/* A few numbers that operators look at first. Counters are relaxed atomics: /metrics costs the request path one add. */
#include <stdio.h>
#include <unistd.h>

#include "apiserver/metrics.h"
#include "base/file.h"

static const char *const groups[] = { "GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "DELETE", "DELETECOLLECTION" };

static void header(struct buf *b, const char *name, const char *type, const char *help) {
        buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_objects(struct apiserver *s, struct buf *b) {
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);

        header(b, "apiserver_storage_objects", "gauge", "Number of stored objects by resource.");
        for (size_t i = 0; i < s->n_rests; i++) {
                const struct rest *r = &s->rest_table[i];
                size_t n;

                if (r->stored != r || r->resource->transient)
                        continue;
                n = store_count(snap, r->prefix, r->prefix);
                if (n > 0)
                        buf_printf(b, "apiserver_storage_objects{resource=\"%" STR_FMT "\"} %zu\n",
                                   STR_ARG(r->qualified), n);
        }
}

static size_t resident_bytes(void) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str text, field;
        uint64_t pages = 0;

        if (file_read("/proc/self/statm", 256, &b, NULL) < 0)
                return 0;
        text = buf_str(&b);
        str_split(&text, ' ', &field); /* size, resident, … */
        if (str_split(&text, ' ', &field))
                str_to_u64(field, &pages);
        return (size_t) pages * (size_t) sysconf(_SC_PAGESIZE);
}

void metrics_write(struct apiserver *s, struct buf *b) {
        header(b, "apiserver_request_total", "counter", "Requests by verb and class of HTTP code.");
        for (size_t v = 0; v < ARRAY_SIZE(groups); v++)
                for (size_t c = 1; c < 6; c++) {
                        unsigned long long n = atomic_load_explicit(&s->requests[v][c], memory_order_relaxed);

                        if (n > 0)
                                buf_printf(b, "apiserver_request_total{verb=\"%s\",code=\"%zuxx\"} %llu\n", groups[v],
                                           c, n);
                }
        header(b, "apiserver_longrunning_requests", "gauge",
               "Running watches, of clients and of the roles in this process.");
        buf_printf(b, "apiserver_longrunning_requests{verb=\"WATCH\"} %zu\n", atomic_load(&s->watchers));
        header(b, "apiserver_storage_revision", "gauge", "Revision of the store.");
        buf_printf(b, "apiserver_storage_revision %llu\n", (unsigned long long) store_revision(s->store));
        write_objects(s, b);
        header(b, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.");
        buf_printf(b, "process_resident_memory_bytes %zu\n", resident_bytes());
        header(b, "process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.");
        buf_printf(b, "process_start_time_seconds %lld\n", (long long) (s->started_ns / NSEC_PER_SEC));
}
