/* The conditions of a pod that the kubelet owns, with upstream's reasons and messages; a transition time changes with
 * the status only. */
#include "kubelet/internal.h"

#include "json/build.h"

struct conditions {
        struct pod *p;
        struct arena *a;
        const struct json *old;
        struct json list;
};

static void put(struct conditions *c, const char *type, bool status, const char *reason, struct str message) {
        const struct json *old = json_find_by(c->old, "type", str_of(type));
        const char *word = status ? "True" : "False";
        char text[36];
        struct str since = str_eqc(jstr(old, "status"), word) ? jstr(old, "lastTransitionTime") : STR("");

        if (str_empty(since))
                since = time_format(text, kubelet_now(c->p->k));
        json_push(c->a, &c->list,
                  json_build(c->a,
                             "{ type: %c, status: %c, lastProbeTime: null, lastTransitionTime: %S, reason: %c,"
                             "  message: %o }",
                             type, word, since, reason, message));
}

/* "containers with unready status: [a b]", as Go prints a list; empty when there are none. */
static struct str list_containers(struct conditions *c, const char *what, bool (*wanted)(const struct container *)) {
        _cleanup_buf_ struct buf b = BUF_INIT;

        for (size_t i = 0; i < c->p->containers.n; i++) {
                const struct container *it = c->p->containers.v[i];

                if (it->listed && wanted(it))
                        buf_printf(&b, "%s%s", b.n ? " " : "", it->name);
        }
        return b.n ? arena_printf(c->a, "containers with %s status: [%" STR_FMT "]", what, STR_ARG(buf_str(&b)))
                   : STR("");
}

static bool is_incomplete(const struct container *c) {
        if (c->kind != CONTAINER_INIT)
                return false;
        return c->sidecar ? !container_started(c) : !container_exited_ok(c);
}

static bool is_unready(const struct container *c) {
        return (c->kind == CONTAINER_APP || c->sidecar) && !container_ready(c);
}

static bool has_started(const struct container *c) {
        return c->kind == CONTAINER_APP &&
               (container_is(c, CONTAINER_RUNNING) || container_is(c, CONTAINER_EXITED) || c->previous);
}

static bool any(struct conditions *c, bool (*is)(const struct container *)) {
        for (size_t i = 0; i < c->p->containers.n; i++)
                if (c->p->containers.v[i]->listed && is(c->p->containers.v[i]))
                        return true;
        return false;
}

static void put_initialized(struct conditions *c, const char *phase) {
        struct str incomplete = list_containers(c, "incomplete", is_incomplete);

        if (strcmp(phase, "Succeeded") == 0)
                put(c, "Initialized", true, "PodCompleted", STR(""));
        else if (any(c, has_started) || incomplete.n == 0)
                put(c, "Initialized", true, NULL, STR(""));
        else
                put(c, "Initialized", false, "ContainersNotInitialized", incomplete);
}

/* What stands in the way of readiness beside the containers. */
static struct str closed_gates(struct conditions *c) {
        const struct json *conditions = json_at_path(object_json(c->p->current), "status", "conditions");
        _cleanup_buf_ struct buf b = BUF_INIT;

        json_each_item(gate, json_getc(c->p->spec, "readinessGates")) {
                struct str type = jstr(gate, "conditionType");
                const struct json *have = json_find_by(conditions, "type", type);

                if (have && str_eqc(jstr(have, "status"), "True"))
                        continue;
                buf_addc(&b, b.n ? ", " : "");
                if (have)
                        buf_printf(&b,
                                   "the status of pod readiness gate \"%" STR_FMT "\" is not \"True\", but %" STR_FMT,
                                   STR_ARG(type), STR_ARG(jstr(have, "status")));
                else
                        buf_printf(&b, "corresponding condition of pod readiness gate \"%" STR_FMT "\" does not exist.",
                                   STR_ARG(type));
        }
        return arena_str(c->a, buf_str(&b));
}

static void put_ready(struct conditions *c, const char *phase) {
        struct str unready = list_containers(c, "unready", is_unready), gates = closed_gates(c);
        const char *reason = strcmp(phase, "Succeeded") == 0 ? "PodCompleted"
                             : strcmp(phase, "Failed") == 0  ? "PodFailed"
                                                             : NULL;

        if (reason) {
                put(c, "Ready", false, reason, STR(""));
                put(c, "ContainersReady", false, reason, STR(""));
        } else if (unready.n) {
                put(c, "Ready", false, "ContainersNotReady", unready);
                put(c, "ContainersReady", false, "ContainersNotReady", unready);
        } else {
                put(c, "Ready", gates.n == 0, gates.n ? "ReadinessGatesNotReady" : NULL, gates);
                put(c, "ContainersReady", true, NULL, STR(""));
        }
}

struct json conditions_make(struct pod *p, struct arena *a, const char *phase, const struct json *old) {
        struct conditions c = { p, a, old, json_new_array() };

        put(&c, "PodReadyToStartContainers", p->has_ready_sandbox && !p->sandbox_stopped, NULL, STR(""));
        put_initialized(&c, phase);
        put_ready(&c, phase);
        put(&c, "PodScheduled", true, NULL, STR(""));
        if (p->disruption)
                put(&c, "DisruptionTarget", true, "TerminationByKubelet", str_of(p->disruption));
        return c.list;
}
