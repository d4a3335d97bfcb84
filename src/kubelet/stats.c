/* What the node and its pods use: /stats/summary, /metrics/resource, /metrics/cadvisor. Asking the runtime blocks, so
 * it is a task. https://kubernetes.io/docs/reference/instrumentation/node-metrics/ */
#include "kubelet/server.h"

#include <sys/statvfs.h>

#include "base/file.h"
#include "base/metrics.h"
#include "json/build.h"

struct container_usage {
        const struct container_view *view;
        struct runtime_usage use;
};

struct pod_usage {
        struct pod_view *view;
        uint64_t rx, tx;
        struct container_usage *containers;
        size_t n;
};

struct gather {
        struct task task;
        struct live live;
        struct kubelet *k;
        struct http_request *request; /* NULL: the client is gone */
        void (*render)(struct gather *g, struct buf *out);
        const char *type;
        struct arena *arena;
        struct pod_usage *pods;
        size_t n;
        uint64_t node_cpu_ns;
        int64_t node_available, now_ns;
        struct statvfs fs;
        uint64_t image_bytes, image_inodes;
        struct buf out;
};

/* ---- numbers ---- */

static uint64_t node_cpu(void) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        unsigned long long v[8] = { 0 };

        if (file_read("/proc/stat", 1 << 20, &b, NULL) < 0)
                return 0;
        buf_putc(&b, 0);
        sscanf(b.p, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6],
               &v[7]);
        return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) * (NSEC_PER_SEC / 100);
}

static void gather_pod(struct gather *g, struct pod_usage *u, struct pod_view *v) {
        struct runtime_usage sum = { 0 };

        u->view = v;
        u->containers = arena_array(g->arena, struct container_usage, v->n_containers + 1);
        if (v->sandbox_id)
                runtime_sandbox_usage(g->k->runtime, v->sandbox_id, &sum, &u->rx, &u->tx, NULL);
        for (size_t i = 0; i < v->n_containers; i++) {
                struct container_usage *c = &u->containers[u->n];

                if (!v->containers[i].running ||
                    runtime_container_usage(g->k->runtime, v->containers[i].id, &c->use, NULL) < 0)
                        continue;
                c->view = &v->containers[i];
                u->n++;
        }
}

static void gather_run(struct task *t) {
        struct gather *g = container_of(t, struct gather, task);
        size_t n;
        struct pod_view **all = view_all(g->k, &n);

        g->pods = arena_array(g->arena, struct pod_usage, n + 1);
        for (size_t i = 0; i < n; i++)
                gather_pod(g, &g->pods[g->n++], all[i]);
        free(all);
        g->now_ns = kubelet_now(g->k);
        g->node_cpu_ns = node_cpu();
        g->node_available = machine_memory_available(g->k->o.memory_bytes);
        statvfs(g->k->o.root_dir, &g->fs);
        runtime_image_usage(g->k->runtime, &g->image_bytes, &g->image_inodes, NULL);
        g->render(g, &g->out);
        for (size_t i = 0; i < n; i++)
                view_unref(g->pods[i].view);
}

static void gather_done(struct task *t) {
        struct gather *g = container_of(t, struct gather, task);

        if (g->request)
                http_respond_copy(g->request, 200, g->type, buf_str(&g->out));
        server_live_remove(g->k, &g->live);
        buf_free(&g->out);
        arena_free(g->arena);
        free(g);
}

static void gather_gone(struct http_request *r, void *arg) {
        ((struct gather *) arg)->request = NULL;
}

static void gather_end(struct live *l) {
        /* it is over soon by itself */
}

static void start(struct http_request *r, struct kubelet *k, const char *type,
                  void (*render)(struct gather *g, struct buf *out)) {
        struct gather *g =
                        xnew(struct gather, .k = k, .request = r, .type = type, .render = render, .arena = arena_new(0),
                             .task.run = gather_run, .task.done = gather_done, .task.loop = http_request_loop(r));

        server_live_add(k, &g->live, gather_end);
        http_request_on_close(r, gather_gone, g);
        pool_submit(k->pool, &g->task);
}

/* ---- /stats/summary ---- */

