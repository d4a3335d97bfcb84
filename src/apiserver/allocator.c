/* Cluster IPs and node ports.
 *
 * An address is taken when there is an IPAddress object of its name. The object is made and removed in the transaction
 * that writes its Service, so both are there or neither, and two Services that want one address meet at the store. The
 * ranges are those of the ServiceCIDRs that are ready.
 *
 * Ports are a bitmap. A write that needs one takes it under the lock before it goes to the store and gives it back if
 * it fails; the store's events keep the map right whoever deletes a Service. */
#include <arpa/inet.h>

#include "apiserver/allocator.h"

#include "apiserver/config_file.h"
#include "apiserver/flags.h"
#include "apiserver/strategy.h"
#include "base/encode.h"
#include "base/lock.h"
#include "base/metrics.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/apply.h"
#include "schema/defaults.h"
#include "schema/types.h"

#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define MANAGER "ipallocator.k8s.io"

struct range {
        int family; /* 4 or 6 */
        unsigned bits;
        uint8_t net[16];
};

struct allocator {
        pthread_mutex_t lock;
        char *cidrs[2]; /* of one family each: the first is the default one */
        struct range ranges[2];
        size_t n_ranges;
        int port_min, port_max;
        uint64_t *ports;
};

/* ---- metrics ---- */

static const double seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 };
HISTOGRAM(ip_duration, seconds, "kube_apiserver_clusterip_allocator_allocation_duration_seconds",
          "[ALPHA] Duration in seconds to allocate a Cluster IP by ServiceCIDR");
METRIC(ips, COUNTER, "kube_apiserver_clusterip_allocator_allocation_total",
       "[ALPHA] Number of Cluster IPs allocations");
METRIC(taken_ports, COUNTER, "kube_apiserver_nodeport_allocator_allocation_total",
       "[ALPHA] Number of NodePort allocations");
METRIC(port_errors, COUNTER, "kube_apiserver_nodeport_allocator_allocation_errors_total",
       "[ALPHA] Number of errors trying to allocate NodePort");

/* All are static: upstream takes those that it has chosen as if they had been asked for. */
static void count_ip(const struct allocator *al, int family, int64_t since_ns) {
        struct str cidr = str_of(allocator_cidr(al, family));

        series_add(SERIES(&ips, { "cidr", cidr }, { "scope", STR("static") }), 1);
        series_observe(SERIES(&ip_duration, { "cidr", cidr }), (double) (now_mono_ns() - since_ns) / 1e9);
}

static int count_port(int r, struct str scope) {
        series_add(SERIES(r < 0 ? &port_errors : &taken_ports, { "scope", scope }), 1);
        return r;
}

static bool get(const uint64_t *map, uint32_t i) {
        return map[i / 64] >> (i % 64) & 1;
}
static void put(uint64_t *map, uint32_t i, bool v) {
        if (v)
                map[i / 64] |= 1ULL << (i % 64);
        else
                map[i / 64] &= ~(1ULL << (i % 64));
}

/* ---- ranges ---- */

static unsigned width(int family) {
        return family == 4 ? 32 : 128;
}

