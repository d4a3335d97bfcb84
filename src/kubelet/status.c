/* status of a pod: made anew from the containers at the end of each step, and written when it differs from what was
 * written before. It goes out as a strategic merge patch of the status subresource with the uid in it, so that it never
 * lands on another pod of the same name, and leaves the conditions that others own alone. */
#include "kubelet/internal.h"

#include "base/file.h"
#include "json/build.h"
#include "kubelet/logs.h"
#include "schema/types.h"

#define MESSAGE_BYTES 4096
#define FALLBACK_BYTES 2048
#define FALLBACK_LINES 80

/* ---- containers ---- */

/* A pod that is over has lost a container that it knows nothing of; but those whose turn never came are waiting still:
 * init containers behind the last that started, and the others when no init container let them start. */
static bool is_unlocated(const struct container *c) {
        const struct container *last = NULL;
        bool is_behind = c->kind != CONTAINER_INIT, came = false;

        if (!c->pod->is_final || c->status)
                return false;
        for (size_t i = 0; i < c->pod->containers.n; i++) {
                const struct container *x = c->pod->containers.v[i];

                if (x->kind == CONTAINER_INIT && c->kind == CONTAINER_INIT && x == c && !last)
                        return true;
                is_behind = is_behind || x == c;
                came = came || (is_behind && x->kind == c->kind && (x->status || x->previous));
                last = x->kind == CONTAINER_INIT ? x : last;
        }
        return came || !last || c->kind == CONTAINER_EPHEMERAL ||
               (c->kind == CONTAINER_APP && (container_exited_ok(last) || (last->sidecar && last->status)));
}

/* as status.containerStatuses[].state says */
static enum shown_state container_shown(const struct container *c) {
        if (container_is(c, CONTAINER_RUNNING))
                return SHOWN_RUNNING;
        if (is_unlocated(c))
                return SHOWN_TERMINATED;
        if (!c->status || container_is(c, CONTAINER_CREATED))
                return SHOWN_WAITING;
        return c->waiting && !c->pod->is_final ? SHOWN_WAITING : SHOWN_TERMINATED;
}

bool container_started(const struct container *c) {
        bool probed = c->probed_id && c->id && strcmp(c->probed_id, c->id) == 0;

        if (!container_is(c, CONTAINER_RUNNING) || c->post_start == JOB_RUNNING || c->post_start == JOB_FAILED)
                return false;
        return !json_getc(c->spec, "startupProbe") || (probed && c->results[PROBE_STARTUP] == PROBE_SUCCESS);
}

bool container_ready(const struct container *c) {
        bool probed = c->probed_id && c->id && strcmp(c->probed_id, c->id) == 0;

        if (c->kind == CONTAINER_EPHEMERAL)
                return false;
        if (c->kind == CONTAINER_INIT && !c->sidecar)
                return container_exited_ok(c);
        if (!container_started(c))
                return false;
        return !json_getc(c->spec, "readinessProbe") || (probed && c->results[PROBE_READINESS] == PROBE_SUCCESS);
}

static struct json time_json(struct arena *a, int64_t ns) {
        char text[36];

        return ns > 0 ? json_of_copy(a, time_format(text, ns)) : json_null();
}

/* What the container left at its termination message path, or the end of its log. */
static struct str termination_message(struct arena *a, const struct container *c, const struct container_status *s) {
        struct pod *p = c->pod;
        _cleanup_free_ char *path = xprintf("%s/containers/%s/%u", p->dir, c->name, s->attempt);
        struct buf text = BUF_INIT;
        struct str message = str_of(s->message);

        if (file_read(path, MESSAGE_BYTES * 64, &text, NULL) >= 0 && text.n > 0)
                message = arena_str(a, str_sub(buf_str(&text), text.n > MESSAGE_BYTES ? text.n - MESSAGE_BYTES : 0,
                                               text.n));
        else if (s->exit_code != 0 && str_eqc(jstr(c->spec, "terminationMessagePolicy"), "FallbackToLogsOnError") &&
                 s->log_path) {
                text.n = 0;
                log_tail_plain(s->log_path, FALLBACK_LINES, FALLBACK_BYTES, &text);
                if (text.n)
                        message = arena_str(a, buf_str(&text));
        }
        buf_free(&text);
        return message;
}

static struct json terminated_json(struct arena *a, const struct container *c, const struct container_status *s) {
        struct str reason = str_of(s->reason && s->reason[0] ? s->reason : s->exit_code ? "Error" : "Completed");
        struct json finished = time_json(a, s->finished_ns),
                    started = s->started_ns ? time_json(a, s->started_ns)
                                            : json_of_cstr("1970-01-01T00:00:00Z"); /* never: as upstream tells it */

