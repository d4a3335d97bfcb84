/* A pod as the scheduler reckons with it: what it asks for in numbers, where it may go as compiled terms. Made once,
 * used for every node. https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/ */
#include "schema/quantity.h"
#include "schema/types.h"
#include "scheduler/framework.h"

#define IDLE_MILLI_CPU 100 /* what a container without requests counts for in scores, as upstream */
#define IDLE_MEMORY (200LL * 1024 * 1024)

int64_t scalar_get(const struct scalar *s, size_t n, struct str name) {
        for (size_t i = 0; i < n; i++)
                if (str_eq(s[i].name, name))
                        return s[i].value;
        return 0;
}

static int64_t *resource_slot(struct arena *a, struct resources *r, struct str name) {
        if (str_eq(name, STR("cpu")))
                return &r->milli_cpu;
        if (str_eq(name, STR("memory")))
                return &r->memory;
        if (str_eq(name, STR("ephemeral-storage")))
                return &r->ephemeral;
        for (size_t i = 0; i < r->n_scalars; i++)
                if (str_eq(r->scalars[i].name, name))
                        return &r->scalars[i].value;
        struct scalar *grown = arena_array(a, struct scalar, r->n_scalars + 1);
        if (r->n_scalars)
                memcpy(grown, r->scalars, r->n_scalars * sizeof(*grown));
        grown[r->n_scalars].name = name;
        r->scalars = grown;
        return &r->scalars[r->n_scalars++].value;
}

static void resources_add_json(struct arena *a, struct resources *r, const struct json *list) {
        json_each_member(m, list) {
                struct quantity q = quantity_of_json(&m->value);
                *resource_slot(a, r, json_key(m)) +=
                                str_eq(json_key(m), STR("cpu")) ? quantity_milli(q) : quantity_value(q);
        }
}

static void resources_add(struct arena *a, struct resources *r, const struct resources *o) {
        r->milli_cpu += o->milli_cpu;
        r->memory += o->memory;
        r->ephemeral += o->ephemeral;
        for (size_t i = 0; i < o->n_scalars; i++)
                *resource_slot(a, r, o->scalars[i].name) += o->scalars[i].value;
}

static void resources_max(struct arena *a, struct resources *r, const struct resources *o) {
        r->milli_cpu = MAX(r->milli_cpu, o->milli_cpu);
        r->memory = MAX(r->memory, o->memory);
        r->ephemeral = MAX(r->ephemeral, o->ephemeral);
        for (size_t i = 0; i < o->n_scalars; i++) {
                int64_t *v = resource_slot(a, r, o->scalars[i].name);
                *v = MAX(*v, o->scalars[i].value);
        }
}

static struct resources container_requests(struct arena *a, const struct json *container, bool idle) {
        struct resources r = { 0 };
        const struct json *requests = ResourceRequirements_requests(Container_resources(container));
        resources_add_json(a, &r, requests);
        if (idle && !json_getc(requests, "cpu"))
                r.milli_cpu = IDLE_MILLI_CPU;
        if (idle && !json_getc(requests, "memory"))
                r.memory = IDLE_MEMORY;
        return r;
}

/* The most the pod can use at any time: all containers with the sidecars, or one init container with the sidecars
 * before it. */
static struct resources pod_requests(struct arena *a, const struct json *spec, bool idle) {
        struct resources total = { 0 }, sidecars = { 0 }, init = { 0 };
        json_each_item(c, PodSpec_containers(spec)) {
                struct resources r = container_requests(a, c, idle);
                resources_add(a, &total, &r);
        }
        json_each_item(c, PodSpec_initContainers(spec)) {
                struct resources r = container_requests(a, c, idle), now = { 0 };
                if (str_eq(Container_restartPolicy(c), STR("Always"))) {
                        resources_add(a, &total, &r);
                        resources_add(a, &sidecars, &r);
                        resources_add(a, &now, &sidecars);
                } else {
                        resources_add(a, &now, &sidecars);
                        resources_add(a, &now, &r);
                }
                resources_max(a, &init, &now);
        }
        resources_max(a, &total, &init);
        resources_add_json(a, &total, PodSpec_overhead(spec));
        return total;
}

static void collect_ports(struct pod_info *p, const struct json *spec) {
        size_t n = 0;
        json_each_item(c, PodSpec_containers(spec))
                n += json_len(Container_ports(c));
        p->ports = arena_array(p->arena, struct host_port, n);
        json_each_item(c, PodSpec_containers(spec)) {
                json_each_item(port, Container_ports(c)) {
                        if (!ContainerPort_hostPort(port))
                                continue;
                        struct str ip = ContainerPort_hostIP(port);
                        p->ports[p->n_ports++] = (struct host_port) {
                                .ip = str_eq(ip, STR("0.0.0.0")) || str_eq(ip, STR("::")) ? str_n("", 0) : ip,
                                .protocol = json_str_or(json_getc(port, "protocol"), STR("TCP")),
                                .port = ContainerPort_hostPort(port),
                        };
                }
        }
}

