/* A sandbox' namespaces, without a process to hold them: a thread unshares, configures what it is in then, and pins it
 * by bind mounts of its own /proc/thread-self/ns files. Thread-wide unshare(2) of net, uts and ipc touches nobody else.
 */
#include <arpa/inet.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "runtime/oci/oci.h"

#ifndef NSFS_MAGIC
#define NSFS_MAGIC 0x6e736673
#endif

static const struct {
        const char *name;
        int flag;
} kinds[] = {
        { "net", CLONE_NEWNET },
        { "uts", CLONE_NEWUTS },
        { "ipc", CLONE_NEWIPC },
};

struct make {
        struct sandbox *sandbox;
        const struct sandbox_config *config;
        struct error *err;
        int result;
};

static bool wanted(const struct sandbox *s, int flag) {
        return flag == CLONE_NEWIPC ? !s->host_ipc : !s->host_network;
}

static int loopback_up(void) {
        _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

        return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

static int write_sysctls(const struct json *sysctls, struct error *err) {
        json_each_member(m, sysctls) {
                struct str name = json_key(m);
                _cleanup_free_ char *path = xprintf("/proc/sys/%" STR_FMT, STR_ARG(name));

                for (char *p = path + strlen("/proc/sys/"); *p; p++) /* a slash is a dot within a part */
                        *p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
                if (strstr(path, ".."))
                        return error_set(err, -EINVAL, "invalid sysctl \"%" STR_FMT "\"", STR_ARG(name));
                int r = file_write(path, json_str(&m->value), 0644, err);
                if (r < 0)
                        return error_prefix(err, "sysctl %" STR_FMT, STR_ARG(name));
        }
        return 0;
}

static int pin(const char *dir, const char *name, struct error *err) {
        _cleanup_free_ char *from = xprintf("/proc/thread-self/ns/%s", name), *to = xprintf("%s/%s", dir, name);
        _cleanup_close_ int fd = open(to, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

        if (fd < 0)
                return error_errno(err, -errno, "create %s", to);
        return mount(from, to, NULL, MS_BIND, NULL) < 0 ? error_errno(err, -errno, "mount %s on %s", from, to) : 0;
}

static int make(struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        int flags = 0, r = 0;

        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
                if (wanted(s, kinds[i].flag))
                        flags |= kinds[i].flag;
        if (unshare(flags) < 0)
                return error_errno(err, -errno, "unshare");
        if ((flags & CLONE_NEWUTS) && sethostname(s->hostname, strlen(s->hostname)) < 0)
                return error_errno(err, -errno, "set hostname %s", s->hostname);
        if (flags & CLONE_NEWNET) {
                r = loopback_up();
                if (r < 0)
                        return error_errno(err, r, "set lo up");
        }
        r = write_sysctls(c->sysctls, err);
        for (size_t i = 0; i < ARRAY_SIZE(kinds) && r >= 0; i++)
                if (flags & kinds[i].flag)
                        r = pin(s->ns, kinds[i].name, err);
        return r;
}

static void *make_on_thread(void *arg) {
        struct make *m = arg;

        m->result = make(m->sandbox, m->config, m->err);
        return NULL;
}

static int on_thread(void *(*fn)(void *arg), void *arg) {
        pthread_attr_t attr;
        pthread_t t;

        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 << 10);
        int r = pthread_create(&t, &attr, fn, arg);
        pthread_attr_destroy(&attr);
        if (r)
                return -r;
        pthread_join(t, NULL);
        return 0;
}

int namespaces_make(struct runtime *r, struct sandbox *s, const struct sandbox_config *c, struct error *err) {
        struct make m = { s, c, err, 0 };

        if (s->host_network && s->host_ipc)
                return 0;
        if (mkdir(s->ns, 0711) < 0)
                return error_errno(err, -errno, "mkdir %s", s->ns);
        int k = on_thread(make_on_thread, &m);
        return k < 0 ? error_errno(err, k, "start a thread") : m.result;
}

void namespaces_drop(struct sandbox *s) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", s->ns, kinds[i].name);

                while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
                        ;
                unlink(path);
        }
        rmdir(s->ns);
}

bool namespaces_there(const struct sandbox *s) {
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                _cleanup_free_ char *path = xprintf("%s/%s", s->ns, kinds[i].name);
                struct statfs fs;

                if (wanted(s, kinds[i].flag) && (statfs(path, &fs) < 0 || fs.f_type != NSFS_MAGIC))
                        return false;
        }
        return true;
}

struct visit {
        int fd;
        int (*fn)(void *arg);
        void *arg;
        int result;
};

static void *visit_on_thread(void *arg) {
        struct visit *v = arg;

        v->result = setns(v->fd, CLONE_NEWNET) < 0 ? -errno : v->fn(v->arg);
        return NULL;
}

int in_netns(const struct sandbox *s, int (*fn)(void *arg), void *arg) {
        _cleanup_free_ char *path = xprintf("%s/net", s->ns);
        _cleanup_close_ int fd = -1;
        struct visit v = { .fn = fn, .arg = arg };

        if (s->host_network)
                return fn(arg);
        v.fd = fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        TRY(on_thread(visit_on_thread, &v));
        return v.result;
}
