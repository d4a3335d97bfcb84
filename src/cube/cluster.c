/* A cluster's configuration: chosen once, kept in <data>/cluster.json, found again by name.
 *
 *   /var/lib/cube            cluster.json, pki/, store/, runtime/ (images, layers), kubelet/ (pods' volumes), cube.log
 *   /run/cube/<name>         lock (flock held by the supervisor; its pid inside), data (a path), control, runtime/
 */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/file.h>

#include "base/encode.h"
#include "base/file.h"
#include "cube/cube.h"
#include "net/netlink.h"

#define RUN_ROOT "/run/cube"

void cluster_free(struct cluster *c) {
        free_all(c->name, c->data_dir, c->run_dir, c->node_name, c->node_ip, c->service_cidr, c->cluster_cidr,
                 c->bridge, c->nft_table, c->host_ip, c->host_bridge, c->apiserver_flags);
        *c = (struct cluster) { 0 };
}

char *cluster_path(const struct cluster *c, const char *name) {
        return xprintf("%s/%s", c->data_dir, name);
}

char *cluster_run_path(const struct cluster *c, const char *name) {
        return xprintf("%s/%s", c->run_dir, name);
}

/* An RFC 1123 label (dots allowed when subdomain). */
static bool dns_name(struct str s, size_t max, bool subdomain) {
        if (!s.n || s.n > max)
                return false;
        for (size_t i = 0; i < s.n; i++) {
                char ch = s.p[i];
                bool edge = i == 0 || i == s.n - 1 || (subdomain && (s.p[i - 1] == '.' || s.p[i + 1] == '.'));
                if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') ||
                    (!edge && (ch == '-' || (subdomain && ch == '.'))))
                        continue;
                return false;
        }
        return true;
}

int cluster_locate(const struct flags *f, struct cluster *ret, struct error *err) {
        const char *name = f->name ? f->name : CUBE_DEFAULT_NAME;
        if (!dns_name(str_of(name), 32, false))
                return error_set(err, -EINVAL,
                                 "--name: \"%s\" is not a name: use at most 32 lower case letters, digits and dashes",
                                 name);
        if (f->data_dir && f->data_dir[0] != '/')
                return error_set(err, -EINVAL, "--data-dir: \"%s\" is not an absolute path", f->data_dir);
        *ret = (struct cluster) { .name = xstrdup(name), .run_dir = xprintf("%s/%s", RUN_ROOT, name) };

        /* A running cluster knows where its data is; otherwise the flag or the default says. */
        _cleanup_free_ char *pointer = cluster_run_path(ret, "data");
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (!f->data_dir && file_exists(pointer) && file_read(pointer, 4096, &b, NULL) == 0)
                ret->data_dir = str_dup(str_trim(buf_str(&b)));
        else if (f->data_dir)
                ret->data_dir = xstrdup(f->data_dir);
        else
                ret->data_dir = strcmp(name, CUBE_DEFAULT_NAME) == 0 ? xstrdup("/var/lib/cube")
                                                                     : xprintf("/var/lib/cube-%s", name);
        return 0;
}

/* ---- on disk ---- */

static const struct {
        const char *key;
        size_t offset;
} text_fields[] = {
        { "nodeName", offsetof(struct cluster, node_name) },
        { "nodeIP", offsetof(struct cluster, node_ip) },
        { "serviceCIDR", offsetof(struct cluster, service_cidr) },
        { "clusterCIDR", offsetof(struct cluster, cluster_cidr) },
        { "bridge", offsetof(struct cluster, bridge) },
        { "nftTable", offsetof(struct cluster, nft_table) },
        { "hostIP", offsetof(struct cluster, host_ip) },
        { "hostBridge", offsetof(struct cluster, host_bridge) },
        { "apiserverFlags", offsetof(struct cluster, apiserver_flags) },
};

static char **text_field(struct cluster *c, size_t i) {
        return (char **) ((char *) c + text_fields[i].offset);
}

