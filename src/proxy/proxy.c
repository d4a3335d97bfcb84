/* Services on nftables, in constant work for each change.
 *
 *   packet to 10.96.3.7:80
 *     services        { 10.96.3.7 . tcp . 80 : goto pick-3 }            how many endpoints it has
 *     chain pick-3    meta mark set numgen random mod 3                  which of them: chains are shared by all services of that size
 *     endpoints       { 10.96.3.7 . tcp . 80 . 0 : 10.244.0.5 . 8080,    ─┐
 *                       10.96.3.7 . tcp . 80 . 1 : 10.244.0.9 . 8080, …}  ─┴ dnat
 *
 * A new endpoint is one element of `endpoints` and a new verdict in `services`; one that goes is replaced by the last. Nothing grows
 * with the number of other Services. NodePorts are the same with maps of their own, without an address in the key. Session affinity
 * is a dynamic map from the client to the mark it drew.
 *
 * What is wanted is built anew from the caches for each Service that changed and compared with what is installed ("front" below). All
 * that changed in one turn of the loop goes to the kernel as one transaction; if that fails, the whole table is written anew. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/vec.h"
#include "client/informer.h"
#include "net/nft.h"
#include "proxy/conntrack.h"
#include "proxy/proxy.h"
#include "schema/types.h"

#define MASQUERADE_MARK 0x40000000u /* on the packet until postrouting: its source is to be ours */
#define RETRY_MS 1000
#define KEY_SIZE 64

/* What one address and port is to do, wanted or installed. */
struct front {
        char key[KEY_SIZE];      /* "10.96.3.7 . tcp . 80", of a NodePort "tcp . 30080" */
        char service[328];       /* "namespace/name" it belongs to */
        bool node, masquerade, udp, drop;
        uint32_t ip;             /* 0 for a NodePort */
        uint16_t port;
        int64_t affinity;        /* seconds, 0: none */
        char (*backends)[KEY_SIZE]; /* "10.244.0.5 . 8080" */
        size_t n;
};

struct proxy {
        char *node_name, *table, *cluster_cidr, *bridge;
        struct client *client;
        struct loop *loop;
        struct informer_factory *informers;
        struct informer *services, *slices;
        struct informer_index *by_service;
        struct map *fronts;      /* key → struct front, as installed */
        struct map *installed;   /* "namespace/name" → VEC of keys: struct keys */
        struct map *dirty;       /* services to look at in the next turn */
        struct map *chains;      /* names of chains that exist */
        struct map *hairpins;    /* endpoint address → how many fronts use it, as uintptr_t */
        struct map *cluster_ips; /* the same */
        struct loop_work turn;
        struct timer retry;
        bool posted, fresh, stopping; /* fresh: the table is to be written from nothing */
};

struct keys {
        VEC(char *) v;
};

static void keys_free(void *p) {
        struct keys *k = p;
        for (size_t i = 0; i < k->v.n; i++)
                free(k->v.v[i]);
        vec_free(&k->v);
        free(k);
}

static void front_free(void *p) {
        struct front *f = p;
        free(f->backends);
        free(f);
}

/* ---- what is wanted ---- */

struct build {
        struct proxy *p;
        struct str service;
        const struct json *spec;
        struct object *const *slices;
        size_t n_slices;
        struct map *want; /* key → struct front */
};

static bool usable(const struct json *endpoint, bool terminating_too) {
        const struct json *c = Endpoint_conditions(endpoint);
        if (!terminating_too)
                return json_bool_or(json_getc(c, "ready"), true);
        return json_bool_or(json_getc(c, "serving"), true) && json_bool(json_getc(c, "terminating"));
}

static int64_t slice_port(const struct json *slice, struct str name, struct str protocol) {
        json_each_item(p, EndpointSlice_ports(slice))
                if (str_eq(EndpointPort_name(p), name) && str_eq(json_str_or(json_getc(p, "protocol"), STR("TCP")), protocol))
                        return EndpointPort_port(p);
        return 0;
}

static bool has_backend(const struct front *f, const char *text) {
        for (size_t i = 0; i < f->n; i++)
                if (strcmp(f->backends[i], text) == 0)
                        return true;
        return false;
}

