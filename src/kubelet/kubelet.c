/* The kubelet's start, its stop, and the loop between: pods come from the informer, steps go to the pool.
 *
 *   start ──▶ server, node (registers at once), inventory of the runtime, informers
 *               └─ when inventory and first lists are in: every pod gets a worker, strangers are stopped
 *
 *   pod:  poke ─▶ dirty ─▶ step on a thread ─▶ inbox applied, view published, probes set ─▶ dirty again? next step
 */
#include "kubelet/internal.h"

#include "base/file.h"
#include "base/lock.h"
#include "schema/types.h"

#define RELIST_MS (60 * 1000)

/* What the runtime had of a pod when we came. */
struct adopted {
        char *ns, *name;
        VEC(struct adopted_sandbox {
                char *id;
                uint32_t attempt;
        })
        sandboxes;
};

static void adopted_free(void *p) {
        struct adopted *a = p;

        for (size_t i = 0; i < a->sandboxes.n; i++)
                free(a->sandboxes.v[i].id);
        vec_free(&a->sandboxes);
        free_all(a->ns, a->name, a);
}

/* ---- pods on the loop ---- */

struct pod *pod_find(struct kubelet *k, struct str uid) {
        return map_get(k->pods, uid);
}

static void pod_timer_fired(struct timer *t) {
        pod_poke(container_of(t, struct pod, timer));
}

static void pod_timer_freed(struct timer *t) {
        pod_free(container_of(t, struct pod, timer));
}

/* Nothing refers to it any more but this loop. */
static void pod_close(struct pod *p) {
        if (p->closing)
                return;
        p->closing = true;
        probes_free(p);
        view_remove(p);
        map_take(p->k->pods, str_of(p->uid));
        if (p->timer.initialized)
                timer_close(&p->timer, pod_timer_freed);
        else
                pod_free(p);
}

static void apply_inbox(struct pod *p) {
        while (!list_empty(&p->inbox)) {
                struct pod_message *m = list_entry(p->inbox.next, struct pod_message, link);

                list_del(&m->link);
                m->apply(m);
        }
}

static void step_done(struct task *t) {
        struct pod *p = container_of(t, struct pod, task);

        p->running = false;
        services_unref(TAKE_PTR(p->services));
        apply_inbox(p);
        if (p->end == POD_GONE && p->absent && p->tasks == 0 && !p->dirty)
                return pod_close(p);
        view_publish(p);
        if (p->k->stopping)
                return;
        probes_update(p);
        if (p->dirty)
                pod_begin(p);
        else if (p->again_ms > 0)
                timer_start(p->k->loop, &p->timer, (uint64_t) p->again_ms, pod_timer_fired);
        else if (p->timer.initialized)
                timer_stop(&p->timer);
}

static void step_run(struct task *t) {
        pod_step(container_of(t, struct pod, task));
}

void pod_begin(struct pod *p) {
        if (p->running || p->closing || p->k->stopping)
                return;
        p->running = true;
        p->dirty = false;
        p->is_absent = p->absent;
        object_unref(p->current);
        p->current = p->object ? object_ref(p->object) : NULL;
        p->services = services_ref(p->k->services);
        p->task.run = step_run;
        p->task.done = step_done;
        pool_submit(p->k->pool, &p->task);
}

void pod_poke(struct pod *p) {
        p->dirty = true;
        pod_begin(p);
}

static void message_arrived(struct loop_work *w) {
        struct pod_message *m = container_of(w, struct pod_message, work);
        struct pod *p = m->pod;

        list_push(&p->inbox, &m->link);
        p->dirty = true;
        if (!p->running) {
                apply_inbox(p);
                pod_begin(p);
        }
}

void pod_post(struct pod_message *m) {
        m->work.run = message_arrived;
        loop_post(m->pod->k->loop, &m->work);
}

static void pod_task_apply(struct pod_message *m) {
        struct pod_task *t = container_of(m, struct pod_task, message);

        t->pod->tasks--;
        t->apply(t);
}

static void pod_task_done(struct task *task) {
        struct pod_task *t = container_of(task, struct pod_task, task);

        t->message.pod = t->pod;
        t->message.apply = pod_task_apply;
        message_arrived(&t->message.work);
}

