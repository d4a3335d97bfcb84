/* The Node: registered at the first chance, its status kept, its Lease renewed.
 *
 *   start ─▶ task: create or adopt the Node with its whole status (Ready) ─▶ lease every 10 s
 *   poke (pressure, network, images) or 5 min ─▶ task: patch of the status if it differs
 *
 * One task at a time; the timers are the loop's, the calls the pool's. */
#include "kubelet/internal.h"

#include "json/build.h"
#include "schema/quantity.h"
#include "schema/types.h"

#define LEASE_SECONDS 40
#define LEASE_MS (10 * 1000)
#define STATUS_NS (300 * NSEC_PER_SEC)
#define RETRY_MS 200
#define SETTLE_NS \
        (5 * NSEC_PER_SEC) /* how long a node that was Ready before keeps saying so while its network comes up */
#define SETTLE_MS 10
#define MAX_RETRY_MS (7 * 1000)
#define MAX_IMAGES 50
#define MAX_IMAGE_NAMES 5

struct node_agent {
        struct kubelet *k;
        struct timer timer;
        struct task task;
        struct loop_work poked;
        bool poke_queued;                      /* atomic */
        bool busy, stopping;                   /* loop */
        bool registered, has_lease, announced; /* task */
        bool settling;                         /* task → loop: waits for the network */
        int64_t started_ns;                    /* monotonic */
        bool pressed[3], ready, told;          /* task: what events have said */
        bool force;                            /* loop → task: write even if nothing changed */
        unsigned failures;
        bool again;
        char *sent;      /* the status last written, without heartbeat times */
        int64_t sent_ns; /* monotonic */
};

/* ---- status ---- */

static struct json quantity_json(struct arena *a, struct quantity q) {
        char text[64];

        return json_of_copy(a, quantity_print(text, q));
}

static void put_bytes(struct arena *a, struct json *o, const char *key, int64_t bytes) {
        json_setc(a, o, key, quantity_json(a, quantity_of_int(MAX(bytes, 0), QUANTITY_BINARY_SI)));
}

/* In whole KiB, as upstream prints memory. */
static void put_kib(struct arena *a, struct json *o, const char *key, int64_t bytes) {
        json_setc(a, o, key, json_of_printf(a, "%lldKi", (long long) MAX(bytes, 0) >> 10));
}

static struct json resources_json(struct node_agent *n, struct arena *a, bool allocatable) {
        const struct kubelet_options *o = &n->k->o;
        int64_t cpu = o->cpu_milli, memory = o->memory_bytes, storage = o->storage_bytes;
        struct json list = json_new_object();

        if (allocatable) {
                cpu -= o->reserved_cpu_milli;
                memory -= o->reserved_memory_bytes + MAX(o->eviction_memory_bytes, 0);
                storage -= o->eviction_disk_percent > 0 ? storage / 100 * o->eviction_disk_percent : 0;
        }
        json_setc(a, &list, "cpu", quantity_json(a, quantity_of_milli(cpu, QUANTITY_DECIMAL_SI)));
        if (allocatable)
                json_setc(a, &list, "ephemeral-storage", json_of_printf(a, "%lld", (long long) storage));
        else
                put_kib(a, &list, "ephemeral-storage", storage);
        for (size_t i = 0; i < n->k->machine->n_hugepages; i++)
                put_bytes(a, &list, arena_printf(a, "hugepages-%s", n->k->machine->hugepages[i].size).p,
                          n->k->machine->hugepages[i].bytes);
        put_kib(a, &list, "memory", memory);
        json_setc(a, &list, "pods", json_of_printf(a, "%d", o->max_pods));
        return list;
}

static struct json addresses_json(struct node_agent *n, struct arena *a) {
        const struct kubelet_options *o = &n->k->o;
        struct json list = json_new_array();

        for (size_t i = 0; i < 2; i++)
                if (o->node_ips[i])
                        json_push(a, &list, json_build(a, "{ type: 'InternalIP', address: %c }", o->node_ips[i]));
        json_push(a, &list, json_build(a, "{ type: 'Hostname', address: %c }", o->node_name));
        return list;
}

static struct json node_info_json(struct node_agent *n, struct arena *a) {
        const struct machine *m = n->k->machine;

        return json_build(a,
                          "{ machineID: %c, systemUUID: %c, bootID: %c, kernelVersion: %c, osImage: %c,"
                          "  containerRuntimeVersion: %c, kubeletVersion: %c, kubeProxyVersion: '',"
                          "  operatingSystem: 'linux', architecture: %c }",
                          m->machine_id, m->system_uuid, m->boot_id, m->kernel, m->os_image, n->k->o.runtime_version,
                          CUBE_KUBELET_VERSION, m->arch);
}

static int larger_first(const void *a, const void *b) {
        const struct image_status *x = a, *y = b;

        return x->size > y->size ? -1 : x->size < y->size;
}

