/* The node agent: makes the containers of this machine those that the API wants here, and says how they are.
 *
 *   API ──informers──▶ loop ──▶ pod workers (pool of threads) ──▶ runtime (crun + conmon)
 *    ▲                  ▲  probes, timers, exits                       │ exits
 *    └── status, events ┴──────────────────────────────────────────────┘
 *   API ──:10250──▶ server: logs, exec, attach, port-forward, stats
 *
 * It is a client of the API and of runtime/runtime.h, nothing else. Stopping it stops no pod: the next one adopts what
 * runs. */
#pragma once

#include "client/client.h"
#include "runtime/runtime.h"

struct kubelet;

struct kubelet_options {
        struct client *client;       /* user system:node:<node_name>, group system:nodes. Must outlive the kubelet */
        struct runtime *runtime;     /* must outlive the kubelet */
        struct pod_network *network; /* only asked whether it is ready; NULL: always */
        const char *runtime_version; /* nodeInfo.containerRuntimeVersion; NULL: "cube://<version>" */

        const char *node_name;     /* NULL: the host name, lower case */
        const char *node_ips[2];   /* InternalIP, at most one of each family; NULL: the address of the default route */
        const char *provider_id;   /* spec.providerID; may be NULL */
        const struct json *labels; /* more labels {"k":"v"}; may be NULL */
        const struct json *taints; /* [{"key","value","effect"}] at registration; may be NULL */

        const char *root_dir;          /* NULL: "/var/lib/cube/kubelet": pods' volumes, hosts files */
        const char *pod_log_dir;       /* NULL: "/var/log/pods" */
        const char *container_log_dir; /* NULL: "/var/log/containers"; "": no links */
        const char *resolv_conf;       /* the host's, for dnsPolicy Default; NULL: "/etc/resolv.conf" */
        const char *cluster_dns;       /* NULL: "10.96.0.10"; "": none */
        const char *cluster_domain;    /* NULL: "cluster.local" */

        const char *address;              /* of the server; NULL: "0.0.0.0" */
        uint16_t port;                    /* 0: 10250 */
        bool no_server;                   /* tests */
        struct str cert_pem, key_pem;     /* serving */
        struct str client_ca_pem;         /* who signs the API server's client certificate */
        const char *const *allowed_users; /* common names let in beside members of system:masters; NULL-terminated;
                                             NULL: "kube-apiserver-kubelet-client" */

        /* What the node has. 0 where the machine should be asked. */
        int64_t cpu_milli, memory_bytes, storage_bytes;
        int max_pods; /* 0: 110 */
        int64_t reserved_cpu_milli,
                        reserved_memory_bytes; /* kube-reserved + system-reserved: capacity − these = allocatable */
        int64_t eviction_memory_bytes;         /* memory.available below it: MemoryPressure; 0: 100Mi; -1: none */
        int eviction_disk_percent;             /* nodefs.available below it: DiskPressure; 0: 10; -1: none */
        int64_t pid_max;                       /* 0: /proc/sys/kernel/pid_max */

        int image_gc_high_percent, image_gc_low_percent; /* 0: 85, 80 */
        int64_t log_max_bytes;                           /* of one container log file; 0: 10Mi */
        int log_max_files;                               /* 0: 5 */
        unsigned max_parallel_pulls;                     /* 0: 4 */
        unsigned max_workers; /* threads that run pods' steps; 0: 64. They come and go with the work */

        const struct clock *clock; /* NULL: system_clock */
        /* Called once, on the kubelet's loop, when the node has been posted Ready. May be NULL. */
        void (*node_ready)(void *arg);
        void *arg;
};

/* Starts its threads and returns; registration and everything after it happens in the background and is tried again
 * until it succeeds. Fails when the server's port is taken or a directory cannot be made. Text in the options is
 * copied, except labels and taints, which must stay valid. */
int kubelet_start(const struct kubelet_options *o, struct kubelet **ret, struct error *err);
uint16_t kubelet_port(const struct kubelet *k);
/* Ends all steps under way and its threads; containers go on running. Waits. The node stays registered. */
void kubelet_stop(struct kubelet *k);
void kubelet_free(struct kubelet *k); /* after kubelet_stop; NULL is fine */
