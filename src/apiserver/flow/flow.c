/* What every request passes: classified once for each (user, verb, resource, namespace) by each worker, seated,
 * counted. And what keeps the configuration true: the store's changes, missing objects, the schemas' Dangling
 * condition. */
#include <math.h>

#include "apiserver/bootstrap.h"
#include "apiserver/flags.h"
#include "apiserver/flow/flow.h"
#include "base/lock.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/apply.h"
#include "schema/types.h"

#define MAX_WORKERS 256
#define CACHE 256
#define ADJUST_MS 10000
#define AFTER_MS 5
#define PREFIX "flowcontrol.apiserver.k8s.io/"

struct flow {
        struct apiserver *s;
        pthread_mutex_t lock; /* of config, of adjusting, and of what was written */
        struct flow_config *config;
        _Atomic uint64_t generation;
        struct flow_use *uses[MAX_WORKERS];    /* each its worker's, */
        struct flow_later *later[MAX_WORKERS]; /* as these, from flow_start on */
        struct loop *loop;                     /* of the first worker, once it runs */
        atomic_bool posted, started;
        struct loop_work work;
        struct timer timer;
        struct map *wrote;          /* names of schemas → struct status_writes */
        int64_t again_ms;           /* when what was put off is looked at; 0: nothing was */
        _Atomic int64_t sampled_ns; /* when metrics were last */
        _Atomic double fair;        /* of the last adjustment */
        /* --enable-priority-and-fairness=false: so many reads and so many writes at once, and no queues */
        bool off;
        struct in_flight {
                atomic_uint running;
                unsigned limit; /* 0: none */
        } reads, writes;
};

/* ---- metrics ---- */

static const double wait_buckets[] = { 0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30 };
static const double seat_buckets[] = { 1, 2, 4, 10 };
static const double length_buckets[] = { 0, 10, 25, 50, 100, 250, 500, 1000 };
static const double watch_buckets[] = { 0, 1, 10, 100, 1000, 10000 };
#define FLOW(name) "apiserver_flowcontrol_" #name
METRIC(dispatched_requests_total, COUNTER, FLOW(dispatched_requests_total),
       "[BETA] Number of requests executed by API Priority and Fairness subsystem");
METRIC(current_executing_requests, GAUGE, FLOW(current_executing_requests),
       "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API "
       "Priority and Fairness subsystem");
METRIC(current_executing_seats, GAUGE, FLOW(current_executing_seats),
       "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage "
       "otherwise) requests in the API Priority and Fairness subsystem");
METRIC(current_inqueue_requests, GAUGE, FLOW(current_inqueue_requests),
       "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem");
METRIC(current_inqueue_seats, GAUGE, FLOW(current_inqueue_seats),
       "[ALPHA] Number of seats currently pending in queues of the API Priority and Fairness subsystem");
METRIC(rejected_requests_total, COUNTER, FLOW(rejected_requests_total),
       "[BETA] Number of requests rejected by API Priority and Fairness subsystem");
HISTOGRAM(request_wait_duration_seconds, wait_buckets, FLOW(request_wait_duration_seconds),
          "[BETA] Length of time a request spent waiting in its queue");
HISTOGRAM(request_queue_length, length_buckets, FLOW(request_queue_length_after_enqueue),
          "[ALPHA] Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is "
          "enqueued");
HISTOGRAM(request_execution_seconds, wait_buckets, FLOW(request_execution_seconds),
          "[ALPHA] Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the "
          "API Priority and Fairness subsystem");
HISTOGRAM(watch_count_samples, watch_buckets, FLOW(watch_count_samples),
          "[ALPHA] count of watchers for mutating requests in API Priority and Fairness");
HISTOGRAM(work_estimated_seats, seat_buckets, FLOW(work_estimated_seats),
          "[ALPHA] Number of estimated seats (maximum of initial and final seats) associated with requests in API "
          "Priority and Fairness");
/* Upstream's are told for every nanosecond; these by samples, at each adjustment and each look at them, that stand for
 * the time since the one before: nothing of it is on a request's way. */
#define SAMPLED "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of "
static const double demand_bounds[] = { 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6 };
static const double request_bounds[] = { 0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1 };
static const double used_bounds[] = { 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1 };
HISTOGRAM(demand_seats, demand_bounds, FLOW(demand_seats),
          SAMPLED "(the number of seats each priority level could use) / (nominal number of seats for that level)");
