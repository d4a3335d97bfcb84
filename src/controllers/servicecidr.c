/* ServiceCIDRs: ready once they bear the finalizer, and gone only when no Service has an address of theirs that belongs
 * to no other one. The API server stops giving addresses of a range as soon as it is marked for deletion.
 * https://kubernetes.io/docs/tasks/network/extend-service-ip-ranges/ */
#include <arpa/inet.h>

#include "controllers/conditions.h"
#include "controllers/pods.h"
#include "schema/types.h"

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
#define MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define GRACE_NS (10 * NSEC_PER_SEC) /* until every API server has heard of the deletion */

struct prefix {
        int family;
        unsigned bits;
        uint8_t ip[16];
};

/* "10.0.0.0/24", or an address as a prefix of all its bits. */
static bool prefix_parse(struct str text, struct prefix *ret) {
        struct str part = STR("");
        uint64_t bits;
        char ip[64];

        if (!str_split(&text, '/', &part) || part.n >= sizeof(ip))
                return false;
        memcpy(ip, part.p, part.n);
        ip[part.n] = '\0';
        ret->family = str_find(part, ':') >= 0 ? AF_INET6 : AF_INET;
        ret->bits = ret->family == AF_INET ? 32 : 128;
        if (str_to_u64(text, &bits) == 0)
                ret->bits = (unsigned) MIN(bits, ret->bits);
        return inet_pton(ret->family, ip, ret->ip) == 1;
}

static bool prefix_contains(const struct prefix *outer, const struct prefix *inner) {
        if (outer->family != inner->family || outer->bits > inner->bits)
                return false;
        for (unsigned i = 0; i < outer->bits; i++)
                if ((outer->ip[i / 8] ^ inner->ip[i / 8]) >> (7 - i % 8) & 1)
                        return false;
        return true;
}

static bool contains(const struct object *cidr, const struct prefix *what) {
        struct prefix p;

        json_each_item(text, ServiceCIDRSpec_cidrs(ServiceCIDR_spec(object_json(cidr))))
                if (prefix_parse(json_str(text), &p) && prefix_contains(&p, what))
                        return true;
        return false;
}

static bool another_contains(const struct controller *c, const struct object *cidr, const struct prefix *what) {
        controller_each(it, c, &res_servicecidrs)
                if (!str_eq(object_name(it.value), object_name(cidr)) && contains(it.value, what))
                        return true;
        return false;
}

/* No address would be left without a range. */
static bool can_go(const struct controller *c, const struct object *cidr) {
        bool covered = true;
        struct prefix p;

        json_each_item(text, ServiceCIDRSpec_cidrs(ServiceCIDR_spec(object_json(cidr))))
                covered = covered && prefix_parse(json_str(text), &p) && another_contains(c, cidr, &p);
        if (covered)
                return true;
        controller_each(it, c, &res_ipaddresses)
                if (str_eqc(object_label(it.value, STR(MANAGED_BY)), "ipallocator.k8s.io") &&
                    prefix_parse(object_name(it.value), &p) && contains(cidr, &p) && !another_contains(c, cidr, &p))
                        return false;
        return true;
}

static int set_ready(struct controller *c, const struct object *cidr, bool ready, struct error *err) {
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        const struct condition yes = { "Ready", "True", "", "Kubernetes Service CIDR is ready" },
                               no = { "Ready", "False", "Terminating",
                                      "There are still IPAddresses referencing the ServiceCIDR, please remove them or "
                                      "create a new ServiceCIDR" };
        struct json status = status_copy(a, ServiceCIDR_status(object_json(cidr)));

        if (condition_is(&status, "Ready", ready ? "True" : "False"))
                return 0;
        condition_set(a, &status, ready ? &yes : &no, controller_now(c), 0);
        json_set_cstr(a, condition_find(&status, "Ready"), "reason", ready ? "" : no.reason); /* a required field */
        return controller_update_status(c, &res_servicecidrs, cidr, &status, err);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct object *cidr = informer_get(controller_informer(c, &res_servicecidrs), key);

        if (!cidr)
                return 0;
        if (!object_deleting(cidr)) {
                TRY(finalizer_set(c, &res_servicecidrs, cidr, FINALIZER, true, err));
                return set_ready(c, cidr, true, err);
        }
        if (!finalizer_is_set(cidr, FINALIZER))
                return 0;
        if (!can_go(c, cidr))
                return set_ready(c, cidr, false, err);
        int64_t left = object_deleted_at(cidr) + GRACE_NS - controller_now(c);
        if (left > 0) {
                controller_enqueue_after(c, key, (uint64_t) (left / NSEC_PER_MSEC) + 1);
                return 0;
        }
        return finalizer_set(c, &res_servicecidrs, cidr, FINALIZER, false, err);
}

/* Another range or an address less may let one go. */
static void enqueue_waiting(struct controller *c, struct object *old, struct object *new) {
        controller_each(it, c, &res_servicecidrs)
                if (object_deleting(it.value))
                        controller_enqueue_key(c, object_name(it.value));
}

static void enqueue_cidr(struct controller *c, struct object *old, struct object *new) {
        enqueue_self(c, old, new);
        enqueue_waiting(c, old, new);
}

static void enqueue_address(struct controller *c, struct object *old, struct object *new) {
        if (!new)
                enqueue_waiting(c, old, new);
}

const struct controller_class servicecidr_controller = {
        .name = "service-cidr-controller",
        .account = "service-cidrs-controller",
        .watches = { { &res_servicecidrs, enqueue_cidr }, { &res_ipaddresses, enqueue_address } },
        .reconcile = reconcile,
};
