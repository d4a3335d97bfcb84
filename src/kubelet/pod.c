/* A pod as the node has it: its containers by name, beside what the runtime has of each.
 *
 *   spec.initContainers ┐                      ┌ status: the newest of that name
 *   spec.containers     ├─▶ struct container ◀─┤
 *   ephemeralContainers ┘                      └ previous: the one before it
 */
#include "kubelet/internal.h"

#include "schema/types.h"

#define BACKOFF_FIRST_NS (10 * NSEC_PER_SEC)
#define BACKOFF_MAX_NS (300 * NSEC_PER_SEC)

void set_string(char **dst, struct str s) {
        char *was = *dst;

        *dst = s.p ? str_dup(s) : NULL;
        free(was);
}

/* ---- back-off ---- */

static bool backoff_expired(const struct backoff *b, int64_t since_ns) {
        return b->wait_ns == 0 || since_ns - b->updated_ns > 2 * BACKOFF_MAX_NS;
}

int64_t backoff_remaining(const struct backoff *b, int64_t since_ns, int64_t now_ns) {
        if (backoff_expired(b, since_ns) || now_ns - since_ns >= b->wait_ns)
                return 0;
        return b->wait_ns - (now_ns - since_ns);
}

int64_t backoff_next(struct backoff *b, int64_t since_ns, int64_t now_ns) {
        b->wait_ns = backoff_expired(b, since_ns) ? BACKOFF_FIRST_NS : MIN(b->wait_ns * 2, BACKOFF_MAX_NS);
        b->updated_ns = now_ns;
        return b->wait_ns;
}

int64_t retry_next(struct backoff_ms *b, int64_t first_ms, int64_t max_ms) {
        int64_t ms = first_ms << MIN(b->tries, 20u);

        b->tries++;
        return MIN(ms, max_ms);
}

void pod_retry(struct pod *p, int64_t ms) {
        ms = MAX(ms, 1);
        if (p->again_ms == 0 || ms < p->again_ms)
                p->again_ms = ms;
}

/* ---- life ---- */

struct pod *pod_new(struct kubelet *k, struct str uid, struct str ns, struct str name) {
        struct pod *p = xcalloc(1, sizeof(*p));

        p->k = k;
        p->uid = str_dup(uid);
        p->ns = str_dup(ns);
        p->name = str_dup(name);
        p->log_dir = xprintf("%s/%s_%s_%s", k->o.pod_log_dir, p->ns, p->name, p->uid);
        p->dir = xprintf("%s/pods/%s", k->o.root_dir, p->uid);
        p->arena = arena_new(0);
        p->grace_s = -1;
        list_init(&p->inbox);
        return p;
}

static void container_free(struct container *c) {
        free_all(c->name, c->id, c->waiting_message, c->image_id, c->pull_error, c->hook_id, c->probed_id, c);
}

void pod_free(struct pod *p) {
        while (!list_empty(&p->inbox)) {
                struct pod_message *m = list_entry(p->inbox.next, struct pod_message, link);

                list_del(&m->link);
                m->apply(m);
        }
        for (size_t i = 0; i < p->containers.n; i++)
                container_free(p->containers.v[i]);
        for (size_t i = 0; i < p->sandboxes.n; i++)
                free(p->sandboxes.v[i]);
        vec_free(&p->containers);
        vec_free(&p->sandboxes);
        vec_free(&p->probes);
        volumes_free(p->volumes);
        services_unref(p->services);
        object_unref(p->object);
        object_unref(p->current);
        arena_free(p->arena);
        free_all(p->sandbox_id, p->end_reason, p->end_message, p->disruption, p->sent, p->uid, p->ns, p->name,
                 p->log_dir, p->dir, p);
}

struct container *pod_container(struct pod *p, struct str name) {
        for (size_t i = 0; i < p->containers.n; i++)
                if (str_eqc(name, p->containers.v[i]->name))
                        return p->containers.v[i];
        return NULL;
}

static void load_list(struct pod *p, const char *key, enum container_kind kind) {
        json_each_item(spec, json_getc(p->spec, key)) {
                struct str name = jstr(spec, "name");
                struct container *c = pod_container(p, name);

                if (!c) {
                        c = xcalloc(1, sizeof(*c));
                        c->pod = p;
                        c->name = str_dup(name);
                        vec_push(&p->containers, c);
                }
                c->kind = kind;
                c->sidecar = kind == CONTAINER_INIT && str_eqc(jstr(spec, "restartPolicy"), "Always");
                c->spec = spec;
                c->listed = true;
        }
}

void pod_load_spec(struct pod *p) {
        const struct json *status = json_getc(object_json(p->current), "status");
        int64_t at;

        p->spec = json_getc(object_json(p->current), "spec");
        for (size_t i = 0; i < p->containers.n; i++) {
                p->containers.v[i]->listed = false;
                p->containers.v[i]->spec = NULL;
        }
        load_list(p, "initContainers", CONTAINER_INIT);
        load_list(p, "containers", CONTAINER_APP);
        load_list(p, "ephemeralContainers", CONTAINER_EPHEMERAL);
        if (p->start_time_ns == 0) {
                p->start_time_ns = kubelet_now(p->k);
                if (time_parse(jstr(status, "startTime"), &at) == 0)
                        p->start_time_ns = at;
        }
}