HISTOGRAM(request_utilization, request_bounds, FLOW(priority_level_request_utilization),
          SAMPLED "number of requests (as a fraction of the relevant limit) waiting or in any stage of execution (but "
                  "only initial stage for WATCHes)");
HISTOGRAM(seat_utilization, used_bounds, FLOW(priority_level_seat_utilization),
          SAMPLED "utilization of seats for any stage of execution (but only initial stage for WATCHes)");
#undef FLOW

/* What is counted for each schema; a worker keeps the series at hand. */
enum count {
        DISPATCHED,
        REQUESTS,
        SEATS,
        QUEUED,
        QUEUED_SEATS,
        QUEUE_LENGTH,
        WAITED,
        GAVE_UP,
        RAN,
        RAN_WATCH,
        ESTIMATED,
        WATCHERS,
        N_COUNTS
};

static const struct {
        const struct metric *metric;
        const char *name, *value; /* one label more */
} counts[N_COUNTS] = {
        [DISPATCHED] = { &dispatched_requests_total },
        [REQUESTS] = { &current_executing_requests },
        [SEATS] = { &current_executing_seats },
        [QUEUED] = { &current_inqueue_requests },
        [QUEUED_SEATS] = { &current_inqueue_seats },
        [QUEUE_LENGTH] = { &request_queue_length },
        [WAITED] = { &request_wait_duration_seconds, "execute", "true" },
        [GAVE_UP] = { &request_wait_duration_seconds, "execute", "false" },
        [RAN] = { &request_execution_seconds, "type", "regular" },
        [RAN_WATCH] = { &request_execution_seconds, "type", "watch" },
        [ESTIMATED] = { &work_estimated_seats },
        [WATCHERS] = { &watch_count_samples },
};

/* A configuration as a worker uses it: as long as one of its requests does. */
struct flow_use {
        struct flow_config *config;
        size_t n; /* tickets, and one while it is the worker's present */
        struct {
                uint64_t hash;
                const struct flow_schema *schema;
        } cache[CACHE];
        struct series *series[][N_COUNTS]; /* by schema */
};

/* Of a schema, with one more label, in their order; name may be NULL. */
static struct series *series_of(const struct metric *m, const struct flow_schema *f, const char *name,
                                const char *value) {
        const struct metric_label more = { name, str_of(value) }, labels[] = {
                more, { "flow_schema", f->name }, { "priority_level", str_of(f->level->name) }, more
        };
        bool last = !name || strcmp(name, "flow_schema") > 0;

        return metric_labelled(m, labels + last, name ? 3 : 2);
}

static struct series *count_of(const struct flow_ticket *t, enum count c) {
        struct series **s = &t->use->series[t->schema - t->use->config->schemas][c];

        if (!*s)
                *s = series_of(counts[c].metric, t->schema, counts[c].name, counts[c].value);
        return *s;
}

/* The time since then, which is now from here on. */
static void count_time(struct flow_ticket *t, enum count c) {
        int64_t now = now_mono_ns();

        series_observe(count_of(t, c), (double) (now - t->since_ns) / 1e9);
        t->since_ns = now;
}

static void count_place(const struct flow_ticket *t, enum count requests, int n) {
        series_add(count_of(t, requests), n);
        series_add(count_of(t, requests + 1), (int64_t) n * t->width);
}

unsigned flow_count_rejected(const struct flow_ticket *t, const char *reason) {
        series_add(series_of(&rejected_requests_total, t->schema, "reason", reason), 1);
        return flow_level_dropped(t->schema->level, now_wall_ns() / NSEC_PER_SEC);
}

/* ---- configuration ---- */

static void use_put(struct flow_use *u) {
        if (!u || --u->n > 0)
                return;
        flow_config_unref(u->config);
        free(u);
}

/* The newest configuration, with a reference. */
static struct flow_config *newest(struct flow *f) {
        uint64_t generation = atomic_load(&f->generation);
        struct flow_config *c;
        HOLD(&f->lock);

        if (!f->config || f->config->generation != generation) {
                _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(f->s->store);

                c = flow_config_load(f->s, snap, f->config);
                c->generation = generation;
                flow_config_unref(f->config);
                f->config = c;
        }
        c = f->config;
        atomic_fetch_add(&c->refs, 1);
        return c;
}