static void mask(uint8_t *ip, unsigned bits, unsigned all) {
        for (unsigned i = bits; i < all; i++)
                ip[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
}

static bool range_parse(struct str cidr, struct range *ret) {
        struct str ip = STR("");
        uint64_t bits = 0;

        if (!str_split(&cidr, '/', &ip) || str_to_u64(cidr, &bits) < 0)
                return false;
        *ret = (struct range) { .bits = (unsigned) MIN(bits, 128U) };
        ret->family = parse_ip(ip, ret->net);
        if (!ret->family || bits > width(ret->family))
                return false;
        mask(ret->net, ret->bits, width(ret->family));
        return true;
}

/* How many addresses may be given: not the network's, nor an IPv4 network's broadcast address. */
static uint64_t range_hosts(const struct range *r) {
        unsigned host = width(r->family) - r->bits;
        uint64_t all = host >= 64 ? UINT64_MAX : 1ULL << host, without = r->family == 4 ? 2 : 1;

        return host >= 64 ? all : all - MIN(all, without);
}

/* The i-th address after the network's. */
static void range_address(const struct range *r, uint64_t i, char text[static INET6_ADDRSTRLEN]) {
        uint8_t ip[16];

        memcpy(ip, r->net, sizeof(ip));
        for (unsigned at = width(r->family) / 8; at-- > 0 && i > 0; i >>= 8) {
                unsigned sum = ip[at] + (unsigned) (i & 0xff);

                ip[at] = (uint8_t) sum;
                i += (uint64_t) (sum >> 8) << 8;
        }
        inet_ntop(r->family == 4 ? AF_INET : AF_INET6, ip, text, INET6_ADDRSTRLEN);
}

static bool range_has(const struct range *r, int family, const uint8_t ip[static 16]) {
        unsigned bytes = width(family) / 8;
        bool last = family == 4;
        uint8_t net[16];

        if (family != r->family || memcmp(ip, r->net, bytes) == 0)
                return false;
        for (unsigned i = r->bits; i < width(family) && last; i++)
                last = ip[i / 8] >> (7 - i % 8) & 1;
        memcpy(net, ip, bytes);
        mask(net, r->bits, width(family));
        return !last && memcmp(net, r->net, bytes) == 0;
}

static bool is_ready(const struct object *cidr) {
        const struct json *ready = condition_find(json_getc(object_json(cidr), "status"), "Ready");

        return !object_deleting(cidr) && (!ready || str_eqc(json_str(json_getc(ready, "status")), "True"));
}

/* Those of the snapshot; the server's own as long as nobody has made its object. */
static size_t ranges_of(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct range **ret) {
        const struct rest *r = rest_of(s, &res_servicecidrs);
        size_t n = 0;

        *ret = arena_array(a, struct range, 2 * store_count(snap, r->prefix, r->prefix) + 2);
        for (size_t i = 0; i < s->allocator->n_ranges && !rest_get(snap, r, STR(""), STR("kubernetes")); i++)
                (*ret)[n++] = s->allocator->ranges[i];
        store_each(it, snap, r->prefix)
                for (size_t i = 0; i < 2 && is_ready(it.object); i++)
                        n += range_parse(json_str(json_item(json_at_path(object_json(it.object), "spec", "cidrs"), i)),
                                         &(*ret)[n]);
        return n;
}

#define RANGE_BITS_MAX 20 /* upstream keeps a bitmap of each */

/* Those of the flag: "10.96.0.0/12", or two of different families. How many were read. */
static size_t parse_cidrs(const struct apiserver *s, struct range ret[static 2], struct str texts[static 2]) {
        const char *flag = s->options.service_cidr;
        struct str rest = str_of(flag && *flag ? flag : "10.96.0.0/12");

        for (size_t i = 0; i < 2; i++)
                if (!str_split(&rest, ',', &texts[i]) || !range_parse(texts[i], &ret[i]))
                        return i;
        return 2;
}

void allocator_check_words(const struct apiserver *s, struct faults *w) {
        struct str texts[2];
        struct range ranges[2];
        size_t n = parse_cidrs(s, ranges, texts);
        bool second = s->options.service_cidr && strchr(s->options.service_cidr, ',');

        if (n == 0)
                fault_add(w, "service-cluster-ip-range[0] is not a valid cidr");
        else if (width(ranges[0].family) - ranges[0].bits < 3)
                fault_add(w, "error determining service IP ranges for primary service cidr: the service cluster IP "
                             "range must be at least 8 IP addresses");
        else if (n == 1 && second)
                fault_add(w, "service-cluster-ip-range[1] is not an ip net");
}

void allocator_check(const struct apiserver *s, struct faults *w) {
        const char *advertised = s->options.advertise_address, *flag = s->options.service_cidr,
                   *comma = flag ? strchr(flag, ',') : NULL;
        char net[INET6_ADDRSTRLEN];
        struct str texts[2];
        struct range r[2];
        uint8_t ip[16];
        size_t n = parse_cidrs(s, r, texts);

        if (comma && strchr(comma + 1, ','))
                fault_add(w, "--service-cluster-ip-range must not contain more than two entries");
        for (size_t i = 0; i < n; i++) {
                if (i && r[1].family == r[0].family)
                        fault_add(w, "--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of "
                                     "different IP family");
                if (width(r[i].family) - r[i].bits > RANGE_BITS_MAX)
                        fault_add(w,
                                  "specified --service-cluster-ip-range%s is too large; for %u-bit addresses, the mask "
                                  "must be >= %u",
                                  i ? "[1]" : "", width(r[i].family), width(r[i].family) - RANGE_BITS_MAX);
        }
        if (!advertised || strcmp(server_flag(s, "endpoint-reconciler-type", ""), "none") == 0 ||
            parse_ip(str_of(advertised), ip) == r[0].family)
                return;
        inet_ntop(r[0].family == 4 ? AF_INET : AF_INET6, r[0].net, net, sizeof(net));
        fault_add(w, "service IP family \"%s/%u\" must match public address family \"%s\"", net, r[0].bits, advertised);
}

struct allocator *allocator_new(const struct apiserver *s) {
        struct allocator *al = xcalloc(1, sizeof(*al));
        struct str texts[2];

        al->n_ranges = parse_cidrs(s, al->ranges, texts);
        for (size_t i = 0; i < al->n_ranges; i++)
                al->cidrs[i] = str_dup(texts[i]);
        al->port_min = s->options.node_port_min ? s->options.node_port_min : 30000;
        al->port_max = s->options.node_port_max ? s->options.node_port_max : 32767;
        al->ports = xcalloc(65536 / 64, 8);
        pthread_mutex_init(&al->lock, NULL);
        return al;
}

void allocator_free(struct allocator *al) {
        if (!al)
                return;
        pthread_mutex_destroy(&al->lock);
        free_all(al->cidrs[0], al->cidrs[1], al->ports, al);
}

static const struct range *range_of(const struct allocator *al, int family) {
        for (size_t i = 0; i < al->n_ranges; i++)
                if (al->ranges[i].family == family)
                        return &al->ranges[i];
        return NULL;
}

const char *allocator_cidr(const struct allocator *al, int family) {
        const struct range *r = range_of(al, family);

        return r ? al->cidrs[r - al->ranges] : NULL;
}

int allocator_default_family(const struct allocator *al) {
        return al->ranges[0].family;
}

struct json allocator_cidrs(const struct allocator *al, struct arena *a) {
        struct json list = json_new_array();

        for (size_t i = 0; i < al->n_ranges; i++)
                json_push(a, &list, json_of_cstr(al->cidrs[i]));
        return list;
}

struct str allocator_first_ip(const struct allocator *al, struct arena *a) {
        char text[INET6_ADDRSTRLEN];

        range_address(&al->ranges[0], 1, text);
        return arena_str(a, str_of(text));
}

struct str allocator_network_ip(const struct allocator *al, struct arena *a, int family) {
        char text[INET6_ADDRSTRLEN];

        range_address(range_of(al, family), 0, text);
        return arena_str(a, str_of(text));
}

void allocator_port_range(const struct allocator *al, int *ret_min, int *ret_max) {
        *ret_min = al->port_min;
        *ret_max = al->port_max;
}

/* ---- addresses ---- */

struct str allocator_plain_ip(struct arena *a, struct str ip) {
        char text[INET6_ADDRSTRLEN];
        uint8_t b[16];
        int family = parse_ip(ip, b);

        if (!family)
                return ip;
        inet_ntop(family == 4 ? AF_INET : AF_INET6, b, text, sizeof(text));
        return arena_str(a, str_of(text));
}

static bool is_taken(const struct apiserver *s, struct store_snapshot *snap, struct str ip) {
        return rest_get(snap, rest_of(s, &res_ipaddresses), STR(""), ip);
}

int allocator_check_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ip) {
        struct range *ranges;
        size_t n = ranges_of(s, snap, a, &ranges);
        int64_t since = now_mono_ns();
        uint8_t b[16];
        int family = parse_ip(ip, b);

        for (size_t i = 0; i < n; i++)
                if (range_has(&ranges[i], family, b)) {
                        if (is_taken(s, snap, allocator_plain_ip(a, ip)))
                                return -EEXIST;
                        count_ip(s->allocator, family, since);
                        return 0;
                }
        return -ERANGE;
}

