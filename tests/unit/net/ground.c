#include "ground.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "net/netlink.h"

bool ground_enter(void) {
        _cleanup_error_ struct error err = ERROR_INIT;
        if (unshare(CLONE_NEWNET) < 0) {
                fprintf(stderr, "no network namespace can be made here: %s\n", strerror(errno));
                return false;
        }
        if (nl_link_up("lo", &err) == 0)
                return true;
        fprintf(stderr, "%s\n", error_text(&err));
        return false;
}

static int run(const char *fmt, va_list ap, const char **ret_out) {
        static char *kept[8];
        static unsigned turn;
        char **out = &kept[turn++ % ARRAY_SIZE(kept)], command[4096], part[4096];
        struct buf b = BUF_INIT;
        size_t n;
        int status;
        FILE *f;

        vsnprintf(command, sizeof(command), fmt, ap);
        f = popen(command, "re");
        assert_non_null(f);
        while ((n = fread(part, 1, sizeof(part), f)) > 0)
                buf_add(&b, part, n);
        status = pclose(f);
        free(*out);
        *out = buf_take(&b, NULL);
        *ret_out = *out ? *out : "";
        if (!WIFEXITED(status))
                fail_msg("%s: killed", command);
        return WEXITSTATUS(status);
}

const char *shell(const char *fmt, ...) {
        const char *out;
        va_list ap;
        va_start(ap, fmt);
        if (run(fmt, ap, &out) != 0)
                fail_msg("failed: %s", fmt);
        va_end(ap);
        return out;
}

int shell_code(const char *fmt, ...) {
        const char *out;
        va_list ap;
        va_start(ap, fmt);
        int code = run(fmt, ap, &out);
        va_end(ap);
        return code;
}

static void full_name(const char *name, char dst[static 64]) {
        snprintf(dst, 64, "cube-test-%d-%s", getpid(), name);
}

void netns_add(const char *name) {
        char full[64];
        full_name(name, full);
        shell("ip netns add %s", full);
}

void netns_delete(const char *name) {
        char full[64];
        full_name(name, full);
        shell("ip netns del %s", full);
}

const char *netns_path(const char *name) {
        static _Thread_local char paths[8][96];
        static _Thread_local unsigned turn;
        char full[64], *p = paths[turn++ % 8];
        full_name(name, full);
        snprintf(p, sizeof(paths[0]), "/run/netns/%s", full);
        return p;
}

void outside_add(void) {
        netns_add("outside");
        const char *name = netns_path("outside") + strlen("/run/netns/");
        shell("ip link add out0 mtu 1400 type veth peer name eth0 netns %s", name);
        shell("ip addr add 192.0.2.1/24 dev out0 && ip link set out0 up && ip route add default via 192.0.2.2");
        shell("ip -n %s addr add 192.0.2.2/24 dev eth0 && ip -n %s link set eth0 up && ip -n %s link set lo up", name,
              name, name);
}

void outside_delete(void) {
        shell("ip link del out0"); /* a namespace goes only after a while */
        netns_delete("outside");
}

/* ---- traffic ---- */

int socket_in(const char *netns, int type) {
        _cleanup_close_ int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), there = -1;
        if (netns) {
                there = open(netns_path(netns), O_RDONLY | O_CLOEXEC);
                assert_true(here >= 0 && there >= 0);
                assert_int_equal(setns(there, CLONE_NEWNET), 0);
        }
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        if (netns)
                assert_int_equal(setns(here, CLONE_NEWNET), 0);
        assert_true(fd >= 0);
        return fd;
}

#define MAX_SERVED 64

static struct served {
        const char *name;
        int fd, type;
} served[MAX_SERVED];
static size_t n_served;
static pthread_t server_thread;
static int wake[2];
static pthread_mutex_t serving = PTHREAD_MUTEX_INITIALIZER;

static void answer_one(const struct served *s) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        char in[64], out[128], ip[46];
        int fd = s->type == SOCK_STREAM ? accept4(s->fd, (struct sockaddr *) &from, &len, SOCK_CLOEXEC) : s->fd;
        if (fd < 0 || (s->type == SOCK_DGRAM && recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *) &from, &len) < 0))
                return;
        size_t n = (size_t) snprintf(out, sizeof(out), "%s %s", s->name,
                                     inet_ntop(AF_INET, &from.sin_addr, ip, sizeof(ip)));
        if (s->type == SOCK_DGRAM) {
                sendto(fd, out, n, 0, (struct sockaddr *) &from, len);
                return;
        }
        send(fd, out, n, MSG_NOSIGNAL);
        close(fd);
}