static void pod_task_run(struct task *task) {
        struct pod_task *t = container_of(task, struct pod_task, task);

        t->run(t);
}

void pod_prepare(struct pod *p, struct pod_task *t) {
        t->pod = p;
        t->task.run = pod_task_run;
        t->task.done = pod_task_done;
        p->tasks++;
}

void pod_submit(struct pod *p, struct pod_task *t) {
        pod_prepare(p, t);
        t->task.lasting = true;
        pool_submit(p->k->pool, &t->task);
}

static struct pod *pod_add(struct kubelet *k, struct str uid, struct str ns, struct str name) {
        struct pod *p = pod_new(k, uid, ns, name);
        struct adopted *a = map_take(k->adopted, uid);

        map_put(k->pods, uid, p);
        if (a) {
                for (size_t i = 0; i < a->sandboxes.n; i++)
                        vec_push(&p->sandboxes, TAKE_PTR(a->sandboxes.v[i].id));
                p->admitted = true;
                adopted_free(a);
        }
        return p;
}

/* A pod that the node sees for the first time: it is let in, or fails before it began. */
static void admit(struct pod *p) {
        _cleanup_error_ struct error message = ERROR_INIT;
        VEC(struct pod *) others = { 0 };
        const char *reason = NULL;

        if (p->admitted || object_deleting(p->object) || pod_has_ended(object_json(p->object)))
                return;
        map_each(it, p->k->pods)
                if (it.value != p && ((struct pod *) it.value)->admitted)
                        vec_push(&others, it.value);
        p->admitted = pod_admit(p, others.v, others.n, &reason, &message);
        vec_free(&others);
        if (p->admitted)
                return;
        event_record(p->k->events, &res_pods, p->object, NULL, "Warning", reason, "%s", error_text(&message));
        pod_end(p, "Failed", reason, "Pod was rejected: %s", error_text(&message));
}

static void kubelet_pod_changed(struct kubelet *k, struct object *object, bool absent) {
        struct pod *p = pod_find(k, object_uid(object));

        if (!p && absent)
                return;
        if (!p) {
                p = pod_add(k, object_uid(object), object_namespace(object), object_name(object));
                p->object = object_ref(object);
                admit(p);
        } else {
                object_unref(p->object);
                p->object = object_ref(object);
        }
        p->absent = absent;
        pod_poke(p);
}

static void on_pod(struct object *old, struct object *new, void *arg) {
        struct kubelet *k = arg;

        if (!k->started)
                return;
        if (!new)
                kubelet_pod_changed(k, old, true);
        else {
                if (old && !str_eq(object_uid(old), object_uid(new)))
                        kubelet_pod_changed(k, old, true);
                kubelet_pod_changed(k, new, false);
        }
}

static void on_service(struct object *old, struct object *new, void *arg) {
        services_update(arg);
}

static void on_node(struct object *old, struct object *new, void *arg) {
        struct kubelet *k = arg;
        struct object *was = NULL;

        with_lock(&k->lock) {
                was = k->node_object;
                k->node_object = new ? object_ref(new) : NULL;
        }
        object_unref(was);
        if (!new)
                node_poke(k);
}

struct object *node_object(struct kubelet *k) {
        HOLD(&k->lock);

        return k->node_object ? object_ref(k->node_object) : NULL;
}

/* A container ended. Its pod is the one whose view has it; when a step is just now making it, no view does yet: then
 * the pods with a step under way look again. */
static void on_exit_event(const char *container_id, void *arg) {
        struct kubelet *k = arg;
        char uid[64] = "";

        with_lock(&k->lock)
                map_each(it, k->views) {
                        struct pod_view *v = it.value;

                        for (size_t i = 0; i < v->n_containers && !uid[0]; i++)
                                if (v->containers[i].id && strcmp(v->containers[i].id, container_id) == 0)
                                        snprintf(uid, sizeof(uid), "%s", v->uid);
                }

        map_each(it, k->pods) {
                struct pod *p = it.value;

                if (uid[0] ? strcmp(p->uid, uid) == 0 : p->running) {
                        p->dirty = true;
                        if (!p->running)
                                pod_begin(p);
                }
        }
}

