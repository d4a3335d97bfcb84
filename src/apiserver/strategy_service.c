/* Services: their node ports are taken before the write and given back when it fails; their addresses are taken by the
 * write itself (allocator.c). */
#include "apiserver/allocator.h"
#include "apiserver/strategy.h"
#include "json/build.h"
#include <arpa/inet.h>

/* What this write has taken. */
struct reservation {
        VEC(int64_t) ports;
};

static void give_back(struct op *op) {
        struct reservation *r = op->undo_arg;
        struct allocator *al = op->s->allocator;

        op->undo = NULL;
        for (size_t i = 0; i < r->ports.n; i++)
                allocator_release_port(al, r->ports.v[i]);
        r->ports.n = 0;
}

/* The list of taken ports must be freed however the write ends: it lives in the arena instead of the heap. */
static struct reservation *reserve(struct op *op, size_t max_ports) {
        struct reservation *r = arena_new_of(op->c->arena, struct reservation);

        r->ports.v = arena_array(op->c->arena, int64_t, max_ports + 1);
        r->ports.cap = max_ports + 1;
        op->undo = give_back;
        op->undo_arg = r;
        return r;
}

static bool is_type(const struct json *spec, const char *type) {
        return str_eqc(json_str(json_getc(spec, "type")), type);
}

static bool needs_ip(const struct json *spec) {
        return !is_type(spec, "ExternalName");
}

static bool needs_ports(const struct json *spec) {
        if (is_type(spec, "NodePort"))
                return true;
        return is_type(spec, "LoadBalancer") && json_bool_or(json_getc(spec, "allocateLoadBalancerNodePorts"), true);
}

/* Those that are named stay, even if none are wanted any more. */
static bool has_ports(const struct json *spec) {
        return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");
}

static bool wants_health_port(const struct json *spec) {
        return is_type(spec, "LoadBalancer") && str_eqc(json_str(json_getc(spec, "externalTrafficPolicy")), "Local");
}

static int invalid(struct op *op, struct field_errors *fe, struct error *err) {
        return field_errors_finish(fe, STR("Service"), STR(""), op->name, err);
}

static struct json one(struct arena *a, struct json v) {
        struct json list = json_new_array();

        json_push(a, &list, v);
        return list;
}

/* ---- addresses ---- */

static bool same(const struct json *a, const struct json *b, const char *key) {
        const struct json *x = json_getc(a, key), *y = json_getc(b, key);

        return x && y ? json_equal(x, y) : x == y;
}

static struct str policy_of(const struct json *spec) {
        return json_str(json_getc(spec, "ipFamilyPolicy"));
}

/* A second value of a list goes when the policy becomes SingleStack, and stays otherwise. */
static void shrink_list(struct op *op, struct field_errors *fe, struct json *spec, const struct json *old,
                        const char *list, const char *what) {
        bool single = str_eqc(policy_of(spec), "SingleStack"), cluster = str_eqc(STR("clusterIPs"), list);
        const struct json *now = json_getc(spec, list), *was = json_getc(old, list);
        const struct path *p = PATH(PATH(NULL, "spec"), "ipFamilyPolicy");

        if (old && single && json_len(now) > 1 && same(spec, old, list))
                json_setc(op->c->arena, spec, list, one(op->c->arena, *json_item(now, 0)));
        else if (!single && json_len(now) > 0 && json_len(now) < json_len(was))
                field_invalid(fe, p, json_getc(spec, "ipFamilyPolicy"),
                              "must be 'SingleStack' to release the secondary %s", what);
        INVALID_IF(single && json_len(json_getc(spec, list)) == 2, p, json_getc(spec, "ipFamilyPolicy"),
                   "must be 'RequireDualStack' or 'PreferDualStack' when multiple %s are specified",
                   cluster ? "cluster IPs" : "IP families");
}

static const char *family_name(int family) {
        return family == 4 ? "IPv4" : "IPv6";
}

