/* The scheduler's loop: informers feed the queue and the cache, turns empty the queue, bindings go out without waiting
 * and come back as results. A pod is "assumed" on its node from the decision on, so the next decision already reckons
 * with it. */
#include "base/log.h"
#include "base/time.h"
#include "client/events.h"
#include "json/build.h"
#include "scheduler/framework.h"
#include "schema/types.h"

#define PODS_A_TURN 128
#define MAX_BINDS 2048 /* under way; more wait in the queue */
#define UNSCHEDULABLE_RETRY_MS (5 * 60 * 1000)
#define SYNC_RETRY_MS 20

struct scheduler {
        struct client *client;
        struct str name;
        const struct clock *clock;
        struct loop *loop;
        struct informer_factory *informers;
        struct informer *pods, *nodes;
        struct volumes volumes;
        struct event_recorder *events;
        struct cache cache;
        struct queue queue;
        struct loop_work turn;
        struct timer timer;
        bool turn_posted, stopping;
        size_t binds;
};

static void kick(struct scheduler *s) {
        if (s->turn_posted || s->stopping)
                return;
        s->turn_posted = true;
        loop_post(s->loop, &s->turn);
}

/* ---- what the API says ---- */

static bool same_part(const struct object *a, const struct object *b, const char *const path[]) {
        return str_eq(json_scan(object_text(a), path), json_scan(object_text(b), path));
}

static bool is_ours(const struct scheduler *s, const struct object *pod) {
        const struct json *spec = Pod_spec(object_json(pod));
        return str_eq(PodSpec_schedulerName(spec), s->name) && !json_len(PodSpec_schedulingGates(spec)) &&
               !object_deleting(pod);
}

static void pod_gone(struct scheduler *s, struct object *pod) {
        queue_remove(&s->queue, object_uid(pod));
        if (cache_remove_pod(&s->cache, object_uid(pod)))
                queue_move_all(&s->queue);
}

static void on_pod(struct object *old, struct object *new, void *arg) {
        static const char *const spec_path[] = { "spec", NULL };
        struct scheduler *s = arg;
        if (!new || pod_has_ended(object_json(new))) {
                pod_gone(s, new ? new : old);
        } else if (PodSpec_nodeName(Pod_spec(object_json(new))).n) {
                queue_remove(&s->queue, object_uid(new));
                bool known = old && PodSpec_nodeName(Pod_spec(object_json(old))).n &&
                             cache_has_pod(&s->cache, object_uid(new));
                if (!known || !same_part(old, new, spec_path))
                        cache_add_pod(&s->cache, pod_info_new(new));
        } else if (!is_ours(s, new)) {
                queue_remove(&s->queue, object_uid(new));
        } else if (!cache_has_pod(&s->cache, object_uid(new))) { /* else it is assumed */
                queue_put(&s->queue, pod_info_new(new));
        }
        kick(s);
}

static void on_node(struct object *old, struct object *new, void *arg) {
        static const char *const spec[] = { "spec", NULL }, *const labels[] = { "metadata", "labels", NULL },
                                 *const allocatable[] = { "status", "allocatable", NULL };
        struct scheduler *s = arg;
        if (!new)
                return cache_remove_node(&s->cache, object_name(old));
        bool same = old && same_part(old, new, spec) && same_part(old, new, labels) && same_part(old, new, allocatable);
        cache_set_node(&s->cache, new);
        if (!same) {
                queue_move_all(&s->queue);
                kick(s);
        }
}

static void on_volume(struct object *old, struct object *new, void *arg) {
        struct scheduler *s = arg;
        if (list_empty(&s->queue.unschedulable))
                return;
        queue_move_all(&s->queue);
        kick(s);
}

/* ---- results ---- */

struct bind {
        struct scheduler *s;
        struct object *pod;
        struct str node;
};

static void end_when_idle(struct scheduler *s) {
        if (s->stopping && s->binds == 0)
                loop_stop(s->loop);
}

