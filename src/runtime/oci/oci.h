/* Inside of the OCI runtime: what its files share.
 *
 *   state_dir/sandboxes/<id>/   state.json, resolv.conf, hostname, shm (a tmpfs)
 *   state_dir/ns/<id>/          net, uts, ipc: the pinned namespaces of a sandbox
 *   state_dir/containers/<id>/  the bundle: state.json, config.json, rootfs (the overlay), pidfile, sockets and FIFOs
 *   state_dir/exits/<id>        an exit code, written by conmon
 *   state_dir/crun/             the OCI runtime's own state
 *   root_dir/containers/<id>/   upper, work
 *   root_dir/helper             oci/helper.c
 *
 * A directory without state.json is half made and is removed at start. */
#pragma once

#include <pthread.h>

#include "base/map.h"
#include "base/vec.h"
#include "runtime/images/images.h"
#include "runtime/runtime.h"

/* ---- cgroups (cgroup.c) ---- */

enum cgroup_mode { CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 };

struct cgroup_tree {       /* one mounted hierarchy */
        char *mount;       /* "/sys/fs/cgroup/memory" */
        char *controllers; /* ",memory," */
        bool in_root;      /* this process is in its root */
};
struct cgroups {
        enum cgroup_mode mode;
        struct cgroup_tree trees[24];
        size_t n;
};
int cgroups_detect(struct cgroups *g, struct error *err);
void cgroups_free(struct cgroups *g);
bool cgroup_has(const struct cgroups *g, const char *controller); /* not every kernel has every controller */
/* The directory of path ("/kubepods/x") in the hierarchy with that controller; NULL when there is none. v2: the one
 * directory. */
char *cgroup_dir(const struct cgroups *g, const char *controller, const char *path);
int cgroup_create(const struct cgroups *g, const char *path, struct error *err);
int cgroup_apply(const struct cgroups *g, const char *path, const struct json *resources, struct error *err);
void cgroup_kill(const struct cgroups *g, const char *path);   /* SIGKILL to all in it and below */
void cgroup_remove(const struct cgroups *g, const char *path); /* with what is below; kills nothing */
bool cgroup_oom_killed(const struct cgroups *g, const char *path);
void cgroup_usage(const struct cgroups *g, const char *path, struct runtime_usage *ret);

/* ---- objects ---- */

/* What sandboxes and containers begin with. */
#define UNIT                                                                      \
        const struct unit_kind *kind; /* state.c */                               \
        unsigned refs;                /* runtime.lock */                          \
        struct arena *arena;          /* all texts of it */                       \
        char *id, *dir;               /* dir: its place in state_dir */           \
        int pidfd;                    /* of a container while it runs, else -1 */ \
        pthread_mutex_t op, save      /* one operation at a time; writing state.json */

struct unit {
        UNIT;
};

struct sandbox {
        UNIT;
        char *name, *namespace, *uid, *hostname, *log_directory, *cgroup, *handler;
        int64_t attempt, created_ns, state, pause_pid;
        bool host_network, host_ipc, host_pid, share_pid;
        char *ips[2];
        struct json *labels, *annotations;
        char *ns; /* state_dir/ns/<id> */
};

struct container {
        UNIT;
        char *sandbox_id, *name, *image, *image_id, *image_form, *log_path, *cgroup, *handler;
        struct json *labels, *annotations, *mounts;
        struct json *images; /* ids of images it holds as volumes */
        int64_t attempt, created_ns, stop_signal, pid_start;
        bool tty, stdin_open, stdin_once, own_pid_ns;
        bool starting; /* between the decision and the result: on the disk for recover.c */
        /* what changes: runtime.lock */
        int64_t state, started_ns, finished_ns, exit_code, pid;
        char *reason, *message; /* in arena: they are set once */
        int64_t died_ms;        /* the process is gone, conmon has not said why: since when (monotonic); 0 */
};

struct exit_listener {
        struct loop *loop;
        void (*fn)(const char *container_id, void *arg);
        void *arg;
};

struct runtime {
        char *root_dir, *state_dir, *oci_runtime, *conmon, *cgroup_parent, *conmon_cgroup, *helper;
        struct pod_network *network;
        struct image_store *images;
        struct cgroups cgroups;
        bool may_lower_oom_score; /* CAP_SYS_RESOURCE */
        pthread_mutex_t lock;
        pthread_cond_t changed;             /* a container's state; monotonic clock */
        struct map *sandboxes, *containers; /* id → struct; the map holds a reference */
        VEC(struct exit_listener) listeners;
        pthread_t watcher;
        int epoll, inotify, wake; /* watch.c */
        bool watching, stopping;
        bool interrupted; /* under lock, or atomic */
};