static int family_of(struct str name) {
        return str_eqc(name, "IPv4") ? 4 : 6;
}

static bool has_family(const struct op *op, int family) {
        return allocator_cidr(op->s->allocator, family);
}

static bool is_dual(const struct op *op) {
        return has_family(op, 4) && has_family(op, 6);
}

/* The families of addresses that were given; those we cannot give are refused. */
static void infer_families(struct op *op, struct field_errors *fe, struct json *spec) {
        const struct json *ips = json_getc(spec, "clusterIPs");
        uint8_t b[16];

        for (size_t i = json_len(json_getc(spec, "ipFamilies")); i < json_len(ips); i++) {
                int family = parse_ip(json_str(json_item(ips, i)), b);

                if (!family) /* "None" */
                        return;
                if (has_family(op, family))
                        json_push(op->c->arena, json_get_or_add_array(op->c->arena, spec, "ipFamilies"),
                                  json_of_cstr(family_name(family)));
                else
                        field_invalid(fe, PATH_INDEX(PATH(PATH(NULL, "spec"), "clusterIPs"), i), ips,
                                      "%s is not configured on this cluster", family_name(family));
        }
}

static void check_configured(struct op *op, struct field_errors *fe, const struct json *spec) {
        const struct path *p = PATH(NULL, "spec");
        size_t i = 0;

        INVALID_IF(str_eqc(policy_of(spec), "RequireDualStack") && !is_dual(op), PATH(p, "ipFamilyPolicy"),
                   json_getc(spec, "ipFamilyPolicy"), "this cluster is not configured for dual-stack services");
        json_each_item(f, json_getc(spec, "ipFamilies")) {
                if (!has_family(op, family_of(json_str(f))))
                        field_invalid(fe, PATH_INDEX(PATH(p, "ipFamilies"), i), f, "not configured on this cluster");
                i++;
        }
}

/* ipFamilyPolicy and ipFamilies of a service. A headless service without a selector has endpoints of whichever family
 * its owner writes. (upstream: initIPFamilyFields) */
static int set_families(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        struct field_errors fe = { .a = op->c->arena, .type = op->rest->stored->resource->type, .old = old };
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");
        const struct json *before = json_getc(old, "spec"), *families;
        bool free_choice = str_eqc(json_str(json_getc(spec, "clusterIP")), "None") &&
                           json_len(json_getc(spec, "selector")) == 0;
        struct arena *a = op->c->arena;

        if (!json_getc(spec, "ipFamilyPolicy"))
                json_setc(a, spec, "ipFamilyPolicy",
                          json_getc(before, "ipFamilyPolicy")
                                          ? *json_getc(before, "ipFamilyPolicy")
                                          : json_of_cstr(free_choice ? "RequireDualStack" : "SingleStack"));
        validate_service_addresses(&fe, obj, NULL);
        if (fe.list.n > 0)
                return invalid(op, &fe, err);
        fe.phase = 1; /* what follows is told as it is found */
        shrink_list(op, &fe, spec, before, "clusterIPs", "cluster IP");
        shrink_list(op, &fe, spec, before, "ipFamilies", "IP family");
        infer_families(op, &fe, spec);
        if (fe.list.n == 0 && !free_choice)
                check_configured(op, &fe, spec);
        if (fe.list.n > 0)
                return invalid(op, &fe, err);
        if (json_len(json_getc(spec, "ipFamilies")) == 0)
                json_setc(a, spec, "ipFamilies",
                          one(a, json_of_cstr(family_name(allocator_default_family(op->s->allocator)))));
        families = json_getc(spec, "ipFamilies");
        if ((free_choice || is_dual(op)) && json_len(families) == 1 && !str_eqc(policy_of(spec), "SingleStack"))
                json_push(a, json_get_or_add_array(a, spec, "ipFamilies"),
                          json_of_cstr(family_name(10 - family_of(json_str(json_item(families, 0))))));
        return 0;
}

