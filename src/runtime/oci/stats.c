/* What containers and sandboxes use, from their cgroups, writable layers and network namespaces; and changing their
 * limits. */
#include "base/file.h"
#include "runtime/oci/oci.h"

/* ---- the writable layer ---- */

static void tree_usage(int dir, int depth, uint64_t *bytes, uint64_t *inodes) {
        _cleanup_(closedirp) DIR *d = fdopendir(dir);
        struct dirent *e;

        if (!d) {
                close(dir);
                return;
        }
        while ((e = readdir(d))) {
                struct stat st;

                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
                    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                *bytes += (uint64_t) st.st_blocks * 512;
                ++*inodes;
                if (S_ISDIR(st.st_mode) && depth < 64) {
                        int sub = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                        if (sub >= 0)
                                tree_usage(sub, depth + 1, bytes, inodes);
                }
        }
}

int runtime_container_usage(struct runtime *r, const char *id, struct runtime_usage *ret, struct error *err) {
        struct runtime_usage u = { 0 };
        struct container *c;
        int fd, k = container_get(r, id, &c, err);

        if (k < 0)
                return k;
        cgroup_usage(&r->cgroups, c->cgroup, &u);
        _cleanup_free_ char *upper = xprintf("%s/containers/%s/upper", r->root_dir, c->id);
        unit_put(r, c);
        fd = open(upper, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
                tree_usage(fd, 0, &u.rootfs_bytes, &u.rootfs_inodes);
        *ret = u;
        return 0;
}

/* ---- sandboxes ---- */

struct traffic {
        uint64_t rx, tx;
};

/* "  eth0: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes …" */
static int read_traffic(void *arg) {
        _cleanup_buf_ struct buf b = BUF_INIT;
        struct traffic *t = arg;
        int r = file_read("/proc/thread-self/net/dev", 1 << 20, &b, NULL);

        str_each(line, buf_str(&b), '\n') {
                ssize_t colon = str_find(line, ':');
                size_t n = 0;
                uint64_t v;

                if (colon < 0 || !str_eqc(str_trim(str_sub(line, 0, (size_t) colon)), "eth0"))
                        continue;
                str_each(word, str_sub(line, (size_t) colon + 1, line.n), ' ') {
                        if (str_empty(word) || str_to_u64(word, &v) < 0)
                                continue;
                        if (n == 0)
                                t->rx = v;
                        else if (n == 8)
                                t->tx = v;
                        n++;
                }
        }
        return r;
}

int runtime_sandbox_usage(struct runtime *r, const char *id, struct runtime_usage *ret, uint64_t *ret_rx_bytes,
                          uint64_t *ret_tx_bytes, struct error *err) {
        struct runtime_usage u = { 0 };
        struct traffic t = { 0 };
        struct sandbox *s;

        TRY(sandbox_get(r, id, &s, err));
        cgroup_usage(&r->cgroups, s->cgroup, &u);
        if (!s->host_network)
                (void) in_netns(s, read_traffic, &t); /* a stopped one has none any more */
        unit_put(r, s);
        *ret = u;
        *ret_rx_bytes = t.rx;
        *ret_tx_bytes = t.tx;
        return 0;
}
