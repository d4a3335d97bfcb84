/* Probes: one struct for each probe of each running container, on the loop, with a timer.
 *
 *   probes_update (after each step) ─ makes those of containers that run, ends the others
 *   timer ─▶ check (httpGet, tcpSocket, grpc: here) or task (exec: on the pool) ─▶ counted
 *         ─▶ threshold crossed: message to the pod
 *
 * A startup probe goes first; liveness and readiness begin when it has succeeded. A container that failed liveness is
 * not probed again: it is stopped, and the next one has an id, and probes, of its own. */
#include "kubelet/internal.h"

#include "base/lock.h"
#include "base/metrics.h"
#include "kubelet/check.h"
#include "schema/types.h"

static const struct {
        const char *field, *title;
        enum probe_result initial;
} kinds[PROBES] = {
        [PROBE_LIVENESS] = { "livenessProbe", "Liveness", PROBE_SUCCESS },
        [PROBE_READINESS] = { "readinessProbe", "Readiness", PROBE_FAILURE },
        [PROBE_STARTUP] = { "startupProbe", "Startup", PROBE_UNKNOWN },
};

struct exec_probe;

struct probe {
        struct pod *pod;
        char *container, *id, *ip;
        enum probe_kind kind;
        struct object *object; /* keeps spec */
        const struct json *container_spec, *spec;
        int64_t started_ns; /* wall clock: of the container */
        struct timer timer;
        struct check *check;
        struct exec_probe *exec;
        enum probe_result result; /* told */
        enum probe_result last;   /* of the last try */
        unsigned run;             /* how often in a row */
        uint64_t tries[2];        /* under the kubelet's lock: failed, successful */
        struct list link;         /* the same: of all probes */
};

/* ---- results ---- */

struct result_message {
        struct pod_message message;
        char *container, *id;
        enum probe_kind kind;
        enum probe_result result;
};

static void result_apply(struct pod_message *m) {
        struct result_message *r = container_of(m, struct result_message, message);
        struct container *c = pod_container(m->pod, str_of(r->container));

        if (c && c->id && strcmp(c->id, r->id) == 0) {
                if (!c->probed_id || strcmp(c->probed_id, r->id) != 0) {
                        memset(c->results, 0, sizeof(c->results));
                        set_string(&c->probed_id, str_of(r->id));
                }
                c->results[r->kind] = r->result;
        }
        free_all(r->container, r->id, r);
}

static void tell(struct probe *b) {
        struct result_message *r = xnew(struct result_message, .message.pod = b->pod, .message.apply = result_apply,
                                        .container = xstrdup(b->container), .id = xstrdup(b->id), .kind = b->kind,
                                        .result = b->result);

        pod_post(&r->message);
}

static void probe_event(struct probe *b, bool ok, const char *text) {
        _cleanup_free_ char *path = xprintf("spec.containers{%s}", b->container);

        event_record(b->pod->k->events, &res_pods, b->object, path, "Warning", ok ? "ProbeWarning" : "Unhealthy",
                     "%s probe %s: %s", kinds[b->kind].title, ok ? "warning" : "failed", text);
}

static void schedule(struct probe *b, int64_t ms);

/* Seconds or times; more than a million is as good as for ever. */
static unsigned setting(const struct probe *b, const char *key, int64_t dflt) {
        return (unsigned) MIN(MAX(json_int_or(json_getc(b->spec, key), dflt), 1), 1000000);
}

static void tried(struct probe *b, enum check_result result, const char *text) {
        bool ok = result != CHECK_FAILURE;
        enum probe_result now = ok ? PROBE_SUCCESS : PROBE_FAILURE;
        unsigned threshold = ok ? setting(b, "successThreshold", 1) : setting(b, "failureThreshold", 3);

        if (result != CHECK_SUCCESS)
                probe_event(b, ok, text);
        with_lock(&b->pod->k->lock)
                b->tries[ok]++;
        b->run = b->last == now ? b->run + 1 : 1;
        b->last = now;
        if (b->run >= threshold && b->result != now) {
                b->result = now;
                tell(b);
                /* It goes, or it has started: nothing more to find out. */
                if ((b->kind != PROBE_READINESS && !ok) || b->kind == PROBE_STARTUP)
                        return;
        }
        schedule(b, 1000LL * setting(b, "periodSeconds", 10));
}