static int read_config(struct cluster *c, struct error *err) {
        _cleanup_free_ char *path = cluster_path(c, "cluster.json");
        _cleanup_buf_ struct buf text = BUF_INIT;
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct json *j;
        if (!file_exists(path))
                return -ENOENT;
        TRY(file_read(path, 1 << 20, &text, err));
        int r = json_parse(a, buf_str(&text), NULL, &j, err);
        if (r < 0 || !str_eqc(json_str(json_getc(j, "name")), c->name))
                return error_set(err, -EUCLEAN,
                                 "%s is damaged or belongs to another cluster: restore it from a backup, or remove the "
                                 "cluster with cube delete --name %s",
                                 path, c->name);
        for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++) {
                const struct json *v = json_getc(j, text_fields[i].key);
                if (json_is(v, JSON_STRING)) {
                        free(*text_field(c, i));
                        *text_field(c, i) = str_dup(json_str(v));
                }
        }
        c->isolated = json_bool(json_getc(j, "isolated"));
        c->api_port = (uint16_t) json_int(json_getc(j, "apiPort"));
        c->kubelet_port = (uint16_t) json_int(json_getc(j, "kubeletPort"));
        return 0;
}

int cluster_save(const struct cluster *c, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json j = json_new_object();
        json_set_cstr(a, &j, "name", c->name);
        json_set_bool(a, &j, "isolated", c->isolated);
        for (size_t i = 0; i < ARRAY_SIZE(text_fields); i++) {
                const char *v = *text_field((struct cluster *) c, i);
                if (v)
                        json_set_cstr(a, &j, text_fields[i].key, v);
        }
        json_set_int(a, &j, "apiPort", c->api_port);
        json_set_int(a, &j, "kubeletPort", c->kubelet_port);
        json_write_pretty(&text, &j, 2, 0);
        buf_putc(&text, '\n');

        _cleanup_free_ char *path = cluster_path(c, "cluster.json"), *pointer = cluster_run_path(c, "data");
        TRY(file_mkdirs(c->data_dir, 0755, err));
        TRY(file_mkdirs(c->run_dir, 0755, err));
        TRY(file_write_atomic(path, buf_str(&text), 0644, err));
        return file_write(pointer, str_of(c->data_dir), 0644, err);
}

int cluster_load(const struct flags *f, struct cluster *ret, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_locate(f, &c, err));
        int r = read_config(&c, err);
        if (r == -ENOENT)
                return error_set(err, -ENOENT, "there is no cluster \"%s\" (looked in %s): cube start%s%s makes it",
                                 c.name, c.data_dir, f->name ? " --name " : "", f->name ? f->name : "");
        if (r < 0)
                return r;
        *ret = c;
        c = (struct cluster) { 0 };
        return 0;
}

/* ---- choosing ---- */

/* The address by which others reach this host: that of the default route's interface, else the first that is not
 * loopback. */
static char *host_address(void) {
        char dev[64] = "";
        FILE *f = fopen("/proc/net/route", "re");
        if (f) {
                char line[256], name[64];
                unsigned long dest;
                while (fgets(line, sizeof(line), f))
                        if (sscanf(line, "%63s %lx", name, &dest) == 2 && dest == 0 && !dev[0])
                                snprintf(dev, sizeof(dev), "%s", name);
                fclose(f);
        }
        struct ifaddrs *all, *best = NULL;
        if (getifaddrs(&all) < 0)
                return NULL;
        for (struct ifaddrs *i = all; i; i = i->ifa_next) {
                if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET || (i->ifa_flags & IFF_LOOPBACK))
                        continue;
                if (!best || (dev[0] && strcmp(i->ifa_name, dev) == 0 && strcmp(best->ifa_name, dev) != 0))
                        best = i;
        }
        char *ret = NULL;
        if (best) {
                char text[46];
                ipv4_format(ntohl(((struct sockaddr_in *) best->ifa_addr)->sin_addr.s_addr), text);
                ret = xstrdup(text);
        }
        freeifaddrs(all);
        return ret;
}

static char *host_node_name(void) {
        char name[256] = "";
        gethostname(name, sizeof(name) - 1);
        for (char *p = name; *p; p++)
                *p = *p >= 'A' && *p <= 'Z' ? (char) (*p + 32) : *p;
        return dns_name(str_of(name), 253, true) ? xstrdup(name) : xstrdup("node");
}

