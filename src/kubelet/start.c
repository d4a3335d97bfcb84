/* How a pod comes to run, and goes on running:
 *
 *   directories ─▶ volumes ─▶ sandbox ─▶ init containers, one after the other ─▶ app containers
 *                                          └ sidecars stay                        └ each by itself
 *
 * Each call makes the moves that are possible now; what has to be waited for (a pull, a hook, a back-off) brings the
 * next step. */
#include "kubelet/internal.h"

#include "base/file.h"
#include "json/build.h"
#include "kubelet/logs.h"
#include "schema/nodefit.h"
#include "schema/types.h"

#define RETRY_MS (10 * 1000) /* as upstream's workers after a failed sync */

void container_wait_reason(struct container *c, const char *reason, const char *fmt, ...) {
        char *text = NULL;
        va_list ap;

        va_start(ap, fmt);
        if (fmt)
                text = xvprintf(fmt, ap);
        va_end(ap);
        free(c->waiting_message);
        c->waiting = reason;
        c->waiting_message = text;
}

/* ---- sandbox ---- */

static struct json host_ports(struct pod *p) {
        struct json list = json_new_array();

        json_each_item(c, json_getc(p->spec, "containers"))
                json_each_item(port, json_getc(c, "ports"))
                        if (json_int(json_getc(port, "hostPort")) > 0)
                                json_push(p->arena, &list,
                                          json_build(p->arena,
                                                     "{ hostPort: %l, containerPort: %l, protocol: %s, hostIP: %s }",
                                                     json_int(json_getc(port, "hostPort")),
                                                     json_int(json_getc(port, "containerPort")),
                                                     json_str_or(json_getc(port, "protocol"), STR("TCP")),
                                                     jstr(port, "hostIP")));
        return list;
}

static struct json sysctls(struct pod *p) {
        struct json map = json_new_object();

        json_each_item(s, json_at_path(p->spec, "securityContext", "sysctls")) {
                _cleanup_free_ char *name = sysctl_written(jstr(s, "name"), '.');

                json_set(p->arena, &map, arena_str(p->arena, str_of(name)), json_of_str(jstr(s, "value")));
        }
        return map;
}

static struct json sandbox_labels(struct pod *p) {
        const struct json *own = json_at_path(object_json(p->current), "metadata", "labels");
        struct json labels = own ? json_copy_shallow(p->arena, own) : json_new_object();

        json_set_cstr(p->arena, &labels, "io.kubernetes.pod.name", p->name);
        json_set_cstr(p->arena, &labels, "io.kubernetes.pod.namespace", p->ns);
        json_set_cstr(p->arena, &labels, "io.kubernetes.pod.uid", p->uid);
        return labels;
}

static int runtime_handler(struct pod *p, struct str *ret, struct error *err) {
        struct str class = jstr(p->spec, "runtimeClassName");
        _cleanup_(object_unrefp) struct object *o = NULL;

        *ret = STR("");
        if (str_empty(class))
                return 0;
        TRY(client_get(p->k->client, &res_runtimeclasses, STR(""), class, &o, err));
        *ret = arena_str(p->arena, jstr(object_json(o), "handler"));
        return 0;
}

static int create_sandbox(struct pod *p, struct error *err) {
        const struct json *meta = json_getc(object_json(p->current), "metadata");
        struct json labels = sandbox_labels(p), dns = pod_dns(p->arena, p), ports = host_ports(p);
        struct json sys = sysctls(p), resources = pod_cgroup_resources(p->arena, p);
        struct sandbox_config c = {
                .name = str_of(p->name),
                .namespace = str_of(p->ns),
                .uid = str_of(p->uid),
                .attempt = p->sandbox ? p->sandbox->attempt + 1 : 0,
                .host_network = json_bool(json_getc(p->spec, "hostNetwork")),
                .host_pid = json_bool(json_getc(p->spec, "hostPID")),
                .host_ipc = json_bool(json_getc(p->spec, "hostIPC")),
                .share_process_namespace = json_bool(json_getc(p->spec, "shareProcessNamespace")),
                .hostname = pod_hostname(p->arena, p),
                .log_directory = str_of(p->log_dir),
                .cgroup_parent = pod_cgroup(p->arena, p),
                .cgroup_resources = &resources,
                .labels = &labels,
                .annotations = json_getc(meta, "annotations"),
                .dns = dns.type == JSON_NULL ? NULL : &dns,
                .sysctls = json_len(&sys) ? &sys : NULL,
                .hostports = json_len(&ports) ? &ports : NULL,
        };
        char *id = NULL;

        TRY(runtime_handler(p, &c.runtime_handler, err));
        TRY(runtime_run_sandbox(p->k->runtime, &c, &id, err));
        vec_push(&p->sandboxes, id);
        p->resized = pod_generation(p);
        return pod_refresh(p, err);
}

/* After a reboot, or when somebody stopped the sandbox: what is left of the old one goes, its containers' records stay.
 */