/* ---- exec ---- */

struct exec_probe {
        struct task task;
        struct probe *probe; /* NULL: it was ended meanwhile */
        struct kubelet *k;
        struct pod *pod;
        struct object *object;
        const struct json *spec;
        char *id;
        int timeout_ms;
        bool ok;
        struct buf text;
};

static void exec_run(struct task *t) {
        struct exec_probe *e = container_of(t, struct exec_probe, task);
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct json *command = json_at_path(e->spec, "exec", "command");
        char **argv = arena_array(a, char *, json_len(command) + 1);
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_buf_ struct buf out = BUF_INIT, errout = BUF_INIT;
        int code = 0, r;
        size_t n = 0;

        json_each_item(it, command)
                argv[n++] = arena_cstr(a, json_str(it));
        r = runtime_exec_sync(e->k->runtime, e->id, argv, e->timeout_ms, &out, &errout, &code, &err);
        e->ok = r >= 0 && code == 0;
        if (r == -ETIMEDOUT)
                buf_printf(&e->text, "command timed out: \"%s\" timed out after %ds", n ? argv[0] : "",
                           e->timeout_ms / 1000);
        else if (r < 0)
                buf_addc(&e->text, error_text(&err));
        else {
                buf_add_str(&e->text, buf_str(&out));
                buf_add_str(&e->text, str_sub(buf_str(&errout), 0, 10 * 1024));
        }
        buf_putc(&e->text, 0);
}

static void exec_done(struct task *t) {
        struct exec_probe *e = container_of(t, struct exec_probe, task);

        e->pod->tasks--;
        if (e->probe) {
                e->probe->exec = NULL;
                tried(e->probe, e->ok ? CHECK_SUCCESS : CHECK_FAILURE, e->text.p);
        } else
                pod_poke(e->pod);
        object_unref(e->object);
        buf_free(&e->text);
        free(e->id);
        free(e);
}

static void start_exec(struct probe *b) {
        struct exec_probe *e = xnew(struct exec_probe, .probe = b, .k = b->pod->k, .pod = b->pod,
                                    .object = object_ref(b->object), .spec = b->spec, .id = xstrdup(b->id),
                                    .timeout_ms = setting(b, "timeoutSeconds", 1) * 1000, .task.run = exec_run,
                                    .task.done = exec_done, .task.lasting = true);

        b->exec = e;
        b->pod->tasks++;
        pool_submit(b->pod->k->pool, &e->task);
}

/* ---- timing ---- */

static void check_done(enum check_result result, const char *text, void *arg) {
        struct probe *b = arg;

        b->check = NULL;
        tried(b, result, text);
}

static void fire(struct timer *t) {
        struct probe *b = container_of(t, struct probe, timer);

        if (json_getc(b->spec, "exec"))
                start_exec(b);
        else
                b->check = check_start(&(struct check_options) {
                                .k = b->pod->k,
                                .handler = b->spec,
                                .container_spec = b->container_spec,
                                .ip = b->ip,
                                .timeout_ms = setting(b, "timeoutSeconds", 1) * 1000,
                                .user_agent = "kube-probe/1.33",
                                .done = check_done,
                                .arg = b,
                });
}

static void schedule(struct probe *b, int64_t ms) {
        timer_start(b->pod->k->loop, &b->timer, (uint64_t) MAX(ms, 0), fire);
}

static void probe_freed(struct timer *t) {
        struct probe *b = container_of(t, struct probe, timer);

        object_unref(b->object);
        free_all(b->container, b->id, b->ip, b);
}