static void relist(struct timer *t) {
        struct kubelet *k = container_of(t, struct kubelet, relist_timer);
        map_each(it, k->pods) {
                struct pod *p = it.value;

                if (p->end != POD_ENDED)
                        pod_poke(p);
        }
        timer_start(k->loop, &k->relist_timer, RELIST_MS, relist);
}

/* ---- start ---- */

struct inventory {
        struct task task;
        struct kubelet *k;
        struct arena *arena;
        struct sandbox_status *sandboxes;
        size_t n;
        int result;
};

static void inventory_run(struct task *t) {
        struct inventory *i = container_of(t, struct inventory, task);
        _cleanup_error_ struct error err = ERROR_INIT;

        i->result = runtime_list_sandboxes(i->k->runtime, i->arena, &i->sandboxes, &i->n, &err);
        if (i->result < 0)
                log_error("kubelet: cannot list pods of the runtime: %s", error_text(&err));
}

static void inventory_submit(struct kubelet *k);

static void inventory_retry(struct timer *t) {
        inventory_submit(container_of(t, struct kubelet, house_timer));
}

static void adopt(struct kubelet *k, const struct sandbox_status *s) {
        struct adopted *a = map_get(k->adopted, str_of(s->uid));

        if (!a) {
                a = xcalloc(1, sizeof(*a));
                a->ns = xstrdup(s->namespace);
                a->name = xstrdup(s->name);
                map_put(k->adopted, str_of(s->uid), a);
        }
        vec_push(&a->sandboxes, (struct adopted_sandbox) { xstrdup(s->id), s->attempt });
        for (size_t at = a->sandboxes.n - 1; at > 0 && a->sandboxes.v[at - 1].attempt > a->sandboxes.v[at].attempt;
             at--) {
                struct adopted_sandbox swap = a->sandboxes.v[at];

                a->sandboxes.v[at] = a->sandboxes.v[at - 1];
                a->sandboxes.v[at - 1] = swap;
        }
}

static void inventory_done(struct task *t) {
        struct inventory *i = container_of(t, struct inventory, task);
        struct kubelet *k = i->k;

        if (i->result < 0) {
                if (!k->stopping)
                        timer_start(k->loop, &k->house_timer, 1000, inventory_retry);
        } else {
                for (size_t n = 0; n < i->n; n++)
                        adopt(k, &i->sandboxes[n]);
                k->inventory_done = true;
        }
        arena_free(i->arena);
        free(i);
}

static void inventory_submit(struct kubelet *k) {
        struct inventory *i = xnew(struct inventory, .k = k, .arena = arena_new(0), .task.run = inventory_run,
                                   .task.done = inventory_done);

        pool_submit(k->pool, &i->task);
}

struct house {
        struct task task;
        struct kubelet *k;
};

static void house_run(struct task *t) {
        struct kubelet *k = container_of(t, struct house, task)->k;

        images_collect(k);
        gc_run(k);
}

static void house_done(struct task *t) {
        free(container_of(t, struct house, task));
}

/* Once a minute: images nobody needs, old records of containers, traces of pods that are gone. */
static void house_keeping(struct timer *t) {
        struct kubelet *k = container_of(t, struct kubelet, house_timer);
        struct house *h = xnew(struct house, .k = k, .task.run = house_run, .task.done = house_done);

        pool_submit(k->pool, &h->task);
        timer_start(k->loop, &k->house_timer, RELIST_MS, house_keeping);
}

/* Pods that the runtime has and the API does not: they end. */
static void stop_orphans(struct kubelet *k) {
        VEC(char *) uids = { 0 };

        map_each(it, k->adopted)
                vec_push(&uids, str_dup(it.key));
        for (size_t i = 0; i < uids.n; i++) {
                struct adopted *a = map_get(k->adopted, str_of(uids.v[i]));
                struct pod *p = pod_add(k, str_of(uids.v[i]), str_of(a->ns), str_of(a->name));

                log_info("kubelet: stopping pod %s/%s, which the API does not have", p->ns, p->name);
                p->absent = true;
                pod_poke(p);
                free(uids.v[i]);
        }
        vec_free(&uids);
}