/* One that is wanted, or any. That of a Service without a name would have no owner, which is told first. */
static int take_ip(struct op *op, const struct json *spec, int family, struct str *ip, struct error *err) {
        struct field_errors fe = { .a = op->c->arena, .type = op->rest->stored->resource->type };
        bool dry = op->c->options.dry_run, nameless = str_empty(op->name) && !dry;
        char canonical[INET6_ADDRSTRLEN] = "";
        uint8_t b[16];
        struct str why;
        int r;

        if (str_empty(*ip) && dry) {
                *ip = allocator_network_ip(op->s->allocator, op->c->arena, family);
                return 0;
        }
        if (str_empty(*ip)) {
                r = allocator_any_ip(op->s, op->snap, op->c->arena, family, ip);
                if (r == 0 && !nameless)
                        return 0;
                why = r < 0 ? STR("range is full")
                            : arena_printf(op->c->arena,
                                           "IPAddress.networking.k8s.io \"%" STR_FMT
                                           "\" is invalid: spec.parentRef.name: Required value",
                                           STR_ARG(*ip));
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: failed to allocate a serviceIP: %" STR_FMT, STR_ARG(why));
        }
        r = allocator_check_ip(op->s, op->snap, op->c->arena, *ip);
        if ((r == 0 && !nameless) || (r == -EEXIST && dry)) /* upstream does not look */
                return 0;
        inet_ntop(parse_ip(*ip, b) == 6 ? AF_INET6 : AF_INET, b, canonical, sizeof(canonical));
        why = r != -ERANGE ? STR("provided IP is already allocated")
              : !dry       ? STR("the provided network does not match the current range")
                           : arena_printf(op->c->arena,
                                          "the provided IP (%s) is not in the valid range. The range of valid IPs is "
                                                "%s",
                                          canonical, allocator_cidr(op->s->allocator, family));
        field_invalid(&fe, PATH(PATH(NULL, "spec"), "clusterIPs"), json_getc(spec, "clusterIPs"),
                      "failed to allocate IP %" STR_FMT ": %" STR_FMT, STR_ARG(*ip), STR_ARG(why));
        return invalid(op, &fe, err);
}

/* An address of each family, from the first-th on. */
static int choose_ips(struct op *op, struct json *spec, size_t first, struct error *err) {
        const struct json *families = json_getc(spec, "ipFamilies");
        struct json *ips = json_get_or_add_array(op->c->arena, spec, "clusterIPs");
        size_t i = 0;

        if (first == 0 && str_eqc(json_str(json_getc(spec, "clusterIP")), "None"))
                return 0;
        while (json_len(ips) < json_len(families))
                json_push(op->c->arena, ips, json_of_cstr(""));
        json_each_item(at, ips) {
                struct str ip = json_str(at);

                if (i >= first)
                        TRY(take_ip(op, spec, family_of(json_str(json_item(families, i))), &ip, err));
                *at = json_of_str(ip);
                if (i++ == 0)
                        json_set_str(op->c->arena, spec, "clusterIP", ip);
        }
        return 0;
}

/* A service that has got a name before, or has addresses of one family only. */
static int choose_more_ips(struct op *op, struct json *spec, const struct json *before, struct error *err) {
        if (!needs_ip(before))
                return choose_ips(op, spec, 0, err);
        if (str_eqc(json_str(json_getc(before, "clusterIP")), "None"))
                return 0;
        if (json_len(json_getc(before, "ipFamilies")) == 1 && json_len(json_getc(spec, "ipFamilies")) == 2)
                return choose_ips(op, spec, 1, err);
        return 0;
}

/* ---- ports ---- */

static bool taken_by_us(const struct reservation *res, int64_t port) {
        for (size_t i = 0; i < res->ports.n; i++)
                if (res->ports.v[i] == port)
                        return true;
        return false;
}

