/* `cube start`: checks what can be checked before anything is touched, starts the supervisor, and shows the steps. */
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <arpa/inet.h>

#include "base/encode.h"
#include "base/file.h"
#include "base/time.h"
#include "cube/cube.h"

#define LOCK_FD 3
#define STEP_FD 4
#define GO_FD 5

#define F(n, t, field, a, h) \
        { n, t, offsetof(struct flags, field), a, h }
static const struct flag start_flags[] = {
        F("isolated", FLAG_BOOL, isolated, NULL,
          "give the node its own network, mounts and processes on a private bridge"),
        F("api-port", FLAG_PORT, api_port, "PORT", "of the API server (default 6443)"),
        F("kubelet-port", FLAG_PORT, kubelet_port, "PORT", "of the node agent (default 10250)"),
        F("service-cidr", FLAG_STRING, service_cidr, "CIDR", "addresses of Services (default 10.96.0.0/12)"),
        F("cluster-cidr", FLAG_STRING, cluster_cidr, "CIDR", "addresses of pods (default 10.244.0.0/16)"),
        F("node-name", FLAG_STRING, node_name, "NAME",
          "of the node (default the host name, or the cluster name with --isolated)"),
        F("node-ip", FLAG_STRING, node_ip, "IP", "of the node (default that of the default route)"),
        F("wait", FLAG_DURATION, wait_ms, "TIME",
          "for the node to be Ready (default 60s); 0s: only for the API server"),
        F("foreground", FLAG_BOOL, foreground, NULL,
          "run the server here and log to the terminal, as systemd wants it"),
        F("no-kubeconfig", FLAG_BOOL, no_kubeconfig, NULL, "leave ~/.kube/config alone"),
        { NULL },
};

/* ---- what can be known beforehand ---- */

static bool in_path(const char *program) {
        str_each(dir, str_of(getenv("PATH") ?: "/usr/sbin:/usr/bin:/sbin:/bin"), ':') {
                _cleanup_free_ char *path = xprintf("%" STR_FMT "/%s", STR_ARG(dir), program);
                if (access(path, X_OK) == 0)
                        return true;
        }
        return false;
}

static int check_programs(struct error *err) {
        static const char *const programs[] = { "crun", "conmon" };
        for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
                if (!in_path(programs[i]))
                        return error_set(err, -ENOENT, "%s is missing, and containers need it: apt-get install %s",
                                         programs[i], programs[i]);
        return 0;
}

static int check_port(uint16_t port, const char *flag, struct error *err) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_ANY) };
        int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return error_set(err, -errno,
                                 "port %d is taken by another program (ss -ltnp 'sport = :%d' shows which): end it, or "
                                 "pass "
                                 "--%s",
                                 port, port, flag);
        return 0;
}

static int check_node_ip(const struct cluster *c, struct error *err) {
        uint32_t ip;
        ipv4_parse(str_of(c->node_ip), &ip);
        _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(ip) };
        if (bind(fd, (struct sockaddr *) &a, sizeof(a)) < 0)
                return error_set(err, -errno,
                                 "no interface of this host has the address %s: pass --node-ip with one that it has",
                                 c->node_ip);
        return 0;
}

static int check_host(const struct cluster *c, struct error *err) {
        TRY(check_programs(err));
        TRY(cluster_check_collisions(c, err));
        if (c->isolated)
                return isolate_check(c, err);
        TRY(check_node_ip(c, err));
        TRY(check_port(c->api_port, "api-port", err));
        return check_port(c->kubelet_port, "kubelet-port", err);
}

/* ---- starting ---- */

static int open_log(const struct cluster *c, struct error *err) {
        _cleanup_free_ char *path = cluster_path(c, "cube.log");
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        return fd < 0 ? error_errno(err, -errno, "open %s", path) : fd;
}

/* The supervisor, in its own session, with the log as its output and the three descriptors at their numbers. */
static int spawn_supervisor(const struct cluster *c, int lock_fd, int step_fd, int go_fd, struct error *err) {
        int log_fd = open_log(c, err);
        if (log_fd < 0)
                return log_fd;
        unsigned long ns = c->isolated ? CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS : 0;
        int pid = (int) syscall(SYS_clone, ns | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid < 0)
                error_errno(err, -errno, "clone");
        if (pid != 0) {
                close(log_fd);
                return pid;
        }
        setsid();
        int from[] = { lock_fd, step_fd, go_fd, log_fd };
        for (size_t i = 0; i < ARRAY_SIZE(from); i++) /* out of the way of the numbers they are to have */
                from[i] = fcntl(from[i], F_DUPFD, 20);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(from[3], 1);
        dup2(from[3], 2);
        dup2(from[0], LOCK_FD);
        dup2(from[1], STEP_FD);
        dup2(from[2], GO_FD);
        syscall(SYS_close_range, GO_FD + 1, ~0U, 0);
        if (chdir("/") == 0)
                execl("/proc/self/exe", "cube", "supervise", "--name", c->name, "--data-dir", c->data_dir,
                      (char *) NULL);
        _exit(127);
}

struct progress {
        bool tty;
        int64_t begun, last;
};

static void show(struct progress *p, struct str text) {
        int64_t now = now_mono_ms();
        if (p->tty)
                printf("  \033[32m✓\033[0m %-44" STR_FMT " \033[2m%5lld ms\033[0m\n", STR_ARG(text),
                       (long long) (now - p->last));
        else
                printf("%" STR_FMT " (%lld ms)\n", STR_ARG(text), (long long) (now - p->last));
        fflush(stdout);
        p->last = now;
}

