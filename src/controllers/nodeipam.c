/* Node IPAM: each node gets a range of pod addresses cut from the cluster's range. A bit for each range; a node's
 * deletion gives its range back. */
#include <arpa/inet.h>

#include "controllers/controller.h"
#include "json/build.h"
#include "schema/types.h"

#define MAX_RANGES (1 << 20)

struct ipam {
        uint8_t base[16];
        int family, prefix, mask; /* of the cluster, of a node */
        size_t n, hint;
        uint8_t *used; /* a bit for each range */
};

static bool is_used(const struct ipam *m, size_t i) {
        return m->used[i / 8] & (1 << i % 8);
}

static void set_used(struct ipam *m, size_t i, bool used) {
        if (used)
                m->used[i / 8] |= (uint8_t) (1 << i % 8);
        else {
                m->used[i / 8] &= (uint8_t) ~(1 << i % 8);
                m->hint = MIN(m->hint, i);
        }
}

/* ---- ranges as text ---- */

static int parse_cidr(struct str text, int *ret_family, uint8_t address[static 16], int *ret_prefix) {
        ssize_t slash = str_find(text, '/');
        char ip[64];
        int64_t prefix;
        int family = str_find(text, ':') >= 0 ? AF_INET6 : AF_INET;

        if (slash < 0 || slash >= (ssize_t) sizeof(ip) ||
            str_to_i64(str_sub(text, (size_t) slash + 1, text.n), &prefix) < 0)
                return -EINVAL;
        memcpy(ip, text.p, (size_t) slash);
        ip[slash] = '\0';
        if (inet_pton(family, ip, address) != 1 || prefix < 0 || prefix > (family == AF_INET ? 32 : 128))
                return -EINVAL;
        *ret_family = family;
        *ret_prefix = (int) prefix;
        return 0;
}

/* The index lives in the bits [prefix, mask) of the address. */
static struct str print_range(const struct ipam *m, size_t index, char dst[static 80]) {
        uint8_t address[16];
        char ip[64];

        memcpy(address, m->base, sizeof(address));
        for (int bit = m->mask - 1; bit >= m->prefix; bit--, index >>= 1)
                if (index & 1)
                        address[bit / 8] |= (uint8_t) (0x80 >> bit % 8);
        inet_ntop(m->family, address, ip, sizeof(ip));
        return str_n(dst, (size_t) snprintf(dst, 80, "%s/%d", ip, m->mask));
}

/* -ERANGE: not one of ours. */
static int index_of(const struct ipam *m, struct str cidr, size_t *ret) {
        uint8_t address[16] = { 0 };
        int family, prefix;
        size_t index = 0;

        if (parse_cidr(cidr, &family, address, &prefix) < 0 || family != m->family)
                return -ERANGE;
        for (int bit = 0; bit < m->mask; bit++) {
                bool set = address[bit / 8] & (0x80 >> bit % 8);

                if (bit < m->prefix && set != !!(m->base[bit / 8] & (0x80 >> bit % 8)))
                        return -ERANGE;
                if (bit >= m->prefix)
                        index = index << 1 | set;
        }
        *ret = index;
        return 0;
}

/* ---- the controller ---- */

static void enqueue_node(struct controller *c, struct object *old, struct object *new) {
        struct ipam *m = c->state;
        struct object *node = new ? new : old;
        struct str cidr = NodeSpec_podCIDR(Node_spec(object_json(node)));
        size_t i;

        if (!m)
                return;
        if (str_empty(cidr)) {
                if (new)
                        enqueue_self(c, old, new);
        } else if (index_of(m, cidr, &i) == 0)
                set_used(m, i, new != NULL);
}

static int reconcile(struct controller *c, struct str key, struct error *err) {
        struct ipam *m = c->state;
        struct object *node = informer_get(controller_informer(c, &res_nodes), key);
        char text[80];
        size_t i;

        if (!m || !node || object_deleting(node) || !str_empty(NodeSpec_podCIDR(Node_spec(object_json(node)))))
                return 0;
        for (i = m->hint; i < m->n && is_used(m, i); i++)
                ;
        m->hint = i;
        if (i == m->n) {
                event_record(c->events, &res_nodes, node, NULL, "Normal", "CIDRNotAvailable",
                             "Node %" STR_FMT " status is now: CIDRNotAvailable", STR_ARG(key));
                return error_set(err, -ENOSPC,
                                 "CIDR allocation failed; there are no remaining CIDRs left to allocate in the "
                                 "accepted range");
        }
        _cleanup_(arena_freep) struct arena *a = arena_new(0);
        struct str cidr = print_range(m, i, text);
        struct json patch = json_build(a, "{ spec: { podCIDR: %s, podCIDRs: [ %s ] } }", cidr, cidr);
        set_used(m, i, true);
        int r = controller_patch(c, &res_nodes, node, STR(""), API_PATCH_STRATEGIC, &patch, err);
        if (r < 0)
                set_used(m, i, false);
        return r;
}

static int init(struct controller *c, void **ret_state, struct error *err) {
        const struct controllers_options *o = controllers_options(c->all);

        if (!o->cluster_cidr)
                return 0; /* nodes bring their own ranges */
        struct ipam *m = xcalloc(1, sizeof(*m));
        *ret_state = m;
        if (parse_cidr(str_of(o->cluster_cidr), &m->family, m->base, &m->prefix) < 0)
                return error_set(err, -EINVAL, "invalid cluster CIDR \"%s\"", o->cluster_cidr);
        m->mask = o->node_cidr_mask > 0 ? o->node_cidr_mask : m->family == AF_INET ? 24 : 64;
        int bits = m->mask - m->prefix;
        if (bits < 0 || m->mask > (m->family == AF_INET ? 32 : 128))
                return error_set(err, -EINVAL, "a node's range /%d does not fit in the cluster CIDR \"%s\"", m->mask,
                                 o->cluster_cidr);
        for (int bit = m->prefix; bit < 128; bit++)
                m->base[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
        m->n = (size_t) 1 << MIN(bits, __builtin_ctz(MAX_RANGES));
        m->used = xcalloc(1, m->n / 8 + 1);
        return 0;
}

static void destroy(void *state) {
        struct ipam *m = state;

        free(m->used);
        free(m);
}

const struct controller_class nodeipam_controller = {
        .name = "node-ipam-controller",
        .account = "node-controller",
        .watches = { { &res_nodes, enqueue_node } },
        .init = init,
        .destroy = destroy,
        .reconcile = reconcile,
};