/* Any port of a dry run, for which none is looked for: the one after the largest of this write. It is kept as a
 * negative number, as there is nothing to give back. */
static int64_t dry_port(const struct reservation *res) {
        int64_t last = res->ports.n > 0 ? 0 : 32768;

        for (size_t i = 0; i < res->ports.n; i++)
                last = MAX(last, llabs(res->ports.v[i]));
        return last + 1;
}

/* 0, or what is wrong: an Invalid error, unless it is the port of health checks (p: NULL). *port 0: any. */
static int take_port(struct op *op, struct reservation *res, const struct path *p, const struct json *old,
                     int64_t *port, struct error *err) {
        struct field_errors fe = { .a = op->c->arena, .type = op->rest->stored->resource->type };
        struct json bad = json_of_int(*port);
        struct str why = STR("provided port is already allocated");
        bool ours = taken_by_us(res, *port);
        int r, min, max;

        if (*port == 0 && op->c->options.dry_run) {
                *port = dry_port(res);
                vec_push(&res->ports, -*port);
                return 0;
        }
        if (*port == 0) {
                if (allocator_any_port(op->s->allocator, port) < 0)
                        return error_status(err, REASON_INTERNAL,
                                            "Internal error occurred: failed to allocate a nodePort: range is full");
                vec_push(&res->ports, *port);
                return 0;
        }
        if (old && (ours || allocator_holds_port(old, *port)))
                return 0; /* the same number for TCP and UDP of one Service */
        r = ours ? -EEXIST : allocator_take_port(op->s->allocator, *port);
        if (r == 0 ||
            (r == -ERANGE && op->c->options.dry_run)) { /* where upstream looks at those that are taken only */
                vec_push(&res->ports, *port);
                return 0;
        }
        allocator_port_range(op->s->allocator, &min, &max);
        if (r == -ERANGE)
                why = arena_printf(op->c->arena,
                                   "provided port is not in the valid range. The range of valid ports is %d-%d", min,
                                   max);
        if (!p)
                return error_status(err, REASON_INTERNAL,
                                    "Internal error occurred: failed to allocate requested HealthCheck NodePort %lld: "
                                    "%" STR_FMT,
                                    (long long) *port, STR_ARG(why));
        field_invalid(&fe, p, &bad, "%" STR_FMT, STR_ARG(why));
        return invalid(op, &fe, err);
}

/* The node port of a new Service's port: ports of one number, for TCP and UDP, share the first that is named. */
static int64_t shared_port(const struct json *ports, const struct json *port, bool *ret_taken) {
        int64_t own = json_int(json_getc(port, "nodePort"));

        json_each_item(p, ports) {
                int64_t there = json_int(json_getc(p, "nodePort"));

                if (there == 0 || json_int(json_getc(p, "port")) != json_int(json_getc(port, "port")))
                        continue;
                *ret_taken = p < port && (own == 0 || own == there);
                return p < port && own != 0 ? own : there;
        }
        return own;
}

/* Of a Service that is updated: to upstream no Status, but an error of the server's. */
static int refuse_twin(const struct json *ports, const struct json *port, struct error *err) {
        json_each_item(p, ports)
                if (p < port && same(p, port, "nodePort") && same(p, port, "protocol"))
                        return error_status(err, REASON_UNKNOWN, "duplicate nodePort: {%" STR_FMT " %lld}",
                                            STR_ARG(json_str(json_getc(p, "protocol"))),
                                            (long long) json_int(json_getc(p, "nodePort")));
        return 0;
}