static void set_default(char **field, const char *flag, const char *dflt) {
        if (!*field)
                *field = xstrdup(flag ? flag : dflt);
}

/* A short name for kernel objects: the cluster's own when it fits, else cut with a hash so that it stays apart. */
static char *short_name(const char *prefix, const char *name, size_t max) {
        size_t room = max - strlen(prefix);
        if (strlen(name) <= room)
                return xprintf("%s%s", prefix, name);
        return xprintf("%s%.*s%06x", prefix, (int) room - 6, name,
                       (unsigned) (str_hash_stable(str_of(name)) & 0xffffff));
}

static int complete(struct cluster *c, const struct flags *f, struct error *err) {
        bool plain = strcmp(c->name, CUBE_DEFAULT_NAME) == 0;
        c->isolated = f->isolated;
        set_default(&c->service_cidr, f->service_cidr, "10.96.0.0/12");
        set_default(&c->cluster_cidr, f->cluster_cidr, "10.244.0.0/16");
        c->api_port = f->api_port ? f->api_port : 6443;
        c->kubelet_port = f->kubelet_port ? f->kubelet_port : 10250;
        /* In a node of its own everything has its usual name; on the host clusters must tell theirs apart. */
        c->bridge = plain || c->isolated ? xstrdup("cni0") : short_name("cni-", c->name, 15);
        c->nft_table = plain || c->isolated ? xstrdup("cube") : xprintf("cube-%s", c->name);
        if (c->isolated) {
                set_default(&c->node_name, f->node_name, c->name);
                if (f->node_ip)
                        c->node_ip = xstrdup(f->node_ip);
                c->host_bridge = short_name("cb-", c->name, 15);
                return isolate_choose(c, err);
        }
        if (f->node_name)
                c->node_name = xstrdup(f->node_name);
        else
                c->node_name = host_node_name();
        c->node_ip = f->node_ip ? xstrdup(f->node_ip) : host_address();
        if (!c->node_ip)
                return error_set(err, -EADDRNOTAVAIL,
                                 "this host has no address but loopback, and pods could not reach it: give it one and "
                                 "pass --node-ip, or start with --isolated");
        return 0;
}

/* What a node with pods needs. */
static int validate_network(const struct cluster *c, struct error *err) {
        struct cidr service, pods;
        uint32_t ip;
        if (cidr_parse(c->service_cidr, &service) < 0 || service.bits < 12 || service.bits > 28)
                return error_set(err, -EINVAL,
                                 "--service-cidr: \"%s\" is not an IPv4 range from /12 to /28 such as 10.96.0.0/12",
                                 c->service_cidr);
        if (cidr_parse(c->cluster_cidr, &pods) < 0 || pods.bits < 8 || pods.bits > 24)
                return error_set(err, -EINVAL,
                                 "--cluster-cidr: \"%s\" is not an IPv4 range from /8 to /24 such as 10.244.0.0/16",
                                 c->cluster_cidr);
        if (cidr_overlaps(service, pods))
                return error_set(err, -EINVAL,
                                 "--service-cidr %s and --cluster-cidr %s overlap: choose ranges that do not",
                                 c->service_cidr, c->cluster_cidr);
        if (!ipv4_parse(str_of(c->node_ip), &ip))
                return error_set(err, -EINVAL, "--node-ip: \"%s\" is not an IPv4 address", c->node_ip);
        struct cidr node = { ip, 32 };
        if (cidr_overlaps(node, service) || cidr_overlaps(node, pods))
                return error_set(err, -EINVAL, "the node's address %s lies in %s: pass another --%s", c->node_ip,
                                 cidr_overlaps(node, pods) ? c->cluster_cidr : c->service_cidr,
                                 cidr_overlaps(node, pods) ? "cluster-cidr" : "service-cidr");
        return 0;
}

static int validate(const struct cluster *c, struct error *err) {
        if (!dns_name(str_of(c->node_name), 253, true))
                return error_set(err, -EINVAL, "--node-name: \"%s\" is not a lower case RFC 1123 subdomain",
                                 c->node_name);
        if (c->api_port == c->kubelet_port)
                return error_set(err, -EINVAL, "--api-port and --kubelet-port are both %d", c->api_port);
        return 0;
}

