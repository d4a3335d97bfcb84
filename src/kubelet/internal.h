/* What the files of the kubelet share.
 *
 * Ownership of a pod, in one rule: its fields belong to the worker thread while a step runs (pod->running), to the loop
 * otherwise. Whatever happens meanwhile (a newer object, a probe's result, the end of a pull or a hook) is a message:
 * the loop keeps it in the pod's inbox and applies it between two steps.
 *
 *   informer ─┐                    ┌──────── inbox ◀───────┐
 *   exits ────┼─▶ pod_poke ─▶ loop ┤                       │ messages
 *   timers ───┘                    └▶ step on a thread ────┴─▶ tasks: stop, pull, hook */
#pragma once

#include <pthread.h>

#include "base/log.h"
#include "base/map.h"
#include "base/time.h"
#include "base/vec.h"
#include "client/events.h"
#include "client/informer.h"
#include "kubelet/kubelet.h"
#include "kubelet/pool.h"

#define CUBE_KUBELET_VERSION "v1.33.4+cube1"

struct http_server;
struct images;
struct node_agent;
struct services;

struct kubelet {
        struct kubelet_options o; /* texts in arena, every default filled in */
        struct arena *arena;
        const struct clock *clock;
        struct loop *loop;
        struct pool *pool;
        struct machine *machine;
        struct client *client;
        struct runtime *runtime;
        struct informer_factory *informers;
        struct informer *pod_informer, *service_informer, *node_informer;
        struct event_recorder *events;

        struct map *pods;    /* loop: uid → struct pod */
        struct map *adopted; /* loop: uid → struct adopted, what the runtime had at the start; emptied as pods come */
        bool inventory_done; /* loop: adopted is filled */
        bool orphans_done;
        bool started; /* loop: pods are being worked on */
        struct timer start_timer, relist_timer, house_timer;
        struct services *services;  /* loop: services.c */
        struct images *images;      /* images.c */
        struct node_agent *node;    /* node.c */
        struct http_server *server; /* server.c */
        struct list server_live;    /* the server's loop */
        bool server_ending, server_quiet;
        struct map *verdicts; /* the server's loop: access.c; NULL: none yet */
        struct eviction *eviction;

        /* What other threads may look at: under lock, never held over a call. */
        pthread_mutex_t lock;
        struct map *views;          /* uid → struct pod_view, a reference */
        struct list probes;         /* probe.c */
        struct map *sources;        /* sources.c: ConfigMaps and Secrets as last seen */
        struct object *node_object; /* our Node as the API has it; NULL before */
        bool stopping;
};

/* ---- pods ---- */

enum container_kind { CONTAINER_INIT, CONTAINER_APP, CONTAINER_EPHEMERAL };
enum probe_kind { PROBE_LIVENESS, PROBE_READINESS, PROBE_STARTUP, PROBES };
enum probe_result { PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_FAILURE };
enum job_state { JOB_IDLE, JOB_RUNNING, JOB_DONE, JOB_FAILED };

/* Grows from 10 s to 5 min, forgotten after 10 min of peace: as client-go's flowcontrol.Backoff. */
struct backoff {
        int64_t wait_ns, updated_ns; /* wall clock; wait_ns 0: never failed */
};
/* How much longer (ns) something that ended at since has to wait; 0: it may go on. */
int64_t backoff_remaining(const struct backoff *b, int64_t since_ns, int64_t now_ns);
int64_t backoff_next(struct backoff *b, int64_t since_ns,
                     int64_t now_ns); /* it goes on now: the next one waits longer */

struct container {
        struct pod *pod;
        char *name;
        enum container_kind kind;
        bool sidecar;                      /* an init container with restartPolicy Always */
        bool listed;                       /* the spec still has it */
        const struct json *spec;           /* into pod->current; valid in a step */
        struct container_status *status;   /* the newest in the runtime, in pod->arena; NULL: none. Valid in a step */
        struct container_status *previous; /* the one before */
        char *id;                          /* of the newest; lives on between steps. NULL: none */
        bool is_running;                   /* as of the last step */

        const char *waiting; /* why it does not run: "CrashLoopBackOff"; NULL: nothing to say */
        char *waiting_message;
        struct backoff restart, pull_backoff;

        enum job_state pull;
        char *image_id;   /* the runtime's, once present */
        char *pull_error; /* "ErrImagePull: …", for ImagePullBackOff */
        int64_t pull_failed_ns;

