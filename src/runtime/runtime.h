/* The container runtime as the kubelet sees it: CRI-shaped (sandboxes, containers, images), blocking, thread-safe.
 * oci/: crun + conmon on overlayfs, in this process. cri/: the same over gRPC to containerd or CRI-O (later).
 * Containers outlive us: everything needed to find them again is on disk under state_dir. */
#pragma once

#include <signal.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/image_ref.h"
#include "base/loop.h"
#include "json/json.h"

/* The pod network, given to the runtime (src/net implements it, tests fake it). Blocking, thread-safe. */
struct pod_network {
        /* Gives the network namespace at netns_path an interface eth0 (and lo up) with an address. Idempotent for one
         * sandbox id. hostports may be NULL: array of {hostPort, containerPort, protocol, hostIP}. ips: "10.244.0.5"
         * (at most 2). */
        int (*attach)(struct pod_network *n, const char *sandbox_id, const char *netns_path,
                      const struct json *pod_annotations, const struct json *hostports, char ret_ips[2][46],
                      struct error *err);
        /* Idempotent. */
        int (*detach)(struct pod_network *n, const char *sandbox_id, const char *netns_path, struct error *err);
        bool (*ready)(struct pod_network *n); /* "NetworkReady" */
};

struct runtime;

struct runtime_options {
        const char *root_dir;      /* "/var/lib/cube/runtime": images, layers, containers' writable layers */
        const char *state_dir;     /* "/run/cube/runtime": pid files, sockets, netns pins; gone after a reboot */
        const char *oci_runtime;   /* "crun" */
        const char *conmon;        /* "conmon" */
        const char *cgroup_parent; /* "/kubepods" below the node's own cgroup root, created */
        struct pod_network *network;
        /* registries: for images */
        struct json *registries; /* {"host:port": {"insecure": true, "plainHTTP": true, "mirrors": []}}; may be NULL */
};
int runtime_new(const struct runtime_options *o, struct runtime **ret, struct error *err);
void runtime_free(struct runtime *r); /* stops nothing */
/* `cube delete`: ends and removes every container and sandbox, and the cgroups. Images stay (files below root_dir). */
int runtime_remove_all(struct runtime *r, struct error *err);
/* From here on nothing waits any more: stops under their grace period, execs and pulls return -ECANCELED, at once.
 * Before the threads that wait are joined. */
void runtime_interrupt(struct runtime *r);

/* ---- sandboxes ---- */
enum sandbox_state { SANDBOX_READY, SANDBOX_NOTREADY };

struct sandbox_config {
        struct str name, namespace, uid;
        uint32_t attempt;
        struct str hostname;
        bool host_network, host_pid, host_ipc, share_process_namespace;
        struct str log_directory; /* /var/log/pods/<ns>_<name>_<uid> */
        struct str cgroup_parent; /* relative to the runtime's: "burstable/pod<uid>"; empty: none */
        /* The pod's {"memory": bytes, "cpu_shares", "cpu_quota", "cpu_period", "pids"}; may be NULL. */
        const struct json *cgroup_resources;
        const struct json *labels, *annotations; /* kept and returned */
        const struct json *dns;     /* {"servers":[], "searches":[], "options":[]}; NULL: the host's resolv.conf */
        const struct json *sysctls; /* {"net.ipv4.x": "1"}, dots between the parts, or NULL */
        const struct json *hostports;
        struct str runtime_handler; /* RuntimeClass handler; empty: default */
};
struct sandbox_status {
        char *id, *name, *namespace, *uid;
        uint32_t attempt;
        enum sandbox_state state;
        int64_t created_ns;
        char ips[2][46];
        struct json *labels, *annotations; /* in the arena given */
};
int runtime_run_sandbox(struct runtime *r, const struct sandbox_config *c, char **ret_id, struct error *err);
/* Kills what runs in it; its network is gone then. Idempotent. */
int runtime_stop_sandbox(struct runtime *r, const char *id, struct error *err);
int runtime_remove_sandbox(struct runtime *r, const char *id, struct error *err); /* idempotent */
int runtime_sandbox_status(struct runtime *r, struct arena *a, const char *id, struct sandbox_status *ret,
                           struct error *err); /* -ENOENT */
