/* What is on each node: pods that the API says are bound, and those this scheduler has just decided on ("assumed")
 * before the API says so. Sums are kept, so a filter is a few comparisons. A node can have pods before it is known
 * itself. */
#include "schema/quantity.h"
#include "schema/types.h"
#include "scheduler/framework.h"

void cache_init(struct cache *c) {
        *c = (struct cache) { .by_name = map_new(NULL), .pods = map_new(NULL) };
}

static void node_free(struct node_info *n) {
        for (size_t i = 0; i < n->pods.n; i++)
                pod_info_free(n->pods.v[i]);
        for (size_t i = 0; i < n->used_scalars.n; i++)
                free((char *) n->used_scalars.v[i].name.p);
        vec_free(&n->pods);
        vec_free(&n->used_scalars);
        object_unref(n->node);
        arena_free(n->arena);
        free((char *) n->name.p);
        free(n);
}

void cache_free(struct cache *c) {
        map_each(it, c->by_name)
                node_free(it.value);
        map_free(c->by_name);
        map_free(c->pods);
        vec_free(&c->nodes);
}

static struct node_info *node_of(struct cache *c, struct str name) {
        struct node_info *n = map_get(c->by_name, name);
        if (!n) {
                n = xcalloc(1, sizeof(*n));
                n->name = str_n(str_dup(name), name.n);
                map_put(c->by_name, n->name, n);
        }
        return n;
}

static void unlist(struct cache *c, const struct node_info *n) {
        for (size_t i = 0; i < c->nodes.n; i++)
                if (c->nodes.v[i] == n) {
                        c->nodes.v[i] = c->nodes.v[--c->nodes.n];
                        return;
                }
}

static void drop_if_unused(struct cache *c, struct node_info *n) {
        if (n->node || n->pods.n)
                return;
        map_remove(c->by_name, n->name);
        node_free(n);
}

static void read_allocatable(struct node_info *n, const struct json *status) {
        const struct json *list = NodeStatus_allocatable(status);
        n->allocatable = (struct resources) { .scalars = arena_array(n->arena, struct scalar, json_len(list)) };
        n->allowed_pods = 0;
        json_each_member(m, list) {
                struct str name = json_key(m);
                struct quantity q = quantity_of_json(&m->value);
                if (str_eq(name, STR("cpu")))
                        n->allocatable.milli_cpu = quantity_milli(q);
                else if (str_eq(name, STR("memory")))
                        n->allocatable.memory = quantity_value(q);
                else if (str_eq(name, STR("ephemeral-storage")))
                        n->allocatable.ephemeral = quantity_value(q);
                else if (str_eq(name, STR("pods")))
                        n->allowed_pods = quantity_value(q);
                else
                        n->allocatable.scalars[n->allocatable.n_scalars++] =
                                        (struct scalar) { name, quantity_value(q) };
        }
}

void cache_set_node(struct cache *c, struct object *node) {
        struct node_info *n = node_of(c, object_name(node));
        const struct json *spec = Node_spec(object_json(node)), *taints = NodeSpec_taints(spec);
        if (!n->node)
                vec_push(&c->nodes, n);
        object_unref(n->node);
        arena_free(n->arena);
        n->node = object_ref(node);
        n->arena = arena_new(512);
        n->unschedulable = NodeSpec_unschedulable(spec);
        n->taints = arena_array(n->arena, struct taint, json_len(taints));
        n->n_taints = 0;
        json_each_item(t, taints)
                n->taints[n->n_taints++] = (struct taint) { Taint_key(t), Taint_value(t), Taint_effect(t) };
        read_allocatable(n, Node_status(object_json(node)));
}

void cache_remove_node(struct cache *c, struct str name) {
        struct node_info *n = map_get(c->by_name, name);
        if (!n || !n->node)
                return;
        unlist(c, n);
        object_unref(n->node);
        n->node = NULL;
        drop_if_unused(c, n);
}

/* sign is 1 or -1. */
static void account(struct node_info *n, const struct pod_info *p, int64_t sign) {
        n->used_cpu += sign * p->requests.milli_cpu;
        n->used_memory += sign * p->requests.memory;
        n->used_ephemeral += sign * p->requests.ephemeral;
        n->nonzero_cpu += sign * p->nonzero_cpu;
        n->nonzero_memory += sign * p->nonzero_memory;
        n->ports_in_use = (size_t) ((int64_t) n->ports_in_use + sign * (int64_t) p->n_ports);
        for (size_t i = 0; i < p->requests.n_scalars; i++) {
                struct scalar *found = NULL, *want = &p->requests.scalars[i];
                for (size_t k = 0; k < n->used_scalars.n; k++)
                        if (str_eq(n->used_scalars.v[k].name, want->name))
                                found = &n->used_scalars.v[k];
                if (!found) {
                        vec_push(&n->used_scalars,
                                 ((struct scalar) { .name = str_n(str_dup(want->name), want->name.n) }));
                        found = &n->used_scalars.v[n->used_scalars.n - 1];
                }
                found->value += sign * want->value;
        }
}

void cache_add_pod(struct cache *c, struct pod_info *p) {
        cache_remove_pod(c, p->uid);
        struct node_info *n = node_of(c, p->node_name);
        vec_push(&n->pods, p);
        account(n, p, 1);
        map_put(c->pods, p->uid, p);
}

bool cache_has_pod(const struct cache *c, struct str uid) {
        return map_has(c->pods, uid);
}

bool cache_remove_pod(struct cache *c, struct str uid) {
        struct pod_info *p = map_take(c->pods, uid);
        if (!p)
                return false;
        struct node_info *n = map_get(c->by_name, p->node_name);
        account(n, p, -1);
        for (size_t i = 0; i < n->pods.n; i++)
                if (n->pods.v[i] == p) {
                        n->pods.v[i] = n->pods.v[--n->pods.n];
                        break;
                }
        pod_info_free(p);
        drop_if_unused(c, n);
        return true;
}