static int refuse_change(const struct cluster *c, const char *flag, const char *want, const char *have,
                         struct error *err) {
        if (!want || strcmp(want, have) == 0)
                return 0;
        return error_set(err, -EINVAL,
                         "cluster \"%s\" was made with --%s %s and cannot change to %s: leave the flag out, or "
                         "cube delete --name %s first",
                         c->name, flag, have, want, c->name);
}

int cluster_resolve(const struct flags *f, struct cluster *ret, bool *ret_new, struct error *err) {
        _cleanup_cluster_ struct cluster c = { 0 };
        TRY(cluster_locate(f, &c, err));
        int r = read_config(&c, err);
        bool new = r == -ENOENT;
        if (new) {
                TRY(complete(&c, f, err));
        } else {
                TRY(r);
                if (f->isolated && !c.isolated)
                        return error_set(err, -EINVAL,
                                         "cluster \"%s\" was made without --isolated: cube delete --name %s first",
                                         c.name, c.name);
                TRY(refuse_change(&c, "service-cidr", f->service_cidr, c.service_cidr, err));
                TRY(refuse_change(&c, "cluster-cidr", f->cluster_cidr, c.cluster_cidr, err));
                TRY(refuse_change(&c, "node-name", f->node_name, c.node_name, err));
                if (f->api_port)
                        c.api_port = f->api_port;
                if (f->kubelet_port)
                        c.kubelet_port = f->kubelet_port;
                if (f->node_ip) {
                        free(c.node_ip);
                        c.node_ip = xstrdup(f->node_ip);
                }
        }
        if (f->apiserver) { /* all that were given before, if any are now */
                free(c.apiserver_flags);
                c.apiserver_flags = xstrdup(f->apiserver);
        }
        TRY(f->api_alone ? 0 : validate_network(&c, err));
        TRY(validate(&c, err));
        *ret = c;
        c = (struct cluster) { 0 };
        *ret_new = new;
        return 0;
}

void cluster_service_ip(const struct cluster *c, unsigned n, char ret[46]) {
        _cleanup_free_ char *first = xstrdup(c->service_cidr);
        first[strcspn(first, ",")] = '\0';
        struct cidr s = { 0 };
        uint8_t ip[16];
        if (cidr_parse(first, &s) == 0)
                return ipv4_format(s.address + n, ret);
        first[strcspn(first, "/")] = '\0';
        if (inet_pton(AF_INET6, first, ip) != 1)
                memset(ip, 0, sizeof(ip)); /* the API server will say that it is none */
        ip[15] = (uint8_t) (ip[15] + n);
        inet_ntop(AF_INET6, ip, ret, 46);
}

/* ---- who runs ---- */

int cluster_pid(const struct cluster *c) {
        _cleanup_free_ char *path = cluster_run_path(c, "lock");
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0)
                return 0;
        char text[32] = "";
        ssize_t n = read(fd, text, sizeof(text) - 1);
        return n > 0 ? atoi(text) : 0;
}

int cluster_lock(const struct cluster *c, int *ret_fd, struct error *err) {
        _cleanup_free_ char *path = cluster_run_path(c, "lock");
        TRY(file_mkdirs(c->run_dir, 0755, err));
        _cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
                return error_errno(err, -errno, "open %s", path);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return error_set(err, -EBUSY, "another cube start or a running cluster \"%s\" holds %s", c->name, path);
        *ret_fd = fd;
        fd = -1;
        return 0;
}

int cluster_lock_note_pid(const struct cluster *c, int pid, struct error *err) {
        _cleanup_free_ char *path = cluster_run_path(c, "lock");
        char text[32];
        int n = snprintf(text, sizeof(text), "%d\n", pid);
        return file_write(path, str_n(text, (size_t) n), 0644, err);
}

