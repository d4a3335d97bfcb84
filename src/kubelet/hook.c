/* Lifecycle hooks: https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
 * A postStart hook is a task beside the pod's steps: until it ends the container counts as not started; when it fails
 * the container is stopped. A preStop hook runs in the task that stops the container. */
#include "kubelet/internal.h"

#include <limits.h>

#include "kubelet/check.h"

#define NAP_MS 250

static char **argv_of(struct arena *a, const struct json *command) {
        char **argv = arena_array(a, char *, json_len(command) + 1);
        size_t n = 0;

        json_each_item(it, command)
                argv[n++] = arena_cstr(a, json_str(it));
        return argv;
}

static int run_exec(struct kubelet *k, const struct json *exec, const char *container_id, int64_t timeout_ms,
                    struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf out = BUF_INIT, errout = BUF_INIT;
        int code = 0, r;

        r = runtime_exec_sync(k->runtime, container_id, argv_of(a, json_getc(exec, "command")),
                              (int) MIN(timeout_ms, INT_MAX), &out, &errout, &code, err);
        if (r >= 0 && code != 0)
                r = error_set(err, -EIO, "command exited with %d: %" STR_FMT "%" STR_FMT, code,
                              STR_ARG(buf_str(&errout)), STR_ARG(buf_str(&out)));
        return r;
}

/* In naps, so that the kubelet's stop need not wait for all of it. */
static void run_sleep(struct kubelet *k, int64_t seconds, int64_t timeout_ms) {
        int64_t until = now_mono_ms() + MIN(seconds * 1000, timeout_ms), left;

        while ((left = until - now_mono_ms()) > 0 && !__atomic_load_n(&k->stopping, __ATOMIC_RELAXED)) {
                struct timespec nap = { 0, MIN(left, (int64_t) NAP_MS) * NSEC_PER_MSEC };

                nanosleep(&nap, NULL);
        }
}

int hook_run(struct kubelet *k, const struct json *handler, const char *container_id, const char *ip,
             const struct json *container_spec, int64_t timeout_ms, struct error *err) {
        struct check_options o = {
                .k = k,
                .handler = handler,
                .container_spec = container_spec,
                .ip = ip,
                .timeout_ms = (unsigned) MIN(timeout_ms, INT_MAX),
                .user_agent = "kube-lifecycle/1.33",
        };

        if (json_getc(handler, "exec"))
                return run_exec(k, json_getc(handler, "exec"), container_id, timeout_ms, err);
        if (json_getc(handler, "sleep")) {
                run_sleep(k, json_int(json_at_path(handler, "sleep", "seconds")), timeout_ms);
                return 0;
        }
        return check_wait(&o, err);
}

/* ---- postStart ---- */

#define POST_START_MS (24 * 3600 * 1000LL) /* none upstream */

struct post_start {
        struct pod_task task;
        struct object *object;
        const struct json *spec;
        char *name, *id, *ip;
        int result;
        struct error error;
};

static void post_start_run(struct pod_task *t) {
        struct post_start *h = container_of(t, struct post_start, task);

        h->result = hook_run(t->pod->k, json_at_path(h->spec, "lifecycle", "postStart"), h->id, h->ip, h->spec,
                             POST_START_MS, &h->error);
}

static void post_start_applied(struct pod_task *t) {
        struct post_start *h = container_of(t, struct post_start, task);
        struct container *c = pod_container(t->pod, str_of(h->name));

        if (c && c->hook_id && strcmp(c->hook_id, h->id) == 0) {
                c->post_start = h->result < 0 ? JOB_FAILED : JOB_DONE;
                if (h->result < 0) {
                        pod_event(t->pod, c, "Warning", "FailedPostStartHook", "PostStartHook failed");
                        container_wait_reason(c, "PostStartHookError", "%s", error_text(&h->error));
                }
        }
        object_unref(h->object);
        error_clear(&h->error);
        free_all(h->name, h->id, h->ip, h);
}

void hook_post_start(struct container *c) {
        struct post_start *h = xnew(struct post_start, .object = object_ref(c->pod->current), .spec = c->spec,
                                    .name = xstrdup(c->name), .id = xstrdup(c->id), .ip = xstrdup(c->pod->ips[0]),
                                    .task.run = post_start_run, .task.apply = post_start_applied);

        c->post_start = JOB_RUNNING;
        set_string(&c->hook_id, str_of(h->id));
        pod_submit(c->pod, &h->task);
}