static void probe_end(struct probe *b) {
        with_lock(&b->pod->k->lock)
                list_del(&b->link);
        if (b->check)
                check_cancel(b->check);
        if (b->exec)
                b->exec->probe = NULL;
        timer_close(&b->timer, probe_freed);
}

static void probe_start(struct pod *p, struct container *c, enum probe_kind kind) {
        struct probe *b = xcalloc(1, sizeof(*b));

        b->pod = p;
        b->container = xstrdup(c->name);
        b->id = xstrdup(c->id);
        b->ip = xstrdup(json_bool(json_getc(p->spec, "hostNetwork")) ? p->k->o.node_ips[0] : p->ips[0]);
        b->kind = kind;
        b->object = object_ref(p->current);
        b->container_spec = c->spec;
        b->spec = json_getc(c->spec, kinds[kind].field);
        b->result = kinds[kind].initial;
        vec_push(&p->probes, b);
        with_lock(&p->k->lock)
                list_push(&p->k->probes, &b->link);
        int64_t delay = json_int(json_getc(b->spec, "initialDelaySeconds")) * NSEC_PER_SEC;
        schedule(b, (c->status->started_ns + delay - kubelet_now(p->k)) / NSEC_PER_MSEC);
}

/* ---- which there are ---- */

static bool wants(struct pod *p, struct container *c, enum probe_kind kind) {
        bool started = kind == PROBE_STARTUP || container_started(c);

        if (!c || !c->listed || !c->is_running || !c->status || !json_getc(c->spec, kinds[kind].field))
                return false;
        if (p->end != POD_RUNS && kind != PROBE_READINESS)
                return false;
        return started && c->kind != CONTAINER_EPHEMERAL && (c->kind == CONTAINER_APP || c->sidecar);
}

static struct probe *find(struct pod *p, const struct container *c, enum probe_kind kind) {
        for (size_t i = 0; i < p->probes.n; i++)
                if (p->probes.v[i]->kind == kind && strcmp(p->probes.v[i]->id, c->id) == 0)
                        return p->probes.v[i];
        return NULL;
}

void probes_update(struct pod *p) {
        for (size_t i = 0; i < p->probes.n;) {
                struct probe *b = p->probes.v[i];
                struct container *c = pod_container(p, str_of(b->container));

                if (c && c->id && strcmp(c->id, b->id) == 0 && wants(p, c, b->kind)) {
                        i++;
                        continue;
                }
                vec_remove(&p->probes, i);
                probe_end(b);
        }
        if (!p->current || p->is_absent)
                return;
        for (size_t i = 0; i < p->containers.n; i++)
                for (enum probe_kind kind = 0; kind < PROBES; kind++)
                        if (wants(p, p->containers.v[i], kind) && !find(p, p->containers.v[i], kind))
                                probe_start(p, p->containers.v[i], kind);
}

void probes_free(struct pod *p) {
        while (p->probes.n > 0)
                probe_end(vec_pop(&p->probes));
}

void probes_metrics(struct kubelet *k, struct buf *dst) {
        HOLD(&k->lock);

        metric_header(dst, "prober_probe_total", "counter",
                      "Cumulative number of a liveness, readiness or startup probe for a container by result.");
        list_each(struct probe, b, &k->probes, link) {
                for (int ok = 0; ok < 2; ok++)
                        if (b->tries[ok] > 0)
                                buf_printf(dst,
                                           "prober_probe_total{container=\"%s\",namespace=\"%s\",pod=\"%s\",pod_uid="
                                           "\"%s\",probe_type=\"%s\",result=\"%s\"} %llu\n",
                                           b->container, b->pod->ns, b->pod->name, b->pod->uid, kinds[b->kind].title,
                                           ok ? "successful" : "failed", (unsigned long long) b->tries[ok]);
        }
}