/* runtime.c. get: a reference, or -ENOENT with CRI's wording. An id may be a unique prefix. unit: of either kind. */
int sandbox_get(struct runtime *r, const char *id, struct sandbox **ret, struct error *err);
int container_get(struct runtime *r, const char *id, struct container **ret, struct error *err);
void unit_put(struct runtime *r, void *unit);
void unit_publish(struct runtime *r, void *unit); /* into its table, with a new reference */
void unit_forget(struct runtime *r, void *unit);
size_t containers_of(struct runtime *r, const char *sandbox_id,
                     struct container ***ret); /* references; free the list */
int runtime_handler(const struct runtime *r, const char *handler, char **ret_path, struct error *err);
void new_id(char dst[static 65]);

/* state.c */
struct sandbox *sandbox_new(struct runtime *r, const char *id); /* one reference */
struct container *container_new(struct runtime *r, const char *id);
bool unit_is_sandbox(const struct unit *u);
int unit_save(struct runtime *r, void *unit, struct error *err);
int sandbox_load(struct runtime *r, const char *id, struct sandbox **ret, struct error *err);
int container_load(struct runtime *r, const char *id, struct container **ret, struct error *err);

/* recover.c: what a predecessor left. */
int runtime_recover(struct runtime *r, struct error *err);

/* namespaces.c */
int namespaces_make(struct runtime *r, struct sandbox *s, const struct sandbox_config *c, struct error *err);
void namespaces_drop(struct sandbox *s);
bool namespaces_there(const struct sandbox *s);
int in_netns(const struct sandbox *s, int (*fn)(void *arg),
             void *arg); /* on a thread of its own; fn's result, or -errno */

/* sandbox.c */
void sandbox_clean(struct runtime *r, struct sandbox *s,
                   bool remove); /* network, namespaces, mounts, cgroup; remove: files too */
/* container.c */
void container_signal(struct runtime *r, struct container *c, int sig); /* its first process, if that runs */
int container_kill_all(struct runtime *r, struct container *c, int64_t timeout_ms, struct error *err);
void container_clean(struct runtime *r, struct container *c); /* what is left of one that does not run */

/* rootfs.c: the overlay of a container. */
int rootfs_mount(struct runtime *r, const struct container *c, const char *lowers, struct error *err);
void rootfs_unmount(struct runtime *r, const struct container *c);
/* Image volumes, read-only: the one for mount i of the configuration is in <bundle>/volumes/i. Holds their images in
 * c->images. */
int volumes_mount(struct runtime *r, struct container *c, const struct container_config *config, struct error *err);
void volumes_unmount(struct runtime *r, const struct container *c); /* and releases the images */

/* spec.c: writes config.json into the bundle. */
int spec_write(struct runtime *r, const struct sandbox *s, struct container *c, const struct container_config *config,
               const struct image_config *image, struct error *err);
/* seccomp.c, spec's helpers */
uint64_t own_capabilities(const char *set, uint64_t unknown); /* "CapEff:\t": of this process */
struct json *seccomp_default(struct arena *a, uint64_t capabilities);
/* user.c: who the process is; rootfs is opened, links do not lead out. */
struct process_user {
        uint32_t uid, gid;
        uint32_t groups[256];
        size_t n_groups;
};
int user_resolve(const char *rootfs, const struct json *security, struct str image_user, struct process_user *ret,
                 struct error *err);

/* conmon.c: starting programs. */
struct spawn {
        char *const *argv;
        int fds[3];         /* stdin, stdout, stderr; -1: /dev/null */
        int fd3;            /* -1: none */
        char *const *env;   /* NULL: ours */
        const char *cgroup; /* joined where we are not in the root ourselves; NULL: stay */
        bool session;       /* setsid */
        bool needs_cgroups; /* an OCI runtime, which must not see both versions */
};
int spawn_program(const struct runtime *r, const struct spawn *s, int *ret_pid, struct error *err);
int wait_program(int pid); /* exit code, 128 + signal */
int conmon_start(struct runtime *r, struct container *c, int *ret_pid,
                 struct error *err); /* conmon + create; the container's pid */
int oci_start(struct runtime *r, struct container *c, struct error *err);
void oci_delete(struct runtime *r, struct container *c); /* --force */

/* watch.c */
int watch_start(struct runtime *r, struct error *err);
void watch_stop(struct runtime *r);
void watch_container(struct runtime *r, struct container *c);  /* it runs: look at its pidfd */
void container_exited(struct runtime *r, struct container *c); /* reads the exit file, or says that it is lost */
bool container_has_exit(const struct runtime *r, const char *id);
int64_t process_start_time(
                int pid); /* in ticks since boot: tells a process from a later one with its pid. -1: there is none */