/* A free address of a part of a range: a random one, then whatever comes next. */
static bool find_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, const struct range *r,
                    uint64_t first, uint64_t n, struct str *ret) {
        uint64_t start = n ? rand_below(n) : 0;
        char text[INET6_ADDRSTRLEN];

        for (uint64_t i = 0; i < n; i++) {
                range_address(r, 1 + first + (start < n - i ? start + i : start - (n - i)), text);
                if (!is_taken(s, snap, str_of(text))) {
                        *ret = arena_str(a, str_of(text));
                        return true;
                }
        }
        return false;
}

int allocator_any_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, int family,
                     struct str *ret) {
        struct range *ranges;
        size_t n = ranges_of(s, snap, a, &ranges), start = n ? rand_below(n) : 0;
        int64_t since = now_mono_ns();

        for (size_t i = 0; i < n; i++) {
                const struct range *r = &ranges[(start + i) % n];
                /* The lower band is left to those who ask for a certain address: KEP-3070. */
                uint64_t hosts = range_hosts(r), size = hosts + (family == 4 ? 2 : 1),
                         band = size < 16 ? 0 : MIN(MAX(16U, size / 16), 256U);

                if (r->family != family)
                        continue;
                if (band >= hosts)
                        band = 0;
                if (find_ip(s, snap, a, r, band, hosts - band, ret) || find_ip(s, snap, a, r, 0, band, ret)) {
                        count_ip(s->allocator, family, since);
                        return 0;
                }
        }
        return -ENOSPC;
}

