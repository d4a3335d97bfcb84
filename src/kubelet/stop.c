/* How a pod ends:
 *
 *   stop containers (all at once, sidecars after the rest, last first) ─▶ stop the sandbox ─▶ last status
 *     ─▶ volumes go ─▶ DELETE with grace 0 ─▶ containers, logs and directories go
 *
 * Stopping takes as long as the grace period: each is a task on the pool, and its end brings the next step. */
#include "kubelet/internal.h"

#include "base/file.h"
#include "schema/types.h"

#define MINIMUM_GRACE_MS 2000
#define AGAIN_MS 1000 /* after the runtime failed to stop it */

struct stop_task {
        struct pod_task task;
        char *name, *id, *ip;
        struct object *object;   /* keeps spec */
        const struct json *spec; /* of the container; NULL: unknown */
        int64_t until_ns;        /* monotonic */
        bool hook;
        int result;
};

static void run_pre_stop(struct stop_task *s) {
        const struct json *handler = json_at_path(s->spec, "lifecycle", "preStop");
        struct pod *p = s->task.pod;
        _cleanup_error_ struct error err = ERROR_INIT;
        int64_t left = (s->until_ns - kubelet_mono(p->k)) / NSEC_PER_MSEC;

        if (!handler || left <= 0)
                return;
        if (hook_run(p->k, handler, s->id, s->ip, s->spec, left, &err) >= 0)
                return;
        log_warn("kubelet: preStop hook of %s in pod %s/%s: %s", s->name, p->ns, p->name, error_text(&err));
        _cleanup_free_ char *path = xprintf("spec.containers{%s}", s->name);
        event_record(p->k->events, &res_pods, s->object, path, "Warning", "FailedPreStopHook", "PreStopHook failed");
}

static void stop_run(struct pod_task *t) {
        struct stop_task *s = container_of(t, struct stop_task, task);
        struct kubelet *k = t->pod->k;
        _cleanup_error_ struct error err = ERROR_INIT;

        if (s->hook)
                run_pre_stop(s);
        int64_t left = (s->until_ns - kubelet_mono(k)) / NSEC_PER_MSEC;
        s->result = runtime_stop_container(k->runtime, s->id, MAX(left, MINIMUM_GRACE_MS), &err);
        if (s->result < 0 && s->result != -ENOENT)
                log_warn("kubelet: stop %s of pod %s/%s: %s", s->name, t->pod->ns, t->pod->name, error_text(&err));
}

static void stop_applied(struct pod_task *t) {
        struct stop_task *s = container_of(t, struct stop_task, task);
        struct container *c = pod_container(t->pod, str_of(s->name));

        if (c) {
                c->stops--;
                c->stop_again_ns = s->result < 0 ? kubelet_mono(t->pod->k) + AGAIN_MS * NSEC_PER_MSEC : 0;
        }
        free_all(s->name, s->id, s->ip);
        object_unref(s->object);
        free(s);
}

void container_stop(struct container *c, int64_t grace_s, const char *fmt, ...) {
        struct pod *p = c->pod;
        int64_t until = time_after(kubelet_mono(p->k), grace_s);
        char text[512];

        /* Again only when it has to be over clearly sooner than the last time (kubectl delete --grace-period=1). */
        if (c->stops > 0 && until >= c->stop_until_ns - NSEC_PER_SEC / 2)
                return;
        if (kubelet_mono(p->k) < c->stop_again_ns)
                return pod_retry(p, AGAIN_MS);
        if (c->stops == 0) {
                variadic(ap, fmt, vsnprintf(text, sizeof(text), fmt, ap));
                pod_event(p, c, "Normal", "Killing", "%s", text);
        }
        struct stop_task *s = xnew(struct stop_task, .name = xstrdup(c->name), .id = xstrdup(c->status->id),
                                   .ip = xstrdup(p->ips[0]), .object = p->current ? object_ref(p->current) : NULL,
                                   .spec = c->spec, .until_ns = until, .hook = c->stops == 0, .task.run = stop_run,
                                   .task.apply = stop_applied);
        c->stops++;
        c->stop_until_ns = until;
        pod_submit(p, &s->task);
}