int cluster_server_pid(const struct cluster *c, int supervisor_pid) {
        (void) c;
        _cleanup_free_ char *path = xprintf("/proc/%d/task/%d/children", supervisor_pid, supervisor_pid);
        _cleanup_buf_ struct buf b = BUF_INIT;
        if (file_read(path, 0, &b, NULL) < 0)
                return 0;
        str_each(word, buf_str(&b), ' ') {
                int64_t pid;
                if (str_to_i64(str_trim(word), &pid) < 0)
                        continue;
                _cleanup_free_ char *cmdline = xprintf("/proc/%d/cmdline", (int) pid);
                _cleanup_buf_ struct buf args = BUF_INIT;
                if (file_read(cmdline, 0, &args, NULL) == 0 && str_search(buf_str(&args), str_n("\0server", 8)) >= 0)
                        return (int) pid;
        }
        return 0;
}

bool cluster_paused(const struct cluster *c) {
        _cleanup_free_ char *path = cluster_run_path(c, "paused");
        return file_exists(path);
}

/* ---- neighbours ---- */

static int collide(const struct cluster *c, const struct cluster *o, bool running, struct error *err) {
        struct cidr mine[2], theirs[2];
        const char *flag[] = { "service-cidr", "cluster-cidr" };
        const char *text[] = { c->service_cidr, c->cluster_cidr };
        cidr_parse(c->service_cidr, &mine[0]);
        cidr_parse(c->cluster_cidr, &mine[1]);
        cidr_parse(o->service_cidr, &theirs[0]);
        cidr_parse(o->cluster_cidr, &theirs[1]);
        for (int i = 0; i < 2; i++)
                for (int k = 0; k < 2; k++)
                        if (cidr_overlaps(mine[i], theirs[k]))
                                return error_set(err, -EADDRINUSE,
                                                 "--%s %s collides with %s of the %s cluster \"%s\": choose "
                                                 "another range, start with --isolated, or cube delete --name %s first",
                                                 flag[i], text[i], k ? o->cluster_cidr : o->service_cidr,
                                                 running ? "running" : "stopped", o->name, o->name);
        if (running && (c->api_port == o->api_port || c->kubelet_port == o->kubelet_port))
                return error_set(err, -EADDRINUSE,
                                 "--%s %d is used by the running cluster \"%s\": choose another, or start with "
                                 "--isolated",
                                 c->api_port == o->api_port ? "api-port" : "kubelet-port",
                                 c->api_port == o->api_port ? c->api_port : c->kubelet_port, o->name);
        return 0;
}

/* Calls fn for every other cluster this host knows of, running or not, until it returns something else than 0. */
static int each_other(const struct cluster *c,
                      int (*fn)(const struct cluster *c, const struct cluster *o, void *arg, struct error *err),
                      void *arg, struct error *err) {
        _cleanup_(closedirp) DIR *d = opendir(RUN_ROOT);
        int r = 0;
        for (struct dirent *e; d && r == 0 && (e = readdir(d));) {
                _cleanup_cluster_ struct cluster o = { 0 };
                struct flags f = { .name = e->d_name };
                if (e->d_name[0] != '.' && strcmp(e->d_name, c->name) != 0 && cluster_load(&f, &o, NULL) == 0)
                        r = fn(c, &o, arg, err);
        }
        return r;
}

/* A cluster that is stopped leaves its bridge, routes and Services to the pods that go on. */
static int collide_if_there(const struct cluster *c, const struct cluster *o, void *arg, struct error *err) {
        bool running = cluster_pid(o) > 0;
        return !o->isolated && (running || nl_link_index(o->bridge) > 0) ? collide(c, o, running, err) : 0;
}

int cluster_check_collisions(const struct cluster *c, struct error *err) {
        return c->isolated ? 0 : each_other(c, collide_if_there, NULL, err);
}

static int holds_range(const struct cluster *c, const struct cluster *o, void *arg, struct error *err) {
        struct cidr *range = arg, node = { .bits = 32 };
        return o->isolated && ipv4_parse(str_of(o->node_ip), &node.address) && cidr_overlaps(node, *range);
}

bool cluster_range_taken(const struct cluster *c, struct cidr range) {
        return each_other(c, holds_range, &range, NULL) != 0;
}
