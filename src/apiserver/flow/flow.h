/* Priority and fairness of requests (KEP-1040), private to src/apiserver.
 *
 *   request ─▶ FlowSchema (config.c: the first that matches, remembered by each worker) ─▶ level (level.c)
 *                                                        a seat is free: runs at once ◀───────┤
 *                                                        full: waits in a queue, or 429 ◀─────┘
 *
 * Seats are one atomic of each level: a request costs an add when it comes and one when it goes. Only a full level has
 * a lock: requests wait in queues, chosen by shuffle sharding, and are taken by virtual start time (start-time fair
 * queuing). Every ten seconds levels lend what they do not need to those that ran short. The roles in this process do
 * not pass here; they have their own threads and cannot crowd anybody out. */
#pragma once

#include "apiserver/server.h"

/* ---- level.c ---- */

struct flow_waiter;
struct flow_queue;

/* What people hear of one that waits; its texts stay as long. */
struct flow_about {
        struct str schema, by; /* its FlowSchema, and whose flow it is of */
        unsigned after_ms;
        struct str user, path;
        struct attributes what;
};

struct flow_limits {
        bool exempt, queuing;
        unsigned nominal, min, max; /* seats; max as far as it may borrow */
        unsigned queues, hand, length;
        unsigned widest; /* seats that one request gets at most */
};

#define FLOW_RETRY_MAX 32 /* seconds */

struct flow_level {
        char *name;
        bool exempt; /* as it was made: it cannot change */
        struct flow_limits limits;
        _Atomic uint64_t state;     /* seats in use; above 32 bits: references of the configuration and of requests */
        _Atomic unsigned limit;     /* seats now */
        _Atomic unsigned widest;    /* as in the limits, */
        atomic_bool queuing;        /* as this */
        _Atomic unsigned n_waiting; /* requests in queues */
        /* Seats in use and wanted since the last adjustment: the most, and their integral over time in ns, and that of
         * their squares, up to the tick at which they last changed. */
        _Atomic unsigned demand_peak;
        _Atomic uint64_t demand, demand_squares;
        _Atomic int64_t demand_ns;
        int64_t adjusted_ns;
        _Atomic double peak, average, deviation, smooth_demand, target; /* of the adjustment */
        double floor;
        pthread_mutex_t lock;      /* of what follows */
        struct flow_queue *queues; /* made when first needed */
        _Atomic unsigned waiting_seats;
        double virtual_now;
        struct {
                int64_t second;
                unsigned n;
        } dropped[FLOW_RETRY_MAX + 1]; /* by second, a ring; the newest is still counted */
        int64_t retry_since;
        unsigned retry_after;
};

struct flow_level *flow_level_new(struct str name, const struct flow_limits *l);
void flow_level_set(struct flow_level *l, const struct flow_limits *limits);
void flow_level_unref(struct flow_level *l); /* the configuration's */
/* Takes width seats. False when they are not free. */
bool flow_level_enter(struct flow_level *l, unsigned width);
void flow_level_leave(struct flow_level *l, unsigned width);

/* One that waits: go is called once on its loop, when it has its seats. */
struct flow_waiter *flow_level_wait(struct flow_level *l, uint64_t flow_hash, unsigned width,
                                    const struct flow_about *about, struct loop *loop, void (*go)(void *arg),
                                    void *arg); /* NULL: refused, the queue is full */
/* How many waited in its queue when it had come, itself one of them: until go. */
unsigned flow_level_length(const struct flow_waiter *w);
/* Which queue it came from: in go. */
unsigned flow_level_queue(const struct flow_waiter *w);
/* One that came from that queue is done, and ran for so long. */
void flow_level_charge(struct flow_level *l, unsigned queue, unsigned width, int64_t ns);
/* On its loop: go is not called any more, and the seats are free for others. */
void flow_level_give_up(struct flow_waiter *w);
/* Counts one that was refused, in this second; returns in how many the client may come again. */
unsigned flow_level_dropped(struct flow_level *l, int64_t second);
/* What the level needed since the last call, and how much it gets until the next; returns by which factor the targets
 * were shared out. */
double flow_levels_adjust(struct flow_level *const *levels, size_t n, unsigned total, int64_t now_ns);
/* The virtual time, in seconds of a seat: when who was taken from a queue last began. */
double flow_level_now(struct flow_level *l);
/* How many of its queues somebody waits in. */
unsigned flow_level_active(struct flow_level *l);
/* Rows of /debug/api_priority_and_fairness/dump_queues, and of the requests in the queues of dump_requests: cells with
 * tabs between. detailed: and what they ask for. */