static struct flow_use *use_of(struct flow *f, size_t worker) {
        struct flow_use *u = f->uses[worker];

        if (u && u->config->generation == atomic_load_explicit(&f->generation, memory_order_relaxed))
                return u;
        use_put(u);
        struct flow_config *c = newest(f);
        u = xcalloc(1, sizeof(*u) + c->n_schemas * sizeof(u->series[0]));
        u->config = c;
        u->n = 1;
        return f->uses[worker] = u;
}

/* ---- requests ---- */

static uint64_t mix(uint64_t h, struct str s) {
        return (h ^ str_hash(s)) * 0x9e3779b97f4a7c15ULL + s.n;
}

static uint64_t hash_request(const struct api_user *u, const struct attributes *at) {
        uint64_t h = mix(mix(str_hash(u->name), str_of(at->verb)), at->path);

        for (size_t i = 0; i < u->n_groups; i++)
                h = mix(h, u->groups[i]);
        return mix(mix(mix(mix(h, at->group), at->resource), at->subresource), at->namespace) | 1;
}

static const struct flow_schema *classify(struct flow_use *use, const struct api_user *u, const struct attributes *at) {
        uint64_t h = hash_request(u, at);
        size_t i = (size_t) (h >> 32) % CACHE;

        if (use->cache[i].hash != h) {
                use->cache[i].schema = flow_config_classify(use->config, u, at);
                use->cache[i].hash = h;
        }
        return use->cache[i].schema;
}

static struct str distinguished(const struct flow_schema *f, const struct api_user *u, const struct attributes *at) {
        return f->by == FLOW_BY_USER ? u->name : f->by == FLOW_BY_NAMESPACE ? at->namespace : STR("");
}

static uint64_t flow_hash(const struct flow_schema *f, const struct api_user *u, const struct attributes *at) {
        uint64_t h = str_hash(f->name);

        return f->by == FLOW_BY_NOTHING ? h : mix(h, distinguished(f, u, at));
}

/* The seats it gets, and how long it keeps them afterwards: what its watchers cost may become narrower and longer. */
static void estimate(struct flow_ticket *t, const struct flow_work *work) {
        unsigned widest = atomic_load_explicit(&t->schema->level->widest, memory_order_relaxed),
                 after = (work->watchers + 9) / 10;

        t->width = MAX(1U, MIN(work->seats, widest));
        if (work->writes)
                series_observe(count_of(t, WATCHERS), work->watchers);
        if (work->watchers >= 10) {
                t->width = MIN(after, widest);
                t->after_ms = t->schema->level->exempt ? 0 : (after * AFTER_MS + t->width - 1) / t->width;
        }
        series_observe(count_of(t, ESTIMATED), t->width);
}

static void begin(struct flow_ticket *t) {
        t->running = true;
        series_add(count_of(t, DISPATCHED), 1);
        count_place(t, REQUESTS, 1);
}

/* Upstream puts a request in a queue for which there is a seat, too, and takes it at once. */
static void count_no_wait(const struct flow_ticket *t) {
        const struct flow_level *l = t->schema->level;

        if (l->exempt)
                return;
        series_observe(count_of(t, WAITED), 0);
        if (atomic_load_explicit(&l->queuing, memory_order_relaxed)) {
                series_observe(count_of(t, QUEUE_LENGTH), 1);
                count_place(t, QUEUED, 0);
        }
}

static enum flow_answer enter_counted(struct flow *f, const struct api_user *u, const char *verb,
                                      struct flow_ticket *t) {
        bool reads = strcmp(verb, "get") == 0 || strcmp(verb, "list") == 0;
        struct in_flight *all = reads ? &f->reads : &f->writes;

        *t = (struct flow_ticket) { .flow = f, .retry_after = 1 };
        if (all->limit == 0 || strcmp(verb, "watch") == 0)
                return FLOW_RUN;
        if (atomic_fetch_add(&all->running, 1) >= all->limit && !user_is_in(u, "system:masters")) {
                atomic_fetch_sub(&all->running, 1);
                return FLOW_REJECT;
        }
        t->counted = &all->running;
        return FLOW_RUN;
}