static void on_bound(int result, struct object *object, const struct error *error, void *arg) {
        struct bind *b = arg;
        struct scheduler *s = b->s;
        if (result == 0) {
                event_record(s->events, &res_pods, b->pod, NULL, "Normal", "Scheduled",
                             "Successfully assigned %" STR_FMT "/%" STR_FMT " to %" STR_FMT,
                             STR_ARG(object_namespace(b->pod)), STR_ARG(object_name(b->pod)), STR_ARG(b->node));
        } else {
                struct object *now = s->stopping ? NULL
                                                 : informer_get_named(s->pods, object_namespace(b->pod),
                                                                      object_name(b->pod));
                bool waits = now && str_eq(object_uid(now), object_uid(b->pod)) &&
                             !PodSpec_nodeName(Pod_spec(object_json(now))).n;
                if (result != -ENOENT)
                        log_warn("binding %" STR_FMT "/%" STR_FMT ": %s", STR_ARG(object_namespace(b->pod)),
                                 STR_ARG(object_name(b->pod)), error_text(error));
                if (waits) { /* else the informer has told, or will tell, where it is */
                        cache_remove_pod(&s->cache, object_uid(now));
                        struct pod_info *p = pod_info_new(now);
                        p->attempts = 1;
                        p->queued_ns = s->clock->mono_ns(s->clock);
                        queue_retry(&s->queue, p, false);
                        kick(s);
                }
        }
        object_unref(b->pod);
        free((char *) b->node.p);
        free(b);
        s->binds--;
        end_when_idle(s);
}

static void bind_pod(struct scheduler *s, struct pod_info *p, struct node_info *n) {
        struct bind *b = xmalloc(sizeof(*b));
        *b = (struct bind) { .s = s, .pod = object_ref(p->pod), .node = str_n(str_dup(n->name), n->name.n) };
        struct arena *a = p->arena;
        struct json body = json_new_object();
        json_set_cstr(a, &body, "kind", "Binding");
        json_set_cstr(a, &body, "apiVersion", "v1");
        struct json *meta = json_get_or_add_object(a, &body, "metadata");
        json_set_str(a, meta, "name", object_name(p->pod));
        json_set_str(a, meta, "namespace", object_namespace(p->pod));
        json_set_str(a, meta, "uid", p->uid);
        struct json *target = json_get_or_add_object(a, &body, "target");
        json_set_cstr(a, target, "kind", "Node");
        json_set_str(a, target, "name", n->name);
        struct client_request q = { .verb = API_CREATE,
                                    .resource = &res_pods,
                                    .namespace = object_namespace(p->pod),
                                    .name = object_name(p->pod),
                                    .subresource = STR("binding"),
                                    .body = &body,
                                    .options = API_OPTIONS_INIT };
        p->node_name = n->name;
        s->binds++;
        client_async(s->client, &q, s->loop, on_bound, b);
        cache_add_pod(&s->cache, p);
}

static void ignore_result(int result, struct object *object, const struct error *error, void *arg) {
        struct scheduler *s = arg;
        s->binds--;
        end_when_idle(s);
}

/* The PodScheduled condition says why, to those who look at the pod and not at its events. */
static void patch_condition(struct scheduler *s, const struct object *pod, struct str message) {
        const struct json *said = condition_find(Pod_status(object_json(pod)), "PodScheduled");
        if (said && str_eq(PodCondition_message(said), message))
                return;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json patch = json_build(a,
                                       "{ status: { conditions: [ { type: 'PodScheduled', status: 'False',"
                                       "  lastProbeTime: null, lastTransitionTime: %t, reason: 'Unschedulable',"
                                       "  message: %s } ] } }",
                                       s->clock->wall_ns(s->clock), message);
        struct client_request q = { .verb = API_PATCH,
                                    .resource = &res_pods,
                                    .namespace = object_namespace(pod),
                                    .name = object_name(pod),
                                    .subresource = STR("status"),
                                    .body = &patch,
                                    .patch = API_PATCH_STRATEGIC,
                                    .options = API_OPTIONS_INIT };
        s->binds++;
        client_async(s->client, &q, s->loop, ignore_result, s);
}

static void failed(struct scheduler *s, struct pod_info *p, const struct diagnosis *d) {
        _cleanup_buf_ struct buf text = BUF_INIT;
        diagnosis_print(d, &text);
        event_record(s->events, &res_pods, p->pod, NULL, "Warning", "FailedScheduling", "%" STR_FMT,
                     STR_ARG(buf_str(&text)));
        patch_condition(s, p->pod, buf_str(&text));
        queue_retry(&s->queue, p, true);
}