static struct json images_json(struct node_agent *n, struct arena *a) {
        struct json list = json_new_array();
        struct image_status *images = NULL;
        size_t n_images = 0;

        if (runtime_image_list(n->k->runtime, a, &images, &n_images, NULL) < 0 || n_images == 0)
                return list;
        qsort(images, n_images, sizeof(*images), larger_first);
        for (size_t i = 0; i < MIN(n_images, (size_t) MAX_IMAGES); i++) {
                char **const both[] = { images[i].digests, images[i].tags };
                struct json names = json_new_array();

                for (size_t j = 0; j < ARRAY_SIZE(both); j++)
                        for (char **name = both[j]; name && *name && json_len(&names) < MAX_IMAGE_NAMES; name++)
                                json_push(a, &names, json_of_cstr(*name));
                json_push(a, &list, json_build(a, "{ names: %j, sizeBytes: %l }", &names, (int64_t) images[i].size));
        }
        return list;
}

struct condition {
        const char *type, *reason, *message;
        bool status;
};

static void push_condition(struct node_agent *n, struct arena *a, struct json *list, const struct condition *c,
                           const struct json *old) {
        const struct json *was = json_find_by(old, "type", str_of(c->type));
        const char *word = c->status ? "True" : "False";
        char text[36];
        struct str now = time_format(text, kubelet_now(n->k));

        json_push(a, list,
                  json_build(a,
                             "{ type: %c, status: %c, lastHeartbeatTime: %S, lastTransitionTime: %S, reason: %c,"
                             "  message: %c }",
                             c->type, word, now,
                             str_eqc(jstr(was, "status"), word) ? jstr(was, "lastTransitionTime") : now, c->reason,
                             c->message));
}

static bool network_ready(struct kubelet *k) {
        return !k->o.network || !k->o.network->ready || k->o.network->ready(k->o.network);
}

static struct json conditions_json(struct node_agent *n, struct arena *a, const struct json *old) {
        struct kubelet *k = n->k;
        bool memory = eviction_memory_pressure(k), disk = eviction_disk_pressure(k), pid = eviction_pid_pressure(k);
        bool network = network_ready(k);
        const struct condition conditions[] = {
                { "MemoryPressure", memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
                  memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available",
                  memory },
                { "DiskPressure", disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
                  disk ? "kubelet has disk pressure" : "kubelet has no disk pressure", disk },
                { "PIDPressure", pid ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID",
                  pid ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available", pid },
                { "Ready", network ? "KubeletReady" : "KubeletNotReady",
                  network ? "kubelet is posting ready status"
                          : "container runtime network not ready: NetworkReady=false "
                            "reason:NetworkPluginNotReady "
                            "message:Network plugin returns error: pod network is not ready",
                  network },
        };
        struct json list = json_new_array();

        for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
                push_condition(n, a, &list, &conditions[i], old);
        return list;
}

static struct json status_json(struct node_agent *n, struct arena *a, const struct json *old) {
        struct json capacity = resources_json(n, a, false), allocatable = resources_json(n, a, true),
                    conditions = conditions_json(n, a, json_getc(old, "conditions")), addresses = addresses_json(n, a),
                    info = node_info_json(n, a), images = images_json(n, a);

        return json_build(a,
                          "{ capacity: %j, allocatable: %j, conditions: %j, addresses: %j,"
                          "  daemonEndpoints: { kubeletEndpoint: { Port: %d } }, nodeInfo: %j, images: %j }",
                          &capacity, &allocatable, &conditions, &addresses, (int) kubelet_port(n->k), &info,
                          json_len(&images) ? &images : NULL);
}

/* The status without the times that change each time: to see whether anything has. */
static char *fingerprint(struct arena *a, const struct json *status) {
        struct json copy = json_copy_tree(a, status), *conditions = json_get_mut(&copy, STR("conditions"));
        struct buf text = BUF_INIT;

        json_each_item(c, conditions) {
                json_removec(c, "lastHeartbeatTime");
                json_removec(c, "lastTransitionTime");
        }
        json_write(&text, &copy);
        return buf_take(&text, NULL);
}

/* ---- registration ---- */

static struct json labels_json(struct node_agent *n, struct arena *a) {
        const struct {
                const char *key, *value;
        } own[] = {
                { "beta.kubernetes.io/arch", n->k->machine->arch },
                { "beta.kubernetes.io/os", "linux" },
                { "kubernetes.io/arch", n->k->machine->arch },
                { "kubernetes.io/hostname", n->k->o.node_name },
                { "kubernetes.io/os", "linux" },
        };
        struct json o = json_new_object();

