/* One step of a pod, on a thread of the pool: look at what is wanted and what is, make the next moves, say how it is.
 *
 *   wanted (the API's object) ┐            ┌─▶ pod_run        sandbox, volumes, containers
 *                             ├─▶ pod_step ┤
 *   is (the runtime)          ┘            └─▶ pod_terminate  stop, report, delete, clean
 *
 * Nothing here depends on what was done before: each step starts from the two sides alone, so killing the kubelet
 * between any two lines loses nothing. */
#include "kubelet/internal.h"

/* The API says that it ended before we came (a restart of the kubelet): it does not run again. */
static void note_ended_before(struct pod *p) {
        if (!pod_has_ended(object_json(p->current)))
                return;
        p->end = POD_ENDS;
        p->final_sent = true;
}

static void note_deadline(struct pod *p) {
        int64_t seconds = json_int_or(json_getc(p->spec, "activeDeadlineSeconds"), -1);

        if (seconds < 0 || p->start_time_ns == 0)
                return;
        int64_t left = time_after(p->start_time_ns, seconds) - kubelet_now(p->k);
        if (left > 0)
                return pod_retry(p, left / NSEC_PER_MSEC + 1);
        pod_event(p, NULL, "Normal", "DeadlineExceeded",
                  "Pod was active on the node longer than the specified deadline");
        pod_end(p, "Failed", "DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
}

/* No app container runs or will run again: what is left are sidecars, which have nobody to serve. */
static bool is_done(struct pod *p) {
        bool any = false;

        for (size_t i = 0; i < p->containers.n; i++) {
                const struct container *c = p->containers.v[i];

                if (c->kind != CONTAINER_APP || !c->listed)
                        continue;
                if (!container_is(c, CONTAINER_EXITED) || container_restarts(c))
                        return false;
                any = true;
        }
        return any;
}

static void decide(struct pod *p) {
        if (p->end == POD_RUNS && p->current && !p->sent)
                note_ended_before(p);
        if (p->end != POD_RUNS)
                return;
        if (p->is_absent || !p->current || object_deleting(p->current)) {
                p->end = POD_ENDS;
                return;
        }
        note_deadline(p);
        if (p->end != POD_RUNS)
                return;
        const char *phase = phase_from_containers(p);
        if (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0 || is_done(p))
                p->end = POD_ENDS;
}

/* A container that we stopped has yet to start again: upstream does both at once, and tells of it afterwards. */
static bool is_restarting(const struct pod *p) {
        for (size_t i = 0; i < p->containers.n; i++) {
                const struct container *c = p->containers.v[i];

                if (c->restart_wanted && !c->waiting && container_is(c, CONTAINER_EXITED))
                        return true;
        }
        return false;
}

static void report(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (p->is_absent || !p->current || p->final_sent || p->end == POD_GONE ||
            (p->end == POD_RUNS && is_restarting(p)))
                return;
        if (p->renewed && pod_refresh(p, &err) < 0)
                log_debug("kubelet: pod %s/%s: %s", p->ns, p->name, error_text(&err));
        p->renewed = false;
        error_clear(&err);
        if (status_send(p, &err) < 0) {
                log_warn("kubelet: status of pod %s/%s: %s", p->ns, p->name, error_text(&err));
                pod_retry(p, retry_next(&p->status_retry, 100, 10 * 1000));
        } else
                p->status_retry.tries = 0;
}

void pod_step(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        p->again_ms = 0;
        if (p->end == POD_GONE)
                return;
        arena_reset(p->arena);
        p->spec = NULL;
        if (p->current)
                pod_load_spec(p);
        if (pod_refresh(p, &err) < 0) {
                log_warn("kubelet: pod %s/%s: %s", p->ns, p->name, error_text(&err));
                return pod_retry(p, 1000);
        }
        decide(p);
        if (p->end == POD_RUNS) {
                pod_run(p);
                decide(p);
        }
        if (p->end != POD_RUNS)
                pod_terminate(p);
        report(p);
}