        enum job_state post_start; /* of the container post_start_id */
        char *hook_id;
        unsigned stops;        /* stop tasks under way */
        int64_t stop_until_ns; /* monotonic: when the last of them kills */
        int64_t stop_again_ns; /* monotonic: the runtime could not; not before this */
        bool restart_wanted;   /* was stopped in order to start again */

        char *probed_id; /* the container that results are of */
        enum probe_result results[PROBES];
};

enum pod_end {
        POD_RUNS,
        POD_ENDS,
        POD_ENDED,
        POD_GONE
}; /* wanted to run; is being stopped; nothing runs any more; cleaned up */

struct pod {
        struct kubelet *k;
        char *uid, *ns, *name;
        char *log_dir, *dir; /* /var/log/pods/ns_name_uid, root_dir/pods/uid */
        /* loop only */
        struct object *object; /* the newest of the API */
        bool absent;           /* the API has it no more (or never had: an orphan) */
        bool running, dirty, closing;
        struct list inbox;
        unsigned tasks; /* under way, each holds the pod */
        struct timer timer;
        struct task task; /* the step */
        bool renewed;     /* by the step: a container that was stopped to start again runs */
        VEC(struct probe *) probes;

        /* a step's */
        struct arena *arena;    /* emptied at its start */
        struct object *current; /* what it works on */
        const struct json *spec;
        bool is_absent;
        int64_t again_ms;          /* when to look again unasked; 0: never */
        struct services *services; /* a reference, for environment variables */

        VEC(struct container *) containers;
        VEC(char *) sandboxes;                /* ids, oldest first */
        const struct sandbox_status *sandbox; /* the newest, in arena; NULL: none */
        bool has_ready_sandbox;
        char *sandbox_id; /* the same, between steps */
        char ips[2][46];
        bool admitted;
        enum pod_end end;
        const char *end_phase; /* decided here: "Failed"; NULL: from the containers */
        char *end_reason, *end_message;
        char *disruption;      /* message of the condition DisruptionTarget; NULL: none */
        int64_t kill_until_ns; /* monotonic deadline of the termination; 0: not begun */
        int64_t grace_s;       /* the shortest seen; -1: none yet */
        bool volumes_ready, volumes_released, sandbox_stopped, deleted_sent;
        bool is_final, final_sent; /* nothing runs any more: the status is the last one; it was written */
        struct backoff_ms {
                unsigned tries;
        } mount_retry, sandbox_retry, status_retry;
        int64_t start_time_ns;   /* status.startTime; 0: not yet */
        int64_t resized;         /* the generation whose resources the cgroups have; 0: not known */
        char *sent;              /* the status last written, as text */
        struct volumes *volumes; /* volumes.c */
};

/* A message for a pod: apply runs on the loop, between steps, with the pod's fields to itself. */
struct pod_message {
        struct loop_work work;
        struct list link;
        struct pod *pod;
        void (*apply)(struct pod_message *m); /* frees it */
};
void pod_post(struct pod_message *m); /* any thread; the pod must be held by a task, or the caller on the loop */
void pod_poke(struct pod *p);         /* loop: look again */
/* Runs a task on the pool with the pod held; done on the loop, between steps like a message, then the pod is looked at
 * again. */
struct pod_task {
        struct task task;
        struct pod_message message;
        struct pod *pod;
        void (*run)(struct pod_task *t);
        void (*apply)(struct pod_task *t); /* frees it */
};
void pod_submit(struct pod *p, struct pod_task *t); /* from a step, or the loop between steps; may take its time */
/* The first half of it: the pod is held, and somebody gives t->task to the pool later (images.c). */
void pod_prepare(struct pod *p, struct pod_task *t);

struct pod *pod_find(struct kubelet *k, struct str uid); /* loop */
void pod_begin(struct pod *p);                           /* loop: starts a step if none runs */
void pod_step(struct pod *p);                            /* worker: step.c */
void pod_retry(struct pod *p, int64_t ms);               /* step: look again after ms at the latest */
int64_t retry_next(struct backoff_ms *b, int64_t first_ms, int64_t max_ms);
struct container *pod_container(struct pod *p, struct str name);