int runtime_list_sandboxes(struct runtime *r, struct arena *a, struct sandbox_status **ret, size_t *ret_n,
                           struct error *err);

/* ---- containers ---- */
enum container_state { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED, CONTAINER_UNKNOWN };

struct mount_config {
        struct str host_path, container_path;
        bool readonly, recursive_readonly;
        int propagation;  /* 0 private, 1 host to container, 2 bidirectional */
        struct str image; /* an image volume: host_path is ignored */
};
struct container_config {
        struct str name;
        uint32_t attempt;
        struct str image;                 /* image id from runtime_image_status / pull */
        const struct str *command, *args; /* with expansions done; NULL command: the image's entrypoint (CRI rules) */
        size_t n_command, n_args;
        struct str working_dir;
        const struct str (*env)[2];
        size_t n_env;
        const struct mount_config *mounts;
        size_t n_mounts;
        struct str log_path; /* relative to the sandbox's log_directory: "app/0.log" */
        bool stdin_open, stdin_once, tty;
        /* {"cpu_shares","cpu_quota","cpu_period","memory","pids","oom_score_adj","cpuset_cpus","hugepages": {…}, …} */
        const struct json *resources;
        /* The effective container SecurityContext merged with the pod's: runAsUser, runAsGroup, supplementalGroups,
         * fsGroup, privileged, capabilities, readOnlyRootFilesystem, allowPrivilegeEscalation, seccompProfile, … */
        const struct json *security;
        const struct json *devices;
        const struct json *labels, *annotations;
        struct str target_container; /* ephemeral containers: share its PID namespace */
};
struct container_status {
        char *id, *sandbox_id, *name;
        uint32_t attempt;
        enum container_state state;
        int64_t created_ns, started_ns, finished_ns;
        int exit_code; /* 128 + signal when killed */
        int pid;
        char *reason; /* "Completed", "Error", "OOMKilled", "StartError", "ContainerCannotRun" */
        char *message;
        char *image, *image_id; /* as given; digest form "docker.io/library/x@sha256:…" or "sha256:…" */
        char *log_path;         /* absolute */
        struct json *labels, *annotations, *mounts;
};
int runtime_create_container(struct runtime *r, const char *sandbox_id, const struct container_config *c, char **ret_id,
                             struct error *err);
int runtime_start_container(struct runtime *r, const char *id, struct error *err);
/* The stop signal, after the grace KILL; waits. Idempotent. */
int runtime_stop_container(struct runtime *r, const char *id, int64_t grace_ms, struct error *err);
int runtime_remove_container(struct runtime *r, const char *id, struct error *err);
int runtime_list_containers(struct runtime *r, struct arena *a, const char *sandbox_id /* NULL: all */,
                            struct container_status **ret, size_t *ret_n, struct error *err);
/* What sandbox_config.cgroup_resources and container_config.resources set, anew while it runs: of either kind. */
int runtime_set_resources(struct runtime *r, const char *id, const struct json *resources, struct error *err);
int runtime_reopen_log(struct runtime *r, const char *id, struct error *err); /* after rotation */
/* Called on loop when a container exits (inotify on conmon's exit files): the kubelet need not poll. fn NULL: no
 * longer to the one with this arg. */
void runtime_on_exit(struct runtime *r, struct loop *loop, void (*fn)(const char *container_id, void *arg), void *arg);