void flow_level_dump_queues(struct flow_level *l, bool detailed, struct buf *dst);
void flow_level_dump_requests(struct flow_level *l, bool detailed, struct buf *dst);

/* ---- config.c ---- */

enum flow_distinguisher { FLOW_BY_NOTHING, FLOW_BY_USER, FLOW_BY_NAMESPACE };

struct flow_schema {
        struct str name;
        int64_t precedence;
        enum flow_distinguisher by;
        const struct json *rules;
        struct flow_level *level;
        struct http_header headers[2]; /* the UIDs of schema and level */
        bool dangling;
};

struct flow_config {
        atomic_uint refs;
        uint64_t generation;
        struct arena *arena;
        struct flow_schema *schemas; /* in order of precedence */
        size_t n_schemas;
        struct flow_level **levels;
        size_t n_levels;
        unsigned total; /* seats: --max-requests-inflight and --max-mutating-requests-inflight */
};

/* What the store says; levels that were there before keep their seats. */
struct flow_config *flow_config_load(struct apiserver *s, struct store_snapshot *snap, const struct flow_config *old);
void flow_config_unref(struct flow_config *c);
const struct flow_schema *flow_config_classify(const struct flow_config *c, const struct api_user *u,
                                               const struct attributes *at);

/* ---- bootstrap.c ---- */

/* The objects that every cluster has, each once: FlowSchemas and PriorityLevelConfigurations. mandatory: their spec is
 * fixed. */
void flow_bootstrap(struct arena *a, void (*emit)(struct json object, bool mandatory, void *arg), void *arg);

/* ---- flow.c ---- */

struct flow;
struct flow_use;
struct flow *flow_new(struct apiserver *s);
void flow_free(struct flow *f);
void flow_start(struct apiserver *s);              /* the workers run */
void flow_stop(struct apiserver *s);               /* before they end */
void flow_changed(struct flow *f, struct str key); /* on the store's writer thread */
/* Makes what is missing or was changed of the bootstrap objects, and the schemas' status true. */
void flow_reconcile(struct apiserver *s);
#define FLOW_CONSUMER "api-priority-and-fairness-config-consumer-v1"
/* What FLOW_CONSUMER applies to a FlowSchema: its status. */
struct json flow_dangling(struct arena *a, struct str level, bool dangling);

/* What a request will need. */
struct flow_work {
        unsigned seats;
        bool writes;
        unsigned watchers; /* of a write: a seat for each ten, for 5 ms after the answer; below ten nothing */
};

/* A request's place. Zeroed at first; its worker's only. */
struct flow_ticket {
        struct flow *flow;
        size_t worker;
        struct loop *loop; /* the worker's */
        struct flow_use *use;
        const struct flow_schema *schema; /* NULL: under no control. Valid until flow_leave */
        atomic_uint *counted;             /* where it is one of those that run; NULL: nowhere */
        struct flow_waiter *waiter;
        int64_t since_ns; /* before flow_enter: when the request came, */
        struct str path;  /* and its path */
        unsigned width;
        unsigned retry_after; /* refused: in how many seconds the client may come again */
        unsigned after_ms;    /* how long it keeps its seats when it is done */
        unsigned queue;       /* the number of that it came from, and one; 0: it never waited */
        bool running, is_watch;
};
enum flow_answer { FLOW_RUN, FLOW_WAIT, FLOW_REJECT };
/* On a worker. After FLOW_WAIT go is called on that worker's loop when the turn has come: it calls flow_arrived. */
enum flow_answer flow_enter(struct apiserver *s, size_t worker, const struct api_user *u, const struct attributes *at,
                            const struct flow_work *work, struct loop *loop, struct flow_ticket *t,
                            void (*go)(void *arg), void *arg);
int64_t flow_arrived(struct flow_ticket *t); /* how long it waited, in ns */
void flow_release(struct flow_ticket *t);    /* its seats, if it has any or waits for them; again is nothing */
void flow_leave(struct flow_ticket *t);      /* the same, and the ticket is over */
unsigned flow_count_rejected(const struct flow_ticket *t, const char *reason); /* Retry-After */
/* Notes what is going on now, for as long as nobody has since the last time. */
void flow_sample(struct apiserver *s);
void flow_metrics(struct apiserver *s, struct buf *dst);
/* /debug/api_priority_and_fairness/what: false when there is no such page. */
bool flow_dump(struct apiserver *s, struct str what, bool detailed, struct buf *dst);