        return json_build(a,
                          "{ exitCode: %d, reason: %S, message: %o, startedAt: %j, finishedAt: %j, containerID: %s }",
                          s->exit_code, reason, arena_str(a, termination_message(a, c, s)), &started, &finished,
                          arena_printf(a, "cube://%s", s->id));
}

static struct json unlocated_json(struct arena *a) {
        return json_build(a, "{ exitCode: 137, reason: 'ContainerStatusUnknown', message: 'The container could not be "
                             "located when the pod was terminated', startedAt: null, finishedAt: null }");
}

static bool has_init_containers(const struct pod *p) {
        return json_len(json_getc(p->spec, "initContainers")) > 0;
}

static struct json waiting_json(struct arena *a, const struct container *c) {
        bool initializing = has_init_containers(c->pod) && c->kind != CONTAINER_EPHEMERAL;

        return json_build(a, "{ reason: %c, message: %S }",
                          c->waiting     ? c->waiting
                          : initializing ? "PodInitializing"
                                         : "ContainerCreating",
                          str_of(c->waiting ? c->waiting_message : NULL));
}

static struct json state_json(struct arena *a, const struct container *c) {
        struct json o = json_new_object(), running = json_new_object();

        switch (container_shown(c)) {
        case SHOWN_WAITING:
                json_setc(a, &o, "waiting", waiting_json(a, c));
                break;
        case SHOWN_RUNNING:
                json_setc(a, &running, "startedAt", time_json(a, c->status->started_ns));
                json_setc(a, &o, "running", running);
                break;
        case SHOWN_TERMINATED:
                json_setc(a, &o, "terminated", is_unlocated(c) ? unlocated_json(a) : terminated_json(a, c, c->status));
                break;
        }
        return o;
}

/* When the container waits to run again, what it ended with is the last state; else the run before. */
static struct json last_state_json(struct arena *a, const struct container *c) {
        const struct container_status *last = c->previous;
        struct json o = json_new_object();

        if (container_shown(c) == SHOWN_WAITING && container_is(c, CONTAINER_EXITED))
                last = c->status;
        if (last && last->state == CONTAINER_EXITED)
                json_setc(a, &o, "terminated", terminated_json(a, c, last));
        return o;
}

static struct json volume_mounts_json(struct arena *a, const struct container *c) {
        struct json list = json_new_array();

        json_each_item(m, json_getc(c->spec, "volumeMounts")) {
                struct json o = json_build(a, "{ name: %s, mountPath: %s }", jstr(m, "name"), jstr(m, "mountPath"));

                if (json_bool(json_getc(m, "readOnly"))) {
                        json_set_bool(a, &o, "readOnly", true);
                        json_set_cstr(a, &o, "recursiveReadOnly",
                                      str_eqc(jstr(m, "recursiveReadOnly"), "Enabled") ? "Enabled" : "Disabled");
                }
                json_push(a, &list, o);
        }
        return list;
}

/* The runtime got the image's id; people know it by the name they wrote, in full. */
static struct str image_name(struct arena *a, const struct container *c) {
        struct str given = c->status && c->status->image ? str_of(c->status->image) : STR(""),
                   written = jstr(c->spec, "image"), full;

        if (given.n && !str_has_prefix(given, STR("sha256:")))
                return arena_str(a, given);
        if (!c->status || image_normalize(a, written, &full, NULL) < 0)
                return written;
        return full;
}

static struct json container_json(struct arena *a, const struct container *c) {
        const struct json *resources = json_getc(c->spec, "resources"), *requests = json_getc(resources, "requests");
        struct json state = state_json(a, c), last = last_state_json(a, c), mounts = volume_mounts_json(a, c),
                    none = json_new_object();
        const struct container_status *s = c->status;

        return json_build(a,
                          "{ name: %S, state: %j, lastState: %j, ready: %b, restartCount: %d, image: %s, imageID: %S,"
                          "  containerID: %s, started: %b, allocatedResources: %j, resources: %j, volumeMounts: %j }",
                          str_of(c->name), &state, &last, container_ready(c), s ? (int) s->attempt : 0,
                          image_name(a, c), s && s->image_id ? str_of(s->image_id) : STR(""),
                          s ? arena_printf(a, "cube://%s", s->id) : str_n(NULL, 0), container_started(c),
                          json_len(requests) ? requests : NULL,
                          !s || c->kind == CONTAINER_EPHEMERAL ? NULL
                          : resources                          ? resources
                                                               : &none,
                          json_len(&mounts) ? &mounts : NULL);
}

