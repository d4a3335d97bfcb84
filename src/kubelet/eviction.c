/* Node pressure: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
 *
 *   every 10 s: memory.available, nodefs.available, nodefs.inodesFree
 *     below its threshold ─▶ condition of the Node (at least 5 min) ─▶ disk: images first ─▶ one pod goes, and again
 *
 * A pod beyond its own limits of local storage (storage.c) goes without pressure. Under pressure, the first to go uses
 * more than it asked for; among those the one with the lowest priority; then the one furthest above. */
#include "kubelet/internal.h"

#include <sys/statvfs.h>

#include "schema/quantity.h"

#define INTERVAL_MS (10 * 1000)
#define HOLD_NS (300 * NSEC_PER_SEC)
#define MIN_INODES_PERCENT 5

enum signal { SIGNAL_MEMORY, SIGNAL_DISK, SIGNAL_INODES, SIGNALS };

struct reading {
        int64_t available, threshold; /* threshold 0: none */
};

struct eviction {
        struct kubelet *k;
        struct timer timer;
        struct task task;
        bool stopping, told[SIGNALS];
        struct reading readings[SIGNALS];
        int64_t pressed_ns[SIGNALS]; /* monotonic: when last below; 0: never. Read by others through the functions below
                                      */
        char *uid, *message;         /* the chosen one, task → loop */
};

static const struct {
        const char *resource, *request;
} names[SIGNALS] = {
        [SIGNAL_MEMORY] = { "memory", "memory" },
        [SIGNAL_DISK] = { "ephemeral-storage", "ephemeral-storage" },
        [SIGNAL_INODES] = { "inodes", "ephemeral-storage" },
};

static bool held(struct kubelet *k, enum signal s) {
        int64_t at = k->eviction ? __atomic_load_n(&k->eviction->pressed_ns[s], __ATOMIC_RELAXED) : 0;

        return at != 0 && now_mono_ns() - at < HOLD_NS;
}

bool eviction_memory_pressure(struct kubelet *k) {
        return held(k, SIGNAL_MEMORY);
}

bool eviction_disk_pressure(struct kubelet *k) {
        return held(k, SIGNAL_DISK) || held(k, SIGNAL_INODES);
}

/* Upstream has no threshold for process ids unless one is configured. */
bool eviction_pid_pressure(struct kubelet *k) {
        return false;
}

static void measure(struct eviction *e) {
        const struct kubelet_options *o = &e->k->o;
        struct statvfs v;

        memset(e->readings, 0, sizeof(e->readings));
        if (o->eviction_memory_bytes > 0) {
                e->readings[SIGNAL_MEMORY].available = machine_memory_available(o->memory_bytes);
                e->readings[SIGNAL_MEMORY].threshold = o->eviction_memory_bytes;
        }
        if (o->eviction_disk_percent <= 0 || statvfs(o->root_dir, &v) < 0)
                return;
        e->readings[SIGNAL_DISK].available = (int64_t) (v.f_bavail * v.f_frsize);
        e->readings[SIGNAL_DISK].threshold = (int64_t) (v.f_blocks * v.f_frsize) / 100 * o->eviction_disk_percent;
        if (v.f_files > 0) {
                e->readings[SIGNAL_INODES].available = (int64_t) v.f_favail;
                e->readings[SIGNAL_INODES].threshold = (int64_t) v.f_files / 100 * MIN_INODES_PERCENT;
        }
}

/* ---- who ---- */

struct candidate {
        const struct pod_view *view;
        int64_t priority, used, requested;
};

static int64_t used_by(struct kubelet *k, const struct pod_view *v, enum signal s) {
        int64_t total = 0;

        for (size_t i = 0; i < v->n_containers; i++) {
                struct runtime_usage u = { 0 };

                if (!v->containers[i].running || runtime_container_usage(k->runtime, v->containers[i].id, &u, NULL) < 0)
                        continue;
                total += s == SIGNAL_MEMORY ? (int64_t) u.memory_working_set
                         : s == SIGNAL_DISK ? (int64_t) u.rootfs_bytes
                                            : (int64_t) u.rootfs_inodes;
        }
        return total;
}

static bool goes_before(const struct candidate *a, const struct candidate *b) {
        bool a_over = a->used > a->requested, b_over = b->used > b->requested;

        if (a_over != b_over)
                return a_over;
        if (a->priority != b->priority)
                return a->priority < b->priority;
        return a->used - a->requested > b->used - b->requested;
}

static bool may_go(const struct pod_view *v) {
        const struct json *pod = v->object ? object_json(v->object) : NULL;

        if (!pod || object_deleting(v->object) || json_int(json_at_path(pod, "spec", "priority")) >= 2000000000)
                return false;
        for (size_t i = 0; i < v->n_containers; i++)
                if (v->containers[i].running)
                        return true;
        return false;
}