static void *run_server(void *arg) {
        struct pollfd fds[MAX_SERVED + 1];
        char c;
        for (;;) {
                pthread_mutex_lock(&serving);
                size_t n = n_served;
                for (size_t i = 0; i < n; i++)
                        fds[i] = (struct pollfd) { .fd = served[i].fd, .events = POLLIN };
                pthread_mutex_unlock(&serving);
                fds[n] = (struct pollfd) { .fd = wake[0], .events = POLLIN };
                poll(fds, n + 1, -1);
                if (fds[n].revents && read(wake[0], &c, 1) == 1 && c == 'q')
                        return NULL;
                for (size_t i = 0; i < n; i++)
                        if (fds[i].revents)
                                answer_one(&served[i]);
        }
}

void serve(const char *netns, int type, uint16_t port) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
        int fd = socket_in(netns, type), one = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        assert_int_equal(bind(fd, (struct sockaddr *) &a, sizeof(a)), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 128), 0);
        if (!n_served) {
                assert_int_equal(pipe2(wake, O_CLOEXEC), 0);
                pthread_create(&server_thread, NULL, run_server, NULL);
        }
        pthread_mutex_lock(&serving);
        assert_true(n_served < MAX_SERVED);
        served[n_served++] = (struct served) { netns ? netns : "node", fd, type };
        pthread_mutex_unlock(&serving);
        assert_int_equal(write(wake[1], "w", 1), 1);
}

void serve_end(void) {
        if (!n_served)
                return;
        assert_int_equal(write(wake[1], "q", 1), 1);
        pthread_join(server_thread, NULL);
        for (size_t i = 0; i < n_served; i++)
                close(served[i].fd);
        close(wake[0]);
        close(wake[1]);
        n_served = 0;
}

const char *ask_from(const char *netns, int type, const char *ip, uint16_t port) {
        static char answers[8][128];
        static unsigned turn;
        char *answer = answers[turn++ % 8];
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
        struct timeval limit = { 4, 0 };
        _cleanup_close_ int fd = socket_in(netns, type);
        assert_int_equal(inet_pton(AF_INET, ip, &a.sin_addr), 1);
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)); /* of connect too */
        ssize_t n = connect(fd, (struct sockaddr *) &a, sizeof(a));
        if (n == 0 && type == SOCK_DGRAM)
                n = send(fd, "?", 1, 0);
        if (n >= 0)
                n = recv(fd, answer, sizeof(answers[0]) - 1, 0);
        if (n < 0)
                return errno == ECONNREFUSED                           ? "refused"
                       : errno == EAGAIN || errno == EINPROGRESS       ? "timeout"
                       : errno == EHOSTUNREACH || errno == ENETUNREACH ? "unreachable"
                                                                       : strerror(errno);
        answer[n] = 0;
        return answer;
}

/* ---- the API ---- */

void ground_api_start(struct ground_api *g) {
        _cleanup_error_ struct error err = ERROR_INIT;
        must(store_open(&(struct store_options) { 0 }, &g->store, &err), &err);
        struct apiserver_options o = { .store = g->store,
                                       .address = "127.0.0.1",
                                       .advertise_address = "127.0.0.1",
                                       .workers = 1,
                                       .service_cidr = "10.96.0.0/12",
                                       .node_port_min = 30000,
                                       .node_port_max = 32767,
                                       .service_account_issuer = "https://kubernetes.default.svc.cluster.local" };
        must(apiserver_new(&o, &g->server, &err), &err);
        must(apiserver_bootstrap(g->server, &err), &err);
        g->client = client_new_local(g->server, &api_user_system);
}

void ground_api_stop(struct ground_api *g) {
        client_free(g->client);
        apiserver_stop(g->server, 100);
        apiserver_free(g->server);
        store_close(g->store);
}

void ground_put(struct ground_api *g, const struct api_resource *res, const char *ns, const char *fmt, ...) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_error_ struct error err = ERROR_INIT;
        char *text;
        struct json *j;
        va_list ap;
        va_start(ap, fmt);
        assert_true(vasprintf(&text, fmt, ap) >= 0);
        va_end(ap);
        for (char *p = text; *p; p++)
                *p = *p == '\'' ? '"' : *p;
        must(json_parse(a, str_of(text), NULL, &j, &err), &err);
        json_set_cstr(a, j, "kind", res->kind);
        _cleanup_free_ char *version = *res->group ? xprintf("%s/%s", res->group, res->version) : xstrdup(res->version);
        json_set_cstr(a, j, "apiVersion", version);
        struct str name = json_str(json_at_path(j, "metadata", "name"));
        int r = client_patch(g->client, res, str_of(ns), name, STR(""), API_PATCH_MERGE, j, NULL, &err);
        if (r == -ENOENT) {
                error_clear(&err);
                r = client_create(g->client, res, str_of(ns), j, NULL, &err);
        }
        must(r, &err);
        free(text);
}

void ground_delete(struct ground_api *g, const struct api_resource *res, const char *ns, const char *name) {
        _cleanup_error_ struct error err = ERROR_INIT;
        must(client_delete(g->client, res, str_of(ns), str_of(name), NULL, &err), &err);
}