static void add_statuses(struct pod *p, struct arena *a, struct json *status, const char *key,
                         enum container_kind kind) {
        struct json list = json_new_array();

        if (p->is_final && !p->admitted)
                return; /* turned away: there never was one */
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (c->kind == kind && c->listed)
                        json_push(a, &list, container_json(a, c));
        }
        if (json_len(&list))
                json_setc(a, status, key, list);
}

/* ---- phase ---- */

struct counts {
        unsigned pending_init, pending_sidecar, failed_init, waiting, running, stopped, succeeded;
        bool app_started;
};

static bool ended_before(const struct container *c) {
        return c->status && (container_is(c, CONTAINER_EXITED) || c->previous);
}

static void count_init(struct counts *n, const struct container *c) {
        enum shown_state shown = container_shown(c);

        if (c->sidecar) {
                if (shown == SHOWN_RUNNING) {
                        n->running++;
                        n->pending_sidecar += !container_started(c);
                } else if (shown == SHOWN_WAITING && !ended_before(c))
                        n->pending_sidecar++;
        } else if (shown == SHOWN_RUNNING)
                n->pending_init++;
        else if (shown == SHOWN_TERMINATED)
                n->failed_init += is_unlocated(c) || c->status->exit_code != 0;
        else if (container_is(c, CONTAINER_EXITED))
                n->failed_init += c->status->exit_code != 0;
        else
                n->pending_init++;
}

static void count_app(struct counts *n, const struct container *c) {
        switch (container_shown(c)) {
        case SHOWN_RUNNING:
                n->running++;
                n->app_started = true;
                break;
        case SHOWN_TERMINATED:
                n->stopped++;
                n->succeeded += !is_unlocated(c) && c->status->exit_code == 0;
                n->app_started = true;
                break;
        case SHOWN_WAITING:
                if (ended_before(c)) {
                        n->stopped++;
                        n->app_started = true;
                } else
                        n->waiting++;
                break;
        }
}

const char *phase_from_containers(struct pod *p) {
        struct str policy = pod_restart_policy(p);
        struct counts n = { 0 };

        if (p->is_final && p->end_phase)
                return p->end_phase;
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                if (c->kind == CONTAINER_INIT && c->listed)
                        count_init(&n, c);
                else if (c->kind == CONTAINER_APP && c->listed)
                        count_app(&n, c);
        }
        if (n.failed_init > 0 && str_eqc(policy, "Never"))
                return "Failed";
        if (p->is_final)
                return n.stopped > 0 && n.stopped == n.succeeded && n.failed_init == 0 ? "Succeeded" : "Failed";
        if (n.pending_init > 0 || (n.failed_init > 0 && !n.app_started) || (n.pending_sidecar > 0 && !n.app_started) ||
            n.waiting > 0)
                return "Pending";
        if (n.running > 0)
                return n.running > 0 && !n.app_started ? "Pending" : "Running";
        if (n.stopped == 0)
                return "Pending";
        if (str_eqc(policy, "Always"))
                return "Running";
        if (n.stopped == n.succeeded)
                return "Succeeded";
        return str_eqc(policy, "Never") ? "Failed" : "Running";
}

/* ---- the whole ---- */

static void add_ips(struct arena *a, struct json *status, const char *one, const char *many, char *const ips[2]) {
        struct json list = json_new_array();

        for (size_t i = 0; i < 2; i++)
                if (ips[i] && ips[i][0])
                        json_push(a, &list, json_build(a, "{ ip: %S }", str_of(ips[i])));
        if (json_len(&list) == 0)
                return;
        json_setc(a, status, one, *json_getc(&json_items(&list)[0], "ip"));
        json_setc(a, status, many, list);
}

static void add_addresses(struct pod *p, struct arena *a, struct json *status) {
        char *host[2] = { (char *) p->k->o.node_ips[0], (char *) p->k->o.node_ips[1] };
        char *own[2] = { p->ips[0], p->ips[1] };
        bool host_network = json_bool(json_getc(p->spec, "hostNetwork"));

        add_ips(a, status, "hostIP", "hostIPs", host);
        if (!host_network)
                add_ips(a, status, "podIP", "podIPs", own);
        else if (p->sandbox)
                add_ips(a, status, "podIP", "podIPs", host);
}