/* ---- what the runtime has ---- */

static int load_sandboxes(struct pod *p, struct error *err) {
        p->sandbox = NULL;
        p->has_ready_sandbox = false;
        for (size_t i = 0; i < p->sandboxes.n;) {
                struct sandbox_status *s = arena_new_of(p->arena, struct sandbox_status);
                int r = runtime_sandbox_status(p->k->runtime, p->arena, p->sandboxes.v[i], s, err);

                if (r == -ENOENT) {
                        error_clear(err);
                        free(p->sandboxes.v[i]);
                        vec_remove(&p->sandboxes, i);
                        continue;
                }
                if (r < 0)
                        return r;
                p->sandbox = s;
                i++;
        }
        if (p->sandbox && p->sandbox->state == SANDBOX_READY)
                p->has_ready_sandbox = true;
        set_string(&p->sandbox_id, str_of(p->sandbox ? p->sandbox->id : NULL));
        if (p->sandbox && p->sandbox->ips[0][0])
                memcpy(p->ips, p->sandbox->ips, sizeof(p->ips));
        return 0;
}

static bool newer(const struct container_status *a, const struct container_status *b) {
        return a->attempt != b->attempt ? a->attempt > b->attempt : a->created_ns > b->created_ns;
}

/* A container of the runtime that the spec does not have: of an orphan, whose spec nobody knows. */
static struct container *unlisted_container(struct pod *p, const char *name) {
        struct container *c = xnew(struct container, .pod = p, .name = xstrdup(name), .kind = CONTAINER_APP);

        vec_push(&p->containers, c);
        return c;
}

static void place(struct pod *p, struct container_status *s) {
        struct container *c = pod_container(p, str_of(s->name));

        if (!c)
                c = unlisted_container(p, s->name);
        if (!c->status || newer(s, c->status)) {
                c->previous = c->status;
                c->status = s;
        } else if (!c->previous || newer(s, c->previous))
                c->previous = s;
}

int pod_refresh(struct pod *p, struct error *err) {
        for (size_t i = 0; i < p->containers.n; i++)
                p->containers.v[i]->status = p->containers.v[i]->previous = NULL;
        int r = load_sandboxes(p, err);
        for (size_t i = 0; r >= 0 && i < p->sandboxes.n; i++) {
                struct container_status *list = NULL;
                size_t n = 0;

                r = runtime_list_containers(p->k->runtime, p->arena, p->sandboxes.v[i], &list, &n, err);
                for (size_t j = 0; r >= 0 && j < n; j++)
                        place(p, &list[j]);
        }
        if (r < 0)
                return r;
        for (size_t i = 0; i < p->containers.n; i++) {
                struct container *c = p->containers.v[i];

                set_string(&c->id, str_of(c->status ? c->status->id : NULL));
                c->is_running = container_is(c, CONTAINER_RUNNING);
        }
        return 0;
}

bool container_is(const struct container *c, enum container_state s) {
        return c->status && c->status->state == s;
}

bool container_exited_ok(const struct container *c) {
        return container_is(c, CONTAINER_EXITED) && c->status->exit_code == 0;
}

struct str pod_restart_policy(const struct pod *p) {
        return json_str_or(json_getc(p->spec, "restartPolicy"), STR("Always"));
}

/* A force-deleted or orphaned pod gets a second; else what the deletion says, else the pod. */
int64_t pod_grace(const struct pod *p) {
        const struct json *o = p->current ? object_json(p->current) : NULL;
        int64_t spec = json_int_or(json_at_path(o, "spec", "terminationGracePeriodSeconds"), o ? 30 : 1);
        int64_t grace = json_int_or(json_at_path(o, "metadata", "deletionGracePeriodSeconds"), spec);

        if (p->grace_s >= 0)
                grace = MIN(grace, p->grace_s);
        return MAX(grace, 1);
}

/* ---- events, the end ---- */

void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason, const char *fmt, ...) {
        static const char *const lists[] = { "initContainers", "containers", "ephemeralContainers" };
        _cleanup_free_ char *path = NULL;

        if (!p->current)
                return;
        if (c)
                path = xprintf("spec.%s{%s}", lists[c->kind], c->name);
        char *text = variadic(ap, fmt, xvprintf(fmt, ap));
        event_record(p->k->events, &res_pods, p->current, path, type, reason, "%s", text);
        free(text);
}

void pod_end(struct pod *p, const char *phase, const char *reason, const char *fmt, ...) {
        if (p->end != POD_RUNS)
                return;
        p->end = POD_ENDS;
        p->end_phase = phase;
        set_string(&p->end_reason, str_of(reason));
        free(p->end_message);
        p->end_message = variadic(ap, fmt, xvprintf(fmt, ap));
}