        for (size_t i = 0; i < ARRAY_SIZE(own); i++)
                json_set_cstr(a, &o, own[i].key, own[i].value);
        json_each_member(m, n->k->o.labels)
                json_set(a, &o, json_key(m), m->value);
        return o;
}

static struct json node_json(struct node_agent *n, struct arena *a) {
        const struct kubelet_options *o = &n->k->o;
        struct json labels = labels_json(n, a), status = status_json(n, a, NULL);

        return json_build(a,
                          "{ kind: 'Node', apiVersion: 'v1', metadata: { name: %c, labels: %j, annotations: {"
                          "  'volumes.kubernetes.io/controller-managed-attach-detach': 'true' } },"
                          "  spec: { providerID: %c, taints: %j }, status: %j }",
                          o->node_name, &labels, o->provider_id, json_len(o->taints) ? o->taints : NULL, &status);
}

/* A Node of our name is there (a restart): our labels go onto it, the rest stays. */
static int adopt_node(struct node_agent *n, struct arena *a, struct error *err) {
        struct json labels = labels_json(n, a), patch = json_build(a, "{ metadata: { labels: %j } }", &labels);

        return client_patch(n->k->client, &res_nodes, STR(""), str_of(n->k->o.node_name), STR(""), API_PATCH_MERGE,
                            &patch, NULL, err);
}

/* Upstream's events about a node: at the start each condition, later what changes. */
static void tell_events(struct node_agent *n, const struct json *status) {
        static const struct {
                const char *type, *yes, *no;
        } conditions[] = {
                { "MemoryPressure", "NodeHasInsufficientMemory", "NodeHasSufficientMemory" },
                { "DiskPressure", "NodeHasDiskPressure", "NodeHasNoDiskPressure" },
                { "PIDPressure", "NodeHasInsufficientPID", "NodeHasSufficientPID" },
                { "Ready", "NodeReady", "NodeNotReady" },
        };
        _cleanup_(object_unrefp) struct object *o = NULL;
        bool *told[] = { &n->pressed[0], &n->pressed[1], &n->pressed[2], &n->ready };

        if (client_get(n->k->client, &res_nodes, STR(""), str_of(n->k->o.node_name), &o, NULL) < 0)
                return;
        if (!n->told)
                event_record(n->k->events, &res_nodes, o, NULL, "Normal", "Starting", "Starting kubelet.");
        for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
                const struct json *c = condition_find(status, conditions[i].type);
                bool now = str_eqc(jstr(c, "status"), "True");
                const char *reason = now ? conditions[i].yes : conditions[i].no;

                if (!c || (n->told && now == *told[i]))
                        continue;
                *told[i] = now;
                event_record(n->k->events, &res_nodes, o, NULL, "Normal", reason, "Node %s status is now: %s",
                             n->k->o.node_name, reason);
        }
        if (!n->told)
                event_record(n->k->events, &res_nodes, o, NULL, "Normal", "NodeAllocatableEnforced",
                             "Updated Node Allocatable limit across pods");
        n->told = true;
}

static void call_ready(void *arg) {
        struct kubelet *k = arg;

        if (k->o.node_ready)
                k->o.node_ready(k->o.arg);
}

static void note_sent(struct node_agent *n, struct arena *a, const struct json *status) {
        free(n->sent);
        n->sent = fingerprint(a, status);
        n->sent_ns = now_mono_ns();
        if (!n->announced && condition_is(status, "Ready", "True")) {
                n->announced = true;
                loop_call(n->k->loop, call_ready, n->k);
        }
        tell_events(n, status);
}

static int register_node(struct node_agent *n, struct arena *a, struct error *err) {
        struct json node = node_json(n, a);
        int r = client_create(n->k->client, &res_nodes, STR(""), &node, NULL, err);

        if (r == -EEXIST) {
                error_clear(err);
                r = adopt_node(n, a, err);
        } else if (r >= 0)
                note_sent(n, a, json_getc(&node, "status"));
        if (r >= 0)
                n->registered = true;
        return r;
}

/* ---- upkeep ---- */

static int update_status(struct node_agent *n, struct arena *a, struct error *err) {
        _cleanup_(object_unrefp) struct object *node = NULL;
        struct json status, patch, *addresses;
        int r = client_get(n->k->client, &res_nodes, STR(""), str_of(n->k->o.node_name), &node, err);

        if (r == -ENOENT)
                n->registered = false; /* somebody deleted it: it is registered anew */
        if (r < 0)
                return r;
        status = status_json(n, a, json_getc(object_json(node), "status"));
        _cleanup_free_ char *print = fingerprint(a, &status);
        if (n->sent && strcmp(print, n->sent) == 0 && now_mono_ns() - n->sent_ns < STATUS_NS)
                return 0;
        /* addresses merge by type: replaced as a whole */
        addresses = json_get_mut(&status, STR("addresses"));
        json_insert(a, addresses, 0, json_build(a, "{ '$patch': 'replace' }"));
        patch = json_build(a, "{ status: %j }", &status);
        r = client_patch(n->k->client, &res_nodes, STR(""), str_of(n->k->o.node_name), STR("status"),
                         API_PATCH_STRATEGIC, &patch, NULL, err);
        json_remove_item(addresses, 0);
        if (r >= 0)
                note_sent(n, a, &status);
        return r;
}