/* pod.c */
struct pod *pod_new(struct kubelet *k, struct str uid, struct str ns, struct str name);
void pod_free(struct pod *p);
void pod_load_spec(struct pod *p);                 /* step: containers of the object */
int pod_refresh(struct pod *p, struct error *err); /* step: what the runtime has */
bool container_is(const struct container *c, enum container_state s);
bool container_exited_ok(const struct container *c);
struct str pod_restart_policy(const struct pod *p);
int64_t pod_grace(const struct pod *p); /* seconds the pod gets now */
#define POD_FMT "%s_%s(%s)"
#define POD_ARG(p) (p)->name, (p)->ns, (p)->uid
void pod_event(struct pod *p, const struct container *c, const char *type, const char *reason, const char *fmt, ...)
                _printf_(5, 6);
void pod_end(struct pod *p, const char *phase, const char *reason, const char *fmt, ...) _printf_(4, 5);

/* start.c, stop.c */
bool container_restarts(const struct container *c); /* an exited one runs again */
void pod_run(struct pod *p);                        /* step: makes the next moves towards running */
void pod_terminate(struct pod *p);                  /* step: towards gone */
void container_stop(struct container *c, int64_t grace_s, const char *fmt, ...) _printf_(3, 4);
void container_wait_reason(struct container *c, const char *reason, const char *fmt, ...) _printf_(3, 4);

/* container.c: the configuration of a container; texts live in the pod's step arena. */
int container_make(struct pod *p, struct container *c, uint32_t attempt, char **ret_id, const char **ret_reason,
                   struct error *err);
uint64_t container_hash(const struct json *spec);

/* env.c */
int env_make(struct pod *p, struct container *c, const struct str (**ret_env)[2], size_t *ret_n, struct error *err);
struct str env_expand(struct arena *a, struct str text, const struct str (*env)[2], size_t n);
/* A downward API field ("metadata.labels['x']", "status.podIP") or resource ("limits.cpu"). */
int field_ref(struct pod *p, struct str path, struct str *ret, struct error *err);
int resource_ref(struct pod *p, const struct json *ref, const struct container *in, struct str *ret, struct error *err);
struct services *services_ref(struct services *s);
void services_unref(struct services *s);
void services_update(struct kubelet *k); /* loop: on a change of any Service */

/* resources.c */
enum qos { QOS_GUARANTEED, QOS_BURSTABLE, QOS_BEST_EFFORT };
enum qos pod_qos(const struct json *pod);
const char *qos_name(enum qos q);
struct str pod_cgroup(struct arena *a, const struct pod *p); /* "burstable/pod<uid>" */
struct json pod_cgroup_resources(struct arena *a, const struct pod *p);
int64_t pod_generation(const struct pod *p);
void pod_resize(struct pod *p); /* a step: what runs gets the resources it asks for now */
struct json container_resources(struct arena *a, const struct pod *p, const struct container *c);
int64_t pod_request(const struct json *pod_spec, const char *kind, const char *resource,
                    bool milli); /* with init containers and overhead */

/* images.c */
struct images *images_new(struct kubelet *k);
void images_free(struct images *i);
/* Step: true when c->image_id is set; else a pull is under way or c->waiting says why not. */
bool image_ensure(struct container *c);
void images_collect(struct kubelet *k); /* pool: garbage */

/* volumes.c … */
struct mount_list {
        struct mount_config *v;
        size_t n, cap;
};
/* Step: all volumes of the pod set up and current. Errors carry upstream's text of FailedMount. */
int volumes_setup(struct pod *p, struct error *err);
int64_t volumes_refresh_ms(
                const struct pod *p); /* when configMaps, secrets, tokens are to be looked at again; 0: never */
int volumes_mounts(struct pod *p, struct container *c, const struct str (*env)[2], size_t n_env, struct mount_list *ret,
                   struct error *err);
int volumes_teardown(struct pod *p, struct error *err);
void volumes_free(struct volumes *v);
int kubelet_remove_pod_dir(struct kubelet *k, const char *uid, struct error *err); /* of a pod that is gone */

/* podfiles.c: hostname, hosts, resolv.conf */
struct str pod_hostname(struct arena *a, const struct pod *p);
struct json pod_dns(struct arena *a, struct pod *p); /* for sandbox_config.dns; null: the host's */
int pod_hosts_file(struct pod *p, char **ret_path, struct error *err);