static void begin_pods(struct timer *t) {
        struct kubelet *k = container_of(t, struct kubelet, start_timer);

        if (k->stopping)
                return;
        if (!k->inventory_done || !informer_synced(k->pod_informer) || !informer_synced(k->service_informer))
                return timer_start(k->loop, &k->start_timer, 5, begin_pods);
        services_update(k);
        k->started = true;
        map_each(it, informer_objects(k->pod_informer))
                kubelet_pod_changed(k, it.value, false);
        stop_orphans(k);
        k->orphans_done = true;
        timer_start(k->loop, &k->relist_timer, RELIST_MS, relist);
        timer_start(k->loop, &k->house_timer, 10 * 1000, house_keeping);
}

static void start_on_loop(void *arg) {
        struct kubelet *k = arg;
        _cleanup_free_ char *selector = xprintf("spec.nodeName=%s", k->o.node_name);
        _cleanup_free_ char *own = xprintf("metadata.name=%s", k->o.node_name);

        k->eviction = eviction_start(k); /* before the node, whose task asks it */
        k->node = node_start(k);
        inventory_submit(k);
        k->informers = informer_factory_new(k->client, k->loop);
        k->pod_informer = informer_of_selected(k->informers, &res_pods, NULL, NULL, selector);
        k->service_informer = informer_of(k->informers, &res_services);
        k->node_informer = informer_of_selected(k->informers, &res_nodes, NULL, NULL, own);
        informer_add_handler(k->pod_informer, on_pod, k);
        informer_add_handler(k->service_informer, on_service, k);
        informer_add_handler(k->node_informer, on_node, k);
        informer_factory_start(k->informers);
        runtime_on_exit(k->runtime, k->loop, on_exit_event, k);
        timer_start(k->loop, &k->start_timer, 1, begin_pods);
}

#define DEFAULT_TEXT(field, text) o->field = arena_cstr(a, str_of(o->field ? o->field : (text)))