enum flow_answer flow_enter(struct apiserver *s, size_t worker, const struct api_user *u, const struct attributes *at,
                            const struct flow_work *work, struct loop *loop, struct flow_ticket *t,
                            void (*go)(void *arg), void *arg) {
        struct flow_use *use;
        const struct flow_schema *schema;

        if (s->flow->off)
                return enter_counted(s->flow, u, at->verb, t);
        use = use_of(s->flow, worker);
        schema = classify(use, u, at);

        *t = (struct flow_ticket) { .flow = s->flow,
                                    .worker = worker,
                                    .loop = loop,
                                    .use = use,
                                    .schema = schema,
                                    .since_ns = t->since_ns,
                                    .path = t->path };
        use->n++;
        if (!schema)
                return FLOW_RUN;
        t->is_watch = strcmp(at->verb, "watch") == 0;
        estimate(t, work);
        if (flow_level_enter(schema->level, t->width)) {
                count_no_wait(t);
                begin(t);
                return FLOW_RUN;
        }
        t->since_ns = now_mono_ns();
        t->waiter = flow_level_wait(schema->level, flow_hash(schema, u, at), t->width,
                                    &(struct flow_about) { .schema = schema->name,
                                                           .by = distinguished(schema, u, at),
                                                           .after_ms = t->after_ms,
                                                           .user = u->name,
                                                           .path = t->path,
                                                           .what = *at },
                                    loop, go, arg);
        if (t->waiter) {
                count_place(t, QUEUED, 1);
                series_observe(count_of(t, QUEUE_LENGTH), flow_level_length(t->waiter));
                return FLOW_WAIT;
        }
        t->retry_after = flow_count_rejected(t, schema->level->limits.queuing ? "queue-full" : "concurrency-limit");
        return FLOW_REJECT;
}

int64_t flow_arrived(struct flow_ticket *t) {
        int64_t since = t->since_ns;

        t->queue = flow_level_queue(TAKE_PTR(t->waiter)) + 1;
        count_place(t, QUEUED, -1);
        count_time(t, WAITED);
        begin(t);
        return t->since_ns - since;
}

/* ---- seats that are kept for a while, for the watchers of what was written ---- */

struct flow_later {
        struct timer timer;
        struct list kept; /* the first to go first */
};

struct kept {
        struct list link;
        struct flow_ticket ticket;
        int64_t until_ms;
};

static void give_back(struct kept *k) {
        struct flow_ticket *t = &k->ticket;

        list_del(&k->link);
        series_add(count_of(t, SEATS), -(int64_t) t->width);
        flow_level_leave(t->schema->level, t->width);
        use_put(t->use);
        free(k);
}

static void look(struct timer *timer) {
        struct flow_later *l = container_of(timer, struct flow_later, timer);
        int64_t now = now_mono_ms();

        list_each_safe(struct kept, k, &l->kept, link) {
                if (k->until_ms > now)
                        return timer_start(k->ticket.loop, timer, (uint64_t) (k->until_ms - now), look);
                give_back(k);
        }
}

static void keep_seats(struct flow_ticket *t) {
        struct flow_later *l = t->flow->later[t->worker];
        struct kept *k = xmalloc(sizeof(*k));
        struct list *after;

        *k = (struct kept) { .ticket = *t, .until_ms = now_mono_ms() + t->after_ms };
        t->use->n++;
        for (after = l->kept.prev; after != &l->kept; after = after->prev)
                if (list_entry(after, struct kept, link)->until_ms <= k->until_ms)
                        break;
        list_push_front(after, &k->link);
        if (after == &l->kept)
                timer_start(t->loop, &l->timer, t->after_ms, look);
}

void flow_release(struct flow_ticket *t) {
        if (t->counted)
                atomic_fetch_sub(TAKE_PTR(t->counted), 1);
        if (t->waiter) {
                count_place(t, QUEUED, -1);
                count_time(t, GAVE_UP);
                flow_level_give_up(TAKE_PTR(t->waiter));
        }
        if (t->running) {
                int64_t since = t->since_ns;

                series_add(count_of(t, REQUESTS), -1);
                count_time(t, t->is_watch ? RAN_WATCH : RAN);
                if (t->queue > 0)
                        flow_level_charge(t->schema->level, t->queue - 1, t->width, t->since_ns - since);
                if (t->after_ms > 0 && atomic_load(&t->flow->started)) {
                        keep_seats(t);
                } else {
                        series_add(count_of(t, SEATS), -(int64_t) t->width);
                        flow_level_leave(t->schema->level, t->width);
                }
        }
        t->running = false;
}

