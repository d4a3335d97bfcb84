/* Cluster IPs and node ports. Two bitmaps: one bit for an address of the service range (at most 2^20 of them), one for
 * a port. A write that needs one takes it under the lock before it goes to the store and gives it back if it fails; the
 * store's events keep the maps right whoever deletes a Service. At the start they are made from what is stored. */
#include <errno.h>
#include <stdio.h>

#include "apiserver/allocator.h"
#include "base/encode.h"
#include "base/rand.h"

#define MAX_ADDRESSES (1U << 20)

struct allocator {
        pthread_mutex_t lock;
        char cidr[64];
        uint32_t base, n_addresses; /* host byte order; offset 0 is the network, never given */
        uint64_t *addresses;
        int port_min, port_max;
        uint64_t *ports;
};

static bool get(const uint64_t *map, uint32_t i) {
        return map[i / 64] >> (i % 64) & 1;
}
static void put(uint64_t *map, uint32_t i, bool v) {
        if (v)
                map[i / 64] |= 1ULL << (i % 64);
        else
                map[i / 64] &= ~(1ULL << (i % 64));
}

static struct str print_ip(struct arena *a, uint32_t ip) {
        return arena_printf(a, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

int allocator_new(struct apiserver *s, struct allocator **ret, struct error *err) {
        struct allocator *al = xcalloc(1, sizeof(*al));
        struct str cidr = str_of(s->options.service_cidr ? s->options.service_cidr : "10.96.0.0/12"), ip;
        uint64_t bits = 0;
        uint64_t size;

        snprintf(al->cidr, sizeof(al->cidr), "%" STR_FMT, STR_ARG(cidr));
        if (!str_split(&cidr, '/', &ip) || !ipv4_parse(ip, &al->base) || str_to_u64(cidr, &bits) < 0 || bits < 8 ||
            bits > 30) {
                free(al);
                return error_set(err, -EINVAL,
                                 "the service range \"%s\" is no IPv4 network with a prefix of 8 to 30 bits",
                                 s->options.service_cidr);
        }
        size = 1ULL << (32 - bits);
        al->base &= ~(uint32_t) (size - 1);
        al->n_addresses = (uint32_t) MIN(size, MAX_ADDRESSES);
        al->addresses = xcalloc((al->n_addresses + 63) / 64, 8);
        al->port_min = s->options.node_port_min ? s->options.node_port_min : 30000;
        al->port_max = s->options.node_port_max ? s->options.node_port_max : 32767;
        al->ports = xcalloc(65536 / 64, 8);
        put(al->addresses, 0, true);
        if (size == al->n_addresses)
                put(al->addresses, al->n_addresses - 1, true); /* broadcast */
        pthread_mutex_init(&al->lock, NULL);
        *ret = al;
        return 0;
}

void allocator_free(struct allocator *al) {
        if (!al)
                return;
        pthread_mutex_destroy(&al->lock);
        free(al->addresses);
        free(al->ports);
        free(al);
}

const char *allocator_cidr(const struct allocator *al) {
        return al->cidr;
}

struct str allocator_first_ip(const struct allocator *al, struct arena *a) {
        return print_ip(a, al->base + 1);
}

void allocator_port_range(const struct allocator *al, int *ret_min, int *ret_max) {
        *ret_min = al->port_min;
        *ret_max = al->port_max;
}

/* ---- one ---- */

int allocator_take_ip(struct allocator *al, struct str ip) {
        uint32_t addr;
        int r = 0;

        if (!ipv4_parse(ip, &addr) || addr < al->base || addr - al->base >= al->n_addresses || addr == al->base)
                return -ERANGE;
        pthread_mutex_lock(&al->lock);
        if (get(al->addresses, addr - al->base))
                r = -EEXIST;
        else
                put(al->addresses, addr - al->base, true);
        pthread_mutex_unlock(&al->lock);
        return r;
}

void allocator_release_ip(struct allocator *al, struct str ip) {
        uint32_t addr;

        if (!ipv4_parse(ip, &addr) || addr <= al->base || addr - al->base >= al->n_addresses)
                return;
        pthread_mutex_lock(&al->lock);
        put(al->addresses, addr - al->base, false);
        pthread_mutex_unlock(&al->lock);
}

/* A free bit of [from, to): a random one, then whatever comes next. */
static int64_t find_free(const uint64_t *map, uint32_t from, uint32_t to) {
        uint32_t n = to - from, start;

        if (n == 0)
                return -1;
        start = (uint32_t) rand_below(n);
        for (uint32_t i = 0; i < n; i++) {
                uint32_t at = from + (start + i) % n;

                if (!get(map, at))
                        return at;
        }
        return -1;
}

int allocator_any_ip(struct allocator *al, struct arena *a, struct str *ret) {
        /* The lower band is left to those who ask for a certain address: min(max(16, size/16), 256), KEP-3070. */
        uint32_t band = MIN(MAX(16U, al->n_addresses / 16), 256U);
        int64_t at;

        if (band >= al->n_addresses)
                band = 0;
        pthread_mutex_lock(&al->lock);
        at = find_free(al->addresses, band, al->n_addresses);
        if (at < 0)
                at = find_free(al->addresses, 0, band);
        if (at >= 0)
                put(al->addresses, (uint32_t) at, true);
        pthread_mutex_unlock(&al->lock);
        if (at < 0)
                return -ENOSPC;
        *ret = print_ip(a, al->base + (uint32_t) at);
        return 0;
}

int allocator_take_port(struct allocator *al, int64_t port) {
        int r = 0;

        if (port < al->port_min || port > al->port_max)
                return -ERANGE;
        pthread_mutex_lock(&al->lock);
        if (get(al->ports, (uint32_t) port))
                r = -EEXIST;
        else
                put(al->ports, (uint32_t) port, true);
        pthread_mutex_unlock(&al->lock);
        return r;
}

void allocator_release_port(struct allocator *al, int64_t port) {
        if (port < al->port_min || port > al->port_max)
                return;
        pthread_mutex_lock(&al->lock);
        put(al->ports, (uint32_t) port, false);
        pthread_mutex_unlock(&al->lock);
}

int allocator_any_port(struct allocator *al, int64_t *ret) {
        int64_t at;

        pthread_mutex_lock(&al->lock);
        at = find_free(al->ports, (uint32_t) al->port_min, (uint32_t) al->port_max + 1);
        if (at >= 0)
                put(al->ports, (uint32_t) at, true);
        pthread_mutex_unlock(&al->lock);
        if (at < 0)
                return -ENOSPC;
        *ret = at;
        return 0;
}

/* ---- following the store ---- */

static bool holds_ip(const struct json *service, struct str ip) {
        json_each_item(i, json_at_path(service, "spec", "clusterIPs"))
                if (str_eq(json_str(i), ip))
                        return true;
        return false;
}

static bool holds_port(const struct json *service, int64_t port) {
        json_each_item(p, json_at_path(service, "spec", "ports"))
                if (json_int(json_getc(p, "nodePort")) == port)
                        return true;
        return json_int(json_at_path(service, "spec", "healthCheckNodePort")) == port;
}

void allocator_changed(struct allocator *al, const struct object *before, const struct object *after) {
        const struct json *old = before ? object_json(before) : NULL, *now = after ? object_json(after) : NULL;

        json_each_item(i, json_at_path(now, "spec", "clusterIPs"))
                allocator_take_ip(al, json_str(i));
        json_each_item(p, json_at_path(now, "spec", "ports"))
                allocator_take_port(al, json_int(json_getc(p, "nodePort")));
        allocator_take_port(al, json_int(json_at_path(now, "spec", "healthCheckNodePort")));
        json_each_item(i, json_at_path(old, "spec", "clusterIPs"))
                if (!holds_ip(now, json_str(i)))
                        allocator_release_ip(al, json_str(i));
        json_each_item(p, json_at_path(old, "spec", "ports"))
                if (!holds_port(now, json_int(json_getc(p, "nodePort"))))
                        allocator_release_port(al, json_int(json_getc(p, "nodePort")));
        if (!holds_port(now, json_int(json_at_path(old, "spec", "healthCheckNodePort"))))
                allocator_release_port(al, json_int(json_at_path(old, "spec", "healthCheckNodePort")));
}

void allocator_load(struct allocator *al, struct store_snapshot *snap, struct str prefix) {
        struct store_iter it;

        store_iter_init(&it, snap, prefix, prefix);
        while (store_iter_next(&it))
                allocator_changed(al, NULL, it.object);
}