static struct json cpu_json(struct gather *g, uint64_t ns) {
        return json_build(g->arena, "{ time: %t, usageCoreNanoSeconds: %l }", g->now_ns, (int64_t) ns);
}

static struct json memory_json(struct gather *g, const struct runtime_usage *u, int64_t available) {
        struct json bytes = json_of_int(available);

        return json_build(g->arena,
                          "{ time: %t, availableBytes: %j, usageBytes: %l, workingSetBytes: %l, rssBytes: %l,"
                          "  pageFaults: %l, majorPageFaults: %l }",
                          g->now_ns, available >= 0 ? &bytes : NULL, (int64_t) u->memory_bytes,
                          (int64_t) u->memory_working_set, (int64_t) u->memory_rss, (int64_t) u->memory_page_faults,
                          (int64_t) u->memory_major_page_faults);
}

static struct json fs_json(struct gather *g, int64_t used, int64_t inodes_used) {
        return json_build(g->arena,
                          "{ time: %t, availableBytes: %l, capacityBytes: %l, usedBytes: %l, inodesFree: %l,"
                          "  inodes: %l, inodesUsed: %l }",
                          g->now_ns, (int64_t) (g->fs.f_bavail * g->fs.f_frsize),
                          (int64_t) (g->fs.f_blocks * g->fs.f_frsize), used, (int64_t) g->fs.f_favail,
                          (int64_t) g->fs.f_files, inodes_used);
}

static struct json container_json(struct gather *g, const struct container_usage *c) {
        struct json cpu = cpu_json(g, c->use.cpu_ns), memory = memory_json(g, &c->use, -1),
                    rootfs = fs_json(g, (int64_t) c->use.rootfs_bytes, (int64_t) c->use.rootfs_inodes);

        return json_build(g->arena, "{ name: %c, startTime: %t, cpu: %j, memory: %j, rootfs: %j }", c->view->name,
                          c->view->started_ns, &cpu, &memory, &rootfs);
}

static void add_up(struct runtime_usage *sum, const struct runtime_usage *u) {
        sum->cpu_ns += u->cpu_ns;
        sum->memory_bytes += u->memory_bytes;
        sum->memory_working_set += u->memory_working_set;
        sum->memory_rss += u->memory_rss;
        sum->memory_page_faults += u->memory_page_faults;
        sum->memory_major_page_faults += u->memory_major_page_faults;
        sum->pids += u->pids;
        sum->rootfs_bytes += u->rootfs_bytes;
        sum->rootfs_inodes += u->rootfs_inodes;
}

static struct json pod_json(struct gather *g, const struct pod_usage *p) {
        struct json containers = json_new_array(), cpu, memory, storage;
        struct runtime_usage sum = { 0 };
        int64_t started = 0;

        for (size_t i = 0; i < p->n; i++) {
                json_push(g->arena, &containers, container_json(g, &p->containers[i]));
                add_up(&sum, &p->containers[i].use);
                started = started ? MIN(started, p->containers[i].view->started_ns) : p->containers[i].view->started_ns;
        }
        cpu = cpu_json(g, sum.cpu_ns);
        memory = memory_json(g, &sum, -1);
        storage = fs_json(g, (int64_t) sum.rootfs_bytes, (int64_t) sum.rootfs_inodes);
        return json_build(g->arena,
                          "{ podRef: { name: %c, namespace: %c, uid: %c }, startTime: %t, containers: %j, cpu: %j,"
                          "  memory: %j, network: { time: %t, name: 'eth0', rxBytes: %l, txBytes: %l },"
                          "  ephemeral-storage: %j, process_stats: { process_count: %l } }",
                          p->view->name, p->view->ns, p->view->uid, started, &containers, &cpu, &memory, g->now_ns,
                          (int64_t) p->rx, (int64_t) p->tx, &storage, (int64_t) sum.pids);
}