static struct str print_bytes(char dst[static 64], int64_t n) {
        return quantity_print(dst, quantity_of_int(n, QUANTITY_BINARY_SI));
}

static void choose(struct eviction *e, enum signal s, struct pod_view *const *all, size_t n) {
        struct candidate best = { 0 };
        char a[64], b[64];

        for (size_t i = 0; i < n; i++) {
                struct candidate c = { .view = all[i] };

                if (!may_go(all[i]))
                        continue;
                c.priority = json_int(json_at_path(object_json(all[i]->object), "spec", "priority"));
                c.used = used_by(e->k, all[i], s);
                c.requested = s == SIGNAL_INODES ? 0
                                                 : pod_request(json_getc(object_json(all[i]->object), "spec"),
                                                               "requests", names[s].request, false);
                if (!best.view || goes_before(&c, &best))
                        best = c;
        }
        if (!best.view)
                return;
        e->uid = xstrdup(best.view->uid);
        e->message = xprintf("The node was low on resource: %s. Threshold quantity: %" STR_FMT ", available: %" STR_FMT
                             ". ",
                             names[s].resource, STR_ARG(print_bytes(a, e->readings[s].threshold)),
                             STR_ARG(print_bytes(b, e->readings[s].available)));
}

/* The signal under pressure, or SIGNALS. */
static enum signal find_pressure(struct eviction *e) {
        enum signal pressed = SIGNALS;

        measure(e);
        for (enum signal s = 0; s < SIGNALS; s++)
                if (e->readings[s].available < e->readings[s].threshold) {
                        if (!held(e->k, s))
                                log_warn("kubelet: node is low on %s", names[s].resource);
                        __atomic_store_n(&e->pressed_ns[s], now_mono_ns(), __ATOMIC_RELAXED);
                        pressed = MIN(pressed, s);
                }
        if (pressed == SIGNALS || pressed == SIGNAL_MEMORY)
                return pressed;
        images_collect(e->k);
        measure(e);
        return e->readings[pressed].available < e->readings[pressed].threshold ? pressed : SIGNALS;
}

static void run(struct task *t) {
        struct eviction *e = container_of(t, struct eviction, task);
        size_t n;

        logs_rotate(e->k); /* before they fill the disk */
        enum signal pressed = find_pressure(e);
        struct pod_view **all = view_all(e->k, &n);
        for (size_t i = 0; i < n && !e->uid; i++)
                if (may_go(all[i]) && storage_exceeds(e->k, all[i], &e->message))
                        e->uid = xstrdup(all[i]->uid);
        if (!e->uid && pressed != SIGNALS)
                choose(e, pressed, all, n);
        for (size_t i = 0; i < n; i++)
                view_unref(all[i]);
        free(all);
}

/* ---- the eviction ---- */

struct evict_message {
        struct pod_message message;
        char *text;
};

static void evict_apply(struct pod_message *m) {
        struct evict_message *v = container_of(m, struct evict_message, message);
        struct pod *p = m->pod;

        if (p->end == POD_RUNS) {
                pod_event(p, NULL, "Warning", "Evicted", "%s", v->text);
                set_string(&p->disruption, str_of(v->text));
                p->grace_s = 0;
                pod_end(p, "Failed", "Evicted", "%s", v->text);
        }
        free(v->text);
        free(v);
}

static void fire(struct timer *t) {
        struct eviction *e = container_of(t, struct eviction, timer);

        pool_submit(e->k->pool, &e->task);
}

static void done(struct task *t) {
        struct eviction *e = container_of(t, struct eviction, task);
        struct pod *p = e->uid ? pod_find(e->k, str_of(e->uid)) : NULL;

        if (p && !e->stopping) {
                struct evict_message *m = xcalloc(1, sizeof(*m));

                m->message.pod = p;
                m->message.apply = evict_apply;
                m->text = TAKE_PTR(e->message);
                pod_post(&m->message);
        }
        for (enum signal s = 0; s < SIGNALS; s++)
                if (held(e->k, s) != e->told[s]) {
                        e->told[s] = !e->told[s];
                        node_poke(e->k);
                }
        free(TAKE_PTR(e->uid));
        free(TAKE_PTR(e->message));
        if (!e->stopping)
                timer_start(e->k->loop, &e->timer, INTERVAL_MS, fire);
}

struct eviction *eviction_start(struct kubelet *k) {
        struct eviction *e = xnew(struct eviction, .k = k, .task.run = run, .task.done = done);

        timer_start(k->loop, &e->timer, INTERVAL_MS, fire);
        return e;
}

void eviction_stop(struct eviction *e) {
        e->stopping = true;
        timer_close(&e->timer, NULL);
}
