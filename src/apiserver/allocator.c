/* Cluster IPs and node ports.
 *
 * An address is taken when there is an IPAddress object of its name. The object is made and removed in the transaction
 * that writes its Service, so both are there or neither, and two Services that want one address meet at the store. The
 * ranges are those of the ServiceCIDRs that are ready.
 *
 * Ports are a bitmap. A write that needs one takes it under the lock before it goes to the store and gives it back if
 * it fails; the store's events keep the map right whoever deletes a Service. */
#include "apiserver/allocator.h"
#include "apiserver/strategy.h"
#include "base/encode.h"
#include "base/lock.h"
#include "base/rand.h"
#include "json/build.h"
#include "schema/apply.h"
#include "schema/defaults.h"
#include "schema/types.h"

#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define MANAGER "ipallocator.k8s.io"

struct allocator {
        pthread_mutex_t lock;
        char cidr[64];
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

/* ---- ranges ---- */

/* The addresses that may be given: neither the network's nor the broadcast address. */
struct range {
        uint32_t first, n;
};

/* IPv4 only: families of which the cluster has no range are refused before (strategy_service.c). */
static bool range_parse(struct str cidr, struct range *ret) {
        struct str ip = STR("");
        uint64_t bits = 0;
        uint32_t base;

        if (!str_split(&cidr, '/', &ip) || !ipv4_parse(ip, &base) || str_to_u64(cidr, &bits) < 0 || bits < 8 ||
            bits > 30)
                return false;
        *ret = (struct range) { (base & ~(UINT32_MAX >> bits)) + 1, (UINT32_MAX >> bits) - 1 };
        return true;
}

static bool is_ready(const struct object *cidr) {
        const struct json *ready = condition_find(json_getc(object_json(cidr), "status"), "Ready");

        return !object_deleting(cidr) && (!ready || str_eqc(json_str(json_getc(ready, "status")), "True"));
}

/* Those of the snapshot; the server's own as long as nobody has made its object. */
static size_t ranges_of(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct range **ret) {
        const struct rest *r = rest_of(s, &res_servicecidrs);
        struct store_iter it;
        size_t n = 0;

        *ret = arena_array(a, struct range, 2 * store_count(snap, r->prefix, r->prefix) + 1);
        if (!rest_get(snap, r, STR(""), STR("kubernetes")))
                n += range_parse(str_of(s->allocator->cidr), &(*ret)[n]);
        store_iter_init(&it, snap, r->prefix, r->prefix);
        while (store_iter_next(&it))
                for (size_t i = 0; i < 2 && is_ready(it.object); i++)
                        n += range_parse(json_str(json_item(json_at_path(object_json(it.object), "spec", "cidrs"), i)),
                                         &(*ret)[n]);
        return n;
}

int allocator_new(struct apiserver *s, struct allocator **ret, struct error *err) {
        struct allocator *al = xcalloc(1, sizeof(*al));
        struct range range;

        snprintf(al->cidr, sizeof(al->cidr), "%s", s->options.service_cidr ? s->options.service_cidr : "10.96.0.0/12");
        if (!range_parse(str_of(al->cidr), &range)) {
                free(al);
                return error_set(err, -EINVAL,
                                 "the service range \"%s\" is no IPv4 network with a prefix of 8 to 30 bits",
                                 s->options.service_cidr);
        }
        al->port_min = s->options.node_port_min ? s->options.node_port_min : 30000;
        al->port_max = s->options.node_port_max ? s->options.node_port_max : 32767;
        al->ports = xcalloc(65536 / 64, 8);
        pthread_mutex_init(&al->lock, NULL);
        *ret = al;
        return 0;
}

void allocator_free(struct allocator *al) {
        if (!al)
                return;
        pthread_mutex_destroy(&al->lock);
        free(al->ports);
        free(al);
}

const char *allocator_cidr(const struct allocator *al) {
        return al->cidr;
}

struct str allocator_first_ip(const struct allocator *al, struct arena *a) {
        struct range range = { 0 };
        char text[46];

