/* What the node itself asks of a pod before it runs it. The scheduler asked already, but it may have been bypassed
 * (spec.nodeName set by hand) or have been too early. https://kubernetes.io/docs/reference/scheduling/ */
#include "kubelet/internal.h"

#include "schema/nodefit.h"

struct sums {
        int64_t cpu, memory, storage;
        size_t pods;
};

static void add_demand(struct sums *s, const struct json *pod) {
        const struct json *spec = json_getc(pod, "spec");

        s->cpu += pod_request(spec, "requests", "cpu", true);
        s->memory += pod_request(spec, "requests", "memory", false);
        s->storage += pod_request(spec, "requests", "ephemeral-storage", false);
        s->pods++;
}

static bool fits(const struct kubelet_options *o, const struct sums *used, const struct sums *wanted,
                 const char **ret_reason, struct error *message) {
        const struct {
                const char *name, *reason;
                int64_t wanted, used, capacity;
        } all[] = {
                { "pods", "OutOfpods", (int64_t) wanted->pods, (int64_t) used->pods, o->max_pods },
                { "cpu", "OutOfcpu", wanted->cpu, used->cpu, o->cpu_milli - o->reserved_cpu_milli },
                { "memory", "OutOfmemory", wanted->memory, used->memory,
                  o->memory_bytes - o->reserved_memory_bytes - MAX(o->eviction_memory_bytes, 0) },
                { "ephemeral-storage", "OutOfephemeral-storage", wanted->storage, used->storage, o->storage_bytes },
        };

        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                if (all[i].wanted == 0 || all[i].used + all[i].wanted <= all[i].capacity)
                        continue;
                *ret_reason = all[i].reason;
                error_set(message, -ENOSPC,
                          "Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld",
                          all[i].name, (long long) all[i].wanted, (long long) all[i].used, (long long) all[i].capacity);
                return false;
        }
        return true;
}

/* ---- host ports ---- */

static bool same_address(struct str a, struct str b) {
        bool any_a = str_empty(a) || str_eqc(a, "0.0.0.0"), any_b = str_empty(b) || str_eqc(b, "0.0.0.0");

        return any_a || any_b || str_eq(a, b);
}

static bool port_taken(const struct json *port, const struct json *spec) {
        struct str proto = json_str_or(json_getc(port, "protocol"), STR("TCP"));

        json_each_item(c, json_getc(spec, "containers"))
                json_each_item(other, json_getc(c, "ports"))
                        if (json_int(json_getc(other, "hostPort")) == json_int(json_getc(port, "hostPort")) &&
                            str_eq(json_str_or(json_getc(other, "protocol"), STR("TCP")), proto) &&
                            same_address(jstr(other, "hostIP"), jstr(port, "hostIP")))
                                return true;
        return false;
}

static bool ports_free(const struct json *spec, struct pod *const *others, size_t n) {
        json_each_item(c, json_getc(spec, "containers"))
                json_each_item(port, json_getc(c, "ports"))
                        for (size_t i = 0; json_int(json_getc(port, "hostPort")) > 0 && i < n; i++)
                                if (others[i]->object && !pod_has_ended(object_json(others[i]->object)) &&
                                    port_taken(port, json_getc(object_json(others[i]->object), "spec")))
                                        return false;
        return true;
}

/* ---- sysctls ---- */

/* What belongs to the pod's own namespaces and cannot harm its neighbours. */
static const struct json *forbidden_sysctl(const struct json *spec) {
        json_each_item(s, json_at_path(spec, "securityContext", "sysctls")) {
                _cleanup_free_ char *name = sysctl_written(jstr(s, "name"), '.');

                if (sysctl_safe_since(str_of(name)) < 0)
                        return s;
        }
        return NULL;
}

/* ---- the rules ---- */

struct asked {
        const struct json *spec;
        const struct object *node; /* NULL: not known yet */
        struct pod *const *others;
        size_t n;
};

/* Each says no with a message. */
static bool rule_ports(const struct asked *q, struct error *message) {
        if (!ports_free(q->spec, q->others, q->n))
                error_set(message, -EADDRINUSE,
                          "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports");
        return message->err == 0;
}

static bool rule_sysctls(const struct asked *q, struct error *message) {
        const struct json *bad = forbidden_sysctl(q->spec);

        if (bad)
                error_set(message, -EPERM, "forbidden sysctl: \"%" STR_FMT "\" not allowlisted",
                          STR_ARG(jstr(bad, "name")));
        return message->err == 0;
}

static bool rule_affinity(const struct asked *q, struct error *message) {
        if (q->node && !node_matches(q->node, q->spec))
                error_set(message, -EINVAL,
                          "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector");
        return message->err == 0;
}

static bool rule_taints(const struct asked *q, struct error *message) {
        if (q->node && !taints_tolerated(q->node, json_getc(q->spec, "tolerations"), false))
                error_set(message, -EINVAL,
                          "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate");
        return message->err == 0;
}

static bool rule_os(const struct asked *q, struct error *message) {
        if (!str_eqc(json_str_or(json_at_path(q->spec, "os", "name"), STR("linux")), "linux"))
                error_set(message, -EINVAL, "Failed to admit pod as the OS field doesn't match node OS");
        return message->err == 0;
}

static const struct {
        const char *reason;
        bool (*passes)(const struct asked *q, struct error *message);
} rules[] = {
        { "NodePorts", rule_ports },        { "SysctlForbidden", rule_sysctls }, { "NodeAffinity", rule_affinity },
        { "TaintToleration", rule_taints }, { "PodOSNotSupported", rule_os },
};

/* others: the pods already let in, this one not among them. */
bool pod_admit(struct pod *p, struct pod *const *others, size_t n, const char **ret_reason, struct error *message) {
        const struct json *pod = object_json(p->object);
        _cleanup_(object_unrefp) struct object *node = node_object(p->k);
        struct asked q = { json_getc(pod, "spec"), node, others, n };
        struct sums used = { 0 }, wanted = { 0 };

        for (size_t i = 0; i < n; i++)
                if (others[i]->object && !pod_has_ended(object_json(others[i]->object)))
                        add_demand(&used, object_json(others[i]->object));
        add_demand(&wanted, pod);
        if (!fits(&p->k->o, &used, &wanted, ret_reason, message))
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (!rules[i].passes(&q, message)) {
                        *ret_reason = rules[i].reason;
                        return false;
                }
        return true;
}