static void abandon_sandbox(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        pod_event(p, NULL, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        if (runtime_stop_sandbox(p->k->runtime, p->sandbox->id, &err) < 0)
                log_warn("kubelet: old sandbox of pod %s/%s: %s", p->ns, p->name, error_text(&err));
}

static bool ensure_sandbox(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (p->has_ready_sandbox)
                return true;
        if (p->sandbox)
                abandon_sandbox(p);
        if (create_sandbox(p, &err) >= 0) {
                p->sandbox_retry.tries = 0;
                return true;
        }
        pod_event(p, NULL, "Warning", "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", error_text(&err));
        pod_retry(p, retry_next(&p->sandbox_retry, 1000, RETRY_MS));
        return false;
}

/* ---- one container ---- */

static void link_log(struct pod *p, struct container *c, const char *id, uint32_t attempt) {
        _cleanup_free_ char *link = NULL, *target = NULL;

        if (!p->k->o.container_log_dir[0])
                return;
        link = xprintf("%s/%s_%s_%s-%s.log", p->k->o.container_log_dir, p->name, p->ns, c->name, id);
        target = xprintf("%s/%s/%u.log", p->log_dir, c->name, attempt);
        unlink(link);
        if (symlink(target, link) < 0)
                log_debug("kubelet: link %s: %s", link, strerrordesc_np(errno));
}

static bool start_failed(struct container *c, const char *reason, struct error *err) {
        pod_event(c->pod, c, "Warning", "Failed", "Error: %s", error_text(err));
        container_wait_reason(c, reason, "%s", error_text(err));
        pod_retry(c->pod, RETRY_MS);
        return false;
}

static void forget_results(struct container *c) {
        memset(c->results, 0, sizeof(c->results));
        c->post_start = JOB_IDLE;
        c->pod->renewed = c->pod->renewed || c->restart_wanted;
        c->restart_wanted = false;
}

/* Records a created container that was never started would make the next attempt's number; it goes instead. */
static void drop_unstarted(struct container *c) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (runtime_remove_container(c->pod->k->runtime, c->status->id, &err) < 0)
                log_warn("kubelet: remove container %s: %s", c->status->id, error_text(&err));
        c->status = c->previous;
        c->previous = NULL;
}

/* A runtime that forgets what ran before (at a reboot) does not make the count of restarts begin anew, nor one log be
 * that of two runs: the logs tell how many there were. */
static uint32_t attempts_logged(const struct container *c) {
        _cleanup_free_ char *dir = xprintf("%s/%s", c->pod->log_dir, c->name);

        return (uint32_t) (log_newest(dir, INT32_MAX) + 1);
}

static bool start_container(struct container *c) {
        struct pod *p = c->pod;
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ char *id = NULL;
        const char *reason = "CreateContainerError";

        if (!image_ensure(c))
                return false;
        uint32_t attempt = !c->status                           ? attempts_logged(c)
                           : container_is(c, CONTAINER_CREATED) ? c->status->attempt
                                                                : c->status->attempt + 1;
        if (container_is(c, CONTAINER_CREATED))
                drop_unstarted(c);
        if (container_make(p, c, attempt, &id, &reason, &err) < 0)
                return start_failed(c, reason, &err);
        pod_event(p, c, "Normal", "Created", "Created container: %s", c->name);
        if (runtime_start_container(p->k->runtime, id, &err) < 0)
                return start_failed(c, "RunContainerError", &err);
        pod_event(p, c, "Normal", "Started", "Started container %s", c->name);
        link_log(p, c, id, attempt);
        container_wait_reason(c, NULL, NULL);
        forget_results(c);
        set_string(&c->id, str_of(id));
        if (json_at_path(c->spec, "lifecycle", "postStart"))
                hook_post_start(c);
        return true;
}

/* True when the container may start now; else it waits in back-off. */
static bool past_backoff(struct container *c) {
        struct pod *p = c->pod;
        int64_t now = kubelet_now(p->k), left;
        char text[36];

        if (!container_is(c, CONTAINER_EXITED))
                return true;
        left = backoff_remaining(&c->restart, c->status->finished_ns, now);
        if (left == 0) {
                backoff_next(&c->restart, c->status->finished_ns, now);
                return true;
        }
        pod_retry(p, left / NSEC_PER_MSEC + 1);
        if (c->waiting && strcmp(c->waiting, "CrashLoopBackOff") == 0)
                return false;
        duration_format(text, c->restart.wait_ns);
        container_wait_reason(c, "CrashLoopBackOff", "back-off %s restarting failed container=%s pod=" POD_FMT, text,
                              c->name, POD_ARG(p));
        pod_event(p, c, "Warning", "BackOff", "Back-off restarting failed container %s in pod " POD_FMT, c->name,
                  POD_ARG(p));
        return false;
}

/* ---- restart decisions ---- */

static bool in_current_sandbox(const struct container *c) {
        return c->status && c->pod->sandbox && strcmp(c->status->sandbox_id, c->pod->sandbox->id) == 0;
}

/* Of one that has exited. */
bool container_restarts(const struct container *c) {
        struct str policy = c->sidecar ? STR("Always") : pod_restart_policy(c->pod);

        if (c->restart_wanted || str_eqc(policy, "Always"))
                return true;
        if (c->kind == CONTAINER_INIT && !in_current_sandbox(c))
                return true; /* a new sandbox starts from the beginning */
        return str_eqc(policy, "OnFailure") && c->status->exit_code != 0;
}

