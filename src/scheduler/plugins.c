/* The plugins: each a filter, a score, or both, over one pod and one node. Names, weights and texts are those of
 * upstream's default profile. https://kubernetes.io/docs/reference/scheduling/config/#scheduling-plugins */
#include "scheduler/framework.h"

#define MAX_SCORE 100

static void reasons_add(struct reasons *r, const char *fmt, ...) {
        if (r->n == MAX_REASONS)
                return;
        variadic(ap, fmt, vsnprintf(r->text[r->n++], sizeof(r->text[0]), fmt, ap));
}

/* ---- NodeUnschedulable ---- */

static bool tolerates(const struct pod_info *p, const struct taint *t) {
        for (size_t i = 0; i < p->n_tolerations; i++) {
                const struct toleration *o = &p->tolerations[i];
                if ((o->effect.n && !str_eq(o->effect, t->effect)) || (o->key.n && !str_eq(o->key, t->key)))
                        continue;
                if (o->exists || (o->key.n && str_eq(o->value, t->value)))
                        return true;
        }
        return false;
}

static enum verdict unschedulable_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        static const struct taint cordon = { STR_INIT("node.kubernetes.io/unschedulable"), STR_INIT(""),
                                             STR_INIT("NoSchedule") };
        if (!n->unschedulable || tolerates(p, &cordon))
                return FIT;
        reasons_add(why, "node(s) were unschedulable");
        return UNRESOLVABLE;
}
static const struct plugin node_unschedulable = { .name = "NodeUnschedulable", .filter = unschedulable_filter };

/* ---- NodeName ---- */

static enum verdict name_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        if (!p->node_name.n || str_eq(p->node_name, n->name))
                return FIT;
        reasons_add(why, "node(s) didn't match the requested node name");
        return UNRESOLVABLE;
}
static const struct plugin node_name = { .name = "NodeName", .filter = name_filter };

/* ---- TaintToleration ---- */

static enum verdict taint_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        for (size_t i = 0; i < n->n_taints; i++) {
                const struct taint *t = &n->taints[i];
                if (str_eq(t->effect, STR("PreferNoSchedule")) || tolerates(p, t))
                        continue;
                reasons_add(why, "node(s) had untolerated taint {%" STR_FMT ": %" STR_FMT "}", STR_ARG(t->key),
                            STR_ARG(t->value));
                return UNRESOLVABLE;
        }
        return FIT;
}

static int64_t taint_score(const struct pod_info *p, const struct node_info *n) {
        int64_t intolerable = 0;
        for (size_t i = 0; i < n->n_taints; i++)
                if (str_eq(n->taints[i].effect, STR("PreferNoSchedule")) && !tolerates(p, &n->taints[i]))
                        intolerable++;
        return intolerable;
}
static const struct plugin taint_toleration = { .name = "TaintToleration",
                                                .filter = taint_filter,
                                                .score = taint_score,
                                                .normalize = SCORE_NORMALIZE_REVERSE,
                                                .weight = 3 };

/* ---- NodeAffinity: nodeSelector and node affinity ---- */

static bool has_value(const struct node_requirement *q, struct str v) {
        for (size_t i = 0; i < q->n_values; i++)
                if (str_eq(q->values[i], v))
                        return true;
        return false;
}

static bool requirement_matches(const struct node_requirement *q, const struct node_info *n) {
        struct str v = { 0 };
        int64_t have, want;
        if (!q->field)
                v = object_label(n->node, q->key);
        else if (str_eq(q->key, STR("metadata.name")))
                v = n->name;
        switch (q->op) {
        case SELECTOR_IN:
                return v.p && has_value(q, v);
        case SELECTOR_NOT_IN:
                return !v.p || !has_value(q, v);
        case SELECTOR_EXISTS:
                return v.p;
        case SELECTOR_NOT_EXISTS:
                return !v.p;
        default:
                if (!v.p || q->n_values != 1 || str_to_i64(v, &have) < 0 || str_to_i64(q->values[0], &want) < 0)
                        return false;
                return q->op == SELECTOR_GT ? have > want : have < want;
        }
}

static bool all_match(const struct node_requirement *q, size_t n_q, const struct node_info *n) {
        for (size_t i = 0; i < n_q; i++)
                if (!requirement_matches(&q[i], n))
                        return false;
        return true;
}

static enum verdict affinity_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        bool ok = all_match(p->selector, p->n_selector, n);
        if (ok && p->has_terms) {
                ok = false;
                for (size_t i = 0; !ok && i < p->n_terms; i++)
                        ok = p->terms[i].n && all_match(p->terms[i].reqs, p->terms[i].n, n);
        }
        if (ok)
                return FIT;
        reasons_add(why, "node(s) didn't match Pod's node affinity/selector");
        return UNRESOLVABLE;
}

static int64_t affinity_score(const struct pod_info *p, const struct node_info *n) {
        int64_t sum = 0;
        for (size_t i = 0; i < p->n_preferred; i++)
                if (all_match(p->preferred[i].reqs, p->preferred[i].n, n))
                        sum += p->preferred[i].weight;
        return sum;
}
static const struct plugin node_affinity = { .name = "NodeAffinity",
                                             .filter = affinity_filter,
                                             .score = affinity_score,
                                             .normalize = SCORE_NORMALIZE,
                                             .weight = 2 };