/* status.c, conditions.c */
enum shown_state { SHOWN_WAITING, SHOWN_RUNNING, SHOWN_TERMINATED };
struct json conditions_make(struct pod *p, struct arena *a, const char *phase, const struct json *old);
int status_send(struct pod *p, struct error *err); /* step: if it differs from what was sent */
const char *phase_from_containers(struct pod *p);  /* step: from the containers */
bool container_ready(const struct container *c), container_started(const struct container *c);
int status_delete_pod(struct pod *p, struct error *err);

/* probe.c */
void probes_update(struct pod *p); /* loop, after a step */
void probes_free(struct pod *p);
void probes_metrics(struct kubelet *k, struct buf *dst); /* any thread */

/* hook.c: lifecycle handlers, and what probes share with them */
void hook_post_start(struct container *c); /* step */
/* Task's thread: runs the handler for at most grace_s; returns 0, or an error whose text goes into the event. */
int hook_run(struct kubelet *k, const struct json *handler, const char *container_id, const char *ip,
             const struct json *container_spec, int64_t timeout_ms, struct error *err);
int container_port(const struct json *container_spec, const struct json *port, uint16_t *ret, struct error *err);

/* ---- views: what the server's threads may see of a pod ---- */
struct container_view {
        char *name, *id, *previous_id, *log_path, *previous_log_path;
        enum container_kind kind;
        bool running, tty, stdin_open, stdin_once;
        const char *waiting; /* static text */
        char *image;
        int64_t started_ns;
};
struct pod_view {
        unsigned refs;
        char *uid, *ns, *name, *sandbox_id, *log_dir, *dir;
        struct object *object;
        char *status; /* the newest status as JSON text */
        bool host_network;
        struct container_view *containers;
        size_t n_containers;
        char ip[46];
};
void view_publish(struct pod *p);                                             /* loop */
void view_remove(struct pod *p);                                              /* loop */
struct pod_view *view_get(struct kubelet *k, struct str ns, struct str name); /* any thread; NULL: none */
struct pod_view **view_all(struct kubelet *k, size_t *ret_n); /* any thread: references in a malloc'd array */
void view_unref(struct pod_view *v);
DEFINE_CLEANUP(struct pod_view *, view_unref)
const struct container_view *view_container(const struct pod_view *v, struct str name);

/* node.c, lease.c, machine.c */
struct node_agent *node_start(struct kubelet *k);
void node_stop(struct node_agent *n);
void node_free(struct node_agent *n);
void node_poke(struct kubelet *k);             /* any thread: something of the status may have changed */
struct object *node_object(struct kubelet *k); /* a reference, or NULL */

struct machine {
        int64_t cpus, memory_bytes, storage_bytes, storage_inodes, pid_max;
        char machine_id[64], system_uuid[64], boot_id[64], kernel[128], os_image[128], hostname[256];
        const char *arch;
        struct {
                char size[24];
                int64_t bytes;
        } hugepages[8];
        size_t n_hugepages;
        char ips[2][46];
};
void machine_probe(struct kubelet *k, struct machine *m);
int64_t machine_memory_available(int64_t total); /* bytes, as the eviction signal memory.available */

/* admission.c */
bool pod_admit(struct pod *p, struct pod *const *others, size_t n, const char **ret_reason, struct error *ret_message);

/* server.c */
int server_start(struct kubelet *k, struct error *err);
void server_stop(struct kubelet *k);

/* housekeeping */
void gc_run(struct kubelet *k);      /* pool */
void logs_rotate(struct kubelet *k); /* pool */
bool storage_exceeds(struct kubelet *k, const struct pod_view *v,
                     char **ret_message); /* pool; the message of its eviction */
struct eviction *eviction_start(struct kubelet *k);
void eviction_stop(struct eviction *e);
bool eviction_memory_pressure(struct kubelet *k), eviction_disk_pressure(struct kubelet *k),
                eviction_pid_pressure(struct kubelet *k);

/* ---- small help ---- */
static inline struct str jstr(const struct json *o, const char *key) {
        return json_str(json_getc(o, key));
}
static inline int64_t kubelet_now(const struct kubelet *k) {
        return k->clock->wall_ns(k->clock);
}
static inline int64_t kubelet_mono(const struct kubelet *k) {
        return k->clock->mono_ns(k->clock);
}
void set_string(char **dst, struct str s); /* frees what was there */