static void add_backends(const struct build *b, struct front *f, struct str port_name, struct str protocol, bool local, bool terminating) {
        for (size_t i = 0; i < b->n_slices; i++) {
                const struct json *slice = object_json(b->slices[i]);
                int64_t port = slice_port(slice, port_name, protocol);
                if (!port || !str_eq(EndpointSlice_addressType(slice), STR("IPv4")))
                        continue;
                json_each_item(e, EndpointSlice_endpoints(slice)) {
                        char text[KEY_SIZE], address[46];
                        struct in_addr in;
                        if (!usable(e, terminating) || (local && !str_eqc(Endpoint_nodeName(e), b->p->node_name)))
                                continue;
                        snprintf(address, sizeof(address), "%" STR_FMT, STR_ARG(json_str(json_item(Endpoint_addresses(e), 0))));
                        if (inet_pton(AF_INET, address, &in) != 1)
                                continue;
                        snprintf(text, sizeof(text), "%s . %lld", address, (long long) port);
                        if (has_backend(f, text))
                                continue;
                        f->backends = xrealloc(f->backends, (f->n + 1) * sizeof(*f->backends));
                        memcpy(f->backends[f->n++], text, sizeof(text));
                }
        }
}

static const char *nft_protocol(struct str protocol) {
        return str_eq(protocol, STR("UDP")) ? "udp" : str_eq(protocol, STR("SCTP")) ? "sctp" : "tcp";
}