void flow_leave(struct flow_ticket *t) {
        flow_release(t);
        use_put(t->use);
        t->use = NULL;
        t->schema = NULL;
}

/* ---- the schemas' status ---- */

/* Another server of another mind may write them too: neither writes the same one more often than so. */
#define WRITES_IN_A_MINUTE 6
#define MINUTE_MS 60000
#define MAX_WROTE 10000

struct status_writes {
        int64_t at_ms[WRITES_IN_A_MINUTE]; /* the last ones, a ring; 0: none */
        size_t next;
};

static bool may_write(struct flow *f, struct str name) {
        int64_t now = now_mono_ms();
        HOLD(&f->lock);
        struct status_writes *w = map_get(f->wrote, name);

        if (!w) {
                if (map_size(f->wrote) >= MAX_WROTE)
                        map_clear(f->wrote);
                map_put(f->wrote, name, w = xcalloc(1, sizeof(*w)));
        }
        if (w->at_ms[w->next] && now - w->at_ms[w->next] < MINUTE_MS) {
                if (!f->again_ms)
                        f->again_ms = now + MINUTE_MS / 2 + (int64_t) rand_below(MINUTE_MS * 3 / 4);
                return false;
        }
        w->at_ms[w->next] = now;
        w->next = (w->next + 1) % WRITES_IN_A_MINUTE;
        return true;
}

struct status_update {
        struct store_txn txn;
        struct store_op op;
        struct arena *arena;
};

static void updated(struct store_txn *t) {
        struct status_update *u = container_of(t, struct status_update, txn);

        if (t->current)
                object_unref(t->current); /* changed meanwhile: the change comes here too */
        object_unref(u->op.object);
        arena_free(u->arena);
}

struct json flow_dangling(struct arena *a, struct str level, bool dangling) {
        struct str message = arena_printf(
                        a, "This FlowSchema references the PriorityLevelConfiguration object named \"%" STR_FMT "\" %s",
                        STR_ARG(level), dangling ? "but there is no such object" : "and it exists");

        return json_build(a,
                          "{ status: { conditions: [ { type: 'Dangling', status: %c, lastTransitionTime: %s, "
                          "reason: %c, message: %s } ] } }",
                          dangling ? "True" : "False", now_text(a), dangling ? "NotFound" : "Found", message);
}

static void check_status(struct apiserver *s, struct store_snapshot *snap, struct str key, const struct object *o) {
        const struct rest *r = rest_of(s, &res_flowschemas);
        static const char *const reset[] = { "spec", "metadata", NULL };
        struct apply_opts owner = { .manager = STR(FLOW_CONSUMER),
                                    .reset = reset,
                                    .subresource = STR("status"),
                                    .api_version = r->api_version,
                                    .now_wall_ns = now_wall_ns(),
                                    .force = true };
        const struct json *tree = object_json(o), *conditions = json_at_path(tree, "status", "conditions");
        struct str level = json_str(json_at_path(tree, "spec", "priorityLevelConfiguration", "name"));
        bool dangling = !rest_get(snap, rest_of(s, &res_prioritylevelconfigurations), STR(""), level);
        struct arena *a = arena_new(4096);
        struct status_update *u = arena_new_of(a, struct status_update);
        struct json status = flow_dangling(a, level, dangling), applied;
        const struct json *now = json_item(json_at_path(&status, "status", "conditions"), 0);
        bool said = false;

        json_each_item(c, conditions)
                said = said || (json_equal(json_getc(c, "type"), json_getc(now, "type")) &&
                                json_equal(json_getc(c, "status"), json_getc(now, "status")) &&
                                json_equal(json_getc(c, "reason"), json_getc(now, "reason")) &&
                                json_equal(json_getc(c, "message"), json_getc(now, "message")));
        if (said || !may_write(s->flow, object_name(o)) ||
            apply_merge(a, r->resource->type, tree, &status, &owner, &applied, NULL) < 0)
                return arena_free(a);
        u->arena = a;
        u->op = (struct store_op) { .kind = STORE_UPDATE,
                                    .key = arena_str(a, key),
                                    .object = object_from_tree(&applied),
                                    .expect = object_revision(o) };
        u->txn = (struct store_txn) { .ops = &u->op, .n_ops = 1, .done = updated };
        store_submit(s->store, &u->txn);
}