struct store_op allocator_new_address(const struct apiserver *s, struct arena *a, struct str ip, struct str ns,
                                      struct str service) {
        const struct rest *r = rest_of(s, &res_ipaddresses);
        const struct apply_opts owner = { .manager = STR("kube-apiserver"),
                                          .api_version = r->api_version,
                                          .now_wall_ns = now_wall_ns() };
        struct json tree;
        char uid[37];

        rand_uuid(uid);
        tree = json_build(a,
                          "{ kind: 'IPAddress', apiVersion: 'networking.k8s.io/v1', metadata: { name: %s, uid: %S, "
                          "creationTimestamp: %s, labels: { 'ipaddress.kubernetes.io/ip-family': %c, '" MANAGED_BY
                          "': '" MANAGER "' } }, spec: { parentRef: { resource: 'services', namespace: %s, name: %s "
                          "} } }",
                          ip, str_n(uid, 36), now_text(a), str_find(ip, ':') < 0 ? "IPv4" : "IPv6", ns, service);
        apply_track_update(a, r->resource->type, NULL, &tree, &owner);
        schema_reorder(a, r->resource->type, &tree);
        return (struct store_op) { .kind = STORE_CREATE,
                                   .key = rest_key(a, r, STR(""), ip),
                                   .object = object_from_tree(&tree) };
}

static bool holds_ip(const struct json *service, struct str ip) {
        return json_has_str(json_at_path(service, "spec", "clusterIPs"), ip);
}

size_t service_companions(struct op *op, const struct json *before, const struct json *after, struct store_op *ret) {
        struct arena *a = op->c->arena;
        size_t n = 0;

        json_each_item(i, json_at_path(after, "spec", "clusterIPs"))
                if (n < COMPANIONS_MAX && !str_eqc(json_str(i), "None") && !str_empty(json_str(i)) &&
                    !holds_ip(before, json_str(i)))
                        ret[n++] = allocator_new_address(op->s, a, allocator_plain_ip(a, json_str(i)), op->namespace,
                                                         op->name);
        json_each_item(i, json_at_path(before, "spec", "clusterIPs")) {
                struct str ip = allocator_plain_ip(a, json_str(i));

                if (n < COMPANIONS_MAX && !holds_ip(after, json_str(i)) && is_taken(op->s, op->snap, ip))
                        ret[n++] = (struct store_op) { .kind = STORE_DELETE,
                                                       .key = rest_key(a, rest_of(op->s, &res_ipaddresses), STR(""),
                                                                       ip),
                                                       .expect = STORE_ANY_REVISION };
        }
        return n;
}

/* ---- ports ---- */

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

static int take_port(struct allocator *al, int64_t port) {
        int r = 0;

        if (port < al->port_min || port > al->port_max)
                return -ERANGE;
        HOLD(&al->lock);
        if (get(al->ports, (uint32_t) port))
                r = -EEXIST;
        else
                put(al->ports, (uint32_t) port, true);
        return r;
}

int allocator_take_port(struct allocator *al, int64_t port) {
        return count_port(take_port(al, port), STR("static"));
}

void allocator_release_port(struct allocator *al, int64_t port) {
        if (port < al->port_min || port > al->port_max)
                return;
        HOLD(&al->lock);
        put(al->ports, (uint32_t) port, false);
}

