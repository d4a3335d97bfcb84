/* `cube status`, `ip`, `pause`, `unpause`: how a cluster is, and freezing it. */
#include "base/file.h"
#include "cube/node.h"
#include "json/build.h"
#include "schema/types.h"

#define EXIT_STOPPED 3 /* as `systemctl status` */

struct status {
        const char *state;      /* "Running", "Paused", "Stopped" */
        const char *api, *node; /* "Ready", "NotReady", "Unknown" */
        int pid;
        int64_t rss_kib;
};

static int64_t resident_kib(int pid) {
        _cleanup_free_ char *path = xprintf("/proc/%d/statm", pid);
        _cleanup_buf_ struct buf b = BUF_INIT;
        long size, resident;
        if (pid <= 0 || file_read(path, 0, &b, NULL) < 0)
                return 0;
        buf_putc(&b, 0);
        return sscanf(b.p, "%ld %ld", &size, &resident) == 2 ? resident * (sysconf(_SC_PAGESIZE) / 1024) : 0;
}

static const char *node_state(const struct json *node) {
        return condition_is(Node_status(node), "Ready", "True") ? "Ready" : "NotReady";
}

/* Asks the API as a client would; a server that does not answer is what the user has to know. */
static void ask_api(const struct cluster *c, struct status *s) {
        _cleanup_(client_freep) struct client *client = NULL;
        _cleanup_(object_unrefp) struct object *node = NULL;
        _cleanup_buf_ struct buf text = BUF_INIT;
        char path[] = "/run/cube-status-XXXXXX";
        int fd = mkstemp(path);
        if (fd < 0)
                return;
        close(fd);
        if (kubeconfig_text(c, &text, NULL) == 0 && file_write(path, buf_str(&text), 0600, NULL) == 0 &&
            client_new_kubeconfig(path, "cube-status", &client, NULL) == 0) {
                int r = client_get(client, &res_nodes, str_n("", 0), str_of(c->node_name), &node, NULL);
                s->api = r == 0 || r == -ENOENT ? "Ready" : "NotReady";
                s->node = r == 0 ? node_state(object_json(node)) : "Unknown";
        }
        unlink(path);
}

static void print_json(const struct cluster *c, const struct status *s) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct str server = arena_printf(a, "https://%s:%d", c->isolated ? c->node_ip : "127.0.0.1", c->api_port);
        struct json j = json_build(
                        a,
                        "{ name: %c, state: %c, apiServer: %c, node: %c, nodeName: %c, nodeIP: %c, server: %s,"
                        "  isolated: %b, serviceCIDR: %c, clusterCIDR: %c, dataDir: %c, version: %c, pid: %d,"
                        "  residentKiB: %l }",
                        c->name, s->state, s->api, s->node, c->node_name, c->node_ip, server, c->isolated,
                        c->service_cidr, c->cluster_cidr, c->data_dir, CUBE_VERSION, s->pid, s->rss_kib);
        json_write_pretty(&b, &j, 2, 0);
        printf("%" STR_FMT "\n", STR_ARG(buf_str(&b)));
}

static int status(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        if (f->output && strcmp(f->output, "json") != 0)
                return error_set(err, -EINVAL, "--output: only json is known, not \"%s\"", f->output);
        TRY(cluster_load(f, &c, err));
        int supervisor = cluster_pid(&c);
        struct status s = { .state = supervisor <= 0      ? "Stopped"
                                     : cluster_paused(&c) ? "Paused"
                                                          : "Running",
                            .api = "Unknown",
                            .node = "Unknown" };
        if (supervisor > 0) {
                s.pid = cluster_server_pid(&c, supervisor) ?: supervisor;
                s.rss_kib = resident_kib(s.pid);
                if (!cluster_paused(&c))
                        ask_api(&c, &s);
        }
        if (f->output)
                print_json(&c, &s);
        else
                printf("name:      %s\nstate:     %s\napiserver: %s\nnode:      %s (%s, %s)\nserver:    "
                       "https://%s:%d\nmemory:    %.1f MB\n",
                       c.name, s.state, s.api, s.node, c.node_name, c.node_ip, c.isolated ? c.node_ip : "127.0.0.1",
                       c.api_port, (double) s.rss_kib / 1024);
        return supervisor > 0 ? 0 : EXIT_STOPPED;
}

static int ip(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_load(f, &c, err));
        printf("%s\n", c.node_ip);
        return 0;
}

static int pause_cluster(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_load(f, &c, err));
        TRY(node_pause(&c, err));
        printf("%s is paused: cube unpause wakes it\n", c.name);
        return 0;
}

static int unpause_cluster(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_load(f, &c, err));
        TRY(node_resume(&c, err));
        printf("%s goes on\n", c.name);
        return 0;
}

static const struct flag status_flags[] = {
        { "output", FLAG_STRING, offsetof(struct flags, output), "FORMAT", "json (-o json)" },
        { NULL },
};

const struct command cmd_status = {
        .name = "status", .summary = "Tells how a cluster is", .run = status, .flags = status_flags, .root = true
};
const struct command cmd_ip = { .name = "ip", .summary = "Prints the node's address", .run = ip };
const struct command cmd_pause = {
        .name = "pause", .summary = "Freezes a cluster and its pods", .run = pause_cluster, .root = true
};
const struct command cmd_unpause = {
        .name = "unpause", .summary = "Wakes a paused cluster", .run = unpause_cluster, .root = true
};
