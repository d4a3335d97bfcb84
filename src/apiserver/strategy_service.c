/* Services: their addresses and node ports are taken before the write and given back when it fails. */
#include <errno.h>

#include "apiserver/allocator.h"
#include "apiserver/strategy.h"
#include "apiserver/writes.h"

/* What this write has taken. */
struct reservation {
        struct str ip;
        VEC(int64_t) ports;
};

static void give_back(struct op *op) {
        struct reservation *r = op->undo_arg;
        struct allocator *al = op->s->allocator;

        op->undo = NULL;
        if (r->ip.p)
                allocator_release_ip(al, r->ip);
        for (size_t i = 0; i < r->ports.n; i++)
                allocator_release_port(al, r->ports.v[i]);
        r->ip.p = NULL;
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

static bool wants_health_port(const struct json *spec) {
        return is_type(spec, "LoadBalancer") && str_eqc(json_str(json_getc(spec, "externalTrafficPolicy")), "Local");
}

static int invalid(struct op *op, struct field_errors *fe, struct error *err) {
        int r = field_errors_finish(fe, STR("Service"), STR(""), op->name, err);

        vec_free(&fe->list);
        return r;
}

static struct json one(struct arena *a, struct json v) {
        struct json list = json_new_array();

        json_push(a, &list, v);
        return list;
}

/* ---- addresses ---- */

static void set_families(struct op *op, struct json *spec, bool headless) {
        struct arena *a = op->c->arena;
        bool both = headless && json_len(json_getc(spec, "selector")) == 0 && !json_getc(spec, "ipFamilyPolicy");

        if (!json_getc(spec, "ipFamilyPolicy"))
                json_set_cstr(a, spec, "ipFamilyPolicy", both ? "RequireDualStack" : "SingleStack");
        if (json_len(json_getc(spec, "ipFamilies")) > 0)
                return;
        json_setc(a, spec, "ipFamilies", one(a, json_of_cstr("IPv4")));
        if (both) /* without a selector its endpoints may be of any family */
                json_push(a, json_get_or_add_array(a, spec, "ipFamilies"), json_of_cstr("IPv6"));
}

static int take_ip(struct op *op, struct reservation *res, struct json *spec, struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        const struct path *p = PATH(PATH(NULL, "spec"), "clusterIPs");
        struct arena *a = op->c->arena;
        struct str ip = json_str(json_getc(spec, "clusterIP"));
        const struct json *list = json_getc(spec, "clusterIPs");
        int r;

        if (str_empty(ip) && json_len(list) > 0)
                ip = json_str(json_item(list, 0));
        if (str_eqc(ip, "None")) {
                set_families(op, spec, true);
                json_set_cstr(a, spec, "clusterIP", "None");
                json_setc(a, spec, "clusterIPs", one(a, json_of_cstr("None")));
                return 0;
        }
        if (str_empty(ip)) {
                if (allocator_any_ip(op->s->allocator, a, &ip) < 0)
                        return error_status(err, REASON_INTERNAL,
                                            "Internal error occurred: failed to allocate a serviceIP: range is full");
        } else {
                struct json bad = one(a, json_of_str(ip));

                r = allocator_take_ip(op->s->allocator, ip);
                if (r == -ERANGE)
                        field_invalid(&fe, p, &bad,
                                      "failed to allocate IP %" STR_FMT ": the provided IP (%" STR_FMT
                                      ") is not in the valid range. The range of valid IPs is %s",
                                      STR_ARG(ip), STR_ARG(ip), allocator_cidr(op->s->allocator));
                else if (r == -EEXIST)
                        field_invalid(&fe, p, &bad,
                                      "failed to allocate IP %" STR_FMT ": provided IP is already allocated",
                                      STR_ARG(ip));
                if (r < 0)
                        return invalid(op, &fe, err);
        }
        res->ip = ip;
        set_families(op, spec, false);
        json_set_str(a, spec, "clusterIP", ip);
        json_setc(a, spec, "clusterIPs", one(a, json_of_str(ip)));
        return 0;
}

/* ---- ports ---- */

static bool taken_by_us(const struct reservation *res, int64_t port) {
        for (size_t i = 0; i < res->ports.n; i++)
                if (res->ports.v[i] == port)
                        return true;
        return false;
}

static bool held_before(const struct json *old, int64_t port) {
        json_each_item(p, json_at_path(old, "spec", "ports"))
                if (json_int(json_getc(p, "nodePort")) == port)
                        return true;
        return json_int(json_at_path(old, "spec", "healthCheckNodePort")) == port;
}

/* 0, or what is wrong as an Invalid error. *port 0: any. */
static int take_port(struct op *op, struct reservation *res, const struct path *p, const struct json *old,
                     int64_t *port, struct error *err) {
        struct field_errors fe = { .a = op->c->arena };
        struct json bad = json_of_int(*port);
        int r, min, max;

        if (*port == 0) {
                if (allocator_any_port(op->s->allocator, port) < 0)
                        return error_status(err, REASON_INTERNAL,
                                            "Internal error occurred: failed to allocate a nodePort: range is full");
                vec_push(&res->ports, *port);
                return 0;
        }
        if (taken_by_us(res, *port) || held_before(old, *port))
                return 0; /* the same number for TCP and UDP of one Service */
        r = allocator_take_port(op->s->allocator, *port);
        if (r == 0) {
                vec_push(&res->ports, *port);
                return 0;
        }
        allocator_port_range(op->s->allocator, &min, &max);
        if (r == -ERANGE)
                field_invalid(&fe, p, &bad,
                              "provided port is not in the valid range. The range of valid ports is %d-%d", min, max);
        else
                field_invalid(&fe, p, &bad, "provided port is already allocated");
        return invalid(op, &fe, err);
}

static int take_ports(struct op *op, struct reservation *res, struct json *spec, const struct json *old,
                      struct error *err) {
        const struct path *ports = PATH(PATH(NULL, "spec"), "ports");
        struct arena *a = op->c->arena;
        size_t i = 0;

        json_each_item(p, json_getc(spec, "ports")) {
                int64_t port = json_int(json_getc(p, "nodePort"));
                int r;

                i++;
                if (!needs_ports(spec)) {
                        if (port == 0 || is_type(spec, "LoadBalancer"))
                                continue;
                        continue; /* validation forbids it for this type */
                }
                r = take_port(op, res, PATH(PATH_INDEX(ports, i - 1), "nodePort"), old, &port, err);
                if (r < 0)
                        return r;
                json_set_int(a, p, "nodePort", port);
        }
        if (wants_health_port(spec)) {
                int64_t port = json_int(json_getc(spec, "healthCheckNodePort"));
                int r = take_port(op, res, PATH(PATH(NULL, "spec"), "healthCheckNodePort"), old, &port, err);

                if (r < 0)
                        return r;
                json_set_int(a, spec, "healthCheckNodePort", port);
        }
        return 0;
}

static void set_traffic_defaults(struct op *op, struct json *spec) {
        struct arena *a = op->c->arena;
        bool external = is_type(spec, "NodePort") || is_type(spec, "LoadBalancer");

        if (external && str_empty(json_str(json_getc(spec, "externalTrafficPolicy"))))
                json_set_cstr(a, spec, "externalTrafficPolicy", "Cluster");
        if (needs_ip(spec) && !json_getc(spec, "internalTrafficPolicy"))
                json_set_cstr(a, spec, "internalTrafficPolicy", "Cluster");
        if (is_type(spec, "LoadBalancer") && !json_getc(spec, "allocateLoadBalancerNodePorts"))
                json_set_bool(a, spec, "allocateLoadBalancerNodePorts", true);
}

int service_prepare_create(struct op *op, struct json *obj, struct error *err) {
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");
        struct reservation *res;
        int r;

        if (rest_get(op->snap, op->rest->stored, op->namespace, op->name)) /* rather than "its address is taken" */
                return err_exists(err, op->rest, op->name);
        res = reserve(op, json_len(json_getc(spec, "ports")));
        set_traffic_defaults(op, spec);
        if (needs_ip(spec)) {
                r = take_ip(op, res, spec, err);
                if (r < 0)
                        return r;
        }
        return take_ports(op, res, spec, NULL, err);
}

/* ---- update ---- */

static void carry(struct arena *a, struct json *to, const struct json *from, const char *key) {
        if (!json_getc(to, key) && json_getc(from, key))
                json_setc(a, to, key, *json_getc(from, key));
}

/* What the client left out although it was allocated. */
static void carry_allocated(struct op *op, struct json *spec, const struct json *old) {
        struct arena *a = op->c->arena;

        if (needs_ip(spec) && needs_ip(old)) {
                if (str_empty(json_str(json_getc(spec, "clusterIP"))) && json_len(json_getc(spec, "clusterIPs")) == 0) {
                        json_removec(spec, "clusterIP");
                        carry(a, spec, old, "clusterIP");
                        carry(a, spec, old, "clusterIPs");
                } else if (json_len(json_getc(spec, "clusterIPs")) == 0) {
                        json_setc(a, spec, "clusterIPs", one(a, *json_getc(spec, "clusterIP")));
                }
                carry(a, spec, old, "ipFamilies");
                carry(a, spec, old, "ipFamilyPolicy");
        }
        if (needs_ports(spec) && needs_ports(old))
                json_each_item(p, json_getc(spec, "ports")) {
                        if (json_int(json_getc(p, "nodePort")) != 0)
                                continue;
                        json_each_item(o, json_getc(old, "ports"))
                                if (json_int(json_getc(o, "port")) == json_int(json_getc(p, "port")) &&
                                    str_eq(json_str(json_getc(o, "protocol")), json_str(json_getc(p, "protocol"))))
                                        carry(a, p, o, "nodePort");
                }
        if (wants_health_port(spec) && wants_health_port(old))
                carry(a, spec, old, "healthCheckNodePort");
}

/* What a type does not have goes when the type changes. */
static void drop_unused(struct json *spec, const struct json *old) {
        if (!needs_ip(spec) && needs_ip(old)) {
                static const char *const keys[] = { "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy",
                                                    "internalTrafficPolicy" };

                for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
                        json_removec(spec, keys[i]);
        }
        if (!is_type(spec, "NodePort") && !is_type(spec, "LoadBalancer")) {
                if (str_eq(json_str(json_getc(spec, "externalTrafficPolicy")),
                           json_str(json_getc(old, "externalTrafficPolicy"))))
                        json_removec(spec, "externalTrafficPolicy");
                json_each_item(p, json_getc(spec, "ports")) /* those it had as a NodePort */
                        json_each_item(o, json_getc(old, "ports"))
                                if (json_int(json_getc(p, "nodePort")) == json_int(json_getc(o, "nodePort")))
                                        json_removec(p, "nodePort");
        }
        if (!is_type(spec, "LoadBalancer"))
                json_removec(spec, "allocateLoadBalancerNodePorts");
        if (!wants_health_port(spec))
                json_removec(spec, "healthCheckNodePort");
}

int service_prepare_update(struct op *op, struct json *obj, const struct json *old, struct error *err) {
        struct json *spec = json_get_or_add_object(op->c->arena, obj, "spec");
        const struct json *old_spec = json_getc(old, "spec");
        struct reservation *res = reserve(op, json_len(json_getc(spec, "ports")));
        int r;

        carry_allocated(op, spec, old_spec);
        drop_unused(spec, old_spec);
        set_traffic_defaults(op, spec);
        if (needs_ip(spec) && !needs_ip(old_spec)) {
                r = take_ip(op, res, spec, err);
                if (r < 0)
                        return r;
        }
        return take_ports(op, res, spec, old, err);
}
