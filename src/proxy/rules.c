/* Services on nftables, in constant work for each change.
 *
 *   packet to 10.96.3.7:80
 *     services        { 10.96.3.7 . tcp . 80 : goto pick-3 }            how many endpoints it has
 *     chain pick-3    meta mark set numgen random mod 3                  which: shared by all fronts of that size
 *     endpoints       { 10.96.3.7 . tcp . 80 . 0 : 10.244.0.5 . 8080,    ─┐
 *                       10.96.3.7 . tcp . 80 . 1 : 10.244.0.9 . 8080, …}  ─┴ dnat
 *
 * A new endpoint is one element of `endpoints` and a new verdict in `services`; one that goes is replaced by the last.
 * Nothing grows with the number of other Services. NodePorts are the same with maps of their own, without an address
 * in the key.
 *
 * With session affinity endpoints have ids, since positions change hands: `affinity` keeps each client's id for a
 * time, `slots` leads from the position drawn to the id, and has the id itself while that endpoint is there. A client
 * whose endpoint went draws again. */
#include "proxy/rules.h"

#define MASQUERADE_MARK 0x40000000u /* on the packet until postrouting: its source is to be ours */
#define ID_MARK 0x20000000u         /* an id, not a position */
#define CLIENT "ip saddr . ip daddr . meta l4proto . th dport"

struct rules {
        char *table, *cluster_cidr;
        struct map *fronts;      /* key → struct front */
        struct map *chains;      /* names of chains that exist */
        struct map *hairpins;    /* endpoint's address → how many fronts use it, as uintptr_t */
        struct map *cluster_ips; /* the same */
        uint32_t last_id;
};

struct rules *rules_new(const char *table, const char *cluster_cidr) {
        struct rules *r = xcalloc(1, sizeof(*r));
        *r = (struct rules) { .table = xstrdup(table),
                              .cluster_cidr = xstrdup(cluster_cidr),
                              .fronts = map_new(front_free),
                              .chains = map_new(NULL),
                              .hairpins = map_new(NULL),
                              .cluster_ips = map_new(NULL) };
        return r;
}

void rules_free(struct rules *r) {
        map_free(r->fronts);
        map_free(r->chains);
        map_free(r->hairpins);
        map_free(r->cluster_ips);
        free_all(r->table, r->cluster_cidr, r);
}

struct front *rules_front(const struct rules *r, struct str key) {
        return map_get(r->fronts, key);
}

/* ---- elements ---- */

static const char *kind(const struct front *f) {
        return f->node ? "node_" : "";
}

