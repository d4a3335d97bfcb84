/* What the subcommands of `cube` share: the table of commands and flags, the cluster's configuration and its paths.
 *
 *   cube start ──clone──▶ cube supervise ──fork──▶ cube server: API server, store, controllers, scheduler, kubelet …
 *                         holds the lock,          │
 *                         restarts the server,     └─ conmon ─ crun ─ containers: outlive the server
 *                         is PID 1 of an isolated node
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "json/json.h"

#define CUBE_VERSION "v1.33.4+cube1"
#define CUBE_DEFAULT_NAME "cube"

/* ---- flags ---- */

enum flag_type { FLAG_BOOL, FLAG_STRING, FLAG_PORT, FLAG_DURATION /* int64_t ms */ };

struct flag {
        const char *name; /* without the dashes */
        enum flag_type type;
        size_t offset;   /* of the bool, const char *, uint16_t or int64_t in struct flags */
        const char *arg; /* "NAME", for the help */
        const char *help;
};

/* Every flag of every command lives here: a command's table says which it takes. */
struct flags {
        const char *name, *data_dir, *service_cidr, *cluster_cidr, *node_name, *node_ip, *output, *kubeconfig,
                        *log_level;
        uint16_t api_port, kubelet_port;
        bool isolated, foreground, follow, no_kubeconfig, pods;
        bool api_alone; /* the API server without a node: its addresses are whichever it is told */
        int64_t wait_ms;
        char *apiserver; /* kube-apiserver's own flags: lines of name=value; malloc'd */
};

struct command {
        const char *name, *args, *summary;
        int (*run)(struct flags *f, int argc, char **argv,
                   struct error *err); /* 0, a positive exit code, or negative errno with err */
        const struct flag *flags;      /* ends with a NULL name; besides those all take: --name, --data-dir, --help */
        int min_args, max_args;        /* max -1: any */
        bool hidden, root;             /* root: refuses other users */
        bool apiserver;                /* takes the flags of kube-apiserver too (apiserver/flags.h) */
};
extern const struct command *const commands[]; /* NULL-terminated */

/* ---- CIDRs (IPv4) ---- */

struct cidr {
        uint32_t address; /* host order, masked */
        unsigned bits;
};
int cidr_parse(const char *text, struct cidr *ret); /* -EINVAL */
bool cidr_overlaps(struct cidr a, struct cidr b);

/* ---- the cluster ---- */

struct cluster {
        char *name;
        char *data_dir; /* "/var/lib/cube", "/var/lib/cube-<name>" for others than the default */
        char *run_dir;  /* "/run/cube/<name>" */
        bool isolated;
        char *node_name, *node_ip;
        char *service_cidr, *cluster_cidr;
        char *bridge;          /* pods': "cni0" */
        char *nft_table;       /* prefix of our tables: "cube" */
        char *host_ip;         /* isolated: the bridge's own address on the host; else NULL */
        char *host_bridge;     /* isolated: the private bridge on the host */
        char *apiserver_flags; /* lines of name=value, or NULL */
        uint16_t api_port, kubelet_port;
};

void cluster_free(struct cluster *c);
#define _cleanup_cluster_ _cleanup_(cluster_free)

/* Names and directories only, from --name and --data-dir: for commands on a cluster that may not exist. -EINVAL: bad
 * name. */
int cluster_locate(const struct flags *f, struct cluster *ret, struct error *err);
/* The one on disk; -ENOENT "there is no cluster …". */
int cluster_load(const struct flags *f, struct cluster *ret, struct error *err);
/* The one on disk, or a new one from the flags, with the rest of the fields chosen; flags that contradict what is on
 * disk are refused. Nothing is written. *ret_new: there was none. */
int cluster_resolve(const struct flags *f, struct cluster *ret, bool *ret_new, struct error *err);
int cluster_save(const struct cluster *c, struct error *err);
char *cluster_path(const struct cluster *c, const char *name);     /* in the data directory; malloc'd */
char *cluster_run_path(const struct cluster *c, const char *name); /* in the run directory; malloc'd */
/* Refuses ranges, ports and addresses that another running cluster on this host uses. */
int cluster_check_collisions(const struct cluster *c, struct error *err);
/* Whether the node of another isolated cluster, running or stopped, has its address in this range. */
bool cluster_range_taken(const struct cluster *c, struct cidr range);
/* The first address of the service range (the kubernetes Service), the tenth (DNS). */
void cluster_service_ip(const struct cluster *c, unsigned n, char ret[46]);

/* The process that holds the cluster's lock: its pid, 0 when none. The lock is what counts; a stale pid file never
 * misleads. */
int cluster_pid(const struct cluster *c);
/* Takes the lock for this process and its children and notes the pid; *ret_fd stays open. -EBUSY when held. */
int cluster_lock(const struct cluster *c, int *ret_fd, struct error *err);
int cluster_lock_note_pid(const struct cluster *c, int pid, struct error *err);
/* The pid of the server under the supervisor; 0 when it is not there at the moment. */
int cluster_server_pid(const struct cluster *c, int supervisor_pid);
bool cluster_paused(const struct cluster *c);

/* ---- pieces ---- */

/* Runs the server of a cluster in this process until SIGTERM. Steps are reported on the pipe step_fd (-1: none) as
 * lines. */
int server_run(const struct cluster *c, int step_fd, struct error *err);
/* Stops what is running, if anything. *ret_was_running. */
int cluster_stop(const struct cluster *c, bool *ret_was_running, struct error *err);
/* Makes the namespaces' side of an isolated node: called in the supervisor (inside) and in start (on the host). */
int isolate_choose(struct cluster *c, struct error *err);      /* bridge name and addresses that nothing here uses */
int isolate_check(const struct cluster *c, struct error *err); /* that they are still free */
int isolate_host_setup(const struct cluster *c, int pid, struct error *err);
int isolate_inside_setup(const struct cluster *c, struct error *err);
int isolate_inside_network(const struct cluster *c, struct error *err);
int isolate_destroy(const struct cluster *c, struct error *err);
/* Kubeconfig context of this cluster into the user's file. */
int kubeconfig_write_user(const struct cluster *c, struct error *err);
int kubeconfig_text(const struct cluster *c, struct buf *dst, struct error *err);
int kubeconfig_remove_user(const struct cluster *c, struct error *err);