void flow_reconcile(struct apiserver *s) {
        const struct rest *r = rest_of(s, &res_flowschemas);

        bootstrap_flow(s);
        _cleanup_(store_snapshot_unrefp) struct store_snapshot *snap = store_snapshot(s->store);
        store_each(it, snap, r->prefix)
                check_status(s, snap, it.key, it.object);
        flow_config_unref(newest(s->flow));
}

static void changed(struct loop_work *work) {
        struct flow *f = container_of(work, struct flow, work);

        atomic_store(&f->posted, false);
        flow_reconcile(f->s);
}

void flow_changed(struct flow *f, struct str key) {
        if (!str_has_prefix(key, STR(PREFIX)))
                return;
        atomic_fetch_add(&f->generation, 1);
        if (atomic_load(&f->started) && !atomic_exchange(&f->posted, true))
                loop_post(f->loop, &f->work);
}

/* ---- borrowing ---- */

static void sample_level(struct flow_level *l, int64_t ns) {
        struct str name = str_of(l->name);
        double used = (double) (uint32_t) atomic_load(&l->state), waiting = atomic_load(&l->n_waiting),
               limit = MAX(atomic_load(&l->limit), 1U), nominal = MAX(l->limits.nominal, 1U),
               places = MAX((double) l->limits.queues * l->limits.length, 1);

        series_observe_n(SERIES(&demand_seats, { "priority_level", name }), (used + waiting) / nominal, ns);
        series_observe_n(SERIES(&seat_utilization, { "phase", STR("executing") }, { "priority_level", name }),
                         used / limit, ns);
        series_observe_n(SERIES(&request_utilization, { "phase", STR("executing") }, { "priority_level", name }),
                         used / limit, ns);
        series_observe_n(SERIES(&request_utilization, { "phase", STR("waiting") }, { "priority_level", name }),
                         waiting / places, ns);
}

void flow_sample(struct apiserver *s) {
        struct flow *f = s->flow;
        struct flow_config *c = newest(f);
        int64_t now = now_mono_ns(), since = atomic_exchange(&f->sampled_ns, now);

        for (size_t i = 0; i < c->n_levels; i++)
                sample_level(c->levels[i], now - since);
        flow_config_unref(c);
}

static void adjust(struct timer *timer) {
        struct flow *f = container_of(timer, struct flow, timer);

        bool again = false;

        flow_sample(f->s);
        with_lock(&f->lock) {
                if (f->config)
                        f->fair = flow_levels_adjust(f->config->levels, f->config->n_levels, f->config->total,
                                                     now_coarse_ns());
                again = f->again_ms && now_mono_ms() > f->again_ms;
                if (again)
                        f->again_ms = 0;
        }
        if (again)
                flow_reconcile(f->s);
        timer_start(f->loop, timer, ADJUST_MS, adjust);
}

/* ---- what is going on ---- */

static const char *const gauges[][2] = {
        { "nominal_limit_seats", "[BETA] Nominal number of execution seats configured for each priority level" },
        { "current_limit_seats", "[ALPHA] current derived number of execution seats available to each priority level" },
        { "lower_limit_seats",
          "[ALPHA] Configured lower bound on number of execution seats available to each priority level" },
        { "upper_limit_seats",
          "[ALPHA] Configured upper bound on number of execution seats available to each priority level" },
        { "demand_seats_high_watermark", "[ALPHA] High watermark, over last adjustment period, of demand_seats" },
        { "demand_seats_average", "[ALPHA] Time-weighted average, over last adjustment period, of demand_seats" },
        { "demand_seats_stdev",
          "[ALPHA] Time-weighted standard deviation, over last adjustment period, of demand_seats" },
        { "demand_seats_smoothed", "[ALPHA] Smoothed seat demands" },
        { "target_seats", "[ALPHA] Seat allocation targets" },
        { "current_r", "[ALPHA] R(time of last change)" },
        { "latest_s", "[ALPHA] S(most recently dispatched request)" },
};