static int take_ports(struct op *op, struct reservation *res, struct json *spec, const struct json *old,
                      struct error *err) {
        const struct path *ports = PATH(PATH(NULL, "spec"), "ports");
        struct arena *a = op->c->arena;
        size_t i = 0;

        json_each_item(p, json_getc(spec, "ports")) {
                int64_t port = json_int(json_getc(p, "nodePort"));
                bool taken = false;

                i++;
                if (!needs_ports(spec) && (port == 0 || !is_type(spec, "LoadBalancer")))
                        continue; /* validation forbids it for other types */
                if (!old)
                        port = shared_port(json_getc(spec, "ports"), p, &taken);
                if (!taken)
                        TRY(take_port(op, res, PATH(PATH_INDEX(ports, i - 1), "nodePort"), old, &port, err));
                json_set_int(a, p, "nodePort", port);
                if (old)
                        TRY(refuse_twin(json_getc(spec, "ports"), p, err));
        }
        if (wants_health_port(spec) && !wants_health_port(json_getc(old, "spec"))) {
                int64_t port = json_int(json_getc(spec, "healthCheckNodePort"));

                TRY(take_port(op, res, NULL, old, &port, err));
                json_set_int(a, spec, "healthCheckNodePort", port);
        }
        return 0;
}

/* A name has no traffic; clients of old gave it a policy nevertheless. Others are refused. */
static void drop_policy(struct json *spec) {
        struct str policy = json_str(json_getc(spec, "internalTrafficPolicy"));

        if (!needs_ip(spec) && (str_eqc(policy, "Cluster") || str_eqc(policy, "Local")))
                json_removec(spec, "internalTrafficPolicy");
}

int service_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");

        if (op->sub) { /* by way of its status, which gives it nothing */
                drop_policy(spec);
                json_setc(op->c->arena, obj, "status", json_build(op->c->arena, "{ loadBalancer: {} }"));
                return 0;
        }
        drop_policy(spec);
        if (json_len(json_getc(spec, "clusterIPs")) == 0 && json_str(json_getc(spec, "clusterIP")).n > 0)
                json_setc(op->c->arena, spec, "clusterIPs", one(op->c->arena, *json_getc(spec, "clusterIP")));
        if (needs_ip(spec))
                TRY(set_families(op, obj, NULL, err));
        /* what is wrong with an address or a port that it asks for is told first */
        op->taken = rest_get(op->snap, op->rest->stored, op->namespace, op->name) != NULL;
        struct reservation *res = reserve(op, json_len(json_getc(spec, "ports")));
        if (needs_ip(spec))
                TRY(choose_ips(op, spec, 0, err));
        return take_ports(op, res, spec, NULL, err);
}

/* ---- update ---- */

static void carry(struct arena *a, struct json *to, const struct json *from, const char *key) {
        if (!json_getc(to, key) && json_getc(from, key))
                json_setc(a, to, key, *json_getc(from, key));
}

/* Node ports that were given before and are not named now: by the names of their ports. */
static void carry_ports(struct op *op, struct json *spec, const struct json *old) {
        json_each_item(p, json_getc(spec, "ports")) {
                const struct json *before = NULL;

                if (json_int(json_getc(p, "nodePort")) != 0)
                        continue;
                json_each_item(o, json_getc(old, "ports"))
                        if (str_eq(json_str(json_getc(o, "name")), json_str(json_getc(p, "name"))))
                                before = json_getc(o, "nodePort");
                json_each_item(other, json_getc(spec, "ports"))
                        if (before && json_int(json_getc(other, "nodePort")) == json_int(before))
                                before = NULL;
                if (json_int(before) != 0)
                        json_setc(op->c->arena, p, "nodePort", *before);
        }
}