static struct json status_make(struct pod *p, struct arena *a) {
        const struct json *current = json_getc(object_json(p->current), "status"), *old = current;
        const char *phase = phase_from_containers(p);
        struct json o = json_new_object(), *sent = NULL;

        if (p->sent && json_parse(a, str_of(p->sent), NULL, &sent, NULL) == 0)
                old = sent;
        json_set_cstr(a, &o, "phase", phase);
        json_setc(a, &o, "conditions", conditions_make(p, a, phase, json_getc(old, "conditions")));
        if (p->is_final && p->end_message)
                json_set_str(a, &o, "message", arena_str(a, str_of(p->end_message)));
        if (p->is_final && p->end_reason)
                json_set_str(a, &o, "reason", arena_str(a, str_of(p->end_reason)));
        add_addresses(p, a, &o);
        json_setc(a, &o, "startTime", time_json(a, p->start_time_ns));
        add_statuses(p, a, &o, "initContainerStatuses", CONTAINER_INIT);
        add_statuses(p, a, &o, "containerStatuses", CONTAINER_APP);
        json_set_cstr(a, &o, "qosClass", qos_name(pod_qos(object_json(p->current))));
        add_statuses(p, a, &o, "ephemeralContainerStatuses", CONTAINER_EPHEMERAL);
        return o;
}

/* podIPs and hostIPs merge by ip in a strategic merge patch: they have to be replaced instead. */
static void replace_list(struct arena *a, struct json *status, const char *key) {
        const struct json *list = json_getc(status, key);

        if (!list)
                return;
        struct json copy = json_copy_tree(a, list);
        json_insert(a, &copy, 0, json_build(a, "{ '$patch': 'replace' }"));
        json_setc(a, status, key, copy);
}

/* Conditions merge by type: a reason that is over has to be taken away by name. */
static void clear_old_reasons(struct pod *p, struct arena *a, struct json *status) {
        static const char *const keys[] = { "reason", "message" };
        const struct json *current = json_at_path(object_json(p->current), "status", "conditions");
        struct json *sent = NULL, list = json_copy_tree(a, json_getc(status, "conditions"));

        if (p->sent)
                json_parse(a, str_of(p->sent), NULL, &sent, NULL);
        json_each_item(c, &list) {
                const struct json *now = json_find_by(current, "type", jstr(c, "type")),
                                  *then = json_find_by(json_getc(sent, "conditions"), "type", jstr(c, "type"));

                for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                        if (!json_getc(c, keys[i]) && (json_getc(now, keys[i]) || json_getc(then, keys[i])))
                                json_setc(a, c, keys[i], json_null());
        }
        json_setc(a, status, "conditions", list);
}

static int write_status(struct pod *p, struct arena *a, struct json status, struct error *err) {
        const struct json *was = json_getc(object_json(p->current), "status");
        static const char *const optional[] = { "message", "reason" };

        clear_old_reasons(p, a, &status);
        replace_list(a, &status, "podIPs");
        replace_list(a, &status, "hostIPs");
        for (size_t i = 0; i < ARRAY_SIZE(optional); i++)
                if (json_getc(was, optional[i]) && !json_getc(&status, optional[i]))
                        json_setc(a, &status, optional[i], json_null());
        struct json patch = json_build(a, "{ metadata: { uid: %c }, status: %j }", p->uid, &status);
        int r = client_patch(p->k->client, &res_pods, str_of(p->ns), str_of(p->name), STR("status"),
                             API_PATCH_STRATEGIC, &patch, NULL, err);
        return r == -ENOENT ? 0 : r;
}

int status_send(struct pod *p, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(16 * 1024);
        struct buf text = BUF_INIT;
        struct json status = status_make(p, a);

        json_write(&text, &status);
        if (p->sent && str_eqc(buf_str(&text), p->sent)) {
                buf_free(&text);
                return 0;
        }
        int r = write_status(p, a, status, err);
        if (r >= 0) {
                free(p->sent);
                p->sent = buf_take(&text, NULL);
        }
        buf_free(&text);
        return r;
}

int status_delete_pod(struct pod *p, struct error *err) {
        struct api_options o = API_OPTIONS_INIT;

        o.grace_period_seconds = 0;
        o.precondition_uid = str_of(p->uid);
        int r = client_delete(p->k->client, &res_pods, str_of(p->ns), str_of(p->name), &o, err);
        /* Gone already, or another pod has the name now: either way this one is deleted. */
        return r == -ENOENT || r == -EAGAIN ? 0 : r;
}