        range_parse(str_of(al->cidr), &range);
        ipv4_format(range.first, text);
        return arena_str(a, str_of(text));
}

void allocator_port_range(const struct allocator *al, int *ret_min, int *ret_max) {
        *ret_min = al->port_min;
        *ret_max = al->port_max;
}

/* ---- addresses ---- */

/* As the object of an address is named: a Service may write it with zeros in front, or as one of IPv6. */
static struct str plain_ip(struct arena *a, struct str ip) {
        uint8_t b[16];

        return parse_ip(ip, b) == 4 ? arena_printf(a, "%d.%d.%d.%d", b[0], b[1], b[2], b[3]) : ip;
}

static bool is_taken(const struct apiserver *s, struct store_snapshot *snap, struct str ip) {
        return rest_get(snap, rest_of(s, &res_ipaddresses), STR(""), ip);
}

int allocator_check_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str ip) {
        struct range *ranges;
        size_t n = ranges_of(s, snap, a, &ranges);
        uint32_t addr;

        ip = plain_ip(a, ip);
        if (!ipv4_parse(ip, &addr))
                return -ERANGE;
        for (size_t i = 0; i < n; i++)
                if (addr - ranges[i].first < ranges[i].n)
                        return is_taken(s, snap, ip) ? -EEXIST : 0;
        return -ERANGE;
}

/* A free address of a part of a range: a random one, then whatever comes next. */
static bool find_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, uint32_t first, uint32_t n,
                    struct str *ret) {
        uint32_t start = n ? (uint32_t) rand_below(n) : 0;

        for (uint32_t i = 0; i < n; i++) {
                uint32_t ip = first + (uint32_t) (((uint64_t) start + i) % n);
                char text[46];

                ipv4_format(ip, text);
                if (!is_taken(s, snap, str_of(text))) {
                        *ret = arena_str(a, str_of(text));
                        return true;
                }
        }
        return false;
}

int allocator_any_ip(const struct apiserver *s, struct store_snapshot *snap, struct arena *a, struct str *ret) {
        struct range *ranges;
        size_t n = ranges_of(s, snap, a, &ranges), start = n ? rand_below(n) : 0;

        for (size_t i = 0; i < n; i++) {
                const struct range *r = &ranges[(start + i) % n];
                /* The lower band is left to those who ask for a certain address: KEP-3070. */
                uint32_t size = r->n + 2, band = size < 16 ? 0 : MIN(MAX(16U, size / 16), 256U);

                if (band >= r->n)
                        band = 0;
                if (find_ip(s, snap, a, r->first + band, r->n - band, ret) || find_ip(s, snap, a, r->first, band, ret))
                        return 0;
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
                          "creationTimestamp: %s, labels: { 'ipaddress.kubernetes.io/ip-family': 'IPv4', '" MANAGED_BY
                          "': '" MANAGER "' } }, spec: { parentRef: { resource: 'services', namespace: %s, name: %s "
                          "} } }",
                          ip, str_n(uid, 36), now_text(a), ns, service);
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
                        ret[n++] = allocator_new_address(op->s, a, plain_ip(a, json_str(i)), op->namespace, op->name);
        json_each_item(i, json_at_path(before, "spec", "clusterIPs")) {
                struct str ip = plain_ip(a, json_str(i));

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

int allocator_take_port(struct allocator *al, int64_t port) {
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
                return -ENOSPC;
        *ret = at;
        return 0;
}

/* ---- following the store ---- */

static bool holds_port(const struct json *service, int64_t port) {
        json_each_item(p, json_at_path(service, "spec", "ports"))
                if (json_int(json_getc(p, "nodePort")) == port)
                        return true;
        return json_int(json_at_path(service, "spec", "healthCheckNodePort")) == port;
}

void allocator_changed(struct allocator *al, const struct object *before, const struct object *after) {
        const struct json *old = before ? object_json(before) : NULL, *now = after ? object_json(after) : NULL;

        json_each_item(p, json_at_path(now, "spec", "ports"))
                allocator_take_port(al, json_int(json_getc(p, "nodePort")));
        allocator_take_port(al, json_int(json_at_path(now, "spec", "healthCheckNodePort")));
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