static void render_summary(struct gather *g, struct buf *out) {
        uint64_t used = (uint64_t) MAX(g->k->o.memory_bytes - g->node_available, 0);
        struct runtime_usage use = { .memory_bytes = used, .memory_working_set = used };
        struct json cpu = cpu_json(g, g->node_cpu_ns), memory = memory_json(g, &use, g->node_available),
                    fs = fs_json(g, (int64_t) ((g->fs.f_blocks - g->fs.f_bfree) * g->fs.f_frsize),
                                 (int64_t) (g->fs.f_files - g->fs.f_ffree)),
                    images = fs_json(g, (int64_t) g->image_bytes, (int64_t) g->image_inodes), pods = json_new_array(),
                    o;

        for (size_t i = 0; i < g->n; i++)
                if (g->pods[i].n)
                        json_push(g->arena, &pods, pod_json(g, &g->pods[i]));
        o = json_build(g->arena,
                       "{ node: { nodeName: %c, cpu: %j, memory: %j, fs: %j, runtime: { imageFs: %j } }, pods: %j }",
                       g->k->o.node_name, &cpu, &memory, &fs, &images, &pods);
        json_write_pretty(out, &o, 1, 0);
}

void serve_stats_summary(struct http_request *r, const struct route_args *a) {
        start(r, a->k, "application/json", render_summary);
}

/* ---- Prometheus ---- */

#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* c NULL: of the pod. cAdvisor's have more labels. */
static void put_sample(struct gather *g, struct buf *out, const char *name, const struct pod_view *pod,
                       const struct container_view *c, bool cadvisor, double value) {
        buf_printf(out, "%s{container=\"%s\",", name, c ? c->name : "");
        if (cadvisor)
                buf_printf(out, "%simage=\"%s\",name=\"%s\",", strstr(name, "_cpu_") ? "cpu=\"total\"," : "",
                           c && c->image ? c->image : "", c ? c->id : "");
        buf_printf(out, "namespace=\"%s\",pod=\"%s\"} %.14g %lld\n", pod->ns, pod->name, value,
                   (long long) (g->now_ns / NSEC_PER_MSEC));
}

typedef double value_fn(const struct container_usage *c);

/* pods: a line for the containers of each together, too. */
static void each_container(struct gather *g, struct buf *out, const char *name, const char *type, const char *help,
                           value_fn *value, bool cadvisor, bool pods) {
        metric_header(out, name, type, help);
        for (size_t i = 0; i < g->n; i++) {
                const struct pod_usage *p = &g->pods[i];
                struct container_usage sum = { 0 };

                for (size_t j = 0; j < p->n; j++) {
                        put_sample(g, out, name, p->view, p->containers[j].view, cadvisor, value(&p->containers[j]));
                        add_up(&sum.use, &p->containers[j].use);
                }
                if (pods && p->n)
                        put_sample(g, out, name, p->view, NULL, cadvisor, value(&sum));
        }
}

static double cpu_seconds(const struct container_usage *c) {
        return (double) c->use.cpu_ns / NSEC_PER_SEC;
}

static double working_set(const struct container_usage *c) {
        return (double) c->use.memory_working_set;
}

static double started(const struct container_usage *c) {
        return (double) c->view->started_ns / NSEC_PER_SEC;
}

static double usage_bytes(const struct container_usage *c) {
        return (double) c->use.memory_bytes;
}

static double rss_bytes(const struct container_usage *c) {
        return (double) c->use.memory_rss;
}

static double fs_bytes(const struct container_usage *c) {
        return (double) c->use.rootfs_bytes;
}

/* The same of each pod: its containers together. */
static void each_pod(struct gather *g, struct buf *out, const char *name, const char *type, const char *help,
                     value_fn *value) {
        metric_header(out, name, type, help);
        for (size_t i = 0; i < g->n; i++) {
                struct container_usage sum = { 0 };

                for (size_t j = 0; j < g->pods[i].n; j++)
                        add_up(&sum.use, &g->pods[i].containers[j].use);
                if (g->pods[i].n)
                        buf_printf(out, "%s{namespace=\"%s\",pod=\"%s\"} %.14g %lld\n", name, g->pods[i].view->ns,
                                   g->pods[i].view->name, value(&sum), (long long) (g->now_ns / NSEC_PER_MSEC));
        }
}