void flow_metrics(struct apiserver *s, struct buf *dst) {
        struct flow_config *c = newest(s->flow);
        char name[80], text[32];

        for (size_t g = 0; g < ARRAY_SIZE(gauges); g++) {
                snprintf(name, sizeof(name), "apiserver_flowcontrol_%s", gauges[g][0]);
                metric_header(dst, name, "gauge", gauges[g][1]);
                for (size_t i = 0; i < c->n_levels; i++) {
                        struct flow_level *l = c->levels[i];
                        double now = flow_level_now(l); /* that of who was taken last */
                        const double values[] = { l->limits.nominal,
                                                  atomic_load(&l->limit),
                                                  l->limits.min,
                                                  l->limits.max,
                                                  l->peak,
                                                  l->average,
                                                  l->deviation,
                                                  l->smooth_demand,
                                                  l->target,
                                                  now,
                                                  now };

                        buf_printf(dst, "%s{priority_level=\"%s\"} %s\n", name, l->name,
                                   metric_number(text, values[g]));
                }
        }
        metric_header(dst, "apiserver_flowcontrol_seat_fair_frac", "gauge",
                      "[ALPHA] Fair fraction of server's concurrency to allocate to each priority level that can use "
                      "it");
        buf_printf(dst, "apiserver_flowcontrol_seat_fair_frac %s\n", metric_number(text, s->flow->fair));
        flow_config_unref(c);
}

/* What the lines of a metric say of a level (and a reason) together. */
static long long told(struct str metrics, const char *metric, const struct flow_level *l, const char *reason) {
        char level[128], why[64];
        double sum = 0;

        snprintf(level, sizeof(level), "priority_level=\"%s\"", l->name);
        snprintf(why, sizeof(why), "reason=\"%s\"", reason);
        str_each(line, metrics, '\n') {
                ssize_t value = str_rfind(line, ' ');

                if (value > 0 && str_has_prefix(line, str_of(metric)) && str_search(line, str_of(level)) >= 0 &&
                    (!*reason || str_search(line, str_of(why)) >= 0))
                        sum += atof(line.p + value + 1);
        }
        return (long long) sum;
}

/* A row for each level. */
static void dump_levels(const struct flow_config *c, struct buf *dst) {
        static const char rejected[] = "apiserver_flowcontrol_rejected_requests_total{";
        _cleanup_buf_ struct buf metrics = BUF_INIT;

        metrics_collect(&metrics);
        struct str m = buf_str(&metrics);
        for (size_t i = 0; i < c->n_levels; i++) {
                struct flow_level *l = c->levels[i];
                long long waiting = atomic_load(&l->n_waiting),
                          running = told(m, "apiserver_flowcontrol_current_executing_requests{", l, "");

                buf_printf(dst, "%s,\t%u,\t%s,\tfalse,\t%lld,\t%lld,\t%lld,\t%lld,\t%lld,\t%lld\n", l->name,
                           flow_level_active(l), waiting + running == 0 ? "true" : "false", waiting, running,
                           told(m, "apiserver_flowcontrol_dispatched_requests_total{", l, ""),
                           told(m, rejected, l, "queue-full") + told(m, rejected, l, "concurrency-limit"),
                           told(m, rejected, l, "time-out"), told(m, rejected, l, "cancelled"));
        }
}

/* Rows of cells with tabs between, as columns: the last is as wide as it is. */
static void write_aligned(struct buf *dst, struct str text) {
        int widths[18] = { 0 };

        for (int pass = 0; pass < 2; pass++) {
                str_each(line, text, '\n') {
                        ssize_t tab;

                        for (size_t i = 0; (tab = str_find(line, '\t')) >= 0 && i < ARRAY_SIZE(widths); i++) {
                                if (pass == 0)
                                        widths[i] = MAX(widths[i], MAX((int) tab + 1, 8));
                                else
                                        buf_printf(dst, "%-*.*s", widths[i], (int) tab, line.p);
                                line = str_sub(line, (size_t) tab + 1, line.n);
                        }
                        if (pass == 1)
                                buf_printf(dst, "%" STR_FMT "\n", STR_ARG(line));
                }
        }
}