int allocator_any_port(struct allocator *al, int64_t *ret) {
        uint32_t from = (uint32_t) al->port_min, to = (uint32_t) al->port_max + 1, n = to - from,
                 band = n <= 16 ? 0 : MIN(MAX(16U, n / 32), 128U);
        int64_t at = 0;

        with_lock(&al->lock) { /* the lower band is left to those who ask for a certain port: KEP-3668 */
                at = find_free(al->ports, from + band, to);
                if (at < 0)
                        at = find_free(al->ports, from, from + band);
                if (at >= 0)
                        put(al->ports, (uint32_t) at, true);
        }
        if (at < 0)
                return count_port(-ENOSPC, STR("dynamic"));
        *ret = at;
        return count_port(0, STR("dynamic"));
}

/* ---- following the store ---- */

bool allocator_holds_port(const struct json *service, int64_t port) {
        json_each_item(p, json_at_path(service, "spec", "ports"))
                if (json_int(json_getc(p, "nodePort")) == port)
                        return true;
        return json_int(json_at_path(service, "spec", "healthCheckNodePort")) == port;
}

void allocator_changed(struct allocator *al, const struct object *before, const struct object *after) {
        const struct json *old = before ? object_json(before) : NULL, *now = after ? object_json(after) : NULL;

        json_each_item(p, json_at_path(now, "spec", "ports"))
                take_port(al, json_int(json_getc(p, "nodePort")));
        take_port(al, json_int(json_at_path(now, "spec", "healthCheckNodePort")));
        json_each_item(p, json_at_path(old, "spec", "ports"))
                if (!allocator_holds_port(now, json_int(json_getc(p, "nodePort"))))
                        allocator_release_port(al, json_int(json_getc(p, "nodePort")));
        if (!allocator_holds_port(now, json_int(json_at_path(old, "spec", "healthCheckNodePort"))))
                allocator_release_port(al, json_int(json_at_path(old, "spec", "healthCheckNodePort")));
}

void allocator_load(struct allocator *al, struct store_snapshot *snap, struct str prefix) {
        store_each(it, snap, prefix)
                allocator_changed(al, NULL, it.object);
}

static void write_gauge(struct buf *dst, const char *name, const char *help, const char *cidr, double n) {
        if (help)
                metric_header(dst, name, "gauge", help);
        buf_printf(dst, cidr ? "%s{cidr=\"%s\"} %.15g\n" : "%s%s %.15g\n", name, cidr ? cidr : "", n);
}

void allocator_metrics(const struct apiserver *s, struct store_snapshot *snap, struct buf *dst) {
        struct allocator *al = s->allocator;
        struct str prefix = rest_of(s, &res_ipaddresses)->prefix;
        double held[ARRAY_SIZE(al->ranges)] = { 0 }, ports = 0;

        store_each(it, snap, prefix)
                for (size_t i = 0; i < al->n_ranges; i++)
                        held[i] += (str_find(object_name(it.object), ':') >= 0) == (al->ranges[i].family == 6);
        for (size_t i = 0; i < al->n_ranges; i++)
                write_gauge(dst, "kube_apiserver_clusterip_allocator_allocated_ips",
                            i ? NULL : "[ALPHA] Gauge measuring the number of allocated IPs for Services", al->cidrs[i],
                            held[i]);
        for (size_t i = 0; i < al->n_ranges; i++)
                write_gauge(dst, "kube_apiserver_clusterip_allocator_available_ips",
                            i ? NULL : "[ALPHA] Gauge measuring the number of available IPs for Services", al->cidrs[i],
                            (double) range_hosts(&al->ranges[i]) - held[i]);
        with_lock(&al->lock)
                for (int i = al->port_min; i <= al->port_max; i++)
                        ports += get(al->ports, (uint32_t) i);
        write_gauge(dst, "kube_apiserver_nodeport_allocator_allocated_ports",
                    "[ALPHA] Gauge measuring the number of allocated NodePorts for Services", NULL, ports);
        write_gauge(dst, "kube_apiserver_nodeport_allocator_available_ports",
                    "[ALPHA] Gauge measuring the number of available NodePorts for Services", NULL,
                    al->port_max - al->port_min + 1 - ports);
}