/* Reads steps until the node is ready. 0; or what went wrong. */
static int follow(const struct cluster *c, int fd, int64_t wait_ms, struct progress *p, struct error *err) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        int64_t end = p->begun + (wait_ms ? wait_ms : 60000);
        for (;;) {
                struct pollfd pfd = { .fd = fd, .events = POLLIN };
                int64_t left = end - now_mono_ms();
                if (left <= 0 || poll(&pfd, 1, (int) left) == 0)
                        return error_set(err, -ETIMEDOUT,
                                         "the node is not Ready after %lld s; it may still become so: see cube logs "
                                         "--name %s",
                                         (long long) (end - p->begun) / 1000, c->name);
                ssize_t n = read(fd, buf_reserve(&b, 4096), 4096);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return error_set(err, -EIO, "the server ended while starting: see %s/cube.log", c->data_dir);
                b.n += (size_t) n;
                for (char *nl; (nl = memchr(b.p, '\n', b.n));) {
                        struct str line = str_n(b.p, (size_t) (nl - b.p));
                        if (str_eqc(line, "ready"))
                                return 0;
                        if (str_has_prefix(line, STR("fatal ")))
                                return error_set(err, -EIO, "%" STR_FMT, STR_ARG(str_sub(line, 6, line.n)));
                        if (str_has_prefix(line, STR("step ")))
                                show(p, str_sub(line, 5, line.n));
                        if (!wait_ms && str_has_prefix(line, STR("step API server")))
                                return 0;
                        buf_consume(&b, line.n + 1);
                }
        }
}

static void print_next(const struct cluster *c, const struct progress *p) {
        printf("%s%s is ready in %.2f s: Kubernetes " CUBE_VERSION " at https://%s:%d\n\n", p->tty ? "\n" : "", c->name,
               (double) (now_mono_ms() - p->begun) / 1000, c->isolated ? c->node_ip : "127.0.0.1", c->api_port);
        printf("Next:\n  kubectl get nodes\n  cube image load IMAGE.tar%s%s\n  kubectl create deployment web "
               "--image=IMAGE\n",
               strcmp(c->name, CUBE_DEFAULT_NAME) ? " --name " : "", strcmp(c->name, CUBE_DEFAULT_NAME) ? c->name : "");
}

static int launch(const struct cluster *c, const struct flags *f, struct error *err) {
        struct progress p = { .tty = isatty(1), .begun = now_mono_ms(), .last = now_mono_ms() };
        _cleanup_close_ int lock = -1, step_read = -1, step_write = -1, go_read = -1, go_write = -1;
        int fds[2];
        TRY(cluster_lock(c, &lock, err));
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        step_read = fds[0], step_write = fds[1];
        if (pipe2(fds, O_CLOEXEC) < 0)
                return error_errno(err, -errno, "pipe");
        go_read = fds[0], go_write = fds[1];

        int pid = spawn_supervisor(c, lock, step_write, go_read, err);
        if (pid < 0)
                return pid;
        close(step_write);
        step_write = -1;
        int r = cluster_lock_note_pid(c, pid, err);
        if (r == 0 && c->isolated)
                r = isolate_host_setup(c, pid, err);
        if (r == 0 && write(go_write, "g", 1) != 1)
                r = error_errno(err, -errno, "start the supervisor");
        if (r == 0)
                r = follow(c, step_read, f->wait_ms, &p, err);
        if (r < 0 && r != -ETIMEDOUT) { /* it cannot work: leave nothing half running */
                kill(pid, SIGTERM);
                waitpid(pid, NULL, 0);
                if (c->isolated)
                        isolate_destroy(c, NULL);
        }
        TRY(r);
        TRY(f->no_kubeconfig ? 0 : kubeconfig_write_user(c, err));
        print_next(c, &p);
        return 0;
}

/* Under systemd, or for a look at the log: this process becomes the server. */
static int run_foreground(const struct cluster *c, const struct flags *f, struct error *err) {
        int lock;
        TRY(cluster_lock(c, &lock, err));
        if (c->isolated)
                return error_set(err, -EINVAL,
                                 "--foreground does not go with --isolated: start it without, and follow it with cube "
                                 "logs -f");
        TRY(cluster_lock_note_pid(c, getpid(), err));
        if (!f->no_kubeconfig)
                setenv("CUBE_WRITE_KUBECONFIG", "1", 1);
        return server_run(c, -1, err);
}

static int start(struct flags *f, int argc, char **argv, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        bool new;
        TRY(cluster_resolve(f, &c, &new, err));
        if (cluster_pid(&c) > 0) {
                printf("%s is running already%s\n", c.name,
                       cluster_paused(&c) ? " (paused: cube unpause wakes it)" : "");
                return f->no_kubeconfig ? 0 : kubeconfig_write_user(&c, err);
        }
        TRY(check_host(&c, err));
        TRY(cluster_save(&c, err));
        return f->foreground ? run_foreground(&c, f, err) : launch(&c, f, err);
}

const struct command cmd_start = { .name = "start",
                                   .summary = "Starts a cluster, making it where there is none",
                                   .run = start,
                                   .flags = start_flags,
                                   .root = true,
                                   .apiserver = true };