bool flow_dump(struct apiserver *s, struct str what, bool detailed, struct buf *dst) {
        static const struct {
                const char *name, *heads;
                void (*level)(struct flow_level *l, bool detailed, struct buf *dst);
                const char *more_heads;
        } dumps[] = {
                { "dump_priority_levels",
                  "PriorityLevelName,\tActiveQueues,\tIsIdle,\tIsQuiescing,\tWaitingRequests,\tExecutingRequests,\t"
                  "DispatchedRequests,\tRejectedRequests,\tTimedoutRequests,\tCancelledRequests",
                  NULL },
                { "dump_queues",
                  "PriorityLevelName,\tIndex,\tPendingRequests,\tExecutingRequests,\tSeatsInUse,\tNextDispatchR,\t"
                  "InitialSeatsSum,\tMaxSeatsSum,\tTotalWorkSum",
                  flow_level_dump_queues },
                { "dump_requests",
                  "PriorityLevelName,\tFlowSchemaName,\tQueueIndex,\tRequestIndexInQueue,\tFlowDistingsher,\t"
                  "ArriveTime,\tInitialSeats,\tFinalSeats,\tAdditionalLatency,\tStartTime",
                  flow_level_dump_requests,
                  ",\tUserName,\tVerb,\tAPIPath,\tNamespace,\tName,\tAPIVersion,\tResource,\tSubResource" },
        };
        size_t d = 0;

        while (d < ARRAY_SIZE(dumps) && !str_eqc(what, dumps[d].name))
                d++;
        if (d < ARRAY_SIZE(dumps)) {
                struct flow_config *c = newest(s->flow);
                _cleanup_buf_ struct buf rows = BUF_INIT;

                buf_printf(&rows, "%s%s\n", dumps[d].heads, detailed && dumps[d].more_heads ? dumps[d].more_heads : "");
                if (!dumps[d].level)
                        dump_levels(c, &rows);
                for (size_t i = 0; dumps[d].level && i < c->n_levels; i++)
                        dumps[d].level(c->levels[i], detailed, &rows);
                write_aligned(dst, buf_str(&rows));
                flow_config_unref(c);
        }
        return d < ARRAY_SIZE(dumps);
}

/* ---- life ---- */

struct flow *flow_new(struct apiserver *s) {
        struct flow *f = xcalloc(1, sizeof(*f));

        f->s = s;
        f->off = strcmp(server_flag(s, "enable-priority-and-fairness", "true"), "false") == 0;
        f->reads.limit = server_flag_number(s, "max-requests-inflight", 400);
        f->writes.limit = server_flag_number(s, "max-mutating-requests-inflight", 200);
        f->work.run = changed;
        f->wrote = map_new(free);
        atomic_store(&f->generation, 1);
        atomic_store(&f->sampled_ns, now_mono_ns());
        pthread_mutex_init(&f->lock, NULL);
        return f;
}

void flow_free(struct flow *f) {
        if (!f)
                return;
        for (size_t i = 0; i < MAX_WORKERS; i++) {
                use_put(f->uses[i]);
                free(f->later[i]);
        }
        flow_config_unref(f->config);
        map_free(f->wrote);
        pthread_mutex_destroy(&f->lock);
        free(f);
}

static void start(void *arg) {
        struct flow *f = arg;

        timer_start(f->loop, &f->timer, ADJUST_MS, adjust);
}

static void stop(void *arg) {
        struct flow *f = arg;

        timer_close(&f->timer, NULL);
}

static void stop_later(void *arg) {
        struct flow_later *l = arg;

        list_each_safe(struct kept, it, &l->kept, link)
                give_back(it);
        timer_close(&l->timer, NULL);
}

void flow_start(struct apiserver *s) {
        struct flow *f = s->flow;

        f->loop = http_server_worker(s->http, 0);
        loop_call_sync(f->loop, start, f);
        for (size_t i = 0; i < http_server_workers(s->http) && i < MAX_WORKERS; i++) {
                f->later[i] = xcalloc(1, sizeof(*f->later[i]));
                list_init(&f->later[i]->kept);
        }
        atomic_store(&f->started, true);
}

void flow_stop(struct apiserver *s) {
        struct flow *f = s->flow;

        if (!atomic_exchange(&f->started, false))
                return;
        loop_call_sync(f->loop, stop, f);
        for (size_t i = 0; i < http_server_workers(s->http) && i < MAX_WORKERS; i++)
                loop_call_sync(http_server_worker(s->http, i), stop_later, f->later[i]);
}