/* ---- turns ---- */

static void on_timer(struct timer *t) {
        struct scheduler *s = container_of(t, struct scheduler, timer);
        if (s->queue.backoff.next == &s->queue.backoff)
                queue_move_all(&s->queue);
        kick(s);
}

static void schedule_pod(struct scheduler *s, struct pod_info *p) {
        struct diagnosis d = { .counts = map_new(NULL), .nodes = s->cache.nodes.n, .unresolvable = s->cache.nodes.n };
        struct node_info *n = NULL;
        if (volumes_check(&s->volumes, p, &d.waits)) {
                d.unresolvable = 0;
                n = schedule_one(&s->cache, p, &d);
        }
        if (n)
                bind_pod(s, p, n);
        else
                failed(s, p, &d);
        map_free(d.counts);
        buf_free(&d.waits);
}

static void run_turn(struct loop_work *w) {
        struct scheduler *s = container_of(w, struct scheduler, turn);
        s->turn_posted = false;
        if (s->stopping)
                return;
        if (!informer_factory_synced(s->informers))
                return timer_start(s->loop, &s->timer, SYNC_RETRY_MS, on_timer);
        int64_t next = queue_flush_backoff(&s->queue);
        struct pod_info *p;
        for (int i = 0; i < PODS_A_TURN && s->binds < MAX_BINDS && (p = queue_pop(&s->queue)); i++)
                schedule_pod(s, p);
        if (s->queue.heap.n && s->binds < MAX_BINDS)
                kick(s);
        else if (s->queue.heap.n)
                timer_start(s->loop, &s->timer, 1, on_timer);
        else if (next >= 0)
                timer_start(s->loop, &s->timer, (uint64_t) next + 1, on_timer);
        else if (!list_empty(&s->queue.backoff) || !list_empty(&s->queue.unschedulable))
                timer_start(s->loop, &s->timer, list_empty(&s->queue.backoff) ? UNSCHEDULABLE_RETRY_MS : 1000,
                            on_timer);
}

/* ---- life ---- */

static void begin(void *arg) {
        struct scheduler *s = arg;
        s->pods = informer_of(s->informers, &res_pods);
        s->nodes = informer_of(s->informers, &res_nodes);
        s->volumes = (struct volumes) { informer_of(s->informers, &res_persistentvolumeclaims),
                                        informer_of(s->informers, &res_persistentvolumes),
                                        informer_of(s->informers, &res_storageclasses) };
        informer_add_handler(s->volumes.claims, on_volume, s);
        informer_add_handler(s->volumes.volumes, on_volume, s);
        informer_add_handler(s->volumes.classes, on_volume, s);
        informer_add_handler(s->nodes, on_node, s);
        informer_add_handler(s->pods, on_pod, s);
        informer_factory_start(s->informers);
}

int scheduler_start(const struct scheduler_options *o, struct scheduler **ret, struct error *err) {
        struct loop *loop;
        TRY(loop_new("scheduler", &loop, err));
        struct scheduler *s = xcalloc(1, sizeof(*s));
        *s = (struct scheduler) {
                .client = o->client, .clock = o->clock ? o->clock : &system_clock, .loop = loop, .turn.run = run_turn
        };
        s->name = str_of(xstrdup(o->name ? o->name : "default-scheduler"));
        cache_init(&s->cache);
        queue_init(&s->queue, s->clock);
        s->informers = informer_factory_new(s->client, s->loop);
        s->events = event_recorder_new(s->client, "default-scheduler", NULL);
        loop_start_thread(s->loop);
        loop_call_sync(s->loop, begin, s);
        *ret = s;
        return 0;
}

static void end(void *arg) {
        struct scheduler *s = arg;
        s->stopping = true;
        timer_close(&s->timer, NULL);
        informer_factory_free(s->informers);
        end_when_idle(s);
}

void scheduler_stop(struct scheduler *s) {
        loop_call(s->loop, end, s);
        loop_join(s->loop);
        event_recorder_free(s->events);
        queue_free(&s->queue);
        cache_free(&s->cache);
        loop_free(s->loop);
        free((char *) s->name.p);
        free(s);
}