/* ip NULL: a NodePort. external: traffic from outside the cluster, whose source has to be ours unless it stays on this node. */
static void add_front(const struct build *b, const struct json *port, const char *ip, bool external) {
        struct str protocol = json_str_or(json_getc(port, "protocol"), STR("TCP")), name = ServicePort_name(port);
        struct str policy = external ? ServiceSpec_externalTrafficPolicy(b->spec) : ServiceSpec_internalTrafficPolicy(b->spec);
        bool local = str_eq(policy, STR("Local"));
        struct front *f = xcalloc(1, sizeof(*f));
        struct in_addr in = { 0 };
        if (ip && inet_pton(AF_INET, ip, &in) != 1) {
                free(f);
                return; /* not of this address family */
        }
        f->node = !ip;
        f->ip = ntohl(in.s_addr);
        f->port = (uint16_t) (ip ? ServicePort_port(port) : ServicePort_nodePort(port));
        f->udp = str_eq(protocol, STR("UDP"));
        f->masquerade = external && !local;
        snprintf(f->service, sizeof(f->service), "%" STR_FMT, STR_ARG(b->service));
        snprintf(f->key, sizeof(f->key), "%s%s%s . %d", ip ? ip : "", ip ? " . " : "", nft_protocol(protocol), f->port);
        if (str_eq(ServiceSpec_sessionAffinity(b->spec), STR("ClientIP")))
                f->affinity = json_int_or(json_at_path(b->spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds"), 10800);
        add_backends(b, f, name, protocol, local, false);
        if (!f->n)
                add_backends(b, f, name, protocol, local, true);
        if (!f->n && local) { /* others may serve it: say nothing rather than refuse */
                struct front all = { 0 };
                add_backends(b, &all, name, protocol, false, false);
                f->drop = all.n > 0;
                free(all.backends);
        }
        map_put(b->want, str_of(f->key), f);
}

static void add_fronts(const struct build *b, const struct json *status) {
        json_each_item(port, ServiceSpec_ports(b->spec)) {
                char ip[46];
                json_each_item(a, ServiceSpec_clusterIPs(b->spec)) {
                        snprintf(ip, sizeof(ip), "%" STR_FMT, STR_ARG(json_str(a)));
                        add_front(b, port, ip, false);
                }
                json_each_item(a, ServiceSpec_externalIPs(b->spec)) {
                        snprintf(ip, sizeof(ip), "%" STR_FMT, STR_ARG(json_str(a)));
                        add_front(b, port, ip, true);
                }
                json_each_item(i, LoadBalancerStatus_ingress(ServiceStatus_loadBalancer(status))) {
                        snprintf(ip, sizeof(ip), "%" STR_FMT, STR_ARG(LoadBalancerIngress_ip(i)));
                        if (ip[0] && !str_eq(LoadBalancerIngress_ipMode(i), STR("Proxy")))
                                add_front(b, port, ip, true);
                }
                if (ServicePort_nodePort(port))
                        add_front(b, port, NULL, true);
        }
}

/* ---- commands ---- */

static const char *prefix(const struct front *f) {
        return f->node ? "node_" : "";
}

static uint32_t mark_of(const struct front *f, size_t i) {
        return (uint32_t) i | (f->masquerade ? MASQUERADE_MARK : 0);
}

static void put_endpoint(const struct proxy *p, struct buf *b, const char *verb, const struct front *f, size_t i) {
        buf_printf(b, "%s element ip %s-proxy %sendpoints { %s . 0x%x", verb, p->table, prefix(f), f->key, mark_of(f, i));
        if (verb[0] == 'a')
                buf_printf(b, " : %s", f->backends[i]);
        buf_addc(b, " }\n");
}

/* The chain that draws one of n, made when it is the first of its kind. */
static void chain_for(struct proxy *p, struct buf *b, const struct front *f, char name[static 64]) {
        const char *key = f->node ? "meta l4proto . th dport" : "ip daddr . meta l4proto . th dport";
        snprintf(name, 64, "%spick%s-%zu", prefix(f), f->masquerade ? "-masq" : "", f->n);
        if (f->affinity)
                snprintf(name + strlen(name), 64 - strlen(name), "-sticky-%lld", (long long) f->affinity);
        if (!map_put(p->chains, str_of(name), p))
                return;
        const char *t = p->table;
        buf_printf(b, "add chain ip %s-proxy %s\nflush chain ip %s-proxy %s\n", t, name, t, name);
        if (f->affinity)
                buf_printf(b, "add rule ip %s-proxy %s meta mark set ip saddr . ip daddr . meta l4proto . th dport map @affinity goto %ssend\n", t, name,
                           prefix(f));
        buf_printf(b, "add rule ip %s-proxy %s meta mark set numgen random mod %zu offset %u\n", t, name, f->n,
                   f->masquerade ? MASQUERADE_MARK : 0);
        if (f->affinity)
                buf_printf(b, "add rule ip %s-proxy %s update @affinity { ip saddr . ip daddr . meta l4proto . th dport timeout %llds : meta mark }\n",
                           t, name, (long long) f->affinity);
        buf_printf(b, "add rule ip %s-proxy %s dnat ip to %s . meta mark map @%sendpoints\n", t, name, key, prefix(f));
}

static void put_verdict(struct proxy *p, struct buf *b, const char *verb, const struct front *f) {
        char chain[64] = "";
        bool add = verb[0] == 'a';
        if (add && f->n)
                chain_for(p, b, f, chain);
        else if (add)
                snprintf(chain, sizeof(chain), "%s", f->drop ? "drop-it" : "reject-it");
        buf_printf(b, "%s element ip %s-proxy %s%s { %s", verb, p->table, prefix(f), f->n ? "services" : "empty", f->key);
        if (add)
                buf_printf(b, " : goto %s", chain);
        buf_addc(b, " }\n");
}

/* Counts users of an address in a set: its element is there while anybody uses it. */
static void use_address(struct proxy *p, struct buf *b, struct map *counts, const char *set, struct str ip, int change) {
        uintptr_t before = (uintptr_t) map_get(counts, ip), after = before + (uintptr_t) change;
        if (after)
                map_put(counts, ip, (void *) after);
        else
                map_remove(counts, ip);
        if (before && after)
                return;
        bool pair = counts == p->hairpins;
        buf_printf(b, "%s element ip %s-proxy %s { %" STR_FMT, after ? "add" : "delete", p->table, set, STR_ARG(ip));
        if (pair)
                buf_printf(b, " . %" STR_FMT, STR_ARG(ip));
        buf_addc(b, " }\n");
}

static struct str address_part(const char *text) {
        struct str s = str_of(text);
        return str_sub(s, 0, (size_t) str_find(s, ' '));
}

static void use_backend(struct proxy *p, struct buf *b, const char *backend, int change) {
        use_address(p, b, p->hairpins, "hairpin", address_part(backend), change);
}

static void use_front(struct proxy *p, struct buf *b, const struct front *f, int change) {
        if (!f->node && !f->masquerade)
                use_address(p, b, p->cluster_ips, "cluster_ips", address_part(f->key), change);
}

static void install(struct proxy *p, struct buf *b, struct front *f) {
        for (size_t i = 0; i < f->n; i++) {
                put_endpoint(p, b, "add", f, i);
                use_backend(p, b, f->backends[i], 1);
        }
        put_verdict(p, b, "add", f);
        use_front(p, b, f, 1);
        map_put(p->fronts, str_of(f->key), f);
}

static void forget_affinity(struct proxy *p, struct buf *b, const struct front *f) {
        /* Elements are by client, so they cannot be named: those of all services go. Rare: affinity and a change of its endpoints. */
        if (f->affinity)
                buf_printf(b, "flush map ip %s-proxy affinity\n", p->table);
}

static void uninstall(struct proxy *p, struct buf *b, struct front *f) {
        put_verdict(p, b, "delete", f);
        for (size_t i = 0; i < f->n; i++) {
                put_endpoint(p, b, "delete", f, i);
                use_backend(p, b, f->backends[i], -1);
        }
        use_front(p, b, f, -1);
        forget_affinity(p, b, f);
}

static bool same_kind(const struct front *a, const struct front *b) {
        return a->masquerade == b->masquerade && a->affinity == b->affinity && a->drop == b->drop;
}

/* Makes the installed front's backends those wanted, touching as few elements as can be. */
static bool adjust(struct proxy *p, struct buf *b, struct front *have, const struct front *want) {
        bool changed = false;
        size_t before = have->n;
        struct front old = *have;
        for (size_t i = 0; i < have->n;) {
                if (has_backend(want, have->backends[i])) {
                        i++;
                        continue;
                }
                size_t last = have->n - 1;
                use_backend(p, b, have->backends[i], -1);
                put_endpoint(p, b, "delete", have, i);
                if (i != last) {
                        put_endpoint(p, b, "delete", have, last);
                        memcpy(have->backends[i], have->backends[last], KEY_SIZE);
                        put_endpoint(p, b, "add", have, i);
                }
                have->n--;
                changed = true;
        }
        for (size_t i = 0; i < want->n; i++) {
                if (has_backend(have, want->backends[i]))
                        continue;
                have->backends = xrealloc(have->backends, (have->n + 1) * sizeof(*have->backends));
                memcpy(have->backends[have->n++], want->backends[i], KEY_SIZE);
                put_endpoint(p, b, "add", have, have->n - 1);
                use_backend(p, b, want->backends[i], 1);
                changed = true;
        }
        if (have->n != before) {
                old.n = before;
                put_verdict(p, b, "delete", &old);
                put_verdict(p, b, "add", have);
        }
        if (changed)
                forget_affinity(p, b, have);
        return changed;
}

/* ---- the table ---- */

static void write_skeleton(const struct proxy *p, struct buf *b) {
        const char *t = p->table;
        buf_printf(b, "add table ip %s-proxy\ndelete table ip %s-proxy\n", t, t);
        buf_printf(b,
                   "table ip %s-proxy {\n"
                   "  map services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
                   "  map endpoints { type ipv4_addr . inet_proto . inet_service . mark : ipv4_addr . inet_service; }\n"
                   "  map empty { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
                   "  map node_services { type inet_proto . inet_service : verdict; }\n"
                   "  map node_endpoints { type inet_proto . inet_service . mark : ipv4_addr . inet_service; }\n"
                   "  map node_empty { type inet_proto . inet_service : verdict; }\n"
                   "  map affinity {\n"
                   "    type ipv4_addr . ipv4_addr . inet_proto . inet_service : mark; flags dynamic, timeout; size 65535; timeout 3h;\n"
                   "  }\n"
                   "  set hairpin { type ipv4_addr . ipv4_addr; }\n"
                   "  set cluster_ips { type ipv4_addr; }\n"
                   "  chain send { dnat ip to ip daddr . meta l4proto . th dport . meta mark map @endpoints; }\n"
                   "  chain node_send { dnat ip to meta l4proto . th dport . meta mark map @node_endpoints; }\n"
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
                   "  chain reject-it { reject; }\n"
                   "  chain drop-it { drop; }\n"
                   /* what is still addressed to a Service after dstnat has no endpoint, or no such port */
                   "  chain check {\n"
                   "    ip daddr . meta l4proto . th dport vmap @empty\n"
                   "    ip daddr @cluster_ips reject\n"
                   "    fib daddr type local meta l4proto . th dport vmap @node_empty\n"
                   "  }\n"
                   "  chain check_prerouting { type filter hook prerouting priority dstnat + 10; ct state new jump check; }\n"
                   "  chain check_output { type filter hook output priority -90; ct state new jump check; }\n"
                   "}\n",
                   t, MASQUERADE_MARK, MASQUERADE_MARK, p->cluster_cidr);
}

/* ---- turns ---- */

static void forget_flows(const struct front *f) {
        _cleanup_error_ struct error err = ERROR_INIT;
        _cleanup_free_ uint32_t *ips = xcalloc(f->n + 1, sizeof(*ips));
        for (size_t i = 0; i < f->n; i++) {
                struct in_addr in = { 0 };
                _cleanup_free_ char *text = str_dup(address_part(f->backends[i]));
                inet_pton(AF_INET, text, &in);
                ips[i] = ntohl(in.s_addr);
        }
        if (conntrack_forget_udp(f->ip, f->port, ips, f->n, &err) < 0)
                log_warn("%s", error_text(&err));
}

struct flows {
        VEC(struct front *) v; /* UDP fronts that changed: copies */
};

static void note_flows(struct flows *flows, const struct front *f) {
        if (!f->udp)
                return;
        struct front *c = xmalloc(sizeof(*c));
        *c = *f;
        c->backends = xcalloc(f->n + 1, sizeof(*c->backends));
        if (f->n)
                memcpy(c->backends, f->backends, f->n * sizeof(*c->backends));
        vec_push(&flows->v, c);
}

static struct map *wanted_fronts(struct proxy *p, struct str service) {
        struct object *o = informer_get(p->services, service);
        struct build b = { .p = p, .service = service, .want = map_new(NULL) };
        const struct json *svc = o ? object_json(o) : NULL;
        if (!o || str_eq(ServiceSpec_type(Service_spec(svc)), STR("ExternalName")))
                return b.want;
        b.spec = Service_spec(svc);
        b.n_slices = informer_index_get(p->by_service, service, &b.slices);
        add_fronts(&b, Service_status(svc));
        return b.want;
}

static void sync_service(struct proxy *p, struct buf *b, struct flows *flows, struct str service) {
        struct map *want = wanted_fronts(p, service);
        struct keys *old = map_take(p->installed, service), *now = xcalloc(1, sizeof(*now));
        for (size_t i = 0; old && i < old->v.n; i++) {
                struct str key = str_of(old->v.v[i]);
                struct front *have = map_get(p->fronts, key), *w = map_get(want, key);
                if (have && (!w || !same_kind(have, w) || !have->n != !w->n)) {
                        uninstall(p, b, have);
                        have->n = 0;
                        if (!w)
                                note_flows(flows, have);
                        map_remove(p->fronts, key);
                }
        }
        struct map_iter it = MAP_ITER(want);
        while (map_next(&it)) {
                struct front *w = it.value, *have = map_get(p->fronts, it.key);
                if (have && strcmp(have->service, w->service) != 0) { /* two Services claim it: the first has it */
                        front_free(w);
                        continue;
                }
                vec_push(&now->v, str_dup(it.key));
                if (!have) {
                        install(p, b, w);
                        note_flows(flows, w);
                } else {
                        if (adjust(p, b, have, w))
                                note_flows(flows, have);
                        front_free(w);
                }
        }
        map_free(want);
        if (old)
                keys_free(old);
        if (now->v.n)
                map_put(p->installed, service, now);
        else
                keys_free(now);
}

/* Nothing of what was installed counts any more: everything is dirty. */
static void start_over(struct proxy *p, struct buf *b) {
        map_clear(p->fronts);
        map_clear(p->installed);
        map_clear(p->chains);
        map_clear(p->hairpins);
        map_clear(p->cluster_ips);
        write_skeleton(p, b);
        struct map_iter it = MAP_ITER(informer_objects(p->services));
        while (map_next(&it))
                map_put(p->dirty, it.key, p);
}

static void kick(struct proxy *p) {
        if (p->posted || p->stopping)
                return;
        p->posted = true;
        loop_post(p->loop, &p->turn);
}

static void on_retry(struct timer *t) {
        kick(container_of(t, struct proxy, retry));
}

static void run_turn(struct loop_work *w) {
        struct proxy *p = container_of(w, struct proxy, turn);
        _cleanup_buf_ struct buf b = BUF_INIT;
        _cleanup_error_ struct error err = ERROR_INIT;
        struct flows flows = { 0 };
        p->posted = false;
        if (p->stopping)
                return;
        if (!informer_factory_synced(p->informers)) {
                timer_start(p->loop, &p->retry, 10, on_retry);
                return;
        }
        if (p->fresh)
                start_over(p, &b);
        struct map_iter it = MAP_ITER(p->dirty);
        while (map_next(&it))
                sync_service(p, &b, &flows, it.key);
        map_clear(p->dirty);
        int r = 0;
        if (b.n) {
                buf_putc(&b, 0);
                r = nft_run(b.p, &err);
        }
        p->fresh = r < 0;
        if (r < 0) {
                log_error("writing the Services' rules failed, writing all of them anew: %s", error_text(&err));
                timer_start(p->loop, &p->retry, RETRY_MS, on_retry);
        }
        for (size_t i = 0; i < flows.v.n; i++) {
                if (r == 0)
                        forget_flows(flows.v.v[i]);
                front_free(flows.v.v[i]);
        }
        vec_free(&flows.v);
}

static void mark_dirty(struct proxy *p, struct str service) {
        map_put(p->dirty, service, p);
        kick(p);
}

static void on_service(struct object *old, struct object *new, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        mark_dirty(arg, object_key(a, new ? new : old));
}

static struct str service_of(struct arena *a, const struct object *slice) {
        return arena_printf(a, "%" STR_FMT "/%" STR_FMT, STR_ARG(object_namespace(slice)),
                            STR_ARG(object_label(slice, STR("kubernetes.io/service-name"))));
}

static void on_slice(struct object *old, struct object *new, void *arg) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        if (old)
                mark_dirty(arg, service_of(a, old));
        if (new)
                mark_dirty(arg, service_of(a, new));
}

static void index_by_service(const struct object *o, void (*emit)(void *ctx, struct str value), void *ctx) {
        _cleanup_(arena_freep) struct arena *a = arena_new(512);
        emit(ctx, service_of(a, o));
}

/* ---- life ---- */

static void begin(void *arg) {
        struct proxy *p = arg;
        p->services = informer_of(p->informers, &res_services);
        p->slices = informer_of(p->informers, &res_endpointslices);
        p->by_service = informer_add_index(p->slices, "service", index_by_service);
        informer_add_handler(p->services, on_service, p);
        informer_add_handler(p->slices, on_slice, p);
        informer_factory_start(p->informers);
        kick(p);
}

int proxy_start(const struct proxy_options *o, struct proxy **ret, struct error *err) {
        struct loop *loop;
        int r = loop_new("proxy", &loop, err);
        if (r < 0)
                return r;
        struct proxy *p = xcalloc(1, sizeof(*p));
        *p = (struct proxy) {
                .node_name = xstrdup(o->node_name), .table = xstrdup(o->nft_table), .cluster_cidr = xstrdup(o->cluster_cidr),
                .bridge = xstrdup(o->bridge), .client = o->client, .loop = loop, .turn.run = run_turn, .fresh = true,
                .fronts = map_new(front_free), .installed = map_new(keys_free), .dirty = map_new(NULL), .chains = map_new(NULL),
                .hairpins = map_new(NULL), .cluster_ips = map_new(NULL),
        };
        p->informers = informer_factory_new(p->client, p->loop);
        loop_start_thread(p->loop);
        loop_call(p->loop, begin, p);
        *ret = p;
        return 0;
}

static void end(void *arg) {
        struct proxy *p = arg;
        p->stopping = true;
        timer_close(&p->retry, NULL);
        informer_factory_free(p->informers);
        loop_stop(p->loop);
}

void proxy_stop(struct proxy *p) {
        loop_call(p->loop, end, p);
        loop_join(p->loop);
        loop_free(p->loop);
        struct map *maps[] = { p->fronts, p->installed, p->dirty, p->chains, p->hairpins, p->cluster_ips };
        for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
                map_free(maps[i]);
        free(p->node_name);
        free(p->table);
        free(p->cluster_cidr);
        free(p->bridge);
        free(p);
}

int proxy_destroy(const char *nft_table, struct error *err) {
        _cleanup_free_ char *table = xprintf("%s-proxy", nft_table);
        return nft_delete_table("ip", table, err);
}