static bool definition_changed(const struct container *c) {
        struct str was = jstr(c->status->annotations, "io.kubernetes.container.hash");
        char now[20];

        snprintf(now, sizeof(now), "%llx", (unsigned long long) container_hash(c->spec));
        return was.n > 0 && !str_eqc(was, now);
}

/* Why a running container has to go; NULL: it need not. */
static const char *why_stop(const struct container *c, const struct json **ret_probe) {
        bool probed = c->probed_id && strcmp(c->probed_id, c->status->id) == 0;

        if (definition_changed(c))
                return "definition changed";
        if (c->post_start == JOB_FAILED)
                return "failed postStart hook";
        if (probed && c->results[PROBE_STARTUP] == PROBE_FAILURE) {
                *ret_probe = json_getc(c->spec, "startupProbe");
                return "failed startup probe";
        }
        if (probed && c->results[PROBE_LIVENESS] == PROBE_FAILURE) {
                *ret_probe = json_getc(c->spec, "livenessProbe");
                return "failed liveness probe";
        }
        return NULL;
}

/* It comes back where the restart policy allows it. A probe may have a grace period of its own. */
static void check_running(struct container *c) {
        struct pod *p = c->pod;
        const struct json *probe = NULL;
        const char *why = c->stops == 0 ? why_stop(c, &probe) : NULL;
        bool changed = why && strcmp(why, "definition changed") == 0;
        int64_t grace = json_int_or(json_getc(probe, "terminationGracePeriodSeconds"), pod_grace(p));

        if (!why)
                return;
        if (changed) {
                c->restart = (struct backoff) { 0 };
                set_string(&c->image_id, (struct str) { 0 });
        }
        c->restart_wanted = changed || c->sidecar || !str_eqc(pod_restart_policy(p), "Never");
        if (c->post_start == JOB_FAILED)
                container_stop(c, grace, "FailedPostStartHook");
        else
                container_stop(c, grace, "Container %s %s%s", c->name, why,
                               c->restart_wanted ? ", will be restarted" : "");
}

/* Keeps one container as it should be. */
static void keep(struct container *c) {
        if (container_is(c, CONTAINER_RUNNING))
                return check_running(c);
        if (c->stops > 0 || (container_is(c, CONTAINER_EXITED) && !container_restarts(c)))
                return;
        if (past_backoff(c))
                start_container(c);
}

/* ---- init containers ---- */

static bool initialized(struct pod *p) {
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (c->kind == CONTAINER_APP && in_current_sandbox(c))
                        return true;
        }
        return false;
}

/* True when this one is done with (or, a sidecar, up), so that the next may start. */
static bool init_step(struct container *c) {
        if (!c->sidecar && in_current_sandbox(c) && container_exited_ok(c))
                return true;
        keep(c);
        return c->sidecar && container_is(c, CONTAINER_RUNNING) && container_started(c);
}

static bool run_init_containers(struct pod *p) {
        bool was_initialized = initialized(p);

        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (c->kind != CONTAINER_INIT || !c->listed)
                        continue;
                if (was_initialized) {
                        if (c->sidecar)
                                keep(c);
                } else if (!init_step(c))
                        return false;
        }
        return true;
}

/* ---- all of it ---- */

static bool ensure_volumes(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (volumes_setup(p, &err) >= 0) {
                int64_t refresh = volumes_refresh_ms(p);

                p->volumes_ready = true;
                p->mount_retry.tries = 0;
                if (refresh > 0)
                        pod_retry(p, refresh);
                return true;
        }
        pod_event(p, NULL, "Warning", "FailedMount", "%s", error_text(&err));
        pod_retry(p, retry_next(&p->mount_retry, 500, 122 * 1000));
        return p->volumes_ready; /* what was mounted once stays usable when its source is gone */
}

static bool ensure_directories(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (file_mkdirs(p->dir, 0750, &err) >= 0 && file_mkdirs(p->log_dir, 0755, &err) >= 0)
                return true;
        pod_event(p, NULL, "Warning", "FailedMount", "error making pod data directories: %s", error_text(&err));
        pod_retry(p, RETRY_MS);
        return false;
}

void pod_run(struct pod *p) {
        _cleanup_error_ struct error err = ERROR_INIT;

        if (!ensure_directories(p) || !ensure_volumes(p) || !ensure_sandbox(p))
                return;
        pod_resize(p);
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (c->kind == CONTAINER_EPHEMERAL && c->listed && (!c->status || container_is(c, CONTAINER_CREATED)))
                        start_container(c);
        }
        if (run_init_containers(p))
                for (size_t i = 0; i < p->containers.n; i++) {
                        struct container *c = p->containers.v[i];

                        if (c->kind == CONTAINER_APP && c->listed)
                                keep(c);
                }
        if (pod_refresh(p, &err) < 0) {
                log_warn("kubelet: pod %s/%s: %s", p->ns, p->name, error_text(&err));
                pod_retry(p, 1000);
        }
}