static void fill_defaults(struct kubelet *k) {
        struct kubelet_options *o = &k->o;
        struct arena *a = k->arena;
        char host[256] = "localhost";

        gethostname(host, sizeof(host) - 1);
        for (char *c = host; *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c += 'a' - 'A';
        DEFAULT_TEXT(node_name, host);
        DEFAULT_TEXT(runtime_version, "cube://"
                                      "1.33.4");
        DEFAULT_TEXT(root_dir, "/var/lib/cube/kubelet");
        DEFAULT_TEXT(pod_log_dir, "/var/log/pods");
        DEFAULT_TEXT(container_log_dir, "/var/log/containers");
        DEFAULT_TEXT(resolv_conf, "/etc/resolv.conf");
        DEFAULT_TEXT(cluster_dns, "10.96.0.10");
        DEFAULT_TEXT(cluster_domain, "cluster.local");
        DEFAULT_TEXT(address, "0.0.0.0");
        for (size_t i = 0; i < 2; i++)
                o->node_ips[i] = o->node_ips[i] ? arena_cstr(a, str_of(o->node_ips[i])) : NULL;
        o->provider_id = o->provider_id ? arena_cstr(a, str_of(o->provider_id)) : NULL;
        o->cert_pem = arena_str(a, o->cert_pem);
        o->key_pem = arena_str(a, o->key_pem);
        o->client_ca_pem = arena_str(a, o->client_ca_pem);
        o->port = o->port ? o->port : 10250;
        o->max_pods = o->max_pods ? o->max_pods : 110;
        o->eviction_memory_bytes = o->eviction_memory_bytes ? o->eviction_memory_bytes : 100 << 20;
        o->eviction_disk_percent = o->eviction_disk_percent ? o->eviction_disk_percent : 10;
        o->image_gc_high_percent = o->image_gc_high_percent ? o->image_gc_high_percent : 85;
        o->image_gc_low_percent = o->image_gc_low_percent ? o->image_gc_low_percent : 80;
        o->log_max_bytes = o->log_max_bytes ? o->log_max_bytes : 10 << 20;
        o->log_max_files = o->log_max_files ? o->log_max_files : 5;
        o->max_parallel_pulls = o->max_parallel_pulls ? o->max_parallel_pulls : 4;
        o->max_workers = o->max_workers ? o->max_workers : 64;
}

static int make_directories(struct kubelet *k, struct error *err) {
        _cleanup_free_ char *pods = xprintf("%s/pods", k->o.root_dir);
        int r = file_mkdirs(pods, 0750, err);

        if (r >= 0)
                r = file_mkdirs(k->o.pod_log_dir, 0755, err);
        if (r >= 0 && k->o.container_log_dir[0])
                r = file_mkdirs(k->o.container_log_dir, 0755, err);
        return r;
}

/* What the options leave open is asked of the machine. */
static void ask_machine(struct kubelet *k) {
        struct kubelet_options *o = &k->o;

        k->machine = xcalloc(1, sizeof(*k->machine));
        machine_probe(k, k->machine);
        o->cpu_milli = o->cpu_milli ? o->cpu_milli : k->machine->cpus * 1000;
        o->memory_bytes = o->memory_bytes ? o->memory_bytes : k->machine->memory_bytes;
        o->storage_bytes = o->storage_bytes ? o->storage_bytes : k->machine->storage_bytes;
        o->pid_max = o->pid_max ? o->pid_max : k->machine->pid_max;
        if (!o->node_ips[0])
                o->node_ips[0] = k->machine->ips[0];
}

static void view_unref_value(void *v) {
        view_unref(v);
}

int kubelet_start(const struct kubelet_options *o, struct kubelet **ret, struct error *err) {
        struct kubelet *k = xcalloc(1, sizeof(*k));

        k->o = *o;
        k->arena = arena_new(0);
        fill_defaults(k);
        k->clock = o->clock ? o->clock : &system_clock;
        k->client = o->client;
        k->runtime = o->runtime;
        pthread_mutex_init(&k->lock, NULL);
        k->pods = map_new(NULL);
        k->adopted = map_new(adopted_free);
        k->views = map_new(view_unref_value);
        list_init(&k->probes);
        k->sources = map_new(object_unref_value);

        int r = make_directories(k, err);
        ask_machine(k);
        if (r >= 0)
                r = loop_new("kubelet", &k->loop, err);
        if (r >= 0 && !o->no_server)
                r = server_start(k, err);
        if (r < 0) {
                kubelet_free(k);
                return r;
        }
        k->pool = pool_new(k->loop, k->o.max_workers);
        k->events = event_recorder_new(k->client, "kubelet", k->o.node_name);
        k->images = images_new(k);
        loop_start_thread(k->loop);
        loop_call(k->loop, start_on_loop, k);
        *ret = k;
        return 0;
}

/* ---- stop ---- */

static void stop_on_loop(void *arg) {
        struct kubelet *k = arg;

        __atomic_store_n(&k->stopping, true, __ATOMIC_RELAXED);
        map_each(it, k->pods) {
                struct pod *p = it.value;

                probes_free(p);
                if (p->timer.initialized)
                        timer_stop(&p->timer);
        }
        timer_close(&k->start_timer, NULL);
        timer_close(&k->relist_timer, NULL);
        timer_close(&k->house_timer, NULL);
        eviction_stop(k->eviction);
        node_stop(k->node);
        runtime_on_exit(k->runtime, NULL, NULL, k);
        informer_factory_free(k->informers);
        k->informers = NULL;
}

static void close_pods(void *arg) {
        struct kubelet *k = arg;
        map_each(it, k->pods)
                pod_close(it.value);
}

static void nothing(void *arg) {
}

void kubelet_stop(struct kubelet *k) {
        if (!k || !k->loop || !k->pool)
                return;
        server_stop(k);
        loop_call_sync(k->loop, stop_on_loop, k);
        runtime_interrupt(k->runtime);
        pool_drain(k->pool);
        loop_call_sync(k->loop, nothing, NULL); /* the messages of the last tasks */
        loop_call_sync(k->loop, close_pods, k);
        loop_stop(k->loop);
        loop_join(k->loop);
        pool_free(TAKE_PTR(k->pool));
        event_recorder_free(TAKE_PTR(k->events));
}

void kubelet_free(struct kubelet *k) {
        if (!k)
                return;
        loop_free(k->loop); /* what is still posted runs here */
        free(k->eviction);
        node_free(k->node);
        images_free(k->images);
        services_unref(k->services);
        map_free(k->pods);
        map_free(k->adopted);
        map_free(k->views);
        map_free(k->sources);
        map_free(k->verdicts);
        object_unref(k->node_object);
        free(k->machine);
        pthread_mutex_destroy(&k->lock);
        arena_free(k->arena);
        free(k);
}