static struct json lease_json(struct node_agent *n, struct arena *a, const struct object *node) {
        const char *name = n->k->o.node_name;
        struct json owners = json_new_array();
        char text[36];

        if (node)
                json_push(a, &owners,
                          json_build(a, "{ apiVersion: 'v1', kind: 'Node', name: %c, uid: %S }", name,
                                     object_uid(node)));
        return json_build(a,
                          "{ kind: 'Lease', apiVersion: 'coordination.k8s.io/v1',"
                          "  metadata: { name: %c, namespace: 'kube-node-lease', ownerReferences: %j },"
                          "  spec: { holderIdentity: %c, leaseDurationSeconds: %d, renewTime: %S } }",
                          name, node ? &owners : NULL, name, LEASE_SECONDS, time_format_micro(text, kubelet_now(n->k)));
}

static int renew_lease(struct node_agent *n, struct arena *a, struct error *err) {
        _cleanup_(object_unrefp) struct object *node = NULL;

        if (!n->has_lease)
                TRY(client_get(n->k->client, &res_nodes, STR(""), str_of(n->k->o.node_name), &node, err));
        struct json lease = lease_json(n, a, node);
        int r = client_patch(n->k->client, &res_leases, STR("kube-node-lease"), str_of(n->k->o.node_name), STR(""),
                             API_PATCH_MERGE, &lease, NULL, err);
        if (r == -ENOENT) {
                error_clear(err);
                r = client_create(n->k->client, &res_leases, STR("kube-node-lease"), &lease, NULL, err);
        }
        n->has_lease = r >= 0;
        return r;
}

static void run(struct task *t) {
        struct node_agent *n = container_of(t, struct node_agent, task);
        _cleanup_(arena_freep) struct arena *a = arena_new(16 * 1024);
        _cleanup_error_ struct error err = ERROR_INIT;
        bool first = !n->registered;
        int r = 0;

        if (first)
                r = register_node(n, a, &err);
        n->settling = !n->announced && !network_ready(n->k) && now_mono_ns() - n->started_ns < SETTLE_NS;
        if (r >= 0 && !n->settling && (!first || !n->sent))
                r = update_status(n, a, &err);
        if (r >= 0 && (!n->settling || !n->has_lease))
                r = renew_lease(n, a, &err);
        if (r < 0 && (n->failures++ % 20) == 0)
                log_warn("kubelet: node %s: %s", n->k->o.node_name, error_text(&err));
        else if (r >= 0)
                n->failures = 0;
}

/* ---- timing ---- */

static void fire(struct timer *t);

static void done(struct task *t) {
        struct node_agent *n = container_of(t, struct node_agent, task);
        uint64_t ms = LEASE_MS;

        n->busy = false;
        if (n->stopping)
                return;
        if (n->failures)
                ms = MIN((uint64_t) RETRY_MS << MIN(n->failures - 1, 6u), (uint64_t) MAX_RETRY_MS);
        else if (n->again)
                ms = 1;
        else if (!n->announced)
                ms = n->settling ? SETTLE_MS : RETRY_MS;
        n->again = false;
        timer_start(n->k->loop, &n->timer, ms, fire);
}

static void fire(struct timer *t) {
        struct node_agent *n = container_of(t, struct node_agent, timer);

        if (n->busy) {
                n->again = true;
                return;
        }
        n->busy = true;
        n->task.run = run;
        n->task.done = done;
        pool_submit(n->k->pool, &n->task);
}

static void on_poke(struct loop_work *w) {
        struct node_agent *n = container_of(w, struct node_agent, poked);

        __atomic_store_n(&n->poke_queued, false, __ATOMIC_RELEASE);
        if (!n->stopping)
                fire(&n->timer);
}

void node_poke(struct kubelet *k) {
        struct node_agent *n = k->node;

        if (!n || __atomic_exchange_n(&n->poke_queued, true, __ATOMIC_ACQ_REL))
                return;
        n->poked.run = on_poke;
        loop_post(k->loop, &n->poked);
}

struct node_agent *node_start(struct kubelet *k) {
        struct node_agent *n = xnew(struct node_agent, .k = k, .started_ns = now_mono_ns());

        fire(&n->timer);
        return n;
}

void node_stop(struct node_agent *n) {
        n->stopping = true;
        timer_close(&n->timer, NULL);
}

void node_free(struct node_agent *n) {
        if (!n)
                return;
        free(n->sent);
        free(n);
}