/* What the client left out although it was allocated; and clusterIP and clusterIPs follow each other. */
static void carry_allocated(struct op *op, struct json *spec, const struct json *old) {
        const struct json *ip = json_getc(spec, "clusterIP");
        struct arena *a = op->c->arena;

        if (str_empty(json_str(ip)))
                json_removec(spec, "clusterIP");
        if (json_len(json_getc(spec, "clusterIPs")) == 0)
                json_removec(spec, "clusterIPs");
        if (needs_ip(spec) && needs_ip(old)) {
                carry(a, spec, old, "clusterIP");
                carry(a, spec, old, "clusterIPs");
        }
        ip = json_getc(spec, "clusterIP");
        if (same(spec, old, "clusterIP"))
                carry(a, spec, old, "clusterIPs"); /* a client that does not know of the list */
        else if (same(spec, old, "clusterIPs") && ip)
                json_setc(a, spec, "clusterIPs", one(a, *ip));
        else if (same(spec, old, "clusterIPs"))
                json_removec(spec, "clusterIPs");
        if (needs_ports(spec) && needs_ports(old))
                carry_ports(op, spec, old);
        if (wants_health_port(spec) && wants_health_port(old) && json_int(json_getc(spec, "healthCheckNodePort")) == 0)
                json_setc(a, spec, "healthCheckNodePort", *json_getc(old, "healthCheckNodePort"));
}

/* No node port that was not there before. */
static bool same_ports(const struct json *spec, const struct json *old) {
        json_each_item(p, json_getc(spec, "ports")) {
                bool found = json_int(json_getc(p, "nodePort")) == 0;

                json_each_item(o, json_getc(old, "ports"))
                        found = found || json_int(json_getc(p, "nodePort")) == json_int(json_getc(o, "nodePort"));
                if (!found)
                        return false;
        }
        return true;
}

static bool external(const struct json *spec) {
        return is_type(spec, "NodePort") || is_type(spec, "LoadBalancer") ||
               (is_type(spec, "ClusterIP") && json_len(json_getc(spec, "externalIPs")) > 0);
}

static bool balanced(const struct json *spec) {
        return is_type(spec, "LoadBalancer");
}

/* What a type does not have goes when the type changes, unless the client has changed it too: then it is refused. */
static void drop_unused(struct json *spec, const struct json *old) {
        static const struct {
                const char *key;
                bool (*has)(const struct json *spec);
        } fields[] = {
                { "clusterIP", needs_ip },
                { "clusterIPs", needs_ip },
                { "ipFamilies", needs_ip },
                { "ipFamilyPolicy", needs_ip },
                { "healthCheckNodePort", wants_health_port },
                { "allocateLoadBalancerNodePorts", balanced },
                { "loadBalancerClass", balanced },
                { "externalTrafficPolicy", external },
        };

        if (has_ports(old) && !has_ports(spec) && same_ports(spec, old))
                json_each_item(p, json_getc(spec, "ports"))
                        json_removec(p, "nodePort");
        for (size_t i = ARRAY_SIZE(fields); i-- > 0;)
                if (fields[i].has(old) && !fields[i].has(spec) && same(spec, old, fields[i].key))
                        json_removec(spec, fields[i].key);
}

/* Nothing that has to do with addresses has changed under a policy that takes what there is. */
static bool prefers_as_before(const struct json *spec, const struct json *old) {
        return str_eqc(policy_of(spec), "PreferDualStack") && same(spec, old, "ipFamilyPolicy") &&
               same(spec, old, "clusterIPs") && same(spec, old, "ipFamilies");
}

int service_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");
        const struct json *before = json_getc(old, "spec");
        struct reservation *res = reserve(op, json_len(json_getc(spec, "ports")));
        int r = 0;

        carry_allocated(op, spec, before);
        drop_unused(spec, before);
        drop_policy(spec);
        if (!balanced(spec)) {
                const struct json *now = json_getc(obj, "status");
                struct json status = now ? json_copy_shallow(op->c->arena, now) : json_new_object();

                json_setc(op->c->arena, &status, "loadBalancer", json_new_object());
                json_setc(op->c->arena, obj, "status", status);
        }
        if (needs_ip(spec) && !prefers_as_before(spec, before)) {
                r = set_families(op, obj, old, err);
                if (r == 0)
                        r = choose_more_ips(op, spec, before, err);
        }
        return r < 0 ? r : take_ports(op, res, spec, old, err);
}