static bool is_stopped(const struct container *c) {
        return !c->status || (c->status->state != CONTAINER_RUNNING && c->status->state != CONTAINER_UNKNOWN);
}

/* Stops what has its turn. True when nothing runs any more. */
static bool stop_all(struct pod *p) {
        int64_t grace = pod_grace(p);
        bool apps_done = true;

        if (p->kill_until_ns == 0 || p->grace_s < 0 || grace < p->grace_s) {
                p->kill_until_ns = time_after(kubelet_mono(p->k), grace);
                p->grace_s = grace;
        }
        int64_t left = MAX((p->kill_until_ns - kubelet_mono(p->k) + NSEC_PER_SEC - 1) / NSEC_PER_SEC, 1);
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (is_stopped(c) || c->sidecar)
                        continue;
                apps_done = false;
                container_stop(c, left, "Stopping container %s", c->name);
        }
        for (size_t i = p->containers.n; apps_done && i-- > 0;) {
                struct container *c = p->containers.v[i];

                if (is_stopped(c) || !c->sidecar)
                        continue;
                container_stop(c, left, "Stopping container %s", c->name);
                return false;
        }
        return apps_done;
}

/* The node's traces of a pod: containers, sandboxes, logs, directory. */
static int remove_traces(struct pod *p, struct error *err) {
        while (p->sandboxes.n > 0) {
                int r = runtime_remove_sandbox(p->k->runtime, p->sandboxes.v[p->sandboxes.n - 1], err);
                if (r < 0 && r != -ENOENT)
                        return r;
                free(vec_pop(&p->sandboxes));
        }
        for (size_t i = 0; i < p->containers.n; i++)
                p->containers.v[i]->status = p->containers.v[i]->previous = NULL;
        p->sandbox = NULL;
        TRY(kubelet_remove_pod_dir(p->k, p->uid, err));
        return file_remove_tree(p->log_dir, err);
}

static void remove_links(struct pod *p) {
        for (size_t i = 0; i < p->containers.n && p->k->o.container_log_dir[0]; i++) {
                struct container *c = p->containers.v[i];
                const struct container_status *both[] = { c->status, c->previous };

                for (size_t j = 0; j < ARRAY_SIZE(both); j++) {
                        _cleanup_free_ char *link = both[j] ? xprintf("%s/%s_%s_%s-%s.log", p->k->o.container_log_dir,
                                                                      p->name, p->ns, c->name, both[j]->id)
                                                            : NULL;

                        if (link)
                                unlink(link);
                }
        }
}

static int stop_sandboxes(struct pod *p, struct error *err) {
        int r = 0;

        if (p->sandbox_stopped)
                return 0;
        for (size_t i = 0; r >= 0 && i < p->sandboxes.n; i++) {
                r = runtime_stop_sandbox(p->k->runtime, p->sandboxes.v[i], err);
                if (r == -ENOENT)
                        r = 0;
        }
        p->sandbox_stopped = r >= 0;
        return r;
}

static int finish(struct pod *p, struct error *err) {
        int r = stop_sandboxes(p, err);

        if (r < 0)
                return error_prefix(err, "stop sandbox");
        if (p->current && !p->is_absent && !p->final_sent) {
                p->is_final = true;
                TRY(pod_refresh(p, err));
                TRY(status_send(p, err));
                p->final_sent = true;
        }
        if (!p->volumes_released) {
                TRY(volumes_teardown(p, err));
                p->volumes_released = true;
        }
        if (p->current && !p->is_absent && !object_deleting(p->current)) {
                p->end = POD_ENDED;
                return 0;
        }
        if (!p->is_absent && !p->deleted_sent) {
                TRY(status_delete_pod(p, err));
                p->deleted_sent = true;
        }
        remove_links(p);
        r = remove_traces(p, err);
        if (r >= 0)
                p->end = POD_GONE;
        return r;
}

void pod_terminate(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!stop_all(p))
                return pod_retry(p, 10 * 1000);
        if (finish(p, &err) >= 0) {
                p->status_retry.tries = 0;
                return;
        }
        log_warn("kubelet: end of pod %s/%s: %s", p->ns, p->name, error_text(&err));
        pod_retry(p, retry_next(&p->status_retry, 100, 10 * 1000));
}