static void put_ip(struct buf *b, uint32_t ip) {
        buf_printf(b, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
}

static void begin_element(const struct rules *r, struct buf *b, bool add, const char *prefix, const char *map) {
        buf_printf(b, "%s element ip %s %s%s { ", add ? "add" : "delete", r->table, prefix, map);
}

static uint32_t name_of(const struct front *f, size_t i) {
        return (f->affinity ? f->ids[i] : (uint32_t) i) | (f->masquerade ? MASQUERADE_MARK : 0);
}

static void put_slot(const struct rules *r, struct buf *b, bool add, const struct front *f, uint32_t from,
                     uint32_t to) {
        begin_element(r, b, add, kind(f), "slots");
        buf_printf(b, "%s . 0x%x", f->key, from);
        if (add)
                buf_printf(b, " : 0x%x", to);
        buf_addc(b, " }\n");
}

/* The backend at position i under its name. */
static void put_endpoint(const struct rules *r, struct buf *b, bool add, const struct front *f, size_t i) {
        begin_element(r, b, add, kind(f), "endpoints");
        buf_printf(b, "%s . 0x%x", f->key, name_of(f, i));
        if (add) {
                buf_addc(b, " : ");
                put_ip(b, backend_ip(f->backends[i]));
                buf_printf(b, " . %u", backend_port(f->backends[i]));
        }
        buf_addc(b, " }\n");
        if (f->affinity)
                put_slot(r, b, add, f, name_of(f, i), name_of(f, i));
}

static void put_position(const struct rules *r, struct buf *b, bool add, const struct front *f, size_t i) {
        if (f->affinity)
                put_slot(r, b, add, f, (uint32_t) i, name_of(f, i));
}

/* The chain that draws one of n, made when it is the first of its kind. */
static void chain_for(struct rules *r, struct buf *b, const struct front *f, char name[static 64]) {
        const char *key = f->node ? "meta l4proto . th dport" : "ip daddr . meta l4proto . th dport", *k = kind(f),
                   *t = r->table;
        snprintf(name, 64, "%spick%s-%zu", k, f->masquerade ? "-masq" : "", f->n);
        if (f->affinity)
                snprintf(name + strlen(name), 64 - strlen(name), "-sticky-%lld", (long long) f->affinity);
        if (!map_put(r->chains, str_of(name), r))
                return;
        buf_printf(b, "add chain ip %s %s\nflush chain ip %s %s\n", t, name, t, name);
        if (!f->affinity)
                return buf_printf(b,
                                  "add rule ip %s %s meta mark set numgen random mod %zu offset %u dnat ip to %s . "
                                  "meta mark "
                                  "map @%sendpoints\n",
                                  t, name, f->n, f->masquerade ? MASQUERADE_MARK : 0, key, k);
        _cleanup_free_ char *remember =
                        xprintf("update @affinity { " CLIENT
                                " timeout %llds : meta mark } dnat ip to %s . meta mark map @%sendpoints",
                                (long long) f->affinity, key, k);
        buf_printf(b,
                   "add rule ip %s %s meta mark set " CLIENT
                   " map @affinity meta mark set %s . meta mark map @%sslots %s\n",
                   t, name, key, k, remember);
        buf_printf(b, "add rule ip %s %s delete @affinity { " CLIENT " : meta mark }\n", t, name);
        buf_printf(b, "add rule ip %s %s meta mark set numgen random mod %zu\n", t, name, f->n);
        buf_printf(b, "add rule ip %s %s meta mark set %s . meta mark map @%sslots %s\n", t, name, key, k, remember);
}

static void put_verdict(struct rules *r, struct buf *b, bool add, const struct front *f, size_t n) {
        char chain[64] = "";
        if (add && n)
                chain_for(r, b, f, chain);
        begin_element(r, b, add, kind(f), n ? "services" : "empty");
        buf_addc(b, f->key);
        if (add)
                buf_printf(b, " : goto %s", n ? chain : f->drop ? "drop-it" : "reject-it");
        buf_addc(b, " }\n");
}

/* Counts users of an address in a set: its element is there while anybody uses it. */
static void use_address(struct rules *r, struct buf *b, struct map *counts, const char *set, uint32_t ip, int change) {
        char bytes[sizeof(ip)];
        memcpy(bytes, &ip, sizeof(ip));
        struct str key = str_n(bytes, sizeof(bytes));
        uintptr_t before = (uintptr_t) map_get(counts, key), after = before + (uintptr_t) change;
        if (after)
                map_put(counts, key, (void *) after);
        else
                map_remove(counts, key);
        if (before && after)
                return;
        begin_element(r, b, after, "", set);
        put_ip(b, ip);
        if (counts == r->hairpins) {
                buf_addc(b, " . ");
                put_ip(b, ip);
        }
        buf_addc(b, " }\n");
}

static void use_backend(struct rules *r, struct buf *b, backend_t backend, int change) {
        use_address(r, b, r->hairpins, "hairpin", backend_ip(backend), change);
}

/* ---- fronts ---- */

static bool is_cluster_ip(const struct front *f) {
        return !f->node && !f->external;
}

static uint32_t new_id(struct rules *r) {
        r->last_id = (r->last_id + 1) % ID_MARK;
        return r->last_id | ID_MARK;
}

void rules_install(struct rules *r, struct buf *b, struct front *f) {
        if (f->affinity)
                f->ids = xcalloc(f->n + 1, sizeof(*f->ids));
        for (size_t i = 0; i < f->n; i++) {
                if (f->affinity)
                        f->ids[i] = new_id(r);
                put_endpoint(r, b, true, f, i);
                put_position(r, b, true, f, i);
                use_backend(r, b, f->backends[i], 1);
        }
        put_verdict(r, b, true, f, f->n);
        if (is_cluster_ip(f))
                use_address(r, b, r->cluster_ips, "cluster_ips", f->ip, 1);
        map_put(r->fronts, str_of(f->key), f);
}

void rules_uninstall(struct rules *r, struct buf *b, struct front *f) {
        put_verdict(r, b, false, f, f->n);
        for (size_t i = 0; i < f->n; i++) {
                put_endpoint(r, b, false, f, i);
                put_position(r, b, false, f, i);
                use_backend(r, b, f->backends[i], -1);
        }
        if (is_cluster_ip(f))
                use_address(r, b, r->cluster_ips, "cluster_ips", f->ip, -1);
        map_remove(r->fronts, str_of(f->key));
}

/* The last takes the place of the one that goes. */
static void remove_backend(struct rules *r, struct buf *b, struct front *f, size_t i) {
        size_t last = f->n - 1;
        use_backend(r, b, f->backends[i], -1);
        put_endpoint(r, b, false, f, i);
        put_position(r, b, false, f, i);
        if (i != last) {
                if (!f->affinity)
                        put_endpoint(r, b, false, f, last);
                put_position(r, b, false, f, last);
                f->backends[i] = f->backends[last];
                if (f->affinity)
                        f->ids[i] = f->ids[last];
                else
                        put_endpoint(r, b, true, f, i);
                put_position(r, b, true, f, i);
        }
        f->n--;
}

static void add_backend(struct rules *r, struct buf *b, struct front *f, backend_t backend) {
        size_t i = f->n++;
        f->backends = xrealloc(f->backends, f->n * sizeof(*f->backends));
        f->backends[i] = backend;
        if (f->affinity) {
                f->ids = xrealloc(f->ids, f->n * sizeof(*f->ids));
                f->ids[i] = new_id(r);
        }
        put_endpoint(r, b, true, f, i);
        put_position(r, b, true, f, i);
        use_backend(r, b, backend, 1);
}

bool rules_adjust(struct rules *r, struct buf *b, struct front *have, const struct front *want) {
        _cleanup_free_ bool *there = xcalloc(want->n + 1, sizeof(*there));
        size_t before = have->n;
        bool changed = false;
        for (size_t i = 0; i < have->n;) {
                const backend_t *w = front_find(want, have->backends[i]);
                if (w) {
                        there[w - want->backends] = true;
                        i++;
                } else {
                        remove_backend(r, b, have, i);
                        changed = true;
                }
        }
        for (size_t i = 0; i < want->n; i++)
                if (!there[i]) {
                        add_backend(r, b, have, want->backends[i]);
                        changed = true;
                }
        if (have->n != before) {
                put_verdict(r, b, false, have, before);
                put_verdict(r, b, true, have, have->n);
        }
        return changed;
}

/* ---- the table ---- */

void rules_start_over(struct rules *r, struct buf *b) {
        struct map *maps[] = { r->fronts, r->chains, r->hairpins, r->cluster_ips };
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                map_clear(maps[i]);
        buf_printf(b, "add table ip %s\ndelete table ip %s\n", r->table, r->table);
        buf_printf(b,
                   "table ip %s {\n"
                   "  map services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
                   "  map endpoints { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }\n"
                   "  map slots { type ipv4_addr . inet_proto . inet_service . mark : mark; }\n"
                   "  map empty { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
                   "  map node_services { type inet_proto . inet_service : verdict; }\n"
                   "  map node_endpoints { type inet_proto . inet_service . mark : ipv4_addr . inet_service; }\n"
                   "  map node_slots { type inet_proto . inet_service . mark : mark; }\n"
                   "  map node_empty { type inet_proto . inet_service : verdict; }\n"
                   "  map affinity {\n"
                   "    type ipv4_addr . ipv4_addr . inet_proto . inet_service : mark; flags dynamic, timeout; size "
                   "65535; timeout 3h;\n"
                   "  }\n"
                   "  set hairpin { type ipv4_addr . ipv4_addr; }\n"
                   "  set cluster_ips { type ipv4_addr; }\n"
                   "  chain dispatch {\n"
                   "    ip daddr . meta l4proto . th dport vmap @services\n"
                   "    fib daddr type local meta l4proto . th dport vmap @node_services\n"
                   "  }\n"
                   "  chain prerouting { type nat hook prerouting priority dstnat; jump dispatch; }\n"
                   "  chain output { type nat hook output priority -100; jump dispatch; }\n"
                   "  chain postrouting {\n"
                   "    type nat hook postrouting priority srcnat - 5;\n"
                   "    meta mark & 0x%x == 0x%x masquerade\n"
                   "    ct status dnat ip saddr . ip daddr @hairpin masquerade\n"
                   "    ct status dnat ip saddr != %s ct original ip daddr @cluster_ips masquerade\n"
                   "  }\n"
                   "  chain reject-it { meta l4proto tcp reject with tcp reset; reject; }\n" /* ICMP is rate-limited */
                   "  chain drop-it { drop; }\n"
                   /* what is still addressed to a Service after dstnat has no endpoint, or no such port */
                   "  chain check {\n"
                   "    ip daddr . meta l4proto . th dport vmap @empty\n"
                   "    ip daddr @cluster_ips goto reject-it\n"
                   "    fib daddr type local meta l4proto . th dport vmap @node_empty\n"
                   "  }\n"
                   "  chain check_prerouting { type filter hook prerouting priority dstnat + 10; ct state new jump "
                   "check; }\n"
                   "  chain check_output { type filter hook output priority -90; ct state new jump check; }\n"
                   "}\n",
                   r->table, MASQUERADE_MARK, MASQUERADE_MARK, r->cluster_cidr);
}