/* ---- exec, attach: with pipes or a pty ---- */
struct runtime_stream {
        /* -1: not wanted. With a tty stdout_fd is the pty's master, for both ways. Owned by the taker. */
        int stdin_fd, stdout_fd, stderr_fd;
        int pid; /* of the exec'd OCI runtime process; attach: 0 */
        bool tty;
};
/* Waits for the end. timeout_ms 0: none (then -ETIMEDOUT after killing it). */
int runtime_exec_sync(struct runtime *r, const char *id, char *const argv[], int timeout_ms, struct buf *out,
                      struct buf *errout, int *ret_exit_code, struct error *err);
int runtime_exec_start(struct runtime *r, const char *id, char *const argv[], bool want_stdin, bool want_stdout,
                       bool want_stderr, bool tty, struct runtime_stream *ret, struct error *err);
/* Blocking. */
int runtime_exec_wait(struct runtime *r, struct runtime_stream *s, int *ret_exit_code, struct error *err);
void runtime_stream_resize(struct runtime_stream *s, uint16_t columns, uint16_t rows);
/* The container's attach socket of conmon: packets prefixed with the stream number. */
int runtime_attach(struct runtime *r, const char *id, bool want_stdin, bool tty, int *ret_fd, struct error *err);
int runtime_resize_container(struct runtime *r, const char *id, uint16_t columns, uint16_t rows, struct error *err);
/* A TCP connection to 127.0.0.1:port inside the sandbox's network namespace. */
int runtime_port_forward(struct runtime *r, const char *sandbox_id, uint16_t port, int *ret_fd, struct error *err);

/* ---- stats ---- */
struct runtime_usage {
        int64_t time_ns;
        uint64_t cpu_ns, memory_bytes, memory_working_set, memory_rss, pids, rootfs_bytes, rootfs_inodes;
        uint64_t memory_page_faults, memory_major_page_faults;
};
int runtime_container_usage(struct runtime *r, const char *id, struct runtime_usage *ret, struct error *err);
int runtime_sandbox_usage(struct runtime *r, const char *id, struct runtime_usage *ret, uint64_t *ret_rx_bytes,
                          uint64_t *ret_tx_bytes, struct error *err);

/* ---- images ---- */
struct image_status {
        char *id;               /* "sha256:…" of the config */
        char **tags, **digests; /* "docker.io/library/busybox:latest", "…@sha256:…"; NULL-terminated */
        uint64_t size;          /* bytes unpacked */
        int64_t created_ns, used_ns;
        char *username; /* the image's USER, or "" */
        int64_t uid;    /* numeric USER, -1 otherwise */
        bool pinned;
};
struct registry_auth {
        struct str username, password, identity_token, registry_token;
};
int runtime_image_status(struct runtime *r, struct arena *a, struct str ref_or_id, struct image_status *ret,
                         struct error *err); /* -ENOENT */
int runtime_image_list(struct runtime *r, struct arena *a, struct image_status **ret, size_t *ret_n, struct error *err);
/* progress may be NULL. Errors carry what kubectl shows after "Failed to pull image". */
int runtime_image_pull(struct runtime *r, struct str ref, const struct registry_auth *auth,
                       void (*progress)(const char *line, void *arg), void *arg, char **ret_id, struct error *err);
/* -EBUSY while a container uses it. */
int runtime_image_remove(struct runtime *r, struct str ref_or_id, struct error *err);
/* OCI layout or docker archive (tar, gzip or zstd), from a file. ret_refs: what was loaded, in the arena. */
int runtime_image_load(struct runtime *r, struct arena *a, const char *path, struct str **ret_refs, size_t *ret_n,
                       struct error *err);
/* A docker archive with an OCI layout in it. */
int runtime_image_save(struct runtime *r, const struct str *refs, size_t n, const char *path, struct error *err);
/* A root file system (tar or directory) as a one-layer image: `cube image import`. */
int runtime_image_import(struct runtime *r, const char *path, struct str ref, const struct json *config,
                         struct error *err);
int runtime_image_tag(struct runtime *r, struct str ref_or_id, struct str new_ref, struct error *err);
int runtime_image_usage(struct runtime *r, uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err);