/* ---- VolumeBinding: nodes that may have the pod's volumes (volumes.c) ---- */

static enum verdict volume_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        for (size_t i = 0; i < p->volume_needs.n; i++) {
                const struct volume_need *need = &p->volume_needs.v[i];
                bool ok = need->anywhere;
                for (size_t k = 0; !ok && k < need->terms.n; k++)
                        ok = need->terms.v[k].n && all_match(need->terms.v[k].reqs, need->terms.v[k].n, n);
                if (!ok) {
                        reasons_add(why, "%s", need->reason);
                        return UNRESOLVABLE;
                }
        }
        return FIT;
}
static const struct plugin volume_binding = { .name = "VolumeBinding", .filter = volume_filter };

/* ---- NodePorts ---- */

static bool ports_conflict(const struct host_port *a, const struct host_port *b) {
        return a->port == b->port && str_eq(a->protocol, b->protocol) && (!a->ip.n || !b->ip.n || str_eq(a->ip, b->ip));
}

static enum verdict ports_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        if (!p->n_ports || !n->ports_in_use)
                return FIT;
        for (size_t i = 0; i < n->pods.n; i++)
                for (size_t k = 0; k < n->pods.v[i]->n_ports; k++)
                        for (size_t m = 0; m < p->n_ports; m++)
                                if (ports_conflict(&n->pods.v[i]->ports[k], &p->ports[m])) {
                                        reasons_add(why, "node(s) didn't have free ports for the requested pod ports");
                                        return UNSCHEDULABLE;
                                }
        return FIT;
}
static const struct plugin node_ports = { .name = "NodePorts", .filter = ports_filter };

/* ---- NodeResourcesFit, with LeastAllocated ---- */

static enum verdict fit_filter(const struct pod_info *p, const struct node_info *n, struct reasons *why) {
        const struct resources *q = &p->requests, *have = &n->allocatable;
        bool never = false; /* more than the node has at all: no eviction would help */
        if ((int64_t) n->pods.n + 1 > n->allowed_pods)
                reasons_add(why, "Too many pods");
        if (q->milli_cpu > 0 && q->milli_cpu > have->milli_cpu - n->used_cpu) {
                reasons_add(why, "Insufficient cpu");
                never |= q->milli_cpu > have->milli_cpu;
        }
        if (q->memory > 0 && q->memory > have->memory - n->used_memory) {
                reasons_add(why, "Insufficient memory");
                never |= q->memory > have->memory;
        }
        if (q->ephemeral > 0 && q->ephemeral > have->ephemeral - n->used_ephemeral) {
                reasons_add(why, "Insufficient ephemeral-storage");
                never |= q->ephemeral > have->ephemeral;
        }
        for (size_t i = 0; i < q->n_scalars; i++) {
                int64_t total = scalar_get(have->scalars, have->n_scalars, q->scalars[i].name);
                if (!q->scalars[i].value ||
                    q->scalars[i].value <= total - scalar_get(n->used_scalars.v, n->used_scalars.n, q->scalars[i].name))
                        continue;
                reasons_add(why, "Insufficient %" STR_FMT, STR_ARG(q->scalars[i].name));
                never |= q->scalars[i].value > total;
        }
        return !why->n ? FIT : never ? UNRESOLVABLE : UNSCHEDULABLE;
}

static int64_t least(int64_t requested, int64_t capacity) {
        return capacity <= 0 || requested > capacity ? 0 : (capacity - requested) * MAX_SCORE / capacity;
}

static int64_t fit_score(const struct pod_info *p, const struct node_info *n) {
        return (least(n->nonzero_cpu + p->nonzero_cpu, n->allocatable.milli_cpu) +
                least(n->nonzero_memory + p->nonzero_memory, n->allocatable.memory)) /
               2;
}
static const struct plugin node_resources_fit = {
        .name = "NodeResourcesFit", .filter = fit_filter, .score = fit_score, .weight = 1
};

/* ---- NodeResourcesBalancedAllocation ---- */

static double fraction(int64_t requested, int64_t capacity) {
        return capacity <= 0 ? 1 : MIN((double) requested / (double) capacity, 1.0);
}

/* With two resources the standard deviation of their fractions is half their distance. */
static int64_t balanced_score(const struct pod_info *p, const struct node_info *n) {
        double d = fraction(n->used_cpu + p->requests.milli_cpu, n->allocatable.milli_cpu) -
                   fraction(n->used_memory + p->requests.memory, n->allocatable.memory);
        return (int64_t) ((1 - (d < 0 ? -d : d) / 2) * MAX_SCORE);
}
static const struct plugin balanced_allocation = { .name = "NodeResourcesBalancedAllocation",
                                                   .score = balanced_score,
                                                   .weight = 1 };

const struct plugin *const plugins[] = {
        &node_unschedulable, &node_name,      &taint_toleration,    &node_affinity, &node_ports,
        &node_resources_fit, &volume_binding, &balanced_allocation, NULL,
};