static void collect_tolerations(struct pod_info *p, const struct json *spec) {
        const struct json *list = PodSpec_tolerations(spec);
        p->tolerations = arena_array(p->arena, struct toleration, json_len(list));
        json_each_item(t, list)
                p->tolerations[p->n_tolerations++] = (struct toleration) {
                        .key = Toleration_key(t),
                        .value = Toleration_value(t),
                        .effect = Toleration_effect(t),
                        .exists = str_eq(Toleration_operator(t), STR("Exists")),
                };
}

static const struct {
        const char *name;
        enum selector_op op;
} node_operators[] = {
        { "In", SELECTOR_IN },         { "NotIn", SELECTOR_NOT_IN },
        { "Exists", SELECTOR_EXISTS }, { "DoesNotExist", SELECTOR_NOT_EXISTS },
        { "Gt", SELECTOR_GT },         { "Lt", SELECTOR_LT },
};

static void add_requirements(struct arena *a, struct node_term *t, const struct json *list, bool field) {
        json_each_item(j, list) {
                struct node_requirement *q = &t->reqs[t->n++];
                const struct json *values = NodeSelectorRequirement_values(j);
                q->key = NodeSelectorRequirement_key(j);
                q->field = field;
                for (size_t i = 0; i < ARRAY_SIZE(node_operators); i++)
                        if (str_eqc(NodeSelectorRequirement_operator(j), node_operators[i].name))
                                q->op = node_operators[i].op;
                q->values = arena_array(a, struct str, json_len(values));
                json_each_item(v, values)
                        q->values[q->n_values++] = json_str(v);
        }
}

struct node_term pod_info_term(struct arena *a, const struct json *term) {
        const struct json *labels = NodeSelectorTerm_matchExpressions(term),
                          *fields = NodeSelectorTerm_matchFields(term);
        struct node_term t = { .reqs = arena_array(a, struct node_requirement, json_len(labels) + json_len(fields)) };
        add_requirements(a, &t, labels, false);
        add_requirements(a, &t, fields, true);
        return t;
}

static void collect_affinity(struct pod_info *p, const struct json *spec) {
        const struct json *map = PodSpec_nodeSelector(spec), *affinity = Affinity_nodeAffinity(PodSpec_affinity(spec));
        p->selector = arena_array(p->arena, struct node_requirement, json_len(map));
        json_each_member(m, map) {
                struct str *value = arena_array(p->arena, struct str, 1);
                *value = json_str(&m->value);
                p->selector[p->n_selector++] = (struct node_requirement) {
                        .key = json_key(m), .values = value, .n_values = 1, .op = SELECTOR_IN
                };
        }
        const struct json *required = NodeAffinity_requiredDuringSchedulingIgnoredDuringExecution(affinity);
        const struct json *terms = NodeSelector_nodeSelectorTerms(required);
        p->has_terms = json_is(required, JSON_OBJECT);
        p->terms = arena_array(p->arena, struct node_term, json_len(terms));
        json_each_item(t, terms)
                p->terms[p->n_terms++] = pod_info_term(p->arena, t);
        const struct json *preferred = NodeAffinity_preferredDuringSchedulingIgnoredDuringExecution(affinity);
        p->preferred = arena_array(p->arena, struct node_term, json_len(preferred));
        json_each_item(t, preferred) {
                p->preferred[p->n_preferred] = pod_info_term(p->arena, PreferredSchedulingTerm_preference(t));
                p->preferred[p->n_preferred++].weight = PreferredSchedulingTerm_weight(t);
        }
}

struct pod_info *pod_info_new(struct object *pod) {
        struct arena *a = arena_new(1024);
        struct pod_info *p = xcalloc(1, sizeof(*p));
        const struct json *spec = Pod_spec(object_json(pod));
        p->pod = object_ref(pod);
        p->arena = a;
        p->uid = object_uid(pod);
        p->key = arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(object_namespace(pod)), STR_ARG(object_name(pod)));
        p->node_name = PodSpec_nodeName(spec);
        p->priority = (int32_t) PodSpec_priority(spec);
        p->requests = pod_requests(a, spec, false);
        struct resources idle = pod_requests(a, spec, true);
        p->nonzero_cpu = idle.milli_cpu;
        p->nonzero_memory = idle.memory;
        collect_ports(p, spec);
        collect_tolerations(p, spec);
        collect_affinity(p, spec);
        list_init(&p->link);
        return p;
}

void pod_info_forget_volumes(struct pod_info *p) {
        for (size_t i = 0; i < p->volume_needs.n; i++)
                vec_free(&p->volume_needs.v[i].terms);
        p->volume_needs.n = 0;
        if (p->volumes_arena)
                arena_reset(p->volumes_arena);
}

void pod_info_free(struct pod_info *p) {
        pod_info_forget_volumes(p);
        vec_free(&p->volume_needs);
        arena_free(p->volumes_arena);
        object_unref(p->pod);
        arena_free(p->arena);
        free(p);
}
