/* The node's directories and cgroups, in one place, so that the server, `cube image`, `cube pause` and `cube delete`
 * agree on them. */
#include "base/file.h"
#include "cube/node.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* "/cube/<name>": below it kubepods and what else the node puts into cgroups. */
static char *node_cgroup(const struct cluster *c) {
        return xprintf("/cube/%s", c->name);
}

struct net_options node_net_options(const struct cluster *c, struct client *client) {
        return (struct net_options) {
                .client = client,
                .node_name = c->node_name,
                .state_dir = cluster_path(c, "net"),
                .bridge = c->bridge,
                .nft_table = c->nft_table,
                .cluster_cidr = c->cluster_cidr,
        };
}

void node_net_options_free(struct net_options *o) {
        free((char *) o->state_dir);
        o->state_dir = NULL;
}

int node_runtime_new(const struct cluster *c, struct pod_network *network, struct runtime **ret, struct error *err) {
        _cleanup_free_ char *root = cluster_path(c, "runtime"), *state = cluster_run_path(c, "runtime"),
                            *cgroup = node_cgroup(c);
        _cleanup_free_ char *parent = xprintf("%s/kubepods", cgroup);
        struct runtime_options o = { .root_dir = root,
                                     .state_dir = state,
                                     .oci_runtime = "crun",
                                     .conmon = "conmon",
                                     .cgroup_parent = parent,
                                     .network = network };
        return runtime_new(&o, ret, err);
}

/* Outside of the server the network is left to net_destroy: detaching from it one by one is not needed. */
static int no_attach(struct pod_network *n, const char *id, const char *ns, const struct json *annotations,
                     const struct json *hostports, char ret_ips[2][46], struct error *err) {
        return error_set(err, -ENOTSUP, "no pod is started outside of the server");
}
static int no_detach(struct pod_network *n, const char *id, const char *ns, struct error *err) {
        return 0;
}
static bool never_ready(struct pod_network *n) {
        return false;
}

int node_stop_pods(const struct cluster *c, bool remove, struct error *err) {
        struct pod_network network = { no_attach, no_detach, never_ready };
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct sandbox_status *sandboxes;
        struct runtime *rt;
        size_t n = 0;
        TRY(node_runtime_new(c, &network, &rt, err));
        int r = remove ? runtime_remove_all(rt, err) : runtime_list_sandboxes(rt, a, &sandboxes, &n, err);
        for (size_t i = 0; r == 0 && i < n; i++)
                r = runtime_stop_sandbox(rt, sandboxes[i].id, err);
        runtime_free(rt);
        return r;
}

/* ---- cgroups: v2 has one hierarchy, v1 one for each controller ---- */

typedef int (*cgroup_fn)(const char *dir, void *arg, struct error *err);

static bool cgroup_v2(void) {
        return access(CGROUP_ROOT "/cgroup.controllers", F_OK) == 0;
}

/* Calls fn for this cgroup in every hierarchy in which it exists. */
static int each_hierarchy(const char *cgroup, cgroup_fn fn, void *arg, struct error *err) {
        if (cgroup_v2()) {
                _cleanup_free_ char *dir = xprintf(CGROUP_ROOT "%s", cgroup);
                return access(dir, F_OK) == 0 ? fn(dir, arg, err) : 0;
        }
        _cleanup_(closedirp) DIR *d = opendir(CGROUP_ROOT);
        int r = 0;
        for (struct dirent *e; r == 0 && d && (e = readdir(d));) {
                _cleanup_free_ char *dir = xprintf(CGROUP_ROOT "/%s%s", e->d_name, cgroup);
                if (e->d_name[0] != '.' && access(dir, F_OK) == 0)
                        r = fn(dir, arg, err);
        }
        return r;
}

static int remove_cgroup(const char *dir, void *arg, struct error *err) {
        _cleanup_(closedirp) DIR *d = opendir(dir);
        int r = 0;
        for (struct dirent *e; r == 0 && d && (e = readdir(d));) {
                if (e->d_type != DT_DIR || e->d_name[0] == '.')
                        continue;
                _cleanup_free_ char *sub = xprintf("%s/%s", dir, e->d_name);
                r = remove_cgroup(sub, arg, err);
        }
        for (int i = 0; r == 0 && rmdir(dir) < 0; i++) { /* the last process may be on its way out */
                if (errno == ENOENT)
                        break;
                if (errno != EBUSY || i == 100)
                        r = error_errno(err, -errno, "remove cgroup %s", dir);
                usleep(10000);
        }
        return r;
}

static int remove_if_empty(const char *dir, void *arg, struct error *err) {
        rmdir(dir); /* another cluster may be in it */
        return 0;
}

int node_remove_cgroups(const struct cluster *c, struct error *err) {
        _cleanup_free_ char *cgroup = node_cgroup(c);
        TRY(each_hierarchy(cgroup, remove_cgroup, NULL, err));
        return each_hierarchy("/cube", remove_if_empty, NULL, err);
}

static int freeze(const char *dir, void *arg, struct error *err) {
        bool frozen = *(bool *) arg;
        _cleanup_free_ char *v2 = xprintf("%s/cgroup.freeze", dir), *v1 = xprintf("%s/freezer.state", dir);
        if (file_exists(v2))
                return file_write(v2, frozen ? STR("1") : STR("0"), 0644, err);
        if (file_exists(v1))
                return file_write(v1, frozen ? STR("FROZEN") : STR("THAWED"), 0644, err);
        return 0;
}

static int set_frozen(const struct cluster *c, bool frozen, struct error *err) {
        _cleanup_free_ char *cgroup = node_cgroup(c), *pods = xprintf("%s/kubepods", cgroup),
                            *mark = cluster_run_path(c, "paused");
        int pid = cluster_pid(c), server = pid > 0 ? cluster_server_pid(c, pid) : 0;
        if (pid <= 0)
                return error_set(err, -ESRCH, "%s is not running", c->name);
        if (server <= 0)
                server = pid; /* started with --foreground: no supervisor */
        if (frozen && kill(server, SIGSTOP) < 0)
                return error_errno(err, -errno, "stop process %d", server);
        TRY(each_hierarchy(pods, freeze, &frozen, err));
        if (!frozen && kill(server, SIGCONT) < 0)
                return error_errno(err, -errno, "continue process %d", server);
        if (frozen)
                return file_write(mark, STR(""), 0644, err);
        return unlink(mark) < 0 && errno != ENOENT ? error_errno(err, -errno, "remove %s", mark) : 0;
}

int node_pause(const struct cluster *c, struct error *err) {
        return set_frozen(c, true, err);
}

int node_resume(const struct cluster *c, struct error *err) {
        return set_frozen(c, false, err);
}
