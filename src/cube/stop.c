/* `cube stop` and `cube delete`. Stopping stops the program, not the pods (an isolated node is switched off, and its
 * pods with it); deleting leaves no process, mount, link, nft table, cgroup or file. */
#include <sys/mount.h>

#include "base/file.h"
#include "base/time.h"
#include "base/vec.h"
#include "cube/cube.h"
#include "cube/node.h"

#define STOP_WAIT_MS 20000

static bool wait_unlocked(const struct cluster *c, int64_t ms) {
        for (int64_t end = now_mono_ms() + ms; cluster_pid(c) > 0;) {
                if (now_mono_ms() > end)
                        return false;
                usleep(5000);
        }
        return true;
}

int cluster_stop(const struct cluster *c, bool *ret_was_running, struct error *err) {
        int pid = cluster_pid(c);
        *ret_was_running = pid > 0;
        if (pid <= 0)
                return 0;
        if (cluster_paused(c))
                TRY(node_resume(c, err)); /* a stopped process hears no signal */
        if (kill(pid, SIGTERM) < 0 && errno != ESRCH)
                return error_errno(err, -errno, "signal process %d", pid);
        if (wait_unlocked(c, STOP_WAIT_MS))
                return 0;
        int server = cluster_server_pid(c, pid);
        if (server > 0)
                kill(server, SIGKILL);
        kill(pid, SIGKILL);
        return wait_unlocked(c, 5000) ? 0 : error_set(err, -ETIMEDOUT, "process %d does not end", pid);
}

static const struct flag stop_flags[] = {
        { "pods", FLAG_BOOL, offsetof(struct flags, pods), NULL, "stop the pods' containers too" },
        { NULL },
};

static int stop(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        bool was_running;
        TRY(cluster_load(f, &c, err));
        TRY(cluster_stop(&c, &was_running, err));
        if (c.isolated)
                TRY(isolate_destroy(&c, err));
        else if (f->pods)
                TRY(node_stop_pods(&c, false, err));
        if (!was_running)
                printf("%s is not running\n", c.name);
        else if (c.isolated || f->pods)
                printf("%s is stopped\n", c.name);
        else
                printf("%s is stopped; its pods go on running (cube stop --pods ends them)\n", c.name);
        return 0;
}

/* ---- delete ---- */

/* Unmounts what is mounted at or below dir, the deepest first. */
static int unmount_below(const char *dir, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        TRY(file_read("/proc/self/mountinfo", 0, &b, err));
        VEC(char *) points = { 0 };
        _cleanup_free_ char *prefix = xprintf("%s/", dir);
        str_each(line, buf_str(&b), '\n') {
                struct str word = { 0 };
                for (int i = 0; i < 5 && str_split(&line, ' ', &word); i++)
                        ;
                if (str_eqc(word, dir) || str_has_prefix(word, str_of(prefix)))
                        vec_push(&points, str_dup(word));
        }
        int r = 0;
        while (points.n) {
                _cleanup_free_ char *p = vec_pop(&points);
                if (umount2(p, MNT_DETACH) < 0 && errno != EINVAL && r == 0)
                        r = error_errno(err, -errno, "umount %s", p);
        }
        vec_free(&points);
        return r;
}

/* Log directories under /var/log/pods are named <namespace>_<name>_<uid>; ours are those whose uid we have volumes for.
 */
static void remove_pod_logs(const struct cluster *c) {
        _cleanup_free_ char *pods = cluster_path(c, "kubelet/pods");
        _cleanup_(closedirp) DIR *d = opendir(NODE_POD_LOGS), *links = opendir(NODE_CONTAINER_LOGS);
        dir_each(e, d) {
                const char *uid = strrchr(e->d_name, '_');
                _cleanup_free_ char *ours = xprintf("%s/%s", pods, uid ? uid + 1 : "-"),
                                    *logs = xprintf(NODE_POD_LOGS "/%s", e->d_name);
                if (e->d_name[0] != '.' && uid && file_exists(ours))
                        file_remove_tree(logs, NULL);
        }
        rmdir(NODE_POD_LOGS); /* only when empty */

        dir_each(e, links) { /* into what is gone now */
                _cleanup_free_ char *link = xprintf(NODE_CONTAINER_LOGS "/%s", e->d_name);
                char target[4096];
                ssize_t n = readlink(link, target, sizeof(target) - 1);
                if (n > 0 && str_has_prefix(str_n(target, (size_t) n), STR(NODE_POD_LOGS "/")) &&
                    access(link, F_OK) < 0)
                        unlink(link);
        }
        rmdir(NODE_CONTAINER_LOGS);
}

static int delete_host_traces(const struct cluster *c, struct error *err) {
        struct net_options net = node_net_options(c, NULL);
        int r = node_stop_pods(c, true, err);
        if (r == 0)
                r = net_destroy(&net, err);
        if (r == 0)
                r = proxy_destroy(c->nft_table, err);
        if (r == 0)
                remove_pod_logs(c);
        node_net_options_free(&net);
        return r;
}

static int delete (struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        bool was_running;
        int r = cluster_load(f, &c, err);
        if (r == -ENOENT) {
                printf("there is no cluster \"%s\"\n", f->name ? f->name : CUBE_DEFAULT_NAME);
                return 0;
        }
        if (r == -EUCLEAN) /* a damaged configuration must not keep what is left from being removed */
                r = cluster_locate(f, &c, err);
        TRY(r);
        TRY(cluster_stop(&c, &was_running, err));
        TRY(c.isolated ? isolate_destroy(&c, err) : c.bridge ? delete_host_traces(&c, err) : 0);
        TRY(node_remove_cgroups(&c, err));
        TRY(unmount_below(c.data_dir, err));
        TRY(unmount_below(c.run_dir, err));
        TRY(file_remove_tree(c.data_dir, err));
        TRY(file_remove_tree(c.run_dir, err));
        TRY(kubeconfig_remove_user(&c, err));
        rmdir("/run/cube");
        printf("%s is deleted\n", c.name);
        return 0;
}

const struct command cmd_stop = {
        .name = "stop", .summary = "Stops a cluster; its pods go on", .run = stop, .flags = stop_flags, .root = true
};
const struct command cmd_delete = {
        .name = "delete", .summary = "Removes a cluster and everything it made", .run = delete, .root = true
};