static void render_resource(struct gather *g, struct buf *out) {
        long long now = (long long) (g->now_ns / NSEC_PER_MSEC);

        each_container(g, out, "container_cpu_usage_seconds_total", "counter",
                       "[STABLE] Cumulative cpu time consumed by the container in core-seconds", cpu_seconds, false,
                       false);
        each_container(g, out, "container_memory_working_set_bytes", "gauge",
                       "[STABLE] Current working set of the container in bytes", working_set, false, false);
        each_container(g, out, "container_start_time_seconds", "gauge",
                       "[STABLE] Start time of the container since unix epoch in seconds", started, false, false);
        metric_header(out, "node_cpu_usage_seconds_total", "counter",
                      "[STABLE] Cumulative cpu time consumed by the node in core-seconds");
        buf_printf(out, "node_cpu_usage_seconds_total %.14g %lld\n", (double) g->node_cpu_ns / NSEC_PER_SEC, now);
        metric_header(out, "node_memory_working_set_bytes", "gauge",
                      "[STABLE] Current working set of the node in bytes");
        buf_printf(out, "node_memory_working_set_bytes %lld %lld\n",
                   (long long) (g->k->o.memory_bytes - g->node_available), now);
        each_pod(g, out, "pod_cpu_usage_seconds_total", "counter",
                 "[STABLE] Cumulative cpu time consumed by the pod in core-seconds", cpu_seconds);
        each_pod(g, out, "pod_memory_working_set_bytes", "gauge", "[STABLE] Current working set of the pod in bytes",
                 working_set);
        metric_header(out, "resource_scrape_error", "gauge",
                      "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise");
        buf_addc(out, "resource_scrape_error 0\n");
}

void serve_metrics_resource(struct http_request *r, const struct route_args *a) {
        start(r, a->k, TEXT_TYPE, render_resource);
}

static void each_network(struct gather *g, struct buf *out, const char *name, const char *help, bool sent) {
        metric_header(out, name, "counter", help);
        for (size_t i = 0; i < g->n; i++) {
                const struct pod_view *v = g->pods[i].view;

                if (v->sandbox_id && !v->host_network)
                        buf_printf(out,
                                   "%s{container=\"\",image=\"\",interface=\"eth0\",name=\"%s\",namespace=\"%s\",pod="
                                   "\"%s\"} "
                                   "%llu %lld\n",
                                   name, v->sandbox_id, v->ns, v->name,
                                   (unsigned long long) (sent ? g->pods[i].tx : g->pods[i].rx),
                                   (long long) (g->now_ns / NSEC_PER_MSEC));
        }
}

static void render_cadvisor(struct gather *g, struct buf *out) {
        static const struct {
                const char *name, *type, *help;
                value_fn *value;
        } metrics[] = {
                { "container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.",
                  cpu_seconds },
                { "container_memory_working_set_bytes", "gauge", "Current working set in bytes.", working_set },
                { "container_memory_usage_bytes", "gauge",
                  "Current memory usage in bytes, including all memory regardless of when it was accessed",
                  usage_bytes },
                { "container_memory_rss", "gauge", "Size of RSS in bytes.", rss_bytes },
                { "container_fs_usage_bytes", "gauge",
                  "Number of bytes that are consumed by the container on this filesystem.", fs_bytes },
                { "container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.",
                  started },
        };

        for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
                each_container(g, out, metrics[i].name, metrics[i].type, metrics[i].help, metrics[i].value, true,
                               metrics[i].value != started);
        each_network(g, out, "container_network_receive_bytes_total", "Cumulative count of bytes received", false);
        each_network(g, out, "container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", true);
        metric_header(out, "machine_cpu_cores", "gauge", "Number of logical CPU cores.");
        buf_printf(out, "machine_cpu_cores %lld\n", (long long) g->k->machine->cpus);
        metric_header(out, "machine_memory_bytes", "gauge", "Amount of memory installed on the machine.");
        buf_printf(out, "machine_memory_bytes %lld\n", (long long) g->k->machine->memory_bytes);
}

void serve_metrics_cadvisor(struct http_request *r, const struct route_args *a) {
        start(r, a->k, TEXT_TYPE, render_cadvisor);
}
