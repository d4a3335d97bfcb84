/* IPAM: a bitmap in memory over lease files on disk. A file is made whole and renamed into place before the address is
 * handed out, and removed after it is given back, so a crash at any instant leaks at most until the next open looks at
 * who is still there. Addresses are given out in turn, so that one just given back is not used again at once. */
#include <arpa/inet.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "base/file.h"
#include "base/lock.h"
#include "base/map.h"
#include "net/ipam.h"

struct lease {
        uint32_t ip;
        struct arena *arena;
        char *text;
        const struct json *json;
};

struct ipam {
        char *dir, *cidr;
        uint32_t base;
        unsigned bits;
        uint32_t next;          /* offset from base at which the search begins */
        struct map *by_sandbox; /* → struct lease */
        struct map *taken;      /* address text → struct lease */
        pthread_mutex_t lock;
};

static void address_text(uint32_t ip, char dst[static 16]) {
        snprintf(dst, 16, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void lease_free(void *p) {
        struct lease *l = p;
        arena_free(l->arena);
        free(l->text);
        free(l);
}

static void keep(struct ipam *i, struct lease *l) {
        char text[16];
        address_text(l->ip, text);
        map_put(i->taken, str_of(text), l);
        map_put(i->by_sandbox, json_str(json_getc(l->json, "sandbox")), l);
}

static struct lease *lease_new(uint32_t ip, char *text, struct error *err) {
        struct lease *l = xcalloc(1, sizeof(*l));
        struct json *j;
        l->ip = ip;
        l->text = text;
        l->arena = arena_new(512);
        if (json_parse(l->arena, str_of(text), NULL, &j, err) < 0) {
                lease_free(l);
                return NULL;
        }
        l->json = j;
        return l;
}

/* A namespace that is still pinned is a mount of nsfs; what else is at its path is left over. */
static bool namespace_lives(struct str path) {
        _cleanup_free_ char *p = str_dup(path);
        struct statfs fs;
        return statfs(p, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static int load(struct ipam *i, struct error *err) {
        _cleanup_(closedirp) DIR *d = opendir(i->dir);
        if (!d)
                return error_errno(err, -errno, "open %s", i->dir);
        for (struct dirent *e; (e = readdir(d));) {
                struct in_addr a;
                _cleanup_free_ char *path = xprintf("%s/%s", i->dir, e->d_name);
                _cleanup_buf_ struct buf b = BUF_INIT;
                if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
                        continue;
                struct lease *l = NULL;
                if (inet_pton(AF_INET, e->d_name, &a) == 1 && file_read(path, 1 << 20, &b, NULL) == 0)
                        l = lease_new(ntohl(a.s_addr), buf_take(&b, NULL), NULL);
                if (l && namespace_lives(json_str(json_getc(l->json, "netns")))) {
                        keep(i, l);
                } else { /* of a machine that was switched off, or half written by one that lost power */
                        if (l)
                                lease_free(l);
                        unlink(path);
                }
        }
        return 0;
}

int ipam_open(const char *dir, const char *cidr, struct ipam **ret, struct error *err) {
        unsigned a, b, c, d, bits;
        int end = 0;
        if (sscanf(cidr, "%3u.%3u.%3u.%3u/%2u%n", &a, &b, &c, &d, &bits, &end) != 5 || cidr[end] || strchr(cidr, '+') ||
            a > 255 || b > 255 || c > 255 || d > 255 || bits < 8 || bits > 30)
                return error_set(err, -EINVAL, "podCIDR \"%s\" is not an IPv4 range from /8 to /30", cidr);
        TRY(file_mkdirs(dir, 0700, err));
        struct ipam *i = xcalloc(1, sizeof(*i));
        *i = (struct ipam) { .dir = xstrdup(dir),
                             .cidr = xstrdup(cidr),
                             .bits = bits,
                             .next = 2,
                             .base = (a << 24 | b << 16 | c << 8 | d) & (0xffffffffu << (32 - bits)),
                             .by_sandbox = map_new(NULL),
                             .taken = map_new(lease_free) };
        pthread_mutex_init(&i->lock, NULL);
        int r = load(i, err);
        if (r < 0)
                ipam_close(i);
        else
                *ret = i;
        return r;
}

void ipam_close(struct ipam *i) {
        if (!i)
                return;
        map_free(i->by_sandbox);
        map_free(i->taken);
        pthread_mutex_destroy(&i->lock);
        free_all(i->dir, i->cidr, i);
}

uint32_t ipam_gateway(const struct ipam *i) {
        return i->base + 1;
}

unsigned ipam_bits(const struct ipam *i) {
        return i->bits;
}

/* Not the network's own address, the gateway's, or the broadcast address. */
static uint32_t find_free(struct ipam *i) {
        uint32_t size = 1u << (32 - i->bits), first = 2, last = size - 2;
        for (uint32_t n = first; n <= last; n++) {
                uint32_t offset = i->next < first || i->next > last ? first : i->next;
                char text[16];
                i->next = offset + 1;
                address_text(i->base + offset, text);
                if (!map_has(i->taken, str_of(text)))
                        return i->base + offset;
        }
        return 0;
}

static int write_lease(struct ipam *i, uint32_t ip, const char *sandbox, const char *netns,
                       const struct json *hostports, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        _cleanup_buf_ struct buf text = BUF_INIT;
        struct json j = json_new_object();
        char name[16];
        address_text(ip, name);
        json_set_cstr(a, &j, "sandbox", sandbox);
        json_set_cstr(a, &j, "netns", netns);
        if (json_len(hostports))
                json_setc(a, &j, "hostports", *hostports);
        json_write(&text, &j);
        _cleanup_free_ char *tmp = xprintf("%s/.%s", i->dir, name), *path = xprintf("%s/%s", i->dir, name);
        TRY(file_write(tmp, buf_str(&text), 0600, err));
        /* No fsync: after a loss of power no namespace is left that could hold the address. */
        if (rename(tmp, path) < 0)
                return error_errno(err, -errno, "rename %s to %s", tmp, path);
        struct lease *l = lease_new(ip, buf_take(&text, NULL), err);
        if (!l)
                return err ? err->err : -EINVAL;
        keep(i, l);
        return 0;
}

int ipam_acquire(struct ipam *i, const char *sandbox, const char *netns, const struct json *hostports, uint32_t *ret,
                 struct error *err) {
        int r = 0;
        pthread_mutex_lock(&i->lock);
        struct lease *l = map_get(i->by_sandbox, str_of(sandbox));
        uint32_t ip = l ? l->ip : find_free(i);
        if (!ip)
                r = error_set(err, -ENOSPC, "no addresses left in %s", i->cidr);
        else if (!l)
                r = write_lease(i, ip, sandbox, netns, hostports, err);
        pthread_mutex_unlock(&i->lock);
        if (r == 0)
                *ret = ip;
        return r;
}

int ipam_release(struct ipam *i, const char *sandbox, struct arena *a, uint32_t *ret, const struct json **ret_hostports,
                 struct error *err) {
        int r = 0;
        *ret = 0;
        *ret_hostports = NULL;
        pthread_mutex_lock(&i->lock);
        struct lease *l = map_get(i->by_sandbox, str_of(sandbox));
        if (l) {
                char name[16];
                address_text(l->ip, name);
                _cleanup_free_ char *path = xprintf("%s/%s", i->dir, name);
                if (unlink(path) < 0 && errno != ENOENT) {
                        r = error_errno(err, -errno, "remove %s", path);
                } else {
                        const struct json *ports = json_getc(l->json, "hostports");
                        *ret = l->ip;
                        if (ports)
                                *ret_hostports = json_new(a, json_copy(a, ports));
                        map_remove(i->by_sandbox, str_of(sandbox));
                        map_remove(i->taken, str_of(name));
                }
        }
        pthread_mutex_unlock(&i->lock);
        return r;
}

void ipam_each(struct ipam *i, void (*each)(uint32_t ip, const struct json *lease, void *arg), void *arg) {
        HOLD(&i->lock);
        map_each(it, i->taken) {
                struct lease *l = it.value;
                each(l->ip, l->json, arg);
        }
}
